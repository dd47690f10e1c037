//! What ringway says for itself: short HTTP answers, or nothing.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{HttpServer, Ringway, Server, closed_port, get};

/// One http listener with these further keys, in front of one server.
fn listener(server: &str, more: &Value) -> Ringway {
    let mut listener = json!({
        "name": "web", "bind": ["127.0.0.1:0"], "peek": "http", "pool": "site",
    });
    listener.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Ringway::configured(&json!({
        "workers": 1,
        "listeners": [listener],
        "pools": {"site": {"servers": [server]}},
    }))
    .start()
}

#[test]
fn a_malformed_head_is_answered_400() {
    let server = HttpServer::named("s1");
    let lb = listener(&server.address(), &json!({}));
    for head in [
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nNo colon here\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    ] {
        let mut client = lb.client();
        client.send(head);
        let answer = client.response();
        assert_eq!(answer.status, 400, "{head:?}");
        assert_eq!(answer.header("connection"), Some("close"));
        client.expect_eof();
        let address = client.address();
        drop(client);
        assert_eq!(lb.session_of(address).get("reason"), "head_malformed");
    }
    assert_eq!(server.accepted(), 0);
}

#[test]
fn a_head_of_40_kib_is_answered_431() {
    let server = HttpServer::named("s1");
    let lb = listener(&server.address(), &json!({}));
    let mut client = lb.client();
    client.send(get("/", &[&format!("Cookie: {}", "c".repeat(40 << 10))]));
    assert_eq!(client.response().status, 431);
    client.expect_closed();
    let address = client.address();
    drop(client);
    assert_eq!(lb.session_of(address).get("reason"), "head_too_large");
}

#[test]
fn a_head_of_30_kib_passes() {
    let server = HttpServer::named("s1");
    let lb = listener(&server.address(), &json!({}));
    let cookie = format!("Cookie: {}", "c".repeat(30 << 10));
    assert_eq!(lb.get("/", &[&cookie]).text(), "s1");
    assert_eq!(server.request().header("cookie").map(str::len), Some(30 << 10));
}

#[test]
fn a_head_limit_of_64_kib_lets_60_kib_pass() {
    let server = HttpServer::named("s1");
    let lb = listener(&server.address(), &json!({"head_max_bytes": 65_536}));
    let cookie = format!("Cookie: {}", "c".repeat(60 << 10));
    assert_eq!(lb.get("/", &[&cookie]).text(), "s1");
}

#[test]
fn a_late_head_is_answered_408_however_many_bytes_keep_coming() {
    let server = HttpServer::named("s1");
    let lb = listener(&server.address(), &json!({"peek_timeout_ms": 400}));
    let mut client = lb.client();
    client.send("GET / HTTP/1.1\r\nHost: ");
    client.set_timeout(Duration::from_millis(50));
    let mut first = [0];
    let mut dripped = 0;
    loop {
        match client.read(&mut first) {
            Ok(n) => break assert_eq!(n, 1, "an answer"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => client.send("a"),
            Err(error) => panic!("{error}"),
        }
        dripped += 1;
        assert!(dripped < 400, "the deadline moves with each byte");
    }
    client.expect("TTP/1.1 408 ");
    let address = client.address();
    drop(client);
    assert_eq!(lb.session_of(address).get("reason"), "head_late");
}

#[test]
fn a_client_that_never_speaks_is_closed_silently() {
    let server = HttpServer::named("s1");
    let lb = listener(&server.address(), &json!({"peek_timeout_ms": 200}));
    let mut client = lb.client();
    client.expect_eof();
    let address = client.address();
    drop(client);
    assert_eq!(lb.session_of(address).get("reason"), "client_silent");
    assert_eq!(server.accepted(), 0);
}

#[test]
fn a_request_with_no_server_to_go_to_is_answered_503() {
    let (_held, closed) = closed_port();
    let lb = listener(&closed, &json!({}));
    let answer = lb.get("/", &["Origin: https://app.example"]);
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some(), "{}", answer.head);
    let origin = answer.header("access-control-allow-origin");
    assert_eq!(origin, Some("https://app.example"), "{}", answer.head);
    assert_eq!(lb.session().get("reason"), "connect_failed");
}

#[test]
fn a_request_goes_to_another_server_at_once_when_one_refuses() {
    let (_held, closed) = closed_port();
    let server = HttpServer::named("up");
    let lb = Ringway::to([closed, server.address()]).with(["--peek", "http"]).start();
    for _ in 0..10 {
        assert_eq!(lb.get("/", &[]).text(), "up");
    }
}

#[test]
fn http2_with_prior_knowledge_passes_untouched() {
    let server = Server::listen();
    let lb = listener(&server.address(), &json!({}));
    let mut client = lb.client();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    client.send(preface);
    server.accept().expect(preface);
}

#[test]
fn bytes_that_are_not_http_pass_untouched() {
    let server = Server::listen();
    let lb = listener(&server.address(), &json!({}));
    let mut client = lb.client();
    client.send(b"\x00\x01\x02 anything");
    server.accept().expect(b"\x00\x01\x02 anything");
}
