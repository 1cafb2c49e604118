//! How a scenario is written: TOML, where a key that nobody knows is an error.
//!
//! ```toml
//! title = "what it shows, as a sentence"
//! clauses = ["RFC 9111 §4 age"]       # the clauses of clauses.toml it rests on; none where only this proxy promises it
//! config = "[[route]] …"              # the configuration; without it, plain mode
//!
//! [[step]]                            # begins at Thu, 01 Jan 2026 00:00:00 GMT
//! after = "10s"                       # so much later than the step before
//! wall-jump = "-1h"                   # the system clock is corrected by this
//! get = "/path?query"                 # or head, post, …: the request
//! as = "alice"                        # short for `authorization = "Bearer alice"`
//! if-none-match = '"v1"'              # a field of the request; a list makes several lines
//! fields = { x-other = "1" }          # fields with names that are not in FIELDS
//! body = "…"
//! origin = { status = 200, body = "…", etag = '"v1"' }       # what the origin answers; a list where it is asked twice
//! origin-sees = { if-none-match = '"v1"', absent = ["range"] }  # what reached it, the last time in this step
//! background = { … }                  # what the origin answers once this step has had its own answer
//! expect = { status = 304, cache-status = "hit", absent = ["content-type"] }
//! ```
//!
//! A step without `origin` states that the origin is not asked. Without `expect` the status is to be the origin's. In
//! place of a request a step may hold `purge = { all = true, soft = true }`, or nothing but time.

use bytes::Bytes;
use freshgate::config::{self, Overrides};
use freshgate::field::Fields;
use freshgate::origin::{Framing, OriginErrorKind};
use freshgate::pipeline::purge::Selector;
use freshgate::policy::{Policy, Routes};
use std::time::Duration;
use toml::{Table, Value};

/// Methods that are a key of a step.
const METHODS: [&str; 8] = ["get", "head", "put", "post", "patch", "delete", "options", "propfind"];

/// Fields that are a key of their own wherever fields may stand; others stand in `fields`.
const FIELDS: [&str; 43] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "age",
    "authorization",
    "cache-control",
    "cdn-cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expires",
    "freshgate-cache-control",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "pragma",
    "prefer",
    "range",
    "retry-after",
    "set-cookie",
    "upgrade",
    "vary",
    "via",
    "warning",
    "x-api-key",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-tenant",
    "x-total-count",
];

/// One file.
pub struct Scenario {
    pub title: String,
    /// The clauses that it rests on.
    pub clauses: Vec<String>,
    pub policy: Policy,
    pub steps: Vec<Step>,
}

pub struct Step {
    pub after: Duration,
    /// Milliseconds.
    pub wall_jump: i64,
    pub act: Act,
}

#[expect(clippy::large_enum_variant, reason = "a scenario has a handful of steps")]
pub enum Act {
    Wait,
    Purge { target: Selector, soft: bool },
    Ask(Asking),
}

/// A request, what the origin makes of it, and what is to come of it.
pub struct Asking {
    pub method: String,
    pub path: String,
    pub query: Option<String>,
    pub fields: Fields,
    pub body: Option<Bytes>,
    pub answers: Vec<OriginAnswer>,
    pub background: Vec<OriginAnswer>,
    pub sees: Sees,
    pub expect: Expect,
}

/// What the origin answers.
#[derive(Clone, Debug)]
pub struct OriginAnswer {
    pub status: u16,
    pub fields: Fields,
    pub body: Bytes,
    pub framing: Framing,
    pub breaks: bool,
    pub fails: Option<OriginErrorKind>,
    /// Until its head.
    pub takes: Duration,
    /// Between its head and its body.
    pub pauses: Duration,
}

/// What reaches the origin.
#[derive(Default)]
pub struct Sees {
    pub method: Option<String>,
    pub target: Option<String>,
    pub body: Option<String>,
    pub fields: Vec<(String, Wanted)>,
}

/// What is to come of a request.
#[derive(Default)]
pub struct Expect {
    /// It is streamed past the store.
    pub passes: bool,
    /// The answer comes as the origin sends it.
    pub streams: bool,
    /// The answer ends visibly broken.
    pub breaks: bool,
    pub status: Option<u16>,
    pub body: Option<String>,
    /// Parameters of Cache-Status.
    pub cache_status: Option<String>,
    pub fields: Vec<(String, Wanted)>,
}

