//! The head of an answer, made from a response that was selected (RFC 9111 §4, §5.1; RFC 9110 §15.3.7, §15.4.5).

use crate::clock::Timestamp;
use crate::field::Fields;
use crate::message::Head;
use crate::policy::Route;
use crate::semantics::cache_status::CacheStatus;
use crate::semantics::freshness;
use crate::semantics::precondition::Evaluated;
use crate::semantics::stored_response::Response;

/// Fields that describe the content: a 304 has none, "unless said metadata exists for the purpose of guiding cache
/// updates" (RFC 9110 §15.4.5).
const REPRESENTATION: [&str; 4] = ["content-encoding", "content-language", "content-type", "content-range"];

/// What an answer can let scripts of another origin read, where the origin lets them read anything.
const EXPOSED: &str = "ETag, Cache-Status";

/// The head that answers with `response`, after [`precondition::evaluate`](super::precondition::evaluate) has spoken.
pub fn of(
    response: &Response,
    evaluated: Evaluated,
    cache_status: &CacheStatus,
    route: &Route,
    now: Timestamp,
) -> Head {
    let mut fields = response.fields.clone();
    if let Some(tag) = response.validator.entity_tag() {
        fields.push("ETag", tag.to_bytes());
    }
    if let Some(date) = response.modified.shown_at(now) {
        fields.push("Last-Modified", date.to_string());
    }
    if freshness::governs(response.status, route) {
        // What `fresh` governs is fresh here and nowhere else: the next cache cannot be purged.
        fields.set("Cache-Control", route.client_cache_control.clone());
        fields.remove("expires");
        fields.remove("pragma");
    }
    // "When a stored response is used to satisfy a request without validation, a cache MUST generate an Age header
    // field" (RFC 9111 §4). One that was just fetched shows the age that it already had.
    let age = freshness::current_age(response, now).as_secs();
    if matches!(cache_status, CacheStatus::Hit { .. }) || age > 0 {
        fields.push("Age", age.to_string());
    }
    expose(&mut fields);
    fields.push("Cache-Status", cache_status.to_string());
    let (status, reason) = match evaluated {
        Evaluated::Full => {
            // "A server MUST NOT send a Content-Length header field in any response with a status code of 1xx
            // (Informational) or 204 (No Content)" (RFC 9110 §8.6).
            if response.status != 204 {
                fields.push("Content-Length", response.content_length.to_string());
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
            fields.push("Content-Range", format!("bytes {first}-{last}/{}", response.content_length));
            fields.push("Content-Length", (last - first + 1).to_string());
            (206, "Partial Content".into())
        }
        Evaluated::RangeNotSatisfiable => {
            about_one_request(&mut fields);
            fields.push("Content-Range", format!("bytes */{}", response.content_length));
            (416, "Range Not Satisfiable".into())
        }
    };
    Head { status, reason, fields }
}

fn without_representation(fields: &mut Fields) {
    fields.retain(|name, _| !REPRESENTATION.iter().any(|r| name.eq_ignore_ascii_case(r.as_bytes())));
}

/// Makes the fields of a 200 those of a refusal. The 200's lifetime is not theirs: explicit freshness lets any status be
/// stored (RFC 9111 §3), and a stored refusal would answer requests without that condition too.
fn about_one_request(fields: &mut Fields) {
    without_representation(fields);
    fields.set("Cache-Control", "no-store");
    fields.remove("expires");
    fields.remove("pragma");
    fields.push("Content-Length", "0");
}

/// Where a script of another origin may read the response, it may read what this proxy adds (Fetch, "CORS
/// protocol": only safelisted response fields are readable without being named).
pub fn expose(fields: &mut Fields) {
    if fields.contains("access-control-allow-origin") {
        fields.push("Access-Control-Expose-Headers", EXPOSED);
    }
}
