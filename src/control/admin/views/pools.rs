//! Views of listeners and pools.

use serde::Serialize;

use super::{Tally, by_reason, tally};
use crate::config::{self, Balance, KeepAlive, Peek, Sticky};
use crate::edition::Edition;
use crate::pool::{self, Condition, How, Panic};

/// A place that accepts connections.
#[derive(Debug, Serialize)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Its addresses, with real ports.
    pub bind: Vec<String>,
    /// What is read before a server is chosen.
    pub peek: Peek,
    /// What happens to a second request on a connection.
    pub keep_alive: KeepAlive,
    /// Where everything goes that no route leads elsewhere.
    pub pool: String,
    /// Sessions now.
    pub live: u64,
    /// Sessions at once.
    pub max_connections: Option<u32>,
    /// Since the start, as all that ends in `_total`.
    pub accepted_total: u64,
    /// Bytes received from clients.
    pub bytes_up_total: u64,
    /// Bytes received from servers.
    pub bytes_down_total: u64,
    /// Since the start, by reason.
    pub closed: Tally,
}

/// Servers that can stand in for each other.
#[derive(Debug, Serialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// How a connection without a key is placed.
    pub balance: Balance,
    /// What a key is made of.
    pub sticky: &'static str,
    /// A key that cannot be honoured is refused.
    pub strict: bool,
    /// `ok`, `panic_ejected`, `panic_down` or `on_backups`.
    pub condition: &'static str,
    /// Sessions now.
    pub live: u64,
    /// Sessions that wait for a place.
    pub queued: u32,
    /// Connects in flight, where they are limited.
    pub connecting: u32,
    /// Learned keys it has now.
    pub learned_keys: usize,
    /// Servers picked, by why: `balanced`, `kept` or `redispatched`.
    pub picks: Tally,
    /// Servers tried in vain.
    pub retries_total: u64,
    /// Keys that were to be honoured, and were.
    pub key_hits_total: u64,
    /// The same, and were not.
    pub key_misses_total: u64,
    /// Keys learned from responses.
    pub learned_total: u64,
    /// Sessions that had to wait for a place.
    pub queued_total: u64,
    /// Sessions that are over, by reason.
    pub closed: Tally,
    /// Addresses of its servers.
    pub servers: Vec<String>,
}

/// Every listener, in the order of the file.
pub fn listeners(edition: &Edition) -> Vec<Listener> {
    let view = |(at, listener): (usize, &config::Listener)| {
        let totals = edition.listener_totals(at);
        let bound = edition.bound.iter().filter(|(name, _)| *name == listener.name);
        Listener {
            name: listener.name.clone(),
            bind: bound.map(|(_, address)| address.to_string()).collect(),
            peek: listener.peek,
            keep_alive: listener.keep_alive,
            pool: edition.pool_at(listener.pool).name().to_owned(),
            live: totals.live(),
            max_connections: listener.max_connections,
            accepted_total: totals.accepted,
            bytes_up_total: totals.bytes_up,
            bytes_down_total: totals.bytes_down,
            closed: by_reason(|reason| totals.closed[reason as usize]),
        }
    };
    (0..).zip(&edition.config.listeners).map(view).collect()
}

/// Every pool, in the order of the file.
pub fn pools(edition: &Edition, now_ms: u64) -> Vec<Pool> {
    edition.pools.iter().map(|one| pool(one, now_ms)).collect()
}

/// One pool.
pub fn pool(pool: &pool::Pool, now_ms: u64) -> Pool {
    let (spec, totals) = (pool.spec(), pool.totals());
    Pool {
        name: spec.name.clone(),
        balance: spec.balance,
        sticky: sticky(&spec.sticky),
        strict: spec.strict,
        condition: condition(pool.condition(now_ms)),
        live: pool.servers().iter().map(|server| u64::from(server.live())).sum(),
        queued: pool.waiting(),
        connecting: pool.connecting(),
        learned_keys: pool.learned(),
        picks: tally(How::ALL.into_iter().map(|how| (how.as_str(), totals.picks[how as usize]))),
        retries_total: totals.retries,
        key_hits_total: totals.key_hits,
        key_misses_total: totals.key_misses,
        learned_total: totals.learned,
        queued_total: totals.queued,
        closed: by_reason(|reason| totals.closed[reason as usize]),
        servers: pool.servers().iter().map(|server| server.address.to_string()).collect(),
    }
}

fn sticky(sticky: &Sticky) -> &'static str {
    match sticky {
        Sticky::None => "none",
        Sticky::Source => "source",
        Sticky::Cookie { .. } => "cookie",
        Sticky::Insert { .. } => "insert",
        Sticky::Header { .. } => "header",
        Sticky::Query { .. } => "query",
        Sticky::SocketIo { .. } => "socketio",
    }
}

fn condition(condition: Condition) -> &'static str {
    match condition {
        Condition { panic: Some(Panic::Ejected), .. } => "panic_ejected",
        Condition { panic: Some(Panic::Down), .. } => "panic_down",
        Condition { on_backups: true, .. } => "on_backups",
        Condition { .. } => "ok",
    }
}
