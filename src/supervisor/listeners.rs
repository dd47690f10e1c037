//! Every listening socket, made and kept here, so that `ss -ltnp` sees it and a reload keeps it.
//!
//! A listener that is no longer wanted first turns new clients away and lets those go through who
//! are on their way. Closed at once, it would reset whoever waits in its queue.
//!
//! Sockets that a service manager has passed stay the manager's: they are never told to turn anyone
//! away, keep their paths, and are kept here for a later configuration that may name them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use tracing::{info, warn};

use super::Failed;
use crate::config::{Address, Bind, Config, Listener};
use crate::sys::passed::{self, Passed, Unfit};
use crate::sys::socket::{self, TcpOptions};
use crate::worker::{ListenerNumber, Placement};

/// Milliseconds from turning clients away until a listener is closed: more than any handshake on
/// its way takes, unless a packet of it is lost.
const LEAVING_MS: u64 = 500;

/// All listening sockets.
pub(super) struct Listeners {
    all: Vec<Bound>,
    numbers: u32,
    /// By a service manager, whether anybody wants them or not.
    passed: Vec<Passed>,
}

/// An address and its sockets.
struct Bound {
    number: ListenerNumber,
    wanted: Wanted,
    /// Of the listener it serves.
    name: String,
    /// With its real port.
    address: Address,
    /// One per worker, or one that all share.
    sockets: Vec<OwnedFd>,
    /// On the clock of the workers; it turns clients away until then.
    leaves_ms: Option<u64>,
}

/// What makes two listeners the same.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// As it stands in the file.
    Address(Address),
    /// Any free port will do: whose it is, and which of its addresses.
    FreePort(Address, String, usize),
    /// The position of one that was passed.
    Passed(usize),
}

/// Listeners as a configuration wants them; nothing has changed yet.
pub(super) struct Plan {
    new: Vec<Bound>,
    placements: Vec<Placement>,
}

impl Listeners {
    /// None yet, but what was passed.
    ///
    /// # Errors
    /// Something was passed that cannot be listened on.
    pub(super) fn new() -> Result<Self, Vec<Failed>> {
        let failed =
            |unfit: Unfit| Failed { what: format!("LISTEN_FDS: {}", unfit.which), why: unfit.why };
        let passed = passed::take();
        let passed = passed.map_err(|all| all.into_iter().map(failed).collect::<Vec<_>>())?;
        Ok(Self { all: Vec::new(), numbers: 0, passed })
    }

    /// Binds what is new.
    ///
    /// # Errors
    /// Everything that cannot be listened on; then nothing stays bound.
    pub(super) fn plan(&mut self, config: &Config, workers: usize) -> Result<Plan, Vec<Failed>> {
        let mut plan = Plan { new: Vec::new(), placements: Vec::new() };
        let (mut failures, mut taken) = (Vec::new(), Vec::new());
        for (listener, spec) in (0..).zip(&config.listeners) {
            for wanted in self.wanted(spec, &mut failures) {
                if taken.contains(&wanted) {
                    // By its name and by its address: the file does not show that.
                    let why = io::Error::other("this socket was passed once, and is bound twice");
                    failures.push(cannot_listen(&spec.name, self.place(&wanted), &why));
                    continue;
                }
                taken.push(wanted.clone());
                let number = match self.all.iter().find(|bound| bound.serves_again(&wanted)) {
                    Some(known) => known.number,
                    None => match self.make(&wanted, config, workers) {
                        Ok((sockets, address)) => {
                            let (number, name) = (self.number(), spec.name.clone());
                            let leaves_ms = None;
                            let new = Bound { number, wanted, name, address, sockets, leaves_ms };
                            plan.new.push(new);
                            number
                        }
                        Err(why) => {
                            failures.push(cannot_listen(&spec.name, self.place(&wanted), &why));
                            continue;
                        }
                    },
                };
                plan.placements.push(Placement { number, listener });
            }
        }
        if failures.is_empty() {
            return Ok(plan);
        }
        plan.new.iter().for_each(Bound::remove_path);
        Err(failures)
    }

    /// Where a listener is to accept: at sockets that were passed wherever there are any.
    fn wanted(&self, spec: &Listener, failures: &mut Vec<Failed>) -> Vec<Wanted> {
        let mut all = Vec::with_capacity(spec.bind.len());
        for (nth, bind) in spec.bind.iter().enumerate() {
            let before = all.len();
            let passed = (0..self.passed.len()).filter(|&at| is_bound(bind, &self.passed[at]));
            all.extend(passed.map(Wanted::Passed));
            match bind {
                _ if all.len() > before => {}
                Bind::At(address @ Address::Tcp(tcp)) if tcp.port() == 0 => {
                    all.push(Wanted::FreePort(address.clone(), spec.name.clone(), nth));
                }
                Bind::At(address) => all.push(Wanted::Address(address.clone())),
                Bind::Passed(_) => failures.push(self.not_passed(&spec.name, bind)),
            }
        }
        all
    }

