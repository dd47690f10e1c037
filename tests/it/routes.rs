//! Host and SNI lead to pools.

use serde_json::json;

use crate::harness::{HttpServer, Peer, Ringway, Server, client_hello, get};

struct Hosts {
    lb: Ringway,
    _servers: [HttpServer; 4],
}

fn hosts() -> Hosts {
    let servers = ["exact", "short", "long", "default"].map(HttpServer::named);
    let [exact, short, long, default] = servers.each_ref().map(HttpServer::address);
    let lb = Ringway::configured(&json!({
        "workers": 1,
        "listeners": [{
            "name": "web", "bind": ["127.0.0.1:0"], "pool": "default",
            "routes": [
                {"host": "chat.example.com", "pool": "exact"},
                {"host": "*.example.com", "pool": "short"},
                {"host": "*.eu.example.com", "pool": "long"},
            ],
        }],
        "pools": {
            "exact": {"servers": [exact]}, "short": {"servers": [short]},
            "long": {"servers": [long]}, "default": {"servers": [default]},
        },
    }))
    .start();
    Hosts { lb, _servers: servers }
}

#[test]
fn hosts_match_exactly_then_by_longest_wildcard_then_default() {
    let hosts = hosts();
    for (host, pool) in [
        ("chat.example.com", "exact"),
        ("CHAT.Example.COM", "exact"),
        ("chat.example.com:8080", "exact"),
        ("chat.example.com.", "exact"),
        ("www.example.com", "short"),
        ("a.b.example.com", "short"),
        ("www.eu.example.com", "long"),
        ("example.com", "default"),
        ("chat.example.org", "default"),
        ("127.0.0.1", "default"),
    ] {
        let answer = hosts.lb.get("/", &[&format!("Host: {host}")]);
        assert_eq!(answer.text(), pool, "{host}");
    }
}

#[test]
fn an_absolute_target_and_the_host_field_must_agree() {
    let hosts = hosts();
    let answer = hosts.lb.get("http://chat.example.com/x", &["Host: Chat.example.com:80"]);
    assert_eq!(answer.text(), "exact");
    let answer = hosts.lb.get("http://chat.example.com/x", &["Host: other.example"]);
    assert_eq!(answer.status, 400);
}

#[test]
fn a_request_of_http_1_0_without_host_goes_to_the_default() {
    let hosts = hosts();
    let mut client = hosts.lb.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().text(), "default");
}

#[test]
fn with_several_pools_each_request_makes_its_own_choice() {
    let hosts = hosts();
    let mut client = hosts.lb.client();
    let first = get("/", &["Host: chat.example.com"]);
    client.send(first + &get("/", &["Host: www.example.com"]));
    let answer = client.response();
    assert_eq!(answer.text(), "exact");
    assert_eq!(answer.header("connection"), Some("close"));
    client.expect_closed();
}

fn tls_routes(servers: [&Server; 4]) -> Ringway {
    let [chat, wild, alpn, default] = servers.map(Server::address);
    Ringway::configured(&json!({
        "workers": 1,
        "listeners": [{
            "name": "tls", "bind": ["127.0.0.1:0"], "peek": "tls", "pool": "default",
            "routes": [
                {"host": "chat.example.com", "pool": "chat"},
                {"host": "chat.example.com", "alpn": "acme-tls/1", "pool": "alpn"},
                {"host": "*.example.com", "pool": "wild"},
            ],
        }],
        "pools": {
            "chat": {"servers": [chat]}, "wild": {"servers": [wild]},
            "alpn": {"servers": [alpn]}, "default": {"servers": [default]},
        },
    }))
    .start()
}

#[test]
fn server_names_and_protocols_of_tls_lead_to_pools_undecrypted() {
    let [chat, wild, alpn, default] = std::array::from_fn(|_| Server::listen());
    let lb = tls_routes([&chat, &wild, &alpn, &default]);
    let cases: [(Option<&str>, &[&str], &Server); 6] = [
        (Some("chat.example.com"), &[], &chat),
        (Some("Chat.Example.com"), &["h2", "http/1.1"], &chat),
        (Some("chat.example.com"), &["acme-tls/1"], &alpn),
        (Some("www.example.com"), &["acme-tls/1"], &wild),
        (Some("example.org"), &[], &default),
        (None, &[], &default),
    ];
    for (sni, protocols, server) in cases {
        let hello = client_hello(sni, protocols);
        let mut client = lb.client();
        client.send(&hello);
        let mut session = server.accept();
        session.expect(&hello);
        session.send(b"\x15\x03\x03\0\x02\x02\x28");
        client.expect(b"\x15\x03\x03\0\x02\x02\x28");
    }
}

#[test]
fn auto_knows_http_tls_and_silence_apart() {
    let servers: [Server; 3] = std::array::from_fn(|_| Server::listen());
    let [web, tls, default] = servers.each_ref().map(Server::address);
    let lb = Ringway::configured(&json!({
        "workers": 1,
        "listeners": [{
            "name": "any", "bind": ["127.0.0.1:0"], "peek": "auto", "pool": "default",
            "keep_alive": "trust", "auto_timeout_ms": 150,
            "routes": [
                {"host": "web.example", "pool": "web"}, {"host": "tls.example", "pool": "tls"},
            ],
        }],
        "pools": {
            "web": {"servers": [web]}, "tls": {"servers": [tls]}, "default": {"servers": [default]},
        },
    }))
    .start();
    let [web, tls, default] = &servers;
    let exchange = |bytes: &[u8], server: &Server| {
        let mut client: Peer = lb.client();
        client.send(bytes);
        server.accept().expect(bytes);
    };
    exchange(get("/", &["Host: web.example"]).as_bytes(), web);
    exchange(&client_hello(Some("tls.example"), &[]), tls);
    exchange(b"SSH-2.0-client\r\n", default);
    let mut silent = lb.client();
    let mut session = default.accept();
    session.send("220 I speak first\r\n");
    silent.expect("220 I speak first\r\n");
    silent.send("EHLO\r\n");
    session.expect("EHLO\r\n");
}
