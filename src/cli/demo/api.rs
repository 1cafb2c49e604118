//! The sample API: what a point of sale stands on and nobody wants to change.
//!
//! It asks every caller for a token, forbids caching, sends no validators, ignores conditions, takes its time, and puts
//! a new `generated_at` into every response. What it adds for the demonstration's sake is `meta.version`: which state of
//! the shop a response shows (see [`shop`](super::shop)), so that staleness can be proved and not only suspected.

use super::seeded::Seeded;
use super::shop::{Content, Refusal, Shop, Written, date_time};
use super::token::{self, Claims};
use crate::clock::{Clock, Timestamp};
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::TcpListener;

/// The longest request body that is read, in bytes.
const MAX_BODY: usize = 1 << 20;

/// How long the API thinks before it answers, in milliseconds: from, and up to but not including.
const LATENCY_MS: (u64, u64) = (30, 150);

/// The sample API. One state, however many callers and connections.
pub struct Api {
    clock: Arc<dyn Clock>,
    secret: Vec<u8>,
    /// Latency is divided by this; zero: there is none.
    factor: u32,
    state: Mutex<Inner>,
}

struct Inner {
    shop: Shop,
    latency: Seeded,
    gets: BTreeMap<String, Gets>,
}

/// GETs that reached the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gets {
    pub count: u64,
    /// Of response bodies.
    pub bytes: u64,
}

/// `meta` of every response that shows something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The path that was asked for.
    pub path: String,
    /// `tenant_id` of the caller's token.
    pub tenant: String,
    /// The last change that touched what is shown.
    pub version: u64,
    /// How many rows there are, where it is a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<usize>,
    /// When this response was made: another time in every response.
    pub generated_at: String,
}

impl Api {
    /// An API whose shop opens now. `factor` divides its latency of 30 to 150 ms; with zero it has none.
    pub fn new(seed: u64, secret: &[u8], factor: u32, clock: Arc<dyn Clock>) -> Self {
        let shop = Shop::new(seed, clock.now());
        let state = Mutex::new(Inner { shop, latency: Seeded::new(seed), gets: BTreeMap::new() });
        Api { clock, secret: secret.to_vec(), factor, state }
    }

