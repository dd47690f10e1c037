//! `ringway doctor`, on this very host.

use std::net::TcpListener;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::{Ringway, Server, program};

fn doctor(arguments: &[&str]) -> Output {
    Command::new(program()).arg("doctor").args(arguments).output().expect("ringway is there")
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// A file with a listener there.
fn file(folder: &tempfile::TempDir, address: &str) -> String {
    let path = folder.path().join("ringway.json");
    let file = json!({
        "listeners": [{"name": "web", "bind": address}],
        "pools": {"site": {"servers": ["10.0.0.5:80"]}},
    });
    std::fs::write(&path, file.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_listener_that_somebody_else_has_is_named_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let path = file(&folder, &address);
    let output = doctor(&[&path, "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let report: Value = serde_json::from_str(&said(&output)).unwrap();
    assert_eq!(report["state"], "broken");
    let findings = report["findings"].as_array().unwrap();
    let listener = findings.iter().find(|finding| finding["id"] == "listener").unwrap();
    let pid = format!("(process {}) listens there", std::process::id());
    assert!(listener["says"].as_str().unwrap().ends_with(&pid), "{listener}");
    let ports = findings.iter().find(|finding| finding["id"] == "ports").unwrap();
    assert!(ports["says"].as_str().unwrap().contains(" connections to 10.0.0.5:80 "), "{ports}");
    drop(held);
    let output = doctor(&[&path]);
    assert!(said(&output).contains(&format!("web: {address} is free")), "{}", said(&output));
}

#[test]
fn a_listener_that_ringway_has_already_is_well() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::listen();
    let lb = Ringway::to([server.address()]).with(["--peek", "none"]).start();
    let output = doctor(&[&file(&folder, &lb.address().to_string())]);
    let text = said(&output);
    let words: Vec<_> = text.split_whitespace().collect();
    let expected = format!("is ringway's already (process {})", lb.pid());
    assert!(words.join(" ").contains(&expected), "{text}");
    // Neither a log line nor a colour in it, and nothing wider than a terminal but what is copied.
    let wide = text.lines().filter(|line| line.chars().count() > 80);
    assert!(wide.into_iter().all(|line| line.trim_start().starts_with("$ ")), "{text}");
    assert!(text.starts_with("Linux ") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn a_file_with_mistakes_is_not_examined() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringway.json");
    std::fs::write(&path, r#"{"wrokers": 1}"#).unwrap();
    let output = doctor(&[path.to_str().unwrap()]);
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(1), ""));
    assert!(String::from_utf8_lossy(&output.stderr).contains("wrokers: unknown key"));
}

#[test]
fn rights_are_those_of_who_serves() {
    if !nix::unistd::Uid::effective().is_root() {
        println!("rights_are_those_of_who_serves: left out, needs root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringway.json");
    let socket = format!("unix:{}", folder.path().join("admin.sock").display());
    let mut file = json!({
        "admin": {"bind": socket},
        "listeners": [{"name": "web", "bind": "127.0.0.1:0"}],
        "pools": {"site": {"servers": ["10.0.0.5:80"]}},
    });
    let findings = |file: &Value, id: &str| {
        std::fs::write(&path, file.to_string()).unwrap();
        let report = doctor(&[path.to_str().unwrap(), "--json"]);
        let report: Value = serde_json::from_str(&said(&report)).unwrap();
        let all = report["findings"].as_array().unwrap().clone();
        all.into_iter().filter(|finding| finding["id"] == id).collect::<Vec<_>>()
    };
    let last = |file: &Value| findings(file, "listener").pop().unwrap();
    assert_eq!(last(&file)["state"], "ok", "root may write there");
    file["user"] = json!(65_534);
    file["group"] = json!(65_534);
    assert_eq!(last(&file)["state"], "broken", "its user may not: {}", last(&file));
    assert!(findings(&file, "user").is_empty());
    file["user"] = json!("nobody-of-this-name");
    let user = findings(&file, "user");
    assert_eq!(user[0]["says"], "user: there is no user \"nobody-of-this-name\"");
    std::fs::write(folder.path().join("admin.sock"), "").unwrap();
    file["user"] = Value::Null;
    file["group"] = Value::Null;
    let says = last(&file)["says"].as_str().unwrap().to_owned();
    assert!(says.ends_with("a file is there that is no socket"), "{says}");
}

#[test]
fn who_listens_is_known_by_address_and_port() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::listen();
    let lb = Ringway::to([server.address()]).with(["--peek", "none"]).start();
    let port = lb.address().port();
    // The same port of another address: the first is ringway's, this one is the test's own.
    let held = TcpListener::bind(("127.0.0.9", port)).unwrap();
    let output = doctor(&[&file(&folder, &held.local_addr().unwrap().to_string()), "--json"]);
    assert!(said(&output).contains(&format!("(process {}) listens there", std::process::id())));
}
