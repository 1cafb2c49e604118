//! Constructing responses from caches (RFC 9111 §4): may the stored response answer this request, and what is to be
//! done if not. The answer names the caller's next act.

use crate::clock::Timestamp;
use crate::field::cache_control::{MaxStale, RequestDirectives, ResponseDirectives};
use crate::policy::{Freshness as Lifetime, OriginCacheControl, RequestCacheControl, Route};
use crate::semantics::cache_status::{Detail, Forward};
use crate::semantics::freshness::{self, Freshness};
use crate::semantics::request::Request;
use crate::semantics::stored_response::Response;
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
    /// An operator asked for it to be treated as expired.
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
    match demanded(request, asks, response, freshness, route, now) {
        Demand::Met => {}
        Demand::Limited => return hit(freshness, Some(Detail::ReloadLimited)),
        Demand::Unmet => return fetch(Forward::Request, None),
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
    match route.request_cache_control {
        RequestCacheControl::Ignore => Demand::Met,
        RequestCacheControl::Reload => {
            // fetch() adds no-cache beside If-None-Match, so there it says nothing; without one it is a person who
            // reloads. Browsers spell a soft reload as max-age=0.
            let reload = asks.no_cache || asks.max_age == Some(Duration::ZERO);
            if !reload || request.fields.contains("if-none-match") {
                return Demand::Met;
            }
            let usable = matches!(freshness, Freshness::Fresh { .. });
            if usable && now.since(response.response_time) < RELOAD_INTERVAL { Demand::Limited } else { Demand::Unmet }
        }
        RequestCacheControl::Respect => {
            let old = asks.max_age.is_some_and(|limit| freshness::current_age(response, now) > limit);
            let short = match (asks.min_fresh, freshness) {
                (Some(wanted), Freshness::Fresh { ttl }) => ttl < wanted,
                (Some(_), Freshness::Stale { .. }) => true,
                (None, _) => false,
            };
            if asks.no_cache || old || short { Demand::Unmet } else { Demand::Met }
        }
    }
}
