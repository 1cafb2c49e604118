//! Rounds of requests at once, and what may come back to whom.

use crate::world::{Pace, Person, SECRET, TENANTS, World, token};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use bytes::Bytes;
use freshgate::cli::demo::front::Front;
use freshgate::cli::demo::seeded::Seeded;
use freshgate::clock::Timestamp;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

/// Requests that are under way at once.
const AT_ONCE: u64 = 40;

/// What a hunt saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub requests: u64,
    pub hits: u64,
    /// Answers that had been made for somebody else.
    pub others: u64,
    pub collapsed: u64,
    pub not_modified: u64,
    pub refused: u64,
    pub cancelled: u64,
}

/// What is written down while requests are under way.
#[derive(Default)]
struct Ledger {
    counts: Counts,
    findings: Vec<String>,
    /// Entity-tag to whose content it names.
    tags: HashMap<String, String>,
    /// Those of the last answers.
    recent: VecDeque<String>,
    /// By credential: the last 401 that it was told.
    refused: HashMap<String, Refusal>,
    answers: u64,
}

/// A 401 that somebody was told.
#[derive(Clone, Copy)]
struct Refusal {
    /// How many answers there had been.
    answers: u64,
    /// How many the origin had given when it decided so.
    decided: u64,
}

/// One hunt.
pub struct Hunt {
    world: Arc<World>,
    fronts: Vec<Arc<dyn Front>>,
    ledger: Arc<Mutex<Ledger>>,
    people: Mutex<Vec<Person>>,
    seeded: Mutex<Seeded>,
}

/// A request, and what was known when it began.
struct Asked {
    person: Person,
    path: String,
    method: &'static str,
    at: Timestamp,
    answers: u64,
}

impl Hunt {
    /// A hunt through these fronts of one proxy, whose origin is `world`.
    pub fn begin(seed: u64, world: Arc<World>, fronts: Vec<Arc<dyn Front>>) -> Hunt {
        let hunt = Hunt {
            world,
            fronts,
            ledger: Arc::default(),
            people: Mutex::default(),
            seeded: Mutex::new(Seeded::new(seed)),
        };
        let people = (0..12).map(|number| hunt.person(number)).collect();
        *hunt.people.lock().expect("nobody panics here") = people;
        hunt
    }

    pub fn counts(&self) -> Counts {
        self.ledger().counts
    }

    pub fn findings(&self) -> Vec<String> {
        self.ledger().findings.clone()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nobody panics here")
    }

    fn draw(&self, bound: u64) -> u64 {
        self.seeded.lock().expect("nobody panics here").below(bound)
    }

    /// Somebody new: with a good token, one that the proxy cannot verify, a cookie, a key, or nothing.
    fn person(&self, number: u64) -> Person {
        let tenant = usize::try_from(self.draw(TENANTS as u64)).expect("small");
        let name = format!("p{number}-{}", self.draw(1 << 40));
        let now = self.world.clock.now().wall_seconds();
        let Pace { shortest_token, longest_token, .. } = self.world.pace;
        let exp = now + i64::try_from(shortest_token + self.draw(longest_token - shortest_token)).expect("small");
        let bearer = |token: String| Some(("Authorization", format!("Bearer {token}")));
        let (credential, verified_until) = match number % 6 {
            0..=2 => (bearer(token(&name, tenant, exp, SECRET)), Some(exp)),
            // Somebody else's tenant, under a signature of their own making.
            3 => (bearer(token(&name, tenant, exp, "forged, and just as long as the other")), None),
            4 => (Some(("Cookie", format!("session={name}"))), None),
            _ if self.draw(4) == 0 => (None, None),
            _ => (Some(("X-Api-Key", name)), None),
        };
        if let Some((_, value)) = credential.as_ref().filter(|_| self.draw(5) > 0) {
            self.world.state().accepted.insert(value.clone(), tenant);
        }
        Person { tenant, credential, verified_until }
    }

