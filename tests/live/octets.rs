//! P7, octet for octet: what a client and an origin say to each other through the proxy is what they would say directly.
//!
//! A corpus of exchanges, in `corpus.txt`. What the origin was sent, and what the client was sent, is held against what
//! the other side wrote: start line, name and value of every line, and the content. Only these may differ: what this hop
//! adds (`Via`, `X-Forwarded-*`, `Cache-Status`), what belongs to one connection (hop-by-hop fields, and how a chunked body
//! is cut), P7's stated exceptions (`Date` on what streams, trailers), and the order of lines whose names differ: it "is not
//! significant" (RFC 9110 §5.3).

use crate::proxy::Proxy;
use crate::wire::{PATIENCE, chunk};
use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

/// What this hop adds to a request, and to a response; `date` is on what streams.
const ADDED_TO_REQUESTS: [&str; 4] = ["via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
const ADDED_TO_RESPONSES: [&str; 2] = ["cache-status", "date"];

/// What belongs to one connection.
const HOP_BY_HOP: [&str; 3] = ["connection", "keep-alive", "x-hop"];
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

#[test]
fn what_is_said_through_the_proxy_is_what_would_be_said_directly() {
    let (url, script, heard) = origin();
    let proxy = Proxy::start(&format!("[origin]\nurl = \"{url}\"\n{ROUTES}"));
    let (mut compared, mut differing) = (0, Vec::new());
    for path in ["/passed/1", "/plain/1", "/fresh/1"] {
        for Exchange { named, request, response } in corpus(path) {
            let bodiless = request.starts_with(b"HEAD ");
            if is_rewritten(path, &request) {
                continue;
            }
            // An answer that was asked for once more, say.
            heard.try_iter().for_each(drop);
            *script.lock().expect("no holder panics") = response.clone();
            let mut client = BufReader::new(TcpStream::connect(proxy.address).expect("the proxy listens"));
            client.get_ref().set_read_timeout(Some(PATIENCE)).expect("a bound can be set");
            client.get_mut().write_all(&request).expect("the proxy reads");
            let told = Message::read(&mut client, bodiless).expect("a whole response comes");
            let asked = heard.recv_timeout(PATIENCE).expect("the origin is asked");
            let pairs = [
                (Message::of(&request, false), asked, &ADDED_TO_REQUESTS[..]),
                (Message::of(&response, bodiless), told, &ADDED_TO_RESPONSES[..]),
            ];
            compared += 1;
            for (written, came, added) in pairs {
                let framed = written.framing;
                let (mut written, came) = (written.end_to_end(added, framed), came.end_to_end(added, framed));
                if path == "/passed/1" && !written.head.start.is_ascii() {
                    // Pingora's exception: a reason phrase that is not ASCII is dropped.
                    written.head.start.truncate("HTTP/1.1 200 ".len());
                }
                if written != came {
                    differing.push(format!("{path}, {named}: was written{written:?}\nand came as{came:?}\n"));
                }
            }
        }
    }
    println!("{compared} exchanges are compared");
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
}

/// Of what may be stored a whole representation is asked for, whatever the client's conditions; and where there is `fresh`,
/// in no coding but the identity, and with a Cache-Control of the route's own (§3.2): there is nothing to compare.
fn is_rewritten(path: &str, request: &[u8]) -> bool {
    let asked = Message::of(request, false);
    match path {
        "/passed/1" => false,
        "/plain/1" => asked.has("if-none-match"),
        _ => request.starts_with(b"GET ") && asked.content.is_empty() || request.starts_with(b"HEAD "),
    }
}

const ROUTES: &str = r#"
[[route]]
name = "passed"
paths = ["/passed/{*rest}"]
mode = "pass"
[[route]]
name = "fresh"
paths = ["/fresh/{*rest}"]
fresh = "1h"
"#;

/// What it shows, what the client writes, and what the origin answers.
struct Exchange {
    named: &'static str,
    request: Vec<u8>,
    response: Vec<u8>,
}

/// The corpus, with a path of the route under test.
fn corpus(path: &str) -> Vec<Exchange> {
    let exchanges = include_str!("corpus.txt").split("\n\n# ").skip(1);
    exchanges.map(|text| Exchange::read(text, path)).collect()
}

impl Exchange {
    fn read(text: &'static str, path: &str) -> Exchange {
        let (named, lines) = text.split_once('\n').expect("a name stands above each exchange");
        let side = |mark: &str| {
            let of = |mark: &str| {
                let lines = lines.lines().filter_map(|line| line.split_once(' ').or(Some((line, ""))));
                let texts: Vec<&str> = lines.filter(|(m, _)| *m == mark).map(|(_, text)| text).collect();
                texts
            };
            let body: Vec<u8> = of(&mark.repeat(2)).iter().flat_map(|text| octets(text)).collect();
            let head = of(mark).join("\r\n") + "\r\n";
            let head = head.replace("{path}", path).replace("{length}", &body.len().to_string());
            [octets(&head), body].concat()
        };
        Exchange { named, request: side(">"), response: side("<") }
    }
}

/// The octets that a text of the corpus stands for.
fn octets(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut parts = text.split("{octets}");
    octets.extend(unescaped(parts.next().unwrap_or_default()));
    for part in parts {
        octets.extend(0..=255);
        octets.extend(unescaped(part));
    }
    octets
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'\\' => match rest.next().expect("an escape is whole") {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                _ => {
                    let digits = [rest.next(), rest.next()].map(|digit| digit.expect("an escape is whole") as char);
                    u8::from_str_radix(&String::from_iter(digits), 16).expect("two hexadecimal digits")
                }
            },
            octet => octet,
        });
    }
    octets
}

