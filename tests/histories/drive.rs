//! Plays a plan against a front, and writes down what clients see.

use crate::history::{Log, Read, Seen, Written};
use crate::plan::{Act, KEYS, Key, Plan, Step};
use crate::registers::STEP;
use bytes::Bytes;
use freshgate::cli::demo::front::Front;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// Who drives.
pub struct Driver {
    pub front: Arc<dyn Front>,
    pub log: Arc<Log>,
    /// Corrects the wall clock, where it can be.
    pub jump: Box<dyn Fn(i64) + Send + Sync>,
    tags: Mutex<Tags>,
}

/// Entity-tags that clients were given.
#[derive(Default)]
struct Tags {
    last: HashMap<Key, String>,
    /// What each one names.
    names: HashMap<String, (u64, Option<u8>)>,
}

impl Driver {
    pub fn new(front: Arc<dyn Front>, log: Arc<Log>, jump: Box<dyn Fn(i64) + Send + Sync>) -> Arc<Driver> {
        Arc::new(Driver { front, log, jump, tags: Mutex::default() })
    }

    /// All of a plan's steps, and then, when nothing that they began can still change anything, what there is at rest.
    pub async fn play(self: &Arc<Self>, plan: &Plan, callers: u8) {
        let start = now();
        let mut clients = JoinSet::new();
        for (number, step) in plan.steps.iter().copied().enumerate() {
            sleep_until(start + Duration::from_millis(step.at)).await;
            if let Act::Jump(seconds) = step.act {
                (self.jump)(seconds);
                continue;
            }
            let driver = self.clone();
            clients.spawn(async move {
                let client = driver.client(number, step);
                match step.leaves {
                    Some(after) => drop(tokio::time::timeout(Duration::from_millis(after), client).await),
                    None => client.await,
                }
            });
        }
        sleep(plan.setting.timing.latest()).await;
        // Answers that drip on are left at that.
        self.rest(callers).await;
        clients.abort_all();
        while let Some(ended) = clients.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }

    /// Two reads of each key by each caller.
    async fn rest(&self, callers: u8) {
        for key in KEYS {
            for caller in 0..callers {
                for _ in 0..2 {
                    let read = self.read(None, caller, key, false).await;
                    self.log.quiet(read);
                }
            }
        }
    }

    async fn client(&self, number: usize, step: Step) {
        match step.act {
            Act::Read { key, conditional, .. } => {
                let read = self.read(Some(number), step.caller, key, conditional).await;
                self.log.read(read);
            }
            Act::Write { change, writing, large } => {
                let (method, path) = change.request();
                let request = request(method, &path, step.caller).header(STEP, number);
                let body = Bytes::from(if large { "x".repeat(64 * 1024) } else { "x".into() });
                let began = self.log.moment();
                self.log.writes(Written {
                    step: number,
                    change,
                    writing,
                    began,
                    arrived: None,
                    answered: None,
                    ended: None,
                    status: None,
                });
                let answer = self.front.send(request.body(body).expect("it is well-formed")).await;
                if let Ok(answer) = answer {
                    self.log.ended(number, answer.status().as_u16());
                }
            }
            Act::Jump(_) => unreachable!("nobody asks for it"),
        }
    }

    async fn read(&self, step: Option<usize>, caller: u8, key: Key, conditional: bool) -> Read {
        let mut request = request("GET", &key.path(), caller);
        if let Some(step) = step {
            request = request.header(STEP, step);
        }
        let tag = self.tags.lock().expect("nobody panics here").last.get(&key).cloned().filter(|_| conditional);
        if let Some(tag) = tag {
            request = request.header("If-None-Match", tag);
        }
        let (began, start) = (self.log.moment(), now());
        let answer = self.front.send(request.body(Bytes::new()).expect("it is well-formed")).await;
        let (took, ended) = (now() - start, self.log.moment());
        let field = |name: &str| {
            let answer = answer.as_ref().ok()?;
            answer.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let cache_status = field("cache-status").unwrap_or_default();
        let seen = match &answer {
            Ok(answer) => self.seen(key, answer, field("etag")),
            Err(_) => Seen::Broken,
        };
        Read { step, caller, key, began, ended, took, seen, cache_status }
    }

    fn seen(&self, key: Key, answer: &http::Response<Bytes>, tag: Option<String>) -> Seen {
        let mut tags = self.tags.lock().expect("nobody panics here");
        match answer.status().as_u16() {
            200 => {
                let text = String::from_utf8_lossy(answer.body()).into_owned();
                let Some((version, whose)) = representation(key, answer.body()) else { return Seen::Nonsense(text) };
                if let Some(tag) = &tag {
                    tags.last.insert(key, tag.clone());
                    // P4: different content, different entity-tag.
                    if *tags.names.entry(tag.clone()).or_insert((version, whose)) != (version, whose) {
                        return Seen::Nonsense(format!("{text} under the entity-tag of another version, {tag}"));
                    }
                }
                Seen::Version { version, whose, not_modified: false }
            }
            304 => match tag.as_ref().and_then(|tag| tags.names.get(tag)) {
                Some((version, whose)) => Seen::Version { version: *version, whose: *whose, not_modified: true },
                None => Seen::UnknownTag(tag.unwrap_or_default()),
            },
            status => Seen::Status(status),
        }
    }
}

/// The version and whose it is, of a whole representation of `key`.
fn representation(key: Key, body: &[u8]) -> Option<(u64, Option<u8>)> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let whose = body.get("whose").map(|whose| u8::try_from(whose.as_u64()?).ok());
    (body["key"] == key.path()).then_some((body["version"].as_u64()?, whose.unwrap_or(None)))
}

fn request(method: &str, path: &str, caller: u8) -> http::request::Builder {
    let request = http::Request::builder().method(method).uri(path).header("Host", "shop.test");
    request.header("Authorization", format!("Bearer {caller}"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the runtime's own clock, which stands still where histories are in process"
)]
fn now() -> Instant {
    Instant::now()
}
