//! Policies for tests: that of a point of sale, and small made-up ones.

use crate::config::{Overrides, parse};
use crate::policy::Policy;
use std::fmt::Write;

/// One route as a row: its name, its paths, its lifetime in seconds (none: plain mode), the routes it invalidates.
pub type Row<'a> = (&'a str, &'a [&'a str], Option<u64>, &'a [&'a str]);

/// The policy of a point of sale, as it is shipped.
pub fn pos() -> Policy {
    read(include_str!("../../../config/pos.toml"))
}

/// A policy with these routes; credentials count for 60 s.
pub fn policy(rows: &[Row]) -> Policy {
    let mut text = "[origin]\nurl = \"http://127.0.0.1:3000\"\n[identity]\naccepted_for = \"60s\"\n".to_owned();
    for (name, paths, fresh, invalidates) in rows {
        let fresh = fresh.map(|seconds| format!("fresh = \"{seconds}s\"\n")).unwrap_or_default();
        write!(text, "[[route]]\nname = {name:?}\npaths = {paths:?}\ninvalidates = {invalidates:?}\n{fresh}")
            .expect("a String can be written to");
    }
    read(&text)
}

fn read(text: &str) -> Policy {
    parse(text, "fixture", &Overrides::default(), &|_| Some(super::SECRET.to_owned()))
        .expect("a good configuration")
        .policy
}
