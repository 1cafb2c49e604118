//! The first line: a request in, a response out.

use crate::clock::Timestamp;
use crate::field::connection;
use crate::identity::Remembered;
use crate::origin::{Framing, Interim, OriginError, OriginErrorKind, rescue};
use crate::pipeline::exchange::Exchange;
use crate::pipeline::fetch::{Arrival, Fetch, Landing, Shared, Whole};
use crate::pipeline::subject::{Subject, is_negative};
use crate::pipeline::{Answer, Content, Handled, Pipeline, own_answer};
use crate::policy::{Freshness as Lifetime, Mode, Route};
use crate::semantics::answer;
use crate::semantics::cache_status::{CacheStatus, Detail, Forward, Forwarded};
use crate::semantics::freshness::{self, Freshness};
use crate::semantics::precondition::Evaluated;
use crate::semantics::request::Request;
use crate::semantics::reuse::{self, Found, Reuse, Standing};
use crate::semantics::stored_response::Response;
use crate::semantics::storing::{self, Seen};
use crate::semantics::validation;
use crate::store::fences::Epoch;
use crate::store::flight::{Boarding, Pilot};
use crate::store::{Selected, Stored, Unstorable};
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What the store gave for one request.
struct Candidate {
    stored: Option<(Arc<Stored>, Bytes, Standing)>,
    variants: bool,
    seen: Option<Arc<Seen>>,
    /// Its responses cannot be shared, so nobody waits for another's.
    alone: bool,
}

/// Why there is no candidate.
enum NoCandidate {
    /// The resource streams.
    Streams(Detail),
    /// Its responses are each caller's own.
    Apart,
}

/// Where a request stands when it begins to wait.
#[derive(Clone, Copy)]
struct Joined {
    epoch: Epoch,
    /// Mutations of the collection that had begun.
    creations: u64,
    /// When what a 404 stands behind was last invalidated.
    invalidated: u64,
}

impl Joined {
    fn now(pipeline: &Pipeline, flying: &Subject) -> Self {
        let fences = &pipeline.store.fences;
        Joined {
            epoch: fences.epoch(flying.slots(pipeline)),
            creations: fences.begun(flying.negative_slots(pipeline)),
            invalidated: fences.last_invalidated(flying.negative_slots(pipeline)),
        }
    }
}

type Deadline = Pin<Box<tokio::time::Sleep>>;

/// A request that the store could not answer at once.
pub struct Retrieval {
    subject: Arc<Subject>,
    exchange: Exchange,
    next: Next,
}

/// What the store answers at once.
enum Settled {
    Hit { candidate: Candidate, ttl: i64, detail: Option<Detail> },
    Unsatisfiable,
}

/// What takes the origin.
enum Next {
    StreamPast(Forward, Detail),
    Fetch(Wanted),
}

/// What a fetch is for.
struct Wanted {
    candidate: Candidate,
    because: Forward,
    detail: Option<Detail>,
}

impl Pipeline {
    /// Answers a GET or HEAD, from the store where that is right and from the origin where it is not.
    ///
    /// `interim` takes the origin's 1xx while a fetch is under way that was started for this request.
    pub async fn retrieve(self: &Arc<Self>, request: impl Into<Arc<Request>>, interim: Option<Interim>) -> Handled {
        match self.look_up(request.into(), &mut Remembered::default()) {
            Ok(answer) => Handled::Answer(answer),
            Err(retrieval) => self.ask_for(*retrieval, interim).await,
        }
    }

    /// The first half of it: what the store says at once.
    ///
    /// # Errors
    /// The request is the origin's; [`ask_for`](Self::ask_for) goes on from here.
    pub fn look_up(
        self: &Arc<Self>,
        request: Arc<Request>,
        remembered: &mut Remembered,
    ) -> Result<Answer, Box<Retrieval>> {
        let now = self.clock.now();
        let mut subject = Arc::new(Subject::by(self, request, now, remembered));
        let exchange = subject.exchange(now);
        match self.look(&mut subject, now) {
            Ok(settled) => Ok(self.settle(&subject, settled, exchange, now)),
            Err(next) => Err(Box::new(Retrieval { subject, exchange, next })),
        }
    }

