//! From the configuration in force back to the JSON of a file, with every default filled in.
//!
//! What `written` gives reads again as the same configuration; `effective` hides its secrets.

use serde_json::{Map, Value, json};

use super::{
    AccessLog, Account, Admin, AdminToken, Check, Config, Eject, Facility, Forwarded, Health,
    Learn, Listener, LogTo, OnDown, PerSource, Pool, PoolIndex, RouteTargets, Routes, Server,
    Sticky, SyslogFormat, TcpKeepAlive, Workers, value,
};

/// Stands where a secret would.
const HIDDEN: &str = "***";

/// Keys whose value nobody is shown.
const SECRETS: [&str; 2] = ["secret", "token"];

/// The configuration as a file would have it, without its secrets.
pub fn effective(config: &Config) -> Value {
    let mut file = written(config);
    conceal(&mut file);
    file
}

/// The same with its secrets.
pub fn written(config: &Config) -> Value {
    let listeners = config.listeners.iter().map(|of| listener(of, config));
    let pools = config.pools.iter().map(|of| (of.name.clone(), pool(of)));
    json!({
        "workers": workers(&config.workers),
        "tcp_keep_alive": config.tcp_keep_alive.map_or(json!(false), tcp_keep_alive),
        "tcp_user_timeout_ms": or_false(config.tcp_user_timeout_ms),
        "engine": config.engine,
        "loopback_congestion": config.loopback_congestion,
        "max_connections": or_false(config.max_connections),
        "access_log": config.access_log.as_ref().map_or(json!(false), access_log),
        "splice": config.splice,
        "drain_timeout_ms": config.drain_timeout_ms,
        "drain_window_ms": config.drain_window_ms,
        "user": config.user.as_ref().map(account),
        "group": config.group.as_ref().map(account),
        "sandbox": config.sandbox,
        "admin": config.admin.as_ref().map_or(json!(false), admin),
        "listeners": listeners.collect::<Vec<_>>(),
        "pools": pools.collect::<Map<_, _>>(),
    })
}

/// Puts stars in the place of every secret; an empty one is none.
pub(super) fn conceal(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                match value {
                    Value::String(secret) if SECRETS.contains(&key.as_str()) => {
                        if !secret.is_empty() {
                            HIDDEN.clone_into(secret);
                        }
                    }
                    value => conceal(value),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(conceal),
        _ => {}
    }
}

fn or_false(value: Option<impl Into<Value>>) -> Value {
    value.map_or(Value::Bool(false), Into::into)
}

fn workers(workers: &Workers) -> Value {
    match workers {
        Workers::Auto => json!("auto"),
        Workers::Count(count) => json!(count),
        Workers::Cores(cores) => json!(cores),
    }
}

fn account(account: &Account) -> Value {
    match account {
        Account::Name(name) => json!(name),
        Account::Number(number) => json!(number),
    }
}

fn tcp_keep_alive(TcpKeepAlive { idle_s, interval_s, probes }: TcpKeepAlive) -> Value {
    json!({ "idle_s": idle_s, "interval_s": interval_s, "probes": probes })
}

fn admin(admin: &Admin) -> Value {
    let (token, token_file) = match &admin.token {
        None => (Value::Null, Value::Null),
        Some(AdminToken::Text(token)) => (json!(token), Value::Null),
        Some(AdminToken::File(path)) => (Value::Null, json!(path)),
    };
    json!({ "bind": admin.bind.to_string(), "token": token, "token_file": token_file })
}

fn access_log(log: &AccessLog) -> Value {
    let (to, socket, syslog) = match &log.to {
        LogTo::Stdout => (json!("stdout"), None, None),
        LogTo::File(path) => (json!(path), None, None),
        LogTo::Journald(socket) => (json!("journald"), Some(socket), None),
        LogTo::Syslog(syslog) => (json!("syslog"), Some(&syslog.socket), Some(syslog)),
    };
    json!({
        "to": to,
        "format": log.format,
        "start": log.start,
        "sample_one_in": log.sample_one_in,
        "socket": socket,
        "syslog_format": syslog.map_or(SyslogFormat::default(), |syslog| syslog.format),
        "syslog_facility": syslog.map_or(Facility::default(), |syslog| syslog.facility),
    })
}

