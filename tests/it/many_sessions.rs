//! Many sessions at once by the admin endpoint, on each engine: shown a few at a time and missed
//! by nobody, closed at a rate, counted once.

use std::collections::BTreeSet;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Peer, Ringway, Server, eventually};

const ENGINES: [&str; 2] = ["io_uring", "epoll"];

/// More than a worker looks at or shows in a turn.
const CROWD: usize = 600;

fn start(engine: &str, workers: usize, server: &Server) -> Ringway {
    let listener = json!({"name": "web", "bind": "127.0.0.1:0", "peek": "none"});
    Ringway::configured(&json!({
        "workers": workers,
        "engine": engine,
        "admin": {"bind": "127.0.0.1:0"},
        "listeners": [listener],
        "pools": {"site": {"servers": [server.address()]}},
    }))
    .start()
}

/// Sessions that stand, by both ends.
fn crowd(lb: &Ringway, server: &Server, count: usize) -> Vec<[Peer; 2]> {
    let mut pairs = Vec::new();
    while pairs.len() < count {
        let clients: Vec<Peer> = (0..(count - pairs.len()).min(50)).map(|_| lb.client()).collect();
        pairs.extend(clients.into_iter().map(|client| [client, server.accept()]));
    }
    pairs
}

fn ids(page: &Value) -> Vec<String> {
    let sessions = page["sessions"].as_array().expect("a list");
    sessions.iter().map(|session| session["id"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_crowd_is_shown_to_the_last_and_killed_to_the_last() {
    for engine in ENGINES {
        let server = Server::listen();
        let lb = start(engine, 1, &server);
        let admin = lb.admin();
        let pairs = crowd(&lb, &server, CROWD);
        let all: BTreeSet<_> = ids(&admin.get("/v1/sessions?limit=1000")).into_iter().collect();
        assert_eq!(all.len(), CROWD, "{engine}");
        let (mut listed, mut after) = (Vec::new(), String::new());
        loop {
            let page = admin.get(&format!("/v1/sessions?limit=77{after}"));
            assert!(ids(&page).len() <= 77);
            listed.extend(ids(&page));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(listed.len(), CROWD, "each once, on {engine}");
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), all);

        let body = json!({"filter": {"pool": "site"}, "per_s": 10_000});
        let killed = admin.must("POST", "/v1/sessions/kill", &body);
        assert_eq!((&killed["matched"], &killed["silent"]), (&json!(CROWD), &json!([])));
        let [mut client, mut far] = crowd(&lb, &server, 1).pop().expect("one");
        lb.wait_for_sessions(CROWD);
        assert!(lb.sessions().iter().all(|session| session.get("reason") == "killed"));
        pairs.into_iter().flatten().for_each(|mut peer| peer.expect_closed());
        client.send(b"later");
        far.expect(b"later");
        let status = admin.get("/v1/status");
        assert_eq!(
            (&status["sessions_live"], &status["closed"]["killed"]),
            (&json!(1), &json!(CROWD))
        );
    }
}

#[test]
fn workers_together_keep_to_the_rate() {
    const SESSIONS: u32 = 40;
    const PER_S: u32 = 50;
    let server = Server::listen();
    let lb = start("auto", 2, &server);
    let pairs = crowd(&lb, &server, SESSIONS as usize);
    let start = Instant::now();
    let body = json!({"all": true, "per_s": PER_S});
    assert_eq!(lb.admin().must("POST", "/v1/sessions/kill", &body)["matched"], SESSIONS);
    lb.wait_for_sessions(SESSIONS as usize);
    // The first goes at once, and whoever was late may catch up a tenth of a second.
    let least = Duration::from_secs(1) * (SESSIONS - 1) / PER_S - Duration::from_millis(100);
    assert!(start.elapsed() >= least, "{:?}", start.elapsed());
    drop(pairs);
}

#[test]
fn a_bulk_transfer_whose_reader_is_stuck_is_seen_and_killed_at_once() {
    for engine in ENGINES {
        let server = Server::listen();
        let lb = start(engine, 1, &server);
        let admin = lb.admin();
        let [client, mut far] = crowd(&lb, &server, 1).pop().expect("one");
        let writer = thread::spawn(move || while far.write_all(&[7; 1 << 16]).is_ok() {});
        let session = eventually("it is spliced", || {
            let page = admin.get("/v1/sessions?tcp_info=true");
            let session = page["sessions"][0].clone();
            (session["mode_down"] == "splice").then_some(session)
        });
        assert_eq!((&session["mode_up"], &session["phase"]), (&json!("copy"), &json!("relay")));
        assert!(session["bytes_down"].as_u64().is_some_and(|bytes| bytes > 48 << 10), "{session}");
        assert!(session["tcp_info"]["server"]["rtt_us"].is_u64(), "{session}");
        let one = format!("/v1/sessions/{}", session["id"].as_str().expect("a name"));
        admin.must("DELETE", &one, &Value::Null);
        assert_eq!(lb.session_of(client.address()).get("reason"), "killed", "{engine}");
        writer.join().expect("it is cut off");
    }
}
