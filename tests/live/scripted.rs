//! An origin that does octet for octet what the test says.

use crate::wire::{Head, PATIENCE};
use socket2::SockRef;
use std::collections::BTreeSet;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// One request as the origin got it.
#[derive(Clone, Debug)]
pub struct Request {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Request {
    /// Method and target.
    pub fn line(&self) -> &str {
        self.head.start.trim_end_matches(" HTTP/1.1")
    }
}

/// What becomes of a connection after an answer.
pub enum After {
    /// The next request is read from it.
    Keep,
    /// FIN.
    Close,
    /// RST.
    Reset,
}

type Script = dyn Fn(&Request, &mut TcpStream) -> After + Send + Sync;

/// The origin; it stops accepting when it goes out of scope.
pub struct Origin {
    pub url: String,
    asked: Receiver<Request>,
    listener: TcpListener,
    stopped: Arc<AtomicBool>,
}

impl Origin {
    /// Runs `script` for each request, after its body has been read. A script may wait on a channel: a gate.
    pub fn start(script: impl Fn(&Request, &mut TcpStream) -> After + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let stopped = Arc::new(AtomicBool::new(false));
        let (asking, asked) = mpsc::channel();
        let (accepting, stop) = (listener.try_clone().expect("a handle can be copied"), stopped.clone());
        let script: Arc<Script> = Arc::new(script);
        thread::spawn(move || {
            for stream in accepting.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (script, asking) = (script.clone(), asking.clone());
                thread::spawn(move || serve(stream, &*script, &asking));
            }
        });
        Origin { url, asked, listener, stopped }
    }

    /// An origin that gives every request the same octets.
    pub fn answering(octets: impl Into<Vec<u8>>) -> Origin {
        let octets = octets.into();
        Origin::start(move |_, peer| {
            write(peer, &octets);
            After::Keep
        })
    }

    /// An origin that gives every request the same octets and then ends the connection.
    pub fn ending(octets: impl Into<Vec<u8>>, how: fn() -> After) -> Origin {
        let octets = octets.into();
        Origin::start(move |_, peer| {
            write(peer, &octets);
            how()
        })
    }

    /// The next request that came; waits for it.
    #[track_caller]
    pub fn asked(&self) -> Request {
        self.asked.recv_timeout(PATIENCE).expect("the origin is asked")
    }

    /// The next of the requests that came already.
    pub fn asked_so_far(&self) -> Option<Request> {
        self.asked.try_recv().ok()
    }

    /// How many requests came since the last look.
    pub fn times_asked(&self) -> usize {
        self.asked.try_iter().count()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees that it is over.
        let _ = self.listener.local_addr().map(TcpStream::connect);
    }
}

fn serve(stream: TcpStream, script: &Script, asking: &Sender<Request>) {
    let mut reader = BufReader::new(stream);
    while let Ok(Some(head)) = Head::read(&mut reader) {
        if head.field("expect").is_some() {
            write(reader.get_mut(), b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let Ok(body) = head.body(&mut reader, false) else { return };
        let request = Request { head, body };
        // The test may be over.
        let _ = asking.send(request.clone());
        match script(&request, reader.get_mut()) {
            After::Keep => {}
            After::Close => return,
            After::Reset => {
                SockRef::from(reader.get_ref()).set_linger(Some(Duration::ZERO)).expect("a socket can linger");
                return;
            }
        }
    }
}

/// Writes what the proxy may no longer want: it is the proxy that is under test.
pub fn write(peer: &mut TcpStream, octets: &[u8]) {
    let _ = peer.write_all(octets);
}

/// A 200 with JSON and Content-Length; each of `fields` is a line.
pub fn json(fields: &[&str], body: &str) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
}

/// A gate: scripts wait at it, the test opens it once per waiter.
pub fn gate() -> (Sender<()>, impl Fn() + Send + Sync) {
    let (open, opened) = mpsc::channel();
    let opened = Mutex::new(opened);
    let wait = move || {
        // A test that failed drops its end, which opens the gate as well.
        let _ = opened.lock().expect("no waiter panics").recv_timeout(PATIENCE);
    };
    (open, wait)
}

/// Gates by number, each opened once for all who wait or come.
#[derive(Default)]
pub struct Turns {
    open: Mutex<BTreeSet<usize>>,
    opened: Condvar,
}

impl Turns {
    pub fn open(&self, at: usize) {
        self.open.lock().expect("no holder panics").insert(at);
        self.opened.notify_all();
    }

    pub fn wait(&self, at: usize) {
        let open = self.open.lock().expect("no holder panics");
        // A test that failed is not waited for.
        drop(self.opened.wait_timeout_while(open, PATIENCE, |open| !open.contains(&at)));
    }
}
