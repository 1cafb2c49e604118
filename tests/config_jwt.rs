//! `[identity.jwt]` as people meet it: what it comes to, and by exact text, what is wrong with a bad one.

use std::fs;
use std::time::Duration;

use freshgate::cli::check;
use freshgate::config::{self, ConfigErrors, Loaded, Overrides};
use freshgate::policy::jwt::{Algorithm, Key, Misfit};
use freshgate::policy::{Credential, Jwt};
use tempfile::TempDir;

const ORIGIN: &str = "[origin]\nurl = \"http://127.0.0.1:3000\"\n";
const SECRET: &str = "hunter2-hunter2-hunter2-hunter2-hunter2-hunter2-hunter2-hunter2.";

// The public keys of RFC 7515 appendices A.2 and A.3 and of RFC 8037 appendix A.2.
const RSA: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj\n\
NiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz\n\
P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo\n\
9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB\n\
EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX\n\
FvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp\n\
oQIDAQAB";
const P256: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n\
6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==";
const ED25519: &str = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
/// The last bit of its y is another one.
const OFF_THE_CURVE: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n\
6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrA==";
/// 1024 bits.
const SMALL_RSA: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC3KBLRK/Ro89dc9fuORFZf2vdO\n\
SkaiaXot+nywZdFP8bkeFP+XrgnA30ImBCbeiRs/XdfxOEjJe7FI9RdKpWihgDXu\n\
54nVJ4qyqNmx7QDd4Tyuv6525fu9EGs7TcR0fiyHIzi/FKD41bikbAsSditdNw5X\n\
IdIzva3A+msNMkN7ZwIDAQAB";

const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

fn pem(label: &str, text: &str) -> String {
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

fn env(name: &str) -> Option<String> {
    Some(match name {
        "SECRET" => SECRET.to_owned(),
        "SHORT" => SECRET[..31].to_owned(),
        "EMPTY" => String::new(),
        "RSA" => pem("PUBLIC KEY", RSA),
        "SMALL_RSA" => pem("PUBLIC KEY", SMALL_RSA),
        "P256" => pem("PUBLIC KEY", P256),
        "OFF_THE_CURVE" => pem("PUBLIC KEY", OFF_THE_CURVE),
        "ED25519" => pem("PUBLIC KEY", ED25519),
        "PRIVATE" => pem("EC PRIVATE KEY", "hunter2"),
        "CERTIFICATE" => pem("CERTIFICATE", "MIIB"),
        "BROKEN" => pem("PUBLIC KEY", "hunter2"),
        _ => return None,
    })
}

fn parse(text: &str) -> Result<Loaded, ConfigErrors> {
    config::parse(text, "freshgate.toml", &Overrides::default(), &env)
}

fn with_jwt(body: &str) -> String {
    format!("{ORIGIN}[identity.jwt]\n{body}\n")
}

#[track_caller]
fn jwt(body: &str) -> Jwt {
    let loaded = parse(&with_jwt(body)).unwrap_or_else(|errors| panic!("{errors}"));
    loaded.policy.identity.jwt.expect("the table is there")
}

/// What a person reads about a table, which must be refused.
#[track_caller]
fn refused(body: &str) -> String {
    told(&with_jwt(body))
}

#[track_caller]
fn told(text: &str) -> String {
    let shown = parse(text).expect_err("the file should be refused").to_string();
    assert!(!shown.contains("hunter2"), "a secret was printed:\n{shown}");
    shown
}

/// What is wrong with each of these keys, and nothing else is.
#[track_caller]
fn each_refused(rows: &[(&str, &str)]) -> String {
    let texts = rows.iter().map(|(algorithm, key)| {
        let shown = refused(&format!("algorithm = \"{algorithm}\"\nkey = \"{key}\""));
        shown.strip_suffix("\n\n1 problem\n").unwrap_or_else(|| panic!("{shown}")).to_owned()
    });
    texts.collect::<Vec<_>>().join("\n\n")
}

/// A file in a directory that lasts as long as the first of the two.
fn file(text: &str) -> (TempDir, String) {
    let dir = TempDir::new().expect("a directory can be made");
    let path = dir.path().join("jwks.json");
    fs::write(&path, text).expect("the file can be written");
    let path = path.display().to_string();
    (dir, path)
}

fn ec_jwk(extra: &str) -> String {
    format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}"{extra}}}"#)
}

