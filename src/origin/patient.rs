//! A connection on which another protocol may follow, and whose answer waits for the end of the request.
//!
//! Pingora 0.9 takes the end of an upgrade request's body, which is empty, for the end of the upgraded connection where
//! it has read the 101 first (its issue 946): an origin that is quick, or a busy machine, and the client is told 101 and
//! then closed. Both are waited for in one `select!`, where the end of the body stands ready from the start. So the first
//! read after a write gives way once, and the end of the body is always seen first.

use async_trait::async_trait;
use pingora::connectors::l4::Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{Error, ErrorType, OrErr};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Makes such connections.
#[derive(Debug)]
pub struct Patient;

#[async_trait]
impl Connect for Patient {
    async fn connect(&self, address: &SocketAddr) -> pingora::Result<Stream> {
        let address = address.as_inet().ok_or_else(|| Error::new(ErrorType::ConnectError))?;
        let stream = TcpStream::connect(address).await.or_err(ErrorType::ConnectError, "connecting to the origin")?;
        Ok(VirtualSocketStream::new(Box::new(Giving { stream, gives_way: false })).into())
    }
}

/// A connection of which a read after a write gives way once.
#[derive(Debug)]
struct Giving {
    stream: TcpStream,
    gives_way: bool,
}

impl VirtualSocket for Giving {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.stream.set_nodelay(true),
            // No peer asks for anything else.
            _ => Ok(()),
        }
    }
}

impl AsyncRead for Giving {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.gives_way) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, out)
    }
}

impl AsyncWrite for Giving {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.gives_way = true;
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
