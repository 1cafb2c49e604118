//! The head of an answer, made from a response that was selected (RFC 9111 §4, §5.1; RFC 9110 §15.3.7, §15.4.5).

use crate::clock::Timestamp;
use crate::field::Fields;
use crate::field::targeted::TARGETS;
use crate::field::vary::Vary;
use crate::message::Head;
use crate::policy::Route;
use crate::semantics::cache_status::CacheStatus;
use crate::semantics::content_coding::Form;
use crate::semantics::freshness;
use crate::semantics::precondition::Evaluated;
use crate::semantics::stored_response::Response;

/// Fields that describe the content: a 304 has none, "unless said metadata exists for the purpose of guiding cache
/// updates" (RFC 9110 §15.4.5).
const REPRESENTATION: [&str; 4] = ["content-encoding", "content-language", "content-type", "content-range"];

/// What an answer can let scripts of another origin read, where the origin lets them read anything.
pub const EXPOSED: &str = "ETag, Cache-Status";

/// Room for the lines that are added here.
const OWN_LINES: usize = 8;
const OWN_OCTETS: usize = 320;

/// The head that answers with `response`, after [`precondition::evaluate`](super::precondition::evaluate) has spoken.
pub fn of(
    response: &Response,
    form: &Form,
    evaluated: Evaluated,
    cache_status: &CacheStatus,
    route: &Route,
    now: Timestamp,
) -> Head {
    let mut fields = response.fields.with_room(OWN_LINES, OWN_OCTETS);
    if let Some(tag) = &form.entity_tag {
        fields.push_with("ETag", |text| tag.put(text));
    }
    if response.recodable {
        // What this client gets depends on its Accept-Encoding, whichever it gets (RFC 9110 §12.5.5).
        varies_on(&mut fields, "Accept-Encoding");
    }
    if let Some(coding) = form.coding {
        fields.push("Content-Encoding", coding.token());
    }
    if let Some(date) = response.modified.shown_at(now)
        && !fields.contains("last-modified")
    {
        fields.push_shown("Last-Modified", date);
    }
    if freshness::governs(response.status, route) && !freshness::is_outranked(&fields, route) {
        // What `fresh` governs is fresh here and nowhere else: the next cache cannot be purged.
        say_alone(&mut fields, &route.client_cache_control);
    }
    // "When a stored response is used to satisfy a request without validation, a cache MUST generate an Age header
    // field" (RFC 9111 §4). One that was just fetched shows an age where it came with one.
    if is_from_before(cache_status) || response.aged {
        fields.push_shown("Age", freshness::current_age(response, now).as_secs());
    }
    expose(&mut fields);
    fields.push_shown("Cache-Status", cache_status);
    let (status, reason) = match evaluated {
        Evaluated::Full => {
            // "A server MUST NOT send a Content-Length header field in any response with a status code of 1xx
            // (Informational) or 204 (No Content)" (RFC 9110 §8.6).
            if response.status != 204 {
                fields.push_shown("Content-Length", form.content_length);
            }
            (response.status, response.reason.clone())
        }
        Evaluated::NotModified => {
            without_representation(&mut fields);
            (304, "Not Modified".into())
        }
        Evaluated::PreconditionFailed => {
            about_one_request(&mut fields);
            (412, "Precondition Failed".into())
        }
        Evaluated::Part { first, last } => {
            fields.push_shown("Content-Range", format_args!("bytes {first}-{last}/{}", form.content_length));
            fields.push_shown("Content-Length", last - first + 1);
            (206, "Partial Content".into())
        }
        Evaluated::RangeNotSatisfiable => {
            about_one_request(&mut fields);
            fields.push_shown("Content-Range", format_args!("bytes */{}", form.content_length));
            (416, "Range Not Satisfiable".into())
        }
    };
    Head { status, reason, fields }
}

/// Whether the response was not made for this request: "The presence of an Age header field implies that the response was
/// not generated or validated by the origin server for this request" (RFC 9111 §5.1).
fn is_from_before(cache_status: &CacheStatus) -> bool {
    match cache_status {
        CacheStatus::Hit { .. } => true,
        CacheStatus::Forward(forwarded) => forwarded.collapsed,
        CacheStatus::Own { .. } => false,
    }
}

/// Adds a name to Vary, if it is not there.
fn varies_on(fields: &mut Fields, name: &'static str) {
    let varies = match Vary::of(fields) {
        Vary::Any => true,
        Vary::Names(names) => names.iter().any(|other| other.eq_ignore_ascii_case(name)),
    };
    if !varies {
        fields.push("Vary", name);
    }
}

fn without_representation(fields: &mut Fields) {
    fields.retain(|name, _| !REPRESENTATION.iter().any(|r| name.eq_ignore_ascii_case(r.as_bytes())));
}

/// Makes the fields of a 200 those of a refusal. The 200's lifetime is not theirs: explicit freshness lets any status be
/// stored (RFC 9111 §3), and a stored refusal would answer requests without that condition too.
fn about_one_request(fields: &mut Fields) {
    without_representation(fields);
    say_alone(fields, "no-store");
    fields.push("Content-Length", "0");
}

