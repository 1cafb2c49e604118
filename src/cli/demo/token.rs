//! The tokens of the sample API: JSON Web Tokens signed with HS256 (RFC 7519, RFC 7515), no more of them than it needs.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Who a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The cashier.
    pub sub: String,
    /// The shop.
    pub tenant_id: String,
    /// When the token ends: seconds since 1970 (RFC 7519 §4.1.4).
    pub exp: i64,
}

/// `claims` in JWS compact serialization (RFC 7515 §3.1).
pub fn sign(claims: &Claims, secret: &[u8]) -> String {
    let header = BASE64URL.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let payload = BASE64URL.encode(serde_json::to_vec(claims).expect("claims are text and a number"));
    let signed = format!("{header}.{payload}");
    let signature = BASE64URL.encode(keyed(&signed, secret).finalize().into_bytes());
    format!("{signed}.{signature}")
}

/// The claims of `token`, if it was signed with `secret`. Only HS256 is understood, whatever the header asks for.
pub fn verify(token: &str, secret: &[u8]) -> Option<Claims> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    let signature = BASE64URL.decode(signature).ok()?;
    keyed(signed, secret).verify_slice(&signature).ok()?;

    #[derive(Deserialize)]
    struct Header {
        alg: String,
    }
    let header: Header = serde_json::from_slice(&BASE64URL.decode(header).ok()?).ok()?;
    (header.alg == "HS256").then_some(())?;
    serde_json::from_slice(&BASE64URL.decode(payload).ok()?).ok()
}

fn keyed(signed: &str, secret: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(signed.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> Claims {
        Claims { sub: "ann".into(), tenant_id: "shop-1".into(), exp: 2_000_000_000 }
    }

    #[test]
    fn what_was_signed_is_verified() {
        assert_eq!(verify(&sign(&ann(), b"secret"), b"secret"), Some(ann()));
    }

    #[test]
    fn the_signature_is_that_of_rfc_7515() {
        // RFC 7515 appendix A.1: header, payload and key as given there; its claims are not ours, its signature is.
        let signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                      eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let key = BASE64URL
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .expect("the key of the appendix is base64url");
        let signature = BASE64URL.encode(keyed(signed, &key).finalize().into_bytes());
        assert_eq!(signature, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[track_caller]
    fn check_refused(token: &str) {
        assert_eq!(verify(token, b"secret"), None, "{token}");
    }

    #[test]
    fn anything_else_is_refused() {
        let good = sign(&ann(), b"secret");
        let (signed, signature) = good.rsplit_once('.').expect("a token has three parts");
        let (header, payload) = signed.split_once('.').expect("a token has three parts");
        let other = BASE64URL.encode(r#"{"sub":"eve","tenant_id":"shop-1"}"#);
        let none = BASE64URL.encode(r#"{"alg":"none"}"#);

        check_refused("");
        check_refused("a.b.c");
        check_refused(&sign(&ann(), b"another secret"));
        check_refused(&format!("{header}.{other}.{signature}"));
        check_refused(&format!("{none}.{payload}."));
        let unsigned = format!("{none}.{payload}");
        let signature = BASE64URL.encode(keyed(&unsigned, b"secret").finalize().into_bytes());
        check_refused(&format!("{unsigned}.{signature}"));
    }
}
