//! The configuration in force: a [`Config`] that cannot be wrong.
//!
//! `file` is the JSON as written, `resolve` turns it into a [`Config`] or into every problem at
//! once. Nothing here binds, connects, resolves a name or reads a clock.

// From text to tree.
mod jsonc;
mod tree;

// From tree to configuration as written.
mod admin;
mod file;
mod file_access_log;
mod file_health;
mod file_sticky;
mod limits;
mod read;
mod read_access_log;
mod read_health;

// From there to the one in force.
mod access_log;
mod pool;
mod resolve;
mod value;

// And back again, to be shown and compared.
mod difference;
mod effective;

// What it is asked, and what it complains of.
mod problem;
mod routes;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Serialize;

pub use access_log::{AccessLog, Facility, LogFormat, LogTo, Syslog, SyslogFormat};
pub use admin::{Admin, AdminToken};
pub use difference::{Difference, Effect, differences};
pub use effective::{effective, written};
pub use file::schema;
pub use pool::{
    Balance, Check, Eject, Forwarded, Health, Learn, OnDown, Pool, ProxyVersion, Server,
    ServerAddress, Sticky, Timeouts,
};
pub use problem::{Problem, Problems};

/// A configuration that can be run, and what to think about before.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// What to run.
    pub config: Config,
    /// Allowed, and probably not what was meant.
    pub warnings: Vec<Problem>,
}

/// Reads and checks a file.
///
/// # Errors
/// The file cannot be read (the path says which), is no JSON (`file:line:column`), or breaks rules:
/// then every one it breaks, each with its place.
pub fn load(path: &Path) -> Result<Checked, Problems> {
    let file = path.display();
    let bytes = std::fs::read(path).map_err(|error| Problem {
        path: file.to_string(),
        message: format!("cannot be read: {}", reason(&error)),
    })?;
    let text = String::from_utf8(bytes).map_err(|error| Problem {
        path: file.to_string(),
        message: format!("is no UTF-8 text at byte {}", error.utf8_error().valid_up_to()),
    })?;
    let tree = tree::Node::parse(&text)
        .map_err(|problem| Problem { path: format!("{file}:{}", problem.path), ..problem })?;
    check(&tree)
}

/// Checks the text of a file.
///
/// # Errors
/// The text is no JSON (`line:column`), or breaks rules: then every one it breaks.
pub fn parse(text: &str) -> Result<Checked, Problems> {
    check(&tree::Node::parse(text)?)
}

fn check(tree: &tree::Node) -> Result<Checked, Problems> {
    let mut report = problem::Report::default();
    let config = read::file(tree, &mut report).map(|file| resolve::resolve(&file, &mut report));
    match config {
        Some(config) if report.problems.is_empty() => {
            Ok(Checked { config, warnings: report.warnings })
        }
        _ => Err(Problems(report.problems)),
    }
}

/// Lower case, without the number that the standard library puts behind it.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

/// Everything `ringway run` needs to know, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How many workers, and on which cores.
    pub workers: Workers,
    /// At least one.
    pub listeners: Vec<Listener>,
    /// At least one; [`PoolIndex`] points in here.
    pub pools: Vec<Pool>,
    /// TCP keep-alive on both sides of every session.
    pub tcp_keep_alive: Option<TcpKeepAlive>,
    /// Milliseconds sent bytes may go unacknowledged (TCP_USER_TIMEOUT); `None`: as the kernel
    /// sees fit.
    pub tcp_user_timeout_ms: Option<u32>,
    /// How workers speak to the kernel.
    pub engine: EngineChoice,
    /// What ringway's sockets on loopback addresses use.
    pub loopback_congestion: LoopbackCongestion,
    /// Sessions at once, over all workers.
    pub max_connections: Option<u32>,
    /// Lines about sessions; `None`: there are none.
    pub access_log: Option<AccessLog>,
    /// Bulk halves are spliced in the kernel; off: every byte is copied.
    pub splice: bool,
    /// Milliseconds for which sessions may go on when ringway is told to end.
    pub drain_timeout_ms: u32,
    /// Milliseconds behind those over which the rest is closed.
    pub drain_window_ms: u32,
    /// Who ringway becomes before it makes a socket.
    pub user: Option<Account>,
    /// With `user` only; `None`: the user's own.
    pub group: Option<Account>,
    /// Confined by Landlock, seccomp and ring restrictions.
    pub sandbox: bool,
    /// Where ringway is asked and told things while it runs.
    pub admin: Option<Admin>,
}

/// A user or a group of this system, looked up at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// By its name.
    Name(String),
    /// By its number, which need not have a name.
    Number(u32),
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name:?}"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// A position in [`Config::pools`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolIndex(pub u16);

