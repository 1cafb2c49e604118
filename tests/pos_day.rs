//! The day at the point of sale, whole and in process: the sample API as the origin, `config/pos.toml` as the policy, a
//! clock that stands still between events. Every answer is held against the origin's true state.

#[path = "fronts/in_process.rs"]
mod in_process;

use freshgate::cli::demo::api::Api;
use freshgate::cli::demo::driver::{Cashiers, TENANT};
use freshgate::cli::demo::{SECRET, day, tally::Tally};
use freshgate::clock::{Clock, ManualClock, Timestamp};
use freshgate::config::{self, Overrides};
use freshgate::pipeline::Pipeline;
use freshgate::policy::{Policy, Scope};
use in_process::InProcess;
use std::sync::Arc;

const SEED: u64 = 1;

/// The lines of `[identity.jwt]`.
const JWT: [&str; 3] = ["[identity.jwt]", "algorithm", "key  "];

fn pos(changes: impl Fn(&str) -> String) -> Policy {
    let text = std::fs::read_to_string("config/pos.toml").expect("the file is part of the project");
    config::parse(&changes(&text), "config/pos.toml", &Overrides::default(), &|_| Some(SECRET.to_owned()))
        .expect("it is sound")
        .policy
}

/// Plays the whole day; returns what clients saw, and the GETs that reached the origin.
async fn play(scope: Scope) -> (Tally, u64) {
    let policy = pos(|text| {
        let text = text.replace("claim:tenant_id", &scope.to_string());
        match scope {
            Scope::Claim(_) => text,
            // Where no claim is asked for, nobody has given the proxy the key.
            _ => text
                .lines()
                .filter(|line| !JWT.iter().any(|key| line.starts_with(key)))
                .fold(String::new(), |text, line| text + line + "\n"),
        }
    });
    let clock = Arc::new(ManualClock::new(Timestamp { wall_ms: 1_767_254_400_000, boot_ms: 0 }));
    let api = Arc::new(Api::new(SEED, SECRET.as_bytes(), 0, clock.clone() as Arc<dyn Clock>));
    let pipeline = Pipeline::new(Arc::new(policy.clone()), api.clone(), clock.clone(), Arc::new(|_| {}), [1; 32]);
    let cashiers = Cashiers::new(Arc::new(InProcess(pipeline)), api.clone(), policy, scope.clone());
    cashiers.step_through(&day::schedule(SEED), &clock).await;
    let tally = cashiers.tally();
    assert!(tally.is_clean(), "{tally:?}\n{}", cashiers.findings().join("\n"));
    let origin = api.gets_of(TENANT).count;
    println!(
        "seed {SEED}, scope {scope}: {} GETs, {origin} reached the origin ({:.1} % fewer), oracle {} (× {:.3}), \
         bytes to clients {:.1} % fewer, {} stale, {} of {} GETs next door and here another tenant's",
        tally.gets,
        100.0 * (1.0 - ratio(origin, tally.gets)),
        tally.oracle,
        ratio(origin, tally.oracle),
        100.0 * (1.0 - ratio(tally.bytes, tally.bytes_without)),
        tally.stale,
        tally.foreign,
        tally.gets + tally.next_door,
    );
    assert_eq!(
        tally.next_door > 0,
        scope != Scope::Authenticated,
        "another tenant's data can be told only where it is there"
    );
    (tally, origin)
}

#[expect(clippy::cast_precision_loss, reason = "counts of one day are far below 2^52")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[tokio::test]
async fn each_cashier_alone_asks_little_more_than_any_correct_cache_must() {
    let (tally, origin) = play(Scope::User).await;
    assert!(ratio(origin, tally.oracle) <= 1.10, "{origin} origin GETs, the oracle needs {}", tally.oracle);
    assert!(ratio(origin, tally.gets) <= 0.35, "{origin} of {} GETs reached the origin", tally.gets);
    assert!(ratio(tally.bytes, tally.bytes_without) <= 0.15, "{} of {} bytes", tally.bytes, tally.bytes_without);
}

/// As `config/pos.toml` is shipped.
#[tokio::test]
async fn a_shop_whose_tills_share_by_their_verified_tenant_asks_a_fourteenth() {
    let (tally, origin) = play(Scope::Claim("tenant_id".into())).await;
    assert!(ratio(origin, tally.oracle) <= 1.10, "{origin} origin GETs, the oracle needs {}", tally.oracle);
    assert!(ratio(origin, tally.gets) <= 0.07, "{origin} of {} GETs reached the origin", tally.gets);
    assert!(ratio(tally.bytes, tally.bytes_without) <= 0.15, "{} of {} bytes", tally.bytes, tally.bytes_without);
}

/// Without a key to verify tokens with, each caller has to be accepted on each route, and to each item, once a minute.
#[tokio::test]
async fn a_shop_whose_tills_share_by_acceptance_asks_little_more_than_any_correct_cache_must() {
    let (tally, origin) = play(Scope::Authenticated).await;
    assert!(ratio(origin, tally.oracle) <= 1.10, "{origin} origin GETs, the oracle needs {}", tally.oracle);
}
