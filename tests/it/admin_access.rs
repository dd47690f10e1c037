//! Who may ask at the admin endpoint, and how much.

use std::os::unix::fs::{PermissionsExt, chown};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::admin::{file, named, path};
use crate::harness::{Admin, HttpServer, Peer, Process, Ringway, closed_port, eventually};

#[test]
fn pages_of_other_origins_can_do_nothing() {
    let server = named("one");
    let lb = Ringway::configured(&file(&json!([server.address()]))).start();
    let admin = lb.admin();
    let change = format!("PATCH {}", path(&server.address()));
    let (local, json) = ("Host: localhost:9080", "Content-Type: application/json");
    let body = r#"{"weight": 2}"#;
    let rows: [(&str, &[&str], u16); 7] = [
        ("GET /v1/status", &["Host: 127.0.0.1:9080"], 200),
        ("GET /v1/status", &["Host: [::1]"], 200),
        ("GET /v1/status", &["Host: rebound.example.com:9080"], 403),
        (&change, &[local, json], 200),
        (&change, &["Host: rebound.example.com", json], 403),
        (&change, &[local, "Content-Type: text/plain"], 415),
        (&change, &[local], 415),
    ];
    for (line, fields, status) in rows {
        let response = admin.raw(line, fields, body);
        assert_eq!(response.status, status, "{line} {fields:?}: {}", response.text());
        assert_eq!(response.header("access-control-allow-origin"), None);
    }
    let preflight = admin.raw("OPTIONS /v1/reload", &[local, json], "");
    assert_eq!(preflight.status, 405);
}

#[test]
fn a_token_is_asked_of_everybody() {
    let server = named("one");
    let files = tempfile::tempdir().unwrap();
    let secret = files.path().join("token");
    std::fs::write(&secret, "0123456789abcdef\n").unwrap();
    let mut file = file(&json!([server.address()]));
    file["admin"] = json!({"bind": "0.0.0.0:0", "token_file": secret});
    let lb = Ringway::configured(&file).start();
    let port = lb.event("admin")["address"].rsplit(':').next().unwrap().to_owned();
    let admin = Admin::at(&format!("127.0.0.1:{port}"));
    let rows: [(&str, &[&str], u16); 6] = [
        ("GET /v1/status", &["Host: lb.example.com"], 401),
        ("GET /v1/status", &["Host: x", "Authorization: Bearer 0123456789abcdeX"], 401),
        ("GET /v1/status", &["Host: x", "Authorization: Basic 0123456789abcdef"], 401),
        ("GET /v1/status", &["Host: x", "Authorization: Bearer 0123456789abcdef"], 200),
        ("GET /healthz", &["Host: x"], 200),
        ("GET /readyz", &["Host: x"], 200),
    ];
    for (line, fields, status) in rows {
        let response = admin.raw(line, fields, "");
        assert_eq!(response.status, status, "{line} {fields:?}: {}", response.text());
        let asks = response.header("www-authenticate");
        assert_eq!(asks, (status == 401).then_some("Bearer"));
    }
    assert_eq!(admin.with_token("0123456789abcdef").get("/v1/status")["edition"], 1);
}

#[test]
fn a_token_file_that_is_no_good_is_refused_with_its_key() {
    let server = named("one");
    let files = tempfile::tempdir().unwrap();
    let secret = files.path().join("token");
    let mut file = file(&json!([server.address()]));
    file["admin"] = json!({"bind": "127.0.0.1:0", "token_file": secret});
    let (status, said) = Ringway::configured(&file).refused();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.starts_with(&format!("admin.token_file: {}: ", secret.display())), "{said}");
    std::fs::write(&secret, "short").unwrap();
    let (_, said) = Ringway::configured(&file).refused();
    assert!(said.contains("must be 16 to 256 printable ASCII characters"), "{said}");
}

#[test]
fn a_unix_socket_is_for_user_and_group_and_names_who_asks() {
    let server = named("one");
    let files = tempfile::tempdir().unwrap();
    let socket = files.path().join("admin.sock");
    // Left behind by somebody who was killed.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let mut file = file(&json!([server.address()]));
    file["admin"]["bind"] = json!(format!("unix:{}", socket.display()));
    let mut lb = Ringway::configured(&file).start();
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let admin = lb.admin();
    let response = admin.raw("GET /v1/status", &["Host: anything"], "");
    assert_eq!(response.status, 200, "no browser comes this way");
    admin.must("PATCH", &path(&server.address()), &json!({"weight": 2}));
    let who = format!("by=\"unix uid={} pid={}\"", nix::unistd::geteuid(), std::process::id());
    lb.wait_for_line("changed", &who);
    lb.stop();
    assert!(!socket.exists(), "it is removed at the end");
}

