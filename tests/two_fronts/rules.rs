//! Where the two fronts may differ, and why: each difference by itself, and as small as it can be. With all of them the two
//! agree to the letter, so what is not listed fails; and each is left out in turn, so what is listed and no longer so fails
//! too.

use crate::side::Seen;
use crate::wire::{Framing, Message};

/// One difference that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Pingora sets `Date` anew on all that it writes. DESIGN §2, P7 names that; the lane keeps the origin's, as "a recipient
    /// with a clock" needs no other (RFC 9110 §6.6.1).
    Date,
    /// "Connection" is for one connection alone (RFC 9110 §7.6.1): Pingora says `keep-alive` where HTTP/1.1 means it anyway
    /// (RFC 9112 §9.3). Whether the connection is closed has to be the same.
    Connection,
    /// "Each field line consists of a case-insensitive field name" (RFC 9112 §5), and "the order in which field lines with
    /// differing field names are received … is not significant" (RFC 9110 §5.3). Lines of one name keep their order. HTTP/2
    /// has names in lower case only (RFC 9113 §8.2.1), so what Pingora's path reads has.
    Names,
    /// "received-protocol" of Via (RFC 9110 §7.6.3): Pingora's path is asked over HTTP/2 alone, and says 2.0.
    Via,
    /// A stream whose length nobody knows: the lane has chunks for it, HTTP/2 a flag at its end (RFC 9113 §6.1), so Pingora's
    /// path adds none, and its HTTP/1.1 session, which the program never has there, ends it by closing (RFC 9112 §6.3).
    Unframed,
    /// What the pipeline is asked for over HTTP/2 comes without 1xx responses: DESIGN §2, P7.
    Interim,
    /// What is refused from its head ends an HTTP/1.1 connection, since nobody knows where the next request begins; of HTTP/2
    /// each stream has its own end.
    Refused,
    /// Pingora has no reason phrase that is not UTF-8. "A client SHOULD ignore the reason-phrase content" (RFC 9112 §4), and
    /// HTTP/2 has none (RFC 9113 §8.3.2).
    Reason,
    /// "… if there are multiple Cookie header fields after decompression, these MUST be concatenated into a single octet
    /// string" before they are passed on over HTTP/1.1 (RFC 9113 §8.2.3). What comes over HTTP/1.1 goes on as it came.
    Cookies,
    /// TRACE shows the request "as received" (RFC 9110 §9.3.8): over HTTP/2 that has names in lower case.
    Trace,
}

/// Every one.
pub const ALL: [Rule; 10] = [
    Rule::Date,
    Rule::Connection,
    Rule::Names,
    Rule::Via,
    Rule::Unframed,
    Rule::Interim,
    Rule::Refused,
    Rule::Reason,
    Rule::Cookies,
    Rule::Trace,
];

/// What was seen without what may differ.
pub fn without(rules: &[Rule], seen: &Seen) -> Seen {
    let mut seen = seen.clone();
    rules.iter().for_each(|rule| rule.apply(&mut seen));
    seen
}

impl Rule {
    fn apply(self, seen: &mut Seen) {
        match self {
            Rule::Date => drop_lines(&mut seen.answers, "date"),
            Rule::Connection => drop_lines(&mut seen.answers, "connection"),
            Rule::Names => {
                for message in seen.answers.iter_mut().chain(&mut seen.asks) {
                    message.lines.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
                    message.lines.sort_by(|one, other| one.0.cmp(&other.0));
                }
            }
            Rule::Via => {
                let vias = seen.asks.iter_mut().flat_map(|asked| &mut asked.lines);
                for (_, value) in vias.filter(|(name, _)| name.eq_ignore_ascii_case("via")) {
                    *value = ["1.0 freshgate-", "1.1 freshgate-"]
                        .iter()
                        .fold(value.clone(), |value, other| value.replace(other, "2.0 freshgate-"));
                }
            }
            Rule::Unframed => {
                let unframed = |answer: &&mut Message| matches!(answer.framing, Framing::Chunked | Framing::Close);
                for answer in seen.answers.iter_mut().filter(unframed) {
                    answer.framing = Framing::Close;
                    drop_lines(std::slice::from_mut(answer), "transfer-encoding");
                    seen.closes = true;
                }
            }
            Rule::Interim => seen.answers.retain(|answer| answer.status() >= 200),
            Rule::Refused => {
                let refused = |answer: &Message| answer.all("cache-status").any(|said| said.contains("detail=refused"));
                seen.closes |= seen.answers.last().is_some_and(refused);
            }
            Rule::Reason => {
                for answer in seen.answers.iter_mut().filter(|answer| !answer.start.is_ascii()) {
                    answer.start.truncate("HTTP/1.1 200 ".len());
                }
            }
            Rule::Cookies => {
                let several = |asked: &&mut Message| asked.all("cookie").count() > 1;
                for asked in seen.asks.iter_mut().filter(several) {
                    let all = asked.all("cookie").collect::<Vec<_>>().join("; ");
                    drop_lines(std::slice::from_mut(asked), "cookie");
                    asked.lines.insert(0, ("cookie".to_owned(), all.trim_end().to_owned()));
                    asked.lines.sort_by(|one, other| one.0.cmp(&other.0));
                }
            }
            Rule::Trace => {
                let trace = |answer: &&mut Message| answer.all("content-type").any(|kind| kind == "message/http");
                for answer in seen.answers.iter_mut().filter(trace) {
                    answer.body.make_ascii_lowercase();
                }
            }
        }
    }
}

fn drop_lines(messages: &mut [Message], name: &str) {
    for message in messages {
        message.lines.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }
}
