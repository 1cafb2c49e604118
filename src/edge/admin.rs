//! The admin listener: the page, the numbers, and what an operator can do, on an address of its own.
//!
//! What is asked and done here goes through [`Operations`]; this file turns requests into those calls and their
//! outcomes into JSON. Every error is a JSON object whose `error` is a sentence that says what to change.

use super::dashboard;
use super::learn;
use super::metrics::{Metrics, Stats, StoreFigures};
use super::shown_policy;
use super::writer;
use crate::changes::log::{Log, Since};
use crate::clock::Timestamp;
pub use crate::pipeline::purge::Selector;
use crate::policy::{Policy, Token};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
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
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

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
    /// The names of the routes that were demoted to scope `user`.
    fn demoted(&self) -> Vec<String>;
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
    /// Routes whose callers are kept apart although they were to share: the origin told them different things.
    pub demoted: Vec<String>,
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

/// Connections at once; further ones wait to be accepted. Who holds them must not take the files of the public listener.
const CONNECTIONS: usize = 256;

/// How long a connection lasts, however it is used: who takes no answers would else keep it for ever.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// Serves without end. A client that says nothing, or not all of a head, is waited for as long as one of the public
/// listener's: `header_timeout`, where zero means no limit.
pub async fn serve(listener: TcpListener, router: Router, header_timeout: Duration) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(Some(header_timeout).filter(|limit| !limit.is_zero()));
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = room.clone().acquire_owned().await.expect("the semaphore is never closed");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, mostly: accepting at once again would spin.
                tracing::warn!(%error, "an operator's connection could not be accepted");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            let _place = place;
            let mut connection = pin!(connection);
            if timeout(LONGEST, connection.as_mut()).await.is_err() {
                connection.as_mut().graceful_shutdown();
                // What is left of it is not worth a word.
                drop(timeout(writer::STALL, connection).await);
            }
        });
    }
}

async fn page() -> Response {
    let policy = HeaderValue::from_str(&dashboard::CONTENT_SECURITY_POLICY).expect("the policy is ASCII");
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    ([(CONTENT_TYPE, kind), (CONTENT_SECURITY_POLICY, policy)], dashboard::PAGE).into_response()
}

