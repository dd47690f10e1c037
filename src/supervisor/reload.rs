//! A configuration takes the place of the one in force, or a change of servers is added to it,
//! while everything goes on.
//!
//! First everything that can fail: reading, looking up, binding. Only when all of it has succeeded
//! does anything change; until then the configuration in force stays, whatever is wrong.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{error, info, warn};

use super::{Again, Ask, Changes, Denied, Failed, Supervisor, lookup, open_log, rights};
use crate::config::{Config, Problems};
use crate::control::Target;
use crate::edition::Edition;
use crate::pool::ServerSpec;
use crate::sys::clock;
use crate::worker::{Order, Reload};

/// A configuration that has been read and looked up.
pub(crate) struct Prepared {
    config: Config,
    servers: Vec<Vec<ServerSpec>>,
    /// Where the access log goes from then on; `None`: where it does, also where new sessions are
    /// no longer logged.
    target: Option<Target>,
}

/// What speaks against a reload.
pub(crate) enum Refused {
    Problems(Problems),
    Failures(Vec<Failed>),
}

/// A change that is in force.
pub(crate) struct Changed {
    /// What was in force before, which may still know a server that is gone.
    pub(crate) before: Arc<Edition>,
    /// What is in force now.
    pub(crate) edition: Arc<Edition>,
}

impl Prepared {
    /// Reads, looks up and opens the access log, which may take its time.
    pub(crate) fn new(again: &Again) -> Result<Self, Refused> {
        let checked = again(None).map_err(Refused::Problems)?;
        for warning in &checked.warnings {
            warn!("{warning}");
        }
        let config = checked.config;
        let servers = lookup::look_up(&config).map_err(Refused::Failures)?;
        let target = open_log(&config).map_err(|failed| Refused::Failures(vec![failed]))?;
        let target = config.access_log.is_some().then_some(target);
        Ok(Self { config, servers, target })
    }
}

impl Supervisor {
    /// What reads the configuration again; `None` where it was not read from anywhere.
    pub(crate) fn again(&self) -> Option<Again> {
        self.again.clone()
    }

    /// Puts what was prepared in force and gives the number of its edition, or says everything that
    /// speaks against it.
    ///
    /// # Errors
    /// The same, for whoever asked.
    pub(crate) fn reload(&mut self, prepared: Result<Prepared, Refused>) -> Result<u64, Denied> {
        self.can_change()?;
        match prepared.and_then(|prepared| self.replace(prepared).map_err(Refused::Failures)) {
            Ok(edition) => {
                let (listeners, pools) = (edition.config.listeners.len(), edition.pools.len());
                info!(edition = edition.number, listeners, pools, "reloaded");
                self.service.reloaded(None, &self.shared);
                Ok(edition.number)
            }
            Err(refused) => {
                refused.tell();
                self.service.reloaded(refused.first(), &self.shared);
                Err(refused.denied())
            }
        }
    }

    /// Changes servers, for whoever asks.
    ///
    /// # Errors
    /// What is asked for cannot be.
    pub(crate) fn change(&mut self, ask: &Ask) -> Result<Changed, Denied> {
        self.can_change()?;
        let before = self.shared.edition();
        let mut changes = self.changes.clone();
        changes.take(&before.config, &self.servers, ask)?;
        let (config, servers) = (before.config.clone(), self.servers.clone());
        let prepared = Prepared { config, servers, target: None };
        // Everything it listens on is bound already.
        let failed = |failed: Vec<Failed>| Refused::Failures(failed).denied();
        let edition = self.put_in_force(prepared, changes).map_err(failed)?;
        Ok(Changed { before, edition })
    }

    /// Listeners that have left would be back with another edition.
    fn can_change(&self) -> Result<(), Denied> {
        match self.shared.draining.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(Denied::conflict("ringway is draining: nothing is changed any more")),
        }
    }

    fn replace(&mut self, prepared: Prepared) -> Result<Arc<Edition>, Vec<Failed>> {
        let before = self.shared.edition();
        if prepared.config.workers != before.config.workers {
            warn!("workers: takes effect with a restart");
        }
        rights::warn_changed(&before.config, &prepared.config);
        let mut changes = self.changes.clone();
        let dropped = changes.follow(&prepared.config, &prepared.servers);
        let edition = self.put_in_force(prepared, changes)?;
        for dropped in dropped {
            let (pool, server, change) = (dropped.pool, dropped.server, dropped.change);
            info!(%server, %pool, %change, why = dropped.why, "dropped");
        }
        Ok(edition)
    }

    fn put_in_force(
        &mut self,
        prepared: Prepared,
        changes: Changes,
    ) -> Result<Arc<Edition>, Vec<Failed>> {
        let Prepared { config, servers, target } = prepared;
        let before = self.shared.edition();
        let plan = self.listeners.plan(&config, self.workers.len())?;
        let now_ms = self.shared.clock.now_ms();
        let (placements, arriving) = self.listeners.adopt(plan, &config, now_ms);
        self.listeners.announce(&arriving);
        if let Some(target) = target {
            self.lines.redirect(target);
        }
        let known = self.peers.len();
        let specs = changes.apply(&config, &servers);
        let (seed, workers, peers) = (clock::seed(), self.workers.len(), &mut self.peers);
        let edition = Edition::succeeding(Some(&before), config, specs, peers, seed, workers);
        let bound = self.listeners.bound();
        let edition = Arc::new(Edition { changes: changes.clone(), bound, ..edition });
        (self.servers, self.changes) = (servers, changes);
        self.shared.put_in_force(Arc::clone(&edition));
        for (number, worker) in self.workers.iter().enumerate() {
            let sockets = self.listeners.of_worker(number, &arriving);
            let sent = worker.post.send(&sockets).map_err(|why| Failed {
                what: format!("worker {number}: listening sockets cannot be sent"),
                why,
            });
            let arriving = if sent.is_ok() { arriving.clone() } else { Vec::new() };
            if let Err(failed) = sent {
                // Clients of the new listeners that are dealt to this worker wait in vain.
                error!("{failed}");
            }
            worker.order(Order::Reload(Box::new(Reload {
                edition: Arc::clone(&edition),
                peers: self.peers.from(known).to_vec(),
                placements: placements.clone(),
                arriving,
            })));
        }
        Ok(edition)
    }
}

impl Refused {
    /// One of the problems, as there is room for in a line.
    fn first(&self) -> Option<String> {
        match self {
            Self::Problems(problems) => problems.0.first().map(ToString::to_string),
            Self::Failures(failures) => failures.first().map(ToString::to_string),
        }
    }

    /// For whoever asked.
    fn denied(&self) -> Denied {
        let problems: Vec<String> = match self {
            Self::Problems(problems) => problems.0.iter().map(ToString::to_string).collect(),
            Self::Failures(failures) => failures.iter().map(ToString::to_string).collect(),
        };
        let text = "not reloaded: the configuration in force stays";
        Denied { problems, ..Denied::conflict(text) }
    }

    /// A line for each problem.
    fn tell(&self) {
        match self {
            Self::Problems(problems) => {
                for problem in &problems.0 {
                    error!("{problem}");
                }
            }
            Self::Failures(failures) => {
                for failed in failures {
                    error!("{failed}");
                }
            }
        }
        error!("not reloaded: the configuration in force stays");
    }
}
