//! Storing responses in caches (RFC 9111 §3): may this response be kept, and shared with whom.
//!
//! Two questions, asked at two moments. [`at_head`] is asked when the head has come: is there a body to wait for at
//! all? [`decide`] is asked when the response is whole. Only [`decide`] makes a [`Storable`], and only a `Storable` is
//! ever stored or handed to a collapsed follower.

use crate::clock::Timestamp;
use crate::field::Fields;
use crate::field::cache_control::{RequestDirectives, ResponseDirectives};
use crate::field::connection;
use crate::field::date::HttpDate;
use crate::field::entity_tag::EntityTag;
use crate::field::vary::Vary;
use crate::message::{Framing, Head};
use crate::policy::{Credential, Freshness, OriginCacheControl, Route, Scope, SetCookie};
use crate::semantics::cache_status::Detail;
use crate::semantics::freshness;
use crate::semantics::request::Request;
use crate::semantics::stored_response::{ContentHash, Modified, Response, Validator};
use crate::semantics::validator;
use bytes::Bytes;

/// Vary may name this many fields; a response with more is not stored.
const MAX_VARY: usize = 16;

/// A response that RFC 9111 §3 and the route allow to be stored. Only [`decide`] makes one.
#[derive(Clone, Debug)]
pub struct Storable {
    response: Response,
    body: Bytes,
    vary: Vec<String>,
}

impl Storable {
    /// What is to be stored.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// Its content.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The request fields that the origin's Vary names: lower-case, sorted.
    pub fn vary(&self) -> &[String] {
        &self.vary
    }
}

/// Whether a body is waited for, or streams through as it comes.
pub fn at_head(head: &Head, framing: Framing, max_body: u64) -> Result<(), Detail> {
    let media = head.fields.get("content-type").unwrap_or_default().to_ascii_lowercase();
    let endless = [&b"text/event-stream"[..], b"multipart/x-mixed-replace", b"application/grpc"];
    if endless.iter().any(|kind| media.starts_with(kind)) {
        return Err(Detail::Streaming);
    }
    match framing {
        Framing::Length(length) if length > max_body => Err(Detail::TooLarge),
        _ => Ok(()),
    }
}

/// Whether the head alone already says that nothing will be stored: then nobody needs to wait for the body to learn
/// it. What [`decide`] refuses is refused here too, as far as the head tells.
pub fn refused_at_head(request: &Request, head: &Head, route: &Route) -> Option<Detail> {
    let directives = ResponseDirectives::of(&head.fields);
    permission(request, head.status, &head.fields, &directives, route).err()
}

/// What is remembered of a content that itself may not be: which it was, and since when.
#[derive(Clone, Debug)]
pub struct Seen {
    pub tag: EntityTag,
    pub modified: Modified,
}

impl Seen {
    /// Of a response with a computed date; others need no memory.
    pub fn of(response: &Response) -> Option<Seen> {
        let Modified::Computed { .. } = response.modified else { return None };
        Some(Seen { tag: response.validator.entity_tag()?.clone(), modified: response.modified })
    }
}

/// What was received, whole.
pub struct Received<'a> {
    pub head: &'a Head,
    pub framing: Framing,
    pub body: Bytes,
    pub request_time: Timestamp,
    pub response_time: Timestamp,
}

