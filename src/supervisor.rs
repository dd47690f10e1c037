//! From a configuration to running workers, and back: becomes who it is told to, makes the
//! listeners, looks names up, confines itself, starts a worker per core, hands over to the control
//! thread, and stops it all.

mod changes;
mod denied;
mod endpoint;
mod listeners;
mod lookup;
mod reload;
mod rights;
mod service;

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use tracing::level_filters::LevelFilter;
use tracing::{info, warn};

use crate::config::{Address, Checked, Config, LogTo, Problems, Workers};
use crate::control::{self, Lines, Target};
use crate::edition::Edition;
use crate::log::{Batch, Messages};
use crate::metrics::Counters;
use crate::pool::{Peers, ServerSpec};
use crate::session::CloseReason;
use crate::sys::cgroup::{self, Quota};
use crate::sys::choice::EngineKind;
use crate::sys::clock::{self, Clock};
use crate::sys::confine::Sandbox;
use crate::sys::epoll::Epoll;
use crate::sys::mailbox::Mailbox;
use crate::sys::pipes::PIPES_MAX;
use crate::sys::post::Post;
use crate::sys::privileges::{self, Identity};
use crate::sys::ring::Ring;
use crate::sys::seccomp::Thread;
use crate::sys::socket::TcpOptions;
use crate::sys::sources::{self, Uses};
use crate::sys::spares::SPARES_MAX;
use crate::sys::token::SLOTS_MAX;
use crate::sys::{Engine, Fd, affinity, signal, table};
use crate::worker::{ListenerNumber, Order, Orders, Placement, Records, Setup, Shared, Worker};
use listeners::Listeners;

pub(crate) use changes::{Ask, What};
pub use changes::{Change, Changes};
pub(crate) use denied::{Denied, Kind};
pub(crate) use endpoint::Endpoint;
pub(crate) use reload::{Changed, Prepared, Refused};
pub(crate) use service::Service;

/// Descriptors of a worker that are no session's: standard streams, ring, listeners, mailboxes,
/// pipes and spare sockets.
const DESCRIPTORS_KEPT_BACK: u64 = 512;

const _: () = assert!(2 * PIPES_MAX + SPARES_MAX < DESCRIPTORS_KEPT_BACK as usize - 64);

/// Descriptors one session needs: the client's and the server's.
const DESCRIPTORS_PER_SESSION: u64 = 2;

/// Milliseconds between looks whether workers have closed their sockets of a listener that is gone:
/// a turn of theirs takes less, unless others need their cores.
const CLOSING_LOOK_MS: u64 = 1;

/// Batches of log records that may wait for the control thread (64 records each).
const RECORD_BATCHES: usize = 1024;

/// Why something could not be had.
#[derive(Debug)]
pub struct Failed {
    what: String,
    why: io::Error,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// Why ringway did not start, or stopped: everything that was found, a line each.
#[derive(Debug)]
pub struct Failures(Vec<Failed>);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, failed) in self.0.iter().enumerate() {
            let line_end = if number == 0 { "" } else { "\n" };
            write!(f, "{line_end}{failed}")?;
        }
        Ok(())
    }
}

impl Error for Failures {}

impl From<Failed> for Failures {
    fn from(failed: Failed) -> Self {
        Self(vec![failed])
    }
}

fn failed(what: impl fmt::Display) -> impl FnOnce(io::Error) -> Failed {
    move |why| Failed { what: what.to_string(), why }
}

/// Reads the configuration again, or what it would be if a text stood in the place of its file.
pub type Again = Arc<dyn Fn(Option<&str>) -> Result<Checked, Problems> + Send + Sync>;

/// Sets the least level of log lines that are written.
pub type SetLevel = Arc<dyn Fn(LevelFilter) + Send + Sync>;

/// What there is beside a configuration.
#[derive(Default)]
pub struct Given {
    /// Where it was read from; a reload may read the folder.
    pub file: Option<PathBuf>,
    /// Asked at every reload; `None`: there is nothing to read.
    pub again: Option<Again>,
    /// `None`: the log is not ringway's to change.
    pub set_level: Option<SetLevel>,
}

/// Where ringway listens, with real ports.
pub struct Bound {
    /// Names of listeners and their addresses.
    pub listeners: Vec<(String, Address)>,
    /// The admin endpoint's.
    pub admin: Option<Address>,
}

