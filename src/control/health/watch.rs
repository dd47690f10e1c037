//! Says in the log what has become of servers and pools, each change once.
//!
//! Sessions eject servers without a word, since they have other things to do; here it is seen.

use hashbrown::HashMap;
use tracing::{info, warn};

use super::super::notices::Notices;
use crate::config::PoolIndex;
use crate::edition::Edition;
use crate::pool::{Condition, Pool, ServerIndex, Standing};
use crate::sys::PeerId;

/// What was seen last, of the edition followed last.
#[derive(Default)]
pub(super) struct Watch(Vec<Seen>);

struct Seen {
    condition: Condition,
    standings: Vec<Standing>,
}

impl Watch {
    /// Goes on with the pools of another edition.
    pub(super) fn follow(&mut self, before: Option<&Edition>, edition: &Edition) {
        let seen = std::mem::take(&mut self.0);
        let mut conditions: HashMap<&str, Condition> = HashMap::new();
        let mut standings: HashMap<(&str, PeerId), Standing> = HashMap::new();
        for (pool, seen) in before.into_iter().flat_map(|before| &before.pools).zip(seen) {
            conditions.insert(pool.name(), seen.condition);
            let servers = pool.servers().iter().zip(seen.standings);
            standings.extend(servers.map(|(server, seen)| ((pool.name(), server.peer), seen)));
        }
        let seen = |pool: &Pool| {
            let condition = conditions.get(pool.name()).copied().unwrap_or_default();
            let servers = pool.servers().iter();
            let standing = servers.map(|server| {
                let known = standings.get(&(pool.name(), server.peer));
                known.copied().unwrap_or(server.standing(0))
            });
            Seen { condition, standings: standing.collect() }
        };
        self.0 = edition.pools.iter().map(seen).collect();
    }

    /// A change that needs no word any more.
    pub(super) fn told(&mut self, pool: PoolIndex, server: ServerIndex, standing: Standing) {
        self.0[pool.0 as usize].standings[server.0 as usize] = standing;
    }

    /// Looks at every server and pool.
    pub(super) fn look(&mut self, edition: &Edition, notices: &Notices, now_ms: u64) {
        for (pool, seen) in edition.pools.iter().zip(&mut self.0) {
            for (at, seen) in (0..).map(ServerIndex).zip(&mut seen.standings) {
                let standing = pool.server(at).standing(now_ms);
                if standing != *seen {
                    tell_server(pool, at, *seen, standing, notices);
                    *seen = standing;
                }
            }
            let condition = pool.condition(now_ms);
            if condition != seen.condition {
                tell_pool(pool.name(), seen.condition, condition, notices);
                seen.condition = condition;
            }
        }
    }
}

fn tell_server(pool: &Pool, at: ServerIndex, before: Standing, now: Standing, notices: &Notices) {
    let (name, server) = (pool.name(), &pool.server(at).address);
    match now {
        Standing::Ejected { .. } => {
            let Some((failure, length_ms)) = pool.ejection(at) else { return };
            let failures = pool.spec().eject.map_or(0, |eject| eject.failures);
            let cause = format!("{failures} in a row: {}", failure.as_str());
            warn!(%server, pool = %name, state = %"ejected", for_ms = length_ms, cause, "health");
            notices.health(name, &server.to_string(), "ejected", &cause);
        }
        Standing::Up { since_ms } => {
            let cause = match before {
                Standing::Ejected { until_ms, .. } if since_ms < until_ms => {
                    "a session that was sent there all the same went well"
                }
                Standing::Ejected { .. } => "it was ejected for long enough",
                Standing::Down => "it is checked no longer",
                Standing::Up { .. } => return,
            };
            info!(%server, pool = %name, state = %"up", cause, "health");
            notices.health(name, &server.to_string(), "up", cause);
        }
        // Whoever has taken it down has said so.
        Standing::Down => {}
    }
}

fn tell_pool(pool: &str, before: Condition, now: Condition, notices: &Notices) {
    if before.panic != now.panic {
        match now.panic {
            Some(panic) => {
                warn!(%pool, state = %"panic", cause = panic.as_str(), "health");
                notices.pool(pool, "panic", panic.as_str());
            }
            None => {
                let cause = "enough servers are up";
                info!(%pool, state = %"panic_over", cause, "health");
                notices.pool(pool, "panic_over", cause);
            }
        }
    }
    match (before.on_backups, now.on_backups) {
        (false, true) => {
            let cause = "no other server can be chosen";
            warn!(%pool, state = %"on_backups", cause, "health");
            notices.pool(pool, "on_backups", cause);
        }
        (true, false) => {
            let cause = "a server that is no backup can be chosen again";
            info!(%pool, state = %"off_backups", cause, "health");
            notices.pool(pool, "off_backups", cause);
        }
        _ => {}
    }
}
