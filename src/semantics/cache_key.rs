//! The cache key (RFC 9111 §2): which stored responses can answer a request.
//!
//! The primary key is everything that is known before any response: where the request goes, who asks, and the request
//! fields that the route itself varies on. The variant key adds what the origin's Vary names (RFC 9111 §4.1). Each part
//! is preceded by its length, so two different lists of parts never make one key.

use crate::field::{self, Fields};
use crate::policy::{Query, Route, Scope};
use crate::semantics::request::{CallerKey, Request};
use std::sync::Arc;

/// Selecting fields whose values mean the same in any case: language ranges (RFC 4647 §2), content codings (RFC 9110
/// §8.4.1) and charsets (RFC 9110 §8.3.2), weights included. The order of their members is left alone: "some recipients
/// treat the order in which language tags are listed as an indication of descending priority" (RFC 9110 §12.5.4).
const CASE_INSENSITIVE: [&str; 3] = ["accept-language", "accept-encoding", "accept-charset"];

/// Where a response may be shared: the part of the key that keeps callers apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Partition {
    /// Everybody's.
    Public,
    /// Of all callers whom the origin accepts.
    Authenticated,
    /// Of all callers whose verified token has this value, in octets that tell types apart, of the route's claim.
    Claim(Vec<u8>),
    /// One caller's; anonymous callers are one caller.
    Caller([u8; 16]),
    Anonymous,
}

impl Partition {
    /// Whether callers with different credentials meet in it, each of whose right to be there has to be shown.
    pub fn is_for_the_admitted(&self) -> bool {
        matches!(self, Partition::Authenticated | Partition::Claim(_))
    }

    /// Whether what is in it comes from one caller alone.
    pub fn is_one_caller_s(&self) -> bool {
        matches!(self, Partition::Caller(_) | Partition::Anonymous)
    }
}

/// A whole key, compared octet by octet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey(Arc<[u8]>);

impl CacheKey {
    /// How many bytes the key holds.
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

/// The partition of a caller under a scope. `claim` is what the caller's verified token says of the scope's claim: one
/// without a verified token is kept apart and shares nothing.
pub fn partition(scope: &Scope, caller: CallerKey, claim: Option<Vec<u8>>) -> Partition {
    match (scope, caller, claim) {
        (Scope::Public, ..) => Partition::Public,
        (_, None, _) => Partition::Anonymous,
        (Scope::Authenticated, Some(_), _) => Partition::Authenticated,
        (Scope::Claim(_), Some(_), Some(value)) => Partition::Claim(value),
        (Scope::User | Scope::Claim(_), Some(caller), _) => Partition::Caller(caller),
    }
}

/// The primary key. `query` is the query as it is sent on: what changes the key is sent on changed.
pub fn of(request: &Request, route: &Route, partition: &Partition) -> CacheKey {
    let mut parts = Parts::new();
    match partition {
        Partition::Public => parts.add(b"p"),
        Partition::Authenticated => parts.add(b"r"),
        Partition::Claim(value) => {
            // Of which claim it is the value goes without saying: a path has one route, and that one scope.
            parts.add(b"t");
            parts.add(value);
        }
        Partition::Anonymous => parts.add(b"a"),
        Partition::Caller(caller) => {
            parts.add(b"c");
            parts.add(caller);
        }
    }
    parts.add(request.scheme.as_str().as_bytes());
    parts.add(request.authority.as_bytes());
    parts.add(request.path.as_bytes());
    match query(request.query.as_deref(), &route.query) {
        Some(query) => {
            parts.add(b"?");
            parts.add(query.as_bytes());
        }
        None => parts.add(b""),
    }
    for name in &route.vary {
        parts.selecting(name, &request.fields);
    }
    // CORS: whether a script of another origin asks. Which one tells variants apart, once a response has said whether it
    // is for every origin.
    parts.add(if request.fields.contains("origin") { b"o" } else { b"-" });
    CacheKey(parts.bytes.into())
}

/// What all URLs of a route at one host have in common, for requests that the route does not tell apart.
pub fn of_route(request: &Request, route: &Route) -> CacheKey {
    let mut parts = Parts::new();
    parts.add(&route.id.0.to_be_bytes());
    parts.add(request.scheme.as_str().as_bytes());
    parts.add(request.authority.as_bytes());
    for name in &route.vary {
        parts.selecting(name, &request.fields);
    }
    CacheKey(parts.bytes.into())
}

/// Stands among the names that a response varies on, and is none itself: the names of all the fields that a request has.
pub const FIELD_NAMES: &str = ":names";

/// The key of one variant: the primary key and the values of the fields that Vary names. White space around members, the
/// split into lines, and "case-normalization, where values are defined to be case-insensitive" are what RFC 9111 §4.1
/// allows to be set aside.
pub fn variant(primary: &CacheKey, names: &[String], fields: &Fields) -> CacheKey {
    let mut parts = Parts::new();
    parts.add(&primary.0);
    for name in names {
        // Two resources' lists, and one's of two times, may differ: `-` of one field is not `-` of another.
        parts.add(name.as_bytes());
        parts.selecting(name, fields);
    }
    CacheKey(parts.bytes.into())
}

/// The query that is keyed and sent: ignored parameters out, sorted where the route says so; otherwise as it came.
pub fn query(query: Option<&str>, policy: &Query) -> Option<String> {
    let query = query?;
    if policy.ignore.is_empty() && !policy.sort {
        return Some(query.to_owned());
    }
    let mut kept: Vec<&str> = query.split('&').filter(|parameter| !ignored(parameter, &policy.ignore)).collect();
    if policy.sort {
        // A stable sort by name: the order among equal names may mean something to the origin.
        kept.sort_by_key(|parameter| parameter.split('=').next());
    }
    (!kept.is_empty()).then(|| kept.join("&"))
}

fn ignored(parameter: &str, names: &[String]) -> bool {
    let name = parameter.split('=').next().unwrap_or_default();
    names.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    })
}

