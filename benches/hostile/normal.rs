//! Normal load: so many requests a second, whatever becomes of them (an open loop). A latency counts from the time at which
//! its request was due, so that waiting in line is part of it.

use crate::wire::{Connection, request};
use rustix::time::{ClockId, clock_gettime};
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// Requests a second, of all clients.
pub const RATE: u64 = 1000;
/// Clients, each on a connection of its own.
const CLIENTS: u64 = 16;
/// Of so many requests one is for what nobody has asked for, and one is its client's first on a new connection.
pub const ONE_IN: u64 = 20;
/// What is stored of the rest.
const STORED: u64 = 200;
/// A client that waits longer than this has not been served; nor has one whose turn has not come so long after the end.
const BOUND: Duration = Duration::from_secs(2);

/// Latencies in microseconds.
#[derive(Clone, Default)]
pub struct Sample {
    /// Of all requests, and of the hits among them that came on connections that stood; shortest first.
    pub all: Latencies,
    pub hits: Latencies,
    /// Requests that got no answer, or another than 200; what they waited is among the latencies.
    pub failed: usize,
}

/// Shortest first.
#[derive(Clone, Default)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    /// The one that so many in a thousand are not above.
    pub fn quantile(&self, per_mille: usize) -> f64 {
        let Latencies(took) = self;
        took.get(took.len().saturating_sub(1) * per_mille / 1000).map_or(f64::NAN, |took| *took as f64)
    }
}

impl Sample {
    /// All of these together.
    pub fn of<'s>(samples: impl Iterator<Item = &'s Sample>) -> Sample {
        let mut together = Sample::default();
        for Sample { all, hits, failed } in samples {
            together.all.0.extend(&all.0);
            together.hits.0.extend(&hits.0);
            together.failed += failed;
        }
        together.all.0.sort_unstable();
        together.hits.0.sort_unstable();
        together
    }

    fn note(&mut self, number: u64, took: Duration, answered: bool) {
        let took = took.as_micros().try_into().expect("no load lasts so long");
        self.all.0.push(took);
        if !is_new(number) && !reconnects(number) {
            self.hits.0.push(took);
        }
        self.failed += usize::from(!answered);
    }
}

/// Time that only runs forwards, finer than the one that decisions are made by.
fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs().try_into().expect("less than a second"))
}

/// Asks for everything that is meant to be stored once.
pub fn warm(address: SocketAddr) -> io::Result<()> {
    let mut connection = open(address)?;
    (0..STORED).try_for_each(|n| exchange(&mut connection, &stored(n)))
}

/// Runs the load for so long.
pub fn run(address: SocketAddr, length: Duration) -> Sample {
    let begin = now() + Duration::from_millis(50);
    let clients: Vec<_> =
        (0..CLIENTS).map(|client| thread::spawn(move || ask(address, client, begin, length))).collect();
    let each: Vec<Sample> =
        clients.into_iter().map(|client| client.join().expect("a client counts what fails")).collect();
    Sample::of(each.iter())
}

fn ask(address: SocketAddr, client: u64, begin: Duration, length: Duration) -> Sample {
    let mut sample = Sample::default();
    let mut connection = open(address);
    for turn in 0.. {
        let number = turn * CLIENTS + client;
        let due = Duration::from_nanos(number * 1_000_000_000 / RATE);
        if due >= length {
            break;
        }
        thread::sleep((begin + due).saturating_sub(now()));
        if now() > begin + length + BOUND {
            sample.note(number, now() - begin - due, false);
            continue;
        }
        let path = if is_new(number) { unheard_of() } else { stored(number) };
        if reconnects(number) {
            connection = open(address);
        }
        let answered = connection.as_mut().is_ok_and(|connection| exchange(connection, &path).is_ok());
        sample.note(number, now() - begin - due, answered);
        if !answered {
            connection = open(address);
        }
    }
    sample
}

/// Whether the request of this number is for what nobody has asked for.
fn is_new(number: u64) -> bool {
    number % ONE_IN == 7
}

/// Whether it comes on a new connection.
fn reconnects(number: u64) -> bool {
    number % ONE_IN == 13
}

fn open(address: SocketAddr) -> io::Result<Connection> {
    let stream = TcpStream::connect_timeout(&address, BOUND)?;
    let connection = Connection::of(stream);
    connection.reader.get_ref().set_read_timeout(Some(BOUND))?;
    Ok(connection)
}

/// One request and its answer.
fn exchange(connection: &mut Connection, path: &str) -> io::Result<()> {
    connection.reader.get_mut().write_all(request(&format!("GET {path}"), &[], "").as_bytes())?;
    let answer = connection.try_response()?;
    if answer.status() == 200 { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
}

fn stored(number: u64) -> String {
    format!("/a/{}", number % STORED)
}

/// A path that nobody has asked for.
fn unheard_of() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("/a/new-{}", NEXT.fetch_add(1, Relaxed))
}
