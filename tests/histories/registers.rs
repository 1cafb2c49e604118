//! An origin whose every representation is a version: one register per key, in one total order.
//!
//! It never lies about what there is, but it does to its connections whatever the plan says. It writes down when it read
//! and when it applied, so that afterwards each answer can be held against what it may have been.

use crate::history::{Fetched, Log, Moment};
use crate::plan::{Act, Change, Fetching, KEYS, Key, RESPONSE_TIMEOUT, Scope, Step, Writing};
use bytes::Bytes;
use freshgate::field::Fields;
use freshgate::field::entity_tag::{EntityTag, TagList};
use freshgate::origin::{Ask, Framing, Head, Interim, Origin, OriginError, OriginErrorKind, Reply};
use futures_util::{StreamExt, stream};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::sleep;

/// Which step of the plan a request belongs to; the origin gets it from the client.
pub const STEP: &str = "x-step";

/// Longer than a second, which is as long as a body is waited for.
const DRIPS: u32 = 5;
const DRIP: Duration = Duration::from_millis(300);
/// As long as a history goes on.
const DRIPS_FOR_EVER: u32 = 400;

pub struct Registers {
    pub steps: Vec<Step>,
    pub scope: Scope,
    pub validators: bool,
    pub chunked: bool,
    pub log: Arc<Log>,
    versions: Mutex<HashMap<Key, u64>>,
}

impl Registers {
    pub fn new(plan: &crate::plan::Plan, log: Arc<Log>) -> Registers {
        let setting = plan.setting;
        Registers {
            steps: plan.steps.clone(),
            scope: setting.scope,
            validators: setting.validators,
            chunked: setting.chunked,
            log,
            versions: Mutex::default(),
        }
    }

    fn apply(&self, change: Change) {
        let mut versions = self.versions.lock().expect("nobody panics here");
        for key in KEYS.into_iter().filter(|key| change.changes(*key)) {
            let version = versions.entry(key).or_default();
            *version += 1;
            // Under the lock: what is written down is in the order in which it happened.
            self.log.applied(key, *version);
        }
    }

    /// The version that there is now; it was read at the moment.
    pub fn version(&self, key: Key) -> (u64, Moment) {
        let versions = self.versions.lock().expect("nobody panics here");
        (versions.get(&key).copied().unwrap_or(0), self.log.moment())
    }

    async fn read(&self, ask: &Ask, key: Key, number: Option<usize>) -> Result<Reply, OriginError> {
        let began = self.log.moment();
        let step = number.and_then(|number| self.steps.get(number));
        let fetching = match step.map(|step| step.act) {
            Some(Act::Read { fetching, .. }) => fetching,
            _ => Fetching::Answers,
        };
        pause(step.map_or(0, |step| step.before)).await;
        let (version, read) = self.version(key);
        pause(step.map_or(0, |step| step.after)).await;
        let caller = caller(&ask.fields);
        self.log.fetched(Fetched { step: number, key, caller, began, read, answered: read, version, fetching });
        let whose = if self.scope == Scope::User { format!(",\"whose\":{caller}") } else { String::new() };
        let body = format!("{{\"key\":\"{}\",\"version\":{version}{whose}}}", key.path());
        let mut fields: Fields = [("Content-Type", "application/json")].into_iter().collect();
        if self.validators {
            let tag = format!("\"{}-{version}-{caller}\"", key.path().replace('/', "-"));
            if TagList::of(&ask.fields, "if-none-match").is_some_and(|list| lists(&list, &tag)) {
                return Ok(reply(304, [("ETag", tag)].into_iter().collect(), Framing::Empty, vec![]));
            }
            fields.push("ETag", tag);
        }
        let whole = |fields| Ok(self.whole(200, fields, &body));
        match fetching {
            Fetching::Answers => whole(fields),
            Fetching::Fails(status) => Ok(self.whole(status, Fields::new(), "{\"error\":true}")),
            Fetching::Private => {
                fields.push("Cache-Control", "no-store");
                whole(fields)
            }
            Fetching::Refuses => Err(failed(OriginErrorKind::Connect)),
            Fetching::Resets => Err(failed(OriginErrorKind::Protocol)),
            Fetching::Hangs => {
                sleep(Duration::from_millis(RESPONSE_TIMEOUT)).await;
                Err(failed(OriginErrorKind::Timeout))
            }
            Fetching::Truncates => Ok(self.broken(fields, &body)),
            Fetching::Drips => Ok(dripping(fields, &body, DRIPS)),
        }
    }

