//! The model: what a cache is to do, one thing after the other, in seconds.

use crate::act::{Act, Behind, Change, Form, Health, Outcome, Purge, acts};
use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;
use std::collections::BTreeMap;
use std::ops::Range;

pub const FRESH: u64 = 60;
pub const NEGATIVE: u64 = 10;
pub const WHILE_REVALIDATE: u64 = 30;
pub const IF_ERROR: u64 = 300;
pub const QUARANTINE: u64 = 20;
pub const ACCEPTED_FOR: u64 = 45;

/// The routes: items, which all callers share, and a report on them, which is each caller's own.
pub fn config() -> String {
    format!(
        "origin.url = \"http://origin.test\"\norigin.quarantine = \"{QUARANTINE}s\"\n\
         identity.accepted_for = \"{ACCEPTED_FOR}s\"\n\
         [defaults]\nfresh = \"{FRESH}s\"\nnegative = \"{NEGATIVE}s\"\n\
         stale_while_revalidate = \"{WHILE_REVALIDATE}s\"\nstale_if_error = \"{IF_ERROR}s\"\n\
         [[route]]\nname = \"items\"\npaths = [\"/items\", \"/items/{{id}}\"]\nscope = \"public\"\n\
         invalidates = [\"report\"]\n\
         [[route]]\nname = \"report\"\npaths = [\"/report\"]\nscope = \"user\"\n"
    )
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Item(u8),
    Items,
    Report,
}

impl Key {
    pub const ALL: [Key; 4] = [Key::Item(1), Key::Item(2), Key::Items, Key::Report];

    pub fn path(self) -> String {
        match self {
            Key::Item(id) => format!("/items/{id}"),
            Key::Items => "/items".into(),
            Key::Report => "/report".into(),
        }
    }

    /// What falls with a change of it. A 404 says something of the collection, too.
    fn shows(self, content: Content) -> Vec<Key> {
        match self {
            Key::Item(_) if content.is_none() => vec![self, Key::Items],
            _ => vec![self],
        }
    }
}

/// Which content; `None`: 404.
pub type Content = Option<u32>;

/// Whose it is; `None`: everybody's.
pub type Whose = Option<u8>;

#[derive(Clone, Copy, Debug)]
struct Stored {
    content: Content,
    fetched: u64,
    fetched_by: u8,
    /// How many changes were known of by then.
    changes: u64,
    /// It may never be used again.
    invalid: bool,
    /// An operator said that it is to count as stale.
    expired: bool,
}

/// How a request is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// From the store.
    Hit { content: Content, age: u64, ttl: i64 },
    /// With what the origin said.
    Asked { content: Content },
    /// The origin failed.
    Failed { status: u16 },
}

#[derive(Clone, Debug)]
pub struct Reference {
    /// Who asks. The first of all has no credential.
    callers: Range<u8>,
    /// Seconds by the clock that never jumps.
    now: u64,
    /// What there is, what there was before the last change, and the number of the next content.
    pub contents: BTreeMap<Key, Content>,
    before: BTreeMap<Key, Content>,
    next: u32,
    pub health: Health,
    stored: BTreeMap<(Key, Whose), Stored>,
    /// When the origin last accepted a caller.
    accepted: BTreeMap<u8, u64>,
    /// Where it ever answered a caller 403: there only its acceptance there counts, and when that last was.
    refused: BTreeMap<(u8, Key), Option<u64>>,
    /// Until when what is fetched is not stored.
    quarantine: BTreeMap<Key, u64>,
    /// Mutations and purges so far.
    changes: u64,
    /// Two callers were told different things of the items: from there on these are each caller's own.
    apart: bool,
    /// What was accepted: when it is applied, and when it is invalidated once more.
    applied_at: Vec<(u64, Change)>,
    invalidated_at: Vec<(u64, Change)>,
    /// The content that each caller was last shown, of which it has the entity-tag.
    pub held: BTreeMap<(u8, Key), u32>,
    /// What came of the last step, and how often the origin was asked.
    pub answered: Option<Answered>,
    pub asked: usize,
}

impl ReferenceStateMachine for Reference {
    type State = Reference;
    type Transition = Act;

    fn init_state() -> BoxedStrategy<Reference> {
        let contents: BTreeMap<Key, Content> = Key::ALL.into_iter().zip((0..).map(Some)).collect();
        // One alone is told nothing that another was not, so that all that they share stays shared.
        let callers = prop_oneof![Just(0..1), Just(1..2), Just(0..3)];
        let begin = Reference {
            callers: 0..1,
            now: 0,
            before: contents.clone(),
            contents,
            next: 10,
            health: Health::Well,
            stored: BTreeMap::new(),
            accepted: BTreeMap::new(),
            refused: BTreeMap::new(),
            quarantine: BTreeMap::new(),
            changes: 0,
            apart: false,
            applied_at: Vec::new(),
            invalidated_at: Vec::new(),
            held: BTreeMap::new(),
            answered: None,
            asked: 0,
        };
        callers.prop_map(move |callers| Reference { callers, ..begin.clone() }).boxed()
    }

