//! The control thread: signals, reloads, log lines, sweeping, the health of servers, signs of life,
//! the admin endpoint. The only place for async/await; it never touches the data path.
//!
//! Runs on tokio-uring's runtime: what it reads goes through a ring of its own, and tokio's timers
//! and signals work there too. Beside workers on epoll it runs on tokio's, the same but for that.

pub mod admin;
mod health;
pub mod inquiries;
mod lines;
mod mail;
mod notices;
mod reloading;
mod shortages;
mod watchdog;

use std::future::pending;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal as on_signal};
use tokio::sync::mpsc;
use tracing::{debug, info};

use crate::supervisor::{Endpoint, Supervisor};
use crate::sys::choice::EngineKind;
use crate::sys::clock;
use crate::sys::mailbox::Mailbox;
use crate::sys::signal;
use crate::worker::Shared;
use crate::worker::inquiry::Answer;
use admin::views::Facts;
use admin::{Command, Desk};
use inquiries::Inquiries;
use mail::Mail;
use notices::Notices;
use reloading::Reloading;

pub(crate) use lines::{Lines, Target};

/// Seconds between sweeps of the learned keys.
const SWEEP_S: u64 = 5;

/// Serves until every worker has ended, one of them has failed, or everything is to end at once.
/// `mailbox` is rung when there is something to write, and when a worker ends. `ready` is called
/// once signals are heard, and no descriptor is missing that this thread cannot do without.
pub(crate) fn run(
    supervisor: &mut Supervisor,
    mailbox: Mailbox,
    ready: impl FnOnce(&Supervisor),
) -> io::Result<()> {
    let shared = supervisor.shared().clone();
    let (engine, orders) = (supervisor.engine(), supervisor.orders());
    let service = supervisor.service().clone();
    let (inquiries, answers) = Inquiries::new(orders.clone());
    let lines = Rc::clone(supervisor.lines());
    let incoming = Incoming { lines: &lines, inquiries: &inquiries, answers: &answers };
    let notices = Arc::new(Notices::new(shared.clock));
    let (to_commands, commands) = mpsc::channel(admin::COMMANDS_MAX);
    let desk = desk(supervisor, &notices, &inquiries, to_commands);
    let serve = async {
        let mail = Mail::open(mailbox, engine)?;
        let signals = Signals::listen()?;
        let mut writing = pin!(lines.write(engine));
        ready(supervisor);
        service.ready(&shared);
        let mut endpoint = supervisor.take_admin();
        let result = tokio::select! {
            result = obey(supervisor, signals, commands) => result,
            result = take_in(&shared, &incoming, mail) => result,
            () = sweep(&shared) => Ok(()),
            () = shortages::tell(&shared) => Ok(()),
            () = lines.tell_losses() => Ok(()),
            () = health::keep(&shared, orders.clone(), &notices) => Ok(()),
            () = watchdog::tell_status(&service, &shared) => Ok(()),
            () = watchdog::show_life(&service, orders) => Ok(()),
            result = answer(endpoint.as_mut(), desk) => result,
            () = &mut writing => Ok(()),
        };
        lines.settle(writing).await;
        result
    };
    match engine {
        EngineKind::IoUring => tokio_uring::start(serve),
        // tokio-uring panics where it gets no ring.
        EngineKind::Epoll => {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let result = runtime.block_on(serve);
            // A thread that still waits for somebody to read is not waited for.
            runtime.shutdown_background();
            result
        }
    }
}

/// What the admin endpoint works with.
fn desk(
    supervisor: &Supervisor,
    notices: &Arc<Notices>,
    inquiries: &Inquiries,
    commands: mpsc::Sender<Command>,
) -> Arc<Desk> {
    let shared = supervisor.shared().clone();
    let facts = Facts {
        started_ms: clock::wall_ms().saturating_sub(shared.clock.now_ms()),
        engine: supervisor.engine().as_str(),
        cores: supervisor.cores(),
        ports_per_source: supervisor.ports_per_source(),
    };
    let (again, set_level) = (supervisor.again(), supervisor.set_level());
    let (notices, inquiries) = (Arc::clone(notices), inquiries.clone());
    let readers = Desk::readers();
    Arc::new(Desk { shared, facts, notices, inquiries, commands, again, set_level, readers })
}

/// Answers at the admin endpoint, where there is one.
async fn answer(endpoint: Option<&mut Endpoint>, desk: Arc<Desk>) -> io::Result<()> {
    match endpoint {
        Some(endpoint) => admin::serve(endpoint, desk).await,
        None => pending().await,
    }
}

/// What the control thread is told by signals.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    renamed: Signal,
}

impl Signals {
    /// From now on; those that were held back come first.
    fn listen() -> io::Result<Self> {
        let signals = Self {
            terminate: on_signal(SignalKind::terminate())?,
            interrupt: on_signal(SignalKind::interrupt())?,
            hang_up: on_signal(SignalKind::hangup())?,
            renamed: on_signal(SignalKind::user_defined1())?,
        };
        signal::let_through()?;
        Ok(signals)
    }
}

/// SIGTERM drains, a second one and SIGINT end everything at once, SIGHUP reloads, SIGUSR1 opens
/// the file of the access log again; and what comes by the admin endpoint.
async fn obey(
    supervisor: &mut Supervisor,
    mut signals: Signals,
    mut commands: mpsc::Receiver<Command>,
) -> io::Result<()> {
    let mut reloading = Reloading::default();
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => {
                info!(signal = "SIGTERM", "stopping");
                supervisor.drain();
            }
            _ = signals.interrupt.recv() => {
                info!(signal = "SIGINT", "stopping");
                return Ok(());
            }
            _ = signals.hang_up.recv() => {
                info!(signal = "SIGHUP", "reloading");
                reloading.ask(supervisor, None);
            }
            _ = signals.renamed.recv() => supervisor.lines().reopen(),
            Some(command) = commands.recv() => match command {
                // Who asked may have gone.
                Command::Change { ask, answer } => drop(answer.send(supervisor.change(&ask))),
                Command::Reload { answer } => reloading.ask(supervisor, Some(answer)),
            },
            prepared = reloading.prepared(), if !supervisor.is_closing() => {
                let result = supervisor.reload(prepared);
                reloading.finish(supervisor, &result);
            }
            () = has_left(supervisor) => supervisor.forget(),
        }
    }
}

/// Ready when a listener has had the time to leave.
async fn has_left(supervisor: &Supervisor) {
    let Some(at_ms) = supervisor.next_ms() else { return pending().await };
    let wait_ms = at_ms.saturating_sub(supervisor.shared().clock.now_ms());
    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
}

/// What workers send.
struct Incoming<'i> {
    lines: &'i Lines,
    inquiries: &'i Inquiries,
    answers: &'i Receiver<Answer>,
}

async fn take_in(shared: &Shared, incoming: &Incoming<'_>, mut mail: Mail) -> io::Result<()> {
    loop {
        mail.rung().await?;
        incoming.lines.wake();
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
