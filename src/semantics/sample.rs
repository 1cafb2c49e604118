//! What the tests beside the decisions decide about.

use crate::clock::Timestamp;
use crate::field::Fields;
use crate::policy::{
    EntityId, Etag, Freshness, LastModified, Mode, OriginCacheControl, Pattern, Query, RequestCacheControl, Route,
    RouteId, Routes, Scope, SetCookie, Validators,
};
use crate::semantics::request::{Request, Scheme, Version};
use crate::semantics::stored_response::{ContentHash, Modified, Response, Validator};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// `seconds` after Thu, 01 Jan 2026 00:00:00 GMT.
pub fn at(seconds: u64) -> Timestamp {
    Timestamp { wall_ms: 1_767_225_600_000, boot_ms: 5_000_000 } + Duration::from_secs(seconds)
}

/// To it everything hashes alike.
#[derive(Default)]
pub struct Colliding;

impl std::hash::Hasher for Colliding {
    fn write(&mut self, _: &[u8]) {}
    fn finish(&self) -> u64 {
        7
    }
}

/// A header section.
pub fn fields(lines: &[(&str, &str)]) -> Fields {
    lines.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// A request to `http://shop.test`.
pub fn request(method: &str, target: &str, lines: &[(&str, &str)]) -> Request {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    Request {
        method: method.into(),
        scheme: Scheme::Http,
        authority: "shop.test".into(),
        path: path.into(),
        query,
        fields: fields(lines),
        version: Version::Http11,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        has_body: false,
    }
}

/// A public route in plain mode.
pub fn plain() -> Route {
    Route {
        id: RouteId(0),
        name: "items".into(),
        entity: "items".into(),
        entity_id: EntityId(0),
        patterns: Vec::new(),
        mode: Mode::Cache,
        freshness: Freshness::Origin,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        negative: Duration::from_secs(5),
        settle: Duration::ZERO,
        scope: Scope::Public,
        origin_cache_control: OriginCacheControl::Respect,
        client_cache_control: "private, no-cache".into(),
        request_cache_control: RequestCacheControl::Respect,
        vary: Vec::new(),
        query: Query::default(),
        set_cookie: SetCookie::Refuse,
        validators: Validators::Add,
        require_if_match: false,
        invalidates: Vec::new(),
        reads: Vec::new(),
        writes: Vec::new(),
        query_key: Vec::new(),
        etag: Etag::default(),
        last_modified: LastModified::default(),
    }
}

/// A public route that answers for 60 s without asking.
pub fn fresh() -> Route {
    Route { freshness: Freshness::For(Duration::from_secs(60)), ..plain() }
}

/// These routes, by name and paths, each its own entity, and the implicit one.
pub fn routes(named: Vec<(&str, &[&str], Route)>) -> Routes {
    let numbered = named.into_iter().zip(0u16..).map(|((name, paths, route), number)| Route {
        id: RouteId(number),
        name: name.into(),
        entity_id: EntityId(number),
        patterns: paths.iter().map(|path| Pattern::below("", path)).collect(),
        ..route
    });
    let mut all: Vec<Route> = numbered.collect();
    let last = u16::try_from(all.len()).expect("tests name few routes");
    all.push(Route { id: RouteId(last), entity_id: EntityId(last), ..plain() });
    Routes::new(all, false).expect("no two patterns are equal")
}

/// A response that came at [`at`]\(0) and is five octets long.
pub fn response(status: u16, lines: &[(&str, &str)]) -> Response {
    Response {
        status,
        reason: "Reason".into(),
        fields: fields(lines),
        content: ContentHash([1; 32]),
        content_length: 5,
        validator: Validator::Absent,
        modified: Modified::Absent,
        response_time: at(0),
        initial_age: Duration::ZERO,
        aged: false,
        recodable: false,
    }
}
