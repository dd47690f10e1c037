//! The configuration as written, and the JSON Schema of it.
//!
//! Strings are still strings here: `read` fills these types from JSON, `resolve` says what they
//! mean. The ranges and defaults that the schema shows are the constants that `read` applies.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::admin::AdminFile;
use super::file_access_log::AccessLogFile;
use super::file_health::{EjectFile, HealthFile, OnDownFile, eject};
use super::file_sticky::StickyFile;
use super::limits::{
    ACCEPT_RATE_PER_S, ACCOUNT, AUTO_TIMEOUT_MS, CONNECT_TIMEOUT_MS, CONNECT_TRIES,
    CONNECTS_IN_FLIGHT, CORE, DRAIN_TIMEOUT_MS, DRAIN_WINDOW_MS, HALF_CLOSED_TIMEOUT_MS,
    HEAD_MAX_BYTES, IDLE_S, IDLE_TIMEOUT_MS, INTERVAL_S, IPV4_PREFIX, IPV6_PREFIX,
    MAX_AGE_JITTER_PERCENT, MAX_AGE_MS, MAX_CONNECTIONS, PEEK_TIMEOUT_MS, PER_SOURCE_COUNT, PROBES,
    QUEUE, QUEUE_TIMEOUT_MS, SERVER_CONNECTIONS, SLOW_START_MS, TCP_USER_TIMEOUT_MS, WEIGHT,
    WORKER_COUNT,
};
use super::{Balance, EngineChoice, KeepAlive, LoopbackCongestion, Peek, ProxyVersion};

