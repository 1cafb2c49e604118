//! What a route's owner decided: every question answered, nothing optional left.
//!
//! [`config`](crate::config) turns what was written into these types; everything above reads only them.
//! [`Routes::select`] is the only place where a path meets a route.

pub mod cache;
pub mod jwt;
mod matcher;
mod validators;

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use cache::{Cache, Coding};
pub use jwt::Jwt;
use matcher::Matcher;
pub use validators::{Etag, LastModified, Validators};

/// A whole configuration, resolved.
#[derive(Clone, Debug)]
pub struct Policy {
    pub server: Server,
    pub origin: Origin,
    pub admin: Admin,
    pub cache: Cache,
    pub identity: Identity,
    pub routes: Routes,
}

/// `[server]`: the public listener.
#[derive(Clone, Debug)]
pub struct Server {
    pub listen: Vec<SocketAddr>,
    pub tls: Option<Tls>,
    pub threads: usize,
    /// Lower-case host names that are answered; empty: every one.
    pub hosts: Vec<String>,
    pub h2c: bool,
    pub drain: Duration,
    pub trusted_proxies: Vec<ipnet::IpNet>,
    pub limits: Limits,
}

/// The certificate chain and key of the public listener, as PEM files.
#[derive(Clone, Debug)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// `[server.limits]`; zero means no limit.
#[derive(Clone, Debug)]
pub struct Limits {
    pub connections: usize,
    pub header_bytes: u64,
    pub header_count: usize,
    pub uri: u64,
    pub body: u64,
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
}

/// `[origin]`: the API behind the proxy.
#[derive(Clone, Debug)]
pub struct Origin {
    pub tls: bool,
    /// Host name or address, without a port, as in the URL.
    pub name: String,
    pub port: u16,
    /// Prefixed to every path sent; empty or starting with `/`, never ending with one.
    pub path: String,
    pub host: HostField,
    /// Extra roots trusted for an `https` origin, a PEM file; empty: the system's roots alone.
    pub ca: PathBuf,
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
    pub body_timeout: Duration,
    pub idle_timeout: Duration,
    pub request_buffer: u64,
    pub max_concurrent: usize,
    pub quarantine: Duration,
    pub case_insensitive: bool,
}

impl Origin {
    /// The authority of the origin's URL: the port is left out where it is the scheme's own.
    pub fn authority(&self) -> String {
        let name = if self.name.contains(':') { format!("[{}]", self.name) } else { self.name.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => name,
            (_, port) => format!("{name}:{port}"),
        }
    }
}

/// Which Host the origin is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostField {
    /// The client's own.
    Client,
    /// The authority of the origin's URL.
    Origin,
}

impl HostField {
    /// As written in a configuration.
    pub fn word(self) -> &'static str {
        match self {
            HostField::Client => "client",
            HostField::Origin => "origin",
        }
    }
}

/// `[admin]`: its own listener, never the public one.
#[derive(Clone, Debug)]
pub struct Admin {
    pub listen: SocketAddr,
    pub token: Token,
}

/// The admin listener's bearer token.
#[derive(Clone)]
pub enum Token {
    /// None is asked for; only allowed on loopback.
    Open,
    /// The secret that `Authorization: Bearer` must carry.
    Required(String),
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Token::Open => "Open",
            Token::Required(_) => "Required(…)",
        })
    }
}

/// `[identity]`: what tells callers apart.
#[derive(Clone, Debug)]
pub struct Identity {
    pub credentials: Vec<Credential>,
    pub accepted_for: Duration,
    /// How a token says who its bearer is, for `claim:` scopes.
    pub jwt: Option<Jwt>,
}

/// One thing in a request that tells callers apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A request field, lower-case.
    Field(String),
    /// One cookie out of the Cookie field; case-sensitive.
    Cookie(String),
}

/// The position of a route in [`Routes`]; also its slot among the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub u16);

/// The group of routes that share an `entity`: they count as one when something changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityId(pub u16);

