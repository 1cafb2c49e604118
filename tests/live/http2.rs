//! HTTP/2 over TLS, agreed on by ALPN: the same pipeline answers.

use crate::proxy::{CACHED, Proxy};
use crate::scripted::{After, Origin, gate, json, write};
use crate::tls::{self, Certificates};
use crate::wire::PATIENCE;
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::request::Builder;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinHandle;
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
        assert!(is_hit(&fields), "{fields:?}");
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
    Secured::start(&origin.url, limits, &[]).connected(async |client| {
        let (response, mut upload) = begin(client, put("/a/1").header("content-length", 5), false).await;
        upload.send_data(Bytes::from_static(b"\"ab"), false).expect("the stream is open");
        assert_eq!(response.await.expect("a response comes").status(), StatusCode::REQUEST_TIMEOUT);
    });
    assert_eq!(origin.times_asked(), 0);
}

/// A body without Content-Length is read whole, too, and then belongs to no client.
#[test]
fn a_client_that_resets_its_stream_does_not_end_its_mutation() {
    let (open, wait) = gate();
    let (come, mut came) = unbounded_channel();
    let origin = Origin::start(move |request, peer| {
        if request.line() == "PUT /a/1" {
            come.send(()).expect("the test waits");
            wait();
        }
        write(peer, json(&[], r#"{"id":1}"#).as_bytes());
        After::Keep
    });
    let secured = Secured::start(&origin.url, "", &["--access-log"]);
    secured.connected(async |client| {
        let (_response, mut upload) = begin(client, put("/a/1"), false).await;
        upload.send_data(Bytes::from_static(br#"{"id":1}"#), true).expect("the stream is open");
        came.recv().await.expect("the origin is asked");
        upload.send_reset(Reason::CANCEL);
        // An exchange behind the reset: when it is over, the proxy has heard of both.
        ask(client, "GET", "/unnamed", &[], "").await;
    });
    assert_eq!(secured.logged()["path"], "/unnamed");
    open.send(()).expect("the origin waits");
    let put = secured.logged();
    assert_eq!([&put["path"], &put["mutation"]], ["/a/1", "done"], "{put}");

    assert_eq!(origin.times_asked(), 2);
    secured.connected(async |client| {
        for _ in 0..2 {
            ask(client, "GET", "/a/1", &[], "").await;
        }
    });
    assert_eq!(origin.times_asked(), 1, "what it touched is not in quarantine");
}

#[test]
fn a_mutation_that_is_not_sent_whole_is_none() {
    let origin = Origin::answering(json(&[], r#"{"id":1}"#));
    over_http2(&origin, async |client| {
        ask(client, "GET", "/a/1", &[], "").await;
        let (_response, mut upload) = begin(client, put("/a/1"), false).await;
        upload.send_data(Bytes::from_static(br#"{"id""#), false).expect("the stream is open");
        for _ in 0..2 {
            let (_, fields, _) = ask(client, "GET", "/a/1", &[], "").await;
            assert!(is_hit(&fields), "nothing has been sent, so no barrier is up: {fields:?}");
            upload.send_reset(Reason::CANCEL);
        }
    });
    assert_eq!(origin.times_asked(), 1);
}

#[test]
fn an_upload_of_any_length_arrives_whole() {
    const BUFFER: usize = 64 * 1024;
    let origin = Origin::answering(json(&[], "true"));
    let secured = Secured::start(&origin.url, &format!("origin.request_buffer = \"{}KiB\"\n", BUFFER / 1024), &[]);
    for length in [0, 1, BUFFER, BUFFER + 1, 8 * BUFFER, 8 * BUFFER + 1] {
        let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        // The end of the body in the frame of its last octets, or in one of its own.
        for (announced, apart) in [(true, false), (false, false), (false, true)] {
            secured.connected(async |client| {
                let mut request = put("/a/1");
                if announced {
                    request = request.header("content-length", length);
                }
                let (response, mut upload) = begin(client, request, false).await;
                upload.send_data(Bytes::from(content.clone()), !apart).expect("the stream is open");
                if apart {
                    upload.send_data(Bytes::new(), true).expect("the stream is open");
                }
                let (status, fields, _) = answered(response).await;
                assert_eq!(status, StatusCode::OK, "{length} octets");
                let streamed = fields["cache-status"].to_str().expect("a list is text").contains("detail=pass");
                // A body that is over by less than a frame may have come to its end before that was seen.
                assert!(streamed == (length > BUFFER) || length == BUFFER + 1, "{length} octets: {fields:?}");
            });
            assert!(origin.asked().body == content, "{length} octets, announced: {announced}, end apart: {apart}");
            assert_eq!(origin.times_asked(), 0, "{length} octets, announced: {announced}, end apart: {apart}");
        }
    }
}

#[test]
fn the_bound_on_a_body_holds_without_content_length() {
    let origin = Origin::answering(json(&[], "true"));
    let secured = Secured::start(&origin.url, "server.limits.body = \"64KiB\"\n", &[]);
    secured.connected(async |client| {
        let content = "x".repeat(65 * 1024);
        let (status, ..) = ask(client, "PUT", "/a/1", &[], &content).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    });
    assert_eq!(origin.times_asked(), 0);
}

#[test]
fn trace_is_for_this_proxy_or_for_nobody() {
    let origin = Origin::answering(json(&[], "true"));
    over_http2(&origin, async |client| {
        let secret = ("authorization", "Bearer hunter2");
        let (status, fields, body) = ask(client, "TRACE", "/a/1", &[("max-forwards", "0"), secret], "").await;
        assert_eq!((status, &fields["content-type"]), (StatusCode::OK, &HeaderValue::from_static("message/http")));
        let seen = String::from_utf8(body).expect("the request was text");
        assert!(seen.starts_with("TRACE /a/1 HTTP/1.1\r\n") && !seen.contains("hunter2"), "{seen}");

        for (fields, body, refused) in [
            (&[][..], "", StatusCode::METHOD_NOT_ALLOWED),
            (&[("max-forwards", "1"), secret], "", StatusCode::METHOD_NOT_ALLOWED),
            (&[("max-forwards", "0"), secret], "a body", StatusCode::BAD_REQUEST),
        ] {
            let (status, answer, _) = ask(client, "TRACE", "/a/1", fields, body).await;
            assert_eq!((status, answer.contains_key("allow")), (refused, refused == StatusCode::METHOD_NOT_ALLOWED));
        }
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

/// One write of the proxy is at least one record (RFC 8446 §5.1), so records tell how many there were at most.
#[test]
fn what_is_answered_at_once_leaves_in_few_writes() {
    const ASKED: usize = 64;
    // h2 copies short frames together, and has longer ones written by themselves.
    for (length, at_most) in [(4, ASKED / 8), (2048, ASKED / 4)] {
        let body = format!("\"{}\"", "x".repeat(length - 2));
        let origin = Origin::answering(json(&[], &body));
        let secured = Secured::start(&origin.url, "server.threads = 1\n", &[]);
        let whole = async {
            let records = Arc::new(AtomicUsize::new(0));
            let (mut client, driver) = secured.connect_by(|stream| Counted::new(stream, records.clone())).await;
            ask(&mut client, "GET", "/a/1", &[], "").await;
            let before = records.load(Relaxed);
            let mut responses = Vec::new();
            for _ in 0..ASKED {
                responses.push(begin(&mut client, Request::builder().uri("https://shop.test/a/1"), true).await.0);
            }
            for (status, fields, came) in futures_util::future::join_all(responses.into_iter().map(answered)).await {
                assert!(status == StatusCode::OK && is_hit(&fields) && came == body.as_bytes(), "{fields:?}");
            }
            driver.abort();
            records.load(Relaxed) - before
        };
        let records = tls::runtime().block_on(async { tokio::time::timeout(PATIENCE, whole).await });
        let records = records.expect("no answer takes so long");
        assert!(records <= at_most, "{ASKED} answers of {length} octets came in {records} records");
    }
}

/// A connection that counts the TLS records that come on it.
struct Counted {
    stream: TcpStream,
    records: Arc<AtomicUsize>,
    /// What has come of the next record's five octets of header; and what has yet to come of the last one's content.
    header: Vec<u8>,
    rest: usize,
}

impl Counted {
    fn new(stream: TcpStream, records: Arc<AtomicUsize>) -> Counted {
        Counted { stream, records, header: Vec::new(), rest: 0 }
    }

    fn count(&mut self, octets: &[u8]) {
        for octet in octets {
            if self.rest > 0 {
                self.rest -= 1;
                continue;
            }
            self.header.push(*octet);
            if let [_, _, _, high, low] = self.header[..] {
                self.rest = u16::from_be_bytes([high, low]).into();
                self.header.clear();
                self.records.fetch_add(1, Relaxed);
            }
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, out);
        self.count(&out.filled()[before..]);
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// As many streams as a connection has, on ten connections: so many sockets a process has everywhere.
#[test]
fn a_thousand_concurrent_misses_are_one_request_to_the_origin() {
    let (open, wait) = gate();
    let origin = Origin::start(move |_, peer| {
        wait();
        write(peer, json(&[], "true").as_bytes());
        After::Keep
    });
    let secured = Secured::start(&origin.url, "", &[]);
    let all = async {
        let mut connections = Vec::new();
        let mut responses = Vec::new();
        for _ in 0..10 {
            let (mut client, driver) = secured.connect().await;
            for _ in 0..100 {
                let get = Request::builder().uri("https://shop.test/a/1");
                responses.push(begin(&mut client, get, true).await.0);
            }
            connections.push((client, driver));
        }
        open.send(()).expect("the origin waits");
        for (status, _, body) in futures_util::future::join_all(responses.into_iter().map(answered)).await {
            assert_eq!((status, &body[..]), (StatusCode::OK, &b"true"[..]));
        }
    };
    tls::runtime().block_on(async { tokio::time::timeout(PATIENCE, all).await }).expect("no answer takes that long");
    assert_eq!(origin.times_asked(), 1);
}

/// Runs a test against a proxy with TLS, on one HTTP/2 connection.
#[track_caller]
fn over_http2(origin: &Origin, test: impl AsyncFnOnce(&mut SendRequest<Bytes>)) {
    Secured::start(&origin.url, "", &[]).connected(test);
}

/// A proxy that speaks TLS, and what its clients trust.
pub struct Secured {
    proxy: Proxy,
    certificates: Certificates,
}

impl Secured {
    /// With these lines of configuration, and arguments, besides.
    #[track_caller]
    pub fn start(origin_url: &str, lines: &str, arguments: &[&str]) -> Secured {
        let certificates = Certificates::new();
        let files = format!("cert = \"{}\", key = \"{}\"", certificates.cert.display(), certificates.key.display());
        let config = format!("server.tls = {{ {files} }}\norigin.url = \"{origin_url}\"\n{lines}{CACHED}");
        Secured { proxy: Proxy::start_with(&config, arguments), certificates }
    }

    /// Runs a test on one HTTP/2 connection.
    #[track_caller]
    pub fn connected(&self, test: impl AsyncFnOnce(&mut SendRequest<Bytes>)) {
        let whole = async {
            let (mut client, driver) = self.connect().await;
            test(&mut client).await;
            driver.abort();
        };
        tls::runtime()
            .block_on(async { tokio::time::timeout(PATIENCE, whole).await })
            .expect("no answer takes that long");
    }

    /// The next line of the access log.
    #[track_caller]
    fn logged(&self) -> serde_json::Value {
        let line = self.proxy.program.printed.recv_timeout(PATIENCE).expect("it runs and logs");
        serde_json::from_str(&line).expect("each line is JSON")
    }

    async fn connect(&self) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
        self.connect_by(|stream| stream).await
    }

    /// `way`: what the octets of the connection go through.
    async fn connect_by<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        way: impl FnOnce(TcpStream) -> S,
    ) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
        let connector = TlsConnector::from(Arc::new(tls::client(&self.certificates.ca_der, b"h2")));
        let stream = way(TcpStream::connect(self.proxy.address).await.expect("the proxy listens"));
        let name = "localhost".try_into().expect("a host name");
        let stream = connector.connect(name, stream).await.expect("the CA is trusted");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "HTTP/2 is agreed on");
        let (client, connection) = h2::client::handshake(stream).await.expect("both speak HTTP/2");
        (client, tokio::spawn(connection))
    }
}

fn is_hit(fields: &HeaderMap) -> bool {
    fields["cache-status"].to_str().expect("a list is text").starts_with("freshgate; hit")
}

fn put(path: &str) -> Builder {
    Request::builder().method("PUT").uri(format!("https://shop.test{path}"))
}

/// One exchange.
pub async fn ask(
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
    let (response, mut upload) = begin(client, request, body.is_empty()).await;
    if !body.is_empty() {
        upload.send_data(Bytes::copy_from_slice(body.as_bytes()), true).expect("the stream is open");
    }
    answered(response).await
}

/// Sends a request's head; `ends`: there is no body.
pub async fn begin(
    client: &mut SendRequest<Bytes>,
    request: Builder,
    ends: bool,
) -> (ResponseFuture, SendStream<Bytes>) {
    let request = request.body(()).expect("the test's request is well-formed");
    std::future::poll_fn(|context| client.poll_ready(context)).await.expect("the connection is open");
    client.send_request(request, ends).expect("a stream is free")
}

/// The whole response.
pub async fn answered(response: ResponseFuture) -> (StatusCode, HeaderMap, Vec<u8>) {
    let (head, mut content) = response.await.expect("a response comes").into_parts();
    let mut whole = Vec::new();
    while let Some(data) = content.data().await {
        let data = data.expect("the body comes whole");
        content.flow_control().release_capacity(data.len()).expect("it was taken");
        whole.extend_from_slice(&data);
    }
    (head.status, head.headers, whole)
}
