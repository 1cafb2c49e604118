//! Bodies that do not come whole: nobody waits for them, and nothing is fetched twice.

use crate::house::{House, SHARED, ok, slowly, status, turns};
use freshgate::origin::{OriginError, OriginErrorKind};
use freshgate::semantics::cache_status::Detail;

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_whole_after_a_second_streams_and_is_remembered_as_such() {
    let house = House::new();
    let leader = house.get("/items/1").await;
    let fetch = house.asked("GET", "/items/1").await;
    let follower = house.get("/items/1").await;
    let chunks = slowly(fetch).await;
    chunks.send(Ok("one ".into())).expect("it is read");
    assert!(leader.waits().await);
    house.quiet().await;
    house.pass(1).await;
    let streamed = leader.got().await;
    assert_eq!((streamed.is_stream(), streamed.detail()), (true, Some(Detail::Streaming)));
    assert!(!streamed.head.fields.contains("etag"), "nobody can know what it will be");
    // The follower asks for itself.
    house.asked("GET", "/items/1").await.answer(ok("another"));
    assert_eq!(follower.got().await.text(), "another");
    // What the leader has got so far comes first, and nothing is fetched twice.
    chunks.send(Ok("two".into())).expect("it is read");
    drop(chunks);
    assert_eq!(streamed.streamed().await, ("one two".to_owned(), true));
    house.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_url_that_streamed_passes_for_a_while() {
    let house = House::new();
    let leader = house.get("/items/1").await;
    let chunks = slowly(house.asked("GET", "/items/1").await).await;
    house.pass(1).await;
    leader.got().await;
    drop(chunks);
    house.pass(59).await;
    let passed = house.get("/items/1").await.got().await;
    assert_eq!(passed.detail(), Some(Detail::Streaming));
    assert!(matches!(passed.body, crate::house::Body::Passed));
    house.quiet().await;
    house.pass(1).await;
    assert!(house.asks("/items/1", "whole").await.stored());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_off_ends_visibly_broken() {
    let house = House::new();
    let leader = house.get("/items/1").await;
    let chunks = slowly(house.asked("GET", "/items/1").await).await;
    house.pass(1).await;
    let broken = OriginError { kind: OriginErrorKind::Protocol, cause: "reset".into() };
    chunks.send(Err(broken)).expect("it is read");
    drop(chunks);
    assert_eq!(leader.got().await.streamed().await, (String::new(), false));
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_within_the_second_is_waited_for_by_all() {
    let house = House::new();
    let readers = [house.get("/items/1").await, house.get("/items/1").await];
    let chunks = slowly(house.asked("GET", "/items/1").await).await;
    chunks.send(Ok("one ".into())).expect("it is read");
    tokio::time::advance(std::time::Duration::from_millis(999)).await;
    turns().await;
    chunks.send(Ok("two".into())).expect("it is read");
    drop(chunks);
    for reader in readers {
        assert_eq!(reader.got().await.text(), "one two");
    }
    house.quiet().await;
}

#[tokio::test]
async fn a_body_over_the_bound_streams_and_is_fetched_once() {
    let house =
        House::configured(&format!("[origin]\nurl = \"http://origin.test\"\n[cache]\nmax_body = \"4B\"\n{SHARED}"));
    // Said by Content-Length, and found out.
    for found_out in [false, true] {
        let target = if found_out { "/items/1" } else { "/items/2" };
        let leader = house.get(target).await;
        let asked = house.asked("GET", target).await;
        if found_out {
            let chunks = slowly(asked).await;
            for chunk in ["12", "34", "5"] {
                chunks.send(Ok(chunk.into())).expect("it is read");
            }
        } else {
            asked.answer(ok("12345"));
        }
        let got = leader.got().await;
        assert_eq!(got.detail(), Some(Detail::TooLarge));
        assert_eq!(got.streamed().await, ("12345".to_owned(), true));
        house.quiet().await;
    }
}

#[tokio::test]
async fn endless_media_stream_at_once() {
    let house = House::new();
    let readers = [house.get("/items/1").await, house.get("/items/1").await];
    let mut events = status(200, &[], "data: 1\n\n");
    events.fields.set("Content-Type", "text/event-stream");
    house.asked("GET", "/items/1").await.answer(events.clone());
    house.asked("GET", "/items/1").await.answer(events);
    for reader in readers {
        assert!(reader.got().await.is_stream());
    }
}
