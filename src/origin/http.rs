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
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// An origin reached over TCP or TLS.
pub struct HttpOrigin {
    policy: policy::Origin,
    peers: Peers,
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
    ///
    /// # Errors
    /// `origin.ca` cannot be used; the text names the file.
    pub fn new(policy: &policy::Origin) -> Result<Self, String> {
        let connector = Arc::new(TransportConnector::new(None));
        Ok(HttpOrigin { policy: policy.clone(), peers: Peers::new(policy)?, connector })
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
        let (sent, received) = self.converse(&mut connection, ask, interim).await;
        let received = received?;
        let framing = head::framing(&ask.method, received.head.status, &received.head.fields)
            .map_err(|why| Failed { error: broken(&format!("it sent {why}")), answered: true })?;
        let persists = sent && message::persists(&received.head.fields, received.http11);
        let mut head = received.head;
        // Of the framing only the length is kept where there is no body to count: it is that of the 200 (RFC 9110 §9.3.2).
        let described = head.fields.get("content-length").map(Bytes::copy_from_slice);
        forwarding::keep_end_to_end(&mut head.fields);
        if let (Framing::Empty, Some(length)) = (framing, described) {
            head.fields.push("Content-Length", length);
        }
        Ok(Reply { head, framing, body: self.body(connection, framing, persists) })
    }

    /// Sends `ask` and reads the head of its answer, side by side: an origin may answer before it has read everything
    /// (413), and then read no more. Says whether all was sent.
    async fn converse(
        &self,
        connection: &mut Connection,
        ask: &Ask,
        interim: Option<&Interim>,
    ) -> (bool, Result<Received, Failed>) {
        let (mut reader, mut writer) = tokio::io::split(&mut connection.stream);
        let mut sending = pin!(self.send(&mut writer, ask));
        let mut answer = pin!(final_head(&mut reader, &mut connection.buffer, interim));
        let sent = tokio::select! {
            biased;
            sent = &mut sending => sent,
            early = &mut answer => return (false, early),
        };
        let received = timeout(self.policy.response_timeout, answer)
            .await
            .unwrap_or_else(|_| Err(Failed { error: late("the head of its answer"), answered: true }));
        match (sent, received) {
            (Err(error), Err(failed)) => (false, Err(Failed { error, ..failed })),
            (sent, received) => (sent.is_ok(), received),
        }
    }

