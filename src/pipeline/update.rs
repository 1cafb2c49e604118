//! The lost-update guard (RFC 9110 §13.1.1, §13.1.4): preconditions of mutations that rest on validators computed here.
//!
//! The origin knows nothing of these validators, so it cannot evaluate them. The current representation is fetched with
//! the mutation's own credential, compared, and only then the mutation is sent; meanwhile no other mutation of the item
//! is, or the comparison would be about what is no longer there.

use crate::field::Fields;
use crate::pipeline::exchange::Exchange;
use crate::pipeline::fetch::{Arrival, Fetch, Whole};
use crate::pipeline::subject::Subject;
use crate::pipeline::{Answer, Content, Pipeline, own_answer};
use crate::policy::{Credential, Routes};
use crate::semantics::answer;
use crate::semantics::cache_status::{CacheStatus, Detail, Forward, Forwarded};
use crate::semantics::invalidation::FenceKey;
use crate::semantics::precondition::{self, Evaluated, Update};
use crate::semantics::request::Request;
use crate::semantics::stored_response::Response;
use crate::store::Selected;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Fields that select what a client has seen, besides its credentials and what the route varies on.
const SELECTING: [&str; 4] = ["host", "accept", "accept-language", "origin"];

/// Whose turn it is to change an item: many mutations that look at nothing, or one that does.
#[derive(Default)]
pub struct Turns {
    items: Arc<Mutex<HashMap<FenceKey, Weak<RwLock<()>>>>>,
}

/// The leave to change an item; given back when dropped.
pub struct Turn {
    items: Arc<Mutex<HashMap<FenceKey, Weak<RwLock<()>>>>>,
    item: FenceKey,
    held: Option<Held>,
}

#[expect(dead_code, reason = "held, not looked at")]
enum Held {
    WithOthers(OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
}

impl Turns {
    async fn take(&self, item: FenceKey, alone: bool) -> Turn {
        let lock = {
            let mut items = self.items.lock().expect("no holder of this lock panics");
            let known = items.get(&item).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lock = Arc::new(RwLock::new(()));
                items.insert(item.clone(), Arc::downgrade(&lock));
                lock
            })
        };
        // Made before the wait, so that the entry goes even if the wait is given up.
        let mut turn = Turn { items: self.items.clone(), item, held: None };
        turn.held = Some(match alone {
            true => Held::Alone(lock.write_owned().await),
            false => Held::WithOthers(lock.read_owned().await),
        });
        turn
    }

    /// How many items are being changed.
    pub fn len(&self) -> usize {
        self.items.lock().expect("no holder of this lock panics").len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut items = self.items.lock().expect("no holder of this lock panics");
        drop(self.held.take());
        if items.get(&self.item).is_some_and(|lock| lock.strong_count() == 0) {
            items.remove(&self.item);
        }
    }
}

/// Leave to send a mutation.
pub(crate) struct Leave {
    pub turn: Turn,
    /// Its precondition was evaluated here and holds: the origin need not hear of it.
    pub evaluated: bool,
}

impl Pipeline {
    /// Waits for the mutation's turn, and evaluates its precondition where that rests on what was computed here.
    ///
    /// # Errors
    /// The proxy's own answer: 428 where the route requires If-Match, 412, 503 where other mutations of the item took too
    /// long, or that the origin could not say what there is. Nothing was sent.
    pub(crate) async fn leave_to_change(self: &Arc<Self>, request: &Request) -> Result<Leave, Box<Answer>> {
        let path = self.routes().matching_form(&request.path);
        let replaces = matches!(request.method.as_str(), "PUT" | "PATCH" | "DELETE");
        let required = self.routes().select(&path).route.require_if_match;
        if required && replaces && !request.fields.contains("if-match") {
            let why = "This resource is changed only by requests with If-Match, so that nobody overwrites what they \
                       have not seen: GET it, and send its ETag along as If-Match.";
            return Err(Box::new(self.precondition_answer(request, 428, why, None)));
        }
        let guarded = precondition::may_rest_on_ours(&request.fields, self.clock.now());
        let wait = self.policy.origin.response_timeout;
        let Ok(turn) = tokio::time::timeout(wait, self.turns.take(item(&path, self.routes()), guarded)).await else {
            let why =
                "Other changes of this item were under way all the time that this one could wait. It was not sent.";
            return Err(Box::new(self.precondition_answer(request, 503, why, None)));
        };
        let evaluated = guarded && self.precondition_holds(request).await?;
        Ok(Leave { turn, evaluated })
    }

