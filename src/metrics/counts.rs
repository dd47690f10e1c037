//! What each worker counts of a listener, a pool and a server, for as long as there is one of that
//! name or address, whatever edition is in force.
//!
//! Bytes come first, and so on one cache line: they are all that is counted while a session
//! relays. On 64-bit x86 a worker counts in 256 bytes for each listener, 768 for each pool and 256
//! for each server.

use super::tally::{Distribution, LIVES_US, Lives, PerWorker, Tally, WAITS_US, Waits};
use crate::pool::{Failure, How};
use crate::session::CloseReason;
use crate::sys::Side;

/// Of a listener.
#[derive(Debug, Default)]
#[repr(C)]
pub struct ListenerCounts {
    received: [Tally; 2],
    accepted: Tally,
    closed: [Tally; CloseReason::ALL.len()],
}

impl ListenerCounts {
    /// A client was accepted.
    pub fn accept(&self) {
        self.accepted.add(1);
    }

    /// A session is over.
    pub fn close(&self, reason: CloseReason) {
        self.closed[reason as usize].add(1);
    }

    /// Bytes of a session came from a side.
    #[inline]
    pub fn receive(&self, side: Side, bytes: u64) {
        self.received[side as usize].add(bytes);
    }

    /// Clients accepted so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.value()
    }

    /// Sessions over so far, for whatever reason.
    pub fn closed(&self) -> u64 {
        self.closed.iter().map(Tally::value).sum()
    }
}

/// Sessions that are over, by [`CloseReason`].
pub type Closed = [u64; CloseReason::ALL.len()];

fn sum_closed<T>(
    all: &PerWorker<T>,
    closed: impl Fn(&T) -> &[Tally; CloseReason::ALL.len()],
) -> Closed {
    std::array::from_fn(|reason| all.sum(|counts| &closed(counts)[reason]))
}

/// Of a listener, over all workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTotals {
    /// Clients accepted.
    pub accepted: u64,
    /// Sessions that are over.
    pub closed: Closed,
    /// Bytes received from clients.
    pub bytes_up: u64,
    /// Bytes received from servers.
    pub bytes_down: u64,
}

impl ListenerTotals {
    /// As it is now.
    pub fn of(all: &PerWorker<ListenerCounts>) -> Self {
        let [up, down] = [Side::Client, Side::Server];
        // What is over was accepted before, and so is read before.
        let closed = sum_closed(all, |counts| &counts.closed);
        Self {
            accepted: all.sum(|counts| &counts.accepted),
            closed,
            bytes_up: all.sum(|counts| &counts.received[up as usize]),
            bytes_down: all.sum(|counts| &counts.received[down as usize]),
        }
    }

    /// Sessions that are not over.
    pub fn live(&self) -> u64 {
        self.accepted.saturating_sub(self.closed.iter().sum())
    }
}

/// Of a pool.
#[derive(Debug, Default)]
pub struct PoolCounts {
    picks: [Tally; How::ALL.len()],
    retries: Tally,
    /// Keys that were to be honoured, and were.
    key_hits: Tally,
    /// The same, and were not.
    key_misses: Tally,
    learned: Tally,
    queued: Tally,
    surplus: Tally,
    peeks: Waits,
    connects: Waits,
    lives: Lives,
    closed: [Tally; CloseReason::ALL.len()],
}

impl PoolCounts {
    /// A server was picked.
    pub fn pick(&self, how: How) {
        self.picks[how as usize].add(1);
    }

    /// A server was tried in vain.
    pub fn retry(&self) {
        self.retries.add(1);
    }

    /// A session came with a key, which led to its server or did not.
    pub fn follow_key(&self, is_hit: bool) {
        if is_hit { &self.key_hits } else { &self.key_misses }.add(1);
    }

    /// A key was learned from a response.
    pub fn learn(&self) {
        self.learned.add(1);
    }

    /// A session has to wait for a place.
    pub fn queue(&self) {
        self.queued.add(1);
    }

    /// A client sent something behind the end of its one request, which is thrown away.
    pub fn throw_away(&self) {
        self.surplus.add(1);
    }

    /// A session has come to this pool, so long after it was accepted.
    pub fn peek(&self, time_us: u64) {
        self.peeks.add(&WAITS_US, time_us);
    }

    /// A session of this pool is over, so long after it was accepted.
    pub fn close(&self, reason: CloseReason, time_us: u64) {
        self.closed[reason as usize].add(1);
        self.lives.add(&LIVES_US, time_us);
    }
}

