//! What of each answer is shown, and in which order it is left out where there is not room for all.

use super::table::{Column, Unit};

const fn column(title: &'static str, path: &'static str, unit: Unit, rank: u8) -> Column {
    Column { title, path, unit, rank }
}

const fn field(title: &'static str, path: &'static str, unit: Unit) -> Column {
    column(title, path, unit, 0)
}

pub(super) const STATUS: &[Column] = &[
    field("version", "version", Unit::Text),
    field("pid", "pid", Unit::Text),
    field("started", "started_at", Unit::Text),
    field("up for", "uptime_ms", Unit::Ms),
    field("engine", "engine", Unit::Text),
    field("workers", "workers", Unit::Count),
    field("edition", "edition", Unit::Text),
    field("draining", "draining", Unit::Text),
    field("live", "sessions_live", Unit::Count),
    field("accepted", "accepted_total", Unit::Count),
    field("closed", "closed_total", Unit::Count),
    field("reasons", "closed", Unit::Tally),
    field("bytes up", "bytes_up_total", Unit::Bytes),
    field("bytes down", "bytes_down_total", Unit::Bytes),
    field("log level", "log_level", Unit::Text),
    field("log lost", "unlogged_total", Unit::Count),
    field("changes", "changes", Unit::Count),
];

pub(super) const LISTENERS: &[Column] = &[
    column("LISTENER", "name", Unit::Text, 0),
    column("BIND", "bind", Unit::List, 0),
    column("POOL", "pool", Unit::Text, 0),
    column("PEEK", "peek", Unit::Text, 3),
    column("KEEP-ALIVE", "keep_alive", Unit::Text, 4),
    column("LIVE", "live", Unit::Count, 0),
    column("MAX", "max_connections", Unit::Count, 2),
    column("ACCEPTED", "accepted_total", Unit::Count, 1),
    column("UP", "bytes_up_total", Unit::Bytes, 2),
    column("DOWN", "bytes_down_total", Unit::Bytes, 2),
];

pub(super) const POOLS: &[Column] = &[
    column("POOL", "name", Unit::Text, 0),
    column("CONDITION", "condition", Unit::State, 0),
    column("BALANCE", "balance", Unit::Text, 2),
    column("STICKY", "sticky", Unit::Text, 1),
    column("LIVE", "live", Unit::Count, 0),
    column("QUEUED", "queued", Unit::Count, 1),
    column("CONNECTING", "connecting", Unit::Count, 3),
    column("KEYS", "learned_keys", Unit::Count, 2),
    column("RETRIES", "retries_total", Unit::Count, 3),
    column("SERVERS", "servers", Unit::List, 4),
];

pub(super) const SERVERS: &[Column] = &[
    column("POOL", "pool", Unit::Text, 0),
    column("SERVER", "address", Unit::Text, 0),
    column("ID", "id", Unit::Text, 5),
    column("STATE", "state", Unit::State, 0),
    column("FOR", "for_ms", Unit::Ms, 6),
    column("WEIGHT", "weight", Unit::Count, 1),
    column("LIVE", "live", Unit::Count, 0),
    column("MAX", "max_connections", Unit::Count, 4),
    column("TOTAL", "total", Unit::Count, 1),
    column("UP", "bytes_up_total", Unit::Bytes, 2),
    column("DOWN", "bytes_down_total", Unit::Bytes, 2),
    column("CONNECT", "connect_us.p50", Unit::Us, 3),
    column("P99", "connect_us.p99", Unit::Us, 4),
    column("BACKUP", "backup", Unit::Text, 5),
    column("ERRORS", "connect_errors", Unit::Tally, 7),
];

pub(super) const WORKERS: &[Column] = &[
    column("WORKER", "number", Unit::Count, 0),
    column("CORE", "core", Unit::Count, 0),
    column("LIVE", "live", Unit::Count, 0),
    column("MAX", "max", Unit::Count, 1),
    column("ACCEPTED", "accepted_total", Unit::Count, 0),
    column("LOG LOST", "unlogged_total", Unit::Count, 2),
    column("LACKED", "lacked", Unit::Tally, 3),
    column("CLOSED", "closed", Unit::Tally, 4),
];

