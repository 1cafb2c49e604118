//! Entity-tags (RFC 9110 §8.8.3).

use bytes::Bytes;

/// One entity-tag. Compared only by [`strongly_matches`](Self::strongly_matches) and
/// [`weakly_matches`](Self::weakly_matches).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag {
    pub weak: bool,
    /// The opaque-tag without its quotes; may hold obs-text.
    pub opaque: Bytes,
}
