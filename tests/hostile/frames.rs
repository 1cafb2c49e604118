//! HTTP/2 as frames (RFC 9113), without a library that would know better.

use crate::catalogue::{self, Frame};
pub use crate::frame::*;
use crate::wire::PATIENCE;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// By their numbers (RFC 9113 §6).
const KINDS: [&str; 10] = [
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
];

/// By their numbers (RFC 9113 §7).
const ERRORS: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// A frame as it came.
#[derive(Debug)]
pub struct Came {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A connection on which HTTP/2 is spoken.
pub struct Raw {
    stream: BufReader<TcpStream>,
}

impl Raw {
    /// Connects and sends the preface and these settings.
    pub fn open(address: SocketAddr, settings: &[(u16, u32)]) -> Raw {
        let stream = TcpStream::connect(address).expect("the proxy listens");
        // Small frames are not to wait for each other.
        stream.set_nodelay(true).expect("TCP has that option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a bound can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a bound can be set");
        let mut raw = Raw { stream: BufReader::new(stream) };
        let settings: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        raw.write(&[PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat()).expect("the proxy reads");
        raw
    }

    /// Waits no longer than this for room to write.
    pub fn hurry(&self, bound: Duration) {
        self.stream.get_ref().set_write_timeout(Some(bound)).expect("a bound can be set");
    }

    /// Sends octets; an error where the proxy has closed.
    pub fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(octets)
    }

    /// The next frame; `None` where the connection has ended.
    pub fn read(&mut self) -> Option<Came> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Came { kind: head[3], flags: head[4], stream, payload })
    }

    /// Whether anything comes within `bound` that is not about the connection alone.
    pub fn speaks_within(&mut self, bound: Duration) -> bool {
        self.stream.get_ref().set_read_timeout(Some(bound)).expect("a bound can be set");
        let spoke = loop {
            match self.stream.fill_buf() {
                Ok([_, _, _, SETTINGS | PING | WINDOW_UPDATE, ..]) => drop(self.read()),
                came => break came.is_ok(),
            }
        };
        self.stream.get_ref().set_read_timeout(Some(PATIENCE)).expect("a bound can be set");
        spoke
    }

    /// What becomes of `stream`: its final status, or how it, or the connection, ends.
    pub fn outcome(&mut self, stream: u32) -> String {
        while let Some(came) = self.read() {
            match came.kind {
                HEADERS if came.stream == stream => match status(&came.payload) {
                    100..200 => {}
                    status => return status.to_string(),
                },
                RST_STREAM if came.stream == stream => return format!("RST {}", error(&came.payload)),
                GOAWAY => return format!("GOAWAY {}", error(&came.payload[4..])),
                _ => {}
            }
        }
        "closed".to_owned()
    }

    /// Whether the connection answers a PING: it lives.
    pub fn lives(&mut self) -> bool {
        if self.write(&frame(PING, 0, 0, b"are you?")).is_err() {
            return false;
        }
        while let Some(came) = self.read() {
            match came.kind {
                PING if came.flags == ACK && came.payload == b"are you?" => return true,
                GOAWAY => return false,
                _ => {}
            }
        }
        false
    }
}

/// The name of an error code.
pub fn error(code: &[u8]) -> &'static str {
    let code = u32::from_be_bytes(code[..4].try_into().expect("an error code has four octets"));
    ERRORS.get(code as usize).copied().unwrap_or("unknown")
}

/// `:status` at the beginning of a field section (RFC 7541 §6.1, §6.2): out of the static table, or a literal behind its
/// name, Huffman-coded or not. Nothing else begins one.
fn status(section: &[u8]) -> u16 {
    match *section {
        [index @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(index - 0x88)],
        [0x48 | 0x08 | 0x18, length, ref value @ ..] => {
            let (huffman, value) = (length & 0x80 != 0, &value[..usize::from(length & 0x7f)]);
            let digits = if huffman { digits(value) } else { String::from_utf8_lossy(value).into_owned() };
            digits.parse().expect("a status is a number")
        }
        _ => panic!("a response begins with its status, not {:?}", section.escape_ascii().to_string()),
    }
}

/// Three digits in Huffman's code (RFC 7541, Appendix B): 0, 1 and 2 have five bits, the others six.
fn digits(coded: &[u8]) -> String {
    let mut bits = coded.iter().flat_map(|octet| (0..8).rev().map(move |bit| (octet >> bit) & 1));
    let mut take = |count: usize, from: u8| bits.by_ref().take(count).fold(from, |n, bit| (n << 1) | bit);
    let digit = |_| match take(5, 0) {
        short @ 0..=2 => char::from(b'0' + short),
        long => char::from(b'0' + take(1, long) - 0x16),
    };
    (0..3).map(digit).collect()
}

#[test]
fn a_status_is_read_out_of_a_field_section() {
    assert_eq!(status(b"\x88\x00"), 200);
    assert_eq!(status(b"\x8c\x00"), 400);
    assert_eq!(status(b"\x48\x03431"), 431);
    // 4, 3, 1: 011010 011001 00001, and ones to the end of the octet.
    assert_eq!(status(b"\x48\x83\x69\x90\xff"), 431);
}

/// A frame of a row as octets.
pub fn written(row: &Frame) -> Vec<u8> {
    let kind = KINDS.iter().position(|kind| *kind == row.kind).unwrap_or_else(|| panic!("no frame is a {}", row.kind));
    let kind = u8::try_from(kind).expect("there are ten");
    let ending = match kind {
        HEADERS => END_STREAM | END_HEADERS,
        DATA => END_STREAM,
        _ => 0,
    };
    let fields = row.fields.iter().map(|[name, value]| (catalogue::octets(name, ""), catalogue::octets(value, "")));
    let payload = [section(fields), catalogue::octets(&row.payload, "")].concat();
    frame(kind, row.flags.unwrap_or(ending), row.stream, &payload)
}
