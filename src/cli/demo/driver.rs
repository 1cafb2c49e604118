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
pub const TENANT: &str = "shop-1";

/// The shop next door, on the same URLs and with other data: without it, no answer could be another tenant's.
const NEXT_DOOR: &str = "shop-2";

/// So many tills next door look at whatever the first cashiers look at, at the same moments. They are counted apart.
const TILLS_NEXT_DOOR: u32 = 2;

/// Held while a GET is under way.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// All cashiers, in front of something that answers them.
pub struct Cashiers {
    front: Arc<dyn Front>,
    api: Arc<Api>,
    tills: Tills,
    /// None where the scope does not tell tenants apart: all who are accepted would be told one and the same.
    next_door: Option<Tills>,
}

/// Those of one shop.
struct Tills {
    /// By cashier: the value of Authorization.
    credentials: Vec<HeaderValue>,
    ledger: Mutex<Ledger>,
    /// By cashier and path.
    under_way: Mutex<HashMap<(u32, String), Turn>>,
}

impl Tills {
    fn of(tenant: &str, count: u32, api: &Api, oracle: Oracle) -> Tills {
        let credential = |cashier: u32| {
            let token = api.token(&format!("cashier-{cashier}"), tenant);
            format!("Bearer {token}").parse().expect("a token is base64url and dots")
        };
        let credentials = (0..count).map(credential).collect();
        Tills { credentials, ledger: Mutex::new(Ledger::new(tenant, oracle)), under_way: Mutex::default() }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no holder of this lock panics")
    }
}

impl Cashiers {
    /// Cashiers that send to `front` and hold what comes back against `api`, the origin behind it. The oracle goes by
    /// `policy`, whose durations are those of the timetable.
    pub fn new(front: Arc<dyn Front>, api: Arc<Api>, policy: Policy, scope: Scope) -> Self {
        let next_door = matches!(scope, Scope::User | Scope::Claim(_))
            .then(|| Tills::of(NEXT_DOOR, TILLS_NEXT_DOOR, &api, Oracle::new(policy.clone(), scope.clone())));
        let tills = Tills::of(TENANT, CASHIERS, &api, Oracle::new(policy, scope));
        Cashiers { front, api, tills, next_door }
    }

    fn all_tills(&self) -> impl Iterator<Item = &Tills> {
        [&self.tills].into_iter().chain(&self.next_door)
    }

    /// The counts so far. Of the shop next door only GETs, and what was wrong.
    pub fn tally(&self) -> Tally {
        let mut tally = self.tills.ledger().tally();
        if let Some(next_door) = &self.next_door {
            let Tally { gets, stale, foreign, failed, .. } = next_door.ledger().tally();
            tally.next_door = gets;
            tally.stale += stale;
            tally.foreign += foreign;
            tally.failed += failed;
        }
        tally
    }

    /// The first wrong answers, in words.
    pub fn findings(&self) -> Vec<String> {
        self.all_tills().flat_map(|tills| tills.ledger().findings().to_vec()).collect()
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
                let looking = self.all_tills().filter(|tills| tills.credentials.len() > event.cashier as usize);
                let looks = looking.flat_map(|tills| paths.iter().map(move |path| (tills, path)));
                join_all(looks.map(|(tills, path)| self.look(tills, event.cashier, path, time))).await;
            }
            Action::Change { method, path, body } => self.change(event.cashier, method, path, body).await,
        }
    }

    async fn look(&self, tills: &Tills, cashier: u32, path: &str, time: &(dyn Fn() -> Duration + Sync)) {
        let turn = {
            let mut under_way = tills.under_way.lock().expect("no holder of this lock panics");
            under_way.entry((cashier, path.to_owned())).or_default().clone()
        };
        let _turn = turn.lock().await;
        let begun = {
            let mut ledger = tills.ledger();
            // Read under the lock, so that times in the oracle's history never go back.
            ledger.begin(time(), cashier, path)
        };
        let mut request = request(&tills.credentials[cashier as usize], "GET", path, Bytes::new());
        if let Some(entity_tag) = begun.condition() {
            request.headers_mut().insert(header::IF_NONE_MATCH, entity_tag);
        }
        let answer = self.front.send(request).await;
        tills.ledger().end(begun, answer);
    }

    async fn change(&self, cashier: u32, method: &str, path: &str, body: &str) {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let mut request = request(&self.tills.credentials[cashier as usize], method, path, body);
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
                for tills in self.all_tills() {
                    tills.ledger().changed(method, path, meta.version, self.api.touched(meta.version));
                }
            }
            Err(why) => self.tills.ledger().change_failed(path, why),
        }
    }
}

