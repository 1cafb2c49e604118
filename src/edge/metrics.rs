//! The numbers: counted per route out of the record of each exchange and nothing else, shown as JSON and to Prometheus.
//!
//! Each counter is defined once, in a table here, with the sentence that explains it everywhere.

use super::advice::{self, Advice};
use super::connections::Connections;
use super::latency::{Latency, Measured};
use super::learn::learned_path;
use crate::clock::Timestamp;
use crate::pipeline::exchange::{Exchange, MutationRecord, Outcome};
use crate::policy::Routes;
use crate::semantics::cache_status::{CacheStatus, Detail, Forward};
use prometheus::proto::{self, MetricFamily, MetricType};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What was counted of one route, or of all of them.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Counts { $($(#[doc = $doc])+ pub $name: u64,)+ }

        /// The same, still counting.
        #[derive(Debug, Default)]
        struct Counters { $($name: AtomicU64,)+ }

        impl Counters {
            fn read(&self) -> Counts {
                Counts { $($name: self.$name.load(Relaxed),)+ }
            }
        }

        impl Counts {
            fn add(&mut self, other: &Counts) {
                $(self.$name += other.$name;)+
            }
        }

        /// Every counter: its name, its sentence, and how it is read.
        pub const COUNTERS: &[(&str, &str, fn(&Counts) -> u64)] =
            &[$((stringify!($name), concat!($($doc),+).trim_ascii(), |c| c.$name),)+];
    };
}

counters! {
    /// Requests that clients sent.
    requests,
    /// Requests that clients sent and that were no mutations; the hit rate is hits out of these.
    reads,
    /// Reads answered from the store, fresh or stale, with a body or with 304.
    hits,
    /// Reads answered with 304.
    not_modified,
    /// Reads answered from the store after its freshness had ended.
    stale,
    /// Reads that were handed the answer to another client's fetch.
    collapsed,
    /// Fetches that brought what was stored already, those in the background included.
    unchanged,
    /// Fetches that no client waited for.
    background,
    /// Requests that the origin was sent, those in the background included.
    origin_requests,
    /// Bytes of body that the origin sent.
    origin_bytes,
    /// Bytes of body that clients were sent.
    bytes_served,
    /// Bytes of body that clients were spared by a 304.
    bytes_saved,
    /// Bytes of body that the origin was spared: of what clients asked for, what it did not send.
    origin_bytes_saved,
    /// Mutations that match no route.
    unrouted,
    /// Mutations that were not refused and yet invalidated nothing.
    fruitless,
}

/// The families with a second label, for Prometheus: name, label, sentence.
const MISSES: (&str, &str, &str) = ("misses", "reason", "Requests that were forwarded, by the reason (RFC 9211 §2.2).");
const DETAILS: (&str, &str, &str) =
    ("details", "detail", "Requests whose answer carried a detail (RFC 9211 §2.8); only those that occurred.");
const MUTATIONS: (&str, &str, &str) = ("mutations", "outcome", "Mutations, by how they ended.");
const RESPONSES: (&str, &str, &str) = ("responses", "class", "Final responses that clients were sent, by class.");
const REFUSED: (&str, &str, &str) =
    ("refused", "status", "Requests that the proxy refused or had no room for, by status; only those that occurred.");
const CONNECTIONS: (&str, &str, &str) = ("connections", "event", "Connections of clients, by what became of them.");

/// Every status that a request is refused with.
const REFUSALS: [(u16, &str); 13] = [
    (400, "400"),
    (405, "405"),
    (408, "408"),
    (413, "413"),
    (414, "414"),
    (417, "417"),
    (421, "421"),
    (431, "431"),
    (500, "500"),
    (501, "501"),
    (503, "503"),
    (505, "505"),
    (508, "508"),
];

const OUTCOMES: [(Outcome, &str); 4] = [
    (Outcome::Done, "done"),
    (Outcome::Refused, "refused"),
    (Outcome::Accepted, "accepted"),
    (Outcome::Unknown, "unknown"),
];

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The name under which all routes together are shown.
pub const TOTAL: &str = "total";

/// A fixed number of counters, chosen by position.
#[derive(Debug)]
struct Slots<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Slots<N> {
    fn default() -> Self {
        Slots([const { AtomicU64::new(0) }; N])
    }
}

impl<const N: usize> Slots<N> {
    fn count(&self, slot: usize) {
        self.0[slot].fetch_add(1, Relaxed);
    }

    /// Those that are not zero, by name.
    fn read(&self, name: impl Fn(usize) -> &'static str) -> BTreeMap<String, u64> {
        let counts = self.0.iter().map(|n| n.load(Relaxed)).enumerate();
        counts.filter(|(_, n)| *n > 0).map(|(slot, n)| (name(slot).to_owned(), n)).collect()
    }
}

/// Every counter of one route, as one of the shards counts it. No two shards meet in a cache line, which would go to and fro
/// between the processors with every request.
#[derive(Debug, Default)]
#[repr(align(128))]
struct RouteMetrics {
    counters: Counters,
    misses: Slots<{ Forward::ALL.len() }>,
    details: Slots<{ Detail::ALL.len() }>,
    mutations: Slots<{ OUTCOMES.len() }>,
    statuses: Slots<{ CLASSES.len() }>,
    refused: Slots<{ REFUSALS.len() }>,
    latency: Latency,
}

/// Every counter of every route.
#[derive(Debug)]
pub struct Metrics {
    started: Timestamp,
    /// By route, in as many shards as there are processors.
    routes: Vec<(String, Box<[RouteMetrics]>)>,
    /// The origin's URL, where there is no file that advice could be put into.
    without_file: Option<String>,
    /// Mutations that match no route or invalidated nothing, by method and learned path: at most [`MAX_UNMATCHED`].
    unmatched: Mutex<BTreeMap<(String, String), u64>>,
    /// What no exchange tells.
    pub connections: Arc<Connections>,
}

/// How many of the mutations that match no route, or invalidated nothing, are told apart.
const MAX_UNMATCHED: usize = 50;

impl Metrics {
    /// All zero, with a slot for each of `routes`.
    pub fn new(routes: &Routes, started: Timestamp) -> Self {
        let shards = std::thread::available_parallelism().map_or(1, |processors| processors.get().min(MAX_SHARDS));
        let sharded = || (0..shards).map(|_| RouteMetrics::default()).collect();
        let routes = routes.iter().map(|r| (r.name.clone(), sharded())).collect();
        Metrics { started, routes, without_file: None, unmatched: Mutex::default(), connections: Arc::default() }
    }

    /// Advises in whole files, for an origin at this URL.
    #[must_use]
    pub fn without_a_file(self, origin: String) -> Self {
        Metrics { without_file: Some(origin), ..self }
    }

    /// Counts one exchange. Takes no lock, except for a mutation that matches no route or invalidated nothing.
    pub fn record(&self, exchange: &Exchange) {
        // A route that is not among those of the start has no slot and goes uncounted rather than miscounted.
        if let Some((_, shards)) = self.routes.get(usize::from(exchange.route.0)) {
            shards[own_shard(shards.len())].record(exchange);
        }
        if exchange.mutation.as_ref().is_some_and(|m| m.unrouted || is_fruitless(m)) {
            let mutation = (exchange.method.clone(), learned_path(&exchange.target));
            let mut unmatched = self.unmatched.lock().expect("no holder of this lock panics");
            if unmatched.len() < MAX_UNMATCHED || unmatched.contains_key(&mutation) {
                *unmatched.entry(mutation).or_default() += 1;
            }
        }
    }

    /// Everything that was counted up to `now`; `routes` are those that this was made with.
    pub fn stats(&self, routes: &Routes, store: StoreFigures, now: Timestamp) -> Stats {
        let (mut total, mut latency) = (RouteStats::named(TOTAL), Measured::default());
        let mut shown = Vec::with_capacity(self.routes.len());
        for ((name, shards), route) in self.routes.iter().zip(routes.iter()) {
            let measured = measured(shards);
            let mut stats = read(name, shards, &measured);
            stats.advice = advice::advice(&stats, route, self.without_file.as_deref());
            total.add(&stats);
            latency.add(&measured);
            shown.push(stats);
        }
        total.latency_ms = Percentiles::of(&latency);
        let sentences = Detail::ALL.iter().filter(|d| total.details.contains_key(d.as_str()));
        Stats {
            uptime_seconds: now.since(self.started).as_secs(),
            store,
            sentences: sentences.map(|d| (d.as_str().to_owned(), d.sentence().to_owned())).collect(),
            total,
            routes: shown,
            unmatched: self.unmatched(),
            connections: self.connections.read(),
        }
    }

    fn unmatched(&self) -> Vec<Unmatched> {
        let unmatched = self.unmatched.lock().expect("no holder of this lock panics");
        let mutation = |((method, path), times): (&(String, String), &u64)| Unmatched {
            method: method.clone(),
            path: path.clone(),
            times: *times,
        };
        unmatched.iter().map(mutation).collect()
    }

    /// The same in Prometheus' text format. Labels are route names out of the configuration and closed lists.
    pub fn prometheus(&self, store: StoreFigures, now: Timestamp) -> String {
        let stats: Vec<_> =
            self.routes.iter().map(|(name, m)| (name, read(name, m, &Measured::default()), measured(m))).collect();
        let one = |(name, sentence, read): &(&str, &str, fn(&Counts) -> u64)| {
            let metrics = stats.iter().map(|(route, s, _)| counter(&[("route", route)], read(&s.counts)));
            family(format!("{name}_total"), sentence, MetricType::COUNTER, metrics.collect())
        };
        let labelled = |(name, label, sentence): (&str, &str, &str), of: fn(&RouteStats) -> &BTreeMap<String, u64>| {
            let metrics = stats.iter().flat_map(|(route, s, _)| {
                of(s).iter().map(move |(value, n)| counter(&[("route", route), (label, value)], *n))
            });
            family(format!("{name}_total"), sentence, MetricType::COUNTER, metrics.collect())
        };
        let mut families: Vec<_> = COUNTERS.iter().map(one).collect();
        families.push(labelled(MISSES, |s| &s.misses));
        families.push(labelled(DETAILS, |s| &s.details));
        families.push(labelled(MUTATIONS, |s| &s.mutations));
        families.push(labelled(RESPONSES, |s| &s.statuses));
        families.push(labelled(REFUSED, |s| &s.refused));
        let (name, label, sentence) = CONNECTIONS;
        let connections = self.connections.read();
        let connections = connections.iter().map(|(event, n)| counter(&[(label, event)], *n)).collect();
        families.push(family(format!("{name}_total"), sentence, MetricType::COUNTER, connections));
        families.push(family(
            "latency_seconds".to_owned(),
            "From the head of a request to the last byte of its answer.",
            MetricType::HISTOGRAM,
            stats.iter().map(|(route, _, measured)| histogram(route, measured)).collect(),
        ));
        families.extend([
            gauge("uptime_seconds", "Since the process began to count.", now.since(self.started).as_secs()),
            gauge("store_bytes", "What the store holds: bodies, fields, keys, bookkeeping.", store.bytes),
            gauge("store_entries", "How many responses are stored.", store.entries),
            gauge("store_memory_bytes", "How many bytes the store may hold: cache.memory.", store.memory),
        ]);
        // An empty family has no line to show and is an error to the encoder.
        families.retain(|f| !f.get_metric().is_empty());
        prometheus::TextEncoder::new().encode_to_string(&families).expect("the families above are well formed")
    }
}

/// More processors than this share their counters.
const MAX_SHARDS: usize = 8;

/// Which of so many shards this thread counts in.
fn own_shard(shards: usize) -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! { static NUMBER: usize = THREADS.fetch_add(1, Relaxed) }
    NUMBER.with(|number| number % shards)
}

