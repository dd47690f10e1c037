//! Limits of a pool towards its servers, and who waits for them: shared by all pools of one name,
//! one edition after another, so that counts, order and bounds hold across a reload.
//!
//! No clock: `queue` keeps the order, sessions look again when they are told to. What the file in
//! force says holds for sessions of every edition.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use super::counts::Count;
use super::queue::{Queue, Stand, Ticket};
use super::usable::Candidates;
use super::{Pool, Server, ServerIndex, Tried};
use crate::config;

/// Milliseconds between looks of the first in a queue: a place stays empty for half of that, and a
/// look costs about a microsecond.
pub const LOOK_MS: u32 = 16;

/// Milliseconds between looks of whoever is far back, at most: those in front may give up.
const LOOK_MAX_MS: u32 = 1_000;

/// Sessions for each server that look for a place at the same time: so many places of one server
/// are taken again in 16 ms.
const WINDOW_PER_SERVER: usize = 4;

/// The same in all: each looks at the counts of all servers.
const WINDOW_MAX: usize = 64;

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Limits {
    /// True exactly when some file has limited sessions or connects so far; else nothing below is
    /// touched. It stays: sessions of an older edition may meet limits that are no longer in force,
    /// on servers that are gone.
    on: AtomicBool,
    /// Connects in flight, of sessions that were placed while there were limits.
    pub(super) connecting: Count,
    queue_max: AtomicU32,
    queue: Queue,
}

/// What a session that waits is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Pick: there may be a place.
    Pick,
    /// Look again then.
    Again {
        /// Milliseconds from now.
        in_ms: u32,
    },
}

impl Default for Limits {
    fn default() -> Self {
        let (on, queue_max) = (AtomicBool::new(false), AtomicU32::new(0));
        Self { on, connecting: Count::new(), queue_max, queue: Queue::default() }
    }
}

impl Limits {
    /// Those of this configuration, from now on; the servers have theirs already.
    pub(super) fn put_in_force(&self, spec: &config::Pool, servers: &[Server]) {
        let of_servers = servers.iter().any(|server| server.state.count.is_limited());
        self.connecting.set_limit(spec.connects_in_flight_max);
        self.queue_max.store(spec.queue_max, Relaxed);
        if of_servers || spec.connects_in_flight_max.is_some() {
            self.on.store(true, Relaxed);
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }
}

impl Pool {
    /// Sessions that wait for a place.
    pub fn waiting(&self) -> u32 {
        self.limits.queue.len()
    }

    /// Connects in flight that are counted.
    pub fn connecting(&self) -> u32 {
        self.limits.connecting.live()
    }

    /// A pick that was `in_flight` is connected, or released.
    ///
    /// # Panics
    /// If nothing is in flight: a connect is over once.
    pub fn connect_over(&self) {
        self.limits.connecting.release();
    }

    /// A place at the end of the queue, if that is not full too; `server` is the only one that will
    /// do, if there is only one. To be given up with [`Pool::leave`].
    pub fn join(&self, server: Option<ServerIndex>) -> Option<Ticket> {
        let max = self.limits.queue_max.load(Relaxed);
        self.limits.queue.join(max, server.map(|server| self.server(server).peer))
    }

    /// It was found out that only this server will do, or any.
    pub fn wait_for(&self, ticket: &Ticket, server: Option<ServerIndex>) {
        self.limits.queue.want(ticket, server.map(|server| self.server(server).peer));
    }

    /// Gives up a place in the queue.
    pub fn leave(&self, ticket: Ticket) {
        self.limits.queue.leave(ticket);
    }

    /// Whether it is somebody's turn: those at the front of the queue pick as soon as there is room
    /// for all in front of them who want the same, so that nobody overtakes. Who is behind the
    /// front waits for as long as it takes those in front to look.
    pub fn look(&self, ticket: &Ticket, now_ms: u64) -> Look {
        let window = (WINDOW_PER_SERVER * self.servers.len()).clamp(1, WINDOW_MAX);
        let Stand { position, ahead, wants } = self.limits.queue.stand(ticket, window);
        let is_turn = position < window && {
            // The first of its kind finds out by itself, whatever has become of its server.
            ahead == 0 || (ahead as u64) < self.room(wants.and_then(|w| self.by_peer(w)), now_ms)
        };
        if is_turn {
            return Look::Pick;
        }
        let looks = u32::try_from(1 + position / window).unwrap_or(u32::MAX);
        Look::Again { in_ms: LOOK_MS.saturating_mul(looks).min(LOOK_MAX_MS) }
    }

    /// How many more may be placed there, or anywhere.
    fn room(&self, server: Option<ServerIndex>, now_ms: u64) -> u64 {
        let of = |server: ServerIndex| u64::from(self.server(server).state.count.room());
        let room = server.map_or_else(
            || {
                let tried = Tried::default();
                let candidates = Candidates::new(self, &tried, 0, now_ms);
                let on_backups = self.condition(now_ms).on_backups;
                let group = if on_backups { &self.backups } else { &self.primaries };
                group.members().filter(|&server| candidates.is_usable(server)).map(of).sum()
            },
            of,
        );
        room.min(u64::from(self.limits.connecting.room()))
    }
}
