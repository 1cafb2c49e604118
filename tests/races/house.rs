//! The pipeline with an origin whose every answer the test gives, and the questions that tests ask of it.

use bytes::Bytes;
use freshgate::changes::log::Since;
use freshgate::changes::{Cause, Change};
use freshgate::clock::{ManualClock, Timestamp};
use freshgate::config::{self, Overrides};
use freshgate::field::Fields;
use freshgate::origin::scripted::{Asked, Scripted, ScriptedOrigin};
use freshgate::origin::{Framing, Head, Origin, OriginError};
use freshgate::pipeline::exchange::Exchange;
use freshgate::pipeline::{Answer, Content, Handled, Pipeline};
use freshgate::policy::Policy;
use freshgate::semantics::cache_status::{CacheStatus, Detail};
use freshgate::semantics::request::{Request, Scheme, Version};
use futures_util::StreamExt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

/// The routes of most tests: what one caller fetched, every other may have.
pub const SHARED: &str = r#"
[[route]]
name = "items"
paths = ["/items", "/items/{id}"]
fresh = "60s"
scope = "public"
"#;

/// Turns that every task gets before something counts as not happening. Any chain of tasks here is far shorter.
const TURNS: usize = 200;

/// A request's fields.
pub type Lines<'l> = &'l [(&'static str, &'static str)];

/// The pipeline under test.
pub struct House {
    pub pipeline: Arc<Pipeline>,
    pub origin: Arc<ScriptedOrigin>,
    pub clock: Arc<ManualClock>,
    observed: Arc<Mutex<Vec<Exchange>>>,
}

/// A request that may be answered one day.
pub struct Asking(JoinHandle<Handled>);

/// What a request got.
#[derive(Debug)]
pub struct Got {
    pub head: Head,
    pub body: Body,
    pub exchange: Exchange,
}

#[derive(Debug)]
pub enum Body {
    Whole(Bytes),
    Stream(Box<Answer>),
    /// No answer yet: to be streamed past the store.
    Passed,
}

impl House {
    /// With these `[[route]]` tables.
    pub fn with(routes: &str) -> House {
        House::configured(&format!("[origin]\nurl = \"http://origin.test\"\n{routes}"))
    }

    /// With the routes of [`SHARED`].
    pub fn new() -> House {
        House::with(SHARED)
    }

    /// With a whole configuration.
    pub fn configured(toml: &str) -> House {
        let origin = ScriptedOrigin::new();
        House::before(toml, origin.clone(), origin)
    }

    /// With a whole configuration, in which `env:SECRET` is `secret`.
    pub fn keyed(toml: &str, secret: &str) -> House {
        let origin = ScriptedOrigin::new();
        House::of(policy(toml, Some(secret)), origin.clone(), origin)
    }

    /// In front of another origin than the scripted one, which is then never asked.
    pub fn before(toml: &str, asked: Arc<dyn Origin>, origin: Arc<ScriptedOrigin>) -> House {
        House::of(policy(toml, None), asked, origin)
    }

    fn of(policy: Arc<Policy>, asked: Arc<dyn Origin>, origin: Arc<ScriptedOrigin>) -> House {
        // Thu, 01 Jan 2026 00:00:00 GMT
        let clock = Arc::new(ManualClock::new(Timestamp { wall_ms: 1_767_225_600_000, boot_ms: 1_000_000 }));
        let observed = Arc::new(Mutex::new(Vec::new()));
        let observer = observed.clone();
        let observe = move |exchange: &Exchange| observer.lock().expect("nobody panics here").push(exchange.clone());
        let pipeline = Pipeline::new(policy, asked, clock.clone(), Arc::new(observe), [7; 32]);
        House { pipeline, origin, clock, observed }
    }

    /// Begins a GET.
    pub async fn get(&self, target: &str) -> Asking {
        self.get_with(target, &[]).await
    }

    /// Begins a GET with these fields, and lets it come as far as it can.
    pub async fn get_with(&self, target: &str, lines: Lines<'_>) -> Asking {
        let asking = self.start(target, lines);
        turns().await;
        asking
    }

