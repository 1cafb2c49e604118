//! The cache key (RFC 9111 §2): which stored responses can answer a request.
//!
//! The primary key is everything that is known before any response: where the request goes, who asks, and the request
//! fields that the route itself varies on. The variant key adds what the origin's Vary names (RFC 9111 §4.1). Each part
//! is preceded by its length, so two different lists of parts never make one key.

use crate::field::Fields;
use crate::policy::{Freshness, Query, Route, Scope};
use crate::semantics::request::Request;
use std::sync::Arc;

/// Where a response may be shared: the part of the key that keeps callers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Partition {
    /// Everybody's.
    Public,
    /// One caller's; anonymous callers are one caller.
    Caller([u8; 16]),
    Anonymous,
}

/// A whole key, compared octet by octet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey(Arc<[u8]>);

impl CacheKey {
    /// How many bytes the key holds.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: a key holds at least its parts' lengths.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The partition of a caller under a scope.
pub fn partition(scope: Scope, caller: crate::semantics::request::CallerKey) -> Partition {
    match (scope, caller) {
        (Scope::Public, _) => Partition::Public,
        (Scope::User, Some(caller)) => Partition::Caller(caller),
        (Scope::User, None) => Partition::Anonymous,
    }
}

/// The primary key. `query` is the query as it is sent on: what changes the key is sent on changed.
pub fn of(request: &Request, route: &Route, partition: Partition) -> CacheKey {
    let mut parts = Parts::new(64 + request.path.len() + request.authority.len());
    match partition {
        Partition::Public => parts.add(b"p"),
        Partition::Anonymous => parts.add(b"a"),
        Partition::Caller(caller) => {
            parts.add(b"c");
            parts.add(&caller);
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
    // CORS: "Origin selects a variant" unless the response allows every origin; in plain mode the origin's own Vary
    // has the say (RFC 9111 §4.1).
    if matches!(route.freshness, Freshness::For(_)) {
        parts.selecting("origin", &request.fields);
    }
    CacheKey(parts.bytes.into())
}

/// The key of one variant: the primary key and the values of the fields that Vary names, white space around members
/// and the split into lines set aside, as RFC 9111 §4.1 allows.
pub fn variant(primary: &CacheKey, names: &[String], fields: &Fields) -> CacheKey {
    let mut parts = Parts::new(primary.len() + 32 * names.len());
    parts.add(&primary.0);
    for name in names {
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
    fn new(capacity: usize) -> Self {
        Parts { bytes: Vec::with_capacity(capacity) }
    }

    fn add(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(&(part.len() as u64).to_be_bytes()[4..]);
        self.bytes.extend_from_slice(part);
    }

    /// A field that is missing and one that is empty are different values.
    fn selecting(&mut self, name: &str, fields: &Fields) {
        if !fields.contains(name) {
            return self.add(b"-");
        }
        self.add(b"=");
        let mut value = Vec::new();
        for member in crate::field::list(fields.get_all(name)) {
            value.extend_from_slice(member);
            value.push(b',');
        }
        self.add(&value);
    }
}
