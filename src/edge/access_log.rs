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
    /// The names of the query's values, in order.
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
        // What has no name may be a token as a whole, padding of base64 at its end.
        query: query
            .split('&')
            .filter_map(|parameter| parameter.split_once('='))
            .filter(|(_, value)| !value.trim_matches('=').is_empty())
            .map(|(name, _)| name)
            .collect(),
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

    /// Logs one exchange on the route of that name. Where lines were left out before it, because the reader of the log
    /// was too slow, a line says how many.
    pub fn record(&self, exchange: &Exchange, route: &str) {
        let left_out = self.left_out.swap(0, Relaxed);
        let gap = (left_out > 0).then(|| format!(r#"{{"left_out":{left_out}}}"#));
        if gap.into_iter().chain([line(exchange, route)]).any(|line| self.lines.try_send(line).is_err()) {
            self.left_out.fetch_add(left_out + 1, Relaxed);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::sample;
    use crate::pipeline::exchange::MutationRecord;
    use crate::semantics::cache_status::{CacheStatus, Forward, Forwarded};
    use std::sync::{Arc, Mutex};

    #[test]
    fn a_read_is_logged_without_query_values_or_caller() {
        assert_eq!(
            line(&sample::exchange(CacheStatus::Hit { ttl: 12, detail: None }), "categories"),
            concat!(
                r#"{"time":"2026-01-02T10:30:00.217Z","route":"categories","method":"GET","path":"/categories","#,
                r#""query":["token","page"],"status":200,"cache_status":"freshgate; hit; ttl=12","#,
                r#""origin_requests":1,"origin_bytes":100,"sent_bytes":100,"latency_ms":5.0}"#
            )
        );
    }

    #[test]
    fn a_query_that_may_be_a_token_as_a_whole_has_no_names() {
        let mut exchange = sample::exchange(CacheStatus::Hit { ttl: 12, detail: None });
        exchange.target = "/a?c2VjcmV0&c2VjcmV0=&c2VjcmV0==&page=2&filter==".to_owned();
        let line = line(&exchange, "a");
        assert!(line.contains(r#""query":["page"]"#), "{line}");
    }

    #[test]
    fn a_mutation_is_logged_with_its_outcome() {
        let status = CacheStatus::Forward(Forwarded::because(Forward::Method));
        let mutation = Some(MutationRecord { outcome: Outcome::Unknown, invalidated: 2, unrouted: false });
        let line = line(&Exchange { mutation, ..sample::exchange(status) }, "categories");
        assert!(line.ends_with(r#""latency_ms":5.0,"mutation":"unknown"}"#), "{line}");
    }

    /// Keeps what is written, and holds each flush up until it is received.
    #[derive(Clone)]
    struct Kept(Arc<Mutex<Vec<u8>>>, std::sync::mpsc::SyncSender<()>);

    impl Kept {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("nobody panics here").clone()).expect("lines are text")
        }
    }

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("nobody panics here").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            self.1.send(()).map_err(std::io::Error::other)
        }
    }

    #[test]
    fn lines_are_written_in_order_and_flushed() {
        let (told, flushed) = std::sync::mpsc::sync_channel(0);
        let kept = Kept(Arc::default(), told);
        let log = AccessLog::start(kept.clone()).expect("the system gives a thread");
        let exchange = sample::exchange(CacheStatus::Own { detail: None });
        log.record(&exchange, "first");
        flushed.recv().expect("the thread flushes after the first line");
        log.record(&exchange, "second");
        flushed.recv().expect("the thread flushes after the second line");
        let routes: Vec<_> = kept.text().lines().map(|l| l.contains(r#""route":"second""#)).collect();
        assert_eq!(routes, [false, true]);
    }

    #[test]
    fn a_slow_reader_is_told_how_many_lines_it_missed() {
        let (told, flushed) = std::sync::mpsc::sync_channel(0);
        let kept = Kept(Arc::default(), told);
        let log = AccessLog::start(kept.clone()).expect("the system gives a thread");
        let exchange = sample::exchange(CacheStatus::Own { detail: None });
        log.record(&exchange, "");
        while kept.text().is_empty() {
            std::thread::yield_now();
        }
        // The thread is held up until its flush is received, and takes nothing out meanwhile.
        for _ in 0..WAITING + 3 {
            log.record(&exchange, "");
        }
        flushed.recv().expect("the first line was flushed");
        flushed.recv().expect("all that waited was flushed");
        log.record(&exchange, "last");
        flushed.recv().expect("the gap was flushed");
        drop(log);
        drop(flushed);
        let text = kept.text();
        let (before, after) = text.split_at(text.find("left_out").expect("the gap is told"));
        assert_eq!(before.matches("time").count(), 1 + WAITING);
        assert!(after.starts_with("left_out\":3}"), "{after}");
    }
}
