//! What must stay true of the source itself: modules use lower floors only, every file says what it is for, the clock
//! is read in one place, and what is deliberately absent stays absent.
//!
//! Each check is a function over a path and a text, so that a bad example beside it shows that it can fail.

use std::fs;
use std::path::{Path, PathBuf};

/// The floors of the house; a module uses lower floors and itself. Modules of one floor do not use each other.
const FLOORS: [(&str, u8); 15] = [
    ("cli", 9),
    ("edge", 8),
    ("sync", 7),
    ("pipeline", 6),
    ("bus", 5),
    ("changes", 4),
    ("store", 3),
    ("identity", 3),
    ("origin", 3),
    ("semantics", 2),
    ("config", 2),
    ("policy", 1),
    ("message", 1),
    ("field", 0),
    ("clock", 0),
];

/// Reads of a clock. Everything but `src/clock.rs` is given the time.
const CLOCK_READS: [&str; 8] = [
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "Utc::now",
    "Local::now",
    "clock_gettime",
    ".elapsed()",
];

/// Code that says it is not finished, or that hides a lint. `#[expect]` fails when it is no longer needed.
const UNFINISHED: [&str; 4] = ["todo!", "unimplemented!", "dbg!", "#[allow("];

/// Lines of a file, without the tests that stand beside the code.
const LONGEST_FILE: usize = 600;
const LONGEST_FUNCTION: usize = 80;

type Check = fn(&str, &str) -> Vec<String>;

#[test]
fn modules_use_lower_floors_only() {
    hold(floors, &["src"]);
}

#[test]
fn every_file_says_what_it_is_for() {
    hold(introduction, &["src", "tests", "benches", "examples", "fuzz/src", "fuzz/fuzz_targets"]);
}

#[test]
fn the_clock_is_read_in_one_place() {
    hold(clock_reads, &["src"]);
}

#[test]
fn nothing_is_unfinished() {
    hold(unfinished, &["src", "tests", "benches", "examples"]);
}

#[test]
fn nothing_from_outside_is_unwrapped() {
    hold(unwraps, &["src"]);
}

#[test]
fn a_file_and_a_function_can_be_read_in_one_go() {
    hold(sizes, &["src"]);
}

#[test]
fn unsafe_code_is_forbidden() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a crate has a manifest");
    assert_eq!(forbids_unsafe_code(&manifest), Ok(()));
    assert!(forbids_unsafe_code("[lints.rust]\nunsafe_code = \"deny\"").is_err());
    assert!(forbids_unsafe_code("[package]\nname = \"x\"").is_err());
}

/// `unsafe_code = "forbid"` for the whole package: `deny` could be switched off by an attribute.
fn forbids_unsafe_code(manifest: &str) -> Result<(), String> {
    let manifest: toml::Table = manifest.parse().map_err(|problem| format!("{problem}"))?;
    let level = manifest.get("lints").and_then(|lints| lints.get("rust")?.get("unsafe_code")?.as_str());
    if level == Some("forbid") { Ok(()) } else { Err(format!("lints.rust.unsafe_code is {level:?}, not forbid")) }
}

/// A path into a module of a higher floor, or into another one of the same floor.
fn floors(path: &str, text: &str) -> Vec<String> {
    let Some(here) = module_of(path) else { return Vec::new() };
    let Some(floor) = floor_of(&here) else { return vec![format!("{path}: `{here}` has no floor")] };
    let code = code_of(text);
    modules_used(&code, depth_of(path))
        .into_iter()
        .filter(|(_, used)| *used != here)
        .filter_map(|(line, used)| match floor_of(&used) {
            Some(lower) if lower < floor => None,
            Some(other) => Some(format!("{path}:{line}: `{here}` (floor {floor}) uses `{used}` (floor {other})")),
            None => None,
        })
        .collect()
}

