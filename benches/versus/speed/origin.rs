//! The origin: a keep-alive HTTP/1.1 server that answers by the path alone, and counts. A path is `/kind/size-name`; each
//! has a body of its own, of so many octets.

use flate2::Compression;
use flate2::write::GzEncoder;
use freshgate::clock::{Clock, SystemClock};
use freshgate::field::date::HttpDate;
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// A thousand connections may come at once.
const BACKLOG: i32 = 4096;
/// How long it takes for what is slow.
const SLOW: Duration = Duration::from_millis(50);

/// It answers for as long as the process lives; connections end with their clients.
pub struct Origin {
    pub address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Origin {
    pub fn start() -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        SockRef::from(&listener).listen(BACKLOG).expect("it is bound");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let asked = counted.clone();
                let thread = thread::Builder::new().stack_size(128 << 10);
                thread.spawn(move || serve(stream, &asked)).expect("the system has threads");
            }
        });
        Origin { address, asked }
    }

    /// How often it has been asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Until the client leaves. A request that cannot be read ends the connection, and the run, since somebody misses it.
fn serve(mut stream: TcpStream, asked: &AtomicUsize) {
    stream.set_nodelay(true).expect("a connection can be set");
    let mut input: Vec<u8> = Vec::new();
    let mut output: Vec<u8> = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let Some(length) = input.windows(4).position(|octets| octets == b"\r\n\r\n") else {
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(read) => input.extend_from_slice(&chunk[..read]),
            }
            continue;
        };
        let head: Vec<u8> = input.drain(..length + 4).collect();
        let Some(path) = std::str::from_utf8(&head).ok().and_then(|head| head.split(' ').nth(1)) else { return };
        asked.fetch_add(1, Ordering::SeqCst);
        output.clear();
        if answer(path, &mut output).is_none() || stream.write_all(&output).is_err() {
            return;
        }
    }
}

/// The response to a path; none to what is no such path.
fn answer(path: &str, output: &mut Vec<u8>) -> Option<()> {
    let (kind, name) = path.strip_prefix('/')?.split_once('/')?;
    let size: usize = name.split_once('-')?.0.parse().ok()?;
    let body = match kind {
        "json" | "coded" => json(name, size),
        _ => filled(path, size),
    };
    let body = if kind == "coded" { gzip(&body) } else { body };
    let extra = match kind {
        // What computes no validator has to be given one.
        "tagged" => format!("ETag: \"{name}\"\r\n"),
        "coded" => "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n".to_owned(),
        "slow" => {
            thread::sleep(SLOW);
            String::new()
        }
        _ => String::new(),
    };
    let date = HttpDate(SystemClock.now().wall_seconds());
    let length = body.len();
    write!(
        output,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: {date}\r\nCache-Control: max-age=3600\r\n{extra}\
         Content-Length: {length}\r\n\r\n"
    )
    .expect("a Vec takes everything");
    output.extend_from_slice(&body);
    Some(())
}

/// So many octets of JSON that say whose they are.
fn filled(path: &str, size: usize) -> Vec<u8> {
    let mut body = format!("{{\"path\":\"{path}\",\"filler\":\"").into_bytes();
    let filler = size.saturating_sub(2).max(body.len());
    body.resize(filler, b'x');
    body.extend_from_slice(b"\"}");
    body
}

/// At least so many octets of JSON as an API's list is, which compress as that does.
fn json(name: &str, size: usize) -> Vec<u8> {
    let mut body = format!("{{\"list\":\"{name}\",\"data\":[").into_bytes();
    let mut seed: u32 = 17;
    for id in 1.. {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [price, stock, category, minute] = [seed % 9973, seed >> 8 & 127, seed >> 16 & 31, seed >> 24 & 63];
        write!(
            body,
            "{{\"id\":{id},\"name\":\"Product {price}\",\"price\":{}.{:02},\"stock\":{stock},\"category_id\":{category},\
             \"updated_at\":\"2026-03-{:02}T10:{:02}:00Z\"}},",
            price / 100,
            price % 100,
            category % 28 + 1,
            minute % 60
        )
        .expect("a Vec takes everything");
        if body.len() + 1 >= size {
            break;
        }
    }
    body.pop();
    body.extend_from_slice(b"]}");
    body
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("a Vec takes everything");
    encoder.finish().expect("a Vec takes everything")
}
