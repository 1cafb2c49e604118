//! The lost-update guard (RFC 9110 §13.1.1, §13.1.4): preconditions of mutations that rest on validators computed here.
//!
//! The origin knows nothing of these validators, so it cannot evaluate them. The current representation is fetched with
//! the mutation's own credential, compared, and only then the mutation is sent; meanwhile no other mutation of the item
//! is, or the comparison would be about what is no longer there.

use crate::field::Fields;
use crate::pipeline::fetch::{Arrival, Fetch, Whole};
use crate::pipeline::subject::Subject;
use crate::pipeline::turns::Turn;
use crate::pipeline::{Answer, Content, Pipeline, own_answer};
use crate::policy::{Mode, Route};
use crate::semantics::answer;
use crate::semantics::cache_status::{CacheStatus, Detail, Forward, Forwarded};
use crate::semantics::content_coding::Form;
use crate::semantics::invalidation::{self, FenceKey};
use crate::semantics::precondition::{self, Evaluated, Update};
use crate::semantics::request::Request;
use crate::semantics::stored_response::Response;
use crate::store::Selected;
use std::sync::Arc;
use std::time::Duration;

/// A mutation that waits holds up those that come later for so long: what is under way mostly ends sooner, and the order is
/// kept. Of what does not end, one slow sale, say, and one update that has to wait for it must not close the shop.
const INSISTS: Duration = Duration::from_secs(1);

/// Leave to send a mutation.
pub(crate) struct Leave {
    pub turn: Turn,
    /// Its precondition was evaluated here and holds: the origin need not hear of it.
    pub evaluated: bool,
}

/// What a GET of the mutation's target brought.
enum Current {
    /// The representation that there is, or that there is none.
    Known(Option<Box<Response>>),
    /// Nothing that a computed validator could be compared with; the answer says why.
    Untold(Box<Answer>),
}

impl Pipeline {
    /// Waits for the mutation's turn, and evaluates its precondition where that rests on what was computed here.
    ///
    /// # Errors
    /// The proxy's own answer: 428 where the route requires If-Match, 412, 503 where other mutations of the item took too
    /// long, or that the origin could not say what there is. Nothing was sent.
    pub(crate) async fn leave_to_change(self: &Arc<Self>, request: &Request) -> Result<Leave, Box<Answer>> {
        let path = self.routes().matching_form(&request.path);
        let route = self.routes().select(&path).route;
        let required = route.require_if_match && invalidation::may_replace(request);
        if required && !precondition::names_a_version(&request.fields) {
            let why = "This resource is changed only by requests with If-Match, so that nobody overwrites what they \
                       have not seen: GET it, and send its ETag along as If-Match.";
            return Err(Box::new(self.precondition_answer(request, 428, why, None)));
        }
        // Where another entity-tag than ours would do, the origin, which may know none, would be asked to protect.
        let guarded = required || precondition::may_rest_on_ours(&request.fields, self.clock.now());
        let touches = invalidation::decide(request, self.routes()).keys;
        let shows = if guarded { self.shown_at(&path) } else { Vec::new() };
        let turn = self.turns.line_up(touches, shows);
        if !self.comes(&turn).await {
            let why =
                "Other changes of this item were under way all the time that this one could wait. It was not sent.";
            return Err(Box::new(self.precondition_answer(request, 503, why, None)));
        }
        let evaluated = guarded && self.precondition_holds(request, route, required).await?;
        Ok(Leave { turn, evaluated })
    }

    /// Whether a turn comes while its client waits.
    async fn comes(&self, turn: &Turn) -> bool {
        let comes = async {
            if tokio::time::timeout(INSISTS, turn.come()).await.is_err() {
                turn.give_way();
                turn.come().await;
            }
        };
        tokio::time::timeout(self.policy.origin.response_timeout, comes).await.is_ok()
    }

    /// What a representation of `path`, in matching form, shows whoever asks for it, in every way its origin may read it.
    fn shown_at(&self, path: &str) -> Vec<FenceKey> {
        let shows = |path: &str| invalidation::keys_of_response(path, None, &self.routes().select(path), None, false);
        let shorter = invalidation::without_empty_segments(path);
        shows(path).into_iter().chain(shorter.iter().flat_map(|path| shows(path))).collect()
    }

