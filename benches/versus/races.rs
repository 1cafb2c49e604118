//! The races. Each is the order of events that it takes, made certain by gates at the origin; the judge says what the
//! product made of it.

use super::history::{Ask, Caller, Event, Fault, Representation, judge};
use super::lab::BOUND;
use super::lab::{Framing, Kind, Lab, READ, Resource, WINDOW};
use freshgate::clock::{Clock, SystemClock};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// What is asked of a product, a column of the table each.
pub const COLUMNS: [&str; 6] = [
    "write, then read",
    "overtaken fetch",
    "collapsed join",
    "stale while revalidating",
    "another caller",
    "truncated body",
];

/// Pauses between the end of what a product fetched and the next GET, since nothing tells from outside when it has
/// stored that. A race is run once with each; one violation is enough.
pub const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(250)];

type Run = fn(&Lab, &Arc<Resource>, Duration) -> Applies;

/// Whether a product does at all what the race is about.
#[derive(PartialEq)]
enum Applies {
    Yes,
    No,
}

struct Race {
    column: &'static str,
    variant: &'static str,
    kind: Kind,
    run: Run,
}

const RACES: [Race; 9] = [
    Race { column: COLUMNS[0], variant: "", kind: Kind::Items, run: write_then_read },
    Race { column: COLUMNS[1], variant: "", kind: Kind::Items, run: overtaken_fetch },
    Race { column: COLUMNS[2], variant: "", kind: Kind::Items, run: collapsed_join },
    Race { column: COLUMNS[3], variant: "", kind: Kind::Brief, run: overtaken_refresh },
    Race { column: COLUMNS[4], variant: "from the store", kind: Kind::Items, run: caller_after_caller },
    Race { column: COLUMNS[4], variant: "by collapse", kind: Kind::Items, run: caller_beside_caller },
    Race { column: COLUMNS[4], variant: "by 304", kind: Kind::Items, run: caller_with_a_strange_tag },
    Race { column: COLUMNS[5], variant: "by length", kind: Kind::Items, run: cut_by_length },
    Race { column: COLUMNS[5], variant: "chunked", kind: Kind::Items, run: cut_in_chunks },
];

/// What a product made of one column.
pub struct Cell {
    pub column: &'static str,
    /// Whether it does what the column is about; what does not apply has no fault.
    pub applies: bool,
    pub faults: Vec<Failure>,
}

impl Cell {
    /// What stands in the table.
    pub fn verdict(&self) -> String {
        match self.faults.first() {
            Some(failure) => format!("**{}**", failure.fault),
            None if self.applies => "fine".into(),
            None => "n.a.".into(),
        }
    }
}

/// One variant of a race that was lost, with the shortest history of those that were seen.
pub struct Failure {
    pub variant: &'static str,
    pub fault: Fault,
    pub history: Vec<Event>,
}

/// All columns of one product.
pub fn run(lab: &Lab, pauses: &[Duration]) -> Vec<Cell> {
    let mut cells: Vec<Cell> =
        COLUMNS.iter().map(|&column| Cell { column, applies: false, faults: Vec::new() }).collect();
    for race in &RACES {
        let cell = cells.iter_mut().find(|cell| cell.column == race.column).expect("each race has its column");
        let mut failures = Vec::new();
        for pause in pauses {
            let resource = lab.resource(race.kind);
            cell.applies |= (race.run)(lab, &resource, *pause) == Applies::Yes;
            if let Some((fault, history)) = judge(&resource.history()) {
                failures.push(Failure { variant: race.variant, fault, history: history.to_vec() });
            }
        }
        cell.faults.extend(failures.into_iter().min_by_key(|failure| failure.history.len()));
    }
    cells
}

/// Whether a second GET is answered without the origin: to nobody in particular, and to a caller with a credential.
pub fn stores(lab: &Lab) -> [bool; 2] {
    [Caller::Nobody, Caller::Alice].map(|caller| {
        let resource = lab.resource(Kind::Items);
        let read = Ask::Read { caller, known: None };
        lab.ask(&resource, read);
        thread::sleep(PAUSES[1]);
        lab.ask(&resource, read);
        resource.reads() == 1
    })
}