/// Runs until it is told to end by a signal. Once connections are accepted and signals heard,
/// `ready` is told where.
///
/// # Errors
/// A user that cannot be had, names that cannot be looked up, addresses that cannot be listened on
/// (somebody else does, or they are not this host's), a core that is not there, or a kernel that
/// refuses the engine that was asked for.
pub fn run(config: Config, given: Given, ready: impl FnOnce(&Bound)) -> Result<(), Failures> {
    let service = Arc::new(Service::of_environment());
    rights::become_user(&config)?;
    let control_mailbox = Mailbox::new().map_err(failed("mailbox"))?;
    let mut supervisor = Supervisor::start(config, given, service, &control_mailbox)?;
    // Whoever is served may send a signal before the control thread listens.
    signal::hold_back().map_err(failed("signals"))?;
    let identity = privileges::identity();
    supervisor.sandbox.confine(Thread::Control).map_err(failed("sandbox"))?;
    Messages::of_process().keep(control_mailbox.clone());
    let result = control::run(&mut supervisor, control_mailbox, |supervisor| {
        supervisor.announce(&identity);
        ready(&supervisor.bound());
    });
    let (shared, lines) = (Arc::clone(&supervisor.shared), Rc::clone(&supervisor.lines));
    supervisor.service.stopping(0, &shared);
    let stopped = supervisor.stop();
    lines.finish();
    if stopped.is_ok() {
        tell_totals(&shared);
    }
    lines.finish_messages();
    Messages::of_process().write_at_once();
    stopped?;
    Ok(result.map_err(failed("control thread"))?)
}

/// All there is beside the workers' own.
pub(crate) struct Supervisor {
    shared: Arc<Shared>,
    peers: Peers,
    listeners: Listeners,
    /// What workers are closing; they hold it until it is done.
    closing: Vec<Arc<[ListenerNumber]>>,
    workers: Vec<Running>,
    lines: Rc<Lines>,
    again: Option<Again>,
    service: Arc<Service>,
    set_level: Option<SetLevel>,
    /// The servers that the file in force has, by pool.
    servers: Vec<Vec<ServerSpec>>,
    /// What operators have changed of them.
    changes: Changes,
    admin: Option<Endpoint>,
    sandbox: Sandbox,
    engine: EngineKind,
    sessions_max: usize,
    ports_per_source: u32,
}

impl Supervisor {
    fn start(
        config: Config,
        Given { file, again, set_level }: Given,
        service: Arc<Service>,
        control_mailbox: &Mailbox,
    ) -> Result<Self, Failures> {
        let limit = table::raise_descriptor_limit().map_err(failed("limit on descriptors"))?;
        let cores = cores(&config.workers)?;
        let sessions_max = sessions_max(limit);
        let engine = engine(&config);
        let mut listeners = Listeners::new().map_err(Failures)?;
        let admin = config.admin.as_ref().map(Endpoint::open).transpose()?;
        let plan = listeners.plan(&config, cores.len()).map_err(Failures)?;
        let (placements, numbers) = listeners.adopt(plan, &config, 0);
        let servers = lookup::look_up(&config).map_err(Failures)?;
        let target = open_log(&config)?;
        let sandbox = rights::sandbox(&config, file.as_deref())?;
        let (sender, records) = sync_channel(RECORD_BATCHES);
        let mut peers = Peers::default();
        let (seed, workers) = (clock::seed(), cores.len());
        let specs = servers.clone();
        let edition = Edition::succeeding(None, config, specs, &mut peers, seed, workers);
        let bound = listeners.bound();
        let edition = Arc::new(Edition { bound, ..edition });
        let shared = Arc::new(Shared::new(Arc::clone(&edition), cores.len()));
        let mut workers = Vec::new();
        for (number, core) in cores.iter().enumerate() {
            let (orders_to, orders) = channel();
            // At the start every placement is of a new socket, in the same order.
            let sockets = listeners.of_worker(number, &numbers);
            let start = Start {
                number,
                core: *core,
                shared: Arc::clone(&shared),
                edition: Arc::clone(&edition),
                peers: peers.from(0).to_vec(),
                listeners: placements.iter().copied().zip(sockets).collect(),
                mailbox: Mailbox::new().map_err(failed("mailbox"))?,
                orders,
                post: Arc::new(Post::new().map_err(failed("post"))?),
                control_mailbox: control_mailbox.clone(),
                sender: sender.clone(),
                sessions_max,
                descriptors_max: limit,
                sandbox,
                engine,
            };
            workers.push(start.spawn(orders_to)?);
        }
        wait_until_ready(&workers)?;
        let lines = Rc::new(Lines::new(Arc::clone(&shared), records, target));
        Ok(Self {
            shared,
            peers,
            listeners,
            closing: Vec::new(),
            workers,
            lines,
            again,
            service,
            set_level,
            servers,
            changes: Changes::default(),
            admin,
            sandbox,
            engine,
            sessions_max,
            ports_per_source: sources::ports(),
        })
    }

