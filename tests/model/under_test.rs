//! The pipeline, which does one thing after the other, and is held against the model after each.

use crate::act::{Act, Change, Form, Outcome, Purge};
use crate::in_process::InProcess;
use crate::reference::{Answered, Content, Key, Reference, Whose, config, target};
use crate::shop::{Shop, text};
use bytes::Bytes;
use freshgate::cli::demo::front::Front;
use freshgate::clock::{Clock, ManualClock, Timestamp};
use freshgate::config::{self, Overrides};
use freshgate::field::date::HttpDate;
use freshgate::pipeline::Pipeline;
use freshgate::pipeline::purge::Selector;
use freshgate::policy::{EntityId, RouteId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Turns that every task gets before something counts as not happening. Any chain of tasks here is far shorter.
const TURNS: usize = 40;

pub struct UnderTest {
    runtime: Runtime,
    pipeline: Arc<Pipeline>,
    shop: Arc<Shop>,
    clock: Arc<ManualClock>,
    /// What each caller was last shown, and the date that came with it.
    held: BTreeMap<(u8, Key), Held>,
    /// P4: the entity-tag of each content, and the content of each entity-tag.
    tags: BTreeMap<u32, String>,
    contents: BTreeMap<String, u32>,
    /// The newest Last-Modified of each URL, as far as callers share it.
    dated: BTreeMap<(Key, Whose), HttpDate>,
}

#[derive(Clone)]
struct Held {
    content: u32,
    modified: Option<String>,
}

impl UnderTest {
    pub fn new() -> UnderTest {
        let policy = match config::parse(&config(), "model.toml", &Overrides::default(), &|_| None) {
            Ok(loaded) => Arc::new(loaded.policy),
            Err(errors) => panic!("{errors}"),
        };
        // Thu, 01 Jan 2026 00:00:00 GMT
        let clock = Arc::new(ManualClock::new(Timestamp { wall_ms: 1_767_225_600_000, boot_ms: 1_000_000 }));
        let shop = Arc::new(Shop::new());
        let pipeline = Pipeline::new(policy, shop.clone(), clock.clone(), Arc::new(|_| {}), [1; 32]);
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        UnderTest {
            runtime: runtime.expect("a runtime can be made"),
            pipeline,
            shop,
            clock,
            held: BTreeMap::new(),
            tags: BTreeMap::new(),
            contents: BTreeMap::new(),
            dated: BTreeMap::new(),
        }
    }

    pub fn play(&mut self, act: Act, expected: &Reference) {
        let outcome = if let Act::Mutate { outcome, .. } = act { Some(outcome) } else { None };
        self.shop.follow(expected, outcome);
        match act {
            Act::Get { caller, key, form } => self.get(caller, key, form, expected),
            Act::Mutate { caller, change, outcome } => self.mutate(caller, change, outcome),
            Act::Purge { what, soft } => drop(self.pipeline.purge(&selector(what), soft)),
            Act::Pass(seconds) => {
                let by = Duration::from_secs(seconds);
                self.clock.advance(by);
                self.runtime.block_on(async {
                    tokio::time::advance(by).await;
                    turns().await;
                });
            }
            Act::Jump(seconds) => self.clock.set_wall(self.clock.now().wall_ms + seconds * 1000),
            Act::Behind(..) | Act::Origin(_) => {}
        }
        assert_eq!(self.shop.asked(), expected.asked, "times the origin was asked");
    }

    fn send(&self, request: http::request::Builder) -> http::Response<Bytes> {
        let front = InProcess(self.pipeline.clone());
        let request = request.body(Bytes::new()).expect("it is well-formed");
        self.runtime.block_on(async {
            let answer = front.send(request).await.expect("it is answered");
            // What goes on in the background comes to its end.
            turns().await;
            answer
        })
    }

    fn mutate(&self, caller: u8, change: Change, outcome: Outcome) {
        let method = match change {
            Change::Put(_) => "PUT",
            Change::Delete(_) => "DELETE",
            Change::Post => "POST",
        };
        let status = match outcome {
            Outcome::Applied(status) | Outcome::Refused(status) => status,
            Outcome::Accepted(_) => 202,
            Outcome::Lost(_) | Outcome::Unreachable => 502,
        };
        assert_eq!(self.send(request(method, &target(change).path(), caller)).status().as_u16(), status);
    }

    fn get(&mut self, caller: u8, key: Key, form: Form, expected: &Reference) {
        let held = self.held.get(&(caller, key)).cloned();
        let method = if form == Form::Head { "HEAD" } else { "GET" };
        let mut request = request(method, &key.path(), caller);
        match (form, &held) {
            (Form::Range, _) => request = request.header("Range", "bytes=0-0"),
            (Form::Reload, _) => request = request.header("Cache-Control", "no-cache"),
            (Form::IfNoneMatch, Some(held)) => request = request.header("If-None-Match", &self.tags[&held.content]),
            (Form::IfModifiedSince, Some(Held { modified: Some(date), .. })) => {
                request = request.header("If-Modified-Since", date);
            }
            _ => {}
        }
        let answer = self.send(request);
        let cache_status = field(&answer, "cache-status").expect("it is on every answer");
        match expected.answered.expect("a GET is answered") {
            Answered::Hit { content, age, ttl } => {
                let said = format!("freshgate; hit; ttl={ttl}");
                let rest = cache_status.strip_prefix(&said).unwrap_or_else(|| panic!("{cache_status}, not {said}"));
                assert!(rest.is_empty() || rest.starts_with(';'), "{cache_status}, not {said}");
                assert_eq!(field(&answer, "age"), Some(age.to_string()));
                self.shows(&answer, (caller, key, form), content, held);
                self.dates(&answer, key, expected.whose(caller, key));
            }
            Answered::Asked { content } => {
                assert!(cache_status.starts_with("freshgate; fwd="), "{cache_status}");
                assert_eq!(field(&answer, "age"), None);
                self.shows(&answer, (caller, key, form), content, held);
                self.dates(&answer, key, expected.whose(caller, key));
            }
            Answered::Failed { status } => assert_eq!(answer.status().as_u16(), status, "{cache_status}"),
        }
    }

    /// The answer shows this content, in the form that was asked for.
    fn shows(
        &mut self,
        answer: &http::Response<Bytes>,
        (caller, key, form): (u8, Key, Form),
        content: Content,
        held: Option<Held>,
    ) {
        let status = answer.status().as_u16();
        let Some(content) = content else { return assert_eq!(status, 404) };
        let holds = held.is_some_and(|held| held.content == content);
        match form {
            Form::IfNoneMatch => assert_eq!(status, if holds { 304 } else { 200 }),
            // Not every date may answer alone; what answers is right.
            Form::IfModifiedSince => assert!(status == 200 || (status == 304 && holds), "{status}"),
            Form::Range => assert_eq!(status, 206),
            Form::Plain | Form::Head | Form::Reload => assert_eq!(status, 200),
        }
        let body = match status {
            304 => "",
            206 => "{",
            _ if form == Form::Head => "",
            _ => &text(content),
        };
        assert_eq!(std::str::from_utf8(answer.body()), Ok(body));
        let tag = field(answer, "etag").expect("what is there has one");
        assert_eq!(self.tags.entry(content).or_insert_with(|| tag.clone()), &tag, "of equal content");
        assert_eq!(self.contents.entry(tag).or_insert(content), &content, "of the same entity-tag");
        self.held.insert((caller, key), Held { content, modified: field(answer, "last-modified") });
    }

    /// "never in the future, never backwards"
    fn dates(&mut self, answer: &http::Response<Bytes>, key: Key, whose: Whose) {
        let Some(line) = field(answer, "last-modified") else { return };
        let now = HttpDate(self.clock.now().wall_seconds());
        let date = HttpDate::parse(line.as_bytes(), now).expect("it is a date");
        assert!(date <= now, "{line} is in the future");
        let newest = self.dated.entry((key, whose)).or_insert(date);
        assert!(date >= *newest, "{line} is before {newest}, which was shown");
        *newest = date;
    }
}

fn request(method: &str, path: &str, caller: u8) -> http::request::Builder {
    let request = http::Request::builder().method(method).uri(path);
    if caller == 0 { request } else { request.header("Authorization", format!("Bearer {caller}")) }
}

fn field(answer: &http::Response<Bytes>, name: &str) -> Option<String> {
    Some(answer.headers().get(name)?.to_str().expect("it is text").to_owned())
}

fn selector(what: Purge) -> Selector {
    // In the order in which they are configured.
    let (items, report) = (RouteId(0), RouteId(1));
    match what {
        Purge::All => Selector::All,
        Purge::Items => Selector::Route(items),
        Purge::Report => Selector::Route(report),
        Purge::Item(id) => Selector::Entity { id: EntityId(0), item: Some(id.to_string()) },
        Purge::Path(key) => Selector::Key(key.path()),
        Purge::Prefix => Selector::Prefix("/items/".into()),
    }
}

async fn turns() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}
