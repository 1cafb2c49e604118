//! Invalidating stored responses (RFC 9111 §4.4), and what a route's owner adds to it.
//!
//! A mutation touches [`FenceKey`]s; every stored response carries the keys that would make it void. What a mutation
//! touches is known before it is sent, so that the barrier can be raised; its response adds only what Location and
//! Content-Location name.

use crate::field::Fields;
use crate::policy::{EntityId, Mode, Pattern, PatternKind, Relation, Route, Routes, Selected};
use crate::semantics::request::{Request, Scheme};
use std::time::Duration;

/// One thing that can change: what a mutation touches and what a stored response shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FenceKey {
    /// Everything there is.
    All,
    /// Everything that the routes of an entity show.
    Entity(EntityId),
    /// The collections of an entity's routes.
    Collections(EntityId),
    /// One item of an entity, by the value of its `{id}`.
    Item(EntityId, String),
    /// One path in matching form, whatever its query.
    Path(String),
    /// One path in matching form with one query.
    Target(String, String),
    /// Everything that the origin told one caller.
    Credential([u8; 16]),
    /// What the origin told one caller about one path.
    CredentialAt([u8; 16], String),
}

/// What is to be invalidated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invalidation {
    /// Sorted, without doubles.
    pub keys: Vec<FenceKey>,
    /// Whether no route was named by the mutation's path.
    pub unrouted: bool,
}

impl Invalidation {
    fn of(mut keys: Vec<FenceKey>, unrouted: bool) -> Self {
        keys.sort();
        keys.dedup();
        Invalidation { keys, unrouted }
    }

    /// One key.
    pub fn of_key(key: FenceKey) -> Self {
        Invalidation { keys: vec![key], unrouted: false }
    }

    /// Adds what `other` invalidates.
    pub fn with(self, other: Invalidation) -> Self {
        let mut keys = self.keys;
        keys.extend(other.keys);
        Invalidation::of(keys, self.unrouted)
    }
}

/// Whether a request may change something (RFC 9110 §9.2.1), as far as its head and its route tell. Unknown methods
/// count as unsafe (RFC 9111 §4.4).
pub fn is_mutation(request: &Request, route: &Route) -> bool {
    let method = request.method.as_str();
    let safe = |method: &[u8]| SAFE.iter().any(|safe| method.eq_ignore_ascii_case(safe.as_bytes()));
    let reads = |method: &[u8]| route.reads.iter().any(|reads| method.eq_ignore_ascii_case(reads.as_bytes()));
    match method {
        "GET" | "HEAD" => route.writes.iter().any(|m| m == method) || !overrides(&request.fields).all(safe),
        "OPTIONS" | "TRACE" => route.writes.iter().any(|m| m == method),
        _ => !route.reads.iter().any(|m| m == method) || !overrides(&request.fields).all(|m| safe(m) || reads(m)),
    }
}

/// RFC 9110 §9.2.1.
const SAFE: [&str; 4] = ["GET", "HEAD", "OPTIONS", "TRACE"];

/// The methods that frameworks let a field put in place of the request's own.
pub fn overrides(fields: &Fields) -> impl Iterator<Item = &[u8]> {
    let names = ["x-http-method-override", "x-http-method", "x-method-override"];
    let named = names.into_iter().flat_map(|name| fields.get_alike(name));
    named.map(<[u8]>::trim_ascii).filter(|method| !method.is_empty())
}

/// Whether a mutation may replace or end what there is, in its own words or in those of a field that overrides its method.
pub fn may_replace(request: &Request) -> bool {
    let replaces = |method: &[u8]| ["PUT", "PATCH", "DELETE"].iter().any(|m| method.eq_ignore_ascii_case(m.as_bytes()));
    replaces(request.method.as_bytes()) || overrides(&request.fields).any(replaces)
}