/// What all shards of a route counted together.
fn read(name: &str, shards: &[RouteMetrics], measured: &Measured) -> RouteStats {
    let mut stats = RouteStats::named(name);
    shards.iter().for_each(|shard| stats.add(&shard.read()));
    RouteStats { latency_ms: Percentiles::of(measured), ..stats }
}

fn measured(shards: &[RouteMetrics]) -> Measured {
    let mut all = Measured::default();
    shards.iter().for_each(|shard| all.add(&shard.latency.read()));
    all
}

impl RouteMetrics {
    fn record(&self, exchange: &Exchange) {
        let c = &self.counters;
        c.origin_requests.fetch_add(u64::from(exchange.origin_requests), Relaxed);
        c.origin_bytes.fetch_add(exchange.origin_bytes, Relaxed);
        if detail_of(exchange.cache_status) == Some(Detail::Unchanged) {
            c.unchanged.fetch_add(1, Relaxed);
        }
        if exchange.background {
            c.background.fetch_add(1, Relaxed);
            return;
        }
        c.requests.fetch_add(1, Relaxed);
        c.bytes_served.fetch_add(exchange.sent_bytes, Relaxed);
        self.statuses.count(usize::from((exchange.status / 100).clamp(1, 5) - 1));
        self.latency.record(exchange.latency);
        if let CacheStatus::Forward(forwarded) = exchange.cache_status {
            self.misses.count(forwarded.reason as usize);
        }
        if let Some(detail) = detail_of(exchange.cache_status) {
            self.details.count(detail as usize);
            if matches!(detail, Detail::Refused | Detail::Saturated)
                && let Some(slot) = REFUSALS.iter().position(|(status, _)| *status == exchange.status)
            {
                self.refused.count(slot);
            }
        }
        match &exchange.mutation {
            Some(mutation) => self.record_mutation(mutation),
            None => self.record_read(exchange),
        }
    }

