//! What a configuration would change of another, by path, and when that would be noticed.

use serde::Serialize;
use serde_json::{Map, Value};

use super::Config;
use super::effective::{conceal, written};
use super::problem::Place;

/// When a changed key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// With the reload, for everybody.
    Now,
    /// For sessions accepted from then on; others keep what they were accepted under.
    NewSessions,
    /// With a restart only.
    Restart,
}

/// One value that is not the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Where: `pools.chat.servers[10.0.0.1:80].weight`. Elements of lists go by what names them.
    pub path: String,
    /// What it was; `None`: it was not there.
    pub from: Option<Value>,
    /// What it would be; `None`: it would be gone.
    pub to: Option<Value>,
    /// When that takes effect.
    pub effect: Effect,
}

/// Keys of the file that nothing can be done about while ringway runs.
const RESTART: [&str; 6] = ["workers", "engine", "user", "group", "sandbox", "admin"];

/// Keys, as the last of a path, that hold for all sessions at once: limits that are counted
/// together, checks, and what is about no session. Below `health`, `eject` and `servers` all do.
const NOW: [&str; 18] = [
    "to",
    "socket",
    "syslog_format",
    "syslog_facility",
    "max_connections",
    "max_connections_per_source",
    "max_connections_per_server",
    "connects_in_flight_max",
    "accept_rate_per_s",
    "queue_max",
    "drain_timeout_ms",
    "drain_window_ms",
    "bind",
    "health",
    "eject",
    "slow_start_ms",
    "on_down",
    "servers",
];

/// Everything that would change, in the order of the file.
pub fn differences(before: &Config, after: &Config) -> Vec<Difference> {
    let mut found = Vec::new();
    let (from, to) = (written(before), written(after));
    Walk::default().compare(Some(&from), Some(&to), &mut found);
    found
}

/// Where a comparison is.
#[derive(Clone, Default)]
struct Walk {
    keys: Vec<String>,
    place: Place,
}

impl Walk {
    fn key(&self, key: &str) -> Self {
        let mut keys = self.keys.clone();
        keys.push(key.to_owned());
        Self { keys, place: self.place.key(key) }
    }

    fn element(&self, name: &str) -> Self {
        Self { keys: self.keys.clone(), place: self.place.element(name) }
    }

    fn compare(&self, from: Option<&Value>, to: Option<&Value>, found: &mut Vec<Difference>) {
        match (from, to) {
            _ if from == to => {}
            (Some(Value::Object(before)), Some(Value::Object(after))) => {
                let gone = before.keys().filter(|key| !after.contains_key(*key));
                for key in after.keys().chain(gone) {
                    self.key(key).compare(before.get(key), after.get(key), found);
                }
            }
            (Some(Value::Array(before)), Some(Value::Array(after))) => {
                let (before, after) = (by_name(before), by_name(after));
                let (Some(before), Some(after)) = (before, after) else {
                    return self.differ(from, to, found);
                };
                let gone = before.keys().filter(|name| !after.contains_key(*name));
                for name in after.keys().chain(gone) {
                    self.element(name).compare(before.get(name), after.get(name), found);
                }
            }
            _ => self.differ(from, to, found),
        }
    }

    fn differ(&self, from: Option<&Value>, to: Option<&Value>, found: &mut Vec<Difference>) {
        let shown = |value: &Value| {
            // A secret that stands alone is known by its key only.
            let last = self.keys.last().cloned().unwrap_or_default();
            let mut whole = Map::from_iter([(last.clone(), value.clone())]).into();
            conceal(&mut whole);
            whole[last.as_str()].take()
        };
        let (path, effect) = (self.place.to_string(), self.effect());
        found.push(Difference { path, from: from.map(shown), to: to.map(shown), effect });
    }

    fn effect(&self) -> Effect {
        let first = self.keys.first().map_or("", String::as_str);
        if RESTART.contains(&first) {
            return Effect::Restart;
        }
        // What a whole listener or pool that comes or goes means is seen at once.
        let is_whole = match first {
            "listeners" => self.keys.len() == 1,
            "pools" => self.keys.len() == 2,
            _ => false,
        };
        let is_now = is_whole || self.keys.iter().any(|key| NOW.contains(&key.as_str()));
        if is_now { Effect::Now } else { Effect::NewSessions }
    }
}

