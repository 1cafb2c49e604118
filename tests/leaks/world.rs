//! Who there is, what the origin thinks of them, and how it marks what it says.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use bytes::Bytes;
use freshgate::cli::demo::seeded::Seeded;
use freshgate::clock::{Clock, ManualClock, SystemClock, Timestamp};
use freshgate::field::Fields;
use freshgate::field::date::HttpDate;
use freshgate::origin::{Ask, Framing, Head, Interim, Origin, OriginError, OriginErrorKind, Reply};
use futures_util::{StreamExt, stream};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What the proxy verifies tokens with.
pub const SECRET: &str = "a secret of thirty-two octets and more";

/// The names that the origin has; it tells each something else.
pub const HOSTS: [&str; 2] = ["a.test", "b.test"];

/// The values of the claim `tenant`: a text and a number of the same digits are two tenants.
pub const TENANTS: [&str; 3] = [r#""1""#, r#""2""#, "1"];

/// Routes that are said to be shared, whose callers are told different things all the same. Each is demoted as soon as
/// that shows, so there are several.
pub const MINE: u64 = 4;

/// All that a caller may be asked for, by what stands first in its path.
pub const KINDS: [&str; 7] = ["user", "authenticated", "claim", "weak", "public", "varies", "mine"];

/// The routes, one for each way to share.
pub fn config() -> String {
    let mut config = String::from(
        r#"
[identity.jwt]
algorithm = "HS256"
key = "env:SECRET"
[defaults]
fresh = "20s"
negative = "5s"
stale_while_revalidate = "5s"
stale_if_error = "60s"
set_cookie = "strip"
"#,
    );
    let mut route = |name: &str, lines: &str| {
        let paths = format!(r#"["/{name}", "/{name}/{{id}}"]"#);
        writeln!(config, "[[route]]\nname = \"{name}\"\npaths = {paths}\n{lines}").expect("a text takes every text");
    };
    route("user", "");
    route("authenticated", "scope = \"authenticated\"");
    route("claim", "scope = \"claim:tenant\"");
    route("weak", "scope = \"claim:tenant\"\netag = { ignore = [\"/decided\"] }");
    route("public", "scope = \"public\"");
    route("varies", "scope = \"authenticated\"");
    for number in 0..MINE {
        route(&format!("mine{number}"), "scope = \"authenticated\"");
    }
    config
}

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
    /// On a clock that is moved by hand, up to three seconds between rounds and about one during a round.
    pub const BY_HAND: Pace = Pace {
        accepted_for: Duration::from_secs(15),
        underway: Duration::from_secs(6),
        shortest_token: 10,
        longest_token: 200,
        mourned: 20,
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

/// `stale_if_error`: for how long the last acceptance holds while the origin cannot be reached.
pub const STALE_IF_ERROR: Duration = Duration::from_secs(60);

/// Somebody who sends requests.
#[derive(Clone, Debug)]
pub struct Person {
    /// Which of [`TENANTS`] the origin counts them to.
    pub tenant: usize,
    /// Fields and values, in the order in which the origin reads them.
    pub credentials: Vec<(&'static str, String)>,
    /// When the proxy can verify their token; `None` where it never can, or must not go by it.
    pub token: Option<Lifetime>,
    /// Whether that token says whose tenant they are.
    pub has_claim: bool,
}

/// From when until when a token lives, in seconds of wall time.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    pub begins: i64,
    pub ends: i64,
}

impl Person {
    /// All their credentials, as the origin sees them.
    pub fn own(&self) -> String {
        together(self.credentials.iter().map(|(_, value)| value.clone()))
    }

    /// Whether they have a verified token that lives.
    pub fn lives(&self, at: Timestamp) -> bool {
        self.token.is_some_and(|token| (token.begins * 1000..token.ends * 1000).contains(&at.wall_ms))
    }
}

/// A token with these claims, signed with `secret`.
pub fn token(claims: &str, secret: &str) -> String {
    let header = BASE64URL.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{header}.{}", BASE64URL.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", BASE64URL.encode(mac.finalize().into_bytes()))
}

/// One URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    pub host: String,
    /// Path and query, as sent: to this origin each spelling is another resource.
    pub target: String,
}

impl Url {
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The name of its route.
    pub fn route(&self) -> &str {
        self.path().split('/').nth(1).unwrap_or_default()
    }

    /// Which of [`KINDS`] it is.
    pub fn kind(&self) -> &str {
        self.route().trim_end_matches(|c: char| c.is_ascii_digit())
    }

    /// What acceptance there is an acceptance to, in scope `authenticated`: all of a route's literal path, else the URL.
    fn admission(&self) -> Url {
        let literal = self.path().trim_end_matches('/').matches('/').count() == 1;
        let target = if literal { self.route() } else { &self.target };
        Url { host: self.host.clone(), target: target.to_owned() }
    }
}

/// What the origin knows.
#[derive(Default)]
pub struct State {
    /// Host and credentials that it accepts there.
    pub accepted: HashMap<(String, String), usize>,
    /// Credentials and what it forbids them.
    pub forbidden: HashSet<(String, Url)>,
    versions: HashMap<(String, String), u64>,
    /// By credentials, and by what they were accepted to: the last time.
    accepted_to: HashMap<(String, Url), Acceptance>,
    accepted_anywhere: HashMap<String, Acceptance>,
    pub down: bool,
    /// Answers that it has decided on.
    pub decided: u64,
    /// How often it could not be reached, or said so for somebody behind it.
    pub unreachable: u64,
}

impl State {
    /// When these credentials were last accepted to this URL, or to the route whose literal path it has.
    pub fn accepted_to(&self, own: &str, url: &Url) -> Option<Acceptance> {
        self.accepted_to.get(&(own.to_owned(), url.admission())).copied()
    }

    pub fn accepted_anywhere(&self, own: &str) -> Option<Acceptance> {
        self.accepted_anywhere.get(own).copied()
    }
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
    state: Mutex<State>,
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

    /// Whether something holds of now, when an answer has come. On a clock that nobody moves by hand a proxy may have
    /// decided on that some time ago, but not before it was asked.
    pub fn may_hold(&self, asked: Timestamp, holds: impl Fn(Timestamp) -> bool) -> bool {
        holds(self.clock.now()) || self.by_hand.is_none() && holds(asked)
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

    /// The origin's answer: status, fields, content.
    fn answer(&self, ask: &Ask, own: &str) -> (u16, Fields, String) {
        let host = ask.fields.get("host").map(|host| String::from_utf8_lossy(host).into_owned()).unwrap_or_default();
        let url = Url { host, target: ask.target.clone() };
        let luck = self.draw(200);
        let mut state = self.state();
        state.decided += 1;
        let (at, decided) = (self.clock.now(), state.decided);
        let tenant = state.accepted.get(&(url.host.clone(), own.to_owned())).copied();
        let mut status = match tenant {
            None if url.kind() != "public" => 401,
            _ if state.forbidden.contains(&(own.to_owned(), url.clone())) => 403,
            _ => match luck {
                0..8 => 500,
                8..16 => 404,
                16 => 502,
                17 => 503,
                18 => 504,
                _ => 200,
            },
        };
        let resource = (url.host.clone(), url.target.clone());
        if ask.method != "GET" && status == 200 {
            *state.versions.entry(resource.clone()).or_default() += 1;
        }
        if ask.method == "GET" && status == 200 {
            let acceptance = Acceptance { at, decided };
            state.accepted_to.insert((own.to_owned(), url.admission()), acceptance);
            state.accepted_anywhere.insert(own.to_owned(), acceptance);
        }
        state.unreachable += u64::from(matches!(status, 502..=504));
        let version = state.versions.get(&resource).copied().unwrap_or(0);
        let whose = match (status, url.kind()) {
            (200, "authenticated") => "accepted".to_owned(),
            (200, "claim" | "weak") => format!("tenant {}", tenant.unwrap_or(usize::MAX)),
            (200, "public") => "everybody".to_owned(),
            _ => format!("caller {own}"),
        };
        let mut fields: Fields = [("Content-Type", "application/json")].into_iter().collect();
        fields.push("X-By", own);
        fields.push("X-Decided", decided.to_string());
        // What a route's entity-tag leaves out is different each time.
        let ignored = if url.kind() == "weak" { format!(r#","decided":{decided}"#) } else { String::new() };
        let Url { host, target } = &url;
        let body = format!(r#"{{"whose":"{whose}","url":"{host}{target}","version":{version}{ignored}}}"#);
        if status == 200 {
            let known = Validators::of(&url, &body, &whose, version);
            if ask.method == "GET" && known.hold(&ask.fields) {
                status = 304;
            }
            // A 304 that names no validator speaks of whatever was asked about.
            if status == 200 || luck.is_multiple_of(2) {
                known.write_to(&mut fields);
            }
        }
        // A 304 says nothing of the content that it leaves where it is.
        if status != 304 {
            fields.push("X-Whose", whose);
        }
        (status, fields, if status == 304 { String::new() } else { body })
    }

    /// What an origin says to scripts, of Vary, and to browsers, by the way.
    fn by_the_way(&self, ask: &Ask, own: &str, status: u16, fields: &mut Fields) {
        if let Some(origin) = ask.fields.get("origin") {
            // Some resources are for all scripts now and then.
            let allowed = if self.draw(4) == 0 { b"*".to_vec() } else { origin.to_vec() };
            fields.push("Access-Control-Allow-Origin", allowed);
        }
        if ask.target.starts_with("/varies") || status >= 400 && self.draw(3) == 0 {
            fields.push("Vary", "Authorization, Cookie, X-Api-Key");
        }
        if self.draw(10) == 0 {
            fields.push("Set-Cookie", format!("of={}", BASE64URL.encode(own)));
        }
    }

    /// Cannot be reached, in one of the ways there are.
    fn gone(&self) -> OriginError {
        self.state().unreachable += 1;
        let kinds = [OriginErrorKind::Connect, OriginErrorKind::Timeout, OriginErrorKind::Protocol];
        OriginError { kind: kinds[usize::try_from(self.draw(3)).expect("small")], cause: "it is down".into() }
    }
}

/// What the origin itself can tell versions by: an entity-tag where the path ends in 1, a date where it ends in 2.
struct Validators {
    tag: Option<String>,
    modified: Option<String>,
}

impl Validators {
    /// Those of content that is `whose`. No two versions of it have one date; those of different owners may, and one's
    /// newer version may well be older than another's.
    fn of(url: &Url, body: &str, whose: &str, version: u64) -> Self {
        let end = url.path().trim_end_matches('/').chars().last();
        let hash = Sha256::digest(body);
        let later = i64::from(Sha256::digest(whose)[0]) * 1000 + i64::try_from(version).expect("small");
        Validators {
            tag: (end == Some('1')).then(|| format!("\"{}\"", BASE64URL.encode(hash))),
            modified: (end == Some('2')).then(|| HttpDate(1_700_000_000 + later).to_string()),
        }
    }

    fn write_to(&self, fields: &mut Fields) {
        if let Some(tag) = &self.tag {
            fields.push("ETag", tag.clone());
        }
        if let Some(modified) = &self.modified {
            fields.push("Last-Modified", modified.clone());
        }
    }

    /// Whether what the request names is still so (RFC 9110 §13.1.2, §13.1.3).
    fn hold(&self, fields: &Fields) -> bool {
        let text = |name: &str| fields.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
        match (text("if-none-match"), text("if-modified-since")) {
            (Some(named), _) => self.tag.as_ref().is_some_and(|tag| named.contains(tag)),
            (None, Some(since)) => {
                let date = |text: &str| HttpDate::parse(text.as_bytes(), HttpDate(1_800_000_000));
                self.modified.as_ref().is_some_and(|modified| date(modified) <= date(&since))
            }
            (None, None) => false,
        }
    }
}

#[async_trait::async_trait]
impl Origin for World {
    async fn ask(&self, ask: Ask, _: Option<Interim>) -> Result<Reply, OriginError> {
        self.dawdle().await;
        if self.state().down {
            return Err(self.gone());
        }
        let own = own(&ask.fields);
        let (status, mut fields, body) = self.answer(&ask, &own);
        self.by_the_way(&ask, &own, status, &mut fields);
        self.dawdle().await;
        let mut body = Bytes::from(body);
        let framing = if status == 304 { Framing::Empty } else { Framing::Length(body.len() as u64) };
        // Half of a mutation's answer would reach its client as half of one.
        let cut = ask.method == "GET" && status != 304 && self.draw(100) == 0;
        let broken = cut.then(|| Err(self.gone()));
        if cut {
            body.truncate(body.len() / 2);
        }
        let chunks = (!body.is_empty()).then_some(Ok(body));
        let body = stream::iter(chunks.into_iter().chain(broken)).boxed();
        Ok(Reply { head: Head { status, reason: Bytes::new(), fields }, framing, body })
    }
}

/// All credentials among the fields.
fn own(fields: &Fields) -> String {
    let all = ["authorization", "cookie", "x-api-key"].iter().flat_map(|name| fields.get_all(name));
    together(all.map(|value| String::from_utf8_lossy(value).into_owned()))
}

/// Credentials as one text.
fn together(credentials: impl Iterator<Item = String>) -> String {
    credentials.reduce(|all, one| format!("{all} and {one}")).unwrap_or_else(|| "nobody".to_owned())
}