/// What a mutation touches, from its request alone.
pub fn decide(request: &Request, routes: &Routes) -> Invalidation {
    let path = routes.matching_form(&request.path);
    let method = effective_method(request);
    let touched = touched(method, &path, routes);
    match without_empty_segments(&path) {
        // Many an origin reads `/api//products` as `/api/products`, and nobody can tell which this one is.
        Some(shorter) => {
            let other = self::touched(method, &shorter, routes);
            let unrouted = touched.unrouted && other.unrouted;
            Invalidation { unrouted, ..touched.with(other) }
        }
        None => touched,
    }
}

/// The method that says what a mutation touches. Whoever overrides it may mean any other: what that touches has no name,
/// so it is the whole route.
fn effective_method(request: &Request) -> &str {
    let own = |method: &[u8]| method.eq_ignore_ascii_case(request.method.as_bytes());
    if overrides(&request.fields).all(own) { &request.method } else { "" }
}

/// A path in matching form without its empty segments; `None` where it has none.
pub fn without_empty_segments(path: &str) -> Option<String> {
    let named = || path.split('/').filter(|segment| !segment.is_empty());
    path.contains("//").then(|| format!("/{}", named().collect::<Vec<_>>().join("/")))
}

/// What a mutation of `path`, in matching form, touches.
fn touched(method: &str, path: &str, routes: &Routes) -> Invalidation {
    // "A cache MUST invalidate the target URI when it receives a non-error status code in response to an unsafe
    // request method" (RFC 9111 §4.4), whatever else a route says.
    let mut keys = vec![FenceKey::Path(path.to_owned())];
    let selected = routes.select(path);
    if let Some(pattern) = selected.pattern {
        own(&mut keys, method, &selected, pattern);
        related(&mut keys, &selected, routes);
        // A path of its own says whose the mutation is; a remainder takes what is left, whatever that lies below.
        if pattern.kind != PatternKind::Remainder {
            return Invalidation::of(keys, false);
        }
    }
    let mut routed = selected.pattern.is_some();
    for selected in routes.below(path) {
        routed = true;
        keys.push(FenceKey::Entity(selected.route.entity_id));
        related(&mut keys, &selected, routes);
    }
    if routed {
        return Invalidation::of(keys, false);
    }
    // "A mutation that matches nothing": what it may have changed is guessed from where it points.
    keys.extend(routes.with_literal_prefix_of(path).map(|route| FenceKey::Entity(route.entity_id)));
    Invalidation::of(keys, true)
}

/// The mutation's own route: an item and its collections, the collections, or the whole.
fn own(keys: &mut Vec<FenceKey>, method: &str, selected: &Selected<'_>, pattern: &Pattern) {
    let entity = selected.route.entity_id;
    match (method, pattern.kind, selected.param("id")) {
        ("PUT" | "PATCH" | "DELETE", PatternKind::Item, Some(id)) => {
            keys.push(FenceKey::Item(entity, id.to_owned()));
            keys.push(FenceKey::Collections(entity));
        }
        ("POST", PatternKind::Collection, _) => keys.push(FenceKey::Collections(entity)),
        _ => keys.push(FenceKey::Entity(entity)),
    }
}

/// `invalidates`: whole routes, or paths with the mutation's own parameters put in. Not transitive.
fn related(keys: &mut Vec<FenceKey>, selected: &Selected<'_>, routes: &Routes) {
    for relation in &selected.route.invalidates {
        match relation {
            Relation::Route(id) => keys.push(FenceKey::Entity(routes.get(*id).entity_id)),
            Relation::Path(template) => match filled(template, selected) {
                Some(path) => keys.push(FenceKey::Path(routes.without_case(path))),
                // The mutation's path has no such parameter: what it meant can only be the whole route.
                None => keys.extend(routes_of(template, routes).iter().map(|r| FenceKey::Entity(r.entity_id))),
            },
        }
    }
}

