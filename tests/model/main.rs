//! The whole cache against a model of it, written as plainly as possible: random sequences of reads, mutations, purges,
//! failures and changes of the origin on a virtual clock whose wall reading jumps. After each step what the pipeline did
//! is held against what the model says: hit or asked, which content, which status, Age and ttl, how often the origin was
//! asked.
//!
//! A failing sequence is shrunk and printed; its seed is kept in `tests/proptest-regressions`.

mod act;
#[path = "../fronts/in_process.rs"]
mod in_process;
mod reference;
mod shop;
mod under_test;

use proptest::test_runner::Config;
use proptest_state_machine::{StateMachineTest, prop_state_machine};
use reference::Reference;
use under_test::UnderTest;

/// The pipeline, held against the model.
struct Cache;

impl StateMachineTest for Cache {
    type SystemUnderTest = UnderTest;
    type Reference = Reference;

    fn init_test(_: &Reference) -> UnderTest {
        UnderTest::new()
    }

    fn apply(mut cache: UnderTest, expected: &Reference, act: act::Act) -> UnderTest {
        cache.play(act, expected);
        cache
    }
}

/// As many as a test run has time for, unless `PROPTEST_CASES` says otherwise.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(4_000)
}

prop_state_machine! {
    #![proptest_config(Config { cases: cases(), max_shrink_iters: 20_000, ..Config::default() })]

    #[test]
    fn the_cache_does_what_the_model_says(sequential 1..60 => Cache);
}
