//! A kernel that does what the contract of `ringway::sys` allows, as inconveniently as it can, and
//! panics when ringway breaks its side of it.

mod attempts;
mod calls;
mod engine;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::rc::Rc;

use ringway::config::{Address, ProxyVersion};
use ringway::peek::proxy_protocol;
use ringway::random::Random;
use ringway::sys::socket::TcpOptions;
use ringway::sys::tcp_info::TcpInfo;
use ringway::sys::{
    BufferId, Completion, Engine, Farewell, Fault, Fd, Kind, Op, Patience, PeerId, Readiness, Side,
    Submitted, Token,
};

use crate::editions::Editions;
use crate::link::{Draws, Link};
use crate::machine::{self, Machine, one_of};
use crate::script::{Script, Tongue};

pub(crate) use engine::{Kernel, client};

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
    session: Option<SessionId>,
    shut: bool,
    /// Its source had no port left.
    spent: bool,
}

impl Socket {
    fn of(link: Option<usize>) -> Self {
        Self { link, session: None, shut: false, spent: false }
    }
}

/// Slot and generation.
pub(crate) type SessionId = (u32, u16);

/// A server, by its number.
struct Server {
    speaks_anything: bool,
    headed: Option<ProxyVersion>,
    /// For so long of each period it cannot be connected to.
    down_us: u64,
    period_us: u64,
    /// Down, it does not even refuse.
    is_silent: bool,
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
    /// Operators close sessions.
    pub(crate) kills: bool,
    /// The worker was told to stop.
    pub(crate) stopping: bool,
    /// A listener may be closed although somebody waits there.
    pub(crate) may_cut_off: bool,
    /// The mailbox is readable.
    pub(crate) rung: bool,
    /// Of the peers the worker knows.
    servers: Vec<Server>,
    /// Listening sockets on their way to the worker.
    pub(crate) sent: VecDeque<i32>,
    pub(crate) links: Vec<Link>,
    pub(crate) backlog: Vec<VecDeque<usize>>,
    /// The edition that clients of a listening socket are accepted under, by its number.
    editions: Vec<u64>,
    /// Listening sockets that the editions on their way to the worker place.
    pub(crate) reloads: VecDeque<Vec<usize>>,
    edition: u64,
    /// Client and server link of each session.
    pub(crate) sessions: BTreeMap<SessionId, [Option<usize>; 2]>,
    /// Sockets each session has open.
    open: BTreeMap<SessionId, u32>,
    /// How long the worker would have waited.
    pub(crate) timeout_us: Option<u64>,
    /// Turns in a row that it did not wait for, and in which nothing happened.
    futile: u32,
    sockets: BTreeMap<i32, Socket>,
    next_fd: i32,
    buffers: Vec<Holder>,
    pipes: Vec<Option<VecDeque<u8>>>,
    pending: Vec<Pending>,
    /// Over, but the worker has not been told.
    told_later: Vec<(i32, Completion)>,
    /// Sends the worker has just been told of, and their sessions perhaps not.
    just_sent: Vec<Token>,
}

/// Descriptors of listeners start here; the mailbox and the post are below.
const LISTENERS_AT: i32 = 10;
pub(crate) const MAILBOX: i32 = LISTENERS_AT - 1;
pub(crate) const POST: i32 = MAILBOX - 1;
const SOCKETS_AT: i32 = 100_000;

