//! Entry: a pool, a key and the bytes to send first. Exits: relay, refuse (503), close. Deadline:
//! the pool's `connect_timeout_ms` for each server tried, and `queue_timeout_ms` for a place.
//!
//! Where this machine has no descriptor, memory or port for a server connection, that is not the
//! server's fault and no try: it is tried again after a pause, for `connect_timeout_ms` in all.
//!
//! Where servers may have no more sessions, or the pool no more connects in flight, it waits in the
//! queue of the pool and looks for a place now and then.

use std::net::SocketAddr;

use super::relay::{self, ClientHalf};
use super::watch::{Gate, Watch};
use super::{About, Action, CloseReason, Cx, Event, Next, Phase, Place, answer, close};
use crate::config::PoolIndex;
use crate::metrics::{self, PoolCounts};
use crate::peek::proxy_protocol;
use crate::pool::{Failure, How, Key, LOOK_MS, Look, NoPick, Pool, ServerIndex, Ticket, Tried};
use crate::sys::{Farewell, Fault, Readiness, Side};

/// Milliseconds before somebody who found no descriptor, memory or port tries again: ten attempts a
/// second are no load, and short beside any timeout.
const SHORTAGE_PAUSE_MS: u32 = 100;

/// A server is being found.
pub(super) struct Connecting {
    pool: PoolIndex,
    key: Key,
    /// It is counted whether the key has led anywhere.
    followed: bool,
    tried: Tried,
    /// Those of them that this machine has no port left for.
    spent: Vec<ServerIndex>,
    /// What the connect that is being closed failed for, where that was no fault of the server.
    shortage: Option<Fault>,
    /// True exactly when no server is being connected to, until the deadline.
    paused: bool,
    /// When it is given up to wait for what ran out; 0: nothing has run out yet.
    shortage_until_ms: u64,
    /// Its place in the queue; then no server is being connected to.
    waiting: Option<Waiting>,
    bytes: Vec<u8>,
    client: ClientHalf,
    local: Option<SocketAddr>,
    started_us: u64,
    /// The same for the server that is being connected to.
    tried_us: u64,
    /// Speaks HTTP, so failure is answered; with the Origin that CORS wants to see named.
    pub(super) http: Option<Option<Box<[u8]>>>,
    /// What relaying has to look out for.
    pub(super) watch: Option<Box<Watch>>,
}

/// A place in the queue of the pool.
struct Waiting {
    ticket: Ticket,
    /// When it is too late.
    until_ms: u64,
}

impl Connecting {
    pub(super) fn new(
        pool: PoolIndex,
        key: Key,
        bytes: Vec<u8>,
        client: ClientHalf,
        local: Option<SocketAddr>,
        now_us: u64,
    ) -> Self {
        Self {
            pool,
            key,
            followed: false,
            tried: Tried::default(),
            spent: Vec::new(),
            shortage: None,
            paused: false,
            shortage_until_ms: 0,
            waiting: None,
            bytes,
            client,
            local,
            started_us: now_us,
            tried_us: now_us,
            http: None,
            watch: None,
        }
    }
}

/// Chooses the first server.
pub(super) fn start(mut connecting: Connecting, about: &mut About, cx: &mut Cx<'_>) -> Phase {
    about.peek_us = micros(cx.now_us - about.accepted_us);
    (about.key, about.key_hash) = (connecting.key.kind, connecting.key.hash);
    about.pool = Some(connecting.pool);
    cx.pools[usize::from(connecting.pool.0)].counts(cx.worker).peek(about.peek_us.into());
    match connecting.begin(about, cx) {
        None => Phase::Connect(Box::new(connecting)),
        Some(phase) => phase,
    }
}

fn micros(span_us: u64) -> u32 {
    u32::try_from(span_us).unwrap_or(u32::MAX)
}

