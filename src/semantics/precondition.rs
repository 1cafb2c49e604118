//! Preconditions and ranges (RFC 9110 §13 and §14): what part of a complete 200 its client needs to be sent.

use crate::clock::Timestamp;
use crate::field::Fields;
use crate::field::date::HttpDate;
use crate::field::entity_tag::{EntityTag, TagList, hash_of_ours, is_ours};
use crate::field::range::{self, Resolved};
use crate::semantics::stored_response::{Modified, Response, Validator};
use std::time::Duration;

/// The selected representation (RFC 9110 §3.2): what a 200 would carry now, in the coding that this client gets.
#[derive(Clone, Copy, Debug)]
pub struct Selected<'a> {
    pub status: u16,
    /// The response's own fields, for their Date.
    pub fields: &'a Fields,
    /// The entity-tag that the client would see.
    pub entity_tag: Option<&'a EntityTag>,
    pub modified: Modified,
    /// Octets of content, as coded.
    pub content_length: u64,
    /// Whether a part of it may be sent: it is complete.
    pub range_allowed: bool,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluated {
    /// The response as it is.
    Full,
    /// 304
    NotModified,
    /// 412
    PreconditionFailed,
    /// 206 with these octets, both within the content.
    Part { first: u64, last: u64 },
    /// 416
    RangeNotSatisfiable,
}

/// Evaluates the preconditions of a GET or HEAD in the order of RFC 9110 §13.2.2.
///
/// "A server MUST ignore all received preconditions if its response to the same request without those conditions, prior
/// to processing the request content, would have been a status code other than a 2xx (Successful) or 412" (§13.2.1); of
/// the 2xx only a 200 is a representation that a validator could name here. Other methods have their preconditions
/// elsewhere.
pub fn evaluate(request: &Fields, method: &str, selected: &Selected<'_>, now: Timestamp) -> Evaluated {
    if selected.status != 200 || !matches!(method, "GET" | "HEAD") {
        return Evaluated::Full;
    }
    let now = HttpDate(now.wall_seconds());
    // "1. When recipient is the origin server and If-Match is present, evaluate the If-Match precondition"
    // "2. … If-Match is not present, and If-Unmodified-Since is present, evaluate the If-Unmodified-Since precondition"
    let holds = if_match(request, selected).or_else(|| if_unmodified_since(request, selected, now));
    if holds == Some(false) {
        return Evaluated::PreconditionFailed;
    }
    // "3. When If-None-Match is present, evaluate the If-None-Match precondition"
    // "4. When the method is GET or HEAD, If-None-Match is not present, and If-Modified-Since is present, evaluate"
    let holds = if_none_match(request, selected).or_else(|| if_modified_since(request, selected, now));
    if holds == Some(false) {
        return Evaluated::NotModified;
    }
    // "5. When the method is GET and both Range and If-Range are present, evaluate the If-Range precondition"
    if method == "GET" && selected.range_allowed && if_range(request, selected, now) {
        return part(request, selected.content_length);
    }
    Evaluated::Full
}

/// If-Match (§13.1.1), by strong comparison. Without an entity-tag there is nothing to compare here, and the origin,
/// which gave none, has the only say.
fn if_match(request: &Fields, selected: &Selected<'_>) -> Option<bool> {
    let list = TagList::of(request, "if-match")?;
    Some(selected.entity_tag.is_none_or(|tag| list.strongly_contains(tag)))
}

/// If-Unmodified-Since (§13.1.4). "A recipient MUST ignore the If-Unmodified-Since header field if the received field
/// value is not a valid HTTP-date", as well as "if the resource does not have a modification date available".
fn if_unmodified_since(request: &Fields, selected: &Selected<'_>, now: HttpDate) -> Option<bool> {
    let since = HttpDate::of(request, "if-unmodified-since", now)?;
    Some(vouched(selected.modified, now)? <= since)
}

/// If-None-Match (§13.1.2), by weak comparison. Present but without a readable member it is true: nothing it could name
/// is what the client holds.
fn if_none_match(request: &Fields, selected: &Selected<'_>) -> Option<bool> {
    let found = match TagList::of(request, "if-none-match")? {
        TagList::Any => true,
        list => selected.entity_tag.is_some_and(|tag| list.weakly_contains(tag)),
    };
    Some(!found)
}