    /// The second half: what takes the origin.
    pub async fn ask_for(self: &Arc<Self>, retrieval: Retrieval, mut interim: Option<Interim>) -> Handled {
        let Retrieval { mut subject, exchange, mut next } = retrieval;
        let mut deadline: Deadline = Box::pin(tokio::time::sleep(self.policy.origin.response_timeout));
        loop {
            let wanted = match next {
                Next::StreamPast(because, why) => return self.stream_past(&subject, because, why).await,
                Next::Fetch(wanted) => wanted,
            };
            if let Some(answer) = self.fetched(&subject, wanted, &exchange, &mut deadline, &mut interim).await {
                return Handled::Answer(answer);
            }
            // The flight was somebody else's, or what it shows was invalidated: start over.
            let now = self.clock.now();
            next = match self.look(&mut subject, now) {
                Ok(settled) => return Handled::Answer(self.settle(&subject, settled, exchange, now)),
                Err(next) => next,
            };
        }
    }

    /// What the store has for the request, and what is to be done about it.
    fn look(self: &Arc<Self>, subject: &mut Arc<Subject>, now: Timestamp) -> Result<Settled, Next> {
        let route = self.policy.routes.get(subject.route);
        if route.mode == Mode::Pass {
            return Err(Next::StreamPast(Forward::Bypass, Detail::Pass));
        }
        let candidate = loop {
            if subject.partition.is_for_the_admitted() && self.demoted.contains(subject.route) {
                *subject = Arc::new(subject.apart(self));
            }
            match self.candidate(subject, now) {
                Ok(candidate) => break candidate,
                Err(NoCandidate::Streams(why)) => return Err(Next::StreamPast(Forward::Bypass, why)),
                Err(NoCandidate::Apart) => *subject = Arc::new(subject.apart(self)),
            }
        };
        match self.decide(subject, &candidate, now) {
            Reuse::Hit { ttl, detail } => Ok(Settled::Hit { candidate, ttl, detail }),
            Reuse::Renew { ttl } => {
                self.renew(subject, &candidate, now);
                Ok(Settled::Hit { candidate, ttl, detail: Some(Detail::StaleWhileRevalidate) })
            }
            Reuse::Unsatisfiable => Ok(Settled::Unsatisfiable),
            Reuse::Fetch { because, detail } => Err(match forwarded_as_it_came(&subject.request, route) {
                Some(as_it_came) if candidate.stored.is_none() => Next::StreamPast(because, as_it_came),
                _ => Next::Fetch(Wanted { candidate, because, detail }),
            }),
        }
    }

    fn settle(self: &Arc<Self>, subject: &Subject, settled: Settled, mut exchange: Exchange, now: Timestamp) -> Answer {
        match settled {
            Settled::Hit { candidate, ttl, detail } => {
                exchange.cache_status = CacheStatus::Hit { ttl, detail };
                self.answer_stored(subject, &candidate, exchange, now)
            }
            Settled::Unsatisfiable => unsatisfiable(exchange),
        }
    }

