//! The operator's purges: immediate, of fixed memory, and no fetch escapes them.

use crate::house::{House, SHARED, ok, status};
use freshgate::clock::{Clock, SystemClock};
use freshgate::field::Fields;
use freshgate::origin::{Framing, Head};
use freshgate::pipeline::purge::Selector;
use freshgate::policy::{EntityId, RouteId};
use freshgate::semantics::cache_key::{self, Partition};
use freshgate::semantics::cache_status::Detail;
use freshgate::semantics::invalidation::FenceKey;
use freshgate::semantics::request::Request;
use freshgate::semantics::stored_response::Modified;
use freshgate::semantics::storing::{self, Received};
use freshgate::store::Place;

const TREE: &str = r#"
[[route]]
name = "tree"
paths = ["/{*rest}"]
fresh = "60s"
scope = "public"
"#;

fn prefix(text: &str) -> Selector {
    Selector::Prefix(text.into())
}

#[tokio::test]
async fn a_fetch_that_a_purge_overtakes_is_not_stored() {
    for target in
        [Selector::All, prefix("/items/"), Selector::Key("/items/1".into()), Selector::Key("/items/1?q=1".into())]
    {
        let house = House::new();
        let reader = house.get("/items/1?q=1").await;
        let fetch = house.asked("GET", "/items/1?q=1").await;
        house.pipeline.purge(&target, false);
        let after = house.get("/items/1?q=1").await;
        let younger = house.asked("GET", "/items/1?q=1").await;
        fetch.answer(ok("old"));
        assert_eq!(reader.got().await.detail(), Some(Detail::Overtaken), "{target:?}");
        younger.answer(ok("new"));
        assert_eq!(after.got().await.text(), "new", "{target:?}");
        house.hits("/items/1?q=1", "new").await;
    }
}

#[tokio::test]
async fn a_waiter_from_before_a_prefix_purge_may_have_what_was_fetched_before_it() {
    let house = House::new();
    let leader = house.get("/items/1").await;
    let fetch = house.asked("GET", "/items/1").await;
    let waiter = house.get("/items/1").await;
    house.pipeline.purge(&prefix("/items"), false);
    fetch.answer(ok("old"));
    leader.got().await;
    assert!(waiter.got().await.collapsed());
    house.asks("/items/1", "new").await;
}

/// A purge of one item is one of its collection, with which every 404 of the collection's items falls.
#[tokio::test]
async fn a_404_fetched_before_a_purge_of_its_collection_is_handed_to_nobody_after() {
    let house = House::new();
    let before = house.get("/items/1").await;
    let older = house.asked("GET", "/items/1").await;
    house.pipeline.purge(&Selector::Entity { id: EntityId(0), item: Some("2".into()) }, false);
    let after = house.get("/items/1").await;
    assert!(after.waits().await);
    older.answer(status(404, &[], "absent"));
    assert_eq!(before.got().await.head.status, 404);
    house.asked("GET", "/items/1").await.answer(ok("created"));
    assert_eq!(after.got().await.text(), "created");
}

/// The last of two purges is not the only one that the 404 is older than.
#[tokio::test]
async fn a_404_is_handed_to_nobody_who_came_between_two_purges_of_its_collection() {
    let house = House::new();
    let before = house.get("/items/1").await;
    let older = house.asked("GET", "/items/1").await;
    let purge = || house.pipeline.purge(&Selector::Entity { id: EntityId(0), item: Some("2".into()) }, false);
    purge();
    let between = house.get("/items/1").await;
    assert!(between.waits().await);
    purge();
    older.answer(status(404, &[], "absent"));
    assert_eq!(before.got().await.head.status, 404);
    house.asked("GET", "/items/1").await.answer(ok("created"));
    assert_eq!(between.got().await.text(), "created");
}

#[tokio::test]
async fn a_prefix_reaches_what_begins_with_it_and_nothing_else() {
    let house = House::with(TREE);
    for target in ["/a/1", "/ab", "/b/1"] {
        house.stores(target, "old").await;
    }
    assert_eq!(house.pipeline.matched(&prefix("/a/")), 1);
    house.pipeline.purge(&prefix("/a/"), false);
    assert_eq!(house.pipeline.matched(&prefix("/a/")), 0);
    house.asks("/a/1", "new").await;
    house.hits("/a/1", "new").await;
    house.hits("/ab", "old").await;
    house.hits("/b/1", "old").await;
}

/// Whoever reads the log has to learn what to fetch again.
#[tokio::test]
async fn the_purge_of_a_prefix_names_the_routes_that_it_may_reach() {
    let house = House::with(&format!("{SHARED}[[route]]\nname = \"units\"\npaths = [\"/units\"]\n"));
    for (purged, routes, whole) in [
        ("/items/", &["items"][..], false),
        ("/items/1", &["items"], false),
        ("/", &["items", "units"], false),
        ("/elsewhere", &[], true),
    ] {
        house.pipeline.purge(&prefix(purged), false);
        let change = &house.pipeline.changes.recent(1)[0];
        assert_eq!(
            (&change.routes[..], change.whole),
            (&routes.iter().map(ToString::to_string).collect::<Vec<_>>()[..], whole),
            "{purged}"
        );
    }
}

