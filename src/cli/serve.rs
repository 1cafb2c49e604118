//! `freshgate serve`: a process from its configuration to its end.

use crate::clock::{Clock, SystemClock};
use crate::config::{self, Loaded, Overrides};
use crate::edge::access_log::AccessLog;
use crate::edge::admin::{self, Admin, Phase};
use crate::edge::draft;
use crate::edge::learn::Learned;
use crate::edge::listener::{BindError, Listeners};
use crate::edge::metrics::Metrics;
use crate::edge::operator::Operator;
use crate::origin::http::HttpOrigin;
use crate::pipeline::{Observer, Pipeline};
use crate::policy::{Freshness, Policy};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::disable_transparent_huge_pages;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Everything was done.
pub const DONE: u8 = 0;
/// The command line cannot be understood (sysexits: `EX_USAGE`).
pub const USAGE: u8 = 64;
/// An address cannot be bound, or a listener not reached (`EX_UNAVAILABLE`).
pub const UNAVAILABLE: u8 = 69;
/// The configuration is wrong (`EX_CONFIG`).
pub const CONFIG: u8 = 78;
/// A bug (`EX_SOFTWARE`).
pub const BUG: u8 = 70;

/// How often the first run prints what it has learned, and how many paths of it.
const LEARNED_EVERY: Duration = Duration::from_secs(10);
const LEARNED_ROWS: usize = 12;

/// Run the proxy; a file or an origin's URL is needed
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The configuration; without one, --origin starts a first run
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The API behind the proxy, in place of origin.url
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
    /// Where clients connect to, in place of server.listen; with port 0 and no file, operators connect to a free port too
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Answer from the store for so long, such as 30s, where no route says otherwise
    #[arg(long, value_name = "DUR", value_parser = config::duration)]
    fresh: Option<Duration>,
    /// Write a line of JSON to stdout for every exchange
    #[arg(long)]
    access_log: bool,
}

/// Runs until SIGTERM or SIGINT.
pub fn run(args: &Args) -> ExitCode {
    let overrides = Overrides { origin: args.origin.clone(), listen: args.listen.clone(), fresh: args.fresh };
    let loaded = match &args.config {
        Some(file) => config::load(file, &overrides, &|name| std::env::var(name).ok()),
        None if args.origin.is_some() => config::from_flags(&overrides),
        None => {
            eprintln!("freshgate serve needs --config FILE, or --origin URL for a first run without a file.");
            return ExitCode::from(USAGE);
        }
    };
    let Loaded { policy, .. } = match loaded {
        Ok(loaded) => loaded,
        Err(errors) => {
            eprint!("{errors}");
            return ExitCode::from(CONFIG);
        }
    };
    let runtime = match runtime(policy.server.threads) {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("The system gave no threads: {error}.");
            return ExitCode::from(UNAVAILABLE);
        }
    };
    take_small_pages();
    take_all_files(policy.server.limits.connections);
    warn_of_memory(policy.cache.memory);
    runtime.block_on(serve(policy, Extras { access_log: args.access_log, first_run: args.config.is_none() }))
}

/// Has memory come in pages of 4 KiB. A huge one is found and cleared when it is first touched, which a request waits for:
/// 4.6 ms were measured where a miss of 200 KB took 0.3, and nothing was faster for them, a million responses neither.
fn take_small_pages() {
    if let Err(error) = disable_transparent_huge_pages(true) {
        tracing::debug!(target: "freshgate", %error, "transparent huge pages could not be turned off");
    }
}

/// Raises the limit of open files as far as the system lets anybody: the soft one is often 1024, and each connection is a
/// file.
fn take_all_files(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(target: "freshgate", %error, "the limit of open files could not be raised");
    }
    if limit.maximum.is_some_and(|files| files < connections as u64) {
        let files = limit.maximum;
        tracing::warn!(target: "freshgate", files, connections, "the system allows fewer files than there may be connections");
    }
}