    /// Fetches, or waits for the fetch of another; `None` where what came of that leads back to the store.
    async fn fetched(
        self: &Arc<Self>,
        subject: &Arc<Subject>,
        wanted: Wanted,
        exchange: &Exchange,
        deadline: &mut Deadline,
        interim: &mut Option<Interim>,
    ) -> Option<Answer> {
        let Wanted { candidate, because, detail } = wanted;
        let mut forwarded = Forwarded { detail, ..Forwarded::because(because) };
        let by_head = wants_the_head_alone(&subject.request, &candidate, subject.route(self));
        let admitted = self.admits(subject, self.policy.identity.accepted_for, self.clock.now());
        // One whose right to share has not been shown neither leads those who may share, nor waits for them.
        let flying = if admitted { subject.clone() } else { Arc::new(subject.apart(self)) };
        let joined = Joined::now(self, &flying);
        let fetch = |pilot, interim| Fetch { by_head, ..self.fetch(subject, &candidate, pilot, interim) };
        let arrival = match self.board(&flying, &candidate, joined.epoch, by_head) {
            Boarding::Lead(pilot) => fetch(Some(pilot), interim.take()).arrive().await,
            Boarding::Wait(landing) => match wait(landing, deadline).await {
                Landing::Shared(shared) => {
                    if admitted && !self.may_still_share(subject) {
                        return None;
                    }
                    return self.handed_over(subject, &flying, &shared, joined, forwarded, exchange);
                }
                Landing::Anew => return None,
                Landing::Alone => within(deadline, fetch(None, interim.take()).arrive()).await,
                Landing::Failed(error) => {
                    forwarded.collapsed = true;
                    Arrival::Failed(error)
                }
            },
        };
        let saturated = matches!(&arrival, Arrival::Failed(OriginError { kind: OriginErrorKind::Saturated, .. }));
        let origin_requests = u32::from(!forwarded.collapsed && !saturated);
        Some(self.arrived(subject, &candidate, arrival, forwarded, Exchange { origin_requests, ..exchange.clone() }))
    }

    /// What the store has, or that it streams.
    fn candidate(&self, subject: &Subject, now: Timestamp) -> Result<Candidate, NoCandidate> {
        let nothing = |variants, seen, alone| Candidate { stored: None, variants, seen, alone };
        match self.store.select(&subject.key, &subject.request.fields, now) {
            Selected::Response { stored, body, standing } => {
                Ok(Candidate { stored: Some((stored, body, standing)), variants: true, seen: None, alone: false })
            }
            Selected::Nothing { variants, seen } => Ok(nothing(variants, seen, false)),
            Selected::Unstorable { why: Unstorable::Refused(_), seen } => Ok(nothing(false, seen, true)),
            Selected::Unstorable { why: Unstorable::Streams(why), .. } => Err(NoCandidate::Streams(why)),
            Selected::Unstorable { why: Unstorable::Apart, .. } => Err(NoCandidate::Apart),
        }
    }

    fn decide(&self, subject: &Subject, candidate: &Candidate, now: Timestamp) -> Reuse {
        let found = candidate
            .stored
            .as_ref()
            .map(|(stored, _, standing)| Found { response: &stored.response, standing: *standing });
        let route = subject.route(self);
        let accepted = self.admits(subject, self.policy.identity.accepted_for, now);
        reuse::decide(&subject.request, found, candidate.variants, accepted, route, now)
    }

    /// Whether a caller who might share when it began to wait may do so now.
    fn may_still_share(&self, subject: &Subject) -> bool {
        let demoted = subject.partition.is_for_the_admitted() && self.demoted.contains(subject.route);
        !demoted && self.admits(subject, self.policy.identity.accepted_for, self.clock.now())
    }

    fn board(&self, subject: &Subject, candidate: &Candidate, epoch: Epoch, by_head: bool) -> Boarding<Landing> {
        let fences = &self.store.fences;
        let key = self.store.variant_key(&subject.key, &subject.request.fields);
        // Where nothing can be shared, a flight would only make a queue: everybody leads their own.
        let flights = if by_head { &self.head_flights } else { &self.flights };
        flights.board(&key, epoch, |then| {
            !candidate.alone && fences.may_join(subject.slots(self), then, subject.place(self).path())
        })
    }

    fn fetch(
        self: &Arc<Self>,
        subject: &Arc<Subject>,
        candidate: &Candidate,
        pilot: Option<Pilot<Landing>>,
        interim: Option<Interim>,
    ) -> Fetch {
        Fetch {
            pipeline: self.clone(),
            subject: subject.clone(),
            stored: candidate.stored.as_ref().map(|(stored, body, _)| (stored.clone(), body.clone())),
            seen: candidate.seen.clone(),
            keeps: true,
            by_head: false,
            pilot,
            interim,
        }
    }

