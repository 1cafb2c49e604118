//! What normal load notices of those who mean harm: `make slow`. The load runs alone, beside an attack, and alone again, for
//! each attack and several rounds; the page is `benches/HOSTILE.md`.
//!
//! Given words, it runs only the attacks whose names contain one of them, and writes nothing.

#[path = "hostile/attacks.rs"]
mod attacks;
#[path = "../tests/hostile/frame.rs"]
#[expect(dead_code, reason = "no attack reads what it is answered")]
mod frame;
#[path = "versus/machine.rs"]
mod machine;
#[path = "hostile/normal.rs"]
mod normal;
#[path = "hostile/process.rs"]
mod process;
#[path = "versus/program.rs"]
#[expect(dead_code, reason = "the races start more of them")]
mod program;
#[path = "../tests/live/proxy.rs"]
#[expect(dead_code, reason = "the live tests use the rest of it")]
mod proxy;
#[path = "hostile/report.rs"]
mod report;
#[path = "../tests/live/scripted.rs"]
#[expect(dead_code, reason = "the live tests use the rest of it")]
mod scripted;
#[path = "hostile/stage.rs"]
mod stage;
#[path = "../tests/live/wire.rs"]
#[expect(dead_code, reason = "the live tests use the rest of it")]
mod wire;

use attacks::{ATTACKS, Attack, By, Kind};
use freshgate::clock::{Clock, SystemClock};
use report::{Measured, Round, Stretch};
use stage::{Harm, Processors, Target};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, thread};

/// How often each attack is run. A latency is that of all rounds together, another figure the median.
const ROUNDS: usize = 3;
/// How long the load is measured beside an attack, and alone before it and after it. Those who are slow have to be measured
/// for long, since it is to be told whether they make a difference at all.
const fn lengths(kind: Kind) -> (Duration, Duration) {
    match kind {
        Kind::Slow => (Duration::from_secs(7), Duration::from_millis(3500)),
        Kind::Flood => (Duration::from_secs(3), Duration::from_millis(1500)),
    }
}
/// From the beginning of an attack, all of whose connections are opened within a second, to the measurement; and from its
/// end to the next.
const BEGINNING: Duration = Duration::from_millis(1250);
const END: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if let [attack, name, address] = words.as_slice()
        && attack == "--attack"
    {
        attacks::run(name, address.parse().expect("whoever starts it names an address"));
        return ExitCode::SUCCESS;
    }
    // cargo itself adds `--bench`.
    let words: Vec<String> = words.into_iter().filter(|word| !word.starts_with("--")).collect();
    match measured(&words) {
        Ok(page) => {
            if words.is_empty() {
                let file = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/HOSTILE.md");
                fs::write(file, &page).expect("the repository can be written");
            }
            println!("{page}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything; the page.
fn measured(words: &[String]) -> Result<String, String> {
    let chosen =
        ATTACKS.iter().filter(|attack| words.is_empty() || words.iter().any(|word| attack.name.contains(word)));
    let chosen: Vec<&Attack> = chosen.collect();
    // What nginx is compared by is what nobody here wrote.
    let foreign: Vec<&Attack> =
        chosen.iter().copied().filter(|attack| matches!(attack.by, By::Slowhttptest(..))).collect();
    // A sleep ends when it is to end: by default Linux adds up to 50 µs. Threads inherit this.
    drop(fs::write("/proc/self/timerslack_ns", "1"));
    let processors = Processors::parted();
    let origin = stage::origin();
    let freshgate = Target::freshgate(&processors, &origin);
    let nginx = Target::nginx(&processors, &origin)?;
    let mut rows = [measurements(&freshgate, chosen)?, measurements(&nginx, foreign)?];
    for round in 1..=ROUNDS {
        for (target, rows) in [&freshgate, &nginx].into_iter().zip(&mut rows) {
            eprintln!("round {round} of {ROUNDS}: {}", target.name);
            play(target, rows)?;
        }
        // The origin tells a test what it was asked.
        origin.times_asked();
    }
    let [rows, foreign] = rows;
    Ok(report::page(&rows, &foreign, ROUNDS, processors.hurried))
}

/// Nothing measured yet, and what the load asks for stored.
fn measurements(target: &Target, attacks: Vec<&'static Attack>) -> Result<Vec<Measured>, String> {
    normal::warm(target.address).map_err(|problem| format!("{}: {problem}", target.name))?;
    // The first requests of a process are slower than all later ones.
    normal::run(target.address, BEGINNING);
    Ok(attacks.into_iter().map(|attack| Measured { attack, rounds: Vec::new() }).collect())
}

/// One round: the load alone, and then beside each attack and alone again.
fn play(target: &Target, rows: &mut [Measured]) -> Result<(), String> {
    let mut alone = stretch(target, lengths(Kind::Slow).1);
    for row in rows {
        let round = attacked(row.attack, target, alone)?;
        eprintln!("  {}: {}", row.attack.name, round.in_short());
        alone = round.after.clone();
        row.rounds.push(round);
    }
    Ok(())
}

/// The load, measured for so long.
fn stretch(target: &Target, length: Duration) -> Stretch {
    let (before, began) = (target.processor_time(), SystemClock.now());
    let sample = normal::run(target.address, length);
    // Where the load waits, it lasts longer than it should.
    let lasted = SystemClock.now().since(began);
    let share = (target.processor_time() - before).as_secs_f64() / lasted.as_secs_f64();
    Stretch { sample, share }
}

/// The load beside an attack, and alone again; `before` it was alone.
fn attacked(attack: &Attack, target: &Target, before: Stretch) -> Result<Round, String> {
    let (beside, alone) = lengths(attack.kind);
    let already = target.answered();
    target.forget_peak();
    let harm = Harm::begin(attack, target)?;
    thread::sleep(BEGINNING);
    let beside = stretch(target, beside);
    let did = harm.end();
    thread::sleep(END);
    let mut answered = target.answered();
    for (name, count) in &mut answered {
        *count -= already.get(name).unwrap_or(&0);
    }
    answered.retain(|_, count| *count > 0);
    let memory = target.peak_memory();
    Ok(Round { before, beside, after: stretch(target, alone), memory, answered, did })
}
