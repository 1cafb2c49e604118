//! HTTP/2 floods with raw frames (A41): whoever means harm ends their own connection at most. Others are answered, and the
//! memory stays where it was.

use crate::frames::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, frame,
};
use crate::now;
use crate::origin::{FINE, SILENT, Talker};
use crate::proxy::{CACHED, Proxy};
use crate::wire::Connection;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// What a flood may take of memory while it lasts, the allocator's and the tables' own growth included.
const GROWN: u64 = 24 * MIB;

/// Ends what runs beside a flood, also where that fails.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Runs a flood, on connections of its own, beside others who must not notice: one that asks over HTTP/1.1 all the time,
/// and one that stands open over HTTP/2.
#[track_caller]
fn beside_others(name: &str, config: &str, may_grow: u64, flood: impl FnOnce(SocketAddr)) -> (Proxy, Talker) {
    let talker = Talker::default();
    let proxy = Proxy::start(&format!("origin.url = \"{}\"\nserver.h2c = true\n{config}{CACHED}", talker.origin.url));
    assert_eq!(proxy.get(FINE).status(), 200);
    let mut other = Raw::open(proxy.address, &[]);
    other.write(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &frames::head("GET", "/a/1"))).expect("it is open");
    assert_eq!(other.outcome(1), "200");
    let before = proxy.program.peak_memory();
    let over = AtomicBool::new(false);
    let (address, over) = (proxy.address, &over);
    let slowest = thread::scope(|scope| {
        let asks = scope.spawn(move || {
            let (mut client, mut slowest) = (Connection::open(address), Duration::ZERO);
            while !over.load(SeqCst) {
                let began = now();
                client.ask("GET /a/1", &[], "");
                assert_eq!(client.response().status(), 200);
                slowest = slowest.max(now().since(began));
            }
            slowest
        });
        let ends = Over(over);
        flood(address);
        drop(ends);
        asks.join().expect("everybody else is answered")
    });
    let grown = proxy.program.peak_memory().saturating_sub(before);
    println!("{name}: memory grew by {} KiB; the slowest of the others' answers took {slowest:?}", grown / 1024);
    assert!(grown < may_grow, "memory grew by {} KiB", grown / 1024);
    assert!(other.lives(), "the other connection was harmed");
    other.write(&frame(HEADERS, END_STREAM | END_HEADERS, 3, &frames::head("GET", "/a/1"))).expect("it is open");
    assert_eq!(other.outcome(3), "200");
    assert_eq!(proxy.get("/a/1").status(), 200);
    (proxy, talker)
}

/// Writes what `next` gives until the connection ends, or `most` times.
fn pour(raw: &mut Raw, most: usize, mut next: impl FnMut(usize) -> Vec<u8>) -> bool {
    // Many frames in one write, as who means harm would.
    let mut at = 0;
    while at < most {
        let some: Vec<u8> = (at..most.min(at + 100)).flat_map(&mut next).collect();
        at += 100;
        if raw.write(&some).is_err() {
            return false;
        }
    }
    true
}

/// Streams of a client have odd numbers.
fn stream(number: usize) -> u32 {
    u32::try_from(number * 2 + 1).expect("a test has few streams")
}

const HEAD: u8 = END_HEADERS | END_STREAM;

#[test]
fn fields_without_end() {
    beside_others("fields without end", "", GROWN, |address| {
        for (sixteens, outcome) in [(2, "431"), (4, "431"), (8, "GOAWAY ENHANCE_YOUR_CALM")] {
            let mut raw = Raw::open(address, &[]);
            let many = frames::section(vec![("x", "y".repeat(1000)); 16]);
            let opened = frame(HEADERS, END_STREAM, 1, &frames::head("GET", "/a/1"));
            let rest: Vec<u8> = (0..sixteens).flat_map(|_| frame(CONTINUATION, 0, 1, &many)).collect();
            let last = frame(CONTINUATION, END_HEADERS, 1, &[]);
            raw.write(&[opened, rest, last].concat()).expect("it is open");
            assert_eq!(raw.outcome(1), outcome, "{sixteens} times 16 KiB");
        }
    });
}

#[test]
fn continuations_without_end() {
    beside_others("CONTINUATION", "", GROWN, |address| {
        for content in [&[][..], &frames::section([("x", "y".repeat(1000))])] {
            let mut raw = Raw::open(address, &[]);
            raw.write(&frame(HEADERS, END_STREAM, 1, &frames::head("GET", "/a/1"))).expect("it is open");
            pour(&mut raw, 100_000, |_| frame(CONTINUATION, 0, 1, content));
            assert_eq!(raw.outcome(1), "GOAWAY ENHANCE_YOUR_CALM", "{} octets each", content.len());
        }
    });
}

/// Each stream would be a fetch of its own, and the origin does not answer: what nobody waits for must not pile up.
#[test]
fn streams_that_are_reset_at_once() {
    const STREAMS: usize = 20_000;
    let few = "origin.max_concurrent = 4\n";
    let (proxy, talker) = beside_others("rapid reset", few, GROWN, |address| {
        for method in ["GET", "PUT"] {
            let mut raw = Raw::open(address, &[]);
            let poured = pour(&mut raw, STREAMS, |at| {
                let head = frames::head(method, &format!("/a/{method}{at}"));
                let cancel = 8_u32.to_be_bytes();
                [frame(HEADERS, HEAD, stream(at), &head), frame(RST_STREAM, 0, stream(at), &cancel)].concat()
            });
            println!("{method}: {}", if poured { "taken to the end" } else { "the connection was ended" });
        }
    });
    assert_eq!(proxy.program.log(), "", "nobody fills the disk with what is said of them");
    drop(proxy);
    println!("{} of {} reached the origin", talker.asked().len(), 2 * STREAMS);
}

