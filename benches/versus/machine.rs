//! What a page says of when and where its figures were taken.

use freshgate::clock::{Clock, SystemClock};
use std::{env, fs};

/// The date in UTC.
pub fn today() -> String {
    let now = jiff::Timestamp::from_millisecond(SystemClock.now().wall_ms).expect("the clock stands at a date");
    now.strftime("%F").to_string()
}

/// What the machine calls its system.
pub fn system() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| env::consts::OS.to_owned(), |name| name.trim_matches('"').to_owned())
}
