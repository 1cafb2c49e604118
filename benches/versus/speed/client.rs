//! The generator for what h2load cannot do: targets that are drawn or never the same, a schedule that does not wait for
//! answers, the time to the first octet. Threads that block, each with a connection: only the server's CPU counts.

use super::{micros_since, now};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The bound of every wait for an answer.
const BOUND: Duration = Duration::from_secs(10);

/// What came.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub length: usize,
    pub entity_tag: Option<String>,
    pub coding: Option<String>,
    /// Microseconds from sending to the first octet.
    pub first_octet: f64,
    /// Microseconds from sending to the last octet.
    pub whole: f64,
}

pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, BOUND)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(BOUND))?;
        Ok(Connection { stream, buffer: vec![0; 32 << 10], filled: 0 })
    }

    pub fn exchange(&mut self, request: &str) -> io::Result<Answer> {
        let begun = now();
        self.stream.write_all(request.as_bytes())?;
        self.read()?;
        let first_octet = micros_since(begun);
        loop {
            if let Some(head) = self.head()? {
                let answer = self.body(head)?;
                return Ok(Answer { first_octet, whole: micros_since(begun), ..answer });
            }
            self.read()?;
        }
    }

    /// Reads what there is.
    fn read(&mut self) -> io::Result<()> {
        match self.stream.read(&mut self.buffer[self.filled..])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.filled += read;
                Ok(())
            }
        }
    }

    /// The head, once it is there whole, without what stands behind it; that is left in the buffer.
    fn head(&mut self) -> io::Result<Option<(Answer, Framing)>> {
        let mut fields = [httparse::EMPTY_HEADER; 48];
        let mut response = httparse::Response::new(&mut fields);
        let parsed = response.parse(&self.buffer[..self.filled]);
        let httparse::Status::Complete(end) = parsed.map_err(|_| io::ErrorKind::InvalidData)? else {
            return Ok(None);
        };
        let mut answer = Answer { status: response.code.unwrap_or_default(), ..Answer::default() };
        let mut framing = Framing::Length(0);
        for field in response.headers.iter() {
            let text = || String::from_utf8_lossy(field.value).into_owned();
            match () {
                () if field.name.eq_ignore_ascii_case("content-length") => {
                    framing = Framing::Length(text().parse().map_err(|_| io::ErrorKind::InvalidData)?);
                }
                () if field.name.eq_ignore_ascii_case("transfer-encoding") => framing = Framing::Chunked,
                () if field.name.eq_ignore_ascii_case("etag") => answer.entity_tag = Some(text()),
                () if field.name.eq_ignore_ascii_case("content-encoding") => answer.coding = Some(text()),
                () => {}
            }
        }
        if answer.status == 304 {
            framing = Framing::Length(0);
        }
        self.take(end);
        Ok(Some((answer, framing)))
    }

    /// Drops octets from the front of the buffer.
    fn take(&mut self, octets: usize) {
        self.buffer.copy_within(octets..self.filled, 0);
        self.filled -= octets;
    }

    fn body(&mut self, (mut answer, framing): (Answer, Framing)) -> io::Result<Answer> {
        match framing {
            Framing::Length(length) => answer.length = self.skip(length)?,
            Framing::Chunked => loop {
                let line = self.line()?;
                let size = usize::from_str_radix(&line, 16).map_err(|_| io::ErrorKind::InvalidData)?;
                answer.length += self.skip(size)?;
                self.line()?;
                if size == 0 {
                    break;
                }
            },
        }
        Ok(answer)
    }

    fn skip(&mut self, length: usize) -> io::Result<usize> {
        let mut left = length;
        loop {
            let here = left.min(self.filled);
            self.take(here);
            left -= here;
            if left == 0 {
                return Ok(length);
            }
            self.read()?;
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer[..self.filled].windows(2).position(|octets| octets == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.take(end + 2);
                return Ok(line);
            }
            self.read()?;
        }
    }
}

enum Framing {
    Length(usize),
    Chunked,
}

/// Whom every request is for.
pub const HOST: &str = "shop.test";
/// What every request accepts.
pub const ACCEPT: &str = "Accept: */*";

/// A GET, with these lines.
pub fn get(path: &str, lines: &[String]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{ACCEPT}\r\n{lines}\r\n")
}

/// One exchange on a connection of its own.
pub fn once(address: SocketAddr, path: &str, lines: &[String]) -> Result<Answer, String> {
    let answer = Connection::open(address).and_then(|mut connection| connection.exchange(&get(path, lines)));
    answer.map_err(|problem| format!("{path}: {problem}"))
}

