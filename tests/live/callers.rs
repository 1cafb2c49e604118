//! Callers: what a running proxy says of routes that it had to demote, and what it says of nobody.

use crate::proxy::{Proxy, freshgate};
use crate::scripted::{After, Origin, json, write};
use crate::wire::Connection;
use std::process::Output;

/// Two routes that are to be shared.
const SHARED: &str = r#"
[[route]]
name = "mine"
paths = ["/mine"]
fresh = "1h"
scope = "authenticated"
[[route]]
name = "all"
paths = ["/all", "/all/{id}"]
fresh = "1h"
scope = "authenticated"
"#;

/// An origin that tells each caller something else below `/mine`, refuses `Bearer refused-hunter1`, and breaks off what
/// is asked of `/broken`.
fn origin() -> Origin {
    Origin::start(|request, peer| {
        let caller = request.head.field("authorization").unwrap_or_default();
        let target = request.line().split(' ').nth(1).unwrap_or_default();
        match target {
            _ if caller.contains("refused") => write(peer, b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"),
            _ if target.starts_with("/broken") || target.contains("broken") => return After::Reset,
            _ if target.starts_with("/mine") => write(peer, json(&[], &format!("{:?}", caller.len())).as_bytes()),
            _ => write(peer, json(&[], "true").as_bytes()),
        }
        After::Keep
    })
}

fn admin(proxy: &Proxy, path: &str) -> String {
    let mut admin = Connection::open(proxy.admin);
    admin.ask(&format!("GET {path}"), &["Host: localhost"], "");
    let answer = admin.response();
    assert_eq!(answer.status(), 200, "{path}");
    answer.text().to_owned()
}

/// What the program prints with these arguments.
fn printed(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = freshgate().args(arguments).output().expect("the program was built");
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("it prints text")
}

/// A demotion is shown on the page, in the statistics, in the log, and by `check --admin`.
#[test]
fn a_demoted_route_is_told_wherever_its_owner_may_look() {
    let origin = origin();
    let config = format!("origin.url = \"{}\"\n{SHARED}", origin.url);
    let proxy = Proxy::start(&config);
    let folder = tempfile::TempDir::new().expect("a folder can be made");
    let file = folder.path().join("freshgate.toml");
    std::fs::write(&file, &config).expect("a file can be written");
    let url = format!("http://{}", proxy.admin);
    let file = file.to_str().expect("a temporary path is text");
    let check = ["check", "--config", file, "--admin", &url];
    let report = printed(&check[..3]);

    for path in ["/mine", "/all"] {
        assert_eq!(proxy.ask(&format!("GET {path}"), &["Authorization: Bearer a"], "").status(), 200);
    }
    let mutations = format!("{url} has seen no mutation without a route, or that invalidated nothing.\n");
    let apart = format!("{url} keeps no route's callers apart that were to share.\n");
    assert_eq!(printed(&check), format!("{report}\n{apart}{mutations}"));
    assert!(admin(&proxy, "/stats").contains(r#""demoted":[]"#));

    for path in ["/mine", "/all"] {
        let told = proxy.ask(&format!("GET {path}"), &["Authorization: Bearer bb"], "");
        let diverged = told.head.field("cache-status").is_some_and(|status| status.contains("detail=diverged"));
        assert_eq!(diverged, path == "/mine", "{told:?}");
    }
    let apart = "\nmine: the origin told callers who share this route different things, so each of them is kept apart\n    \
                 until the restart. Write scope = \"user\", or a claim that tells them apart.\n";
    assert_eq!(printed(&check), format!("{report}{apart}{mutations}"));
    assert!(printed(&["stats", "--admin", &url]).contains(apart));
    assert!(admin(&proxy, "/stats").contains(r#""demoted":["mine"]"#));
    assert!(admin(&proxy, "/").contains(r#"id="demotedRoutes""#), "the page has a place for it");
    let log = proxy.program.log();
    assert!(log.contains("callers were told different things by the origin") && log.contains("mine"), "{log}");
    assert!(!log.contains("Bearer"), "{log}");
}

/// Research names it E12: what the operator is shown is of everybody's requests, and of nobody's secrets.
#[test]
fn nothing_that_is_told_holds_a_credential_or_a_query() {
    let origin = origin();
    let url = &origin.url;
    let first_run = format!("origin.url = \"{url}\"\n");
    let routes = format!("origin.url = \"{url}\"\norigin.quarantine = \"10ms\"\n{SHARED}");
    let (first_run, routes) =
        (Proxy::start_with(&first_run, &["--access-log"]), Proxy::start_with(&routes, &["--access-log"]));
    let caller = |name: &str| {
        [
            format!("Authorization: Bearer {name}-hunter1"),
            format!("Cookie: session={name}-hunter2"),
            "X-Api-Key: hunter3".to_owned(),
        ]
    };
    let query = "?token=hunter4&hunter5";
    for proxy in [&first_run, &routes] {
        let mut told = 0;
        for name in ["ann", "bea", "bea", "refused"] {
            let fields = caller(name);
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            for (line, more) in [
                (format!("GET /mine{query}"), None),
                (format!("GET /all/1{query}"), None),
                (format!("GET /all/1{query}"), Some("If-None-Match: \"hunter6\"")),
                (format!("PUT /all/1{query}"), Some("If-Match: \"hunter6\"")),
                (format!("PUT /all/1{query}"), Some("If-Match: \"fg1-aaaaaaaaaaaaaaaaaaaaaa\"")),
                (format!("POST /unrouted{query}"), None),
                (format!("GET /broken{query}"), None),
                (format!("PUT /all/broken{query}"), None),
                (format!("DELETE /all/1{query}"), None),
            ] {
                let fields: Vec<&str> = fields.iter().copied().chain(more).collect();
                proxy.ask(&line, &fields, "");
                told += 1;
            }
        }
        let logged: Vec<String> = (0..told).map(|_| proxy.program.printed.recv().expect("it runs and logs")).collect();
        let shown = ["/stats", "/metrics", "/changes", "/config", "/"].map(|path| admin(proxy, path));
        for text in shown.iter().chain(&logged).chain([&proxy.program.log()]) {
            assert!(!text.contains("hunter"), "{text}");
        }
    }
    assert!(admin(&routes, "/changes").contains("/all/1"), "there were changes to tell of");
    assert!(routes.program.log().contains("origin failed"), "and failures");
}
