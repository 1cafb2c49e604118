//! What no row can say of the admin listener (H1, H4, H5).

use crate::now;
use crate::origin::Talker;
use crate::proxy::Proxy;
use crate::wire::{Connection, Response, request};
use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const TOKEN: &str = "t0ken-that-nobody-is-shown";
const SECRET: &str = "s3cret-that-tokens-are-signed-with";

/// A purge, as octets.
fn purge(body: &str) -> String {
    request("POST /purge", &["Host: localhost", "Content-Type: application/json"], body)
}

/// They hold files that the public listener needs, and no token is asked for before a head has come.
#[test]
fn connections_on_which_nothing_is_asked_are_closed() {
    let talker = Talker::default();
    let proxy =
        Proxy::start(&format!("origin.url = \"{}\"\nserver.limits.header_timeout = \"1s\"\n", talker.origin.url));
    for begun in ["", "GET /stats HTTP/1.1\r\nHost: local"] {
        let mut connection = Connection::open(proxy.admin);
        connection.send(begun);
        assert!(connection.is_closed(), "{begun:?}");
    }
    let mut idle = Connection::open(proxy.admin);
    idle.ask("GET /healthz", &["Host: localhost"], "");
    assert_eq!(idle.response().status(), 200);
    assert!(idle.is_closed());
    // More than there may be at once, at the same time: others wait until those have gone, and are heard then.
    let _silent: Vec<Connection> = (0..300).map(|_| Connection::open(proxy.admin)).collect();
    assert_eq!(told(proxy.admin, "GET /healthz", &[]).status(), 200);
}

fn told(admin: SocketAddr, line: &str, fields: &[&str]) -> Response {
    let mut connection = Connection::open(admin);
    connection.ask(line, &[&["Host: localhost"], fields].concat(), "");
    connection.response()
}

#[test]
fn who_has_no_token_is_told_nothing() {
    let talker = Talker::default();
    let folder = TempDir::new().expect("a folder can be made");
    let file = |name: &str, secret: &str| {
        let path = folder.path().join(name);
        fs::write(&path, secret).expect("a file can be written");
        path.display().to_string()
    };
    let (token, secret) = (file("token", TOKEN), file("secret", SECRET));
    let proxy = Proxy::start(&format!(
        "origin.url = \"{}\"\nadmin.token = \"file:{token}\"\nidentity.jwt = {{ algorithm = \"HS256\", key = \"file:{secret}\" }}\n",
        talker.origin.url
    ));
    let wrong =
        ["Bearer", "Bearer wrong", &format!("Bearer {}", &TOKEN[1..]), &format!("Bearer {TOKEN}x")].map(str::to_owned);
    let paths = ["/", "/stats", "/metrics", "/changes", "/config", "/explain?url=/a", "/purge", "/nothing"];
    for path in paths {
        for authorization in wrong.iter().map(|value| vec![format!("Authorization: {value}")]).chain([vec![]]) {
            let fields: Vec<&str> = authorization.iter().map(String::as_str).collect();
            for method in ["GET", "POST"] {
                let answer = told(proxy.admin, &format!("{method} {path}"), &fields);
                assert_eq!(answer.status(), 401, "{method} {path} with {fields:?}: {answer:?}");
                assert!(!answer.text().contains(TOKEN));
            }
        }
    }
    // In a query it would stand in logs.
    assert_eq!(told(proxy.admin, &format!("GET /stats?token={TOKEN}"), &[]).status(), 401);
    let right = format!("Authorization: Bearer {TOKEN}");
    for path in ["/stats", "/metrics", "/changes", "/config", "/explain?url=/a"] {
        let answer = told(proxy.admin, &format!("GET {path}"), &[&right]);
        assert_eq!(answer.status(), 200, "{path}: {answer:?}");
        assert!(!answer.text().contains(TOKEN) && !answer.text().contains(SECRET), "{path}: {answer:?}");
    }
    assert!(!proxy.program.log().contains(TOKEN) && !proxy.program.log().contains(SECRET));
}

/// H4. Figures are printed: `cargo test --test hostile purges -- --nocapture`.
#[test]
fn purges_without_end_cost_the_hits_little() {
    const PURGES: usize = 10_000;
    const THREADS: usize = 8;
    let talker = Talker::default();
    let proxy = Proxy::start(&format!("origin.url = \"{}\"\n{}", talker.origin.url, crate::proxy::CACHED));
    assert_eq!(proxy.get("/a/1").status(), 200);
    let calm = latencies(proxy.address, || false);
    let (admin, began) = (proxy.admin, now());
    let purgers: Vec<_> = (0..THREADS)
        .map(|thread| {
            thread::spawn(move || {
                let mut connection = Connection::open(admin);
                for number in 0..PURGES / THREADS {
                    connection.send(purge(&format!("{{\"key\":\"/other/{thread}/{number}\"}}")));
                    assert_eq!(connection.response().status(), 200);
                }
            })
        })
        .collect();
    let beset = latencies(proxy.address, || purgers.iter().any(|purger| !purger.is_finished()));
    purgers.into_iter().for_each(|purger| purger.join().expect("each purge is answered"));
    let rate = PURGES as f64 / now().since(began).as_secs_f64();
    println!("{PURGES} purges, {rate:.0} a second; p99 of hits {:?}, and beside them {:?}", p99(calm), p99(beset));
    assert!(talker.asked().len() == 1, "what nobody purged stays");
}

/// What hits take: a thousand of them, and more while `on` says so.
fn latencies(address: SocketAddr, on: impl Fn() -> bool) -> Vec<Duration> {
    let mut connection = Connection::open(address);
    let mut taken = Vec::new();
    while taken.len() < 1000 || on() {
        let began = now();
        connection.ask("GET /a/1", &[], "");
        let answer = connection.response();
        assert!(answer.cache_status().starts_with("freshgate; hit"), "{answer:?}");
        taken.push(now().since(began));
    }
    taken
}

fn p99(mut taken: Vec<Duration>) -> Duration {
    taken.sort();
    taken[taken.len() * 99 / 100]
}

/// H5.
#[test]
fn no_client_makes_a_label() {
    let talker = Talker::default();
    let proxy = Proxy::start(&format!("origin.url = \"{}\"\n{}", talker.origin.url, crate::proxy::CACHED));
    let odd = |mark: &str| {
        for (line, fields) in [
            (format!("{mark} /a/1"), vec![]),
            (format!("GET /{mark}?{mark}={mark}"), vec![]),
            ("GET /a/1".to_owned(), vec![format!("Host: {mark}.test")]),
            ("GET /a/1".to_owned(), vec![format!("Authorization: Bearer {mark}"), format!("User-Agent: {mark}")]),
            (format!("PUT /{mark}"), vec![format!("{mark}: {mark}")]),
            (format!("GET /{mark} x"), vec![]),
        ] {
            proxy.ask(&line, &fields.iter().map(String::as_str).collect::<Vec<_>>(), "");
        }
        let metrics = told(proxy.admin, "GET /metrics", &[]).text().to_owned();
        assert!(!metrics.contains(mark), "{metrics}");
        metrics
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
            .collect::<Vec<_>>()
    };
    odd("once");
    let before = odd("again");
    assert_eq!(odd("twice"), before);
}
