//! One client connection and the server connection made for it, as a pure state machine.
//!
//! ```text
//! accept ─▶ peek ─▶ route ─▶ connect ─▶ relay ─▶ close
//! ```
//!
//! [`Session::step`] takes an [`Event`] and collects [`Action`]s; both name sides, never
//! descriptors. No I/O, no clock, no dice: time and randomness come in with [`Cx`]. A phase is a
//! struct with the fields that mean something in it.

mod accept;
mod first_bytes;
mod peek;
mod route;

mod connect;
mod relay;
mod watch;

mod answer;
mod close;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::{Config, Listener, PoolIndex};
use crate::hosts::Hosts;
use crate::metrics::{ListenerCounts, PerWorker};
use crate::pool::{Failure, How, KeyKind, LearnedKey, Pool, ServerIndex};
use crate::random::Random;
use crate::sys::{BufferId, Farewell, Fault, Patience, Readiness, Side};

pub use close::CloseReason;
pub use first_bytes::Habit;
pub use relay::Mode;

/// Microseconds after its connect within which a reset is held against a server: what it does later
/// may have its reason in what the client has sent.
const EARLY_RESET_US: u64 = 1_000_000;

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A receive is over: bytes in a ring buffer, zero bytes for EOF, or a fault.
    Received {
        /// From whom.
        side: Side,
        /// The bytes; empty at EOF.
        result: Result<&'a [u8], Fault>,
        /// The buffer they are in, this session's to send from or release. Bytes in none have to be
        /// copied by whoever wants to keep them.
        buffer: Option<BufferId>,
        /// What is known of what follows.
        rest: Rest,
    },
    /// A send from a ring buffer is over.
    Sent {
        /// To whom.
        to: Side,
        /// The buffer, this session's again.
        buffer: BufferId,
        /// Bytes sent.
        result: Result<u32, Fault>,
    },
    /// A send of owned bytes is over.
    SentAll {
        /// To whom.
        to: Side,
        /// Bytes sent; fewer than given means it broke.
        result: Result<u32, Fault>,
    },
    /// The server connection stands, or does not.
    Connected(Result<(), Fault>),
    /// There is something to splice.
    Readable(Side),
    /// There is room again to splice to this side.
    Room(Side),
    /// This side is hung up; with a fault it is gone, or can no longer be listened to.
    HangUp {
        /// Whom we were listening to.
        side: Side,
        /// `None`: a mere EOF both ways.
        fault: Option<Fault>,
    },
    /// A pipe was asked for the half that starts at this side.
    Pipe(Side, Result<(), Fault>),
    /// Bytes went from this side into its pipe.
    SplicedIn(Side, Result<u32, Fault>),
    /// Bytes went out of the pipe of the half that starts at this side.
    SplicedOut(Side, Result<u32, Fault>),
    /// Bytes this side has not acknowledged yet.
    Unsent(Side, Result<u32, Fault>),
    /// This side is closed, or was never open.
    Closed(Side),
    /// The deadline has passed.
    Deadline,
    /// The worker is going to stop: an end in good order is due.
    Retire,
    /// The worker stops.
    Stop,
    /// Checks have declared the server down, and its sessions are to be closed.
    ServerDown,
    /// An operator closes it.
    Kill,
}

/// What follows what was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing has come yet.
    Drained,
    /// More is waiting to be received.
    Unread,
    /// More may have been received already: nothing but another receive can tell.
    Streaming,
}

impl Rest {
    /// How to receive it.
    fn patience(self) -> Patience {
        if self == Self::Drained { Patience::Wait } else { Patience::Try }
    }
}

