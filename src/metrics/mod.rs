//! What workers count. Each number is written by one worker alone and read by anyone: `tally` says
//! how. Here is what a worker counts of itself; `counts` are those of listeners, pools and servers,
//! and `text` is all of it as Prometheus reads it.
//!
//! At any quiet moment accepted == live + the sum of closed over all reasons, of each worker and of
//! each listener.

mod counts;
mod tally;
mod text;

use crossbeam_utils::CachePadded;

use crate::session::CloseReason;
use crate::sys::Fault;

pub use counts::{
    Closed, ListenerCounts, ListenerTotals, PoolCounts, PoolTotals, ServerCounts, ServerTotals,
    connected,
};
pub use tally::{Distribution, LIVES_US, PerWorker, Tally, WAITS_US};
pub use text::{CONTENT_TYPE, Moment, text};

/// Counters of one worker, on cache lines of their own.
#[derive(Default)]
pub struct Counters(CachePadded<Counts>);

/// What there was not enough of, so that somebody had to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// `max_connections` of all listeners.
    Total,
    /// `max_connections` of a listener.
    Listener,
    /// `accept_rate_per_s`.
    Rate,
    /// Places for sessions, by the limit on descriptors.
    Seats,
    /// Descriptors.
    Descriptors,
    /// Kernel memory.
    Memory,
    /// Source ports.
    Ports,
    /// Buffers to receive into.
    Buffers,
    /// Pipes to splice through.
    Pipes,
}

impl Lack {
    /// Each, in the order of declaration.
    pub const ALL: [Self; 9] = [
        Self::Total,
        Self::Listener,
        Self::Rate,
        Self::Seats,
        Self::Descriptors,
        Self::Memory,
        Self::Ports,
        Self::Buffers,
        Self::Pipes,
    ];

    /// What ran out when a call failed so.
    pub fn of(fault: Fault) -> Option<Self> {
        match fault {
            Fault::NoDescriptors => Some(Self::Descriptors),
            Fault::NoMemory | Fault::NoBuffers => Some(Self::Memory),
            Fault::NoPorts => Some(Self::Ports),
            _ => None,
        }
    }

    /// The word in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Total => "max_connections",
            Self::Listener => "listener_max_connections",
            Self::Rate => "accept_rate",
            Self::Seats => "sessions_per_worker",
            Self::Descriptors => "descriptors",
            Self::Memory => "memory",
            Self::Ports => "ports",
            Self::Buffers => "buffers",
            Self::Pipes => "pipes",
        }
    }
}

#[derive(Default)]
struct Counts {
    accepted: Tally,
    closed: [Tally; CloseReason::ALL.len()],
    lacked: [Tally; Lack::ALL.len()],
    /// Lines of the access log that were dropped because the log could not keep up.
    unlogged: Tally,
    /// Sockets of clients and servers.
    opened: Tally,
    shut: Tally,
    /// Told once, at the start.
    sessions_max: Tally,
    descriptors_max: Tally,
}

impl Counters {
    /// One more client.
    pub fn accept(&self) {
        self.0.accepted.add(1);
    }

    /// One session less.
    pub fn close(&self, reason: CloseReason) {
        self.0.closed[reason as usize].add(1);
    }

    /// Somebody has to wait, or to do without.
    pub fn lack(&self, lack: Lack) {
        self.0.lacked[lack as usize].add(1);
    }

    /// One more socket of a client or to a server.
    pub fn open_socket(&self) {
        self.0.opened.add(1);
    }

    /// One less.
    pub fn close_socket(&self) {
        self.0.shut.add(1);
    }

    /// Room for so many sessions, by so many descriptors; once.
    pub fn start(&self, sessions_max: usize, descriptors_max: u64) {
        self.0.sessions_max.add(sessions_max as u64);
        self.0.descriptors_max.add(descriptors_max);
    }

    /// Lines of the log that were lost.
    pub fn lose_lines(&self, lines: usize) {
        self.0.unlogged.add(lines as u64);
    }

    /// Clients accepted so far.
    pub fn accepted(&self) -> u64 {
        self.0.accepted.value()
    }

    /// Sessions ended so far, for this reason.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.0.closed[reason as usize].value()
    }

    /// Sessions now.
    pub fn live(&self) -> u64 {
        // What is over was accepted before, and so is read before.
        let closed: u64 = self.0.closed.iter().map(Tally::value).sum();
        self.accepted().saturating_sub(closed)
    }

    /// Sockets of clients and servers now.
    pub fn sockets(&self) -> u64 {
        let shut = self.0.shut.value();
        self.0.opened.value().saturating_sub(shut)
    }

    /// Sessions there may be.
    pub fn sessions_max(&self) -> u64 {
        self.0.sessions_max.value()
    }

    /// Descriptors there may be.
    pub fn descriptors_max(&self) -> u64 {
        self.0.descriptors_max.value()
    }

    /// How often there was not enough of something so far.
    pub fn lacked(&self, lack: Lack) -> u64 {
        self.0.lacked[lack as usize].value()
    }

    /// Log lines lost so far.
    pub fn unlogged(&self) -> u64 {
        self.0.unlogged.value()
    }
}
