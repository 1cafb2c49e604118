//! What Pingora asks while it streams a request to the origin, or serves HTTP/2.
//!
//! An HTTP/1.1 request arrives here with its [`Handed`]: the lane has read and judged it, and the pipeline has let it
//! pass. An HTTP/2 request is judged in `request_filter`, by the same pipeline, and answered there if it can be.

use crate::edge::head::{Arrival, Refusal, Rules, TOO_LONG};
use crate::edge::http2::{self, Body};
use crate::edge::{trace, writer};
use crate::field::{Fields, connection, entity_tag};
use crate::identity::Remembered;
use crate::origin::peer::Peers;
use crate::origin::{Head, MAX_INTERIM, OriginErrorKind, head, rescue};
use crate::pipeline::{Answer, Class, Handled, Passage, Pipeline};
use crate::policy::HostField;
use crate::semantics::cache_status::{CacheStatus, Detail};
use crate::semantics::request::{Request, Scheme, Version};
use crate::semantics::{answer, forwarding};
use async_trait::async_trait;
use bytes::Bytes;
use http::uri::PathAndQuery;
use pingora::apps::HttpServerOptions;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::v2::server::default_h2_options;
use pingora::proxy::{FailToProxy, HttpProxy, ProxyHttp, Session, http_proxy};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType};
use std::any::Any;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

/// The proxy that Pingora runs.
pub type Proxy = HttpProxy<Front>;

/// How long an upgraded connection may be silent: what travels on it has its own signs of life.
pub const UPGRADED_SILENCE: Duration = Duration::from_secs(60 * 60);

/// How many addresses of the origin are tried, one after the other.
const MAX_ATTEMPTS: usize = 4;

/// Answers Pingora's questions.
pub struct Front {
    pipeline: Arc<Pipeline>,
    peers: Peers,
}

/// A request that the pipeline lets pass.
pub struct Handed {
    pub request: Request,
    pub passage: Passage,
    /// Whether another protocol may follow on the connection.
    pub upgrades: bool,
}

impl Handed {
    /// In the form in which Pingora carries it along with a connection.
    pub fn into_context(self) -> Box<dyn Any + Send + Sync> {
        Box::new(Mutex::new(Some(self)))
    }
}

/// What is known about one request while Pingora has it.
#[derive(Default)]
pub struct Progress {
    handed: Option<Handed>,
    /// Attempts to reach the origin that failed before anything was sent.
    attempts: usize,
    /// How many addresses the origin has.
    addresses: usize,
    /// Sent a second time because a pooled connection had broken.
    repeated: bool,
    /// How many 1xx responses have been passed on.
    interim: usize,
    /// What was read of the request's body before it was clear that it streams; it goes before the rest.
    read_ahead: Bytes,
    /// Octets of the request's body so far.
    received: u64,
    /// Whether the final head has come.
    answered: bool,
}

/// Builds the proxy that asks `pipeline`, for the origin at `peers`.
pub fn proxy(pipeline: Arc<Pipeline>, peers: Peers) -> Arc<Proxy> {
    let policy = pipeline.policy.clone();
    let conf = ServerConf { max_retries: MAX_ATTEMPTS, threads: policy.server.threads, ..ServerConf::default() };
    let mut proxy = http_proxy(&Arc::new(conf), Front { pipeline, peers });
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(policy.server.limits.idle_timeout).filter(|limit| !limit.is_zero());
    proxy.server_options = Some(options);
    let mut h2 = default_h2_options();
    if let Ok(limit @ 1..) = u32::try_from(policy.server.limits.header_bytes) {
        h2.max_header_list_size(limit);
    }
    proxy.h2_options = Some(h2);
    Arc::new(proxy)
}

#[async_trait]
impl ProxyHttp for Front {
    type CTX = Progress;

    fn new_ctx(&self) -> Progress {
        Progress::default()
    }

    fn on_connection_reuse(&self, _: &mut Session, progress: &mut Progress, context: Box<dyn Any + Send + Sync>) {
        progress.handed = context
            .downcast::<Mutex<Option<Handed>>>()
            .ok()
            .and_then(|handed| handed.into_inner().expect("no holder of this lock panics"));
    }

