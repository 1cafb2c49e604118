//! HTTP/2 over TLS, agreed on by ALPN: the same pipeline answers.

use crate::proxy::{CACHED, Proxy};
use crate::scripted::{After, Origin, json, write};
use crate::tls::{self, Certificates};
use crate::wire::PATIENCE;
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[test]
fn a_get_is_a_miss_then_a_304() {
    let origin = Origin::answering(json(&[], r#"{"id":1}"#));
    over_http2(&origin, async |client| {
        let (status, fields, body) = ask(client, "GET", "/a/1", &[], "").await;
        assert_eq!((status, &body[..]), (StatusCode::OK, &br#"{"id":1}"#[..]));
        let etag = fields["etag"].to_str().expect("an entity-tag is text");
        assert!(etag.starts_with("\"fg1-"), "{fields:?}");

        let (status, fields, body) = ask(client, "GET", "/a/1", &[("if-none-match", etag)], "").await;
        assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
        let cache_status = fields["cache-status"].to_str().expect("a list is text");
        assert!(cache_status.starts_with("freshgate; hit"), "{fields:?}");
    });
    assert_eq!(origin.times_asked(), 1);
}

#[test]
fn a_mutation_carries_its_body_and_invalidates() {
    let origin = Origin::start(|request, peer| {
        let body = std::str::from_utf8(&request.body).expect("the test sends text");
        write(peer, json(&[], body).as_bytes());
        After::Keep
    });
    let content = format!("\"{}\"", "x".repeat(256 * 1024));
    over_http2(&origin, async |client| {
        ask(client, "GET", "/a/1", &[], "").await;
        let (status, _, body) = ask(client, "PUT", "/a/1", &[], &content).await;
        assert_eq!((status, body.len()), (StatusCode::OK, content.len()));
        ask(client, "GET", "/a/1", &[], "").await;
    });
    assert_eq!(origin.times_asked(), 3);
}

#[test]
fn what_is_not_cached_passes_through() {
    let origin = Origin::answering("HTTP/1.1 299 Odd\r\nX-Odd: yes\r\nContent-Length: 4\r\n\r\ntrue");
    over_http2(&origin, async |client| {
        for (method, path) in [("GET", "/unnamed"), ("OPTIONS", "/a/1"), ("FOO", "/unnamed")] {
            let (status, fields, body) = ask(client, method, path, &[], "").await;
            assert_eq!((status.as_u16(), &body[..]), (299, &b"true"[..]), "{method}");
            assert_eq!(fields["x-odd"], "yes", "{method}");
            assert!(fields.contains_key("cache-status"), "{method}");
        }
    });
}

#[test]
fn a_body_that_stops_coming_is_not_waited_for() {
    let origin = Origin::answering(json(&[], "true"));
    let limits = "[server.limits]\nidle_timeout = \"1s\"\n";
    over_http2_with(&origin, limits, async |client| {
        let request = Request::builder().method("PUT").uri("https://shop.test/a/1").header("content-length", 5);
        let request = request.body(()).expect("it is well-formed");
        let (response, mut upload) = client.send_request(request, false).expect("a stream is free");
        upload.send_data(Bytes::from_static(b"\"ab"), false).expect("the stream is open");
        assert_eq!(response.await.expect("a response comes").status(), StatusCode::REQUEST_TIMEOUT);
    });
    assert_eq!(origin.times_asked(), 0);
}

#[test]
fn streams_of_one_connection_do_not_mix() {
    let origin = Origin::start(|request, peer| {
        write(peer, json(&[], &format!("\"{}\"", request.line())).as_bytes());
        After::Keep
    });
    over_http2(&origin, async |client| {
        let asks = (0..50).map(|id| {
            let mut client = client.clone();
            async move {
                let path = format!("/a/{id}");
                let (_, _, body) = ask(&mut client, "GET", &path, &[], "").await;
                assert_eq!(body, format!("\"GET {path}\"").into_bytes());
            }
        });
        futures_util::future::join_all(asks).await;
    });
}

/// Runs a test against a proxy with TLS, on one HTTP/2 connection.
#[track_caller]
fn over_http2(origin: &Origin, test: impl AsyncFnOnce(&mut SendRequest<Bytes>)) {
    over_http2_with(origin, "", test);
}

/// With these tables besides.
#[track_caller]
fn over_http2_with(origin: &Origin, tables: &str, test: impl AsyncFnOnce(&mut SendRequest<Bytes>)) {
    let certificates = Certificates::new();
    let files = format!("cert = \"{}\", key = \"{}\"", certificates.cert.display(), certificates.key.display());
    let proxy = Proxy::start(&format!("server.tls = {{ {files} }}\norigin.url = \"{}\"\n{tables}{CACHED}", origin.url));
    let connector = TlsConnector::from(Arc::new(tls::client(&certificates.ca_der, b"h2")));
    let whole = async {
        let stream = TcpStream::connect(proxy.address).await.expect("the proxy listens");
        let name = "localhost".try_into().expect("a host name");
        let stream = connector.connect(name, stream).await.expect("the CA is trusted");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "HTTP/2 is agreed on");
        let (mut client, connection) = h2::client::handshake(stream).await.expect("both speak HTTP/2");
        let driver = tokio::spawn(connection);
        test(&mut client).await;
        driver.abort();
    };
    tls::runtime().block_on(async { tokio::time::timeout(PATIENCE, whole).await }).expect("no answer takes that long");
}

/// One exchange.
async fn ask(
    client: &mut SendRequest<Bytes>,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> (StatusCode, HeaderMap, Vec<u8>) {
    let mut request = Request::builder().method(method).uri(format!("https://shop.test{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(()).expect("the test's request is well-formed");
    std::future::poll_fn(|context| client.poll_ready(context)).await.expect("the connection is open");
    let (response, mut upload) = client.send_request(request, body.is_empty()).expect("a stream is free");
    if !body.is_empty() {
        upload.send_data(Bytes::copy_from_slice(body.as_bytes()), true).expect("the stream is open");
    }
    let (head, mut content) = response.await.expect("a response comes").into_parts();
    let mut whole = Vec::new();
    while let Some(data) = content.data().await {
        let data = data.expect("the body comes whole");
        content.flow_control().release_capacity(data.len()).expect("it was taken");
        whole.extend_from_slice(&data);
    }
    (head.status, head.headers, whole)
}
