//! Entity-tags (RFC 9110 §8.8.3), and the lists of them that preconditions carry (RFC 9110 §13.1).

use super::Fields;
use super::opaque::Opaque;
use bytes::Bytes;

/// One entity-tag. Compared only by [`strongly_matches`](Self::strongly_matches) and
/// [`weakly_matches`](Self::weakly_matches).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag {
    pub weak: bool,
    /// The opaque-tag without its quotes; may hold obs-text.
    pub opaque: Opaque,
}

impl EntityTag {
    /// Reads exactly one entity-tag, white space not included. `W/` is case-sensitive.
    pub fn parse(text: &[u8]) -> Option<EntityTag> {
        let (weak, opaque) = split(text)?;
        Some(EntityTag { weak, opaque: opaque.into() })
    }

    /// The entity-tag in the only ETag line; of two nobody knows which one names the content, so they are none.
    pub fn of(fields: &Fields) -> Option<EntityTag> {
        let mut lines = fields.get_all("etag");
        match (lines.next(), lines.next()) {
            (Some(line), None) => EntityTag::parse(line),
            _ => None,
        }
    }

    /// As it stands in a field; what [`parse`](Self::parse) reads, octet by octet.
    pub fn to_bytes(&self) -> Bytes {
        let mut text = Vec::with_capacity(self.opaque.len() + 4);
        self.put(&mut text);
        text.into()
    }

    /// Appends it in the same form.
    pub fn put(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(if self.weak { b"W/\"" } else { b"\"" });
        text.extend_from_slice(&self.opaque);
        text.push(b'"');
    }

    /// "Two entity tags are equivalent if both are not weak and their opaque-tags match character-by-character"
    /// (RFC 9110 §8.8.3.2).
    pub fn strongly_matches(&self, other: &EntityTag) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// "Two entity tags are equivalent if their opaque-tags match character-by-character, regardless of either or both
    /// being tagged as weak" (RFC 9110 §8.8.3.2).
    pub fn weakly_matches(&self, other: &EntityTag) -> bool {
        self.opaque == other.opaque
    }
}

/// What If-Match and If-None-Match hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagList {
    /// `*`: whatever there is.
    Any,
    /// The valid members; others name nothing and are left out, so this may be empty.
    Tags(Vec<EntityTag>),
}

impl TagList {
    /// The members of all lines of `name` together; `None` where there is no such field. Takes time linear in their
    /// length.
    pub fn of(fields: &Fields, name: &str) -> Option<TagList> {
        if !fields.contains(name) {
            return None;
        }
        let mut all = fields.get_all(name).flat_map(members);
        if (all.next(), all.next()) == (Some(b"*"), None) {
            return Some(TagList::Any);
        }
        let tags = fields.get_all(name).flat_map(members).filter_map(EntityTag::parse);
        Some(TagList::Tags(tags.collect()))
    }

    /// Whether `tag` is among them by weak comparison; [`Any`](Self::Any) holds every one.
    pub fn weakly_contains(&self, tag: &EntityTag) -> bool {
        match self {
            TagList::Any => true,
            TagList::Tags(tags) => tags.iter().any(|listed| listed.weakly_matches(tag)),
        }
    }

    /// Whether `tag` is among them by strong comparison; [`Any`](Self::Any) holds every one.
    pub fn strongly_contains(&self, tag: &EntityTag) -> bool {
        match self {
            TagList::Any => true,
            TagList::Tags(tags) => tags.iter().any(|listed| listed.strongly_matches(tag)),
        }
    }
}

/// Whether an entity-tag has the shape of those computed here: `fg1-`, 22 octets of base64url, and for a content coding
/// a hyphen and its name.
pub fn is_ours(tag: &EntityTag) -> bool {
    is_ours_opaque(&tag.opaque)
}

/// The hash in an entity-tag [of our shape](is_ours): it names the content whatever the coding.
pub fn hash_of_ours(tag: &EntityTag) -> Option<&[u8]> {
    ours(&tag.opaque)
}

fn is_ours_opaque(opaque: &[u8]) -> bool {
    ours(opaque).is_some()
}

