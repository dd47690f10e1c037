//! The client's address: in PROXY headers, in X-Forwarded-For, in allow and deny.

use std::io::Write;

use serde_json::{Value, json};

use crate::harness::{HttpServer, Peer, Ringway, Server, get};

/// One listener with `listener` keys and one pool with `pool` keys.
fn configured(server: &str, listener: &Value, pool: &Value) -> Ringway {
    let merged = |mut base: Value, more: &Value| {
        base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        base
    };
    let base = json!({"name": "web", "bind": ["127.0.0.1:0"], "pool": "site"});
    Ringway::configured(&json!({
        "workers": 1,
        "listeners": [merged(base, listener)],
        "pools": {"site": merged(json!({"servers": [server]}), pool)},
    }))
    .start()
}

/// A version 2 header (HAProxy's proxy-protocol.txt, section 2.2) of a TCP/IPv4 connection.
fn version_2(source: ([u8; 4], u16), destination: ([u8; 4], u16)) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(source.0);
    header.extend(destination.0);
    header.extend(source.1.to_be_bytes());
    header.extend(destination.1.to_be_bytes());
    header
}

#[test]
fn a_proxy_header_from_a_listed_network_gives_the_client_address() {
    let server = Server::listen();
    let from = json!({"peek": "none", "accept_proxy": {"from": ["127.0.0.1/32"]}});
    let lb = configured(&server.address(), &from, &json!({}));
    let headers: [&[u8]; 3] = [
        b"PROXY TCP4 203.0.113.7 10.0.0.1 5555 80\r\n",
        b"PROXY TCP6 2001:db8::7 2001:db8::1 5555 80\r\n",
        &version_2(([203, 0, 113, 9], 5555), ([10, 0, 0, 1], 80)),
    ];
    for (header, client) in
        headers.into_iter().zip(["203.0.113.7:5555", "[2001:db8::7]:5555", "203.0.113.9:5555"])
    {
        let mut peer = lb.client();
        peer.send([header, b"hello"].concat());
        peer.shutdown_write();
        let mut session = server.accept();
        session.expect("hello");
        session.expect_eof();
        drop(session);
        peer.expect_eof();
        lb.session_of(client.parse().unwrap());
    }
}

#[test]
fn a_proxy_header_from_elsewhere_is_just_bytes() {
    let server = Server::listen();
    let from = json!({"peek": "none", "accept_proxy": {"from": ["127.0.0.1/32"]}});
    let lb = configured(&server.address(), &from, &json!({}));
    let mut client = Peer::connect_from("127.0.0.2", lb.address());
    client.send("PROXY TCP4 203.0.113.7 10.0.0.1 5555 80\r\n");
    server.accept().expect("PROXY TCP4 203.0.113.7 10.0.0.1 5555 80\r\n");
}

#[test]
fn a_missing_proxy_header_from_a_listed_network_is_refused() {
    let server = HttpServer::named("s1");
    let from = json!({"peek": "http", "accept_proxy": {"from": ["127.0.0.0/8"]}});
    let lb = configured(&server.address(), &from, &json!({}));
    let mut client = lb.client();
    client.send(get("/", &[]));
    client.expect_closed();
    drop(client);
    assert_eq!(lb.session().get("reason"), "proxy_malformed");
    assert_eq!(server.accepted(), 0);
}

#[test]
fn a_proxy_header_may_stand_before_a_head_that_is_cut_anywhere() {
    let server = HttpServer::named("s1");
    let from = json!({"peek": "http", "accept_proxy": {"from": ["127.0.0.0/8"]}});
    let forwarded = json!({"forwarded": "x-forwarded-for"});
    let lb = configured(&server.address(), &from, &forwarded);
    let request = "PROXY TCP4 203.0.113.7 10.0.0.1 5555 80\r\n".to_owned() + &get("/", &[]);
    for cut in 1..request.len() {
        let mut client = lb.client();
        client.send(&request[..cut]);
        assert!(!client.is_readable());
        client.send(&request[cut..]);
        assert_eq!(client.response().text(), "s1");
        assert_eq!(server.request().header("x-forwarded-for"), Some("203.0.113.7"));
    }
}

