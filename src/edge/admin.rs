//! The admin listener: the page, the numbers, and what an operator can do, on an address of its own.
//!
//! What is asked and done here goes through [`Operations`]; this file turns requests into those calls and their
//! outcomes into JSON. Every error is a JSON object whose `error` is a sentence that says what to change.

use super::dashboard;
use super::learn;
use super::metrics::{Metrics, Stats, StoreFigures};
use super::shown_policy;
use crate::changes::log::{Log, Since};
use crate::clock::Timestamp;
use crate::policy::{EntityId, Policy, RouteId, Token};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, REFERRER_POLICY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::future::Future;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What the admin listener asks of the rest of the process.
pub trait Operations: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;
    /// The policy in force.
    fn policy(&self) -> Arc<Policy>;
    /// Carries out a purge, or scans for what it would match.
    fn purge(&self, request: &Purge) -> PurgeOutcome;
    /// What would be decided about a request: route, key, scope, lifetime, what it invalidates.
    fn explain(&self, method: &str, url: &str, fields: &[(String, String)]) -> Value;
    /// How full the store is.
    fn store(&self) -> StoreFigures;
    /// Whether the public listener serves.
    fn phase(&self) -> Phase;
    /// What the first run has learned; `None` where routes are configured.
    fn learned(&self) -> Option<learn::Table>;
}

/// Where the process stands between start and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Serving,
    /// Told to end: what is in flight is finished, nothing new should come.
    Draining,
}

/// A purge, its names resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    pub selector: Selector,
    /// Treat as expired: stale rules still apply.
    pub soft: bool,
    /// Count what would be purged, and purge nothing.
    pub dry_run: bool,
}

/// What is purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Path and query; without a query, all queries.
    Key(String),
    Route(RouteId),
    /// Every route of the entity, or, with an id, that item.
    Entity {
        id: EntityId,
        item: Option<String>,
    },
    /// All paths that begin so.
    Prefix(String),
    All,
}

/// What came of a purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", untagged)]
pub enum PurgeOutcome {
    /// It is done, and stands in the log under this number.
    Purged { sequence: u64 },
    /// A dry run: so many stored responses match.
    Matched { matched: u64 },
}

/// Everything the handlers share.
#[derive(Clone)]
pub struct Admin {
    pub operations: Arc<dyn Operations>,
    pub metrics: Arc<Metrics>,
    pub log: Arc<Log>,
}

/// What `/stats` answers: the numbers, and in the first run what was learned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatsAnswer {
    #[serde(flatten)]
    pub stats: Stats,
    pub learned: Option<learn::Table>,
}

/// A purge as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPurge {
    key: Option<String>,
    route: Option<String>,
    /// A name, or a name and an id as in `category:5`.
    entity: Option<String>,
    prefix: Option<String>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    soft: bool,
    #[serde(default)]
    dry_run: bool,
}

/// How many changes `/changes` shows where nobody says since when.
const RECENT: usize = 100;

/// Bytes; a purge takes less than a hundred.
const MAX_BODY: usize = 64 << 10;

/// Every path, as the answer to an unknown one lists them.
const PATHS: [&str; 9] = [
    "GET /",
    "GET /stats",
    "GET /metrics",
    "GET /changes?since=N",
    "GET /explain?method=GET&url=/path",
    "GET /config",
    "POST /purge",
    "GET /healthz",
    "GET /readyz",
];

/// The whole application.
pub fn router(admin: Admin) -> Router {
    let guarded = Router::new()
        .route("/", get(page))
        .route("/stats", get(stats))
        .route("/metrics", get(metrics))
        .route("/changes", get(changes))
        .route("/explain", get(explain))
        .route("/config", get(config))
        .route("/purge", post(purge))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn_with_state(admin.clone(), require_token));
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .merge(guarded)
        .layer(middleware::from_fn_with_state(admin.clone(), require_own_host))
        .layer(middleware::map_response(harden))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(admin)
}

/// Serves until `shutdown` ends, then finishes what is in flight.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: tokio::net::TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

async fn page() -> Response {
    let policy = HeaderValue::from_str(&dashboard::CONTENT_SECURITY_POLICY).expect("the policy is ASCII");
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    ([(CONTENT_TYPE, kind), (CONTENT_SECURITY_POLICY, policy)], dashboard::PAGE).into_response()
}

async fn stats(State(admin): State<Admin>) -> Response {
    let operations = &admin.operations;
    let stats = admin.metrics.stats(&operations.policy().routes, operations.store(), operations.now());
    axum::Json(StatsAnswer { stats, learned: operations.learned() }).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let text = admin.metrics.prometheus(admin.operations.store(), admin.operations.now());
    ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response()
}

