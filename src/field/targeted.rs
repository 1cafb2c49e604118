//! Targeted cache control (RFC 9213): what an origin says to this cache, or to caches of its kind, and to no other.

use super::Fields;
use super::cache_control::ResponseDirectives;
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};
use std::time::Duration;

/// "A target list is an ordered list of the targeted field names that it uses for caching policy, with the order
/// reflecting priority from most applicable to least" (RFC 9213 §2.2).
pub const TARGETS: [&str; 2] = ["freshgate-cache-control", "cdn-cache-control"];

/// "The cache MUST select the first (in target-list order) field with a valid, non-empty value and use its value to
/// determine the caching policy for the response" (RFC 9213 §2.2); `None` where there is no such field.
pub fn of(fields: &Fields) -> Option<ResponseDirectives> {
    TARGETS.iter().find_map(|name| dictionary(fields, name)).map(|dictionary| directives(&dictionary))
}

/// "If a targeted field in a given response is empty, or a parsing error is encountered, that field MUST be ignored by
/// the cache" (RFC 9213 §2.1).
fn dictionary(fields: &Fields, name: &str) -> Option<Dictionary> {
    if !fields.contains(name) {
        return None;
    }
    // "Parsers MUST combine all field lines in the same section that case-insensitively match the field name into one
    // comma-separated field-value" (RFC 8941 §4.2).
    let lines: Vec<&[u8]> = fields.get_all(name).collect();
    let dictionary = Parser::parse_dictionary(&lines.join(&b", "[..])).ok()?;
    (!dictionary.is_empty()).then_some(dictionary)
}

/// "The semantics and precedence of cache directives in a targeted field are the same as those in Cache-Control"
/// (RFC 9213 §2.2), and "implementations SHOULD NOT consume values that violate" their types (§2.1): what allows
/// something counts in its own type alone. What forbids counts in every form but `?0`, since a cache may always do less.
fn directives(dictionary: &Dictionary) -> ResponseDirectives {
    let mut found = ResponseDirectives { targeted: true, ..Default::default() };
    for (name, value) in dictionary {
        let forbids = bare(value) != Some(&BareItem::Boolean(false));
        let allows = bare(value) == Some(&BareItem::Boolean(true));
        let seconds = bare(value).and_then(seconds);
        match name.as_str() {
            "no-store" => found.no_store = forbids,
            "no-cache" => found.no_cache = forbids,
            "private" => found.private = forbids,
            "must-revalidate" => found.must_revalidate = forbids,
            "proxy-revalidate" => found.proxy_revalidate = forbids,
            "no-transform" => found.no_transform = forbids,
            "public" => found.public = allows,
            "must-understand" => found.must_understand = allows,
            "immutable" => found.immutable = allows,
            // "Caches are encouraged to consider responses that have invalid freshness information to be stale"
            // (RFC 9111 §4.2.1).
            "max-age" => found.max_age = Some(seconds.unwrap_or_default()),
            "s-maxage" => found.s_maxage = Some(seconds.unwrap_or_default()),
            "stale-while-revalidate" => found.stale_while_revalidate = seconds,
            "stale-if-error" => found.stale_if_error = seconds,
            _ => {}
        }
    }
    found
}

/// The value of a member, whose parameters "are to be ignored" (RFC 9213 §2.1); `None` for an inner list.
fn bare(value: &ListEntry) -> Option<&BareItem> {
    match value {
        ListEntry::Item(Item { bare_item, .. }) => Some(bare_item),
        ListEntry::InnerList(_) => None,
    }
}

/// delta-seconds as an Integer, at most 2^31 (RFC 9111 §1.2.2).
fn seconds(value: &BareItem) -> Option<Duration> {
    const GREATEST: u64 = 1 << 31;
    let seconds = u64::try_from(value.as_int()?).ok()?;
    Some(Duration::from_secs(seconds.min(GREATEST)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: &str = "Freshgate-Cache-Control";
    const CDN: &str = "CDN-Cache-Control";
    const ALL: (&str, &str) = ("Cache-Control", "max-age=1");

    fn said(lines: &[(&str, &str)]) -> ResponseDirectives {
        ResponseDirectives::of(&lines.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }

    const fn secs(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    #[test]
    fn the_first_field_of_the_target_list_that_says_anything_counts_alone() {
        let max_age = |lines: &[_]| said(lines).max_age;
        assert_eq!(max_age(&[ALL]), secs(1));
        assert_eq!(max_age(&[ALL, (CDN, "max-age=2")]), secs(2));
        assert_eq!(max_age(&[ALL, (CDN, "max-age=2"), (OURS, "max-age=3")]), secs(3));
        assert_eq!(max_age(&[ALL, (CDN, "max-age=2"), (OURS, "")]), secs(2));
        assert_eq!(max_age(&[ALL, (CDN, "no-cache"), (OURS, "an-extension")]), None, "it says nothing that is known");
        assert_eq!(max_age(&[ALL, ("Other-Cache-Control", "max-age=2")]), secs(1), "this target is another's");
    }

    #[test]
    fn what_is_no_dictionary_is_ignored() {
        for value in ["", " ", ",", "max-age=2,", "max-age=2, &&&&&", "MaX-aGe=2", "max-age =2", "max-age= 2", "é", "="]
        {
            assert_eq!(said(&[ALL, (CDN, value)]), said(&[ALL]), "{value}");
        }
    }

    #[test]
    fn several_lines_are_one_dictionary_in_which_the_last_of_two_values_counts() {
        let two = said(&[(CDN, "max-age=1, no-cache"), (CDN, "max-age=2")]);
        assert_eq!((two.max_age, two.no_cache), (secs(2), true));
        assert_eq!(said(&[ALL, (CDN, "max-age=2"), (CDN, "&")]), said(&[ALL]));
    }

    #[test]
    fn every_directive_is_found() {
        let all = said(&[(
            CDN,
            "no-store, no-cache, private, public, must-revalidate, proxy-revalidate, must-understand, no-transform, \
             immutable, max-age=1;a=b, s-maxage=2, stale-while-revalidate=3, stale-if-error=4, other=5",
        )]);
        let expected = ResponseDirectives {
            no_store: true,
            no_cache: true,
            private: true,
            public: true,
            must_revalidate: true,
            proxy_revalidate: true,
            must_understand: true,
            no_transform: true,
            immutable: true,
            max_age: secs(1),
            s_maxage: secs(2),
            stale_while_revalidate: secs(3),
            stale_if_error: secs(4),
            targeted: true,
        };
        assert_eq!(all, expected);
    }

    #[test]
    fn what_forbids_counts_in_any_type_and_what_allows_in_its_own() {
        for value in ["no-store", "no-store=?1", "no-store=1", "no-store=\"x\"", "no-store=(a b)"] {
            assert!(said(&[(CDN, value)]).no_store, "{value}");
        }
        assert!(!said(&[(CDN, "no-store=?0")]).no_store);
        assert!(said(&[(CDN, "public")]).public && !said(&[(CDN, "public=1")]).public);
        for value in ["max-age=\"10\"", "max-age=1.5", "max-age", "max-age=-1", "max-age=(1)"] {
            assert_eq!(said(&[(CDN, value)]).max_age, secs(0), "{value}");
        }
        assert_eq!(said(&[(CDN, "max-age=99999999999")]).max_age, secs(1 << 31));
        assert_eq!(said(&[(CDN, "stale-if-error=\"9\"")]).stale_if_error, None);
    }

    proptest! {
        #[test]
        fn no_octets_panic(lines: Vec<Vec<u8>>) {
            of(&lines.into_iter().map(|line| (CDN, line)).collect());
        }
    }
}
