//! What is to happen in one history: drawn from a seed, and small enough to be read when it fails.

use freshgate::cli::demo::seeded::Seeded;
use std::time::Duration;

/// The origin answers sooner, but where it hangs, and so does a busy machine.
pub const RESPONSE_TIMEOUT: u64 = 400;
const STALE: u64 = 500;
/// A mutation whose answer was lost may be applied up to this long after, well within the quarantine.
const LATE: u64 = 500;
/// One that was accepted is applied sooner.
const ACCEPTED: u64 = 250;

/// How long things last, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    pub fresh: u64,
    pub quarantine: u64,
    pub settle: u64,
}

impl Timing {
    /// In virtual time, where nothing is late.
    pub const VIRTUAL: Timing = Timing { fresh: 1_000, quarantine: 700, settle: 300 };
    /// In real time, with room for a machine that has other things to do.
    pub const REAL: Timing = Timing { fresh: 3_000, quarantine: 2_000, settle: 1_500 };

    /// So long after the last step nothing that was begun can change anything: it was answered, late as may be, and what
    /// that left unsettled has settled.
    pub fn latest(self) -> Duration {
        Duration::from_millis(2 * RESPONSE_TIMEOUT + LATE + self.quarantine.max(self.settle))
    }
}

/// What there is to read, and what each mutation changes of it: items, their collection, and a report on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Item(u8),
    Items,
    Report,
}

pub const KEYS: [Key; 4] = [Key::Item(1), Key::Item(2), Key::Items, Key::Report];

impl Key {
    pub fn path(self) -> String {
        match self {
            Key::Item(id) => format!("/items/{id}"),
            Key::Items => "/items".into(),
            Key::Report => "/report".into(),
        }
    }
}

/// A mutation's method and target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// One item, its collection and the report.
    Put(u8),
    /// The collection and the report.
    Post,
    /// Below an item: the whole route, and the report.
    Below(u8),
}

impl Change {
    pub fn request(self) -> (&'static str, String) {
        match self {
            Change::Put(id) => ("PUT", format!("/items/{id}")),
            Change::Post => ("POST", "/items".into()),
            Change::Below(id) => ("POST", format!("/items/{id}/adjust")),
        }
    }

    pub fn changes(self, key: Key) -> bool {
        match (self, key) {
            (Change::Put(changed), Key::Item(id)) => changed == id,
            (Change::Post, Key::Item(_)) => false,
            (Change::Below(_), _) | (_, Key::Items | Key::Report) => true,
        }
    }
}

/// What the origin makes of a GET that reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetching {
    Answers,
    /// With this status, in place of the representation.
    Fails(u16),
    /// Not to be stored: it says no-store.
    Private,
    Refuses,
    Resets,
    Hangs,
    /// The body breaks off.
    Truncates,
    /// The body takes longer than a second.
    Drips,
}

/// What the origin makes of a mutation that reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    Applies,
    /// Applies it, and answers with this status.
    AppliesWith(u16),
    /// Does not apply it, and answers with this definite refusal.
    Refuses(u16),
    /// No connection: nothing arrived.
    Unreachable,
    ResetsBefore,
    ResetsAfter,
    /// The answer is lost, or is this status; it is applied later.
    Late {
        status: Option<u16>,
        after: u64,
    },
    /// 202, and applied later.
    Accepts {
        after: u64,
    },
    /// The answer's body breaks off.
    Truncates,
    /// The answer's body takes for ever, as histories go.
    Drips,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Read {
        key: Key,
        /// With the entity-tag that somebody was last given for it.
        conditional: bool,
        fetching: Fetching,
    },
    Write {
        change: Change,
        writing: Writing,
        /// With a body that is too long to be read whole, where there are sockets.
        large: bool,
    },
    /// The wall clock is corrected by so many seconds.
    Jump(i64),
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, in milliseconds since the beginning.
    pub at: u64,
    pub caller: u8,
    pub act: Act,
    /// Until the origin reads or applies, and from there to its answer.
    pub before: u64,
    pub after: u64,
    /// The client leaves so long after it asked.
    pub leaves: Option<u64>,
}

/// What holds for the whole history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    pub timing: Timing,
    pub scope: Scope,
    pub stale_while_revalidate: bool,
    pub stale_if_error: bool,
    pub settles: bool,
    /// The origin sends validators of its own, and answers 304.
    pub validators: bool,
    pub chunked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    User,
    Authenticated,
    Public,
}