    /// Whether the precondition was evaluated here and holds; `false` where it is the origin's.
    async fn precondition_holds(self: &Arc<Self>, request: &Request) -> Result<bool, Box<Answer>> {
        let current = self.current(request).await?;
        match precondition::of_update(&request.fields, current.as_ref(), self.clock.now()) {
            Update::Holds => Ok(true),
            Update::OfTheOrigin => Ok(false),
            Update::Failed => {
                let why = "This was changed since the version that the request names: GET it again, and decide anew.";
                Err(Box::new(self.precondition_answer(request, 412, why, current.as_ref())))
            }
        }
    }

    /// The representation that the mutation's client would be sent now; `None` where the origin has none.
    async fn current(self: &Arc<Self>, request: &Request) -> Result<Option<Response>, Box<Answer>> {
        let subject = Arc::new(Subject::of(self, self.same_selected(request)));
        let (stored, seen) = match self.store.select(&subject.key, &subject.request.fields, self.clock.now()) {
            Selected::Response { stored, body, .. } => (Some((stored, body)), None),
            Selected::Nothing { seen, .. } | Selected::Unstorable { seen, .. } => (None, seen),
        };
        let fetch = Fetch { pipeline: self.clone(), subject, stored, seen, pilot: None, interim: None };
        match fetch.arrive().await {
            Arrival::Whole(whole) if whole.response.status == 200 => Ok(Some(whole.response)),
            Arrival::Whole(whole) if matches!(whole.response.status, 404 | 410) => Ok(None),
            // Whoever may not read it, say, is told so as the origin says it.
            Arrival::Whole(whole) => {
                let mut exchange = self.exchange(request);
                exchange.cache_status = CacheStatus::Own { detail: Some(Detail::Precondition) };
                Err(Box::new(self.relay_whole(whole, exchange)))
            }
            Arrival::Stream { .. } => {
                let why = "What this request changes is longer than `cache.max_body`, or streams, so its precondition \
                           cannot be evaluated. It was not sent.";
                Err(Box::new(self.precondition_answer(request, 501, why, None)))
            }
            Arrival::Failed(error) => {
                let mut exchange = self.exchange(request);
                exchange.cache_status = CacheStatus::Forward(Forwarded::because(Forward::Method));
                Err(Box::new(self.failure(exchange, &error)))
            }
        }
    }

    /// A GET of the mutation's target that selects what its client has seen.
    fn same_selected(&self, request: &Request) -> Request {
        let path = self.routes().matching_form(&request.path);
        let varies = &self.routes().select(&path).route.vary;
        let selects = |name: &str| {
            let credential = |credential: &Credential| match credential {
                Credential::Field(field) => name.eq_ignore_ascii_case(field),
                Credential::Cookie(_) => name.eq_ignore_ascii_case("cookie"),
            };
            SELECTING.iter().any(|other| name.eq_ignore_ascii_case(other))
                || self.identity.credentials().iter().any(credential)
                || varies.iter().any(|other| name.eq_ignore_ascii_case(other))
        };
        let mut fields: Fields = request.fields.clone();
        fields.retain(|name, _| std::str::from_utf8(name).is_ok_and(selects));
        Request { method: "GET".into(), fields, has_body: false, ..request.clone() }
    }

    /// What the origin said when it was asked for the current representation.
    fn relay_whole(&self, whole: Whole, mut exchange: Exchange) -> Answer {
        let Whole { response, body, .. } = whole;
        let route = self.routes().get(exchange.route);
        let head = answer::of(&response, Evaluated::Full, &exchange.cache_status, route, self.clock.now());
        exchange.status = head.status;
        Answer { head, content: Content::Whole(body), exchange }
    }

    fn precondition_answer(&self, request: &Request, status: u16, why: &str, current: Option<&Response>) -> Answer {
        let mut exchange = self.exchange(request);
        exchange.cache_status = CacheStatus::Own { detail: Some(Detail::Precondition) };
        let mut answer = own_answer(exchange, status, why);
        if let Some(tag) = current.and_then(|response| response.validator.entity_tag()) {
            answer.head.fields.push("ETag", tag.to_bytes());
        }
        answer
    }
}

/// What a mutation of `path`, in matching form, changes one after the other: the item, or else what has this path.
fn item(path: &str, routes: &Routes) -> FenceKey {
    let selected = routes.select(path);
    match selected.params.iter().find(|(name, _)| name == "id") {
        Some((_, id)) => FenceKey::Item(selected.route.entity_id, id.clone()),
        None => FenceKey::Path(path.to_owned()),
    }
}
