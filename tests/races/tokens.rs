//! Tokens from end to end: who may share by a claim, and what becomes of everybody whose token does not prove it.

use crate::house::{Asking, House, ok, status};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use freshgate::semantics::cache_status::CacheStatus;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What the proxy verifies tokens with.
const SECRET: &str = "thirty-two octets that nobody has, and some more";

const SHOP: &str = r#"
[origin]
url = "http://origin.test"
[identity.jwt]
algorithm = "HS256"
key = "env:JWT_SECRET"
issuer = "house"
audience = "till"
[[route]]
name = "items"
paths = ["/items", "/items/{id}"]
fresh = "10m"
scope = "claim:tenant"
"#;

/// The house's clock begins at this second.
const NOW: i64 = 1_767_225_600;

/// A token whose signature is an HMAC with SHA-256.
fn signed(header: &str, claims: &str, secret: &[u8]) -> String {
    let signed = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", BASE64URL.encode(mac.finalize().into_bytes()))
}

/// A rightly signed token of `sub` that lives for ten minutes, with these claims besides.
fn token(sub: &str, claims: &str) -> String {
    let exp = NOW + 600;
    let claims = format!(r#"{{"iss":"house","aud":"till","sub":"{sub}","exp":{exp},{claims}}}"#);
    signed(r#"{"alg":"HS256"}"#, &claims, SECRET.as_bytes())
}

/// A rightly signed token of `sub`, of tenant 1.
fn good(sub: &str) -> String {
    token(sub, r#""tenant":"1""#)
}

/// A GET that carries this token, and this X-Api-Key where there is one.
async fn get(house: &House, target: &str, token: &str, key: Option<&'static str>) -> Asking {
    let mut lines = vec![("Authorization", format!("Bearer {token}"))];
    lines.extend(key.map(|key| ("X-Api-Key", key.to_owned())));
    house.get_owned(target, &lines).await
}

/// The origin is asked in the name of this token, and answers this.
async fn asks(house: &House, target: &str, token: &str, body: &str) {
    let reader = get(house, target, token, None).await;
    house.asked("GET", target).await.answer(ok(body));
    assert_eq!(reader.got().await.text(), body);
}

/// The store answers this.
#[track_caller]
fn hits(house: &House, target: &str, token: &str, body: &str) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let got = get(house, target, token, None).await.got().await;
        assert!(matches!(got.exchange.cache_status, CacheStatus::Hit { .. }), "{caller}: {got:?}");
        assert_eq!(got.text(), body, "{caller}");
    }
}

/// Whoever has this token shares neither what a tenant has nor what another of their kind has, and gives nobody
/// anything; only what they were answered themselves comes back to them.
async fn falls_back_to_user(what: &str, bad: impl Fn(&str) -> String, key: Option<&'static str>) {
    let house = House::keyed(SHOP, SECRET);
    asks(&house, "/items", &good("ann"), "of tenant 1").await;
    for sub in ["mallory", "oscar"] {
        let own = format!("{sub}'s own");
        let reader = get(&house, "/items", &bad(sub), key).await;
        let asked = house.next().await.unwrap_or_else(|| panic!("{what}: the origin is not asked for {sub}"));
        asked.answer(ok(&own));
        assert_eq!(reader.got().await.text(), own, "{what}");
        let again = get(&house, "/items", &bad(sub), key).await.got().await;
        assert_eq!((again.text(), again.is_hit()), (own.as_str(), true), "{what}");
    }
    hits(&house, "/items", &good("bea"), "of tenant 1").await;
    let demoted: Vec<_> = house.pipeline.demoted().collect();
    assert!(demoted.is_empty(), "{what}: they were never to share");
}

#[tokio::test]
async fn those_of_one_tenant_share_without_asking() {
    let house = House::keyed(SHOP, SECRET);
    asks(&house, "/items", &good("ann"), "of tenant 1").await;
    hits(&house, "/items", &good("bea"), "of tenant 1").await;
}

#[tokio::test]
async fn whoever_signs_their_own_token_falls_back_to_user() {
    let claims =
        |sub: &str| format!(r#"{{"iss":"house","aud":"till","sub":"{sub}","exp":{},"tenant":"1"}}"#, NOW + 600);
    let unsigned = |header: &str, sub: &str| format!("{}.{}.", BASE64URL.encode(header), BASE64URL.encode(claims(sub)));
    falls_back_to_user("alg none", |sub| unsigned(r#"{"alg":"none"}"#, sub), None).await;
    falls_back_to_user("no signature", |sub| unsigned(r#"{"alg":"HS256"}"#, sub), None).await;
    let other =
        |header: &'static str, secret: &'static str| move |sub: &str| signed(header, &claims(sub), secret.as_bytes());
    falls_back_to_user("another secret", other(r#"{"alg":"HS256"}"#, "not what the proxy verifies with"), None).await;
    falls_back_to_user("alg none, signed all the same", other(r#"{"alg":"none"}"#, SECRET), None).await;
    falls_back_to_user("another algorithm's name", other(r#"{"alg":"HS512"}"#, SECRET), None).await;
}

#[tokio::test]
async fn whoever_has_a_token_of_or_for_somebody_else_falls_back_to_user() {
    let claims = |issuer: &'static str| {
        move |sub: &str| {
            let claims = format!(r#"{{{issuer}"sub":"{sub}","exp":{},"tenant":"1"}}"#, NOW + 600);
            signed(r#"{"alg":"HS256"}"#, &claims, SECRET.as_bytes())
        }
    };
    falls_back_to_user("another issuer", claims(r#""iss":"mouse","aud":"till","#), None).await;
    falls_back_to_user("no issuer", claims(r#""aud":"till","#), None).await;
    falls_back_to_user("another audience", claims(r#""iss":"house","aud":["web","app"],"#), None).await;
    falls_back_to_user("no audience", claims(r#""iss":"house","#), None).await;
}

#[tokio::test]
async fn whose_claim_can_be_read_in_two_ways_or_in_none_falls_back_to_user() {
    for claims in [
        r#""tenant":"2","tenant":"1""#,
        r#""tenant":"1","tenant":"1""#,
        r#""tenant":["1"]"#,
        r#""tenant":{"1":"1"}"#,
        r#""tenant":true"#,
        r#""tenant":null"#,
        r#""tenant":"""#,
        r#""Tenant":"1""#,
        r#""role":"1""#,
    ] {
        falls_back_to_user(claims, |sub| token(sub, claims), None).await;
    }
    let long = "x".repeat(1 << 20);
    falls_back_to_user("a megabyte of token", |sub| token(sub, &format!(r#""pad":"{long}","tenant":"1""#)), None).await;
}

/// The origin may go by the other credential, of which nothing is verified.
#[tokio::test]
async fn a_second_credential_makes_a_token_prove_nothing() {
    falls_back_to_user("beside a key", good, Some("somebody's")).await;
}

/// A number and a text of the same digits are two tenants.
#[tokio::test]
async fn those_of_another_tenant_share_with_each_other_alone() {
    for other in [r#""tenant":"2""#, r#""tenant":1"#, r#""tenant":"1 ""#, r#""tenant":"01""#] {
        let house = House::keyed(SHOP, SECRET);
        asks(&house, "/items", &good("ann"), "of tenant 1").await;
        asks(&house, "/items", &token("mallory", other), "of the other").await;
        hits(&house, "/items", &token("oscar", other), "of the other").await;
        hits(&house, "/items", &good("bea"), "of tenant 1").await;
    }
}

#[tokio::test]
async fn a_token_that_is_over_gets_nothing_from_the_store_not_even_its_own() {
    let house = House::keyed(&SHOP.replace("10m", "1h"), SECRET);
    let short = signed(
        r#"{"alg":"HS256"}"#,
        &format!(r#"{{"iss":"house","aud":"till","sub":"bea","exp":{},"tenant":"1"}}"#, NOW + 60),
        SECRET.as_bytes(),
    );
    asks(&house, "/items", &short, "bea's").await;
    hits(&house, "/items", &short, "bea's").await;
    house.age(60);
    for answer in ["once more", "and again"] {
        asks(&house, "/items", &short, answer).await;
    }
    // What their tenant has stays for those whose tokens live.
    hits(&house, "/items", &good("ann"), "bea's").await;
}

#[tokio::test]
async fn a_token_that_is_not_yet_valid_gets_nothing_from_the_store_until_it_is() {
    let house = House::keyed(SHOP, SECRET);
    asks(&house, "/items", &good("ann"), "of tenant 1").await;
    let later = token("bea", &format!(r#""nbf":{},"tenant":"1""#, NOW + 60));
    for answer in ["bea's", "once more"] {
        asks(&house, "/items", &later, answer).await;
    }
    house.age(60);
    hits(&house, "/items", &later, "of tenant 1").await;
}

/// What was in order when the wait began is looked at again when it ends.
#[tokio::test]
async fn a_token_that_ends_while_its_caller_waits_is_not_handed_the_fetch() {
    let house = House::keyed(SHOP, SECRET);
    let first = get(&house, "/items", &good("ann"), None).await;
    let fetch = house.asked("GET", "/items").await;
    let short = signed(
        r#"{"alg":"HS256"}"#,
        &format!(r#"{{"iss":"house","aud":"till","sub":"bea","exp":{},"tenant":"1"}}"#, NOW + 5),
        SECRET.as_bytes(),
    );
    let second = get(&house, "/items", &short, None).await;
    assert!(second.waits().await);
    house.age(5);
    fetch.answer(ok("of tenant 1"));
    assert_eq!(first.got().await.text(), "of tenant 1");
    house.asked("GET", "/items").await.answer(status(401, &[], "over"));
    assert_eq!(second.got().await.head.status, 401);
}

/// The origin knows more than the token says: it may have been revoked.
#[tokio::test]
async fn a_live_token_that_got_a_401_shares_again_only_after_an_acceptance() {
    let house = House::keyed(SHOP, SECRET);
    let (ann, bea) = (good("ann"), good("bea"));
    asks(&house, "/items", &ann, "of tenant 1").await;
    hits(&house, "/items", &bea, "of tenant 1").await;
    for target in ["/items/5", "/items"] {
        let refused = get(&house, target, &bea, None).await;
        house.asked("GET", target).await.answer(status(401, &[], "revoked"));
        assert_eq!(refused.got().await.head.status, 401);
    }
    hits(&house, "/items", &ann, "of tenant 1").await;
    asks(&house, "/items/6", &bea, "six").await;
    hits(&house, "/items", &bea, "of tenant 1").await;
}

/// RFC 7515, appendix A.2: the one token here that is signed with RSA, by a key that is secret no more.
const RSA_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const BY_RSA: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

/// A public key is public: who signs with it as if it were a secret, or names another key, proves nothing.
#[tokio::test]
async fn whoever_takes_the_public_key_for_a_secret_or_names_another_falls_back_to_user() {
    let folder = tempfile::TempDir::new().expect("a folder can be made");
    let file = folder.path().join("keys.json");
    let set = format!(r#"{{"keys":[{{"kty":"RSA","kid":"one","n":"{RSA_N}","e":"AQAB"}}]}}"#);
    std::fs::write(&file, &set).expect("a file can be written");
    let jwks = format!("jwks_file = {:?}", file.display().to_string());
    let toml = SHOP.replace("HS256", "RS256").replace("key = \"env:JWT_SECRET\"", &jwks);
    let toml = toml.replace("issuer = \"house\"\naudience = \"till\"\n", "").replace("claim:tenant", "claim:iss");
    let house = House::configured(&toml);
    // Two days before the token ends.
    house.clock.set_wall((1_300_819_380 - 2 * 86_400) * 1000);
    asks(&house, "/items", BY_RSA, "of joe").await;
    // The scheme's name in another case is another credential, and the same token.
    let other = house.get_owned("/items", &[("Authorization", format!("bearer {BY_RSA}"))]).await.got().await;
    assert_eq!((other.text(), other.is_hit()), ("of joe", true), "a good token shares");

    let claims = BASE64URL.decode(BY_RSA.split('.').nth(1).expect("a token has three parts")).expect("base64url");
    let claims = String::from_utf8(claims).expect("JSON");
    let modulus = BASE64URL.decode(RSA_N).expect("base64url");
    let signature = BY_RSA.rsplit('.').next().expect("a token has three parts");
    let renamed = |header: &str| format!("{}.{}.{signature}", BASE64URL.encode(header), BASE64URL.encode(&claims));
    for (what, bad) in [
        ("the modulus as a secret", signed(r#"{"alg":"HS256"}"#, &claims, &modulus)),
        ("the modulus in base64url as a secret", signed(r#"{"alg":"HS256"}"#, &claims, RSA_N.as_bytes())),
        ("the whole set as a secret", signed(r#"{"alg":"HS256"}"#, &claims, set.as_bytes())),
        ("the same under the right name", signed(r#"{"alg":"RS256"}"#, &claims, &modulus)),
        ("another key's name", renamed(r#"{"alg":"RS256","kid":"two"}"#)),
        ("no algorithm", renamed(r#"{"kid":"one"}"#)),
    ] {
        let reader = get(&house, "/items", &bad, None).await;
        let asked = house.next().await.unwrap_or_else(|| panic!("{what}: the origin is not asked"));
        asked.answer(ok("their own"));
        assert_eq!(reader.got().await.text(), "their own", "{what}");
    }
    hits(&house, "/items", BY_RSA, "of joe").await;
}
