//! The origin: it has what the model says that there is, and behaves as the model says.

use crate::act::{Health, Outcome};
use crate::reference::{Content, Key, Reference};
use bytes::Bytes;
use freshgate::field::Fields;
use freshgate::origin::{Ask, Framing, Head, Interim, Origin, OriginError, OriginErrorKind, Reply};
use futures_util::{StreamExt, stream};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

pub struct Shop(Mutex<State>);

struct State {
    contents: BTreeMap<Key, Content>,
    health: Health,
    outcome: Option<Outcome>,
    asked: usize,
}

impl Shop {
    pub fn new() -> Shop {
        let contents = BTreeMap::new();
        Shop(Mutex::new(State { contents, health: Health::Well, outcome: None, asked: 0 }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics under it")
    }

    /// From here on it is as the model says; the next mutation comes out like this.
    pub fn follow(&self, reference: &Reference, outcome: Option<Outcome>) {
        let contents = reference.contents.clone();
        *self.state() = State { contents, health: reference.health, outcome, asked: 0 };
    }

    /// How often it was asked since.
    pub fn asked(&self) -> usize {
        self.state().asked
    }
}

#[async_trait::async_trait]
impl Origin for Shop {
    async fn ask(&self, ask: Ask, _: Option<Interim>) -> Result<Reply, OriginError> {
        let mut state = self.state();
        state.asked += 1;
        if ask.method != "GET" {
            return match state.outcome.expect("the model says what comes of each mutation") {
                Outcome::Applied(status) | Outcome::Refused(status) => Ok(reply(status, "{}")),
                Outcome::Accepted(_) => Ok(reply(202, "{}")),
                Outcome::Lost(_) => Err(failed(OriginErrorKind::Protocol)),
                Outcome::Unreachable => Err(failed(OriginErrorKind::Connect)),
            };
        }
        let key = Key::ALL.into_iter().find(|key| key.path() == ask.target).expect("nothing else is asked for");
        match (state.health, state.contents[&key]) {
            (Health::Unreachable, _) => Err(failed(OriginErrorKind::Connect)),
            (Health::Fails(status), _) => Ok(reply(status, "{\"error\":true}")),
            (Health::Well, Some(content)) => Ok(reply(200, &text(content))),
            (Health::Well, None) => Ok(reply(404, "{\"error\":\"there is none\"}")),
        }
    }
}

/// A content.
pub fn text(content: u32) -> String {
    format!("{{\"content\":{content}}}")
}

fn reply(status: u16, body: &str) -> Reply {
    let fields: Fields = [("Content-Type", "application/json")].into_iter().collect();
    let body = Bytes::copy_from_slice(body.as_bytes());
    Reply {
        head: Head { status, reason: Bytes::new(), fields },
        framing: Framing::Length(body.len() as u64),
        body: stream::iter([Ok(body)]).boxed(),
    }
}

fn failed(kind: OriginErrorKind) -> OriginError {
    OriginError { kind, cause: "the model says so".into() }
}
