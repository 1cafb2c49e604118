//! h2load, the generator of nghttp2, for whatever is asked for again and again: what it is told, and what it found.

use super::client::{ACCEPT, HOST};
use super::percentile;
use super::server::{BENEATH, load_core};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 with keep-alive, one request at a time on each connection.
    Http1,
    /// HTTP/2 without TLS, several streams on each connection.
    Http2,
}

/// Connections of HTTP/1.1, where a row has no number of its own.
pub const CLIENTS: usize = 32;
/// Connections of HTTP/2, and streams on each.
pub const SESSIONS: [usize; 2] = [8, 8];

/// A load.
pub struct Load<'a> {
    pub protocol: Protocol,
    pub address: SocketAddr,
    /// Of HTTP/1.1.
    pub connections: usize,
    pub path: &'a str,
    /// Field lines of each request.
    pub lines: &'a [String],
    pub requests: usize,
}

/// What it found.
#[derive(Debug)]
pub struct Found {
    pub per_second: f64,
    pub p50: f64,
    pub p99: f64,
    /// How many answers were 2xx, 3xx, and anything else.
    pub statuses: [usize; 3],
    /// Octets of content, all answers together.
    pub content: usize,
}

/// Offers a load; whatever did not get an answer is an error.
pub fn run(load: &Load<'_>, folder: &Path) -> Result<Found, String> {
    let log = folder.join("h2load.log");
    let _ = fs::remove_file(&log);
    let [clients, streams] = if load.protocol == Protocol::Http1 { [load.connections, 1] } else { SESSIONS };
    let core = load_core();
    let mut command = Command::new(BENEATH[0]);
    command.args(&BENEATH[1..]).args(["timeout", "120", "taskset", "-c", &core, "h2load", "-t1"]);
    command.arg(format!("-n{}", load.requests)).arg(format!("-c{clients}")).arg(format!("-m{streams}"));
    if load.protocol == Protocol::Http1 {
        command.arg("--h1");
    }
    // The same Host for every protocol and generator, since it is in the key.
    let lines = [format!(":authority: {HOST}"), ACCEPT.to_owned()];
    for line in lines.iter().chain(load.lines) {
        command.arg("-H").arg(line);
    }
    command.arg("--log-file").arg(&log).arg(format!("http://{}{}", load.address, load.path));
    let said = command.stdin(Stdio::null()).output().map_err(|problem| format!("h2load: {problem}"))?;
    let said = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    let found = read(&said, load.requests).ok_or_else(|| format!("h2load did not end well:\n{said}"));
    let (p50, p99) = latencies(&log)?;
    found.map(|found| Found { p50, p99, ..found })
}

/// Its report.
fn read(said: &str, requests: usize) -> Option<Found> {
    let line = |name: &str| said.lines().find_map(|line| line.strip_prefix(name));
    let before = |text: &str, word: &str| -> Option<usize> {
        let words: Vec<&str> = text.split([' ', ',', '(', ')']).filter(|word| !word.is_empty()).collect();
        let place = words.iter().position(|other| *other == word)?;
        words.get(place.checked_sub(1)?)?.parse().ok()
    };
    let per_second = line("finished in ")?.split([' ', ',']).find_map(|word| word.parse().ok())?;
    let counts = line("requests: ")?;
    let of = |word| before(counts, word);
    if of("done")? != requests || of("errored")? != 0 || of("timeout")? != 0 {
        return None;
    }
    let codes = line("status codes: ")?;
    let statuses = [before(codes, "2xx")?, before(codes, "3xx")?, before(codes, "4xx")? + before(codes, "5xx")?];
    let content = before(line("traffic: ")?, "data")?;
    Some(Found { per_second, p50: f64::NAN, p99: f64::NAN, statuses, content })
}

/// Each line of its log: when, the status, microseconds.
fn latencies(log: &Path) -> Result<(f64, f64), String> {
    let text = fs::read_to_string(log).map_err(|problem| format!("h2load's log: {problem}"))?;
    let mut all: Vec<f64> = text.lines().filter_map(|line| line.split('\t').nth(2)?.parse().ok()).collect();
    let _ = fs::remove_file(log);
    Ok((percentile(&mut all, 0.5), percentile(&mut all, 0.99)))
}

/// So long nothing is offered between two loads, so that what the first one left is done.
pub fn rest() {
    thread::sleep(Duration::from_millis(150));
}