    /// Renews what is served stale: one fetch, however many ask, and none while the origin wants rest.
    fn renew(self: &Arc<Self>, subject: &Arc<Subject>, candidate: &Candidate, now: Timestamp) {
        if !self.may_work_in_background(now) {
            return;
        }
        let epoch = self.store.fences.epoch(subject.slots(self));
        // Only who is admitted is answered with what is stored, and only then is it renewed.
        if let Boarding::Lead(pilot) = self.board(subject, candidate, epoch, false) {
            self.fetch(subject, candidate, Some(pilot), None).launch_in_background();
        }
    }

    /// What another request's fetch brought, if this one may have it.
    fn handed_over(
        self: &Arc<Self>,
        subject: &Subject,
        flying: &Subject,
        shared: &Shared,
        joined: Joined,
        mut forwarded: Forwarded,
        exchange: &Exchange,
    ) -> Option<Answer> {
        let response = shared.storable.response();
        let slots = flying.slots_for(self, response.status);
        let same_variant = subject.variant(shared.storable.vary(), &subject.request.fields) == shared.variant;
        // Whoever came during a creation may have seen what it made in its collection, and is not told that there is none;
        // nor is who came after what it stands behind was invalidated, be that not the last time.
        let from_before_a_creation = is_negative(response.status)
            && (joined.creations != shared.ticket.creations() || joined.invalidated > shared.ticket.mark().sequence());
        let stands = self.store.may_hand_over(slots, &shared.ticket, joined.epoch, subject.place(self).path());
        if !same_variant || !stands || from_before_a_creation {
            return None;
        }
        forwarded.collapsed = true;
        forwarded.stored = shared.stored;
        forwarded.status = Some(shared.origin_status);
        let mut exchange = exchange.clone();
        exchange.cache_status = CacheStatus::Forward(forwarded);
        Some(self.answer(subject, response, shared.storable.body(), exchange, self.clock.now()))
    }

    /// The answer to the request that a fetch was made for.
    fn arrived(
        self: &Arc<Self>,
        subject: &Subject,
        candidate: &Candidate,
        arrival: Arrival,
        mut forwarded: Forwarded,
        mut exchange: Exchange,
    ) -> Answer {
        match arrival {
            Arrival::Whole(whole) => {
                if is_an_error(whole.origin_status)
                    && let Some(answer) = self.stale_if_error(subject, candidate, &exchange, None)
                {
                    return answer;
                }
                let Whole { origin_status, stored, detail, .. } = whole;
                forwarded.status = Some(origin_status);
                forwarded.stored = stored;
                forwarded.detail = detail.filter(|detail| *detail != Detail::Unchanged).or(forwarded.detail).or(detail);
                exchange.cache_status = CacheStatus::Forward(forwarded);
                whole.record(&mut exchange);
                self.answer(subject, &whole.response, &whole.body, exchange, self.clock.now())
            }
            Arrival::Stream { head, framing, body, why } => {
                if is_an_error(head.status)
                    && let Some(answer) = self.stale_if_error(subject, candidate, &exchange, None)
                {
                    return answer;
                }
                forwarded.status = Some(head.status);
                forwarded.detail = Some(why);
                exchange.status = head.status;
                exchange.cache_status = CacheStatus::Forward(forwarded);
                let mut head = crate::origin::Head { fields: connection::end_to_end(&head.fields), ..head };
                answer::expose(&mut head.fields);
                head.fields.push("Cache-Status", exchange.cache_status.to_string());
                let content =
                    if framing == Framing::Empty { Content::Empty } else { Content::Stream { framing, body } };
                Answer { head, content, exchange }
            }
            Arrival::Failed(error) => {
                if let Some(answer) = self.stale_if_error(subject, candidate, &exchange, Some(error.kind)) {
                    tracing::warn!(target: "freshgate", cause = %error.cause, "the origin failed; answered stale");
                    return answer;
                }
                forwarded.detail = Some(rescue::detail(error.kind));
                exchange.cache_status = CacheStatus::Forward(forwarded);
                self.failure(exchange, &error)
            }
        }
    }

