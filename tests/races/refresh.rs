//! Renewing what is stored: in the background, by validation, and never across a mutation.

use crate::house::{Asking, House, SHARED, ok, status, turns};
use freshgate::origin::OriginErrorKind;
use freshgate::origin::scripted::Scripted;
use freshgate::semantics::cache_status::Detail;

fn renewing() -> House {
    House::with(&format!("{SHARED}stale_while_revalidate = \"1h\""))
}

#[tokio::test]
async fn what_is_stale_is_renewed_once_however_many_ask() {
    let house = renewing();
    house.stores("/items/1", "stale").await;
    house.age(61);
    for _ in 0..100 {
        let got = house.get("/items/1").await.got().await;
        assert_eq!((got.text(), got.detail()), ("stale", Some(Detail::StaleWhileRevalidate)));
    }
    let refresh = house.asked("GET", "/items/1").await;
    house.quiet().await;
    refresh.answer(ok("renewed"));
    turns().await;
    house.hits("/items/1", "renewed").await;
    let background = house.in_background();
    assert_eq!((background.len(), background[0].origin_requests), (1, 1));
    house.quiet().await;
}

#[tokio::test]
async fn a_refresh_that_a_mutation_overtakes_is_not_stored() {
    let house = renewing();
    house.stores("/items/1", "old").await;
    house.age(61);
    house.hits("/items/1", "old").await;
    let refresh = house.asked("GET", "/items/1").await;
    house.mutated("PUT", "/items/1").await;
    refresh.answer(ok("old"));
    turns().await;
    house.asks("/items/1", "new").await;
}

#[tokio::test]
async fn after_a_mutation_nothing_stale_is_served_while_it_is_renewed() {
    let house = renewing();
    house.stores("/items/1", "old").await;
    house.mutated("PUT", "/items/1").await;
    let got = house.asks("/items/1", "new").await;
    assert!(!got.is_hit());
}

#[tokio::test]
async fn a_get_after_the_mutation_does_not_wait_for_a_refresh_from_before() {
    let house = renewing();
    house.stores("/items/1", "old").await;
    house.age(61);
    house.hits("/items/1", "old").await;
    let refresh = house.asked("GET", "/items/1").await;
    house.mutated("PUT", "/items/1").await;
    let after = house.get("/items/1").await;
    let younger = house.asked("GET", "/items/1").await;
    refresh.answer(ok("old"));
    assert!(after.waits().await);
    younger.answer(ok("new"));
    assert_eq!(after.got().await.text(), "new");
    house.hits("/items/1", "new").await;
}

#[tokio::test]
async fn nothing_is_renewed_while_a_mutation_is_in_flight() {
    let house = renewing();
    house.stores("/items/1", "old").await;
    house.age(61);
    let mutation = house.mutate("PUT", "/items/1").await;
    let sent = house.asked("PUT", "/items/1").await;
    assert!(!house.asks("/items/1", "maybe").await.is_hit());
    sent.answer(ok("done"));
    mutation.got().await;
}

const TAGGED: [(&str, &str); 1] = [("ETag", "\"v1\"")];

/// An item that the origin itself vouches for, past its time.
async fn vouched_for(house: &House) {
    let reader = house.get("/items/1").await;
    house.asked("GET", "/items/1").await.answer(status(200, &TAGGED, "old"));
    assert!(reader.got().await.stored());
    house.age(61);
}

#[tokio::test]
async fn a_304_renews_what_is_stored() {
    let house = House::new();
    vouched_for(&house).await;
    let reader = house.get("/items/1").await;
    let validation = house.asked("GET", "/items/1").await;
    assert_eq!(validation.ask.fields.get("if-none-match"), Some(&b"\"v1\""[..]));
    validation.answer(status(304, &TAGGED, ""));
    let got = reader.got().await;
    assert_eq!((got.head.status, got.text(), got.stored()), (200, "old", true));
    assert_eq!(got.exchange.origin_bytes, 0);
    house.hits("/items/1", "old").await;
}

#[tokio::test]
async fn a_304_that_a_mutation_overtakes_renews_nothing() {
    let house = House::new();
    vouched_for(&house).await;
    let reader = house.get("/items/1").await;
    let validation = house.asked("GET", "/items/1").await;
    house.mutated("PUT", "/items/1").await;
    validation.answer(status(304, &TAGGED, ""));
    let got = reader.got().await;
    assert_eq!((got.text(), got.stored(), got.detail()), ("old", false, Some(Detail::Overtaken)));
    house.asks("/items/1", "new").await;
}

