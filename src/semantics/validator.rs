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

/// The entity-tag of a content: `fg1-` and 128 bits of SHA-256 over the body, without what the route leaves out, and
/// over the fields that it adds. Strong, unless something was really left out: then bytes may differ under one tag.
pub fn entity_tag(body: &[u8], content: ContentHash, fields: &Fields, policy: &Etag) -> EntityTag {
    let left_out = ranges(body, &policy.ignore);
    if left_out.is_empty() && policy.fields.is_empty() {
        return tag(&content.0, !policy.ignore.is_empty());
    }
    let mut hash = Sha256::new();
    let mut from = 0;
    for range in &left_out {
        hash.update(&body[from..range.start]);
        from = range.end;
    }
    hash.update(&body[from..]);
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
            *members.get(token.parse::<usize>().ok()?)?
        } else {
            let members: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(value.get()).ok()?;
            *members.get(token.as_str())?
        };
    }
    let start = (value.get().as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    Some(start..start + value.get().len())
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
