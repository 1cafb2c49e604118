//! Field lines that nobody should send: for the tests of whatever reads fields.
//!
//! Octets drawn evenly are rarely more than noise to a parser. These are put together from what the grammars are made of,
//! whole and broken: directives, dates, quotes that nobody closes, numbers that nothing can hold, NUL and obs-text.

use super::Fields;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Pieces of lines.
const PIECES: [&[u8]; 56] = [
    b"max-age",
    b"s-maxage",
    b"max-stale",
    b"min-fresh",
    b"no-store",
    b"private",
    b"only-if-cached",
    b"stale-while-revalidate",
    b"stale-if-error",
    b"an-extension-longer-than-any",
    b"=",
    b"=60",
    b"=0",
    b"=-1",
    b"=\"60\"",
    b"=\"60",
    b"0",
    b"2147483647",
    b"2147483648",
    b"18446744073709551615",
    b"18446744073709551616",
    b"99999999999999999999999999999999999999999999999999",
    b"00000000000000000000000000000000000000000000000001",
    b",",
    b", ",
    b";",
    b" ",
    b"\t",
    b"\"",
    b"\\",
    b"\\\"",
    b"W/",
    b"W/\"a\"",
    b"\"a,b\"",
    b"\"fg1-0123456789abcdefghij-_\"",
    b"*",
    b"bytes=",
    b"-",
    b"accept",
    b"close",
    b"Sun, 06 Nov 1994 08:49:37 GMT",
    b"Sunday, 06-Nov-94 08:49:37 GMT",
    b"Sun Nov  6 08:49:37 1994",
    b"Sun, ",
    b"Sunday, ",
    b"06 Nov 1994 ",
    b"29 Feb 9999 ",
    b"06-Nov-94 ",
    b"08:49:37",
    b"23:59:60",
    b" GMT",
    b"\0",
    b"\x7f",
    b"\x80",
    b"\xff",
    "é".as_bytes(),
];

/// One line: pieces and noise.
pub(crate) fn line() -> impl Strategy<Value = Vec<u8>> {
    let piece = select(&PIECES[..]).prop_map(<[u8]>::to_vec);
    vec(prop_oneof![6 => piece, 1 => vec(any::<u8>(), 0..6)], 0..8).prop_map(|pieces| pieces.concat())
}

/// A section in which each of `names` has any number of lines, mostly one.
pub(crate) fn section(names: &'static [&'static str]) -> impl Strategy<Value = Fields> {
    let lines = prop_oneof![1 => Just(0..1_usize), 6 => Just(1..2), 2 => Just(2..20)];
    let of = |name: &'static str| {
        lines.clone().prop_flat_map(move |count| vec(line(), count)).prop_map(move |lines| (name, lines))
    };
    names.iter().map(|name| of(name)).collect::<Vec<_>>().prop_map(|fields| {
        fields.into_iter().flat_map(|(name, lines)| lines.into_iter().map(move |line| (name, line))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::cache_control::{MaxStale, RequestDirectives, ResponseDirectives};
    use crate::field::date::HttpDate;
    use crate::field::entity_tag::{self, EntityTag, TagList};
    use crate::field::vary::Vary;
    use crate::field::{age, connection, list, range, retry_after};
    use std::time::Duration;

    const NAMES: [&str; 14] = [
        "age",
        "cache-control",
        "connection",
        "date",
        "etag",
        "expires",
        "if-match",
        "if-none-match",
        "if-range",
        "last-modified",
        "pragma",
        "range",
        "retry-after",
        "vary",
    ];

    const GREATEST: Duration = Duration::from_secs(1 << 31);

    /// A parser, and what holds of whatever it reads.
    type Row = (&'static str, fn(&Fields, HttpDate) -> bool);

    const PARSERS: [Row; 13] = [
        ("no age exceeds 2^31", |fields, _| age::of(fields).is_none_or(|age| age <= GREATEST)),
        ("no lifetime of a response exceeds 2^31", |fields, _| {
            let ResponseDirectives { max_age, s_maxage, stale_while_revalidate, stale_if_error, .. } =
                ResponseDirectives::of(fields);
            [max_age, s_maxage, stale_while_revalidate, stale_if_error]
                .into_iter()
                .flatten()
                .all(|time| time <= GREATEST)
        }),
        ("no time of a request exceeds 2^31", |fields, _| {
            let RequestDirectives { max_age, min_fresh, max_stale, .. } = RequestDirectives::of(fields);
            let stale = max_stale.and_then(|stale| if let MaxStale::For(time) = stale { Some(time) } else { None });
            [max_age, min_fresh, stale].into_iter().flatten().all(|time| time <= GREATEST)
        }),
        ("connection options are lower-case tokens", |fields, _| {
            connection::tokens(fields).all(|option| !option.is_empty() && option == option.to_ascii_lowercase())
        }),
        ("no field of one connection stays", |fields, _| !connection::end_to_end(fields).contains("connection")),
        ("dates have four digits of a year", |fields, now| {
            let dates = ["date", "expires", "last-modified"].map(|name| HttpDate::of(fields, name, now));
            dates.into_iter().flatten().all(|HttpDate(date)| (HttpDate::FIRST..=HttpDate::LAST).contains(&date))
        }),
        ("an entity-tag is printed as it came", |fields, _| {
            EntityTag::of(fields).is_none_or(|tag| fields.get("etag") == Some(&tag.to_bytes()[..]))
        }),
        ("a list of entity-tags is there where its field is", |fields, _| {
            ["if-match", "if-none-match"]
                .iter()
                .all(|name| TagList::of(fields, name).is_some() == fields.contains(name))
        }),
        ("no entity-tag of ours is sent on", |fields, _| {
            let sent = entity_tag::without_ours(fields);
            ["if-match", "if-none-match"].iter().all(|name| match TagList::of(&sent, name) {
                Some(TagList::Tags(tags)) => !tags.iter().any(entity_tag::is_ours),
                Some(TagList::Any) | None => true,
            })
        }),
        ("a range lies within the length", |fields, _| {
            range::of(fields).is_none_or(|asked| match asked.resolve(1000) {
                range::Resolved::Part { first, last } => first <= last && last < 1000,
                range::Resolved::Unsatisfiable => true,
            })
        }),
        ("a wait asked for by a date ends with the calendar", |fields, now| {
            let longest = HttpDate::LAST.saturating_sub(now.0).max(0).cast_unsigned();
            let digits = fields.get("retry-after").is_some_and(|line| line.trim_ascii().iter().all(u8::is_ascii_digit));
            retry_after::wait(fields, now).is_none_or(|wait| digits || wait.as_secs() <= longest)
        }),
        ("what varies is sorted and each there once", |fields, _| match Vary::of(fields) {
            Vary::Names(names) => names.windows(2).all(|pair| pair[0] < pair[1]),
            Vary::Any => true,
        }),
        ("members are neither empty nor padded", |fields, _| {
            NAMES.iter().all(|name| list(fields.get_all(name)).all(|one| !one.is_empty() && one.trim_ascii() == one))
        }),
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn every_parser_takes_every_octet(fields in section(&NAMES), now: i64) {
            for (what, holds) in PARSERS {
                prop_assert!(holds(&fields, HttpDate(now)), "{}: {:?}", what, fields);
            }
        }
    }
}
