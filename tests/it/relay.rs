//! Bytes, ends and resets cross ringway as they came.

use std::net::SocketAddr;

use crate::harness::{Numbers, Peer, Ringway, Server, closed_port};

const MIB: u64 = 1 << 20;

/// A client and its server, joined by a ringway that reads nothing of what they say.
fn joined(more: &[&str]) -> (Ringway, Peer, Peer) {
    let server = Server::listen();
    let lb = Ringway::to([server.address()]).with(["--peek", "none"]).with(more).start();
    let client = lb.client();
    let session = server.accept();
    (lb, client, session)
}

#[test]
fn bytes_cross_in_both_directions() {
    let (_lb, mut client, mut server) = joined(&[]);
    client.send(b"ping");
    server.expect(b"ping");
    server.send(b"pong");
    client.expect(b"pong");
}

#[test]
fn a_server_may_speak_first() {
    let server = Server::listen().serve(|mut peer| {
        peer.send("220 ready\r\n");
        peer.expect("QUIT\r\n");
        peer.send("221 bye\r\n");
    });
    let lb = Ringway::to([server.address()]).with(["--peek", "none"]).start();
    for _ in 0..20 {
        let mut client = lb.client();
        client.expect("220 ready\r\n");
        client.send("QUIT\r\n");
        client.expect("221 bye\r\n");
        client.expect_eof();
    }
    assert_eq!(server.accepted(), 20);
}

#[test]
fn eof_is_forwarded_after_the_last_byte() {
    let (_lb, mut client, mut server) = joined(&[]);
    client.send(b"all I have to say");
    client.shutdown_write();
    server.expect(b"all I have to say");
    server.expect_eof();
}

#[test]
fn a_client_that_has_finished_still_gets_a_whole_answer() {
    let (lb, mut client, mut server) = joined(&[]);
    let address = client.address();
    client.send(b"give me a mebibyte");
    client.shutdown_write();
    server.expect(b"give me a mebibyte");
    server.expect_eof();
    let writer = std::thread::spawn(move || {
        Numbers::seeded(1).write_to(&mut server, MIB);
    });
    Numbers::seeded(1).check_from(&mut client, MIB);
    client.expect_eof();
    writer.join().unwrap();
    let line = lb.session_of(address);
    assert_eq!(line.number("bytes_up"), 18);
    assert_eq!(line.number("bytes_down"), MIB);
}

#[test]
fn a_server_that_has_finished_still_gets_a_whole_request() {
    let (_lb, mut client, mut server) = joined(&[]);
    server.send(b"that is all");
    server.shutdown_write();
    client.expect(b"that is all");
    client.expect_eof();
    let writer = std::thread::spawn(move || {
        Numbers::seeded(2).write_to(&mut client, MIB);
    });
    Numbers::seeded(2).check_from(&mut server, MIB);
    server.expect_eof();
    writer.join().unwrap();
}

#[test]
fn a_client_that_closes_at_once_still_delivers_its_bytes() {
    let (_lb, mut client, mut server) = joined(&[]);
    Numbers::seeded(3).write_to(&mut client, 64 << 10);
    drop(client);
    Numbers::seeded(3).check_from(&mut server, 64 << 10);
    server.expect_eof();
}

#[test]
fn a_reset_by_the_client_resets_the_server() {
    let (lb, mut client, mut server) = joined(&[]);
    let address = client.address();
    client.send(b"hello");
    server.expect(b"hello");
    client.reset();
    server.expect_reset();
    assert_eq!(lb.session_of(address).get("reason"), "client_reset");
}

#[test]
fn a_reset_by_the_server_reaches_the_client_after_the_bytes_before_it() {
    let (lb, mut client, mut server) = joined(&[]);
    let address = client.address();
    let writer = std::thread::spawn(move || {
        Numbers::seeded(4).write_to(&mut server, MIB);
        server.expect(b"got it");
        server.send(b"last words");
        server
    });
    Numbers::seeded(4).check_from(&mut client, MIB);
    client.send(b"got it");
    client.expect(b"last words");
    writer.join().unwrap().reset();
    client.expect_reset();
    assert_eq!(lb.session_of(address).get("reason"), "server_reset");
}

#[test]
fn unsent_bytes_of_a_reset_server_are_not_thrown_away() {
    let (_lb, mut client, mut server) = joined(&[]);
    server.send(vec![b'x'; 16 << 10]);
    client.expect(b"x");
    server.reset();
    client.expect(vec![b'x'; (16 << 10) - 1]);
    client.expect_reset();
}

#[test]
fn ten_thousand_small_messages_stay_in_order() {
    let (_lb, mut client, mut server) = joined(&[]);
    let echo = std::thread::spawn(move || {
        let mut numbers = Numbers::seeded(5);
        for _ in 0..10_000 {
            numbers.check_from(&mut server, 8);
            server.send(b"k");
        }
    });
    let mut numbers = Numbers::seeded(5);
    for _ in 0..10_000 {
        numbers.write_to(&mut client, 8);
        client.expect(b"k");
    }
    echo.join().unwrap();
}

