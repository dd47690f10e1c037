//! Rows of (phase, event) → actions, by phase.

mod accept_and_peek;
mod connect;
mod counting;
mod killed;
mod queue;
mod relay;
mod splice;
mod timeouts;
mod watch;

use super::*;
use crate::config::{self, Config};
use crate::pool::ServerSpec;

const CONFIG: &str = r#"{
    "listeners": [
        { "name": "raw", "bind": "127.0.0.1:1", "peek": "none", "pool": "raw",
          "deny": ["10.9.0.0/16"], "accept_proxy": { "from": ["10.8.0.0/16"] } },
        { "name": "auto", "bind": "127.0.0.1:2", "peek": "auto", "pool": "raw",
          "accept_proxy": { "from": ["10.8.0.0/16"] } },
        { "name": "http", "bind": "127.0.0.1:3", "peek": "http", "pool": "sid" },
        { "name": "trust", "bind": "127.0.0.1:4", "peek": "http", "pool": "raw" },
        { "name": "strict", "bind": "127.0.0.1:5", "peek": "http", "pool": "strict" },
        { "name": "tls", "bind": "127.0.0.1:6", "peek": "tls", "pool": "raw" },
        { "name": "insert", "bind": "127.0.0.1:7", "peek": "http", "pool": "insert",
          "keep_alive": "trust" },
        { "name": "learn", "bind": "127.0.0.1:8", "peek": "http", "pool": "learn",
          "keep_alive": "trust" },
        { "name": "timed", "bind": "127.0.0.1:9", "peek": "none", "pool": "timed" },
        { "name": "queued", "bind": "127.0.0.1:10", "peek": "none", "pool": "queued" },
        { "name": "queued_http", "bind": "127.0.0.1:11", "peek": "http", "pool": "queued" },
    ],
    "pools": {
        "raw": { "servers": ["10.1.0.1:1", "10.1.0.2:1"] },
        "sid": { "sticky": "socketio", "servers": ["10.2.0.1:1", "10.2.0.2:1"] },
        "strict": { "sticky": { "by": "socketio", "strict": true }, "servers": ["10.3.0.1:1"] },
        "insert": { "sticky": { "by": "insert", "name": "srv", "secret": "s" },
                    "servers": ["10.4.0.1:1"] },
        "learn": { "sticky": { "by": "cookie", "name": "srv", "learn": true },
                   "servers": ["10.5.0.1:1"] },
        "timed": { "idle_timeout_ms": 8000, "half_closed_timeout_ms": 4000, "max_age_ms": 60000,
                   "max_age_jitter_percent": 0, "servers": ["10.6.0.1:1"] },
        "queued": { "max_connections_per_server": 1, "queue_max": 1, "queue_timeout_ms": 100,
                    "servers": ["10.7.0.1:1"] },
    },
}"#;

const RAW: u16 = 0;
const AUTO: u16 = 1;
const HTTP: u16 = 2;
const TRUST: u16 = 3;
const STRICT: u16 = 4;
const TLS: u16 = 5;
const INSERT: u16 = 6;
const LEARN: u16 = 7;
const TIMED: u16 = 8;
const QUEUED: u16 = 9;
const QUEUED_HTTP: u16 = 10;

const BUFFER_SIZE: u32 = 8;
const PIPE_SIZE: u32 = 32;
const BUFFER: BufferId = BufferId(7);

const GET: &[u8] = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n";
const UPGRADE: &[u8] = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\n\
    Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const AGREED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
const REFUSED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

use Side::{Client, Server};

/// A session on its own.
struct Bench {
    config: Config,
    pools: Vec<Pool>,
    listeners: Vec<PerWorker<ListenerCounts>>,
    habits: Vec<Habit>,
    hosts: Hosts,
    random: Random,
    now_us: u64,
    session: Option<Session>,
    actions: Vec<Action>,
}

impl Bench {
    fn new() -> Self {
        let config = config::parse(CONFIG).unwrap().config;
        let pool = |spec: &config::Pool| {
            let server = |server: &config::Server| {
                let config::ServerAddress::Address(address) = &server.address else { panic!() };
                ServerSpec::new(server, address.clone())
            };
            Pool::new(spec, spec.servers.iter().map(server).collect())
        };
        let pools = config.pools.iter().map(pool).collect();
        let (hosts, random) = (Hosts::default(), Random::new(1));
        let actions = Vec::new();
        let habits = vec![Habit::default(); config.listeners.len()];
        let listeners = config.listeners.iter().map(|_| PerWorker::new(1)).collect();
        let (now_us, session) = (1_000_000, None);
        Self { config, pools, listeners, habits, hosts, random, now_us, session, actions }
    }

    /// A client of `listener`, and what was done at once.
    fn accept(listener: u16) -> (Self, Vec<Action>) {
        Self::accept_from(listener, [10, 0, 0, 1])
    }

    fn accept_from(listener: u16, ip: [u8; 4]) -> (Self, Vec<Action>) {
        let mut bench = Self::new();
        let actions = bench.accepted_from(listener, ip);
        (bench, actions)
    }

    /// Another client, with what was learned from those before.
    fn accepted(&mut self, listener: u16) -> Vec<Action> {
        self.accepted_from(listener, [10, 0, 0, 1])
    }

    fn accepted_from(&mut self, listener: u16, ip: [u8; 4]) -> Vec<Action> {
        let client = Some(SocketAddr::from((ip, 4000)));
        self.with(|session, cx| {
            *session = Some(Session::accept(listener, client, None, cx));
        })
    }

