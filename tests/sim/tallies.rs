//! What workers count of listeners, pools and servers must be what sessions come to, added up.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringway::edition::Edition;
use ringway::log::{Batch, Entry, Record};
use ringway::session::CloseReason;
use ringway::sys::PeerId;

/// Bytes by side, and sessions by [`CloseReason`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sum {
    received: [u64; 2],
    closed: [u64; CloseReason::ALL.len()],
}

impl Sum {
    fn add(&mut self, record: &Record) {
        let bytes = record.about.received;
        self.received.iter_mut().zip(bytes).for_each(|(sum, bytes)| *sum += bytes);
        self.closed[record.reason as usize] += 1;
    }
}

/// Sums of sessions that are over, by what they were accepted under.
#[derive(Default)]
pub(crate) struct Tallies {
    /// By edition and position.
    listeners: BTreeMap<(u64, u16), Sum>,
    pools: BTreeMap<(u64, u16), Sum>,
    /// Of those that were connected, by pool and server.
    servers: BTreeMap<(u64, u16, u16), Sum>,
}

impl Tallies {
    pub(crate) fn add(&mut self, batch: &Batch) {
        let edition = batch.edition.number;
        for entry in &batch.entries {
            let Entry::Ended(record) = entry else { continue };
            let about = &record.about;
            self.listeners.entry((edition, about.listener)).or_default().add(record);
            if let Some(pool) = about.pool {
                self.pools.entry((edition, pool.0)).or_default().add(record);
            }
            if let Some(place) = about.place.filter(|place| place.connected) {
                let key = (edition, place.pool.0, place.server.0);
                self.servers.entry(key).or_default().add(record);
            }
        }
    }

    /// Every session is over: compares with what was counted, edition by edition. What keeps its
    /// name or address in the next one goes on there.
    pub(crate) fn check(&self, editions: &[Arc<Edition>]) {
        for (first, edition) in editions.iter().enumerate() {
            let before = first.checked_sub(1).map(|before| &editions[before]);
            for (at, listener) in edition.config.listeners.iter().enumerate() {
                let name = |edition: &Edition| {
                    let listeners = &mut edition.config.listeners.iter();
                    listeners.position(|other| other.name == listener.name)
                };
                if before.is_some_and(|before| name(before).is_some()) {
                    continue;
                }
                let sum = run(&editions[first..], name, |edition, at| {
                    self.listeners.get(&(edition, at as u16)).cloned()
                });
                let totals = edition.listener_totals(at);
                assert_eq!(totals.closed, sum.closed, "{}", listener.name);
                let bytes = [totals.bytes_up, totals.bytes_down];
                assert_eq!(bytes, sum.received, "{}", listener.name);
                assert_eq!(totals.live(), 0, "{}", listener.name);
            }
            for (at, pool) in edition.pools.iter().enumerate() {
                let sum = run(
                    &editions[first..],
                    |_| Some(at),
                    |edition, at| self.pools.get(&(edition, at as u16)).cloned(),
                );
                let totals = pool.totals();
                if before.is_none() {
                    assert_eq!(totals.closed, sum.closed, "{}", pool.name());
                    assert_eq!(totals.lives.count(), sum.closed.iter().sum::<u64>());
                    let picks: u64 = totals.picks.iter().sum();
                    let connects = totals.connects.count();
                    assert!(picks >= connects + totals.retries, "{} {picks}", pool.name());
                }
                for server in pool.servers() {
                    let find = |edition: &Edition| index(edition, at, server.peer);
                    if before.is_some_and(|before| find(before).is_some()) {
                        continue;
                    }
                    let sum = run(&editions[first..], find, |edition, server| {
                        self.servers.get(&(edition, at as u16, server as u16)).cloned()
                    });
                    let totals = server.totals();
                    let bytes = [totals.bytes_up, totals.bytes_down];
                    assert_eq!(bytes, sum.received, "{server:?}");
                    let connected = sum.closed.iter().sum::<u64>();
                    assert_eq!(totals.connects.count(), connected, "{server:?}");
                    assert_eq!(server.total(), connected, "{server:?}");
                }
            }
        }
    }
}

fn index(edition: &Edition, pool: usize, peer: PeerId) -> Option<usize> {
    edition.pools[pool].servers().iter().position(|server| server.peer == peer)
}

/// The sums of one thing in all editions from the first on that have it.
fn run(
    editions: &[Arc<Edition>],
    find: impl Fn(&Edition) -> Option<usize>,
    sum: impl Fn(u64, usize) -> Option<Sum>,
) -> Sum {
    let mut all = Sum::default();
    let here = editions.iter().map_while(|edition| Some((edition.number, find(edition)?)));
    for one in here.filter_map(|(edition, at)| sum(edition, at)) {
        all.received.iter_mut().zip(one.received).for_each(|(sum, bytes)| *sum += bytes);
        all.closed.iter_mut().zip(one.closed).for_each(|(sum, closed)| *sum += closed);
    }
    all
}