    /// The stored response, where the origin's failure lets it be used (RFC 5861 §4, RFC 9111 §4.2.4). Never one that
    /// was invalidated, and never for a caller whom the origin has not accepted in time: "While the origin can't be
    /// reached, the last acceptance holds for `stale_if_error`". Whoever gets an answer, be it a 500, reached it.
    /// `failed`: why no whole answer came.
    fn stale_if_error(
        self: &Arc<Self>,
        subject: &Subject,
        candidate: &Candidate,
        exchange: &Exchange,
        failed: Option<OriginErrorKind>,
    ) -> Option<Answer> {
        use OriginErrorKind::{BrokenOff, Connect, Protocol};
        let now = self.clock.now();
        let route = subject.route(self);
        let (stored, ..) = candidate.stored.as_ref()?;
        let standing = self.store.fences.standing(&stored.slots, stored.mark, stored.place.path());
        if !matches!(standing, Standing::Valid | Standing::Expired) {
            return None;
        }
        let allowance = freshness::stale_allowance(&stored.response, route, self.policy.cache.stale_on_disconnect);
        let disconnected = matches!(failed, Some(Connect | Protocol | BrokenOff));
        let accepted = reuse::accepted_on_error(&subject.request, &stored.response, route);
        let limit = if disconnected { allowance.if_disconnected } else { allowance.if_error }.max(accepted);
        let by = match freshness::of(&stored.response, route, now) {
            Freshness::Fresh { .. } => Duration::ZERO,
            Freshness::Stale { by } => by,
        };
        let accepted_for = match failed.is_some_and(OriginErrorKind::is_silence) {
            true => route.stale_if_error.max(self.policy.identity.accepted_for),
            false => self.policy.identity.accepted_for,
        };
        if by >= limit || !self.admits(subject, accepted_for, now) {
            return None;
        }
        let mut exchange = exchange.clone();
        let ttl = -i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
        exchange.cache_status = CacheStatus::Hit { ttl, detail: Some(Detail::StaleIfError) };
        Some(self.answer_stored(subject, candidate, exchange, now))
    }

    fn answer_stored(
        self: &Arc<Self>,
        subject: &Subject,
        candidate: &Candidate,
        exchange: Exchange,
        now: Timestamp,
    ) -> Answer {
        let (stored, body, _) = candidate.stored.as_ref().expect("a hit has a stored response");
        self.answer(subject, &stored.response, body, exchange, now)
    }

    /// The only exit: preconditions are evaluated here, against whatever was selected.
    fn answer(
        self: &Arc<Self>,
        subject: &Subject,
        response: &Response,
        body: &Bytes,
        mut exchange: Exchange,
        now: Timestamp,
    ) -> Answer {
        let request = &subject.request;
        let held = match &exchange.cache_status {
            CacheStatus::Hit { .. } => true,
            // In a store that is nearly full, what was asked for once does not take twice the room.
            CacheStatus::Forward(forwarded) => forwarded.stored && !self.store.nearly_full(),
            CacheStatus::Own { .. } => false,
        };
        let (form, body, evaluated) = self.select_form(request, response, body, held, now);
        let head = answer::of(response, &form, evaluated, &exchange.cache_status, subject.route(self), now);
        let content = match evaluated {
            _ if request.method == "HEAD" || head.status == 204 => Content::Empty,
            Evaluated::Full => Content::Whole(body),
            Evaluated::Part { first, last } => Content::Whole(part(&body, first, last)),
            Evaluated::NotModified | Evaluated::PreconditionFailed | Evaluated::RangeNotSatisfiable => Content::Empty,
        };
        exchange.status = head.status;
        exchange.content_length = response.content_length;
        exchange.content = Some(response.content);
        exchange.json = storing::is_json_media(&response.fields);
        Answer { head, content, exchange }
    }

