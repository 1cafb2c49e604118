//! A connection that speaks HTTP/2, as Pingora gets to read and write it. Its streams are answered by tasks of their own,
//! each of which would have its frames written at once, by a system call and, over TLS, as a record of their own. Here
//! they are gathered: what is to be flushed waits until everybody who is ready to has said something.
//!
//! Whoever drives the connection reads until there is nothing more to read, writes, and flushes: one turn. A flush of
//! something new is put off to the next turn, which comes behind all tasks that are ready to run.

use bytes::{Buf, BytesMut};
use pingora::protocols::Stream;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is gathered at most: as much as two full TLS records.
const MOST: usize = 32 * 1024;

/// What is longer is worth a system call of its own, and no copy.
const LONG: usize = 8 * 1024;

/// For so many turns sending is put off at most, whatever is still being said.
const MOST_TURNS: u8 = 4;

/// A connection whose writes are gathered.
#[derive(Debug)]
pub struct Gathered {
    pub(super) stream: Stream,
    /// Read from the stream and not handed out yet.
    unread: BytesMut,
    /// Written and not sent yet.
    unsent: BytesMut,
    /// The turns that have begun since.
    turns: u8,
    /// What has happened to that in this turn.
    turn: Turn,
    /// The first flush is behind us. It is of SETTINGS, for which a client may wait before it says anything, and with it
    /// everybody (RFC 9113 §3.4).
    greeted: bool,
}

/// What has happened since there was nothing more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Quiet,
    /// Something was written.
    Said,
    /// And it was to be flushed: the next turn will come.
    PutOff,
}

impl Gathered {
    /// `unread` holds what comes before the rest of `stream`.
    pub fn new(stream: Stream, unread: BytesMut) -> Self {
        Gathered { stream, unread, unsent: BytesMut::new(), turns: 0, turn: Turn::Quiet, greeted: false }
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
        self.turns = 0;
        Poll::Ready(Ok(()))
    }

    /// Sees to it that so many octets more can be gathered; `false` where they had better not.
    fn poll_room(&mut self, cx: &mut Context<'_>, octets: usize) -> Poll<io::Result<bool>> {
        let short = octets <= LONG;
        if !short || self.unsent.len() + octets > MOST {
            ready!(self.poll_send(cx))?;
        }
        if short && self.unsent.capacity() == 0 {
            self.unsent.reserve(MOST);
        }
        Poll::Ready(Ok(short))
    }
}

