//! The races of `make versus-races`, against freshgate alone; the judge of them; and that what is published of them is
//! what was run.

#[path = "live/scripted.rs"]
#[expect(dead_code, reason = "the races script their origin themselves")]
mod scripted;
#[path = "../benches/versus/mod.rs"]
mod versus;
#[path = "live/wire.rs"]
#[expect(dead_code, reason = "the races use whole responses only")]
mod wire;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use versus::history::{Ask, Caller, Event, Fault, Got, Representation, judge};
use versus::lab::{Lab, READ};
use versus::product::{FRESHGATE, PRODUCTS, Product};
use versus::races::{self, PAUSES};

#[test]
fn freshgate_loses_no_race_and_answers_from_the_store() {
    let lab = Lab::start(&FRESHGATE).unwrap_or_else(|problem| panic!("{problem}"));
    assert_eq!(races::stores(&lab), [true, true]);
    for cell in races::run(&lab, &PAUSES[1..2]) {
        let lost = cell.faults.iter().map(|failure| {
            let steps: Vec<String> = failure.history.iter().map(Event::to_string).collect();
            format!("{} {}:\n{}", failure.variant, failure.fault, steps.join("\n"))
        });
        assert_eq!(cell.verdict(), "fine", "{}: {}", cell.column, lost.collect::<String>());
    }
}

const ONE: Representation = Representation { version: 1, caller: Caller::Nobody };
const TWO: Representation = Representation { version: 2, caller: Caller::Nobody };

fn sends(client: usize, ask: Ask) -> Event {
    Event::Sends { client, ask }
}

fn gets(client: usize, got: Got) -> Event {
    Event::Gets { client, got }
}

#[track_caller]
fn judged(history: &[Event], fault: Option<(Fault, usize)>) {
    assert_eq!(judge(history).map(|(fault, steps)| (fault, steps.len())), fault);
}

#[test]
fn who_asks_after_an_acknowledged_write_sees_it() {
    let write = [sends(1, Ask::Write), gets(1, Got::Whole(TWO))];
    let after = |got| [write.as_slice(), &[sends(2, READ), gets(2, got)]].concat();
    judged(&after(Got::Whole(ONE)), Some((Fault::Stale, 4)));
    judged(&after(Got::Whole(TWO)), None);
    judged(&after(Got::Status(502)), None);
    judged(&after(Got::Broken), None);
    let early = [sends(1, Ask::Write), sends(2, READ), gets(1, Got::Whole(TWO)), gets(2, Got::Whole(ONE))];
    judged(&early, None);
    let unacknowledged = [sends(1, Ask::Write), sends(2, READ), gets(2, Got::Whole(ONE))];
    judged(&unacknowledged, None);
}

#[test]
fn a_304_is_the_representation_that_it_names() {
    let knows = |caller, known| sends(2, Ask::Read { caller, known: Some(known) });
    let write = [sends(1, Ask::Write), gets(1, Got::Whole(TWO))];
    let after = |ask| [write.as_slice(), &[ask, gets(2, Got::NotModified)]].concat();
    judged(&after(knows(Caller::Nobody, ONE)), Some((Fault::Stale, 4)));
    judged(&after(knows(Caller::Nobody, TWO)), None);
    judged(&after(knows(Caller::Bob, Representation { version: 2, caller: Caller::Alice })), Some((Fault::Leak, 4)));
}

#[test]
fn nobody_sees_what_another_was_told() {
    let alice = Representation { version: 1, caller: Caller::Alice };
    for (caller, fault) in [(Caller::Alice, None), (Caller::Bob, Some((Fault::Leak, 2)))] {
        judged(&[sends(1, Ask::Read { caller, known: None }), gets(1, Got::Whole(alice))], fault);
    }
}

#[test]
fn a_part_is_not_taken_for_the_whole() {
    judged(&[sends(1, READ), gets(1, Got::Part { octets: 7 })], Some((Fault::Truncated, 2)));
    let body = ONE.body();
    assert_eq!(Representation::of(body.as_bytes()), Some(ONE));
    assert!((0..body.len()).all(|cut| Representation::of(&body.as_bytes()[..cut]).is_none()));
}

/// Every product and configuration.
fn all() -> impl Iterator<Item = &'static Product> {
    PRODUCTS.iter().chain([&FRESHGATE])
}

#[test]
fn every_configuration_is_committed_and_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/versus");
    let entries = |folder: &Path| fs::read_dir(folder).expect("it is there").map(|e| e.expect("it can be read").path());
    let files = entries(&folder).filter(|path| path.is_dir()).flat_map(|folder| entries(&folder));
    let (code, configurations): (Vec<_>, Vec<_>) = files.partition(|file| file.extension().is_some_and(|e| e == "rs"));
    let name = |file: PathBuf| file.strip_prefix(&folder).expect("it is in there").display().to_string();
    let mut committed: BTreeSet<String> = configurations.into_iter().map(name).collect();
    let code: String = code.iter().map(|file| fs::read_to_string(file).expect("it is text")).collect();
    // Those of `make bench` are named in its code.
    committed.retain(|file| !(file.contains("/speed.") && code.contains(&format!("\"{file}\""))));
    assert_eq!(committed, all().map(|product| product.file.to_owned()).collect());
}

#[test]
fn what_is_published_is_one_run_of_all() {
    let read = |name| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("it is committed");
    let (page, readme) = (read("benches/versus/RACES.md"), read("README.md"));
    let run = page.lines().find_map(|line| line.strip_prefix("Run on ")).expect("the page says when");
    let (date, _) = run.split_once(',').expect("a date, and on what");
    assert!(readme.contains(date), "README.md gives the date of the run, {date}");
    let (_, table) = page.split_once(run).expect("the line was found in it");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), 2 + all().count());
    for row in &rows {
        assert!(readme.contains(row), "README.md has the row\n{row}");
    }
    for product in all() {
        assert!(page.contains(&format!("]({})): {}", product.file, product.says)), "{}", product.file);
    }
    let version = FRESHGATE.program.version().expect("it was built");
    let own = rows.last().expect("there are rows");
    assert!(own.starts_with(&format!("| {} |", FRESHGATE.title(&version))), "{own}");
    assert!(!own.contains("**"), "{own}");
}