    fn record_read(&self, exchange: &Exchange) {
        let c = &self.counters;
        c.reads.fetch_add(1, Relaxed);
        match exchange.cache_status {
            CacheStatus::Hit { ttl, .. } => {
                c.hits.fetch_add(1, Relaxed);
                c.stale.fetch_add(u64::from(ttl < 0), Relaxed);
            }
            CacheStatus::Forward(forwarded) => {
                c.collapsed.fetch_add(u64::from(forwarded.collapsed), Relaxed);
            }
            CacheStatus::Own { .. } => {}
        }
        if exchange.status == 304 {
            c.not_modified.fetch_add(1, Relaxed);
        }
        // The answer to a HEAD has no body, so nobody is spared one.
        if exchange.method == "GET" {
            c.origin_bytes_saved.fetch_add(exchange.content_length.saturating_sub(exchange.origin_bytes), Relaxed);
            if exchange.status == 304 {
                c.bytes_saved.fetch_add(exchange.content_length.saturating_sub(exchange.sent_bytes), Relaxed);
            }
        }
    }

    fn record_mutation(&self, mutation: &MutationRecord) {
        if let Some(slot) = OUTCOMES.iter().position(|(outcome, _)| *outcome == mutation.outcome) {
            self.mutations.count(slot);
        }
        self.counters.unrouted.fetch_add(u64::from(mutation.unrouted), Relaxed);
        self.counters.fruitless.fetch_add(u64::from(is_fruitless(mutation)), Relaxed);
    }

