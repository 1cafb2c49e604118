//! Phase two for routes: what each inherits, which paths it has, and what its mutations invalidate.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Source;
use super::error::{Place, Problem, line_of};
use super::placed::{At, Key, Text};
use super::resolve::{each, field_name, is_token, or};
use super::written::{self, RouteKeys, Written, closest};
use crate::policy::{
    EntityId, Etag, Freshness, IMPLICIT, LastModified, Mode, OriginCacheControl, Pattern, Query, Relation,
    RequestCacheControl, Route, RouteId, Routes, Scope, SetCookie, Validators,
};

/// Where each written value of one route came from, by dotted key.
pub(super) type Sources = BTreeMap<&'static str, Source>;

/// More would not fit a [`RouteId`] and its pattern's number, and nobody writes as many by hand.
const MOST_ROUTES: usize = 10_000;
const MOST_PATHS: usize = 1_000;

type Refusal = (String, String);

/// Resolves every route and builds the matcher; `None` where patterns clash, which is noted.
pub(super) fn routes(
    written: &Written,
    text: &str,
    case_insensitive: bool,
    problems: &mut Vec<Problem>,
) -> (Option<Routes>, Vec<Sources>) {
    let base = base(&written.server.base, problems);
    if let Some(route) = written.routes.get(MOST_ROUTES) {
        let what = format!("there are {} routes", written.routes.len());
        problems.push(Problem::new(&route.place, what, format!("at most {MOST_ROUTES} can stand in one file")));
        return (None, Vec::new());
    }
    let names = Names::of(&written.routes, problems);
    let mut all = Vec::new();
    let mut sources = Vec::new();
    for (index, route) in written.routes.iter().enumerate() {
        let mut inherit = Inherit { own: &route.keys, defaults: &written.defaults, text, sources: Sources::new() };
        all.push(resolve(RouteId(u16_of(index)), route, &base, &names, &mut inherit, problems));
        sources.push(inherit.sources);
    }
    all.push(implicit(RouteId(u16_of(all.len())), written, text, problems));
    sources.push(Sources::new());
    number_entities(&mut all);
    let routes = Routes::new(all, case_insensitive);
    let routes = routes.map_err(|clashes| {
        for clash in clashes {
            let paths = written.routes[usize::from(clash.route.0)].paths.value();
            let same = |path: &&Text| Pattern::below(&base, &path.value).text == clash.pattern;
            let place =
                paths.and_then(|paths| paths.iter().rfind(same)).map_or(Place::Nowhere, |path| path.place.clone());
            let hint = "leave one of the two out, or tell them apart by a literal part";
            let other = or(&written.routes[usize::from(clash.other.0)].name, String::new());
            let what = format!("`paths`: {:?} matches what {:?} of {other:?} does", clash.pattern, clash.other_pattern);
            problems.push(Problem::new(&place, what, hint));
        }
    });
    (routes.ok(), sources)
}

fn u16_of(n: usize) -> u16 {
    u16::try_from(n).expect("MOST_ROUTES and MOST_PATHS fit")
}

/// The value of a key, out of the route, `[defaults]` or neither, remembering which.
struct Inherit<'w> {
    own: &'w RouteKeys,
    defaults: &'w RouteKeys,
    text: &'w str,
    sources: Sources,
}

impl<'w> Inherit<'w> {
    fn said<T: 'w>(&mut self, name: &'static str, key: impl Fn(&'w RouteKeys) -> &'w Key<T>) -> Option<&'w At<T>> {
        let own = key(self.own);
        let found = if own.is_absent() { key(self.defaults).said() } else { own.said() };
        if let Some(at) = found {
            let source = match &at.place {
                Place::Flag(flag) => Source::Flag(flag),
                Place::File(span) if own.is_absent() => Source::Defaults(line_of(self.text, span.start)),
                Place::File(span) => Source::Route(line_of(self.text, span.start)),
                Place::Nowhere => Source::Default,
            };
            self.sources.insert(name, source);
        }
        found
    }

    fn or<T: Clone + 'w>(&mut self, name: &'static str, key: impl Fn(&'w RouteKeys) -> &'w Key<T>, default: T) -> T {
        self.said(name, key).map_or(default, |at| at.value.clone())
    }

    fn texts(&mut self, name: &'static str, key: impl Fn(&'w RouteKeys) -> &'w Key<Vec<Text>>) -> Option<&'w [Text]> {
        self.said(name, key).map(|at| at.value.as_slice())
    }
}

