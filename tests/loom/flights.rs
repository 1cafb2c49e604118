//! Who joins a flight, who is told what, and that none who waits waits for ever.

use crate::Model;
use crate::fences::{PATH, World};
use crate::policy::EntityId;
use crate::semantics::cache_key::{self, CacheKey, Partition};
use crate::semantics::invalidation::FenceKey;
use crate::semantics::reuse::Standing;
use crate::semantics::sample::{at, plain, request};
use crate::store::fences::{Mark, Slots};
use crate::store::flight::{Boarding, Flights, Pilot};
use crate::store::sync::watch::Receiver;
use loom::thread;
use std::sync::{Arc, LazyLock};

pub const MODELS: &[Model] = &[
    Model {
        name: "no flight tells whoever comes after a mutation what it read before",
        holds: || collapse(Joining::Checked),
        fails: &[("whoever comes joins what is under way", || collapse(Joining::Naive))],
    },
    Model {
        name: "a 404 is handed to nobody who comes after its collection has changed",
        holds: || negative(true),
        fails: &[("what came is handed over unchecked", || negative(false))],
    },
    Model {
        name: "what somebody was told while a mutation is under way parts whoever comes from older flights",
        holds: || parted(Parting::First),
        fails: &[
            ("nobody parts them", || parted(Parting::Never)),
            ("they are parted once it was told", || parted(Parting::Late)),
        ],
    },
    Model {
        name: "everybody who waits is told, whoever leads and however it ends",
        holds: || everybody_is_told(false),
        fails: &[("the pilot is forgotten", || everybody_is_told(true))],
    },
    Model { name: "of those who come at once one leads", holds: one_leads, fails: &[] },
    Model { name: "the end of an older flight does not end the younger one", holds: younger_goes_on, fails: &[] },
    Model { name: "whoever was told and comes again boards another flight", holds: ended_is_not_boarded, fails: &[] },
    Model { name: "of two words the first counts, for all", holds: first_word_counts, fails: &[] },
];

/// What a flight brings: a version, and when its fetch began.
type Landing = Option<(u64, Mark)>;

static KEY: LazyLock<CacheKey> =
    LazyLock::new(|| cache_key::of(&request("GET", PATH, &[]), &plain(), &Partition::Public));

#[derive(Clone, Copy, PartialEq, Eq)]
enum Joining {
    Checked,
    Naive,
}

/// A request that misses: it joins a flight or leads one, and is not told less than anybody was before it came.
fn read(world: &World, flights: &Flights<Landing>, slots: &Slots, joining: Joining) {
    let floor = world.floor();
    let joined = world.fences.epoch(slots);
    let naive = joining == Joining::Naive;
    let version = match flights.board(&KEY, joined, |then| naive || world.fences.may_join(slots, then, PATH)) {
        Boarding::Lead(pilot) => {
            let mark = world.fences.mark(at(0));
            let version = world.ask();
            pilot.land(Some((version, mark)));
            version
        }
        Boarding::Wait(landing) => match landing.told() {
            Some((version, mark)) if naive || world.fences.may_hand_over(slots, mark, joined, PATH) => version,
            // It starts over.
            _ => return,
        },
    };
    assert!(version >= floor, "version {version} after {floor} was told");
}

fn collapse(joining: Joining) {
    let (world, flights) = (World::new(), Arc::new(Flights::default()));
    let (one, other) = (world.clone(), world.clone());
    let mutation = thread::spawn(move || one.mutate(&one.slots()));
    let flying = flights.clone();
    let reader = thread::spawn(move || read(&other, &flying, &other.slots(), joining));
    read(&world, &flights, &world.slots(), joining);
    mutation.join().expect("it ends");
    reader.join().expect("it ends");
    assert!(flights.is_empty());
}

