//! Clients that take an octet at a time of what is stored cost nobody else anything: not the origin's places, not memory,
//! not the others' answers.

use crate::proxy::{CACHED, Proxy};
use crate::scripted::{Origin, json};
use crate::wire::{Connection, status};
use socket2::{Domain, Socket, Type};
use std::net::{SocketAddr, TcpStream};

const READERS: usize = 100;
/// Far more than the 64 KiB that Pingora reads a connection through, which a recycled allocation has touched from the start.
const LENGTH: usize = 400 * 1024;
const ROUNDS: usize = 20;

#[test]
fn slow_readers_of_what_is_stored_hold_nobody_up() {
    let content = format!("\"{}\"", "x".repeat(LENGTH - 2));
    let origin = Origin::answering(json(&[], &content));
    // One place at the origin: whoever held it would be noticed.
    let proxy = Proxy::start(&format!("origin.url = \"{}\"\norigin.max_concurrent = 1\n{CACHED}", origin.url));
    assert_eq!(proxy.get("/a/1").text(), content);
    let others_are_answered = |from: usize| {
        for path in ["/a/1".to_owned(), format!("/a/{from}"), "/unnamed".to_owned()] {
            assert_eq!(proxy.get(&path).text(), content, "{path}");
        }
        assert_eq!(proxy.ask("PUT /a/2", &[], "true").status(), 200);
        4
    };
    // What the others cost by themselves is known first.
    let mut others = 1 + (100..100 + ROUNDS).map(others_are_answered).sum::<u64>();
    let before = proxy.program.peak_memory();
    let served = || proxy.stats()["total"]["requests"].as_u64().expect("a number");

    let mut readers: Vec<_> = (0..READERS).map(|_| slow(proxy.address)).collect();
    for reader in &mut readers {
        reader.ask("GET /a/1", &[], "");
        assert_eq!(status(&reader.head()), 200);
    }
    for round in 0..ROUNDS {
        for reader in &mut readers {
            assert_eq!(reader.octets(1), [content.as_bytes()[round]]);
        }
        others += others_are_answered(200 + round);
    }
    assert!(served() <= others, "no slow reader has been told everything, or this has shown nothing");
    let grown = proxy.program.peak_memory().saturating_sub(before);
    println!("memory grew by {} KiB", grown / 1024);
    // Some contents were stored meanwhile. Half of one for each reader would be more than a connection costs.
    assert!(grown < ((READERS / 2 + ROUNDS) * LENGTH) as u64, "memory grew by {} KiB", grown / 1024);
    for mut reader in readers {
        assert_eq!(reader.octets(LENGTH - ROUNDS), content.as_bytes()[ROUNDS..]);
    }
}

/// A client whose system takes little at a time, so that what it has not read stays with the program.
fn slow(address: SocketAddr) -> Connection {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets");
    socket.set_recv_buffer_size(4096).expect("a buffer can be small");
    // Of an Ethernet rather than of loopback, where 64 KiB segments make the sender's buffer megabytes.
    socket.set_tcp_mss(1400).expect("segments can be short");
    socket.connect(&address.into()).expect("the proxy listens");
    Connection::of(TcpStream::from(socket))
}
