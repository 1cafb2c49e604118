//! A connection that speaks HTTP/2, as Pingora gets to read and write it. Its streams are answered by tasks of their own,
//! each of which would have its frames written at once, by a system call and, over TLS, as a record of their own. Here
//! they are gathered: what is to be flushed waits until everybody who is ready to has said something.

use bytes::{Buf, BytesMut};
use pingora::protocols::Stream;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is gathered at most: as much as a handful of short answers, or the half of one TLS record twice.
const MOST: usize = 32 * 1024;

/// A connection whose writes are gathered.
#[derive(Debug)]
pub struct Gathered {
    pub(super) stream: Stream,
    /// Read from the stream and not handed out yet.
    unread: BytesMut,
    /// Written and not sent yet.
    unsent: BytesMut,
    /// Something was written since the last flush.
    news: bool,
    /// The first flush is behind us. It is of SETTINGS, for which a client may wait before it says anything, and with it
    /// everybody (RFC 9113 §3.4).
    greeted: bool,
}

impl Gathered {
    /// `unread` holds what comes before the rest of `stream`.
    pub fn new(stream: Stream, unread: BytesMut) -> Self {
        Gathered { stream, unread, unsent: BytesMut::new(), news: false, greeted: false }
    }

    /// Sends what was gathered.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.unsent.advance(sent),
            }
        }
        // A connection keeps no room for what it does not say.
        self.unsent = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Sees to it that so many octets more can be gathered; `false` if they never can.
    fn poll_room(&mut self, cx: &mut Context<'_>, octets: usize) -> Poll<io::Result<bool>> {
        if self.unsent.len() + octets > MOST {
            ready!(self.poll_send(cx))?;
        }
        if octets <= MOST && self.unsent.capacity() == 0 {
            self.unsent.reserve(MOST);
        }
        Poll::Ready(Ok(octets <= MOST))
    }
}

