//! Views of how near limits are.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Facts;
use crate::config::{Address, Sticky};
use crate::pool::Pool;
use crate::sys::PeerId;
use crate::worker::Shared;

/// How near a limit is.
#[derive(Debug, Serialize)]
pub struct Limit {
    /// The key that sets it, or what it is of.
    pub name: &'static str,
    /// What it is about: `all`, `listener NAME`, `pool NAME`, `server POOL ADDRESS` or `worker N`.
    pub scope: String,
    /// Now.
    pub used: u64,
    /// At most; `None`: there is no limit.
    pub max: Option<u64>,
    /// What is counted: `sessions`, `sockets`, `connects` or `keys`.
    pub unit: &'static str,
}

/// Ports of a source address that are in use towards a server.
#[derive(Debug, Serialize)]
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

/// How near every limit is that there is.
pub fn limits(shared: &Shared) -> Vec<Limit> {
    let edition = shared.edition();
    let mut limits = Vec::new();
    let mut limit = |name, scope, used, max, unit| {
        limits.push(Limit { name, scope, used, max, unit });
    };
    let config = &edition.config;
    let live = edition.admission.live().into();
    let max = config.max_connections.map(u64::from);
    limit("max_connections", "all".to_owned(), live, max, "sessions");
    for (number, worker) in shared.counters.iter().enumerate() {
        let scope = format!("worker {number}");
        let max = Some(worker.sessions_max());
        limit("sessions_per_worker", scope.clone(), worker.live(), max, "sessions");
        let max = Some(worker.descriptors_max());
        limit("descriptors", scope, worker.sockets(), max, "sockets");
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
    let mut servers: BTreeMap<PeerId, (String, u64)> = BTreeMap::new();
    for server in edition.pools.iter().flat_map(Pool::servers) {
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