/// If-Modified-Since (§13.1.3): false "if the selected representation's last modification date is earlier or equal to
/// the date provided". A date still to come is ignored, unless it is the very one this response shows: nobody can
/// have learned from it what the content will be by then. Of computed dates no two contents of a URL have the same, so
/// there only the very date names this content: a later one may be that of a content that came and went.
fn if_modified_since(request: &Fields, selected: &Selected<'_>, now: HttpDate) -> Option<bool> {
    let since = HttpDate::of(request, "if-modified-since", now)?;
    let modified = vouched(selected.modified, now)?;
    let computed = matches!(selected.modified, Modified::Computed { .. });
    Some(since != modified && (computed || since < modified || since > now))
}

/// The modification date where it may answer alone. A computed one may not before it has come, since another content
/// could follow within the same second; nor if it is older than our first sight of the content, since an older content
/// could have carried it too.
fn vouched(modified: Modified, now: HttpDate) -> Option<HttpDate> {
    match modified {
        Modified::Origin(date) => Some(date),
        Modified::Computed { date, first_seen } => (first_seen <= date && date <= now).then_some(date),
        Modified::Absent => None,
    }
}

/// If-Range (§13.1.5): whether Range counts. Without the field it does. An entity-tag is compared strongly; a date must
/// be exactly the origin's Last-Modified, and a strong validator: "that cache entry includes a Date value which is at
/// least one second after the Last-Modified value and … there is enough difference between the Last-Modified and Date
/// values to make clock synchronization issues unlikely" (§8.8.2.2).
fn if_range(request: &Fields, selected: &Selected<'_>, now: HttpDate) -> bool {
    const ENOUGH: Duration = Duration::from_secs(60);
    let mut lines = request.get_all("if-range");
    let line = match (lines.next(), lines.next()) {
        (None, _) => return true,
        (Some(line), None) => line,
        (Some(_), Some(_)) => return false,
    };
    if let Some(tag) = EntityTag::parse(line) {
        return selected.entity_tag.is_some_and(|selected| selected.strongly_matches(&tag));
    }
    match (HttpDate::parse(line, now), selected.modified, HttpDate::of(selected.fields, "date", now)) {
        (Some(given), Modified::Origin(modified), Some(date)) => {
            given == modified && date.0.saturating_sub(modified.0) >= ENOUGH.as_secs().cast_signed()
        }
        _ => false,
    }
}

/// What becomes of a mutation whose precondition names what only this proxy knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// The precondition holds, and the origin need not hear of it.
    Holds,
    /// 412: what the client has seen is not what there is.
    Failed,
    /// It is the origin's to evaluate, as far as it names what the origin knows.
    OfTheOrigin,
}

/// Whether If-Match names versions, and only versions: not `*`, which any of them fulfils.
pub fn names_a_version(request: &Fields) -> bool {
    matches!(TagList::of(request, "if-match"), Some(TagList::Tags(tags)) if !tags.is_empty())
}

/// Whether a mutation's precondition may rest on a validator that was computed here: If-Match with an entity-tag of our
/// shape, or If-Unmodified-Since, which "a recipient MUST ignore if the request contains an If-Match header field"
/// (RFC 9110 §13.1.4).
pub fn may_rest_on_ours(request: &Fields, now: Timestamp) -> bool {
    match TagList::of(request, "if-match") {
        Some(TagList::Any) => false,
        Some(TagList::Tags(tags)) => tags.iter().any(is_ours),
        None => HttpDate::of(request, "if-unmodified-since", HttpDate(now.wall_seconds())).is_some(),
    }
}

/// Evaluates the precondition of a mutation against the current representation of its target; `None` where there is
/// none. `strictly`: where the current entity-tag was computed here, the origin knows none, so that none of the origin's
/// can be the current one.
///
/// "If the field value is a list of entity tags, the condition is true if any of the listed tags match the entity tag of
/// the selected representation" (RFC 9110 §13.1.1). One of ours stands for the content, whatever its coding, and without
/// `W/` it is the strong form: it names exactly the content that it was computed from.
pub fn of_update(request: &Fields, current: Option<&Response>, strictly: bool, now: Timestamp) -> Update {
    let Some(list) = TagList::of(request, "if-match") else {
        return unmodified_since(request, current, HttpDate(now.wall_seconds()));
    };
    let TagList::Tags(listed) = list else { return Update::OfTheOrigin };
    let computed = match current.map(|response| &response.validator) {
        Some(Validator::Computed(tag)) => hash_of_ours(tag),
        _ => None,
    };
    let named = |tag: &EntityTag| computed.is_some() && hash_of_ours(tag) == computed;
    if listed.iter().any(named) {
        Update::Holds
    } else if listed.iter().all(is_ours) || strictly && computed.is_some() {
        Update::Failed
    } else {
        Update::OfTheOrigin
    }
}

