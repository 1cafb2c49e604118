//! Targeted Cache-Control fields (RFC 9213): what a response asks of this cache and of caches of its kind, apart from what
//! it asks of all others.

use super::Fields;
use sfv::{BareItem, Dictionary, ListEntry, Parser};

/// "A target list is an ordered list of the targeted field names that it uses for caching policy, with the order
/// reflecting priority from most applicable to least" (RFC 9213 §2.2).
pub const TARGETS: [&str; 2] = ["freshgate-cache-control", "cdn-cache-control"];

/// The directives of the first targeted field that says anything: "the cache MUST select the first (in target-list order)
/// field with a valid, non-empty value" (RFC 9213 §2.2).
pub fn of(fields: &Fields) -> Option<Dictionary> {
    TARGETS.iter().find_map(|name| dictionary(fields, name))
}

/// "If a targeted field in a given response is empty, or a parsing error is encountered, that field MUST be ignored by the
/// cache" (RFC 9213 §2.1). Its lines are one value: "parsers MUST combine all field lines in the same section … that
/// case-insensitively match the field name into one comma-separated field-value" (RFC 8941 §4.2).
fn dictionary(fields: &Fields, name: &str) -> Option<Dictionary> {
    let mut lines = fields.get_all(name);
    let first = lines.next()?;
    let whole = lines.fold(first.to_vec(), |whole, line| [&whole, &b", "[..], line].concat());
    Parser::parse_dictionary(&whole).ok().filter(|directives| !directives.is_empty())
}

/// What a directive has after its name. "Parameters received on cache directives are to be ignored" (RFC 9213 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Boolean true: there is none.
    None,
    /// A String, as of field names.
    Text,
    Integer(i64),
    /// What no directive takes.
    Odd,
}

impl Argument {
    /// The argument of a member of the dictionary.
    pub fn of(member: &ListEntry) -> Self {
        let ListEntry::Item(item) = member else { return Argument::Odd };
        match &item.bare_item {
            BareItem::Boolean(true) => Argument::None,
            BareItem::String(_) => Argument::Text,
            BareItem::Integer(number) => Argument::Integer(*number),
            BareItem::Boolean(false) | BareItem::Decimal(_) | BareItem::Token(_) | BareItem::ByteSeq(_) => {
                Argument::Odd
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(lines: &[(&str, &str)]) -> Option<Vec<String>> {
        let fields = lines.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        of(&fields).map(|directives| directives.keys().cloned().collect())
    }

    #[track_caller]
    fn check(lines: &[(&str, &str)], expected: Option<&[&str]>) {
        let expected = expected.map(|names| names.iter().map(|name| name.to_string()).collect());
        assert_eq!(names(lines), expected, "{lines:?}");
    }

    #[test]
    fn the_field_for_this_cache_outranks_the_one_for_its_kind() {
        let (ours, cdns) = (("Freshgate-Cache-Control", "max-age=1"), ("CDN-Cache-Control", "no-store"));
        check(&[cdns, ours], Some(&["max-age"]));
        check(&[cdns], Some(&["no-store"]));
        check(&[("Other-Cache-Control", "no-store"), ("Cache-Control", "no-store")], None);
    }

    #[test]
    fn a_field_that_is_empty_or_no_dictionary_is_not_there() {
        for odd in ["", " ", "max-age=60,", "max-age = 60", "Max-Age=60", "max-age='60'", "é", ","] {
            check(&[("CDN-Cache-Control", odd)], None);
            check(&[("Freshgate-Cache-Control", odd), ("CDN-Cache-Control", "private")], Some(&["private"]));
        }
    }

    #[test]
    fn lines_are_one_value() {
        let line = |value| ("CDN-Cache-Control", value);
        check(&[line("max-age=60"), line("private")], Some(&["max-age", "private"]));
        check(&[line("max-age=60"), line("priv ate")], None);
        check(&[line("max-age=60"), line("")], None);
    }

    #[test]
    fn arguments_are_what_their_type_is() {
        for (text, expected) in [
            ("a", Argument::None),
            ("a;b=1", Argument::None),
            ("a=?1", Argument::None),
            ("a=\"b, c\"", Argument::Text),
            ("a=60", Argument::Integer(60)),
            ("a=60;b", Argument::Integer(60)),
            ("a=-1", Argument::Integer(-1)),
            ("a=?0", Argument::Odd),
            ("a=1.5", Argument::Odd),
            ("a=b", Argument::Odd),
            ("a=(60)", Argument::Odd),
            ("a=:YQ==:", Argument::Odd),
        ] {
            let parsed = Parser::parse_dictionary(text.as_bytes()).expect("a valid dictionary");
            assert_eq!(Argument::of(&parsed["a"]), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(ours: Vec<u8>, cdns: Vec<u8>, text in "[a-c0-9=\"?:;, ()*.-]{0,40}") {
            for line in [ours, text.into_bytes()] {
                of(&[("freshgate-cache-control", line), ("cdn-cache-control", cdns.clone())].into_iter().collect());
            }
        }
    }
}