    /// Binds `address` and answers there until the runtime ends. Port 0 takes any free one; the bound address is
    /// returned.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn serve(self: Arc<Self>, address: SocketAddr) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        let app = axum::Router::new().fallback(over_http).with_state(self);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(bound)
    }

    /// A token that the API accepts.
    pub fn token(&self, claims: &Claims) -> String {
        token::sign(claims, &self.secret)
    }

    /// Answers one request at once, as it would over a socket. `authorization` is that field's value.
    pub fn answer(&self, method: &str, path: &str, authorization: Option<&[u8]>, body: &[u8]) -> http::Response<Bytes> {
        let now = self.clock.now();
        let caller = self.caller(authorization);
        let mut state = self.state();
        let response = match caller {
            None => failure(StatusCode::UNAUTHORIZED, "a valid bearer token is required"),
            Some(claims) if matches!(method, "GET" | "HEAD") => match state.shop.read(path) {
                Some(content) => shown(path, &claims, content, now),
                None => refused(&Refusal::NotFound),
            },
            Some(claims) => match state.shop.write(method, path, body, now) {
                Ok(written) => done(path, &claims, written, now),
                Err(refusal) => refused(&refusal),
            },
        };
        if method == "GET" {
            let gets = state.gets.entry(path.to_owned()).or_default();
            gets.count += 1;
            gets.bytes += response.body().len() as u64;
        }
        response
    }

    /// The GETs that have reached the API so far, by path.
    pub fn gets(&self) -> BTreeMap<String, Gets> {
        self.state().gets.clone()
    }

    /// The same, summed.
    pub fn all_gets(&self) -> Gets {
        self.state()
            .gets
            .values()
            .fold(Gets::default(), |sum, gets| Gets { count: sum.count + gets.count, bytes: sum.bytes + gets.bytes })
    }

    /// The paths whose content change `version` touched: the truth that responses are held against.
    pub fn touched(&self, version: u64) -> Vec<String> {
        self.state().shop.touched(version).to_vec()
    }

    fn caller(&self, authorization: Option<&[u8]>) -> Option<Claims> {
        let token = std::str::from_utf8(authorization?).ok()?.strip_prefix("Bearer ")?;
        token::verify(token, &self.secret)
    }

    /// How long the next request takes.
    fn latency(&self) -> Duration {
        let (from, to) = LATENCY_MS;
        let full = Duration::from_millis(from + self.state().latency.below(to - from));
        full.checked_div(self.factor).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

/// One request over a socket. The shop is read or changed halfway through the latency: what is on its way back may
/// already be out of date, as with any real API.
async fn over_http(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return failure(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long, or did not come whole").map(Body::from);
    };
    let half = api.latency() / 2;
    pause(half).await;
    let authorization = head.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let response = api.answer(head.method.as_str(), head.uri.path(), authorization, &body);
    pause(half).await;
    response.map(Body::from)
}

async fn pause(time: Duration) {
    // A timer of zero still waits for the next millisecond.
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

fn shown(path: &str, claims: &Claims, content: Content, now: Timestamp) -> http::Response<Bytes> {
    let Content { data, total, version } = content;
    let body = envelope(&data, &meta(path, claims, version, total, now));
    respond(StatusCode::OK).body(body).expect("a status and three constant fields")
}

fn done(path: &str, claims: &Claims, written: Written, now: Timestamp) -> http::Response<Bytes> {
    let status = StatusCode::from_u16(written.status).expect("the shop answers 200 or 201");
    let body = envelope(&written.data, &meta(path, claims, written.version, None, now));
    let response = match written.location {
        Some(location) => respond(status).header(header::LOCATION, location),
        None => respond(status),
    };
    response.body(body).expect("a location made of a table's name and a number")
}

fn refused(refusal: &Refusal) -> http::Response<Bytes> {
    match refusal {
        Refusal::NotFound => failure(StatusCode::NOT_FOUND, "not found"),
        Refusal::MethodNotAllowed => failure(StatusCode::METHOD_NOT_ALLOWED, "not possible here"),
        Refusal::Unprocessable(why) => failure(StatusCode::UNPROCESSABLE_ENTITY, why),
    }
}

fn failure(status: StatusCode, message: &str) -> http::Response<Bytes> {
    let body = serde_json::json!({ "error": message }).to_string();
    respond(status).body(body.into()).expect("a status and three constant fields")
}

fn respond(status: StatusCode) -> http::response::Builder {
    http::Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CACHE_CONTROL, "no-cache, private")
}

fn meta(path: &str, claims: &Claims, version: u64, total: Option<usize>, now: Timestamp) -> Meta {
    Meta { path: path.to_owned(), tenant: claims.tenant_id.clone(), version, total, generated_at: date_time(now) }
}

/// `{"data":…,"meta":{…}}`, without parsing `data` again.
fn envelope(data: &[u8], meta: &Meta) -> Bytes {
    let meta = serde_json::to_vec(meta).expect("strings and numbers");
    [br#"{"data":"#.as_slice(), data, META_FOLLOWS, &meta, b"}"].concat().into()
}

const META_FOLLOWS: &[u8] = br#","meta":"#;

/// More than any `meta` takes, in bytes.
const META_AT_MOST: usize = 1 << 10;

/// The `meta` of a body made here; `None` if there is none, or the body is cut off. Only the end of the body is read:
/// lists are megabytes long.
pub fn meta_of(body: &[u8]) -> Option<Meta> {
    let end = &body[body.len().saturating_sub(META_AT_MOST)..];
    let at = end.windows(META_FOLLOWS.len()).rposition(|window| window == META_FOLLOWS)?;
    serde_json::from_slice(end[at + META_FOLLOWS.len()..].strip_suffix(b"}")?).ok()
}
