//! Pools: servers, stickiness, and what is sent ahead to a server.

use std::net::IpAddr;

use hashbrown::HashMap;

use super::{checked, health, narrow};
use crate::config::file::{ForwardedFile, OrFalse, PoolFile, ServerFile, ServerOptions};
use crate::config::file_sticky::{StickyFile, StickyRule, StickyWord};
use crate::config::limits::{
    COOKIE_ATTRIBUTES, MAX_ENTRIES, QUEUE, QUEUE_TIMEOUT_MS, SOCKETIO_PATH, TTL_S,
};
use crate::config::problem::{Place, Report};
use crate::config::{
    Address, Forwarded, Learn, OnDown, Pool, Server, ServerAddress, Sticky, Timeouts, value,
};

/// Pools a `PoolIndex` can tell apart.
const POOLS_MAX: usize = u16::MAX as usize;

/// One pool for each written, in the same order, whatever is wrong with it.
pub(super) fn resolve(
    written: &[(String, PoolFile)],
    place: &Place,
    report: &mut Report,
) -> Vec<Pool> {
    if written.is_empty() {
        report.problem(place, "must have at least one pool");
    }
    if written.len() > POOLS_MAX {
        let count = written.len();
        report.problem(place, format!("must be at most {POOLS_MAX}, are {count}"));
    }
    written.iter().map(|(name, pool)| resolve_pool(name, pool, &place.key(name), report)).collect()
}

fn resolve_pool(name: &str, written: &PoolFile, place: &Place, report: &mut Report) -> Pool {
    if let Err(message) = value::name(name) {
        report.problem(place, format!("the name of a pool {message}"));
    }
    let (sticky, strict) = sticky(&written.sticky, &place.key("sticky"), report);
    let servers = servers(written, &place.key("servers"), report);
    queue(written, &servers, place, report);
    let sources = &written.source_addresses;
    let source_addresses =
        source_addresses(sources, &servers, &place.key("source_addresses"), report);
    let mut pool = Pool {
        name: name.to_owned(),
        balance: written.balance,
        sticky,
        strict,
        send_proxy: match written.send_proxy {
            OrFalse::Set(version) => Some(version),
            OrFalse::False(_) => None,
        },
        forwarded: match written.forwarded {
            OrFalse::Set(ForwardedFile::XForwardedFor | ForwardedFile::Append) => Forwarded::Append,
            OrFalse::Set(ForwardedFile::Replace) => Forwarded::Replace,
            OrFalse::False(_) => Forwarded::Off,
        },
        servers,
        source_addresses,
        connect_timeout_ms: written.connect_timeout_ms,
        connect_tries: narrow(written.connect_tries),
        max_connections_per_server: written.max_connections_per_server.clone().into(),
        connects_in_flight_max: written.connects_in_flight_max.clone().into(),
        queue_max: written.queue_max,
        queue_timeout_ms: written.queue_timeout_ms,
        timeouts: Timeouts {
            idle_ms: written.idle_timeout_ms.clone().into(),
            half_closed_ms: written.half_closed_timeout_ms.clone().into(),
            max_age_ms: written.max_age_ms.clone().into(),
            max_age_jitter_percent: narrow(written.max_age_jitter_percent),
        },
        health: None,
        eject: None,
        slow_start_ms: 0,
        on_down: OnDown::Keep,
    };
    health::resolve(&mut pool, written, place, report);
    pool
}

/// Nobody waits where nothing is limited.
fn queue(written: &PoolFile, servers: &[Server], place: &Place, report: &mut Report) {
    let is_limited = written.connects_in_flight_max != OrFalse::default()
        || servers.iter().any(|server| server.max_connections.is_some());
    for (key, changed) in [
        ("queue_max", written.queue_max != QUEUE.default),
        ("queue_timeout_ms", written.queue_timeout_ms != QUEUE_TIMEOUT_MS.default),
    ] {
        if changed && !is_limited && servers.len() == written.servers.len() {
            let why = "has no effect without \"max_connections_per_server\", \
                       \"connects_in_flight_max\" or a server's \"max_connections\"";
            report.warning(&place.key(key), why);
        }
    }
}

