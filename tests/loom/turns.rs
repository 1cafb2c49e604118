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
            let turn = block_on(turns.take(item(), if looks { item() } else { vec![] }));
            assert_eq!(inside.fetch_add(1, SeqCst), 0, "another one is at it");
            assert_eq!(inside.fetch_sub(1, SeqCst), 1, "another one came");
            drop(turn);
        }
    };
    let others = [thread::spawn(guarded.clone()), thread::spawn(guarded)];
    let turn = block_on(turns.take(item(), vec![]));
    inside.fetch_add(1, SeqCst);
    inside.fetch_sub(1, SeqCst);
    drop(turn);
    others.into_iter().for_each(|other| other.join().expect("it ends"));
    assert!(turns.is_empty());
}

fn given_up() {
    let turns = Arc::new(Turns::default());
    let first = block_on(turns.take(item(), item()));
    let (one, other) = (turns.clone(), turns.clone());
    let impatient = thread::spawn(move || {
        let mut wait = pin!(one.take(item(), item()));
        // It looks once.
        block_on(std::future::poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx).is_ready())));
    });
    let patient = thread::spawn(move || drop(block_on(other.take(item(), item()))));
    drop(first);
    impatient.join().expect("it ends");
    patient.join().expect("it ends");
    assert!(turns.is_empty());
}
