//! HTTP/1.1 messages as octets (RFC 9112), for both sides of the proxy. Pure: nothing here reads or writes a socket.

pub mod chunked;

use crate::field::{self, Fields};
use bytes::{BufMut, Bytes, BytesMut};

/// Status line and fields of a response, or of a 1xx.
#[derive(Clone, Debug)]
pub struct Head {
    pub status: u16,
    pub reason: Bytes,
    pub fields: Fields,
}

/// How the end of a body is told (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Empty,
    Length(u64),
    Chunked,
    /// Ends when the connection does: nobody can tell whether it is whole.
    CloseDelimited,
}

/// More header lines than this are refused whatever the configuration says: Pingora, to which streams are handed, reads
/// no more.
pub const MAX_LINES: usize = 256;

/// The lines that the parser found.
pub fn fields_of(lines: &[httparse::Header<'_>]) -> Fields {
    let octets = lines.iter().map(|line| line.name.len() + line.value.len()).sum();
    let mut fields = Fields::new().with_room(lines.len(), octets);
    lines.iter().for_each(|line| fields.push(line.name, line.value));
    fields
}

/// Whether a line of `head` ends in LF alone, or a CR stands elsewhere. A recipient MAY take these for line ends
/// (RFC 9112 §2.2): that is two readings.
pub fn has_bare_line_end(head: &[u8]) -> bool {
    head.iter().enumerate().any(|(i, octet)| match octet {
        b'\n' => i == 0 || head[i - 1] != b'\r',
        b'\r' => head.get(i + 1).is_some_and(|next| *next != b'\n'),
        _ => false,
    })
}

/// The value of Content-Length: one line of digits alone (RFC 9110 §8.6). `None` if there is no such field.
///
/// # Errors
/// Several values, even equal ones (a recipient MUST reject or repair them; rejecting has one reading), or no number.
pub fn content_length(fields: &Fields) -> Result<Option<u64>, &'static str> {
    let mut lines = fields.get_all("content-length");
    let Some(value) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err("Content-Length is there more than once");
    }
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = digits.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten();
    number.map(Some).ok_or("Content-Length is not a number")
}

/// Whether the message is chunked (RFC 9112 §6.1). `Some(false)`: it has a Transfer-Encoding that is anything other than
/// exactly `chunked`. `None`: it has none.
pub fn is_chunked(fields: &Fields) -> Option<bool> {
    let mut lines = fields.get_all("transfer-encoding");
    let first = lines.next()?;
    Some(lines.next().is_none() && first.eq_ignore_ascii_case(b"chunked"))
}

/// Whether the connection stays open after this message (RFC 9112 §9.3): `close` ends it, HTTP/1.1 keeps it, HTTP/1.0
/// keeps it only where `keep-alive` is said.
pub fn persists(fields: &Fields, http11: bool) -> bool {
    let says = |option: &str| {
        field::list(fields.get_all("connection")).any(|member| member.eq_ignore_ascii_case(option.as_bytes()))
    };
    !says("close") && (http11 || says("keep-alive"))
}

/// Appends `Name: value` and the line end.
pub fn put_line(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// Appends `octets` as one chunk; nothing for an empty slice, which would be the last chunk.
pub fn put_chunk(out: &mut BytesMut, octets: &[u8]) {
    if !octets.is_empty() {
        out.put_slice(format!("{:x}\r\n", octets.len()).as_bytes());
        out.put_slice(octets);
        out.put_slice(b"\r\n");
    }
}

/// The last chunk, without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&'static str, &'static str)]) -> Fields {
        lines.iter().copied().collect()
    }

    #[test]
    fn one_content_length_of_digits() {
        #[track_caller]
        fn check(lines: &[(&'static str, &'static str)], expected: Result<Option<u64>, &'static str>) {
            assert_eq!(content_length(&fields(lines)), expected);
        }
        let odd = Err("Content-Length is not a number");
        check(&[], Ok(None));
        check(&[("content-length", "0")], Ok(Some(0)));
        check(&[("Content-Length", "18446744073709551615")], Ok(Some(u64::MAX)));
        check(&[("Content-Length", "18446744073709551616")], odd);
        check(&[("Content-Length", "")], odd);
        check(&[("Content-Length", "+1")], odd);
        check(&[("Content-Length", "-1")], odd);
        check(&[("Content-Length", "0x1")], odd);
        check(&[("Content-Length", "1, 1")], odd);
        check(&[("Content-Length", "1"), ("content-length", "1")], Err("Content-Length is there more than once"));
    }

    #[test]
    fn exactly_chunked() {
        #[track_caller]
        fn check(lines: &[(&'static str, &'static str)], expected: Option<bool>) {
            assert_eq!(is_chunked(&fields(lines)), expected);
        }
        check(&[], None);
        check(&[("Transfer-Encoding", "chunked")], Some(true));
        check(&[("Transfer-Encoding", "CHUNKED")], Some(true));
        check(&[("Transfer-Encoding", "gzip, chunked")], Some(false));
        check(&[("Transfer-Encoding", "chunked, identity")], Some(false));
        check(&[("Transfer-Encoding", "xchunked")], Some(false));
        check(&[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")], Some(false));
    }

    #[test]
    fn persistence() {
        assert!(persists(&fields(&[]), true));
        assert!(!persists(&fields(&[]), false));
        assert!(persists(&fields(&[("Connection", "Keep-Alive")]), false));
        assert!(!persists(&fields(&[("Connection", "keep-alive, close")]), false));
        assert!(!persists(&fields(&[("Connection", "foo"), ("Connection", "CLOSE")]), true));
    }

    #[test]
    fn line_ends() {
        assert!(!has_bare_line_end(b"GET / HTTP/1.1\r\nA: b\r\n\r\n"));
        assert!(has_bare_line_end(b"GET / HTTP/1.1\nA: b\r\n\r\n"));
        assert!(has_bare_line_end(b"GET / HTTP/1.1\r\nA: b\r\n\n"));
        assert!(has_bare_line_end(b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n"));
        assert!(!has_bare_line_end(b"GET / HTTP/1.1\r"));
    }
}