fn listener(listener: &Listener, config: &Config) -> Value {
    let networks = |networks: &[ipnet::IpNet]| -> Vec<String> {
        networks.iter().map(ToString::to_string).collect()
    };
    let accept_proxy = networks(&listener.accept_proxy);
    let accept_proxy = (!accept_proxy.is_empty()).then(|| json!({ "from": accept_proxy }));
    let per_source = listener.max_connections_per_source;
    let per_source = per_source.map_or(json!(false), |limit| {
        let PerSource { count, ipv4_prefix, ipv6_prefix } = limit;
        json!({ "count": count, "ipv4_prefix": ipv4_prefix, "ipv6_prefix": ipv6_prefix })
    });
    json!({
        "name": listener.name,
        "bind": listener.bind.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "peek": listener.peek,
        "keep_alive": listener.keep_alive,
        "routes": routes(&listener.routes, config),
        "pool": name_of(listener.pool, config),
        "accept_proxy": accept_proxy,
        "allow": networks(&listener.allow),
        "deny": networks(&listener.deny),
        "max_connections": or_false(listener.max_connections),
        "max_connections_per_source": per_source,
        "accept_rate_per_s": or_false(listener.accept_rate_per_s),
        "peek_timeout_ms": listener.peek_timeout_ms,
        "auto_timeout_ms": listener.auto_timeout_ms,
        "head_max_bytes": listener.head_max_bytes,
    })
}

fn name_of(pool: PoolIndex, config: &Config) -> &str {
    &config.pools[usize::from(pool.0)].name
}

/// Exact hosts first, each with its protocols in their order.
fn routes(routes: &Routes, config: &Config) -> Vec<Value> {
    let exact = routes.exact.iter().map(|(host, targets)| (host.clone(), targets));
    let wildcard = routes.wildcard.iter().map(|(suffix, to)| (format!("*{suffix}"), to));
    let each = |(host, targets): (String, &RouteTargets)| {
        let by_alpn = targets.by_alpn.iter().map(|(alpn, pool)| (Some(alpn.clone()), *pool));
        let all = by_alpn.chain(targets.otherwise.map(|pool| (None, pool)));
        let route =
            |(alpn, pool)| json!({ "host": host, "alpn": alpn, "pool": name_of(pool, config) });
        all.map(route).collect::<Vec<_>>()
    };
    exact.chain(wildcard).flat_map(each).collect()
}

fn pool(pool: &Pool) -> Value {
    json!({
        "balance": pool.balance,
        "sticky": sticky(&pool.sticky, pool.strict),
        "send_proxy": or_false(pool.send_proxy.map(|version| json!(version))),
        "forwarded": match pool.forwarded {
            Forwarded::Off => json!(false),
            Forwarded::Append => json!("append"),
            Forwarded::Replace => json!("replace"),
        },
        "source_addresses": pool.source_addresses,
        "connect_timeout_ms": pool.connect_timeout_ms,
        "connect_tries": pool.connect_tries,
        "max_connections_per_server": or_false(pool.max_connections_per_server),
        "connects_in_flight_max": or_false(pool.connects_in_flight_max),
        "queue_max": pool.queue_max,
        "queue_timeout_ms": pool.queue_timeout_ms,
        "idle_timeout_ms": or_false(pool.timeouts.idle_ms),
        "half_closed_timeout_ms": or_false(pool.timeouts.half_closed_ms),
        "max_age_ms": or_false(pool.timeouts.max_age_ms),
        "max_age_jitter_percent": pool.timeouts.max_age_jitter_percent,
        "health": pool.health.as_ref().map_or(json!(false), health),
        "eject": pool.eject.map_or(json!(false), eject),
        "slow_start_ms": pool.slow_start_ms,
        "on_down": match pool.on_down {
            OnDown::Keep => json!("keep"),
            OnDown::Close { per_s } => json!({ "close_per_s": per_s }),
        },
        "servers": pool.servers.iter().map(server).collect::<Vec<_>>(),
    })
}

