//! Who is asking: credentials become a [`Caller`], and the origin's acceptance of one is remembered.

pub mod acceptance;
pub mod jwt;

use crate::clock::Timestamp;
use crate::field::Fields;
use crate::policy::Credential;
use hmac::{Hmac, KeyInit, Mac};
use jwt::{Rejected, Verified, Verifier};
use sha2::Sha256;
use std::sync::Arc;

/// A caller, told apart by a keyed hash of its credentials. The key is random per process, so the value says nothing
/// outside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Carries none of the configured credentials.
    Anonymous,
    /// 128 bits of HMAC-SHA-256 over all configured credentials of the request.
    Known([u8; 16]),
}

impl Caller {
    /// The hash, for keys.
    pub fn key(self) -> crate::semantics::request::CallerKey {
        match self {
            Caller::Anonymous => None,
            Caller::Known(hash) => Some(hash),
        }
    }
}

/// What is known of a caller's token.
#[derive(Clone, Debug)]
pub enum Token {
    /// There is none, or it could not be verified: it says nothing.
    Unverified,
    /// Verified, and within its time.
    Live(Arc<Verified>),
    /// Rightly signed, and not in force: too late, or too early.
    Over,
}

/// Who is asking.
#[derive(Clone, Debug)]
pub struct Who {
    pub caller: Caller,
    pub token: Token,
}

impl Who {
    /// What the verified token says of `name`, in octets that tell types apart.
    pub fn claim(&self, name: &str) -> Option<Vec<u8>> {
        match &self.token {
            Token::Live(verified) => verified.claim(name),
            Token::Unverified | Token::Over => None,
        }
    }
}

/// Who was told last on a connection, and by which credentials: most clients send the same ones with each request.
#[derive(Default)]
pub struct Remembered {
    said: Vec<u8>,
    key: [u8; 16],
}

/// Longer credentials are hashed each time: what a connection holds while it is idle stays small.
const MOST_REMEMBERED: usize = 4096;

/// Bytes of tokens that are known to be rightly signed, some ten thousand; of more, some are forgotten and verified again.
const TOKENS: u64 = 8 << 20;

/// What moka adds to an entry, measured and rounded up.
const OVERHEAD: usize = 320;

/// Turns requests into callers.
pub struct Identity {
    keyed: Hmac<Sha256>,
    credentials: Vec<Credential>,
    verifier: Option<Verifier>,
    verified: moka::sync::Cache<[u8; 16], Arc<Verified>>,
}

impl Identity {
    /// `key` must be random and secret: with a known key a hash could be searched for its credential.
    pub fn new(key: [u8; 32], credentials: Vec<Credential>, verifier: Option<Verifier>) -> Self {
        let keyed = Hmac::new_from_slice(&key).expect("HMAC takes a key of any length");
        let weight = |_: &[u8; 16], token: &Arc<Verified>| u32::try_from(OVERHEAD + token.size()).unwrap_or(u32::MAX);
        let verified = moka::sync::Cache::builder().max_capacity(TOKENS).weigher(weight).build();
        Identity { keyed, credentials, verifier, verified }
    }

    /// What tells callers apart.
    pub fn credentials(&self) -> &[Credential] {
        &self.credentials
    }

    /// A number that tells this process from others, out of the key and of nothing that a caller could send.
    pub fn number(&self) -> u32 {
        let hash = self.keyed.clone().chain_update(b"process").finalize().into_bytes();
        u32::from_be_bytes(hash[..4].try_into().expect("SHA-256 gives 32 bytes"))
    }

    /// Who sends these fields, and what their token says at `now`. A signature is verified once; its token's time is
    /// looked at each time.
    pub fn who(&self, fields: &Fields, now: Timestamp, remembered: &mut Remembered) -> Who {
        let caller = self.told_again(fields, remembered);
        let token = match (&self.verifier, caller) {
            (Some(verifier), Caller::Known(key)) => match self.token(verifier, key, fields, now) {
                // The origin may go by another credential that came along, of which nothing is verified.
                Token::Live(_) if self.others_beside(verifier, fields) => Token::Unverified,
                token => token,
            },
            _ => Token::Unverified,
        };
        Who { caller, token }
    }

