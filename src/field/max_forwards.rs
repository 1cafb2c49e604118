//! Max-Forwards (RFC 9110 §7.6.2): how often a request may still be forwarded.

use super::{Fields, decimal};

/// The number, if it is one and there is no other line; what is greater than any number held here counts as the greatest.
pub fn of(fields: &Fields) -> Option<u64> {
    let mut lines = fields.get_all("max-forwards");
    match (lines.next(), lines.next()) {
        (Some(line), None) => decimal(line.trim_ascii()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], expected: Option<u64>) {
        assert_eq!(of(&lines.iter().map(|line| ("Max-Forwards", line.to_string())).collect()), expected, "{lines:?}");
    }

    #[test]
    fn a_number_is_read() {
        check(&["0"], Some(0));
        check(&[" 007 "], Some(7));
        check(&["99999999999999999999"], Some(u64::MAX));
    }

    #[test]
    fn what_is_no_number_or_more_than_one_says_nothing() {
        check(&[], None);
        check(&["1", "1"], None);
        for odd in ["", "-1", "+1", "1.0", "1, 1", "x"] {
            check(&[odd], None);
        }
    }
}
