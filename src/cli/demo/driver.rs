//! The cashiers at work: the timetable becomes requests, and every answer goes into the ledger.
//!
//! GETs of one page visit go out side by side, as from a browser; each names the entity-tag of what that browser holds.
//! A browser asks for one URL once at a time: the next GET of it waits until the answer before is there to be named.

use super::api::{Api, meta_of};
use super::day::{Action, CASHIERS, Event};
use super::front::Front;
use super::ledger::Ledger;
use super::oracle::Oracle;
use super::tally::Tally;
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::policy::{Policy, Scope};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Method, Request, header};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::task::JoinSet;

/// The shop that all cashiers work for.
const TENANT: &str = "shop-1";

/// Held while a GET is under way.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// All cashiers, in front of something that answers them.
pub struct Cashiers {
    front: Arc<dyn Front>,
    api: Arc<Api>,
    /// By cashier: the value of Authorization.
    credentials: Vec<HeaderValue>,
    ledger: Mutex<Ledger>,
    /// By cashier and path.
    under_way: Mutex<HashMap<(u32, String), Turn>>,
}

impl Cashiers {
    /// Cashiers that send to `front` and hold what comes back against `api`, the origin behind it. The oracle goes by
    /// `policy`, whose durations are those of the timetable.
    pub fn new(front: Arc<dyn Front>, api: Arc<Api>, policy: Policy, scope: Scope) -> Self {
        let credential = |cashier: u32| {
            let token = api.token(&format!("cashier-{cashier}"), TENANT);
            format!("Bearer {token}").parse().expect("a token is base64url and dots")
        };
        let credentials = (0..CASHIERS).map(credential).collect();
        let ledger = Mutex::new(Ledger::new(TENANT, Oracle::new(policy, scope)));
        Cashiers { front, api, credentials, ledger, under_way: Mutex::default() }
    }

    /// The counts so far.
    pub fn tally(&self) -> Tally {
        self.ledger().tally()
    }

    /// The first wrong answers, in words.
    pub fn findings(&self) -> Vec<String> {
        self.ledger().findings().to_vec()
    }

    /// Works through `events` on a clock that stands still meanwhile: one event after the other, each to its end.
    pub async fn step_through(&self, events: &[Event], clock: &ManualClock) {
        let opened = clock.now();
        for event in events {
            clock.advance(event.at.saturating_sub(clock.now() - opened));
            self.carry_out(event, &|| clock.now() - opened).await;
        }
    }

    /// Works through `events` on a running clock, `factor` times as fast, without waiting for answers; returns when
    /// the last answer has come.
    pub async fn work_through(self: Arc<Self>, events: Vec<Event>, day: Shortened) {
        let mut under_way = JoinSet::new();
        for event in events {
            day.wait_until(event.at).await;
            while under_way.try_join_next().is_some() {}
            let (cashiers, day) = (Arc::clone(&self), day.clone());
            under_way.spawn(async move { cashiers.carry_out(&event, &|| day.time()).await });
        }
        under_way.join_all().await;
    }

    /// One event, to its end. `time` reads the time since opening.
    async fn carry_out(&self, event: &Event, time: &(dyn Fn() -> Duration + Sync)) {
        match &event.action {
            Action::Look(paths) => {
                join_all(paths.iter().map(|path| self.look(event.cashier, path, time))).await;
            }
            Action::Change { method, path, body } => self.change(event.cashier, method, path, body).await,
        }
    }

    async fn look(&self, cashier: u32, path: &str, time: &(dyn Fn() -> Duration + Sync)) {
        let turn = {
            let mut under_way = self.under_way.lock().expect("no holder of this lock panics");
            under_way.entry((cashier, path.to_owned())).or_default().clone()
        };
        let _turn = turn.lock().await;
        let begun = {
            let mut ledger = self.ledger();
            // Read under the lock, so that times in the oracle's history never go back.
            ledger.begin(time(), cashier, path)
        };
        let mut request = self.request(cashier, "GET", path, Bytes::new());
        if let Some(entity_tag) = begun.condition() {
            request.headers_mut().insert(header::IF_NONE_MATCH, entity_tag);
        }
        let answer = self.front.send(request).await;
        self.ledger().end(begun, answer);
    }

