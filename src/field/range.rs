//! Range (RFC 9110 §14): the one byte range that is answered here.

use super::{Fields, decimal, list};

/// One byte range (RFC 9110 §14.1.2), not yet held against a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// First and last position, both within the range; first ≤ last.
    FromTo(u64, u64),
    /// From this position to the end.
    From(u64),
    /// So many octets at the end; never zero.
    Last(u64),
}

/// A range held against the length of the representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// Both positions are within the part; first ≤ last < length.
    Part { first: u64, last: u64 },
    /// Nothing of the representation is within the range: 416 (RFC 9110 §15.5.17).
    Unsatisfiable,
}

/// The range that is asked for, where it is exactly one, in bytes. Everything else (several ranges, another unit, an
/// empty suffix, garbage, two lines) is `None`, and so answered whole: "A server MAY ignore the Range header field".
pub fn of(fields: &Fields) -> Option<Range> {
    let mut lines = fields.get_all("range");
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let (unit, set) = line.split_at_checked(b"bytes=".len())?;
    // "All range unit names are case-insensitive" (RFC 9110 §14.1).
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let mut ranges = list([set].into_iter());
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return None };
    let dash = range.iter().position(|&b| b == b'-')?;
    match (&range[..dash], &range[dash + 1..]) {
        (b"", length) => Some(Range::Last(decimal(length)?)).filter(|range| *range != Range::Last(0)),
        (first, b"") => Some(Range::From(decimal(first)?)),
        (first, last) => {
            let (first, last) = (decimal(first)?, decimal(last)?);
            (first <= last).then_some(Range::FromTo(first, last))
        }
    }
}

impl Range {
    /// Which octets of a representation of `length` octets that is.
    pub fn resolve(self, length: u64) -> Resolved {
        let Some(end) = length.checked_sub(1) else { return Resolved::Unsatisfiable };
        let (first, last) = match self {
            Range::FromTo(first, last) => (first, last.min(end)),
            Range::From(first) => (first, end),
            // "If the selected representation is shorter than the specified suffix-length, the entire representation
            // is used."
            Range::Last(count) => (length.saturating_sub(count), end),
        };
        if first <= end { Resolved::Part { first, last } } else { Resolved::Unsatisfiable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(line: &str, expected: Option<Range>) {
        assert_eq!(of(&[("Range", line.to_string())].into_iter().collect()), expected, "{line}");
    }

    #[test]
    fn one_byte_range_is_read() {
        check("bytes=0-1", Some(Range::FromTo(0, 1)));
        check("bytes=5-5", Some(Range::FromTo(5, 5)));
        check("bytes=1-", Some(Range::From(1)));
        check("bytes=-1", Some(Range::Last(1)));
        check("BYTES=0-1", Some(Range::FromTo(0, 1)));
        check("bytes= 0-1 ,", Some(Range::FromTo(0, 1)));
        check("bytes=0-18446744073709551616", Some(Range::FromTo(0, u64::MAX)));
        check("bytes=99999999999999999999-", Some(Range::From(u64::MAX)));
    }

    #[test]
    fn anything_else_is_answered_whole() {
        for line in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=-0",
            "bytes=1-0",
            "bytes=0-1,3-4",
            "bytes=0-,0-",
            "bytes=a-b",
            "bytes=0-1-2",
            "bytes=--1",
            "bytes=0 - 1",
            "bytes=+0-1",
            "bytes =0-1",
            "rows=0-1",
            "0-1",
            "bytes=0x0-1",
        ] {
            check(line, None);
        }
        assert_eq!(of(&Fields::new()), None);
        assert_eq!(of(&[("range", "bytes=0-1"), ("range", "bytes=0-1")].into_iter().collect()), None);
    }

    #[track_caller]
    fn check_resolved(range: Range, length: u64, part: Option<(u64, u64)>) {
        let expected = part.map_or(Resolved::Unsatisfiable, |(first, last)| Resolved::Part { first, last });
        assert_eq!(range.resolve(length), expected, "{range:?} of {length}");
    }

    #[test]
    fn a_range_is_cut_to_the_length() {
        check_resolved(Range::FromTo(0, 1), 10, Some((0, 1)));
        check_resolved(Range::FromTo(8, 99), 10, Some((8, 9)));
        check_resolved(Range::FromTo(9, 9), 10, Some((9, 9)));
        check_resolved(Range::From(9), 10, Some((9, 9)));
        check_resolved(Range::Last(3), 10, Some((7, 9)));
        check_resolved(Range::Last(99), 10, Some((0, 9)));
    }

    #[test]
    fn a_range_beyond_the_end_is_unsatisfiable() {
        check_resolved(Range::FromTo(10, 11), 10, None);
        check_resolved(Range::From(10), 10, None);
        check_resolved(Range::From(0), 0, None);
        check_resolved(Range::Last(1), 0, None);
    }

    proptest! {
        #[test]
        fn no_octets_panic_and_a_part_lies_within_the_length(set: Vec<u8>, length: u64) {
            let line = [b"bytes=", set.as_slice()].concat();
            if let Some(range) = of(&[("range", line)].into_iter().collect())
                && let Resolved::Part { first, last } = range.resolve(length)
            {
                prop_assert!(first <= last && last < length);
            }
        }

        #[test]
        fn positions_that_exist_are_the_part(first in 0..1000_u64, more in 0..1000_u64, rest in 1..1000_u64) {
            let last = first + more;
            check(&format!("bytes={first}-{last}"), Some(Range::FromTo(first, last)));
            check_resolved(Range::FromTo(first, last), last + rest, Some((first, last)));
        }
    }
}