fn request(credential: &HeaderValue, method: &str, path: &str, body: Bytes) -> Request<Bytes> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(method.as_bytes()).expect("the timetable's methods are tokens");
    *request.uri_mut() = path.parse().expect("the timetable's paths are plain");
    request.headers_mut().insert(header::AUTHORIZATION, credential.clone());
    request
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
        tells_tenants_apart: bool,
        stored: Mutex<HashMap<(String, String), Response<Bytes>>>,
    }

    #[async_trait::async_trait]
    impl Front for NeverInvalidates {
        async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
            if request.method() != Method::GET {
                return self.origin.send(request).await;
            }
            let tenant = if self.tells_tenants_apart { claims(&request).tenant_id } else { String::new() };
            let key = (tenant, request.uri().path().to_owned());
            let held = request.headers().contains_key(header::IF_NONE_MATCH);
            let stored = self.stored.lock().expect("no holder of this lock panics").get(&key).cloned();
            match stored {
                Some(_) if held => Ok(Response::builder().status(304).body(Bytes::new()).expect("a plain response")),
                Some(stored) => Ok(stored),
                None => {
                    let mut fetched = self.origin.send(request).await?;
                    fetched.headers_mut().insert(header::ETAG, HeaderValue::from_static("\"for-ever\""));
                    self.stored.lock().expect("no holder of this lock panics").insert(key, fetched.clone());
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
            // What the oracle is asked of is one shop.
            if claims(&request).tenant_id != TENANT {
                return self.origin.send(request).await;
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
        claims(request).sub.trim_start_matches("cashier-").parse().expect("a number")
    }

    fn claims(request: &Request<Bytes>) -> token::Claims {
        let bearer = request.headers()[header::AUTHORIZATION].to_str().expect("a token is ASCII");
        token::verify(bearer.trim_start_matches("Bearer "), SECRET).expect("a token of this API")
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
        assert_eq!((tally.gets, tally.bytes), (api.gets_of(TENANT).count, api.gets_of(TENANT).bytes));
        assert_eq!((tally.bytes, tally.not_modified), (tally.bytes_without, 0));
        assert!(tally.is_clean(), "{:?}", cashiers.findings());
        assert!(tally.oracle < tally.gets / 2);
    }

    #[tokio::test]
    async fn a_cache_that_never_invalidates_is_found_out() {
        let (api, clock) = opening();
        let (origin, stored) = (Direct(Arc::clone(&api)), Mutex::default());
        let cashiers = cashiers(NeverInvalidates { origin, tells_tenants_apart: true, stored }, &api);
        cashiers.step_through(&half_hour(), &clock).await;
        let tally = cashiers.tally();
        assert!(tally.stale > 500, "{tally:?}");
        // Brands and units do not change all day: from its second visit on, each cashier's browser holds them.
        assert!(tally.not_modified >= 2 * u64::from(CASHIERS) * 89, "{tally:?}");
        assert_eq!((tally.foreign, tally.failed), (0, 0), "{:?}", cashiers.findings());
    }

    #[tokio::test]
    async fn a_cache_that_takes_two_shops_for_one_is_found_out() {
        let (api, clock) = opening();
        let (origin, stored) = (Direct(Arc::clone(&api)), Mutex::default());
        let cashiers = cashiers(NeverInvalidates { origin, tells_tenants_apart: false, stored }, &api);
        cashiers.step_through(&half_hour(), &clock).await;
        let tally = cashiers.tally();
        // Each first look of a till at a path that the other shop has looked at before.
        assert!(tally.foreign >= u64::from(TILLS_NEXT_DOOR), "{tally:?}");
        assert!(!tally.is_clean());
    }

    #[tokio::test]
    async fn the_shop_next_door_looks_at_what_the_first_cashiers_look_at() {
        let (api, clock) = opening();
        let cashiers = cashiers(Direct(Arc::clone(&api)), &api);
        cashiers.step_through(&half_hour(), &clock).await;
        let (here, next_door) = (api.gets_of(TENANT).count, api.gets_of(NEXT_DOOR).count);
        assert_eq!((cashiers.tally().gets, cashiers.tally().next_door), (here, next_door));
        assert_eq!(next_door * u64::from(CASHIERS), here * u64::from(TILLS_NEXT_DOOR));
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
        assert_eq!(tally.oracle, api.gets_of(TENANT).count);
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
        assert!(tally.gets > events as u64 && tally.gets == api.gets_of(TENANT).count, "{tally:?}");
    }
}
