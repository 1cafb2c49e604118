//! Validation (RFC 9111 §4.3): asking the origin whether a stored response still holds, and freshening it.

use crate::clock::Timestamp;
use crate::field::Fields;
use crate::field::connection;
use crate::field::date::HttpDate;
use crate::field::entity_tag::EntityTag;
use crate::message;
use crate::policy::Route;
use crate::semantics::content_coding;
use crate::semantics::freshness;
use crate::semantics::stored_response::{Modified, Response, Validator};
use crate::semantics::validator;

/// What makes a request to the origin conditional; at least one of the two is there, and the origin sent each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub entity_tag: Option<EntityTag>,
    pub modified: Option<HttpDate>,
}

impl Condition {
    /// Whether a 304 to it can only be about the same octets (RFC 9110 §8.8.1).
    pub fn is_strong(&self) -> bool {
        self.entity_tag.as_ref().is_some_and(|tag| !tag.weak)
    }

    /// Puts the condition into the fields of a request to the origin, in place of any it had.
    pub fn write_to(&self, fields: &mut Fields) {
        fields.remove("if-none-match");
        fields.remove("if-modified-since");
        if let Some(tag) = &self.entity_tag {
            fields.push("If-None-Match", tag.to_bytes());
        }
        if let Some(date) = self.modified {
            fields.push("If-Modified-Since", date.to_string());
        }
    }
}

/// The condition by which the origin can say that `response` still holds (RFC 9111 §4.3.1): both validators, where it
/// sent both. `None` where it sent none: what was computed here means nothing to it.
pub fn conditional(response: &Response) -> Option<Condition> {
    let entity_tag = match &response.validator {
        Validator::Origin(tag) => Some(tag.clone()),
        Validator::Computed(_) | Validator::Absent => None,
    };
    let modified = match response.modified {
        Modified::Origin(date) => Some(date),
        Modified::Computed { .. } | Modified::Absent => None,
    };
    (entity_tag.is_some() || modified.is_some()).then_some(Condition { entity_tag, modified })
}

/// Fields of a 304 that do not replace stored ones. RFC 9111 §3.2 excepts Content-Length, and lets a cache omit, "on an
/// exceptional basis", fields "necessary to assure integrity of the stored response": Content-Encoding, Content-Range
/// and Content-Type say how the stored octets are to be read, these were hashed and coded accordingly, and frameworks
/// put their default type on a 304. Set-Cookie is for the one who asked; from the store it would reach all others. Age
/// is counted into the initial age. The validators are kept beside the fields.
const NOT_UPDATED: [&str; 8] = [
    "content-length",
    "content-encoding",
    "content-range",
    "content-type",
    "set-cookie",
    "age",
    "etag",
    "last-modified",
];

/// `stored`, freshened by a 304 with the fields `head` (RFC 9111 §4.3.4). `None` where the 304 names another
/// representation, so that the origin must be asked once more, without a condition.
pub fn freshen(
    stored: &Response,
    head: &Fields,
    route: &Route,
    request_time: Timestamp,
    response_time: Timestamp,
) -> Option<Response> {
    let received = HttpDate(response_time.wall_seconds());
    let modified = HttpDate::of(head, "last-modified", received);
    if !identifies(EntityTag::of(head), modified, stored) {
        return None;
    }
    Some(updated_by(head, stored, route, request_time, response_time))
}

