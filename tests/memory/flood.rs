//! Keys that are asked for once or twice, by the hundred thousand, and a few that are asked for again and again.

use crate::proxy::{Proxy, stats};
use crate::wire::Connection;
use crate::{MIB, bulk, now, soak};
use freshgate::clock::Timestamp;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

const MEMORY: u64 = 256 * MIB;

/// What the process may take, whatever comes: a quarter more than it may store, and what it takes without storing.
const BOUND: u64 = MEMORY / 4 * 5 + 64 * MIB;

/// Small ones, most; and some that are long.
const LENGTHS: [usize; 10] = [300, 2048, 300, 300, 2048, 300, 102_400, 300, 2048, 300];

/// Resources that are asked for again and again.
const HOT: u64 = 400;

/// How many flood at the same time.
const FLOODERS: u64 = 4;

const CONFIG: &str = r#"
[cache]
memory = "256MiB"
[[route]]
name = "shared"
paths = ["/shared/{*rest}"]
fresh = "1h"
scope = "public"
origin_cache_control = "ignore"
[[route]]
name = "own"
paths = ["/own/{*rest}"]
fresh = "1h"
origin_cache_control = "ignore"
[[route]]
name = "written"
paths = ["/written/{id}"]
fresh = "1h"
"#;

#[test]
fn a_flood_of_keys_neither_fills_the_memory_nor_washes_out_what_is_asked_for_often() {
    let proxy = Proxy::start(&format!("origin.url = \"{}\"\n{CONFIG}", bulk::start()));
    let (over, flooded) = (AtomicBool::new(false), AtomicU64::new(0));
    let (began, long) = (now(), soak(20));
    // Long enough to see the store full for a while, on any machine.
    let (mut hits, mut asked, mut full_since) = (0_u64, 0_u64, None);
    thread::scope(|scope| {
        for flooder in 0..FLOODERS {
            let (address, over, flooded) = (proxy.address, &over, &flooded);
            scope.spawn(move || flood(address, flooder, over, flooded));
        }
        let mut client = proxy.connect();
        for round in 0.. {
            let round_hits = (0..HOT).filter(|n| is_hit(&mut client, &hot(*n))).count() as u64;
            // The first round brings them.
            if round > 0 {
                (hits, asked) = (hits + round_hits, asked + HOT);
            }
            let peak = proxy.program.peak_memory();
            if peak > BOUND {
                break;
            }
            if full_since.is_none() && stats(proxy.admin)["store"]["bytes"].as_u64() > Some(MEMORY / 20 * 17) {
                full_since = Some(now());
            }
            let full = full_since.is_some_and(|since: Timestamp| now().since(since) > long / 3);
            if (now().since(began) > long && full) || now().since(began) > long + Duration::from_secs(100) {
                break;
            }
        }
        over.store(true, Relaxed);
    });
    let share = hits as f64 / asked as f64;
    let (peak, store) = (proxy.program.peak_memory(), &stats(proxy.admin)["store"]);
    println!(
        "{} requests for keys that are new in {:?}: at most {} MiB of {} MiB were taken; {:.2} % of {asked} requests for \
         what is asked for often were hits; {store}",
        flooded.load(Relaxed),
        now().since(began),
        peak / MIB,
        BOUND / MIB,
        share * 100.0,
    );
    assert!(peak <= BOUND, "{} MiB", peak / MIB);
    assert!(full_since.is_some(), "the store was never full: {store}");
    assert!(share >= 0.9, "{share}");
}

/// A request line, and whose it is.
type Ask = (String, Option<String>);

fn hot(number: u64) -> Ask {
    let length = LENGTHS[number as usize % LENGTHS.len()];
    match number % 2 {
        0 => (format!("GET /shared/{length}/hot-{number}"), None),
        // Of ten callers who come back.
        _ => {
            (format!("GET /own/{length}/hot-{number}"), Some(format!("Authorization: Bearer hot-{}", number / 2 % 10)))
        }
    }
}

/// A key that nobody asked for before: by its path, its query or its caller.
fn new(flooder: u64, number: u64) -> Ask {
    let length = LENGTHS[(number / 3) as usize % LENGTHS.len()];
    let one = format!("{flooder}-{number}");
    match number % 3 {
        0 => (format!("GET /shared/{length}/{one}"), None),
        1 => (format!("GET /shared/{length}/search?q={one}&sort=name"), None),
        _ => (format!("GET /own/{length}/mine"), Some(format!("Authorization: Bearer {one}"))),
    }
}

fn flood(address: SocketAddr, flooder: u64, over: &AtomicBool, flooded: &AtomicU64) {
    let mut client = Connection::open(address);
    for number in (0..).take_while(|_| !over.load(Relaxed)) {
        let ask = new(flooder, number);
        // Of a store that is nearly full a key is held from its second request: every other one gets there.
        for _ in 0..1 + number % 2 {
            is_hit(&mut client, &ask);
            flooded.fetch_add(1, Relaxed);
        }
        // Mutations fill what is kept of mutations.
        if number % 20 == 0 {
            is_hit(&mut client, &(format!("DELETE /written/{flooder}-{number}"), None));
        }
    }
}

fn is_hit(client: &mut Connection, (line, caller): &Ask) -> bool {
    let fields: Vec<&str> = caller.iter().map(String::as_str).collect();
    client.ask(line, &fields, "");
    let answer = client.response();
    assert!(matches!(answer.status(), 200 | 204), "{line}: {:?}", answer.head);
    answer.cache_status().contains("freshgate; hit")
}
