//! SIGHUP: another configuration is put in force, and nobody notices.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Connecting, HttpServer, Peer, Ringway, Server, Serving, both_cores};

/// Says its name to every message.
fn named(name: &'static str) -> Serving {
    Server::listen().serve(move |mut peer| {
        let mut byte = [0];
        while let Ok(()) = std::io::Read::read_exact(&mut peer, &mut byte) {
            if std::io::Write::write_all(&mut peer, name.as_bytes()).is_err() {
                break;
            }
        }
    })
}

fn configuration(servers: &Value) -> Value {
    json!({
        "workers": 2,
        "listeners": [{"name": "web", "bind": "127.0.0.1:0", "peek": "none"}],
        "pools": {"site": {"servers": servers}},
    })
}

fn ask(peer: &mut Peer, name: &str) {
    peer.send(b"?");
    peer.expect(name);
}

/// Inodes of the sockets that listen on a port.
fn listening(port: u16) -> BTreeSet<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc is there");
    let rows = table.lines().skip(1).map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
    let local = format!(":{port:04X}");
    let listening = rows.filter(|row| row[1].ends_with(&local) && row[3] == "0A");
    listening.map(|row| row[9].to_owned()).collect()
}

#[test]
fn sessions_keep_their_server_and_new_ones_go_by_the_new_file() {
    let (one, two) = (named("one"), named("two"));
    let lb = Ringway::configured(&configuration(&json!([one.address()]))).start();
    let mut before = lb.client();
    ask(&mut before, "one");
    assert!(lb.reload(&configuration(&json!([two.address()]))));
    let mut after: Vec<_> = (0..6).map(|_| lb.client()).collect();
    after.iter_mut().for_each(|client| ask(client, "two"));
    ask(&mut before, "one");
    let address = before.address();
    drop(before);
    assert_eq!(lb.session_of(address).get("server"), one.address());
}

#[test]
fn a_listener_that_stays_keeps_its_sockets() {
    let server = named("one");
    let lb = Ringway::configured(&configuration(&json!([server.address()]))).start();
    let before = listening(lb.address().port());
    assert_eq!(before.len(), 2, "one for each worker");
    let mut changed = configuration(&json!([{"address": server.address(), "weight": 2}]));
    changed["tcp_keep_alive"] = json!(false);
    assert!(lb.reload(&changed));
    assert_eq!(listening(lb.address().port()), before);
    ask(&mut lb.client(), "one");
}

