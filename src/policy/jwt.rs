//! `[identity.jwt]`: what a JSON Web Token must be to say who its bearer is, and the keys that its signature is checked
//! with.
//!
//! A [`Key`] is only made of material that fits its [`Algorithm`], so that what verifies has nothing left to doubt: a
//! public key cannot stand where a shared secret is wanted, which is how key confusion begins (RFC 8725 §2.1).

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, EllipticCurveKeyParameters, Jwk, KeyOperations, OctetKeyPairParameters,
    PublicKeyUse,
};
use jsonwebtoken::{Algorithm as Jws, DecodingKey};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Credential;

/// `[identity.jwt]`.
#[derive(Clone, Debug)]
pub struct Jwt {
    /// The only one that is taken, whatever a token asks for (RFC 8725 §3.1).
    pub algorithm: Algorithm,
    pub key: Key,
    /// Where the key was read from, as written: `env:NAME`, `file:PATH` or the path of a JWK set.
    pub source: String,
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// What `aud` must name.
    pub audience: Option<String>,
    /// How far the clock of whoever makes the tokens may be from this one's.
    pub leeway: Duration,
    /// Where the token stands; one of the credentials that tell callers apart, or one cookie out of them.
    pub from: Credential,
}

/// How a token is signed (RFC 7518 §3.1, RFC 8037 §3.1). There is no `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    /// Each of them.
    pub const ALL: [Algorithm; 12] = [
        Algorithm::Hs256,
        Algorithm::Hs384,
        Algorithm::Hs512,
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ];

    /// As written in a configuration, and in the `alg` of a token.
    pub fn word(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Hs384 => "HS384",
            Algorithm::Hs512 => "HS512",
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
            Algorithm::Ps256 => "PS256",
            Algorithm::Ps384 => "PS384",
            Algorithm::Ps512 => "PS512",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    /// What kind of key it takes.
    pub fn wants(self) -> KeyKind {
        match self {
            // "A key of the same size as the hash output (for instance, 256 bits for "HS256") or larger MUST be used"
            // (RFC 7518 §3.2).
            Algorithm::Hs256 => KeyKind::Secret { octets: 32 },
            Algorithm::Hs384 => KeyKind::Secret { octets: 48 },
            Algorithm::Hs512 => KeyKind::Secret { octets: 64 },
            Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512 => KeyKind::Rsa,
            Algorithm::Ps256 | Algorithm::Ps384 | Algorithm::Ps512 => KeyKind::Rsa,
            Algorithm::Es256 => KeyKind::P256,
            Algorithm::Es384 => KeyKind::P384,
            Algorithm::EdDsa => KeyKind::Ed25519,
        }
    }

    /// As the implementation calls it.
    pub fn jws(self) -> Jws {
        match self {
            Algorithm::Hs256 => Jws::HS256,
            Algorithm::Hs384 => Jws::HS384,
            Algorithm::Hs512 => Jws::HS512,
            Algorithm::Rs256 => Jws::RS256,
            Algorithm::Rs384 => Jws::RS384,
            Algorithm::Rs512 => Jws::RS512,
            Algorithm::Ps256 => Jws::PS256,
            Algorithm::Ps384 => Jws::PS384,
            Algorithm::Ps512 => Jws::PS512,
            Algorithm::Es256 => Jws::ES256,
            Algorithm::Es384 => Jws::ES384,
            Algorithm::EdDsa => Jws::EdDSA,
        }
    }
}

/// What a signature is checked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// As many octets at least, known to whoever signs and to whoever verifies.
    Secret {
        octets: usize,
    },
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// Why some material makes no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// A PEM text where a shared secret is wanted.
    PemForSecret,
    /// A secret of fewer octets than this.
    Short(usize),
    /// No PEM text of a public key.
    NoPublicPem,
    /// The private half, which is not needed here.
    Private,
    /// A certificate, which holds a public key and is none.
    Certificate,
    /// A sound public key of another kind, or one that is none on closer inspection.
    Kind,
    /// An RSA key with fewer than 2048 bits, or more than 4096.
    RsaBits(usize),
    /// No JWK set: `{"keys": […]}`.
    NoSet,
    /// A JWK set of so many keys, none of which fits.
    NoneFits(usize),
    /// Two keys that fit and are called the same, or are not called anything.
    SameId(Option<String>),
}

/// What the signature of a token is checked with; it fits the algorithm that it was made for.
#[derive(Clone)]
pub struct Key(Keys);

#[derive(Clone)]
enum Keys {
    /// For every token, whatever `kid` it names.
    One(DecodingKey),
    /// By `kid`, of which each stands here once.
    Set(Vec<(Option<String>, DecodingKey)>),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// A secret shared with whoever signs.
    ///
    /// # Errors
    /// It is too short, or is a key of another kind; or the algorithm wants no secret.
    pub fn secret(algorithm: Algorithm, secret: &[u8]) -> Result<Key, Misfit> {
        secret_key(algorithm.wants(), secret).map(|key| Key(Keys::One(key)))
    }

