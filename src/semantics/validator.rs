//! Validator fields (RFC 9110 §8.8): what a computed entity-tag is made of, and the honest Last-Modified.

use crate::field::Fields;
use crate::field::date::HttpDate;
use crate::field::entity_tag::EntityTag;
use crate::policy::{Etag, LastModified};
use crate::semantics::stored_response::ContentHash;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

/// The name of a body in the store.
pub fn content_hash(body: &[u8]) -> ContentHash {
    ContentHash(Sha256::digest(body).into())
}

/// The modification date that the origin sent. "An origin server with a clock MUST NOT generate a Last-Modified date that
/// is later than the server's time of message origination" (RFC 9110 §8.8.2.1): such a date is absurd and counts as none.
pub fn sent_date(fields: &Fields, today: HttpDate) -> Option<HttpDate> {
    HttpDate::of(fields, "last-modified", today).filter(|date| *date <= origination(fields, today))
}

/// When the origin says it sent the response; a minute of difference between two clocks is not absurd.
fn origination(fields: &Fields, today: HttpDate) -> HttpDate {
    const SKEW: i64 = 60;
    let date = HttpDate::of(fields, "date", today).unwrap_or(today);
    HttpDate(date.0.max(today.0).saturating_add(SKEW))
}

/// The entity-tag of a content: `fg1-` and 128 bits of SHA-256 over the body, without what the route leaves out, and
/// over the fields that it adds. Strong, unless something was really left out: then bytes may differ under one tag.
pub fn entity_tag(body: &[u8], content: ContentHash, fields: &Fields, policy: &Etag) -> EntityTag {
    let left_out = ranges(body, &policy.ignore);
    if left_out.is_empty() && policy.fields.is_empty() {
        return tag(&content.0, !policy.ignore.is_empty());
    }
    let mut hash = Sha256::new();
    let mut from = 0;
    let mut kept = body.len();
    for range in &left_out {
        hash.update(&body[from..range.start]);
        from = range.end;
        kept -= range.len();
    }
    hash.update(&body[from..]);
    if !policy.fields.is_empty() {
        // A body that ends in what follows is another one.
        hash.update((kept as u64).to_be_bytes());
    }
    for name in &policy.fields {
        for value in fields.get_all(name) {
            // The lengths keep "a: 1, b: 2" apart from every other split of the same octets.
            hash.update((name.len() as u64).to_be_bytes());
            hash.update(name.as_bytes());
            hash.update((value.len() as u64).to_be_bytes());
            hash.update(value);
        }
    }
    tag(&hash.finalize(), !policy.ignore.is_empty())
}

fn tag(hash: &[u8], weak: bool) -> EntityTag {
    EntityTag { weak, opaque: format!("fg1-{}", URL_SAFE_NO_PAD.encode(&hash[..16])).into() }
}

/// Where the values stand that the pointers name, in order and disjoint. A body that is not JSON, and a pointer that
/// leads nowhere, leave nothing out.
fn ranges(body: &[u8], pointers: &[String]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = pointers.iter().filter_map(|pointer| range_of(body, pointer)).collect();
    found.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    let mut end = 0;
    // A pointer into a value that another pointer leaves out adds nothing.
    found.retain(|range| {
        let outside = range.start >= end;
        if outside {
            end = range.end;
        }
        outside
    });
    found
}

/// The octets of the value at an RFC 6901 pointer.
fn range_of(body: &[u8], pointer: &str) -> Option<Range<usize>> {
    let mut value: &RawValue = serde_json::from_slice(body).ok()?;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        value = if value.get().starts_with('[') {
            let members: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
            *members.get(array_index(&token)?)?
        } else {
            let members: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(value.get()).ok()?;
            *members.get(token.as_str())?
        };
    }
    let start = (value.get().as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    Some(start..start + value.get().len())
}

/// `array-index = %x30 / ( %x31-39 *(%x30-39) )` (RFC 6901 §4): "without leading "0"", and without a sign.
fn array_index(token: &str) -> Option<usize> {
    let canonical = token == "0" || (token.bytes().all(|b| b.is_ascii_digit()) && !token.starts_with('0'));
    canonical.then(|| token.parse().ok()).flatten()
}

/// Whether the body is one whole JSON text.
pub fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

/// The newest time that the body holds in members of the configured name, anywhere in it.
pub fn newest(body: &[u8], policy: &LastModified) -> Option<HttpDate> {
    if policy.field.is_empty() {
        return None;
    }
    let mut newest = None;
    let walk = Walk { policy, wanted: false, newest: &mut newest };
    let mut json = serde_json::Deserializer::from_slice(body);
    walk.deserialize(&mut json).ok()?;
    json.end().ok()?;
    newest.map(HttpDate)
}

/// Goes through a JSON text once, without building it.
struct Walk<'w> {
    policy: &'w LastModified,
    /// Whether the value at hand is that of the configured member.
    wanted: bool,
    newest: &'w mut Option<i64>,
}

