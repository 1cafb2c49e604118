//! The life of the process: its exit codes, and how it leaves.

use crate::proxy::{CACHED, Proxy, freshgate};
use crate::scripted::{After, Origin, gate, json, write};
use crate::wire::Connection;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

#[test]
fn sigterm_lets_what_is_in_flight_end() {
    let (open, wait) = gate();
    let origin = Origin::start(move |_, peer| {
        wait();
        write(peer, json(&[], "true").as_bytes());
        After::Keep
    });
    let mut proxy = Proxy::caching(&origin.url);
    let ask = |path: &str| {
        let mut client = proxy.connect();
        client.ask(&format!("GET {path}"), &[], "");
        origin.asked();
        client
    };
    let (mut cached, mut streamed) = (ask("/a/1"), ask("/unnamed"));
    proxy.program.terminate();
    open.send(()).expect("the origin waits");
    open.send(()).expect("the origin waits");
    assert_eq!((cached.response().text(), streamed.response().text()), ("true", "true"));
    assert_eq!(proxy.program.wait().code(), Some(0));
}

#[test]
fn sigterm_ends_an_idle_proxy_at_once() {
    let origin = Origin::answering(json(&[], "true"));
    let mut proxy = Proxy::start(&format!("server.drain = \"1h\"\norigin.url = \"{}\"\n{CACHED}", origin.url));
    let mut idle = proxy.connect();
    idle.ask("GET /a/1", &[], "");
    assert_eq!(idle.response().status(), 200);
    proxy.program.terminate();
    assert_eq!(proxy.program.wait().code(), Some(0), "nothing is in flight, so an hour is not waited for");
}

#[test]
fn drain_is_the_longest_that_a_request_is_waited_for() {
    let (_open, wait) = gate();
    let origin = Origin::start(move |_, _| {
        wait();
        After::Close
    });
    let mut proxy = Proxy::start(&format!("server.drain = \"200ms\"\norigin.url = \"{}\"\n{CACHED}", origin.url));
    let mut client = proxy.connect();
    client.ask("GET /a/1", &[], "");
    origin.asked();
    proxy.program.terminate();
    assert_eq!(proxy.program.wait().code(), Some(0));
}

/// Nobody waits until a huge one is found and cleared (proc_pid_status(5), prctl(2) `PR_SET_THP_DISABLE`).
#[test]
fn memory_comes_in_small_pages() {
    let origin = Origin::answering(json(&[], "true"));
    let proxy = Proxy::caching(&origin.url);
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.program.id())).expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("THP_enabled:"));
    assert_eq!(line.map(str::trim), Some("0"), "{status}");
}

#[test]
fn readiness_is_seen_on_the_admin_listener() {
    let origin = Origin::answering(json(&[], "true"));
    let proxy = Proxy::caching(&origin.url);
    for path in ["/healthz", "/readyz", "/stats", "/metrics", "/"] {
        let mut admin = Connection::open(proxy.admin);
        admin.ask(&format!("GET {path}"), &["Host: localhost"], "");
        assert_eq!(admin.response().status(), 200, "{path}");
    }
}

