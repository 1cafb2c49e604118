//! `freshgate explain`: what would be decided about one request, from the configuration alone.

use crate::cli::serve::{CONFIG, DONE, USAGE};
use crate::clock::SystemClock;
use crate::config::{self, Overrides};
use crate::edge::operator::asked_about;
use crate::origin::scripted::ScriptedOrigin;
use crate::pipeline::Pipeline;
use crate::pipeline::explain::Explanation;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Show route, key, scope, lifetime, and what a request invalidates
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    method: String,
    /// A URL, or a path that begins with /
    url: String,
    /// A request field, as `name: value`; may be given several times
    #[arg(short = 'H', value_name = "FIELD")]
    fields: Vec<String>,
}

/// Prints the explanation. Nothing is sent anywhere.
pub fn run(args: &Args) -> ExitCode {
    let loaded = match config::load(&args.config, &Overrides::default(), &|name| std::env::var(name).ok()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            eprint!("{errors}");
            return ExitCode::from(CONFIG);
        }
    };
    let mut fields = Vec::new();
    for field in &args.fields {
        match field.split_once(':') {
            Some((name, value)) => fields.push((name.trim().to_owned(), value.trim().to_owned())),
            None => {
                eprintln!("-H takes a field as `name: value`, not `{field}`.");
                return ExitCode::from(USAGE);
            }
        }
    }
    let Some(request) = asked_about(&args.method, &args.url, &fields) else {
        eprintln!("`{}` is no URL and no path that begins with `/`.", args.url);
        return ExitCode::from(USAGE);
    };
    // Nobody is asked and nobody listens: the same functions decide as in a running proxy.
    let policy = Arc::new(loaded.policy);
    let pipeline = Pipeline::new(policy, ScriptedOrigin::new(), Arc::new(SystemClock), Arc::new(|_| {}), [0; 32]);
    print!("{}", render(&pipeline.explain(&request)));
    ExitCode::from(DONE)
}

/// One fact a line.
fn render(explanation: &Explanation) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| writeln!(out, "{name:<12}{value}").expect("a String takes any text");
    line("class", explanation.class);
    let pattern = explanation.pattern.as_ref().map_or_else(String::new, |pattern| format!(" ({pattern})"));
    line("route", &format!("{}{pattern}", explanation.route));
    line("key", &explanation.key.join(", "));
    line("scope", &explanation.scope);
    line("lifetime", &explanation.lifetime);
    for (index, what) in explanation.invalidates.iter().enumerate() {
        line(if index == 0 { "invalidates" } else { "" }, what);
    }
    out
}
