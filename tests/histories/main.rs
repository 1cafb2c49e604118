//! Histories: what many callers see of what many mutations change, through an origin that is slow, fails, loses answers and
//! applies late, and clocks that jump. Of each history everything that is promised is checked: P1, P2, P3, P5, and that
//! what is stored equals what there is once everything is quiet.
//!
//! In process, a history runs on one thread in virtual time and follows from its seed; a failing one is shrunk to the
//! steps that it takes. The same driver runs over sockets against the program, which is killed and started anew
//! meanwhile; `SOAK_SECONDS` says for how long.

mod check;
mod drive;
mod history;
#[path = "../fronts/http2.rs"]
mod http2;
#[path = "../fronts/in_process.rs"]
mod in_process;
#[path = "../fronts/origin_server.rs"]
mod origin_server;
mod plan;
#[expect(dead_code, reason = "histories ask less of the program than the live tests do")]
#[path = "../live/proxy.rs"]
mod proxy;
mod registers;
mod shrink;
mod sockets;
#[expect(dead_code, reason = "histories ask less of it than the live tests do")]
#[path = "../live/wire.rs"]
mod wire;

use drive::Driver;
use freshgate::clock::{Clock, Timestamp};
use freshgate::config::{self, Overrides};
use freshgate::pipeline::Pipeline;
use history::{History, Log};
use in_process::InProcess;
use plan::{Load, Plan, Timing};
use registers::{Registers, Shared};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;
use tokio::time::Instant;

const LOAD: Load = Load { callers: 4, steps: 40, within: 3_000, writes: 9 };

#[test]
fn no_history_breaks_a_promise_1() {
    histories(0..2_500);
}

#[test]
fn no_history_breaks_a_promise_2() {
    histories(2_500..5_000);
}

#[test]
fn no_history_breaks_a_promise_3() {
    histories(5_000..7_500);
}

#[test]
fn no_history_breaks_a_promise_4() {
    histories(7_500..10_000);
}

fn histories(seeds: std::ops::Range<u64>) {
    let mut counts = Counts::default();
    for seed in seeds.clone() {
        let plan = Plan::draw(seed, Timing::VIRTUAL, LOAD);
        let history = played(&plan);
        counts.add(&history);
        if !violations(&history, &plan).is_empty() {
            report(seed, plan);
        }
    }
    println!("seeds {seeds:?}: {counts:?}");
    // Histories in which nothing is stored, collapsed or invalidated prove nothing.
    let each = [counts.hits, counts.collapsed, counts.not_modified, counts.applied, counts.unanswered];
    assert!(each.iter().all(|count| *count > (seeds.end - seeds.start) / 2), "{counts:?}");
}

#[derive(Debug, Default)]
struct Counts {
    reads: usize,
    hits: u64,
    collapsed: u64,
    not_modified: u64,
    applied: u64,
    /// Mutations whose client does not know what became of them.
    unanswered: u64,
}

impl Counts {
    fn add(&mut self, history: &History) {
        let count = |of: &dyn Fn(&history::Read) -> bool| history.reads.iter().filter(|read| of(read)).count() as u64;
        self.reads += history.reads.len();
        self.hits += count(&|read| read.hit());
        self.collapsed += count(&|read| read.collapsed());
        self.not_modified += count(&|read| matches!(read.seen, history::Seen::Version { not_modified: true, .. }));
        self.applied += history.applied.len() as u64;
        self.unanswered += history.writes.iter().filter(|w| w.status.is_none_or(|status| status > 500)).count() as u64;
    }
}

fn violations(history: &History, plan: &Plan) -> Vec<String> {
    check::violations(history, plan.setting, check::ON_TIME)
}

/// Shrinks a failing plan and fails with what is left of it.
fn report(seed: u64, plan: Plan) -> ! {
    let plan = shrink::shrink(plan, |plan| !violations(&played(plan), plan).is_empty());
    let history = played(&plan);
    let (steps, found) = (&plan.steps, violations(&history, &plan).join("\n"));
    let steps: Vec<String> = steps.iter().map(|step| format!("{step:?}")).collect();
    panic!("seed {seed}, of which this is enough: {:?}\n{}\n{history}\n{found}", plan.setting, steps.join("\n"));
}

/// What comes of a plan, in virtual time.
fn played(plan: &Plan) -> History {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime can be made").block_on(async {
        let log = Arc::new(Log::default());
        let origin = Arc::new(Registers::new(plan, log.clone()));
        let toml = format!("origin.url = \"http://origin.test\"\n{}", plan.setting.config());
        let policy = match config::parse(&toml, "histories.toml", &Overrides::default(), &|_| None) {
            Ok(loaded) => loaded.policy,
            Err(errors) => panic!("{errors}"),
        };
        let clock = Arc::new(Virtual::new());
        let pipeline =
            Pipeline::new(Arc::new(policy), Arc::new(Shared(origin)), clock.clone(), Arc::new(|_| {}), [1; 32]);
        let jump = Box::new(move |seconds| clock.jump(seconds));
        Driver::new(Arc::new(InProcess(pipeline)), log.clone(), jump).play(plan, LOAD.callers).await;
        log.history()
    })
}

/// The runtime's virtual time, as a clock whose wall reading can be corrected.
struct Virtual {
    start: Instant,
    jumped_ms: AtomicI64,
}

impl Virtual {
    #[expect(clippy::disallowed_methods, reason = "the runtime's virtual time")]
    fn new() -> Virtual {
        Virtual { start: Instant::now(), jumped_ms: AtomicI64::new(0) }
    }

    fn jump(&self, seconds: i64) {
        self.jumped_ms.fetch_add(seconds * 1000, SeqCst);
    }
}

impl Clock for Virtual {
    #[expect(clippy::disallowed_methods, reason = "the runtime's virtual time")]
    fn now(&self) -> Timestamp {
        let ms = u64::try_from((Instant::now() - self.start).as_millis()).expect("a history is short");
        let begin = Timestamp { wall_ms: 1_767_225_600_000, boot_ms: 1_000_000 } + Duration::from_millis(ms);
        Timestamp { wall_ms: begin.wall_ms + self.jumped_ms.load(SeqCst), ..begin }
    }
}
