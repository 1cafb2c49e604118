//! One question, "fetch this": [`Origin`]. [`http`] asks over sockets; [`scripted`] answers from a script in tests.

pub mod head;
pub mod http;
pub mod patient;
pub mod peer;
pub mod rescue;
pub mod scripted;
#[cfg(test)]
pub(crate) mod wire;

use crate::field::Fields;
pub use crate::message::{Framing, Head};
use crate::semantics::request::Scheme;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use std::fmt;
use tokio::sync::mpsc;

/// What is sent to the origin.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: String,
    pub scheme: Scheme,
    /// Path and query.
    pub target: String,
    /// End-to-end fields, Host included; framing fields are the transport's own.
    pub fields: Fields,
    /// Empty: no body. A present empty body is told by `has_body`.
    pub body: Bytes,
    /// Whether the request is framed as having a body.
    pub has_body: bool,
    /// How often it may be sent.
    pub sending: Sending,
}

/// How often a request may be sent (RFC 9110 §9.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// Only ever once: mutations.
    Once,
    /// Once more, on a new connection, if a pooled one broke before any answer: GET, HEAD, OPTIONS.
    RetryOnce,
}

/// A final response whose body is still coming.
pub struct Reply {
    pub head: Head,
    pub framing: Framing,
    /// Chunks in order; an error means the body is not whole. Each wait is bounded by `body_timeout`.
    pub body: BoxStream<'static, Result<Bytes, OriginError>>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("head", &self.head).field("framing", &self.framing).finish_non_exhaustive()
    }
}

/// Where 1xx responses go while the final one is awaited; at most [`MAX_INTERIM`] are relayed.
pub type Interim = mpsc::Sender<Head>;

/// RFC 9110 §15.2 sets no bound; a flood of them must have one.
pub const MAX_INTERIM: usize = 8;

/// The origin, as the pipeline knows it.
#[async_trait::async_trait]
pub trait Origin: Send + Sync {
    /// Sends `ask` and waits for the final head, at most `response_timeout`.
    async fn ask(&self, ask: Ask, interim: Option<Interim>) -> Result<Reply, OriginError>;
}

/// Why there is no answer, or no whole one.
#[derive(Clone, Debug)]
pub struct OriginError {
    pub kind: OriginErrorKind,
    /// For the log: the cause in words, without secrets.
    pub cause: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginErrorKind {
    /// No connection: nothing was sent.
    Connect,
    /// Too late.
    Timeout,
    /// The connection broke, or what came is not HTTP.
    Protocol,
    /// The head of an answer came, and the rest of it too late.
    Stalled,
    /// The head of an answer came, and the rest of it did not.
    BrokenOff,
    /// `max_concurrent` requests were under way all the time: nothing was sent.
    Saturated,
}

impl OriginErrorKind {
    /// Whether the origin was asked and nothing of an answer came: as far as anybody can tell, it cannot be reached.
    pub fn is_silence(self) -> bool {
        match self {
            OriginErrorKind::Connect | OriginErrorKind::Timeout | OriginErrorKind::Protocol => true,
            OriginErrorKind::Stalled | OriginErrorKind::BrokenOff | OriginErrorKind::Saturated => false,
        }
    }
}

impl OriginError {
    /// The same failure of an answer whose head has come.
    #[must_use]
    pub fn after_the_head(self) -> Self {
        let kind = match self.kind {
            OriginErrorKind::Timeout => OriginErrorKind::Stalled,
            OriginErrorKind::Connect | OriginErrorKind::Protocol => OriginErrorKind::BrokenOff,
            kind => kind,
        };
        OriginError { kind, ..self }
    }
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for OriginError {}
