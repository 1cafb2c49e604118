//! Age (RFC 9111 §5.1): how long ago the origin generated or validated a response, as the sender reckons it.

use super::{Fields, delta_seconds, list};
use std::time::Duration;

/// The age that was sent, at most 2^31 seconds; `None` where there is none or it cannot be read.
///
/// "… a cache encountering a message with a list-based Age field value SHOULD use the first member of the field value,
/// discarding subsequent ones. If the field value … is invalid (e.g., it contains something other than a non-negative
/// integer), a cache SHOULD ignore the field."
pub fn of(fields: &Fields) -> Option<Duration> {
    delta_seconds(list(fields.get_all("age")).next()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(lines: &[&str], seconds: Option<u64>) {
        let fields = lines.iter().map(|line| ("Age", line.to_string())).collect();
        assert_eq!(of(&fields), seconds.map(Duration::from_secs), "{lines:?}");
    }

    #[test]
    fn digits_are_seconds() {
        check(&["0"], Some(0));
        check(&["7200"], Some(7200));
        check(&["007200"], Some(7200));
    }

    #[test]
    fn the_first_of_several_counts() {
        check(&["7200, 0"], Some(7200));
        check(&["0, 7200"], Some(0));
        check(&["7200", "0"], Some(7200));
        check(&["0", "7200"], Some(0));
    }

    #[test]
    fn an_invalid_first_one_makes_the_field_ignored() {
        for invalid in ["", "abc", "-7200", "7200.0", "7200;foo=1", "\"7200\"", "72 00", "abc, 7200"] {
            check(&[invalid], None);
        }
        check(&[], None);
    }

    #[test]
    fn an_age_too_large_to_hold_is_very_old_not_invalid() {
        check(&["2147483648"], Some(1 << 31));
        check(&["2147483649"], Some(1 << 31));
        check(&["100000000000000000000"], Some(1 << 31));
    }

    proptest! {
        #[test]
        fn no_octets_panic_and_no_age_exceeds_the_bound(line: Vec<u8>) {
            let fields = [("age", line)].into_iter().collect();
            prop_assert!(of(&fields).is_none_or(|age| age.as_secs() <= 1 << 31));
        }

        #[test]
        fn every_age_below_the_bound_is_read_back(seconds in 0..=1_u64 << 31) {
            check(&[&seconds.to_string()], Some(seconds));
        }
    }
}
