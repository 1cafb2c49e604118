//! Constructing responses from caches (RFC 9111 §4): may the stored response answer this request, and what is to be
//! done if not. The answer names the caller's next act.

use crate::clock::Timestamp;
use crate::field::cache_control::{MaxStale, RequestDirectives, ResponseDirectives};
use crate::policy::{Freshness as Lifetime, OriginCacheControl, RequestCacheControl, Route};
use crate::semantics::cache_status::{Detail, Forward};
use crate::semantics::freshness::{self, Freshness};
use crate::semantics::request::Request;
use crate::semantics::stored_response::{Modified, Response, Validator};
use std::time::Duration;

/// A forced reload asks the origin at most this often per key.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Answer with the stored response. `ttl` in seconds; negative when stale.
    Hit { ttl: i64, detail: Option<Detail> },
    /// Answer with it although it is stale, and renew it in the background (RFC 5861 §3).
    Renew { ttl: i64 },
    /// Ask the origin; where it vouches for what is stored, that may be used (RFC 9111 §4.3).
    Fetch { because: Forward, detail: Option<Detail> },
    /// `only-if-cached`, and nothing usable is stored (RFC 9111 §5.2.1.7).
    Unsatisfiable,
}

/// What the store and the fences say of the request.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    pub response: &'a Response,
    /// Whether the fences still let it be used.
    pub standing: Standing,
}

/// What the fences say of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Valid,
    /// To be treated as expired: an operator asked for that, or a HEAD told that the origin has something else.
    Expired,
    /// Invalidated since it was fetched.
    Invalidated,
    /// Something that it shows is being changed, or may have been and nobody knows.
    Unsettled,
}

/// Decides. `accepted` is whether the origin has accepted the caller's credential lately enough; true where the scope
/// asks for none.
pub fn decide(
    request: &Request,
    found: Option<Found<'_>>,
    variants: bool,
    accepted: bool,
    route: &Route,
    now: Timestamp,
) -> Reuse {
    let asks = RequestDirectives::of(&request.fields);
    let heeds = route.request_cache_control != RequestCacheControl::Ignore;
    let reuse = of_stored(request, &asks, found, variants, accepted, route, now);
    match reuse {
        // "The only-if-cached request directive indicates that the client only wishes to obtain a stored response.
        // Caches that honor this request directive SHOULD, upon receiving it, respond with either a stored response
        // consistent with the other constraints of the request or a 504" (RFC 9111 §5.2.1.7).
        Reuse::Fetch { .. } if asks.only_if_cached && heeds => Reuse::Unsatisfiable,
        reuse => reuse,
    }
}

fn of_stored(
    request: &Request,
    asks: &RequestDirectives,
    found: Option<Found<'_>>,
    variants: bool,
    accepted: bool,
    route: &Route,
    now: Timestamp,
) -> Reuse {
    let fetch = |because, detail| Reuse::Fetch { because, detail };
    let Some(Found { response, standing }) = found else {
        return fetch(if variants { Forward::VaryMiss } else { Forward::UriMiss }, None);
    };
    match standing {
        Standing::Unsettled => return fetch(Forward::Stale, Some(Detail::Mutation)),
        Standing::Invalidated => return fetch(Forward::Stale, Some(Detail::Invalidated)),
        Standing::Valid | Standing::Expired => {}
    }
    if !accepted {
        return fetch(Forward::Stale, Some(Detail::Acceptance));
    }
    // "the stored response does not contain the no-cache directive, unless it is successfully validated" (§4).
    let says = ResponseDirectives::of(&response.fields);
    if says.no_cache && respects(route) {
        return fetch(Forward::Stale, Some(Detail::NoCache));
    }
    let freshness = match freshness::of(response, route, now) {
        Freshness::Fresh { .. } if standing == Standing::Expired => Freshness::Stale { by: Duration::ZERO },
        freshness => freshness,
    };
    let demand = match is_for_the_origin(request, response, route) {
        true => Demand::Unmet,
        false => demanded(request, asks, response, freshness, route, now),
    };
    match (demand, freshness) {
        (Demand::Met, _) => {}
        (Demand::Limited, _) => return hit(freshness, Some(Detail::ReloadLimited)),
        // "request: The cache was able to select a fresh response for the request, but the request's semantics … did not
        // allow its use"; "stale: The cache was able to select a response for the request, but it was stale" (RFC 9211 §2.2).
        (Demand::Unmet, Freshness::Fresh { .. }) => return fetch(Forward::Request, None),
        (Demand::Unmet, Freshness::Stale { .. }) => return fetch(Forward::Stale, None),
    }
    let by = match freshness {
        Freshness::Fresh { .. } => return hit(freshness, None),
        Freshness::Stale { by } => by,
    };
    let forbidden = freshness::forbids_stale(response, route);
    if by < freshness::stale_allowance(response, route, Duration::ZERO).while_revalidate {
        return Reuse::Renew { ttl: ttl(freshness) };
    }
    if route.request_cache_control == RequestCacheControl::Respect && tolerates(asks, by) && !forbidden {
        return hit(freshness, None);
    }
    fetch(Forward::Stale, forbidden.then_some(Detail::MustRevalidate))
}

