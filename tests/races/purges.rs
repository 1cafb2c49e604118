//! The operator's purges: immediate, of fixed memory, and no fetch escapes them.

use crate::house::{House, SHARED, ok};
use freshgate::pipeline::purge::Selector;
use freshgate::semantics::cache_status::Detail;

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
