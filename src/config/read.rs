//! JSON tree to configuration as written; every problem of form is reported, none ends it.
//!
//! Looks at types, ranges, words and keys. What a string means (an address, a pool's name) is
//! `resolve`'s to say. A value that cannot be read is replaced by one of its type, so that what
//! stands around it is still looked at and keeps its index.

use super::admin;
use super::file::{
    AcceptProxyFile, AccountFile, False, File, ForwardedFile, ListenerFile, OneOrMany, OrFalse,
    PerSourceFile, PoolFile, RouteFile, ServerFile, ServerOptions, TcpKeepAliveFile, WorkersFile,
    WorkersWord, tcp_keep_alive,
};
use super::file_sticky::{StickyFile, StickyRule, StickyWord};
use super::limits::{
    ACCEPT_RATE_PER_S, ACCOUNT, AUTO_TIMEOUT_MS, CONNECT_TIMEOUT_MS, CONNECT_TRIES,
    CONNECTS_IN_FLIGHT, COOKIE_ATTRIBUTES, CORE, DRAIN_TIMEOUT_MS, DRAIN_WINDOW_MS,
    HALF_CLOSED_TIMEOUT_MS, HEAD_MAX_BYTES, IDLE_S, IDLE_TIMEOUT_MS, INTERVAL_S, IPV4_PREFIX,
    IPV6_PREFIX, MAX_AGE_JITTER_PERCENT, MAX_AGE_MS, MAX_CONNECTIONS, MAX_ENTRIES, PEEK_TIMEOUT_MS,
    PER_SOURCE_COUNT, PROBES, QUEUE, QUEUE_TIMEOUT_MS, SERVER_CONNECTIONS, SOCKETIO_PATH, Switched,
    TCP_USER_TIMEOUT_MS, TTL_S, WEIGHT, WORKER_COUNT,
};
use super::problem::{Place, Report, suggestion};
use super::read_access_log::access_log;
use super::read_health;
use super::tree::{Fields, Node, list, number, texts, word};
use super::{Balance, EngineChoice, KeepAlive, LoopbackCongestion, Peek, ProxyVersion};

const WORKERS: &[(&str, WorkersWord)] = &[("auto", WorkersWord::Auto)];
const ENGINE: &[(&str, EngineChoice)] = &[
    ("auto", EngineChoice::Auto),
    ("io_uring", EngineChoice::IoUring),
    ("epoll", EngineChoice::Epoll),
];
const LOOPBACK_CONGESTION: &[(&str, LoopbackCongestion)] =
    &[("reno", LoopbackCongestion::Reno), ("system", LoopbackCongestion::System)];
const PEEK: &[(&str, Peek)] =
    &[("none", Peek::None), ("auto", Peek::Auto), ("http", Peek::Http), ("tls", Peek::Tls)];
const KEEP_ALIVE: &[(&str, KeepAlive)] =
    &[("trust", KeepAlive::Trust), ("one_request", KeepAlive::OneRequest)];