#[test]
fn floors_finds_every_way_to_climb() {
    finds(floors, "src/store/mod.rs", "use crate::edge::lane;", 1);
    finds(floors, "src/store/mod.rs", "use crate::{field::Fields, edge::lane};", 1);
    finds(floors, "src/store/mod.rs", "use crate::{\n    edge::{self, lane},\n    pipeline,\n};", 2);
    finds(floors, "src/store/mod.rs", "fn f() -> crate::cli::Exit { crate::cli::Exit }", 2);
    finds(floors, "src/store/mod.rs", "use super::cli;", 1);
    finds(floors, "src/store/flight.rs", "use super::super::cli;", 1);
    finds(floors, "src/store/mod.rs", "use crate::identity::Caller;", 1);
    finds(floors, "src/config/mod.rs", "use crate::semantics::reuse;", 1);
    finds(floors, "src/semantics/reuse.rs", "use crate::config::Config;", 1);
    finds(floors, "src/attic/mod.rs", "", 1);

    finds(floors, "src/store/mod.rs", "use crate::{clock::Clock, store::flight};", 0);
    finds(floors, "src/store/flight.rs", "use super::cli;", 0);
    finds(floors, "src/store/mod.rs", "//! See [`crate::edge`].\nconst A: &str = \"crate::edge\";", 0);
    finds(floors, "src/main.rs", "use freshgate::cli;", 0);
}

/// The top-level module that a file belongs to; none for the two roots.
fn module_of(path: &str) -> Option<String> {
    let inside = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let first = inside.split('/').next()?;
    (inside != "lib" && inside != "main").then(|| first.to_owned())
}

/// How many `super::` lead from a file's own items to the crate's root.
fn depth_of(path: &str) -> usize {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    inside.split('/').count()
}

fn floor_of(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// The modules that `crate::…` and long enough chains of `super::` name, with their lines.
fn modules_used(code: &str, depth: usize) -> Vec<(usize, String)> {
    let climb = "super::".repeat(depth);
    let mut used = Vec::new();
    for prefix in ["crate::", climb.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            let rest = &code[at + prefix.len()..];
            let names = if rest.starts_with('{') { group(rest) } else { vec![identifier(rest)] };
            used.extend(names.into_iter().map(|name| (line_of(code, at), name.to_owned())));
        }
    }
    used.retain(|(_, name)| floor_of(name).is_some());
    used
}

