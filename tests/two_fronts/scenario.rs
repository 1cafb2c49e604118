//! How a scenario is written: see `scenarios.toml`.

use serde::Deserialize;
use std::fmt;
use std::time::Duration;

const SCENARIOS: &str = include_str!("scenarios.toml");

/// Steps that follow each other on one store, and on one connection for as long as it is kept.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub title: String,
    /// How long the origin may be silent.
    pub response_timeout: String,
    pub steps: Vec<Step>,
}

/// One thing that both fronts are made to do.
#[derive(Clone, Debug)]
pub struct Step {
    /// How much later than the step before: a second at least, so that no URL gets a date later than that because it shares
    /// its place in `store::first_seen` with another, which is left to chance.
    pub after: Duration,
    /// What the operator purges first: a path, or `*`.
    pub purge: Option<String>,
    pub soft: bool,
    /// More than one: the client does not wait for answers in between.
    pub requests: Vec<Asked>,
    /// The status of each answer of the lane.
    pub status: Vec<u16>,
    /// The status of Pingora's answer, where it is another, which then is all that is compared.
    pub pingora: Option<u16>,
}

impl Default for Step {
    fn default() -> Self {
        let (after, requests, status) = (Duration::from_secs(1), Vec::new(), Vec::new());
        Step { after, purge: None, soft: false, requests, status, pingora: None }
    }
}

/// A request. In it `$etag` and `$modified` stand for the validators that were seen last, `$name` for the proxy's own in
/// `Via`, `$long` for more than `server.limits.uri`, and `$many` for more lines than `server.limits.header_count`.
#[derive(Clone, Debug)]
pub enum Asked {
    Well {
        line: String,
        http10: bool,
        lines: Vec<String>,
        body: Body,
    },
    /// Octets as they are.
    Raw(Octets),
}

#[derive(Clone)]
pub struct Octets(pub Vec<u8>);

#[derive(Clone)]
pub enum Body {
    None,
    Length(Vec<u8>),
    /// In chunks of so many octets.
    Chunked(Vec<u8>, usize),
}

#[derive(Deserialize)]
struct File {
    scenario: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    title: String,
    /// Said only so that it can be read.
    #[serde(default, rename = "why")]
    _why: String,
    #[serde(default = "patient")]
    response_timeout: String,
    steps: Vec<WrittenStep>,
}

fn patient() -> String {
    "15s".into()
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenStep {
    /// Seconds.
    after: Option<u64>,
    purge: Option<String>,
    soft: bool,
    ask: OneOrMore<String>,
    raw: Option<String>,
    fields: Vec<String>,
    http10: bool,
    body: Option<String>,
    /// A body of so many octets.
    octets: Option<usize>,
    /// The most octets of a chunk; without it the body has a Content-Length.
    chunks: Option<usize>,
    status: OneOrMore<u16>,
    pingora: Option<u16>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T> Default for OneOrMore<T> {
    fn default() -> Self {
        OneOrMore::More(Vec::new())
    }
}

impl<T> From<OneOrMore<T>> for Vec<T> {
    fn from(these: OneOrMore<T>) -> Vec<T> {
        match these {
            OneOrMore::One(one) => vec![one],
            OneOrMore::More(more) => more,
        }
    }
}

/// All of them.
pub fn all() -> Vec<Scenario> {
    let file: File = toml::from_str(SCENARIOS).unwrap_or_else(|why| panic!("scenarios.toml: {why}"));
    let steps = |steps: Vec<WrittenStep>| steps.into_iter().map(WrittenStep::read).collect();
    let read = |Written { title, response_timeout, steps: written, .. }| Scenario {
        title,
        response_timeout,
        steps: steps(written),
    };
    file.scenario.into_iter().map(read).collect()
}

impl WrittenStep {
    fn read(self) -> Step {
        let content = self.octets.map(|octets| vec![b'x'; octets]).or(self.body.map(String::into_bytes));
        let body = match (content, self.chunks) {
            (None, _) => Body::None,
            (Some(content), None) => Body::Length(content),
            (Some(content), Some(most)) => Body::Chunked(content, most),
        };
        let well = |line| Asked::Well { line, http10: self.http10, lines: self.fields.clone(), body: body.clone() };
        let mut requests: Vec<_> = Vec::from(self.ask).into_iter().map(well).collect();
        requests.extend(self.raw.map(|raw| Asked::Raw(Octets(raw.into_bytes()))));
        Step {
            after: Duration::from_secs(self.after.unwrap_or(1)),
            purge: self.purge,
            soft: self.soft,
            requests,
            status: self.status.into(),
            pingora: self.pingora,
        }
    }
}

impl Asked {
    pub fn is_head(&self) -> bool {
        match self {
            Asked::Well { line, .. } => line.starts_with("HEAD "),
            Asked::Raw(Octets(octets)) => octets.trim_ascii_start().starts_with(b"HEAD "),
        }
    }

    /// Whether its answer may have chunks.
    pub fn takes_chunks(&self) -> bool {
        !matches!(self, Asked::Well { http10: true, .. })
    }

    /// As it is sent, with a Host where its lines have none.
    pub fn octets(&self, known: &[(&str, &str)]) -> Vec<u8> {
        let (line, http10, lines, body) = match self {
            Asked::Raw(Octets(octets)) => return octets.clone(),
            Asked::Well { line, http10, lines, body } => (line, http10, lines, body),
        };
        let mut text = format!("{line} HTTP/1.{}\r\n", if *http10 { 0 } else { 1 });
        if !lines.iter().any(|line| line.starts_with("Host:")) {
            text += "Host: shop.test\r\n";
        }
        lines.iter().for_each(|line| text += &format!("{line}\r\n"));
        let constants = [("$long", &*"x".repeat(400)), ("$many", &*vec!["A: 1"; 30].join("\r\n"))];
        for (name, value) in constants.iter().chain(known) {
            text = text.replace(name, value);
        }
        let body = match body {
            Body::None => Vec::new(),
            Body::Length(content) => {
                text += &format!("Content-Length: {}\r\n", content.len());
                content.clone()
            }
            Body::Chunked(content, most) => {
                text += "Transfer-Encoding: chunked\r\n";
                let mut chunked = Vec::new();
                for part in content.chunks(*most) {
                    chunked.extend([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
                }
                chunked.extend_from_slice(b"0\r\n\r\n");
                chunked
            }
        };
        [(text + "\r\n").as_bytes(), &body].concat()
    }
}

/// Read, for failed tests.
impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Short, for failed tests.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::None => f.write_str("None"),
            Body::Length(content) => write!(f, "{} octets", content.len()),
            Body::Chunked(content, most) => write!(f, "{} octets in chunks of {most}", content.len()),
        }
    }
}
