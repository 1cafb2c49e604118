//! The operator's purge, through the same door as every mutation.

use crate::changes::Cause;
use crate::pipeline::Pipeline;
use crate::policy::{EntityId, RouteId};
use crate::semantics::cache_key;
use crate::semantics::invalidation::{FenceKey, Invalidation};
use crate::store::Place;

/// What is purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Path and query; without a query, all queries.
    Key(String),
    Route(RouteId),
    /// Every route of the entity, or, with an id, that item.
    Entity {
        id: EntityId,
        item: Option<String>,
    },
    /// All paths that begin so.
    Prefix(String),
    All,
}

impl Pipeline {
    /// Invalidates what `selector` names; `soft` lets stale rules still apply. Returns the number of the event.
    pub fn purge(&self, selector: &Selector, soft: bool) -> u64 {
        let routes = &self.policy.routes;
        let keys = match selector {
            Selector::Key(key) => {
                let (path, query) = self.stored_key(key);
                vec![match query {
                    None => FenceKey::Path(path),
                    Some(query) => FenceKey::Target(path, query),
                }]
            }
            Selector::Route(id) => vec![FenceKey::Entity(routes.get(*id).entity_id)],
            Selector::Entity { id: entity, item: None } => vec![FenceKey::Entity(*entity)],
            Selector::Entity { id: entity, item: Some(id) } => {
                vec![FenceKey::Item(*entity, self.stored_id(id)), FenceKey::Collections(*entity)]
            }
            Selector::All => vec![FenceKey::All],
            Selector::Prefix(prefix) => {
                let prefix = self.prefix(prefix);
                let invalidated = self.store.invalidate_prefix(&prefix, soft);
                return self.announce_below(&prefix, &invalidated, Cause::Purge);
            }
        };
        self.invalidate(Invalidation { keys, unrouted: false }, Cause::Purge, soft)
    }

    /// How many stored responses a purge of `selector` would reach. Looks at every one.
    pub fn matched(&self, selector: &Selector) -> usize {
        let routes = &self.policy.routes;
        match selector {
            Selector::Key(key) => {
                let (path, query) = self.stored_key(key);
                self.store.count(|at| at.path() == path && query.as_ref().is_none_or(|query| at.query() == *query))
            }
            Selector::Route(id) => {
                let entity = routes.get(*id).entity_id;
                self.store.count(|at| at.entity == entity)
            }
            Selector::Entity { id: entity, item: None } => self.store.count(|at| at.entity == *entity),
            Selector::Entity { id: entity, item: Some(id) } => {
                let id = self.stored_id(id);
                let reaches = |at: &Place| at.id().is_none_or(|at| at == id);
                self.store.count(|at| at.entity == *entity && reaches(at))
            }
            Selector::Prefix(prefix) => {
                let prefix = self.prefix(prefix);
                self.store.count(|at| at.path().starts_with(&prefix))
            }
            Selector::All => self.store.count(|_| true),
        }
    }

    /// Path and query as responses are stored under them.
    fn stored_key(&self, key: &str) -> (String, Option<String>) {
        let (path, query) = key.split_once('?').map_or((key, None), |(path, query)| (path, Some(query)));
        let path = self.policy.routes.matching_form(path);
        let route = self.policy.routes.select(&path).route;
        let query = query.map(|query| cache_key::query(Some(query), &route.query).unwrap_or_default());
        (path.into_owned(), query)
    }

    /// An item's id as paths in matching form hold it.
    fn stored_id(&self, id: &str) -> String {
        if self.policy.origin.case_insensitive { id.to_lowercase() } else { id.to_owned() }
    }

    /// A prefix in matching form, its trailing slash kept: `/a/` is not the beginning of `/ab`.
    fn prefix(&self, prefix: &str) -> String {
        let form = self.policy.routes.matching_form(prefix).into_owned();
        if prefix.ends_with('/') && !form.ends_with('/') { form + "/" } else { form }
    }
}
