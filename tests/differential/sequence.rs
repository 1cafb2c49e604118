//! Random sequences: what is asked, and what the origin has to say at each step.
//!
//! Whatever can be written in an odd form is drawn together with what it means, so that nobody has to parse it to know.
//! All times are multiples of ten seconds: boundaries are met often, and a tenth of an interval is whole seconds.

use crate::rules::{Rule, Rules};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::fmt;

/// Thu, 01 Jan 2026 00:00:00 GMT
pub const BEGINNING: i64 = 1_767_225_600;

/// One request, some time after the one before, and what the origin answers if it is asked.
#[derive(Clone, Debug)]
pub struct Step {
    pub after: u64,
    /// By how much the wall clock is corrected then.
    pub jump: i64,
    pub asked: Asked,
    pub reply: Reply,
}

#[derive(Clone, Debug)]
pub struct Asked {
    pub method: &'static str,
    pub target: &'static str,
    pub authorized: bool,
    pub cache_control: Vec<Word>,
    pub pragma: bool,
    /// Accept-Language, which responses may vary on.
    pub language: Lines,
    /// Accept, likewise.
    pub accept: Lines,
}

/// What the origin says when it is asked; times count from then, `last_modified` back from the beginning.
#[derive(Clone, Debug)]
pub struct Reply {
    pub takes: u64,
    pub status: u16,
    pub cache_control: Vec<Word>,
    /// CDN-Cache-Control: what it says to shared caches alone.
    pub targeted: Vec<Word>,
    pub age: Lines,
    pub date: Option<(Form, i64)>,
    pub expires: Vec<(Form, i64)>,
    pub last_modified: Option<(Form, i64)>,
    pub etag: Lines,
    pub vary: Lines,
    pub set_cookie: bool,
    pub pragma: bool,
    pub location: Option<&'static str>,
    pub confirms: Confirms,
}

/// What a 304 repeats of the fields of the 200 (RFC 9110 §15.4.5).
#[derive(Clone, Copy, Debug)]
pub struct Confirms {
    pub etag: bool,
    pub last_modified: bool,
    pub lifetime: bool,
    /// It names another entity-tag than the one that it was asked about.
    pub wrongly: bool,
}

/// A directive: as it is sent, and in the plain form of what that means; nothing where it means nothing.
#[derive(Clone, Copy)]
pub struct Word {
    pub sent: &'static str,
    pub means: &'static str,
    odd: Option<Rule>,
}

/// The lines of a field: as they are sent, and the one line that says what they mean.
#[derive(Clone, Copy)]
pub struct Lines {
    pub sent: &'static [&'static str],
    pub means: Option<&'static str>,
    odd: Option<Rule>,
}

/// How a second is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Fixdate,
    Rfc850,
    Asctime,
    Offset,
    Iso,
    Zero,
}

/// A second, as it is written.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    pub form: Form,
    pub at: i64,
}

const fn plain(text: &'static str) -> Word {
    Word { sent: text, means: text, odd: None }
}

const fn odd(rule: Rule, sent: &'static str, means: &'static str) -> Word {
    Word { sent, means, odd: Some(rule) }
}

const fn line(sent: &'static [&'static str], means: Option<&'static str>) -> Lines {
    Lines { sent, means, odd: None }
}

const fn odd_lines(rule: Rule, sent: &'static [&'static str], means: Option<&'static str>) -> Lines {
    Lines { sent, means, odd: Some(rule) }
}

const ABSENT: Lines = Lines::ABSENT;

const RESPONSE_LIFETIMES: [Word; 7] = [
    plain("max-age=60"),
    plain("max-age=0"),
    plain("max-age=300"),
    plain("max-age=\"60\""),
    plain("max-age=x"),
    plain("s-maxage=20"),
    plain("s-maxage=200"),
];

const RESPONSE_WORDS: [Word; 11] = [
    plain("public"),
    plain("private"),
    plain("private=\"x-a\""),
    plain("no-store"),
    plain("no-cache"),
    plain("no-cache=\"x-a, x-b\""),
    plain("must-revalidate"),
    plain("must-understand"),
    plain("an-extension=1"),
    odd(Rule::ProxyRevalidate, "proxy-revalidate", ""),
    odd(Rule::Immutable, "immutable", ""),
];

/// In CDN-Cache-Control, where a word that is given once is read as in Cache-Control.
const TARGETED_LIFETIMES: [Word; 3] = [plain("max-age=0"), plain("max-age=300"), plain("s-maxage=20")];

