//! Pools of servers, in force: how one of them is chosen, checked and left out, and how long its
//! sessions may last.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Address, limits};

/// Servers that can stand in for each other, and how one of them is chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its name in routes and logs.
    pub name: String,
    /// How a connection without a key is placed.
    pub balance: Balance,
    /// What keeps a client at its server.
    pub sticky: Sticky,
    /// A key that cannot be honoured is refused (503) instead of placed afresh.
    pub strict: bool,
    /// PROXY header sent to servers.
    pub send_proxy: Option<ProxyVersion>,
    /// X-Forwarded-For and -Proto added to the request head.
    pub forwarded: Forwarded,
    /// At least one; addresses unique within the pool.
    pub servers: Vec<Server>,
    /// Addresses of this host to connect from; empty: the kernel's choice.
    pub source_addresses: Vec<IpAddr>,
    /// Milliseconds one connect may take.
    pub connect_timeout_ms: u32,
    /// Different servers tried before giving up: 1 to 16.
    pub connect_tries: u8,
    /// Sessions that each of its servers may have which has no limit of its own.
    pub max_connections_per_server: Option<u32>,
    /// Its sessions that connect at the same time, over all workers.
    pub connects_in_flight_max: Option<u32>,
    /// Its sessions that may wait for a place at a server; 0: nobody waits.
    pub queue_max: u32,
    /// Milliseconds one may wait.
    pub queue_timeout_ms: u32,
    /// How long its sessions may last.
    pub timeouts: Timeouts,
    /// How servers are checked; `None`: they are not.
    pub health: Option<Health>,
    /// When a server is left out for a while because sessions had no luck with it.
    pub eject: Option<Eject>,
    /// Milliseconds over which a server that has come up gets its whole share; 0: at once.
    pub slow_start_ms: u32,
    /// What becomes of the sessions of a server that checks declare down.
    pub on_down: OnDown,
}

/// What ends a session that relays; `None`: off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Milliseconds without a byte in either direction.
    pub idle_ms: Option<u32>,
    /// The same, once one side has said EOF.
    pub half_closed_ms: Option<u32>,
    /// Milliseconds from accept.
    pub max_age_ms: Option<u32>,
    /// Each session's own limit is up to this share lower.
    pub max_age_jitter_percent: u8,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            idle_ms: limits::IDLE_TIMEOUT_MS.default,
            half_closed_ms: limits::HALF_CLOSED_TIMEOUT_MS.default,
            max_age_ms: limits::MAX_AGE_MS.default,
            max_age_jitter_percent: limits::MAX_AGE_JITTER_PERCENT.default as u8,
        }
    }
}

/// Checks that are made beside all sessions.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// What is looked at.
    pub check: Check,
    /// Milliseconds from the start of a check to that of the next.
    pub interval_ms: u32,
    /// The same from the first check that contradicts what is known until that is decided.
    pub fast_interval_ms: u32,
    /// Milliseconds for all of one check.
    pub timeout_ms: u32,
    /// Percent by which an interval may be longer or shorter.
    pub jitter_percent: u8,
    /// Checks in a row that bring a server up.
    pub rise: u8,
    /// Checks in a row that take a server down.
    pub fall: u8,
    /// Instead of the server's own.
    pub port: Option<u16>,
    /// Checks start with a PROXY header that says they are nobody's connection.
    pub send_proxy: Option<ProxyVersion>,
}

/// What a check looks at.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// Whether it can be connected to.
    Tcp,
    /// The answer to a GET.
    Http {
        /// Path, perhaps with a query.
        path: String,
        /// Host header; `None`: the server's address.
        host: Option<String>,
        /// Status codes that are right.
        status: Vec<RangeInclusive<u16>>,
        /// What the start of the body must contain.
        body: Option<String>,
    },
}

/// When a server is ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eject {
    /// Failed connects in a row, or early resets in a row.
    pub failures: u32,
    /// Milliseconds the first time; twice as long each time it happens again soon.
    pub base_ms: u32,
    /// Milliseconds at most.
    pub max_ms: u32,
    /// Percent of the pool's weight beyond which ejections count for nothing.
    pub max_percent: u8,
}

/// What becomes of the sessions of a server that checks declare down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDown {
    /// Nothing.
    Keep,
    /// They are closed.
    Close {
        /// So many a second, over all workers.
        per_s: u32,
    },
}

/// One server as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Where it is.
    pub address: ServerAddress,
    /// Its name in tokens and sid prefixes; defaults to the address as written.
    pub id: String,
    /// Share of connections relative to the others: 1 to 256.
    pub weight: u16,
    /// Used only when no other server can be.
    pub backup: bool,
    /// Sessions it may have at once; `None`: any number.
    pub max_connections: Option<u32>,
}

/// Where a server is: an address, or a name looked up at start and reload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// Known now.
    Address(Address),
    /// `name:port`; all its addresses become servers.
    Name {
        /// DNS or hosts-file name.
        host: String,
        /// TCP port.
        port: u16,
    },
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// How a connection without a key is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Smooth weighted round robin, exact over all workers.
    RoundRobin,
    /// Fewest live sessions per weight.
    LeastConn,
    /// The less loaded of two drawn at random.
    RandomTwo,
    /// Consistent hash of the client address, with bounded load.
    Hash,
}

/// What keeps a client at its server.
#[derive(Clone, Debug, PartialEq)]
pub enum Sticky {
    /// Nothing.
    None,
    /// The client address (of the PROXY header where one is accepted), by consistent hash.
    Source,
    /// A cookie the servers set.
    Cookie {
        /// Cookie name.
        name: String,
        /// Where its value leads: see [`Learn`]; `None`: consistent hash.
        learn: Option<Learn>,
    },
    /// A cookie ringway sets.
    Insert {
        /// Cookie name.
        name: String,
        /// Appended to the Set-Cookie value as written, e.g. `Path=/; HttpOnly; SameSite=Lax`.
        attributes: String,
        /// Keys the token; empty: keyed by a constant (`check` warns).
        secret: String,
    },
    /// A request header, by consistent hash.
    Header {
        /// Field name, lower case.
        name: String,
    },
    /// A query parameter, by consistent hash.
    Query {
        /// Parameter name as it stands in the URL.
        name: String,
    },
    /// The Socket.IO session id.
    SocketIo {
        /// Request path, `/socket.io/` by default.
        path: String,
        /// With it, sid prefixes are tokens; without, they are server ids.
        secret: Option<String>,
        /// How learned sids are kept.
        learn: Learn,
    },
}

/// How learned keys are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learn {
    /// Seconds a key outlives its last connection.
    pub ttl_s: u32,
    /// Keys kept at most; beyond it the ones closest to expiry go first.
    pub max_entries: u32,
}

/// PROXY protocol version sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxyVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// What is done with X-Forwarded-For and X-Forwarded-Proto.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// Left alone.
    Off,
    /// The client address is appended to what is there.
    Append,
    /// What is there is replaced.
    Replace,
}
