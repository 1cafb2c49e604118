//! The access log: one line of JSON per exchange, on demand.
//!
//! A line holds no credential, no hash of a caller, and of a query only the names: values may be tokens.

use crate::pipeline::exchange::{Exchange, Outcome};
use serde::Serialize;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// How many lines may wait for a slow reader of the log before lines are left out.
const WAITING: usize = 8192;

/// One exchange, as it is logged.
#[derive(Debug, Serialize)]
struct Line<'e> {
    /// RFC 3339, UTC, milliseconds: when the head of the request had been read.
    time: String,
    route: &'e str,
    method: &'e str,
    path: &'e str,
    /// The names in the query, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    query: Vec<&'e str>,
    status: u16,
    cache_status: String,
    origin_requests: u32,
    origin_bytes: u64,
    sent_bytes: u64,
    latency_ms: f64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    background: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    mutation: Option<&'static str>,
}

/// The line of an exchange on the route of that name, without its line end.
pub fn line(exchange: &Exchange, route: &str) -> String {
    let (path, query) = exchange.target.split_once('?').unwrap_or((&exchange.target, ""));
    let time = jiff::Timestamp::from_millisecond(exchange.at.wall_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let line = Line {
        time: format!("{time:.3}"),
        route,
        method: &exchange.method,
        path,
        query: query.split('&').map(|p| p.split_once('=').map_or(p, |(n, _)| n)).filter(|n| !n.is_empty()).collect(),
        status: exchange.status,
        cache_status: exchange.cache_status.to_string(),
        origin_requests: exchange.origin_requests,
        origin_bytes: exchange.origin_bytes,
        sent_bytes: exchange.sent_bytes,
        latency_ms: exchange.latency.as_secs_f64() * 1000.0,
        background: exchange.background,
        mutation: exchange.mutation.as_ref().map(|m| match m.outcome {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Accepted => "accepted",
            Outcome::Unknown => "unknown",
        }),
    };
    serde_json::to_string(&line).expect("a line has only text and numbers")
}

/// Writes lines on a thread of its own, so that a slow reader never slows an exchange; what does not fit is counted.
#[derive(Debug)]
pub struct AccessLog {
    lines: SyncSender<String>,
    left_out: AtomicU64,
}

impl AccessLog {
    /// Starts the thread; it ends when the log is dropped or `to` fails.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start(to: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || write(&waiting, to))?;
        Ok(AccessLog { lines, left_out: AtomicU64::new(0) })
    }

    /// Logs one exchange on the route of that name.
    pub fn record(&self, exchange: &Exchange, route: &str) {
        if self.lines.try_send(line(exchange, route)).is_err() {
            self.left_out.fetch_add(1, Relaxed);
        }
    }

    /// How many lines were left out because the reader of the log was too slow, or gone.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Relaxed)
    }
}

/// Writes what is there, and flushes whenever nothing more waits.
fn write(waiting: &Receiver<String>, to: impl Write) {
    let mut to = std::io::BufWriter::new(to);
    while let Ok(first) = waiting.recv() {
        let mut lines = std::iter::once(first).chain(waiting.try_iter());
        if lines.try_for_each(|line| writeln!(to, "{line}")).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}
