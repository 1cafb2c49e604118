//! The lane beside Pingora, to which it hands requests: whatever head the lane accepts, Pingora reads as the same method,
//! target, fields and framing, as it came and as it is handed over, and stops where the lane says that the request ends; and
//! what judges HTTP/2 makes the same request of it, so that it is answered alike (`tests/two_fronts`).

use super::{ARRIVAL, OWN, policy, taken};
use bytes::BytesMut;
use freshgate::edge::handover::{Extent, OneRequest};
use freshgate::edge::head::{Received, RequestBody, Rules};
use freshgate::edge::http2;
use freshgate::edge::lane::head_octets;
use freshgate::edge::proxy::carried;
use freshgate::field::{Fields, list};
use freshgate::message::chunked::{Chunked, Piece};
use freshgate::policy::Policy;
use freshgate::semantics::request::{Request, Version};
use pingora::protocols::http::ServerSession;
use std::sync::LazyLock;
use tokio::io::{AsyncWriteExt, duplex};
use tokio::runtime::{Builder, Runtime};

static POLICY: LazyLock<Policy> = LazyLock::new(|| policy("[origin]\nurl = \"http://127.0.0.1:3000\"\n"));

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));

/// `octets`: what a client sends, body and next requests included.
pub fn run(octets: &[u8]) {
    let Some(Ok((received, rest))) = taken(octets, &POLICY) else { return };
    RUNTIME.block_on(async {
        as_it_came(octets, &received, &rest).await;
        as_handed_over(&received, &rest).await;
    });
}

/// What ends a body, and what it holds, as the lane reads it: `None` where it is broken, or has not come whole.
pub(super) fn body(framing: RequestBody, octets: &[u8]) -> Option<(Vec<u8>, usize)> {
    match framing {
        RequestBody::None => Some((Vec::new(), 0)),
        RequestBody::Length(length) => {
            let length = usize::try_from(length).ok().filter(|length| *length <= octets.len())?;
            Some((octets[..length].to_vec(), length))
        }
        RequestBody::Chunked => {
            let (mut chunks, mut content, mut at) = (Chunked::default(), Vec::new(), 0);
            while at < octets.len() {
                at += match chunks.next(&octets[at..]).ok()? {
                    Piece::Framing(length) => length,
                    Piece::Data(length) => {
                        content.extend_from_slice(&octets[at..at + length]);
                        length
                    }
                    Piece::End(length) => return Some((content, at + length)),
                };
            }
            None
        }
    }
}

/// Pingora, to which everything is sent that the client sent. Only what it is never sent like that may it refuse: a target
/// that is not in origin-form, and octets that [`carried`] escapes.
async fn as_it_came(octets: &[u8], received: &Received, rest: &[u8]) {
    let (mut client, server) = duplex(octets.len().max(1));
    client.write_all(octets).await.expect("there is room");
    drop(client);
    let mut session = ServerSession::new_http1(Box::new(server));
    let target = octets.trim_ascii_start().split(|octet| *octet == b' ').nth(1).expect("a request line");
    let origin_form = target.starts_with(b"/") && carried(received.request.target()).as_bytes() == target;
    match session.read_request().await {
        Ok(read) => assert!(read, "Pingora read nothing"),
        Err(error) => return assert!(!origin_form, "Pingora refuses what is accepted here: {error}"),
    }
    same_line(&session, received);
    assert_eq!(session.req_header().raw_path(), target, "the target");
    same_fields(&session, &received.request.fields, true);
    if origin_form && !received.request.authority.is_empty() {
        same_request(&session, &received.request);
    }
    if !received.upgrades {
        same_body(&mut session, received, rest).await;
    }
}

/// What Pingora read is judged as the same request.
fn same_request(session: &ServerSession, ours: &Request) {
    let (rules, body) = (Rules::of(&POLICY, OWN), ours.has_body);
    let theirs = http2::request(session.req_header(), body, rules, ARRIVAL).expect("what is accepted here is accepted");
    let facts = |request: &Request| (request.method.clone(), request.authority.clone(), request.target());
    assert_eq!((facts(&theirs), theirs.has_body), (facts(ours), ours.has_body));
    // Cookies are one line there (RFC 9113 §8.2.3), and Connection does not exist (§8.2.2).
    let of_http2 = |name: &[u8]| !["connection", "cookie"].iter().any(|n| name.eq_ignore_ascii_case(n.as_bytes()));
    for (name, _) in ours.fields.iter().filter(|(name, _)| of_http2(name)) {
        let name = std::str::from_utf8(name).expect("names are ASCII");
        assert!(theirs.fields.get_all(name).eq(ours.fields.get_all(name)), "{name}");
    }
    let cookies: Vec<_> = ours.fields.get_all("cookie").collect();
    assert_eq!(theirs.fields.get("cookie").unwrap_or_default(), cookies.join(&b"; "[..]));
}

