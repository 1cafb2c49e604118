//! The first run: what a proxy that stores nothing learns about an API, and what `fresh` would have given.
//!
//! Every GET reaches the origin, so what the content is now is known each time. Beside each caller and URL stands what
//! a store would hold for each candidate of `fresh`; a read is then a hit, and a stale one if the content has changed.
//! As with `--fresh`, any mutation that is not refused would have emptied the store.

use super::draft;
use crate::clock::Timestamp;
use crate::pipeline::exchange::{Exchange, Outcome};
use crate::semantics::cache_status::{CacheStatus, Detail, Forwarded};
use crate::semantics::stored_response::ContentHash;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The candidates of `fresh`, shortest first, and how they are written.
const CANDIDATES: [(Duration, &str); 3] =
    [(Duration::from_secs(30), "30s"), (Duration::from_secs(5 * 60), "5m"), (Duration::from_secs(30 * 60), "30m")];

/// How many learned paths are told apart; what comes after counts as [`OTHER`].
const MAX_PATHS: usize = 200;
/// How many pairs of caller and URL are followed; the reads of further ones count as misses.
const MAX_TARGETS: usize = 10_000;
/// How many contents of a learned path are told apart.
const MAX_CONTENTS: usize = 10_000;

/// How many characters of a path a terminal is shown: one long URL must not push the numbers out of sight.
const MAX_WIDTH: usize = 60;

/// What paths beyond the bound are counted as.
pub const OTHER: &str = "(other)";

/// What was learned so far. Its memory is bounded, whatever the traffic.
#[derive(Debug, Default)]
pub struct Learned {
    /// The URL of the API that is learned of.
    origin: String,
    paths: BTreeMap<String, Path>,
    /// What a store would hold, by a hash of caller and target: 64 bits, for an estimate.
    stored: HashMap<u64, [Option<Stored>; CANDIDATES.len()]>,
    hasher: RandomState,
    contents: usize,
    /// Whether a read came with a word that would outrank `fresh`.
    forbidden: bool,
    /// Boot time in milliseconds at which the last mutation had ended.
    mutated_ms: u64,
    mutations: u64,
    seen: u64,
}

#[derive(Debug, Default)]
struct Path {
    requests: u64,
    contents: HashSet<u64>,
    not_modified: u64,
    bytes_saved: u64,
    given: [Given; CANDIDATES.len()],
}

#[derive(Clone, Copy, Debug)]
struct Stored {
    content: ContentHash,
    at: Timestamp,
}

/// What a candidate of `fresh` would have given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Reads that the store would have answered.
    pub hits: u64,
    /// Those of them whose content had changed at the origin by then.
    pub stale: u64,
}

/// What was learned, to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Requests of any kind.
    pub seen: u64,
    /// Mutations that were not refused: each would have emptied the store.
    pub mutations: u64,
    /// What to make of it, in a sentence.
    pub conclusion: String,
    /// A whole configuration that follows from it; empty where none would help yet.
    #[serde(default)]
    pub toml: String,
    /// The most requested first.
    pub paths: Vec<Row>,
}

/// One learned path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Such as `/products/{id}`.
    pub path: String,
    /// Reads answered with complete JSON, or with a 304 for it.
    pub requests: u64,
    /// Distinct contents, over all URLs of the path; at most 10,000 are told apart.
    pub contents: u64,
    /// Answers with 304.
    pub not_modified: u64,
    /// Bytes of body that those spared the clients.
    pub bytes_saved: u64,
    /// By the value of `fresh`: `30s`, `5m`, `30m`.
    pub fresh: BTreeMap<String, Given>,
}

impl Learned {
    /// Nothing learned yet of the API at this URL.
    pub fn new(origin: String) -> Self {
        Learned { origin, ..Learned::default() }
    }

    /// Learns from one exchange. Those in the background, and reads of anything but complete JSON, teach nothing.
    pub fn observe(&mut self, exchange: &Exchange) {
        if exchange.background {
            return;
        }
        self.seen += 1;
        match (&exchange.mutation, exchange.content) {
            (Some(mutation), _) if mutation.outcome != Outcome::Refused => {
                self.stored.clear();
                self.mutations += 1;
                let ended = exchange.at + exchange.latency;
                self.mutated_ms = self.mutated_ms.max(ended.boot_ms);
            }
            (None, Some(content)) if exchange.json => self.observe_read(exchange, content),
            _ => {}
        }
    }

