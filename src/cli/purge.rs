//! `freshgate purge`: asks a running proxy to invalidate.

use super::admin_client::{Failure, Target};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Invalidate what a running proxy has stored
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Treat as expired rather than gone: stale_while_revalidate and stale_if_error still apply
    #[arg(long)]
    soft: bool,
    /// Only say how many stored responses match
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    what: What,
}

/// What is purged: exactly one of these.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// A path with its query, or without one for all queries
    #[arg(long, value_name = "URL")]
    key: Option<String>,
    /// Everything on a route, by name
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// An entity, or one of it: category or category:5
    #[arg(long, value_name = "ENTITY[:ID]")]
    entity: Option<String>,
    /// Every path that begins so
    #[arg(long, value_name = "PATH")]
    prefix: Option<String>,
    /// Everything
    #[arg(long)]
    all: bool,
}

/// Asks, and says what came of it. Exits with 0, 64 or 69.
pub fn run(args: &Args) -> ExitCode {
    match args.target.post("/purge", &body(args)).and_then(|answer| told(&answer)) {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(Failure { code, message }) => {
            eprintln!("{message}");
            ExitCode::from(code)
        }
    }
}

/// The request's body.
fn body(args: &Args) -> Value {
    let What { key, route, entity, prefix, all } = &args.what;
    let mut body = serde_json::Map::new();
    for (name, value) in [("key", key), ("route", route), ("entity", entity), ("prefix", prefix)] {
        body.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
    }
    for (name, set) in [("all", *all), ("soft", args.soft), ("dry_run", args.dry_run)] {
        body.extend(set.then(|| (name.to_owned(), json!(true))));
    }
    Value::Object(body)
}

/// The answer in words. Whoever answers neither way is no admin listener: nothing was purged then, and to say otherwise
/// would leave stale what its operator believes gone.
fn told(answer: &Value) -> Result<String, Failure> {
    match (answer["matched"].as_u64(), answer["sequence"].as_u64()) {
        (Some(1), _) => Ok("1 stored response matches; nothing was purged.".to_owned()),
        (Some(n), _) => Ok(format!("{n} stored responses match; nothing was purged.")),
        (None, Some(n)) => Ok(format!("Purged, as change {n}.")),
        (None, None) => Err(Failure {
            code: 69,
            message: "Nothing was purged: what answered is no admin listener of freshgate. --admin URL names it."
                .to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    #[track_caller]
    fn check(line: &str, expected: Option<Value>) {
        let parsed = Command::try_parse_from(std::iter::once("purge").chain(line.split_whitespace()));
        assert_eq!(parsed.ok().map(|command| body(&command.args)), expected);
    }

    #[test]
    fn exactly_one_selector_becomes_the_body() {
        check("--key /products?page=2", Some(json!({"key": "/products?page=2"})));
        check("--route products --soft", Some(json!({"route": "products", "soft": true})));
        check("--entity category:5 --dry-run", Some(json!({"entity": "category:5", "dry_run": true})));
        check("--prefix /reports", Some(json!({"prefix": "/reports"})));
        check("--all --admin http://10.0.0.1:9", Some(json!({"all": true})));
        check("", None);
        check("--soft", None);
        check("--all --route products", None);
    }

    #[test]
    fn what_is_no_admin_listener_has_purged_nothing() {
        for answer in [json!({}), json!(null), json!([1]), json!({"sequence": "12"})] {
            assert_eq!(told(&answer).map_err(|failure| failure.code), Err(69), "{answer}");
        }
    }

    #[test]
    fn the_answer_in_words() {
        for (answer, words) in [
            (json!({"matched": 0}), "0 stored responses match; nothing was purged."),
            (json!({"matched": 1}), "1 stored response matches; nothing was purged."),
            (json!({"sequence": 12}), "Purged, as change 12."),
        ] {
            assert_eq!(told(&answer).map_err(|failure| failure.code), Ok(words.to_owned()));
        }
    }
}
