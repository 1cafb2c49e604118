//! A fetch: one question to the origin, asked for nobody in particular.
//!
//! It runs as a task of its own, so a client that leaves changes nothing. What it brings is stored where allowed, told
//! to the waiters of its flight, and told to the one request that it was started for.

use crate::clock::Timestamp;
use crate::field::connection;
use crate::field::date::HttpDate;
use crate::field::entity_tag::EntityTag;
use crate::origin::{Framing, Head, Interim, OriginError, OriginErrorKind, Reply, rescue};
use crate::pipeline::Pipeline;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::subject::Subject;
use crate::semantics::cache_key::{CacheKey, Partition};
use crate::semantics::cache_status::{CacheStatus, Detail, Forward, Forwarded};
use crate::semantics::reuse::Standing;
use crate::semantics::stored_response::{Modified, Response};
use crate::semantics::storing::{self, Received, Seen, Storable};
use crate::semantics::validation::{self, Condition};
use crate::semantics::validator;
use crate::store::flight::Pilot;
use crate::store::{Selected, Stored, Ticket, Unstorable};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// A body that is not whole this long after its head streams to the caller it was fetched for.
const WHOLE_WITHIN: Duration = Duration::from_secs(1);

/// How often a fetch that its caller has left looks whether others still wait for its place at the origin.
const FOLLOWERS_LOOKED_FOR: Duration = Duration::from_secs(1);

/// How long it is remembered of a resource that its responses are each caller's own. Once it is over, one fetch tells
/// again.
const APART_FOR: Duration = Duration::from_secs(3600);

/// What a fetch brings the request that it was started for.
pub enum Arrival {
    Whole(Whole),
    /// Not to be waited for: it comes as the origin sends it.
    Stream {
        head: Head,
        framing: Framing,
        body: BoxStream<'static, Result<Bytes, OriginError>>,
        why: Detail,
    },
    Failed(OriginError),
}

/// What a flight's waiters are told.
#[derive(Clone, Debug, Default)]
pub enum Landing {
    /// A response that may be shared.
    Shared(Arc<Shared>),
    /// What came is not to be shared, or not yet whole: everybody fetches alone, so that an uncacheable answer makes no
    /// queue.
    #[default]
    Alone,
    /// The store has learned otherwise of what they wait for: its responses are each caller's own although the route shares,
    /// or a HEAD has outdated what is stored. Everybody starts over.
    Anew,
    /// Nothing came.
    Failed(OriginError),
}

/// A response that waiters may be handed, after their own checks.
#[derive(Debug)]
pub struct Shared {
    pub storable: Storable,
    /// Which variant it is: a waiter that selects another must not have it.
    pub variant: CacheKey,
    pub ticket: Ticket,
    pub origin_status: u16,
    pub stored: bool,
}

/// A complete response.
pub struct Whole {
    pub response: Response,
    pub body: Bytes,
    pub origin_status: u16,
    /// Bytes of body that the origin sent for it.
    pub origin_bytes: u64,
    pub stored: bool,
    /// Why it was not stored, or that its content is what was stored before.
    pub detail: Option<Detail>,
}

/// One fetch.
pub struct Fetch {
    pub pipeline: Arc<Pipeline>,
    pub subject: Arc<Subject>,
    /// What is stored, with its content: a 304 may vouch for it.
    pub stored: Option<(Arc<Stored>, Bytes)>,
    pub seen: Option<Arc<Seen>>,
    /// Whether what comes may be stored.
    pub keeps: bool,
    /// Whether only the head is wanted: the origin is asked with HEAD, and its answer may vouch for what is stored.
    pub by_head: bool,
    /// The flight that it flies, if others may wait for it.
    pub pilot: Option<Pilot<Landing>>,
    pub interim: Option<Interim>,
}

impl Fetch {
    /// Starts it for a request.
    pub fn launch(self) -> oneshot::Receiver<Arrival> {
        let (mut tell, arrival) = oneshot::channel();
        // The request may be gone when the fetch is done; what it brought is stored all the same.
        tokio::spawn(async move {
            let brought = self.run(Some(&mut tell)).await;
            drop(tell.send(brought));
        });
        arrival
    }