/// The configuration of ringway. Comments (`//`, `/* */`) and trailing commas are allowed.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "ringway", deny_unknown_fields)]
pub(super) struct File {
    /// Where an editor finds this schema; ringway does not look.
    #[serde(rename = "$schema")]
    pub(super) schema: Option<String>,
    /// Threads that move bytes: `"auto"` (one per core this process may run on, and no more than a
    /// CPU quota keeps busy), a number (pinned to those cores in turn), or a list of core numbers.
    #[schemars(default)]
    pub(super) workers: WorkersFile,
    /// Where connections are accepted.
    #[schemars(length(min = 1))]
    pub(super) listeners: Vec<ListenerFile>,
    /// Groups of servers, by name.
    #[schemars(with = "BTreeMap<String, PoolFile>", extend("minProperties" = 1))]
    pub(super) pools: Vec<(String, PoolFile)>,
    /// Notices peers that have vanished, on both sides of every session; not on loopback
    /// addresses, where nobody can. `false` leaves it off.
    #[schemars(default = "tcp_keep_alive")]
    pub(super) tcp_keep_alive: OrFalse<TcpKeepAliveFile>,
    /// Milliseconds sent bytes may go unacknowledged before the connection is given up, on both
    /// sides (`TCP_USER_TIMEOUT`). It also ends a live connection whose peer reads nothing for that
    /// long. `false`: as the kernel sees fit.
    #[schemars(
        schema_with = "switched::<{ TCP_USER_TIMEOUT_MS.min }, { TCP_USER_TIMEOUT_MS.max }>"
    )]
    #[schemars(default = "tcp_user_timeout_ms")]
    pub(super) tcp_user_timeout_ms: OrFalse<u32>,
    /// How workers speak to the kernel: `auto` takes io_uring, or epoll where that is refused.
    #[schemars(default)]
    pub(super) engine: EngineChoice,
    /// TCP congestion control of sockets on loopback addresses, where no path can be congested.
    #[schemars(default)]
    pub(super) loopback_congestion: LoopbackCongestion,
    /// Sessions at once, over all workers; beyond it clients wait to be accepted. `false`: as many
    /// as the descriptors allow.
    #[schemars(schema_with = "switched::<{ MAX_CONNECTIONS.min }, { MAX_CONNECTIONS.max }>")]
    #[schemars(default = "max_connections")]
    pub(super) max_connections: OrFalse<u32>,
    /// One log line per session at its end: `true` has it on standard output, an object says more.
    #[schemars(default)]
    pub(super) access_log: AccessLogFile,
    /// Bulk transfers are spliced within the kernel; `false`: every byte is copied.
    #[schemars(default = "yes")]
    pub(super) splice: bool,
    /// Milliseconds from SIGTERM for which sessions may go on before the rest is closed.
    #[schemars(range(min = DRAIN_TIMEOUT_MS.min, max = DRAIN_TIMEOUT_MS.max))]
    #[schemars(default = "whole::<{ DRAIN_TIMEOUT_MS.default }>")]
    pub(super) drain_timeout_ms: u32,
    /// Milliseconds behind those over which the rest is closed, a few at a time.
    #[schemars(range(min = DRAIN_WINDOW_MS.min, max = DRAIN_WINDOW_MS.max))]
    #[schemars(default = "whole::<{ DRAIN_WINDOW_MS.default }>")]
    pub(super) drain_window_ms: u32,
    /// Who ringway becomes before it makes a socket, where it is started as root; a name or a
    /// number.
    pub(super) user: Option<AccountFile>,
    /// Its group; not given: that of `user`.
    pub(super) group: Option<AccountFile>,
    /// ringway takes from itself, for good, what it does not need of the kernel and the file
    /// system.
    #[schemars(default = "yes")]
    pub(super) sandbox: bool,
    /// Where ringway is asked and told things while it runs; `false`: nowhere.
    #[schemars(default)]
    pub(super) admin: OrFalse<AdminFile>,
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(super) enum AccountFile {
    Name(#[schemars(length(min = 1))] String),
    Number(#[schemars(range(min = ACCOUNT.min, max = ACCOUNT.max))] u32),
}

/// `"auto"`, a number, or a list of cores.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(super) enum WorkersFile {
    Word(WorkersWord),
    Count(#[schemars(range(min = WORKER_COUNT.min, max = WORKER_COUNT.max))] u32),
    Cores(
        #[schemars(length(min = 1), inner(range(min = CORE.min, max = CORE.max)))]
        #[schemars(extend("uniqueItems" = true))]
        Vec<u32>,
    ),
}

/// Workers without a number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum WorkersWord {
    /// One per core this process may run on, and no more than a CPU quota keeps busy.
    Auto,
}

/// A place that accepts connections.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Listener", deny_unknown_fields)]
pub(super) struct ListenerFile {
    /// Its name in logs and metrics; `listener1` and so on when not given.
    pub(super) name: Option<String>,
    /// `IP:PORT`, `[IPv6]:PORT` (`[::]` is dual stack), `unix:/PATH`, or `systemd:NAME` for sockets
    /// that the service manager passes; one or a list.
    pub(super) bind: OneOrMany,
    /// What is read before a server is chosen. Not given: `http` where a route, a key or
    /// `forwarded` needs a request head, else `none`.
    pub(super) peek: Option<Peek>,
    /// What happens to a second request on a connection. Not given: `one_request` where the
    /// routes or pools behind need to see every request, else `trust`.
    pub(super) keep_alive: Option<KeepAlive>,
    /// Hosts to pools: exact names first, then the longest wildcard; their order is of no effect.
    #[schemars(default)]
    pub(super) routes: Vec<RouteFile>,
    /// Where everything else goes; may be left out where the file has one pool.
    pub(super) pool: Option<String>,
    /// Who must start with a PROXY header; from nobody else is one understood.
    pub(super) accept_proxy: Option<AcceptProxyFile>,
    /// Client networks (or addresses) that are served; empty: all.
    #[schemars(default)]
    pub(super) allow: Vec<String>,
    /// Client networks (or addresses) that are refused even if allowed.
    #[schemars(default)]
    pub(super) deny: Vec<String>,
    /// Sessions at once, over all workers; beyond it clients wait to be accepted. `false`: no
    /// limit.
    #[schemars(schema_with = "switched::<{ MAX_CONNECTIONS.min }, { MAX_CONNECTIONS.max }>")]
    #[schemars(default = "max_connections")]
    pub(super) max_connections: OrFalse<u32>,
    /// Sessions at once of one client network; beyond it clients are reset before a byte is read.
    /// `false`: no limit.
    #[schemars(default)]
    pub(super) max_connections_per_source: OrFalse<PerSourceFile>,
    /// Clients accepted in a second, over all workers, a tenth of a second's worth at once; beyond
    /// it they wait. `false`: no limit.
    #[schemars(schema_with = "switched::<{ ACCEPT_RATE_PER_S.min }, { ACCEPT_RATE_PER_S.max }>")]
    #[schemars(default = "accept_rate_per_s")]
    pub(super) accept_rate_per_s: OrFalse<u32>,
    /// Milliseconds from accept until the request head or ClientHello must be whole.
    #[schemars(range(min = PEEK_TIMEOUT_MS.min, max = PEEK_TIMEOUT_MS.max))]
    #[schemars(default = "whole::<{ PEEK_TIMEOUT_MS.default }>")]
    pub(super) peek_timeout_ms: u32,
    /// Milliseconds `"peek": "auto"` waits for a first byte before it goes on as `none`.
    #[schemars(range(min = AUTO_TIMEOUT_MS.min, max = AUTO_TIMEOUT_MS.max))]
    #[schemars(default = "whole::<{ AUTO_TIMEOUT_MS.default }>")]
    pub(super) auto_timeout_ms: u32,
    /// Bytes a request head or ClientHello may have.
    #[schemars(range(min = HEAD_MAX_BYTES.min, max = HEAD_MAX_BYTES.max))]
    #[schemars(default = "whole::<{ HEAD_MAX_BYTES.default }>")]
    pub(super) head_max_bytes: u32,
}

/// A string or a list of strings.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(super) enum OneOrMany {
    One(String),
    Many(#[schemars(length(min = 1))] Vec<String>),
}

/// A host (Host header or SNI) and where it leads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Route", deny_unknown_fields)]
pub(super) struct RouteFile {
    /// `chat.example.com`, or `*.example.com` for everything below it at any depth.
    pub(super) host: String,
    /// Only for TLS clients that offer this ALPN protocol, such as `h2`; not given: for all.
    pub(super) alpn: Option<String>,
    /// A name under `pools`.
    pub(super) pool: String,
}

/// Who may send a PROXY header (version 1 or 2).
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "AcceptProxy", deny_unknown_fields)]
pub(super) struct AcceptProxyFile {
    /// Networks, such as `10.0.0.0/8`, or addresses.
    #[schemars(length(min = 1))]
    pub(super) from: Vec<String>,
}

