//! SIGTERM: nobody new is heard, nobody who is there is lost.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Connecting, Peer, Ringway, Server, Serving, eventually};

fn echo() -> Serving {
    Server::listen().serve(|mut peer| {
        let mut bytes = [0; 4];
        while let Ok(()) = std::io::Read::read_exact(&mut peer, &mut bytes) {
            peer.send(bytes);
        }
    })
}

fn configuration(server: &Serving, drain_timeout_ms: u32, drain_window_ms: u32) -> Value {
    json!({
        "workers": 2,
        "drain_timeout_ms": drain_timeout_ms,
        "drain_window_ms": drain_window_ms,
        "listeners": [{"bind": "127.0.0.1:0", "peek": "none"}],
        "pools": {"echo": {"servers": [server.address()]}},
    })
}

fn ask(peer: &mut Peer) {
    peer.send(b"ping");
    peer.expect(b"ping");
}

#[test]
fn sessions_go_on_and_the_last_one_ends_it() {
    let server = echo();
    let mut lb = Ringway::to([server.address()]).with(["--peek", "none"]).start();
    let (mut one, mut other) = (lb.client(), lb.client());
    ask(&mut one);
    ask(&mut other);
    lb.signal(Signal::SIGTERM);
    let address = lb.address();
    eventually("a refused connection", || {
        std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(200)).err()
    });
    ask(&mut one);
    ask(&mut other);
    one.shutdown_write();
    one.expect_eof();
    ask(&mut other);
    drop(other);
    let last = lb.wait();
    assert_eq!(last["accepted"], last["closed"]);
    assert!(lb.sessions().iter().all(|session| session.get("reason") == "client_closed"));
}

#[test]
fn who_waits_to_be_accepted_is_served_all_the_same() {
    const CLIENTS: usize = 300;
    let server = echo();
    let mut lb = Ringway::to([server.address()]).with(["--peek", "none"]).start();
    lb.signal(Signal::SIGSTOP);
    let clients: Vec<_> = (0..CLIENTS).map(|_| Connecting::to(lb.address())).collect();
    let mut clients: Vec<_> = clients.into_iter().map(Connecting::connected).collect();
    clients.iter_mut().for_each(|client| client.send(b"ping"));
    lb.signal(Signal::SIGTERM);
    lb.signal(Signal::SIGCONT);
    for client in &mut clients {
        client.expect(b"ping");
        client.shutdown_write();
        client.expect_eof();
    }
    let last = lb.wait();
    let all = CLIENTS.to_string();
    assert_eq!((&last["accepted"], &last["closed"]), (&all, &all));
}

#[test]
fn at_the_deadline_the_rest_is_closed_a_few_at_a_time() {
    const CLIENTS: usize = 100;
    let server = echo();
    let mut lb = Ringway::configured(&configuration(&server, 100, 3_000)).start();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| lb.client()).collect();
    clients.iter_mut().for_each(ask);
    lb.signal(Signal::SIGTERM);
    for client in &mut clients {
        client.expect_closed();
    }
    let last = lb.wait();
    assert_eq!(last["closed"], CLIENTS.to_string());
    let sessions = lb.sessions();
    assert!(sessions.iter().all(|session| session.get("reason") == "stopped"));
    let mut ends: Vec<_> = sessions.iter().map(|session| session.number("duration_ms")).collect();
    ends.sort_unstable();
    ends.dedup();
    assert!(ends.len() > 4, "all at once: {ends:?}");
}

#[test]
fn a_second_sigterm_ends_it_at_once() {
    let server = echo();
    let mut lb = Ringway::configured(&configuration(&server, 86_400_000, 0)).start();
    let mut client = lb.client();
    ask(&mut client);
    lb.signal(Signal::SIGTERM);
    // Two signals that wait together are one.
    eventually("the first signal is obeyed", || lb.said("draining").then_some(()));
    ask(&mut client);
    lb.signal(Signal::SIGTERM);
    client.expect_closed();
    assert_eq!(lb.wait()["closed"], "1");
}

#[test]
fn a_unix_socket_loses_its_path_and_nobody_who_waits() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("ringway.sock");
    let server = echo();
    let listen = format!("unix:{}", path.display());
    let mut lb =
        Ringway::listening_on(&listen, [server.address()]).with(["--peek", "none"]).start();
    lb.signal(Signal::SIGSTOP);
    let mut clients: Vec<_> = (0..50).map(|_| Peer::connect_unix(&path)).collect();
    clients.iter_mut().for_each(|client| client.send(b"ping"));
    lb.signal(Signal::SIGTERM);
    lb.signal(Signal::SIGCONT);
    clients.iter_mut().for_each(|client| client.expect(b"ping"));
    eventually("the path is gone", || (!path.exists()).then_some(()));
    drop(clients);
    assert_eq!(lb.wait()["closed"], "50");
}
