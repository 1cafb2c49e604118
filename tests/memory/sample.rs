//! Responses by the thousand, as a fetch would bring them, for a store without anything around it.

use bytes::Bytes;
use freshgate::clock::Timestamp;
use freshgate::config::{self, Overrides};
use freshgate::field::Fields;
use freshgate::field::date::HttpDate;
use freshgate::message::{Framing, Head};
use freshgate::policy::{EntityId, Route, RouteId};
use freshgate::semantics::cache_key::{self, CacheKey, Partition};
use freshgate::semantics::cache_status::Detail;
use freshgate::semantics::invalidation::FenceKey;
use freshgate::semantics::request::{Request, Scheme, Version};
use freshgate::semantics::stored_response::{Modified, Response};
use freshgate::semantics::storing::{self, Received, Seen};
use freshgate::store::{Place, Store, Unstorable};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

pub const NOW: Timestamp = Timestamp { wall_ms: 1_700_000_000_000, boot_ms: 1_000_000 };

/// What is stored again and again, each time under another key.
#[derive(Clone, Copy)]
pub struct Shape {
    /// How long the path, the query and the body are.
    pub path: usize,
    pub query: usize,
    pub body: usize,
    pub fields: usize,
    pub vary: Option<&'static str>,
    /// One URL and one body for all, asked for by as many callers.
    pub shared: bool,
    pub storable: bool,
}

pub const SMALL: Shape = Shape { path: 20, query: 0, body: 300, fields: 3, vary: None, shared: false, storable: true };

/// The route of everything: `fresh`, in scope `user`.
pub fn route() -> Route {
    let text =
        "[origin]\nurl = \"http://127.0.0.1:1\"\n[[route]]\nname = \"all\"\npaths = [\"/{*rest}\"]\nfresh = \"1h\"\n";
    let loaded = config::parse(text, "sample.toml", &Overrides::default(), &|_| None).expect("it is sound");
    loaded.policy.routes.select("/items").route.clone()
}

/// Stores the response to request `number` of a shape; `content` tells one body from another.
pub fn put(store: &Store, route: &Route, shape: &Shape, number: usize, content: usize) -> Result<(), Detail> {
    let partition = Partition::Caller(caller(number));
    let request = request(shape, number);
    let key = cache_key::of(&request, route, &partition);
    let query = request.query.clone().unwrap_or_default();
    let target = FenceKey::Target(request.path.clone(), query.clone());
    let slots = store.fences.slots(&[FenceKey::All, FenceKey::Entity(EntityId(0)), target]);
    let ticket = store.begin(&slots, NOW);
    let head = head(shape);
    let body = body(shape, content);
    let framing = Framing::Length(body.len() as u64);
    let received = Received { head: &head, framing, body, request_time: NOW, response_time: NOW };
    let response = storing::received(&received, route, None, |_, date, first_seen| dated(date, first_seen));
    if !shape.storable {
        unstorable(store, &key, &response);
        return Ok(());
    }
    let storable = storing::decide(&request, &received, response, route, &partition, &[]).expect("it may be stored");
    let at = (RouteId(0), EntityId(0));
    let place = Place::new(at, (&request.path, &query), Some(&number.to_string()), Some(caller(number)));
    store.put(&ticket, &key, &request.fields, &storable, slots, place)
}

fn caller(number: usize) -> [u8; 16] {
    (number as u128).to_be_bytes()
}

fn request(shape: &Shape, number: usize) -> Request {
    let one = if shape.shared { 0 } else { number };
    Request {
        method: "GET".into(),
        scheme: Scheme::Http,
        authority: "shop.test".into(),
        path: format!("/items/{one:0>width$}", width = shape.path.saturating_sub("/items/".len())),
        query: (shape.query > 0).then(|| format!("q={one:0>width$}", width = shape.query - "q=".len())),
        fields: [("Host", "shop.test"), ("Accept-Language", "en")].into_iter().collect(),
        version: Version::Http11,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        has_body: false,
    }
}

fn head(shape: &Shape) -> Head {
    let mut fields: Fields = (0..shape.fields).map(|n| (format!("X-Field-{n}"), "a value of some length")).collect();
    if let Some(vary) = shape.vary {
        fields.push("Vary", vary);
    }
    Head { status: 200, reason: Bytes::from_static(b"OK"), fields }
}

fn body(shape: &Shape, content: usize) -> Bytes {
    let content = if shape.shared { 0 } else { content };
    let mut body = format!("{content:020}").into_bytes();
    body.resize(shape.body, b'x');
    body.into()
}

fn dated(date: HttpDate, first_seen: HttpDate) -> Modified {
    Modified::Computed { date, first_seen }
}

fn unstorable(store: &Store, key: &CacheKey, response: &Response) {
    let seen = Seen::of(response);
    store.unstorable(key, Unstorable::Refused(Detail::NoStore), seen, NOW, Duration::from_secs(60));
}
