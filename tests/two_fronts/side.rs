//! One front with all that stands behind it: a pipeline of its own and an origin of its own. The two fronts of a [`Pair`]
//! differ in nothing but who gets the accepted connections: that is the switch, and it is here, not in the program.

use crate::origin::Origin;
use crate::scenario::{Asked, Step};
use crate::wire::{Framing, Kind, Message, more, read};
use bytes::BytesMut;
use freshgate::clock::{Clock, ManualClock, Timestamp};
use freshgate::config::{self, Overrides};
use freshgate::edge::connections::Connections;
use freshgate::edge::head::Arrival;
use freshgate::edge::lane::Lane;
use freshgate::edge::listener;
use freshgate::edge::proxy;
use freshgate::origin::http::HttpOrigin;
use freshgate::origin::peer::Peers;
use freshgate::pipeline::Pipeline;
use freshgate::pipeline::exchange::Exchange;
use freshgate::pipeline::purge::Selector;
use freshgate::semantics::request::Scheme;
use pingora::apps::ServerApp;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Thu, 01 Jan 2026 00:00:00 GMT, on a machine that booted a while ago.
const BEGINNING: Timestamp = Timestamp { wall_ms: 1_767_225_600_000, boot_ms: 5_000_000 };

/// How every connection here is made.
pub const ARRIVAL: Arrival = Arrival { scheme: Scheme::Http, client: IpAddr::V4(Ipv4Addr::LOCALHOST) };

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Limits that the scenarios reach, and routes for what they ask.
const CONFIG: &str = r#"
[server.limits]
uri = "300B"
header_bytes = "4KiB"
header_count = 20
body = "20KiB"
[origin]
url = "http://ORIGIN"
request_buffer = "2KiB"
response_timeout = "TIMEOUT"
body_timeout = "TIMEOUT"
[cache]
max_body = "64KiB"
memory = "16MiB"
[[route]]
name = "shown"
paths = ["/shown", "/shown/{id}"]
fresh = "1m"
stale_if_error = "1h"
negative = "5s"
scope = "public"
[[route]]
name = "own"
paths = ["/own", "/own/{id}"]
fresh = "1m"
scope = "user"
[[route]]
name = "members"
paths = ["/members", "/members/{id}"]
fresh = "1m"
scope = "authenticated"
[[route]]
name = "careful"
paths = ["/careful/{id}"]
fresh = "1m"
require_if_match = true
[[route]]
name = "streams"
paths = ["/streams/{*rest}"]
mode = "pass"
"#;

/// Who gets a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    Lane,
    /// Pingora's own HTTP/1.1 sessions, whose requests [`proxy::Front`] judges as it judges those of HTTP/2.
    Pingora,
}

/// What one front did in one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// 1xx responses among them.
    pub answers: Vec<Message>,
    /// Whether the connection was closed behind the last.
    pub closes: bool,
    /// Octets that came in between.
    pub behind: Vec<u8>,
    /// What the origin was asked.
    pub asks: Vec<Message>,
    /// What access log, metrics and dashboard are told.
    pub records: Vec<String>,
}

/// The lane, and beside it Pingora.
pub struct Pair {
    clock: Arc<ManualClock>,
    sides: [Side; 2],
}

struct Side {
    front: Front,
    lane: Arc<Lane>,
    listener: TcpListener,
    /// Dropped, it ends the connections.
    stop: watch::Sender<bool>,
    origin: Origin,
    observed: Arc<Mutex<Vec<Exchange>>>,
    client: Option<Client>,
    behind: Vec<u8>,
    /// The validators that were seen last.
    etag: String,
    modified: String,
}

struct Client {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    buffer: BytesMut,
}

impl Pair {
    /// Both with nothing stored yet. `response_timeout`: how long the origin may be silent.
    pub async fn new(response_timeout: &str) -> Pair {
        let clock = Arc::new(ManualClock::new(BEGINNING));
        let lane = Side::new(Front::Lane, clock.clone(), response_timeout).await;
        let pingora = Side::new(Front::Pingora, clock.clone(), response_timeout).await;
        Pair { clock, sides: [lane, pingora] }
    }

    /// Has both do the same.
    pub async fn play(&mut self, step: &Step) -> [Seen; 2] {
        self.clock.advance(step.after);
        let [lane, pingora] = &mut self.sides;
        let seen = tokio::join!(lane.play(step), pingora.play(step));
        [seen.0, seen.1]
    }

    /// Has the lane alone do it.
    pub async fn play_the_lane(&mut self, step: &Step) -> Seen {
        self.sides[0].play(step).await
    }

    /// The lane's; the other's is alike.
    pub fn pipeline(&self) -> &Pipeline {
        &self.sides[0].lane.pipeline
    }
}

impl Side {
    async fn new(front: Front, clock: Arc<dyn Clock>, response_timeout: &str) -> Side {
        let origin = Origin::start().await;
        let text = CONFIG.replace("ORIGIN", &origin.address.to_string()).replace("TIMEOUT", response_timeout);
        let policy = match config::parse(&text, "two_fronts.toml", &Overrides::default(), &|_| None) {
            Ok(loaded) => Arc::new(loaded.policy),
            Err(errors) => panic!("{errors}"),
        };
        let http = HttpOrigin::new(&policy.origin).expect("no roots are needed");
        let observed = Arc::new(Mutex::new(Vec::new()));
        let records = observed.clone();
        let observer =
            move |exchange: &Exchange| records.lock().expect("nobody panics under it").push(exchange.clone());
        let peers = Peers::new(&policy.origin).expect("no roots are needed");
        // The same key: both go by one name, and callers by the same hash.
        let pipeline = Pipeline::new(policy, Arc::new(http), clock, Arc::new(observer), [7; 32]);
        let (stop, shutdown) = watch::channel(false);
        let proxy = proxy::proxy(pipeline.clone(), peers);
        let lane = Arc::new(Lane { pipeline, proxy, connections: Arc::new(Connections::default()), shutdown });
        let (etag, modified) = ("\"none\"".to_owned(), "Thu, 01 Jan 1970 00:00:00 GMT".to_owned());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        Side { front, lane, listener, stop, origin, observed, client: None, behind: Vec::new(), etag, modified }
    }

