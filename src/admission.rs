//! Who is let in: counts of sessions in all, of each listener and of each client network, and the
//! rate of clients, over all workers.
//!
//! No socket, no clock: time comes in as an argument. Counts are always kept, so that a limit that
//! comes with a reload finds them right; each worker adds to words of its own, and only where there
//! is a limit does anybody add them up. What was counted under an edition is carried over to the
//! next by name of listener.

use std::net::IpAddr;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_utils::CachePadded;
use hashbrown::HashMap;
use ipnet::IpNet;

use crate::config::{self, Config, PerSource};

/// Words that a count is spread over: more workers share some of them, which is slower, not wrong.
const SHARDS: usize = 16;

/// Locks that a listener's client networks are spread over.
const NETWORK_SHARDS: usize = 16;

/// The share of a second that a rate may be ahead: who comes in bursts is let in evenly, and a
/// pause of a worker loses nothing.
const BURST_SHARE: u64 = 10;

const NS_PER_S: u64 = 1_000_000_000;

/// What holds a client up that has been accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// `max_connections`.
    Total,
    /// The listener's `max_connections`.
    Listener,
    /// `accept_rate_per_s`, until then on the clock of the workers.
    Rate {
        /// Microseconds.
        until_us: u64,
    },
}

/// The gates of an edition.
#[derive(Debug)]
pub struct Admission {
    total: Arc<Count>,
    total_max: Option<u32>,
    /// By position in `Config::listeners`.
    listeners: Box<[Gate]>,
}

#[derive(Debug)]
struct Gate {
    max: Option<u32>,
    rate_per_s: Option<u32>,
    per_source: Option<PerSource>,
    state: Arc<State>,
}

/// What is carried over.
#[derive(Debug, Default)]
struct State {
    count: Count,
    /// When the next client is due, in nanoseconds on the clock of the workers.
    due_ns: CachePadded<AtomicU64>,
    networks: [Mutex<HashMap<IpNet, u32>>; NETWORK_SHARDS],
}

impl Admission {
    /// The gates of a configuration; `before` are those of the one it replaces.
    pub fn succeeding(before: Option<(&Self, &Config)>, config: &Config) -> Self {
        let state = |listener: &config::Listener| {
            let (gates, config) = before?;
            let at = config.listeners.iter().position(|other| other.name == listener.name)?;
            Some(Arc::clone(&gates.listeners[at].state))
        };
        let gate = |listener: &config::Listener| Gate {
            max: listener.max_connections,
            rate_per_s: listener.accept_rate_per_s,
            per_source: listener.max_connections_per_source,
            state: state(listener).unwrap_or_default(),
        };
        Self {
            total: before.map_or_else(Arc::default, |(before, _)| Arc::clone(&before.total)),
            total_max: config.max_connections,
            listeners: config.listeners.iter().map(gate).collect(),
        }
    }

    /// Whether clients of a listener may have to wait for something other than a seat.
    pub fn may_hold(&self, listener: u16) -> bool {
        let gate = &self.listeners[usize::from(listener)];
        self.total_max.is_some() || gate.max.is_some() || gate.rate_per_s.is_some()
    }

    /// Counts a client, or says what it has to wait for.
    ///
    /// # Errors
    /// It is held up, and not counted.
    pub fn enter(&self, listener: u16, worker: usize, now_us: u64) -> Result<(), Held> {
        let gate = &self.listeners[usize::from(listener)];
        if !self.total.enter(worker, self.total_max) {
            return Err(Held::Total);
        }
        let result = if gate.state.count.enter(worker, gate.max) {
            let taken = gate.rate_per_s.map_or(Ok(()), |rate| gate.state.take_turn(rate, now_us));
            taken.inspect_err(|_| gate.state.count.leave(worker))
        } else {
            Err(Held::Listener)
        };
        result.inspect_err(|_| self.total.leave(worker))
    }

    /// A session that was counted is over.
    pub fn leave(&self, listener: u16, worker: usize) {
        self.total.leave(worker);
        self.listeners[usize::from(listener)].state.count.leave(worker);
    }

