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
    /// When the origin last accepted each caller's credential, and for what.
    accepted: HashMap<(u32, AcceptedTo), Duration>,
    origin_gets: u64,
}

/// Whose copy it is: a caller's in scope `user`, everyone's in the others, since all callers are of one tenant.
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
        let owner = (self.scope == Scope::User).then_some(caller);
        let copy = (owner, path.to_owned());
        let matched = self.policy.routes.matching_form(path);
        let selected = self.policy.routes.select(&matched);
        let fresh = self.copies.get(&copy).is_some_and(|fetched| is_fresh(selected.route, at.saturating_sub(*fetched)));
        // What the origin must have accepted the caller to lately; everyone may read what is public, and these callers'
        // tokens live all day.
        let admission = match self.scope {
            Scope::User => Some(AcceptedTo::Api),
            Scope::Authenticated if selected.values.is_empty() => Some(AcceptedTo::Route(selected.route.id)),
            Scope::Authenticated => Some(AcceptedTo::Path(matched.clone().into_owned())),
            Scope::Claim(_) | Scope::Public => None,
        };
        let within = self.policy.identity.accepted_for;
        let lately = |accepted: &Duration| at.saturating_sub(*accepted) < within;
        let accepted = admission
            .as_ref()
            .is_none_or(|admission| self.accepted.get(&(caller, admission.clone())).is_some_and(lately));
        if fresh && accepted {
            return;
        }
        self.origin_gets += 1;
        self.copies.insert(copy, at);
        self.accepted.extend(admission.map(|admission| ((caller, admission), at)));
    }

    fn changed(&mut self, method: &str, path: &str) {
        let routes = &self.policy.routes;
        let reach = Reach::of(routes, method, path);
        self.copies.retain(|(_, kept), _| !reach.covers(routes, kept));
    }
}

/// What a cashier was accepted to. Every request of the day names one host and spells its path one way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum AcceptedTo {
    Api,
    Route(RouteId),
    Path(String),
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
        let mut reach = Reach { paths: HashSet::from([path.clone().into_owned()]), ..Reach::default() };
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
                        |text: String, (name, value): (&str, &str)| text.replace(&format!("{{{name}}}"), value);
                    reach.paths.insert(selected.params().fold(template.clone(), put_in));
                }
            }
        }
        reach
    }

    fn covers(&self, routes: &Routes, path: &str) -> bool {
        let path = routes.matching_form(path);
        let selected = routes.select(&path);
        let collection = selected.pattern.is_some_and(|pattern| pattern.kind != PatternKind::Item);
        self.paths.contains(&*path)
            || self.routes.contains(&selected.route.id)
            || (collection && self.collections.contains(&selected.route.id))
    }
}

/// Routes with the same entity count as one.
fn siblings<'r>(routes: &'r Routes, route: &'r Route) -> impl Iterator<Item = RouteId> + 'r {
    routes.iter().filter(|other| other.entity_id == route.entity_id).map(|other| other.id)
}

#[cfg(test)]
mod tests {
    use super::super::day::{Action, schedule};
    use super::super::fixture::{self, Row};
    use super::*;

    const ROUTES: &[Row<'static>] = &[
        ("categories", &["/categories", "/categories/{id}"], Some(600), &["products"]),
        ("products", &["/products", "/products/{id}"], Some(300), &[]),
        ("stock", &["/stock"], Some(30), &[]),
        ("adjustments", &["/products/{id}/adjust"], None, &["stock"]),
        ("plain", &["/plain"], None, &[]),
    ];

    fn get(at: u64, caller: u32, path: &str) -> Moment {
        Moment::Get { at: Duration::from_secs(at), caller, path: path.into() }
    }

    fn changed(method: &str, path: &str) -> Moment {
        Moment::Changed { method: method.into(), path: path.into() }
    }

    #[track_caller]
    fn check(scope: Scope, history: &[Moment], expected: u64) {
        assert_eq!(fewest_origin_gets(history, &fixture::policy(ROUTES), scope), expected, "{history:#?}");
    }

    #[test]
    fn nothing_asked_is_nothing_sent() {
        check(Scope::User, &[], 0);
        check(Scope::User, &[changed("POST", "/products")], 0);
    }

    #[test]
    fn a_copy_serves_while_its_lifetime_exceeds_its_age() {
        check(Scope::User, &[get(0, 1, "/stock"), get(29, 1, "/stock")], 1);
        check(Scope::User, &[get(0, 1, "/stock"), get(30, 1, "/stock")], 2);
    }

