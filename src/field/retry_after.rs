//! Retry-After (RFC 9110 §10.2.3).

use super::Fields;
use super::date::HttpDate;
use std::time::Duration;

/// How long a response asks to be left alone: "The value of this field can be either an HTTP-date or a number of seconds
/// to delay". A date that has passed asks for nothing; neither does what is in no such form, or stands there twice.
pub fn wait(fields: &Fields, now: HttpDate) -> Option<Duration> {
    let mut lines = fields.get_all("retry-after");
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let text = str::from_utf8(line).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More than 64 bits hold is for ever.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let HttpDate(until) = HttpDate::parse(text.as_bytes(), now)?;
    Some(Duration::from_secs(u64::try_from(until.saturating_sub(now.0)).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT
    const NOW: HttpDate = HttpDate(784_111_777);

    #[track_caller]
    fn check(lines: &[&str], seconds: Option<u64>) {
        let mut fields = Fields::new();
        lines.iter().for_each(|line| fields.push("Retry-After", line));
        assert_eq!(wait(&fields, NOW), seconds.map(Duration::from_secs), "{lines:?}");
    }

    #[test]
    fn seconds() {
        check(&["120"], Some(120));
        check(&[" 0 "], Some(0));
        check(&["99999999999999999999999"], Some(u64::MAX));
    }

    #[test]
    fn a_date_in_any_of_its_forms() {
        check(&["Sun, 06 Nov 1994 08:50:07 GMT"], Some(30));
        check(&["Sunday, 06-Nov-94 08:50:07 GMT"], Some(30));
        check(&["Sun Nov  6 08:50:07 1994"], Some(30));
        check(&["Sun, 06 Nov 1994 08:49:36 GMT"], Some(0));
    }

    #[test]
    fn everything_else_asks_for_nothing() {
        for lines in [&[][..], &[""], &["soon"], &["-1"], &["+1"], &["1.5"], &["30", "60"]] {
            check(lines, None);
        }
    }

    proptest! {
        #[test]
        fn seconds_and_dates_are_read_back(seconds: u64, ahead in 0..HttpDate::LAST - NOW.0) {
            check(&[&seconds.to_string()], Some(seconds));
            check(&[&HttpDate(NOW.0 + ahead).to_string()], Some(ahead.cast_unsigned()));
        }
    }
}
