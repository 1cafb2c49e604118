//! What the store says that it holds is what the process takes: `cache.memory` is about real bytes (DESIGN, P6).
//!
//! One test in a process of its own, with the program's allocator, since what is looked at is the process.

#[path = "memory/sample.rs"]
mod sample;

use freshgate::store::Store;
use sample::{SMALL, Shape};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Each as often as it takes to see it in a process of many megabytes.
const SHAPES: [(&str, usize, Shape); 13] = [
    ("300 octets", 60_000, SMALL),
    ("an empty body", 60_000, Shape { body: 0, ..SMALL }),
    ("2 KiB", 20_000, Shape { body: 2048, ..SMALL }),
    ("20 kB", 3_000, Shape { body: 20_000, ..SMALL }),
    ("100 kB", 600, Shape { body: 100_000, ..SMALL }),
    ("1 MB", 60, Shape { body: 1_000_000, ..SMALL }),
    ("4 MiB", 30, Shape { body: 4 << 20, ..SMALL }),
    ("40 fields", 10_000, Shape { fields: 40, ..SMALL }),
    ("a long path", 12_000, Shape { path: 2000, ..SMALL }),
    ("a long query", 5_000, Shape { query: 6000, ..SMALL }),
    ("one body, many callers", 60_000, Shape { shared: true, body: 100_000, ..SMALL }),
    ("variants", 30_000, Shape { vary: Some("Accept-Language, X-Till, X-Shop"), ..SMALL }),
    ("not storable", 100_000, Shape { storable: false, ..SMALL }),
];

#[test]
fn what_is_stored_weighs_what_it_takes() {
    let route = sample::route();
    let stored = |times: usize, shape: &Shape| {
        let store = Store::new(1 << 32, 1);
        // What it takes whatever it holds is told apart.
        let before = resident();
        (0..times).for_each(|n| sample::put(&store, &route, shape, n, n).expect("there is room"));
        (resident().saturating_sub(before), store)
    };
    let mut kept = Vec::new();
    println!("{:>24} {:>8} {:>10} {:>10} {:>6}", "each", "entries", "weighs", "takes", "ratio");
    for (called, times, shape) in &SHAPES {
        // Whatever it takes to make one.
        drop(stored(3, shape));
        let (took, store) = stored(*times, shape);
        let (entries, weighs) = store.figures();
        let ratio = took as f64 / weighs as f64;
        let [weighs, takes] = [weighs, took].map(|bytes| bytes / *times as u64);
        println!("{:>24} {entries:>8} {weighs:>10} {takes:>10} {ratio:>6.2}", called);
        assert!((0.8..1.3).contains(&ratio), "{}: weighs {weighs}, takes {takes}", called);
        // What is kept takes no memory that the next one could use again.
        kept.push(store);
    }
}

/// The memory that this process takes (`VmRSS`, proc_pid_status(5)).
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
}
