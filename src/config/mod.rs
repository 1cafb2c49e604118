//! TOML → [`Policy`], in two phases: `written`, what the file says, then `resolve`, what it means, with nothing optional
//! left. Both phases note every problem they meet and go on, so that a person hears of all of them at once, each with
//! its line.

mod error;
mod jwt;
mod placed;
mod resolve;
mod route;
mod shape;
mod value;
mod written;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

pub use error::{ConfigErrors, Located};
pub use value::{duration, show_duration, show_size, size};

use crate::policy::{Policy, RouteId};
use error::{Place, Problem};
use placed::{At, Key};

/// The environment that `"env:NAME"` secrets are looked up in.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// A configuration, resolved, and where each value of its routes came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub policy: Policy,
    pub provenance: Provenance,
}

/// What was said on the command line; it outranks the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--origin`, in place of `origin.url`.
    pub origin: Option<String>,
    /// `--listen`, in place of `server.listen`.
    pub listen: Option<String>,
    /// `--fresh`: beside a file, in place of `fresh` in `[defaults]`; without one, for everything.
    pub fresh: Option<Duration>,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody wrote it.
    Default,
    /// `[defaults]`, in this line.
    Defaults(usize),
    /// The route itself, in this line.
    Route(usize),
    /// This command-line flag.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::Defaults(line) => write!(f, "[defaults], line {line}"),
            Source::Route(line) => write!(f, "line {line}"),
            Source::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Where each value of each route came from.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    /// The file's name, as it was given; empty without a file.
    pub file: String,
    /// By route, then by dotted key such as `etag.ignore`; only what somebody wrote.
    routes: Vec<BTreeMap<&'static str, Source>>,
}

impl Provenance {
    /// Where the route's value under `key`, such as `fresh` or `etag.ignore`, came from.
    pub fn of(&self, route: RouteId, key: &str) -> Source {
        let keys = self.routes.get(usize::from(route.0));
        keys.and_then(|keys| keys.get(key)).copied().unwrap_or(Source::Default)
    }
}

/// Reads and resolves the file at `path`. `env` is asked for `"env:NAME"` secrets.
///
/// # Errors
/// Everything that is wrong with it, or that it cannot be read.
pub fn load(path: &Path, overrides: &Overrides, env: Env<'_>) -> Result<Loaded, ConfigErrors> {
    let name = path.display().to_string();
    let unreadable = |why: String| {
        let problem = Problem::new(&Place::Nowhere, format!("cannot read {name}: {why}"), "name a TOML file in UTF-8");
        ConfigErrors::new(&name, "", vec![problem])
    };
    let text = text_of(path).map_err(|error| unreadable(error.to_string()))?;
    parse(&text, &name, overrides, env)
}

/// The most that is read of a file: more is some other file, named by mistake.
const LONGEST_MIB: u64 = 4;

fn text_of(path: &Path) -> std::io::Result<String> {
    let mut octets = Vec::new();
    File::open(path)?.take((LONGEST_MIB << 20) + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > LONGEST_MIB << 20 {
        return Err(std::io::Error::other(format!("it is longer than {LONGEST_MIB} MiB")));
    }
    String::from_utf8(octets).map_err(|_| std::io::Error::other("it is not UTF-8"))
}

/// Resolves a file's text; `file_name` is for messages.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, file_name: &str, overrides: &Overrides, env: Env<'_>) -> Result<Loaded, ConfigErrors> {
    let mut reading = written::read(text);
    match overrides.fresh {
        // A file without routes has written no rules, so `--fresh` means what it means without a file.
        Some(fresh) if reading.written.routes.is_empty() => reading.written.routes.push(everything(fresh)),
        Some(fresh) => reading.written.defaults.fresh = said(fresh, "--fresh"),
        None => {}
    }
    finish(reading, overrides, text, file_name, env)
}

/// The configuration of a first run, without a file: no routes; with `fresh`, one named `everything`, each of whose
/// mutations invalidates all of it, so that nothing stale is served although no rules were written.
///
/// # Errors
/// An origin that is missing or no URL; an address that is none.
pub fn from_flags(flags: &Overrides) -> Result<Loaded, ConfigErrors> {
    let mut reading = written::Reading::default();
    if let Some(fresh) = flags.fresh {
        reading.written.routes.push(everything(fresh));
    }
    let mut loaded = finish(reading, flags, "", "", &|_| None)?;
    // Who asks for any free port may find the usual ones taken, and no flag names the admin listener's.
    if loaded.policy.server.listen.iter().all(|address| address.port() == 0) {
        loaded.policy.admin.listen.set_port(0);
    }
    Ok(loaded)
}

/// Every key that a file may hold, as dotted paths; those of `[[route]]` begin with `route.`, and all of those but
/// `name` and `paths` may stand in `[defaults]`.
pub fn known_keys() -> Vec<String> {
    let known = written::read("[[route]]").known;
    known.into_iter().filter(|key| !key.starts_with("defaults.")).collect()
}

fn finish(
    mut reading: written::Reading,
    overrides: &Overrides,
    text: &str,
    file_name: &str,
    env: Env<'_>,
) -> Result<Loaded, ConfigErrors> {
    if let Some(origin) = &overrides.origin {
        reading.written.origin.url = said(origin.clone(), "--origin");
    }
    if let Some(listen) = &overrides.listen {
        let address = At { value: listen.clone(), place: Place::Flag("--listen") };
        reading.written.server.listen = said(vec![address], "--listen");
    }
    let mut problems = reading.problems;
    // Where the TOML is broken nothing was read, and whatever a resolution missed would only distract.
    if reading.broken {
        return Err(ConfigErrors::new(file_name, text, problems));
    }
    let (policy, sources) = resolve::resolve(&reading.written, text, env, &mut problems);
    match policy {
        Some(policy) if problems.is_empty() => {
            Ok(Loaded { policy, provenance: Provenance { file: file_name.to_owned(), routes: sources } })
        }
        _ => Err(ConfigErrors::new(file_name, text, problems)),
    }
}

fn everything(fresh: Duration) -> written::Route {
    let place = Place::Flag("--fresh");
    let texts = |texts: &[&str]| {
        let texts = texts.iter().map(|text| At { value: (*text).to_owned(), place: Place::Flag("--fresh") }).collect();
        said(texts, "--fresh")
    };
    written::Route {
        place,
        name: said("everything".to_owned(), "--fresh"),
        paths: texts(&["/", "/{*rest}"]),
        keys: written::RouteKeys {
            fresh: said(fresh, "--fresh"),
            invalidates: texts(&["everything"]),
            ..written::RouteKeys::default()
        },
    }
}

fn said<T>(value: T, flag: &'static str) -> Key<T> {
    Key::Said(At { value, place: Place::Flag(flag) })
}
