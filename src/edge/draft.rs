//! The first configuration of an API, written out of what the first run learned of it.

use super::learn::{Given, OTHER, Row};
use crate::policy::Origin;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// How many learned paths a draft names: it is to be read before it is used.
const MAX_PATHS: usize = 12;

/// The origin's URL as it is written.
pub fn url(origin: &Origin) -> String {
    let scheme = if origin.tls { "https" } else { "http" };
    format!("{scheme}://{}{}", origin.authority(), origin.path)
}

/// The beginning of every file: the one key without a default.
pub fn origin(url: &str) -> String {
    format!("# freshgate.toml\n[origin]\nurl = {url:?}\n")
}

/// The route that `--fresh` makes, written down: it is for everything, and any mutation invalidates all of it.
pub fn everything(url: &str, lines: &str) -> String {
    let route = "name = \"everything\"\npaths = [\"/\", \"/{*rest}\"]\ninvalidates = [\"everything\"]";
    format!("{}\n[[route]]\n{route}\n{lines}", origin(url))
}

/// A file for what was learned of the API at `url`; `candidates` of `fresh` are the shortest first. Each path gets the
/// longest that would have given it hits and no stale read or, if none has had a hit yet, the shortest. Empty where every
/// path would have given stale reads. `forbidden`: the API's Cache-Control would keep `fresh` from doing anything.
pub fn of(url: &str, rows: &[Row], candidates: &[(Duration, &str)], forbidden: bool) -> String {
    let given = |row: &Row, text: &str| row.fresh.get(text).copied().unwrap_or_default();
    let well = |row: &Row| candidates.iter().rposition(|(_, text)| is_good(given(row, text)));
    let harmless = |row: &Row| candidates.iter().position(|(_, text)| given(row, text).stale == 0);
    let any_hit = rows.iter().any(|row| well(row).is_some());
    let mut routes: BTreeMap<&str, Draft<'_>> = BTreeMap::new();
    for row in rows.iter().filter(|row| is_writable(&row.path)).take(MAX_PATHS) {
        let Some(fresh) = (if any_hit { well(row) } else { harmless(row) }) else { continue };
        let path = row.path.trim_end_matches('/');
        let draft = routes.entry(path.strip_suffix("/{id}").unwrap_or(path)).or_insert(Draft { paths: vec![], fresh });
        // What a shorter time suits suits the others too.
        draft.fresh = draft.fresh.min(fresh);
        draft.paths.push(path);
    }
    if routes.is_empty() {
        return String::new();
    }
    let named: Vec<(String, Draft<'_>)> = named(routes);
    let names: Vec<String> = named.iter().map(|(name, _)| format!("{name:?}")).collect();
    let mut text = origin(url);
    let all = "# until you say what changes what: any mutation invalidates all of these";
    write!(text, "\n[defaults]\n{all}\ninvalidates = [{}]\n", names.join(", ")).expect("a string takes everything");
    if forbidden {
        text.push_str("# it says no-store, no-cache or must-revalidate; where it means that, take this line out\n");
        text.push_str("origin_cache_control = \"ignore\"\n");
    }
    for (name, Draft { mut paths, fresh }) in named {
        paths.sort_unstable();
        let paths: Vec<String> = paths.iter().map(|path| format!("{:?}", with_parameters_told_apart(path))).collect();
        let (paths, fresh) = (paths.join(", "), candidates[fresh].1);
        write!(text, "\n[[route]]\nname = {name:?}\npaths = [{paths}]\nfresh = {fresh:?}\n")
            .expect("a string takes everything");
    }
    // Without `fresh`, so that nothing else is answered unasked; its mutations count all the same.
    text.push_str("\n[[route]]\nname = \"everything-else\"\npaths = [\"/{*rest}\"]\n");
    text
}

/// One route, as far as it is known.
struct Draft<'r> {
    paths: Vec<&'r str>,
    /// Which candidate.
    fresh: usize,
}

fn is_good(given: Given) -> bool {
    given.hits > 0 && given.stale == 0
}

/// Whether a learned path can stand in a configuration as it is.
fn is_writable(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    path != OTHER
        && path.len() > 1
        && path
            .trim_end_matches('/')
            .split('/')
            .skip(1)
            .all(|segment| segment == "{id}" || !segment.is_empty() && segment.chars().all(plain))
}

/// Names out of the words of their paths, no two alike.
fn named<'r>(routes: BTreeMap<&str, Draft<'r>>) -> Vec<(String, Draft<'r>)> {
    let mut named: Vec<(String, Draft<'r>)> = Vec::new();
    for (path, draft) in routes {
        let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty() && *word != "{id}").collect();
        let mut name = words.join("-");
        if name.is_empty() || named.iter().any(|(taken, _)| *taken == name) {
            name = format!("{name}{}{}", if name.is_empty() { "items-" } else { "-" }, named.len() + 1);
        }
        named.push((name, draft));
    }
    named
}