    /// A client whose head has been sent, with the server connected; what was sent to it.
    fn relaying(listener: u16, head: &[u8]) -> (Self, Vec<u8>) {
        let (mut bench, _) = Self::accept(listener);
        if !head.is_empty() {
            bench.from(Client, head);
        }
        let mut sent = Vec::new();
        for action in bench.step(Event::Connected(Ok(()))) {
            if let Action::SendAll { to: Server, bytes } = action {
                sent = bytes;
            }
        }
        if !sent.is_empty() {
            let result = Ok(sent.len() as u32);
            assert_eq!(bench.step(Event::SentAll { to: Server, result }), [receive(Client)]);
        }
        (bench, sent)
    }

    fn with(&mut self, act: impl FnOnce(&mut Option<Session>, &mut Cx<'_>)) -> Vec<Action> {
        let mut cx = Cx {
            now_us: self.now_us,
            config: &self.config,
            pools: &self.pools,
            listeners: &self.listeners,
            worker: 0,
            habits: &mut self.habits,
            hosts: &mut self.hosts,
            random: &mut self.random,
            buffer_size: BUFFER_SIZE,
            pipe_size: PIPE_SIZE,
            actions: &mut self.actions,
        };
        act(&mut self.session, &mut cx);
        std::mem::take(&mut self.actions)
    }

    fn step(&mut self, event: Event<'_>) -> Vec<Action> {
        self.with(|session, cx| session.as_mut().unwrap().step(event, cx))
    }

    fn from(&mut self, side: Side, bytes: &[u8]) -> Vec<Action> {
        self.received(side, bytes, Rest::Drained)
    }

    fn received(&mut self, side: Side, bytes: &[u8], rest: Rest) -> Vec<Action> {
        let buffer = (!bytes.is_empty()).then_some(BUFFER);
        self.step(Event::Received { side, result: Ok(bytes), buffer, rest })
    }

    fn eof(&mut self, side: Side) -> Vec<Action> {
        self.from(side, b"")
    }

    fn fault(&mut self, side: Side, fault: Fault) -> Vec<Action> {
        self.step(Event::Received { side, result: Err(fault), buffer: None, rest: Rest::Drained })
    }

    fn sent(&mut self, to: Side, result: Result<u32, Fault>) -> Vec<Action> {
        self.step(Event::Sent { to, buffer: BUFFER, result })
    }

    fn sent_all(&mut self, to: Side, sent: u32) -> Vec<Action> {
        self.step(Event::SentAll { to, result: Ok(sent) })
    }

    /// Two full reads in a row, both passed on; what follows the last.
    fn bulk(&mut self, side: Side) -> Vec<Action> {
        self.from(side, b"12345678");
        self.sent(side.opposite(), Ok(8));
        self.from(side, b"12345678");
        self.sent(side.opposite(), Ok(8))
    }
}

fn receive(side: Side) -> Action {
    Action::Receive { side, patience: Patience::Wait }
}

fn send(to: Side, until: u32) -> Action {
    Action::Send { to, buffer: BUFFER, from: 0, until }
}

/// Both sides have said EOF: they are closed, and the session ends for `reason`.
#[track_caller]
fn assert_ended(bench: &mut Bench, actions: &[Action], reason: CloseReason) {
    assert_eq!(actions, closes(Farewell::Orderly, Farewell::Ended));
    assert_ends(bench, reason);
}

fn closes(client: Farewell, server: Farewell) -> [Action; 3] {
    [Action::NoDeadline, Action::Close(Client, client), Action::Close(Server, server)]
}

/// Both sides are closed orderly, and the session ends for `reason`.
#[track_caller]
fn assert_closes(bench: &mut Bench, actions: &[Action], reason: CloseReason) {
    assert_eq!(actions, closes(Farewell::Orderly, Farewell::Orderly));
    assert_ends(bench, reason);
}

#[track_caller]
fn assert_ends(bench: &mut Bench, reason: CloseReason) {
    assert_eq!(bench.step(Event::Closed(Client)), []);
    assert_eq!(bench.step(Event::Closed(Server)), [Action::End(reason)]);
}

/// The client is told `status`, and everything is thrown away until it has closed.
#[track_caller]
fn assert_refused(bench: &mut Bench, actions: &[Action], status: &str, reason: CloseReason) {
    let Some(Action::SendAll { to: Client, bytes }) = actions.last() else {
        panic!("no answer: {actions:?}")
    };
    assert!(bytes.starts_with(format!("HTTP/1.1 {status} ").as_bytes()));
    let lingering =
        [Action::Shutdown(Client), Action::Receive { side: Client, patience: Patience::Try }];
    assert_eq!(bench.sent_all(Client, bytes.len() as u32), lingering);
    let on = [Action::Release(BUFFER), Action::Receive { side: Client, patience: Patience::Try }];
    assert_eq!(bench.from(Client, b"more"), on);
    let actions = bench.eof(Client);
    assert_closes(bench, &actions, reason);
}

fn connect_of(actions: &[Action]) -> Option<(ServerIndex, bool)> {
    actions.iter().find_map(|action| match action {
        Action::Connect { server, data_in_hand, .. } => Some((*server, *data_in_hand)),
        _ => None,
    })
}

#[test]
fn a_session_stays_small() {
    // 10,000 idle sessions must fit in 0.3 KiB each, with what the worker keeps beside them.
    assert!(size_of::<Session>() <= 200, "{} bytes", size_of::<Session>());
}
