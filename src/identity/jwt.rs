//! A JSON Web Token (RFC 7519, RFC 7515) that proves who its bearer is, so that the bearer may be answered with what the
//! origin said to another of the same tenant, say.
//!
//! Only the signature is left to an implementation. Header and claims are read here, so strictly that a token has one
//! reading: where this reading and the origin's could differ, somebody could be one tenant here and another there.
//! Whatever is refused loses nothing but sharing; the origin still hears and answers it.
//!
//! A token without `exp` is refused too. It never ends by itself, and what is stored is used for its bearer only while
//! the token lives.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::clock::Timestamp;
use crate::field::Fields;
use crate::policy::jwt::Algorithm;
use crate::policy::{Credential, Jwt};

#[cfg(test)]
mod tests;

/// The longest token that is looked at, in octets.
const LONGEST: usize = 16 << 10;

/// Why a request has no token that proves anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// There is no such field or cookie.
    Absent,
    /// There are several of them, and the origin may look at another one.
    Repeated,
    /// `Authorization` of another scheme than `Bearer`.
    Scheme,
    /// Longer than anything that is looked at.
    TooLong,
    /// No token in JWS compact serialization, or one that could be read in two ways.
    Malformed,
    /// It says `crit`: "If any of the listed extension Header Parameters are not understood and supported by the
    /// recipient, then the JWS is invalid" (RFC 7515 §4.1.11), and none is.
    Critical,
    /// `alg` is not the configured one.
    Algorithm,
    /// `kid` names none of the keys, or names none where there is a choice.
    UnknownKey,
    /// The signature is not that of the key.
    Signature,
    /// It never ends by itself.
    NoExpiry,
    /// It has ended (RFC 7519 §4.1.4).
    Expired,
    /// It has not begun (RFC 7519 §4.1.5).
    NotYet,
    /// `iss` is not the configured one.
    Issuer,
    /// `aud` does not name the configured one.
    Audience,
}

/// What a token proved, for as long as it lives. It may be kept: who still presents the same octets need not have their
/// signature checked again, only [the time](Self::holds_at).
#[derive(Clone, PartialEq, Eq)]
pub struct Verified {
    /// Those claims that can tell callers apart, in canonical octets, by name.
    claims: Box<[(String, Vec<u8>)]>,
    /// Wall time in milliseconds, leeway included.
    begins: i64,
    ends: i64,
}

impl Verified {
    /// The value of a top-level claim, as octets that no other value has: the text `"5"` and the number 5 are two.
    /// `None` for what cannot decide who shares: an empty text, a fraction, true and false, null, a list, an object.
    pub fn claim(&self, name: &str) -> Option<Vec<u8>> {
        self.claims.iter().find(|(claim, _)| claim == name).map(|(_, value)| value.clone())
    }

    /// How many bytes it takes in memory.
    pub fn size(&self) -> usize {
        // Two short texts take two allocations.
        const EACH: usize = size_of::<(String, Vec<u8>)>() + 32;
        size_of::<Self>() + self.claims.iter().map(|(name, value)| EACH + name.len() + value.len()).sum::<usize>()
    }

    /// Whether the token lives. `exp` and `nbf` are dates, so wall time decides.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        (self.begins..self.ends).contains(&now.wall_ms)
    }

    /// The first instant at which it no longer lives, as wall time in milliseconds, leeway included.
    pub fn expires(&self) -> i64 {
        self.ends
    }
}

impl fmt::Debug for Verified {
    /// Claims are about people; their names are enough for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claims: Vec<&String> = self.claims.iter().map(|(name, _)| name).collect();
        f.debug_struct("Verified").field("claims", &claims).field("ends", &self.ends).finish_non_exhaustive()
    }
}

/// Verifies tokens as `[identity.jwt]` says.
#[derive(Clone, Debug)]
pub struct Verifier {
    jwt: Jwt,
}

impl Verifier {
    /// Nothing can be wrong with a key any more: the policy holds only those that fit.
    pub fn new(jwt: &Jwt) -> Self {
        Verifier { jwt: jwt.clone() }
    }

    /// Where the token stands.
    pub fn from(&self) -> &Credential {
        &self.jwt.from
    }

    /// What the token among these fields proves at `now`.
    ///
    /// # Errors
    /// Why it proves nothing.
    pub fn verify(&self, fields: &Fields, now: Timestamp) -> Result<Verified, Rejected> {
        let token = self.token(fields)?;
        let (signed, signature) = token.rsplit_once('.').ok_or(Rejected::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Rejected::Malformed)?;
        if payload.contains('.') {
            return Err(Rejected::Malformed);
        }
        let key = self.key(&members(header)?)?;
        if !is_signed(self.jwt.algorithm, key, signed, &decoded(signature)?) {
            return Err(Rejected::Signature);
        }
        self.living(members(payload)?, now)
    }

    /// The token itself: the only line of its field, or the only cookie of its name. Two could be read as either.
    fn token<'f>(&'f self, fields: &'f Fields) -> Result<&'f str, Rejected> {
        let token = match &self.jwt.from {
            Credential::Field(name) if name == "authorization" => bearer(only(fields.get_all(name))?)?,
            Credential::Field(name) => only(fields.get_alike(name))?,
            Credential::Cookie(name) => only(fields.get_all("cookie").flat_map(|line| super::cookies(line, name)))?,
        };
        if token.len() > LONGEST {
            return Err(Rejected::TooLong);
        }
        std::str::from_utf8(token).map_err(|_| Rejected::Malformed)
    }

