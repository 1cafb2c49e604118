//! Rounds of requests at once, and what may come back to whom.

use crate::world::{ACCEPTED_FOR, CONFIG, Person, SECRET, TENANTS, World, token};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use bytes::Bytes;
use freshgate::cli::demo::seeded::Seeded;
use freshgate::clock::{Clock, ManualClock, Timestamp};
use freshgate::config::{self, Overrides};
use freshgate::field::Fields;
use freshgate::pipeline::{Answer, Content, Handled, Pipeline};
use freshgate::semantics::cache_status::CacheStatus;
use freshgate::semantics::request::{Request, Scheme, Version};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

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
    /// By credential: when (in answers so far) it was last told 401, and the number of answers so far.
    refused: HashMap<String, u64>,
    answers: u64,
}

/// One hunt.
pub struct Hunt {
    world: Arc<World>,
    clock: Arc<ManualClock>,
    pipeline: Arc<Pipeline>,
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
    pub fn begin(seed: u64) -> Hunt {
        let clock = Arc::new(ManualClock::new(Timestamp { wall_ms: 1_767_225_600_000, boot_ms: 1_000_000 }));
        let world = Arc::new(World::new(clock.clone(), seed));
        let secret = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
        let policy = match config::parse(CONFIG, "leaks.toml", &Overrides::default(), &secret) {
            Ok(loaded) => loaded.policy,
            Err(errors) => panic!("{errors}"),
        };
        let pipeline =
            Pipeline::new(Arc::new(policy), world.clone(), clock.clone(), Arc::new(|_| {}), [seed as u8; 32]);
        let hunt = Hunt {
            world,
            clock,
            pipeline,
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
        let mut findings = self.ledger().findings.clone();
        findings
            .extend(self.pipeline.demoted().map(|route| format!("{} is demoted, and nobody was lied to", route.name)));
        findings
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
        let now = self.clock.now().wall_seconds();
        let exp = now + 20 + i64::try_from(self.draw(400)).expect("small");
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
            let (pipeline, ledger, world) = (self.pipeline.clone(), self.ledger.clone(), self.world.clone());
            let cancelled = self.draw(20) == 0;
            let task = tokio::spawn(async move {
                let answer = match asked.method {
                    "GET" => match pipeline.retrieve(request, None).await {
                        Handled::Answer(answer) => answer,
                        Handled::Pass(_) => panic!("nothing streams here"),
                    },
                    _ => pipeline.mutate(request, Bytes::from_static(b"x"), None).await,
                };
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
        self.clock.advance(Duration::from_millis(self.draw(6000)));
        let number = self.draw(12);
        let at = usize::try_from(number).expect("small");
        let known = self.people.lock().expect("nobody panics here")[at].clone();
        let over = known.verified_until.is_some_and(|until| until < self.clock.now().wall_seconds() - 30);
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
        Asked { person, path: self.path(), method, at: self.clock.now(), answers: self.ledger().answers }
    }

    fn request(&self, asked: &Asked) -> Request {
        let mut fields = Fields::new();
        fields.push("Host", "shop.test");
        if let Some((name, value)) = &asked.person.credential {
            fields.push(*name, value.clone());
        }
        if self.draw(3) == 0 {
            // Somebody's: a 304 to it says that one has the same.
            let ledger = self.ledger();
            let at = usize::try_from(self.draw(ledger.recent.len() as u64)).expect("small");
            if let Some(tag) = ledger.recent.get(at) {
                fields.push("If-None-Match", tag.clone());
            }
        }
        Request {
            method: asked.method.into(),
            scheme: Scheme::Http,
            authority: "shop.test".into(),
            path: asked.path.clone(),
            query: None,
            fields,
            version: Version::Http11,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            has_body: asked.method != "GET",
        }
    }
}

impl Ledger {
    /// Holds an answer against what its caller may be told.
    fn look_at(&mut self, asked: &Asked, answer: &Answer, world: &World) {
        self.answers += 1;
        let own = asked.person.credential.as_ref().map(|(_, value)| value.clone()).unwrap_or_default();
        let hit = matches!(answer.exchange.cache_status, CacheStatus::Hit { .. });
        let collapsed = matches!(answer.exchange.cache_status, CacheStatus::Forward(forwarded) if forwarded.collapsed);
        self.counts.hits += u64::from(hit);
        self.counts.collapsed += u64::from(collapsed);
        self.counts.not_modified += u64::from(answer.head.status == 304);
        self.counts.refused += u64::from(matches!(answer.head.status, 401 | 403));
        let text = |name: &str| answer.head.fields.get(name).map(|v| String::from_utf8_lossy(v).into_owned());
        for cookie in answer.head.fields.get_all("set-cookie") {
            let of = cookie.strip_prefix(b"of=").and_then(|value| BASE64URL.decode(value).ok());
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
        if answer.head.status == 304 {
            let whose = text("etag").and_then(|tag| self.tags.get(&tag).cloned());
            if whose.is_some_and(|whose| !whose_may_be(&whose)) {
                self.find(asked, answer, "a 304 of what is not for this caller");
            }
        }
        let Content::Whole(body) = &answer.content else { return };
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return };
        // The proxy's own answers carry no mark.
        let (Some(by), Some(whose)) = (body["by"].as_str(), body["whose"].as_str()) else { return };
        if let (200, Some(tag)) = (answer.head.status, text("etag")) {
            if self.recent.len() == 64 {
                self.recent.pop_front();
            }
            self.recent.push_back(tag.clone());
            self.tags.insert(tag, whose.to_owned());
        }
        if answer.head.status == 401 && asked.method == "GET" {
            self.refused.insert(own.clone(), self.answers);
        }
        if by == own {
            return;
        }
        self.counts.others += 1;
        if !may_share {
            self.find(asked, answer, &format!("made for {by}, whom this caller may not share with"));
        }
        let shareable = matches!(answer.head.status, 200 | 404);
        if !shareable || answer.head.status == 200 && !whose_may_be(whose) {
            self.find(asked, answer, &format!("made for {by}, and marked {whose}"));
        }
    }

    /// Whether the caller may be answered with what the origin said to somebody else.
    fn may_share(&self, asked: &Asked, own: &str, scope: &str, world: &World) -> bool {
        // A 401 that was answered before this request began ended all that came before; the origin's word after it counts.
        let refused_before = self.refused.get(own).is_some_and(|at| *at <= asked.answers);
        let literal = asked.path.matches('/').count() == 1;
        let state = world.state();
        let accepted_at = |path: &str| state.acceptances.get(&(own.to_owned(), path.to_owned())).copied();
        let ago = |at: u64| (asked.at.boot_ms / 1000).saturating_sub(at);
        let lives = asked.person.verified_until.is_some_and(|until| asked.at.wall_seconds() <= until);
        let over = asked.person.verified_until.is_some() && !lives;
        match scope {
            "public" => true,
            "claim" => lives && (!refused_before || accepted_anywhere(&state.acceptances, own)),
            "authenticated" => {
                let last = if literal { accepted_at("/authenticated") } else { accepted_at(&asked.path) };
                // The origin decides before its answer arrives, by two rounds at most.
                let lately = last.is_some_and(|at| ago(at) <= ACCEPTED_FOR + 12);
                !over && (lately || lives && (!refused_before || last.is_some()))
            }
            _ => false,
        }
    }

    fn find(&mut self, asked: &Asked, answer: &Answer, what: &str) {
        if self.findings.len() < 20 {
            let Asked { person, path, method, .. } = asked;
            let status = (answer.head.status, answer.exchange.cache_status);
            self.findings.push(format!("{method} {path} by {person:?} got {status:?}: {what}"));
        }
    }
}

fn accepted_anywhere(acceptances: &HashMap<(String, String), u64>, own: &str) -> bool {
    acceptances.keys().any(|(credential, _)| credential == own)
}
