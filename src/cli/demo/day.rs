//! A day at the point of sale, as a timetable: what each cashier's browser does, and when. The same seed gives the same
//! day.
//!
//! Lifetimes run on real time, so a day can be shortened only together with them: [`scaled`] divides a policy's
//! durations by the factor by which the timetable is run faster.

use super::seeded::Seeded;
use super::shop::{CATEGORIES, PRODUCTS};
use crate::policy::{Freshness, Policy, Route, Routes};
use serde_json::json;
use std::time::Duration;

/// From opening to closing.
pub const HOURS: Duration = minutes(8 * 60);

pub const CASHIERS: u32 = 10;

/// One thing that one cashier does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Since opening.
    pub at: Duration,
    /// From 0 to [`CASHIERS`] - 1.
    pub cashier: u32,
    pub action: Action,
}

/// What a cashier does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// GETs that a browser sends side by side.
    Look(&'static [&'static str]),
    /// A change; the body is JSON.
    Change { method: &'static str, path: String, body: String },
}

const PAGE: Action = Action::Look(&["/products", "/categories", "/brands", "/units"]);
const STOCK: Action = Action::Look(&["/stock"]);
const SALES: Action = Action::Look(&["/sales"]);
const REPORT: Action = Action::Look(&["/reports/daily"]);

/// The day of `seed`, in order of time.
pub fn schedule(seed: u64) -> Vec<Event> {
    let mut timetable = Timetable { seeded: Seeded::new(seed), events: Vec::new() };
    for cashier in 0..CASHIERS {
        timetable.every(seconds(20), |_| (cashier, PAGE));
        timetable.every(seconds(30), |_| (cashier, STOCK));
        timetable.every(minutes(2), |_| (cashier, SALES));
        timetable.every(minutes(10), |_| (cashier, REPORT));
        timetable.every(minutes(3), |seeded| (cashier, sale(seeded)));
    }
    let anyone = |seeded: &mut Seeded| draw(seeded, CASHIERS);
    timetable.every(minutes(10), |seeded| (anyone(seeded), category_edit(seeded)));
    timetable.every(minutes(15), |seeded| (anyone(seeded), adjustment(seeded)));
    timetable.every(minutes(30), |seeded| (anyone(seeded), purchase(seeded)));
    timetable.events.sort_by_key(|event| event.at);
    timetable.events
}

struct Timetable {
    seeded: Seeded,
    events: Vec<Event>,
}

impl Timetable {
    /// Something that recurs all day, beginning at some moment of the first `interval`.
    fn every(&mut self, interval: Duration, mut event: impl FnMut(&mut Seeded) -> (u32, Action)) {
        let interval_ms = u64::try_from(interval.as_millis()).expect("an interval within a day");
        let mut at = Duration::from_millis(self.seeded.below(interval_ms));
        while at < HOURS {
            let (cashier, action) = event(&mut self.seeded);
            self.events.push(Event { at, cashier, action });
            at += interval;
        }
    }
}

fn sale(seeded: &mut Seeded) -> Action {
    let items: Vec<_> = (0..=draw(seeded, 3)).map(|_| item(seeded, 3)).collect();
    change("POST", "/sales".into(), &json!({ "items": items }))
}

fn purchase(seeded: &mut Seeded) -> Action {
    let items: Vec<_> = (0..20).map(|_| item(seeded, 100)).collect();
    change("POST", "/purchases".into(), &json!({ "items": items }))
}

fn item(seeded: &mut Seeded, at_most: u32) -> serde_json::Value {
    json!({ "product_id": 1 + draw(seeded, PRODUCTS), "quantity": 1 + draw(seeded, at_most) })
}

fn adjustment(seeded: &mut Seeded) -> Action {
    let path = format!("/products/{}/adjust", 1 + draw(seeded, PRODUCTS));
    change("POST", path, &json!({ "delta": -1 - i64::from(draw(seeded, 5)) }))
}

fn category_edit(seeded: &mut Seeded) -> Action {
    let path = format!("/categories/{}", 1 + draw(seeded, CATEGORIES));
    change("PUT", path, &json!({ "name": format!("Category {}", draw(seeded, 1_000_000)) }))
}

fn change(method: &'static str, path: String, body: &serde_json::Value) -> Action {
    Action::Change { method, path, body: body.to_string() }
}

fn draw(seeded: &mut Seeded, bound: u32) -> u32 {
    u32::try_from(seeded.below(bound.into())).expect("drawn below a u32")
}

