//! A server of a pool: what the configuration says of it, and what outlives the configuration.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::counts::Count;
use super::health::{Health, Standing};
use crate::config::{self, Address};
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
    /// What is wanted of it.
    pub duty: Duty,
}

impl ServerSpec {
    /// As configured, at one of its addresses.
    pub fn new(server: &config::Server, address: Address) -> Self {
        let (id, duty) = (server.id.clone(), Duty::Ready);
        let config::Server { weight, backup, max_connections, .. } = *server;
        Self { address, id, weight, backup, max_connections, duty }
    }
}

/// What an operator wants of a server, whatever its health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// It takes part.
    #[default]
    Ready,
    /// No new sessions but those whose key leads there.
    Drain,
    /// No new sessions at all.
    Down,
}

impl Duty {
    /// Each, in the order of declaration.
    pub const ALL: [Self; 3] = [Self::Ready, Self::Drain, Self::Down];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Down => "down",
        }
    }
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
    /// What is wanted of it.
    pub duty: Duty,
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

    /// Whether it is offered to connections that no key leads anywhere.
    pub fn is_offered(&self) -> bool {
        !self.leaving && self.duty == Duty::Ready
    }

    /// The same when it is no longer in the file.
    pub(super) fn to_leave(&self, duty: Duty) -> Self {
        let Self { address, peer, id, weight, backup, counts, state, .. } = self;
        Self {
            address: address.clone(),
            peer: *peer,
            id: id.clone(),
            weight: *weight,
            backup: *backup,
            duty,
            leaving: true,
            counts: counts.clone(),
            state: Arc::clone(state),
        }
    }
}