/// How many sessions a client network may have, by the address that connects.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "PerSource", deny_unknown_fields)]
pub(super) struct PerSourceFile {
    /// Sessions at once.
    #[schemars(range(min = PER_SOURCE_COUNT.min, max = PER_SOURCE_COUNT.max))]
    pub(super) count: u32,
    /// Bits of an IPv4 address that make a network.
    #[schemars(range(min = IPV4_PREFIX.min, max = IPV4_PREFIX.max))]
    #[schemars(default = "whole::<{ IPV4_PREFIX.default }>")]
    pub(super) ipv4_prefix: u32,
    /// Bits of an IPv6 address that make a network.
    #[schemars(range(min = IPV6_PREFIX.min, max = IPV6_PREFIX.max))]
    #[schemars(default = "whole::<{ IPV6_PREFIX.default }>")]
    pub(super) ipv6_prefix: u32,
}

/// Servers that can stand in for each other, and how one of them is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Pool", deny_unknown_fields)]
pub(super) struct PoolFile {
    /// How a connection without a key is placed.
    #[schemars(default = "round_robin")]
    pub(super) balance: Balance,
    /// What keeps a client at its server.
    #[schemars(default)]
    pub(super) sticky: StickyFile,
    /// Where the servers are; at least one that is no backup.
    #[schemars(length(min = 1))]
    pub(super) servers: Vec<ServerFile>,
    /// PROXY header sent to the servers.
    #[schemars(default)]
    pub(super) send_proxy: OrFalse<ProxyVersion>,
    /// X-Forwarded-For and X-Forwarded-Proto in requests: `x-forwarded-for` or `append` adds the
    /// client behind what is there, `replace` takes out what is there.
    #[schemars(default)]
    pub(super) forwarded: OrFalse<ForwardedFile>,
    /// Addresses of this host that servers are connected to from, in turn (checks: from the first
    /// that fits). Empty: the kernel's choice, and for servers on IPv4 loopback addresses other
    /// addresses of 127.0.0.0/8 once that has no port left.
    #[schemars(default)]
    pub(super) source_addresses: Vec<String>,
    /// Milliseconds one connect may take before another server is tried.
    #[schemars(range(min = CONNECT_TIMEOUT_MS.min, max = CONNECT_TIMEOUT_MS.max))]
    #[schemars(default = "whole::<{ CONNECT_TIMEOUT_MS.default }>")]
    pub(super) connect_timeout_ms: u32,
    /// Different servers tried before giving up.
    #[schemars(range(min = CONNECT_TRIES.min, max = CONNECT_TRIES.max))]
    #[schemars(default = "whole::<{ CONNECT_TRIES.default }>")]
    pub(super) connect_tries: u32,
    /// Sessions that each server may have at once, where it has no limit of its own. `false`: any
    /// number.
    #[schemars(schema_with = "switched::<{ SERVER_CONNECTIONS.min }, { SERVER_CONNECTIONS.max }>")]
    #[schemars(default)]
    pub(super) max_connections_per_server: OrFalse<u32>,
    /// Sessions that may be connecting at the same time, over all workers. `false`: any number.
    #[schemars(schema_with = "switched::<{ CONNECTS_IN_FLIGHT.min }, { CONNECTS_IN_FLIGHT.max }>")]
    #[schemars(default)]
    pub(super) connects_in_flight_max: OrFalse<u32>,
    /// Sessions that may wait while the limits above leave no place for them; 0: none waits.
    #[schemars(range(min = QUEUE.min, max = QUEUE.max))]
    #[schemars(default = "whole::<{ QUEUE.default }>")]
    pub(super) queue_max: u32,
    /// Milliseconds one may wait there.
    #[schemars(range(min = QUEUE_TIMEOUT_MS.min, max = QUEUE_TIMEOUT_MS.max))]
    #[schemars(default = "whole::<{ QUEUE_TIMEOUT_MS.default }>")]
    pub(super) queue_timeout_ms: u32,
    /// Milliseconds without a byte in either direction after which a session is closed. `false`:
    /// never.
    #[schemars(schema_with = "switched::<{ IDLE_TIMEOUT_MS.min }, { IDLE_TIMEOUT_MS.max }>")]
    #[schemars(default = "idle_timeout_ms")]
    pub(super) idle_timeout_ms: OrFalse<u32>,
    /// The same, once one side has said EOF.
    #[schemars(schema_with = "half_closed_timeout")]
    #[schemars(default = "half_closed_timeout_ms")]
    pub(super) half_closed_timeout_ms: OrFalse<u32>,
    /// Milliseconds from accept after which a session is closed whatever it does. `false`: never.
    #[schemars(schema_with = "switched::<{ MAX_AGE_MS.min }, { MAX_AGE_MS.max }>")]
    #[schemars(default = "max_age_ms")]
    pub(super) max_age_ms: OrFalse<u32>,
    /// Each session's own maximum age is up to this share lower, by chance.
    #[schemars(range(min = MAX_AGE_JITTER_PERCENT.min, max = MAX_AGE_JITTER_PERCENT.max))]
    #[schemars(default = "whole::<{ MAX_AGE_JITTER_PERCENT.default }>")]
    pub(super) max_age_jitter_percent: u32,
    /// Checks that take a server down and bring it up again; `false`: none are made.
    #[schemars(default)]
    pub(super) health: OrFalse<HealthFile>,
    /// Leaves a server out for a while after failed connects or early resets in a row; `false`:
    /// never.
    #[schemars(default = "eject")]
    pub(super) eject: OrFalse<EjectFile>,
    /// Milliseconds over which a server that has come up gets its whole share.
    #[schemars(range(min = SLOW_START_MS.min, max = SLOW_START_MS.max))]
    #[schemars(default = "whole::<{ SLOW_START_MS.default }>")]
    pub(super) slow_start_ms: u32,
    /// What becomes of the sessions of a server that checks declare down: `keep` them, or close
    /// so many a second.
    #[schemars(default)]
    pub(super) on_down: OnDownFile,
}

