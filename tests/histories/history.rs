//! What happened, in the order in which it happened.

use crate::plan::{Change, Fetching, Key, Writing};
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// A place in the one order of all that happened, at clients and at the origin. Noted before something begins and after it
/// has ended, so that what has an earlier moment did happen earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// The origin gave a key a new version.
#[derive(Clone, Copy, Debug)]
pub struct Applied {
    pub at: Moment,
    pub key: Key,
    pub version: u64,
}

/// The origin answered a GET.
#[derive(Clone, Copy, Debug)]
pub struct Fetched {
    /// The step of the GET that it was fetched for.
    pub step: Option<usize>,
    pub key: Key,
    pub caller: u8,
    pub began: Moment,
    /// When it read the version.
    pub read: Moment,
    /// When its answer was about to go out.
    pub answered: Moment,
    pub version: u64,
    pub fetching: Fetching,
}

/// What a client got for a GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A whole representation, or a 304 that names it.
    Version { version: u64, whose: Option<u8>, not_modified: bool },
    /// Another answer.
    Status(u16),
    /// An answer that was broken off, for all to see.
    Broken,
    /// A 200 that is no representation of the origin's.
    Nonsense(String),
    /// A 304 whose entity-tag nobody was ever given.
    UnknownTag(String),
}

#[derive(Clone, Debug)]
pub struct Read {
    /// The step of the plan; after its end none.
    pub step: Option<usize>,
    pub caller: u8,
    pub key: Key,
    pub began: Moment,
    pub ended: Moment,
    pub took: Duration,
    pub seen: Seen,
    pub cache_status: String,
}

impl Read {
    pub fn hit(&self) -> bool {
        self.cache_status.starts_with("freshgate; hit")
    }

    pub fn stored(&self) -> bool {
        self.cache_status.contains("; stored")
    }

    pub fn collapsed(&self) -> bool {
        self.cache_status.contains("; collapsed")
    }
}

#[derive(Clone, Debug)]
pub struct Written {
    pub step: usize,
    pub change: Change,
    pub writing: Writing,
    pub began: Moment,
    /// When it reached the origin, if it did.
    pub arrived: Option<Moment>,
    /// When the origin was about to answer it.
    pub answered: Option<Moment>,
    /// When its client had its whole answer; `None` where the client left or was never answered.
    pub ended: Option<Moment>,
    pub status: Option<u16>,
}

/// Everything that happened.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub applied: Vec<Applied>,
    pub fetched: Vec<Fetched>,
    pub reads: Vec<Read>,
    pub writes: Vec<Written>,
    /// Reads once everything was quiet: two of each key by each caller, one after the other.
    pub quiet: Vec<Read>,
}

/// One line for each thing that happened before everything was quiet, in order.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<(Moment, String)> = Vec::new();
        let mut tell = |at: Moment, text: String| lines.push((at, text));
        for Applied { at, key, version } in &self.applied {
            tell(*at, format!("origin: {key:?} becomes version {version}"));
        }
        // Once everything is quiet there is nothing new to be seen.
        let rest = self.quiet.iter().map(|read| read.began).min().unwrap_or(Moment(u64::MAX));
        for Fetched { key, caller, began, read, answered, version, fetching, .. } in
            self.fetched.iter().filter(|fetched| fetched.began < rest)
        {
            tell(*began, format!("origin: caller {caller} asks for {key:?}"));
            tell(*read, format!("origin: {key:?} is read as version {version} for caller {caller}"));
            tell(*answered, format!("origin: {key:?} version {version} goes to caller {caller}: {fetching:?}"));
        }
        for read in &self.reads {
            tell(read.began, format!("caller {} step {:?} asks for {:?}", read.caller, read.step, read.key));
            let Read { caller, step, seen, cache_status, .. } = read;
            tell(read.ended, format!("caller {caller} step {step:?} has {seen:?}, {cache_status}"));
        }
        for Written { step, change, writing, began, arrived, ended, status, .. } in &self.writes {
            tell(*began, format!("step {step} begins {change:?}"));
            arrived.iter().for_each(|at| tell(*at, format!("origin: step {step}, {change:?}, arrives: {writing:?}")));
            ended.iter().for_each(|at| tell(*at, format!("step {step}, {change:?}, ends with {status:?}")));
        }
        lines.sort();
        lines.into_iter().try_for_each(|(Moment(at), text)| writeln!(f, "{at:5} {text}"))
    }
}

/// Where it is written down.
#[derive(Default)]
pub struct Log {
    moments: AtomicU64,
    history: Mutex<History>,
}

impl Log {
    pub fn moment(&self) -> Moment {
        Moment(self.moments.fetch_add(1, SeqCst))
    }

    pub fn applied(&self, key: Key, version: u64) {
        self.with(|history, at| history.applied.push(Applied { at, key, version }));
    }

    /// `fetched` but for when its answer is about to go out, which is now.
    pub fn fetched(&self, fetched: Fetched) {
        self.with(|history, answered| history.fetched.push(Fetched { answered, ..fetched }));
    }

    pub fn read(&self, read: Read) {
        self.with(|history, _| history.reads.push(read));
    }

    pub fn writes(&self, written: Written) {
        self.with(|history, _| history.writes.push(written));
    }

    pub fn arrived(&self, step: usize) {
        self.of_mutation(step, |written, at| written.arrived = Some(at));
    }

    pub fn answers(&self, step: usize) {
        self.of_mutation(step, |written, at| written.answered = Some(at));
    }

    pub fn ended(&self, step: usize, status: u16) {
        self.of_mutation(step, |written, at| (written.ended, written.status) = (Some(at), Some(status)));
    }

    fn of_mutation(&self, step: usize, note: impl Fn(&mut Written, Moment)) {
        self.with(|history, at| {
            history.writes.iter_mut().filter(|written| written.step == step).for_each(|written| note(written, at));
        });
    }

    pub fn quiet(&self, read: Read) {
        self.with(|history, _| history.quiet.push(read));
    }

    pub fn history(&self) -> History {
        self.history.lock().expect("nobody panics here").clone()
    }

    fn with(&self, note: impl FnOnce(&mut History, Moment)) {
        let mut history = self.history.lock().expect("nobody panics here");
        let at = self.moment();
        note(&mut history, at);
    }
}