    /// Things happen, then many ask at once.
    pub async fn round(&self) {
        self.happen();
        let mut tasks = Vec::new();
        for _ in 0..AT_ONCE {
            let asked = self.asked();
            let request = self.request(&asked);
            let at = usize::try_from(self.draw(self.fronts.len() as u64)).expect("small");
            let (front, ledger, world) = (self.fronts[at].clone(), self.ledger.clone(), self.world.clone());
            let cancelled = self.draw(20) == 0;
            let task = tokio::spawn(async move {
                let answer = front.send(request).await.expect("everybody is answered");
                ledger.lock().expect("nobody panics here").look_at(&asked, &answer, &world);
            });
            tasks.push((task, cancelled));
            for _ in 0..self.draw(4) {
                tokio::task::yield_now().await;
            }
        }
        for (task, cancelled) in tasks {
            if cancelled {
                task.abort();
            }
            match task.await {
                Ok(()) => {}
                Err(error) if error.is_cancelled() => self.ledger().counts.cancelled += 1,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        let mut ledger = self.ledger();
        ledger.counts.requests += AT_ONCE;
        // Old tags are of versions long gone.
        if ledger.tags.len() > 100_000 {
            ledger.tags.clear();
        }
    }

    /// Time passes; tokens end and others begin; the origin thinks anew of somebody, or is gone for a while.
    fn happen(&self) {
        self.world.pass(self.draw(6000));
        let number = self.draw(12);
        let at = usize::try_from(number).expect("small");
        let known = self.people.lock().expect("nobody panics here")[at].clone();
        let over = known
            .verified_until
            .is_some_and(|until| until < self.world.clock.now().wall_seconds() - self.world.pace.mourned);
        let mut anew = None;
        match self.draw(12) {
            0 | 1 if over => anew = Some(self.person(number)),
            2 if self.draw(3) == 0 => anew = Some(self.person(number)),
            3 => drop(known.credential.and_then(|(_, value)| self.world.state().accepted.remove(&value))),
            4 => {
                if let Some((_, value)) = known.credential {
                    self.world.state().accepted.insert(value, known.tenant);
                }
            }
            5 => {
                let path = self.path();
                if let Some((_, value)) = known.credential {
                    self.world.state().forbidden.insert((value, path));
                }
            }
            6 => self.world.state().forbidden.clear(),
            7 => {
                let down = self.draw(3) == 0;
                self.world.state().down = down;
            }
            _ => {}
        }
        if let Some(person) = anew {
            self.people.lock().expect("nobody panics here")[at] = person;
        }
    }

    fn path(&self) -> String {
        let scope =
            ["user", "authenticated", "claim", "public", "varies"][usize::try_from(self.draw(5)).expect("small")];
        match self.draw(4) {
            0 => format!("/{scope}"),
            id => format!("/{scope}/{id}"),
        }
    }

    fn asked(&self) -> Asked {
        let people = self.people.lock().expect("nobody panics here");
        let person = people[usize::try_from(self.draw(people.len() as u64)).expect("small")].clone();
        let method = if self.draw(25) == 0 { "PUT" } else { "GET" };
        Asked { person, path: self.path(), method, at: self.world.clock.now(), answers: self.ledger().answers }
    }

    fn request(&self, asked: &Asked) -> http::Request<Bytes> {
        let mut request = http::Request::builder().method(asked.method).uri(&asked.path);
        if let Some((name, value)) = &asked.person.credential {
            request = request.header(*name, value);
        }
        if self.draw(3) == 0 {
            // Somebody's: a 304 to it says that one has the same.
            let ledger = self.ledger();
            let at = usize::try_from(self.draw(ledger.recent.len() as u64)).expect("small");
            if let Some(tag) = ledger.recent.get(at) {
                request = request.header("If-None-Match", tag);
            }
        }
        let body = if asked.method == "GET" { Bytes::new() } else { Bytes::from_static(b"x") };
        request.body(body).expect("each part of it is well-formed")
    }
}

impl Ledger {
    /// Holds an answer against what its caller may be told.
    fn look_at(&mut self, asked: &Asked, answer: &http::Response<Bytes>, world: &World) {
        self.answers += 1;
        let own = asked.person.credential.as_ref().map(|(_, value)| value.clone()).unwrap_or_default();
        let text = |name: &str| answer.headers().get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
        let status = answer.status().as_u16();
        let cache_status = text("cache-status").unwrap_or_default();
        let (hit, collapsed) = (cache_status.starts_with("freshgate; hit"), cache_status.contains("; collapsed"));
        self.counts.hits += u64::from(hit);
        self.counts.collapsed += u64::from(collapsed);
        self.counts.not_modified += u64::from(status == 304);
        self.counts.refused += u64::from(matches!(status, 401 | 403));
        for cookie in answer.headers().get_all("set-cookie") {
            let of = cookie.as_bytes().strip_prefix(b"of=").and_then(|value| BASE64URL.decode(value).ok());
            if of.as_deref() != Some(own.as_bytes()) {
                self.find(asked, answer, "somebody else's Set-Cookie");
            }
        }
        let scope = asked.path.split('/').nth(1).unwrap_or_default().to_owned();
        let may_share = self.may_share(asked, &own, &scope, world);
        if hit && !may_share && scope == "authenticated" {
            self.find(asked, answer, "from the store, and not admitted");
        }
        let whose_may_be = |whose: &str| match scope.as_str() {
            "claim" => whose == format!("tenant {}", asked.person.tenant) || whose == format!("caller {own}"),
            "authenticated" => whose == "accepted" || whose == format!("caller {own}"),
            "public" => true,
            _ => whose == format!("caller {own}"),
        };
        if status == 304 {
            let whose = text("etag").and_then(|tag| self.tags.get(&tag).cloned());
            if whose.is_some_and(|whose| !whose_may_be(&whose)) {
                self.find(asked, answer, "a 304 of what is not for this caller");
            }
        }
        let Ok(body) = serde_json::from_slice::<Value>(answer.body()) else { return };
        // The proxy's own answers carry no mark.
        let (Some(by), Some(whose)) = (body["by"].as_str(), body["whose"].as_str()) else { return };
        if let (200, Some(tag)) = (status, text("etag")) {
            if self.recent.len() == 64 {
                self.recent.pop_front();
            }
            self.recent.push_back(tag.clone());
            self.tags.insert(tag, whose.to_owned());
        }
        if let (401, Some(decided)) = (status, body["decided"].as_u64()) {
            let refusal = Refusal { answers: self.answers, decided };
            let last = self.refused.entry(own.clone()).or_insert(refusal);
            if last.decided < decided {
                *last = refusal;
            }
        }
        if by == own {
            return;
        }
        self.counts.others += 1;
        if !may_share {
            self.find(asked, answer, &format!("made for {by}, whom this caller may not share with"));
        }
        let shareable = matches!(status, 200 | 404);
        if !shareable || status == 200 && !whose_may_be(whose) {
            self.find(asked, answer, &format!("made for {by}, and marked {whose}"));
        }
    }

    /// Whether the caller may be answered with what the origin said to somebody else.
    fn may_share(&self, asked: &Asked, own: &str, scope: &str, world: &World) -> bool {
        // A 401 that was told before this request began ended all that the origin had decided before it.
        let refused = self.refused.get(own).filter(|refusal| refusal.answers <= asked.answers).map(|last| last.decided);
        let literal = asked.path.matches('/').count() == 1;
        let state = world.state();
        let accepted = |path: &str| {
            let last = state.acceptances.get(&(own.to_owned(), path.to_owned()))?;
            (last.decided > refused.unwrap_or(0)).then_some(last.at)
        };
        let accepted_anywhere = || {
            let of_own = state.acceptances.iter().filter(|((credential, _), _)| credential == own);
            of_own.map(|(_, last)| last.decided).max().is_some_and(|last| last > refused.unwrap_or(0))
        };
        let lives = asked.person.verified_until.is_some_and(|until| asked.at.wall_seconds() <= until);
        let over = asked.person.verified_until.is_some() && !lives;
        match scope {
            "public" => true,
            "claim" => lives && (refused.is_none() || accepted_anywhere()),
            "authenticated" => {
                let last = if literal { accepted("/authenticated") } else { accepted(&asked.path) };
                let lately = last.is_some_and(|at| asked.at.since(at) <= world.pace.accepted_for + world.pace.underway);
                !over && (lately || lives && (refused.is_none() || last.is_some()))
            }
            _ => false,
        }
    }

    fn find(&mut self, asked: &Asked, answer: &http::Response<Bytes>, what: &str) {
        if self.findings.len() < 20 {
            let Asked { person, path, method, .. } = asked;
            let got = (answer.status(), answer.headers().get("cache-status"));
            self.findings.push(format!("{method} {path} by {person:?} got {got:?}: {what}"));
        }
    }
}
