//! An edition: a configuration and the pools made of it. It never changes; a reload makes the next.
//!
//! A session keeps the edition it was accepted under until it ends, so that whatever it knows of
//! its listener, pool and server stays true. What has to outlive an edition (counts, health,
//! learned keys) is carried over by name of pool and address of server.

use crate::admission::Admission;
use crate::config::{self, Address, Config, PoolIndex};
use crate::metrics::{ListenerCounts, ListenerTotals, PerWorker};
use crate::pool::{Peers, Pool, ServerSpec};
use crate::supervisor::Changes;

/// See the head of the file.
#[derive(Debug)]
pub struct Edition {
    /// Counted from 1.
    pub number: u64,
    /// What the file said.
    pub config: Config,
    /// What operators have changed of that.
    pub changes: Changes,
    /// Where it listens: names of listeners and addresses with their real ports.
    pub bound: Vec<(String, Address)>,
    /// By `PoolIndex`.
    pub pools: Vec<Pool>,
    /// Who is let in.
    pub admission: Admission,
    /// What workers count of each listener, by position in `Config::listeners`.
    pub listeners: Vec<PerWorker<ListenerCounts>>,
    /// Some server wants to know the address a client connected to.
    pub tells_local: bool,
}

impl Edition {
    /// Makes what takes the place of `before`. `servers` are those of each pool in the order of the
    /// configuration, looked up, with whatever is changed of them; `seed` is a number peers cannot
    /// know. So many `workers` count what happens, in every edition.
    pub fn succeeding(
        before: Option<&Self>,
        config: Config,
        servers: Vec<Vec<ServerSpec>>,
        peers: &mut Peers,
        seed: u64,
        workers: usize,
    ) -> Self {
        let pool = |(spec, servers): (&config::Pool, _)| {
            let before = before.and_then(|before| before.pool(&spec.name));
            Pool::succeeding(before, spec, servers, peers, seed, workers)
        };
        let pools: Vec<Pool> = config.pools.iter().zip(servers).map(pool).collect();
        let gates = before.map(|before| (&before.admission, &before.config));
        let counts = |listener: &config::Listener| {
            let known = before.and_then(|before| before.listener(&listener.name));
            known.map_or_else(|| PerWorker::new(workers), PerWorker::clone)
        };
        Self {
            listeners: config.listeners.iter().map(counts).collect(),
            admission: Admission::succeeding(gates, &config),
            number: before.map_or(1, |before| before.number + 1),
            tells_local: pools.iter().any(|pool| pool.spec().send_proxy.is_some()),
            config,
            changes: Changes::default(),
            bound: Vec::new(),
            pools,
        }
    }

    /// What all workers have counted so far of the listener at this position.
    pub fn listener_totals(&self, listener: usize) -> ListenerTotals {
        ListenerTotals::of(&self.listeners[listener])
    }

    fn listener(&self, name: &str) -> Option<&PerWorker<ListenerCounts>> {
        let at = self.config.listeners.iter().position(|listener| listener.name == name)?;
        Some(&self.listeners[at])
    }

    /// The pool of that name.
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name() == name)
    }

    /// The pool at this position.
    pub fn pool_at(&self, at: PoolIndex) -> &Pool {
        &self.pools[usize::from(at.0)]
    }
}
