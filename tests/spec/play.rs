//! Plays a scenario and compares.
//!
//! Besides what a step expects, every answer and every request to the origin is held to what is always true: one
//! member of ours in Cache-Status, a Content-Length that is the body's, no content where the status has none, one line
//! at most of each validator, and no entity-tag of ours on its way to the origin.

use crate::scenario::{Act, Asking, Expect, OriginAnswer, Scenario, Sees, Step, Wanted};
use bytes::Bytes;
use freshgate::clock::{ManualClock, Timestamp};
use freshgate::field::Fields;
use freshgate::origin::Ask;
use freshgate::origin::Head;
use freshgate::origin::scripted::{Asked, Scripted, ScriptedOrigin};
use freshgate::pipeline::{Answer, Class, Content, Handled, Pipeline};
use freshgate::semantics::request::{Request, Scheme, Version};
use futures_util::StreamExt;
use std::collections::VecDeque;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// Thu, 01 Jan 2026 00:00:00 GMT, on a machine that booted a while ago.
const BEGINNING: Timestamp = Timestamp { wall_ms: 1_767_225_600_000, boot_ms: 5_000_000 };

/// Longer than anything waits. Time is paused, so this is over as soon as nothing is left to do.
const FOREVER: Duration = Duration::from_hours(24 * 400);

/// Plays it from beginning to end.
///
/// # Errors
/// What is not as expected in the first step that fails.
pub fn play(scenario: &Scenario) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime of one thread can be built").block_on(Stage::new(scenario).play(&scenario.steps))
}

/// Everything that a scenario is played on.
struct Stage {
    clock: Arc<ManualClock>,
    origin: Arc<ScriptedOrigin>,
    pipeline: Arc<Pipeline>,
    /// The fields of the answers so far, by step.
    answered: Vec<Fields>,
}

/// What came of a request.
struct Seen {
    /// `None`: it was passed on.
    status: Option<u16>,
    cache_status: String,
    fields: Fields,
    body: Bytes,
    streams: bool,
    breaks: bool,
}

impl Stage {
    fn new(scenario: &Scenario) -> Self {
        let clock = Arc::new(ManualClock::new(BEGINNING));
        let origin = ScriptedOrigin::new();
        let policy = Arc::new(scenario.policy.clone());
        let pipeline = Pipeline::new(policy, origin.clone(), clock.clone(), Arc::new(|_| {}), [7; 32]);
        Stage { clock, origin, pipeline, answered: Vec::new() }
    }

    async fn play(mut self, steps: &[Step]) -> Result<(), String> {
        for (index, step) in steps.iter().enumerate() {
            self.wait(step.after).await;
            let now = freshgate::clock::Clock::now(&*self.clock);
            self.clock.set_wall(now.wall_ms + step.wall_jump);
            let mut answered = Fields::new();
            match &step.act {
                Act::Wait => {}
                Act::Purge { target, soft } => {
                    self.pipeline.purge(target, *soft);
                }
                Act::Ask(asking) => {
                    let mut report = Report::default();
                    answered = self.ask(asking, &mut report).await;
                    report.conclude(&format!("step {}: {} {}", index + 1, asking.method, asking.path))?;
                }
            }
            self.answered.push(answered);
        }
        Ok(())
    }

    /// Lets both clocks move on, and everything happen that was to happen by then.
    async fn wait(&self, time: Duration) {
        self.clock.advance(time);
        tokio::time::advance(time).await;
        settle().await;
    }

    async fn ask(&self, asking: &Asking, report: &mut Report) -> Fields {
        let mut answers: VecDeque<_> = asking.answers.iter().collect();
        let mut background = Vec::new();
        let mut handling = tokio::spawn(handle(self.pipeline.clone(), asking.clone_request(), asking.body.clone()));
        let handled = loop {
            let asked = tokio::select! {
                biased;
                handled = &mut handling => break Some(handled.expect("the pipeline does not panic")),
                asked = self.origin.next() => asked,
                () = tokio::time::sleep(FOREVER) => break None,
            };
            match answers.pop_front() {
                Some(answer) => {
                    if answers.is_empty() {
                        report.sees(&asking.sees, &asked.ask);
                    }
                    self.answer(asked, answer, report).await;
                }
                // Nothing that is to be answered in the background may be waited for here.
                None if background.len() < asking.background.len() => background.push(asked),
                None => report.unexpected(asked),
            }
        };
        report.missing(answers.len(), "the origin is asked");
        self.afterwards(asking, background, report).await;
        let Some(handled) = handled else {
            report.differ("an answer", "nothing more happens");
            return Fields::new();
        };
        let seen = Seen::of(handled, &asking.method, report).await;
        report.answer(&asking.expect, &seen, &self.answered);
        seen.fields
    }

