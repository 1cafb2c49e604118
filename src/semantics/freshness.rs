//! Freshness (RFC 9111 §4.2): how old a stored response is, how old it may become, and what is allowed after that.

use crate::clock::Timestamp;
use crate::field::Fields;
use crate::field::age;
use crate::field::cache_control::ResponseDirectives;
use crate::field::date::HttpDate;
use crate::policy::{self, OriginCacheControl, Route};
use crate::semantics::stored_response::{Modified, Response};
use std::time::Duration;

/// Whether a stored response may be used without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Fresh for this much longer; never zero.
    Fresh { ttl: Duration },
    /// Stale since then; zero at the moment it becomes so.
    Stale { by: Duration },
}

/// How long a response is fresh (RFC 9111 §4.2.1), and who said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    pub length: Duration,
    pub source: Source,
}

/// Who decided a [`Lifetime`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The route's `fresh`.
    Route,
    /// The route's `negative`.
    Negative,
    SMaxage,
    MaxAge,
    Expires,
    /// RFC 9111 §4.2.2, from the origin's Last-Modified.
    Heuristic,
    /// Nobody: the length is zero.
    None,
}

/// How long after it became stale a response may still be used: while [`Freshness::Stale`]'s `by` is less than the
/// allowance, so that an allowance of zero allows nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stale {
    /// While it is renewed in the background (RFC 5861 §3).
    pub while_revalidate: Duration,
    /// When the origin answers with an error (RFC 5861 §4).
    pub if_error: Duration,
    /// When the origin cannot be reached (RFC 9111 §4.2.4: "unless it is disconnected"); never less than `if_error`.
    pub if_disconnected: Duration,
}

/// Whether `response` is fresh at `now`: `response_is_fresh = (freshness_lifetime > current_age)` (RFC 9111 §4.2).
pub fn of(response: &Response, route: &Route, now: Timestamp) -> Freshness {
    let (lifetime, age) = (lifetime(response, route).length, current_age(response, now));
    match lifetime.checked_sub(age) {
        Some(ttl) if !ttl.is_zero() => Freshness::Fresh { ttl },
        _ => Freshness::Stale { by: age.saturating_sub(lifetime) },
    }
}

/// `current_age` of RFC 9111 §4.2.3; `resident_time` runs on boot time, so a corrected system clock changes no age.
pub fn current_age(response: &Response, now: Timestamp) -> Duration {
    let resident_time = now.since(response.response_time);
    response.initial_age.saturating_add(resident_time)
}

/// `corrected_initial_age` of RFC 9111 §4.2.3, from the fields of a response as they came. Where the route [governs]
/// its status the origin's Date adds nothing: a clock that is wrong there does not shorten what `fresh` promises.
pub fn initial_age(
    status: u16,
    fields: &Fields,
    route: &Route,
    request_time: Timestamp,
    response_time: Timestamp,
) -> Duration {
    // apparent_age = max(0, response_time - date_value);
    let received = HttpDate(response_time.wall_seconds());
    let date = HttpDate::of(fields, "date", received).filter(|_| !governs(status, route));
    let apparent_age = date.map_or(Duration::ZERO, |date| between(date, received));
    // response_delay = response_time - request_time;
    // corrected_age_value = age_value + response_delay;
    let response_delay = response_time.since(request_time);
    let corrected_age_value = age::of(fields).unwrap_or_default().saturating_add(response_delay);
    apparent_age.max(corrected_age_value)
}

/// Whether the route's `fresh`, or for 404 and 410 its `negative`, decides for this status instead of the origin.
pub fn governs(status: u16, route: &Route) -> bool {
    route_lifetime(status, route).is_some()
}

/// Whether the origin's own words outrank `fresh` where its route lets them: what no-store and no-cache say to this cache,
/// they say to the next one and to the client's. What is said to all of them counts even if this one was told otherwise.
pub fn is_outranked(fields: &Fields, route: &Route) -> bool {
    let forbids = |says: ResponseDirectives| says.no_store || says.no_cache;
    let forbidden = forbids(ResponseDirectives::of(fields)) || forbids(ResponseDirectives::for_all(fields));
    forbidden && route.origin_cache_control == OriginCacheControl::Respect
}