async fn stats(State(admin): State<Admin>) -> Response {
    let operations = &admin.operations;
    let stats = admin.metrics.stats(&operations.policy().routes, operations.store(), operations.now());
    axum::Json(StatsAnswer { stats, learned: operations.learned(), demoted: operations.demoted() }).into_response()
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

async fn purge(
    State(admin): State<Admin>,
    fields: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    // A page of another site can send a POST here, but not with this type: that takes a preflight, which nobody answers.
    let kind = fields.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    if !kind.split(';').next().is_some_and(|k| k.trim().eq_ignore_ascii_case("application/json")) {
        let sentence = "Send the purge as JSON, with Content-Type: application/json.".to_owned();
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence));
    }
    let body = body.map_err(|error| Refusal::new(error.status(), format!("The body is not a purge: {error}.")))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::{Cause, Change};
    use crate::edge::sample;
    use crate::policy::{EntityId, RouteId};
    use crate::semantics::cache_status::CacheStatus;
    use std::sync::Mutex;
    use tower::ServiceExt;

    const NOW: Timestamp = Timestamp { wall_ms: 0, boot_ms: 9000 };

    /// Remembers what was asked.
    struct Asked {
        policy: Arc<Policy>,
        phase: Phase,
        purges: Mutex<Vec<Purge>>,
    }

    impl Operations for Asked {
        fn now(&self) -> Timestamp {
            NOW
        }
        fn policy(&self) -> Arc<Policy> {
            Arc::clone(&self.policy)
        }
        fn purge(&self, request: &Purge) -> PurgeOutcome {
            self.purges.lock().expect("nobody panics here").push(request.clone());
            if request.dry_run { PurgeOutcome::Matched { matched: 3 } } else { PurgeOutcome::Purged { sequence: 8 } }
        }
        fn explain(&self, method: &str, url: &str, fields: &[(String, String)]) -> Value {
            json!([method, url, fields])
        }
        fn store(&self) -> StoreFigures {
            StoreFigures { bytes: 1, entries: 2, memory: 3 }
        }
        fn phase(&self) -> Phase {
            self.phase
        }
        fn learned(&self) -> Option<learn::Table> {
            None
        }
        fn demoted(&self) -> Vec<String> {
            vec!["categories".into()]
        }
    }

    fn admin(token: Token, phase: Phase) -> (Admin, Arc<Asked>) {
        let asked = Arc::new(Asked { policy: Arc::new(sample::policy(token)), phase, purges: Mutex::default() });
        let metrics = Arc::new(Metrics::new(&sample::routes(), Timestamp { wall_ms: 0, boot_ms: 0 }));
        let log = Arc::new(Log::new(2));
        for sequence in 1..=3 {
            log.append(Change {
                sequence,
                at: NOW,
                cause: Cause::Purge,
                whole: true,
                routes: vec![],
                entities: vec![],
                paths: vec![],
                query_keys: vec![],
            });
        }
        (Admin { operations: Arc::clone(&asked) as Arc<dyn Operations>, metrics, log }, asked)
    }

    fn request(line: &str, fields: &[(&str, &str)], body: &str) -> Request {
        let (method, target) = line.split_once(' ').expect("a request line has two words");
        let mut request = http::Request::builder().method(method).uri(target);
        if !fields.iter().any(|(name, _)| *name == "host") {
            request = request.header(HOST, "127.0.0.1:9090");
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(Body::from(body.to_owned())).expect("the request is well formed")
    }

    async fn ask(admin: Admin, request: Request) -> (u16, HeaderMap, String) {
        let answer = router(admin).oneshot(request).await.expect("the router always answers");
        let (head, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.expect("the body is whole");
        (head.status.as_u16(), head.headers, String::from_utf8(body.to_vec()).expect("the body is text"))
    }

    /// An open listener that serves answers `line` so.
    async fn check(line: &str, status: u16, holds: &str) {
        let (got, _, body) = ask(admin(Token::Open, Phase::Serving).0, request(line, &[], "")).await;
        assert_eq!(got, status, "{line}: {body}");
        assert!(body.contains(holds), "{line}: {holds:?} is not in {body}");
    }

    #[tokio::test]
    async fn what_can_be_asked() {
        check("GET /", 200, "<title>freshgate</title>").await;
        check("GET /healthz", 200, "ok").await;
        check("GET /readyz", 200, "ready").await;
        check("GET /stats", 200, r#""uptime_seconds":9"#).await;
        check("GET /stats", 200, r#""demoted":["categories"]"#).await;
        check("GET /metrics", 200, "freshgate_store_entries 2").await;
        check("GET /config", 200, r#""fresh":30"#).await;
        check("GET /explain?url=/categories%3Fa=1", 200, r#"["GET","/categories?a=1",[]]"#).await;
        check("GET /explain?method=PUT&url=/a&field=x-a:%201", 200, r#"["PUT","/a",[["x-a","1"]]]"#).await;
        check("GET /explain", 400, "`url` is missing").await;
        check("GET /nothing", 404, "POST /purge").await;
        check("DELETE /stats", 405, "DELETE is not understood at \\\"/stats\\\".").await;
    }

    #[tokio::test]
    async fn changes_are_told_in_order_or_as_a_gap() {
        let numbers = async |line: &str| {
            let (status, _, body) = ask(admin(Token::Open, Phase::Serving).0, request(line, &[], "")).await;
            assert_eq!(status, 200, "{body}");
            let body: Value = serde_json::from_str(&body).expect("the answer is JSON");
            let numbers =
                body["changes"].as_array().map(|c| c.iter().map(|c| c["sequence"].as_u64()).collect::<Vec<_>>());
            (body["latest"].as_u64(), body["gap"].as_bool(), numbers.unwrap_or_default())
        };
        assert_eq!(numbers("GET /changes").await, (Some(3), Some(false), vec![Some(2), Some(3)]));
        assert_eq!(numbers("GET /changes?since=2").await, (Some(3), Some(false), vec![Some(3)]));
        assert_eq!(numbers("GET /changes?since=0").await, (Some(3), Some(true), vec![]));
        check("GET /changes?since=x", 400, "`since` is a sequence number").await;
    }

    #[tokio::test]
    async fn readiness_follows_the_phase() {
        for (phase, status) in [(Phase::Starting, 503), (Phase::Serving, 200), (Phase::Draining, 503)] {
            let (ready, _, _) = ask(admin(Token::Open, phase).0, request("GET /readyz", &[], "")).await;
            let (healthy, _, _) = ask(admin(Token::Open, phase).0, request("GET /healthz", &[], "")).await;
            assert_eq!((ready, healthy), (status, 200), "{phase:?}");
        }
    }

    /// A purge with this body is asked for so, or refused so.
    async fn check_purge(body: &str, expected: Result<Purge, (u16, &str)>) {
        let (admin, asked) = admin(Token::Open, Phase::Serving);
        let json = [("content-type", "application/json")];
        let (status, _, answer) = ask(admin, request("POST /purge", &json, body)).await;
        let purges = asked.purges.lock().expect("nobody panics here");
        match expected {
            Ok(purge) => assert_eq!((status, purges.as_slice()), (200, [purge].as_slice()), "{body}: {answer}"),
            Err((expected, sentence)) => {
                assert_eq!((status, purges.len()), (expected, 0), "{body}: {answer}");
                assert!(answer.contains(sentence), "{body}: {sentence:?} is not in {answer}");
            }
        }
    }

    fn hard(selector: Selector) -> Result<Purge, (u16, &'static str)> {
        Ok(Purge { selector, soft: false, dry_run: false })
    }

    #[tokio::test]
    async fn purges() {
        let item = |item: Option<&str>| Selector::Entity { id: EntityId(0), item: item.map(str::to_owned) };
        check_purge(r#"{"all": true}"#, hard(Selector::All)).await;
        check_purge(r#"{"key": "/categories?page=2"}"#, hard(Selector::Key("/categories?page=2".to_owned()))).await;
        check_purge(r#"{"key": "http://a.example/c"}"#, hard(Selector::Key("/c".to_owned()))).await;
        check_purge(r#"{"prefix": "/cat"}"#, hard(Selector::Prefix("/cat".to_owned()))).await;
        check_purge(r#"{"route": "categories"}"#, hard(Selector::Route(RouteId(0)))).await;
        check_purge(r#"{"entity": "category"}"#, hard(item(None))).await;
        check_purge(r#"{"entity": "category:5"}"#, hard(item(Some("5")))).await;
        check_purge(r#"{"route": "category"}"#, hard(item(None))).await;
        check_purge(r#"{"entity": "categories"}"#, hard(Selector::Route(RouteId(0)))).await;
        let soft = Purge { selector: Selector::All, soft: true, dry_run: true };
        check_purge(r#"{"all": true, "soft": true, "dry_run": true}"#, Ok(soft)).await;
    }

    #[tokio::test]
    async fn purges_that_are_refused() {
        check_purge("{}", Err((400, "exactly one of"))).await;
        check_purge(r#"{"all": true, "key": "/a"}"#, Err((400, "exactly one of"))).await;
        check_purge(r#"{"all": false}"#, Err((400, "exactly one of"))).await;
        check_purge(r#"{"key": "categories"}"#, Err((400, "begins with `/`"))).await;
        check_purge("{\n  \"al\": true}", Err((400, r#""column":6,"#))).await;
        check_purge("{\n  \"al\": true}", Err((400, r#""line":2"#))).await;
        check_purge("", Err((400, "EOF"))).await;
        check_purge(r#"{"route": "categoires"}"#, Err((404, "Did you mean \\\"categories\\\"?"))).await;
        check_purge(r#"{"entity": "xyz"}"#, Err((404, "GET /config lists"))).await;
    }

    #[tokio::test]
    async fn a_purge_that_is_too_long_is_refused_in_json_too() {
        let json = [("content-type", "application/json")];
        let request = request("POST /purge", &json, &" ".repeat(MAX_BODY + 1));
        let (status, _, body) = ask(admin(Token::Open, Phase::Serving).0, request).await;
        assert_eq!(status, 413);
        assert!(body.starts_with(r#"{"error":"The body is not a purge"#), "{body}");
    }

    #[tokio::test]
    async fn a_purge_answers_with_its_number_or_with_what_matches() {
        for (body, answer) in
            [(r#"{"all":true}"#, r#"{"sequence":8}"#), (r#"{"all":true,"dry_run":true}"#, r#"{"matched":3}"#)]
        {
            let json = [("content-type", "application/json; charset=utf-8")];
            let (_, _, got) = ask(admin(Token::Open, Phase::Serving).0, request("POST /purge", &json, body)).await;
            assert_eq!(got, answer);
        }
    }

    #[tokio::test]
    async fn a_purge_that_another_sites_page_could_send_is_refused() {
        for fields in
            [&[][..], &[("content-type", "text/plain")], &[("content-type", "application/x-www-form-urlencoded")]]
        {
            let (admin, asked) = admin(Token::Open, Phase::Serving);
            let (status, answered, _) = ask(admin, request("POST /purge", fields, r#"{"all":true}"#)).await;
            assert_eq!((status, asked.purges.lock().expect("nobody panics here").len()), (415, 0));
            assert!(!answered.contains_key("access-control-allow-origin"));
        }
    }

    /// With the token `s3cret`, `line` and this Authorization are answered with `status`.
    async fn check_token(line: &str, authorization: Option<&str>, status: u16) {
        let fields: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
        let admin = admin(Token::Required("s3cret".to_owned()), Phase::Serving).0;
        let (got, answered, body) = ask(admin, request(line, &fields, "")).await;
        assert_eq!(got, status, "{line} with {authorization:?}");
        assert_eq!(answered.contains_key(WWW_AUTHENTICATE), status == 401);
        assert!(!body.contains("s3cret"), "{line} tells the token");
    }

    #[tokio::test]
    async fn the_token_is_asked_for_everywhere_but_at_the_probes() {
        for line in
            ["GET /", "GET /stats", "GET /metrics", "GET /changes", "GET /config", "POST /purge", "GET /nothing"]
        {
            check_token(line, None, 401).await;
        }
        check_token("GET /healthz", None, 200).await;
        check_token("GET /readyz", None, 200).await;
    }

    #[tokio::test]
    async fn the_token_is_a_bearer_token_or_a_browsers_password() {
        check_token("GET /config", Some("Bearer s3cret"), 200).await;
        check_token("GET /stats", Some("bearer  s3cret"), 200).await;
        check_token("GET /stats", Some(&format!("Basic {}", STANDARD.encode("any:s3cret"))), 200).await;
        let wrong = [STANDARD.encode("s3cret:wrong"), STANDARD.encode("s3cret"), "?".to_owned()];
        for authorization in ["Bearer s3cre", "Bearer s3cret2", "Bearer", "s3cret", "Digest s3cret"] {
            check_token("GET /stats", Some(authorization), 401).await;
        }
        for credentials in wrong {
            check_token("GET /stats", Some(&format!("Basic {credentials}")), 401).await;
        }
    }

    #[tokio::test]
    async fn on_loopback_only_its_own_names_are_answered() {
        let own = ["localhost", "LOCALHOST:9090", "127.0.0.1", "127.0.0.1:9999", "[::1]:9090"];
        let foreign =
            ["evil.example", "evil.example:9090", "localhost.evil.example", "127.0.0.2", "0.0.0.0", "", "a b"];
        for (host, status) in own.map(|h| (h, 200)).into_iter().chain(foreign.map(|h| (h, 421))) {
            let (got, _, _) =
                ask(admin(Token::Open, Phase::Serving).0, request("GET /stats", &[("host", host)], "")).await;
            assert_eq!(got, status, "Host: {host}");
        }
    }

    #[tokio::test]
    async fn nothing_is_kept_by_caches() {
        let (_, fields, _) = ask(admin(Token::Open, Phase::Serving).0, request("GET /", &[], "")).await;
        assert_eq!(fields[CACHE_CONTROL], "no-store");
        assert_eq!(fields[CONTENT_SECURITY_POLICY], dashboard::CONTENT_SECURITY_POLICY.as_str());
    }

    #[tokio::test]
    async fn serves_over_a_socket() {
        let (admin, _) = admin(Token::Open, Phase::Serving);
        admin.metrics.record(&sample::exchange(CacheStatus::Hit { ttl: 1, detail: None }));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let served = tokio::spawn(serve(listener, router(admin), Duration::ZERO));
        let asked = tokio::task::spawn_blocking(move || {
            ureq::get(format!("http://{address}/stats")).call().and_then(|mut answer| answer.body_mut().read_json())
        });
        let answer: Value = asked.await.expect("the client does not panic").expect("/stats answers");
        let answer: StatsAnswer = serde_json::from_value(answer).expect("as it is documented");
        assert_eq!(answer.stats.total.counts.hits, 1);
        served.abort();
    }
}