/// Says so where the store may grow beyond what there is: the system would end the process then.
fn warn_of_memory(memory: u64) {
    if let Some(available) = memory_there_is().filter(|available| memory > *available) {
        tracing::warn!(target: "freshgate", memory, available, "cache.memory is more memory than there is");
    }
}

/// Bytes of memory that the machine has, or that the control group may take (cgroups(7)), as far as the system tells.
fn memory_there_is() -> Option<u64> {
    let text = |file| std::fs::read_to_string(file).ok();
    let allowed = || text("/sys/fs/cgroup/memory.max")?.trim().parse::<u64>().ok();
    let installed = || {
        let all = text("/proc/meminfo")?;
        let kib = all.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"))?;
        Some(kib.parse::<u64>().ok()?.saturating_mul(1024))
    };
    [allowed(), installed()].into_iter().flatten().min()
}

/// A runtime of so many threads.
///
/// # Errors
/// The system gave no threads.
pub fn runtime(threads: usize) -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// What a process does beside serving.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras {
    pub access_log: bool,
    /// There is no file: whatever is advised comes as a whole one. Without `--fresh` as well, what that would have given is
    /// learned and shown.
    pub first_run: bool,
}

async fn serve(policy: Policy, extras: Extras) -> ExitCode {
    let process = match Process::open(policy, extras).await {
        Ok(process) => process,
        Err(error) => return refused(&error),
    };
    for address in process.public() {
        say(&format!("listening on {address}"));
    }
    say(&format!("admin on {}", process.admin()));
    if extras.first_run {
        say(&format!("The page to open: http://{}/", process.admin()));
    }
    let (stop, stopped) = watch::channel(false);
    let told = match told_to_stop() {
        Ok(told) => told,
        Err(error) => {
            eprintln!("Signals cannot be received: {error}.");
            return ExitCode::from(BUG);
        }
    };
    tokio::spawn(async move {
        told.await;
        stop.send_replace(true);
    });
    process.run(stopped).await;
    ExitCode::from(DONE)
}

/// Waits for SIGTERM or SIGINT; from this call on, neither ends the process by itself.
///
/// # Errors
/// Signals cannot be received.
pub fn told_to_stop() -> std::io::Result<impl Future<Output = ()> + Send> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Says why a process cannot start.
pub fn refused(error: &BindError) -> ExitCode {
    eprintln!("{error}.");
    match error {
        BindError::Address { .. } => {
            eprintln!("Is another process listening there? server.listen and admin.listen name other addresses.");
            ExitCode::from(UNAVAILABLE)
        }
        BindError::Certificate(_) => ExitCode::from(CONFIG),
    }
}

/// A process that holds its addresses and certificates, and serves nothing yet.
pub struct Process {
    listeners: Listeners,
    admin: TcpListener,
    admin_address: SocketAddr,
    operator: Arc<Operator>,
    metrics: Arc<Metrics>,
}

impl Process {
    /// Loads certificates and binds both listeners.
    ///
    /// # Errors
    /// The first thing that cannot be had.
    pub async fn open(policy: Policy, extras: Extras) -> Result<Self, BindError> {
        let listeners = Listeners::bind(&policy)?;
        let address = policy.admin.listen;
        let bound = async { TcpListener::bind(address).await.and_then(|admin| Ok((admin.local_addr()?, admin))) };
        let (admin_address, admin) = bound.await.map_err(|cause| BindError::Address { address, cause })?;
        let origin = HttpOrigin::new(&policy.origin).map_err(BindError::Certificate)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let policy = Arc::new(policy);
        let mut metrics = Metrics::new(&policy.routes, clock.now());
        if extras.first_run {
            metrics = metrics.without_a_file(draft::url(&policy.origin));
        }
        let metrics = Arc::new(metrics);
        let learns = extras.first_run && policy.routes.iter().all(|route| route.freshness == Freshness::Origin);
        let learned = learns.then(|| Arc::new(Mutex::new(Learned::new(draft::url(&policy.origin)))));
        let observer = observer(&policy, &metrics, learned.clone(), extras.access_log);
        let pipeline = Pipeline::new(policy, Arc::new(origin), clock, observer, random_key());
        let operator = Arc::new(Operator { pipeline, learned, phase: RwLock::new(Phase::Starting) });
        Ok(Process { listeners, admin, admin_address, operator, metrics })
    }

