//! Mutations that look at what they change, and those that do not, wait for their turns.

use crate::Model;
use crate::pipeline::turns::Turns;
use crate::policy::EntityId;
use crate::semantics::invalidation::FenceKey;
use crate::store::sync::{AtomicU32, SeqCst};
use loom::future::block_on;
use loom::thread;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

pub const MODELS: &[Model] = &[
    Model {
        name: "who looks at what it changes is alone with it, and everybody's turn comes",
        holds: || turns(true),
        fails: &[("it does not say what it looks at", || turns(false))],
    },
    Model {
        name: "who gives way is overtaken, and its turn comes all the same",
        holds: || gives_way(true),
        fails: &[("it insists", || gives_way(false))],
    },
    Model { name: "a wait that is given up stands in nobody's way", holds: given_up, fails: &[] },
];

fn item() -> Vec<FenceKey> {
    vec![FenceKey::Item(EntityId(0), "5".into())]
}

fn turns(looks: bool) {
    let (turns, inside) = (Arc::new(Turns::default()), Arc::new(AtomicU32::new(0)));
    let guarded = {
        let (turns, inside) = (turns.clone(), inside.clone());
        move || {
            let turn = turns.line_up(item(), if looks { item() } else { vec![] });
            block_on(turn.come());
            assert_eq!(inside.fetch_add(1, SeqCst), 0, "another one is at it");
            assert_eq!(inside.fetch_sub(1, SeqCst), 1, "another one came");
            drop(turn);
        }
    };
    let others = [thread::spawn(guarded.clone()), thread::spawn(guarded)];
    let turn = turns.line_up(item(), vec![]);
    block_on(turn.come());
    inside.fetch_add(1, SeqCst);
    inside.fetch_sub(1, SeqCst);
    drop(turn);
    others.into_iter().for_each(|other| other.join().expect("it ends"));
    assert!(turns.is_empty());
}

fn given_up() {
    let turns = Arc::new(Turns::default());
    let first = turns.line_up(item(), item());
    block_on(first.come());
    let (one, other) = (turns.clone(), turns.clone());
    let impatient = thread::spawn(move || {
        let turn = one.line_up(item(), item());
        let mut wait = pin!(turn.come());
        // It looks once.
        block_on(std::future::poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx).is_ready())));
    });
    let patient = thread::spawn(move || block_on(other.line_up(item(), item()).come()));
    drop(first);
    impatient.join().expect("it ends");
    patient.join().expect("it ends");
    assert!(turns.is_empty());
}

/// One is under way and ends only when a later one has come; between the two stands one that both of them exclude.
fn gives_way(gives: bool) {
    let turns = Arc::new(Turns::default());
    let first = turns.line_up(item(), vec![]);
    block_on(first.come());
    let waits = turns.line_up(item(), item());
    let (done, inside) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let later = {
        let (turns, done, inside) = (turns.clone(), done.clone(), inside.clone());
        thread::spawn(move || {
            let turn = turns.line_up(item(), vec![]);
            let mut wait = pin!(turn.come());
            // It is looked at once when it is sure to be there: loom has no clock.
            block_on(std::future::poll_fn(|cx| match wait.as_mut().poll(cx) {
                Poll::Pending if !gives => panic!("it waits for one that waits for what does not end"),
                polled => polled,
            }));
            inside.fetch_add(1, SeqCst);
            done.store(1, SeqCst);
            inside.fetch_sub(1, SeqCst);
        })
    };
    if gives {
        waits.give_way();
    }
    later.join().expect("it ends");
    drop(first);
    block_on(waits.come());
    assert_eq!((done.load(SeqCst), inside.load(SeqCst)), (1, 0), "another one is at it");
    drop(waits);
    assert!(turns.is_empty());
}
