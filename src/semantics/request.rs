//! A request as the decisions see it (RFC 9110 §3.4): read once at the edge, never changed after.

use crate::field::Fields;
use std::net::IpAddr;

/// The head of a request. Its body, if any, travels beside it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, case-sensitive (RFC 9110 §9.1).
    pub method: String,
    pub scheme: Scheme,
    /// Host and port, lower-case, without the scheme's default port (RFC 9110 §4.2.3).
    pub authority: String,
    /// Starts with `/`; exactly as it came.
    pub path: String,
    /// Without the `?`; exactly as it came.
    pub query: Option<String>,
    /// All fields, Host included, as they came.
    pub fields: Fields,
    pub version: Version,
    /// The address the connection came from.
    pub client: IpAddr,
    /// Whether a body follows the head.
    pub has_body: bool,
}

impl Request {
    /// Path and query, as in a request line.
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

/// What tells one caller's requests from another's: a keyed hash of the credentials; `None` where there are none.
pub type CallerKey = Option<[u8; 16]>;

/// How the request reached this proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// As in a URI.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// The version a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http10,
    Http11,
    Http2,
}

impl Version {
    /// As `Via` names it (RFC 9110 §7.6.3).
    pub fn as_via(self) -> &'static str {
        match self {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::Http2 => "2.0",
        }
    }
}