/// One `[[route]]`, resolved.
#[derive(Clone, Debug)]
pub struct Route {
    pub id: RouteId,
    pub name: String,
    pub entity: String,
    pub entity_id: EntityId,
    pub patterns: Vec<Pattern>,
    pub mode: Mode,
    pub freshness: Freshness,
    pub stale_while_revalidate: Duration,
    pub stale_if_error: Duration,
    pub negative: Duration,
    pub settle: Duration,
    pub scope: Scope,
    pub origin_cache_control: OriginCacheControl,
    pub client_cache_control: String,
    pub request_cache_control: RequestCacheControl,
    /// Request fields that select a variant besides the origin's Vary; lower-case.
    pub vary: Vec<String>,
    pub query: Query,
    pub set_cookie: SetCookie,
    pub validators: Validators,
    /// PUT, PATCH and DELETE without If-Match are refused with 428.
    pub require_if_match: bool,
    /// What a mutation on this route invalidates besides the route itself.
    pub invalidates: Vec<Relation>,
    /// Unsafe methods that only read here; upper-case.
    pub reads: Vec<String>,
    /// Safe methods that write here; upper-case.
    pub writes: Vec<String>,
    pub query_key: Vec<String>,
    pub etag: Etag,
    pub last_modified: LastModified,
}

/// One entry of `paths`, with `server.base` in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As matched, such as `/api/v1/categories/{id}`.
    pub text: String,
    pub kind: PatternKind,
    /// The text before the first `{`.
    pub literal_prefix: String,
}

impl Pattern {
    /// The pattern of `path` below `base`; `base` is empty, or begins with a slash and does not end with one.
    pub fn below(base: &str, path: &str) -> Self {
        // The matching form of a path has no trailing slash, so `/` below a base is the base itself.
        let text = if path == "/" && !base.is_empty() { base.to_owned() } else { format!("{base}{path}") };
        let kind = match text.rsplit('/').next() {
            Some(last) if last.starts_with("{*") => PatternKind::Remainder,
            _ if text.split('/').any(|segment| segment == "{id}") => PatternKind::Item,
            _ => PatternKind::Collection,
        };
        let literal_prefix = text[..text.find('{').unwrap_or(text.len())].to_owned();
        Pattern { text, kind, literal_prefix }
    }

    /// The names of its parameters, in order; that of a remainder without its `*`.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        let after_braces = self.text.split('{').skip(1);
        after_braces.filter_map(|part| part.split('}').next()).map(|name| name.trim_start_matches('*'))
    }
}

/// What a path of a route stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternKind {
    /// Has no `{id}`; parameters of other names tell one collection from another.
    Collection,
    /// Has an `{id}`.
    Item,
    /// Ends in `{*rest}`: neither, so any mutation on it invalidates the whole route, and it falls with collections as
    /// well as with the item whose `{id}` it has.
    Remainder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Answered from the store where allowed.
    Cache,
    /// Forwarded, never stored; mutations still invalidate.
    Pass,
}

impl Mode {
    /// As written in a configuration.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Cache => "cache",
            Mode::Pass => "pass",
        }
    }

    /// What it means, as a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Mode::Cache => "Answered from the store where that is allowed.",
            Mode::Pass => "Forwarded and never stored; mutations still invalidate.",
        }
    }
}

/// Who decides how long a response is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Plain mode: the origin's own fields (RFC 9111 §4.2).
    Origin,
    /// The route's `fresh`.
    For(Duration),
}

/// Who may be answered with what the origin said to someone else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Only the same credentials.
    User,
    /// Every caller whose credential the origin accepts on this route, or whose token is verified.
    Authenticated,
    /// Every caller whose verified token has the same value of this claim.
    Claim(String),
    /// Everybody.
    Public,
}

impl Scope {
    /// Whether one credential's responses may reach another whose right to them has to be shown first.
    pub fn shares_among_the_admitted(&self) -> bool {
        matches!(self, Scope::Authenticated | Scope::Claim(_))
    }

    /// What it means, as a sentence.
    pub fn sentence(&self) -> String {
        match self {
            Scope::User => "Nobody is answered with what the origin said to other credentials.".into(),
            Scope::Authenticated => "All callers whom the origin accepts here share what it said to any of them: only \
                                     for routes whose every URL every accepted caller may read."
                .into(),
            Scope::Claim(name) => format!(
                "Callers whose verified token has the same `{name}` share what the origin said to any of them; all \
                 others are kept apart."
            ),
            Scope::Public => {
                "Everybody is answered with what the origin said to anybody: only for what every caller may read."
                    .into()
            }
        }
    }
}