/// `stored`, freshened by the 200 to a HEAD (RFC 9111 §4.3.5): "if the stored response and HEAD response have matching values
/// for any received validator fields (ETag and Last-Modified) and, if the HEAD response has a Content-Length header field,
/// the value of Content-Length matches that of the stored response". `None` where they do not, and where the HEAD names no
/// validator: two contents can have one length. `condition` is what may vouch for what is stored.
pub fn freshen_by_head(
    stored: &Response,
    condition: &Condition,
    head: &Fields,
    route: &Route,
    request_time: Timestamp,
    response_time: Timestamp,
) -> Option<Response> {
    let modified = HttpDate::of(head, "last-modified", HttpDate(response_time.wall_seconds()));
    let same_tag = match EntityTag::of(head) {
        Some(tag) => Some(condition.entity_tag.as_ref() == Some(&tag)),
        // What is no entity-tag vouches for nothing, but where it is another one it tells of another content.
        None => {
            let differs = head.contains("etag") && !head.get_all("etag").eq(stored.fields.get_all("etag"));
            differs.then_some(false)
        }
    };
    // A date that cannot be read matches none.
    let matches = || modified.is_some_and(|date| stored.modified == Modified::Origin(date));
    let same_date = head.contains("last-modified").then(matches);
    let vouches = match (same_tag, same_date) {
        (Some(false), _) | (_, Some(false)) | (None, None) => false,
        (Some(true), _) => true,
        (None, Some(true)) => condition.modified.is_some(),
    };
    let same_length = match message::content_length(head) {
        Ok(length) => length.is_none_or(|length| length == stored.content_length),
        Err(_) => false,
    };
    let freshened = || updated_by(head, stored, route, request_time, response_time);
    (vouches && same_length).then(freshened)
}

/// `stored` with the fields of a response that is known to be about it.
fn updated_by(
    head: &Fields,
    stored: &Response,
    route: &Route,
    request_time: Timestamp,
    response_time: Timestamp,
) -> Response {
    let received = HttpDate(response_time.wall_seconds());
    let mut update = connection::end_to_end(head);
    update.retain(|name, _| !NOT_UPDATED.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes())));
    // "A recipient with a clock that receives a response message without a Date header field MUST record the time it
    // was received and append a corresponding Date header field to the message's header section if it is cached"
    // (RFC 9110 §6.6.1). The old Date beside a new Expires would make a lifetime that nobody gave.
    if !update.contains("date") {
        update.push("Date", received.to_string());
    }
    let mut fields = updated(&stored.fields, &update);
    // "For each stored response identified, the cache MUST update its header fields with the header fields provided in the
    // 304 (Not Modified) response" (RFC 9111 §4.3.4): the origin's date outranks one that was computed here, as in a 200.
    let modified = validator::sent_date(head, received).map_or(stored.modified, Modified::Origin);
    if modified != stored.modified {
        fields.remove("last-modified");
    }
    Response {
        recodable: content_coding::is_recodable(
            stored.status,
            &fields,
            &stored.validator,
            stored.content_length,
            route,
        ),
        fields,
        modified,
        response_time,
        initial_age: freshness::initial_age(stored.status, head, route, request_time, response_time),
        aged: head.contains("age"),
        ..stored.clone()
    }
}

/// Whether the validators of a 304 identify `stored` for update (RFC 9111 §4.3.4).
fn identifies(tag: Option<EntityTag>, modified: Option<HttpDate>, stored: &Response) -> bool {
    match (tag, &stored.validator) {
        // "If the new response contains one or more strong validators, then each of those strong validators identifies
        // a selected representation for update. … If none of the initial set contains at least one of the same
        // strong validators, then the cache MUST NOT use the new response to update any stored responses."
        (Some(tag), Validator::Origin(ours)) if !tag.weak => tag.strongly_matches(ours),
        // "If the new response contains no strong validators but does contain one or more weak validators, and those
        // validators correspond to one of the cache's stored responses"
        (Some(tag), Validator::Origin(ours)) => tag.weakly_matches(ours),
        (Some(_), Validator::Computed(_) | Validator::Absent) => false,
        // A 304 without a validator answers the condition that was sent, which named this response and no other.
        (None, _) => match (modified, stored.modified) {
            (Some(date), Modified::Origin(ours)) => date == ours,
            _ => true,
        },
    }
}