// --- what it comes to -----------------------------------------------------------------------------------------------

#[test]
fn without_the_table_there_are_no_tokens() {
    assert!(parse(ORIGIN).expect("an origin is enough").policy.identity.jwt.is_none());
}

#[test]
fn defaults_are_strict() {
    let jwt = jwt("algorithm = \"HS256\"\nkey = \"env:SECRET\"");
    assert_eq!((jwt.algorithm, jwt.source.as_str()), (Algorithm::Hs256, "env:SECRET"));
    assert_eq!((jwt.issuer, jwt.audience, jwt.leeway), (None, None, Duration::ZERO));
    assert_eq!(jwt.from, Credential::Field("authorization".to_owned()));
}

#[test]
fn everything_can_be_said() {
    let (_dir, path) = file(&format!(r#"{{"keys":[{}]}}"#, ec_jwk("")));
    let jwt = jwt(&format!(
        "algorithm = \"ES256\"\njwks_file = \"{path}\"\nissuer = \"https://login.example\"\naudience = \"shop\"\n\
         leeway = \"90s\"\nfrom = \"cookie:session\""
    ));
    assert_eq!((jwt.algorithm, jwt.source), (Algorithm::Es256, path));
    assert_eq!((jwt.issuer.as_deref(), jwt.audience.as_deref()), (Some("https://login.example"), Some("shop")));
    assert_eq!(jwt.leeway, Duration::from_secs(90));
    assert_eq!(jwt.from, Credential::Cookie("session".to_owned()));
}

#[test]
fn each_algorithm_takes_a_key_of_its_kind() {
    for (algorithm, key) in [
        ("HS256", "SECRET"),
        ("HS384", "SECRET"),
        ("HS512", "SECRET"),
        ("RS256", "RSA"),
        ("RS512", "RSA"),
        ("PS384", "RSA"),
        ("ES256", "P256"),
        ("EdDSA", "ED25519"),
    ] {
        assert_eq!(jwt(&format!("algorithm = \"{algorithm}\"\nkey = \"env:{key}\"")).algorithm.word(), algorithm);
    }
}

#[test]
fn check_shows_the_algorithm_and_where_the_key_is() {
    let text = with_jwt("algorithm = \"HS256\"\nkey = \"env:SECRET\"\nfrom = \"cookie:session\"");
    let loaded = parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
    let report = check::report(&loaded);
    assert!(report.contains("    jwt          HS256 in cookie:session, key from env:SECRET\n"), "{report}");
    assert!(!format!("{report}{loaded:?}").contains("hunter2"), "the secret was printed");
    // Nor its octets, as a list of numbers would show them.
    assert!(!format!("{loaded:?}").contains("104, 117, 110"), "the secret was printed");
}

#[test]
fn a_secret_in_a_file_is_what_the_editor_was_given() {
    let (_dir, path) = file(&format!("{}\r\n", &SECRET[..32]));
    jwt(&format!("algorithm = \"HS256\"\nkey = \"file:{path}\""));
    let (_dir, path) = file(&format!("{}\n\n\n\n", &SECRET[..30]));
    let shown = refused(&format!("algorithm = \"HS256\"\nkey = \"file:{path}\""));
    assert!(shown.contains("the secret is too short for HS256"), "{shown}");
    // Octets that are no text are taken as they are.
    let dir = TempDir::new().expect("a directory can be made");
    let path = dir.path().join("secret");
    fs::write(&path, [[0xff; 31].as_slice(), b"\n"].concat()).expect("the file can be written");
    jwt(&format!("algorithm = \"HS256\"\nkey = \"file:{}\"", path.display()));
}

#[test]
fn a_jwk_set_gives_the_keys_that_fit() {
    // The others: for another algorithm, for encrypting, for signing alone, on another curve, and what cannot be read.
    let others = [
        ec_jwk(r#","kid":"a","alg":"ES384""#),
        ec_jwk(r#","kid":"b","use":"enc""#),
        ec_jwk(r#","kid":"c","key_ops":["sign"]"#),
        ec_jwk(r#","kid":"d""#).replace("P-256", "P-384"),
        ec_jwk(r#","kid":"e""#).replace("P-256", "secp256k1"),
        ec_jwk(r#","kid":"f""#).replace(Y, X),
        ec_jwk(r#","kid":"g""#).replace(Y, &format!("AA{Y}")),
        ec_jwk(r#","kid":"h""#).replace(X, ""),
        ec_jwk(r#","kid":"i""#).replace("EC", "ec"),
        ec_jwk(r#","kid":5"#),
        r#"{"kty":"EC","kid":"j"}"#.to_owned(),
        r#"{"kty":"oct","kid":"k","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#.to_owned(),
        r#"{"kty":"OKP","kid":"l","crv":"Ed25519","x":"11qY"}"#.to_owned(),
        r#"{"kty":"AKP","kid":"m"}"#.to_owned(),
        "5".to_owned(),
        "null".to_owned(),
    ];
    let none = format!(r#"{{"keys":[{}]}}"#, others.join(","));
    assert_eq!(Key::set(Algorithm::Es256, &none).err(), Some(Misfit::NoneFits(others.len())));
    assert_eq!(
        Key::set(Algorithm::EdDsa, &none).err(),
        Some(Misfit::NoneFits(others.len())),
        "eleven octets are no key"
    );
    let some = format!(r#"{{"more":1,"keys":[{},{}]}}"#, others.join(","), ec_jwk(r#","kid":"mine","more":{}"#));
    let key = Key::set(Algorithm::Es256, &some).expect("one fits");
    assert!(key.named(Some("mine")).is_some() && key.named(None).is_some());
    for other in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "5", ""] {
        assert!(key.named(Some(other)).is_none(), "{other}");
    }
}

#[test]
fn a_token_stands_where_callers_are_told_apart() {
    let sound = |credentials: &str, from: &str| {
        let body = format!("algorithm = \"HS256\"\nkey = \"env:SECRET\"\nfrom = \"{from}\"");
        parse(&format!("{ORIGIN}[identity]\ncredentials = {credentials}\n[identity.jwt]\n{body}\n")).is_ok()
    };
    for (credentials, from, expected) in [
        (r#"["authorization"]"#, "Authorization", true),
        (r#"["authorization"]"#, "x-api-key", false),
        (r#"["X-Api-Key"]"#, "x-api-key", true),
        (r#"["X-Api-Key"]"#, "authorization", false),
        (r#"["cookie"]"#, "cookie:session", true),
        (r#"["cookie:session"]"#, "cookie:session", true),
        (r#"["cookie:session"]"#, "cookie:Session", false),
        (r#"["cookie:other"]"#, "cookie:session", false),
        (r#"["cookie"]"#, "cookie", false),
        ("[]", "authorization", false),
    ] {
        assert_eq!(sound(credentials, from), expected, "{credentials} {from}");
    }
}

// --- what is wrong, by exact text -----------------------------------------------------------------------------------

#[test]
fn an_empty_table_says_what_it_needs() {
    insta::assert_snapshot!(refused(""));
}

#[test]
fn algorithms_are_those_there_are() {
    let texts = ["none", "NONE", "hs256", "RS265", "EDDSA", "ES512", "", "HS256,RS256"]
        .map(|word| refused(&format!("algorithm = \"{word}\"\nkey = \"env:SECRET\"")).replace("\n\n1 problem\n", ""));
    let list = refused("algorithm = [\"HS256\"]\nkey = \"env:SECRET\"");
    insta::assert_snapshot!(texts.join("\n\n") + "\n\n" + &list);
}

#[test]
fn a_key_stands_in_one_place() {
    let both = refused("algorithm = \"HS256\"\nkey = \"env:SECRET\"\njwks_file = \"jwks.json\"");
    insta::assert_snapshot!(both);
}

#[test]
fn a_key_fits_its_algorithm() {
    insta::assert_snapshot!(each_refused(&[
        ("HS256", "env:RSA"),
        ("HS384", "env:PRIVATE"),
        ("HS256", "env:SHORT"),
        ("HS512", "env:SHORT"),
        ("HS256", "env:EMPTY"),
        ("HS256", "env:NOWHERE"),
        ("HS256", "file:/nowhere/secret"),
        ("RS256", "env:SECRET"),
        ("RS256", "env:P256"),
        ("PS256", "env:SMALL_RSA"),
        ("ES256", "env:RSA"),
        ("ES384", "env:P256"),
        ("ES256", "env:OFF_THE_CURVE"),
        ("ES256", "env:PRIVATE"),
        ("ES256", "env:CERTIFICATE"),
        ("ES256", "env:BROKEN"),
        ("EdDSA", "env:P256"),
        ("EdDSA", "env:EMPTY"),
    ]));
}

#[test]
fn a_jwk_set_holds_a_key_that_fits() {
    let shown = |json: &str| {
        let (dir, path) = file(json);
        let shown = refused(&format!("algorithm = \"ES256\"\njwks_file = \"{path}\""));
        shown
            .replace(&dir.path().display().to_string(), "DIR")
            .replace(&"^".repeat(path.len() + 2), "^^^")
            .replace("\n\n1 problem\n", "")
    };
    let same = |kid: &str| format!(r#"{{"keys":[{},{}]}}"#, ec_jwk(kid), ec_jwk(kid));
    let texts = [
        shown(""),
        shown(&pem("PUBLIC KEY", P256)),
        shown(&ec_jwk("")),
        shown(r#"{"keys":{}}"#),
        shown(r#"{"keys":[]}"#),
        shown(&format!(r#"{{"keys":[{},5]}}"#, ec_jwk(r#","use":"enc""#))),
        shown(&same(r#","kid":"one""#)),
        shown(&same("")),
    ];
    let missing = refused("algorithm = \"ES256\"\njwks_file = \"/nowhere/jwks.json\"");
    insta::assert_snapshot!(texts.join("\n\n") + "\n\n" + &missing);
}

#[test]
fn the_rest_is_told_at_once() {
    insta::assert_snapshot!(told(&format!(
        "{ORIGIN}[identity]\ncredentials = [\"authorization\"]\n[identity.jwt]\nkey = \"file:/nowhere/secret\"\nissuer = \"\"\n\
         audience = [\"shop\"]\nleeway = \"1h\"\nfrom = \"x-api-key\"\njwk_file = \"x\"\n"
    )));
    insta::assert_snapshot!(refused(
        "algorithm = \"HS256\"\nkey = \"env:SECRET\"\naudience = \"\"\nleeway = 5\nfrom = \"cookie\""
    ));
    insta::assert_snapshot!(told(&format!("{ORIGIN}[identity]\ncredentials = []\njwt = \"HS256\"\n")));
}

#[test]
fn a_secret_written_into_the_file_is_never_printed() {
    for line in [
        "key = \"hunter2\"",
        "key = 'hunter2'",
        "key = \"hunter2",
        "key \"hunter2\"",
        "key = [\"hunter2\"]",
        "kye = \"hunter2\"",
        "keys = \"hunter2\"",
        "jwt_key = \"hunter2\"",
        "secret = \"hunter2\"",
        "secert = \"hunter2\"",
        "shared_secret = \"hunter2\"",
    ] {
        told(&with_jwt(&format!("algorithm = \"HS256\"\n{line}")));
        told(&format!("{ORIGIN}[identity]\njwt = {{ algorithm = \"HS256\", {line} }}\n"));
    }
    insta::assert_snapshot!(refused("algorithm = \"HS256\"\nkey = \"hunter2\""));
}