fn ours(opaque: &[u8]) -> Option<&[u8]> {
    let (hash, coding) = opaque.strip_prefix(b"fg1-")?.split_at_checked(22)?;
    let is_base64url = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let is_coding = |name: &[u8]| !name.is_empty() && name.iter().all(u8::is_ascii_alphanumeric);
    let shaped =
        hash.iter().all(is_base64url) && (coding.is_empty() || coding.strip_prefix(b"-").is_some_and(is_coding));
    shaped.then_some(hash)
}

/// The fields of a request without the entity-tags [of our shape](is_ours), which the origin has never seen. A
/// precondition that held no other is dropped, and Range with If-Range: without its condition it would be answered with
/// a part of who knows which representation. Foreign members stay octet by octet, as do lines that hold none of ours.
pub fn without_ours(fields: &Fields) -> Fields {
    let mut range_allowed = true;
    let mut kept = Fields::new();
    for (name, line) in fields.iter() {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let is_precondition = is("if-match") || is("if-none-match") || is("if-range");
        let ours = |member: &&[u8]| split(member).is_some_and(|(_, opaque)| is_ours_opaque(opaque));
        if !is_precondition || !members(line).any(|member| ours(&member)) {
            kept.push(name, line);
            continue;
        }
        let foreign: Vec<&[u8]> = members(line).filter(|member| !ours(member)).collect();
        if !foreign.is_empty() {
            kept.push(name, foreign.join(&b", "[..]));
        }
        range_allowed &= !is("if-range");
    }
    if !range_allowed {
        kept.remove("range");
        kept.remove("if-range");
    }
    kept
}

/// The weakness and the opaque-tag of one whole entity-tag.
fn split(text: &[u8]) -> Option<(bool, &[u8])> {
    let (weak, quoted) = text.strip_prefix(b"W/").map_or((false, text), |rest| (true, rest));
    let opaque = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    opaque.iter().all(is_etagc).then_some((weak, opaque))
}

/// etagc = %x21 / %x23-7E / obs-text
fn is_etagc(b: &u8) -> bool {
    matches!(b, 0x21 | 0x23..=0x7e | 0x80..)
}

/// The members of one line, white space off, empty ones skipped, invalid ones included. Not [`list`](super::list):
/// inside an entity-tag a comma does not separate and a backslash does not escape.
fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let start = rest.iter().position(|b| !matches!(b, b' ' | b'\t' | b','))?;
        rest = &rest[start..];
        let end = tag_length(rest).or_else(|| rest.iter().position(|&b| b == b',')).unwrap_or(rest.len());
        let (member, after) = rest.split_at(end);
        rest = after;
        Some(member.trim_ascii_end())
    })
}

