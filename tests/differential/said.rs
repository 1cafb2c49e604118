//! What the origin said: the head of a response, every time in it a second of its own.

use crate::rules::{Rule, Rules};
use crate::sequence::{BEGINNING, Form, Lines, Reply, Stamp, Word, cache_control, has};

/// A condition that the origin was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    pub if_none_match: Option<String>,
    pub if_modified_since: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Said {
    pub status: u16,
    pub cache_control: Vec<Word>,
    pub targeted: Vec<Word>,
    pub age: Lines,
    pub date: Option<Stamp>,
    pub expires: Vec<Stamp>,
    pub last_modified: Option<Stamp>,
    pub etag: Lines,
    pub vary: Lines,
    pub set_cookie: bool,
    pub pragma: bool,
    pub location: Option<&'static str>,
}

const ABSENT: Lines = Lines::ABSENT;

impl Reply {
    /// The answer to a request with `condition`, given at `now`.
    pub fn to(&self, condition: &Condition, now: i64) -> Said {
        let stamp = |from: i64| move |(form, seconds): (Form, i64)| Stamp { form, at: from + seconds };
        let whole = Said {
            status: self.status,
            cache_control: self.cache_control.clone(),
            targeted: self.targeted.clone(),
            age: self.age,
            date: self.date.map(|(form, ago)| Stamp { form, at: now - ago }),
            expires: self.expires.iter().copied().map(stamp(now)).collect(),
            last_modified: self.last_modified.map(|(form, ago)| Stamp { form, at: BEGINNING - ago }),
            etag: self.etag,
            vary: self.vary,
            set_cookie: self.set_cookie,
            pragma: self.pragma,
            location: self.location,
        };
        if !whole.is_confirmed_by(condition) {
            return whole;
        }
        let Said { cache_control, targeted, expires, last_modified, etag, .. } = whole;
        let kept = |etag: Lines| if self.confirms.etag { etag } else { ABSENT };
        Said {
            status: 304,
            cache_control: if self.confirms.lifetime { cache_control } else { Vec::new() },
            targeted: if self.confirms.lifetime { targeted } else { Vec::new() },
            expires: if self.confirms.lifetime { expires } else { Vec::new() },
            last_modified: last_modified.filter(|_| self.confirms.last_modified),
            etag: if self.confirms.wrongly { Lines::ANOTHER_TAG } else { kept(etag) },
            vary: ABSENT,
            set_cookie: false,
            ..whole
        }
    }
}

impl Said {
    /// Whether the condition names this very representation (RFC 9110 §13.2.2).
    fn is_confirmed_by(&self, condition: &Condition) -> bool {
        let same = |tag: &str| condition.if_none_match.as_deref().is_some_and(|tags| tags.contains(opaque(tag)));
        let dated = |date: Stamp| {
            let texts = [date.text(Rules::NONE), date.text(Rules::all())];
            texts.contains(&condition.if_modified_since)
        };
        let asked_by_date = condition.if_none_match.is_none() && condition.if_modified_since.is_some();
        self.status == 200
            && (self.etag.means.is_some_and(same) || asked_by_date && self.last_modified.is_some_and(dated))
    }