/// How long `response` is fresh. Where the route [governs] its status, the origin's lifetimes count for
/// nothing; elsewhere they alone count, in the order of RFC 9111 §4.2.1.
pub fn lifetime(response: &Response, route: &Route) -> Lifetime {
    if let Some(lifetime) = route_lifetime(response.status, route) {
        return lifetime;
    }
    let directives = ResponseDirectives::of(&response.fields);
    // "If the cache is shared and the s-maxage response directive is present, use its value, or"
    if let Some(length) = directives.s_maxage {
        return Lifetime { length, source: Source::SMaxage };
    }
    // "If the max-age response directive is present, use its value, or"
    if let Some(length) = directives.max_age {
        return Lifetime { length, source: Source::MaxAge };
    }
    // "If the Expires response header field is present, use its value minus the value of the Date response header
    // field". One that cannot be read, or is not alone, is "a time in the past" (RFC 9111 §5.3). Where a targeted field
    // speaks, the cache "MUST ignore the Cache-Control and Expires header fields in that response" (RFC 9213 §2.2).
    if response.fields.contains("expires") && !directives.targeted {
        let expires = HttpDate::of(&response.fields, "expires", received(response));
        let length = expires.map_or(Duration::ZERO, |expires| between(date(response), expires));
        return Lifetime { length, source: Source::Expires };
    }
    // "Otherwise, no explicit expiration time is present in the response. A heuristic freshness lifetime might be
    // applicable".
    heuristic(response, directives.public).unwrap_or(Lifetime { length: Duration::ZERO, source: Source::None })
}

/// How long `response` may be used once stale.
///
/// Where the route governs, its own times hold, unless it respects the origin's Cache-Control and that forbids. A
/// `negative` response is never used stale. In plain mode the response's own RFC 5861 directives hold, and while the
/// origin cannot be reached `stale_on_disconnect`.
pub fn stale_allowance(response: &Response, route: &Route, stale_on_disconnect: Duration) -> Stale {
    if forbids_stale(response, route) {
        return Stale::default();
    }
    match route_lifetime(response.status, route) {
        Some(_) => Stale {
            while_revalidate: route.stale_while_revalidate,
            if_error: route.stale_if_error,
            if_disconnected: route.stale_if_error,
        },
        None => {
            let directives = ResponseDirectives::of(&response.fields);
            let if_error = directives.stale_if_error.unwrap_or_default();
            Stale {
                while_revalidate: directives.stale_while_revalidate.unwrap_or_default(),
                if_error,
                if_disconnected: if_error.max(stale_on_disconnect),
            }
        }
    }
}

/// Whether `response` may never be used stale, whatever anybody would accept.
pub fn forbids_stale(response: &Response, route: &Route) -> bool {
    let directives = ResponseDirectives::of(&response.fields);
    // "A cache MUST NOT generate a stale response if it is prohibited by an explicit in-protocol directive (e.g., by a
    // no-cache response directive, a must-revalidate response directive, or an applicable s-maxage or proxy-revalidate
    // response directive)" (RFC 9111 §4.2.4).
    let forbidden = directives.must_revalidate || directives.proxy_revalidate || directives.no_cache;
    match route_lifetime(response.status, route).map(|lifetime| lifetime.source) {
        Some(Source::Negative) => true,
        Some(_) => forbidden && route.origin_cache_control == OriginCacheControl::Respect,
        None => forbidden || directives.s_maxage.is_some(),
    }
}

/// What the route says of this status; `None` where it leaves that to the origin.
fn route_lifetime(status: u16, route: &Route) -> Option<Lifetime> {
    let policy::Freshness::For(fresh) = route.freshness else { return None };
    match status {
        200 | 203 | 300 | 301 | 308 => Some(Lifetime { length: fresh, source: Source::Route }),
        404 | 410 => Some(Lifetime { length: route.negative, source: Source::Negative }),
        _ => None,
    }
}