/// Undoes what [`Pool::pick`] reserved.
pub(super) fn leave_place(about: &mut About, pools: &[Pool], now_ms: u64) {
    if let Some(place) = about.place {
        let pool = &pools[place.pool.0 as usize];
        connect_over(about, pool);
        pool.release(place.server);
        if let Some(key) = about.learned.take() {
            pool.let_go(key, now_ms);
        }
    }
}

/// It is no longer among the connects in flight, if it was.
fn connect_over(about: &mut About, pool: &Pool) {
    if std::mem::take(&mut about.in_flight) {
        pool.connect_over();
    }
}

/// What it says of the server that a connect failed; `None` where it was our own doing.
const fn failure(fault: Fault) -> Option<Failure> {
    match fault {
        Fault::Refused => Some(Failure::Refused),
        Fault::TimedOut => Some(Failure::TimedOut),
        Fault::Unreachable => Some(Failure::Unreachable),
        Fault::Reset | Fault::Broken | Fault::Aborted | Fault::Other(_) => {
            Some(Failure::NotConnected)
        }
        Fault::WouldBlock
        | Fault::Cancelled
        | Fault::NoBuffers
        | Fault::NoPorts
        | Fault::NoDescriptors
        | Fault::NoMemory => None,
    }
}

impl Connecting {
    /// Chooses, but not before those who wait already.
    fn begin(&mut self, about: &mut About, cx: &mut Cx<'_>) -> Option<Phase> {
        if cx.pools[self.pool.0 as usize].waiting() == 0 {
            return self.choose(about, cx);
        }
        // Where its key leads, if it has one, is found out when it picks.
        self.wait(None, cx).or_else(|| self.look(about, cx))
    }

    /// Picks a server not tried yet and connects to it; or says how the session ends.
    fn choose(&mut self, about: &mut About, cx: &mut Cx<'_>) -> Option<Phase> {
        let pool = &cx.pools[self.pool.0 as usize];
        if about.retries >= pool.spec().connect_tries {
            return Some(self.give_up(CloseReason::ConnectFailed, cx));
        }
        let counts = pool.counts(cx.worker);
        let client = about.client.map(|client| client.ip());
        let random = cx.random.next();
        match pool.pick(&self.key, client, &self.tried, random, cx.now_ms()) {
            Ok(pick) => {
                counts.pick(pick.how);
                self.follow_key(pick.how == How::Kept, counts);
                self.tried_us = cx.now_us;
                let (server, how) = (pick.server, pick.how);
                about.place = Some(Place { pool: self.pool, server, how, connected: false });
                about.learned = pick.held;
                about.in_flight = pick.in_flight;
                self.leave_queue(cx.pools);
                cx.deadline_in(pool.spec().connect_timeout_ms);
                let data_in_hand = !self.bytes.is_empty() || pool.spec().send_proxy.is_some();
                cx.act(Action::Connect { pool: self.pool, server, data_in_hand });
                None
            }
            Err(NoPick::Full { server }) => self.wait(server, cx),
            // Not refused for want of ports while they may come back.
            Err(_) if !self.spent.is_empty() => self.pause(cx),
            Err(NoPick::NoServer) => Some(self.give_up(CloseReason::ConnectFailed, cx)),
            Err(NoPick::KeyLost) => {
                self.follow_key(false, counts);
                Some(self.give_up(CloseReason::KeyLost, cx))
            }
        }
    }

    /// Counts whether its key, if it has one, has led to a server; once.
    fn follow_key(&mut self, is_hit: bool, counts: &PoolCounts) {
        if self.key.asks_for_a_server() && !std::mem::replace(&mut self.followed, true) {
            counts.follow_key(is_hit);
        }
    }

