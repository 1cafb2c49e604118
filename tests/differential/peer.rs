//! A small shared cache on top of `http-cache-semantics`: it keeps a policy for each response, asks it before and after
//! each request to the origin, and does what it says. What the library says nothing of (invalidation, HEAD that misses,
//! what becomes of an older response) it does as plainly as RFC 9111 lets it. [`Rules`] correct it.

use crate::rules::{Rule, Rules};
use crate::said::{Condition, Said};
use crate::sequence::{Asked, BEGINNING, Form, Reply, Stamp, Step, cache_control, has};
use http::HeaderMap;
use http_cache_semantics::{AfterResponse, BeforeRequest, CacheOptions, CachePolicy};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a step did, as far as the two are compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What the origin was asked.
    pub asks: Vec<(String, Condition)>,
    pub status: u16,
    /// Which step's content it showed.
    pub content: Option<usize>,
    pub age: Option<String>,
    pub stored: bool,
}

/// A URL and, where callers are kept apart, whether with credentials.
type Place = (&'static str, bool);

struct Entry {
    place: Place,
    policy: CachePolicy,
    said: Said,
    asked: Asked,
    content: usize,
    /// Invalidated, and not removed.
    invalid: bool,
    /// A HEAD has told that the origin has something else.
    outdated: bool,
}

pub struct Peer {
    rules: Rules,
    now: i64,
    /// By how much the wall clock was corrected.
    jumped: i64,
    held: Vec<Entry>,
    /// Whether the origin has accepted the credentials.
    accepted: bool,
    /// The fields that responses of a place have named in Vary.
    learned: BTreeMap<Place, BTreeSet<&'static str>>,
}

/// What came of asking the origin.
struct Arrived {
    said: Said,
    policy: CachePolicy,
    /// The age that a cache built on the library would show.
    age: Option<String>,
    content: usize,
}

impl Peer {
    pub fn new(rules: Rules) -> Peer {
        Peer { rules, now: BEGINNING, jumped: 0, held: Vec::new(), accepted: false, learned: BTreeMap::new() }
    }

    /// Plays the step of this number.
    pub fn play(&mut self, number: usize, step: &Step) -> Seen {
        self.now += i64::try_from(step.after).expect("a sequence is short");
        self.jumped += step.jump;
        let mut seen = match step.asked.method {
            "GET" | "HEAD" => self.retrieve(number, &step.asked, &step.reply),
            method => {
                let mut seen = Seen::default();
                let said = self.ask(&mut seen, method, &Condition::default(), &step.reply);
                if method != "OPTIONS" {
                    self.invalidate(step.asked.target, &said);
                }
                Seen { status: said.status, ..seen }
            }
        };
        if step.asked.method != "GET" || matches!(seen.status, 204 | 504) {
            seen.content = None;
        }
        seen
    }

    fn retrieve(&mut self, number: usize, asked: &Asked, reply: &Reply) -> Seen {
        let mut seen = Seen::default();
        let place = self.place(asked);
        let found = self.select(place, asked);
        let mut condition = Condition::default();
        let mut method = asked.method;
        let mut told_by_head = None;
        if let Some(entry) = found.map(|at| &self.held[at]) {
            match entry.policy.before_request(&self.request(entry, asked), self.time()) {
                BeforeRequest::Fresh(parts) => {
                    let age = text(&parts.headers, "age");
                    return Seen { status: entry.said.status, content: Some(entry.content), age, ..seen };
                }
                BeforeRequest::Stale { request, .. } => {
                    condition = conditions(&request.headers);
                    method = if entry.asked.method == "GET" { "GET" } else { asked.method };
                }
            }
            let has_validator = condition != Condition::default();
            told_by_head = found.filter(|_| {
                asked.method == "HEAD" && has_validator && !entry.outdated && self.hold(Rule::HeadFreshens)
            });
            let weak = condition.if_none_match.as_deref().is_none_or(|tag| tag.starts_with("W/"));
            if entry.invalid {
                condition.if_modified_since = None;
                condition.if_none_match = condition.if_none_match.filter(|_| !weak);
            }
        }
        if has(&asked.cache_control, "only-if-cached") && self.hold(Rule::OnlyIfCached) {
            return Seen { status: 504, ..seen };
        }
        if let Some(at) = told_by_head {
            return self.head(at, asked, &condition, reply);
        }
        let asked = &Asked { method, ..asked.clone() };
        let mut before = self.now;
        let mut said = self.ask(&mut seen, method, &condition, reply);
        let vouched = found.filter(|_| said.status == 304).and_then(|at| self.vouched(at, asked, &said, before));
        if vouched.is_none() && said.status == 304 {
            before = self.now;
            said = self.ask(&mut seen, method, &Condition::default(), reply);
        }
        self.heed_credentials(asked, &said);
        let arrived = vouched.unwrap_or_else(|| self.whole(asked, said, before, number));
        (seen.status, seen.content) = (arrived.said.status, Some(arrived.content));
        if method == "GET" {
            seen.age = arrived.age.clone();
        }
        seen.stored = self.keep(place, asked, arrived, found);
        seen
    }

    /// RFC 9111 §4.3.5, of the response at `at`, for which `condition` may vouch.
    fn head(&mut self, at: usize, asked: &Asked, condition: &Condition, reply: &Reply) -> Seen {
        let mut seen = Seen::default();
        let before = self.now;
        let said = self.ask(&mut seen, "HEAD", &Condition::default(), reply);
        self.heed_credentials(asked, &said);
        let entry = &self.held[at];
        seen.status = said.status;
        if !said.freshens(&entry.said, condition) {
            self.held[at].outdated |= matches!(said.status, 200 | 404 | 410);
            seen.age = said.age.sent.first().map(|age| (*age).to_owned());
            return seen;
        }
        let (place, content) = (entry.place, entry.content);
        let updated = entry.said.updated(&said, self.wall());
        let asked = &Asked { method: "GET", ..asked.clone() };
        let policy = self.policy(asked, &updated, before);
        seen.age = self.age_of(&policy).filter(|_| !said.age.sent.is_empty());
        seen.stored = self.keep(place, asked, Arrived { said: updated, policy, age: None, content }, Some(at));
        seen
    }

    fn heed_credentials(&mut self, asked: &Asked, said: &Said) {
        if asked.authorized && matches!(said.status, 200..=206 | 304) {
            self.accepted = true;
        }
    }

    /// Asks the origin, which takes its time.
    fn ask(&mut self, seen: &mut Seen, method: &str, condition: &Condition, reply: &Reply) -> Said {
        seen.asks.push((method.to_owned(), condition.clone()));
        self.now += i64::try_from(reply.takes).expect("a sequence is short");
        reply.to(condition, self.wall())
    }

    /// The response that a request may be answered with, or validate: of several the newest.
    fn select(&self, place: Place, asked: &Asked) -> Option<usize> {
        let selects = |entry: &Entry| {
            if self.hold(Rule::VaryIsLearned) {
                return self.selecting(place, &entry.asked) == self.selecting(place, asked);
            }
            let asked = Asked { method: entry.asked.method, ..asked.clone() };
            match entry.policy.before_request(&self.request(entry, &asked), self.time()) {
                BeforeRequest::Fresh(_) => true,
                BeforeRequest::Stale { matches, .. } => matches,
            }
        };
        let serves = |entry: &Entry| asked.method == "HEAD" || entry.asked.method == asked.method;
        (0..self.held.len()).rev().find(|at| {
            let entry = &self.held[*at];
            entry.place == place && serves(entry) && selects(entry)
        })
    }

    /// What the fields that are known to select have in a request.
    fn selecting(&self, place: Place, asked: &Asked) -> Vec<Option<&'static str>> {
        let names = self.learned.get(&place).into_iter().flatten();
        names.map(|name| if *name == "accept" { asked.accept.means } else { asked.language.means }).collect()
    }

    /// A request as the policy of `entry` is to see it.
    fn request(&self, entry: &Entry, asked: &Asked) -> http::Request<()> {
        let said = &entry.said;
        let fresh = !entry.outdated && !entry.policy.is_stale(self.time());
        let immutable = fresh && said.has("immutable") && self.hold(Rule::Immutable);
        let mut words: Vec<String> = Vec::new();
        for word in cache_control(&asked.cache_control, self.rules) {
            // Stale "by no more than" so many whole seconds is by less than one more.
            match word.strip_prefix("max-stale").map(|limit| limit.trim_start_matches('=').parse::<u64>()) {
                Some(_) if self.hold(Rule::NeverStale) && forbids_stale(said) => {}
                Some(Ok(limit)) if self.hold(Rule::MaxStaleBound) => words.push(format!("max-stale={}", limit + 1)),
                _ if immutable && word.starts_with("max-age=") => {}
                _ => words.push(word.to_owned()),
            }
        }
        let unaccepted = asked.authorized && !self.accepted && self.hold(Rule::CallersApart);
        // What is stale since just now answers whoever takes anything stale, and nobody who wants it fresh for longer.
        let asks = |name| has(&asked.cache_control, name);
        let takes_stale = asks("max-stale") && !asks("min-fresh") && !forbids_stale(said);
        if entry.invalid || entry.outdated && !takes_stale || unaccepted {
            words.push("no-cache".into());
        }
        let method =
            if asked.method == "HEAD" && self.hold(Rule::HeadFromGet) { entry.asked.method } else { asked.method };
        let alone = asked.cache_control.is_empty();
        let pragma = asked.pragma && (alone || !self.hold(Rule::PragmaBesideCacheControl));
        self.asking(&Asked { method, pragma, ..asked.clone() }, words)
    }

    fn asking(&self, asked: &Asked, words: Vec<String>) -> http::Request<()> {
        let mut request = http::Request::builder().method(asked.method).uri(asked.target);
        if !words.is_empty() {
            request = request.header("cache-control", words.join(", "));
        }
        for (name, lines) in [("accept-language", asked.language), ("accept", asked.accept)] {
            request = lines.texts(self.rules).into_iter().fold(request, |request, line| request.header(name, line));
        }
        if asked.authorized {
            request = request.header("authorization", "Bearer 1");
        }
        if asked.pragma {
            request = request.header("pragma", "no-cache");
        }
        request.body(()).expect("it is well-formed")
    }

    /// The policy of a response that came now, asked for at `before`.
    fn policy(&self, asked: &Asked, said: &Said, before: i64) -> CachePolicy {
        let words = cache_control(&asked.cache_control, self.rules).into_iter().map(str::to_owned).collect();
        let request = self.asking(&Asked { pragma: false, ..asked.clone() }, words);
        CachePolicy::new_options(&request, &self.response(said, before), self.time(), CacheOptions::default())
    }

    /// A response as the library is to see it.
    fn response(&self, said: &Said, before: i64) -> http::Response<()> {
        let mut said = said.clone();
        if !said.targeted.is_empty() && self.hold(Rule::Targeted) {
            (said.cache_control, said.expires) = (std::mem::take(&mut said.targeted), Vec::new());
        }
        if self.hold(Rule::ClockCorrected) && said.date.and_then(Stamp::means).is_none() {
            said.date = Some(Stamp { form: Form::Fixdate, at: self.wall() });
        }
        if self.hold(Rule::MustUnderstand) && said.has("must-understand") {
            if known(said.status) {
                said.cache_control.retain(|word| word.means != "no-store");
            } else {
                said.status = 304;
            }
        }
        let age = self.initial_age(&said, before);
        let mut response = http::Response::builder().status(self.understood(said.status));
        for (name, value) in said.lines(self.rules) {
            if name != "age" || age.is_none() {
                response = response.header(name, value);
            }
        }
        if let Some(age) = age {
            response = response.header("age", age);
        }
        response.body(()).expect("it is well-formed")
    }

    /// The Age that makes the library reckon from the corrected initial age of RFC 9111 §4.2.3.
    fn initial_age(&self, said: &Said, before: i64) -> Option<u64> {
        if !self.hold(Rule::ApparentAge) && !self.hold(Rule::ResponseDelay) {
            return None;
        }
        let came = said.age.texts(self.rules).first().and_then(|line| line.parse().ok());
        let delay = if self.hold(Rule::ResponseDelay) { self.now - before } else { 0 };
        let date = said.date.and_then(Stamp::means).filter(|_| self.hold(Rule::ApparentAge));
        let apparent = date.map_or(0, |date| (self.wall() - date).max(0));
        Some((came.unwrap_or(0_u64) + delay.cast_unsigned()).max(apparent.cast_unsigned()))
    }

    /// A status that the library lets be stored with explicit freshness alone; of those that tell of a caller or answer
    /// what was not asked, none.
    fn understood(&self, status: u16) -> u16 {
        const LIBRARY: [u16; 14] = [200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501];
        let other = self.hold(Rule::AnyFinalStatus) && !LIBRARY.contains(&status) && !about_no_resource(status);
        if other { 302 } else { status }
    }

    /// What a 304 leaves of the response at `at`; `None` if it is about another one.
    fn vouched(&self, at: usize, asked: &Asked, said: &Said, before: i64) -> Option<Arrived> {
        let entry = &self.held[at];
        let after =
            entry.policy.after_response(&self.asking(asked, Vec::new()), &self.response(said, before), self.time());
        let (librarys, shown) = match after {
            AfterResponse::NotModified(policy, parts) => (Some(policy), text(&parts.headers, "age")),
            AfterResponse::Modified(_, _) => (None, None),
        };
        let identified = if self.hold(Rule::Identified) { said.identifies(&entry.said) } else { librarys.is_some() };
        if !identified {
            return None;
        }
        let updated = entry.said.updated(said, self.wall());
        let policy = match librarys {
            Some(policy) if !self.hold(Rule::UpdatedFields) => policy,
            _ => self.policy(asked, &updated, before),
        };
        let ours = self.age_of(&policy).filter(|_| !said.age.sent.is_empty());
        let age = if self.hold(Rule::AgeAfterValidation) { ours } else { shown };
        Some(Arrived { said: updated, policy, age, content: entry.content })
    }

    /// A whole response.
    fn whole(&self, asked: &Asked, said: Said, before: i64, content: usize) -> Arrived {
        let policy = self.policy(asked, &said, before);
        let came = said.age.sent.first().map(|age| (*age).to_owned());
        let age = if self.hold(Rule::AgeOfWhatCame) { came.and_then(|_| self.age_of(&policy)) } else { came };
        Arrived { said, policy, age, content }
    }

    fn age_of(&self, policy: &CachePolicy) -> Option<String> {
        Some(policy.age(self.time()).as_secs().to_string())
    }

    /// Stores what came if it may be; says whether.
    fn keep(&mut self, place: Place, asked: &Asked, arrived: Arrived, older: Option<usize>) -> bool {
        let Arrived { said, policy, content, .. } = arrived;
        let refused = said.set_cookie && self.hold(Rule::SetCookie)
            || said.vary.texts(self.rules).iter().any(|line| line.contains('*')) && self.hold(Rule::VaryAny)
            || asked.method == "HEAD" && self.hold(Rule::HeadIsNotStored);
        if refused || !policy.is_storable() {
            if let Some(older) = older.filter(|_| self.hold(Rule::RefusalEndsTheOlder) && forbids_storing(asked, &said))
            {
                self.held.remove(older);
            }
            return false;
        }
        if let Some(older) = older {
            self.held.remove(older);
        }
        let learned = self.learned.entry(place).or_default();
        let before = learned.len();
        learned.extend(said.vary.means.into_iter().flat_map(|names| names.split(", ")).filter(|name| *name != "*"));
        if learned.len() > before && self.hold(Rule::VaryIsLearned) {
            self.held.retain(|entry| entry.place != place);
        }
        self.held.push(Entry { place, policy, said, asked: asked.clone(), content, invalid: false, outdated: false });
        true
    }

    /// RFC 9111 §4.4.
    fn invalidate(&mut self, target: &'static str, said: &Said) {
        const REFUSALS: [u16; 12] = [400, 401, 403, 405, 406, 411, 413, 414, 415, 422, 428, 429];
        let ended =
            if self.hold(Rule::ErrorsInvalidateToo) { !REFUSALS.contains(&said.status) } else { said.status < 400 };
        if !ended {
            return;
        }
        let path = |target: &'static str| target.split('?').next().unwrap_or_default();
        let rules = self.rules;
        let location = said.location.filter(|_| rules.hold(Rule::LocationIsInvalidated) && said.status < 400);
        let touched = |(held, _): Place| {
            let is = |named| held == named || rules.hold(Rule::EveryQuery) && path(held) == path(named);
            is(target) || location.is_some_and(is)
        };
        if rules.hold(Rule::InvalidatedIsMarked) {
            self.held.iter_mut().filter(|entry| touched(entry.place)).for_each(|entry| entry.invalid = true);
        } else {
            self.held.retain(|entry| !touched(entry.place));
        }
    }

    fn place(&self, asked: &Asked) -> Place {
        (asked.target, asked.authorized && self.hold(Rule::CallersApart))
    }

    fn hold(&self, rule: Rule) -> bool {
        self.rules.hold(rule)
    }

    fn wall(&self) -> i64 {
        self.now + self.jumped
    }

    fn time(&self) -> SystemTime {
        let now = if self.hold(Rule::ClockCorrected) { self.now } else { self.wall() };
        UNIX_EPOCH + Duration::from_secs(now.cast_unsigned())
    }
}

