//! The canonical request and its key: two requests share a key if they are one canonical request, and only then; and
//! neither what is left out of a query nor the matching form of a path depends on how often it is made.

use super::{halves, policy};
use freshgate::edge::head;
use freshgate::field::{Fields, members};
use freshgate::policy::{Policy, Route};
use freshgate::semantics::cache_key::{self, CacheKey, Partition};
use freshgate::semantics::request::{Request, Scheme, Version};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    policy(
        r#"
        [origin]
        url = "http://127.0.0.1:3000"
        [[route]]
        name = "items"
        paths = ["/items", "/items/{id}", "/items/{id}/{*rest}"]
        vary = ["accept", "accept-language"]
        query = { ignore = ["utm_*"], sort = true }
        [[route]]
        name = "varied"
        paths = ["/varied/{*rest}"]
        vary = ["x-shop"]
        "#,
    )
});

/// `octets`: two requests, each a line of options, an authority, a target in origin-form, and lines of fields.
pub fn run(octets: &[u8]) {
    let Some((one, other)) = halves(octets) else { return };
    let (Some(one), Some(other)) = (asked(one), asked(other)) else { return };
    for asked in [&one, &other] {
        one_form(&asked.request);
    }
    // Whatever route a path takes, the keys of one route are told apart by all that it goes by.
    for route in POLICY.routes.iter() {
        let keys = [&one, &other].map(|asked| cache_key::of(&asked.request, route, &asked.partition));
        let parts = [&one, &other].map(|asked| asked.canonical(route));
        assert_eq!(keys[0] == keys[1], parts[0] == parts[1], "{parts:?}");
        variants(&keys, &one, &other);
    }
}

/// A request, and for whom it is.
struct Asked {
    request: Request,
    partition: Partition,
}

fn asked(octets: &[u8]) -> Option<Asked> {
    let mut lines = octets.split(|octet| *octet == b'\n');
    let options = *lines.next()?.first()?;
    let scheme = if options & 1 == 0 { Scheme::Http } else { Scheme::Https };
    let authority = head::authority(lines.next()?, scheme)?;
    let (path, query) = head::path_and_query(std::str::from_utf8(lines.next()?).ok()?).ok()?;
    let mut fields = Fields::new();
    for line in lines {
        let colon = line.iter().position(|octet| *octet == b':')?;
        fields.push(&line[..colon], line[colon + 1..].trim_ascii());
    }
    let partition = match (options >> 1) % 5 {
        0 => Partition::Public,
        1 => Partition::Authenticated,
        2 => Partition::Claim(fields.get("claim").unwrap_or_default().to_vec()),
        3 => Partition::Caller([options; 16]),
        _ => Partition::Anonymous,
    };
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (method, version) = ("GET".to_owned(), Version::Http11);
    let request = Request { method, scheme, authority, path, query, fields, version, client, has_body: false };
    Some(Asked { request, partition })
}

/// What selects by one field: its members, or that it is not there.
fn selecting(fields: &Fields, name: &str) -> Option<Vec<Vec<u8>>> {
    let without_case = ["accept-language", "accept-encoding", "accept-charset"].contains(&name);
    let member = |member: &[u8]| if without_case { member.to_ascii_lowercase() } else { member.to_vec() };
    // Of a field that need be no list, empty members count; names are told apart as CGI does.
    let is_list = without_case || name == "accept";
    let found = |member: &&[u8]| !(is_list && member.is_empty());
    let there = fields.get_alike(name).next().is_some();
    there.then(|| members(fields.get_alike(name)).filter(found).map(member).collect())
}

impl Asked {
    /// Everything that a key holds, as a value that keeps it apart.
    fn canonical(&self, route: &Route) -> impl PartialEq + std::fmt::Debug + use<> {
        let Request { scheme, authority, path, query, fields, .. } = &self.request;
        let query = cache_key::query(query.as_deref(), &route.query);
        let selected: Vec<_> = route.vary.iter().map(|name| selecting(fields, name)).collect();
        let target = (*scheme, authority.clone(), path.clone(), query);
        (self.partition.clone(), target, selected, fields.contains("origin"))
    }
}

/// The keys of variants are told apart by the primary keys, the names that Vary gives, and the fields of these names.
fn variants(keys: &[CacheKey; 2], one: &Asked, other: &Asked) {
    let names = |asked: &Asked| -> Vec<String> {
        asked.request.fields.iter().map(|(name, _)| String::from_utf8_lossy(name).to_ascii_lowercase()).collect()
    };
    let (first, second) = (names(one), names(other));
    for (left, right) in [(&first, &first), (&first, &second)] {
        let made = cache_key::variant(&keys[0], left, &one.request.fields)
            == cache_key::variant(&keys[1], right, &other.request.fields);
        let selected = |names: &[String], fields| names.iter().map(|name| selecting(fields, name)).collect::<Vec<_>>();
        let same = keys[0] == keys[1]
            && left == right
            && selected(left, &one.request.fields) == selected(right, &other.request.fields);
        assert_eq!(made, same, "{left:?} {right:?}");
    }
}

/// Canonical once is canonical for good.
fn one_form(request: &Request) {
    assert_eq!(head::authority(request.authority.as_bytes(), request.scheme).as_ref(), Some(&request.authority));
    let (path, query) = head::path_and_query(&request.target()).expect("what was accepted is accepted");
    assert_eq!((&path, &query), (&request.path, &request.query));
    for route in POLICY.routes.iter() {
        let sent = cache_key::query(query.as_deref(), &route.query);
        assert_eq!(cache_key::query(sent.as_deref(), &route.query), sent, "the query that is sent on has its own key");
    }
    let plain = POLICY.routes.matching_form(&path);
    if !path.contains('%') {
        // Escapes of what needs none change nothing (RFC 3986 §6.2.2.2): such paths take one route and fall together.
        let escape = |octet: u8| if octet == b'/' { "/".to_owned() } else { format!("%{octet:02X}") };
        let escaped: String = path.bytes().map(escape).collect();
        assert_eq!(POLICY.routes.matching_form(&escaped), plain);
        assert_eq!(POLICY.routes.matching_form(&escaped.to_ascii_lowercase()), plain);
    }
    let selected = POLICY.routes.select(&plain);
    assert!(selected.values.len() <= 2);
    if let Some(pattern) = selected.pattern {
        assert_eq!(pattern.parameters().count(), selected.values.len());
    }
    assert!(POLICY.routes.below(&plain).all(|above| above.pattern.is_some()));
}