/// What is to be done; the worker does it in order.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Have `Received` come once from a side.
    Receive {
        /// From whom.
        side: Side,
        /// `Stream` says that it will be asked for again as soon as what has come is sent.
        patience: Patience,
    },
    /// Send part of a ring buffer without waiting.
    Send {
        /// To whom.
        to: Side,
        /// From which buffer.
        buffer: BufferId,
        /// First byte.
        from: u32,
        /// Behind the last byte.
        until: u32,
    },
    /// What a slow reader left: copy it out of the ring buffer, give that back, wait and send.
    SendLeft {
        /// To whom.
        to: Side,
        /// From which buffer.
        buffer: BufferId,
        /// First byte.
        from: u32,
        /// Behind the last byte.
        until: u32,
    },
    /// Send owned bytes, waiting for room as long as it takes.
    SendAll {
        /// To whom.
        to: Side,
        /// What.
        bytes: Vec<u8>,
    },
    /// Give a ring buffer back.
    Release(BufferId),
    /// Wait for readiness once.
    Await(Side, Readiness),
    /// Wait for room to splice to a side.
    AwaitRoom(Side),
    /// Make a socket and connect it.
    Connect {
        /// Pool of the server.
        pool: PoolIndex,
        /// The server.
        server: ServerIndex,
        /// Bytes are waiting to be sent.
        data_in_hand: bool,
    },
    /// Take a pipe for the half that starts at a side.
    TakePipe(Side),
    /// Give it back.
    ReturnPipe(Side, PipeState),
    /// Move up to that many bytes from a side into its pipe.
    SpliceIn(Side, u32),
    /// Move exactly what the pipe of the half that starts at a side holds to the other side.
    SpliceOut(Side, u32),
    /// Ask how much a side has not acknowledged.
    AskUnsent(Side),
    /// Say EOF to a side.
    Shutdown(Side),
    /// Close a side as soon as nothing is pending on it, and cancel what is; `Closed` follows.
    Close(Side, Farewell),
    /// Have `Deadline` come at this time, or a tick later; replaces the one before.
    Deadline {
        /// On the worker's clock.
        at_ms: u64,
    },
    /// No deadline any more.
    NoDeadline,
    /// The session is over; last action.
    End(CloseReason),
}

/// Whether a pipe may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipeState {
    /// It may.
    Empty,
    /// It still holds bytes nobody will read.
    Holding,
}

/// What a step may look at.
pub struct Cx<'a> {
    /// Microseconds on the worker's clock.
    pub now_us: u64,
    /// In force.
    pub config: &'a Config,
    /// By [`PoolIndex`], shared by all workers.
    pub pools: &'a [Pool],
    /// What is counted of each listener.
    pub listeners: &'a [PerWorker<ListenerCounts>],
    /// Whose counts are this session's.
    pub worker: usize,
    /// Who speaks first, by listener.
    pub habits: &'a mut [Habit],
    /// Host names seen.
    pub hosts: &'a mut Hosts,
    /// Seeded.
    pub random: &'a mut Random,
    /// Bytes in one ring buffer.
    pub buffer_size: u32,
    /// Bytes an empty pipe takes.
    pub pipe_size: u32,
    /// Where actions go.
    pub actions: &'a mut Vec<Action>,
}

impl Cx<'_> {
    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn now_ms(&self) -> u64 {
        self.now_us / 1000
    }

    fn deadline_in(&mut self, wait_ms: u32) {
        let at_ms = self.now_ms() + u64::from(wait_ms);
        self.act(Action::Deadline { at_ms });
    }

    fn release(&mut self, buffer: Option<BufferId>) {
        if let Some(buffer) = buffer {
            self.act(Action::Release(buffer));
        }
    }
}

/// What is known of a session whatever its phase; the line in the log is made of it.
#[derive(Debug)]
pub struct About {
    /// Position in `Config::listeners`.
    pub listener: u16,
    /// Where the client is, by the PROXY header where one was accepted; `None`: a unix socket.
    pub client: Option<SocketAddr>,
    /// The PROXY header said that the client spoke TLS to whoever stands in front.
    pub client_tls: bool,
    /// Host header or SNI.
    pub host: Option<Arc<str>>,
    /// The pool it was routed to.
    pub pool: Option<PoolIndex>,
    /// Where it was placed last.
    pub place: Option<Place>,
    /// What stickiness looked at.
    pub key: KeyKind,
    /// What is kept of that, or of the key learned from its response; 0: nothing.
    pub key_hash: u64,
    /// It counts among the connects in flight of its pool.
    pub in_flight: bool,
    /// A learned key this session keeps from expiring.
    pub learned: Option<LearnedKey>,
    /// Clock at accept.
    pub accepted_us: u64,
    /// From accept to the choice of a pool.
    pub peek_us: u32,
    /// From there to an established server connection, retries included.
    pub connect_us: u32,
    /// Servers tried in vain.
    pub retries: u8,
    /// Bytes received, by side.
    pub received: [u64; 2],
}

