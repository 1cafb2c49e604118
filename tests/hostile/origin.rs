//! The origin behind the rows: it answers with what it was asked, unless a row has it say something else.

use crate::catalogue::Then;
use crate::scripted::{After, Origin, Request, json, write};
use serde_json::json;
use std::io::Read;
use std::sync::{Arc, Mutex};

/// The path of the requests that show that all is well; no row changes what they are answered with.
pub const FINE: &str = "/fine";

/// Below it the origin answers nothing.
pub const SILENT: &str = "/silent";

/// What a row has it say.
#[derive(Default)]
pub struct Script {
    answers: Vec<Vec<u8>>,
    next: usize,
    then: Then,
}

pub struct Talker {
    pub origin: Origin,
    script: Arc<Mutex<Script>>,
}

impl Default for Talker {
    fn default() -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let inner = script.clone();
        let origin = Origin::start(move |request, peer| {
            let told = match request.line() {
                line if line.contains(FINE) => None,
                line if line.contains(SILENT) => Some((Vec::new(), Then::Hold)),
                _ => next(&inner),
            };
            let (answer, then) = told.unwrap_or_else(|| (told_back(request), Then::Keep));
            write(peer, &answer);
            match then {
                Then::Keep => After::Keep,
                Then::Close => After::Close,
                Then::Reset => After::Reset,
                Then::Hold => {
                    // Until the proxy has enough of it.
                    while matches!(peer.read(&mut [0; 1024]), Ok(1..)) {}
                    After::Close
                }
            }
        });
        Talker { origin, script }
    }
}

impl Talker {
    /// From here on it says this.
    pub fn say(&self, answers: Vec<Vec<u8>>, then: Then) {
        *self.script.lock().expect("no holder panics") = Script { answers, next: 0, then };
    }

    /// Everything that it was asked since the last look, but for what shows that all is well.
    pub fn asked(&self) -> Vec<Request> {
        let came = std::iter::from_fn(|| self.origin.asked_so_far());
        came.filter(|request| !request.line().contains(FINE)).collect()
    }
}

/// What is said next; the last answer as often as asked.
fn next(script: &Mutex<Script>) -> Option<(Vec<u8>, Then)> {
    let mut script = script.lock().expect("no holder panics");
    let answer = script.answers.get(script.next).or(script.answers.last())?.clone();
    script.next += 1;
    Some((answer, script.then))
}

/// Whom it was told, and what: so a response in the wrong place is noticed.
fn told_back(request: &Request) -> Vec<u8> {
    let told = json!({
        "asked": request.line(),
        "for": request.head.fields("authorization"),
        "body": String::from_utf8_lossy(&request.body),
    });
    json(&[], &told.to_string()).into_bytes()
}