#[tokio::test]
async fn a_304_that_a_mutation_is_about_to_overtake_renews_nothing() {
    let house = House::new();
    vouched_for(&house).await;
    let reader = house.get("/items/1").await;
    let validation = house.asked("GET", "/items/1").await;
    let mutation = house.mutate("PUT", "/items/1").await;
    let sent = house.asked("PUT", "/items/1").await;
    validation.answer(status(304, &TAGGED, ""));
    assert!(!reader.got().await.stored());
    sent.answer(ok("done"));
    mutation.got().await;
    house.asks("/items/1", "new").await;
}

/// "A weak validator might not change for every change to the representation data" (RFC 9110 §8.8.1), and a date is one.
#[tokio::test]
async fn a_date_does_not_vouch_for_what_was_invalidated() {
    for weak in [[("Last-Modified", "Wed, 31 Dec 2025 23:59:59 GMT")], [("ETag", "W/\"v1\"")]] {
        let house = House::new();
        let reader = house.get("/items/1").await;
        house.asked("GET", "/items/1").await.answer(status(200, &weak, "old"));
        assert!(reader.got().await.stored());
        house.mutated("PUT", "/items/1").await;
        let reader = house.get("/items/1").await;
        let fetch = house.asked("GET", "/items/1").await;
        assert!(!fetch.ask.fields.contains("if-modified-since") && !fetch.ask.fields.contains("if-none-match"));
        fetch.answer(ok("new"));
        assert_eq!(reader.got().await.text(), "new");
    }
}

#[tokio::test]
async fn a_date_that_was_good_when_the_fetch_began_to_wait_for_its_turn_does_not_vouch_for_what_was_invalidated_meanwhile()
 {
    let house = House::with(&SHARED.replace("[[route]]", "max_concurrent = 1\n[[route]]"));
    let reader = house.get("/items/1").await;
    let dated = [("Last-Modified", "Wed, 31 Dec 2025 23:59:59 GMT")];
    house.asked("GET", "/items/1").await.answer(status(200, &dated, "old"));
    assert!(reader.got().await.stored());
    house.age(61);
    let busy = house.get("/items/2").await;
    let holds_the_place = house.asked("GET", "/items/2").await;
    let mutation = house.mutate("PUT", "/items/1").await;
    let reader = house.get("/items/1").await;
    holds_the_place.answer(ok("two"));
    busy.got().await;
    house.asked("PUT", "/items/1").await.answer(ok("done"));
    mutation.got().await;
    let fetch = house.asked("GET", "/items/1").await;
    assert!(!fetch.ask.fields.contains("if-modified-since"));
    fetch.answer(ok("new"));
    assert_eq!(reader.got().await.text(), "new");
    house.hits("/items/1", "new").await;
}

#[tokio::test]
async fn a_strong_entity_tag_vouches_for_what_was_invalidated() {
    let house = House::new();
    vouched_for(&house).await;
    house.mutated("PUT", "/items/1").await;
    let reader = house.get("/items/1").await;
    let validation = house.asked("GET", "/items/1").await;
    assert_eq!(validation.ask.fields.get("if-none-match"), Some(&b"\"v1\""[..]));
    validation.answer(status(304, &TAGGED, ""));
    assert!(reader.got().await.stored());
    house.hits("/items/1", "old").await;
}

/// B is seen by one reader and never stored; then A is back. Whoever holds B must not be told that it is current.
#[tokio::test]
async fn the_date_of_a_content_that_was_never_stored_is_no_other_content_s() {
    let house = House::new();
    house.stores("/items/1", "A").await;
    let mutation = house.mutate("PUT", "/items/1").await;
    let sent = house.asked("PUT", "/items/1").await;
    house.age(5);
    let b = house.asks("/items/1", "B").await;
    let date = b.head.fields.get("last-modified").expect("a content of this second is dated").to_vec();
    sent.answer(status(422, &[], "taken back"));
    mutation.got().await;
    let since: &'static str = String::from_utf8(date).expect("a date is text").leak();
    let holder = house.get_with("/items/1", &[("If-Modified-Since", since)]).await;
    if let Some(asked) = house.next().await {
        asked.answer(ok("A"));
    }
    let got = holder.got().await;
    assert_eq!((got.head.status, got.text()), (200, "A"));
}

#[tokio::test]
async fn a_busy_origin_is_spared_background_work_only() {
    let house = renewing();
    house.stores("/items/1", "stale").await;
    house.age(61);
    let reader = house.get("/items/2").await;
    house.asked("GET", "/items/2").await.answer(status(429, &[("Retry-After", "30")], "later"));
    assert_eq!(reader.got().await.head.status, 429);
    house.hits("/items/1", "stale").await;
    house.quiet().await;
    // Who waits is not told to come back.
    house.asks("/items/3", "fetched").await;
    house.age(29);
    house.hits("/items/1", "stale").await;
    house.quiet().await;
    house.age(1);
    house.hits("/items/1", "stale").await;
    house.asked("GET", "/items/1").await;
}

