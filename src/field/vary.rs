//! Vary (RFC 9110 §12.5.5): which request fields the response was chosen by.

use super::{Fields, is_token, list};

/// What selects among the responses of one URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// "A list containing the member `*` signals that other aspects of the request might have played a role": no later
    /// request matches. A member that is no field name says as much, since nobody can tell what it stands for.
    Any,
    /// Field names, in lower case, sorted, each once; empty where the response does not vary.
    Names(Vec<String>),
}

impl Vary {
    /// Reads all Vary lines.
    pub fn of(fields: &Fields) -> Self {
        let mut names = Vec::new();
        for member in list(fields.get_all("vary")) {
            if member == b"*" || !is_token(member) {
                return Vary::Any;
            }
            names.push(String::from_utf8_lossy(member).to_ascii_lowercase());
        }
        names.sort_unstable();
        names.dedup();
        Vary::Names(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(lines: &[&str], expected: &[&str]) {
        let fields = lines.iter().map(|line| ("Vary", line.to_string())).collect();
        let names = expected.iter().map(|name| name.to_string()).collect();
        let expected = if expected == ["*"] { Vary::Any } else { Vary::Names(names) };
        assert_eq!(Vary::of(&fields), expected, "{lines:?}");
    }

    #[test]
    fn names_are_lower_case_sorted_and_each_there_once() {
        check(&[], &[]);
        check(&[""], &[]);
        check(&["Foo"], &["foo"]);
        check(&["foo, Bar", "BAR,  abc ,"], &["abc", "bar", "foo"]);
    }

    #[test]
    fn a_star_anywhere_is_any() {
        for lines in [
            &["*"][..],
            &["*, *"],
            &["*", "*"],
            &["", "*"],
            &[", *"],
            &["*, foo"],
            &["foo, *"],
            &["foo", "*"],
            &[",*,"],
        ] {
            check(lines, &["*"]);
        }
    }

    #[test]
    fn what_is_no_field_name_is_any() {
        for line in ["foo bar", "\"foo\"", "foo;q=1", "\"a, foo", "é"] {
            check(&[line], &["*"]);
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic_and_names_do_not_depend_on_order(mut lines: Vec<Vec<u8>>) {
            let of = |lines: &[Vec<u8>]| Vary::of(&lines.iter().map(|line| ("vary", line.clone())).collect());
            let forwards = of(&lines);
            lines.reverse();
            prop_assert_eq!(of(&lines), forwards);
        }

        #[test]
        fn names_are_read_back(names in proptest::collection::btree_set("[a-z][a-z0-9-]{0,9}", 0..9)) {
            let names: Vec<String> = names.into_iter().collect();
            let fields = [("vary", names.join(", "))].into_iter().collect();
            prop_assert_eq!(Vary::of(&fields), Vary::Names(names));
        }
    }
}
