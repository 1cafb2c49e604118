//! A stored response (RFC 9111 §3) and what vouches for it.

use crate::clock::Timestamp;
use crate::field::Fields;
use crate::field::date::HttpDate;
use crate::field::entity_tag::EntityTag;
use bytes::Bytes;

/// SHA-256 of a body: the name under which the store keeps it, once however many responses hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash(pub [u8; 32]);

/// Who vouches for the entity-tag. Only an origin's own validators are ever sent to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validator {
    /// The origin sent it.
    Origin(EntityTag),
    /// Made here from the content; the origin has never seen it.
    Computed(EntityTag),
    /// There is none: the origin sent none and the response is not one that gets one.
    Absent,
}

impl Validator {
    /// The entity-tag clients see.
    pub fn entity_tag(&self) -> Option<&EntityTag> {
        match self {
            Validator::Origin(tag) | Validator::Computed(tag) => Some(tag),
            Validator::Absent => None,
        }
    }
}

/// Who vouches for the modification date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modified {
    /// The origin sent it.
    Origin(HttpDate),
    /// Made here. `date` may lie in the future by a second or two, where contents followed each other within one
    /// second; it is shown, and counts, only once it has come. `first_seen` is the second in which this process first
    /// saw the content: an older `date` (out of the body) does not answer If-Modified-Since alone.
    Computed { date: HttpDate, first_seen: HttpDate },
    /// There is none.
    Absent,
}

impl Modified {
    /// The date clients see at `now`, if any.
    pub fn shown_at(self, now: Timestamp) -> Option<HttpDate> {
        match self {
            Modified::Origin(date) => Some(date),
            Modified::Computed { date, .. } => (date.0 <= now.wall_seconds()).then_some(date),
            Modified::Absent => None,
        }
    }

    /// Whether this says all that the origin's line did, so that the line need not be kept. One in an obsolete form
    /// (RFC 9110 §5.6.7) names the same date in other octets, and is passed on as it came.
    pub fn replaces(self, line: Option<&[u8]>) -> bool {
        match self {
            Modified::Origin(date) => line == Some(date.to_string().as_bytes()),
            Modified::Computed { .. } => true,
            Modified::Absent => false,
        }
    }
}

/// A complete response, as the origin meant it: framing and connection fields are gone, Age and Cache-Status are not
/// there yet.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// The reason phrase as it came (RFC 9112 §4); empty where there was none.
    pub reason: Bytes,
    /// End-to-end fields as they came, without Age and without the validators' lines (ETag, Last-Modified) where
    /// [`validator`] and [`modified`] hold all that they say.
    ///
    /// [`validator`]: Response::validator
    /// [`modified`]: Response::modified
    pub fields: Fields,
    pub content: ContentHash,
    pub content_length: u64,
    pub validator: Validator,
    pub modified: Modified,
    /// When its head came (RFC 9111 §4.2.3).
    pub response_time: Timestamp,
    /// `corrected_initial_age` of RFC 9111 §4.2.3.
    pub initial_age: std::time::Duration,
    /// Whether it came with an Age: out of another cache, not from the origin for this request (RFC 9111 §5.1).
    pub aged: bool,
    /// Whether its content may be sent in a content coding that was made here.
    pub recodable: bool,
}
