//! No lost updates: If-Match on what was computed here, as clients send it, in front of an origin that knows none of it.

use crate::http2::{Secured, ask};
use crate::proxy::{CACHED, Proxy};
use crate::scripted::{After, Origin, json, write};
use std::sync::Mutex;

/// A resource that anybody may overwrite.
fn origin() -> Origin {
    let content = Mutex::new("\"one\"".to_owned());
    Origin::start(move |request, peer| {
        let mut content = content.lock().expect("nobody panics here");
        if request.line().starts_with("PUT") {
            *content = std::str::from_utf8(&request.body).expect("the test sends text").to_owned();
        }
        write(peer, json(&["Access-Control-Allow-Origin: *"], &content).as_bytes());
        After::Keep
    })
}

/// Whatever is longer than this streams.
const SHORT_BUFFER: &str = "origin.request_buffer = \"1KiB\"\n";

/// What the origin was asked to change, each without its condition.
fn changes(origin: &Origin) -> usize {
    let asked: Vec<_> = std::iter::from_fn(|| origin.asked_so_far()).collect();
    let puts = asked.iter().filter(|request| request.line().starts_with("PUT"));
    assert!(puts.clone().all(|put| put.head.field("if-match").is_none()), "the origin would not know what it names");
    puts.count()
}

/// Read whole or streamed, a change is sent if it rests on what there is, and else refused with what there is.
#[test]
fn a_change_is_sent_if_its_client_has_seen_what_there_is() {
    let origin = origin();
    let proxy = Proxy::start(&format!("{SHORT_BUFFER}origin.url = \"{}\"\n{CACHED}", origin.url));
    for content in ["\"two\"".to_owned(), format!("\"{}\"", "x".repeat(100_000)), "\"three\"".to_owned()] {
        let seen = proxy.get("/a/1").etag().to_owned();
        let changed = proxy.ask("PUT /a/1", &[&format!("If-Match: {seen}")], &content);
        assert_eq!(changed.status(), 200, "{changed:?}");
        assert_eq!(changes(&origin), 1);
        assert_eq!(proxy.get("/a/1").text(), content);

        // Once more, by somebody who has not seen that.
        let now = proxy.get("/a/1").etag().to_owned();
        let refused = proxy.ask("PUT /a/1", &[&format!("If-Match: {seen}")], &content);
        assert_eq!((refused.status(), refused.etag()), (412, now.as_str()));
        assert_eq!(refused.cache_status(), "freshgate; detail=precondition");
        assert_eq!(refused.field("access-control-expose-headers"), "ETag, Cache-Status");
        assert_eq!(changes(&origin), 0);
    }
}

#[test]
fn a_change_over_http2_is_held_against_what_there_is_too() {
    let origin = origin();
    Secured::start(&origin.url, SHORT_BUFFER, &[]).connected(async |client| {
        for content in ["\"two\"".to_owned(), format!("\"{}\"", "x".repeat(100_000))] {
            let (_, fields, _) = ask(client, "GET", "/a/1", &[], "").await;
            let seen = fields["etag"].to_str().expect("an entity-tag is text").to_owned();
            for (expected, sent) in [(200, 1), (412, 0)] {
                let (status, fields, _) = ask(client, "PUT", "/a/1", &[("if-match", &seen)], &content).await;
                assert_eq!((status.as_u16(), changes(&origin)), (expected, sent), "{fields:?}");
            }
        }
    });
}

#[test]
fn a_route_may_require_that_its_clients_look_first() {
    let origin = origin();
    let routes = format!("{CACHED}require_if_match = true\n");
    let proxy = Proxy::start(&format!("origin.url = \"{}\"\n{routes}", origin.url));
    assert_eq!(proxy.ask("PUT /a/1", &[], "\"two\"").status(), 428);
    assert_eq!(proxy.ask("PUT /a/1", &["If-Match: \"v1\""], "\"two\"").status(), 412);
    assert_eq!(changes(&origin), 0);
    let seen = proxy.get("/a/1").etag().to_owned();
    assert_eq!(proxy.ask("PUT /a/1", &[&format!("If-Match: {seen}")], "\"two\"").status(), 200);
    assert_eq!(changes(&origin), 1);
}
