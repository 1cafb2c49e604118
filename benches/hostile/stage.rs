//! Who is attacked, on a processor of its own: freshgate, or nginx for comparison. Everybody else (the origin, the normal
//! load, and those who mean harm, who come last there) has the others.

use crate::attacks::{Attack, By, MANY};
use crate::program::{Frame, Program, Running};
use crate::proxy::Proxy;
use crate::scripted::{After, Origin, json, write};
use crate::{normal, process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use std::{env, fs};

/// Everything by default, but for one processor, HTTP/2 on the same address, and little patience, so that each limit is
/// reached within a measurement.
pub const CONFIG: &str = r#"
server.threads = 1
server.h2c = true
[server.limits]
header_timeout = "7s"
idle_timeout = "7s"
[[route]]
name = "a"
paths = ["/a/{id}"]
fresh = "1h"
scope = "public"
"#;

const NGINX: &str = "../hostile/nginx.conf";

/// How often something happened, by its name.
pub type Counts = BTreeMap<String, u64>;

const LARGE: usize = 1 << 20;

/// An origin whose answers may be stored, at once.
pub fn origin() -> Origin {
    let body = |length| format!("{{\"filled\":\"{}\"}}", "x".repeat(length));
    let answer = |length| json(&["Cache-Control: max-age=600"], &body(length));
    let (small, large) = (answer(2048), answer(LARGE));
    Origin::start(move |request, peer| {
        let octets = if request.line() == "GET /a/large" { &large } else { &small };
        write(peer, octets.as_bytes());
        After::Keep
    })
}

/// Which processors there are, for the proxy and for everybody else.
pub struct Processors {
    proxy: String,
    others: String,
    /// Whether the load and the origin go before everybody else.
    pub hurried: bool,
}

impl Processors {
    /// The proxy gets the first; with only one there is nothing to part.
    pub fn parted() -> Processors {
        let last = thread::available_parallelism().map_or(0, |count| count.get() - 1);
        let others = if last == 0 { "0".to_owned() } else { format!("1-{last}") };
        process::pin(&others);
        Processors { proxy: "0".to_owned(), others, hurried: process::hurry(true) }
    }

    /// What `start` starts runs where the proxy does.
    fn for_proxy<T>(&self, start: impl FnOnce() -> T) -> T {
        process::hurry(false);
        process::pin(&self.proxy);
        let started = start();
        process::pin(&self.others);
        process::hurry(true);
        started
    }
}

/// What runs.
enum Served {
    Freshgate(Proxy),
    Nginx(Running),
}

/// Who is attacked.
pub struct Target {
    pub name: &'static str,
    pub address: SocketAddr,
    program: Served,
}

impl Target {
    pub fn freshgate(processors: &Processors, origin: &Origin) -> Target {
        let proxy = processors.for_proxy(|| Proxy::start(&format!("origin.url = \"{}\"\n{CONFIG}", origin.url)));
        Target { name: "freshgate", address: proxy.address, program: Served::Freshgate(proxy) }
    }

    /// # Errors
    /// It is not there, or does not start.
    pub fn nginx(processors: &Processors, origin: &Origin) -> Result<Target, String> {
        let port = origin.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("the origin has a port");
        let ready = |address| normal::warm(address).is_ok();
        let parent = env::temp_dir();
        let frame = Frame { parent: &parent, folder_prefix: "slow-", prefix: &[], varnish: &[] };
        let running = processors.for_proxy(|| Program::Nginx.start(NGINX, &frame, port, ready))?;
        Ok(Target { name: "nginx", address: running.address, program: Served::Nginx(running) })
    }

    /// Its processes: nginx has one that does the work.
    fn processes(&self) -> Vec<u32> {
        let first = match &self.program {
            Served::Freshgate(proxy) => proxy.program.id(),
            Served::Nginx(running) => running.id(),
        };
        let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap_or_default();
        [first].into_iter().chain(children.split_whitespace().filter_map(|child| child.parse().ok())).collect()
    }

    /// Processor time that it has taken so far.
    pub fn processor_time(&self) -> Duration {
        self.processes().into_iter().map(process::processor_time).sum()
    }

    /// Forgets how much memory it held so far.
    pub fn forget_peak(&self) {
        for id in self.processes() {
            // Where this is not permitted the peak is that of all attacks so far.
            drop(fs::write(format!("/proc/{id}/clear_refs"), "5"));
        }
    }

    /// The most memory that it has held since, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.processes().into_iter().map(process::peak_memory).sum()
    }

    /// How often each limit has answered so far, by status or by what became of connections.
    pub fn answered(&self) -> Counts {
        let Served::Freshgate(proxy) = &self.program else { return Counts::new() };
        let stats = proxy.stats();
        let of = |counts: &Value| -> Vec<(String, u64)> {
            let counts = counts.as_object().into_iter().flatten();
            counts.filter_map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect()
        };
        let mut all: BTreeMap<_, _> = of(&stats["total"]["refused"]).into_iter().collect();
        all.extend(of(&stats["connections"]).into_iter().filter(|(name, _)| name != "opened"));
        all
    }
}

/// An attack that is under way.
pub struct Harm(Vec<Child>);

/// How many slowhttptest run beside each other. One asks for the state of all its connections at once and is not
/// interrupted meanwhile, which whoever measures on the same processor would notice.
const TEAM: usize = 8;

impl Harm {
    /// # Errors
    /// There is no slowhttptest.
    pub fn begin(attack: &Attack, target: &Target) -> Result<Harm, String> {
        let address = target.address.to_string();
        // Those who measure have the processor at once whenever they want it. Being nice is not enough for that: who is nice
        // is left what it has of its slice, 2 ms of it here, and nginx is as late beside it as freshgate.
        let mut command = Command::new("chrt");
        command.args(["--idle", "0"]).stdin(Stdio::piped()).stderr(Stdio::null());
        let members = match attack.by {
            By::Slowhttptest(arguments, path) => {
                let each = (MANY / TEAM).to_string();
                command.arg("slowhttptest").args(arguments).args(["-c", &each, "-r", &each, "-l", "60"]);
                command.args(["-u", &format!("http://{address}{path}")]).stdout(Stdio::null());
                TEAM
            }
            By::Us(_) => {
                command.arg(std::env::current_exe().expect("a program has a path"));
                command.args(["--attack", attack.name, &address]).stdout(Stdio::piped());
                1
            }
        };
        let mut harm = Harm(Vec::new());
        for _ in 0..members {
            harm.0.push(command.spawn().map_err(|problem| format!("{}: {problem}", attack.name))?);
        }
        Ok(harm)
    }

    /// Ends it; what it says of itself, if it is one of ours: connections opened, ended by the proxy, and what was sent.
    pub fn end(mut self) -> Option<Vec<u64>> {
        let only = self.0.first_mut()?;
        drop(only.stdin.take());
        let told = only.stdout.take().and_then(|stdout| BufReader::new(stdout).lines().next()?.ok());
        told.map(|line| line.split(' ').filter_map(|count| count.parse().ok()).collect())
    }
}

impl Drop for Harm {
    fn drop(&mut self) {
        // By their ids: what else runs here under that name is none of ours. They may have ended already.
        for child in &mut self.0 {
            let _ = child.kill();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}
