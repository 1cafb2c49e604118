//! How a row is written: TOML, where a key that nobody knows is an error.
//!
//! ```toml
//! title = "…"                          # the section's heading in the page, and what is said below it
//! about = "…"
//! config = "…"                         # the configuration of its rows, but for listeners and origin
//!
//! [[row]]
//! id = "A1"                            # as in the catalogue; several rows may share one
//! input = "what it is, as the page says"
//! config = "…"                         # in place of the section's
//! step = [{ … }]                       # see below; each on a connection of its own, in order
//! shown_by = ["tests/live/tls.rs: a_test"]   # what shows it where no step can, and `answer`: in which words
//! answer = "…"
//! note = "…"                           # said below the table: where another answer than the catalogue's is right
//! pingora = "…"                        # what others do with it, for the page
//! nginx = "…"
//! varnish = "…"
//! ```
//!
//! A step sends octets and is answered:
//!
//! - `send`: one text, or several that are to be answered alike. A character is an octet, `\u00ff` the highest;
//!   `⟨100 X: y\r\n⟩` is 100 times what follows the number, `⟨etag⟩` the entity-tag of the step before.
//!   Or `frames`: what is sent over HTTP/2, frame by frame, behind the preface and SETTINGS.
//! - `answer`: the statuses, 1xx included, and what becomes of the connection: `200, open` (another request is answered on
//!   it), `400, closed`, `200 broken, closed` (a body that did not come whole). Over HTTP/2 also `RST …` and `GOAWAY …`.
//! - `origin`: the request lines that reached the origin; none if it is left out. `origin_fields` are lines that the last
//!   of them had, `origin_lacks` names of fields that it had not.
//! - `holds`: beginnings of lines of the last response's head; `lacks`: names of fields that it has not. `body`: a part of
//!   its body.
//! - `serves`: what the origin answers, in octets, where it isn't JSON that tells what was asked; of a list, one after the
//!   other. `then`: what becomes of its connection: `keep`, `close`, `reset`, or `hold` (silence).
//! - `to = "admin"`: the admin listener is asked.
//!
//! The rows about configurations have a `file` in place of steps, and what `freshgate check` has to say of it, in `says`.

use serde::Deserialize;
use std::fs;

/// The sections: a file and a test each, the letter of its ids, and how many there are.
pub const SECTIONS: [(&str, char, usize); 8] = [
    ("a_framing", 'A', 42),
    ("b_uri_and_key", 'B', 13),
    ("c_conditional", 'C', 10),
    ("d_range", 'D', 5),
    ("e_callers", 'E', 12),
    ("f_origin", 'F', 24),
    ("g_configuration", 'G', 14),
    ("h_admin", 'H', 5),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    pub title: String,
    pub about: String,
    #[serde(default)]
    pub config: String,
    #[serde(rename = "row")]
    pub rows: Vec<Row>,
}

impl Section {
    #[track_caller]
    pub fn read(name: &str) -> Section {
        let file = super::folder().join(format!("{name}.toml"));
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub id: String,
    pub input: String,
    pub config: Option<String>,
    #[serde(rename = "step", default)]
    pub steps: Vec<Step>,
    #[serde(default)]
    pub shown_by: Vec<String>,
    pub answer: Option<String>,
    pub note: Option<String>,
    #[serde(default)]
    pub pingora: String,
    #[serde(default)]
    pub nginx: String,
    #[serde(default)]
    pub varnish: String,
    /// A configuration; `exit` is what checking it ends with.
    pub file: Option<String>,
    #[serde(default)]
    pub exit: i32,
    #[serde(default)]
    pub says: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    #[serde(default)]
    pub send: Several,
    #[serde(default)]
    pub frames: Vec<Frame>,
    #[serde(default)]
    pub to: Listener,
    pub answer: String,
    #[serde(default)]
    pub origin: Vec<String>,
    #[serde(default)]
    pub origin_fields: Vec<String>,
    #[serde(default)]
    pub origin_lacks: Vec<String>,
    #[serde(default)]
    pub holds: Vec<String>,
    #[serde(default)]
    pub lacks: Vec<String>,
    pub body: Option<String>,
    #[serde(default)]
    pub serves: Several,
    #[serde(default)]
    pub then: Then,
    /// Whether the client closes its side behind what it sends.
    #[serde(default)]
    pub ends: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Listener {
    #[default]
    Public,
    Admin,
}

/// What becomes of the origin's connection behind an answer.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Then {
    #[default]
    Keep,
    Close,
    Reset,
    Hold,
}

/// One frame of HTTP/2 (RFC 9113 §4.1).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// `HEADERS`, `DATA`, ….
    pub kind: String,
    #[serde(default = "one")]
    pub stream: u32,
    /// For HEADERS and DATA, those of a frame that ends its stream, unless this says otherwise.
    pub flags: Option<u8>,
    /// Of HEADERS: fields, encoded as literals that nobody keeps.
    #[serde(default)]
    pub fields: Vec<[String; 2]>,
    /// Of others.
    #[serde(default)]
    pub payload: String,
}

fn one() -> u32 {
    1
}

/// One text or a list of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(untagged)]
pub enum Several {
    #[default]
    None,
    One(String),
    List(Vec<String>),
}

impl Several {
    pub fn all(&self) -> &[String] {
        match self {
            Several::None => &[],
            Several::One(text) => std::slice::from_ref(text),
            Several::List(texts) => texts,
        }
    }
}

/// The octets that a text stands for; `etag` is what `⟨etag⟩` does.
#[track_caller]
pub fn octets(text: &str, etag: &str) -> Vec<u8> {
    let octet = |c: char| u8::try_from(c).unwrap_or_else(|_| panic!("{c:?} is more than an octet"));
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('⟨') {
        out.extend(before.chars().map(octet));
        let (inner, after) = behind.split_once('⟩').expect("a bracket is closed");
        match inner.split_once(' ') {
            Some((times, what)) => {
                let what: Vec<u8> = what.chars().map(octet).collect();
                out.extend(what.repeat(times.parse().expect("a number is repeated by")));
            }
            None => {
                assert_eq!(inner, "etag", "nothing else is filled in");
                out.extend(etag.bytes());
            }
        }
        rest = after;
    }
    out.extend(rest.chars().map(octet));
    out
}

#[test]
fn a_character_is_an_octet() {
    assert_eq!(octets("a\u{ff}\r⟨3 xy⟩b⟨etag⟩", "\"v\""), b"a\xff\rxyxyxyb\"v\"");
}
