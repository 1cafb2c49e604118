//! Chunked bodies, whose framing Pingora reads again behind the lane: both find one content and one end, and what the lane
//! takes for broken reaches nobody as whole.

use super::lane::{handed_back, same_body};
use bytes::{Bytes, BytesMut};
use freshgate::edge::handover::{Extent, OneRequest};
use freshgate::edge::head::{Received, RequestBody};
use freshgate::field::Fields;
use freshgate::message::chunked::{Chunked, Malformed, Piece};
use freshgate::message::{LAST_CHUNK, put_chunk};
use freshgate::semantics::request::{Request, Scheme, Version};
use pingora::protocols::http::ServerSession;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;
use tokio::io::duplex;
use tokio::runtime::{Builder, Runtime};

const HEAD: &[u8] = b"PUT / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n";

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));

/// `octets`: a chunked body and what follows.
pub fn run(octets: &[u8]) {
    let at_once = read(octets, usize::MAX);
    for step in [1, 3] {
        assert_eq!(read(octets, step), at_once, "in steps of {step}");
    }
    if let Ok((content, Some(end))) = &at_once {
        printed(content);
        assert!(*end <= octets.len());
        // Nothing before the end is one.
        assert!(!matches!(read(&octets[..end - 1], 7), Ok((_, Some(_)))));
    }
    RUNTIME.block_on(beside_pingora(octets, matches!(at_once, Ok((_, Some(_))))));
}

/// The content as far as it came, and where the body ends.
fn read(octets: &[u8], step: usize) -> Result<(Vec<u8>, Option<usize>), Malformed> {
    let (mut chunks, mut content, mut at) = (Chunked::default(), Vec::new(), 0);
    while at < octets.len() {
        let here = &octets[at..octets.len().min(at.saturating_add(step))];
        at += match chunks.next(here)? {
            Piece::Framing(length) => length,
            Piece::Data(length) => {
                content.extend_from_slice(&here[..length]);
                length
            }
            Piece::End(length) => return Ok((content, Some(at + length))),
        };
    }
    Ok((content, None))
}

/// What is written in chunks is read back.
fn printed(content: &[u8]) {
    let mut out = BytesMut::new();
    content.chunks(5).for_each(|piece| put_chunk(&mut out, piece));
    out.extend_from_slice(LAST_CHUNK);
    assert_eq!(read(&out, usize::MAX), Ok((content.to_vec(), Some(out.len()))));
}

async fn beside_pingora(octets: &[u8], whole: bool) {
    let (client, server) = duplex(1);
    drop(client);
    let buffer = BytesMut::from(&[HEAD, octets].concat()[..]);
    let extent = Extent::Chunked { head: HEAD.len(), body: Chunked::default() };
    let mut session = ServerSession::new_http1(Box::new(OneRequest::new(Box::new(server), buffer, extent)));
    assert!(session.read_request().await.expect("the head is good"));
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (method, scheme, authority, path) = ("PUT".into(), Scheme::Http, "shop.test".into(), "/".into());
    let (fields, version) = (Fields::new(), Version::Http11);
    let request = Request { method, scheme, authority, path, query: None, fields, version, client, has_body: true };
    let request = request.into();
    let (persists, expects_continue, upgrades) = (true, false, false);
    let received = Received { request, body: RequestBody::Chunked, persists, expects_continue, upgrades };
    assert_eq!(same_body(&mut session, &received, octets).await, whole);
    match handed_back(session).into_rest() {
        Some((_, left)) => {
            assert!(whole, "a body that does not end is over");
            let end = read(octets, usize::MAX).expect("it is whole").1.expect("it ends");
            assert_eq!(left, Bytes::copy_from_slice(&octets[end..]));
        }
        None => assert!(!whole, "a connection is lost"),
    }
}
