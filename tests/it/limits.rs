//! What happens where descriptors or the limits of a configuration end: clients wait, none is
//! turned away but by the limit on its network.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Connecting, Peer, Ringway, Server, Serving, eventually, many_descriptors};

#[test]
fn a_burst_beyond_the_descriptors_is_served_in_turn() {
    const BURST: usize = 900;
    many_descriptors(4 * BURST as u64);
    let servers: Vec<_> =
        (0..4).map(|_| Server::listen().serve(|mut peer| peer.send("served"))).collect();
    let lb = Ringway::to(servers.iter().map(Serving::address))
        .with(["--peek", "none", "--workers", "1"])
        .limited_to(1024)
        .start();
    // All are there at once when the worker looks again.
    lb.signal(Signal::SIGSTOP);
    let clients: Vec<_> = (0..BURST).map(|_| Connecting::to(lb.address())).collect();
    lb.signal(Signal::SIGCONT);
    for client in clients {
        let mut client = client.connected();
        client.expect("served");
        client.expect_eof();
    }
}

/// One listener with these keys, in front of `server`.
fn limited(server: &Server, listener: &Value, more: &Value) -> Ringway {
    let mut file = json!({
        "workers": 2,
        "listeners": [{"bind": "127.0.0.1:0"}],
        "pools": {"app": {"servers": [server.address()]}},
    });
    let merge = |into: &mut Value, from: &Value| {
        for (key, value) in from.as_object().expect("an object") {
            into[key] = value.clone();
        }
    };
    merge(&mut file, more);
    merge(&mut file["listeners"][0], listener);
    Ringway::configured(&file).start()
}

/// A client that has been connected to the server.
fn session(lb: &Ringway, server: &Server) -> (Peer, Peer) {
    let mut client = lb.client();
    client.send("up");
    let mut session = server.accept();
    session.expect("up");
    (client, session)
}

#[test]
fn at_the_limit_on_connections_clients_wait_and_are_served_in_their_turn() {
    let one = json!({"max_connections": 3});
    for (listener, more) in [(&one, &json!({})), (&json!({}), &one)] {
        let server = Server::listen();
        let lb = limited(&server, listener, more);
        let mut sessions: Vec<_> = (0..3).map(|_| session(&lb, &server)).collect();
        let mut waiting: Vec<_> = (0..8).map(|_| lb.client()).collect();
        waiting.iter_mut().for_each(|client| client.send("late"));
        lb.wait_for_line("held up", "max_connections");
        assert!(server.try_accept().is_none(), "three are three, over both workers");
        for _ in 0..8 {
            let (client, server_side) = sessions.pop().expect("three stand");
            drop((client, server_side));
            let mut session = server.accept();
            session.expect("late");
            assert!(server.try_accept().is_none(), "one for one");
            // Whose it is says who is answered.
            session.send("served");
            let at = eventually("an answer", || waiting.iter().position(Peer::is_readable));
            let mut client = waiting.swap_remove(at);
            client.expect("served");
            sessions.push((client, session));
        }
    }
}

#[test]
fn a_network_with_too_many_connections_is_reset_before_a_byte_is_read() {
    let server = Server::listen();
    let lb = limited(&server, &json!({"max_connections_per_source": {"count": 2}}), &json!({}));
    let stand = |source: &str| {
        let mut client = Peer::connect_from(source, lb.address());
        client.send("up");
        let mut session = server.accept();
        session.expect("up");
        (client, session)
    };
    let (first, second) = (stand("127.0.0.1"), stand("127.0.0.1"));
    let mut refused = Connecting::to(lb.address()).connected();
    refused.expect_reset();
    let line = lb.session_of(refused.address());
    assert_eq!((line.get("reason"), line.get("bytes_up")), ("source_limit", "0"));
    let other = stand("127.0.0.3");
    drop(first);
    lb.wait_for_sessions(2);
    let again = stand("127.0.0.1");
    drop((second, other, again));
}

#[test]
fn an_accept_rate_is_kept_over_all_workers() {
    const RATE: u32 = 50;
    let served = Server::listen().serve(|mut peer| peer.send("served"));
    let lb = Ringway::configured(&json!({
        "workers": 2,
        "listeners": [{"bind": "127.0.0.1:0", "accept_rate_per_s": RATE}],
        "pools": {"app": {"servers": [served.address()]}},
    }))
    .start();
    let start = Instant::now();
    let clients: Vec<_> = (0..RATE).map(|_| lb.client()).collect();
    for mut client in clients {
        client.expect("served");
        client.expect_eof();
    }
    // A tenth of a second's worth comes at once.
    let least = Duration::from_millis(850);
    assert!(start.elapsed() >= least, "{RATE} clients in {:?}", start.elapsed());
}

#[test]
fn without_descriptors_accepting_pauses_at_rest_and_goes_on_by_itself() {
    let server = Server::listen();
    // With a limit, clients are accepted one at a time: an accept keeps the limit it began with.
    let lb = Ringway::configured(&json!({
        "workers": 1,
        "listeners": [{"bind": "127.0.0.1:0", "max_connections": 1000}],
        "pools": {"app": {"servers": [server.address()], "connect_timeout_ms": 60000}},
    }))
    .start();
    let (mut client, mut session) = session(&lb, &server);
    let before = lb.descriptor_limit();
    // Fewer than are open already.
    lb.limit_descriptors(8);
    let mut waiting: Vec<_> = (0..20).map(|_| lb.client()).collect();
    lb.wait_for_line("held up", "descriptors");
    let (lines, cpu) = (lb.lines("held up"), lb.cpu());
    std::thread::sleep(Duration::from_secs(2));
    let (lines, cpu) = (lb.lines("held up") - lines, lb.cpu() - cpu);
    assert!(lines <= 3, "{lines} lines in two seconds");
    assert!(cpu < Duration::from_millis(300), "{cpu:?} of CPU in two seconds of waiting");
    client.send("still here");
    session.expect("still here");
    lb.limit_descriptors(before);
    for client in &mut waiting {
        client.send("late");
        server.accept().expect("late");
    }
    drop((client, session, waiting));
    lb.wait_for_sessions(21);
    assert!(lb.sessions().iter().all(|session| session.get("retries") == "0"));
}

#[test]
fn a_server_is_not_blamed_for_a_descriptor_that_is_missing() {
    let server = Server::listen();
    let lb = Ringway::configured(&json!({
        "workers": 1,
        "listeners": [{"bind": "127.0.0.1:0", "peek": "http"}],
        "pools": {"app": {"servers": [server.address()], "connect_timeout_ms": 60000}},
    }))
    .start();
    let (limit, open) = (lb.descriptor_limit(), lb.descriptors());
    let mut client = lb.client();
    client.send("GET / HTTP/1.1\r\n");
    eventually("the client to be accepted", || (lb.descriptors() > open).then_some(()));
    lb.limit_descriptors(8);
    client.send("Host: a\r\n\r\n");
    lb.wait_for_line("held up", "descriptors");
    assert!(server.try_accept().is_none());
    lb.limit_descriptors(limit);
    let mut session = server.accept();
    assert!(session.head().starts_with("GET / "));
    let address = client.address();
    drop((session, client));
    assert_eq!(lb.session_of(address).get("retries"), "0");
}
