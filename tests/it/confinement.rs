//! Who ringway runs as and what it may still do, as the kernel sees it.

use std::net::TcpListener;
use std::os::unix::fs::chown;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{HttpServer, Peer, Ringway, Server, eventually, get};

/// The user of these tests: no account needs to be made for it.
const NOBODY: u32 = 65_534;

/// What only root can show is left out for others, and said.
fn is_root(test: &str) -> bool {
    let root = nix::unistd::Uid::effective().is_root();
    if !root {
        println!("{test}: left out, needs root");
    }
    root
}

/// One listener, and these keys beside it.
fn file(bind: &str, server: &str, keys: &Value) -> Value {
    let mut file = json!({
        "workers": 2,
        "listeners": [{"bind": bind, "peek": "http"}],
        "pools": {"site": {"servers": [server]}},
    });
    file.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    file
}

/// A port that needs CAP_NET_BIND_SERVICE, on an address of this host that nobody else uses.
fn privileged_address() -> String {
    let addresses = (600..1023).map(|port| format!("127.77.0.1:{port}"));
    let mut free = addresses.filter(|address| TcpListener::bind(address).is_ok());
    free.next().expect("a free port below 1024")
}

#[test]
fn root_becomes_a_user_who_may_bind_low_ports_and_nothing_else() {
    if !is_root("root_becomes_a_user_who_may_bind_low_ports_and_nothing_else") {
        return;
    }
    let server = HttpServer::named("s1");
    let keys = json!({"user": NOBODY, "group": NOBODY});
    let address = privileged_address();
    let lb = Ringway::configured(&file(&address, &server.address(), &keys)).start();
    let threads = lb.threads();
    assert!(threads.len() >= 3, "the control thread and two workers: {threads:?}");
    let id = NOBODY;
    for thread in threads {
        assert_eq!(thread["Uid"], format!("{id}\t{id}\t{id}\t{id}"), "{thread:?}");
        assert_eq!(thread["Gid"], format!("{id}\t{id}\t{id}\t{id}"), "{thread:?}");
        assert_eq!(thread["Groups"].trim(), id.to_string(), "{thread:?}");
        // CAP_NET_BIND_SERVICE is bit 10 (linux/capability.h).
        assert_eq!(thread["CapEff"], "0000000000000400", "{thread:?}");
        assert_eq!(thread["CapPrm"], "0000000000000400", "{thread:?}");
        for none in ["CapInh", "CapAmb", "CapBnd"] {
            assert_eq!(thread[none], "0000000000000000", "{none} of {thread:?}");
        }
        assert_eq!(thread["NoNewPrivs"], "1", "{thread:?}");
        assert_eq!(thread["Seccomp"], "2", "{thread:?}");
    }
    for _ in 0..10 {
        assert_eq!(lb.get("/", &["Connection: close"]).text(), "s1");
    }
    let confined = lb.event("confined");
    assert_eq!(confined["capabilities"], "cap_net_bind_service");
    assert_eq!(confined["no_new_privs"], "true");
    assert_eq!(confined["seccomp"], "on");
    let rings = if lb.event("ready")["engine"] == "epoll" { "none" } else { "workers" };
    assert_eq!(confined["restricted_rings"], rings);
}

