//! What may come back to whom: every answer held against what its caller may be told.

use crate::world::{Person, STALE_IF_ERROR, Url, World};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use bytes::Bytes;
use freshgate::clock::Timestamp;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};

/// What a hunt saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub requests: u64,
    pub hits: u64,
    /// Answers that had been made for somebody else.
    pub others: u64,
    pub collapsed: u64,
    pub not_modified: u64,
    /// The origin vouched for what was stored.
    pub vouched: u64,
    pub refused: u64,
    pub cancelled: u64,
    /// Answers from the store where the origin had failed.
    pub rescued: u64,
    pub partial: u64,
    pub diverged: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.requests += other.requests;
        self.hits += other.hits;
        self.others += other.others;
        self.collapsed += other.collapsed;
        self.not_modified += other.not_modified;
        self.vouched += other.vouched;
        self.refused += other.refused;
        self.cancelled += other.cancelled;
        self.rescued += other.rescued;
        self.partial += other.partial;
        self.diverged += other.diverged;
    }
}

/// A request, and what was known when it began.
pub struct Asked {
    pub person: Person,
    pub url: Url,
    pub method: &'static str,
    pub origin: Option<&'static str>,
    pub at: Timestamp,
    /// How many answers there had been.
    pub answers: u64,
    /// How often the origin had not been reached.
    pub unreachable: u64,
}

/// What is written down while requests are under way.
#[derive(Default)]
pub struct Ledger {
    pub counts: Counts,
    pub findings: Vec<String>,
    /// Entity-tag to whose content it names.
    tags: HashMap<String, String>,
    /// Those of the last answers.
    recent: VecDeque<(Url, String)>,
    /// By credentials: the last 401 that they were told.
    refused: HashMap<String, Refusal>,
    /// By credentials and URL: the last 403 that they were told.
    forbidden: HashMap<(String, Url), Refusal>,
    /// By route: how many answers there had been when it was demoted.
    demoted: HashMap<String, u64>,
    answers: u64,
}

/// A 401 or 403 that somebody was told.
#[derive(Clone, Copy)]
struct Refusal {
    /// How many answers there had been.
    answers: u64,
    /// How many the origin had given when it decided so.
    decided: u64,
}

/// The origin's mark on an answer.
struct Mark {
    /// The credentials that the origin last said or confirmed it to.
    by: String,
    /// Whose the content is; of a 304 by the origin itself nothing is known.
    whose: Option<String>,
    /// Which of the origin's answers it was.
    decided: u64,
}

/// How the proxy came by an answer.
#[derive(Clone, Copy)]
struct Means {
    hit: bool,
    collapsed: bool,
    stale_if_error: bool,
}