impl fmt::Display for Scope {
    /// As written in a configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::User => f.write_str("user"),
            Scope::Authenticated => f.write_str("authenticated"),
            Scope::Claim(name) => write!(f, "claim:{name}"),
            Scope::Public => f.write_str("public"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginCacheControl {
    Respect,
    Ignore,
}

impl OriginCacheControl {
    /// As written in a configuration.
    pub fn word(self) -> &'static str {
        match self {
            OriginCacheControl::Respect => "respect",
            OriginCacheControl::Ignore => "ignore",
        }
    }
}

/// What a client's own Cache-Control can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestCacheControl {
    /// `no-cache` without If-None-Match asks the origin, at most once a second per key.
    Reload,
    Ignore,
    /// RFC 9111 §5.2.1.
    Respect,
}

impl RequestCacheControl {
    /// As written in a configuration.
    pub fn word(self) -> &'static str {
        match self {
            RequestCacheControl::Reload => "reload",
            RequestCacheControl::Ignore => "ignore",
            RequestCacheControl::Respect => "respect",
        }
    }
}

/// Which query parameters tell responses apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Names left out; a trailing `*` matches any ending.
    pub ignore: Vec<String>,
    pub sort: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetCookie {
    /// A response with Set-Cookie is not stored.
    Refuse,
    /// Stored without it; its first caller gets it.
    Strip,
}

impl SetCookie {
    /// As written in a configuration.
    pub fn word(self) -> &'static str {
        match self {
            SetCookie::Refuse => "refuse",
            SetCookie::Strip => "strip",
        }
    }
}

/// Something a mutation invalidates besides its own route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// A whole route, and those that share its entity.
    Route(RouteId),
    /// A path with the mutation's own parameters put in, such as `/products/{id}`, in all its forms.
    Path(String),
}

/// All routes, and the matcher over them.
#[derive(Clone, Debug)]
pub struct Routes {
    /// In file order; the last one is the implicit plain-mode route for paths that no route names.
    all: Vec<Route>,
    matcher: Matcher,
    case_insensitive: bool,
    /// Whether a GET or a HEAD writes on some route.
    reading_may_write: bool,
}

/// What a path matched.
#[derive(Clone, Debug)]
pub struct Selected<'r> {
    pub route: &'r Route,
    /// How the path matched; `None` on the implicit route.
    pub pattern: Option<&'r Pattern>,
    /// The values of the pattern's parameters in order, in matching form.
    pub values: Vec<&'r str>,
}

impl<'r> Selected<'r> {
    /// The pattern's parameters in order, with their values.
    pub fn params(&self) -> impl Iterator<Item = (&'r str, &'r str)> {
        let names = self.pattern.into_iter().flat_map(Pattern::parameters);
        names.zip(self.values.iter().copied())
    }

    /// The value of a parameter.
    pub fn param(&self, name: &str) -> Option<&'r str> {
        self.params().find(|(other, _)| *other == name).map(|(_, value)| value)
    }
}

/// The name of the implicit route, and of its entity.
pub const IMPLICIT: &str = "unrouted";

/// A pattern that matches the same paths as one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EqualPatterns {
    pub route: RouteId,
    /// As in [`Pattern::text`], like `other_pattern`.
    pub pattern: String,
    pub other: RouteId,
    pub other_pattern: String,
}