    fn transitions(state: &Reference) -> BoxedStrategy<Act> {
        acts(state.callers.clone())
    }

    fn apply(mut state: Reference, act: &Act) -> Reference {
        state.answered = None;
        state.asked = 0;
        match *act {
            Act::Get { caller, key, form } => state.get(caller, key, form),
            Act::Mutate { caller, change, outcome } => state.mutate(caller, change, outcome),
            Act::Purge { what, soft } => state.purge(what, soft),
            Act::Pass(seconds) => state.pass(seconds),
            // What the wall clock reads changes nothing.
            Act::Jump(_) => {}
            Act::Behind(key, behind) => state.behind(key, behind),
            Act::Origin(health) => state.health = health,
        }
        state
    }
}

impl Reference {
    pub fn whose(&self, caller: u8, key: Key) -> Whose {
        (key == Key::Report || self.apart).then_some(caller)
    }

    fn get(&mut self, caller: u8, key: Key, form: Form) {
        let whose = self.whose(caller, key);
        let stored = self.stored.get(&(key, whose)).copied().filter(|stored| !stored.invalid);
        let ago = self.accepted_at(caller, key).map(|at| self.now - at);
        let accepted = |within| whose.is_none() || caller == 0 || ago.is_some_and(|ago| ago < within);
        if let Some(stored) = stored.filter(|_| accepted(ACCEPTED_FOR))
            && let Some(ttl) = self.usable(stored, form)
        {
            self.answered = Some(Answered::Hit { content: stored.content, age: self.now - stored.fetched, ttl });
            if ttl <= 0 {
                self.fetch(caller, key, whose);
            }
        } else if self.health == Health::Well {
            self.answered = Some(Answered::Asked { content: self.contents[&key] });
            self.fetch(caller, key, whose);
        } else {
            self.asked = 1;
            let stale = stored.filter(|stored| {
                let longest = if self.health == Health::Unreachable { IF_ERROR } else { ACCEPTED_FOR };
                stored.content.is_some() && self.stale_for(*stored) < IF_ERROR && accepted(longest)
            });
            self.answered = Some(match (stale, self.health) {
                (Some(stored), _) => {
                    let ttl = -signed(self.stale_for(stored));
                    Answered::Hit { content: stored.content, age: self.now - stored.fetched, ttl }
                }
                (None, Health::Fails(status)) => Answered::Failed { status },
                (None, _) => Answered::Failed { status: 502 },
            });
        }
        let shown = match self.answered {
            Some(Answered::Hit { content, .. } | Answered::Asked { content }) => content,
            _ => None,
        };
        if let Some(content) = shown {
            self.held.insert((caller, key), content);
        }
    }

    /// When what the caller was told of `key` was last accepted.
    fn accepted_at(&self, caller: u8, key: Key) -> Option<u64> {
        let anywhere = self.accepted.get(&caller).copied();
        self.refused.get(&(caller, key)).map_or(anywhere, |there| *there)
    }

    /// Seconds left of it, or since it went stale where it may be used while it is renewed; `None` if the origin is to be
    /// asked.
    fn usable(&self, stored: Stored, form: Form) -> Option<i64> {
        let (age, lifetime) = (self.now - stored.fetched, lifetime(stored.content));
        let fresh = age < lifetime && !stored.expired;
        if form == Form::Reload && !(fresh && age < 1) {
            return None;
        }
        let stale_for = self.stale_for(stored);
        match fresh {
            true => Some(signed(lifetime - age)),
            false => (stored.content.is_some() && stale_for < WHILE_REVALIDATE).then_some(-signed(stale_for)),
        }
    }

    fn stale_for(&self, stored: Stored) -> u64 {
        (self.now - stored.fetched).saturating_sub(lifetime(stored.content))
    }

    /// What comes is stored, unless something that it shows may still be changing.
    fn fetch(&mut self, caller: u8, key: Key, whose: Whose) {
        self.asked = 1;
        if self.health != Health::Well {
            return;
        }
        let content = self.contents[&key];
        if content.is_some() {
            self.accepted.insert(caller, self.now);
            if let Some(there) = self.refused.get_mut(&(caller, key)).filter(|_| whose.is_some()) {
                *there = Some(self.now);
            }
        }
        if let Some(stored) = self.stored.get(&(key, whose)).copied()
            && whose.is_none()
            && self.diverges(stored, content, caller)
        {
            self.apart = true;
            self.fall(&[Key::Item(1), Key::Item(2), Key::Items], false);
            return;
        }
        let unsettled = |key| self.quarantine.get(&key).is_some_and(|until| *until > self.now);
        if !key.shows(content).into_iter().any(unsettled) {
            let (fetched, changes) = (self.now, self.changes);
            let stored = Stored { content, fetched, fetched_by: caller, changes, invalid: false, expired: false };
            self.stored.insert((key, whose), stored);
        }
    }

    /// Whether another caller was told something else, and nothing that is known of explains it.
    fn diverges(&self, stored: Stored, content: Content, caller: u8) -> bool {
        let both = stored.content.is_some() && content.is_some();
        let stands = !stored.invalid && !stored.expired && stored.changes == self.changes;
        both && stands && stored.content != content && stored.fetched_by != caller
    }

