//! Phase two: what the written means. Every question is answered here, by the file or by a default; what contradicts
//! itself is noted. Routes are resolved [beside](super::route).

use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::Env;
use super::error::{Place, Problem};
use super::jwt;
use super::placed::{At, Key, Text};
use super::route::{self, Sources};
use super::shape::Size;
use super::written::{self, Written};
use crate::policy::{
    Admin, Cache, Coding, Credential, HostField, Identity, Limits, Origin, Policy, Scope, Server, Tls, Token,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const DEFAULT_LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 8080);
const DEFAULT_ADMIN_LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 9090);

/// Resolves everything, noting each problem; `None` where what is left makes no policy. What comes back is meant to be
/// used only if nothing was noted.
pub(super) fn resolve(
    written: &Written,
    text: &str,
    env: Env<'_>,
    problems: &mut Vec<Problem>,
) -> (Option<Policy>, Vec<Sources>) {
    let server = server(&written.server, problems);
    let origin = origin(&written.origin, problems);
    let admin = admin(&written.admin, env, problems);
    apart(written, &server, &admin, problems);
    if let Some(origin) = &origin {
        not_itself(written, &server, &admin, origin, problems);
    }
    let identity = identity(&written.identity, env, problems);
    claims_are_verified(written, problems);
    let case_insensitive = or(&written.origin.case_insensitive, false);
    let (routes, sources) = route::routes(written, text, case_insensitive, problems);
    let policy = origin.zip(routes).map(|(origin, routes)| Policy {
        server,
        origin,
        admin,
        cache: cache(&written.cache, problems),
        identity,
        routes,
    });
    (policy, sources)
}

/// The written value, or the default.
pub(super) fn or<T: Clone>(key: &Key<T>, default: T) -> T {
    key.value().cloned().unwrap_or(default)
}

fn bytes(key: &Key<Size>, default: u64) -> u64 {
    key.value().map_or(default, |size| size.0)
}

fn seconds(key: &Key<Duration>, default: u64) -> Duration {
    or(key, Duration::from_secs(default))
}

/// A duration that something is waited for: none at all would never come.
fn timeout(name: &str, key: &Key<Duration>, default: u64, problems: &mut Vec<Problem>) -> Duration {
    if let Some(At { value: Duration::ZERO, place }) = key.said() {
        let what = format!("`{name}` is zero: every request would fail");
        problems.push(Problem::new(place, what, format!("the default is \"{default}s\"")));
    }
    seconds(key, default)
}

/// A number of things, within bounds that an address space can hold.
fn count(name: &str, key: &Key<u64>, bounds: (u64, u64), default: usize, problems: &mut Vec<Problem>) -> usize {
    let Some(At { value, place }) = key.said() else { return default };
    let (least, most) = bounds;
    if !(least..=most).contains(value) {
        let hint = format!("write a number from {least} to {most}");
        problems.push(Problem::new(place, format!("`{name}`: {value} is out of bounds"), hint));
    }
    usize::try_from(*value).unwrap_or(default)
}

/// The members of a list that `read` makes sense of; what it refuses, with the hint it gives, is noted.
pub(super) fn each<T>(
    key: &str,
    texts: &[Text],
    problems: &mut Vec<Problem>,
    read: impl Fn(&str) -> Result<T, (String, String)>,
) -> Vec<T> {
    let mut values = Vec::with_capacity(texts.len());
    for text in texts {
        match read(&text.value) {
            Ok(value) => values.push(value),
            Err((what, hint)) => problems.push(Problem::new(&text.place, format!("`{key}`: {what}"), hint)),
        }
    }
    values
}

fn server(written: &written::Server, problems: &mut Vec<Problem>) -> Server {
    let mut listen = vec![SocketAddr::from(DEFAULT_LISTEN)];
    if let Some(At { value, place }) = written.listen.said() {
        listen = each("listen", value, problems, address);
        if value.is_empty() {
            problems.push(Problem::new(place, "`listen` is empty", "write an address such as \"127.0.0.1:8080\""));
        }
    }
    let hosts = written.hosts.value().map_or_else(Vec::new, |hosts| each("hosts", hosts, problems, host));
    let trusted_proxies =
        written.trusted_proxies.value().map_or_else(Vec::new, |nets| each("trusted_proxies", nets, problems, network));
    Server {
        listen,
        tls: tls(written, problems),
        threads: count("threads", &written.threads, (1, 1024), cores(), problems),
        hosts,
        h2c: or(&written.h2c, false),
        drain: seconds(&written.drain, 10),
        trusted_proxies,
        limits: limits(&written.limits, problems),
    }
}

