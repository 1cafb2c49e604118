//! No stampede, no convoy: concurrent misses are one request, and whatever becomes of it holds nobody longer than needed.

use crate::house::{Asking, House, SHARED, ok, request, status, turns};
use freshgate::origin::scripted::ScriptedOrigin;
use freshgate::origin::{Ask, Interim, Origin, OriginError, OriginErrorKind, Reply};
use freshgate::semantics::cache_status::Detail;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// `count` GETs of one item, all begun.
async fn readers(house: &House, count: usize) -> Vec<Asking> {
    let readers = (0..count).map(|_| house.start("/items/1", &[])).collect();
    turns().await;
    readers
}

#[tokio::test]
async fn a_thousand_concurrent_misses_are_one_request() {
    let house = House::new();
    let readers = readers(&house, 1000).await;
    let asked = house.asked("GET", "/items/1").await;
    house.quiet().await;
    asked.answer(ok("once"));
    let mut leaders = 0;
    for reader in readers {
        let got = reader.got().await;
        assert_eq!((got.head.status, got.text()), (200, "once"));
        assert_eq!(got.exchange.origin_requests, u32::from(!got.collapsed()));
        // RFC 9111 §5.1: an Age says that the response was not made for this request.
        assert_eq!(got.head.fields.contains("age"), got.collapsed());
        leaders += got.exchange.origin_requests;
    }
    assert_eq!(leaders, 1);
    house.quiet().await;
}

#[tokio::test]
async fn a_client_that_leaves_changes_nothing_for_its_fetch() {
    let house = House::new();
    let leader = house.get("/items/1").await;
    let fetch = house.asked("GET", "/items/1").await;
    let waiter = house.get("/items/1").await;
    leader.leave().await;
    fetch.answer(ok("fetched for nobody"));
    let got = waiter.got().await;
    assert_eq!((got.text(), got.collapsed()), ("fetched for nobody", true));
    house.hits("/items/1", "fetched for nobody").await;
}

#[tokio::test]
async fn a_waiter_that_leaves_changes_nothing_for_the_others() {
    let house = House::new();
    let mut readers = readers(&house, 3).await;
    let fetch = house.asked("GET", "/items/1").await;
    readers.remove(1).leave().await;
    fetch.answer(ok("whole"));
    for reader in readers {
        assert_eq!(reader.got().await.text(), "whole");
    }
    house.quiet().await;
}

#[tokio::test]
async fn followers_of_a_failed_leader_fail_at_once_and_together() {
    for (kind, expected) in [
        (OriginErrorKind::Connect, 502),
        (OriginErrorKind::Protocol, 502),
        (OriginErrorKind::Timeout, 504),
        (OriginErrorKind::Saturated, 503),
    ] {
        let house = House::new();
        let readers = readers(&house, 100).await;
        house.asked("GET", "/items/1").await.fail(kind);
        for reader in readers {
            assert_eq!(reader.got().await.head.status, expected);
        }
        house.quiet().await;
    }
}

#[tokio::test]
async fn followers_of_a_body_that_breaks_off_fail_at_once_and_together() {
    let house = House::new();
    let readers = readers(&house, 100).await;
    let mut broken = ok("{\"ha");
    broken.breaks = true;
    house.asked("GET", "/items/1").await.answer(broken);
    for reader in readers {
        assert_eq!(reader.got().await.head.status, 502);
    }
    house.quiet().await;
    house.asks("/items/1", "whole").await;
}

#[tokio::test]
async fn followers_of_a_failed_leader_get_what_is_stale_where_that_is_allowed() {
    let house = House::with(&format!("{SHARED}stale_if_error = \"1h\""));
    house.stores("/items/1", "stale").await;
    house.age(61);
    let readers = readers(&house, 100).await;
    house.asked("GET", "/items/1").await.fail(OriginErrorKind::Connect);
    for reader in readers {
        let got = reader.got().await;
        assert_eq!((got.text(), got.detail()), ("stale", Some(Detail::StaleIfError)));
    }
    house.quiet().await;
}

#[tokio::test]
async fn what_was_invalidated_is_not_served_because_the_origin_failed() {
    let house = House::with(&format!("{SHARED}stale_if_error = \"1h\""));
    house.stores("/items/1", "old").await;
    house.age(61);
    let reader = house.get("/items/1").await;
    let fetch = house.asked("GET", "/items/1").await;
    house.mutated("PUT", "/items/1").await;
    fetch.fail(OriginErrorKind::Connect);
    assert_eq!(reader.got().await.head.status, 502);
}

