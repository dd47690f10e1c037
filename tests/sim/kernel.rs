//! A kernel that does what the contract of `ringway::sys` allows, as inconveniently as it can, and
//! panics when ringway breaks its side of it.

mod attempts;
mod engine;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use ringway::config::Address;
use ringway::random::Random;
use ringway::sys::socket::TcpOptions;
use ringway::sys::{
    BufferId, Completion, Engine, Farewell, Fault, Fd, Kind, Op, Patience, PeerId, Readiness, Side,
    Submitted, Token,
};

use crate::editions::Editions;
use crate::link::{Draws, Link};
use crate::script::Script;

pub(crate) use engine::Kernel;

/// What one seed makes of the machine.
pub(crate) struct Machine {
    pub(crate) buffers: usize,
    pub(crate) buffer_size: u32,
    pub(crate) pipe_size: u32,
    pub(crate) window_max: u64,
    /// Most bytes of a raw script.
    pub(crate) bulk: u64,
    /// One call in so many fails for want of something.
    pub(crate) shortage: u64,
    /// One connect in so many fails.
    pub(crate) refusals: u64,
    /// What an accept that goes on is said to take at once.
    pub(crate) accept_burst: usize,
}

/// Who has a ring buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Kernel,
    Worker,
    Send,
}

/// A descriptor of the worker.
struct Socket {
    link: Option<usize>,
    shut: bool,
    /// Its source had no port left.
    spent: bool,
}

impl Socket {
    fn of(link: Option<usize>) -> Self {
        Self { link, shut: false, spent: false }
    }
}

/// How a connect will end.
#[derive(Clone, Copy)]
enum Fate {
    Stands { at_us: u64 },
    Fails { at_us: u64, fault: Fault },
    Silence,
}

struct Pending {
    token: Token,
    op: Op,
    cancelled: bool,
    since_us: u64,
    /// Bytes of a SendAll that are gone.
    sent: usize,
    fate: Fate,
}

enum Attempt {
    NotYet,
    More(Completion),
    Over(Completion),
}

/// The simulated machine and network.
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) machine: Machine,
    pub(crate) now_us: u64,
    /// Everybody ends what they do; of these, some only once they are told EOF.
    pub(crate) finish: Option<Side>,
    /// ringway ends sessions, not only its peers.
    pub(crate) times_out: bool,
    /// The worker was told to stop.
    pub(crate) stopping: bool,
    /// The mailbox is readable.
    pub(crate) rung: bool,
    /// Whether the server of a peer speaks anything, for those the worker knows.
    pub(crate) speaks_anything: Vec<bool>,
    /// Listening sockets on their way to the worker.
    pub(crate) sent: VecDeque<i32>,
    pub(crate) links: Vec<Link>,
    pub(crate) backlog: Vec<VecDeque<usize>>,
    /// Client and server link of each session, by slot and generation.
    pub(crate) sessions: BTreeMap<(u32, u16), [Option<usize>; 2]>,
    sockets: BTreeMap<i32, Socket>,
    next_fd: i32,
    buffers: Vec<Holder>,
    pipes: Vec<Option<VecDeque<u8>>>,
    pending: Vec<Pending>,
    /// Over, but the worker has not been told.
    told_later: Vec<(i32, Completion)>,
}

/// Descriptors of listeners start here; the mailbox and the post are below.
const LISTENERS_AT: i32 = 10;
pub(crate) const MAILBOX: i32 = LISTENERS_AT - 1;
pub(crate) const POST: i32 = MAILBOX - 1;
const SOCKETS_AT: i32 = 100_000;

/// Microseconds a connect may take (`connect_timeout_ms` by default), and some ticks of a timer.
const CONNECT_MAX_US: u64 = 2_050_000;

impl World {
    pub(crate) fn new(seed: u64, machine: Machine) -> Self {
        Self {
            random: Random::new(seed),
            buffers: vec![Holder::Kernel; machine.buffers],
            machine,
            now_us: 1_000_000,
            finish: None,
            times_out: false,
            stopping: false,
            rung: false,
            speaks_anything: Vec::new(),
            sent: VecDeque::new(),
            links: Vec::new(),
            backlog: Vec::new(),
            sessions: BTreeMap::new(),
            sockets: BTreeMap::new(),
            next_fd: SOCKETS_AT,
            pipes: Vec::new(),
            pending: Vec::new(),
            told_later: Vec::new(),
        }
    }