fn resolve(
    id: RouteId,
    written: &written::Route,
    base: &str,
    names: &Names<'_>,
    from: &mut Inherit<'_>,
    problems: &mut Vec<Problem>,
) -> Route {
    let name = or(&written.name, String::new());
    let patterns = patterns(written, base, problems);
    let fresh = from.said("fresh", |k| &k.fresh).map(|at| at.value);
    let governed = fresh.is_some();
    let mode = from.or("mode", |k| &k.mode, Mode::Cache);
    without_effect(written, mode, from, problems);
    let entity = from.or("entity", |k| &k.entity, name.clone());
    if let Some(at) = written.keys.entity.said() {
        check_name("entity", at, problems);
    }
    let zero = Duration::ZERO;
    Route {
        id,
        entity,
        entity_id: EntityId(0),
        mode,
        freshness: fresh.map_or(Freshness::Origin, Freshness::For),
        stale_while_revalidate: from.or("stale_while_revalidate", |k| &k.stale_while_revalidate, zero),
        stale_if_error: from.or("stale_if_error", |k| &k.stale_if_error, zero),
        negative: from.or("negative", |k| &k.negative, Duration::from_secs(5)),
        settle: from.or("settle", |k| &k.settle, zero),
        scope: from.or("scope", |k| &k.scope, Scope::User),
        origin_cache_control: from.or("origin_cache_control", |k| &k.origin_cache_control, OriginCacheControl::Respect),
        client_cache_control: client_cache_control(from, problems),
        request_cache_control: from.or(
            "request_cache_control",
            |k| &k.request_cache_control,
            if governed { RequestCacheControl::Reload } else { RequestCacheControl::Respect },
        ),
        vary: vary(governed, from, problems),
        query: query(from, problems),
        set_cookie: from.or("set_cookie", |k| &k.set_cookie, SetCookie::Refuse),
        validators: validators(from, problems),
        require_if_match: from.or("require_if_match", |k| &k.require_if_match, false),
        invalidates: relations(&patterns, base, names, from, problems),
        reads: methods("reads", from.texts("reads", |k| &k.reads), problems),
        writes: methods("writes", from.texts("writes", |k| &k.writes), problems),
        query_key: query_key(&name, from),
        etag: etag(from, problems),
        last_modified: last_modified(written, from, problems),
        patterns,
        name,
    }
}

/// The route of every path that no other names: plain mode, and of `[defaults]` only what neither loosens nor
/// rewrites anything. An endpoint that nobody thought of is not answered unasked, and nobody said it may be shared.
fn implicit(id: RouteId, written: &Written, text: &str, problems: &mut Vec<Problem>) -> Route {
    let defaults = RouteKeys {
        settle: written.defaults.settle.clone(),
        vary: written.defaults.vary.clone(),
        validators: written.defaults.validators.clone(),
        last_modified_field: written.defaults.last_modified_field.clone(),
        last_modified_zone: written.defaults.last_modified_zone.clone(),
        ..RouteKeys::default()
    };
    let route = written::Route {
        place: Place::Nowhere,
        name: Key::Said(At { value: IMPLICIT.to_owned(), place: Place::Nowhere }),
        paths: Key::Absent,
        keys: RouteKeys::default(),
    };
    let mut from = Inherit { own: &route.keys, defaults: &defaults, text, sources: Sources::new() };
    resolve(id, &route, "", &Names(BTreeMap::new()), &mut from, problems)
}

/// `server.base`: empty, or beginning with a slash and not ending with one.
fn base(key: &Key<String>, problems: &mut Vec<Problem>) -> String {
    let Some(At { value, place }) = key.said() else { return String::new() };
    let trimmed = value.trim_end_matches('/');
    if !trimmed.is_empty() && (trimmed.contains('{') || path_problem(trimmed).is_some()) {
        let what = format!("`base`: {value:?} is not a path");
        problems.push(Problem::new(place, what, "write it such as \"/api/v1\""));
    }
    trimmed.to_owned()
}

/// The routes by name, for `invalidates`.
struct Names<'w>(BTreeMap<&'w str, RouteId>);

