//! Rounds of requests at once: who asks for what, and what happens meanwhile.

use crate::ledger::{Asked, Counts, Ledger};
use crate::world::{HOSTS, KINDS, Lifetime, MINE, Pace, Person, SECRET, TENANTS, Url, World, token};
use bytes::Bytes;
use freshgate::cli::demo::front::Front;
use freshgate::cli::demo::seeded::Seeded;
use std::sync::{Arc, Mutex, MutexGuard};

/// Requests that are under way at once.
const AT_ONCE: u64 = 40;

/// People who ask.
const PEOPLE: u64 = 16;

/// One hunt.
pub struct Hunt {
    world: Arc<World>,
    fronts: Vec<Arc<dyn Front>>,
    ledger: Arc<Mutex<Ledger>>,
    people: Mutex<Vec<Person>>,
    focus: Mutex<Focus>,
    seeded: Mutex<Seeded>,
}

/// Somebody who goes on asking for the same for a while, so that what happens to them there shows.
#[derive(Clone)]
struct Focus {
    person: usize,
    url: Url,
}

impl Hunt {
    /// A hunt through these fronts of one proxy, whose origin is `world`.
    pub fn begin(seed: u64, world: Arc<World>, fronts: Vec<Arc<dyn Front>>) -> Hunt {
        let nobody = Focus { person: 0, url: Url { host: HOSTS[0].to_owned(), target: "/user".to_owned() } };
        let hunt = Hunt {
            world,
            focus: Mutex::new(nobody),
            fronts,
            ledger: Arc::default(),
            people: Mutex::default(),
            seeded: Mutex::new(Seeded::new(seed)),
        };
        let people = (0..PEOPLE).map(|number| hunt.person(number)).collect();
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

    fn one_of<T: Copy>(&self, all: &[T]) -> T {
        all[usize::try_from(self.draw(all.len() as u64)).expect("an index")]
    }

    /// Somebody new.
    fn person(&self, number: u64) -> Person {
        let tenant = usize::try_from(self.draw(TENANTS.len() as u64)).expect("small");
        let another = (tenant + 1) % TENANTS.len();
        let name = format!("p{number}-{}", self.draw(1 << 40));
        let now = self.world.clock.now().wall_seconds();
        let Pace { shortest_token, longest_token, .. } = self.world.pace;
        let life = i64::try_from(shortest_token + self.draw(longest_token - shortest_token)).expect("small");
        let lives = Lifetime { begins: i64::MIN / 1000, ends: now + life };
        let bearer = |claims: String, secret: &str| ("Authorization", format!("Bearer {}", token(&claims, secret)));
        let claims = |tenant: usize, at: Lifetime| {
            let Lifetime { begins, ends } = at;
            let not_before = if begins > 0 { format!(r#","nbf":{begins}"#) } else { String::new() };
            format!(r#"{{"sub":"{name}","tenant":{},"exp":{ends}{not_before}}}"#, TENANTS[tenant])
        };
        let good = || bearer(claims(tenant, lives), SECRET);
        let (cookie, key) = (("Cookie", format!("session={name}")), ("X-Api-Key", name.clone()));
        let (credentials, token, has_claim) = match number % 8 {
            0..=2 => (vec![good()], Some(lives), true),
            // Somebody else's tenant, under a signature of their own making.
            3 => (vec![bearer(claims(another, lives), "forged, and just as long as the other")], None, false),
            4 => (vec![cookie], None, false),
            5 if self.draw(4) == 0 => (vec![], None, false),
            5 => (vec![key], None, false),
            // The origin goes by what came along with a token that says something else.
            6 => (
                vec![bearer(claims(another, lives), SECRET), if self.draw(2) == 0 { cookie } else { key }],
                None,
                false,
            ),
            // Not yet, no more, and of nobody's tenant.
            _ => match self.draw(3) {
                0 => {
                    let later = Lifetime { begins: now + life / 2, ..lives };
                    (vec![bearer(claims(tenant, later), SECRET)], Some(later), true)
                }
                1 => {
                    let over = Lifetime { ends: now - 1, ..lives };
                    (vec![bearer(claims(tenant, over), SECRET)], Some(over), true)
                }
                _ => (vec![bearer(format!(r#"{{"sub":"{name}","exp":{}}}"#, lives.ends), SECRET)], Some(lives), false),
            },
        };
        let person = Person { tenant, credentials, token, has_claim };
        for host in HOSTS {
            if self.draw(5) > 0 {
                self.accept(host, &person);
            }
        }
        person
    }

    fn focus(&self) -> Focus {
        self.focus.lock().expect("nobody panics here").clone()
    }

    fn accept(&self, host: &str, person: &Person) {
        if !person.credentials.is_empty() {
            self.world.state().accepted.insert((host.to_owned(), person.own()), person.tenant);
        }
    }

    /// Things happen, then many ask at once.
    pub async fn round(&self) {
        self.world.pass(self.draw(2000));
        self.happen();
        // So that some meet.
        let focus = self.focus();
        let topics = [focus.url, self.url(), self.url()];
        let mut tasks = Vec::new();
        for _ in 0..AT_ONCE {
            let topic = topics.get(usize::try_from(self.draw(4)).expect("small"));
            let asked = self.asked(topic, focus.person);
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
            if self.draw(20) == 0 {
                self.world.pass(self.draw(1000));
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
        self.ledger().counts.requests += AT_ONCE;
    }

    /// Tokens end and others begin; the origin thinks anew of somebody, or is gone for a while.
    fn happen(&self) {
        if self.draw(6) == 0 {
            let person = usize::try_from(self.draw(PEOPLE)).expect("small");
            *self.focus.lock().expect("nobody panics here") = Focus { person, url: self.url() };
        }
        let focus = self.focus();
        let at = if self.draw(2) == 0 { focus.person } else { usize::try_from(self.draw(PEOPLE)).expect("small") };
        let number = at as u64;
        let known = self.people.lock().expect("nobody panics here")[at].clone();
        let (own, host) = (known.own(), self.one_of(&HOSTS));
        let now = self.world.clock.now().wall_seconds();
        let is_past = known.token.is_some_and(|token| token.ends < now - self.world.pace.mourned);
        let mut anew = None;
        match self.draw(12) {
            0 | 1 if is_past => anew = Some(self.person(number)),
            2 if self.draw(3) == 0 => anew = Some(self.person(number)),
            3 => drop(self.world.state().accepted.remove(&(host.to_owned(), own))),
            4 => self.accept(host, &known),
            5 => drop(self.world.state().forbidden.insert((own, focus.url))),
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

    fn url(&self) -> Url {
        let kind = self.one_of(&KINDS);
        let path = match self.draw(4) {
            _ if kind == "mine" => format!("/mine{}/{}", self.draw(MINE), 1 + self.draw(3)),
            0 => format!("/{kind}"),
            id => format!("/{kind}/{id}"),
        };
        let host = if self.draw(3) == 0 { HOSTS[1] } else { HOSTS[0] };
        // Another resource to the origin, whatever it looks like.
        let target = match self.draw(16) {
            0 => format!("{path}/"),
            1 => format!("{path}?"),
            2 | 3 => format!("{path}?page=2"),
            4 => match path.rsplit_once('/') {
                Some((route, id @ ("1" | "2" | "3"))) => format!("{route}/%3{id}"),
                _ => path,
            },
            _ => path,
        };
        Url { host: host.to_owned(), target }
    }

    fn asked(&self, topic: Option<&Url>, focus: usize) -> Asked {
        let at = if self.draw(8) == 0 { focus } else { usize::try_from(self.draw(PEOPLE)).expect("small") };
        let person = self.people.lock().expect("nobody panics here")[at].clone();
        let method = match self.draw(50) {
            0 => self.one_of(&["PUT", "PATCH", "DELETE", "POST"]),
            1..=4 => "HEAD",
            _ => "GET",
        };
        let origin = match self.draw(8) {
            0 => Some("https://a.example"),
            1 => Some("https://b.example"),
            _ => None,
        };
        Asked {
            person,
            url: topic.cloned().unwrap_or_else(|| self.url()),
            method,
            origin,
            at: self.world.clock.now(),
            answers: self.ledger().answers(),
            unreachable: self.world.state().unreachable,
        }
    }

    fn request(&self, asked: &Asked) -> http::Request<Bytes> {
        let mutates = !matches!(asked.method, "GET" | "HEAD");
        let mut request =
            http::Request::builder().method(asked.method).uri(&asked.url.target).header("Host", &asked.url.host);
        for (name, value) in &asked.person.credentials {
            request = request.header(*name, value);
        }
        if let Some(origin) = asked.origin {
            request = request.header("Origin", origin);
        }
        if self.draw(3) == 0 {
            // Somebody's: a 304 to it, or that it holds, says that one has the same.
            let at = self.draw(64);
            if let Some(tag) = self.ledger().recent(&asked.url, usize::try_from(at).expect("small")) {
                request = request.header(if mutates { "If-Match" } else { "If-None-Match" }, tag);
            }
        } else if !mutates && self.draw(8) == 0 {
            request = request.header("Cache-Control", "no-cache");
        } else if asked.method == "GET" && self.draw(12) == 0 {
            request = request.header("Range", "bytes=0-9");
        }
        let body = if mutates { Bytes::from_static(b"x") } else { Bytes::new() };
        request.body(body).expect("each part of it is well-formed")
    }
}
