//! Answers in words: what is said around tables, and where a table would be too much.
//!
//! No socket, no output.

use serde_json::Value;

use super::client::Answer;
use super::columns;
use super::table::{self, Paper, Unit, plain, written};
use super::units;
use crate::cli::{Ask, Kill, Wait};

/// Why ringway did not do what was asked, each problem in a line.
pub fn refusal(answer: &Answer) -> String {
    let value = answer.value();
    let problems = value["problems"].as_array().into_iter().flatten().map(plain);
    let mut lines: Vec<_> = problems.collect();
    match value["error"].as_str() {
        // It says nothing that they do not.
        Some(_) if !lines.is_empty() => {}
        Some(error) => lines.push(table::harmless(error)),
        None => lines.push(format!("status {}: {}", answer.status, plain(&value))),
    }
    if answer.status == 401 {
        lines.push("--token-file names a file with the token".to_owned());
    }
    lines.join("\n")
}

/// The list of an answer, with what is worked out from each.
pub(super) fn rows(ask: &Ask, value: &Value) -> Vec<Value> {
    let mut rows = value.as_array().cloned().unwrap_or_default();
    for row in &mut rows {
        if let (Some(used), Some(max @ 1..)) = (row["used"].as_u64(), row["max"].as_u64()) {
            row["full"] = format!("{:>3.0} %", used as f64 * 100.0 / max as f64).into();
        }
        if matches!(ask, Ask::Ports) && row["source"].is_null() {
            row["source"] = "the kernel's choice".into();
        }
    }
    rows
}

/// What else there is to say of servers.
pub(super) fn below_table(ask: &Ask, rows: &[Value]) -> String {
    let Ask::Servers { .. } = ask else { return String::new() };
    let mut text = String::new();
    for row in rows {
        let name = format!("{} ({})", plain(&row["address"]), plain(&row["pool"]));
        let health = row["health"].as_str().unwrap_or("up");
        if health != "up" && !row["cause"].is_null() {
            let (time, cause) = (written(&row["for_ms"], Unit::Ms), plain(&row["cause"]));
            text.push_str(&format!("{name}: {health} for {time}: {cause}\n"));
        }
        if row["changed"].as_array().is_some_and(|changed| !changed.is_empty()) {
            let changed = written(&row["changed"], Unit::List).replace(' ', ", ");
            text.push_str(&format!("{name}: an operator has changed {changed}\n"));
        }
    }
    text
}

/// What an object has below its fields: a session's connections, or the candidates of a choice.
pub(super) fn below_fields(value: &Value, paper: Paper) -> String {
    let mut sides = Vec::new();
    for side in ["client", "server"] {
        let mut info = value["tcp_info"][side].clone();
        if info.is_object() {
            info["side"] = side.into();
            sides.push(info);
        }
    }
    let candidates = value["candidates"].as_array().filter(|candidates| !candidates.is_empty());
    match (sides.is_empty(), candidates) {
        (false, _) => format!("\n{}", table::table(columns::TCP_INFO, &sides, paper)),
        (true, Some(all)) => format!("\n{}", table::table(columns::CANDIDATES, all, paper)),
        (true, None) => String::new(),
    }
}

fn sessions(count: u64) -> String {
    let noun = if count == 1 { "session" } else { "sessions" };
    format!("{} {noun}", units::count(count))
}

/// A server after a change.
pub(super) fn server(server: &Value) -> String {
    let live = sessions(server["live"].as_u64().unwrap_or(0));
    let (address, pool) = (plain(&server["address"]), plain(&server["pool"]));
    let (state, weight) = (plain(&server["state"]), plain(&server["weight"]));
    format!("{address} ({pool}): {state}, weight {weight}, {live}\n")
}

/// A server that is to have no more sessions.
pub(super) fn left(value: &Value, (pool, address): (&str, &str), wait: &Wait) -> String {
    let state = match value["server"]["state"].as_str() {
        Some(state) => table::harmless(state),
        None => "removed".to_owned(),
    };
    let live = value["live"].as_u64().unwrap_or(0);
    let mut text = format!("{address} ({pool}): {state}, ");
    text.push_str(&match (live, wait.wait) {
        (0, _) => "no session left".to_owned(),
        (_, true) => {
            let time_us = wait.timeout.as_micros() as u64;
            format!("{} left after {}", sessions(live), units::duration(time_us))
        }
        (_, false) => format!("{} left", sessions(live)),
    });
    if let Some(per_s) = wait.close_per_s.filter(|_| live > 0) {
        text.push_str(&format!(", closed now at {} a second", units::count(per_s.into())));
    }
    text + "\n"
}