    /// Counts a client to its network, where that is limited; the network, to be left again.
    ///
    /// # Errors
    /// There are as many of it as may be.
    pub fn enter_network(&self, listener: u16, client: IpAddr) -> Result<Option<IpNet>, Full> {
        let gate = &self.listeners[usize::from(listener)];
        let Some(limit) = gate.per_source else { return Ok(None) };
        let network = limit.network(client);
        let mut networks = gate.state.networks(network);
        let count = networks.entry(network).or_insert(0);
        if *count >= limit.count {
            return Err(Full);
        }
        *count += 1;
        Ok(Some(network))
    }

    /// A session that was counted to its network is over.
    pub fn leave_network(&self, listener: u16, network: IpNet) {
        let mut networks = self.listeners[usize::from(listener)].state.networks(network);
        if let Some(count) = networks.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                networks.remove(&network);
            }
        }
    }

    /// Sessions now.
    pub fn live(&self) -> u32 {
        self.total.sum()
    }

    /// Sessions of a listener now.
    pub fn live_at(&self, listener: u16) -> u32 {
        self.listeners[usize::from(listener)].state.count.sum()
    }

    /// Client networks of a listener that have sessions, and how many the one has that has most.
    /// Counted only where they are limited.
    pub fn networks(&self, listener: u16) -> (usize, u32) {
        let shards = &self.listeners[usize::from(listener)].state.networks;
        let of_shard = |shard: &Mutex<HashMap<IpNet, u32>>| {
            let networks = shard.lock().unwrap_or_else(PoisonError::into_inner);
            (networks.len(), networks.values().copied().max().unwrap_or(0))
        };
        let all = shards.iter().map(of_shard);
        all.fold((0, 0), |(count, most), (more, its)| (count + more, most.max(its)))
    }

    /// Nobody is counted anywhere.
    pub fn is_empty(&self) -> bool {
        let is_empty = |state: &State| {
            let mut networks = state.networks.iter();
            state.count.sum() == 0
                && networks.all(|n| n.lock().unwrap_or_else(PoisonError::into_inner).is_empty())
        };
        self.live() == 0 && self.listeners.iter().all(|gate| is_empty(&gate.state))
    }
}

