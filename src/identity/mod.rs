//! Who is asking: credentials become a [`Caller`], and the origin's acceptance of one is remembered.

/// A caller, told apart by a keyed hash of its credentials. The key is random per process, so the value says nothing
/// outside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Carries none of the configured credentials.
    Anonymous,
    /// 128 bits of HMAC-SHA-256 over all configured credentials of the request.
    Known([u8; 16]),
}