/// What a field is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Lines(Vec<String>),
    Absent,
    /// A strong entity-tag of ours.
    Computed,
    /// A weak one.
    Weak,
    /// What it was in the answer of this step, counted from 1.
    SameAs(usize),
    /// There, and not what it was in the answer of this step.
    Unlike(usize),
}

impl Scenario {
    /// Reads a file's text.
    pub fn read(text: &str) -> Result<Scenario, String> {
        let mut keys = Keys { table: text.parse().map_err(|error| format!("{error}"))?, at: String::new() };
        let title = keys.text("title")?.ok_or("`title` is missing")?;
        let clauses = match keys.table.remove("clauses") {
            Some(clauses) => keys.texts("clauses", clauses)?,
            None => Vec::new(),
        };
        let config = keys.text("config")?.unwrap_or_default();
        let origin = Overrides { origin: Some("http://origin.example".into()), ..Overrides::default() };
        let policy = config::parse(&config, "config", &origin, &|_| None).map_err(|errors| errors.to_string())?.policy;
        let mut steps = Vec::new();
        for (index, step) in keys.tables("step")?.into_iter().enumerate() {
            let at = format!("step {}: ", index + 1);
            steps.push(step_of(Keys { table: step, at }, index, &policy.routes)?);
        }
        keys.end()?;
        if !steps.iter().any(|step| matches!(step.act, Act::Ask(_))) {
            return Err("nothing is asked".into());
        }
        Ok(Scenario { title, clauses, policy, steps })
    }
}

fn step_of(mut keys: Keys, index: usize, routes: &Routes) -> Result<Step, String> {
    let after = keys.duration("after")?;
    let wall_jump = match keys.text("wall-jump")? {
        None => 0,
        Some(text) => match text.strip_prefix('-') {
            Some(back) => -keys.milliseconds(back)?,
            None => keys.milliseconds(&text)?,
        },
    };
    let act = if let Some(purge) = keys.table("purge")? {
        purge_of(purge, routes)?
    } else if let Some((method, target)) = request_line(&mut keys)? {
        Act::Ask(asking(&mut keys, method, &target, index)?)
    } else {
        Act::Wait
    };
    keys.end()?;
    Ok(Step { after, wall_jump, act })
}

fn request_line(keys: &mut Keys) -> Result<Option<(String, String)>, String> {
    let mut line = None;
    for method in METHODS {
        if let Some(target) = keys.text(method)? {
            if line.is_some() {
                return keys.refuse("two requests in one step");
            }
            line = Some((method.to_uppercase(), target));
        }
    }
    Ok(line)
}

fn asking(keys: &mut Keys, method: String, target: &str, index: usize) -> Result<Asking, String> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let caller = keys.text("as")?;
    let body = keys.text("body")?.map(Bytes::from);
    let mut answers = Vec::new();
    for answer in keys.tables("origin")? {
        answers.push(answer_of(keys.within("origin", answer))?);
    }
    let mut background = Vec::new();
    for answer in keys.tables("background")? {
        background.push(answer_of(keys.within("background", answer))?);
    }
    let sees = match keys.table("origin-sees")? {
        Some(sees) => sees_of(sees, index)?,
        None => Sees::default(),
    };
    let expect = match (keys.table("expect")?, answers.last()) {
        (Some(expect), _) => expect_of(expect, index)?,
        (None, Some(answer)) => Expect { status: Some(answer.status), ..Expect::default() },
        (None, None) => return keys.refuse("neither `origin` nor `expect`: nothing is stated"),
    };
    let mut fields = keys.fields()?;
    if !fields.contains("host") {
        fields.push("Host", "shop.example");
    }
    if let Some(caller) = caller {
        fields.push("Authorization", format!("Bearer {caller}"));
    }
    Ok(Asking { method, path: path.to_owned(), query, fields, body, answers, background, sees, expect })
}

