//! The parsers of fields: what they make of a value stays within what its grammar can say, means the same when it is
//! printed and read again, and does not depend on lines of other fields.

use super::NOW;
use freshgate::field::cache_control::{MaxStale, RequestDirectives, ResponseDirectives};
use freshgate::field::date::HttpDate;
use freshgate::field::entity_tag::{self, EntityTag, TagList};
use freshgate::field::range::{self, Range, Resolved};
use freshgate::field::vary::Vary;
use freshgate::field::{Fields, accept_encoding, age, connection, list, max_forwards, retry_after, targeted};
use std::time::Duration;

const GREATEST: Duration = Duration::from_secs(1 << 31);

/// A field, and what has to hold of its lines.
type Row = (&'static str, fn(&Fields));

const ROWS: [Row; 18] = [
    ("accept-encoding", accepted),
    ("age", |fields| assert!(age::of(fields).is_none_or(|age| age <= GREATEST))),
    ("cache-control", asked),
    ("cache-control", said),
    ("freshgate-cache-control", said_to_us),
    ("cdn-cache-control", said_to_us),
    ("connection", nominated),
    ("date", |fields| dated(fields, "date")),
    ("expires", |fields| dated(fields, "expires")),
    ("last-modified", |fields| dated(fields, "last-modified")),
    ("etag", tagged),
    ("if-match", |fields| conditional(fields, "if-match")),
    ("if-none-match", |fields| conditional(fields, "if-none-match")),
    ("max-forwards", counted),
    ("pragma", asked),
    ("range", ranged),
    ("retry-after", awaited),
    ("vary", varied),
];

/// `octets`: which row, then lines.
pub fn run(octets: &[u8]) {
    let Some((which, lines)) = octets.split_first() else { return };
    let (name, holds) = ROWS[usize::from(*which) % ROWS.len()];
    let fields: Fields = lines.split(|octet| *octet == b'\n').map(|line| (name, line.trim_ascii().to_vec())).collect();
    holds(&fields);
    let (members, again) = (members(&fields, name), members(&one_line(&fields, name), name));
    if !fields.get_all(name).any(|line| line.contains(&b'"')) {
        assert_eq!(members, again, "lines of a list are one list (RFC 9110 §5.3)");
    }
    assert!(members.iter().all(|member| !member.is_empty() && member.trim_ascii() == member));
}

fn members(fields: &Fields, name: &str) -> Vec<Vec<u8>> {
    list(fields.get_all(name)).map(<[u8]>::to_vec).collect()
}

fn one_line(fields: &Fields, name: &'static str) -> Fields {
    let lines: Vec<&[u8]> = fields.get_all(name).collect();
    [(name, lines.join(&b", "[..]))].into_iter().collect()
}

fn accepted(fields: &Fields) {
    for coding in ["gzip", "br", "identity"] {
        let weight = accept_encoding::weight(fields, coding);
        assert!(weight.is_none_or(|weight| weight <= 1000));
        assert_eq!(weight, accept_encoding::weight(fields, &coding.to_uppercase()), "codings have no case");
    }
}

fn asked(fields: &Fields) {
    let asked = RequestDirectives::of(fields);
    let stale = asked.max_stale.and_then(|stale| if let MaxStale::For(time) = stale { Some(time) } else { None });
    let times = [asked.max_age, asked.min_fresh, asked.stale_if_error, stale];
    assert!(times.into_iter().flatten().all(|time| time <= GREATEST));
    assert_eq!(asked, RequestDirectives::of(&in_capitals(fields)), "directives have no case");
}

fn said(fields: &Fields) {
    let said = ResponseDirectives::of(fields);
    bounded(&said);
    assert!(!said.targeted && said == ResponseDirectives::for_all(fields));
    assert_eq!(said, ResponseDirectives::of(&in_capitals(fields)), "directives have no case");
    let bare = |word: &str| list(fields.get_all("cache-control")).any(|one| one.eq_ignore_ascii_case(word.as_bytes()));
    for (word, found) in [("no-store", said.no_store), ("private", said.private), ("no-cache", said.no_cache)] {
        assert!(found || !bare(word), "{word} unseen");
    }
}

fn said_to_us(fields: &Fields) {
    let with_all: Fields =
        fields.iter().chain([(&b"Cache-Control"[..], &b"no-store, max-age=7"[..])]).map(owned).collect();
    match targeted::of(fields) {
        Some(said) => {
            bounded(&said);
            assert!(said.targeted);
            assert_eq!(ResponseDirectives::of(&with_all), said, "Cache-Control is not for this cache then");
        }
        None => assert!(ResponseDirectives::of(&with_all).no_store, "Cache-Control is for this cache then"),
    }
}

fn bounded(said: &ResponseDirectives) {
    let times = [said.max_age, said.s_maxage, said.stale_while_revalidate, said.stale_if_error];
    assert!(times.into_iter().flatten().all(|time| time <= GREATEST));
}

fn owned((name, value): (&[u8], &[u8])) -> (Vec<u8>, Vec<u8>) {
    (name.to_vec(), value.to_vec())
}

fn in_capitals(fields: &Fields) -> Fields {
    fields.iter().map(|(name, value)| (name.to_ascii_uppercase(), value.to_ascii_uppercase())).collect()
}

fn nominated(fields: &Fields) {
    let mut all = fields.clone();
    for token in connection::tokens(fields) {
        assert!(!token.is_empty() && token == token.to_ascii_lowercase());
        all.push(token.to_uppercase(), "1");
    }
    all.push("Transfer-Encoding", "chunked");
    assert!(connection::end_to_end(&all).is_empty(), "what is for one hop goes further");
}

fn dated(fields: &Fields, name: &str) {
    let HttpDate(now) = HttpDate(NOW.wall_seconds());
    if let Some(date) = HttpDate::of(fields, name, HttpDate(now)) {
        assert_eq!(HttpDate::parse(date.to_string().as_bytes(), HttpDate(now)), Some(date), "{date}");
        let line = fields.get(name).expect("a date was read").to_ascii_uppercase();
        assert_eq!(HttpDate::parse(&line, HttpDate(now)), Some(date), "dates have no case here");
    }
}

fn tagged(fields: &Fields) {
    let Some(tag) = EntityTag::of(fields) else { return };
    assert_eq!(fields.get("etag"), Some(&tag.to_bytes()[..]), "a tag is printed as it came");
    assert_eq!(EntityTag::parse(&tag.to_bytes()).as_ref(), Some(&tag));
    assert!(tag.weakly_matches(&tag) && tag.strongly_matches(&tag) != tag.weak);
    let in_list: Fields = [("if-none-match", tag.to_bytes())].into_iter().collect();
    assert!(TagList::of(&in_list, "if-none-match").is_some_and(|list| list.weakly_contains(&tag)), "{tag:?}");
}

fn conditional(fields: &Fields, name: &str) {
    let tags = TagList::of(fields, name);
    assert!(tags.is_some());
    let sent = entity_tag::without_ours(fields);
    let left = match TagList::of(&sent, name) {
        Some(TagList::Tags(left)) => left,
        Some(TagList::Any) | None => Vec::new(),
    };
    assert!(!left.iter().any(entity_tag::is_ours), "a tag of ours is sent on");
    if let Some(TagList::Tags(tags)) = tags {
        let theirs: Vec<_> = tags.into_iter().filter(|tag| !entity_tag::is_ours(tag)).collect();
        assert_eq!(theirs, left, "a tag of theirs is lost");
    }
}

fn counted(fields: &Fields) {
    let Some(count) = max_forwards::of(fields) else { return };
    assert_eq!(max_forwards::of(&[("max-forwards", count.to_string())].into_iter().collect()), Some(count));
}

fn ranged(fields: &Fields) {
    let Some(asked) = range::of(fields) else { return };
    let printed = match asked {
        Range::FromTo(first, last) => format!("bytes={first}-{last}"),
        Range::From(first) => format!("bytes={first}-"),
        Range::Last(count) => format!("bytes=-{count}"),
    };
    assert_eq!(range::of(&[("range", printed)].into_iter().collect()), Some(asked));
    for length in [0, 1, 1000, u64::MAX] {
        if let Resolved::Part { first, last } = asked.resolve(length) {
            assert!(first <= last && last < length, "{asked:?} of {length}");
        }
    }
}

fn awaited(fields: &Fields) {
    let Some(wait) = retry_after::wait(fields, HttpDate(NOW.wall_seconds())) else { return };
    let again = [("retry-after", wait.as_secs().to_string())].into_iter().collect();
    assert_eq!(retry_after::wait(&again, HttpDate(0)), Some(wait));
}

fn varied(fields: &Fields) {
    let Vary::Names(names) = Vary::of(fields) else { return };
    assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(names.iter().all(|name| name != "*" && *name == name.to_ascii_lowercase()));
    let again = [("vary", names.join(","))].into_iter().collect();
    assert_eq!(Vary::of(&again), Vary::Names(names));
}