#[test]
fn a_wrong_file_changes_nothing_and_says_everything() {
    let server = named("one");
    let taken = Server::listen();
    let lb = Ringway::configured(&configuration(&json!([server.address()]))).start();
    let mut before = lb.client();
    ask(&mut before, "one");
    let mut wrong = configuration(&json!([{"address": "127.0.0.1:1", "weight": 0}]));
    wrong["wrokers"] = json!(1);
    assert!(!lb.reload(&wrong));
    assert!(!lb.reload_text("{"));
    let mut unbindable = configuration(&json!(["127.0.0.1:1", "no.such.name.invalid:80"]));
    unbindable["listeners"][0]["bind"] = json!(["127.0.0.1:0", taken.address()]);
    assert!(!lb.reload(&unbindable), "a name that cannot be looked up");
    unbindable["pools"]["site"]["servers"] = json!(["127.0.0.1:1"]);
    assert!(!lb.reload(&unbindable), "an address that cannot be bound");
    let said = lb.lines_at("ERROR");
    for part in [
        "pools.site.servers[0].weight: must be 1 to 256, is 0",
        "wrokers: unknown key",
        "ringway.json:1:",
        "no.such.name.invalid:80 cannot be looked up",
        &format!("cannot listen on {}", taken.address()),
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    ask(&mut before, "one");
    ask(&mut lb.client(), "one");
}

#[test]
fn listeners_come_and_go_and_come_back() {
    let server = named("one");
    let files = tempfile::tempdir().unwrap();
    let unix = files.path().join("ringway.sock");
    let with = |bind: Value| {
        let mut configuration = configuration(&json!([server.address()]));
        configuration["listeners"][0]["bind"] = bind;
        configuration
    };
    let second = crate::harness::free_port();
    let second_at = format!("127.0.0.1:{second}");
    // A sandbox lets it make sockets only where it had one at its start.
    let stays = format!("unix:{}", files.path().join("stays.sock").display());
    let few = json!(["127.0.0.1:0", stays]);
    let lb = Ringway::configured(&with(few.clone())).start();
    let all = json!(["127.0.0.1:0", stays, second_at, format!("unix:{}", unix.display())]);
    for _ in 0..3 {
        assert!(lb.reload(&with(all.clone())));
        let mut clients: Vec<_> =
            (0..6).map(|_| Peer::connect(second_at.parse().unwrap())).collect();
        clients.push(Peer::connect_unix(&unix));
        clients.push(lb.client());
        clients.iter_mut().for_each(|client| ask(client, "one"));
        assert!(lb.reload(&with(few.clone())));
        assert!(!unix.exists(), "its path is gone");
        clients.iter_mut().for_each(|client| ask(client, "one"));
    }
    crate::harness::eventually("the second one is closed", || {
        listening(second).is_empty().then_some(())
    });
    ask(&mut lb.client(), "one");
}

#[test]
fn a_listener_comes_back_while_it_is_being_closed() {
    let server = named("one");
    let ports = crate::harness::free_ports(24);
    let mut few = configuration(&json!([server.address()]));
    few["workers"] = json!(16);
    let mut all = few.clone();
    let side = ports.iter().map(|port| format!("127.0.0.1:{port}"));
    let side: Vec<_> = side.collect();
    all["listeners"].as_array_mut().unwrap().push(json!({
        "name": "side", "bind": side, "peek": "none",
    }));
    let lb = Ringway::configured(&all).start();
    for _ in 0..6 {
        assert!(lb.reload(&few));
        // Then it has two things to do at once: its listeners have had half a second to leave, and
        // there is a file to be read. 16 workers take longer to close their sockets.
        lb.signal(Signal::SIGSTOP);
        thread::sleep(std::time::Duration::from_millis(600));
        let going_on = thread::scope(|scope| {
            let reload = scope.spawn(|| lb.reload(&all));
            thread::sleep(std::time::Duration::from_millis(20));
            lb.signal(Signal::SIGCONT);
            reload.join().expect("it ends")
        });
        assert!(going_on, "{}", lb.lines_at("ERROR"));
        ask(&mut Peer::connect(side[0].parse().unwrap()), "one");
    }
}

#[test]
fn who_waits_at_a_listener_that_goes_is_served() {
    const CLIENTS: usize = 200;
    let server = named("one");
    let port = crate::harness::free_port();
    let at = format!("127.0.0.1:{port}");
    let mut both = configuration(&json!([server.address()]));
    both["listeners"][0]["bind"] = json!(["127.0.0.1:0", at]);
    let lb = Ringway::configured(&both).start();
    lb.signal(Signal::SIGSTOP);
    let clients: Vec<_> = (0..CLIENTS).map(|_| Connecting::to(at.parse().unwrap())).collect();
    let mut clients: Vec<_> = clients.into_iter().map(Connecting::connected).collect();
    lb.signal(Signal::SIGCONT);
    assert!(lb.reload(&configuration(&json!([server.address()]))));
    clients.iter_mut().for_each(|client| ask(client, "one"));
}

#[test]
fn counts_are_carried_over() {
    let (one, two) = (named("one"), named("two"));
    let by = |servers: Value| {
        let mut configuration = configuration(&servers);
        configuration["pools"]["site"]["balance"] = json!("least_conn");
        configuration
    };
    let lb = Ringway::configured(&by(json!([one.address()]))).start();
    let mut first: Vec<_> = (0..4).map(|_| lb.client()).collect();
    first.iter_mut().for_each(|client| ask(client, "one"));
    assert!(lb.reload(&by(json!([two.address(), one.address()]))));
    let mut then: Vec<_> = (0..4).map(|_| lb.client()).collect();
    then.iter_mut().for_each(|client| ask(client, "two"));
}

#[test]
fn learned_keys_are_carried_over_and_lead_to_a_server_that_is_gone_from_the_file() {
    let servers = ["s1", "s2", "s3"].map(|name| {
        HttpServer::answering(name, &format!("Set-Cookie: id=made-by-{name}; Path=/\r\n"))
    });
    let by = |servers: Vec<Value>| {
        json!({
            "workers": 2,
            "listeners": [{"name": "web", "bind": "127.0.0.1:0"}],
            "pools": {"site": {
                "sticky": {"by": "cookie", "name": "id", "learn": true},
                "servers": servers,
            }},
        })
    };
    let [s1, s2, s3] = servers.each_ref().map(HttpServer::address);
    let lb = Ringway::configured(&by(vec![json!(s1), json!(s2)])).start();
    for _ in 0..4 {
        lb.get("/", &[]);
    }
    assert!(lb.reload(&by(vec![json!(s3), json!({"address": s2, "weight": 5})])));
    for server in ["s1", "s2"] {
        let cookie = format!("Cookie: id=made-by-{server}");
        assert_eq!(lb.get("/", &[&cookie]).text(), server);
    }
    let fresh: BTreeSet<_> = (0..12).map(|_| lb.get("/", &[]).text().to_owned()).collect();
    assert_eq!(fresh, ["s2".to_owned(), "s3".to_owned()].into());
}

#[test]
fn flags_are_read_again_as_well() {
    let server = named("one");
    let lb = Ringway::to([server.address()]).with(["--peek", "none"]).start();
    lb.signal(Signal::SIGHUP);
    crate::harness::eventually("a reload", || lb.said(" reloaded ").then_some(()));
    ask(&mut lb.client(), "one");
}

/// Descriptors and resident memory (KiB) of a process.
fn holdings(pid: nix::unistd::Pid) -> (usize, u64) {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let descriptors = tasks.filter_map(Result::ok).map(|task| {
        std::fs::read_dir(task.path().join("fd")).map_or(0, std::iter::Iterator::count)
    });
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|kib| kib.split_ascii_whitespace().next()?.parse().ok());
    (descriptors.sum(), resident.expect("a number of KiB"))
}