async fn ready(State(admin): State<Admin>) -> Response {
    match admin.operations.phase() {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response(),
        Phase::Serving => "ready\n".into_response(),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response(),
    }
}

async fn changes(State(admin): State<Admin>, Query(query): Query<Vec<(String, String)>>) -> Result<Response, Refusal> {
    let latest = admin.log.latest();
    let (gap, changes) = match parameter(&query, "since") {
        None => {
            let mut recent = admin.log.recent(RECENT);
            recent.reverse();
            (false, recent)
        }
        Some(since) => {
            let since = since.parse().map_err(|_| {
                Refusal::new(
                    StatusCode::BAD_REQUEST,
                    format!("`since` is a sequence number, such as 0, not {since:?}."),
                )
            })?;
            match admin.log.since(since) {
                Since::Replay(changes) => (false, changes),
                Since::Gap => (true, Vec::new()),
            }
        }
    };
    Ok(axum::Json(json!({ "latest": latest, "gap": gap, "changes": changes })).into_response())
}

async fn explain(State(admin): State<Admin>, Query(query): Query<Vec<(String, String)>>) -> Result<Response, Refusal> {
    let url = parameter(&query, "url").ok_or_else(|| {
        Refusal::new(StatusCode::BAD_REQUEST, "`url` is missing: GET /explain?method=GET&url=/path.".to_owned())
    })?;
    let fields: Vec<_> = query.iter().filter(|(name, _)| name == "field").filter_map(|(_, f)| field_of(f)).collect();
    let method = parameter(&query, "method").unwrap_or("GET");
    Ok(axum::Json(admin.operations.explain(method, url, &fields)).into_response())
}

fn parameter<'q>(query: &'q [(String, String)], name: &str) -> Option<&'q str> {
    query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

/// `name: value`, as `explain -H` takes it.
fn field_of(line: &str) -> Option<(String, String)> {
    line.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
}

async fn config(State(admin): State<Admin>) -> Response {
    axum::Json(shown_policy::json(&admin.operations.policy())).into_response()
}

async fn purge(State(admin): State<Admin>, fields: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    // A page of another site can send a POST here, but not with this type: that takes a preflight, which nobody answers.
    let kind = fields.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    if !kind.split(';').next().is_some_and(|k| k.trim().eq_ignore_ascii_case("application/json")) {
        let sentence = "Send the purge as JSON, with Content-Type: application/json.".to_owned();
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence));
    }
    let purge = read_purge(&body, &admin.operations.policy())?;
    Ok(axum::Json(admin.operations.purge(&purge)).into_response())
}

/// What a purge's body asks for.
fn read_purge(body: &[u8], policy: &Policy) -> Result<Purge, Refusal> {
    let written: WrittenPurge = serde_json::from_slice(body).map_err(Refusal::located)?;
    let WrittenPurge { key, route, entity, prefix, all, soft, dry_run } = written;
    let selector = match (key, route, entity, prefix, all) {
        (Some(key), None, None, None, false) => Selector::Key(path_of("key", &key)?),
        (None, Some(name), None, None, false) => named(policy, "route", &name)?,
        (None, None, Some(name), None, false) => named(policy, "entity", &name)?,
        (None, None, None, Some(prefix), false) => Selector::Prefix(path_of("prefix", &prefix)?),
        (None, None, None, None, true) => Selector::All,
        _ => {
            let sentence = "Say what to purge with exactly one of `key`, `route`, `entity`, `prefix` and `all`.";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, sentence.to_owned()));
        }
    };
    Ok(Purge { selector, soft, dry_run })
}

/// Path and query of what may be a whole URL.
fn path_of(selector: &str, text: &str) -> Result<String, Refusal> {
    let target = match text.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => text,
    };
    if !target.starts_with('/') {
        let sentence = format!("`{selector}` is a path that begins with `/`, such as \"/products\", not {text:?}.");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, sentence));
    }
    Ok(target.to_owned())
}

/// The route or entity of that name. Either word understands both, since one is often called as the other; the word
/// that was used decides where both exist.
fn named(policy: &Policy, selector: &str, name: &str) -> Result<Selector, Refusal> {
    let route = || policy.routes.iter().find(|r| r.name == name).map(|r| Selector::Route(r.id));
    let entity = || {
        let whole = policy.routes.iter().find(|r| r.entity == name).map(|r| (r, None));
        let item = || {
            let (entity, id) = name.split_once(':')?;
            policy.routes.iter().find(|r| r.entity == entity).map(|r| (r, Some(id.to_owned())))
        };
        whole.or_else(item).map(|(route, item)| Selector::Entity { id: route.entity_id, item })
    };
    let found = if selector == "route" { route().or_else(entity) } else { entity().or_else(route) };
    found.ok_or_else(|| {
        let sentence = match suggestion(policy, name) {
            Some(near) => format!("There is no {selector} {name:?}. Did you mean {near:?}?"),
            None => format!("There is no {selector} {name:?}. GET /config lists the routes and their entities."),
        };
        Refusal::new(StatusCode::NOT_FOUND, sentence)
    })
}