#[test]
fn a_refused_connection_is_tried_at_another_server_at_once() {
    let (_held, closed) = closed_port();
    let server = Server::listen().serve(|mut peer| {
        let said = peer.rest();
        peer.send(said);
    });
    let lb = Ringway::to([closed, server.address()]).with(["--peek", "none"]).start();
    for _ in 0..10 {
        let mut client = lb.client();
        client.send(b"echo");
        client.shutdown_write();
        client.expect(b"echo");
        client.expect_eof();
    }
    assert_eq!(server.accepted(), 10);
}

#[test]
fn a_session_with_no_reachable_server_is_closed() {
    let closed: Vec<_> = (0..3).map(|_| closed_port()).collect();
    let lb =
        Ringway::to(closed.iter().map(|(_, address)| address)).with(["--peek", "none"]).start();
    let mut client = lb.client();
    client.expect_closed();
    assert_eq!(lb.session().get("reason"), "connect_failed");
}

#[test]
fn ipv6_serves_on_both_sides() {
    let server = Server::listen_on("[::1]:0");
    let lb = Ringway::listening_on("[::1]:0", [server.address()]).with(["--peek", "none"]).start();
    let mut client = lb.client();
    client.send(b"over six");
    server.accept().expect(b"over six");
}

#[test]
fn a_dual_stack_listener_takes_ipv4_too() {
    let server = Server::listen();
    let lb = Ringway::listening_on("[::]:0", [server.address()]).with(["--peek", "none"]).start();
    let four = SocketAddr::from(([127, 0, 0, 1], lb.address().port()));
    let mut client = Peer::connect(four);
    let address = client.address();
    client.send(b"over four");
    server.accept().expect(b"over four");
    drop(client);
    assert_eq!(lb.session_of(address).get("client"), address.to_string());
}

#[test]
fn unix_sockets_serve_on_both_sides() {
    let files = tempfile::tempdir().unwrap();
    let server = Server::listen_unix(&files.path().join("server.sock"));
    let listen = files.path().join("listen.sock");
    let lb = Ringway::listening_on(&format!("unix:{}", listen.display()), [server.address()])
        .with(["--peek", "none"])
        .start();
    let mut client = Peer::connect_unix(&listen);
    let mut session = server.accept();
    client.send(b"ping");
    client.shutdown_write();
    session.expect(b"ping");
    session.expect_eof();
    session.send(b"pong");
    drop(session);
    client.expect(b"pong");
    client.expect_eof();
    drop(lb);
}

#[test]
fn sessions_in_a_row_share_nothing_but_a_socket() {
    let server = Server::listen();
    let lb = Ringway::to([server.address()]).with(["--peek", "none", "--workers", "1"]).start();
    for number in 0..60 {
        let mut client = lb.client();
        let asked = format!("question {number}");
        client.send(&asked);
        let mut session = server.accept();
        session.expect(&asked);
        session.send(format!("answer {number}"));
        client.expect(format!("answer {number}"));
        // Whoever ends first, the socket to the server serves again.
        let (first, second) =
            if number % 2 == 0 { (&mut client, &mut session) } else { (&mut session, &mut client) };
        first.shutdown_write();
        second.expect_eof();
        second.shutdown_write();
        first.expect_eof();
        let reason = ["client_closed", "server_closed"][number % 2];
        assert_eq!(lb.session_of(client.address()).get("reason"), reason);
    }
}

#[test]
fn who_speaks_first_may_change() {
    let server = Server::listen();
    let lb = Ringway::to([server.address()]).with(["--peek", "none", "--workers", "1"]).start();
    for number in 0..24 {
        let mut client = lb.client();
        if number % 12 < 10 {
            client.send("hello");
        }
        let mut session = server.accept();
        if number % 12 < 10 {
            session.expect("hello");
        }
        session.send("welcome");
        client.expect("welcome");
    }
}

#[test]
fn messages_become_a_flood_and_messages_again() {
    let server = Server::listen_narrow();
    let lb = Ringway::to([server.address()]).with(["--peek", "none"]).start();
    let mut client = lb.client();
    client.send("0");
    let mut session = server.accept();
    session.expect("0");
    for round in 0..3_u8 {
        for number in 0..10_u8 {
            client.send([round, number]);
            session.expect([round, number]);
            session.send([number]);
            client.expect([number]);
        }
        let mut flood = client.try_clone();
        let flooding = std::thread::spawn(move || {
            for number in 0..20_000_u32 {
                flood.send(number.to_be_bytes());
            }
        });
        for number in 0..20_000_u32 {
            session.expect(number.to_be_bytes());
        }
        flooding.join().unwrap();
    }
}
