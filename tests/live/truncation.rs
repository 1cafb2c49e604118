//! Answers that break off, at every octet there is, through a network that does it: nobody takes a part for the whole,
//! nothing that is a part is stored, and nobody waits for more than is coming.

use crate::faults::{Fault, Faults};
use crate::proxy::{CACHED, Proxy};
use crate::scripted::{After, Origin, Turns, write};
use crate::wire::{Connection, Response};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;

const JSON: &[u8] = br#"{"id":1}"#;

/// The same in gzip (RFC 1952).
const GZIP: &[u8] =
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\xca\x4c\x51\xb2\x32\xac\x05\x00\xc5\xf8\x5d\x44\x08\x00\
\x00\x00";

/// One who fetches, and those who wait for it.
const CALLERS: usize = 9;

/// How many octets are tried side by side.
const SIDE_BY_SIDE: usize = 4;

/// Whoever sends it gets an answer without a fault.
const UNHURT: &str = "X-Unhurt: yes";

#[test]
fn a_body_with_a_length() {
    breaks_at_every_octet(&with_length("", JSON), JSON);
}

#[test]
fn a_chunked_body() {
    breaks_at_every_octet(&chunked("", JSON), JSON);
}

#[test]
fn a_coded_body_with_a_length() {
    breaks_at_every_octet(&with_length("Content-Encoding: gzip\r\n", GZIP), GZIP);
}

#[test]
fn a_coded_body_in_chunks() {
    breaks_at_every_octet(&chunked("Content-Encoding: gzip\r\n", GZIP), GZIP);
}

fn breaks_at_every_octet(answer: &[u8], body: &[u8]) {
    for how in [Fault::Cut as fn(usize) -> Fault, Fault::Reset] {
        let scene = Scene::start(answer, "", how);
        let octets = Mutex::new(0..=answer.len());
        let collapsed = Mutex::new(0);
        thread::scope(|threads| {
            for _ in 0..SIDE_BY_SIDE {
                let mut callers = scene.callers();
                let (octets, collapsed) = (&octets, &collapsed);
                threads.spawn(move || {
                    loop {
                        let Some(at) = octets.lock().expect("no holder panics").next() else { return };
                        *collapsed.lock().expect("no holder panics") += callers.meet_with_a_break(at, body);
                    }
                });
            }
        });
        // A caller whom the machine lets wait comes when the fetch is over, and fetches anew.
        let (collapsed, asked) = (collapsed.into_inner().expect("nobody panicked"), CALLERS * (answer.len() + 1));
        assert!(collapsed * 2 > asked, "{collapsed} of {asked} callers waited for another's fetch");
    }
}

/// What is streamed from the origin to its client has begun before its end is known: it breaks off, too.
#[test]
fn a_stream() {
    for (answer, body) in [(with_length("", JSON), JSON), (chunked("Content-Encoding: gzip\r\n", GZIP), GZIP)] {
        for how in [Fault::Cut as fn(usize) -> Fault, Fault::Reset] {
            let scene = Scene::start(&answer, "", how);
            for at in 0..=answer.len() {
                scene.turns.open(at);
                let mut client = scene.proxy.connect();
                client.ask(&format!("OPTIONS /a/{at}"), &[], "");
                match client.try_response() {
                    Ok(told) if told.status() == 200 => assert_eq!(told.body, body, "cut at {at}"),
                    Ok(told) => assert_eq!(told.status(), 502, "cut at {at}: {told:?}"),
                    Err(_) => assert!(at < answer.len(), "{at} is all of it"),
                }
            }
        }
    }
}

/// The other end is gone and nobody has said so. `body_timeout` is the bound of the rest, `response_timeout` of the head.
#[test]
fn what_stops_without_an_end_is_not_waited_for() {
    let bounds = "origin.response_timeout = \"3s\"\norigin.body_timeout = \"700ms\"\n";
    let answers = [with_length("", JSON), chunked("", JSON)];
    let scenes = answers.map(|answer| (Scene::start(&answer, bounds, Fault::Hold), answer));
    thread::scope(|threads| {
        for (scene, answer) in &scenes {
            let (all, head) = (answer.len(), answer.len() - body_of(answer));
            for at in [0, 1, head - 1, head, head + 1, all - 1] {
                let mut callers = scene.callers();
                threads.spawn(move || {
                    for outcome in callers.ask(at) {
                        let status = outcome.map(|response| response.status());
                        assert_eq!(status, Some(504), "held at {at} of {all}");
                    }
                    callers.find_it_whole(at, JSON);
                });
            }
        }
    });
}

/// What is late and comes within those bounds is whole.
#[test]
fn what_is_late_is_waited_for() {
    let answer = chunked("", JSON);
    let scene = Scene::start(&answer, "", Fault::Hold);
    let head = answer.len() - body_of(&answer);
    let octets = [0, 1, head, head + 4, answer.len() - 1];
    thread::scope(|threads| {
        for at in octets {
            let mut callers = scene.callers();
            threads.spawn(move || {
                for outcome in callers.ask(at) {
                    let response = outcome.expect("it comes whole");
                    assert_eq!((response.status(), &response.body[..]), (200, JSON), "held at {at}");
                }
            });
        }
        // All of them are there, or come to what was let go already.
        octets.iter().for_each(|at| scene.turns.wait(*at));
        scene.faults.release();
    });
}

