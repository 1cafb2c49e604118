//! Connection (RFC 9110 §7.6.1): which fields end at this hop.

use super::{Fields, is_token, list};

/// Fields that end at this hop whether Connection names them or not: those of RFC 9110 §7.6.1 and RFC 9111 §3.1, and
/// the Proxy fields, which concern the next hop only (RFC 9110 §11.7).
pub const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The connection options, in lower case; what is not a token names no field and is skipped.
pub fn tokens(fields: &Fields) -> impl Iterator<Item = String> {
    list(fields.get_all("connection"))
        .filter(|option| is_token(option))
        .map(|option| String::from_utf8_lossy(option).to_ascii_lowercase())
}

/// Fields that say how a response may be kept and used again.
const ABOUT_CACHING: [&str; 8] =
    ["age", "cache-control", "cdn-cache-control", "date", "expires", "freshgate-cache-control", "pragma", "vary"];

/// Whether Connection names a field that is there and says how the response may be kept: what is stored is without it, so
/// that whoever kept the response would use it as if that had never been said.
pub fn hides_what_caches_heed(fields: &Fields) -> bool {
    tokens(fields).any(|name| ABOUT_CACHING.contains(&name.as_str()) && fields.contains(&name))
}

/// The fields that are meant for whoever comes after this hop: "Intermediaries MUST parse a received Connection header
/// field before a message is forwarded and, for each connection-option in this field, remove any header or trailer
/// field(s) from the message with the same name".
pub fn end_to_end(fields: &Fields) -> Fields {
    let named: Vec<String> = tokens(fields).collect();
    let mut kept = fields.clone();
    kept.retain(|name, _| {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        !HOP_BY_HOP.iter().any(|hop| is(hop)) && !named.iter().any(|option| is(option))
    });
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(lines: &[(&str, &str)], kept: &[&str]) {
        let fields: Fields = lines.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let left = end_to_end(&fields);
        let names: Vec<_> = left.iter().map(|(name, _)| str::from_utf8(name).unwrap()).collect();
        assert_eq!(names, kept);
    }

    #[test]
    fn end_to_end_fields_stay_in_order_and_case() {
        check(&[("X-B", "1"), ("x-a", "2"), ("X-B", "3")], &["X-B", "x-a", "X-B"]);
    }

    #[test]
    fn what_caches_heed_may_be_hidden() {
        let hides = |lines: &[(&str, &str)]| {
            hides_what_caches_heed(&lines.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect())
        };
        for name in ABOUT_CACHING {
            assert!(hides(&[("Connection", &format!("x, {}", name.to_uppercase())), (name, "x")]), "{name}");
            assert!(!hides(&[("Connection", name)]) && !hides(&[(name, "x")]), "{name}");
        }
        assert!(!hides(&[("Connection", "x"), ("X", "1"), ("Vary", "a")]));
    }

    #[test]
    fn hop_by_hop_fields_go() {
        for name in HOP_BY_HOP {
            check(&[(&name.to_uppercase(), "x"), ("a", "1")], &["a"]);
        }
    }

    #[test]
    fn what_connection_names_goes_in_any_case_over_all_lines() {
        check(&[("A", "1"), ("b", "2"), ("c", "3"), ("Connection", "a, close"), ("connection", "B")], &["c"]);
    }

    #[test]
    fn an_option_that_is_no_token_names_nothing() {
        check(&[("a", "1"), ("connection", "\"a\", a b, ,")], &["a"]);
    }

    #[test]
    fn options_are_lower_case() {
        let fields = [("Connection", "Keep-Alive, Upgrade"), ("connection", "close")].into_iter().collect();
        assert_eq!(tokens(&fields).collect::<Vec<_>>(), ["keep-alive", "upgrade", "close"]);
    }

    proptest! {
        #[test]
        fn no_octets_panic_and_stripping_twice_changes_nothing(lines: Vec<(Vec<u8>, Vec<u8>)>, options: Vec<u8>) {
            let mut fields: Fields = lines.into_iter().collect();
            fields.push("connection", options);
            let once = end_to_end(&fields);
            prop_assert_eq!(end_to_end(&once), once);
        }
    }
}
