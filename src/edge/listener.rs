//! The public listener: addresses and certificates before anything is served, then connections, each in a task of its
//! own, until the process is to end.

use crate::edge::connections::{Connections, Event};
use crate::edge::head::Arrival;
use crate::edge::lane::{Lane, stopped};
use crate::edge::proxy;
use crate::origin::peer::Peers;
use crate::pipeline::Pipeline;
use crate::policy::{Limits, Policy, Tls};
use crate::semantics::request::Scheme;
use futures_util::future::join_all;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::{ALPN, GetSocketDigest, SocketDigest, Ssl, Stream};
use pingora::server::ShutdownWatch;
use pingora::tls::{ServerConfig, install_default_crypto_provider, load_certs_and_key_files, version};
use socket2::SockRef;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// How much of what a client has no room for the kernel keeps for it, beside what is on its way (`TCP_NOTSENT_LOWAT`, tcp(7)).
/// By itself Linux keeps up to 4 MiB for each (`tcp_wmem`), more than twice that where a client has it sent in small pieces: a
/// thousand that do not read fill all the memory that the machine has for TCP (`tcp_mem`), and nobody is answered.
const UNSENT: u32 = 64 << 10;

/// Where clients connect to: bound, and not served yet.
pub struct Listeners {
    sockets: Vec<TcpListener>,
    tls: Option<Arc<Acceptor>>,
    peers: Peers,
}

