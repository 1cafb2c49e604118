//! The front over real sockets, octet by octet, with a raw origin behind it.

use crate::clock::SystemClock;
use crate::edge::listener::{BindError, Listeners};
use crate::origin::http::HttpOrigin;
use crate::origin::wire::{Act, Wire};
use crate::pipeline::Pipeline;
use crate::pipeline::exchange::Exchange;
use crate::policy;
use crate::semantics::invalidation::Outcome;
use bytes::Bytes;
use pingora::tls::{ClientConfig, RootCertStore, ServerName, TlsConnector, install_default_crypto_provider};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";

/// What is said of the first answer to a GET.
const STORED: &str = "freshgate; fwd=uri-miss; fwd-status=200; stored";

/// Longer than `request_buffer` below.
fn long() -> String {
    "x".repeat(3000)
}

fn policy(origin: SocketAddr) -> policy::Policy {
    let long = Duration::from_secs(5);
    policy::Policy {
        server: policy::Server {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            tls: None,
            threads: 1,
            hosts: Vec::new(),
            h2c: false,
            drain: long,
            trusted_proxies: Vec::new(),
            limits: policy::Limits {
                connections: 100,
                header_bytes: 32 * 1024,
                header_count: 100,
                uri: 1000,
                body: 100_000,
                header_timeout: long,
                idle_timeout: long,
            },
        },
        origin: policy::Origin {
            tls: false,
            name: origin.ip().to_string(),
            port: origin.port(),
            path: String::new(),
            host: policy::HostField::Client,
            ca: PathBuf::new(),
            connect_timeout: long,
            response_timeout: long,
            body_timeout: long,
            idle_timeout: long,
            request_buffer: 1024,
            max_concurrent: 64,
            quarantine: long,
            case_insensitive: false,
        },
        admin: policy::Admin { listen: SocketAddr::from(([127, 0, 0, 1], 0)), token: policy::Token::Open },
        cache: policy::Cache {
            memory: 1 << 20,
            max_body: 1 << 16,
            codings: Vec::new(),
            pass_for: long,
            stale_on_disconnect: Duration::ZERO,
        },
        identity: policy::Identity { credentials: Vec::new(), accepted_for: long, jwt: None },
        routes: policy::Routes::new(vec![streams(), implicit()], false).expect("one pattern"),
    }
}

/// Everything below `/stream` is only passed on.
fn streams() -> policy::Route {
    let (text, literal_prefix) = ("/stream/{*rest}".to_owned(), "/stream/".to_owned());
    let pattern = policy::Pattern { text, kind: policy::PatternKind::Remainder, literal_prefix };
    policy::Route {
        id: policy::RouteId(0),
        name: "streams".into(),
        entity: "stream".into(),
        entity_id: policy::EntityId(1),
        patterns: vec![pattern],
        mode: policy::Mode::Pass,
        ..implicit()
    }
}

/// The plain-mode route for everything else.
fn implicit() -> policy::Route {
    policy::Route {
        id: policy::RouteId(1),
        name: "other".into(),
        entity: "other".into(),
        entity_id: policy::EntityId(0),
        patterns: Vec::new(),
        mode: policy::Mode::Cache,
        freshness: policy::Freshness::Origin,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        negative: Duration::ZERO,
        settle: Duration::ZERO,
        scope: policy::Scope::User,
        origin_cache_control: policy::OriginCacheControl::Respect,
        client_cache_control: String::new(),
        request_cache_control: policy::RequestCacheControl::Respect,
        vary: Vec::new(),
        query: policy::Query::default(),
        set_cookie: policy::SetCookie::Refuse,
        validators: policy::Validators::Add,
        require_if_match: false,
        invalidates: Vec::new(),
        reads: Vec::new(),
        writes: Vec::new(),
        query_key: Vec::new(),
        etag: policy::Etag::default(),
        last_modified: policy::LastModified::default(),
    }
}

/// A proxy in front of a scripted origin.
struct Front {
    address: SocketAddr,
    /// What it is called in `Via`.
    name: String,
    origin: Wire,
    observed: Arc<Mutex<Vec<Exchange>>>,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
}

