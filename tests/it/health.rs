//! Servers that go down and come back: checks, ejection, backups, and what becomes of sessions.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    DEADLINE, HttpServer, Peer, Ringway, Server, Serving, closed_port, eventually, get,
    many_descriptors, request_head,
};

/// An ejection that outlasts every test.
const FOR_EVER_MS: u32 = 3_600_000;

/// A server that says its name, and whether it is well to whoever asks for `/health`.
struct Patient {
    serving: Serving,
    is_well: Arc<AtomicBool>,
    /// Checks so far.
    checks: Arc<AtomicUsize>,
}

impl Patient {
    fn named(name: &'static str) -> Self {
        let is_well = Arc::new(AtomicBool::new(true));
        let checks = Arc::new(AtomicUsize::new(0));
        let (asked, count) = (Arc::clone(&is_well), Arc::clone(&checks));
        let serving = Server::listen().serve(move |mut peer| {
            while let Some(head) = request_head(&mut peer) {
                let is_check = head.starts_with("GET /health ");
                count.fetch_add(usize::from(is_check), Ordering::SeqCst);
                let (status, body) = match is_check {
                    true if asked.load(Ordering::SeqCst) => ("200 OK", "all is well"),
                    true => ("503 Service Unavailable", "all is lost"),
                    false => ("200 OK", name),
                };
                let length = body.len();
                peer.send(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"));
                if head.contains("Connection: close") {
                    return;
                }
            }
        });
        Self { serving, is_well, checks }
    }

    fn address(&self) -> String {
        self.serving.address()
    }

    /// Waits until a check has passed: there is a second one.
    fn is_known_to_be_well(&self) {
        eventually("a second check", || (self.checks.load(Ordering::SeqCst) > 1).then_some(()));
    }

    fn falls_ill(&self) {
        self.is_well.store(false, Ordering::SeqCst);
    }

    fn recovers(&self) {
        self.is_well.store(true, Ordering::SeqCst);
    }
}

/// Tells threads to end, also where the test fails.
struct Over<'f>(&'f AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One pool with these keys.
fn configuration(peek: &str, pool: &Value) -> Value {
    json!({
        "workers": 2,
        "listeners": [{ "bind": "127.0.0.1:0", "peek": peek }],
        "pools": { "site": pool },
    })
}

/// Checks that come as often as they may.
fn checks(more: &Value) -> Value {
    let mut health = json!({
        "check": "http", "path": "/health", "interval_ms": 100, "fast_interval_ms": 50,
        "timeout_ms": 20_000,
    });
    let more = more.as_object().expect("an object").clone();
    health.as_object_mut().expect("an object").extend(more);
    health
}

/// Waits until the log says all of this in one line about health.
fn said(lb: &Ringway, parts: &[&str]) -> String {
    eventually(&format!("{parts:?} in the log"), || lb.health(parts).into_iter().next())
}

#[test]
fn a_server_goes_down_and_comes_back_under_load_and_no_client_notices() {
    let servers = [Patient::named("a"), Patient::named("b")];
    let [a, b] = &servers;
    let pool = json!({ "servers": [a.address(), b.address()], "health": checks(&json!({})) });
    let lb = Ringway::configured(&configuration("http", &pool)).start();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&is_over);
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let answer = lb.get("/", &["Connection: close"]);
                    assert_eq!(answer.status, 200);
                }
            });
        }
        a.is_known_to_be_well();
        a.falls_ill();
        said(&lb, &[&a.address(), "state=down", "cause=\"3 checks failed: status 503\""]);
        (0..20).for_each(|_| assert_eq!(lb.get("/", &[]).text(), "b"));
        a.recovers();
        said(&lb, &[&a.address(), "state=up", "cause=\"2 checks passed\""]);
        eventually("an answer of the server that is back", || {
            (lb.get("/", &[]).text() == "a").then_some(())
        });
    });
    assert!(lb.sessions().iter().all(|session| session.get("retries") == "0"));
}

#[test]
fn a_server_that_refuses_is_tried_three_times_and_no_more() {
    let (_held, closed) = closed_port();
    let server = HttpServer::named("s1");
    let eject = json!({ "base_ms": FOR_EVER_MS, "max_ms": FOR_EVER_MS });
    let pool = json!({ "servers": [closed, server.address()], "eject": eject });
    let lb = Ringway::configured(&configuration("http", &pool)).start();
    for _ in 0..40 {
        assert_eq!(lb.get("/", &["Connection: close"]).text(), "s1");
    }
    said(&lb, &[&closed, "state=ejected", "cause=\"3 in a row: connection refused\""]);
    eventually("forty sessions", || (lb.sessions().len() == 40).then_some(()));
    let retries: u64 = lb.sessions().iter().map(|session| session.number("retries")).sum();
    assert_eq!(retries, 3);
}

