//! The one writer of everything the pipeline answers over HTTP/1.1: status line, fields and body in as few writes as
//! there can be.

use crate::message;
use crate::origin::{Framing, Head, OriginError};
use crate::pipeline::Content;
use crate::semantics::request::Version;
use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use pingora::protocols::Stream;
use std::io::{self, IoSlice};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// How long a client may take none of what it is sent.
pub const STALL: Duration = Duration::from_secs(60);

/// How long a connection that is being closed is still read: to close on unread octets resets it, and the client might
/// lose what it was just told (RFC 9112 §9.6).
pub const LINGER: Duration = Duration::from_secs(2);

/// Bodies up to this size are copied behind their head, so that both leave in one write.
const ONE_WRITE: usize = 16 * 1024;

/// How much of what a client pipelines is read while it is being answered.
const READ_AHEAD: usize = 64 * 1024;

/// A body as the origin sends it.
type Streamed = BoxStream<'static, Result<Bytes, OriginError>>;

/// Whom an answer goes to.
#[derive(Clone, Copy, Debug)]
pub struct Recipient {
    pub version: Version,
    /// HEAD: it takes no body, whatever the head says.
    pub head_only: bool,
    /// Whether the connection is to stay open.
    pub persists: bool,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Octets of body, framing not counted.
    pub body: u64,
    /// Whether another request can follow: everything went out and the end was told by more than closing.
    pub persists: bool,
}

/// How the end of the body is told to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delimited {
    NoBody,
    Length(u64),
    Chunked,
    Close,
}

impl Recipient {
    /// RFC 9112 §6.3. HTTP/1.0 knows no chunks.
    fn delimited(self, status: u16, content: &Content) -> Delimited {
        match content {
            _ if self.head_only || matches!(status, 204 | 304) => Delimited::NoBody,
            Content::Empty | Content::Stream { framing: Framing::Empty, .. } => Delimited::Length(0),
            Content::Whole(body) => Delimited::Length(body.len() as u64),
            Content::Stream { framing: Framing::Length(length), .. } => Delimited::Length(*length),
            Content::Stream { .. } if self.version == Version::Http10 => Delimited::Close,
            Content::Stream { .. } => Delimited::Chunked,
        }
    }
}

/// Appends a head as it goes to the client: connection fields and framing are this proxy's own.
fn put_head(out: &mut BytesMut, head: &Head, to: Recipient, delimited: Delimited) {
    put_status_line(out, head);
    for (name, value) in head.fields.iter() {
        let own = ["connection", "keep-alive", "transfer-encoding"];
        // Without a body the length is that of the 200; 204 has none to name (RFC 9110 §8.6).
        let described = delimited == Delimited::NoBody && head.status != 204;
        let framing = !described && name.eq_ignore_ascii_case(b"content-length");
        if !framing && !own.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes())) {
            message::put_line(out, name, value);
        }
    }
    match delimited {
        Delimited::Length(length) => message::put_line(out, b"Content-Length", length.to_string().as_bytes()),
        Delimited::Chunked => message::put_line(out, b"Transfer-Encoding", b"chunked"),
        Delimited::NoBody | Delimited::Close => {}
    }
    match (to.version, to.persists && delimited != Delimited::Close) {
        (Version::Http10, true) => message::put_line(out, b"Connection", b"keep-alive"),
        (_, false) => message::put_line(out, b"Connection", b"close"),
        (_, true) => {}
    }
    out.extend_from_slice(b"\r\n");
}

fn put_status_line(out: &mut BytesMut, head: &Head) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(head.status.to_string().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(&head.reason);
    out.extend_from_slice(b"\r\n");
}

