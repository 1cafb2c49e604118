//! The HTTP/1.1 front: one connection, its requests one after the other (RFC 9112 §9.3). Reads a head, asks the
//! pipeline, and writes what the pipeline answers; what is to be streamed goes to Pingora, and the connection comes back.

use crate::edge::connections::{Connections, Event};
use crate::edge::gathered::Gathered;
use crate::edge::handover::{Extent, OneRequest};
use crate::edge::head::{self, Arrival, Parsed, Received, Refusal, RequestBody, Rules, TOO_LONG};
use crate::edge::pace::Pace;
use crate::edge::proxy::{Handed, Proxy, UPGRADED_SILENCE, carried};
use crate::edge::trace;
use crate::edge::writer::{self, Recipient};
use crate::field::Fields;
use crate::identity::Remembered;
use crate::message;
use crate::message::chunked::{Chunked, Piece};
use crate::origin::{Head, Interim, MAX_INTERIM};
use crate::pipeline::{Answer, Class, Handled, Passage, Pipeline};
use crate::semantics::cache_status::Detail;
use crate::semantics::request::{Request, Scheme, Version};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep, timeout};

/// What every connection needs.
pub struct Lane {
    pub pipeline: Arc<Pipeline>,
    pub proxy: Arc<Proxy>,
    pub connections: Arc<Connections>,
    /// Becomes `true` when no further requests are to be taken.
    pub shutdown: ShutdownWatch,
}

/// A client's connection between two requests.
struct Connection {
    stream: Stream,
    /// Read and not used yet.
    buffer: BytesMut,
    arrival: Arrival,
    remembered: Remembered,
}

/// What came next on a connection.
enum Next {
    Request(Received),
    Refused(Refusal),
    /// The client speaks HTTP/2 without having asked (RFC 9113 §3.3).
    Http2,
    /// Nothing; the connection is to be closed.
    Silence,
}

/// What was read of a request's body.
enum Body {
    Whole(Bytes),
    /// Longer than is held; what has come so far is still in the buffer.
    Long,
    Refused(Refusal),
    /// The client has gone.
    Gone,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How many octets are read at most from a connection that is being closed.
const LINGER_OCTETS: usize = 1024 * 1024;

/// How long a client that has no request under way is still heard once no further ones are to be taken: its next may have
/// come already, or be on its way, and one that is not safe cannot be sent again (RFC 9110 §9.2.2).
const LAST_CALL: Duration = Duration::from_millis(100);

/// What a connection keeps of its buffer between two requests, however long the head of the last one was.
const ROOM_WHILE_IDLE: usize = 16 * 1024;

/// Zero means no limit.
fn limited(limit: Duration) -> Duration {
    if limit.is_zero() { Duration::MAX } else { limit }
}

impl Lane {
    /// Serves `stream` until either side closes it.
    pub async fn serve(&self, stream: Stream, arrival: Arrival) {
        let limits = &self.pipeline.policy.server.limits;
        let mut connection = Connection { stream, buffer: BytesMut::new(), arrival, remembered: Remembered::default() };
        // Whoever connects means to say something at once.
        let mut patience = limited(limits.header_timeout);
        // One timer and one ear for the end serve all waits of the connection: to set them up anew costs more than a hit.
        let (mut silence, mut shutdown) = (pin!(sleep(patience)), self.shutdown.clone());
        let mut end = pin!(stopped(&mut shutdown).fuse());
        loop {
            silence.as_mut().reset(sleep(patience).deadline());
            connection = match self.next(&mut connection, silence.as_mut(), end.as_mut()).await {
                Next::Request(received) => match self.exchange(connection, received).await {
                    Some(connection) => connection,
                    None => return,
                },
                Next::Refused(refusal) => return self.refuse(connection, None, refusal).await,
                Next::Http2 => return self.http2(connection.stream, connection.buffer).await,
                Next::Silence => return,
            };
            patience = limited(limits.idle_timeout);
            if !connection.buffer.is_empty() {
                // What came at once is not answered at once: between two requests everybody else has a turn.
                yield_now().await;
            }
        }
    }

