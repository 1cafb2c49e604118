//! Header fields as values (RFC 9110 §5). Parsing never fails: what cannot be read counts as not there.
//!
//! [`Fields`] keeps a section as it arrived, opaque octets and letter case included; a file per field turns its lines
//! into a value.

pub mod age;
pub mod cache_control;
pub mod connection;
pub mod date;
pub mod entity_tag;
pub mod range;
pub mod vary;

use bytes::Bytes;

/// One header section: lines in the order they came, names in the case they came, values as opaque octets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    lines: Vec<(Bytes, Bytes)>,
}

impl Fields {
    /// An empty section.
    pub fn new() -> Self {
        Fields::default()
    }

    /// Appends a line.
    pub fn push(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.lines.push((name.into(), value.into()));
    }

    /// Replaces every line of `name` by one; it stands where the first of them stood, else last.
    pub fn set(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (name, value) = (name.into(), value.into());
        match self.lines.iter().position(|(n, _)| n.eq_ignore_ascii_case(&name)) {
            Some(first) => {
                let mut index = 0;
                self.lines.retain(|(n, _)| {
                    index += 1;
                    index - 1 == first || !n.eq_ignore_ascii_case(&name)
                });
                self.lines[first] = (name, value);
            }
            None => self.lines.push((name, value)),
        }
    }

    /// Takes out every line of `name`; says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.lines.len();
        self.lines.retain(|(n, _)| !n.eq_ignore_ascii_case(name.as_bytes()));
        self.lines.len() != before
    }

    /// Keeps the lines that `keep` approves.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        self.lines.retain(|(n, v)| keep(n, v));
    }

    /// The value of the first line of `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.lines.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v.as_ref())
    }

    /// The values of all lines of `name`, in order.
    pub fn get_all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f [u8]> + 'f {
        self.lines.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v.as_ref())
    }

    /// Whether a line of `name` is there.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Every line, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|(n, v)| (n.as_ref(), v.as_ref()))
    }

    /// Every line, in order, as shared octets.
    pub fn lines(&self) -> &[(Bytes, Bytes)] {
        &self.lines
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

impl<N: Into<Bytes>, V: Into<Bytes>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        Fields { lines: lines.into_iter().map(|(n, v)| (n.into(), v.into())).collect() }
    }
}

/// The members of a comma-separated list (RFC 9110 §5.6.1) over all lines, without surrounding white space; empty
/// members are skipped, commas inside quoted strings do not separate.
pub fn list<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    lines.flat_map(|line| Members { rest: line })
}

struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let (mut quoted, mut escaped) = (false, false);
            let end = self.rest.iter().position(|&b| {
                let separates = b == b',' && !quoted;
                match b {
                    _ if escaped => escaped = false,
                    b'\\' if quoted => escaped = true,
                    b'"' => quoted = !quoted,
                    _ => {}
                }
                separates
            });
            let (member, rest) = match end {
                Some(at) => (&self.rest[..at], &self.rest[at + 1..]),
                None => (self.rest, &self.rest[self.rest.len()..]),
            };
            self.rest = rest;
            let member = member.trim_ascii();
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    }
}