impl Routes {
    /// Builds the matcher. `all` must end with the implicit route (no patterns).
    ///
    /// # Errors
    /// Patterns that match the same paths, all of them.
    pub fn new(all: Vec<Route>, case_insensitive: bool) -> Result<Self, Vec<EqualPatterns>> {
        let mut matcher = Matcher::default();
        let mut problems = Vec::new();
        for route in &all {
            for (index, pattern) in route.patterns.iter().enumerate() {
                let text = if case_insensitive { pattern.text.to_lowercase() } else { pattern.text.clone() };
                let index = u16::try_from(index).expect("config bounds the number of paths");
                if let Err((other, number)) = matcher.insert(&text, (route.id, index)) {
                    let other = &all[usize::from(other.0)];
                    problems.push(EqualPatterns {
                        route: route.id,
                        pattern: pattern.text.clone(),
                        other: other.id,
                        other_pattern: other.patterns[usize::from(number)].text.clone(),
                    });
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let reading_may_write =
            all.iter().flat_map(|route| &route.writes).any(|m| matches!(m.as_str(), "GET" | "HEAD"));
        Ok(Routes { all, matcher, case_insensitive, reading_may_write })
    }

    /// Every route, the implicit one last.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.all.iter()
    }

    /// The route at `id`.
    pub fn get(&self, id: RouteId) -> &Route {
        &self.all[usize::from(id.0)]
    }

    /// The implicit plain-mode route.
    pub fn implicit(&self) -> &Route {
        self.all.last().expect("Routes::new is given the implicit route")
    }

    /// The route that says whether a request with this method changes something. Where nobody reads by writing, that of a
    /// GET or HEAD need not be looked for.
    pub fn governing(&self, method: &str, path: &str) -> &Route {
        match method {
            "GET" | "HEAD" if !self.reading_may_write => self.implicit(),
            _ => self.get(self.select(&self.matching_form(path)).route.id),
        }
    }

    /// A path in matching form: percent-decoding undone, one trailing slash off, lower-case where the origin's paths
    /// are. Two paths with one matching form invalidate together; storing keeps them apart.
    pub fn matching_form<'p>(&self, path: &'p str) -> Cow<'p, str> {
        let without_slash = |path: &str| path.len() - usize::from(path.len() > 1 && path.ends_with('/'));
        if !path.contains('%') && !self.case_insensitive {
            return Cow::Borrowed(&path[..without_slash(path)]);
        }
        let mut text = percent_decoded(path);
        text.truncate(without_slash(&text));
        Cow::Owned(self.without_case(text))
    }

    /// A path that is decoded already, such as one made of parameters, in matching form: decoded twice it would be
    /// another.
    pub fn without_case(&self, path: String) -> String {
        if self.case_insensitive { path.to_lowercase() } else { path }
    }

    /// The route of a path: literal beats `{id}` beats `{*rest}`; a path nobody names has the implicit route.
    /// `path` is in [matching form](Self::matching_form).
    pub fn select<'r>(&'r self, path: &'r str) -> Selected<'r> {
        let Some(((route, number), values)) = self.matcher.find(path) else {
            return Selected { route: self.implicit(), pattern: None, values: Vec::new() };
        };
        let route = self.get(route);
        let pattern = &route.patterns[usize::from(number)];
        Selected { route, pattern: Some(pattern), values }
    }

    /// Every route that `path`, in matching form, lies below, the deepest first: those that have a path of whole segments
    /// with which `path` begins and after which it goes on, as `/products/5/adjust` does after `/products/{id}`.
    pub fn below<'r>(&'r self, path: &'r str) -> impl Iterator<Item = Selected<'r>> {
        let shorter = |rest: &&'r str| match rest.rsplit_once('/') {
            Some(_) if *rest == "/" => None,
            Some(("", _)) => Some("/"),
            Some((shorter, _)) => Some(shorter),
            None => None,
        };
        std::iter::successors(shorter(&path), shorter)
            .map(|rest| self.select(rest))
            .filter(|found| found.pattern.is_some())
    }

    /// Every route that may have a path which begins with `prefix`, in matching form.
    pub fn may_begin_with(&self, prefix: &str) -> impl Iterator<Item = &Route> {
        self.all.iter().filter(move |route| {
            route.patterns.iter().any(|pattern| {
                let literal = self.without_case(pattern.literal_prefix.clone());
                literal.starts_with(prefix) || prefix.starts_with(&literal)
            })
        })
    }

    /// Every route whose literal prefix begins `path`, in matching form. The comparison is by character, not by
    /// segment, and a prefix counts without its trailing slash: too many rather than one too few.
    pub fn with_literal_prefix_of(&self, path: &str) -> impl Iterator<Item = &Route> {
        self.all.iter().filter(move |route| {
            route.patterns.iter().any(|pattern| {
                let prefix = pattern.literal_prefix.trim_end_matches('/');
                if self.case_insensitive { path.starts_with(&prefix.to_lowercase()) } else { path.starts_with(prefix) }
            })
        })
    }
}

/// `%41` → `A`, octet by octet. What is not a valid escape stays as it is; octets that do not make UTF-8 become escapes
/// of one spelling.
fn percent_decoded(path: &str) -> String {
    let hex = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let escape = (bytes[i] == b'%' && i + 2 < bytes.len())
            .then(|| Some(hex(bytes[i + 1])? * 16 + hex(bytes[i + 2])?))
            .flatten();
        match escape {
            Some(octet) => {
                out.push(octet);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    let mut text = String::with_capacity(out.len());
    for chunk in out.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|octet| format!("%{octet:02X}")));
    }
    text
}
