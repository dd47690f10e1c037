//! The session core against a peer on each side that does anything at any time: what arrives, how
//! much is sent, what fails, and in which order, is the input.
//!
//! Checked at every step: operations that may not be pending together, buffers and pipes that are
//! given back once, bytes in order and none invented, an EOF passed on behind the last byte owed;
//! at the end that nothing is held and no server counts a session.

use std::collections::VecDeque;
use std::net::SocketAddr;

use ringway::config::{self, Config, ServerAddress};
use ringway::hosts::Hosts;
use ringway::metrics::{ListenerCounts, PerWorker};
use ringway::pool::{Pool, ServerSpec};
use ringway::random::Random;
use ringway::session::{Action, Cx, Event, Habit, PipeState, Rest, Session};
use ringway::sys::{BufferId, Fault, Readiness, Side};

const CONFIG: &str = r#"{
    "listeners": [
        { "bind": "127.0.0.1:1", "peek": "none", "pool": "raw" },
        { "bind": "127.0.0.1:2", "peek": "auto", "pool": "raw",
          "accept_proxy": { "from": ["10.8.0.0/16"] } },
        { "bind": "127.0.0.1:3", "peek": "http", "pool": "sid" },
        { "bind": "127.0.0.1:4", "peek": "http", "pool": "insert", "keep_alive": "trust" },
        { "bind": "127.0.0.1:5", "peek": "tls", "pool": "raw" },
        { "bind": "127.0.0.1:6", "peek": "http", "pool": "learn", "keep_alive": "one_request",
          "head_max_bytes": 1024 },
    ],
    "pools": {
        "raw": { "servers": ["10.1.0.1:1", "10.1.0.2:1"] },
        "sid": { "sticky": "socketio", "forwarded": "replace",
                 "servers": ["10.2.0.1:1", "10.2.0.2:1"] },
        "insert": { "sticky": { "by": "insert", "name": "srv", "secret": "s" },
                    "send_proxy": "v1", "servers": ["10.4.0.1:1"] },
        "learn": { "sticky": { "by": "cookie", "name": "srv", "learn": true },
                   "servers": ["10.5.0.1:1"] },
    },
}"#;

/// The listener that passes bytes as they are.
const RAW: u16 = 0;
const LISTENERS: u16 = 6;
const BUFFER_SIZE: u32 = 64;
const PIPE_SIZE: u32 = 256;
const BUFFERS: u16 = 8;
/// Steps within which a stopped session must have ended.
const STEPS_MAX: usize = 1000;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input { data };
    let (listener, peer) = (u16::from(input.byte()) % LISTENERS, input.byte());
    // Some clients come from whom a PROXY header is expected.
    let ip = if peer % 2 == 0 { [10, 0, 0, peer] } else { [10, 8, 0, peer] };
    let mut machine = Machine::new(listener, input);
    machine.accept(SocketAddr::from((ip, 4000)));
    while machine.session.is_some() && !machine.input.data.is_empty() {
        machine.happen();
    }
    if machine.session.is_some() {
        machine.step(Event::Stop);
    }
    for _ in 0..STEPS_MAX {
        if machine.session.is_none() {
            return machine.assert_empty();
        }
        machine.finish_closing();
    }
    panic!("a stopped session does not end");
}

/// What happens, as bytes; zeros for ever behind the last one.
struct Input<'d> {
    data: &'d [u8],
}

impl<'d> Input<'d> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.data.split_first() else { return 0 };
        self.data = rest;
        byte
    }

    fn take(&mut self, most: usize) -> &'d [u8] {
        let (taken, rest) = self.data.split_at(most.min(self.data.len()));
        self.data = rest;
        taken
    }

    fn fault(&mut self) -> Fault {
        [Fault::Reset, Fault::TimedOut, Fault::Unreachable, Fault::Refused, Fault::NoPorts]
            [usize::from(self.byte()) % 5]
    }
}

/// What is pending on a side, and what it has said and been told.
#[derive(Default)]
struct Peer {
    open: bool,
    closing: bool,
    receives: bool,
    sends: Option<(BufferId, u32, u32)>,
    sends_all: Option<Vec<u8>>,
    awaits_readable: bool,
    awaits_hang_up: bool,
    awaits_room: bool,
    /// What the half that starts here has in its pipe.
    pipe: Option<Vec<u8>>,
    /// Everything received from it.
    said: Vec<u8>,
    /// Everything sent to it.
    heard: Vec<u8>,
    told_eof: bool,
}

