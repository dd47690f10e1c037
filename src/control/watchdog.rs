//! Signs of life for the service manager, and a line about how it goes.
//!
//! A sign is given only while every worker makes progress, so that the manager starts ringway anew
//! where one hangs. Each is asked by an order, and answers by dropping what it was given: no word
//! of it reaches the data path. It may take nearly as long as the manager waits, so a machine that
//! is merely busy raises no alarm.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::supervisor::Service;
use crate::worker::{Order, Orders, Shared};

/// Seconds between looks at how it goes.
const STATUS_S: u64 = 5;

/// Signs in the time that the manager waits for one, as it recommends (sd_watchdog_enabled(3)).
const SIGNS: u32 = 2;

/// Looks in that time at a worker that has not answered when it should have.
const LOOKS: u32 = 16;

/// Tells how it goes, for as long as ringway runs.
pub(super) async fn tell_status(service: &Service, shared: &Shared) {
    if !service.is_heard() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(Duration::from_secs(STATUS_S)).await;
        service.look(shared);
    }
}

/// Gives signs of life, for as long as there is any.
pub(super) async fn show_life(service: &Service, orders: Vec<Orders>) {
    let Some(watchdog_us) = service.watchdog_us() else { return std::future::pending().await };
    let patience = Duration::from_micros(watchdog_us);
    loop {
        service.alive();
        let questions: Vec<_> = orders.iter().map(ask).collect();
        tokio::time::sleep(patience / SIGNS).await;
        let late = unanswered(&questions);
        if late.is_empty() {
            continue;
        }
        warn!(workers = ?late, "no answer; the service manager ends ringway if none comes");
        while !unanswered(&questions).is_empty() {
            tokio::time::sleep(patience / LOOKS).await;
        }
        info!(workers = ?late, "answered");
    }
}

/// A worker that has ended drops its orders, which is an answer too.
fn ask(worker: &Orders) -> Arc<()> {
    let question = Arc::new(());
    worker.give(Order::Answer(Arc::clone(&question)));
    question
}

/// Numbers of workers that hold what they were given.
fn unanswered(questions: &[Arc<()>]) -> Vec<usize> {
    let held = questions.iter().enumerate().filter(|(_, question)| Arc::strong_count(question) > 1);
    held.map(|(number, _)| number).collect()
}
