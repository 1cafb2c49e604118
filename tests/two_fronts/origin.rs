//! The origin, over TCP, since that is how Pingora reaches it. What it says follows from the request and from how many
//! mutations it has taken, so that two of them say the same to the same requests.

use crate::wire::{Kind, Message, read};
use bytes::BytesMut;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// A running origin.
pub struct Origin {
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Mutations that it has carried out: every content tells of it.
    revision: AtomicU64,
    asked: Mutex<Vec<Message>>,
}

/// What it does for one request.
enum Act {
    Say(Said),
    /// Closes the connection at once.
    Close,
    /// Says nothing for as long as the connection is open.
    Silence,
}

/// A response.
struct Said {
    status: &'static str,
    lines: Vec<(&'static str, String)>,
    body: Vec<u8>,
    framing: Framing,
    /// Octets that go before it.
    before: &'static str,
}

enum Framing {
    Length,
    Chunked,
    Close,
    /// Content-Length names more than comes.
    Short,
    None,
}

impl Origin {
    /// Serves for as long as the runtime runs.
    pub async fn start() -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State::default());
        let serving = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, serving.clone()));
            }
        });
        Origin { address, state }
    }

    /// What it was asked since this was last called.
    pub fn asked(&self) -> Vec<Message> {
        std::mem::take(&mut self.state.asked.lock().expect("nobody panics under it"))
    }
}

async fn connection(mut stream: TcpStream, state: Arc<State>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut buffer = BytesMut::new();
    loop {
        let asked = read(&mut stream, &mut buffer, Kind::Request).await?;
        let act = state.act(&asked);
        let head_only = asked.word(0) == "HEAD";
        state.asked.lock().expect("nobody panics under it").push(asked);
        match act {
            Act::Say(said) => say(&mut stream, said, head_only).await?,
            Act::Close => return None,
            Act::Silence => std::future::pending::<()>().await,
        }
    }
}

