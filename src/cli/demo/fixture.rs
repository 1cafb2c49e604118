//! A policy for tests: the freshness matrix and the relations of a point of sale, and small made-up ones.

use crate::policy::{
    Admin, Cache, Credential, EntityId, Etag, Freshness, HostField, Identity, LastModified, Limits, Mode, Origin,
    OriginCacheControl, Pattern, PatternKind, Policy, Query, Relation, RequestCacheControl, Route, RouteId, Routes,
    Scope, Server, SetCookie, Token,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// One route as a row: its name, its paths, its lifetime in seconds (none: plain mode), the routes it invalidates.
pub type Row<'a> = (&'a str, &'a [&'a str], Option<u64>, &'a [&'a str]);

/// The routes of the sample API.
const POS: &[Row<'static>] = &[
    ("units", &["/units", "/units/{id}"], Some(60 * 60), &["products"]),
    ("categories", &["/categories", "/categories/{id}"], Some(30 * 60), &["products"]),
    ("brands", &["/brands", "/brands/{id}"], Some(30 * 60), &["products"]),
    ("products", &["/products", "/products/{id}", "/products/{id}/variants"], Some(5 * 60), &[]),
    ("adjustments", &["/products/{id}/adjust"], None, &["stock"]),
    ("stock", &["/stock", "/stock/{id}"], Some(30), &[]),
    ("sales", &["/sales", "/sales/{id}"], Some(60), &["stock", "reports"]),
    ("purchases", &["/purchases", "/purchases/{id}"], Some(60), &["stock"]),
    ("reports", &["/reports/daily"], Some(5 * 60), &[]),
];

/// The policy of a point of sale.
pub fn pos() -> Policy {
    policy(POS)
}

/// A policy with these routes; credentials count for 60 s.
pub fn policy(rows: &[Row]) -> Policy {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let seconds = Duration::from_secs;
    Policy {
        server: Server {
            listen: vec![loopback],
            tls: None,
            threads: 1,
            hosts: Vec::new(),
            h2c: false,
            drain: seconds(10),
            trusted_proxies: Vec::new(),
            limits: Limits {
                connections: 0,
                header_bytes: 0,
                header_count: 0,
                uri: 0,
                body: 0,
                header_timeout: seconds(15),
                idle_timeout: seconds(60),
            },
        },
        origin: Origin {
            tls: false,
            name: "127.0.0.1".into(),
            port: 3000,
            path: String::new(),
            host: HostField::Client,
            ca: "".into(),
            connect_timeout: seconds(2),
            response_timeout: seconds(30),
            body_timeout: seconds(30),
            idle_timeout: seconds(4),
            request_buffer: 1 << 20,
            max_concurrent: 64,
            quarantine: seconds(60),
            case_insensitive: false,
        },
        admin: Admin { listen: loopback, token: Token::Open },
        cache: Cache { memory: 1 << 28, max_body: 1 << 22, pass_for: seconds(60), stale_on_disconnect: seconds(3600) },
        identity: Identity { credentials: vec![Credential::Field("authorization".into())], accepted_for: seconds(60) },
        routes: routes(rows),
    }
}

fn routes(rows: &[Row]) -> Routes {
    let id = |index: usize| u16::try_from(index).expect("a few routes");
    let named = |name: &&str| {
        let index = rows.iter().position(|(other, ..)| other == name).expect("a route of this name");
        Relation::Route(RouteId(id(index)))
    };
    let implicit: Row = ("", &[], None, &[]);
    let all = rows.iter().chain([&implicit]).enumerate().map(|(index, (name, paths, fresh, invalidates))| Route {
        id: RouteId(id(index)),
        name: (*name).to_owned(),
        entity: (*name).to_owned(),
        entity_id: EntityId(id(index)),
        patterns: paths.iter().map(|path| pattern(path)).collect(),
        mode: Mode::Cache,
        freshness: fresh.map_or(Freshness::Origin, |fresh| Freshness::For(Duration::from_secs(fresh))),
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::from_secs(600),
        negative: Duration::from_secs(5),
        settle: Duration::ZERO,
        scope: Scope::User,
        origin_cache_control: OriginCacheControl::Ignore,
        client_cache_control: "private, no-cache".into(),
        request_cache_control: RequestCacheControl::Reload,
        vary: Vec::new(),
        query: Query::default(),
        set_cookie: SetCookie::Refuse,
        invalidates: invalidates.iter().map(named).collect(),
        reads: Vec::new(),
        writes: Vec::new(),
        query_key: Vec::new(),
        etag: Etag { replace: true, ignore: vec!["/meta/generated_at".into()], fields: Vec::new() },
        last_modified: LastModified::default(),
    });
    Routes::new(all.collect(), false).expect("patterns that differ")
}

fn pattern(text: &str) -> Pattern {
    let kind = if text.contains('{') { PatternKind::Item } else { PatternKind::Collection };
    let literal_prefix = text.split('{').next().unwrap_or(text).to_owned();
    Pattern { text: text.to_owned(), kind, literal_prefix }
}
