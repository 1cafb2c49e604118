//! How few GETs a cache could have sent to the origin: one that asks only when it must, and never answers wrongly.
//!
//! It follows the same history as the proxy and reads the same policy, lifetimes and relations included, so that the two
//! are measured by one rule. What it has not is everything that takes time: its origin answers at once, so nothing is
//! overtaken, nothing collapses, and there are no background refreshes.

use crate::policy::{Freshness, Mode, PatternKind, Policy, Relation, Route, RouteId, Routes, Scope};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// One moment of a history. Times are since its beginning and never go back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A client began a GET, which the origin would answer with 200.
    Get { at: Duration, caller: u32, path: String },
    /// A client had the whole answer to a change that was made.
    Changed { method: String, path: String },
}

/// The fewest origin GETs for `history`, where every answer is kept for `scope`.
pub fn fewest_origin_gets(history: &[Moment], policy: &Policy, scope: Scope) -> u64 {
    let mut oracle = Oracle::new(policy.clone(), scope);
    history.iter().for_each(|moment| oracle.follow(moment));
    oracle.origin_gets()
}

/// The cache that asks only when it must, at some point of a history.
#[derive(Debug)]
pub struct Oracle {
    policy: Policy,
    scope: Scope,
    /// When what is kept was fetched.
    copies: HashMap<(Owner, String), Duration>,
    /// When the origin last accepted each caller's credential.
    accepted: HashMap<u32, Duration>,
    origin_gets: u64,
}

/// Whose copy it is: a caller's in scope `user`, everyone's in scope `public`.
type Owner = Option<u32>;

impl Oracle {
    /// At the beginning, with nothing kept.
    pub fn new(policy: Policy, scope: Scope) -> Self {
        Oracle { policy, scope, copies: HashMap::new(), accepted: HashMap::new(), origin_gets: 0 }
    }

    /// How many GETs had to be sent so far.
    pub fn origin_gets(&self) -> u64 {
        self.origin_gets
    }

    /// Goes on by one moment.
    pub fn follow(&mut self, moment: &Moment) {
        match moment {
            Moment::Get { at, caller, path } => self.get(*at, *caller, path),
            Moment::Changed { method, path } => self.changed(method, path),
        }
    }

    fn get(&mut self, at: Duration, caller: u32, path: &str) {
        let owner = match self.scope {
            Scope::User => Some(caller),
            Scope::Public => None,
        };
        let copy = (owner, path.to_owned());
        let route = self.policy.routes.select(&self.policy.routes.matching_form(path)).route;
        let fresh = self.copies.get(&copy).is_some_and(|fetched| is_fresh(route, at.saturating_sub(*fetched)));
        if fresh && self.is_accepted(at, caller) {
            return;
        }
        self.origin_gets += 1;
        self.copies.insert(copy, at);
        self.accepted.insert(caller, at);
    }

    /// In scope `user` a stored response is for callers whom the origin accepted lately; in scope `public` it is for
    /// everyone.
    fn is_accepted(&self, at: Duration, caller: u32) -> bool {
        match self.scope {
            Scope::User => self
                .accepted
                .get(&caller)
                .is_some_and(|accepted| at.saturating_sub(*accepted) < self.policy.identity.accepted_for),
            Scope::Public => true,
        }
    }

    fn changed(&mut self, method: &str, path: &str) {
        let routes = &self.policy.routes;
        let reach = Reach::of(routes, method, path);
        self.copies.retain(|(_, kept), _| !reach.covers(routes, kept));
    }
}

/// RFC 9111 §4.2: a response is fresh while its lifetime exceeds its age.
fn is_fresh(route: &Route, age: Duration) -> bool {
    match (route.mode, route.freshness) {
        (Mode::Cache, Freshness::For(fresh)) => fresh > age,
        // The sample API forbids to reuse anything unasked.
        (Mode::Cache, Freshness::Origin) | (Mode::Pass, _) => false,
    }
}

/// What a change invalidates.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reach {
    routes: HashSet<RouteId>,
    /// Only the collections of these.
    collections: HashSet<RouteId>,
    /// In matching form.
    paths: HashSet<String>,
}

impl Reach {
    fn of(routes: &Routes, method: &str, path: &str) -> Reach {
        let path = routes.matching_form(path);
        let selected = routes.select(&path);
        let route = selected.route;
        // RFC 9111 §4.4: the target URI, always.
        let mut reach = Reach { paths: HashSet::from([path.clone()]), ..Reach::default() };
        match (method, selected.pattern.map(|pattern| pattern.kind)) {
            (_, None) => {
                let begins = |route: &Route| route.patterns.iter().any(|p| path.starts_with(&p.literal_prefix));
                let below = routes.iter().filter(|route| begins(route));
                reach.routes.extend(below.map(|route| route.id));
            }
            (method, _) if route.reads.iter().any(|reads| reads == method) => return Reach::default(),
            ("PUT" | "PATCH" | "DELETE", Some(PatternKind::Item)) | ("POST", Some(PatternKind::Collection)) => {
                reach.collections.extend(siblings(routes, route));
            }
            _ => reach.routes.extend(siblings(routes, route)),
        }
        for relation in &route.invalidates {
            match relation {
                Relation::Route(id) => reach.routes.extend(siblings(routes, routes.get(*id))),
                Relation::Path(template) => {
                    let put_in =
                        |text: String, (name, value): &(String, String)| text.replace(&format!("{{{name}}}"), value);
                    reach.paths.insert(selected.params.iter().fold(template.clone(), put_in));
                }
            }
        }
        reach
    }

    fn covers(&self, routes: &Routes, path: &str) -> bool {
        let path = routes.matching_form(path);
        let selected = routes.select(&path);
        let collection = selected.pattern.is_some_and(|pattern| pattern.kind == PatternKind::Collection);
        self.paths.contains(&path)
            || self.routes.contains(&selected.route.id)
            || (collection && self.collections.contains(&selected.route.id))
    }
}

/// Routes with the same entity count as one.
fn siblings<'r>(routes: &'r Routes, route: &'r Route) -> impl Iterator<Item = RouteId> + 'r {
    routes.iter().filter(|other| other.entity_id == route.entity_id).map(|other| other.id)
}
