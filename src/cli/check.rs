//! What `ringway check` says of a configuration that is right.

use std::fmt::Write;

use clap::ValueEnum;

use super::Peek;
use crate::config::{self, Check, Config, Health, KeepAlive, Listener, OnDown, Pool, PoolIndex};

/// One line of counts, then two for each listener (defaults that were worked out, and its limits),
/// one for each pool with limits and one for each with checks, then one for each way through
/// ringway, with everything that may end a session on it.
pub fn summary(config: &Config) -> String {
    let servers = config.pools.iter().map(|pool| pool.servers.len()).sum();
    let counts = [
        count(config.listeners.len(), "listener"),
        count(config.pools.len(), "pool"),
        count(servers, "server"),
    ];
    let mut text = format!("ok: {}\n", counts.join(", "));
    for listener in &config.listeners {
        text.push_str(&listener_line(listener, config));
        text.push_str(&admission_line(listener, config));
    }
    config.pools.iter().filter_map(limits_line).for_each(|line| text.push_str(&line));
    config.pools.iter().filter_map(health_line).for_each(|line| text.push_str(&line));
    for listener in &config.listeners {
        let mut pools: Vec<PoolIndex> = listener.routes.pools().collect();
        pools.push(listener.pool);
        pools.sort_unstable();
        pools.dedup();
        for pool in pools.iter().filter_map(|pool| config.pools.get(usize::from(pool.0))) {
            text.push_str(&timeouts_line(listener, pool, config));
        }
    }
    text
}

fn listener_line(listener: &Listener, config: &Config) -> String {
    let bind: Vec<_> = listener.bind.iter().map(ToString::to_string).collect();
    let mut line = format!("{}: {}", listener.name, bind.join(", "));
    let keep_alive = match listener.keep_alive {
        KeepAlive::Trust => "trust",
        KeepAlive::OneRequest => "one_request",
    };
    let peek = match listener.peek {
        config::Peek::None => Peek::None,
        config::Peek::Auto => Peek::Auto,
        config::Peek::Http => Peek::Http,
        config::Peek::Tls => Peek::Tls,
    };
    let peek = peek.to_possible_value();
    let peek = peek.as_ref().map_or("", |word| word.get_name());
    let _ = write!(line, "; peek {peek}, keep_alive {keep_alive}; ");
    let routes = listener.routes.pools().count();
    if routes > 0 {
        let _ = write!(line, "{}, else ", count(routes, "route"));
    }
    let pool = config.pools.get(usize::from(listener.pool.0));
    let _ = writeln!(line, "pool {}", pool.map_or("", |pool| pool.name.as_str()));
    line
}

fn timeouts_line(listener: &Listener, pool: &Pool, config: &Config) -> String {
    let reads = listener.peek != config::Peek::None || !listener.accept_proxy.is_empty();
    let timeouts = &pool.timeouts;
    let max_age = timeouts.max_age_ms.map(|age_ms| match timeouts.max_age_jitter_percent {
        0 => format!("{age_ms} ms"),
        percent => format!("{age_ms} ms less up to {percent} %"),
    });
    let keep_alive = config.tcp_keep_alive.map(|keep_alive| {
        let probing_s = u32::from(keep_alive.interval_s) * u32::from(keep_alive.probes);
        format!("{} s", u32::from(keep_alive.idle_s) + probing_s)
    });
    let millis = |timeout_ms: Option<u32>| timeout_ms.map(|timeout_ms| format!("{timeout_ms} ms"));
    let timeouts = [
        ("peek", millis(reads.then_some(listener.peek_timeout_ms))),
        ("connect", millis(Some(pool.connect_timeout_ms))),
        ("idle", millis(timeouts.idle_ms)),
        ("half_closed", millis(timeouts.half_closed_ms)),
        ("max_age", max_age),
        ("tcp_keep_alive", keep_alive),
        ("tcp_user_timeout", millis(config.tcp_user_timeout_ms)),
        ("drain", millis(Some(config.drain_timeout_ms))),
    ];
    let timeouts = timeouts.map(|(name, timeout)| {
        let timeout = timeout.unwrap_or_else(|| "off".to_owned());
        format!("{name} {timeout}")
    });
    format!("{} -> {}: {}\n", listener.name, pool.name, timeouts.join(", "))
}

fn admission_line(listener: &Listener, config: &Config) -> String {
    let or_off = |limit: Option<u32>| limit.map_or("off".to_owned(), |limit| limit.to_string());
    let per_source = listener.max_connections_per_source.map_or("off".to_owned(), |limit| {
        format!("{} for each /{} and IPv6 /{}", limit.count, limit.ipv4_prefix, limit.ipv6_prefix)
    });
    format!(
        "{}: max_connections {} (in all {}), per source {per_source}, accept rate {}\n",
        listener.name,
        or_off(listener.max_connections),
        or_off(config.max_connections),
        or_off(listener.accept_rate_per_s),
    )
}

/// Nothing of a pool where no session ever waits.
fn limits_line(pool: &Pool) -> Option<String> {
    let or_off = |limit: Option<u32>| limit.map_or("off".to_owned(), |limit| limit.to_string());
    let limits: Vec<Option<u32>> = pool.servers.iter().map(|s| s.max_connections).collect();
    let connects = pool.connects_in_flight_max;
    if connects.is_none() && limits.iter().all(Option::is_none) {
        return None;
    }
    let is_one = limits.iter().all(|limit| limit == &limits[0]);
    let limits = if is_one { &limits[..1] } else { &limits[..] };
    let limits: Vec<String> = limits.iter().copied().map(or_off).collect();
    Some(format!(
        "{}: max_connections of servers {}, connects in flight {}, queue {} for {} ms\n",
        pool.name,
        limits.join(" "),
        or_off(connects),
        pool.queue_max,
        pool.queue_timeout_ms,
    ))
}

/// Nothing of a pool whose servers nobody checks.
fn health_line(pool: &Pool) -> Option<String> {
    let health = pool.health.as_ref()?;
    let check = match &health.check {
        Check::Tcp => "tcp".to_owned(),
        Check::Http { path, .. } => format!("http {path}"),
    };
    let on_down = match pool.on_down {
        OnDown::Keep => "keep sessions".to_owned(),
        OnDown::Close { per_s } => format!("close {per_s} sessions a second"),
    };
    let Health { interval_ms, fast_interval_ms, timeout_ms, rise, fall, .. } = health;
    Some(format!(
        "{}: check {check} every {interval_ms} ms (in doubt {fast_interval_ms} ms), timeout \
         {timeout_ms} ms, rise {rise}, fall {fall}, on down {on_down}\n",
        pool.name,
    ))
}

fn count(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
