//! Plain mode against another reading of the RFC: random sequences through the pipeline, and through a small cache built on
//! `http-cache-semantics` (a port of the npm package that npm's own cache is built on). At each step the two must ask the
//! origin the same, or both not, and agree on the status, on which content is shown, on Age and on whether what came was
//! stored.
//!
//! They read the RFC differently in places; [`rules`] lists each, and who is right. With every rule the two agree to the
//! letter, so what is not listed fails; and each rule is left out in turn, so what is listed and no longer so fails too.
//!
//! Everything follows from `DIFFERENTIAL_SEED`; `DIFFERENTIAL_SEQUENCES` says how many. A failing one is shrunk.

mod peer;
mod rules;
mod said;
mod sequence;
mod under_test;

use peer::{Peer, Seen};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use rules::{ALL, Rules};
use sequence::Step;
use std::cell::RefCell;

const SEQUENCES: u32 = 2_000;

/// A disagreement that was seen so often is one; it is not looked for again.
const ENOUGH: usize = 30;

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// What the library's cache did at each step, corrected by `rules`.
fn of_the_library(steps: &[Step], rules: Rules) -> Vec<Seen> {
    let mut peer = Peer::new(rules);
    steps.iter().enumerate().map(|(number, step)| peer.play(number, step)).collect()
}

/// Of how many sequences, and what they had in them.
#[derive(Debug, Default)]
struct Counts {
    steps: usize,
    hits: usize,
    validations: usize,
    stored: usize,
    /// In how many the two would disagree without each rule, as far as was looked.
    disagreements: Vec<usize>,
}

impl Counts {
    fn add(&mut self, steps: &[Step], seen: &[Seen]) {
        self.steps += seen.len();
        self.hits += seen.iter().filter(|seen| seen.asks.is_empty() && seen.status != 504).count();
        self.validations +=
            seen.iter().filter(|seen| seen.asks.iter().any(|(_, sent)| *sent != Default::default())).count();
        self.stored += seen.iter().filter(|seen| seen.stored).count();
        for (rule, count) in ALL.iter().zip(&mut self.disagreements).filter(|(_, count)| **count < ENOUGH) {
            *count += usize::from(of_the_library(steps, Rules::all().without(*rule)) != seen);
        }
    }
}

/// The first step at which they differ.
fn difference(steps: &[Step], ours: &[Seen], theirs: &[Seen]) -> Option<String> {
    let at = (0..steps.len()).find(|at| ours[*at] != theirs[*at])?;
    Some(format!("step {at}\n  freshgate:   {:?}\n  the library: {:?}", ours[at], theirs[at]))
}

#[test]
fn the_two_agree_but_for_what_is_listed_and_disagree_on_all_that_is() {
    let seed: u8 = from_environment("DIFFERENTIAL_SEED").unwrap_or(1);
    let cases = from_environment("DIFFERENTIAL_SEQUENCES").unwrap_or(SEQUENCES);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]));
    let counts = RefCell::new(Counts { disagreements: vec![0; ALL.len()], ..Counts::default() });
    let outcome = runner.run(&sequence::sequences(), |steps| {
        let seen = under_test::play(&steps);
        if let Some(why) = difference(&steps, &seen, &of_the_library(&steps, Rules::all())) {
            return Err(TestCaseError::fail(why));
        }
        counts.borrow_mut().add(&steps, &seen);
        Ok(())
    });
    if let Err(why) = outcome {
        panic!("DIFFERENTIAL_SEED={seed}: {why}");
    }
    let counts = counts.into_inner();
    println!(
        "DIFFERENTIAL_SEED={seed}: {cases} sequences of {} steps, {} hits, {} validations, {} stored",
        counts.steps, counts.hits, counts.validations, counts.stored
    );
    for (rule, count) in ALL.iter().zip(&counts.disagreements) {
        println!("{count:6} {rule:?}");
    }
    let settled: Vec<_> = ALL.iter().zip(&counts.disagreements).filter(|(_, count)| **count == 0).collect();
    assert!(settled.is_empty() || cases < SEQUENCES, "nothing disagrees without {settled:?}: take it out of the list");
}