/// A server of a pool, and why that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The pool.
    pub pool: PoolIndex,
    /// The server, whose count includes this session.
    pub server: ServerIndex,
    /// Why that one.
    pub how: How,
    /// It has been connected to.
    pub connected: bool,
}

impl About {
    fn new(listener: u16, client: Option<SocketAddr>, accepted_us: u64) -> Self {
        Self {
            listener,
            client,
            client_tls: false,
            host: None,
            pool: None,
            place: None,
            key: KeyKind::None,
            key_hash: 0,
            in_flight: false,
            learned: None,
            accepted_us,
            peek_us: 0,
            connect_us: 0,
            retries: 0,
            received: [0; 2],
        }
    }

    /// What may be told of it, without what only a session itself can hold.
    pub fn copy(&self) -> Self {
        Self { learned: None, host: self.host.clone(), ..*self }
    }

    fn listener<'c>(&self, config: &'c Config) -> &'c Listener {
        &config.listeners[self.listener as usize]
    }

    /// Bytes came from a side: they are counted at once, here and where everybody sees them.
    #[inline]
    fn receive(&mut self, side: Side, bytes: u64, cx: &Cx<'_>) {
        self.received[side as usize] += bytes;
        cx.listeners[usize::from(self.listener)].of(cx.worker).receive(side, bytes);
        if let Some(place) = self.place.filter(|place| place.connected) {
            let pool = &cx.pools[usize::from(place.pool.0)];
            pool.server_counts(place.server, cx.worker).receive(side, bytes);
        }
    }

    /// When the pool was chosen, and its servers not before.
    fn chosen_ms(&self) -> u64 {
        (self.accepted_us + u64::from(self.peek_us)) / 1000
    }

    /// Tells the pool of an early reset, or that all went well.
    fn judge(&self, reason: CloseReason, pools: &[Pool], worker: usize, now_us: u64) {
        let Some(place) = self.place else { return };
        let pool = &pools[place.pool.0 as usize];
        match reason {
            CloseReason::ClientClosed | CloseReason::ServerClosed => {
                pool.served(place.server, self.chosen_ms(), now_us / 1000);
            }
            CloseReason::ServerReset if self.received[Side::Server as usize] == 0 => {
                let before_us = u64::from(self.peek_us) + u64::from(self.connect_us);
                let connected_us = self.accepted_us + before_us;
                if now_us.saturating_sub(connected_us) < EARLY_RESET_US {
                    pool.server_counts(place.server, worker).fail(Failure::EarlyReset);
                    pool.failed(place.server, Failure::EarlyReset, now_us / 1000);
                }
            }
            _ => {}
        }
    }
}

/// What a phase says after a step.
enum Next {
    Stay,
    To(Phase),
}

/// Where a session is on its way.
enum Phase {
    FirstBytes(first_bytes::FirstBytes),
    Peek(Box<peek::Peeking>),
    Connect(Box<connect::Connecting>),
    Relay(relay::Relay),
    Refuse(close::Refusing),
    Part(close::Parting),
    ForwardReset(close::ForwardingReset),
    Close(close::Closing),
}

/// One session.
pub struct Session {
    about: About,
    phase: Phase,
}

impl Session {
    /// A client was accepted; `local` is the address it connected to, where a server wants to know.
    pub fn accept(
        listener: u16,
        client: Option<SocketAddr>,
        local: Option<SocketAddr>,
        cx: &mut Cx<'_>,
    ) -> Self {
        let mut about = About::new(listener, client, cx.now_us);
        let phase = accept::start(&mut about, local, cx);
        Self { about, phase }
    }

