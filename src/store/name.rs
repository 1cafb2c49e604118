//! The names under which things are held: 128 bits, whatever they name.
//!
//! A key is as long as its URL, and would stand in memory once for each response that there is. A keyed hash of it tells
//! keys apart as well, as it does callers ([`Caller`](crate::identity::Caller)): of a million names and a million million
//! requests, two are the same by chance once in 10^20, and nobody can search for two that are without the key of the
//! hash, which is random and never leaves the process.

use crate::policy::Coding;
use crate::semantics::cache_key::CacheKey;
use crate::semantics::stored_response::ContentHash;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

/// The name of something that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name(u64, u64);

/// Makes names.
pub(super) struct Names {
    keyed: SipHasher24,
}

impl Names {
    /// Names that no other process makes.
    pub fn new() -> Self {
        let mut key = [0; 16];
        getrandom::fill(&mut key).expect("the system has random numbers");
        Names { keyed: SipHasher24::new_with_key(&key) }
    }

    /// What is held of a resource, or of one variant.
    pub fn resource(&self, key: &CacheKey) -> Name {
        self.name(0, key.octets())
    }

    /// A body that several responses hold.
    pub fn body(&self, content: ContentHash) -> Name {
        self.name(1, &content.0)
    }

    /// A body in a content coding made here.
    pub fn coded(&self, content: ContentHash, coding: Coding) -> Name {
        self.name(2 + coding as u8, &content.0)
    }

    fn name(&self, kind: u8, octets: &[u8]) -> Name {
        let mut hash = self.keyed;
        hash.write(octets);
        hash.write_u8(kind);
        let hash = hash.finish128();
        Name(hash.h1, hash.h2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::cache_key::{self, Partition};
    use crate::semantics::sample::{plain, request};
    use std::collections::HashSet;

    #[test]
    fn what_differs_has_another_name_and_what_is_the_same_has_one() {
        let names = Names::new();
        let key = |target| cache_key::of(&request("GET", target, &[]), &plain(), &Partition::Public);
        let of = |names: &Names| {
            let contents = [[0; 32], [1; 32]].map(ContentHash);
            let keys = ["/", "/a"].map(|target| names.resource(&key(target)));
            let bodies = contents.map(|content| names.body(content));
            let coded = contents.map(|content| Coding::ALL.map(|coding| names.coded(content, coding)));
            keys.into_iter().chain(bodies).chain(coded.into_iter().flatten()).collect::<HashSet<_>>()
        };
        assert_eq!(of(&names).len(), 10);
        assert_eq!(of(&names), of(&names));
        assert!(of(&names).is_disjoint(&of(&Names::new())), "nobody knows the key");
    }
}
