//! What the proxy does not cache it passes on as it came.

use crate::proxy::Proxy;
use crate::scripted::{After, Origin, gate, json, write};
use crate::tls;
use crate::wire::{Head, PATIENCE, chunk, status};
use freshgate::clock::{Clock, SystemClock, Timestamp};
use std::io::{self, BufReader, Read};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

const MIB: usize = 1024 * 1024;

/// More than stands in all buffers between an origin and a client.
const LARGE: usize = 64 * MIB;

/// Enough that a proxy which holds any part of a body for longer than it must is told from one that does not.
const HUGE: usize = 1024 * MIB;

/// Whatever told of it: a refused credential is refused.
#[test]
fn a_401_to_what_is_passed_on_ends_what_is_stored_for_its_caller() {
    let origin = Origin::start(|request, peer| {
        let refused = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned();
        let answer = if request.line().starts_with("GET /me") { json(&[], "mine") } else { refused };
        write(peer, answer.as_bytes());
        After::Keep
    });
    let routes = "[[route]]\nname = \"me\"\npaths = [\"/me\"]\nfresh = \"5m\"\n\
                  [[route]]\nname = \"stream\"\npaths = [\"/stream\"]\nmode = \"pass\"\n";
    let proxy = Proxy::start(&format!("[origin]\nurl = \"{}\"\n{routes}", origin.url));
    let alice = ["Authorization: Bearer alice"];
    let get = |path: &str| proxy.ask(&format!("GET {path}"), &alice, "").status();
    assert_eq!((get("/me"), get("/me"), origin.times_asked()), (200, 200, 1));
    assert_eq!((get("/stream"), origin.times_asked()), (401, 1));
    assert_eq!((get("/me"), origin.times_asked()), (200, 1), "the origin has the word");
}

/// A caller whose app polls a stream need not be asked about again.
#[test]
fn a_200_to_what_is_passed_on_accepts_its_caller() {
    let origin = Origin::start(|request, peer| {
        let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned();
        let answer = if request.line().starts_with("GET /me") { missing } else { json(&[], "streamed") };
        write(peer, answer.as_bytes());
        After::Keep
    });
    let routes = "[[route]]\nname = \"me\"\npaths = [\"/me\"]\nfresh = \"5m\"\nnegative = \"5m\"\n\
                  [[route]]\nname = \"stream\"\npaths = [\"/stream\"]\nmode = \"pass\"\n";
    let proxy = Proxy::start(&format!("[origin]\nurl = \"{}\"\n{routes}", origin.url));
    let get = |path: &str| proxy.ask(&format!("GET {path}"), &["Authorization: Bearer alice"], "").status();
    assert_eq!((get("/me"), get("/me"), origin.times_asked()), (404, 404, 2), "a 404 accepts nobody");
    assert_eq!((get("/stream"), origin.times_asked()), (200, 1));
    assert_eq!((get("/me"), origin.times_asked()), (404, 0));
}

/// Fetch, "CORS protocol": without being named, a script cannot read what is added here.
#[test]
fn scripts_may_read_what_is_added_to_a_stream() {
    let fields = ["Access-Control-Allow-Origin: *", "Access-Control-Expose-Headers: X-Total-Count"];
    let origin = Origin::start(move |request, peer| {
        let fields = if request.line().ends_with("/shared") { &fields[..] } else { &[] };
        write(peer, json(fields, "streamed").as_bytes());
        After::Keep
    });
    let route = "[[route]]\nname = \"stream\"\npaths = [\"/{*rest}\"]\nmode = \"pass\"\n";
    let proxy = Proxy::start(&format!("[origin]\nurl = \"{}\"\n{route}", origin.url));
    let exposed = |path: &str| {
        let answer = proxy.get(path);
        answer.head.fields("access-control-expose-headers").join("; ")
    };
    assert_eq!(exposed("/shared"), "X-Total-Count; ETag, Cache-Status");
    assert_eq!(exposed("/own"), "");
}

