//! Dates for computed Last-Modified fields: no two contents of one URL ever get the same one.
//!
//! Two contents within one second would share a date, and a client that has the first would be told that it is current.
//! So each new content takes a date later than any that was given before, even if that lies a second ahead; it is shown
//! only once it has come. Callers count together: whoever asks next from the same browser may be another, with a content
//! of their own. The last date of each URL is remembered, and which content has it, by a hash in fixed memory; a
//! collision moves a date forward, which is always safe.

use crate::field::date::HttpDate;
use crate::field::entity_tag::EntityTag;
use crate::semantics::stored_response::Modified;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Mutex;

const STRIPES: usize = 1 << 14;

/// The newest date given so far, per stripe.
pub struct FirstSeen {
    given: Box<[Mutex<Given>]>,
    hash: RandomState,
}

#[derive(Clone, Copy)]
struct Given {
    date: HttpDate,
    first_seen: HttpDate,
    /// A hash of the entity-tag of the content that has it.
    content: u64,
}

impl Default for FirstSeen {
    fn default() -> Self {
        let never = Given { date: HttpDate(0), first_seen: HttpDate(0), content: 0 };
        FirstSeen { given: (0..STRIPES).map(|_| Mutex::new(never)).collect(), hash: RandomState::new() }
    }
}

impl FirstSeen {
    /// The date of a content of the URL with this path and query: `wanted`, or a later one if that may have been given to
    /// another content of it. Content that has the newest date already keeps it.
    pub fn claim(&self, url: (&str, &str), tag: &EntityTag, wanted: HttpDate, now: HttpDate) -> Modified {
        let stripe = usize::try_from(self.hash.hash_one(url) % STRIPES as u64).expect("below 2^14");
        let content = self.hash.hash_one((&tag.opaque, tag.weak));
        let mut given = self.given[stripe].lock().expect("no holder of this lock panics");
        if given.content != content {
            let date = HttpDate(wanted.0.max(given.date.0.saturating_add(1)));
            *given = Given { date, first_seen: now, content };
        }
        Modified::Computed { date: given.date, first_seen: given.first_seen }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(seen: &FirstSeen, url: &str, content: u32, wanted: i64) -> i64 {
        let tag = EntityTag { weak: false, opaque: content.to_string().into() };
        match seen.claim((url, ""), &tag, HttpDate(wanted), HttpDate(wanted)) {
            Modified::Computed { date, .. } => date.0,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_date_is_given_to_two_contents_and_none_is_earlier_than_the_last() {
        let seen = FirstSeen::default();
        let dates = [(1, 100), (2, 100), (1, 100), (3, 50), (4, 104), (5, 200), (6, 199)];
        assert_eq!(
            dates.map(|(content, wanted)| claim(&seen, "/", content, wanted)),
            [100, 101, 102, 103, 104, 200, 201]
        );
    }

    #[test]
    fn a_content_that_comes_again_keeps_its_date_and_when_it_was_first_seen() {
        let seen = FirstSeen::default();
        let tag = EntityTag { weak: false, opaque: "a".into() };
        let first = seen.claim(("/", "q"), &tag, HttpDate(100), HttpDate(110));
        assert_eq!(first, Modified::Computed { date: HttpDate(100), first_seen: HttpDate(110) });
        assert_eq!(seen.claim(("/", "q"), &tag, HttpDate(300), HttpDate(300)), first);
    }

    #[test]
    fn another_url_has_its_own_dates() {
        let seen = FirstSeen::default();
        let first = claim(&seen, "/0", 0, 100);
        // A collision would only move a date forward; not each of a thousand collides.
        let unmoved = (1..1000).filter(|n| claim(&seen, &format!("/{n}"), *n, 100) == first).count();
        assert!(unmoved > 900, "{unmoved}");
    }

    #[test]
    fn the_end_of_time_is_no_panic() {
        let seen = FirstSeen::default();
        for content in 0..2 {
            assert_eq!(claim(&seen, "/", content, i64::MAX), i64::MAX);
        }
    }

    #[test]
    fn claims_that_race_get_different_dates() {
        let seen = FirstSeen::default();
        let claims = |thread: u32| {
            let seen = &seen;
            move || (0..1000).map(|n| claim(seen, "/", thread * 1000 + n, 100)).collect::<Vec<_>>()
        };
        let mut all: Vec<i64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|thread| scope.spawn(claims(thread))).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no claim panics")).collect()
        });
        all.sort_unstable();
        assert_eq!(all, (100..4100).collect::<Vec<_>>());
    }
}