fn servers(pool: &PoolFile, place: &Place, report: &mut Report) -> Vec<Server> {
    let written = &pool.servers;
    if written.is_empty() {
        report.problem(place, "must have at least one server");
    }
    let mut addresses: HashMap<ServerAddress, Place> = HashMap::new();
    let mut ids: HashMap<String, Place> = HashMap::new();
    let mut servers = Vec::with_capacity(written.len());
    for (i, server) in written.iter().enumerate() {
        let place = place.index(i);
        let bare;
        let (options, address_place) = match server {
            ServerFile::Options(options) => (options, place.key("address")),
            ServerFile::Address(address) => {
                bare = ServerOptions { address: address.clone(), ..ServerOptions::default() };
                (&bare, place.clone())
            }
        };
        let address = value::server_address(&options.address);
        let Some(address) = checked(address, &address_place, report) else {
            check_id(options, &place, &mut ids, report);
            continue;
        };
        if let Some(first) = addresses.insert(address.clone(), address_place.clone()) {
            report.problem(&address_place, format!("{address} is already at {first}"));
        }
        check_id(options, &place, &mut ids, report);
        let id = options.id.clone().unwrap_or_else(|| options.address.clone());
        let (weight, backup) = (narrow(options.weight), options.backup);
        let own: Option<u32> = options.max_connections.clone().into();
        let max_connections = own.or(pool.max_connections_per_server.clone().into());
        servers.push(Server { address, id, weight, backup, max_connections });
    }
    let is_backup = |server: &ServerFile| matches!(server, ServerFile::Options(o) if o.backup);
    if !written.is_empty() && written.iter().all(is_backup) {
        report.problem(place, "all servers are backups, at least one must not be");
    }
    servers
}

/// Each server that has an address must have a source that can reach it.
fn source_addresses(
    written: &[String],
    servers: &[Server],
    place: &Place,
    report: &mut Report,
) -> Vec<IpAddr> {
    let mut sources: Vec<IpAddr> = Vec::with_capacity(written.len());
    for (i, source) in written.iter().enumerate() {
        let place = place.index(i);
        let Some(ip) = checked(value::source_address(source), &place, report) else { continue };
        if sources.contains(&ip) {
            report.problem(&place, format!("{ip} is given twice"));
        }
        sources.push(ip);
    }
    if sources.len() < written.len() || sources.is_empty() {
        return sources;
    }
    for server in servers {
        let ServerAddress::Address(Address::Tcp(address)) = &server.address else { continue };
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        if !sources.iter().any(|source| source.is_ipv4() == address.is_ipv4()) {
            report.problem(place, format!("needs an {family} address for server {address}"));
        }
        // The kernel refuses to send from loopback to anywhere else.
        let is_loopback = address.ip().to_canonical().is_loopback();
        for (i, source) in sources.iter().enumerate() {
            let same_family = source.is_ipv4() == address.is_ipv4();
            if same_family && source.is_loopback() && !is_loopback {
                let why = format!("server {address} cannot be reached from {source}");
                report.problem(&place.index(i), why);
            }
        }
    }
    sources
}

fn check_id(
    options: &ServerOptions,
    place: &Place,
    ids: &mut HashMap<String, Place>,
    report: &mut Report,
) {
    let Some(id) = &options.id else {
        return;
    };
    let place = place.key("id");
    if checked(value::server_id(id), &place, report).is_some()
        && let Some(first) = ids.insert(id.clone(), place.clone())
    {
        report.problem(&place, format!("{id:?} is already at {first}"));
    }
}

