//! The record of one decision. Cache-Status, the access log, the metrics and the dashboard all read this and nothing
//! else, so they cannot disagree.

use crate::clock::Timestamp;
use crate::identity::Caller;
use crate::policy::RouteId;
use crate::semantics::cache_status::CacheStatus;
pub use crate::semantics::invalidation::Outcome;
use crate::semantics::stored_response::ContentHash;
use std::time::Duration;

/// Everything that was decided about one request, and what it cost.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// When the head of the request had been read.
    pub at: Timestamp,
    pub route: RouteId,
    pub method: String,
    /// Path and query as they came.
    pub target: String,
    /// Who asked; a keyed hash, never a credential.
    pub caller: Caller,
    /// The status that was sent.
    pub status: u16,
    pub cache_status: CacheStatus,
    /// Requests that this exchange made the origin answer: 0 for a hit and for a collapsed follower.
    pub origin_requests: u32,
    /// Bytes of body that came from the origin for this exchange.
    pub origin_bytes: u64,
    /// Bytes of body that a 200 would have carried, where the answer was chosen from a complete response.
    pub content_length: u64,
    /// Which content that is, where it is known.
    pub content: Option<ContentHash>,
    /// Whether that content is complete JSON: what the first run learns from.
    pub json: bool,
    /// Bytes of body sent to the client. The edge fills this in.
    pub sent_bytes: u64,
    /// From the head of the request to the last byte of the answer. The edge fills this in.
    pub latency: Duration,
    /// A background refresh, asked by no client.
    pub background: bool,
    pub mutation: Option<MutationRecord>,
}

/// What became of a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutationRecord {
    pub outcome: Outcome,
    /// How many of the fence keys that were invalidated a stored response can stand behind.
    pub invalidated: usize,
    /// Matched no route.
    pub unrouted: bool,
}