#[test]
fn a_server_that_resets_at_once_is_left_out() {
    let resetting = Server::listen().serve(Peer::reset);
    let server = HttpServer::named("s1");
    let eject = json!({ "base_ms": FOR_EVER_MS, "max_ms": FOR_EVER_MS });
    let pool = json!({ "servers": [resetting.address(), server.address()], "eject": eject });
    let lb = Ringway::configured(&configuration("none", &pool)).start();
    eventually("an ejection", || {
        // Whatever becomes of it: a reset may even be there before connect(2) has returned.
        if let Ok(mut client) = TcpStream::connect_timeout(&lb.address(), DEADLINE) {
            let _ = client.write_all(get("/", &["Connection: close"]).as_bytes());
            let _ = client.set_read_timeout(Some(DEADLINE));
            let _ = client.read(&mut [0; 256]);
        }
        lb.health(&[&resetting.address(), "state=ejected", "reset before it sent a byte"]).pop()
    });
    let before = resetting.accepted();
    for _ in 0..20 {
        assert_eq!(lb.get("/", &["Connection: close"]).text(), "s1");
    }
    assert_eq!(resetting.accepted(), before);
}

#[test]
fn with_more_than_half_of_them_ejected_all_count() {
    let held: Vec<_> = (0..2).map(|_| closed_port()).collect();
    let server = HttpServer::named("s1");
    let addresses = held.iter().map(|(_, address)| address.clone()).chain([server.address()]);
    let pool = json!({
        "servers": addresses.collect::<Vec<_>>(),
        "eject": { "base_ms": 1000, "max_ms": 1000 },
    });
    let lb = Ringway::configured(&configuration("http", &pool)).start();
    eventually("panic", || {
        assert_eq!(lb.get("/", &["Connection: close"]).text(), "s1");
        lb.health(&["pool=site", "state=panic"]).pop()
    });
    said(&lb, &["pool=site", "state=panic_over"]);
    said(&lb, &[&held[0].1, "state=up", "cause=\"it was ejected for long enough\""]);
}

#[test]
fn an_ejection_ends_where_a_panic_shows_that_the_server_works() {
    let (held, address) = closed_port();
    let server = HttpServer::named("s1");
    // Nobody may be ejected, so one is enough for a panic.
    let eject = json!({ "base_ms": FOR_EVER_MS, "max_ms": FOR_EVER_MS, "max_percent": 0 });
    let pool = json!({ "servers": [address, server.address()], "eject": eject });
    let lb = Ringway::configured(&configuration("none", &pool)).start();
    eventually("an ejection", || {
        assert_eq!(lb.get("/", &["Connection: close"]).text(), "s1");
        lb.health(&[&address, "state=ejected"]).pop()
    });
    said(&lb, &["pool=site", "state=panic"]);
    held.listen(128).expect("it listens now");
    eventually("it is up", || {
        drop(lb.client());
        let cause = "cause=\"a session that was sent there all the same went well\"";
        lb.health(&[&address, "state=up", cause]).pop()
    });
    said(&lb, &["pool=site", "state=panic_over"]);
}

#[test]
fn sessions_of_a_server_that_is_down_are_closed_at_a_rate() {
    many_descriptors(1_000);
    let servers = [Patient::named("a"), Patient::named("b")];
    let [a, b] = &servers;
    let pool = json!({
        "servers": [a.address(), b.address()],
        "health": checks(&json!({})),
        "on_down": { "close_per_s": 40 },
    });
    let lb = Ringway::configured(&configuration("none", &pool)).start();
    let mut clients: Vec<_> = (0..80)
        .map(|_| {
            let mut client = lb.client();
            client.send(get("/", &[]));
            (client.response().text(), client)
        })
        .collect();
    a.falls_ill();
    said(&lb, &[&a.address(), "state=down"]);
    let down_at = Instant::now();
    eventually("forty sessions ended", || (lb.sessions().len() >= 40).then_some(()));
    // The first one goes at once, the last one after 39 fortieths of a second.
    assert!(down_at.elapsed() > Duration::from_millis(700), "{:?}", down_at.elapsed());
    let sessions = lb.sessions();
    assert_eq!(sessions.len(), 40);
    for session in sessions {
        assert_eq!((session.get("server"), session.get("reason")), (&*a.address(), "server_down"));
    }
    for (name, client) in &mut clients {
        if name == "a" {
            client.expect_reset();
        } else {
            client.send(get("/", &[]));
            assert_eq!(client.response().text(), "b");
        }
    }
}

