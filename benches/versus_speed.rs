//! What a request costs nginx, Varnish, HAProxy and freshgate in front of one origin: `make bench`. Prints the tables, and
//! writes them to `benches/RESULTS.md`.
//!
//! Given words, it runs only the rows that they name and the programs that they name, and writes nothing:
//! `make bench BENCH="hit 304 nginx freshgate"`.

#[path = "versus/program.rs"]
#[expect(dead_code, reason = "Squid is in the races alone")]
mod program;
#[path = "versus/speed/mod.rs"]
mod speed;

use freshgate::clock::{Clock, SystemClock};
use program::Program::{self, Freshgate, Haproxy, Nginx, Varnish};
use speed::origin::Origin;
use speed::report::{self, Section};
use speed::rows::ROWS;
use speed::server;
use speed::special::SPECIALS;
use std::process::{self, ExitCode};
use std::time::Duration;
use std::{env, fs, thread};

const PROGRAMS: [Program; 4] = [Nginx, Varnish, Haproxy, Freshgate];
/// Whatever happens, it is over then; the servers end with this process.
const BOUND: Duration = Duration::from_secs(15 * 60);

fn main() -> ExitCode {
    // cargo itself adds `--bench`.
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    thread::spawn(|| {
        thread::sleep(BOUND);
        eprintln!("not done within {BOUND:?}");
        process::exit(1);
    });
    match run(&words) {
        Ok(page) => {
            println!("{page}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<String, String> {
    let rows = ROWS.iter().map(|row| row.word).chain(SPECIALS.map(|(word, _)| word));
    let named = |program: &Program| words.iter().any(|word| *word == program.name().to_lowercase());
    let known = |word: &&String| {
        rows.clone().any(|row| row == **word) || PROGRAMS.iter().any(|p| *word == &p.name().to_lowercase())
    };
    if let Some(word) = words.iter().find(|word| !known(word)) {
        return Err(format!("`{word}` is no row: there are {}", rows.collect::<Vec<_>>().join(" ")));
    }
    let all_programs = !PROGRAMS.iter().any(named);
    let all_rows = words.iter().all(|word| PROGRAMS.iter().any(|program| *word == program.name().to_lowercase()));
    let wanted = |program: Program| all_programs || named(&program);
    let chosen = |row: &str| all_rows || words.iter().any(|word| word == row);

    let _settled = server::settle()?;
    let origin = Origin::start();
    let begun = speed::now();
    let mut sections: Vec<Section> = Vec::new();
    let mut add = |word: &str, run: &dyn Fn() -> Result<Vec<Section>, String>| -> Result<(), String> {
        if chosen(word) {
            eprintln!("{word} …");
            let more = run().map_err(|problem| format!("{word}: {problem}"))?;
            more.iter().for_each(|section| eprintln!("{}", report::section(section)));
            sections.extend(more);
        }
        Ok(())
    };
    for row in &ROWS {
        add(row.word, &|| Ok(vec![row.run(&origin, wanted)?]))?;
    }
    for (word, special) in SPECIALS {
        add(word, &|| special(&origin, &wanted))?;
    }
    if !words.is_empty() {
        return Ok(report::goals(&sections));
    }
    let run = ran_on(speed::micros_since(begun) / 60e6)?;
    let page = report::page(&sections, &run);
    fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/RESULTS.md"), &page)
        .map_err(|problem| problem.to_string())?;
    Ok(report::goals(&sections))
}

/// When, on what, and which versions.
fn ran_on(minutes: f64) -> Result<String, String> {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let now = jiff::Timestamp::from_millisecond(SystemClock.now().wall_ms).expect("the clock stands at a date");
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let release = read("/etc/os-release");
    let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).map(|name| name.trim_matches('"'));
    let versions: Result<Vec<String>, String> =
        PROGRAMS.iter().map(|program| Ok(format!("{} {}", program.name(), program.version()?))).collect();
    Ok(format!(
        "Run on {}, in {minutes:.0} minutes, on {}, {cores} cores, {}, Linux {}; load average at the end {}. {}.",
        now.strftime("%F"),
        model.unwrap_or(env::consts::ARCH),
        system.unwrap_or(env::consts::OS),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or("unknown"),
        versions?.join(", ")
    ))
}
