//! Never another's data, and never for a caller whom the origin has turned away.

use crate::house::{House, SHARED, ok, status};
use freshgate::changes::Cause;
use freshgate::semantics::cache_status::Detail;

const A: [(&str, &str); 1] = [("Authorization", "Bearer a")];
const B: [(&str, &str); 1] = [("Authorization", "Bearer b")];

fn private() -> House {
    House::with(&SHARED.replace("scope = \"public\"\n", ""))
}

/// A GET by `caller`, answered with `answer`.
async fn fetched(house: &House, caller: crate::house::Lines<'_>, target: &str, answer: u16, body: &str) {
    let reader = house.get_with(target, caller).await;
    house.asked("GET", target).await.answer(status(answer, &[], body));
    assert_eq!(reader.got().await.head.status, answer);
}

#[tokio::test]
async fn a_401_ends_everything_that_was_stored_for_its_caller_and_for_nobody_else() {
    let house = private();
    fetched(&house, &A, "/items/1", 200, "a's").await;
    fetched(&house, &B, "/items/1", 200, "b's").await;
    fetched(&house, &A, "/items/2", 401, "who?").await;
    let a = house.get_with("/items/1", &A).await;
    house.asked("GET", "/items/1").await.answer(status(401, &[], "who?"));
    assert_eq!(a.got().await.head.status, 401);
    let b = house.get_with("/items/1", &B).await.got().await;
    assert_eq!((b.text(), b.is_hit()), ("b's", true));
    assert_eq!(house.causes(), [Cause::Credential; 2]);
}

#[tokio::test]
async fn a_200_from_before_a_401_neither_accepts_the_caller_nor_is_stored() {
    let house = private();
    let before = house.get_with("/items/1", &A).await;
    let fetch = house.asked("GET", "/items/1").await;
    fetched(&house, &A, "/items/2", 401, "who?").await;
    fetch.answer(ok("a's"));
    let got = before.got().await;
    assert_eq!((got.text(), got.stored()), ("a's", false));
    // Had the late 200 accepted the caller, this younger response of theirs would be a hit.
    let after = house.get_with("/items/1", &A).await;
    house.asked("GET", "/items/1").await.answer(status(401, &[], "who?"));
    assert_eq!(after.got().await.head.status, 401);
}

/// On a public route the late 200 is stored for everybody; only the acceptance is the caller's own.
#[tokio::test]
async fn a_public_200_from_before_a_401_does_not_accept_the_caller_elsewhere() {
    let house = House::with(&format!("{SHARED}[[route]]\nname = \"mine\"\npaths = [\"/mine\"]\nfresh = \"60s\"\n"));
    fetched(&house, &A, "/mine", 200, "a's").await;
    let before = house.get_with("/items/1", &A).await;
    let fetch = house.asked("GET", "/items/1").await;
    house.age(61);
    fetched(&house, &A, "/mine", 401, "who?").await;
    fetch.answer(ok("everybody's"));
    assert!(before.got().await.stored());
    let after = house.get_with("/mine", &A).await;
    assert!(house.next().await.is_some(), "the origin has the last word");
    drop(after);
}

#[tokio::test]
async fn a_403_ends_what_was_stored_for_that_url_alone() {
    let house = private();
    fetched(&house, &A, "/items/1", 200, "one").await;
    fetched(&house, &A, "/items/2", 200, "two").await;
    let mut reload = A.to_vec();
    reload.push(("Cache-Control", "no-cache"));
    house.age(2);
    fetched(&house, &reload, "/items/1", 403, "no").await;
    fetched(&house, &A, "/items/1", 403, "no").await;
    let two = house.get_with("/items/2", &A).await.got().await;
    assert_eq!((two.text(), two.is_hit()), ("two", true));
}

#[tokio::test]
async fn an_acceptance_runs_out() {
    let house = House::with(&SHARED.replace("scope = \"public\"\n", "").replace("60s", "10m"));
    fetched(&house, &A, "/items/1", 200, "a's").await;
    house.age(59);
    let hit = house.get_with("/items/1", &A).await.got().await;
    assert!(hit.is_hit());
    house.age(1);
    let asks = house.get_with("/items/1", &A).await;
    house.asked("GET", "/items/1").await.answer(ok("a's"));
    assert_eq!(asks.got().await.detail(), Some(Detail::Acceptance));
    // Any 200 to the caller will do.
    house.age(59);
    fetched(&house, &A, "/items/2", 200, "two").await;
    house.age(59);
    assert!(house.get_with("/items/1", &A).await.got().await.is_hit());
}

#[tokio::test]
async fn a_mutation_invalidates_for_every_caller() {
    let house = private();
    fetched(&house, &A, "/items/1", 200, "old").await;
    fetched(&house, &B, "/items/1", 200, "old").await;
    house.mutated("PUT", "/items/1").await;
    fetched(&house, &A, "/items/1", 200, "new").await;
    fetched(&house, &B, "/items/1", 200, "new").await;
}