    /// Waits for a request: until `silence` is over for its first octet, then `header_timeout` for its whole head. From the
    /// `end` on no further requests are to be taken.
    async fn next(
        &self,
        connection: &mut Connection,
        silence: Pin<&mut Sleep>,
        end: Pin<&mut impl Future<Output = ()>>,
    ) -> Next {
        // Some clients send an empty line behind a body (RFC 9112 §2.2).
        while connection.buffer.starts_with(b"\r\n") {
            connection.buffer.advance(2);
        }
        if connection.buffer.is_empty() {
            if connection.buffer.capacity() > ROOM_WHILE_IDLE {
                connection.buffer = BytesMut::new();
            }
            let heard = tokio::select! {
                biased;
                heard = connection.read() => heard,
                () = end => timeout(LAST_CALL, connection.read()).await.unwrap_or(false),
                () = silence => {
                    self.connections.count(Event::Idle);
                    false
                }
            };
            if !heard {
                return Next::Silence;
            }
        }
        if let Some(next) = self.head(connection) {
            return next;
        }
        let rest = async {
            while connection.read().await {
                if let Some(next) = self.head(connection) {
                    return next;
                }
            }
            Next::Silence
        };
        let header_timeout = limited(self.pipeline.policy.server.limits.header_timeout);
        match timeout(header_timeout, rest).await {
            Ok(next) => next,
            Err(_) => Next::Refused(Refusal { status: 408, why: "The request's head took too long." }),
        }
    }

    /// What has come, if it is enough to tell.
    fn head(&self, connection: &mut Connection) -> Option<Next> {
        let policy = &self.pipeline.policy;
        let h2c = policy.server.h2c && connection.arrival.scheme == Scheme::Http;
        let buffer = &mut connection.buffer;
        if h2c && buffer.starts_with(PREFACE) {
            return Some(Next::Http2);
        }
        if h2c && PREFACE.starts_with(buffer) {
            return None;
        }
        match head::take(buffer, Rules::of(policy, &self.pipeline.name), connection.arrival) {
            Parsed::Complete(received) => Some(Next::Request(received)),
            Parsed::Refused(refusal) => Some(Next::Refused(refusal)),
            Parsed::Partial => None,
        }
    }

    /// Answers one request. Gives the connection back if another can follow.
    async fn exchange(&self, mut connection: Connection, received: Received) -> Option<Connection> {
        let limit = self.pipeline.policy.server.limits.body;
        if matches!(received.body, RequestBody::Length(length) if limit > 0 && length > limit) {
            self.refuse(connection, Some(&received.request), TOO_LONG).await;
            return None;
        }
        if received.request.method == "TRACE" {
            let answer = trace::answer(&self.pipeline, &received.request);
            return self.deliver(connection, answer, &received).await;
        }
        match self.pipeline.classify(&received.request) {
            Class::Retrieve if received.body == RequestBody::None => self.retrieve(connection, received).await,
            Class::Retrieve => self.pass(connection, received, Detail::RequestBody, false).await,
            Class::Pass(why) => self.pass(connection, received, why, false).await,
            Class::Mutate => {
                let waits = received.expects_continue && connection.buffer.is_empty() && self.holds(received.body);
                if waits && writer::interim(&mut connection.stream, &proceed()).await.is_err() {
                    return None;
                }
                match self.body(&mut connection, received.body).await {
                    Body::Whole(body) => self.mutate(connection, received, body).await,
                    Body::Long => self.pass(connection, received, Detail::Pass, waits).await,
                    Body::Refused(refusal) => {
                        self.refuse(connection, Some(&received.request), refusal).await;
                        None
                    }
                    Body::Gone => None,
                }
            }
        }
    }

    async fn retrieve(&self, mut connection: Connection, received: Received) -> Option<Connection> {
        let handled = match self.pipeline.look_up(received.request.clone(), &mut connection.remembered) {
            Ok(answer) => Handled::Answer(answer),
            Err(retrieval) => {
                let work = |interim| self.pipeline.ask_for(*retrieval, interim);
                relayed(&mut connection.stream, received.request.version, work).await?
            }
        };
        match handled {
            Handled::Answer(answer) => self.deliver(connection, answer, &received).await,
            Handled::Pass(passage) => self.hand_over(connection, received, passage, false).await,
        }
    }

    async fn mutate(&self, mut connection: Connection, received: Received, body: Bytes) -> Option<Connection> {
        let request = Request::clone(&received.request);
        let work = |interim| self.pipeline.mutate(request, body, interim);
        let answer = relayed(&mut connection.stream, received.request.version, work).await?;
        self.deliver(connection, answer, &received).await
    }

    async fn pass(
        &self,
        connection: Connection,
        received: Received,
        why: Detail,
        continued: bool,
    ) -> Option<Connection> {
        match self.pipeline.pass(&received.request, why).await {
            Ok(passage) => self.hand_over(connection, received, passage, continued).await,
            Err(answer) if received.body == RequestBody::None => self.deliver(connection, answer, &received).await,
            Err(answer) => {
                self.close_with(connection, answer, received.request.method == "HEAD").await;
                None
            }
        }
    }