    fn mutate(&mut self, caller: u8, change: Change, outcome: Outcome) {
        self.asked = 1;
        match outcome {
            Outcome::Applied(_) | Outcome::Lost(true) => self.change(change),
            Outcome::Accepted(after) => self.applied_at.push((self.now + after, change)),
            Outcome::Refused(_) | Outcome::Lost(false) | Outcome::Unreachable => {}
        }
        match outcome {
            Outcome::Refused(401) => {
                self.accepted.remove(&caller);
                self.refused.iter_mut().filter(|((who, _), _)| *who == caller).for_each(|(_, there)| *there = None);
                self.end(|(_, whose)| caller != 0 && whose == Some(caller));
            }
            Outcome::Refused(403) => {
                let here = target(change);
                self.refused.insert((caller, here), None);
                self.end(|at| caller != 0 && at == (here, Some(caller)));
            }
            Outcome::Refused(_) | Outcome::Unreachable => {}
            Outcome::Applied(502..=504) | Outcome::Lost(_) | Outcome::Accepted(_) => {
                for key in changed(change) {
                    self.quarantine.insert(key, self.now + QUARANTINE);
                }
                if let Outcome::Accepted(_) = outcome {
                    self.invalidated_at.push((self.now + QUARANTINE, change));
                }
                self.invalidate(change);
            }
            Outcome::Applied(_) => self.invalidate(change),
        }
    }

    /// The origin applies it.
    fn change(&mut self, change: Change) {
        let new = |state: &mut Reference, key| {
            state.next += 1;
            state.replace(key, Some(state.next));
        };
        match change {
            Change::Put(id) => new(self, Key::Item(id)),
            Change::Delete(id) => self.replace(Key::Item(id), None),
            // What there is not yet is made.
            Change::Post if self.contents[&Key::Item(2)].is_none() => new(self, Key::Item(2)),
            Change::Post => {}
        }
        new(self, Key::Items);
        new(self, Key::Report);
    }

    fn replace(&mut self, key: Key, content: Content) {
        if let Some(before) = self.contents.insert(key, content) {
            self.before.insert(key, before);
        }
    }

    fn invalidate(&mut self, change: Change) {
        self.fall(&changed(change), false);
    }

    fn fall(&mut self, keys: &[Key], soft: bool) {
        self.changes += 1;
        for ((key, _), stored) in &mut self.stored {
            if key.shows(stored.content).iter().any(|shown| keys.contains(shown)) {
                stored.expired |= soft;
                stored.invalid |= !soft;
            }
        }
    }

    fn end(&mut self, which: impl Fn((Key, Whose)) -> bool) {
        self.stored.iter_mut().filter(|(at, _)| which(**at)).for_each(|(_, stored)| stored.invalid = true);
    }

    fn purge(&mut self, what: Purge, soft: bool) {
        match what {
            Purge::All => self.fall(&Key::ALL, soft),
            Purge::Items => self.fall(&[Key::Item(1), Key::Item(2), Key::Items], soft),
            Purge::Report => self.fall(&[Key::Report], soft),
            Purge::Item(id) => self.fall(&[Key::Item(id), Key::Items], soft),
            Purge::Prefix => self.fall(&[Key::Item(1), Key::Item(2)], soft),
            // The path alone: what a 404 says of the collection is not meant.
            Purge::Path(path) => {
                self.changes += 1;
                for ((key, _), stored) in &mut self.stored {
                    stored.expired |= soft && *key == path;
                    stored.invalid |= !soft && *key == path;
                }
            }
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        let due = |waiting: &mut Vec<(u64, Change)>, now| {
            let (due, later) = waiting.iter().partition(|(at, _)| *at <= now);
            *waiting = later;
            let due: Vec<(u64, Change)> = due;
            due
        };
        let mut applied = due(&mut self.applied_at, self.now);
        applied.sort_by_key(|(at, _)| *at);
        applied.into_iter().for_each(|(_, change)| self.change(change));
        due(&mut self.invalidated_at, self.now).into_iter().for_each(|(_, change)| self.invalidate(change));
    }

    fn behind(&mut self, key: Key, behind: Behind) {
        match behind {
            Behind::New => {
                self.next += 1;
                self.replace(key, Some(self.next));
            }
            Behind::Back => self.replace(key, self.before[&key]),
            Behind::Gone if matches!(key, Key::Item(_)) => self.replace(key, None),
            Behind::Gone => {}
        }
    }
}

/// What a mutation is sent to.
pub fn target(change: Change) -> Key {
    match change {
        Change::Put(id) | Change::Delete(id) => Key::Item(id),
        Change::Post => Key::Items,
    }
}

/// What a mutation invalidates.
fn changed(change: Change) -> Vec<Key> {
    match change {
        Change::Put(id) | Change::Delete(id) => vec![Key::Item(id), Key::Items, Key::Report],
        Change::Post => vec![Key::Items, Key::Report],
    }
}

fn lifetime(content: Content) -> u64 {
    if content.is_some() { FRESH } else { NEGATIVE }
}

fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).expect("few seconds")
}
