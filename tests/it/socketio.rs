//! Four real Socket.IO processes behind ringway: nobody is lost, and nobody needs a cookie.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use crate::harness::{
    Process, Ringway, Server, both_cores, closed_port, json_line, node_script, port_of,
    python_script,
};

const CLIENTS: usize = 500;
const ECHOES: usize = 10;

/// Four processes as an application runs them.
struct FourServers {
    processes: Vec<Process>,
    ports: Vec<u16>,
}

impl FourServers {
    fn start(more: &[&str]) -> Self {
        let mut processes: Vec<_> = (1..=4)
            .map(|n| node_script("server.js", &[&[format!("--id=s{n}").as_str()], more].concat()))
            .collect();
        let ports = processes.iter_mut().map(port_of).collect();
        Self { processes, ports }
    }

    fn addresses(&self) -> Vec<String> {
        self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// What Engine.IO refused, "Session ID unknown" above all.
    fn refusals(&self) -> Vec<String> {
        let lines = self.processes.iter().flat_map(Process::stdout);
        lines.filter(|line| line.contains("engine_error")).collect()
    }
}

/// What `tests/node/clients.js` reports.
#[derive(Debug, Deserialize)]
struct Report {
    connected: usize,
    echoes: usize,
    wrong_echoes: usize,
    connect_errors: Vec<String>,
    disconnects: Vec<String>,
    reconnects: usize,
    upgrade_errors: Vec<String>,
    not_upgraded: usize,
    heard: usize,
    page_errors: Vec<String>,
    servers: BTreeMap<String, usize>,
}

impl Report {
    fn of_clients(lb: &Ringway, more: &[&str]) -> Self {
        let url = format!("--url=http://{}", lb.address());
        let count = format!("--count={CLIENTS}");
        let echoes = format!("--echoes={ECHOES}");
        let mine = [url.as_str(), &count, &echoes, "--deadline_s=25"];
        let mut clients = node_script("clients.js", &[&mine, more].concat());
        let report = json_line(&mut clients);
        clients.succeed();
        serde_json::from_value(report).expect("a report")
    }