/// No race yet: whether a write is noticed at all.
fn write_then_read(lab: &Lab, resource: &Arc<Resource>, pause: Duration) -> Applies {
    lab.ask(resource, READ);
    thread::sleep(pause);
    lab.ask(resource, Ask::Write);
    lab.ask(resource, READ);
    Applies::Yes
}

/// A fetch is in flight, a write passes it, the fetch ends: is what it brought stored?
fn overtaken_fetch(lab: &Lab, resource: &Arc<Resource>, pause: Duration) -> Applies {
    let gate = resource.hold();
    let early = lab.send(resource, READ);
    gate.reached();
    lab.ask(resource, Ask::Write);
    gate.open();
    early.wait();
    thread::sleep(pause);
    lab.ask(resource, READ);
    Applies::Yes
}

/// A fetch is in flight, a write passes it: does who asks after the write's answer wait for that fetch?
fn collapsed_join(lab: &Lab, resource: &Arc<Resource>, _: Duration) -> Applies {
    let gate = resource.hold();
    let early = lab.send(resource, READ);
    gate.reached();
    lab.ask(resource, Ask::Write);
    let late = lab.send(resource, READ);
    late.within(WINDOW);
    gate.open();
    early.wait();
    late.wait();
    Applies::Yes
}

/// What is stored grows stale and is asked for anew, a write passes that: is the stale response still answered, or what
/// the refresh brings stored?
fn overtaken_refresh(lab: &Lab, resource: &Arc<Resource>, pause: Duration) -> Applies {
    lab.ask(resource, READ);
    let gate = resource.hold();
    let begun = SystemClock.now();
    let mut answered_meanwhile = false;
    while SystemClock.now().since(begun) < BOUND {
        let poll = lab.poll(resource);
        if gate.reached_within(PAUSES[1]) {
            answered_meanwhile = poll.within(WINDOW);
            break;
        }
        poll.wait();
    }
    lab.ask(resource, Ask::Write);
    let late = lab.send(resource, READ);
    late.within(WINDOW);
    gate.open();
    late.wait();
    thread::sleep(pause);
    lab.ask(resource, READ);
    if answered_meanwhile { Applies::Yes } else { Applies::No }
}

const ALICE: Ask = Ask::Read { caller: Caller::Alice, known: None };
const BOB: Ask = Ask::Read { caller: Caller::Bob, known: None };

fn caller_after_caller(lab: &Lab, resource: &Arc<Resource>, pause: Duration) -> Applies {
    lab.ask(resource, ALICE);
    thread::sleep(pause);
    lab.ask(resource, BOB);
    Applies::Yes
}

fn caller_beside_caller(lab: &Lab, resource: &Arc<Resource>, _: Duration) -> Applies {
    let gate = resource.hold();
    let first = lab.send(resource, ALICE);
    gate.reached();
    let second = lab.send(resource, BOB);
    second.within(WINDOW);
    gate.open();
    first.wait();
    second.wait();
    Applies::Yes
}

/// A 304 would tell Bob what Alice's representation is.
fn caller_with_a_strange_tag(lab: &Lab, resource: &Arc<Resource>, pause: Duration) -> Applies {
    lab.ask(resource, ALICE);
    thread::sleep(pause);
    let known = Some(Representation { version: 1, caller: Caller::Alice });
    lab.ask(resource, Ask::Read { caller: Caller::Bob, known });
    Applies::Yes
}

fn cut_by_length(lab: &Lab, resource: &Arc<Resource>, pause: Duration) -> Applies {
    cut(lab, resource, pause, Framing::Length)
}

fn cut_in_chunks(lab: &Lab, resource: &Arc<Resource>, pause: Duration) -> Applies {
    cut(lab, resource, pause, Framing::Chunked)
}

/// The origin ends in the middle of a body: does who asked, who joined, or who asks next take a part for the whole?
fn cut(lab: &Lab, resource: &Arc<Resource>, pause: Duration, framing: Framing) -> Applies {
    let gate = resource.cut(framing);
    let first = lab.send(resource, READ);
    gate.reached();
    let second = lab.send(resource, READ);
    second.within(WINDOW);
    gate.open();
    first.wait();
    second.wait();
    thread::sleep(pause);
    lab.ask(resource, READ);
    Applies::Yes
}