/// A message as it was on the wire, the content without its framing.
#[derive(PartialEq)]
struct Message {
    /// Heads of 1xx that came before.
    interim: Vec<Head>,
    head: Head,
    content: Vec<u8>,
    framing: Framing,
}

/// How its end is told.
#[derive(Clone, Copy, PartialEq)]
enum Framing {
    Length,
    Chunked,
    Close,
}

type Line = (Vec<u8>, Vec<u8>);

#[derive(PartialEq)]
struct Head {
    start: Vec<u8>,
    lines: Vec<Line>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Head { start, lines } in self.interim.iter().chain([&self.head]) {
            write!(f, "\n  {}", start.escape_ascii())?;
            lines.iter().try_for_each(|(n, v)| write!(f, "\n  {}: {}", n.escape_ascii(), v.escape_ascii()))?;
        }
        write!(f, "\n\n  {} octets: {:.60}", self.content.len(), self.content.escape_ascii().to_string())
    }
}

impl Head {
    fn read(from: &mut impl BufRead) -> io::Result<Option<Head>> {
        let start = line(from)?;
        if start.is_empty() {
            return Ok(None);
        }
        let mut lines = Vec::new();
        loop {
            let line = line(from)?;
            if line.is_empty() {
                return Ok(Some(Head { start, lines }));
            }
            let colon = line.iter().position(|octet| *octet == b':').ok_or(io::ErrorKind::InvalidData)?;
            lines.push((line[..colon].to_vec(), line[colon + 1..].trim_ascii().to_vec()));
        }
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        self.lines.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value.as_slice())
    }

    fn is_interim(&self) -> bool {
        self.start.starts_with(b"HTTP/1.1 1")
    }
}

fn line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    Ok(line.strip_suffix(b"\r\n").unwrap_or_default().to_vec())
}

impl Message {
    fn of(octets: &[u8], bodiless: bool) -> Message {
        Message::read(&mut Cursor::new(octets), bodiless).expect("the corpus has whole messages")
    }

    fn read(from: &mut impl BufRead, bodiless: bool) -> io::Result<Message> {
        let mut interim = Vec::new();
        let head = loop {
            let head = Head::read(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if !head.is_interim() {
                break head;
            }
            interim.push(head);
        };
        let response = head.start.starts_with(b"HTTP/1.1 ");
        let bodiless = bodiless || ["204", "304"].iter().any(|code| head.start[9..].starts_with(code.as_bytes()));
        let framing = match (head.get("transfer-encoding"), head.get("content-length")) {
            (Some(_), _) => Framing::Chunked,
            (None, None) if response && !bodiless => Framing::Close,
            _ => Framing::Length,
        };
        let mut content = Vec::new();
        match framing {
            _ if bodiless => {}
            Framing::Chunked => {
                while let Some(chunk) = chunk(from)? {
                    content.extend(chunk);
                }
            }
            Framing::Close => drop(from.read_to_end(&mut content)?),
            Framing::Length => {
                let length = std::str::from_utf8(head.get("content-length").unwrap_or(b"0")).ok();
                content.resize(length.and_then(|length| length.parse().ok()).ok_or(io::ErrorKind::InvalidData)?, 0);
                from.read_exact(&mut content)?;
            }
        }
        Ok(Message { interim, head, content, framing })
    }

    fn has(&self, name: &str) -> bool {
        self.head.get(name).is_some()
    }

    /// Without what this hop adds and what belongs to one connection. A body that was cut into chunks, or ended with its
    /// connection, may be `framed` anew; one whose length was told keeps that.
    fn end_to_end(mut self, added: &[&str], framed: Framing) -> Message {
        let framing = if framed == Framing::Length { &[][..] } else { &FRAMING };
        let goes = |name: &[u8]| {
            let named = |other: &&str| name.eq_ignore_ascii_case(other.as_bytes());
            added.iter().chain(&HOP_BY_HOP).chain(framing).any(named)
        };
        for head in self.interim.iter_mut().chain([&mut self.head]) {
            head.lines.retain(|(name, _)| !goes(name));
            // A stable sort: lines of one name keep their order.
            head.lines.sort_by_key(|(name, _)| name.to_ascii_lowercase());
        }
        Message { framing: framed, ..self }
    }
}

/// An origin that answers each request with what is written at that moment; its URL, and what it is sent.
fn origin() -> (String, Arc<Mutex<Vec<u8>>>, Receiver<Message>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (script, (hears, heard)) = (Arc::new(Mutex::new(Vec::new())), channel());
    let answers = script.clone();
    thread::spawn(move || {
        for peer in listener.incoming().map_while(Result::ok) {
            let (script, hears) = (answers.clone(), hears.clone());
            thread::spawn(move || drop(converse(peer, &script, &hears)));
        }
    });
    (url, script, heard)
}

fn converse(peer: TcpStream, script: &Mutex<Vec<u8>>, hears: &Sender<Message>) -> io::Result<()> {
    let mut reader = BufReader::new(peer);
    loop {
        let asked = Message::read(&mut reader, false)?;
        let head_only = asked.head.start.starts_with(b"HEAD ");
        let answer = script.lock().expect("no holder panics").clone();
        // The test may be over.
        let _ = hears.send(asked);
        reader.get_mut().write_all(&answer)?;
        if Message::of(&answer, head_only).framing == Framing::Close {
            return Ok(());
        }
    }
}
