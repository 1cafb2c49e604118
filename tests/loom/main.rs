//! The fences, the flights and the turns in every order in which threads can meet, and with every value that a processor
//! may give them, up to a number of preemptions.
//!
//! The files under test are those of the house, compiled over loom's parts in place of the standard library's. Each model
//! is run as the pipeline does things, which must hold, and in each of the wrong ways that it is there to find, which must
//! not: a model that finds nothing proves nothing. `LOOM_MAX_PREEMPTIONS` says how far to look.

mod fences;
mod flights;
mod pipeline;
mod semantics;
mod store;
mod turns;

use freshgate::{clock, policy};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Enough for each wrong way to be found, and few enough for a minute.
const PREEMPTIONS: usize = 3;

/// What is to hold, and the ways of doing things in which it does not.
#[derive(Clone, Copy)]
pub struct Model {
    pub name: &'static str,
    pub holds: fn(),
    pub fails: &'static [(&'static str, fn())],
}

fn main() -> ExitCode {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let models = [fences::MODELS, flights::MODELS, turns::MODELS].concat();
    let (chosen, others): (Vec<_>, Vec<_>) = models.iter().partition(|model| model.name.contains(&wanted));
    let failed = chosen.iter().filter(|model| !holds(model)).count();
    let (result, passed) = (if failed == 0 { "ok" } else { "FAILED" }, chosen.len() - failed);
    // In the words of the harness, which whoever counts tests reads.
    println!(
        "test result: {result}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {} filtered out",
        others.len()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the model holds, and fails in each of the wrong ways.
fn holds(model: &Model) -> bool {
    let (right, runs) = explored(model.holds);
    println!("test {} ... {} ({runs} runs)", model.name, if right { "ok" } else { "FAILED" });
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let wrong: Vec<_> = model.fails.iter().map(|(way, wrong)| (way, explored(*wrong))).collect();
    std::panic::set_hook(hook);
    for (way, (unseen, runs)) in &wrong {
        println!("    {way}: {} {runs} runs", if *unseen { "NOT FOUND in" } else { "found after" });
    }
    right && wrong.iter().all(|(_, (unseen, _))| !unseen)
}

/// Whether nothing failed, in how many runs.
fn explored(model: fn()) -> (bool, usize) {
    let runs = Arc::new(AtomicUsize::new(0));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(PREEMPTIONS);
    let counted = runs.clone();
    let explored = catch_unwind(AssertUnwindSafe(move || {
        builder.check(move || {
            counted.fetch_add(1, Relaxed);
            model();
        });
    }));
    (explored.is_ok(), runs.load(Relaxed))
}
