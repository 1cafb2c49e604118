//! What the admin listener asks of a running process, answered by its pipeline.

use crate::clock::Timestamp;
use crate::edge::admin::{Operations, Phase, Purge, PurgeOutcome};
use crate::edge::learn::{Learned, Table};
use crate::edge::metrics::StoreFigures;
use crate::field::Fields;
use crate::pipeline::Pipeline;
use crate::policy::Policy;
use crate::semantics::request::{Request, Scheme, Version};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, RwLock};

/// A running process, as its operator sees it.
pub struct Operator {
    pub pipeline: Arc<Pipeline>,
    pub learned: Option<Arc<Mutex<Learned>>>,
    pub phase: RwLock<Phase>,
}

impl Operator {
    /// Says where the process stands.
    pub fn enter(&self, phase: Phase) {
        *self.phase.write().expect("no holder of this lock panics") = phase;
    }
}

impl Operations for Operator {
    fn now(&self) -> Timestamp {
        self.pipeline.clock.now()
    }

    fn policy(&self) -> Arc<Policy> {
        self.pipeline.policy.clone()
    }

    fn purge(&self, request: &Purge) -> PurgeOutcome {
        if request.dry_run {
            return PurgeOutcome::Matched { matched: self.pipeline.matched(&request.selector) as u64 };
        }
        PurgeOutcome::Purged { sequence: self.pipeline.purge(&request.selector, request.soft) }
    }

    fn explain(&self, method: &str, url: &str, fields: &[(String, String)]) -> Value {
        match asked_about(method, url, fields) {
            Some(request) => serde_json::to_value(self.pipeline.explain(&request)).unwrap_or(Value::Null),
            None => serde_json::json!({ "error": format!("`{url}` is no URL and no path that begins with `/`.") }),
        }
    }

    fn store(&self) -> StoreFigures {
        let (entries, bytes) = self.pipeline.store.figures();
        StoreFigures { entries, bytes, memory: self.pipeline.policy.cache.memory }
    }

    fn phase(&self) -> Phase {
        *self.phase.read().expect("no holder of this lock panics")
    }

    fn learned(&self) -> Option<Table> {
        let learned = self.learned.as_ref()?;
        Some(learned.lock().expect("no holder of this lock panics").table())
    }

    fn demoted(&self) -> Vec<String> {
        self.pipeline.demoted().map(|route| route.name.clone()).collect()
    }
}

/// A request out of a method, a URL or path, and fields, as `explain` is given them. `None` where the URL is none.
pub fn asked_about(method: &str, url: &str, fields: &[(String, String)]) -> Option<Request> {
    let uri: http::Uri = url.parse().ok()?;
    let path = uri.path();
    if !path.starts_with('/') {
        return None;
    }
    let fields: Fields = fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let host = fields.get("host").and_then(|host| std::str::from_utf8(host).ok());
    Some(Request {
        method: method.to_owned(),
        scheme: if uri.scheme_str() == Some("https") { Scheme::Https } else { Scheme::Http },
        authority: uri.authority().map(|a| a.as_str()).or(host).unwrap_or("localhost").to_lowercase(),
        path: path.to_owned(),
        query: uri.query().map(str::to_owned),
        version: Version::Http11,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        has_body: false,
        fields,
    })
}
