//! One product between clients and an origin whose every step can be held. Each race has a path of its own, and so a
//! history of its own.

use super::history::{Ask, Caller, Event, Got, Representation};
use super::product::{BOUND, Product, Running};
use crate::scripted::{After, Origin, Request, write};
use crate::wire::{Connection, Response, request};
use freshgate::clock::{Clock, SystemClock};
use freshgate::field::date::HttpDate;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// An answer that does not come within this time waits for something that is held. It decides only what is tried next,
/// never a verdict.
pub const WINDOW: Duration = Duration::from_millis(150);

/// How long the origin's answers say they may be stored.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Longer than any race takes.
    Items,
    /// For a second, and beyond that while they are asked for anew.
    Brief,
}

impl Kind {
    fn folder(self) -> &'static str {
        match self {
            Kind::Items => "/items",
            Kind::Brief => "/brief",
        }
    }

    fn cache_control(self) -> &'static str {
        match self {
            Kind::Items => "max-age=600",
            Kind::Brief => "max-age=1, stale-while-revalidate=600",
        }
    }
}

/// How a body says where it ends.
#[derive(Clone, Copy)]
pub enum Framing {
    Length,
    Chunked,
}

/// What the origin does with the next GET of a path: waits at a gate, and may then end in the middle of the body.
struct Plan {
    reached: Sender<()>,
    open: Receiver<()>,
    cut: Option<Framing>,
}

/// A gate that the origin waits at; it opens when this goes out of scope.
pub struct Gate {
    reached: Receiver<()>,
    _open: Sender<()>,
}

impl Gate {
    /// Waits until the origin stands at the gate.
    pub fn reached(&self) -> bool {
        self.reached_within(BOUND)
    }

    pub fn reached_within(&self, bound: Duration) -> bool {
        self.reached.recv_timeout(bound).is_ok()
    }

    pub fn open(self) {}
}

/// One resource of the origin, and all that happens to it.
pub struct Resource {
    pub path: String,
    kind: Kind,
    state: Mutex<State>,
}

struct State {
    version: u64,
    plans: VecDeque<Plan>,
    history: Vec<Event>,
    clients: usize,
}

