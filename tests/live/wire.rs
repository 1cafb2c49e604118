//! HTTP/1.1 as octets: what a test sends is what it wrote, what it sees is what came.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The bound of every wait on a socket: long for a busy machine, short for a person.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A start line and its fields, as they came.
#[derive(Clone)]
pub struct Head {
    pub start: String,
    pub lines: Vec<(String, Vec<u8>)>,
}

/// As a person reads it, for failed tests.
impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n  {}", self.start)?;
        self.lines.iter().try_for_each(|(name, value)| write!(f, "\n  {name}: {}", value.escape_ascii()))
    }
}

impl Head {
    /// Reads up to the empty line; `None` where the peer closed before the first octet.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Head>> {
        let Some(start) = line(from)? else { return Ok(None) };
        let mut lines = Vec::new();
        loop {
            let line = line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if line.is_empty() {
                return Ok(Some(Head { start: String::from_utf8_lossy(&start).into_owned(), lines }));
            }
            let colon = line.iter().position(|b| *b == b':').ok_or(io::ErrorKind::InvalidData)?;
            let name = String::from_utf8_lossy(&line[..colon]).into_owned();
            lines.push((name, line[colon + 1..].trim_ascii().to_vec()));
        }
    }

    /// The first line of a field, as octets.
    pub fn octets(&self, name: &str) -> Option<&[u8]> {
        self.lines.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }

    /// The first line of a field, where it is text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.octets(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All lines of a field, in order.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        let lines = self.lines.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        lines.filter_map(|(_, value)| std::str::from_utf8(value).ok()).collect()
    }

    /// The body that this head announces; `until_close` says what a head that announces none means.
    pub fn body(&self, from: &mut impl BufRead, until_close: bool) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if self.field("transfer-encoding").is_some() {
            while let Some(chunk) = chunk(from)? {
                body.extend(chunk);
            }
        } else if let Some(length) = self.field("content-length") {
            let length = length.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            body.resize(length, 0);
            from.read_exact(&mut body)?;
        } else if until_close {
            from.read_to_end(&mut body)?;
        }
        Ok(body)
    }
}

/// One chunk of a chunked body; `None` at its end, whose trailers are skipped.
pub fn chunk(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let size = line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    // Behind the size an extension may stand (RFC 9112 §7.1.1).
    let size = size.split(|octet| *octet == b';').next().and_then(|size| std::str::from_utf8(size).ok());
    let size = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
    let mut content = vec![0; size.ok_or(io::ErrorKind::InvalidData)?];
    from.read_exact(&mut content)?;
    let end = content.is_empty();
    while !line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?.is_empty() {
        assert!(end, "a chunk is followed by an empty line");
    }
    Ok((!end).then_some(content))
}

/// One line without its CRLF; `None` at a clean end.
fn line(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    match line.as_slice() {
        [] => Ok(None),
        [line @ .., b'\r', b'\n'] => Ok(Some(line.to_vec())),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A whole response.
#[derive(Clone)]
pub struct Response {
    pub head: Head,
    pub body: Vec<u8>,
}

/// As a person reads it, for failed tests.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}\n\n  {}", self.head, self.body.escape_ascii())
    }
}

impl Response {
    pub fn status(&self) -> u16 {
        status(&self.head)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the test sends text")
    }

    /// A field that must be there.
    #[track_caller]
    pub fn field(&self, name: &str) -> &str {
        self.head.field(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.head))
    }

    pub fn etag(&self) -> &str {
        self.field("etag")
    }

    pub fn cache_status(&self) -> &str {
        self.field("cache-status")
    }
}

/// The status of a response's head.
pub fn status(head: &Head) -> u16 {
    head.start.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status: {head:?}"))
}

/// A client's connection.
pub struct Connection {
    pub reader: BufReader<TcpStream>,
    head_only: bool,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Connection {
        Connection::of(TcpStream::connect(address).expect("the proxy listens"))
    }

    pub fn of(stream: TcpStream) -> Connection {
        stream.set_read_timeout(Some(PATIENCE)).expect("a bound can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a bound can be set");
        Connection { reader: BufReader::new(stream), head_only: false }
    }

    /// Sends octets as they are.
    pub fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.head_only = octets.as_ref().starts_with(b"HEAD ");
        self.reader.get_mut().write_all(octets.as_ref()).expect("the proxy reads");
    }

    /// Sends one request; `line` is method and target, each of `fields` a line.
    pub fn ask(&mut self, line: &str, fields: &[&str], body: &str) {
        self.send(request(line, fields, body));
    }

    /// The next head, 1xx included.
    #[track_caller]
    pub fn head(&mut self) -> Head {
        Head::read(&mut self.reader).expect("a head comes").expect("the connection is open")
    }

    /// The next final response; an error where it does not come whole.
    pub fn try_response(&mut self) -> io::Result<Response> {
        loop {
            let head = Head::read(&mut self.reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let code = status(&head);
            if code >= 200 {
                let bodiless = self.head_only || code == 204 || code == 304;
                let body = if bodiless { Vec::new() } else { head.body(&mut self.reader, true)? };
                return Ok(Response { head, body });
            }
        }
    }

    /// The next final response, whole.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.try_response().expect("a whole response comes")
    }

    /// Exactly `count` octets.
    #[track_caller]
    pub fn octets(&mut self, count: usize) -> Vec<u8> {
        let mut octets = vec![0; count];
        self.reader.read_exact(&mut octets).expect("the octets come");
        octets
    }

    /// Whether the peer has closed; waits until it has, or sends.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.reader.read(&mut [0]), Ok(0))
    }
}

/// A request in octets, with a Host where `fields` have none, and with Content-Length where it has a body.
pub fn request(line: &str, fields: &[&str], body: &str) -> String {
    let mut text = format!("{line} HTTP/1.1\r\n");
    if !fields.iter().any(|field| field.starts_with("Host:")) {
        text.push_str("Host: shop.test\r\n");
    }
    for field in fields {
        text.push_str(&format!("{field}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text + "\r\n" + body
}