impl<'w> Names<'w> {
    fn of(routes: &'w [written::Route], problems: &mut Vec<Problem>) -> Self {
        let mut names = BTreeMap::new();
        for (index, route) in routes.iter().enumerate() {
            let Some(at) = route.name.said() else { continue };
            check_name("name", at, problems);
            if at.value == IMPLICIT {
                let what = format!("`name`: {IMPLICIT:?} is what the paths without a route are called");
                problems.push(Problem::new(&at.place, what, "choose another name"));
            }
            if names.insert(at.value.as_str(), RouteId(u16_of(index))).is_some() {
                let what = format!("`name`: there is a route {:?} already", at.value);
                problems.push(Problem::new(&at.place, what, "choose another name, or add its paths to the first"));
            }
        }
        Names(names)
    }
}

/// Names are topics, labels and parts of commands: one word.
fn check_name(key: &str, at: &Text, problems: &mut Vec<Problem>) {
    let valid = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    if at.value.is_empty() || !at.value.chars().all(valid) {
        let what = format!("`{key}`: {:?} is not a name", at.value);
        problems.push(Problem::new(&at.place, what, "write one word of letters, digits, `_`, `-` and `.`"));
    }
}

fn patterns(written: &written::Route, base: &str, problems: &mut Vec<Problem>) -> Vec<Pattern> {
    let Some(At { value: paths, place }) = written.paths.said() else { return Vec::new() };
    if paths.is_empty() || paths.len() > MOST_PATHS {
        let what = format!("`paths` holds {} paths", paths.len());
        problems.push(Problem::new(place, what, format!("write from 1 to {MOST_PATHS}, such as [\"/products\"]")));
        return Vec::new();
    }
    each("paths", paths, problems, |path| match path_problem(path) {
        None => Ok(Pattern::below(base, path)),
        Some((what, hint)) if path.len() > LONGEST_PATH => {
            Err((format!("{:?}… {what}", &path[..path.floor_char_boundary(20)]), hint))
        }
        Some((what, hint)) => Err((format!("{path:?} {what}"), hint)),
    })
}

/// Longer ones are no API's, and what matches paths does so by recursion.
const LONGEST_PATH: usize = 1000;

/// What is wrong with a path, and what to write; `None` for a good one.
fn path_problem(path: &str) -> Option<Refusal> {
    let refuse = |what: &str, hint: &str| Some((what.to_owned(), hint.to_owned()));
    if !path.starts_with('/') {
        return Some(("does not begin with a slash".to_owned(), format!("write \"/{path}\"")));
    }
    if path.len() > LONGEST_PATH {
        return Some((
            format!("has more than {LONGEST_PATH} characters"),
            "write a path that people ask for".to_owned(),
        ));
    }
    if path.len() > 1 && path.ends_with('/') {
        let bare = path.trim_end_matches('/');
        return Some(("ends in a slash".to_owned(), format!("write \"{bare}\": it matches both")));
    }
    if path.contains("//") {
        return refuse("holds an empty segment", "write one slash: no path with two of them matches");
    }
    if path.contains(['?', '#']) {
        return refuse("holds a query or a fragment", "write the path alone; every query of it belongs to the route");
    }
    if path.contains('%') || path.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return refuse("is written in an encoded form", "write the characters themselves: paths are matched decoded");
    }
    let mut names = Vec::new();
    for segment in path.split('/') {
        let Some(name) = parameter(segment) else {
            if segment.contains(['{', '}']) {
                return refuse("has a parameter that is not a whole segment", "write it such as \"/products/{id}\"");
            }
            continue;
        };
        if !is_parameter_name(name.trim_start_matches('*')) {
            return refuse("has a parameter without a proper name", "write letters, digits and `_`, such as {id}");
        }
        if name.starts_with('*') && !path.ends_with(segment) {
            return refuse("goes on after its remainder", "{*rest} stands last");
        }
        if names.contains(&name) {
            return refuse("has two parameters of one name", "name them apart, such as {id} and {variant}");
        }
        names.push(name);
    }
    None
}