/// `invalidates` was forgotten, so what the mutation changes stays a hit: the numbers say so, and so does `check`.
#[test]
fn a_mutation_that_invalidates_nothing_is_listed() {
    let origin = Origin::answering(json(&[], "true"));
    let adjustments = "[[route]]\nname = \"adjustments\"\npaths = [\"/stock/{id}/adjust\"]\nmode = \"pass\"\n";
    let config = format!("origin.url = \"{}\"\n{CACHED}{adjustments}", origin.url);
    let proxy = Proxy::start(&config);
    // On one connection, since an exchange is counted when its answer has gone out, and before the next request is read.
    let mut client = proxy.connect();
    for line in ["POST /stock/5/adjust", "POST /stock/6/adjust", "PUT /a/1", "GET /a/1"] {
        client.ask(line, &[], "");
        assert_eq!(client.response().status(), 200);
    }
    let mut admin = Connection::open(proxy.admin);
    admin.ask("GET /stats", &["Host: localhost"], "");
    let stats: serde_json::Value = serde_json::from_str(admin.response().text()).expect("it is JSON");
    assert_eq!(stats["unmatched"].to_string(), r#"[{"method":"POST","path":"/stock/{id}/adjust","times":2}]"#);
    assert_eq!(stats["total"]["fruitless"], 2);
    let folder = tempfile::TempDir::new().expect("a folder can be made");
    let file = folder.path().join("freshgate.toml");
    std::fs::write(&file, config).expect("a file can be written");
    let admin = format!("http://{}", proxy.admin);
    let checked = freshgate().args(["check", "--config", name(&file), "--admin", &admin]).output();
    let report = String::from_utf8(checked.expect("the program was built").stdout).expect("it is text");
    assert!(report.ends_with("\n    POST /stock/{id}/adjust, 2 times\n"), "{report}");
}

/// One line of JSON per exchange, in which no value of the query and no credential stands.
#[test]
fn the_access_log_tells_each_exchange_and_no_secret() {
    let origin = Origin::answering(json(&[], "true"));
    let proxy = Proxy::start_with(&format!("origin.url = \"{}\"\n{CACHED}", origin.url), &["--access-log"]);
    let mut printed = Vec::new();
    for line in ["GET /a/1?page=2&token=hunter2&hunter3", "GET /a/1?page=2&token=hunter2&hunter3", "PUT /a/1"] {
        let fields = ["Authorization: Bearer hunter4", "Cookie: session=hunter5", "X-Api-Key: hunter6"];
        assert_eq!(proxy.ask(line, &fields, "").status(), 200);
        printed.push(proxy.program.printed.recv().expect("it runs and logs"));
    }
    assert!(printed.iter().all(|line| !line.contains("hunter")), "{printed:?}");
    let told: Vec<serde_json::Value> =
        printed.iter().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let keys = ["method", "path", "route", "status", "origin_requests", "mutation"];
    let told: Vec<String> = told.iter().map(|line| keys.map(|key| line[key].to_string()).join(" ")).collect();
    let a = r#""/a/1" "a" 200"#;
    assert_eq!(
        told,
        [format!(r#""GET" {a} 1 null"#), format!(r#""GET" {a} 0 null"#), format!(r#""PUT" {a} 1 "done""#)]
    );
}

#[test]
fn exit_codes_say_what_is_wrong() {
    let folder = tempfile::TempDir::new().expect("a folder can be made");
    let file = folder.path().join("freshgate.toml");
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = taken.local_addr().expect("it is bound");

    exits(&["serve"], 64, "--origin");
    exits(&["frobnicate"], 64, "frobnicate");
    exits(&["serve", "--config", "/no/such/file.toml"], 78, "/no/such/file.toml");
    let config = |text: &str| {
        std::fs::write(&file, text).expect("a file can be written");
        file.as_path()
    };
    exits(&["check", "--config", name(config("orgin.url = \"http://127.0.0.1:1\""))], 78, "origin");
    exits(&["check", "--config", name(config("[origin]"))], 78, "url");
    let both =
        format!("origin.url = \"http://127.0.0.1:1\"\nadmin.listen = \"127.0.0.1:0\"\nserver.listen = \"{address}\"");
    exits(&["serve", "--config", name(config(&both))], 69, &address.to_string());
    exits(&["stats", "--admin", &format!("http://{}", closed())], 69, "");
    exits(&["check", "--config", name(config("origin.url = \"http://127.0.0.1:1\""))], 0, "");
}

/// The program ends with `code` and names `word`, on stderr where it failed.
#[track_caller]
fn exits(arguments: &[&str], code: i32, word: &str) {
    let Output { status, stderr, .. } = freshgate().args(arguments).output().expect("the program was built");
    let stderr = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(code), "{arguments:?}: {stderr}");
    assert!(stderr.contains(word), "{arguments:?} does not name `{word}`: {stderr}");
    assert_eq!(stderr.is_empty(), code == 0, "{arguments:?}: {stderr}");
}

fn name(file: &Path) -> &str {
    file.to_str().expect("a temporary path is text")
}

/// An address on which nobody listens.
fn closed() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|held| held.local_addr()).expect("loopback has a free port")
}