    /// Begins a GET with fields that were made for it, and lets it come as far as it can.
    pub async fn get_owned(&self, target: &str, lines: &[(&'static str, String)]) -> Asking {
        let (pipeline, mut request) = (self.pipeline.clone(), request("GET", target, &[]));
        lines.iter().for_each(|(name, value)| request.fields.push(*name, value.clone()));
        let asking = Asking(tokio::spawn(async move { pipeline.retrieve(request, None).await }));
        turns().await;
        asking
    }

    /// Begins a GET that has not run yet.
    pub fn start(&self, target: &str, lines: Lines<'_>) -> Asking {
        self.ask_with("GET", target, lines)
    }

    /// Begins a GET or HEAD that has not run yet.
    pub fn ask_with(&self, method: &str, target: &str, lines: Lines<'_>) -> Asking {
        let (pipeline, request) = (self.pipeline.clone(), request(method, target, lines));
        Asking(tokio::spawn(async move { pipeline.retrieve(request, None).await }))
    }

    /// Begins a mutation, and lets it come as far as it can.
    pub async fn mutate(&self, method: &str, target: &str) -> Asking {
        self.mutate_with(method, target, &[]).await
    }

    /// Begins a mutation with these fields, and lets it come as far as it can.
    pub async fn mutate_with(&self, method: &str, target: &str, lines: Lines<'_>) -> Asking {
        let (pipeline, request) = (self.pipeline.clone(), request(method, target, lines));
        let asking =
            Asking(tokio::spawn(async move { Handled::Answer(pipeline.mutate(request, Bytes::new(), None).await) }));
        turns().await;
        asking
    }

    /// A whole mutation that the origin carries out.
    pub async fn mutated(&self, method: &str, target: &str) {
        let asking = self.mutate(method, target).await;
        self.asked(method, target).await.answer(ok("done"));
        assert_eq!(asking.got().await.head.status, 200);
    }

    /// A whole GET that the origin answers with `body`; it is stored.
    pub async fn stores(&self, target: &str, body: &str) {
        let asking = self.get(target).await;
        self.asked("GET", target).await.answer(ok(body));
        let got = asking.got().await;
        assert_eq!((got.text(), got.stored()), (body, true), "{got:?}");
    }

    /// The next request at the origin, which must be this one.
    #[track_caller]
    pub fn asked(&self, method: &str, target: &str) -> impl Future<Output = Asked> {
        let caller = std::panic::Location::caller();
        async move {
            let Some(asked) = self.next().await else { panic!("{caller}: {method} {target} is not at the origin") };
            assert_eq!((asked.ask.method.as_str(), asked.ask.target.as_str()), (method, target), "{caller}");
            asked
        }
    }

    /// The next request at the origin, if there is one.
    pub async fn next(&self) -> Option<Asked> {
        for _ in 0..TURNS {
            if let Some(asked) = self.origin.try_next() {
                return Some(asked);
            }
            tokio::task::yield_now().await;
        }
        None
    }

    /// Every request that waits at the origin.
    pub async fn all_asked(&self) -> Vec<Asked> {
        turns().await;
        std::iter::from_fn(|| self.origin.try_next()).collect()
    }

    /// Nothing more comes to the origin.
    #[track_caller]
    pub fn quiet(&self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            if let Some(asked) = self.next().await {
                panic!("{caller}: {} {} is at the origin", asked.ask.method, asked.ask.target);
            }
        }
    }

    /// A GET that the store answers with `body`.
    #[track_caller]
    pub fn hits(&self, target: &str, body: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let got = self.get(target).await.got().await;
            assert!(matches!(got.exchange.cache_status, CacheStatus::Hit { .. }), "{caller}: {got:?}");
            assert_eq!(got.text(), body, "{caller}");
        }
    }

    /// A GET that has to ask the origin, which answers `body`, and gets just that.
    #[track_caller]
    pub fn asks(&self, target: &str, body: &str) -> impl Future<Output = Got> {
        let caller = std::panic::Location::caller();
        async move {
            let asking = self.get(target).await;
            let Some(asked) = self.next().await else { panic!("{caller}: nobody asked: {:?}", asking.got().await) };
            assert_eq!(asked.ask.target, target, "{caller}");
            asked.answer(ok(body));
            let got = asking.got().await;
            assert_eq!(got.text(), body, "{caller}");
            got
        }
    }

    /// Both clocks go on, the timers' and the pipeline's.
    pub async fn pass(&self, seconds: u64) {
        let by = Duration::from_secs(seconds);
        self.clock.advance(by);
        tokio::time::advance(by).await;
        turns().await;
    }

