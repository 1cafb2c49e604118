//! What would be decided about a request, for people: the same functions as a real one, and nothing sent.

use crate::pipeline::subject::Subject;
use crate::pipeline::{Class, Pipeline};
use crate::policy::{Freshness, Route};
use crate::semantics::cache_key::{self, Partition};
use crate::semantics::forwarding;
use crate::semantics::invalidation::{self, FenceKey};
use crate::semantics::request::Request;
use crate::semantics::reuse::Standing;
use crate::store::Selected;
use serde::Serialize;

/// What would be decided.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// `retrieve`, `mutate` or `pass`.
    pub class: &'static str,
    pub route: String,
    /// The pattern that the path matched.
    pub pattern: Option<String>,
    /// What tells responses apart, in words.
    pub key: Vec<String>,
    pub scope: String,
    pub lifetime: String,
    /// What the store holds for it now.
    pub stored: String,
    /// What the request would invalidate.
    pub invalidates: Vec<String>,
}

impl Pipeline {
    /// Explains `request`. Credentials enter only as "a credential is there".
    pub fn explain(&self, request: &Request) -> Explanation {
        let routes = &self.policy.routes;
        let path = routes.matching_form(&request.path);
        let selected = routes.select(&path);
        let route = selected.route;
        let class = self.classify(request);
        let invalidates = match class {
            Class::Mutate => invalidation::decide(request, routes).keys.iter().map(|key| self.named(key)).collect(),
            Class::Retrieve | Class::Pass(_) => Vec::new(),
        };
        Explanation {
            class: match class {
                Class::Retrieve => "retrieve",
                Class::Mutate => "mutate",
                Class::Pass(_) => "pass",
            },
            route: route.name.clone(),
            pattern: selected.pattern.map(|pattern| pattern.text.clone()),
            key: self.key_in_words(request, route),
            scope: self.scope_of(route).sentence(),
            lifetime: match route.freshness {
                Freshness::For(fresh) => format!("{} s, set by the route", fresh.as_secs()),
                Freshness::Origin => "what the origin's own fields say (RFC 9111)".into(),
            },
            stored: self.stored_in_words(request),
            invalidates,
        }
    }

    fn key_in_words(&self, request: &Request, route: &Route) -> Vec<String> {
        let mut parts = vec![format!("{}://{}{}", request.scheme.as_str(), request.authority, request.path)];
        parts.extend(cache_key::query(request.query.as_deref(), &route.query).map(|query| format!("query {query}")));
        parts.push(match Subject::of(self, request.clone(), self.clock.now()).partition {
            Partition::Public => "nobody's in particular".into(),
            Partition::Authenticated => "that of all whom the origin accepts".into(),
            Partition::Claim(_) => format!("that of all with the caller's {}", self.scope_of(route)),
            Partition::Caller(_) => "the caller's credentials".into(),
            Partition::Anonymous => "anonymous".into(),
        });
        parts.extend(route.vary.iter().map(|name| format!("field {name}")));
        if forwarding::is_trusted(request.client, &self.policy.server.trusted_proxies) {
            parts.extend(forwarding::ASKED.map(|name| format!("field {name}")));
        }
        parts
    }

    fn stored_in_words(&self, request: &Request) -> String {
        let subject = Subject::of(self, request.clone(), self.clock.now());
        match self.store.select(&subject.key, &request.fields, self.clock.now()) {
            Selected::Response { stored, standing, .. } => {
                let age = self.clock.now().since(stored.response.response_time).as_secs();
                let standing = match standing {
                    Standing::Valid => "may be used as its freshness allows",
                    Standing::Expired => "was purged softly, or outdated by a HEAD, and counts as expired",
                    Standing::Invalidated => "was invalidated since",
                    Standing::Unsettled => "shows what is being changed, or may have been",
                };
                format!("a {} fetched {age} s ago, which {standing}", stored.response.status)
            }
            Selected::Nothing { variants: true, .. } => "other variants".into(),
            Selected::Nothing { variants: false, .. } => "nothing".into(),
            Selected::Unstorable { .. } => "that it could not be stored lately".into(),
        }
    }

    /// A fence key in words.
    fn named(&self, key: &FenceKey) -> String {
        let entity = |id: &crate::policy::EntityId| {
            let route = self.policy.routes.iter().find(|route| route.entity_id == *id);
            route.map_or_else(String::new, |route| route.entity.clone())
        };
        match key {
            FenceKey::All => "everything".into(),
            FenceKey::Entity(id) => format!("everything of {}", entity(id)),
            FenceKey::Collections(id) => format!("the collections of {}", entity(id)),
            FenceKey::Item(id, item) => format!("{}:{item}", entity(id)),
            FenceKey::Path(path) => format!("{path} in all its queries"),
            FenceKey::Target(path, query) => format!("{path}?{query}"),
            FenceKey::Credential(_) => "what one caller was told".into(),
            FenceKey::CredentialAt(_, path) => format!("what one caller was told of {path}"),
        }
    }
}
