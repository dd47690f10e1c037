//! Views of ringway as a whole: how it does, what happens to it, and what would change.

use std::sync::atomic::Ordering;

use serde::Serialize;

use super::{Facts, Server, Tally, Told, Worker, by_reason, servers, workers};
use crate::config;
use crate::edition::Edition;
use crate::metrics::Counters;
use crate::sys::clock;
use crate::worker::Shared;

/// All of ringway.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Of the program.
    pub version: &'static str,
    /// Of the process.
    pub pid: u32,
    /// RFC 3339.
    pub started_at: String,
    /// Milliseconds since then.
    pub uptime_ms: u64,
    /// `io_uring` or `epoll`.
    pub engine: &'static str,
    /// Number of the configuration in force; each reload and each change makes the next.
    pub edition: u64,
    /// Told to end; no new clients are heard.
    pub draining: bool,
    /// How many there are.
    pub workers: usize,
    #[serde(flatten)]
    totals: Totals,
    /// Log lines that were lost.
    pub unlogged_total: u64,
    /// Least level of log lines that are written.
    pub log_level: String,
    /// Servers of which operators have changed something.
    pub changes: usize,
}

/// Sessions and bytes, over all workers.
#[derive(Debug, Serialize)]
struct Totals {
    /// Now.
    sessions_live: u64,
    /// Since the start.
    accepted_total: u64,
    /// Since the start.
    closed_total: u64,
    /// Since the start, by reason.
    closed: Tally,
    /// Bytes received from clients, by the listeners there are.
    bytes_up_total: u64,
    /// The same from servers.
    bytes_down_total: u64,
}

/// What a second has come to, for whoever follows events.
#[derive(Debug, Serialize)]
pub struct Pulse {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// Number of the configuration in force.
    pub edition: u64,
    /// Told to end.
    pub draining: bool,
    #[serde(flatten)]
    totals: Totals,
    /// As `/v1/servers` has them.
    pub servers: Vec<Server>,
    /// As `/v1/workers` has them.
    pub workers: Vec<Worker>,
}

/// A change of the health of a server or pool, or by an operator.
#[derive(Debug, Serialize)]
pub struct Notice {
    /// Greater with each, also from one ringway to the next.
    pub number: u64,
    /// RFC 3339.
    pub at: String,
    /// The pool.
    pub pool: String,
    /// The server; `None`: the pool as a whole.
    pub server: Option<String>,
    /// What it is from now on.
    pub state: String,
    /// Why.
    pub cause: String,
    /// Who wanted it so.
    pub by: Option<String>,
}

/// What another configuration would change.
#[derive(Debug, Default, Serialize)]
pub struct Diff {
    /// Everything that is wrong with it; then nothing would change.
    pub problems: Vec<String>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<String>,
    /// Every value that would not be the same.
    pub changes: Vec<config::Difference>,
}

impl Totals {
    fn of(shared: &Shared, edition: &Edition) -> Self {
        let counters = &shared.counters;
        // Ends first: what begins and ends meanwhile must not count as one below none.
        let closed = by_reason(|reason| counters.iter().map(|worker| worker.closed(reason)).sum());
        let accepted_total = counters.iter().map(Counters::accepted).sum::<u64>();
        let closed_total = closed.values().sum();
        let listeners = (0..edition.config.listeners.len()).map(|at| edition.listener_totals(at));
        let (bytes_up_total, bytes_down_total) = listeners
            .fold((0, 0), |(up, down), totals| (up + totals.bytes_up, down + totals.bytes_down));
        Self {
            sessions_live: accepted_total.saturating_sub(closed_total),
            accepted_total,
            closed_total,
            closed,
            bytes_up_total,
            bytes_down_total,
        }
    }
}

/// All of ringway.
pub fn status(shared: &Shared, facts: &Facts, log_level: String) -> Status {
    let edition = shared.edition();
    Status {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        started_at: clock::rfc3339(facts.started_ms),
        uptime_ms: shared.clock.now_ms(),
        engine: facts.engine,
        edition: edition.number,
        draining: shared.draining.load(Ordering::Relaxed),
        workers: shared.counters.len(),
        totals: Totals::of(shared, &edition),
        unlogged_total: shared.unlogged(),
        log_level,
        changes: edition.changes.len(),
    }
}

/// What a second has come to.
pub fn pulse(shared: &Shared, facts: &Facts, at_ms: u64, told: Told<'_>) -> Pulse {
    let edition = shared.edition();
    Pulse {
        at_ms,
        edition: edition.number,
        draining: shared.draining.load(Ordering::Relaxed),
        totals: Totals::of(shared, &edition),
        servers: servers(&edition, shared.clock.now_ms(), told),
        workers: workers(shared, facts),
    }
}