impl Front {
    async fn start(scripts: Vec<Vec<Act>>) -> Front {
        Front::with(scripts, |_| {}).await
    }

    async fn with(scripts: Vec<Vec<Act>>, change: impl FnOnce(&mut policy::Policy)) -> Front {
        let origin = Wire::start(scripts).await;
        let mut policy = policy(origin.address);
        change(&mut policy);
        let listeners = Listeners::bind(&policy).expect("loopback has room");
        let address = listeners.local_addrs()[0];
        let http = HttpOrigin::new(&policy.origin).expect("no roots are needed");
        let observed = Arc::new(Mutex::new(Vec::new()));
        let seen = observed.clone();
        let observer = move |exchange: &Exchange| seen.lock().expect("no holder panics").push(exchange.clone());
        // Another one's name in `Via` must not be its own.
        let mut key = [0; 32];
        key[..2].copy_from_slice(&address.port().to_be_bytes());
        let pipeline = Pipeline::new(Arc::new(policy), Arc::new(http), Arc::new(SystemClock), Arc::new(observer), key);
        let name = pipeline.name.clone();
        let (stop, stopped) = watch::channel(false);
        let served = tokio::spawn(listeners.serve(pipeline, Arc::default(), stopped));
        Front { address, name, origin, observed, stop, served }
    }

    /// How the mutations among the recorded exchanges ended.
    fn outcomes(&self) -> Vec<Option<Outcome>> {
        let observed = self.observed.lock().expect("no holder panics");
        observed.iter().map(|exchange| exchange.mutation.as_ref().map(|mutation| mutation.outcome)).collect()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the proxy listens")
    }

    /// Sends `octets` on a new connection and reads until it is closed.
    async fn talk(&self, octets: &str) -> String {
        let mut client = self.connect().await;
        client.write_all(octets.as_bytes()).await.expect("the proxy reads");
        rest(&mut client).await
    }
}

async fn rest(client: &mut TcpStream) -> String {
    let mut octets = Vec::new();
    client.read_to_end(&mut octets).await.expect("a clean close");
    String::from_utf8(octets).expect("text")
}

/// Reads until what came ends with `end`.
async fn until(client: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let octet = client.read_u8().await.unwrap_or_else(|_| panic!("closed after {text:?}"));
        text.push(char::from(octet));
    }
    text
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n")
}

fn last(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
}

/// `text` in order, each somewhere behind the one before.
#[track_caller]
fn in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else { panic!("{part:?} is missing in order in {text:?}") };
        rest = behind;
    }
}