#[test]
fn a_user_makes_and_removes_its_unix_sockets() {
    if !is_root("a_user_makes_and_removes_its_unix_sockets") {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    chown(files.path(), Some(NOBODY), None).unwrap();
    let path = files.path().join("ringway.sock");
    let server = HttpServer::named("s1");
    let bind = format!("unix:{}", path.display());
    let keys = json!({"user": "nobody"});
    let lb = Ringway::configured(&file(&bind, &server.address(), &keys)).start();
    let mut client = Peer::connect_unix(&path);
    client.send(get("/", &["Connection: close"]));
    assert_eq!(client.response().text(), "s1");
    drop(client);
    drop(lb);
    assert!(!path.exists(), "it is removed at the end");
}

#[test]
fn a_reload_finds_names_and_binds_low_ports_as_a_user_in_the_sandbox() {
    if !is_root("a_reload_finds_names_and_binds_low_ports_as_a_user_in_the_sandbox") {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    chown(files.path(), Some(NOBODY), None).unwrap();
    let (path, socket) = (files.path().join("ringway.json"), files.path().join("ringway.sock"));
    let servers = ["s1", "s2"].map(HttpServer::named);
    let keys = json!({"user": NOBODY, "group": NOBODY});
    let first = privileged_address();
    let bind = format!("unix:{}", socket.display());
    std::fs::write(&path, file(&bind, &servers[0].address(), &keys).to_string()).unwrap();
    let lb = Ringway::run(&path).start();
    let port = servers[1].address().rsplit(':').next().unwrap().to_owned();
    let again = file(&first, &format!("localhost:{port}"), &keys);
    std::fs::write(&path, again.to_string()).unwrap();
    lb.signal(Signal::SIGHUP);
    eventually("the reload", || lb.said("INFO reloaded").then_some(()));
    let mut client = Peer::connect(first.parse().unwrap());
    client.send(get("/", &["Connection: close"]));
    assert_eq!(client.response().text(), "s2");
    assert!(!socket.exists(), "the listener that left has removed its path");
}

#[test]
fn without_a_user_root_stays_root_and_is_told() {
    let server = HttpServer::named("s1");
    let lb = Ringway::to([server.address()]).with(["--peek", "http"]).start();
    let own = nix::unistd::Uid::effective();
    for thread in lb.threads() {
        assert!(thread["Uid"].starts_with(&format!("{own}\t")), "{thread:?}");
        assert_eq!((&*thread["NoNewPrivs"], &*thread["Seccomp"]), ("1", "2"), "{thread:?}");
    }
    assert_eq!(lb.get("/", &[]).text(), "s1");
    let warned = lb.said("WARN runs as root");
    assert_eq!(warned, own.is_root());
}

#[test]
fn without_a_sandbox_only_new_privileges_are_refused() {
    let server = HttpServer::named("s1");
    let lb = Ringway::to([server.address()]).with(["--peek", "http", "--no-sandbox"]).start();
    for thread in lb.threads() {
        assert_eq!((&*thread["NoNewPrivs"], &*thread["Seccomp"]), ("1", "0"), "{thread:?}");
    }
    assert_eq!(lb.get("/", &[]).text(), "s1");
    let confined = lb.event("confined");
    for what in ["landlock", "seccomp", "restricted_rings"] {
        assert_eq!(confined[what], "off", "{what}");
    }
}

#[test]
fn a_user_or_group_that_is_not_there_is_refused_with_its_key() {
    let server = Server::listen();
    let bind = "127.0.0.1:0";
    let rows = [
        (json!({"user": "no-such-user"}), "user: there is no user \"no-such-user\""),
        (
            json!({"user": "root", "group": "no-such-group"}),
            "group: there is no group \"no-such-group\"",
        ),
        (json!({"user": 123_456}), "group: must be set: user 123456 has no name here"),
    ];
    for (keys, expected) in rows {
        let (status, said) = Ringway::configured(&file(bind, &server.address(), &keys)).refused();
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn who_is_not_root_can_be_no_other_user() {
    if !is_root("who_is_not_root_can_be_no_other_user") {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    chown(files.path(), Some(NOBODY), None).unwrap();
    let path = files.path().join("ringway.json");
    let start = |keys: Value| {
        let server = "127.0.0.1:1";
        std::fs::write(&path, file("127.0.0.1:0", server, &keys).to_string()).unwrap();
        Ringway::run(&path).under(NOBODY)
    };
    let (status, said) = start(json!({"user": "root"})).refused();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.starts_with("user: only root can become \"root\""), "{said}");
    let (_, said) = start(json!({"user": NOBODY, "group": 0})).refused();
    assert!(said.starts_with("group: only root can become 0"), "{said}");
    let lb = start(json!({"user": NOBODY})).start();
    assert_eq!(lb.event("confined")["capabilities"], "none");
}
