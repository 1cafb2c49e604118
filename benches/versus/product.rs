//! The products, each with its configurations, and how one is started for a while: on a loopback port of its own, with
//! its files in a folder of its own, ended by its process id. What the system runs of them is neither asked nor touched.

use freshgate::clock::{Clock, SystemClock};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// The bound of every wait.
pub const BOUND: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Nginx,
    Varnish,
    Haproxy,
    Squid,
    Freshgate,
}

/// A product in one configuration, a row of the table each.
pub struct Product {
    pub program: Program,
    /// Beside this file; `@port@`, `@origin@` and `@folder@` in it become what is free.
    pub file: &'static str,
    /// What the configuration is, for the table.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub says: &'static str,
}

pub const FRESHGATE: Product = Product {
    program: Program::Freshgate,
    file: "freshgate/usual.toml",
    name: "usual",
    says: "Two routes with `fresh`, one of them with `stale_while_revalidate`; everything else by default.",
};

pub const PRODUCTS: [Product; 11] = [
    Product {
        program: Program::Nginx,
        file: "nginx/usual.conf",
        name: "usual",
        says: "`proxy_cache`, for as long as the origin says; everything else by default.",
    },
    Product {
        program: Program::Nginx,
        file: "nginx/tuned.conf",
        name: "one second",
        says: "Stored for one second, then revalidated in the background; `proxy_cache_lock`; Authorization in the key.",
    },
    Product {
        program: Program::Nginx,
        file: "nginx/best.conf",
        name: "best",
        says: "The open build has no purge, so never stale is never from the store: the origin is asked each time, and \
               what is stored is for when it is down.",
    },
    Product {
        program: Program::Varnish,
        file: "varnish/usual.vcl",
        name: "usual",
        says: "The built-in VCL: for as long as the origin says, with ten seconds of grace.",
    },
    Product {
        program: Program::Varnish,
        file: "varnish/ban.vcl",
        name: "ban",
        says: "Authorization in the hash; each unsafe method that succeeds bans its URL; grace as by default.",
    },
    Product {
        program: Program::Varnish,
        file: "varnish/no-grace.vcl",
        name: "ban, no grace",
        says: "The same, banned before and after the origin is asked, and no grace.",
    },
    Product {
        program: Program::Varnish,
        file: "varnish/best.vcl",
        name: "best",
        says: "The same, and a barrier written in VCL with vmod_var: for a minute after a write its URL is passed and not \
               stored.",
    },
    Product {
        program: Program::Haproxy,
        file: "haproxy/usual.cfg",
        name: "usual",
        says: "`cache-use` and `cache-store`, for as long as the origin says.",
    },
    Product {
        program: Program::Haproxy,
        file: "haproxy/best.cfg",
        name: "best",
        says: "The same, and a barrier made of a stick table: for a minute after a write its URL is neither answered from \
               the cache nor stored.",
    },
    Product {
        program: Program::Squid,
        file: "squid/usual.conf",
        name: "usual",
        says: "An accelerator in memory, everything else by default: that is RFC 9111, invalidation included.",
    },
    Product {
        program: Program::Squid,
        file: "squid/best.conf",
        name: "best",
        says: "The same with `collapsed_forwarding`: with it, a write also voids a fetch of its URL that is in flight.",
    },
];

impl Program {
    pub fn name(self) -> &'static str {
        match self {
            Program::Nginx => "nginx",
            Program::Varnish => "Varnish",
            Program::Haproxy => "HAProxy",
            Program::Squid => "Squid",
            Program::Freshgate => "freshgate",
        }
    }

    fn command(self) -> Command {
        Command::new(match self {
            Program::Nginx => "nginx",
            Program::Varnish => "varnishd",
            Program::Haproxy => "haproxy",
            Program::Squid => "squid",
            Program::Freshgate => env!("CARGO_BIN_EXE_freshgate"),
        })
    }

    /// What the program says of its version, up to the packager's part.
    pub fn version(self) -> Result<String, String> {
        let ask = match self {
            Program::Varnish => "-V",
            Program::Freshgate => "--version",
            Program::Nginx | Program::Haproxy | Program::Squid => "-v",
        };
        let said = self.command().arg(ask).output().map_err(|problem| format!("{}: {problem}", self.name()))?;
        let said = [said.stdout, said.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let version = said.split([' ', '/', '-', '\n']).find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        version.map(str::to_owned).ok_or_else(|| format!("{} does not tell its version", self.name()))
    }

    /// In the foreground, with a configuration and a folder.
    fn serving(self, file: &Path, folder: &Path, port: u16) -> Command {
        let mut command = self.command();
        match self {
            Program::Nginx => command.arg("-p").arg(folder).arg("-c").arg(file).args(["-e", "stderr"]),
            Program::Varnish => {
                command.args(["-F", "-j", "none", "-T", "none", "-s", "malloc,32m", "-a"]);
                command.arg(format!("127.0.0.1:{port}")).arg("-n").arg(folder.join("varnish")).arg("-f").arg(file)
            }
            Program::Haproxy => command.arg("-db").arg("-f").arg(file),
            Program::Squid => command.arg("-N").arg("-f").arg(file),
            Program::Freshgate => command.arg("serve").arg("--config").arg(file),
        };
        command
    }
}

impl Product {
    /// What its row is called.
    pub fn title(&self, version: &str) -> String {
        format!("{} {version}, {}", self.program.name(), self.name)
    }

    pub fn path(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/versus").join(self.file)
    }

    /// Starts it in front of an origin, and waits until an exchange through it succeeds.
    pub fn start(&self, origin: u16, ready: impl Fn(SocketAddr) -> bool) -> Result<Running, String> {
        let failed = |what: &str| format!("{} ({}): {what}", self.program.name(), self.file);
        let folder = TempDir::new().map_err(|problem| failed(&problem.to_string()))?;
        let port = free_port();
        let child = self.spawn(folder.path(), port, origin).map_err(|problem| failed(&problem.to_string()))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut running = Running { address, child, folder };
        let begun = SystemClock.now();
        // A program that we did not write does not tell when it listens.
        while !(TcpStream::connect(address).is_ok() && ready(address)) {
            let ended = running.child.try_wait().is_ok_and(|ended| ended.is_some());
            if ended || SystemClock.now().since(begun) > BOUND {
                return Err(failed(&running.log()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(running)
    }

    fn spawn(&self, folder: &Path, port: u16, origin: u16) -> std::io::Result<Child> {
        // Programs started by root become somebody else, who has to get at their files.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        let named = [("@port@", port.to_string()), ("@origin@", origin.to_string())];
        let named = named.into_iter().chain([("@folder@", folder.display().to_string())]);
        let text = named.fold(fs::read_to_string(self.path())?, |text, (name, value)| text.replace(name, &value));
        let file = folder.join("configuration");
        fs::write(&file, text)?;
        let log = fs::File::create(folder.join(LOG))?;
        let mut command = self.program.serving(&file, folder, port);
        command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
    }
}

const LOG: &str = "log";

/// A port that nobody has now; what is started next takes it.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A product that runs; it is ended when this goes out of scope.
pub struct Running {
    pub address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Running {
    /// Of the process that was started.
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
        let _ = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.id())).status();
        let begun = SystemClock.now();
        while SystemClock.now().since(begun) < BOUND && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
