//! What answers are made of: plain values, worked out from what all workers share, and read again
//! by whoever asks.
//!
//! No socket, no clock: time comes in as `now_ms`.

mod sessions;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{self, Address, Balance, KeepAlive, Peek, PoolIndex, Sticky};
use crate::edition::Edition;
use crate::metrics::{Closed, Counters, Distribution, Lack};
use crate::pool::{Condition, Failure, How, Panic, ServerIndex, Standing};
use crate::session::CloseReason;
use crate::supervisor::Change;
use crate::sys::clock;
use crate::worker::Shared;

pub use sessions::*;

/// How often something happened, by its word; what never did is left out.
pub type Tally = BTreeMap<String, u64>;

/// What does not change while ringway runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When it started, in milliseconds since 1970.
    pub started_ms: u64,
    /// `io_uring` or `epoll`.
    pub engine: &'static str,
    /// The core of each worker.
    pub cores: Vec<u16>,
    /// Sessions one worker can hold.
    pub sessions_per_worker: usize,
    /// Ports of one source address towards one server.
    pub ports_per_source: u32,
}

/// All of ringway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// Of the process.
    pub pid: u32,
    /// RFC 3339.
    pub started_at: String,
    /// Milliseconds since then.
    pub uptime_ms: u64,
    /// `io_uring` or `epoll`.
    pub engine: String,
    /// Number of the configuration in force; each reload and each change makes the next.
    pub edition: u64,
    /// Told to end; no new clients are heard.
    pub draining: bool,
    /// How many there are.
    pub workers: usize,
    /// Now.
    pub sessions_live: u64,
    /// Since the start.
    pub accepted_total: u64,
    /// Since the start.
    pub closed_total: u64,
    /// Since the start, by reason.
    pub closed: Tally,
    /// Bytes received from clients, by the listeners there are.
    pub bytes_up_total: u64,
    /// The same from servers.
    pub bytes_down_total: u64,
    /// Log lines that were lost.
    pub unlogged_total: u64,
    /// Least level of log lines that are written.
    pub log_level: String,
    /// Servers of which operators have changed something.
    pub changes: usize,
}

/// A place that accepts connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Its addresses, with real ports.
    pub bind: Vec<String>,
    /// What is read before a server is chosen.
    pub peek: String,
    /// What happens to a second request on a connection.
    pub keep_alive: String,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// How a connection without a key is placed.
    pub balance: String,
    /// What a key is made of.
    pub sticky: String,
    /// A key that cannot be honoured is refused.
    pub strict: bool,
    /// `ok`, `panic_ejected`, `panic_down` or `on_backups`.
    pub condition: String,
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

/// A server of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Its pool.
    pub pool: String,
    /// Where it is.
    pub address: String,
    /// Its name in tokens and sid prefixes.
    pub id: String,
    /// `up`, `slow_start`, `ejected`, `down`, `draining`, `disabled`, `leaving` or `removed`.
    pub state: String,
    /// What checks and sessions say of it, whatever is wanted of it: `up`, `slow_start`, `ejected`
    /// or `down`.
    pub health: String,
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
    pub changed: Vec<String>,
}

/// How long something took, in microseconds, as far as the classes tell that it is counted in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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

/// A thread that moves bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Counted from 0.
    pub number: usize,
    /// The core it runs on.
    pub core: u16,
    /// Sessions now.
    pub live: u64,
    /// Sessions it can hold.
    pub max: usize,
    /// Sockets to clients and servers, a descriptor each.
    pub sockets: u64,
    /// Since the start.
    pub accepted_total: u64,
    /// Since the start, by reason.
    pub closed: Tally,
    /// How often there was not enough of something, by what.
    pub lacked: Tally,
    /// Log lines that were lost.
    pub unlogged_total: u64,
}

/// How near a limit is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// The key that sets it, or what it is of.
    pub name: String,
    /// What it is about: `all`, `listener NAME`, `pool NAME`, `server POOL ADDRESS` or `worker N`.
    pub scope: String,
    /// Now.
    pub used: u64,
    /// At most; `None`: there is no limit.
    pub max: Option<u64>,
    /// What is counted: `sessions`, `sockets`, `connects` or `keys`.
    pub unit: String,
}

/// Ports of a source address that are in use towards a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortUse {
    /// The address; `None`: whichever the kernel chooses.
    pub source: Option<String>,
    /// Where the server is.
    pub server: String,
    /// Connections now.
    pub used: u64,
    /// Ports that one source address has.
    pub max: u64,
}