    /// What all workers run on, and what the control thread is to run on.
    pub(crate) fn engine(&self) -> EngineKind {
        self.engine
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whom the service manager hears of this through.
    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// What sets the level of the log.
    pub(crate) fn set_level(&self) -> Option<SetLevel> {
        self.set_level.clone()
    }

    /// The endpoint, for whoever serves it until the end.
    pub(crate) fn take_admin(&mut self) -> Option<Endpoint> {
        self.admin.take()
    }

    /// Ports that one source address has towards one server.
    pub(crate) fn ports_per_source(&self) -> u32 {
        self.ports_per_source
    }

    /// The core of each worker.
    pub(crate) fn cores(&self) -> Vec<u16> {
        self.workers.iter().map(|worker| worker.core).collect()
    }

    fn bound(&self) -> Bound {
        let admin = self.admin.as_ref().map(|admin| admin.address.clone());
        Bound { listeners: self.listeners.bound(), admin }
    }

    /// On their way out.
    pub(crate) fn lines(&self) -> &Rc<Lines> {
        &self.lines
    }

    fn announce(&self, identity: &Identity) {
        if let Some(admin) = &self.admin {
            let has_token = admin.token.is_some();
            info!(address = %admin.address, token = has_token, "admin");
        }
        for (name, address) in &self.listeners.bound() {
            info!(listener = %name, %address, "listening");
        }
        rights::tell(identity, self.sandbox, self.engine);
        let (workers, engine) = (self.workers.len(), self.engine.as_str());
        info!(workers, sessions_per_worker = self.sessions_max, engine, "ready");
    }

    /// No new clients; ends when the last session has ended, or at the deadline. The second time:
    /// ends now.
    pub(crate) fn drain(&mut self) {
        if self.shared.draining.swap(true, Ordering::Relaxed) {
            return self.order_all(|| Order::Stop);
        }
        let Config { drain_timeout_ms, drain_window_ms, .. } = self.shared.edition().config;
        info!(drain_timeout_ms, drain_window_ms, "draining");
        let drain_us = (u64::from(drain_timeout_ms) + u64::from(drain_window_ms)) * 1000;
        self.service.stopping(drain_us, &self.shared);
        self.listeners.leave(self.shared.clock.now_ms());
        let from_us = self.shared.clock.now_us() + u64::from(drain_timeout_ms) * 1000;
        let window_us = u64::from(drain_window_ms) * 1000;
        self.order_all(|| Order::Drain { from_us, window_us });
    }

    /// When a listener has had the time to leave, or when to look whether workers have closed
    /// theirs; `None`: none is leaving.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        let look_ms = self.shared.clock.now_ms() + CLOSING_LOOK_MS;
        let look_ms = (!self.closing.is_empty()).then_some(look_ms);
        [look_ms, self.listeners.next_ms()].into_iter().flatten().min()
    }

    /// Closes listeners that have had the time to leave.
    pub(crate) fn forget(&mut self) {
        self.closing.retain(|numbers| Arc::strong_count(numbers) > 1);
        let numbers: Arc<[_]> = self.listeners.forget(self.shared.clock.now_ms()).into();
        if !numbers.is_empty() {
            self.order_all(|| Order::Forget(Arc::clone(&numbers)));
            self.closing.push(numbers);
        }
    }

    /// True until workers have closed what they were told to: a reload could not bind it again.
    pub(crate) fn is_closing(&self) -> bool {
        !self.closing.is_empty()
    }

