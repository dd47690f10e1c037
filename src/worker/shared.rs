//! What all workers and the control thread share: what happened, and what the time is.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::edition::Edition;
use crate::metrics::Counters;
use crate::sys::clock::Clock;
use crate::sys::sources::Uses;

/// What all workers share.
pub struct Shared {
    /// Set when a worker could not go on.
    pub failed: AtomicBool,
    /// Told to end; no new clients are heard.
    pub draining: AtomicBool,
    /// Workers that have not ended.
    pub running: AtomicUsize,
    /// What every worker reads, so that expiry times mean the same to all.
    pub clock: Clock,
    /// Which source addresses server connections have.
    pub uses: Uses,
    /// What happened, by worker.
    pub counters: Vec<Counters>,
    /// Log lines that were lost on their way out, which workers have handed over.
    pub unwritten: AtomicU64,
    /// Workers are told of each edition by an order; this is for everybody else.
    in_force: Mutex<Arc<Edition>>,
}

impl Shared {
    /// At the start.
    pub fn new(edition: Arc<Edition>, workers: usize) -> Self {
        Self {
            failed: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            running: AtomicUsize::new(workers),
            clock: Clock::new(),
            uses: Uses::default(),
            counters: (0..workers).map(|_| Counters::default()).collect(),
            unwritten: AtomicU64::new(0),
            in_force: Mutex::new(edition),
        }
    }

    /// Log lines lost so far, wherever that was.
    pub fn unlogged(&self) -> u64 {
        let by_workers: u64 = self.counters.iter().map(Counters::unlogged).sum();
        by_workers + self.unwritten.load(Ordering::Relaxed)
    }

    /// What new sessions are made under.
    pub fn edition(&self) -> Arc<Edition> {
        Arc::clone(&self.in_force.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts an edition in the place of the one before.
    pub fn put_in_force(&self, edition: Arc<Edition>) {
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = edition;
    }
}

/// An edition as the sessions of one worker share it, who count without atomics. Counted by all
/// workers on one cache line, accepting would cost them dear.
pub(super) struct LocalEdition(pub(super) Arc<Edition>);

impl Deref for LocalEdition {
    type Target = Edition;

    fn deref(&self) -> &Edition {
        &self.0
    }
}
