//! What must be true of every history. The origin's versions are in one order, so no search is needed: each read has a
//! floor below which it may not be.

use crate::history::{History, Moment, Read, Seen, Written};
use crate::plan::{Fetching, KEYS, Key, RESPONSE_TIMEOUT, Scope, Setting, Writing};
use std::time::Duration;

/// A request may wait for another's fetch until its own deadline, and then, or instead, for its own: `max_concurrent`
/// is out of reach here. Behind the head, a body is waited for a second and then dripped to its end.
const LONGEST: Duration = Duration::from_millis(2 * RESPONSE_TIMEOUT + 1_000 + 6 * 300);

/// Nothing is late in virtual time, and every fetch that was begun is waited for.
pub const ON_TIME: Duration = Duration::from_millis(1);

/// Of one history, everything that no promise allows. `slack` is how much later than on time things may happen.
pub fn violations(history: &History, setting: Setting, slack: Duration) -> Vec<String> {
    let mut found = Vec::new();
    for read in history.reads.iter().chain(&history.quiet) {
        whole(read, &mut found);
        floor(read, history, &mut found);
        own(read, setting, &mut found);
        waits(read, slack, &mut found);
    }
    backwards(history, &mut found);
    stored_during(history, &mut found);
    // A busy machine lets fetches time out that the origin answers all the same.
    if setting.scope != Scope::Authenticated && slack == ON_TIME {
        stampedes(history, &mut found);
    }
    quiet(history, &mut found);
    found
}

/// I7: byte for byte what the origin said once, or visibly broken. P3: a 304 names what a 200 would carry.
fn whole(read: &Read, found: &mut Vec<String>) {
    match &read.seen {
        Seen::Nonsense(text) => found.push(format!("{}: a 200 of what the origin never said: {text}", line(read))),
        Seen::UnknownTag(tag) => found.push(format!("{}: a 304 of {tag}, which nobody was given", line(read))),
        Seen::Version { .. } | Seen::Status(_) | Seen::Broken => {}
    }
}

/// P1: what the origin had applied when a mutation ended, nobody who begins later sees undone.
fn floor(read: &Read, history: &History, found: &mut Vec<String>) {
    let Seen::Version { version, .. } = read.seen else { return };
    let ended = |written: &Written| written.ended.filter(|ended| *ended < read.began && invalidates(written, read.key));
    let Some(last) = history.writes.iter().filter_map(ended).max() else { return };
    let floor = version_at(history, read.key, last);
    if version < floor {
        found.push(format!("P1: {} after a mutation that had ended when there was version {floor}", line(read)));
    }
}

/// Whether the answer that its client got is one after which nothing older may be seen.
fn invalidates(written: &Written, key: Key) -> bool {
    let refused =
        written.status.is_some_and(|s| matches!(s, 400 | 401 | 403 | 405 | 406 | 411 | 413..=415 | 422 | 428 | 429));
    let sent = written.writing != Writing::Unreachable && written.arrived.is_some();
    sent && !refused && written.change.changes(key)
}

fn version_at(history: &History, key: Key, moment: Moment) -> u64 {
    let before = history.applied.iter().filter(|applied| applied.key == key && applied.at < moment);
    before.map(|applied| applied.version).max().unwrap_or(0)
}

/// P1: no reader sees time run backwards, whoever reads.
fn backwards(history: &History, found: &mut Vec<String>) {
    for key in KEYS {
        let mut reads: Vec<(&Read, u64)> = Vec::new();
        for read in history.reads.iter().chain(&history.quiet).filter(|read| read.key == key) {
            if let Seen::Version { version, .. } = read.seen {
                reads.push((read, version));
            }
        }
        for (later, version) in &reads {
            let earlier = reads.iter().filter(|(earlier, _)| earlier.ended < later.began);
            if let Some((earlier, seen)) = earlier.max_by_key(|(_, seen)| *seen).filter(|(_, seen)| seen > version) {
                found.push(format!("P1: {} after {} had seen {seen}", line(later), line(earlier)));
            }
        }
    }
}

