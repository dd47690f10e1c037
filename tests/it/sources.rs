//! From which addresses servers are connected to, where one address has few ports.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::json;

use crate::harness::{Peer, Ringway, Server, alone};

/// 20 ports for each pair of source and destination.
const FEW_PORTS: &[(&str, &str)] = &[("ipv4/ip_local_port_range", "40000 40019")];
const PORTS: usize = 20;

/// Sessions that stand, each with a client's address of its own, and both their ends.
fn sessions(lb: &Ringway, server: &Server, count: usize) -> Vec<(Peer, Peer)> {
    let session = |number| {
        let mut client = Peer::connect_from(&format!("127.1.0.{}", number + 1), lb.address());
        client.send("up");
        let mut session = server.accept();
        session.expect("up");
        session.send("down");
        client.expect("down");
        (client, session)
    };
    (0..count).map(session).collect()
}

fn sources(sessions: &[(Peer, Peer)]) -> BTreeMap<IpAddr, usize> {
    let mut sources = BTreeMap::new();
    for (_, session) in sessions {
        *sources.entry(session.remote_address().ip()).or_default() += 1;
    }
    sources
}

/// All end, the servers' side first, so that no port of ringway's stays behind.
fn end(sessions: Vec<(Peer, Peer)>) {
    for (mut client, session) in sessions {
        drop(session);
        client.expect_eof();
    }
}

#[test]
fn a_loopback_server_has_more_sessions_than_one_address_has_ports() {
    alone(FEW_PORTS, || {
        let server = Server::listen_on("127.0.0.1:5000");
        let lb = Ringway::listening_on("127.0.0.1:8080", [server.address()])
            .with(["--peek", "none"])
            .start();
        let sessions = sessions(&lb, &server, 5 * PORTS);
        let first: IpAddr = "127.0.0.1".parse().unwrap();
        let early = sources(&sessions[..PORTS]);
        assert_eq!(early, BTreeMap::from([(first, PORTS)]), "servers have rules for 127.0.0.1");
        let all = sources(&sessions);
        assert_eq!(all[&first], PORTS);
        assert!(all.len() > 4 && all.values().all(|&count| count <= PORTS), "{all:?}");
        end(sessions);
        lb.wait_for_sessions(5 * PORTS);
        for session in lb.sessions() {
            assert_eq!(session.number("retries"), 0, "no server is to blame: {session:?}");
        }
    });
}

#[test]
fn listed_sources_are_taken_in_turn() {
    alone(FEW_PORTS, || {
        let server = Server::listen_on("127.0.0.1:5000");
        let lb = Ringway::configured(&json!({
            "workers": 1,
            "listeners": [{"bind": "127.0.0.1:8080"}],
            "pools": {"app": {"servers": [server.address()],
                              "source_addresses": ["127.0.0.5", "127.0.0.6"]}},
        }))
        .start();
        let listed = ["127.0.0.5", "127.0.0.6"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let sessions = sessions(&lb, &server, 2 * PORTS);
        assert_eq!(sources(&sessions), BTreeMap::from(listed.map(|ip| (ip, PORTS))));
        end(sessions);
    });
}

#[test]
fn who_finds_no_port_waits_for_one() {
    alone(FEW_PORTS, || {
        let server = Server::listen_on("[::1]:5000");
        let lb = Ringway::configured(&json!({
            "workers": 1,
            "listeners": [{"bind": "127.0.0.1:8080"}],
            "pools": {"app": {"servers": [server.address()], "connect_timeout_ms": 60000}},
        }))
        .start();
        let sessions = sessions(&lb, &server, PORTS);
        let mut late = Peer::connect_from("127.1.1.1", lb.address());
        late.send("late");
        assert!(server.try_accept().is_none(), "there is no port");
        end(sessions);
        let mut session = server.accept();
        session.expect("late");
        end(vec![(late, session)]);
        lb.wait_for_sessions(PORTS + 1);
        assert!(lb.sessions().iter().all(|session| session.get("retries") == "0"));
    });
}

#[test]
fn a_source_that_is_not_this_hosts_is_refused_at_the_start() {
    let (status, said) = Ringway::configured(&json!({
        "listeners": [{"bind": "127.0.0.1:0"}],
        "pools": {"app": {"servers": ["10.0.0.1:80"], "source_addresses": ["192.0.2.1"]}},
    }))
    .refused();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("pools.app.source_addresses: 192.0.2.1: this host"), "{said}");
}
