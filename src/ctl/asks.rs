//! Commands as requests. No socket, no output.

use std::net::{IpAddr, SocketAddr};

use hyper::Method;
use serde_json::{Value, json};

use super::client::{Request, escaped};
use super::columns;
use super::table::Column;
use crate::cli::{Add, Ask, Filter, Kill, Level, Sessions, Wait, Why};

/// How an answer is written.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    Table(&'static [Column]),
    Fields(&'static [Column]),
    /// JSON, spread out.
    Json,
    /// As it is.
    Text,
}

/// Commands that are one request, whose answer is all there is to say.
pub(super) fn read(ask: &Ask) -> Option<(Request, Shape)> {
    Some(match ask {
        Ask::Status => (Request::get("/v1/status"), Shape::Fields(columns::STATUS)),
        Ask::Listeners => (Request::get("/v1/listeners"), Shape::Table(columns::LISTENERS)),
        Ask::Pools => (Request::get("/v1/pools"), Shape::Table(columns::POOLS)),
        Ask::Servers { pool } => (servers(pool.as_deref()), Shape::Table(columns::SERVERS)),
        Ask::Workers => (Request::get("/v1/workers"), Shape::Table(columns::WORKERS)),
        Ask::Limits => (Request::get("/v1/limits"), Shape::Table(columns::LIMITS)),
        Ask::Changes => (Request::get("/v1/changes"), Shape::Table(columns::CHANGES)),
        Ask::Ports => (Request::get("/v1/ports"), Shape::Table(columns::PORTS)),
        Ask::Config => (Request::get("/v1/config"), Shape::Json),
        Ask::Metrics => (Request::get("/metrics"), Shape::Text),
        Ask::Session { id } => (Request::get(session(id)), Shape::Fields(columns::SESSION)),
        Ask::Why(why) => (self::why(why), Shape::Fields(columns::WHY)),
        _ => return None,
    })
}

pub(crate) fn servers(pool: Option<&str>) -> Request {
    Request::get("/v1/servers").asking("pool", pool)
}

fn session(id: &str) -> String {
    format!("/v1/sessions/{}", escaped(id))
}

/// What a filter has, `server` being an address.
fn given<'a>(
    filter: &'a Filter,
    server: Option<&'a str>,
) -> impl Iterator<Item = (&'static str, &'a str)> {
    let Filter { client, listener, pool, host, key, server: _ } = filter;
    let all = [
        ("client", client.as_deref()),
        ("listener", listener.as_deref()),
        ("pool", pool.as_deref()),
        ("server", server),
        ("host", host.as_deref()),
        ("key", key.as_deref()),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key, value?)))
}

/// One page of sessions, `server` being an address.
pub(super) fn sessions(asked: &Sessions, server: Option<&str>) -> Request {
    given(&asked.filter, server)
        .fold(Request::get("/v1/sessions"), |request, (key, value)| {
            request.asking(key, Some(value))
        })
        .asking("worker", asked.worker)
}

/// Closes one session.
pub(crate) fn close(id: &str) -> Request {
    Request::new(Method::DELETE, session(id))
}

/// Closes all that fit, `server` being an address.
pub(super) fn kill(asked: &Kill, server: Option<&str>) -> Request {
    let mut body = json!({ "per_s": asked.per_s });
    if asked.all {
        body["all"] = true.into();
    }
    for (key, value) in given(&asked.filter, server) {
        body["filter"][key] = value.into();
    }
    Request::new(Method::POST, "/v1/sessions/kill").with(body)
}

fn of_server(pool: &str, address: &str) -> String {
    format!("/v1/pools/{}/servers/{}", escaped(pool), escaped(address))
}

/// Changes keys of a server.
pub(crate) fn set(pool: &str, address: &str, body: Value) -> Request {
    Request::new(Method::PATCH, of_server(pool, address)).with(body)
}

/// Puts a server into another state, and waits as long as that is wanted.
pub(super) fn put(pool: &str, address: &str, state: &str, wait: &Wait) -> Request {
    let mut body = json!({ "state": state });
    for (key, value) in waiting(wait) {
        body[key] = value.into();
    }
    set(pool, address, body).within(patience(wait))
}

pub(super) fn add(asked: &Add) -> Request {
    let Add { pool, address, weight, id, backup, max_connections } = asked;
    let mut body = json!({ "address": address });
    let number = |number: u32| Value::from(number);
    for (key, value) in [
        ("weight", weight.map(|weight| number(weight.into()))),
        ("id", id.as_ref().map(|id| id.clone().into())),
        ("backup", backup.then_some(true.into())),
        ("max_connections", max_connections.map(number)),
    ] {
        if let Some(value) = value {
            body[key] = value;
        }
    }
    Request::new(Method::POST, format!("/v1/pools/{}/servers", escaped(pool))).with(body)
}

pub(super) fn remove(pool: &str, address: &str, wait: &Wait) -> Request {
    let mut request = Request::new(Method::DELETE, of_server(pool, address));
    for (key, value) in waiting(wait) {
        request = request.asking(key, Some(value));
    }
    request.within(patience(wait))
}