/// The name of a route or entity that is spelt most alike.
fn suggestion<'p>(policy: &'p Policy, name: &str) -> Option<&'p str> {
    let names = policy.routes.iter().flat_map(|r| [r.name.as_str(), r.entity.as_str()]);
    let near = names.map(|known| (strsim::jaro_winkler(known, name), known)).filter(|(alike, _)| *alike > 0.75);
    near.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

async fn unknown_path(uri: Uri) -> Response {
    let error = format!("There is nothing at {:?} on the admin listener.", uri.path());
    (StatusCode::NOT_FOUND, axum::Json(json!({ "error": error, "paths": PATHS }))).into_response()
}

async fn unknown_method(method: http::Method, uri: Uri) -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not understood at {:?}.", uri.path()))
}

/// An answer that says what was wrong.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    body: Value,
}

impl Refusal {
    fn new(status: StatusCode, sentence: String) -> Self {
        Refusal { status, body: json!({ "error": sentence }) }
    }

    /// For JSON that cannot be read: where, too.
    fn located(error: serde_json::Error) -> Self {
        let sentence = format!("The body is not a purge: {error}.");
        let body = json!({ "error": sentence, "line": error.line(), "column": error.column() });
        Refusal { status: StatusCode::BAD_REQUEST, body }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, axum::Json(self.body)).into_response()
    }
}

/// Lets pass who brings the token, where one is set.
async fn require_token(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let allowed = match &admin.operations.policy().admin.token {
        Token::Open => true,
        Token::Required(token) => brings(request.headers(), token),
    };
    if allowed {
        return next.run(request).await;
    }
    let sentence = "This listener asks for its token: Authorization: Bearer …, or as the password in a browser.";
    let challenge = [(WWW_AUTHENTICATE, "Bearer"), (WWW_AUTHENTICATE, "Basic realm=\"freshgate admin\"")];
    let mut refusal = Refusal::new(StatusCode::UNAUTHORIZED, sentence.to_owned()).into_response();
    for (name, value) in challenge {
        refusal.headers_mut().append(name, HeaderValue::from_static(value));
    }
    refusal
}

/// Whether Authorization carries `token`: as a bearer token (RFC 6750 §2.1), or as the password of Basic (RFC 7617), so
/// that a browser can ask for it and open the page.
fn brings(fields: &HeaderMap, token: &str) -> bool {
    let Some((scheme, credentials)) =
        fields.get(AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.split_once(' '))
    else {
        return false;
    };
    let credentials = credentials.trim();
    let given = match scheme.to_ascii_lowercase().as_str() {
        "bearer" => credentials.as_bytes().to_vec(),
        "basic" => match STANDARD.decode(credentials) {
            Ok(pair) => pair.splitn(2, |b| *b == b':').nth(1).unwrap_or_default().to_vec(),
            Err(_) => return false,
        },
        _ => return false,
    };
    // Over digests, so that not even the token's length shows in the time taken.
    Sha256::digest(given).ct_eq(&Sha256::digest(token)).into()
}

/// Refuses a Host that is not this listener's own while it listens on loopback: a page whose name was pointed at
/// 127.0.0.1 (DNS rebinding) would otherwise count as of the same origin, and no token is asked for there.
async fn require_own_host(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let listen = admin.operations.policy().admin.listen;
    let host = request.headers().get(HOST).and_then(|v| v.to_str().ok()).unwrap_or("");
    if !listen.ip().is_loopback() || is_own_host(host, listen.ip()) {
        return next.run(request).await;
    }
    let sentence = format!("Ask for {listen} or localhost: {host:?} is not a name of this listener.");
    Refusal::new(StatusCode::MISDIRECTED_REQUEST, sentence).into_response()
}

fn is_own_host(host: &str, listen: std::net::IpAddr) -> bool {
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|a| a == listen || LOOPBACK.contains(&a))
}

/// The addresses by which people call their own machine.
const LOOPBACK: [std::net::IpAddr; 2] =
    [std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)];

/// No cache keeps it, no browser guesses at it, no other site hears of it.
async fn harden(mut response: http::Response<Body>) -> http::Response<Body> {
    let fields = response.headers_mut();
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
