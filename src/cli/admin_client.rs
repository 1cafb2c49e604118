//! What `stats` and `purge` have in common: one question to a running proxy's admin listener.

use serde_json::Value;
use std::time::Duration;

/// Where the admin listener's token is read from.
const TOKEN: &str = "FRESHGATE_ADMIN_TOKEN";

/// Options of every command that asks a running proxy.
#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    /// The admin listener of the running proxy; its token is read from FRESHGATE_ADMIN_TOKEN
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    pub admin: String,
}

/// Why there is no answer: the exit code and what goes to stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// 64: what was asked is wrong; 69: the listener cannot be reached, or does not answer as one.
    pub code: u8,
    pub message: String,
}

impl Target {
    /// GET `path`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        let request = agent().get(self.url(path));
        self.read(authorized(request).call())
    }

    /// POST `body` to `path`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = agent().post(self.url(path));
        self.read(authorized(request).send_json(body))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.admin.trim_end_matches('/'))
    }

    fn read(&self, answer: Result<http::Response<ureq::Body>, ureq::Error>) -> Result<Value, Failure> {
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(ureq::Error::BadUri(_) | ureq::Error::Http(_)) => {
                let message = format!("--admin takes a URL such as http://127.0.0.1:9090, not {:?}.", self.admin);
                return Err(Failure { code: 64, message });
            }
            Err(error) => {
                let message = format!(
                    "Cannot reach the admin listener at {}: {error}. Is freshgate serving? --admin URL names another.",
                    self.admin
                );
                return Err(Failure { code: 69, message });
            }
        };
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(64 << 20).read_json::<Value>().ok();
        outcome(status, body, &self.admin)
    }
}

/// The answer's JSON where it is one of success, else what to tell.
fn outcome(status: u16, body: Option<Value>, admin: &str) -> Result<Value, Failure> {
    let sentence = body.as_ref().and_then(|b| b["error"].as_str()).map(ToOwned::to_owned);
    match (status, body, sentence) {
        (200..=299, Some(body), _) => Ok(body),
        (401, _, _) => Err(Failure { code: 64, message: format!("{admin} asks for its token: set {TOKEN}.") }),
        (400..=499, _, Some(sentence)) => Err(Failure { code: 64, message: sentence }),
        _ => {
            let message = format!("{admin} answered {status}, and not as freshgate's admin listener does.");
            Err(Failure { code: 69, message })
        }
    }
}

fn agent() -> ureq::Agent {
    let config =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(10)));
    config.build().into()
}

fn authorized<B>(request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
    match std::env::var(TOKEN) {
        Ok(token) if !token.is_empty() => request.header("authorization", format!("Bearer {token}")),
        _ => request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(status: u16, body: Option<Value>, expected: Result<Value, (u8, &str)>) {
        let expected = expected.map_err(|(code, message)| Failure { code, message: message.to_owned() });
        assert_eq!(outcome(status, body, "http://a"), expected);
    }

    #[test]
    fn answers() {
        check(200, Some(json!({"a": 1})), Ok(json!({"a": 1})));
        check(404, Some(json!({"error": "There is no route."})), Err((64, "There is no route.")));
        check(401, None, Err((64, "http://a asks for its token: set FRESHGATE_ADMIN_TOKEN.")));
        let stranger = "answered 200, and not as freshgate's admin listener does.";
        check(200, None, Err((69, &format!("http://a {stranger}"))));
        check(404, None, Err((69, "http://a answered 404, and not as freshgate's admin listener does.")));
    }
}