fn answer_of(mut keys: Keys) -> Result<OriginAnswer, String> {
    let status = keys.status()?.unwrap_or(200);
    let body = Bytes::from(keys.text("body")?.unwrap_or_default());
    let framing = match keys.text("framing")?.as_deref() {
        None if matches!(status, 204 | 304) => Framing::Empty,
        None => Framing::Length(body.len() as u64),
        Some("close") => Framing::CloseDelimited,
        Some("chunked") => Framing::Chunked,
        Some(other) => return keys.refuse(&format!("`framing` is no {other}")),
    };
    let fails = match keys.text("fails")?.as_deref() {
        None => None,
        Some("connect") => Some(OriginErrorKind::Connect),
        Some("timeout") => Some(OriginErrorKind::Timeout),
        Some("protocol") => Some(OriginErrorKind::Protocol),
        Some(other) => return keys.refuse(&format!("`fails` is no {other}")),
    };
    let breaks = keys.flag("breaks")?;
    let (takes, pauses) = (keys.duration("takes")?, keys.duration("pauses")?);
    let fields = keys.fields()?;
    keys.end()?;
    Ok(OriginAnswer { status, fields, body, framing, breaks, fails, takes, pauses })
}

fn sees_of(mut keys: Keys, index: usize) -> Result<Sees, String> {
    let (method, target, body) = (keys.text("method")?, keys.text("target")?, keys.text("body")?);
    let fields = keys.wanted(index)?;
    keys.end()?;
    Ok(Sees { method, target, body, fields })
}

fn expect_of(mut keys: Keys, index: usize) -> Result<Expect, String> {
    let expect = Expect {
        passes: keys.flag("passes")?,
        streams: keys.flag("streams")?,
        breaks: keys.flag("breaks")?,
        status: keys.status()?,
        body: keys.text("body")?,
        cache_status: keys.text("cache-status")?,
        fields: keys.wanted(index)?,
    };
    keys.end()?;
    match (expect.passes, expect.status) {
        (false, None) => Err(format!("{}`expect` without `status`", keys.at)),
        (true, Some(_)) => Err(format!("{}what is passed on has no `status` here", keys.at)),
        _ => Ok(expect),
    }
}

fn purge_of(mut keys: Keys, routes: &Routes) -> Result<Act, String> {
    let soft = keys.flag("soft")?;
    let id = keys.text("id")?;
    let (key, route, entity, prefix) =
        (keys.text("key")?, keys.text("route")?, keys.text("entity")?, keys.text("prefix")?);
    let all = keys.flag("all")?;
    keys.end()?;
    let unknown = |name: &str| format!("{}no route or entity is called {name}", keys.at);
    let target = match (key, route, entity, prefix, all) {
        (Some(key), None, None, None, false) => Selector::Key(key),
        (None, Some(name), None, None, false) => {
            Selector::Route(routes.iter().find(|route| route.name == name).ok_or_else(|| unknown(&name))?.id)
        }
        (None, None, Some(name), None, false) => {
            let route = routes.iter().find(|route| route.entity == name).ok_or_else(|| unknown(&name))?;
            Selector::Entity { id: route.entity_id, item: id }
        }
        (None, None, None, Some(prefix), false) => Selector::Prefix(prefix),
        (None, None, None, None, true) => Selector::All,
        _ => return keys.refuse("a purge has one of key, route, entity, prefix, all"),
    };
    Ok(Act::Purge { target, soft })
}

/// A table, read key by key; what is left at the end is an error.
struct Keys {
    table: Table,
    /// Where it stands, for messages.
    at: String,
}

impl Keys {
    fn refuse<T>(&self, why: &str) -> Result<T, String> {
        Err(format!("{}{why}", self.at))
    }

    fn end(&self) -> Result<(), String> {
        match self.table.keys().next() {
            None => Ok(()),
            Some(key) => self.refuse(&format!("unknown key `{key}`")),
        }
    }

    fn within(&self, key: &str, table: Table) -> Keys {
        Keys { table, at: format!("{}{key}: ", self.at) }
    }