    /// A public key in PEM: `PUBLIC KEY` (RFC 7468 §13), or `RSA PUBLIC KEY` (RFC 8017 §A.1.1).
    ///
    /// # Errors
    /// It is no such text, or not a key of the kind that the algorithm wants.
    pub fn pem(algorithm: Algorithm, pem: &str) -> Result<Key, Misfit> {
        let says = |label: &str| pem.contains(&format!("-----BEGIN {label}-----"));
        if pem.contains("PRIVATE KEY-----") {
            return Err(Misfit::Private);
        }
        if says("CERTIFICATE") {
            return Err(Misfit::Certificate);
        }
        if !says("PUBLIC KEY") && !says("RSA PUBLIC KEY") {
            return Err(Misfit::NoPublicPem);
        }
        let read = match algorithm.wants() {
            KeyKind::Secret { .. } => return Err(Misfit::Kind),
            KeyKind::Rsa => DecodingKey::from_rsa_pem(pem.as_bytes()),
            KeyKind::P256 | KeyKind::P384 => DecodingKey::from_ec_pem(pem.as_bytes()),
            KeyKind::Ed25519 => DecodingKey::from_ed_pem(pem.as_bytes()),
        };
        let jwk = read.and_then(|key| Jwk::from_decoding_key(&key, None)).map_err(|_| Misfit::Kind)?;
        fitting(algorithm, &jwk).map(|key| Key(Keys::One(key)))
    }

    /// Those keys of a JWK set (RFC 7517 §5) that fit. The others are left out, as is what cannot be read: a set may
    /// hold keys for other uses, and "Implementations SHOULD ignore JWKs within a JWK Set that use "kty" (key type)
    /// values that are not understood by them, that are missing required members, or for which values are out of the
    /// supported ranges".
    ///
    /// # Errors
    /// It is no JWK set, nothing in it fits, or two keys that do cannot be told apart.
    pub fn set(algorithm: Algorithm, json: &str) -> Result<Key, Misfit> {
        #[derive(Deserialize)]
        struct Set<'t> {
            #[serde(borrow)]
            keys: Vec<&'t RawValue>,
        }
        let set: Set<'_> = serde_json::from_str(json).map_err(|_| Misfit::NoSet)?;
        let mut keys: Vec<(Option<String>, DecodingKey)> = Vec::new();
        for jwk in set.keys.iter().filter_map(|key| serde_json::from_str::<Jwk>(key.get()).ok()) {
            let Ok(key) = fitting(algorithm, &jwk) else { continue };
            let id = jwk.common.key_id;
            if keys.iter().any(|(other, _)| *other == id) {
                return Err(Misfit::SameId(id));
            }
            keys.push((id, key));
        }
        if keys.is_empty() { Err(Misfit::NoneFits(set.keys.len())) } else { Ok(Key(Keys::Set(keys))) }
    }

    /// The key that a token with this `kid` was signed for. In a JWK set that is the one which the token names; a token
    /// that names none has one only where there is no choice. A `kid` is compared and looked up nowhere else: it is
    /// whatever the sender put there.
    pub fn named(&self, id: Option<&str>) -> Option<&DecodingKey> {
        match (&self.0, id) {
            (Keys::One(key), _) => Some(key),
            (Keys::Set(keys), Some(id)) => {
                keys.iter().find(|(name, _)| name.as_deref() == Some(id)).map(|(_, key)| key)
            }
            (Keys::Set(keys), None) => match keys.as_slice() {
                [(_, only)] => Some(only),
                _ => None,
            },
        }
    }
}

fn secret_key(wanted: KeyKind, secret: &[u8]) -> Result<DecodingKey, Misfit> {
    let KeyKind::Secret { octets } = wanted else { return Err(Misfit::Kind) };
    if secret.windows(PEM.len()).any(|window| window == PEM) {
        return Err(Misfit::PemForSecret);
    }
    if secret.len() < octets {
        return Err(Misfit::Short(octets));
    }
    Ok(DecodingKey::from_secret(secret))
}

const PEM: &[u8] = b"-----BEGIN ";

