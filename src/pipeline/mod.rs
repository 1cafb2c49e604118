//! The two lines and nothing else: [`retrieve`](Pipeline::retrieve) and [`mutate`](Pipeline::mutate).
//!
//! A request is classified from its head, becomes a [`Subject`](subject::Subject), and ends as an [`Answer`] or as a
//! [`Passage`], which is to be streamed past the store. Decisions are made in `semantics`; here they are carried out.

pub mod admission;
pub mod exchange;
pub mod explain;
pub mod fetch;
pub mod form;
pub mod mutate;
pub mod purge;
pub mod retrieve;
pub mod subject;
pub mod turns;
pub mod update;

use crate::changes::log::Log;
use crate::clock::{Clock, Timestamp};
use crate::field::date::HttpDate;
use crate::field::{self, Fields, retry_after};
use crate::identity::acceptance::Acceptances;
use crate::identity::jwt::Verifier;
use crate::identity::{Caller, Identity};
use crate::origin::{Framing, Head, Origin, OriginError, OriginErrorKind, rescue};
use crate::policy::{Policy, Routes};
use crate::semantics::cache_status::{CacheStatus, Detail, Forward, Forwarded};
use crate::semantics::request::Request;
use crate::semantics::{forwarding, invalidation};
use crate::store::Store;
use crate::store::fences::Mark;
use crate::store::flight::Flights;
use admission::Demoted;
use bytes::Bytes;
use exchange::Exchange;
use fetch::Landing;
use futures_util::stream::BoxStream;
use mutate::StreamedMutation;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use turns::Turns;

/// Changes that are remembered.
const CHANGES: usize = 10_000;

/// Mutations that wait for the origin although their clients have left; each holds up to `origin.request_buffer`.
const MAX_LEFT_ALONE: usize = 64;

/// What kind of request this is, from its head alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// May be answered from the store.
    Retrieve,
    /// May change something.
    Mutate,
    /// Is only passed on.
    Pass(Detail),
}

/// A whole answer of ours.
#[derive(Debug)]
pub struct Answer {
    /// Status and complete end-to-end fields.
    pub head: Head,
    pub content: Content,
    pub exchange: Exchange,
}

/// The content of an answer.
pub enum Content {
    /// None: HEAD, 304, 204. Content-Length, where it is among the fields, is that of the 200.
    Empty,
    Whole(Bytes),
    /// Comes as the origin sends it; an error must end the message visibly broken.
    Stream {
        framing: Framing,
        body: BoxStream<'static, Result<Bytes, OriginError>>,
    },
}