#[test]
fn reloads_under_load_lose_nothing_and_keep_nothing() {
    const LIVE: usize = 200;
    let _both = both_cores();
    let servers: Vec<_> = (0..4).map(|_| named("x")).collect();
    let ports = crate::harness::free_ports(3);
    let changed = |round: usize| {
        let mut list = vec![json!(servers[0].address())];
        for (number, server) in servers.iter().enumerate().skip(1) {
            if !(round + number).is_multiple_of(3) {
                list.push(json!({"address": server.address(), "weight": 1 + (round % 4)}));
            }
        }
        let mut configuration = configuration(&json!(list));
        let other = format!("127.0.0.1:{}", ports[round % ports.len()]);
        configuration["listeners"][0]["bind"] = json!(["127.0.0.1:0", other]);
        configuration
    };
    let lb = Ringway::configured(&changed(0)).start();
    let mut live: Vec<_> = (0..LIVE).map(|_| lb.client()).collect();
    live.iter_mut().for_each(|client| ask(client, "x"));
    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let churn = {
        let (stop, made, address) = (Arc::clone(&stop), Arc::clone(&made), lb.address());
        thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let mut client = Peer::connect(address);
                ask(&mut client, "x");
                client.shutdown_write();
                client.expect_eof();
                made.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let mut settled = (0, 0);
    for round in 1..=60 {
        assert!(lb.reload(&changed(round)));
        for client in live.iter_mut().skip(round % 10).step_by(10) {
            ask(client, "x");
        }
        if round == 20 {
            settled = holdings(lb.pid());
        }
    }
    stop.store(true, Ordering::SeqCst);
    churn.join().expect("no new client failed");
    live.iter_mut().for_each(|client| ask(client, "x"));
    assert!(made.load(Ordering::SeqCst) > 50);
    let (descriptors, resident) = holdings(lb.pid());
    assert!(descriptors < settled.0 + 100, "{descriptors} descriptors, were {}", settled.0);
    assert!(resident < settled.1 + 8_192, "{resident} KiB, were {}", settled.1);
    drop(live);
}