/// Threads that move bytes: one engine, one descriptor table, one core each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One per core this process may run on.
    Auto,
    /// This many, pinned to the allowed cores in turn (1 to 1024).
    Count(u16),
    /// One on each of these cores, by kernel number.
    Cores(Vec<u16>),
}

/// Where something listens or is listened to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// `127.0.0.1:80`, `[::]:80` (dual stack when listening).
    Tcp(SocketAddr),
    /// `unix:/run/x.sock`.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Where a listener gets its connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bind {
    /// At an address, which ringway binds unless it was passed a socket of that address.
    At(Address),
    /// `systemd:web`: at the sockets of that name which the service manager has passed.
    Passed(String),
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(f),
            Self::Passed(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// A place that accepts connections, and what is done with them until a pool is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Its name in logs.
    pub name: String,
    /// At least one.
    pub bind: Vec<Bind>,
    /// What is read before a pool is chosen.
    pub peek: Peek,
    /// What happens to a second request on the same connection.
    pub keep_alive: KeepAlive,
    /// Host (Host header or SNI) to pool.
    pub routes: Routes,
    /// Where everything else goes.
    pub pool: PoolIndex,
    /// Networks whose connections must start with a PROXY header; empty: none does.
    pub accept_proxy: Vec<IpNet>,
    /// Client networks served, before any byte is read; empty: all.
    pub allow: Vec<IpNet>,
    /// Client networks refused even if allowed.
    pub deny: Vec<IpNet>,
    /// Sessions at once, over all workers.
    pub max_connections: Option<u32>,
    /// Sessions at once of one client network.
    pub max_connections_per_source: Option<PerSource>,
    /// Clients accepted in a second, over all workers.
    pub accept_rate_per_s: Option<u32>,
    /// Milliseconds from accept until the head (or ClientHello) must be whole.
    pub peek_timeout_ms: u32,
    /// Milliseconds `auto` waits for a first byte before it goes on as `none`.
    pub auto_timeout_ms: u32,
    /// Bytes a request head or ClientHello may have: 1,024 to 65,536.
    pub head_max_bytes: u32,
}

/// How workers and the control thread speak to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EngineChoice {
    /// io_uring, or epoll where that is refused.
    #[default]
    Auto,
    /// io_uring or nothing.
    IoUring,
    /// epoll, whatever the kernel allows.
    Epoll,
}

/// How many sessions a client network may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerSource {
    /// At once.
    pub count: u32,
    /// Bits of an address that make a network: 8 to 32.
    pub ipv4_prefix: u8,
    /// The same for IPv6: 16 to 128.
    pub ipv6_prefix: u8,
}

impl PerSource {
    /// The network of a client.
    pub fn network(self, client: IpAddr) -> IpNet {
        let prefix = if client.is_ipv4() { self.ipv4_prefix } else { self.ipv6_prefix };
        IpNet::new_assert(client, prefix).trunc()
    }
}

/// TCP congestion control between addresses of one host, where no path can be congested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoopbackCongestion {
    /// Reno (RFC 5681), which needs no timers: a paced one such as bbr spends as much CPU on those
    /// as on the bytes.
    #[default]
    Reno,
    /// What sysctl net.ipv4.tcp_congestion_control says.
    System,
}

/// What is read of a connection before a server is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Peek {
    /// Nothing: connect at once (server-first protocols). A client gets 10 ms to speak if the last
    /// eight clients spoke before their servers; its first bytes are then sent along with the
    /// server connection's handshake.
    None,
    /// Look at the first bytes; with none by a short deadline, go on as `none`.
    Auto,
    /// One HTTP/1 request head.
    Http,
    /// One TLS ClientHello.
    Tls,
}

/// Policy for requests after the first on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeepAlive {
    /// The connection stays with its first choice.
    Trust,
    /// Each connection carries one request (`Connection: close` both ways), so each request makes
    /// its own choice; `Upgrade: websocket` is exempt.
    OneRequest,
}

/// Host to pool: exact, then longest wildcard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routes {
    /// Full host names, lower case, each with what its ALPN variants choose.
    pub exact: BTreeMap<String, RouteTargets>,
    /// `*.example.com` is kept as `.example.com`; matches any depth below, not itself.
    pub wildcard: BTreeMap<String, RouteTargets>,
}

/// What one host pattern leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteTargets {
    /// First ALPN protocol offered by the client that stands here wins.
    pub by_alpn: Vec<(String, PoolIndex)>,
    /// Otherwise this pool; `None` when the host has only ALPN routes.
    pub otherwise: Option<PoolIndex>,
}

/// TCP keep-alive, so that a pulled cable is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpKeepAlive {
    /// Idle seconds before the first probe.
    pub idle_s: u16,
    /// Seconds between probes.
    pub interval_s: u16,
    /// Unanswered probes that end the connection.
    pub probes: u8,
}
