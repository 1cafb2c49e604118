//! What can happen, and how often.

use crate::reference::Key;
use proptest::prelude::*;
use proptest::strategy::Union;
use std::ops::Range;

/// One thing that happens. Requests are over before the next thing does.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Get {
        caller: u8,
        key: Key,
        form: Form,
    },
    Mutate {
        caller: u8,
        change: Change,
        outcome: Outcome,
    },
    Purge {
        what: Purge,
        soft: bool,
    },
    /// So many seconds go by.
    Pass(u64),
    /// The wall clock is corrected.
    Jump(i64),
    /// The origin's content changes, and no mutation that passes through says so.
    Behind(Key, Behind),
    Origin(Health),
}

/// How a GET is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Plain,
    Head,
    /// The first octet.
    Range,
    /// With the entity-tag that the caller was last given, if any was.
    IfNoneMatch,
    /// With the date that the caller was last given, if any was.
    IfModifiedSince,
    /// With no-cache, as who reloads by force.
    Reload,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Put(u8),
    Delete(u8),
    Post,
}

/// What the origin makes of a mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Applied, with this status.
    Applied(u16),
    /// Not applied, with this status.
    Refused(u16),
    /// The answer is lost; whether it was applied.
    Lost(bool),
    /// There was no connection.
    Unreachable,
    /// 202, and applied so many seconds later.
    Accepted(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    All,
    /// The items' route.
    Items,
    /// The report's route.
    Report,
    Item(u8),
    /// One path, whatever its query.
    Path(Key),
    /// Every path below the items.
    Prefix,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// A content that was never there.
    New,
    /// The content from before the last change.
    Back,
    /// Nothing is there any more.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Well,
    Fails(u16),
    Unreachable,
}

pub fn acts(caller: Range<u8>) -> BoxedStrategy<Act> {
    let key = prop_oneof![Just(Key::Item(1)), Just(Key::Item(2)), Just(Key::Items), Just(Key::Report)];
    let form = prop_oneof![
        4 => Just(Form::Plain),
        1 => Just(Form::Head),
        1 => Just(Form::Range),
        2 => Just(Form::IfNoneMatch),
        1 => Just(Form::IfModifiedSince),
        1 => Just(Form::Reload),
    ];
    let get = (caller.clone(), key.clone(), form).prop_map(|(caller, key, form)| Act::Get { caller, key, form });
    let item = 1..=2_u8;
    let change =
        prop_oneof![item.clone().prop_map(Change::Put), item.clone().prop_map(Change::Delete), Just(Change::Post)];
    let outcome = prop_oneof![
        4 => prop_oneof![Just(200), Just(201), Just(303), Just(404), Just(409), Just(500), Just(503), Just(504)]
            .prop_map(Outcome::Applied),
        2 => prop_oneof![Just(401), Just(403), Just(422), Just(429)].prop_map(Outcome::Refused),
        1 => any::<bool>().prop_map(Outcome::Lost),
        1 => Just(Outcome::Unreachable),
        1 => (1_u64..20).prop_map(Outcome::Accepted),
    ];
    let mutate =
        (caller, change, outcome).prop_map(|(caller, change, outcome)| Act::Mutate { caller, change, outcome });
    let what = prop_oneof![
        Just(Purge::All),
        Just(Purge::Items),
        Just(Purge::Report),
        item.prop_map(Purge::Item),
        key.clone().prop_map(Purge::Path),
        Just(Purge::Prefix),
    ];
    let purge = (what, any::<bool>()).prop_map(|(what, soft)| Act::Purge { what, soft });
    let behind = prop_oneof![3 => Just(Behind::New), 2 => Just(Behind::Back), 1 => Just(Behind::Gone)];
    let health = prop_oneof![
        3 => Just(Health::Well),
        1 => prop_oneof![Just(500), Just(503), Just(504)].prop_map(Health::Fails),
        1 => Just(Health::Unreachable),
    ];
    let seconds = prop_oneof![0_u64..5, 5_u64..40, 40_u64..200];
    Union::new_weighted(vec![
        (12, get.boxed()),
        (3, mutate.boxed()),
        (2, purge.boxed()),
        (5, seconds.prop_map(Act::Pass).boxed()),
        (1, prop_oneof![Just(-86_400), -90_i64..90, Just(86_400)].prop_map(Act::Jump).boxed()),
        (3, (key, behind).prop_map(|(key, behind)| Act::Behind(key, behind)).boxed()),
        (2, health.prop_map(Act::Origin).boxed()),
    ])
    .boxed()
}
