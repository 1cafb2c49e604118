//! The second line: a mutation in, an event out.
//!
//! A mutation raises the barrier over what it may touch just before it is sent, and lowers it when the last byte of its
//! final response has been read or the exchange has failed. It invalidates before the first byte of that response goes
//! out, and again at its end. `Pipeline::invalidate` is the one door: mutations, the operator's purges and
//! whatever comes later all go through it.

use crate::changes::{Cause, Change, EntityChange};
use crate::field::{connection, entity_tag};
use crate::origin::{Ask, Framing, Head, Interim, OriginError, OriginErrorKind, Reply, Sending};
use crate::pipeline::exchange::{Exchange, MutationRecord};
use crate::pipeline::turns::Turn;
use crate::pipeline::{Answer, Content, Permit, Pipeline};
use crate::semantics::answer;
use crate::semantics::cache_status::{CacheStatus, Detail, Forward, Forwarded};
use crate::semantics::forwarding;
use crate::semantics::invalidation::{self, FenceKey, Invalidation, Outcome};
use crate::semantics::request::Request;
use crate::store::Invalidated;
use crate::store::fences::Slots;
use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A response of a mutation that is whole this soon, and no longer than `request_buffer`, is answered after the mutation
/// has ended; others are answered as they come.
const WHOLE_WITHIN: Duration = Duration::from_secs(1);

/// Chunks that a slow client may be behind before the origin is kept waiting.
const BEHIND: usize = 64;

impl Pipeline {
    /// The one door. Fences first, then the log: an event is never seen before what it announces is done.
    pub(crate) fn invalidate(&self, invalidation: Invalidation, cause: Cause, soft: bool) -> u64 {
        let invalidated = self.store.invalidate(invalidation, soft);
        self.announce(&invalidated, cause)
    }

    /// Appends what was done to the change log.
    pub(crate) fn announce(&self, invalidated: &Invalidated, cause: Cause) -> u64 {
        self.changes.append(self.change(invalidated, cause));
        invalidated.sequence()
    }

    /// The same for a prefix: it names the routes that may have a path below it or, if there is none, everything.
    pub(crate) fn announce_below(&self, prefix: &str, invalidated: &Invalidated, cause: Cause) -> u64 {
        let mut change = self.change(invalidated, cause);
        for route in self.policy.routes.may_begin_with(prefix) {
            self.name(&mut change, route.entity_id, None);
        }
        change.whole = change.routes.is_empty();
        self.changes.append(change);
        invalidated.sequence()
    }

    /// The origin said 401: all that it told this credential, and each acceptance of it, is over.
    pub(crate) fn end_credential(&self, caller: [u8; 16]) {
        self.invalidate_credential(Invalidation::of_key(FenceKey::Credential(caller)));
    }

    /// What was passed on, or was a mutation, was refused: the status says the same of its caller as that of a fetch.
    pub(crate) fn heed_refusal(&self, request: &Request, status: u16) {
        if let Some(caller) = self.identity.caller(&request.fields).key() {
            self.refused(caller, &self.policy.routes.matching_form(&request.path), status);
        }
    }

    /// 401 ends everything that the origin told a caller, 403 what it told them of this path (in matching form).
    pub(crate) fn refused(&self, caller: [u8; 16], path: &str, status: u16) {
        match status {
            401 => self.end_credential(caller),
            403 => self.invalidate_credential(Invalidation::of_key(FenceKey::CredentialAt(caller, path.to_owned()))),
            _ => {}
        }
    }

    /// What the origin told one caller is over; nobody else's business, so it is an event without names.
    pub(crate) fn invalidate_credential(&self, invalidation: Invalidation) {
        self.invalidate(invalidation, Cause::Credential, false);
    }