fn shared() -> House {
    House::with(&SHARED.replace("public", "authenticated"))
}

/// Whoever has not shown their right to share neither waits for those who have, nor leads them.
#[tokio::test]
async fn a_caller_who_was_not_accepted_flies_alone() {
    let house = shared();
    fetched(&house, &A, "/items", 200, "list").await;
    house.age(61);
    fetched(&house, &A, "/items/9", 200, "nine").await;
    let first = house.get_with("/items", &B).await;
    let of_first = house.asked("GET", "/items").await;
    let second = house.get_with("/items", &A).await;
    let of_second = house.asked("GET", "/items").await;
    let third = house.get_with("/items", &B).await;
    assert!(third.waits().await, "the same credential may wait for itself");
    of_first.answer(status(403, &[], "not yours"));
    assert_eq!(first.got().await.head.status, 403);
    of_second.answer(ok("list"));
    let got = second.got().await;
    assert_eq!((got.text(), got.collapsed()), ("list", false));
    house.asked("GET", "/items").await.answer(status(403, &[], "not yours"));
    assert_eq!(third.got().await.head.status, 403);
}

#[tokio::test]
async fn accepted_callers_share_one_fetch() {
    let house = shared();
    for caller in [&A, &B] {
        fetched(&house, caller, "/items", 200, "list").await;
    }
    house.mutated("POST", "/items").await;
    let a = house.get_with("/items?page=2", &A).await;
    let b = house.get_with("/items?page=2", &B).await;
    house.asked("GET", "/items?page=2").await.answer(ok("second"));
    house.quiet().await;
    let (a, b) = (a.got().await, b.got().await);
    assert_eq!((a.text(), b.text(), a.collapsed() || b.collapsed()), ("second", "second", true));
}

/// What was in order when the wait began is looked at again when it ends.
#[tokio::test]
async fn a_caller_who_is_turned_away_while_waiting_is_not_handed_the_fetch() {
    let house = shared();
    for caller in [&A, &B] {
        fetched(&house, caller, "/items", 200, "list").await;
    }
    let a = house.get_with("/items?page=2", &A).await;
    let fetch = house.asked("GET", "/items?page=2").await;
    let b = house.get_with("/items?page=2", &B).await;
    assert!(b.waits().await);
    fetched(&house, &B, "/items/5", 401, "who?").await;
    fetch.answer(ok("second"));
    assert_eq!(a.got().await.text(), "second");
    house.asked("GET", "/items?page=2").await.answer(status(401, &[], "who?"));
    assert_eq!(b.got().await.head.status, 401);
}

/// One URL that tells its callers apart makes the whole route do so, for those, too, who are on their way.
#[tokio::test]
async fn nobody_is_handed_what_diverged_meanwhile() {
    let house = shared();
    for caller in [&A, &B] {
        fetched(&house, caller, "/items", 200, "list").await;
    }
    fetched(&house, &A, "/items/1", 200, "a's").await;
    let a = house.get_with("/items?page=2", &A).await;
    let fetch = house.asked("GET", "/items?page=2").await;
    let b = house.get_with("/items?page=2", &B).await;
    fetched(&house, &B, "/items/1", 200, "b's").await;
    assert_eq!(house.pipeline.demoted().map(|route| route.name.as_str()).collect::<Vec<_>>(), ["items"]);
    fetch.answer(ok("a's second"));
    assert_eq!(a.got().await.text(), "a's second");
    house.asked("GET", "/items?page=2").await.answer(ok("b's second"));
    assert_eq!(b.got().await.text(), "b's second");
    assert_eq!(house.causes(), [Cause::Divergence]);
}

/// What says that it is for one site's scripts is for no other's, even where the first asks nobody else to wait.
#[tokio::test]
async fn scripts_of_two_sites_fly_together_and_share_what_is_for_all_scripts_alone() {
    let from_a = [("Origin", "https://a.example")];
    let from_b = [("Origin", "https://b.example")];
    for (allowed, of_b) in [("*", None), ("https://a.example", Some("https://b.example"))] {
        let house = House::new();
        let a = house.get_with("/items", &from_a).await;
        let b = house.get_with("/items", &from_b).await;
        let fetch = house.asked("GET", "/items").await;
        house.quiet().await;
        fetch.answer(status(200, &[("Access-Control-Allow-Origin", allowed)], "list"));
        if let Some(of_b) = of_b {
            house.asked("GET", "/items").await.answer(status(200, &[("Access-Control-Allow-Origin", of_b)], "list"));
        }
        house.quiet().await;
        for (got, expected) in [(a.got().await, allowed), (b.got().await, of_b.unwrap_or(allowed))] {
            let told = got.head.fields.get("access-control-allow-origin");
            assert_eq!((got.text(), told), ("list", Some(expected.as_bytes())), "{got:?}");
        }
    }
}
