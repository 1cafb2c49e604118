//! A server under test: pinned to its core, tuned by its `speed` configuration, and what its processes have used.

use super::client;
use super::origin::Origin;
use crate::program::{Frame, Program, Running};
use std::cell::Cell;
use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

/// What is started ends with this process, even where that is killed.
pub const BENEATH: [&str; 3] = ["setpriv", "--pdeathsig", "TERM"];
/// Where nginx has its cache and Varnish its log: tmpfs.
const TMPFS: &str = "/dev/shm";
const FOLDERS: &str = "freshgate-bench-";
/// The servers' core; the origin and the load have the last one.
const SERVER_CORE: &str = "0";
const VARNISH: [&str; 8] =
    ["-s", "malloc,4g", "-p", "thread_pools=1", "-p", "thread_pool_min=1100", "-p", "listen_depth=4096"];

/// The core of the origin and the load.
pub fn load_core() -> String {
    let cores = fs::read_dir("/sys/devices/system/cpu").into_iter().flatten().flatten();
    let numbers = cores.filter_map(|core| core.file_name().to_str()?.strip_prefix("cpu")?.parse::<usize>().ok());
    numbers.max().unwrap_or(0).to_string()
}

/// This process's place while it measures.
pub struct Settled(());

/// Puts this process onto its core and before others, and removes what runs that were killed left on tmpfs.
pub fn settle() -> Result<Settled, String> {
    let pinned = Command::new("taskset").args(["-a", "-p", "-c", &load_core(), &process::id().to_string()]).output();
    let pinned = pinned.map_err(|problem| format!("taskset: {problem}"))?;
    if !pinned.status.success() {
        return Err(String::from_utf8_lossy(&pinned.stderr).into_owned());
    }
    for folder in fs::read_dir(TMPFS).into_iter().flatten().flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(FOLDERS).and_then(|name| name.split('-').next());
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            let _ = fs::remove_dir_all(folder.path());
        }
    }
    prefer(process::id(), PREFERRED);
    Ok(Settled(()))
}

impl Drop for Settled {
    fn drop(&mut self) {
        leave();
    }
}

/// Undoes what outlives this process: its session, which is that of a person's shell, goes on.
pub fn leave() {
    prefer(process::id(), "0");
}

const PREFERRED: &str = "-20";

/// Lets a process's session go before what else runs on the machine, where the system allows that: sched(7), autogroups.
fn prefer(process: u32, nice: &str) {
    let _ = fs::write(format!("/proc/{process}/autogroup"), nice);
}

/// A folder on tmpfs that goes when this goes.
pub fn folder() -> Result<tempfile::TempDir, String> {
    tempfile::TempDir::with_prefix_in(folder_prefix(), TMPFS).map_err(|problem| format!("{TMPFS}: {problem}"))
}

fn folder_prefix() -> String {
    format!("{FOLDERS}{}-", process::id())
}

pub struct Server {
    pub program: Program,
    pub http1: SocketAddr,
    pub http2: SocketAddr,
    /// From its start until it accepted a connection, in milliseconds.
    pub listening_ms: f64,
    running: Running,
}

impl Server {
    pub fn start(program: Program, origin: &Origin) -> Result<Server, String> {
        let file = match program {
            Program::Nginx => "nginx/speed.conf",
            Program::Varnish => "varnish/speed.vcl",
            Program::Haproxy => "haproxy/speed.cfg",
            Program::Freshgate => "freshgate/speed.toml",
            // It reads none.
            Program::Least => "freshgate/speed.toml",
            Program::Squid => return Err("Squid is in no row".to_owned()),
        };
        let prefix: Vec<&str> = BENEATH.into_iter().chain(["setsid", "taskset", "-c", SERVER_CORE]).collect();
        let folder_prefix = folder_prefix();
        let frame =
            Frame { parent: Path::new(TMPFS), folder_prefix: &folder_prefix, prefix: &prefix, varnish: &VARNISH };
        let (begun, listening_ms) = (super::now(), Cell::new(None));
        let ready = |address| {
            listening_ms.set(listening_ms.get().or(Some(super::micros_since(begun) / 1e3)));
            client::once(address, "/pass/10-ready", &[]).is_ok_and(|answer| answer.status == 200)
        };
        let running = program.start(file, &frame, origin.address.port(), ready)?;
        let listening_ms = listening_ms.get().expect("it was ready");
        prefer(running.id(), PREFERRED);
        // Varnish has threads to start after it listens.
        super::h2load::rest();
        Ok(Server { program, http1: running.address, http2: running.second, listening_ms, running })
    }

    /// The process and all that descend from it.
    fn processes(&self) -> Vec<u32> {
        let mut processes = vec![self.running.id()];
        let mut place = 0;
        while let Some(process) = processes.get(place) {
            let children = tasks(*process).filter_map(|task| fs::read_to_string(task.join("children")).ok());
            let children: Vec<u32> = children
                .flat_map(|text| text.split(' ').filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
                .collect();
            processes.extend(children);
            place += 1;
        }
        processes
    }

    /// The CPU time that each of its threads has had.
    pub fn used(&self) -> Used {
        let tasks = self.processes().into_iter().flat_map(|process| tasks(process).collect::<Vec<_>>());
        Used(tasks.filter_map(|task| Some((task.clone(), nanoseconds(&task)?))).collect())
    }

    /// Resident memory of all its processes, in octets.
    pub fn resident(&self) -> usize {
        self.processes().into_iter().filter_map(resident).sum()
    }
}

/// The folders of a process's threads (proc_pid_task(5)).
fn tasks(process: u32) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten().map(|task| task.path())
}

/// "time spent on the cpu (in nanoseconds)", the first number of schedstat: what utime and stime are cut from, in ticks.
fn nanoseconds(task: &Path) -> Option<u64> {
    fs::read_to_string(task.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
}

fn resident(process: u32) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<usize>().ok().map(|kilo| kilo << 10)
}

/// Nanoseconds of CPU by thread.
pub struct Used(HashMap<PathBuf, u64>);

impl Used {
    /// Microseconds since then. Of a thread that ended meanwhile, the time since then is lost: pools keep theirs longer
    /// than any load takes.
    pub fn since(&self, earlier: &Used) -> f64 {
        let more = self.0.iter().map(|(task, used)| used - earlier.0.get(task).copied().unwrap_or(0).min(*used));
        more.sum::<u64>() as f64 / 1e3
    }
}