    fn change(&self, invalidated: &Invalidated, cause: Cause) -> Change {
        let mut change = Change {
            sequence: invalidated.sequence(),
            at: self.clock.now(),
            cause,
            whole: false,
            routes: Vec::new(),
            entities: Vec::new(),
            paths: Vec::new(),
            query_keys: Vec::new(),
        };
        for key in &invalidated.invalidation().keys {
            match key {
                FenceKey::All => change.whole = true,
                FenceKey::Entity(entity) | FenceKey::Collections(entity) => self.name(&mut change, *entity, None),
                FenceKey::Item(entity, id) => self.name(&mut change, *entity, Some(id)),
                FenceKey::Path(path) | FenceKey::Target(path, _) => change.paths.push(path.clone()),
                FenceKey::Credential(_) | FenceKey::CredentialAt(..) => {}
            }
        }
        change
    }

    fn name(&self, change: &mut Change, entity: crate::policy::EntityId, id: Option<&String>) {
        for route in self.policy.routes.iter().filter(|route| route.entity_id == entity && !route.patterns.is_empty()) {
            if !change.routes.contains(&route.name) {
                change.routes.push(route.name.clone());
                change.query_keys.push(route.query_key.clone());
            }
            let named = EntityChange { entity: route.entity.clone(), id: id.cloned() };
            if !change.entities.contains(&named) {
                change.entities.push(named);
            }
        }
    }

    /// Sends a mutation whose body has been read whole, once, and answers with what the origin says. A client that
    /// leaves changes nothing: the exchange runs as a task of its own.
    pub async fn mutate(self: &Arc<Self>, request: Request, body: Bytes, interim: Option<Interim>) -> Answer {
        let exchange = self.exchange(&request);
        let (tell, answer) = oneshot::channel();
        let sending = Mutation { pipeline: self.clone(), request, exchange: exchange.clone() };
        let running = tokio::spawn(sending.run(body, interim, tell));
        if let Ok(answer) = answer.await {
            return answer;
        }
        // It panicked: once it is gone, so is its barrier, and what it may have changed is invalidated.
        drop(running.await);
        let cause = "the exchange of a mutation ended without a word".into();
        self.failure(exchange, &OriginError { kind: OriginErrorKind::Protocol, cause })
    }
}

/// One mutation that has been read whole.
struct Mutation {
    pipeline: Arc<Pipeline>,
    request: Request,
    exchange: Exchange,
}

impl Mutation {
    async fn run(mut self, body: Bytes, interim: Option<Interim>, mut tell: oneshot::Sender<Answer>) {
        let pipeline = self.pipeline.clone();
        let mut forwarded = Forwarded::because(Forward::Method);
        self.exchange.cache_status = CacheStatus::Forward(forwarded);
        let admitted = self.admitted(&mut tell).await;
        let Some(admitted) = admitted else { return };
        let (turn, permit) = match admitted {
            Ok(admitted) => admitted,
            Err(answer) => {
                drop(tell.send(*answer));
                return;
            }
        };
        let barrier = Barrier::raise(&pipeline, &self.request);
        forwarded.detail = barrier.unrouted.then_some(Detail::Unrouted);
        self.exchange.cache_status = CacheStatus::Forward(forwarded);
        self.exchange.origin_requests = 1;
        let cap = tokio::time::sleep(pipeline.policy.origin.response_timeout);
        let work = self.exchange(body, interim, &barrier, tell, permit);
        tokio::pin!(cap, work);
        tokio::select! {
            biased;
            () = &mut work => {}
            // A mutation that hangs must not switch caching off for as long as it likes.
            () = &mut cap => {
                barrier.cap();
                // Nor must it keep others from changing the same.
                drop(turn);
                work.await;
            }
        }
    }

    /// Waits for its turn and a place at the origin. `None`: its client has left, as too many others have that wait; nothing
    /// was sent.
    async fn admitted(&mut self, caller: &mut oneshot::Sender<Answer>) -> Option<Result<(Turn, Permit), Box<Answer>>> {
        let pipeline = self.pipeline.clone();
        let mut admitted = pin!(self.admission());
        tokio::select! {
            biased;
            admitted = &mut admitted => Some(admitted),
            // A client that leaves changes nothing; one that leaves again and again must not fill the memory.
            () = caller.closed() => {
                let _left = pipeline.left_alone.try_acquire().ok()?;
                Some(admitted.await)
            }
        }
    }