    /// Waits in the queue, or on; or says how the session ends.
    fn wait(&mut self, server: Option<ServerIndex>, cx: &mut Cx<'_>) -> Option<Phase> {
        let pool = &cx.pools[self.pool.0 as usize];
        if let Some(waiting) = &self.waiting {
            pool.wait_for(&waiting.ticket, server);
        } else {
            let Some(ticket) = pool.join(server) else {
                return Some(self.give_up(CloseReason::QueueFull, cx));
            };
            pool.counts(cx.worker).queue();
            let until_ms = cx.now_ms() + u64::from(pool.spec().queue_timeout_ms);
            self.waiting = Some(Waiting { ticket, until_ms });
            if self.client != ClientHalf::Receiving {
                cx.act(Action::Await(Side::Client, Readiness::HangUp));
            }
        }
        self.look_in(LOOK_MS, cx);
        None
    }

    /// Looks whether it is its turn; or says how the session ends.
    fn look(&mut self, about: &mut About, cx: &mut Cx<'_>) -> Option<Phase> {
        let waiting = self.waiting.as_ref().expect("only who waits looks");
        if cx.now_ms() >= waiting.until_ms {
            return Some(self.give_up(CloseReason::QueueTimeout, cx));
        }
        match cx.pools[self.pool.0 as usize].look(&waiting.ticket, cx.now_ms()) {
            Look::Pick => {
                self.spent.drain(..).for_each(|server| self.tried.remove(server));
                self.choose(about, cx)
            }
            Look::Again { in_ms } => {
                self.look_in(in_ms, cx);
                None
            }
        }
    }

    fn look_in(&self, wait_ms: u32, cx: &mut Cx<'_>) {
        let at_ms = cx.now_ms() + u64::from(wait_ms);
        let until_ms = self.waiting.as_ref().map_or(at_ms, |waiting| waiting.until_ms);
        cx.act(Action::Deadline { at_ms: at_ms.min(until_ms) });
    }

    /// It stands in the queue.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Gives up its place in the queue, if it has one.
    pub(super) fn leave_queue(&mut self, pools: &[Pool]) {
        if let Some(waiting) = self.waiting.take() {
            pools[self.pool.0 as usize].leave(waiting.ticket);
        }
    }

    fn give_up(&mut self, reason: CloseReason, cx: &mut Cx<'_>) -> Phase {
        self.leave_queue(cx.pools);
        match self.http.take() {
            Some(origin) => {
                let answer = answer::unavailable(origin.as_deref());
                close::refuse(reason, answer, self.client == ClientHalf::Receiving, cx)
            }
            None => close::close(reason, cx),
        }
    }

    pub(super) fn step(&mut self, about: &mut About, event: Event<'_>, cx: &mut Cx<'_>) -> Next {
        match event {
            Event::Connected(Ok(())) => Next::To(self.connected(about, cx)),
            Event::Deadline if self.waiting.is_some() => {
                self.look(about, cx).map_or(Next::Stay, Next::To)
            }
            Event::HangUp { side: Side::Client, fault } => {
                let reason = CloseReason::gone(Side::Client, fault.unwrap_or(Fault::Reset));
                Next::To(close::reset_server(reason, cx))
            }
            Event::Deadline if self.paused => {
                self.paused = false;
                self.spent.drain(..).for_each(|server| self.tried.remove(server));
                self.choose(about, cx).map_or(Next::Stay, Next::To)
            }
            Event::Connected(Err(fault)) => {
                self.shortage = Some(fault).filter(|fault| fault.is_shortage());
                self.failed(failure(fault), about, cx);
                Next::Stay
            }
            Event::Deadline => {
                self.failed(Some(Failure::TimedOut), about, cx);
                Next::Stay
            }
            Event::Closed(Side::Server) => self.next_server(about, cx),
            Event::Received { result, buffer, .. } => {
                cx.release(buffer);
                self.received(about, result, cx)
            }
            _ => Next::Stay,
        }
    }

