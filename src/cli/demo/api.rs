//! The sample API: what a point of sale stands on and nobody wants to change.
//!
//! It asks every caller for a token, forbids caching, sends no validators, ignores conditions, takes its time, and puts
//! a new `generated_at` into every response. What it adds for the demonstration's sake is `meta.version`: which state of
//! the shop a response shows (see [`shop`](super::shop)), so that staleness can be proved and not only suspected.

use super::seeded::Seeded;
use super::shop::{Content, Refusal, Shop, Written, date_time};
use super::token::{self, Claims};
use crate::clock::{Clock, Timestamp};
use crate::origin::{Ask, Framing, Head, Interim, Origin, OriginError, Reply};
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::serve::ListenerExt;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{HeaderName, HeaderValue, StatusCode, header};
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
    /// By tenant and path.
    gets: BTreeMap<(String, String), Gets>,
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
        // The end of a long list must not wait for the acknowledgement of its beginning. Where the option cannot be
        // set the API is a little slower, which is in its character.
        let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        let app = axum::Router::new().fallback(over_http).with_state(self);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(bound)
    }

    /// A token of somebody in a shop, which the API accepts for a day.
    pub fn token(&self, sub: &str, tenant: &str) -> String {
        let exp = self.clock.now().wall_seconds().saturating_add(24 * 3600);
        token::sign(&Claims { sub: sub.to_owned(), tenant_id: tenant.to_owned(), exp }, &self.secret)
    }

    /// Answers one request at once, as it would over a socket. `authorization` is that field's value.
    pub fn answer(&self, method: &str, path: &str, authorization: Option<&[u8]>, body: &[u8]) -> http::Response<Bytes> {
        let now = self.clock.now();
        let caller = self.caller(authorization);
        let tenant = caller.as_ref().map(|claims| claims.tenant_id.clone()).unwrap_or_default();
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
            let gets = state.gets.entry((tenant, path.to_owned())).or_default();
            gets.count += 1;
            gets.bytes += response.body().len() as u64;
        }
        response
    }

    /// The GETs of a tenant's callers that have reached the API so far.
    pub fn gets_of(&self, tenant: &str) -> Gets {
        let state = self.state();
        let of_tenant = state.gets.iter().filter(|((of, _), _)| of == tenant).map(|(_, gets)| gets);
        of_tenant
            .fold(Gets::default(), |sum, gets| Gets { count: sum.count + gets.count, bytes: sum.bytes + gets.bytes })
    }

    /// The paths whose content change `version` touched: the truth that responses are held against.
    pub fn touched(&self, version: u64) -> Vec<String> {
        self.state().shop.touched(version).to_vec()
    }

    fn caller(&self, authorization: Option<&[u8]>) -> Option<Claims> {
        let token = std::str::from_utf8(authorization?).ok()?.strip_prefix("Bearer ")?;
        token::verify(token, &self.secret).filter(|claims| self.clock.now().wall_seconds() < claims.exp)
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

/// The API as the origin of a proxy in the same process: answers at once.
#[async_trait::async_trait]
impl Origin for Api {
    async fn ask(&self, ask: Ask, _interim: Option<Interim>) -> Result<Reply, OriginError> {
        let path = ask.target.split('?').next().unwrap_or_default();
        let (head, body) = self.answer(&ask.method, path, ask.fields.get("authorization"), &ask.body).into_parts();
        let line = |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), value.as_bytes().to_vec());
        Ok(Reply {
            head: Head {
                status: head.status.as_u16(),
                reason: Bytes::from_static(head.status.canonical_reason().unwrap_or_default().as_bytes()),
                fields: head.headers.iter().map(line).collect(),
            },
            framing: Framing::Length(body.len() as u64),
            body: stream::once(async { Ok(body) }).boxed(),
        })
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

#[cfg(test)]
mod tests {
    use super::super::front::{Front, Server};
    use super::*;
    use crate::clock::ManualClock;
    use crate::origin::Sending;
    use crate::semantics::request::Scheme;

    fn api() -> (Arc<Api>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(Timestamp { wall_ms: 1_700_000_000_000, boot_ms: 0 }));
        (Arc::new(Api::new(1, b"secret", 0, clock.clone())), clock)
    }

    fn bearer(api: &Api, tenant: &str) -> String {
        format!("Bearer {}", api.token("ann", tenant))
    }

    fn request(method: &str, path: &str, authorization: &str, body: &'static str) -> http::Request<Bytes> {
        let request = http::Request::builder().method(method).uri(path).header(header::AUTHORIZATION, authorization);
        request.body(body.into()).expect("a plain request")
    }

    #[tokio::test]
    async fn it_answers_over_a_socket_with_no_validators() {
        let (api, _) = api();
        let bearer = bearer(&api, "shop-1");
        let server = Server::at(Arc::clone(&api).serve(([127, 0, 0, 1], 0).into()).await.expect("a free port"));

        let mut conditional = request("GET", "/categories", &bearer, "");
        conditional.headers_mut().insert(header::IF_NONE_MATCH, http::HeaderValue::from_static("*"));
        let list = server.send(conditional).await.expect("an answer");
        assert_eq!(list.status(), 200);
        assert_eq!(list.headers()[header::CACHE_CONTROL], "no-cache, private");
        assert!(!list.headers().contains_key(header::ETAG) && !list.headers().contains_key(header::LAST_MODIFIED));
        let body: serde_json::Value = serde_json::from_slice(list.body()).expect("JSON");
        assert_eq!(body["data"].as_array().map(Vec::len), Some(40));
        assert_eq!((&body["meta"]["total"], &body["meta"]["version"]), (&40.into(), &0.into()));
        assert_eq!(body["meta"]["generated_at"], "2023-11-14T22:13:20.000Z");

        let sold = r#"{"items":[{"product_id":1,"quantity":1}]}"#;
        let sale = server.send(request("POST", "/sales", &bearer, sold)).await.expect("an answer");
        assert_eq!((sale.status().as_u16(), &sale.headers()[header::LOCATION]), (201, &"/sales/1".parse().unwrap()));
        let stock = server.send(request("GET", "/stock", &bearer, "")).await.expect("an answer");
        assert_eq!(meta_of(stock.body()).map(|meta| meta.version), Some(1));
    }

    #[tokio::test]
    async fn it_answers_in_process_as_over_a_socket() {
        let (api, _) = api();
        let bearer = bearer(&api, "shop-1");
        let ask = Ask {
            method: "GET".into(),
            scheme: Scheme::Http,
            target: "/units?page=1".into(),
            fields: [("Authorization", bearer.clone())].into_iter().collect(),
            body: Bytes::new(),
            has_body: false,
            sending: Sending::RetryOnce,
        };
        let reply = api.ask(ask, None).await.expect("an answer");
        assert_eq!((reply.head.status, reply.head.fields.get("cache-control")), (200, Some(&b"no-cache, private"[..])));
        let body: Vec<_> = reply.body.map(|chunk| chunk.expect("a whole body")).collect().await;
        let same = api.answer("GET", "/units", Some(bearer.as_bytes()), b"").into_body();
        assert_eq!((reply.framing, body), (Framing::Length(same.len() as u64), vec![same]));
    }

    #[track_caller]
    fn check_status(method: &str, path: &str, authorization: Option<&str>, body: &str, expected: u16) {
        let (api, _) = api();
        let good = bearer(&api, "shop-1");
        let authorization = authorization.unwrap_or(&good);
        let response = api.answer(method, path, Some(authorization.as_bytes()), body.as_bytes());
        assert_eq!(response.status(), expected, "{method} {path}");
    }

    #[test]
    fn statuses_say_what_was_wrong() {
        check_status("GET", "/products/1/variants", None, "", 200);
        check_status("GET", "/products/5001", None, "", 404);
        check_status("GET", "/nothing", None, "", 404);
        check_status("GET", "/products", Some("Bearer nonsense"), "", 401);
        check_status("POST", "/sales", Some("Basic YTpi"), "{}", 401);
        check_status("POST", "/sales", None, "not JSON", 422);
        check_status("DELETE", "/products/1", None, "", 405);
        check_status("DELETE", "/categories/1", None, "", 200);
        let (api, _) = api();
        assert_eq!(api.answer("GET", "/products", None, b"").status(), 401);
    }

    #[test]
    fn only_generated_at_moves_while_nothing_changes() {
        let (api, clock) = api();
        let get = || api.answer("GET", "/brands", Some(bearer(&api, "shop-1").as_bytes()), b"").into_body();
        let first = get();
        clock.advance(Duration::from_secs(1));
        let second = get();
        assert_ne!(first, second);
        let text = |body: &Bytes| String::from_utf8(body.to_vec()).expect("JSON is UTF-8");
        assert_eq!(text(&first).replace("22:13:20.000Z\"}}", "22:13:21.000Z\"}}"), text(&second));
    }

    #[test]
    fn a_response_names_the_tenant_of_its_caller() {
        let (api, _) = api();
        let response = api.answer("GET", "/units", Some(bearer(&api, "shop-2").as_bytes()), b"");
        assert_eq!(meta_of(response.body()).map(|meta| meta.tenant), Some("shop-2".into()));
    }

    #[test]
    fn gets_are_counted_by_tenant_with_their_bytes() {
        let (api, _) = api();
        let bearer = bearer(&api, "shop-1");
        let get = |path| api.answer("GET", path, Some(bearer.as_bytes()), b"").body().len() as u64;
        let bytes = get("/units") + get("/brands");
        let next_door = self::bearer(&api, "shop-2");
        api.answer("GET", "/units", Some(next_door.as_bytes()), b"");
        api.answer("POST", "/units", Some(bearer.as_bytes()), br#"{"name":"Pair"}"#);
        assert_eq!(api.gets_of("shop-1"), Gets { count: 2, bytes });
        assert_eq!(api.gets_of("shop-2").count, 1);
    }

    #[test]
    fn latency_is_that_of_a_slow_api_to_scale() {
        let clock = Arc::new(ManualClock::new(Timestamp { wall_ms: 0, boot_ms: 0 }));
        let with = |factor| Api::new(1, b"", factor, clock.clone());
        let slow: Vec<_> = (0..100).map(|_| 0).scan(with(1), |api, _: i32| Some(api.latency())).collect();
        assert!(slow.iter().all(|l| (30..150).contains(&l.as_millis())) && slow.iter().any(|l| *l != slow[0]));
        assert_eq!(with(10).latency(), slow[0] / 10);
        assert_eq!(with(0).latency(), Duration::ZERO);
    }

    #[track_caller]
    fn check_meta_missing(body: &str) {
        assert_eq!(meta_of(body.as_bytes()), None, "{body}");
    }

    #[test]
    fn a_body_cut_off_has_no_meta() {
        let (api, _) = api();
        let whole = api.answer("GET", "/units/1", Some(bearer(&api, "shop-1").as_bytes()), b"").into_body();
        assert!(meta_of(&whole).is_some());
        let text = std::str::from_utf8(&whole).expect("JSON is UTF-8");
        check_meta_missing(&text[..text.len() - 1]);
        check_meta_missing(&text[..text.len() / 2]);
        check_meta_missing("");
        check_meta_missing(r#"{"error":"not found"}"#);
    }
}
