//! Entry: a pool, a key and the bytes to send first. Exits: relay, refuse (503), close. Deadline:
//! the pool's `connect_timeout_ms` for each server tried.
//!
//! Where this machine has no descriptor, memory or port for a server connection, that is not the
//! server's fault and no try: it is tried again after a pause, for `connect_timeout_ms` in all.

use std::net::SocketAddr;

use super::relay::{self, ClientHalf};
use super::watch::{Gate, Watch};
use super::{About, Action, CloseReason, Cx, Event, Next, Phase, Place, answer, close};
use crate::config::PoolIndex;
use crate::peek::proxy_protocol;
use crate::pool::{Failure, Key, NoPick, Pool, ServerIndex, Tried};
use crate::sys::{Farewell, Fault, Side};

/// Milliseconds before somebody who found no descriptor, memory or port tries again: ten attempts a
/// second are no load, and short beside any timeout.
const SHORTAGE_PAUSE_MS: u32 = 100;

/// A server is being found.
pub(super) struct Connecting {
    pool: PoolIndex,
    key: Key,
    tried: Tried,
    /// Those of them that this machine has no port left for.
    spent: Vec<ServerIndex>,
    /// What the connect that is being closed failed for, where that was no fault of the server.
    shortage: Option<Fault>,
    /// True exactly when no server is being connected to, until the deadline.
    paused: bool,
    /// When it is given up to wait for what ran out; 0: nothing has run out yet.
    shortage_until_ms: u64,
    bytes: Vec<u8>,
    client: ClientHalf,
    local: Option<SocketAddr>,
    started_us: u64,
    /// Speaks HTTP, so failure is answered; with the Origin that CORS wants to see named.
    pub(super) http: Option<Option<Box<[u8]>>>,
    /// What relaying has to look out for.
    pub(super) watch: Option<Box<Watch>>,
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
            tried: Tried::default(),
            spent: Vec::new(),
            shortage: None,
            paused: false,
            shortage_until_ms: 0,
            bytes,
            client,
            local,
            started_us: now_us,
            http: None,
            watch: None,
        }
    }
}

/// Chooses the first server.
pub(super) fn start(mut connecting: Connecting, about: &mut About, cx: &mut Cx<'_>) -> Phase {
    about.peek_us = micros(cx.now_us - about.accepted_us);
    about.key = connecting.key.kind;
    match connecting.choose(about, cx) {
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
        pool.release(place.server);
        if let Some(key) = about.learned.take() {
            pool.let_go(key, now_ms);
        }
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
    /// Picks a server not tried yet and connects to it; or says how the session ends.
    fn choose(&mut self, about: &mut About, cx: &mut Cx<'_>) -> Option<Phase> {
        let pool = &cx.pools[self.pool.0 as usize];
        if about.retries >= pool.spec().connect_tries {
            return Some(self.give_up(CloseReason::ConnectFailed, cx));
        }
        let client = about.client.map(|client| client.ip());
        let random = cx.random.next();
        match pool.pick(&self.key, client, &self.tried, random, cx.now_ms()) {
            Ok(pick) => {
                about.place = Some(Place { pool: self.pool, server: pick.server, how: pick.how });
                about.learned = pick.held;
                cx.deadline_in(pool.spec().connect_timeout_ms);
                let data_in_hand = !self.bytes.is_empty() || pool.spec().send_proxy.is_some();
                let server = pick.server;
                cx.act(Action::Connect { pool: self.pool, server, data_in_hand });
                None
            }
            // Not refused for want of ports while they may come back.
            Err(_) if !self.spent.is_empty() => self.pause(cx),
            Err(NoPick::NoServer) => Some(self.give_up(CloseReason::ConnectFailed, cx)),
            Err(NoPick::KeyLost) => Some(self.give_up(CloseReason::KeyLost, cx)),
        }
    }

    fn give_up(&mut self, reason: CloseReason, cx: &mut Cx<'_>) -> Phase {
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
            cx.pools[self.pool.0 as usize].failed(place.server, failure, cx.now_ms());
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
                about.received[Side::Client as usize] += bytes.len() as u64;
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
        let place = about.place.expect("connected to a place");
        let pool = &cx.pools[self.pool.0 as usize];
        pool.commit(place.server);
        about.connect_us = micros(cx.now_us - self.started_us);
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
