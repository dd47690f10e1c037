//! Servers that may have no more sessions, and clients that wait for a place.

use std::io::Read;

use serde_json::{Value, json};

use crate::harness::{Peer, Ringway, Server, eventually, get};

/// One server with this limit. One worker accepts clients in the order of their coming.
fn configuration(server: &Server, limit: u32, peek: &str, more: &Value) -> Value {
    let servers = json!([{"address": server.address(), "max_connections": limit}]);
    let mut pool = json!({"servers": servers});
    for (key, value) in more.as_object().expect("an object") {
        pool[key] = value.clone();
    }
    json!({
        "workers": 1,
        "listeners": [{"bind": "127.0.0.1:0", "peek": peek}],
        "pools": {"app": pool},
    })
}

/// A client that has said who it is, wherever that waits.
fn client(lb: &Ringway, name: &str) -> Peer {
    let mut client = lb.client();
    client.send(name);
    client
}

fn expect_session(server: &Server, name: &str) -> Peer {
    let mut session = server.accept();
    session.expect(name);
    session
}

#[test]
fn clients_beyond_the_limit_of_a_server_are_served_in_order_as_places_become_free() {
    let server = Server::listen();
    let lb = Ringway::configured(&configuration(&server, 2, "none", &json!({}))).start();
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut clients: Vec<_> = names.iter().map(|name| client(&lb, name)).collect();
    let mut sessions = vec![expect_session(&server, "a"), expect_session(&server, "b")];
    for (over, next) in names[2..].iter().enumerate() {
        assert!(server.try_accept().is_none(), "two are two");
        drop((clients.remove(0), sessions.remove(0)));
        lb.wait_for_sessions(over + 1);
        sessions.push(expect_session(&server, next));
    }
    for (client, session) in clients.iter_mut().zip(&mut sessions) {
        session.send("served");
        client.expect("served");
    }
    drop((clients, sessions));
    lb.wait_for_sessions(6);
    assert!(lb.sessions().iter().all(|session| session.get("retries") == "0"));
}

#[test]
fn beyond_the_queue_http_is_answered_at_once_and_in_it_after_its_time() {
    let server = Server::listen();
    for (queue, timeout_ms, reasons) in [
        (1, 600_000, ["queue_full", "queue_full"]),
        (0, 600_000, ["queue_full", "queue_full"]),
        (2, 200, ["queue_timeout", "queue_timeout"]),
    ] {
        let more = json!({"queue_max": queue, "queue_timeout_ms": timeout_ms});
        let lb = Ringway::configured(&configuration(&server, 1, "http", &more)).start();
        let first = client(&lb, &get("/first", &[]));
        let mut session = server.accept();
        session.head();
        let count = reasons.len() + usize::from(queue == 1);
        let mut clients: Vec<_> = (0..count).map(|_| client(&lb, &get("/", &[]))).collect();
        for reason in reasons {
            let at = eventually("an answer", || clients.iter().position(Peer::is_readable));
            let mut refused = clients.swap_remove(at);
            let answer = refused.response();
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
            let address = refused.address();
            refused.expect_eof();
            drop(refused);
            assert_eq!(lb.session_of(address).get("reason"), reason);
        }
        drop((first, session));
        // Who still waits is served.
        for _ in clients {
            server.accept().head();
        }
    }
}

#[test]
fn a_client_that_resets_while_it_waits_leaves_its_place_to_the_next() {
    let server = Server::listen();
    let more = json!({"queue_max": 1, "queue_timeout_ms": 600_000});
    let lb = Ringway::configured(&configuration(&server, 1, "none", &more)).start();
    let first = client(&lb, "first");
    let session = expect_session(&server, "first");
    let waits = client(&lb, "waits");
    // The queue is known to have one by turning the next away.
    let refused = lb.client();
    let address = refused.address();
    assert_eq!(lb.session_of(address).get("reason"), "queue_full");
    let address = waits.address();
    waits.reset();
    assert_eq!(lb.session_of(address).get("reason"), "client_reset");
    let next = client(&lb, "next");
    let refused = lb.client();
    assert_eq!(lb.session_of(refused.address()).get("reason"), "queue_full");
    drop((first, session));
    drop((expect_session(&server, "next"), next));
}

#[test]
fn a_reload_that_raises_the_limit_lets_in_who_waits() {
    let server = Server::listen();
    let more = json!({"queue_timeout_ms": 600_000});
    let lb = Ringway::configured(&configuration(&server, 1, "none", &more)).start();
    let clients = ["a", "b", "c", "d"].map(|name| client(&lb, name));
    let mut sessions = vec![expect_session(&server, "a")];
    assert!(lb.reload(&configuration(&server, 3, "none", &more)));
    sessions.extend(["b", "c"].map(|_| server.accept()));
    assert!(server.try_accept().is_none(), "three are three");
    assert!(lb.reload(&configuration(&server, 2, "none", &json!({"queue_max": 0}))));
    let mut late = lb.client();
    late.expect_closed();
    drop((clients, sessions));
}

#[test]
fn without_a_key_any_server_with_room_serves() {
    let servers = [Server::listen(), Server::listen()];
    let lb = Ringway::configured(&json!({
        "workers": 2,
        "listeners": [{"bind": "127.0.0.1:0", "peek": "none"}],
        "pools": {"app": {
            "max_connections_per_server": 3,
            "connects_in_flight_max": 2,
            "servers": [{"address": servers[0].address(), "max_connections": 1},
                        servers[1].address()],
        }},
    }))
    .start();
    let clients = [(); 4].map(|()| client(&lb, "up"));
    let one = expect_session(&servers[0], "up");
    let three = [(); 3].map(|()| expect_session(&servers[1], "up"));
    let late = client(&lb, "late");
    assert!(servers.iter().all(|server| server.try_accept().is_none()));
    drop((clients, one, three));
    let served = eventually("a place", || servers.iter().find_map(Server::try_accept));
    drop((late, served));
}

#[test]
fn no_more_connects_are_in_flight_than_a_pool_may_have() {
    let (server, _waiting) = Server::listen_full();
    let more = json!({"connects_in_flight_max": 2, "connect_timeout_ms": 600_000,
        "queue_timeout_ms": 600_000, "eject": false});
    let mut file = configuration(&server, 100, "none", &more);
    file["admin"] = json!({"bind": "127.0.0.1:0"});
    let lb = Ringway::configured(&file).start();
    let admin = lb.admin();
    let pool = || {
        let pool = admin.get("/v1/pools/app");
        let count = |name: &str| pool[name].as_u64().expect("a number");
        (count("connecting"), count("queued"))
    };
    let mut clients: Vec<_> = ["a", "b", "c", "d", "e"].map(|name| client(&lb, name)).into();
    eventually("two to be on their way", || (pool() == (2, 3)).then_some(()));
    drop(server.accept());
    for _ in 0..clients.len() {
        let mut session = server.accept();
        assert!(pool().0 <= 2, "{:?}", pool());
        let mut name = [0];
        session.read_exact(&mut name).expect("a name");
        session.send(name);
        let at = usize::from(name[0] - b'a');
        clients[at].expect(name);
    }
    assert_eq!(pool(), (0, 0));
}