    async fn write(self: &Arc<Self>, change: Change, number: usize, step: &Step) -> Result<Reply, OriginError> {
        let Act::Write { writing, .. } = step.act else { unreachable!("a mutation belongs to a step that writes") };
        pause(step.before).await;
        let done = "{\"done\":true}";
        let later = |after| {
            let origin = self.clone();
            tokio::spawn(async move {
                pause(after).await;
                origin.apply(change);
            });
        };
        match writing {
            Writing::Unreachable => return Err(failed(OriginErrorKind::Connect)),
            Writing::ResetsBefore => return Err(failed(OriginErrorKind::Protocol)),
            Writing::Refuses(_) => {}
            Writing::Late { after, .. } | Writing::Accepts { after } => later(step.after + after),
            _ => self.apply(change),
        }
        pause(step.after).await;
        self.log.answers(number);
        match writing {
            Writing::Refuses(status) | Writing::AppliesWith(status) => Ok(self.whole(status, Fields::new(), done)),
            Writing::Late { status: Some(status), .. } => Ok(self.whole(status, Fields::new(), done)),
            Writing::Accepts { .. } => Ok(self.whole(202, Fields::new(), done)),
            Writing::ResetsAfter | Writing::Late { status: None, .. } => Err(failed(OriginErrorKind::Protocol)),
            Writing::Truncates => Ok(self.broken(Fields::new(), done)),
            Writing::Drips => Ok(dripping(Fields::new(), done, DRIPS_FOR_EVER)),
            Writing::Applies | Writing::Unreachable | Writing::ResetsBefore => Ok(self.whole(200, Fields::new(), done)),
        }
    }

    fn framing(&self, body: &str) -> Framing {
        if self.chunked { Framing::Chunked } else { Framing::Length(body.len() as u64) }
    }

    /// An answer in two chunks.
    fn whole(&self, status: u16, fields: Fields, body: &str) -> Reply {
        let (first, second) = body.split_at(body.len() / 2);
        let chunks = [first, second].map(|part| Ok(Bytes::copy_from_slice(part.as_bytes())));
        reply(status, fields, self.framing(body), chunks.into())
    }

    fn broken(&self, fields: Fields, body: &str) -> Reply {
        let first = Bytes::copy_from_slice(&body.as_bytes()[..body.len() / 2]);
        reply(200, fields, self.framing(body), vec![Ok(first), Err(failed(OriginErrorKind::Protocol))])
    }
}

/// A shared origin, which goes on with what it has begun when nobody waits for it.
pub struct Shared(pub Arc<Registers>);

#[async_trait::async_trait]
impl Origin for Shared {
    async fn ask(&self, ask: Ask, _: Option<Interim>) -> Result<Reply, OriginError> {
        let origin = self.0.clone();
        // As over sockets: what has arrived is worked on to its end.
        let work = tokio::spawn(async move {
            let number = ask.fields.get(STEP).and_then(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok());
            let step = number.and_then(|number| origin.steps.get(number)).copied();
            match (step, KEYS.into_iter().find(|key| key.path() == ask.target)) {
                (_, Some(key)) if ask.method == "GET" => origin.read(&ask, key, number).await,
                (Some(step), _) => {
                    let Act::Write { change, .. } = step.act else { return Err(failed(OriginErrorKind::Protocol)) };
                    let number = number.expect("a step has one");
                    origin.log.arrived(number);
                    origin.write(change, number, &step).await
                }
                _ => Err(failed(OriginErrorKind::Protocol)),
            }
        });
        work.await.expect("the origin does not panic")
    }
}

fn caller(fields: &Fields) -> u8 {
    let token = fields.get("authorization").and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
    token.strip_prefix("Bearer ").and_then(|number| number.parse().ok()).unwrap_or(u8::MAX)
}

fn lists(list: &TagList, tag: &str) -> bool {
    let tag = EntityTag::parse(tag.as_bytes()).expect("it is well-formed");
    matches!(list, TagList::Tags(tags) if tags.iter().any(|listed| listed.weakly_matches(&tag)))
}

fn failed(kind: OriginErrorKind) -> OriginError {
    OriginError { kind, cause: "so the plan says".into() }
}

fn reply(status: u16, fields: Fields, framing: Framing, chunks: Vec<Result<Bytes, OriginError>>) -> Reply {
    Reply { head: Head { status, reason: Bytes::new(), fields }, framing, body: stream::iter(chunks).boxed() }
}

/// White space before and after JSON is no part of it.
fn dripping(fields: Fields, body: &str, drips: u32) -> Reply {
    let last = Bytes::copy_from_slice(body.as_bytes());
    let body = stream::iter(0..=drips).then(move |number| {
        let last = last.clone();
        async move {
            sleep(DRIP).await;
            Ok(if number == drips { last } else { Bytes::from_static(b" ") })
        }
    });
    Reply { head: Head { status: 200, reason: Bytes::new(), fields }, framing: Framing::Chunked, body: body.boxed() }
}

async fn pause(ms: u64) {
    if ms > 0 {
        sleep(Duration::from_millis(ms)).await;
    }
}
