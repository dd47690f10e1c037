//! What becomes of servers and pools, told to whoever listens: the last cause of each, and every
//! change as it happens.
//!
//! Told by the control thread alone: a worker must not wake who waits here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::{HashMap, HashSet};
use tokio::sync::broadcast::{Receiver, Sender, channel};

use super::admin::views::Notice;
use crate::edition::Edition;
use crate::pool::{Pool, Server};
use crate::sys::clock::{self, Clock};

/// Notices a listener may be behind before it is cut off: a file of many servers that all go down
/// at once is told whole.
const BEHIND_MAX: usize = 4096;

/// See the head of the file.
pub(super) struct Notices {
    clock: Clock,
    /// By pool and server.
    last: Mutex<HashMap<(String, String), Last>>,
    sender: Sender<Arc<Notice>>,
}

/// What was told of a server last.
#[derive(Clone)]
pub(super) struct Last {
    pub(super) state: &'static str,
    pub(super) cause: String,
    /// On the clock of the workers.
    pub(super) at_ms: u64,
}

impl Notices {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, last: Mutex::default(), sender: channel(BEHIND_MAX).0 }
    }

    /// Checks, or sessions, have something to say of a server.
    pub(super) fn health(&self, pool: &str, server: &str, state: &'static str, cause: &str) {
        let key = (pool.to_owned(), server.to_owned());
        let last = Last { state, cause: cause.to_owned(), at_ms: self.clock.now_ms() };
        self.last().insert(key, last);
        self.tell(pool, Some(server), state, cause, None);
    }

    /// Forgets servers that are there no longer.
    pub(super) fn follow(&self, edition: &Edition) {
        let of_pool = |pool: &Pool| -> Vec<_> {
            let key = |server: &Server| (pool.name().to_owned(), server.address.to_string());
            pool.servers().iter().map(key).collect()
        };
        let there: HashSet<_> = edition.pools.iter().flat_map(of_pool).collect();
        self.last().retain(|key, _| there.contains(key));
    }

    /// A pool does better or worse as a whole.
    pub(super) fn pool(&self, pool: &str, state: &'static str, cause: &str) {
        self.tell(pool, None, state, cause, None);
    }

    /// An operator has changed something about a server.
    pub(super) fn operator(&self, pool: &str, server: &str, (state, by): (&str, &str)) {
        self.tell(pool, Some(server), state, "an operator wants it so", Some(by));
    }

    fn tell(&self, pool: &str, server: Option<&str>, state: &str, cause: &str, by: Option<&str>) {
        // Nobody may be listening.
        let _ = self.sender.send(Arc::new(Notice {
            at: clock::rfc3339(clock::wall_ms()),
            pool: pool.to_owned(),
            server: server.map(str::to_owned),
            state: state.to_owned(),
            cause: cause.to_owned(),
            by: by.map(str::to_owned),
        }));
    }

    /// What was told of a server last.
    pub(super) fn last_of(&self, pool: &str, server: &str) -> Option<Last> {
        self.last().get(&(pool.to_owned(), server.to_owned())).cloned()
    }

    /// Everything from now on.
    pub(super) fn listen(&self) -> Receiver<Arc<Notice>> {
        self.sender.subscribe()
    }

    fn last(&self) -> MutexGuard<'_, HashMap<(String, String), Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Address, parse};
    use crate::pool::{Duty, Peers, ServerSpec};

    #[test]
    fn a_server_that_is_gone_is_forgotten() {
        let text = r#"{ "listeners": [{ "bind": "[::]:1" }],
                        "pools": { "a": { "servers": ["10.0.0.1:1"] } } }"#;
        let address = Address::Tcp(([10, 0, 0, 1], 1).into());
        let (id, weight, duty) = (address.to_string(), 1, Duty::Ready);
        let spec = ServerSpec { address, id, weight, backup: false, max_connections: None, duty };
        let (config, peers) = (parse(text).unwrap().config, &mut Peers::default());
        let edition = Edition::succeeding(None, config, vec![vec![spec]], peers, 0, 1);
        let notices = Notices::new(Clock::new());
        for (pool, server) in [("a", "10.0.0.1:1"), ("a", "10.0.0.2:1"), ("b", "10.0.0.1:1")] {
            notices.health(pool, server, "down", "refused");
        }
        notices.follow(&edition);
        assert!(notices.last_of("a", "10.0.0.1:1").is_some());
        assert_eq!(notices.last().len(), 1);
    }
}