    fn observe_read(&mut self, exchange: &Exchange, content: ContentHash) {
        let now = Stored { content, at: exchange.at };
        let given = self.ask_candidates(exchange, now);
        self.forbidden |= matches!(
            exchange.cache_status,
            CacheStatus::Forward(Forwarded {
                detail: Some(Detail::NoStore | Detail::NoCache | Detail::MustRevalidate),
                ..
            })
        );
        let path = path_of(&self.paths, &exchange.target);
        let path = self.paths.entry(path).or_default();
        path.requests += 1;
        if self.contents < MAX_CONTENTS && path.contents.insert(self.hasher.hash_one(content)) {
            self.contents += 1;
        }
        if exchange.status == 304 {
            path.not_modified += 1;
            path.bytes_saved += exchange.content_length.saturating_sub(exchange.sent_bytes);
        }
        for (sum, given) in path.given.iter_mut().zip(given) {
            sum.hits += given.hits;
            sum.stale += given.stale;
        }
    }

    /// What each candidate would have given for this read. A miss stores what was fetched.
    fn ask_candidates(&mut self, exchange: &Exchange, now: Stored) -> [Given; CANDIDATES.len()] {
        let key = self.hasher.hash_one((exchange.caller, &exchange.target));
        if self.stored.len() >= MAX_TARGETS && !self.stored.contains_key(&key) {
            return Default::default();
        }
        // What was asked for before the last mutation had ended is not stored: it may show what was before it.
        let storable = exchange.at.boot_ms >= self.mutated_ms;
        let stored = self.stored.entry(key).or_default();
        std::array::from_fn(|i| match stored[i] {
            Some(held) if now.at.since(held.at) < CANDIDATES[i].0 => {
                Given { hits: 1, stale: u64::from(held.content != now.content) }
            }
            _ => {
                stored[i] = storable.then_some(now);
                Given::default()
            }
        })
    }

    /// What was learned so far, to be shown.
    pub fn table(&self) -> Table {
        let row = |(path, learned): (&String, &Path)| Row {
            path: path.clone(),
            requests: learned.requests,
            contents: learned.contents.len() as u64,
            not_modified: learned.not_modified,
            bytes_saved: learned.bytes_saved,
            fresh: CANDIDATES.iter().zip(learned.given).map(|((_, text), given)| ((*text).to_owned(), given)).collect(),
        };
        let mut paths: Vec<Row> = self.paths.iter().map(row).collect();
        paths.sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.path.cmp(&b.path)));
        let toml = match (self.seen, paths.is_empty()) {
            (0, _) => String::new(),
            // Of what is not JSON nothing is learned, and it may be stored all the same.
            (_, true) => draft::everything(&self.origin, &format!("fresh = {:?}\n", CANDIDATES[0].1)),
            (_, false) => draft::of(&self.origin, &paths, &CANDIDATES, self.forbidden),
        };
        Table { seen: self.seen, mutations: self.mutations, conclusion: conclusion(self.seen, &paths), toml, paths }
    }
}

/// The longest `fresh` that would have given hits and no stale read, or why there is none.
fn conclusion(seen: u64, paths: &[Row]) -> String {
    let reads: u64 = paths.iter().map(|row| row.requests).sum();
    if reads == 0 {
        return match seen {
            0 => "No request yet: send your client's requests here.".to_owned(),
            n => format!("{n} requests, none of them a GET answered with complete JSON: nothing to learn from yet."),
        };
    }
    let given = CANDIDATES.map(|(_, fresh)| {
        let given = paths.iter().filter_map(|row| row.fresh.get(fresh));
        let (hits, stale) = given.fold((0, 0), |(hits, stale), given| (hits + given.hits, stale + given.stale));
        (fresh, hits, stale)
    });
    let [(shortest, hits, stale), .., (_, most, _)] = given;
    match given.iter().rev().find(|(_, hits, stale)| *hits > 0 && *stale == 0) {
        Some((fresh, hits, _)) => {
            format!("With --fresh {fresh}, {hits} of {reads} reads would have come from the store, none of them stale.")
        }
        None if most == 0 => "No caller has asked for the same URL again yet, with no mutation between.".to_owned(),
        None => format!(
            "Even --fresh {shortest} would have given {stale} stale reads among {hits} hits: \
             configure a [[route]] with `fresh` for the paths that show none."
        ),
    }
}

