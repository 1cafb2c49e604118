//! A scripted origin behind a socket: the same answers, as HTTP/1.1.

use bytes::{Buf, BytesMut};
use freshgate::field::Fields;
use freshgate::origin::{Ask, Framing, Origin, Reply, Sending};
use freshgate::semantics::request::Scheme;
use futures_util::StreamExt;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Serves `origin` on loopback for as long as the runtime runs. Where the origin fails, so does its connection.
pub async fn serve(origin: Arc<dyn Origin>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, origin.clone()));
        }
    });
    address
}

/// Ends with the first thing that goes wrong.
async fn connection(mut stream: TcpStream, origin: Arc<dyn Origin>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut buffer = BytesMut::new();
    loop {
        let ask = request(&mut stream, &mut buffer).await?;
        let Reply { head, framing, body } = origin.ask(ask, None).await.ok()?;
        let mut out = format!("HTTP/1.1 {} \r\n", head.status).into_bytes();
        for (name, value) in head.fields.iter() {
            out.extend([name, b": ", value, b"\r\n"].concat());
        }
        let chunked = matches!(framing, Framing::Chunked);
        match framing {
            Framing::Length(length) => out.extend(format!("Content-Length: {length}\r\n").bytes()),
            Framing::Chunked => out.extend(b"Transfer-Encoding: chunked\r\n"),
            Framing::Empty | Framing::CloseDelimited => {}
        }
        out.extend(b"\r\n");
        stream.write_all(&out).await.ok()?;
        let mut body = body;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.ok()?;
            let framed = match chunked {
                true => [format!("{:x}\r\n", chunk.len()).as_bytes(), &chunk, b"\r\n"].concat(),
                false => chunk.to_vec(),
            };
            stream.write_all(&framed).await.ok()?;
        }
        if chunked {
            stream.write_all(b"0\r\n\r\n").await.ok()?;
        }
        if matches!(framing, Framing::CloseDelimited) {
            return None;
        }
    }
}

/// The next request, its body read whole. The proxy frames bodies by Content-Length alone.
async fn request(stream: &mut TcpStream, buffer: &mut BytesMut) -> Option<Ask> {
    let (mut ask, head) = loop {
        let mut lines = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut lines);
        if let httparse::Status::Complete(head) = parsed.parse(buffer).ok()? {
            let fields: Fields =
                parsed.headers.iter().map(|line| (line.name.to_owned(), line.value.to_vec())).collect();
            let ask = Ask {
                method: parsed.method?.to_owned(),
                scheme: Scheme::Http,
                target: parsed.path?.to_owned(),
                has_body: fields.contains("content-length"),
                fields,
                body: Default::default(),
                sending: Sending::Once,
            };
            break (ask, head);
        }
        more(stream, buffer).await?;
    };
    buffer.advance(head);
    let length = ask.fields.get("content-length").map(|length| std::str::from_utf8(length).ok()?.parse().ok());
    let length: usize = length.unwrap_or(Some(0))?;
    while buffer.len() < length {
        more(stream, buffer).await?;
    }
    ask.body = buffer.split_to(length).freeze();
    Some(ask)
}

async fn more(stream: &mut TcpStream, buffer: &mut BytesMut) -> Option<()> {
    (stream.read_buf(buffer).await.ok()? > 0).then_some(())
}