pub(super) const SESSIONS: &[Column] = &[
    column("ID", "id", Unit::Text, 0),
    column("CLIENT", "client", Unit::Text, 0),
    column("LISTENER", "listener", Unit::Text, 6),
    column("HOST", "host", Unit::Text, 4),
    column("POOL", "pool", Unit::Text, 3),
    column("SERVER", "server", Unit::Text, 0),
    column("PHASE", "phase", Unit::Text, 5),
    column("UP", "bytes_up", Unit::Bytes, 0),
    column("DOWN", "bytes_down", Unit::Bytes, 0),
    column("AGE", "age_ms", Unit::Ms, 0),
    column("IDLE", "idle_ms", Unit::Ms, 2),
    column("HOW", "how", Unit::Text, 7),
    column("KEY", "key", Unit::Text, 7),
];

pub(super) const SESSION: &[Column] = &[
    field("id", "id", Unit::Text),
    field("worker", "worker", Unit::Count),
    field("listener", "listener", Unit::Text),
    field("client", "client", Unit::Text),
    field("host", "host", Unit::Text),
    field("pool", "pool", Unit::Text),
    field("server", "server", Unit::Text),
    field("how", "how", Unit::Text),
    field("key", "key", Unit::Text),
    field("phase", "phase", Unit::Text),
    field("mode up", "mode_up", Unit::Text),
    field("mode down", "mode_down", Unit::Text),
    field("bytes up", "bytes_up", Unit::Bytes),
    field("bytes down", "bytes_down", Unit::Bytes),
    field("age", "age_ms", Unit::Ms),
    field("idle", "idle_ms", Unit::Ms),
    field("peek", "peek_us", Unit::Us),
    field("connect", "connect_us", Unit::Us),
    field("retries", "retries", Unit::Count),
];

/// Of a session's two connections, which are the rows.
pub(super) const TCP_INFO: &[Column] = &[
    column("CONNECTION", "side", Unit::Text, 0),
    column("RTT", "rtt_us", Unit::Us, 0),
    column("RTT ±", "rtt_deviation_us", Unit::Us, 2),
    column("CWND", "cwnd_segments", Unit::Count, 1),
    column("UNACKED", "unacked_segments", Unit::Count, 1),
    column("LOST", "lost_segments", Unit::Count, 2),
    column("RESENT", "retransmits_total", Unit::Count, 0),
    column("MSS", "mss_bytes", Unit::Count, 3),
    column("SENT", "last_sent_ms", Unit::Ms, 1),
    column("RECEIVED", "last_received_ms", Unit::Ms, 1),
];

pub(super) const KEYS: &[Column] = &[
    column("POOL", "pool", Unit::Text, 0),
    column("HASH", "hash", Unit::Text, 0),
    column("SERVER", "server", Unit::Text, 0),
    column("SESSIONS", "sessions", Unit::Count, 0),
    column("EXPIRES", "expires_in_ms", Unit::Ms, 1),
];

pub(super) const LIMITS: &[Column] = &[
    column("LIMIT", "name", Unit::Text, 0),
    column("OF", "scope", Unit::Text, 0),
    column("USED", "used", Unit::Count, 0),
    column("MAX", "max", Unit::Count, 0),
    column("UNIT", "unit", Unit::Text, 1),
    column("FULL", "full", Unit::Text, 2),
];

pub(super) const CHANGES: &[Column] = &[
    column("AT", "at", Unit::Text, 0),
    column("POOL", "pool", Unit::Text, 1),
    column("SERVER", "server", Unit::Text, 0),
    column("STATE", "state", Unit::Text, 0),
    column("CAUSE", "cause", Unit::Text, 0),
    column("BY", "by", Unit::Text, 2),
];

pub(super) const PORTS: &[Column] = &[
    column("SOURCE", "source", Unit::Text, 0),
    column("SERVER", "server", Unit::Text, 0),
    column("USED", "used", Unit::Count, 0),
    column("MAX", "max", Unit::Count, 0),
    column("FULL", "full", Unit::Text, 1),
];

pub(super) const WHY: &[Column] = &[
    field("listener", "listener", Unit::Text),
    field("route", "route", Unit::Text),
    field("pool", "pool", Unit::Text),
    field("because", "why_pool", Unit::Text),
    field("key", "key.kind", Unit::Text),
    field("leads to", "key.leads_to", Unit::Text),
    field("server", "server", Unit::Text),
    field("how", "how", Unit::Text),
    field("because", "why", Unit::Text),
];

pub(super) const CANDIDATES: &[Column] = &[
    column("SERVER", "address", Unit::Text, 0),
    column("STATE", "state", Unit::State, 0),
    column("WEIGHT", "weight", Unit::Count, 0),
    column("LIVE", "live", Unit::Count, 0),
    column("NOT CHOSEN AS", "excluded", Unit::Text, 1),
];
