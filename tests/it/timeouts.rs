//! Sessions that nobody ends are ended when their time is up, and not before.

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Numbers, Peer, Ringway, Server};

const MIB: u64 = 1 << 20;

/// A ringway whose one pool has these settings, and whose file has those beside it.
fn in_front_of(server: &Server, pool: &Value, file: &Value) -> Ringway {
    let mut pool = pool.clone();
    pool["servers"] = json!([server.address()]);
    let mut configuration = json!({
        "workers": 1,
        "listeners": [{"bind": "127.0.0.1:0", "peek": "none"}],
        "pools": {"app": pool},
    });
    for (key, value) in file.as_object().into_iter().flatten() {
        configuration[key] = value.clone();
    }
    Ringway::configured(&configuration).start()
}

/// A client and its server that have exchanged a word.
fn joined(pool: &Value) -> (Ringway, Peer, Peer) {
    let listening = Server::listen();
    let lb = in_front_of(&listening, pool, &json!({}));
    let (mut client, mut server) = (lb.client(), listening.accept());
    exchange(&mut client, &mut server);
    (lb, client, server)
}

fn exchange(client: &mut Peer, server: &mut Peer) {
    client.send(b"ping");
    server.expect(b"ping");
    server.send(b"pong");
    client.expect(b"pong");
}

#[test]
fn a_session_in_which_nothing_moves_is_closed_as_idle() {
    let began = Instant::now();
    let (lb, mut client, mut server) = joined(&json!({"idle_timeout_ms": 1_000}));
    let address = client.address();
    client.expect_eof();
    server.expect_eof();
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    drop((client, server));
    assert_eq!(lb.session_of(address).get("reason"), "idle");
}

#[test]
fn a_session_in_which_something_moves_is_not_idle() {
    let (lb, mut client, mut server) = joined(&json!({"idle_timeout_ms": 1_000}));
    let address = client.address();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        exchange(&mut client, &mut server);
    }
    drop((client, server));
    assert_ne!(lb.session_of(address).get("reason"), "idle");
}

#[test]
fn a_half_closed_session_in_which_nothing_moves_is_closed() {
    for client_first in [true, false] {
        let (lb, mut client, mut server) = joined(&json!({"half_closed_timeout_ms": 1_000}));
        let address = client.address();
        let (first, other) =
            if client_first { (&mut client, &mut server) } else { (&mut server, &mut client) };
        first.shutdown_write();
        other.expect_eof();
        other.send(b"this still comes");
        first.expect(b"this still comes");
        first.expect_eof();
        drop((client, server));
        assert_eq!(lb.session_of(address).get("reason"), "half_closed");
    }
}

#[test]
fn an_old_session_ends_orderly_whatever_it_does() {
    let listening = Server::listen();
    let lb = in_front_of(&listening, &json!({"max_age_ms": 1_000}), &json!({}));
    let (mut client, mut server) = (lb.client(), listening.accept());
    let address = client.address();
    let speaking = thread::spawn(move || {
        let mut numbers = Numbers::seeded(1);
        let mut chunk = vec![0; 16 << 10];
        loop {
            numbers.fill(&mut chunk);
            if server.write_all(&chunk).is_err() {
                break;
            }
        }
    });
    // Every byte up to an end that is none of the server's.
    let (_, end) = Numbers::seeded(1).check_out(&mut client);
    assert_eq!(end, ErrorKind::UnexpectedEof);
    drop(client);
    speaking.join().expect("the server was told");
    assert_eq!(lb.session_of(address).get("reason"), "max_age");
}

/// Writes until it is told that it is in vain.
fn flood(peer: &mut Peer) -> ErrorKind {
    loop {
        if let Err(error) = peer.write(&[7; 64 << 10]) {
            return error.kind();
        }
    }
}

#[test]
fn a_peer_that_acknowledges_nothing_is_lost_after_the_user_timeout() {
    let file = json!({"tcp_user_timeout_ms": 1_000});
    for client_is_deaf in [true, false] {
        let listening = Server::listen_narrow();
        let lb = in_front_of(&listening, &json!({}), &file);
        let (mut client, mut server) = (lb.narrow_client(), listening.accept());
        let address = client.address();
        // Bulk, so that it is spliced and the kernel says what has broken it.
        let (from, to) =
            if client_is_deaf { (&mut server, &mut client) } else { (&mut client, &mut server) };
        thread::scope(|scope| {
            scope.spawn(|| Numbers::seeded(1).write_to(from, 4 * MIB));
            Numbers::seeded(1).check_from(to, 4 * MIB);
        });
        assert_eq!(flood(from), ErrorKind::ConnectionReset);
        let reason = lb.session_of(address).get("reason").to_owned();
        assert_eq!(reason, if client_is_deaf { "client_lost" } else { "server_lost" });
    }
}
