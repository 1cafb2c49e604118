//! A faulty network: a TCP proxy between the program and its origin that hurts the origin's answers.
//!
//! It knows nothing of HTTP but where a request begins. There a test chooses the fault of the answer, whose octets are
//! counted from 0 also on a connection that has carried others.

use crate::wire::PATIENCE;
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;
use std::time::Duration;

/// What happens to an answer.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    None,
    /// FIN after so many octets.
    Cut(usize),
    /// RST after so many octets.
    Reset(usize),
    /// Silence after so many octets, on a connection that stays open, until [`Faults::release`].
    Hold(usize),
}

/// The proxy; its connections end when it goes out of scope.
pub struct Faults {
    pub url: String,
    listener: TcpListener,
    network: Arc<Network>,
}

struct Network {
    origin: SocketAddr,
    /// The fault of the answer to the request that begins with this text.
    choose: Box<dyn Fn(&str) -> Fault + Send + Sync>,
    released: (Mutex<bool>, Condvar),
    /// None while connections are refused.
    pairs: Mutex<Option<Vec<Weak<Pair>>>>,
}

/// A connection of the program's and the one behind it.
struct Pair {
    near: TcpStream,
    far: TcpStream,
    /// The fault of the answer that is under way, and how much of that has passed.
    answer: Mutex<(Fault, usize)>,
    ended: AtomicBool,
}

impl Faults {
    pub fn before(origin_url: &str, choose: impl Fn(&str) -> Fault + Send + Sync + 'static) -> Faults {
        let origin = origin_url.trim_start_matches("http://").parse().expect("an origin here is an address");
        // Linux keeps a port that was asked for by name through a pause in listening, and lets two sockets have it before.
        let at = |address: SocketAddr| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets");
            socket.set_reuse_address(true).expect("it can be asked for");
            socket.bind(&address.into()).map(|()| TcpListener::from(socket)).expect("loopback has a free port")
        };
        let free = at(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = at(free.local_addr().expect("it is bound"));
        drop(free);
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let network =
            Network { origin, choose: Box::new(choose), released: Default::default(), pairs: Default::default() };
        let faults = Faults { url, listener, network: Arc::new(network) };
        faults.accept();
        faults
    }

    /// Lets go on what is held, now and from now on.
    pub fn release(&self) {
        *self.network.released.0.lock().expect("no holder panics") = true;
        self.network.released.1.notify_all();
    }

    /// Dies: connections are cut, and new ones refused.
    pub fn refuse(&self) {
        // On Linux this ends listening, and the address stays bound.
        SockRef::from(&self.listener).shutdown(Shutdown::Read).expect("it listens");
        let pairs = self.network.pairs.lock().expect("no holder panics").take();
        pairs.iter().flatten().filter_map(Weak::upgrade).for_each(|pair| pair.end(false));
    }

    /// Is there, or back.
    pub fn accept(&self) {
        SockRef::from(&self.listener).listen(1024).expect("it is bound");
        *self.network.pairs.lock().expect("no holder panics") = Some(Vec::new());
        let (listener, network) = (self.listener.try_clone().expect("a handle can be copied"), self.network.clone());
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(network.origin).expect("the origin listens");
                let pair =
                    Arc::new(Pair { near, far, answer: Mutex::new((Fault::None, 0)), ended: AtomicBool::new(false) });
                match network.pairs.lock().expect("no holder panics").as_mut() {
                    Some(pairs) => pairs.push(Arc::downgrade(&pair)),
                    None => return,
                }
                let (up, down) = ((pair.clone(), network.clone()), (pair, network.clone()));
                thread::spawn(move || up.0.carry_requests(&up.1));
                thread::spawn(move || down.0.carry_answers(&down.1));
            }
        });
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.release();
        self.refuse();
    }
}

impl Pair {
    fn carry_requests(&self, network: &Network) {
        let mut space = [0; 64 * 1024];
        while let Ok(octets @ 1..) = (&self.near).read(&mut space) {
            let text = String::from_utf8_lossy(&space[..octets]);
            if text.contains(" HTTP/1.1\r\n") {
                *self.answer.lock().expect("no holder panics") = ((network.choose)(&text), 0);
            }
            if (&self.far).write_all(&space[..octets]).is_err() {
                break;
            }
        }
        self.end(false);
    }

    fn carry_answers(&self, network: &Network) {
        let mut space = [0; 64 * 1024];
        while let Ok(octets @ 1..) = (&self.far).read(&mut space) {
            let (fault, passed) = *self.answer.lock().expect("no holder panics");
            let (Fault::Cut(at) | Fault::Reset(at) | Fault::Hold(at)) = fault else {
                drop((&self.near).write_all(&space[..octets]));
                continue;
            };
            let room = octets.min(at - passed);
            drop((&self.near).write_all(&space[..room]));
            self.answer.lock().expect("no holder panics").1 += room;
            if passed + room == at {
                if !matches!(fault, Fault::Hold(_)) {
                    return self.end(matches!(fault, Fault::Reset(_)));
                }
                let released = network.released.0.lock().expect("no holder panics");
                drop(network.released.1.wait_timeout_while(released, PATIENCE, |released| !*released));
                self.answer.lock().expect("no holder panics").0 = Fault::None;
                drop((&self.near).write_all(&space[room..octets]));
            }
        }
        self.end(false);
    }

    fn end(&self, reset: bool) {
        if self.ended.swap(true, Ordering::SeqCst) {
            return;
        }
        if reset {
            SockRef::from(&self.near).set_linger(Some(Duration::ZERO)).expect("a socket can linger");
        }
        // Whoever still reads is woken; a reset goes out when both have let go. It may all be closed already.
        drop(self.near.shutdown(if reset { Shutdown::Read } else { Shutdown::Both }));
        drop(self.far.shutdown(Shutdown::Both));
    }
}