/// The routes that a path of `invalidates` may be of: what falls where a mutation's own path lacks a parameter of it.
pub fn routes_of<'r>(template: &str, routes: &'r Routes) -> Vec<&'r Route> {
    routes.with_literal_prefix_of(&routes.without_case(template.to_owned())).collect()
}

/// A template with every `{name}` replaced; `None` where a parameter is missing.
fn filled(template: &str, selected: &Selected<'_>) -> Option<String> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        out.push_str(before);
        out.push_str(selected.param(name)?);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

/// How many of the keys a stored response can stand behind: with none, nothing stored was invalidated. A path stands for
/// itself where its route stores, or where no route names it and plain mode is all there is; the path of an action below
/// a route is nobody's to read.
pub fn reach(invalidation: &Invalidation, routes: &Routes) -> usize {
    let stores = |route: &Route| route.mode == Mode::Cache;
    let reached = |key: &&FenceKey| match key {
        FenceKey::All => routes.iter().any(stores),
        FenceKey::Entity(entity) | FenceKey::Collections(entity) | FenceKey::Item(entity, _) => {
            routes.iter().any(|route| route.entity_id == *entity && stores(route))
        }
        FenceKey::Path(path) | FenceKey::Target(path, _) => {
            let selected = routes.select(path);
            stores(selected.route) && (selected.pattern.is_some() || invalidation.unrouted)
        }
        FenceKey::Credential(_) | FenceKey::CredentialAt(..) => false,
    };
    invalidation.keys.iter().filter(reached).count()
}

/// Whether no mutation of a path of `pattern` invalidates anything that is stored, whatever its method.
pub fn is_fruitless(pattern: &Pattern, routes: &Routes) -> bool {
    // The text of a pattern is a path that the pattern takes, and its parameters' values are their names.
    let anything = touched("", &routes.without_case(pattern.text.clone()), routes);
    reach(&anything, routes) == 0
}

/// How long what was invalidated takes to settle: the longest `settle` of the routes that show it.
pub fn settle(invalidation: &Invalidation, routes: &Routes) -> Duration {
    let of_entity =
        |entity| routes.iter().filter(move |route| route.entity_id == entity).map(|route| route.settle).max();
    let of_key = |key: &FenceKey| match key {
        FenceKey::All => routes.iter().map(|route| route.settle).max(),
        FenceKey::Entity(entity) | FenceKey::Collections(entity) | FenceKey::Item(entity, _) => of_entity(*entity),
        FenceKey::Path(path) | FenceKey::Target(path, _) => Some(routes.select(path).route.settle),
        FenceKey::Credential(_) | FenceKey::CredentialAt(..) => None,
    };
    invalidation.keys.iter().filter_map(of_key).max().unwrap_or_default()
}

/// What the response of a mutation adds: "A cache MAY invalidate other URIs ... In particular, the URI(s) in the
/// Location and Content-Location response header fields (if present) are candidates for invalidation"; only those of
/// the same origin (RFC 9111 §4.4).
pub fn named_by_response(request: &Request, response: &Fields, routes: &Routes) -> Invalidation {
    let mut keys = Vec::new();
    for name in ["location", "content-location"] {
        let Some(value) = response.get(name).and_then(|v| std::str::from_utf8(v).ok()) else { continue };
        let Some(path) = same_origin_path(request, value.trim()) else { continue };
        let path = routes.matching_form(&path);
        let selected = routes.select(&path);
        keys.extend(selected.param("id").map(|id| FenceKey::Item(selected.route.entity_id, id.to_owned())));
        keys.push(FenceKey::Path(path.clone().into_owned()));
    }
    Invalidation::of(keys, false)
}

/// The path of a URI reference, if it names this origin.
fn same_origin_path(request: &Request, reference: &str) -> Option<String> {
    let without_fragment = reference.split('#').next()?;
    let without_query = without_fragment.split('?').next()?;
    let rest = match without_query.strip_prefix("//") {
        Some(rest) => rest,
        None if without_query.starts_with('/') => return Some(without_dot_segments(without_query)),
        None => match without_query.split_once("://") {
            Some((scheme, rest)) => scheme.eq_ignore_ascii_case(request.scheme.as_str()).then_some(rest)?,
            None => return relative(&request.path, without_query),
        },
    };
    let (authority, path) = rest.split_once('/').map_or((rest, String::from("/")), |(a, p)| (a, format!("/{p}")));
    let default_port = match request.scheme {
        Scheme::Http => ":80",
        Scheme::Https => ":443",
    };
    let authority = authority.strip_suffix(default_port).unwrap_or(authority);
    authority.eq_ignore_ascii_case(&request.authority).then(|| without_dot_segments(&path))
}

/// A relative-path reference against the request's path (RFC 3986 §5.2.3).
fn relative(base: &str, reference: &str) -> Option<String> {
    if reference.is_empty() {
        return None;
    }
    let directory = &base[..=base.rfind('/')?];
    Some(without_dot_segments(&format!("{directory}{reference}")))
}

/// A path with its dot segments resolved (RFC 3986 §5.2.4), as a client does before it asks.
fn without_dot_segments(path: &str) -> String {
    let mut kept = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if segment == ".." {
            kept.pop();
        }
        match segment {
            "." | ".." if segments.peek().is_some() => {}
            "." | ".." => kept.push(""),
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

/// The keys that make a response to this request void. `negative` responses of an item also fall with its collection:
/// creating the item ends its 404.
pub fn keys_of_response(
    path: &str,
    query: Option<&str>,
    selected: &Selected<'_>,
    caller: crate::semantics::request::CallerKey,
    negative: bool,
) -> Vec<FenceKey> {
    let entity = selected.route.entity_id;
    let mut keys = vec![
        FenceKey::All,
        FenceKey::Entity(entity),
        FenceKey::Path(path.to_owned()),
        FenceKey::Target(path.to_owned(), query.unwrap_or_default().to_owned()),
    ];
    if let Some(pattern) = selected.pattern {
        keys.extend(selected.param("id").map(|id| FenceKey::Item(entity, id.to_owned())));
        // Nobody can tell what a remainder shows, so it falls with whatever may be part of it.
        if negative || pattern.kind != PatternKind::Item {
            keys.push(FenceKey::Collections(entity));
        }
    }
    if let Some(caller) = caller {
        keys.push(FenceKey::Credential(caller));
        keys.push(FenceKey::CredentialAt(caller, path.to_owned()));
    }
    keys
}

/// How a mutation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A definite answer that invalidates.
    Done,
    /// A definite refusal: nothing is invalidated.
    Refused,
    /// 202: accepted, and not ended.
    Accepted,
    /// Nobody knows whether it was applied.
    Unknown,
}

/// What an answer says of whether the mutation was applied.
pub fn outcome(status: Option<u16>) -> Outcome {
    match status {
        None | Some(502..=504) => Outcome::Unknown,
        Some(202) => Outcome::Accepted,
        Some(400 | 401 | 403 | 405 | 406 | 411 | 413..=415 | 422 | 428 | 429) => Outcome::Refused,
        Some(_) => Outcome::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::RouteId;
    use crate::semantics::sample::{fields, plain, request, routes};

    const ITEMS: EntityId = EntityId(0);
    const VARIANTS: EntityId = EntityId(1);
    const REPORTS: EntityId = EntityId(2);
    const FILES: EntityId = EntityId(3);

    /// Items, their variants, reports and files; a change of an item changes its variants and all reports.
    fn shop() -> Routes {
        let invalidates = vec![Relation::Path("/items/{id}/variants".into()), Relation::Route(RouteId(2))];
        routes(vec![
            ("items", &["/items", "/items/{id}"], Route { invalidates, ..plain() }),
            ("variants", &["/items/{id}/variants"], plain()),
            ("reports", &["/reports/{year}", "/reports"], plain()),
            ("files", &["/files/{*rest}"], plain()),
        ])
    }

    fn path(text: &str) -> FenceKey {
        FenceKey::Path(text.into())
    }

    fn item(entity: EntityId, id: &str) -> FenceKey {
        FenceKey::Item(entity, id.into())
    }

    #[track_caller]
    fn check(method: &str, target: &str, expected: &[FenceKey]) {
        let mut expected = expected.to_vec();
        expected.sort();
        let unrouted = false;
        assert_eq!(decide(&request(method, target, &[]), &shop()), Invalidation { keys: expected, unrouted });
    }

    const REPORTED: FenceKey = FenceKey::Entity(REPORTS);

    #[test]
    fn an_item_and_its_collections() {
        for method in ["PUT", "PATCH", "DELETE"] {
            let keys = [item(ITEMS, "5"), FenceKey::Collections(ITEMS), path("/items/5"), path("/items/5/variants")];
            check(method, "/items/5?force", &[&keys[..], &[REPORTED]].concat());
        }
        check(
            "PUT",
            "/items/%35/",
            &[item(ITEMS, "5"), FenceKey::Collections(ITEMS), path("/items/5"), path("/items/5/variants"), REPORTED],
        );
    }

    /// Without an id nobody knows whose variants: all of them.
    #[test]
    fn a_collection() {
        check(
            "POST",
            "/items",
            &[
                FenceKey::Collections(ITEMS),
                path("/items"),
                REPORTED,
                FenceKey::Entity(ITEMS),
                FenceKey::Entity(VARIANTS),
            ],
        );
    }

    #[test]
    fn a_collection_may_have_parameters() {
        check("POST", "/reports/2026", &[FenceKey::Collections(REPORTS), path("/reports/2026")]);
    }

    #[test]
    fn anything_else_is_the_whole_route() {
        check("PUT", "/reports", &[REPORTED, path("/reports")]);
        check("BREW", "/reports", &[REPORTED, path("/reports")]);
        // {id} alone marks an item.
        check("PUT", "/reports/2026", &[REPORTED, path("/reports/2026")]);
        check("PUT", "/files/a/b", &[FenceKey::Entity(FILES), path("/files/a/b")]);
        check("POST", "/files/a/b", &[FenceKey::Entity(FILES), path("/files/a/b")]);
    }

    #[test]
    fn below_a_route_s_path_is_the_whole_route_and_what_it_relates_to() {
        check(
            "POST",
            "/items/5/adjust",
            &[
                path("/items/5/adjust"),
                path("/items/5/variants"),
                REPORTED,
                FenceKey::Entity(ITEMS),
                FenceKey::Entity(VARIANTS),
            ],
        );
    }

    #[test]
    fn empty_segments_are_read_both_ways() {
        check("POST", "//reports", &[FenceKey::Collections(REPORTS), path("//reports"), path("/reports")]);
        assert!(decide(&request("POST", "//login", &[]), &shop()).unrouted);
    }

    #[test]
    fn what_matches_nothing_is_guessed_by_where_it_points() {
        let decide = |target| decide(&request("POST", target, &[]), &shop());
        assert_eq!(decide("/login"), Invalidation { keys: vec![path("/login")], unrouted: true });
        let guessed = decide("/reports-all");
        assert_eq!(guessed, Invalidation { keys: vec![REPORTED, path("/reports-all")], unrouted: true });
    }

    /// A shop whose adjustments and files are only passed on.
    fn passing() -> Routes {
        let pass = || Route { mode: Mode::Pass, ..plain() };
        let invalidates = vec![Relation::Path("/items/{id}".into())];
        routes(vec![
            ("items", &["/items", "/items/{id}"], plain()),
            ("adjustments", &["/items/{id}/adjust", "/adjustments"], Route { invalidates, ..pass() }),
            ("files", &["/files/{id}"], pass()),
        ])
    }

    #[track_caller]
    fn check_reach(method: &str, target: &str, expected: usize) {
        let routes = passing();
        assert_eq!(reach(&decide(&request(method, target, &[]), &routes), &routes), expected, "{method} {target}");
    }

    #[test]
    fn a_mutation_is_fruitless_where_nothing_it_invalidates_is_stored() {
        check_reach("PUT", "/items/5", 3);
        check_reach("POST", "/items/5/adjust", 1);
        check_reach("PUT", "/files/5", 0);
        // Nobody reads the URL of an action.
        check_reach("POST", "/files/5/publish", 0);
        check_reach("POST", "/items/5/archive", 1);
        // What no route names is counted as just that, and plain mode may have stored it.
        check_reach("POST", "/login", 1);
        let routes = passing();
        let named = named_by_response(&request("POST", "/files/5", &[]), &fields(&[("Location", "/items/9")]), &routes);
        assert_eq!(reach(&named, &routes), 2);
        let refused = Invalidation::of_key(FenceKey::Credential([0; 16]));
        assert_eq!((reach(&refused, &routes), reach(&Invalidation::of_key(FenceKey::All), &routes)), (0, 1));
    }

    #[test]
    fn a_pattern_is_fruitless_where_all_its_mutations_are() {
        let routes = passing();
        let fruitless: Vec<&str> = routes
            .iter()
            .flat_map(|route| &route.patterns)
            .filter(|pattern| is_fruitless(pattern, &routes))
            .map(|pattern| pattern.text.as_str())
            .collect();
        assert_eq!(fruitless, ["/files/{id}"]);
    }

    #[test]
    fn what_may_change_something() {
        let writing = Route { writes: vec!["GET".into(), "OPTIONS".into()], reads: vec!["POST".into()], ..plain() };
        for (method, usually, here) in [
            ("GET", false, true),
            ("HEAD", false, false),
            ("OPTIONS", false, true),
            ("TRACE", false, false),
            ("POST", true, false),
            ("PUT", true, true),
            ("get", true, true),
            ("BREW", true, true),
        ] {
            assert_eq!(is_mutation(&request(method, "/", &[]), &plain()), usually, "{method}");
            assert_eq!(is_mutation(&request(method, "/", &[]), &writing), here, "{method}");
        }
    }

    #[test]
    fn a_field_that_stands_for_an_unsafe_method_makes_a_mutation() {
        let overridden = |method, lines: &[(&str, &str)]| is_mutation(&request(method, "/", lines), &plain());
        for name in ["X-HTTP-Method-Override", "x-http-method", "X-Method-Override"] {
            assert!(overridden("GET", &[(name, "DELETE")]) && overridden("HEAD", &[(name, " delete ")]));
            assert!(overridden("GET", &[(name, "GET"), (name, "PUT")]));
            for safe in ["GET", "head", "OPTIONS", "TRACE", ""] {
                assert!(!overridden("GET", &[(name, safe)]), "{name}: {safe}");
            }
        }
        assert!(!overridden("OPTIONS", &[("X-Method-Override", "PUT")]));
        let reading = Route { reads: vec!["POST".into()], ..plain() };
        for (method, mutates) in [("post", false), ("GET", false), ("PUT", true)] {
            assert_eq!(is_mutation(&request("POST", "/", &[("X-HTTP-Method", method)]), &reading), mutates, "{method}");
        }
    }

    #[test]
    fn an_overridden_method_is_the_whole_route() {
        let decided = |method| decide(&request("POST", "/reports", &[("X-HTTP-Method", method)]), &shop()).keys;
        assert_eq!(decided("POST"), [FenceKey::Collections(REPORTS), path("/reports")]);
        assert_eq!(decided("DELETE"), [REPORTED, path("/reports")]);
    }

    #[track_caller]
    fn check_named(lines: &[(&str, &str)], expected: &[FenceKey]) {
        let request = request("POST", "/items/new", &[]);
        assert_eq!(named_by_response(&request, &fields(lines), &shop()).keys, expected);
    }

    #[test]
    fn the_response_names_what_is_of_the_same_origin() {
        let seven = [item(ITEMS, "7"), path("/items/7")];
        check_named(&[], &[]);
        for location in [
            "/items/7",
            " /items/7 ",
            "/items/%37/",
            "/items/7?x#y",
            "7",
            "http://shop.test/items/7",
            "HTTP://SHOP.TEST/items/7",
            "//shop.test/items/7",
        ] {
            check_named(&[("Location", location)], &seven);
            check_named(&[("Content-Location", location)], &seven);
        }
        check_named(&[("Location", "http://shop.test")], &[path("/")]);
        check_named(&[("Location", "/elsewhere")], &[path("/elsewhere")]);
        check_named(&[("Location", "/x//y/..")], &[path("/x/")]);
        check_named(&[("Location", "/from/http://other.test/x")], &[path("/from/http://other.test/x")]);
        let both = [("Location", "/items/7"), ("Content-Location", "/x")];
        check_named(&both, &[item(ITEMS, "7"), path("/items/7"), path("/x")]);
        for other in
            ["https://shop.test/items/7", "http://other.test/items/7", "//shop.test:81/items/7", "", "#x", "?x"]
        {
            check_named(&[("Location", other)], &[]);
        }
    }

    #[track_caller]
    fn check_keys(target: &str, caller: Option<[u8; 16]>, negative: bool, expected: &[FenceKey]) {
        let routes = shop();
        let selected = routes.select(target);
        let common = [
            FenceKey::All,
            FenceKey::Entity(selected.route.entity_id),
            path(target),
            FenceKey::Target(target.into(), "q".into()),
        ];
        let keys = keys_of_response(target, Some("q"), &selected, caller, negative);
        assert_eq!(keys, [&common, expected].concat());
    }

    #[test]
    fn the_keys_that_make_a_response_void() {
        check_keys("/items", None, false, &[FenceKey::Collections(ITEMS)]);
        check_keys("/items", None, true, &[FenceKey::Collections(ITEMS)]);
        check_keys("/items/5", None, false, &[item(ITEMS, "5")]);
        check_keys("/items/5", None, true, &[item(ITEMS, "5"), FenceKey::Collections(ITEMS)]);
        check_keys("/items/5/variants", None, false, &[item(VARIANTS, "5")]);
        check_keys("/reports/2026", None, false, &[FenceKey::Collections(REPORTS)]);
        check_keys("/files/a", None, true, &[FenceKey::Collections(FILES)]);
        check_keys("/elsewhere", None, false, &[]);
        let a = [1; 16];
        let mine = [FenceKey::Credential(a), FenceKey::CredentialAt(a, "/elsewhere".into())];
        check_keys("/elsewhere", Some(a), false, &mine);
    }

    #[test]
    fn what_an_answer_says_of_a_mutation() {
        #[track_caller]
        fn check(statuses: &[u16], expected: Outcome) {
            for status in statuses {
                assert_eq!(outcome(Some(*status)), expected, "{status}");
            }
        }
        check(
            &[200, 201, 204, 207, 301, 303, 304, 402, 404, 409, 410, 412, 416, 423, 500, 501, 505, 599],
            Outcome::Done,
        );
        check(&[400, 401, 403, 405, 406, 411, 413, 414, 415, 422, 428, 429], Outcome::Refused);
        check(&[202], Outcome::Accepted);
        check(&[502, 503, 504], Outcome::Unknown);
        assert_eq!(outcome(None), Outcome::Unknown);
    }

    #[test]
    fn keys_are_kept_once() {
        let one = Invalidation::of_key(FenceKey::All);
        let two = Invalidation { keys: vec![path("/b"), FenceKey::All, path("/b")], unrouted: true };
        assert_eq!(one.with(two), Invalidation { keys: vec![FenceKey::All, path("/b")], unrouted: false });
    }
}
