//! Why a route's hit rate is low, and the lines of TOML that change it: a number nobody can act on is not shown alone.

use super::draft;
use super::metrics::RouteStats;
use crate::policy::{Freshness, Mode, OriginCacheControl, Route};
use crate::semantics::cache_status::Detail;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What stands beside a low hit rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// A sentence or two.
    pub why: String,
    /// Lines for the configuration, a comment first that says where they go; empty where none would help.
    pub toml: String,
}

/// What `fresh` is advised to be where there is none, or next to none.
const SHORT: Duration = Duration::from_secs(30);

/// Lines of a configuration.
enum Lines {
    /// Of a `[[route]]`.
    Route(String),
    /// Of another table, its head included.
    Table(&'static str),
    /// None would help.
    None,
}

/// Advice on a route that has had reads, of which fewer than half were answered from the store. `without_file`: the URL of
/// the origin, where there is no file that lines could be put into.
pub fn advice(stats: &RouteStats, route: &Route, without_file: Option<&str>) -> Option<Advice> {
    let counts = &stats.counts;
    if counts.reads == 0 || counts.hits * 2 >= counts.reads {
        return None;
    }
    let misses = counts.reads - counts.hits;
    let main = Detail::ALL
        .iter()
        .map(|detail| (*detail, stats.details.get(detail.as_str()).copied().unwrap_or(0)))
        .filter(|(detail, n)| n * 2 >= misses && blames(*detail))
        .max_by_key(|(_, n)| *n);
    let (why, lines) = match main {
        Some((detail, n)) => (format!("{n} of {misses} misses: {}", detail.sentence()), because(detail, route)),
        None => without_detail(counts.reads, counts.collapsed, route),
    };
    let toml = match without_file {
        Some(origin) => file(origin, route, &lines),
        None => placed(route, lines),
    };
    Some(Advice { why, toml })
}

/// Whether a detail says why something did not come from the store, rather than how a fetch went.
fn blames(detail: Detail) -> bool {
    !matches!(detail, Detail::Unchanged | Detail::StaleWhileRevalidate | Detail::StaleIfError)
}

fn because(detail: Detail, route: &Route) -> Lines {
    let plain = route.freshness == Freshness::Origin;
    let here = |lines: &str| Lines::Route(lines.to_owned());
    match detail {
        Detail::Pass if route.mode == Mode::Pass => here("mode = \"cache\""),
        Detail::NoStore | Detail::NoCache | Detail::Private | Detail::MustRevalidate if plain => {
            here("fresh = \"30s\"\norigin_cache_control = \"ignore\"")
        }
        Detail::NoStore | Detail::NoCache | Detail::Private | Detail::MustRevalidate
            if route.origin_cache_control == OriginCacheControl::Respect =>
        {
            here("origin_cache_control = \"ignore\"")
        }
        Detail::NoLifetime | Detail::Authorization if plain => here("fresh = \"30s\""),
        Detail::SetCookie => here("set_cookie = \"strip\""),
        Detail::Acceptance => Lines::Table("[identity]\naccepted_for = \"5m\""),
        Detail::TooLarge | Detail::Streaming => Lines::Table("[cache]\nmax_body = \"16MiB\""),
        Detail::NearlyFull => Lines::Table("[cache]\nmemory = \"1GiB\""),
        _ => Lines::None,
    }
}

/// No single detail explains it: the URLs were new, or were no longer fresh.
fn without_detail(reads: u64, collapsed: u64, route: &Route) -> (String, Lines) {
    match route.freshness {
        _ if route.mode == Mode::Pass => {
            (Detail::Pass.sentence().to_owned(), Lines::Route("mode = \"cache\"".to_owned()))
        }
        Freshness::Origin => (
            "The origin is asked every time, because no `fresh` says how long its answers may be reused.".to_owned(),
            Lines::Route("fresh = \"30s\"".to_owned()),
        ),
        Freshness::For(fresh) => (
            match collapsed * 2 >= reads {
                true => "Most were asked for while the same was being fetched, and shared that fetch.".to_owned(),
                false => format!(
                    "Few URLs were asked for again, by a caller who may share the answer, within the {} of `fresh`.",
                    text(fresh)
                ),
            },
            Lines::Route(format!("fresh = \"{}\"", text((fresh.saturating_mul(4)).max(SHORT)))),
        ),
    }
}

/// The lines with a comment that says in which table they go; for paths that no route names, a route of their own.
fn placed(route: &Route, lines: Lines) -> String {
    match (lines, route.patterns.first()) {
        (Lines::Route(lines), Some(_)) => format!("# in the [[route]] named {:?}\n{lines}", route.name),
        (Lines::Route(lines), None) => format!("[[route]]\nname = \"api\"\npaths = [\"/{{*rest}}\"]\n{lines}"),
        (Lines::Table(table), _) => table.to_owned(),
        (Lines::None, _) => String::new(),
    }
}

/// A whole file with the lines in it, which does otherwise what the command line does without one.
fn file(origin: &str, route: &Route, lines: &Lines) -> String {
    let fresh = match (lines, route.freshness) {
        (Lines::Route(lines), _) if lines.starts_with("fresh") => String::new(),
        (_, Freshness::For(fresh)) => format!("fresh = \"{}\"\n", text(fresh)),
        (_, Freshness::Origin) => String::new(),
    };
    match lines {
        Lines::Route(lines) => draft::everything(origin, &format!("{fresh}{lines}")),
        Lines::Table(table) if fresh.is_empty() => format!("{}\n{table}", draft::origin(origin)),
        Lines::Table(table) => format!("{}\n{table}", draft::everything(origin, &fresh)),
        Lines::None => String::new(),
    }
}

/// A duration as the configuration writes it, in its largest whole unit.
fn text(duration: Duration) -> String {
    const UNITS: [(u128, &str); 3] = [(3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let ms = duration.as_millis();
    match UNITS.iter().find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Overrides};
    use crate::edge::metrics::Counts;
    use crate::edge::sample;

    fn stats(reads: u64, hits: u64, details: &[(Detail, u64)]) -> RouteStats {
        RouteStats {
            counts: Counts { reads, hits, ..Counts::default() },
            details: details.iter().map(|(detail, n)| (detail.as_str().to_owned(), *n)).collect(),
            ..RouteStats::default()
        }
    }

    /// On a route as `change` makes it, the advice is `expected`.
    #[track_caller]
    fn check(stats: &RouteStats, change: impl FnOnce(&mut Route), expected: Option<(&str, &str)>) {
        let mut route = sample::categories();
        change(&mut route);
        let expected = expected.map(|(why, toml)| Advice { why: why.to_owned(), toml: toml.to_owned() });
        assert_eq!(advice(stats, &route, None), expected);
    }

    fn plain(route: &mut Route) {
        route.freshness = Freshness::Origin;
    }

    #[test]
    fn a_route_that_does_well_or_was_not_read_needs_none() {
        check(&stats(0, 0, &[]), |_| {}, None);
        check(&stats(10, 5, &[(Detail::NoStore, 5)]), |_| {}, None);
    }

    #[test]
    fn the_origins_word_against_the_routes() {
        let seen = stats(10, 0, &[(Detail::NoStore, 9), (Detail::Unchanged, 10)]);
        let why = "9 of 10 misses: The origin said `no-store`.";
        let ignore = "# in the [[route]] named \"categories\"\norigin_cache_control = \"ignore\"";
        check(&seen, |_| {}, Some((why, ignore)));
        let both = "# in the [[route]] named \"categories\"\nfresh = \"30s\"\norigin_cache_control = \"ignore\"";
        check(&seen, plain, Some((why, both)));
        check(&seen, |route| route.origin_cache_control = OriginCacheControl::Ignore, Some((why, "")));
    }

    #[test]
    fn where_no_route_names_the_path_the_advice_is_a_whole_route() {
        let why = "3 of 3 misses: The response says nothing of its freshness and the route has no `fresh`.";
        let toml = "[[route]]\nname = \"api\"\npaths = [\"/{*rest}\"]\nfresh = \"30s\"";
        check(&stats(3, 0, &[(Detail::NoLifetime, 3)]), |route| *route = sample::implicit(), Some((why, toml)));
    }

    #[test]
    fn without_one_main_detail_the_lifetime_is_what_can_be_changed() {
        let why = "The origin is asked every time, because no `fresh` says how long its answers may be reused.";
        check(&stats(3, 0, &[]), plain, Some((why, "# in the [[route]] named \"categories\"\nfresh = \"30s\"")));
        let why = "Few URLs were asked for again, by a caller who may share the answer, within the 30s of `fresh`.";
        let toml = "# in the [[route]] named \"categories\"\nfresh = \"2m\"";
        check(&stats(9, 1, &[(Detail::Invalidated, 1), (Detail::NoStore, 1)]), |_| {}, Some((why, toml)));
    }

    #[test]
    fn a_route_set_to_pass() {
        let why = "The route is set to `mode = \"pass\"`, or the request is of a kind that is only passed on.";
        let toml = "# in the [[route]] named \"categories\"\nmode = \"cache\"";
        check(&stats(3, 0, &[]), |route| route.mode = Mode::Pass, Some((why, toml)));
    }

    #[test]
    fn every_line_of_advice_is_toml() {
        for detail in Detail::ALL {
            for change in [|_: &mut Route| {}, plain, |route: &mut Route| *route = sample::implicit()] {
                let mut route = sample::categories();
                change(&mut route);
                let advise = |without_file| advice(&stats(4, 0, &[(*detail, 4)]), &route, without_file);
                let toml = advise(None).map(|a| a.toml).unwrap_or_default();
                assert!(toml.parse::<toml::Table>().is_ok(), "{detail:?}: {toml}");
                let file = advise(Some("http://127.0.0.1:3000")).map(|a| a.toml).unwrap_or_default();
                let sound = config::parse(&file, "advice.toml", &Overrides::default(), &|_| None);
                assert!(file.is_empty() || sound.is_ok(), "{detail:?}: {file}");
            }
        }
    }

    /// `serve --origin URL --fresh 30s` in front of an API that says no-cache: the line needs a file to stand in.
    #[test]
    fn where_there_is_no_file_the_advice_is_a_whole_one() {
        let flags =
            Overrides { origin: Some("http://127.0.0.1:3000".to_owned()), fresh: Some(SHORT), ..Overrides::default() };
        let flagged = config::from_flags(&flags).expect("an origin is enough").policy;
        let route = flagged.routes.select("/products").route;
        let advised = |detail| {
            advice(&stats(9, 0, &[(detail, 9)]), route, Some("http://127.0.0.1:3000")).expect("there is no hit").toml
        };
        insta::assert_snapshot!(advised(Detail::NoCache), @r#"
        # freshgate.toml
        [origin]
        url = "http://127.0.0.1:3000"

        [[route]]
        name = "everything"
        paths = ["/", "/{*rest}"]
        invalidates = ["everything"]
        fresh = "30s"
        origin_cache_control = "ignore"
        "#);
        let file = advised(Detail::TooLarge);
        let written = config::parse(&file, "f", &Overrides::default(), &|_| None).expect("advice is sound").policy;
        assert_eq!((written.cache.max_body, draft::url(&written.origin)), (16 << 20, draft::url(&flagged.origin)));
        assert_eq!(written.routes.select("/products").route.freshness, Freshness::For(SHORT));
    }

    #[test]
    fn durations_as_the_configuration_writes_them() {
        for (ms, written) in [(1500, "1500ms"), (90_000, "90s"), (120_000, "2m"), (7_200_000, "2h")] {
            assert_eq!(text(Duration::from_millis(ms)), written);
        }
    }
}