/// The first identifier of each member of `{a::b, c::{d, e}}`.
fn group(text: &str) -> Vec<&str> {
    let (mut depth, mut names) = (0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 1 && (c == '{' || c == ',') {
            names.push(identifier(text[at + 1..].trim_start()));
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// A file that does not begin with `//!`.
fn introduction(path: &str, text: &str) -> Vec<String> {
    let words = text.strip_prefix("//!").and_then(|rest| rest.lines().next());
    match words.map(str::trim) {
        Some(words) if !words.is_empty() => Vec::new(),
        _ => vec![format!("{path}:1: does not begin with `//!` and what the file is for")],
    }
}

#[test]
fn introduction_finds_a_file_without_one() {
    finds(introduction, "src/a.rs", "use std::fs;\n//! Late.", 1);
    finds(introduction, "src/a.rs", "//!\n//! Second line.", 1);
    finds(introduction, "src/a.rs", "// Not a doc comment.", 1);
    finds(introduction, "src/a.rs", "", 1);
    finds(introduction, "src/a.rs", "//! What it is for.", 0);
}

/// A read of a clock outside `src/clock.rs`, tests included.
fn clock_reads(path: &str, text: &str) -> Vec<String> {
    if path == "src/clock.rs" { Vec::new() } else { occurrences(path, &code_of(text), &CLOCK_READS, "reads a clock") }
}

#[test]
fn clock_reads_finds_each_of_them() {
    finds(clock_reads, "src/edge/lane.rs", "let t = std::time::Instant::now();", 1);
    finds(clock_reads, "src/edge/lane.rs", "let t = tokio::time::Instant::now();", 1);
    finds(clock_reads, "src/edge/lane.rs", "let t = SystemTime::now().elapsed();", 2);
    finds(clock_reads, "src/edge/lane.rs", "let t = jiff::Timestamp::now(); jiff::Zoned::now(); Utc::now();", 3);
    finds(clock_reads, "src/edge/lane.rs", "rustix::time::clock_gettime(id)", 1);
    finds(clock_reads, "src/clock.rs", "rustix::time::clock_gettime(id)", 0);
    finds(clock_reads, "src/edge/lane.rs", "let t = clock.now(); // not Instant::now()", 0);
}

/// Code, or a comment, that says that something is still to be done.
fn unfinished(path: &str, text: &str) -> Vec<String> {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut found = occurrences(path, &code_of(text), &UNFINISHED, "is unfinished");
    found.extend(occurrences(path, text, &marks, "is unfinished"));
    found
}

#[test]
fn unfinished_finds_each_of_them() {
    finds(unfinished, "src/a.rs", "fn f() { todo!() }", 1);
    finds(unfinished, "src/a.rs", "fn f() { unimplemented!(\"later\") }\nfn g() { dbg!(1); }", 2);
    finds(unfinished, "src/a.rs", "#[allow(dead_code)] fn f() {}", 1);
    finds(unfinished, "src/a.rs", concat!("// TO", "DO: later"), 1);
    finds(unfinished, "src/a.rs", "#[expect(dead_code, reason = \"…\")] fn f() {} // no todo!", 0);
}

/// `.unwrap()` outside of tests: `expect("why it holds")` says what is relied on.
fn unwraps(path: &str, text: &str) -> Vec<String> {
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return Vec::new();
    }
    occurrences(path, &without_tests(&code_of(text)), &[".unwrap()", ".unwrap_err()"], "says not why it holds")
}

#[test]
fn unwraps_finds_one_outside_of_tests_only() {
    finds(unwraps, "src/a.rs", "fn f() { g().unwrap(); }", 1);
    finds(unwraps, "src/a.rs", "#[cfg(test)]\nmod tests { fn f() { g().unwrap(); } }\nfn h() { g().unwrap(); }", 1);
    finds(unwraps, "src/a.rs", "#[cfg(test)]\nmod tests { fn f() { g().unwrap(); } }", 0);
    finds(unwraps, "src/a.rs", "fn f() { g().unwrap_or(1); } // .unwrap()", 0);
    finds(unwraps, "src/a/tests.rs", "fn f() { g().unwrap(); }", 0);
}

/// A file over [`LONGEST_FILE`] lines, or a function over [`LONGEST_FUNCTION`].
fn sizes(path: &str, text: &str) -> Vec<String> {
    let code = code_of(text);
    let tests: usize = items_behind_cfg_test(&code).iter().map(|tests| tests.lines().count()).sum();
    // Whoever declares a file of this name puts `#[cfg(test)]` there.
    let lines = if path.ends_with("/tests.rs") { 0 } else { text.lines().count() - tests };
    let mut found = Vec::new();
    if lines > LONGEST_FILE {
        found.push(format!("{path}: {lines} lines without tests; at most {LONGEST_FILE}"));
    }
    for (at, _) in code.match_indices("fn ") {
        let is_word = code[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let name = identifier(&code[at + 3..]);
        let Some(end) = body_end(&code[at..]).filter(|_| is_word && !name.is_empty()) else { continue };
        let lines = code[at..at + end].lines().count();
        if lines > LONGEST_FUNCTION {
            found
                .push(format!("{path}:{}: `{name}` has {lines} lines; at most {LONGEST_FUNCTION}", line_of(&code, at)));
        }
    }
    found
}

#[test]
fn sizes_finds_what_is_too_long() {
    let body = "    call();\n".repeat(LONGEST_FUNCTION);
    finds(sizes, "src/a.rs", &format!("fn f() {{\n{body}}}\n"), 1);
    finds(sizes, "src/a.rs", &format!("trait T {{ fn f(); }}\nfn g() {{}}\nconst A: &str = \"fn f() {{\n{body}\";"), 0);
    finds(sizes, "src/a.rs", &format!("fn f() {{\n{}}}\n", "    call();\n".repeat(LONGEST_FUNCTION - 2)), 0);
    finds(sizes, "src/a.rs", &"const A: u8 = 1;\n".repeat(LONGEST_FILE + 1), 1);
    let longest = "const A: u8 = 1;\n".repeat(LONGEST_FILE);
    finds(sizes, "src/a.rs", &longest, 0);
    finds(sizes, "src/a.rs", &format!("{longest}#[cfg(test)]\nmod tests {{\n    const B: u8 = 2;\n}}\n"), 0);
    finds(sizes, "src/a.rs", &format!("{longest}mod tests {{\n    const B: u8 = 2;\n}}\n"), 1);
    finds(sizes, "src/a/tests.rs", &format!("{longest}const B: u8 = 2;\n"), 0);
}

/// Where the block of an item that starts here ends; `None` for one that ends in `;` without a block.
fn body_end(code: &str) -> Option<usize> {
    let mut brackets = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            ';' if brackets == 0 => return None,
            '{' => return Some(at + block_end(&code[at..])),
            _ => {}
        }
    }
    None
}

/// The length of the `{…}` that a text begins with.
fn block_end(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// Code without its tests; lines keep their numbers.
fn without_tests(code: &str) -> String {
    items_behind_cfg_test(code)
        .iter()
        .fold(code.to_owned(), |code, tests| code.replace(tests, &"\n".repeat(tests.matches('\n').count())))
}

/// The items that stand behind `#[cfg(test)]`, that attribute included.
fn items_behind_cfg_test(code: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        let item = &rest[at..];
        let end = body_end(item).unwrap_or_else(|| item.find(';').map_or(item.len(), |semicolon| semicolon + 1));
        items.push(&item[..end]);
        rest = &item[end..];
    }
    items
}

/// Source text with comments and the insides of literals blanked, so that what is left is code. Lines keep their
/// numbers.
fn code_of(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let literal = literal_len(rest, out.chars().next_back());
        let taken = literal.unwrap_or(c.len_utf8());
        match literal {
            Some(_) => out.extend(rest[..taken].chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
            None => out.push(c),
        }
        rest = &rest[taken..];
    }
    out
}

/// How long the comment or literal is that `text` begins with, if it does.
fn literal_len(text: &str, before: Option<char>) -> Option<usize> {
    let all = text.len();
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(all));
    }
    if text.starts_with("/*") {
        return Some(text.find("*/").map_or(all, |end| end + 2));
    }
    let starts_word = before.is_none_or(|c| !c.is_alphanumeric() && c != '_');
    let raw = text.strip_prefix("br").or_else(|| text.strip_prefix('r')).filter(|_| starts_word);
    if let Some(raw) = raw {
        let hashes = raw.chars().take_while(|c| *c == '#').count();
        if raw[hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let start = all - raw.len() + hashes + 1;
            return Some(text[start..].find(&close).map_or(all, |end| start + end + close.len()));
        }
    }
    if text.starts_with('"') {
        return Some(quoted_len(text, '"'));
    }
    // A lifetime is a quote that no second one closes after one character.
    let is_char = text.starts_with("'\\") || (text.starts_with('\'') && text.chars().nth(2) == Some('\''));
    is_char.then(|| quoted_len(text, '\''))
}

