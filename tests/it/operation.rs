//! Start, stop and what the log says.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{HttpServer, Ringway, Server, get};

#[test]
fn a_second_ringway_on_the_same_port_refuses_to_start() {
    let server = HttpServer::named("s1");
    let lb = Ringway::to([server.address()]).with(["--peek", "http"]).start();
    let taken = lb.address().to_string();
    let (status, said) = Ringway::listening_on(&taken, [server.address()]).refused();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(&taken), "{said}");
    assert_eq!(lb.get("/", &[]).text(), "s1", "the first one is not disturbed");
}

#[test]
fn a_unix_socket_in_use_is_not_taken_away() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("ringway.sock");
    let listen = format!("unix:{}", path.display());
    // The second one may have looked whether somebody answers, so more than one may connect.
    let server = Server::listen().serve(|mut peer| {
        let said = peer.rest();
        peer.send(said);
    });
    let lb = Ringway::listening_on(&listen, [server.address()]).with(["--peek", "none"]).start();
    let (status, said) = Ringway::listening_on(&listen, [server.address()]).refused();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(path.to_str().unwrap()), "{said}");
    let mut client = crate::harness::Peer::connect_unix(&path);
    client.send("still here");
    client.shutdown_write();
    client.expect("still here");
    drop(lb);
}

#[test]
fn a_unix_socket_left_behind_by_a_dead_process_is_replaced() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("ringway.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = Server::listen();
    let listen = format!("unix:{}", path.display());
    let _lb = Ringway::listening_on(&listen, [server.address()]).with(["--peek", "none"]).start();
    let mut client = crate::harness::Peer::connect_unix(&path);
    client.send("hello");
    server.accept().expect("hello");
}

#[test]
fn a_file_that_is_no_socket_is_not_taken_away() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("notes.txt");
    std::fs::write(&path, "mine").unwrap();
    let listen = format!("unix:{}", path.display());
    let (status, said) = Ringway::listening_on(&listen, [Server::listen().address()]).refused();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("a file is there that is no socket"), "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn a_wrong_configuration_is_refused_with_its_places() {
    let (status, said) = Ringway::configured(&json!({
        "listeners": [{"name": "web", "bind": ["127.0.0.1:0"], "pool": "nowhere"}],
        "pools": {"site": {"servers": [{"address": "127.0.0.1:1", "weight": 0}]}},
    }))
    .refused();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("listeners[0].pool"), "{said}");
    assert!(said.contains("pools.site.servers[0].weight"), "{said}");
}

#[test]
fn a_stop_closes_what_is_open_and_accounts_for_it() {
    let server = Server::listen();
    let mut lb = Ringway::to([server.address()]).with(["--peek", "none"]).start();
    let mut clients: Vec<_> = (0..20).map(|_| lb.client()).collect();
    clients.iter_mut().for_each(|client| client.send("hello"));
    let mut sessions: Vec<_> = clients.iter().map(|_| server.accept()).collect();
    sessions.iter_mut().for_each(|session| session.expect("hello"));
    let last = lb.stop();
    assert_eq!((last["accepted"].as_str(), last["closed"].as_str()), ("20", "20"));
    assert!(lb.sessions().iter().all(|session| session.get("reason") == "stopped"));
    clients.into_iter().chain(sessions).for_each(|mut peer| peer.expect_closed());
}

#[test]
fn an_interrupt_stops_as_well() {
    let server = HttpServer::named("s1");
    let mut lb = Ringway::to([server.address()]).with(["--peek", "http"]).start();
    assert_eq!(lb.get("/", &[]).text(), "s1");
    let last = lb.stop_with(Signal::SIGINT);
    assert_eq!((last["accepted"].as_str(), last["closed"].as_str()), ("1", "1"));
}

#[test]
fn the_line_of_a_session_says_who_where_why_and_how_much() {
    let server = HttpServer::named("s1");
    let lb = Ringway::configured(&json!({
        "workers": 1,
        "listeners": [{"name": "web", "bind": ["127.0.0.1:0"], "pool": "chat"}],
        "pools": {"chat": {"sticky": {"by": "query", "name": "user"},
                           "servers": [server.address()]}},
    }))
    .start();
    let mut client = lb.client();
    let request = get("/?user=7", &["Host: chat.example.com"]);
    client.send(&request);
    let answer = client.response();
    client.expect_eof();
    let address = client.address();
    drop(client);
    let line = lb.session_of(address);
    assert_eq!(line.get("listener"), "web");
    assert_eq!(line.get("pool"), "chat");
    assert_eq!(line.get("server"), server.address());
    assert_eq!(line.get("host"), "chat.example.com");
    assert_eq!(line.get("key"), "query");
    assert_eq!(line.get("how"), "kept");
    assert_eq!(line.get("reason"), "server_closed");
    assert_eq!(line.number("bytes_up"), request.len() as u64);
    assert!(line.number("bytes_down") >= answer.body.len() as u64);
    for measured in ["duration_ms", "connect_us", "peek_us"] {
        line.number(measured);
    }
}

#[test]
fn a_session_that_never_had_a_server_is_logged_without_one() {
    let server = HttpServer::named("s1");
    let lb = Ringway::to([server.address()]).with(["--peek", "http"]).start();
    let mut client = lb.client();
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.response().status, 400);
    let address = client.address();
    drop(client);
    let line = lb.session_of(address);
    assert!(line.find("server").is_none_or(|server| server == "-"), "{line:?}");
}