    #[track_caller]
    fn assert_flawless(&self, servers: &FourServers) {
        let refusals = servers.refusals();
        assert!(refusals.is_empty(), "{} refused, e.g. {:?}", refusals.len(), refusals.first());
        let nothing = Vec::<String>::new();
        assert_eq!(self.connect_errors, nothing, "failed handshakes");
        assert_eq!(self.upgrade_errors, nothing, "failed upgrades");
        assert_eq!(self.disconnects, nothing, "disconnects");
        assert_eq!(self.page_errors, nothing, "failed page loads");
        assert_eq!(self.reconnects, 0, "reconnects");
        assert_eq!(self.connected, CLIENTS, "connected");
        assert_eq!(self.not_upgraded, 0, "left on a lesser transport");
        assert_eq!(self.wrong_echoes, 0, "wrong echoes");
        assert_eq!(self.echoes, CLIENTS * ECHOES, "echoes");
        assert_eq!(self.servers.len(), 4, "servers in use: {:?}", self.servers);
        let (fewest, most) = (self.servers.values().min(), self.servers.values().max());
        assert!(most.unwrap() - fewest.unwrap() <= 1, "sockets per server: {:?}", self.servers);
    }
}

/// Five hundred clients from one address through `ringway run --sticky socketio`.
fn flawless(workers: &str, clients: &[&str]) {
    let _turn = both_cores();
    let servers = FourServers::start(&[]);
    let lb = Ringway::listening_on("127.0.0.1:0", servers.addresses())
        .with(["--sticky", "socketio", "--workers", workers])
        .start();
    Report::of_clients(&lb, clients).assert_flawless(&servers);
}

#[test]
fn five_hundred_clients_connect_and_upgrade_without_a_failure() {
    flawless("1", &[]);
}

#[test]
fn five_hundred_clients_are_served_by_two_workers() {
    flawless("2", &[]);
}

#[test]
fn polling_alone_works_with_one_worker() {
    flawless("1", &["--transports=polling"]);
}

#[test]
fn polling_alone_works_with_two_workers() {
    flawless("2", &["--transports=polling"]);
}

#[test]
fn websocket_alone_works() {
    flawless("2", &["--transports=websocket"]);
}

#[test]
fn request_heads_of_14_kib_work() {
    flawless("2", &["--head=14336"]);
}

#[test]
fn four_clients_to_a_browser_like_pool_work() {
    flawless("2", &["--pool=4"]);
}

#[test]
fn a_page_and_six_assets_through_the_same_pool_disturb_nobody() {
    flawless("2", &["--pool=4", "--page"]);
}

#[test]
fn four_tabs_that_only_poll_share_a_browser_like_pool() {
    flawless("2", &["--pool=4", "--page", "--transports=polling"]);
}

/// The configuration whose servers put their own `id` before each sid.
fn with_server_ids(servers: &FourServers) -> Ringway {
    let servers: Vec<_> = (servers.addresses().iter().zip(1..))
        .map(|(address, n)| json!({"address": address, "id": format!("s{n}")}))
        .collect();
    Ringway::configured(&json!({
        "workers": 2,
        "listeners": [{"name": "web", "bind": ["127.0.0.1:0"], "pool": "chat"}],
        "pools": {"chat": {"sticky": {"by": "socketio"}, "servers": servers}},
    }))
    .start()
}

#[test]
fn sids_encoded_by_the_servers_work() {
    let _turn = both_cores();
    let servers = FourServers::start(&["--sids=prefix"]);
    let lb = with_server_ids(&servers);
    Report::of_clients(&lb, &[]).assert_flawless(&servers);
}

#[test]
fn sids_encoded_by_the_servers_outlive_a_restart_of_ringway() {
    let servers = FourServers::start(&["--sids=prefix"]);
    let handshake = "/socket.io/?EIO=4&transport=polling";
    let opened: Vec<_> = {
        let lb = with_server_ids(&servers);
        (0..8).map(|_| lb.get(handshake, &[]).text()).collect()
    };
    let lb = with_server_ids(&servers);
    for body in opened {
        let open: serde_json::Value = serde_json::from_str(&body[1..]).expect("0{\"sid\":…}");
        let sid = open["sid"].as_str().expect("a sid");
        let mut client = lb.client();
        client.send(format!(
            "POST {handshake}&sid={sid} HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n40"
        ));
        let answer = client.response();
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{sid}");
    }
    assert!(servers.refusals().is_empty());
}

#[test]
fn a_broadcast_through_redis_reaches_all_five_hundred() {
    let _turn = both_cores();
    let redis = crate::redis::Redis::start();
    let url = format!("--redis=redis://127.0.0.1:{}", redis.port());
    let servers = FourServers::start(&[&url]);
    let lb = Ringway::to(servers.addresses()).with(["--sticky", "socketio"]).start();
    let report = Report::of_clients(&lb, &["--broadcast"]);
    report.assert_flawless(&servers);
    assert_eq!(report.heard, CLIENTS);
}

#[test]
fn python_socketio_clients_connect_upgrade_and_echo() {
    let servers = FourServers::start(&[]);
    let lb = Ringway::to(servers.addresses()).with(["--sticky", "socketio"]).start();
    let url = format!("http://{}", lb.address());
    let mut clients = python_script("socketio_clients.py", &[&url, "40", "10"]);
    let report = json_line(&mut clients);
    clients.succeed();
    let nothing = json!([]);
    assert_eq!(report["connect_errors"], nothing, "{report}");
    assert_eq!(report["disconnects"], nothing, "{report}");
    assert_eq!(report["errors"], nothing, "{report}");
    assert_eq!(report["echoes"], 400, "{report}");
    assert_eq!(report["upgraded"], 40, "{report}");
    for n in 1..=4 {
        assert_eq!(report["servers"][format!("s{n}")], 10, "{report}");
    }
    assert!(servers.refusals().is_empty());
}

#[test]
fn a_handshake_goes_past_a_server_that_is_down() {
    let (_held, closed) = closed_port();
    let up = Server::listen();
    let lb = Ringway::to([closed, up.address()]).with(["--sticky", "socketio"]).start();
    let mut client = lb.client();
    client.send(crate::harness::get("/socket.io/?EIO=4&transport=polling", &[]));
    assert!(up.accept().head().starts_with("GET /socket.io/?EIO=4&transport=polling HTTP/1.1"));
}
