//! The leak hunt: random callers, tokens, scopes, mutations, collapses, 304s, errors, cancellations and revocations, and
//! an origin that marks whose each response is. No mark may reach a caller whom the scope does not admit.
//!
//! Hunts in process run on one thread and follow from their seed, which is printed where a mark is out of place; only
//! where stripes of the fences collide, which costs a hit, is each process's own. Those over sockets go through the whole
//! proxy, half of their requests over HTTP/1.1 and half over HTTP/2, in real time. All together are a million requests.

#[path = "../fronts/http2.rs"]
mod http2;
mod hunt;
#[path = "../fronts/in_process.rs"]
mod in_process;
mod ledger;
#[path = "../fronts/origin_server.rs"]
mod origin_server;
mod world;

use bytes::Bytes;
use freshgate::cli::demo::front::{Front, Server};
use freshgate::cli::serve::{Extras, Process};
use freshgate::config::{self, Overrides};
use freshgate::pipeline::Pipeline;
use freshgate::policy::Policy;
use http2::Http2;
use hunt::Hunt;
use in_process::InProcess;
use ledger::Counts;
use std::sync::Arc;
use tokio::sync::watch;
use world::{MINE, SECRET, World, config};

/// Hunts of one test, each in a world of its own: what was demoted once is not shared again.
const HUNTS: u64 = 9;

#[test]
fn no_mark_reaches_a_caller_outside_of_its_scope_1() {
    hunts_in_process(10);
}

#[test]
fn no_mark_reaches_a_caller_outside_of_its_scope_2() {
    hunts_in_process(20);
}

#[test]
fn no_mark_reaches_a_caller_outside_of_its_scope_3() {
    hunts_in_process(30);
}

#[test]
fn no_mark_reaches_a_caller_outside_of_its_scope_4() {
    hunts_in_process(40);
}

fn hunts_in_process(first: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime can be made");
    let mut counts = Counts::default();
    for seed in first..first + HUNTS {
        // In every third world so few may be at the origin at once that the others wait.
        let at_once = if seed % 3 == 0 { 3 } else { 64 };
        let lines =
            format!("origin = {{ url = \"http://origin.test\", quarantine = \"3s\", max_concurrent = {at_once} }}");
        counts += runtime.block_on(hunt_in_process(seed, &lines));
    }
    println!("seeds {first} and on: {counts:?}");
    proves_something(&counts);
    assert!(counts.rescued > 100 && counts.diverged >= HUNTS, "{counts:?}");
}

async fn hunt_in_process(seed: u64, lines: &str) -> Counts {
    let world = Arc::new(World::by_hand(seed));
    let policy = Arc::new(policy(lines, &world));
    let pipeline = Pipeline::new(policy, world.clone(), world.clock.clone(), Arc::new(|_| {}), [seed as u8; 32]);
    let hunt = Hunt::begin(seed, world, vec![Arc::new(InProcess(pipeline.clone()))]);
    finds_nothing(seed, &hunt, 25_000).await;
    demotes_no_other(seed, pipeline.demoted().map(|route| route.name.as_str()));
    hunt.counts()
}

#[test]
fn no_mark_reaches_a_caller_outside_of_its_scope_over_sockets() {
    let seed = 5;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async {
        let world = Arc::new(World::real(seed));
        let origin = origin_server::serve(world.clone()).await;
        let lines = format!(
            "origin = {{ url = \"http://{origin}\", quarantine = \"50ms\" }}\n\
             server = {{ listen = \"127.0.0.1:0\", h2c = true }}\nadmin.listen = \"127.0.0.1:0\""
        );
        let process = Process::open(policy(&lines, &world), Extras::default()).await.expect("loopback has free ports");
        let (address, admin) = (process.public()[0], process.admin());
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(process.run(stopped));
        let fronts: Vec<Arc<dyn Front>> = vec![Arc::new(Server::at(address)), Arc::new(Http2::connect(address).await)];
        let hunt = Hunt::begin(seed, world, fronts);
        finds_nothing(seed, &hunt, 100_000).await;
        println!("seed {seed}: {:?}", hunt.counts());
        proves_something(&hunt.counts());
        let stats = http::Request::get("/stats").body(Bytes::new()).expect("it is well-formed");
        let stats = Server::at(admin).send(stats).await.expect("the admin listener answers");
        let stats: serde_json::Value = serde_json::from_slice(stats.body()).expect("it answers in JSON");
        let demoted = stats["demoted"].as_array().expect("a list").iter();
        demotes_no_other(seed, demoted.map(|name| name.as_str().expect("a name")));
        stop.send_replace(true);
        running.await.expect("the proxy does not panic");
    });
}

async fn finds_nothing(seed: u64, hunt: &Hunt, requests: u64) {
    while hunt.counts().requests < requests {
        hunt.round().await;
    }
    let findings = hunt.findings();
    assert!(findings.is_empty(), "seed {seed}: {} marks out of place:\n{}", findings.len(), findings.join("\n"));
}

/// A hunt that never gets to share, or to be refused, proves nothing.
fn proves_something(counts: &Counts) {
    let requests = counts.requests;
    assert!(counts.hits > requests / 20 && counts.others > requests / 50, "{counts:?}");
    let told = [counts.not_modified, counts.refused, counts.vouched, counts.partial * 10, counts.collapsed * 10];
    assert!(told.iter().all(|times| *times > requests / 250), "{counts:?}");
}

/// Nobody is told different things on other routes than those that are there for it.
fn demotes_no_other<'n>(seed: u64, demoted: impl Iterator<Item = &'n str>) {
    let others: Vec<&str> = demoted.filter(|name| !(0..MINE).any(|number| *name == format!("mine{number}"))).collect();
    assert!(others.is_empty(), "seed {seed}: {others:?} are demoted, and nobody was told different things");
}

/// The policy of [`config`] behind these lines.
fn policy(lines: &str, world: &World) -> Policy {
    let secret = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
    let accepted_for = world.pace.accepted_for.as_millis();
    let text = format!("{lines}\nidentity.accepted_for = \"{accepted_for}ms\"\n{}", config());
    match config::parse(&text, "leaks.toml", &Overrides::default(), &secret) {
        Ok(loaded) => loaded.policy,
        Err(errors) => panic!("{errors}"),
    }
}