    /// Judges an HTTP/2 request; `true` if it has been answered.
    async fn request_filter(&self, session: &mut Session, progress: &mut Progress) -> pingora::Result<bool> {
        if progress.handed.is_none() {
            // Of HTTP/2 Pingora waits without end, for what the client sends and until it takes what it is sent.
            session.set_write_timeout(Some(writer::STALL));
            match self.judge(session, progress).await? {
                Handled::Answer(answer) => {
                    self.deliver(session, answer).await?;
                    return Ok(true);
                }
                Handled::Pass(passage) => {
                    let request = self.read(session).map_err(|refusal| status_error(refusal.status))?;
                    progress.handed = Some(Handed { request, passage, upgrades: false });
                }
            }
        }
        if progress.handed.as_ref().is_some_and(|handed| handed.passage.mutation.is_some()) {
            // A client that closes its side changes nothing about a mutation that is under way.
            session.set_abort_on_close(false);
        }
        Ok(false)
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        progress: &mut Progress,
    ) -> pingora::Result<()> {
        if !progress.read_ahead.is_empty() {
            let ahead = std::mem::take(&mut progress.read_ahead);
            let rest = body.take().unwrap_or_default();
            *body = Some([ahead, rest].concat().into());
        }
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            // Pingora would write it as a chunk of no octets, which is the end, and then the end: for the origin the
            // beginning of another request (RFC 9112 §7.1).
            *body = None;
        }
        progress.received += body.as_ref().map_or(0, |octets| octets.len() as u64);
        let limit = self.pipeline.policy.server.limits.body;
        let upgraded = progress.handed.as_ref().is_some_and(|handed| handed.upgrades);
        if limit > 0 && progress.received > limit && !upgraded { Err(status_error(413)) } else { Ok(()) }
    }

    async fn upstream_peer(&self, _: &mut Session, progress: &mut Progress) -> pingora::Result<Box<HttpPeer>> {
        let found = self.peers.resolve().await.map_err(|error| {
            let mut error = Error::because(ErrorType::ConnectError, "resolving the origin", error);
            error.as_up();
            error
        })?;
        progress.addresses = found.len();
        let address = found[progress.attempts % found.len()];
        let upgrades = progress.handed.as_ref().is_some_and(|handed| handed.upgrades);
        Ok(Box::new(if upgrades { self.peers.upgradable(address, UPGRADED_SILENCE) } else { self.peers.at(address) }))
    }

    /// The next address is tried: nothing was sent.
    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        progress: &mut Progress,
        mut error: Box<Error>,
    ) -> Box<Error> {
        progress.attempts += 1;
        error.set_retry(progress.attempts < progress.addresses.min(MAX_ATTEMPTS));
        error
    }

    /// RFC 9110 §9.2.2: only what is safe is sent again, once, and only if a pooled connection broke before any answer. A
    /// route that `writes` by GET says that GET is not safe there.
    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        progress: &mut Progress,
        reused: bool,
    ) -> Box<Error> {
        let mut error = error.more_context(format!("Peer: {peer}"));
        let mutates = progress.handed.as_ref().is_some_and(|handed| handed.passage.mutation.is_some());
        let safe = !mutates && matches!(session.req_header().method.as_str(), "GET" | "HEAD" | "OPTIONS");
        if safe && !progress.repeated && !progress.answered && !session.as_ref().retry_buffer_truncated() {
            error.retry.decide_reuse(reused);
        } else {
            error.set_retry(false);
        }
        progress.repeated |= error.retry();
        error
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        upstream: &mut RequestHeader,
        progress: &mut Progress,
    ) -> pingora::Result<()> {
        let Some(Handed { request, passage, .. }) = &progress.handed else { return Err(status_error(500)) };
        let policy = &self.pipeline.policy;
        let trusted = &policy.server.trusted_proxies;
        let strange: Vec<_> = upstream
            .headers
            .keys()
            .filter(|name| !forwarding::is_believed(name.as_str().as_bytes(), request, trusted))
            .cloned()
            .collect();
        for name in strange {
            upstream.remove_header(&name);
        }
        for (name, value) in forwarding::about_this_hop(request, trusted, &self.pipeline.name) {
            upstream.insert_header(name, value)?;
        }
        // HTTP/2 may split them, and they are one line again; over HTTP/1.1 each line goes on as it came.
        if let Some(cookies) = request.fields.get("cookie").filter(|_| request.version == Version::Http2) {
            upstream.insert_header("Cookie", cookies)?;
        }
        // Entity-tags made here mean nothing to the origin.
        let known = entity_tag::without_ours(&request.fields);
        if known != request.fields {
            for name in ["if-match", "if-none-match", "if-range", "range"] {
                upstream.remove_header(name);
                for value in known.get_all(name) {
                    upstream.append_header(name, value)?;
                }
            }
        }
        if passage.evaluated {
            upstream.remove_header("if-match");
            upstream.remove_header("if-unmodified-since");
        }
        if policy.origin.host == HostField::Origin || !request.fields.contains("host") {
            upstream.insert_header("Host", policy.origin.authority())?;
        }
        let target =
            if request.path == "*" { "*".into() } else { format!("{}{}", policy.origin.path, request.target()) };
        upstream.set_raw_path(carried(target).as_bytes())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        progress: &mut Progress,
    ) -> pingora::Result<()> {
        let status = response.status.as_u16();
        check_readings(progress.handed.as_ref(), response)?;
        if status != 101 {
            drop_hop_by_hop(response);
        }
        // "Intermediaries … MUST send their own HTTP-version in forwarded messages" (RFC 9110 §6.2): an HTTP/1.0 in front of
        // chunks of this connection would be nonsense.
        response.set_version(http::Version::HTTP_11);
        if (100..200).contains(&status) && status != 101 {
            progress.interim += 1;
            // RFC 9110 §15.2: a server MUST NOT send a 1xx response to an HTTP/1.0 client.
            let old = session.req_header().version == http::Version::HTTP_10;
            session.set_ignore_info_resp(old || progress.interim > MAX_INTERIM);
            return Ok(());
        }
        progress.answered = true;
        let Some(Handed { passage, request, .. }) = &mut progress.handed else { return Err(status_error(500)) };
        if let CacheStatus::Forward(forwarded) = &mut passage.exchange.cache_status {
            forwarded.status = Some(status);
        }
        passage.exchange.status = status;
        passage.exchange.origin_requests = 1;
        match &mut passage.mutation {
            Some(mutation) => mutation.head(&head_of(response)),
            None => self.pipeline.heed_passed(request, passage.asked, status),
        }
        // A slot at the origin is for those who wait for a head; a stream may last for hours.
        passage.permit = None;
        if response.headers.contains_key(http::header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            response.append_header(http::header::ACCESS_CONTROL_EXPOSE_HEADERS, answer::EXPOSED)?;
        }
        response.append_header("Cache-Status", passage.exchange.cache_status.to_string())?;
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        _: &mut Session,
        _: &mut Option<Bytes>,
        end: bool,
        progress: &mut Progress,
    ) -> pingora::Result<Option<Duration>> {
        if end {
            progress.end_mutation(None);
        }
        Ok(None)
    }

    /// HTTP/1.0 knows no chunks: there the connection's end is the body's.
    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        _: &mut Progress,
    ) -> pingora::Result<()> {
        if session.req_header().version == http::Version::HTTP_10 {
            response.remove_header(&http::header::TRANSFER_ENCODING);
            if !response.headers.contains_key(http::header::CONTENT_LENGTH) {
                session.set_keepalive(None);
            }
        }
        Ok(())
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, progress: &mut Progress) -> FailToProxy {
        let failure = Failure::of(error);
        progress.end_mutation(Some(failure.is_none_or(|failure| failure.detail != Some(Detail::Connect))));
        let silent = session.response_written().is_some_and(|head| !head.status.is_informational());
        if let Some(Failure { status, why, detail }) = failure.filter(|_| !silent) {
            session.set_keepalive(None);
            let request = progress.handed.as_ref().map(|handed| &handed.request);
            let mut answer = self.pipeline.refuse(request, status, why);
            match &mut progress.handed {
                Some(Handed { passage, .. }) => {
                    passage.exchange.status = status;
                    if let CacheStatus::Forward(forwarded) = &mut passage.exchange.cache_status {
                        forwarded.detail = detail;
                        answer.head.fields.set("Cache-Status", passage.exchange.cache_status.to_string());
                    }
                }
                // It came to no exchange that would be recorded at its end.
                None => self.pipeline.observe(&answer.exchange),
            }
            // If the client has gone too, there is nobody to tell.
            drop(http2::respond(session, answer.head, answer.content).await);
            if !session.is_http2() {
                drop(timeout(writer::LINGER, session.drain_request_body()).await);
            }
        }
        FailToProxy { error_code: failure.map_or(0, |failure| failure.status), can_reuse_downstream: false }
    }

    /// The failures are the client's or the origin's; the access log has them.
    fn suppress_error_log(&self, _: &Session, _: &Progress, error: &Error) -> bool {
        *error.esource() != ErrorSource::Internal
    }

    /// What Pingora's own log lines say of a request: no query, which may hold a token.
    fn request_summary(&self, session: &Session, _: &Progress) -> String {
        let head = session.req_header();
        format!("{} {}", head.method, head.uri.path())
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, progress: &mut Progress) {
        if error.is_none() && progress.answered {
            progress.end_mutation(None);
        }
        if let Some(Handed { passage, .. }) = progress.handed.take() {
            let mut exchange = passage.exchange;
            exchange.origin_bytes = session.upstream_body_bytes_received() as u64;
            exchange.sent_bytes = session.body_bytes_sent() as u64;
            exchange.latency = self.pipeline.clock.now() - exchange.at;
            self.pipeline.observe(&exchange);
        }
    }
}

