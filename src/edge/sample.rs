//! A policy of two routes and exchanges on them, for the tests of this floor.

use crate::clock::Timestamp;
use crate::identity::Caller;
use crate::pipeline::exchange::Exchange;
use crate::policy::{
    Admin, Cache, Credential, EntityId, Etag, Freshness, HostField, Identity, LastModified, Limits, Mode, Origin,
    OriginCacheControl, Pattern, PatternKind, Policy, Query, Relation, RequestCacheControl, Route, RouteId, Routes,
    Scope, Server, SetCookie, Token, Validators,
};
use crate::semantics::cache_status::CacheStatus;
use std::time::Duration;

/// `categories` (entity `category`, fresh for 30 s), then the implicit route.
pub fn policy(token: Token) -> Policy {
    let listen = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    Policy {
        server: Server {
            listen: vec![listen(8080)],
            tls: None,
            threads: 2,
            hosts: Vec::new(),
            h2c: false,
            drain: Duration::from_secs(10),
            trusted_proxies: Vec::new(),
            limits: Limits {
                connections: 10_000,
                header_bytes: 32 << 10,
                header_count: 100,
                uri: 8 << 10,
                body: 0,
                header_timeout: Duration::from_secs(15),
                idle_timeout: Duration::from_secs(60),
            },
        },
        origin: Origin {
            tls: false,
            name: "127.0.0.1".to_owned(),
            port: 3000,
            path: String::new(),
            host: HostField::Client,
            ca: std::path::PathBuf::new(),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(4),
            request_buffer: 1 << 20,
            max_concurrent: 64,
            quarantine: Duration::from_secs(60),
            case_insensitive: false,
        },
        admin: Admin { listen: listen(9090), token },
        cache: Cache {
            memory: 256 << 20,
            max_body: 4 << 20,
            codings: Vec::new(),
            pass_for: Duration::from_secs(60),
            stale_on_disconnect: Duration::from_secs(3600),
        },
        identity: Identity {
            credentials: vec![Credential::Field("authorization".to_owned())],
            accepted_for: Duration::from_secs(60),
            jwt: None,
        },
        routes: routes(),
    }
}

/// The routes of [`policy`].
pub fn routes() -> Routes {
    Routes::new(vec![categories(), implicit()], false).expect("the patterns differ")
}

/// The first route.
pub fn categories() -> Route {
    let pattern = |text: &str, kind, literal_prefix: &str| Pattern {
        text: text.to_owned(),
        kind,
        literal_prefix: literal_prefix.to_owned(),
    };
    Route {
        id: RouteId(0),
        name: "categories".to_owned(),
        entity: "category".to_owned(),
        entity_id: EntityId(0),
        patterns: vec![
            pattern("/categories", PatternKind::Collection, "/categories"),
            pattern("/categories/{id}", PatternKind::Item, "/categories/"),
        ],
        freshness: Freshness::For(Duration::from_secs(30)),
        invalidates: vec![Relation::Path("/products".to_owned())],
        ..implicit()
    }
}

/// The route of paths that no route names.
pub fn implicit() -> Route {
    Route {
        id: RouteId(1),
        name: "(other)".to_owned(),
        entity: "(other)".to_owned(),
        entity_id: EntityId(1),
        patterns: Vec::new(),
        mode: Mode::Cache,
        freshness: Freshness::Origin,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        negative: Duration::from_secs(5),
        settle: Duration::ZERO,
        scope: Scope::User,
        origin_cache_control: OriginCacheControl::Respect,
        client_cache_control: "private, no-cache".to_owned(),
        request_cache_control: RequestCacheControl::Reload,
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

/// A GET of `/categories?token=secret&page=2` answered with 200, of 100 bytes from the origin, in 5 ms.
pub fn exchange(cache_status: CacheStatus) -> Exchange {
    Exchange {
        at: Timestamp { wall_ms: 1_767_349_800_217, boot_ms: 1000 },
        route: RouteId(0),
        method: "GET".to_owned(),
        target: "/categories?token=secret&page=2".to_owned(),
        caller: Caller::Known([7; 16]),
        status: 200,
        cache_status,
        origin_requests: 1,
        origin_bytes: 100,
        content_length: 100,
        content: None,
        json: true,
        sent_bytes: 100,
        latency: Duration::from_millis(5),
        background: false,
        mutation: None,
    }
}
