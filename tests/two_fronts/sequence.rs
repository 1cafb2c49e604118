//! Random steps, out of what the scenarios are made of.

use crate::scenario::{Asked, Body, Step};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use std::time::Duration;

const ROUTES: [&str; 5] = ["/shown", "/own", "/members", "/streams", ""];

/// What `origin.rs` knows, but for what it takes the whole connection for, or time.
const KINDS: [&str; 27] = [
    "1",
    "2",
    "1?a=b",
    "long",
    "huge",
    "huge-chunks",
    "chunks",
    "until-close",
    "events",
    "empty",
    "no-content-length",
    "missing",
    "gone",
    "moved",
    "fails",
    "busy",
    "no-store",
    "private",
    "cookie",
    "language",
    "cross-origin",
    "many",
    "hop-by-hop",
    "aged",
    "mine",
    "tagged",
    "later",
];

/// Lines of which a request has a few.
const LINES: [&str; 24] = [
    "If-None-Match: $etag",
    "If-None-Match: \"other\", W/$etag",
    "If-None-Match: *",
    "If-Match: $etag",
    "If-Match: \"other\"",
    "If-Modified-Since: $modified",
    "If-Unmodified-Since: $modified",
    "Range: bytes=0-3",
    "Range: bytes=99999-",
    "If-Range: $etag",
    "Cache-Control: no-cache",
    "Cache-Control: only-if-cached",
    "Cache-Control: max-age=3",
    "Pragma: no-cache",
    "Accept-Language: de",
    "Authorization: Bearer one",
    "Authorization: Bearer two",
    "Cookie: a=1",
    "Origin: http://a.test",
    "Connection: close",
    "X-Forwarded-For: 192.0.2.7",
    "X-HTTP-Method-Override: DELETE",
    "Accept-Encoding: gzip",
    "Accept-Encoding: zstd;q=0.3, br",
];

/// Without codings: they are made in the background, for the next step, and maybe for the next request of the same write.
const AT_ONCE: &[&str] = LINES.split_at(22).0;

/// Some steps that follow each other.
pub fn sequences() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..12)
}

fn step() -> impl Strategy<Value = Step> {
    let after = prop_oneof![6 => Just(1), 2 => Just(6), 1 => Just(61)].prop_map(Duration::from_secs);
    let purge = prop_oneof![9 => Just(None), 1 => select(vec!["*", "/shown/1"]).prop_map(|path| Some(path.to_owned()))];
    // Those of one write are for one path: their dates, see `Step::after`.
    let several = path().prop_flat_map(|path| vec(asked(Just(path), AT_ONCE), 2..4));
    let requests = prop_oneof![5 => vec(asked(path(), &LINES), 1), 1 => several];
    (after, purge, any::<bool>(), requests).prop_map(|(after, purge, soft, requests)| Step {
        after,
        purge,
        soft,
        requests,
        ..Step::default()
    })
}

fn path() -> impl Strategy<Value = String> {
    let (route, kind) = (select(ROUTES.to_vec()), select(KINDS.to_vec()));
    prop_oneof![
        3 => Just("/shown/1".to_owned()),
        1 => select(ROUTES[..4].to_vec()).prop_map(str::to_owned),
        6 => (route, kind).prop_map(|(route, kind)| format!("{route}/{kind}")),
    ]
}

fn asked(path: impl Strategy<Value = String>, lines: &[&'static str]) -> impl Strategy<Value = Asked> {
    let method = prop_oneof![
        12 => Just("GET"),
        2 => Just("HEAD"),
        2 => Just("PUT"),
        1 => Just("POST"),
        1 => Just("PATCH"),
        1 => Just("DELETE"),
        1 => Just("OPTIONS"),
    ];
    let lines = subsequence(lines.to_vec(), 0..4);
    (method, path, lines, body(), prop::bool::weighted(0.1)).prop_map(|(method, path, lines, body, http10)| {
        let takes_body = !matches!(method, "GET" | "HEAD" | "OPTIONS");
        // HTTP/1.0 has no chunks.
        let body = match body {
            Body::Chunked(content, _) if http10 => Body::Length(content),
            body => body,
        };
        Asked::Well {
            line: format!("{method} {path}"),
            http10,
            lines: lines.into_iter().map(str::to_owned).collect(),
            body: if takes_body { body } else { Body::None },
        }
    })
}

fn body() -> impl Strategy<Value = Body> {
    let content = prop_oneof![Just(0_usize), 1..100_usize, 2000..2100_usize, Just(9000)];
    (content, prop::option::of(1..5000_usize), prop::bool::weighted(0.8)).prop_map(|(octets, chunks, some)| {
        let content = vec![b'x'; octets];
        match chunks {
            _ if !some => Body::None,
            None => Body::Length(content),
            Some(most) => Body::Chunked(content, most),
        }
    })
}
