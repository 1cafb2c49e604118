//! A request that may be answered from the store, with everything that its head and its route decide about it.

use crate::field::{self, Fields};
use crate::identity::Who;
use crate::identity::acceptance::Admission;
use crate::origin::{Ask, Sending};
use crate::pipeline::Pipeline;
use crate::policy::{Freshness, Route, RouteId, Scope};
use crate::semantics::cache_key::{self, CacheKey, Partition};
use crate::semantics::forwarding;
use crate::semantics::invalidation::{self, FenceKey};
use crate::semantics::request::Request;
use crate::semantics::validation::Condition;
use crate::store::Place;
use crate::store::fences::Slots;

/// Fields that are evaluated against what comes back, and not by the origin.
const ANSWERED_HERE: [&str; 6] =
    ["range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];

/// Made once per request; a detached fetch shares it.
pub struct Subject {
    pub request: Request,
    pub route: RouteId,
    pub who: Who,
    /// Who shares what is stored for it.
    pub partition: Partition,
    pub key: CacheKey,
    /// What the origin must have accepted the caller to before the caller may share.
    pub admission: Admission,
    pub place: Place,
    /// The fences that a response stands behind.
    pub slots: Slots,
    /// The fences that a 404 or 410 stands behind: also its collection's.
    pub negative_slots: Slots,
    /// The caller's own, whether or not the scope is the caller's.
    pub credential_slots: Slots,
    /// The one of them that falls when the caller may not read this path.
    pub refusal_slots: Slots,
}

/// Whether the status says that there is nothing: what `negative` governs.
pub fn is_negative(status: u16) -> bool {
    matches!(status, 404 | 410)
}

impl Subject {
    /// Everything that is decided before the store is asked.
    pub fn of(pipeline: &Pipeline, request: Request) -> Self {
        let route = pipeline.policy.routes.select(&pipeline.policy.routes.matching_form(&request.path)).route;
        Subject::within(pipeline, request, pipeline.scope_of(route))
    }

    /// The same request, kept apart from those of other callers.
    pub fn apart(&self, pipeline: &Pipeline) -> Self {
        Subject::within(pipeline, self.request.clone(), &Scope::User)
    }

    fn within(pipeline: &Pipeline, request: Request, scope: &Scope) -> Self {
        let routes = &pipeline.policy.routes;
        let path = routes.matching_form(&request.path);
        let selected = routes.select(&path);
        let route = selected.route;
        let who = pipeline.identity.who(&request.fields, pipeline.clock.now());
        let claim = if let Scope::Claim(name) = scope { who.claim(name) } else { None };
        let caller = who.caller.key();
        let partition = cache_key::partition(scope, caller, claim);
        let trusted = forwarding::is_trusted(request.client, &pipeline.policy.server.trusted_proxies);
        let selecting = |key| match trusted {
            true => cache_key::variant(&key, &forwarding::ASKED.map(str::to_owned), &request.fields),
            false => key,
        };
        let key = selecting(cache_key::of(&request, route, &partition));
        let query = cache_key::query(request.query.as_deref(), &route.query).unwrap_or_default();
        // What others share does not fall with the credential that happened to fetch it.
        let owner = caller.filter(|_| partition.is_one_caller_s());
        let keys = |negative| invalidation::keys_of_response(&path, Some(&query), &selected, owner, negative);
        let credential =
            caller.map(|caller| [FenceKey::Credential(caller), FenceKey::CredentialAt(caller, path.clone())]);
        // Storing is exact, and so is acceptance: of another host, or of another spelling, the origin may think otherwise.
        let literal = selected.pattern.is_some() && selected.params.is_empty() && path == request.path;
        let fences = &pipeline.store.fences;
        Subject {
            slots: fences.slots(&keys(false)),
            negative_slots: fences.slots(&keys(true)),
            credential_slots: fences.slots(credential.as_ref().map_or(&[], |keys| &keys[..])),
            refusal_slots: fences.slots(credential.as_ref().map_or(&[], |keys| &keys[1..])),
            admission: match partition {
                Partition::Authenticated if literal => {
                    Admission::Route(selecting(cache_key::of_route(&request, route)))
                }
                Partition::Authenticated => Admission::Url(key.clone()),
                _ => Admission::Anywhere,
            },
            key,
            place: Place {
                route: route.id,
                entity: route.entity_id,
                id: selected.params.iter().find(|(name, _)| name == "id").map(|(_, id)| id.clone()),
                query,
                path: path.clone(),
                fetched_by: caller,
            },
            route: route.id,
            who,
            partition,
            request,
        }
    }

    /// The route.
    pub fn route<'p>(&self, pipeline: &'p Pipeline) -> &'p Route {
        pipeline.policy.routes.get(self.route)
    }

    /// The fences that a response of this status stands behind.
    pub fn slots_for(&self, status: u16) -> &Slots {
        if is_negative(status) { &self.negative_slots } else { &self.slots }
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