/// RFC 9110 §9.2.2: whatever becomes of the answer, nobody but its client sends a mutation again. Neither one that is
/// read whole nor one that streams; neither on a new connection nor on one that carried others.
#[test]
fn a_mutation_is_sent_once_wherever_its_answer_breaks_off() {
    let answer = with_length("", JSON);
    for (buffer, how) in
        [("1MiB", Fault::Cut as fn(usize) -> Fault), ("1MiB", Fault::Reset), ("4B", Fault::Cut), ("4B", Fault::Reset)]
    {
        let scene = Scene::start(&answer, &format!("origin.request_buffer = \"{buffer}\"\n"), how);
        for at in 0..=answer.len() {
            scene.turns.open(at);
            let mut client = scene.proxy.connect();
            client.ask(&format!("GET /a/{at}"), &[UNHURT], "");
            assert_eq!(client.response().body, JSON, "it is stored, and leaves a connection behind");
            client.ask(&format!("PUT /a/{at}"), &[], r#"{"id":2}"#);
            match client.try_response() {
                Ok(told) if at == answer.len() => assert_eq!((told.status(), &told.body[..]), (200, JSON)),
                Ok(told) => assert_eq!(told.status(), 502, "{buffer} {at}: {told:?}"),
                Err(_) => {
                    assert!(at < answer.len() && buffer == "4B", "{buffer} {at}: what streams can only break off");
                }
            }
            let next = scene.proxy.ask(&format!("GET /a/{at}"), &[UNHURT], "");
            assert!(!next.cache_status().contains("hit"), "{buffer} {at}: {next:?}");
        }
        let mut times = BTreeMap::new();
        while let Some(request) = scene.origin.asked_so_far() {
            *times.entry(request.line().to_owned()).or_insert(0) += 1;
        }
        for at in 0..=answer.len() {
            assert_eq!(times.get(&format!("PUT /a/{at}")), Some(&1), "{buffer} {at}");
        }
    }
}

/// A program behind a network that hurts the answer to `/a/{at}` at octet `at`.
struct Scene {
    origin: Origin,
    faults: Faults,
    proxy: Proxy,
    turns: Arc<Turns>,
}

impl Scene {
    #[track_caller]
    fn start(answer: &[u8], lines: &str, how: fn(usize) -> Fault) -> Scene {
        let turns = Arc::new(Turns::default());
        let (at_origin, answer) = (turns.clone(), answer.to_vec());
        let origin = Origin::start(move |request, peer| {
            if request.head.field("x-unhurt").is_none() {
                at_origin.wait(octet_of(request.line()));
            }
            write(peer, &answer);
            After::Keep
        });
        let faults = Faults::before(&origin.url, move |request| match request.contains(UNHURT) {
            true => Fault::None,
            false => how(octet_of(request.split(" HTTP").next().unwrap_or_default())),
        });
        let proxy = Proxy::start(&format!("origin.url = \"{}\"\n{lines}{CACHED}", faults.url));
        Scene { origin, faults, proxy, turns }
    }

    fn callers(&self) -> Callers {
        let address = self.proxy.address;
        let all = (0..CALLERS).map(|_| Connection::open(address)).collect();
        Callers { address, turns: self.turns.clone(), all, other: Connection::open(address) }
    }
}

/// Clients whose connections outlast what breaks off.
struct Callers {
    address: SocketAddr,
    turns: Arc<Turns>,
    all: Vec<Connection>,
    other: Connection,
}

impl Callers {
    /// Lets all ask for one key and the origin answer when they have; `None` for who got no whole response.
    fn ask(&mut self, at: usize) -> Vec<Option<Response>> {
        let line = format!("GET /a/{at}");
        for caller in &mut self.all {
            caller.ask(&line, &[], "");
        }
        // Behind theirs: when this one is over, the program has heard them.
        self.other.ask("GET /a/unhurt", &[UNHURT], "");
        assert_eq!(self.other.response().status(), 200);
        self.turns.open(at);
        let outcomes = self.all.iter_mut().map(|caller| {
            let outcome = caller.try_response();
            if outcome.is_err() {
                *caller = Connection::open(self.address);
            }
            outcome.ok()
        });
        outcomes.collect()
    }

    /// The answer breaks off at octet `at`. Says how many waited for another's fetch.
    fn meet_with_a_break(&mut self, at: usize, body: &[u8]) -> usize {
        let mut collapsed = 0;
        for outcome in self.ask(at) {
            let Some(response) = outcome else { panic!("cut at {at}: what is not streamed is not begun either") };
            collapsed += usize::from(response.cache_status().contains("collapsed"));
            match response.status() {
                200 => assert_eq!(response.body, body, "cut at {at}"),
                status => assert_eq!(status, 502, "cut at {at}: {response:?}"),
            }
        }
        self.find_it_whole(at, body);
        collapsed
    }

    /// The fault is gone: the next has it all, and so has the store.
    fn find_it_whole(&mut self, at: usize, body: &[u8]) {
        for _ in 0..2 {
            self.other.ask(&format!("GET /a/{at}"), &[UNHURT], "");
            let response = self.other.response();
            assert_eq!((response.status(), &response.body[..]), (200, body), "after {at}: {response:?}");
        }
    }
}

/// Of `GET /a/17`, 17.
fn octet_of(line: &str) -> usize {
    line.rsplit('/').next().and_then(|at| at.parse().ok()).unwrap_or(usize::MAX)
}

fn with_length(fields: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Two chunks, and a trailer.
fn chunked(fields: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
    let (one, other) = body.split_at(4);
    let (size, rest) = (b"4\r\n", format!("\r\n{:x}\r\n", other.len()));
    [head.as_bytes(), size, one, rest.as_bytes(), other, b"\r\n0\r\nX-Sum: 1\r\n\r\n"].concat()
}

/// How long the content and its framing are.
fn body_of(answer: &[u8]) -> usize {
    let head = answer.windows(4).position(|octets| octets == b"\r\n\r\n").expect("it has a head");
    answer.len() - head - 4
}
