//! The operator's purge, through the same door as every mutation.

use crate::changes::Cause;
use crate::pipeline::Pipeline;
use crate::policy::{EntityId, RouteId};
use crate::semantics::cache_key;
use crate::semantics::invalidation::{FenceKey, Invalidation};
use crate::store::Place;

/// What an operator can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A path in all its queries, or, with a query, that one.
    Path {
        path: String,
        query: Option<String>,
    },
    /// A route and those that share its entity.
    Route(RouteId),
    /// Every route of an entity, or one of its items and its collections.
    Entity {
        entity: EntityId,
        id: Option<String>,
    },
    /// All paths that begin so.
    Prefix(String),
    All,
}

impl Pipeline {
    /// Invalidates what `target` names; `soft` lets stale rules still apply. Returns the number of the event.
    pub fn purge(&self, target: &Target, soft: bool) -> u64 {
        let routes = &self.policy.routes;
        let keys = match target {
            Target::Path { path, query: None } => vec![FenceKey::Path(routes.matching_form(path))],
            Target::Path { path, query: Some(query) } => {
                let path = routes.matching_form(path);
                let query = self.stored_query(&path, query);
                vec![FenceKey::Target(path, query)]
            }
            Target::Route(id) => vec![FenceKey::Entity(routes.get(*id).entity_id)],
            Target::Entity { entity, id: None } => vec![FenceKey::Entity(*entity)],
            Target::Entity { entity, id: Some(id) } => {
                vec![FenceKey::Item(*entity, self.stored_id(id)), FenceKey::Collections(*entity)]
            }
            Target::All => vec![FenceKey::All],
            Target::Prefix(prefix) => {
                let invalidated = self.store.invalidate_prefix(&self.prefix(prefix), soft);
                return self.announce(&invalidated, Cause::Purge);
            }
        };
        self.invalidate(Invalidation { keys, unrouted: false }, Cause::Purge, soft)
    }

    /// How many stored responses a purge of `target` would reach. Looks at every one.
    pub fn matched(&self, target: &Target) -> usize {
        let routes = &self.policy.routes;
        match target {
            Target::Path { path, query } => {
                let path = routes.matching_form(path);
                let query = query.as_ref().map(|query| self.stored_query(&path, query));
                self.store.count(|at| at.path == path && query.as_ref().is_none_or(|query| at.query == *query))
            }
            Target::Route(id) => {
                let entity = routes.get(*id).entity_id;
                self.store.count(|at| at.entity == entity)
            }
            Target::Entity { entity, id: None } => self.store.count(|at| at.entity == *entity),
            Target::Entity { entity, id: Some(id) } => {
                let id = self.stored_id(id);
                let reaches = |at: &Place| at.id.as_ref().is_none_or(|at| *at == id);
                self.store.count(|at| at.entity == *entity && reaches(at))
            }
            Target::Prefix(prefix) => {
                let prefix = self.prefix(prefix);
                self.store.count(|at| at.path.starts_with(&prefix))
            }
            Target::All => self.store.count(|_| true),
        }
    }

    /// A query as the responses at `path`, in matching form, are stored under it.
    fn stored_query(&self, path: &str, query: &str) -> String {
        let route = self.policy.routes.select(path).route;
        cache_key::query(Some(query), &route.query).unwrap_or_default()
    }

    /// An item's id as paths in matching form hold it.
    fn stored_id(&self, id: &str) -> String {
        if self.policy.origin.case_insensitive { id.to_lowercase() } else { id.to_owned() }
    }

    /// A prefix in matching form, its trailing slash kept: `/a/` is not the beginning of `/ab`.
    fn prefix(&self, prefix: &str) -> String {
        let form = self.policy.routes.matching_form(prefix);
        if prefix.ends_with('/') && !form.ends_with('/') { form + "/" } else { form }
    }
}