    async fn connect(&self) -> Client {
        let address = self.listener.local_addr().expect("it is bound");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), self.listener.accept());
        let (client, (server, from)) = (client.expect("it listens"), accepted.expect("one connects"));
        let stream = Box::new(listener::l4(server, from));
        let (lane, front, shutdown) = (self.lane.clone(), self.front, self.stop.subscribe());
        tokio::spawn(async move {
            match front {
                Front::Lane => lane.serve(stream, ARRIVAL).await,
                Front::Pingora => drop(lane.proxy.process_new(stream, &shutdown).await),
            }
        });
        client.set_nodelay(true).expect("TCP has that option");
        let (reader, writer) = client.into_split();
        Client { reader, writer, buffer: BytesMut::new() }
    }

    async fn play(&mut self, step: &Step) -> Seen {
        if let Some(path) = &step.purge {
            let selector = if path == "*" { Selector::All } else { Selector::Key(path.clone()) };
            self.lane.pipeline.purge(&selector, step.soft);
        }
        let (mut answers, mut closes) = (Vec::new(), false);
        // In one write where several are asked at once, and one after the other of Pingora: the lane hands it one request
        // at a time, and so does HTTP/2.
        let together = if self.front == Front::Lane { step.requests.len().max(1) } else { 1 };
        let name = &self.lane.pipeline.name;
        let known = [("$etag", &*self.etag), ("$modified", &*self.modified), ("$name", name)];
        let octets: Vec<_> = step.requests.iter().map(|asked| asked.octets(&known)).collect();
        for (asked, octets) in step.requests.chunks(together).zip(octets.chunks(together)) {
            closes = self.exchange(asked, octets.concat(), &mut answers).await;
            let unframed = answers.last().is_some_and(|answer| answer.framing == Framing::Close && !says_close(answer));
            // The lane, which has chunks for that, goes on.
            let goes_on = self.front == Front::Pingora && unframed && asked.iter().all(Asked::takes_chunks);
            if closes && !goes_on {
                break;
            }
        }
        // What Pingora refuses by itself is on no record, and says so.
        let recorded = answers.iter().filter(|answer| answer.field("cache-status").is_some()).count();
        self.settle(recorded).await;
        let observed = std::mem::take(&mut *self.observed.lock().expect("nobody panics under it"));
        let behind = std::mem::take(&mut self.behind);
        Seen { answers, closes, behind, asks: self.origin.asked(), records: observed.iter().map(record).collect() }
    }

    /// Sends requests and reads their answers. Says whether the connection was closed.
    async fn exchange(&mut self, asked: &[Asked], octets: Vec<u8>, answers: &mut Vec<Message>) -> bool {
        let Client { mut reader, mut writer, mut buffer } = match self.client.take() {
            Some(client) => client,
            None => self.connect().await,
        };
        // A front may answer, and close, before it has read everything.
        let sending = tokio::spawn(async move {
            drop(writer.write_all(&octets).await);
            writer
        });
        for asked in asked {
            let kind = if asked.is_head() { Kind::ResponseToHead } else { Kind::Response };
            loop {
                let answer = match timeout(PATIENCE, read(&mut reader, &mut buffer, kind)).await {
                    Ok(Some(answer)) => answer,
                    Ok(None) => return true,
                    Err(_) => panic!("{:?} does not answer {asked:?}", self.front),
                };
                self.etag = answer.field("etag").unwrap_or(&self.etag).to_owned();
                self.modified = answer.field("last-modified").unwrap_or(&self.modified).to_owned();
                let interim = answer.status() < 200;
                let last = answer.framing == Framing::Close || answer.broken || says_close(&answer);
                answers.push(answer);
                if last {
                    while let Ok(Some(())) = timeout(PATIENCE, more(&mut reader, &mut buffer)).await {}
                    self.behind = buffer.to_vec();
                    return true;
                }
                if !interim {
                    break;
                }
            }
        }
        let writer = sending.await.expect("writing does not panic");
        self.client = Some(Client { reader, writer, buffer });
        false
    }

    /// Waits until all is done that the answers do not wait for: records, and what is made in the background.
    async fn settle(&self, recorded: usize) {
        let done = || {
            let records = self.observed.lock().expect("nobody panics under it").len();
            records >= recorded && self.lane.pipeline.store.codings_under_way() == 0
        };
        let settled = async {
            while !done() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        // One that is missing is missed when the two are compared.
        drop(timeout(PATIENCE, settled).await);
    }
}

/// Whether the answer says that it is the last of its connection.
fn says_close(answer: &Message) -> bool {
    answer.all("connection").any(|option| option == "close")
}

/// What a record says, but for how long it took.
fn record(exchange: &Exchange) -> String {
    let Exchange { method, target, route, status, cache_status, origin_requests, .. } = exchange;
    let Exchange { origin_bytes, content_length, sent_bytes, mutation, .. } = exchange;
    format!(
        "{method} {target} on {route:?}: {status} {cache_status}, {origin_requests} asked, {origin_bytes} \
         octets from there, {content_length} of content, {sent_bytes} sent, {mutation:?}"
    )
}