#[test]
fn an_upload_of_a_gibibyte_goes_through_in_flat_memory() {
    let (url, taken) = swallowing_origin();
    let proxy = Proxy::caching(&url);
    let mut before = 0;
    for (is_chunked, length) in [(false, 8 * MIB), (true, 8 * MIB), (false, HUGE), (true, HUGE)] {
        let began = SystemClock.now();
        let mut client = proxy.connect();
        let framing = if is_chunked { "Transfer-Encoding: chunked" } else { &format!("Content-Length: {length}") };
        client.send(format!("PUT /files/1 HTTP/1.1\r\nHost: shop.test\r\n{framing}\r\n\r\n"));
        let block = vec![b'x'; MIB];
        for _ in 0..length / MIB {
            match is_chunked {
                true => client.send([b"100000\r\n", block.as_slice(), b"\r\n"].concat()),
                false => client.send(&block),
            }
        }
        if is_chunked {
            client.send("0\r\n\r\n");
        }
        assert_eq!(client.response().status(), 204);
        assert_eq!(taken.recv_timeout(PATIENCE), Ok(length), "every octet came");
        match length {
            HUGE => assert_grew_little(&proxy, before, began),
            _ => before = proxy.program.peak_memory(),
        }
    }
}

/// An origin that counts the octets of each body and keeps none; its URL and the counts.
fn swallowing_origin() -> (String, Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (tell, taken) = channel();
    thread::spawn(move || {
        for peer in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::with_capacity(MIB, peer);
            let Ok(Some(head)) = Head::read(&mut reader) else { continue };
            let length = match head.field("content-length") {
                Some(length) => {
                    let length = length.parse().expect("a length");
                    io::copy(&mut (&mut reader).take(length), &mut io::sink()).expect("the body comes")
                }
                None => std::iter::from_fn(|| chunk(&mut reader).expect("a chunk comes")).map(|c| c.len() as u64).sum(),
            };
            write(reader.get_mut(), b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
            tell.send(length as usize).expect("the test waits");
        }
    });
    (url, taken)
}

#[test]
fn a_download_of_a_gibibyte_goes_through_in_flat_memory() {
    let origin = Origin::start(|request, peer| {
        let length = if request.line().ends_with("/warm") { 8 * MIB } else { HUGE };
        write(peer, format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes());
        let block = vec![b'x'; MIB];
        (0..length / MIB).for_each(|_| write(peer, &block));
        After::Keep
    });
    let proxy = Proxy::caching(&origin.url);
    let (mut block, xs, mut before) = (vec![0; MIB], vec![b'x'; MIB], 0);
    for (path, length) in [("/files/warm", 8 * MIB), ("/a/warm", 8 * MIB), ("/files/1", HUGE), ("/a/1", HUGE)] {
        let began = SystemClock.now();
        let mut client = proxy.connect();
        client.ask(&format!("GET {path}"), &[], "");
        let head = client.head();
        assert_eq!((status(&head), head.field("content-length")), (200, Some(length.to_string().as_str())));
        for _ in 0..length / MIB {
            client.reader.read_exact(&mut block).expect("all of it comes");
            assert!(block == xs);
        }
        match length {
            HUGE => assert_grew_little(&proxy, before, began),
            _ => before = proxy.program.peak_memory(),
        }
    }
}

/// `before` is what it took when it had streamed a little.
#[track_caller]
fn assert_grew_little(proxy: &Proxy, before: u64, began: Timestamp) {
    let grown = proxy.program.peak_memory().saturating_sub(before);
    println!("memory grew by {} KiB in {:?}", grown / 1024, SystemClock.now().since(began));
    assert!(grown <= 32 * MIB as u64, "memory grew by {} MiB", grown / MIB as u64);
}

#[test]
fn a_slow_reader_holds_the_origin_back() {
    let (told, done) = std::sync::mpsc::channel();
    let origin = Origin::start(move |_, peer| {
        write(peer, format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes());
        for _ in 0..LARGE / MIB {
            write(peer, &vec![b'x'; MIB]);
            // The test may be over.
            let _ = told.send(());
        }
        After::Keep
    });
    let proxy = Proxy::caching(&origin.url);
    let (before, began) = (proxy.program.peak_memory(), SystemClock.now());
    let mut client = proxy.connect();
    client.ask("GET /files/1", &[], "");
    client.head();
    // Nothing more is read: what the origin could write stands in buffers, and those are bounded.
    let written = std::iter::from_fn(|| done.recv_timeout(std::time::Duration::from_secs(1)).ok()).count();
    assert!(written < LARGE / MIB, "all {written} MiB were taken from the origin while nobody read");
    assert_grew_little(&proxy, before, began);
}

