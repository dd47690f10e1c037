//! What `ringway check` says of a configuration that is right.

use std::fmt::Write;

use clap::ValueEnum;

use super::Peek;
use crate::config::{self, Config, KeepAlive, Listener};

/// One line of counts, then one for each listener with the defaults that were worked out.
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

fn count(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
