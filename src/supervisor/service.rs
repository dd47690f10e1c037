//! What the service manager is told of ringway's life (sd_notify(3)): ready, reloading, ready
//! again, stopping, and in one line how it goes. Without a manager nobody is told anything.
//!
//! A reload that was refused ends like any other, since ringway serves on; the line says what was
//! wrong until a later one succeeds.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use tracing::warn;

use crate::metrics::Counters;
use crate::pool::{Pool, Standing};
use crate::sys::clock;
use crate::sys::notify::Notify;
use crate::worker::Shared;

/// Microseconds beyond those a drain may take until ringway has ended: more than closing what is
/// left and writing the last lines takes.
const END_US: u64 = 10_000_000;

/// The manager, and what it has been told.
pub(crate) struct Service {
    notify: Notify,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    /// The line about how it goes.
    status: String,
    /// What was wrong with the last reload, if anything was.
    refused: Option<String>,
    /// Told that ringway ends.
    stopping: bool,
    /// True exactly when the last datagram could not be sent.
    lost: bool,
}

impl Service {
    /// Whoever the environment names. One that cannot be reached is no reason not to serve.
    pub(super) fn of_environment() -> Self {
        let notify = Notify::from_environment().unwrap_or_else(|error| {
            warn!(%error, "NOTIFY_SOCKET: the service manager is told nothing");
            Notify::nobody()
        });
        Self { notify, told: Mutex::default() }
    }

    /// Whether anybody is told.
    pub(crate) fn is_heard(&self) -> bool {
        self.notify.is_heard()
    }

    /// Microseconds that may pass between two signs of life, where the manager wants any.
    pub(crate) fn watchdog_us(&self) -> Option<u64> {
        self.notify.watchdog_us()
    }

    /// Clients are served, and signals heard.
    pub(crate) fn ready(&self, shared: &Shared) {
        self.tell_status("READY=1\n", shared);
    }

    /// A configuration is about to be read.
    pub(crate) fn reloading(&self) {
        if self.told().stopping {
            return;
        }
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}\n", clock::machine_us()));
    }

    /// It is in force, or something speaks against it.
    pub(crate) fn reloaded(&self, refused: Option<String>, shared: &Shared) {
        if self.told().stopping {
            return;
        }
        self.told().refused = refused.map(|why| why.replace('\n', " "));
        self.tell_status("READY=1\n", shared);
    }

    /// No new clients; sessions may take this long to end.
    pub(super) fn stopping(&self, drain_us: u64, shared: &Shared) {
        if std::mem::replace(&mut self.told().stopping, true) {
            return;
        }
        let extend_us = drain_us + END_US;
        self.tell_status(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={extend_us}\n"), shared);
    }

    /// How it goes, if that has changed.
    pub(crate) fn look(&self, shared: &Shared) {
        let (status, told) = (self.status(shared), self.told().status.clone());
        if status != told {
            self.tell_status("", shared);
        }
    }

    /// Every worker makes progress.
    pub(crate) fn alive(&self) {
        self.tell("WATCHDOG=1\n");
    }

    fn tell_status(&self, lines: &str, shared: &Shared) {
        let status = self.status(shared);
        self.tell(&format!("{lines}STATUS={status}\n"));
        self.told().status = status;
    }

    /// One line, and never in anybody's way: what cannot be sent is said once.
    fn tell(&self, lines: &str) {
        let result = self.notify.tell(lines);
        let was_lost = std::mem::replace(&mut self.told().lost, result.is_err());
        if let Err(error) = result
            && !was_lost
        {
            warn!(%error, "the service manager cannot be told");
        }
    }

    fn status(&self, shared: &Shared) -> String {
        let sessions: u64 = shared.counters.iter().map(Counters::live).sum();
        let (now_ms, edition) = (shared.clock.now_ms(), shared.edition());
        let servers = edition.pools.iter().flat_map(Pool::servers);
        let standings: Vec<_> = servers
            .filter(|server| !server.leaving)
            .map(|server| matches!(server.standing(now_ms), Standing::Up { .. }))
            .collect();
        let up = standings.iter().filter(|&&is_up| is_up).count();
        let told = self.told();
        let doing = if told.stopping { "draining" } else { "serving" };
        let mut status =
            format!("{doing}: {sessions} sessions, {up} of {} servers up", standings.len());
        if let Some(why) = &told.refused {
            let _ = write!(status, "; the last reload was refused: {why}");
        }
        status
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
