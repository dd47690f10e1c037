//! Sockets that a service manager makes and passes on.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;

use serde_json::{Value, json};

use crate::harness::{HttpServer, Peer, Ringway, eventually, free_port, get};

const PASSING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/passing.py");

fn file(binds: &[&str], server: &str) -> Value {
    let listener = |bind| json!({"bind": bind, "peek": "http"});
    let listeners: Vec<_> = binds.iter().map(listener).collect();
    json!({"workers": 2, "listeners": listeners, "pools": {"site": {"servers": [server]}}})
}

/// What becomes a program to which these are passed: kind, name, address.
fn passing<'a>(sockets: &[[&'a str; 3]]) -> Vec<&'a str> {
    let words = sockets.iter().flatten().copied();
    ["python3", PASSING].into_iter().chain(words).chain(["--"]).collect()
}

#[track_caller]
fn ask(mut client: Peer) -> String {
    client.send(get("/", &["Connection: close"]));
    client.response().text()
}

/// Sockets that listen on a port of this host (proc_net_tcp(5); state 0A).
fn listening(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc is there");
    let port = format!(":{port:04X}");
    let is_one = |line: &&str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&port)) && fields.nth(1) == Some("0A")
    };
    table.lines().filter(is_one).count()
}

fn at(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

#[test]
fn passed_sockets_are_found_by_name_and_by_address_and_shared_by_all_workers() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("socket");
    let path = path.to_str().unwrap();
    let (server, port) = (HttpServer::named("s1"), free_port());
    let (address, unix) = (at(port), format!("unix:{path}"));
    let sockets = [
        ["tcp", "web", "127.0.0.1:0"],
        ["tcp", "web", "127.0.0.1:0"],
        ["tcp", "other", &address],
        ["unix", "local", path],
    ];
    let binds = ["systemd:web", &address, &unix];
    let setup = Ringway::configured(&file(&binds, &server.address()));
    let lb = setup.through(passing(&sockets)).start();
    let own = lb.log();
    let named = |line: &&String| line.contains("listening listener=listener1 ");
    let named: Vec<_> = own.iter().filter(named).collect();
    assert_eq!(named.len(), 2, "both of that name: {own:?}");
    for line in named {
        let address = line.split("address=").nth(1).expect("an address").trim();
        for _ in 0..10 {
            assert_eq!(ask(Peer::connect(address.parse().unwrap())), "s1");
        }
    }
    for _ in 0..10 {
        assert_eq!(ask(Peer::connect(address.parse().unwrap())), "s1");
        assert_eq!(ask(Peer::connect_unix(Path::new(path))), "s1");
    }
    assert_eq!(listening(port), 1, "one socket, and none of ringway's own");
    assert!(!lb.said("clients wait in vain"));
    drop(lb);
    assert!(Path::new(path).exists(), "its path is not ringway's to remove");
}

#[test]
fn a_passed_socket_outlives_the_listener_that_binds_it() {
    let (server, port) = (HttpServer::named("s1"), free_port());
    let address = at(port);
    let sockets = [["tcp", "web", address.as_str()]];
    let with = file(&["systemd:web", "127.0.0.1:0"], &server.address());
    let without = file(&["127.0.0.1:0"], &server.address());
    let lb = Ringway::configured(&with).through(passing(&sockets)).start();
    let address: SocketAddr = address.parse().unwrap();
    assert_eq!(ask(Peer::connect(address)), "s1");
    assert!(lb.reload(&with));
    assert_eq!(ask(Peer::connect(address)), "s1");
    assert_eq!(listening(port), 1);

    assert!(lb.reload(&without));
    assert!(lb.said("clients wait in vain"), "nobody serves it");
    // Longer than a listener of ringway's own has until it is closed.
    eventually("workers that have let go of it", || {
        let mut client = TcpStream::connect(address).ok()?;
        client.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        std::io::Write::write_all(&mut client, get("/", &[]).as_bytes()).ok()?;
        std::io::Read::read(&mut client, &mut [0]).is_err().then_some(())
    });
    let mut waiting = Peer::connect(address);
    waiting.send(get("/", &["Connection: close"]));
    assert!(lb.reload(&with));
    assert_eq!(waiting.response().text(), "s1", "who waited is served, and was not reset");
}

/// What is passed, what is bound, and what is said.
type Refusal<'a> = (&'a [[&'a str; 3]], &'a [&'a str], &'a str);

#[test]
fn what_cannot_be_listened_on_is_refused_and_named() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("socket");
    let web = [["unix", "web", path.to_str().unwrap()]];
    let rows: [Refusal<'_>; 5] = [
        (
            &[["udp", "dns", "127.0.0.1:0"]],
            &["127.0.0.1:0"],
            "LISTEN_FDS: descriptor 3 (dns): must be a listening TCP or unix stream socket, is a \
             datagram socket",
        ),
        (
            &[["connection", "inetd", "127.0.0.1:0"]],
            &["127.0.0.1:0"],
            "is a connection (its unit must say Accept=no)",
        ),
        (&[], &["systemd:web"], "listener listener1: cannot listen on systemd:web: the service"),
        (
            &web,
            &["systemd:wbe"],
            "listener listener1: cannot listen on systemd:wbe: passed are web",
        ),
        (
            &[["tcp", "web", "127.0.0.1:0"]],
            &["systemd:web:x"],
            "listeners[0].bind: the name of passed sockets must have",
        ),
    ];
    for (sockets, binds, expected) in rows {
        let setup = Ringway::configured(&file(binds, "127.0.0.1:1"));
        let (status, said) = setup.through(passing(sockets)).refused();
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn one_socket_serves_one_listener() {
    let address = at(free_port());
    let sockets = [["tcp", "web", address.as_str()]];
    let setup = Ringway::configured(&file(&["systemd:web", &address], "127.0.0.1:1"));
    let (_, said) = setup.through(passing(&sockets)).refused();
    assert!(said.contains("this socket was passed once, and is bound twice"), "{said}");
}

#[test]
fn systemd_passes_its_sockets() {
    let server = HttpServer::named("s1");
    let address = at(free_port());
    let to: SocketAddr = address.parse().unwrap();
    // It starts a program when the first client has come.
    let first = thread::spawn(move || eventually("a socket", || TcpStream::connect(to).ok()));
    let through = ["systemd-socket-activate", "--listen", &address, "--fdname", "web"];
    let setup = Ringway::configured(&file(&["systemd:web"], &server.address()));
    let _lb = setup.through(through).start();
    assert_eq!(ask(Peer::tcp(first.join().unwrap())), "s1");
    assert_eq!(ask(Peer::connect(to)), "s1");
}