/// An address, or an object with more to say.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Server")]
pub(super) enum ServerFile {
    /// `IP:PORT`, `[IPv6]:PORT`, `NAME:PORT` (looked up at start and reload, all its addresses
    /// become servers) or `unix:/PATH`.
    Address(String),
    Options(ServerOptions),
}

/// A server with a weight, an id, a limit or as a backup.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ServerOptions {
    /// `IP:PORT`, `[IPv6]:PORT`, `NAME:PORT` or `unix:/PATH`.
    pub(super) address: String,
    /// Its name in tokens and sid prefixes (letters, digits, `_`, `-`); the address when not given.
    pub(super) id: Option<String>,
    /// Share of connections relative to the other servers.
    #[schemars(range(min = WEIGHT.min, max = WEIGHT.max))]
    #[schemars(default = "whole::<{ WEIGHT.default }>")]
    pub(super) weight: u32,
    /// Used only when no other server can be.
    #[schemars(default)]
    pub(super) backup: bool,
    /// Sessions it may have at once. `false`: what the pool says.
    #[schemars(schema_with = "switched::<{ SERVER_CONNECTIONS.min }, { SERVER_CONNECTIONS.max }>")]
    #[schemars(default)]
    pub(super) max_connections: OrFalse<u32>,
}

/// How X-Forwarded-For and X-Forwarded-Proto are written.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Forwarded")]
pub(super) enum ForwardedFile {
    /// The same as `append`.
    XForwardedFor,
    /// The client address is appended to what is there.
    Append,
    /// What is there is replaced.
    Replace,
}

