//! A day at the point of sale: a sample API with no validators, the proxy in front of it, and ten cashiers at work.
//!
//! | part | what it is |
//! |---|---|
//! | [`api`], [`shop`], [`token`] | the sample API, what it knows, whom it answers |
//! | [`day`] | the timetable, and the policy to the same scale |
//! | [`driver`], [`front`] | the cashiers, and what they talk to |
//! | [`ledger`] | every answer held against the true state |
//! | [`oracle`] | how few GETs would have done |
//! | [`tally`] | the numbers, in lines and in a table |

pub mod api;
pub mod day;
pub mod driver;
#[cfg(test)]
mod fixture;
pub mod front;
pub mod ledger;
pub mod oracle;
pub mod seeded;
pub mod shop;
pub mod tally;
pub mod token;

use crate::cli::serve::{self, BUG, CONFIG, Extras, Process, UNAVAILABLE};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Overrides};
use crate::policy::{HostField, Policy, Scope};
use api::Api;
use driver::{Cashiers, Shortened, TENANT};
use front::Server;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tally::{Line, Summary};

/// Run a sample POS API with no validators, the proxy in front of it, and a day of traffic
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where the proxy listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// How many times as fast the day passes
    #[arg(long, value_name = "N", default_value_t = 140, value_parser = clap::value_parser!(u32).range(1..=1000))]
    factor: u32,
    /// How many minutes of the day are played, of 480
    #[arg(long, value_name = "N", default_value_t = 480)]
    minutes: u64,
    /// The same seed gives the same day
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// The rules that the demonstration runs with: those that the documentation teaches.
const POS: &str = include_str!("../../../config/pos.toml");

/// What the sample API signs its tokens with, and the proxy verifies them with.
pub const SECRET: &str = "the demonstration's own secret, no one else's";

/// Runs the day and prints what it came to; fails if any answer was stale, another tenant's, or none.
pub fn run_command(args: &Args) -> ExitCode {
    let secret = |name: &str| (name == "JWT_SECRET").then(|| SECRET.to_owned());
    let mut policy = match config::parse(POS, "config/pos.toml", &Overrides::default(), &secret) {
        Ok(loaded) => loaded.policy,
        Err(errors) => {
            eprint!("{errors}");
            return ExitCode::from(CONFIG);
        }
    };
    if args.listen.port() == 0 {
        policy.admin.listen.set_port(0);
    }
    let options = Options {
        listen: args.listen,
        seed: args.seed,
        factor: args.factor,
        until: Duration::from_secs(args.minutes.saturating_mul(60)),
    };
    let runtime = match serve::runtime(policy.server.threads) {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("The system gave no threads: {error}.");
            return ExitCode::from(UNAVAILABLE);
        }
    };
    let mut out = io::stdout();
    let day = async {
        let told = serve::told_to_stop()?;
        run(options, policy, Arc::new(SystemClock), &mut out, start, told).await
    };
    match runtime.block_on(day) {
        Ok(summary) => {
            print!("\n{summary}");
            if summary.tally.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(BUG) }
        }
        Err(error) => {
            eprintln!("{error}. --listen ADDR names another address.");
            ExitCode::from(UNAVAILABLE)
        }
    }
}

/// Starts the proxy in this process.
async fn start(policy: Policy) -> io::Result<Running> {
    let process = Process::open(policy, Extras::default()).await.map_err(io::Error::other)?;
    let public = process.public().first().copied().ok_or_else(|| io::Error::other("nothing is listened on"))?;
    let running = Running { public, page: format!("http://{}/", process.admin()) };
    let (stop, stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        process.run(stopped).await;
        drop(stop);
    });
    Ok(running)
}

/// How a day is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the proxy listens.
    pub listen: SocketAddr,
    /// The same seed gives the same day.
    pub seed: u64,
    /// How many times as fast the day passes: 140 makes eight hours of three and a half minutes. At least 1.
    pub factor: u32,
    /// How much of the day is played, since opening; [`day::HOURS`] is all of it.
    pub until: Duration,
}