/// What another configuration would change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Diff {
    /// Everything that is wrong with it; then nothing would change.
    pub problems: Vec<String>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<String>,
    /// Every value that would not be the same.
    pub changes: Vec<config::Difference>,
}

/// What a second has come to, for whoever follows events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pulse {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// Number of the configuration in force.
    pub edition: u64,
    /// Told to end.
    pub draining: bool,
    /// Now.
    pub sessions_live: u64,
    /// Since the start.
    pub accepted_total: u64,
    /// Since the start.
    pub closed_total: u64,
    /// Since the start, by reason.
    pub closed: Tally,
    /// Bytes received from clients, by the listeners there are.
    pub bytes_up_total: u64,
    /// The same from servers.
    pub bytes_down_total: u64,
    /// As `/v1/servers` has them.
    pub servers: Vec<Server>,
    /// As `/v1/workers` has them.
    pub workers: Vec<Worker>,
}

/// A change of the health of a server or pool, or by an operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// RFC 3339.
    pub at: String,
    /// The pool.
    pub pool: String,
    /// The server; `None`: the pool as a whole.
    pub server: Option<String>,
    /// What it is from now on.
    pub state: String,
    /// Why.
    pub cause: String,
    /// Who wanted it so.
    pub by: Option<String>,
}

/// What was told last of the health of a server: its word, why, and since when.
pub type Told<'t> = &'t dyn Fn(&str, &str) -> Option<(String, String, u64)>;

/// All of ringway.
pub fn status(shared: &Shared, facts: &Facts, log_level: &str) -> Status {
    let edition = shared.edition();
    let total = |count: &dyn Fn(&Counters) -> u64| shared.counters.iter().map(count).sum::<u64>();
    // Ends first: what begins and ends meanwhile must not count as one below none.
    let (closed, accepted) = (closed(&shared.counters), total(&Counters::accepted));
    let closed_total = closed.values().sum();
    let listeners = (0..edition.config.listeners.len()).map(|at| edition.listener_totals(at));
    let (bytes_up, bytes_down) = listeners
        .fold((0, 0), |(up, down), totals| (up + totals.bytes_up, down + totals.bytes_down));
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_at: clock::rfc3339(facts.started_ms),
        uptime_ms: shared.clock.now_ms(),
        engine: facts.engine.to_owned(),
        edition: edition.number,
        draining: shared.draining.load(std::sync::atomic::Ordering::Relaxed),
        workers: shared.counters.len(),
        sessions_live: accepted.saturating_sub(closed_total),
        accepted_total: accepted,
        closed_total,
        closed,
        bytes_up_total: bytes_up,
        bytes_down_total: bytes_down,
        unlogged_total: shared.unlogged(),
        log_level: log_level.to_owned(),
        changes: edition.changes.len(),
    }
}

fn closed(counters: &[Counters]) -> Tally {
    let count = |reason| counters.iter().map(|worker| worker.closed(reason)).sum();
    tally(CloseReason::ALL.into_iter().map(|reason| (reason.as_str(), count(reason))))
}

fn reasons(closed: &Closed) -> Tally {
    let count = |reason: CloseReason| (reason.as_str(), closed[reason as usize]);
    tally(CloseReason::ALL.into_iter().map(count))
}

fn tally<'w>(counts: impl Iterator<Item = (&'w str, u64)>) -> Tally {
    let some = counts.filter(|(_, count)| *count > 0);
    some.map(|(word, count)| (word.to_owned(), count)).collect()
}

/// Every listener, in the order of the file.
pub fn listeners(edition: &Edition) -> Vec<Listener> {
    let view = |(at, listener): (usize, &config::Listener)| {
        let totals = edition.listener_totals(at);
        let bound = edition.bound.iter().filter(|(name, _)| *name == listener.name);
        Listener {
            name: listener.name.clone(),
            bind: bound.map(|(_, address)| address.to_string()).collect(),
            peek: peek(listener.peek).to_owned(),
            keep_alive: keep_alive(listener.keep_alive).to_owned(),
            pool: pool_of(edition, listener.pool).name().to_owned(),
            live: totals.live(),
            max_connections: listener.max_connections,
            accepted_total: totals.accepted,
            bytes_up_total: totals.bytes_up,
            bytes_down_total: totals.bytes_down,
            closed: reasons(&totals.closed),
        }
    };
    (0..).zip(&edition.config.listeners).map(view).collect()
}

