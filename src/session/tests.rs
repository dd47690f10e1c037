//! Rows of (phase, event) → actions, by phase.

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
    ],
    "pools": {
        "raw": { "servers": ["10.1.0.1:1", "10.1.0.2:1"] },
        "sid": { "sticky": "socketio", "servers": ["10.2.0.1:1", "10.2.0.2:1"] },
        "strict": { "sticky": { "by": "socketio", "strict": true }, "servers": ["10.3.0.1:1"] },
        "insert": { "sticky": { "by": "insert", "name": "srv", "secret": "s" },
                    "servers": ["10.4.0.1:1"] },
        "learn": { "sticky": { "by": "cookie", "name": "srv", "learn": true },
                   "servers": ["10.5.0.1:1"] },
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
                let (id, weight, backup) = (server.id.clone(), server.weight, server.backup);
                ServerSpec { address: address.clone(), id, weight, backup }
            };
            Pool::new(spec, spec.servers.iter().map(server).collect())
        };
        let pools = config.pools.iter().map(pool).collect();
        let (hosts, random) = (Hosts::default(), Random::new(1));
        let actions = Vec::new();
        Self { config, pools, hosts, random, now_us: 1_000_000, session: None, actions }
    }

    /// A client of `listener`, and what was done at once.
    fn accept(listener: u16) -> (Self, Vec<Action>) {
        Self::accept_from(listener, [10, 0, 0, 1])
    }

    fn accept_from(listener: u16, ip: [u8; 4]) -> (Self, Vec<Action>) {
        let mut bench = Self::new();
        let client = Some(SocketAddr::from((ip, 4000)));
        let actions = bench.with(|session, cx| {
            *session = Some(Session::accept(listener, client, None, cx));
        });
        (bench, actions)
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
        let buffer = (!bytes.is_empty()).then_some(BUFFER);
        self.step(Event::Received { side, result: Ok(bytes), buffer, unread: false })
    }

    fn eof(&mut self, side: Side) -> Vec<Action> {
        self.from(side, b"")
    }

    fn fault(&mut self, side: Side, fault: Fault) -> Vec<Action> {
        self.step(Event::Received { side, result: Err(fault), buffer: None, unread: false })
    }

    fn sent(&mut self, to: Side, result: Result<u32, Fault>) -> Vec<Action> {
        self.step(Event::Sent { to, buffer: BUFFER, result })
    }

    fn sent_all(&mut self, to: Side, sent: u32) -> Vec<Action> {
        self.step(Event::SentAll { to, result: Ok(sent) })
    }

    /// Three full reads in a row, all passed on; what follows the last.
    fn bulk(&mut self, side: Side) -> Vec<Action> {
        for _ in 0..2 {
            self.from(side, b"12345678");
            self.sent(side.opposite(), Ok(8));
        }
        self.from(side, b"12345678");
        self.sent(side.opposite(), Ok(8))
    }
}

fn receive(side: Side) -> Action {
    Action::Receive { side, drained: true }
}

