//! The configuration: every text is either a policy in which each route can be reached, or problems that can be found.

use freshgate::config::{self, Overrides};
use freshgate::policy::PatternKind;

/// What nobody may get to see.
const SECRET: &str = "kx9-a-secret-of-more-than-sixty-four-octets-that-nobody-may-get-to-see-in-a-message";

/// `octets`: a file.
pub fn run(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    // Files that a configuration names are read, and what stands in this machine's is nothing to fuzz.
    if text.contains("file:") || text.contains("jwks_file") {
        return;
    }
    let parse =
        || config::parse(text, "fuzz.toml", &Overrides::default(), &|name| (name == "KEY").then(|| SECRET.into()));
    match parse() {
        Err(errors) => {
            let lines = text.split('\n').count();
            assert!(errors.iter().next().is_some(), "refused without a word");
            for error in errors.iter() {
                assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{error:?} of {lines} lines");
                assert!(!error.what.is_empty() && !error.hint.is_empty(), "{error:?}");
            }
            assert!(!errors.to_string().contains(SECRET));
            assert_eq!(parse().expect_err("a text means one thing").to_string(), errors.to_string());
        }
        Ok(loaded) => {
            assert!(!format!("{:?}", loaded.policy).contains(SECRET), "a secret in a log");
            let routes = &loaded.policy.routes;
            for route in routes.iter() {
                assert_eq!(routes.get(route.id).name, route.name);
                for pattern in &route.patterns {
                    // Parameters are put in that no other pattern has as a literal.
                    let text: Vec<&str> = pattern.text.split('/').collect();
                    let path = text.iter().map(|part| if part.contains('{') { "~0kx9" } else { part });
                    let path = path.collect::<Vec<_>>().join("/");
                    let path = routes.without_case(path);
                    let found = routes.select(&path);
                    assert!(found.pattern.is_some(), "{path} of {} leads nowhere", pattern.text);
                    if pattern.kind == PatternKind::Collection && !pattern.text.contains('{') {
                        assert_eq!(found.route.id, route.id, "{path}");
                    }
                }
            }
        }
    }
}