fn sticky(sticky: &Sticky, strict: bool) -> Value {
    match sticky {
        Sticky::None => json!("none"),
        Sticky::Source => json!({ "by": "source", "strict": strict }),
        Sticky::Cookie { name, learn: None } => {
            json!({ "by": "cookie", "name": name, "learn": false, "strict": strict })
        }
        Sticky::Cookie { name, learn: Some(Learn { ttl_s, max_entries }) } => json!({
            "by": "cookie",
            "name": name,
            "learn": true,
            "ttl_s": ttl_s,
            "max_entries": max_entries,
            "strict": strict,
        }),
        Sticky::Insert { name, attributes, secret } => json!({
            "by": "insert",
            "name": name,
            "secret": secret,
            "attributes": attributes,
            "strict": strict,
        }),
        Sticky::Header { name } => json!({ "by": "header", "name": name, "strict": strict }),
        Sticky::Query { name } => json!({ "by": "query", "name": name, "strict": strict }),
        Sticky::SocketIo { path, secret, learn: Learn { ttl_s, max_entries } } => json!({
            "by": "socketio",
            "path": path,
            "secret": secret,
            "ttl_s": ttl_s,
            "max_entries": max_entries,
            "strict": strict,
        }),
    }
}

fn health(health: &Health) -> Value {
    let mut written = json!({
        "check": "tcp",
        "interval_ms": health.interval_ms,
        "fast_interval_ms": health.fast_interval_ms,
        "timeout_ms": health.timeout_ms,
        "jitter_percent": health.jitter_percent,
        "rise": health.rise,
        "fall": health.fall,
        "port": health.port,
        "send_proxy": or_false(health.send_proxy.map(|version| json!(version))),
    });
    if let Check::Http { path, host, status, body } = &health.check {
        let range = |codes: &std::ops::RangeInclusive<u16>| match (codes.start(), codes.end()) {
            (from, to) if from == to => json!(from),
            (from, to) => json!(format!("{from}-{to}")),
        };
        written["check"] = json!("http");
        written["path"] = json!(path);
        written["host"] = json!(host);
        written["status"] = status.iter().map(range).collect();
        written["body"] = json!(body);
    }
    written
}

fn eject(Eject { failures, base_ms, max_ms, max_percent }: Eject) -> Value {
    json!({
        "failures": failures,
        "base_ms": base_ms,
        "max_ms": max_ms,
        "max_percent": max_percent,
    })
}