fn send(to: Side, until: u32) -> Action {
    Action::Send { to, buffer: BUFFER, from: 0, until }
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
    let lingering = [Action::Shutdown(Client), Action::Receive { side: Client, drained: false }];
    assert_eq!(bench.sent_all(Client, bytes.len() as u32), lingering);
    let on = [Action::Release(BUFFER), Action::Receive { side: Client, drained: false }];
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

mod accept_and_peek {
    use super::*;

    #[test]
    fn a_denied_client_is_closed_before_a_byte_is_read() {
        let (mut bench, actions) = Bench::accept_from(RAW, [10, 9, 1, 1]);
        assert_closes(&mut bench, &actions, CloseReason::Denied);
    }

    #[test]
    fn nothing_to_peek_at_connects_at_once() {
        let (_, actions) = Bench::accept(RAW);
        assert_eq!(connect_of(&actions), Some((ServerIndex(0), false)));
        assert!(!actions.iter().any(|action| matches!(action, Action::Receive { .. })));
    }

    #[test]
    fn a_proxy_header_comes_first_and_names_the_client() {
        let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\nhello";
        for cut in 1..header.len() {
            let (mut bench, actions) = Bench::accept_from(RAW, [10, 8, 0, 1]);
            assert!(matches!(actions[..], [Action::Deadline { .. }, Action::Receive { .. }]));
            let mut actions = bench.from(Client, &header[..cut]);
            if connect_of(&actions).is_none() {
                actions = bench.from(Client, &header[cut..]);
            }
            assert!(connect_of(&actions).is_some(), "{cut}");
            let about = bench.session.as_ref().unwrap().about();
            assert_eq!(about.client, Some("192.0.2.1:5".parse().unwrap()));
        }
        let (mut bench, _) = Bench::accept_from(RAW, [10, 8, 0, 1]);
        let actions = bench.from(Client, b"hello");
        assert_closes(&mut bench, &actions[1..], CloseReason::ProxyMalformed);
    }

    #[test]
    fn auto_waits_its_time_for_a_first_byte_behind_a_late_proxy_header() {
        let (mut bench, _) = Bench::accept_from(AUTO, [10, 8, 0, 1]);
        bench.now_us += 1_000_000;
        let actions = bench.from(Client, b"PROXY UNKNOWN\r\n");
        let Action::Deadline { at_ms } = actions[1] else { panic!("{actions:?}") };
        assert!(at_ms > bench.now_us / 1000);
    }

    #[test]
    fn a_head_in_two_pieces_connects_with_the_second() {
        for cut in 1..GET.len() {
            let (mut bench, _) = Bench::accept(HTTP);
            assert_eq!(
                bench.from(Client, &GET[..cut]),
                [Action::Release(BUFFER), receive(Client)],
                "{cut}"
            );
            assert_eq!(connect_of(&bench.from(Client, &GET[cut..])), Some((ServerIndex(0), true)));
        }
    }

    #[test]
    fn a_client_that_goes_before_its_head_is_whole_is_closed() {
        for (listener, bytes, reason) in [
            (HTTP, &b""[..], CloseReason::ClientSilent),
            (HTTP, b"GET / HT", CloseReason::HeadIncomplete),
            (TLS, b"\x16\x03\x01", CloseReason::HeadIncomplete),
            (AUTO, b"", CloseReason::ClientSilent),
        ] {
            let (mut bench, _) = Bench::accept(listener);
            if !bytes.is_empty() {
                bench.from(Client, bytes);
            }
            let actions = bench.eof(Client);
            assert_closes(&mut bench, &actions, reason);
        }
        for (fault, reason) in [
            (Fault::Reset, CloseReason::ClientReset),
            (Fault::TimedOut, CloseReason::ClientLost),
            (Fault::Other(5), CloseReason::ClientReset),
        ] {
            let (mut bench, _) = Bench::accept(HTTP);
            let actions = bench.fault(Client, fault);
            assert_closes(&mut bench, &actions, reason);
        }
    }

    #[test]
    fn a_late_head_is_answered_and_a_silent_client_closed() {
        let (mut bench, _) = Bench::accept(HTTP);
        let actions = bench.step(Event::Deadline);
        assert_closes(&mut bench, &actions, CloseReason::ClientSilent);

        let (mut bench, _) = Bench::accept(HTTP);
        bench.from(Client, b"GET / HT");
        let actions = bench.step(Event::Deadline);
        let Some(Action::SendAll { bytes, .. }) = actions.last() else { panic!("{actions:?}") };
        // The receive is pending still, so none is asked for.
        let sent = bytes.len() as u32;
        assert!(bytes.starts_with(b"HTTP/1.1 408 "));
        assert_eq!(bench.sent_all(Client, sent), [Action::Shutdown(Client)]);
        let actions = bench.eof(Client);
        assert_closes(&mut bench, &actions, CloseReason::HeadLate);

        let (mut bench, _) = Bench::accept(TLS);
        bench.from(Client, b"\x16\x03\x01");
        let actions = bench.step(Event::Deadline);
        assert_closes(&mut bench, &actions, CloseReason::HeadLate);
    }

    #[test]
    fn an_answer_is_sent_before_an_eof_ends_the_session() {
        let (mut bench, _) = Bench::accept(HTTP);
        bench.from(Client, b"GET / HT");
        bench.step(Event::Deadline);
        assert_eq!(bench.eof(Client), []);
        let actions = bench.sent_all(Client, 1);
        assert_closes(&mut bench, &actions, CloseReason::HeadLate);
    }

    #[test]
    fn bad_heads_are_refused() {
        let (mut bench, _) = Bench::accept(HTTP);
        let actions = bench.from(Client, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
        assert_refused(&mut bench, &actions, "400", CloseReason::HeadMalformed);

        let (mut bench, _) = Bench::accept(HTTP);
        let mut actions = Vec::new();
        while !matches!(actions.last(), Some(Action::SendAll { .. })) {
            actions = bench.from(Client, if actions.is_empty() { b"GET /" } else { &[b'a'; 999] });
        }
        assert_refused(&mut bench, &actions, "431", CloseReason::HeadTooLarge);

        let (mut bench, _) = Bench::accept(TLS);
        let actions = bench.from(Client, b"\x16\x03\x01\x00\x04\x01\x00\x00\x00");
        assert_closes(&mut bench, &actions[1..], CloseReason::HelloMalformed);
    }

    #[test]
    fn what_is_no_http_goes_on_untouched() {
        let (mut bench, _) = Bench::accept(HTTP);
        bench.from(Client, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let actions = bench.step(Event::Connected(Ok(())));
        let bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        assert!(actions.contains(&Action::SendAll { to: Server, bytes }), "{actions:?}");
    }

    #[test]
    fn auto_goes_on_without_a_byte_and_keeps_its_receive() {
        let (mut bench, _) = Bench::accept(AUTO);
        assert_eq!(connect_of(&bench.step(Event::Deadline)), Some((ServerIndex(0), false)));
        let actions = bench.step(Event::Connected(Ok(())));
        assert_eq!(actions, [Action::NoDeadline, receive(Server)]);
        assert_eq!(bench.from(Client, b"late"), [send(Server, 4)]);
    }

    #[test]
    fn auto_holds_what_comes_while_its_first_bytes_are_sent() {
        let (mut bench, _) = Bench::accept(AUTO);
        bench.from(Client, b"GET /");
        assert_eq!(connect_of(&bench.step(Event::Deadline)), Some((ServerIndex(0), true)));
        bench.step(Event::Connected(Ok(())));
        assert_eq!(bench.from(Client, b"2nd"), [Action::Release(BUFFER), receive(Client)]);
        assert_eq!(bench.eof(Client), []);
        let second = Action::SendAll { to: Server, bytes: b"2nd".to_vec() };
        assert_eq!(bench.sent_all(Server, 5), [second]);
        let actions = bench.sent_all(Server, 3);
        assert!(matches!(actions[..], [Action::Shutdown(Server), Action::Deadline { .. }]));
    }

    #[test]
    fn auto_takes_bytes_and_eof_while_it_connects() {
        let (mut bench, _) = Bench::accept(AUTO);
        bench.step(Event::Deadline);
        assert_eq!(bench.from(Client, b"one"), [Action::Release(BUFFER)]);
        let first = Action::SendAll { to: Server, bytes: b"one".to_vec() };
        let actions = [Action::NoDeadline, first, receive(Server)];
        assert_eq!(bench.step(Event::Connected(Ok(()))), actions);
        assert_eq!(bench.sent_all(Server, 3), [receive(Client)]);

        let (mut bench, _) = Bench::accept(AUTO);
        bench.step(Event::Deadline);
        bench.eof(Client);
        let actions = [Action::NoDeadline, Action::Shutdown(Server), receive(Server)];
        assert_eq!(bench.step(Event::Connected(Ok(()))), actions);

        let (mut bench, _) = Bench::accept(AUTO);
        bench.step(Event::Deadline);
        let actions = bench.fault(Client, Fault::Reset);
        assert_closes(&mut bench, &actions, CloseReason::ClientReset);
    }
}

mod connect {
    use super::*;

    #[test]
    fn a_server_that_fails_is_closed_and_another_tried() {
        for failure in [Event::Connected(Err(Fault::Refused)), Event::Deadline] {
            let (mut bench, _) = Bench::accept(RAW);
            assert_eq!(bench.step(failure), [Action::Close(Server, Farewell::Reset)]);
            let actions = bench.step(Event::Closed(Server));
            assert_eq!(connect_of(&actions), Some((ServerIndex(1), false)));
            assert_eq!(bench.pools[0].servers()[0].live(), 0);
            assert_eq!(bench.pools[0].servers()[1].live(), 1);
        }
    }

    #[test]
    fn without_a_server_tcp_is_closed_and_http_answered() {
        let (mut bench, _) = Bench::accept(RAW);
        bench.step(Event::Connected(Err(Fault::Refused)));
        bench.step(Event::Closed(Server));
        bench.step(Event::Connected(Err(Fault::NoDescriptors)));
        let actions = bench.step(Event::Closed(Server));
        assert_closes(&mut bench, &actions, CloseReason::ConnectFailed);

        let (mut bench, _) = Bench::accept(STRICT);
        bench.from(Client, GET);
        bench.step(Event::Deadline);
        let actions = bench.step(Event::Closed(Server));
        assert_refused(&mut bench, &actions, "503", CloseReason::ConnectFailed);
    }

    #[test]
    fn a_lost_key_is_refused_where_the_pool_is_strict() {
        let (mut bench, _) = Bench::accept(STRICT);
        let request = b"GET /socket.io/?EIO=4&transport=polling&sid=0123456789 HTTP/1.1\r\n\
            Host: a\r\n\r\n";
        let actions = bench.from(Client, request);
        assert_refused(&mut bench, &actions, "503", CloseReason::KeyLost);
    }

    #[test]
    fn stopping_leaves_the_place() {
        let (mut bench, _) = Bench::accept(RAW);
        let actions = bench.step(Event::Stop);
        assert_closes(&mut bench, &actions, CloseReason::Stopped);
        let session = bench.session.take().unwrap();
        session.leave(&bench.pools, 0);
        assert_eq!(bench.pools[0].servers()[0].live(), 0);
    }
}

mod relay {
    use super::*;

    fn relaying() -> Bench {
        let (bench, sent) = Bench::relaying(RAW, b"");
        assert!(sent.is_empty());
        bench
    }

    #[test]
    fn bytes_go_both_ways_and_nothing_is_received_before_they_are_sent() {
        let mut bench = relaying();
        for (from, to) in [(Client, Server), (Server, Client)] {
            assert_eq!(bench.from(from, b"abc"), [send(to, 3)]);
            assert_eq!(bench.sent(to, Ok(3)), [Action::Release(BUFFER), receive(from)]);
        }
    }

    #[test]
    fn what_a_slow_reader_leaves_is_sent_before_more_is_received() {
        for (result, from) in [(Ok(1), 1), (Err(Fault::WouldBlock), 0)] {
            let mut bench = relaying();
            bench.from(Client, b"abc");
            let left = Action::SendLeft { to: Server, buffer: BUFFER, from, until: 3 };
            let actions = [left, Action::Await(Client, Readiness::HangUp)];
            assert_eq!(bench.sent(Server, result), actions);
            assert_eq!(bench.sent_all(Server, 3 - from), [receive(Client)]);
        }
    }

    #[test]
    fn eof_is_passed_on_and_two_of_them_close() {
        for (first, reason) in
            [(Client, CloseReason::ClientClosed), (Server, CloseReason::ServerClosed)]
        {
            let mut bench = relaying();
            let second = first.opposite();
            let actions = bench.eof(first);
            assert_eq!(actions[0], Action::Shutdown(second));
            assert!(matches!(actions[1..], [Action::Deadline { .. }]));
            // The other half lives on.
            assert_eq!(bench.from(second, b"abc"), [send(first, 3)]);
            assert_eq!(bench.sent(first, Ok(3)), [Action::Release(BUFFER), receive(second)]);
            assert_eq!(bench.step(Event::Deadline), [Action::Await(first, Readiness::HangUp)]);
            let actions = bench.eof(second);
            assert_closes(&mut bench, &actions, reason);
        }
    }

    #[test]
    fn a_clients_reset_resets_the_server_at_once() {
        for (fault, reason) in
            [(Fault::Reset, CloseReason::ClientReset), (Fault::TimedOut, CloseReason::ClientLost)]
        {
            let resets = closes(Farewell::Orderly, Farewell::Reset);
            let mut bench = relaying();
            assert_eq!(bench.fault(Client, fault), resets);
            assert_ends(&mut bench, reason);

            // Seen by a send to it.
            let mut bench = relaying();
            bench.from(Server, b"abc");
            let actions = bench.sent(Client, Err(fault));
            assert_eq!(actions[0], Action::Release(BUFFER));
            assert_eq!(actions[1..], resets);
            assert_ends(&mut bench, reason);
        }
        // Seen by the poll of a half that does not read.
        let mut bench = relaying();
        bench.from(Client, b"abc");
        bench.sent(Server, Ok(1));
        assert_eq!(bench.step(Event::HangUp { side: Client, error: false }), []);
        let actions = bench.step(Event::HangUp { side: Client, error: true });
        assert_eq!(actions, closes(Farewell::Orderly, Farewell::Reset));
    }

    fn assert_forwards_reset(bench: &mut Bench, actions: &[Action], reason: CloseReason) {
        let expected = [
            Action::Close(Server, Farewell::Orderly),
            Action::Await(Client, Readiness::HangUp),
            Action::AskUnsent(Client),
        ];
        assert_eq!(actions, expected);
        assert_eq!(bench.step(Event::Closed(Server)), []);
        // The client may still send and close; it is reset once it has everything.
        assert_eq!(bench.from(Client, b"abc"), [Action::Release(BUFFER)]);
        assert_eq!(bench.eof(Client), []);
        assert!(matches!(bench.step(Event::Unsent(Client, Ok(1)))[..], [Action::Deadline { .. }]));
        assert_eq!(bench.step(Event::Deadline), [Action::AskUnsent(Client)]);
        let resets = [Action::NoDeadline, Action::Close(Client, Farewell::Reset)];
        assert_eq!(bench.step(Event::Unsent(Client, Ok(0))), resets);
        assert_eq!(bench.step(Event::Closed(Client)), [Action::End(reason)]);
    }

    #[test]
    fn a_servers_reset_reaches_the_client_behind_what_came_before() {
        let mut bench = relaying();
        let actions = bench.fault(Server, Fault::Reset);
        assert_forwards_reset(&mut bench, &actions, CloseReason::ServerReset);

        let mut bench = relaying();
        let actions = bench.fault(Server, Fault::Unreachable);
        assert_forwards_reset(&mut bench, &actions, CloseReason::ServerLost);

        // A send failed; its half still brings what it said.
        let mut bench = relaying();
        bench.from(Client, b"abc");
        let actions = bench.sent(Server, Err(Fault::Reset));
        let waits = Action::Await(Client, Readiness::HangUp);
        assert_eq!(actions, [Action::Release(BUFFER), waits]);
        assert_eq!(bench.from(Server, b"last"), [send(Client, 4)]);
        assert_eq!(bench.sent(Client, Ok(4)), [Action::Release(BUFFER), receive(Server)]);
        let actions = bench.fault(Server, Fault::Reset);
        assert_forwards_reset(&mut bench, &actions, CloseReason::ServerReset);

        // It had said EOF before.
        let mut bench = relaying();
        bench.eof(Server);
        bench.from(Client, b"abc");
        let actions = bench.sent(Server, Err(Fault::Reset));
        assert_forwards_reset(&mut bench, &actions[1..], CloseReason::ServerReset);
    }

    #[test]
    fn a_client_that_never_acknowledges_is_reset_in_time() {
        let mut bench = relaying();
        bench.fault(Server, Fault::Reset);
        bench.now_us += 5_000_000;
        let actions = bench.step(Event::Unsent(Client, Ok(1)));
        assert_eq!(actions, [Action::NoDeadline, Action::Close(Client, Farewell::Reset)]);
    }

    #[test]
    fn a_server_that_broke_and_ends_lets_the_client_read() {
        let mut bench = relaying();
        bench.from(Client, b"abc");
        bench.sent(Server, Err(Fault::Reset));
        let actions = bench.eof(Server);
        let receives = Action::Receive { side: Client, drained: false };
        assert!(matches!(actions[0], Action::Deadline { .. }));
        assert_eq!(actions[1..], [Action::Shutdown(Client), receives]);
        let actions = bench.step(Event::Deadline);
        assert_closes(&mut bench, &actions, CloseReason::ServerClosed);
    }

    #[test]
    fn a_short_send_of_owned_bytes_means_it_broke() {
        let mut bench = relaying();
        bench.from(Server, b"abc");
        bench.sent(Client, Ok(1));
        let actions = bench.sent_all(Client, 1);
        assert_eq!(actions, closes(Farewell::Orderly, Farewell::Reset));
    }

    #[test]
    fn stopping_closes_both_sides() {
        let mut bench = relaying();
        let actions = bench.step(Event::Stop);
        assert_eq!(bench.step(Event::Stop), []);
        assert_eq!(bench.from(Client, b"late"), [Action::Release(BUFFER)]);
        assert_eq!(bench.sent(Client, Ok(1)), [Action::Release(BUFFER)]);
        assert_closes(&mut bench, &actions, CloseReason::Stopped);
    }
}

mod splice {
    use super::*;

    fn spliced() -> Bench {
        let (mut bench, _) = Bench::relaying(RAW, b"");
        assert_eq!(bench.bulk(Server), [Action::Release(BUFFER), AWAIT]);
        bench
    }

    /// There is something to splice.
    fn turn(bench: &mut Bench) {
        assert_eq!(bench.step(Event::Readable(Server)), [Action::TakePipe(Server)]);
        assert_eq!(bench.step(Event::Pipe(Server, Ok(()))), [IN]);
    }

    const IN: Action = Action::SpliceIn(Server, PIPE_SIZE);
    const AWAIT: Action = Action::Await(Server, Readiness::Readable);

    #[test]
    fn bulk_is_spliced_and_copied_again_when_quiet() {
        let mut bench = spliced();
        for onward in [AWAIT, receive(Server)] {
            turn(&mut bench);
            assert_eq!(bench.step(Event::SplicedIn(Server, Ok(7))), [Action::SpliceOut(Server, 7)]);
            assert_eq!(bench.step(Event::SplicedOut(Server, Ok(7))), [IN]);
            let actions = bench.step(Event::SplicedIn(Server, Err(Fault::WouldBlock)));
            // Whoever waits holds no pipe.
            assert_eq!(actions, [Action::ReturnPipe(Server, PipeState::Empty), onward]);
        }
        assert_eq!(bench.from(Server, b"abc"), [send(Client, 3)]);
    }

    #[test]
    fn a_futile_wake_up_falls_back_to_receiving_at_once() {
        let mut bench = spliced();
        turn(&mut bench);
        let back = Action::ReturnPipe(Server, PipeState::Empty);
        let actions = [back, Action::Receive { side: Server, drained: false }];
        assert_eq!(bench.step(Event::SplicedIn(Server, Err(Fault::WouldBlock))), actions);
    }

    #[test]
    fn without_a_pipe_bytes_are_copied() {
        let (mut bench, _) = Bench::relaying(RAW, b"");
        bench.bulk(Client);
        bench.step(Event::Readable(Client));
        let actions = bench.step(Event::Pipe(Client, Err(Fault::NoDescriptors)));
        assert_eq!(actions, [Action::Receive { side: Client, drained: false }]);
    }

    #[test]
    fn a_full_client_is_waited_for_with_exactly_what_the_pipe_holds() {
        let mut bench = spliced();
        turn(&mut bench);
        bench.step(Event::SplicedIn(Server, Ok(20)));
        assert_eq!(bench.step(Event::SplicedOut(Server, Ok(5))), [Action::SpliceOut(Server, 15)]);
        let waits = [Action::AwaitRoom(Client), Action::Await(Server, Readiness::HangUp)];
        assert_eq!(bench.step(Event::SplicedOut(Server, Err(Fault::WouldBlock))), waits);
        // Its own half will bring the reset, behind what is in the pipe.
        assert_eq!(bench.step(Event::HangUp { side: Server, error: true }), []);
        assert_eq!(bench.step(Event::Room(Client)), [Action::SpliceOut(Server, 15)]);
        assert_eq!(bench.step(Event::SplicedOut(Server, Ok(15))), [IN]);
    }

    #[test]
    fn eof_follows_the_last_spliced_byte() {
        let mut bench = spliced();
        turn(&mut bench);
        bench.step(Event::SplicedIn(Server, Ok(20)));
        bench.step(Event::SplicedOut(Server, Err(Fault::WouldBlock)));
        bench.step(Event::Room(Client));
        assert_eq!(bench.step(Event::SplicedOut(Server, Ok(20))), [IN]);
        let actions = bench.step(Event::SplicedIn(Server, Ok(0)));
        assert_eq!(actions[0], Action::ReturnPipe(Server, PipeState::Empty));
        assert_eq!(actions[1], Action::Shutdown(Client));
    }

    #[test]
    fn a_pipe_that_holds_bytes_is_not_called_empty() {
        let mut bench = spliced();
        turn(&mut bench);
        bench.step(Event::SplicedIn(Server, Ok(20)));
        let actions = bench.step(Event::SplicedOut(Server, Err(Fault::Reset)));
        assert_eq!(actions[0], Action::ReturnPipe(Server, PipeState::Holding));
        assert_eq!(actions[1..], closes(Farewell::Orderly, Farewell::Reset));
    }

    #[test]
    fn a_turn_is_bounded() {
        let mut bench = spliced();
        turn(&mut bench);
        for _ in 1..(1 << 20) / PIPE_SIZE {
            bench.step(Event::SplicedIn(Server, Ok(PIPE_SIZE)));
            assert_eq!(bench.step(Event::SplicedOut(Server, Ok(PIPE_SIZE))), [IN]);
        }
        bench.step(Event::SplicedIn(Server, Ok(PIPE_SIZE)));
        let rests = [Action::ReturnPipe(Server, PipeState::Empty), AWAIT];
        assert_eq!(bench.step(Event::SplicedOut(Server, Ok(PIPE_SIZE))), rests);
    }
}

mod watch {
    use super::*;

    /// What is sent to a side, as text.
    fn sent_to(side: Side, actions: &[Action]) -> String {
        let sent = actions.iter().find_map(|action| match action {
            Action::SendAll { to, bytes } if *to == side => Some(bytes),
            _ => None,
        });
        sent.map(|bytes| String::from_utf8(bytes.clone()).unwrap()).unwrap_or_default()
    }

    #[test]
    fn one_request_passes_and_nothing_behind_its_end() {
        let (mut bench, sent) = Bench::relaying(HTTP, &[GET, b"GET /2 HTTP/1.1\r\n"].concat());
        let sent = String::from_utf8(sent).unwrap();
        assert!(sent.ends_with("\r\n\r\n") && sent.contains("Connection: close\r\n"), "{sent}");
        assert_eq!(bench.from(Client, b"more"), [Action::Release(BUFFER), receive(Client)]);

        let post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab";
        let (mut bench, sent) = Bench::relaying(HTTP, post);
        assert!(sent.ends_with(b"\r\n\r\nab"));
        assert_eq!(bench.from(Client, b"cdeGET"), [send(Server, 3)]);
    }

    #[test]
    fn a_trusted_head_passes_as_it_is() {
        let (mut bench, sent) = Bench::relaying(TRUST, GET);
        assert_eq!(sent, GET);
        assert_eq!(bench.from(Client, b"more"), [send(Server, 4)]);
        assert_eq!(bench.from(Server, b"any"), [send(Client, 3)]);
    }

    #[test]
    fn a_response_is_edited_however_it_is_split() {
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n2x";
        for cut in 1..response.len() - 2 {
            let (mut bench, _) = Bench::relaying(HTTP, GET);
            let held = [Action::Release(BUFFER), receive(Server)];
            assert_eq!(bench.from(Server, &response[..cut]), held, "{cut}");
            let passed = sent_to(Client, &bench.from(Server, &response[cut..]));
            assert!(passed.contains("Connection: close\r\n"), "{passed}");
            assert!(passed.ends_with("\r\n\r\n2x"), "{passed}");
        }
    }

    #[test]
    fn an_interim_head_passes_at_once() {
        let interim = "HTTP/1.1 100 Continue\r\n\r\n";
        let (mut bench, _) = Bench::relaying(HTTP, GET);
        assert_eq!(sent_to(Client, &bench.from(Server, interim.as_bytes())), interim);
        assert_eq!(bench.sent_all(Client, interim.len() as u32), [receive(Server)]);
        let passed = sent_to(Client, &bench.from(Server, REFUSED));
        assert!(passed.starts_with("HTTP/1.1 400") && passed.contains("Connection: close"));
    }

    #[test]
    fn a_sid_is_learned_from_a_later_packet() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n";
        let (mut bench, _) = Bench::relaying(HTTP, GET);
        assert_eq!(bench.from(Server, head), [Action::Release(BUFFER), receive(Server)]);
        let actions = bench.from(Server, br#"0{"sid":"0123456789","x":1}"#);
        assert!(sent_to(Client, &actions).ends_with(r#""x":1}"#));
        assert_eq!(bench.pools[1].learned(), 1);
    }

    #[test]
    fn cookies_are_inserted_and_learned() {
        let (mut bench, _) = Bench::relaying(INSERT, GET);
        let passed = sent_to(Client, &bench.from(Server, REFUSED));
        assert!(passed.to_lowercase().contains("set-cookie: srv="), "{passed}");

        let (mut bench, _) = Bench::relaying(LEARN, GET);
        let response = b"HTTP/1.1 200 OK\r\nSet-Cookie: srv=abc\r\n\r\n";
        assert_eq!(sent_to(Client, &bench.from(Server, response)).as_bytes(), response);
        assert_eq!(bench.pools[4].learned(), 1);
    }

    #[test]
    fn eof_passes_a_response_that_is_held_and_then_itself() {
        for held in ["HTTP/1.1 200 OK\r\nConte", "HTTP/1.1 200 OK\r\n\r\n0{\"si"] {
            let (mut bench, _) = Bench::relaying(HTTP, GET);
            bench.from(Server, held.as_bytes());
            let passed = sent_to(Client, &bench.eof(Server));
            assert_eq!(passed[..15], held[..15]);
            let actions = bench.sent_all(Client, passed.len() as u32);
            assert_eq!(actions[0], Action::Shutdown(Client));
        }
    }

    #[test]
    fn frames_wait_for_the_upgrade() {
        let (mut bench, sent) = Bench::relaying(HTTP, &[UPGRADE, b"one"].concat());
        assert_eq!(sent, UPGRADE);
        assert_eq!(bench.from(Client, b"two"), [Action::Release(BUFFER), receive(Client)]);
        let actions = bench.from(Server, AGREED);
        assert_eq!(sent_to(Client, &actions).as_bytes(), AGREED);
        assert_eq!(sent_to(Server, &actions), "onetwo");
        // What comes while they are sent waits behind them.
        assert_eq!(bench.from(Client, b"three"), [Action::Release(BUFFER), receive(Client)]);
        assert_eq!(sent_to(Server, &bench.sent_all(Server, 6)), "three");
        assert_eq!(bench.sent_all(Server, 5), []);
        assert_eq!(bench.from(Client, b"four"), [send(Server, 4)]);
    }

    #[test]
    fn a_refused_upgrade_drops_what_was_held() {
        let (mut bench, _) = Bench::relaying(HTTP, &[UPGRADE, b"one"].concat());
        let actions = bench.from(Server, REFUSED);
        assert_eq!(sent_to(Server, &actions), "");
        assert_eq!(bench.from(Client, b"two"), [Action::Release(BUFFER), receive(Client)]);
    }

    #[test]
    fn too_many_frames_pause_the_client_until_the_answer() {
        const FRAMES: &[u8] = &[0; 64 * 1024];
        for (answer, is_agreed) in [(AGREED, true), (REFUSED, false)] {
            let (mut bench, _) = Bench::relaying(HTTP, UPGRADE);
            let waits = Action::Await(Client, Readiness::HangUp);
            assert_eq!(bench.from(Client, FRAMES), [Action::Release(BUFFER), waits]);
            let actions = bench.from(Server, answer);
            if is_agreed {
                assert_eq!(bench.sent_all(Server, FRAMES.len() as u32), [receive(Client)]);
            } else {
                assert!(actions.contains(&receive(Client)), "{actions:?}");
            }
        }
    }

    #[test]
    fn an_eof_waits_behind_held_frames() {
        for (answer, is_agreed) in [(AGREED, true), (REFUSED, false), (b"", false)] {
            let (mut bench, _) = Bench::relaying(HTTP, &[UPGRADE, b"one"].concat());
            assert_eq!(bench.eof(Client), [Action::Await(Client, Readiness::HangUp)]);
            let mut actions = bench.from(Server, answer);
            if is_agreed {
                assert_eq!(sent_to(Server, &actions), "one");
                actions = bench.sent_all(Server, 3);
            }
            assert!(actions.contains(&Action::Shutdown(Server)), "{actions:?}");
        }
    }

    #[test]
    fn an_answer_before_the_whole_head_is_sent_loses_nothing() {
        let (mut bench, _) = Bench::accept(HTTP);
        bench.from(Client, &[UPGRADE, b"one"].concat());
        bench.step(Event::Connected(Ok(())));
        assert_eq!(sent_to(Server, &bench.from(Server, AGREED)), "");
        assert_eq!(sent_to(Server, &bench.sent_all(Server, UPGRADE.len() as u32)), "one");
        assert_eq!(bench.sent_all(Server, 3), [receive(Client)]);
    }
}
