//! Phase one: what was written. Every key may be absent; every value knows where it stands.
//!
//! The file is walked as a tree in which each key and value carries its place, rather than deserialised: a deserialiser
//! stops at the first thing that does not fit, and a person wants to hear of all of them. What a value means together
//! with others is [`resolve`](super::resolve)'s.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Place, Problem};
use super::jwt;
use super::placed::{At, Key, Text};
use super::shape::{Shape, Size};
use crate::policy::{HostField, Mode, OriginCacheControl, RequestCacheControl, Scope, SetCookie, Validators};

#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    pub server: Server,
    pub origin: Origin,
    pub admin: Admin,
    pub cache: Cache,
    pub identity: Identity,
    pub defaults: RouteKeys,
    pub routes: Vec<Route>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Server {
    pub listen: Key<Vec<Text>>,
    pub tls: Key<()>,
    pub tls_cert: Key<String>,
    pub tls_key: Key<String>,
    pub threads: Key<u64>,
    pub hosts: Key<Vec<Text>>,
    pub base: Key<String>,
    pub h2c: Key<bool>,
    pub drain: Key<Duration>,
    pub trusted_proxies: Key<Vec<Text>>,
    pub limits: Limits,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    pub connections: Key<u64>,
    pub header_bytes: Key<Size>,
    pub header_count: Key<u64>,
    pub uri: Key<Size>,
    pub body: Key<Size>,
    pub header_timeout: Key<Duration>,
    pub idle_timeout: Key<Duration>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    pub url: Key<String>,
    pub host: Key<HostField>,
    pub ca: Key<String>,
    pub connect_timeout: Key<Duration>,
    pub response_timeout: Key<Duration>,
    pub body_timeout: Key<Duration>,
    pub idle_timeout: Key<Duration>,
    pub request_buffer: Key<Size>,
    pub max_concurrent: Key<u64>,
    pub quarantine: Key<Duration>,
    pub case_insensitive: Key<bool>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Admin {
    pub listen: Key<String>,
    pub token: Key<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Cache {
    pub memory: Key<Size>,
    pub max_body: Key<Size>,
    pub codings: Key<Vec<Text>>,
    pub pass_for: Key<Duration>,
    pub stale_on_disconnect: Key<Duration>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    pub credentials: Key<Vec<Text>>,
    pub accepted_for: Key<Duration>,
    pub jwt: jwt::Written,
}

#[derive(Clone, Debug)]
pub(super) struct Route {
    pub place: Place,
    pub name: Key<String>,
    pub paths: Key<Vec<Text>>,
    pub keys: RouteKeys,
}

/// The keys that `[defaults]` and `[[route]]` share. Each is inherited on its own, those of `[route.etag]` and the
/// like as well.
#[derive(Clone, Debug, Default)]
pub(super) struct RouteKeys {
    pub entity: Key<String>,
    pub mode: Key<Mode>,
    pub fresh: Key<Duration>,
    pub stale_while_revalidate: Key<Duration>,
    pub stale_if_error: Key<Duration>,
    pub negative: Key<Duration>,
    pub settle: Key<Duration>,
    pub scope: Key<Scope>,
    pub origin_cache_control: Key<OriginCacheControl>,
    pub client_cache_control: Key<String>,
    pub request_cache_control: Key<RequestCacheControl>,
    pub vary: Key<Vec<Text>>,
    pub query_ignore: Key<Vec<Text>>,
    pub query_sort: Key<bool>,
    pub set_cookie: Key<SetCookie>,
    pub validators: Key<Validators>,
    pub require_if_match: Key<bool>,
    pub invalidates: Key<Vec<Text>>,
    pub reads: Key<Vec<Text>>,
    pub writes: Key<Vec<Text>>,
    pub query_key: Key<Vec<Text>>,
    pub etag: Key<()>,
    pub etag_ignore: Key<Vec<Text>>,
    pub etag_fields: Key<Vec<Text>>,
    pub last_modified_field: Key<String>,
    pub last_modified_zone: Key<String>,
}

/// What one reading of a file came to.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub written: Written,
    pub problems: Vec<Problem>,
    /// Whether the text is no TOML, so that nothing was read.
    pub broken: bool,
    /// Every key that was looked for, as a dotted path: what this version knows.
    pub known: BTreeSet<String>,
}

/// Reads a whole file. Where its TOML is broken, only the syntax errors are reported: the rest would be guesses.
pub(super) fn read(text: &str) -> Reading {
    let (document, broken) = DeTable::parse_recoverable(text);
    let mut reading = Reading { broken: !broken.is_empty(), ..Reading::default() };
    if broken.is_empty() {
        reading.written = Written::read(Table::root(document.get_ref()), &mut reading);
    }
    for error in broken {
        let place = error.span().map_or(Place::Nowhere, Place::File);
        let problem = Problem::new(&place, format!("this is not TOML: {}", error.message()), SYNTAX);
        reading.problems.push(problem);
    }
    reading
}

const SYNTAX: &str =
    "texts stand in double quotes: key = \"value\"; each key once; tables as [server], routes as [[route]]";

impl Written {
    fn read(mut root: Table<'_>, r: &mut Reading) -> Self {
        let written = Written {
            server: Server::read(root.table("server", r), r),
            origin: Origin::read(root.table("origin", r), r),
            admin: Admin::read(root.table("admin", r), r),
            cache: Cache::read(root.table("cache", r), r),
            identity: Identity::read(root.table("identity", r), r),
            defaults: {
                let mut table = root.table("defaults", r);
                let keys = RouteKeys::read(&mut table, r);
                table.finish(r);
                keys
            },
            routes: root.tables("route", r).into_iter().map(|table| Route::read(table, r)).collect(),
        };
        root.finish(r);
        written
    }
}

impl Server {
    fn read(mut t: Table<'_>, r: &mut Reading) -> Self {
        let tls = t.presence("tls");
        let mut tls_table = t.table("tls", r);
        let server = Server {
            listen: t.key("listen", r),
            tls,
            tls_cert: tls_table.key("cert", r),
            tls_key: tls_table.key("key", r),
            threads: t.key("threads", r),
            hosts: t.key("hosts", r),
            base: t.key("base", r),
            h2c: t.key("h2c", r),
            drain: t.key("drain", r),
            trusted_proxies: t.key("trusted_proxies", r),
            limits: Limits::read(t.table("limits", r), r),
        };
        tls_table.finish(r);
        t.finish(r);
        server
    }
}

impl Limits {
    fn read(mut t: Table<'_>, r: &mut Reading) -> Self {
        let limits = Limits {
            connections: t.key("connections", r),
            header_bytes: t.key("header_bytes", r),
            header_count: t.key("header_count", r),
            uri: t.key("uri", r),
            body: t.key("body", r),
            header_timeout: t.key("header_timeout", r),
            idle_timeout: t.key("idle_timeout", r),
        };
        t.finish(r);
        limits
    }
}

impl Origin {
    fn read(mut t: Table<'_>, r: &mut Reading) -> Self {
        let origin = Origin {
            url: t.key("url", r),
            host: t.key("host", r),
            ca: t.key("ca", r),
            connect_timeout: t.key("connect_timeout", r),
            response_timeout: t.key("response_timeout", r),
            body_timeout: t.key("body_timeout", r),
            idle_timeout: t.key("idle_timeout", r),
            request_buffer: t.key("request_buffer", r),
            max_concurrent: t.key("max_concurrent", r),
            quarantine: t.key("quarantine", r),
            case_insensitive: t.key("case_insensitive", r),
        };
        t.finish(r);
        origin
    }
}

impl Admin {
    fn read(mut t: Table<'_>, r: &mut Reading) -> Self {
        let admin = Admin { listen: t.key("listen", r), token: t.key("token", r) };
        t.finish(r);
        admin
    }
}

impl Cache {
    fn read(mut t: Table<'_>, r: &mut Reading) -> Self {
        let cache = Cache {
            memory: t.key("memory", r),
            max_body: t.key("max_body", r),
            codings: t.key("codings", r),
            pass_for: t.key("pass_for", r),
            stale_on_disconnect: t.key("stale_on_disconnect", r),
        };
        t.finish(r);
        cache
    }
}

impl Identity {
    fn read(mut t: Table<'_>, r: &mut Reading) -> Self {
        let identity = Identity {
            credentials: t.key("credentials", r),
            accepted_for: t.key("accepted_for", r),
            jwt: jwt::Written::read(&mut t, r),
        };
        t.finish(r);
        identity
    }
}

impl Route {
    fn read(mut t: Table<'_>, r: &mut Reading) -> Self {
        let name: Key<String> = t.key("name", r);
        if let Some(name) = name.value() {
            t.title = format!("{} {name:?}", t.title);
        }
        let route = Route { place: t.place.clone(), paths: t.key("paths", r), keys: RouteKeys::read(&mut t, r), name };
        for (key, absent, example) in [
            ("name", route.name.is_absent(), "name = \"products\""),
            ("paths", route.paths.is_absent(), "paths = [\"/products\", \"/products/{id}\"]"),
        ] {
            if absent {
                r.problems.push(Problem::new(
                    &t.place,
                    format!("{} has no `{key}`", t.title),
                    format!("add {example}"),
                ));
            }
        }
        t.finish(r);
        route
    }
}

impl RouteKeys {
    fn read(t: &mut Table<'_>, r: &mut Reading) -> Self {
        let etag_presence = t.presence("etag");
        let mut query = t.table("query", r);
        let mut etag = t.table("etag", r);
        let mut last_modified = t.table("last_modified", r);
        let keys = RouteKeys {
            entity: t.key("entity", r),
            mode: t.key("mode", r),
            fresh: t.key("fresh", r),
            stale_while_revalidate: t.key("stale_while_revalidate", r),
            stale_if_error: t.key("stale_if_error", r),
            negative: t.key("negative", r),
            settle: t.key("settle", r),
            scope: t.key("scope", r),
            origin_cache_control: t.key("origin_cache_control", r),
            client_cache_control: t.key("client_cache_control", r),
            request_cache_control: t.key("request_cache_control", r),
            vary: t.key("vary", r),
            query_ignore: query.key("ignore", r),
            query_sort: query.key("sort", r),
            set_cookie: t.key("set_cookie", r),
            validators: t.key("validators", r),
            require_if_match: t.key("require_if_match", r),
            invalidates: t.key("invalidates", r),
            reads: t.key("reads", r),
            writes: t.key("writes", r),
            query_key: t.key("query_key", r),
            etag: etag_presence,
            etag_ignore: etag.key("ignore", r),
            etag_fields: etag.key("fields", r),
            last_modified_field: last_modified.key("field", r),
            last_modified_zone: last_modified.key("zone", r),
        };
        query.finish(r);
        etag.finish(r);
        last_modified.finish(r);
        keys
    }
}

/// One table of the file, absent ones included: they are read as empty, so that what is known is always the same.
pub(super) struct Table<'d> {
    entries: Option<&'d DeTable<'d>>,
    place: Place,
    /// As in messages: `[server]`, `[[route]] "products"`.
    title: String,
    /// As in dotted keys: `server.limits`; empty for the file itself.
    path: String,
    asked: Vec<&'static str>,
}