/// The elements of a list of objects by what names them; `None`: nothing does.
fn by_name(elements: &[Value]) -> Option<Map<String, Value>> {
    let name = |element: &Value| {
        let text = |key: &str| element.get(key).and_then(Value::as_str);
        let host = || match (text("host")?, text("alpn")) {
            (host, Some(alpn)) => Some(format!("{host} {alpn}")),
            (host, None) => Some(host.to_owned()),
        };
        text("name").or(text("address")).map(str::to_owned).or_else(host)
    };
    elements.iter().map(|element| Some((name(element)?, element.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn config(change: impl FnOnce(&mut Value)) -> Config {
        let mut file = serde_json::json!({
            "listeners": [
                { "name": "web", "bind": "[::]:1", "routes": [{ "host": "a.b", "pool": "a" }],
                  "pool": "a" },
                { "name": "raw", "bind": "[::]:2", "pool": "b" },
            ],
            "pools": {
                "a": { "sticky": { "by": "insert", "name": "n", "secret": "hush" },
                       "servers": ["10.0.0.1:1", "10.0.0.2:1"] },
                "b": { "servers": ["10.0.0.3:1"] },
            },
        });
        change(&mut file);
        parse(&file.to_string()).unwrap().config
    }

    fn found(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let (before, after) = (config(|_| ()), config(change));
        let line = |of: Difference| {
            let text = |value: Option<Value>| value.map_or("-".to_owned(), |v| v.to_string());
            let effect = serde_json::to_value(of.effect).unwrap();
            let effect = effect.as_str().unwrap();
            format!("{}: {} -> {} ({effect})", of.path, text(of.from), text(of.to))
        };
        differences(&before, &after).into_iter().map(line).collect()
    }

    #[test]
    fn every_change_is_named_with_its_place_and_its_effect() {
        assert_eq!(found(|_| ()), Vec::<String>::new());
        let all = found(|file| {
            file["workers"] = 2.into();
            file["access_log"] = serde_json::json!({ "to": "journald", "format": "json" });
            file["listeners"][0]["bind"] = "[::]:3".into();
            file["listeners"][0]["head_max_bytes"] = 2048.into();
            file["pools"]["a"]["servers"] =
                serde_json::json!([{ "address": "10.0.0.2:1", "weight": 7 }, "10.0.0.4:1"]);
            file["pools"]["a"]["sticky"]["secret"] = "another".into();
            file["pools"]["a"]["idle_timeout_ms"] = 1000.into();
        });
        let expected = [
            "workers: \"auto\" -> 2 (restart)",
            "access_log.to: \"stdout\" -> \"journald\" (now)",
            "access_log.format: \"text\" -> \"json\" (new_sessions)",
            "access_log.socket: null -> \"/run/systemd/journal/socket\" (now)",
            "listeners[web].bind: [\"[::]:1\"] -> [\"[::]:3\"] (now)",
            "listeners[web].head_max_bytes: 32768 -> 2048 (new_sessions)",
            "pools.a.sticky.secret: \"***\" -> \"***\" (new_sessions)",
            "pools.a.idle_timeout_ms: false -> 1000 (new_sessions)",
            "pools.a.servers[10.0.0.2:1].weight: 1 -> 7 (now)",
        ];
        assert_eq!(all[..expected.len()], expected, "{all:#?}");
        assert!(all[9].starts_with("pools.a.servers[10.0.0.4:1]: - -> {"), "{all:#?}");
        assert!(all[10].starts_with("pools.a.servers[10.0.0.1:1]: {"), "{all:#?}");
        assert!(all[10].ends_with("-> - (now)") && all.len() == 11, "{all:#?}");
    }

    #[test]
    fn what_comes_and_goes_as_a_whole_shows_no_secret() {
        let all = found(|file| {
            file["listeners"].as_array_mut().unwrap().truncate(1);
            file["listeners"][0]["routes"] = serde_json::json!([]);
            file["listeners"][0]["pool"] = "b".into();
            file["pools"].as_object_mut().unwrap().remove("a");
        });
        assert!(all.iter().any(|line| line.starts_with("listeners[raw]: {")), "{all:#?}");
        assert!(all.iter().any(|line| line.starts_with("pools.a: {")), "{all:#?}");
        assert!(all.iter().any(|line| line.starts_with("listeners[web].routes[a.b]: {")));
        assert!(!all.iter().any(|line| line.contains("hush")), "{all:#?}");
    }
}