/// Says this to every cache and client, and nothing else that any of them might hear instead: a targeted field is what a
/// CDN would use in place of Cache-Control (RFC 9213 §2.2).
fn say_alone(fields: &mut Fields, cache_control: &str) {
    fields.set("Cache-Control", cache_control);
    for name in ["expires", "pragma"].iter().chain(&TARGETS) {
        fields.remove(name);
    }
}

/// Where a script of another origin may read the response, it may read what this proxy adds (Fetch, "CORS
/// protocol": only safelisted response fields are readable without being named).
pub fn expose(fields: &mut Fields) {
    if fields.contains("access-control-allow-origin") {
        fields.push("Access-Control-Expose-Headers", EXPOSED);
    }
}

/// Lets scripts of another origin read an answer of our own where `response` lets them read the representation that it is
/// about.
pub fn readable_where(response: &Fields, fields: &mut Fields) {
    for (name, value) in response.iter() {
        let cors = name.get(..15).is_some_and(|start| start.eq_ignore_ascii_case(b"access-control-"));
        if cors || name.eq_ignore_ascii_case(b"vary") {
            fields.push(name, value);
        }
    }
    expose(fields);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::date::HttpDate;
    use crate::field::entity_tag::EntityTag;
    use crate::policy::{Coding, OriginCacheControl};
    use crate::semantics::cache_status::{Forward, Forwarded};
    use crate::semantics::sample::{at, fields, fresh, plain, response};
    use crate::semantics::stored_response::{Modified, Validator};
    use std::time::Duration;

    /// The answer in the identity form.
    fn of(
        response: &Response,
        evaluated: Evaluated,
        cache_status: &CacheStatus,
        route: &Route,
        now: Timestamp,
    ) -> Head {
        super::of(response, &Form::identity(response), evaluated, cache_status, route, now)
    }

    const HIT: CacheStatus = CacheStatus::Hit { ttl: 50, detail: None };

    fn fetched() -> CacheStatus {
        CacheStatus::Forward(Forwarded::because(Forward::UriMiss))
    }

    /// A tagged and dated response.
    fn whole(lines: &[(&str, &str)]) -> Response {
        Response {
            validator: Validator::Computed(EntityTag::parse(b"\"fg1-x\"").expect("a valid entity-tag")),
            modified: Modified::Origin(HttpDate(at(0).wall_seconds())),
            ..response(200, lines)
        }
    }

    const ETAG: (&str, &str) = ("ETag", "\"fg1-x\"");
    const MODIFIED: (&str, &str) = ("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT");
    const STATUS: (&str, &str) = ("Cache-Status", "freshgate; hit; ttl=50");
    const AGE: (&str, &str) = ("Age", "10");
    const TYPE: (&str, &str) = ("Content-Type", "application/json");

    #[track_caller]
    fn check(evaluated: Evaluated, status: u16, expected: &[(&str, &str)]) {
        let head = of(&whole(&[TYPE]), evaluated, &HIT, &plain(), at(10));
        assert_eq!((head.status, head.fields), (status, fields(expected)));
    }

    /// Who may keep nothing, or must ask each time, is told so by the origin's own words.
    #[test]
    fn what_outranks_fresh_is_passed_on() {
        let told = |value: &str, route: &Route| {
            let head = of(&whole(&[("Cache-Control", value)]), Evaluated::Full, &HIT, route, at(10));
            String::from_utf8(head.fields.get("cache-control").expect("it is there").to_vec()).expect("it is text")
        };
        let respects = Route { client_cache_control: "max-age=60".into(), ..fresh() };
        let ignores = Route { origin_cache_control: OriginCacheControl::Ignore, ..respects.clone() };
        for value in ["no-store", "max-age=600, no-cache"] {
            assert_eq!(told(value, &respects), value);
            assert_eq!(told(value, &ignores), "max-age=60");
        }
        assert_eq!(told("private, max-age=600", &respects), "max-age=60");
    }

    #[test]
    fn what_was_selected_as_its_preconditions_came_out() {
        check(Evaluated::Full, 200, &[TYPE, ETAG, MODIFIED, AGE, STATUS, ("Content-Length", "5")]);
        check(Evaluated::NotModified, 304, &[ETAG, MODIFIED, AGE, STATUS]);
        let not_stored = ("Cache-Control", "no-store");
        check(Evaluated::PreconditionFailed, 412, &[ETAG, MODIFIED, AGE, STATUS, not_stored, ("Content-Length", "0")]);
        let part = [("Content-Range", "bytes 1-3/5"), ("Content-Length", "3")];
        check(Evaluated::Part { first: 1, last: 3 }, 206, &[TYPE, ETAG, MODIFIED, AGE, STATUS, part[0], part[1]]);
        let nothing = [("Content-Range", "bytes */5"), ("Content-Length", "0")];
        check(Evaluated::RangeNotSatisfiable, 416, &[ETAG, MODIFIED, AGE, STATUS, not_stored, nothing[1], nothing[0]]);
    }

    #[test]
    fn a_coded_form_says_so() {
        let response = Response { recodable: true, ..whole(&[TYPE, ("Vary", "Accept")]) };
        let form = Form::coded(&response, Coding::Gzip, 3);
        let head = |evaluated| super::of(&response, &form, evaluated, &HIT, &plain(), at(10)).fields;
        let etag = ("ETag", "\"fg1-x-gzip1\"");
        let vary = [("Vary", "Accept"), ("Vary", "Accept-Encoding")];
        let coding = ("Content-Encoding", "gzip");
        let length = ("Content-Length", "3");
        let full = [TYPE, vary[0], etag, vary[1], coding, MODIFIED, AGE, STATUS, length];
        assert_eq!(head(Evaluated::Full), fields(&full));
        assert_eq!(head(Evaluated::NotModified), fields(&[vary[0], etag, vary[1], MODIFIED, AGE, STATUS]));
        let identity = of(&response, Evaluated::Full, &HIT, &plain(), at(10)).fields;
        assert_eq!(identity.get_all("vary").count(), 2);
        let any = Response { fields: fields(&[("Vary", "*")]), ..response.clone() };
        assert_eq!(of(&any, Evaluated::Full, &HIT, &plain(), at(10)).fields.get_all("vary").count(), 1);
    }

    #[test]
    fn the_origin_s_own_reason_goes_with_its_status() {
        let reason = |evaluated| of(&whole(&[]), evaluated, &HIT, &plain(), at(0)).reason;
        assert_eq!(reason(Evaluated::Full), "Reason");
        assert_eq!(reason(Evaluated::NotModified), "Not Modified");
        assert_eq!(reason(Evaluated::PreconditionFailed), "Precondition Failed");
        assert_eq!(reason(Evaluated::Part { first: 0, last: 0 }), "Partial Content");
        assert_eq!(reason(Evaluated::RangeNotSatisfiable), "Range Not Satisfiable");
    }

    #[test]
    fn a_304_describes_no_content() {
        let lines = [TYPE, ("CONTENT-ENCODING", "gzip"), ("Content-Language", "de"), ("X", "kept")];
        let head = of(&response(200, &lines), Evaluated::NotModified, &HIT, &plain(), at(10));
        assert_eq!(head.fields, fields(&[("X", "kept"), AGE, STATUS]));
    }

    #[test]
    fn age_is_shown_from_the_store_and_where_there_is_one() {
        let age = |initial: u64, aged: bool, status: CacheStatus, now: u64| {
            let response = Response { initial_age: Duration::from_secs(initial), aged, ..response(200, &[]) };
            let head = of(&response, Evaluated::Full, &status, &plain(), at(now));
            head.fields.get("age").map(<[u8]>::to_vec)
        };
        assert_eq!(age(0, false, HIT, 0), Some(b"0".to_vec()));
        assert_eq!(age(7, false, HIT, 3), Some(b"10".to_vec()));
        assert_eq!(age(7, true, fetched(), 0), Some(b"7".to_vec()));
        assert_eq!(age(0, true, fetched(), 0), Some(b"0".to_vec()));
        assert_eq!(age(7, false, fetched(), 0), None, "a clock that differs is no age");
    }

    #[test]
    fn a_computed_date_is_shown_once_it_has_come() {
        let dated = |now| {
            let date = HttpDate(at(1).wall_seconds());
            let modified = Modified::Computed { date, first_seen: HttpDate(at(0).wall_seconds()) };
            let response = Response { modified, ..response(200, &[]) };
            of(&response, Evaluated::Full, &fetched(), &plain(), at(now)).fields.contains("last-modified")
        };
        assert!(!dated(0));
        assert!(dated(1));
    }

    #[test]
    fn what_fresh_governs_is_fresh_here_and_nowhere_else() {
        let lines = [("Cache-Control", "max-age=9"), ("Expires", "x"), ("Pragma", "x")];
        let shown =
            |status, route: &Route| of(&response(status, &lines), Evaluated::Full, &fetched(), route, at(0)).fields;
        let ours = shown(200, &fresh());
        assert_eq!(ours.get("cache-control"), Some(&b"private, no-cache"[..]));
        assert!(!ours.contains("expires") && !ours.contains("pragma"));
        for theirs in [shown(500, &fresh()), shown(200, &plain())] {
            assert!(lines.iter().all(|(name, value)| theirs.get(name) == Some(value.as_bytes())));
        }
    }

    #[test]
    fn scripts_of_other_origins_may_read_what_is_added_where_they_may_read_at_all() {
        let exposed = |lines: &[(&str, &str)]| {
            let mut fields = fields(lines);
            expose(&mut fields);
            fields.get_all("access-control-expose-headers").map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        assert_eq!(exposed(&[]), Vec::<Vec<u8>>::new());
        assert_eq!(exposed(&[("Access-Control-Allow-Origin", "*")]), [EXPOSED.as_bytes()]);
        let both = [("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", "X")];
        assert_eq!(exposed(&both), [b"X".as_slice(), EXPOSED.as_bytes()]);
    }
}
