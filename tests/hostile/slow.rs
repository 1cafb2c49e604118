//! Slow clients (A31, A38, A39): each wait for a client has a bound, and an answer where a request had begun.

use crate::catalogue::octets;
use crate::frames::{self, CONTINUATION, DATA, HEADERS, Raw, frame};
use crate::now;
use crate::origin::Talker;
use crate::proxy::Proxy;
use crate::wire::{Connection, PATIENCE};
use std::io::{BufRead, ErrorKind, Read, Write};
use std::time::Duration;

fn hurried(talker: &Talker) -> Proxy {
    let limits = "header_timeout = \"1s\"\nidle_timeout = \"1s\"\n";
    let config = format!("origin.url = \"{}\"\nserver.h2c = true\n[server.limits]\n{limits}", talker.origin.url);
    Proxy::start_with(&config, &["--access-log"])
}

/// How long an octet is waited for before the next is sent.
const DRIP: Duration = Duration::from_millis(50);

/// Sends octet by octet until something comes back; that, to the end of the connection.
fn dripped(connection: &mut Connection, octets: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut answer = Vec::new();
    connection.reader.get_ref().set_read_timeout(Some(DRIP)).expect("a bound can be set");
    for octet in octets {
        let sent = connection.reader.get_mut().write_all(&[octet]);
        match connection.reader.read_to_end(&mut answer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && answer.is_empty() && sent.is_ok() => {}
            _ => break,
        }
    }
    connection.reader.get_ref().set_read_timeout(Some(PATIENCE)).expect("a bound can be set");
    // It may have been reset, since it was sent more than it read.
    let _ = connection.reader.read_to_end(&mut answer);
    answer
}

#[test]
fn a_head_that_drips() {
    let talker = Talker::default();
    let proxy = hurried(&talker);
    let began = now();
    let head = b"GET /a HTTP/1.1\r\nHost: shop.test\r\nX: ".iter().copied().chain(std::iter::repeat(b'x'));
    let answer = dripped(&mut proxy.connect(), head.take(600));
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
    assert!(now().since(began) >= Duration::from_secs(1), "the time is that of the whole head");
    assert_eq!(proxy.get("/fine").status(), 200);
    assert!(talker.asked().is_empty());
    assert_eq!(proxy.stats()["total"]["refused"]["408"], 1);
}

/// An octet now and then is no progress: the body is waited for in all, not from octet to octet.
#[test]
fn a_body_that_drips() {
    let talker = Talker::default();
    let proxy = hurried(&talker);
    let chunks = "1\r\nx\r\n".repeat(100);
    for (framing, body) in [("Content-Length: 600", "x".repeat(600)), ("Transfer-Encoding: chunked", chunks)] {
        let began = now();
        let mut client = proxy.connect();
        client.send(format!("PUT /a HTTP/1.1\r\nHost: shop.test\r\n{framing}\r\n\r\n"));
        let answer = dripped(&mut client, body.bytes());
        assert!(answer.starts_with(b"HTTP/1.1 408 "), "{framing}: {}", answer.escape_ascii());
        assert!(now().since(began) >= Duration::from_secs(1), "a while is everybody's");
    }
    assert_eq!(proxy.stats()["total"]["refused"]["408"], 2);

    let mut http2 = Raw::open(proxy.address, &[]);
    http2.write(&frame(HEADERS, 4, 1, &frames::head("PUT", "/a"))).expect("it is open");
    let dripped = (0..600).any(|_| {
        http2.write(&frame(DATA, 0, 1, b"x")).expect("the connection stays open");
        http2.speaks_within(DRIP)
    });
    assert!(dripped);
    assert_eq!(http2.outcome(1), "408");
    proxy.program.prints(|line| line.contains("detail=refused").then_some(()));
    assert!(talker.asked().is_empty());
}

/// A slow uplink is no attack, however long it takes.
#[test]
fn a_body_that_is_slow_and_makes_progress() {
    const LENGTH: usize = 100_000;
    let talker = Talker::default();
    let proxy = hurried(&talker);
    let (began, mut sent) = (now(), 0);
    let mut client = proxy.connect();
    client.send(format!("PUT /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {LENGTH}\r\n\r\n"));
    client.reader.get_ref().set_read_timeout(Some(DRIP)).expect("a bound can be set");
    while now().since(began) < Duration::from_millis(1500) {
        client.send([b'x'; 1000]);
        sent += 1000;
        let silent = client.reader.fill_buf().expect_err("nothing is said to half a body");
        assert_eq!(silent.kind(), ErrorKind::WouldBlock);
    }
    client.reader.get_ref().set_read_timeout(Some(PATIENCE)).expect("a bound can be set");
    client.send(vec![b'x'; LENGTH - sent]);
    assert_eq!(client.response().status(), 200);
    assert_eq!(talker.asked()[0].body.len(), LENGTH);
}

#[test]
fn connections_on_which_nothing_is_asked() {
    let talker = Talker::default();
    let proxy = hurried(&talker);
    assert!(proxy.connect().is_closed(), "nothing was ever asked");
    let mut idle = proxy.connect();
    idle.ask("GET /fine", &[], "");
    assert_eq!(idle.response().status(), 200);
    assert!(idle.is_closed(), "nothing more was asked");
    assert_eq!(proxy.stats()["connections"]["idle"], 2);
}

/// A31.
#[test]
fn a_body_that_is_announced_and_never_comes() {
    let talker = Talker::default();
    let proxy = hurried(&talker);
    for framing in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let mut client = proxy.connect();
        client.send(octets(
            &format!("PUT /a HTTP/1.1\r\nHost: shop.test\r\n{framing}\r\nExpect: 100-continue\r\n\r\n"),
            "",
        ));
        assert_eq!(client.head().start, "HTTP/1.1 100 Continue");
        let answer = client.response();
        assert_eq!(answer.status(), 408, "{answer:?}");
        assert!(client.is_closed());
    }
    assert!(talker.asked().is_empty());
    assert_eq!(proxy.stats()["total"]["refused"]["408"], 2);
}

/// The same over HTTP/2: a connection without streams, half a field section, half a body.
#[test]
fn http_2_connections_on_which_nothing_comes() {
    let talker = Talker::default();
    let proxy = hurried(&talker);
    let mut silent = Raw::open(proxy.address, &[]);
    assert!(matches!(silent.outcome(1).as_str(), "GOAWAY NO_ERROR" | "closed"));

    let mut half = Raw::open(proxy.address, &[]);
    half.write(&frame(HEADERS, 1, 1, &frames::head("GET", "/a"))).expect("it is open");
    half.write(&frame(CONTINUATION, 0, 1, b"")).expect("it is open");
    assert!(matches!(half.outcome(1).as_str(), "GOAWAY NO_ERROR" | "closed"));

    let mut body = Raw::open(proxy.address, &[]);
    body.write(&frame(HEADERS, 4, 1, &frames::head("PUT", "/a"))).expect("it is open");
    assert_eq!(body.outcome(1), "408");
    // What is logged has been counted.
    proxy.program.prints(|line| line.contains("detail=refused").then_some(()));
    assert_eq!(proxy.stats()["total"]["refused"]["408"], 1);
    assert!(talker.asked().is_empty());
}