    #[test]
    fn plain_mode_always_asks() {
        check(Scope::Public, &[get(0, 1, "/plain"), get(0, 1, "/plain"), get(1, 1, "/elsewhere")], 3);
    }

    #[test]
    fn scope_decides_who_shares() {
        let history = [get(0, 1, "/products"), get(1, 2, "/products"), get(2, 1, "/products")];
        check(Scope::User, &history, 2);
        check(Scope::Public, &history, 1);
    }

    #[test]
    fn a_credential_not_accepted_lately_is_shown_to_the_origin() {
        let history = [get(0, 1, "/products"), get(59, 1, "/products"), get(60, 1, "/products")];
        check(Scope::User, &history, 2);
        check(Scope::Public, &history, 1);
    }

    #[test]
    fn any_fetch_renews_acceptance_and_an_acceptance_fetch_renews_the_copy() {
        check(Scope::User, &[get(0, 1, "/products"), get(50, 1, "/stock"), get(100, 1, "/products")], 2);
        // Asked at 200 for the credential's sake alone; the copy is then fresh until 500.
        let renewed =
            [get(0, 1, "/products"), get(200, 1, "/products"), get(450, 1, "/stock"), get(499, 1, "/products")];
        check(Scope::User, &renewed, 3);
    }

    #[track_caller]
    fn check_change(method: &str, path: &str, shown: &str, invalidated: bool) {
        let history = [get(0, 1, shown), changed(method, path), get(1, 1, shown)];
        let expected = if invalidated { 2 } else { 1 };
        let found = fewest_origin_gets(&history, &fixture::policy(ROUTES), Scope::Public);
        assert_eq!(found, expected, "{method} {path}, then GET {shown}");
    }

    #[test]
    fn a_change_of_an_item_reaches_the_item_and_the_collections() {
        check_change("PUT", "/products/1", "/products/1", true);
        check_change("PUT", "/products/1", "/products", true);
        check_change("DELETE", "/products/1/", "/products/1", true);
        check_change("PUT", "/products/1", "/products/2", false);
        check_change("PUT", "/products/1", "/categories", false);
    }

    #[test]
    fn a_post_on_a_collection_reaches_the_collections() {
        check_change("POST", "/products", "/products", true);
        check_change("POST", "/products", "/products/1", false);
    }

    #[test]
    fn any_other_change_reaches_the_whole_route() {
        check_change("POST", "/products/1", "/products/2", true);
        check_change("DELETE", "/products", "/products/2", true);
    }

    #[test]
    fn relations_reach_whole_routes_and_are_not_transitive() {
        check_change("PUT", "/categories/1", "/products", true);
        check_change("PUT", "/categories/1", "/products/7", true);
        check_change("PUT", "/categories/1", "/stock", false);
        check_change("POST", "/products/1/adjust", "/stock", true);
        check_change("POST", "/products/1/adjust", "/products", false);
    }

    #[test]
    fn a_change_below_no_route_reaches_every_route_it_lies_below() {
        check_change("POST", "/products/1/images", "/products/2", true);
        check_change("POST", "/products/1/images", "/stock", false);
    }

    #[test]
    fn a_change_is_for_everyone() {
        let history = [
            get(0, 1, "/stock"),
            get(0, 2, "/stock"),
            changed("POST", "/stock"),
            get(1, 1, "/stock"),
            get(1, 2, "/stock"),
        ];
        check(Scope::User, &history, 4);
        check(Scope::Public, &history, 2);
    }

    /// The history of a day on which every answer comes at once.
    fn day(seed: u64) -> Vec<Moment> {
        let moments = schedule(seed).into_iter().flat_map(|event| match event.action {
            Action::Look(paths) => paths
                .iter()
                .map(|path| Moment::Get { at: event.at, caller: event.cashier, path: (*path).to_owned() })
                .collect(),
            Action::Change { method, path, .. } => vec![changed(method, &path)],
        });
        moments.collect()
    }

    /// In scope `user` a correct cache can save 79.8 % of the day's GETs at most, in scope `public` 94.8 %.
    #[test]
    fn this_is_what_can_be_saved_on_the_fixed_day() {
        let history = day(1);
        let gets = history.iter().filter(|moment| matches!(moment, Moment::Get { .. })).count();
        let user = fewest_origin_gets(&history, &fixture::pos(), Scope::User);
        let public = fewest_origin_gets(&history, &fixture::pos(), Scope::Public);
        assert_eq!((gets, user, public), (70_080, 14_180, 3_627));
    }
}