fn peek(peek: Peek) -> &'static str {
    match peek {
        Peek::None => "none",
        Peek::Auto => "auto",
        Peek::Http => "http",
        Peek::Tls => "tls",
    }
}

fn keep_alive(keep_alive: KeepAlive) -> &'static str {
    match keep_alive {
        KeepAlive::Trust => "trust",
        KeepAlive::OneRequest => "one_request",
    }
}

fn pool_of(edition: &Edition, pool: PoolIndex) -> &crate::pool::Pool {
    &edition.pools[usize::from(pool.0)]
}

/// Every pool, in the order of the file.
pub fn pools(edition: &Edition, now_ms: u64) -> Vec<Pool> {
    edition.pools.iter().map(|one| pool(one, now_ms)).collect()
}

fn pool(pool: &crate::pool::Pool, now_ms: u64) -> Pool {
    let (spec, totals) = (pool.spec(), pool.totals());
    Pool {
        name: spec.name.clone(),
        balance: balance(spec.balance).to_owned(),
        sticky: sticky(&spec.sticky).to_owned(),
        strict: spec.strict,
        condition: condition(pool.condition(now_ms)).to_owned(),
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
        closed: reasons(&totals.closed),
        servers: pool.servers().iter().map(|server| server.address.to_string()).collect(),
    }
}

