//! Clients that begin a head and never end it: others are served, and each costs little.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{HttpServer, Ringway, both_cores, get, many_descriptors};

const HALF_HEADS: usize = 10_000;

/// Long enough to open them all on a busy machine; the test waits for it to pass.
const PEEK_TIMEOUT_MS: u64 = 25_000;

/// Bytes of ringway's memory for each: a seat, what peeking needs, and the bytes held.
const EACH_MAX: u64 = 2_048;

/// Longer than any request waits while thousands of heads are awaited.
const PROMPT: Duration = Duration::from_secs(5);

fn memory_kib(lb: &Ringway) -> u64 {
    let memory = &lb.threads()[0]["VmRSS"];
    memory.trim().trim_end_matches(" kB").parse().expect("KiB")
}

fn half_head(lb: &Ringway) -> TcpStream {
    let mut client = TcpStream::connect(lb.address()).expect("there is room");
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: ").expect("it is taken");
    client.set_read_timeout(Some(Duration::from_millis(4 * PEEK_TIMEOUT_MS))).expect("a timeout");
    client
}

#[test]
fn ten_thousand_half_heads_leave_others_served_and_end_late() {
    let _cores = both_cores();
    many_descriptors(HALF_HEADS as u64 + 1_000);
    let server = HttpServer::named("s1");
    let mut lb = Ringway::configured(&json!({
        "workers": 2,
        "listeners": [{"bind": "127.0.0.1:0", "peek": "http", "peek_timeout_ms": PEEK_TIMEOUT_MS}],
        "pools": {"site": {"servers": [server.address()]}},
    }))
    .start();
    assert_eq!(lb.get("/", &["Connection: close"]).text(), "s1");
    let before_kib = memory_kib(&lb);
    let mut clients: Vec<_> = (0..HALF_HEADS).map(|_| half_head(&lb)).collect();
    // A byte more holds up no deadline.
    clients.iter_mut().for_each(|client| client.write_all(b"a").expect("it is taken"));
    let served = 200;
    for _ in 0..served {
        let asked = Instant::now();
        assert_eq!(lb.get("/", &["Connection: close"]).text(), "s1");
        assert!(asked.elapsed() < PROMPT, "{:?} for one request", asked.elapsed());
    }
    let grown_kib = memory_kib(&lb).saturating_sub(before_kib);
    let each = grown_kib * 1024 / HALF_HEADS as u64;
    println!("{each} bytes for each half head");
    assert!(each <= EACH_MAX, "{each} bytes for each half head");
    for client in &mut clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an answer and the end");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
    }
    // Whoever comes now finds everything as before.
    let mut client = lb.client();
    client.send(get("/", &["Connection: close"]));
    assert_eq!(client.response().text(), "s1");
    drop((client, clients));
    lb.wait_for_sessions(HALF_HEADS + served + 2);
    lb.stop();
    let late = lb.sessions().iter().filter(|line| line.get("reason") == "head_late").count();
    assert_eq!(late, HALF_HEADS);
}
