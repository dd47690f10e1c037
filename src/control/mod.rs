//! The control thread: signals, reloads, log lines, sweeping, the health of servers, signs of life.
//! The only place for async/await; it never touches the data path.
//!
//! Runs on tokio-uring's runtime: what it reads goes through a ring of its own, and tokio's timers
//! and signals work there too. Beside workers on epoll it runs on tokio's, the same but for that.

mod health;
pub mod inquiries;
mod mail;
mod shortages;
mod watchdog;

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal as on_signal};
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{debug, info};

use crate::log::{self, Batch};
use crate::supervisor::{Prepared, Refused, Supervisor};
use crate::sys::choice::EngineKind;
use crate::sys::mailbox::Mailbox;
use crate::sys::signal;
use crate::worker::Shared;
use crate::worker::inquiry::Answer;
use inquiries::Inquiries;
use mail::Mail;

/// Seconds between sweeps of the learned keys.
const SWEEP_S: u64 = 5;

/// Serves until every worker has ended, one of them has failed, or everything is to end at once.
/// `mailbox` is rung when `records` has something, and when a worker ends.
pub(crate) fn run(
    supervisor: &mut Supervisor,
    records: &Receiver<Batch>,
    mailbox: Mailbox,
) -> io::Result<()> {
    let shared = supervisor.shared().clone();
    let (engine, orders) = (supervisor.engine(), supervisor.orders());
    let service = supervisor.service().clone();
    let (inquiries, answers) = Inquiries::new(orders.clone());
    let incoming = Incoming { records, inquiries: &inquiries, answers: &answers };
    let serve = async {
        let mail = Mail::open(mailbox, engine)?;
        // Signals that come from here on wait until they are listened to.
        service.ready(&shared);
        tokio::select! {
            result = obey(supervisor) => result,
            result = take_in(&shared, &incoming, mail) => result,
            () = sweep(&shared) => Ok(()),
            () = shortages::tell(&shared) => Ok(()),
            () = health::keep(&shared, orders.clone()) => Ok(()),
            () = watchdog::tell_status(&service, &shared) => Ok(()),
            () = watchdog::show_life(&service, orders) => Ok(()),
        }
    };
    match engine {
        EngineKind::IoUring => tokio_uring::start(serve),
        // tokio-uring panics where it gets no ring.
        EngineKind::Epoll => Builder::new_current_thread().enable_all().build()?.block_on(serve),
    }
}

/// SIGTERM drains, a second one and SIGINT end everything at once, SIGHUP reloads.
async fn obey(supervisor: &mut Supervisor) -> io::Result<()> {
    let mut terminate = on_signal(SignalKind::terminate())?;
    let mut interrupt = on_signal(SignalKind::interrupt())?;
    let mut hang_up = on_signal(SignalKind::hangup())?;
    signal::let_through()?;
    let mut reloading: Option<JoinHandle<Result<Prepared, Refused>>> = None;
    let mut once_more = false;
    loop {
        tokio::select! {
            _ = terminate.recv() => {
                info!(signal = "SIGTERM", "stopping");
                supervisor.drain();
            }
            _ = interrupt.recv() => {
                info!(signal = "SIGINT", "stopping");
                return Ok(());
            }
            _ = hang_up.recv() => {
                info!(signal = "SIGHUP", "reloading");
                once_more = reloading.is_some();
                if !once_more {
                    reloading = prepare(supervisor);
                }
            }
            prepared = finished(&mut reloading), if !supervisor.is_closing() => {
                supervisor.reload(prepared);
                // What was read may be older than the last signal.
                reloading = if std::mem::take(&mut once_more) { prepare(supervisor) } else { None };
            }
            () = has_left(supervisor) => supervisor.forget(),
        }
    }
}

/// Starts to read the configuration again, on a thread that may wait.
fn prepare(supervisor: &Supervisor) -> Option<JoinHandle<Result<Prepared, Refused>>> {
    let (again, service) = (supervisor.again(), supervisor.service());
    service.reloading();
    if again.is_none() {
        info!("there is no configuration to read again");
        service.reloaded(None, supervisor.shared());
    }
    again.map(|again| spawn_blocking(move || Prepared::new(&again)))
}

/// Ready when what is being prepared is; never where nothing is.
async fn finished(
    reloading: &mut Option<JoinHandle<Result<Prepared, Refused>>>,
) -> Result<Prepared, Refused> {
    match reloading {
        Some(task) => task.await.expect("reading a configuration does not panic"),
        None => std::future::pending().await,
    }
}

/// Ready when a listener has had the time to leave.
async fn has_left(supervisor: &Supervisor) {
    let Some(at_ms) = supervisor.next_ms() else { return std::future::pending().await };
    let wait_ms = at_ms.saturating_sub(supervisor.shared().clock.now_ms());
    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
}

/// What workers send.
struct Incoming<'i> {
    records: &'i Receiver<Batch>,
    inquiries: &'i Inquiries,
    answers: &'i Receiver<Answer>,
}

async fn take_in(shared: &Shared, incoming: &Incoming<'_>, mut mail: Mail) -> io::Result<()> {
    loop {
        mail.rung().await?;
        log::all_of(incoming.records);
        incoming.inquiries.hand_on(incoming.answers);
        let has_failed = shared.failed.load(Ordering::Acquire);
        if has_failed || shared.running.load(Ordering::Acquire) == 0 {
            // The supervisor stops those that are left and says what it was.
            return Ok(());
        }
    }
}

async fn sweep(shared: &Shared) {
    loop {
        tokio::time::sleep(Duration::from_secs(SWEEP_S)).await;
        for pool in &shared.edition().pools {
            let forgotten = pool.sweep(shared.clock.now_ms());
            if forgotten > 0 {
                debug!(pool = pool.name(), forgotten, kept = pool.learned(), "learned keys");
            }
        }
    }
}