    /// Lets Pingora stream the request. `continued`: its client has been told to go on already.
    async fn hand_over(
        &self,
        connection: Connection,
        received: Received,
        passage: Passage,
        continued: bool,
    ) -> Option<Connection> {
        let Connection { stream, buffer: unread, arrival, remembered } = connection;
        let Received { request, body, upgrades, .. } = received;
        let mut buffer = head_octets(&request, &carried(request.target()), continued);
        let head = buffer.len();
        buffer.unsplit(unread);
        let extent = match body {
            _ if upgrades => Extent::Connection,
            RequestBody::None => Extent::Octets(head as u64),
            RequestBody::Length(length) => Extent::Octets(length.saturating_add(head as u64)),
            RequestBody::Chunked => Extent::Chunked { head, body: Chunked::default() },
        };
        let mut session = ServerSession::new_http1(Box::new(OneRequest::new(stream, buffer, extent)));
        let silence = if upgrades { UPGRADED_SILENCE } else { writer::STALL };
        session.set_read_timeout(Some(silence));
        session.set_write_timeout(Some(writer::STALL));
        session.set_total_drain_timeout(Some(writer::STALL));
        let handed = Handed { request: Arc::unwrap_or_clone(request), passage, upgrades };
        session.set_connection_user_context(Some(handed.into_context()));
        let (stream, _) = self.proxy.process_new_http(session, &self.shutdown).await?.consume();
        let (stream, buffer) = stream.into_any().downcast::<OneRequest>().ok()?.into_rest()?;
        Some(Connection { stream, buffer, arrival, remembered })
    }

    /// Serves a connection on which HTTP/2 was negotiated (RFC 9113 §3.2).
    pub async fn negotiated_http2(&self, stream: Stream) {
        self.http2(stream, BytesMut::new()).await;
    }

    /// `unread` comes before the rest of `stream`.
    async fn http2(&self, stream: Stream, unread: BytesMut) {
        self.proxy.process_new(Box::new(Gathered::new(stream, unread)), &self.shutdown).await;
    }

    /// Whether a body so framed might be short enough to be read whole before anything is sent.
    fn holds(&self, body: RequestBody) -> bool {
        !matches!(body, RequestBody::Length(length) if length > self.pipeline.policy.origin.request_buffer)
    }

    /// Reads a body of up to `request_buffer`.
    async fn body(&self, connection: &mut Connection, body: RequestBody) -> Body {
        let pace = Pace::from(self.pipeline.clock.now(), self.pipeline.policy.server.limits.idle_timeout);
        match body {
            RequestBody::None => Body::Whole(Bytes::new()),
            RequestBody::Length(_) if !self.holds(body) => Body::Long,
            RequestBody::Length(length) => {
                let length = usize::try_from(length).expect("request_buffer is held in memory");
                while connection.buffer.len() < length {
                    if let Some(failed) = self.more_body(connection, pace).await {
                        return failed;
                    }
                }
                Body::Whole(connection.buffer.split_to(length).freeze())
            }
            RequestBody::Chunked => self.chunked_body(connection, pace).await,
        }
    }

    /// The octets stay in the buffer until the end has come, so that a body that turns out long can be handed over.
    async fn chunked_body(&self, connection: &mut Connection, pace: Pace) -> Body {
        let (limit, hold) = (self.pipeline.policy.server.limits.body, self.pipeline.policy.origin.request_buffer);
        let (mut chunks, mut body, mut at, mut ended) = (Chunked::default(), BytesMut::new(), 0, false);
        loop {
            while at < connection.buffer.len() && !ended {
                let unread = &connection.buffer[at..];
                at += match chunks.next(unread) {
                    Ok(Piece::Framing(octets)) => octets,
                    Ok(Piece::Data(octets)) => {
                        body.extend_from_slice(&unread[..octets]);
                        octets
                    }
                    Ok(Piece::End(octets)) => {
                        ended = true;
                        octets
                    }
                    Err(malformed) => {
                        tracing::debug!(client = %connection.arrival.client, "a chunked body with {}", malformed.0);
                        return Body::Refused(Refusal { status: 400, why: "The request's body is not well chunked." });
                    }
                };
            }
            if limit > 0 && body.len() as u64 > limit {
                return Body::Refused(TOO_LONG);
            }
            // Small chunks can cost many times what they carry; the bound is on both.
            if body.len() as u64 > hold || at as u64 > hold.saturating_mul(4).max(1024) {
                return Body::Long;
            }
            if ended {
                connection.buffer.advance(at);
                return Body::Whole(body.freeze());
            }
            if let Some(failed) = self.more_body(connection, pace).await {
                return failed;
            }
        }
    }

