//! Views of the threads that move bytes.

use serde::Serialize;

use super::{Facts, Tally, by_reason, tally};
use crate::metrics::{Counters, Lack};
use crate::worker::Shared;

/// A thread that moves bytes.
#[derive(Debug, Serialize)]
pub struct Worker {
    /// Counted from 0.
    pub number: usize,
    /// The core it runs on.
    pub core: u16,
    /// Sessions now.
    pub live: u64,
    /// Sessions it can hold.
    pub max: u64,
    /// Sockets to clients and servers, a descriptor each.
    pub sockets: u64,
    /// Since the start.
    pub accepted_total: u64,
    /// Since the start, by reason.
    pub closed: Tally,
    /// How often there was not enough of something, by what.
    pub lacked: Tally,
    /// Log lines that were lost.
    pub unlogged_total: u64,
}

/// Every worker.
pub fn workers(shared: &Shared, facts: &Facts) -> Vec<Worker> {
    let view = |(number, (counters, &core)): (usize, (&Counters, &u16))| {
        let closed = by_reason(|reason| counters.closed(reason));
        let accepted_total = counters.accepted();
        let lacked = Lack::ALL.into_iter().map(|lack| (lack.as_str(), counters.lacked(lack)));
        Worker {
            number,
            core,
            live: accepted_total.saturating_sub(closed.values().sum()),
            max: counters.sessions_max(),
            sockets: counters.sockets(),
            accepted_total,
            lacked: tally(lacked),
            closed,
            unlogged_total: counters.unlogged(),
        }
    };
    shared.counters.iter().zip(&facts.cores).enumerate().map(view).collect()
}
