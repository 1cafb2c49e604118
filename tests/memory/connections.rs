//! Eight thousand clients that have been answered and say nothing.

use crate::bulk;
use crate::proxy::{CACHED, Proxy};
use crate::wire::Connection;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const CLIENTS: u64 = 8000;

/// What one idle connection may take of memory.
const EACH: u64 = 48 * 1024;

#[test]
fn eight_thousand_idle_connections_take_little_and_keep_nobody_waiting() {
    let limit = getrlimit(Resource::Nofile);
    let limited =
        |files| setrlimit(Resource::Nofile, Rlimit { current: files, ..limit }).expect("it may be set so far");
    // Some are for the rest of this process.
    let clients = limit.maximum.map_or(CLIENTS, |maximum| CLIENTS.min(maximum.saturating_sub(200)));
    let proxy =
        Proxy::start(&format!("server.limits.idle_timeout = \"10m\"\norigin.url = \"{}\"\n{CACHED}", bulk::start()));
    limited(limit.maximum);
    let answered = |client: &mut Connection| {
        client.ask("GET /a/2048", &["Accept: application/json", "User-Agent: idle"], "");
        let answer = client.response();
        assert_eq!(answer.status(), 200, "{answer:?}");
        answer.cache_status().contains("freshgate; hit")
    };
    answered(&mut proxy.connect());
    let before = proxy.program.peak_memory();
    let mut idle: Vec<Connection> = (0..clients).map(|_| proxy.connect()).collect();
    let silent = proxy.program.peak_memory().saturating_sub(before) / clients;
    assert!(idle.iter_mut().all(answered), "all are hits");
    let each = proxy.program.peak_memory().saturating_sub(before) / clients;
    println!("{clients} idle connections take {silent} bytes each before a request, {each} bytes after one");
    assert!(each <= EACH, "{each} bytes for each of {clients} connections");
    // Nobody was closed to make room, and whoever comes finds room.
    assert!(answered(&mut proxy.connect()));
    assert!(idle.iter_mut().all(answered));
}