    /// This one is not to be had; the next follows once its socket is closed.
    fn failed(&self, failure: Option<Failure>, about: &About, cx: &mut Cx<'_>) {
        let place = about.place.expect("connecting to a place");
        if let Some(failure) = failure {
            let pool = &cx.pools[self.pool.0 as usize];
            pool.server_counts(place.server, cx.worker).fail(failure);
            pool.failed(place.server, failure, cx.now_ms());
        }
        cx.act(Action::Close(Side::Server, Farewell::Reset));
    }

    fn next_server(&mut self, about: &mut About, cx: &mut Cx<'_>) -> Next {
        let place = about.place.expect("connecting to a place");
        leave_place(about, cx.pools, cx.now_ms());
        about.place = None;
        match self.shortage.take() {
            None => {
                about.retries += 1;
                cx.pools[self.pool.0 as usize].counts(cx.worker).retry();
                self.tried.insert(place.server);
            }
            Some(Fault::NoPorts) => {
                self.spent.push(place.server);
                self.tried.insert(place.server);
            }
            // No other server would fare better.
            Some(_) => return self.pause(cx).map_or(Next::Stay, Next::To),
        }
        self.choose(about, cx).map_or(Next::Stay, Next::To)
    }

    /// Waits for what this machine has run out of, or no longer.
    fn pause(&mut self, cx: &mut Cx<'_>) -> Option<Phase> {
        let timeout_ms = cx.pools[self.pool.0 as usize].spec().connect_timeout_ms;
        if self.shortage_until_ms == 0 {
            self.shortage_until_ms = cx.now_ms() + u64::from(timeout_ms);
        } else if cx.now_ms() >= self.shortage_until_ms {
            return Some(self.give_up(CloseReason::Exhausted, cx));
        }
        self.paused = true;
        cx.deadline_in(SHORTAGE_PAUSE_MS.min(timeout_ms));
        None
    }

    /// Only a client whose receive was pending when peeking ended comes here.
    fn received(
        &mut self,
        about: &mut About,
        result: Result<&[u8], Fault>,
        cx: &mut Cx<'_>,
    ) -> Next {
        match result {
            Ok([]) => self.client = ClientHalf::Ended,
            Ok(bytes) => {
                about.receive(Side::Client, bytes.len() as u64, cx);
                self.bytes.extend_from_slice(bytes);
                self.client = ClientHalf::Idle;
            }
            Err(fault) => {
                let reason = CloseReason::gone(Side::Client, fault);
                return Next::To(close::reset_server(reason, cx));
            }
        }
        Next::Stay
    }

    fn connected(&mut self, about: &mut About, cx: &mut Cx<'_>) -> Phase {
        let place = about.place.as_mut().expect("connected to a place");
        place.connected = true;
        let place = *place;
        let pool = &cx.pools[self.pool.0 as usize];
        connect_over(about, pool);
        pool.commit(place.server, about.chosen_ms(), cx.now_ms());
        about.connect_us = micros(cx.now_us - self.started_us);
        let server = pool.server_counts(place.server, cx.worker);
        metrics::connected(pool.counts(cx.worker), server, cx.now_us - self.tried_us);
        // It came before there was a server.
        server.receive(Side::Client, about.received[Side::Client as usize]);
        cx.act(Action::NoDeadline);

        let mut bytes = std::mem::take(&mut self.bytes);
        if let Some(version) = pool.spec().send_proxy {
            let mut headed = Vec::with_capacity(bytes.len() + 128);
            proxy_protocol::write(version, about.client, self.local, &mut headed);
            headed.append(&mut bytes);
            bytes = headed;
        }
        let mut watch = self.watch.take();
        if self.client == ClientHalf::Receiving && !bytes.is_empty() {
            // What arrives while the first bytes are being sent has to wait behind them.
            watch = Some(Box::new(Watch::request_only(Gate::flushing())));
        }
        if let Some(watch) = &mut watch {
            watch.placed(pool, place, about.key);
        }
        relay::start(bytes, watch, self.client, about, cx)
    }
}
