//! Tokens: none proves anything unless `ring`, which is not what verifies them here, says that it was signed with the key;
//! and none that was signed proves anything once an octet of it is another.

use super::{NOW, halves};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use freshgate::clock::Timestamp;
use freshgate::field::Fields;
use freshgate::identity::jwt::{Rejected, Verified, Verifier};
use freshgate::policy::jwt::{Algorithm, Key};
use freshgate::policy::{Credential, Jwt};
use ring::hmac;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde_json::Value;
use std::sync::LazyLock;
use std::time::Duration;

const SECRET: &[u8] = b"thirty-two octets that are no secret";
const SEED: [u8; 32] = [7; 32];
const LEEWAY: Duration = Duration::from_secs(5);

static PAIR: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&SEED).expect("32 octets are a seed"));

static BY_SECRET: LazyLock<Verifier> =
    LazyLock::new(|| verifier(Algorithm::Hs256, Key::secret(Algorithm::Hs256, SECRET).expect("it is long enough")));

static BY_PUBLIC_KEY: LazyLock<Verifier> = LazyLock::new(|| {
    let x = BASE64URL.encode(PAIR.public_key().as_ref());
    let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"a","x":"{x}"}}]}}"#);
    verifier(Algorithm::EdDsa, Key::set(Algorithm::EdDsa, &set).expect("the key fits"))
});

fn verifier(algorithm: Algorithm, key: Key) -> Verifier {
    let from = Credential::Field("authorization".into());
    let (issuer, audience) = (None, Some("shop".to_owned()));
    Verifier::new(&Jwt { algorithm, key, source: "env:KEY".into(), issuer, audience, leeway: LEEWAY, from })
}

/// `octets`: which algorithm and where the token is changed, then a token, or a header and claims that are to be signed.
pub fn run(octets: &[u8]) {
    let Some(([algorithm, place], rest)) =
        octets.split_at_checked(2).map(|(options, rest)| ([options[0], options[1]], rest))
    else {
        return;
    };
    let by_secret = algorithm % 2 == 0;
    match halves(rest) {
        None => drop(proved(by_secret, rest)),
        Some((header, claims)) => {
            let token = signed(by_secret, header, claims);
            if proved(by_secret, &token).is_ok() {
                changed(by_secret, token, place.into());
            }
        }
    }
}

fn sign(by_secret: bool, text: &[u8]) -> Vec<u8> {
    match by_secret {
        true => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), text).as_ref().to_vec(),
        false => PAIR.sign(text).as_ref().to_vec(),
    }
}

fn signed(by_secret: bool, header: &[u8], claims: &[u8]) -> Vec<u8> {
    let text = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
    format!("{text}.{}", BASE64URL.encode(sign(by_secret, text.as_bytes()))).into_bytes()
}

fn verified(by_secret: bool, token: &[u8], now: Timestamp) -> Result<Verified, Rejected> {
    let fields: Fields = [("Authorization", [b"Bearer ", token].concat())].into_iter().collect();
    if by_secret { BY_SECRET.verify(&fields, now) } else { BY_PUBLIC_KEY.verify(&fields, now) }
}

/// What a token proves, which is checked by other means.
fn proved(by_secret: bool, token: &[u8]) -> Result<Verified, Rejected> {
    let proof = verified(by_secret, token, NOW)?;
    let parts: Vec<&[u8]> = token.split(|octet| *octet == b'.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{} parts", parts.len()) };
    let [header, claims, signature] =
        [header, claims, signature].map(|part| BASE64URL.decode(part).expect("a part that was read"));
    let text = &token[..parts[0].len() + 1 + parts[1].len()];
    let right = match by_secret {
        true => hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), text, &signature).is_ok(),
        false => UnparsedPublicKey::new(&ED25519, PAIR.public_key().as_ref()).verify(text, &signature).is_ok(),
    };
    assert!(right, "a signature that is none");
    let [header, claims] = [header, claims].map(|part| serde_json::from_slice::<Value>(&part).expect("JSON was read"));
    assert_eq!(header["alg"], if by_secret { "HS256" } else { "EdDSA" });
    assert!(header.get("crit").is_none());
    let audience = &claims["aud"];
    assert!(audience == "shop" || audience.as_array().is_some_and(|all| all.iter().any(|one| one == "shop")));
    let ends = claims["exp"].as_f64().expect("a token ends");
    let now = NOW.wall_ms as f64 / 1000.0;
    assert!(ends + LEEWAY.as_secs_f64() > now, "it has ended");
    assert!(
        claims.get("nbf").and_then(Value::as_f64).is_none_or(|begins| begins - LEEWAY.as_secs_f64() <= now + 0.001)
    );
    assert!(proof.holds_at(NOW));
    if proof.expires() < i64::MAX {
        let then = Timestamp { wall_ms: proof.expires(), ..NOW };
        assert!(!proof.holds_at(then));
        assert!(verified(by_secret, token, then).is_err(), "it proves something when it has ended");
    }
    for (name, value) in claims.as_object().expect("claims are an object") {
        let octets = match value {
            Value::String(text) if !text.is_empty() => Some(format!("s{text}")),
            Value::Number(number) if number.is_i64() || number.is_u64() => Some(format!("i{number}")),
            _ => None,
        };
        assert_eq!(proof.claim(name), octets.map(String::into_bytes), "{name}");
    }
    Ok(proof)
}

/// The same token but for one octet proves nothing.
fn changed(by_secret: bool, mut token: Vec<u8>, place: usize) {
    // The end too, where some octets have bits that stand for nothing.
    for at in [place * token.len() / 256, token.len() - 1] {
        let good = token[at];
        for other in [good ^ 1, good ^ 0x20, b'A', b'.', b'='] {
            if other != good {
                token[at] = other;
                assert!(verified(by_secret, &token, NOW).is_err(), "{} at {at}", token.escape_ascii());
            }
        }
        token[at] = good;
    }
}