fn balance(balance: Balance) -> &'static str {
    match balance {
        Balance::RoundRobin => "round_robin",
        Balance::LeastConn => "least_conn",
        Balance::RandomTwo => "random_two",
        Balance::Hash => "hash",
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

/// Every server of every pool, and behind those of a pool what is removed from it.
pub fn servers(edition: &Edition, now_ms: u64, told: Told<'_>) -> Vec<Server> {
    let of_pool = |pool: &crate::pool::Pool| {
        let indices = (0..).map(ServerIndex).take(pool.servers().len());
        let servers: Vec<Server> =
            indices.map(|at| server(edition, pool, at, now_ms, told)).collect();
        let removed = edition.changes.removed_from(pool.name());
        let is_gone = |address: &Address| pool.servers().iter().all(|s| s.address != *address);
        let removed = removed.filter(|spec| is_gone(&spec.address)).map(|spec| Server {
            pool: pool.name().to_owned(),
            address: spec.address.to_string(),
            id: spec.id.clone(),
            state: "removed".to_owned(),
            health: "up".to_owned(),
            cause: None,
            for_ms: None,
            weight: spec.weight,
            weight_in_file: Some(spec.weight),
            backup: spec.backup,
            live: 0,
            total: 0,
            max_connections: spec.max_connections,
            bytes_up_total: 0,
            bytes_down_total: 0,
            connect_us: Times::default(),
            connect_errors: Tally::default(),
            early_resets_total: 0,
            changed: vec!["removed".to_owned()],
        });
        servers.into_iter().chain(removed.collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    edition.pools.iter().flat_map(of_pool).collect()
}

/// One server.
pub fn server(
    edition: &Edition,
    pool: &crate::pool::Pool,
    at: ServerIndex,
    now_ms: u64,
    told: Told<'_>,
) -> Server {
    let server = &pool.servers()[usize::from(at.0)];
    let standing = server.standing(now_ms);
    let health = match standing {
        Standing::Up { .. } if pool.share_percent(at, now_ms) < 100 => "slow_start",
        Standing::Up { .. } => "up",
        Standing::Ejected { .. } => "ejected",
        Standing::Down => "down",
    };
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
        state: pool.state(at, now_ms).to_owned(),
        health: health.to_owned(),
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

/// Every worker.
pub fn workers(shared: &Shared, facts: &Facts) -> Vec<Worker> {
    let view = |(number, (counters, &core)): (usize, (&Counters, &u16))| {
        let closed = closed(std::slice::from_ref(counters));
        let accepted_total = counters.accepted();
        let lacked = Lack::ALL.into_iter().map(|lack| (lack.as_str(), counters.lacked(lack)));
        Worker {
            number,
            core,
            live: accepted_total.saturating_sub(closed.values().sum()),
            max: facts.sessions_per_worker,
            sockets: counters.sockets(),
            accepted_total,
            lacked: tally(lacked),
            closed,
            unlogged_total: counters.unlogged(),
        }
    };
    shared.counters.iter().zip(&facts.cores).enumerate().map(view).collect()
}

/// What a second has come to.
pub fn pulse(shared: &Shared, facts: &Facts, at_ms: u64, told: Told<'_>) -> Pulse {
    let status = status(shared, facts, "");
    Pulse {
        at_ms,
        edition: status.edition,
        draining: status.draining,
        sessions_live: status.sessions_live,
        accepted_total: status.accepted_total,
        closed_total: status.closed_total,
        closed: status.closed,
        bytes_up_total: status.bytes_up_total,
        bytes_down_total: status.bytes_down_total,
        servers: servers(&shared.edition(), shared.clock.now_ms(), told),
        workers: workers(shared, facts),
    }
}

/// How near every limit is that there is.
pub fn limits(shared: &Shared, facts: &Facts) -> Vec<Limit> {
    let edition = shared.edition();
    let mut limits = Vec::new();
    let mut limit = |name: &str, scope: String, used: u64, max: Option<u64>, unit: &str| {
        let (name, unit) = (name.to_owned(), unit.to_owned());
        limits.push(Limit { name, scope, used, max, unit });
    };
    let config = &edition.config;
    let live = edition.admission.live().into();
    let max = config.max_connections.map(u64::from);
    limit("max_connections", "all".to_owned(), live, max, "sessions");
    for worker in workers(shared, facts) {
        let scope = format!("worker {}", worker.number);
        let max = Some(worker.max as u64);
        limit("sessions_per_worker", scope.clone(), worker.live, max, "sessions");
        let max = Some(shared.counters[worker.number].descriptors_max());
        limit("descriptors", scope, worker.sockets, max, "sockets");
    }
    for (at, listener) in (0..).zip(&config.listeners) {
        let scope = format!("listener {}", listener.name);
        let live = edition.admission.live_at(at).into();
        let max = listener.max_connections.map(u64::from);
        limit("max_connections", scope.clone(), live, max, "sessions");
        if let Some(per_source) = listener.max_connections_per_source {
            let (_, most) = edition.admission.networks(at);
            let max = Some(per_source.count.into());
            limit("max_connections_per_source", scope, most.into(), max, "sessions");
        }
    }
    for pool in &edition.pools {
        let (scope, spec) = (format!("pool {}", pool.name()), pool.spec());
        let in_flight = spec.connects_in_flight_max;
        if let Some(max) = in_flight {
            let (used, max) = (pool.connecting().into(), Some(max.into()));
            limit("connects_in_flight_max", scope.clone(), used, max, "connects");
        }
        let servers = pool.servers().iter().filter_map(|s| Some((s, s.max_connections()?)));
        if in_flight.is_some() || servers.clone().next().is_some() {
            let (used, max) = (pool.waiting().into(), Some(spec.queue_max.into()));
            limit("queue_max", scope.clone(), used, max, "sessions");
        }
        if let Sticky::Cookie { learn: Some(learn), .. } | Sticky::SocketIo { learn, .. } =
            &spec.sticky
        {
            let (used, max) = (pool.learned() as u64, Some(learn.max_entries.into()));
            limit("max_entries", scope, used, max, "keys");
        }
        for (server, max) in servers {
            let scope = format!("server {} {}", pool.name(), server.address);
            limit("max_connections", scope, server.live().into(), Some(max.into()), "sessions");
        }
    }
    limits
}

/// Connections to each server, by the address they come from.
pub fn ports(shared: &Shared, facts: &Facts) -> Vec<PortUse> {
    let edition = shared.edition();
    let mut servers: BTreeMap<crate::sys::PeerId, (String, u64)> = BTreeMap::new();
    for server in edition.pools.iter().flat_map(crate::pool::Pool::servers) {
        if let Address::Tcp(address) = server.address {
            let known = servers.entry(server.peer).or_insert((address.to_string(), 0));
            known.1 += u64::from(server.live());
        }
    }
    let mut uses = Vec::new();
    let mut bound = shared.uses.all();
    bound.sort_unstable();
    for (peer, ip, count) in bound {
        let Some((server, live)) = servers.get_mut(&peer) else { continue };
        let used = u64::from(count);
        // What is bound is not the kernel's choice.
        *live = live.saturating_sub(used);
        let (source, max) = (Some(ip.to_string()), facts.ports_per_source.into());
        uses.push(PortUse { source, server: server.clone(), used, max });
    }
    let max = facts.ports_per_source.into();
    let chosen = servers.into_values();
    uses.extend(chosen.map(|(server, used)| PortUse { source: None, server, used, max }));
    uses
}