#[tokio::test]
async fn the_thirty_third_prefix_makes_the_oldest_everything() {
    let house = House::with(TREE);
    house.stores("/0/x", "old").await;
    house.stores("/other", "old").await;
    for number in 0..32 {
        house.pipeline.purge(&prefix(&format!("/{number}/")), false);
    }
    // One of the 32 again takes no place.
    house.pipeline.purge(&prefix("/31/"), false);
    house.hits("/other", "old").await;
    house.stores("/between", "kept").await;
    house.pipeline.purge(&prefix("/32/"), false);
    // What was purged stays purged; what is older than the forgotten prefix falls with it; what is younger does not.
    house.asks("/0/x", "new").await;
    house.asks("/other", "new").await;
    house.hits("/between", "kept").await;
}

#[tokio::test]
async fn a_soft_purge_lets_stale_rules_still_apply() {
    let house = House::with(&format!("{SHARED}stale_while_revalidate = \"1h\""));
    for target in [Selector::All, prefix("/items/")] {
        house.stores("/items/1", "old").await;
        house.pipeline.purge(&target, true);
        let got = house.get("/items/1").await.got().await;
        assert_eq!((got.text(), got.detail()), ("old", Some(Detail::StaleWhileRevalidate)));
        house.asked("GET", "/items/1").await.answer(ok("new"));
        crate::house::turns().await;
        house.hits("/items/1", "new").await;
        house.quiet().await;
        house.pipeline.purge(&Selector::All, false);
    }
}

#[tokio::test]
async fn a_soft_purge_without_stale_rules_asks_first() {
    let house = House::new();
    house.stores("/items/1", "old").await;
    house.pipeline.purge(&Selector::All, true);
    house.asks("/items/1", "new").await;
    house.hits("/items/1", "new").await;
}

#[tokio::test]
async fn a_fetch_from_before_a_soft_purge_is_expired_when_it_lands() {
    let house = House::new();
    let reader = house.get("/items/1").await;
    let fetch = house.asked("GET", "/items/1").await;
    house.pipeline.purge(&Selector::All, true);
    fetch.answer(ok("old"));
    reader.got().await;
    house.asks("/items/1", "new").await;
}

#[tokio::test]
async fn a_hard_purge_outranks_a_soft_one() {
    let house = House::with(&format!("{SHARED}stale_while_revalidate = \"1h\""));
    house.stores("/items/1", "old").await;
    house.pipeline.purge(&Selector::All, true);
    house.pipeline.purge(&prefix("/items"), false);
    house.pipeline.purge(&prefix("/items"), true);
    house.asks("/items/1", "new").await;
}

/// Nothing is looked for when something is purged: however much is stored, it stays where it is and is no longer used.
#[tokio::test]
async fn a_purge_of_a_route_looks_at_nothing_that_is_stored() {
    const STORED: u64 = 100_000;
    let house = House::new();
    house.stores("/items/0", "the same").await;
    let store = &house.pipeline.store;
    let (request, route) =
        (crate::house::request("GET", "/items/0", &[]), house.pipeline.policy.routes.get(RouteId(0)));
    let head = Head { status: 200, reason: "OK".into(), fields: Fields::new() };
    let now = house.clock.now();
    let received = Received {
        head: &head,
        framing: Framing::Chunked,
        body: "the same".into(),
        request_time: now,
        response_time: now,
    };
    let response =
        storing::received(&received, route, None, |_, date, first_seen| Modified::Computed { date, first_seen });
    let storable =
        storing::decide(&request, &received, response, route, &Partition::Public, &[]).expect("it may be stored");
    let slots = store.fences.slots(&[FenceKey::All, FenceKey::Entity(route.entity_id)]);
    for number in 1..STORED {
        let path = format!("/items/{number}");
        let key = cache_key::of(&Request { path: path.clone(), ..request.clone() }, route, &Partition::Public);
        let place = Place::new((route.id, route.entity_id), (&path, ""), None, None);
        let stored = store.put(&store.begin(&slots, now), &key, &Fields::new(), &storable, slots.clone(), place);
        assert_eq!(stored, Ok(()));
    }
    assert_eq!(house.pipeline.matched(&Selector::Route(route.id)) as u64, STORED);
    let held = store.figures();
    let start = SystemClock.now();
    house.pipeline.purge(&Selector::Route(route.id), false);
    println!("{STORED} stored responses purged in {:?}, to the millisecond", SystemClock.now().since(start));
    assert_eq!(store.figures(), held);
    assert_eq!(house.pipeline.matched(&Selector::Route(route.id)), 0);
    house.asks("/items/0", "new").await;
}