/// What became of many requests.
#[derive(Default)]
pub struct Outcome {
    pub seconds: f64,
    pub whole: Vec<f64>,
    pub first_octets: Vec<f64>,
}

/// So many requests over so many connections, each of which sends the next when it has the last one's answer. All answers
/// have to be 200s of that length.
pub fn closed(
    address: SocketAddr,
    connections: usize,
    requests: usize,
    length: usize,
    path: impl Fn(usize) -> String + Sync,
) -> Result<Outcome, String> {
    let next = AtomicUsize::new(0);
    let ready = Barrier::new(connections + 1);
    let one = || -> Result<Outcome, String> {
        let opened = Connection::open(address);
        ready.wait();
        let mut connection = opened.map_err(|problem| problem.to_string())?;
        let mut outcome = Outcome::default();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= requests {
                return Ok(outcome);
            }
            let path = path(index);
            let answer = connection.exchange(&get(&path, &[])).map_err(|problem| format!("{path}: {problem}"))?;
            if answer.status != 200 || answer.length != length {
                return Err(format!("{path}: not 200 with {length} octets, but {answer:?}"));
            }
            outcome.whole.push(answer.whole);
            outcome.first_octets.push(answer.first_octet);
        }
    };
    thread::scope(|scope| {
        let spawn = |_| thread::Builder::new().stack_size(128 << 10).spawn_scoped(scope, one);
        let threads: Vec<_> = (0..connections).map(spawn).collect::<io::Result<_>>().expect("the system has threads");
        ready.wait();
        let begun = now();
        let mut all = Outcome::default();
        for thread in threads {
            let outcome = thread.join().expect("a client does not panic")?;
            all.whole.extend(outcome.whole);
            all.first_octets.extend(outcome.first_octets);
        }
        all.seconds = micros_since(begun) / 1e6;
        Ok(all)
    })
}

/// Requests at a fixed rate, whether or not the earlier ones have been answered; a latency counts from when the request
/// was to be sent. One thread that never sleeps, so that the schedule is kept to the microsecond. Answers have to be of
/// one length, head included.
pub fn open(
    address: SocketAddr,
    connections: usize,
    per_second: f64,
    requests: usize,
    request: &str,
) -> Result<Vec<f64>, String> {
    let told = |problem: io::Error| format!("open loop: {problem}");
    let mut length = 0;
    let mut idle = Vec::new();
    for _ in 0..connections {
        let mut stream = TcpStream::connect_timeout(&address, BOUND).map_err(told)?;
        stream.set_nodelay(true).map_err(told)?;
        stream.set_read_timeout(Some(BOUND)).map_err(told)?;
        length = whole(&mut stream, request).map_err(told)?;
        stream.set_nonblocking(true).map_err(told)?;
        idle.push(stream);
    }
    let mut busy: Vec<(TcpStream, Instant, usize)> = Vec::new();
    let mut latencies = Vec::with_capacity(requests);
    let (begun, mut sent) = (now(), 0);
    let mut buffer = vec![0; 64 << 10];
    while latencies.len() < requests {
        let due = begun + Duration::from_secs_f64(sent as f64 / per_second);
        if sent < requests
            && now() >= due
            && let Some(mut stream) = idle.pop()
        {
            stream.write_all(request.as_bytes()).map_err(told)?;
            busy.push((stream, due, 0));
            sent += 1;
        }
        let mut place = 0;
        while let Some((stream, due, got)) = busy.get_mut(place) {
            match stream.read(&mut buffer) {
                Ok(0) => return Err("open loop: the server ended a connection".to_owned()),
                Ok(read) => *got += read,
                Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => {}
                Err(problem) => return Err(told(problem)),
            }
            // Age and ttl may take a digit more or less.
            if *got + SLACK >= length {
                latencies.push(micros_since(*due));
                idle.push(busy.swap_remove(place).0);
            } else {
                place += 1;
            }
        }
        if micros_since(begun) > 4.0 * 1e6 * (1.0 + requests as f64 / per_second) {
            return Err("open loop: the server does not keep up".to_owned());
        }
    }
    Ok(latencies)
}

/// How much shorter a whole answer may be than the first one was.
const SLACK: usize = 8;

/// The length of one answer, of which nothing is known: what comes until nothing comes.
fn whole(stream: &mut TcpStream, request: &str) -> io::Result<usize> {
    stream.write_all(request.as_bytes())?;
    let mut buffer = vec![0; 64 << 10];
    let mut length = stream.read(&mut buffer)?;
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        length += read;
    }
    Ok(length)
}
