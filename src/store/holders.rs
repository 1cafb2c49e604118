//! Bodies: each is held once however many responses hold it.
//!
//! A body that one response alone holds, as most are, is part of it: an entry of its own takes as much memory as a small
//! body does. Which response holds it is remembered by its content, so that a second one with the same content finds it;
//! from then on it stands apart, under its own name, for both and for all that follow. Two that bring the same content
//! in the same instant may each keep theirs, and each counts.

use super::{Held, Name, Store, Stored};
use crate::semantics::cache_key::CacheKey;
use crate::semantics::stored_response::ContentHash;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// What being remembered takes: the number, the key that the holder has anyway, and the room that the table leaves.
pub(super) const REMEMBERED: usize = 48;

/// Parts of the table, so that none is large when it grows.
const PARTS: usize = 64;

/// Which response holds a content as its own. By 64 bits of the content's hash: what is found is compared as a whole.
pub(super) struct Holders {
    parts: [Mutex<HashMap<u64, CacheKey>>; PARTS],
}

impl Default for Holders {
    fn default() -> Self {
        Holders { parts: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Holders {
    fn part(&self, content: ContentHash) -> (MutexGuard<'_, HashMap<u64, CacheKey>>, u64) {
        let (number, _) = content.0.split_first_chunk().expect("32 octets");
        let number = u64::from_be_bytes(*number);
        let part = &self.parts[usize::from(content.0[0]) % PARTS];
        (part.lock().expect("no holder of this lock panics"), number)
    }

    fn of(&self, content: ContentHash) -> Option<CacheKey> {
        let (part, number) = self.part(content);
        part.get(&number).cloned()
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.parts.iter().map(|part| part.lock().expect("no holder of this lock panics").len()).sum()
    }

    fn remember(&self, content: ContentHash, holder: CacheKey) {
        let (mut part, number) = self.part(content);
        part.insert(number, holder);
    }

    /// What was held under `name` is no more.
    pub fn forget(&self, name: &Name, held: &Held) {
        let (Name::Resource(key), Some(content)) = (name, held.own_content()) else { return };
        let (mut part, number) = self.part(content);
        if part.get(&number) == Some(key) {
            part.remove(&number);
        }
    }
}

impl Held {
    /// Which body is held as part of a response.
    fn own_content(&self) -> Option<ContentHash> {
        match self {
            Held::Response(stored) if stored.body.is_some() => Some(stored.response.content),
            _ => None,
        }
    }
}

impl Store {
    /// What a response with this body is to hold of it: nothing, where the body stands apart.
    pub(super) fn own_body(&self, key: &CacheKey, content: ContentHash, body: &Bytes) -> Option<Bytes> {
        let apart = Name::Body(content);
        if self.held.contains_key(&apart) {
            return None;
        }
        let holder =
            self.holders.of(content).and_then(|holder| Some((holder.clone(), self.held_by(&holder, content)?)));
        match holder {
            Some((holder, stored)) if holder == *key => stored.body.clone(),
            Some((holder, stored)) => {
                let body = stored.body.clone().expect("it was found as one that holds a body");
                self.hold(apart, Held::Body(Arc::new(body)));
                self.replace(Name::Resource(holder), |held| match held {
                    Held::Response(held) if Arc::ptr_eq(&held, &stored) => {
                        Some(Held::Response(Arc::new(Stored { body: None, ..(*held).clone() })))
                    }
                    _ => None,
                });
                None
            }
            // A copy, of just its size: what came lies in the buffers that it was read into, and these would stay.
            None => Some(Bytes::copy_from_slice(body)),
        }
    }

    /// The response under this key, if it is the one that holds this body.
    fn held_by(&self, key: &CacheKey, content: ContentHash) -> Option<Arc<Stored>> {
        match self.held.get(&Name::Resource(key.clone())) {
            Some(Held::Response(stored)) if stored.body.is_some() && stored.response.content == content => Some(stored),
            _ => None,
        }
    }

    /// Remembers who holds a body of its own, for as long as it does: what was replaced or evicted before it could be
    /// remembered would never be forgotten.
    pub(super) fn announce(&self, name: &Name, held: &Held) {
        let (Name::Resource(key), Some(content)) = (name, held.own_content()) else { return };
        self.holders.remember(content, key.clone());
        if self.held_by(key, content).is_none() {
            self.holders.forget(name, held);
        }
    }
}