    /// Starts it for nobody: what is stored is stale and served meanwhile (RFC 5861 §3).
    pub fn launch_in_background(self) {
        tokio::spawn(async move {
            let pipeline = self.pipeline.clone();
            let mut exchange = pipeline.exchange(&self.subject.request);
            exchange.background = true;
            exchange.origin_requests = 1;
            let mut forwarded = Forwarded::because(Forward::Stale);
            match self.run(None).await {
                Arrival::Whole(whole) => {
                    whole.record(&mut exchange);
                    forwarded.status = Some(whole.origin_status);
                    forwarded.stored = whole.stored;
                    forwarded.detail = whole.detail;
                }
                Arrival::Stream { head, why, .. } => {
                    exchange.status = head.status;
                    forwarded.detail = Some(why);
                }
                Arrival::Failed(error) => forwarded.detail = Some(rescue::detail(error.kind)),
            }
            exchange.cache_status = CacheStatus::Forward(forwarded);
            exchange.latency = pipeline.clock.now().since(exchange.at);
            pipeline.observe(&exchange);
        });
    }

    async fn run(mut self, mut caller: Option<&mut oneshot::Sender<Arrival>>) -> Arrival {
        let arrival = match self.attempt(caller.as_deref_mut()).await {
            Ok(arrival) => arrival,
            // The 304 was about something else than what is stored: RFC 9111 §4.3.4 has nothing to select.
            Err(Mismatch) => {
                self.stored = None;
                match self.attempt(caller).await {
                    Ok(arrival) => arrival,
                    Err(Mismatch) => Arrival::Failed(OriginError {
                        kind: OriginErrorKind::Protocol,
                        cause: "the origin answered 304 to a request without preconditions".into(),
                    }),
                }
            }
        };
        if let (Arrival::Failed(error), Some(pilot)) = (&arrival, &self.pilot) {
            pilot.land(Landing::Failed(error.clone()));
        }
        arrival
    }

    /// Waits until nobody waits for it. A fetch belongs to no client, but there is none before it has a place at the origin:
    /// who asks and leaves, again and again, must not fill the line of those who stay.
    async fn forsaken(&self, caller: Option<&mut oneshot::Sender<Arrival>>) {
        let Some(caller) = caller else { return std::future::pending().await };
        caller.closed().await;
        while self.pilot.as_ref().is_some_and(Pilot::is_awaited) {
            tokio::time::sleep(FOLLOWERS_LOOKED_FOR).await;
        }
    }

    /// How the origin can vouch for what is stored. Of what was invalidated only a strong entity-tag tells, and alone:
    /// "a weak validator is representation metadata that might not change for every change to the representation data"
    /// (RFC 9110 §8.8.1), and a date of the same second, to an origin that heeds it beside the entity-tag, would bring back
    /// what a mutation has just replaced.
    fn condition(&self) -> Option<Condition> {
        let (stored, _) = self.stored.as_ref()?;
        let place = self.subject.place(&self.pipeline);
        // Its 304 would name the entity-tag that the route replaced, and so nothing that is stored.
        if self.subject.route(&self.pipeline).etag.replace {
            return None;
        }
        let standing = self.pipeline.store.fences.standing(&stored.slots, stored.mark, stored.place.path());
        let stands = matches!(standing, Standing::Valid | Standing::Expired);
        // "Not modified since" is true of what another caller is told, too, however different that is.
        let own = self.subject.partition == Partition::Public || stored.place.fetched_by == place.fetched_by;
        let condition = validation::conditional(&stored.response)?;
        match stands && own {
            true => Some(condition),
            false => condition.is_strong().then_some(Condition { modified: None, ..condition }),
        }
    }

    async fn attempt(&mut self, caller: Option<&mut oneshot::Sender<Arrival>>) -> Result<Arrival, Mismatch> {
        let pipeline = self.pipeline.clone();
        let permit = tokio::select! {
            biased;
            permit = pipeline.permit(false) => permit,
            () = self.forsaken(caller) => {
                // Whoever boards at this moment is told to go on alone.
                self.pilot = None;
                let cause = "nobody waited any longer for a place at the origin".into();
                Err(OriginError { kind: OriginErrorKind::Saturated, cause })
            }
        };
        let _permit = match permit {
            Ok(permit) => permit,
            Err(error) => return Ok(Arrival::Failed(error)),
        };
        let request_time = pipeline.clock.now();
        // "A fetch notes the sequence before it writes its request."
        let ticket = pipeline.store.begin(self.subject.negative_slots(&pipeline), request_time);
        // After the ticket: what is invalidated from here on voids that.
        let condition = self.condition();
        let sent = condition.as_ref().filter(|_| !self.by_head);
        let mut ask = self.subject.ask(&pipeline, sent);
        if self.by_head {
            ask.method = "HEAD".into();
        }
        let reply = match pipeline.origin.ask(ask, self.interim.take()).await {
            Ok(reply) => reply,
            Err(error) => return Ok(Arrival::Failed(error)),
        };
        let response_time = pipeline.clock.now();
        pipeline.heed_retry_after(&reply.head, response_time);
        if reply.head.status == 304 {
            // Whom nobody asked whether something still holds has not said so.
            sent.ok_or(Mismatch)?;
            // Nor has one that says to this hop alone how long: what is stored would be used as if that had not been said.
            if connection::hides_what_caches_heed(&reply.head.fields) {
                return Err(Mismatch);
            }
        }
        pipeline.heed_credential(&self.subject, ticket.mark(), reply.head.status, response_time);
        if reply.head.status == 304 {
            return self.validated(&reply.head, &ticket, request_time, response_time);
        }
        if self.by_head {
            return Ok(self.headed(reply.head, condition.as_ref(), &ticket, request_time, response_time));
        }
        Ok(self.receive(reply, &ticket, request_time, response_time).await)
    }