/// Sends a 1xx response (RFC 9110 §15.2).
///
/// # Errors
/// The client has gone, or takes nothing.
pub async fn interim(stream: &mut Stream, head: &Head) -> io::Result<()> {
    let mut out = BytesMut::new();
    put_status_line(&mut out, head);
    for (name, value) in head.fields.iter() {
        message::put_line(&mut out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    put_all(stream, &out).await?;
    flush(stream).await
}

/// Sends an answer. A body that breaks off is made to look broken: the connection is to be closed before its end. What
/// the client sends meanwhile goes to `ahead`.
pub async fn answer(
    stream: &mut Stream,
    ahead: &mut BytesMut,
    head: &Head,
    content: Content,
    to: Recipient,
) -> Written {
    let mut body = 0;
    match send(stream, ahead, head, content, to, &mut body).await {
        Ok(persists) => Written { body, persists },
        Err(_) => Written { body, persists: false },
    }
}

async fn send(
    stream: &mut Stream,
    ahead: &mut BytesMut,
    head: &Head,
    content: Content,
    to: Recipient,
    sent: &mut u64,
) -> io::Result<bool> {
    let delimited = to.delimited(head.status, &content);
    let together = match &content {
        Content::Whole(body) if body.len() <= ONE_WRITE => body.len(),
        _ => 0,
    };
    let mut out = BytesMut::with_capacity(1024 + together);
    put_head(&mut out, head, to, delimited);
    match content {
        _ if delimited == Delimited::NoBody => put_all(stream, &out).await?,
        Content::Empty => put_all(stream, &out).await?,
        Content::Whole(body) if body.len() <= ONE_WRITE => {
            out.extend_from_slice(&body);
            put_all(stream, &out).await?;
            *sent = body.len() as u64;
        }
        Content::Whole(body) => {
            put_both(stream, &out, &body).await?;
            *sent = body.len() as u64;
        }
        Content::Stream { mut body, .. } => {
            loop {
                let octets = match body.next().now_or_never() {
                    Some(octets) => octets.transpose().map_err(io::Error::other)?,
                    None => {
                        // What there is does not wait: the first event may be far away, and the head says that all is well.
                        put_all(stream, &out).await?;
                        out.clear();
                        flush(stream).await?;
                        next(&mut body, stream, ahead).await?
                    }
                };
                let Some(octets) = octets else { break };
                put_body(stream, &mut out, &octets, delimited, sent).await?;
            }
            match delimited {
                Delimited::Length(length) if length != *sent => return Err(io::ErrorKind::UnexpectedEof.into()),
                Delimited::Chunked => out.extend_from_slice(message::LAST_CHUNK),
                _ => {}
            }
            put_all(stream, &out).await?;
        }
    }
    flush(stream).await?;
    Ok(to.persists && delimited != Delimited::Close)
}

/// The next octets of a streamed body. The origin may be silent for long (server-sent events), so the wait ends also when
/// the client closes its side: without an ear for that, the origin's connection would be held for nobody.
async fn next(body: &mut Streamed, stream: &mut Stream, ahead: &mut BytesMut) -> io::Result<Option<Bytes>> {
    loop {
        ahead.reserve(1024);
        tokio::select! {
            biased;
            octets = body.next() => return octets.transpose().map_err(io::Error::other),
            heard = stream.read_buf(ahead), if ahead.len() < READ_AHEAD => if heard? == 0 {
                return Err(io::ErrorKind::ConnectionAborted.into());
            },
        }
    }
}

/// Sends a part of a streamed body at once, and `out`, which waits to go before it.
async fn put_body(
    stream: &mut Stream,
    out: &mut BytesMut,
    octets: &Bytes,
    delimited: Delimited,
    sent: &mut u64,
) -> io::Result<()> {
    if let Delimited::Length(length) = delimited
        && *sent + octets.len() as u64 > length
    {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a body longer than its Content-Length"));
    }
    match delimited {
        Delimited::Chunked => message::put_chunk(out, octets),
        _ => out.extend_from_slice(octets),
    }
    put_all(stream, out).await?;
    out.clear();
    *sent += octets.len() as u64;
    flush(stream).await
}

/// The one right behind the other, in one write where the connection takes both.
async fn put_both(stream: &mut Stream, head: &[u8], body: &[u8]) -> io::Result<()> {
    let both = [IoSlice::new(head), IoSlice::new(body)];
    let written = match stream.write_vectored(&both).now_or_never() {
        Some(written) => written?,
        None => timeout(STALL, stream.write_vectored(&both)).await??,
    };
    if written == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    put_all(stream, &head[written.min(head.len())..]).await?;
    put_all(stream, &body[written.saturating_sub(head.len())..]).await
}

async fn put_all(stream: &mut Stream, mut octets: &[u8]) -> io::Result<()> {
    while !octets.is_empty() {
        // Most of the time it takes all at once, and no timer is needed.
        let written = match stream.write(octets).now_or_never() {
            Some(written) => written,
            None => timeout(STALL, stream.write(octets)).await?,
        };
        match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => octets = &octets[taken..],
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn flush(stream: &mut Stream) -> io::Result<()> {
    match stream.flush().now_or_never() {
        Some(flushed) => flushed,
        None => timeout(STALL, stream.flush()).await?,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::OriginErrorKind;
    use futures_util::stream;
    use tokio::io::duplex;

    const HTTP11: Recipient = Recipient { version: Version::Http11, head_only: false, persists: true };
    const HTTP10: Recipient = Recipient { version: Version::Http10, head_only: false, persists: false };

    fn streamed(framing: Framing, parts: &[Result<&'static str, ()>]) -> Content {
        let broken = || OriginError { kind: OriginErrorKind::Protocol, cause: "broken off".into() };
        let parts: Vec<_> = parts.iter().map(|part| part.map(Bytes::from).map_err(|()| broken())).collect();
        Content::Stream { framing, body: stream::iter(parts).boxed() }
    }

    #[track_caller]
    fn check(
        status: u16,
        lines: &[(&'static str, &'static str)],
        content: Content,
        to: Recipient,
        wire: &str,
        written: (u64, bool),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (out, outcome) = runtime.block_on(async {
            let (mut client, server) = duplex(64 * 1024);
            let head = Head { status, reason: Bytes::from_static(b"Fine"), fields: lines.iter().copied().collect() };
            let mut stream: Stream = Box::new(server);
            let outcome = answer(&mut stream, &mut BytesMut::new(), &head, content, to).await;
            drop(stream);
            let mut out = String::new();
            client.read_to_string(&mut out).await.expect("text");
            (out, outcome)
        });
        assert_eq!(out, wire);
        assert_eq!((outcome.body, outcome.persists), written);
    }

    #[test]
    fn whole() {
        let body = || Content::Whole(Bytes::from_static(b"hello"));
        let lines = [("X-a", "b"), ("content-length", "99"), ("Connection", "x"), ("Transfer-Encoding", "chunked")];
        let head = "HTTP/1.1 200 Fine\r\nX-a: b\r\nContent-Length: 5\r\n";
        check(200, &lines, body(), HTTP11, &format!("{head}\r\nhello"), (5, true));
        let closing = Recipient { persists: false, ..HTTP11 };
        check(200, &lines, body(), closing, &format!("{head}Connection: close\r\n\r\nhello"), (5, false));
        let kept = Recipient { persists: true, ..HTTP10 };
        check(200, &lines, body(), kept, &format!("{head}Connection: keep-alive\r\n\r\nhello"), (5, true));
    }

    #[test]
    fn without_a_body() {
        let length = [("Content-Length", "5")];
        let described = "Content-Length: 5\r\n\r\n";
        check(304, &length, Content::Empty, HTTP11, &format!("HTTP/1.1 304 Fine\r\n{described}"), (0, true));
        check(204, &[], Content::Empty, HTTP11, "HTTP/1.1 204 Fine\r\n\r\n", (0, true));
        let zero = [("Content-Length", "0")];
        check(204, &zero, Content::Empty, HTTP11, "HTTP/1.1 204 Fine\r\n\r\n", (0, true));
        check(201, &[], Content::Empty, HTTP11, "HTTP/1.1 201 Fine\r\nContent-Length: 0\r\n\r\n", (0, true));
        let head = Recipient { head_only: true, ..HTTP11 };
        check(200, &length, Content::Empty, head, &format!("HTTP/1.1 200 Fine\r\n{described}"), (0, true));
        let refused = Content::Whole(Bytes::from_static(b"no\n"));
        check(400, &[], refused, head, "HTTP/1.1 400 Fine\r\n\r\n", (0, true));
    }

    #[test]
    fn streamed_to_its_end() {
        let parts = [Ok("he"), Ok(""), Ok("llo")];
        let (whole, chunks) = ("hello", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n");
        let length = "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\n";
        let chunked = "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n";
        let close = "HTTP/1.1 200 Fine\r\nConnection: close\r\n\r\n";
        check(200, &[], streamed(Framing::Length(5), &parts), HTTP11, &format!("{length}{whole}"), (5, true));
        check(200, &[], streamed(Framing::Chunked, &parts), HTTP11, &format!("{chunked}{chunks}"), (5, true));
        check(200, &[], streamed(Framing::CloseDelimited, &parts), HTTP11, &format!("{chunked}{chunks}"), (5, true));
        check(200, &[], streamed(Framing::Chunked, &parts), HTTP10, &format!("{close}{whole}"), (5, false));
    }

    #[test]
    fn a_body_that_breaks_off_looks_broken() {
        let parts = [Ok("he"), Err(())];
        let chunked = "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n";
        check(200, &[], streamed(Framing::Chunked, &parts), HTTP11, chunked, (2, false));
        let length = "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\nhe";
        check(200, &[], streamed(Framing::Length(5), &parts), HTTP11, length, (2, false));
        check(200, &[], streamed(Framing::Length(5), &[Ok("he")]), HTTP11, length, (2, false));
        check(200, &[], streamed(Framing::Length(5), &[Ok("he"), Ok("llo!")]), HTTP11, length, (2, false));
    }
}
