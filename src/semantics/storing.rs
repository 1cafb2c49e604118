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
use crate::policy::{Credential, Freshness, OriginCacheControl, RequestCacheControl, Route, SetCookie, Validators};
use crate::semantics::cache_key::{self, Partition};
use crate::semantics::cache_status::Detail;
use crate::semantics::content_coding;
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
pub fn refused_at_head(request: &Request, head: &Head, route: &Route, partition: &Partition) -> Option<Detail> {
    permission(request, head, route, partition).err()
}

/// Whether the response is for its caller alone whatever the scope: "`Vary` naming a credential field puts a response in
/// scope `user`".
pub fn is_for_its_caller_alone(head: &Head, credentials: &[Credential]) -> bool {
    match Vary::of(&head.fields) {
        Vary::Any => false,
        Vary::Names(names) => names.iter().any(|name| names_credential(name, credentials)),
    }
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
/// `previous` is what was last seen for the same request, fresh or not: equal content keeps its date. `claim` is
/// handed the content's entity-tag, a date for it and the present second, and gives a date that no other content of this
/// URL was given, at least as new, and the second in which the content was first seen.
pub fn received(
    received: &Received<'_>,
    route: &Route,
    previous: Option<&Seen>,
    claim: impl FnOnce(&EntityTag, HttpDate, HttpDate) -> Modified,
) -> Response {
    let Received { head, body, request_time, response_time, .. } = received;
    let mut fields = connection::end_to_end(&head.fields);
    let initial_age = freshness::initial_age(head.status, &fields, route, *request_time, *response_time);
    let aged = fields.remove("age");
    fields.remove("content-length");
    if !fields.contains("date") {
        // "A recipient with a clock that receives a response message without a Date header field MUST record the time
        // it was received and append a corresponding Date header field" (RFC 9110 §6.6.1).
        fields.push("Date", HttpDate(response_time.wall_seconds()).to_string());
    }
    let content = validator::content_hash(body);
    let directives = ResponseDirectives::of(&head.fields);
    // "A computed one goes on every 200 that is read whole, except no-store and Set-Cookie": those are for one time
    // and one reader. A route that sets no-store aside has said that it does not mean it.
    let no_store = directives.no_store && !ignores(route);
    // Where the route strips the cookie, what is stored is for all readers and all times.
    let cookies = fields.contains("set-cookie") && route.set_cookie == SetCookie::Refuse;
    let computes = route.validators == Validators::Add && head.status == 200 && !no_store && !cookies;
    let tag = validator_of(&fields, body, content, route, computes);
    let modified = modified(&fields, body, route, computes, &tag, previous, *response_time, claim);
    if !matches!(tag, Validator::Absent) {
        fields.remove("etag");
    }
    if modified.replaces(fields.get("last-modified")) {
        fields.remove("last-modified");
    }
    Response {
        status: head.status,
        reason: head.reason.clone(),
        recodable: content_coding::is_recodable(head.status, &fields, &tag, body.len() as u64, route),
        fields,
        content,
        content_length: body.len() as u64,
        validator: tag,
        modified,
        response_time: *response_time,
        initial_age,
        aged,
    }
}

/// Who vouches for the content: the origin's own entity-tag, unless the route replaces it, else a computed one.
fn validator_of(fields: &Fields, body: &Bytes, content: ContentHash, route: &Route, computes: bool) -> Validator {
    let replaces = route.etag.replace && computes;
    match EntityTag::of(fields) {
        Some(tag) if !replaces => Validator::Origin(tag),
        // A line that is no entity-tag, and two lines, name nothing. But in plain mode "nothing it sent is rewritten.
        // Validators are added where the origin sent none", and it did send something.
        None if !replaces && route.freshness == Freshness::Origin && fields.contains("etag") => Validator::Absent,
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
    claim: impl FnOnce(&EntityTag, HttpDate, HttpDate) -> Modified,
) -> Modified {
    let today = HttpDate(now.wall_seconds());
    if let Some(date) = validator::sent_date(fields, today) {
        return Modified::Origin(date);
    }
    let Some(tag) = tag.entity_tag().filter(|_| computes) else { return Modified::Absent };
    if let Some(previous) = previous
        && previous.tag == *tag
        && let Modified::Computed { .. } = previous.modified
    {
        return previous.modified;
    }
    let newest = validator::newest(body, &route.last_modified).filter(|date| *date <= today);
    claim(tag, newest.unwrap_or(today), today)
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
    partition: &Partition,
    credentials: &[Credential],
) -> Result<Storable, Detail> {
    permission(request, received.head, route, partition)?;
    // "a cache MUST NOT store incomplete or partial-content responses if it does not support the Range and
    // Content-Range header fields" (RFC 9111 §3.3); the end of a close-delimited body proves nothing by itself.
    if received.framing == Framing::CloseDelimited
        && !(is_json_media(&response.fields) && validator::is_json(&received.body))
    {
        return Err(Detail::Incomplete);
    }
    let vary = varies(request, received.head, partition, credentials)?;
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

/// The request fields that the response varies on, sorted, besides those that its key holds already.
fn varies(
    request: &Request,
    head: &Head,
    partition: &Partition,
    credentials: &[Credential],
) -> Result<Vec<String>, Detail> {
    let mut names = match Vary::of(&head.fields) {
        Vary::Names(names) if names.len() <= MAX_VARY => names,
        Vary::Any | Vary::Names(_) => return Err(Detail::Vary),
    };
    if partition.is_one_caller_s() {
        // The caller is in the key, by a hash; the credential itself is not to be.
        names.retain(|name| !credentials.iter().any(|whole| *whole == Credential::Field(name.clone())));
    } else if names.iter().any(|name| names_credential(name, credentials)) {
        return Err(Detail::Vary);
    }
    // CORS: "`Origin` selects a variant unless the response says `Access-Control-Allow-Origin: *`": what is made for one
    // origin's scripts mostly says so by that field alone. The key tells requests without Origin apart already.
    let mut allowed = head.fields.get_all("access-control-allow-origin");
    let for_every_origin = allowed.next().is_some_and(|value| value.trim_ascii() == b"*") && allowed.next().is_none();
    let selects = request.fields.contains("origin") && !for_every_origin;
    if selects && !names.iter().any(|name| name == "origin") {
        names.push("origin".into());
    }
    if OF_ITS_FIELDS.contains(&head.status) {
        // What the origin could not accept may be any field that Vary does not name, of a name that others do not send.
        names.push(cache_key::FIELD_NAMES.into());
    }
    names.sort();
    Ok(names)
}

/// The fields that credentials travel in.
pub fn names_credential(name: &str, credentials: &[Credential]) -> bool {
    credentials.iter().any(|credential| match credential {
        Credential::Field(field) => field == name,
        Credential::Cookie(_) => name == "cookie",
    })
}

/// Statuses that speak of one request, or of a caller, and not of the resource: one client with a field that nobody can
/// accept would have everybody told what only they deserved. Of 428, 429, 431 and 511 RFC 6585 says that they "MUST NOT be
/// stored by a cache". (405, 414 and 501 speak of what is in the key.)
const OF_ONE_REQUEST: [u16; 17] = [401, 403, 406, 407, 408, 411, 412, 413, 415, 416, 417, 421, 426, 428, 429, 431, 511];

/// Statuses that may speak of the request's fields, as well as of its target.
const OF_ITS_FIELDS: [u16; 2] = [400, 422];

/// The most octets of fields in a request of which one of [`OF_ITS_FIELDS`] may be another's as well.
const ORDINARY: usize = 4096;

/// Whether a request's fields are such as any client sends: what is refused of them is about the resource as well as it can be.
/// Long ones, and octets that are no ASCII, are what origins trip over that take less than this proxy does.
fn is_ordinary(fields: &Fields) -> bool {
    let length: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    length <= ORDINARY && fields.iter().all(|(_, value)| value.is_ascii())
}

/// RFC 9111 §3, clause by clause, as far as the head tells.
///
/// The head is the one that came: a Connection that names Cache-Control takes it from the next hop, not from this one.
fn permission(request: &Request, head: &Head, route: &Route, partition: &Partition) -> Result<(), Detail> {
    let Head { status, ref fields, .. } = *head;
    let directives = &ResponseDirectives::of(fields);
    // "the response status code is final": the origin's 1xx never come here. 206 and 304 answer what was not asked.
    if matches!(status, 206 | 304) || OF_ONE_REQUEST.contains(&status) || !(200..=999).contains(&status) {
        return Err(Detail::Status);
    }
    if connection::hides_what_caches_heed(fields) {
        return Err(Detail::NoStore);
    }
    if OF_ITS_FIELDS.contains(&status) && !is_ordinary(&request.fields) {
        return Err(Detail::Status);
    }
    if fields.contains("set-cookie") && route.set_cookie == SetCookie::Refuse {
        return Err(Detail::SetCookie);
    }
    // "the no-store request directive indicates that a cache MUST NOT store any part of either this request or any
    // response to it" (RFC 9111 §5.2.1.5), on routes that heed what clients ask for.
    if forbids_storing(request, route) {
        return Err(Detail::NoStore);
    }
    let governed = freshness::governs(status, route);
    if matches!(route.freshness, Freshness::For(_)) {
        return match governed {
            false => Err(Detail::Status),
            true if ignores(route) => Ok(()),
            true if directives.no_store => Err(Detail::NoStore),
            true if directives.private && !partition.is_one_caller_s() => Err(Detail::Private),
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

/// Whether the client forbids to store what it is answered.
fn forbids_storing(request: &Request, route: &Route) -> bool {
    route.request_cache_control == RequestCacheControl::Respect && RequestDirectives::of(&request.fields).no_store
}

/// Whether the origin itself said how long the response is fresh.
fn explicit(fields: &Fields, directives: &ResponseDirectives) -> bool {
    let expires = fields.contains("expires") && !directives.targeted;
    directives.s_maxage.is_some() || directives.max_age.is_some() || expires
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Etag;
    use crate::semantics::sample::{at, fields, fresh, plain, request};

    const SHARED: [Partition; 3] = [Partition::Public, Partition::Authenticated, Partition::Claim(Vec::new())];
    const OWN: [Partition; 2] = [Partition::Anonymous, Partition::Caller([7; 16])];
    const JSON: (&str, &str) = ("Content-Type", "application/json");
    const MAX_AGE: (&str, &str) = ("Cache-Control", "max-age=60");

    fn head(status: u16, lines: &[(&str, &str)]) -> Head {
        Head { status, reason: Bytes::new(), fields: fields(lines) }
    }

    /// What becomes of a response: whether it is stored, by which route, asked for by whom.
    struct Case {
        route: Route,
        partition: Partition,
        asked: &'static [(&'static str, &'static str)],
        status: u16,
        framing: Framing,
        body: &'static str,
    }

    impl Default for Case {
        fn default() -> Self {
            let partition = Partition::Public;
            Case { route: plain(), partition, asked: &[], status: 200, framing: Framing::Chunked, body: "{}" }
        }
    }

    impl Case {
        fn decided(&self, lines: &[(&str, &str)]) -> Result<Storable, Detail> {
            let (request, head) = (request("GET", "/", self.asked), head(self.status, lines));
            let received = Received {
                head: &head,
                framing: self.framing,
                body: Bytes::from(self.body),
                request_time: at(0),
                response_time: at(0),
            };
            let response = super::received(&received, &self.route, None, |_, date, first_seen| Modified::Computed {
                date,
                first_seen,
            });
            let credentials = [Credential::Field("authorization".into()), Credential::Cookie("session".into())];
            let decided = decide(&request, &received, response, &self.route, &self.partition, &credentials);
            if let Some(why) = refused_at_head(&request, &head, &self.route, &self.partition) {
                assert_eq!(decided.as_ref().err(), Some(&why), "the head said so already");
            }
            decided
        }

        #[track_caller]
        fn check(&self, lines: &[(&str, &str)], expected: Result<(), Detail>) {
            assert_eq!(self.decided(lines).map(|_| ()), expected, "{} {lines:?}", self.status);
        }
    }

    #[track_caller]
    fn check(lines: &[(&str, &str)], expected: Result<(), Detail>) {
        Case::default().check(lines, expected);
    }

    #[track_caller]
    fn check_fresh(lines: &[(&str, &str)], expected: Result<(), Detail>) {
        Case { route: fresh(), ..Case::default() }.check(lines, expected);
    }

    #[test]
    fn in_plain_mode_the_origin_s_words_decide() {
        check(&[], Ok(()));
        check(&[MAX_AGE], Ok(()));
        check(&[("Cache-Control", "no-store")], Err(Detail::NoStore));
        check(&[("Cache-Control", "no-cache")], Ok(()));
        check(&[("Cache-Control", "private, max-age=60")], Err(Detail::Private));
        Case { asked: &[("Cache-Control", "no-store")], ..Case::default() }.check(&[MAX_AGE], Err(Detail::NoStore));
    }

    #[test]
    fn a_status_needs_a_lifetime_unless_it_is_heuristically_cacheable() {
        for status in [200, 203, 204, 300, 301, 308, 404, 410] {
            Case { status, ..Case::default() }.check(&[], Ok(()));
        }
        for status in [201, 302, 307, 422, 499, 500, 503, 599] {
            let case = Case { status, ..Case::default() };
            case.check(&[], Err(Detail::NoLifetime));
            for said in [MAX_AGE, ("Expires", "0"), ("Cache-Control", "s-maxage=1"), ("Cache-Control", "public")] {
                case.check(&[said], Ok(()));
            }
        }
        for status in [206, 304, 199, 1000].into_iter().chain(OF_ONE_REQUEST) {
            Case { status, ..Case::default() }.check(&[MAX_AGE], Err(Detail::Status));
            Case { status, route: fresh(), ..Case::default() }.check(&[MAX_AGE], Err(Detail::Status));
        }
    }

    #[test]
    fn must_understand_outranks_no_store_for_a_status_that_is_understood() {
        let both = [("Cache-Control", "must-understand, no-store, max-age=60")];
        check(&both, Ok(()));
        Case { status: 599, ..Case::default() }.check(&both, Err(Detail::Status));
    }

    #[test]
    fn what_was_asked_with_authorization_needs_leave() {
        let case = Case { asked: &[("Authorization", "x")], ..Case::default() };
        case.check(&[MAX_AGE], Err(Detail::Authorization));
        for leave in ["public", "must-revalidate", "s-maxage=60"] {
            case.check(&[("Cache-Control", leave)], Ok(()));
        }
        Case { route: fresh(), ..case }.check(&[], Ok(()));
    }

    #[test]
    fn fresh_governs_its_statuses_and_stores_no_others() {
        for status in [200, 203, 300, 301, 308, 404, 410] {
            Case { status, route: fresh(), ..Case::default() }.check(&[], Ok(()));
        }
        for status in [201, 204, 302, 405, 500, 501] {
            Case { status, route: fresh(), ..Case::default() }.check(&[MAX_AGE], Err(Detail::Status));
        }
    }

    #[test]
    fn under_fresh_no_store_and_private_count_unless_they_are_set_aside() {
        let (no_store, private) = ([("Cache-Control", "no-store")], [("Cache-Control", "private")]);
        check_fresh(&no_store, Err(Detail::NoStore));
        for partition in SHARED {
            Case { route: fresh(), partition, ..Case::default() }.check(&private, Err(Detail::Private));
        }
        for partition in OWN {
            Case { route: fresh(), partition, ..Case::default() }.check(&private, Ok(()));
        }
        let ignoring = || Route { origin_cache_control: OriginCacheControl::Ignore, ..fresh() };
        Case { route: ignoring(), ..Case::default() }.check(&no_store, Ok(()));
        Case { route: ignoring(), ..Case::default() }.check(&private, Ok(()));
        // In plain mode there is nothing to set aside.
        let plain = Route { origin_cache_control: OriginCacheControl::Ignore, ..plain() };
        Case { route: plain, ..Case::default() }.check(&no_store, Err(Detail::NoStore));
    }

    #[test]
    fn a_client_s_no_store_counts_where_the_route_respects_what_clients_ask_for() {
        use RequestCacheControl::{Ignore, Reload, Respect};
        for (request_cache_control, expected) in [(Respect, Err(Detail::NoStore)), (Reload, Ok(())), (Ignore, Ok(()))] {
            for route in [fresh(), plain()] {
                let route = Route { request_cache_control, ..route };
                Case { route, asked: &[("Cache-Control", "no-store")], ..Case::default() }.check(&[MAX_AGE], expected);
            }
        }
    }

    #[test]
    fn set_cookie_is_refused_or_stripped() {
        let cookie = [("Set-Cookie", "a=b"), MAX_AGE];
        check(&cookie, Err(Detail::SetCookie));
        check_fresh(&cookie, Err(Detail::SetCookie));
        let strip = Case { route: Route { set_cookie: SetCookie::Strip, ..fresh() }, ..Case::default() };
        let storable = strip.decided(&cookie).expect("it is stored without");
        assert!(!storable.response().fields.contains("set-cookie"));
        assert!(check_fields(&plain(), &cookie).contains("set-cookie"), "its first caller gets it");
    }

    #[test]
    fn origin_selects_unless_every_origin_is_allowed() {
        let vary = |route: Route, lines: &[(&str, &str)]| {
            let case = Case { route, asked: &[("Origin", "https://a.test")], ..Case::default() };
            case.decided(lines).expect("it may be stored").vary().to_vec()
        };
        let allowed = |value| ("Access-Control-Allow-Origin", value);
        assert_eq!(vary(fresh(), &[]), ["origin"]);
        assert_eq!(vary(fresh(), &[allowed("https://a.test"), ("Vary", "Accept, Origin")]), ["accept", "origin"]);
        assert_eq!(vary(fresh(), &[allowed("https://a.test"), ("Vary", "X")]), ["origin", "x"]);
        assert_eq!(vary(fresh(), &[allowed(" * ")]), [""; 0]);
        assert_eq!(vary(fresh(), &[allowed("*"), allowed("*")]), ["origin"], "two lines are no leave");
        assert_eq!(vary(plain(), &[MAX_AGE, allowed("https://a.test")]), ["origin"]);
        assert_eq!(vary(plain(), &[MAX_AGE, allowed("*")]), [""; 0]);
        let without = Case { route: fresh(), ..Case::default() }.decided(&[]).expect("it may be stored");
        assert_eq!(without.vary(), [""; 0], "the key says that there was none");
    }

    /// The fields that the first caller gets.
    fn check_fields(route: &Route, lines: &[(&str, &str)]) -> Fields {
        received_by(route, lines, "{}", None).fields
    }

    #[test]
    fn vary_must_be_something_that_a_request_can_match() {
        check(&[("Vary", "*")], Err(Detail::Vary));
        let names = |count: usize| (0..count).map(|n| format!("x{n}")).collect::<Vec<_>>().join(",");
        check(&[("Vary", &names(16))], Ok(()));
        check(&[("Vary", &names(17))], Err(Detail::Vary));
        let storable = Case::default().decided(&[("Vary", "B, a")]).expect("it is stored");
        assert_eq!(storable.vary(), ["a", "b"]);
        assert_eq!(storable.body(), "{}");
    }

    #[test]
    fn what_varies_by_caller_is_shared_with_nobody() {
        // The key holds the caller by a hash; of a narrowed cookie it does not hold the others beside it.
        for (name, left) in [("Authorization", &[][..]), ("Cookie", &["cookie"])] {
            for partition in SHARED {
                Case { route: fresh(), partition, ..Case::default() }.check(&[("Vary", name)], Err(Detail::Vary));
            }
            for partition in OWN {
                let case = Case { route: fresh(), partition, ..Case::default() };
                assert_eq!(case.decided(&[("Vary", name)]).expect("it is the caller's own").vary(), left);
            }
        }
        check_fresh(&[("Vary", "X-Api-Key")], Ok(()));
        let credentials = [Credential::Field("authorization".into())];
        let alone = |lines: &[(&str, &str)]| is_for_its_caller_alone(&head(200, lines), &credentials);
        assert!(alone(&[("Vary", "Accept, AUTHORIZATION")]));
        assert!(!alone(&[]) && !alone(&[("Vary", "Accept")]) && !alone(&[("Vary", "*")]));
        assert!(!names_credential("session", &[Credential::Cookie("session".into())]));
    }

    #[test]
    fn the_end_of_a_connection_proves_a_body_only_where_it_is_json() {
        let closed = |body| Case { framing: Framing::CloseDelimited, body, ..Case::default() };
        closed("{}").check(&[JSON], Ok(()));
        closed("{").check(&[JSON], Err(Detail::Incomplete));
        closed("{}").check(&[], Err(Detail::Incomplete));
        closed("[1]").check(&[("Content-Type", "application/problem+JSON; charset=utf-8")], Ok(()));
        closed("[1]").check(&[("Content-Type", "text/json")], Err(Detail::Incomplete));
        Case { body: "{", ..Case::default() }.check(&[JSON], Ok(()));
    }

    #[test]
    fn bodies_that_nobody_waits_for() {
        #[track_caller]
        fn check(media: &str, framing: Framing, expected: Result<(), Detail>) {
            assert_eq!(at_head(&head(200, &[("Content-Type", media)]), framing, 10), expected);
        }
        check("application/json", Framing::Length(10), Ok(()));
        check("application/json", Framing::Length(11), Err(Detail::TooLarge));
        check("application/json", Framing::Chunked, Ok(()));
        for endless in
            ["text/event-stream", "Text/Event-Stream; x", "multipart/x-mixed-replace;x", "application/grpc+x"]
        {
            check(endless, Framing::Length(1), Err(Detail::Streaming));
        }
    }

    fn received_by(route: &Route, lines: &[(&str, &str)], body: &str, previous: Option<&Seen>) -> Response {
        let head = head(200, lines);
        let received = Received {
            head: &head,
            framing: Framing::Chunked,
            body: Bytes::copy_from_slice(body.as_bytes()),
            request_time: at(0),
            response_time: at(2),
        };
        super::received(&received, route, previous, |_, wanted, first_seen| Modified::Computed {
            date: HttpDate(wanted.0 + 100),
            first_seen,
        })
    }

    fn today() -> HttpDate {
        HttpDate(at(2).wall_seconds())
    }

    #[test]
    fn framing_age_and_validators_stand_beside_the_fields() {
        let lines = [
            ("Connection", "x-hop"),
            ("X-Hop", "1"),
            ("Age", "7"),
            ("Content-Length", "2"),
            ("ETag", "\"o\""),
            ("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
            ("X", "kept"),
        ];
        let response = received_by(&plain(), &lines, "{}", None);
        assert_eq!(response.fields, fields(&[("X", "kept"), ("Date", "Thu, 01 Jan 2026 00:00:02 GMT")]));
        assert_eq!(response.validator, Validator::Origin(EntityTag::parse(b"\"o\"").expect("an entity-tag")));
        assert_eq!(response.modified, Modified::Origin(HttpDate(at(0).wall_seconds())));
        assert_eq!((response.content_length, response.initial_age.as_secs()), (2, 9));
    }

    #[test]
    fn an_origin_s_date_stays() {
        let date = [("Date", "Thu, 01 Jan 2026 00:00:00 GMT")];
        assert_eq!(received_by(&plain(), &date, "{}", None).fields, fields(&date));
    }

    #[test]
    fn a_tag_is_computed_where_the_origin_sent_none_that_can_be_read() {
        let replacing = Route { etag: Etag { replace: true, ..Etag::default() }, ..plain() };
        let unreadable = [&[("ETag", "bare")][..], &[("ETag", "\"a\""), ("ETag", "\"b\"")]];
        for (lines, route) in unreadable.map(|lines| (lines, fresh())).into_iter().chain([
            (&[][..], plain()),
            (&[("ETag", "bare")], replacing.clone()),
            (&[("ETag", "\"a\"")], replacing),
        ]) {
            let response = received_by(&route, lines, "{}", None);
            assert!(matches!(response.validator, Validator::Computed(_)), "{lines:?}");
            assert!(!response.fields.contains("etag"));
        }
        for lines in unreadable {
            let response = received_by(&plain(), lines, "{}", None);
            assert_eq!((response.validator, response.modified), (Validator::Absent, Modified::Absent), "{lines:?}");
            assert_eq!(response.fields.get_all("etag").count(), lines.len(), "plain mode rewrites nothing");
        }
    }

    #[test]
    fn validators_that_are_left_to_the_origin_are_not_computed() {
        let route = Route { validators: Validators::Origin, ..fresh() };
        let response = received_by(&route, &[], "{}", None);
        assert_eq!((response.validator, response.modified), (Validator::Absent, Modified::Absent));
        let response = received_by(&route, &[("ETag", "\"a\"")], "{}", None);
        assert!(matches!(response.validator, Validator::Origin(_)));
    }

    #[test]
    fn what_is_for_one_time_or_one_reader_gets_no_validators() {
        let replacing = || Route { etag: Etag { replace: true, ..Etag::default() }, ..plain() };
        for line in [("Cache-Control", "no-store"), ("Set-Cookie", "a=b")] {
            let response = received_by(&plain(), &[line], "{}", None);
            assert_eq!((response.validator, response.modified), (Validator::Absent, Modified::Absent));
            let tagged = received_by(&replacing(), &[line, ("ETag", "\"a\"")], "{}", None);
            assert!(matches!(tagged.validator, Validator::Origin(_)), "an origin's own stays");
        }
        let ignoring = Route { origin_cache_control: OriginCacheControl::Ignore, ..fresh() };
        let response = received_by(&ignoring, &[("Cache-Control", "no-store")], "{}", None);
        assert!(matches!(response.validator, Validator::Computed(_)));
    }

    #[test]
    fn an_unreadable_tag_stays_on_what_gets_none() {
        let lines = [("Cache-Control", "no-store"), ("ETag", "bare")];
        assert_eq!(received_by(&plain(), &lines, "{}", None).fields.get("etag"), Some(&b"bare"[..]));
    }

    #[test]
    fn a_content_is_dated_when_it_is_first_seen_and_keeps_its_date() {
        let first = received_by(&plain(), &[], "{}", None);
        let claimed = HttpDate(today().0 + 100);
        assert_eq!(first.modified, Modified::Computed { date: claimed, first_seen: today() });
        let seen = Seen {
            modified: Modified::Computed { date: HttpDate(5), first_seen: HttpDate(6) },
            ..Seen::of(&first).expect("it has a computed date")
        };
        assert_eq!(received_by(&plain(), &[], "{}", Some(&seen)).modified, seen.modified);
        assert_eq!(received_by(&plain(), &[], "{ }", Some(&seen)).modified, first.modified);
        let dated = Seen { modified: Modified::Origin(HttpDate(5)), ..seen };
        assert_eq!(received_by(&plain(), &[], "{}", Some(&dated)).modified, first.modified);
    }

    #[test]
    fn only_computed_dates_are_remembered() {
        let tagged = received_by(&plain(), &[("ETag", "\"o\"")], "{}", None);
        assert!(Seen::of(&tagged).is_some_and(|seen| Some(&seen.tag) == tagged.validator.entity_tag()));
        let dated = received_by(&plain(), &[("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")], "{}", None);
        assert!(Seen::of(&dated).is_none());
    }

    #[test]
    fn a_date_that_the_origin_cannot_mean_counts_as_none() {
        let modified = |date, lines: &[(&str, &str)]| {
            received_by(&plain(), &[&[("Last-Modified", date)], lines].concat(), "{}", None).modified
        };
        // The response came at 00:00:02; a minute of difference between two clocks is not absurd.
        assert!(matches!(modified("Thu, 01 Jan 2026 00:01:02 GMT", &[]), Modified::Origin(_)));
        assert!(matches!(modified("Thu, 01 Jan 2026 00:01:03 GMT", &[]), Modified::Computed { .. }));
        let ahead = [("Date", "Thu, 01 Jan 2026 00:01:00 GMT")];
        assert!(matches!(modified("Thu, 01 Jan 2026 00:02:00 GMT", &ahead), Modified::Origin(_)));
        assert!(matches!(modified("Thu, 01 Jan 2026 00:02:01 GMT", &ahead), Modified::Computed { .. }));
    }

    #[test]
    fn a_body_s_own_time_dates_it_unless_it_lies_ahead() {
        let route = || {
            let last_modified = crate::policy::LastModified { field: "at".into(), zone: String::new() };
            Route { last_modified, ..plain() }
        };
        let date = |body| match received_by(&route(), &[], body, None).modified {
            Modified::Computed { date, .. } => date.0 - 100,
            other => panic!("{other:?}"),
        };
        assert_eq!(date(r#"{"at": 1767225602}"#), 1_767_225_602);
        assert_eq!(date(r#"{"at": 1767225603}"#), today().0);
        assert_eq!(date(r#"{"at": 17}"#), 17);
    }
}
