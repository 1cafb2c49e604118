//! The first run: the API's address, and no file.

use crate::proxy::Proxy;
use crate::scripted::{self, After, Origin, write};
use crate::wire::Connection;
use serde_json::json;

#[test]
fn an_address_is_enough_for_validators_and_for_numbers() {
    let origin = Origin::answering(scripted::json(&["Cache-Control: no-cache, private"], r#"{"id":1}"#));
    let proxy = Proxy::without_a_file(&["--origin", &origin.url]);
    let page = proxy.program.prints(|line| line.strip_prefix("The page to open: ").map(str::to_owned));
    assert_eq!(page, format!("http://{}/", proxy.admin));

    let first = proxy.get("/products/1");
    assert!(first.etag().starts_with("\"fg1-") && first.head.field("last-modified").is_some(), "{first:?}");
    let again = proxy.ask("GET /products/1", &[&format!("If-None-Match: {}", first.etag())], "");
    assert_eq!((again.status(), again.text()), (304, ""));
    assert_eq!(proxy.get("/products/2").text(), r#"{"id":1}"#);
    assert_eq!(origin.times_asked(), 3, "nothing is answered unasked");

    let words = proxy.program.prints(|line| {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        (words.first()? == "/products/{id}" && words[1] == "3").then_some(words)
    });
    assert_eq!(words[2..4], ["1", "1"], "contents, 304s: {words:?}");
    assert!(words.join(" ").contains("1 hits, 0 stale"), "{words:?}");

    let mut admin = Connection::open(proxy.admin);
    admin.ask("GET /", &["Host: localhost"], "");
    assert_eq!(admin.response().status(), 200);
    let row = &proxy.stats()["learned"]["paths"][0];
    assert_eq!(
        [&row["path"], &row["requests"], &row["not_modified"]],
        [&json!("/products/{id}"), &json!(3), &json!(1)]
    );
    assert_eq!(row["fresh"]["30s"], json!({ "hits": 1, "stale": 0 }), "{row}");
}

/// An origin that answers with the status that the last segment of a path names.
fn origin_that_obeys() -> Origin {
    Origin::start(|request, peer| {
        match request.line().rsplit_once("/answer/") {
            Some((_, status)) => {
                write(peer, format!("HTTP/1.1 {status} As Told\r\nContent-Length: 0\r\n\r\n").as_bytes());
            }
            None => write(peer, scripted::json(&["Cache-Control: private"], r#"{"id":1}"#).as_bytes()),
        }
        After::Keep
    })
}

#[test]
fn with_fresh_each_caller_is_answered_from_what_they_were_told() {
    let origin = origin_that_obeys();
    let proxy = Proxy::without_a_file(&["--origin", &origin.url, "--fresh", "30s"]);
    for who in ["Bearer x", "Bearer y"] {
        let get = || proxy.ask("GET /products", &[&format!("Authorization: {who}")], "");
        assert!(get().cache_status().contains("; stored"));
        assert!(get().cache_status().starts_with("freshgate; hit"));
        assert_eq!(origin.times_asked(), 1, "{who} is asked for once: nothing is shared");
    }
}

#[test]
fn with_fresh_only_a_definite_refusal_leaves_what_is_stored() {
    let origin = origin_that_obeys();
    let proxy = Proxy::without_a_file(&["--origin", &origin.url, "--fresh", "30s"]);
    let read = || ["/products", "/reports/today"].iter().for_each(|path| drop(proxy.get(path)));
    read();
    assert_eq!(origin.times_asked(), 2);
    // 502 last: nobody knows what became of it, and nothing is stored for a while.
    for (status, empties) in
        [(422, false), (401, false), (404, true), (409, true), (200, true), (303, true), (500, true), (502, true)]
    {
        let told = proxy.ask(&format!("POST /elsewhere/answer/{status}"), &[], "{}");
        assert_eq!((told.status(), origin.times_asked()), (status, 1));
        read();
        assert_eq!(origin.times_asked(), if empties { 2 } else { 0 }, "after a {status}");
    }
}
