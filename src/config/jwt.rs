//! `[identity.jwt]`, both phases: what was written, and what it means. The key is fetched here and has to fit the
//! algorithm, so that a mistake with it is found before anything is served.

use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::Env;
use super::error::{Place, Problem};
use super::placed::{At, Key};
use super::resolve::{credential, fetch, or};
use super::shape::Shape;
use super::value::show_duration;
use super::written::{self, Reading, Table, closest, mismatch, place};
use crate::policy::jwt::{self, Algorithm, KeyKind, Misfit};
use crate::policy::{Credential, Jwt};

/// "Usually no more than a few minutes" (RFC 7519 §4.1.4): so much longer does an ended token let its bearer share.
const MOST_LEEWAY: Duration = Duration::from_secs(600);

const TABLE: &str = "[identity.jwt]";

#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    table: Key<()>,
    algorithm: Key<Algorithm>,
    key: Key<String>,
    jwks_file: Key<String>,
    issuer: Key<String>,
    audience: Key<String>,
    leeway: Key<Duration>,
    from: Key<String>,
}

impl Written {
    /// Reads the table `jwt` of `identity`.
    pub fn read(identity: &mut Table<'_>, r: &mut Reading) -> Self {
        let table = identity.presence("jwt");
        let mut t = identity.table("jwt", r);
        let written = Written {
            table,
            algorithm: t.key("algorithm", r),
            key: t.key("key", r),
            jwks_file: t.key("jwks_file", r),
            issuer: t.key("issuer", r),
            audience: t.key("audience", r),
            leeway: t.key("leeway", r),
            from: t.key("from", r),
        };
        t.finish(r);
        written
    }
}

impl Written {
    /// Whether anything is said of tokens.
    pub fn is_there(&self) -> bool {
        !self.table.is_absent()
    }
}

impl Shape for Algorithm {
    fn read(found: &Spanned<DeValue<'_>>) -> Result<Self, Problem> {
        let all = Algorithm::ALL.map(Algorithm::word).join(", ");
        let Some(text) = found.get_ref().as_str() else {
            return Err(mismatch(found, "a text", "write it in double quotes, such as \"HS256\""));
        };
        if text.eq_ignore_ascii_case("none") {
            let what = "a token that nobody signed says nothing about who sends it";
            return Err(Problem::new(&place(found), what, format!("name what signs your tokens: {all}")));
        }
        let known = |word: &str| Algorithm::ALL.into_iter().find(|algorithm| algorithm.word() == word);
        known(text).ok_or_else(|| {
            // Who writes it in small letters, or mistakes a digit, means none of another kind: ES512 is not HS512.
            let first = |text: &str| text.chars().next().map(|c| c.to_ascii_uppercase());
            let same_kind = Algorithm::ALL.map(Algorithm::word).into_iter().filter(|word| first(word) == first(text));
            let lower: Vec<(String, &str)> = same_kind.map(|word| (word.to_lowercase(), word)).collect();
            let meant = closest(text, lower.iter().map(|(lower, _)| lower.as_str()));
            let hint = match lower.iter().find(|(lower, _)| Some(lower.as_str()) == meant) {
                Some((_, word)) => format!("did you mean {word:?}?"),
                None => format!("write one of {all}"),
            };
            Problem::new(&place(found), format!("{text:?} is not known here"), hint)
        })
    }
}