fn waiting(wait: &Wait) -> impl Iterator<Item = (&'static str, u64)> {
    let wait_ms = wait.wait.then_some(patience(wait).as_millis() as u64);
    // Without a wait the rest is closed at once.
    let wait_ms = wait_ms.or(wait.close_per_s.map(|_| 0));
    let close_per_s = wait.close_per_s.map(u64::from);
    let given = [("wait_ms", wait_ms), ("close_per_s", close_per_s)];
    given.into_iter().filter_map(|(key, value)| Some((key, value?)))
}

fn patience(wait: &Wait) -> std::time::Duration {
    if wait.wait { wait.timeout } else { std::time::Duration::ZERO }
}

pub(super) fn reload() -> Request {
    Request::new(Method::POST, "/v1/reload")
}

pub(super) fn log(level: Level) -> Request {
    Request::new(Method::PUT, "/v1/log").with(json!({ "level": level.as_str() }))
}

/// Of the text of a file, or of the file that ringway has.
pub(super) fn diff(text: Option<&str>) -> Request {
    let body = text.map_or(json!({}), |text| json!({ "config": text }));
    Request::new(Method::POST, "/v1/diff").with(body)
}

/// What one looks for, sorted by what it looks like; flags say what it is.
fn why(asked: &Why) -> Request {
    let what = asked.what.as_deref();
    let is = |kind: Looks| what.filter(|what| looks(what) == kind);
    // A client's port says nothing of where it is led.
    let address = |text: &str| match text.parse::<SocketAddr>() {
        Ok(address) => address.ip().to_string(),
        Err(_) => text.to_owned(),
    };
    Request::get("/v1/why")
        .asking("client", asked.client.as_deref().or(is(Looks::Client)).map(address))
        .asking("host", asked.host.as_deref().or(is(Looks::Host)))
        .asking("key", asked.key.as_deref().or(is(Looks::Key)))
        .asking("path", asked.path.as_deref())
        .asking("listener", asked.listener.as_deref())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looks {
    Client,
    Host,
    Key,
}

fn looks(what: &str) -> Looks {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if what.parse::<IpAddr>().is_ok() || what.parse::<SocketAddr>().is_ok() {
        Looks::Client
    } else if what == "localhost" || (what.contains('.') && what.split('.').all(is_label)) {
        Looks::Host
    } else {
        Looks::Key
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn asked(line: &str) -> Ask {
        let cli = Cli::try_parse_from(["ringway", "ctl"].into_iter().chain(line.split(' ')));
        let Command::Ctl(ctl) = cli.unwrap_or_else(|error| panic!("{line}: {error}")).command
        else {
            panic!("{line} is of ctl");
        };
        ctl.ask
    }

    #[test]
    fn what_is_asked_why_is_what_it_looks_like() {
        let rows = [
            ("why 192.0.2.7", "/v1/why?client=192.0.2.7"),
            ("why [2001:db8::1]:40112", "/v1/why?client=2001:db8::1"),
            ("why 2001:db8::1", "/v1/why?client=2001:db8::1"),
            ("why chat.example.com", "/v1/why?host=chat.example.com"),
            ("why localhost", "/v1/why?host=localhost"),
            ("why lv_VI97HAXpY6yYWAAAB", "/v1/why?key=lv_VI97HAXpY6yYWAAAB"),
            ("why s1.lv_VI97", "/v1/why?key=s1.lv_VI97"),
            ("why --key a.b --client ::1", "/v1/why?client=::1&key=a.b"),
            ("why --path /a?b=c --listener web", "/v1/why?path=%2Fa%3Fb%3Dc&listener=web"),
        ];
        for (line, path) in rows {
            assert_eq!(read(&asked(line)).unwrap().0, Request::get(path), "{line}");
        }
    }

    #[test]
    fn waiting_is_asked_for_in_milliseconds() {
        let rows = [
            ("drain s1", json!({"state": "drain"})),
            ("drain s1 --wait", json!({"state": "drain", "wait_ms": 60_000})),
            ("drain s1 --close-per-s 5", json!({"state": "drain", "wait_ms": 0, "close_per_s": 5})),
            (
                "drain s1 --wait --timeout 2s --close-per-s 5",
                json!({"state": "drain", "wait_ms": 2_000, "close_per_s": 5}),
            ),
        ];
        for (line, body) in rows {
            let Ask::Drain(leave) = asked(line) else { panic!("{line}") };
            let request = put("a b", "unix:/x", "drain", &leave.wait);
            assert_eq!(request.path, "/v1/pools/a%20b/servers/unix:%2Fx");
            assert_eq!(request.body, Some(body), "{line}");
        }
        let Ask::Remove { wait, .. } = asked("remove p s --wait --timeout 1m") else { panic!() };
        assert_eq!(remove("p", "s", &wait).path, "/v1/pools/p/servers/s?wait_ms=60000");
    }

    #[test]
    fn who_is_killed_must_be_said() {
        let rows = [
            (
                "kill --client 10.0.0.0/8",
                json!({"per_s": 1000, "filter": {"client": "10.0.0.0/8"}}),
            ),
            ("kill --all --per-s 5", json!({"per_s": 5, "all": true})),
        ];
        for (line, body) in rows {
            let Ask::Kill(asked) = asked(line) else { panic!("{line}") };
            assert_eq!(kill(&asked, None).body, Some(body), "{line}");
        }
        for line in ["kill", "kill --per-s 5", "kill 0-1-1 --all", "kill --all --pool a"] {
            let words = ["ringway", "ctl"].into_iter().chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