fn limits(written: &written::Limits, problems: &mut Vec<Problem>) -> Limits {
    Limits {
        connections: count("connections", &written.connections, (0, 10_000_000), 10_000, problems),
        header_bytes: bytes(&written.header_bytes, 32 * KIB),
        header_count: count("header_count", &written.header_count, (0, 10_000), 100, problems),
        uri: bytes(&written.uri, 8 * KIB),
        body: bytes(&written.body, 0),
        header_timeout: seconds(&written.header_timeout, 15),
        idle_timeout: seconds(&written.idle_timeout, 60),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

fn tls(written: &written::Server, problems: &mut Vec<Problem>) -> Option<Tls> {
    let At { place, .. } = written.tls.said()?;
    for (key, missing, other) in
        [("cert", written.tls_cert.is_absent(), "key"), ("key", written.tls_key.is_absent(), "cert")]
    {
        if missing {
            let hint = format!("add {key} = \"FILE.pem\" beside {other}");
            problems.push(Problem::new(place, format!("`tls` has no `{key}`"), hint));
        }
    }
    let file = |key: &Key<String>| PathBuf::from(or(key, String::new()));
    Some(Tls { cert: file(&written.tls_cert), key: file(&written.tls_key) })
}

fn origin(written: &written::Origin, problems: &mut Vec<Problem>) -> Option<Origin> {
    if written.url.is_absent() {
        let hint = "write url = \"http://127.0.0.1:3000\" under [origin], or give --origin URL";
        problems.push(Problem::new(&Place::Nowhere, "no origin is named", hint));
    }
    let timeouts = [
        timeout("connect_timeout", &written.connect_timeout, 2, problems),
        timeout("response_timeout", &written.response_timeout, 30, problems),
        timeout("body_timeout", &written.body_timeout, 30, problems),
    ];
    let max_concurrent = count("max_concurrent", &written.max_concurrent, (1, 65_536), 64, problems);
    let At { value, place } = written.url.said()?;
    let url = origin_url(value).map_err(|(what, hint)| problems.push(Problem::new(place, what, hint))).ok()?;
    if let (Some(At { place, .. }), false) = (written.ca.said(), url.tls) {
        problems.push(Problem::new(place, "`ca` is for an https origin", "leave it out, or write https in `url`"));
    }
    let [connect_timeout, response_timeout, body_timeout] = timeouts;
    Some(Origin {
        tls: url.tls,
        name: url.name,
        port: url.port,
        path: url.path,
        host: or(&written.host, HostField::Client),
        ca: PathBuf::from(or(&written.ca, String::new())),
        connect_timeout,
        response_timeout,
        body_timeout,
        idle_timeout: seconds(&written.idle_timeout, 4),
        request_buffer: bytes(&written.request_buffer, MIB),
        max_concurrent,
        quarantine: seconds(&written.quarantine, 60),
        case_insensitive: or(&written.case_insensitive, false),
    })
}

struct OriginUrl {
    tls: bool,
    name: String,
    port: u16,
    path: String,
}

/// Reads `http://host:port/path`; a trailing slash means nothing.
fn origin_url(text: &str) -> Result<OriginUrl, (String, String)> {
    let refuse = |why: &str| {
        Err((
            format!("`url`: {text:?} {why}"),
            "write it such as \"http://127.0.0.1:3000\" or \"https://api.example\"".to_owned(),
        ))
    };
    let after_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
    if after_scheme.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
        // A password may stand there, so the text is not repeated.
        let hint = "leave out what stands before the @; requests carry their clients' own credentials";
        return Err(("`url` holds a user name".to_owned(), hint.to_owned()));
    }
    if text.contains('#') {
        return refuse("holds a fragment");
    }
    let Ok(uri) = text.parse::<http::Uri>() else { return refuse("is not a URL") };
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return refuse("does not begin with http:// or https://"),
    };
    let (Some(authority), Some(host)) = (uri.authority(), uri.host().filter(|host| !host.is_empty())) else {
        return refuse("names no host");
    };
    if uri.query().is_some() {
        return refuse("holds a query");
    }
    let name = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    // `http::Uri` takes any digits for a port, and says nothing about what does not fit in one.
    let written_port = authority.as_str().rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    let port = match (written_port, uri.port_u16()) {
        (None, _) => {
            if tls {
                443
            } else {
                80
            }
        }
        (Some(_), Some(port)) if port > 0 => port,
        _ => return refuse("has a port that is not from 1 to 65535"),
    };
    Ok(OriginUrl { tls, name, port, path: uri.path().trim_end_matches('/').to_owned() })
}

