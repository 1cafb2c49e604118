//! Header fields as values (RFC 9110 §5). Parsing never fails: what cannot be read counts as not there.
//!
//! [`Fields`] keeps a section as it arrived, opaque octets and letter case included; a file per field turns its lines
//! into a value.

pub mod accept_encoding;
pub mod age;
pub mod cache_control;
pub mod connection;
pub mod date;
pub mod entity_tag;
#[cfg(test)]
pub(crate) mod hostile;
pub mod max_forwards;
pub mod opaque;
pub mod range;
pub mod retry_after;
pub mod targeted;
pub mod vary;

use std::fmt;
use std::io::Write as _;
use std::time::Duration;

/// One header section: lines in the order they came, names in the case they came, values as opaque octets.
///
/// All octets lie in one piece of memory, with the places of the lines beside it: to copy a section, and to add a line to
/// it, takes no allocation for each line, and a stored one takes little more than its octets.
#[derive(Clone, Default)]
pub struct Fields {
    text: Vec<u8>,
    lines: Vec<Line>,
}

/// Where a line lies: the value right behind the name.
#[derive(Clone, Copy)]
struct Line {
    start: u32,
    name: u32,
    value: u32,
}

/// A section takes no more octets than this: whoever reads one off a connection refuses longer ones.
pub const MAX_SECTION: usize = 1 << 30;

impl Fields {
    /// An empty section.
    pub fn new() -> Self {
        Fields::default()
    }

    /// The same section, with room for so many more lines of so many octets.
    #[must_use]
    pub fn with_room(&self, lines: usize, octets: usize) -> Self {
        let mut copy = Fields {
            text: Vec::with_capacity(self.text.len() + octets),
            lines: Vec::with_capacity(self.lines.len() + lines),
        };
        copy.text.extend_from_slice(&self.text);
        copy.lines.extend_from_slice(&self.lines);
        copy
    }

    /// Appends a line.
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.push_with(name, |text| text.extend_from_slice(value.as_ref()));
    }

    /// Appends a line with a value as it is shown.
    pub fn push_shown(&mut self, name: impl AsRef<[u8]>, value: impl fmt::Display) {
        self.push_with(name, |text| write!(text, "{value}").expect("memory takes what is written"));
    }

    /// Appends a line whose value `value` appends.
    pub fn push_with(&mut self, name: impl AsRef<[u8]>, value: impl FnOnce(&mut Vec<u8>)) {
        let line = self.written(name.as_ref(), value);
        self.lines.push(line);
    }

    fn written(&mut self, name: &[u8], value: impl FnOnce(&mut Vec<u8>)) -> Line {
        let place = |octets: usize| u32::try_from(octets).expect("sections are far shorter than 4 GiB");
        let start = self.text.len();
        self.text.extend_from_slice(name);
        let middle = self.text.len();
        value(&mut self.text);
        Line { start: place(start), name: place(name.len()), value: place(self.text.len() - middle) }
    }

    fn line(&self, line: &Line) -> (&[u8], &[u8]) {
        let [start, name, value] = [line.start, line.name, line.value].map(|place| place as usize);
        self.text[start..start + name + value].split_at(name)
    }

    /// Replaces every line of `name` by one; it stands where the first of them stood, else last.
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = name.as_ref();
        let first = self.iter().position(|(other, _)| other.eq_ignore_ascii_case(name));
        let line = self.written(name, |text| text.extend_from_slice(value.as_ref()));
        match first {
            Some(first) => {
                let mut index = 0;
                self.retain(|other, _| {
                    index += 1;
                    index - 1 == first || !other.eq_ignore_ascii_case(name)
                });
                self.lines[first] = line;
            }
            None => self.lines.push(line),
        }
    }

    /// Takes out every line of `name`; says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.lines.len();
        self.retain(|other, _| !other.eq_ignore_ascii_case(name.as_bytes()));
        self.lines.len() != before
    }

    /// Keeps the lines that `keep` approves.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.retain(|line| {
            let (name, value) = self.line(line);
            keep(name, value)
        });
        self.lines = lines;
    }

    /// The value of the first line of `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The values of all lines of `name`, in order.
    pub fn get_all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f [u8]> + 'f {
        self.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The values of all lines that may be read as `name` ([`is_alike`]), in order.
    pub fn get_alike<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f [u8]> + 'f {
        self.iter().filter(move |(other, _)| is_alike(other, name)).map(|(_, value)| value)
    }

    /// Whether a line of `name` is there.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Every line, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| self.line(line))
    }

    /// The same lines in memory of just their size.
    #[must_use]
    pub fn compact(&self) -> Fields {
        let octets = self.iter().map(|(name, value)| name.len() + value.len()).sum();
        let mut compact = Fields::new().with_room(self.len(), octets);
        self.iter().for_each(|(name, value)| compact.push(name, value));
        compact
    }

    /// How many octets the lines, names and values, take in memory, and how many their places do.
    pub fn size(&self) -> [usize; 2] {
        [self.text.capacity(), self.lines.capacity() * size_of::<Line>()]
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl PartialEq for Fields {
    /// What was taken out may still lie between the lines, and counts for nothing.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |part: &[u8]| part.escape_ascii().to_string();
        f.debug_list().entries(self.iter().map(|(name, value)| (text(name), text(value)))).finish()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        let mut fields = Fields::new();
        lines.into_iter().for_each(|(name, value)| fields.push(name, value));
        fields
    }
}