/// A client network has as many sessions as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl State {
    /// A token bucket over all workers, kept as the time the next token is due.
    fn take_turn(&self, rate_per_s: u32, now_us: u64) -> Result<(), Held> {
        let step_ns = NS_PER_S / u64::from(rate_per_s);
        // At least one client may come whenever none has come for long.
        let ahead_ns = (NS_PER_S / BURST_SHARE).saturating_sub(step_ns);
        let now_ns = now_us * 1000;
        let next =
            |due_ns: u64| (due_ns <= now_ns + ahead_ns).then(|| due_ns.max(now_ns) + step_ns);
        match self.due_ns.fetch_update(Relaxed, Relaxed, next) {
            Ok(_) => Ok(()),
            Err(due_ns) => {
                let until_us = due_ns.saturating_sub(ahead_ns).div_ceil(1000).max(now_us + 1);
                Err(Held::Rate { until_us })
            }
        }
    }

    fn networks(&self, network: IpNet) -> std::sync::MutexGuard<'_, HashMap<IpNet, u32>> {
        let last = match network.addr() {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
        };
        // Neighbours in different shards, whatever the length of the prefix.
        let shard = (last.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize % NETWORK_SHARDS;
        self.networks[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sessions, each worker's in a word of its own.
#[derive(Debug, Default)]
struct Count([CachePadded<AtomicU32>; SHARDS]);

impl Count {
    /// Never more than `max`. Who adds itself sees all who have done so before, so of two that meet
    /// at the last place at least one sees the other; it may be both.
    fn enter(&self, worker: usize, max: Option<u32>) -> bool {
        self.0[worker % SHARDS].fetch_add(1, SeqCst);
        let fits = max.is_none_or(|max| self.sum() <= max);
        if !fits {
            self.leave(worker);
        }
        fits
    }

    fn leave(&self, worker: usize) {
        self.0[worker % SHARDS].fetch_sub(1, SeqCst);
    }

    fn sum(&self) -> u32 {
        self.0.iter().map(|word| word.load(SeqCst)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn config(keys: &str) -> Config {
        let pools = r#""pools": { "a": { "servers": ["10.0.0.1:1"] } }"#;
        let listeners = format!(r#"[{{ "name": "l", "bind": "127.0.0.1:1", {keys} }}]"#);
        parse(&format!(r#"{{ "max_connections": 3, "listeners": {listeners}, {pools} }}"#))
            .unwrap()
            .config
    }

    #[test]
    fn limits_hold_over_all_workers_and_across_editions() {
        let config = config(r#""max_connections": 2"#);
        let gates = Admission::succeeding(None, &config);
        assert_eq!(gates.enter(0, 0, 0), Ok(()));
        assert_eq!(gates.enter(0, 1, 0), Ok(()));
        assert_eq!(gates.enter(0, 2, 0), Err(Held::Listener));
        let wider = super::tests::config(r#""accept_rate_per_s": false"#);
        let next = Admission::succeeding(Some((&gates, &config)), &wider);
        assert_eq!(next.enter(0, 2, 0), Ok(()));
        assert_eq!(next.enter(0, 3, 0), Err(Held::Total));
        gates.leave(0, 1);
        assert_eq!(next.enter(0, 3, 0), Ok(()));
        assert_eq!(next.live(), 3);
    }

    #[test]
    fn workers_that_meet_at_the_last_place_never_exceed_a_limit() {
        const WORKERS: usize = 8;
        let config = config(r#""max_connections": 2"#);
        let gates = Admission::succeeding(None, &config);
        let (inside, let_in) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for worker in 0..WORKERS {
                let (gates, inside, let_in) = (&gates, &inside, &let_in);
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        if gates.enter(0, worker, 0).is_ok() {
                            assert!(inside.fetch_add(1, SeqCst) < 2, "a third is inside");
                            let_in.fetch_add(1, Relaxed);
                            inside.fetch_sub(1, SeqCst);
                            gates.leave(0, worker);
                        }
                    }
                });
            }
        });
        assert!(let_in.load(Relaxed) > 0 && gates.is_empty());
    }

    #[test]
    fn a_rate_lets_a_tenth_of_a_second_ahead_and_no_more() {
        let config = config(r#""accept_rate_per_s": 100"#);
        let gates = Admission::succeeding(None, &config);
        let mut let_in = 0;
        let mut now_us = 5_000_000;
        let mut times = Vec::new();
        while now_us < 6_000_000 {
            match gates.enter(0, 0, now_us) {
                Ok(()) => {
                    gates.leave(0, 0);
                    let_in += 1;
                    times.push(now_us);
                }
                Err(Held::Rate { until_us }) => {
                    assert!(until_us > now_us, "nobody spins");
                    now_us = until_us;
                }
                Err(held) => panic!("{held:?}"),
            }
        }
        assert_eq!(times.iter().filter(|&&at_us| at_us == 5_000_000).count(), 10);
        assert_eq!(let_in, 109);
    }

    #[test]
    fn one_client_may_come_whatever_the_rate() {
        let config = config(r#""accept_rate_per_s": 1"#);
        let gates = Admission::succeeding(None, &config);
        assert_eq!(gates.enter(0, 0, 7), Ok(()));
        assert_eq!(gates.enter(0, 0, 8), Err(Held::Rate { until_us: 1_000_007 }));
        assert_eq!(gates.enter(0, 0, 1_000_007), Ok(()));
    }

    #[test]
    fn networks_are_counted_by_their_prefix_and_forgotten_with_their_last_session() {
        let config = config(r#""max_connections_per_source": { "count": 2, "ipv4_prefix": 24 }"#);
        let gates = Admission::succeeding(None, &config);
        let enter = |ip: &str| gates.enter_network(0, ip.parse().unwrap());
        let first = enter("10.0.0.1").unwrap().unwrap();
        assert!(enter("10.0.0.2").is_ok() && enter("10.0.1.1").is_ok());
        assert_eq!(enter("10.0.0.3"), Err(Full));
        gates.leave_network(0, first);
        assert!(enter("10.0.0.3").is_ok());
        assert!(enter("2001:db8::1").is_ok() && enter("2001:db8::2").is_ok());
        assert_eq!(enter("2001:db8::3"), Err(Full));
        assert!(enter("2001:db8:0:1::1").is_ok(), "another /64");
        let networks = ["10.0.0.0/24", "10.0.0.0/24", "10.0.1.0/24", "2001:db8::/64"];
        for network in networks {
            gates.leave_network(0, network.parse().unwrap());
        }
        assert!(!gates.is_empty());
        gates.leave_network(0, "2001:db8::/64".parse().unwrap());
        gates.leave_network(0, "2001:db8:0:1::/64".parse().unwrap());
        assert!(gates.is_empty());
    }
}