/// The name between the braces of a segment, with its `*`.
fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn is_parameter_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Notes what a route says of itself and what cannot have an effect; what it inherits may be meant for others.
fn without_effect(written: &written::Route, mode: Mode, from: &Inherit<'_>, problems: &mut Vec<Problem>) {
    let governed = !(from.own.fresh.is_absent() && from.defaults.fresh.is_absent());
    let keys = &written.keys;
    if let (Mode::Pass, Some(At { place, .. })) = (mode, keys.fresh.said()) {
        let what = "`fresh` has no effect where mode is \"pass\": nothing is stored";
        problems.push(Problem::new(place, what, "leave it out, or write mode = \"cache\""));
    }
    if governed {
        return;
    }
    let nonzero = |key: &'_ Key<Duration>| key.said().filter(|at| at.value > Duration::ZERO).map(|at| at.place.clone());
    let ignores = keys.origin_cache_control.said().filter(|at| at.value == OriginCacheControl::Ignore);
    for (name, place) in [
        ("stale_while_revalidate", nonzero(&keys.stale_while_revalidate)),
        ("stale_if_error", nonzero(&keys.stale_if_error)),
        ("origin_cache_control", ignores.map(|at| at.place.clone())),
    ] {
        let Some(place) = place else { continue };
        let what = format!("`{name}` has no effect without `fresh`: in plain mode the origin's fields decide");
        problems.push(Problem::new(&place, what, "add fresh = \"30s\", or leave it out"));
    }
}

fn client_cache_control(from: &mut Inherit<'_>, problems: &mut Vec<Problem>) -> String {
    let default = "private, no-cache".to_owned();
    let Some(At { value, place }) = from.said("client_cache_control", |k| &k.client_cache_control) else {
        return default;
    };
    // RFC 9111 §5.2: cache-directive = token [ "=" ( token / quoted-string ) ]
    let directive = |part: &str| is_token(part.trim().split('=').next().unwrap_or(""));
    let visible = value.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if !visible || !value.split(',').all(directive) {
        let what = format!("`client_cache_control`: {value:?} is not a list of directives");
        problems.push(Problem::new(place, what, "write it such as \"private, no-cache\" or \"max-age=60\""));
    }
    value.clone()
}

fn vary(governed: bool, from: &mut Inherit<'_>, problems: &mut Vec<Problem>) -> Vec<String> {
    match from.texts("vary", |k| &k.vary) {
        Some(texts) => each("vary", texts, problems, field_name),
        None if governed => vec!["accept".to_owned(), "accept-language".to_owned()],
        None => Vec::new(),
    }
}

fn query(from: &mut Inherit<'_>, problems: &mut Vec<Problem>) -> Query {
    let parameter = |text: &str| -> Result<String, Refusal> {
        let name = text.strip_suffix('*').unwrap_or(text);
        if text.is_empty() || name.contains(['*', '&', '=', '#']) {
            let hint = "write a name such as \"page\", or the beginning of one such as \"utm_*\"";
            return Err((format!("{text:?} is not a query parameter"), hint.to_owned()));
        }
        Ok(text.to_owned())
    };
    let ignore = from.texts("query.ignore", |k| &k.query_ignore);
    Query {
        ignore: each("ignore", ignore.unwrap_or_default(), problems, parameter),
        sort: from.or("query.sort", |k| &k.query_sort, false),
    }
}

/// Methods whose meaning a route turns round: `reads` are unsafe ones that only read, `writes` safe ones that write.
fn methods(key: &'static str, texts: Option<&[Text]>, problems: &mut Vec<Problem>) -> Vec<String> {
    each(key, texts.unwrap_or_default(), problems, |text| {
        if !is_token(text) {
            return Err((format!("{text:?} is not a method"), "write it such as \"POST\"".to_owned()));
        }
        // RFC 9110 §9.1: "The method token is case-sensitive".
        if text.bytes().any(|b| b.is_ascii_lowercase()) {
            return Err((format!("{text:?} is not in capitals"), format!("write {:?}", text.to_ascii_uppercase())));
        }
        // RFC 9110 §9.2.1
        let safe = ["GET", "HEAD", "OPTIONS", "TRACE"].contains(&text);
        match key {
            "reads" if safe => Err((format!("{text} only reads anyway"), "name methods such as \"POST\"".to_owned())),
            "writes" if !safe => Err((format!("{text} writes anyway"), "name methods such as \"GET\"".to_owned())),
            _ => Ok(text.to_owned()),
        }
    })
}

fn query_key(name: &str, from: &mut Inherit<'_>) -> Vec<String> {
    let texts = from.texts("query_key", |k| &k.query_key);
    texts.map_or_else(|| vec![name.to_owned()], |texts| texts.iter().map(|text| text.value.clone()).collect())
}