fn admin(written: &written::Admin, env: Env<'_>, problems: &mut Vec<Problem>) -> Admin {
    let mut listen = SocketAddr::from(DEFAULT_ADMIN_LISTEN);
    if let Some(At { value, place }) = written.listen.said() {
        match address(value) {
            Ok(address) => listen = address,
            Err((what, hint)) => problems.push(Problem::new(place, format!("`listen`: {what}"), hint)),
        }
        if !listen.ip().is_loopback() && written.token.is_absent() {
            let what =
                format!("the admin listener {listen} can be reached from other machines, and there is no `token`");
            let hint = "add token = \"env:FRESHGATE_ADMIN_TOKEN\" under [admin], or listen on 127.0.0.1";
            problems.push(Problem::new(place, what, hint));
        }
    }
    let token = match written.token.said() {
        None => Token::Open,
        Some(At { value, place }) => match secret(value, env) {
            Ok(secret) => Token::Required(secret),
            Err((what, hint)) => {
                problems.push(Problem::new(place, format!("`token`: {what}"), hint));
                Token::Open
            }
        },
    };
    Admin { listen, token }
}

/// Fetches what the file does not hold itself, and says where it was.
pub(super) fn fetch(text: &str, env: Env<'_>) -> Result<(Vec<u8>, String), (String, String)> {
    if let Some(name) = text.strip_prefix("env:") {
        let missing =
            || (format!("the environment variable {name} is not set"), format!("set {name}, and start again"));
        let found = env(name).ok_or_else(missing)?;
        Ok((found.into_bytes(), format!("the environment variable {name}")))
    } else if let Some(path) = text.strip_prefix("file:") {
        let unreadable = |error: std::io::Error| {
            (format!("cannot read {path}: {error}"), "name a file that this process can read".to_owned())
        };
        Ok((std::fs::read(path).map_err(unreadable)?, format!("the file {path}")))
    } else {
        let hint = "write where it is found: \"env:NAME\" or \"file:PATH\"";
        Err(("a secret is not written into this file".to_owned(), hint.to_owned()))
    }
}

/// A secret of one word. Neither it nor a secret written by mistake is ever repeated.
fn secret(text: &str, env: Env<'_>) -> Result<String, (String, String)> {
    let (found, place) = fetch(text, env)?;
    let secret = String::from_utf8(found).unwrap_or_default();
    let secret = secret.trim_end_matches(['\r', '\n']);
    if secret.is_empty() || !secret.bytes().all(|b| b.is_ascii_graphic()) {
        let what = format!("{place} holds no token");
        return Err((what, "a token is one word of visible ASCII characters (RFC 6750 §2.1)".to_owned()));
    }
    Ok(secret.to_owned())
}

/// The admin listener is never the public one.
fn apart(written: &Written, server: &Server, admin: &Admin, problems: &mut Vec<Problem>) {
    let clash = server.listen.iter().find(|listen| overlap(**listen, admin.listen));
    let Some(clash) = clash else { return };
    let place = written.admin.listen.said().map(|at| &at.place);
    let place = place.or(written.server.listen.said().map(|at| &at.place)).unwrap_or(&Place::Nowhere);
    let what = format!("the admin listener {} is the public listener {clash} too", admin.listen);
    problems.push(Problem::new(place, what, "give [admin] listen a port of its own, such as \"127.0.0.1:9090\""));
}

/// An origin that is this proxy would be asked by itself for ever.
fn not_itself(written: &Written, server: &Server, admin: &Admin, origin: &Origin, problems: &mut Vec<Problem>) {
    let Some(At { place, .. }) = written.origin.url.said() else { return };
    let ip = match origin.name.as_str() {
        "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
        name => name.parse::<IpAddr>().ok(),
    };
    let Some(at) = ip.map(|ip| SocketAddr::new(ip, origin.port)) else { return };
    let mut listeners = server.listen.iter().chain(std::iter::once(&admin.listen));
    if let Some(listen) = listeners.find(|listen| overlap(**listen, at)) {
        let what = format!("the origin {at} is this proxy's own listener {listen}");
        problems.push(Problem::new(place, what, "name the API behind the proxy, or listen on another port"));
    }
}

