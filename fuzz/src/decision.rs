//! From an origin's octets to what is stored of them: nothing that RFC 9111 §3 forbids, read once more and more simply
//! than the decisions read it; nothing that did not come whole; and no lifetime that nobody gave.

use super::{NOW, halves, policy, taken};
use bytes::{Bytes, BytesMut};
use freshgate::clock::Timestamp;
use freshgate::field::Fields;
use freshgate::field::connection::HOP_BY_HOP;
use freshgate::message::chunked::{Chunked, Piece};
use freshgate::message::{Framing, Head};
use freshgate::origin::head;
use freshgate::policy::{OriginCacheControl, Policy, RequestCacheControl, Route, SetCookie};
use freshgate::semantics::cache_key::{Partition, partition};
use freshgate::semantics::freshness::{self, Freshness};
use freshgate::semantics::request::Request;
use freshgate::semantics::stored_response::Modified;
use freshgate::semantics::storing::{self, Received};
use std::sync::LazyLock;
use std::time::Duration;

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    policy(
        r#"
        [origin]
        url = "http://127.0.0.1:3000"
        [[route]]
        name = "fresh"
        paths = ["/fresh/{*rest}"]
        fresh = "1m"
        last_modified = { field = "at", zone = "Europe/Zurich" }
        etag = { ignore = ["/now"], fields = ["link"] }
        [[route]]
        name = "stripped"
        paths = ["/stripped/{*rest}"]
        fresh = "1m"
        scope = "authenticated"
        set_cookie = "strip"
        request_cache_control = "respect"
        [[route]]
        name = "everybody"
        paths = ["/everybody/{*rest}"]
        fresh = "1m"
        scope = "public"
        origin_cache_control = "ignore"
        "#,
    )
});

/// `octets`: the head of a request, and all that the origin answers.
pub fn run(octets: &[u8]) {
    let Some((request, response)) = halves(octets) else { return };
    let Some(Ok((received, _))) = taken(request, &POLICY) else { return };
    let request = received.request;
    let Some((head, framing, body)) = whole(response, &request.method) else { return };
    let path = POLICY.routes.matching_form(&request.path);
    let route = POLICY.routes.select(&path).route;
    let credentials = &POLICY.identity.credentials;
    let known = request.fields.contains("authorization") || request.fields.contains("cookie");
    let partition = match storing::is_for_its_caller_alone(&head, credentials) {
        true => Partition::Caller([1; 16]),
        false => partition(&route.scope, known.then_some([1; 16]), None),
    };
    let at_head = storing::refused_at_head(&request, &head, route, &partition);
    let response_time = NOW + Duration::from_secs(2);
    let received = Received { head: &head, framing, body: body.clone(), request_time: NOW, response_time };
    let response =
        storing::received(&received, route, None, |_, date, now| Modified::Computed { date, first_seen: now });
    let decided = storing::decide(&request, &received, response, route, &partition, credentials);
    let stored = match (decided, at_head) {
        (Ok(_), Some(detail)) => panic!("stored although its head was refused: {detail:?}"),
        (Ok(stored), None) => stored,
        (Err(_), _) => return,
    };
    assert_eq!(*stored.body(), body);
    permitted(&request, &head, route, &partition);
    assert!(framing != Framing::CloseDelimited || serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok());
    let response = stored.response();
    assert_eq!((response.status, response.content_length), (head.status, body.len() as u64));
    for gone in HOP_BY_HOP.iter().chain(&["content-length", "age"]) {
        assert!(!response.fields.contains(gone), "{gone} is stored");
    }
    assert!(!response.fields.contains("set-cookie"), "a cookie for one is stored for others");
    assert!(response.fields.contains("date"), "RFC 9110 §6.6.1");
    assert!(stored.vary().windows(2).all(|pair| pair[0] < pair[1]));
    ages(response, route, response_time);
}