/// Whether the response may never be used stale (RFC 9111 §4.2.4).
fn forbids_stale(said: &Said) -> bool {
    ["no-cache", "must-revalidate", "proxy-revalidate", "s-maxage"].iter().any(|word| said.has(word))
}

/// What answers another question than was asked, and what is about a caller.
fn about_no_resource(status: u16) -> bool {
    matches!(status, 206 | 304 | 401 | 403)
}

fn known(status: u16) -> bool {
    http::StatusCode::from_u16(status).is_ok_and(|status| status.canonical_reason().is_some())
}

/// Whether the response says that it may not be stored; one that only has no lifetime, or an error, does not say so.
fn forbids_storing(asked: &Asked, said: &Said) -> bool {
    let Said { status, .. } = *said;
    let understood = known(status) || !said.has("must-understand");
    if has(&asked.cache_control, "no-store") || status >= 500 || about_no_resource(status) {
        return false;
    }
    let shared = ["must-revalidate", "public", "s-maxage"].iter().any(|word| said.has(word));
    let lifetime = ["public", "max-age", "s-maxage"].iter().any(|word| said.has(word))
        || !said.expires.is_empty() && said.targeted.is_empty()
        || matches!(status, 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501);
    said.set_cookie
        || understood
            && (said.has("no-store") && !said.has("must-understand")
                || said.has("private")
                || asked.authorized && !shared
                || said.vary.means == Some("*") && lifetime)
}

fn conditions(headers: &HeaderMap) -> Condition {
    Condition { if_none_match: text(headers, "if-none-match"), if_modified_since: text(headers, "if-modified-since") }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().expect("it is text").to_owned())
}
