//! Where each request makes its own choice, a connection carries one; an upgrade is exempt.

use std::time::Duration;

use crate::harness::{HttpServer, Peer, Ringway, Server, get};

const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];
const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn joined() -> (Ringway, Server) {
    let server = Server::listen();
    let lb = Ringway::to([server.address()]).with(["--sticky", "query:user"]).start();
    (lb, server)
}

#[test]
fn both_heads_say_that_the_connection_ends_here() {
    let (lb, server) = joined();
    let mut client = lb.client();
    client.send(get("/?user=1", &["Connection: keep-alive"]));
    let mut session = server.accept();
    let head = session.head().to_ascii_lowercase();
    assert!(head.contains("connection: close\r\n"), "{head}");
    assert!(!head.contains("keep-alive"), "{head}");
    session.send("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok");
    let answer = client.response();
    assert_eq!(answer.headers("connection"), ["close"], "{}", answer.head);
    assert_eq!(answer.text(), "ok");
}

#[test]
fn a_second_request_behind_the_first_is_not_forwarded() {
    let server = HttpServer::named("s1");
    let lb = Ringway::to([server.address()]).with(["--sticky", "query:user"]).start();
    let mut client = lb.client();
    let post = "POST /?user=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    client.send(post.to_owned() + &get("/?user=2", &[]));
    assert_eq!(client.response().text(), "s1");
    client.expect_closed();
    assert_eq!(server.requests().len(), 1);
    assert_eq!(server.request().body, b"body");
}

#[test]
fn an_answer_larger_than_buffers_reaches_a_client_that_sends_more() {
    let (lb, server) = joined();
    let mut client = lb.client();
    client.send(get("/?user=1", &[]) + &get("/?user=2", &[]).repeat(200));
    let mut session = server.accept();
    session.head();
    let body = vec![b'b'; 4 << 20];
    session.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
    session.send(&body);
    drop(session);
    assert!(client.response().body == body);
}

#[test]
fn an_interim_response_passes_before_the_final_one() {
    let (lb, server) = joined();
    let mut client = lb.client();
    let head =
        "POST /?user=1 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    client.send(head);
    let mut session = server.accept();
    session.head();
    session.send("HTTP/1.1 100 Continue\r\n\r\n");
    client.expect("HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    session.expect("body");
    session.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let answer = client.response();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
}

#[test]
fn a_websocket_upgrade_keeps_its_connection() {
    let (lb, server) = joined();
    let mut client = lb.client();
    client.send(get("/?user=1", &UPGRADE));
    let mut session = server.accept();
    let head = session.head();
    assert!(head.contains("Connection: Upgrade\r\n"), "{head}");
    session.send(SWITCHING);
    client.expect(SWITCHING);
    for _ in 0..100 {
        client.send(b"\x81\x85....frame");
        session.expect(b"\x81\x85....frame");
        session.send(b"\x81\x05frame");
        client.expect(b"\x81\x05frame");
    }
}

#[test]
fn frames_behind_an_upgrade_wait_for_the_101() {
    let (lb, server) = joined();
    let mut client = lb.client();
    client.send(get("/?user=1", &UPGRADE) + "early frame");
    let mut session = server.accept();
    session.head();
    expect_nothing(&mut session);
    session.send(SWITCHING);
    client.expect(SWITCHING);
    session.expect("early frame");
}

#[test]
fn after_a_refused_upgrade_nothing_more_of_the_client_is_forwarded() {
    let (lb, server) = joined();
    let mut client = lb.client();
    client.send(get("/?user=1", &UPGRADE) + &get("/?user=2", &[]));
    let mut session = server.accept();
    session.head();
    session.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno");
    let answer = client.response();
    assert_eq!((answer.status, answer.header("connection")), (400, Some("close")));
    client.send("more");
    expect_nothing_or_end(&mut session);
}

#[test]
fn a_101_split_from_its_first_frame_or_joined_with_it_is_the_same() {
    let (lb, server) = joined();
    for cut in 1..SWITCHING.len() {
        let mut client = lb.client();
        client.send(get("/?user=1", &UPGRADE));
        let mut session = server.accept();
        session.head();
        session.send(&SWITCHING[..cut]);
        session.send(format!("{}hello", &SWITCHING[cut..]));
        client.expect(SWITCHING);
        client.expect("hello");
    }
}

/// A look that finds nothing within a moment; it can only miss a failure, never make one up.
fn expect_nothing(peer: &mut Peer) {
    peer.set_timeout(Duration::from_millis(50));
    let found = std::io::Read::read(peer, &mut [0; 64]);
    assert!(found.is_err(), "{found:?}");
    peer.set_timeout(crate::harness::DEADLINE);
}

fn expect_nothing_or_end(peer: &mut Peer) {
    peer.set_timeout(Duration::from_millis(50));
    let found = std::io::Read::read(peer, &mut [0; 64]);
    assert!(matches!(found, Err(_) | Ok(0)), "{found:?}");
}