/// Whether a connection to one address may end at the other.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_ip = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && same_ip
}

fn cache(written: &written::Cache, problems: &mut Vec<Problem>) -> Cache {
    Cache {
        codings: match written.codings.said() {
            Some(said) => each("codings", &said.value, problems, coding),
            None => Coding::ALL.to_vec(),
        },
        memory: bytes(&written.memory, 256 * MIB),
        max_body: bytes(&written.max_body, 4 * MIB),
        pass_for: seconds(&written.pass_for, 60),
        stale_on_disconnect: seconds(&written.stale_on_disconnect, 3600),
    }
}

fn coding(text: &str) -> Result<Coding, (String, String)> {
    let names = Coding::ALL.map(|coding| format!("{:?}", coding.token())).join(", ");
    let found = Coding::ALL.into_iter().find(|coding| coding.token() == text);
    found.ok_or_else(|| (format!("{text:?} is not made here"), format!("the content codings are {names}")))
}

/// A claim that nobody verified would let anyone share with anyone.
fn claims_are_verified(written: &Written, problems: &mut Vec<Problem>) {
    let scopes = written.routes.iter().map(|route| &route.keys.scope).chain([&written.defaults.scope]);
    for At { value, place } in scopes.filter_map(Key::said) {
        if matches!(value, Scope::Claim(_)) && !written.identity.jwt.is_there() {
            let what = format!("`scope`: \"{value}\" needs [identity.jwt], which says how tokens are verified");
            let hint = "write its algorithm and key; without them every caller would be kept apart";
            problems.push(Problem::new(place, what, hint));
        }
    }
}

fn identity(written: &written::Identity, env: Env<'_>, problems: &mut Vec<Problem>) -> Identity {
    let mut credentials: Vec<Credential> =
        ["authorization", "cookie", "x-api-key"].map(|name| Credential::Field(name.to_owned())).into();
    if let Some(At { value, place }) = written.credentials.said() {
        credentials = each("credentials", value, problems, credential);
        let whole = credentials.contains(&Credential::Field("cookie".to_owned()));
        if whole && credentials.iter().any(|c| matches!(c, Credential::Cookie(_))) {
            let what = "`credentials`: \"cookie:NAME\" narrows \"cookie\", which stands there too";
            problems.push(Problem::new(place, what, "leave one of them out"));
        }
    }
    let jwt = jwt::resolve(written, &credentials, env, problems);
    Identity { credentials, accepted_for: seconds(&written.accepted_for, 60), jwt }
}

pub(super) fn credential(text: &str) -> Result<Credential, (String, String)> {
    match text.strip_prefix("cookie:") {
        Some(name) if is_token(name) => Ok(Credential::Cookie(name.to_owned())),
        Some(name) => Err((format!("{name:?} is not a cookie name"), "write it such as \"cookie:session\"".to_owned())),
        None => field_name(text).map(Credential::Field),
    }
}

/// Reads a field name (RFC 9110 §5.1), lower-case.
pub(super) fn field_name(text: &str) -> Result<String, (String, String)> {
    if is_token(text) && text != "*" {
        return Ok(text.to_ascii_lowercase());
    }
    Err((format!("{text:?} is not a field name"), "write a name such as \"x-api-key\"".to_owned()))
}

/// RFC 9110 §5.6.2: `token = 1*tchar`.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn address(text: &str) -> Result<SocketAddr, (String, String)> {
    text.parse().map_err(|_| {
        let hint = match text.rsplit_once(':') {
            Some(("", port)) if port.parse::<u16>().is_ok() => format!("write \"0.0.0.0:{port}\" for all interfaces"),
            Some(("localhost", port)) => format!("write \"127.0.0.1:{port}\""),
            _ => "write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"".to_owned(),
        };
        (format!("{text:?} is not an address"), hint)
    })
}

fn host(text: &str) -> Result<String, (String, String)> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let ipv6 = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_name = !text.is_empty() && text.bytes().all(valid);
    if is_name || ipv6.is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err((
        format!("{text:?} is not a host name"),
        "write the name alone, without a scheme or port: \"shop.example\"".to_owned(),
    ))
}

fn network(text: &str) -> Result<IpNet, (String, String)> {
    let single = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| single()).map_err(|_| {
        (format!("{text:?} is not a network"), "write it such as \"10.0.0.0/8\" or \"192.0.2.7\"".to_owned())
    })
}
