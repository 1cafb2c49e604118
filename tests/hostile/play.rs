//! Plays rows: sends what they send, and sees what comes of it.

use crate::catalogue::{Listener, Row, Section, Step, octets};
use crate::configurations;
use crate::frames::{Raw, written};
use crate::origin::{FINE, Talker};
use crate::proxy::Proxy;
use crate::scripted::Request;
use crate::wire::{Connection, Head, status};
use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr};

/// What was seen of a row.
#[derive(Debug, Default)]
pub struct Outcome {
    pub answer: String,
    pub origin: String,
}

/// A program for each configuration that rows ask for, with an origin of its own.
#[derive(Default)]
pub struct Stage {
    running: HashMap<String, (Proxy, Talker)>,
}

/// What came back of one step.
struct Seen {
    answer: String,
    /// The head and body of the last response over HTTP/1.1.
    last: Option<(Head, Vec<u8>)>,
}

impl Stage {
    /// Plays a row.
    ///
    /// # Errors
    /// What came out otherwise, in words.
    pub fn play(&mut self, row: &Row, usual: &str) -> Result<Outcome, String> {
        if row.file.is_some() {
            return configurations::check(row);
        }
        if row.steps.is_empty() {
            let answer = row.answer.clone().ok_or("a row without steps says how it is answered")?;
            return Ok(Outcome { answer, origin: String::new() });
        }
        let config = row.config.as_deref().unwrap_or(usual);
        let (proxy, talker) = self.running.entry(config.to_owned()).or_insert_with(|| {
            let talker = Talker::default();
            (Proxy::start(&format!("origin.url = \"{}\"\n{config}", talker.origin.url)), talker)
        });
        let (mut answers, mut reached, mut etag) = (Vec::new(), Vec::new(), String::new());
        for (number, step) in row.steps.iter().enumerate() {
            let at = |why: String| format!("step {}: {why}", number + 1);
            let origin = step_on(proxy, talker, step, &mut etag).map_err(at)?;
            answers.push(step.answer.clone());
            reached.push(origin);
        }
        Ok(Outcome { answer: row.answer.clone().unwrap_or_else(|| in_short(&answers)), origin: told(&reached) })
    }
}

/// Plays each alternative of a step; tells which request lines reached the origin.
fn step_on(proxy: &Proxy, talker: &Talker, step: &Step, etag: &mut String) -> Result<Vec<String>, String> {
    let address = match step.to {
        Listener::Public => proxy.address,
        Listener::Admin => proxy.admin,
    };
    let mut reached = Vec::new();
    for text in step.send.all().iter().map(Some).chain((!step.frames.is_empty()).then_some(None)) {
        talker.say(step.serves.all().iter().map(|answer| octets(answer, "")).collect(), step.then);
        let seen = match text {
            Some(text) => exchanged(address, step, &octets(text, etag)),
            None => over_http2(address, step),
        };
        fine(proxy)?;
        let sent = || text.map_or_else(|| format!("{:?}", step.frames), |text| text.escape_debug().to_string());
        let asked = talker.asked();
        compare(step, &seen, &asked).map_err(|why| format!("{why}\n  of what was sent: {}", sent()))?;
        reached = asked.iter().map(|request| request.line().to_owned()).collect();
        if let Some(tag) = seen.last.as_ref().and_then(|(head, _)| head.field("etag")) {
            *etag = tag.to_owned();
        }
    }
    Ok(reached)
}

fn exchanged(address: SocketAddr, step: &Step, sent: &[u8]) -> Seen {
    let mut connection = Connection::open(address);
    // The proxy may refuse before it has read everything.
    drop(std::io::Write::write_all(connection.reader.get_mut(), sent));
    if step.ends {
        // It may have closed already.
        drop(connection.reader.get_ref().shutdown(Shutdown::Write));
    }
    let expected = step.answer.split(", ").filter(|word| word.starts_with(|c: char| c.is_ascii_digit())).count();
    let (mut words, mut last) = (Vec::new(), None);
    while words.len() < expected {
        let Ok(Some(head)) = Head::read(&mut connection.reader) else { break };
        let code = status(&head);
        let bodiless = sent.starts_with(b"HEAD ") || code < 200 || code == 204 || code == 304;
        let body = if bodiless { Ok(Vec::new()) } else { head.body(&mut connection.reader, true) };
        let Ok(body) = body else {
            words.push(format!("{code} broken"));
            break;
        };
        words.push(code.to_string());
        last = Some((head, body));
    }
    let open = step.answer.ends_with(", open");
    words.push(if open { still_open(&mut connection, step.to) } else { ended(&mut connection) });
    Seen { answer: words.join(", "), last }
}