/// As soon as the leader's answer is known to be for itself alone, all others are at the origin at the same time.
async fn followers_go_on_in_parallel(answer: freshgate::origin::scripted::Scripted) {
    let house = House::new();
    let mut readers = readers(&house, 50).await;
    let expected = answer.status;
    house.asked("GET", "/items/1").await.answer(answer.clone());
    let asked = house.all_asked().await;
    assert_eq!(asked.len(), 49, "a queue of one after the other");
    for asked in asked {
        asked.answer(answer.clone());
    }
    for reader in readers.drain(..) {
        let got = reader.got().await;
        assert_eq!((got.head.status, got.collapsed(), got.stored()), (expected, false, false));
    }
    house.quiet().await;
}

#[tokio::test]
async fn an_uncacheable_leader_makes_no_queue() {
    followers_go_on_in_parallel(status(200, &[("Cache-Control", "no-store")], "mine")).await;
    followers_go_on_in_parallel(status(200, &[("Set-Cookie", "a=b")], "mine")).await;
    followers_go_on_in_parallel(status(200, &[("Vary", "*")], "mine")).await;
    followers_go_on_in_parallel(status(500, &[], "broken")).await;
    followers_go_on_in_parallel(status(403, &[], "no")).await;
}

#[tokio::test]
async fn what_was_uncacheable_lately_is_not_waited_for_at_all() {
    let house = House::new();
    let reader = house.get("/items/1").await;
    house.asked("GET", "/items/1").await.answer(status(200, &[("Cache-Control", "no-store")], "mine"));
    reader.got().await;
    let readers = readers(&house, 50).await;
    let asked = house.all_asked().await;
    assert_eq!(asked.len(), 50);
    // The origin has changed its mind: from here on it is stored and collapsed again.
    for asked in asked {
        asked.answer(ok("everybody's"));
    }
    for reader in readers {
        assert!(reader.got().await.stored());
    }
    house.hits("/items/1", "everybody's").await;
}

#[tokio::test]
async fn an_uncacheable_head_is_enough_to_let_the_followers_go() {
    let house = House::new();
    let readers = readers(&house, 3).await;
    let fetch = house.asked("GET", "/items/1").await;
    let head = freshgate::origin::Head {
        status: 200,
        reason: "OK".into(),
        fields: [("Cache-Control", "no-store")].into_iter().collect(),
    };
    let body = fetch.answer_slowly(head, freshgate::origin::Framing::Chunked);
    assert_eq!(house.all_asked().await.len(), 2, "they need not wait for a body that they will not get");
    drop((body, readers));
}

#[tokio::test]
async fn collapse_never_crosses_callers() {
    let house = House::with(&SHARED.replace("scope = \"public\"\n", ""));
    let a = house.get_with("/items/1", &[("Authorization", "Bearer a")]).await;
    let b = house.get_with("/items/1", &[("Authorization", "Bearer b")]).await;
    let nobody = house.get("/items/1").await;
    for expected in [Some("Bearer a"), Some("Bearer b"), None] {
        let asked = house.asked("GET", "/items/1").await;
        assert_eq!(asked.ask.fields.get("authorization"), expected.map(str::as_bytes));
        asked.answer(ok(expected.unwrap_or("nobody's")));
    }
    assert_eq!(a.got().await.text(), "Bearer a");
    assert_eq!(b.got().await.text(), "Bearer b");
    assert_eq!(nobody.got().await.text(), "nobody's");
}

const COLOURS: [&str; 4] = ["red", "green", "blue", "white"];

/// One GET per colour, and one without any, of a resource of which nobody knows yet that it varies.
async fn by_colour(house: &House) -> Vec<(&'static str, Asking)> {
    let mut readers = vec![("none", house.start("/items/1", &[]))];
    let lines = [[("X-Colour", "red")], [("X-Colour", "green")], [("X-Colour", "blue")], [("X-Colour", "white")]];
    for (colour, lines) in COLOURS.iter().zip(lines) {
        readers.push((colour, house.start("/items/1", &lines)));
    }
    turns().await;
    readers
}

fn coloured(asked: freshgate::origin::scripted::Asked) {
    let colour = asked.ask.fields.get("x-colour").unwrap_or(b"none").to_vec();
    asked.answer(status(200, &[("Vary", "X-Colour")], std::str::from_utf8(&colour).expect("tests send text")));
}

