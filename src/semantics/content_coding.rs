//! Content codings (RFC 9110 §8.4.1, §12.5.3): in which form a client is sent what is stored in its identity form.
//!
//! "ETag: `fg1-<22>[-coding]`: a suffix per content coding with the encoder's version": each form has an entity-tag of
//! its own, since "content codings are a property of the representation data" (§8.8.3.3) and the octets differ.

use crate::field::cache_control::{RequestDirectives, ResponseDirectives};
use crate::field::entity_tag::EntityTag;
use crate::field::{Fields, accept_encoding};
use crate::policy::{Coding, Freshness, Route};
use crate::semantics::stored_response::{Response, Validator};

/// Octets below which a coding saves nothing: one packet carries them anyway.
const WORTH_IT: u64 = 1024;

/// Fields that speak of the octets as they came; whoever recodes makes them wrong.
const OF_THESE_OCTETS: [&str; 6] =
    ["content-encoding", "content-md5", "content-digest", "repr-digest", "digest", "content-range"];

/// One form of a content, as its client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// `None`: as it came.
    pub coding: Option<Coding>,
    pub entity_tag: Option<EntityTag>,
    /// Octets.
    pub content_length: u64,
}

impl Form {
    /// A content as it came.
    pub fn identity(response: &Response) -> Form {
        let entity_tag = response.validator.entity_tag().cloned();
        Form { coding: None, entity_tag, content_length: response.content_length }
    }

    /// A content in a coding made here.
    pub fn coded(response: &Response, coding: Coding, content_length: u64) -> Form {
        Form { coding: Some(coding), entity_tag: entity_tag(&response.validator, coding), content_length }
    }
}

/// Whether a response may be sent in other codings than it came in: what `fresh` governs, is long enough, is text, and
/// has not been forbidden. "Plain mode: nothing the origin sent is rewritten."
pub fn is_recodable(status: u16, fields: &Fields, validator: &Validator, content_length: u64, route: &Route) -> bool {
    matches!(route.freshness, Freshness::For(_))
        // A strong entity-tag of the origin's names octets that would not be sent, and its clients hand it back in If-Match.
        && !matches!(validator, Validator::Origin(tag) if !tag.weak)
        && status == 200
        && content_length >= WORTH_IT
        && is_text(fields)
        && !OF_THESE_OCTETS.iter().any(|name| fields.contains(name))
        // "A proxy MUST NOT transform the content of a response message that contains a no-transform cache directive"
        // (RFC 9110 §7.7).
        && !ResponseDirectives::of(fields).no_transform
}

/// Whether the media type is one whose contents are text; images and archives have been compressed before.
fn is_text(fields: &Fields) -> bool {
    let media = fields.get("content-type").unwrap_or_default().to_ascii_lowercase();
    let essence = media.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    essence.starts_with(b"text/")
        || [&b"+json"[..], b"+xml", b"/json", b"/xml", b"/javascript", b"-ndjson", b"/ndjson"]
            .iter()
            .any(|end| essence.ends_with(end))
}

/// The codings out of `made` that a client would rather have than the identity form, the best first; empty where it asks
/// for none. A request for a part is about the identity form, as is one with no-transform ("the client is asking for
/// intermediaries to avoid transforming the content", RFC 9111 §5.2.1.6).
pub fn acceptable(request: &Fields, made: &[Coding]) -> Vec<Coding> {
    if !request.contains("accept-encoding") || request.contains("range") || RequestDirectives::of(request).no_transform
    {
        return Vec::new();
    }
    // "If the representation has no content coding, then it is acceptable by default": gladly only where it says so.
    let identity = accept_encoding::weight(request, "identity").unwrap_or(0);
    let weighed = |coding: &Coding| accept_encoding::weight(request, coding.token()).unwrap_or(0);
    let mut codings: Vec<Coding> =
        made.iter().copied().filter(|coding| weighed(coding) > 0 && weighed(coding) >= identity).collect();
    // Stable: of those that the client likes the same, the one that is configured first.
    codings.sort_by_key(|coding| std::cmp::Reverse(weighed(coding)));
    codings
}

/// The entity-tag of a content in a coding made here. One that was computed gets a suffix; a weak one of the origin's
/// says of both forms that they mean the same.
fn entity_tag(validator: &Validator, coding: Coding) -> Option<EntityTag> {
    match validator {
        Validator::Computed(tag) => {
            let opaque = [&*tag.opaque, b"-".as_slice(), coding.token().as_bytes(), VERSION].concat();
            Some(EntityTag { weak: tag.weak, opaque: opaque.into() })
        }
        Validator::Origin(tag) => Some(tag.clone()),
        Validator::Absent => None,
    }
}

