//! HTTP/1.1 messages, read whole: what a client gets, and what the origin is asked.

use bytes::{Buf, BytesMut};
use freshgate::message::chunked::{Chunked, Piece};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How the end of a body was told (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length,
    Chunked,
    Close,
}

/// A message that came whole, but for its body where `broken`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The request line or the status line.
    pub start: String,
    pub lines: Vec<(String, String)>,
    pub framing: Framing,
    pub body: Vec<u8>,
    pub broken: bool,
}

/// What is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
    /// Of a HEAD: it has no body, whatever its head says.
    ResponseToHead,
}

impl Message {
    pub fn all<'m>(&'m self, name: &'m str) -> impl Iterator<Item = &'m str> {
        self.lines.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The first line of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.lines.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The method of a request, the version of a response.
    pub fn word(&self, number: usize) -> &str {
        self.start.splitn(3, ' ').nth(number).unwrap_or_default()
    }

    pub fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or_default()
    }
}

/// The next message; `None` where no whole head comes any more.
pub async fn read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut, kind: Kind) -> Option<Message> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|end| end == b"\r\n\r\n") {
            break at;
        }
        more(stream, buffer).await?;
    };
    // Latin-1, so that octets of no encoding are compared too.
    let text: String = buffer.split_to(end + 4).iter().copied().map(char::from).collect();
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let start = lines.next().unwrap_or_default().to_owned();
    let lines: Vec<_> = lines
        .map(|line| line.split_once(':').unwrap_or((line, "")))
        .map(|(name, value)| (name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
        .collect();
    let mut message = Message { start, lines, framing: Framing::None, body: Vec::new(), broken: false };
    message.framing = framing(&message, kind);
    let whole = match message.framing {
        Framing::None => Some(Vec::new()),
        Framing::Length => {
            let length = message.field("content-length").and_then(|length| length.parse().ok())?;
            counted(stream, buffer, length).await
        }
        Framing::Chunked => chunked(stream, buffer).await,
        Framing::Close => {
            while more(stream, buffer).await.is_some() {}
            Some(buffer.split().to_vec())
        }
    };
    message.broken = whole.is_none();
    message.body = whole.unwrap_or_default();
    Some(message)
}

fn framing(message: &Message, kind: Kind) -> Framing {
    let bodiless = match kind {
        Kind::Request => false,
        Kind::Response => matches!(message.status(), 100..200 | 204 | 304),
        Kind::ResponseToHead => true,
    };
    match kind {
        _ if bodiless => Framing::None,
        _ if message.field("transfer-encoding").is_some() => Framing::Chunked,
        _ if message.field("content-length").is_some() => Framing::Length,
        Kind::Request => Framing::None,
        Kind::Response | Kind::ResponseToHead => Framing::Close,
    }
}

async fn counted(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut, length: usize) -> Option<Vec<u8>> {
    while buffer.len() < length {
        more(stream, buffer).await?;
    }
    Some(buffer.split_to(length).to_vec())
}

async fn chunked(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> Option<Vec<u8>> {
    let (mut chunks, mut body) = (Chunked::default(), Vec::new());
    loop {
        while !buffer.is_empty() {
            let (octets, data, end) = match chunks.next(buffer).ok()? {
                Piece::Framing(octets) => (octets, false, false),
                Piece::Data(octets) => (octets, true, false),
                Piece::End(octets) => (octets, false, true),
            };
            if data {
                body.extend_from_slice(&buffer[..octets]);
            }
            buffer.advance(octets);
            if end {
                return Some(body);
            }
        }
        more(stream, buffer).await?;
    }
}

/// Reads on; `None` at the end.
pub async fn more(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> Option<()> {
    (stream.read_buf(buffer).await.ok()? > 0).then_some(())
}