/// Pingora, as the lane hands it one request of the connection.
async fn as_handed_over(received: &Received, rest: &[u8]) {
    let target = carried(received.request.target());
    let mut buffer = head_octets(&received.request, &target, false);
    let head = buffer.len();
    let extent = match received.body {
        _ if received.upgrades => Extent::Connection,
        RequestBody::None => Extent::Octets(head as u64),
        RequestBody::Length(length) => Extent::Octets(length.saturating_add(head as u64)),
        RequestBody::Chunked => Extent::Chunked { head, body: Chunked::default() },
    };
    buffer.unsplit(BytesMut::from(rest));
    let (client, server) = duplex(1);
    drop(client);
    let mut session = ServerSession::new_http1(Box::new(OneRequest::new(Box::new(server), buffer, extent)));
    let read = session.read_request().await;
    assert!(read.expect("Pingora refuses what is accepted here"), "Pingora read nothing");
    same_line(&session, received);
    assert_eq!(session.req_header().raw_path(), target.as_bytes(), "the target");
    same_fields(&session, &received.request.fields, false);
    if received.upgrades {
        return;
    }
    let end = body(received.body, rest).map(|(_, end)| end);
    if same_body(&mut session, received, rest).await {
        let end = end.expect("a body that was read whole ends");
        let (_, left) = handed_back(session).into_rest().expect("the request was read whole");
        assert_eq!(&left[..], &rest[end..], "what follows is another request's");
    }
}

fn same_line(session: &ServerSession, received: &Received) {
    let (ours, theirs) = (&received.request, session.req_header());
    assert_eq!(theirs.method.as_str(), ours.method, "the method");
    let version = if ours.version == Version::Http10 { "HTTP/1.0" } else { "HTTP/1.1" };
    assert_eq!(format!("{:?}", theirs.version), version);
}

/// `more`: Pingora may see lines that are taken out here, since Connection names them, and misses those added here.
fn same_fields(session: &ServerSession, ours: &Fields, more: bool) {
    let theirs = &session.req_header().headers;
    for (name, _) in ours.iter() {
        let name = std::str::from_utf8(name).expect("names are ASCII");
        let values: Vec<&[u8]> = theirs.get_all(name).iter().map(|value| value.as_bytes()).collect();
        if more && values.is_empty() && name == "Host" {
            continue;
        }
        if more && name.eq_ignore_ascii_case("connection") && values.len() > 1 {
            // One list, of which what is no token is left out, on one line when it is handed over.
            let theirs: Vec<_> = list(values.into_iter()).filter(|option| !option.contains(&b'"')).collect();
            assert!(list(ours.get_all(name)).eq(theirs), "{name}");
            continue;
        }
        assert_eq!(values, ours.get_all(name).collect::<Vec<_>>(), "{name}");
    }
    if !more {
        assert_eq!(theirs.len(), ours.len(), "lines");
    }
}

/// The connection, as the lane gets it back.
pub(super) fn handed_back(session: ServerSession) -> Box<OneRequest> {
    let ServerSession::H1(session) = session else { panic!("another protocol") };
    session.into_inner().into_any().downcast().expect("it is what was handed over")
}

/// Whether the body came whole; and that Pingora reads it as the lane does.
pub(super) async fn same_body(session: &mut ServerSession, received: &Received, rest: &[u8]) -> bool {
    let mut theirs = Vec::new();
    let ended = loop {
        match session.read_request_body().await {
            Ok(Some(piece)) => theirs.extend_from_slice(&piece),
            Ok(None) => break session.is_body_done(),
            Err(_) => break false,
        }
    };
    match body(received.body, rest) {
        Some((ours, _)) => {
            assert!(ended, "Pingora finds no end of a body that ends");
            assert_eq!(theirs, ours, "the content");
            true
        }
        None => false,
    }
}