/// The length of the entity-tag that `text` begins with, if it is one and a comma or the end follows. Looks no further
/// than the next quote but one, so that a line of quotes takes linear time.
fn tag_length(text: &[u8]) -> Option<usize> {
    let quoted = text.strip_prefix(b"W/").unwrap_or(text);
    let opaque = quoted.strip_prefix(b"\"")?;
    let close = opaque.iter().position(|b| !is_etagc(b)).filter(|&at| opaque[at] == b'"')?;
    let after = &opaque[close + 1..];
    let ends = matches!(after.iter().find(|b| !matches!(b, b' ' | b'\t')), None | Some(b','));
    ends.then_some(text.len() - after.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const OURS: &str = "\"fg1-0123456789abcdefghij-_\"";
    const OURS_CODED: &str = "W/\"fg1-0123456789abcdefghij-_-gzip1\"";

    fn tag(text: &str) -> EntityTag {
        EntityTag::parse(text.as_bytes()).expect("a valid entity-tag")
    }

    fn fields(lines: &[(&str, &str)]) -> Fields {
        lines.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn valid_entity_tags_are_read() {
        for (text, weak, opaque) in [
            ("\"\"", false, ""),
            ("\"abc\"", false, "abc"),
            ("W/\"abc\"", true, "abc"),
            ("\"a,b\"", false, "a,b"),
            ("\"a\\\"", false, "a\\"),
            ("\"ü\"", false, "ü"),
            ("\"W/\"", false, "W/"),
        ] {
            assert_eq!(tag(text), EntityTag { weak, opaque: opaque.into() }, "{text}");
        }
    }

    #[test]
    fn everything_else_is_no_entity_tag() {
        for text in [
            "",
            "\"",
            "abc",
            "\"abc",
            "abc\"",
            "w/\"abc\"",
            "W\"abc\"",
            "W/abc",
            "W/ \"abc\"",
            "*",
            "\"a\"b\"",
            "\"a\", \"b\"",
            " \"a\"",
            "\"a\" ",
            "'a'",
            "\"a b\"",
            "\"a\x7f\"",
            "\"a\tb\"",
        ] {
            assert_eq!(EntityTag::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn only_a_single_etag_line_counts() {
        assert_eq!(EntityTag::of(&fields(&[("ETag", "\"a\"")])), Some(tag("\"a\"")));
        assert_eq!(EntityTag::of(&fields(&[("ETag", "\"a\""), ("etag", "\"a\"")])), None);
        assert_eq!(EntityTag::of(&fields(&[("ETag", "a")])), None);
        assert_eq!(EntityTag::of(&fields(&[])), None);
    }

    #[track_caller]
    fn check_match(one: &str, other: &str, strongly: bool, weakly: bool) {
        assert_eq!(tag(one).strongly_matches(&tag(other)), strongly);
        assert_eq!(tag(one).weakly_matches(&tag(other)), weakly);
    }

    #[test]
    fn tags_match_as_in_the_table_of_rfc_9110() {
        check_match("W/\"1\"", "W/\"1\"", false, true);
        check_match("W/\"1\"", "W/\"2\"", false, false);
        check_match("W/\"1\"", "\"1\"", false, true);
        check_match("\"1\"", "\"1\"", true, true);
    }

    #[track_caller]
    fn check_list(lines: &[&str], expected: Option<&[&str]>) {
        let fields: Fields = lines.iter().map(|line| ("If-None-Match", line.to_string())).collect();
        let expected = expected.map(|texts| match texts {
            ["*"] => TagList::Any,
            texts => TagList::Tags(texts.iter().map(|text| tag(text)).collect()),
        });
        assert_eq!(TagList::of(&fields, "if-none-match"), expected, "{lines:?}");
    }

    #[test]
    fn a_list_holds_the_tags_of_all_lines() {
        check_list(&[], None);
        check_list(&[""], Some(&[]));
        check_list(&["\"a\""], Some(&["\"a\""]));
        check_list(&["\"a\",W/\"b\" , \"c\"", ",, \"d\","], Some(&["\"a\"", "W/\"b\"", "\"c\"", "\"d\""]));
        check_list(&["\"a,b\", \"c\\\", \"d\""], Some(&["\"a,b\"", "\"c\\\"", "\"d\""]));
    }

    #[test]
    fn a_star_counts_only_alone() {
        check_list(&["*"], Some(&["*"]));
        check_list(&[" , * ,"], Some(&["*"]));
        check_list(&["\"a\", *"], Some(&["\"a\""]));
        check_list(&["*", "\"a\""], Some(&["\"a\""]));
        check_list(&["*, *"], Some(&[]));
        check_list(&["\"*\""], Some(&["\"*\""]));
    }

    #[test]
    fn invalid_members_are_skipped() {
        check_list(&["a, \"b\", w/\"c\", 'd', \"e"], Some(&["\"b\""]));
        check_list(&["\"a, \"b\""], Some(&["\"b\""]));
        check_list(&["\"a\"b, \"c\""], Some(&["\"c\""]));
        check_list(&["\"a\" \"b\", \"c\""], Some(&["\"c\""]));
    }

    #[test]
    fn a_list_is_searched_by_either_comparison() {
        let list = TagList::Tags(vec![tag("\"a\""), tag("W/\"b\"")]);
        assert!(list.weakly_contains(&tag("W/\"a\"")) && list.strongly_contains(&tag("\"a\"")));
        assert!(list.weakly_contains(&tag("\"b\"")) && !list.strongly_contains(&tag("\"b\"")));
        assert!(!list.weakly_contains(&tag("\"c\"")) && !list.strongly_contains(&tag("\"c\"")));
        assert!(TagList::Any.weakly_contains(&tag("\"c\"")) && TagList::Any.strongly_contains(&tag("W/\"c\"")));
    }

    #[test]
    fn ours_are_told_by_their_shape() {
        assert!(is_ours(&tag(OURS)) && is_ours(&tag(OURS_CODED)));
        for foreign in [
            "\"\"",
            "\"fg1-\"",
            "\"fg1-0123456789abcdefghij-\"",
            "\"fg1-0123456789abcdefghij-_-\"",
            "\"fg1-0123456789abcdefghij-_x\"",
            "\"fg1-0123456789abcdefghij-_-g.p\"",
            "\"fg1-0123456789abcdefghij-+\"",
            "\"fg2-0123456789abcdefghij-_\"",
            "\"FG1-0123456789abcdefghij-_\"",
        ] {
            assert!(!is_ours(&tag(foreign)), "{foreign}");
        }
    }

    #[track_caller]
    fn check_without(lines: &[(&str, &str)], left: &[(&str, &str)]) {
        assert_eq!(without_ours(&fields(lines)), fields(left));
    }

    #[test]
    fn ours_are_taken_out_and_foreign_ones_stay() {
        check_without(&[("If-None-Match", OURS), ("a", OURS)], &[("a", OURS)]);
        check_without(&[("If-Match", &format!("{OURS},{OURS_CODED}"))], &[]);
        check_without(&[("If-None-Match", &format!("{OURS}, \"a\"  ,w/b"))], &[("If-None-Match", "\"a\", w/b")]);
        check_without(&[("if-match", OURS), ("If-Match", "\"a\"")], &[("If-Match", "\"a\"")]);
        check_without(&[("If-None-Match", "  \"a\" ,, *")], &[("If-None-Match", "  \"a\" ,, *")]);
    }

    #[test]
    fn a_range_does_not_outlive_its_condition() {
        let range = ("Range", "bytes=0-1");
        check_without(&[range, ("If-Range", OURS)], &[]);
        check_without(&[range, ("If-Range", "\"a\"")], &[range, ("If-Range", "\"a\"")]);
        let date = ("If-Range", "Sun, 06 Nov 1994 08:49:37 GMT");
        check_without(&[range, date, ("If-None-Match", OURS)], &[range, date]);
        check_without(&[("if-range", "\"a\""), ("If-Range", OURS), range], &[]);
    }

    proptest! {
        #[test]
        fn no_octets_panic(line: Vec<u8>) {
            EntityTag::parse(&line);
            let fields: Fields = [("if-match", line)].into_iter().collect();
            TagList::of(&fields, "if-match");
            without_ours(&fields);
        }

        #[test]
        fn what_is_printed_is_read_back(
            weak: bool, opaque in vec(any::<u8>().prop_filter("etagc", is_etagc), 0..40),
        ) {
            let tag = EntityTag { weak, opaque: opaque.into() };
            prop_assert_eq!(EntityTag::parse(&tag.to_bytes()), Some(tag));
        }

        #[test]
        fn a_list_of_valid_tags_is_read_whole(
            tags in vec("(W/)?\"[!#-~é]{0,5}\"", 0..10), commas in "[ ,]{0,3},[ ,]{0,3}",
        ) {
            let expected = TagList::Tags(tags.iter().map(|text| tag(text)).collect());
            let fields: Fields = [("if-match", tags.join(&commas))].into_iter().collect();
            prop_assert_eq!(TagList::of(&fields, "if-match"), Some(expected));
        }

        #[test]
        fn none_of_ours_is_left(
            pieces in vec(proptest::sample::select(vec![OURS, OURS_CODED, "\"a\"", ",", " ", "\""]), 0..20),
        ) {
            let left = without_ours(&[("if-none-match", pieces.concat())].into_iter().collect());
            let Some(TagList::Tags(tags)) = TagList::of(&left, "if-none-match") else { return Ok(()) };
            prop_assert!(!tags.iter().any(is_ours));
        }
    }

    #[test]
    fn a_million_quotes_take_linear_time() {
        // Quadratic time would be hours here.
        let count = |unit: &str| members(unit.repeat(1_000_000).as_bytes()).count();
        assert_eq!(count("\"a,"), 1_000_000);
        for unit in ["\"", "W/\"", "\"a\"b", "\"a\" "] {
            assert_eq!(count(unit), 1, "{unit}");
        }
    }
}
