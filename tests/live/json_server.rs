//! Behind the proxy: json-server, an API that nobody here wrote. It sends weak entity-tags of its own, `no-cache`, and
//! `Vary`, and writes its data to a file.

use crate::proxy::Proxy;
use crate::tls;
use crate::wire::{Connection, Response};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use tempfile::TempDir;

const ROUTES: &str = r#"
[[route]]
name = "products"
paths = ["/products", "/products/{id}"]
fresh = "1h"
stale_if_error = "1h"
scope = "public"
origin_cache_control = "ignore"
"#;

#[test]
fn its_own_entity_tag_is_kept_and_answers_304() {
    let api = JsonServer::start();
    let proxy = api.behind_proxy();
    let direct = api.ask("GET /products/1", "");
    let first = proxy.get("/products/1");
    assert!(first.etag().starts_with("W/\""), "{first:?}");
    assert_eq!((first.etag(), first.text()), (direct.etag(), direct.text()));
    assert!(first.cache_status().contains("; stored"), "{first:?}");

    let second = proxy.ask("GET /products/1", &[&format!("If-None-Match: {}", direct.etag())], "");
    assert_eq!((second.status(), second.text()), (304, ""));
    assert!(second.cache_status().starts_with("freshgate; hit"), "{second:?}");
}

#[test]
fn plain_mode_validates_with_its_entity_tag() {
    let api = JsonServer::start();
    let proxy = api.behind_proxy();
    let first = proxy.get("/brands/1");
    let second = proxy.get("/brands/1");
    assert_eq!((second.status(), second.text(), second.etag()), (200, first.text(), first.etag()));
    assert!(second.cache_status().contains("fwd-status=304"), "it says no-cache: {second:?}");
}

#[test]
fn a_mutation_is_seen_by_the_next_read() {
    let api = JsonServer::start();
    let proxy = api.behind_proxy();
    let list = proxy.get("/products");
    let item = proxy.get("/products/1");

    let put = proxy.ask("PUT /products/1", &["Content-Type: application/json"], r#"{"name":"Chai","price":450}"#);
    assert_eq!(put.status(), 200);
    let changed = proxy.ask("GET /products/1", &[&format!("If-None-Match: {}", item.etag())], "");
    assert_eq!((changed.status(), &body(&changed)["price"]), (200, &450.into()));
    assert_ne!(proxy.get("/products").etag(), list.etag());

    let post = proxy.ask("POST /products", &["Content-Type: application/json"], r#"{"name":"Konbu","price":60}"#);
    assert_eq!((post.status(), &body(&post)["id"]), (201, &3.into()));
    assert_eq!(body(&proxy.get("/products")).as_array().map(Vec::len), Some(3));

    assert_eq!(proxy.ask("DELETE /products/3", &[], "").status(), 200);
    assert_eq!(proxy.get("/products/3").status(), 404);
    assert_eq!(body(&proxy.get("/products")).as_array().map(Vec::len), Some(2));
}

#[test]
fn its_restart_costs_no_request() {
    let mut api = JsonServer::start();
    let proxy = api.behind_proxy();
    let before = proxy.get("/products/1");
    proxy.get("/brands/1");
    api.kill();
    api.run();
    // The connections that the proxy kept are dead: a GET is sent again on a new one.
    assert_eq!(proxy.get("/brands/1").status(), 200);
    assert_eq!(proxy.get("/products/2").status(), 200);
    assert_eq!(proxy.get("/products/1").etag(), before.etag());
}

#[test]
fn when_it_is_killed_what_is_stored_is_served_stale() {
    let mut api = JsonServer::start();
    let proxy = api.behind_proxy();
    let before = proxy.get("/products/1");
    api.kill();
    assert!(proxy.get("/products/1").cache_status().starts_with("freshgate; hit"), "it is still fresh");

    proxy.expire_all();
    let stale = proxy.get("/products/1");
    assert_eq!((stale.status(), stale.text()), (200, before.text()));
    assert!(stale.cache_status().contains("detail=stale-if-error"), "{stale:?}");
    assert_eq!(proxy.get("/products/2").status(), 502);

    let put = proxy.ask("PUT /products/1", &["Content-Type: application/json"], r#"{"name":"Chai"}"#);
    assert_eq!(put.status(), 502);

    api.run();
    assert_eq!(proxy.get("/products/2").status(), 200);
}

#[test]
fn over_https_it_is_believed_only_with_a_ca_that_is_trusted() {
    let api = JsonServer::start();
    let front = tls::terminate(api.address);
    let url = format!("https://localhost:{}", front.address.port());

    let proxy = Proxy::start(&format!("origin.url = \"{url}\"\norigin.ca = \"{}\"\n{ROUTES}", front.ca.display()));
    let first = proxy.get("/products/1");
    assert_eq!((first.status(), first.text()), (200, api.ask("GET /products/1", "").text()));
    let second = proxy.ask("GET /products/1", &[&format!("If-None-Match: {}", first.etag())], "");
    assert_eq!(second.status(), 304);
    let post = proxy.ask("POST /products", &["Content-Type: application/json"], r#"{"name":"Konbu"}"#);
    assert_eq!(post.status(), 201);

    let stranger = Proxy::start(&format!("origin.url = \"{url}\"\n{ROUTES}"));
    assert_eq!(stranger.get("/products/1").status(), 502, "the system trusts no such CA");
}

fn body(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_else(|_| panic!("not JSON: {response:?}"))
}

/// A json-server on an address of its own, with data of its own.
struct JsonServer {
    address: SocketAddr,
    folder: TempDir,
    child: Option<Child>,
}

impl JsonServer {
    fn start() -> JsonServer {
        let folder = TempDir::new().expect("a folder can be made");
        let data = r#"{"products":[{"id":1,"name":"Chai","price":400},{"id":2,"name":"Chang","price":500}],
                       "brands":[{"id":1,"name":"Exotic"}]}"#;
        fs::write(folder.path().join("db.json"), data).expect("a file can be written");
        let mut server = JsonServer { address: own_address(), folder, child: None };
        server.run();
        server
    }

    /// Starts the program and waits until it listens.
    fn run(&mut self) {
        let mut child = Command::new("node")
            .arg(program())
            .args(["--host", &self.address.ip().to_string(), "--port", &self.address.port().to_string()])
            .args(["--snapshots", "."])
            .arg("db.json")
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node is installed: run `make test`, which installs it");
        // It never says that it listens. But it answers `s` with a snapshot, and reads that only after it does.
        let stdin = child.stdin.as_mut().expect("it is piped");
        stdin.write_all(b"s\n").expect("json-server reads");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("Saved snapshot")), "json-server ended before it listened");
        thread::spawn(move || lines.for_each(drop));
        self.child = Some(child);
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// One exchange without the proxy.
    #[track_caller]
    fn ask(&self, line: &str, body: &str) -> Response {
        let mut connection = Connection::open(self.address);
        connection.ask(line, &[], body);
        connection.response()
    }

    #[track_caller]
    fn behind_proxy(&self) -> Proxy {
        Proxy::start(&format!("origin.url = \"http://{}\"\n{ROUTES}", self.address))
    }
}

impl Drop for JsonServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("node_modules/json-server/lib/cli/bin.js");
    assert!(program.exists(), "json-server is not installed: run `npm ci`, or `make test`, which does");
    program
}

/// json-server cannot be given port 0, so each gets a loopback address that is its own: the process and a count name it.
fn own_address() -> SocketAddr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, high | 0x80, low, COUNT.fetch_add(1, Ordering::SeqCst));
    SocketAddr::from((address, 3000))
}