fn text(answer: &http::Response<Bytes>, name: &str) -> Option<String> {
    answer.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

impl Mark {
    /// The proxy's own answers have none.
    fn of(answer: &http::Response<Bytes>) -> Option<Mark> {
        let decided = text(answer, "x-decided")?.parse().ok()?;
        Some(Mark { by: text(answer, "x-by")?, whose: text(answer, "x-whose"), decided })
    }
}

impl Ledger {
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// The entity-tag of the last answer about this URL, to whomever that was, or of one of the last answers.
    pub fn recent(&self, url: &Url, at: usize) -> Option<String> {
        let of_url = self.recent.iter().rev().find(|(about, _)| about == url);
        of_url.or_else(|| self.recent.get(at)).map(|(_, tag)| tag.clone())
    }

    /// Holds an answer against what its caller may be told.
    pub fn look_at(&mut self, asked: &Asked, answer: &http::Response<Bytes>, world: &World) {
        self.answers += 1;
        let own = asked.person.own();
        let status = answer.status().as_u16();
        let cache_status = text(answer, "cache-status").unwrap_or_default();
        let says = |word: &str| cache_status.split("; ").any(|parameter| parameter == word);
        let means =
            Means { hit: says("hit"), collapsed: says("collapsed"), stale_if_error: says("detail=stale-if-error") };
        self.counts.hits += u64::from(means.hit);
        self.counts.collapsed += u64::from(means.collapsed);
        self.counts.not_modified += u64::from(status == 304);
        self.counts.vouched += u64::from(says("fwd-status=304"));
        self.counts.refused += u64::from(matches!(status, 401 | 403));
        self.counts.rescued += u64::from(means.stale_if_error);
        self.counts.partial += u64::from(status == 206);
        if says("detail=diverged") {
            self.counts.diverged += 1;
            self.demoted.entry(asked.url.route().to_owned()).or_insert(self.answers);
        }
        let mut problems = self.by_the_way(asked, answer, &own);
        match Mark::of(answer) {
            Some(mark) => {
                self.counts.others += u64::from(mark.by != own);
                problems.extend(self.not_for(asked, &own, &mark, means, status, world));
                self.note(asked, answer, &own, &mark);
            }
            // A 412 of the proxy's own names what there is.
            None => problems.extend(self.tag_not_for(asked, answer, &own)),
        }
        for problem in problems {
            self.find(asked, answer, &problem);
        }
    }

    /// What is wrong with what comes besides the content.
    fn by_the_way(&self, asked: &Asked, answer: &http::Response<Bytes>, own: &str) -> Vec<String> {
        let mut problems = Vec::new();
        for cookie in answer.headers().get_all("set-cookie") {
            let of = cookie.as_bytes().strip_prefix(b"of=").and_then(|value| BASE64URL.decode(value).ok());
            if of.as_deref() != Some(own.as_bytes()) {
                problems.push("somebody else's Set-Cookie".to_owned());
            }
        }
        if let Some(allowed) = text(answer, "access-control-allow-origin")
            && allowed != "*"
            && Some(allowed.as_str()) != asked.origin
        {
            problems.push(format!("for scripts of {allowed}, asked by {:?}", asked.origin));
        }
        problems.extend(self.tag_not_for(asked, answer, own).filter(|_| answer.status() == 304));
        let body: Option<Value> = serde_json::from_slice(answer.body()).ok();
        let inner = body.as_ref().and_then(|body| body["whose"].as_str());
        if inner.is_some() && inner != text(answer, "x-whose").as_deref() {
            problems.push(format!("fields of one answer and content of another, which is marked {inner:?}"));
        }
        problems
    }

    /// A 304 or 412 that names what is not for this caller.
    fn tag_not_for(&self, asked: &Asked, answer: &http::Response<Bytes>, own: &str) -> Option<String> {
        let whose = self.tags.get(&text(answer, "etag")?)?;
        (!may_be(&asked.person, own, asked.url.kind(), whose)).then(|| format!("names what is marked {whose}"))
    }

    /// Why an answer is not for its caller.
    fn not_for(
        &self,
        asked: &Asked,
        own: &str,
        mark: &Mark,
        means: Means,
        status: u16,
        world: &World,
    ) -> Option<String> {
        let kind = asked.url.kind();
        let content = mark.whose.as_deref().filter(|_| matches!(status, 200 | 206 | 304 | 412 | 416));
        let problem = |what: &str| Some(format!("{what}: made for {:?}, marked {:?}", end_of(&mark.by), mark.whose));
        if content.is_some_and(|whose| !may_be(&asked.person, own, kind, whose)) {
            return problem("it is not for this caller");
        }
        if !means.hit && !means.collapsed {
            // The origin was asked in this very caller's name: nothing else than what it said then will do.
            let told = mark.by == own && content.is_none_or(|whose| kind != "mine" || whose == format!("caller {own}"));
            return if told { None } else { problem("the origin said something else to this caller") };
        }
        if !matches!(status, 200 | 206 | 304 | 404 | 412 | 416) {
            return problem("an error that is one caller's alone");
        }
        if kind == "public" {
            return None;
        }
        let lives = world.may_hold(asked.at, |at| asked.person.lives(at));
        let refused = self.refused_before(asked, own);
        // Everybody may wait for a fetch of their own.
        if mark.by == own && (asked.person.credentials.is_empty() || means.collapsed && mark.decided > refused) {
            return None;
        }
        if asked.person.token.is_some() && !lives {
            return problem("their token is over");
        }
        let alone = !self.shares(asked, lives);
        if alone && mark.by != own {
            return problem("they share with nobody");
        }
        if alone && mark.decided <= refused {
            return problem("from before they were refused");
        }
        // Of a demotion only those hear who were there, so on its routes one's own is judged by the wider rule.
        // A word about one URL is taken back by none about another.
        let by_url = self.forbidden_before(asked, own) > 0
            || !alone && (kind == "authenticated" || kind == "mine" && mark.by != own);
        let state = world.state();
        let last = if by_url { state.accepted_to(own, &asked.url) } else { state.accepted_anywhere(own) };
        let within = match means.stale_if_error && state.unreachable > asked.unreachable {
            true => STALE_IF_ERROR.max(world.pace.accepted_for),
            false => world.pace.accepted_for,
        };
        // What a refusal that was told before this request began has ended, only a later acceptance brings back.
        let last = last.filter(|last| last.decided > refused);
        let lately = last.is_some_and(|last| asked.at.since(last.at) <= within + world.pace.underway);
        let admitted = lately || lives && (refused == 0 || last.is_some());
        if admitted { None } else { problem("they are not admitted") }
    }

    /// Whether the scope lets the caller share with anybody.
    fn shares(&self, asked: &Asked, lives: bool) -> bool {
        let demoted = self.demoted.get(asked.url.route()).is_some_and(|demoted| *demoted <= asked.answers);
        match asked.url.kind() {
            "claim" | "weak" => asked.person.has_claim && lives,
            "authenticated" | "mine" => !demoted && !asked.person.credentials.is_empty(),
            _ => false,
        }
    }

    /// The last of the origin's answers that refused the caller, of those that they had been told; 0 where none did.
    fn refused_before(&self, asked: &Asked, own: &str) -> u64 {
        told(asked, self.refused.get(own)).max(self.forbidden_before(asked, own))
    }

    /// The same of those that forbade just this URL.
    fn forbidden_before(&self, asked: &Asked, own: &str) -> u64 {
        told(asked, self.forbidden.get(&(own.to_owned(), asked.url.clone())))
    }

    /// Writes down what an answer lets be expected of the next.
    fn note(&mut self, asked: &Asked, answer: &http::Response<Bytes>, own: &str, mark: &Mark) {
        let status = answer.status().as_u16();
        if let (200, Some(tag), Some(whose)) = (status, text(answer, "etag"), &mark.whose) {
            if self.recent.len() == 64 {
                self.recent.pop_front();
            }
            self.recent.push_back((asked.url.clone(), tag.clone()));
            self.tags.insert(tag, whose.clone());
        }
        let refusal = Refusal { answers: self.answers, decided: mark.decided };
        let last = match status {
            401 => self.refused.entry(own.to_owned()).or_insert(refusal),
            403 => self.forbidden.entry((own.to_owned(), asked.url.clone())).or_insert(refusal),
            _ => return,
        };
        if last.decided < mark.decided {
            *last = refusal;
        }
    }

    fn find(&mut self, asked: &Asked, answer: &http::Response<Bytes>, what: &str) {
        if self.findings.len() < 20 {
            let Asked { person, url, method, origin, .. } = asked;
            let got = (answer.status(), text(answer, "cache-status"));
            let who = format!("{:?} of tenant {} with {:?}", end_of(&person.own()), person.tenant, person.token);
            let from = origin.map(|origin| format!(" from {origin}")).unwrap_or_default();
            self.findings.push(format!("{method} {}{}{from} by {who} got {got:?}: {what}", url.host, url.target));
        }
    }
}

/// As much of credentials as tells them apart.
fn end_of(credentials: &str) -> &str {
    &credentials[credentials.len().saturating_sub(12)..]
}

/// Whether content that is `whose` may reach the caller at all.
fn may_be(person: &Person, own: &str, kind: &str, whose: &str) -> bool {
    match kind {
        "claim" | "weak" => whose == format!("tenant {}", person.tenant),
        "authenticated" => whose == "accepted",
        "public" => whose == "everybody",
        // Until it shows that it should not be shared, it is.
        "mine" => whose.starts_with("caller "),
        _ => whose == format!("caller {own}"),
    }
}

/// Which of the origin's answers a refusal was, if it had been told when the request began; else 0.
fn told(asked: &Asked, refusal: Option<&Refusal>) -> u64 {
    refusal.filter(|refusal| refusal.answers <= asked.answers).map_or(0, |refusal| refusal.decided)
}
