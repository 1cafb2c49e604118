//! Never stale after a write: fetches that a mutation overtakes, and mutations of which nobody knows how they ended.

use crate::house::{Body, House, SHARED, ok, slowly, status, turns};
use bytes::Bytes;
use freshgate::changes::Cause;
use freshgate::origin::{Framing, Head, OriginError, OriginErrorKind};
use freshgate::pipeline::exchange::Outcome;
use freshgate::semantics::cache_status::Detail;

#[tokio::test]
async fn a_fetch_that_a_mutation_overtakes_is_not_stored() {
    let house = House::new();
    let reader = house.get("/items/1").await;
    let fetch = house.asked("GET", "/items/1").await;
    house.mutated("PUT", "/items/1").await;
    fetch.answer(ok("old"));
    let got = reader.got().await;
    assert_eq!((got.text(), got.stored(), got.detail()), ("old", false, Some(Detail::Overtaken)));
    house.asks("/items/1", "new").await;
    house.hits("/items/1", "new").await;
}

#[tokio::test]
async fn a_collection_falls_with_its_item() {
    let house = House::new();
    house.stores("/items?page=2", "old").await;
    house.mutated("DELETE", "/items/1").await;
    house.asks("/items?page=2", "new").await;
}

#[tokio::test]
async fn what_a_mutation_does_not_touch_stays() {
    let house = House::new();
    house.stores("/items/2", "two").await;
    house.mutated("PUT", "/items/1").await;
    house.hits("/items/2", "two").await;
}

#[tokio::test]
async fn a_get_after_the_mutation_s_answer_does_not_join_an_older_fetch() {
    let house = House::new();
    let before = house.get("/items/1").await;
    let older = house.asked("GET", "/items/1").await;
    house.mutated("PUT", "/items/1").await;
    let after = house.get("/items/1").await;
    let younger = house.asked("GET", "/items/1").await;
    older.answer(ok("old"));
    assert_eq!(before.got().await.text(), "old");
    assert!(after.waits().await, "it was handed what was fetched before the mutation");
    younger.answer(ok("new"));
    let got = after.got().await;
    assert_eq!((got.text(), got.collapsed(), got.stored()), ("new", false, true));
    house.hits("/items/1", "new").await;
}

#[tokio::test]
async fn an_older_fetch_that_lands_last_does_not_replace_a_younger_one() {
    let house = House::new();
    let before = house.get("/items/1").await;
    let older = house.asked("GET", "/items/1").await;
    house.mutated("PUT", "/items/1").await;
    house.asks("/items/1", "new").await;
    older.answer(ok("old"));
    assert_eq!(before.got().await.text(), "old");
    house.hits("/items/1", "new").await;
}

#[tokio::test]
async fn an_older_fetch_that_lands_does_not_end_the_younger_flight() {
    let house = House::new();
    let before = house.get("/items/1").await;
    let older = house.asked("GET", "/items/1").await;
    house.mutated("PUT", "/items/1").await;
    let after = house.get("/items/1").await;
    let younger = house.asked("GET", "/items/1").await;
    older.answer(ok("old"));
    assert_eq!(before.got().await.text(), "old");
    let joins = house.get("/items/1").await;
    house.quiet().await;
    younger.answer(ok("new"));
    assert_eq!(after.got().await.text(), "new");
    assert!(joins.got().await.collapsed());
}

#[tokio::test]
async fn a_waiter_from_before_the_mutation_may_have_the_old_content_and_nobody_else() {
    let house = House::new();
    let leader = house.get("/items/1").await;
    let fetch = house.asked("GET", "/items/1").await;
    let waiter = house.get("/items/1").await;
    house.mutated("PUT", "/items/1").await;
    fetch.answer(ok("old"));
    assert_eq!(leader.got().await.text(), "old");
    let got = waiter.got().await;
    assert_eq!((got.text(), got.collapsed(), got.stored()), ("old", true, false));
    house.asks("/items/1", "new").await;
}

/// The flight of a GET looks like any other until its answer is a 404, which falls with the collection as well.
#[tokio::test]
async fn a_404_fetched_before_the_item_was_created_is_handed_to_nobody_after() {
    let house = House::new();
    let before = house.get("/items/1").await;
    let older = house.asked("GET", "/items/1").await;
    house.mutated("POST", "/items").await;
    let after = house.get("/items/1").await;
    assert!(after.waits().await);
    older.answer(status(404, &[], "absent"));
    assert_eq!(before.got().await.head.status, 404);
    house.asked("GET", "/items/1").await.answer(ok("created"));
    assert_eq!(after.got().await.text(), "created");
    house.hits("/items/1", "created").await;
}