impl AsyncRead for Gathered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, out);
        }
        let octets = out.remaining().min(self.unread.len());
        out.put_slice(&self.unread.split_to(octets));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gathered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(octets)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = octets.iter().map(|slice| slice.len()).sum();
        if !ready!(self.poll_room(cx, length))? {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, octets);
        }
        for slice in octets {
            self.unsent.extend_from_slice(slice);
        }
        self.news = true;
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Sends once nothing has been written since this was asked last; until then it has itself asked again, behind all
    /// tasks that are ready to run.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.news && self.greeted {
            self.news = false;
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        self.greeted = true;
        self.news = false;
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::{Wake, Waker};
    use tokio::io::{DuplexStream, duplex};

    /// How often a task was to be polled again.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    struct Talk {
        client: DuplexStream,
        server: Gathered,
        woken: Arc<Woken>,
    }

    impl Talk {
        /// A connection on which `first` has been said, and that takes `room` octets until they are read.
        fn begun(first: &[u8], room: usize) -> Talk {
            let (client, server) = duplex(room);
            let mut talk =
                Talk { client, server: Gathered::new(Box::new(server), BytesMut::new()), woken: Arc::default() };
            talk.say(first);
            assert!(talk.flush().is_ready());
            assert_eq!(talk.heard(), first, "what comes first is sent at once");
            talk
        }

        fn with<T>(&mut self, poll: impl FnOnce(Pin<&mut Gathered>, &mut Context<'_>) -> Poll<T>) -> Poll<T> {
            let waker = Waker::from(self.woken.clone());
            poll(Pin::new(&mut self.server), &mut Context::from_waker(&waker))
        }

        /// What is taken of it.
        fn say(&mut self, octets: &[u8]) -> usize {
            match self.with(|server, cx| server.poll_write(cx, octets)) {
                Poll::Ready(taken) => taken.expect("the client is there"),
                Poll::Pending => 0,
            }
        }

        fn flush(&mut self) -> Poll<()> {
            self.with(|server, cx| server.poll_flush(cx)).map(|flushed| flushed.expect("the client is there"))
        }

        /// What has come to the client.
        fn heard(&mut self) -> Vec<u8> {
            let mut space = vec![0; 1 << 17];
            let mut out = ReadBuf::new(&mut space);
            while let before = out.filled().len()
                && Pin::new(&mut self.client).poll_read(&mut Context::from_waker(Waker::noop()), &mut out).is_ready()
                && out.filled().len() > before
            {}
            out.filled().to_vec()
        }

        fn woken(&self) -> usize {
            self.woken.0.load(Relaxed)
        }
    }

    #[test]
    fn what_several_say_is_sent_together() {
        let mut talk = Talk::begun(b"settings", 1024);
        assert_eq!(talk.say(b"one "), 4);
        assert!(talk.flush().is_ready());
        assert_eq!((talk.heard(), talk.woken()), (vec![], 1), "others may have something to say");
        assert_eq!(talk.say(b"two "), 4);
        assert_eq!(talk.say(b"three"), 5);
        assert!(talk.flush().is_ready());
        assert_eq!((talk.heard(), talk.woken()), (vec![], 2));
        assert!(talk.flush().is_ready());
        assert_eq!((&talk.heard()[..], talk.woken()), (&b"one two three"[..], 2));
        assert!(talk.flush().is_ready());
        assert_eq!((talk.heard(), talk.woken()), (vec![], 2), "nobody is woken for nothing");
    }

    #[test]
    fn much_is_not_gathered() {
        let mut talk = Talk::begun(b"settings", 1 << 17);
        let all: Vec<u8> = (0..=u8::MAX).cycle().take(2 * MOST).collect();
        let (short, long) = all.split_at(MOST - 10);
        assert_eq!(talk.say(short), short.len());
        assert_eq!(talk.heard(), b"");
        assert_eq!(talk.say(long), long.len(), "and what is longer than is ever gathered goes straight on");
        assert_eq!(talk.heard(), all);
        assert_eq!(talk.say(&all[..MOST]), MOST);
        assert_eq!(talk.heard(), b"");
        assert_eq!(talk.say(b"x"), 1);
        assert_eq!(talk.heard(), &all[..MOST], "in order");
    }

    #[test]
    fn whoever_does_not_read_is_not_written_for() {
        let mut talk = Talk::begun(b"settings", 1000);
        assert_eq!(talk.say(&[b'x'; MOST]), MOST);
        assert_eq!(talk.say(b"y"), 0, "there is no room until it is read");
        assert!(talk.flush().is_ready(), "and it asks to be asked again");
        assert!(talk.flush().is_pending());
        while talk.flush().is_pending() {
            assert!(talk.heard().iter().all(|octet| *octet == b'x'));
        }
        assert_eq!(talk.say(b"y"), 1);
    }

    #[test]
    fn the_end_takes_along_what_was_said() {
        let mut talk = Talk::begun(b"settings", 1024);
        talk.say(b"goodbye");
        assert!(talk.with(|server, cx| server.poll_shutdown(cx)).is_ready());
        assert_eq!(talk.heard(), b"goodbye");
    }

    #[test]
    fn what_was_read_before_comes_first() {
        let (mut client, server) = duplex(1024);
        let mut server = Gathered::new(Box::new(server), BytesMut::from(&b"PRI * "[..]));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut client).poll_write(&mut cx, b"HTTP/2.0").is_ready());
        let mut heard = Vec::new();
        loop {
            let mut space = [0; 4];
            let mut out = ReadBuf::new(&mut space);
            if Pin::new(&mut server).poll_read(&mut cx, &mut out).is_pending() {
                break;
            }
            heard.extend_from_slice(out.filled());
        }
        assert_eq!(heard, b"PRI * HTTP/2.0");
    }

    #[test]
    fn a_client_that_has_gone_is_noticed() {
        let Talk { client, mut server, .. } = Talk::begun(b"settings", 1024);
        drop(client);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut server).poll_write(&mut cx, b"x").is_ready());
        assert!(Pin::new(&mut server).poll_flush(&mut cx).is_ready());
        assert!(matches!(Pin::new(&mut server).poll_flush(&mut cx), Poll::Ready(Err(_))));
    }
}
