//! From a configuration to running workers, and back: looks names up, makes the listeners, starts a
//! worker per core, hands over to the control thread, and stops it all.
//!
//! Every listener is made and kept here, so that `ss -ltnp` sees it; workers get the number under
//! which it stands in their own tables too.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::ToSocketAddrs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tracing::{info, warn};

use crate::config::{self, Address, Config, ServerAddress, Workers};
use crate::control;
use crate::log::{self, Record};
use crate::metrics::Counters;
use crate::pool::{Pool, ServerSpec};
use crate::session::CloseReason;
use crate::sys::clock;
use crate::sys::mailbox::Mailbox;
use crate::sys::pipes::PIPES_MAX;
use crate::sys::ring::Ring;
use crate::sys::socket::TcpOptions;
use crate::sys::spares::SPARES_MAX;
use crate::sys::token::SLOTS_MAX;
use crate::sys::{Fd, affinity, socket, table};
use crate::worker::{Listening, Records, Shared, Worker};

/// Descriptors of a worker that are no session's: standard streams, ring, listeners, mailboxes,
/// pipes and spare sockets.
const DESCRIPTORS_KEPT_BACK: u64 = 512;

const _: () = assert!(2 * PIPES_MAX + SPARES_MAX < DESCRIPTORS_KEPT_BACK as usize - 64);

/// Descriptors one session needs: the client's and the server's.
const DESCRIPTORS_PER_SESSION: u64 = 2;

/// Batches of log records that may wait for the control thread (64 records each).
const RECORD_BATCHES: usize = 1024;

/// Why ringway did not start, or stopped.
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

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.why)
    }
}

fn failed(what: impl fmt::Display) -> impl FnOnce(io::Error) -> Failed {
    move |why| Failed { what: what.to_string(), why }
}

/// Runs until SIGTERM or SIGINT. Once connections are accepted, `ready` is told where: listener
/// names and addresses, with real ports.
///
/// # Errors
/// A name that cannot be looked up, an address that cannot be listened on (somebody else does, or
/// it is not this host's), a core that is not there, or a kernel that refuses io_uring.
pub fn run(config: Config, ready: impl FnOnce(&[(String, Address)])) -> Result<(), Failed> {
    let limit = table::raise_descriptor_limit().map_err(failed("limit on descriptors"))?;
    let cores = cores(&config.workers)?;
    let listeners = listeners(&config, cores.len())?;
    let pools = pools(&config)?;
    let shared = Arc::new(Shared::new(config, pools, cores.len()));

    let control_mailbox = Mailbox::new().map_err(failed("mailbox"))?;
    let (sender, records) = sync_channel(RECORD_BATCHES);
    let sessions_max = sessions_max(limit);
    let mut workers = Vec::new();
    for (number, core) in cores.iter().enumerate() {
        let start = Start {
            number,
            core: *core,
            shared: Arc::clone(&shared),
            listeners: listeners.of_worker(number),
            mailbox: Mailbox::new().map_err(failed("mailbox"))?,
            control_mailbox: control_mailbox.clone(),
            sender: sender.clone(),
            sessions_max,
        };
        workers.push(start.spawn()?);
    }
    drop(sender);
    for worker in &workers {
        worker.wait_until_ready()?;
    }
    announce(&listeners, cores.len(), sessions_max);
    ready(&listeners.bound);
    let result = control::run(&shared, &records, control_mailbox);
    stop_workers(&shared, workers)?;
    log::all_of(&records, &shared.config, &shared.pools);
    tell_totals(&shared);
    result.map_err(failed("control thread"))
}

fn announce(listeners: &Listeners, workers: usize, sessions_max: usize) {
    for (name, address) in &listeners.bound {
        info!(listener = %name, %address, "listening");
    }
    info!(workers, sessions_per_worker = sessions_max, "ready");
}

/// Sessions a worker can hold with the descriptors it may have.
fn sessions_max(limit: u64) -> usize {
    let sessions = limit.saturating_sub(DESCRIPTORS_KEPT_BACK) / DESCRIPTORS_PER_SESSION;
    usize::try_from(sessions).unwrap_or(SLOTS_MAX).clamp(16, SLOTS_MAX)
}