    /// A client was accepted that may not stay: too many of its network have.
    pub fn turn_away(listener: u16, client: Option<SocketAddr>, cx: &mut Cx<'_>) -> Self {
        let about = About::new(listener, client, cx.now_us);
        // In good order its port would be kept for a minute (TIME_WAIT): many make use of that.
        let phase = close::reset_client(CloseReason::SourceLimit, cx);
        Self { about, phase }
    }

    /// Takes in what happened and says what to do.
    pub fn step(&mut self, event: Event<'_>, cx: &mut Cx<'_>) {
        let about = &mut self.about;
        let next = match (&mut self.phase, event) {
            (Phase::Close(closing), event) => closing.step(event, cx),
            (_, Event::Stop) => Next::To(close::close(CloseReason::Stopped, cx)),
            // At once, whoever is slow to read: and what was cut off must not look whole.
            (_, Event::Kill) => Next::To(close::reset_client(CloseReason::Killed, cx)),
            (Phase::Relay(relay), Event::Retire) => relay.retire(about, cx),
            // These end by themselves.
            (Phase::Refuse(_) | Phase::Part(_) | Phase::ForwardReset(_), Event::Retire) => {
                Next::Stay
            }
            (_, Event::Retire) => Next::To(close::close(CloseReason::Stopped, cx)),
            // Cut off by ringway or by its server: to the client that is the same.
            (Phase::Relay(_), Event::ServerDown) => {
                Next::To(close::forward_reset(CloseReason::ServerDown, cx))
            }
            (_, Event::ServerDown) => Next::Stay,
            (Phase::FirstBytes(waiting), event) => waiting.step(about, event, cx),
            (Phase::Peek(peeking), event) => peeking.step(about, event, cx),
            (Phase::Connect(connecting), event) => connecting.step(about, event, cx),
            (Phase::Relay(relay), event) => relay.step(about, event, cx),
            (Phase::Refuse(refusing), event) => refusing.step(event, cx),
            (Phase::Part(parting), event) => parting.step(event, cx),
            (Phase::ForwardReset(forwarding), event) => forwarding.step(event, cx),
        };
        if let Next::To(phase) = next {
            self.leave_queue(cx.pools);
            self.phase = phase;
        }
    }

    /// Both its sides are being closed already.
    pub fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Close(_))
    }

    /// Where it is on its way, in a word.
    pub fn phase(&self) -> &'static str {
        match &self.phase {
            Phase::FirstBytes(_) => "first_bytes",
            Phase::Peek(_) => "peek",
            Phase::Connect(connecting) if connecting.is_waiting() => "queue",
            Phase::Connect(_) => "connect",
            Phase::Relay(_) => "relay",
            Phase::Refuse(_) => "refuse",
            Phase::Part(_) => "part",
            Phase::ForwardReset(_) => "forward_reset",
            Phase::Close(_) => "close",
        }
    }

    /// How its halves move bytes, by the side they start at; `None` unless it relays.
    pub fn modes(&self) -> Option<[Mode; 2]> {
        match &self.phase {
            Phase::Relay(relay) => Some(relay.modes()),
            _ => None,
        }
    }

    /// What is known of it.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// After [`Action::End`]: says how its server did, gives back its place, lets go of its key,
    /// counts it among those that are over, and leaves what is to be told of it.
    pub fn leave(
        mut self,
        reason: CloseReason,
        pools: &[Pool],
        worker: usize,
        now_us: u64,
    ) -> About {
        self.leave_queue(pools);
        self.about.judge(reason, pools, worker, now_us);
        if let Some(pool) = self.about.pool {
            let lived_us = now_us.saturating_sub(self.about.accepted_us);
            pools[usize::from(pool.0)].counts(worker).close(reason, lived_us);
        }
        connect::leave_place(&mut self.about, pools, now_us / 1000);
        self.about
    }

    /// Whoever is no longer looking for a server waits for none.
    fn leave_queue(&mut self, pools: &[Pool]) {
        if let Phase::Connect(connecting) = &mut self.phase {
            connecting.leave_queue(pools);
        }
    }
}