/// Whoever has seen the item in its collection, while the creation is under way, is not told that there is none.
#[tokio::test]
async fn a_404_fetched_before_the_creation_is_not_handed_to_who_came_during_it() {
    let house = House::new();
    let before = house.get("/items/1").await;
    let older = house.asked("GET", "/items/1").await;
    let creation = house.mutate("POST", "/items").await;
    let sent = house.asked("POST", "/items").await;
    let during = house.get("/items/1").await;
    assert!(during.waits().await);
    older.answer(status(404, &[], "absent"));
    assert_eq!(before.got().await.head.status, 404);
    house.asked("GET", "/items/1").await.answer(ok("created"));
    assert_eq!(during.got().await.text(), "created");
    sent.answer(ok("done"));
    creation.got().await;
}

/// A creation that ended before the fetch began is in what the fetch brings.
#[tokio::test]
async fn a_404_fetched_after_a_creation_is_one_fetch_for_all_who_wait() {
    let house = House::new();
    house.mutated("POST", "/items").await;
    let leader = house.get("/items/1").await;
    let fetch = house.asked("GET", "/items/1").await;
    let waiter = house.get("/items/1").await;
    assert!(waiter.waits().await);
    fetch.answer(status(404, &[], "absent"));
    assert_eq!(leader.got().await.head.status, 404);
    let got = waiter.got().await;
    assert_eq!((got.head.status, got.collapsed()), (404, true));
}

#[tokio::test]
async fn a_stored_404_ends_with_the_creation() {
    let house = House::new();
    let reader = house.get("/items/1").await;
    house.asked("GET", "/items/1").await.answer(status(404, &[], "absent"));
    assert!(reader.got().await.stored());
    house.hits("/items/1", "absent").await;
    house.mutated("POST", "/items").await;
    house.asks("/items/1", "created").await;
}

#[tokio::test]
async fn reads_during_a_mutation_neither_come_from_the_store_nor_enter_it() {
    let house = House::new();
    house.stores("/items/1", "old").await;
    let mutation = house.mutate("PUT", "/items/1").await;
    let sent = house.asked("PUT", "/items/1").await;
    let got = house.asks("/items/1", "maybe").await;
    assert_eq!((got.stored(), got.detail()), (false, Some(Detail::Mutation)));
    // The first answer was not stored, so the second asks too.
    house.asks("/items/1", "old").await;
    sent.answer(ok("done"));
    mutation.got().await;
    house.asks("/items/1", "new").await;
    house.hits("/items/1", "new").await;
}

#[tokio::test]
async fn a_fetch_that_began_during_the_mutation_and_lands_after_it_is_not_stored() {
    let house = House::new();
    let mutation = house.mutate("PUT", "/items/1").await;
    let sent = house.asked("PUT", "/items/1").await;
    let reader = house.get("/items/1").await;
    let fetch = house.asked("GET", "/items/1").await;
    sent.answer(ok("done"));
    mutation.got().await;
    fetch.answer(ok("old"));
    let got = reader.got().await;
    assert_eq!((got.stored(), got.detail()), (false, Some(Detail::Overtaken)));
    house.asks("/items/1", "new").await;
}

#[tokio::test]
async fn a_read_during_the_mutation_does_not_join_a_fetch_from_before_it() {
    let house = House::new();
    let before = house.get("/items/1").await;
    let older = house.asked("GET", "/items/1").await;
    let mutation = house.mutate("PUT", "/items/1").await;
    let sent = house.asked("PUT", "/items/1").await;
    // One reader has seen the mutation's effect; the next must not see the time before it.
    assert_eq!(house.asks("/items/1", "new").await.text(), "new");
    let during = house.get("/items/1").await;
    older.answer(ok("old"));
    assert_eq!(before.got().await.text(), "old");
    house.asked("GET", "/items/1").await.answer(ok("new"));
    assert_eq!(during.got().await.text(), "new");
    sent.answer(ok("done"));
    mutation.got().await;
}

#[tokio::test]
async fn two_mutations_of_one_item_each_hold_the_barrier_up() {
    let house = House::new();
    let first = house.mutate("PUT", "/items/1").await;
    let first_sent = house.asked("PUT", "/items/1").await;
    let second = house.mutate("PATCH", "/items/1").await;
    let second_sent = house.asked("PATCH", "/items/1").await;
    first_sent.answer(ok("done"));
    first.got().await;
    assert_eq!(house.asks("/items/1", "between").await.detail(), Some(Detail::Mutation));
    assert!(!house.asks("/items/1", "between").await.stored(), "the second is still in flight");
    second_sent.answer(ok("done"));
    second.got().await;
    assert!(house.asks("/items/1", "new").await.stored());
    house.hits("/items/1", "new").await;
}

