//! The contract as scenarios: each file below this folder is one, played against a scripted origin under a manual clock.
//! [`scenario`] says how one is written, [`play`] what is held of every one of them, [`clauses`] what of the RFCs they rest
//! on.

mod clauses;
mod play;
mod scenario;

use scenario::Scenario;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder for each RFC, with one inside for each section that scenarios rest on, so that a reader can learn the RFC from
/// them; and `contract`, for what only this proxy promises. Each has its test below.
const FOLDERS: [&str; 9] =
    ["contract", "rfc5861", "rfc6585", "rfc8246", "rfc9110", "rfc9111", "rfc9112", "rfc9211", "rfc9213"];

#[test]
fn contract() {
    hold("contract");
}

#[test]
fn rfc5861() {
    hold("rfc5861");
}

#[test]
fn rfc6585() {
    hold("rfc6585");
}

#[test]
fn rfc8246() {
    hold("rfc8246");
}

#[test]
fn rfc9110() {
    hold("rfc9110");
}

#[test]
fn rfc9111() {
    hold("rfc9111");
}

#[test]
fn rfc9112() {
    hold("rfc9112");
}

#[test]
fn rfc9211() {
    hold("rfc9211");
}

#[test]
fn rfc9213() {
    hold("rfc9213");
}

#[test]
fn no_file_is_left_out() {
    let mut found: Vec<String> = Vec::new();
    for entry in entries(&root()) {
        if entry.is_dir() {
            found.push(entry.file_name().expect("an entry has a name").to_string_lossy().into_owned());
        } else {
            let known = entry.extension().is_some_and(|ending| ending == "rs") || entry.ends_with("clauses.toml");
            assert!(known, "{} is in no folder", entry.display());
        }
    }
    assert_eq!(found, FOLDERS, "each folder has a test of its own");
}

#[test]
fn each_title_is_given_once() {
    let mut titles: Vec<(String, PathBuf)> = FOLDERS
        .iter()
        .flat_map(|folder| files(&root().join(folder)))
        .map(|file| (read(&file).expect("another test says what is wrong with it").title, file))
        .collect();
    titles.sort();
    let twice: Vec<_> = titles.windows(2).filter(|pair| pair[0].0 == pair[1].0).collect();
    assert!(twice.is_empty(), "{twice:#?}");
    println!("{} scenarios", titles.len());
}

/// Plays every scenario of a folder, and tells of all that fail.
#[track_caller]
fn hold(folder: &str) {
    let files = files(&root().join(folder));
    let failures: Vec<String> = files.iter().filter_map(|file| failure(file)).collect();
    println!("{folder}: {} scenarios, {} failed", files.len(), failures.len());
    assert!(!files.is_empty(), "{folder} holds no scenario");
    assert!(failures.is_empty(), "{} of {} scenarios\n\n{}\n", failures.len(), files.len(), failures.join("\n\n"));
}

fn failure(file: &Path) -> Option<String> {
    let name = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(file).display().to_string();
    assert!(file.extension().is_some_and(|ending| ending == "toml"), "{name} is no scenario");
    match read(file) {
        Err(why) => Some(format!("{name}: {why}")),
        Ok(scenario) => play::play(&scenario).err().map(|why| format!("{name}: {}\n{why}", scenario.title)),
    }
}

fn read(file: &Path) -> Result<Scenario, String> {
    Scenario::read(&fs::read_to_string(file).map_err(|error| error.to_string())?)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spec")
}

/// Every file of a folder and of those within it.
fn files(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().flat_map(|entry| if entry.is_dir() { files(&entry) } else { vec![entry] }).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.sort();
    paths
}

/// A scenario that holds as it stands, and of which each row below spoils one thing.
const RIGHT: &str = r#"
    title = "t"
    clauses = ["RFC 9111 §4 age"]
    [[step]]
    get = "/a"
    origin = { body = "one", cache-control = "max-age=60" }
    origin-sees = { target = "/a", absent = ["range"] }
    expect = { status = 200, body = "one", cache-status = "fwd=uri-miss; stored", etag = "computed", absent = ["age"] }
    [[step]]
    after = "10s"
    get = "/a"
    expect = { status = 200, body = "one", age = 10, cache-status = "hit; ttl=50", etag = "same-as step 1" }
"#;

/// What comes of [`RIGHT`] with `old` replaced by `new`.
fn spoiled(old: &str, new: &str) -> Result<(), String> {
    assert!(RIGHT.contains(old), "{old}");
    Scenario::read(&RIGHT.replace(old, new)).and_then(|scenario| play::play(&scenario))
}

#[track_caller]
fn check_spoiled(old: &str, new: &str, expected: &str) {
    let why = spoiled(old, new).expect_err(new);
    assert!(why.contains(expected), "{new}:\n{why}");
}

#[test]
fn a_right_scenario_holds() {
    assert_eq!(spoiled("", ""), Ok(()));
}

#[test]
fn a_wrong_expectation_fails() {
    check_spoiled("status = 200, body", "status = 304, body", "- status: 304\n  + status: 200");
    check_spoiled("body = \"one\", age", "body = \"two\", age", "step 2: GET /a\n  - body: \"two\"\n  + body: \"one\"");
    check_spoiled("age = 10", "age = 11", "- age: 11\n  + age: 10");
    check_spoiled(
        "; stored",
        "",
        "- cache-status: fwd=uri-miss\n  + cache-status: freshgate; fwd=uri-miss; fwd-status=200; stored",
    );
    check_spoiled("ttl=50", "ttl=51", "- cache-status: hit; ttl=51");
    check_spoiled("hit; ttl=50", "hit; detail=x", "- cache-status: hit; detail=x");
    check_spoiled("\"computed\"", "\"absent\"", "- etag: absent");
    check_spoiled("\"computed\"", "\"weak\"", "- etag: weak");
    check_spoiled("same-as step 1", "unlike step 1", "- etag: unlike step 1");
    check_spoiled("absent = [\"age\"]", "absent = [\"etag\"]", "- etag: absent");
    check_spoiled("expect = { status = 200, body = \"one\", age", "expect = { passes = true, age", "- passed on");
    check_spoiled("etag = \"same-as step 1\"", "vary = \"accept\"", "- vary: accept\n  + vary: absent");
}

#[test]
fn a_wrong_script_fails() {
    check_spoiled("origin = { body = \"one\", cache-control = \"max-age=60\" }", "", "+ the origin was asked: GET /a");
    check_spoiled("after = \"10s\"", "origin = { body = \"two\" }", "- the origin is asked");
    check_spoiled("after = \"10s\"", "background = { body = \"two\" }", "- the origin is asked in the background");
    check_spoiled("target = \"/a\"", "target = \"/b\"", "- to the origin: target: /b\n  + to the origin: target: /a");
    check_spoiled("absent = [\"range\"]", "absent = [\"host\"]", "- to the origin: host: absent");
}

#[test]
fn what_nobody_reads_is_an_error() {
    check_spoiled("clauses =", "claws = \"\"\n clauses =", "unknown key `claws`");
    check_spoiled("after =", "aftr =", "step 2: unknown key `aftr`");
    check_spoiled("status = 200, body", "stats = 200, body", "unknown key `stats`");
    check_spoiled("cache-control =", "cache-kontrol =", "unknown key `cache-kontrol`");
    check_spoiled("age = 10", "age = true", "`age`");
    check_spoiled("after = \"10s\"", "put = \"/a\"", "step 2: two requests");
    check_spoiled("step 1", "step 2", "is no earlier step");
    check_spoiled("[\"RFC 9111 §4 age\"]", "[true]", "`clauses`");
}
