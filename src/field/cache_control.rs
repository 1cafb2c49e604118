//! Cache-Control (RFC 9111 §5.2, with the extensions of RFC 5861 and RFC 8246), what takes its place for this cache alone
//! (RFC 9213), and Pragma (RFC 7234 §5.4).

use super::{Fields, delta_seconds, list, targeted};
use std::time::Duration;

/// What a response asks of caches. Directives that are not known here are ignored (RFC 9111 §5.2.3).
///
/// "When there is more than one value present for a given directive …, either the first occurrence should be used or
/// the response should be considered stale" (RFC 9111 §4.2.1): the first is used, since a second one is nearly always a
/// default that some layer appended. Of the words without a value, one occurrence is enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    pub no_store: bool,
    /// With field names as argument too: the whole response is then validated before use, which is more than is asked.
    pub no_cache: bool,
    /// With field names as argument too: the whole response then counts as private.
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub no_transform: bool,
    pub immutable: bool,
    /// Zero where it was sent with an argument that cannot be read: "Caches are encouraged to consider responses that
    /// have invalid freshness information to be stale" (RFC 9111 §4.2.1). At most 2^31 seconds.
    pub max_age: Option<Duration>,
    /// As [`max_age`](Self::max_age).
    pub s_maxage: Option<Duration>,
    /// RFC 5861 §3; `None` also where the argument cannot be read: nothing stale is then used. At most 2^31 seconds.
    pub stale_while_revalidate: Option<Duration>,
    /// RFC 5861 §4; as [`stale_while_revalidate`](Self::stale_while_revalidate).
    pub stale_if_error: Option<Duration>,
    /// Whether a [targeted] field said so: Expires then says nothing.
    pub targeted: bool,
}

impl ResponseDirectives {
    /// What binds this cache: "the first (in target-list order) field with a valid, non-empty value", and Cache-Control
    /// where there is none (RFC 9213 §2.2).
    pub fn of(fields: &Fields) -> Self {
        targeted::of(fields).unwrap_or_else(|| Self::for_all(fields))
    }

    /// What is said to every cache: reads all Cache-Control lines of a response.
    pub fn for_all(fields: &Fields) -> Self {
        let mut found = ResponseDirectives::default();
        for (name, argument) in directives(fields) {
            let seconds = argument.and_then(seconds);
            match lower_case(name, &mut [0; LONGEST]) {
                b"no-store" => found.no_store = true,
                b"no-cache" => found.no_cache = true,
                b"private" => found.private = true,
                b"public" => found.public = true,
                b"must-revalidate" => found.must_revalidate = true,
                b"proxy-revalidate" => found.proxy_revalidate = true,
                b"must-understand" => found.must_understand = true,
                b"no-transform" => found.no_transform = true,
                b"immutable" => found.immutable = true,
                b"max-age" => _ = found.max_age.get_or_insert(seconds.unwrap_or_default()),
                b"s-maxage" => _ = found.s_maxage.get_or_insert(seconds.unwrap_or_default()),
                b"stale-while-revalidate" => found.stale_while_revalidate = found.stale_while_revalidate.or(seconds),
                b"stale-if-error" => found.stale_if_error = found.stale_if_error.or(seconds),
                _ => {}
            }
        }
        found
    }
}

/// What a request asks of caches. An argument that cannot be read makes its directive ignored: these only ever narrow
/// or widen what may be answered, and "are advisory; caches MAY implement them" (RFC 9111 §5.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// Also `Pragma: no-cache`, where there is no Cache-Control at all.
    pub no_cache: bool,
    pub no_store: bool,
    pub only_if_cached: bool,
    pub no_transform: bool,
    pub max_age: Option<Duration>,
    pub min_fresh: Option<Duration>,
    pub max_stale: Option<MaxStale>,
    /// RFC 5861 §4: "When used as a request Cache-Control extension, its scope of application is the request it appears in".
    pub stale_if_error: Option<Duration>,
}

/// How stale an answer the client takes (RFC 9111 §5.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxStale {
    /// Without an argument: "the client will accept a stale response of any age".
    Any,
    /// Stale by no more than this.
    For(Duration),
}