#[test]
fn a_chunked_upload_arrives_as_it_was() {
    let origin = Origin::start(|request, peer| {
        write(peer, json(&[], std::str::from_utf8(&request.body).expect("the test sends text")).as_bytes());
        After::Keep
    });
    let proxy = Proxy::caching(&origin.url);
    let mut client = proxy.connect();
    client.send("POST /files HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("5\r\n[true\r\n1\r\n,\r\n6\r\nfalse]\r\n0\r\n\r\n");
    assert_eq!(client.response().text(), "[true,false]");
    assert_eq!(origin.asked().line(), "POST /files");
}

#[test]
fn a_chunked_download_arrives_as_it_was() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[true\r\n7\r\n,false]\r\n0\r\n\r\n";
    let origin = Origin::answering(answer);
    let proxy = Proxy::caching(&origin.url);
    assert_eq!(proxy.get("/unnamed").text(), "[true,false]");
    assert_eq!(proxy.get("/a/1").text(), "[true,false]");
}

#[test]
fn a_client_that_expects_100_is_told_to_continue() {
    let origin = Origin::answering(json(&[], "true"));
    let proxy = Proxy::caching(&origin.url);
    let mut client = proxy.connect();
    client.send("PUT /a/1 HTTP/1.1\r\nHost: shop.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(status(&client.head()), 100);
    client.send("true");
    assert_eq!(client.response().status(), 200);
    assert_eq!(origin.asked().body, b"true");
}

#[test]
fn interim_responses_are_relayed() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
    let origin = Origin::answering(early.to_owned() + &json(&[], "true"));
    let proxy = Proxy::caching(&origin.url);
    for path in ["/a/1", "/unnamed"] {
        let mut client = proxy.connect();
        client.ask(&format!("GET {path}"), &[], "");
        let interim = client.head();
        assert_eq!((status(&interim), interim.field("link")), (103, Some("</style.css>; rel=preload")), "{path}");
        assert_eq!(client.response().text(), "true", "{path}");
    }
}

#[test]
fn options_and_unknown_methods_reach_the_origin_each_time() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nAllow: GET, FOO\r\nContent-Length: 0\r\n\r\n");
    let proxy = Proxy::caching(&origin.url);
    for line in ["OPTIONS /a/1", "OPTIONS /a/1", "FOO /a/1", "FOO /a/1"] {
        let answer = proxy.ask(line, &[], "");
        assert_eq!((answer.status(), answer.field("allow")), (200, "GET, FOO"), "{line}");
        assert!(!answer.cache_status().contains("; stored"), "{answer:?}");
        assert_eq!(origin.asked().line(), line);
    }
}

#[test]
fn an_unknown_method_is_a_mutation() {
    let origin = Origin::answering(json(&[], "true"));
    let proxy = Proxy::caching(&origin.url);
    proxy.get("/a/1");
    proxy.ask("FOO /a/1", &[], "");
    proxy.get("/a/1");
    assert_eq!(origin.times_asked(), 3);
}

#[test]
fn a_websocket_upgrade_becomes_a_pipe() {
    let origin = Origin::start(|request, peer| {
        assert_eq!(request.head.field("upgrade"), Some("websocket"));
        let key = request.head.field("sec-websocket-key").unwrap_or("none");
        let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
        write(peer, format!("{switch}Sec-WebSocket-Accept: {key}\r\n\r\n").as_bytes());
        let mut frame = [0; 8];
        while peer.read_exact(&mut frame).is_ok() {
            frame.reverse();
            write(peer, &frame);
        }
        After::Close
    });
    let proxy = Proxy::caching(&origin.url);
    let mut client = proxy.connect();
    let upgrade = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: k", "Sec-WebSocket-Version: 13"];
    client.ask("GET /socket", &upgrade, "");
    let head = client.head();
    assert_eq!((status(&head), head.field("sec-websocket-accept")), (101, Some("k")));
    for frame in ["\u{1}\u{2}345678", "abcdefgh"] {
        client.send(frame);
        let mut echo = client.octets(8);
        echo.reverse();
        assert_eq!(echo, frame.as_bytes());
    }
}

/// The quickest origin there can be: its answer stands in the connection before the request does.
#[test]
fn an_upgrade_becomes_a_pipe_however_soon_it_is_granted() {
    const GRANTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    let front = tls::terminate(address);
    let (ca, port) = (front.ca.display(), front.address.port());
    let secured = format!("origin.url = \"https://localhost:{port}\"\norigin.ca = \"{ca}\"\n");
    std::thread::spawn(move || {
        for mut peer in listener.incoming().map_while(Result::ok) {
            write(&mut peer, GRANTED);
            let mut reader = std::io::BufReader::new(peer);
            let asked = Head::read(&mut reader).expect("a head comes").expect("it is a request");
            assert_eq!(asked.field("upgrade"), Some("websocket"));
            let mut frame = [0; 4];
            if reader.read_exact(&mut frame).is_ok() {
                write(reader.get_mut(), &frame);
            }
        }
    });
    for config in [format!("origin.url = \"http://{address}\"\n"), secured] {
        let proxy = Proxy::start(&config);
        for _ in 0..20 {
            let mut client = proxy.connect();
            client.ask("GET /socket", &["Upgrade: websocket", "Connection: Upgrade"], "");
            assert_eq!(status(&client.head()), 101);
            client.send("echo");
            assert_eq!(client.octets(4), b"echo");
        }
    }
}