    /// What gives orders to each worker.
    pub(crate) fn orders(&self) -> Vec<Orders> {
        self.workers.iter().map(|worker| worker.orders.clone()).collect()
    }

    fn order_all(&self, order: impl Fn() -> Order) {
        self.workers.iter().for_each(|worker| worker.order(order()));
    }

    /// Ends every session now.
    fn stop(self) -> Result<(), Failed> {
        self.order_all(|| Order::Stop);
        for worker in self.workers {
            let ended = worker.thread.join().unwrap_or_else(|_| Err(io::Error::other("panicked")));
            ended.map_err(failed(format_args!("worker {}", worker.number)))?;
        }
        Ok(())
    }
}

/// Where the access log goes: opened before files are out of reach, by who is to write to it.
fn open_log(config: &Config) -> Result<Target, Failed> {
    let log = config.access_log.as_ref();
    let path = match log.map(|log| &log.to) {
        Some(LogTo::File(path)) => path.as_path(),
        _ => Path::new(""),
    };
    Target::open(log).map_err(failed(format_args!("access_log: {}", path.display())))
}

/// The engine of all workers and of the control thread.
fn engine(config: &Config) -> EngineKind {
    let (engine, refused) = EngineKind::choose(config.engine);
    if let Some(why) = refused {
        warn!("{why}; serving with epoll instead: more CPU for the same traffic, else no loss");
    }
    engine
}

/// Sessions a worker can hold with the descriptors it may have.
pub(crate) fn sessions_max(limit: u64) -> usize {
    let sessions = limit.saturating_sub(DESCRIPTORS_KEPT_BACK) / DESCRIPTORS_PER_SESSION;
    usize::try_from(sessions).unwrap_or(SLOTS_MAX).clamp(16, SLOTS_MAX)
}

/// The core of each worker.
fn cores(workers: &Workers) -> Result<Vec<u16>, Failed> {
    let allowed = affinity::allowed_cores().map_err(failed("cores"))?;
    match workers {
        Workers::Auto => Ok(within_quota(allowed, cgroup::limits().cpu)),
        Workers::Count(count) => {
            Ok(allowed.iter().copied().cycle().take((*count).into()).collect())
        }
        Workers::Cores(cores) => {
            if let Some(core) = cores.iter().find(|core| !allowed.contains(core)) {
                let why = format!("this process may run on {allowed:?}");
                let why = io::Error::new(io::ErrorKind::InvalidInput, why);
                return Err(Failed { what: format!("workers: no core {core}"), why });
            }
            Ok(cores.clone())
        }
    }
}

/// As many as a CPU quota keeps busy: with more, all of them stand still together once it is used
/// up, until the next period (cgroups, cpu.max).
fn within_quota(mut cores: Vec<u16>, quota: Option<Quota>) -> Vec<u16> {
    if let Some(quota) = quota.filter(|quota| quota.cores() < cores.len()) {
        let Quota { quota_us, period_us } = quota;
        let (workers, allowed) = (quota.cores(), cores.len());
        info!(workers, cores = allowed, quota_us, period_us, "fewer workers for a CPU quota");
        cores.truncate(workers);
    }
    cores
}

/// For all of them, also where one has failed: a worker that is still at its start shares sockets
/// with this thread, and where it let go of them last it would close numbers that its own table
/// does not have.
fn wait_until_ready(workers: &[Running]) -> Result<(), Failed> {
    let ready: Vec<_> = workers.iter().map(Running::wait_until_ready).collect();
    ready.into_iter().collect()
}

/// What a worker thread is given.
struct Start {
    number: usize,
    core: u16,
    shared: Arc<Shared>,
    edition: Arc<Edition>,
    peers: Vec<Address>,
    listeners: Vec<(Placement, i32)>,
    mailbox: Mailbox,
    orders: Receiver<Order>,
    post: Arc<Post>,
    control_mailbox: Mailbox,
    sender: SyncSender<Batch>,
    sessions_max: usize,
    descriptors_max: u64,
    sandbox: Sandbox,
    engine: EngineKind,
}

/// A worker thread, as the supervisor sees it.
struct Running {
    thread: JoinHandle<io::Result<()>>,
    ready: Receiver<io::Result<()>>,
    orders: Orders,
    post: Arc<Post>,
    number: usize,
    core: u16,
}

