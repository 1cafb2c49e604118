//! No lost updates: whoever says what they have seen changes nothing else, however many change the same at once.

use crate::house::{House, SHARED, ok, request, status};
use bytes::Bytes;
use freshgate::origin::scripted::ScriptedOrigin;
use freshgate::origin::{Ask, Framing, Head, Interim, Origin, OriginError, Reply};
use freshgate::pipeline::{Handled, Pipeline};
use futures_util::{StreamExt, stream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// The entity-tag of `one`.
const ONE: (&str, &str) = ("If-Match", "\"fg1-dpLDrTVAu4A8Ags67mbNiA\"");

/// While one mutation of an item looks at what it changes, no other of that item is sent.
#[tokio::test(start_paused = true)]
async fn other_changes_of_the_item_wait_and_of_others_do_not() {
    let house = House::new();
    let guarded = house.mutate_with("PUT", "/items/1", &[ONE]).await;
    let looks = house.asked("GET", "/items/1").await;
    let same = house.mutate("DELETE", "/items/1?force").await;
    let guarded_too = house.mutate_with("PATCH", "/items/1", &[ONE]).await;
    house.mutated("PUT", "/items/2").await;
    house.mutated("POST", "/items").await;
    house.quiet().await;
    looks.answer(ok("one"));
    let sent = house.asked("PUT", "/items/1").await;
    house.quiet().await;
    sent.answer(ok("done"));
    assert_eq!(guarded.got().await.head.status, 200);
    house.asked("DELETE", "/items/1?force").await.answer(ok("done"));
    assert_eq!(same.got().await.head.status, 200);
    house.asked("GET", "/items/1").await.answer(status(404, &[], ""));
    assert_eq!(guarded_too.got().await.head.status, 412);
    house.quiet().await;
    assert!(house.pipeline.turns.is_empty());
}

/// What changes the item does not have to name it: the whole route, what lies below the item, another spelling.
#[tokio::test(start_paused = true)]
async fn changes_that_reach_the_item_from_elsewhere_wait_too() {
    let reaching = [
        ("PUT", "/items"),
        ("POST", "/items/1/adjust"),
        ("DELETE", "//items/1"),
        ("PATCH", "/items/%31/"),
        ("POST", "/all"),
    ];
    for (method, target) in reaching {
        let house =
            House::with(&format!("{SHARED}[[route]]\nname = \"all\"\npaths = [\"/all\"]\ninvalidates = [\"items\"]\n"));
        let guarded = house.mutate_with("PUT", "/items/1", &[ONE]).await;
        let looks = house.asked("GET", "/items/1").await;
        let other = house.mutate(method, target).await;
        house.quiet().await;
        looks.answer(ok("one"));
        let sent = house.asked("PUT", "/items/1").await;
        house.quiet().await;
        sent.answer(ok("done"));
        assert_eq!(guarded.got().await.head.status, 200);
        house.asked(method, target).await.answer(ok("done"));
        assert_eq!(other.got().await.head.status, 200, "{method} {target}");
        assert!(house.pipeline.turns.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_precondition_is_not_evaluated_while_the_whole_route_changes() {
    let house = House::new();
    let whole = house.mutate("PUT", "/items").await;
    let under_way = house.asked("PUT", "/items").await;
    let guarded = house.mutate_with("PUT", "/items/1", &[ONE]).await;
    // Who came later and looks at nothing does not overtake who looks.
    let later = house.mutate("DELETE", "/items/1").await;
    house.quiet().await;
    under_way.answer(ok("done"));
    assert_eq!(whole.got().await.head.status, 200);
    house.asked("GET", "/items/1").await.answer(ok("one"));
    house.asked("PUT", "/items/1").await.answer(ok("done"));
    assert_eq!(guarded.got().await.head.status, 200);
    house.asked("DELETE", "/items/1").await.answer(ok("done"));
    assert_eq!(later.got().await.head.status, 200);
}

/// What is under way may change what the precondition is about.
#[tokio::test(start_paused = true)]
async fn a_precondition_is_evaluated_after_what_was_under_way() {
    let house = House::new();
    let first = house.mutate("PUT", "/items/1").await;
    let under_way = house.asked("PUT", "/items/1").await;
    let guarded = house.mutate_with("PUT", "/items/1", &[ONE]).await;
    house.quiet().await;
    under_way.answer(ok("done"));
    assert_eq!(first.got().await.head.status, 200);
    house.asked("GET", "/items/1").await.answer(ok("changed"));
    assert_eq!(guarded.got().await.head.status, 412);
    house.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_waits_no_longer_than_the_response_timeout() {
    let house = House::new();
    let hangs = house.mutate_with("PUT", "/items/1", &[ONE]).await;
    let looks = house.asked("GET", "/items/1").await;
    let waits = house.mutate("PUT", "/items/1").await;
    house.pass(29).await;
    assert!(waits.waits().await);
    house.pass(1).await;
    assert_eq!(waits.got().await.head.status, 503);
    looks.answer(ok("one"));
    house.asked("PUT", "/items/1").await.answer(ok("done"));
    assert_eq!(hangs.got().await.head.status, 200);
    assert!(house.pipeline.turns.is_empty());
}

/// One slow change and one that has to wait for it hold up nobody for longer than it takes to see that it is slow.
#[tokio::test(start_paused = true)]
async fn who_waits_for_something_slow_is_overtaken() {
    let house = House::new();
    let slow = house.mutate("PUT", "/items").await;
    let under_way = house.asked("PUT", "/items").await;
    let guarded = house.mutate_with("PUT", "/items/1", &[ONE]).await;
    let later = house.mutate("DELETE", "/items/1").await;
    house.pass(1).await;
    let overtakes = house.asked("DELETE", "/items/1").await;
    house.mutated("PUT", "/items").await;
    under_way.answer(ok("done"));
    assert_eq!(slow.got().await.head.status, 200);
    // What has overtaken it excludes it no less.
    house.quiet().await;
    overtakes.answer(ok("done"));
    assert_eq!(later.got().await.head.status, 200);
    house.asked("GET", "/items/1").await.answer(status(404, &[], ""));
    assert_eq!(guarded.got().await.head.status, 412);
    assert!(house.pipeline.turns.is_empty());
}

/// A client that leaves while it waits leaves nothing behind.
#[tokio::test]
async fn whoever_leaves_does_not_keep_its_turn() {
    let house = House::with(&SHARED.replace("scope", "require_if_match = true\nscope"));
    house.mutate_with("PUT", "/items/1", &[ONE]).await.leave().await;
    house.asked("GET", "/items/1").await.answer(ok("one"));
    house.asked("PUT", "/items/1").await.answer(ok("done"));
    house.quiet().await;
    assert!(house.pipeline.turns.is_empty());
}

/// A number that knows no preconditions, and for each read another `at`.
#[derive(Default)]
struct Counter {
    number: Mutex<u64>,
    read: AtomicU64,
}

#[async_trait::async_trait]
impl Origin for Counter {
    async fn ask(&self, ask: Ask, _: Option<Interim>) -> Result<Reply, OriginError> {
        assert!(!ask.fields.contains("if-match"), "the origin does not know these entity-tags");
        // Others come between any two steps of a mutation.
        tokio::task::yield_now().await;
        let body = {
            let mut number = self.number.lock().expect("nobody panics here");
            if ask.method == "PUT" {
                *number = std::str::from_utf8(&ask.body).expect("a number").parse().expect("a number");
            }
            let at = self.read.fetch_add(1, SeqCst);
            Bytes::from(format!("{{\"number\":{number},\"at\":{at}}}"))
        };
        tokio::task::yield_now().await;
        let fields = [("Content-Type", "application/json")].into_iter().collect();
        Ok(Reply {
            head: Head { status: 200, reason: "OK".into(), fields },
            framing: Framing::Length(body.len() as u64),
            body: stream::iter([Ok(body)]).boxed(),
        })
    }
}

/// Reads the number, adds one, and puts it back if it is still what was read; as often as it takes. How the client
/// writes the entity-tag back is its own affair.
async fn adds_one(pipeline: Arc<Pipeline>, spelt: fn(&str) -> String) -> u32 {
    for attempt in 1.. {
        let Handled::Answer(seen) = pipeline.retrieve(request("GET", "/items/1", &[]), None).await else {
            panic!("it is stored")
        };
        let tag =
            std::str::from_utf8(seen.head.fields.get("etag").expect("every 200 has one")).expect("ASCII").to_owned();
        let freshgate::pipeline::Content::Whole(body) = seen.content else { panic!("a whole body") };
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let next = body["number"].as_u64().expect("a number") + 1;
        let mut put = request("PUT", "/items/1", &[]);
        put.fields.push("If-Match", spelt(&tag));
        let answer = pipeline.mutate(put, Bytes::from(next.to_string()), None).await;
        match answer.head.status {
            200 => return attempt,
            412 => {}
            status => panic!("{status}"),
        }
    }
    unreachable!("it ends with an update")
}

/// 100 clients read, add one and write back at once, through a proxy whose origin knows no preconditions. Breaking the
/// guard loses increments: the last number is then below 100.
async fn nothing_is_lost(etag: &str, spelt: fn(&str) -> String) {
    const CLIENTS: usize = 100;
    let counter = Arc::new(Counter::default());
    let toml = format!("[origin]\nurl = \"http://origin.test\"\n{SHARED}{etag}");
    let house = House::before(&toml, counter.clone(), ScriptedOrigin::new());
    let clients = (0..CLIENTS).map(|_| tokio::spawn(adds_one(house.pipeline.clone(), spelt)));
    let mut attempts = 0;
    for client in clients.collect::<Vec<_>>() {
        attempts += client.await.expect("no client panics");
    }
    assert_eq!(*counter.number.lock().expect("nobody panics here"), CLIENTS as u64);
    println!("{CLIENTS} increments took {attempts} attempts");
    assert!(house.pipeline.turns.is_empty());
}

#[tokio::test]
async fn no_increment_is_lost() {
    nothing_is_lost("[route.etag]\nignore = [\"/at\"]\n", |tag| tag.trim_start_matches("W/").to_owned()).await;
}

#[tokio::test]
async fn no_increment_is_lost_where_the_entity_tag_comes_back_weak() {
    nothing_is_lost("[route.etag]\nignore = [\"/at\"]\n", str::to_owned).await;
}

#[tokio::test]
async fn no_increment_is_lost_where_the_entity_tag_comes_back_with_a_coding() {
    nothing_is_lost("[route.etag]\nignore = [\"/at\"]\n", |tag| {
        tag.trim_start_matches("W/").trim_end_matches('"').to_owned() + "-gzip1\""
    })
    .await;
}
