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

use crate::clock::Clock;
use crate::policy::{HostField, Policy, Scope};
use api::Api;
use driver::{Cashiers, Shortened};
use front::Server;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tally::{Line, Summary};

/// How a day is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the proxy listens.
    pub listen: SocketAddr,
    /// The same seed gives the same day.
    pub seed: u64,
    /// How many times as fast the day passes: 140 makes eight hours of three and a half minutes. At least 1.
    pub factor: u32,
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

/// Runs one day, printing lines as it goes, and returns its numbers.
///
/// `policy` is the unshortened one; its origin and listener are replaced. `start_proxy` is given what the proxy is to
/// run with and returns once it listens.
///
/// # Errors
/// The sample API could not be bound, or the proxy could not be started.
pub async fn run(
    options: Options,
    policy: Policy,
    clock: Arc<dyn Clock>,
    start_proxy: impl AsyncFnOnce(Policy) -> io::Result<Running>,
) -> io::Result<Summary> {
    let Options { listen, seed, factor } = options;
    let api = Arc::new(Api::new(seed, b"the demonstration's own secret", factor, Arc::clone(&clock)));
    let origin = Arc::clone(&api).serve((Ipv4Addr::LOCALHOST, 0).into()).await?;
    let running = start_proxy(in_front_of(origin, listen, day::scaled(&policy, factor))).await?;
    println!("The sample API answers on http://{origin}, the proxy in front of it on http://{}.", running.public);
    println!("Open {} to watch.", running.page);
    println!(
        "{} cashiers, 8 hours at {factor} times the speed, seed {seed}; every answer is checked.\n",
        day::CASHIERS
    );

    let front = Arc::new(Server::at(running.public));
    let cashiers = Arc::new(Cashiers::new(front, Arc::clone(&api), policy, Scope::User));
    let today = Shortened::open(clock, factor);
    let work = tokio::spawn(Arc::clone(&cashiers).work_through(day::schedule(seed), today.clone()));
    let mut lines = tokio::time::interval(LINE_EVERY);
    lines.tick().await;
    tokio::pin!(work);
    loop {
        tokio::select! {
            ended = &mut work => break ended.map_err(io::Error::other)?,
            _ = lines.tick() => {
                println!("{}", Line { at: today.time(), tally: cashiers.tally(), origin: api.all_gets() });
            }
        }
    }
    let (tally, findings) = (cashiers.tally(), cashiers.findings());
    Ok(Summary { seed, factor, tally, origin: api.all_gets(), findings })
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