impl Progress {
    /// Ends the mutation, if there is one that has not ended: well, or having failed after the request, or a part of it,
    /// was sent or not. One dropped without this counts as of unknown outcome.
    fn end_mutation(&mut self, failed_after_sending: Option<bool>) {
        let Some(Handed { passage, .. }) = &mut self.handed else { return };
        if let Some(mutation) = passage.mutation.take() {
            passage.exchange.mutation = Some(match failed_after_sending {
                None => mutation.end(),
                Some(sent) => mutation.abandon(sent),
            });
        }
    }
}

impl Front {
    fn read(&self, session: &mut Session) -> Result<Request, Refusal> {
        let unknown = std::net::IpAddr::from([0, 0, 0, 0]);
        let client =
            session.client_addr().and_then(|address| address.as_inet()).map_or(unknown, |address| address.ip());
        let tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
        let scheme = if tls { Scheme::Https } else { Scheme::Http };
        let (has_body, rules) = (!session.is_body_empty(), Rules::of(&self.pipeline.policy, &self.pipeline.name));
        http2::request(session.req_header(), has_body, rules, Arrival { scheme, client })
    }

    /// What is to become of an HTTP/2 request.
    async fn judge(&self, session: &mut Session, progress: &mut Progress) -> pingora::Result<Handled> {
        let request = match self.read(session) {
            Ok(request) => request,
            Err(Refusal { status, why }) => return Ok(Handled::Answer(self.pipeline.refuse(None, status, why))),
        };
        let limit = self.pipeline.policy.server.limits.body;
        let announced = crate::message::content_length(&request.fields).ok().flatten();
        if limit > 0 && announced.is_some_and(|length| length > limit) {
            return Ok(self.refuse(&request, TOO_LONG));
        }
        if request.method == "TRACE" {
            return Ok(Handled::Answer(trace::answer(&self.pipeline, &request)));
        }
        let passed = match self.pipeline.classify(&request) {
            Class::Retrieve if !request.has_body => {
                return match self.pipeline.look_up(Arc::new(request), &mut Remembered::default()) {
                    Ok(answer) => Ok(Handled::Answer(answer)),
                    Err(retrieval) => http2::unless_gone(session, self.pipeline.ask_for(*retrieval, None)).await,
                };
            }
            Class::Mutate => match http2::body(session, announced, &self.pipeline).await? {
                Body::Whole(body) => {
                    let mutated = http2::unless_gone(session, self.pipeline.mutate(request, body, None)).await;
                    return mutated.map(Handled::Answer);
                }
                Body::Refused(refusal) => return Ok(self.refuse(&request, refusal)),
                Body::Long(read) => {
                    progress.read_ahead = read;
                    self.pipeline.pass(&request, Detail::Pass).await
                }
            },
            Class::Pass(why) => self.pipeline.pass(&request, why).await,
            Class::Retrieve => self.pipeline.pass(&request, Detail::RequestBody).await,
        };
        Ok(passed.map_or_else(Handled::Answer, Handled::Pass))
    }