/// Workers that were asked and did not answer.
pub(super) fn silent(value: &Value) -> Option<String> {
    let silent = value["silent"].as_array().filter(|silent| !silent.is_empty())?;
    let numbers: Vec<_> = silent.iter().map(plain).collect();
    Some(format!("no answer from worker {}: its sessions are missing here", numbers.join(", ")))
}

pub(super) fn killed(value: &Value, asked: &Kill) -> String {
    match (&asked.id, value["matched"].as_u64()) {
        (Some(id), _) => format!("{id}: closed\n"),
        (None, Some(matched)) if matched <= u64::from(asked.per_s) => {
            format!("{} closed\n", sessions(matched))
        }
        (None, matched) => {
            let (all, per_s) = (sessions(matched.unwrap_or(0)), units::count(asked.per_s.into()));
            format!("{all} are being closed, {per_s} a second\n")
        }
    }
}

pub(super) fn reloaded(value: &Value) -> String {
    format!("edition {} is in force\n", plain(&value["edition"]))
}

/// What a reload would change, a line for each value.
pub(super) fn diff(value: &Value) -> String {
    let list = |key: &str| value[key].as_array().into_iter().flatten();
    let mut text = String::new();
    for problem in list("problems") {
        text.push_str(&format!("{}\n", plain(problem)));
    }
    for warning in list("warnings") {
        text.push_str(&format!("warning: {}\n", plain(warning)));
    }
    for change in list("changes") {
        let json = |key: &str| match &change[key] {
            Value::Null => "none".to_owned(),
            value => table::harmless(&value.to_string()),
        };
        let effect = match change["effect"].as_str() {
            Some("now") => "at once",
            Some("new_sessions") => "for new sessions",
            Some("restart") => "with a restart",
            _ => "",
        };
        let (path, from, to) = (plain(&change["path"]), json("from"), json("to"));
        text.push_str(&format!("{path}: {from} -> {to}, {effect}\n"));
    }
    if text.is_empty() { "nothing would change\n".to_owned() } else { text }
}

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// A second in a line; rates are differences to the one before.
pub(super) fn pulse(now: &Value, before: &Value) -> String {
    let at_ms = now["at_ms"].as_u64().unwrap_or(0);
    let s = at_ms % DAY_MS / 1_000;
    let time = format!("{:02}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60);
    let live = written(&now["sessions_live"], Unit::Count);
    let mut text = format!("{time} status sessions={live}");
    let passed_ms = before["at_ms"].as_u64().map(|before_ms| at_ms.saturating_sub(before_ms));
    for (word, key) in [
        ("accepted", "accepted_total"),
        ("closed", "closed_total"),
        ("bytes_up", "bytes_up_total"),
        ("bytes_down", "bytes_down_total"),
    ] {
        if let (Some(passed_ms @ 1..), Some(now), Some(before)) =
            (passed_ms, now[key].as_u64(), before[key].as_u64())
        {
            let per_s = now.saturating_sub(before) as f64 * 1_000.0 / passed_ms as f64;
            let rate = match word.starts_with("bytes") {
                true => units::bytes(per_s as u64).replace(' ', ""),
                false => units::rate(per_s),
            };
            text.push_str(&format!(" {word}={rate}/s"));
        }
    }
    text + "\n"
}

/// A change in a line, in the words of the log.
pub(super) fn change(value: &Value) -> String {
    let at = value["at"].as_str().unwrap_or_default();
    let time = at.get(11..19).unwrap_or(at);
    let mut text = format!("{} change", table::harmless(time));
    for key in ["pool", "server", "state", "cause", "by"] {
        match &value[key] {
            Value::Null => {}
            Value::String(word) if word.is_empty() => {}
            Value::String(word) if word.contains(' ') => text.push_str(&format!(" {key}={word:?}")),
            word => text.push_str(&format!(" {key}={}", plain(word))),
        }
    }
    text + "\n"
}

/// Pool and address of the one server that goes by this address or id.
pub(super) fn find(written: &str, servers: &Value) -> Result<(String, String), String> {
    let all = || servers.as_array().into_iter().flatten();
    let by = |key: &'static str| all().filter(move |server| server[key] == *written);
    let is_address = by("address").next().is_some();
    let found: Vec<_> = by(if is_address { "address" } else { "id" }).collect();
    let text = |server: &Value, key: &str| plain(&server[key]);
    match &found[..] {
        [one] => Ok((text(one, "pool"), text(one, "address"))),
        [] => {
            let known: Vec<_> = all().map(|server| text(server, "address")).collect();
            Err(format!("there is no server {written:?}; there are {}", known.join(", ")))
        }
        several => {
            let places = several.iter().map(|server| match is_address {
                true => text(server, "pool"),
                false => format!("{} ({})", text(server, "address"), text(server, "pool")),
            });
            let (places, hint) = (places.collect::<Vec<_>>(), "--pool says which is meant");
            Err(format!("{written} is in several places: {}; {hint}", places.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_server_goes_by_its_address_or_its_id() {
        let servers = json!([
            {"pool": "a", "address": "10.0.0.1:80", "id": "s1"},
            {"pool": "b", "address": "10.0.0.1:80", "id": "s1"},
            {"pool": "b", "address": "10.0.0.2:80", "id": "s2"},
        ]);
        let found = |pool: &str, address: &str| Ok((pool.to_owned(), address.to_owned()));
        assert_eq!(find("10.0.0.2:80", &servers), found("b", "10.0.0.2:80"));
        assert_eq!(find("s2", &servers), found("b", "10.0.0.2:80"));
        let said = find("10.0.0.1:80", &servers).unwrap_err();
        assert_eq!(said, "10.0.0.1:80 is in several places: a, b; --pool says which is meant");
        let said = find("s1", &servers).unwrap_err();
        assert!(said.contains("10.0.0.1:80 (a), 10.0.0.1:80 (b)"), "{said}");
        let said = find("s3", &json!([])).unwrap_err();
        assert!(said.starts_with("there is no server \"s3\""), "{said}");
    }

    #[test]
    fn changes_are_lines_of_a_log() {
        let value = json!({"at": "2026-11-25T12:00:01.000Z", "pool": "chat", "server": null,
            "state": "down", "cause": "3 checks failed: connection refused", "by": null});
        let line = "12:00:01 change pool=chat state=down \
                    cause=\"3 checks failed: connection refused\"\n";
        assert_eq!(change(&value), line);
        let before = json!({"at_ms": 43_200_000_u64, "accepted_total": 10, "closed_total": 0});
        let now = json!({"at_ms": 43_202_000_u64, "sessions_live": 12, "accepted_total": 20,
            "closed_total": 1, "bytes_up_total": 5});
        let line = "12:00:02 status sessions=12 accepted=5.0/s closed=0.5/s\n";
        assert_eq!(pulse(&now, &before), line);
    }

    #[test]
    fn a_difference_is_a_line() {
        let value = json!({"problems": [], "warnings": ["w"], "changes": [
            {"path": "pools.a.servers[10.0.0.1:80].weight", "from": 1, "to": 3, "effect": "now"},
            {"path": "pools.a.servers[10.0.0.2:80]", "from": {"weight": 1},
             "to": null, "effect": "new_sessions"},
        ]});
        let text = "warning: w\n\
            pools.a.servers[10.0.0.1:80].weight: 1 -> 3, at once\n\
            pools.a.servers[10.0.0.2:80]: {\"weight\":1} -> none, for new sessions\n";
        assert_eq!(diff(&value), text);
        assert_eq!(diff(&json!({"changes": []})), "nothing would change\n");
    }

    #[test]
    fn a_refusal_lists_all_problems() {
        let text = r#"{"error": "2 problems", "problems": ["a", "b\u001b"]}"#;
        let answer = Answer { status: 409, text: text.to_owned() };
        assert_eq!(refusal(&answer), "a\nb\\u{1b}");
        let answer = Answer { status: 502, text: "oops".to_owned() };
        assert_eq!(refusal(&answer), "status 502: oops");
    }
}
