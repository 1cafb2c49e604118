//! The leak hunt: random callers, tokens, scopes, mutations, collapses, 304s, errors, cancellations and revocations, and
//! an origin that marks whose each response is. No mark may reach a caller whom the scope does not admit.
//!
//! Everything of one hunt runs on one thread and follows from its seed, which is printed where a mark is out of place.

mod hunt;
mod world;

use hunt::Hunt;

/// Requests of one hunt; all of them together are a million.
const REQUESTS: u64 = 250_000;

#[test]
fn no_mark_reaches_a_caller_outside_of_its_scope_1() {
    hunts(1);
}

#[test]
fn no_mark_reaches_a_caller_outside_of_its_scope_2() {
    hunts(2);
}

#[test]
fn no_mark_reaches_a_caller_outside_of_its_scope_3() {
    hunts(3);
}

#[test]
fn no_mark_reaches_a_caller_outside_of_its_scope_4() {
    hunts(4);
}

fn hunts(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime can be made");
    let hunt = runtime.block_on(async {
        let hunt = Hunt::begin(seed);
        while hunt.counts().requests < REQUESTS {
            hunt.round().await;
        }
        hunt
    });
    let (counts, findings) = (hunt.counts(), hunt.findings());
    println!("seed {seed}: {counts:?}");
    assert!(findings.is_empty(), "seed {seed}: {} marks out of place:\n{}", findings.len(), findings.join("\n"));
    // A hunt that never gets to share, or to be refused, proves nothing.
    assert!(counts.hits > REQUESTS / 20 && counts.others > REQUESTS / 50, "{counts:?}");
    assert!(counts.collapsed > 100 && counts.not_modified > 1000 && counts.refused > 1000, "{counts:?}");
}
