//! Never another's data, and never for a caller whom the origin has turned away.

use crate::house::{House, Lines, SHARED, ok, request, status};
use freshgate::changes::Cause;
use freshgate::origin::Head;
use freshgate::origin::scripted::Scripted;
use freshgate::pipeline::{Class, Passage};
use freshgate::semantics::cache_status::Detail;
use freshgate::semantics::request::Request;

const A: [(&str, &str); 1] = [("Authorization", "Bearer a")];
const B: [(&str, &str); 1] = [("Authorization", "Bearer b")];

fn private() -> House {
    House::with(&SHARED.replace("scope = \"public\"\n", ""))
}

/// A GET by `caller`, answered with `answer`.
async fn fetched(house: &House, caller: Lines<'_>, target: &str, answer: u16, body: &str) {
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

/// One whose right to share was not shown waits only for itself, and not for what was asked before it was turned away.
#[tokio::test]
async fn a_401_ends_the_flight_of_a_caller_who_was_not_accepted() {
    let house = shared();
    fetched(&house, &A, "/items", 200, "list").await;
    let first = house.get_with("/items", &B).await;
    let asked_before = house.asked("GET", "/items").await;
    fetched(&house, &B, "/items/5", 401, "who?").await;
    let second = house.get_with("/items", &B).await;
    let asked_after = house.asked("GET", "/items").await;
    asked_before.answer(ok("list"));
    assert_eq!(first.got().await.text(), "list");
    assert!(second.waits().await);
    asked_after.answer(status(401, &[], "who?"));
    assert_eq!(second.got().await.head.status, 401);
}

/// Whose right to share was not shown flies beside those who share, and may see what a mutation is about to change sooner
/// than they do. Once it has seen that, it joins no fetch from before.
#[tokio::test]
async fn who_has_seen_a_mutation_under_way_joins_no_fetch_from_before() {
    let house = shared();
    fetched(&house, &A, "/items", 200, "old").await;
    let mutation = house.mutate("POST", "/items").await;
    let under_way = house.asked("POST", "/items").await;
    let a = house.get_with("/items", &A).await;
    let slow = house.asked("GET", "/items").await;
    fetched(&house, &B, "/items", 200, "new").await;
    let b = house.get_with("/items", &B).await;
    let young = house.asked("GET", "/items").await;
    slow.answer(ok("old"));
    assert_eq!(a.got().await.text(), "old");
    assert!(b.waits().await);
    young.answer(ok("new"));
    assert_eq!(b.got().await.text(), "new");
    under_way.answer(ok("done"));
    assert_eq!(mutation.got().await.head.status, 200);
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

/// A request that streams past the store: it has been sent, and its head has not come.
struct Passing(Request, Passage);

async fn passing(house: &House, target: &str, lines: Lines<'_>) -> Passing {
    let request = request("GET", target, lines);
    let why = if let Class::Pass(why) = house.pipeline.classify(&request) { why } else { Detail::Pass };
    let passage = house.pipeline.pass(&request, why).await.expect("there is room");
    Passing(request, passage)
}

impl Passing {
    /// Its head comes.
    fn answered(self, house: &House, status: u16) {
        house.pipeline.heed_passed(&self.0, self.1.asked, status);
    }
}

/// For ten minutes what a caller was told is fresh: only acceptance runs out.
fn accepting() -> House {
    House::with(&SHARED.replace("scope = \"public\"\n", "negative = \"10m\"\n").replace("60s", "10m"))
}

/// Whether the caller is answered from the store.
async fn admitted(house: &House, target: &str, caller: Lines<'_>) -> bool {
    let asking = house.get_with(target, caller).await;
    let hit = house.next().await.is_none();
    asking.leave().await;
    hit
}

#[tokio::test]
async fn a_get_that_streams_past_the_store_accepts_its_caller_from_when_it_was_asked() {
    let house = accepting();
    fetched(&house, &A, "/items/1", 200, "a's").await;
    house.age(30);
    let polled = passing(&house, "/poll", &A).await;
    house.age(29);
    polled.answered(&house, 200);
    house.age(30);
    assert!(admitted(&house, "/items/1", &A).await, "59 seconds ago");
    house.age(1);
    assert!(!admitted(&house, "/items/1", &A).await, "60 seconds ago, whenever it was answered");
}

#[tokio::test]
async fn what_streams_past_accepts_where_a_fetch_would() {
    for (status, accepts) in
        [(200, true), (206, true), (304, true), (101, false), (302, false), (404, false), (500, false)]
    {
        let house = accepting();
        // What a 404 says may be stored, and it accepts nobody.
        fetched(&house, &A, "/items/1", 404, "none").await;
        passing(&house, "/poll", &A).await.answered(&house, status);
        assert_eq!(admitted(&house, "/items/1", &A).await, accepts, "{status}");
        assert!(!admitted(&house, "/items/1", &B).await, "{status}");
    }
}

/// The head of a stream may come long after its request was sent; a refusal meanwhile is the younger word.
#[tokio::test]
async fn a_refusal_while_a_stream_was_awaited_has_the_last_word() {
    let house = accepting();
    let polled = passing(&house, "/poll", &A).await;
    fetched(&house, &A, "/items/2", 401, "who?").await;
    fetched(&house, &A, "/items/1", 404, "none").await;
    polled.answered(&house, 200);
    assert!(!admitted(&house, "/items/1", &A).await);
    passing(&house, "/poll", &A).await.answered(&house, 200);
    assert!(admitted(&house, "/items/1", &A).await, "asked after it, and accepted");
    passing(&house, "/items/1", &A).await.answered(&house, 403);
    assert!(!admitted(&house, "/items/1", &A).await);
}

/// It flies beside those who wait for each other, and may show sooner what a mutation is about to change.
#[tokio::test]
async fn who_comes_after_what_streamed_past_a_mutation_joins_no_fetch_from_before() {
    let house = House::new();
    let mutation = house.mutate("PUT", "/items/1").await;
    let under_way = house.asked("PUT", "/items/1").await;
    let before = house.get("/items/1").await;
    let older = house.asked("GET", "/items/1").await;
    passing(&house, "/items/1", &[("Range", "bytes=0-1")]).await.answered(&house, 206);
    let after = house.get("/items/1").await;
    house.asked("GET", "/items/1").await.answer(ok("new"));
    assert_eq!(after.got().await.text(), "new");
    older.answer(ok("old"));
    assert_eq!(before.got().await.text(), "old");
    under_way.answer(ok("done"));
    mutation.got().await;
}

/// Many an origin answers OPTIONS, which a field can put in place of GET, to anybody.
#[tokio::test]
async fn a_get_that_stands_for_another_method_accepts_nobody() {
    for (method, accepts) in [("OPTIONS", false), ("TRACE", false), ("HEAD", true), ("GET", true)] {
        let house = accepting();
        fetched(&house, &A, "/items/1", 404, "none").await;
        let lines = [A[0], ("X-HTTP-Method-Override", method)];
        passing(&house, "/poll", &lines).await.answered(&house, 200);
        assert_eq!(admitted(&house, "/items/1", &A).await, accepts, "{method}");
    }
}

#[tokio::test]
async fn what_streams_past_accepts_to_a_shared_url_if_it_is_what_a_fetch_would_ask() {
    for (streams, accepts) in
        [("/items/1", true), ("/items/1?token=t", false), ("/items/2", false), ("/items", false), ("/poll", false)]
    {
        let ignoring = "scope = \"authenticated\"\nquery = { ignore = [\"token\"] }\n";
        let house = House::with(&SHARED.replace("scope = \"public\"\n", ignoring));
        fetched(&house, &A, "/items/1", 200, "one").await;
        passing(&house, streams, &B).await.answered(&house, 200);
        assert_eq!(admitted(&house, "/items/1", &B).await, accepts, "{streams}");
    }
}

/// Buffered or streamed, a mutation's 403 is a word about its URL and that caller.
#[tokio::test]
async fn a_403_to_a_streamed_mutation_ends_what_was_stored_for_that_url() {
    let house = private();
    for caller in [&A, &B] {
        fetched(&house, caller, "/items/1", 200, "one").await;
        fetched(&house, caller, "/items/2", 200, "two").await;
    }
    let passage = house.pipeline.pass(&request("PUT", "/items/1", &A), Detail::Pass).await.expect("there is room");
    let mut mutation = passage.mutation.expect("it has a barrier");
    mutation.head(&Head { status: 403, reason: "".into(), fields: Default::default() });
    mutation.end();
    assert!(!admitted(&house, "/items/1", &A).await);
    assert!(admitted(&house, "/items/2", &A).await && admitted(&house, "/items/1", &B).await);
    assert_eq!(house.causes(), [Cause::Credential]);
}

/// Somebody who was sent home ten minutes ago is not fed on what others were told because the origin stumbles over them:
/// it was reached.
#[tokio::test]
async fn an_error_that_was_answered_needs_acceptance_as_anything_else_does() {
    let authenticated = "scope = \"authenticated\"\nstale_if_error = \"1h\"\n";
    let whole = status(500, &[], "oops");
    let cut = Scripted { breaks: true, ..status(500, &[], "oops") };
    for (answer, expected) in [(whole, 500), (cut, 502)] {
        let house = House::with(&SHARED.replace("scope = \"public\"\n", authenticated));
        for caller in [&A, &B] {
            fetched(&house, caller, "/items/1", 200, "one").await;
        }
        house.age(600);
        let b = house.get_with("/items/1", &B).await;
        house.asked("GET", "/items/1").await.answer(answer);
        assert_eq!(b.got().await.head.status, expected);
        // Where nothing answers, nobody can ask.
        let b = house.get_with("/items/1", &B).await;
        house.asked("GET", "/items/1").await.fail(freshgate::origin::OriginErrorKind::Connect);
        assert_eq!(b.got().await.text(), "one");
    }
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
