//! What the tests are written with: ringway as a process, peers as streams, real servers.
//!
//! Nothing here sleeps to hope: it waits for a condition, up to [`DEADLINE`], and fails with what
//! the processes printed.

mod admin;
mod hello;
mod http;
mod manager;
mod network;
mod peer;
mod process;
mod real;
mod ringway;
mod server;
mod stream;

pub(crate) use admin::Admin;
pub(crate) use hello::client_hello;
pub(crate) use http::{HttpServer, Response, get, request_head};
pub(crate) use manager::{Manager, Told};
pub(crate) use network::{alone, behind, ip};
pub(crate) use peer::{Connecting, Peer};
pub(crate) use process::Process;
pub(crate) use real::{json_line, node_script, port_of, python_script};
pub(crate) use ringway::{Ringway, Setup, engine_flags, program};
pub(crate) use server::{Server, Serving, closed_port, free_port, free_ports};
pub(crate) use stream::Numbers;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Longer than anything takes on a loaded machine with two cores; only a failure waits this long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Looks again every few milliseconds until there is an answer, or fails at the deadline.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = look() {
            return answer;
        }
        assert!(Instant::now() < end, "never came: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Held by tests that need both cores, so that they run one at a time.
pub(crate) fn both_cores() -> MutexGuard<'static, ()> {
    static BOTH_CORES: Mutex<()> = Mutex::new(());
    BOTH_CORES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes sure this test may hold `count` descriptors.
pub(crate) fn many_descriptors(count: u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    assert!(hard >= count, "needs {count} descriptors, `ulimit -Hn` is {hard}");
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(count), hard).expect("soft up to hard");
}