/// RFC 9111 §4.2.2: "If the response has a Last-Modified header field, caches are encouraged to use a heuristic
/// expiration value that is no more than some fraction of the interval since that time. A typical setting of this
/// fraction might be 10%." Only an origin's own Last-Modified tells anything: one made here would give a lifetime to
/// what the origin gave none.
fn heuristic(response: &Response, public: bool) -> Option<Lifetime> {
    const AT_MOST: Duration = Duration::from_hours(24);
    // "… heuristics can only be used on responses without explicit freshness whose status codes are defined as
    // heuristically cacheable (e.g., see Section 15.1 of [HTTP]) and on responses without explicit freshness that have
    // been marked as explicitly cacheable (e.g., with a public response directive)."
    let cacheable = is_heuristically_cacheable(response.status) || public;
    match response.modified {
        Modified::Origin(modified) if cacheable => {
            let unchanged_for = between(modified, date(response));
            Some(Lifetime { length: (unchanged_for / 10).min(AT_MOST), source: Source::Heuristic })
        }
        _ => None,
    }
}

/// RFC 9110 §15.1: "Responses with status codes that are defined as heuristically cacheable … can be reused by a cache
/// with heuristic expiration unless otherwise indicated".
pub fn is_heuristically_cacheable(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// When the origin generated it; where it does not say, "the time it was received" (RFC 9110 §6.6.1).
fn date(response: &Response) -> HttpDate {
    let received = received(response);
    HttpDate::of(&response.fields, "date", received).unwrap_or(received)
}

fn received(response: &Response) -> HttpDate {
    HttpDate(response.response_time.wall_seconds())
}

/// From one date to a later one; zero if it is not later.
fn between(earlier: HttpDate, later: HttpDate) -> Duration {
    Duration::from_secs(u64::try_from(later.0.saturating_sub(earlier.0)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::hostile;
    use crate::semantics::sample::{self, at, fields, response};
    use crate::semantics::validator;
    use proptest::prelude::*;

    /// Thu, 01 Jan 2026 00:00:00 GMT
    const MIDNIGHT: i64 = 1_767_225_600;
    const DATE: (&str, &str) = ("Date", "Thu, 01 Jan 2026 00:00:00 GMT");
    const DAY: u64 = 86_400;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn plain() -> Route {
        Route { stale_while_revalidate: secs(100), stale_if_error: secs(1000), ..sample::plain() }
    }

    fn fresh_for(seconds: u64) -> Route {
        Route { freshness: policy::Freshness::For(secs(seconds)), ..plain() }
    }

    #[track_caller]
    fn check_initial_age(lines: &[(&str, &str)], expected: Duration) {
        // The head came one second after the request was sent, and one minute after MIDNIGHT.
        assert_eq!(initial_age(200, &fields(lines), &plain(), at(59), at(60)), expected, "{lines:?}");
    }

    #[test]
    fn the_initial_age_is_the_greater_of_what_date_and_age_say() {
        check_initial_age(&[], secs(1));
        check_initial_age(&[("Age", "10")], secs(11));
        check_initial_age(&[DATE], secs(60));
        check_initial_age(&[DATE, ("Age", "10")], secs(60));
        check_initial_age(&[DATE, ("Age", "90")], secs(91));
        check_initial_age(&[DATE, ("Age", "x")], secs(60));
        check_initial_age(&[("Age", "99999999999")], secs((1 << 31) + 1));
    }

    #[test]
    fn what_fresh_governs_is_not_aged_by_the_origin_s_clock() {
        let age = |status, lines: &[_]| initial_age(status, &fields(lines), &fresh_for(9), at(59), at(60));
        assert_eq!(age(200, &[DATE]), secs(1));
        assert_eq!(age(200, &[DATE, ("Age", "10")]), secs(11));
        assert_eq!(age(500, &[DATE]), secs(60), "this status is none that `fresh` governs");
    }

    #[test]
    fn a_date_that_is_in_the_future_or_no_date_makes_no_age() {
        check_initial_age(&[("Date", "Thu, 01 Jan 2026 00:01:01 GMT")], secs(1));
        check_initial_age(&[("Date", "Fri, 31 Dec 9999 23:59:59 GMT")], secs(1));
        check_initial_age(&[("Date", "2026-01-01")], secs(1));
        check_initial_age(&[DATE, DATE], secs(1));
    }

    #[test]
    fn the_age_grows_by_boot_time_not_by_the_wall_clock() {
        let stored = Response { initial_age: secs(7), ..response(200, &[]) };
        let moved = |wall_ms| Timestamp { wall_ms, ..at(10) };
        assert_eq!(current_age(&stored, at(10)), secs(17));
        assert_eq!(current_age(&stored, moved(i64::MAX)), secs(17));
        assert_eq!(current_age(&stored, moved(i64::MIN)), secs(17));
    }

    #[track_caller]
    fn check_plain(lines: &[(&str, &str)], length: u64, source: Source) {
        let found = lifetime(&response(200, lines), &plain());
        assert_eq!(found, Lifetime { length: secs(length), source }, "{lines:?}");
    }

    #[test]
    fn in_plain_mode_s_maxage_beats_max_age_beats_expires() {
        let expires = ("Expires", "Thu, 01 Jan 2026 00:00:30 GMT");
        check_plain(&[], 0, Source::None);
        check_plain(&[DATE, expires], 30, Source::Expires);
        check_plain(&[DATE, expires, ("Cache-Control", "max-age=20")], 20, Source::MaxAge);
        check_plain(&[DATE, expires, ("Cache-Control", "max-age=20, s-maxage=10")], 10, Source::SMaxage);
        check_plain(&[("Cache-Control", "s-maxage=10"), ("Cache-Control", "max-age=20")], 10, Source::SMaxage);
        check_plain(&[DATE, expires, ("Cache-Control", "max-age=0")], 0, Source::MaxAge);
        check_plain(&[DATE, expires, ("Cache-Control", "max-age='20'")], 0, Source::MaxAge);
    }

    #[test]
    fn expires_counts_from_date_not_from_now() {
        let date = ("Date", "Wed, 31 Dec 2025 23:59:00 GMT");
        check_plain(&[date, ("Expires", "Wed, 31 Dec 2025 23:59:20 GMT")], 20, Source::Expires);
        check_plain(&[date, ("Expires", "Wednesday, 31-Dec-25 23:59:20 GMT")], 20, Source::Expires);
        check_plain(&[("Expires", "Thu, 01 Jan 2026 00:00:20 GMT")], 20, Source::Expires);
        check_plain(&[("Date", "0"), ("Expires", "Thu, 01 Jan 2026 00:00:20 GMT")], 20, Source::Expires);
    }

    #[test]
    fn an_expires_that_is_past_unreadable_or_not_alone_is_expired() {
        let future = ("Expires", "Thu, 01 Jan 2050 00:00:00 GMT");
        for expires in ["Wed, 31 Dec 2025 23:59:59 GMT", "0", "-1", "", "Thu, 18 Aug 2050 02:01:18 UTC"] {
            check_plain(&[DATE, ("Expires", expires)], 0, Source::Expires);
        }
        check_plain(&[DATE, future, future], 0, Source::Expires);
    }

    #[track_caller]
    fn check_heuristic(status: u16, lines: &[(&str, &str)], modified: Modified, length: Option<u64>) {
        let found = lifetime(&Response { modified, ..response(status, lines) }, &plain());
        let expected = length.map_or(Lifetime { length: Duration::ZERO, source: Source::None }, |length| Lifetime {
            length: secs(length),
            source: Source::Heuristic,
        });
        assert_eq!(found, expected, "{status} {lines:?} {modified:?}");
    }

    #[test]
    fn a_heuristic_lifetime_is_a_tenth_of_the_time_unchanged_and_at_most_a_day() {
        let days_before = |days: u64| Modified::Origin(HttpDate(MIDNIGHT - (days * DAY).cast_signed()));
        check_heuristic(200, &[DATE], days_before(1), Some(DAY / 10));
        check_heuristic(200, &[], days_before(1), Some(DAY / 10));
        check_heuristic(200, &[DATE], days_before(400), Some(DAY));
        check_heuristic(200, &[DATE], Modified::Origin(HttpDate(MIDNIGHT + 1)), Some(0));
        check_heuristic(200, &[DATE], Modified::Origin(HttpDate(i64::MIN)), Some(DAY));
    }

    #[test]
    fn only_the_origin_s_own_last_modified_makes_a_heuristic_lifetime() {
        let date = HttpDate(MIDNIGHT - 1000);
        check_heuristic(200, &[DATE], Modified::Computed { date, first_seen: date }, None);
        check_heuristic(200, &[DATE], Modified::Absent, None);
    }

    #[test]
    fn only_heuristically_cacheable_statuses_or_public_have_a_heuristic_lifetime() {
        let modified = Modified::Origin(HttpDate(MIDNIGHT - 1000));
        for status in [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501] {
            check_heuristic(status, &[DATE], modified, Some(100));
        }
        for status in [201, 202, 302, 303, 307, 400, 403, 429, 500, 502, 503, 504, 599] {
            check_heuristic(status, &[DATE], modified, None);
            check_heuristic(status, &[DATE, ("Cache-Control", "public")], modified, Some(100));
        }
    }

    #[test]
    fn where_fresh_governs_the_origin_s_lifetimes_count_for_nothing() {
        for lines in [&[][..], &[("Cache-Control", "max-age=1, s-maxage=2")], &[DATE, ("Expires", "0")]] {
            for status in [200, 203, 300, 301, 308] {
                let expected = Lifetime { length: secs(60), source: Source::Route };
                assert_eq!(lifetime(&response(status, lines), &fresh_for(60)), expected);
            }
            for status in [404, 410] {
                let expected = Lifetime { length: secs(5), source: Source::Negative };
                assert_eq!(lifetime(&response(status, lines), &fresh_for(60)), expected);
            }
        }
    }

    #[test]
    fn fresh_leaves_other_statuses_and_plain_mode_to_the_origin() {
        let explicit = [("Cache-Control", "max-age=9")];
        let origins = Lifetime { length: secs(9), source: Source::MaxAge };
        for status in [201, 204, 206, 302, 400, 403, 500, 599] {
            assert!(!governs(status, &fresh_for(60)));
            assert_eq!(lifetime(&response(status, &explicit), &fresh_for(60)), origins);
        }
        assert!(governs(200, &fresh_for(60)) && governs(404, &fresh_for(60)));
        assert!(!governs(200, &plain()) && !governs(404, &plain()));
    }

    #[track_caller]
    fn check_at(after: Duration, initial_age: Duration, expected: Freshness) {
        let stored = Response { initial_age, ..response(200, &[]) };
        assert_eq!(of(&stored, &fresh_for(60), at(0) + after), expected);
    }

    #[test]
    fn a_response_is_fresh_while_its_lifetime_is_greater_than_its_age() {
        let ms = Duration::from_millis;
        check_at(secs(0), secs(0), Freshness::Fresh { ttl: secs(60) });
        check_at(ms(59_999), secs(0), Freshness::Fresh { ttl: ms(1) });
        check_at(secs(60), secs(0), Freshness::Stale { by: secs(0) });
        check_at(secs(61), secs(0), Freshness::Stale { by: secs(1) });
        check_at(secs(30), secs(29), Freshness::Fresh { ttl: secs(1) });
        check_at(secs(30), secs(40), Freshness::Stale { by: secs(10) });
    }

    #[track_caller]
    fn check_stale(status: u16, cache_control: &str, route: &Route, [revalidate, error, disconnected]: [u64; 3]) {
        let expected =
            Stale { while_revalidate: secs(revalidate), if_error: secs(error), if_disconnected: secs(disconnected) };
        let stored = response(status, &[("Cache-Control", cache_control)]);
        assert_eq!(stale_allowance(&stored, route, secs(3600)), expected, "{cache_control}");
    }

    #[test]
    fn where_fresh_governs_the_route_allows_unless_a_word_forbids() {
        let ignoring = Route { origin_cache_control: OriginCacheControl::Ignore, ..fresh_for(60) };
        for word in ["", "stale-while-revalidate=1", "stale-if-error=1", "s-maxage=1", "private", "max-age=0"] {
            check_stale(200, word, &fresh_for(60), [100, 1000, 1000]);
        }
        for word in ["must-revalidate", "proxy-revalidate", "no-cache", "no-cache=\"set-cookie\""] {
            check_stale(200, word, &fresh_for(60), [0, 0, 0]);
            check_stale(200, word, &ignoring, [100, 1000, 1000]);
        }
    }

    #[test]
    fn a_negative_response_is_never_used_stale() {
        check_stale(404, "", &fresh_for(60), [0, 0, 0]);
        check_stale(410, "stale-if-error=60", &fresh_for(60), [0, 0, 0]);
    }

    #[test]
    fn in_plain_mode_the_response_allows_and_disconnection_does() {
        check_stale(200, "max-age=1", &plain(), [0, 0, 3600]);
        check_stale(200, "stale-while-revalidate=7", &plain(), [7, 0, 3600]);
        check_stale(200, "stale-if-error=8", &plain(), [0, 8, 3600]);
        check_stale(200, "stale-if-error=7200", &plain(), [0, 7200, 7200]);
        check_stale(500, "max-age=1", &fresh_for(60), [0, 0, 3600]);
    }

    #[test]
    fn in_plain_mode_a_word_forbids_all_of_it_whatever_the_route_ignores() {
        let ignoring = Route { origin_cache_control: OriginCacheControl::Ignore, ..plain() };
        for word in ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=1"] {
            let line = format!("{word}, stale-while-revalidate=7, stale-if-error=8");
            check_stale(200, &line, &plain(), [0, 0, 0]);
            check_stale(200, &line, &ignoring, [0, 0, 0]);
        }
    }

    const FIELDS: [&str; 6] = ["age", "cache-control", "date", "expires", "last-modified", "pragma"];

    /// Clocks at their ends, near each other, and anywhere.
    fn any_time() -> impl Strategy<Value = Timestamp> {
        let edges = prop_oneof![Just(i64::MIN), Just(-1), Just(0), Just(MIDNIGHT * 1000), Just(i64::MAX)];
        let wall = prop_oneof![2 => edges, 3 => MIDNIGHT * 1000..MIDNIGHT * 1000 + 400_000, 1 => any::<i64>()];
        let boot = prop_oneof![2 => Just(0), 1 => Just(u64::MAX), 4 => 0..400_000_u64, 1 => any::<u64>()];
        (wall, boot).prop_map(|(wall_ms, boot_ms)| Timestamp { wall_ms, boot_ms })
    }

    /// A response with any lines at all, received at any time, and reckoned as one that was.
    fn any_response() -> impl Strategy<Value = Response> {
        let status = prop_oneof![3 => Just(200_u16), 1 => 100..1000_u16];
        (status, hostile::section(&FIELDS), any_time(), any_time()).prop_map(|(status, fields, sent, came)| {
            let initial_age = initial_age(status, &fields, &plain(), sent, came);
            let today = HttpDate(came.wall_seconds());
            let modified = validator::sent_date(&fields, today).map_or(Modified::Absent, Modified::Origin);
            Response { fields, modified, initial_age, response_time: came, ..response(status, &[]) }
        })
    }

    /// How much longer it is fresh, or less than nothing by how long it has not been, in nanoseconds.
    fn left(freshness: Freshness) -> i128 {
        let nanos = |time: Duration| i128::try_from(time.as_nanos()).expect("no duration has more");
        match freshness {
            Freshness::Fresh { ttl } => nanos(ttl),
            Freshness::Stale { by } => -nanos(by),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        #[test]
        fn whatever_fields_and_clocks_say_age_and_time_left_make_up_the_lifetime(
            stored in any_response(), now in any_time(), fresh: u64, on_disconnect: u64,
        ) {
            for route in [plain(), fresh_for(fresh)] {
                let lifetime = lifetime(&stored, &route).length;
                let age = current_age(&stored, now);
                prop_assert!(age >= stored.initial_age, "no age is less than the initial one");
                let expected = left(Freshness::Fresh { ttl: lifetime }) - left(Freshness::Fresh { ttl: age });
                prop_assert_eq!(left(of(&stored, &route, now)), expected);
                let Stale { if_error, if_disconnected, .. } = stale_allowance(&stored, &route, secs(on_disconnect));
                prop_assert!(if_disconnected >= if_error);
            }
            // What a field can say is at most 2^31 seconds, or from the first day to the last.
            let first = HttpDate::FIRST.min(stored.response_time.wall_seconds());
            prop_assert!(lifetime(&stored, &plain()).length <= secs((HttpDate::LAST - first).cast_unsigned()));
        }

        #[test]
        fn what_has_aged_is_never_fresher(stored in any_response(), now in any_time(), by: u64, older: u64) {
            let aged = Response { initial_age: stored.initial_age.saturating_add(secs(older)), ..stored.clone() };
            let later = now + Duration::from_millis(by);
            for route in [plain(), fresh_for(60)] {
                let before = left(of(&stored, &route, now));
                prop_assert!(left(of(&stored, &route, later)) <= before);
                prop_assert!(left(of(&aged, &route, now)) <= before);
            }
        }

        #[test]
        fn a_corrected_wall_clock_changes_nothing_of_what_is_stored(
            stored in any_response(), now in any_time(), wall_ms: i64,
        ) {
            let corrected = Timestamp { wall_ms, ..now };
            prop_assert_eq!(of(&stored, &plain(), corrected), of(&stored, &plain(), now));
        }

        #[test]
        fn more_age_sent_and_a_slower_answer_never_make_a_younger_response(
            fields in hostile::section(&["date", "cache-control"]), ages in [0..1_u64 << 33, 0..1_u64 << 33],
            sent in any_time(), takes in [0..1_u64 << 40, 0..1_u64 << 40],
        ) {
            let age = |seconds: u64, takes: u64| {
                let mut fields = fields.clone();
                fields.push("Age", seconds.to_string());
                initial_age(200, &fields, &plain(), sent, sent + Duration::from_millis(takes))
            };
            let [young, old] = [ages[0].min(ages[1]), ages[0].max(ages[1])];
            let [quick, slow] = [takes[0].min(takes[1]), takes[0].max(takes[1])];
            // Which century a year of two digits lies in depends on when it is read (RFC 9110 §5.6.7).
            let date = |takes| HttpDate::of(&fields, "date", HttpDate((sent + Duration::from_millis(takes)).wall_seconds()));
            prop_assume!(date(quick) == date(slow));
            prop_assert!(age(young, quick) <= age(old, quick));
            prop_assert!(age(young, quick) <= age(young, slow));
            prop_assert!(age(old, quick) >= secs(old.min(1 << 31)));
        }

        #[test]
        fn an_older_date_never_makes_a_younger_response(dates in [0..=HttpDate::LAST, 0..=HttpDate::LAST], came in any_time()) {
            let age = |date: i64| {
                let fields = [("Date", HttpDate(date).to_string())].into_iter().collect();
                initial_age(200, &fields, &plain(), came, came)
            };
            prop_assert!(age(dates[0].min(dates[1])) >= age(dates[0].max(dates[1])));
        }
    }

    proptest! {
        #[test]
        fn no_lifetime_overflows(
            date in HttpDate::FIRST..=HttpDate::LAST, expires in HttpDate::FIRST..=HttpDate::LAST,
            modified: i64, wall_ms: i64,
        ) {
            let (date_line, expires_line) = (HttpDate(date).to_string(), HttpDate(expires).to_string());
            let response_time = Timestamp { wall_ms, boot_ms: 0 };
            let lines = [("Date", date_line.as_str()), ("Expires", expires_line.as_str())];
            let dated = Response { response_time, ..response(200, &lines) };
            let length = lifetime(&dated, &plain()).length.as_secs();
            prop_assert_eq!(i128::from(length), (i128::from(expires) - i128::from(date)).max(0));
            let heuristic = Response { modified: Modified::Origin(HttpDate(modified)), fields: Fields::new(), ..dated };
            prop_assert!(lifetime(&heuristic, &plain()).length <= secs(DAY));
        }
    }
}
