//! Bodies: what is read of a JSON text is what `serde_json` reads as a whole, though it is read in passing.

use super::halves;
use freshgate::field::Fields;
use freshgate::policy::{Etag, LastModified};
use freshgate::semantics::validator::{content_hash, entity_tag, is_json, newest};
use serde_json::{Value, json};

/// `octets`: a JSON pointer, and a body.
pub fn run(octets: &[u8]) {
    let Some((pointer, body)) = halves(octets) else { return };
    let Ok(pointer) = std::str::from_utf8(pointer) else { return };
    let whole: Option<Value> = serde_json::from_slice(body).ok();
    if whole.is_some() {
        assert!(is_json(body), "a whole JSON text counts as broken off");
    }
    if is_json(body) {
        let end = body.trim_ascii_end().len();
        let closes = matches!(body.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'));
        assert!(!closes || !is_json(&body[..end - 1]), "a text that was broken off counts as whole");
    }
    tagged(body, pointer);
    let Some(whole) = whole else { return };
    left_out(&whole, pointer);
    dated(&whole, body);
}

fn tag(body: &[u8], ignore: &[&str]) -> freshgate::field::entity_tag::EntityTag {
    let ignore = ignore.iter().map(|pointer| (*pointer).to_owned()).collect();
    let policy = Etag { ignore, ..Etag::default() };
    entity_tag(body, content_hash(body), &Fields::new(), &policy)
}

fn tagged(body: &[u8], pointer: &str) {
    let (strong, weak) = (tag(body, &[]), tag(body, &[pointer]));
    assert!(!strong.weak && weak.weak);
    assert_eq!(tag(body, &[pointer, pointer]), weak, "leaving out twice is leaving out once");
    // A line of a field counts, and cannot be mistaken for the end of a body.
    let by_field = Etag { fields: vec!["link".into()], ..Etag::default() };
    let tag_by = |fields: &Fields| entity_tag(body, content_hash(body), fields, &by_field);
    let fields: Fields = [("link", pointer.to_owned())].into_iter().collect();
    assert_ne!(tag_by(&fields), tag_by(&Fields::new()));
}

/// What a pointer names makes no difference, and all the rest does.
fn left_out(whole: &Value, pointer: &str) {
    if !pointer.starts_with('/') {
        return;
    }
    let inside = format!("/in{pointer}");
    let text = |value: &Value, beside: u8| json!({ "in": value, "beside": beside }).to_string().into_bytes();
    let before = tag(&text(whole, 1), &[&inside]);
    assert_ne!(before, tag(&text(whole, 2), &[&inside]), "what is not left out counts");
    let mut changed = whole.clone();
    match changed.pointer_mut(pointer) {
        Some(value) => {
            let replaced = json!({ "another": ["value", value.clone()] });
            *value = replaced;
            assert_eq!(before, tag(&text(&changed, 1), &[&inside]), "{pointer} is left out of {whole}");
        }
        None => {
            let all = tag(&text(whole, 1), &["/nowhere"]);
            assert_eq!(before, all, "{pointer} leads nowhere in {whole}");
        }
    }
}

/// The newest number in a member is at least what a second reading finds, and only there if there is such a member.
fn dated(whole: &Value, body: &[u8]) {
    let policy = LastModified { field: "at".into(), zone: "Europe/Zurich".into() };
    let found = newest(body, &policy).map(|date| date.0);
    let mut numbers = Vec::new();
    let members = numbers_at(whole, &mut numbers);
    let seconds = numbers.iter().map(|number| if *number >= 100_000_000_000 { number / 1000 } else { *number });
    if let Some(newest) = seconds.max() {
        assert!(found.is_some_and(|found| found >= newest), "{found:?} is older than {newest}");
    }
    // A member that a later one of its name hides is seen in passing alone.
    let escaped = body.contains(&b'\\');
    let named = body.windows(4).any(|window| window == b"\"at\"");
    assert!(members > 0 || found.is_none() || escaped || named, "{found:?} out of nothing");
}

/// Collects what stands in members of the name, and counts them.
fn numbers_at(value: &Value, into: &mut Vec<i64>) -> usize {
    match value {
        Value::Array(all) => all.iter().map(|one| numbers_at(one, into)).sum(),
        Value::Object(members) => {
            into.extend(members.get("at").and_then(Value::as_u64).and_then(|number| i64::try_from(number).ok()));
            usize::from(members.contains_key("at")) + members.values().map(|one| numbers_at(one, into)).sum::<usize>()
        }
        _ => 0,
    }
}