    /// No connection is open, and nothing is on its way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.sockets.keys().all(|&fd| fd < SOCKETS_AT) && self.links.iter().all(Link::is_over)
    }

    /// Somebody listens at this number of the backlog.
    pub(crate) fn listen(&mut self, number: usize) -> Fd {
        let fd = LISTENERS_AT + number as i32;
        assert!(self.sockets.insert(fd, Socket::of(None)).is_none());
        if self.backlog.len() <= number {
            self.backlog.resize_with(number + 1, VecDeque::new);
        }
        Fd::new(fd)
    }

    /// The worker learns of these addresses.
    pub(crate) fn learn(&mut self, peers: &[Address]) {
        self.speaks_anything.extend(peers.iter().map(Editions::speaks_anything));
    }

    fn server_script(&mut self, peer: PeerId) -> Script {
        if self.speaks_anything[peer.0 as usize] {
            Script::raw(&mut self.random, self.now_us, self.machine.bulk)
        } else {
            Script::server(&mut self.random, self.now_us)
        }
    }

    /// Nothing of the worker's is left.
    pub(crate) fn assert_empty(&self) {
        let open: Vec<_> = self.sockets.keys().collect();
        assert!(open.is_empty(), "descriptors left open: {open:?}");
        assert!(self.buffers.iter().all(|&h| h == Holder::Kernel), "buffers: {:?}", self.buffers);
        assert!(self.pipes.iter().all(Option::is_none), "a pipe was not given back");
    }

    /// Writes what has not completed.
    pub(crate) fn describe_pending(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pending.iter().try_for_each(|pending| {
            let (slot, op) = (pending.token.slot(), &pending.op);
            writeln!(f, "{slot}: {op:?}, cancelled: {}", pending.cancelled)
        })
    }

    fn open(&mut self, link: Option<usize>) -> u32 {
        self.next_fd += 1;
        self.sockets.insert(self.next_fd, Socket::of(link));
        self.next_fd.cast_unsigned()
    }

    fn socket(&mut self, fd: Fd) -> &mut Socket {
        self.sockets.get_mut(&fd.number()).unwrap_or_else(|| panic!("{fd:?} is not open"))
    }

    fn link(&mut self, fd: Fd) -> &mut Link {
        let socket = self.sockets.get(&fd.number());
        let socket = socket.unwrap_or_else(|| panic!("{fd:?} is not open"));
        let link = socket.link.expect("only a connected socket is used");
        &mut self.links[link]
    }

    /// Checks what every operation on a socket must keep to, and learns whose it is.
    fn check(&mut self, token: Token, op: &Op) {
        let Some(fd) = socket_of(op) else { return };
        assert!(self.sockets.contains_key(&fd.number()), "{op:?} on a closed descriptor");
        if token.kind() != Kind::Cancel {
            let class = |kind| match kind {
                Kind::SendAll => Kind::Send,
                kind => kind,
            };
            let same = |other: Token, on: i32| {
                on == fd.number() && class(other.kind()) == class(token.kind())
            };
            let double =
                self.pending.iter().any(|p| same(p.token, socket_of(&p.op).map_or(-1, Fd::number)))
                    || self.told_later.iter().any(|(on, c)| same(c.token, *on));
            assert!(!double, "a second {op:?} while one is pending");
        }
        if matches!(
            op,
            Op::Accept { .. } | Op::Connect { .. } | Op::NextSource { .. } | Op::Close { .. }
        ) {
            return;
        }
        let Some(link) = self.sockets[&fd.number()].link else {
            panic!("{op:?} on a socket that is not connected")
        };
        let session = (token.slot(), token.generation());
        let side = match op {
            Op::SpliceOut { .. } => token.side().opposite(),
            _ => token.side(),
        };
        assert_eq!(self.links[link].side, side, "{op:?} on the wrong side");
        let known = self.links[link].session.get_or_insert(session);
        assert_eq!(*known, session, "{op:?} of a stranger");
        self.sessions.entry(session).or_default()[side as usize] = Some(link);
    }

    fn start(&mut self, token: Token, op: Op) -> Submitted {
        self.check(token, &op);
        match op {
            Op::Open { .. } => {
                if self.random.one_in(self.machine.shortage) {
                    return Submitted::Done(Err(Fault::NoDescriptors));
                }
                Submitted::Done(Ok(self.open(None)))
            }
            Op::NextSource { socket, .. } => {
                let spent = std::mem::take(&mut self.socket(socket).spent);
                assert!(spent, "another source for a socket whose source has ports");
                let is_last = self.random.one_in(2);
                Submitted::Done(if is_last { Err(Fault::NoPorts) } else { Ok(0) })
            }
            Op::Cancel { target } => {
                let found = self.pending.iter_mut().find(|p| p.token == target);
                let result = if let Some(pending) = found {
                    pending.cancelled = true;
                    Ok(0)
                } else {
                    Err(Fault::Refused)
                };
                self.tell(-1, Completion { result, ..over(token, Ok(0)) });
                Submitted::Pending
            }
            Op::Send { socket, buffer, .. } => {
                assert_eq!(self.buffers[buffer.0 as usize], Holder::Worker, "{buffer:?} is sent");
                assert!(!self.sockets[&socket.number()].shut, "a send behind EOF");
                self.buffers[buffer.0 as usize] = Holder::Send;
                self.wait(token, op)
            }
            Op::SendAll { socket, .. } => {
                assert!(!self.sockets[&socket.number()].shut, "a send behind EOF");
                self.wait(token, op)
            }
            Op::Receive { socket, patience } => {
                // The ring takes a buffer before it looks for bytes.
                if patience != Patience::Wait && self.buffers.iter().all(|&h| h != Holder::Kernel) {
                    self.tell(socket.number(), over(token, Err(Fault::NoBuffers)));
                    return Submitted::Pending;
                }
                self.wait(token, op)
            }
            Op::Accept { .. }
            | Op::Connect { .. }
            | Op::Await { .. }
            | Op::AwaitRoom { .. }
            | Op::AwaitMail { .. } => self.wait(token, op),
            at_once => Submitted::Done(self.at_once(at_once)),
        }
    }

    /// What has just been started may be done already.
    fn at_once_if_ready(&mut self, memory: &mut [Box<[u8]>]) -> Submitted {
        let mut pending = self.pending.pop().expect("just started");
        match self.attempt(&mut pending, memory) {
            Attempt::Over(completion) => {
                if completion.token.kind() == Kind::Send {
                    self.buffers[completion.token.buffer().0 as usize] = Holder::Worker;
                }
                Submitted::Done(completion.result)
            }
            _ => {
                self.pending.push(pending);
                Submitted::Pending
            }
        }
    }

    fn wait(&mut self, token: Token, op: Op) -> Submitted {
        let at_us = self.now_us + self.random.below(20_000);
        let fate = match self.random.below(self.machine.refusals) {
            0 if self.random.one_in(2) => Fate::Fails { at_us, fault: Fault::Refused },
            0 if self.random.one_in(2) => Fate::Fails { at_us, fault: Fault::TimedOut },
            0 if self.random.one_in(2) => Fate::Fails { at_us, fault: Fault::NoPorts },
            0 => Fate::Silence,
            _ => Fate::Stands { at_us },
        };
        self.pending.push(Pending {
            token,
            op,
            cancelled: false,
            since_us: self.now_us,
            sent: 0,
            fate,
        });
        Submitted::Pending
    }

    fn tell(&mut self, fd: i32, completion: Completion) {
        self.told_later.push((fd, completion));
    }

    fn at_once(&mut self, op: Op) -> Result<u32, Fault> {
        match op {
            Op::TakePipe => {
                if self.random.one_in(self.machine.shortage) {
                    return Err(Fault::NoDescriptors);
                }
                self.pipes.push(Some(VecDeque::new()));
                Ok(self.pipes.len() as u32 - 1)
            }
            Op::ReturnPipe { pipe, empty } => {
                let held = self.pipes[pipe.0 as usize].take().expect("a pipe is returned once");
                assert!(!empty || held.is_empty(), "a pipe that holds bytes was called empty");
                Ok(0)
            }
            Op::SpliceIn { socket, pipe, most } => {
                let (count, inbox) = self.splice_in(socket, most)?;
                let pipe = self.pipes[pipe.0 as usize].as_mut().expect("the pipe was taken");
                pipe.extend(inbox);
                Ok(count)
            }
            Op::SpliceOut { pipe, socket, exactly } => {
                self.splice_out(pipe.0 as usize, socket, exactly)
            }
            Op::Unsent { socket } => Ok(self.link(socket).outbox.len() as u32),
            Op::Shutdown { socket } => {
                let shut = &mut self.sockets.get_mut(&socket.number()).expect("checked").shut;
                assert!(!std::mem::replace(shut, true), "EOF is said once");
                self.link(socket).fin_out = true;
                Ok(0)
            }
            Op::Close { socket, farewell } => {
                self.close(socket, farewell);
                Ok(0)
            }
            other => unreachable!("{other:?} waits"),
        }
    }

    fn splice_in(&mut self, socket: Fd, most: u32) -> Result<(u32, Vec<u8>), Fault> {
        let count = 1 + self.random.below(u64::from(most)) as usize;
        let link = self.link(socket);
        if link.urgent {
            return if link.fin_in { Ok((0, Vec::new())) } else { Err(Fault::WouldBlock) };
        }
        if !link.inbox.is_empty() {
            let bytes: Vec<u8> = link.inbox.drain(..count.min(link.inbox.len())).collect();
            return Ok((bytes.len() as u32, bytes));
        }
        link.end().unwrap_or(Err(Fault::WouldBlock)).map(|()| (0, Vec::new()))
    }

    fn splice_out(&mut self, pipe: usize, socket: Fd, exactly: u32) -> Result<u32, Fault> {
        let held = self.pipes[pipe].as_ref().expect("the pipe was taken").len();
        assert_eq!(held, exactly as usize, "exactly what the pipe holds");
        assert!(!self.sockets[&socket.number()].shut, "a splice behind EOF");
        let count = 1 + self.random.below(held as u64 * 2) as usize;
        let swallows = held > 1 && self.random.one_in(4);
        let link = self.link(socket);
        if link.dead {
            let fault = link.failure();
            if !swallows || fault == Fault::Broken {
                return Err(fault);
            }
            // It came between two segments of one splice, which tells of those that went.
            let lost = self.pipes[pipe].as_mut().expect("as above").drain(..count.min(held - 1));
            return Ok(lost.len() as u32);
        }
        let count = count.min(link.room()).min(held);
        if count == 0 {
            return Err(Fault::WouldBlock);
        }
        let bytes = self.pipes[pipe].as_mut().expect("as above").drain(..count);
        let bytes: Vec<u8> = bytes.collect();
        self.link(socket).outbox.extend(bytes);
        Ok(count as u32)
    }

    fn close(&mut self, socket: Fd, farewell: Farewell) {
        let number = socket.number();
        let waits = |p: &Pending| socket_of(&p.op).map_or(-1, Fd::number) == number;
        if let Some(pending) = self.pending.iter().find(|p| waits(p)) {
            panic!("closed while {:?} is pending", pending.op);
        }
        if let Some((_, late)) = self.told_later.iter().find(|(on, _)| *on == number) {
            panic!("closed while {late:?} is on its way");
        }
        let socket = self.sockets.remove(&number).expect("checked");
        let Some(link) = socket.link else { return };
        let link = &mut self.links[link];
        link.closed = true;
        let ended = link.inbox.is_empty() && (link.fin_in || link.dead);
        assert!(farewell != Farewell::Ended || ended, "called ended before its EOF");
        if farewell == Farewell::Reset || !link.inbox.is_empty() {
            link.reset_by_us();
        } else {
            link.fin_out = true;
        }
    }
}

fn over(token: Token, result: Result<u32, Fault>) -> Completion {
    Completion { token, result, buffer: None, more: false, unread: false }
}

fn socket_of(op: &Op) -> Option<Fd> {
    match op {
        Op::Accept { listener, .. } => Some(*listener),
        Op::Connect { socket, .. }
        | Op::NextSource { socket, .. }
        | Op::Receive { socket, .. }
        | Op::Send { socket, .. }
        | Op::SendAll { socket, .. }
        | Op::Await { socket, .. }
        | Op::AwaitRoom { socket }
        | Op::SpliceIn { socket, .. }
        | Op::SpliceOut { socket, .. }
        | Op::Unsent { socket }
        | Op::Shutdown { socket }
        | Op::Close { socket, .. } => Some(*socket),
        _ => None,
    }
}