    /// What a step leaves behind it is answered before the next.
    async fn afterwards(&self, asking: &Asking, mut waiting: Vec<Asked>, report: &mut Report) {
        let mut answers = asking.background.iter();
        loop {
            settle().await;
            let asked = if waiting.is_empty() { self.origin.try_next() } else { Some(waiting.remove(0)) };
            match (asked, answers.next()) {
                (Some(asked), Some(answer)) => {
                    if answers.len() == 0 && asking.answers.is_empty() {
                        report.sees(&asking.sees, &asked.ask);
                    }
                    self.answer(asked, answer, report).await;
                }
                (Some(asked), None) => report.unexpected(asked),
                (None, answer) => {
                    let missing = usize::from(answer.is_some()) + answers.len();
                    return report.missing(missing, "the origin is asked in the background");
                }
            }
        }
    }

    async fn answer(&self, asked: Asked, answer: &OriginAnswer, report: &mut Report) {
        report.always_of_ask(&asked.ask);
        if !answer.takes.is_zero() {
            self.wait(answer.takes).await;
        }
        if let Some(kind) = answer.fails {
            return asked.fail(kind);
        }
        let OriginAnswer { status, fields, body, framing, breaks, pauses, .. } = answer.clone();
        if pauses.is_zero() {
            let interim = Vec::new();
            return asked.answer(Scripted { status, fields, body, framing, breaks, interim });
        }
        let chunks = asked.answer_slowly(Head { status, reason: Bytes::new(), fields }, framing);
        // The head is read before the pause begins.
        settle().await;
        self.wait(pauses).await;
        // A receiver that is gone is one that gave up on the body.
        let _ = chunks.send(Ok(body));
    }
}

/// Time stands still until nothing is left to do; the millisecond is tokio's alone.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// As the edge does it.
async fn handle(pipeline: Arc<Pipeline>, request: Request, body: Option<Bytes>) -> Handled {
    match pipeline.classify(&request) {
        Class::Retrieve => pipeline.retrieve(request, None).await,
        Class::Mutate => Handled::Answer(pipeline.mutate(request, body.unwrap_or_default(), None).await),
        Class::Pass(why) => match pipeline.pass(&request, why).await {
            Ok(passage) => Handled::Pass(passage),
            Err(answer) => Handled::Answer(answer),
        },
    }
}

impl Asking {
    fn clone_request(&self) -> Request {
        let host = self.fields.get("host").unwrap_or_default();
        Request {
            method: self.method.clone(),
            scheme: Scheme::Http,
            authority: String::from_utf8_lossy(host).into_owned(),
            path: self.path.clone(),
            query: self.query.clone(),
            fields: self.fields.clone(),
            version: Version::Http11,
            client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
            has_body: self.body.is_some(),
        }
    }
}

impl Seen {
    async fn of(handled: Handled, method: &str, report: &mut Report) -> Seen {
        match handled {
            Handled::Pass(passage) => Seen {
                status: None,
                cache_status: passage.exchange.cache_status.to_string(),
                fields: Fields::new(),
                body: Bytes::new(),
                streams: true,
                breaks: false,
            },
            Handled::Answer(answer) => {
                report.always_of_answer(&answer, method);
                Seen::whole(answer).await
            }
        }
    }

    async fn whole(answer: Answer) -> Seen {
        let Answer { head, content, .. } = answer;
        let (streams, body, breaks) = match content {
            Content::Empty => (false, Bytes::new(), false),
            Content::Whole(body) => (false, body, false),
            Content::Stream { mut body, .. } => {
                let (mut whole, mut breaks) = (Vec::new(), false);
                while let Some(chunk) = body.next().await {
                    match chunk {
                        Ok(chunk) => whole.extend_from_slice(&chunk),
                        Err(_) => breaks = true,
                    }
                }
                (true, whole.into(), breaks)
            }
        };
        let cache_status = text_of(head.fields.get_all("cache-status").last().unwrap_or_default());
        Seen { status: Some(head.status), cache_status, fields: head.fields, body, streams, breaks }
    }
}

/// What is not as expected, in pairs of lines.
#[derive(Default)]
struct Report {
    lines: String,
}

impl Report {
    fn conclude(self, step: &str) -> Result<(), String> {
        if self.lines.is_empty() { Ok(()) } else { Err(format!("{step}{}", self.lines)) }
    }

    fn differ(&mut self, expected: impl std::fmt::Display, seen: impl std::fmt::Display) {
        write!(self.lines, "\n  - {expected}\n  + {seen}").expect("a text takes every text");
    }

    fn equal<T: PartialEq + std::fmt::Display>(&mut self, what: &str, expected: &T, seen: &T) {
        if expected != seen {
            self.differ(format_args!("{what}: {expected}"), format_args!("{what}: {seen}"));
        }
    }

    fn missing(&mut self, answers: usize, expected: &str) {
        if answers > 0 {
            self.differ(expected, format_args!("{answers} of its answers are left"));
        }
    }

    /// The origin was asked although nothing is scripted.
    fn unexpected(&mut self, asked: Asked) {
        let Ask { method, target, .. } = &asked.ask;
        self.differ("the origin is not asked", format_args!("the origin was asked: {method} {target}"));
        asked.fail(freshgate::origin::OriginErrorKind::Protocol);
    }

