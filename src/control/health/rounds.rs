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
    let sources = pool.sources().as_deref().unwrap_or_default();
    // Down since before it was last gone from the file.
    let is_down = server.standing(0) == Standing::Down;
    Target {
        pool_name: pool.name().into(),
        peer: server.peer,
        pool: pool_index,
        server: server_index,
        probe: Arc::new(Probe::new(&server.address, sources, Arc::clone(spec))),
        checks: if is_down { Checks::of_down() } else { Checks::default() },
        began_ms: None,
    }
}

#[cfg(all(test, not(ringway_loom)))]
mod tests {
    use super::*;
    use crate::config::{self, ServerAddress};
    use crate::pool::{Peers, ServerSpec};

    /// An edition with one pool `a`: `health` as in a file, and servers at these ports.
    fn edition(
        before: Option<&Edition>,
        peers: &mut Peers,
        health: &str,
        ports: &[u16],
    ) -> Edition {
        let servers: Vec<_> = ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let text = format!(
            r#"{{"listeners": [{{"bind": "127.0.0.1:1"}}],
                 "pools": {{"a": {{"health": {health}, "servers": [{}]}}}}}}"#,
            servers.join(", ")
        );
        let config = config::parse(&text).expect("a right file").config;
        let spec = |server: &config::Server| {
            let ServerAddress::Address(address) = &server.address else { panic!("no name") };
            ServerSpec::new(server, address.clone())
        };
        let servers = config.pools[0].servers.iter().map(spec).collect();
        Edition::succeeding(before, config, vec![servers], peers, 7, 1)
    }

    const TCP: &str = r#"{"check": "tcp", "jitter_percent": 10, "rise": 2, "fall": 3}"#;

    fn all_due(rounds: &mut Rounds, now_ms: u64) -> Vec<Serial> {
        std::iter::from_fn(|| rounds.next_due(now_ms)).map(|(serial, _)| serial).collect()
    }

    #[test]
    fn checks_begin_soon_and_are_spread_out_from_then_on() {
        let (mut peers, mut random) = (Peers::default(), Random::new(1));
        let ports: Vec<u16> = (1..=200).collect();
        let edition = edition(None, &mut peers, TCP, &ports);
        let mut rounds = Rounds::default();
        rounds.follow(&edition, 10_000, &mut random);
        let first = all_due(&mut rounds, 11_000);
        assert_eq!(first.len(), 200, "within the fast interval");
        assert_eq!(rounds.due_ms(), None, "all are under way");
        for serial in first {
            assert!(rounds.record(serial, true, 11_000, &mut random).is_none(), "up as before");
        }
        let by_half = all_due(&mut rounds, 13_500).len();
        assert!((70..130).contains(&by_half), "{by_half} within half of an interval");
        let by_end = by_half + all_due(&mut rounds, 16_000).len();
        assert_eq!(by_end, 200);
    }

    #[test]
    fn in_doubt_it_is_looked_at_more_often() {
        let (mut peers, mut random) = (Peers::default(), Random::new(2));
        let edition = edition(None, &mut peers, TCP, &[1]);
        let mut rounds = Rounds::default();
        rounds.follow(&edition, 0, &mut random);
        let serial = all_due(&mut rounds, 1_000)[0];
        let place = (PoolIndex(0), ServerIndex(0));
        // Good at first; then three bad ones in a row, and two good ones.
        let said = [true, false, false, false, true, true];
        let mut now_ms = 1_000;
        let (mut waits_ms, mut changes) = (Vec::new(), Vec::new());
        for is_good in said {
            let change = rounds.record(serial, is_good, now_ms, &mut random);
            changes.extend(change.map(|change| (change.verdict, change.count)));
            if let Some(change) = change {
                assert_eq!((change.pool, change.server), place);
            }
            let due_ms = rounds.due_ms().expect("it goes on");
            waits_ms.push(due_ms - now_ms);
            now_ms = due_ms;
            assert_eq!(all_due(&mut rounds, now_ms), [serial]);
        }
        assert_eq!(changes, [(Verdict::Down, 3), (Verdict::Up, 2)]);
        let is_slow: Vec<_> = waits_ms[1..].iter().map(|wait_ms| *wait_ms > 4_000).collect();
        assert_eq!(is_slow, [false, false, true, false, true], "{waits_ms:?}");
    }

    #[test]
    fn what_is_known_outlives_an_edition_unless_it_is_checked_otherwise() {
        let (mut peers, mut random) = (Peers::default(), Random::new(3));
        let first = edition(None, &mut peers, TCP, &[1]);
        let mut rounds = Rounds::default();
        rounds.follow(&first, 0, &mut random);
        let one = all_due(&mut rounds, 1_000)[0];
        let second = edition(Some(&first), &mut peers, TCP, &[1, 2]);
        rounds.follow(&second, 1_000, &mut random);
        let two = all_due(&mut rounds, 2_000)[0];
        // Both are under way; the second server goes, a third comes, and places change.
        let second = edition(Some(&second), &mut peers, TCP, &[3, 1]);
        rounds.follow(&second, 1_000, &mut random);
        assert!(rounds.record(two, false, 1_000, &mut random).is_none(), "it is gone");
        let change = rounds.record(one, false, 1_000, &mut random).expect("the first decides");
        assert_eq!((change.server, change.verdict), (ServerIndex(1), Verdict::Down));
        let due = all_due(&mut rounds, 2_000);
        assert_eq!(due.iter().filter(|&&serial| serial != one).count(), 1, "the third");
        // Checked in another way, it is asked anew, and what was under way says nothing.
        let http = TCP.replace("tcp", "http");
        let third = edition(Some(&second), &mut peers, &http, &[1]);
        rounds.follow(&third, 2_000, &mut random);
        assert!(rounds.record(one, true, 2_000, &mut random).is_none());
        let anew = all_due(&mut rounds, 3_000);
        assert!(anew.len() == 1 && anew[0] != one);
    }
}
