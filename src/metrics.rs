//! What a worker counts. Written by that worker alone, read by anyone.
//!
//! At any quiet moment accepted == live + the sum of closed over all reasons.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use crate::session::CloseReason;

/// Counters of one worker, on cache lines of their own.
#[derive(Default)]
pub struct Counters(CachePadded<Counts>);

#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    closed: [AtomicU64; CloseReason::ALL.len()],
    /// Lines of the access log that were dropped because the log could not keep up.
    unlogged: AtomicU64,
}

impl Counters {
    /// One more client.
    pub fn accept(&self) {
        self.0.accepted.fetch_add(1, Relaxed);
    }

    /// One session less.
    pub fn close(&self, reason: CloseReason) {
        self.0.closed[reason as usize].fetch_add(1, Relaxed);
    }

    /// Lines of the log that were lost.
    pub fn lose_lines(&self, lines: usize) {
        self.0.unlogged.fetch_add(lines as u64, Relaxed);
    }

    /// Clients accepted so far.
    pub fn accepted(&self) -> u64 {
        self.0.accepted.load(Relaxed)
    }

    /// Sessions ended so far, for this reason.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.0.closed[reason as usize].load(Relaxed)
    }

    /// Log lines lost so far.
    pub fn unlogged(&self) -> u64 {
        self.0.unlogged.load(Relaxed)
    }
}