impl Content {
    /// How many octets it has, where that is known before its end.
    pub fn length(&self) -> Option<usize> {
        match self {
            Content::Empty | Content::Stream { framing: Framing::Empty, .. } => Some(0),
            Content::Whole(body) => Some(body.len()),
            Content::Stream { framing: Framing::Length(length), .. } => usize::try_from(*length).ok(),
            Content::Stream { framing: Framing::Chunked | Framing::CloseDelimited, .. } => None,
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Empty => f.write_str("Empty"),
            Content::Whole(body) => write!(f, "Whole({} bytes)", body.len()),
            Content::Stream { framing, .. } => write!(f, "Stream({framing:?})"),
        }
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Handled {
    Answer(Answer),
    /// To be streamed between client and origin.
    Pass(Passage),
}

/// Leave to stream a request past the store.
#[derive(Debug)]
pub struct Passage {
    pub exchange: Exchange,
    /// For a mutation that is too large to be read whole: its barrier.
    pub mutation: Option<StreamedMutation>,
    /// Its precondition was evaluated here and holds: the origin need not hear of it.
    pub evaluated: bool,
    /// One of the origin's `max_concurrent`; held until the final head has come.
    pub permit: Option<Permit>,
    /// Noted before the request is sent: a refusal that comes after it has the last word.
    pub asked: Mark,
}

/// Leave to have one request at the origin.
#[derive(Debug)]
pub struct Permit {
    _request: OwnedSemaphorePermit,
    _upload: Option<OwnedSemaphorePermit>,
}

/// Where records of exchanges go.
pub type Observer = Arc<dyn Fn(&Exchange) + Send + Sync>;

/// Everything that the two lines need.
pub struct Pipeline {
    pub policy: Arc<Policy>,
    pub clock: Arc<dyn Clock>,
    pub store: Store,
    flights: Flights<Landing>,
    /// Those that ask with HEAD about what is stored: their answer is whole only where it vouches for that.
    head_flights: Flights<Landing>,
    pub identity: Identity,
    /// What this proxy is called in `Via`.
    pub name: String,
    pub changes: Arc<Log>,
    acceptances: Acceptances<Mark>,
    demoted: Demoted,
    pub turns: Turns,
    origin: Arc<dyn Origin>,
    observer: Observer,
    permits: Arc<Semaphore>,
    /// How many of those may be for requests whose bodies stream: who sends a byte a minute must not keep out all others.
    uploads: Arc<Semaphore>,
    /// How many mutations may wait for the origin whose clients have left.
    left_alone: Semaphore,
    /// Boot time in milliseconds until which background work leaves the origin alone: it said 429 with Retry-After.
    rests_until: AtomicU64,
}

impl Pipeline {
    /// A pipeline with an empty store. `key` hashes credentials and names the process; it must be random and secret.
    pub fn new(
        policy: Arc<Policy>,
        origin: Arc<dyn Origin>,
        clock: Arc<dyn Clock>,
        observer: Observer,
        key: [u8; 32],
    ) -> Arc<Self> {
        let entities = policy.routes.iter().map(|route| usize::from(route.entity_id.0) + 1).max().unwrap_or(1);
        // 0 means no limit, which is a limit that no process reaches.
        let permits = match policy.origin.max_concurrent {
            0 => Semaphore::MAX_PERMITS,
            limit => limit,
        };
        let identity =
            Identity::new(key, policy.identity.credentials.clone(), policy.identity.jwt.as_ref().map(Verifier::new));
        Arc::new(Pipeline {
            store: Store::new(policy.cache.memory, entities),
            flights: Flights::default(),
            head_flights: Flights::default(),
            name: forwarding::pseudonym(identity.number()),
            identity,
            changes: Arc::new(Log::new(CHANGES)),
            acceptances: Acceptances::default(),
            demoted: Demoted::none(policy.routes.iter().map(|route| usize::from(route.id.0) + 1).max().unwrap_or(0)),
            turns: Turns::default(),
            permits: Arc::new(Semaphore::new(permits)),
            uploads: Arc::new(Semaphore::new((permits / 2).max(1))),
            left_alone: Semaphore::new(MAX_LEFT_ALONE),
            rests_until: AtomicU64::new(0),
            policy,
            clock,
            origin,
            observer,
        })
    }

    /// The fields of `request` as the origin is to get them.
    fn forwarded_fields(&self, request: &Request) -> Fields {
        forwarding::forwarded_fields(request, &self.policy.server.trusted_proxies, &self.name)
    }

    fn routes(&self) -> &Routes {
        &self.policy.routes
    }

    /// What kind of request this is.
    pub fn classify(&self, request: &Request) -> Class {
        if invalidation::is_mutation(request, self.routes().governing(&request.method, &request.path)) {
            return Class::Mutate;
        }
        if upgrades(&request.fields) {
            return Class::Pass(Detail::Upgrade);
        }
        match request.method.as_str() {
            "GET" | "HEAD" if request.has_body => Class::Pass(Detail::RequestBody),
            // What an origin answers to HEAD or OPTIONS by the name of GET would be stored as the answer to a GET.
            "GET" | "HEAD"
                if !invalidation::overrides(&request.fields).all(|method| method.eq_ignore_ascii_case(b"GET")) =>
            {
                Class::Pass(Detail::Pass)
            }
            "GET" | "HEAD" => Class::Retrieve,
            _ => Class::Pass(Detail::Pass),
        }
    }

    /// Leave to stream a request between client and origin; a mutation among them gets its barrier here.
    ///
    /// # Errors
    /// The proxy's own 503, when the origin had no room for the whole deadline.
    pub async fn pass(self: &Arc<Self>, request: &Request, why: Detail) -> Result<Passage, Answer> {
        let reads = matches!(request.method.as_str(), "GET" | "HEAD") && self.classify(request) != Class::Mutate;
        self.pass_because(request, if reads { Forward::Bypass } else { Forward::Method }, why).await
    }

    async fn pass_because(
        self: &Arc<Self>,
        request: &Request,
        reason: Forward,
        why: Detail,
    ) -> Result<Passage, Answer> {
        let mut exchange = self.exchange(request);
        let mutates = self.classify(request) == Class::Mutate;
        // "If the received value is zero (0), the intermediary MUST NOT forward the request; instead, the intermediary MUST
        // respond as the final recipient" (RFC 9110 §7.6.2).
        if forwarding::forwards_left(request) == Some(0) && !mutates {
            return Err(own_options(exchange));
        }
        let mut forwarded = Forwarded::because(reason);
        forwarded.detail = Some(why);
        exchange.cache_status = CacheStatus::Forward(forwarded);
        exchange.origin_requests = 1;
        let leave = match mutates {
            true => Some(self.leave_to_change(request).await.map_err(|answer| *answer)?),
            false => None,
        };
        let permit = match self.permit(request.has_body).await {
            Ok(permit) => permit,
            Err(error) => return Err(self.failure(exchange, &error)),
        };
        let evaluated = leave.as_ref().is_some_and(|leave| leave.evaluated);
        let mutation = leave.map(|leave| StreamedMutation::begin(self, request, leave.turn));
        let asked = self.store.fences.mark(self.clock.now());
        Ok(Passage { exchange, mutation, evaluated, permit: Some(permit), asked })
    }

    /// Hands the finished record of an exchange to whoever counts.
    pub fn observe(&self, exchange: &Exchange) {
        (self.observer)(exchange);
    }

    /// The proxy's own refusal of a request.
    pub fn refuse(&self, request: Option<&Request>, status: u16, why: &str) -> Answer {
        let mut exchange = match request {
            Some(request) => self.exchange(request),
            None => Exchange::unread(self.clock.now(), self.routes().implicit().id),
        };
        exchange.cache_status = CacheStatus::Own { detail: Some(Detail::Refused) };
        own_answer(exchange, status, why)
    }

    /// One of the origin's `max_concurrent` requests; waited for as long as for an answer. `uploads`: its body comes as
    /// the client sends it.
    async fn permit(&self, uploads: bool) -> Result<Permit, OriginError> {
        let one = async |of: &Arc<Semaphore>| of.clone().acquire_owned().await.expect("the semaphore is never closed");
        let both = async {
            let _upload = if uploads { Some(one(&self.uploads).await) } else { None };
            Permit { _request: one(&self.permits).await, _upload }
        };
        match tokio::time::timeout(self.policy.origin.response_timeout, both).await {
            Ok(permit) => Ok(permit),
            Err(_) => Err(OriginError {
                kind: OriginErrorKind::Saturated,
                cause: format!("{} requests to the origin were under way", self.policy.origin.max_concurrent),
            }),
        }
    }

    /// The answer to a request whose origin failed.
    fn failure(&self, mut exchange: Exchange, error: &OriginError) -> Answer {
        let (status, why) = rescue::answer(error.kind);
        let detail = rescue::detail(error.kind);
        exchange.cache_status = match exchange.cache_status {
            CacheStatus::Forward(forwarded) => {
                CacheStatus::Forward(Forwarded { detail: Some(detail), stored: false, ..forwarded })
            }
            CacheStatus::Hit { .. } | CacheStatus::Own { .. } => CacheStatus::Own { detail: Some(detail) },
        };
        tracing::warn!(target: "freshgate", cause = %error.cause, status, "the origin failed");
        own_answer(exchange, status, why)
    }

    /// A record of `request`, nothing decided yet.
    fn exchange(&self, request: &Request) -> Exchange {
        let path = self.routes().matching_form(&request.path);
        let mut exchange = Exchange::unread(self.clock.now(), self.routes().select(&path).route.id);
        exchange.method.clone_from(&request.method);
        exchange.target = request.target();
        exchange.caller = self.identity.caller(&request.fields);
        exchange
    }

    /// Whether background work may ask the origin.
    fn may_work_in_background(&self, now: Timestamp) -> bool {
        now.boot_ms >= self.rests_until.load(Relaxed)
    }

    /// Heeds `429` with Retry-After (RFC 9110 §10.2.3, RFC 6585 §4); an hour at most.
    fn heed_retry_after(&self, head: &Head, now: Timestamp) {
        let wait = retry_after::wait(&head.fields, HttpDate(now.wall_seconds()));
        if let (429, Some(wait)) = (head.status, wait) {
            self.rests_until.fetch_max((now + wait.min(Duration::from_secs(3600))).boot_ms, Relaxed);
        }
    }
}

/// Whether another protocol is asked for. "A server MAY ignore a received Upgrade header field if it wishes to continue
/// using the current protocol on that connection" (RFC 9110 §7.8): some clients offer HTTP/2 with each request.
fn upgrades(fields: &Fields) -> bool {
    field::list(fields.get_all("upgrade")).any(|protocol| !protocol.eq_ignore_ascii_case(b"h2c"))
}

/// What this proxy passes on (RFC 9110 §10.2.1); the origin knows which of these it takes.
const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The answer to an OPTIONS that is for this proxy: "A server generating a successful response to OPTIONS SHOULD send any
/// header that might indicate optional features implemented by the server" (RFC 9110 §9.3.7).
fn own_options(mut exchange: Exchange) -> Answer {
    let mut fields = Fields::new();
    fields.push("Allow", ALLOWED);
    fields.push("Date", HttpDate(exchange.at.wall_seconds()).to_string());
    fields.push("Cache-Status", exchange.cache_status.to_string());
    exchange.status = 204;
    Answer { head: Head { status: 204, reason: reason(204).into(), fields }, content: Content::Empty, exchange }
}

/// An answer made here: a problem document (RFC 9457) that no cache keeps.
fn own_answer(mut exchange: Exchange, status: u16, why: &str) -> Answer {
    let title = reason(status);
    let body = serde_json::json!({ "type": "about:blank", "title": title, "status": status, "detail": why });
    let body = Bytes::from(body.to_string());
    let mut fields = Fields::new();
    fields.push("Content-Type", "application/problem+json");
    fields.push("Content-Length", body.len().to_string());
    fields.push("Cache-Control", "no-store");
    if status == 503 {
        fields.push("Retry-After", "1");
    }
    if status == 405 {
        fields.push("Allow", ALLOWED);
    }
    fields.push("Date", HttpDate(exchange.at.wall_seconds()).to_string());
    fields.push("Cache-Status", exchange.cache_status.to_string());
    let content = if exchange.method == "HEAD" { Content::Empty } else { Content::Whole(body) };
    exchange.status = status;
    Answer { head: Head { status, reason: title.into(), fields }, content, exchange }
}

/// The phrase that RFC 9110 §15 gives a status.
fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("")
}

impl Exchange {
    /// A record of a request of which nothing is known.
    pub(crate) fn unread(at: Timestamp, route: crate::policy::RouteId) -> Self {
        Exchange {
            at,
            route,
            method: String::new(),
            target: String::new(),
            caller: Caller::Anonymous,
            status: 0,
            cache_status: CacheStatus::Own { detail: None },
            origin_requests: 0,
            origin_bytes: 0,
            content_length: 0,
            content: None,
            json: false,
            sent_bytes: 0,
            latency: Duration::ZERO,
            background: false,
            mutation: None,
        }
    }
}