    /// Freshening a stored response upon validation (RFC 9111 §4.3.4).
    fn validated(
        &self,
        head: &Head,
        ticket: &Ticket,
        request_time: Timestamp,
        response_time: Timestamp,
    ) -> Result<Arrival, Mismatch> {
        let (stored, body) = self.stored.as_ref().ok_or(Mismatch)?;
        let route = self.subject.route(&self.pipeline);
        let response =
            validation::freshen(&stored.response, &head.fields, route, request_time, response_time).ok_or(Mismatch)?;
        Ok(self.vouched_for((stored, body), response, head, ticket, request_time))
    }

    /// Freshening with HEAD (RFC 9111 §4.3.5): "the cache SHOULD update the stored response as described below; otherwise, the
    /// cache SHOULD consider the stored response to be stale". Who asked is answered as the origin did.
    fn headed(
        &self,
        head: Head,
        condition: Option<&Condition>,
        ticket: &Ticket,
        request_time: Timestamp,
        response_time: Timestamp,
    ) -> Arrival {
        let route = self.subject.route(&self.pipeline);
        if let Some((stored, body)) = &self.stored {
            // The fields of a 200 say nothing of a stored 404, whatever validator they share.
            let both_found = head.status == 200 && stored.response.status == 200;
            let hidden = connection::hides_what_caches_heed(&head.fields);
            let freshened = condition.filter(|_| both_found && !hidden).and_then(|condition| {
                let (stored, fields) = (&stored.response, &head.fields);
                validation::freshen_by_head(stored, condition, fields, route, request_time, response_time)
            });
            if let Some(response) = freshened {
                return self.vouched_for((stored, body), response, &head, ticket, request_time);
            }
            if matches!(head.status, 200 | 404 | 410) {
                self.pipeline.store.outdate(&self.subject.key, &self.subject.request.fields, stored);
                self.land(Landing::Anew);
            }
        }
        self.pipeline.overtake_older_flights(&self.subject, ticket.mark());
        Arrival::Stream { head, framing: Framing::Empty, body: stream::empty().boxed(), why: Detail::Pass }
    }

    /// Keeps what the origin vouched for with `head`, and answers with it.
    fn vouched_for(
        &self,
        (stored, body): (&Stored, &Bytes),
        mut response: Response,
        head: &Head,
        ticket: &Ticket,
        request_time: Timestamp,
    ) -> Arrival {
        let response_time = response.response_time;
        if let (Some(_), Modified::Computed { .. }, Some(tag)) =
            (&stored.since, response.modified, response.validator.entity_tag())
        {
            // Another content was told since, with a date of its own, before which this one's must not fall back.
            let (place, today) = (self.subject.place(&self.pipeline), HttpDate(response_time.wall_seconds()));
            let first_seen = &self.pipeline.store.first_seen;
            response.modified = first_seen.claim((place.path(), place.query()), tag, today, today);
        }
        let vouched =
            Head { status: response.status, reason: response.reason.clone(), fields: response.fields.clone() };
        let framing = Framing::Length(body.len() as u64);
        let received = Received { head: &vouched, framing, body: body.clone(), request_time, response_time };
        self.pipeline.overtake_older_flights(&self.subject, ticket.mark());
        let mut whole = self.store(&received, response, ticket, head.status);
        whole.origin_bytes = 0;
        // The origin meant it for the one who asked, who is the only one to get it.
        for cookie in head.fields.get_all("set-cookie") {
            whole.response.fields.push("Set-Cookie", cookie);
        }
        whole.detail = whole.detail.or(Some(Detail::Unchanged));
        Arrival::Whole(whole)
    }