struct Parts {
    bytes: Vec<u8>,
}

impl Parts {
    /// With room for most keys, so that few are moved while they grow; a key itself takes just its size.
    fn new() -> Self {
        Parts { bytes: Vec::with_capacity(256) }
    }

    fn add(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(&(part.len() as u64).to_be_bytes()[4..]);
        self.bytes.extend_from_slice(part);
    }

    /// A field that is missing and one that is empty are different values. Its members are parts themselves: with commas
    /// between them, two whose quotes nobody closes would be as one that holds a comma. Empty ones mean nothing where the
    /// field is known to be a list (RFC 9110 §5.6.1); of others, `acme,` may be another tenant than `acme`.
    fn selecting(&mut self, name: &str, fields: &Fields) {
        if name == FIELD_NAMES {
            let mut names: Vec<Vec<u8>> = fields.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
            names.sort();
            names.dedup();
            return self.add(&names.join(&b","[..]));
        }
        if fields.get_alike(name).next().is_none() {
            return self.add(b"-");
        }
        self.add(b"=");
        let mut members = Parts { bytes: Vec::new() };
        let any_case = CASE_INSENSITIVE.contains(&name);
        let is_list = any_case || name == "accept";
        for member in field::members(fields.get_alike(name)).filter(|member| !(is_list && member.is_empty())) {
            match any_case {
                true => members.add(&member.to_ascii_lowercase()),
                false => members.add(member),
            }
        }
        self.add(&members.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::sample::{Colliding, fields, fresh, plain, request};
    use proptest::prelude::*;

    const ANYBODY: &Partition = &Partition::Public;

    fn key(target: &str, lines: &[(&str, &str)], route: &Route) -> CacheKey {
        of(&request("GET", target, lines), route, ANYBODY)
    }

    #[test]
    fn who_shares_is_told_by_the_scope_and_the_caller() {
        let (a, b) = (Some([1; 16]), Some([2; 16]));
        let claim = |value: &str| Some(value.as_bytes().to_vec());
        let tenant = Scope::Claim("tenant".into());
        assert_eq!(partition(&Scope::Public, a, None), partition(&Scope::Public, None, None));
        assert_eq!(partition(&Scope::User, a, claim("x")), Partition::Caller([1; 16]));
        assert_eq!(partition(&Scope::Authenticated, a, None), partition(&Scope::Authenticated, b, claim("x")));
        assert_eq!(partition(&tenant, a, claim("x")), partition(&tenant, b, claim("x")));
        assert_eq!(partition(&tenant, a, None), Partition::Caller([1; 16]), "what is not verified is not shared");
        for scope in [Scope::User, Scope::Authenticated, tenant.clone()] {
            assert_eq!(partition(&scope, None, None), Partition::Anonymous);
        }
        let partitions = [
            partition(&Scope::Public, a, None),
            partition(&Scope::User, a, None),
            partition(&Scope::User, b, None),
            partition(&Scope::User, None, None),
            partition(&Scope::Authenticated, a, None),
            partition(&tenant, a, claim("x")),
            partition(&tenant, a, claim("y")),
            partition(&tenant, a, claim(std::str::from_utf8(&[1; 16]).expect("it is ASCII"))),
        ];
        let keys = partitions.iter().map(|partition| of(&request("GET", "/", &[]), &plain(), partition));
        assert_eq!(keys.collect::<std::collections::HashSet<_>>().len(), partitions.len());
    }

    #[test]
    fn every_part_of_the_target_counts() {
        let whole = request("GET", "/a?b", &[]);
        let of = |request: &Request| of(request, &plain(), ANYBODY);
        let others = [
            Request { scheme: crate::semantics::request::Scheme::Https, ..whole.clone() },
            Request { authority: "shop.test:81".into(), ..whole.clone() },
            Request { path: "/A".into(), ..whole.clone() },
            Request { path: "/a/".into(), ..whole.clone() },
            Request { path: "/%61".into(), ..whole.clone() },
            Request { query: Some("c".into()), ..whole.clone() },
            Request { query: Some(String::new()), ..whole.clone() },
            Request { query: None, ..whole.clone() },
        ];
        for other in others {
            assert_ne!(of(&other), of(&whole), "{other:?}");
        }
        let same = Request { method: "HEAD".into(), fields: fields(&[("Accept", "x")]), ..whole.clone() };
        assert_eq!(of(&same), of(&whole));
        assert!(of(&whole).size() > whole.path.len());
    }

    #[test]
    fn fields_select_where_the_route_says_so() {
        let varies = Route { vary: vec!["accept".into()], ..plain() };
        let (json, text) = ([("Accept", "json")], [("Accept", "text")]);
        assert_ne!(key("/", &json, &varies), key("/", &text, &varies));
        assert_ne!(key("/", &[], &varies), key("/", &[("Accept", "")], &varies));
        assert_eq!(key("/", &json, &plain()), key("/", &text, &plain()));
    }

    #[test]
    fn whether_a_script_of_another_origin_asks_is_told() {
        let [a, b] = ["https://a.test", "https://b.test"].map(|origin| [("Origin", origin)]);
        assert_ne!(key("/", &a, &fresh()), key("/", &[], &fresh()));
        assert_eq!(key("/", &a, &fresh()), key("/", &b, &fresh()), "which one tells variants apart");
        assert_ne!(key("/", &a, &plain()), key("/", &[], &plain()));
    }

    #[test]
    fn a_variant_is_told_by_the_named_fields_alone() {
        let primary = key("/", &[], &plain());
        let names = ["accept".to_owned(), "x-colour".to_owned()];
        let variant = |lines: &[(&str, &str)]| variant(&primary, &names, &fields(lines));
        let red = variant(&[("X-Colour", "red"), ("Accept", "a, b")]);
        // White space around members and the split into lines mean nothing (RFC 9111 §4.1).
        assert_eq!(red, variant(&[("accept", "a"), ("x-colour", " red"), ("Accept", "b"), ("Other", "x")]));
        assert_ne!(red, variant(&[("X-Colour", "red"), ("Accept", "b, a")]));
        assert_ne!(red, variant(&[("X-Colour", "blue"), ("Accept", "a, b")]));
        assert_ne!(red, variant(&[("X-Colour", "red")]));
        assert_ne!(red, variant(&[("X-Colour", "red,"), ("Accept", "a, b")]), "it may be no list");
        assert_eq!(red, variant(&[("X-Colour", "red"), ("Accept", "a,, b,")]));
        assert_ne!(variant(&[]), primary);
        // Quotes that nobody closes: whether a line goes on behind a comma, or another one follows, is told.
        assert_ne!(variant(&[("Accept", "\"a"), ("Accept", "b")]), variant(&[("Accept", "\"a,b")]));
    }

    #[test]
    fn the_query_that_is_keyed_and_sent() {
        #[track_caller]
        fn check(ignore: &[&str], sort: bool, given: Option<&str>, expected: Option<&str>) {
            let policy = Query { ignore: ignore.iter().map(|name| name.to_string()).collect(), sort };
            assert_eq!(query(given, &policy).as_deref(), expected);
        }
        check(&[], false, None, None);
        check(&[], false, Some(""), Some(""));
        check(&[], false, Some("b=2&a=1&&b"), Some("b=2&a=1&&b"));
        check(&[], true, Some("b=2&a=1"), Some("a=1&b=2"));
        check(&[], true, Some("b=2&a=1&b=1"), Some("a=1&b=2&b=1"));
        check(&[], true, Some("ab=1&a=2"), Some("a=2&ab=1"));
        check(&["utm_*"], false, Some("utm_x=1&a=1&utm_"), Some("a=1"));
        check(&["utm_*"], false, Some("utm=1"), Some("utm=1"));
        check(&["x"], false, Some("x=1&xy=2&x"), Some("xy=2"));
        check(&["x"], false, Some("x=1"), None);
        check(&["x"], true, None, None);
    }

    proptest! {
        /// Two lists of parts make one key only if they are the same list.
        #[test]
        fn parts_are_kept_apart(
            a in proptest::collection::vec(proptest::collection::vec(0u8..4, 0..6), 0..4),
            b in proptest::collection::vec(proptest::collection::vec(0u8..4, 0..6), 0..4),
        ) {
            let key = |list: &[Vec<u8>]| {
                let mut parts = Parts::new();
                list.iter().for_each(|part| parts.add(part));
                parts.bytes
            };
            prop_assert_eq!(key(&a) == key(&b), a == b);
        }

        #[test]
        fn two_requests_share_a_key_only_if_they_share_its_parts(
            a in ("/[ab?/]{0,3}", "[a&=]{0,3}", "[ab]{0,2}"),
            b in ("/[ab?/]{0,3}", "[a&=]{0,3}", "[ab]{0,2}"),
        ) {
            let route = Route { vary: vec!["accept".into()], ..plain() };
            let key = |(path, query, accept): &(String, String, String)| {
                let request = Request {
                    path: path.clone(),
                    query: Some(query.clone()),
                    ..request("GET", "/", &[("Accept", accept)])
                };
                of(&request, &route, ANYBODY)
            };
            prop_assert_eq!(key(&a) == key(&b), a == b);
        }
    }

    #[test]
    fn keys_with_equal_hashes_stay_apart() {
        let key = |path: &str| of(&request("GET", path, &[]), &plain(), &Partition::Public);
        let mut stored = std::collections::HashMap::<_, _, std::hash::BuildHasherDefault<Colliding>>::default();
        for path in ["/a", "/b", "/a?", "/a/"] {
            assert_eq!(stored.insert(key(path), path), None);
        }
        assert_eq!(stored.get(&key("/b")), Some(&"/b"));
        assert_eq!(stored.get(&key("/c")), None);
    }

    #[test]
    fn a_value_of_one_field_is_not_that_of_another() {
        let key = of(&request("GET", "/", &[]), &plain(), &Partition::Public);
        let by = |name: &str| variant(&key, &[name.to_owned()], &fields(&[]));
        assert_ne!(by("accept-language"), by("origin"));
    }
}