    fn make(
        &self,
        wanted: &Wanted,
        config: &Config,
        workers: usize,
    ) -> io::Result<(Vec<OwnedFd>, Address)> {
        match wanted {
            Wanted::Address(address) | Wanted::FreePort(address, ..) => match address {
                Address::Tcp(tcp) => listen_tcp(*tcp, config, workers),
                Address::Unix(path) => listen_unix(path),
            },
            Wanted::Passed(at) => {
                let Passed { address, socket, .. } = &self.passed[*at];
                if let Address::Tcp(tcp) = address {
                    socket::reconfigure(socket, tcp.ip(), TcpOptions::of(config))?;
                }
                Ok((vec![socket.try_clone()?], address.clone()))
            }
        }
    }

    fn place<'a>(&'a self, wanted: &'a Wanted) -> &'a Address {
        match wanted {
            Wanted::Address(address) | Wanted::FreePort(address, ..) => address,
            Wanted::Passed(at) => &self.passed[*at].address,
        }
    }

    fn not_passed(&self, listener: &str, bind: &Bind) -> Failed {
        let names: Vec<_> = self.passed.iter().map(|passed| passed.name.as_str()).collect();
        let why = match &names[..] {
            [] => "the service manager has passed no socket (is its .socket unit active?)".into(),
            _ => format!("passed are {}", names.join(", ")),
        };
        let what = format!("listener {listener}: cannot listen on {bind}");
        Failed { what, why: io::Error::new(io::ErrorKind::NotFound, why) }
    }

    /// Says which of those that were passed serve nobody.
    fn tell_unwanted(&self) {
        for (at, Passed { name, address, .. }) in self.passed.iter().enumerate() {
            let serves = |bound: &Bound| bound.wanted == Wanted::Passed(at);
            if !self.all.iter().any(|bound| serves(bound) && bound.leaves_ms.is_none()) {
                warn!(%name, %address, "passed, but no listener binds it: clients wait in vain");
            }
        }
    }

    fn number(&mut self) -> ListenerNumber {
        self.numbers += 1;
        ListenerNumber(self.numbers)
    }

    /// Carries a plan out: what is new stays, what is not wanted leaves. Returns where connections
    /// are accepted, and what is new of it.
    pub(super) fn adopt(
        &mut self,
        plan: Plan,
        config: &Config,
        now_ms: u64,
    ) -> (Vec<Placement>, Vec<ListenerNumber>) {
        let Plan { new, placements } = plan;
        let arriving = new.iter().map(|bound| bound.number).collect();
        for bound in &mut self.all {
            match placements.iter().find(|place| place.number == bound.number) {
                Some(place) => {
                    bound.name.clone_from(&config.listeners[place.listener as usize].name);
                    bound.stay(config);
                }
                None => bound.leave(now_ms),
            }
        }
        self.all.extend(new);
        self.tell_unwanted();
        (placements, arriving)
    }

    /// Says where these listen.
    pub(super) fn announce(&self, numbers: &[ListenerNumber]) {
        self.all.iter().filter(|bound| numbers.contains(&bound.number)).for_each(Bound::announce);
    }

    /// Everything leaves.
    pub(super) fn leave(&mut self, now_ms: u64) {
        self.all.iter_mut().for_each(|bound| bound.leave(now_ms));
    }

    /// When somebody has had the time to leave.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.all.iter().filter_map(|bound| bound.leaves_ms).min()
    }

    /// Who has had the time to leave is closed here; workers have still to close theirs.
    pub(super) fn forget(&mut self, now_ms: u64) -> Vec<ListenerNumber> {
        let is_due = |bound: &mut Bound| bound.leaves_ms.is_some_and(|at_ms| at_ms <= now_ms);
        self.all.extract_if(.., is_due).map(|bound| bound.number).collect()
    }

    /// A worker's own sockets among these, in the same order.
    pub(super) fn of_worker(&self, worker: usize, numbers: &[ListenerNumber]) -> Vec<RawFd> {
        let bound = |number| self.all.iter().find(|bound| bound.number == number);
        let sockets = numbers.iter().filter_map(|&number| Some(&bound(number)?.sockets));
        sockets.map(|sockets| sockets[worker % sockets.len()].as_raw_fd()).collect()
    }

    /// Names and real addresses.
    pub(super) fn bound(&self) -> Vec<(String, Address)> {
        let staying = self.all.iter().filter(|bound| bound.leaves_ms.is_none());
        staying.map(|bound| (bound.name.clone(), bound.address.clone())).collect()
    }
}