/// TCP keep-alive (tcp(7)).
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "TcpKeepAlive", deny_unknown_fields)]
pub(super) struct TcpKeepAliveFile {
    /// Idle seconds before the first probe.
    #[schemars(range(min = IDLE_S.min, max = IDLE_S.max))]
    #[schemars(default = "whole::<{ IDLE_S.default }>")]
    pub(super) idle_s: u32,
    /// Seconds between probes.
    #[schemars(range(min = INTERVAL_S.min, max = INTERVAL_S.max))]
    #[schemars(default = "whole::<{ INTERVAL_S.default }>")]
    pub(super) interval_s: u32,
    /// Unanswered probes that end the connection.
    #[schemars(range(min = PROBES.min, max = PROBES.max))]
    #[schemars(default = "whole::<{ PROBES.default }>")]
    pub(super) probes: u32,
}

/// A setting that `false` turns off.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(untagged, inline)]
pub(super) enum OrFalse<T> {
    Set(T),
    False(False),
}

/// The one JSON value `false`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct False;

impl<T> From<Option<T>> for OrFalse<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::False(False), Self::Set)
    }
}

impl<T> From<OrFalse<T>> for Option<T> {
    fn from(written: OrFalse<T>) -> Self {
        match written {
            OrFalse::Set(value) => Some(value),
            OrFalse::False(_) => None,
        }
    }
}

impl<T> Default for OrFalse<T> {
    fn default() -> Self {
        Self::False(False)
    }
}

impl<T: Serialize> Serialize for OrFalse<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Set(value) => value.serialize(serializer),
            Self::False(False) => serializer.serialize_bool(false),
        }
    }
}

impl JsonSchema for False {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "False".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "const": false })
    }
}

