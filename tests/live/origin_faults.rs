//! An origin that truncates, lies about length, resets, drips or hangs: 502, 504 or stale, and never stored.

use crate::proxy::{CACHED, Proxy};
use crate::scripted::{After, Origin, gate, json, write};
use crate::wire::status;
use std::sync::atomic::{AtomicBool, Ordering};

/// The octets that an origin sends and how it then ends the connection; what the client gets is 502, each time anew.
#[track_caller]
fn is_a_bad_gateway(octets: &str, how: fn() -> After) {
    let origin = Origin::ending(octets, how);
    let proxy = Proxy::caching(&origin.url);
    for _ in 0..2 {
        let answer = proxy.get("/a/1");
        assert_eq!(answer.status(), 502, "{answer:?}");
        assert!(answer.cache_status().contains("detail=protocol"), "{answer:?}");
        assert!(!answer.cache_status().contains("stored"), "{answer:?}");
        assert!(origin.times_asked() >= 1, "what failed is not stored");
    }
}

#[test]
fn a_body_that_ends_before_its_length() {
    is_a_bad_gateway("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":", || After::Close);
}

#[test]
fn a_chunked_body_without_an_end() {
    is_a_bad_gateway("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntrue\r\n", || After::Close);
}

#[test]
fn a_chunk_that_ends_before_its_size() {
    is_a_bad_gateway("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\ntrue", || After::Close);
}

#[test]
fn a_connection_that_is_reset_in_a_body() {
    is_a_bad_gateway("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":", || After::Reset);
}

#[test]
fn a_connection_that_is_reset_before_an_answer() {
    is_a_bad_gateway("", || After::Reset);
}

#[test]
fn a_head_that_ends_in_its_middle() {
    is_a_bad_gateway("HTTP/1.1 200 OK\r\nContent-Le", || After::Close);
}

#[test]
fn an_answer_that_is_not_http() {
    is_a_bad_gateway("SSH-2.0-OpenSSH_9.2p1\r\n\r\n", || After::Close);
}

#[test]
fn two_lengths_that_differ() {
    is_a_bad_gateway("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\ntrue!", || After::Close);
}

/// What streams through is read as strictly as what is stored.
#[test]
fn an_answer_with_two_readings_does_not_stream_through_either() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\ntrue",
        "HTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\n\r\ntrue",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n4\r\ntrue\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\ntrue",
    ] {
        let origin = Origin::ending(answer, || After::Close);
        let proxy = Proxy::caching(&origin.url);
        let got = proxy.ask("OPTIONS /a/1", &[], "");
        assert_eq!(got.status(), 502, "{answer:?}: {got:?}");
        assert!(got.cache_status().contains("detail=protocol"), "{got:?}");
    }
}

/// "A server MUST NOT send a Transfer-Encoding header field in any response with a status code of 1xx (Informational) or
/// 204 (No Content)" (RFC 9112 §6.1), nor a Content-Length (RFC 9110 §8.6).
#[test]
fn a_204_that_streams_through_announces_no_body() {
    for framing in ["Transfer-Encoding: chunked", "Content-Length: 5"] {
        let origin = Origin::ending(format!("HTTP/1.1 204 No Content\r\n{framing}\r\n\r\n"), || After::Close);
        let proxy = Proxy::caching(&origin.url);
        let answer = proxy.ask("OPTIONS /a/1", &[], "");
        assert_eq!(answer.status(), 204);
        let told = (answer.head.field("transfer-encoding"), answer.head.field("content-length"));
        assert_eq!(told, (None, None), "{framing}");
    }
}

#[test]
fn octets_after_the_body_are_nobody_s_response() {
    let answer = json(&[], "true") + "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
    let origin = Origin::answering(answer);
    let proxy = Proxy::caching(&origin.url);
    for path in ["/a/1", "/a/2", "/a/3", "/unnamed"] {
        assert_eq!(proxy.get(path).text(), "true");
    }
}

#[test]
fn json_that_ends_with_its_connection_is_stored_only_if_it_parses() {
    let cut = Origin::ending("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"id\":", || After::Close);
    let proxy = Proxy::caching(&cut.url);
    for _ in 0..2 {
        let answer = proxy.get("/a/1");
        assert!(answer.cache_status().contains("detail=incomplete"), "{answer:?}");
        assert_eq!(cut.times_asked(), 1);
    }

    let whole = Origin::ending("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{}", || After::Close);
    let proxy = Proxy::caching(&whole.url);
    assert_eq!((proxy.get("/a/1").text(), proxy.get("/a/1").text()), ("{}", "{}"));
    assert_eq!(whole.times_asked(), 1);
}

/// The proxy closes a silent connection later than the quarantine ends, so that its end can be waited for.
const SHORT_QUARANTINE: &str = "origin.quarantine = \"3s\"\nserver.limits.idle_timeout = \"4s\"\n";