const BALANCE: &[(&str, Balance)] = &[
    ("round_robin", Balance::RoundRobin),
    ("least_conn", Balance::LeastConn),
    ("random_two", Balance::RandomTwo),
    ("hash", Balance::Hash),
];
const STICKY: &[(&str, StickyWord)] = &[
    ("none", StickyWord::None),
    ("source", StickyWord::Source),
    ("socketio", StickyWord::SocketIo),
];
pub(super) const SEND_PROXY: &[(&str, ProxyVersion)] =
    &[("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)];
const FORWARDED: &[(&str, ForwardedFile)] = &[
    ("x-forwarded-for", ForwardedFile::XForwardedFor),
    ("append", ForwardedFile::Append),
    ("replace", ForwardedFile::Replace),
];

/// The whole file; `None` only when it is no object.
pub(super) fn file(node: &Node, report: &mut Report) -> Option<File> {
    let Node::Object(_) = node else {
        report.unreadable(&Place::default(), format!("the file must be an object, is {node}"));
        return None;
    };
    let mut fields = Fields::open(node, Place::default(), report)?;
    let schema = fields.text("$schema", report);
    let workers = fields.take("workers").and_then(|(node, place)| workers(node, &place, report));
    let listeners = match fields.required("listeners", report) {
        Some((node, place)) => list(node, &place, report, listener),
        None => Vec::new(),
    };
    let pools = match fields.required("pools", report) {
        Some((node, place)) => pools(node, &place, report),
        None => Vec::new(),
    };
    let tcp_keep_alive = match fields.take("tcp_keep_alive") {
        Some((node, place)) => or_false(node, &place, report, keep_alive_probes),
        None => tcp_keep_alive(),
    };
    let tcp_user_timeout_ms =
        switched(&mut fields, "tcp_user_timeout_ms", TCP_USER_TIMEOUT_MS, report);
    let engine = fields
        .take("engine")
        .and_then(|(node, place)| word(node, &place, ENGINE, report))
        .unwrap_or_default();
    let loopback_congestion = fields
        .take("loopback_congestion")
        .and_then(|(node, place)| word(node, &place, LOOPBACK_CONGESTION, report))
        .unwrap_or_default();
    let max_connections = switched(&mut fields, "max_connections", MAX_CONNECTIONS, report);
    let access_log = fields
        .take("access_log")
        .map(|(node, place)| access_log(node, place, report))
        .unwrap_or_default();
    let splice = fields.flag("splice", true, report);
    let drain_timeout_ms = fields.whole("drain_timeout_ms", DRAIN_TIMEOUT_MS, report);
    let drain_window_ms = fields.whole("drain_window_ms", DRAIN_WINDOW_MS, report);
    let user = account(&mut fields, "user", report);
    let group = account(&mut fields, "group", report);
    let sandbox = fields.flag("sandbox", true, report);
    let admin = match fields.take("admin") {
        Some((node, place)) => or_false(node, &place, report, admin::read),
        None => OrFalse::default(),
    };
    fields.finish(report);
    let workers = workers.unwrap_or_default();
    Some(File {
        schema,
        workers,
        listeners,
        pools,
        tcp_keep_alive,
        tcp_user_timeout_ms,
        engine,
        loopback_congestion,
        max_connections,
        access_log,
        splice,
        drain_timeout_ms,
        drain_window_ms,
        user,
        group,
        sandbox,
        admin,
    })
}

/// A name or a number, `None` when it is left out (or null).
fn account(fields: &mut Fields<'_>, key: &'static str, report: &mut Report) -> Option<AccountFile> {
    match fields.take(key)? {
        (Node::Null, _) => None,
        (Node::Text(name), _) => Some(AccountFile::Name(name.clone())),
        (node @ Node::Number(_), place) => {
            number(node, &place, ACCOUNT.min..=ACCOUNT.max, report).map(AccountFile::Number)
        }
        (node, place) => {
            report.unreadable(&place, format!("must be a name or a number, is {node}"));
            None
        }
    }
}

fn workers(node: &Node, place: &Place, report: &mut Report) -> Option<WorkersFile> {
    match node {
        Node::Text(_) => word(node, place, WORKERS, report).map(WorkersFile::Word),
        Node::Number(_) => {
            let range = WORKER_COUNT.min..=WORKER_COUNT.max;
            number(node, place, range, report).map(WorkersFile::Count)
        }
        Node::List(_) => {
            let core = |node: &Node, place: Place, report: &mut Report| {
                number(node, &place, CORE.min..=CORE.max, report).unwrap_or(CORE.default)
            };
            Some(WorkersFile::Cores(list(node, place, report, core)))
        }
        _ => {
            let allowed = "\"auto\", a number or a list of cores";
            report.unreadable(place, format!("must be {allowed}, is {node}"));
            None
        }
    }
}

/// A setting that may be `false`.
pub(super) fn or_false<T>(
    node: &Node,
    place: &Place,
    report: &mut Report,
    read: impl FnOnce(&Node, &Place, &mut Report) -> Option<T>,
) -> OrFalse<T> {
    match node {
        Node::Bool(false) => OrFalse::False(False),
        _ => read(node, place, report).map_or_else(OrFalse::default, OrFalse::Set),
    }
}

/// A number that may be `false`.
fn switched(
    fields: &mut Fields<'_>,
    key: &'static str,
    Switched { min, max, default }: Switched,
    report: &mut Report,
) -> OrFalse<u32> {
    match fields.take(key) {
        None => default.into(),
        Some((Node::Bool(false), _)) => OrFalse::False(False),
        Some((node @ Node::Number(_), place)) => number(node, &place, min..=max, report).into(),
        Some((node, place)) => {
            report.unreadable(&place, format!("must be false or {min} to {max}, is {node}"));
            default.into()
        }
    }
}

fn per_source(node: &Node, place: &Place, report: &mut Report) -> Option<PerSourceFile> {
    if let Node::Object(_) = node {
        let mut fields = Fields::open(node, place.clone(), report)?;
        let range = PER_SOURCE_COUNT.min..=PER_SOURCE_COUNT.max;
        let count = fields
            .required("count", report)
            .and_then(|(node, place)| number(node, &place, range, report));
        let ipv4_prefix = fields.whole("ipv4_prefix", IPV4_PREFIX, report);
        let ipv6_prefix = fields.whole("ipv6_prefix", IPV6_PREFIX, report);
        fields.finish(report);
        let count = count.unwrap_or(PER_SOURCE_COUNT.default);
        return Some(PerSourceFile { count, ipv4_prefix, ipv6_prefix });
    }
    report.unreadable(place, format!("must be false or an object, is {node}"));
    None
}

fn keep_alive_probes(node: &Node, place: &Place, report: &mut Report) -> Option<TcpKeepAliveFile> {
    if let Node::Object(_) = node {
        let mut fields = Fields::open(node, place.clone(), report)?;
        let idle_s = fields.whole("idle_s", IDLE_S, report);
        let interval_s = fields.whole("interval_s", INTERVAL_S, report);
        let probes = fields.whole("probes", PROBES, report);
        fields.finish(report);
        return Some(TcpKeepAliveFile { idle_s, interval_s, probes });
    }
    report.unreadable(place, format!("must be false or an object, is {node}"));
    None
}

fn listener(node: &Node, place: Place, report: &mut Report) -> ListenerFile {
    let mut listener = ListenerFile::default();
    let Some(mut fields) = Fields::open(node, place, report) else {
        return listener;
    };
    listener.name = fields.text("name", report);
    if let Some((node, place)) = fields.required("bind", report) {
        listener.bind = one_or_many(node, &place, report);
    }
    listener.peek = fields.word("peek", PEEK, report);
    listener.keep_alive = fields.word("keep_alive", KEEP_ALIVE, report);
    if let Some((node, place)) = fields.take("routes") {
        listener.routes = list(node, &place, report, route);
    }
    listener.pool = fields.text("pool", report);
    listener.accept_proxy = match fields.take("accept_proxy") {
        None | Some((Node::Null, _)) => None,
        Some((node, place)) => accept_proxy(node, place, report),
    };
    listener.allow = fields.texts("allow", report);
    listener.deny = fields.texts("deny", report);
    listener.max_connections = switched(&mut fields, "max_connections", MAX_CONNECTIONS, report);
    if let Some((node, place)) = fields.take("max_connections_per_source") {
        listener.max_connections_per_source = or_false(node, &place, report, per_source);
    }
    listener.accept_rate_per_s =
        switched(&mut fields, "accept_rate_per_s", ACCEPT_RATE_PER_S, report);
    listener.peek_timeout_ms = fields.whole("peek_timeout_ms", PEEK_TIMEOUT_MS, report);
    listener.auto_timeout_ms = fields.whole("auto_timeout_ms", AUTO_TIMEOUT_MS, report);
    listener.head_max_bytes = fields.whole("head_max_bytes", HEAD_MAX_BYTES, report);
    fields.finish(report);
    listener
}

fn one_or_many(node: &Node, place: &Place, report: &mut Report) -> OneOrMany {
    match node {
        Node::Text(value) => OneOrMany::One(value.clone()),
        Node::List(_) => OneOrMany::Many(texts(node, place, report)),
        _ => {
            report.unreadable(place, format!("must be a string or a list, is {node}"));
            OneOrMany::Many(Vec::new())
        }
    }
}

fn route(node: &Node, place: Place, report: &mut Report) -> RouteFile {
    let mut route = RouteFile::default();
    if let Some(mut fields) = Fields::open(node, place, report) {
        route.host = fields.required_text("host", report);
        route.alpn = fields.text("alpn", report);
        route.pool = fields.required_text("pool", report);
        fields.finish(report);
    }
    route
}

fn accept_proxy(node: &Node, place: Place, report: &mut Report) -> Option<AcceptProxyFile> {
    let mut fields = Fields::open(node, place, report)?;
    let from = match fields.required("from", report) {
        Some((node, place)) => texts(node, &place, report),
        None => Vec::new(),
    };
    fields.finish(report);
    Some(AcceptProxyFile { from })
}

fn pools(node: &Node, place: &Place, report: &mut Report) -> Vec<(String, PoolFile)> {
    let Node::Object(entries) = node else {
        report.unreadable(place, format!("must be an object of pools by name, is {node}"));
        return Vec::new();
    };
    let mut pools: Vec<(String, PoolFile)> = Vec::new();
    let mut names = hashbrown::HashSet::new();
    for (name, node) in entries {
        let place = place.key(name);
        if names.insert(name) {
            pools.push((name.clone(), pool(node, place, report)));
        } else {
            report.problem(&place, "is given twice");
        }
    }
    pools
}

fn pool(node: &Node, place: Place, report: &mut Report) -> PoolFile {
    let mut pool = PoolFile::default();
    let Some(mut fields) = Fields::open(node, place, report) else {
        return pool;
    };
    if let Some((node, place)) = fields.take("balance") {
        pool.balance = word(node, &place, BALANCE, report).unwrap_or(pool.balance);
    }
    if let Some((node, place)) = fields.take("sticky") {
        pool.sticky = sticky(node, place, report).unwrap_or_default();
    }
    if let Some((node, place)) = fields.required("servers", report) {
        pool.servers = list(node, &place, report, server);
    }
    if let Some((node, place)) = fields.take("send_proxy") {
        pool.send_proxy = or_false(node, &place, report, |n, p, r| word(n, p, SEND_PROXY, r));
    }
    if let Some((node, place)) = fields.take("forwarded") {
        pool.forwarded = or_false(node, &place, report, |n, p, r| word(n, p, FORWARDED, r));
    }
    pool.source_addresses = fields.texts("source_addresses", report);
    pool.connect_timeout_ms = fields.whole("connect_timeout_ms", CONNECT_TIMEOUT_MS, report);
    pool.connect_tries = fields.whole("connect_tries", CONNECT_TRIES, report);
    let per_server = "max_connections_per_server";
    pool.max_connections_per_server = switched(&mut fields, per_server, SERVER_CONNECTIONS, report);
    pool.connects_in_flight_max =
        switched(&mut fields, "connects_in_flight_max", CONNECTS_IN_FLIGHT, report);
    pool.queue_max = fields.whole("queue_max", QUEUE, report);
    pool.queue_timeout_ms = fields.whole("queue_timeout_ms", QUEUE_TIMEOUT_MS, report);
    pool.idle_timeout_ms = switched(&mut fields, "idle_timeout_ms", IDLE_TIMEOUT_MS, report);
    pool.half_closed_timeout_ms =
        switched(&mut fields, "half_closed_timeout_ms", HALF_CLOSED_TIMEOUT_MS, report);
    pool.max_age_ms = switched(&mut fields, "max_age_ms", MAX_AGE_MS, report);
    pool.max_age_jitter_percent =
        fields.whole("max_age_jitter_percent", MAX_AGE_JITTER_PERCENT, report);
    read_health::pool(&mut fields, &mut pool, report);
    fields.finish(report);
    pool
}

fn server(node: &Node, place: Place, report: &mut Report) -> ServerFile {
    match node {
        Node::Text(value) => ServerFile::Address(value.clone()),
        Node::Object(_) => {
            let mut server = ServerOptions::default();
            if let Some(mut fields) = Fields::open(node, place, report) {
                server.address = fields.required_text("address", report);
                server.id = fields.text("id", report);
                server.weight = fields.whole("weight", WEIGHT, report);
                server.backup = fields.flag("backup", false, report);
                server.max_connections =
                    switched(&mut fields, "max_connections", SERVER_CONNECTIONS, report);
                fields.finish(report);
            }
            ServerFile::Options(server)
        }
        _ => {
            report.unreadable(&place, format!("must be an address or an object, is {node}"));
            ServerFile::Address(String::new())
        }
    }
}

fn sticky(node: &Node, place: Place, report: &mut Report) -> Option<StickyFile> {
    match node {
        Node::Text(written) => {
            if matches!(written.as_str(), "cookie" | "insert" | "header" | "query") {
                let rule = format!("{{\"by\": {node}, \"name\": \"…\"}}");
                report.unreadable(&place, format!("needs a name: {rule}"));
                return None;
            }
            word(node, &place, STICKY, report).map(StickyFile::Word)
        }
        Node::Object(_) => sticky_rule(node, place, report).map(StickyFile::Rule),
        _ => {
            report.unreadable(&place, format!("must be a string or an object, is {node}"));
            None
        }
    }
}

fn sticky_rule(node: &Node, place: Place, report: &mut Report) -> Option<StickyRule> {
    let mut fields = Fields::open(node, place, report)?;
    let (by, by_place) = fields.required("by", report)?;
    let fields = &mut fields;
    let rule = match by {
        Node::Text(by) => match by.as_str() {
            "source" => StickyRule::Source { strict: fields.flag("strict", false, report) },
            "cookie" => sticky_cookie(fields, report),
            "insert" => StickyRule::Insert {
                name: fields.required_text("name", report),
                secret: fields.text_or("secret", "", report),
                attributes: fields.text_or("attributes", COOKIE_ATTRIBUTES, report),
                strict: fields.flag("strict", false, report),
            },
            "header" => StickyRule::Header {
                name: fields.required_text("name", report),
                strict: fields.flag("strict", false, report),
            },
            "query" => StickyRule::Query {
                name: fields.required_text("name", report),
                strict: fields.flag("strict", false, report),
            },
            "socketio" => StickyRule::SocketIo {
                path: fields.text_or("path", SOCKETIO_PATH, report),
                secret: fields.text("secret", report),
                ttl_s: fields.whole("ttl_s", TTL_S, report),
                max_entries: fields.whole("max_entries", MAX_ENTRIES, report),
                strict: fields.flag("strict", false, report),
            },
            _ => return unknown_rule(&Node::Text(by.clone()), &by_place, report),
        },
        _ => return unknown_rule(by, &by_place, report),
    };
    fields.finish(report);
    Some(rule)
}

fn sticky_cookie(fields: &mut Fields<'_>, report: &mut Report) -> StickyRule {
    StickyRule::Cookie {
        name: fields.required_text("name", report),
        learn: fields.flag("learn", false, report),
        ttl_s: fields.whole("ttl_s", TTL_S, report),
        max_entries: fields.whole("max_entries", MAX_ENTRIES, report),
        insert: fields.flag("insert", false, report),
        secret: fields.text_or("secret", "", report),
        attributes: fields.text_or("attributes", COOKIE_ATTRIBUTES, report),
        strict: fields.flag("strict", false, report),
    }
}

/// Which keys are known depends on `by`, so nothing else of the object is looked at.
fn unknown_rule(by: &Node, place: &Place, report: &mut Report) -> Option<StickyRule> {
    const RULES: [&str; 6] = ["source", "cookie", "insert", "header", "query", "socketio"];
    let near = if let Node::Text(by) = by { suggestion(by, RULES) } else { String::new() };
    let allowed = RULES.map(|rule| format!("\"{rule}\"")).join(", ");
    report.unreadable(place, format!("must be one of {allowed}, is {by}{near}"));
    None
}