    /// What it counted, latency apart.
    fn read(&self) -> RouteStats {
        RouteStats {
            counts: self.counters.read(),
            misses: self.misses.read(|slot| Forward::ALL[slot].as_str()),
            details: self.details.read(|slot| Detail::ALL[slot].as_str()),
            mutations: self.mutations.read(|slot| OUTCOMES[slot].1),
            statuses: self.statuses.read(|slot| CLASSES[slot]),
            refused: self.refused.read(|slot| REFUSALS[slot].1),
            ..RouteStats::default()
        }
    }
}

fn is_fruitless(mutation: &MutationRecord) -> bool {
    mutation.outcome != Outcome::Refused && mutation.invalidated == 0
}

fn detail_of(status: CacheStatus) -> Option<Detail> {
    match status {
        CacheStatus::Hit { detail, .. } | CacheStatus::Own { detail } => detail,
        CacheStatus::Forward(forwarded) => forwarded.detail,
    }
}

/// What `/stats` answers. Members may be added; none is renamed or taken away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    pub uptime_seconds: u64,
    pub store: StoreFigures,
    /// All routes together; no advice.
    pub total: RouteStats,
    /// In file order, the one for paths that no route names last.
    pub routes: Vec<RouteStats>,
    /// Mutations that match no route, or invalidated nothing; at most 50 are told apart.
    pub unmatched: Vec<Unmatched>,
    /// Connections of clients, by what became of them.
    #[serde(default)]
    pub connections: BTreeMap<String, u64>,
    /// A sentence for each detail that occurred.
    pub sentences: BTreeMap<String, String>,
}

