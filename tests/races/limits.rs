//! Bounded: the origin never has more than `max_concurrent` requests, and who finds no room sends nothing.

use crate::house::{Body, House, SHARED, ok, request, slowly};
use bytes::Bytes;
use freshgate::field::Fields;
use freshgate::origin::{Framing, Head};
use freshgate::pipeline::{Answer, Content, Handled, Passage};
use freshgate::semantics::cache_status::Detail;

fn narrow() -> House {
    House::with(&SHARED.replace("[[route]]", "max_concurrent = 2\n[[route]]"))
}

#[tokio::test]
async fn one_more_than_the_origin_may_have_waits_for_its_turn() {
    let house = narrow();
    let readers = [house.get("/items/1").await, house.get("/items/2").await, house.get("/items/3").await];
    let first = house.asked("GET", "/items/1").await;
    let second = house.asked("GET", "/items/2").await;
    house.quiet().await;
    first.answer(ok("one"));
    house.asked("GET", "/items/3").await.answer(ok("three"));
    second.answer(ok("two"));
    for (reader, expected) in readers.into_iter().zip(["one", "two", "three"]) {
        assert_eq!(reader.got().await.text(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_room_until_the_deadline_gets_503_and_sends_nothing() {
    let house = narrow();
    let busy = [house.get("/items/1").await, house.get("/items/2").await];
    let asked = house.all_asked().await;
    let third = house.get("/items/3").await;
    house.pass(29).await;
    assert!(third.waits().await);
    house.pass(1).await;
    let got = third.got().await;
    assert_eq!((got.head.status, got.detail()), (503, Some(Detail::Saturated)));
    assert_eq!(got.exchange.origin_requests, 0);
    assert!(got.head.fields.contains("retry-after"));
    house.quiet().await;
    drop((busy, asked));
}

#[tokio::test(start_paused = true)]
async fn a_mutation_that_finds_no_room_is_not_sent_and_invalidates_nothing() {
    let house = narrow();
    house.stores("/items/3", "kept").await;
    let busy = [house.get("/items/1").await, house.get("/items/2").await];
    let asked = house.all_asked().await;
    let mutation = house.mutate("PUT", "/items/3").await;
    house.hits("/items/3", "kept").await;
    house.pass(30).await;
    let got = mutation.got().await;
    assert_eq!((got.head.status, got.detail()), (503, Some(Detail::Saturated)));
    assert!(got.head.fields.contains("retry-after"));
    house.hits("/items/3", "kept").await;
    house.quiet().await;
    drop((busy, asked));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_finds_no_room_is_not_sent() {
    let house = narrow();
    let busy = [house.get("/items/1").await, house.get("/items/2").await];
    let asked = house.all_asked().await;
    let pipeline = house.pipeline.clone();
    let passing = tokio::spawn(async move { pipeline.pass(&request("PUT", "/items/3", &[]), Detail::Pass).await });
    house.pass(30).await;
    let answer = passing.await.expect("the pipeline does not panic").expect_err("there is no room");
    assert_eq!(answer.head.status, 503);
    assert_eq!(house.causes(), []);
    drop((busy, asked));
}

/// What streams holds its place until the final head has come, as the edge says by dropping it.
#[tokio::test]
async fn what_passes_counts_too() {
    let house = narrow();
    let passages: Vec<Passage> = [
        house.pipeline.pass(&request("GET", "/x", &[]), Detail::Pass).await.expect("there is room"),
        house.pipeline.pass(&request("GET", "/y", &[]), Detail::Pass).await.expect("there is room"),
    ]
    .into();
    let reader = house.get("/items/1").await;
    house.quiet().await;
    drop(passages);
    house.asked("GET", "/items/1").await.answer(ok("one"));
    assert_eq!(reader.got().await.text(), "one");
}

/// Whoever sends a body a byte a minute keeps out others who do, and nobody else.
#[tokio::test(start_paused = true)]
async fn uploads_leave_room_for_who_sends_none() {
    let house = narrow();
    let put = request("PUT", "/files/1", &[]);
    let uploading = house.pipeline.pass(&put, Detail::Pass).await.expect("there is room");
    let refused = house.pipeline.pass(&put, Detail::Pass).await.expect_err("there is no room for a second");
    assert_eq!(refused.head.status, 503);
    assert!(house.asks("/items/1", "one").await.stored());
    drop(uploading);
    drop(house.pipeline.pass(&put, Detail::Pass).await.expect("there is room again"));
}

/// The origin has answered; how fast the client reads is not its business.
#[tokio::test(start_paused = true)]
async fn a_mutation_whose_answer_streams_holds_no_place() {
    let house = narrow();
    let mut streaming = Vec::new();
    for target in ["/files/1", "/files/2"] {
        let mutation = house.mutate("PUT", target).await;
        let chunks = slowly(house.asked("PUT", target).await).await;
        house.pass(1).await;
        streaming.push((mutation.got().await, chunks));
    }
    assert!(house.asks("/items/1", "one").await.stored());
    drop(streaming);
}

#[tokio::test]
async fn a_streamed_mutation_is_a_mutation() {
    let house = House::new();
    let put = request("PUT", "/items/1", &[]);
    house.stores("/items/1", "old").await;
    // A client that leaves before the end: the outcome is unknown, and stays so for the quarantine.
    let passage = house.pipeline.pass(&put, Detail::Pass).await.expect("there is room");
    assert!(!house.asks("/items/1", "maybe").await.stored());
    drop(passage);
    assert_eq!(house.causes(), [freshgate::changes::Cause::Unknown]);
    assert!(!house.asks("/items/1", "maybe").await.stored());
    house.age(60);
    assert!(house.asks("/items/1", "new").await.stored());
    // One that stays: before the first byte, and again at the end.
    let passage = house.pipeline.pass(&put, Detail::Pass).await.expect("there is room");
    let mut mutation = passage.mutation.expect("PUT is a mutation");
    mutation.head(&freshgate::origin::Head { status: 200, reason: "OK".into(), fields: Default::default() });
    assert_eq!(house.causes().len(), 2);
    assert!(!house.asks("/items/1", "maybe").await.stored());
    mutation.end();
    assert_eq!(house.causes().len(), 3);
    assert!(house.asks("/items/1", "newer").await.stored());
}

/// A till on a bad line reads its receipt for minutes; meanwhile the origin has nothing to do with it.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_a_mutation_s_answer_slowly_takes_no_room_at_the_origin() {
    let house = narrow();
    let mut receipts = Vec::new();
    for target in ["/items/1", "/items/2"] {
        let mutation = house.mutate("PUT", target).await;
        let chunks = slowly(house.asked("PUT", target).await).await;
        house.pass(1).await;
        let got = mutation.got().await;
        assert!(matches!(got.body, Body::Stream(_)), "{got:?}");
        receipts.push((got, chunks));
    }
    house.asks("/items/3", "three").await;
}

/// `cache.memory` counts the octets of a body; a buffer that grew as they came may be twice as long.
#[tokio::test]
async fn a_body_that_came_in_parts_takes_no_more_memory_than_it_has_octets() {
    let house = House::new();
    let (pipeline, asking) = (house.pipeline.clone(), request("GET", "/items", &[]));
    let reader = tokio::spawn(async move { pipeline.retrieve(asking, None).await });
    let head = Head { status: 500, reason: Bytes::new(), fields: Fields::new() };
    let chunks = house.asked("GET", "/items").await.answer_slowly(head, Framing::Chunked);
    for octets in [20_000, 20_000, 1] {
        chunks.send(Ok(vec![b' '; octets].into())).expect("it is read");
    }
    drop(chunks);
    let Handled::Answer(Answer { content: Content::Whole(body), .. }) = reader.await.expect("no panic") else {
        panic!("it came whole")
    };
    let body = body.try_into_mut().expect("an error is not stored, so nobody else has it");
    assert_eq!((body.len(), body.capacity()), (40_001, 40_001));
}