/// Why nothing can be served.
#[derive(Debug)]
pub enum BindError {
    /// An address cannot be bound: exit code 69.
    Address { address: SocketAddr, cause: io::Error },
    /// A certificate, a key or a root cannot be used: exit code 78. The text names the file.
    Certificate(String),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::Address { address, cause } => write!(f, "cannot listen on {address}: {cause}"),
            BindError::Certificate(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for BindError {}

impl Listeners {
    /// Loads certificates and binds every address of `server.listen`. Must be called within the Tokio runtime that is
    /// to serve.
    ///
    /// # Errors
    /// The first thing that cannot be had. Nothing stays bound then.
    pub fn bind(policy: &Policy) -> Result<Self, BindError> {
        let peers = Peers::new(&policy.origin).map_err(BindError::Certificate)?;
        let tls = policy.server.tls.as_ref().map(acceptor).transpose()?.map(Arc::new);
        let sockets = policy
            .server
            .listen
            .iter()
            .map(|&address| bind_one(address).map_err(|cause| BindError::Address { address, cause }))
            .collect::<Result<_, _>>()?;
        Ok(Listeners { sockets, tls, peers })
    }

    /// The addresses that are bound, with the ports that were chosen for port 0.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// Serves until `shutdown` is `true`; then takes no further connections, lets idle ones close and those in use
    /// finish, and returns when all have, after `server.drain` at the latest.
    pub async fn serve(self, pipeline: Arc<Pipeline>, connections: Arc<Connections>, shutdown: ShutdownWatch) {
        let policy = pipeline.policy.clone();
        let proxy = proxy::proxy(pipeline.clone(), self.peers);
        let lane = Arc::new(Lane { proxy, pipeline, connections, shutdown: shutdown.clone() });
        let limits = &policy.server.limits;
        let room = if limits.connections == 0 { Semaphore::MAX_PERMITS } else { limits.connections };
        let door = Door { lane, tls: self.tls, room: Arc::new(Semaphore::new(room)), limits: limits.clone() };
        join_all(self.sockets.into_iter().map(|socket| door.attend(socket, shutdown.clone(), policy.server.drain)))
            .await;
    }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Without it a restart would wait for the old connections' TIME-WAIT.
    socket.set_reuseaddr(true)?;
    // Those that are accepted inherit it. Where it does not exist there are other bounds.
    drop(SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT));
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// TLS with the files of `tls`, offering HTTP/2 and HTTP/1.1.
fn acceptor(tls: &Tls) -> Result<Acceptor, BindError> {
    let (cert, key) = (tls.cert.display().to_string(), tls.key.display().to_string());
    let failed = |why: String| BindError::Certificate(format!("{cert} with {key}: {why}"));
    install_default_crypto_provider();
    let (chain, secret) = load_certs_and_key_files(&cert, &key)
        .map_err(|error| failed(error.to_string()))?
        .ok_or_else(|| failed("no certificate, or no private key, is in there".into()))?;
    let mut config = ServerConfig::builder_with_protocol_versions(&[&version::TLS12, &version::TLS13])
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| failed(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Acceptor::from_server_config(Arc::new(config)))
}

/// What lets connections in.
struct Door {
    lane: Arc<Lane>,
    tls: Option<Arc<Acceptor>>,
    /// One permit for each connection there may be.
    room: Arc<Semaphore>,
    limits: Limits,
}

impl Door {
    /// Accepts on `socket` until `shutdown`, then waits for what is under way, at most `drain`.
    async fn attend(&self, socket: TcpListener, mut shutdown: ShutdownWatch, drain: Duration) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = socket.accept() => match accepted {
                    Ok((stream, client)) => self.admit(&mut connections, stream, client),
                    Err(error) => {
                        // Out of file descriptors, mostly: accepting at once again would spin.
                        tracing::warn!(%error, "a connection could not be accepted");
                        sleep(Duration::from_millis(50)).await;
                    }
                },
                // A task that panicked has cost its own connection; Tokio has printed why.
                Some(_) = connections.join_next() => {}
                () = stopped(&mut shutdown) => break,
            }
        }
        self.admit_waiting(&mut connections, socket);
        let finished = async { while connections.join_next().await.is_some() {} };
        if timeout(drain, finished).await.is_err() {
            tracing::warn!(open = connections.len(), "connections were still in use after the drain time");
        }
    }

    /// Takes the connections that stand already, of which this process has not heard: to their clients they are as good as
    /// any, and may carry a request. Then nobody listens any more.
    fn admit_waiting(&self, connections: &mut JoinSet<()>, socket: TcpListener) {
        let Ok(socket) = socket.into_std() else { return };
        for accepted in (0..BACKLOG).map(|_| socket.accept()) {
            let (stream, client) = match accepted {
                Ok(connection) => connection,
                // One that its client has given up is no reason to leave the others standing.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => continue,
                Err(_) => return,
            };
            if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                self.admit(connections, stream, client);
            }
        }
    }

    fn admit(&self, connections: &mut JoinSet<()>, stream: TcpStream, client: SocketAddr) {
        // Over the limit the connection is closed at once: saying so would take what there is too little of.
        let Ok(permit) = self.room.clone().try_acquire_owned() else {
            return self.lane.connections.count(Event::NoRoom);
        };
        self.lane.connections.count(Event::Opened);
        let (lane, tls) = (self.lane.clone(), self.tls.clone());
        let patience = if self.limits.header_timeout.is_zero() { Duration::MAX } else { self.limits.header_timeout };
        connections.spawn(async move {
            let _permit = permit;
            let stream = l4(stream, client);
            let Some(tls) = tls else {
                let arrival = Arrival { scheme: Scheme::Http, client: client.ip() };
                return lane.serve(Box::new(stream), arrival).await;
            };
            let Ok(Ok(stream)) = timeout(patience, tls.tls_handshake(stream)).await else {
                return lane.connections.count(Event::NoTls);
            };
            let http2 = matches!(stream.selected_alpn_proto(), Some(ALPN::H2));
            let stream: Stream = Box::new(stream);
            if http2 {
                lane.negotiated_http2(stream).await;
            } else {
                lane.serve(stream, Arrival { scheme: Scheme::Https, client: client.ip() }).await;
            }
        });
    }
}

/// The connection as Pingora knows connections, with its client's address.
pub fn l4(stream: TcpStream, client: SocketAddr) -> L4Stream {
    // It only costs latency; the connection works without.
    drop(stream.set_nodelay(true));
    let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
    digest.peer_addr.set(Some(client.into())).expect("the digest was just made");
    let mut stream = L4Stream::from(stream);
    stream.set_socket_digest(digest);
    stream
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_client_does_not_read_waits_here_and_not_in_the_kernel() {
        let listener = bind_one(SocketAddr::from(([127, 0, 0, 1], 0))).expect("loopback has a free port");
        let _client = TcpStream::connect(listener.local_addr().expect("it is bound")).await.expect("it listens");
        let (accepted, _) = listener.accept().await.expect("somebody has connected");
        assert_eq!(SockRef::from(&accepted).tcp_notsent_lowat().expect("Linux has it"), UNSENT);
    }
}