impl RequestDirectives {
    /// Reads all Cache-Control lines of a request, or Pragma where there is none.
    pub fn of(fields: &Fields) -> Self {
        let mut found = RequestDirectives::default();
        for (name, argument) in directives(fields) {
            let seconds = argument.and_then(seconds);
            match lower_case(name, &mut [0; LONGEST]) {
                b"no-cache" => found.no_cache = true,
                b"no-store" => found.no_store = true,
                b"only-if-cached" => found.only_if_cached = true,
                b"no-transform" => found.no_transform = true,
                b"max-age" => found.max_age = found.max_age.or(seconds),
                b"min-fresh" => found.min_fresh = found.min_fresh.or(seconds),
                b"stale-if-error" => found.stale_if_error = found.stale_if_error.or(seconds),
                b"max-stale" => {
                    let allowed = if argument.is_none() { Some(MaxStale::Any) } else { seconds.map(MaxStale::For) };
                    found.max_stale = found.max_stale.or(allowed);
                }
                _ => {}
            }
        }
        // "When the Cache-Control header field is not present in a request, caches MUST consider the no-cache request
        // pragma-directive as having the same effect as if "Cache-Control: no-cache" were present" (RFC 7234 §5.4;
        // RFC 9111 §5.4 deprecates it, and clients of that age still send it).
        if !fields.contains("cache-control") {
            found.no_cache = list(fields.get_all("pragma")).any(|word| word.eq_ignore_ascii_case(b"no-cache"));
        }
        found
    }
}

/// The longest directive known here: `stale-while-revalidate`.
const LONGEST: usize = 22;

/// Every directive with its argument, if any; quotes are still on. A name ends at white space too, so that
/// `max-age =1`, which the grammar does not know, is a max-age that cannot be read and not an unknown directive.
fn directives(fields: &Fields) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    list(fields.get_all("cache-control")).map(|directive| {
        match directive.iter().position(|b| matches!(b, b'=' | b' ' | b'\t')) {
            Some(at) => {
                let (name, rest) = directive.split_at(at);
                (name, Some(rest.strip_prefix(b"=").unwrap_or_default()))
            }
            None => (directive, None),
        }
    })
}

/// delta-seconds as a token or, as recipients ought to accept (RFC 9111 §5.2), as a quoted-string.
fn seconds(argument: &[u8]) -> Option<Duration> {
    let quoted = argument.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    delta_seconds(quoted.unwrap_or(argument))
}