async fn say(stream: &mut TcpStream, said: Said, head_only: bool) -> Option<()> {
    let Said { status, lines, body, framing, before } = said;
    let mut head = format!("{before}HTTP/1.1 {status}\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n");
    for (name, value) in lines {
        head += &format!("{name}: {value}\r\n");
    }
    let (line, body) = match framing {
        Framing::Length => (format!("Content-Length: {}\r\n", body.len()), body),
        Framing::Short => (format!("Content-Length: {}\r\n", body.len() + 10), body),
        Framing::Chunked => {
            // Several chunks, some of them large.
            let chunks =
                body.chunks(20_000).map(|part| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
            let mut chunked = chunks.collect::<Vec<_>>().concat();
            chunked.extend_from_slice(b"0\r\n\r\n");
            ("Transfer-Encoding: chunked\r\n".to_owned(), chunked)
        }
        Framing::Close => ("Connection: close\r\n".to_owned(), body),
        Framing::None => (String::new(), Vec::new()),
    };
    let closes = matches!(framing, Framing::Close | Framing::Short);
    // Latin-1, as `wire` reads.
    let mut octets: Vec<u8> = (head + &line + "\r\n").chars().map(|octet| octet as u8).collect();
    if !head_only {
        octets.extend_from_slice(&body);
    }
    stream.write_all(&octets).await.ok()?;
    (!closes).then_some(())
}

impl State {
    /// The last segment of the path says what kind of answer is meant; whatever else it is, it is an item.
    fn act(&self, asked: &Message) -> Act {
        let path = asked.word(1).split('?').next().unwrap_or_default();
        let kind = path.rsplit('/').next().unwrap_or_default();
        match kind {
            "breaks" => return Act::Close,
            "is-silent" => return Act::Silence,
            _ => {}
        }
        match asked.word(0) {
            "GET" | "HEAD" => Act::Say(self.content(asked, path, kind)),
            "OPTIONS" => Act::Say(Said::new("204 No Content", "").with("Allow", "GET, HEAD")),
            method => Act::Say(self.mutated(method, kind, path, &asked.body)),
        }
    }

    fn content(&self, asked: &Message, path: &str, kind: &str) -> Said {
        let revision = self.revision.load(Relaxed);
        let tag = format!("\"r{revision}\"");
        let json = |rows: usize| {
            let language = asked.field("accept-language").unwrap_or("en");
            let row = format!("{{\"path\":\"{path}\",\"revision\":{revision},\"language\":\"{language}\"}}");
            format!("[{}]", vec![row; rows].join(","))
        };
        let ok = |rows: usize| Said::new("200 OK", &json(rows)).with("Content-Type", "application/json");
        let fresh = |rows: usize| ok(rows).with("Cache-Control", "max-age=60");
        match kind {
            "long" => fresh(400),
            "huge" => fresh(2_000),
            "huge-chunks" => fresh(2_000).framed(Framing::Chunked),
            "chunks" => fresh(20).framed(Framing::Chunked),
            "until-close" => fresh(20).framed(Framing::Close),
            "cut" => fresh(20).framed(Framing::Short),
            "events" => Said::new("200 OK", "data: 1\n\ndata: 2\n\n")
                .with("Content-Type", "text/event-stream")
                .framed(Framing::Chunked),
            "empty" => Said::new("204 No Content", "").with("X-Left", "0"),
            "no-content-length" => Said::new("200 OK", "").with("X-Left", "0"),
            "missing" => Said::new("404 Not Found", "{\"error\":\"none\"}"),
            "gone" => Said::new("410 Gone", ""),
            "moved" => Said::new("301 Moved Permanently", "").with("Location", "/elsewhere"),
            "fails" => Said::new("500 Internal Server Error", "{\"error\":\"bug\"}"),
            "busy" => Said::new("503 Service Unavailable", "").with("Retry-After", "7"),
            "odd" => Said::new("299 Quite \u{e4} Thing", "odd").with("X-Octets", "caf\u{e9}"),
            "no-store" => ok(20).with("Cache-Control", "no-store"),
            "private" => ok(20).with("Cache-Control", "private, max-age=60"),
            "no-transform" => ok(20).with("Cache-Control", "max-age=60, no-transform"),
            "cookie" => fresh(20).with("Set-Cookie", "a=1").with("Set-Cookie", "b=2"),
            "language" => fresh(20).with("Vary", "Accept-Language"),
            "cross-origin" => fresh(20).with("Access-Control-Allow-Origin", "*"),
            "many" => fresh(20).with("Link", "</a>").with("link", "</b>").with("X-Empty", "").with("LINK", "</c>"),
            "hop-by-hop" => fresh(20)
                .with("Connection", "X-Hop")
                .with("X-Hop", "1")
                .with("Keep-Alive", "timeout=5")
                .with("Proxy-Authenticate", "Basic"),
            "hints" => Said { before: "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n", ..fresh(20) },
            "aged" => fresh(20).with("Age", "7"),
            "mine" if asked.field("authorization").is_none() => {
                Said::new("401 Unauthorized", "").with("WWW-Authenticate", "Bearer")
            }
            "forbidden" => Said::new("403 Forbidden", "no"),
            "tagged" if asked.all("if-none-match").any(|known| known == tag) => {
                Said { framing: Framing::None, ..Said::new("304 Not Modified", "") }.with("ETag", &tag)
            }
            "tagged" => fresh(20).with("ETag", &tag).with("Last-Modified", "Wed, 31 Dec 2025 00:00:00 GMT"),
            "malformed" => Said { before: "HTTP/1.1 nonsense\r\n\r\n", ..fresh(1) },
            "two-lengths" => fresh(1).with("Content-Length", "3"),
            _ => fresh(20),
        }
    }

    /// What an unsafe method is answered, and whether it changed anything.
    fn mutated(&self, method: &str, kind: &str, path: &str, body: &[u8]) -> Said {
        let refused = match kind {
            "refuses" => Some(Said::new("422 Unprocessable Content", "{\"error\":\"no\"}")),
            "fails" => Some(Said::new("500 Internal Server Error", "")),
            "malformed" => Some(Said { before: "HTTP/1.1 nonsense\r\n\r\n", ..Said::new("200 OK", "") }),
            _ => None,
        };
        refused.unwrap_or_else(|| {
            self.revision.fetch_add(1, Relaxed);
            match method {
                "POST" if kind == "later" => Said::new("202 Accepted", ""),
                "POST" => Said::new("201 Created", "{\"id\":9}").with("Location", &format!("{path}/9")),
                "DELETE" => Said::new("204 No Content", ""),
                "PATCH" => Said::new("200 OK", &format!("{{\"octets\":{}}}", body.len())).framed(Framing::Chunked),
                _ => Said::new("200 OK", &format!("{{\"octets\":{}}}", body.len())).with("ETag", "\"of-put\""),
            }
        })
    }
}

impl Said {
    fn new(status: &'static str, body: &str) -> Said {
        let framing = if status.starts_with("204") { Framing::None } else { Framing::Length };
        Said { status, lines: Vec::new(), body: body.as_bytes().to_vec(), framing, before: "" }
    }

    fn with(mut self, name: &'static str, value: &str) -> Said {
        self.lines.push((name, value.to_owned()));
        self
    }

    fn framed(self, framing: Framing) -> Said {
        Said { framing, ..self }
    }
}