    async fn stream_past(self: &Arc<Self>, subject: &Subject, because: Forward, why: Detail) -> Handled {
        match self.pass_because(&subject.request, because, why).await {
            Ok(passage) => Handled::Pass(passage),
            Err(answer) => Handled::Answer(answer),
        }
    }
}

impl Fetch {
    /// Runs detached, and waits.
    pub(crate) fn arrive(self) -> impl Future<Output = Arrival> {
        let arrival = self.launch();
        async move {
            arrival.await.unwrap_or_else(|_| {
                Arrival::Failed(OriginError {
                    kind: OriginErrorKind::Protocol,
                    cause: "the fetch ended without a word".into(),
                })
            })
        }
    }
}

/// "In plain mode a Range or HEAD miss is forwarded as it came": nothing whole would come of it. What is stored is no
/// miss: it is validated, and stands in where the origin cannot be reached.
fn forwarded_as_it_came(request: &Request, route: &Route) -> Option<Detail> {
    match route.freshness {
        Lifetime::For(_) => None,
        Lifetime::Origin if request.method == "HEAD" => Some(Detail::Pass),
        Lifetime::Origin => request.fields.contains("range").then_some(Detail::Range),
    }
}

/// "In this context, an error is any situation which would result in a 500, 502, 503 or 504 HTTP response status code being
/// returned" (RFC 5861 §4).
fn is_an_error(status: u16) -> bool {
    matches!(status, 500 | 502..=504)
}

/// Whether the origin is asked with HEAD although something is stored, in plain mode: "transmission of the content is not
/// desired even if it has changed" (RFC 9111 §4.3.5). Without a validator of the origin's a HEAD could tell nothing of what
/// is stored, and a condition or a range is evaluated against what is whole. Where one has told that it is outdated, the
/// next HEAD would tell no more.
fn wants_the_head_alone(request: &Request, candidate: &Candidate, route: &Route) -> bool {
    let stored = candidate.stored.as_ref();
    let can_be_told_of =
        stored.is_some_and(|(stored, ..)| !stored.outdated && validation::conditional(&stored.response).is_some());
    let evaluated = ["range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];
    request.method == "HEAD"
        && route.freshness == Lifetime::Origin
        && can_be_told_of
        && !evaluated.iter().any(|name| request.fields.contains(name))
}

/// The answer to one who wants what is stored and nothing else.
fn unsatisfiable(mut exchange: Exchange) -> Answer {
    exchange.cache_status = CacheStatus::Own { detail: Some(Detail::OnlyIfCached) };
    own_answer(exchange, 504, "The request allows only what is stored, and nothing usable is.")
}

/// Waits for a flight to land; one that has not by the waiter's own deadline has failed it.
async fn wait(mut landing: watch::Receiver<Option<Landing>>, deadline: &mut Deadline) -> Landing {
    loop {
        if let Some(landing) = landing.borrow_and_update().clone() {
            return landing;
        }
        tokio::select! {
            biased;
            changed = landing.changed() => if changed.is_err() {
                return Landing::Alone;
            },
            () = deadline.as_mut() => return Landing::Failed(out_of_time()),
        }
    }
}

/// One who has waited in vain goes on alone to the same deadline.
async fn within(deadline: &mut Deadline, arrival: impl Future<Output = Arrival>) -> Arrival {
    tokio::select! {
        biased;
        arrival = arrival => arrival,
        () = deadline.as_mut() => Arrival::Failed(out_of_time()),
    }
}

fn out_of_time() -> OriginError {
    let cause = "a collapsed request waited for the origin until its own deadline".into();
    OriginError { kind: OriginErrorKind::Timeout, cause }
}

/// The octets `first` to `last`, both included.
fn part(body: &Bytes, first: u64, last: u64) -> Bytes {
    let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX).min(body.len());
    body.slice(at(first)..at(last.saturating_add(1)))
}
