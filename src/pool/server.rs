//! A server of a pool: what the configuration says of it, and what outlives the configuration.

use std::sync::Arc;

use super::counts::Count;
use super::health::{Health, Standing};
use crate::config::Address;
use crate::metrics::{PerWorker, ServerCounts, ServerTotals};
use crate::sys::PeerId;

/// A server as [`super::Pool::new`] takes it: looked up, so that it has one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSpec {
    /// Where it is.
    pub address: Address,
    /// Its name in tokens and sid prefixes.
    pub id: String,
    /// Share of connections relative to the others: 1 to 256.
    pub weight: u16,
    /// Used only when every other server was tried.
    pub backup: bool,
    /// Sessions it may have at once; `None`: any number.
    pub max_connections: Option<u32>,
}

/// A server of a pool, with its sessions counted.
#[derive(Debug)]
pub struct Server {
    /// Where it is.
    pub address: Address,
    /// The number engines know its address by.
    pub peer: PeerId,
    /// Its name in tokens and sid prefixes, unique within the pool.
    pub id: Box<str>,
    /// Share of connections relative to the others: 1 to 256.
    pub weight: u16,
    /// Used only when every other server was tried.
    pub backup: bool,
    /// No longer in the file: only keys that lead here still do.
    pub leaving: bool,
    /// Here and not in the state, so that counting a byte follows one reference less.
    pub(super) counts: PerWorker<ServerCounts>,
    pub(super) state: Arc<State>,
}

/// What is carried over to the server of the same address when the configuration is replaced.
#[derive(Debug)]
pub(super) struct State {
    pub(super) count: Count,
    pub(super) health: Health,
}

impl State {
    pub(super) fn new() -> Self {
        Self { count: Count::new(), health: Health::new() }
    }
}

impl Server {
    /// Sessions reserved and not yet released: connecting and connected.
    pub fn live(&self) -> u32 {
        self.state.count.live()
    }

    /// Sessions it may have at once; `None`: any number.
    pub fn max_connections(&self) -> Option<u32> {
        self.state.count.max()
    }

    /// Connects that succeeded since start.
    pub fn total(&self) -> u64 {
        self.state.count.total()
    }

    /// What all workers have counted of it so far.
    pub fn totals(&self) -> ServerTotals {
        ServerTotals::of(&self.counts)
    }

    /// What checks and sessions have come to say of it.
    pub fn standing(&self, now_ms: u64) -> Standing {
        self.state.health.standing().by(now_ms)
    }

    /// The same when it is no longer in the file.
    pub(super) fn to_leave(&self) -> Self {
        let Self { address, peer, id, weight, backup, counts, state, .. } = self;
        Self {
            address: address.clone(),
            peer: *peer,
            id: id.clone(),
            weight: *weight,
            backup: *backup,
            leaving: true,
            counts: counts.clone(),
            state: Arc::clone(state),
        }
    }
}