    /// Whether a credential came besides the token's.
    fn others_beside(&self, verifier: &Verifier, fields: &Fields) -> bool {
        let another = |credential: &Credential| match (credential, verifier.from()) {
            // Where every cookie tells callers apart, each but the token's own is a credential.
            (Credential::Field(name), Credential::Cookie(token)) if name.eq_ignore_ascii_case("cookie") => {
                fields.get_all("cookie").any(|line| has_another_cookie(line, token))
            }
            (credential, from) if credential == from => false,
            (Credential::Field(name), _) => fields.get_alike(name).next().is_some(),
            (Credential::Cookie(name), _) => fields.get_all("cookie").any(|line| cookies(line, name).next().is_some()),
        };
        self.credentials.iter().any(another)
    }

    fn token(&self, verifier: &Verifier, caller: [u8; 16], fields: &Fields, now: Timestamp) -> Token {
        if let Some(verified) = self.verified.get(&caller) {
            return if verified.holds_at(now) { Token::Live(verified) } else { Token::Over };
        }
        match verifier.verify(fields, now) {
            Ok(verified) => {
                let verified = Arc::new(verified);
                self.verified.insert(caller, verified.clone());
                Token::Live(verified)
            }
            Err(Rejected::Expired | Rejected::NotYet) => Token::Over,
            Err(_) => Token::Unverified,
        }
    }

    /// Who sends these fields. Every line of every credential counts, in order, each after its length, so that no two
    /// different sets of credentials make one caller.
    pub fn caller(&self, fields: &Fields) -> Caller {
        self.told_again(fields, &mut Remembered::default())
    }

    /// The same, without the hash where the credentials are those that were told last.
    fn told_again(&self, fields: &Fields, remembered: &mut Remembered) -> Caller {
        let said = self.said(fields);
        if said.is_empty() {
            return Caller::Anonymous;
        }
        if said != remembered.said {
            let hash = self.keyed.clone().chain_update(&said).finalize().into_bytes();
            let key = hash[..16].try_into().expect("SHA-256 gives 32 bytes");
            if said.len() > MOST_REMEMBERED {
                return Caller::Known(key);
            }
            *remembered = Remembered { said, key };
        }
        Caller::Known(remembered.key)
    }

    /// The credentials among these fields, in octets that tell any two sets apart.
    fn said(&self, fields: &Fields) -> Vec<u8> {
        let mut said = Vec::new();
        for (index, credential) in self.credentials.iter().enumerate() {
            let mut add = |value: &[u8]| {
                said.extend_from_slice(&(index as u64).to_be_bytes());
                said.extend_from_slice(&(value.len() as u64).to_be_bytes());
                said.extend_from_slice(value);
            };
            match credential {
                Credential::Field(name) => fields.get_alike(name).for_each(&mut add),
                Credential::Cookie(name) => {
                    fields.get_all("cookie").flat_map(|line| cookies(line, name)).for_each(&mut add);
                }
            }
        }
        said
    }
}

/// The values of one cookie in a Cookie line (RFC 6265 §4.2.1). White space around the name is no part of it, as most
/// origins read it: else who writes some would be nobody here and somebody there.
fn cookies<'a>(line: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    line.split(|b| *b == b';').filter_map(move |pair| {
        let equals = pair.iter().position(|b| *b == b'=')?;
        (pair[..equals].trim_ascii() == name.as_bytes()).then_some(&pair[equals + 1..])
    })
}