    /// Waits for the body as long as it is worth it.
    async fn receive(
        &self,
        reply: Reply,
        ticket: &Ticket,
        request_time: Timestamp,
        response_time: Timestamp,
    ) -> Arrival {
        let Reply { head, framing, mut body } = reply;
        let route = self.subject.route(&self.pipeline);
        let max_body = self.pipeline.policy.cache.max_body;
        if let Err(why) = storing::at_head(&head, framing, max_body) {
            return self.stream(head, framing, body, why);
        }
        if storing::refused_at_head(&self.subject.request, &head, route, &self.subject.partition).is_some() {
            // Nobody needs to wait for what will not be shared.
            self.land(Landing::Alone);
        }
        let mut whole = Vec::new();
        let late = tokio::time::sleep(WHOLE_WITHIN);
        tokio::pin!(late);
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = body.next() => chunk,
                () = &mut late => {
                    return self.stream(head, framing, resumed(whole, body), Detail::Streaming);
                }
            };
            match chunk {
                Some(Ok(chunk)) => whole.extend_from_slice(&chunk),
                Some(Err(error)) => return Arrival::Failed(error.after_the_head()),
                None => break,
            }
            if whole.len() as u64 > max_body {
                return self.stream(head, framing, resumed(whole, body), Detail::TooLarge);
            }
        }
        // What is stored is what is counted: a buffer that grew may be twice as long as what it holds.
        let whole = Bytes::from(whole.into_boxed_slice());
        self.keep(head, framing, whole, ticket, request_time, response_time)
    }

    /// Makes the response's validators and stores it where allowed.
    fn keep(
        &self,
        head: Head,
        framing: Framing,
        body: Bytes,
        ticket: &Ticket,
        request_time: Timestamp,
        response_time: Timestamp,
    ) -> Arrival {
        let route = self.subject.route(&self.pipeline);
        let received = Received { head: &head, framing, body, request_time, response_time };
        let previous = match &self.stored {
            Some((stored, _)) => stored.last_seen(),
            None => self.seen.as_deref().cloned(),
        };
        let place = self.subject.place(&self.pipeline);
        let claim = |tag: &EntityTag, wanted, now| {
            self.pipeline.store.first_seen.claim((place.path(), place.query()), tag, wanted, now)
        };
        let response = storing::received(&received, route, previous.as_ref(), claim);
        self.pipeline.overtake_older_flights(&self.subject, ticket.mark());
        if !self.keeps {
            return Arrival::Whole(self.unstored(&received, response, head.status));
        }
        let unchanged = self.stored.as_ref().is_some_and(|(stored, _)| stored.response.content == response.content);
        if self.diverges(&response, &received.body, ticket) {
            self.pipeline.demote(route);
            self.land(Landing::Anew);
            let whole = Whole { detail: Some(Detail::Diverged), ..self.unstored(&received, response, head.status) };
            return Arrival::Whole(whole);
        }
        let mut whole = self.store(&received, response, ticket, head.status);
        if unchanged && whole.stored {
            whole.detail = Some(Detail::Unchanged);
        }
        Arrival::Whole(whole)
    }

    /// Whether another caller, who shares with this one, was told something else, and nothing that is known of changed
    /// in between: nothing at all, since not every relation between routes may have been written down.
    fn diverges(&self, response: &Response, body: &Bytes, ticket: &Ticket) -> bool {
        let (pipeline, subject) = (&self.pipeline, &self.subject);
        if subject.partition.is_one_caller_s() {
            return false;
        }
        let Selected::Response { stored, body: before, standing: Standing::Valid } =
            pipeline.store.select(&subject.key, &subject.request.fields, response.response_time)
        else {
            return false;
        };
        // By what the route's entity-tag would be, whether or not one was given: what it leaves out differs for all.
        let tag = |response: &Response, body: &Bytes| {
            validator::entity_tag(body, response.content, &response.fields, &subject.route(pipeline).etag)
        };
        let same = tag(&stored.response, &before) == tag(response, body);
        let another = stored.place.fetched_by != subject.who.caller.key();
        another
            && stored.response.status == 200
            && response.status == 200
            && !same
            && pipeline.nothing_changed_since(stored.mark.earlier(ticket.mark()))
    }

    fn unstored(&self, received: &Received<'_>, response: Response, origin_status: u16) -> Whole {
        let origin_bytes = received.body.len() as u64;
        Whole { response, body: received.body.clone(), origin_status, origin_bytes, stored: false, detail: None }
    }

    /// Stores the response where it may be stored, for whoever may share it.
    fn store(&self, received: &Received<'_>, response: Response, ticket: &Ticket, origin_status: u16) -> Whole {
        let (pipeline, subject) = (&self.pipeline, &self.subject);
        let credentials = pipeline.identity.credentials();
        if !subject.partition.is_one_caller_s() && storing::is_for_its_caller_alone(received.head, credentials) {
            // An error page says nothing of how the resource's representations are told apart.
            if !matches!(origin_status, 200..=206 | 304) {
                self.land(Landing::Alone);
                return Whole { detail: Some(Detail::Vary), ..self.unstored(received, response, origin_status) };
            }
            let now = received.response_time;
            pipeline.store.unstorable(&subject.key, Unstorable::Apart, None, now, APART_FOR);
            let whole = self.store_for(&subject.apart(pipeline), received, response, ticket, origin_status);
            self.land(Landing::Anew);
            return whole;
        }
        let within = pipeline.policy.identity.accepted_for;
        let speaks_for_others = matches!(origin_status, 200..=206 | 304)
            || !subject.partition.is_for_the_admitted()
            || pipeline.admits(subject, within, received.response_time);
        if !speaks_for_others {
            // Some origins hide what they refuse behind 404: that is nobody else's.
            self.land(Landing::Alone);
            return Whole { detail: Some(Detail::Acceptance), ..self.unstored(received, response, origin_status) };
        }
        self.store_for(subject, received, response, ticket, origin_status)
    }

    fn store_for(
        &self,
        subject: &Subject,
        received: &Received<'_>,
        response: Response,
        ticket: &Ticket,
        origin_status: u16,
    ) -> Whole {
        let pipeline = &self.pipeline;
        let (route, credentials) = (subject.route(pipeline), pipeline.identity.credentials());
        let mut whole = self.unstored(received, response.clone(), origin_status);
        match storing::decide(&subject.request, received, response, route, &subject.partition, credentials) {
            Ok(storable) => {
                let slots = subject.slots_for(pipeline, whole.response.status).clone();
                let fields = &subject.request.fields;
                let put =
                    pipeline.store.put(ticket, &subject.key, fields, &storable, slots, subject.place(pipeline).clone());
                whole.stored = put.is_ok();
                whole.detail = put.err();
                if subject.key == self.subject.key {
                    self.share(storable, ticket, origin_status, whole.stored);
                }
            }
            Err(why) => {
                whole.detail = Some(why);
                self.land(Landing::Alone);
                if storing::refuses_the_next_too(&subject.request, whole.response.status, why) {
                    let seen = Seen::of(&whole.response);
                    self.remember(Unstorable::Refused(why), seen, received.response_time);
                }
            }
        }
        whole
    }

    fn share(&self, storable: Storable, ticket: &Ticket, origin_status: u16, stored: bool) {
        let ticket = ticket.clone();
        let variant = self.subject.variant(storable.vary(), &self.subject.request.fields);
        self.land(Landing::Shared(Arc::new(Shared { storable, variant, ticket, origin_status, stored })));
    }

    /// Hands the response on as it comes, and remembers that its resource does this.
    fn stream(
        &self,
        head: Head,
        framing: Framing,
        body: BoxStream<'static, Result<Bytes, OriginError>>,
        why: Detail,
    ) -> Arrival {
        self.land(Landing::Alone);
        self.remember(Unstorable::Streams(why), None, self.pipeline.clock.now());
        Arrival::Stream { head, framing, body, why }
    }

    fn remember(&self, why: Unstorable, seen: Option<Seen>, now: Timestamp) {
        if !self.keeps {
            return;
        }
        let key = self.pipeline.store.variant_key(&self.subject.key, &self.subject.request.fields);
        self.pipeline.store.unstorable(&key, why, seen, now, self.pipeline.policy.cache.pass_for);
    }

    fn land(&self, landing: Landing) {
        if let Some(pilot) = &self.pilot {
            pilot.land(landing);
        }
    }
}

/// A 304 that nothing stored answers to.
struct Mismatch;

/// A body of which a part has been read already.
fn resumed(
    read: Vec<u8>,
    rest: BoxStream<'static, Result<Bytes, OriginError>>,
) -> BoxStream<'static, Result<Bytes, OriginError>> {
    let read = (!read.is_empty()).then(|| Ok(read.into()));
    stream::iter(read).chain(rest).boxed()
}

impl Whole {
    /// Puts what came into the record.
    pub fn record(&self, exchange: &mut Exchange) {
        exchange.status = self.response.status;
        exchange.origin_bytes = self.origin_bytes;
        exchange.content_length = self.response.content_length;
        exchange.content = Some(self.response.content);
        exchange.json = storing::is_json_media(&self.response.fields);
    }
}