    fn text(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => self.refuse(&format!("`{key}` is no text: {other}")),
        }
    }

    fn flag(&mut self, key: &str) -> Result<bool, String> {
        match self.table.remove(key) {
            None => Ok(false),
            Some(Value::Boolean(true)) => Ok(true),
            Some(other) => self.refuse(&format!("`{key}` is true or left out: {other}")),
        }
    }

    fn status(&mut self) -> Result<Option<u16>, String> {
        match self.table.remove("status") {
            None => Ok(None),
            Some(Value::Integer(status @ 200..=999)) => Ok(u16::try_from(status).ok()),
            Some(other) => self.refuse(&format!("`status` is no final status: {other}")),
        }
    }

    fn duration(&mut self, key: &str) -> Result<Duration, String> {
        match self.text(key)? {
            None => Ok(Duration::ZERO),
            Some(text) => config::duration(&text).map_err(|why| format!("{}`{key}`: {why:?}", self.at)),
        }
    }

    fn milliseconds(&self, text: &str) -> Result<i64, String> {
        let length = config::duration(text).map_err(|why| format!("{}{text}: {why:?}", self.at))?;
        i64::try_from(length.as_millis()).map_err(|_| format!("{}{text} is too long", self.at))
    }

    fn table(&mut self, key: &str) -> Result<Option<Keys>, String> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(self.within(key, table))),
            Some(other) => self.refuse(&format!("`{key}` is no table: {other}")),
        }
    }

    /// One table or a list of them.
    fn tables(&mut self, key: &str) -> Result<Vec<Table>, String> {
        let values = match self.table.remove(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values,
            Some(one) => vec![one],
        };
        let table = |value| match value {
            Value::Table(table) => Ok(table),
            other => self.refuse(&format!("`{key}` is no table: {other}")),
        };
        values.into_iter().map(table).collect()
    }

    /// The lines of every field there is.
    fn lines(&mut self) -> Result<Vec<(String, Vec<String>)>, String> {
        let mut named: Vec<(String, Value)> = Vec::new();
        for name in FIELDS {
            named.extend(self.table.remove(name).map(|value| (name.to_owned(), value)));
        }
        match self.table.remove("fields") {
            None => {}
            Some(Value::Table(others)) => named.extend(others),
            Some(other) => return self.refuse(&format!("`fields` is no table: {other}")),
        }
        named.into_iter().map(|(name, value)| Ok((name.clone(), self.texts(&name, value)?))).collect()
    }

    fn texts(&self, key: &str, value: Value) -> Result<Vec<String>, String> {
        match value {
            Value::String(text) => Ok(vec![text]),
            Value::Integer(number) => Ok(vec![number.to_string()]),
            Value::Array(values) => {
                let texts: Result<Vec<_>, _> = values.into_iter().map(|value| self.texts(key, value)).collect();
                Ok(texts?.into_iter().flatten().collect())
            }
            other => self.refuse(&format!("`{key}` is no text: {other}")),
        }
    }

    fn fields(&mut self) -> Result<Fields, String> {
        let lines = self.lines()?;
        Ok(lines.into_iter().flat_map(|(name, values)| values.into_iter().map(move |v| (name.clone(), v))).collect())
    }

    fn wanted(&mut self, index: usize) -> Result<Vec<(String, Wanted)>, String> {
        let mut wanted = Vec::new();
        if let Some(absent) = self.table.remove("absent") {
            wanted.extend(self.texts("absent", absent)?.into_iter().map(|name| (name, Wanted::Absent)));
        }
        for (name, lines) in self.lines()? {
            let one = match (lines.as_slice(), name.as_str()) {
                ([text], "etag") if text == "computed" => Wanted::Computed,
                ([text], "etag") if text == "weak" => Wanted::Weak,
                ([text], _) if text == "absent" => Wanted::Absent,
                ([text], _) if text.starts_with("same-as step ") => Wanted::SameAs(self.earlier(text, index)?),
                ([text], _) if text.starts_with("unlike step ") => Wanted::Unlike(self.earlier(text, index)?),
                _ => Wanted::Lines(lines),
            };
            wanted.push((name, one));
        }
        Ok(wanted)
    }

    fn earlier(&self, text: &str, index: usize) -> Result<usize, String> {
        match text.rsplit(' ').next().and_then(|number| number.parse().ok()) {
            Some(step) if (1..=index).contains(&step) => Ok(step),
            _ => self.refuse(&format!("{text} is no earlier step")),
        }
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wanted::Lines(lines) => f.write_str(&lines.join(" ⏎ ")),
            Wanted::Absent => f.write_str("absent"),
            Wanted::Computed => f.write_str("computed"),
            Wanted::Weak => f.write_str("weak"),
            Wanted::SameAs(step) => write!(f, "same-as step {step}"),
            Wanted::Unlike(step) => write!(f, "unlike step {step}"),
        }
    }
}