#[test]
fn a_mutation_without_an_answer_is_sent_once_and_keeps_what_it_touched_out_of_the_store() {
    let origin = Origin::start(|request, peer| {
        if request.line().starts_with("PUT") {
            return After::Reset;
        }
        write(peer, json(&[], r#"{"id":1}"#).as_bytes());
        After::Keep
    });
    let proxy = Proxy::start(&format!("{SHORT_QUARANTINE}origin.url = \"{}\"\n{CACHED}", origin.url));
    let (item, list, other) = ("/a/1", "/a", "/a/2");
    for path in [item, list, other] {
        proxy.get(path);
    }
    assert_eq!(origin.times_asked(), 3);

    // It goes out on the connection that the GETs left in the pool, where a request that may be repeated would be.
    let mut client = proxy.connect();
    client.ask("PUT /a/1", &[], r#"{"id":1}"#);
    let put = client.response();
    assert_eq!(put.status(), 502, "{put:?}");
    assert!(put.cache_status().contains("detail=protocol"), "{put:?}");
    assert_eq!(origin.times_asked(), 1, "the PUT came once");

    for path in [item, list, item, list] {
        let answer = proxy.get(path);
        assert!(!answer.cache_status().contains("; stored"), "{answer:?}");
        assert_eq!(origin.times_asked(), 1, "{path} is in quarantine");
    }
    assert!(proxy.get(other).cache_status().starts_with("freshgate; hit"), "another item was not touched");

    assert!(client.is_closed(), "the quarantine is over by now");
    for path in [item, list] {
        assert!(proxy.get(path).cache_status().contains("; stored"), "{path}");
        assert!(proxy.get(path).cache_status().starts_with("freshgate; hit"), "{path}");
        assert_eq!(origin.times_asked(), 1);
    }
}

#[test]
fn stale_is_served_where_an_origin_fails() {
    let broken = std::sync::Arc::new(AtomicBool::new(false));
    let breaks = broken.clone();
    let origin = Origin::start(move |_, peer| {
        if breaks.load(Ordering::SeqCst) {
            write(peer, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":");
            return After::Close;
        }
        write(peer, json(&[], r#"{"id":1}"#).as_bytes());
        After::Keep
    });
    let proxy = Proxy::caching(&origin.url);
    let fresh = proxy.get("/a/1");
    broken.store(true, Ordering::SeqCst);
    proxy.expire_all();

    let stale = proxy.get("/a/1");
    assert_eq!((stale.status(), stale.text(), stale.etag()), (200, r#"{"id":1}"#, fresh.etag()));
    assert!(stale.cache_status().contains("detail=stale-if-error"), "{stale:?}");
    assert_eq!(proxy.get("/a/2").status(), 502, "nothing is stored for this one");
}

#[test]
fn an_origin_that_never_answers_is_a_504() {
    let (_open, wait) = gate();
    let origin = Origin::start(move |_, _| {
        wait();
        After::Close
    });
    let config = format!("origin.url = \"{}\"\norigin.response_timeout = \"500ms\"\n{CACHED}", origin.url);
    let proxy = Proxy::start(&config);
    for line in ["GET /a/1", "GET /unnamed", "FOO /unnamed"] {
        let answer = proxy.ask(line, &[], "");
        assert_eq!(answer.status(), 504, "{line}: {answer:?}");
        assert!(answer.cache_status().contains("detail=timeout"), "{line}: {answer:?}");
    }
}

#[test]
fn an_origin_that_is_not_there_is_a_502() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|held| held.local_addr()).expect("a free port");
    let proxy = Proxy::caching(&format!("http://{nobody}"));
    for line in ["GET /a/1", "GET /unnamed", "PUT /a/1"] {
        let answer = proxy.ask(line, &[], "");
        assert_eq!(answer.status(), 502, "{line}: {answer:?}");
        assert!(answer.cache_status().contains("detail=connect"), "{line}: {answer:?}");
    }
}

#[test]
fn a_body_that_drips_is_streamed_to_its_caller_and_not_stored() {
    let (open, wait) = gate();
    let origin = Origin::start(move |_, peer| {
        write(peer, b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ntrue");
        wait();
        write(peer, b"tail");
        After::Keep
    });
    let proxy = Proxy::caching(&origin.url);
    let mut client = proxy.connect();
    client.ask("GET /a/1", &[], "");
    let head = client.head();
    assert_eq!((status(&head), client.octets(4)), (200, b"true".to_vec()));
    assert!(!head.field("cache-status").expect("it is on every response").contains("stored"), "{head:?}");
    open.send(()).expect("the origin waits");
    assert_eq!(client.octets(4), b"tail");

    assert_eq!(origin.times_asked(), 1, "nothing is fetched twice");
    open.send(()).expect("the origin is there");
    let next = proxy.get("/a/1");
    assert_eq!(next.text(), "truetail");
    assert!(next.cache_status().contains("detail=streaming"), "{next:?}");
}

#[test]
fn a_body_that_stops_is_cut_and_not_ended() {
    let (_open, wait) = gate();
    let origin = Origin::start(move |_, peer| {
        write(peer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntrue\r\n");
        wait();
        After::Close
    });
    let config = format!("origin.url = \"{}\"\norigin.body_timeout = \"1500ms\"\n{CACHED}", origin.url);
    let proxy = Proxy::start(&config);
    let mut client = proxy.connect();
    client.ask("GET /a/1", &[], "");
    assert!(client.try_response().is_err(), "an end that never came is not made up");
}