/// RFC 9111 §4.3.5: it was compared with what was stored then.
#[tokio::test]
async fn a_head_outdates_nothing_that_was_stored_meanwhile() {
    let house = House::with("");
    let anew = [("Cache-Control", "no-cache")];
    let answer = |tag, body| status(200, &[("ETag", tag), ("Cache-Control", "max-age=60")], body);
    let reader = house.get("/items/1").await;
    house.asked("GET", "/items/1").await.answer(answer("\"v1\"", "old"));
    assert!(reader.got().await.stored());
    let head = house.ask_with("HEAD", "/items/1", &anew);
    let asked = house.asked("HEAD", "/items/1").await;
    let reader = house.get_with("/items/1", &anew).await;
    house.asked("GET", "/items/1").await.answer(answer("\"v2\"", "new"));
    assert!(reader.got().await.stored());
    asked.answer(answer("\"v2\"", ""));
    assert_eq!(head.got().await.head.status, 200);
    house.hits("/items/1", "new").await;
}

/// A house in plain mode that holds "old", stale.
async fn stale_in_plain_mode() -> House {
    let house = House::with("");
    let reader = house.get("/items/1").await;
    house.asked("GET", "/items/1").await.answer(tagged("\"old\"", "old"));
    assert!(reader.got().await.stored());
    house.age(61);
    house
}

fn tagged(tag: &'static str, body: &str) -> Scripted {
    status(200, &[("ETag", tag), ("Cache-Control", "max-age=60")], body)
}

/// `count` HEADs of one item, all begun.
async fn heads(house: &House, count: usize) -> Vec<Asking> {
    let heads = (0..count).map(|_| house.ask_with("HEAD", "/items/1", &[])).collect();
    turns().await;
    heads
}

#[tokio::test]
async fn concurrent_heads_of_what_is_stale_are_one_head_where_it_still_holds() {
    let house = stale_in_plain_mode().await;
    let heads = heads(&house, 100).await;
    let head = house.asked("HEAD", "/items/1").await;
    house.quiet().await;
    head.answer(tagged("\"old\"", ""));
    let mut asked = 0;
    for head in heads {
        let got = head.got().await;
        assert_eq!((got.head.status, got.head.fields.get("etag")), (200, Some(&b"\"old\""[..])));
        assert_eq!(got.exchange.origin_requests, u32::from(!got.collapsed()));
        asked += got.exchange.origin_requests;
    }
    assert_eq!(asked, 1);
    house.hits("/items/1", "old").await;
}

/// What the HEAD said is its caller's; the others are told by one GET, and so is who asks with HEAD from then on.
#[tokio::test]
async fn concurrent_heads_of_what_has_changed_are_one_head_and_one_get() {
    let house = stale_in_plain_mode().await;
    let mut heads = heads(&house, 100).await;
    house.asked("HEAD", "/items/1").await.answer(status(200, &[("ETag", "\"new\"")], ""));
    let first = heads.remove(0).got().await;
    assert_eq!((first.head.fields.get("etag"), first.exchange.origin_requests), (Some(&b"\"new\""[..]), 1));
    let get = house.asked("GET", "/items/1").await;
    heads.push(house.ask_with("HEAD", "/items/1", &[]));
    turns().await;
    house.quiet().await;
    get.answer(tagged("\"new\"", "new"));
    let mut asked = 0;
    for head in heads {
        let got = head.got().await;
        assert_eq!((got.head.fields.get("etag"), got.text()), (Some(&b"\"new\""[..]), ""));
        asked += got.exchange.origin_requests;
    }
    assert_eq!(asked, 1);
    house.hits("/items/1", "new").await;
}

#[tokio::test]
async fn a_head_that_fails_fails_for_all_who_wait_for_it_and_is_asked_of_nobody_that_is_busy() {
    for (kind, expected, asked) in [(OriginErrorKind::Timeout, 504, 1), (OriginErrorKind::Saturated, 503, 0)] {
        let house = stale_in_plain_mode().await;
        let heads = heads(&house, 10).await;
        house.asked("HEAD", "/items/1").await.fail(kind);
        let mut requests = 0;
        for head in heads {
            let got = head.got().await;
            assert_eq!(got.head.status, expected);
            requests += got.exchange.origin_requests;
        }
        assert_eq!(requests, asked);
        house.quiet().await;
    }
}

/// What says nothing of what is stored is each caller's own: no HEAD waits for another.
#[tokio::test]
async fn heads_that_the_origin_refuses_make_no_queue() {
    let house = stale_in_plain_mode().await;
    let heads = heads(&house, 3).await;
    for _ in 0..3 {
        house.asked("HEAD", "/items/1").await.answer(status(405, &[], ""));
    }
    for head in heads {
        assert_eq!(head.got().await.head.status, 405);
    }
}