/// The key that a JWK describes, if it is for verifying and what the algorithm wants. Lengths are looked at here, since
/// not everything below does: RFC 7518 §6.2.1.2 has the coordinates of a point in full, RFC 8037 §2 the octets of an
/// Ed25519 key, and §3.3 of the former wants RSA keys "of size 2048 bits or larger".
fn fitting(algorithm: Algorithm, jwk: &Jwk) -> Result<DecodingKey, Misfit> {
    let common = &jwk.common;
    let for_signatures = common.public_key_use.as_ref().is_none_or(|r#use| *r#use == PublicKeyUse::Signature);
    let for_verifying = common.key_operations.as_ref().is_none_or(|ops| ops.contains(&KeyOperations::Verify));
    let for_this = common.key_algorithm.is_none_or(|named| named == algorithm.jws().into());
    if !(for_signatures && for_verifying && for_this) {
        return Err(Misfit::Kind);
    }
    let octets = |text: &str| BASE64URL.decode(text).map_err(|_| Misfit::Kind);
    let are = |length, text: &str| octets(text).is_ok_and(|octets| octets.len() == length);
    let key = match (algorithm.wants(), &jwk.algorithm) {
        (wanted @ KeyKind::Secret { .. }, AlgorithmParameters::OctetKey(key)) => {
            return secret_key(wanted, &octets(&key.value)?);
        }
        (KeyKind::Rsa, AlgorithmParameters::RSA(key)) => {
            let (n, e) = (octets(&key.n)?, octets(&key.e)?);
            match bits(&n) {
                // More are beyond the implementation.
                2048..=4096 => DecodingKey::from_rsa_raw_components(&n, &e),
                bits => return Err(Misfit::RsaBits(bits)),
            }
        }
        (KeyKind::P256, AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters { curve, x, y, .. }))
            if *curve == EllipticCurve::P256 && are(32, x) && are(32, y) =>
        {
            DecodingKey::from_ec_components(x, y).map_err(|_| Misfit::Kind)?
        }
        (KeyKind::P384, AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters { curve, x, y, .. }))
            if *curve == EllipticCurve::P384 && are(48, x) && are(48, y) =>
        {
            DecodingKey::from_ec_components(x, y).map_err(|_| Misfit::Kind)?
        }
        (KeyKind::Ed25519, AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters { curve, x, .. }))
            if *curve == EllipticCurve::Ed25519 && are(32, x) =>
        {
            DecodingKey::from_ed_components(x).map_err(|_| Misfit::Kind)?
        }
        _ => return Err(Misfit::Kind),
    };
    // A point that is not on the curve is found out here.
    (DEFAULT_PROVIDER.verifier_factory)(&algorithm.jws(), &key).map_err(|_| Misfit::Kind)?;
    Ok(key)
}

/// How many binary digits a number has, whose octets are given from the highest.
fn bits(number: &[u8]) -> usize {
    let leading = number.iter().take_while(|octet| **octet == 0).count();
    let highest = number.get(leading).map_or(0, |octet| octet.leading_zeros() as usize);
    (number.len() - leading) * 8 - highest
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;

    #[test]
    fn bits_are_counted_from_the_first_one() {
        let rows: [(&[u8], usize); 7] =
            [(&[], 0), (&[0], 0), (&[1], 1), (&[0x80], 8), (&[1, 0], 9), (&[0, 0, 3, 255], 10), (&[255; 256], 2048)];
        for (octets, expected) in rows {
            assert_eq!(bits(octets), expected, "{octets:?}");
        }
    }

    #[test]
    fn a_key_is_for_the_algorithm_it_was_made_for() {
        let secret = [7; 64];
        for algorithm in Algorithm::ALL {
            let is_secret = matches!(algorithm.wants(), KeyKind::Secret { .. });
            assert_eq!(Key::secret(algorithm, &secret).is_ok(), is_secret, "{algorithm:?}");
            assert!(Key::pem(algorithm, "-----BEGIN PUBLIC KEY-----").is_err(), "{algorithm:?}");
        }
        assert_eq!(Key::secret(Algorithm::Hs384, &secret[..47]).err(), Some(Misfit::Short(48)));
        assert!(Key::secret(Algorithm::Hs384, &secret[..48]).is_ok());
    }

    proptest! {
        /// Keys come from the machine's owner, who may still name the wrong file.
        #[test]
        fn no_file_panics(text in "\\PC{0,80}", der: Vec<u8>, prefix in 0..4usize) {
            let prefixes: [&[u8]; 4] = [
                b"",
                b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00",
                b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00",
                b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x03\x05\x00",
            ];
            let der = BASE64_STANDARD.encode([prefixes[prefix], &der].concat());
            let quoted = serde_json::to_string(&text).expect("a text is JSON");
            let pems = ["PUBLIC KEY", "RSA PUBLIC KEY"]
                .map(|label| format!("-----BEGIN {label}-----\n{der}\n-----END {label}-----\n"));
            let sets = ["oct", "RSA", "EC", "OKP", "?"].map(|kty| {
                let members = ["k", "n", "e", "x", "y", "kid"].map(|name| format!("\"{name}\":{quoted}")).join(",");
                let curves = ["P-256", "P-384", "Ed25519"]
                    .map(|curve| format!("{{\"kty\":\"{kty}\",\"crv\":\"{curve}\",{members}}}"));
                format!("{{\"keys\":[{}]}}", curves.join(","))
            });
            for algorithm in Algorithm::ALL {
                // Whether it fits does not matter here.
                let _ = Key::secret(algorithm, text.as_bytes());
                let _ = (Key::pem(algorithm, &text), Key::set(algorithm, &text));
                for text in pems.iter().chain(&sets) {
                    let _ = (Key::pem(algorithm, text), Key::set(algorithm, text));
                }
            }
        }
    }
}
