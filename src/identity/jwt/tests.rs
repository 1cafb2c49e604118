//! Tokens, good and forged, as rows. They are signed by `ring`, which is not what verifies them.

use super::*;
use crate::identity::{Identity, Token};
use crate::policy::jwt::Key;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use ring::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair};
use ring::{hmac, rand, rsa, signature};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// 2023-11-14T22:13:20Z; the boot clock has no part in dates.
const NOW: Timestamp = at(1_700_000_000_000);
const SECRET: &[u8] = b"sixty-four octets that nobody else knows, since HS512 wants 64..";
const GOOD: &str = r#"{"sub":"ann","tenant":"shop-1","exp":1700000060}"#;
const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

const fn at(wall_ms: i64) -> Timestamp {
    Timestamp { wall_ms, boot_ms: 7 }
}

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// Somebody who signs with one algorithm, by an implementation that is not the one under test, and the public half.
struct Signer {
    algorithm: Algorithm,
    sign: Sign,
    key: Key,
    /// The same key in a JWK.
    jwk: String,
}

impl Signer {
    fn token(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
        let signature = BASE64URL.encode((self.sign)(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// A good token with the header that goes with it.
    fn good(&self) -> String {
        self.token(&format!(r#"{{"alg":"{}"}}"#, self.algorithm.word()), GOOD)
    }

    fn verifier(&self) -> Verifier {
        Verifier::new(&jwt(self.algorithm, self.key.clone()))
    }

    /// Verifies by this signer's key out of a JWK set of all of them.
    fn verifier_by_set(&self, keys: &str) -> Verifier {
        let key = Key::set(self.algorithm, &format!(r#"{{"keys":[{keys}]}}"#)).expect("a key in it fits");
        Verifier::new(&jwt(self.algorithm, key))
    }
}

fn jwt(algorithm: Algorithm, key: Key) -> Jwt {
    let from = Credential::Field("authorization".into());
    let (source, leeway) = ("env:KEY".to_owned(), Duration::ZERO);
    Jwt { algorithm, key, source, issuer: None, audience: None, leeway, from }
}

fn hs256_policy() -> Jwt {
    jwt(Algorithm::Hs256, Key::secret(Algorithm::Hs256, SECRET).expect("it is long enough"))
}

fn hs256() -> Verifier {
    Verifier::new(&hs256_policy())
}

/// A token signed with HS256 and the right secret, whatever it says.
fn signed(header: &str, claims: &str) -> String {
    signer(Algorithm::Hs256).token(header, claims)
}

fn fields(token: &str) -> Fields {
    [("Authorization", format!("Bearer {token}"))].into_iter().collect()
}

fn outcome(verifier: &Verifier, token: &str) -> Result<(), Rejected> {
    verifier.verify(&fields(token), NOW).map(|_| ())
}

#[track_caller]
fn check(verifier: &Verifier, token: &str, expected: Result<(), Rejected>) {
    assert_eq!(outcome(verifier, token), expected, "{token}");
}

/// What claims come to that are signed well.
#[track_caller]
fn check_claims(claims: &str, expected: Result<(), Rejected>) {
    assert_eq!(outcome(&hs256(), &signed(HS256, claims)), expected, "{claims}");
}

// --- keys -----------------------------------------------------------------------------------------------------------

// RFC 7515 appendices A.2 and A.3, RFC 8037 appendix A.1: keys that are secret no more.
const RSA_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const RSA_D: &str = "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ";
const RSA_P: &str = "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc";
const RSA_Q: &str = "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc";
const RSA_DP: &str = "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0";
const RSA_DQ: &str = "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU";
const RSA_QI: &str = "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U";
const EC_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const EC_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
const EC_D: &str = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
const ED_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const ED_D: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

static SIGNERS: LazyLock<Vec<Signer>> = LazyLock::new(|| {
    let mut signers = Vec::new();
    for (algorithm, with, octets) in [
        (Algorithm::Hs256, hmac::HMAC_SHA256, 32),
        (Algorithm::Hs384, hmac::HMAC_SHA384, 48),
        (Algorithm::Hs512, hmac::HMAC_SHA512, 64),
    ] {
        // HS256 takes the longer secret of the tests; the others take what they want at least.
        let secret = if octets == 32 { SECRET } else { &SECRET[..octets] };
        let key = hmac::Key::new(with, secret);
        signers.push(Signer {
            algorithm,
            sign: Box::new(move |text| hmac::sign(&key, text).as_ref().to_vec()),
            key: Key::secret(algorithm, secret).expect("it is long enough"),
            jwk: format!(
                r#"{{"kty":"oct","kid":"{0}","alg":"{0}","k":"{1}"}}"#,
                algorithm.word(),
                BASE64URL.encode(secret)
            ),
        });
    }
    let rsa: [(_, &'static dyn RsaEncoding); 6] = [
        (Algorithm::Rs256, &signature::RSA_PKCS1_SHA256),
        (Algorithm::Rs384, &signature::RSA_PKCS1_SHA384),
        (Algorithm::Rs512, &signature::RSA_PKCS1_SHA512),
        (Algorithm::Ps256, &signature::RSA_PSS_SHA256),
        (Algorithm::Ps384, &signature::RSA_PSS_SHA384),
        (Algorithm::Ps512, &signature::RSA_PSS_SHA512),
    ];
    signers.extend(rsa.into_iter().map(|(algorithm, encoding)| rsa_signer(algorithm, encoding)));
    signers.push(p256_signer());
    signers.push(p384_signer());
    signers.push(ed25519_signer());
    signers
});

fn signer(algorithm: Algorithm) -> &'static Signer {
    SIGNERS.iter().find(|signer| signer.algorithm == algorithm).expect("each algorithm has one")
}

fn octets(text: &str) -> Vec<u8> {
    BASE64URL.decode(text).expect("the RFCs write base64url")
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("base64")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A SubjectPublicKeyInfo: what stands before the key itself is the same for each key of a kind.
fn public_key(before: &[u8], key: &[u8]) -> String {
    pem("PUBLIC KEY", &[before, key].concat())
}

fn rsa_pair() -> RsaKeyPair {
    let public_key = rsa::PublicKeyComponents { n: octets(RSA_N), e: vec![1, 0, 1] };
    let components = rsa::KeyPairComponents {
        public_key,
        d: octets(RSA_D),
        p: octets(RSA_P),
        q: octets(RSA_Q),
        dP: octets(RSA_DP),
        dQ: octets(RSA_DQ),
        qInv: octets(RSA_QI),
    };
    RsaKeyPair::from_components(&components).expect("the key of RFC 7515 is sound")
}

/// As in `openssl rsa -RSAPublicKey_out`.
fn rsa_pem() -> String {
    pem("RSA PUBLIC KEY", rsa_pair().public_key().as_ref())
}

fn rsa_signer(algorithm: Algorithm, encoding: &'static dyn RsaEncoding) -> Signer {
    let pair = rsa_pair();
    let sign = move |text: &[u8]| {
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(encoding, &rand::SystemRandom::new(), text, &mut signature).expect("the key is long enough");
        signature
    };
    Signer {
        algorithm,
        sign: Box::new(sign),
        key: Key::pem(algorithm, &rsa_pem()).expect("an RSA key"),
        jwk: format!(r#"{{"kty":"RSA","kid":"{0}","alg":"{0}","n":"{RSA_N}","e":"AQAB"}}"#, algorithm.word()),
    }
}

const P256: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const P384: &[u8] = b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00";
const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
const RSA: &[u8] = b"\x30\x82\x01\x22\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x03\x82\x01\x0f\x00";

fn p256_signer() -> Signer {
    let point = [vec![4], octets(EC_X), octets(EC_Y)].concat();
    let (with, random) = (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, rand::SystemRandom::new());
    let pair = EcdsaKeyPair::from_private_key_and_public_key(with, &octets(EC_D), &point, &random);
    let pair = pair.expect("the key of RFC 7515 is sound");
    ecdsa_signer(Algorithm::Es256, "P-256", P256, pair)
}

/// One whose key nobody was told.
fn another_p256_signer() -> Signer {
    let (with, random) = (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, rand::SystemRandom::new());
    let made = EcdsaKeyPair::generate_pkcs8(with, &random).expect("a key can be made");
    let pair = EcdsaKeyPair::from_pkcs8(with, made.as_ref(), &random).expect("it was just made");
    ecdsa_signer(Algorithm::Es256, "P-256", P256, pair)
}

fn p384_signer() -> Signer {
    let (with, random) = (&signature::ECDSA_P384_SHA384_FIXED_SIGNING, rand::SystemRandom::new());
    let made = EcdsaKeyPair::generate_pkcs8(with, &random).expect("a key can be made");
    let pair = EcdsaKeyPair::from_pkcs8(with, made.as_ref(), &random).expect("it was just made");
    ecdsa_signer(Algorithm::Es384, "P-384", P384, pair)
}

fn ecdsa_signer(algorithm: Algorithm, curve: &str, before: &[u8], pair: EcdsaKeyPair) -> Signer {
    let point = pair.public_key().as_ref().to_vec();
    let (x, y) = point[1..].split_at(point.len() / 2);
    let (x, y) = (BASE64URL.encode(x), BASE64URL.encode(y));
    Signer {
        algorithm,
        key: Key::pem(algorithm, &public_key(before, &point)).expect("a key on that curve"),
        jwk: format!(r#"{{"kty":"EC","crv":"{curve}","use":"sig","kid":"{}","x":"{x}","y":"{y}"}}"#, algorithm.word()),
        sign: Box::new(move |text| {
            pair.sign(&rand::SystemRandom::new(), text).expect("there is randomness").as_ref().to_vec()
        }),
    }
}

fn ed25519_signer() -> Signer {
    let pair = Ed25519KeyPair::from_seed_and_public_key(&octets(ED_D), &octets(ED_X));
    let pair = pair.expect("the key of RFC 8037 is sound");
    let algorithm = Algorithm::EdDsa;
    Signer {
        algorithm,
        sign: Box::new(move |text| pair.sign(text).as_ref().to_vec()),
        key: Key::pem(algorithm, &public_key(ED25519, &octets(ED_X))).expect("an Ed25519 key"),
        jwk: format!(
            r#"{{"kty":"OKP","crv":"Ed25519","kid":"{}","key_ops":["verify"],"x":"{ED_X}"}}"#,
            algorithm.word()
        ),
    }
}

fn every_jwk() -> String {
    SIGNERS.iter().map(|signer| signer.jwk.as_str()).collect::<Vec<_>>().join(",")
}

// --- signatures -----------------------------------------------------------------------------------------------------

#[test]
fn the_examples_of_the_rfcs_verify() {
    // RFC 7515 appendices A.1, A.2 and A.3: "joe", until 1300819380.
    let claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let secret = octets("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow");
    let hs256 = jwt(Algorithm::Hs256, Key::secret(Algorithm::Hs256, &secret).expect("64 octets"));
    let rows = [
        (
            Verifier::new(&hs256),
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            signer(Algorithm::Rs256).verifier(),
            "eyJhbGciOiJSUzI1NiJ9",
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            signer(Algorithm::Es256).verifier(),
            "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
    ];
    for (verifier, header, signature) in rows {
        let fields = fields(&format!("{header}.{claims}.{signature}"));
        let verified = verifier.verify(&fields, at(1_300_819_379_999)).expect("the RFC signed it");
        assert_eq!(verified.claim("iss").as_deref(), Some(&b"sjoe"[..]));
        assert_eq!(verified.claim("http://example.com/is_root"), None);
        assert_eq!(verified.expires(), 1_300_819_380_000);
        assert_eq!(verifier.verify(&fields, at(1_300_819_380_000)), Err(Rejected::Expired));
    }
    // RFC 8037 appendix A.4 signs a text that holds no claims.
    let eddsa = signer(Algorithm::EdDsa).verifier();
    let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    check(&eddsa, &format!("{signed}.{signature}"), Err(Rejected::Malformed));
    check(&eddsa, &format!("{signed}.{}", signature.replace("hgyY", "hgyX")), Err(Rejected::Signature));
}

#[test]
fn each_algorithm_takes_its_own_tokens_and_no_others() {
    assert_eq!(SIGNERS.iter().map(|signer| signer.algorithm).collect::<Vec<_>>(), Algorithm::ALL);
    for mine in SIGNERS.iter() {
        let verifier = mine.verifier();
        check(&verifier, &mine.good(), Ok(()));
        for other in SIGNERS.iter().filter(|other| other.algorithm != mine.algorithm) {
            check(&verifier, &other.good(), Err(Rejected::Algorithm));
            let mislabelled = other.token(&format!(r#"{{"alg":"{}"}}"#, mine.algorithm.word()), GOOD);
            check(&verifier, &mislabelled, Err(Rejected::Signature));
        }
    }
}

#[test]
fn a_jwk_set_gives_the_key_that_the_token_names() {
    for mine in SIGNERS.iter() {
        let verifier = mine.verifier_by_set(&every_jwk());
        let word = mine.algorithm.word();
        check(&verifier, &mine.token(&format!(r#"{{"alg":"{word}","kid":"{word}"}}"#), GOOD), Ok(()));
        // Those of other kinds, of other algorithms and of other curves do not fit, so that one is left without a name.
        check(&verifier, &mine.good(), Ok(()));
    }
}

#[test]
fn where_there_is_a_choice_a_token_names_its_key() {
    let (mine, other) = (signer(Algorithm::Es256), another_p256_signer());
    let verifier = mine.verifier_by_set(&format!("{},{}", mine.jwk, other.jwk.replace("ES256", "other")));
    check(&verifier, &mine.good(), Err(Rejected::UnknownKey));
    check(&verifier, &mine.token(r#"{"alg":"ES256","kid":"ES256"}"#, GOOD), Ok(()));
    check(&verifier, &other.token(r#"{"alg":"ES256","kid":"other"}"#, GOOD), Ok(()));
    check(&verifier, &other.token(r#"{"alg":"ES256","kid":"ES256"}"#, GOOD), Err(Rejected::Signature));
    check(&verifier, &mine.token(r#"{"alg":"ES256","kid":"other"}"#, GOOD), Err(Rejected::Signature));
}

#[test]
fn a_kid_names_a_key_that_fits_or_none() {
    let es256 = signer(Algorithm::Es256);
    let verifier = es256.verifier_by_set(&every_jwk());
    for kid in [
        "",
        "es256",
        "ES256 ",
        "ES256\\u0000",
        "RS256",
        "HS256",
        "EdDSA",
        "0",
        "../../../../dev/null",
        "/etc/passwd",
        "https://evil.example/jwks.json",
        "' OR '1'='1",
        "*",
    ] {
        let token = es256.token(&format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#), GOOD);
        check(&verifier, &token, Err(Rejected::UnknownKey));
    }
    for kid in ["null", "5", "[\"ES256\"]", "{}", "true"] {
        check(&verifier, &es256.token(&format!(r#"{{"alg":"ES256","kid":{kid}}}"#), GOOD), Err(Rejected::Malformed));
    }
    // The name may be written with escapes, which mean the same.
    check(&verifier, &es256.token(r#"{"alg":"ES256","kid":"E\u0053256"}"#, GOOD), Ok(()));
    // Another's signature under the right name.
    let forged = signer(Algorithm::EdDsa).token(r#"{"alg":"ES256","kid":"ES256"}"#, GOOD);
    check(&verifier, &forged, Err(Rejected::Signature));
    // A single configured key is nobody's choice: its tokens may call it what they like.
    check(&es256.verifier(), &es256.token(r#"{"alg":"ES256","kid":"../../x"}"#, GOOD), Ok(()));
}

#[test]
fn a_token_that_nobody_signed_is_refused() {
    let claims = BASE64URL.encode(GOOD);
    let (_, signature) = signer(Algorithm::Hs256).good().rsplit_once('.').map(own).expect("three parts");
    for none in ["none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "HS512", "RS256", "ES256", "Ed25519"] {
        let header = format!(r#"{{"alg":"{none}"}}"#);
        let unsigned = format!("{}.{claims}", BASE64URL.encode(&header));
        for verifier in [hs256(), signer(Algorithm::EdDsa).verifier()] {
            check(&verifier, &format!("{unsigned}."), Err(Rejected::Algorithm));
            check(&verifier, &format!("{unsigned}.{signature}"), Err(Rejected::Algorithm));
            check(&verifier, &signed(&header, GOOD), Err(Rejected::Algorithm));
        }
    }
    for header in ["{}", r#"{"alg":null}"#, r#"{"alg":["HS256"]}"#, r#"{"ALG":"HS256"}"#, r#"{"alg":256}"#] {
        check(&hs256(), &signed(header, GOOD), Err(Rejected::Algorithm));
    }
    for signer in SIGNERS.iter() {
        let good = signer.good();
        let (unsigned, _) = good.rsplit_once('.').expect("three parts");
        check(&signer.verifier(), &format!("{unsigned}."), Err(Rejected::Signature));
    }
}

fn own((a, b): (&str, &str)) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

#[test]
fn a_public_key_is_no_secret() {
    // RFC 8725 §2.1: the attacker has the public key, and signs with it as if it were shared.
    let secrets: Vec<Vec<u8>> = vec![
        rsa_pem().into(),
        rsa_pem().trim_end().into(),
        public_key(RSA, rsa_pair().public_key().as_ref()).into(),
        rsa_pair().public_key().as_ref().to_vec(),
        octets(RSA_N),
        RSA_N.into(),
    ];
    for secret in secrets {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        for alg in ["HS256", "RS256"] {
            let text = format!("{}.{}", BASE64URL.encode(format!(r#"{{"alg":"{alg}"}}"#)), BASE64URL.encode(GOOD));
            let token = format!("{text}.{}", BASE64URL.encode(hmac::sign(&key, text.as_bytes())));
            let rs256 = signer(Algorithm::Rs256);
            let expected = if alg == "HS256" { Rejected::Algorithm } else { Rejected::Signature };
            check(&rs256.verifier(), &token, Err(expected));
            check(&rs256.verifier_by_set(&every_jwk()), &token, Err(expected));
        }
    }
    // Both forms of the public key are the same key.
    let key = Key::pem(Algorithm::Rs256, &public_key(RSA, rsa_pair().public_key().as_ref())).expect("an RSA key");
    check(&Verifier::new(&jwt(Algorithm::Rs256, key)), &signer(Algorithm::Rs256).good(), Ok(()));
}

#[test]
fn a_key_that_the_token_brings_along_is_not_looked_at() {
    let mine = signer(Algorithm::Es256);
    let theirs = another_p256_signer();
    for extra in [
        format!(r#""jwk":{}"#, theirs.jwk),
        r#""jku":"https://evil.example/jwks.json""#.to_owned(),
        r#""x5u":"https://evil.example/cert.pem""#.to_owned(),
        r#""x5c":["MIIB"]"#.to_owned(),
    ] {
        let header = format!(r#"{{"alg":"ES256",{extra}}}"#);
        check(&mine.verifier(), &theirs.token(&header, GOOD), Err(Rejected::Signature));
        check(&mine.verifier(), &mine.token(&header, GOOD), Ok(()));
    }
}

#[test]
fn what_only_looks_like_a_signature_is_refused() {
    for signer in SIGNERS.iter() {
        let good = signer.good();
        let (unsigned, signature) = good.rsplit_once('.').expect("three parts");
        let right = octets(signature);
        let length = right.len();
        let (r, s) = right.split_at(length / 2);
        let wrong: Vec<Vec<u8>> = vec![
            // "Psychic signatures": r = s = 0 once verified for every key and text.
            vec![0; length],
            vec![0xff; length],
            vec![1; length],
            vec![0; length / 2],
            [r, &vec![0; s.len()]].concat(),
            [&vec![0; r.len()], s].concat(),
            [s, r].concat(),
            right[..length - 1].to_vec(),
            right[..1].to_vec(),
            [&right[..], &[0]].concat(),
            [&[0], &right[..]].concat(),
            // As in a certificate (ASN.1), where JWS has the plain numbers (RFC 7518 §3.4).
            [b"\x30\x06\x02\x01\x00\x02\x01\x00".to_vec()].concat(),
        ];
        for wrong in wrong {
            let token = format!("{unsigned}.{}", BASE64URL.encode(wrong));
            check(&signer.verifier(), &token, Err(Rejected::Signature));
        }
    }
}

#[test]
fn another_signs_nothing_that_counts() {
    let other = hmac::Key::new(hmac::HMAC_SHA256, b"another secret that is long enough to be one");
    let text = format!("{}.{}", BASE64URL.encode(HS256), BASE64URL.encode(GOOD));
    let token = format!("{text}.{}", BASE64URL.encode(hmac::sign(&other, text.as_bytes())));
    check(&hs256(), &token, Err(Rejected::Signature));

    let good = signed(HS256, GOOD);
    let (_, signature) = good.rsplit_once('.').expect("three parts");
    let eve = BASE64URL.encode(GOOD.replace("shop-1", "shop-2"));
    check(&hs256(), &format!("{}.{eve}.{signature}", BASE64URL.encode(HS256)), Err(Rejected::Signature));
    // Even a header that says the same is not the header that was signed.
    let header = BASE64URL.encode(r#"{"typ":"JWT","alg":"HS256"}"#);
    check(&hs256(), &format!("{header}.{}.{signature}", BASE64URL.encode(GOOD)), Err(Rejected::Signature));
}

// --- form -----------------------------------------------------------------------------------------------------------

#[test]
fn a_token_has_three_parts_and_one_form() {
    let good = signed(HS256, GOOD);
    check(&hs256(), &good, Ok(()));
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three parts") };
    for wrong in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        header.to_owned(),
        format!("{header}.{claims}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{header}..{claims}.{signature}"),
        format!("{header}.{claims}..{signature}"),
        format!("{header}.{claims}.{signature}="),
        format!("{header}=.{claims}.{signature}"),
        format!("{good} "),
        format!("{good}\t"),
        format!("{good}\n"),
        format!("{header}.{claims}.{} {}", &signature[..4], &signature[4..]),
        format!("{good},{good}"),
        format!("{good};x"),
        format!("\"{good}\""),
        format!("Bearer {good}"),
        good.replace('.', "%2E"),
        good.replace('.', "。"),
    ] {
        check(&hs256(), &wrong, Err(Rejected::Malformed));
    }
}

#[test]
fn parts_that_were_signed_in_another_form_are_refused() {
    let signed = |header: &str, claims: &str| {
        let text = format!("{header}.{claims}");
        format!("{text}.{}", BASE64URL.encode((signer(Algorithm::Hs256).sign)(text.as_bytes())))
    };
    // One octet more than a multiple of three, so that there would be padding, and bits that are not used.
    let (header, claims) = (BASE64URL.encode(r#"{"alg":"HS256" }"#), BASE64URL.encode(r#"{"exp":1700000060} "#));
    assert!(header.ends_with("fQ") && claims.ends_with("IA"), "{header} {claims}");
    check(&hs256(), &signed(&header, &claims), Ok(()));
    for (header, claims) in [
        (format!("{header}=="), claims.clone()),
        (header.clone(), format!("{claims}==")),
        (format!("{}R", &header[..header.len() - 1]), claims.clone()),
        (header.clone(), format!("{}B", &claims[..claims.len() - 1])),
        (header.clone(), format!(" {claims}")),
        (header.clone(), format!("{claims}\n")),
        (header.clone(), format!("{}\n{}", &claims[..8], &claims[8..])),
        (header.clone(), format!("{claims}A")),
        (header.clone(), format!("{claims}.")),
        (header.clone(), format!("{claims}.{claims}")),
        (header, String::new()),
    ] {
        check(&hs256(), &signed(&header, &claims), Err(Rejected::Malformed));
    }
}

#[test]
fn base64url_has_one_way_to_write_each_octet() {
    // 32 octets end in a character of which two bits are unused; the decoders that ignore them take four signatures.
    let good = signed(HS256, GOOD);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(&good[good.len() - 1..]).expect("it is base64url");
    for (index, other) in alphabet.char_indices().filter(|(index, _)| *index != last) {
        let token = format!("{}{other}", &good[..good.len() - 1]);
        let unused_bits_set = index % 4 != 0;
        check(&hs256(), &token, Err(if unused_bits_set { Rejected::Malformed } else { Rejected::Signature }));
    }
    // The alphabet is that of URLs.
    let signer = signer(Algorithm::Hs256);
    let token = (0..).map(|n| signer.token(HS256, &format!(r#"{{"exp":1700000060,"n":{n}}}"#)));
    let mut with_both = token.filter(|token| token.contains('-') && token.contains('_'));
    let token = with_both.next().expect("signatures are random");
    check(&hs256(), &token, Ok(()));
    check(&hs256(), &token.replace('-', "+"), Err(Rejected::Malformed));
    check(&hs256(), &token.replace('_', "/"), Err(Rejected::Malformed));
}

#[test]
fn a_huge_token_is_not_looked_at() {
    let filled = |length: usize| {
        let claims = |fill: usize| format!(r#"{{"exp":1700000060,"x":"{}"}}"#, "x".repeat(fill));
        let fill = (0..).find(|fill| signed(HS256, &claims(*fill)).len() >= length).expect("it grows");
        signed(HS256, &claims(fill))
    };
    let near = filled(LONGEST - 1);
    assert!(near.len() <= LONGEST, "{}", near.len());
    check(&hs256(), &near, Ok(()));
    check(
        &hs256(),
        &signed(HS256, &format!(r#"{{"exp":1700000060,"x":"{}"}}"#, "x".repeat(LONGEST))),
        Err(Rejected::TooLong),
    );
    check(&hs256(), &"x".repeat(LONGEST + 1), Err(Rejected::TooLong));
    check(&hs256(), &".".repeat(LONGEST), Err(Rejected::Malformed));
    // Within the length, depth has a limit of its own.
    let deep = format!(r#"{{"exp":1700000060,"x":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    check_claims(&deep, Err(Rejected::Malformed));
}

#[test]
fn header_and_claims_are_json_objects_in_which_each_name_stands_once() {
    for wrong in [
        "",
        "null",
        "[]",
        "5",
        r#""{}""#,
        "{",
        "{}x",
        "{} {}",
        "\u{feff}{}",
        r#"{"exp":1700000060,}"#,
        r#"{'exp':1700000060}"#,
        r#"{exp:1700000060}"#,
        r#"{"exp":1700000060/**/}"#,
        r#"{"exp":1700000060,"exp":1700000060}"#,
        r#"{"exp":1700000060,"exp":9999999999}"#,
        r#"{"exp":1700000060,"\u0065xp":9999999999}"#,
        r#"{"exp":1700000060,"tenant":"a","tenant":"a"}"#,
        r#"{"exp":1700000060,"tenant":"a","tenan\u0074":"b"}"#,
        r#"{"exp":1700000060,"tenant":null,"tenant":"b"}"#,
        r#"{"exp":1700000060,"tenant":"\ud800"}"#,
        "{\"exp\":1700000060,\"tenant\":\"a\nb\"}",
    ] {
        check_claims(wrong, Err(Rejected::Malformed));
    }
    for header in [
        "",
        "[]",
        r#""HS256""#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"HS256","al\u0067":"none"}"#,
        r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
        r#"{"alg":"HS256"}}"#,
    ] {
        check(&hs256(), &signed(header, GOOD), Err(Rejected::Malformed));
    }
    // Octets that are no UTF-8, in a place where nothing looks.
    let claims = BASE64URL.encode(b"{\"exp\":1700000060,\"x\":{\"\xff\":1}}");
    let text = format!("{}.{claims}", BASE64URL.encode(HS256));
    let token = format!("{text}.{}", BASE64URL.encode((signer(Algorithm::Hs256).sign)(text.as_bytes())));
    check(&hs256(), &token, Err(Rejected::Malformed));
    // White space around and within is JSON.
    check_claims(" {\r\n \"exp\" : 1700000060 } ", Ok(()));
}

#[test]
fn what_a_token_calls_critical_is_not_understood() {
    for header in [
        r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":null}"#,
        r#"{"alg":"none","crit":["x"]}"#,
    ] {
        check(&hs256(), &signed(header, GOOD), Err(Rejected::Critical));
    }
    // Without `crit` it is to be ignored (RFC 7515 §4), and changes nothing.
    check(&hs256(), &signed(r#"{"alg":"HS256","b64":false,"zip":"DEF","cty":"JWT"}"#, GOOD), Ok(()));
    let plain = format!("{}.{GOOD}", BASE64URL.encode(r#"{"alg":"HS256","b64":false}"#));
    let token = format!("{plain}.{}", BASE64URL.encode((signer(Algorithm::Hs256).sign)(plain.as_bytes())));
    check(&hs256(), &token, Err(Rejected::Malformed));
}

// --- time -----------------------------------------------------------------------------------------------------------

#[test]
fn a_token_lives_until_exp_and_from_nbf_on() {
    // exp, nbf, leeway in seconds, now in milliseconds.
    #[track_caller]
    fn check(exp: &str, nbf: &str, leeway: u64, now: i64, expected: Result<(), Rejected>) {
        let claims = format!(r#"{{"exp":{exp},"nbf":{nbf}}}"#);
        let verifier = Verifier::new(&Jwt { leeway: Duration::from_secs(leeway), ..hs256_policy() });
        let verified = verifier.verify(&fields(&signed(HS256, &claims)), at(now));
        assert_eq!(verified.as_ref().map(|_| ()).map_err(|rejected| *rejected), expected, "{claims} {leeway} {now}");
        // Kept from a time when it held, it says the same.
        if let Ok(kept) = verifier.verify(&fields(&signed(HS256, &claims)), at(1_500_000)) {
            assert_eq!(kept.holds_at(at(now)), expected.is_ok(), "{claims} {leeway} {now}");
            assert_eq!(now < kept.expires(), expected != Err(Rejected::Expired));
        }
    }
    let (expired, not_yet) = (Err(Rejected::Expired), Err(Rejected::NotYet));
    check("2000", "1000", 0, 1_999_000, Ok(()));
    check("2000", "1000", 0, 1_999_999, Ok(()));
    check("2000", "1000", 0, 2_000_000, expired);
    check("2000", "1000", 0, 2_001_000, expired);
    check("2000", "1000", 5, 2_004_999, Ok(()));
    check("2000", "1000", 5, 2_005_000, expired);
    check("2000", "1000", 0, 1_000_000, Ok(()));
    check("2000", "1000", 0, 999_999, not_yet);
    check("2000", "1000", 5, 995_000, Ok(()));
    check("2000", "1000", 5, 994_999, not_yet);
    check("2000.5", "1000.5", 0, 2_000_499, Ok(()));
    check("2000.5", "1000.5", 0, 2_000_500, expired);
    check("2000.5", "1000.5", 0, 1_000_499, not_yet);
    check("2e3", "1E3", 0, 1_999_999, Ok(()));
    check("2e3", "1E3", 0, 2_000_000, expired);
    // Both are over and not begun: whatever the order, it does not live.
    check("1000", "2000", 0, 1_500_000, expired);
    check("0", "0", 0, 0, expired);
    check("0", "0", 600, 0, Ok(()));
    check("-1", "-9223372036854775808", 0, -1_000, expired);
    check("-1", "-9223372036854775808", 0, -1_001, Ok(()));
}

/// Who sends these lines to an origin that goes by Authorization and by cookies, where the token stands in this one.
fn token_of(from: Credential, lines: &[(&'static str, String)]) -> Token {
    let credentials = ["authorization", "cookie"].map(|name| Credential::Field(name.into()));
    let verifier = Verifier::new(&Jwt { from, ..hs256_policy() });
    let identity = Identity::new([7; 32], credentials.into(), Some(verifier));
    identity.who(&lines.iter().cloned().collect(), NOW, &mut crate::identity::Remembered::default()).token
}

/// The origin may go by the other credential, of which nothing is verified.
#[test]
fn a_token_beside_another_credential_proves_nothing() {
    let token = signed(HS256, GOOD);
    let (header, cookie) = (|| Credential::Field("authorization".into()), || Credential::Cookie("token".into()));
    let bearer = || ("Authorization", format!("Bearer {token}"));
    let crumb = || ("Cookie", format!("token={token}"));
    let proves = |from, lines: &[_]| matches!(token_of(from, lines), Token::Live(_));
    assert!(proves(header(), &[bearer()]) && proves(cookie(), &[crumb()]));
    assert!(!proves(header(), &[bearer(), crumb()]));
    assert!(!proves(cookie(), &[crumb(), ("Authorization", "Basic YW5uOm5v".into())]));
    assert!(!proves(cookie(), &[crumb(), ("Cookie", "session=1".into())]));
}

#[test]
fn a_signature_is_verified_once() {
    let identity = Identity::new([7; 32], vec![Credential::Field("authorization".into())], Some(hs256()));
    let live =
        || match identity.who(&fields(&signed(HS256, GOOD)), NOW, &mut crate::identity::Remembered::default()).token {
            Token::Live(verified) => verified,
            other => panic!("{other:?}"),
        };
    let first = live();
    identity.verified.run_pending_tasks();
    assert!(Arc::ptr_eq(&first, &live()));
}

/// What is kept of tokens has a bound in bytes.
#[test]
fn a_kept_token_weighs_all_that_it_proves() {
    let size = |claims: &str| {
        let verified = hs256().verify(&fields(&signed(HS256, claims)), NOW).expect("it is good");
        verified.size() - size_of::<Verified>()
    };
    // Two texts and the allocation of each; a value has its type in front.
    let each = 2 * 24 + 2 * 16;
    let exp = each + "exp".len() + "i1700000060".len();
    assert_eq!(size(r#"{"exp":1700000060}"#), exp);
    assert_eq!(size(r#"{"exp":1700000060,"sub":"ann","seen":true}"#), exp + each + "sub".len() + "sann".len());
}

#[test]
fn a_kept_token_follows_a_corrected_clock() {
    let verified = hs256().verify(&fields(&signed(HS256, GOOD)), NOW).expect("it is good");
    assert!(verified.holds_at(NOW));
    assert!(!verified.holds_at(Timestamp { wall_ms: 1_700_000_060_000, boot_ms: NOW.boot_ms }));
    assert!(verified.holds_at(Timestamp { wall_ms: NOW.wall_ms, boot_ms: u64::MAX }));
}

#[test]
fn dates_are_numbers_of_any_size() {
    check_claims(r#"{"exp":9007199254740993}"#, Ok(()));
    check_claims(r#"{"exp":18446744073709551615}"#, Ok(()));
    check_claims(r#"{"exp":99999999999999999999999999}"#, Ok(()));
    check_claims(r#"{"exp":1e300}"#, Ok(()));
    check_claims(r#"{"exp":-1}"#, Err(Rejected::Expired));
    check_claims(r#"{"exp":-1e300}"#, Err(Rejected::Expired));
    check_claims(r#"{"exp":-9223372036854775808}"#, Err(Rejected::Expired));
    check_claims(r#"{"exp":1700000060,"nbf":1e300}"#, Err(Rejected::NotYet));
    check_claims(r#"{"exp":1700000060,"nbf":18446744073709551615}"#, Err(Rejected::NotYet));
    check_claims(r#"{"exp":1700000060,"nbf":1700000001}"#, Err(Rejected::NotYet));
    check_claims(r#"{"exp":1700000060,"nbf":-1e300}"#, Ok(()));
    // With a leeway, the ends of time stay where they are.
    let verifier = Verifier::new(&Jwt { leeway: Duration::MAX, ..hs256_policy() });
    check(&verifier, &signed(HS256, r#"{"exp":1e300,"nbf":-1e300}"#), Ok(()));
}

#[test]
fn what_is_no_date_is_no_expiry() {
    for date in ["\"1700000060\"", "\"never\"", "null", "true", "[1700000060]", "{}", "\"\""] {
        check_claims(&format!(r#"{{"exp":{date}}}"#), Err(Rejected::Malformed));
        check_claims(&format!(r#"{{"exp":1700000060,"nbf":{date}}}"#), Err(Rejected::Malformed));
    }
    for number in
        ["1e400", "-1e400", "NaN", "Infinity", "-Infinity", "0x7fffffff", "01700000060", "+1700000060", "1.", ".5"]
    {
        check_claims(&format!(r#"{{"exp":{number}}}"#), Err(Rejected::Malformed));
    }
    check_claims("{}", Err(Rejected::NoExpiry));
    check_claims(r#"{"Exp":1700000060,"sub":"ann"}"#, Err(Rejected::NoExpiry));
}

// --- claims ---------------------------------------------------------------------------------------------------------

#[track_caller]
fn claim(value: &str) -> Option<Vec<u8>> {
    let claims = format!(r#"{{"exp":1700000060,"tenant":{value},"other":"x"}}"#);
    hs256().verify(&fields(&signed(HS256, &claims)), NOW).expect(&claims).claim("tenant")
}

#[test]
fn different_values_are_different_octets() {
    let values = [
        "\"5\"",
        "5",
        "-5",
        "\"-5\"",
        "\"i5\"",
        "\"s5\"",
        "\" 5\"",
        "\"5 \"",
        "\"05\"",
        "0",
        "\"0\"",
        "\"a\"",
        "\"A\"",
        "\"\\u0000\"",
        "\"a\\u0000\"",
        "\"é\"",
        "\"e\\u0301\"",
        "9007199254740992",
        "9007199254740993",
        "18446744073709551615",
        "-9223372036854775808",
    ];
    for (i, a) in values.iter().enumerate() {
        for (j, b) in values.iter().enumerate() {
            let (left, right) = (claim(a), claim(b));
            assert!(left.is_some() && right.is_some(), "{a} {b}");
            assert_eq!(left == right, i == j, "{a} {b}");
        }
    }
    assert_eq!(claim("\"5\"").as_deref(), Some(&b"s5"[..]));
    assert_eq!(claim("5").as_deref(), Some(&b"i5"[..]));
    // One value may be written in several ways.
    assert_eq!(claim(r#""shop-1""#), claim(r#""\u0073hop\u002d1""#));
}

#[test]
fn what_is_neither_a_text_nor_an_integer_tells_nobody_apart() {
    for value in [
        "\"\"",
        "null",
        "true",
        "false",
        "5.0",
        "5.5",
        "5e0",
        "1e2",
        "-0",
        "18446744073709551616",
        "-9223372036854775809",
        "[]",
        "[\"shop-1\"]",
        "[\"shop-1\",\"shop-2\"]",
        "{}",
        "{\"id\":\"shop-1\"}",
    ] {
        assert_eq!(claim(value), None, "{value}");
    }
    let verified = hs256().verify(&fields(&signed(HS256, GOOD)), NOW).expect("it is good");
    for name in ["", "Tenant", "tenant ", "tenant.id", "/tenant", "alg", "typ"] {
        assert_eq!(verified.claim(name), None, "{name}");
    }
}

#[test]
fn another_tenants_good_token_is_another_claim() {
    let of = |tenant: &str| {
        let claims = GOOD.replace("shop-1", tenant);
        hs256().verify(&fields(&signed(HS256, &claims)), NOW).expect("it is good").claim("tenant")
    };
    assert_eq!(of("shop-1"), of("shop-1"));
    assert_ne!(of("shop-1"), of("shop-2"));
    assert_ne!(of("shop-1"), of("shop-1 "));
}

#[test]
fn issuer_and_audience_are_compared_where_they_are_configured() {
    #[track_caller]
    fn check(claims: &str, expected: Result<(), Rejected>) {
        let (issuer, audience) = (Some("https://login.example".to_owned()), Some("shop".to_owned()));
        let verifier = Verifier::new(&Jwt { issuer, audience, ..hs256_policy() });
        let claims = format!(r#"{{"exp":1700000060{claims}}}"#);
        assert_eq!(outcome(&verifier, &signed(HS256, &claims)), expected, "{claims}");
        // Where neither is, neither is asked for.
        assert_eq!(outcome(&hs256(), &signed(HS256, &claims)), Ok(()), "{claims}");
    }
    check(r#","iss":"https://login.example","aud":"shop""#, Ok(()));
    check(r#","iss":"https://login.example","aud":["till","shop"]"#, Ok(()));
    for iss in
        ["\"https://login.example/\"", "\"HTTPS://login.example\"", "\"\"", "null", "[\"https://login.example\"]"]
    {
        check(&format!(r#","iss":{iss},"aud":"shop""#), Err(Rejected::Issuer));
    }
    check(r#","aud":"shop""#, Err(Rejected::Issuer));
    for aud in [
        "\"till\"",
        "\"Shop\"",
        "\"shop till\"",
        "\"\"",
        "[]",
        "[\"till\"]",
        "null",
        "5",
        "{\"shop\":1}",
        "[[\"shop\"]]",
        "[\"shop\",5]",
    ] {
        check(&format!(r#","iss":"https://login.example","aud":{aud}"#), Err(Rejected::Audience));
    }
    check(r#","iss":"https://login.example""#, Err(Rejected::Audience));
}

#[test]
fn nothing_secret_and_nobody_is_printed() {
    let verifier = hs256();
    let verified = verifier.verify(&fields(&signed(HS256, GOOD)), NOW).expect("it is good");
    let printed = format!("{verifier:?} {verified:?}");
    assert!(printed.contains("tenant") && !printed.contains("shop-1") && !printed.contains("ann\""), "{printed}");
    assert!(!printed.contains("sixty-four") && !printed.contains("115, 105, 120"), "{printed}");
}

// --- where it stands ------------------------------------------------------------------------------------------------

#[track_caller]
fn check_lines(from: Credential, lines: &[(&'static str, String)], expected: Result<(), Rejected>) {
    let verifier = Verifier::new(&Jwt { from, ..hs256_policy() });
    let fields: Fields = lines.iter().cloned().collect();
    assert_eq!(verifier.verify(&fields, NOW).map(|_| ()), expected, "{lines:?}");
}

#[test]
fn the_token_stands_after_bearer_in_the_only_authorization() {
    let good = signed(HS256, GOOD);
    let from = || Credential::Field("authorization".into());
    let line = |value: String| ("Authorization", value);
    check_lines(from(), &[], Err(Rejected::Absent));
    check_lines(from(), &[("Cookie", format!("session={good}"))], Err(Rejected::Absent));
    check_lines(from(), &[("X-Authorization", format!("Bearer {good}"))], Err(Rejected::Absent));
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        check_lines(from(), &[line(format!("{scheme} {good}"))], Ok(()));
    }
    check_lines(from(), &[("authorization", format!("Bearer   {good}"))], Ok(()));
    for value in [
        good.clone(),
        format!("Bearer{good}"),
        format!("Bearer\t{good}"),
        format!("Bearer,{good}"),
        format!(" Bearer {good}"),
        format!("Basic {good}"),
        format!("JWT {good}"),
        format!("Token {good}"),
        format!("BearerX {good}"),
        format!("DPoP {good}"),
        format!("Bear {good}"),
        "B".to_owned(),
        String::new(),
    ] {
        check_lines(from(), &[line(value)], Err(Rejected::Scheme));
    }
    for value in [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer Bearer {good}"),
        format!("Bearer {good}, Bearer {good}"),
    ] {
        check_lines(from(), &[line(value)], Err(Rejected::Malformed));
    }
    // The origin may take the first or the last; two of the same are no better.
    let bearer = || line(format!("Bearer {good}"));
    check_lines(from(), &[bearer(), bearer()], Err(Rejected::Repeated));
    check_lines(from(), &[bearer(), ("authorization", "Basic YTpi".to_owned())], Err(Rejected::Repeated));
    check_lines(from(), &[("AUTHORIZATION", String::new()), bearer()], Err(Rejected::Repeated));
}

#[test]
fn the_token_may_stand_alone_in_another_field_or_in_one_cookie() {
    let good = signed(HS256, GOOD);
    let field = || Credential::Field("x-api-key".into());
    check_lines(field(), &[("X-Api-Key", good.clone())], Ok(()));
    check_lines(field(), &[("X-Api-Key", format!("Bearer {good}"))], Err(Rejected::Malformed));
    check_lines(field(), &[("X-Api-Key", good.clone()), ("x-api-key", good.clone())], Err(Rejected::Repeated));
    // Some origins read both names as one.
    check_lines(field(), &[("X-Api-Key", good.clone()), ("X_Api_Key", "another".to_owned())], Err(Rejected::Repeated));
    check_lines(field(), &[("Authorization", format!("Bearer {good}"))], Err(Rejected::Absent));

    let cookie = || Credential::Cookie("session".into());
    let line = |value: String| ("Cookie", value);
    check_lines(cookie(), &[line(format!("session={good}"))], Ok(()));
    check_lines(cookie(), &[line("theme=dark".to_owned()), line(format!("a=b; session={good}; c=d"))], Ok(()));
    check_lines(cookie(), &[line(format!("session={good}; session={good}"))], Err(Rejected::Repeated));
    check_lines(cookie(), &[line(format!("session={good}")), line("session=x".to_owned())], Err(Rejected::Repeated));
    check_lines(cookie(), &[line(format!("Session={good}; xsession={good}"))], Err(Rejected::Absent));
    check_lines(cookie(), &[line(format!("session=\"{good}\""))], Err(Rejected::Malformed));
    check_lines(cookie(), &[line(format!("session={good} ; a=b"))], Err(Rejected::Malformed));
}

// --- whatever comes -------------------------------------------------------------------------------------------------

/// Verifiers of every kind, and a good token of each.
static KINDS: LazyLock<Vec<(Verifier, String)>> = LazyLock::new(|| {
    let kinds =
        [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa];
    kinds.into_iter().map(|algorithm| (signer(algorithm).verifier(), signer(algorithm).good())).collect()
});

proptest! {
    #[test]
    fn no_field_panics(value: Vec<u8>, bearer: bool, twice: bool) {
        let value = if bearer { [b"Bearer ", value.as_slice()].concat() } else { value };
        let lines = std::iter::repeat_n(("authorization", value), if twice { 2 } else { 1 });
        let fields: Fields = lines.collect();
        for (verifier, _) in KINDS.iter() {
            prop_assert!(verifier.verify(&fields, NOW).is_err());
        }
    }

    #[test]
    fn no_part_panics(header: Vec<u8>, claims: Vec<u8>, signature: Vec<u8>, right_header: bool) {
        for (verifier, good) in KINDS.iter() {
            let header = if right_header { good.split('.').next().unwrap_or("").to_owned() } else { BASE64URL.encode(&header) };
            let token = format!("{header}.{}.{}", BASE64URL.encode(&claims), BASE64URL.encode(&signature));
            prop_assert!(outcome(verifier, &token).is_err());
        }
    }

    /// Signed claims of any form are read or refused, and what is read lives.
    #[test]
    fn no_signed_claims_panic(claims in claims()) {
        if let Ok(verified) = hs256().verify(&fields(&signed(HS256, &claims)), NOW) {
            prop_assert!(verified.holds_at(NOW) && NOW.wall_ms < verified.expires());
        }
    }

    #[test]
    fn no_changed_octet_verifies_to_another_content(kind in 0..6usize, place in 0.0..1.0f64, octet: u8) {
        let (verifier, good) = &KINDS[kind];
        let field = format!("Bearer {good}");
        let mut changed = field.clone().into_bytes();
        let index = (changed.len() as f64 * place) as usize;
        let unchanged = changed[index] == octet;
        changed[index] = octet;
        let verify = |value: Vec<u8>| verifier.verify(&[("authorization", value)].into_iter().collect(), NOW);
        let right = verify(field.into_bytes()).expect("it is good");
        if let Ok(verified) = verify(changed) {
            prop_assert!(verified == right);
            // Only the letter case of the scheme means nothing.
            prop_assert!(index < "Bearer".len() || unchanged);
        }
    }
}

/// JSON, or nearly.
fn claims() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<u64>().prop_map(|value| value.to_string()),
        any::<f64>().prop_map(|value| value.to_string()),
        "\"\\PC{0,8}\"",
        "-?[0-9]{1,30}(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?",
    ];
    let value = scalar.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|values| format!("[{}]", values.join(","))),
            inner.prop_map(|value| format!("{{\"a\":{value},\"a\":{value}}}")),
        ]
    });
    let name = prop_oneof![Just("exp"), Just("nbf"), Just("iss"), Just("aud"), Just("tenant"), Just("sub")];
    let member = (name, value).prop_map(|(name, value)| format!("\"{name}\":{value}"));
    let members = prop::collection::vec(member, 0..4);
    (any::<bool>(), members).prop_map(|(good, members)| {
        let first = if good { vec!["\"exp\":1700000060".to_owned()] } else { Vec::new() };
        format!("{{{}}}", [first, members].concat().join(","))
    })
}
