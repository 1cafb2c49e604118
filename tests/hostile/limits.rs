//! Each limit has its answer, and is counted.

use crate::catalogue::octets;
use crate::frames::{self, DATA, HEADERS, Raw, frame};
use crate::origin::Talker;
use crate::proxy::{CACHED, Proxy};
use crate::wire::Connection;
use serde_json::{Value, json};
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

const LIMITS: &str = r#"
server.h2c = true
server.hosts = ["shop.test"]
[server.limits]
header_timeout = "1s"
idle_timeout = "1s"
header_bytes = "4KiB"
header_count = 20
uri = "1KiB"
body = "32KiB"
"#;

/// A request, and what it is refused with.
const REFUSED: [(&str, u16); 16] = [
    ("GET /a b HTTP/1.1\r\nHost: shop.test\r\n\r\n", 400),
    ("POST /a HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ("TRACE /a HTTP/1.1\r\nHost: shop.test\r\n\r\n", 405),
    ("GET /a HTTP/1.1\r\nHost: shop", 408),
    ("PUT /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\n\r\nabc", 408),
    ("PUT /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 32769\r\n\r\n", 413),
    ("OPTIONS /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 32769\r\n\r\n", 413),
    ("PUT /a HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n8001\r\n⟨32769 x⟩", 413),
    ("OPTIONS /a HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n8001\r\n⟨32769 x⟩\r\n0\r\n\r\n", 413),
    ("GET /⟨1024 x⟩ HTTP/1.1\r\nHost: shop.test\r\n\r\n", 414),
    ("PUT /a HTTP/1.1\r\nHost: shop.test\r\nExpect: more\r\n\r\n", 417),
    ("GET /a HTTP/1.1\r\nHost: evil.test\r\n\r\n", 421),
    ("GET /a HTTP/1.1\r\nHost: shop.test\r\n⟨20 X: y\r\n⟩\r\n", 431),
    ("GET /a HTTP/1.1\r\nHost: shop.test\r\nX: ⟨4096 x⟩\r\n\r\n", 431),
    ("PUT /a HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ("GET /a HTTP/1.2\r\nHost: shop.test\r\n\r\n", 505),
];

#[test]
fn every_refusal_has_its_answer_and_is_counted() {
    let talker = Talker::default();
    let proxy = Proxy::start(&format!("origin.url = \"{}\"\n{LIMITS}", talker.origin.url));
    let back = format!("GET /a HTTP/1.1\r\nHost: shop.test\r\nVia: {}\r\n\r\n", via(&proxy, &talker));
    for (request, status) in REFUSED.into_iter().chain([(back.as_str(), 508)]) {
        let mut client = proxy.connect();
        client.send(octets(request, ""));
        let answer = client.response();
        assert_eq!(answer.status(), status, "{request:?}: {answer:?}");
        assert!(
            answer.text().contains(r#""detail":""#) && answer.field("connection") == "close",
            "{request:?}: {answer:?}"
        );
        assert!(client.is_closed(), "{request:?}");
    }
    // What streams was begun at the origin, and broke off there.
    assert!(talker.asked().is_empty());
    let counted = json!({
        "400": 2, "405": 1, "408": 2, "413": 4, "414": 1, "417": 1, "421": 1, "431": 2, "501": 1, "505": 1, "508": 1
    });
    assert_eq!(proxy.stats()["total"]["refused"], counted);
    shown_to_prometheus(&proxy, &counted);
}

/// What the proxy adds to `Via`.
fn via(proxy: &Proxy, talker: &Talker) -> String {
    assert_eq!(proxy.ask("OPTIONS /a", &[], "").status(), 200);
    let asked = talker.asked();
    asked[0].head.field("via").expect("a gateway names itself").to_owned()
}

/// Prometheus is told the same.
fn shown_to_prometheus(proxy: &Proxy, counted: &Value) {
    let mut admin = Connection::open(proxy.admin);
    admin.ask("GET /metrics", &["Host: localhost"], "");
    let text = admin.response();
    for (status, count) in counted.as_object().expect("they are counted by status") {
        let line = format!("freshgate_refused_total{{route=\"unrouted\",status=\"{status}\"}} {count}");
        assert!(text.text().lines().any(|there| there == line), "{line} is not in {}", text.text());
    }
}

#[test]
fn over_http_2_as_well() {
    let talker = Talker::default();
    let config = format!("origin.url = \"{}\"\n{LIMITS}", talker.origin.url);
    let proxy = Proxy::start_with(&config, &["--access-log"]);
    let with = |fields: &[(&str, &str)]| [frames::head("GET", "/a"), frames::section(fields.to_vec())].concat();
    let long = format!("/{}", "x".repeat(1024));
    let put = frames::head("PUT", "/a");
    let announced = [put.clone(), frames::section([("content-length", "32769")])].concat();
    let evil = frames::section([(":method", "GET"), (":scheme", "http"), (":authority", "evil.test"), (":path", "/a")]);
    let body: Vec<u8> = (0..3).flat_map(|_| frame(DATA, 0, 1, &[b'x'; 16384])).collect();
    let back = via(&proxy, &talker);
    for (octets, outcome) in [
        (frame(HEADERS, 5, 1, &frames::head("TRACE", "/a")), "405"),
        (frame(HEADERS, 4, 1, &put), "408"),
        (frame(HEADERS, 4, 1, &announced), "413"),
        ([frame(HEADERS, 4, 1, &put), body].concat(), "413"),
        (frame(HEADERS, 5, 1, &frames::head("GET", &long)), "414"),
        (frame(HEADERS, 5, 1, &evil), "421"),
        (frame(HEADERS, 5, 1, &with(&[("x", "y"); 21])), "431"),
        (frame(HEADERS, 5, 1, &with(&[("via", &back)])), "508"),
    ] {
        let mut client = Raw::open(proxy.address, &[]);
        client.write(&octets).expect("it is open");
        assert_eq!(client.outcome(1), outcome);
        assert!(client.lives(), "the connection is good for other streams: {outcome}");
        // What is logged has been counted.
        proxy.program.prints(|line| line.contains("detail=refused").then_some(()));
    }
    assert!(talker.asked().is_empty());
    let counted = json!({ "405": 1, "408": 1, "413": 2, "414": 1, "421": 1, "431": 1, "508": 1 });
    assert_eq!(proxy.stats()["total"]["refused"], counted);
}

/// An upload that does not go on has the one place at the origin.
#[test]
fn a_full_origin_is_a_503() {
    let origin = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = origin.local_addr().expect("it is bound");
    let few = "origin.max_concurrent = 1\norigin.response_timeout = \"1s\"\norigin.request_buffer = \"1KiB\"\n";
    let proxy = Proxy::start(&format!("origin.url = \"http://{address}\"\n{few}"));
    let mut upload = proxy.connect();
    upload.send("PUT /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5000\r\n\r\nabc");
    let (mut place, _) = origin.accept().expect("the proxy connects");
    place.read_exact(&mut [0; 1]).expect("the upload has begun");
    let mut client = proxy.connect();
    for _ in 0..2 {
        client.ask("GET /b", &[], "");
        let answer = client.response();
        assert_eq!((answer.status(), answer.field("retry-after").is_empty()), (503, false), "{answer:?}");
    }
    // The first of them at least has been counted: the connection went on.
    assert!(proxy.stats()["total"]["refused"]["503"].as_u64() >= Some(1));
}

#[test]
fn connections_are_counted_by_what_became_of_them() {
    let talker = Talker::default();
    let few = "[server.limits]\nconnections = 1\nidle_timeout = \"1s\"\nheader_timeout = \"1s\"\n";
    let proxy = Proxy::start(&format!("origin.url = \"{}\"\n{few}", talker.origin.url));
    let mut first = proxy.connect();
    first.ask("GET /a", &[], "");
    assert_eq!(first.response().status(), 200);
    assert!(proxy.connect().is_closed(), "there is room for one");
    assert!(first.is_closed(), "it was idle");
    let connections = &proxy.stats()["connections"];
    assert_eq!(connections, &json!({ "opened": 1, "no-room": 1, "no-tls": 0, "idle": 1 }));
}

/// G6: the origin is the proxy itself by another address, or another proxy of this kind whose origin is this one. Nothing
/// waits for itself: neither a GET that would join the fetch it came from nor a POST whose turn it is; and one place at the
/// origin is enough, since nothing goes round twice.
#[test]
fn a_loop_ends() {
    for others in 0..=1 {
        let relay = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let back = format!("http://{}", relay.local_addr().expect("it is bound"));
        let leading_to = |url: &str| {
            let config = format!("origin.url = \"{url}\"\norigin.max_concurrent = 1\nserver.h2c = true\n{CACHED}");
            Proxy::start(&config)
        };
        let proxy = leading_to(&back);
        let circle: Vec<Proxy> = (0..others).map(|_| leading_to(&format!("http://{}", proxy.address))).collect();
        lead_to(relay, circle.first().unwrap_or(&proxy).address);
        for request in ["OPTIONS /a", "POST /a", "GET /a", "HEAD /a", "GET /plain", "HEAD /plain"] {
            let answer = proxy.ask(request, &[], "");
            assert_eq!(answer.status(), 508, "{request}: {answer:?}");
        }
        let mut client = Raw::open(proxy.address, &[]);
        client.write(&frame(HEADERS, 5, 1, &frames::head("GET", "/a/2"))).expect("it is open");
        assert_eq!(client.outcome(1), "508");
        // Counted where it came back, once for each.
        assert_eq!(proxy.stats()["total"]["refused"], json!({ "508": 7 }));
    }
}

/// One proxy of this kind in front of another is no loop.
#[test]
fn a_chain_is_no_loop() {
    let talker = Talker::default();
    let inner = Proxy::caching(&talker.origin.url);
    let outer = Proxy::caching(&format!("http://{}", inner.address));
    assert_eq!(outer.get("/a").status(), 200);
    let asked = talker.asked();
    let via = asked[0].head.field("via").expect("each names itself");
    assert_eq!(via.matches("1.1 freshgate-").count(), 2, "{via}");
}

/// Whatever connects to `relay` is connected to `address`.
fn lead_to(relay: TcpListener, address: SocketAddr) {
    let pipe = |mut from: TcpStream, mut to: TcpStream| thread::spawn(move || std::io::copy(&mut from, &mut to));
    thread::spawn(move || {
        for near in relay.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(address) else { return };
            let copy = |stream: &TcpStream| stream.try_clone().expect("a handle can be copied");
            pipe(copy(&near), copy(&far));
            pipe(far, near);
        }
    });
}

/// G11.
#[test]
fn more_memory_than_there_is() {
    let talker = Talker::default();
    let proxy = Proxy::start(&format!("origin.url = \"{}\"\ncache.memory = \"16384GiB\"\n", talker.origin.url));
    assert_eq!(proxy.get("/a").status(), 200);
    assert!(proxy.program.log().contains("cache.memory is more memory than there is"), "{}", proxy.program.log());
    let sober = Proxy::start(&format!("origin.url = \"{}\"\ncache.memory = \"16MiB\"\n", talker.origin.url));
    assert!(!sober.program.log().contains("cache.memory"), "{}", sober.program.log());
}