/// P2: in scope `user` the origin says whose each representation is.
fn own(read: &Read, setting: Setting, found: &mut Vec<String>) {
    let Seen::Version { whose, .. } = read.seen else { return };
    if setting.scope == Scope::User && whose != Some(read.caller) {
        found.push(format!("P2: {} is what {whose:?} was told", line(read)));
    }
}

/// P5: nobody waits longer than their own deadline allows.
fn waits(read: &Read, slack: Duration, found: &mut Vec<String>) {
    let bound = match read.collapsed() {
        true => Duration::from_millis(RESPONSE_TIMEOUT) + Duration::from_secs(1),
        false => LONGEST,
    };
    if read.took > bound + slack {
        found.push(format!("P5: {} took {} ms", line(read), read.took.as_millis()));
    }
}

/// P1: what is fetched while a mutation is in flight does not enter the store.
fn stored_during(history: &History, found: &mut Vec<String>) {
    for read in history.reads.iter().filter(|read| read.stored()) {
        let during = |written: &&Written| {
            // In flight it is for longer, but from outside no more can be seen. Those that are refused are so, too.
            let (Some(arrived), Some(answered)) = (written.arrived, written.answered) else { return false };
            written.change.changes(read.key) && arrived < read.began && read.ended < answered && !capped(written)
        };
        if let Some(written) = history.writes.iter().find(during) {
            found.push(format!("P1: {} was stored during step {}", line(read), written.step));
        }
    }
}

/// Whether the mutation may have outlasted its barrier.
fn capped(written: &Written) -> bool {
    matches!(written.writing, Writing::Drips)
}

/// P5: concurrent misses of one key are one request to the origin, but where a mutation comes between, or what came may
/// not be shared. Not asked in scope `authenticated`, where who has just been accepted need not wait for who was not.
fn stampedes(history: &History, found: &mut Vec<String>) {
    for first in history.fetched.iter().filter(|fetched| fetched.fetching == Fetching::Answers) {
        let same = |other: &&crate::history::Fetched| {
            other.key == first.key
                && other.caller == first.caller
                && first.began < other.began
                && other.began < first.answered
        };
        let Some(second) = history.fetched.iter().find(same) else { continue };
        let asked = history.reads.iter().find(|read| read.step.is_some() && read.step == first.step);
        // While a mutation is under way, or may be, whoever was told something parts those who come from those who wait.
        let unsettled = history.reads.iter().any(|read| {
            read.key == first.key && read.cache_status.contains("detail=mutation") && first.began < read.ended
        });
        let asked = asked.map_or(first.began, |read| read.began);
        let between = history.writes.iter().any(|written| {
            // What was accepted is invalidated once more when it has settled.
            let over = written.ended.is_some_and(|ended| ended < asked);
            let again = matches!(written.writing, Writing::Accepts { .. });
            written.change.changes(first.key) && written.began < second.began && (!over || again)
        });
        let unshared =
            history.fetched.iter().any(|fetched| fetched.key == first.key && fetched.fetching != Fetching::Answers);
        if !between && !unshared && !unsettled {
            found.push(format!("P5: {first:?} and {second:?} are one fetch too many"));
        }
    }
}

/// Once everything is quiet, what is answered equals what there is, and comes from the store again.
fn quiet(history: &History, found: &mut Vec<String>) {
    for pair in history.quiet.chunks(2) {
        for read in pair {
            let now = version_at(history, read.key, Moment(u64::MAX));
            if !matches!(read.seen, Seen::Version { version, .. } if version == now) {
                found.push(format!("at rest: {}, and there is {now}", line(read)));
            }
        }
        if let [_, second] = pair
            && !second.hit()
        {
            found.push(format!("at rest: {} did not come from the store", line(second)));
        }
    }
}

fn line(read: &Read) -> String {
    let step = read.step.map_or_else(|| "at rest".into(), |step| format!("step {step}"));
    format!("{step}: caller {} read {:?} as {:?} ({})", read.caller, read.key, read.seen, read.cache_status)
}
