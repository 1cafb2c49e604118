//! SIGTERM under load: what was sent before a connection was closed is answered, whatever it is and however far it had
//! come, and the process is gone within `drain`.

use crate::http2::{answered, begin};
use crate::proxy::{CACHED, Proxy};
use crate::scripted::{After, Origin, Turns, json, write};
use crate::tls;
use crate::wire::{Connection, PATIENCE, chunk, status};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{Request, StatusCode};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::mpsc::unbounded_channel;

/// Clients that have a connection already, and those whose connection has not even been accepted.
const KEPT: usize = 60;
const NEW: usize = 40;

/// A hit, a miss, a mutation, and what streams past.
fn line(number: usize) -> (&'static str, String) {
    match number % 4 {
        0 => ("GET", "/a/stored".to_owned()),
        1 => ("GET", format!("/a/{number}")),
        2 => ("PUT", format!("/a/{number}")),
        _ => ("OPTIONS", "/a".to_owned()),
    }
}

#[test]
fn what_came_before_sigterm_is_answered() {
    let origin = Origin::answering(json(&[], "true"));
    let mut proxy = Proxy::caching(&origin.url);
    let mut clients: Vec<_> = (0..KEPT).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        client.ask("GET /a/stored", &[], "");
        assert_eq!(client.response().status(), 200);
    }
    proxy.program.halt();
    clients.extend((0..NEW).map(|_| proxy.connect()));
    for (number, client) in clients.iter_mut().enumerate() {
        let (method, path) = line(number);
        client.ask(&format!("{method} {path}"), &[], "");
    }
    proxy.program.terminate();
    proxy.program.go_on();
    for (number, client) in clients.iter_mut().enumerate() {
        let answer = client.try_response().unwrap_or_else(|error| panic!("{number}: {:?}: {error}", line(number)));
        assert_eq!((answer.status(), answer.text()), (200, "true"), "{number}: {answer:?}");
        assert!(client.is_closed(), "{number}: what comes from here on would be for nobody");
    }
    assert_eq!(proxy.program.wait().code(), Some(0));
}

#[test]
fn what_came_before_sigterm_is_answered_over_http2() {
    let origin = Origin::answering(json(&[], "true"));
    let mut proxy = Proxy::start(&format!("server.h2c = true\norigin.url = \"{}\"\n{CACHED}", origin.url));
    tls::runtime().block_on(async {
        let mut client = http2(&proxy).await;
        let (response, _) = begin(&mut client, request("GET", "/a/stored"), true).await;
        assert_eq!(answered(response).await.0, StatusCode::OK);
        let mut responses = Vec::new();
        proxy.program.halt();
        for number in 0..KEPT {
            let (method, path) = line(number);
            responses.push(begin(&mut client, request(method, &path), true).await.0);
            // The one other task of this thread sends it.
            tokio::task::yield_now().await;
        }
        proxy.program.terminate();
        proxy.program.go_on();
        all_answered(responses).await;
    });
    assert_eq!(proxy.program.wait().code(), Some(0));
}

#[test]
fn what_is_in_flight_at_sigterm_comes_to_its_end() {
    let (turns, (come, mut came)) = (Arc::new(Turns::default()), unbounded_channel());
    let gate = turns.clone();
    let origin = Origin::start(move |request, peer| {
        let streams = request.line().starts_with("OPTIONS");
        if streams {
            write(peer, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntr");
        }
        come.send(()).expect("the test waits");
        gate.wait(0);
        write(peer, if streams { b"ue".to_vec() } else { json(&[], "true").into_bytes() }.as_slice());
        After::Keep
    });
    let mut proxy = Proxy::start(&format!("server.h2c = true\norigin.url = \"{}\"\n{CACHED}", origin.url));
    tls::runtime().block_on(async {
        let mut clients: Vec<_> = (0..KEPT / 3).map(|_| proxy.connect()).collect();
        let mut client = http2(&proxy).await;
        let mut responses = Vec::new();
        // Without the hits, which are over at once. The keys of the two are apart, so that each is a request of its own.
        let numbers = |from: usize| (from..).filter(|number| number % 4 != 0);
        for (number, client) in numbers(0).zip(&mut clients) {
            let (method, path) = line(number);
            client.ask(&format!("{method} {path}"), &[], "");
        }
        for number in numbers(1000).take(clients.len()) {
            let (method, path) = line(number);
            responses.push(begin(&mut client, request(method, &path), true).await.0);
        }
        for _ in 0..2 * clients.len() {
            tokio::time::timeout(PATIENCE, came.recv()).await.expect("it is asked").expect("it runs");
        }
        proxy.program.terminate();
        while ready(&proxy) {
            std::thread::yield_now();
        }
        turns.open(0);
        for client in &mut clients {
            let answer = client.response();
            assert_eq!((answer.status(), answer.text()), (200, "true"), "{answer:?}");
        }
        all_answered(responses).await;
    });
    assert_eq!(proxy.program.wait().code(), Some(0));
}

/// What never ends by itself is ended: the bound holds for every kind of connection.
#[test]
fn streams_without_an_end_are_over_within_drain() {
    let origin = Origin::start(|request, peer| {
        let answer = match request.head.field("upgrade") {
            Some(_) => "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            None => "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n",
        };
        write(peer, answer.as_bytes());
        // Until the proxy lets go.
        drop(std::io::Read::read(peer, &mut [0]));
        After::Close
    });
    let lines = "server.h2c = true\nserver.drain = \"300ms\"\n";
    let mut proxy = Proxy::start(&format!("{lines}origin.url = \"{}\"\n{CACHED}", origin.url));
    let (mut events, mut passed, mut upgraded) = (proxy.connect(), proxy.connect(), proxy.connect());
    for (client, line) in [(&mut events, "GET /a/1"), (&mut passed, "OPTIONS /a/1")] {
        client.ask(line, &[], "");
        assert_eq!(status(&client.head()), 200);
        assert_eq!(chunk(&mut client.reader).expect("it comes").as_deref(), Some(&b"data: 1\n\n"[..]));
    }
    upgraded.ask("GET /socket", &["Upgrade: websocket", "Connection: Upgrade"], "");
    assert_eq!(status(&upgraded.head()), 101);
    tls::runtime().block_on(async {
        let mut client = http2(&proxy).await;
        let (response, _) = begin(&mut client, request("GET", "/a/2"), true).await;
        assert_eq!(response.await.expect("a head comes").status(), StatusCode::OK);
        proxy.program.terminate();
        assert_eq!(proxy.program.wait().code(), Some(0));
    });
    assert!(chunk(&mut events.reader).is_err(), "an end that never came is not made up");
}

/// A connection that speaks HTTP/2 from its first octet (RFC 9113 §3.3).
async fn http2(proxy: &Proxy) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(proxy.address).await.expect("the proxy listens");
    let (client, connection) = h2::client::handshake(stream).await.expect("both speak HTTP/2");
    tokio::spawn(connection);
    client
}

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("http://shop.test{path}"))
}

async fn all_answered(responses: Vec<ResponseFuture>) {
    let all = futures_util::future::join_all(responses.into_iter().map(answered));
    for (status, _, body) in tokio::time::timeout(PATIENCE, all).await.expect("no answer takes that long") {
        assert_eq!((status, &body[..]), (StatusCode::OK, &b"true"[..]));
    }
}

fn ready(proxy: &Proxy) -> bool {
    let mut admin = Connection::open(proxy.admin);
    admin.ask("GET /readyz", &["Host: localhost"], "");
    admin.response().status() == 200
}