struct Machine<'d> {
    input: Input<'d>,
    listener: u16,
    config: Config,
    pools: Vec<Pool>,
    listeners: Vec<PerWorker<ListenerCounts>>,
    habits: Vec<Habit>,
    hosts: Hosts,
    random: Random,
    now_us: u64,
    session: Option<Session>,
    actions: Vec<Action>,
    events: VecDeque<Event<'static>>,
    peers: [Peer; 2],
    connects: bool,
    deadline_ms: Option<u64>,
    /// Contents of the ring buffers that the session owns.
    buffers: Vec<Option<Vec<u8>>>,
}

impl<'d> Machine<'d> {
    fn new(listener: u16, input: Input<'d>) -> Self {
        let config = config::parse(CONFIG).expect("it is right").config;
        let pool = |spec: &config::Pool| {
            let servers = spec.servers.iter().map(|server| {
                let ServerAddress::Address(address) = &server.address else { panic!() };
                ServerSpec::new(server, address.clone())
            });
            Pool::new(spec, servers.collect())
        };
        Self {
            input,
            listener,
            pools: config.pools.iter().map(pool).collect(),
            listeners: config.listeners.iter().map(|_| PerWorker::new(1)).collect(),
            habits: vec![Habit::default(); config.listeners.len()],
            hosts: Hosts::default(),
            random: Random::new(1),
            now_us: 1_000_000,
            session: None,
            actions: Vec::new(),
            events: VecDeque::new(),
            peers: [Peer { open: true, ..Peer::default() }, Peer::default()],
            connects: false,
            deadline_ms: None,
            buffers: vec![None; usize::from(BUFFERS)],
            config,
        }
    }

    fn with(&mut self, act: impl FnOnce(&mut Option<Session>, &mut Cx<'_>)) {
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
    }

    fn accept(&mut self, client: SocketAddr) {
        let (listener, local) = (self.listener, Some(SocketAddr::from(([10, 0, 0, 99], 1))));
        self.with(|session, cx| {
            *session = Some(Session::accept(listener, Some(client), local, cx));
        });
        self.act();
    }

    /// Tells the session, and carries out what it wants until neither has anything left.
    fn step(&mut self, event: Event<'_>) {
        self.with(|session, cx| session.as_mut().expect("it lives").step(event, cx));
        self.act();
    }

    fn act(&mut self) {
        loop {
            for action in std::mem::take(&mut self.actions) {
                assert!(self.session.is_some(), "{action:?} behind the end");
                self.perform(action);
            }
            let Some(event) = self.events.pop_front() else { return };
            if self.session.is_none() {
                continue;
            }
            self.with(|session, cx| session.as_mut().expect("it lives").step(event, cx));
        }
    }

    fn peer(&mut self, side: Side) -> &mut Peer {
        let peer = &mut self.peers[side as usize];
        assert!(peer.open && !peer.closing, "{side:?} is not open");
        peer
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Receive { side, patience: _ } => self.peer(side).receives = true,
            Action::Send { to, buffer, from, until } => {
                self.assert_idle(to);
                let len = self.buffers[usize::from(buffer.0)].as_ref().expect("it is owned").len();
                assert!(from < until && until as usize <= len, "{from}..{until} of {len}");
                self.peer(to).sends = Some((buffer, from, until));
            }
            Action::SendLeft { to, buffer, from, until } => {
                self.assert_idle(to);
                let bytes = self.release(buffer)[from as usize..until as usize].to_vec();
                self.peer(to).sends_all = Some(bytes);
            }
            Action::SendAll { to, bytes } => {
                self.assert_idle(to);
                self.peer(to).sends_all = Some(bytes);
            }
            Action::Release(buffer) => drop(self.release(buffer)),
            Action::Await(side, Readiness::HangUp) => self.peer(side).awaits_hang_up = true,
            Action::Await(side, _) => self.peer(side).awaits_readable = true,
            Action::AwaitRoom(side) => self.peer(side).awaits_room = true,
            Action::Connect { pool, server, .. } => {
                assert!(usize::from(server.0) < self.pools[usize::from(pool.0)].servers().len());
                let peer = &mut self.peers[Side::Server as usize];
                assert!(!peer.open && !self.connects, "one server connection at a time");
                *peer = Peer { open: true, ..Peer::default() };
                self.connects = true;
            }
            Action::Shutdown(side) => {
                let (said, raw) = (self.peers[side.opposite() as usize].said.len(), self.is_raw());
                let peer = self.peer(side);
                assert!(!peer.told_eof, "EOF is said once");
                assert!(!raw || peer.heard.len() == said, "EOF before the last byte");
                peer.told_eof = true;
            }
            Action::Close(side, _) => self.close(side),
            Action::Deadline { at_ms } => self.deadline_ms = Some(at_ms),
            Action::NoDeadline => self.deadline_ms = None,
            Action::End(reason) => {
                let session = self.session.take().expect("it ends once");
                session.leave(reason, &self.pools, 0, self.now_us);
            }
            splicing => self.splice(splicing),
        }
    }