    async fn change(&self, cashier: u32, method: &str, path: &str, body: &str) {
        let mut request = self.request(cashier, method, path, Bytes::copy_from_slice(body.as_bytes()));
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let made = match self.front.send(request).await {
            Ok(response) if response.status().is_success() => {
                meta_of(response.body()).ok_or_else(|| "the answer to a change is not whole".to_owned())
            }
            Ok(response) => Err(format!("{method} answered with {}", response.status())),
            Err(why) => Err(why),
        };
        match made {
            Ok(meta) => {
                let touched = self.api.touched(meta.version);
                self.ledger().changed(method, path, meta.version, touched);
            }
            Err(why) => self.ledger().change_failed(path, why),
        }
    }

    fn request(&self, cashier: u32, method: &str, path: &str, body: Bytes) -> Request<Bytes> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::from_bytes(method.as_bytes()).expect("the timetable's methods are tokens");
        *request.uri_mut() = path.parse().expect("the timetable's paths are plain");
        let credential = self.credentials[cashier as usize].clone();
        request.headers_mut().insert(header::AUTHORIZATION, credential);
        request
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no holder of this lock panics")
    }
}

/// A running day, `factor` times as fast as the clock.
#[derive(Clone)]
pub struct Shortened {
    clock: Arc<dyn Clock>,
    opened: Timestamp,
    factor: u32,
}

impl Shortened {
    /// A day that begins now. `factor` is at least 1.
    pub fn open(clock: Arc<dyn Clock>, factor: u32) -> Self {
        let opened = clock.now();
        Shortened { clock, opened, factor }
    }

    /// Since opening, in the day's own time.
    pub fn time(&self) -> Duration {
        (self.clock.now() - self.opened) * self.factor
    }

    async fn wait_until(&self, at: Duration) {
        let ahead = at.saturating_sub(self.time()) / self.factor;
        if !ahead.is_zero() {
            tokio::time::sleep(ahead).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::day::{HOURS, schedule};
    use super::super::fixture;
    use super::super::front::Server;
    use super::super::oracle::Moment;
    use super::super::token;
    use super::*;
    use http::Response;
    use std::collections::HashMap;

    /// Nothing between the cashiers and the origin.
    struct Direct(Arc<Api>);

    #[async_trait::async_trait]
    impl Front for Direct {
        async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
            let authorization = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
            Ok(self.0.answer(request.method().as_str(), request.uri().path(), authorization, request.body()))
        }
    }

    /// A cache that nobody tells of changes: what was once fetched is good for ever, as a 304 where the browser has it.
    struct NeverInvalidates {
        origin: Direct,
        stored: Mutex<HashMap<String, Response<Bytes>>>,
    }

    #[async_trait::async_trait]
    impl Front for NeverInvalidates {
        async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
            if request.method() != Method::GET {
                return self.origin.send(request).await;
            }
            let path = request.uri().path().to_owned();
            let held = request.headers().contains_key(header::IF_NONE_MATCH);
            let stored = self.stored.lock().expect("no holder of this lock panics").get(&path).cloned();
            match stored {
                Some(_) if held => Ok(Response::builder().status(304).body(Bytes::new()).expect("a plain response")),
                Some(stored) => Ok(stored),
                None => {
                    let mut fetched = self.origin.send(request).await?;
                    fetched.headers_mut().insert(header::ETAG, HeaderValue::from_static("\"for-ever\""));
                    self.stored.lock().expect("no holder of this lock panics").insert(path, fetched.clone());
                    Ok(fetched)
                }
            }
        }
    }

    /// A cache that asks the origin exactly when the oracle does, and otherwise answers from what it has.
    struct AsTheOracle {
        origin: Direct,
        clock: Arc<ManualClock>,
        oracle: Mutex<Oracle>,
        stored: Mutex<HashMap<(u32, String), Response<Bytes>>>,
    }