/// The response as it will be answered with, its validators made where it has none.
///
/// `previous` is what was last seen for the same request, fresh or not: equal content keeps its date. `claim` gives a
/// date that no earlier content of this URL was given, at least as new as the one it is handed.
pub fn received(
    received: &Received<'_>,
    route: &Route,
    previous: Option<&Seen>,
    claim: impl FnOnce(HttpDate) -> HttpDate,
) -> Response {
    let Received { head, body, request_time, response_time, .. } = received;
    let mut fields = connection::end_to_end(&head.fields);
    let initial_age = freshness::initial_age(&fields, *request_time, *response_time);
    fields.remove("age");
    fields.remove("content-length");
    if !fields.contains("date") {
        // "A recipient with a clock that receives a response message without a Date header field MUST record the time
        // it was received and append a corresponding Date header field" (RFC 9110 §6.6.1).
        fields.push("Date", HttpDate(response_time.wall_seconds()).to_string());
    }
    let content = validator::content_hash(body);
    let directives = ResponseDirectives::of(&fields);
    // "A computed one goes on every 200 that is read whole, except no-store and Set-Cookie": those are for one time
    // and one reader. A route that sets no-store aside has said that it does not mean it.
    let no_store = directives.no_store && !ignores(route);
    let computes = head.status == 200 && !no_store && !fields.contains("set-cookie");
    let tag = validator_of(&fields, body, content, route, computes);
    let modified = modified(&fields, body, route, computes, &tag, previous, *response_time, claim);
    if !matches!(tag, Validator::Absent) {
        fields.remove("etag");
    }
    fields.remove("last-modified");
    Response {
        status: head.status,
        reason: head.reason.clone(),
        fields,
        content,
        content_length: body.len() as u64,
        validator: tag,
        modified,
        request_time: *request_time,
        response_time: *response_time,
        initial_age,
    }
}

/// Who vouches for the content: the origin's own entity-tag, unless the route replaces it, else a computed one.
fn validator_of(fields: &Fields, body: &Bytes, content: ContentHash, route: &Route, computes: bool) -> Validator {
    let replaces = route.etag.replace && computes;
    match EntityTag::of(fields) {
        Some(tag) if !replaces => Validator::Origin(tag),
        // A line that is no entity-tag, and two lines, count as none.
        _ if computes => Validator::Computed(validator::entity_tag(body, content, fields, &route.etag)),
        _ => Validator::Absent,
    }
}

#[expect(clippy::too_many_arguments, reason = "each is one fact that the date depends on")]
fn modified(
    fields: &Fields,
    body: &Bytes,
    route: &Route,
    computes: bool,
    tag: &Validator,
    previous: Option<&Seen>,
    now: Timestamp,
    claim: impl FnOnce(HttpDate) -> HttpDate,
) -> Modified {
    let today = HttpDate(now.wall_seconds());
    // "An origin server with a clock MUST NOT generate a Last-Modified date that is later than the server's time of
    // message origination" (RFC 9110 §8.8.2.1): such a date is absurd and counts as none.
    let sent = HttpDate::of(fields, "last-modified", today).filter(|date| *date <= origination(fields, today));
    if let Some(date) = sent {
        return Modified::Origin(date);
    }
    if !computes {
        return Modified::Absent;
    }
    if let Some(previous) = previous
        && Some(&previous.tag) == tag.entity_tag()
        && let Modified::Computed { .. } = previous.modified
    {
        return previous.modified;
    }
    let newest = validator::newest(body, &route.last_modified).filter(|date| *date <= today);
    Modified::Computed { date: claim(newest.unwrap_or(today)), first_seen: today }
}

/// When the origin says it sent the response; a minute of difference between two clocks is not absurd.
fn origination(fields: &Fields, today: HttpDate) -> HttpDate {
    const SKEW: i64 = 60;
    let date = HttpDate::of(fields, "date", today).unwrap_or(today);
    HttpDate(date.0.max(today.0).saturating_add(SKEW))
}

/// Whether the response may be stored, for whoever the key admits.
///
/// # Errors
/// The reason, as it stands in Cache-Status.
pub fn decide(
    request: &Request,
    received: &Received<'_>,
    mut response: Response,
    route: &Route,
    credentials: &[Credential],
) -> Result<Storable, Detail> {
    let directives = ResponseDirectives::of(&response.fields);
    permission(request, response.status, &response.fields, &directives, route)?;
    // "a cache MUST NOT store incomplete or partial-content responses if it does not support the Range and
    // Content-Range header fields" (RFC 9111 §3.3); the end of a close-delimited body proves nothing by itself.
    if received.framing == Framing::CloseDelimited
        && !(is_json_media(&response.fields) && validator::is_json(&received.body))
    {
        return Err(Detail::Incomplete);
    }
    let vary = match Vary::of(&response.fields) {
        Vary::Any => return Err(Detail::Vary),
        Vary::Names(names) if names.len() > MAX_VARY => return Err(Detail::Vary),
        Vary::Names(names) => names,
    };
    if route.scope == Scope::Public && vary.iter().any(|name| names_credential(name, credentials)) {
        return Err(Detail::Vary);
    }
    if route.set_cookie == SetCookie::Strip {
        response.fields.remove("set-cookie");
    }
    Ok(Storable { response, body: received.body.clone(), vary })
}

