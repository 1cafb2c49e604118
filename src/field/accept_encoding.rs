//! Accept-Encoding (RFC 9110 §12.5.3): which content codings a client takes, and how gladly.

use super::{Fields, list};

/// What a client says of a content coding, in thousandths (§12.4.2); 0 is "not acceptable". `None` where it says nothing
/// of it, by `*` neither. A member whose weight cannot be read is not there.
pub fn weight(fields: &Fields, coding: &str) -> Option<u16> {
    let mut any = None;
    for member in list(fields.get_all("accept-encoding")) {
        let (name, parameters) = match member.iter().position(|b| *b == b';') {
            Some(at) => (member[..at].trim_ascii_end(), Some(member[at + 1..].trim_ascii_start())),
            None => (member, None),
        };
        let Some(weight) = parameters.map_or(Some(1000), qvalue) else { continue };
        if is(name, coding) {
            return Some(weight);
        }
        if name == b"*" && any.is_none() {
            any = Some(weight);
        }
    }
    any
}

/// "A recipient SHOULD consider "x-gzip" to be equivalent to "gzip"" (§8.4.1.3).
fn is(name: &[u8], coding: &str) -> bool {
    let plain = name.strip_prefix(b"x-").filter(|rest| rest.eq_ignore_ascii_case(b"gzip")).unwrap_or(name);
    plain.eq_ignore_ascii_case(coding.as_bytes())
}

/// `q=` and `( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`
fn qvalue(parameters: &[u8]) -> Option<u16> {
    let text = parameters.strip_prefix(b"q=").or_else(|| parameters.strip_prefix(b"Q="))?;
    let (whole, rest) = text.split_first()?;
    let decimals = if rest.is_empty() { rest } else { rest.strip_prefix(b".")? };
    if decimals.len() > 3 || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let thousandths = (0..3).fold(0, |sum, at| sum * 10 + u16::from(decimals.get(at).map_or(0, |digit| digit - b'0')));
    match (whole, thousandths) {
        (b'0', _) => Some(thousandths),
        (b'1', 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(lines: &[&str], expected: [Option<u16>; 3]) {
        let fields: Fields = lines.iter().map(|line| ("Accept-Encoding", line.to_string())).collect();
        assert_eq!(["gzip", "br", "identity"].map(|coding| weight(&fields, coding)), expected, "{lines:?}");
    }

    #[test]
    fn weights() {
        check(&[], [None, None, None]);
        check(&[""], [None, None, None]);
        check(&["gzip, deflate, br"], [Some(1000), Some(1000), None]);
        check(&["GZip;q=0.5", "br ; q=0"], [Some(500), Some(0), None]);
        check(&["x-gzip"], [Some(1000), None, None]);
        check(&["*;q=0.1, br;Q=1.000"], [Some(100), Some(1000), Some(100)]);
        check(&["identity;q=0, *"], [Some(1000), Some(1000), Some(0)]);
        check(&["gzip;q=0.123, gzip"], [Some(123), None, None]);
    }

    #[test]
    fn what_cannot_be_read_is_not_there() {
        for weight in ["q=2", "q=1.1", "q=0.1234", "q=", "q=.5", "q=-1", "q=0.5x", "r=1", "q = 1", "q=1 "] {
            let line = format!("gzip;{weight}");
            let fields: Fields = [("accept-encoding", line)].into_iter().collect();
            let expected = (weight == "q=1 ").then_some(1000);
            assert_eq!(super::weight(&fields, "gzip"), expected, "{weight}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_a_weight_or_nothing(line: Vec<u8>) {
            let fields: Fields = [("Accept-Encoding", line)].into_iter().collect();
            prop_assert!(weight(&fields, "br").is_none_or(|weight| weight <= 1000));
        }
    }
}
