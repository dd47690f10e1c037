//! What the rows of the contract work with: an engine under test, and connections of its own.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::IntoRawFd;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::config::{Address, LoopbackCongestion};
use crate::sys::clock::Clock;
use crate::sys::epoll::Epoll;
use crate::sys::ring::Ring;
use crate::sys::socket::{self, TcpOptions};
use crate::sys::sources::Uses;
use crate::sys::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// As long as nothing must happen, in microseconds; a machine that is slower misses a fault.
const QUIET_US: u64 = 20_000;

pub(super) const OPTIONS: TcpOptions = TcpOptions {
    keep_alive: None,
    user_timeout_ms: None,
    loopback_congestion: LoopbackCongestion::Reno,
};

/// Turns that may pass meanwhile: an event for each of the things just done, and some.
const TURNS_MAX: u32 = 50;

/// An engine under test, and what it has completed.
pub(super) struct Bench {
    pub(super) engine: Box<dyn Engine>,
    over: Vec<Completion>,
}

/// Our end of a connection.
pub(super) struct Near {
    pub(super) socket: Fd,
    pub(super) slot: u32,
}

impl Near {
    pub(super) fn token(&self, kind: Kind) -> Token {
        Token::new(self.slot, 1, kind, Side::Server)
    }
}

/// Runs a row on each engine.
pub(super) fn on_every_engine(peers: &[Address], row: impl Fn(&mut Bench)) {
    let ring = Ring::new(peers, OPTIONS, Clock::new(), true, Uses::default())
        .expect("io_uring is needed here");
    let epoll = Epoll::new(peers, OPTIONS, Clock::new(), Uses::default()).unwrap();
    let engines: [(&str, Box<dyn Engine>); 2] =
        [("ring", Box::new(ring)), ("epoll", Box::new(epoll))];
    for (name, engine) in engines {
        eprintln!("on {name}");
        row(&mut Bench { engine, over: Vec::new() });
    }
}

impl Bench {
    pub(super) fn done(&mut self, op: Op) -> Result<u32, Fault> {
        let nobody = Token::new(0, 0, Kind::Cancel, Side::Client);
        match self.engine.submit(nobody, op) {
            Submitted::Done(result) => result,
            Submitted::Pending => panic!("this never waits"),
        }
    }

    pub(super) fn start(&mut self, token: Token, op: Op) {
        match self.engine.submit(token, op) {
            Submitted::Pending => {}
            Submitted::Done(result) => panic!("{token:?} is over at once: {result:?}"),
        }
    }

    /// The next completion of this operation, which has to come.
    #[track_caller]
    pub(super) fn completion(&mut self, token: Token) -> Completion {
        let end = Instant::now() + DEADLINE;
        loop {
            let name = |c: &Completion| (c.token.slot(), c.token.kind(), c.token.side());
            let wanted = (token.slot(), token.kind(), token.side());
            if let Some(found) = self.over.iter().position(|c| name(c) == wanted) {
                return self.over.remove(found);
            }
            assert!(Instant::now() < end, "{token:?} never completes, but {:?} does", self.over);
            self.engine.reap(Some(100_000), &mut self.over).unwrap();
        }
    }

    /// The result of an operation that may be over at once or later.
    #[track_caller]
    pub(super) fn result(&mut self, token: Token, op: Op) -> Result<u32, Fault> {
        match self.engine.submit(token, op) {
            Submitted::Done(result) => result,
            Submitted::Pending => self.completion(token).result,
        }
    }

    /// Nor does the engine spin.
    #[track_caller]
    pub(super) fn nothing_completes(&mut self) {
        let (start, mut turns) = (self.engine.now_us(), 0);
        while self.engine.now_us() < start + QUIET_US {
            self.engine.reap(Some(QUIET_US), &mut self.over).unwrap();
            turns += 1;
        }
        assert!(self.over.is_empty(), "{:?}", self.over);
        assert!(turns < TURNS_MAX, "{turns} turns for nothing");
    }