/// A mutation whose effect no route describes: what it changes may be read stale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmatched {
    pub method: String,
    /// As learned, such as `/products/{id}/adjust`.
    pub path: String,
    pub times: u64,
}

/// How full the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreFigures {
    /// Bytes held now.
    pub bytes: u64,
    /// Responses stored now.
    pub entries: u64,
    /// Bytes that may be held: `cache.memory`.
    pub memory: u64,
}

/// The numbers of one route. In the maps, what is zero is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteStats {
    pub route: String,
    #[serde(flatten)]
    pub counts: Counts,
    /// Requests forwarded, by reason.
    pub misses: BTreeMap<String, u64>,
    /// Requests by detail of their answer.
    pub details: BTreeMap<String, u64>,
    /// Mutations by outcome.
    pub mutations: BTreeMap<String, u64>,
    /// Final responses by class, such as `2xx`.
    pub statuses: BTreeMap<String, u64>,
    /// Requests that the proxy refused or had no room for, by status.
    #[serde(default)]
    pub refused: BTreeMap<String, u64>,
    pub latency_ms: Percentiles,
    /// Why the hit rate is low, and what changes it.
    pub advice: Option<Advice>,
}

impl RouteStats {
    fn named(route: &str) -> Self {
        RouteStats { route: route.to_owned(), ..RouteStats::default() }
    }

    fn add(&mut self, other: &RouteStats) {
        self.counts.add(&other.counts);
        for (mine, more) in [
            (&mut self.misses, &other.misses),
            (&mut self.details, &other.details),
            (&mut self.mutations, &other.mutations),
            (&mut self.statuses, &other.statuses),
            (&mut self.refused, &other.refused),
        ] {
            more.iter().for_each(|(name, n)| *mine.entry(name.clone()).or_default() += n);
        }
    }
}

/// Latency in milliseconds that 50, 90 and 99 of 100 answers did not exceed; null where there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
}

impl Percentiles {
    fn of(measured: &Measured) -> Self {
        Percentiles {
            p50: measured.percentile_ms(50),
            p90: measured.percentile_ms(90),
            p99: measured.percentile_ms(99),
        }
    }
}