const TARGETED_WORDS: [Word; 7] = [
    plain("public"),
    plain("private"),
    plain("no-store"),
    plain("no-cache"),
    plain("must-revalidate"),
    plain("an-extension=1"),
    odd(Rule::Immutable, "immutable", ""),
];

const ODD_RESPONSE_WORDS: [Word; 15] = [
    odd(Rule::LetterCase, "Max-Age=60", "max-age=60"),
    odd(Rule::LetterCase, "S-MaxAge=60", "s-maxage=60"),
    odd(Rule::LetterCase, "NO-STORE", "no-store"),
    odd(Rule::LetterCase, "No-Cache", "no-cache"),
    odd(Rule::LetterCase, "Public", "public"),
    odd(Rule::QuotedComma, "x=\"a, max-age=300\"", ""),
    odd(Rule::QuotedComma, "x=\"a\\\", no-store, b\"", ""),
    odd(Rule::Digits, "max-age=+60", "max-age=0"),
    odd(Rule::Digits, "s-maxage=+60", "s-maxage=0"),
    odd(Rule::Spaces, "max-age =60", "max-age=0"),
    odd(Rule::Spaces, "max-age= 60", "max-age=0"),
    odd(Rule::WithoutArgument, "max-age", "max-age=0"),
    odd(Rule::WithoutArgument, "s-maxage", "s-maxage=0"),
    odd(Rule::Overflow, "max-age=100000000000000000000", "max-age=2147483648"),
    odd(Rule::Overflow, "s-maxage=100000000000000000000", "s-maxage=2147483648"),
];

const REQUEST_WORDS: [Word; 10] = [
    plain("no-cache"),
    plain("no-store"),
    plain("max-age=0"),
    plain("max-age=40"),
    // Another one beside it counts.
    odd(Rule::Repeated, "max-age=x", ""),
    plain("min-fresh=20"),
    plain("min-fresh=100"),
    plain("max-stale"),
    plain("max-stale=30"),
    plain("max-stale=10"),
];

const ODD_REQUEST_WORDS: [Word; 7] = [
    plain("only-if-cached"),
    plain("no-transform"),
    odd(Rule::LetterCase, "No-Cache", "no-cache"),
    odd(Rule::LetterCase, "Max-Stale", "max-stale"),
    odd(Rule::Digits, "max-age=+0", ""),
    odd(Rule::Spaces, "min-fresh =100", ""),
    odd(Rule::UnreadableMaxStale, "max-stale=x", ""),
];

const AGES: [Lines; 4] = [line(&["0"], Some("0")), line(&["30"], Some("30")), line(&["x"], None), line(&["-30"], None)];

const ODD_AGES: [Lines; 4] = [
    line(&["30", "0"], Some("30")),
    odd_lines(Rule::AgeList, &["30, 0"], Some("30")),
    odd_lines(Rule::Digits, &["+30"], None),
    odd_lines(Rule::Overflow, &["99999999999"], Some("2147483648")),
];

const TAGS: [Lines; 4] = [
    line(&["\"1\""], Some("\"1\"")),
    line(&["\"2,3\""], Some("\"2,3\"")),
    line(&["W/\"1\""], Some("W/\"1\"")),
    line(&["W/\"2,3\""], Some("W/\"2,3\"")),
];

const ODD_TAGS: [Lines; 3] = [
    odd_lines(Rule::NoEntityTag, &["1"], None),
    odd_lines(Rule::NoEntityTag, &["w/\"1\""], None),
    odd_lines(Rule::NoEntityTag, &["\"1\"", "\"2,3\""], None),
];

const VARY: [Lines; 5] = [
    line(&["accept-language"], Some("accept-language")),
    line(&["Accept-Language,"], Some("accept-language")),
    line(&["accept"], Some("accept")),
    line(&["Accept, Accept-Language"], Some("accept, accept-language")),
    line(&["accept-language", "accept"], Some("accept, accept-language")),
];

const ODD_VARY: [Lines; 4] = [
    line(&["*"], Some("*")),
    line(&["accept, *"], Some("*")),
    odd_lines(Rule::VaryNoFieldName, &["accept language"], Some("*")),
    odd_lines(Rule::VaryNoFieldName, &["accept;q=1"], Some("*")),
];

const SELECTING: [Lines; 3] = [ABSENT, line(&["de"], Some("de")), line(&["de, en"], Some("de, en"))];

const ODD_SELECTING: [Lines; 2] = [
    odd_lines(Rule::SelectingFields, &["de,en"], Some("de, en")),
    odd_lines(Rule::SelectingFields, &["de", "en"], Some("de, en")),
];

