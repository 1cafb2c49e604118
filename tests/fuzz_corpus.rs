//! Every input in `fuzz/corpus`, through its target: what was seen to matter once is looked at in every run. `make fuzz`
//! looks for more.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

#[path = "../fuzz/src/lib.rs"]
mod targets;

/// A target: the name of its folder, and what it asserts.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 9] = [
    ("body", targets::body::run),
    ("config", targets::config::run),
    ("decision", targets::decision::run),
    ("field", targets::field::run),
    ("head", targets::head::run),
    ("json", targets::json::run),
    ("jwt", targets::jwt::run),
    ("key", targets::key::run),
    ("lane", targets::lane::run),
];

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_input_of_the_corpus_holds() {
    let mut failed = Vec::new();
    for (target, run) in TARGETS {
        let folder = fuzz().join("corpus").join(target);
        let inputs = names(&folder);
        assert!(inputs.len() >= 6, "{target} has too few seeds");
        for input in inputs {
            let octets = fs::read(folder.join(&input)).unwrap();
            if catch_unwind(|| run(&octets)).is_err() {
                failed.push(format!("{target}/{input}"));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_target_is_fuzzed_and_replayed() {
    let known = TARGETS.map(|(name, _)| name.to_owned());
    assert_eq!(names(&fuzz().join("corpus")), known);
    let programs = names(&fuzz().join("fuzz_targets"));
    assert_eq!(programs, known.each_ref().map(|name| format!("{name}.rs")));
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in known {
        assert!(manifest.contains(&format!("\nname = \"{name}\"\n")), "{name} is not built");
    }
}