/// Whether a refusal to store tells of the responses to come, so that what is stored has had its time. An error passes
/// (RFC 9111 §4.3.3 lets what is stored stand in for it), and a client's no-store is about its own request alone.
pub fn refuses_the_next_too(request: &Request, status: u16, why: Detail) -> bool {
    let by_status = matches!(why, Detail::Status | Detail::NoLifetime) || status >= 500;
    !by_status && !RequestDirectives::of(&request.fields).no_store
}

/// The fields that credentials travel in.
pub fn names_credential(name: &str, credentials: &[Credential]) -> bool {
    credentials.iter().any(|credential| match credential {
        Credential::Field(field) => field == name,
        Credential::Cookie(_) => name == "cookie",
    })
}

/// RFC 9111 §3, clause by clause, as far as the head tells.
fn permission(
    request: &Request,
    status: u16,
    fields: &Fields,
    directives: &ResponseDirectives,
    route: &Route,
) -> Result<(), Detail> {
    // "the response status code is final": the origin's 1xx never come here. 206 and 304 answer what was not asked,
    // 401 and 403 are about a caller and not about a resource.
    if matches!(status, 206 | 304 | 401 | 403) || !(200..=999).contains(&status) {
        return Err(Detail::Status);
    }
    if fields.contains("set-cookie") && route.set_cookie == SetCookie::Refuse {
        return Err(Detail::SetCookie);
    }
    let governed = freshness::governs(status, route);
    if matches!(route.freshness, Freshness::For(_)) {
        return match governed {
            false => Err(Detail::Status),
            true if ignores(route) => Ok(()),
            true if directives.no_store => Err(Detail::NoStore),
            true if directives.private && route.scope == Scope::Public => Err(Detail::Private),
            true => Ok(()),
        };
    }
    // "if the response status code is 206 or 304, or the must-understand cache directive is present: the cache
    // understands the response status code"; "the no-store cache directive is not present in the response". A status
    // that is understood lets must-understand outrank no-store (RFC 9111 §5.2.2.3).
    let understood = http::StatusCode::from_u16(status).is_ok_and(|status| status.canonical_reason().is_some());
    if directives.must_understand && !understood {
        return Err(Detail::Status);
    }
    if directives.no_store && !directives.must_understand {
        return Err(Detail::NoStore);
    }
    if RequestDirectives::of(&request.fields).no_store {
        return Err(Detail::NoStore);
    }
    // "if the cache is shared: the private response directive is either not present or allows a shared cache to store"
    if directives.private {
        return Err(Detail::Private);
    }
    // "if the cache is shared: the Authorization header field is not present in the request or a response directive is
    // present that explicitly allows shared caching" (§3.5: must-revalidate, public, s-maxage).
    let allows = directives.must_revalidate || directives.public || directives.s_maxage.is_some();
    if request.fields.contains("authorization") && !allows {
        return Err(Detail::Authorization);
    }
    // "the response contains at least one of": public, Expires, max-age, s-maxage, or a status that is heuristically
    // cacheable.
    if directives.public || explicit(fields, directives) || freshness::is_heuristically_cacheable(status) {
        Ok(())
    } else {
        Err(Detail::NoLifetime)
    }
}

/// Whether the origin itself said how long the response is fresh.
fn explicit(fields: &Fields, directives: &ResponseDirectives) -> bool {
    directives.s_maxage.is_some() || directives.max_age.is_some() || fields.contains("expires")
}

fn ignores(route: &Route) -> bool {
    matches!(route.freshness, Freshness::For(_)) && route.origin_cache_control == OriginCacheControl::Ignore
}

/// Whether the fields say that the content is JSON (RFC 8259, RFC 6839 `+json`).
pub fn is_json_media(fields: &Fields) -> bool {
    let media = fields.get("content-type").unwrap_or_default().to_ascii_lowercase();
    let essence = media.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    essence == b"application/json" || essence.ends_with(b"+json")
}
