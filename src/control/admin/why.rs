//! Where a connection would go, and why: the head that such a client would send is written, read by
//! the parser that reads all heads, routed, and explained by its pool. Nothing is reserved.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;

use super::input::Query;
use super::problem::Problem;
use super::reads::Answer;
use super::views::{Candidate, Why, WhyKey};
use super::{Desk, answer};
use crate::config::{Listener, Peek, PoolIndex, Routes, Sticky};
use crate::edition::Edition;
use crate::peek::http_head::{HeadScanner, Peeked, Refusal};
use crate::pool::{How, Key, ServerIndex};

/// What is known of the client.
struct Asked {
    client: Option<IpAddr>,
    host: Option<String>,
    key: Option<String>,
    path: Option<String>,
}

pub(super) async fn why(State(desk): State<Arc<Desk>>, Query(mut input): Query) -> Answer {
    let name = input.text("listener");
    let mut plain = |what: &'static str| {
        let text = input.text(what)?;
        if text.chars().any(char::is_control) {
            input.wrong(format!("{what}: must have no control characters"));
        }
        Some(text)
    };
    let (host, key, path) = (plain("host"), plain("key"), plain("path"));
    let client = input.parsed::<IpAddr>("client", "an IP address");
    if path.as_deref().is_some_and(|path| !path.starts_with('/') || path.contains(' ')) {
        input.wrong("path: must start with / and have no spaces");
    }
    input.finish()?;
    let edition = desk.shared.edition();
    let listeners = &edition.config.listeners;
    let at = match &name {
        None => Some(0),
        Some(name) => listeners.iter().position(|listener| listener.name == *name),
    };
    let listener = at.map(|at| &listeners[at]).ok_or_else(|| {
        let names: Vec<_> = listeners.iter().map(|listener| listener.name.as_str()).collect();
        let name = name.unwrap_or_default();
        Problem::not_found(format!("there is no listener {name:?}; there are {}", names.join(", ")))
    })?;
    let asked = Asked { client, host, key, path };
    Ok(answer(&explained(&edition, listener, &asked, desk.shared.clock.now_ms())))
}

fn explained(edition: &Edition, listener: &Listener, asked: &Asked, now_ms: u64) -> Why {
    let nowhere = Why {
        listener: listener.name.clone(),
        route: None,
        pool: None,
        why_pool: String::new(),
        key: None,
        server: None,
        how: None,
        why: String::new(),
        candidates: Vec::new(),
    };
    if let Some(why) = asked.client.and_then(|client| refused(listener, client)) {
        return Why {
            why_pool: why,
            why: "it is closed before a byte is read".to_owned(),
            ..nowhere
        };
    }
    let speaks_http = asked.host.is_some() || asked.key.is_some() || asked.path.is_some();
    let peek = match listener.peek {
        Peek::Auto if speaks_http => Peek::Http,
        peek => peek,
    };
    let (index, route, key, why_pool) = match peek {
        Peek::Http => match by_head(edition, listener, asked) {
            Ok(found) => found,
            Err(why) => return Why { why_pool: why, ..nowhere },
        },
        Peek::Tls => by_name(edition, listener, asked),
        Peek::None | Peek::Auto => {
            let why = "nothing is read here that could be a host or a key";
            let why = if speaks_http { why } else { "nothing is read here" };
            let key = edition.pool_at(listener.pool).key(None, asked.client);
            (listener.pool, None, key, format!("{why}, so it is the listener's own"))
        }
    };
    let pool = edition.pool_at(index);
    let said = pool.explain(&key, asked.client, now_ms);
    let address = |at: ServerIndex| pool.server(at).address.to_string();
    let indices = (0..).map(ServerIndex).zip(&said.excluded);
    let candidate = |(at, &excluded): (ServerIndex, &Option<&'static str>)| {
        let server = pool.server(at);
        Candidate {
            address: server.address.to_string(),
            state: pool.state(at, now_ms),
            weight: server.weight,
            live: server.live(),
            excluded,
        }
    };
    Why {
        route,
        pool: Some(pool.name().to_owned()),
        why_pool,
        key: Some(WhyKey { kind: key.kind.as_str(), leads_to: said.leads_to.map(address) }),
        server: said.server.map(address),
        how: said.how.map(How::as_str),
        why: said.why,
        candidates: indices.map(candidate).collect(),
        ..nowhere
    }
}

/// Why a client is not served at all, where it is not.
fn refused(listener: &Listener, client: IpAddr) -> Option<String> {
    let contains = |networks: &[ipnet::IpNet]| networks.iter().any(|n| n.contains(&client));
    if contains(&listener.deny) {
        return Some(format!("{client} is in \"deny\""));
    }
    let is_left_out = !listener.allow.is_empty() && !contains(&listener.allow);
    is_left_out.then(|| format!("{client} is not in \"allow\""))
}

type Found = (PoolIndex, Option<String>, Key, String);

/// By the head that such a client sends.
fn by_head(edition: &Edition, listener: &Listener, asked: &Asked) -> Result<Found, String> {
    // The pool says where its key stands, and the host alone says which pool.
    let plain = head(asked, None);
    let (index, route) = routed(listener, &plain)?;
    let text = head(asked, Some(&edition.pool_at(index).spec().sticky));
    let mut scanner = HeadScanner::default();
    let head = match scanner.scan(text.as_bytes(), listener.head_max_bytes as usize) {
        Peeked::Head(head) => head,
        other => return Err(unread(&other)),
    };
    let key = edition.pool_at(index).key(Some(&head), asked.client);
    let why = match &route {
        Some(route) => format!("its host takes the route {route}"),
        None if listener.routes.is_empty() => "there are no routes here".to_owned(),
        None => "no route fits its host, so it is the listener's own".to_owned(),
    };
    Ok((index, route, key, why))
}