    async fn admission(&mut self) -> Result<(Turn, Permit), Box<Answer>> {
        let leave = self.pipeline.leave_to_change(&self.request).await?;
        if leave.evaluated {
            forwarding::without_precondition(&mut self.request.fields);
        }
        match self.pipeline.permit(false).await {
            Ok(permit) => Ok((leave.turn, permit)),
            Err(error) => Err(Box::new(self.pipeline.failure(self.exchange.clone(), &error))),
        }
    }

    async fn exchange(
        mut self,
        body: Bytes,
        interim: Option<Interim>,
        barrier: &Barrier,
        tell: oneshot::Sender<Answer>,
        permit: Permit,
    ) {
        let pipeline = self.pipeline.clone();
        let fields = pipeline.forwarded_fields(&self.request);
        let ask = Ask {
            method: self.request.method.clone(),
            scheme: self.request.scheme,
            target: self.request.target(),
            fields: entity_tag::without_ours(&fields),
            has_body: self.request.has_body,
            body,
            sending: Sending::Once,
        };
        let reply = match pipeline.origin.ask(ask, interim).await {
            Ok(reply) => reply,
            Err(error) => {
                // No connection: nothing was sent, and nothing can have changed. Anything else may have been applied.
                let outcome = if error.kind == OriginErrorKind::Connect { Outcome::Refused } else { Outcome::Unknown };
                self.exchange.mutation = Some(barrier.end(outcome));
                say(&pipeline, tell, pipeline.failure(self.exchange, &error));
                return;
            }
        };
        barrier.head(&reply.head);
        self.relay(reply, barrier, tell, permit).await;
    }

    /// Answers with the origin's response: whole where it comes soon and is short, so that the mutation has ended
    /// before its first byte goes out; else as it comes.
    async fn relay(mut self, reply: Reply, barrier: &Barrier, tell: oneshot::Sender<Answer>, permit: Permit) {
        let Reply { head, framing, mut body } = reply;
        let outcome = invalidation::outcome(Some(head.status));
        let limit = self.pipeline.policy.origin.request_buffer;
        let mut whole = BytesMut::new();
        let late = tokio::time::sleep(WHOLE_WITHIN);
        tokio::pin!(late);
        let ended = loop {
            let chunk = tokio::select! {
                biased;
                chunk = body.next() => chunk,
                () = &mut late => break false,
            };
            match chunk {
                Some(Ok(chunk)) => whole.extend_from_slice(&chunk),
                Some(Err(error)) => {
                    self.exchange.mutation = Some(barrier.end(Outcome::Unknown));
                    say(&self.pipeline, tell, self.pipeline.failure(self.exchange, &error));
                    return;
                }
                None => break true,
            }
            if whole.len() as u64 > limit {
                break false;
            }
        };
        self.exchange.origin_bytes = whole.len() as u64;
        if ended {
            self.exchange.mutation = Some(barrier.end(outcome));
            let empty = framing == Framing::Empty;
            let content = if empty { Content::Empty } else { Content::Whole(whole.freeze()) };
            say(&self.pipeline, tell, self.answer(head, content));
            return;
        }
        self.exchange.mutation = Some(barrier.first_byte(outcome));
        let read = (!whole.is_empty()).then(|| Ok(whole.freeze()));
        let (send, receive) = mpsc::channel(BEHIND);
        let client = stream::unfold(receive, |mut receive| async { Some((receive.recv().await?, receive)) }).boxed();
        // A place at the origin is for those who wait for it; from here it may be the origin that waits for the client.
        drop(permit);
        say(&self.pipeline, tell, self.answer(head, Content::Stream { framing, body: client }));
        let whole = pump(stream::iter(read).chain(body).boxed(), &send).await;
        barrier.end(if whole { outcome } else { Outcome::Unknown });
    }

