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
    if let [_, least, port] = &env::args().collect::<Vec<_>>()[..]
        && least == "--least"
    {
        speed::least::serve(port.parse().expect("whoever starts it names a port"));
        return ExitCode::SUCCESS;
    }
    // cargo itself adds `--bench`.
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    thread::spawn(|| {
        thread::sleep(BOUND);
        eprintln!("not done within {BOUND:?}");
        server::leave();
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
    let mut rows: Vec<&str> = ROWS.iter().map(|row| row.word).chain(SPECIALS.map(|(word, _)| word)).collect();
    rows.dedup();
    let (named, asked): (Vec<&str>, Vec<&str>) =
        words.iter().map(String::as_str).partition(|word| PROGRAMS.iter().any(|program| called(*program) == *word));
    if let Some(word) = asked.iter().find(|word| !rows.contains(word)) {
        return Err(format!("`{word}` is no row: there are {}", rows.join(" ")));
    }
    let wanted = |program: Program| named.is_empty() || named.contains(&called(program).as_str());
    let chosen = |row: &str| asked.is_empty() || asked.contains(&row);

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

/// What a program is asked for by.
fn called(program: Program) -> String {
    program.name().to_lowercase()
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