/// The core of each worker.
fn cores(workers: &Workers) -> Result<Vec<u16>, Failed> {
    let allowed = affinity::allowed_cores().map_err(failed("cores"))?;
    match workers {
        Workers::Auto => Ok(allowed),
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

/// Every pool with its names looked up.
fn pools(config: &Config) -> Result<Vec<Pool>, Failed> {
    config
        .pools
        .iter()
        .map(|spec| {
            let mut servers = Vec::new();
            for server in &spec.servers {
                look_up(spec, server, &mut servers)?;
            }
            Ok(Pool::with_seed(spec, servers, clock::seed()))
        })
        .collect()
}

fn look_up(
    pool: &config::Pool,
    server: &config::Server,
    into: &mut Vec<ServerSpec>,
) -> Result<(), Failed> {
    let (id, weight, backup) = (&server.id, server.weight, server.backup);
    let spec = |address| ServerSpec { address, id: id.clone(), weight, backup };
    match &server.address {
        ServerAddress::Address(address) => into.push(spec(address.clone())),
        ServerAddress::Name { host, port } => {
            let what = || format!("pools.{}: server {host}:{port} cannot be looked up", pool.name);
            let mut found: Vec<Address> = (host.as_str(), *port)
                .to_socket_addrs()
                .map_err(|why| Failed { what: what(), why })?
                .map(Address::Tcp)
                .collect();
            if found.is_empty() {
                let why = io::Error::new(io::ErrorKind::NotFound, "it has no address");
                return Err(Failed { what: what(), why });
            }
            found.sort_unstable();
            found.dedup();
            into.extend(found.into_iter().map(spec));
        }
    }
    Ok(())
}

/// All listening sockets.
struct Listeners {
    /// Listener, its sockets (one per worker, or one that all share), and its unix path.
    sockets: Vec<(u16, Vec<OwnedFd>)>,
    /// Name and real address of each.
    bound: Vec<(String, Address)>,
}

impl Listeners {
    fn of_worker(&self, worker: usize) -> Vec<(u16, i32)> {
        let own = |fds: &[OwnedFd]| fds[worker % fds.len()].as_raw_fd();
        self.sockets.iter().map(|(listener, fds)| (*listener, own(fds))).collect()
    }
}

impl Drop for Listeners {
    /// Unix sockets leave a path behind.
    fn drop(&mut self) {
        for (_, address) in &self.bound {
            if let Address::Unix(path) = address
                && let Err(error) = std::fs::remove_file(path)
            {
                warn!(%address, %error, "the socket could not be removed");
            }
        }
    }
}

/// Binds everything, or says what cannot be bound.
fn listeners(config: &Config, workers: usize) -> Result<Listeners, Failed> {
    let mut all = Listeners { sockets: Vec::new(), bound: Vec::new() };
    for (number, listener) in config.listeners.iter().enumerate() {
        let number = u16::try_from(number).expect("listeners are few");
        for address in &listener.bind {
            let (sockets, bound) = match address {
                Address::Tcp(tcp) => listen_tcp(*tcp, config, workers),
                Address::Unix(path) => listen_unix(path),
            }
            .map_err(|why| cannot_listen(&listener.name, address, &why))?;
            all.sockets.push((number, sockets));
            all.bound.push((listener.name.clone(), bound));
        }
    }
    Ok(all)
}

fn cannot_listen(listener: &str, address: &Address, why: &io::Error) -> Failed {
    let hint = match why.kind() {
        io::ErrorKind::AddrInUse => "somebody listens there already, perhaps another ringway",
        io::ErrorKind::AddrNotAvailable => "this host does not have that address",
        io::ErrorKind::PermissionDenied => {
            "permission denied (ports below 1024 need root or CAP_NET_BIND_SERVICE)"
        }
        io::ErrorKind::NotFound => "its folder does not exist",
        _ => &why.to_string(),
    };
    let what = format!("listener {listener}: cannot listen on {address}");
    Failed { what, why: io::Error::new(why.kind(), hint) }
}

fn listen_tcp(
    address: std::net::SocketAddr,
    config: &Config,
    workers: usize,
) -> io::Result<(Vec<OwnedFd>, Address)> {
    let address = socket::probe_bind(address)?;
    let sockets = (0..workers)
        .map(|_| socket::listen_tcp(address, tcp_options(config)))
        .collect::<io::Result<_>>()?;
    Ok((sockets, Address::Tcp(address)))
}

fn tcp_options(config: &Config) -> TcpOptions {
    let Config { tcp_keep_alive: keep_alive, loopback_congestion, .. } = *config;
    TcpOptions { keep_alive, loopback_congestion }
}

fn listen_unix(path: &Path) -> io::Result<(Vec<OwnedFd>, Address)> {
    Ok((vec![socket::listen_unix(path)?], Address::Unix(path.to_path_buf())))
}

/// What a worker thread is given.
struct Start {
    number: usize,
    core: u16,
    shared: Arc<Shared>,
    listeners: Vec<(u16, i32)>,
    mailbox: Mailbox,
    control_mailbox: Mailbox,
    sender: SyncSender<Vec<Record>>,
    sessions_max: usize,
}

/// A worker thread, as the supervisor sees it.
struct Running {
    thread: JoinHandle<io::Result<()>>,
    ready: Receiver<io::Result<()>>,
    mailbox: Mailbox,
    number: usize,
}

impl Start {
    fn spawn(self) -> Result<Running, Failed> {
        let (tell, ready) = sync_channel(1);
        let (number, mailbox) = (self.number, self.mailbox.clone());
        let (shared, control_mailbox) = (Arc::clone(&self.shared), self.control_mailbox.clone());
        let thread = std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || {
                let mut worker = match self.build() {
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
                    control_mailbox.ring();
                }
                result
            })
            .map_err(failed("thread for a worker"))?;
        Ok(Running { thread, ready, mailbox, number })
    }

    /// On the worker's own thread: from here on its descriptors are its own.
    fn build(self) -> io::Result<Worker<Ring>> {
        let mut keep: Vec<i32> = self.listeners.iter().map(|(_, fd)| *fd).collect();
        keep.extend([self.mailbox.number(), self.control_mailbox.number()]);
        crate::sys::signal::block_all()?;
        table::make_private(&keep)?;
        if let Err(error) = affinity::pin(self.core) {
            warn!(worker = self.number, core = self.core, %error, "not pinned");
        }
        let engine =
            Ring::new(&self.shared.peers(), tcp_options(&self.shared.config), self.shared.clock)?;
        let listeners = self
            .listeners
            .iter()
            .map(|&(listener, fd)| Listening { socket: Fd::new(fd), listener })
            .collect();
        let mailbox = Fd::new(self.mailbox.number());
        let records_to = Records { sender: self.sender, mailbox: self.control_mailbox };
        let limits = (self.sessions_max, clock::seed());
        Ok(Worker::new(engine, self.shared, self.number, listeners, mailbox, records_to, limits))
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
}

/// Has every worker close its sessions and end.
fn stop_workers(shared: &Shared, workers: Vec<Running>) -> Result<(), Failed> {
    shared.stopping.store(true, Ordering::Release);
    for worker in &workers {
        worker.mailbox.ring();
    }
    for worker in workers {
        let ended = worker.thread.join().unwrap_or_else(|_| Err(io::Error::other("panicked")));
        ended.map_err(failed(format_args!("worker {}", worker.number)))?;
    }
    Ok(())
}

/// Sessions accepted, ended, and log lines lost, over all workers.
fn tell_totals(shared: &Shared) {
    let total = |count: &dyn Fn(&Counters) -> u64| shared.counters.iter().map(count).sum::<u64>();
    let accepted = total(&Counters::accepted);
    let closed: u64 =
        CloseReason::ALL.iter().map(|&reason| total(&|worker| worker.closed(reason))).sum();
    let unlogged = total(&Counters::unlogged);
    info!(accepted, closed, unlogged, "stopped");
}
