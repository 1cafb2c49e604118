//! The contract as scenarios: each file below this folder is one, played against a scripted origin under a manual clock.
//! [`scenario`] says how one is written, [`play`] what is held of every one of them.

mod play;
mod scenario;

use scenario::Scenario;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder for each section of RFC 9111, RFC 9110 or the configuration; each has its test below.
const FOLDERS: [&str; 10] = [
    "callers",
    "conditional",
    "freshness",
    "invalidation",
    "request_directives",
    "route",
    "stale",
    "storing",
    "validation",
    "validators",
];

#[test]
fn callers() {
    hold("callers");
}

#[test]
fn conditional() {
    hold("conditional");
}

#[test]
fn freshness() {
    hold("freshness");
}

#[test]
fn invalidation() {
    hold("invalidation");
}

#[test]
fn request_directives() {
    hold("request_directives");
}

#[test]
fn route() {
    hold("route");
}

#[test]
fn stale() {
    hold("stale");
}

#[test]
fn storing() {
    hold("storing");
}

#[test]
fn validation() {
    hold("validation");
}

#[test]
fn validators() {
    hold("validators");
}

#[test]
fn no_file_is_left_out() {
    let mut found: Vec<String> = Vec::new();
    for entry in entries(&root()) {
        if entry.is_dir() {
            found.push(entry.file_name().expect("an entry has a name").to_string_lossy().into_owned());
        } else {
            assert!(entry.extension().is_some_and(|ending| ending == "rs"), "{} is in no folder", entry.display());
        }
    }
    assert_eq!(found, FOLDERS, "each folder has a test of its own");
}

#[test]
fn each_title_is_given_once() {
    let mut titles: Vec<(String, PathBuf)> = FOLDERS
        .iter()
        .flat_map(|folder| entries(&root().join(folder)))
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
    let files = entries(&root().join(folder));
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

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.sort();
    paths
}

/// A scenario that holds as it stands, and of which each row below spoils one thing.
const RIGHT: &str = r#"
    title = "t"
    rfc = "9111 §4"
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
    check_spoiled("rfc =", "rcf = \"\"\n rfc =", "unknown key `rcf`");
    check_spoiled("after =", "aftr =", "step 2: unknown key `aftr`");
    check_spoiled("status = 200, body", "stats = 200, body", "unknown key `stats`");
    check_spoiled("cache-control =", "cache-kontrol =", "unknown key `cache-kontrol`");
    check_spoiled("age = 10", "age = true", "`age`");
    check_spoiled("after = \"10s\"", "put = \"/a\"", "step 2: two requests");
    check_spoiled("step 1", "step 2", "is no earlier step");
    check_spoiled("9111", "9999", "`rfc`");
}
