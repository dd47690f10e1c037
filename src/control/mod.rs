//! The control thread: signals, log lines, sweeping. The only place for async/await; it never
//! touches the data path.
//!
//! Runs on tokio-uring's runtime, where tokio's own timers, signals and descriptors work too.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal as on_signal};
use tracing::{debug, info};

use crate::log::{self, Record};
use crate::sys::mailbox::Mailbox;
use crate::worker::Shared;

/// Seconds between sweeps of the learned keys.
const SWEEP_S: u64 = 5;

/// Ready once SIGTERM or SIGINT has come.
pub async fn signal() -> io::Result<()> {
    let mut terminate = on_signal(SignalKind::terminate())?;
    let mut interrupt = on_signal(SignalKind::interrupt())?;
    let signal = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    info!(signal, "stopping");
    Ok(())
}

/// Serves until `stop` is ready. `mailbox` is rung when `records` has something.
pub(crate) fn run(
    shared: Arc<Shared>,
    records: &Receiver<Vec<Record>>,
    mailbox: Mailbox,
    stop: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    tokio_uring::start(async {
        tokio::select! {
            result = stop => result,
            result = write_lines(&shared, records, mailbox) => result,
            () = sweep(&shared) => Ok(()),
        }
    })
}

async fn write_lines(
    shared: &Shared,
    records: &Receiver<Vec<Record>>,
    mailbox: Mailbox,
) -> io::Result<()> {
    let mailbox = AsyncFd::register_with_interest(mailbox, Interest::READABLE)?;
    loop {
        let mut ready = mailbox.readable().await?;
        // Emptied before reading, so that what comes meanwhile rings again.
        mailbox.get_ref().empty();
        ready.clear_ready();
        log::all_of(records, shared);
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