    fn answer(&self, head: Head, content: Content) -> Answer {
        let mut exchange = self.exchange.clone();
        if let CacheStatus::Forward(forwarded) = &mut exchange.cache_status {
            forwarded.status = Some(head.status);
        }
        exchange.status = head.status;
        let mut fields = connection::end_to_end(&head.fields);
        if let Content::Whole(body) = &content {
            fields.set("Content-Length", body.len().to_string());
        }
        answer::expose(&mut fields);
        fields.push("Cache-Status", exchange.cache_status.to_string());
        Answer { head: Head { fields, ..head }, content, exchange }
    }
}

/// Answers; where the client has left, what became of its mutation is recorded all the same.
fn say(pipeline: &Pipeline, tell: oneshot::Sender<Answer>, answer: Answer) {
    if let Err(unheard) = tell.send(answer) {
        pipeline.observe(&unheard.exchange);
    }
}

/// Reads a body to its end, for a client that may have left; says whether it came whole.
async fn pump(
    mut body: BoxStream<'static, Result<Bytes, OriginError>>,
    client: &mpsc::Sender<Result<Bytes, OriginError>>,
) -> bool {
    while let Some(chunk) = body.next().await {
        let failed = chunk.is_err();
        // A client that has left is no reason to leave the mutation unfinished.
        drop(client.send(chunk).await);
        if failed {
            return false;
        }
    }
    true
}

/// The barrier of one mutation. Dropped before its end, the outcome is unknown.
struct Barrier {
    pipeline: Arc<Pipeline>,
    request: Request,
    touched: Invalidation,
    unrouted: bool,
    slots: Slots,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lowered: bool,
    ended: bool,
    /// What the response's Location and Content-Location add, and where its own barrier stands.
    named: Invalidation,
    named_slots: Option<Slots>,
}

impl Barrier {
    fn raise(pipeline: &Arc<Pipeline>, request: &Request) -> Self {
        let touched = invalidation::decide(request, &pipeline.policy.routes);
        let slots = pipeline.store.fences.slots(&touched.keys);
        pipeline.store.fences.raise(&slots);
        Barrier {
            unrouted: touched.unrouted,
            pipeline: pipeline.clone(),
            request: request.clone(),
            touched,
            slots,
            state: Mutex::default(),
        }
    }

    /// The final head has come.
    fn head(&self, head: &Head) {
        if head.status < 400 {
            let policy = &self.pipeline.policy;
            let named = |request| invalidation::named_by_response(request, &head.fields, &policy.routes);
            // The origin may know itself by the name that it was asked by or, behind another proxy, by that one's.
            let asked = forwarding::as_asked(&self.request, &policy.server.trusted_proxies);
            self.raise_over(named(&self.request).with(named(&asked)));
        }
        self.pipeline.heed_refusal(&self.request, head.status);
    }

    /// What the response names is known only now; until the mutation has ended, it is kept out of the store like the rest.
    fn raise_over(&self, named: Invalidation) {
        let mut state = self.state();
        if !state.lowered {
            let slots = self.pipeline.store.fences.slots(&named.keys);
            self.pipeline.store.fences.raise(&slots);
            state.named_slots = Some(slots);
        }
        state.named = named;
    }

    /// The first byte of the response is about to go out, and the rest has not been read.
    fn first_byte(&self, outcome: Outcome) -> MutationRecord {
        self.carry_out(outcome)
    }

    /// The last byte has been read, or there will be none.
    fn end(&self, outcome: Outcome) -> MutationRecord {
        self.state().ended = true;
        let record = self.carry_out(outcome);
        self.lower();
        record
    }

    /// The barrier has stood as long as it may; what becomes of the mutation is unknown from here.
    fn cap(&self) {
        self.carry_out(Outcome::Unknown);
        self.lower();
    }

