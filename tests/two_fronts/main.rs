//! The lane beside Pingora: the same requests, through our own HTTP/1.1 front and through Pingora's, which is what answers
//! HTTP/2. Two pipelines and two origins begin alike; at each step both fronts are asked the same, and have to say the same
//! (status, reason, fields, body and how its end is told), ask their origins the same, keep the connection or close it alike,
//! and leave the same records for log and metrics.
//!
//! [`rules`] lists where they may differ, and why. The scenarios stand in `scenarios.toml`; the random tests follow from
//! `TWO_FRONTS_SEED`, and `TWO_FRONTS_CASES` says how many there are; a failing one is shrunk.

mod heads;
mod origin;
mod rules;
mod scenario;
mod sequence;
mod side;
mod wire;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use rules::Rule;
use scenario::{Asked, Step};
use side::{Pair, Seen};
use std::cell::{Cell, RefCell};
use std::fmt::Write;
use tokio::runtime::{Builder, Runtime};
use wire::Message;

/// Longer than the origin is ever silent, but where a scenario says so.
const PATIENT: &str = "15s";

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}

/// Tries `cases` of what `strategy` makes.
fn try_all<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value) -> Result<(), String>)
where
    S::Value: std::fmt::Debug,
{
    let seed: u8 = from_environment("TWO_FRONTS_SEED").unwrap_or(1);
    let cases = from_environment("TWO_FRONTS_CASES").unwrap_or(cases);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]));
    println!("TWO_FRONTS_SEED={seed} TWO_FRONTS_CASES={cases}");
    if let Err(why) = runner.run(strategy, |value| test(value).map_err(TestCaseError::fail)) {
        panic!("TWO_FRONTS_SEED={seed}: {why}");
    }
}

#[test]
fn what_scenarios_ask_the_two_answer_alike_and_each_difference_that_is_allowed_is_there() {
    let (mut failed, mut needed) = (String::new(), Vec::new());
    for scenario in scenario::all() {
        runtime().block_on(async {
            let mut pair = Pair::new(&scenario.response_timeout).await;
            for (number, step) in scenario.steps.iter().enumerate() {
                let [lane, pingora] = pair.play(step).await;
                if let Err(why) = judge(step, &lane, &pingora) {
                    writeln!(failed, "{}, step {}: {:?}\n{why}", scenario.title, number + 1, step.requests)
                        .expect("a string takes all");
                } else if step.pingora.is_none() {
                    let without = |rule: &Rule| rules::ALL.into_iter().filter(|r| r != rule).collect::<Vec<_>>();
                    needed.extend(
                        rules::ALL.into_iter().filter(|rule| differ(&without(rule), &lane, &pingora).is_some()),
                    );
                }
            }
        });
    }
    assert!(failed.is_empty(), "\n{failed}");
    let settled: Vec<_> = rules::ALL.into_iter().filter(|rule| !needed.contains(rule)).collect();
    assert!(settled.is_empty(), "nothing differs without {settled:?}: take it out of the list");
}

#[test]
fn random_sequences_are_answered_alike() {
    try_all(60, &sequence::sequences(), |steps| {
        runtime().block_on(async {
            let mut pair = Pair::new(PATIENT).await;
            for (number, step) in steps.iter().enumerate() {
                let [lane, pingora] = pair.play(step).await;
                if let Some(why) = differ(&rules::ALL, &lane, &pingora) {
                    return Err(format!("step {}:\n{why}", number + 1));
                }
            }
            Ok(())
        })
    });
}

/// What the lane reads as a request, Pingora's path reads as the same; where the lane refuses, it may be laxer, since HTTP/2
/// cannot say all that HTTP/1.1 can.
#[test]
fn what_the_lane_accepts_of_random_heads_both_answer_alike() {
    let (accepted, refused) = (Cell::new(0), Cell::new(0));
    let runtime = runtime();
    let pair = RefCell::new(runtime.block_on(Pair::new(PATIENT)));
    try_all(2000, &heads::heads(), |octets| {
        let mut pair = pair.borrow_mut();
        let purge = Some("*".to_owned());
        let step = Step { purge, requests: vec![Asked::Raw(octets.clone())], ..Step::default() };
        match heads::read(&octets.0, pair.pipeline()) {
            Some(Ok(received)) if heads::carried_by_http2(&octets.0, &received) => {
                accepted.set(accepted.get() + 1);
                let [lane, pingora] = runtime.block_on(pair.play(&step));
                differ(&rules::ALL, &lane, &pingora).map_or(Ok(()), Err)
            }
            Some(Err(status)) => {
                refused.set(refused.get() + 1);
                let lane = runtime.block_on(pair.play_the_lane(&step));
                if statuses(&lane) == [status] && lane.asks.is_empty() { Ok(()) } else { Err(lines(&lane).join("\n")) }
            }
            Some(Ok(_)) | None => Ok(()),
        }
    });
    println!("{} accepted, {} refused", accepted.get(), refused.get());
    assert!(accepted.get() > 50 && refused.get() > 50, "too few of a kind to mean anything");
}

/// Whether a step of a scenario went as it is written.
fn judge(step: &Step, lane: &Seen, pingora: &Seen) -> Result<(), String> {
    if statuses(lane) != step.status {
        let all = lines(lane).join("\n    ");
        return Err(format!("    the lane says {:?}, not {:?}:\n    {all}", statuses(lane), step.status));
    }
    match step.pingora {
        Some(status) if statuses(pingora) == [status] => Ok(()),
        Some(status) => Err(format!("    Pingora says {:?}, not {status}", statuses(pingora))),
        None => differ(&rules::ALL, lane, pingora).map_or(Ok(()), Err),
    }
}

/// What one has and the other has not.
fn differ(rules: &[Rule], lane: &Seen, pingora: &Seen) -> Option<String> {
    let (lane, pingora) = (rules::without(rules, lane), rules::without(rules, pingora));
    if lane == pingora {
        return None;
    }
    let (ours, theirs) = (lines(&lane), lines(&pingora));
    let mut text = String::new();
    for (front, lines, others) in [("lane   ", &ours, &theirs), ("pingora", &theirs, &ours)] {
        for line in lines.iter().filter(|line| !others.contains(line)) {
            writeln!(text, "    {front}  {line}").expect("a string takes all");
        }
    }
    Some(if text.is_empty() { format!("    another order: {ours:#?}\n{theirs:#?}") } else { text })
}

fn statuses(seen: &Seen) -> Vec<u16> {
    seen.answers.iter().map(Message::status).collect()
}

/// What was seen, for failed tests.
fn lines(seen: &Seen) -> Vec<String> {
    let shown = |message: &Message| {
        let mut lines = vec![message.start.clone()];
        lines.extend(message.lines.iter().map(|(name, value)| format!("{name}: {value}")));
        let Message { framing, body, broken, .. } = message;
        let beginning = body[..body.len().min(60)].escape_ascii();
        lines.push(format!("{} octets by {framing:?}, {beginning}, broken: {broken}", body.len()));
        lines
    };
    let mut all: Vec<_> = seen.answers.iter().flat_map(shown).collect();
    all.push(format!("closes: {}, behind the last: {}", seen.closes, seen.behind.escape_ascii()));
    all.extend(seen.asks.iter().flat_map(shown).map(|line| format!("asked: {line}")));
    all.extend(seen.records.iter().map(|record| format!("record: {record}")));
    all
}
