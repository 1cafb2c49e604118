//! `docs/hostile.md`: what was measured, beside what others do.

use crate::catalogue::{Row, Section};
use crate::play::Outcome;
use crate::root;
use std::fs;
use std::sync::Mutex;

/// The parts of the page stand between lines of this form.
fn mark(name: &str) -> String {
    format!("<!-- {name} -->\n")
}

/// The part of one section.
pub fn part(section: &Section, measured: &[Outcome]) -> String {
    let mut text = format!("\n## {}\n\n{}\n\n", section.title, section.about.trim());
    text += "| | input | freshgate | reaches the origin | nginx | Varnish | Pingora |\n|---|---|---|---|---|---|---|\n";
    let mut notes = Vec::new();
    for (row, outcome) in section.rows.iter().zip(measured) {
        let number = row.note.as_ref().map(|note| {
            if !notes.contains(&note) {
                notes.push(note);
            }
            notes.iter().position(|known| *known == note).expect("it was just put there") + 1
        });
        text += &line(row, outcome, number);
    }
    for (number, note) in notes.iter().enumerate() {
        text += &format!("\n{}. {note}", number + 1);
    }
    text += if notes.is_empty() { "\n" } else { "\n\n" };
    text
}

fn line(row: &Row, outcome: &Outcome, note: Option<usize>) -> String {
    let other = |text: &str| if text.is_empty() { "–".to_owned() } else { cell(text) };
    let answer = note.map_or_else(|| outcome.answer.clone(), |note| format!("{} ({note})", outcome.answer));
    let shown: Vec<String> =
        row.shown_by.iter().map(|test| format!("[`{}`](../{})", short(test), file(test))).collect();
    let origin = match (outcome.origin.as_str(), shown.is_empty()) {
        ("", _) => shown.join(", "),
        (origin, true) => cell(origin),
        (origin, false) => format!("{}; {}", cell(origin), shown.join(", ")),
    };
    let [nginx, varnish, pingora] = [&row.nginx, &row.varnish, &row.pingora].map(|text| other(text));
    format!("| {} | {} | {} | {origin} | {nginx} | {varnish} | {pingora} |\n", row.id, cell(&row.input), cell(&answer))
}

fn file(test: &str) -> &str {
    test.split(": ").next().unwrap_or(test)
}

fn short(test: &str) -> &str {
    test.rsplit([' ', '/']).next().unwrap_or(test)
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Sections are played at once, and the page is one file.
static PAGE: Mutex<()> = Mutex::new(());

/// Holds the page to `part`, or writes it there with `REWRITE=1`.
#[track_caller]
pub fn hold(name: &str, part: &str) {
    let file = root().join("docs/hostile.md");
    let one_at_a_time = PAGE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let page = fs::read_to_string(&file).expect("the page is there");
    let (before, rest) = page.split_once(&mark(name)).expect("the page has a part for each section");
    let (there, after) = rest.split_once("<!-- ").expect("a part ends before the next mark");
    if there != part && std::env::var("REWRITE").is_ok_and(|value| value == "1") {
        let written = format!("{before}{}{part}<!-- {after}", mark(name));
        return fs::write(&file, written).expect("the page can be written");
    }
    drop(one_at_a_time);
    let differs = there.lines().zip(part.lines()).find(|(there, measured)| there != measured);
    assert!(there == part, "docs/hostile.md is not what was measured; REWRITE=1 writes it. First: {differs:#?}");
}