fn labels(labels: &[(&str, &str)]) -> Vec<proto::LabelPair> {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are f64: exact up to 2^53")]
fn counter(with: &[(&str, &str)], value: u64) -> proto::Metric {
    let (mut metric, mut counter) = (proto::Metric::from_label(labels(with)), proto::Counter::default());
    counter.set_value(value as f64);
    metric.set_counter(counter);
    metric
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are f64: exact up to 2^53")]
fn gauge(name: &str, sentence: &str, value: u64) -> MetricFamily {
    let mut gauge = proto::Gauge::default();
    gauge.set_value(value as f64);
    family(name.to_owned(), sentence, MetricType::GAUGE, vec![proto::Metric::from_gauge(gauge)])
}

fn histogram(route: &str, measured: &Measured) -> proto::Metric {
    let bucket = |(bound, below): (f64, u64)| {
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(below);
        bucket
    };
    let (mut metric, mut histogram) =
        (proto::Metric::from_label(labels(&[("route", route)])), proto::Histogram::default());
    histogram.set_bucket(measured.cumulative().map(bucket).collect());
    histogram.set_sample_count(measured.count());
    histogram.set_sample_sum(measured.sum_seconds());
    metric.set_histogram(histogram);
    metric
}

fn family(name: String, sentence: &str, kind: MetricType, metrics: Vec<proto::Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(format!("freshgate_{name}"));
    family.set_help(sentence.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::sample;
    use crate::semantics::cache_status::Forwarded;
    use std::time::Duration;

    const START: Timestamp = Timestamp { wall_ms: 0, boot_ms: 0 };
    const STORE: StoreFigures = StoreFigures { bytes: 10, entries: 2, memory: 100 };
    const HIT: CacheStatus = CacheStatus::Hit { ttl: 5, detail: None };

    fn forward(reason: Forward, detail: Option<Detail>) -> CacheStatus {
        CacheStatus::Forward(Forwarded { detail, ..Forwarded::because(reason) })
    }

    fn mutation(outcome: Outcome, invalidated: usize, unrouted: bool) -> Exchange {
        let mutation = Some(MutationRecord { outcome, invalidated, unrouted });
        Exchange {
            method: "PUT".to_owned(),
            mutation,
            content_length: 0,
            ..sample::exchange(forward(Forward::Method, None))
        }
    }

    fn metrics_of(exchanges: &[Exchange]) -> Metrics {
        let metrics = Metrics::new(&sample::routes(), START);
        exchanges.iter().for_each(|e| metrics.record(e));
        metrics
    }

    fn stats_of(exchanges: &[Exchange]) -> Stats {
        metrics_of(exchanges).stats(&sample::routes(), STORE, START + Duration::from_secs(7))
    }

    /// One exchange moves exactly these counters, besides the three that every request from a client moves.
    #[track_caller]
    fn check(exchange: &Exchange, expected: &[(&str, u64)]) {
        let stats = stats_of(std::slice::from_ref(exchange));
        let counts = &stats.routes[0].counts;
        let moved = COUNTERS.iter().map(|(name, _, read)| (*name, read(counts)));
        let moved: Vec<_> = moved.filter(|(name, n)| *n > 0 && !["requests", "bytes_served"].contains(name)).collect();
        assert_eq!(moved, expected);
        assert_eq!(stats.total.counts, *counts, "the total is the sum of the routes");
    }

    #[test]
    fn a_miss() {
        let miss = sample::exchange(forward(Forward::UriMiss, None));
        check(&miss, &[("reads", 1), ("origin_requests", 1), ("origin_bytes", 100)]);
    }

    #[test]
    fn a_hit_spares_the_origin_and_a_304_the_client() {
        let hit = Exchange { origin_requests: 0, origin_bytes: 0, ..sample::exchange(HIT) };
        check(&hit, &[("reads", 1), ("hits", 1), ("origin_bytes_saved", 100)]);
        let not_modified = Exchange { status: 304, sent_bytes: 0, ..hit.clone() };
        let both = [("reads", 1), ("hits", 1), ("not_modified", 1), ("bytes_saved", 100), ("origin_bytes_saved", 100)];
        check(&not_modified, &both);
        let head = Exchange { method: "HEAD".to_owned(), sent_bytes: 0, ..hit.clone() };
        check(&head, &[("reads", 1), ("hits", 1)]);
        let stale = Exchange { cache_status: CacheStatus::Hit { ttl: -1, detail: None }, ..hit };
        check(&stale, &[("reads", 1), ("hits", 1), ("stale", 1), ("origin_bytes_saved", 100)]);
    }

    #[test]
    fn a_304_after_a_fetch_spares_the_client_alone() {
        let fetched = sample::exchange(forward(Forward::UriMiss, None));
        let not_modified = Exchange { status: 304, sent_bytes: 0, ..fetched };
        let expected =
            [("reads", 1), ("not_modified", 1), ("origin_requests", 1), ("origin_bytes", 100), ("bytes_saved", 100)];
        check(&not_modified, &expected);
    }

    #[test]
    fn a_collapsed_follower() {
        let status = CacheStatus::Forward(Forwarded { collapsed: true, ..Forwarded::because(Forward::UriMiss) });
        let follower = Exchange { origin_requests: 0, origin_bytes: 0, ..sample::exchange(status) };
        check(&follower, &[("reads", 1), ("collapsed", 1), ("origin_bytes_saved", 100)]);
    }

    #[test]
    fn a_background_refresh_is_no_request() {
        let status = forward(Forward::Stale, Some(Detail::Unchanged));
        let refresh = Exchange { background: true, ..sample::exchange(status) };
        let stats = stats_of(std::slice::from_ref(&refresh));
        assert_eq!((stats.total.counts.requests, stats.total.latency_ms.p50), (0, None));
        check(&refresh, &[("unchanged", 1), ("background", 1), ("origin_requests", 1), ("origin_bytes", 100)]);
    }

    #[test]
    fn mutations() {
        let origin = [("origin_requests", 1), ("origin_bytes", 100)];
        check(&mutation(Outcome::Done, 2, false), &origin);
        check(&mutation(Outcome::Refused, 0, false), &origin);
        check(&mutation(Outcome::Unknown, 0, false), &[origin[0], origin[1], ("fruitless", 1)]);
        check(&mutation(Outcome::Done, 1, true), &[origin[0], origin[1], ("unrouted", 1)]);
    }

    #[test]
    fn mutations_that_no_route_names_are_listed_and_bounded() {
        let on = |target: String, mutation: Exchange| Exchange { target, ..mutation };
        let stats = stats_of(&[
            on("/carts/5/pay?x=1".to_owned(), mutation(Outcome::Done, 1, true)),
            on("/carts/6/pay".to_owned(), mutation(Outcome::Done, 0, false)),
            on("/carts/6/pay".to_owned(), mutation(Outcome::Refused, 0, false)),
        ]);
        let pay = Unmatched { method: "PUT".to_owned(), path: "/carts/{id}/pay".to_owned(), times: 2 };
        assert_eq!(stats.unmatched, [pay]);
        let many: Vec<_> =
            (0..99).map(|n| on(format!("/{}", "x".repeat(n)), mutation(Outcome::Done, 1, true))).collect();
        assert_eq!(stats_of(&many).unmatched.len(), MAX_UNMATCHED);
    }

    #[test]
    fn reasons_details_outcomes_and_classes_are_shown_by_name() {
        let stats = stats_of(&[
            sample::exchange(forward(Forward::UriMiss, Some(Detail::NoStore))),
            Exchange { status: 503, ..sample::exchange(CacheStatus::Own { detail: Some(Detail::Saturated) }) },
            mutation(Outcome::Accepted, 1, false),
            Exchange { route: crate::policy::RouteId(1), ..sample::exchange(forward(Forward::UriMiss, None)) },
        ]);
        let map = |pairs: &[(&str, u64)]| pairs.iter().map(|(k, n)| ((*k).to_owned(), *n)).collect::<BTreeMap<_, _>>();
        let total = &stats.total;
        assert_eq!(total.misses, map(&[("method", 1), ("uri-miss", 2)]));
        assert_eq!(total.details, map(&[("no-store", 1), ("saturated", 1)]));
        assert_eq!(total.mutations, map(&[("accepted", 1)]));
        assert_eq!(total.statuses, map(&[("2xx", 3), ("5xx", 1)]));
        assert_eq!(total.refused, map(&[("503", 1)]));
        assert_eq!(stats.sentences["no-store"], "The origin said `no-store`.");
        assert_eq!((stats.uptime_seconds, stats.routes[1].counts.requests), (7, 1));
        assert_eq!(total.latency_ms.p50.map(f64::round), Some(5.0));
    }

    #[test]
    fn every_reason_and_detail_stands_at_its_own_slot() {
        assert!(Forward::ALL.iter().enumerate().all(|(slot, reason)| *reason as usize == slot));
        assert!(Detail::ALL.iter().enumerate().all(|(slot, detail)| *detail as usize == slot));
    }

    #[test]
    fn stats_come_back_as_they_were_written() {
        let stats = stats_of(&[sample::exchange(HIT)]);
        let text = serde_json::to_string(&stats).expect("stats are always JSON");
        assert_eq!(serde_json::from_str::<Stats>(&text).expect("and can be read"), stats);
    }

    #[test]
    fn prometheus_text() {
        let text = metrics_of(&[sample::exchange(HIT), mutation(Outcome::Done, 1, false)]).prometheus(STORE, START);
        for line in [
            "# HELP freshgate_hits_total Reads answered from the store, fresh or stale, with a body or with 304.",
            "# TYPE freshgate_hits_total counter",
            "freshgate_hits_total{route=\"categories\"} 1",
            "freshgate_hits_total{route=\"(other)\"} 0",
            "freshgate_misses_total{route=\"categories\",reason=\"method\"} 1",
            "freshgate_mutations_total{route=\"categories\",outcome=\"done\"} 1",
            "freshgate_responses_total{route=\"categories\",class=\"2xx\"} 2",
            "freshgate_latency_seconds_bucket{route=\"categories\",le=\"0.004096\"} 0",
            "freshgate_latency_seconds_bucket{route=\"categories\",le=\"0.008192\"} 2",
            "freshgate_latency_seconds_bucket{route=\"categories\",le=\"+Inf\"} 2",
            "freshgate_latency_seconds_count{route=\"categories\"} 2",
            "freshgate_connections_total{event=\"no-room\"} 0",
            "freshgate_store_entries 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line:?} is not in\n{text}");
        }
    }
}