/// Whether some origins read `name` as `known`: gateways after CGI turn each hyphen of a name into `_` (RFC 3875 §4.1.18),
/// and take `X_Forwarded_Host` for `X-Forwarded-Host`. Whatever a field decides, it decides in that spelling too.
pub fn is_alike(name: &[u8], known: &str) -> bool {
    let folded = |octet: &u8| if *octet == b'_' { b'-' } else { octet.to_ascii_lowercase() };
    name.len() == known.len() && name.iter().map(folded).eq(known.as_bytes().iter().map(folded))
}

/// The members of a comma-separated list (RFC 9110 §5.6.1) over all lines, without surrounding white space; empty
/// members are skipped, commas inside quoted strings do not separate.
pub fn list<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    members(lines).filter(|member| !member.is_empty())
}

/// The same of a field of which nobody knows that it is a list: what stands empty between commas counts.
pub fn members<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    lines.flat_map(|line| Members { rest: Some(line) })
}

/// The most seconds that a delta-seconds stands for.
const GREATEST: u64 = 1 << 31;

/// delta-seconds (RFC 9111 §1.2.2): digits and nothing else. "If a cache receives a delta-seconds value greater than the
/// greatest integer it can represent, or if any of its subsequent calculations overflows, the cache MUST consider the
/// value to be 2147483648".
fn delta_seconds(text: &[u8]) -> Option<Duration> {
    Some(Duration::from_secs(decimal(text)?.min(GREATEST)))
}

/// 1*DIGIT; what no `u64` can hold counts as the greatest one.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |n: u64, digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

/// token (RFC 9110 §5.6.2): what a field name, a directive or an option may be.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

