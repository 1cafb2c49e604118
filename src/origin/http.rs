//! Asks an origin over sockets, HTTP/1.1. Connections, their pool and TLS are Pingora's; the messages on them are read
//! here, where two readings of one message are an error rather than a guess.
//!
//! A connection goes back to the pool only when everything on it was as it should be. Whatever drops a [`Reply`] before
//! its end closes the connection, which is the only way to stop an origin.

use crate::message;
use crate::message::chunked::{Chunked, Piece};
use crate::origin::head::{self, Received};
use crate::origin::peer::Peers;
use crate::origin::{Ask, Framing, Head, Interim, MAX_INTERIM, Origin, OriginError, OriginErrorKind, Reply, Sending};
use crate::policy::{self, HostField};
use crate::semantics::forwarding;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use pingora::connectors::TransportConnector;
use pingora::protocols::Stream;
use pingora::upstreams::peer::{HttpPeer, Peer};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// An origin reached over TCP or TLS.
pub struct HttpOrigin {
    policy: policy::Origin,
    peers: Arc<Peers>,
    connector: Arc<TransportConnector>,
}

/// A connection with a request on it.
struct Connection {
    stream: Stream,
    /// What was read and not used yet.
    buffer: BytesMut,
    peer: HttpPeer,
    reused: bool,
}

/// Why one attempt failed, and whether anything of an answer had come.
struct Failed {
    error: OriginError,
    answered: bool,
}

impl HttpOrigin {
    /// An origin as `policy` describes it. Nothing is connected to yet.
    pub fn new(policy: &policy::Origin, peers: Arc<Peers>) -> Self {
        HttpOrigin { policy: policy.clone(), peers, connector: Arc::new(TransportConnector::new(None)) }
    }

    async fn pooled(&self) -> Option<Connection> {
        let peer = self.peers.known()?;
        let stream = self.connector.reused_stream(&peer).await?;
        Some(Connection { stream, buffer: BytesMut::new(), peer, reused: true })
    }

    /// A new connection, to the first address that takes one.
    async fn connect(&self) -> Result<Connection, OriginError> {
        let mut last = None;
        for address in self.peers.resolve().await? {
            let peer = self.peers.at(address);
            match self.connector.new_stream(&peer).await {
                Ok(stream) => {
                    self.peers.set_known(Some(address));
                    return Ok(Connection { stream, buffer: BytesMut::new(), peer, reused: false });
                }
                Err(error) => last = Some(error),
            }
        }
        self.peers.set_known(None);
        let cause = last.map_or_else(String::new, |error| error.to_string());
        Err(OriginError { kind: OriginErrorKind::Connect, cause })
    }

    /// One attempt on `connection`.
    async fn exchange(
        &self,
        mut connection: Connection,
        ask: &Ask,
        interim: Option<&Interim>,
    ) -> Result<Reply, Failed> {
        let sent = self.send(&mut connection, ask).await;
        // An origin may answer and close before it has read everything (413): its answer counts, if there is one.
        let received = match timeout(self.policy.response_timeout, connection.final_head(interim)).await {
            Ok(Ok(received)) => received,
            Ok(Err(failed)) => return Err(Failed { error: sent.err().unwrap_or(failed.error), ..failed }),
            Err(_) => return Err(Failed { error: late("the head of its answer"), answered: true }),
        };
        let framing = head::framing(&ask.method, received.head.status, &received.head.fields)
            .map_err(|why| Failed { error: broken(&format!("it sent {why}")), answered: true })?;
        let persists = sent.is_ok() && message::persists(&received.head.fields, received.http11);
        let mut head = received.head;
        // Of the framing only the length is kept where there is no body to count: it is that of the 200 (RFC 9110 §9.3.2).
        let described = head.fields.get("content-length").map(Bytes::copy_from_slice);
        forwarding::keep_end_to_end(&mut head.fields);
        if let (Framing::Empty, Some(length)) = (framing, described) {
            head.fields.push("Content-Length", length);
        }
        Ok(Reply { head, framing, body: self.body(connection, framing, persists) })
    }

    async fn send(&self, connection: &mut Connection, ask: &Ask) -> Result<(), OriginError> {
        let target = if ask.target == "*" { ask.target.clone() } else { format!("{}{}", self.policy.path, ask.target) };
        let mut fields = ask.fields.clone();
        if self.policy.host == HostField::Origin || !fields.contains("host") {
            fields.set("Host", self.policy.authority());
        }
        let octets = head::request(&ask.method, &target, &fields, ask.has_body.then_some(&ask.body));
        let write = async {
            connection.stream.write_all(&octets).await?;
            connection.stream.write_all(&ask.body).await?;
            connection.stream.flush().await
        };
        match timeout(self.policy.response_timeout, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(broken(&format!("the connection broke while the request was sent: {error}"))),
            Err(_) => Err(late("the request")),
        }
    }

    /// The body, chunk by chunk; at its clean end the connection goes back to the pool.
    fn body(&self, connection: Connection, framing: Framing, persists: bool) -> BoxStream<'static, Chunk> {
        let body = Body {
            connection,
            left: match framing {
                Framing::Empty => Left::Octets(0),
                Framing::Length(length) => Left::Octets(length),
                Framing::Chunked => Left::Chunks(Chunked::default()),
                Framing::CloseDelimited => Left::UntilClose,
            },
            body_timeout: self.policy.body_timeout,
            pool: persists.then(|| (self.connector.clone(), self.policy.idle_timeout)),
        };
        if framing == Framing::Empty {
            body.release();
            return stream::empty().boxed();
        }
        stream::unfold(Some(body), |body| async move {
            let mut body = body?;
            match body.next().await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(body))),
                Ok(None) => {
                    body.release();
                    None
                }
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }
}