fn server(server: &Server) -> Value {
    // An id that nobody gave is the address, which could not be given as one.
    let id = value::server_id(&server.id).is_ok().then_some(&server.id);
    json!({
        "address": server.address.to_string(),
        "id": id,
        "weight": server.weight,
        "backup": server.backup,
        "max_connections": or_false(server.max_connections),
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const FULL: &str = include_str!("../../configs/full.json");

    fn again(config: &Config) -> Config {
        let text = written(config).to_string();
        parse(&text).unwrap_or_else(|problems| panic!("{problems}\n{text}")).config
    }

    #[test]
    fn what_is_in_force_reads_again_as_the_same() {
        let others = [
            FULL.to_owned(),
            include_str!("../../configs/socketio.json").to_owned(),
            include_str!("../../configs/hosts.json").to_owned(),
            include_str!("../../configs/tls-sni.json").to_owned(),
            include_str!("../../configs/tcp.json").to_owned(),
            FULL.replace("\"to\": \"stdout\"", "\"to\": \"/var/log/access.log\""),
            FULL.replace("\"to\": \"stdout\"", "\"to\": \"journald\""),
            FULL.replace("\"to\": \"stdout\"", "\"to\": \"syslog\"").replace("rfc3164", "rfc5424"),
            r#"{
                "workers": [1, 0], "tcp_keep_alive": false, "tcp_user_timeout_ms": 7000,
                "engine": "epoll", "loopback_congestion": "system", "max_connections": 9,
                "access_log": false, "splice": false, "drain_timeout_ms": 1, "drain_window_ms": 2,
                "user": "nobody", "group": 7, "sandbox": false,
                "admin": { "bind": "0.0.0.0:1", "token": "0123456789abcdef" },
                "listeners": [{
                    "bind": ["unix:/run/a", "[::]:0"], "max_connections": 4, "deny": ["10.0.0.1"],
                    "accept_rate_per_s": 3, "peek": "auto", "allow": ["10.0.0.0/8"],
                    "max_connections_per_source": { "count": 2 },
                    "routes": [{ "host": "*.a.b", "pool": "one" },
                               { "host": "a.b", "alpn": "h2", "pool": "two" }],
                    "pool": "one"
                }],
                "pools": {
                    "one": {
                        "balance": "hash", "max_connections_per_server": 5, "queue_max": 6,
                        "connects_in_flight_max": 7, "queue_timeout_ms": 80,
                        "source_addresses": ["127.0.0.1"], "send_proxy": "v2",
                        "on_down": { "close_per_s": 3 }, "eject": false, "slow_start_ms": 4,
                        "max_age_ms": 5000, "idle_timeout_ms": 6000,
                        "half_closed_timeout_ms": false, "max_age_jitter_percent": 7,
                        "health": { "check": "http", "status": [204, "300-308"], "port": 3,
                                    "host": "h", "body": "b", "send_proxy": "v1" },
                        "servers": ["127.0.0.1:1", "app:80",
                                    { "address": "127.0.0.1:2", "id": "x", "weight": 9 }]
                    },
                    "two": {
                        "sticky": { "by": "cookie", "name": "n", "learn": true, "ttl_s": 3 },
                        "forwarded": "replace", "servers": ["unix:/run/b"]
                    }
                }
            }"#
            .to_owned(),
        ];
        for text in others {
            let config = parse(&text).unwrap().config;
            assert_eq!(again(&config), config, "{text}");
        }
    }

    /// Every key below a value, by its path without positions.
    fn keys(value: &Value, path: &str, into: &mut std::collections::BTreeSet<String>) {
        match value {
            Value::Object(entries) => {
                for (key, value) in entries {
                    let path = format!("{path}.{key}");
                    keys(value, &path, into);
                    into.insert(path);
                }
            }
            Value::Array(all) => all.iter().for_each(|value| keys(value, path, into)),
            _ => {}
        }
    }

    #[test]
    fn no_key_of_a_file_is_left_out() {
        let file = serde_json::from_slice(&super::super::jsonc::strip(FULL).unwrap()).unwrap();
        let (mut written, mut found) = Default::default();
        keys(&file, "", &mut written);
        keys(&effective(&parse(FULL).unwrap().config), "", &mut found);
        // What is no setting, what is there with another key only, and what stands for nothing.
        let left_out = [
            ".$schema",
            ".pools.cookie.sticky.ttl_s",
            ".pools.cookie.sticky.max_entries",
            ".pools.cookie.sticky.insert",
            ".pools.cookie.sticky.secret",
            ".pools.cookie.sticky.attributes",
        ];
        let missing: Vec<_> = written.difference(&found).collect();
        let missing: Vec<_> =
            missing.iter().filter(|key| !left_out.contains(&key.as_str())).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn secrets_are_hidden_and_empty_ones_are_seen_to_be() {
        let text = r#"{
            "listeners": [{ "bind": "[::]:1", "pool": "a" }],
            "admin": { "bind": "[::1]:1", "token": "0123456789abcdef" },
            "pools": {
                "a": { "sticky": { "by": "insert", "name": "n", "secret": "hush" },
                       "servers": ["a:1"] },
                "b": { "sticky": { "by": "insert", "name": "n" }, "servers": ["a:1"] },
                "c": { "sticky": { "by": "socketio", "secret": "hush" }, "servers": ["a:1"] }
            }
        }"#;
        let shown = effective(&parse(text).unwrap().config);
        assert_eq!(shown["admin"]["token"], "***");
        assert_eq!(shown["pools"]["a"]["sticky"]["secret"], "***");
        assert_eq!(shown["pools"]["b"]["sticky"]["secret"], "");
        assert_eq!(shown["pools"]["c"]["sticky"]["secret"], "***");
        assert!(!shown.to_string().contains("hush"));
    }
}