/// The version of the encoders; raised when one of them writes other octets than before (`store::variants` has a test
/// that tells), so that an entity-tag never names two octet strings.
const VERSION: &[u8] = b"1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Coding::{Br, Gzip, Zstd};
    use crate::semantics::sample::{fields, fresh, plain};

    const JSON: (&str, &str) = ("Content-Type", "application/json; charset=utf-8");

    #[test]
    fn what_is_recoded() {
        let recodable =
            |lines: &[(&str, &str)]| is_recodable(200, &fields(lines), &Validator::Absent, WORTH_IT, &fresh());
        for media in
            ["application/json", "text/csv", "Application/Problem+JSON;x=1", "image/svg+xml", "text/javascript"]
        {
            assert!(recodable(&[("Content-Type", media)]), "{media}");
        }
        for media in ["image/png", "application/octet-stream", "application/pdf", "font/woff2", ""] {
            assert!(!recodable(&[("Content-Type", media)]), "{media}");
        }
        assert!(!recodable(&[]));
        assert!(!recodable(&[JSON, ("Cache-Control", "max-age=60, no-transform")]));
        for name in OF_THESE_OCTETS {
            assert!(!recodable(&[JSON, (name, "x")]), "{name}");
        }
    }

    #[test]
    fn what_is_not() {
        let json = fields(&[JSON]);
        let (ours, tag) = (Validator::Absent, |weak| Validator::Origin(EntityTag { weak, opaque: "v".into() }));
        assert!(is_recodable(200, &json, &ours, WORTH_IT, &fresh()));
        assert!(is_recodable(200, &json, &tag(true), WORTH_IT, &fresh()));
        assert!(!is_recodable(200, &json, &tag(false), WORTH_IT, &fresh()));
        assert!(!is_recodable(200, &json, &ours, WORTH_IT - 1, &fresh()));
        assert!(!is_recodable(404, &json, &ours, WORTH_IT, &fresh()));
        assert!(!is_recodable(200, &json, &ours, WORTH_IT, &plain()));
    }

    #[track_caller]
    fn check(request: &[(&str, &str)], expected: &[Coding]) {
        assert_eq!(acceptable(&fields(request), &Coding::ALL), expected, "{request:?}");
    }

    #[test]
    fn the_best_that_a_client_takes() {
        check(&[], &[]);
        check(&[("Accept-Encoding", "")], &[]);
        check(&[("Accept-Encoding", "gzip, deflate, br, zstd")], &[Zstd, Br, Gzip]);
        check(&[("Accept-Encoding", "gzip, br;q=0.9, zstd;q=0")], &[Gzip, Br]);
        check(&[("Accept-Encoding", "identity, gzip;q=0.5")], &[]);
        check(&[("Accept-Encoding", "identity;q=0.5, gzip;q=0.5")], &[Gzip]);
        check(&[("Accept-Encoding", "*;q=0.5, br")], &[Br, Zstd, Gzip]);
        check(&[("Accept-Encoding", "*;q=0")], &[]);
        check(&[("Accept-Encoding", "gzip"), ("Range", "bytes=0-1")], &[]);
        check(&[("Accept-Encoding", "gzip"), ("Cache-Control", "no-transform")], &[]);
        assert_eq!(acceptable(&fields(&[("Accept-Encoding", "gzip, br")]), &[Gzip, Br]), [Gzip, Br]);
        assert_eq!(acceptable(&fields(&[("Accept-Encoding", "gzip, br")]), &[]), []);
    }

    #[test]
    fn each_form_has_its_entity_tag() {
        let tag = |weak, opaque: &'static str| EntityTag { weak, opaque: opaque.into() };
        let computed = Validator::Computed(tag(false, "fg1-x"));
        assert_eq!(entity_tag(&computed, Gzip), Some(tag(false, "fg1-x-gzip1")));
        assert_eq!(entity_tag(&computed, Br), Some(tag(false, "fg1-x-br1")));
        assert_eq!(entity_tag(&Validator::Computed(tag(true, "fg1-x")), Zstd), Some(tag(true, "fg1-x-zstd1")));
        assert_eq!(entity_tag(&Validator::Origin(tag(true, "v")), Gzip), Some(tag(true, "v")));
        assert_eq!(entity_tag(&Validator::Absent, Gzip), None);
    }
}