impl Table {
    /// The `rows` most requested paths, the conclusion, and the file that follows from it, for a terminal.
    pub fn text(&self, rows: usize) -> String {
        let mut text = if self.paths.is_empty() { String::new() } else { self.grid(rows) };
        writeln!(text, "{}", self.conclusion).expect("a string takes everything");
        if !self.toml.is_empty() {
            text.push('\n');
        }
        text + &indented(&self.toml)
    }

    fn grid(&self, rows: usize) -> String {
        let shown = &self.paths[..rows.min(self.paths.len())];
        let width = shown.iter().map(|r| r.path.chars().count()).fold("learned path".len(), usize::max).min(MAX_WIDTH);
        let mut text = format!(
            "{:width$}  {:>8}  {:>8}  {:>6}  {:>8}  {:>18}  {:>18}  {:>18}\n",
            "learned path", "requests", "contents", "304", "saved", "fresh = 30s", "fresh = 5m", "fresh = 30m"
        );
        for Row { path, requests, contents, not_modified, bytes_saved, fresh } in shown {
            let given = CANDIDATES.map(|(_, candidate)| {
                let Given { hits, stale } = fresh.get(candidate).copied().unwrap_or_default();
                format!("{hits} hits, {stale} stale")
            });
            let (saved, [short, middle, long]) = (bytes(*bytes_saved), given);
            writeln!(
                text,
                "{path:width$.width$}  {requests:>8}  {contents:>8}  {not_modified:>6}  {saved:>8}  {short:>18}  {middle:>18}  {long:>18}"
            )
            .expect("a string takes everything");
        }
        match self.paths.len() - shown.len() {
            0 => {}
            more => writeln!(text, "and {more} more").expect("a string takes everything"),
        }
        text
    }
}

/// Lines of a configuration, for a terminal.
pub fn indented(toml: &str) -> String {
    toml.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") }).collect()
}

/// Bytes for people: three digits and a unit.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (n.max(1).ilog2() / 10).min(4);
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let shown = n as f64 / f64::from(2u32.pow(10)).powi(i32::try_from(unit).unwrap_or(0));
    let unit = UNITS[unit as usize];
    match shown {
        _ if unit == "B" => format!("{n} B"),
        ..10.0 => format!("{shown:.1} {unit}"),
        _ => format!("{shown:.0} {unit}"),
    }
}

/// The learned path of a target, or [`OTHER`] where there is no room for a new one.
fn path_of(known: &BTreeMap<String, Path>, target: &str) -> String {
    let learned = learned_path(target);
    match known.len() >= MAX_PATHS && !known.contains_key(&learned) {
        true => OTHER.to_owned(),
        false => learned,
    }
}

/// The path of a target with `{id}` for every segment that looks like one.
pub fn learned_path(target: &str) -> String {
    let path = target.split('?').next().unwrap_or(target);
    let segments: Vec<&str> = path.split('/').map(|s| if looks_like_id(s) { "{id}" } else { s }).collect();
    segments.join("/")
}

