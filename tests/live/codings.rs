//! Content codings over sockets: what a browser asks for, it gets.

use crate::proxy::Proxy;
use crate::scripted::{Origin, json};
use std::io::Read;

/// The first answer is in the identity form, and nobody waits for the other; it is there some requests later.
#[test]
fn a_stored_body_is_sent_in_the_coding_that_its_client_takes() {
    let body = format!("[{}]", vec![r#"{"name":"one"}"#; 200].join(","));
    let origin = Origin::answering(json(&[], &body));
    let proxy = Proxy::caching(&origin.url);
    let ask = || proxy.ask("GET /a/1", &["Accept-Encoding: gzip"], "");
    let first = ask();
    assert_eq!((first.text(), first.field("vary")), (body.as_str(), "Accept-Encoding"));
    let coded =
        std::iter::repeat_with(ask).take(100_000).find(|answer| answer.head.field("content-encoding").is_some());
    let coded = coded.expect("it is made soon");
    assert_eq!((coded.field("content-encoding"), coded.field("vary")), ("gzip", "Accept-Encoding"));
    assert_eq!(coded.field("content-length"), coded.body.len().to_string());
    assert!(coded.etag().ends_with("-gzip1\""), "{coded:?}");
    let mut text = String::new();
    flate2::read::GzDecoder::new(coded.body.as_slice()).read_to_string(&mut text).expect("gzip");
    assert_eq!(text, body);
    let current = proxy.ask("GET /a/1", &["Accept-Encoding: gzip", &format!("If-None-Match: {}", coded.etag())], "");
    assert_eq!((current.status(), current.etag()), (304, coded.etag()));
    assert_eq!(origin.times_asked(), 1);
}