    pub(super) fn start_receive(&mut self, near: &Near, patience: Patience) {
        self.start(near.token(Kind::Receive), Op::Receive { socket: near.socket, patience });
    }

    /// What a receive brings, its buffer given back.
    #[track_caller]
    pub(super) fn received(&mut self, near: &Near) -> Result<Vec<u8>, Fault> {
        let completion = self.completion(near.token(Kind::Receive));
        let len = completion.result;
        let bytes = match (len, completion.buffer) {
            (Ok(len), Some(buffer)) => self.engine.bytes(buffer, len).to_vec(),
            (Ok(len), None) => vec![0; len as usize],
            (Err(_), _) => Vec::new(),
        };
        if let Some(buffer) = completion.buffer {
            self.engine.release(buffer);
        }
        len.map(|_| bytes)
    }

    #[track_caller]
    pub(super) fn receive(&mut self, near: &Near, patience: Patience) -> Result<Vec<u8>, Fault> {
        self.start_receive(near, patience);
        self.received(near)
    }

    pub(super) fn start_wait(&mut self, near: &Near, kind: Kind) {
        let socket = near.socket;
        let op = match kind {
            Kind::Readable => Op::Await { socket, readiness: Readiness::Readable },
            Kind::HangUp => Op::Await { socket, readiness: Readiness::HangUp },
            _ => Op::AwaitRoom { socket },
        };
        self.start(near.token(kind), op);
    }

    #[track_caller]
    pub(super) fn cancel(&mut self, target: Token) -> Result<u32, Fault> {
        let token = target.of_kind(Kind::Cancel);
        self.start(token, Op::Cancel { target });
        let cancelled = self.completion(target).result;
        self.completion(token);
        cancelled
    }

    /// Sends until there is no room, and says how much there was.
    pub(super) fn fill(&mut self, near: &Near, far: &mut TcpStream) -> u64 {
        far.write_all(&vec![b'f'; 16 << 10]).unwrap();
        self.start_receive(near, Patience::Try);
        let completion = self.completion(near.token(Kind::Receive));
        let (len, buffer) = (completion.result.unwrap(), completion.buffer.unwrap());
        let (mut sent, mut full) = (0, 0);
        // The far end's kernel may still make room.
        while full < 3 {
            let op = Op::Send { socket: near.socket, buffer, from: 0, to: len };
            let token = near.token(Kind::Send).with_buffer(buffer);
            match self.result(token, op) {
                Ok(len) => (sent, full) = (sent + u64::from(len), 0),
                Err(fault) => {
                    assert_eq!(fault, Fault::WouldBlock);
                    full += 1;
                    self.nothing_completes();
                }
            }
        }
        self.engine.release(buffer);
        sent
    }

    /// A connection that the engine has accepted.
    pub(super) fn tcp(&mut self, slot: u32) -> (Near, TcpStream) {
        let (listener, address) = listen();
        let far = TcpStream::connect(address).unwrap();
        far.set_nodelay(true).unwrap();
        far.set_read_timeout(Some(DEADLINE)).unwrap();
        let token = Token::new(0, 0, Kind::Accept, Side::Client);
        self.start(token, Op::Accept { listener, once: true });
        let (socket, _) = self.accepted(token);
        self.done(Op::Close { socket: listener, farewell: Farewell::Orderly }).unwrap();
        (Near { socket, slot }, far)
    }

    /// The number of a client, once it is accepted.
    #[track_caller]
    pub(super) fn accepted(&mut self, token: Token) -> (Fd, bool) {
        let completion = self.completion(token);
        (Fd::new(completion.result.unwrap().cast_signed()), completion.more)
    }
}

pub(super) fn listen() -> (Fd, SocketAddr) {
    let listener = socket::listen_tcp((Ipv4Addr::LOCALHOST, 0).into(), OPTIONS).unwrap();
    let listener = TcpListener::from(listener);
    let address = listener.local_addr().unwrap();
    (Fd::new(listener.into_raw_fd()), address)
}

pub(super) fn reset(far: TcpStream) {
    SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap();
}
