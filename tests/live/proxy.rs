//! The program under test, started on free ports and killed when it goes out of scope.

use crate::wire::{Connection, PATIENCE, Response};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use tempfile::TempDir;

/// What every configuration here begins with; tables such as `[server.limits]` may follow.
const LISTENERS: &str = "server.listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\n";

/// A running `freshgate serve`.
pub struct Proxy {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// What it prints after its addresses is still to come.
    pub program: Program,
}

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
        let file = file.to_str().expect("a temporary path is text").to_owned();
        Proxy::of(Program::start(folder, &[&["serve", "--config", &file], arguments].concat()))
    }

    /// Starts one without any file, as a first run does.
    #[track_caller]
    pub fn without_a_file(arguments: &[&str]) -> Proxy {
        let folder = TempDir::new().expect("a folder can be made");
        Proxy::of(Program::start(folder, &[&["serve", "--listen", "127.0.0.1:0"], arguments].concat()))
    }

    #[track_caller]
    fn of(program: Program) -> Proxy {
        let listening =
            |words| program.prints(|line| Some(line.strip_prefix(words)?.trim().parse().expect("an address")));
        Proxy { address: listening("listening on "), admin: listening("admin on "), program }
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
        asked(self.address, line, fields, body)
    }

    /// What `/stats` on the admin listener says.
    #[track_caller]
    pub fn stats(&self) -> Value {
        stats(self.admin)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.ask(&format!("GET {path}"), &[], "")
    }

    /// Makes all that is stored stale, as `freshgate purge --soft --all` does: no test waits for time to pass.
    #[track_caller]
    pub fn expire_all(&self) {
        let all = r#"{"all":true,"soft":true}"#;
        let answer = asked(self.admin, "POST /purge", &["Host: localhost", "Content-Type: application/json"], all);
        assert_eq!(answer.status(), 200, "{answer:?}");
    }
}

/// One exchange on a connection of its own.
#[track_caller]
fn asked(address: SocketAddr, line: &str, fields: &[&str], body: &str) -> Response {
    let mut connection = Connection::open(address);
    connection.ask(line, fields, body);
    connection.response()
}

/// What `/stats` of an admin listener says.
#[track_caller]
pub fn stats(admin: SocketAddr) -> Value {
    let answer = asked(admin, "GET /stats", &["Host: localhost"], "");
    serde_json::from_slice(&answer.body).expect("the answer is JSON")
}

/// The program, running.
pub struct Program {
    /// The lines of its stdout that nobody has taken.
    pub printed: Receiver<String>,
    child: Child,
    folder: TempDir,
}

/// What a program says of itself, in its folder.
const LOG: &str = "stderr";

impl Program {
    /// Starts it in a folder of its own.
    #[track_caller]
    pub fn start(folder: TempDir, arguments: &[&str]) -> Program {
        let log = fs::File::create(folder.path().join(LOG)).expect("a file can be written");
        let mut program = freshgate();
        program.args(arguments).current_dir(&folder).stdout(Stdio::piped()).stderr(log);
        let mut child = program.spawn().expect("the program was built for this test");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        let (print, printed) = channel();
        // Printed lines are taken to the end, so that no program waits for a full pipe.
        thread::spawn(move || lines.for_each(|line| drop(print.send(line))));
        Program { printed, child, folder }
    }

    /// Takes lines up to one in which `found` finds something; waits for it.
    #[track_caller]
    pub fn prints<T>(&self, found: impl Fn(&str) -> Option<T>) -> T {
        loop {
            let line = self.printed.recv_timeout(PATIENCE).expect("the program prints the line before it ends");
            if let Some(found) = found(&line) {
                return found;
            }
        }
    }

    /// Everything it has said on stderr so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join(LOG)).expect("it was created")
    }

    /// Of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory it has held so far, in bytes (`VmHWM`, proc_pid_status(5)).
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells the peak");
        peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Lets it hear nothing: what comes from here on is there all at once when it goes on.
    pub fn halt(&self) {
        self.signal("STOP");
        // The state behind the command's name (proc_pid_stat(5)).
        let stat = || fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("it is not waited for");
        while !stat().contains(") T ") {
            thread::yield_now();
        }
    }

    /// Ends a [`halt`](Self::halt).
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    /// The shell's own `kill` is on every machine.
    fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.id())).status();
        assert!(sent.expect("there is a shell").success());
    }

    /// Waits for its end, which closes its stdout; the lines it still printed, and how it ended.
    #[track_caller]
    pub fn end(&mut self) -> (Vec<String>, ExitStatus) {
        let mut rest = Vec::new();
        loop {
            match self.printed.recv_timeout(PATIENCE) {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the program does not end; it printed {rest:?}"),
            }
        }
        (rest, self.child.wait().expect("it was started"))
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        self.end().1
    }
}

impl Drop for Program {
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

/// Not there in a copy of the tests that is built without the program.
const PROGRAM: Option<&str> = option_env!("CARGO_BIN_EXE_freshgate");

/// The program, without arguments.
pub fn freshgate() -> Command {
    let mut program = Command::new(PROGRAM.expect("cargo builds it for the tests that start it"));
    program.stdin(Stdio::null());
    program
}
