//! A request that may be answered from the store, with everything that its head and its route decide about it.

use crate::clock::Timestamp;
use crate::field::{self, Fields};
use crate::identity::acceptance::Admission;
use crate::identity::{Remembered, Who};
use crate::origin::{Ask, Sending};
use crate::pipeline::Pipeline;
use crate::pipeline::exchange::Exchange;
use crate::policy::{Freshness, Route, RouteId, Scope, Selected};
use crate::semantics::cache_key::{self, CacheKey, Partition};
use crate::semantics::forwarding;
use crate::semantics::invalidation::{self, FenceKey};
use crate::semantics::request::Request;
use crate::semantics::validation::Condition;
use crate::store::Place;
use crate::store::fences::Slots;
use std::sync::{Arc, OnceLock};

/// Fields that are evaluated against what comes back, and not by the origin.
const ANSWERED_HERE: [&str; 6] =
    ["range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];

/// Made once per request; a detached fetch shares it.
pub struct Subject {
    pub request: Arc<Request>,
    pub route: RouteId,
    pub who: Who,
    /// Who shares what is stored for it.
    pub partition: Partition,
    pub key: CacheKey,
    /// What the origin must have accepted the caller to before the caller may share.
    pub admission: Admission,
    behind: OnceLock<Behind>,
}

/// Where a subject belongs, and its fences: what is stored brings its own, so a hit never asks for these.
struct Behind {
    place: Place,
    response: Slots,
    /// Also its collection's.
    negative: Slots,
}

/// Whether the status says that there is nothing: what `negative` governs.
pub fn is_negative(status: u16) -> bool {
    matches!(status, 404 | 410)
}

impl Subject {
    /// Everything that is decided before the store is asked.
    pub fn of(pipeline: &Pipeline, request: impl Into<Arc<Request>>, now: Timestamp) -> Self {
        Subject::by(pipeline, request.into(), now, &mut Remembered::default())
    }

    /// The same, on a connection that remembers who was told last.
    pub fn by(pipeline: &Pipeline, request: Arc<Request>, now: Timestamp, remembered: &mut Remembered) -> Self {
        let path = pipeline.policy.routes.matching_form(&request.path);
        let selected = pipeline.policy.routes.select(&path);
        let who = pipeline.identity.who(&request.fields, now, remembered);
        Subject::within(pipeline, request.clone(), &path, &selected, who, pipeline.scope_of(selected.route))
    }

    /// The same request, kept apart from those of other callers.
    pub fn apart(&self, pipeline: &Pipeline) -> Self {
        let path = pipeline.policy.routes.matching_form(&self.request.path);
        let selected = pipeline.policy.routes.select(&path);
        Subject::within(pipeline, self.request.clone(), &path, &selected, self.who.clone(), &Scope::User)
    }

    fn within(
        pipeline: &Pipeline,
        request: Arc<Request>,
        path: &str,
        selected: &Selected<'_>,
        who: Who,
        scope: &Scope,
    ) -> Self {
        let route = selected.route;
        let claim = if let Scope::Claim(name) = scope { who.claim(name) } else { None };
        let caller = who.caller.key();
        let partition = cache_key::partition(scope, caller, claim);
        let trusted = forwarding::is_trusted(request.client, &pipeline.policy.server.trusted_proxies);
        let selecting = |key| match trusted {
            true => cache_key::variant(&key, &forwarding::ASKED.map(str::to_owned), &request.fields),
            false => key,
        };
        let key = selecting(cache_key::of(&request, route, &partition));
        // Storing is exact, and so is acceptance: of another host, or of another spelling, the origin may think otherwise.
        let literal = selected.pattern.is_some() && selected.values.is_empty() && path == request.path;
        Subject {
            admission: match partition {
                Partition::Authenticated if literal => {
                    Admission::Route(selecting(cache_key::of_route(&request, route)))
                }
                Partition::Authenticated => Admission::Url(key.clone()),
                _ => Admission::Anywhere,
            },
            key,
            route: route.id,
            who,
            partition,
            request,
            behind: OnceLock::new(),
        }
    }

    /// A record of the request, nothing decided yet.
    pub fn exchange(&self, now: Timestamp) -> Exchange {
        Exchange {
            method: self.request.method.clone(),
            target: self.request.target(),
            caller: self.who.caller,
            ..Exchange::unread(now, self.route)
        }
    }

    /// The route.
    pub fn route<'p>(&self, pipeline: &'p Pipeline) -> &'p Route {
        pipeline.policy.routes.get(self.route)
    }

    fn behind(&self, pipeline: &Pipeline) -> &Behind {
        self.behind.get_or_init(|| {
            let path = pipeline.policy.routes.matching_form(&self.request.path);
            let selected = pipeline.policy.routes.select(&path);
            let query = cache_key::query(self.request.query.as_deref(), &selected.route.query).unwrap_or_default();
            let caller = self.who.caller.key();
            // What others share does not fall with the credential that happened to fetch it.
            let owner = caller.filter(|_| self.partition.is_one_caller_s());
            let slots = |negative| {
                let keys = invalidation::keys_of_response(&path, Some(&query), &selected, owner, negative);
                pipeline.store.fences.slots(&keys)
            };
            let (response, negative) = (slots(false), slots(true));
            let (route, entity) = (selected.route.id, selected.route.entity_id);
            let place = Place::new((route, entity), (&path, &query), selected.param("id"), caller);
            Behind { place, response, negative }
        })
    }

    /// Where what answers it belongs.
    pub fn place(&self, pipeline: &Pipeline) -> &Place {
        &self.behind(pipeline).place
    }

    /// The fences that a response stands behind.
    pub fn slots(&self, pipeline: &Pipeline) -> &Slots {
        &self.behind(pipeline).response
    }

    /// The fences that a 404 or 410 stands behind: also its collection's.
    pub fn negative_slots(&self, pipeline: &Pipeline) -> &Slots {
        &self.behind(pipeline).negative
    }

    /// The fences that a response of this status stands behind.
    pub fn slots_for(&self, pipeline: &Pipeline, status: u16) -> &Slots {
        if is_negative(status) { self.negative_slots(pipeline) } else { self.slots(pipeline) }
    }

    /// The caller's own fences, whether or not the scope is the caller's: the one that falls with the credential, and the
    /// one that falls when the caller may not read this path.
    pub fn credential_slots(&self, pipeline: &Pipeline) -> [Slots; 2] {
        let fences = &pipeline.store.fences;
        let path = || pipeline.policy.routes.matching_form(&self.request.path).into_owned();
        match self.who.caller.key() {
            Some(caller) => [FenceKey::Credential(caller), FenceKey::CredentialAt(caller, path())]
                .map(|key| fences.slots(std::slice::from_ref(&key))),
            None => [fences.slots(&[]), fences.slots(&[])],
        }
    }

    /// Which variant a request with these fields selects, once the names that vary are known.
    pub fn variant(&self, vary: &[String], fields: &Fields) -> CacheKey {
        cache_key::variant(&self.key, vary, fields)
    }

    /// What the origin is asked: a whole representation, validated with `condition` where there is one. Range and the
    /// client's own preconditions stay here, since they are evaluated against what comes back.
    pub fn ask(&self, pipeline: &Pipeline, condition: Option<&Condition>) -> Ask {
        let mut fields = pipeline.forwarded_fields(&self.request);
        fields.retain(|name, _| !ANSWERED_HERE.iter().any(|here| field::is_alike(name, here)));
        if fields.get("host").is_some_and(|host| host != self.request.authority.as_bytes()) {
            // All its spellings are one key (RFC 9110 §4.2.3): none of them may shape what the others are answered.
            fields.set("Host", self.request.authority.clone());
        }
        let route = self.route(pipeline);
        if matches!(route.freshness, Freshness::For(_)) {
            // The identity form is what is hashed and kept.
            fields.retain(|name, _| !field::is_alike(name, "accept-encoding"));
            fields.push("Accept-Encoding", "identity");
        }
        if let Some(condition) = condition {
            condition.write_to(&mut fields);
        }
        let target = match cache_key::query(self.request.query.as_deref(), &route.query) {
            Some(query) => format!("{}?{query}", self.request.path),
            None => self.request.path.clone(),
        };
        Ask {
            method: "GET".into(),
            scheme: self.request.scheme,
            target,
            fields,
            body: bytes::Bytes::new(),
            has_body: false,
            sending: Sending::RetryOnce,
        }
    }
}
