//! The program under test, started on free ports and killed when it goes out of scope.

use crate::wire::{Connection, Response};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use tempfile::TempDir;

/// What every configuration here begins with; tables such as `[server.limits]` may follow.
const LISTENERS: &str = "server.listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\n";

/// A running `freshgate serve`.
pub struct Proxy {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// What it prints after its addresses.
    pub printed: Receiver<String>,
    child: Child,
    folder: TempDir,
}

/// What a proxy says of itself, in its folder.
const LOG: &str = "stderr";

impl Proxy {
    /// Starts one with a configuration that names its origin.
    #[track_caller]
    pub fn start(config: &str) -> Proxy {
        Proxy::start_with(config, &[])
    }

    /// Starts one with arguments besides.
    #[track_caller]
    pub fn start_with(config: &str, arguments: &[&str]) -> Proxy {
        let folder = TempDir::new().expect("a folder can be made");
        let file = folder.path().join("freshgate.toml");
        fs::write(&file, format!("{LISTENERS}{config}")).expect("a file can be written");
        let log = fs::File::create(folder.path().join(LOG)).expect("a file can be written");
        let mut child = freshgate()
            .args(["serve", "--config"])
            .arg(&file)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the program was built for this test");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        let (mut listening, mut admin) = (None, None);
        while listening.is_none() || admin.is_none() {
            let line = lines.next().expect("the program says `listening on` and `admin on` before it ends");
            let after = |words| line.strip_prefix(words).map(|address| address.trim().parse().expect("an address"));
            listening = listening.or_else(|| after("listening on "));
            admin = admin.or_else(|| after("admin on "));
        }
        let (print, printed) = channel();
        // Printed lines are taken to the end, so that no program waits for a full pipe.
        thread::spawn(move || lines.for_each(|line| drop(print.send(line))));
        let [address, admin] = [listening, admin].map(|address| address.expect("the loop ends with both"));
        Proxy { address, admin, printed, child, folder }
    }

    /// Everything it has said on stderr so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join(LOG)).expect("it was created")
    }

    /// A proxy whose paths below `/a` are cached in scope `public`, and all others in plain mode.
    #[track_caller]
    pub fn caching(origin_url: &str) -> Proxy {
        Proxy::start(&format!("origin.url = \"{origin_url}\"\n{CACHED}"))
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// One exchange on a connection of its own.
    #[track_caller]
    pub fn ask(&self, line: &str, fields: &[&str], body: &str) -> Response {
        let mut connection = self.connect();
        connection.ask(line, fields, body);
        connection.response()
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.ask(&format!("GET {path}"), &[], "")
    }

    /// Makes all that is stored stale, as `freshgate purge --soft --all` does: no test waits for time to pass.
    #[track_caller]
    pub fn expire_all(&self) {
        let mut admin = Connection::open(self.admin);
        admin.ask("POST /purge", &["Host: localhost", "Content-Type: application/json"], r#"{"all":true,"soft":true}"#);
        let answer = admin.response();
        assert_eq!(answer.status(), 200, "{answer:?}");
    }

    /// The most memory it has held so far, in bytes (`VmHWM`, proc_pid_status(5)).
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells the peak");
        peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
    }

    /// Sends SIGTERM. The shell's own `kill` is on every machine.
    pub fn terminate(&self) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.child.id())).status();
        assert!(sent.expect("there is a shell").success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it was started")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Shown beside a test that failed.
        eprint!("{}", self.log());
    }
}

/// The routes of [`Proxy::caching`].
pub const CACHED: &str = r#"
[[route]]
name = "a"
paths = ["/a", "/a/{id}"]
fresh = "1h"
stale_if_error = "1h"
scope = "public"
origin_cache_control = "ignore"
"#;

/// The program, without arguments.
pub fn freshgate() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_freshgate"));
    program.stdin(Stdio::null());
    program
}
