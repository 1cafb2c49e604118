//! One request, as Pingora gets to read it: a stream that begins with what the lane has read already and that holds back
//! whatever lies behind the request. So Pingora can neither swallow the next request of the connection nor stumble over
//! it, and the lane gets the connection back as it left it.

use crate::edge::gathered::Gathered;
use crate::message::chunked::{Chunked, Piece};
use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// How much is read ahead of the request's end, only to notice that a client has gone.
const READ_AHEAD: usize = 16 * 1024;

/// How far the request reaches.
#[derive(Clone, Debug)]
pub enum Extent {
    /// So many octets.
    Octets(u64),
    /// `head` octets, then a chunked body.
    Chunked { head: usize, body: Chunked },
    /// As far as the connection does: another protocol follows.
    Connection,
}

/// A connection of which one request may be read.
#[derive(Debug)]
pub struct OneRequest {
    stream: Stream,
    /// Read from the stream and not handed out yet.
    buffer: BytesMut,
    extent: Extent,
}

impl OneRequest {
    /// `buffer` holds what comes before the rest of `stream`; the request reaches as far as `extent`.
    pub fn new(stream: Stream, buffer: BytesMut, extent: Extent) -> Self {
        OneRequest { stream, buffer, extent }
    }

    /// The connection and what was read ahead on it, if the request was read to its end. Where another protocol was
    /// asked for and refused, only the reader knows the end: it must not have read past it.
    pub fn into_rest(self) -> Option<(Stream, BytesMut)> {
        matches!(self.extent, Extent::Octets(0) | Extent::Connection).then_some((self.stream, self.buffer))
    }

    /// Moves up to `out.remaining()` octets of the request from the buffer to `out`.
    fn hand_out(&mut self, out: &mut ReadBuf<'_>) -> io::Result<()> {
        let room = out.remaining().min(self.buffer.len());
        let octets = match &mut self.extent {
            Extent::Connection => room,
            Extent::Octets(left) => {
                let octets = room.min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= octets as u64;
                octets
            }
            Extent::Chunked { head: 0, body } => match body.next(&self.buffer[..room]) {
                Ok(Piece::Framing(octets) | Piece::Data(octets)) => octets,
                Ok(Piece::End(octets)) => {
                    self.extent = Extent::Octets(0);
                    octets
                }
                Err(malformed) => return Err(io::Error::new(io::ErrorKind::InvalidData, malformed.0)),
            },
            Extent::Chunked { head, .. } => {
                let octets = room.min(*head);
                *head -= octets;
                octets
            }
        };
        out.put_slice(&self.buffer[..octets]);
        self.buffer.advance(octets);
        Ok(())
    }

    /// Reads from the connection into the buffer; 0 octets where the client has closed its side.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.reserve(READ_AHEAD);
        pin!(self.stream.read_buf(&mut self.buffer)).poll(cx)
    }
}

impl AsyncRead for OneRequest {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if matches!(this.extent, Extent::Octets(0)) {
            // Behind the end only silence is heard, or that the client has gone; what it sends stays in the buffer.
            while this.buffer.is_empty() {
                if ready!(this.poll_fill(cx))? == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
            return Poll::Pending;
        }
        if this.buffer.is_empty() && ready!(this.poll_fill(cx))? == 0 {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(this.hand_out(out))
    }
}

impl AsyncWrite for OneRequest {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, octets)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What Pingora asks a connection besides, asked of the stream within.
macro_rules! asks_its_stream {
    ($wrapper:ty) => {
        #[async_trait]
        impl Shutdown for $wrapper {
            async fn shutdown(&mut self) {
                self.stream.shutdown().await;
            }
        }

        impl UniqueID for $wrapper {
            fn id(&self) -> UniqueIDType {
                self.stream.id()
            }
        }

        impl GetTimingDigest for $wrapper {
            fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
                self.stream.get_timing_digest()
            }

            fn get_read_pending_time(&self) -> Duration {
                self.stream.get_read_pending_time()
            }

            fn get_write_pending_time(&self) -> Duration {
                self.stream.get_write_pending_time()
            }
        }

        impl GetProxyDigest for $wrapper {
            fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
                self.stream.get_proxy_digest()
            }
        }

        impl GetSocketDigest for $wrapper {
            fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
                self.stream.get_socket_digest()
            }
        }

        impl Peek for $wrapper {}
    };
}

asks_its_stream!(OneRequest);
asks_its_stream!(Gathered);

impl Ssl for OneRequest {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl Ssl for Gathered {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    /// Prior knowledge of HTTP/2 (RFC 9113 §3.3) is told to Pingora as if it had been negotiated: its own way of
    /// looking for the preface waits for it without a timeout.
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(ALPN::H2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    fn one(buffer: &[u8], extent: Extent) -> (DuplexStream, OneRequest) {
        let (client, server) = duplex(1024);
        (client, OneRequest::new(Box::new(server), BytesMut::from(buffer), extent))
    }

    /// What a reader gets until it would have to wait.
    fn readable(one: &mut OneRequest) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        loop {
            let mut space = [0; 7];
            let mut out = ReadBuf::new(&mut space);
            match Pin::new(&mut *one).poll_read(&mut cx, &mut out) {
                Poll::Pending => return Ok(all),
                Poll::Ready(outcome) => outcome?,
            }
            if out.filled().is_empty() {
                all.extend_from_slice(b"<end>");
                return Ok(all);
            }
            all.extend_from_slice(out.filled());
        }
    }

    #[tokio::test]
    async fn the_next_request_stays() {
        let (mut client, mut one) = one(b"head\r\n\r\nbo", Extent::Octets(12));
        assert_eq!(readable(&mut one).expect("octets"), b"head\r\n\r\nbo");
        client.write_all(b"dyGET /next").await.expect("room");
        assert_eq!(readable(&mut one).expect("octets"), b"dy");
        drop(client);
        assert_eq!(readable(&mut one).expect("octets"), b"", "what was pipelined is no end");
        assert_eq!(&one.into_rest().expect("it was read whole").1[..], b"GET /next");
    }

    #[tokio::test]
    async fn a_chunked_body_ends_where_it_says() {
        let body = Chunked::default();
        let (mut client, mut one) = one(b"head3\r\nab", Extent::Chunked { head: 4, body });
        client.write_all(b"c\r\n0\r\n\r\nGET").await.expect("room");
        assert_eq!(readable(&mut one).expect("octets"), b"head3\r\nabc\r\n0\r\n\r\n");
        assert_eq!(&one.into_rest().expect("it was read whole").1[..], b"GET");
    }

    #[tokio::test]
    async fn a_malformed_body_is_an_error() {
        let (_client, mut one) = one(b"head3\nabc", Extent::Chunked { head: 4, body: Chunked::default() });
        assert_eq!(readable(&mut one).expect_err("a bare LF").kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_noticed() {
        let (client, mut one) = one(b"head", Extent::Octets(4));
        assert_eq!(readable(&mut one).expect("octets"), b"head");
        drop(client);
        assert_eq!(readable(&mut one).expect("an end"), b"<end>");
    }

    #[tokio::test]
    async fn half_a_request_gives_no_connection_back() {
        let (_client, mut one) = one(b"head", Extent::Octets(5));
        assert_eq!(readable(&mut one).expect("octets"), b"head");
        assert!(one.into_rest().is_none());
    }

    #[tokio::test]
    async fn another_protocol_takes_all() {
        let (mut client, mut one) = one(b"head", Extent::Connection);
        client.write_all(b"\x81\x00").await.expect("room");
        assert_eq!(readable(&mut one).expect("octets"), b"head\x81\x00");
    }
}
