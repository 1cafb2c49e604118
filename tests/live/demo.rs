//! What `make demo` runs: the sample API behind a real proxy, and ten cashiers who check every answer, over sockets.

use crate::proxy::{Program, stats};
use crate::wire::Connection;
use std::net::SocketAddr;
use tempfile::TempDir;

#[test]
fn the_demonstration_checks_a_real_proxy_and_ends_when_it_is_told_to() {
    let folder = TempDir::new().expect("a folder can be made");
    let mut demo = Program::start(folder, &["demo", "--listen", "127.0.0.1:0"]);
    let page: SocketAddr = demo.prints(|line| {
        let named = line.strip_prefix("Open http://")?.strip_suffix("/ to watch.")?;
        Some(named.parse().expect("the page has an address"))
    });
    let line = demo.prints(|line| line.contains("reached the origin").then(|| line.to_owned()));
    assert!(line.ends_with(" 0 stale"), "each answer is right and whole: {line}");

    let mut admin = Connection::open(page);
    admin.ask("GET /", &["Host: localhost"], "");
    let answer = admin.response();
    assert_eq!((answer.status(), answer.field("content-type")), (200, "text/html; charset=utf-8"));
    let total = &stats(page)["total"];
    assert!(total["hits"].as_u64() > Some(0), "{total}");
    assert!(total["requests"].as_u64() > total["origin_requests"].as_u64(), "{total}");

    demo.terminate();
    let (rest, status) = demo.end();
    assert_eq!(status.code(), Some(0), "{rest:#?}");
    for clean in ["stale reads", "another tenant's answers", "failed answers"] {
        let row = rest.iter().find(|line| line.starts_with(clean)).expect("the day is summed up so far");
        assert!(row.ends_with(" 0"), "{row}");
    }
}
