//! The policy in force as JSON, for `GET /config`: every decision, no secret.

use crate::policy::{Credential, Freshness, HostField, Jwt, Policy, Relation, Route, Routes, Token};
use serde_json::{Value, json};
use std::time::Duration;

/// All of it. Durations are seconds, sizes bytes.
pub fn json(policy: &Policy) -> Value {
    let Policy { server, origin, admin, cache, identity, routes } = policy;
    json!({
        "server": {
            "listen": server.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "tls": server.tls.is_some(),
            "threads": server.threads,
            "hosts": server.hosts,
            "h2c": server.h2c,
            "drain": seconds(server.drain),
            "trusted_proxies": server.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "limits": {
                "connections": server.limits.connections,
                "header_bytes": server.limits.header_bytes,
                "header_count": server.limits.header_count,
                "uri": server.limits.uri,
                "body": server.limits.body,
                "header_timeout": seconds(server.limits.header_timeout),
                "idle_timeout": seconds(server.limits.idle_timeout),
            },
        },
        "origin": {
            "url": format!("{}://{}{}", if origin.tls { "https" } else { "http" }, origin.authority(), origin.path),
            "ca": origin.ca,
            "host": match origin.host { HostField::Client => "client", HostField::Origin => "origin" },
            "connect_timeout": seconds(origin.connect_timeout),
            "response_timeout": seconds(origin.response_timeout),
            "body_timeout": seconds(origin.body_timeout),
            "idle_timeout": seconds(origin.idle_timeout),
            "request_buffer": origin.request_buffer,
            "max_concurrent": origin.max_concurrent,
            "quarantine": seconds(origin.quarantine),
            "case_insensitive": origin.case_insensitive,
        },
        "admin": {
            "listen": admin.listen.to_string(),
            "token": match admin.token { Token::Open => "none", Token::Required(_) => "required" },
        },
        "cache": {
            "memory": cache.memory,
            "max_body": cache.max_body,
            "pass_for": seconds(cache.pass_for),
            "stale_on_disconnect": seconds(cache.stale_on_disconnect),
        },
        "identity": {
            "credentials": identity.credentials.iter().map(credential).collect::<Vec<_>>(),
            "accepted_for": seconds(identity.accepted_for),
            "jwt": identity.jwt.as_ref().map(jwt),
        },
        "routes": routes.iter().map(|r| route(r, routes)).collect::<Vec<_>>(),
    })
}

fn jwt(jwt: &Jwt) -> Value {
    json!({
        "algorithm": jwt.algorithm.word(),
        "key": jwt.source,
        "issuer": jwt.issuer,
        "audience": jwt.audience,
        "leeway": seconds(jwt.leeway),
        "from": credential(&jwt.from),
    })
}

fn route(route: &Route, routes: &Routes) -> Value {
    let relation = |relation: &Relation| match relation {
        Relation::Route(id) => routes.get(*id).name.clone(),
        Relation::Path(path) => path.clone(),
    };
    json!({
        "name": route.name,
        "entity": route.entity,
        "paths": route.patterns.iter().map(|p| p.text.as_str()).collect::<Vec<_>>(),
        "mode": word(route.mode),
        "fresh": match route.freshness { Freshness::Origin => Value::Null, Freshness::For(d) => seconds(d) },
        "stale_while_revalidate": seconds(route.stale_while_revalidate),
        "stale_if_error": seconds(route.stale_if_error),
        "negative": seconds(route.negative),
        "settle": seconds(route.settle),
        "scope": route.scope.to_string(),
        "origin_cache_control": word(route.origin_cache_control),
        "client_cache_control": route.client_cache_control,
        "request_cache_control": word(route.request_cache_control),
        "vary": route.vary,
        "query": { "ignore": route.query.ignore, "sort": route.query.sort },
        "set_cookie": word(route.set_cookie),
        "validators": word(route.validators),
        "require_if_match": route.require_if_match,
        "invalidates": route.invalidates.iter().map(relation).collect::<Vec<_>>(),
        "reads": route.reads,
        "writes": route.writes,
        "query_key": route.query_key,
        "etag": { "replace": route.etag.replace, "ignore": route.etag.ignore, "fields": route.etag.fields },
        "last_modified": { "field": route.last_modified.field, "zone": route.last_modified.zone },
    })
}

/// A choice as the configuration writes it: these enums are named by their words.
fn word(choice: impl std::fmt::Debug) -> String {
    format!("{choice:?}").to_lowercase()
}

fn seconds(duration: Duration) -> Value {
    match duration.subsec_nanos() {
        0 => json!(duration.as_secs()),
        _ => json!(duration.as_secs_f64()),
    }
}

fn credential(credential: &Credential) -> String {
    match credential {
        Credential::Field(name) => name.clone(),
        Credential::Cookie(name) => format!("cookie:{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::sample;
    use crate::policy::jwt::{Algorithm, Key};

    #[test]
    fn tokens_are_shown_without_their_key() {
        let mut policy = sample::policy(Token::Open);
        assert_eq!(json(&policy)["identity"]["jwt"], Value::Null);
        policy.identity.jwt = Some(Jwt {
            algorithm: Algorithm::Hs256,
            key: Key::secret(Algorithm::Hs256, &[b'x'; 32]).expect("it is long enough"),
            source: "env:JWT_SECRET".to_owned(),
            issuer: Some("login".to_owned()),
            audience: None,
            leeway: Duration::from_millis(1500),
            from: Credential::Cookie("session".to_owned()),
        });
        let shown = json(&policy)["identity"]["jwt"].clone();
        let expected = json!({
            "algorithm": "HS256", "key": "env:JWT_SECRET", "issuer": "login", "audience": null, "leeway": 1.5,
            "from": "cookie:session",
        });
        assert_eq!(shown, expected);
    }
}