#[async_trait::async_trait]
impl Origin for HttpOrigin {
    async fn ask(&self, ask: Ask, interim: Option<Interim>) -> Result<Reply, OriginError> {
        if let Some(connection) = self.pooled().await {
            let reused = connection.reused;
            match self.exchange(connection, &ask, interim.as_ref()).await {
                // The origin may have closed it just as it was taken: only a request that may be repeated is.
                Err(Failed { answered: false, .. }) if reused && ask.sending == Sending::RetryOnce => {}
                outcome => return outcome.map_err(|failed| failed.error),
            }
        }
        let connection = self.connect().await?;
        self.exchange(connection, &ask, interim.as_ref()).await.map_err(|failed| failed.error)
    }
}

impl Connection {
    /// The first head that is not 1xx. At most [`MAX_INTERIM`] of those are relayed; none makes the origin wait.
    async fn final_head(&mut self, interim: Option<&Interim>) -> Result<Received, Failed> {
        let mut relayed = 0;
        let mut answered = false;
        loop {
            let received = loop {
                match head::take(&mut self.buffer) {
                    Ok(Some(received)) => break received,
                    Ok(None) => {}
                    Err(why) => return Err(Failed { error: broken(&format!("it sent {why}")), answered: true }),
                }
                match self.stream.read_buf(&mut self.buffer).await {
                    Ok(1..) => answered = true,
                    Ok(0) => {
                        return Err(Failed {
                            error: broken("it closed the connection instead of answering"),
                            answered,
                        });
                    }
                    Err(error) => {
                        return Err(Failed { error: broken(&format!("the connection broke: {error}")), answered });
                    }
                }
            };
            match received.head.status {
                // Nobody asked for another protocol: what follows is not HTTP (RFC 9110 §7.8).
                101 => return Err(Failed { error: broken("it switched protocols unasked"), answered: true }),
                100..200 => {
                    relayed += 1;
                    if let Some(interim) = interim.filter(|_| relayed <= MAX_INTERIM) {
                        // A full or closed channel costs the client a hint, never the origin its time.
                        drop(interim.try_send(end_to_end(received.head)));
                    }
                }
                _ => return Ok(received),
            }
        }
    }
}

fn end_to_end(mut head: Head) -> Head {
    forwarding::keep_end_to_end(&mut head.fields);
    head
}

type Chunk = Result<Bytes, OriginError>;

/// A body that is still coming.
struct Body {
    connection: Connection,
    left: Left,
    body_timeout: Duration,
    /// Where the connection goes after a clean end, and for how long; `None` where it is to be closed.
    pool: Option<(Arc<TransportConnector>, Duration)>,
}

/// What tells the end.
enum Left {
    Octets(u64),
    Chunks(Chunked),
    UntilClose,
}

impl Body {
    /// The next octets of content, `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        loop {
            let ended = matches!(self.left, Left::Octets(0));
            if !ended && self.connection.buffer.is_empty() && !self.fill().await? {
                return match self.left {
                    Left::UntilClose => Ok(None),
                    _ => Err(broken("it closed the connection before the end of the body")),
                };
            }
            let buffer = &mut self.connection.buffer;
            match &mut self.left {
                Left::Octets(0) => return Ok(None),
                Left::Octets(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                    *left -= here as u64;
                    return Ok(Some(buffer.split_to(here).freeze()));
                }
                Left::UntilClose => return Ok(Some(buffer.split().freeze())),
                Left::Chunks(chunks) => match chunks.next(buffer) {
                    Ok(Piece::Framing(octets)) => drop(buffer.split_to(octets)),
                    Ok(Piece::Data(octets)) => return Ok(Some(buffer.split_to(octets).freeze())),
                    Ok(Piece::End(octets)) => {
                        drop(buffer.split_to(octets));
                        self.left = Left::Octets(0);
                    }
                    Err(malformed) => return Err(broken(&format!("it sent {}", malformed.0))),
                },
            }
        }
    }

    /// Reads more; `false` if the origin has closed its side.
    async fn fill(&mut self) -> Result<bool, OriginError> {
        let Connection { stream, buffer, .. } = &mut self.connection;
        buffer.reserve(16 * 1024);
        match timeout(self.body_timeout, stream.read_buf(buffer)).await {
            Ok(Ok(octets)) => Ok(octets > 0),
            Ok(Err(error)) => Err(broken(&format!("the connection broke within the body: {error}"))),
            Err(_) => Err(late("the next part of the body")),
        }
    }

    /// Gives the connection back, unless something came behind the body: then nothing on it can be trusted.
    fn release(self) {
        let Body { connection: Connection { stream, buffer, peer, .. }, left, pool, .. } = self;
        let ended = matches!(left, Left::Octets(0)) && buffer.is_empty();
        if let Some((connector, idle)) = pool.filter(|_| ended) {
            connector.release_stream(stream, peer.reuse_hash(), Some(idle));
        }
    }
}

fn broken(cause: &str) -> OriginError {
    OriginError { kind: OriginErrorKind::Protocol, cause: cause.to_owned() }
}

fn late(what: &str) -> OriginError {
    OriginError { kind: OriginErrorKind::Timeout, cause: format!("{what} took too long") }
}
