//! Who there is, what the origin thinks of them, and how it marks what it says.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use bytes::Bytes;
use freshgate::cli::demo::seeded::Seeded;
use freshgate::clock::{Clock, ManualClock, SystemClock, Timestamp};
use freshgate::field::Fields;
use freshgate::origin::{Ask, Framing, Head, Interim, Origin, OriginError, OriginErrorKind, Reply};
use futures_util::{StreamExt, stream};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What the proxy verifies tokens with.
pub const SECRET: &str = "a secret of thirty-two octets and more";

/// The routes, one for each way to share.
pub const CONFIG: &str = r#"
[identity.jwt]
algorithm = "HS256"
key = "env:SECRET"
[defaults]
fresh = "20s"
negative = "5s"
stale_while_revalidate = "5s"
stale_if_error = "30s"
set_cookie = "strip"
[defaults.etag]
ignore = ["/by"]
[[route]]
name = "user"
paths = ["/user", "/user/{id}"]
[[route]]
name = "authenticated"
paths = ["/authenticated", "/authenticated/{id}"]
scope = "authenticated"
[[route]]
name = "claim"
paths = ["/claim", "/claim/{id}"]
scope = "claim:tenant"
[[route]]
name = "public"
paths = ["/public", "/public/{id}"]
scope = "public"
[[route]]
name = "varies"
paths = ["/varies", "/varies/{id}"]
scope = "authenticated"
"#;

/// How fast things happen.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// `identity.accepted_for`.
    pub accepted_for: Duration,
    /// How long an answer of the origin is under way, at most.
    pub underway: Duration,
    /// How long tokens live, in seconds.
    pub shortest_token: u64,
    pub longest_token: u64,
    /// How long somebody goes on with a token that is over, in seconds.
    pub mourned: i64,
}

impl Pace {
    /// On a clock that is moved by hand, up to six seconds a round; an answer is under way for two rounds at most.
    pub const BY_HAND: Pace = Pace {
        accepted_for: Duration::from_secs(60),
        underway: Duration::from_secs(12),
        shortest_token: 20,
        longest_token: 420,
        mourned: 30,
    };

    /// On the machine's clock, which may stand still for some seconds on a busy machine.
    pub const REAL: Pace = Pace {
        accepted_for: Duration::from_millis(500),
        underway: Duration::from_secs(10),
        shortest_token: 2,
        longest_token: 8,
        mourned: 1,
    };
}

/// Tenants that there are.
pub const TENANTS: usize = 3;