impl Resource {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }

    fn note(&self, event: Event) {
        self.state().history.push(event);
    }

    pub fn history(&self) -> Vec<Event> {
        self.state().history.clone()
    }

    /// How often the origin has been asked for it.
    pub fn reads(&self) -> usize {
        self.state().history.iter().filter(|event| matches!(event, Event::Reads(_))).count()
    }

    /// Lets the origin hold its next answer to a GET.
    pub fn hold(&self) -> Gate {
        self.plan(None)
    }

    /// Lets the origin hold its next answer to a GET in the middle of the body, and end it there.
    pub fn cut(&self, framing: Framing) -> Gate {
        self.plan(Some(framing))
    }

    fn plan(&self, cut: Option<Framing>) -> Gate {
        let (reached, at_gate) = channel();
        let (opener, open) = channel();
        self.state().plans.push_back(Plan { reached, open, cut });
        Gate { reached: at_gate, _open: opener }
    }

    /// The origin's side of a request.
    fn serve(&self, request: &Request, peer: &mut TcpStream) -> After {
        if request.line().starts_with("GET ") { self.read(request, peer) } else { self.change(peer) }
    }

    fn change(&self, peer: &mut TcpStream) -> After {
        let mut state = self.state();
        state.version += 1;
        let version = state.version;
        state.history.push(Event::Changes { version });
        drop(state);
        let body = Representation { version, caller: Caller::Nobody }.body();
        write(peer, format!("{HEAD}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        After::Keep
    }

    fn read(&self, request: &Request, peer: &mut TcpStream) -> After {
        let mut state = self.state();
        let caller = Caller::of(request.head.field("authorization"));
        let said = Representation { version: state.version, caller };
        state.history.push(Event::Reads(said));
        let plan = state.plans.pop_front();
        drop(state);
        let (tag, body) = (said.entity_tag(), said.body());
        let fields = format!("Date: {}\r\nETag: {tag}\r\nCache-Control: {}\r\n", date(), self.kind.cache_control());
        let (length, half) = (body.len(), &body[..body.len() / 2]);
        let cut = plan.as_ref().and_then(|plan| plan.cut);
        match cut {
            Some(Framing::Length) => {
                write(peer, format!("{HEAD}{fields}Content-Length: {length}\r\n\r\n{half}").as_bytes());
            }
            Some(Framing::Chunked) => {
                let chunk = format!("{:x}\r\n{half}\r\n", half.len());
                write(peer, format!("{HEAD}{fields}Transfer-Encoding: chunked\r\n\r\n{chunk}").as_bytes());
            }
            None => {}
        }
        let held = plan.is_some();
        if let Some(plan) = plan {
            // A race that has ended opens its gates.
            let _ = plan.reached.send(());
            let _ = plan.open.recv_timeout(BOUND);
        }
        if cut.is_some() {
            self.note(Event::Cuts);
            return After::Close;
        }
        if held {
            self.note(Event::Answers(said));
        }
        if request.head.field("if-none-match") == Some(tag.as_str()) {
            write(peer, format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n").as_bytes());
        } else {
            write(peer, format!("{HEAD}{fields}Content-Length: {length}\r\n\r\n{body}").as_bytes());
        }
        After::Keep
    }
}

/// Squid, for one, stores nothing without a Date.
fn date() -> HttpDate {
    HttpDate(SystemClock.now().wall_seconds())
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
/// Asked until the product answers.
const READY: &str = "/ready";

/// What a race is run in.
pub struct Lab {
    resources: Arc<Mutex<HashMap<String, Arc<Resource>>>>,
    product: Running,
    next: AtomicUsize,
    _origin: Origin,
}

impl Lab {
    /// The origin, and the product in front of it.
    pub fn start(product: &Product) -> Result<Lab, String> {
        let resources: Arc<Mutex<HashMap<String, Arc<Resource>>>> = Arc::default();
        let known = resources.clone();
        let origin = Origin::start(move |request, peer| {
            let path = request.line().split(' ').nth(1).unwrap_or_default();
            let resource = known.lock().expect("nothing panics while it holds the lock").get(path).cloned();
            match resource {
                Some(resource) => resource.serve(request, peer),
                None => {
                    let status = if path == READY { "200 OK" } else { "404 Not Found" };
                    let head = format!("HTTP/1.1 {status}\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n");
                    write(peer, head.as_bytes());
                    After::Keep
                }
            }
        });
        let port = origin.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("the origin has a port");
        let ask = request(&format!("GET {READY}"), &[], "");
        let ready = |address| exchange(address, &ask).is_ok_and(|answer| answer.status() == 200);
        let product = product.start(port, ready)?;
        Ok(Lab { resources, product, next: AtomicUsize::new(0), _origin: origin })
    }

    /// A resource that nobody has asked for yet.
    pub fn resource(&self, kind: Kind) -> Arc<Resource> {
        let path = format!("{}/{}", kind.folder(), self.next.fetch_add(1, Ordering::SeqCst));
        let state = State { version: 1, plans: VecDeque::new(), history: Vec::new(), clients: 0 };
        let resource = Arc::new(Resource { path: path.clone(), kind, state: Mutex::new(state) });
        self.resources.lock().expect("nothing panics while it holds the lock").insert(path, resource.clone());
        resource
    }

    /// Sends a request on a connection of its own, and does not wait.
    pub fn send(&self, resource: &Arc<Resource>, ask: Ask) -> Pending {
        let mut state = resource.state();
        state.clients += 1;
        let client = state.clients;
        state.history.push(Event::Sends { client, ask });
        drop(state);
        let (noting, address, octets) = (resource.clone(), self.product.address, octets(&resource.path, ask));
        Pending::begin(move || {
            let got = got(exchange(address, &octets));
            noting.note(Event::Gets { client, got });
        })
    }

    /// Asks and waits.
    pub fn ask(&self, resource: &Arc<Resource>, ask: Ask) {
        self.send(resource, ask).wait();
    }

    /// A GET by nobody that the history does not mention.
    pub fn poll(&self, resource: &Arc<Resource>) -> Pending {
        let (address, octets) = (self.product.address, octets(&resource.path, READ));
        Pending::begin(move || drop(exchange(address, &octets)))
    }
}

/// A GET by nobody.
pub const READ: Ask = Ask::Read { caller: Caller::Nobody, known: None };

/// A client that waits for its response.
pub struct Pending {
    answered: Receiver<()>,
}

impl Pending {
    fn begin(exchange: impl FnOnce() + Send + 'static) -> Pending {
        let (answer, answered) = channel::<()>();
        thread::spawn(move || {
            exchange();
            drop(answer);
        });
        Pending { answered }
    }

    /// Whether the response came within a time.
    pub fn within(&self, bound: Duration) -> bool {
        self.answered.recv_timeout(bound) == Err(RecvTimeoutError::Disconnected)
    }

    pub fn wait(self) {
        // Every wait on the socket has its own bound; this one is longer than what they come to.
        let _ = self.within(4 * BOUND);
    }
}

fn octets(path: &str, ask: Ask) -> String {
    match ask {
        Ask::Write => request(&format!("PUT {path}"), &["Content-Type: application/json"], "{}"),
        Ask::Read { caller, known } => {
            let condition = known.map(|known| format!("If-None-Match: {}", known.entity_tag()));
            let fields: Vec<String> = caller.credential().into_iter().chain(condition).collect();
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            request(&format!("GET {path}"), &fields, "")
        }
    }
}

/// One request and its response, if that comes whole.
fn exchange(address: SocketAddr, octets: &str) -> io::Result<Response> {
    let mut connection = Connection::open(address);
    connection.reader.get_ref().set_read_timeout(Some(BOUND))?;
    connection.send(octets);
    connection.try_response()
}

fn got(answer: io::Result<Response>) -> Got {
    let Ok(answer) = answer else { return Got::Broken };
    match answer.status() {
        200 => Representation::of(&answer.body).map_or(Got::Part { octets: answer.body.len() }, Got::Whole),
        304 => Got::NotModified,
        status => Got::Status(status),
    }
}
