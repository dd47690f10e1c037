//! Which servers may be chosen now: those that are up, as far as enough of them are.
//!
//! What sessions say is a guess. Where it speaks against more than a share of the pool's weight,
//! something else is probably wrong, and ejections count for nothing until they are fewer (panic).
//! What checks say is knowledge, and stands unless they say it of every server.
//!
//! A choice among servers that are all up reads one word of each it looks at. Only one that meets
//! another looks at all of them.

use std::cell::OnceCell;

use super::health::Standing;
use super::ring::mixed;
use super::{Duty, Pool, Server, ServerIndex, Tried};

/// Why servers count that are not up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Panic {
    /// More are ejected than may be: all count that are not down.
    Ejected,
    /// Checks have declared every server down: all count.
    Down,
}

impl Panic {
    /// The cause, for a line in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ejected => "more servers are ejected than may be, so ejections do not count",
            Self::Down => "checks have declared every server down, so all of them count",
        }
    }
}

/// How a pool does as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Servers count that are not up.
    pub panic: Option<Panic>,
    /// No server can be chosen that is not a backup.
    pub on_backups: bool,
}

/// Weights of the servers of one role, by standing.
#[derive(Clone, Copy, Debug, Default)]
struct Weights {
    up: u64,
    ejected: u64,
    down: u64,
}

impl Weights {
    fn add(&mut self, server: &Server, now_ms: u64) {
        let weight = u64::from(server.weight);
        match server.standing(now_ms) {
            Standing::Up { .. } => self.up += weight,
            Standing::Ejected { .. } => self.ejected += weight,
            Standing::Down => self.down += weight,
        }
    }

    /// What may be chosen of them.
    fn usable(&self, panic: Option<Panic>) -> u64 {
        match panic {
            None => self.up,
            Some(Panic::Ejected) => self.up + self.ejected,
            Some(Panic::Down) => self.up + self.ejected + self.down,
        }
    }
}

/// What [`Pool::state`] says of a server.
pub const STATES: [&str; 7] =
    ["up", "slow_start", "ejected", "down", "draining", "disabled", "leaving"];

impl Pool {
    /// The state of a server in a word: what is wanted of it where it is not to be ready, else how
    /// it does.
    pub fn state(&self, at: ServerIndex, now_ms: u64) -> &'static str {
        let [.., draining, disabled, leaving] = STATES;
        let server = self.server(at);
        match (server.leaving, server.duty) {
            (true, _) => leaving,
            (false, Duty::Drain) => draining,
            (false, Duty::Down) => disabled,
            (false, Duty::Ready) => self.health(at, now_ms),
        }
    }

    /// How a server does, in a word, whatever is wanted of it.
    pub fn health(&self, at: ServerIndex, now_ms: u64) -> &'static str {
        let [up, slow_start, ejected, down, ..] = STATES;
        match self.server(at).standing(now_ms) {
            Standing::Up { .. } if self.share_percent(at, now_ms) < 100 => slow_start,
            Standing::Up { .. } => up,
            Standing::Ejected { .. } => ejected,
            Standing::Down => down,
        }
    }

    /// How the pool does as a whole.
    pub fn condition(&self, now_ms: u64) -> Condition {
        let (mut primaries, mut backups) = (Weights::default(), Weights::default());
        for server in self.servers.iter().filter(|server| server.is_offered()) {
            if server.backup { &mut backups } else { &mut primaries }.add(server, now_ms);
        }
        let up = primaries.up + backups.up;
        let ejected = primaries.ejected + backups.ejected;
        let max_percent = self.spec.eject.map_or(100, |eject| u64::from(eject.max_percent));
        let panic = if up + ejected == 0 {
            Some(Panic::Down)
        } else if up == 0 || ejected * 100 > max_percent * (up + ejected) {
            Some(Panic::Ejected)
        } else {
            None
        };
        let on_backups = primaries.usable(panic) == 0 && backups.usable(panic) > 0;
        Condition { panic, on_backups }
    }
}

/// The servers one connection may be sent to. What is asked twice may be answered differently:
/// standings change meanwhile.
pub(super) struct Candidates<'p> {
    pool: &'p Pool,
    tried: &'p Tried,
    random: u64,
    now_ms: u64,
    panic: OnceCell<Option<Panic>>,
}

impl<'p> Candidates<'p> {
    pub(super) fn new(pool: &'p Pool, tried: &'p Tried, random: u64, now_ms: u64) -> Self {
        Self { pool, tried, random, now_ms, panic: OnceCell::new() }
    }

    fn standing(&self, server: ServerIndex) -> Standing {
        self.pool.server(server).standing(self.now_ms)
    }

    fn panic(&self) -> Option<Panic> {
        *self.panic.get_or_init(|| self.pool.condition(self.now_ms).panic)
    }

    fn counts(&self, standing: Standing) -> bool {
        match standing {
            Standing::Up { .. } => true,
            Standing::Ejected { .. } => self.panic().is_some(),
            Standing::Down => self.panic() == Some(Panic::Down),
        }
    }

    /// Not tried, not taken out of service, and up or counted as such.
    pub(super) fn is_usable(&self, server: ServerIndex) -> bool {
        let in_service = self.pool.server(server).duty != Duty::Down;
        in_service && !self.tried.contains(server) && self.counts(self.standing(server))
    }

    /// The same, and in its slow start by the luck of the draw.
    pub(super) fn is_admitted(&self, server: ServerIndex) -> bool {
        if self.tried.contains(server) {
            return false;
        }
        let standing = self.standing(server);
        let percent = standing.share_percent(self.now_ms, self.pool.spec.slow_start_ms);
        self.counts(standing) && (percent == 100 || self.draw(server) < percent)
    }

    /// It may have another session, for all that is known.
    pub(super) fn has_room(&self, server: ServerIndex) -> bool {
        !self.pool.limits.is_on() || self.pool.server(server).state.count.room() > 0
    }

    /// Not tried, and not known to be down: better than nobody.
    pub(super) fn is_left(&self, server: ServerIndex) -> bool {
        let is_known_down = || self.standing(server) == Standing::Down;
        !self.tried.contains(server) && (!is_known_down() || self.is_usable(server))
    }

    /// 0 to 99, another for each server.
    fn draw(&self, server: ServerIndex) -> u64 {
        // The upper half only: what is lost of the number is nothing a remainder would miss.
        (mixed(self.random ^ u64::from(server.0) << 32) >> 32) % 100
    }
}