#[tokio::test]
async fn collapse_never_crosses_variants() {
    let house = House::new();
    let readers = by_colour(&house).await;
    coloured(house.asked("GET", "/items/1").await);
    // Only now is it known that they are not after the same: each asks for its own, at once.
    let asked = house.all_asked().await;
    assert_eq!(asked.len(), COLOURS.len());
    asked.into_iter().for_each(coloured);
    for (colour, reader) in readers {
        assert_eq!(reader.got().await.text(), colour);
    }
}

#[tokio::test]
async fn variants_make_no_queue_while_a_mutation_keeps_them_out_of_the_store() {
    let house = House::new();
    let mutation = house.mutate("PUT", "/items/1").await;
    let sent = house.asked("PUT", "/items/1").await;
    let readers = by_colour(&house).await;
    coloured(house.asked("GET", "/items/1").await);
    let asked = house.all_asked().await;
    assert_eq!(asked.len(), COLOURS.len(), "one after the other");
    asked.into_iter().for_each(coloured);
    for (colour, reader) in readers {
        assert_eq!(reader.got().await.text(), colour);
    }
    sent.answer(ok("done"));
    mutation.got().await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_waits_no_longer_than_its_own_deadline() {
    let house = House::new();
    let leader = house.get("/items/1").await;
    let fetch = house.asked("GET", "/items/1").await;
    house.pass(10).await;
    let follower = house.get("/items/1").await;
    house.pass(29).await;
    assert!(follower.waits().await);
    house.pass(1).await;
    let got = follower.got().await;
    assert_eq!((got.head.status, got.detail()), (504, Some(Detail::Timeout)));
    assert_eq!(got.exchange.origin_requests, 0, "it asked nothing");
    house.quiet().await;
    fetch.answer(ok("late"));
    assert_eq!(leader.got().await.text(), "late");
    house.hits("/items/1", "late").await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_who_goes_on_alone_goes_on_to_the_same_deadline() {
    let house = House::new();
    let leader = house.get("/items/1").await;
    let fetch = house.asked("GET", "/items/1").await;
    house.pass(10).await;
    let follower = house.get("/items/1").await;
    house.pass(15).await;
    fetch.answer(status(200, &[("Cache-Control", "no-store")], "mine"));
    assert_eq!(leader.got().await.text(), "mine");
    let alone = house.asked("GET", "/items/1").await;
    house.pass(14).await;
    assert!(follower.waits().await);
    house.pass(1).await;
    let got = follower.got().await;
    assert_eq!((got.head.status, got.detail()), (504, Some(Detail::Timeout)));
    drop(alone);
}

/// Panics at every request.
struct Panics(AtomicUsize);

#[async_trait::async_trait]
impl Origin for Panics {
    async fn ask(&self, _: Ask, _: Option<Interim>) -> Result<Reply, OriginError> {
        self.0.fetch_add(1, SeqCst);
        tokio::task::yield_now().await;
        panic!("a bug in the origin's client")
    }
}

#[tokio::test]
async fn a_panic_releases_the_waiters_and_costs_each_request_a_502() {
    let panics = Arc::new(Panics(AtomicUsize::new(0)));
    let toml = format!("[origin]\nurl = \"http://origin.test\"\n{SHARED}");
    let house = House::before(&toml, panics.clone(), ScriptedOrigin::new());
    let readers = readers(&house, 10).await;
    for reader in readers {
        assert_eq!(reader.got().await.head.status, 502);
    }
    assert_eq!(panics.0.load(SeqCst), 10, "each for itself, none twice");
    let again = house.get("/items/1").await;
    assert_eq!(again.got().await.head.status, 502, "nobody waits for the dead");
}

#[tokio::test]
async fn a_panic_leaves_the_outcome_of_a_mutation_unknown_and_its_barrier_lowered() {
    let panics = Arc::new(Panics(AtomicUsize::new(0)));
    let toml = format!("[origin]\nurl = \"http://origin.test\"\n{SHARED}");
    let house = House::before(&toml, panics.clone(), ScriptedOrigin::new());
    let answer = house.pipeline.mutate(request("PUT", "/items/1", &[]), bytes::Bytes::new(), None).await;
    assert_eq!(answer.head.status, 502);
    assert_eq!(house.causes(), [freshgate::changes::Cause::Unknown], "before the client hears of it");
    assert_eq!(panics.0.load(SeqCst), 1, "sent at most once");
}