impl AsyncRead for Gathered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            let before = out.filled().len();
            let read = Pin::new(&mut self.stream).poll_read(cx, out);
            if out.filled().len() == before && !self.unsent.is_empty() {
                self.turn = Turn::Quiet;
                self.turns = self.turns.saturating_add(1);
            }
            return read;
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
        self.turn = Turn::Said;
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.greeted && !self.unsent.is_empty() && self.turns < MOST_TURNS {
            match self.turn {
                Turn::Quiet => {}
                Turn::Said => {
                    self.turn = Turn::PutOff;
                    cx.waker().wake_by_ref();
                    return Poll::Ready(Ok(()));
                }
                Turn::PutOff => return Poll::Ready(Ok(())),
            }
        }
        self.greeted = true;
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Gathered {
    /// Whoever drove the connection took for sent what was put off, as the refusal for which it is given up.
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        if matches!(self.poll_send(&mut cx), Poll::Ready(Ok(()))) {
            // What the socket does not take now is for a client that does not read.
            let _ = Pin::new(&mut self.stream).poll_flush(&mut cx);
        }
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
            assert_eq!(talk.turn(&[first]), first, "what comes first is sent at once");
            talk
        }

        fn with<T>(&mut self, poll: impl FnOnce(Pin<&mut Gathered>, &mut Context<'_>) -> Poll<T>) -> Poll<T> {
            let waker = Waker::from(self.woken.clone());
            poll(Pin::new(&mut self.server), &mut Context::from_waker(&waker))
        }

        /// A turn in which this is said, flushed after each of it and at the end, as h2 does; what has come to the client.
        fn turn(&mut self, said: &[&[u8]]) -> Vec<u8> {
            self.listen();
            for octets in said {
                assert_eq!(self.say(octets), octets.len());
                assert!(self.flush().is_ready());
            }
            assert!(self.flush().is_ready());
            self.heard()
        }

        /// There is nothing to read.
        fn listen(&mut self) {
            let mut space = [0; 8];
            assert!(self.with(|server, cx| server.poll_read(cx, &mut ReadBuf::new(&mut space))).is_pending());
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
        assert_eq!((talk.turn(&[b"one "]), talk.woken()), (vec![], 1), "others may have something to say");
        assert_eq!((talk.turn(&[b"two ", b"three"]), talk.woken()), (vec![], 3));
        assert_eq!((&talk.turn(&[])[..], talk.woken()), (&b"one two three"[..], 3));
        assert_eq!((talk.turn(&[]), talk.woken()), (vec![], 3), "nobody is woken for nothing");
        assert_eq!(talk.turn(&[b"four"]), b"");
        assert_eq!(talk.turn(&[]), b"four");
    }

    #[test]
    fn nobody_waits_for_long() {
        let mut talk = Talk::begun(b"settings", 1024);
        let came: Vec<usize> = (0..10).map(|_| talk.turn(&[b"x"]).len()).collect();
        assert_eq!(came, [0, 0, 0, 0, 5, 0, 0, 0, 0, 5], "although each turn brings something new");
    }

    #[test]
    fn much_is_not_gathered() {
        let mut talk = Talk::begun(b"settings", 1 << 17);
        let all: Vec<u8> = (0..=u8::MAX).cycle().take(2 * MOST).collect();
        for octets in all.chunks(LONG).take(MOST / LONG) {
            assert_eq!(talk.say(octets), LONG);
        }
        assert_eq!(talk.heard(), b"");
        assert_eq!(talk.say(b"x"), 1);
        assert_eq!(talk.heard(), &all[..MOST], "it makes room");
        assert_eq!(talk.say(&all), all.len());
        assert_eq!(talk.heard(), [b"x", &all[..]].concat(), "what is long goes straight on, behind what came before");
        assert_eq!(talk.say(&all[..=LONG]), LONG + 1);
        assert_eq!(talk.heard(), &all[..=LONG]);
    }

    #[test]
    fn whoever_does_not_read_is_not_written_for() {
        let mut talk = Talk::begun(b"settings", 1000);
        for _ in 0..MOST / LONG {
            assert_eq!(talk.say(&[b'x'; LONG]), LONG);
        }
        assert_eq!(talk.say(b"y"), 0, "there is no room until it is read");
        talk.listen();
        while talk.flush().is_pending() {
            assert!(talk.heard().iter().all(|octet| *octet == b'x'));
        }
        assert_eq!(talk.say(b"y"), 1);
    }

    #[test]
    fn what_was_put_off_is_sent_also_where_the_connection_is_given_up() {
        let mut talk = Talk::begun(b"settings", 1024);
        assert_eq!(talk.turn(&[b"goodbye"]), b"");
        let Talk { client, server, woken } = talk;
        drop(server);
        let (_, server) = duplex(1);
        let server = Gathered::new(Box::new(server), BytesMut::new());
        assert_eq!(Talk { client, server, woken }.heard(), b"goodbye");
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
        let mut space = [0; 8];
        assert!(Pin::new(&mut server).poll_write(&mut cx, b"x").is_ready());
        assert!(Pin::new(&mut server).poll_flush(&mut cx).is_ready());
        assert!(Pin::new(&mut server).poll_read(&mut cx, &mut ReadBuf::new(&mut space)).is_ready(), "the end");
        assert!(matches!(Pin::new(&mut server).poll_flush(&mut cx), Poll::Ready(Err(_))));
    }
}