impl Default for ListenerFile {
    fn default() -> Self {
        Self {
            name: None,
            bind: OneOrMany::Many(Vec::new()),
            peek: None,
            keep_alive: None,
            routes: Vec::new(),
            pool: None,
            accept_proxy: None,
            allow: Vec::new(),
            deny: Vec::new(),
            max_connections: max_connections(),
            max_connections_per_source: OrFalse::default(),
            accept_rate_per_s: accept_rate_per_s(),
            peek_timeout_ms: PEEK_TIMEOUT_MS.default,
            auto_timeout_ms: AUTO_TIMEOUT_MS.default,
            head_max_bytes: HEAD_MAX_BYTES.default,
        }
    }
}

impl Default for PoolFile {
    fn default() -> Self {
        Self {
            balance: round_robin(),
            sticky: StickyFile::default(),
            servers: Vec::new(),
            send_proxy: OrFalse::default(),
            forwarded: OrFalse::default(),
            source_addresses: Vec::new(),
            connect_timeout_ms: CONNECT_TIMEOUT_MS.default,
            connect_tries: CONNECT_TRIES.default,
            max_connections_per_server: OrFalse::default(),
            connects_in_flight_max: OrFalse::default(),
            queue_max: QUEUE.default,
            queue_timeout_ms: QUEUE_TIMEOUT_MS.default,
            idle_timeout_ms: idle_timeout_ms(),
            half_closed_timeout_ms: half_closed_timeout_ms(),
            max_age_ms: max_age_ms(),
            max_age_jitter_percent: MAX_AGE_JITTER_PERCENT.default,
            health: OrFalse::default(),
            eject: eject(),
            slow_start_ms: SLOW_START_MS.default,
            on_down: OnDownFile::default(),
        }
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            address: String::new(),
            id: None,
            weight: WEIGHT.default,
            backup: false,
            max_connections: OrFalse::default(),
        }
    }
}

/// The JSON Schema of a configuration file.
pub fn schema() -> String {
    let mut schema = schemars::schema_for!(File);
    RecursiveTransform(plain).transform(&mut schema);
    format!("{:#}", schema.as_value())
}

/// Descriptions without the line ends of the source, and numbers without the width they have in
/// memory.
fn plain(schema: &mut Schema) {
    schema.remove("format");
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
}

impl Default for WorkersFile {
    fn default() -> Self {
        Self::Word(WorkersWord::Auto)
    }
}

fn switched<const MIN: u32, const MAX: u32>(_: &mut SchemaGenerator) -> Schema {
    let number = json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX });
    json_schema!({ "anyOf": [number, { "const": false }] })
}

fn half_closed_timeout(generator: &mut SchemaGenerator) -> Schema {
    switched::<{ HALF_CLOSED_TIMEOUT_MS.min }, { HALF_CLOSED_TIMEOUT_MS.max }>(generator)
}

pub(super) fn whole<const N: u32>() -> u32 {
    N
}

pub(super) fn tcp_keep_alive() -> OrFalse<TcpKeepAliveFile> {
    let (idle_s, interval_s, probes) = (IDLE_S.default, INTERVAL_S.default, PROBES.default);
    OrFalse::Set(TcpKeepAliveFile { idle_s, interval_s, probes })
}

pub(super) fn tcp_user_timeout_ms() -> OrFalse<u32> {
    TCP_USER_TIMEOUT_MS.default.into()
}

fn idle_timeout_ms() -> OrFalse<u32> {
    IDLE_TIMEOUT_MS.default.into()
}

fn half_closed_timeout_ms() -> OrFalse<u32> {
    HALF_CLOSED_TIMEOUT_MS.default.into()
}

fn max_age_ms() -> OrFalse<u32> {
    MAX_AGE_MS.default.into()
}

pub(super) fn max_connections() -> OrFalse<u32> {
    MAX_CONNECTIONS.default.into()
}

fn accept_rate_per_s() -> OrFalse<u32> {
    ACCEPT_RATE_PER_S.default.into()
}

fn yes() -> bool {
    true
}

fn round_robin() -> Balance {
    Balance::RoundRobin
}
