//! Which server is checked when, and what its checks have come to.
//!
//! No socket, no clock, no dice: time comes in as `now_ms`, randomness with its source.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use hashbrown::HashMap;

use super::probe::Probe;
use crate::config::{Health, PoolIndex};
use crate::edition::Edition;
use crate::pool::{Checks, Pool, Server, ServerIndex, Standing, Verdict};
use crate::random::Random;
use crate::sys::PeerId;

/// One server of one pool, for as long as it is checked in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Serial(u64);

/// A verdict that is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The pool, in the edition followed last.
    pub(super) pool: PoolIndex,
    /// The server.
    pub(super) server: ServerIndex,
    /// What it is from now on.
    pub(super) verdict: Verdict,
    /// By how many checks in a row.
    pub(super) count: u8,
}

/// See the head of the file.
#[derive(Default)]
pub(super) struct Rounds {
    targets: HashMap<Serial, Target>,
    /// When checks are due; those of targets that are gone are passed over. A check under way is
    /// not among them.
    due: BinaryHeap<Reverse<(u64, Serial)>>,
    serials: u64,
}

struct Target {
    pool_name: Box<str>,
    peer: PeerId,
    pool: PoolIndex,
    server: ServerIndex,
    probe: Arc<Probe>,
    checks: Checks,
    /// When the last check began; `None` before the first.
    began_ms: Option<u64>,
}

impl Rounds {
    /// Goes on with the servers of another edition. What checks have come to is carried over; the
    /// first check of a server that is new comes soon.
    pub(super) fn follow(&mut self, edition: &Edition, now_ms: u64, random: &mut Random) {
        let key = |target: &Target| (target.pool_name.clone(), target.peer);
        let mut before: HashMap<(Box<str>, PeerId), (Serial, Target)> =
            self.targets.drain().map(|(serial, target)| (key(&target), (serial, target))).collect();
        for (pool, number) in edition.pools.iter().zip(0..) {
            let Some(spec) = &pool.spec().health else { continue };
            let spec = Arc::new(spec.clone());
            for (server, at) in pool.servers().iter().zip(0..) {
                if server.leaving {
                    continue;
                }
                let known = before.remove(&(pool.name().into(), server.peer));
                let place = (PoolIndex(number), ServerIndex(at));
                let soon_ms = now_ms + random.next() % u64::from(spec.fast_interval_ms);
                self.add(target(place, pool, server, &spec), known, soon_ms);
            }
        }
    }

    fn add(&mut self, mut target: Target, known: Option<(Serial, Target)>, soon_ms: u64) {
        let serial = match known {
            Some((serial, known)) => {
                target.checks = known.checks;
                target.began_ms = known.began_ms;
                // Checked in another way: what is under way counts for nothing.
                (target.probe == known.probe).then_some(serial)
            }
            None => None,
        };
        let serial = serial.unwrap_or_else(|| {
            self.serials += 1;
            let serial = Serial(self.serials);
            self.due.push(Reverse((soon_ms, serial)));
            serial
        });
        self.targets.insert(serial, target);
    }

    /// When the next check is due; `None`: there is nothing to check, or all of it is under way.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((at_ms, _))| *at_ms)
    }

    /// A check to begin now.
    pub(super) fn next_due(&mut self, now_ms: u64) -> Option<(Serial, Arc<Probe>)> {
        while self.due_ms().is_some_and(|at_ms| at_ms <= now_ms) {
            let Reverse((_, serial)) = self.due.pop().expect("one is due");
            if let Some(target) = self.targets.get_mut(&serial) {
                target.began_ms = Some(now_ms);
                return Some((serial, Arc::clone(&target.probe)));
            }
        }
        None
    }

    /// A check is over. Says whether that changes anything.
    pub(super) fn record(
        &mut self,
        serial: Serial,
        is_good: bool,
        now_ms: u64,
        random: &mut Random,
    ) -> Option<Change> {
        let target = self.targets.get_mut(&serial)?;
        let Health { rise, fall, .. } = *target.probe.spec;
        let is_first = target.checks == Checks::default();
        let verdict = target.checks.record(is_good, rise, fall);
        let interval_ms = target.interval_ms(is_first, random);
        let began_ms = target.began_ms.expect("it was begun");
        self.due.push(Reverse(((began_ms + interval_ms).max(now_ms), serial)));
        let (verdict, count) = verdict?;
        Some(Change { pool: target.pool, server: target.server, verdict, count })
    }
}

impl Target {
    /// Milliseconds from the start of the last check to the next.
    fn interval_ms(&self, is_first: bool, random: &mut Random) -> u64 {
        let Health { interval_ms, fast_interval_ms, jitter_percent, .. } = *self.probe.spec;
        let interval_ms = u64::from(if self.checks.is_undecided() {
            fast_interval_ms.min(interval_ms)
        } else {
            interval_ms
        });
        if is_first {
            // All servers of a file are new at once; from here on they are spread out.
            return random.next() % interval_ms;
        }
        let jitter_ms = interval_ms * u64::from(jitter_percent) / 100;
        interval_ms - jitter_ms + random.next() % (2 * jitter_ms + 1)
    }
}

fn target(
    (pool_index, server_index): (PoolIndex, ServerIndex),
    pool: &Pool,
    server: &Server,
    spec: &Arc<Health>,
) -> Target {
    // Down since before it was last gone from the file.
    let is_down = server.standing(0) == Standing::Down;
    Target {
        pool_name: pool.name().into(),
        peer: server.peer,
        pool: pool_index,
        server: server_index,
        probe: Arc::new(Probe::new(&server.address, Arc::clone(spec))),
        checks: if is_down { Checks::of_down() } else { Checks::default() },
        began_ms: None,
    }
}
