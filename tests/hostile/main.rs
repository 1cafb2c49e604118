//! Hostile input: what has two readings does not get through, and nothing hurts.
//!
//! The catalogue stands beside this file as data, a file per section: the octets that are sent, what is answered, what the
//! origin may have seen. Every row is played over raw sockets against the real program, and after every row a request on a
//! new connection must be answered as ever. What no row can say (floods, slowness) is code here, named by its row. What is
//! measured is the table in `docs/hostile.md`, which fails this test where it says otherwise; `REWRITE=1` writes it anew.

mod catalogue;
mod configurations;
mod floods;
mod frame;
mod frames;
mod limits;
mod operators;
mod origin;
mod page;
mod play;
#[expect(dead_code, reason = "the live tests use the rest of it")]
#[path = "../live/proxy.rs"]
mod proxy;
#[expect(dead_code, reason = "the live tests use the rest of it")]
#[path = "../live/scripted.rs"]
mod scripted;
mod slow;
#[expect(dead_code, reason = "the live tests use the rest of it")]
#[path = "../live/wire.rs"]
mod wire;

use catalogue::{SECTIONS, Section};
use freshgate::clock::{Clock, SystemClock, Timestamp};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn a_framing() {
    hold("a_framing");
}

#[test]
fn b_uri_and_key() {
    hold("b_uri_and_key");
}

#[test]
fn c_conditional() {
    hold("c_conditional");
}

#[test]
fn d_range() {
    hold("d_range");
}

#[test]
fn e_callers() {
    hold("e_callers");
}

#[test]
fn f_origin() {
    hold("f_origin");
}

#[test]
fn g_configuration() {
    hold("g_configuration");
}

#[test]
fn h_admin() {
    hold("h_admin");
}

/// Plays every row of a section and holds the page to what was measured.
#[track_caller]
fn hold(name: &str) {
    let section = Section::read(name);
    let mut stage = play::Stage::default();
    let (mut measured, mut wrong) = (Vec::new(), Vec::new());
    for row in &section.rows {
        match stage.play(row, &section.config) {
            Ok(outcome) => measured.push(outcome),
            Err(why) => wrong.push(format!("{}, {}: {why}", row.id, row.input)),
        }
    }
    assert!(wrong.is_empty(), "{} rows are not as they should be:\n{}", wrong.len(), wrong.join("\n"));
    page::hold(name, &page::part(&section, &measured));
}

#[test]
fn every_row_of_the_catalogue_is_there() {
    for (name, letter, count) in SECTIONS {
        let section = Section::read(name);
        let there: BTreeSet<&str> = section.rows.iter().map(|row| row.id.as_str()).collect();
        let missing: Vec<String> =
            (1..=count).map(|n| format!("{letter}{n}")).filter(|id| !there.contains(id.as_str())).collect();
        assert!(missing.is_empty(), "{name} lacks {missing:?}");
        let strange: Vec<_> = there.iter().filter(|id| !(1..=count).any(|n| **id == format!("{letter}{n}"))).collect();
        assert!(strange.is_empty(), "{name} has {strange:?}, which the catalogue has not");
    }
    let files = fs::read_dir(folder()).expect("the folder can be read").map(|entry| entry.expect("an entry").path());
    let data = files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).count();
    assert_eq!(data, SECTIONS.len(), "each file of rows has its test above");
}

/// A row that is shown elsewhere names the test; this finds it.
#[test]
fn every_test_that_a_row_names_exists() {
    for (name, ..) in SECTIONS {
        for row in Section::read(name).rows {
            for named in &row.shown_by {
                let (file, test) = named.split_once(": ").map_or((named.as_str(), None), |(f, t)| (f, Some(t)));
                let text = fs::read_to_string(root().join(file));
                let text = text.unwrap_or_else(|error| panic!("{}: {file}: {error}", row.id));
                let found = test.is_none_or(|test| text.contains(&format!("fn {test}(")));
                assert!(found, "{}: there is no {test:?} in {file}", row.id);
            }
            assert!(
                !row.steps.is_empty() || !row.shown_by.is_empty() || row.file.is_some(),
                "{}: nothing shows it",
                row.id
            );
        }
    }
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn folder() -> PathBuf {
    root().join("tests/hostile")
}
