//! `[cache]`: what is stored, and in which codings.

use std::time::Duration;

/// The whole table.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Bytes, of everything that is held: bodies, fields, keys, bookkeeping.
    pub memory: u64,
    /// Bytes; a larger response streams through, unstored and untagged.
    pub max_body: u64,
    /// Content codings that stored bodies are made in, best first.
    pub codings: Vec<Coding>,
    pub pass_for: Duration,
    pub stale_on_disconnect: Duration,
}

/// A content coding (RFC 9110 §8.4.1) that is made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    Zstd,
    Br,
    Gzip,
}

impl Coding {
    /// All of them, best first.
    pub const ALL: [Coding; 3] = [Coding::Zstd, Coding::Br, Coding::Gzip];

    /// Its name in fields and configurations.
    pub fn token(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Br => "br",
            Coding::Gzip => "gzip",
        }
    }
}