/// Numbers and dates, UUIDs, ULIDs, eight or more hexadecimal digits, and sixteen or more of base64url that mix cases
/// and digits. Words, however long, are none of these.
fn looks_like_id(segment: &str) -> bool {
    let all = |set: fn(&u8) -> bool| segment.bytes().all(|b| set(&b));
    let any = |set: fn(&u8) -> bool| segment.bytes().any(|b| set(&b));
    let digit = any(u8::is_ascii_digit);
    let number = all(|b| b.is_ascii_digit() || *b == b'-');
    let hexadecimal = segment.len() >= 8 && all(|b| b.is_ascii_hexdigit() || *b == b'-');
    let ulid = segment.len() == 26 && all(u8::is_ascii_alphanumeric);
    let base64url = segment.len() >= 16
        && all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'='))
        && any(u8::is_ascii_uppercase)
        && any(u8::is_ascii_lowercase);
    digit && (number || hexadecimal || ulid || base64url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Caller;
    use crate::pipeline::exchange::MutationRecord;
    use crate::policy::RouteId;
    use crate::semantics::cache_status::Forward;

    #[track_caller]
    fn check_path(target: &str, expected: &str) {
        assert_eq!(learned_path(target), expected);
    }

    #[test]
    fn segments_that_look_like_ids_become_one_path() {
        check_path("/products", "/products");
        check_path("/products/17?page=2", "/products/{id}");
        check_path("/products/17/variants/3", "/products/{id}/variants/{id}");
        check_path("/orders/0b6dfc0e-8c5c-4f0e-b7ab-2f6e8f5ad0c1", "/orders/{id}");
        check_path("/orders/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/orders/{id}");
        check_path("/commits/deadbeef01", "/commits/{id}");
        check_path("/customers/cus_9s6XKzkNRiz8i3", "/customers/{id}");
        check_path("/reports/2026-01-02", "/reports/{id}");
    }

    #[test]
    fn words_stay() {
        check_path("/", "/");
        check_path("/v1/products/", "/v1/products/");
        check_path("/facade/defaced/effacedbed", "/facade/defaced/effacedbed");
        check_path("/inventory-adjustments-2026", "/inventory-adjustments-2026");
        check_path("/oauth2/ipv6-addresses", "/oauth2/ipv6-addresses");
        check_path("/InventoryAdjustments", "/InventoryAdjustments");
    }

    const ALICE: Caller = Caller::Known([1; 16]);
    const BOB: Caller = Caller::Known([2; 16]);

    fn exchange(second: u64, method: &str) -> Exchange {
        Exchange {
            at: Timestamp { wall_ms: 0, boot_ms: second * 1000 },
            route: RouteId(0),
            method: method.to_owned(),
            target: "/products".to_owned(),
            caller: ALICE,
            status: 200,
            cache_status: CacheStatus::Forward(Forwarded::because(Forward::UriMiss)),
            origin_requests: 1,
            origin_bytes: 100,
            content_length: 100,
            content: None,
            json: true,
            sent_bytes: 100,
            latency: Duration::from_millis(500),
            background: false,
            mutation: None,
        }
    }

    /// A read at `second` by `caller` that brings `content`.
    fn read(second: u64, caller: Caller, content: u8) -> Exchange {
        Exchange { caller, content: Some(ContentHash([content; 32])), ..exchange(second, "GET") }
    }

    fn mutation(second: u64, outcome: Outcome) -> Exchange {
        let record = MutationRecord { outcome, invalidated: 1, unrouted: false };
        Exchange { mutation: Some(record), ..exchange(second, "POST") }
    }

    /// Hits and stale reads that 30 s, 5 min and 30 min would have given.
    #[track_caller]
    fn check(exchanges: &[Exchange], expected: [(u64, u64); 3]) {
        let mut learned = Learned::new("http://127.0.0.1:3000".to_owned());
        exchanges.iter().for_each(|e| learned.observe(e));
        let table = learned.table();
        let given = CANDIDATES.map(|(_, text)| {
            let Given { hits, stale } = table.paths[0].fresh[text];
            (hits, stale)
        });
        assert_eq!(given, expected);
    }

    #[test]
    fn a_read_is_a_hit_while_what_is_held_is_fresh() {
        check(&[read(0, ALICE, 1), read(29, ALICE, 1)], [(1, 0), (1, 0), (1, 0)]);
        check(&[read(0, ALICE, 1), read(30, ALICE, 1)], [(0, 0), (1, 0), (1, 0)]);
        check(&[read(0, ALICE, 1), read(30, ALICE, 1), read(59, ALICE, 1)], [(1, 0), (2, 0), (2, 0)]);
        check(&[read(0, ALICE, 1), read(1800, ALICE, 1)], [(0, 0), (0, 0), (0, 0)]);
    }

    #[test]
    fn a_hit_on_what_has_changed_is_a_stale_read() {
        check(&[read(0, ALICE, 1), read(10, ALICE, 2), read(40, ALICE, 2)], [(1, 1), (2, 2), (2, 2)]);
    }

    #[test]
    fn callers_share_nothing() {
        check(&[read(0, ALICE, 1), read(1, BOB, 1)], [(0, 0), (0, 0), (0, 0)]);
    }

    #[test]
    fn a_mutation_empties_the_store_unless_it_is_refused() {
        let around = |m| [read(0, ALICE, 1), m, read(10, ALICE, 2)];
        for outcome in [Outcome::Done, Outcome::Accepted, Outcome::Unknown] {
            check(&around(mutation(5, outcome)), [(0, 0), (0, 0), (0, 0)]);
        }
        check(&around(mutation(5, Outcome::Refused)), [(1, 1), (1, 1), (1, 1)]);
    }

    #[test]
    fn what_was_asked_for_before_a_mutation_ended_is_not_held() {
        // The mutation ends at 5.5 s; the read that was sent at 5 s is seen after it.
        check(&[mutation(5, Outcome::Done), read(5, ALICE, 1), read(6, ALICE, 2)], [(0, 0), (0, 0), (0, 0)]);
        check(&[mutation(5, Outcome::Done), read(6, ALICE, 1), read(7, ALICE, 1)], [(1, 0), (1, 0), (1, 0)]);
    }

    #[test]
    fn only_complete_json_that_a_client_read_teaches() {
        let mut learned = Learned::new("http://127.0.0.1:3000".to_owned());
        learned.observe(&Exchange { json: false, ..read(0, ALICE, 1) });
        learned.observe(&Exchange { content: None, ..read(0, ALICE, 1) });
        learned.observe(&Exchange { background: true, ..read(0, ALICE, 1) });
        assert_eq!((learned.table().seen, learned.table().paths), (2, vec![]));
    }

    #[test]
    fn contents_and_bytes_saved() {
        let mut learned = Learned::new("http://127.0.0.1:3000".to_owned());
        learned.observe(&read(0, ALICE, 1));
        learned.observe(&read(1, BOB, 1));
        learned.observe(&Exchange { status: 304, sent_bytes: 0, ..read(2, ALICE, 2) });
        let row = &learned.table().paths[0];
        assert_eq!((row.requests, row.contents, row.not_modified, row.bytes_saved), (3, 2, 1, 100));
    }

    #[test]
    fn memory_is_bounded() {
        let mut learned = Learned::new("http://127.0.0.1:3000".to_owned());
        for n in 0..20_000_u32 {
            let mut content = [0; 32];
            content[..4].copy_from_slice(&n.to_be_bytes());
            let target = format!("/{}/{n}", "x".repeat(1 + n as usize % 300));
            learned.observe(&Exchange { target, content: Some(ContentHash(content)), ..read(0, ALICE, 0) });
        }
        let table = learned.table();
        assert_eq!((table.paths.len(), table.paths[0].path.as_str()), (MAX_PATHS + 1, OTHER));
        assert_eq!(table.paths.iter().map(|r| r.requests).sum::<u64>(), 20_000);
        assert_eq!((learned.stored.len(), learned.contents), (MAX_TARGETS, MAX_CONTENTS));
    }

    #[test]
    fn the_table_in_a_terminal() {
        let mut learned = Learned::new("http://127.0.0.1:3000".to_owned());
        assert_eq!(learned.table().text(9), "No request yet: send your client's requests here.\n");
        for exchange in [read(1, ALICE, 1), read(2, ALICE, 1), read(40, ALICE, 2)] {
            learned.observe(&exchange);
            learned.observe(&Exchange { target: "/products/7".to_owned(), status: 304, sent_bytes: 0, ..exchange });
        }
        learned.observe(&Exchange { target: "/products/8".to_owned(), ..read(50, ALICE, 3) });
        insta::assert_snapshot!(learned.table().text(1), @r#"
        learned path    requests  contents     304     saved         fresh = 30s          fresh = 5m         fresh = 30m
        /products/{id}         4         3       3     300 B     1 hits, 0 stale     2 hits, 1 stale     2 hits, 1 stale
        and 1 more
        With --fresh 30s, 2 of 7 reads would have come from the store, none of them stale.

            # freshgate.toml
            [origin]
            url = "http://127.0.0.1:3000"

            [defaults]
            # until you say what changes what: any mutation invalidates all of these
            invalidates = ["products"]

            [[route]]
            name = "products"
            paths = ["/products", "/products/{id}"]
            fresh = "30s"

            [[route]]
            name = "everything-else"
            paths = ["/{*rest}"]
        "#);
    }

    #[test]
    fn a_long_path_leaves_the_table_narrow() {
        let mut learned = Learned::new("http://127.0.0.1:3000".to_owned());
        learned.observe(&Exchange { target: format!("/{}", "x".repeat(3000)), ..read(1, ALICE, 1) });
        let widest = learned.table().grid(9).lines().map(|line| line.len()).max();
        assert_eq!(widest, Some(60 + "  requests  contents     304     saved".len() + 3 * 20));
    }

    #[track_caller]
    fn check_conclusion(exchanges: &[Exchange], expected: &str) {
        let mut learned = Learned::new("http://127.0.0.1:3000".to_owned());
        exchanges.iter().for_each(|e| learned.observe(e));
        assert_eq!(learned.table().conclusion, expected);
    }

    #[test]
    fn conclusions() {
        check_conclusion(&[], "No request yet: send your client's requests here.");
        let other = "1 requests, none of them a GET answered with complete JSON: nothing to learn from yet.";
        check_conclusion(&[mutation(0, Outcome::Done)], other);
        let once = "No caller has asked for the same URL again yet, with no mutation between.";
        check_conclusion(&[read(0, ALICE, 1)], once);
        let best = "With --fresh 30m, 1 of 2 reads would have come from the store, none of them stale.";
        check_conclusion(&[read(0, ALICE, 1), read(600, ALICE, 1)], best);
        let middle = "With --fresh 5m, 1 of 3 reads would have come from the store, none of them stale.";
        check_conclusion(&[read(0, ALICE, 1), read(31, ALICE, 1), read(400, ALICE, 2)], middle);
        let none = "Even --fresh 30s would have given 1 stale reads among 1 hits: \
                    configure a [[route]] with `fresh` for the paths that show none.";
        check_conclusion(&[read(0, ALICE, 1), read(1, ALICE, 2)], none);
    }

    /// "The first number a person sees is never a bare 0 %: beside it stand why, and the TOML line that changes it."
    #[test]
    fn where_there_would_be_no_hit_stands_what_changes_it() {
        let toml = |exchanges: &[Exchange]| {
            let mut learned = Learned::new("http://127.0.0.1:3000".to_owned());
            exchanges.iter().for_each(|exchange| learned.observe(exchange));
            let toml = learned.table().toml;
            assert!(
                learned.table().text(9).contains(toml.lines().last().unwrap_or_default()),
                "the terminal has it too"
            );
            toml
        };
        let once = toml(&[read(0, ALICE, 1)]);
        assert!(once.contains("paths = [\"/products\"]\nfresh = \"30s\"\n"), "{once}");
        assert!(!once.contains("origin_cache_control"), "{once}");
        let text = toml(&[Exchange { json: false, ..read(0, ALICE, 1) }]);
        assert!(text.contains("paths = [\"/\", \"/{*rest}\"]") && text.contains("fresh = \"30s\""), "{text}");
        let forbidden =
            CacheStatus::Forward(Forwarded { detail: Some(Detail::NoCache), ..Forwarded::because(Forward::UriMiss) });
        let overruled = toml(&[Exchange { cache_status: forbidden, ..read(0, ALICE, 1) }]);
        assert!(overruled.contains("origin_cache_control = \"ignore\""), "{overruled}");
        assert_eq!(toml(&[]), "", "nothing to go by");
    }

    #[test]
    fn bytes_for_people() {
        for (n, text) in [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (10_240, "10 KiB"), (5 << 20, "5.0 MiB")] {
            assert_eq!(bytes(n), text);
        }
    }
}
