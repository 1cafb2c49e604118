//! The head of an origin's response (RFC 9112 §4), read strictly: an origin whose framing could be read in two ways is
//! not believed at all.

use crate::field::Fields;
use crate::message::{self, MAX_LINES};
use crate::origin::{Framing, Head};
use bytes::{Bytes, BytesMut};

/// Heads longer than this are no longer read. More than any origin sends, and it has to have a bound.
pub const MAX_HEAD: usize = 256 * 1024;

/// A head that came complete.
#[derive(Debug)]
pub struct Received {
    pub head: Head,
    /// Whether the origin speaks HTTP/1.1.
    pub http11: bool,
}

/// Takes a head off the front of `buffer`; `None` if it has not come whole yet.
///
/// # Errors
/// What came is not HTTP, in words for the log.
pub fn take(buffer: &mut BytesMut) -> Result<Option<Received>, String> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_LINES];
    let mut response = httparse::Response::new(&mut lines);
    let (length, status, http11, reason, fields) = match response.parse(buffer) {
        Ok(httparse::Status::Partial) if buffer.len() > MAX_HEAD => return Err("a head without end".into()),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("a malformed head ({error})")),
        Ok(httparse::Status::Complete(length)) => {
            let status = response.code.expect("a complete head has a status");
            let fields = message::fields_of(response.headers);
            (length, status, response.version == Some(1), reason_of(&buffer[..length]), fields)
        }
    };
    // "Values outside the range 100..599 are invalid. Implementations often use three-digit integer values outside of that
    // range (i.e., 600..999) for internal communication of non-HTTP status" (RFC 9110 §15): passed on as they came.
    if !(100..1000).contains(&status) {
        return Err(format!("the status {status}, which is none"));
    }
    let head = buffer.split_to(length).freeze();
    if message::has_bare_line_end(&head) {
        return Err("a line that ends in LF alone".into());
    }
    Ok(Some(Received { head: Head { status, reason: head.slice(reason), fields }, http11 }))
}

/// Where the reason phrase stands in `head`: opaque octets, which the parser gives only where they are ASCII.
fn reason_of(head: &[u8]) -> std::ops::Range<usize> {
    let line = head.iter().position(|octet| *octet == b'\r').unwrap_or(head.len());
    let start = "HTTP/1.1 200 ".len().min(line);
    start..line
}

/// How the end of the body is told (RFC 9112 §6.3), for an answer to `method`.
///
/// # Errors
/// The head can be read in two ways, in words for the log.
pub fn framing(method: &str, status: u16, fields: &Fields) -> Result<Framing, String> {
    let length = message::content_length(fields)?;
    let chunked = message::is_chunked(fields);
    match (chunked, length) {
        (Some(false), _) => Err("a Transfer-Encoding other than chunked".into()),
        (Some(true), Some(_)) => Err("both Content-Length and Transfer-Encoding".into()),
        _ if method == "HEAD" || matches!(status, 204 | 304) => Ok(Framing::Empty),
        (Some(true), None) => Ok(Framing::Chunked),
        (None, Some(0)) => Ok(Framing::Empty),
        (None, Some(length)) => Ok(Framing::Length(length)),
        (None, None) => Ok(Framing::CloseDelimited),
    }
}

/// The request as octets, body included where it is short. `fields` are end-to-end; framing is added here.
pub fn request(method: &str, target: &str, fields: &Fields, body: Option<&Bytes>) -> BytesMut {
    let mut out = BytesMut::with_capacity(512);
    out.extend_from_slice(format!("{method} {target} HTTP/1.1\r\n").as_bytes());
    for (name, value) in fields.iter() {
        message::put_line(&mut out, name, value);
    }
    if let Some(body) = body {
        message::put_line(&mut out, b"Content-Length", body.len().to_string().as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(wire: &[u8]) -> Result<Option<Received>, String> {
        take(&mut BytesMut::from(wire))
    }

    #[test]
    fn a_head_is_kept_as_it_came() {
        let mut buffer =
            BytesMut::from(&b"HTTP/1.1 299 D\xc3\xa9j\xe0 vu\r\nX-oDD: \xff\x80\r\nETag: W/x\r\n\r\nbody"[..]);
        let received = take(&mut buffer).expect("a head").expect("a complete head");
        assert_eq!(received.head.status, 299);
        assert_eq!(&received.head.reason[..], b"D\xc3\xa9j\xe0 vu");
        let lines: Vec<_> = received.head.fields.iter().collect();
        assert_eq!(lines, [(&b"X-oDD"[..], &b"\xff\x80"[..]), (b"ETag", b"W/x")]);
        assert!(received.http11);
        assert_eq!(&buffer[..], b"body");
    }

    #[test]
    fn no_reason_is_none() {
        let head = taken(b"HTTP/1.0 200\r\n\r\n").expect("a head").expect("a complete head");
        assert_eq!((&head.head.reason[..], head.http11), (&b""[..], false));
        let head = taken(b"HTTP/1.1 200 \r\n\r\n").expect("a head").expect("a complete head");
        assert_eq!(&head.head.reason[..], b"");
    }

    #[test]
    fn a_status_that_http_does_not_know_is_kept() {
        for status in [100, 299, 599, 600, 999] {
            let wire = format!("HTTP/1.1 {status} Odd\r\n\r\n");
            let received = taken(wire.as_bytes()).expect("a head").expect("a complete head");
            assert_eq!(received.head.status, status);
        }
    }

    #[test]
    fn what_is_not_http() {
        for wire in [
            &b"SSH-2.0-OpenSSH\r\n\r\n"[..],
            b"HTTP/1.1 99 Low\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
            b"HTTP/1.1 200 OK\nA: b\n\n",
        ] {
            assert!(taken(wire).is_err(), "{}", wire.escape_ascii());
        }
        assert!(taken(b"HTTP/1.1 200 OK\r\nA: b\r\n").expect("no error").is_none());
        assert!(taken(&[b"HTTP/1.1 200 OK\r\nA: ", &[b'x'; MAX_HEAD][..]].concat()).is_err());
    }

    #[test]
    fn framing_has_one_reading() {
        #[track_caller]
        fn check(method: &str, status: u16, lines: &[(&'static str, &'static str)], expected: Option<Framing>) {
            assert_eq!(framing(method, status, &lines.iter().copied().collect()).ok(), expected);
        }
        let (cl, te) = ("Content-Length", "Transfer-Encoding");
        check("GET", 200, &[(cl, "5")], Some(Framing::Length(5)));
        check("GET", 200, &[(cl, "0")], Some(Framing::Empty));
        check("GET", 200, &[(te, "chunked")], Some(Framing::Chunked));
        check("GET", 200, &[], Some(Framing::CloseDelimited));
        check("HEAD", 200, &[(cl, "5")], Some(Framing::Empty));
        check("GET", 304, &[(cl, "5")], Some(Framing::Empty));
        check("GET", 204, &[], Some(Framing::Empty));
        check("GET", 200, &[(cl, "5"), (cl, "5")], None);
        check("GET", 200, &[(cl, "5"), (cl, "6")], None);
        check("GET", 200, &[(cl, "5"), (te, "chunked")], None);
        check("GET", 200, &[(te, "gzip, chunked")], None);
        check("HEAD", 200, &[(cl, "x")], None);
    }
}
