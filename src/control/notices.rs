//! What becomes of servers and pools: the last cause of each, the latest changes, and every change
//! as it happens, told to whoever listens.
//!
//! Told by the control thread alone: a worker must not wake who waits here.

use std::collections::VecDeque;
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

/// Changes that are remembered, for whoever comes after them: a night's, where servers seldom
/// change, in about 100 KB.
const REMEMBERED_MAX: usize = 500;

/// See the head of the file.
pub(super) struct Notices {
    clock: Clock,
    past: Mutex<Past>,
    sender: Sender<Arc<Notice>>,
}

/// What has been told.
struct Past {
    /// By pool and server.
    last: HashMap<(String, String), Last>,
    /// The latest, oldest first.
    recent: VecDeque<Arc<Notice>>,
    /// Number of the last one. They begin at the milliseconds since 1970, so that a ringway that
    /// takes another's place goes on behind it.
    number: u64,
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
        let past = Past { last: HashMap::new(), recent: VecDeque::new(), number: clock::wall_ms() };
        Self { clock, past: Mutex::new(past), sender: channel(BEHIND_MAX).0 }
    }

    /// Checks, or sessions, have something to say of a server.
    pub(super) fn health(&self, pool: &str, server: &str, state: &'static str, cause: &str) {
        let key = (pool.to_owned(), server.to_owned());
        let last = Last { state, cause: cause.to_owned(), at_ms: self.clock.now_ms() };
        self.past().last.insert(key, last);
        self.tell(pool, Some(server), state, cause, None);
    }

    /// Forgets servers that are there no longer.
    pub(super) fn follow(&self, edition: &Edition) {
        let of_pool = |pool: &Pool| -> Vec<_> {
            let key = |server: &Server| (pool.name().to_owned(), server.address.to_string());
            pool.servers().iter().map(key).collect()
        };
        let there: HashSet<_> = edition.pools.iter().flat_map(of_pool).collect();
        self.past().last.retain(|key, _| there.contains(key));
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
        let mut past = self.past();
        past.number += 1;
        let notice = Arc::new(Notice {
            number: past.number,
            at: clock::rfc3339(clock::wall_ms()),
            pool: pool.to_owned(),
            server: server.map(str::to_owned),
            state: state.to_owned(),
            cause: cause.to_owned(),
            by: by.map(str::to_owned),
        });
        if past.recent.len() == REMEMBERED_MAX {
            past.recent.pop_front();
        }
        past.recent.push_back(Arc::clone(&notice));
        // Nobody may be listening; whoever comes meanwhile finds it among the recent ones.
        let _ = self.sender.send(notice);
    }

    /// What was told of a server last.
    pub(super) fn last_of(&self, pool: &str, server: &str) -> Option<Last> {
        self.past().last.get(&(pool.to_owned(), server.to_owned())).cloned()
    }

    /// What is remembered behind this number, oldest first.
    pub(super) fn after(&self, number: u64) -> Vec<Arc<Notice>> {
        self.past().after(number)
    }

    /// The same, and everything from now on; only the latter without a number.
    pub(super) fn listen(&self, after: Option<u64>) -> (Vec<Arc<Notice>>, Receiver<Arc<Notice>>) {
        let past = self.past();
        (after.map_or_else(Vec::new, |number| past.after(number)), self.sender.subscribe())
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Past {
    fn after(&self, number: u64) -> Vec<Arc<Notice>> {
        self.recent.iter().filter(|notice| notice.number > number).cloned().collect()
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
        assert_eq!(notices.past().last.len(), 1);
    }

    #[test]
    fn the_latest_changes_are_remembered_by_number() {
        let notices = Notices::new(Clock::new());
        for weight in 1..=REMEMBERED_MAX + 7 {
            notices.operator("a", "10.0.0.1:1", (&format!("weight={weight}"), "me"));
        }
        let states = |after| notices.after(after).iter().map(|n| n.state.clone()).collect();
        let all: Vec<_> = states(0);
        assert_eq!((all.len(), all[0].as_str()), (REMEMBERED_MAX, "weight=8"));
        let last = notices.past().number;
        assert_eq!(states(last - 2), ["weight=506", "weight=507"]);
        assert!(states(last).is_empty());
        let (past, mut to_come) = notices.listen(Some(last - 1));
        assert_eq!((past.len(), past[0].number), (1, last));
        notices.pool("a", "panic", "too many are ejected");
        assert_eq!(to_come.try_recv().unwrap().number, last + 1);
        assert!(notices.listen(None).0.is_empty());
    }
}