    /// Where clients connect to.
    pub fn public(&self) -> Vec<SocketAddr> {
        self.listeners.local_addrs()
    }

    /// Where operators connect to.
    pub fn admin(&self) -> SocketAddr {
        self.admin_address
    }

    /// Serves until `stopped` is true and what is in flight has ended, or `server.drain` is over.
    pub async fn run(self, stopped: watch::Receiver<bool>) {
        let Process { listeners, admin, operator, metrics, .. } = self;
        let pipeline = operator.pipeline.clone();
        let connections = metrics.connections.clone();
        let shared = Admin { log: pipeline.changes.clone(), operations: operator.clone(), metrics };
        // The public listeners are bound and take connections already: whoever can ask is told so.
        operator.enter(Phase::Serving);
        let patience = operator.pipeline.policy.server.limits.header_timeout;
        let admin = tokio::spawn(admin::serve(admin, admin::router(shared), patience));
        let teller = operator.learned.clone().map(|learned| tokio::spawn(tell(learned)));
        let draining = tokio::spawn(drain(operator, stopped.clone()));
        listeners.serve(pipeline, connections, stopped).await;
        // Operators can watch the drain to its end.
        for task in [Some(draining), teller].into_iter().flatten() {
            task.abort();
        }
        admin.abort();
    }
}

async fn drain(operator: Arc<Operator>, mut stopped: watch::Receiver<bool>) {
    if stopped.wait_for(|stopped| *stopped).await.is_ok() {
        operator.enter(Phase::Draining);
    }
}

/// Prints what the first run has learned, while there is something new.
async fn tell(learned: Arc<Mutex<Learned>>) {
    let mut every = tokio::time::interval(LEARNED_EVERY);
    let mut last = String::new();
    loop {
        every.tick().await;
        let text = learned.lock().expect("no holder of this lock panics").table().text(LEARNED_ROWS);
        if text != last {
            say(&format!("\n{text}"));
            last = text;
        }
    }
}

/// Says something on stdout. That nobody reads it any more is no reason to end.
fn say(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// Everybody who wants to know of each exchange.
fn observer(
    policy: &Arc<Policy>,
    metrics: &Arc<Metrics>,
    learned: Option<Arc<Mutex<Learned>>>,
    access_log: bool,
) -> Observer {
    let (policy, metrics) = (policy.clone(), metrics.clone());
    let log = access_log.then(|| AccessLog::start(std::io::stdout())).and_then(|log| match log {
        Ok(log) => Some(log),
        Err(error) => {
            tracing::error!(%error, "there is no access log");
            None
        }
    });
    Arc::new(move |exchange| {
        metrics.record(exchange);
        if let Some(learned) = &learned {
            learned.lock().expect("no holder of this lock panics").observe(exchange);
        }
        if let Some(log) = &log {
            log.record(exchange, &policy.routes.get(exchange.route).name);
        }
    })
}

/// The key that credentials are hashed with.
fn random_key() -> [u8; 32] {
    let mut key = [0; 32];
    getrandom::fill(&mut key).expect("the system has random numbers");
    key
}

/// Where the process says what happens to it: stderr, `RUST_LOG` decides how much. Pingora calls it an error that a pooled
/// connection is in use by another task, and then opens one; what fails at the origin is told by this crate. What h2 warns
/// of is what a client does, as often as the client likes: it would fill the disk.
pub fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        tracing_subscriber::EnvFilter::new("warn,pingora_core::connectors=off,h2=error,freshgate=info")
    });
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
