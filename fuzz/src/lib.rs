//! The fuzz targets: each takes octets and says by a panic that something which has to hold of them does not.
//!
//! The fuzzers (`fuzz_targets/`) call them with what libFuzzer makes up, and `tests/fuzz_corpus.rs` with all of `corpus/`,
//! so that what was found once stays found.

pub mod body;
pub mod config;
pub mod decision;
pub mod field;
pub mod head;
pub mod json;
pub mod jwt;
pub mod key;
pub mod lane;

use freshgate::clock::Timestamp;
use freshgate::config::Overrides;
use freshgate::edge::head::{Arrival, Parsed, Received, Refusal, Rules, take};
use freshgate::policy::Policy;
use freshgate::semantics::request::Scheme;
use std::net::{IpAddr, Ipv4Addr};

/// Thu, 01 Jan 2026 00:00:00 GMT.
const NOW: Timestamp = Timestamp { wall_ms: 1_767_225_600_000, boot_ms: 5_000_000 };

/// What the proxy is called in `Via`.
const OWN: &str = "freshgate-0000002a";

/// How every connection is made.
const ARRIVAL: Arrival = Arrival { scheme: Scheme::Http, client: IpAddr::V4(Ipv4Addr::LOCALHOST) };

/// What separates the parts of an input.
const BETWEEN: &[u8] = b"\n--\n";

/// The input, cut in two where [`BETWEEN`] stands first.
fn halves(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = octets.windows(BETWEEN.len()).position(|window| window == BETWEEN)?;
    Some((&octets[..at], &octets[at + BETWEEN.len()..]))
}

/// The policy of a configuration that is right.
fn policy(text: &str) -> Policy {
    let loaded = freshgate::config::parse(text, "fuzz.toml", &Overrides::default(), &|_| None);
    loaded.unwrap_or_else(|errors| panic!("{errors}")).policy
}

/// What the edge makes of a head that came over plain HTTP: the request and what stands behind its head, or why there is
/// none. `None` where more has to come.
fn taken(octets: &[u8], policy: &Policy) -> Option<Result<(Received, Vec<u8>), Refusal>> {
    let mut buffer = octets.into();
    match take(&mut buffer, Rules::of(policy, OWN), ARRIVAL) {
        Parsed::Partial => None,
        Parsed::Refused(refusal) => Some(Err(refusal)),
        Parsed::Complete(received) => Some(Ok((received, buffer.to_vec()))),
    }
}