fn quoted_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[test]
fn code_is_what_is_neither_comment_nor_literal() {
    let blanked = |text: &str| code_of(text).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(blanked("a // b\nc"), "a c");
    assert_eq!(blanked("a /* b\n */ c"), "a c");
    assert_eq!(blanked(r#"a("b \" // c", d)"#), "a( , d)");
    assert_eq!(blanked("a(r#\"b \" c\"#, d, br\"e\")"), "a( , d, )");
    assert_eq!(blanked("fn f<'a>(x: &'a str) { y('\"', '\\'', z) }"), "fn f<'a>(x: &'a str) { y( , , z) }");
    assert_eq!(code_of("\"\n\n\"x").lines().count(), 3);
}

fn occurrences(path: &str, text: &str, words: &[&str], what: &str) -> Vec<String> {
    let found = words.iter().flat_map(|word| text.match_indices(word));
    found.map(|(at, word)| format!("{path}:{}: `{word}` {what}", line_of(text, at))).collect()
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Runs a check over every Rust file below `folders` and shows all that it finds.
#[track_caller]
fn hold(check: Check, folders: &[&str]) {
    let mut files = Vec::new();
    for folder in folders {
        collect(&root().join(folder), &mut files);
    }
    assert!(!files.is_empty(), "nothing was checked");
    files.sort();
    let found: Vec<String> = files.iter().flat_map(|(path, text)| check(path, text)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[track_caller]
fn finds(check: Check, path: &str, text: &str, count: usize) {
    let found = check(path, text);
    assert_eq!(found.len(), count, "{found:?}");
}

fn collect(folder: &Path, files: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.expect("the folder can be read").path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is text");
            let name = path.strip_prefix(root()).expect("it was found below the root");
            files.push((name.to_string_lossy().into_owned(), text));
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
