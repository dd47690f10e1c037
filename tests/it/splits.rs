//! However a first message is cut into reads, the answer is the same.

use serde_json::json;

use crate::harness::{HttpServer, Peer, Ringway, Server, client_hello, get};

/// Sends back what it gets.
fn echo_server() -> crate::harness::Serving {
    Server::listen().serve(|mut peer| {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(n @ 1..) = std::io::Read::read(&mut peer, &mut bytes) {
            peer.send(&bytes[..n]);
        }
    })
}

/// An established session whose round trip tells that the one worker has seen all that was sent
/// before it.
struct Witness(Peer);

impl Witness {
    fn new(lb: &Ringway, opening: &[u8]) -> Self {
        let mut client = lb.client();
        client.send(opening);
        client.expect(opening);
        Self(client)
    }

    fn round_trip(&mut self) {
        self.0.send(b"?");
        self.0.expect(b"?");
    }
}

/// Sends `bytes` cut in two at every place; each time all of it must reach the server.
fn every_cut(peek: &str, bytes: &[u8]) {
    let server = echo_server();
    let lb = Ringway::listening_on("127.0.0.1:0", [server.address()])
        .with(["--peek", peek, "--workers", "1"])
        .start();
    let mut witness = Witness::new(&lb, bytes);
    for cut in 1..bytes.len() {
        let (before, after) = bytes.split_at(cut);
        let mut client = lb.client();
        client.send(before);
        witness.round_trip();
        client.send(after);
        client.expect(bytes);
    }
}

#[test]
fn a_request_head_cut_anywhere_reaches_the_server_as_it_was() {
    every_cut("http", get("/a?b=c", &["Host: chat.example.com", "Cookie: d=e"]).as_bytes());
}

#[test]
fn a_request_with_empty_lines_before_and_a_body_behind_may_be_cut_anywhere() {
    let request =
        "\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n\r\n\r\nabc\r\n\r\n";
    every_cut("http", request.as_bytes());
}

#[test]
fn a_websocket_upgrade_with_frames_behind_may_be_cut_anywhere() {
    let mut request = get("/", &["Connection: keep-alive, Upgrade", "Upgrade: websocket"]);
    request.push_str("\u{1}\u{5}frame");
    every_cut("http", request.as_bytes());
}

#[test]
fn a_client_hello_cut_anywhere_reaches_the_server_as_it_was() {
    every_cut("tls", &client_hello(Some("chat.example.com"), &["h2", "http/1.1"]));
}

#[test]
fn first_bytes_cut_anywhere_are_the_same_under_auto() {
    every_cut("auto", get("/", &[]).as_bytes());
    every_cut("auto", &client_hello(Some("chat.example.com"), &[]));
}

#[test]
fn a_client_hello_in_many_records_still_leads_by_its_name() {
    let named = Server::listen();
    let default = Server::listen();
    let lb = Ringway::configured(&json!({
        "workers": 1,
        "listeners": [{
            "name": "tls", "bind": ["127.0.0.1:0"], "peek": "tls", "pool": "default",
            "routes": [{"host": "chat.example.com", "pool": "chat"}],
        }],
        "pools": {
            "chat": {"servers": [named.address()]}, "default": {"servers": [default.address()]},
        },
    }))
    .start();
    let hello = client_hello(Some("chat.example.com"), &[]);
    let mut records = Vec::new();
    for piece in hello[5..].chunks(7) {
        records.extend([0x16, 3, 1, 0, u8::try_from(piece.len()).unwrap()]);
        records.extend(piece);
    }
    let mut client = lb.client();
    client.send(&records);
    named.accept().expect(&records);
}

#[test]
fn an_edited_head_is_the_same_however_it_was_cut() {
    let server = HttpServer::named("s1");
    let lb = Ringway::listening_on("127.0.0.1:0", [server.address()])
        .with(["--sticky", "query:user", "--workers", "1"])
        .start();
    let request = get("/?user=7", &["Connection: keep-alive, x-hop", "X-Hop: 1", "Accept: */*"]);
    for cut in 1..request.len() {
        let (before, after) = request.split_at(cut);
        let mut client = lb.client();
        client.send(before);
        assert!(!client.is_readable());
        client.send(after);
        assert_eq!(client.response().text(), "s1");
        client.expect_eof();
    }
    let requests = server.requests();
    assert_eq!(requests.len(), request.len() - 1);
    for seen in &requests {
        assert_eq!(seen.head, requests[0].head);
        assert_eq!(seen.header("accept"), Some("*/*"));
        assert!(seen.headers("connection").join(",").contains("close"), "{}", seen.head);
    }
}
