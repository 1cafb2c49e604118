//! Durations and sizes as they are written: `"30s"`, `"256MiB"`.

use std::time::Duration;

/// The longest duration that can be written: a year. Nothing here is meant to last longer, and sums of two never
/// overflow.
pub const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The largest size that can be written: 16 TiB.
pub const LARGEST: u64 = 16 << 40;

const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 24 * 3600 * 1000), ("h", 3600 * 1000), ("m", 60 * 1000), ("s", 1000), ("ms", 1)];

const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1000),
    ("B", 1),
];

/// Reads a duration: a whole number and one of `ms`, `s`, `m`, `h`, `d`; at most 365 days.
///
/// # Errors
/// What to write instead.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text).ok_or("write a whole number and a unit, such as \"30s\", \"5m\" or \"250ms\"")?;
    let (_, ms) = DURATION_UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or("the units are ms, s, m, h and d, as in \"30s\", \"5m\" or \"250ms\"")?;
    let total = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*ms)).map(Duration::from_millis);
    total.filter(|d| *d <= LONGEST).ok_or_else(|| "the longest duration is \"365d\"".to_owned())
}

/// Reads a size in bytes: a whole number and one of `B`, `KiB`, `MiB`, `GiB`, `KB`, `MB`, `GB`, or plain `0`; at most
/// 16 TiB.
///
/// # Errors
/// What to write instead.
pub fn size(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    let (number, unit) = split(text).ok_or("write a whole number and a unit, such as \"256MiB\" or \"0\"")?;
    let (_, bytes) = SIZE_UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or("the units are B, KiB, MiB, GiB, KB, MB and GB, as in \"256MiB\"")?;
    let total = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*bytes));
    total.filter(|n| *n <= LARGEST).ok_or_else(|| "the largest size is \"16384GiB\"".to_owned())
}

/// Writes a duration so that [`duration`] reads it back, in the largest unit that is exact.
pub fn show_duration(d: Duration) -> String {
    let ms = d.as_millis();
    let exact = DURATION_UNITS.iter().find(|(_, unit)| ms > 0 && ms.is_multiple_of(u128::from(*unit)));
    exact.map_or_else(|| "0s".to_owned(), |(name, unit)| format!("{}{name}", ms / u128::from(*unit)))
}

/// Writes a size so that [`size`] reads it back, in the largest unit that is exact.
pub fn show_size(bytes: u64) -> String {
    let exact = SIZE_UNITS.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    exact.map_or_else(|| "0".to_owned(), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// `30s` → (`30`, `s`); `None` unless there are digits, and something after them.
fn split(text: &str) -> Option<(&str, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0 && digits < text.len()).then(|| text.split_at(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_whole_number_and_a_unit() {
        for (text, ms) in
            [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000), ("2d", 172_800_000), ("0s", 0)]
        {
            let read = duration(text).expect(text);
            assert_eq!(read, Duration::from_millis(ms), "{text}");
            assert_eq!(show_duration(read), text);
        }
        assert_eq!(show_duration(Duration::from_secs(90)), "90s");
        for text in ["", "30", "s", "-5s", "1.5h", "30 s", "30S", "1w", "366d", "99999999999999999999s", "٣s"] {
            assert!(duration(text).is_err(), "{text:?} was read");
        }
    }

    #[test]
    fn sizes_are_a_whole_number_and_a_unit_or_zero() {
        for (text, bytes) in [("0", 0), ("1KiB", 1024), ("4MiB", 4 << 20), ("10MB", 10_000_000), ("100B", 100)] {
            let read = size(text).expect(text);
            assert_eq!(read, bytes, "{text}");
            assert_eq!(show_size(read), text);
        }
        for text in
            ["", "4096", "-1B", "1mib", "1.5MiB", "17000GiB", "99999999999999999999B", "18446744073709551615GiB"]
        {
            assert!(size(text).is_err(), "{text:?} was read");
        }
    }
}