/// Where a proxy that was started can be reached.
#[derive(Clone, Debug)]
pub struct Running {
    /// The bound public address.
    pub public: SocketAddr,
    /// The page to open.
    pub page: String,
}

/// How often a line is printed.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Runs one day, writing lines to `out` as it goes, and returns its numbers; a day that is `told` to stop ends there.
///
/// `policy` is the unshortened one; its origin and listener are replaced. `start_proxy` is given what the proxy is to
/// run with and returns once it listens.
///
/// # Errors
/// The sample API could not be bound, the proxy could not be started, or `out` cannot be written to.
pub async fn run(
    options: Options,
    policy: Policy,
    clock: Arc<dyn Clock>,
    out: &mut (dyn io::Write + Send),
    start_proxy: impl AsyncFnOnce(Policy) -> io::Result<Running>,
    told: impl Future<Output = ()>,
) -> io::Result<Summary> {
    let Options { listen, seed, factor, until } = options;
    let api = Arc::new(Api::new(seed, SECRET.as_bytes(), factor, Arc::clone(&clock)));
    let origin = Arc::clone(&api).serve((Ipv4Addr::LOCALHOST, 0).into()).await?;
    let running = start_proxy(in_front_of(origin, listen, day::scaled(&policy, factor))).await?;
    writeln!(out, "The sample API answers on http://{origin}, the proxy before it on http://{}.", running.public)?;
    writeln!(out, "Open {} to watch.", running.page)?;
    writeln!(out, "{} cashiers, {factor} times as fast, seed {seed}; every answer is checked.\n", day::CASHIERS)?;

    let front = Arc::new(Server::at(running.public));
    let cashiers = Arc::new(Cashiers::new(front, Arc::clone(&api), policy, Scope::Claim("tenant_id".into())));
    let events = day::schedule(seed).into_iter().filter(|event| event.at < until).collect();
    let today = Shortened::open(clock, factor);
    let mut work = pin!(Arc::clone(&cashiers).work_through(events, today.clone()));
    let mut told = pin!(told);
    let mut lines = tokio::time::interval(LINE_EVERY);
    lines.tick().await;
    loop {
        tokio::select! {
            () = &mut work => break,
            () = &mut told => break,
            _ = lines.tick() => {
                writeln!(out, "{}", Line { at: today.time(), tally: cashiers.tally(), origin: api.gets_of(TENANT) })?;
            }
        }
    }
    Ok(Summary { seed, factor, tally: cashiers.tally(), origin: api.gets_of(TENANT), findings: cashiers.findings() })
}

/// `policy` with the sample API behind it.
fn in_front_of(origin: SocketAddr, listen: SocketAddr, mut policy: Policy) -> Policy {
    policy.server.listen = vec![listen];
    policy.origin.tls = false;
    policy.origin.name = origin.ip().to_string();
    policy.origin.port = origin.port();
    policy.origin.path = String::new();
    policy.origin.host = HostField::Client;
    policy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    /// The first minute, so fast that it is over at once, and no proxy: what `start_proxy` is given leads to the API.
    #[tokio::test]
    async fn a_day_runs_from_opening_to_the_table() {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let until = Duration::from_secs(60);
        let options = Options { listen: loopback, seed: 1, factor: 30_000, until };
        let mut out = Vec::new();
        let start = async |policy: Policy| {
            assert_eq!(policy.server.listen, [loopback]);
            let origin: SocketAddr = policy.origin.authority().parse().map_err(io::Error::other)?;
            Ok(Running { public: origin, page: "http://127.0.0.1:9090/".into() })
        };
        let summary = run(options, fixture::pos(), Arc::new(SystemClock), &mut out, start, std::future::pending());
        let summary = summary.await.expect("a day");
        assert_eq!((summary.origin.count, summary.origin.bytes), (summary.tally.gets, summary.tally.bytes));
        assert!(summary.tally.gets > 100 && summary.tally.is_clean(), "{summary}");
        let out = String::from_utf8(out).expect("text");
        assert!(out.contains("Open http://127.0.0.1:9090/ to watch.") && out.contains("seed 1"), "{out}");
    }
}