/// "A language tag is a sequence of one or more case-insensitive subtags" (RFC 9110 §8.5.1); in Accept the case may matter.
const CAPITAL: Lines = odd_lines(Rule::SelectingFields, &["DE"], Some("de"));

/// Any two to a dozen steps.
pub fn sequences() -> impl Strategy<Value = Vec<Step>> {
    vec(steps(), 2..14).prop_map(|mut steps| {
        // No further back than a Last-Modified that is to be past.
        let mut back = 0;
        for step in &mut steps {
            step.jump = step.jump.max(-60 - back);
            back += step.jump.min(0);
        }
        steps
    })
}

fn steps() -> impl Strategy<Value = Step> {
    let after = prop_oneof![6 => Just(0_u64), 9 => 1..6_u64, 2 => 6..40_u64].prop_map(|tens| tens * 10);
    let jump = prop_oneof![20 => Just(0_i64), 1 => select(&[-30, 30, 600][..])];
    (after, jump, asked(), reply()).prop_map(|(after, jump, asked, (mut reply, [of_a_read, of_a_mutation]))| {
        let safe = matches!(asked.method, "GET" | "HEAD" | "OPTIONS");
        reply.status = match if safe { of_a_read } else { of_a_mutation } {
            // What they say of a caller would be said of this one.
            401 | 403 if asked.authorized => 404,
            status => status,
        };
        Step { after, jump, asked, reply }
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    let method = prop_oneof![
        25 => Just("GET"),
        2 => Just("HEAD"),
        3 => select(&["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"][..]),
        1 => Just("OPTIONS"),
    ];
    let target = prop_oneof![8 => Just("/a"), 1 => Just("/a?q=1"), 2 => Just("/b")];
    let word = prop_oneof![4 => select(&REQUEST_WORDS[..]), 1 => select(&ODD_REQUEST_WORDS[..])];
    let words = prop_oneof![8 => Just(vec![]), 3 => vec(word, 1..3)];
    let selecting = || prop_oneof![8 => Just(ABSENT), 8 => select(&SELECTING[..]), 1 => select(&ODD_SELECTING[..])];
    let language = prop_oneof![16 => selecting(), 1 => Just(CAPITAL)];
    let authorized = proptest::bool::weighted(0.1);
    (method, target, authorized, words, proptest::bool::weighted(0.04), language, selecting()).prop_map(
        |(method, target, authorized, cache_control, pragma, language, accept)| Asked {
            method,
            target,
            authorized,
            cache_control,
            pragma,
            language,
            accept,
        },
    )
}

/// A reply, and its status to a read and to a mutation.
fn reply() -> impl Strategy<Value = (Reply, [u16; 2])> {
    let of_a_read = prop_oneof![
        30 => Just(200_u16),
        4 => select(&[203, 204, 300, 301, 308, 404, 405, 410, 414, 501][..]),
        3 => select(&[201, 206, 299, 302, 307, 401, 403, 418, 451, 499, 500, 503, 599, 799][..]),
    ];
    let of_a_mutation = select(&[200_u16, 200, 201, 204, 303, 404, 409, 422, 500][..]);
    let lifetime = vec(select(&RESPONSE_LIFETIMES[..]), 1);
    let word = prop_oneof![
        4 => select(&RESPONSE_LIFETIMES[..]),
        5 => select(&RESPONSE_WORDS[..]),
        2 => select(&ODD_RESPONSE_WORDS[..]),
    ];
    let words = prop_oneof![3 => Just(vec![]), 8 => lifetime, 9 => vec(word, 1..4)];
    let targeted = (vec(select(&TARGETED_LIFETIMES[..]), 0..2), vec(select(&TARGETED_WORDS[..]), 0..2));
    let targeted =
        prop_oneof![20 => Just(vec![]), 1 => targeted.prop_map(|(lifetime, words)| [lifetime, words].concat())];
    let some = |usual: &'static [Lines], odd: &'static [Lines], absent: u32| prop_oneof![absent => Just(ABSENT), 6 => select(usual), 1 => select(odd)];
    let form = || {
        let others = [Form::Rfc850, Form::Asctime, Form::Offset, Form::Iso, Form::Zero];
        prop_oneof![20 => Just(Form::Fixdate), 4 => proptest::sample::select(others.to_vec())]
    };
    let date = proptest::option::weighted(0.8, (form(), prop_oneof![5 => Just(0_i64), 1 => -3..6_i64]));
    let expires = prop_oneof![
        5 => Just(vec![]),
        2 => vec((form(), -2..20_i64), 1),
        1 => vec((form(), 3..20_i64), 2),
    ];
    let ago = prop_oneof![20 => select(&[6_i64, 60, 600][..]), 1 => Just(-100_000)];
    let last_modified = proptest::option::weighted(0.4, (form(), ago));
    let flag = proptest::bool::weighted;
    let confirms = (flag(0.8), flag(0.8), flag(0.5), flag(0.05))
        .prop_map(|(etag, last_modified, lifetime, wrongly)| Confirms { etag, last_modified, lifetime, wrongly });
    let times = (prop_oneof![12 => Just(0_u64), 1 => Just(10_u64)], date, expires, last_modified);
    let texts = (words, targeted, some(&AGES, &ODD_AGES, 40), some(&TAGS, &ODD_TAGS, 6), some(&VARY, &ODD_VARY, 30));
    let rest = (flag(0.02), flag(0.03), proptest::option::weighted(0.5, Just("/b")), confirms);
    (times, texts, rest, of_a_read, of_a_mutation).prop_map(|(times, texts, rest, of_a_read, of_a_mutation)| {
        let (takes, date, expires, last_modified) = times;
        let (cache_control, targeted, age, etag, vary) = texts;
        let (set_cookie, pragma, location, confirms) = rest;
        let tens = |(form, tens)| (form, tens * 10);
        let reply = Reply {
            takes,
            status: 0,
            cache_control,
            targeted,
            age,
            date: date.map(tens),
            expires: expires.into_iter().map(tens).collect(),
            last_modified: last_modified.map(tens),
            etag,
            vary,
            set_cookie,
            pragma,
            location,
            confirms,
        };
        (reply, [of_a_read, of_a_mutation])
    })
}

impl Word {
    fn text(&self, rules: Rules) -> &'static str {
        if self.odd.is_some_and(|rule| rules.hold(rule)) { self.means } else { self.sent }
    }

    fn name(&self) -> &'static str {
        self.means.split('=').next().unwrap_or_default()
    }
}

