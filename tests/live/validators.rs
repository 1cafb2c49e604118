//! What a legacy API gets from the proxy in front of it: validators, 304s, freshness, and none of it stale.

use crate::proxy::Proxy;
use crate::scripted::{After, Origin, gate, json, write};
use crate::wire::request;

#[test]
fn the_first_200_carries_validators_and_the_second_request_is_a_304() {
    let origin = Origin::answering(json(&["Cache-Control: no-cache, private"], r#"{"id":1}"#));
    let proxy = Proxy::caching(&origin.url);

    let first = proxy.get("/a/1");
    assert_eq!((first.status(), first.text()), (200, r#"{"id":1}"#));
    assert!(first.etag().starts_with("\"fg1-"), "{first:?}");
    assert!(first.head.field("last-modified").is_some(), "{first:?}");
    assert!(first.cache_status().starts_with("freshgate; fwd=uri-miss"), "{first:?}");
    assert!(first.cache_status().contains("; stored"), "{first:?}");
    assert_eq!(first.field("cache-control"), "private, no-cache");

    let second = proxy.ask("GET /a/1", &[&format!("If-None-Match: {}", first.etag())], "");
    assert_eq!((second.status(), second.text()), (304, ""));
    assert_eq!(second.etag(), first.etag());
    assert!(second.cache_status().starts_with("freshgate; hit; ttl="), "{second:?}");
    assert_eq!(origin.times_asked(), 1);
}

#[test]
fn a_head_is_answered_from_what_a_get_stored() {
    let origin = Origin::answering(json(&[], r#"{"id":1}"#));
    let proxy = Proxy::caching(&origin.url);
    let get = proxy.get("/a/1");
    let head = proxy.ask("HEAD /a/1", &[], "");
    assert_eq!((head.status(), head.text(), head.field("content-length")), (200, "", "8"));
    assert_eq!(head.etag(), get.etag());
    assert_eq!(origin.times_asked(), 1);
}

#[test]
fn plain_mode_gives_validators_to_a_path_that_no_route_names() {
    let origin = Origin::answering(json(&[], "[1,2]"));
    let proxy = Proxy::caching(&origin.url);
    let first = proxy.get("/unnamed");
    let second = proxy.ask("GET /unnamed", &[&format!("If-None-Match: {}", first.etag())], "");
    assert_eq!((second.status(), second.text()), (304, ""));
    assert_eq!(origin.times_asked(), 2, "nothing is answered unasked");
}

#[test]
fn two_entity_tags_count_as_none() {
    let origin = Origin::answering(json(&["ETag: \"one\"", "ETag: \"two\""], r#"{"id":1}"#));
    let proxy = Proxy::caching(&origin.url);
    let answer = proxy.get("/a/1");
    let tags = answer.head.fields("etag");
    assert!(matches!(tags.as_slice(), [tag] if tag.starts_with("\"fg1-")), "{answer:?}");
}

#[test]
fn absurd_dates_are_ignored() {
    let absurd = ["Last-Modified: Someday, 99 Foo 12345 99:99:99 XYZ", "Date: yesterday", "Expires: -1", "Age: -7"];
    let origin = Origin::answering(json(&absurd, r#"{"id":1}"#));
    let proxy = Proxy::caching(&origin.url);
    assert_eq!(proxy.get("/a/1").status(), 200);

    let again = proxy.ask("GET /a/1", &["If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"], "");
    assert_eq!((again.status(), again.text()), (200, r#"{"id":1}"#), "an absurd date vouches for nothing");
    assert_eq!(origin.times_asked(), 1, "nor does it keep the response from being stored");
}

#[test]
fn a_mutation_makes_the_next_read_fresh() {
    let origin = Origin::answering(json(&[], r#"{"id":1}"#));
    let proxy = Proxy::caching(&origin.url);
    proxy.get("/a/1");
    proxy.get("/a?page=2");
    assert_eq!(origin.times_asked(), 2);

    let put = proxy.ask("PUT /a/1", &["Content-Type: application/json"], r#"{"id":1}"#);
    assert_eq!(put.status(), 200);
    assert!(put.cache_status().starts_with("freshgate; fwd=method"), "{put:?}");
    assert_eq!(origin.asked().body, br#"{"id":1}"#);

    proxy.get("/a/1");
    proxy.get("/a?page=2");
    assert_eq!(origin.times_asked(), 2, "the item and its collection were both read anew");
}

#[test]
fn requests_on_one_connection_are_answered_in_their_order() {
    let origin = Origin::start(|asked, peer| {
        let path = asked.line().trim_start_matches("GET ");
        write(peer, json(&[], &format!("\"{path}\"")).as_bytes());
        After::Keep
    });
    let proxy = Proxy::caching(&origin.url);
    let mut client = proxy.connect();
    client.send(["/a/1", "/b/1", "/a/2", "/a/1"].map(|path| request(&format!("GET {path}"), &[], "")).concat());
    for path in ["/a/1", "/b/1", "/a/2", "/a/1"] {
        assert_eq!(client.response().text(), format!("\"{path}\""));
    }
}

#[test]
fn credentials_keep_callers_apart() {
    let origin = Origin::start(|asked, peer| {
        let who = asked.head.field("authorization").unwrap_or("nobody");
        write(peer, json(&[], &format!("\"{who}\"")).as_bytes());
        After::Keep
    });
    let route = "[[route]]\nname = \"a\"\npaths = [\"/a\"]\nfresh = \"1h\"\norigin_cache_control = \"ignore\"\n";
    let proxy = Proxy::start(&format!("origin.url = \"{}\"\n{route}", origin.url));
    for who in ["Bearer x", "Bearer y", "Bearer x"] {
        let answer = proxy.ask("GET /a", &[&format!("Authorization: {who}")], "");
        assert_eq!(answer.text(), format!("\"{who}\""));
    }
    assert_eq!(origin.times_asked(), 2, "the third is a hit, in scope user");
}

#[test]
fn concurrent_misses_are_one_request_to_the_origin() {
    let (open, wait) = gate();
    let origin = Origin::start(move |_, peer| {
        wait();
        write(peer, json(&[], "true").as_bytes());
        After::Keep
    });
    let proxy = Proxy::caching(&origin.url);
    let mut clients: Vec<_> = (0..100).map(|_| proxy.connect()).collect();
    clients.iter_mut().for_each(|client| client.ask("GET /a/1", &[], ""));
    origin.asked();
    open.send(()).expect("the origin waits");
    for client in &mut clients {
        assert_eq!(client.response().text(), "true");
    }
    assert_eq!(origin.times_asked(), 0, "one was enough");
}