struct Members<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = rest.iter().position(|&b| {
            let separates = b == b',' && !quoted;
            match b {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ => {}
            }
            separates
        });
        self.rest = end.map(|at| &rest[at + 1..]);
        Some(rest[..end.unwrap_or(rest.len())].trim_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[track_caller]
    fn check_list(lines: &[&str], members: &[&str]) {
        let found: Vec<_> = list(lines.iter().map(|l| l.as_bytes())).map(|m| str::from_utf8(m).unwrap()).collect();
        assert_eq!(found, members);
    }

    #[test]
    fn sections_are_equal_line_by_line() {
        let of = |lines: &[(&'static str, &'static str)]| lines.iter().copied().collect::<Fields>();
        let section = of(&[("A", "1"), ("B", "2")]);
        assert_eq!(section, of(&[("A", "1"), ("B", "2")]));
        for other in
            [&[("A", "1")][..], &[("B", "2"), ("A", "1")], &[("a", "1"), ("B", "2")], &[("A", "1"), ("B", "3")]]
        {
            assert_ne!(section, of(other));
        }
    }

    #[test]
    fn a_name_is_read_as_cgi_reads_it() {
        for name in ["x-api-key", "X-Api-Key", "X_API_KEY", "x_api-key"] {
            assert!(is_alike(name.as_bytes(), "x-api-key") && is_alike(name.as_bytes(), "x_api_key"), "{name}");
        }
        for name in ["x-api-keys", "x.api.key", "xapikey", ""] {
            assert!(!is_alike(name.as_bytes(), "x-api-key"), "{name}");
        }
    }

    #[test]
    fn a_list_runs_over_all_lines_and_skips_empty_members() {
        check_list(&[], &[]);
        check_list(&["", " , ,"], &[]);
        check_list(&["a"], &["a"]);
        check_list(&["a,b", " c ,\td"], &["a", "b", "c", "d"]);
    }

    #[test]
    fn of_what_need_be_no_list_empty_members_count() {
        let of = |line: &'static str| members([line.as_bytes()].into_iter()).collect::<Vec<_>>();
        assert_eq!(of(""), [b""]);
        assert_eq!(of("a, "), [&b"a"[..], b""]);
        assert_eq!(of(",a,,\",\""), [&b""[..], b"a", b"", b"\",\""]);
    }

    #[test]
    fn a_comma_inside_a_quoted_string_does_not_separate() {
        check_list(&[r#"a="1,2",b"#], &[r#"a="1,2""#, "b"]);
        check_list(&[r#"a="1\",2",b"#], &[r#"a="1\",2""#, "b"]);
        check_list(&[r#"a\,b"#], &[r"a\", "b"]);
        check_list(&[r#"a\",b"#], &[r#"a\",b"#]);
    }

    #[track_caller]
    fn check_delta(text: &str, seconds: Option<u64>) {
        assert_eq!(delta_seconds(text.as_bytes()), seconds.map(Duration::from_secs), "{text}");
    }

    #[test]
    fn delta_seconds_are_digits_and_stop_at_2_to_the_31() {
        check_delta("0", Some(0));
        check_delta("0060", Some(60));
        check_delta("2147483647", Some((1 << 31) - 1));
        check_delta("2147483649", Some(1 << 31));
        check_delta("99999999999999999999999", Some(1 << 31));
        for text in ["", "-1", "+1", "1.5", "1 ", "1e3", "a"] {
            check_delta(text, None);
        }
    }

    #[test]
    fn setting_a_field_replaces_all_its_lines_where_the_first_stood() {
        let mut fields: Fields = [("A", "1"), ("b", "2"), ("a", "3")].into_iter().collect();
        fields.set("a", "4");
        assert_eq!(fields, [("a", "4"), ("b", "2")].into_iter().collect());
        fields.set("C", "5");
        assert_eq!(fields.get("c"), Some(&b"5"[..]));
    }

    proptest! {
        #[test]
        fn a_list_never_panics_and_its_members_are_neither_empty_nor_padded(line: Vec<u8>) {
            for member in list([line.as_slice()].into_iter()) {
                prop_assert!(!member.is_empty());
                prop_assert_eq!(member, member.trim_ascii());
            }
        }

        #[test]
        fn members_are_read_back_however_they_stand_in_lines(
            members in vec("[!#-+.-~é]*[a-z]|\"([ -!#-\\[\\]-~]|\\\\[ -~])*\"", 0..8),
            ends: u8, between in "[ \t,]{0,3},[ \t]?",
        ) {
            let (first, second) = members.split_at(usize::from(ends) % (members.len() + 1));
            let lines = [first.join(&between), second.join(&between)];
            let found: Vec<_> = list(lines.iter().map(String::as_bytes)).collect();
            prop_assert_eq!(found, members.iter().map(String::as_bytes).collect::<Vec<_>>());
        }
    }
}
