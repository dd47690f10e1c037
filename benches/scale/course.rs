//! Where a run stands: what the main thread tells the others, and what they count for it.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use ringway::sys::clock::Clock;

use crate::options::Options;

/// Shared by all threads.
pub(crate) struct Course {
    /// One clock for all, so that times compare.
    pub(crate) clock: Clock,
    /// Microseconds between two messages of a session; 0: none are sent.
    pub(crate) every_us: u64,
    hold_us: u64,
    /// When holding began; 0: not yet.
    holding_from_us: AtomicU64,
    stops_opening: AtomicBool,
    closing: AtomicBool,
    over: AtomicBool,

    /// Sessions that have had their first answer and were not lost since.
    pub(crate) held: AtomicUsize,
    /// Sessions that failed, however.
    pub(crate) failed: AtomicUsize,
    /// Sessions that wait for a connection or an answer.
    pub(crate) in_flight: AtomicUsize,
}

impl Course {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            clock: Clock::new(),
            every_us: options.every * 1_000_000,
            hold_us: options.hold * 1_000_000,
            holding_from_us: AtomicU64::new(0),
            stops_opening: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            over: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
        }
    }

    /// No new sessions from now on.
    pub(crate) fn stop_opening(&self) {
        self.stops_opening.store(true, Relaxed);
    }

    pub(crate) fn opens(&self) -> bool {
        !self.stops_opening.load(Relaxed)
    }

    /// Messages from now on, for the time asked for.
    pub(crate) fn hold(&self) {
        self.holding_from_us.store(self.clock.now_us(), Release);
    }

    /// From when until when messages are due, in microseconds, once they are.
    pub(crate) fn messages_us(&self) -> Option<std::ops::Range<u64>> {
        let from_us = self.holding_from_us.load(Acquire);
        (from_us != 0 && self.every_us != 0).then(|| from_us..from_us + self.hold_us)
    }

    /// Clients close their sessions.
    pub(crate) fn close(&self) {
        self.closing.store(true, Relaxed);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    /// Servers end too.
    pub(crate) fn end(&self) {
        self.over.store(true, Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }
}
