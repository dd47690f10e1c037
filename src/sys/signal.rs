//! Signals belong to the control thread. A handler that runs on a worker's thread would write to
//! descriptor numbers of the worker's own table.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

/// Blocks every signal for the calling thread (those that report its own faults apart).
pub fn block_all() -> io::Result<()> {
    let mut set = SigSet::all();
    for fault in [
        nix::sys::signal::SIGSEGV,
        nix::sys::signal::SIGBUS,
        nix::sys::signal::SIGILL,
        nix::sys::signal::SIGFPE,
        nix::sys::signal::SIGABRT,
    ] {
        set.remove(fault);
    }
    Ok(pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&set), None)?)
}

/// What the control thread is told by: until it listens, they would end the process.
fn orders() -> SigSet {
    let orders = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1];
    orders.into_iter().collect()
}

/// Has SIGTERM, SIGINT, SIGHUP and SIGUSR1 wait until [`let_through`].
pub fn hold_back() -> io::Result<()> {
    Ok(pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&orders()), None)?)
}

/// The calling thread listens to them now.
pub fn let_through() -> io::Result<()> {
    Ok(pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&orders()), None)?)
}
