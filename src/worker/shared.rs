//! What all workers and the control thread share: read by all, but for the counters and two flags.

use std::sync::atomic::AtomicBool;

use crate::config::{Address, Config, PoolIndex};
use crate::metrics::Counters;
use crate::pool::{Pool, ServerIndex};
use crate::sys::PeerId;
use crate::sys::clock::Clock;

/// What all workers share.
pub struct Shared {
    /// In force.
    pub config: Config,
    /// By `PoolIndex`.
    pub pools: Vec<Pool>,
    /// Set when workers are to stop.
    pub stopping: AtomicBool,
    /// Set when a worker could not go on.
    pub failed: AtomicBool,
    /// What every worker reads, so that expiry times mean the same to all.
    pub clock: Clock,
    /// What happened, by worker.
    pub counters: Vec<Counters>,
    /// The number of each pool's first server among all.
    first_peers: Vec<u32>,
    /// Some server wants to know the address a client connected to.
    pub(super) tells_local: bool,
}

impl Shared {
    /// At the start.
    pub fn new(config: Config, pools: Vec<Pool>, workers: usize) -> Self {
        let mut servers = 0;
        let first_peers = pools
            .iter()
            .map(|pool| {
                let first = servers;
                servers += u32::try_from(pool.servers().len()).expect("servers are few");
                first
            })
            .collect();
        Self {
            tells_local: pools.iter().any(|pool| pool.spec().send_proxy.is_some()),
            first_peers,
            config,
            pools,
            stopping: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            clock: Clock::new(),
            counters: (0..workers).map(|_| Counters::default()).collect(),
        }
    }

    /// Servers in the order of their peer numbers: through all pools in turn.
    pub fn peers(&self) -> Vec<Address> {
        let servers = self.pools.iter().flat_map(Pool::servers);
        servers.map(|server| server.address.clone()).collect()
    }

    pub(super) fn peer(&self, pool: PoolIndex, server: ServerIndex) -> PeerId {
        PeerId(self.first_peers[pool.0 as usize] + u32::from(server.0))
    }
}