    /// Done at once, with the result as an event.
    fn splice(&mut self, action: Action) {
        let event = match action {
            Action::TakePipe(from) => {
                let refused = self.input.byte() % 4 == 3;
                let peer = self.peer(from);
                assert!(peer.pipe.is_none(), "a half has one pipe");
                peer.pipe = (!refused).then(Vec::new);
                Event::Pipe(from, if refused { Err(Fault::NoDescriptors) } else { Ok(()) })
            }
            Action::ReturnPipe(from, state) => {
                // A side that never took one, or has none left, gives none back.
                let pipe = self.peers[from as usize].pipe.take();
                let empty = pipe.is_none_or(|pipe| pipe.is_empty());
                assert!(state == PipeState::Holding || empty, "a pipe with bytes is pooled");
                return;
            }
            Action::SpliceIn(from, most) => {
                let (how, many) = (self.input.byte(), usize::from(self.input.byte()));
                let result = match how % 8 {
                    0 => Err(Fault::WouldBlock),
                    1 => Err(self.input.fault()),
                    2 => Ok(0),
                    _ => {
                        let peer = &mut self.peers[from as usize];
                        let pipe = peer.pipe.as_mut().expect("a half that splices has a pipe");
                        let room = (PIPE_SIZE as usize - pipe.len()).min(most as usize);
                        let bytes = vec![how; many.min(room)];
                        pipe.extend_from_slice(&bytes);
                        peer.said.extend_from_slice(&bytes);
                        if bytes.is_empty() {
                            Err(Fault::WouldBlock)
                        } else {
                            Ok(bytes.len() as u32)
                        }
                    }
                };
                Event::SplicedIn(from, result)
            }
            Action::SpliceOut(from, exactly) => {
                let (how, many) = (self.input.byte(), usize::from(self.input.byte()));
                let pipe = self.peers[from as usize].pipe.as_mut().expect("it has a pipe");
                assert_eq!(pipe.len(), exactly as usize, "exactly what the pipe holds");
                let result = match how % 8 {
                    0 => Err(Fault::WouldBlock),
                    1 => Err(Fault::Reset),
                    _ => {
                        let moved: Vec<u8> = pipe.drain(..(many + 1).min(pipe.len())).collect();
                        self.hear(from.opposite(), &moved);
                        Ok(moved.len() as u32)
                    }
                };
                Event::SplicedOut(from, result)
            }
            Action::AskUnsent(side) => {
                let unsent = u32::from(self.input.byte() % 3);
                Event::Unsent(side, if unsent == 2 { Err(Fault::Reset) } else { Ok(unsent) })
            }
            other => panic!("{other:?} is carried out elsewhere"),
        };
        self.events.push_back(event);
    }

    fn close(&mut self, side: Side) {
        let peer = &mut self.peers[side as usize];
        if peer.closing {
            return;
        }
        if !peer.open {
            self.events.push_back(Event::Closed(side));
            return;
        }
        peer.closing = true;
    }

    /// The bytes in a buffer, which is the session's no longer.
    fn release(&mut self, buffer: BufferId) -> Vec<u8> {
        self.buffers[usize::from(buffer.0)].take().expect("a buffer is given back once")
    }

    fn assert_idle(&mut self, to: Side) {
        let connects = self.connects && to == Side::Server;
        let peer = self.peer(to);
        assert!(
            peer.sends.is_none() && peer.sends_all.is_none() && !connects,
            "one send at a time"
        );
        assert!(!peer.told_eof, "bytes behind an EOF");
    }

    fn is_raw(&self) -> bool {
        self.listener == RAW
    }

