//! The origin's word on a credential: accepted when it last answered a GET or HEAD of that caller with 200–206 or 304.

use crate::clock::Timestamp;
use crate::semantics::cache_key::CacheKey;
use crate::semantics::request::CallerKey;
use std::time::Duration;

/// Bytes of acceptances that are remembered; more forget the least recently seen, who are then asked about again.
const MEMORY: u64 = 16 << 20;

/// What moka adds to an entry, rounded up.
const OVERHEAD: usize = 200;

/// What an acceptance was an acceptance to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Admission {
    /// To the API at all.
    Anywhere,
    /// To a route, as it was asked, whose URLs all accepted callers may read.
    Route(CacheKey),
    /// To one URL, as it was asked.
    Url(CacheKey),
}

/// When each caller was last accepted, and what its bearer had noted (`M`) before the origin was asked.
pub struct Acceptances<M> {
    accepted: moka::sync::Cache<([u8; 16], Admission), Accepted<M>>,
}

#[derive(Clone, Copy)]
struct Accepted<M> {
    /// Boot time in milliseconds.
    at: u64,
    mark: M,
}

impl<M: Clone + Send + Sync + 'static> Default for Acceptances<M> {
    fn default() -> Self {
        let weight = |(_, admission): &([u8; 16], Admission), _: &Accepted<M>| {
            let key = match admission {
                Admission::Anywhere => 0,
                Admission::Route(key) | Admission::Url(key) => key.size(),
            };
            u32::try_from(OVERHEAD + key).unwrap_or(u32::MAX)
        };
        Acceptances { accepted: moka::sync::Cache::builder().max_capacity(MEMORY).weigher(weight).build() }
    }
}

impl<M: Clone + Send + Sync + 'static> Acceptances<M> {
    /// The origin accepted the caller's credential.
    pub fn accept(&self, caller: CallerKey, admission: Admission, mark: M, now: Timestamp) {
        if let Some(caller) = caller {
            self.accepted.insert((caller, admission), Accepted { at: now.boot_ms, mark });
        }
    }

    /// How long ago the caller was last accepted, and the mark.
    pub fn last(&self, caller: [u8; 16], admission: &Admission, now: Timestamp) -> Option<(Duration, M)> {
        let accepted = self.accepted.get(&(caller, admission.clone()))?;
        Some((Duration::from_millis(now.boot_ms.saturating_sub(accepted.at)), accepted.mark))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::cache_key::{self, Partition};
    use crate::semantics::sample::{at, fresh, request};

    #[test]
    fn an_acceptance_is_of_one_caller_and_to_what_it_was_given() {
        let acceptances = Acceptances::default();
        let (a, b) = ([1; 16], [2; 16]);
        let url = |target| cache_key::of(&request("GET", target, &[]), &fresh(), &Partition::Authenticated);
        let here = Admission::Url(url("/a?b"));
        acceptances.accept(Some(a), here.clone(), "mark", at(0));
        acceptances.accept(None, Admission::Anywhere, "nobody's", at(0));
        assert_eq!(acceptances.last(a, &here, at(3)), Some((Duration::from_secs(3), "mark")));
        for (caller, admission) in [
            (b, here.clone()),
            (a, Admission::Anywhere),
            (a, Admission::Url(url("/a"))),
            (a, Admission::Route(url("/a?b"))),
        ] {
            assert_eq!(acceptances.last(caller, &admission, at(3)), None, "{admission:?}");
        }
        acceptances.accept(Some(a), here.clone(), "newer", at(5));
        assert_eq!(acceptances.last(a, &here, at(5)), Some((Duration::ZERO, "newer")));
    }
}