    async fn send(&self, stream: &mut (impl AsyncWrite + Unpin), ask: &Ask) -> Result<(), OriginError> {
        let target = if ask.target == "*" { ask.target.clone() } else { format!("{}{}", self.policy.path, ask.target) };
        let mut fields = ask.fields.clone();
        if self.policy.host == HostField::Origin || !fields.contains("host") {
            fields.set("Host", self.policy.authority());
        }
        let octets = head::request(&ask.method, &target, &fields, ask.has_body.then_some(&ask.body));
        let write = async {
            stream.write_all(&octets).await?;
            stream.write_all(&ask.body).await?;
            stream.flush().await
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

/// The first head that is not 1xx. At most [`MAX_INTERIM`] of those are relayed; none makes the origin wait.
async fn final_head(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    interim: Option<&Interim>,
) -> Result<Received, Failed> {
    let mut relayed = 0;
    let mut answered = false;
    loop {
        let received = loop {
            match head::take(buffer) {
                Ok(Some(received)) => break received,
                Ok(None) => {}
                Err(why) => return Err(Failed { error: broken(&format!("it sent {why}")), answered: true }),
            }
            match stream.read_buf(buffer).await {
                Ok(1..) => answered = true,
                Ok(0) => {
                    return Err(Failed { error: broken("it closed the connection instead of answering"), answered });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::wire::{Act, Wire};
    use crate::semantics::request::Scheme;
    use tokio::sync::mpsc;

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    fn policy(wire: &Wire) -> policy::Origin {
        policy::Origin {
            tls: false,
            name: wire.address.ip().to_string(),
            port: wire.address.port(),
            path: "/v1".into(),
            host: HostField::Client,
            ca: std::path::PathBuf::new(),
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(5),
            request_buffer: 1024,
            max_concurrent: 1,
            quarantine: Duration::ZERO,
            case_insensitive: false,
        }
    }

    fn origin_of(policy: &policy::Origin) -> HttpOrigin {
        HttpOrigin::new(policy).expect("no roots are needed")
    }

    fn ask(method: &str, sending: Sending) -> Ask {
        Ask {
            method: method.into(),
            scheme: Scheme::Http,
            target: "/products?page=1".into(),
            fields: [("Host", "shop.example"), ("X-oDD", "b")].into_iter().collect(),
            body: Bytes::new(),
            has_body: false,
            sending,
        }
    }

    fn get() -> Ask {
        ask("GET", Sending::RetryOnce)
    }

    /// The body, and how it ended.
    async fn read(reply: Reply) -> (String, Result<(), OriginErrorKind>) {
        let mut text = String::new();
        let mut body = reply.body;
        while let Some(octets) = body.next().await {
            match octets {
                Ok(octets) => text.push_str(std::str::from_utf8(&octets).expect("text")),
                Err(error) => return (text, Err(error.kind)),
            }
        }
        (text, Ok(()))
    }

    #[tokio::test]
    async fn a_request_is_sent_as_it_is_meant() {
        let mut wire = Wire::start(vec![vec![Act::Read, Act::Write(OK)], vec![Act::Read, Act::Write(OK)]]).await;
        let policy = policy(&wire);
        assert_eq!(read(origin_of(&policy).ask(get(), None).await.expect("a reply")).await.0, "ok");
        assert_eq!(wire.request().await, "GET /v1/products?page=1 HTTP/1.1\r\nHost: shop.example\r\nX-oDD: b\r\n\r\n");

        let own_host = policy::Origin { host: HostField::Origin, ..policy };
        let put = Ask { body: Bytes::from_static(b"{}"), has_body: true, ..ask("PUT", Sending::Once) };
        assert_eq!(read(origin_of(&own_host).ask(put, None).await.expect("a reply")).await.0, "ok");
        let head = format!("PUT /v1/products?page=1 HTTP/1.1\r\nHost: {}\r\nX-oDD: b\r\n", wire.address);
        assert_eq!(wire.request().await, format!("{head}Content-Length: 2\r\n\r\n{{}}"));
    }

    #[tokio::test]
    async fn bodies_end_as_their_framing_says() {
        #[track_caller]
        fn check(seen: (Framing, String, Result<(), OriginErrorKind>), expected: (Framing, &str, bool)) {
            let broken = if expected.2 { Ok(()) } else { Err(OriginErrorKind::Protocol) };
            assert_eq!(seen, (expected.0, expected.1.to_owned(), broken));
        }
        async fn answered(wire: &'static str) -> (Framing, String, Result<(), OriginErrorKind>) {
            let server = Wire::start(vec![vec![Act::Read, Act::Write(wire)]]).await;
            let reply = origin_of(&policy(&server)).ask(get(), None).await.expect("a reply");
            let framing = reply.framing;
            let (text, end) = read(reply).await;
            (framing, text, end)
        }
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        check(answered(OK).await, (Framing::Length(2), "ok", true));
        check(answered(chunked).await, (Framing::Chunked, "ok", true));
        check(answered("HTTP/1.1 200 OK\r\n\r\nok").await, (Framing::CloseDelimited, "ok", true));
        check(answered("HTTP/1.1 204 No Content\r\n\r\n").await, (Framing::Empty, "", true));
        check(answered("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok").await, (Framing::Length(3), "ok", false));
        let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
        check(answered(cut).await, (Framing::Chunked, "ok", false));
        let odd = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n";
        check(answered(odd).await, (Framing::Chunked, "ok", false));
    }

    #[tokio::test]
    async fn what_has_two_readings_is_no_answer() {
        for wire in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            "not HTTP at all\r\n\r\n",
            "",
        ] {
            let server = Wire::start(vec![vec![Act::Read, Act::Write(wire)]]).await;
            let error = origin_of(&policy(&server)).ask(get(), None).await.expect_err(wire);
            assert_eq!(error.kind, OriginErrorKind::Protocol, "{wire:?}");
        }
    }

    #[tokio::test]
    async fn interim_responses_are_relayed_up_to_a_bound() {
        let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\n\r\n";
        let mut acts = vec![Act::Read];
        acts.extend([Act::Write(hint); 20]);
        acts.push(Act::Write(OK));
        let server = Wire::start(vec![acts]).await;
        let (sender, mut heads) = mpsc::channel(100);
        let reply = origin_of(&policy(&server)).ask(get(), Some(sender)).await.expect("a reply");
        assert_eq!(reply.head.status, 200);
        let mut relayed = Vec::new();
        while let Ok(head) = heads.try_recv() {
            relayed.push(head);
        }
        assert_eq!(relayed.len(), MAX_INTERIM);
        assert_eq!(relayed[0].fields.iter().collect::<Vec<_>>(), [(&b"Link"[..], &b"</a>"[..])]);
    }

    #[tokio::test]
    async fn a_clean_end_gives_the_connection_back() {
        let acts = vec![Act::Read, Act::Write(OK), Act::Read, Act::Write(OK)];
        let mut server = Wire::start(vec![acts]).await;
        let origin = origin_of(&policy(&server));
        for _ in 0..2 {
            let (text, end) = read(origin.ask(get(), None).await.expect("a reply")).await;
            assert_eq!((text.as_str(), end), ("ok", Ok(())));
            server.request().await;
        }
    }

    #[tokio::test]
    async fn anything_odd_closes_the_connection() {
        let said_close = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
        let too_much = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokEVIL";
        let old = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
        for first in [said_close, too_much, old] {
            let scripts = vec![vec![Act::Read, Act::Write(first), Act::Hold], vec![Act::Read, Act::Write(OK)]];
            let server = Wire::start(scripts).await;
            let origin = origin_of(&policy(&server));
            for _ in 0..2 {
                let (text, _) = read(origin.ask(get(), None).await.expect("a reply")).await;
                assert_eq!(text, "ok", "{first:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_reply_dropped_early_closes_the_connection() {
        let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
        let mut server = Wire::start(vec![vec![Act::Read, Act::Write(endless), Act::Hold]]).await;
        let mut reply = origin_of(&policy(&server)).ask(get(), None).await.expect("a reply");
        reply.body.next().await.expect("a chunk").expect("a good one");
        server.request().await;
        drop(reply);
        assert_eq!(server.request().await, "", "the connection was closed");
    }

    /// The first connection answers once, then breaks as soon as it has read the next request.
    fn breaks_when_reused() -> Vec<Vec<Act>> {
        vec![vec![Act::Read, Act::Write(OK), Act::Read], vec![Act::Read, Act::Write(OK)]]
    }

    #[tokio::test]
    async fn a_safe_request_is_sent_again_once() {
        let mut server = Wire::start(breaks_when_reused()).await;
        let origin = origin_of(&policy(&server));
        for _ in 0..2 {
            assert_eq!(read(origin.ask(get(), None).await.expect("a reply")).await.0, "ok");
        }
        for _ in 0..3 {
            server.request().await;
        }
    }

    #[tokio::test]
    async fn a_mutation_is_never_sent_again() {
        let mut server = Wire::start(breaks_when_reused()).await;
        let origin = origin_of(&policy(&server));
        assert_eq!(read(origin.ask(get(), None).await.expect("a reply")).await.0, "ok");
        let error = origin.ask(ask("POST", Sending::Once), None).await.expect_err("nobody answered");
        assert_eq!(error.kind, OriginErrorKind::Protocol);
        server.request().await;
        assert!(server.request().await.starts_with("POST "));
        assert_eq!(server.unasked(), 0);
    }

    #[tokio::test]
    async fn a_new_connection_that_breaks_is_not_tried_again() {
        let server = Wire::start(vec![vec![Act::Read], vec![Act::Read, Act::Write(OK)]]).await;
        let error = origin_of(&policy(&server)).ask(get(), None).await.expect_err("nobody answered");
        assert_eq!(error.kind, OriginErrorKind::Protocol);
    }

    /// "A client sending a message body SHOULD monitor the network connection for an error status code while it is
    /// transmitting the request" (RFC 9110 §10.1.1 has the server's side: it may answer before it has read all).
    #[tokio::test]
    async fn an_answer_that_comes_before_the_request_is_read_counts_at_once() {
        let refusal = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n";
        let server = Wire::start(vec![vec![Act::Write(refusal), Act::Wait]]).await;
        let hour = Duration::from_secs(3600);
        let policy = policy::Origin { response_timeout: hour, ..policy(&server) };
        // More than any two sockets hold between them.
        let body = Bytes::from(vec![b'x'; 64 << 20]);
        let put = Ask { body, has_body: true, ..ask("PUT", Sending::Once) };
        let origin = origin_of(&policy);
        let reply = timeout(Duration::from_secs(30), origin.ask(put, None)).await.expect("it does not wait for more");
        assert_eq!(reply.expect("a reply").head.status, 413);
        server.go_on();
    }

    #[tokio::test]
    async fn silence_has_an_end() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe";
        let scripts = vec![vec![Act::Read, Act::Hold], vec![Act::Read, Act::Write(head), Act::Hold]];
        let server = Wire::start(scripts).await;
        let brief = Duration::from_millis(50);
        let policy = policy::Origin { response_timeout: brief, ..policy(&server) };
        let error = origin_of(&policy).ask(get(), None).await.expect_err("silence");
        assert_eq!(error.kind, OriginErrorKind::Timeout);

        let policy = policy::Origin { response_timeout: Duration::from_secs(5), body_timeout: brief, ..policy };
        let (text, end) = read(origin_of(&policy).ask(get(), None).await.expect("a head")).await;
        assert_eq!((text.as_str(), end), ("he", Err(OriginErrorKind::Timeout)));
    }

    #[tokio::test]
    async fn nobody_there() {
        let server = Wire::start(Vec::new()).await;
        let mut policy = policy(&server);
        // Port 1 of loopback: nothing that runs unprivileged can listen there.
        policy.port = 1;
        let error = origin_of(&policy).ask(get(), None).await.expect_err("nobody listens");
        assert_eq!(error.kind, OriginErrorKind::Connect);
    }
}
