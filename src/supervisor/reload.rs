//! A configuration takes the place of the one in force, while everything goes on.
//!
//! First everything that can fail: reading, looking up, binding. Only when all of it has succeeded
//! does anything change; until then the configuration in force stays, whatever is wrong.

use std::sync::Arc;

use tracing::{error, info, warn};

use super::{Again, Failed, Supervisor, lookup, rights};
use crate::config::{Config, Problems};
use crate::edition::Edition;
use crate::pool::ServerSpec;
use crate::sys::clock;
use crate::worker::{Order, Reload};

/// A configuration that has been read and looked up.
pub(crate) struct Prepared {
    config: Config,
    servers: Vec<Vec<ServerSpec>>,
}

/// What speaks against a reload.
pub(crate) enum Refused {
    Problems(Problems),
    Failures(Vec<Failed>),
}

impl Prepared {
    /// Reads and looks up, which may take its time.
    pub(crate) fn new(again: &Again) -> Result<Self, Refused> {
        let checked = again().map_err(Refused::Problems)?;
        for warning in &checked.warnings {
            warn!("{warning}");
        }
        let config = checked.config;
        let servers = lookup::look_up(&config).map_err(Refused::Failures)?;
        Ok(Self { config, servers })
    }
}

impl Supervisor {
    /// What reads the configuration again; `None` where it was not read from anywhere.
    pub(crate) fn again(&self) -> Option<Again> {
        self.again.clone()
    }

    /// Puts what was prepared in force, or says everything that speaks against it.
    pub(crate) fn reload(&mut self, prepared: Result<Prepared, Refused>) {
        if self.draining {
            return;
        }
        match prepared.and_then(|prepared| self.replace(prepared).map_err(Refused::Failures)) {
            Ok(edition) => {
                let (listeners, pools) = (edition.config.listeners.len(), edition.pools.len());
                info!(edition = edition.number, listeners, pools, "reloaded");
                self.service.reloaded(None, &self.shared);
            }
            Err(refused) => {
                refused.tell();
                self.service.reloaded(refused.first(), &self.shared);
            }
        }
    }

    fn replace(&mut self, prepared: Prepared) -> Result<Arc<Edition>, Vec<Failed>> {
        let Prepared { config, servers } = prepared;
        let before = self.shared.edition();
        if config.workers != before.config.workers {
            warn!("workers: takes effect with a restart");
        }
        rights::warn_changed(&before.config, &config);
        let plan = self.listeners.plan(&config, self.workers.len())?;
        let now_ms = self.shared.clock.now_ms();
        let (placements, arriving) = self.listeners.adopt(plan, &config, now_ms);
        self.listeners.announce(&arriving);
        let known = self.peers.len();
        let (seed, workers, peers) = (clock::seed(), self.workers.len(), &mut self.peers);
        let edition = Edition::succeeding(Some(&before), config, servers, peers, seed, workers);
        let edition = Arc::new(edition);
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