    /// Only the pipeline's clock goes on: what is stored ages, and no timer fires.
    pub fn age(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Why things were invalidated so far, in order.
    pub fn causes(&self) -> Vec<Cause> {
        let Since::Replay(changes) = self.pipeline.changes.since(0) else { panic!("the log forgot something") };
        changes.into_iter().map(|Change { cause, .. }| cause).collect()
    }

    /// Records of background work.
    pub fn in_background(&self) -> Vec<Exchange> {
        let observed = self.observed.lock().expect("nobody panics here");
        observed.iter().filter(|exchange| exchange.background).cloned().collect()
    }
}

impl Asking {
    /// What it got.
    #[track_caller]
    pub fn got(self) -> impl Future<Output = Got> {
        let caller = std::panic::Location::caller();
        async move {
            for _ in 0..TURNS {
                if self.0.is_finished() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            assert!(self.0.is_finished(), "{caller}: still waiting");
            Got::of(self.0.await.expect("the pipeline does not panic"))
        }
    }

    /// Nothing yet.
    pub async fn waits(&self) -> bool {
        turns().await;
        !self.0.is_finished()
    }

    /// The client leaves.
    pub async fn leave(self) {
        self.0.abort();
        turns().await;
    }
}

impl Got {
    fn of(handled: Handled) -> Got {
        let answer = match handled {
            Handled::Answer(answer) => answer,
            Handled::Pass(passage) => {
                let head = Head { status: 0, reason: Bytes::new(), fields: Fields::new() };
                return Got { head, body: Body::Passed, exchange: passage.exchange };
            }
        };
        let (head, exchange) = (answer.head.clone(), answer.exchange.clone());
        let body = match answer.content {
            Content::Empty => Body::Whole(Bytes::new()),
            Content::Whole(ref body) => Body::Whole(body.clone()),
            Content::Stream { .. } => Body::Stream(Box::new(answer)),
        };
        Got { head, body, exchange }
    }

    /// The body of a whole answer.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(self.octets()).expect("tests send text")
    }

    /// The same, in whatever coding.
    #[track_caller]
    pub fn octets(&self) -> &[u8] {
        match &self.body {
            Body::Whole(octets) => octets,
            other => panic!("{other:?} is no whole answer"),
        }
    }

    /// A streamed body to its end, and whether it came whole.
    pub async fn streamed(self) -> (String, bool) {
        let Body::Stream(answer) = self.body else { panic!("{:?} is no stream", self.body) };
        let Content::Stream { body, .. } = answer.content else { panic!("{:?} is no stream", answer.content) };
        let chunks: Vec<Result<Bytes, OriginError>> = body.collect().await;
        let whole = chunks.iter().all(Result::is_ok);
        let text = chunks.into_iter().flatten().flat_map(Vec::from).collect();
        (String::from_utf8(text).expect("tests send text"), whole)
    }

    pub fn is_stream(&self) -> bool {
        matches!(self.body, Body::Stream(_))
    }

    pub fn is_hit(&self) -> bool {
        matches!(self.exchange.cache_status, CacheStatus::Hit { .. })
    }

    pub fn stored(&self) -> bool {
        matches!(self.exchange.cache_status, CacheStatus::Forward(forwarded) if forwarded.stored)
    }

    pub fn collapsed(&self) -> bool {
        matches!(self.exchange.cache_status, CacheStatus::Forward(forwarded) if forwarded.collapsed)
    }

    pub fn detail(&self) -> Option<Detail> {
        match self.exchange.cache_status {
            CacheStatus::Hit { detail, .. } | CacheStatus::Own { detail } => detail,
            CacheStatus::Forward(forwarded) => forwarded.detail,
        }
    }
}

fn policy(toml: &str, secret: Option<&str>) -> Arc<Policy> {
    match config::parse(toml, "races.toml", &Overrides::default(), &|_| secret.map(str::to_owned)) {
        Ok(loaded) => Arc::new(loaded.policy),
        Err(errors) => panic!("{errors}"),
    }
}

/// A request as the edge would have read it.
pub fn request(method: &str, target: &str, lines: Lines<'_>) -> Request {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let mut fields: Fields = lines.iter().copied().collect();
    fields.push("Host", "shop.test");
    Request {
        method: method.into(),
        scheme: Scheme::Http,
        authority: "shop.test".into(),
        path: path.into(),
        query,
        fields,
        version: Version::Http11,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        has_body: !matches!(method, "GET" | "HEAD"),
    }
}

/// 200 with JSON, or what a test takes for it.
pub fn ok(body: &str) -> Scripted {
    status(200, &[], body)
}

/// An answer with these fields beside Content-Type.
pub fn status(status: u16, lines: Lines<'_>, body: &str) -> Scripted {
    let mut fields: Fields = lines.iter().copied().collect();
    fields.push("Content-Type", "application/json");
    Scripted::new(status, fields, body.to_owned())
}

/// Answers with a 200 whose body comes when the test sends it.
pub async fn slowly(asked: Asked) -> UnboundedSender<Result<Bytes, OriginError>> {
    let Scripted { status, fields, .. } = ok("");
    let chunks = asked.answer_slowly(Head { status, reason: Bytes::new(), fields }, Framing::Chunked);
    turns().await;
    chunks
}

/// Lets every task go on until it waits.
pub async fn turns() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}
