//! docs/admin.md: each of its requests is made, and answered as it says.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Admin, HttpServer, Peer, Ringway, get};

const DOCUMENT: &str = include_str!("../../docs/admin.md");

/// Objects whose keys are words for what was counted.
const TALLIES: [&str; 4] = ["closed", "lacked", "picks", "connect_errors"];

/// What a server answers to a Socket.IO handshake.
const HANDSHAKE: &str = r#"0{"sid":"lv_VI97HAXpY6yYWAAAB"}"#;

/// A part of the document under a heading of the second level.
struct Section<'d> {
    heading: &'d str,
    text: &'d str,
}

fn sections() -> impl Iterator<Item = Section<'static>> {
    DOCUMENT.split("\n## ").skip(1).map(|section| {
        let (heading, text) = section.split_once('\n').expect("a heading has a line of its own");
        Section { heading, text }
    })
}

/// Fenced blocks: the word behind the fence, and what is within.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let fenced = text.split("```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').expect("a fence has a line of its own")).collect()
}

/// Fields in the first column of a table.
fn fields(text: &str) -> BTreeSet<&str> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(field, _)| field).collect()
}

/// The words of a command line, single quotes taken off.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// A curl command as its method, path and body.
fn request(command: &str) -> (String, String, Value) {
    let words = words(command);
    let after = |flag: &str| {
        let at = words.iter().position(|word| word == flag)?;
        Some(words[at + 1].as_str())
    };
    let body = after("-d").map_or(Value::Null, |body| serde_json::from_str(body).expect("JSON"));
    let method = after("-X").unwrap_or(if body.is_null() { "GET" } else { "POST" });
    let path = words.iter().find_map(|word| word.strip_prefix("http://127.0.0.1:9080"));
    if method != "GET" {
        assert_eq!(after("-H"), Some("Content-Type: application/json"), "{command}");
    }
    (method.to_owned(), path.expect("a path").to_owned(), body)
}

#[track_caller]
fn alike(written: &Value, found: &Value, place: &str) {
    match (written, found) {
        (Value::Null, _) | (_, Value::Null) => {}
        (Value::Object(_), Value::Object(found)) if TALLIES.iter().any(|t| place.ends_with(t)) => {
            assert!(found.values().all(Value::is_u64), "{place}: {found:?}");
        }
        (Value::Object(written), Value::Object(found)) => {
            let keys = |of: &serde_json::Map<String, Value>| -> Vec<String> {
                of.keys().cloned().collect()
            };
            assert_eq!(keys(written), keys(found), "{place}");
            for (key, value) in written {
                alike(value, &found[key], &format!("{place}.{key}"));
            }
        }
        (Value::Array(written), Value::Array(found)) => {
            let Some(one) = written.first() else { return };
            assert!(!found.is_empty() || place.ends_with("changed"), "{place}: is empty");
            found.iter().for_each(|element| alike(one, element, &format!("{place}[]")));
        }
        _ => {
            let kinds = [written, found].map(std::mem::discriminant);
            assert_eq!(kinds[0], kinds[1], "{place}: {written} and {found}");
        }
    }
}

/// ringway with the file of the document, and some traffic behind it; the session that is left.
fn start(servers: &[HttpServer]) -> (Ringway, Peer) {
    let (_, file) = blocks(DOCUMENT)[0];
    let ports = ["9080", "8080"].map(|port| (format!("127.0.0.1:{port}"), "127.0.0.1:0".into()));
    let file = replaced(file, servers, &ports);
    let directory = tempfile::tempdir().expect("a directory for the file");
    let path = directory.path().join("ringway.json");
    std::fs::write(&path, file).expect("the file is written");
    let lb = Ringway::run(&path).keeping(directory).start();
    for _ in 0..2 {
        lb.get("/socket.io/?EIO=4&transport=polling", &[]);
    }
    lb.wait_for_sessions(2);
    let mut client = lb.client();
    // The server waits for its body.
    client.send(get("/", &["Content-Length: 1"]));
    servers[0].accepted();
    (lb, client)
}

fn replaced(text: &str, servers: &[HttpServer], more: &[(String, String)]) -> String {
    let own = ["127.0.0.1:8881", "127.0.0.1:8882", "127.0.0.1:8883"];
    let own = own.iter().zip(servers).map(|(known, server)| (known.to_string(), server.address()));
    let mut text = text.to_owned();
    for (from, to) in own.chain(more.iter().cloned()) {
        text = text.replace(&from, &to);
    }
    text
}

#[test]
fn every_example_is_answered_as_it_says() {
    let servers = [0; 3].map(|_| HttpServer::named(HANDSHAKE));
    let (lb, client) = start(&servers);
    let admin: Admin = lb.admin();
    let mut made = 0;
    for section in sections() {
        let blocks = blocks(section.text);
        if section.heading == "GET /v1/sessions/ID" {
            one_session(&admin, &blocks);
        }
        for pair in blocks.windows(2).filter(|pair| pair[0].0 == "console") {
            let command = pair[0].1.trim().strip_prefix("$ ").expect("a command");
            let (method, path, body) = request(&replaced(command, &servers, &[]));
            let heading = section.heading.split(' ').next();
            assert_eq!(heading, Some(method.as_str()), "{}", section.heading);
            let found = admin.must(&method, &path, &body);
            let written: Value = serde_json::from_str(pair[1].1).expect("JSON");
            alike(&written, &found, section.heading);
            made += 1;
            let first = written.get(0).unwrap_or(&written);
            let keys = first.as_object().expect("an object").keys().map(String::as_str);
            let fields = fields(section.text);
            assert!(fields.is_empty() || fields == keys.collect(), "{}", section.heading);
        }
    }
    assert!(made >= 16, "{made} requests were made");
    drop(client);
}

/// Its name is not known beforehand.
fn one_session(admin: &Admin, blocks: &[(&str, &str)]) {
    let sessions = admin.get("/v1/sessions");
    let id = sessions["sessions"][0]["id"].as_str().expect("there is one");
    let session = admin.get(&format!("/v1/sessions/{id}"));
    let written = serde_json::from_str(blocks[0].1).expect("JSON");
    alike(&written, &session["tcp_info"], "tcp_info");
    assert!(session["tcp_info"]["server"].is_object(), "{session}");
}

#[test]
fn every_path_has_its_section() {
    let server = HttpServer::named("s1");
    let lb = Ringway::to([server.address()]).with_admin().start();
    let (_, text) = lb.admin().refused("GET", "/nothing", &json!(null));
    let (_, paths) = text.split_once("there are ").expect("a list");
    let paths: BTreeSet<_> = paths.split(", ").flat_map(|path| path.split(" and ")).collect();
    let headings = sections().filter_map(|section| Some(section.heading.split_once(' ')?.1));
    assert_eq!(paths, headings.filter(|path| path.starts_with('/')).collect());
}
