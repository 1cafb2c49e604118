//! The numbered log, in memory and bounded: what a reader missed, or that nobody can say.

use super::Change;
use std::collections::VecDeque;
use std::sync::Mutex;

/// How many changes are kept where nothing else is asked for.
pub const CAPACITY: usize = 10_000;

/// How many bytes the kept changes may take together, as [`Change::weight`] counts them.
const MAX_BYTES: usize = 4 << 20;

/// The log. Appending and reading take one short lock.
#[derive(Debug)]
pub struct Log {
    capacity: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By sequence, ascending.
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The greatest sequence that was ever appended; 0 before the first.
    latest: u64,
    /// Readers below this number may have missed something that is kept no more.
    complete_from: u64,
}

#[derive(Debug)]
struct Entry {
    change: Change,
    /// Readers below this number may not have seen the change: its own sequence, or, if greater ones were in the log
    /// before it came, one more than the greatest of them.
    unseen_below: u64,
}

/// What happened after some sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// Every change that the reader has not seen, in order.
    Replay(Vec<Change>),
    /// Something is missing, or the number is not from this log: the reader has to start over.
    Gap,
}

impl Log {
    /// An empty log that keeps the last `capacity` changes, fewer if they take more than 4 MiB.
    pub fn new(capacity: usize) -> Self {
        Log { capacity, kept: Mutex::default() }
    }

    /// Adds a change at its place by sequence. Invalidations that run side by side may arrive here in another order
    /// than they were numbered in.
    pub fn append(&self, change: Change) {
        let mut kept = self.kept();
        kept.bytes += change.weight();
        let late = change.sequence <= kept.latest;
        let unseen_below = if late { kept.latest + 1 } else { change.sequence };
        kept.latest = kept.latest.max(change.sequence);
        let place = kept.entries.partition_point(|e| e.change.sequence <= change.sequence);
        kept.entries.insert(place, Entry { change, unseen_below });
        while kept.entries.len() > self.capacity || kept.bytes > MAX_BYTES {
            let Some(oldest) = kept.entries.pop_front() else { break };
            kept.bytes -= oldest.change.weight();
            kept.complete_from = kept.complete_from.max(oldest.unseen_below);
        }
    }

    /// What happened after `sequence`, which is 0 or a number that [`latest`](Self::latest) or a change gave.
    ///
    /// A change that came late is told again to readers who stand where the log stood when it came: to hear of one
    /// twice is harmless, to miss one is not.
    pub fn since(&self, sequence: u64) -> Since {
        let kept = self.kept();
        if sequence < kept.complete_from || sequence > kept.latest {
            return Since::Gap;
        }
        let unseen = kept.entries.iter().filter(|e| sequence < e.unseen_below);
        Since::Replay(unseen.map(|e| e.change.clone()).collect())
    }

    /// The last `n` changes, the newest first.
    pub fn recent(&self, n: usize) -> Vec<Change> {
        self.kept().entries.iter().rev().take(n).map(|e| e.change.clone()).collect()
    }

    /// The greatest sequence in the log so far; 0 if there was none.
    pub fn latest(&self) -> u64 {
        self.kept().latest
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::Cause;
    use crate::clock::Timestamp;

    fn change(sequence: u64) -> Change {
        Change {
            sequence,
            at: Timestamp { wall_ms: 0, boot_ms: 0 },
            cause: Cause::Mutation,
            whole: false,
            routes: vec![],
            entities: vec![],
            paths: vec![],
            query_keys: vec![],
        }
    }

    /// In a log of three that was given `appended`, a reader at `sequence` gets `expected`; `None` is a gap.
    #[track_caller]
    fn check(appended: &[u64], sequence: u64, expected: Option<&[u64]>) {
        let log = Log::new(3);
        appended.iter().for_each(|&n| log.append(change(n)));
        let got = match log.since(sequence) {
            Since::Replay(changes) => Some(changes.iter().map(|c| c.sequence).collect::<Vec<_>>()),
            Since::Gap => None,
        };
        assert_eq!(got.as_deref(), expected);
    }

    #[test]
    fn a_reader_gets_what_came_after() {
        check(&[], 0, Some(&[]));
        check(&[1, 2, 3], 0, Some(&[1, 2, 3]));
        check(&[1, 2, 3], 2, Some(&[3]));
        check(&[1, 2, 3], 3, Some(&[]));
    }

    #[test]
    fn numbers_may_be_skipped() {
        check(&[4, 9], 0, Some(&[4, 9]));
        check(&[4, 9], 4, Some(&[9]));
        check(&[4, 9], 6, Some(&[9]));
    }

    #[test]
    fn what_was_dropped_is_told_as_a_gap() {
        check(&[1, 2, 3, 4], 0, None);
        check(&[1, 2, 3, 4], 1, Some(&[2, 3, 4]));
        check(&[10, 20, 30, 40, 50], 10, None);
        check(&[10, 20, 30, 40, 50], 20, Some(&[30, 40, 50]));
    }

    #[test]
    fn a_number_from_elsewhere_is_a_gap() {
        check(&[], 1, None);
        check(&[1, 2], 3, None);
    }

    #[test]
    fn late_arrivals_are_put_in_order_and_nobody_misses_them() {
        check(&[2, 1, 3], 0, Some(&[1, 2, 3]));
        // A reader who stood at 2 may have read before 1 came, so it is told again.
        check(&[2, 1], 2, Some(&[1]));
        // Whoever is at 3 read after 1 came.
        check(&[2, 1, 3], 3, Some(&[]));
    }

    #[test]
    fn a_late_arrival_that_cannot_be_kept_is_a_gap_for_whoever_may_have_missed_it() {
        check(&[2, 3, 4, 1], 4, None);
        check(&[2, 3, 4, 1, 5], 5, Some(&[]));
    }

    #[test]
    fn the_log_is_bounded_by_bytes_too() {
        let log = Log::new(CAPACITY);
        for n in 1..=8 {
            log.append(Change { paths: vec!["x".repeat(1 << 20)], ..change(n) });
        }
        assert_eq!(log.recent(10).iter().map(|c| c.sequence).collect::<Vec<_>>(), [8, 7, 6]);
        assert_eq!(log.since(4), Since::Gap);
    }

    #[test]
    fn recent_and_latest() {
        let log = Log::new(3);
        assert_eq!((log.recent(2), log.latest()), (vec![], 0));
        [1, 3, 2].into_iter().for_each(|n| log.append(change(n)));
        assert_eq!((log.recent(2), log.latest()), (vec![change(3), change(2)], 3));
    }
}