fn hit(freshness: Freshness, detail: Option<Detail>) -> Reuse {
    Reuse::Hit { ttl: ttl(freshness), detail }
}

fn ttl(freshness: Freshness) -> i64 {
    let seconds = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
    match freshness {
        Freshness::Fresh { ttl } => seconds(ttl),
        Freshness::Stale { by } => -seconds(by),
    }
}

/// Whether the origin's words bind this route.
fn respects(route: &Route) -> bool {
    route.freshness == Lifetime::Origin || route.origin_cache_control == OriginCacheControl::Respect
}

/// "max-stale ... indicates that the client will accept a response that has exceeded its freshness lifetime"
/// (RFC 9111 §5.2.1.2).
fn tolerates(asks: &RequestDirectives, by: Duration) -> bool {
    match asks.max_stale {
        Some(MaxStale::Any) => true,
        Some(MaxStale::For(limit)) => by <= limit,
        None => false,
    }
}

/// How stale a response the client accepts where the origin fails (RFC 5861 §4): "When used as a request Cache-Control
/// extension, its scope of application is the request it appears in".
pub fn accepted_on_error(request: &Request, response: &Response, route: &Route) -> Duration {
    let heeds = route.request_cache_control == RequestCacheControl::Respect;
    let asked = RequestDirectives::of(&request.fields).stale_if_error;
    asked.filter(|_| heeds && !freshness::forbids_stale(response, route)).unwrap_or_default()
}

/// Whether the request has a precondition that the origin alone may evaluate: "the If-Match and If-Unmodified-Since
/// conditional header fields are not applicable to a cache" (RFC 9111 §4.3.2). It is asked then, and what it says decides.
/// Of what was computed here, and where `fresh` says how long to believe what is stored, this proxy is the origin.
fn is_for_the_origin(request: &Request, response: &Response, route: &Route) -> bool {
    let by_tag = request.fields.contains("if-match");
    let by_date = !by_tag && request.fields.contains("if-unmodified-since");
    let its_own = by_tag && matches!(response.validator, Validator::Origin(_))
        || by_date && matches!(response.modified, Modified::Origin(_));
    response.status == 200 && route.freshness == Lifetime::Origin && its_own
}

enum Demand {
    Met,
    /// A reload that comes too soon after the origin was asked.
    Limited,
    Unmet,
}