impl Walk<'_> {
    fn see(&mut self, seconds: Option<i64>) {
        if self.wanted {
            *self.newest = (*self.newest).max(seconds);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            let wanted = name == self.policy.field;
            map.next_value_seed(Walk { policy: self.policy, wanted, newest: self.newest })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Walk { policy: self.policy, wanted: false, newest: self.newest })?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(mut self, text: &str) -> Result<(), E> {
        let seconds = self.wanted.then(|| time(text, &self.policy.zone)).flatten();
        self.see(seconds);
        Ok(())
    }

    fn visit_u64<E>(mut self, number: u64) -> Result<(), E> {
        self.see(i64::try_from(number).ok().map(epoch));
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Seconds since the epoch; a number too large for seconds of this age counts as milliseconds.
fn epoch(number: i64) -> i64 {
    const YEAR_5138: i64 = 100_000_000_000;
    if number >= YEAR_5138 { number / 1000 } else { number }
}

/// RFC 3339, or a date and time without an offset where the route names the zone. A time without a zone is never
/// guessed at.
fn time(text: &str, zone: &str) -> Option<i64> {
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Some(timestamp.as_second());
    }
    if zone.is_empty() {
        return None;
    }
    let local = text.parse::<jiff::civil::DateTime>().ok()?;
    Some(local.in_tz(zone).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::sample::fields;
    use proptest::prelude::*;

    fn etag(ignore: &[&str], hashed: &[&str]) -> Etag {
        let texts = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect();
        Etag { replace: true, ignore: texts(ignore), fields: texts(hashed) }
    }

    fn tagged(body: &str, policy: &Etag, lines: &[(&str, &str)]) -> EntityTag {
        entity_tag(body.as_bytes(), content_hash(body.as_bytes()), &fields(lines), policy)
    }

    #[test]
    fn the_tag_is_128_bits_of_the_hash_of_the_content() {
        // printf '{}' | openssl sha256 -binary | head -c 16 | base64
        let tag = tagged("{}", &etag(&[], &[]), &[]);
        assert_eq!(tag.to_bytes(), "\"fg1-RBNvo1WzZ4oRRq0W9-hkng\"");
        assert!(crate::field::entity_tag::is_ours(&tag));
        assert_ne!(tag, tagged("{ }", &etag(&[], &[]), &[]));
    }

    #[track_caller]
    fn check_ignored(pointers: &[&str], a: &str, b: &str, same: bool) {
        let policy = etag(pointers, &[]);
        let (a, b) = (tagged(a, &policy, &[]), tagged(b, &policy, &[]));
        assert!(a.weak && b.weak, "bytes may differ under it");
        assert_eq!(a == b, same, "{a:?} {b:?}");
    }

    #[test]
    fn what_pointers_name_is_left_out() {
        check_ignored(&["/t"], r#"{"t":1,"x":1}"#, r#"{"t":22,"x":1}"#, true);
        check_ignored(&["/t"], r#"{"t":1,"x":1}"#, r#"{"t":1,"x":2}"#, false);
        check_ignored(&["/a/t"], r#"{"a":{"t":1},"t":1}"#, r#"{"a":{"t":[2]},"t":1}"#, true);
        check_ignored(&["/a/t"], r#"{"a":{"t":1},"t":1}"#, r#"{"a":{"t":1},"t":2}"#, false);
        check_ignored(&["/1"], "[1,2,3]", "[1,99,3]", true);
        check_ignored(&["/1"], "[1,2,3]", "[1,2,4]", false);
        check_ignored(&["/a~1b", "/c~0d"], r#"{"a/b":1,"c~d":1}"#, r#"{"a/b":2,"c~d":2}"#, true);
        check_ignored(&[""], "1", "2", true);
        // One within another, in either order; what stands behind both still counts.
        check_ignored(&["/a/t", "/a"], r#"{"a":{"t":1},"x":1}"#, r#"{"a":{"t":2},"x":1}"#, true);
        check_ignored(&["/a", "/a/t"], r#"{"a":{"t":1},"x":1}"#, r#"{"a":{"t":1},"x":2}"#, false);
        // What leads nowhere leaves nothing out.
        check_ignored(&["/t"], "[1]", "[2]", false);
        check_ignored(&["/9"], "[1]", "[2]", false);
        // An index has one form (RFC 6901 §4).
        check_ignored(&["/0"], "[1]", "[2]", true);
        for odd in ["/+0", "/00", "/-0", "/"] {
            check_ignored(&[odd], "[1]", "[2]", false);
        }
        check_ignored(&["/t"], r#"{"t":1"#, r#"{"t":2"#, false);
        check_ignored(&["/t/u"], r#"{"t":1}"#, r#"{"t":2}"#, false);
    }

    #[test]
    fn configured_fields_are_hashed_with_the_body() {
        let policy = etag(&[], &["x-total", "x-page"]);
        let of = |lines: &[(&str, &str)]| tagged("[]", &policy, lines);
        let one = of(&[("X-Total", "1")]);
        assert!(!one.weak);
        assert_eq!(one, of(&[("x-total", "1"), ("X-Other", "1")]));
        let others: [&[(&str, &str)]; 5] = [
            &[("X-Total", "2")],
            &[],
            &[("X-Page", "1")],
            &[("X-Total", "1"), ("X-Total", "")],
            &[("X-Total", "1"), ("X-Page", "1")],
        ];
        for lines in others {
            assert_ne!(one, of(lines), "{lines:?}");
        }
    }

    #[test]
    fn what_is_left_out_may_be_of_any_length_beside_configured_fields() {
        let policy = etag(&["/t"], &["x"]);
        let of = |body| tagged(body, &policy, &[("X", "1")]);
        assert_eq!(of(r#"{"t":1,"y":1}"#), of(r#"{"t":333,"y":1}"#));
        assert_ne!(of(r#"{"t":1,"y":1}"#), of(r#"{"t":1,"y":2}"#));
    }

    #[test]
    fn a_body_that_ends_like_a_field_has_another_tag() {
        let line = [&1_u64.to_be_bytes()[..], b"x", &1_u64.to_be_bytes(), b"1"].concat();
        let body = [b"[]", &line[..]].concat();
        let policy = etag(&[], &["x"]);
        let of = |body: &[u8], lines| entity_tag(body, content_hash(body), &fields(lines), &policy);
        assert_ne!(of(&body, &[]), of(b"[]", &[("X", "1")]));
    }

    #[test]
    fn one_whole_json_text() {
        for json in ["{}", " [1] ", "1", "\"\"", "null"] {
            assert!(is_json(json.as_bytes()), "{json}");
        }
        for other in ["", "{", "{} {}", "[1,]", "\u{feff}{}"] {
            assert!(!is_json(other.as_bytes()), "{other}");
        }
    }

    #[track_caller]
    fn check_newest(body: &str, zone: &str, expected: Option<i64>) {
        let policy = LastModified { field: "at".into(), zone: zone.into() };
        assert_eq!(newest(body.as_bytes(), &policy), expected.map(HttpDate), "{body}");
    }

    #[test]
    fn the_newest_time_in_members_of_the_name_anywhere() {
        check_newest(r#"{"at":"2026-01-01T00:00:00Z"}"#, "", Some(1_767_225_600));
        check_newest(r#"{"at":"2026-01-01T01:00:00.9+01:00"}"#, "", Some(1_767_225_600));
        check_newest(r#"[{"at":5},{"x":{"at":9}},{"at":7}]"#, "", Some(9));
        check_newest(r#"{"at":1767225600123}"#, "", Some(1_767_225_600));
        check_newest(r#"{"at":99999999999}"#, "", Some(99_999_999_999));
        check_newest(r#"{"at":100000000000}"#, "", Some(100_000_000));
        for none in
            [r#"{"when":5}"#, r#"{"at":-5}"#, r#"{"at":1.5}"#, r#"{"at":null}"#, r#"{"at":true}"#, r#"{"at":"x"}"#]
        {
            check_newest(none, "UTC", None);
        }
        // A list of times is not a time, and what is inside a member of the name is not that member.
        check_newest(r#"{"at":[5],"x":1}"#, "", None);
        check_newest(r#"{"at":{"x":5}}"#, "", None);
        check_newest(r#"{"at":{"at":5}}"#, "", Some(5));
    }

    #[test]
    fn a_time_without_a_zone_is_never_guessed_at() {
        for text in [r#"{"at":"2026-01-01T01:00:00"}"#, r#"{"at":"2026-01-01 01:00:00"}"#] {
            check_newest(text, "", None);
            check_newest(text, "UTC", Some(1_767_229_200));
            check_newest(text, "Europe/Zurich", Some(1_767_225_600));
            check_newest(text, "No/Where", None);
        }
    }

    #[test]
    fn a_body_that_is_not_whole_json_has_no_time() {
        check_newest(r#"{"at":5"#, "", None);
        check_newest(r#"{"at":5} x"#, "", None);
        let unnamed = LastModified::default();
        assert_eq!(newest(br#"{"":5}"#, &unnamed), None);
    }

    proptest! {
        #[test]
        fn no_body_panics(body: Vec<u8>, pointer in "(/[a0~1]{0,2}){0,3}") {
            let hash = content_hash(&body);
            entity_tag(&body, hash, &Fields::new(), &etag(&[&pointer], &[]));
            newest(&body, &LastModified { field: "at".into(), zone: "UTC".into() });
        }

        #[test]
        fn a_value_left_out_is_all_that_may_differ(a in "[a-z]{0,8}", b in "[a-z]{0,8}", x in "[a-z]{0,8}") {
            let policy = etag(&["/t"], &[]);
            let of = |t: &str, x: &str| tagged(&format!(r#"{{"t":"{t}","x":"{x}"}}"#), &policy, &[]);
            prop_assert_eq!(of(&a, &x), of(&b, &x));
            prop_assert_eq!(of(&a, &a) == of(&b, &b), a == b);
        }
    }
}