/// `name` in lower case, without an allocation; empty where it is longer than any directive known here.
fn lower_case<'b>(name: &[u8], room: &'b mut [u8; LONGEST]) -> &'b [u8] {
    let Some(room) = room.get_mut(..name.len()) else { return b"" };
    room.copy_from_slice(name);
    room.make_ascii_lowercase();
    room
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn secs(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    fn response(lines: &[&str]) -> ResponseDirectives {
        ResponseDirectives::of(&lines.iter().map(|line| ("Cache-Control", line.to_string())).collect())
    }

    #[track_caller]
    fn check_max_age(line: &str, expected: Option<Duration>) {
        assert_eq!(response(&[line]).max_age, expected, "{line}");
    }

    #[test]
    fn max_age_is_read_from_tokens_and_quoted_strings() {
        check_max_age("max-age=3600", secs(3600));
        check_max_age("max-age=003600", secs(3600));
        check_max_age("MaX-aGe=3600", secs(3600));
        check_max_age("max-age=\"3600\"", secs(3600));
        check_max_age("foo, max-age=3600,bar=baz", secs(3600));
        check_max_age("max-age=99999999999", secs(1 << 31));
        check_max_age("max-age=100000000000000000000000", secs(1 << 31));
    }

    #[test]
    fn a_max_age_that_cannot_be_read_is_stale() {
        for line in [
            "max-age='3600'",
            "max-age=-3600",
            "max-age=3600.0",
            "max-age",
            "max-age=",
            "max-age=\"\"",
            "max-age=\"3600",
            "max-age =3600",
            "max-age= 3600",
            "max-age=3600 1",
            "max-age=3600;foo",
        ] {
            check_max_age(line, secs(0));
        }
    }

    #[test]
    fn max_age_elsewhere_is_not_max_age() {
        check_max_age("", None);
        check_max_age("s-maxage=1", None);
        check_max_age("max-aged=1", None);
        check_max_age("extension=\"max-age=3600\"", None);
        check_max_age("extension=\"a, max-age=3600\"", None);
        check_max_age("extension=\"a\\\", max-age=3600\", max-age=1", secs(1));
        check_max_age("extension=max-age=3600", None);
        check_max_age("\"max-age=3600\"", None);
    }

    #[test]
    fn the_first_of_two_values_counts() {
        check_max_age("max-age=1, max-age=3600", secs(1));
        check_max_age("max-age=3600, max-age=1", secs(3600));
        check_max_age("max-age=x, max-age=3600", secs(0));
        assert_eq!(response(&["max-age=1", "max-age=2, s-maxage=3", "s-maxage=4"]).s_maxage, secs(3));
    }

    #[test]
    fn every_response_directive_is_found_over_all_lines_in_any_case() {
        let all = response(&[
            "No-Store, NO-CACHE, private, public, must-revalidate",
            "proxy-revalidate, must-understand, no-transform, immutable",
            "max-age=1, s-maxage=2, stale-while-revalidate=3, stale-if-error=4",
        ]);
        let expected = ResponseDirectives {
            no_store: true,
            no_cache: true,
            private: true,
            public: true,
            must_revalidate: true,
            proxy_revalidate: true,
            must_understand: true,
            no_transform: true,
            immutable: true,
            max_age: secs(1),
            s_maxage: secs(2),
            stale_while_revalidate: secs(3),
            stale_if_error: secs(4),
            targeted: false,
        };
        assert_eq!(all, expected);
    }

    #[test]
    fn qualified_no_cache_and_private_count_as_unqualified() {
        let found = response(&["no-cache=\"set-cookie\", private=\"x-a, x-b\""]);
        assert!(found.no_cache && found.private);
    }

    #[test]
    fn unknown_directives_change_nothing() {
        assert_eq!(response(&["nothing-to-see-here, x=1, =, =5, an-extension-longer-than-any=1"]), Default::default());
    }

    #[test]
    fn a_stale_allowance_that_cannot_be_read_allows_nothing() {
        assert_eq!(response(&["stale-while-revalidate, stale-if-error=x"]), Default::default());
    }

    #[track_caller]
    fn check_request(lines: &[(&str, &str)], expected: RequestDirectives) {
        let fields = lines.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        assert_eq!(RequestDirectives::of(&fields), expected, "{lines:?}");
    }

    #[test]
    fn every_request_directive_is_found() {
        check_request(
            &[
                ("cache-control", "no-cache, no-store, only-if-cached, no-transform"),
                ("Cache-Control", "max-age=1, min-fresh=2, max-stale=\"3\", stale-if-error=4"),
            ],
            RequestDirectives {
                no_cache: true,
                no_store: true,
                only_if_cached: true,
                no_transform: true,
                max_age: secs(1),
                min_fresh: secs(2),
                max_stale: Some(MaxStale::For(Duration::from_secs(3))),
                stale_if_error: secs(4),
            },
        );
    }

    #[test]
    fn max_stale_without_an_argument_takes_any_age_and_with_an_unreadable_one_none() {
        let max_stale = |max_stale| RequestDirectives { max_stale, ..Default::default() };
        check_request(&[("cache-control", "max-stale")], max_stale(Some(MaxStale::Any)));
        check_request(&[("cache-control", "max-stale=x")], max_stale(None));
        check_request(&[("cache-control", "max-stale=")], max_stale(None));
        check_request(&[("cache-control", "max-stale 5")], max_stale(None));
        check_request(&[("cache-control", "max-stale=5, max-stale")], {
            max_stale(Some(MaxStale::For(Duration::from_secs(5))))
        });
    }

    #[test]
    fn request_arguments_that_cannot_be_read_are_ignored() {
        check_request(&[("cache-control", "max-age=x, min-fresh=-1")], Default::default());
    }

    #[test]
    fn pragma_counts_only_where_there_is_no_cache_control() {
        let no_cache = RequestDirectives { no_cache: true, ..Default::default() };
        check_request(&[("pragma", "No-Cache")], no_cache);
        check_request(&[("pragma", "foo, no-cache")], no_cache);
        check_request(&[("pragma", "foo")], Default::default());
        check_request(&[("pragma", "no-cache"), ("cache-control", "nothing-to-see-here")], Default::default());
        check_request(&[("pragma", "no-cache"), ("cache-control", "")], Default::default());
    }

    proptest! {
        #[test]
        fn no_octets_panic(line: Vec<u8>) {
            let fields = [("cache-control", line.clone()), ("pragma", line)].into_iter().collect();
            ResponseDirectives::of(&fields);
            RequestDirectives::of(&fields);
        }

        #[test]
        fn directives_mean_the_same_in_any_case_and_however_they_stand_in_lines(
            words in proptest::collection::vec("(no-store|private|no-cache=\"x-a, x-b\"|public|(s-)?max-?age=[0-9]{1,12}|max-age=\"60\")", 0..8),
            ends: u8,
        ) {
            let (first, second) = words.split_at(usize::from(ends) % (words.len() + 1));
            let together = response(&[&words.join(", ")]);
            prop_assert_eq!(response(&[&first.join(","), &second.join(" , ")]), together);
            prop_assert_eq!(response(&[&words.join(",").to_uppercase()]), together);
        }

        #[test]
        fn a_value_is_found_among_any_extensions(
            seconds in 0..=1_u64 << 31, before in "[a-l]{0,30}", after in "[a-l]{0,30}",
        ) {
            check_max_age(&format!("{before},max-age={seconds},{after}"), secs(seconds));
        }
    }
}