#[test]
fn events_of_the_origin_arrive_one_by_one() {
    let (open, wait) = gate();
    let origin = Origin::start(move |_, peer| {
        write(peer, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for event in ["data: one\n\n", "data: two\n\n"] {
            wait();
            write(peer, format!("{:x}\r\n{event}\r\n", event.len()).as_bytes());
        }
        wait();
        write(peer, b"0\r\n\r\n");
        After::Keep
    });
    let proxy = Proxy::caching(&origin.url);
    for path in ["/unnamed", "/a/1"] {
        let mut client = proxy.connect();
        client.ask(&format!("GET {path}"), &[], "");
        assert_eq!(client.head().field("content-type"), Some("text/event-stream"), "{path}");
        for event in ["data: one\n\n", "data: two\n\n"] {
            open.send(()).expect("the origin waits");
            assert_eq!(chunk(&mut client.reader).expect("it comes").as_deref(), Some(event.as_bytes()), "{path}");
        }
        open.send(()).expect("the origin waits");
        assert_eq!(chunk(&mut client.reader).expect("the end comes"), None, "{path}");
    }
}

/// A stream that is silent holds a connection of the origin: it has to end with its client, whoever streams it.
#[test]
fn a_silent_stream_ends_with_its_client() {
    let (left, leaving) = std::sync::mpsc::channel();
    let origin = Origin::start(move |_, peer| {
        write(peer, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        // Until the proxy closes it, without a word on either side.
        let _ = left.send(matches!(peer.read(&mut [0]), Ok(0) | Err(_)));
        After::Close
    });
    let proxy = Proxy::caching(&origin.url);
    for (line, fields) in [("GET /unnamed", &[][..]), ("GET /a/1", &[]), ("GET /unnamed", &["Range: bytes=0-"])] {
        let mut client = proxy.connect();
        client.ask(line, fields, "");
        assert_eq!(status(&client.head()), 200, "{line} {fields:?}: the head waits for no event");
        drop(client);
        assert_eq!(leaving.recv_timeout(PATIENCE), Ok(true), "{line} {fields:?}: the origin is let go");
    }
}

/// What a client pipelines behind a stream is heard and kept while that is silent.
#[test]
fn what_is_pipelined_behind_a_stream_is_answered_after_it() {
    let (open, wait) = gate();
    let origin = Origin::start(move |request, peer| {
        if request.line() == "GET /a/1" {
            write(peer, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
            write(peer, b"3\r\none\r\n");
            wait();
            write(peer, b"0\r\n\r\n");
        } else {
            write(peer, json(&[], "2").as_bytes());
        }
        After::Keep
    });
    let proxy = Proxy::caching(&origin.url);
    let mut client = proxy.connect();
    client.ask("GET /a/1", &[], "");
    client.head();
    assert_eq!(chunk(&mut client.reader).expect("it comes").as_deref(), Some(&b"one"[..]));
    client.ask("GET /a/2", &[], "");
    open.send(()).expect("the origin waits");
    assert_eq!(chunk(&mut client.reader).expect("the end comes"), None);
    assert_eq!(client.response().text(), "2");
}

/// RFC 9110 §15.2: no 1xx for a client of HTTP/1.0. RFC 9110 §6.2: the version on a message is its sender's own.
#[test]
fn versions_are_each_connections_own() {
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let origin = Origin::ending(format!("{hint}HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\ntrue"), || After::Close);
    let proxy = Proxy::caching(&origin.url);
    for line in ["GET /unnamed", "GET /a/1", "OPTIONS /a/1"] {
        let mut client = proxy.connect();
        client.send(format!("{line} HTTP/1.0\r\nHost: shop.test\r\n\r\n"));
        assert_eq!(client.head().start, "HTTP/1.1 200 OK", "{line}");
        client = proxy.connect();
        client.ask(line, &[], "");
        assert_eq!(client.response().head.start, "HTTP/1.1 200 OK", "{line}");
    }
}

/// P10: bad input gets a clear error, also where the body was being streamed already.
#[test]
fn a_malformed_chunk_is_a_400() {
    let origin = Origin::answering(json(&[], "true"));
    let proxy = Proxy::caching(&origin.url);
    for (line, chunk) in [("GET /unnamed", "zz\r\n"), ("GET /a/1", "5;a\nhello\r\n"), ("POST /a/1", "-1\r\n")] {
        let mut client = proxy.connect();
        client.send(format!("{line} HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"));
        assert_eq!(client.response().status(), 400, "{line} {chunk:?}");
    }
}

#[test]
fn an_http_1_0_client_is_answered_and_closed() {
    let origin = Origin::answering(json(&[], "true"));
    let proxy = Proxy::caching(&origin.url);
    for path in ["/a/1", "/a/1", "/unnamed"] {
        let mut client = proxy.connect();
        client.send(format!("GET {path} HTTP/1.0\r\nHost: shop.test\r\n\r\n"));
        let answer = client.response();
        assert_eq!((answer.status(), answer.text()), (200, "true"), "{path}");
        assert_eq!(answer.head.field("transfer-encoding"), None, "{path}: an HTTP/1.0 client knows no chunks");
        assert!(client.is_closed(), "{path}");
    }
}

#[test]
fn odd_statuses_and_their_reasons_are_kept() {
    for (path, start) in
        [("/a/1", "299 Odd But True"), ("/unnamed", "299 Odd But True"), ("/unnamed", "599 Out Of Range")]
    {
        let origin = Origin::answering(format!("HTTP/1.1 {start}\r\nContent-Length: 4\r\n\r\ntrue"));
        let proxy = Proxy::caching(&origin.url);
        let answer = proxy.get(path);
        assert_eq!((answer.head.start.as_str(), answer.text()), (format!("HTTP/1.1 {start}").as_str(), "true"));
    }
}

#[test]
fn opaque_octets_in_fields_are_kept() {
    // RFC 9110 §5.5: obs-text, here Latin-1, is opaque data.
    let origin = Origin::answering(b"HTTP/1.1 200 OK\r\nX-Shop: Caf\xe9\r\nContent-Length: 4\r\n\r\ntrue");
    let proxy = Proxy::caching(&origin.url);
    for path in ["/a/1", "/a/1", "/unnamed"] {
        let mut client = proxy.connect();
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\nX-Till: ").into_bytes();
        request.extend(b"Caf\xe9\r\n\r\n");
        client.send(request);
        assert_eq!(client.response().head.octets("x-shop"), Some(&b"Caf\xe9"[..]), "{path}");
    }
    assert_eq!(origin.asked().head.octets("x-till"), Some(&b"Caf\xe9"[..]));
}

#[test]
fn lines_of_a_field_stay_apart_and_in_order() {
    let origin = Origin::answering(json(&["Set-Cookie: a=1", "X-Between: yes", "Set-Cookie: b=2"], "true"));
    let proxy = Proxy::caching(&origin.url);
    for path in ["/a/1", "/unnamed"] {
        assert_eq!(proxy.get(path).head.fields("set-cookie"), ["a=1", "b=2"], "{path}");
    }
}

#[test]
fn hop_by_hop_fields_stop_here() {
    let origin = Origin::answering(json(&["Connection: X-Hop", "X-Hop: secret", "Keep-Alive: timeout=5"], "true"));
    let proxy = Proxy::caching(&origin.url);
    for path in ["/a/1", "/unnamed"] {
        let answer = proxy.ask(&format!("GET {path}"), &["Connection: X-Own", "X-Own: secret"], "");
        let asked = origin.asked();
        assert_eq!((answer.head.field("x-hop"), answer.head.field("keep-alive")), (None, None), "{path}");
        assert_eq!(asked.head.field("x-own"), None, "{path}");
        assert!(asked.head.field("via").is_some_and(|via| via.starts_with("1.1 ")), "{path}: {asked:?}");
        assert_eq!(asked.head.field("x-forwarded-for"), Some("127.0.0.1"), "{path}");
        assert_eq!(asked.head.field("host"), Some("shop.test"), "{path}");
    }
}

#[test]
fn a_field_that_stops_here_selects_nothing() {
    let origin = Origin::start(|request, peer| {
        let tenant = request.head.field("x-tenant").unwrap_or("none");
        write(peer, json(&["Vary: X-Tenant", "Cache-Control: max-age=60"], &format!("\"{tenant}\"")).as_bytes());
        After::Keep
    });
    let proxy = Proxy::caching(&origin.url);
    for path in ["/a/1", "/unnamed"] {
        let line = format!("GET {path}");
        assert_eq!(proxy.ask(&line, &["Connection: X-Tenant", "X-Tenant: red"], "").text(), "\"none\"");
        assert_eq!(proxy.ask(&line, &["X-Tenant: red"], "").text(), "\"red\"", "{path}");
    }
}

#[test]
fn an_upgrade_that_is_not_meant_for_this_connection_is_none() {
    let origin = Origin::answering(json(&[], "true"));
    let proxy = Proxy::caching(&origin.url);
    for path in ["/a/1", "/unnamed"] {
        let answer = proxy.ask(&format!("GET {path}"), &["Upgrade: websocket"], "");
        assert!(answer.cache_status().contains("fwd=uri-miss"), "{answer:?}");
        assert_eq!(origin.asked().head.field("upgrade"), None, "{path}");
    }
}

/// No URI has these octets (RFC 3986 §2), and some clients send them all the same.
#[test]
fn a_target_that_is_no_uri_reaches_the_origin_on_any_route() {
    let origin = Origin::answering(json(&[], "true"));
    let proxy = Proxy::caching(&origin.url);
    let target = "/a/`<x>`?name=\"cola\"&<y>";
    for (method, seen) in [("GET", target), ("OPTIONS", "/a/%60%3Cx%3E%60?name=%22cola%22&%3Cy%3E")] {
        let answer = proxy.ask(&format!("{method} {target}"), &[], "");
        assert_eq!(answer.status(), 200, "{method}: {answer:?}");
        assert_eq!(origin.asked().line(), format!("{method} {seen}"));
    }
}

/// The first answer leaves a pooled connection, on which the second request is sent; the origin closes it, and the
/// request is sent again: Pingora has a line for that in the log.
#[test]
fn no_query_is_in_the_log() {
    let answered = AtomicBool::new(false);
    let origin = Origin::start(move |request, peer| {
        if request.line().contains("s3cret") && !answered.swap(true, Ordering::SeqCst) {
            return After::Close;
        }
        write(peer, json(&[], "true").as_bytes());
        After::Keep
    });
    let proxy = Proxy::caching(&origin.url);
    let mut client = proxy.connect();
    for target in ["/a/1", "/a/1?token=s3cret"] {
        client.ask(&format!("OPTIONS {target}"), &[], "");
        assert_eq!(client.response().status(), 200, "{target}");
    }
    assert_eq!(origin.times_asked(), 3, "it was sent twice");
    assert!(!proxy.program.log().contains("s3cret"), "{}", proxy.program.log());
}

#[test]
fn every_final_response_says_what_the_cache_did() {
    let origin = Origin::answering(json(&[], "true"));
    let proxy = Proxy::caching(&origin.url);
    for line in ["GET /a/1", "GET /a/1", "HEAD /a/1", "GET /unnamed", "PUT /a/1", "OPTIONS /a/1", "FOO /x"] {
        let answer = proxy.ask(line, &[], "");
        let members = answer.head.fields("cache-status");
        assert!(matches!(members.as_slice(), [member] if member.starts_with("freshgate")), "{line}: {answer:?}");
    }
    for bad in
        ["GET /a/1 HTTP/1.1\r\n\r\n", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n"]
    {
        let mut client = proxy.connect();
        client.send(bad);
        let answer = client.response();
        assert!((400..500).contains(&answer.status()), "{bad:?}: {answer:?}");
        assert!(answer.cache_status().starts_with("freshgate"), "{bad:?}: {answer:?}");
    }
}

#[test]
fn a_client_that_leaves_does_not_undo_its_mutation() {
    let (open, wait) = gate();
    let origin = Origin::start(move |request, peer| {
        if request.line().starts_with("PUT") {
            wait();
        }
        write(peer, json(&[], "true").as_bytes());
        After::Keep
    });
    let proxy = Proxy::caching(&origin.url);
    proxy.get("/a/1");
    origin.asked();

    let mut client = proxy.connect();
    client.ask("PUT /a/1", &[], "true");
    assert_eq!(origin.asked().line(), "PUT /a/1");
    drop(client);
    let during = proxy.get("/a/1");
    assert!(during.cache_status().contains("detail=mutation"), "{during:?}");
    open.send(()).expect("the origin waits");
    assert_eq!(origin.asked().line(), "GET /a/1", "a read meanwhile asks the origin");
}