    #[async_trait::async_trait]
    impl Front for AsTheOracle {
        async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
            let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
            if method != "GET" {
                let answer = self.origin.send(request).await;
                self.oracle.lock().expect("no holder of this lock panics").follow(&Moment::Changed { method, path });
                return answer;
            }
            let caller = cashier(&request);
            let at = Duration::from_millis(self.clock.now().boot_ms);
            let asks = {
                let mut oracle = self.oracle.lock().expect("no holder of this lock panics");
                let before = oracle.origin_gets();
                oracle.follow(&Moment::Get { at, caller, path: path.clone() });
                oracle.origin_gets() > before
            };
            let key = (caller, path);
            if asks {
                let fetched = self.origin.send(request).await?;
                self.stored.lock().expect("no holder of this lock panics").insert(key.clone(), fetched);
            }
            let stored = self.stored.lock().expect("no holder of this lock panics").get(&key).cloned();
            stored.ok_or_else(|| "nothing is stored".into())
        }
    }

    /// The number of the cashier whose token a request carries.
    fn cashier(request: &Request<Bytes>) -> u32 {
        let bearer = request.headers()[header::AUTHORIZATION].to_str().expect("a token is ASCII");
        let claims = token::verify(bearer.trim_start_matches("Bearer "), SECRET).expect("a token of this API");
        claims.sub.trim_start_matches("cashier-").parse().expect("a number")
    }

    const SECRET: &[u8] = b"secret";

    fn opening() -> (Arc<Api>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(Timestamp { wall_ms: 1_700_000_000_000, boot_ms: 0 }));
        (Arc::new(Api::new(1, SECRET, 0, clock.clone())), clock)
    }

    /// The first half hour: every kind of event is in it.
    fn half_hour() -> Vec<Event> {
        schedule(1).into_iter().filter(|event| event.at < HOURS / 16).collect()
    }

    fn cashiers(front: impl Front + 'static, api: &Arc<Api>) -> Cashiers {
        Cashiers::new(Arc::new(front), Arc::clone(api), fixture::pos(), Scope::User)
    }

    #[tokio::test]
    async fn without_a_cache_every_get_reaches_the_origin_and_nothing_is_stale() {
        let (api, clock) = opening();
        let cashiers = cashiers(Direct(Arc::clone(&api)), &api);
        cashiers.step_through(&half_hour(), &clock).await;
        let tally = cashiers.tally();
        assert_eq!((tally.gets, tally.changes), (70_080 / 16, 106));
        assert_eq!((tally.gets, tally.bytes), (api.all_gets().count, api.all_gets().bytes));
        assert_eq!((tally.bytes, tally.not_modified), (tally.bytes_without, 0));
        assert!(tally.is_clean(), "{:?}", cashiers.findings());
        assert!(tally.oracle < tally.gets / 2);
    }

    #[tokio::test]
    async fn a_cache_that_never_invalidates_is_found_out() {
        let (api, clock) = opening();
        let stored = Mutex::default();
        let cashiers = cashiers(NeverInvalidates { origin: Direct(Arc::clone(&api)), stored }, &api);
        cashiers.step_through(&half_hour(), &clock).await;
        let tally = cashiers.tally();
        assert!(tally.stale > 500, "{tally:?}");
        // Brands and units do not change all day: from its second visit on, each cashier's browser holds them.
        assert!(tally.not_modified >= 2 * u64::from(CASHIERS) * 89, "{tally:?}");
        assert_eq!((tally.foreign, tally.failed), (0, 0), "{:?}", cashiers.findings());
    }

    #[tokio::test]
    async fn so_few_gets_as_the_oracle_says_do_without_a_stale_answer() {
        let (api, clock) = opening();
        let front = AsTheOracle {
            origin: Direct(Arc::clone(&api)),
            clock: Arc::clone(&clock),
            oracle: Mutex::new(Oracle::new(fixture::pos(), Scope::User)),
            stored: Mutex::default(),
        };
        let cashiers = cashiers(front, &api);
        cashiers.step_through(&half_hour(), &clock).await;
        let tally = cashiers.tally();
        assert!(tally.is_clean(), "{:?}", cashiers.findings());
        assert_eq!(tally.oracle, api.all_gets().count);
    }

    #[tokio::test]
    async fn a_stepped_day_stands_where_the_timetable_says() {
        let (api, clock) = opening();
        let events = half_hour();
        let opened = clock.now();
        cashiers(Direct(Arc::clone(&api)), &api).step_through(&events[..9], &clock).await;
        assert_eq!(clock.now() - opened, events[8].at);
    }

    #[tokio::test]
    async fn a_running_day_goes_over_sockets() {
        let (api, clock) = opening();
        let server = Server::at(Arc::clone(&api).serve(([127, 0, 0, 1], 0).into()).await.expect("a free port"));
        let cashiers = Arc::new(cashiers(server, &api));
        let minute: Vec<_> = half_hour().into_iter().filter(|event| event.at < HOURS / 480).collect();
        let events = minute.len();
        // The shop has closed already: every event is due at once.
        let day = Shortened::open(clock.clone(), 1);
        clock.advance(HOURS);
        Arc::clone(&cashiers).work_through(minute, day).await;
        let tally = cashiers.tally();
        assert!(tally.is_clean(), "{:?}", cashiers.findings());
        assert!(tally.gets > events as u64 && tally.gets == api.all_gets().count, "{tally:?}");
    }
}