/// Whether anything but the one cookie stands in a Cookie line.
fn has_another_cookie(line: &[u8], name: &str) -> bool {
    let named = |pair: &[u8]| pair.split(|b| *b == b'=').next().map(<[u8]>::trim_ascii) == Some(name.as_bytes());
    line.split(|b| *b == b';').any(|pair| !pair.trim_ascii().is_empty() && !named(pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(credentials: &[&str]) -> Identity {
        let credentials = credentials
            .iter()
            .map(|text| match text.strip_prefix("cookie:") {
                Some(name) => Credential::Cookie(name.into()),
                None => Credential::Field((*text).into()),
            })
            .collect();
        Identity::new([7; 32], credentials, None)
    }

    fn fields(lines: &[(&'static str, &'static str)]) -> Fields {
        lines.iter().copied().collect()
    }

    #[test]
    fn no_credential_is_the_anonymous_caller() {
        let identity = identity(&["authorization", "cookie:session"]);
        assert_eq!(identity.caller(&fields(&[("Accept", "x"), ("Cookie", "theme=dark")])), Caller::Anonymous);
    }

    #[test]
    fn a_credential_is_one_in_each_spelling_that_an_origin_may_read_as_its_name() {
        let identity = identity(&["x-api-key"]);
        let caller = |name: &'static str, value| identity.caller(&fields(&[(name, value)]));
        assert_eq!(caller("X_Api_Key", "a"), caller("X-Api-Key", "a"));
        assert_ne!(caller("X_API_KEY", "a"), caller("X_API_KEY", "b"));
    }

    #[test]
    fn different_sets_of_credentials_are_different_callers() {
        let identity = identity(&["authorization", "x-api-key", "cookie:session"]);
        let sets: &[&[(&str, &str)]] = &[
            &[("Authorization", "ab")],
            &[("Authorization", "a"), ("Authorization", "b")],
            &[("Authorization", "b"), ("Authorization", "a")],
            &[("X-Api-Key", "ab")],
            &[("Authorization", "a"), ("X-Api-Key", "b")],
            &[("Cookie", "session=ab")],
            &[("Cookie", "session=a; session=b")],
            &[("Authorization", "")],
        ];
        for (i, a) in sets.iter().enumerate() {
            for (j, b) in sets.iter().enumerate() {
                assert_eq!(identity.caller(&fields(a)) == identity.caller(&fields(b)), i == j, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn who_was_told_last_is_told_again_and_nobody_else() {
        let identity = identity(&["authorization", "x-api-key"]);
        let mut remembered = Remembered::default();
        let long: &'static str = "a".repeat(MOST_REMEMBERED).leak();
        let sets: [&[(&str, &str)]; 6] = [
            &[("Authorization", "a")],
            &[("Authorization", long)],
            &[],
            &[("X-Api-Key", "a")],
            &[("Authorization", "b")],
            &[("Authorization", "a"), ("X-Api-Key", "a")],
        ];
        for set in sets.iter().flat_map(|set| [set, set]) {
            let fields = fields(set);
            assert_eq!(identity.told_again(&fields, &mut remembered), identity.caller(&fields), "{set:?}");
            assert!(remembered.said.len() <= MOST_REMEMBERED);
        }
    }

    #[test]
    fn a_narrowed_cookie_leaves_the_others_out() {
        let identity = identity(&["cookie:session"]);
        let plain = identity.caller(&fields(&[("Cookie", "session=1")]));
        assert_eq!(plain, identity.caller(&fields(&[("cookie", "theme=dark; session=1; x=y")])));
        assert_ne!(plain, identity.caller(&fields(&[("cookie", "xsession=1; session=2")])));
    }

    #[test]
    fn beside_the_token_s_cookie_every_other_cookie_is_a_credential() {
        let another = |line: &[u8]| has_another_cookie(line, "token");
        assert!(!another(b"token=1") && !another(b" token =1; ") && !another(b"token=1;token=2"));
        assert!(another(b"token=1; session=2") && another(b"tokens=1") && another(b"nameless; token=1"));
    }
}
