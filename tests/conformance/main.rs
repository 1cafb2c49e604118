//! Conformance: what http-cache-tests, the suite behind cache-tests.fyi, says of plain mode, with validators added and
//! without. The judge is nobody's here: its own origin and its own client, as npm brings them.
//!
//! Its results are summarised as its site does ([`verdict`]), never as the raw count of what came out true, and held
//! against `expected.toml`: each test that does not pass stands there, with the promise, the clause or the decision that
//! forbids it. `make conformance` prints the table. Where `CACHE_TESTS` names a checkout of the suite, that one is the
//! judge.

mod expected;
#[expect(dead_code, reason = "the suite asks on its own")]
#[path = "../live/proxy.rs"]
mod proxy;
mod suite;
mod verdict;
#[expect(dead_code, reason = "the suite asks on its own")]
#[path = "../live/wire.rs"]
mod wire;

use expected::Expected;
use proxy::Proxy;
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use suite::{Origin, Suite};
use verdict::{Kind, Verdict};

type Verdicts = BTreeMap<String, Verdict>;

/// Plain mode: no route, and of the defaults only whether validators are added. That they are must change no verdict.
const CONFIGURATIONS: [(&str, &str); 2] = [("added", ""), ("the origin's own", "defaults.validators = \"origin\"\n")];

#[test]
fn plain_mode_passes_every_test_but_those_listed_with_and_without_added_validators() {
    let suite = Suite::installed();
    let expected = Expected::read();
    let otherwise = unlike(&suite, &expected);
    assert!(otherwise.is_empty(), "tests/conformance/expected.toml says otherwise: {otherwise:#?}");
}

/// What is otherwise than expected, by configuration, after one run of each.
fn unlike(suite: &Suite, expected: &Expected) -> BTreeSet<String> {
    thread::scope(|scope| {
        let runs = CONFIGURATIONS.map(|(name, config)| (name, scope.spawn(|| judged(suite, config))));
        let mut otherwise = BTreeSet::new();
        for (name, run) in runs {
            let verdicts = run.join().expect("the suite ran");
            println!("\nvalidators: {name}\n{}", table(suite, &verdicts));
            assert!(is_short(suite, &verdicts), "validators {name}: more is left out than may be");
            otherwise.extend(expected.unlike(suite, &verdicts).iter().map(|line| format!("validators {name}: {line}")));
        }
        otherwise
    })
}

/// What the suite says of a proxy with this configuration.
fn judged(suite: &Suite, config: &str) -> Verdicts {
    let origin = Origin::start(suite);
    let proxy = Proxy::start(&format!("origin.url = \"http://{}\"\n{config}", origin.address));
    let results = suite.results(proxy.address);
    let verdict = |test: &suite::Test| (test.id.clone(), verdict::of(&test.id, suite, &results));
    suite.tests().map(verdict).collect()
}

/// What may be left out, for whatever reasons: at most 2 of the required and 18 of the optimal tests of the suite as it
/// is since 2026. The npm release is older, and has more tests that contradict the RFC that came after them.
fn is_short(suite: &Suite, verdicts: &Verdicts) -> bool {
    let missed = |kind| suite.tests().filter(|test| test.kind == kind && !verdicts[&test.id].passes()).count();
    let of_2026 = suite.groups.iter().any(|group| group.id == "cdn-cache-control");
    !of_2026 || (missed(Kind::Required) <= 2 && missed(Kind::Optimal) <= 18)
}

/// A row per suite of tests: how many pass, of how many; of those that only ask, how many are answered yes.
fn table(suite: &Suite, verdicts: &Verdicts) -> String {
    let row = |name: &str, tests: &mut dyn Iterator<Item = &suite::Test>| {
        let (mut passed, mut all) = ([0; 3], [0; 3]);
        for test in tests {
            all[test.kind as usize] += 1;
            passed[test.kind as usize] += usize::from(verdicts[&test.id].passes());
        }
        let cell = |kind: Kind| format!("{}/{}", passed[kind as usize], all[kind as usize]);
        let [required, optimal, check] = [Kind::Required, Kind::Optimal, Kind::Check].map(cell);
        format!("{name:<20} {required:>9} {optimal:>9} {check:>9}\n")
    };
    let mut text = format!("{:<20} {:>9} {:>9} {:>9}\n", "", "required", "optimal", "check");
    for group in &suite.groups {
        text += &row(&group.id, &mut group.tests.iter());
    }
    text + &row("all", &mut suite.tests())
}