/// "The cache MUST add each header field in the provided response to the stored response, replacing field values that
/// are already present" (RFC 9111 §3.2).
fn updated(stored: &Fields, update: &Fields) -> Fields {
    let replaced = |name: &[u8]| update.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    stored.iter().filter(|(name, _)| !replaced(name)).chain(update.iter()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::sample::{fresh, plain};
    use crate::semantics::stored_response::ContentHash;
    use bytes::Bytes;
    use std::time::Duration;

    /// Thu, 01 Jan 2026 00:00:00 GMT
    const THEN: HttpDate = HttpDate(1_767_225_600);
    const STRONG: &str = "\"a\"";
    const WEAK: &str = "W/\"a\"";

    fn at(seconds: u64) -> Timestamp {
        Timestamp { wall_ms: THEN.0 * 1000, boot_ms: 5_000_000 } + Duration::from_secs(seconds)
    }

    fn tag(text: &str) -> EntityTag {
        EntityTag::parse(text.as_bytes()).expect("a valid entity-tag")
    }

    fn fields(lines: &[(&str, &str)]) -> Fields {
        lines.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn stored(validator: Validator, modified: Modified) -> Response {
        Response {
            status: 200,
            reason: Bytes::from("OK"),
            fields: fields(&[("Date", "Thu, 01 Jan 2026 00:00:00 GMT")]),
            content: ContentHash([1; 32]),
            content_length: 10,
            validator,
            modified,
            response_time: at(1),
            initial_age: Duration::from_secs(1),
            aged: false,
            recodable: false,
        }
    }

    const COMPUTED: Modified = Modified::Computed { date: THEN, first_seen: THEN };

    #[track_caller]
    fn check_condition(validator: Validator, modified: Modified, expected: &[(&str, &str)]) {
        let mut sent = fields(&[]);
        if let Some(condition) = conditional(&stored(validator, modified)) {
            condition.write_to(&mut sent);
            assert!(!sent.is_empty());
        }
        assert_eq!(sent, fields(expected));
    }

    #[test]
    fn only_the_origin_s_validators_are_sent_to_it() {
        let (etag, since) = (("If-None-Match", WEAK), ("If-Modified-Since", "Thu, 01 Jan 2026 00:00:00 GMT"));
        check_condition(Validator::Origin(tag(WEAK)), Modified::Origin(THEN), &[etag, since]);
        check_condition(Validator::Origin(tag(WEAK)), COMPUTED, &[etag]);
        check_condition(Validator::Origin(tag(WEAK)), Modified::Absent, &[etag]);
        check_condition(Validator::Computed(tag(STRONG)), Modified::Origin(THEN), &[since]);
        check_condition(Validator::Absent, Modified::Origin(THEN), &[since]);
        check_condition(Validator::Computed(tag(STRONG)), COMPUTED, &[]);
        check_condition(Validator::Absent, Modified::Absent, &[]);
    }

    #[test]
    fn a_condition_is_strong_by_its_entity_tag_alone() {
        let condition = |tag, modified| Condition { entity_tag: tag, modified };
        assert!(condition(Some(tag(STRONG)), Some(THEN)).is_strong());
        assert!(!condition(Some(tag(WEAK)), Some(THEN)).is_strong());
        assert!(!condition(None, Some(THEN)).is_strong());
    }

    #[test]
    fn a_condition_replaces_the_client_s_own() {
        let mut request = fields(&[("if-none-match", "\"x\""), ("If-Modified-Since", "x"), ("Accept", "*/*")]);
        Condition { entity_tag: Some(tag("\"ü\\\"")), modified: None }.write_to(&mut request);
        assert_eq!(request, fields(&[("Accept", "*/*"), ("If-None-Match", "\"ü\\\"")]));
    }

    #[track_caller]
    fn check_identifies(validator: Validator, modified: Modified, head: &[(&str, &str)], expected: bool) {
        let found = freshen(&stored(validator, modified), &fields(head), &plain(), at(9), at(10)).is_some();
        assert_eq!(found, expected, "{head:?}");
    }

    #[test]
    fn a_304_with_a_strong_entity_tag_must_name_just_that() {
        let origin = |text| Validator::Origin(tag(text));
        check_identifies(origin(STRONG), Modified::Absent, &[("ETag", STRONG)], true);
        check_identifies(origin(STRONG), Modified::Absent, &[("ETag", "\"b\"")], false);
        check_identifies(origin(WEAK), Modified::Absent, &[("ETag", STRONG)], false);
        check_identifies(Validator::Computed(tag(STRONG)), Modified::Origin(THEN), &[("ETag", STRONG)], false);
    }

    #[test]
    fn a_304_with_a_weak_entity_tag_must_correspond() {
        let origin = |text| Validator::Origin(tag(text));
        check_identifies(origin(STRONG), Modified::Absent, &[("ETag", WEAK)], true);
        check_identifies(origin(WEAK), Modified::Absent, &[("ETag", WEAK)], true);
        check_identifies(origin(WEAK), Modified::Absent, &[("ETag", "W/\"b\"")], false);
        check_identifies(Validator::Absent, Modified::Origin(THEN), &[("ETag", WEAK)], false);
    }

    #[test]
    fn a_304_without_an_entity_tag_answers_what_was_asked_unless_its_date_is_another() {
        let (same, other) = ("Thu, 01 Jan 2026 00:00:00 GMT", "Thu, 01 Jan 2026 00:00:01 GMT");
        check_identifies(Validator::Origin(tag(STRONG)), Modified::Origin(THEN), &[], true);
        check_identifies(Validator::Absent, Modified::Origin(THEN), &[("Last-Modified", same)], true);
        check_identifies(Validator::Absent, Modified::Origin(THEN), &[("Last-Modified", other)], false);
        check_identifies(Validator::Origin(tag(STRONG)), COMPUTED, &[("Last-Modified", other)], true);
    }

    #[track_caller]
    fn check_update(before: &[(&str, &str)], head: &[(&str, &str)], after: &[(&str, &str)]) {
        let stored = Response { fields: fields(before), ..stored(Validator::Origin(tag(STRONG)), Modified::Absent) };
        let freshened =
            freshen(&stored, &fields(head), &plain(), at(9), at(10)).expect("nothing names another representation");
        assert_eq!(freshened.fields, fields(after));
    }

    const DATE: (&str, &str) = ("Date", "Thu, 01 Jan 2026 00:00:09 GMT");

    #[test]
    fn a_304_replaces_the_fields_it_brings_and_leaves_the_others() {
        check_update(
            &[("A", "1"), ("b", "2"), ("B", "3"), ("Date", "x")],
            &[DATE, ("B", "4"), ("Content-Foo", "5"), ("b", "6"), ("ETag", STRONG)],
            &[("A", "1"), DATE, ("B", "4"), ("Content-Foo", "5"), ("b", "6")],
        );
        check_update(
            &[("Cache-Control", "max-age=1"), ("Expires", "0")],
            &[DATE, ("cache-control", "max-age=2")],
            &[("Expires", "0"), DATE, ("cache-control", "max-age=2")],
        );
    }

    #[test]
    fn what_describes_the_stored_octets_or_one_caller_or_this_hop_is_not_updated() {
        for name in ["Content-Length", "Content-Encoding", "Content-Range", "Content-Type"] {
            check_update(&[(name, "old")], &[DATE, (name, "new")], &[(name, "old"), DATE]);
            check_update(&[], &[DATE, (name, "new")], &[DATE]);
        }
        let mine = [("Set-Cookie", "a=b"), ("Age", "5"), ("Last-Modified", "x"), ("Keep-Alive", "x"), ("X-Hop", "x")];
        for (name, value) in mine {
            check_update(&[], &[DATE, ("Connection", "x-hop"), (name, value)], &[DATE]);
        }
    }

    #[test]
    fn a_304_without_a_date_is_dated_when_it_came() {
        check_update(&[("Date", "old")], &[], &[("Date", "Thu, 01 Jan 2026 00:00:10 GMT")]);
    }

    #[test]
    fn freshening_starts_the_age_anew_and_keeps_the_content() {
        let before = stored(Validator::Origin(tag(STRONG)), Modified::Origin(THEN));
        let head = fields(&[DATE, ("Age", "30"), ("ETag", STRONG), ("Last-Modified", "Thu, 01 Jan 2026 00:00:05 GMT")]);
        let after = freshen(&before, &head, &plain(), at(9), at(10)).expect("the entity-tag is the same");
        assert_eq!(after.response_time, at(10));
        assert_eq!((after.initial_age, after.aged), (Duration::from_secs(31), true));
        assert_eq!(after.modified, Modified::Origin(HttpDate(THEN.0 + 5)));
        assert_eq!(after.validator, before.validator);
        assert_eq!((after.content, after.content_length, after.status), (before.content, 10, 200));
    }

    #[test]
    fn a_304_may_forbid_other_codings() {
        let lines = fields(&[("Content-Type", "application/json")]);
        let origin = Validator::Origin(tag(WEAK));
        let before =
            Response { fields: lines, content_length: 2000, recodable: true, ..stored(origin, Modified::Absent) };
        let recodable = |head: &[(&str, &str)]| {
            freshen(&before, &fields(head), &fresh(), at(9), at(10)).map(|after| after.recodable)
        };
        assert_eq!(recodable(&[DATE]), Some(true));
        assert_eq!(recodable(&[DATE, ("Cache-Control", "no-transform")]), Some(false));
    }

    #[test]
    fn a_304_without_an_age_is_the_origin_s_own_whatever_it_freshens() {
        let before = Response { aged: true, ..stored(Validator::Origin(tag(STRONG)), Modified::Absent) };
        let after = freshen(&before, &fields(&[DATE]), &plain(), at(9), at(10)).expect("it names no other");
        assert!(!after.aged);
    }

    #[test]
    fn a_head_freshens_what_all_its_validators_and_its_length_name() {
        let (same, other) = ("Thu, 01 Jan 2026 00:00:00 GMT", "Thu, 01 Jan 2026 00:00:01 GMT");
        let before = stored(Validator::Origin(tag(STRONG)), Modified::Origin(THEN));
        let both = conditional(&before).expect("the origin sent both");
        let check = |condition: &Condition, lines: &[(&str, &str)], expected: bool| {
            let head = fields(lines);
            let after = freshen_by_head(&before, condition, &head, &plain(), at(9), at(10));
            assert_eq!(after.is_some(), expected, "{lines:?}");
        };
        check(&both, &[("ETag", STRONG), ("Last-Modified", same), ("Content-Length", "10")], true);
        check(&both, &[("ETag", STRONG)], true);
        check(&both, &[("Last-Modified", same)], true);
        check(&both, &[("ETag", WEAK)], false);
        check(&both, &[("ETag", STRONG), ("Last-Modified", other)], false);
        check(&both, &[("ETag", "\"b\""), ("Last-Modified", same)], false);
        check(&both, &[("ETag", STRONG), ("Content-Length", "11")], false);
        check(&both, &[("ETag", STRONG), ("Content-Length", "x")], false);
        check(&both, &[("Content-Length", "10")], false);
        check(&both, &[("ETag", "a"), ("Last-Modified", same)], false);
        check(&both, &[("ETag", STRONG), ("Last-Modified", "0")], false);
        let odd = Response { fields: fields(&[("ETag", "a")]), ..stored(Validator::Absent, Modified::Origin(THEN)) };
        let by_date = conditional(&odd).expect("the origin sent a date");
        for (line, expected) in [("a", true), ("b", false)] {
            let head = fields(&[("ETag", line), ("Last-Modified", same)]);
            let after = freshen_by_head(&odd, &by_date, &head, &plain(), at(9), at(10));
            assert_eq!(after.is_some(), expected, "{line}");
        }
        let by_tag_alone = Condition { modified: None, ..both };
        check(&by_tag_alone, &[("Last-Modified", same)], false);
        check(&by_tag_alone, &[("ETag", STRONG), ("Last-Modified", same)], true);
        let freshened = freshen_by_head(
            &before,
            &by_tag_alone,
            &fields(&[DATE, ("ETag", STRONG), ("A", "1")]),
            &plain(),
            at(9),
            at(10),
        );
        assert_eq!(
            freshened.map(|after| (after.response_time, after.fields)),
            Some((at(10), fields(&[DATE, ("A", "1")])))
        );
    }

    #[test]
    fn the_origin_s_date_replaces_any_unless_it_is_absurd() {
        let after = |before, date: &str| {
            let before = stored(Validator::Origin(tag(STRONG)), before);
            let head = fields(&[DATE, ("ETag", STRONG), ("Last-Modified", date)]);
            freshen(&before, &head, &plain(), at(9), at(10)).map(|after| after.modified)
        };
        let sent = Some(Modified::Origin(HttpDate(THEN.0 + 5)));
        for before in [COMPUTED, Modified::Origin(THEN), Modified::Absent] {
            assert_eq!(after(before, "Thu, 01 Jan 2026 00:00:05 GMT"), sent);
            for absurd in ["Fri, 02 Jan 2026 00:00:00 GMT", "2026-01-01"] {
                assert_eq!(after(before, absurd), Some(before), "{absurd}");
            }
        }
    }
}
