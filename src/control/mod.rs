//! The control thread: signals, log lines, sweeping. The only place for async/await; it never
//! touches the data path.
//!
//! Runs on tokio-uring's runtime: what it reads goes through a ring of its own, and tokio's timers
//! and signals work there too.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal as on_signal};
use tracing::{debug, info};

use crate::log::{self, Record};
use crate::sys::mailbox::Mailbox;
use crate::worker::Shared;

/// Seconds between sweeps of the learned keys.
const SWEEP_S: u64 = 5;

/// Ready once SIGTERM or SIGINT has come.
async fn signal() -> io::Result<()> {
    let mut terminate = on_signal(SignalKind::terminate())?;
    let mut interrupt = on_signal(SignalKind::interrupt())?;
    let signal = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    info!(%signal, "stopping");
    Ok(())
}

/// Serves until SIGTERM, SIGINT, or the failure of a worker. `mailbox` is rung when `records` has
/// something.
pub(crate) fn run(
    shared: &Shared,
    records: &Receiver<Vec<Record>>,
    mailbox: Mailbox,
) -> io::Result<()> {
    tokio_uring::start(async {
        tokio::select! {
            result = signal() => result,
            result = write_lines(shared, records, mailbox) => result,
            () = sweep(shared) => Ok(()),
        }
    })
}

async fn write_lines(
    shared: &Shared,
    records: &Receiver<Vec<Record>>,
    mailbox: Mailbox,
) -> io::Result<()> {
    let mailbox = tokio_uring::fs::File::from_std(mailbox.into_file()?);
    let mut count = vec![0; 8];
    loop {
        // Empties the counter before the records are taken, so that what comes meanwhile rings
        // again. An event counter has no offset; 0 is ignored.
        let (result, buffer) = mailbox.read_at(count, 0).await;
        result?;
        count = buffer;
        log::all_of(records, &shared.config, &shared.pools);
        if shared.failed.load(Ordering::Acquire) {
            // The supervisor stops the others and says what it was.
            return Ok(());
        }
    }
}

async fn sweep(shared: &Shared) {
    loop {
        tokio::time::sleep(Duration::from_secs(SWEEP_S)).await;
        for pool in &shared.pools {
            let forgotten = pool.sweep(shared.clock.now_ms());
            if forgotten > 0 {
                debug!(pool = pool.name(), forgotten, kept = pool.learned(), "learned keys");
            }
        }
    }
}
