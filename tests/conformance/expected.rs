//! `expected.toml`: the tests that do not pass, and why.

use serde::Deserialize;
use std::collections::BTreeMap;

use crate::Verdicts;
use crate::suite::Suite;
use crate::verdict::Verdict;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    exception: Vec<Exception>,
}

/// Tests that do not pass for one reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    /// The promise, the clause or the decision that forbids it.
    because: String,
    /// The group that tells the suite whose tests these are; without it they are the same in each.
    #[serde(rename = "where")]
    only_where: Option<String>,
    tests: BTreeMap<String, Verdict>,
}

impl Expected {
    pub fn read() -> Expected {
        toml::from_str(include_str!("expected.toml")).expect("expected.toml is as expected.rs says")
    }

    /// Where the verdicts are not as expected: what does not pass and is not listed, and what is listed and is otherwise.
    pub fn unlike(&self, suite: &Suite, verdicts: &Verdicts) -> Vec<String> {
        let mut unlike = Vec::new();
        let mut listed = BTreeMap::new();
        for exception in &self.exception {
            assert!(!exception.because.is_empty(), "a reason is what the list is for");
            let here = |group: &String| suite.groups.iter().any(|other| other.id == *group);
            if exception.only_where.as_ref().is_none_or(here) {
                for (id, verdict) in &exception.tests {
                    assert!(!verdict.passes(), "{id}: what passes is no exception");
                    assert!(listed.insert(id, *verdict).is_none(), "{id} is listed twice");
                }
            }
        }
        for (id, verdict) in verdicts {
            match listed.remove(id) {
                Some(expected) if expected == *verdict => {}
                None if verdict.passes() => {}
                Some(expected) => unlike.push(format!("{id}: {verdict:?}, not {expected:?}")),
                None => unlike.push(format!("{id}: {verdict:?}, and it is not listed")),
            }
        }
        unlike.extend(listed.keys().map(|id| format!("{id}: listed, and there is no such test")));
        unlike
    }
}
