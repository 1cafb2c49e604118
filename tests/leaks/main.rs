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
#[path = "../fronts/origin_server.rs"]
mod origin_server;
mod world;

use freshgate::cli::demo::front::{Front, Server};
use freshgate::cli::serve::{Extras, Process};
use freshgate::config::{self, Overrides};
use freshgate::pipeline::Pipeline;
use freshgate::policy::Policy;
use http2::Http2;
use hunt::Hunt;
use in_process::InProcess;
use std::sync::Arc;
use tokio::sync::watch;
use world::{CONFIG, SECRET, World};

#[test]
fn no_mark_reaches_a_caller_outside_of_its_scope_1() {
    hunts_in_process(1);
}

#[test]
fn no_mark_reaches_a_caller_outside_of_its_scope_2() {
    hunts_in_process(2);
}

#[test]
fn no_mark_reaches_a_caller_outside_of_its_scope_3() {
    hunts_in_process(3);
}

#[test]
fn no_mark_reaches_a_caller_outside_of_its_scope_4() {
    hunts_in_process(4);
}

fn hunts_in_process(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime can be made");
    runtime.block_on(async {
        let world = Arc::new(World::by_hand(seed));
        let policy = Arc::new(policy("origin.url = \"http://origin.test\"\n"));
        let pipeline = Pipeline::new(policy, world.clone(), world.clock.clone(), Arc::new(|_| {}), [seed as u8; 32]);
        let hunt = Hunt::begin(seed, world, vec![Arc::new(InProcess(pipeline.clone()))]);
        finds_nothing(seed, &hunt, 225_000).await;
        let demoted: Vec<&str> = pipeline.demoted().map(|route| route.name.as_str()).collect();
        assert!(demoted.is_empty(), "seed {seed}: {demoted:?} are demoted, and nobody was told different things");
    });
}

#[test]
fn no_mark_reaches_a_caller_outside_of_its_scope_over_sockets() {
    let seed = 5;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async {
        let world = Arc::new(World::real(seed));
        let origin = origin_server::serve(world.clone()).await;
        let policy = policy(&format!(
            "origin.url = \"http://{origin}\"\nserver.listen = \"127.0.0.1:0\"\nserver.h2c = true\n\
             admin.listen = \"127.0.0.1:0\"\norigin.quarantine = \"50ms\"\nidentity.accepted_for = \"{}ms\"\n",
            world.pace.accepted_for.as_millis()
        ));
        let process = Process::open(policy, Extras::default()).await.expect("loopback has free ports");
        let address = process.public()[0];
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(process.run(stopped));
        let fronts: Vec<Arc<dyn Front>> = vec![Arc::new(Server::at(address)), Arc::new(Http2::connect(address).await)];
        finds_nothing(seed, &Hunt::begin(seed, world, fronts), 100_000).await;
        stop.send_replace(true);
        running.await.expect("the proxy does not panic");
    });
}

async fn finds_nothing(seed: u64, hunt: &Hunt, requests: u64) {
    while hunt.counts().requests < requests {
        hunt.round().await;
    }
    let (counts, findings) = (hunt.counts(), hunt.findings());
    println!("seed {seed}: {counts:?}");
    assert!(findings.is_empty(), "seed {seed}: {} marks out of place:\n{}", findings.len(), findings.join("\n"));
    // A hunt that never gets to share, or to be refused, proves nothing.
    assert!(counts.hits > requests / 20 && counts.others > requests / 50, "{counts:?}");
    let told = [counts.not_modified, counts.refused, counts.collapsed * 10];
    assert!(told.iter().all(|times| *times > requests / 250), "{counts:?}");
}

/// The policy of [`CONFIG`] behind these lines.
fn policy(lines: &str) -> Policy {
    let secret = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
    match config::parse(&format!("{lines}{CONFIG}"), "leaks.toml", &Overrides::default(), &secret) {
        Ok(loaded) => loaded.policy,
        Err(errors) => panic!("{errors}"),
    }
}