/// Whether a directive of that name is among `words`.
pub fn has(words: &[Word], name: &str) -> bool {
    words.iter().any(|word| word.name() == name || word.sent == name)
}

/// The line that says `words` as far as `rules` correct them.
pub fn cache_control(words: &[Word], rules: Rules) -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    let mut texts = Vec::new();
    for word in words {
        let name = word.name();
        let again = !name.is_empty() && names.contains(&name);
        names.push(name);
        if !(again && rules.hold(Rule::Repeated)) {
            texts.push(word.text(rules));
        }
    }
    texts.retain(|text| !text.is_empty());
    texts
}

impl Lines {
    pub const ABSENT: Lines = line(&[], None);
    /// An entity-tag that nothing has.
    pub const ANOTHER_TAG: Lines = line(&["\"4\""], Some("\"4\""));

    /// As far as `rules` correct them.
    pub fn texts(&self, rules: Rules) -> Vec<&'static str> {
        match self.odd {
            Some(rule) if rules.hold(rule) => self.means.into_iter().collect(),
            _ => self.sent.to_vec(),
        }
    }
}

impl Form {
    /// The rule that it falls under, and whether it is a date at all.
    fn reading(self) -> (Option<Rule>, bool) {
        match self {
            Form::Fixdate => (None, true),
            Form::Rfc850 | Form::Asctime => (Some(Rule::ObsoleteDates), true),
            Form::Offset | Form::Iso | Form::Zero => (Some(Rule::StrictDates), false),
        }
    }
}

impl Stamp {
    /// The second, if the form is a date's.
    pub fn means(self) -> Option<i64> {
        self.form.reading().1.then_some(self.at)
    }

    /// As far as `rules` correct it; `None` where it is no date.
    pub fn text(self, rules: Rules) -> Option<String> {
        let (odd, is_date) = self.form.reading();
        let form = match odd {
            Some(rule) if rules.hold(rule) && is_date => Form::Fixdate,
            Some(rule) if rules.hold(rule) => return None,
            _ => self.form,
        };
        let format = match form {
            Form::Fixdate => "%a, %d %b %Y %H:%M:%S GMT",
            Form::Rfc850 => "%A, %d-%b-%y %H:%M:%S GMT",
            Form::Asctime => "%a %b %e %H:%M:%S %Y",
            Form::Offset => "%a, %d %b %Y %H:%M:%S +0000",
            Form::Iso => "%Y-%m-%dT%H:%M:%SZ",
            Form::Zero => "0",
        };
        let at = jiff::Timestamp::from_second(self.at).expect("it is of this century");
        Some(at.strftime(format).to_string())
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sent)
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.sent)
    }
}
