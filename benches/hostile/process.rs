//! What Linux tells of processors and processes (proc_cpuinfo(5), proc_pid_stat(5), proc_pid_status(5)), and which of the
//! ones run on which of the others.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

/// In ticks of a hundredth of a second, on every Linux that there is.
const TICK: Duration = Duration::from_millis(10);

/// This process, and what it starts from here on, runs on these processors.
pub fn pin(processors: &str) {
    assert!(of_this_process("taskset", &["-a", "-c", "-p", processors]), "taskset can choose processors");
}

/// This process, and what it starts from here on, has its processor as soon as it wants it (`SCHED_FIFO`, sched(7)), or no
/// sooner than others. Says whether the system lets it.
pub fn hurry(at_once: bool) -> bool {
    let policy: &[&str] = if at_once { &["--fifo", "-a", "-p", "1"] } else { &["--other", "-a", "-p", "0"] };
    of_this_process("chrt", policy)
}

fn of_this_process(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).arg(std::process::id().to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Processor time that a process has taken so far.
pub fn processor_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the command's name in parentheses; utime and stime are the 14th and 15th of all.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u32 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u32>().ok()).sum();
    TICK * ticks
}

/// The most memory that a process has held since that was last forgotten, in bytes.
pub fn peak_memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

/// What the machine calls its processors, and how many there are.
pub fn processors() -> String {
    let told = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = told.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    // Not what this process may use of them, which it has narrowed itself.
    let count = told.lines().filter(|line| line.starts_with("processor")).count();
    format!("{count} × {}", name.unwrap_or(std::env::consts::ARCH))
}