/// Of an item that a mutation of its collection creates: what flies stands behind the item alone, and a 404, once it has
/// landed, behind the collection too.
fn negative(checked: bool) {
    fn read(world: &World, flights: &Flights<Landing>, checked: bool) {
        let floor = world.floor();
        let item = world.fences.slots(&[FenceKey::Path(PATH.into())]);
        let none = world.fences.slots(&[FenceKey::Path(PATH.into()), FenceKey::Collections(EntityId(0))]);
        let joined = world.fences.epoch(&item);
        let version = match flights.board(&KEY, joined, |then| world.fences.may_join(&item, then, PATH)) {
            Boarding::Lead(pilot) => {
                let mark = world.fences.mark(at(0));
                let version = world.ask();
                pilot.land(Some((version, mark)));
                version
            }
            Boarding::Wait(landing) => {
                let Some((version, mark)) = landing.told() else { return };
                let slots = if version == 0 { &none } else { &item };
                if checked && !world.fences.may_hand_over(slots, mark, joined, PATH) {
                    return;
                }
                version
            }
        };
        assert!(version >= floor, "there is none, after it was made");
    }
    let (world, flights) = (World::new(), Arc::new(Flights::default()));
    let (one, other) = (world.clone(), world.clone());
    let creation = thread::spawn(move || one.mutate(&one.fences.slots(&[FenceKey::Collections(EntityId(0))])));
    let flying = flights.clone();
    let reader = thread::spawn(move || read(&other, &flying, checked));
    read(&world, &flights, checked);
    creation.join().expect("it ends");
    reader.join().expect("it ends");
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Parting {
    First,
    Late,
    Never,
}

fn parted(parting: Parting) {
    let (world, flights) = (World::new(), Arc::new(Flights::default()));
    let target = || FenceKey::Target(PATH.into(), String::new());
    let shown = move |world: &World| world.fences.slots(&[FenceKey::Entity(EntityId(0)), target()]);
    world.fences.raise(&world.slots());
    let (one, other) = (world.clone(), world.clone());
    let mutation = thread::spawn(move || one.send(&one.slots()));
    let flying = flights.clone();
    let reader = thread::spawn(move || read(&other, &flying, &shown(&other), Joining::Checked));
    // One whose right to share was not shown flies beside those who share.
    let mark = world.fences.mark(at(0));
    let version = world.ask();
    let slots = shown(&world);
    let part = || {
        if world.fences.standing(&slots, mark, PATH) == Standing::Unsettled {
            world.fences.part(&world.fences.slots(&[target()]));
        }
    };
    if parting == Parting::First {
        part();
    }
    world.tell(version);
    read(&world, &flights, &slots, Joining::Checked);
    if parting == Parting::Late {
        part();
    }
    mutation.join().expect("it ends");
    reader.join().expect("it ends");
}

fn board(flights: &Flights<u8>, may_join: bool) -> Boarding<u8> {
    let world = World::new();
    flights.board(&KEY, world.fences.epoch(&world.slots()), |_| may_join)
}

#[track_caller]
fn leads(flights: &Flights<u8>, may_join: bool) -> Pilot<u8> {
    let Boarding::Lead(pilot) = board(flights, may_join) else { panic!("it waits") };
    pilot
}

#[track_caller]
fn waits(flights: &Flights<u8>) -> Receiver<Option<u8>> {
    let Boarding::Wait(landing) = board(flights, true) else { panic!("it leads") };
    landing
}

#[expect(clippy::mem_forget, reason = "a pilot that is never dropped is what is to be found")]
fn everybody_is_told(forgets: bool) {
    let flights = Arc::new(Flights::default());
    let threads = [Some(1), None].map(|word| {
        let flights = flights.clone();
        thread::spawn(move || match board(&flights, true) {
            Boarding::Lead(pilot) => match word {
                Some(word) => pilot.land(word),
                None if forgets => std::mem::forget(pilot),
                None => drop(pilot),
            },
            Boarding::Wait(landing) => assert!([0, 1, 3].contains(&landing.told())),
        })
    });
    // One who may join nothing takes the place of whoever leads.
    match board(&flights, false) {
        Boarding::Lead(pilot) => pilot.land(3),
        Boarding::Wait(_) => panic!("it may not"),
    }
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    assert!(flights.is_empty());
}

fn one_leads() {
    let flights = Arc::new(Flights::default());
    let boarding = flights.clone();
    let other = thread::spawn(move || board(&boarding, true));
    let one = board(&flights, true);
    let other = other.join().expect("it ends");
    assert!(matches!((&one, &other), (Boarding::Lead(_), Boarding::Wait(_)) | (Boarding::Wait(_), Boarding::Lead(_))));
}

fn younger_goes_on() {
    let flights = Arc::new(Flights::default());
    let older = leads(&flights, true);
    let of_older = waits(&flights);
    let ending = thread::spawn(move || older.land(1));
    let younger = leads(&flights, false);
    let of_younger = waits(&flights);
    younger.land(2);
    assert_eq!((of_older.told(), of_younger.told()), (1, 2));
    ending.join().expect("it ends");
    assert!(flights.is_empty());
}

fn ended_is_not_boarded() {
    let flights = Arc::new(Flights::default());
    let pilot = leads(&flights, true);
    let landing = waits(&flights);
    let ending = thread::spawn(move || pilot.land(1));
    assert_eq!(landing.told(), 1);
    drop(leads(&flights, true));
    ending.join().expect("it ends");
}

fn first_word_counts() {
    let flights = Arc::new(Flights::default());
    let pilot = Arc::new(leads(&flights, true));
    let landing = waits(&flights);
    let words = [1, 2].map(|word| {
        let pilot = pilot.clone();
        thread::spawn(move || pilot.land(word))
    });
    let told = landing.told();
    words.into_iter().for_each(|word| word.join().expect("it ends"));
    drop(pilot);
    assert_eq!(landing.told(), told, "who comes late is told the same");
    assert!(flights.is_empty());
}
