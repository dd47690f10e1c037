//! The dashboard and the alert rules: what they ask for is what a running ringway tells.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{HttpServer, Ringway, closed_port, get};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const DASHBOARD: &str = include_str!("../../configs/grafana.json");
const RULES: &str = include_str!("../../configs/alerts.yml");

/// What Prometheus adds to what it reads.
const ADDED_LABELS: [&str; 2] = ["job", "instance"];

/// Labels with words of ringway's own as values, and not of a file or a peer.
const WORDS: [&str; 5] = ["state", "what", "from", "reason", "how"];

/// Every series: its labels, and the values they have.
type Exported = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// With every limit and source set that has a series of its own, and a session that goes on.
fn exported() -> Exported {
    let server = HttpServer::named("one");
    let (_closed, refusing) = closed_port();
    let lb = Ringway::configured(&json!({
        "workers": 2,
        "admin": {"bind": "127.0.0.1:0"},
        "max_connections": 100,
        "listeners": [{"bind": "127.0.0.1:0", "name": "web", "max_connections": 50}],
        "pools": {"site": {
            "max_connections_per_server": 20,
            "source_addresses": ["127.0.0.1"],
            "servers": [server.address(), {"address": refusing, "backup": true}],
        }},
    }))
    .start();
    let mut client = lb.client();
    client.send(get("/", &[]));
    assert_eq!(client.response().status, 200);
    let response = lb.admin().raw("GET /metrics", &["Host: localhost"], "");
    assert_eq!(response.status, 200);
    let text = response.text();
    let mut exported = Exported::new();
    for sample in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = sample.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let known = exported.entry(name.to_owned()).or_default();
        for label in labels.trim_end_matches('}').split_terminator("\",") {
            let (label, value) = label.split_once("=\"").expect("a value in quotes");
            let value = value.trim_end_matches('"').to_owned();
            known.entry(label.to_owned()).or_default().insert(value);
        }
    }
    exported
}

/// Every expression of the dashboard, with what its legend says.
fn panels() -> Vec<(String, String)> {
    fn collect(value: &Value, found: &mut Vec<(String, String)>) {
        if let Some(expr) = value["expr"].as_str() {
            let legend = value["legendFormat"].as_str().unwrap_or_default();
            found.push((expr.to_owned(), legend.to_owned()));
        }
        match value {
            Value::Array(all) => all.iter().for_each(|one| collect(one, found)),
            Value::Object(all) => all.values().for_each(|one| collect(one, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(&serde_json::from_str(DASHBOARD).expect("JSON"), &mut found);
    found
}

/// Every expression of the rules, with what is said about it.
fn rules() -> Vec<(String, String)> {
    let rules = RULES.split("- alert: ").skip(1).map(|rule| {
        // Comments behind it are about the next one.
        let rule = rule.split("\n\n").next().expect("a rule");
        let (_, rule) = rule.split_once("expr:").expect("an expression");
        let (expr, rest) = rule.split_once("\n        labels:").expect("labels behind it");
        (expr.to_owned(), rest.to_owned())
    });
    rules.collect()
}

/// Names in a text.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("ringway_"))
}

/// What stands between these, each time.
fn between<'t>(text: &'t str, open: &'t str, close: char) -> impl Iterator<Item = &'t str> {
    let parts = text.split(open).skip(1);
    parts.map(move |part| part.split(close).next().unwrap_or(part))
}

/// Matchers in braces: label, and the words it may be, if they are words.
fn matchers(expr: &str) -> Vec<(&str, &str, Vec<&str>)> {
    let mut found = Vec::new();
    for (at, _) in expr.match_indices('{') {
        let name = names(&expr[..at]).last().expect("a metric in front of braces");
        let inner = expr[at + 1..].split('}').next().expect("a closing brace");
        for matcher in inner.split(", ") {
            let (label, value) = matcher.split_once(['=', '!']).expect("a matcher");
            let value = value.trim_start_matches(['=', '~']).trim_matches('"');
            found.push((name, label, value.split('|').collect()));
        }
    }
    found
}

#[track_caller]
fn assert_asks_for_what_is_there(exported: &Exported, (expr, about): &(String, String)) {
    let mut labels: BTreeSet<&str> = ADDED_LABELS.into();
    for name in names(expr) {
        let known = exported.get(name).unwrap_or_else(|| panic!("no {name}: {expr}"));
        labels.extend(known.keys().map(String::as_str));
    }
    // Prometheus's own.
    if expr.trim().starts_with("up{") {
        return;
    }
    for (name, label, values) in matchers(expr) {
        if ADDED_LABELS.contains(&label) {
            continue;
        }
        let known = exported[name].get(label);
        let known = known.unwrap_or_else(|| panic!("{name} has no {label}: {expr}"));
        for value in values.iter().filter(|_| WORDS.contains(&label)) {
            assert!(known.contains(*value), "{name} is never {label}={value:?}: {expr}");
        }
    }
    for group in between(expr, "by (", ')') {
        for label in group.split(", ") {
            assert!(labels.contains(label), "by {label}: {expr}");
        }
    }
    let said = between(about, "$labels.", ' ').chain(between(about, "{{", '}'));
    let said = said.map(|label| label.trim_matches(['}', ' ']));
    for label in said.filter(|label| label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')) {
        let ours = labels.contains(label) || ["end", ""].contains(&label);
        assert!(ours, "{label} is said of {expr}");
    }
}

#[test]
fn dashboard_and_alerts_ask_for_what_is_exported() {
    let exported = exported();
    let (panels, rules) = (panels(), rules());
    assert!(panels.len() >= 30 && rules.len() >= 10, "{} {}", panels.len(), rules.len());
    for asked in panels.iter().chain(&rules) {
        assert_asks_for_what_is_there(&exported, asked);
    }
    // What the choices on top are made of.
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    for choice in dashboard["templating"]["list"].as_array().expect("a list") {
        for name in names(choice["query"].as_str().expect("a text")) {
            assert!(exported.contains_key(name), "{name}: {choice}");
        }
    }
}

#[test]
fn rules_fire_when_they_should() {
    for (command, file) in [("check", "configs/alerts.yml"), ("test", "tests/alerts.yml")] {
        let mut promtool = Command::new("promtool");
        promtool.args([command, "rules", file]).current_dir(ROOT);
        let output = promtool.output().expect("promtool is there: run tests/setup.sh");
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promtool {command} rules {file}:\n{said}");
    }
}