const fn minutes(n: u64) -> Duration {
    seconds(n * 60)
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// `policy` for a day that runs `factor` times as fast: everything that says how long an answer counts is divided by
/// it. What bounds a wait on a socket is not: the machine is as fast as ever.
///
/// `factor` is at least 1.
pub fn scaled(policy: &Policy, factor: u32) -> Policy {
    let mut policy = policy.clone();
    policy.identity.accepted_for /= factor;
    policy.cache.pass_for /= factor;
    policy.cache.stale_on_disconnect /= factor;
    policy.origin.quarantine /= factor;
    let routes = policy.routes.iter().map(|route| scaled_route(route, factor)).collect();
    policy.routes = Routes::new(routes, policy.origin.case_insensitive).expect("these patterns were accepted before");
    policy
}

fn scaled_route(route: &Route, factor: u32) -> Route {
    let freshness = match route.freshness {
        Freshness::Origin => Freshness::Origin,
        Freshness::For(fresh) => Freshness::For(fresh / factor),
    };
    Route {
        freshness,
        stale_while_revalidate: route.stale_while_revalidate / factor,
        stale_if_error: route.stale_if_error / factor,
        negative: route.negative / factor,
        settle: route.settle / factor,
        ..route.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    fn count(events: &[Event], wanted: impl Fn(&Action) -> bool) -> usize {
        events.iter().filter(|event| wanted(&event.action)).count()
    }

    #[track_caller]
    fn check_changes(method: &str, begins: &str, ends: &str, expected: usize) {
        let wanted = |action: &Action| {
            matches!(action, Action::Change { method: m, path, .. }
                if *m == method && path.starts_with(begins) && path.ends_with(ends))
        };
        assert_eq!(count(&schedule(1), wanted), expected, "{method} {begins}…{ends}");
    }

    #[test]
    fn every_cashier_keeps_every_interval_all_day() {
        const DAY: usize = 8 * 60 * 60;
        let events = schedule(1);
        assert_eq!(count(&events, |action| *action == PAGE), 10 * DAY / 20);
        assert_eq!(count(&events, |action| *action == STOCK), 10 * DAY / 30);
        assert_eq!(count(&events, |action| *action == SALES), 10 * DAY / 120);
        assert_eq!(count(&events, |action| *action == REPORT), 10 * DAY / 600);
        check_changes("POST", "/sales", "", 10 * DAY / 180);
        check_changes("PUT", "/categories/", "", DAY / 600);
        check_changes("POST", "/products/", "/adjust", DAY / 900);
        check_changes("POST", "/purchases", "", DAY / 1800);

        let visits = events.iter().filter(|event| event.cashier == 3 && event.action == PAGE);
        let times: Vec<_> = visits.map(|visit| visit.at).collect();
        assert_eq!(times.len(), DAY / 20);
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == seconds(20)));
    }

    #[test]
    fn a_day_is_in_order_and_within_opening_hours() {
        let events = schedule(1);
        assert!(events.is_sorted_by_key(|event| event.at));
        assert!(events.last().is_some_and(|last| last.at < HOURS));
    }

    #[test]
    fn the_seed_decides_the_day() {
        assert_eq!(schedule(1), schedule(1));
        assert_ne!(schedule(1), schedule(2));
    }

    #[test]
    fn cashiers_do_not_walk_in_step() {
        let firsts: std::collections::HashSet<_> = (0..CASHIERS)
            .map(|cashier| schedule(1).into_iter().find(|event| event.cashier == cashier).map(|event| event.at))
            .collect();
        assert_eq!(firsts.len(), CASHIERS as usize);
    }

    #[test]
    fn a_scaled_policy_keeps_its_proportions() {
        let policy = fixture::pos();
        let scaled = scaled(&policy, 100);
        assert_eq!(scaled.identity.accepted_for, Duration::from_millis(600));
        assert_eq!(scaled.origin.quarantine, Duration::from_millis(600));
        let route = |policy: &Policy, path: &str| policy.routes.select(path).route.clone();
        assert_eq!(route(&scaled, "/units").freshness, Freshness::For(seconds(36)));
        assert_eq!(route(&scaled, "/stock").freshness, Freshness::For(Duration::from_millis(300)));
        assert_eq!(route(&scaled, "/stock").stale_if_error, route(&policy, "/stock").stale_if_error / 100);
        assert_eq!(route(&scaled, "/elsewhere").freshness, Freshness::Origin);
    }

    #[test]
    fn a_scaled_policy_leaves_sockets_their_time() {
        let scaled = scaled(&fixture::pos(), 100);
        assert_eq!(scaled.origin.response_timeout, seconds(30));
        assert_eq!(scaled.server.limits.header_timeout, seconds(15));
    }
}
