//! HTTP-date (RFC 9110 §5.6.7).

use super::Fields;
use jiff::SignedDuration;
use jiff::civil::{Date, DateTime};
use std::fmt;

/// Whole seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpDate(pub i64);

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

impl HttpDate {
    /// The first and last second that four digits of a year can tell.
    pub(crate) const FIRST: i64 = -62_167_219_200;
    pub(crate) const LAST: i64 = 253_402_300_799;

    /// Reads any of the three forms, in any letter case; every other deviation from the grammar is `None`. The name of
    /// the day must be one, but need not be that day's.
    ///
    /// `now` decides the century of a two-digit year: "Recipients of a timestamp value in rfc850-date format … MUST
    /// interpret a timestamp that appears to be more than 50 years in the future as representing the most recent year
    /// in the past that had the same last two digits."
    pub fn parse(text: &[u8], now: HttpDate) -> Option<HttpDate> {
        let text = str::from_utf8(text).ok()?;
        match text.split_once(", ") {
            Some((day, rest)) if day.len() == 3 && is_weekday(day) => imf_fixdate(rest),
            Some((day, rest)) if WEEKDAYS.iter().any(|name| name.eq_ignore_ascii_case(day)) => rfc850_date(rest, now),
            Some(_) => None,
            None => asctime_date(text),
        }
    }

    /// The date in the only line of `name`; `None` where there is none, it cannot be read, or there are several lines:
    /// then nobody knows which one was meant.
    pub fn of(fields: &Fields, name: &str, now: HttpDate) -> Option<HttpDate> {
        let mut lines = fields.get_all(name);
        match (lines.next(), lines.next()) {
            (Some(line), None) => HttpDate::parse(line, now),
            _ => None,
        }
    }
}

/// `06 Nov 1994 08:49:37 GMT`, which follows `Sun, `.
fn imf_fixdate(text: &str) -> Option<HttpDate> {
    let [day, month, year, time, zone] = parts(text, ' ')?;
    gmt(zone)?;
    instant(digits::<4>(year)?, month, digits::<2>(day)?, time)
}

/// `06-Nov-94 08:49:37 GMT`, which follows `Sunday, `.
fn rfc850_date(text: &str, now: HttpDate) -> Option<HttpDate> {
    const FIFTY_YEARS: i64 = 50 * 31_556_952;
    let [date, time, zone] = parts(text, ' ')?;
    let [day, month, year] = parts(date, '-')?;
    gmt(zone)?;
    let (day, year) = (digits::<2>(day)?, digits::<2>(year)?);
    let horizon = HttpDate(now.0.saturating_add(FIFTY_YEARS));
    let last_year = civil(horizon).year();
    let year = last_year - (last_year - year).rem_euclid(100);
    instant(year, month, day, time).filter(|date| *date <= horizon).or_else(|| instant(year - 100, month, day, time))
}

/// `Sun Nov  6 08:49:37 1994`.
fn asctime_date(text: &str) -> Option<HttpDate> {
    if text.len() != "Sun Nov  6 08:49:37 1994".len() || !text.is_ascii() {
        return None;
    }
    let (head, rest) = text.split_at("Sun Nov ".len());
    let (day, rest) = rest.split_at(2);
    let [weekday, month, ""] = parts(head, ' ')? else { return None };
    let ["", time, year] = parts(rest, ' ')? else { return None };
    let day = match day.strip_prefix(' ') {
        Some(day) => digits::<1>(day)?,
        None => digits::<2>(day)?,
    };
    is_weekday(weekday).then(|| instant(digits::<4>(year)?, month, day, time))?
}

/// Exactly `N` parts between separators.
fn parts<const N: usize>(text: &str, separator: char) -> Option<[&str; N]> {
    let mut parts = text.split(separator);
    let mut found = [""; N];
    for slot in &mut found {
        *slot = parts.next()?;
    }
    parts.next().is_none().then_some(found)
}