/// Of computed dates no two contents of a URL have the same, and none has one before it has come.
fn unmodified_since(request: &Fields, current: Option<&Response>, now: HttpDate) -> Update {
    let since = HttpDate::of(request, "if-unmodified-since", now);
    match (since, current.map(|response| response.modified)) {
        (Some(since), Some(Modified::Computed { date, .. })) if date <= since && date <= now => Update::Holds,
        (Some(_), Some(Modified::Computed { .. })) => Update::Failed,
        _ => Update::OfTheOrigin,
    }
}

/// The range, if one is asked for. Of nothing there is no part, so an empty content is sent whole.
fn part(request: &Fields, content_length: u64) -> Evaluated {
    let Some(range) = range::of(request).filter(|_| content_length > 0) else { return Evaluated::Full };
    match range.resolve(content_length) {
        Resolved::Part { first, last } => Evaluated::Part { first, last },
        Resolved::Unsatisfiable => Evaluated::RangeNotSatisfiable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Evaluated::{Full, NotModified, Part, PreconditionFailed, RangeNotSatisfiable};
    use proptest::prelude::*;

    /// Thu, 01 Jan 2026 00:01:40 GMT
    const NOW: i64 = 1_767_225_700;
    const BEFORE: &str = "Thu, 01 Jan 2026 00:00:09 GMT";
    const THEN: &str = "Thu, 01 Jan 2026 00:00:10 GMT";
    const AFTER: &str = "Thu, 01 Jan 2026 00:00:11 GMT";
    /// [`NOW`]
    const PRESENT: &str = "Thu, 01 Jan 2026 00:01:40 GMT";
    const FUTURE: &str = "Thu, 01 Jan 2026 00:01:41 GMT";
    /// [`THEN`]
    const MODIFIED: HttpDate = HttpDate(NOW - 90);

    /// A complete 200 with the entity-tag `"a"`, last modified at [`THEN`], generated at [`NOW`], ten octets long.
    struct Case {
        method: &'static str,
        status: u16,
        tag: Option<&'static str>,
        modified: Modified,
        date: HttpDate,
        length: u64,
        range_allowed: bool,
    }

    impl Default for Case {
        fn default() -> Self {
            Case {
                method: "GET",
                status: 200,
                tag: Some("\"a\""),
                modified: Modified::Origin(MODIFIED),
                date: HttpDate(NOW),
                length: 10,
                range_allowed: true,
            }
        }
    }

    impl Case {
        #[track_caller]
        fn check(&self, lines: &[(&str, &str)], expected: Evaluated) {
            let request = lines.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            let tag = self.tag.map(|text| EntityTag::parse(text.as_bytes()).expect("a valid entity-tag"));
            let selected = Selected {
                status: self.status,
                fields: &[("Date", self.date.to_string())].into_iter().collect(),
                entity_tag: tag.as_ref(),
                modified: self.modified,
                content_length: self.length,
                range_allowed: self.range_allowed,
            };
            let now = Timestamp { wall_ms: NOW * 1000 + 999, boot_ms: 0 };
            assert_eq!(evaluate(&request, self.method, &selected, now), expected, "{lines:?}");
        }
    }

    #[track_caller]
    fn check(lines: &[(&str, &str)], expected: Evaluated) {
        Case::default().check(lines, expected);
    }

    #[test]
    fn without_preconditions_everything_is_sent() {
        check(&[], Full);
    }

    #[test]
    fn if_none_match_compares_weakly_over_lists() {
        check(&[("If-None-Match", "\"a\"")], NotModified);
        check(&[("If-None-Match", "W/\"a\"")], NotModified);
        check(&[("If-None-Match", "\"b\", \"a\"")], NotModified);
        check(&[("If-None-Match", "\"b\""), ("If-None-Match", "\"a\"")], NotModified);
        check(&[("If-None-Match", "*")], NotModified);
        check(&[("If-None-Match", "\"b\"")], Full);
        check(&[("If-None-Match", "a")], Full);
        check(&[("If-None-Match", "")], Full);
        Case { tag: Some("W/\"a\""), ..Case::default() }.check(&[("If-None-Match", "\"a\"")], NotModified);
        Case { method: "HEAD", ..Case::default() }.check(&[("If-None-Match", "\"a\"")], NotModified);
        Case { tag: None, ..Case::default() }.check(&[("If-None-Match", "\"a\"")], Full);
    }

    #[test]
    fn if_modified_since_counts_only_without_if_none_match() {
        check(&[("If-Modified-Since", THEN)], NotModified);
        check(&[("If-Modified-Since", THEN), ("If-None-Match", "\"b\"")], Full);
        check(&[("If-Modified-Since", THEN), ("If-None-Match", "garbage")], Full);
        check(&[("If-Modified-Since", BEFORE), ("If-None-Match", "\"a\"")], NotModified);
    }

    #[test]
    fn if_modified_since_holds_unless_the_date_is_the_modification_s_or_later() {
        check(&[("If-Modified-Since", BEFORE)], Full);
        check(&[("If-Modified-Since", AFTER)], NotModified);
        check(&[("If-Modified-Since", "Thursday, 01-Jan-26 00:00:10 GMT")], NotModified);
        check(&[("If-Modified-Since", "garbage")], Full);
        check(&[("If-Modified-Since", THEN), ("If-Modified-Since", THEN)], Full);
        Case { modified: Modified::Absent, ..Case::default() }.check(&[("If-Modified-Since", AFTER)], Full);
    }

    #[test]
    fn if_modified_since_in_the_future_is_ignored_unless_the_origin_said_just_that() {
        check(&[("If-Modified-Since", FUTURE)], Full);
        check(&[("If-Modified-Since", PRESENT)], NotModified);
        let ahead = Case { modified: Modified::Origin(HttpDate(NOW + 1)), ..Case::default() };
        ahead.check(&[("If-Modified-Since", FUTURE)], NotModified);
    }

    #[test]
    fn a_computed_date_answers_to_itself_once_it_has_come_and_if_the_content_was_not_seen_later() {
        let computed = |date, first_seen| Case {
            modified: Modified::Computed { date: HttpDate(date), first_seen: HttpDate(first_seen) },
            ..Case::default()
        };
        computed(MODIFIED.0, MODIFIED.0).check(&[("If-Modified-Since", THEN)], NotModified);
        computed(MODIFIED.0, MODIFIED.0).check(&[("If-Modified-Since", BEFORE)], Full);
        computed(MODIFIED.0, MODIFIED.0).check(&[("If-Modified-Since", AFTER)], Full);
        computed(MODIFIED.0, MODIFIED.0 - 1).check(&[("If-Modified-Since", THEN)], NotModified);
        computed(MODIFIED.0, MODIFIED.0 + 1).check(&[("If-Modified-Since", THEN)], Full);
        computed(NOW, NOW).check(&[("If-Modified-Since", "Thu, 01 Jan 2026 00:01:40 GMT")], NotModified);
        computed(NOW + 1, NOW).check(&[("If-Modified-Since", FUTURE)], Full);
    }

    #[test]
    fn if_match_compares_strongly() {
        check(&[("If-Match", "\"a\"")], Full);
        check(&[("If-Match", "\"b\", \"a\"")], Full);
        check(&[("If-Match", "*")], Full);
        check(&[("If-Match", "\"b\"")], PreconditionFailed);
        check(&[("If-Match", "W/\"a\"")], PreconditionFailed);
        check(&[("If-Match", "garbage")], PreconditionFailed);
        Case { tag: Some("W/\"a\""), ..Case::default() }.check(&[("If-Match", "\"a\"")], PreconditionFailed);
        Case { tag: None, ..Case::default() }.check(&[("If-Match", "\"a\"")], Full);
    }

    #[test]
    fn if_unmodified_since_counts_only_without_if_match() {
        check(&[("If-Unmodified-Since", THEN)], Full);
        check(&[("If-Unmodified-Since", BEFORE)], PreconditionFailed);
        check(&[("If-Unmodified-Since", BEFORE), ("If-Match", "\"a\"")], Full);
        check(&[("If-Unmodified-Since", "garbage")], Full);
        Case { modified: Modified::Absent, ..Case::default() }.check(&[("If-Unmodified-Since", BEFORE)], Full);
    }

    #[test]
    fn the_preconditions_go_in_the_order_of_the_rfc() {
        check(&[("If-None-Match", "\"a\""), ("If-Match", "\"b\"")], PreconditionFailed);
        check(&[("If-None-Match", "\"a\""), ("If-Match", "\"a\"")], NotModified);
        check(&[("If-Modified-Since", THEN), ("If-Unmodified-Since", BEFORE)], PreconditionFailed);
        check(&[("Range", "bytes=0-1"), ("If-None-Match", "\"a\"")], NotModified);
        check(&[("Range", "bytes=0-1"), ("If-None-Match", "\"b\"")], Part { first: 0, last: 1 });
    }

    #[test]
    fn one_range_of_a_get_is_sent_alone() {
        check(&[("Range", "bytes=0-1")], Part { first: 0, last: 1 });
        check(&[("Range", "bytes=1-")], Part { first: 1, last: 9 });
        check(&[("Range", "bytes=-1")], Part { first: 9, last: 9 });
        check(&[("Range", "bytes=10-")], RangeNotSatisfiable);
        check(&[("Range", "bytes=0-1,3-4")], Full);
        Case { method: "HEAD", ..Case::default() }.check(&[("Range", "bytes=0-1")], Full);
        Case { range_allowed: false, ..Case::default() }.check(&[("Range", "bytes=0-1")], Full);
        Case { length: 0, ..Case::default() }.check(&[("Range", "bytes=0-1")], Full);
    }

    #[test]
    fn if_range_by_entity_tag_compares_strongly() {
        let range = ("Range", "bytes=0-1");
        check(&[range, ("If-Range", "\"a\"")], Part { first: 0, last: 1 });
        for other in ["\"b\"", "W/\"a\"", "\"a\", \"b\"", "*", "garbage", ""] {
            check(&[range, ("If-Range", other)], Full);
        }
        check(&[range, ("If-Range", "\"a\""), ("If-Range", "\"a\"")], Full);
        check(&[("Range", "bytes=10-"), ("If-Range", "\"b\"")], Full);
        Case { tag: Some("W/\"a\""), ..Case::default() }.check(&[range, ("If-Range", "W/\"a\"")], Full);
    }

    #[test]
    fn if_range_by_date_takes_the_origin_s_own_well_aged_date_and_no_other() {
        let range = ("Range", "bytes=0-1");
        check(&[range, ("If-Range", THEN)], Part { first: 0, last: 1 });
        check(&[range, ("If-Range", BEFORE)], Full);
        check(&[range, ("If-Range", AFTER)], Full);
        let generated = |seconds| Case { date: HttpDate(MODIFIED.0 + seconds), ..Case::default() };
        generated(60).check(&[range, ("If-Range", THEN)], Part { first: 0, last: 1 });
        generated(59).check(&[range, ("If-Range", THEN)], Full);
        let computed = Modified::Computed { date: MODIFIED, first_seen: MODIFIED };
        Case { modified: computed, ..Case::default() }.check(&[range, ("If-Range", THEN)], Full);
    }

    #[test]
    fn what_is_no_200_to_a_get_or_head_ignores_all_of_it() {
        let all = [("If-Match", "\"b\""), ("If-None-Match", "\"a\""), ("Range", "bytes=0-1")];
        for status in [201, 204, 206, 301, 404, 500] {
            Case { status, ..Case::default() }.check(&all, Full);
        }
        for method in ["PUT", "POST", "get", "OPTIONS"] {
            Case { method, ..Case::default() }.check(&all, Full);
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic_and_garbage_never_makes_a_304(
            values: [Vec<u8>; 6], date: i64, first_seen: i64, wall_ms: i64, content_length: u64,
        ) {
            let names = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"];
            let request = names.into_iter().zip(values).collect();
            let tag = EntityTag::parse(b"\"fg1-0123456789abcdefghij-_\"");
            let selected = Selected {
                status: 200,
                fields: &Fields::new(),
                entity_tag: tag.as_ref(),
                modified: Modified::Computed { date: HttpDate(date), first_seen: HttpDate(first_seen) },
                content_length,
                range_allowed: true,
            };
            let found = evaluate(&request, "GET", &selected, Timestamp { wall_ms, boot_ms: 0 });
            let star = TagList::of(&request, "if-none-match") == Some(TagList::Any);
            prop_assert!(found != NotModified || star);
        }
    }
}