/// Every `{id}` but the last under a name of its own: a path has no two parameters of one name, and it is the last that
/// says which item it is.
fn with_parameters_told_apart(path: &str) -> String {
    let mut more = path.matches("{id}").count();
    let told_apart = path.split('/').map(|segment| match segment {
        "{id}" if more > 1 => {
            more -= 1;
            format!("{{parent{more}}}")
        }
        segment => segment.to_owned(),
    });
    told_apart.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Overrides};
    use crate::policy::{Freshness, OriginCacheControl, Policy};

    const URL: &str = "http://127.0.0.1:3000";
    const CANDIDATES: [(Duration, &str); 2] = [(Duration::from_secs(30), "30s"), (Duration::from_mins(5), "5m")];

    /// A learned path and what each candidate would have given: hits and stale reads.
    fn row(path: &str, given: [(u64, u64); 2]) -> Row {
        let given = given.map(|(hits, stale)| Given { hits, stale });
        let fresh = CANDIDATES.iter().zip(given).map(|((_, text), given)| ((*text).to_owned(), given)).collect();
        Row { path: path.to_owned(), requests: 9, contents: 1, not_modified: 0, bytes_saved: 0, fresh }
    }

    /// A draft is a whole file that says what it means.
    #[track_caller]
    fn sound(draft: &str) -> Policy {
        match config::parse(draft, "draft.toml", &Overrides::default(), &|_| None) {
            Ok(loaded) => loaded.policy,
            Err(errors) => panic!("{errors}\n{draft}"),
        }
    }

    #[test]
    fn each_path_gets_what_would_have_served_it_best() {
        let rows = [
            row("/products", [(5, 0), (9, 0)]),
            row("/products/{id}", [(3, 0), (4, 1)]),
            row("/stock", [(2, 1), (3, 2)]),
            row("/units/", [(0, 0), (1, 0)]),
        ];
        insta::assert_snapshot!(of(URL, &rows, &CANDIDATES, false), @r#"
        # freshgate.toml
        [origin]
        url = "http://127.0.0.1:3000"

        [defaults]
        # until you say what changes what: any mutation invalidates all of these
        invalidates = ["products", "units"]

        [[route]]
        name = "products"
        paths = ["/products", "/products/{id}"]
        fresh = "30s"

        [[route]]
        name = "units"
        paths = ["/units"]
        fresh = "5m"

        [[route]]
        name = "everything-else"
        paths = ["/{*rest}"]
        "#);
        let policy = sound(&of(URL, &rows, &CANDIDATES, false));
        assert_eq!(policy.routes.select("/stock").route.freshness, Freshness::Origin);
        assert_eq!(policy.routes.select("/sales/5/void").route.invalidates.len(), 2, "whatever else is changed");
    }

    #[test]
    fn before_anything_is_asked_for_again_the_shortest_is_worth_a_try() {
        let policy = sound(&of(URL, &[row("/products", [(0, 0), (0, 0)])], &CANDIDATES, false));
        assert_eq!(policy.routes.select("/products").route.freshness, Freshness::For(CANDIDATES[0].0));
    }

    #[test]
    fn an_api_that_forbids_reuse_is_overruled_in_writing() {
        let policy = |forbidden| sound(&of(URL, &[row("/products", [(1, 0), (1, 0)])], &CANDIDATES, forbidden));
        for (forbidden, expected) in [(false, OriginCacheControl::Respect), (true, OriginCacheControl::Ignore)] {
            assert_eq!(policy(forbidden).routes.select("/products").route.origin_cache_control, expected);
        }
    }

    #[test]
    fn what_would_be_stale_is_left_out() {
        assert_eq!(of(URL, &[row("/stock", [(1, 1), (1, 1)])], &CANDIDATES, false), "");
        assert_eq!(of(URL, &[], &CANDIDATES, false), "");
    }

    #[test]
    fn whatever_was_learned_the_file_is_sound() {
        let none = [(1, 0), (1, 0)];
        let odd =
            ["/", OTHER, "/{id}", "/{id}/{id}", "/a/{id}/b/{id}", "/a/{id}/b", "/a-b", "/a/b", "/%41", "/x{y", "/a//b"];
        let draft = of(URL, &odd.map(|path| row(path, none)), &CANDIDATES, false);
        let policy = sound(&draft);
        assert_eq!(policy.routes.select("/a/1/b/2").route.freshness, Freshness::For(CANDIDATES[1].0), "{draft}");
        let many: Vec<Row> = (0..99).map(|n| row(&format!("/p{n}"), none)).collect();
        assert_eq!(sound(&of(URL, &many, &CANDIDATES, false)).routes.iter().count(), MAX_PATHS + 2);
    }

    #[test]
    fn everything_is_what_the_flag_makes_of_it() {
        let flags = Overrides { origin: Some(URL.into()), fresh: Some(CANDIDATES[0].0), ..Overrides::default() };
        let flagged = config::from_flags(&flags).expect("an origin is enough").policy.routes;
        let written = sound(&everything(URL, "fresh = \"30s\"\n")).routes;
        for path in ["/", "/products/5"] {
            assert_eq!(format!("{:?}", written.select(path)), format!("{:?}", flagged.select(path)));
        }
    }
}