    /// Bytes arrive at a side: what the other one has said, in order.
    fn hear(&mut self, side: Side, bytes: &[u8]) {
        let raw = self.is_raw();
        let [client, server] = &mut self.peers;
        let (peer, other) = match side {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        peer.heard.extend_from_slice(bytes);
        if raw {
            assert!(other.said.starts_with(&peer.heard), "{side:?} hears what nobody has said");
        }
    }

    /// One thing that may happen now.
    fn happen(&mut self) {
        let (what, side) = (self.input.byte(), self.input.byte());
        let side = if side % 2 == 0 { Side::Client } else { Side::Server };
        self.now_us += u64::from(what) * 100;
        if what == u8::MAX {
            return self.step(Event::Kill);
        }
        if self.peers[side as usize].closing {
            return self.finish_closing();
        }
        if !self.peers[side as usize].open {
            return;
        }
        match what % 10 {
            0..=3 => self.arrive(side),
            4..=6 => self.sent(side),
            7 if side == Side::Server && self.connects => {
                self.connects = false;
                let failed = self.input.byte() % 4 == 3;
                let result = if failed { Err(self.input.fault()) } else { Ok(()) };
                self.step(Event::Connected(result));
            }
            7 => {
                let peer = &mut self.peers[side as usize];
                if std::mem::take(&mut peer.awaits_readable) {
                    self.step(Event::Readable(side));
                } else if std::mem::take(&mut peer.awaits_room) {
                    self.step(Event::Room(side));
                }
            }
            8 if std::mem::take(&mut self.peers[side as usize].awaits_hang_up) => {
                let fault = match self.input.byte() % 4 {
                    0 => Some(Fault::Reset),
                    2 => Some(Fault::NoMemory),
                    _ => None,
                };
                self.step(Event::HangUp { side, fault });
            }
            9 => {
                if let Some(at_ms) = self.deadline_ms.take() {
                    self.now_us = self.now_us.max(at_ms * 1000);
                    self.step(Event::Deadline);
                }
            }
            _ => {}
        }
    }

    /// Bytes, EOF or a fault, where they were asked for.
    fn arrive(&mut self, side: Side) {
        let connects = self.connects && side == Side::Server;
        if connects || !std::mem::take(&mut self.peers[side as usize].receives) {
            return;
        }
        let (how, many) = (self.input.byte(), self.input.byte());
        let rest = [Rest::Drained, Rest::Unread, Rest::Streaming][usize::from(how / 16) % 3];
        let none = |result| Event::Received { side, result, buffer: None, rest: Rest::Drained };
        match how % 16 {
            0 => self.step(none(Ok(&[]))),
            1 => {
                let fault = self.input.fault();
                self.step(none(Err(fault)));
            }
            _ => {
                let bytes = self.input.take(1 + usize::from(many) % BUFFER_SIZE as usize);
                if bytes.is_empty() {
                    return self.step(none(Ok(&[])));
                }
                self.peers[side as usize].said.extend_from_slice(bytes);
                let free = self.buffers.iter().position(Option::is_none);
                // What a stream brought unasked is in no buffer.
                let buffer = free.filter(|_| how % 16 != 2).map(|free| {
                    self.buffers[free] = Some(bytes.to_vec());
                    BufferId(free as u16)
                });
                self.step(Event::Received { side, result: Ok(bytes), buffer, rest });
            }
        }
    }

    /// A send is over, whole, in part or not at all.
    fn sent(&mut self, to: Side) {
        let peer = &mut self.peers[to as usize];
        if let Some((buffer, from, until)) = peer.sends.take() {
            let how = self.input.byte();
            let count = match how % 4 {
                3 => 0,
                2 => (until - from).min(u32::from(how / 4)),
                _ => until - from,
            };
            let bytes = self.buffers[usize::from(buffer.0)].clone().expect("it is owned");
            self.hear(to, &bytes[from as usize..(from + count) as usize]);
            let result = match count {
                0 => {
                    Err(if (how / 4).is_multiple_of(2) { Fault::WouldBlock } else { Fault::Reset })
                }
                count => Ok(count),
            };
            self.step(Event::Sent { to, buffer, result });
        } else if let Some(bytes) = peer.sends_all.take() {
            let how = self.input.byte();
            let count =
                if how % 8 == 7 { usize::from(how / 8).min(bytes.len()) } else { bytes.len() };
            self.hear(to, &bytes[..count]);
            let result = if how == 255 { Err(Fault::Reset) } else { Ok(count as u32) };
            self.step(Event::SentAll { to, result });
        }
    }

    /// What was pending on a side that closes has completed.
    fn finish_closing(&mut self) {
        for side in [Side::Client, Side::Server] {
            if !self.peers[side as usize].closing {
                continue;
            }
            let closed = std::mem::take(&mut self.peers[side as usize]);
            if let Some((buffer, ..)) = closed.sends {
                self.release(buffer);
            }
            self.peers[side as usize].pipe = closed.pipe;
            self.connects &= side == Side::Client;
            if self.session.is_some() {
                self.step(Event::Closed(side));
            }
        }
    }

    fn assert_empty(&self) {
        assert!(self.buffers.iter().all(Option::is_none), "a buffer is not given back");
        for server in self.pools.iter().flat_map(Pool::servers) {
            assert_eq!(server.live(), 0, "{server:?} counts a session that has ended");
        }
    }
}
