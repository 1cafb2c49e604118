//! What a hit costs without sockets, with the two decisions it rests on, and what a purge of 100,000 stored responses
//! costs. `make bench-store`.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use freshgate::clock::{Clock, SystemClock, Timestamp};
use freshgate::config::{self, Overrides};
use freshgate::field::Fields;
use freshgate::field::date::HttpDate;
use freshgate::field::entity_tag::EntityTag;
use freshgate::origin::{Ask, Framing, Head, Interim, Origin, OriginError, Reply};
use freshgate::pipeline::purge::Selector;
use freshgate::pipeline::{Handled, Pipeline};
use freshgate::semantics::precondition::{self, Selected};
use freshgate::semantics::request::{Request, Scheme, Version};
use freshgate::semantics::reuse::{self, Found, Standing};
use freshgate::semantics::stored_response::{ContentHash, Modified, Response, Validator};
use futures_util::{StreamExt, stream};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Responses on the route that is purged.
const STORED: usize = 100_000;

const CONFIG: &str = r#"
[origin]
url = "http://127.0.0.1:3000"
[cache]
memory = "1GiB"
[[route]]
name = "items"
paths = ["/items/{id}"]
fresh = "1h"
[[route]]
name = "others"
paths = ["/others/{id}"]
fresh = "1h"
"#;

/// As one of those that are computed here.
const TAG: &str = "\"fg1-AAAAAAAAAAAAAAAAAAAAAA\"";

/// Answers every path with itself.
struct Echo;

#[async_trait::async_trait]
impl Origin for Echo {
    async fn ask(&self, ask: Ask, _: Option<Interim>) -> Result<Reply, OriginError> {
        let fields: Fields = [("Content-Type", "application/json")].into_iter().collect();
        let body = format!("{{\"path\":\"{}\"}}", ask.target);
        Ok(Reply {
            head: Head { status: 200, reason: "OK".into(), fields },
            framing: Framing::Length(body.len() as u64),
            body: stream::iter([Ok(body.into())]).boxed(),
        })
    }
}

fn request(path: String) -> Request {
    Request {
        method: "GET".into(),
        scheme: Scheme::Http,
        authority: "shop.test".into(),
        path,
        query: None,
        fields: [("Host", "shop.test"), ("Accept", "*/*")].into_iter().collect(),
        version: Version::Http11,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        has_body: false,
    }
}

/// A fresh response as the store holds it, and a request that has its entity-tag.
fn held(now: Timestamp) -> (Request, Response) {
    let fields: Fields =
        [("Content-Type", "application/json"), ("Date", "Thu, 01 Jan 2026 00:00:00 GMT")].into_iter().collect();
    let entity_tag = EntityTag::parse(TAG.as_bytes()).expect("it is one");
    let response = Response {
        status: 200,
        reason: "OK".into(),
        fields,
        content: ContentHash([1; 32]),
        content_length: 2048,
        validator: Validator::Computed(entity_tag),
        modified: Modified::Computed { date: HttpDate(now.wall_seconds()), first_seen: HttpDate(now.wall_seconds()) },
        response_time: now,
        initial_age: Duration::ZERO,
        aged: false,
        recodable: true,
    };
    let mut request = request("/items/1".into());
    request.fields = [("Host", "shop.test"), ("Accept", "*/*"), ("If-None-Match", TAG)].into_iter().collect();
    (request, response)
}

fn decisions(criterion: &mut Criterion) {
    let loaded = config::parse(CONFIG, "bench.toml", &Overrides::default(), &|_| None).expect("it is sound");
    let route = loaded.policy.routes.select("/items/1").route;
    let now = SystemClock.now();
    let (request, response) = held(now);
    criterion.bench_function("reuse::decide of a fresh response", |b| {
        let found = Found { response: &response, standing: Standing::Valid };
        b.iter(|| reuse::decide(black_box(&request), Some(found), false, true, route, now));
    });
    criterion.bench_function("precondition::evaluate of its entity-tag", |b| {
        let selected = Selected {
            status: 200,
            fields: &response.fields,
            entity_tag: response.validator.entity_tag(),
            modified: response.modified,
            content_length: 2048,
            range_allowed: true,
        };
        b.iter(|| precondition::evaluate(black_box(&request.fields), "GET", &selected, now));
    });
}

fn get(runtime: &Runtime, pipeline: &Arc<Pipeline>, path: String) {
    match runtime.block_on(pipeline.retrieve(request(path), None)) {
        Handled::Answer(answer) => assert_eq!(black_box(answer).head.status, 200),
        Handled::Pass(_) => unreachable!("the route stores"),
    }
}

fn purge(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("the system has threads");
    let loaded = config::parse(CONFIG, "bench.toml", &Overrides::default(), &|_| None).expect("it is sound");
    let pipeline =
        Pipeline::new(Arc::new(loaded.policy), Arc::new(Echo), Arc::new(SystemClock), Arc::new(|_| {}), [1; 32]);
    for item in 0..STORED {
        get(&runtime, &pipeline, format!("/items/{item}"));
    }
    get(&runtime, &pipeline, "/others/1".into());
    let items = pipeline.policy.routes.select("/items/1").route.id;
    println!("{} responses are stored", pipeline.matched(&Selector::Route(items)));

    let hit = |criterion: &mut Criterion, name| {
        criterion.bench_function(name, |b| {
            b.iter_batched(
                || request("/others/1".into()),
                |r| runtime.block_on(pipeline.retrieve(r, None)),
                BatchSize::SmallInput,
            );
        });
    };
    hit(criterion, "a hit before the purge");
    criterion.bench_function("purge a route of 100,000 stored responses", |b| {
        b.iter(|| pipeline.purge(&Selector::Route(items), false));
    });
    hit(criterion, "a hit after the purge");
    println!("{} responses are left", pipeline.matched(&Selector::Route(items)));
}

criterion_group!(benches, decisions, purge);
criterion_main!(benches);
