//! The head of a client's request: what is accepted has one form, which is read again as the same request.

use super::{policy, taken};
use freshgate::edge::head::{self, Received, RequestBody};
use freshgate::edge::lane::head_octets;
use freshgate::policy::Policy;
use freshgate::semantics::request::Version;
use std::sync::LazyLock;

static POLICY: LazyLock<Policy> = LazyLock::new(|| policy("[origin]\nurl = \"http://127.0.0.1:3000\"\n"));

/// `octets`: what a client sends.
pub fn run(octets: &[u8]) {
    match taken(octets, &POLICY) {
        None => {
            assert!(
                !octets.windows(4).any(|end| end == b"\r\n\r\n") || octets.trim_ascii_start() != octets,
                "an end unseen"
            );
        }
        Some(Err(refusal)) => assert!((400..=505).contains(&refusal.status), "{refusal:?}"),
        Some(Ok((received, rest))) => {
            assert!(octets.ends_with(&rest), "what follows is not the head's");
            let length = octets.len() - rest.len();
            for early in [length / 2, length - 1] {
                let before = taken(&octets[..early], &POLICY);
                assert!(!matches!(before, Some(Ok(_))), "a request before the end of its head");
            }
            one_form(&received);
            read_again(&received);
        }
    }
}

/// What the decisions rely on.
fn one_form(received: &Received) {
    let Received { request, body, upgrades, .. } = received;
    let target = request.target();
    assert!(request.path.starts_with('/') || (target == "*" && request.method == "OPTIONS"), "{target}");
    assert!(target.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'#' && octet != b'\\'), "{target}");
    let decoded = request.path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    let mut segments = decoded.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    assert!(!segments.any(|segment| segment == "." || segment == ".."), "dot segments: {target}");
    if !request.authority.is_empty() {
        let again = head::authority(request.authority.as_bytes(), request.scheme);
        assert_eq!(again.as_ref(), Some(&request.authority), "an authority has one form");
        assert_eq!(request.fields.get_all("host").count(), 1, "the origin is told the host once");
    }
    let lengths = request.fields.get_all("content-length").count();
    let codings = request.fields.get_all("transfer-encoding").count();
    assert!(lengths + codings <= 1, "two framings");
    match body {
        RequestBody::Chunked => assert_eq!((codings, request.version), (1, Version::Http11)),
        RequestBody::Length(_) => assert_eq!(lengths, 1),
        RequestBody::None => assert_eq!(codings, 0),
    }
    assert_eq!(request.has_body, *body != RequestBody::None);
    assert_eq!(request.fields.contains("upgrade"), *upgrades);
    for (name, value) in request.fields.iter() {
        assert!(!name.is_empty() && name.iter().all(|octet| octet.is_ascii_graphic() && *octet != b':'));
        assert!(!value.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)), "a line within a line");
    }
}

/// What is printed of a request is the same request.
fn read_again(received: &Received) {
    let printed = head_octets(&received.request, &received.request.target(), false);
    let Some(Ok((again, rest))) = taken(&printed, &POLICY) else {
        panic!("what was accepted is refused when it is sent on: {}", printed.escape_ascii());
    };
    assert!(rest.is_empty());
    let facts = |received: &Received| {
        let Received { request, body, persists, expects_continue, upgrades } = received;
        let own = (request.method.clone(), request.authority.clone(), request.target(), request.version);
        (own, request.fields.clone(), *body, *persists, *expects_continue, *upgrades)
    };
    assert_eq!(facts(&again), facts(received));
}