    fn lower(&self) {
        let mut state = self.state();
        if !state.lowered {
            state.lowered = true;
            self.pipeline.store.fences.lower(&self.slots);
            state.named_slots.iter().for_each(|slots| self.pipeline.store.fences.lower(slots));
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Invalidates what the outcome calls for; quarantine first, so that nothing slips in between the two.
    fn carry_out(&self, outcome: Outcome) -> MutationRecord {
        let invalidation = self.touched.clone().with(self.state().named.clone());
        let record = |invalidated| MutationRecord { outcome, invalidated, unrouted: self.unrouted };
        let quarantine = self.pipeline.policy.origin.quarantine;
        let settle = invalidation::settle(&invalidation, &self.pipeline.policy.routes);
        let (cause, unsettled) = match outcome {
            Outcome::Refused => return record(0),
            Outcome::Done => (Cause::Mutation, settle),
            Outcome::Unknown => (Cause::Unknown, quarantine.max(settle)),
            Outcome::Accepted if settle > Duration::ZERO => (Cause::Mutation, settle),
            Outcome::Accepted => (Cause::Mutation, quarantine),
        };
        let now = self.pipeline.clock.now();
        if unsettled > Duration::ZERO {
            let slots = self.pipeline.store.fences.slots(&invalidation.keys);
            self.pipeline.store.fences.quarantine(&slots, now + unsettled);
        }
        let count = invalidation::reach(&invalidation, &self.pipeline.policy.routes);
        if outcome == Outcome::Accepted && self.state().ended {
            self.invalidate_once_more(invalidation.clone(), unsettled);
        }
        self.pipeline.invalidate(invalidation, cause, false);
        record(count)
    }

    /// 202: what was accepted is done later; whoever read meanwhile is told then.
    fn invalidate_once_more(&self, invalidation: Invalidation, after: Duration) {
        let pipeline = self.pipeline.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            pipeline.invalidate(invalidation, Cause::Settled, false);
        });
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        if !self.state().ended {
            self.carry_out(Outcome::Unknown);
        }
        self.lower();
    }
}

/// A mutation whose body is too long to be read whole: it streams between client and origin, and only here does a
/// client that leaves make the outcome unknown.
pub struct StreamedMutation {
    barrier: Arc<Barrier>,
    outcome: Outcome,
    record: Option<MutationRecord>,
    /// Given back once the barrier is down.
    _turn: Arc<Mutex<Option<Turn>>>,
}

impl StreamedMutation {
    pub(crate) fn begin(pipeline: &Arc<Pipeline>, request: &Request, turn: Turn) -> Self {
        let barrier = Arc::new(Barrier::raise(pipeline, request));
        let cap = pipeline.policy.origin.response_timeout;
        let turn = Arc::new(Mutex::new(Some(turn)));
        let (watched, held) = (Arc::downgrade(&barrier), Arc::downgrade(&turn));
        tokio::spawn(async move {
            tokio::time::sleep(cap).await;
            if let Some(barrier) = watched.upgrade() {
                barrier.cap();
            }
            // Whoever sends a byte a minute must not keep others from changing the same.
            if let Some(turn) = held.upgrade() {
                drop(turn.lock().expect("no holder of this lock panics").take());
            }
        });
        StreamedMutation { barrier, outcome: Outcome::Unknown, record: None, _turn: turn }
    }

    /// The final head has come; call before its first byte goes out.
    pub fn head(&mut self, head: &Head) {
        self.outcome = invalidation::outcome(Some(head.status));
        self.barrier.head(head);
        self.record = Some(self.barrier.first_byte(self.outcome));
    }

    /// The last byte has been read. Dropped without this, the outcome is unknown.
    pub fn end(self) -> MutationRecord {
        self.barrier.end(self.outcome)
    }

    /// There will be no final response, or not the whole of one. `sent`: whether anything of the request may have been;
    /// where nothing was, nothing can have changed.
    pub fn abandon(self, sent: bool) -> MutationRecord {
        self.barrier.end(if sent { Outcome::Unknown } else { Outcome::Refused })
    }
}

impl fmt::Debug for StreamedMutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamedMutation").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}