/// Somebody who sends requests.
#[derive(Clone, Debug)]
pub struct Person {
    pub tenant: usize,
    /// The credential's field and value.
    pub credential: Option<(&'static str, String)>,
    /// Until when (wall time in seconds) the proxy can verify the token; `None` where it cannot.
    pub verified_until: Option<i64>,
}

/// A token of `tenant`, signed with `secret`.
pub fn token(name: &str, tenant: usize, exp: i64, secret: &str) -> String {
    let header = BASE64URL.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = format!(r#"{{"sub":"{name}","tenant":"t{tenant}","exp":{exp}}}"#);
    let signed = format!("{header}.{}", BASE64URL.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", BASE64URL.encode(mac.finalize().into_bytes()))
}

/// What the origin knows.
#[derive(Default)]
pub struct State {
    /// Credentials that it accepts.
    pub accepted: HashMap<String, usize>,
    /// Credential and path that it forbids.
    pub forbidden: HashSet<(String, String)>,
    pub versions: HashMap<String, u64>,
    /// By credential and URL: when it last accepted a GET.
    pub acceptances: HashMap<(String, String), Acceptance>,
    pub down: bool,
    /// Answers that it has decided on.
    pub decided: u64,
}

#[derive(Clone, Copy)]
pub struct Acceptance {
    pub at: Timestamp,
    /// Which of the origin's answers it was.
    pub decided: u64,
}

/// An origin that says whose each response is, and takes its time.
pub struct World {
    pub clock: Arc<dyn Clock>,
    by_hand: Option<Arc<ManualClock>>,
    pub pace: Pace,
    pub state: Mutex<State>,
    seeded: Mutex<Seeded>,
}

impl World {
    /// A world whose clock is moved by hand.
    pub fn by_hand(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp { wall_ms: 1_767_225_600_000, boot_ms: 1_000_000 }));
        World { by_hand: Some(clock.clone()), pace: Pace::BY_HAND, clock, ..World::real(seed) }
    }

    /// A world in real time.
    pub fn real(seed: u64) -> Self {
        let seeded = Mutex::new(Seeded::new(seed ^ 0x0ddb));
        World { clock: Arc::new(SystemClock), by_hand: None, pace: Pace::REAL, state: Mutex::default(), seeded }
    }

    /// Time passes where it does not by itself.
    pub fn pass(&self, ms: u64) {
        if let Some(clock) = &self.by_hand {
            clock.advance(Duration::from_millis(ms));
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics here")
    }

    fn draw(&self, bound: u64) -> u64 {
        self.seeded.lock().expect("nobody panics here").below(bound)
    }

    async fn dawdle(&self) {
        for _ in 0..self.draw(12) {
            tokio::task::yield_now().await;
        }
    }

    fn answer(&self, ask: &Ask, credential: &str) -> (u16, String) {
        let path = ask.target.split('?').next().unwrap_or_default().to_owned();
        let scope = path.split('/').nth(1).unwrap_or_default().to_owned();
        let luck = self.draw(100);
        let mut state = self.state();
        state.decided += 1;
        let (at, decided) = (self.clock.now(), state.decided);
        let tenant = state.accepted.get(credential).copied();
        let status = match tenant {
            None if scope != "public" => 401,
            _ if state.forbidden.contains(&(credential.to_owned(), path.clone())) => 403,
            _ if luck < 4 => 500,
            _ if luck < 8 => 404,
            _ => 200,
        };
        if ask.method != "GET" && status == 200 {
            *state.versions.entry(path.clone()).or_default() += 1;
        }
        if ask.method == "GET" && status == 200 {
            state.acceptances.insert((credential.to_owned(), ask.target.clone()), Acceptance { at, decided });
        }
        let version = state.versions.get(&path).copied().unwrap_or(0);
        let whose = match (status, scope.as_str()) {
            (200, "authenticated") => "accepted".to_owned(),
            (200, "claim") => format!("tenant {}", tenant.unwrap_or(usize::MAX)),
            (200, "public") => "everybody".to_owned(),
            _ => format!("caller {credential}"),
        };
        // Of a 401 it matters when; of the others the content would never be the same twice.
        let decided = if status == 401 { format!(r#","decided":{decided}"#) } else { String::new() };
        (status, format!(r#"{{"whose":"{whose}","by":"{credential}","path":"{path}","version":{version}{decided}}}"#))
    }
}

#[async_trait::async_trait]
impl Origin for World {
    async fn ask(&self, ask: Ask, _: Option<Interim>) -> Result<Reply, OriginError> {
        self.dawdle().await;
        if self.state().down {
            return Err(OriginError { kind: OriginErrorKind::Connect, cause: "it is down".into() });
        }
        let credential = credential_of(&ask.fields);
        let (status, body) = self.answer(&ask, &credential);
        self.dawdle().await;
        let mut fields: Fields = [("Content-Type", "application/json")].into_iter().collect();
        if ask.target.starts_with("/varies") {
            fields.push("Vary", "Authorization, Cookie, X-Api-Key");
        }
        if self.draw(10) == 0 {
            fields.push("Set-Cookie", format!("of={}", BASE64URL.encode(&credential)));
        }
        let body = Bytes::from(body);
        Ok(Reply {
            head: Head { status, reason: Bytes::new(), fields },
            framing: Framing::Length(body.len() as u64),
            body: stream::iter([Ok(body)]).boxed(),
        })
    }
}

/// The one credential among the fields; empty where there is none.
pub fn credential_of(fields: &Fields) -> String {
    let all = ["authorization", "cookie", "x-api-key"].iter().flat_map(|name| fields.get_all(name));
    all.map(|value| String::from_utf8_lossy(value).into_owned()).collect::<Vec<_>>().join(" and ")
}