    /// The field lines, as far as `rules` correct them.
    pub fn lines(&self, rules: Rules) -> Vec<(&'static str, String)> {
        let mut lines: Vec<(&'static str, String)> = Vec::new();
        for (name, words) in [("cache-control", &self.cache_control), ("cdn-cache-control", &self.targeted)] {
            let words = cache_control(words, rules);
            if !words.is_empty() {
                lines.push((name, words.join(", ")));
            }
        }
        for (name, texts) in [("age", self.age), ("etag", self.etag), ("vary", self.vary)] {
            lines.extend(texts.texts(rules).into_iter().map(|text| (name, text.to_owned())));
        }
        lines.extend(self.date.and_then(|date| date.text(rules)).map(|text| ("date", text)));
        let modified = self.last_modified.filter(|date| !(rules.hold(Rule::AbsurdDate) && is_absurd(date)));
        lines.extend(modified.and_then(|date| date.text(rules)).map(|text| ("last-modified", text)));
        if self.expires.len() > 1 && rules.hold(Rule::ExpiresTwice) {
            lines.push(("expires", "0".into()));
        } else {
            // An Expires that is no date is one that has passed.
            let text = |date: &Stamp| ("expires", date.text(rules).unwrap_or_else(|| "0".into()));
            lines.extend(self.expires.iter().map(text));
        }
        if self.set_cookie {
            lines.push(("set-cookie", "a=b".into()));
        }
        if self.pragma && !rules.hold(Rule::PragmaInResponses) {
            lines.push(("pragma", "no-cache".into()));
        }
        lines.extend(self.location.map(|location| ("location", location.to_owned())));
        lines
    }

    /// Whether a directive of that name is there.
    pub fn has(&self, name: &str) -> bool {
        has(if self.targeted.is_empty() { &self.cache_control } else { &self.targeted }, name)
    }

    /// This response, updated by a 304 that came at `received` (RFC 9111 §3.2).
    pub fn updated(&self, by: &Said, received: i64) -> Said {
        let stored = self.clone();
        let replaced = |old: Lines, new: Lines| if new.sent.is_empty() { old } else { new };
        Said {
            cache_control: if by.cache_control.is_empty() { stored.cache_control } else { by.cache_control.clone() },
            age: by.age,
            date: by.date.or(Some(Stamp { form: Form::Fixdate, at: received })),
            targeted: if by.targeted.is_empty() { stored.targeted } else { by.targeted.clone() },
            expires: if by.expires.is_empty() { stored.expires } else { by.expires.clone() },
            last_modified: by
                .last_modified
                .filter(|date| date.means().is_some() && !is_absurd(date))
                .or(stored.last_modified),
            etag: stored.etag,
            vary: replaced(stored.vary, by.vary),
            location: by.location.or(stored.location),
            ..stored
        }
    }

    /// Whether a 304 with these fields is about `stored` (RFC 9111 §4.3.4).
    pub fn identifies(&self, stored: &Said) -> bool {
        let date = |said: &Said| said.last_modified.and_then(Stamp::means);
        let ours = |stored: &Said| stored.last_modified.filter(|date| !is_absurd(date)).and_then(Stamp::means);
        match (self.etag.means, stored.etag.means) {
            // "a strong validator …: at least one of the same strong validators"
            (Some(tag), ours) if !tag.starts_with("W/") => ours == Some(tag),
            (Some(tag), Some(ours)) => opaque(tag) == opaque(ours),
            (Some(_), None) => false,
            (None, _) => match (date(self), ours(stored)) {
                (Some(date), Some(ours)) => date == ours,
                _ => true,
            },
        }
    }

    /// Whether this answer to a HEAD vouches for `stored` (RFC 9111 §4.3.5), as far as `condition` may.
    pub fn freshens(&self, stored: &Said, condition: &Condition) -> bool {
        let date = self.last_modified.and_then(Stamp::means);
        let same_tag = condition.if_none_match.as_deref() == self.etag.means;
        let same_date = date.is_some()
            && date == stored.last_modified.and_then(Stamp::means)
            && self.last_modified.is_some_and(|date| !is_absurd(&date));
        let by_tag = match self.etag.means {
            Some(_) => same_tag,
            None => self.etag.sent.is_empty() || self.etag.sent == stored.etag.sent,
        };
        let named = self.etag.means.is_some() || same_date && condition.if_modified_since.is_some();
        let both_found = self.status == 200 && stored.status == 200;
        both_found && named && by_tag && (self.last_modified.is_none() || same_date)
    }
}

/// Whether it is later than any sequence lasts.
fn is_absurd(date: &Stamp) -> bool {
    date.at > BEGINNING + 50_000
}

/// An entity-tag without its weakness.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}