/// What the client's own Cache-Control asks for (RFC 9111 §5.2.1), as far as the route lets it.
fn demanded(
    request: &Request,
    asks: &RequestDirectives,
    response: &Response,
    freshness: Freshness,
    route: &Route,
    now: Timestamp,
) -> Demand {
    // "proxies SHOULD skip conditionally revalidating fresh responses containing the immutable extension unless there is a
    // signal from the client that a validation is necessary (e.g., a no-cache Cache-Control request directive …)"
    // (RFC 8246 §2): a max-age is none, since a reload that is not forced says max-age=0.
    let immutable = matches!(freshness, Freshness::Fresh { .. })
        && ResponseDirectives::of(&response.fields).immutable
        && respects(route);
    match route.request_cache_control {
        RequestCacheControl::Ignore => Demand::Met,
        RequestCacheControl::Reload => {
            // fetch() adds no-cache beside If-None-Match, so there it says nothing; without one it is a person who
            // reloads. Browsers spell a soft reload as max-age=0.
            let reload = asks.no_cache || asks.max_age == Some(Duration::ZERO) && !immutable;
            if !reload || request.fields.contains("if-none-match") {
                return Demand::Met;
            }
            let usable = matches!(freshness, Freshness::Fresh { .. });
            if usable && now.since(response.response_time) < RELOAD_INTERVAL { Demand::Limited } else { Demand::Unmet }
        }
        RequestCacheControl::Respect => {
            let old = asks.max_age.is_some_and(|limit| freshness::current_age(response, now) > limit) && !immutable;
            let short = match (asks.min_fresh, freshness) {
                (Some(wanted), Freshness::Fresh { ttl }) => ttl < wanted,
                (Some(_), Freshness::Stale { .. }) => true,
                (None, _) => false,
            };
            if asks.no_cache || old || short { Demand::Unmet } else { Demand::Met }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::date::HttpDate;
    use crate::field::entity_tag::EntityTag;
    use crate::semantics::sample::{at, fresh, plain, request, response};

    const HOUR: Duration = Duration::from_hours(1);

    /// A GET of something that is stored and stands, by a caller who is accepted.
    struct Case {
        lines: &'static [(&'static str, &'static str)],
        stored: &'static [(&'static str, &'static str)],
        standing: Standing,
        accepted: bool,
        route: Route,
        age: u64,
    }

    impl Default for Case {
        fn default() -> Self {
            Case { lines: &[], stored: &[], standing: Standing::Valid, accepted: true, route: fresh(), age: 10 }
        }
    }

    impl Case {
        #[track_caller]
        fn check(&self, expected: Reuse) {
            let stored = response(200, self.stored);
            let found = Some(Found { response: &stored, standing: self.standing });
            let request = request("GET", "/", self.lines);
            assert_eq!(decide(&request, found, true, self.accepted, &self.route, at(self.age)), expected);
        }
    }

    fn hit(ttl: i64) -> Reuse {
        Reuse::Hit { ttl, detail: None }
    }

    fn fetch(because: Forward, detail: Option<Detail>) -> Reuse {
        Reuse::Fetch { because, detail }
    }

    const STALE: Reuse = Reuse::Fetch { because: Forward::Stale, detail: None };
    const ASKED: Reuse = Reuse::Fetch { because: Forward::Request, detail: None };

    fn renewing() -> Route {
        Route { stale_while_revalidate: HOUR, ..fresh() }
    }

    fn reloading(route: Route) -> Route {
        Route { request_cache_control: RequestCacheControl::Reload, ..route }
    }

    #[test]
    fn nothing_stored_is_fetched() {
        let decide = |variants| decide(&request("GET", "/", &[]), None, variants, true, &fresh(), at(0));
        assert_eq!(decide(false), fetch(Forward::UriMiss, None));
        assert_eq!(decide(true), fetch(Forward::VaryMiss, None));
    }

    #[test]
    fn what_is_fresh_is_a_hit_to_the_last_moment() {
        Case::default().check(hit(50));
        Case { age: 59, ..Case::default() }.check(hit(1));
        Case { age: 60, ..Case::default() }.check(STALE);
    }

    #[test]
    fn the_fences_outrank_freshness_and_every_stale_rule() {
        for route in [fresh(), renewing()] {
            for (standing, detail) in
                [(Standing::Unsettled, Detail::Mutation), (Standing::Invalidated, Detail::Invalidated)]
            {
                Case { standing, route: route.clone(), ..Case::default() }.check(fetch(Forward::Stale, Some(detail)));
            }
        }
    }

    #[test]
    fn a_soft_purge_makes_stale_and_no_more() {
        let standing = Standing::Expired;
        Case { standing, ..Case::default() }.check(STALE);
        Case { standing, route: renewing(), ..Case::default() }.check(Reuse::Renew { ttl: 0 });
        Case { standing, route: renewing(), age: 70, ..Case::default() }.check(Reuse::Renew { ttl: -10 });
    }

    #[test]
    fn who_is_not_accepted_asks() {
        Case { accepted: false, ..Case::default() }.check(fetch(Forward::Stale, Some(Detail::Acceptance)));
    }

    #[test]
    fn what_is_stale_is_renewed_for_as_long_as_the_route_says() {
        let route = || Route { stale_while_revalidate: Duration::from_secs(30), ..fresh() };
        Case { route: route(), age: 60, ..Case::default() }.check(Reuse::Renew { ttl: 0 });
        Case { route: route(), age: 89, ..Case::default() }.check(Reuse::Renew { ttl: -29 });
        Case { route: route(), age: 90, ..Case::default() }.check(STALE);
    }

    #[test]
    fn the_origin_s_no_cache_is_validated_every_time_unless_the_route_sets_it_aside() {
        let stored = &[("Cache-Control", "no-cache, max-age=60")];
        let no_cache = fetch(Forward::Stale, Some(Detail::NoCache));
        Case { stored, ..Case::default() }.check(no_cache);
        Case { stored, route: plain(), ..Case::default() }.check(no_cache);
        let ignoring = |route| Route { origin_cache_control: OriginCacheControl::Ignore, ..route };
        Case { stored, route: ignoring(fresh()), ..Case::default() }.check(hit(50));
        // Plain mode is the origin's own: there is nothing to set aside.
        Case { stored, route: ignoring(plain()), ..Case::default() }.check(no_cache);
    }

    #[test]
    fn the_origin_s_must_revalidate_forbids_everything_stale_and_says_so() {
        let stored = &[("Cache-Control", "must-revalidate, max-age=60")];
        let forbidden = fetch(Forward::Stale, Some(Detail::MustRevalidate));
        Case { stored, route: renewing(), age: 70, ..Case::default() }.check(forbidden);
        Case { stored, route: plain(), age: 70, lines: &[("Cache-Control", "max-stale")], ..Case::default() }
            .check(forbidden);
        Case { stored, route: renewing(), ..Case::default() }.check(hit(50));
    }

    #[test]
    fn a_reload_asks_the_origin_but_not_within_a_second() {
        for lines in [&[("Cache-Control", "no-cache")], &[("Cache-Control", "max-age=0")]] {
            let case = |age| Case { lines, route: reloading(fresh()), age, ..Case::default() };
            case(1).check(ASKED);
            case(0).check(Reuse::Hit { ttl: 60, detail: Some(Detail::ReloadLimited) });
            Case { standing: Standing::Expired, ..case(0) }.check(STALE);
        }
        Case { lines: &[("Cache-Control", "max-age=5")], route: reloading(fresh()), ..Case::default() }.check(hit(50));
    }

    #[test]
    fn beside_if_none_match_no_cache_says_nothing() {
        let lines = &[("Cache-Control", "no-cache"), ("If-None-Match", "\"a\"")];
        Case { lines, route: reloading(fresh()), ..Case::default() }.check(hit(50));
        Case { lines, ..Case::default() }.check(ASKED);
    }

    #[test]
    fn a_route_may_ignore_what_clients_ask_for() {
        let route = || Route { request_cache_control: RequestCacheControl::Ignore, ..fresh() };
        for lines in [&[("Cache-Control", "no-cache")], &[("Cache-Control", "only-if-cached")]] {
            Case { lines, route: route(), ..Case::default() }.check(hit(50));
            Case { lines, route: route(), age: 60, ..Case::default() }.check(STALE);
        }
    }

    #[test]
    fn a_route_may_heed_what_clients_ask_for() {
        let check = |directive: &'static str, age, expected| {
            let lines: &'static [_] = Box::leak(Box::new([("Cache-Control", directive)]));
            Case { lines, age, ..Case::default() }.check(expected);
        };
        check("no-cache", 10, ASKED);
        check("max-age=10", 10, hit(50));
        check("max-age=9", 10, ASKED);
        check("min-fresh=50", 10, hit(50));
        check("min-fresh=51", 10, ASKED);
        check("min-fresh=0", 60, STALE);
        check("no-cache", 60, STALE);
        check("max-stale", 100, hit(-40));
        check("max-stale=40", 100, hit(-40));
        check("max-stale=39", 100, STALE);
    }

    #[test]
    fn what_is_immutable_and_fresh_is_not_validated_for_an_age_s_sake() {
        let stored = &[("Cache-Control", "max-age=60, immutable")];
        for max_age in [&[("Cache-Control", "max-age=0")], &[("Cache-Control", "max-age=5")]] {
            for route in [plain(), fresh(), reloading(fresh())] {
                Case { stored, lines: max_age, route, ..Case::default() }.check(hit(50));
            }
            Case { stored, lines: max_age, route: plain(), age: 60, ..Case::default() }.check(STALE);
        }
        let ignoring = Route { origin_cache_control: OriginCacheControl::Ignore, ..reloading(fresh()) };
        Case { stored, lines: &[("Cache-Control", "max-age=0")], route: ignoring, ..Case::default() }.check(ASKED);
        for route in [plain(), reloading(fresh())] {
            Case { stored, lines: &[("Cache-Control", "no-cache")], route, ..Case::default() }.check(ASKED);
        }
    }

    #[test]
    fn what_a_client_accepts_on_error_is_what_nothing_forbids() {
        let accepted = |stored: &str, route: &Route| {
            let asked = request("GET", "/", &[("Cache-Control", "stale-if-error=9")]);
            accepted_on_error(&asked, &response(200, &[("Cache-Control", stored)]), route).as_secs()
        };
        assert_eq!(accepted("max-age=1", &plain()), 9);
        assert_eq!(accepted("max-age=1, must-revalidate", &plain()), 0);
        assert_eq!(accepted("max-age=1", &reloading(fresh())), 0);
    }

    #[test]
    fn a_precondition_that_is_the_origin_s_is_left_to_it() {
        let check = |line: (&str, &str), validator: Validator, modified: Modified, route: Route, expected| {
            let lines = [("Cache-Control", "max-age=60")];
            let stored = Response { validator, modified, ..response(200, &lines) };
            let found = Some(Found { response: &stored, standing: Standing::Valid });
            assert_eq!(decide(&request("GET", "/", &[line]), found, true, true, &route, at(10)), expected, "{line:?}");
        };
        let tag = || EntityTag::parse(b"\"a\"").expect("a valid entity-tag");
        let date = HttpDate(at(0).wall_seconds());
        let (by_tag, by_date) = (("If-Match", "\"a\""), ("If-Unmodified-Since", "Thu, 01 Jan 2026 00:00:00 GMT"));
        check(by_tag, Validator::Origin(tag()), Modified::Absent, plain(), ASKED);
        check(by_tag, Validator::Computed(tag()), Modified::Origin(date), plain(), hit(50));
        check(by_tag, Validator::Origin(tag()), Modified::Absent, fresh(), hit(50));
        check(by_date, Validator::Computed(tag()), Modified::Origin(date), plain(), ASKED);
        check(by_date, Validator::Origin(tag()), Modified::Absent, plain(), hit(50));
        check(("If-None-Match", "\"a\""), Validator::Origin(tag()), Modified::Origin(date), plain(), hit(50));
    }

    #[test]
    fn only_if_cached_is_answered_from_the_store_or_not_at_all() {
        let lines = &[("Cache-Control", "only-if-cached")];
        Case { lines, ..Case::default() }.check(hit(50));
        Case { lines, age: 60, ..Case::default() }.check(Reuse::Unsatisfiable);
        Case { lines, age: 60, route: renewing(), ..Case::default() }.check(Reuse::Renew { ttl: 0 });
    }
}