impl Bound {
    /// A unix socket of ringway's own that leaves has lost its path.
    fn serves_again(&self, wanted: &Wanted) -> bool {
        let keeps_path = matches!(self.address, Address::Tcp(_)) || self.is_passed();
        self.wanted == *wanted && (self.leaves_ms.is_none() || keeps_path)
    }

    /// Others use it too.
    fn is_passed(&self) -> bool {
        matches!(self.wanted, Wanted::Passed(_))
    }

    fn stay(&mut self, config: &Config) {
        if self.leaves_ms.is_some() {
            self.announce();
        }
        let Address::Tcp(address) = self.address else { return };
        for socket in &self.sockets {
            let result = socket::reconfigure(socket, address.ip(), TcpOptions::of(config));
            let result = match self.leaves_ms {
                Some(_) if !self.is_passed() => result.and(socket::let_in(socket)),
                _ => result,
            };
            if let Err(error) = result {
                warn!(listener = %self.name, %address, %error, "its socket could not be changed");
            }
        }
        self.leaves_ms = None;
    }

    fn announce(&self) {
        info!(listener = %self.name, address = %self.address, "listening");
    }

    fn leave(&mut self, now_ms: u64) {
        if self.leaves_ms.is_some() {
            return;
        }
        info!(listener = %self.name, address = %self.address, "no longer listening");
        self.leaves_ms = Some(now_ms + LEAVING_MS);
        self.remove_path();
        let Address::Tcp(address) = self.address else { return };
        if self.is_passed() {
            return;
        }
        for socket in &self.sockets {
            if let Err(error) = socket::turn_away(socket) {
                // Whoever waits when it is closed is reset.
                warn!(listener = %self.name, %address, %error, "clients cannot be turned away");
            }
        }
    }

    /// Unix sockets leave a path behind.
    fn remove_path(&self) {
        if let (Address::Unix(path), false) = (&self.address, self.is_passed())
            && let Err(error) = std::fs::remove_file(path)
        {
            warn!(address = %self.address, %error, "the socket could not be removed");
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.all.iter().filter(|bound| bound.leaves_ms.is_none()).for_each(Bound::remove_path);
    }
}

/// Whether a listener that binds there is to have this one.
fn is_bound(bind: &Bind, passed: &Passed) -> bool {
    match bind {
        Bind::At(address) => *address == passed.address,
        Bind::Passed(name) => *name == passed.name,
    }
}

fn listen_tcp(
    address: SocketAddr,
    config: &Config,
    workers: usize,
) -> io::Result<(Vec<OwnedFd>, Address)> {
    let address = socket::probe_bind(address)?;
    let sockets = (0..workers)
        .map(|_| socket::listen_tcp(address, TcpOptions::of(config)))
        .collect::<io::Result<_>>()?;
    Ok((sockets, Address::Tcp(address)))
}

fn listen_unix(path: &Path) -> io::Result<(Vec<OwnedFd>, Address)> {
    Ok((vec![socket::listen_unix(path)?], Address::Unix(path.to_path_buf())))
}

fn cannot_listen(listener: &str, address: &Address, why: &io::Error) -> Failed {
    let reload = "; a folder that is new with a reload needs a restart, or no sandbox";
    let what = format!("listener {listener}: cannot listen on {address}");
    Failed { what, why: io::Error::new(why.kind(), hint(address, why, reload)) }
}

/// Why nothing can listen there, in words that help; `folder` is what else to say of one that may
/// not be written to.
pub(super) fn hint(address: &Address, why: &io::Error, folder: &str) -> String {
    match why.kind() {
        io::ErrorKind::AddrInUse => {
            "somebody listens there already, perhaps another ringway".into()
        }
        io::ErrorKind::AddrNotAvailable => "this host does not have that address".into(),
        io::ErrorKind::PermissionDenied if matches!(address, Address::Unix(_)) => {
            let may = "ringway's user must be allowed to write to its folder";
            format!("permission denied ({may}{folder})")
        }
        io::ErrorKind::PermissionDenied => {
            "permission denied (ports below 1024 need root or CAP_NET_BIND_SERVICE)".into()
        }
        io::ErrorKind::NotFound => "its folder does not exist".into(),
        _ => why.to_string(),
    }
}