#[tokio::test]
async fn an_answer() {
    let mut front = Front::start(vec![vec![Act::Read, Act::Write(OK)]]).await;
    let text = front.talk(&last("/a?b")).await;
    in_order(&text, &["HTTP/1.1 200 OK\r\n", STORED, "\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"]);
    assert_eq!(
        front.origin.request().await,
        format!(
            "GET /a?b HTTP/1.1\r\nHost: shop.example\r\nVia: 1.1 {}\r\nX-Forwarded-For: 127.0.0.1\r\n\
             X-Forwarded-Proto: http\r\nX-Forwarded-Host: shop.example\r\n\r\n",
            front.name
        )
    );
    let observed = front.observed.lock().expect("no holder panics");
    assert_eq!(observed.iter().map(|exchange| exchange.sent_bytes).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_streams_among_them() {
    let (a, b, c) =
        ("HTTP/1.1 200 A\r\nContent-Length: 1\r\n\r\na", CHUNKED, "HTTP/1.1 200 C\r\nContent-Length: 1\r\n\r\nc");
    // The streams go over connections of Pingora's own pool.
    let scripts = vec![vec![Act::Read, Act::Write(a), Act::Read, Act::Write(c)], vec![Act::Read, Act::Write(b)]];
    let mut front = Front::start(scripts).await;
    let text = front.talk(&[get("/a"), get("/stream/b"), last("/c")].concat()).await;
    in_order(&text, &["200 A\r\n", "\r\n\r\na", "200 OK\r\n", "2\r\nok\r\n0\r\n\r\n", "200 C\r\n", "\r\n\r\nc"]);
    for path in ["/a", "/stream/b", "/c"] {
        let request = front.origin.request().await;
        assert!(request.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{request:?}");
        in_order(&request.to_lowercase(), &[&format!("via: 1.1 {}\r\n", front.name), "x-forwarded-for: 127.0.0.1\r\n"]);
    }
}

/// All on one thread, so that it is certain who is there when.
#[tokio::test]
async fn others_have_their_turn_between_pipelined_requests() {
    let front = Front::start(Vec::new()).await;
    let own = |path: &str| format!("OPTIONS {path} HTTP/1.1\r\nHost: shop.example\r\nMax-Forwards: 0\r\n\r\n");
    let (mut greedy, mut modest) = (front.connect().await, front.connect().await);
    greedy.write_all(own("/greedy").repeat(100).as_bytes()).await.expect("the proxy reads");
    modest.write_all(own("/modest").as_bytes()).await.expect("the proxy reads");
    modest.read_exact(&mut [0; 12]).await.expect("an answer");
    let observed = front.observed.lock().expect("no holder panics");
    let before = observed.iter().take_while(|exchange| exchange.target != "/modest").count();
    assert!(before < 10, "{before} answers to what came at once go before");
}

#[tokio::test]
async fn short_bodies_are_read_whole() {
    let scripts = vec![vec![Act::Read, Act::Write(OK), Act::Read, Act::Write(OK)]];
    let mut front = Front::start(scripts).await;
    let length = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                   2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
    in_order(&front.talk(&[length, chunked].concat()).await, &["200 OK", "ok", "200 OK", "ok"]);
    for _ in 0..2 {
        let request = front.origin.request().await;
        assert!(request.ends_with("Content-Length: 5\r\n\r\nhello"), "{request:?}");
    }
}

#[tokio::test]
async fn long_bodies_stream() {
    let scripts = || vec![vec![Act::Read, Act::Write(OK)], vec![Act::Read, Act::Write(OK)]];
    let body = long();
    let length = format!("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let chunked = format!(
        "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    for request in [length, chunked] {
        let mut front = Front::start(scripts()).await;
        let text = front.talk(&(request + &last("/b"))).await;
        in_order(&text, &["200 OK", "fwd=method", "detail=pass", "ok", "200 OK", "fwd=uri-miss", "ok"]);
        let seen = front.origin.request().await;
        in_order(&seen, &["POST /a HTTP/1.1\r\n", &body]);
        assert!(front.origin.request().await.starts_with("GET /b "));
    }
}

#[tokio::test]
async fn a_client_that_waits_is_told_to_go_on() {
    let front = Front::start(vec![vec![Act::Read, Act::Write(OK)]]).await;
    let mut client = front.connect().await;
    let head = "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    client.write_all(head.as_bytes()).await.expect("the proxy reads");
    assert_eq!(until(&mut client, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"{}").await.expect("the proxy reads");
    in_order(&rest(&mut client).await, &["HTTP/1.1 200 OK\r\n", "ok"]);
}

#[tokio::test]
async fn http10() {
    let scripts = vec![vec![Act::Read, Act::Write(CHUNKED)], vec![Act::Read, Act::Write(CHUNKED)]];
    let mut front = Front::start(scripts).await;
    for path in ["/a", "/stream/a"] {
        let text = front.talk(&format!("GET {path} HTTP/1.0\r\n\r\n")).await;
        assert!(text.ends_with("\r\n\r\nok"), "{text:?}");
        assert!(!text.to_lowercase().contains("chunked"), "{text:?}");
        in_order(&text.to_lowercase(), &["connection: close\r\n"]);
        let request = front.origin.request().await;
        assert!(request.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{request:?}");
        in_order(&request.to_lowercase(), &["via: 1.0 freshgate-"]);
    }
}

#[tokio::test]
async fn interim_responses_reach_the_client() {
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    for path in ["/a", "/stream/a"] {
        let front = Front::start(vec![vec![Act::Read, Act::Write(hint), Act::Write(OK)]]).await;
        in_order(
            &front.talk(&last(path)).await,
            &["HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n", "ok"],
        );
        let front = Front::start(vec![vec![Act::Read, Act::Write(OK)]]).await;
        let old = front.talk(&format!("GET {path} HTTP/1.0\r\n\r\n")).await;
        assert!(old.starts_with("HTTP/1.1 200 OK\r\n"), "{old:?}");
    }
}

#[tokio::test]
async fn head_has_no_body() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n";
    for path in ["/a", "/stream/a"] {
        let front = Front::start(vec![vec![Act::Read, Act::Write(head)]]).await;
        let text = front.talk(&format!("HEAD {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).await;
        in_order(&text, &["HTTP/1.1 200 OK\r\n", "Content-Length: 20\r\n"]);
        assert!(text.ends_with("\r\n\r\n"), "{text:?}");
    }
}

/// "A server MUST NOT send content in the response" to HEAD (RFC 9110 §9.3.2), a refusal's either.
#[tokio::test]
async fn a_head_that_is_refused_has_no_body() {
    for before in ["", "\r\n"] {
        let front = Front::start(Vec::new()).await;
        let text = front.talk(&format!("{before}HEAD /%zz HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        in_order(&text, &["HTTP/1.1 400 ", "Connection: close\r\n"]);
        assert!(text.ends_with("\r\n\r\n"), "{text:?}");
    }
}

/// "The 'close' connection option" ends the connection wherever it stands (RFC 9112 §9.6).
#[tokio::test]
async fn close_is_heeded_on_any_line_whoever_answers() {
    for path in ["/a", "/stream/a"] {
        let front = Front::start(vec![vec![Act::Read, Act::Write(OK)]]).await;
        let options = "Connection: keep-alive\r\nConnection: close\r\n";
        let text = front.talk(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n{options}\r\n")).await;
        in_order(&text.to_lowercase(), &["http/1.1 200 ok\r\n", "connection: close\r\n", "ok"]);
    }
}

#[tokio::test]
async fn each_line_of_cookies_goes_on() {
    for path in ["/a", "/stream/a"] {
        let mut front = Front::start(vec![vec![Act::Read, Act::Write(OK)]]).await;
        front.talk(&last(path).replace("Host:", "Cookie: a=1\r\nCookie: b=2\r\nHost:")).await;
        in_order(&front.origin.request().await, &["Cookie: a=1\r\n", "Cookie: b=2\r\n"]);
    }
}

#[tokio::test]
async fn an_upgraded_connection_is_passed_on() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello";
    let front = Front::start(vec![vec![Act::Read, Act::Write(switch), Act::Hold]]).await;
    let mut client = front.connect().await;
    let request = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write_all(request.as_bytes()).await.expect("the proxy reads");
    let head = until(&mut client, "\r\n\r\n").await;
    in_order(&head, &["HTTP/1.1 101 Switching Protocols\r\n"]);
    in_order(&head.to_lowercase(), &["upgrade: websocket\r\n"]);
    until(&mut client, "hello").await;
}

#[tokio::test]
async fn a_refused_upgrade_keeps_the_connection() {
    let front = Front::start(vec![vec![Act::Read, Act::Write(OK)], vec![Act::Read, Act::Write(OK)]]).await;
    let mut client = front.connect().await;
    let request = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write_all(request.as_bytes()).await.expect("the proxy reads");
    in_order(&until(&mut client, "\r\n\r\nok").await, &["HTTP/1.1 200 OK\r\n", "fwd=bypass"]);
    client.write_all(last("/a").as_bytes()).await.expect("the proxy reads");
    in_order(&rest(&mut client).await, &["HTTP/1.1 200 OK\r\n", "fwd=uri-miss", "ok"]);
}

#[tokio::test]
async fn a_stream_ends_at_the_origin_when_its_client_leaves() {
    let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
    let mut front = Front::start(vec![vec![Act::Read, Act::Write(endless), Act::Hold]]).await;
    let mut client = front.connect().await;
    client.write_all(get("/stream/a").as_bytes()).await.expect("the proxy reads");
    until(&mut client, "2\r\nok\r\n").await;
    front.origin.request().await;
    drop(client);
    assert_eq!(front.origin.request().await, "", "the origin's connection was closed");
}

/// Two streamed requests, the second on a connection that the origin breaks instead of answering.
async fn streamed_over_a_broken_connection(second: &str) -> (String, usize) {
    let scripts = vec![vec![Act::Read, Act::Write(OK), Act::Read], vec![Act::Read, Act::Write(OK)]];
    let mut front = Front::start(scripts).await;
    in_order(&front.talk(&last("/stream/a")).await, &["HTTP/1.1 200 OK\r\n", "ok"]);
    front.origin.request().await;
    let text = front.talk(second).await;
    front.origin.request().await;
    (text, front.origin.unasked())
}

#[tokio::test]
async fn a_streamed_request_is_repeated_only_where_that_is_safe() {
    let (text, repeated) = streamed_over_a_broken_connection(&last("/stream/a")).await;
    assert!(text.starts_with("HTTP/1.1 200 "), "{text:?}");
    assert_eq!(repeated, 1);
    for method in ["PUT", "DELETE", "POST"] {
        let body = long();
        let head = format!("{method} /a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
        let (text, repeated) = streamed_over_a_broken_connection(&(head + &body)).await;
        assert!(text.starts_with("HTTP/1.1 502 "), "{text:?}");
        assert_eq!(repeated, 0, "{method}");
    }
}

#[tokio::test]
async fn entity_tags_made_here_do_not_reach_the_origin() {
    let mut front = Front::start(vec![vec![Act::Read, Act::Write(OK)]; 2]).await;
    let ours = "\"fg1-Jok2eyBcFs4y7UIAlCuLiw\"";
    for (sent, seen) in [(format!("{ours}, \"own\""), "if-none-match: \"own\"\r\n"), (ours.to_owned(), "")] {
        front
            .talk(&format!("GET /stream/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nIf-None-Match: {sent}\r\n\r\n"))
            .await;
        let request = front.origin.request().await.to_lowercase();
        assert!(request.contains(seen) && !request.contains("fg1-"), "{request:?}");
        assert_eq!(request.contains("if-none-match"), !seen.is_empty(), "{request:?}");
    }
}

#[tokio::test]
async fn a_streamed_mutation_invalidates() {
    let fresh = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok";
    let fetches = vec![Act::Read, Act::Write(fresh), Act::Read, Act::Write(fresh)];
    let front = Front::start(vec![fetches, vec![Act::Read, Act::Write(OK)]]).await;
    in_order(&front.talk(&last("/a")).await, &["fwd=uri-miss", "stored"]);
    in_order(&front.talk(&last("/a")).await, &["freshgate; hit"]);
    let body = long();
    let put = format!("PUT /a HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    in_order(&front.talk(&(put + &last("/a"))).await, &["fwd=method", "ok", "detail=invalidated", "ok"]);
}

#[tokio::test]
async fn how_a_streamed_mutation_ended_is_recorded() {
    let body = long();
    let put =
        format!("PUT /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len()) + &body;
    let refused = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok";
    for (answer, outcome) in [
        (OK, Outcome::Done),
        ("HTTP/1.1 204 No Content\r\n\r\n", Outcome::Done),
        (refused, Outcome::Refused),
        (cut, Outcome::Unknown),
        ("", Outcome::Unknown),
    ] {
        let front = Front::start(vec![vec![Act::Read, Act::Write(answer)]]).await;
        // A cut answer is cut for the client too.
        front.talk(&put).await;
        assert_eq!(front.outcomes(), [Some(outcome)], "{answer:?}");
    }
    let front = Front::with(Vec::new(), |policy| policy.origin.port = 1).await;
    front.talk(&put).await;
    assert_eq!(front.outcomes(), [Some(Outcome::Refused)], "nothing was sent");
}

#[tokio::test]
async fn what_is_refused_is_said_and_closed() {
    let front = Front::start(Vec::new()).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\nHost: h\n\n".to_owned(), 400),
        ("CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 405),
        (format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(2000)), 414),
        (format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "x".repeat(40_000)), 431),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100001\r\n\r\n".to_owned(), 413),
        ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\nok".to_owned(), 400),
        ("GET / HTTP/2.0\r\n\r\n".to_owned(), 505),
    ] {
        let text = front.talk(&(request + &get("/smuggled"))).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text:?}");
        in_order(&text, &["Connection: close\r\n"]);
        assert_eq!(text.matches("Content-Length").count(), 1, "{text:?}");
        // "The origin server MUST generate an Allow header field in a 405 response" (RFC 9110 §15.5.6).
        assert_eq!(text.contains("\r\nAllow: GET, HEAD, POST, "), status == 405, "{text:?}");
    }
}

#[tokio::test]
async fn a_streamed_body_has_the_same_limit() {
    let front = Front::start(vec![vec![Act::Read]]).await;
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let text = front.talk(&format!("{head}{}0\r\n\r\n", chunk.repeat(4))).await;
    assert!(text.starts_with("HTTP/1.1 413 "), "{text:?}");
}

#[tokio::test]
async fn trace_is_answered_here_without_credentials() {
    let front = Front::start(Vec::new()).await;
    let text = front
        .talk("TRACE /a HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\nAuthorization: x\r\nConnection: close\r\n\r\n")
        .await;
    in_order(&text, &["HTTP/1.1 200", "Content-Type: message/http", "\r\n\r\nTRACE /a HTTP/1.1\r\nHost: h\r\n"]);
    assert!(!text.contains("Authorization"), "{text:?}");
}

#[tokio::test]
async fn options_goes_as_far_as_it_says() {
    let mut front = Front::start(vec![vec![Act::Read, Act::Write(OK)]]).await;
    let ask =
        |left: &str| format!("OPTIONS /a HTTP/1.1\r\nHost: h\r\nMax-Forwards: {left}\r\nConnection: close\r\n\r\n");
    let text = front.talk(&ask("0")).await;
    in_order(&text, &["HTTP/1.1 204", "Allow: GET, HEAD", "Cache-Status: freshgate\r\n"]);
    assert!(front.talk(&ask("5")).await.starts_with("HTTP/1.1 200 "));
    let request = front.origin.request().await.to_lowercase();
    let left: Vec<_> = request.lines().filter(|line| line.starts_with("max-forwards")).collect();
    assert_eq!(left, ["max-forwards: 4"], "{request:?}");
}

#[tokio::test]
async fn an_origin_that_fails_gets_a_clear_answer() {
    for path in ["/a", "/stream/a"] {
        let front = Front::with(Vec::new(), |policy| policy.origin.port = 1).await;
        let text = front.talk(&last(path)).await;
        assert!(text.starts_with("HTTP/1.1 502 "), "{text:?}");
        in_order(&text, &["The origin cannot be reached."]);

        let front = Front::start(vec![vec![Act::Read]]).await;
        in_order(&front.talk(&last(path)).await, &["HTTP/1.1 502 ", "did not come whole"]);

        let brief = |policy: &mut policy::Policy| {
            policy.origin.response_timeout = Duration::from_millis(50);
            policy.origin.body_timeout = Duration::from_millis(50);
        };
        let front = Front::with(vec![vec![Act::Read, Act::Hold]], brief).await;
        in_order(&front.talk(&last(path)).await, &["HTTP/1.1 504 ", "did not answer in time"]);
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_looks_broken() {
    let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
    let front = Front::start(vec![vec![Act::Read, Act::Write(cut)]]).await;
    let text = front.talk(&get("/stream/a")).await;
    assert!(text.ends_with("2\r\nok\r\n"), "{text:?}");
}

#[tokio::test]
async fn slow_heads_and_idle_connections_end() {
    let brief = |policy: &mut policy::Policy| {
        policy.server.limits.header_timeout = Duration::from_millis(50);
        policy.server.limits.idle_timeout = Duration::from_millis(50);
    };
    let front = Front::with(vec![vec![Act::Read, Act::Write(OK)]], brief).await;
    assert_eq!(front.talk("").await, "", "one that never speaks");
    assert!(front.talk("GET / HT").await.starts_with("HTTP/1.1 408 "));
    assert!(front.talk(&get("/a")).await.ends_with("\r\n\r\nok"), "one that says no more");
}

#[tokio::test]
async fn connections_over_the_limit_are_closed() {
    let front = Front::with(Vec::new(), |policy| policy.server.limits.connections = 1).await;
    let mut first = front.connect().await;
    first.write_all(b"GET / HTTP/1.1\r\n").await.expect("the proxy reads");
    assert_eq!(front.talk("").await, "");
    first.write_all(b"\r\n").await.expect("the proxy reads");
    assert!(rest(&mut first).await.starts_with("HTTP/1.1 400 "), "the first is served on");
}

#[tokio::test]
async fn what_is_under_way_finishes_before_the_end() {
    let mut front = Front::start(vec![vec![Act::Read, Act::Wait, Act::Write(OK)]; 2]).await;
    let mut idle = front.connect().await;
    let (mut busy, mut streaming) = (front.connect().await, front.connect().await);
    busy.write_all(get("/a").as_bytes()).await.expect("the proxy reads");
    streaming.write_all(get("/stream/a").as_bytes()).await.expect("the proxy reads");
    for _ in 0..2 {
        front.origin.request().await;
    }
    front.stop.send(true).expect("the proxy runs");
    assert_eq!(rest(&mut idle).await, "", "an idle connection is closed");
    assert!(!front.served.is_finished());
    for client in [&mut busy, &mut streaming] {
        front.origin.go_on();
        front.origin.go_on();
        assert!(rest(client).await.ends_with("\r\n\r\nok"));
    }
    drop((busy, streaming));
    front.served.await.expect("serve() returns");
    assert!(TcpStream::connect(front.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn what_cannot_be_bound_is_known_before_anything_is_served() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has room");
    let address = taken.local_addr().expect("it is bound");
    let mut policy = policy(address);
    policy.server.listen = vec![address];
    assert!(matches!(Listeners::bind(&policy), Err(BindError::Address { address: named, .. }) if named == address));

    policy.server.listen = Vec::new();
    policy.server.tls = Some(policy::Tls { cert: "missing.pem".into(), key: "missing.key".into() });
    let Err(BindError::Certificate(why)) = Listeners::bind(&policy) else { panic!("a missing certificate") };
    assert!(why.contains("missing.pem"), "{why}");
}

/// A certificate for `localhost`, as files.
struct Certificate {
    folder: tempfile::TempDir,
    roots: RootCertStore,
}

impl Certificate {
    fn new() -> Certificate {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).expect("a file");
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).expect("a file");
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a root");
        Certificate { folder, roots }
    }

    fn files(&self) -> policy::Tls {
        policy::Tls { cert: self.folder.path().join("cert.pem"), key: self.folder.path().join("key.pem") }
    }

    /// A TLS connection to `address`, offering one protocol.
    async fn connect(&self, address: SocketAddr, protocol: &str) -> impl AsyncRead + AsyncWrite + Unpin + Send + use<> {
        install_default_crypto_provider();
        let mut config = ClientConfig::builder().with_root_certificates(self.roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let tcp = TcpStream::connect(address).await.expect("the proxy listens");
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("a handshake")
    }
}

/// One HTTP/2 request and its answer: status, the Cache-Status, and the body or `None` where the stream was reset.
async fn http2(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: &str,
    uri: &str,
    body: &'static str,
) -> (u16, String, Option<String>) {
    let (mut send, connection) = h2::client::handshake(io).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(uri);
    if !body.is_empty() {
        request = request.header("content-length", body.len());
    }
    let request = request.body(()).expect("a request");
    let (answer, mut sending) = send.send_request(request, body.is_empty()).expect("room");
    if !body.is_empty() {
        sending.send_data(Bytes::from_static(body.as_bytes()), true).expect("room");
    }
    let (head, mut stream) = answer.await.expect("an answer").into_parts();
    let cache_status = head.headers.get("cache-status").map_or("", |value| value.to_str().expect("text")).to_owned();
    let mut text = String::new();
    while let Some(octets) = stream.data().await {
        match octets {
            Ok(octets) => text.push_str(std::str::from_utf8(&octets).expect("text")),
            Err(_) => return (head.status.as_u16(), cache_status, None),
        }
    }
    (head.status.as_u16(), cache_status, Some(text))
}

#[tokio::test]
async fn tls_brings_both_versions() {
    let certificate = Certificate::new();
    let scripts = vec![vec![Act::Read, Act::Write(OK), Act::Read, Act::Write(OK)]];
    let mut front = Front::with(scripts, |policy| policy.server.tls = Some(certificate.files())).await;

    let mut old = certificate.connect(front.address, "http/1.1").await;
    old.write_all(last("/a").as_bytes()).await.expect("the proxy reads");
    let mut text = String::new();
    old.read_to_string(&mut text).await.expect("a clean close");
    in_order(&text, &["HTTP/1.1 200 OK\r\n", "ok"]);
    in_order(&front.origin.request().await, &["X-Forwarded-Proto: https\r\n"]);

    let new = certificate.connect(front.address, "h2").await;
    let answer = http2(new, "GET", "https://localhost/a?b", "").await;
    assert_eq!(answer, (200, STORED.into(), Some("ok".into())));
    let request = front.origin.request().await;
    in_order(&request.to_lowercase(), &["get /a?b http/1.1\r\n", "host: localhost\r\n", "via: 2.0 freshgate-"]);
}

#[tokio::test]
async fn http2_with_prior_knowledge() {
    let scripts = |octets| vec![vec![Act::Read, Act::Write(octets)]];
    let h2c = |policy: &mut policy::Policy| policy.server.h2c = true;
    let ask = |method, path, body: &'static str| async move {
        let mut front = Front::with(scripts(CHUNKED), h2c).await;
        let io = front.connect().await;
        let answer = http2(io, method, &format!("http://localhost{path}"), body).await;
        (answer, front.origin.request().await)
    };
    let (answer, _) = ask("GET", "/a", "").await;
    assert_eq!(answer, (200, STORED.into(), Some("ok".into())));
    let (answer, _) = ask("GET", "/stream/a", "").await;
    assert_eq!(answer, (200, "freshgate; fwd=bypass; fwd-status=200; detail=pass".into(), Some("ok".into())));
    let (answer, request) = ask("POST", "/a", "hello").await;
    assert_eq!((answer.0, answer.2), (200, Some("ok".into())));
    assert!(request.ends_with("\r\n\r\nhello"), "{request:?}");

    let front = Front::with(scripts("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"), h2c).await;
    let (status, _, body) = http2(front.connect().await, "GET", "http://localhost/stream/a", "").await;
    assert_eq!((status, body), (200, None), "a body that breaks off is reset");

    let front = Front::with(Vec::new(), h2c).await;
    let (status, ..) = http2(front.connect().await, "GET", "http://localhost/../a", "").await;
    assert_eq!(status, 400);
    assert!(front.talk("GET / HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 400 "), "HTTP/1.1 is still spoken");
}

#[tokio::test]
async fn an_origin_behind_tls() {
    let certificate = Certificate::new();
    let behind = |policy: &mut policy::Policy| policy.server.tls = Some(certificate.files());
    let mut inner = Front::with(vec![vec![Act::Read, Act::Write(OK)]; 2], behind).await;
    let port = inner.address.port();
    let outer = Front::with(Vec::new(), |policy| {
        policy.origin.tls = true;
        policy.origin.name = "localhost".into();
        policy.origin.port = port;
        policy.origin.ca = certificate.files().cert;
    })
    .await;
    for path in ["/a", "/stream/a"] {
        in_order(&outer.talk(&last(path)).await, &["HTTP/1.1 200 OK\r\n", "ok"]);
        in_order(
            &inner.origin.request().await.to_lowercase(),
            &[&format!("via: 1.1 {}, 1.1 {}\r\n", outer.name, inner.name)],
        );
    }
    let strict = Front::with(Vec::new(), |policy| {
        policy.origin.tls = true;
        policy.origin.name = "localhost".into();
        policy.origin.port = port;
    })
    .await;
    for path in ["/a", "/stream/a"] {
        assert!(strict.talk(&last(path)).await.starts_with("HTTP/1.1 502 "), "a certificate nobody vouches for");
    }
}
