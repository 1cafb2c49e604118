//! What a result counts as, by the rules of the suite's own site: a test whose dependencies do not pass says nothing,
//! and one whose setup fails has not been made.

use serde::Deserialize;
use serde_json::Value;

use crate::suite::{Results, Suite};

/// What a test is: what HTTP requires, what a good cache does, or a question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    #[default]
    Required,
    Optimal,
    Check,
}

/// Named as the suite names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Pass,
    Yes,
    Fail,
    OptionalFail,
    No,
    Untested,
    Dependency,
    Retry,
    Setup,
    Harness,
}

impl Verdict {
    pub fn passes(self) -> bool {
        matches!(self, Verdict::Pass | Verdict::Yes)
    }
}

/// The verdict on one test. The order of the questions is the site's.
pub fn of(id: &str, suite: &Suite, results: &Results) -> Verdict {
    let test = suite.test(id);
    let Some(result) = results.get(id) else { return Verdict::Untested };
    if test.depends_on.iter().any(|other| !of(other, suite, results).passes()) {
        return Verdict::Dependency;
    }
    let word = |at: usize| result.get(at).and_then(Value::as_str).unwrap_or_default();
    match (word(0), word(1), test.kind, result == &Value::Bool(true)) {
        ("Setup", "retry", ..) => Verdict::Retry,
        ("Setup", ..) => Verdict::Setup,
        ("AbortError", ..) => Verdict::Harness,
        (_, _, Kind::Required | Kind::Optimal, true) => Verdict::Pass,
        (_, _, Kind::Required, false) => Verdict::Fail,
        (_, _, Kind::Optimal, false) => Verdict::OptionalFail,
        (_, _, Kind::Check, true) => Verdict::Yes,
        (_, _, Kind::Check, false) => Verdict::No,
    }
}
