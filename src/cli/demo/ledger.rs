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

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::policy::Scope;

    fn ledger() -> Ledger {
        Ledger::new("shop-1", Oracle::new(fixture::pos(), Scope::User))
    }

    fn shows(
        path: &str,
        tenant: &str,
        version: u64,
        entity_tag: &'static str,
    ) -> Result<http::Response<Bytes>, String> {
        let body = format!(
            r#"{{"data":[],"meta":{{"path":"{path}","tenant":"{tenant}","version":{version},"generated_at":""}}}}"#
        );
        Ok(http::Response::builder().header(header::ETAG, entity_tag).body(body.into()).expect("a plain response"))
    }

    fn status(status: u16) -> Result<http::Response<Bytes>, String> {
        Ok(http::Response::builder().status(status).body(Bytes::new()).expect("a plain response"))
    }

    impl Ledger {
        fn get(&mut self, cashier: u32, path: &str, answer: Result<http::Response<Bytes>, String>) {
            let begun = self.begin(Duration::ZERO, cashier, path);
            self.end(begun, answer);
        }

        fn sold(&mut self, version: u64) {
            self.changed("POST", "/sales", version, vec!["/stock".into(), "/sales".into()]);
        }
    }

    #[track_caller]
    fn check(ledger: &Ledger, stale: u64, foreign: u64, failed: u64) {
        let tally = ledger.tally();
        assert_eq!((tally.stale, tally.foreign, tally.failed), (stale, foreign, failed), "{:?}", ledger.findings());
        assert_eq!(ledger.findings().len() as u64, stale + foreign + failed);
        assert_eq!(tally.is_clean(), stale + foreign + failed == 0);
    }

    #[test]
    fn an_answer_that_shows_the_change_is_current() {
        let mut ledger = ledger();
        ledger.sold(1);
        ledger.get(0, "/stock", shows("/stock", "shop-1", 1, "\"a\""));
        ledger.get(0, "/products", shows("/products", "shop-1", 0, "\"a\""));
        check(&ledger, 0, 0, 0);
    }

    #[test]
    fn an_answer_without_the_change_is_stale() {
        let mut ledger = ledger();
        ledger.sold(1);
        ledger.get(0, "/stock", shows("/stock", "shop-1", 0, "\"a\""));
        check(&ledger, 1, 0, 0);
    }

    #[test]
    fn a_304_stands_for_what_the_browser_holds() {
        let mut ledger = ledger();
        ledger.get(0, "/stock", shows("/stock", "shop-1", 0, "\"a\""));
        assert_eq!(ledger.begin(Duration::ZERO, 0, "/stock").condition(), Some(HeaderValue::from_static("\"a\"")));
        assert_eq!(ledger.begin(Duration::ZERO, 1, "/stock").condition(), None);
        ledger.get(0, "/stock", status(304));
        check(&ledger, 0, 0, 0);
        ledger.sold(1);
        ledger.get(0, "/stock", status(304));
        check(&ledger, 1, 0, 0);
    }

    #[test]
    fn a_change_acknowledged_only_after_the_get_began_need_not_show() {
        let mut ledger = ledger();
        let begun = ledger.begin(Duration::ZERO, 0, "/stock");
        ledger.sold(1);
        ledger.end(begun, shows("/stock", "shop-1", 0, "\"a\""));
        check(&ledger, 0, 0, 0);
    }

    #[test]
    fn acknowledgements_out_of_order_lower_nothing() {
        let mut ledger = ledger();
        ledger.sold(2);
        ledger.sold(1);
        ledger.get(0, "/stock", shows("/stock", "shop-1", 1, "\"a\""));
        check(&ledger, 1, 0, 0);
    }

    #[test]
    fn no_cashier_sees_time_run_backwards() {
        let mut ledger = ledger();
        ledger.get(0, "/stock", shows("/stock", "shop-1", 3, "\"b\""));
        ledger.get(1, "/stock", shows("/stock", "shop-1", 2, "\"a\""));
        check(&ledger, 0, 0, 0);
        ledger.get(0, "/stock", shows("/stock", "shop-1", 2, "\"a\""));
        check(&ledger, 1, 0, 0);
    }

    #[test]
    fn answers_that_are_not_ours_are_told_apart() {
        let mut ledger = ledger();
        ledger.get(0, "/stock", shows("/stock", "shop-2", 0, "\"a\""));
        check(&ledger, 0, 1, 0);
        ledger.get(0, "/stock", shows("/units", "shop-1", 0, "\"a\""));
        ledger.get(0, "/stock", status(304));
        ledger.get(0, "/stock", status(502));
        ledger.get(0, "/stock", status(200));
        ledger.get(0, "/stock", Err("reset".into()));
        ledger.change_failed("/sales", "reset".into());
        check(&ledger, 0, 1, 6);
    }

    #[test]
    fn bytes_are_compared_with_full_answers() {
        let mut ledger = ledger();
        let answer = shows("/units", "shop-1", 0, "\"a\"");
        let length = answer.as_ref().expect("an answer").body().len() as u64;
        ledger.get(0, "/units", answer);
        ledger.get(0, "/units", status(304));
        let tally = ledger.tally();
        assert_eq!((tally.gets, tally.not_modified, tally.oracle), (2, 1, 1));
        assert_eq!((tally.bytes, tally.bytes_without), (length, 2 * length));
    }
}
