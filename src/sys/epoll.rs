//! The epoll engine, for where io_uring is refused: one epoll(7) per worker, plain calls on
//! readiness.
//!
//! A socket is registered when it first has to wait, edge-triggered and for everything at once:
//! what epoll has said of it is kept in its `watch` until a call finds otherwise. A message so
//! costs one wait, one receive and one send.

mod memory;
mod watch;

use std::io;

use nix::errno::Errno;
use nix::sys::epoll::{EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::buffers::BUFFER_SIZE;
use super::clock::Clock;
use super::direct::Direct;
use super::pipes::PIPE_SIZE;
use super::socket::{self, Connecting, TcpOptions};
use super::sources::Uses;
use super::{BufferId, Completion, Engine, Fault, Fd, Kind, Op, PeerId, Submitted, Token};
use crate::config::Address;
use memory::Memory;
use watch::{EVERYTHING, Watch};

/// Events taken at once; what more there are come up in the next turn.
const EVENTS: usize = 256;

/// Clients taken from one listener in one turn, before others get theirs.
const ACCEPTS_MAX: usize = 64;

/// Turns in a row that may pass without asking epoll while there is something else to do. A send
/// is done at once, and its session goes on a turn later; only then is it time to ask.
const TURNS_UNASKED: u8 = 2;

/// See the head of the file.
pub struct Epoll {
    epoll: nix::sys::epoll::Epoll,
    direct: Direct,
    memory: Memory,
    /// By descriptor number.
    watches: Vec<Watch>,
    /// By slot and side: the descriptor of its last operation.
    sockets: Vec<[Fd; 2]>,
    /// By number: the descriptor of its last accept.
    listeners: Vec<Fd>,
    /// What is pending on these may be possible without an event.
    queue: Vec<Fd>,
    /// What submitting has ended: cancelled operations and their cancels.
    ended: Vec<Completion>,
    events: Box<[EpollEvent]>,
    turns_unasked: u8,
    clock: Clock,
}

/// Bytes of a `SendAll`, and how many of them have been sent.
struct Sending {
    bytes: Vec<u8>,
    sent: usize,
}

impl Sending {
    /// Sends what there is room for; tells the result once it is over.
    fn go_on(&mut self, socket: Fd) -> Option<Result<u32, Fault>> {
        let result = socket::send(socket, &self.bytes[self.sent..]);
        let sent = u32::try_from(self.sent).expect("held bytes are bounded");
        match result {
            Ok(more) => {
                self.sent += more as usize;
                (self.sent == self.bytes.len()).then_some(Ok(sent + more))
            }
            Err(Fault::WouldBlock) => None,
            Err(_) if sent > 0 => Some(Ok(sent)),
            Err(fault) => Some(Err(fault)),
        }
    }
}

impl Epoll {
    /// Sets epoll up in the calling thread's descriptor table.
    pub fn new(
        peers: &[Address],
        options: TcpOptions,
        clock: Clock,
        uses: Uses,
    ) -> io::Result<Self> {
        Ok(Self {
            epoll: nix::sys::epoll::Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            direct: Direct::new(peers, options, clock, uses)?,
            memory: Memory::new(),
            watches: Vec::new(),
            sockets: Vec::new(),
            listeners: Vec::new(),
            queue: Vec::new(),
            ended: Vec::new(),
            events: vec![EpollEvent::empty(); EVENTS].into(),
            turns_unasked: 0,
            clock,
        })
    }

    fn watch(&mut self, socket: Fd) -> &mut Watch {
        let number = usize::try_from(socket.number()).expect("an open descriptor");
        if number >= self.watches.len() {
            self.watches.resize_with(number + 1, Watch::default);
        }
        &mut self.watches[number]
    }

    /// Notes an operation that waits.
    fn begin(&mut self, token: Token, socket: Fd) -> &mut Watch {
        let (slot, side) = (token.slot() as usize, token.side() as usize);
        match token.kind() {
            Kind::Mail => {}
            Kind::Accept => {
                self.listeners.resize(self.listeners.len().max(slot + 1), Fd::NONE);
                self.listeners[slot] = socket;
            }
            _ => {
                self.sockets.resize(self.sockets.len().max(slot + 1), [Fd::NONE; 2]);
                self.sockets[slot][side] = socket;
            }
        }
        let watch = self.watch(socket);
        watch.begin(token);
        watch
    }

    /// Ends an operation that waited.
    fn end(&mut self, socket: Fd, kind: Kind, result: Result<u32, Fault>) -> Completion {
        completion(self.watch(socket).end(kind), result)
    }

    /// Has epoll say what a descriptor is ready for now, and what it becomes ready for.
    fn ask(&mut self, socket: Fd, wanted: EpollFlags) {
        let watch = self.watch(socket);
        watch.forget();
        let was_registered = std::mem::replace(&mut watch.is_registered, true);
        let mut event = EpollEvent::new(wanted, u64::from(socket.number().cast_unsigned()));
        let asked = if was_registered {
            self.epoll.modify(&*socket::borrowed(socket), &mut event)
        } else {
            self.epoll.add(&*socket::borrowed(socket), event)
        };
        if asked.is_ok() {
            return;
        }
        // Memory ran out, or what fs.epoll.max_user_watches allows. Nothing would ever wake
        // whoever waits.
        self.watch(socket).is_registered = was_registered;
        for kind in Kind::ALL {
            if self.watch(socket).is_pending(kind) {
                let failed = self.end(socket, kind, Err(Fault::NoMemory));
                self.ended.push(failed);
            }
        }
    }

    /// Takes a descriptor that stays open out of epoll.
    fn leave(&mut self, socket: Fd) {
        if std::mem::take(&mut self.watch(socket).is_registered) {
            // Cannot fail: it is registered, and open.
            let _ = self.epoll.delete(&*socket::borrowed(socket));
        }
    }

    /// Has what is pending on a descriptor looked at in the next turn.
    fn look_at(&mut self, socket: Fd) {
        if !std::mem::replace(&mut self.watch(socket).is_queued, true) {
            self.queue.push(socket);
        }
    }

    fn accept(&mut self, token: Token, listener: Fd, once: bool) -> Submitted {
        let watch = self.begin(token, listener);
        (watch.accepts_once, watch.is_shared) = (once, true);
        if !watch.is_registered {
            watch.is_tcp = socket::is_tcp(listener);
        }
        self.read(listener)
    }

    fn receive(&mut self, token: Token, socket: Fd) -> Submitted {
        self.begin(token, socket);
        self.read(socket)
    }

    /// Waits for something to read, unless there may be something already. It is never known too
    /// late, so nobody's patience makes a difference.
    fn read(&mut self, socket: Fd) -> Submitted {
        let watch = self.watch(socket);
        if !watch.is_registered {
            self.ask(socket, EVERYTHING);
        } else if watch.is_readable() {
            self.look_at(socket);
        }
        Submitted::Pending
    }

    fn connect(&mut self, token: Token, socket: Fd, peer: PeerId) -> Submitted {
        match socket::connect(socket, self.direct.peer(peer)) {
            Ok(()) => Submitted::Done(Ok(0)),
            Err(Connecting::Failed(fault)) => Submitted::Done(Err(fault)),
            Err(Connecting::Still) => {
                self.begin(token, socket);
                self.ask(socket, EVERYTHING);
                Submitted::Pending
            }
        }
    }

    fn send(&mut self, socket: Fd, buffer: BufferId, from: u32, to: u32) -> Result<u32, Fault> {
        let result = socket::send(socket, &self.memory.bytes(buffer, to)[from as usize..]);
        if result == Err(Fault::WouldBlock) || result.is_ok_and(|sent| sent < to - from) {
            self.watch(socket).is_full();
        }
        result
    }

    fn send_all(&mut self, token: Token, socket: Fd, bytes: Vec<u8>, full: bool) -> Submitted {
        let mut sending = Sending { bytes, sent: 0 };
        let watch = self.watch(socket);
        let is_futile = full && watch.is_registered && !watch.is_writable();
        if !is_futile && let Some(result) = sending.go_on(socket) {
            return Submitted::Done(result);
        }
        let watch = self.begin(token, socket);
        watch.is_full();
        watch.sending = Some(Box::new(sending));
        if !watch.is_registered {
            self.ask(socket, EVERYTHING);
        }
        Submitted::Pending
    }

    fn wait(&mut self, token: Token, socket: Fd) -> Submitted {
        let watch = self.begin(token, socket);
        // What it was not ready for, it is not until epoll says so. But what epoll has said may be
        // over: spliced away, or filled.
        let is_doubtful = match token.kind() {
            Kind::Readable => watch.is_readable(),
            Kind::Room => watch.is_writable(),
            _ => watch.trouble().is_some(),
        };
        if is_doubtful || !watch.is_registered {
            self.ask(socket, EVERYTHING);
        }
        Submitted::Pending
    }

    fn cancel(&mut self, token: Token, target: Token) -> Submitted {
        let (slot, kind) = (target.slot() as usize, target.kind());
        let socket = match kind {
            Kind::Accept => self.listeners.get(slot).copied(),
            _ => self.sockets.get(slot).map(|sides| sides[target.side() as usize]),
        };
        let is_target = |watch: &Watch| watch.is_pending(kind) && watch.is_of(target);
        let found = match socket.filter(|&socket| socket != Fd::NONE) {
            Some(socket) if is_target(self.watch(socket)) => {
                let cancelled = self.end(socket, kind, Err(Fault::Cancelled));
                self.ended.push(cancelled);
                if kind == Kind::SendAll {
                    self.watch(socket).sending = None;
                }
                Ok(0)
            }
            _ => Err(Fault::from_errno(libc::ENOENT)),
        };
        self.ended.push(completion(token, found));
        Submitted::Pending
    }

    fn perform(&mut self, op: &Op) -> Result<u32, Fault> {
        match *op {
            Op::Close { socket, farewell } => {
                let watch = std::mem::take(self.watch(socket));
                debug_assert!(watch.is_idle(), "nothing is pending on what is closed");
                // A descriptor leaves epoll when the last of its copies is closed.
                if watch.is_registered && (watch.is_shared || self.direct.may_keep(farewell)) {
                    let _ = self.epoll.delete(&*socket::borrowed(socket));
                }
            }
            Op::AcceptNow { listener } => {
                let accepted = self.direct.perform(op)?;
                let is_tcp = self.watch(listener).is_tcp;
                *self.watch(Fd::new(accepted.cast_signed())) = Watch::of_new(is_tcp);
                return Ok(accepted);
            }
            Op::Open { peer, .. } => {
                let opened = self.direct.perform(op)?;
                let is_tcp = !self.direct.peer(peer).is_unix();
                *self.watch(Fd::new(opened.cast_signed())) = Watch::of_new(is_tcp);
                return Ok(opened);
            }
            _ => {}
        }
        let result = self.direct.perform(op);
        // A splice from a socket that finds nothing proves nothing: an urgent byte may stop it.
        if let (Op::SpliceOut { socket, .. }, Ok(0) | Err(Fault::WouldBlock)) = (op, result) {
            self.watch(*socket).is_full();
        }
        result
    }

    /// Does what is pending on a descriptor, as far as that is possible now.
    fn serve(&mut self, socket: Fd, into: &mut Vec<Completion>) {
        let watch = self.watch(socket);
        if watch.is_idle() {
            return;
        }
        if watch.is_readable() {
            if watch.is_pending(Kind::Receive) {
                into.extend(self.receive_now(socket));
            } else if watch.is_pending(Kind::Accept) {
                self.accept_now(socket, into);
            }
            for kind in [Kind::Readable, Kind::Mail] {
                if self.watch(socket).is_pending(kind) {
                    into.push(self.end(socket, kind, Ok(POLLIN)));
                }
            }
        }
        let watch = self.watch(socket);
        if watch.is_writable() {
            if watch.is_pending(Kind::Connect) {
                // Only an error or a hang-up leaves anything to ask.
                let failure = watch.trouble().and_then(|_| socket::failure(socket));
                into.push(self.end(socket, Kind::Connect, failure.map_or(Ok(0), Err)));
            }
            if self.watch(socket).is_pending(Kind::SendAll) {
                into.extend(self.send_on(socket));
            }
            if self.watch(socket).is_pending(Kind::Room) {
                into.push(self.end(socket, Kind::Room, Ok(POLLOUT)));
            }
        }
        let watch = self.watch(socket);
        if let Some(mask) = watch.trouble().filter(|_| watch.is_pending(Kind::HangUp)) {
            into.push(self.end(socket, Kind::HangUp, Ok(mask)));
        }
    }

    fn receive_now(&mut self, socket: Fd) -> Option<Completion> {
        let Some(free) = self.memory.next() else {
            return Some(self.end(socket, Kind::Receive, Err(Fault::NoBuffers)));
        };
        match socket::receive(socket, free) {
            Err(Fault::WouldBlock) => {
                self.watch(socket).is_drained();
                None
            }
            Ok(len @ 1..) => {
                let unread = self.watch(socket).received(len, BUFFER_SIZE);
                let buffer = Some(self.memory.take());
                Some(Completion { buffer, unread, ..self.end(socket, Kind::Receive, Ok(len)) })
            }
            end => Some(self.end(socket, Kind::Receive, end)),
        }
    }

    fn send_on(&mut self, socket: Fd) -> Option<Completion> {
        let watch = self.watch(socket);
        let mut sending = watch.sending.take().expect("a pending SendAll has bytes");
        match sending.go_on(socket) {
            Some(result) => Some(self.end(socket, Kind::SendAll, result)),
            None => {
                watch.is_full();
                watch.sending = Some(sending);
                None
            }
        }
    }

    fn accept_now(&mut self, listener: Fd, into: &mut Vec<Completion>) {
        for _ in 0..ACCEPTS_MAX {
            let Watch { accepts_once, is_tcp, .. } = *self.watch(listener);
            match socket::accept(listener) {
                Ok(client) => {
                    *self.watch(client) = Watch::of_new(is_tcp);
                    let result = Ok(client.number().cast_unsigned());
                    if accepts_once {
                        return into.push(self.end(listener, Kind::Accept, result));
                    }
                    let token = self.watch(listener).token(Kind::Accept);
                    into.push(Completion { more: true, ..completion(token, result) });
                }
                Err(Fault::WouldBlock) => return self.watch(listener).is_drained(),
                // It was gone, or its network was (accept(2)): on to the next.
                Err(Fault::Aborted | Fault::Unreachable | Fault::Reset) => {}
                Err(fault) => return into.push(self.end(listener, Kind::Accept, Err(fault))),
            }
        }
        self.look_at(listener);
    }

    /// What became possible, waiting for it up to `timeout`.
    fn wait_for_events(
        &mut self,
        timeout: EpollTimeout,
        into: &mut Vec<Completion>,
    ) -> io::Result<()> {
        let count = match self.epoll.wait(&mut self.events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        for index in 0..count {
            let event = self.events[index];
            let socket = Fd::new(event.data() as i32);
            let watch = self.watch(socket);
            watch.note(event.events());
            if watch.is_shared && watch.is_idle() {
                // Clients that come while nobody accepts would wake the worker for nothing.
                self.leave(socket);
            } else {
                self.serve(socket, into);
            }
        }
        Ok(())
    }
}

/// What of a poll mask says that a socket can be read, and written (poll(2)).
const POLLIN: u32 = 0x1;
const POLLOUT: u32 = 0x4;

fn completion(token: Token, result: Result<u32, Fault>) -> Completion {
    Completion { token, result, buffer: None, more: false, unread: false }
}

/// Whole milliseconds, rounded up: woken early, a worker would find nothing due.
fn timeout(timeout_us: Option<u64>) -> EpollTimeout {
    let Some(timeout_us) = timeout_us else { return EpollTimeout::NONE };
    let timeout_ms = i32::try_from(timeout_us.div_ceil(1000)).unwrap_or(i32::MAX);
    EpollTimeout::try_from(timeout_ms).unwrap_or(EpollTimeout::MAX)
}

impl Engine for Epoll {
    fn submit(&mut self, token: Token, op: Op) -> Submitted {
        match op {
            Op::Accept { listener, once } => self.accept(token, listener, once),
            Op::Connect { socket, peer } => self.connect(token, socket, peer),
            Op::Receive { socket, .. } => self.receive(token, socket),
            Op::Send { socket, buffer, from, to } => {
                Submitted::Done(self.send(socket, buffer, from, to))
            }
            Op::SendAll { socket, bytes, full } => self.send_all(token, socket, bytes, full),
            Op::Await { socket, .. } | Op::AwaitRoom { socket } => self.wait(token, socket),
            Op::AwaitMail { mailbox } => {
                self.begin(token, mailbox).is_shared = true;
                self.ask(mailbox, EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT);
                Submitted::Pending
            }
            Op::Cancel { target } => self.cancel(token, target),
            at_once => Submitted::Done(self.perform(&at_once)),
        }
    }

    fn reap(&mut self, timeout_us: Option<u64>, into: &mut Vec<Completion>) -> io::Result<()> {
        into.append(&mut self.ended);
        // What is queued meanwhile is for the next turn.
        let queued = self.queue.len();
        for index in 0..queued {
            let socket = self.queue[index];
            self.watch(socket).is_queued = false;
            self.serve(socket, into);
        }
        self.queue.drain(..queued);
        let is_behind = !into.is_empty() || !self.queue.is_empty();
        if is_behind && self.turns_unasked < TURNS_UNASKED {
            self.turns_unasked += 1;
            return Ok(());
        }
        self.turns_unasked = 0;
        let timeout = if is_behind { EpollTimeout::ZERO } else { timeout(timeout_us) };
        self.wait_for_events(timeout, into)?;
        into.append(&mut self.ended);
        Ok(())
    }

    fn bytes(&self, buffer: BufferId, len: u32) -> &[u8] {
        self.memory.bytes(buffer, len)
    }

    fn release(&mut self, buffer: BufferId) {
        self.memory.give_back(buffer);
    }

    fn buffer_size(&self) -> u32 {
        BUFFER_SIZE
    }

    fn accept_burst(&self) -> usize {
        ACCEPTS_MAX
    }

    fn pipe_size(&self) -> u32 {
        PIPE_SIZE
    }

    fn adopt(&mut self, peers: &[Address], options: TcpOptions) -> io::Result<()> {
        self.direct.adopt(peers, options)
    }

    fn now_us(&mut self) -> u64 {
        self.clock.now_us()
    }
}