    /// The configured key that the header names. Nothing else in a header is asked: not where a key could be fetched
    /// (`jku`, `x5u`), nor which key it brings along itself (`jwk`, `x5c`).
    fn key(&self, header: &Members) -> Result<&DecodingKey, Rejected> {
        if header.contains_key("crit") {
            return Err(Rejected::Critical);
        }
        if header.get("alg") != Some(&Value::Text(self.jwt.algorithm.word().to_owned())) {
            return Err(Rejected::Algorithm);
        }
        let id = match header.get("kid") {
            None => None,
            Some(Value::Text(id)) => Some(id.as_str()),
            Some(_) => return Err(Rejected::Malformed),
        };
        self.jwt.key.named(id).ok_or(Rejected::UnknownKey)
    }

    /// What signed claims prove, if they are about now, and about this issuer and audience.
    fn living(&self, claims: Members, now: Timestamp) -> Result<Verified, Rejected> {
        let leeway = i64::try_from(self.jwt.leeway.as_millis()).unwrap_or(i64::MAX);
        let ends = numeric_date(&claims, "exp")?.ok_or(Rejected::NoExpiry)?.saturating_add(leeway);
        let begins = numeric_date(&claims, "nbf")?.map_or(i64::MIN, |begins| begins.saturating_sub(leeway));
        if now.wall_ms >= ends {
            return Err(Rejected::Expired);
        }
        if now.wall_ms < begins {
            return Err(Rejected::NotYet);
        }
        if self.jwt.issuer.as_ref().is_some_and(|issuer| !claims.get("iss").is_some_and(|iss| iss.is(issuer))) {
            return Err(Rejected::Issuer);
        }
        // Where no audience is configured, a token for any will do: what it may be used for is the origin's to say.
        if self.jwt.audience.as_ref().is_some_and(|name| !claims.get("aud").is_some_and(|aud| aud.names(name))) {
            return Err(Rejected::Audience);
        }
        let claims = claims.into_iter().filter_map(|(name, value)| Some((name, value.canonical()?))).collect();
        Ok(Verified { claims, begins, ends })
    }
}

/// Whether the holder of the key, or of its private half, has signed this.
fn is_signed(algorithm: Algorithm, key: &DecodingKey, signed: &str, signature: &[u8]) -> bool {
    let verifier = (DEFAULT_PROVIDER.verifier_factory)(&algorithm.jws(), key);
    verifier.is_ok_and(|verifier| verifier.verify(signed.as_bytes(), &signature.to_vec()).is_ok())
}

/// `credentials = "Bearer" 1*SP b64token` (RFC 6750 §2.1), where the scheme is "case-insensitive" (RFC 9110 §11.1).
fn bearer(value: &[u8]) -> Result<&[u8], Rejected> {
    let (scheme, rest) = value.split_at_checked("Bearer".len()).ok_or(Rejected::Scheme)?;
    if !scheme.eq_ignore_ascii_case(b"Bearer") || rest.first().is_some_and(|b| *b != b' ') {
        return Err(Rejected::Scheme);
    }
    let spaces = rest.iter().take_while(|b| **b == b' ').count();
    Ok(&rest[spaces..])
}

fn only<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<&'a [u8], Rejected> {
    let first = values.next().ok_or(Rejected::Absent)?;
    if values.next().is_some() { Err(Rejected::Repeated) } else { Ok(first) }
}

/// base64url "with all trailing '=' characters omitted" (RFC 7515 §2), and with the unused bits zero, so that octets
/// have one form.
fn decoded(part: &str) -> Result<Vec<u8>, Rejected> {
    BASE64URL.decode(part).map_err(|_| Rejected::Malformed)
}

/// A part that is a JSON object.
fn members(part: &str) -> Result<Members, Rejected> {
    let text = String::from_utf8(decoded(part)?).map_err(|_| Rejected::Malformed)?;
    let Object(members) = serde_json::from_str(&text).map_err(|_| Rejected::Malformed)?;
    Ok(members)
}

/// A NumericDate (RFC 7519 §2), "where non-integer values can be represented", in milliseconds. What is too far away
/// to count counts as the farthest instant.
fn numeric_date(claims: &Members, name: &str) -> Result<Option<i64>, Rejected> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Integer(seconds)) => {
            let farthest = if *seconds < 0 { i64::MIN } else { i64::MAX };
            Ok(Some(i64::try_from(seconds.saturating_mul(1000)).unwrap_or(farthest)))
        }
        // The cast saturates.
        Some(Value::Fraction(seconds)) => Ok(Some((seconds * 1000.0).floor() as i64)),
        Some(_) => Err(Rejected::Malformed),
    }
}

type Members = BTreeMap<String, Value>;

/// A JSON object in which no name stands twice: "JWT parsers MUST either reject JWTs with duplicate Claim Names or use a
/// JSON parser that returns only the lexically last duplicate member name" (RFC 7519 §4), and the origin may do either.
struct Object(Members);

/// A JSON value, as far as anything here asks for it.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    Integer(i128),
    /// Any number that was not written as an integer of 64 bits.
    Fraction(f64),
    List(Vec<Value>),
    /// True, false, null or an object.
    Other,
}

impl Value {
    fn is(&self, text: &str) -> bool {
        matches!(self, Value::Text(own) if own == text)
    }

    /// "An array of case-sensitive strings", or "a single case-sensitive string" (RFC 7519 §4.1.3).
    fn names(&self, audience: &str) -> bool {
        match self {
            Value::List(all) => {
                all.iter().all(|one| matches!(one, Value::Text(_))) && all.iter().any(|one| one.is(audience))
            }
            one => one.is(audience),
        }
    }

    /// The value with its type in front, if it can tell callers apart.
    fn canonical(&self) -> Option<Vec<u8>> {
        match self {
            Value::Text(text) if !text.is_empty() => Some([b"s", text.as_bytes()].concat()),
            Value::Integer(number) => Some(format!("i{number}").into_bytes()),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name stands there twice"));
                    }
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Fraction(number))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }
}