/// Exactly `N` digits, at most four.
fn digits<const N: usize>(text: &str) -> Option<i16> {
    (text.len() == N && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn is_weekday(name: &str) -> bool {
    WEEKDAYS.iter().any(|day| day[..3].eq_ignore_ascii_case(name))
}

fn gmt(zone: &str) -> Option<()> {
    zone.eq_ignore_ascii_case("GMT").then_some(())
}

/// The second that a calendar date and a `08:49:37` name, if both exist.
fn instant(year: i16, month: &str, day: i16, time: &str) -> Option<HttpDate> {
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? + 1;
    let date = Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    let [hour, minute, second] = parts(time, ':')?;
    let (hour, minute, second) = (digits::<2>(hour)?, digits::<2>(minute)?, digits::<2>(second)?);
    // 60 is a leap second (RFC 9110 §5.6.7): it counts as the first second of the next minute.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    let seconds = date.duration_since(EPOCH.date()).as_secs() + seconds;
    // The last leap second, and what a clock of another millennium makes of two digits, have no year of four.
    (HttpDate::FIRST..=HttpDate::LAST).contains(&seconds).then_some(HttpDate(seconds))
}

/// Every number of two digits. A date is on each hit, and formatting its parts took longer than finding them.
const DIGITS: &str = "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849\
                      5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

fn two(number: impl Into<i64>) -> &'static str {
    let at = usize::try_from(number.into()).map_or(0, |number| 2 * (number % 100));
    &DIGITS[at..at + 2]
}

/// The calendar's name for an instant, in UTC, held within the years 0 to 9999.
fn civil(HttpDate(seconds): HttpDate) -> DateTime {
    let seconds = seconds.clamp(HttpDate::FIRST, HttpDate::LAST);
    EPOCH.checked_add(SignedDuration::from_secs(seconds)).expect("the calendar holds all years from 0 to 9999")
}

impl fmt::Display for HttpDate {
    /// IMF-fixdate, the only form that is sent (RFC 9110 §5.6.7); what lies outside the years 0 to 9999 is shown as
    /// the nearest second within them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = civil(*self);
        let weekday = &WEEKDAYS[usize::from(at.weekday().to_monday_zero_offset().unsigned_abs())][..3];
        let month = MONTHS[usize::from(at.month().unsigned_abs()) - 1];
        let (day, [hour, minute, second]) = (two(at.day()), [at.hour(), at.minute(), at.second()].map(two));
        let [century, year] = [at.year() / 100, at.year() % 100].map(two);
        for part in [weekday, ", ", day, " ", month, " ", century, year, " ", hour, ":", minute, ":", second, " GMT"] {
            f.write_str(part)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT
    const EXAMPLE: i64 = 784_111_777;
    /// Thu, 01 Jan 2026 00:00:00 GMT
    const NOW: HttpDate = HttpDate(1_767_225_600);

    #[track_caller]
    fn check(text: &str, seconds: impl Into<Option<i64>>) {
        assert_eq!(HttpDate::parse(text.as_bytes(), NOW), seconds.into().map(HttpDate), "{text}");
    }

    #[test]
    fn the_three_forms_are_read() {
        check("Sun, 06 Nov 1994 08:49:37 GMT", EXAMPLE);
        check("Sunday, 06-Nov-94 08:49:37 GMT", EXAMPLE);
        check("Sun Nov  6 08:49:37 1994", EXAMPLE);
        check("Sun Nov 06 08:49:37 1994", EXAMPLE);
    }

    #[test]
    fn letter_case_and_the_right_day_do_not_matter() {
        check("sun, 06 nov 1994 08:49:37 gmt", EXAMPLE);
        check("SUNDAY, 06-NOV-94 08:49:37 GMT", EXAMPLE);
        check("Mon, 06 Nov 1994 08:49:37 GMT", EXAMPLE);
    }

    #[test]
    fn far_dates_and_leap_seconds_exist() {
        check("Thu, 01 Jan 1970 00:00:00 GMT", 0);
        check("Fri, 31 Dec 9999 23:59:59 GMT", HttpDate::LAST);
        check("Sat, 01 Jan 0000 00:00:00 GMT", HttpDate::FIRST);
        check("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800);
        check("Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_800);
    }

    #[test]
    fn two_digit_years_reach_fifty_years_ahead() {
        check("Thursday, 18-Aug-50 02:01:18 GMT", 2_544_400_878);
        check("Wednesday, 01-Jan-76 00:00:00 GMT", 3_345_062_400);
        check("Thursday, 02-Jan-76 00:00:00 GMT", 189_388_800);
        check("Friday, 01-Jan-77 00:00:00 GMT", 220_924_800);
        check("Saturday, 01-Jan-00 00:00:00 GMT", 946_684_800);
    }

    #[test]
    fn two_digit_years_follow_the_clock() {
        let in_2080 = HttpDate(3_471_292_800);
        let read = |text: &str| HttpDate::parse(text.as_bytes(), in_2080).unwrap().to_string();
        assert_eq!(read("Friday, 01-Jan-77 00:00:00 GMT"), "Fri, 01 Jan 2077 00:00:00 GMT");
        assert_eq!(read("Friday, 01-Jan-10 00:00:00 GMT"), "Wed, 01 Jan 2110 00:00:00 GMT");
    }

    #[test]
    fn everything_else_is_no_date() {
        for text in [
            "",
            "0",
            "-1",
            "784111777",
            "1994-11-06T08:49:37Z",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 AEST",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun,06 Nov 1994 08:49:37 GMT",
            "Sun, 06  Nov  1994 08:49:37 GMT",
            "Sun,  06 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 30 Feb 1994 08:49:37 GMT",
            "Sun, 29 Feb 2023 08:49:37 GMT",
            "Fri, 31 Dec 9999 23:59:60 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Xyz, 06 Nov 1994 08:49:37 GMT",
            " Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Sun Nov 6  08:49:37 1994",
            "Xyz Nov  6 08:49:37 1994",
            "Sún Nov  6 8:49:37 1994",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn only_a_single_line_is_a_date() {
        let line = ("Expires", "Sun, 06 Nov 1994 08:49:37 GMT");
        let of =
            |lines: &[(&'static str, &'static str)]| HttpDate::of(&lines.iter().copied().collect(), "expires", NOW);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[line]), Some(HttpDate(EXAMPLE)));
        assert_eq!(of(&[line, line]), None);
    }

    #[test]
    fn what_four_digits_cannot_tell_is_shown_as_the_nearest() {
        assert_eq!(HttpDate(i64::MAX).to_string(), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(HttpDate(i64::MIN).to_string(), "Sat, 01 Jan 0000 00:00:00 GMT");
    }

    #[test]
    fn every_day_of_eight_thousand_years_is_read_back() {
        for day in 0..=HttpDate::LAST / 86_400 {
            let date = HttpDate(day * 86_400 + day * 7_919 % 86_400);
            assert_eq!(HttpDate::parse(date.to_string().as_bytes(), NOW), Some(date));
        }
    }

    /// The three forms of a second, as another library writes them.
    fn three_forms(HttpDate(seconds): HttpDate) -> [String; 3] {
        let at = jiff::Timestamp::from_second(seconds).expect("it has four digits of a year");
        ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
            .map(|form| at.strftime(form).to_string())
    }

    /// Without the name of the day, which need not be that day's, and with the day of asctime in both its spellings alike.
    fn compared(text: &str) -> String {
        let text = text.to_ascii_lowercase();
        let rest = text.split_once(' ').map_or("", |(_, rest)| rest);
        let (month, day) = rest.split_at_checked(4).unwrap_or((rest, ""));
        format!(
            "{month}{}",
            if text.contains(',') { day.into() } else { day.replacen('0', " ", usize::from(day.starts_with('0'))) }
        )
    }

    proptest! {
        #[test]
        fn each_form_of_a_second_is_read(seconds in 0..=HttpDate::LAST) {
            let [fixdate, rfc850, asctime] = three_forms(HttpDate(seconds));
            check(&fixdate, seconds);
            check(&asctime, seconds);
            // Two digits of a year tell the year where the clock is near.
            let near = HttpDate(seconds);
            prop_assert_eq!(HttpDate::parse(rfc850.as_bytes(), near), Some(near), "{}", rfc850);
        }

        #[test]
        fn what_is_read_is_one_of_the_three_forms_of_what_was_read(
            seconds in 0..=HttpDate::LAST, form in 0..3_usize, at: proptest::sample::Index, cut in 0..3_usize,
            put in "[ -~]{0,2}",
        ) {
            let mut text = three_forms(HttpDate(seconds))[form].clone();
            let at = at.index(text.len());
            text.replace_range(at..(at + cut).min(text.len()), &put);
            let now = HttpDate(seconds);
            if let Some(read) = HttpDate::parse(text.as_bytes(), now).filter(|_| !text.contains(":60")) {
                let forms = three_forms(read).map(|form| compared(&form));
                prop_assert!(forms.contains(&compared(&text)), "{:?} was read as {}", text, read);
            }
        }

        #[test]
        fn no_octets_panic(text: Vec<u8>, now: i64) {
            HttpDate::parse(&text, HttpDate(now));
        }

        #[test]
        fn nearly_dates_do_not_panic(
            text in "(Sun|Sunday),? ?[0-9a-z]{1,2}[ -](Feb|Nov)[ -][0-9]{2,4} [0-9:.]{5,9} GMT", now: i64,
        ) {
            HttpDate::parse(text.as_bytes(), HttpDate(now));
        }

        #[test]
        fn what_is_printed_is_read_back(seconds in HttpDate::FIRST..=HttpDate::LAST) {
            check(&HttpDate(seconds).to_string(), seconds);
        }

        #[test]
        fn a_two_digit_year_is_never_more_than_fifty_years_ahead_nor_older_than_a_century(
            now in 0..4_102_444_800_i64, year in 0..100, day in 1..=28,
        ) {
            let text = format!("Sunday, {day:02}-Feb-{year:02} 08:49:37 GMT");
            let read = HttpDate::parse(text.as_bytes(), HttpDate(now)).expect("a valid date").0;
            let year = 31_556_952;
            prop_assert!(read <= now + 50 * year && read > now - 51 * year);
        }
    }
}
