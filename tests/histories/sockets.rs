//! The same histories over sockets, against the program: over HTTP/1.1 and HTTP/2, in real time, with more callers, and
//! with `kill -9` in the midst of some.
//!
//! What a killed process has sent on may be applied after its end, and the next one cannot know. So that the checks hold, it
//! is started only when the origin is done with what it had been sent.

use crate::check;
use crate::drive::Driver;
use crate::history::{History, Log};
use crate::http2::Http2;
use crate::origin_server;
use crate::plan::{Load, Plan, Timing};
use crate::proxy::Proxy;
use crate::registers::{Registers, Shared};
use bytes::Bytes;
use freshgate::cli::demo::front::{Front, Server};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const LOAD: Load = Load { callers: 8, steps: 600, within: 8_000, writes: 1 };
/// How much later than on time a busy machine may be.
const SLACK: Duration = Duration::from_secs(10);
/// How long histories are played where `SOAK_SECONDS` says nothing.
const SECONDS: u64 = 20;

#[test]
fn no_history_breaks_a_promise_over_sockets() {
    let seconds =
        std::env::var("SOAK_SECONDS").ok().map_or(SECONDS, |text| text.parse().expect("SOAK_SECONDS is a number"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async {
        let end = now() + Duration::from_secs(seconds);
        let (mut seed, mut kills, mut reads, mut hits, mut mutations) = (1_000_000, 0, 0, 0, 0);
        while now() < end {
            let plan = Plan::draw(seed, Timing::REAL, LOAD);
            let kill = (seed % 2 == 1).then(|| Duration::from_millis(1_000 + seed % 7 * 500));
            let history = played(&plan, kill).await;
            let found = check::violations(&history, plan.setting, SLACK);
            assert!(found.is_empty(), "seed {seed}: {:?}\n{history}\n{}", plan.setting, found.join("\n"));
            seed += 1;
            kills += u64::from(kill.is_some());
            reads += history.reads.len() + history.quiet.len();
            hits += history.reads.iter().filter(|read| read.hit()).count();
            mutations += history.writes.iter().filter(|written| written.arrived.is_some()).count();
        }
        println!(
            "{} histories, {kills} with kill -9: {reads} reads, {hits} hits, {mutations} mutations",
            seed - 1_000_000
        );
        assert!(hits > 0 && mutations > 0, "nothing was tried");
    });
}

/// What comes of a plan in real time, where the process is killed at `kill`.
async fn played(plan: &Plan, kill: Option<Duration>) -> History {
    let log = Arc::new(Log::default());
    let origin = Arc::new(Shared(Arc::new(Registers::new(plan, log.clone()))));
    let config = format!(
        "server.h2c = true\norigin.url = \"http://{}\"\n{}",
        origin_server::serve(origin).await,
        plan.setting.config()
    );
    let process = Arc::new(Process::start(config).await);
    let driver = Driver::new(process.clone(), log.clone(), Box::new(|_| {}));
    let killing = kill.map(|after| {
        let (process, down) = (process.clone(), plan.setting.timing.latest());
        tokio::spawn(async move {
            sleep(after).await;
            process.kill();
            sleep(down).await;
            process.start_anew().await;
        })
    });
    driver.play(plan, LOAD.callers).await;
    if let Some(killing) = killing {
        killing.await.expect("the program starts anew");
    }
    log.history()
}

/// The program, and the connections to it.
struct Process {
    config: String,
    running: Mutex<Option<Proxy>>,
    fronts: Mutex<Vec<Arc<dyn Front>>>,
    asked: AtomicUsize,
}

impl Process {
    async fn start(config: String) -> Process {
        let process =
            Process { config, running: Mutex::default(), fronts: Mutex::default(), asked: AtomicUsize::new(0) };
        process.start_anew().await;
        process
    }

    async fn start_anew(&self) {
        let config = self.config.clone();
        let proxy = tokio::task::spawn_blocking(move || Proxy::start(&config)).await.expect("it starts");
        let address = proxy.address;
        let fronts: Vec<Arc<dyn Front>> = vec![Arc::new(Server::at(address)), Arc::new(Http2::connect(address).await)];
        *self.running.lock().expect("nobody panics here") = Some(proxy);
        *self.fronts.lock().expect("nobody panics here") = fronts;
    }

    /// SIGKILL.
    fn kill(&self) {
        drop(self.running.lock().expect("nobody panics here").take());
    }
}

#[async_trait::async_trait]
impl Front for Process {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, String> {
        let front = {
            let fronts = self.fronts.lock().expect("nobody panics here");
            fronts[self.asked.fetch_add(1, Relaxed) % fronts.len()].clone()
        };
        front.send(request).await
    }
}

#[expect(clippy::disallowed_methods, reason = "how long histories are played")]
fn now() -> Instant {
    Instant::now()
}