    fn refuse(&self, request: &Request, Refusal { status, why }: Refusal) -> Handled {
        Handled::Answer(self.pipeline.refuse(Some(request), status, why))
    }

    /// Sends what the pipeline answered, and records it.
    async fn deliver(&self, session: &mut Session, answer: Answer) -> pingora::Result<()> {
        let Answer { head, content, mut exchange } = answer;
        let outcome = http2::respond(session, head, content).await;
        exchange.sent_bytes = session.body_bytes_sent() as u64;
        exchange.latency = self.pipeline.clock.now() - exchange.at;
        self.pipeline.observe(&exchange);
        outcome
    }
}

/// Holds what streams through to what [`origin::head`](crate::origin::head) asks of what is read whole: one reading.
fn check_readings(handed: Option<&Handed>, response: &ResponseHeader) -> pingora::Result<()> {
    let Some(Handed { request, upgrades, .. }) = handed else { return Err(status_error(500)) };
    let octets: usize = response.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let read = match response.status.as_u16() {
        _ if octets > head::MAX_HEAD => Err("its head is longer than is read here".to_owned()),
        // Nobody asked for another protocol: what follows is not HTTP (RFC 9110 §7.8).
        101 if !upgrades => Err("it switched protocols unasked".to_owned()),
        100..200 => Ok(()),
        status => head::framing(&request.method, status, &head_of(response).fields).map(|_| ()),
    };
    read.map_err(|why| {
        let mut error = Error::explain(ErrorType::InvalidHTTPHeader, why);
        error.as_up();
        error
    })
}