#[test]
fn the_server_gets_a_proxy_header_of_version_1() {
    let server = Server::listen();
    let lb = configured(&server.address(), &json!({}), &json!({"send_proxy": "v1"}));
    let mut client = lb.client();
    client.send("hello");
    let (from, to) = (client.address().port(), lb.address().port());
    server.accept().expect(format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\nhello"));
}

#[test]
fn the_server_gets_a_proxy_header_of_version_2() {
    let server = Server::listen();
    let lb = configured(&server.address(), &json!({}), &json!({"send_proxy": "v2"}));
    let mut client = lb.client();
    client.send("hello");
    let local = [127, 0, 0, 1];
    let header = version_2((local, client.address().port()), (local, lb.address().port()));
    let mut session = server.accept();
    session.expect(header);
    session.expect("hello");
}

#[test]
fn a_server_that_speaks_first_gets_its_proxy_header_at_once() {
    let server = Server::listen();
    let lb = configured(&server.address(), &json!({"peek": "none"}), &json!({"send_proxy": "v1"}));
    let mut client = lb.client();
    let (from, to) = (client.address().port(), lb.address().port());
    let mut session = server.accept();
    session.expect(format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\n"));
    session.send("220 ready\r\n");
    client.expect("220 ready\r\n");
}

#[test]
fn x_forwarded_for_is_appended_to_what_is_there() {
    let server = HttpServer::named("s1");
    let lb = configured(&server.address(), &json!({}), &json!({"forwarded": "append"}));
    lb.get("/", &["X-Forwarded-For: 192.0.2.1"]);
    let request = server.request();
    assert_eq!(request.headers("x-forwarded-for").join(", "), "192.0.2.1, 127.0.0.1");
    lb.get("/", &[]);
    let request = server.request();
    assert_eq!(request.headers("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
}

#[test]
fn x_forwarded_for_is_replaced_where_nobody_in_front_is_trusted() {
    let server = HttpServer::named("s1");
    let lb = configured(&server.address(), &json!({}), &json!({"forwarded": "replace"}));
    lb.get("/", &["X-Forwarded-For: 192.0.2.1", "x-forwarded-for: 192.0.2.2", "X-Other: 1"]);
    let request = server.request();
    assert_eq!(request.headers("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(request.header("x-other"), Some("1"));
}

#[test]
fn a_second_request_cannot_bring_a_forged_address() {
    let server = HttpServer::named("s1");
    let lb = configured(&server.address(), &json!({}), &json!({"forwarded": "replace"}));
    let mut client = lb.client();
    client.send(get("/", &[]) + &get("/", &["X-Forwarded-For: 192.0.2.1"]));
    assert_eq!(client.response().header("connection"), Some("close"));
    client.expect_closed();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_later_request_cannot_bring_a_forged_address_either() {
    let server = HttpServer::named("s1");
    let lb = configured(&server.address(), &json!({}), &json!({"forwarded": "replace"}));
    let mut client = lb.client();
    client.send(get("/", &[]));
    assert_eq!(client.response().header("connection"), Some("close"));
    // It may be refused by then, or be thrown away.
    let _ = client.write_all(get("/", &["X-Forwarded-For: 192.0.2.1"]).as_bytes());
    client.expect_closed();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn no_spelling_of_a_forged_address_gets_past_replace() {
    let server = HttpServer::named("s1");
    let lb = configured(&server.address(), &json!({}), &json!({"forwarded": "replace"}));
    let taken_out = [
        "X-Forwarded-For:192.0.2.1",
        "X-FORWARDED-FOR:\t192.0.2.1 \t",
        "x-forwarded-for: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\nx-Forwarded-for:",
        "X_Forwarded_For: 192.0.2.1\r\nX-Forwarded_For: 192.0.2.1\r\nx_forwarded-for: 1",
        "Connection: X-Forwarded-For, X-Forwarded-Proto\r\nX-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Proto: https\r\nX_FORWARDED_PROTO: https",
    ];
    for fields in taken_out {
        assert_eq!(lb.get("/", &[fields]).text(), "s1", "{fields}");
        let head = server.request().head.replace('_', "-");
        let forwarded =
            head.lines().filter(|line| line.to_ascii_lowercase().starts_with("x-forwarded-"));
        let expected = ["X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http"];
        let forwarded: Vec<_> = forwarded.collect();
        let same = |(line, expected): (&&str, &&str)| line.eq_ignore_ascii_case(expected);
        assert!(forwarded.len() == 2 && forwarded.iter().zip(&expected).all(same), "{head}");
        assert!(!head.to_ascii_lowercase().contains("connection: x-forwarded"), "{head}");
    }
    let served = server.requests().len();
    let refused = [
        "X-Forwarded-For : 192.0.2.1",
        "X-Forwarded-For\t: 192.0.2.1",
        " X-Forwarded-For: 192.0.2.1",
        "X: y\r\n X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-For:\r\n 192.0.2.1",
        "X: y\rX-Forwarded-For: 192.0.2.1",
        "X: y\nX-Forwarded-For: 192.0.2.1",
        "X-Forwarded-For\0: 192.0.2.1",
    ];
    for fields in refused {
        assert_eq!(lb.get("/", &[fields]).status, 400, "{}", fields.escape_debug());
    }
    assert_eq!(server.requests().len(), served, "a refused head reaches no server");
}

#[test]
fn a_denied_client_that_says_nothing_is_closed_at_once_whatever_is_awaited() {
    let server = HttpServer::named("s1");
    for peek in ["none", "http", "tls", "auto"] {
        for proxied in [false, true] {
            // Longer than the test waits for anything.
            let mut keys = json!({"peek": peek, "deny": ["127.0.0.3"], "peek_timeout_ms": 600_000});
            if proxied {
                keys["accept_proxy"] = json!({"from": ["127.0.0.0/8"]});
            }
            let lb = configured(&server.address(), &keys, &json!({}));
            let mut denied = Peer::connect_from("127.0.0.3", lb.address());
            denied.expect_closed();
            let address = denied.address();
            drop(denied);
            let line = lb.session_of(address);
            assert_eq!((line.get("reason"), line.number("bytes_up")), ("denied", 0), "{keys}");
        }
    }
    assert_eq!(server.accepted(), 0);
}

#[test]
fn denied_networks_are_closed_before_a_byte_is_read() {
    let server = HttpServer::named("s1");
    let lists = json!({"allow": ["127.0.0.0/24"], "deny": ["127.0.0.3/32"], "peek": "http"});
    let lb = configured(&server.address(), &lists, &json!({}));
    for (source, served) in [("127.0.0.1", true), ("127.0.0.3", false), ("127.0.1.1", false)] {
        let mut client = Peer::connect_from(source, lb.address());
        if served {
            client.send(get("/", &["Connection: close"]));
            assert_eq!(client.response().text(), "s1");
        } else {
            client.expect_closed();
        }
        let address = client.address();
        drop(client);
        let reason = lb.session_of(address);
        assert_eq!(reason.get("reason") == "denied", !served, "{source}");
    }
}

#[test]
fn the_address_of_an_accepted_proxy_header_is_what_source_looks_at() {
    let servers: Vec<_> = (1..=4).map(|n| HttpServer::named(&format!("s{n}"))).collect();
    let addresses: Vec<_> = servers.iter().map(HttpServer::address).collect();
    let lb = Ringway::configured(&json!({
        "workers": 2,
        "listeners": [{
            "name": "web", "bind": ["127.0.0.1:0"], "pool": "site", "peek": "none",
            "accept_proxy": {"from": ["127.0.0.0/8"]},
        }],
        "pools": {"site": {"sticky": "source", "servers": addresses}},
    }))
    .start();
    let mut used = std::collections::BTreeSet::new();
    for n in 1..=20 {
        let ask = || {
            let mut client = lb.client();
            client.send(format!("PROXY TCP4 203.0.113.{n} 10.0.0.1 5555 80\r\n{}", get("/", &[])));
            client.response().text()
        };
        let first = ask();
        assert_eq!(ask(), first);
        used.insert(first);
    }
    assert!(used.len() > 1, "every address at {used:?}");
}
