//! Every answer against the origin's true state.
//!
//! Once a client has the answer to a change, each GET that begins later must show that change, or a later one, on every
//! path it touched. So each path has a floor, which rises as changes are acknowledged; a GET notes it as it begins, and
//! what it shows must not lie below. Nor may any cashier see a path go back to an older state.

use super::api::{Meta, meta_of};
use super::oracle::{Moment, Oracle};
use super::tally::Tally;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use std::collections::HashMap;
use std::time::Duration;

/// How many findings are kept in words; all are counted.
const FINDINGS: usize = 20;

/// What has been seen so far: the counts, and what later answers are held against.
#[derive(Debug)]
pub struct Ledger {
    tenant: String,
    oracle: Oracle,
    tally: Tally,
    findings: Vec<String>,
    /// The last acknowledged change that touched a path.
    acknowledged: HashMap<String, u64>,
    /// What each cashier's browser holds, by path.
    copies: HashMap<(u32, String), Held>,
}

/// A response as a browser keeps it; its body does not matter here.
#[derive(Clone, Debug)]
struct Held {
    entity_tag: Option<HeaderValue>,
    version: u64,
    length: u64,
}

/// A GET under way.
#[derive(Debug)]
pub struct Begun {
    cashier: u32,
    path: String,
    /// The oldest version that may be shown.
    floor: u64,
    /// What If-None-Match names, if it is sent.
    copy: Option<Held>,
}

impl Begun {
    /// The value of If-None-Match.
    pub fn condition(&self) -> Option<HeaderValue> {
        self.copy.as_ref()?.entity_tag.clone()
    }
}

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wrong {
    /// Older than a change the client may know of.
    Stale { shown: u64, floor: u64 },
    /// Made for another tenant.
    Foreign(String),
    /// No answer, an error, or one that does not belong to the question.
    Failed(String),
}

impl Ledger {
    /// An empty ledger for cashiers of `tenant`; `oracle` follows along.
    pub fn new(tenant: &str, oracle: Oracle) -> Self {
        Ledger {
            tenant: tenant.to_owned(),
            oracle,
            tally: Tally::default(),
            findings: Vec::new(),
            acknowledged: HashMap::new(),
            copies: HashMap::new(),
        }
    }

    /// The counts so far.
    pub fn tally(&self) -> Tally {
        Tally { oracle: self.oracle.origin_gets(), ..self.tally }
    }

    /// The first answers that were wrong, in words.
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Before a GET is sent.
    pub fn begin(&mut self, at: Duration, cashier: u32, path: &str) -> Begun {
        self.oracle.follow(&Moment::Get { at, caller: cashier, path: path.to_owned() });
        let copy = self.copies.get(&(cashier, path.to_owned())).cloned();
        let acknowledged = self.acknowledged.get(path).copied().unwrap_or(0);
        let floor = acknowledged.max(copy.as_ref().map_or(0, |copy| copy.version));
        Begun { cashier, path: path.to_owned(), floor, copy }
    }

    /// Once its answer is whole, or will not come.
    pub fn end(&mut self, begun: Begun, answer: Result<http::Response<Bytes>, String>) {
        self.tally.gets += 1;
        match judge(&begun, &self.tenant, answer) {
            Ok((copy, sent)) => {
                self.tally.not_modified += u64::from(sent == 0);
                self.tally.bytes += sent;
                self.tally.bytes_without += copy.length;
                self.keep(begun, copy);
            }
            Err(wrong) => self.note(&begun.path, &wrong),
        }
    }

    /// Once the answer to a change is whole: it was made, and touched these paths.
    pub fn changed(&mut self, method: &str, path: &str, version: u64, touched: Vec<String>) {
        self.tally.changes += 1;
        self.oracle.follow(&Moment::Changed { method: method.to_owned(), path: path.to_owned() });
        for path in touched {
            let floor = self.acknowledged.entry(path).or_default();
            *floor = version.max(*floor);
        }
    }

    /// A change that was not made, or of which nobody knows.
    pub fn change_failed(&mut self, path: &str, why: String) {
        self.note(path, &Wrong::Failed(why));
    }

    /// GETs of one cashier may overtake each other; the newest state stays.
    fn keep(&mut self, begun: Begun, copy: Held) {
        let kept = self.copies.entry((begun.cashier, begun.path)).or_insert_with(|| copy.clone());
        if kept.version <= copy.version {
            *kept = copy;
        }
    }

    fn note(&mut self, path: &str, wrong: &Wrong) {
        let what = match wrong {
            Wrong::Stale { shown, floor } => {
                self.tally.stale += 1;
                format!("{path}: stale, shows version {shown} after {floor} was acknowledged")
            }
            Wrong::Foreign(tenant) => {
                self.tally.foreign += 1;
                format!("{path}: made for another tenant, {tenant}")
            }
            Wrong::Failed(why) => {
                self.tally.failed += 1;
                format!("{path}: {why}")
            }
        };
        if self.findings.len() < FINDINGS {
            self.findings.push(what);
        }
    }
}

/// What the browser now holds, and the bytes of body that were sent for it.
fn judge(begun: &Begun, tenant: &str, answer: Result<http::Response<Bytes>, String>) -> Result<(Held, u64), Wrong> {
    let response = answer.map_err(Wrong::Failed)?;
    let (copy, sent) = match (response.status(), &begun.copy) {
        (StatusCode::OK, _) => {
            let length = response.body().len() as u64;
            let version = version_shown(begun, tenant, meta_of(response.body()))?;
            (Held { entity_tag: response.headers().get(header::ETAG).cloned(), version, length }, length)
        }
        (StatusCode::NOT_MODIFIED, Some(copy)) => (copy.clone(), 0),
        (StatusCode::NOT_MODIFIED, None) => return Err(Wrong::Failed("304 to a GET without a condition".into())),
        (status, _) => return Err(Wrong::Failed(format!("answered with {status}"))),
    };
    if copy.version < begun.floor {
        return Err(Wrong::Stale { shown: copy.version, floor: begun.floor });
    }
    Ok((copy, sent))
}

fn version_shown(begun: &Begun, tenant: &str, meta: Option<Meta>) -> Result<u64, Wrong> {
    let meta = meta.ok_or_else(|| Wrong::Failed("the body is not whole".into()))?;
    if meta.tenant != tenant {
        return Err(Wrong::Foreign(meta.tenant));
    }
    if meta.path != begun.path {
        return Err(Wrong::Failed(format!("the body is that of {}", meta.path)));
    }
    Ok(meta.version)
}