/// Takes out of a response what belongs to the origin's connection (RFC 9110 §7.6.1). Pingora sets Connection itself and
/// reads Transfer-Encoding, and passes on no trailers.
fn drop_hop_by_hop(response: &mut ResponseHeader) {
    let options: Fields =
        response.headers.get_all("connection").iter().map(|v| ("connection", v.as_bytes().to_vec())).collect();
    let framing = ["content-length", "transfer-encoding", "connection"];
    for option in crate::field::list(options.get_all("connection")) {
        let named = String::from_utf8_lossy(option).to_ascii_lowercase();
        if !framing.contains(&named.as_str()) {
            response.remove_header(named.as_str());
        }
    }
    // Upgrade without its option in Connection says what could be, as in a 426 (RFC 9110 §15.5.22).
    let stays = |name: &str| framing.contains(&name) || name == "upgrade";
    for name in connection::HOP_BY_HOP.into_iter().filter(|name| !stays(name)) {
        response.remove_header(name);
    }
    if response.status == http::StatusCode::NO_CONTENT {
        // Whatever was announced, there is no body (RFC 9112 §6.1, RFC 9110 §8.6).
        response.remove_header("content-length");
        response.remove_header("transfer-encoding");
    }
}

/// `target` in a form that Pingora can carry. Octets that no URI has (RFC 3986 §2) are percent-encoded where it would
/// refuse them: to whoever decodes that is the same name.
pub fn carried(target: String) -> String {
    if PathAndQuery::try_from(target.as_str()).is_ok() {
        return target;
    }
    ["\"", "<", ">", "`"].iter().fold(target, |target, odd| target.replace(odd, &format!("%{:02X}", odd.as_bytes()[0])))
}

fn head_of(response: &ResponseHeader) -> Head {
    let fields = response
        .case_header_iter()
        .map(|(name, value)| (Bytes::copy_from_slice(name.as_slice()), Bytes::copy_from_slice(value.as_bytes())))
        .collect();
    let reason = response.get_reason_phrase().unwrap_or_default().as_bytes().to_vec();
    Head { status: response.status.as_u16(), reason: reason.into(), fields }
}

pub(super) fn status_error(status: u16) -> Box<Error> {
    let mut error = Error::new(ErrorType::HTTPStatus(status));
    error.as_down();
    error
}

/// Whether the client's octets came, and made no sense ([`crate::edge::handover`]).
fn is_malformed(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData)
}

/// What a failure of a streamed exchange is to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failure {
    status: u16,
    why: &'static str,
    detail: Option<Detail>,
}

impl Failure {
    /// `None` where the client has gone.
    fn of(error: &Error) -> Option<Failure> {
        use ErrorType as T;
        let own = |status, why| Some(Failure { status, why, detail: Some(Detail::Refused) });
        let kind = match (error.esource(), error.etype()) {
            (_, T::HTTPStatus(413)) => return own(413, "The request's body is longer than is taken here."),
            (_, T::HTTPStatus(500)) => return own(500, "This proxy has made a mistake."),
            (ErrorSource::Downstream, T::ReadTimedout) => return own(408, "The request took too long."),
            (ErrorSource::Downstream, T::ReadError) if is_malformed(error) => {
                return own(400, "The request's body is not well chunked.");
            }
            (ErrorSource::Downstream, T::WriteError | T::WriteTimedout | T::ReadError | T::ConnectionClosed) => {
                return None;
            }
            (ErrorSource::Downstream, _) => return own(400, "The request broke off or is not valid HTTP."),
            (ErrorSource::Internal, _) => return own(500, "This proxy has made a mistake."),
            (_, T::ReadTimedout | T::WriteTimedout) => OriginErrorKind::Timeout,
            (
                _,
                T::ConnectTimedout
                | T::ConnectRefused
                | T::ConnectNoRoute
                | T::ConnectError
                | T::SocketError
                | T::TLSHandshakeFailure
                | T::TLSHandshakeTimedout
                | T::InvalidCert
                | T::HandshakeError,
            ) => OriginErrorKind::Connect,
            _ => OriginErrorKind::Protocol,
        };
        let (status, why) = rescue::answer(kind);
        Some(Failure { status, why, detail: Some(rescue::detail(kind)) })
    }
}
