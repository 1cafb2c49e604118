//! An origin of as many resources as are asked for: the path says how long each one is.

use crate::wire::Head;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Starts one, for as long as the process lives; its URL. `GET /{anything}/{length}/…` is answered with JSON of that
/// length which no other target and no other caller gets, any other method with 204.
pub fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    thread::spawn(move || {
        for peer in listener.incoming().map_while(Result::ok) {
            thread::spawn(|| serve(peer));
        }
    });
    url
}

/// Until the proxy closes the connection.
fn serve(peer: TcpStream) {
    let mut reader = BufReader::new(peer);
    while let Ok(Some(head)) = Head::read(&mut reader) {
        let answer = answer(&head).unwrap_or_else(|| b"HTTP/1.1 204 No Content\r\n\r\n".to_vec());
        if reader.get_mut().write_all(&answer).is_err() {
            return;
        }
    }
}

fn answer(head: &Head) -> Option<Vec<u8>> {
    let target = head.start.strip_prefix("GET ")?.trim_end_matches(" HTTP/1.1");
    let length: usize = target.split(['/', '?']).nth(2)?.parse().ok()?;
    let caller = head.field("authorization").unwrap_or_default();
    let fields = "Content-Type: application/json\r\nCache-Control: private, max-age=0\r\nServer: bulk";
    let mut answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    let end = answer.len() + length;
    answer.extend(format!("\"{target} {caller} ").bytes());
    answer.resize(end - 1, b'x');
    answer.push(b'"');
    Some(answer)
}
