//! The programs, and how one is started for a while: on loopback ports of its own, with its files in a folder of its own,
//! ended by its process id. What the system runs of them is neither asked nor touched.

use freshgate::clock::{Clock, SystemClock};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// The bound of a start and of an end.
const BOUND: Duration = Duration::from_secs(10);
/// Between two looks at a program that does not tell.
const LOOK: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Nginx,
    Varnish,
    Haproxy,
    Squid,
    Freshgate,
    /// This program itself, told to: what receives a request and sends what it has ready.
    Least,
}

static ITSELF: LazyLock<String> = LazyLock::new(|| {
    let path = std::env::current_exe().expect("a program has a path");
    path.into_os_string().into_string().expect("cargo names files in text")
});

impl Program {
    pub fn name(self) -> &'static str {
        match self {
            Program::Nginx => "nginx",
            Program::Varnish => "Varnish",
            Program::Haproxy => "HAProxy",
            Program::Squid => "Squid",
            Program::Freshgate => "freshgate",
            Program::Least => "recv and send",
        }
    }

    pub fn executable(self) -> &'static str {
        match self {
            Program::Nginx => "nginx",
            Program::Varnish => "varnishd",
            Program::Haproxy => "haproxy",
            Program::Squid => "squid",
            Program::Freshgate => env!("CARGO_BIN_EXE_freshgate"),
            Program::Least => &ITSELF,
        }
    }

    /// What the program says of its version, up to the packager's part.
    pub fn version(self) -> Result<String, String> {
        let ask = match self {
            Program::Varnish => "-V",
            Program::Freshgate | Program::Least => "--version",
            Program::Nginx | Program::Haproxy | Program::Squid => "-v",
        };
        let said = Command::new(self.executable())
            .arg(ask)
            .output()
            .map_err(|problem| format!("{}: {problem}", self.name()))?;
        let said = [said.stdout, said.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let version = said.split([' ', '/', '-', '\n']).find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        version.map(str::to_owned).ok_or_else(|| format!("{} does not tell its version", self.name()))
    }

    /// In the foreground, with a configuration and a folder.
    fn serving(self, frame: &Frame<'_>, file: &Path, folder: &Path, port: u16) -> Command {
        let words: Vec<&str> = frame.prefix.iter().copied().chain([self.executable()]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        match self {
            Program::Nginx => command.arg("-p").arg(folder).arg("-c").arg(file).args(["-e", "stderr"]),
            Program::Varnish => {
                command.args(["-F", "-j", "none", "-T", "none"]).args(frame.varnish).arg("-a");
                command.arg(format!("127.0.0.1:{port}")).arg("-n").arg(folder.join("varnish")).arg("-f").arg(file)
            }
            Program::Haproxy => command.arg("-db").arg("-f").arg(file),
            Program::Squid => command.arg("-N").arg("-f").arg(file),
            Program::Freshgate => command.arg("serve").arg("--config").arg(file),
            Program::Least => command.arg("--least").arg(port.to_string()),
        };
        command
    }

    /// Starts it in front of an origin, with a configuration of those beside this file, and waits until an exchange
    /// through it succeeds.
    pub fn start(
        self,
        file: &str,
        frame: &Frame<'_>,
        origin: u16,
        ready: impl Fn(SocketAddr) -> bool,
    ) -> Result<Running, String> {
        let failed = |what: &str| format!("{} ({file}): {what}", self.name());
        let folder = TempDir::with_prefix_in(frame.folder_prefix, frame.parent);
        let folder = folder.map_err(|problem| failed(&problem.to_string()))?;
        let [port, second] = free_ports();
        let child = self.spawn(file, frame, folder.path(), [port, second, origin]);
        let child = child.map_err(|problem| failed(&problem.to_string()))?;
        let [address, second] = [port, second].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let mut running = Running { address, second, child, folder };
        let begun = SystemClock.now();
        // A program that we did not write does not tell when it listens.
        while !(TcpStream::connect(address).is_ok() && ready(address)) {
            let ended = running.child.try_wait().is_ok_and(|ended| ended.is_some());
            if ended || SystemClock.now().since(begun) > BOUND {
                return Err(failed(&running.log()));
            }
            thread::sleep(LOOK);
        }
        Ok(running)
    }

    fn spawn(self, file: &str, frame: &Frame<'_>, folder: &Path, ports: [u16; 3]) -> std::io::Result<Child> {
        // Programs started by root become somebody else, who has to get at their files.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        let named = ["@port@", "@second@", "@origin@"].into_iter().zip(ports.map(|port| port.to_string()));
        let named = named.chain([("@folder@", folder.display().to_string())]);
        let text = named.fold(fs::read_to_string(path(file))?, |text, (name, value)| text.replace(name, &value));
        let file = folder.join("configuration");
        fs::write(&file, text)?;
        let log = fs::File::create(folder.join(LOG))?;
        let mut command = self.serving(frame, &file, folder, ports[0]);
        command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
    }
}

/// What stands around a program.
pub struct Frame<'a> {
    /// Where its folder is made, and what that is called to begin with.
    pub parent: &'a Path,
    pub folder_prefix: &'a str,
    /// The command that runs it, if it is not run by itself.
    pub prefix: &'a [&'a str],
    /// What Varnish is told besides, which has no file for it.
    pub varnish: &'a [&'a str],
}

/// A configuration; `@port@`, `@second@`, `@origin@` and `@folder@` in it become what is free.
fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/versus").join(file)
}

const LOG: &str = "log";

/// Ports that nobody has now; what is started next takes them.
fn free_ports() -> [u16; 2] {
    let listeners = [0; 2].map(|any| TcpListener::bind((Ipv4Addr::LOCALHOST, any)).expect("loopback has a free port"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}

/// A program that runs; it is ended when this goes out of scope.
pub struct Running {
    pub address: SocketAddr,
    /// Where its configuration has a second listener.
    pub second: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGTERM first, so that masters end their workers. The shell's own `kill` is on every machine.
        let _ = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.child.id())).status();
        let begun = SystemClock.now();
        while SystemClock.now().since(begun) < BOUND && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(LOOK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