/// Of a pool, over all workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTotals {
    /// Servers picked, by [`How`].
    pub picks: [u64; How::ALL.len()],
    /// Servers tried in vain.
    pub retries: u64,
    /// Sessions whose key led to the server they got.
    pub key_hits: u64,
    /// Sessions that had a key which did not.
    pub key_misses: u64,
    /// Keys learned from responses.
    pub learned: u64,
    /// Sessions that had to wait for a place.
    pub queued: u64,
    /// Sessions whose client sent more than its one request.
    pub surplus: u64,
    /// From accept to the choice of this pool.
    pub peeks: Distribution,
    /// From the start of a connect to its success.
    pub connects: Distribution,
    /// From accept to end.
    pub lives: Distribution,
    /// Sessions that are over.
    pub closed: Closed,
}

impl PoolTotals {
    /// As it is now.
    pub fn of(all: &PerWorker<PoolCounts>) -> Self {
        Self {
            picks: std::array::from_fn(|how| all.sum(|counts| &counts.picks[how])),
            retries: all.sum(|counts| &counts.retries),
            key_hits: all.sum(|counts| &counts.key_hits),
            key_misses: all.sum(|counts| &counts.key_misses),
            learned: all.sum(|counts| &counts.learned),
            queued: all.sum(|counts| &counts.queued),
            surplus: all.sum(|counts| &counts.surplus),
            peeks: Distribution::of(&WAITS_US, all.each().map(|counts| &counts.peeks)),
            connects: Distribution::of(&WAITS_US, all.each().map(|counts| &counts.connects)),
            lives: Distribution::of(&LIVES_US, all.each().map(|counts| &counts.lives)),
            closed: sum_closed(all, |counts| &counts.closed),
        }
    }
}

/// Of a server in a pool.
#[derive(Debug, Default)]
#[repr(C)]
pub struct ServerCounts {
    received: [Tally; 2],
    failures: [Tally; Failure::ALL.len()],
    connects: Waits,
}

impl ServerCounts {
    /// Bytes of a session that is connected to it came from a side.
    #[inline]
    pub fn receive(&self, side: Side, bytes: u64) {
        self.received[side as usize].add(bytes);
    }

    /// A session had no luck with it.
    pub fn fail(&self, failure: Failure) {
        self.failures[failure as usize].add(1);
    }
}

/// It took so long to connect to a server of a pool.
pub fn connected(pool: &PoolCounts, server: &ServerCounts, time_us: u64) {
    pool.connects.add(&WAITS_US, time_us);
    server.connects.add(&WAITS_US, time_us);
}

/// Of a server in a pool, over all workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTotals {
    /// Bytes received from clients of sessions that were connected to it.
    pub bytes_up: u64,
    /// Bytes received from it.
    pub bytes_down: u64,
    /// What sessions had to say against it, by [`Failure`].
    pub failures: [u64; Failure::ALL.len()],
    /// From the start of a connect to its success.
    pub connects: Distribution,
}

impl ServerTotals {
    /// As it is now.
    pub fn of(all: &PerWorker<ServerCounts>) -> Self {
        let [up, down] = [Side::Client, Side::Server];
        Self {
            bytes_up: all.sum(|counts| &counts.received[up as usize]),
            bytes_down: all.sum(|counts| &counts.received[down as usize]),
            failures: std::array::from_fn(|failure| all.sum(|counts| &counts.failures[failure])),
            connects: Distribution::of(&WAITS_US, all.each().map(|counts| &counts.connects)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_utils::CachePadded;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn counts_stay_small() {
        assert_eq!(size_of::<CachePadded<ListenerCounts>>(), 256);
        assert_eq!(size_of::<CachePadded<PoolCounts>>(), 768);
        assert_eq!(size_of::<CachePadded<ServerCounts>>(), 256);
    }

    #[test]
    fn what_is_accepted_is_live_or_closed() {
        let all = PerWorker::<ListenerCounts>::new(2);
        (0..3).for_each(|_| all.of(0).accept());
        all.of(1).accept();
        all.of(1).close(CloseReason::Idle);
        all.of(0).receive(Side::Client, 5);
        all.of(1).receive(Side::Server, 7);
        let totals = ListenerTotals::of(&all);
        assert_eq!((totals.accepted, totals.live()), (4, 3));
        assert_eq!(totals.closed[CloseReason::Idle as usize], 1);
        assert_eq!((totals.bytes_up, totals.bytes_down), (5, 7));
    }
}