    fn sees(&mut self, sees: &Sees, ask: &Ask) {
        let to = "to the origin: ";
        if let Some(method) = &sees.method {
            self.equal(&format!("{to}method"), method, &ask.method);
        }
        if let Some(target) = &sees.target {
            self.equal(&format!("{to}target"), target, &ask.target);
        }
        if let Some(body) = &sees.body {
            self.equal(&format!("{to}body"), body, &text_of(&ask.body));
        }
        for (name, wanted) in &sees.fields {
            self.field(to, name, wanted, &ask.fields, &[]);
        }
    }

    fn answer(&mut self, expect: &Expect, seen: &Seen, answered: &[Fields]) {
        match (expect.status, seen.status) {
            (Some(expected), Some(status)) => self.equal("status", &expected, &status),
            (None, Some(status)) => self.differ("passed on", format_args!("answered: status {status}")),
            (Some(expected), None) => self.differ(format_args!("status: {expected}"), "passed on"),
            (None, None) => {}
        }
        if let Some(body) = &expect.body {
            self.equal("body", &format!("{body:?}"), &format!("{:?}", text_of(&seen.body)));
        }
        if let Some(expected) = &expect.cache_status
            && !cache_status_is(expected, &seen.cache_status)
        {
            self.equal("cache-status", expected, &seen.cache_status);
        }
        self.equal("streams", &(expect.streams || expect.passes), &seen.streams);
        self.equal("breaks", &expect.breaks, &seen.breaks);
        for (name, wanted) in &expect.fields {
            self.field("", name, wanted, &seen.fields, answered);
        }
    }

    fn field(&mut self, prefix: &str, name: &str, wanted: &Wanted, fields: &Fields, answered: &[Fields]) {
        let lines = |fields: &Fields| fields.get_all(name).map(text_of).collect::<Vec<_>>();
        let seen = lines(fields);
        let holds = match wanted {
            Wanted::Lines(expected) => *expected == seen,
            Wanted::Absent => seen.is_empty(),
            Wanted::Computed => seen.len() == 1 && is_computed(&seen[0]),
            Wanted::Weak => seen.len() == 1 && seen[0].strip_prefix("W/").is_some_and(is_computed),
            Wanted::SameAs(step) => !seen.is_empty() && seen == lines(&answered[step - 1]),
            Wanted::Unlike(step) => !seen.is_empty() && seen != lines(&answered[step - 1]),
        };
        if !holds {
            let seen = if seen.is_empty() { Wanted::Absent } else { Wanted::Lines(seen) };
            self.differ(format_args!("{prefix}{name}: {wanted}"), format_args!("{prefix}{name}: {seen}"));
        }
    }

    fn always_of_ask(&mut self, ask: &Ask) {
        for (name, value) in ask.fields.iter() {
            if text_of(value).contains("fg1-") {
                self.differ("no entity-tag of ours reaches the origin", format_args!("{}", text_of(name)));
            }
        }
    }

    fn always_of_answer(&mut self, answer: &Answer, method: &str) {
        let Answer { head, content, .. } = answer;
        let ours = head.fields.get_all("cache-status").filter(|line| line.starts_with(b"freshgate")).count();
        self.equal("members of ours in cache-status", &1, &ours);
        for name in ["age", "content-length", "last-modified"] {
            if head.fields.get_all(name).count() > 1 {
                self.differ(format_args!("{name}: one line at most"), "several");
            }
        }
        match content {
            Content::Whole(body) => {
                let length = text_of(head.fields.get("content-length").unwrap_or_default());
                self.equal("content-length", &body.len().to_string(), &length);
                if method == "HEAD" || matches!(head.status, 204 | 304) {
                    self.differ("no content", "a body");
                }
            }
            Content::Empty | Content::Stream { .. } => {}
        }
    }
}

/// Cache-Status with these parameters. `ttl` and `fwd-status` may be left unsaid, everything else is said.
fn cache_status_is(expected: &str, seen: &str) -> bool {
    let parameters = |text: &str| text.split(';').map(|one| one.trim().to_owned()).collect::<Vec<_>>();
    let expected = parameters(expected);
    let mut seen = parameters(seen);
    let unsaid = |name: &str| !expected.iter().any(|one| one.starts_with(name));
    let (ttl, status) = (unsaid("ttl="), unsaid("fwd-status="));
    seen.retain(|one| {
        one != "freshgate" && !(ttl && one.starts_with("ttl=") || status && one.starts_with("fwd-status="))
    });
    let expected: Vec<_> = expected.into_iter().filter(|one| !one.is_empty()).collect();
    seen == expected
}

/// `"fg1-"` and 128 bits in base64url.
fn is_computed(text: &str) -> bool {
    let hash = text.strip_prefix("\"fg1-").and_then(|rest| rest.strip_suffix('"'));
    hash.is_some_and(|hash| hash.len() == 22 && hash.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)))
}

fn text_of(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