/// The same, but each stream is reset only when the proxy has read it: each is a fetch, or a mutation with its body, in the
/// line for an origin that does not answer.
#[test]
fn streams_that_are_reset_when_they_are_taken_up() {
    // Of more at once the library that reads them would end the connection.
    const AT_ONCE: usize = 8;
    const ROUNDS: usize = 1000;
    let few = "origin.max_concurrent = 2\norigin.response_timeout = \"4s\"\n";
    let body = vec![b'x'; 1000];
    let (proxy, talker) = beside_others("resets, one by one", few, GROWN, |address| {
        for (method, ended) in [("GET", HEAD), ("PUT", END_HEADERS)] {
            let (mut raw, mut first) = (Raw::open(address, &[]), 0);
            for round in 0..ROUNDS {
                let streams = first..first + AT_ONCE;
                let open = |at: usize| {
                    let head = frames::head(method, &format!("{SILENT}/{method}{round}-{at}"));
                    let body = if ended == HEAD { vec![] } else { frame(DATA, END_STREAM, stream(at), &body) };
                    [frame(HEADERS, ended, stream(at), &head), body].concat()
                };
                let reset = |at: usize| frame(RST_STREAM, 0, stream(at), &8_u32.to_be_bytes());
                let opened = raw.write(&streams.clone().flat_map(open).collect::<Vec<_>>()).is_ok() && raw.lives();
                let reset = opened && raw.write(&streams.flat_map(reset).collect::<Vec<_>>()).is_ok() && raw.lives();
                first += AT_ONCE;
                if !reset {
                    (raw, first) = (Raw::open(address, &[]), 0);
                }
            }
        }
    });
    drop(proxy);
    let asked = talker.asked().len();
    println!("{asked} of {} reached the origin", 2 * ROUNDS * AT_ONCE);
    assert!(asked < ROUNDS, "of what nobody waits for, little is begun");
}

#[test]
fn malformed_streams() {
    beside_others("malformed streams", "", GROWN, |address| {
        let mut raw = Raw::open(address, &[]);
        let head = [frames::head("PUT", "/a/1"), frames::section([("content-length", "1")])].concat();
        pour(&mut raw, 5_000, |at| {
            [frame(HEADERS, END_HEADERS, stream(at), &head), frame(DATA, END_STREAM, stream(at), b"too long")].concat()
        });
        while let Some(came) = raw.read() {
            if came.kind == frames::GOAWAY {
                assert_eq!(frames::error(&came.payload[4..]), "ENHANCE_YOUR_CALM");
                return;
            }
        }
        panic!("the connection ended without a word");
    });
}

#[test]
fn empty_frames_without_end() {
    beside_others("empty DATA", "", GROWN, |address| {
        let mut raw = Raw::open(address, &[]);
        raw.write(&frame(HEADERS, END_HEADERS, 1, &frames::head("PUT", "/a/2"))).expect("it is open");
        pour(&mut raw, 200_000, |_| frame(DATA, 0, 1, b""));
        assert_eq!(raw.outcome(1), "GOAWAY ENHANCE_YOUR_CALM");
    });
    beside_others("empty HEADERS", "", GROWN, |address| {
        let mut raw = Raw::open(address, &[]);
        pour(&mut raw, 20_000, |at| frame(HEADERS, HEAD, stream(at), b""));
        while let Some(came) = raw.read() {
            assert!(matches!(came.kind, frames::RST_STREAM | frames::GOAWAY | SETTINGS | PING | WINDOW_UPDATE));
        }
    });
}

#[test]
fn control_frames_without_end() {
    for (name, flooded) in [
        ("PING", frame(PING, 0, 0, b"whatever")),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
        ("PRIORITY", frame(2, 0, 1, &[0, 0, 0, 3, 16])),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ] {
        beside_others(name, "", GROWN, |address| {
            let mut raw = Raw::open(address, &[]);
            raw.hurry(Duration::from_secs(2));
            let read = pour(&mut raw, 200_000, |_| flooded.clone());
            println!("{name}: {}", if read { "read to the end" } else { "not read any further" });
        });
    }
}

/// Bodies that are not ended hold their streams open.
#[test]
fn more_streams_than_there_may_be() {
    beside_others("101 streams", "", GROWN, |address| {
        let mut raw = Raw::open(address, &[]);
        pour(&mut raw, 101, |at| frame(HEADERS, END_HEADERS, stream(at), &frames::head("PUT", "/a/3")));
        assert_eq!(raw.outcome(stream(100)), "RST REFUSED_STREAM");
        assert!(raw.lives(), "the others go on");
    });
}

/// A hundred streams on each of ten connections ask for what is stored, and never take an octet of it: a thousand requests
/// under way, at 64 KiB each.
#[test]
fn windows_that_are_never_opened() {
    let (proxy, talker) = beside_others("windows of 0", "", 64 * MIB, |address| {
        let mut held: Vec<Raw> = (0..10).map(|_| Raw::open(address, &[(4, 0)])).collect();
        for raw in &mut held {
            pour(raw, 100, |at| frame(HEADERS, HEAD, stream(at), &frames::head("GET", "/a/1")));
            assert_eq!(raw.outcome(stream(99)), "200", "a head takes no window");
        }
    });
    drop(proxy);
    assert_eq!(talker.asked().len(), 1, "one fetch is enough for all of them");
}
