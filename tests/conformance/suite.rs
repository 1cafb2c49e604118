//! The suite: its tests, its origin and its client, all run by node.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

use crate::verdict::Kind;

/// A run takes about a minute; the client itself waits for ever.
const PATIENCE: Duration = Duration::from_secs(300);

/// Writes the tests that run against a gateway as JSON. The npm release keeps those of its last suite apart.
const LIST: &str = r#"
const suites = (await import(`${process.argv[1]}/tests/index.mjs`)).default
try { suites.push((await import(`${process.argv[1]}/tests/surrogate-control.mjs`)).default) } catch {}
console.log(JSON.stringify(suites))
"#;

/// The tests, in groups.
pub struct Suite {
    folder: PathBuf,
    pub groups: Vec<Group>,
}

#[derive(Deserialize)]
pub struct Group {
    pub id: String,
    pub tests: Vec<Test>,
}

#[derive(Deserialize)]
pub struct Test {
    pub id: String,
    #[serde(default)]
    pub kind: Kind,
    #[serde(default)]
    pub depends_on: Vec<String>,
    #[serde(default)]
    browser_only: bool,
}

/// What the client found, by test: `true`, or the name and the message of an error.
pub type Results = BTreeMap<String, Value>;

impl Suite {
    /// The one that `npm ci` installed, or the checkout that `CACHE_TESTS` names.
    pub fn installed() -> Suite {
        let npm = || Path::new(env!("CARGO_MANIFEST_DIR")).join("node_modules/http-cache-tests");
        let folder = std::env::var_os("CACHE_TESTS").map_or_else(npm, PathBuf::from);
        assert!(folder.exists(), "http-cache-tests is not installed: run `npm ci`, or `make test`, which does");
        let mut list = node(&folder);
        list.args(["--input-type=module", "--eval", LIST]).arg(&folder);
        let mut groups: Vec<Group> = serde_json::from_slice(&output(list)).expect("the suite lists its tests");
        for group in &mut groups {
            group.tests.retain(|test| !test.browser_only);
        }
        Suite { folder, groups }
    }

    /// Every test, in order.
    pub fn tests(&self) -> impl Iterator<Item = &Test> {
        self.groups.iter().flat_map(|group| &group.tests)
    }

    pub fn test(&self, id: &str) -> &Test {
        self.tests().find(|test| test.id == id).unwrap_or_else(|| panic!("the suite has no test {id}"))
    }

    /// Runs all tests against `proxy`.
    pub fn results(&self, proxy: SocketAddr) -> Results {
        let mut client = node(&self.folder);
        client.arg("--no-warnings").arg(self.engine("cli.mjs"));
        client.env("npm_config_base", format!("http://{proxy}")).env("npm_package_config_id", "");
        serde_json::from_slice(&output(client)).expect("the client writes its results as JSON")
    }

    /// Newer suites keep what runs the tests in a folder of its own.
    fn engine(&self, file: &str) -> PathBuf {
        let newer = self.folder.join("test-engine");
        if newer.exists() { newer.join(file) } else { self.folder.join(file) }
    }
}

/// The suite's origin on a free port, killed when it goes out of scope.
pub struct Origin {
    pub address: SocketAddr,
    child: Child,
    /// It writes its process id to a file.
    _folder: TempDir,
}

impl Origin {
    pub fn start(suite: &Suite) -> Origin {
        let folder = TempDir::new().expect("a folder can be made");
        let mut server = node(&suite.folder);
        server.arg(suite.engine("server/server.mjs")).stdout(Stdio::piped());
        server.env("npm_config_protocol", "http").env("npm_config_port", "0");
        server.env("npm_config_pidfile", folder.path().join("pid"));
        let mut child = server.spawn().expect("node is installed: run `make test`, which installs it");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        // It says: Listening on http://[::]:41023/
        let port =
            |line: String| line.strip_prefix("Listening on ")?.trim_end_matches('/').rsplit(':').next()?.parse().ok();
        let port: u16 = lines.find_map(port).expect("the origin says where it listens");
        // What it prints is taken to the end, so that it never waits for a full pipe.
        thread::spawn(move || lines.for_each(drop));
        Origin { address: SocketAddr::from(([127, 0, 0, 1], port)), child, _folder: folder }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn node(folder: &Path) -> Command {
    let mut node = Command::new("node");
    node.current_dir(folder).stdin(Stdio::null());
    node
}

/// What a program writes until it ends, which it does in time.
fn output(mut program: Command) -> Vec<u8> {
    program.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = program.spawn().expect("node is installed: run `make test`, which installs it");
    let mut stdout = child.stdout.take().expect("it is piped");
    let (end, ended) = channel();
    thread::spawn(move || {
        let mut written = Vec::new();
        let read = stdout.read_to_end(&mut written);
        end.send(read.map(|_| written))
    });
    let written = ended.recv_timeout(PATIENCE);
    // It may have ended already.
    let _ = child.kill();
    let _ = child.wait();
    written.expect("the suite ends in time").expect("its output can be read")
}
