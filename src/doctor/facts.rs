//! What is known of a host, as plain values; `None` where the kernel does not say.

use std::net::IpAddr;

use crate::config::{Address, EngineChoice};
use crate::sys::cgroup::Limits;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Facts {
    pub(super) kernel: String,
    /// Cores this process may run on, and the machine has.
    pub(super) cores: usize,
    pub(super) cores_online: usize,
    pub(super) cgroup: Limits,
    pub(super) memory_bytes: u64,
    pub(super) memory_available_bytes: u64,
    pub(super) page_bytes: u64,

    /// Most that RLIMIT_NOFILE may be raised to.
    pub(super) descriptors_hard: u64,
    /// RLIMIT_MEMLOCK.
    pub(super) memlock_bytes: Option<u64>,
    pub(super) file_max: Option<u64>,
    pub(super) nr_open: Option<u64>,

    /// Why io_uring is refused.
    pub(super) ring_refused: Option<String>,
    /// kernel.io_uring_disabled.
    pub(super) ring_disabled: Option<u64>,
    /// A seccomp filter is in force already, a container's say.
    pub(super) is_filtered: bool,
    pub(super) seccomp: bool,
    /// Its version.
    pub(super) landlock: Option<u32>,

    /// As who serves: CAP_SYS_ADMIN is free of `file_max`, either of both of `pipe_pages_soft`.
    pub(super) has_sys_admin: bool,
    pub(super) has_sys_resource: bool,
    pub(super) pipe_pages_soft: Option<u64>,

    pub(super) somaxconn: Option<u64>,
    pub(super) syn_backlog: Option<u64>,
    pub(super) syncookies: Option<u64>,
    /// First and last.
    pub(super) ports: Option<(u64, u64)>,
    /// First port that needs a right to be bound.
    pub(super) unprivileged_from: u64,
    /// Most and now; `None`: connections are not tracked.
    pub(super) conntrack: Option<(u64, u64)>,
    pub(super) migrate_req: Option<u64>,
    /// Pages for all TCP sockets: low, pressure, most.
    pub(super) tcp_mem_pages: Option<u64>,
    pub(super) congestion: Option<String>,

    /// Of the configuration, where there is one.
    pub(super) wanted: Option<Wanted>,
}

/// What a configuration asks of the host.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) workers: Workers,
    pub(super) engine: EngineChoice,
    /// Why nobody can be whom it wants to become.
    pub(super) user_refused: Option<String>,
    pub(super) max_connections: Option<u32>,
    pub(super) system_congestion: bool,
    pub(super) places: Vec<Place>,
    pub(super) servers: Vec<ServerPorts>,
    /// Addresses that are not this host's, each with its pool.
    pub(super) strangers: Vec<(String, IpAddr)>,
}

/// Threads asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Workers {
    Auto,
    Count(usize),
    /// This core is none that the process may run on.
    NoCore(u16),
}

/// Where a listener is to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) listener: String,
    pub(super) address: Address,
    pub(super) found: Found,
}

/// What was found there.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    Free,
    /// By another program, if it is known which.
    Taken(Option<Holder>),
    /// It needs a right that this process has not.
    Privileged,
    /// It is no address of this host.
    Stranger,
    /// The folder of a unix socket cannot be written to, or is not there.
    NoFolder,
    Other(String),
}

/// Who listens.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Holder {
    pub(super) name: String,
    pub(super) pid: u32,
}

/// A server, and how many source addresses its pool has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ServerPorts {
    pub(super) pool: String,
    pub(super) server: String,
    /// 0: the kernel's choice.
    pub(super) sources: usize,
    /// Further sources are taken by itself.
    pub(super) is_loopback: bool,
}