impl Setting {
    /// The configuration, behind the origin's and the listeners' lines.
    pub fn config(self) -> String {
        let scope = match self.scope {
            Scope::User => "user",
            Scope::Authenticated => "authenticated",
            Scope::Public => "public",
        };
        let stale = |on: bool| if on { STALE } else { 0 };
        let Timing { fresh, quarantine, settle } = self.timing;
        format!(
            "origin.response_timeout = \"{RESPONSE_TIMEOUT}ms\"\norigin.quarantine = \"{quarantine}ms\"\n\
             origin.request_buffer = \"4KiB\"\ncache.pass_for = \"200ms\"\n\
             [defaults]\nfresh = \"{fresh}ms\"\nscope = \"{scope}\"\nsettle = \"{}ms\"\n\
             stale_while_revalidate = \"{}ms\"\nstale_if_error = \"{}ms\"\n\
             [[route]]\nname = \"items\"\npaths = [\"/items\", \"/items/{{id}}\"]\ninvalidates = [\"report\"]\n\
             [[route]]\nname = \"report\"\npaths = [\"/report\"]\n",
            if self.settles { settle } else { 0 },
            stale(self.stale_while_revalidate),
            stale(self.stale_if_error),
        )
    }
}

/// One history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub setting: Setting,
    pub steps: Vec<Step>,
}

/// How much happens.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub callers: u8,
    pub steps: u64,
    /// Milliseconds within which they begin.
    pub within: u64,
    /// Of forty steps so many are mutations.
    pub writes: u64,
}

impl Plan {
    /// The history of a seed.
    pub fn draw(seed: u64, timing: Timing, load: Load) -> Plan {
        let mut draw = Draw(Seeded::new(seed));
        let setting = Setting {
            timing,
            scope: [Scope::User, Scope::Authenticated, Scope::Public][draw.below(3)],
            stale_while_revalidate: draw.one_in(2),
            stale_if_error: draw.one_in(2),
            settles: draw.one_in(4),
            validators: draw.one_in(3),
            chunked: draw.one_in(2),
        };
        // Some histories are calm, so that what faults would hide is seen as well.
        let faults = draw.one_in(2);
        let mut steps: Vec<Step> = (0..load.steps).map(|_| draw.step(load, faults)).collect();
        steps.sort_by_key(|step| step.at);
        Plan { setting, steps }
    }
}

struct Draw(Seeded);

impl Draw {
    fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.0.below(bound)).expect("bounds here are small")
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.0.below(times) == 0
    }

    /// Mostly short, sometimes long.
    fn delay(&mut self) -> u64 {
        match self.0.below(4) {
            0 => 0,
            1 | 2 => self.0.below(40),
            _ => self.0.below(RESPONSE_TIMEOUT / 2),
        }
    }

    fn step(&mut self, load: Load, faults: bool) -> Step {
        let act = match self.0.below(40) {
            0 if faults => Act::Jump(i64::try_from(self.0.below(4 * 86_400)).expect("days") - 2 * 86_400),
            drawn if (1..=load.writes).contains(&drawn) => Act::Write {
                change: [Change::Put(1), Change::Put(2), Change::Post, Change::Below(1)][self.below(4)],
                writing: if faults && self.one_in(3) { self.bad_writing() } else { Writing::Applies },
                large: self.one_in(4),
            },
            _ => Act::Read {
                key: KEYS[self.below(4)],
                conditional: self.one_in(3),
                fetching: if faults && self.one_in(6) { self.bad_fetching() } else { Fetching::Answers },
            },
        };
        Step {
            at: self.0.below(load.within),
            caller: u8::try_from(self.0.below(u64::from(load.callers))).expect("few callers"),
            act,
            before: self.delay(),
            after: self.delay(),
            leaves: (faults && self.one_in(12)).then(|| self.0.below(100)),
        }
    }

    fn bad_fetching(&mut self) -> Fetching {
        [
            Fetching::Fails(500),
            Fetching::Fails(503),
            Fetching::Private,
            Fetching::Refuses,
            Fetching::Resets,
            Fetching::Hangs,
            Fetching::Truncates,
            Fetching::Drips,
        ][self.below(8)]
    }

    fn bad_writing(&mut self) -> Writing {
        let after = 1 + self.0.below(LATE);
        [
            Writing::AppliesWith(500),
            Writing::AppliesWith(503),
            Writing::AppliesWith(409),
            Writing::AppliesWith(303),
            Writing::Refuses(422),
            Writing::Refuses(403),
            Writing::Unreachable,
            Writing::ResetsBefore,
            Writing::ResetsAfter,
            Writing::Late { status: None, after },
            Writing::Late { status: Some(504), after },
            Writing::Accepts { after: 1 + self.0.below(ACCEPTED) },
            Writing::Truncates,
            Writing::Drips,
        ][self.below(14)]
    }
}
