//! Views of servers.

use serde::Serialize;

use super::{Tally, Told, tally};
use crate::config::Address;
use crate::edition::Edition;
use crate::metrics::Distribution;
use crate::pool::{Failure, Pool, ServerIndex};
use crate::supervisor::Change;

/// A server of a pool.
#[derive(Debug, Default, Serialize)]
pub struct Server {
    /// Its pool.
    pub pool: String,
    /// Where it is.
    pub address: String,
    /// Its name in tokens and sid prefixes.
    pub id: String,
    /// `up`, `slow_start`, `ejected`, `down`, `draining`, `disabled`, `leaving` or `removed`.
    pub state: &'static str,
    /// What checks and sessions say of it, whatever is wanted of it: `up`, `slow_start`, `ejected`
    /// or `down`.
    pub health: &'static str,
    /// What made its health what it is.
    pub cause: Option<String>,
    /// Milliseconds for which its health has been so.
    pub for_ms: Option<u64>,
    /// Share of connections relative to the others.
    pub weight: u16,
    /// The same in the file; `None`: it is not there.
    pub weight_in_file: Option<u16>,
    /// Used only when no other server can be.
    pub backup: bool,
    /// Sessions now.
    pub live: u32,
    /// Connects that succeeded since the start.
    pub total: u64,
    /// Sessions at once.
    pub max_connections: Option<u32>,
    /// Bytes received from clients of its sessions.
    pub bytes_up_total: u64,
    /// Bytes received from it.
    pub bytes_down_total: u64,
    /// How long connects took that succeeded.
    pub connect_us: Times,
    /// Connects that failed, by why.
    pub connect_errors: Tally,
    /// Resets soon after a connect and without a byte.
    pub early_resets_total: u64,
    /// What operators have changed: `state`, `weight`, `added`, `removed`.
    pub changed: Vec<&'static str>,
}

/// How long something took, in microseconds, as far as the classes tell that it is counted in.
#[derive(Debug, Default, Serialize)]
pub struct Times {
    /// How often.
    pub count: u64,
    /// In all.
    pub sum: u64,
    /// Half of them took no longer; `None`: there is none, or the last class tells nothing.
    pub p50: Option<u64>,
    /// The same of 99 in 100.
    pub p99: Option<u64>,
}

impl Times {
    fn of(times: &Distribution) -> Self {
        let (p50, p99) = (times.quantile_us(0.5), times.quantile_us(0.99));
        Self { count: times.count(), sum: times.sum_us, p50, p99 }
    }
}

/// Every server of every pool, and behind those of a pool what is removed from it.
pub fn servers(edition: &Edition, now_ms: u64, told: Told<'_>) -> Vec<Server> {
    let of_pool = |pool: &Pool| {
        let indices = (0..).map(ServerIndex).take(pool.servers().len());
        let servers: Vec<Server> =
            indices.map(|at| server(edition, pool, at, now_ms, told)).collect();
        let removed = edition.changes.removed_from(pool.name());
        let is_gone = |address: &Address| pool.servers().iter().all(|s| s.address != *address);
        let removed = removed.filter(|spec| is_gone(&spec.address)).map(|spec| Server {
            pool: pool.name().to_owned(),
            address: spec.address.to_string(),
            id: spec.id.clone(),
            state: "removed",
            health: "up",
            weight: spec.weight,
            weight_in_file: Some(spec.weight),
            backup: spec.backup,
            max_connections: spec.max_connections,
            changed: vec!["removed"],
            ..Server::default()
        });
        servers.into_iter().chain(removed.collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    edition.pools.iter().flat_map(of_pool).collect()
}

/// One server.
pub fn server(
    edition: &Edition,
    pool: &Pool,
    at: ServerIndex,
    now_ms: u64,
    told: Told<'_>,
) -> Server {
    let server = pool.server(at);
    let health = pool.health(at, now_ms);
    let address = server.address.to_string();
    let word = if health == "slow_start" { "up" } else { health };
    let told = told(pool.name(), &address).filter(|(state, ..)| state == word);
    let (cause, since_ms) = told.map(|(_, cause, at_ms)| (cause, at_ms)).unzip();
    let changed = edition.changes.of(pool.name(), &server.address);
    let in_file = edition.changes.weight_in_file(pool.name(), &server.address);
    let totals = server.totals();
    let connects = Failure::ALL.into_iter().filter(|&failure| failure != Failure::EarlyReset);
    let failures = |failure: Failure| (failure.word(), totals.failures[failure as usize]);
    Server {
        pool: pool.name().to_owned(),
        address,
        id: server.id.to_string(),
        state: pool.state(at, now_ms),
        health,
        cause,
        for_ms: since_ms.map(|since_ms| now_ms.saturating_sub(since_ms)),
        weight: server.weight,
        weight_in_file: match (server.leaving, in_file) {
            (true, _) => None,
            (false, Some(in_file)) => in_file,
            (false, None) => Some(server.weight),
        },
        backup: server.backup,
        live: server.live(),
        total: server.total(),
        max_connections: server.max_connections(),
        bytes_up_total: totals.bytes_up,
        bytes_down_total: totals.bytes_down,
        connect_us: Times::of(&totals.connects),
        connect_errors: tally(connects.map(failures)),
        early_resets_total: totals.failures[Failure::EarlyReset as usize],
        changed: changed.map(Change::words).unwrap_or_default(),
    }
}
