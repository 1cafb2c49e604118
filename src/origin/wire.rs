//! A raw TCP server that does what it is told, octet by octet: for tests of what no HTTP library would send.

use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

/// One thing the server does on a connection.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Reads a head, and a body of the Content-Length it names.
    Read,
    Write(&'static str),
    /// Waits for [`Wire::go_on`].
    Wait,
    /// Holds the connection until the other side closes it, and says so: as an empty request.
    Hold,
}

/// A running server.
pub struct Wire {
    pub address: SocketAddr,
    requests: mpsc::UnboundedReceiver<String>,
    gate: Arc<Semaphore>,
}

impl Wire {
    /// Accepts one connection for each script, in order, and closes it where the script ends; then accepts no more.
    pub async fn start(scripts: Vec<Vec<Act>>) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has room");
        let address = listener.local_addr().expect("it is bound");
        let (sender, requests) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let inner = gate.clone();
        tokio::spawn(async move {
            let mut running = Vec::new();
            for script in scripts {
                let (stream, _) = listener.accept().await.expect("a connection");
                running.push(tokio::spawn(perform(stream, script, sender.clone(), inner.clone())));
            }
            drop(listener);
            for connection in running {
                drop(connection.await);
            }
        });
        Wire { address, requests, gate }
    }

    /// The next request that was read, whole.
    pub async fn request(&mut self) -> String {
        self.requests.recv().await.expect("the server reads another request")
    }

    /// Lets one [`Act::Wait`] end.
    pub fn go_on(&self) {
        self.gate.add_permits(1);
    }

    /// How many requests were read and not asked for yet.
    pub fn unasked(&self) -> usize {
        self.requests.len()
    }
}

async fn perform(
    mut stream: TcpStream,
    script: Vec<Act>,
    requests: mpsc::UnboundedSender<String>,
    gate: Arc<Semaphore>,
) {
    for act in script {
        match act {
            Act::Read => match read(&mut stream).await {
                Some(request) => drop(requests.send(request)),
                None => return,
            },
            // The proxy may have closed already: that is for its own test to judge.
            Act::Write(octets) => drop(stream.write_all(octets.as_bytes()).await),
            Act::Wait => gate.acquire().await.expect("nobody closes it").forget(),
            Act::Hold => {
                while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {}
                drop(requests.send(String::new()));
            }
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut octets = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&octets).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .map_or(0, |length| length.parse().expect("a number"));
            let chunked = head.contains("chunked");
            if chunked && body.ends_with("0\r\n\r\n") || !chunked && body.len() >= length {
                return Some(text);
            }
        }
        match stream.read_buf(&mut octets).await {
            Ok(1..) => {}
            _ => return None,
        }
    }
}