    async fn more_body(&self, connection: &mut Connection, pace: Pace) -> Option<Body> {
        let patience = pace.patience(connection.buffer.len(), self.pipeline.clock.now());
        match timeout(patience, connection.read()).await {
            Ok(true) => None,
            Ok(false) => Some(Body::Gone),
            Err(_) => Some(Body::Refused(Refusal { status: 408, why: "The request's body took too long." })),
        }
    }

    /// Writes an answer and records what it cost.
    async fn deliver(&self, mut connection: Connection, answer: Answer, received: &Received) -> Option<Connection> {
        let to = Recipient {
            version: received.request.version,
            head_only: received.request.method == "HEAD",
            persists: received.persists && !*self.shutdown.borrow(),
        };
        if self.write(&mut connection, answer, to).await {
            return Some(connection);
        }
        connection.close().await;
        None
    }

    /// Says whether another request can follow.
    async fn write(&self, connection: &mut Connection, answer: Answer, to: Recipient) -> bool {
        let Answer { head, content, mut exchange } = answer;
        let Connection { stream, buffer, .. } = connection;
        let written = writer::answer(stream, buffer, &head, content, to).await;
        exchange.sent_bytes = written.body;
        exchange.latency = self.pipeline.clock.now() - exchange.at;
        self.pipeline.observe(&exchange);
        written.persists
    }

    /// Refuses a request and closes the connection: where the next request begins cannot be known.
    async fn refuse(&self, connection: Connection, request: Option<&Request>, Refusal { status, why }: Refusal) {
        let answer = self.pipeline.refuse(request, status, why);
        // A head that makes no request stays in the buffer, and may say all the same that no content is to come (RFC 9110
        // §9.3.2).
        let unread = || connection.buffer.trim_ascii_start().starts_with(b"HEAD ");
        let head_only = request.map_or_else(unread, |request| request.method == "HEAD");
        self.close_with(connection, answer, head_only).await;
    }

    async fn close_with(&self, mut connection: Connection, answer: Answer, head_only: bool) {
        let to = Recipient { version: Version::Http11, head_only, persists: false };
        self.write(&mut connection, answer, to).await;
        connection.close().await;
    }
}

/// 100 (Continue), RFC 9110 §15.2.1.
fn proceed() -> Head {
    Head { status: 100, reason: Bytes::from_static(b"Continue"), fields: Fields::new() }
}

/// The head of a request for `target` as octets, in origin-form whatever form it came in. `continued`: without the
/// expectation, which has been met.
pub fn head_octets(request: &Request, target: &str, continued: bool) -> BytesMut {
    let version = if request.version == Version::Http10 { "1.0" } else { "1.1" };
    let mut out = BytesMut::with_capacity(1024);
    out.extend_from_slice(format!("{} {target} HTTP/{version}\r\n", request.method).as_bytes());
    for (name, value) in request.fields.iter() {
        if !(continued && name.eq_ignore_ascii_case(b"expect")) {
            message::put_line(&mut out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Runs `work`, and sends the 1xx responses it relays to a client that understands them. `None`: the client has gone.
async fn relayed<T, F: Future<Output = T>>(
    stream: &mut Stream,
    version: Version,
    work: impl FnOnce(Option<Interim>) -> F,
) -> Option<T> {
    // RFC 9110 §15.2: a server MUST NOT send a 1xx response to an HTTP/1.0 client.
    if version == Version::Http10 {
        return Some(work(None).await);
    }
    let (sender, mut heads) = mpsc::channel(MAX_INTERIM);
    let mut work = pin!(work(Some(sender)));
    loop {
        tokio::select! {
            biased;
            Some(head) = heads.recv() => writer::interim(stream, &head).await.ok()?,
            done = &mut work => {
                while let Ok(head) = heads.try_recv() {
                    writer::interim(stream, &head).await.ok()?;
                }
                return Some(done);
            }
        }
    }
}

/// Waits until no further requests are to be taken; whoever could say so having gone says so too.
pub(super) async fn stopped(shutdown: &mut ShutdownWatch) {
    drop(shutdown.wait_for(|stop| *stop).await);
}

impl Connection {
    /// Reads more into the buffer; `false` if nothing more will come.
    async fn read(&mut self) -> bool {
        self.buffer.reserve(4096);
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..))
    }

    /// Closes the connection so that its client gets everything it was sent.
    async fn close(mut self) {
        self.stream.shutdown().await;
        let mut discarded = 0;
        let drained = async {
            while discarded < LINGER_OCTETS && self.read().await {
                discarded += self.buffer.len();
                self.buffer.clear();
            }
        };
        // Whether all of it came is of no interest any more.
        drop(timeout(writer::LINGER, drained).await);
    }
}