#[test]
fn a_backup_takes_over_hands_back_and_keeps_its_sessions() {
    let (first, backup) = (Patient::named("first"), Patient::named("backup"));
    let servers = json!([first.address(), { "address": backup.address(), "backup": true }]);
    let pool = json!({ "servers": servers, "health": checks(&json!({ "rise": 1, "fall": 1 })) });
    let lb = Ringway::configured(&configuration("none", &pool)).start();
    assert_eq!(lb.get("/", &[]).text(), "first");
    first.falls_ill();
    said(&lb, &["pool=site", "state=on_backups"]);
    assert_eq!(lb.get("/", &[]).text(), "backup");
    let before = backup.serving.accepted();
    let mut stays = lb.client();
    eventually("its session at the backup", || (backup.serving.accepted() > before).then_some(()));
    first.recovers();
    said(&lb, &["pool=site", "state=off_backups"]);
    assert_eq!(lb.get("/", &[]).text(), "first");
    stays.send(get("/", &[]));
    assert_eq!(stays.response().text(), "backup");
}

#[test]
fn a_check_of_another_port_starts_with_a_proxy_header_where_that_is_wanted() {
    let headers =
        [("v1", &b"PROXY UNKNOWN\r\n"[..]), ("v2", &b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..])];
    for (version, header) in headers {
        let (server, checked) = (HttpServer::named("s1"), Server::listen());
        let port: u16 = checked.address().rsplit(':').next().unwrap().parse().unwrap();
        let health = checks(&json!({ "port": port, "send_proxy": version, "fall": 1 }));
        let pool = json!({ "servers": [server.address()], "health": health });
        let lb = Ringway::configured(&configuration("none", &pool)).start();
        let mut check = checked.accept();
        check.expect(header);
        check.expect(format!("GET /health HTTP/1.1\r\nHost: {}\r\n", server.address()));
        check.head();
        check.send("HTTP/1.1 500 No\r\nConnection: close\r\n\r\n");
        drop(check);
        said(&lb, &[&server.address(), "state=down", "1 check failed: status 500"]);
    }
}

#[test]
fn the_body_must_contain_the_text() {
    let patient = Patient::named("a");
    let other = HttpServer::named("no such page");
    let health = checks(&json!({ "body": "is well", "status": [200, "500-503"] }));
    let pool = json!({ "servers": [patient.address(), other.address()], "health": health });
    let lb = Ringway::configured(&configuration("none", &pool)).start();
    said(&lb, &[&other.address(), "state=down", "the body lacks \\\"is well\\\""]);
    patient.is_known_to_be_well();
    patient.falls_ill();
    said(&lb, &[&patient.address(), "state=down", "3 checks failed: the body lacks"]);
    said(&lb, &["state=panic", "every server down"]);
}

#[test]
fn a_reload_keeps_a_server_down_that_is_down() {
    let servers = [Patient::named("a"), Patient::named("b"), Patient::named("c")];
    let [a, b, c] = &servers;
    let health = |interval_ms: u32| checks(&json!({ "interval_ms": interval_ms }));
    let file = |third: bool, health: &Value| {
        let servers: Vec<_> = [a, b].into_iter().chain(third.then_some(c)).collect();
        let servers: Vec<_> = servers.into_iter().map(Patient::address).collect();
        configuration("none", &json!({ "servers": servers, "health": health }))
    };
    a.falls_ill();
    let lb = Ringway::configured(&file(false, &health(100))).start();
    said(&lb, &[&a.address(), "state=down", "1 check failed"]);
    assert!(lb.reload(&file(true, &health(FOR_EVER_MS))));
    let names: Vec<_> = (0..8).map(|_| lb.get("/", &[]).text()).collect();
    assert!(names.iter().all(|name| name != "a"), "{names:?}");
    assert!(names.iter().any(|name| name == "c"), "{names:?}");
    assert_eq!(lb.health(&[&a.address()]).len(), 1, "nothing new was said of it");
    assert!(lb.reload(&file(true, &json!(false))));
    said(&lb, &[&a.address(), "state=up", "it is checked no longer"]);
    eventually("an answer of it", || (lb.get("/", &[]).text() == "a").then_some(()));
}
