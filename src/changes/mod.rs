//! What was invalidated, as numbered changes: the [`log`] that the one door appends to, and the form a change has on
//! the wire.
//!
//! A change says what clients should fetch again, never what it holds now. It carries no credential and no hash of one.

pub mod log;

use crate::clock::Timestamp;
use serde::{Serialize, Serializer};

/// One invalidation, as everybody outside of the store hears of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its number: the fences' counter at the invalidation. Later changes have greater numbers; numbers may be skipped.
    pub sequence: u64,
    /// When it was invalidated; wall time on the wire.
    #[serde(serialize_with = "wall_time")]
    pub at: Timestamp,
    pub cause: Cause,
    /// Everything was invalidated; the lists below may then be empty.
    pub whole: bool,
    /// Routes that were invalidated whole, or a collection or item of which was, by name.
    pub routes: Vec<String>,
    pub entities: Vec<EntityChange>,
    /// Paths in matching form.
    pub paths: Vec<String>,
    /// Query keys that a client invalidates, as the routes name them.
    pub query_keys: Vec<Vec<String>>,
}

/// Why something was invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// A mutation passed through and ended.
    Mutation,
    /// What a mutation left open came to rest: the end of `settle`, or of an accepted (202) mutation.
    Settled,
    /// The outcome of a mutation is unknown, so it counts as applied.
    Unknown,
    /// An operator asked for it.
    Purge,
    /// The origin refused a credential that it had accepted.
    Credential,
    /// The origin told callers of a shared scope different things.
    Divergence,
}

/// An entity that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntityChange {
    pub entity: String,
    /// Which one; `None`: any of them.
    pub id: Option<String>,
}

impl Change {
    /// Roughly how many bytes the change takes in memory: its strings and what stands around them.
    fn weight(&self) -> usize {
        const PER_STRING: usize = size_of::<String>();
        let text = |s: &String| PER_STRING + s.len();
        let entity = |e: &EntityChange| text(&e.entity) + PER_STRING + e.id.as_ref().map_or(0, String::len);
        let key = |k: &Vec<String>| PER_STRING + k.iter().map(text).sum::<usize>();
        size_of::<Change>()
            + self.routes.iter().map(text).sum::<usize>()
            + self.entities.iter().map(entity).sum::<usize>()
            + self.paths.iter().map(text).sum::<usize>()
            + self.query_keys.iter().map(key).sum::<usize>()
    }
}

/// RFC 3339 in UTC with milliseconds. A clock outside of the years -9999 to 9999 is shown as 1970.
fn wall_time<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    let time = jiff::Timestamp::from_millisecond(at.wall_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    to.collect_str(&format_args!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_on_the_wire() {
        let change = Change {
            sequence: 7,
            at: Timestamp { wall_ms: 1_767_349_800_217, boot_ms: 5 },
            cause: Cause::Mutation,
            whole: false,
            routes: vec!["categories".into()],
            entities: vec![EntityChange { entity: "category".into(), id: Some("5".into()) }],
            paths: vec!["/categories/5".into()],
            query_keys: vec![vec!["categories".into(), "5".into()]],
        };
        assert_eq!(
            serde_json::to_string(&change).expect("a change is always JSON"),
            concat!(
                r#"{"sequence":7,"at":"2026-01-02T10:30:00.217Z","cause":"mutation","whole":false,"#,
                r#""routes":["categories"],"entities":[{"entity":"category","id":"5"}],"#,
                r#""paths":["/categories/5"],"query_keys":[["categories","5"]]}"#
            )
        );
    }
}
