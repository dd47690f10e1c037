//! Keeps watch over servers: makes the checks that pools ask for, has sessions of servers that are
//! down closed, and says in the log whatever changes.
//!
//! Checks and their verdicts are in `probe` and `rounds`; what sessions have done (ejections) is
//! seen by looking, in `watch`. Nothing here decides where a connection goes.

mod probe;
mod rounds;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{info, warn};

use super::notices::Notices;
use crate::config::{OnDown, PoolIndex};
use crate::edition::Edition;
use crate::pool::{ServerIndex, Verdict};
use crate::random::Random;
use crate::sys::clock;
use crate::worker::inquiry::{Ask, Filter, Inquiry, Pace, Why};
use crate::worker::{Order, Orders, Shared};
use rounds::{Change, Rounds, Serial};
use watch::Watch;

/// Milliseconds between looks at what sessions have done, and at which edition is in force. An
/// ejection takes a second at least, so none is missed.
const LOOK_MS: u64 = 250;

/// Milliseconds between looks at which checks are due: they are begun together.
const BEAT_MS: u64 = 10;

/// Checks under way at once; those that are due meanwhile wait. One takes a descriptor and, of a
/// server that answers at length, up to 80 KiB.
const PROBES_MAX: usize = 512;

/// Serves for as long as the control thread does.
pub(super) async fn keep(shared: &Shared, orders: Vec<Orders>, notices: &Notices) {
    let mut probes = JoinSet::new();
    let mut keeper = Keeper::new(shared, orders, notices);
    let mut look_at_ms = 0;
    loop {
        keeper.follow();
        let now_ms = shared.clock.now_ms();
        if look_at_ms <= now_ms {
            look_at_ms = now_ms + LOOK_MS;
            keeper.watch.look(&keeper.edition, notices, now_ms);
        }
        while probes.len() < PROBES_MAX
            && let Some((serial, probe)) = keeper.rounds.next_due(now_ms)
        {
            probes.spawn(async move { (serial, probe.run().await) });
        }
        let is_full = probes.len() >= PROBES_MAX;
        let due_ms = keeper.rounds.due_ms().filter(|_| !is_full);
        let due_ms = due_ms.map_or(look_at_ms, |at_ms| at_ms.max(now_ms + BEAT_MS));
        let wait_ms = due_ms.min(look_at_ms) - now_ms;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
            Some(ended) = probes.join_next() => {
                keeper.follow();
                let mut ended = Some(ended);
                while let Some(result) = ended {
                    let (serial, said) = result.expect("a check does not panic");
                    keeper.conclude(serial, said);
                    ended = probes.try_join_next();
                }
            }
        }
    }
}

struct Keeper<'s> {
    shared: &'s Shared,
    /// By worker.
    orders: Vec<Orders>,
    notices: &'s Notices,
    edition: Arc<Edition>,
    rounds: Rounds,
    watch: Watch,
    random: Random,
}

impl<'s> Keeper<'s> {
    fn new(shared: &'s Shared, orders: Vec<Orders>, notices: &'s Notices) -> Self {
        let edition = shared.edition();
        let (mut rounds, mut watch) = (Rounds::default(), Watch::default());
        let mut random = Random::new(clock::seed());
        rounds.follow(&edition, shared.clock.now_ms(), &mut random);
        watch.follow(None, &edition);
        Self { shared, orders, notices, edition, rounds, watch, random }
    }

    /// Goes on with the edition in force.
    fn follow(&mut self) {
        let edition = self.shared.edition();
        if edition.number == self.edition.number {
            return;
        }
        self.rounds.follow(&edition, self.shared.clock.now_ms(), &mut self.random);
        self.watch.follow(Some(&self.edition), &edition);
        self.notices.follow(&edition);
        self.edition = edition;
    }

    /// A check is over.
    fn conclude(&mut self, serial: Serial, said: Result<(), String>) {
        let now_ms = self.shared.clock.now_ms();
        let is_good = said.is_ok();
        let change = self.rounds.record(serial, is_good, now_ms, &mut self.random);
        let Some(Change { pool: index, server: at, verdict, count }) = change else { return };
        let pool = self.edition.pool_at(index);
        let server = pool.server(at);
        pool.judge(at, verdict, now_ms);
        self.watch.told(index, at, server.standing(now_ms));
        let checks = if count == 1 { "check" } else { "checks" };
        let (name, server) = (pool.name(), &server.address);
        match said {
            Ok(()) => {
                let cause = format!("{count} {checks} passed");
                info!(%server, pool = %name, state = %"up", cause, "health");
                self.notices.health(name, &server.to_string(), "up", &cause);
            }
            Err(why) => {
                let cause = format!("{count} {checks} failed: {why}");
                warn!(%server, pool = %name, state = %"down", cause, "health");
                self.notices.health(name, &server.to_string(), "down", &cause);
            }
        }
        self.watch.look(&self.edition, self.notices, now_ms);
        if let (Verdict::Down, OnDown::Close { per_s }) = (verdict, pool.spec().on_down) {
            self.close_sessions(index, at, per_s);
        }
    }

    /// Each worker closes its part of them, in turn with the others.
    fn close_sessions(&self, pool: PoolIndex, server: ServerIndex, per_s: u32) {
        let edition = &self.edition;
        let of = edition.pool_at(pool);
        let filter = Arc::new(Filter {
            pool: Some(of.name().to_owned()),
            server: Some(of.server(server).address.clone()),
            ..Filter::default()
        });
        let pace = Arc::new(Pace::new(per_s, self.shared.clock.now_us()));
        for orders in &self.orders {
            let why = Why::ServerDown { edition: Arc::clone(edition), pool, server };
            let ask = Ask::Close { why, pace: Arc::clone(&pace) };
            let filter = Arc::clone(&filter);
            orders.give(Order::Inquire(Inquiry { filter, ask, reply: None }));
        }
    }
}