/// Where clients connect to.
pub(crate) const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 80);

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
            kills: false,
            stopping: false,
            may_cut_off: false,
            rung: false,
            servers: Vec::new(),
            sent: VecDeque::new(),
            links: Vec::new(),
            backlog: Vec::new(),
            editions: Vec::new(),
            reloads: VecDeque::new(),
            edition: 0,
            sessions: BTreeMap::new(),
            open: BTreeMap::new(),
            timeout_us: None,
            futile: 0,
            sockets: BTreeMap::new(),
            next_fd: SOCKETS_AT,
            pipes: Vec::new(),
            pending: Vec::new(),
            told_later: Vec::new(),
            just_sent: Vec::new(),
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
            self.editions.resize(number + 1, 0);
        }
        Fd::new(fd)
    }

    /// Another edition is in force, of which these sockets are listeners.
    pub(crate) fn place(&mut self, sockets: Vec<usize>) {
        self.edition += 1;
        for socket in sockets {
            self.editions[socket] = self.edition;
        }
    }

    /// The worker learns of these addresses.
    pub(crate) fn learn(&mut self, peers: &[Address]) {
        for address in peers {
            let (speaks_anything, headed) = Editions::server(address);
            let period_us = 10_000 + self.random.below(3_000_000);
            let flaps = self.machine.flaps && self.random.one_in(2);
            let down_us = if flaps { self.random.below(period_us) } else { 0 };
            let is_silent = self.random.one_in(3);
            let server = Server { speaks_anything, headed, down_us, period_us, is_silent };
            self.servers.push(server);
        }
    }

    /// Sessions that have a socket: at least and at most, since nothing tells yet whether a client
    /// on whose socket nothing was done waits for a session, or its session for a server's socket.
    pub(crate) fn live(&self) -> RangeInclusive<u64> {
        let is_unknown = |socket: &&Socket| socket.link.is_some() && socket.session.is_none();
        let unknown = self.sockets.values().filter(is_unknown).count();
        self.open.len() as u64..=(self.open.len() + unknown) as u64
    }

    fn server_script(&mut self, peer: PeerId) -> Script {
        if self.servers[peer.0 as usize].speaks_anything {
            Script::raw(&mut self.random, self.now_us, &self.machine)
        } else {
            Script::server(&mut self.random, self.now_us, &self.machine)
        }
    }

    /// The PROXY header a server gets.
    pub(crate) fn header(&self, client: &Link, server: &Link) -> Vec<u8> {
        let mut header = Vec::new();
        let peer = server.peer.expect("a server has a number");
        if let Some(version) = self.servers[peer.0 as usize].headed {
            proxy_protocol::write(version, client.source, Some(HERE), &mut header);
        }
        header
    }

    fn is_short_of_descriptors(&self) -> bool {
        let sockets = self.sockets.range(SOCKETS_AT..).count();
        let pipes = self.pipes.iter().flatten().count();
        sockets + 2 * pipes >= self.machine.descriptors_max
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

    fn open(&mut self, link: Option<usize>, session: Option<SessionId>) -> u32 {
        self.next_fd += 1;
        self.sockets.insert(self.next_fd, Socket::of(link));
        if let Some(session) = session {
            self.belongs(self.next_fd, session);
        }
        self.next_fd.cast_unsigned()
    }

    /// Learns whose a socket is.
    fn belongs(&mut self, fd: i32, session: SessionId) {
        let known = &mut self.sockets.get_mut(&fd).expect("it is open").session;
        if known.is_none() {
            *known = Some(session);
            *self.open.entry(session).or_default() += 1;
        }
        assert_eq!(*known, Some(session), "used by a stranger");
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
            Op::Accept { .. }
                | Op::AcceptNow { .. }
                | Op::Connect { .. }
                | Op::NextSource { .. }
                | Op::Close { .. }
        ) {
            return;
        }
        let Some(link) = self.sockets[&fd.number()].link else {
            panic!("{op:?} on a socket that is not connected")
        };
        let session = (token.slot(), token.generation());
        self.belongs(fd.number(), session);
        let side = match op {
            Op::SpliceOut { .. } => token.side().opposite(),
            _ => token.side(),
        };
        assert_eq!(self.links[link].side, side, "{op:?} on the wrong side");
        let known = self.links[link].session.get_or_insert(session);
        assert_eq!(*known, session, "{op:?} of a stranger");
        self.sessions.entry(session).or_default()[side as usize] = Some(link);
        let asks = match op {
            Op::Receive { patience, .. } => *patience != Patience::Stream,
            Op::Await { readiness, .. } => *readiness == Readiness::Readable,
            _ => false,
        };
        if asks {
            self.check_passed_on(session, side, op);
        }
    }

    /// Who asks for more has sent all it got: what was received of a side is what was sent to the
    /// other one, and what is being sent.
    fn check_passed_on(&self, session: SessionId, from: Side, op: &Op) {
        let [Some(client), Some(server)] = self.sessions[&session] else { return };
        let (client, server) = (&self.links[client], &self.links[server]);
        let is_plain = client.script.tongue == Tongue::Raw;
        let (from, to, more, less) = match from {
            Side::Client => {
                let more = self.header(client, server).len() as u64;
                (client, server, more, client.script.header as u64)
            }
            Side::Server => (server, client, 0, 0),
        };
        if !is_plain || to.dead || to.fin_out || to.closed || to.failed {
            return;
        }
        let is_to = |token: Token| {
            (token.slot(), token.generation(), token.side()) == (session.0, session.1, to.side)
                && token.kind() == Kind::SendAll
        };
        let told_later = self.told_later.iter().map(|(_, completion)| completion.token);
        let told = told_later.chain(self.just_sent.iter().copied()).any(is_to).then_some(0);
        let sending = self.pending.iter().find_map(|pending| match &pending.op {
            Op::SendAll { bytes, .. } if is_to(pending.token) => {
                Some((bytes.len() - pending.sent) as u64)
            }
            _ => None,
        });
        let (got, sent) = (from.taken + more, to.given + less);
        // What comes while the first bytes are being sent waits behind them.
        match sending.or(told) {
            Some(left) => assert!(got >= sent + left, "sent, but never received: {from}, {to}"),
            None => assert_eq!(got, sent, "received, and not sent, {op:?}: {from}, {to}"),
        }
    }

    fn start(&mut self, token: Token, op: Op) -> Submitted {
        self.check(token, &op);
        match op {
            Op::Open { .. } => {
                if let Some(fault) = self.shortage() {
                    return Submitted::Done(Err(fault));
                }
                let session = (token.slot(), token.generation());
                Submitted::Done(Ok(self.open(None, Some(session))))
            }
            Op::NextSource { socket, .. } => {
                let spent = std::mem::take(&mut self.socket(socket).spent);
                assert!(spent, "another source for a socket whose source has ports");
                let is_last = self.random.one_in(2);
                Submitted::Done(if is_last { Err(Fault::NoPorts) } else { Ok(0) })
            }
            Op::Cancel { target } => {
                let sides = self.sessions.get(&(target.slot(), target.generation()));
                if let (Kind::SendAll, Some(sides)) = (target.kind(), sides)
                    && let Some(link) = sides[target.side() as usize]
                {
                    self.links[link].cut = true;
                }
                let found = self.pending.iter_mut().find(|p| p.token == target);
                let result = match found {
                    Some(pending) => {
                        pending.cancelled = true;
                        // EALREADY: it is on its way, and may still come to its own end.
                        let is_running = self.random.one_in(4);
                        if is_running { Err(Fault::from_errno(libc::EALREADY)) } else { Ok(0) }
                    }
                    None => Err(Fault::from_errno(libc::ENOENT)),
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
        let fate = self.fate(&op);
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

    /// How a connect will end; nothing else looks at it.
    fn fate(&mut self, op: &Op) -> Fate {
        let at_us = self.now_us + self.random.below(20_000);
        let Op::Connect { peer, .. } = op else { return Fate::Silence };
        let server = &self.servers[peer.0 as usize];
        if self.now_us % server.period_us < server.down_us {
            if server.is_silent {
                return Fate::Silence;
            }
            return Fate::Fails { at_us, fault: Fault::from_errno(libc::ECONNREFUSED) };
        }
        if !self.random.one_in(self.machine.rates.connects) {
            return Fate::Stands { at_us };
        }
        if self.random.one_in(4) {
            return Fate::Silence;
        }
        Fate::Fails { at_us, fault: one_of(machine::CONNECT, &mut self.random) }
    }

    /// Whether there is no socket or pipe to be had.
    fn shortage(&mut self) -> Option<Fault> {
        if self.is_short_of_descriptors() {
            return Some(Fault::NoDescriptors);
        }
        let fails = self.random.one_in(self.machine.rates.shortage);
        fails.then(|| one_of(machine::SHORTAGE, &mut self.random))
    }

    fn tell(&mut self, fd: i32, completion: Completion) {
        self.told_later.push((fd, completion));
    }
}

fn over(token: Token, result: Result<u32, Fault>) -> Completion {
    Completion { token, result, buffer: None, more: false, unread: false }
}

fn socket_of(op: &Op) -> Option<Fd> {
    match op {
        Op::Accept { listener, .. } | Op::AcceptNow { listener } => Some(*listener),
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
