//! Random heads: right ones, with a few octets, words or lines changed.

use crate::scenario::Octets;
use bytes::BytesMut;
use freshgate::edge::head::{Parsed, Received, RequestBody, Rules, take};
use freshgate::pipeline::Pipeline;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const HEADS: [&str; 8] = [
    "GET /shown/1 HTTP/1.1\r\nHost: shop.test\r\n\r\n",
    "GET /streams/a?b=%20c HTTP/1.1\r\nHost: shop.test:80\r\nAccept: */*\r\nCookie: a=1; b=2\r\n\r\n",
    "HEAD /own/1 HTTP/1.1\r\nHost: SHOP.test.\r\nAuthorization: Bearer one\r\nIf-None-Match: \"a\", W/\"b\"\r\n\r\n",
    "GET /tagged HTTP/1.1\r\nHost: [::1]:8080\r\nRange: bytes=0-3\r\nIf-Range: \"a\"\r\nCache-Control: no-cache\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: shop.test\r\nMax-Forwards: 3\r\nOrigin: http://a.test\r\n\r\n",
    "DELETE /shown/a%2Fb HTTP/1.1\r\nHost: shop.test\r\nX-Octets: caf\u{e9}\r\nX-Octets: \t two\t\r\n\r\n",
    "POST /shown HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0\r\nVia: 1.1 other\r\nForwarded: for=a\r\n\r\n",
    "GET /language HTTP/1.0\r\nHost: shop.test\r\nAccept-Language: de, en;q=0.5\r\nConnection: keep-alive\r\n\r\n",
];

/// What is put in somewhere.
const PIECES: [&str; 30] = [
    " ",
    "\t",
    "\r\n",
    "\n",
    "\r",
    ":",
    ",",
    ";",
    "/",
    "//",
    "?",
    "#",
    "%",
    "%41",
    "%00",
    "%2f..",
    "..",
    "\"",
    "<",
    "\\",
    "\0",
    "\u{7f}",
    "\u{e9}",
    "{",
    "|",
    "*",
    "@",
    "HTTP/1.1",
    "http://shop.test",
    "a",
];

/// Lines that are put in somewhere.
const LINES: [&str; 22] = [
    "Host: shop.test",
    "Host: other.test",
    "Connection: close",
    "Connection: x-a, keep-alive",
    "X-A: b",
    "Content-Length: 0",
    "Transfer-Encoding: identity",
    "Upgrade: websocket",
    "TE: trailers",
    "Trailer: x",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: close",
    "Proxy-Authorization: secret",
    "Cookie: c=3",
    "Cookie: d=4",
    "Authorization: Bearer two",
    "If-None-Match: \"c\"",
    "X-Forwarded-Host: evil.test",
    "X_Forwarded_Host: evil.test",
    "X-Original-URL: /admin",
    "Accept-Encoding: gzip",
    "X-Empty:",
];

#[derive(Clone, Debug)]
enum Change {
    Octet(Index, u8),
    Piece(Index, &'static str),
    Cut(Index, usize),
    Line(Index, &'static str),
}

/// A head as it is sent.
pub fn heads() -> impl Strategy<Value = Octets> {
    let change = prop_oneof![
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, octet)| Change::Octet(at, octet)),
        2 => (any::<Index>(), select(PIECES.to_vec())).prop_map(|(at, piece)| Change::Piece(at, piece)),
        1 => (any::<Index>(), 1..4_usize).prop_map(|(at, octets)| Change::Cut(at, octets)),
        3 => (any::<Index>(), select(LINES.to_vec())).prop_map(|(at, line)| Change::Line(at, line)),
    ];
    (select(HEADS.to_vec()), vec(change, 0..4)).prop_map(|(head, changes)| {
        let head: Vec<u8> = head.chars().map(|octet| octet as u8).collect();
        Octets(changes.into_iter().fold(head, |head, change| change.made(head)))
    })
}

impl Change {
    fn made(self, mut head: Vec<u8>) -> Vec<u8> {
        // Its end stays, or nothing would come of it.
        let room = head.len() - 4;
        match self {
            Change::Octet(at, octet) => head[at.index(room)] = octet,
            Change::Piece(at, piece) => {
                let at = at.index(room);
                head.splice(at..at, piece.chars().map(|octet| octet as u8));
            }
            Change::Cut(at, octets) => {
                let at = at.index(room);
                head.drain(at..(at + octets).min(room));
            }
            Change::Line(at, line) => {
                let starts: Vec<_> = (2..=room + 2).filter(|at| head[..*at].ends_with(b"\r\n")).collect();
                let at = starts.get(at.index(starts.len().max(1))).copied().unwrap_or(room + 2);
                head.splice(at..at, [line.as_bytes(), b"\r\n"].concat());
            }
        }
        head
    }
}

/// What the lane reads, if it is a whole request and all that was sent; `Err` if it refuses it.
pub fn read(octets: &[u8], pipeline: &Pipeline) -> Option<Result<Received, u16>> {
    let mut buffer = BytesMut::from(octets);
    match take(&mut buffer, Rules::of(&pipeline.policy, &pipeline.name), crate::side::ARRIVAL) {
        Parsed::Partial => None,
        Parsed::Refused(refusal) => Some(Err(refusal.status)),
        Parsed::Complete(received) => {
            let whole = buffer.is_empty() && matches!(received.body, RequestBody::None | RequestBody::Length(0));
            whole.then_some(Ok(received))
        }
    }
}

/// Whether HTTP/2 could carry it: it has no absolute-form, no target that is no URI, no request without an authority
/// (RFC 9113 §8.3.1), and no field that belongs to one connection (§8.2.2). One that says whether this one is to be kept may
/// be there, since Pingora's HTTP/1.1 session reads it.
pub fn carried_by_http2(octets: &[u8], received: &Received) -> bool {
    let target = octets.split(|octet| *octet == b' ').nth(1).unwrap_or_default();
    let names = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
    let of_one_connection: Vec<_> = octets
        .split(|octet| *octet == b'\n')
        .map(<[u8]>::to_ascii_lowercase)
        .filter(|line| names.iter().any(|name| line.split(|octet| *octet == b':').next() == Some(name.as_bytes())))
        .collect();
    let kept_or_not = match of_one_connection.as_slice() {
        [] => true,
        [line] => [&b"connection: close"[..], b"connection: keep-alive"].contains(&line.trim_ascii()),
        _ => false,
    };
    let is_uri = matches!(target, [b'/' | b'*', ..]) && http::uri::PathAndQuery::try_from(target).is_ok();
    is_uri && !received.request.authority.is_empty() && kept_or_not
}