    /// Whether the precondition was evaluated here and holds; `false` where it is the origin's.
    async fn precondition_holds(
        self: &Arc<Self>,
        request: &Request,
        route: &Route,
        required: bool,
    ) -> Result<bool, Box<Answer>> {
        // Where no GET is answered here, nothing was ever computed, and a GET that was not asked for could change things.
        let computes = route.mode == Mode::Cache && !route.writes.iter().any(|method| method == "GET");
        let current = match computes {
            true => self.current(request).await?,
            false => Current::Known(None),
        };
        let current = match current {
            Current::Known(current) => current,
            // Nobody is told dates of what nobody may read, or of what streams with the origin's own. An entity-tag of ours
            // was told once.
            Current::Untold(answer) if request.fields.contains("if-match") => return Err(answer),
            Current::Untold(_) => return Ok(false),
        };
        match precondition::of_update(&request.fields, current.as_deref(), required, self.clock.now()) {
            Update::Holds => Ok(true),
            Update::OfTheOrigin => Ok(false),
            Update::Failed => {
                let why = "This was changed since the version that the request names: GET it again, and decide anew.";
                Err(Box::new(self.precondition_answer(request, 412, why, current.as_deref())))
            }
        }
    }

    /// The representation that the mutation's client would be sent now. It is fetched whole and kept for nobody: fields
    /// that came with a mutation are not those that the next GET comes with.
    async fn current(self: &Arc<Self>, request: &Request) -> Result<Current, Box<Answer>> {
        let subject = Arc::new(Subject::of(self, get_of(request), self.clock.now()));
        let seen = match self.store.select(&subject.key, &subject.request.fields, self.clock.now()) {
            Selected::Response { stored, .. } => stored.last_seen().map(Arc::new),
            Selected::Nothing { seen, .. } | Selected::Unstorable { seen, .. } => seen,
        };
        // Without a condition: what vouches for a stored response may be a date, of which two contents can have the same.
        let fetch = Fetch {
            pipeline: self.clone(),
            subject,
            stored: None,
            seen,
            keeps: false,
            by_head: false,
            pilot: None,
            interim: None,
        };
        match fetch.arrive().await {
            Arrival::Whole(whole) if whole.response.status < 400 => Ok(Current::Known(Some(Box::new(whole.response)))),
            // Whoever may not read it, say, is told so as the origin says it.
            Arrival::Whole(whole) if matches!(whole.response.status, 401 | 403) => {
                Ok(Current::Untold(Box::new(self.relay_whole(whole, request))))
            }
            // What cannot be said just now may have been said before, and the client may rest on it.
            Arrival::Whole(whole) if matches!(whole.response.status, 408 | 425 | 429) => {
                Err(Box::new(self.relay_whole(whole, request)))
            }
            Arrival::Whole(whole) if whole.response.status < 500 => Ok(Current::Known(None)),
            Arrival::Whole(whole) => Err(Box::new(self.relay_whole(whole, request))),
            Arrival::Stream { why: Detail::TooLarge, .. } => Ok(Current::Known(None)),
            Arrival::Stream { head, .. } => {
                let why = "What this request changes came too slowly to be compared with what its client has seen. It \
                           was not sent.";
                let answer = Box::new(self.precondition_answer(request, 503, why, None));
                if head.fields.contains("last-modified") { Ok(Current::Untold(answer)) } else { Err(answer) }
            }
            Arrival::Failed(error) => {
                let mut exchange = self.exchange(request);
                exchange.cache_status = CacheStatus::Forward(Forwarded::because(Forward::Method));
                Err(Box::new(self.failure(exchange, &error)))
            }
        }
    }

    /// What the origin said when it was asked for the current representation.
    fn relay_whole(&self, whole: Whole, request: &Request) -> Answer {
        let Whole { response, body, .. } = whole;
        let mut exchange = self.exchange(request);
        exchange.cache_status = CacheStatus::Own { detail: Some(Detail::Precondition) };
        let route = self.routes().get(exchange.route);
        let head = answer::of(
            &response,
            &Form::identity(&response),
            Evaluated::Full,
            &exchange.cache_status,
            route,
            self.clock.now(),
        );
        exchange.status = head.status;
        Answer { head, content: Content::Whole(body), exchange }
    }

    fn precondition_answer(&self, request: &Request, status: u16, why: &str, current: Option<&Response>) -> Answer {
        let mut exchange = self.exchange(request);
        exchange.cache_status = CacheStatus::Own { detail: Some(Detail::Precondition) };
        let mut answer = own_answer(exchange, status, why);
        if let Some(current) = current {
            let tag = current.validator.entity_tag();
            tag.into_iter().for_each(|tag| answer.head.fields.push("ETag", tag.to_bytes()));
            answer::readable_where(&current.fields, &mut answer.head.fields);
        }
        answer
    }
}

/// A GET of the mutation's target that selects what its client has seen: with all its fields but those that are about
/// its own content, its method and its answer, and the preconditions, which no fetch forwards.
fn get_of(request: &Request) -> Request {
    let about_the_mutation = |name: &[u8]| {
        let begins = |with: &[u8]| name.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        begins(b"content-") || begins(b"x-http-method") || is(b"x-method-override") || is(b"prefer")
    };
    let mut fields: Fields = request.fields.clone();
    fields.retain(|name, _| !about_the_mutation(name));
    Request { method: "GET".into(), fields, has_body: false, ..request.clone() }
}