fn routed(listener: &Listener, text: &str) -> Result<(PoolIndex, Option<String>), String> {
    let mut scanner = HeadScanner::default();
    match scanner.scan(text.as_bytes(), listener.head_max_bytes as usize) {
        Peeked::Head(head) => {
            let host = head.host.as_deref();
            let found = listener.routes.find(host, std::iter::empty());
            Ok((found.unwrap_or(listener.pool), found.and_then(|_| route(&listener.routes, host))))
        }
        other => Err(unread(&other)),
    }
}

fn unread(peeked: &Peeked<'_>) -> String {
    match peeked {
        Peeked::Refused(Refusal::Malformed(why)) => format!("its head is refused (400): {why}"),
        Peeked::Refused(Refusal::TooLarge) => "its head is refused (431): too large".to_owned(),
        _ => "that is no head of HTTP/1".to_owned(),
    }
}

/// By the name in a ClientHello; no key stands there but the client's address.
fn by_name(edition: &Edition, listener: &Listener, asked: &Asked) -> Found {
    let host = asked.host.as_deref().map(str::to_ascii_lowercase);
    let found = listener.routes.find(host.as_deref(), std::iter::empty());
    let index = found.unwrap_or(listener.pool);
    let key = edition.pool_at(index).key(None, asked.client);
    let route = found.and_then(|_| route(&listener.routes, host.as_deref()));
    let why = match &route {
        Some(route) => format!("its name takes the route {route}, if it offers no ALPN"),
        None => "no route fits its name, so it is the listener's own".to_owned(),
    };
    (index, route, key, why)
}

/// The pattern that a host with a route has taken.
fn route(routes: &Routes, host: Option<&str>) -> Option<String> {
    let host = host?;
    if routes.exact.contains_key(host) {
        return Some(host.to_owned());
    }
    let dots = host.match_indices('.').filter(|(at, _)| *at > 0);
    let mut suffixes = dots.map(|(at, _)| &host[at..]);
    suffixes.find(|suffix| routes.wildcard.contains_key(*suffix)).map(|suffix| format!("*{suffix}"))
}

/// A request of such a client, with its key where `sticky` looks.
fn head(asked: &Asked, sticky: Option<&Sticky>) -> String {
    let (mut path, mut field) = (asked.path.clone(), String::new());
    let key = asked.key.as_deref();
    match (sticky, key) {
        (Some(Sticky::Cookie { name, .. } | Sticky::Insert { name, .. }), Some(key)) => {
            field = format!("Cookie: {name}={key}\r\n");
        }
        (Some(Sticky::Header { name }), Some(key)) => field = format!("{name}: {key}\r\n"),
        (Some(Sticky::Query { name }), Some(key)) => {
            let path = path.get_or_insert_with(|| "/".to_owned());
            let mark = if path.contains('?') { '&' } else { '?' };
            *path = format!("{path}{mark}{name}={key}");
        }
        (Some(Sticky::SocketIo { path: its, .. }), _) => {
            let sid = key.map(|key| format!("&sid={key}")).unwrap_or_default();
            path = path.or_else(|| Some(format!("{its}?EIO=4&transport=polling{sid}")));
        }
        _ => {}
    }
    let path = path.as_deref().unwrap_or("/");
    let host = asked.host.as_deref().unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{field}\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &str, key: Option<&str>, path: Option<&str>) -> Asked {
        let (key, path) = (key.map(str::to_owned), path.map(str::to_owned));
        Asked { client: None, host: Some(host.to_owned()), key, path }
    }

    #[test]
    fn a_key_stands_where_its_pool_looks() {
        let learn = crate::config::Learn { ttl_s: 1, max_entries: 1 };
        let name = || "n".to_owned();
        let rows = [
            (Sticky::None, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
            (Sticky::Header { name: name() }, "GET / HTTP/1.1\r\nHost: h\r\nn: k\r\n\r\n"),
            (Sticky::Query { name: name() }, "GET /?n=k HTTP/1.1\r\nHost: h\r\n\r\n"),
            (
                Sticky::Cookie { name: name(), learn: None },
                "GET / HTTP/1.1\r\nHost: h\r\nCookie: n=k\r\n\r\n",
            ),
            (
                Sticky::SocketIo { path: "/s/".to_owned(), secret: None, learn },
                "GET /s/?EIO=4&transport=polling&sid=k HTTP/1.1\r\nHost: h\r\n\r\n",
            ),
        ];
        for (sticky, expected) in rows {
            assert_eq!(head(&asked("h", Some("k"), None), Some(&sticky)), expected);
        }
        let query = Sticky::Query { name: name() };
        let text = head(&asked("h", Some("k"), Some("/a?b=c")), Some(&query));
        assert!(text.starts_with("GET /a?b=c&n=k HTTP/1.1\r\n"), "{text}");
    }

    #[test]
    fn the_route_that_was_taken_is_named() {
        let mut routes = Routes::default();
        routes.exact.insert("a.b".to_owned(), crate::config::RouteTargets::default());
        routes.wildcard.insert(".b".to_owned(), crate::config::RouteTargets::default());
        let rows =
            [("a.b", Some("a.b")), ("x.b", Some("*.b")), ("x.a.b", Some("*.b")), ("b", None)];
        for (host, expected) in rows {
            assert_eq!(route(&routes, Some(host)).as_deref(), expected, "{host}");
        }
    }
}