/// The final response, if it came whole: its head, how its end was told, and its body.
fn whole(octets: &[u8], method: &str) -> Option<(Head, Framing, Bytes)> {
    let mut buffer = BytesMut::from(octets);
    loop {
        let received = head::take(&mut buffer).ok()??;
        assert!(octets.ends_with(&buffer), "what follows is not the head's");
        let Head { status, ref fields, .. } = received.head;
        assert!((100..1000).contains(&status));
        if status < 200 {
            continue;
        }
        let framing = head::framing(method, status, fields).ok()?;
        let body = match framing {
            Framing::Empty => Bytes::new(),
            Framing::Length(length) => {
                let length = usize::try_from(length).ok().filter(|length| *length <= buffer.len())?;
                buffer.split_to(length).freeze()
            }
            Framing::Chunked => unchunked(&buffer)?.into(),
            Framing::CloseDelimited => buffer.split().freeze(),
        };
        return Some((received.head, framing, body));
    }
}

fn unchunked(mut octets: &[u8]) -> Option<Vec<u8>> {
    let (mut chunks, mut content) = (Chunked::default(), Vec::new());
    while !octets.is_empty() {
        let length = match chunks.next(octets).ok()? {
            Piece::Framing(length) => length,
            Piece::Data(length) => {
                content.extend_from_slice(&octets[..length]);
                length
            }
            Piece::End(_) => return Some(content),
        };
        octets = &octets[length..];
    }
    None
}

/// RFC 9111 §3, and what the route says.
fn permitted(request: &Request, head: &Head, route: &Route, partition: &Partition) {
    let fields = &head.fields;
    assert!(!matches!(head.status, 100..200 | 206 | 304 | 401 | 403), "{}", head.status);
    assert!(!fields.contains("set-cookie") || route.set_cookie == SetCookie::Strip);
    assert!(!fields.get_all("vary").any(|line| line.trim_ascii() == b"*"));
    let asked = route.request_cache_control == RequestCacheControl::Respect;
    assert!(!(asked && says(&request.fields, "no-store")), "the client's no-store");
    // What is said to this cache alone outranks Cache-Control; this reading goes by the latter.
    let targeted = fields.contains("freshgate-cache-control") || fields.contains("cdn-cache-control");
    if targeted || route.origin_cache_control == OriginCacheControl::Ignore {
        return;
    }
    let plain = route.freshness == freshgate::policy::Freshness::Origin;
    assert!(!says(fields, "no-store") || (plain && says(fields, "must-understand")), "the origin's no-store");
    assert!(!says(fields, "private") || (!plain && partition.is_one_caller_s()), "the origin's private");
    let shared = ["public", "must-revalidate"].iter().any(|word| says(fields, word)) || mentions(fields, "s-maxage");
    assert!(!(plain && request.fields.contains("authorization")) || shared, "RFC 9111 §3.5");
}

/// Whether a Cache-Control without quotes has this word as a directive.
fn says(fields: &Fields, word: &str) -> bool {
    fields.get_all("cache-control").filter(|line| !line.contains(&b'"')).any(|line| {
        line.split(|octet| *octet == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    })
}

fn mentions(fields: &Fields, word: &str) -> bool {
    fields
        .get_all("cache-control")
        .any(|line| line.to_ascii_lowercase().windows(word.len()).any(|w| w == word.as_bytes()))
}

/// A stored response only gets older, and is fresh for no longer than its lifetime.
fn ages(response: &freshgate::semantics::stored_response::Response, route: &Route, came: Timestamp) {
    let lifetime = freshness::lifetime(response, route).length;
    // An Expires is as far away as a calendar with four digits of a year goes.
    assert!(lifetime <= Duration::from_secs(10_000 * 366 * 86_400), "{lifetime:?}");
    let mut age = Duration::ZERO;
    for later in [0, 1, 59, 61, 86_400, 1 << 32] {
        let now = came + Duration::from_secs(later);
        let older = freshness::current_age(response, now);
        assert!(older >= age + Duration::from_secs(2).saturating_sub(age), "younger than the time it took to come");
        age = older;
        match freshness::of(response, route, now) {
            Freshness::Fresh { ttl } => assert!(!ttl.is_zero() && age + ttl <= lifetime),
            Freshness::Stale { by } => assert!(age >= lifetime && by == age - lifetime),
        }
    }
    let stale = freshness::stale_allowance(response, route, Duration::from_secs(60));
    assert!(stale.if_disconnected >= stale.if_error);
}
