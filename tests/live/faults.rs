//! A faulty network: a TCP proxy between the program and its origin that hurts the origin's answers.
//!
//! It knows nothing of HTTP but where a request begins: there a test chooses what becomes of the answer.

use crate::wire::PATIENCE;
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;
use std::time::Duration;

/// What happens to an answer.
#[derive(Clone, Copy, Debug, Default)]
pub enum Fault {
    #[default]
    None,
    /// FIN after so many octets.
    Cut(usize),
    /// RST after so many octets.
    Reset(usize),
    /// Silence after so many octets, on a connection that stays open, until [`Faults::release`].
    Hold(usize),
}

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
        let any = bound(([127, 0, 0, 1], 0).into());
        let address = any.local_addr().expect("it is bound");
        let (listener, url) = (bound(address), format!("http://{address}"));
        let (choose, released, pairs) = (Box::new(choose), Default::default(), Default::default());
        let faults = Faults { url, listener, network: Arc::new(Network { origin, choose, released, pairs }) };
        faults.accept();
        faults
    }

    /// Lets go on what is held, now and from now on.
    pub fn release(&self) {
        *self.network.released.0.lock().expect("no holder panics") = true;
        self.network.released.1.notify_all();
    }

    /// Dies: connections are cut, and new ones refused. On Linux the address stays bound.
    pub fn refuse(&self) {
        drop(SockRef::from(&self.listener).shutdown(Shutdown::Read));
        let pairs = self.network.pairs.lock().expect("no holder panics").take().unwrap_or_default();
        pairs.iter().filter_map(Weak::upgrade).for_each(|pair| pair.end(false));
    }

    pub fn accept(&self) {
        SockRef::from(&self.listener).listen(1024).expect("it is bound");
        let (listener, network) = (self.listener.try_clone().expect("a handle can be copied"), self.network.clone());
        *network.pairs.lock().expect("no holder panics") = Some(Vec::new());
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(network.origin) else { continue };
                let pair = Arc::new(Pair { near, far, answer: Mutex::default(), ended: AtomicBool::default() });
                let Some(pairs) = &mut *network.pairs.lock().expect("no holder panics") else { return };
                pairs.push(Arc::downgrade(&pair));
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

fn bound(address: SocketAddr) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets");
    socket.set_reuse_address(true).expect("it can be asked for");
    socket.bind(&address.into()).map(|()| socket.into()).expect("loopback has a free port")
}

impl Pair {
    fn carry_requests(&self, network: &Network) {
        let mut space = [0; 64 * 1024];
        while let Ok(octets @ 1..) = (&self.near).read(&mut space) {
            if let Some(text) = std::str::from_utf8(&space[..octets]).ok().filter(|text| text.contains(" HTTP/1.1\r\n"))
            {
                *self.answer.lock().expect("no holder panics") = ((network.choose)(text), 0);
            }
            drop((&self.far).write_all(&space[..octets]));
        }
        self.end(false);
    }

    fn carry_answers(&self, network: &Network) {
        let mut space = [0; 64 * 1024];
        while let Ok(octets @ 1..) = (&self.far).read(&mut space) {
            let mut answer = self.answer.lock().expect("no holder panics");
            let (fault, passed) = *answer;
            let at = if let Fault::Cut(at) | Fault::Reset(at) | Fault::Hold(at) = fault { at } else { usize::MAX };
            let (before, behind) = space[..octets].split_at(octets.min(at - passed));
            // Before it is sent: the next request may come as soon as it is.
            answer.1 += before.len();
            drop(answer);
            drop((&self.near).write_all(before));
            if passed + before.len() == at {
                if !matches!(fault, Fault::Hold(_)) {
                    return self.end(matches!(fault, Fault::Reset(_)));
                }
                let released = network.released.0.lock().expect("no holder panics");
                drop(network.released.1.wait_timeout_while(released, PATIENCE, |released| !*released));
                *self.answer.lock().expect("no holder panics") = (Fault::None, 0);
                drop((&self.near).write_all(behind));
            }
        }
        self.end(false);
    }

    fn end(&self, reset: bool) {
        if !self.ended.swap(true, SeqCst) {
            // Whoever still reads is woken; a reset goes out when both have let go. It may all be closed already.
            drop(SockRef::from(&self.near).set_linger(reset.then_some(Duration::ZERO)));
            drop(self.near.shutdown(if reset { Shutdown::Read } else { Shutdown::Both }));
            drop(self.far.shutdown(Shutdown::Both));
        }
    }
}