/// What is looked at, and whether it is strict.
fn sticky(written: &StickyFile, place: &Place, report: &mut Report) -> (Sticky, bool) {
    match written {
        StickyFile::Word(StickyWord::None) => (Sticky::None, false),
        StickyFile::Word(StickyWord::Source) => (Sticky::Source, false),
        StickyFile::Word(StickyWord::SocketIo) => {
            let learn = Learn { ttl_s: TTL_S.default, max_entries: MAX_ENTRIES.default };
            let path = SOCKETIO_PATH.to_owned();
            (Sticky::SocketIo { path, secret: None, learn }, false)
        }
        StickyFile::Rule(rule) => sticky_rule(rule, place, report),
    }
}

fn sticky_rule(rule: &StickyRule, place: &Place, report: &mut Report) -> (Sticky, bool) {
    let name_place = place.key("name");
    match rule {
        StickyRule::Source { strict } => (Sticky::Source, *strict),
        StickyRule::Cookie { insert: true, name, learn, secret, attributes, strict, .. } => {
            if *learn {
                let why = "with \"insert\" there is nothing to learn, leave one of them out";
                report.problem(&place.key("learn"), why);
            }
            (insert(name, secret, attributes, place, report), *strict)
        }
        StickyRule::Cookie { insert: false, .. } => cookie(rule, place, report),
        StickyRule::Insert { name, secret, attributes, strict } => {
            (insert(name, secret, attributes, place, report), *strict)
        }
        StickyRule::Header { name, strict } => {
            checked(value::token(name), &name_place, report);
            (Sticky::Header { name: name.to_ascii_lowercase() }, *strict)
        }
        StickyRule::Query { name, strict } => {
            checked(value::query_name(name), &name_place, report);
            (Sticky::Query { name: name.clone() }, *strict)
        }
        StickyRule::SocketIo { path, secret, ttl_s, max_entries, strict } => {
            checked(value::request_path(path), &place.key("path"), report);
            if secret.as_deref() == Some("") {
                let why = "must not be empty; leave it out for sid prefixes that are server ids";
                report.problem(&place.key("secret"), why);
            }
            let learn = Learn { ttl_s: *ttl_s, max_entries: *max_entries };
            (Sticky::SocketIo { path: path.clone(), secret: secret.clone(), learn }, *strict)
        }
    }
}

/// A cookie the servers set; settings of the other kinds of cookie are pointed out.
fn cookie(rule: &StickyRule, place: &Place, report: &mut Report) -> (Sticky, bool) {
    let StickyRule::Cookie { name, learn, ttl_s, max_entries, secret, attributes, strict, .. } =
        rule
    else {
        return (Sticky::None, false);
    };
    checked(value::token(name), &place.key("name"), report);
    let without = |key: &str, changed: bool, needed: &str, report: &mut Report| {
        if changed {
            report.warning(&place.key(key), format!("has no effect without \"{needed}\": true"));
        }
    };
    without("ttl_s", !learn && *ttl_s != TTL_S.default, "learn", report);
    without("max_entries", !learn && *max_entries != MAX_ENTRIES.default, "learn", report);
    without("secret", !secret.is_empty(), "insert", report);
    without("attributes", attributes != COOKIE_ATTRIBUTES, "insert", report);
    let learn = learn.then_some(Learn { ttl_s: *ttl_s, max_entries: *max_entries });
    (Sticky::Cookie { name: name.clone(), learn }, *strict)
}

fn insert(
    name: &str,
    secret: &str,
    attributes: &str,
    place: &Place,
    report: &mut Report,
) -> Sticky {
    checked(value::token(name), &place.key("name"), report);
    checked(value::cookie_attributes(attributes), &place.key("attributes"), report);
    if secret.is_empty() {
        let why = "is empty: anyone can work out which cookie leads to which server address";
        report.warning(&place.key("secret"), why);
    }
    let (name, attributes) = (name.to_owned(), attributes.to_owned());
    Sticky::Insert { name, attributes, secret: secret.to_owned() }
}
