//! `freshgate stats`: the per-route table of a running proxy.

use super::admin_client::{Failure, Target};
use crate::edge::admin::StatsAnswer;
use crate::edge::learn::{bytes, indented};
use crate::edge::metrics::{Counts, RouteStats, Unmatched};
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Show the numbers of a running proxy
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Show them again every second
    #[arg(long)]
    watch: bool,
}

/// How many learned paths are shown.
const LEARNED: usize = 20;

/// Asks and prints; with `--watch` until the proxy is gone. Exits with 0, 64 or 69.
pub fn run(args: &Args) -> ExitCode {
    loop {
        let table = match args.target.get("/stats").and_then(|answer| read(&args.target, answer)) {
            Ok(stats) => render(&stats),
            Err(Failure { code, message }) => {
                eprintln!("{message}");
                return ExitCode::from(code);
            }
        };
        if !args.watch {
            print!("{table}");
            return ExitCode::SUCCESS;
        }
        // Home, and clear what the last table leaves below.
        print!("\x1b[H\x1b[2J{table}");
        if std::io::Write::flush(&mut std::io::stdout()).is_err() {
            return ExitCode::SUCCESS;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// What `/stats` answered.
///
/// # Errors
/// It is another version's.
pub fn read(target: &Target, answer: serde_json::Value) -> Result<StatsAnswer, Failure> {
    serde_json::from_value(answer).map_err(|error| Failure {
        code: 69,
        message: format!("{} answers /stats as another version of freshgate does: {error}.", target.admin),
    })
}

/// The table: a row per route that was asked for, the total, then advice, and below it the mutations without a
/// route, or in the first run what was learned.
pub fn render(answer: &StatsAnswer) -> String {
    let stats = &answer.stats;
    let asked: Vec<&RouteStats> = stats.routes.iter().filter(|r| r.counts.requests > 0).collect();
    let mut text = format!(
        "up {}, {} responses stored in {} of {}\n\n",
        duration(stats.uptime_seconds),
        stats.store.entries,
        bytes(stats.store.bytes),
        bytes(stats.store.memory)
    );
    let header = ["route", "requests", "hits", "304", "stale", "collapsed", "to origin", "saved", "p50 ms", "p99 ms"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(asked.iter().copied().chain([&stats.total]).map(row));
    aligned(&mut text, &rows);
    for route in asked {
        if let Some(advice) = &route.advice {
            write!(text, "\n{}: {}\n", route.route, advice.why).expect("a string takes everything");
            text.push_str(&indented(&advice.toml));
        }
    }
    text.push_str(&kept_apart(&answer.demoted));
    match &answer.learned {
        Some(learned) => write!(text, "\n{}", learned.text(LEARNED)).expect("a string takes everything"),
        // In the first run nothing is stored, so nothing can be stale.
        None => text.push_str(&unmatched(&stats.unmatched)),
    }
    text
}

/// What was found out of routes that were to share; nothing where all is well.
pub fn kept_apart(demoted: &[String]) -> String {
    let line = |route: &String| {
        format!(
            "\n{route}: the origin told callers who share this route different things, so each of them is kept apart\n    \
             until the restart. Write scope = \"user\", or a claim that tells them apart.\n"
        )
    };
    demoted.iter().map(line).collect()
}

/// The mutations that no route describes; nothing where there is none.
pub fn unmatched(mutations: &[Unmatched]) -> String {
    let mut text = String::new();
    if !mutations.is_empty() {
        text.push_str("\nmutations that no route names, or that invalidated nothing:\n");
    }
    for Unmatched { method, path, times } in mutations {
        writeln!(text, "    {method} {path}, {times} times").expect("a string takes everything");
    }
    text
}

fn row(route: &RouteStats) -> [String; 10] {
    let Counts { requests, reads, hits, not_modified, stale, collapsed, origin_requests, bytes_saved, .. } =
        route.counts;
    let ms = |ms: Option<f64>| ms.map_or("-".to_owned(), |ms| format!("{ms:.1}"));
    [
        route.route.clone(),
        requests.to_string(),
        percent(hits, reads),
        percent(not_modified, reads),
        stale.to_string(),
        collapsed.to_string(),
        origin_requests.to_string(),
        bytes(bytes_saved),
        ms(route.latency_ms.p50),
        ms(route.latency_ms.p99),
    ]
}

/// The first column to the left, the others to the right.
fn aligned<const N: usize>(text: &mut String, rows: &[[String; N]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        write!(text, "{:<1$}", row[0], widths[0]).expect("a string takes everything");
        for (cell, width) in row.iter().zip(widths).skip(1) {
            write!(text, "  {cell:>width$}").expect("a string takes everything");
        }
        text.push('\n');
    }
}

/// In whole percent, rounded down so that 100 % means all.
fn percent(part: u64, whole: u64) -> String {
    (part * 100).checked_div(whole).map_or("-".to_owned(), |percent| format!("{percent} %"))
}

fn duration(seconds: u64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::advice::Advice;
    use crate::edge::learn::{Given, Row, Table};
    use crate::edge::metrics::{Percentiles, Stats, StoreFigures, TOTAL};

    fn route(name: &str, counts: Counts, advice: Option<Advice>) -> RouteStats {
        let latency_ms = Percentiles { p50: Some(0.42), p90: Some(1.5), p99: Some(12.0) };
        RouteStats { route: name.to_owned(), counts, latency_ms, advice, ..RouteStats::default() }
    }

    fn answer(routes: Vec<RouteStats>, learned: Option<Table>) -> StatsAnswer {
        let total = route(TOTAL, Counts { requests: 1010, reads: 1000, hits: 950, ..Counts::default() }, None);
        let store = StoreFigures { bytes: 5 << 20, entries: 120, memory: 256 << 20 };
        let unmatched = vec![Unmatched { method: "POST".to_owned(), path: "/carts/{id}".to_owned(), times: 3 }];
        let (connections, sentences) = Default::default();
        let stats = Stats { uptime_seconds: 3725, store, total, routes, unmatched, connections, sentences };
        StatsAnswer { stats, learned, demoted: Vec::new() }
    }

    #[test]
    fn the_table() {
        let products = Counts {
            requests: 1000,
            reads: 990,
            hits: 950,
            not_modified: 800,
            stale: 3,
            collapsed: 7,
            origin_requests: 43,
            bytes_saved: 12 << 20,
            ..Counts::default()
        };
        let why = "10 of 10 misses: The origin said `no-store`.".to_owned();
        let advice = Advice { why, toml: "# in the [[route]] named \"sales\"\nfresh = \"30s\"".to_owned() };
        let routes = vec![
            route("products", products, None),
            route("sales", Counts { requests: 10, reads: 10, ..Counts::default() }, Some(advice)),
            route("never asked", Counts::default(), None),
        ];
        insta::assert_snapshot!(render(&answer(routes, None)), @r#"
        up 1 h 2 min, 120 responses stored in 5.0 MiB of 256 MiB

        route     requests  hits   304  stale  collapsed  to origin   saved  p50 ms  p99 ms
        products      1000  95 %  80 %      3          7         43  12 MiB     0.4    12.0
        sales           10   0 %   0 %      0          0          0     0 B     0.4    12.0
        total         1010  95 %   0 %      0          0          0     0 B     0.4    12.0

        sales: 10 of 10 misses: The origin said `no-store`.
            # in the [[route]] named "sales"
            fresh = "30s"

        mutations that no route names, or that invalidated nothing:
            POST /carts/{id}, 3 times
        "#);
    }

    #[test]
    fn the_first_run() {
        let fresh = [("30s", 1, 0), ("5m", 2, 0), ("30m", 3, 1)];
        let fresh = fresh.map(|(text, hits, stale)| (text.to_owned(), Given { hits, stale })).into();
        let row = Row {
            path: "/products/{id}".to_owned(),
            requests: 10,
            contents: 2,
            not_modified: 8,
            bytes_saved: 4096,
            fresh,
        };
        let learned = Table {
            seen: 12,
            mutations: 2,
            conclusion: "With --fresh 5m …".to_owned(),
            toml: "fresh = \"5m\"".to_owned(),
            paths: vec![row],
        };
        insta::assert_snapshot!(render(&answer(vec![], Some(learned))), @r#"
        up 1 h 2 min, 120 responses stored in 5.0 MiB of 256 MiB

        route  requests  hits  304  stale  collapsed  to origin  saved  p50 ms  p99 ms
        total      1010  95 %  0 %      0          0          0    0 B     0.4    12.0

        learned path    requests  contents     304     saved         fresh = 30s          fresh = 5m         fresh = 30m
        /products/{id}        10         2       8   4.0 KiB     1 hits, 0 stale     2 hits, 0 stale     3 hits, 1 stale
        With --fresh 5m …

            fresh = "5m"
        "#);
    }

    #[test]
    fn percentages_and_durations() {
        for (part, whole, text) in [(0, 0, "-"), (0, 5, "0 %"), (999, 1000, "99 %"), (5, 5, "100 %")] {
            assert_eq!(percent(part, whole), text);
        }
        for (seconds, text) in [(59, "59 s"), (60, "1 min 0 s"), (3600, "1 h 0 min")] {
            assert_eq!(duration(seconds), text);
        }
    }
}