impl Start {
    fn spawn(self, orders: Sender<Order>) -> Result<Running, Failed> {
        let (tell, ready) = sync_channel(1);
        let (number, core) = (self.number, self.core);
        let (mailbox, post) = (self.mailbox.clone(), Arc::clone(&self.post));
        let thread = std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || match self.engine {
                EngineKind::IoUring => self.serve(Ring::new, &tell),
                EngineKind::Epoll => {
                    let engine = |peers: &_, options, clock, _, uses| {
                        Epoll::new(peers, options, clock, uses)
                    };
                    self.serve(engine, &tell)
                }
            })
            .map_err(failed("thread for a worker"))?;
        let orders = Orders::new(orders, mailbox);
        Ok(Running { thread, ready, orders, post, number, core })
    }

    /// A worker's life, on its own thread; `tell` hears whether it has begun.
    fn serve<E: Engine>(
        self,
        engine: impl FnOnce(&[Address], TcpOptions, Clock, bool, Uses) -> io::Result<E>,
        tell: &SyncSender<io::Result<()>>,
    ) -> io::Result<()> {
        let (shared, control_mailbox) = (Arc::clone(&self.shared), self.control_mailbox.clone());
        let mut worker = match self.build(engine) {
            Ok(worker) => worker,
            Err(error) => {
                let _ = tell.send(Err(error));
                return Ok(());
            }
        };
        let _ = tell.send(Ok(()));
        let result = worker.run();
        if result.is_err() {
            // Without this its listeners would go on collecting connections nobody serves.
            shared.failed.store(true, Ordering::Release);
        }
        shared.running.fetch_sub(1, Ordering::AcqRel);
        control_mailbox.ring();
        result
    }

    /// From here on the thread's descriptors are its own.
    fn build<E: Engine>(
        self,
        engine: impl FnOnce(&[Address], TcpOptions, Clock, bool, Uses) -> io::Result<E>,
    ) -> io::Result<Worker<E>> {
        let mut keep: Vec<i32> = self.listeners.iter().map(|(_, fd)| *fd).collect();
        keep.extend([self.mailbox.number(), self.post.number(), self.control_mailbox.number()]);
        signal::block_all()?;
        table::make_private(&keep)?;
        if let Err(error) = affinity::pin(self.core) {
            warn!(worker = self.number, core = self.core, %error, "not pinned");
        }
        let (options, clock) = (TcpOptions::of(&self.edition.config), self.shared.clock);
        let restricted = self.sandbox.restricts_rings();
        let uses = self.shared.uses.clone();
        let engine = engine(&self.peers, options, clock, restricted, uses)?;
        self.sandbox.confine(Thread::Worker)?;
        let listeners = self.listeners.iter().map(|&(place, fd)| (place, Fd::new(fd)));
        let setup = Setup {
            number: self.number,
            edition: self.edition,
            listeners: listeners.collect(),
            mailbox: Fd::new(self.mailbox.number()),
            orders: self.orders,
            post: Fd::new(self.post.number()),
            records: Records { sender: self.sender, mailbox: self.control_mailbox },
            sessions_max: self.sessions_max,
            descriptors_max: self.descriptors_max,
            seed: clock::seed(),
        };
        Ok(Worker::new(engine, self.shared, setup))
    }
}

impl Running {
    fn wait_until_ready(&self) -> Result<(), Failed> {
        let what = || format!("worker {}", self.number);
        match self.ready.recv() {
            Ok(result) => result.map_err(|why| Failed { what: what(), why }),
            Err(_) => Err(Failed { what: what(), why: io::Error::other("ended at its start") }),
        }
    }

    fn order(&self, order: Order) {
        self.orders.give(order);
    }
}

/// Sessions accepted, ended, and log lines lost, over all workers.
fn tell_totals(shared: &Shared) {
    let total = |count: &dyn Fn(&Counters) -> u64| shared.counters.iter().map(count).sum::<u64>();
    let accepted = total(&Counters::accepted);
    let closed: u64 =
        CloseReason::ALL.iter().map(|&reason| total(&|worker| worker.closed(reason))).sum();
    info!(accepted, closed, unlogged = shared.unlogged(), "stopped");
}