impl<'d> Table<'d> {
    fn root(entries: &'d DeTable<'d>) -> Self {
        let (title, path) = ("the file".to_owned(), String::new());
        Table { entries: Some(entries), place: Place::Nowhere, title, path, asked: Vec::new() }
    }

    fn get(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.entries?.get(key)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value under `key`; what does not fit is noted.
    pub fn key<T: Shape>(&mut self, key: &'static str, r: &mut Reading) -> Key<T> {
        r.known.insert(self.path_of(key));
        let Some(found) = self.get(key) else { return Key::Absent };
        match T::read(found) {
            Ok(value) => Key::Said(At { value, place: place(found) }),
            Err(mut problem) => {
                problem.what = format!("`{key}`: {}", problem.what);
                r.problems.push(problem);
                Key::Unreadable
            }
        }
    }

    /// Whether there is a table under `key`, whatever stands in it.
    pub fn presence(&mut self, key: &'static str) -> Key<()> {
        match self.get(key) {
            None => Key::Absent,
            Some(found) if found.get_ref().is_table() => Key::Said(At { value: (), place: place(found) }),
            Some(_) => Key::Unreadable,
        }
    }

    /// The table under `key`, empty if it is not there.
    pub fn table(&mut self, key: &'static str, r: &mut Reading) -> Table<'d> {
        let path = self.path_of(key);
        let title = format!("[{path}]");
        let found = self.get(key);
        let entries = found.and_then(|found| {
            let table = found.get_ref().as_table();
            if table.is_none() {
                r.problems.push(mismatch(found, "a table", format!("write [{path}], and its keys below it")));
            }
            table
        });
        Table { entries, place: found.map_or(Place::Nowhere, place), title, path, asked: Vec::new() }
    }

    /// The tables under `key`, each begun with `[[key]]`.
    fn tables(&mut self, key: &'static str, r: &mut Reading) -> Vec<Table<'d>> {
        let Some(found) = self.get(key) else { return Vec::new() };
        let hint = format!("begin each with [[{key}]], in double brackets");
        let Some(array) = found.get_ref().as_array() else {
            r.problems.push(mismatch(found, "a list of tables", hint));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for element in array.iter() {
            match element.get_ref().as_table() {
                Some(entries) => tables.push(Table {
                    entries: Some(entries),
                    place: place(element),
                    title: format!("[[{key}]]"),
                    path: key.to_owned(),
                    asked: Vec::new(),
                }),
                None => r.problems.push(mismatch(element, "a table", hint.clone())),
            }
        }
        tables
    }

    /// Notes every key that nobody asked for.
    pub fn finish(self, r: &mut Reading) {
        for key in self.entries.into_iter().flat_map(|entries| entries.keys()) {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let hint = match closest(name, self.asked.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("what can stand here: {}", self.asked.join(", ")),
            };
            let what = format!("unknown key `{name}` in {}", self.title);
            r.problems.push(Problem::new(&Place::File(key.span()), what, hint));
        }
    }
}

pub(super) fn mismatch(found: &Spanned<DeValue<'_>>, wanted: &str, hint: impl Into<String>) -> Problem {
    let kind = found.get_ref().type_str();
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    let what = format!("expected {wanted}, found {article} {kind}");
    Problem::new(&place(found), what, hint)
}

pub(super) fn place<T>(found: &Spanned<T>) -> Place {
    Place::File(found.span())
}

/// The candidate that `word` was probably meant to be: at most one letter in three differs.
pub(super) fn closest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |candidate: &str| strsim::damerau_levenshtein(&word.to_lowercase(), candidate);
    candidates
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