#[tokio::test]
async fn a_refused_mutation_empties_nothing() {
    for refusal in [400, 401, 403, 405, 406, 411, 413, 414, 415, 422, 428, 429] {
        let house = House::new();
        house.stores("/items/1", "kept").await;
        let mutation = house.mutate("PUT", "/items/1").await;
        house.asked("PUT", "/items/1").await.answer(status(refusal, &[], "no"));
        let record = mutation.got().await.exchange.mutation.expect("it was a mutation");
        assert_eq!((record.outcome, record.invalidated), (Outcome::Refused, 0), "{refusal}");
        house.hits("/items/1", "kept").await;
        assert_eq!(house.causes(), []);
    }
}

#[tokio::test]
async fn every_other_answer_invalidates() {
    for answer in [200, 201, 204, 205, 301, 303, 404, 409, 410, 412, 500, 501, 507] {
        let house = House::new();
        house.stores("/items/1", "old").await;
        let mutation = house.mutate("PUT", "/items/1").await;
        house.asked("PUT", "/items/1").await.answer(status(answer, &[], ""));
        let record = mutation.got().await.exchange.mutation.expect("it was a mutation");
        assert_eq!(record.outcome, Outcome::Done, "{answer}");
        assert!(house.asks("/items/1", "new").await.stored(), "{answer}: nothing is left open");
        assert_eq!(house.causes(), [Cause::Mutation]);
    }
}

