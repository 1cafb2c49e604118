//! A test of the tests: each part of the algorithm that keeps a promise is left out, and the test that is to notice must
//! fail, within a minute. What is left out, and where, stands in `mutants.toml`.
//!
//! All mutants are put into one copy of the source, under another package name so that its artifacts are its own; it is
//! built once, and told by `MUTANT` which of them it is. With none it must pass, or nothing would be shown.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// A mutant that lives longer is not caught.
const WITHIN: Duration = Duration::from_secs(60);

/// The tests that notice, and those of each that are run, which a build without any mutant must pass.
const TESTS: [(&str, &str); 2] =
    [("histories", "no_history_breaks_a_promise_1"), ("leaks", "no_mark_reaches_a_caller_outside_of_its_scope_1")];

/// What the copy consists of.
const COPIED: [&str; 9] = [
    "src",
    "config",
    "tests/fronts",
    "tests/histories",
    "tests/leaks",
    "tests/live/proxy.rs",
    "tests/live/wire.rs",
    "Cargo.toml",
    "Cargo.lock",
];

struct Mutant {
    name: String,
    file: String,
    find: String,
    put: String,
    /// The test that notices, and one of the words that it says so with; none where this is a part of another mutant.
    noticed: Option<(String, Vec<String>)>,
}

#[test]
fn every_mutant_is_noticed_within_a_minute() {
    let mutants = mutants();
    let tree = copy();
    for mutant in &mutants {
        mutant.put_into(&tree);
    }
    let programs = build(&tree);
    for (test, one) in TESTS {
        let sound = run(&programs[test], one, "");
        assert!(sound.is_some_and(|output| output.status.success()), "{test} fails without any mutant");
    }
    let alive: Vec<String> = mutants.iter().filter_map(|mutant| mutant.survives(&programs)).collect();
    assert!(alive.is_empty(), "{}", alive.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn mutants() -> Vec<Mutant> {
    let text = fs::read_to_string(root().join("tests/mutants/mutants.toml")).expect("it is part of the project");
    let table: toml::Table = text.parse().expect("it is TOML");
    let text = |mutant: &toml::Value, key: &str| mutant.get(key).map(|text| text.as_str().expect(key).to_owned());
    let one = |mutant: &toml::Value| Mutant {
        name: text(mutant, "name").expect("every mutant has a name"),
        file: text(mutant, "file").expect("every mutant is in a file"),
        find: text(mutant, "find").expect("every mutant is at a place"),
        put: text(mutant, "put").expect("every mutant is something"),
        noticed: text(mutant, "test").map(|test| {
            let words = text(mutant, "finds").expect("who notices says so");
            (test, words.split('|').map(str::to_owned).collect())
        }),
    };
    table["mutant"].as_array().expect("a list").iter().map(one).collect()
}

impl Mutant {
    fn put_into(&self, tree: &Path) {
        let path = tree.join(&self.file);
        let text = fs::read_to_string(&path).expect("the file is there");
        assert_eq!(text.matches(&self.find).count(), 1, "{}: its place in {} is not one", self.name, self.file);
        fs::write(path, text.replace(&self.find, &self.put)).expect("a file can be written");
    }

    /// Says so if nothing notices it.
    fn survives(&self, programs: &BTreeMap<String, PathBuf>) -> Option<String> {
        let (test, words) = self.noticed.as_ref()?;
        let (_, only) = TESTS.into_iter().find(|(name, _)| name == test).expect("it is one of the tests");
        let Some(output) = run(&programs[test], only, &self.name) else {
            return Some(format!("{}: {test} has not noticed it within {} s", self.name, WITHIN.as_secs()));
        };
        let told = String::from_utf8_lossy(&output.stdout);
        let noticed = !output.status.success() && words.iter().any(|word| told.contains(word.as_str()));
        println!("{}: {}", self.name, if noticed { "noticed" } else { "alive" });
        (!noticed).then(|| format!("{}: {test} does not say {words:?}:\n{told}", self.name))
    }
}

/// A fresh copy of the source, as a package of another name and with no other targets than the library and the tests.
fn copy() -> PathBuf {
    let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    if tree.exists() {
        fs::remove_dir_all(&tree).expect("it is ours");
    }
    for name in COPIED {
        copy_all(&root().join(name), &tree.join(name));
    }
    fs::remove_file(tree.join("src/main.rs")).expect("it was copied");
    let manifest = fs::read_to_string(tree.join("Cargo.toml")).expect("it was copied");
    let mut kept = true;
    let mut lines = String::from("[workspace]\n");
    for line in manifest.lines() {
        if line.starts_with('[') {
            kept = !line.starts_with("[[");
        }
        if kept {
            lines += line;
            lines.push('\n');
        }
    }
    fs::write(tree.join("Cargo.toml"), renamed(&lines)).expect("a file can be written");
    let lock = fs::read_to_string(tree.join("Cargo.lock")).expect("it was copied");
    fs::write(tree.join("Cargo.lock"), renamed(&lock)).expect("a file can be written");
    let library = tree.join("src/lib.rs");
    let text = fs::read_to_string(&library).expect("it was copied");
    fs::write(library, text + WHICH).expect("a file can be written");
    tree
}

/// The first package that is so called; the library keeps its name, by which the tests know it.
fn renamed(text: &str) -> String {
    let text = text.replace("[lib]\nname = \"freshgate\"", "[lib]\nname =  \"freshgate\"");
    text.replacen("name = \"freshgate\"\n", "name = \"freshgate-mutants\"\n", 1)
}

/// Tells the copy which mutant it is.
const WHICH: &str = r#"
/// Whether this is the mutant that runs.
pub fn mutant(name: &str) -> bool {
    static RUNS: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| std::env::var("MUTANT").unwrap_or_default());
    *RUNS == name
}
"#;

fn copy_all(from: &Path, to: &Path) {
    if from.is_file() {
        fs::create_dir_all(to.parent().expect("it is in the tree")).expect("a folder can be made");
        fs::copy(from, to).expect("a file can be copied");
        return;
    }
    for entry in fs::read_dir(from).expect("it is part of the project") {
        let name = entry.expect("it can be read").file_name();
        copy_all(&from.join(&name), &to.join(&name));
    }
}

/// Builds the copy's tests, with the dependencies that are built already; gives the programs by name.
fn build(tree: &Path) -> BTreeMap<String, PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the target folder");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(tree)
        .args(["test", "--no-run", "--locked", "--message-format=json-render-diagnostics", "--target-dir"])
        .arg(target);
    for (test, _) in TESTS {
        cargo.args(["--test", test]);
    }
    let output = cargo.stdin(Stdio::null()).output().expect("cargo runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&output.stdout);
    let messages = told.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let program = |message: serde_json::Value| {
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, PathBuf::from(message["executable"].as_str()?)))
    };
    messages.filter_map(program).collect()
}

/// What a test program says as this mutant; `None` where it takes too long.
fn run(program: &Path, only: &str, mutant: &str) -> Option<Output> {
    let mut running = Command::new("timeout");
    running.arg(WITHIN.as_secs().to_string()).arg(program);
    if !only.is_empty() {
        running.arg(only);
    }
    let output = running.env("MUTANT", mutant).env("RUST_BACKTRACE", "0").stdin(Stdio::null()).output();
    // timeout(1): "If the command times out, ... exit with status 124".
    Some(output.expect("coreutils are there")).filter(|output| output.status.code() != Some(124))
}