/// What it means; `None` where the table is absent or no key came of it, which is noted then.
pub(super) fn resolve(
    written: &written::Identity,
    credentials: &[Credential],
    env: Env<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Jwt> {
    let jwt = &written.jwt;
    let table = &jwt.table.said()?.place;
    if jwt.algorithm.is_absent() {
        let hint = "add algorithm = \"HS256\", or whatever signs your tokens: it is never taken from a token";
        problems.push(Problem::new(table, format!("{TABLE} has no `algorithm`"), hint));
    }
    let issuer = expected("issuer", &jwt.issuer, problems);
    let audience = expected("audience", &jwt.audience, problems);
    if let Some(At { value, place }) = jwt.leeway.said()
        && *value > MOST_LEEWAY
    {
        let what = format!("`leeway`: for {} a token would count that has ended", show_duration(*value));
        let hint = format!("it makes up for clocks that differ; at most \"{}\"", show_duration(MOST_LEEWAY));
        problems.push(Problem::new(place, what, hint));
    }
    let from = from(written, credentials, table, problems);
    let material = material(jwt, table, env, problems);
    let At { value: algorithm, .. } = jwt.algorithm.said()?;
    let (key, At { value: source, .. }) = key(*algorithm, material?, problems)?;
    Some(Jwt {
        algorithm: *algorithm,
        key,
        source: source.clone(),
        issuer,
        audience,
        leeway: or(&jwt.leeway, Duration::ZERO),
        from: from?,
    })
}

/// A text that a claim has to say.
fn expected(name: &str, key: &Key<String>, problems: &mut Vec<Problem>) -> Option<String> {
    let At { value, place } = key.said()?;
    if value.is_empty() {
        let what = format!("`{name}` is empty: no token says that");
        problems.push(Problem::new(place, what, "leave it out to take any"));
    }
    Some(value.clone())
}

/// Where the token stands. What does not tell callers apart must not decide either who of them share.
fn from(
    written: &written::Identity,
    credentials: &[Credential],
    table: &Place,
    problems: &mut Vec<Problem>,
) -> Option<Credential> {
    let (text, place) = match &written.jwt.from {
        Key::Unreadable => return None,
        Key::Absent => ("authorization", table),
        Key::Said(At { value, place }) => (value.as_str(), place),
    };
    let from =
        credential(text).map_err(|(what, hint)| problems.push(Problem::new(place, format!("`from`: {what}"), hint)));
    let from = from.ok()?;
    let cookies = Credential::Field("cookie".to_owned());
    if from == cookies {
        let hint = "name the one that holds the token, such as \"cookie:session\"";
        problems.push(Problem::new(place, "`from`: many cookies stand in that field", hint));
        return None;
    }
    let is_part = matches!(from, Credential::Cookie(_)) && credentials.contains(&cookies);
    if !is_part && !credentials.contains(&from) && !matches!(written.credentials, Key::Unreadable) {
        let what = format!("`from`: tokens are looked for in {text:?}, which does not tell callers apart");
        problems.push(Problem::new(place, what, "add it to identity.credentials, or name one of those"));
    }
    Some(from)
}

/// What a key is to be made of.
enum Material<'w> {
    Key(&'w At<String>, Vec<u8>),
    Set(&'w At<String>, String),
}

/// Fetches what the one of the two keys names that is there.
fn material<'w>(jwt: &'w Written, table: &Place, env: Env<'_>, problems: &mut Vec<Problem>) -> Option<Material<'w>> {
    match (&jwt.key, &jwt.jwks_file) {
        (Key::Absent, Key::Absent) => {
            let what = format!("{TABLE} has neither `key` nor `jwks_file`");
            let hint = "add key = \"env:NAME\" or \"file:PATH\", or jwks_file = \"PATH\"";
            problems.push(Problem::new(table, what, hint));
            None
        }
        (Key::Said(at), Key::Absent) => {
            let fetched = fetch(&at.value, env);
            let noted =
                fetched.map_err(|(what, hint)| problems.push(Problem::new(&at.place, format!("`key`: {what}"), hint)));
            let (octets, _) = noted.ok()?;
            Some(Material::Key(at, octets))
        }
        (Key::Absent, Key::Said(at)) => {
            let read = std::fs::read_to_string(&at.value).map_err(|error| {
                let what = format!("`jwks_file`: cannot read {}: {error}", at.value);
                problems.push(Problem::new(&at.place, what, "name a file that this process can read"));
            });
            Some(Material::Set(at, read.ok()?))
        }
        (Key::Unreadable, Key::Absent) | (Key::Absent, Key::Unreadable) => None,
        (_, Key::Said(At { place, .. })) | (Key::Said(At { place, .. }), _) => {
            problems.push(Problem::new(place, "there are both a `key` and a `jwks_file`", "leave one of them out"));
            None
        }
        (Key::Unreadable, Key::Unreadable) => None,
    }
}

/// The key, if the material fits the algorithm, and what the file said about where it is.
fn key<'w>(
    algorithm: Algorithm,
    material: Material<'w>,
    problems: &mut Vec<Problem>,
) -> Option<(jwt::Key, &'w At<String>)> {
    let (name, at, key) = match &material {
        Material::Key(at, octets) => ("key", at, of_octets(algorithm, octets)),
        Material::Set(at, json) => ("jwks_file", at, jwt::Key::set(algorithm, json)),
    };
    match key {
        Ok(key) => Some((key, at)),
        Err(misfit) => {
            let (what, hint) = told(algorithm, &misfit);
            problems.push(Problem::new(&at.place, format!("`{name}`: {}: {what}", at.value), hint));
            None
        }
    }
}

fn of_octets(algorithm: Algorithm, octets: &[u8]) -> Result<jwt::Key, Misfit> {
    match algorithm.wants() {
        KeyKind::Secret { .. } => jwt::Key::secret(algorithm, without_line_end(octets)),
        _ => jwt::Key::pem(algorithm, std::str::from_utf8(octets).map_err(|_| Misfit::NoPublicPem)?),
    }
}

/// A secret that is text was written with an editor, or with `echo`; one that is not is taken as it is.
fn without_line_end(secret: &[u8]) -> &[u8] {
    std::str::from_utf8(secret).map_or(secret, |text| text.trim_end_matches(['\r', '\n']).as_bytes())
}

/// What is wrong, and what to change. Nothing of the key is repeated.
fn told(algorithm: Algorithm, misfit: &Misfit) -> (String, String) {
    let word = algorithm.word();
    let wanted = match algorithm.wants() {
        KeyKind::Secret { .. } => "a shared secret",
        KeyKind::Rsa => "an RSA public key",
        KeyKind::P256 => "a public key on the curve P-256",
        KeyKind::P384 => "a public key on the curve P-384",
        KeyKind::Ed25519 => "an Ed25519 public key",
    };
    let pem = format!("{word} wants {wanted} in PEM: \"-----BEGIN PUBLIC KEY-----\"");
    let (what, hint) = match misfit {
        Misfit::PemForSecret => (
            format!("{word} is made with a shared secret, and this is a key in PEM"),
            "whoever has a public key could sign with it; name the algorithm that the key is for".to_owned(),
        ),
        Misfit::Short(octets) => (
            format!("the secret is too short for {word}"),
            format!(
                "{word} wants at least {octets} octets (RFC 7518 §3.2), such as `openssl rand -hex {octets}` makes"
            ),
        ),
        Misfit::NoPublicPem => ("this is no public key in PEM".to_owned(), pem),
        Misfit::Private => (
            "this is a private key, which nothing here is signed with".to_owned(),
            format!("{pem}, which `openssl pkey -pubout` makes of it"),
        ),
        Misfit::Certificate => {
            ("this is a certificate".to_owned(), format!("{pem}, which `openssl x509 -pubkey -noout` takes out of it"))
        }
        Misfit::Kind => (format!("this is not {wanted}"), pem),
        Misfit::RsaBits(bits) => {
            (format!("this RSA key has {bits} bits"), "use one of 2048 to 4096 bits (RFC 7518 §3.3)".to_owned())
        }
        Misfit::NoSet => (
            "this is no JWK set".to_owned(),
            "it begins with {\"keys\": [ (RFC 7517 §5); a key in PEM goes into `key`".to_owned(),
        ),
        Misfit::NoneFits(keys) => (
            format!("no key in it fits {word}, of {keys}"),
            format!("{word} wants {wanted} whose use, key_ops and alg, where it has them, are for that"),
        ),
        Misfit::SameId(Some(id)) => (
            format!("two keys in it fit {word} and have the kid {id:?}"),
            "keep one of them: a token must name its key".to_owned(),
        ),
        Misfit::SameId(None) => (
            format!("two keys in it fit {word} and have no kid"),
            "give each a kid: a token must name its key".to_owned(),
        ),
    };
    (what, hint)
}