#[test]
fn a_user_in_the_sandbox_serves_and_removes_it() {
    if !nix::unistd::Uid::effective().is_root() {
        println!("a_user_in_the_sandbox_serves_and_removes_it: left out, needs root");
        return;
    }
    const NOBODY: u32 = 65_534;
    let server = HttpServer::named("s1");
    let files = tempfile::tempdir().unwrap();
    chown(files.path(), Some(NOBODY), None).unwrap();
    let socket = files.path().join("admin.sock");
    let mut file = file(&json!([server.address()]));
    file["user"] = json!(NOBODY);
    file["group"] = json!(NOBODY);
    file["admin"]["bind"] = json!(format!("unix:{}", socket.display()));
    let mut lb = Ringway::configured(&file).start();
    let admin = lb.admin();
    admin.must("PATCH", &path(&server.address()), &json!({"state": "drain", "wait_ms": 10}));
    admin.must("PATCH", &path(&server.address()), &json!({"state": "ready"}));
    eventually("it is chosen", || {
        (lb.get("/", &["Connection: close"]).text() == "s1").then_some(())
    });
    assert_eq!(admin.get("/v1/status")["draining"], false);
    lb.stop();
    assert!(!socket.exists(), "it is removed at the end");
}

#[test]
fn heads_and_bodies_are_bounded() {
    let server = named("one");
    let lb = Ringway::configured(&file(&json!([server.address()]))).start();
    let admin = lb.admin();
    let long = format!("X-Long: {}", "x".repeat(20_000));
    assert_eq!(admin.raw("GET /v1/status", &["Host: localhost", &long], "").status, 431);
    let fields = ["Host: localhost", "Content-Type: application/json"];
    let body = format!("{{\"level\": \"{}\"}}", "x".repeat(1 << 20));
    let mut peer = admin.connect();
    let head = format!(
        "PUT /v1/log HTTP/1.1\r\n{}\r\n{}\r\nContent-Length: {}\r\n\r\n",
        fields[0],
        fields[1],
        body.len()
    );
    peer.send(head);
    // It may be refused before all of it was taken.
    let _ = std::io::Write::write_all(&mut peer, body.as_bytes());
    assert_eq!(peer.response().status, 413);
    // More connections than there are places: who comes later waits for a place, and gets it.
    let idle: Vec<Peer> = (0..64).map(|_| admin.connect()).collect();
    let mut last = admin.connect();
    last.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    drop(idle);
    assert_eq!(last.response().text(), "ok\n");
}

#[test]
fn who_waits_and_goes_away_gives_up_the_place() {
    let server = named("one");
    let lb = Ringway::configured(&file(&json!([server.address()]))).start();
    let admin = lb.admin();
    let mut client = lb.client();
    client.send(b"?");
    client.expect("one");
    let body = json!({"state": "drain", "wait_ms": 3_600_000}).to_string();
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        path(&server.address()),
        body.len()
    );
    let mut waiting: Vec<Peer> = (0..64).map(|_| admin.connect()).collect();
    waiting.iter_mut().for_each(|peer| peer.send(&head));
    eventually("all wait", || (lb.lines("INFO changed") == 64).then_some(()));
    drop(waiting);
    assert_eq!(admin.get("/v1/status")["sessions_live"], 1);
    client.send(b"?");
    client.expect("one");
}

#[test]
fn other_addresses_than_loopback_need_a_token() {
    let server = named("one");
    let (status, said) = Ringway::to([server.address()]).with(["--admin", "0.0.0.0:0"]).refused();
    assert_eq!(status.code(), Some(1));
    assert!(said.starts_with("--admin: 0.0.0.0:0 needs a token; allowed without one is"), "{said}");
    let (_socket, taken) = closed_port();
    let (status, said) = Ringway::to([server.address()]).with(["--admin", &taken]).refused();
    assert_eq!(status.code(), Some(1));
    assert!(said.starts_with(&format!("admin: cannot listen on {taken}: somebody")), "{said}");
}

#[test]
fn a_changed_key_takes_effect_with_a_restart() {
    let server = named("one");
    let written = file(&json!([server.address()]));
    let lb = Ringway::configured(&written).start();
    let mut other = written;
    other["admin"]["token"] = json!("0123456789abcdef");
    assert!(lb.reload(&other));
    assert!(lb.said("WARN admin: takes effect with a restart"));
    lb.admin().get("/v1/status");
}

#[test]
fn two_demos_have_an_endpoint_each() {
    let start = || {
        let arguments = ["demo", "--listen", "127.0.0.1:0"];
        let mut demo = Process::start("demo", &crate::harness::program(), &arguments);
        let asks = demo.line("where it is asked", |line| {
            let url = line.trim_start().strip_prefix("curl http://")?;
            url.split_once("/v1/servers").map(|(address, _)| address.to_owned())
        });
        (demo, asks)
    };
    let demos = [start(), start()];
    assert_ne!(demos[0].1, demos[1].1);
    for (demo, asks) in demos {
        let servers = Admin::at(&asks).get("/v1/servers");
        assert_eq!(servers.as_array().map(Vec::len), Some(4));
        demo.signal(Signal::SIGINT);
    }
}