/// The mutation was sent, and its answer never came: it may be applied now, or later.
async fn loses_the_answer(house: &House, kind: OriginErrorKind, expected: u16) {
    let mutation = house.mutate("PUT", "/items/1").await;
    house.asked("PUT", "/items/1").await.fail(kind);
    let got = mutation.got().await;
    assert_eq!(got.head.status, expected);
    assert_eq!(got.exchange.mutation.expect("it was a mutation").outcome, Outcome::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_invalidates_and_keeps_everything_unstored_for_the_quarantine() {
    for (kind, expected) in [(OriginErrorKind::Protocol, 502), (OriginErrorKind::Timeout, 504)] {
        let house = House::new();
        house.stores("/items/1", "old").await;
        loses_the_answer(&house, kind, expected).await;
        assert_eq!(house.causes(), [Cause::Unknown]);
        assert!(!house.asks("/items/1", "old").await.stored());
        house.pass(59).await;
        // Began within the quarantine, and lands after: whatever it read may have been changed since.
        let reader = house.get("/items/1").await;
        let fetch = house.asked("GET", "/items/1").await;
        house.pass(1).await;
        fetch.answer(ok("old"));
        assert!(!reader.got().await.stored());
        assert!(house.asks("/items/1", "new").await.stored());
        house.hits("/items/1", "new").await;
    }
}

#[tokio::test]
async fn an_answer_that_says_nothing_of_the_mutation_is_a_lost_one() {
    for answer in [502, 503, 504] {
        let house = House::new();
        house.stores("/items/1", "old").await;
        let mutation = house.mutate("PUT", "/items/1").await;
        house.asked("PUT", "/items/1").await.answer(status(answer, &[], ""));
        let got = mutation.got().await;
        assert_eq!(got.head.status, answer, "the client is told what the origin said");
        assert_eq!(got.exchange.mutation.expect("it was a mutation").outcome, Outcome::Unknown);
        assert!(!house.asks("/items/1", "old").await.stored());
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_lost_one() {
    let house = House::new();
    house.stores("/items/1", "old").await;
    let mutation = house.mutate("PUT", "/items/1").await;
    let mut answer = ok("do");
    answer.breaks = true;
    house.asked("PUT", "/items/1").await.answer(answer);
    let got = mutation.got().await;
    assert_eq!((got.head.status, got.detail()), (502, Some(Detail::Protocol)));
    assert!(!house.asks("/items/1", "old").await.stored());
}

#[tokio::test]
async fn where_nothing_was_sent_nothing_is_invalidated() {
    let house = House::new();
    house.stores("/items/1", "kept").await;
    let mutation = house.mutate("PUT", "/items/1").await;
    house.asked("PUT", "/items/1").await.fail(OriginErrorKind::Connect);
    assert_eq!(mutation.got().await.head.status, 502);
    house.hits("/items/1", "kept").await;
    assert_eq!(house.causes(), []);
}

#[tokio::test(start_paused = true)]
async fn an_accepted_mutation_has_not_ended() {
    for (routes, open) in [(SHARED.to_owned(), 60), (format!("{}settle = \"5s\"", SHARED), 5)] {
        let house = House::with(&routes);
        house.stores("/items/1", "old").await;
        let mutation = house.mutate("PUT", "/items/1").await;
        house.asked("PUT", "/items/1").await.answer(status(202, &[], "later"));
        mutation.got().await;
        assert!(!house.asks("/items/1", "old").await.stored());
        house.pass(open - 1).await;
        assert!(!house.asks("/items/1", "old").await.stored());
        assert_eq!(house.causes(), [Cause::Mutation]);
        house.pass(1).await;
        assert_eq!(house.causes(), [Cause::Mutation, Cause::Settled], "whoever read meanwhile is told");
        assert!(house.asks("/items/1", "new").await.stored());
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_lags_settles_after_every_mutation() {
    let house = House::with(&format!("{}settle = \"5s\"", SHARED));
    house.stores("/items/1", "old").await;
    house.mutated("PUT", "/items/1").await;
    house.pass(4).await;
    assert!(!house.asks("/items/1", "old, from a replica").await.stored());
    house.pass(1).await;
    assert!(house.asks("/items/1", "new").await.stored());
}

#[tokio::test(start_paused = true)]
async fn a_hanging_mutation_holds_the_barrier_no_longer_than_the_response_timeout() {
    let house = House::new();
    house.stores("/items/1", "old").await;
    let mutation = house.mutate("PUT", "/items/1").await;
    let sent = house.asked("PUT", "/items/1").await;
    house.pass(29).await;
    assert_eq!(house.causes(), [], "its barrier stands, and nothing is decided");
    house.pass(1).await;
    assert_eq!(house.causes(), [Cause::Unknown]);
    // From here it is as if its answer were lost: 60 s of quarantine, then the store is used again.
    assert!(!house.asks("/items/1", "old").await.stored());
    house.pass(60).await;
    assert!(house.asks("/items/1", "old").await.stored());
    // It was applied after all.
    sent.answer(ok("done"));
    mutation.got().await;
    assert_eq!(house.causes(), [Cause::Unknown, Cause::Mutation]);
    house.asks("/items/1", "new").await;
    house.hits("/items/1", "new").await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_capped_mutation_does_not_lower_another_s_barrier() {
    let house = House::with(&SHARED.replace("[[route]]", "quarantine = \"0s\"\n[[route]]"));
    let hanging = house.mutate("PUT", "/items/1").await;
    let hanging_sent = house.asked("PUT", "/items/1").await;
    house.pass(30).await;
    let other = house.mutate("PATCH", "/items/1").await;
    let other_sent = house.asked("PATCH", "/items/1").await;
    hanging_sent.answer(ok("done"));
    hanging.got().await;
    assert!(!house.asks("/items/1", "between").await.stored());
    other_sent.answer(ok("done"));
    other.got().await;
    assert!(house.asks("/items/1", "new").await.stored());
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_of_a_mutation_invalidates_before_its_first_byte_and_again_at_its_end() {
    let house = House::new();
    house.stores("/items/1", "old").await;
    let mutation = house.mutate("PUT", "/items/1").await;
    let chunks = slowly(house.asked("PUT", "/items/1").await).await;
    chunks.send(Ok("do".into())).expect("it is read");
    assert!(mutation.waits().await);
    house.pass(1).await;
    let answer = mutation.got().await;
    assert!(answer.is_stream());
    assert_eq!(house.causes(), [Cause::Mutation], "before anybody can have seen the first byte");
    let reader = house.get("/items/1").await;
    let fetch = house.asked("GET", "/items/1").await;
    assert!(!house.asks("/items/1?x", "x").await.stored(), "the barrier stands until the end");
    chunks.send(Ok("ne".into())).expect("it is read");
    drop(chunks);
    assert_eq!(answer.streamed().await, ("done".to_owned(), true));
    turns().await;
    assert_eq!(house.causes(), [Cause::Mutation, Cause::Mutation]);
    fetch.answer(ok("old"));
    assert!(!reader.got().await.stored(), "it began before the mutation had ended");
    assert!(house.asks("/items/1", "new").await.stored());
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_of_a_mutation_that_breaks_off_leaves_its_outcome_unknown() {
    let house = House::new();
    let mutation = house.mutate("PUT", "/items/1").await;
    let chunks = slowly(house.asked("PUT", "/items/1").await).await;
    chunks.send(Ok("do".into())).expect("it is read");
    house.pass(1).await;
    let answer = mutation.got().await;
    let broken = OriginError { kind: OriginErrorKind::Protocol, cause: "reset".into() };
    chunks.send(Err(broken)).expect("it is read");
    assert_eq!(answer.streamed().await, ("do".to_owned(), false), "the client can tell");
    turns().await;
    assert_eq!(house.causes(), [Cause::Mutation, Cause::Unknown]);
    assert!(!house.asks("/items/1", "maybe").await.stored());
}

#[tokio::test]
async fn an_answer_longer_than_the_buffer_streams_and_ends_the_mutation_all_the_same() {
    let house = House::with(&SHARED.replace("[[route]]", "request_buffer = \"4B\"\n[[route]]"));
    house.stores("/items/1", "old").await;
    let mutation = house.mutate("PUT", "/items/1").await;
    house.asked("PUT", "/items/1").await.answer(ok("too long"));
    assert_eq!(mutation.got().await.streamed().await, ("too long".to_owned(), true));
    turns().await;
    assert_eq!(house.causes(), [Cause::Mutation, Cause::Mutation]);
    assert!(house.asks("/items/1", "new").await.stored());
}

#[tokio::test]
async fn a_client_that_leaves_changes_nothing_for_its_mutation() {
    let house = House::new();
    house.stores("/items/1", "old").await;
    let mutation = house.mutate("PUT", "/items/1").await;
    let sent = house.asked("PUT", "/items/1").await;
    mutation.leave().await;
    assert_eq!(house.causes(), [], "its outcome is not unknown: somebody still listens");
    assert!(!house.asks("/items/1", "maybe").await.stored());
    sent.answer(ok("done"));
    turns().await;
    assert_eq!(house.causes(), [Cause::Mutation]);
    assert!(house.asks("/items/1", "new").await.stored());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_a_slow_answer_changes_nothing_for_its_mutation() {
    let house = House::new();
    let mutation = house.mutate("PUT", "/items/1").await;
    let chunks = slowly(house.asked("PUT", "/items/1").await).await;
    house.pass(1).await;
    let answer = mutation.got().await;
    assert!(matches!(answer.body, Body::Stream(_)));
    drop(answer);
    turns().await;
    for _ in 0..1000 {
        chunks.send(Ok(Bytes::from_static(b"more than any buffer holds"))).expect("it is read all the same");
    }
    drop(chunks);
    turns().await;
    assert_eq!(house.causes(), [Cause::Mutation, Cause::Mutation]);
    assert!(house.asks("/items/1", "new").await.stored());
}

#[tokio::test]
async fn what_the_answer_names_is_invalidated_too() {
    let house = House::new();
    house.stores("/items/7", "old").await;
    let mutation = house.mutate("POST", "/elsewhere").await;
    let named = [("Location", "http://shop.test/items/7")];
    house.asked("POST", "/elsewhere").await.answer(status(201, &named, ""));
    mutation.got().await;
    house.asks("/items/7", "new").await;
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_answer_names_is_kept_out_of_the_store_until_its_end() {
    let house = House::new();
    house.stores("/items/7", "old").await;
    let mutation = house.mutate("POST", "/elsewhere").await;
    let fields = [("Location", "/items/7")].into_iter().collect();
    let head = Head { status: 201, reason: "Created".into(), fields };
    let chunks = house.asked("POST", "/elsewhere").await.answer_slowly(head, Framing::Chunked);
    turns().await;
    house.pass(1).await;
    let answer = mutation.got().await;
    assert!(answer.is_stream());
    assert!(!house.asks("/items/7", "between").await.stored());
    drop(chunks);
    answer.streamed().await;
    turns().await;
    assert!(house.asks("/items/7", "new").await.stored());
    house.hits("/items/7", "new").await;
}

#[tokio::test]
async fn a_mutation_without_a_body_that_answers_nothing_ends_too() {
    let house = House::new();
    house.stores("/items/1", "old").await;
    let mutation = house.mutate("DELETE", "/items/1").await;
    let mut answer = status(204, &[], "");
    answer.framing = Framing::Empty;
    house.asked("DELETE", "/items/1").await.answer(answer);
    let got = mutation.got().await;
    let Head { status, fields, .. } = &got.head;
    assert_eq!((*status, fields.contains("content-length")), (204, false));
    house.asks("/items/1", "new").await;
}