/// Whether the connection takes another request, and answers that one.
fn still_open(connection: &mut Connection, to: Listener) -> String {
    let (target, host) = match to {
        Listener::Public => (FINE, "shop.test"),
        Listener::Admin => ("/healthz", "localhost"),
    };
    let probe = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    if std::io::Write::write_all(connection.reader.get_mut(), probe.as_bytes()).is_err() {
        return "closed".into();
    }
    match connection.try_response() {
        Ok(answer) if answer.status() == 200 => "open".into(),
        Ok(answer) => format!("and then {}", answer.status()),
        Err(_) => "closed".into(),
    }
}

fn ended(connection: &mut Connection) -> String {
    let mut rest = Vec::new();
    match std::io::Read::read_to_end(&mut connection.reader, &mut rest) {
        Ok(0) => "closed".into(),
        // RST: it was closed before everything had been read.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset && rest.is_empty() => "closed".into(),
        Ok(_) => format!("and then {:?}", rest.escape_ascii().to_string()),
        Err(error) => format!("and then {error}"),
    }
}

fn over_http2(address: SocketAddr, step: &Step) -> Seen {
    let mut raw = Raw::open(address, &[]);
    for frame in &step.frames {
        // What comes behind the end of the connection is of no interest.
        drop(raw.write(&written(frame)));
    }
    Seen { answer: raw.outcome(1), last: None }
}

/// The next request on a new connection is answered as ever.
fn fine(proxy: &Proxy) -> Result<(), String> {
    let answer = proxy.get(FINE);
    match (answer.status(), answer.text().contains(FINE)) {
        (200, true) => Ok(()),
        _ => Err(format!("the next request is not fine: {answer:?}")),
    }
}

/// Holds what was seen to what the step says.
fn compare(step: &Step, seen: &Seen, asked: &[Request]) -> Result<(), String> {
    if seen.answer != step.answer {
        return Err(format!("it is answered {:?}, not {:?}: {:?}", seen.answer, step.answer, seen.last));
    }
    let lines: Vec<&str> = asked.iter().map(Request::line).collect();
    if lines != step.origin {
        return Err(format!("the origin saw {lines:?}, not {:?}", step.origin));
    }
    if let Some(request) = asked.last() {
        has(&request.head, &step.origin_fields, &step.origin_lacks)
            .map_err(|why| format!("the origin's request {why}"))?;
    }
    let Some((head, body)) = &seen.last else { return Ok(()) };
    has(head, &step.holds, &step.lacks).map_err(|why| format!("the response {why}"))?;
    match &step.body {
        Some(part) if !body.windows(part.len().max(1)).any(|window| window == part.as_bytes()) => {
            Err(format!("{part:?} is not in {}", body.escape_ascii()))
        }
        _ => Ok(()),
    }
}

/// Whether a head has lines that begin so, and not those fields.
fn has(head: &Head, lines: &[String], names: &[String]) -> Result<(), String> {
    let there: Vec<String> = head
        .lines
        .iter()
        .map(|(name, value)| format!("{}: {}", name.to_ascii_lowercase(), String::from_utf8_lossy(value)))
        .collect();
    for line in lines {
        if !there.iter().any(|there| there.starts_with(line.as_str())) {
            return Err(format!("has no {line:?}: {head:?}"));
        }
    }
    match names.iter().find(|name| head.octets(name).is_some()) {
        Some(name) => Err(format!("has {name}: {head:?}")),
        None => Ok(()),
    }
}

/// The answers of all steps, each that repeats the one before it left out.
fn in_short(answers: &[String]) -> String {
    let mut short: Vec<&str> = answers.iter().map(String::as_str).collect();
    short.dedup();
    short.join("; then ")
}

/// What reached the origin, step by step.
fn told(reached: &[Vec<String>]) -> String {
    let lines: Vec<String> = reached.iter().flatten().map(|line| format!("`{line}`")).collect();
    if lines.is_empty() { "nothing".into() } else { lines.join(", ") }
}

#[test]
fn a_row_that_says_otherwise_is_noticed() {
    let row = |step: &str| {
        let text = format!("title = \"\"\nabout = \"\"\n[[row]]\nid = \"A1\"\ninput = \"\"\nstep = [{step}]");
        toml::from_str::<Section>(&text).expect("a section").rows.remove(0)
    };
    let mut stage = Stage::default();
    let get = r#"send = "GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n""#;
    let mut noticed = |step: String| stage.play(&row(&format!("{{ {get}, {step} }}")), "").expect_err(&step);
    let origin = r#"origin = ["GET /a"]"#;
    assert!(noticed(format!("answer = \"400, open\", {origin}")).contains("it is answered \"200, open\""));
    assert!(noticed("answer = \"200, open\"".into()).contains("the origin saw [\"GET /a\"], not []"));
    assert!(noticed(format!("answer = \"200, open\", {origin}, holds = [\"x: y\"]")).contains("has no \"x: y\""));
    assert!(noticed(format!("answer = \"200, open\", {origin}, origin_lacks = [\"via\"]")).contains("has via"));
    assert!(noticed(format!("answer = \"200, open\", {origin}, body = \"never\"")).contains("\"never\" is not in"));
}