/// Whether validators are added. Where they are not, a route of its own cannot ask to replace the origin's by one.
fn validators(from: &mut Inherit<'_>, problems: &mut Vec<Problem>) -> Validators {
    let validators = from.or("validators", |k| &k.validators, Validators::Add);
    if let (Validators::Origin, Some(At { place, .. })) = (validators, from.own.etag.said()) {
        let what = "`etag` has no effect where validators is \"origin\": no entity-tag is computed";
        problems.push(Problem::new(place, what, "leave it out, or write validators = \"add\""));
    }
    validators
}

fn etag(from: &mut Inherit<'_>, problems: &mut Vec<Problem>) -> Etag {
    let pointer = |text: &str| -> Result<String, Refusal> {
        // RFC 6901 §3: json-pointer = *( "/" reference-token ), and `~` only as `~0` or `~1`.
        let escapes = text.match_indices('~').all(|(at, _)| matches!(text.as_bytes().get(at + 1), Some(b'0' | b'1')));
        if !text.starts_with('/') {
            let hint = format!("begin it with a slash: \"/{}\"", text.replace('.', "/"));
            return Err((format!("{text:?} is not a JSON pointer"), hint));
        }
        if !escapes {
            let hint = "write `~0` for a tilde and `~1` for a slash in a name (RFC 6901 §3)";
            return Err((format!("{text:?} is not a JSON pointer"), hint.to_owned()));
        }
        Ok(text.to_owned())
    };
    let replace = from.said("etag", |k| &k.etag).is_some();
    let ignore = from.texts("etag.ignore", |k| &k.etag_ignore).unwrap_or_default();
    let fields = from.texts("etag.fields", |k| &k.etag_fields).unwrap_or_default();
    Etag {
        replace,
        ignore: each("ignore", ignore, problems, pointer),
        fields: each("fields", fields, problems, field_name),
    }
}

fn last_modified(written: &written::Route, from: &mut Inherit<'_>, problems: &mut Vec<Problem>) -> LastModified {
    let field = from.or("last_modified.field", |k| &k.last_modified_field, String::new());
    let zone = from.said("last_modified.zone", |k| &k.last_modified_zone);
    if let Some(At { value, place }) = zone
        && !value.is_empty()
        && jiff::tz::TimeZone::get(value).is_err()
    {
        let what = format!("`zone`: this machine knows no time zone {value:?}");
        problems.push(Problem::new(place, what, "write an IANA name such as \"UTC\" or \"Europe/Zurich\""));
    }
    if let Some(At { value, place }) = written.keys.last_modified_zone.said()
        && !value.is_empty()
        && field.is_empty()
    {
        problems.push(Problem::new(place, "`zone` has no effect without `field`", "add field = \"updated_at\""));
    }
    LastModified { field, zone: zone.map_or_else(String::new, |at| at.value.clone()) }
}

/// What a mutation invalidates besides its own route. A path's parameters must be parameters of at least one path of
/// the route; a mutation on a path that lacks one cannot name the resource, and invalidates the whole route instead.
fn relations(
    patterns: &[Pattern],
    base: &str,
    names: &Names<'_>,
    from: &mut Inherit<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Relation> {
    let texts = from.texts("invalidates", |k| &k.invalidates).unwrap_or_default();
    each("invalidates", texts, problems, |text| {
        if !text.starts_with('/') {
            return names.0.get(text).copied().map(Relation::Route).ok_or_else(|| unknown_route(text, names));
        }
        if let Some((what, hint)) = path_problem(text) {
            return Err((format!("{text:?} {what}"), hint));
        }
        for name in text.split('/').filter_map(parameter) {
            let known = patterns.iter().any(|pattern| pattern.parameters().any(|p| p == name));
            if !known {
                let hint = "use the parameters of the route's own `paths`, or name a whole route";
                return Err((format!("{text:?}: no path of this route has a parameter {{{name}}}"), hint.to_owned()));
            }
        }
        Ok(Relation::Path(Pattern::below(base, text).text))
    })
}

fn unknown_route(text: &str, names: &Names<'_>) -> Refusal {
    let hint = match closest(text, names.0.keys().copied()) {
        Some(name) => format!("did you mean {name:?}?"),
        None => "write the name of a route, or a path that begins with a slash".to_owned(),
    };
    (format!("there is no route {text:?}"), hint)
}

/// Routes that share an entity share its number.
fn number_entities(routes: &mut [Route]) {
    let mut numbers: BTreeMap<String, EntityId> = BTreeMap::new();
    for route in routes {
        let next = EntityId(u16_of(numbers.len()));
        route.entity_id = *numbers.entry(route.entity.clone()).or_insert(next);
    }
}
