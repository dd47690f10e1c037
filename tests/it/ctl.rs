//! `ringway ctl`: what it is told is done, what it says is so, and its exit code tells a script.

use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::harness::{
    HttpServer, Peer, Ringway, Server, Serving, alone, closed_port, eventually, program,
    request_head,
};

/// What came of a command.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    fn done(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    #[track_caller]
    fn json(self) -> Value {
        let text = self.done();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

fn run(command: &mut Command) -> Said {
    let output = command.stdin(Stdio::null()).output().expect("it can be started");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let code = output.status.code().expect("it ends by itself");
    Said { code, out: text(output.stdout), err: text(output.stderr) }
}

fn command(admin: &str, line: &str) -> Command {
    let mut command = Command::new(program());
    command
        .args(["ctl", "--admin", admin])
        .args(line.split_whitespace())
        .env_remove("RINGWAY_ADMIN");
    command
}

/// Where ringway is asked.
fn admin(lb: &Ringway) -> String {
    lb.event("admin")["address"].clone()
}

fn ctl(lb: &Ringway, line: &str) -> Said {
    run(&mut command(&admin(lb), line))
}

fn echo() -> Serving {
    Server::listen().serve(|mut peer| {
        let mut byte = [0];
        while std::io::Read::read_exact(&mut peer, &mut byte).is_ok() {
            peer.send(byte);
        }
    })
}

fn file(servers: &Value) -> Value {
    json!({
        "workers": 2,
        "admin": {"bind": "127.0.0.1:0"},
        "listeners": [{"name": "web", "bind": "127.0.0.1:0", "peek": "none"}],
        "pools": {"site": {"servers": servers}},
    })
}

/// ringway with two servers, the first of which has an id.
fn two() -> (Ringway, [Serving; 2], [String; 2]) {
    let servers = [echo(), echo()];
    let [one, two] = servers.each_ref().map(Serving::address);
    let list = json!([{"address": one, "id": "s1"}, two]);
    (Ringway::configured(&file(&list)).start(), servers, [one, two])
}

/// A client that has been answered.
fn client(lb: &Ringway) -> Peer {
    let mut client = lb.client();
    client.send("x");
    client.expect("x");
    client
}

/// What a server is by the endpoint.
fn server(lb: &Ringway, address: &str, key: &str) -> Value {
    let servers = ctl(lb, "servers --json").json();
    let mut servers = servers.as_array().expect("a list").iter();
    servers.find(|server| server["address"] == address).expect("it is there")[key].clone()
}

#[test]
fn everything_that_can_be_asked_is_answered() {
    let (lb, _servers, [one, _]) = two();
    let _client = client(&lb);
    ctl(&lb, &format!("weight {one} 2")).done();
    for line in ["listeners", "pools", "servers", "workers", "limits", "ports", "changes"] {
        let rows = ctl(&lb, &format!("{line} --json")).json();
        assert!(rows.as_array().is_some_and(|rows| !rows.is_empty()), "{line}: {rows}");
        let text = ctl(&lb, line).done();
        let first = text.lines().next().unwrap_or_default();
        assert!(first.chars().all(|c| !c.is_lowercase()) && !first.is_empty(), "{line}: {text}");
        assert!(text.lines().count() > rows.as_array().unwrap().len(), "{line}: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{line}: {text}");
        assert!(!text.contains('\x1b'), "colours are for terminals");
    }
    let status = ctl(&lb, "--json status").json();
    assert_eq!(status["sessions_live"], 1);
    let text = ctl(&lb, "status").done();
    let live = text.lines().find_map(|line| line.strip_prefix("live "));
    assert_eq!(live.map(str::trim), Some("1"), "{text}");
    assert_eq!(ctl(&lb, "config").json()["pools"]["site"]["servers"][0]["address"], json!(one));
    assert_eq!(ctl(&lb, "health").done(), "ready\n");
    assert_eq!(ctl(&lb, "servers --pool site --json").json().as_array().map(Vec::len), Some(2));
}

#[test]
fn a_server_is_drained_taken_down_weighed_and_made_ready_by_address_and_id() {
    let (lb, _servers, [one, two]) = two();
    assert_eq!(ctl(&lb, "drain s1").done(), format!("{one} (site): draining, no session left\n"));
    assert_eq!(server(&lb, &one, "state"), "draining");
    let answer = ctl(&lb, &format!("down {two} --pool site --json")).json();
    assert_eq!((&answer["server"]["state"], &answer["empty"]), (&json!("disabled"), &json!(true)));
    assert_eq!(ctl(&lb, "ready s1").done(), format!("{one} (site): up, weight 1, 0 sessions\n"));
    ctl(&lb, &format!("ready {two}")).done();
    assert_eq!(server(&lb, &two, "state"), "up");
    ctl(&lb, "weight s1 7").done();
    assert_eq!(server(&lb, &one, "weight"), 7);
    let text = ctl(&lb, "servers").done();
    assert!(text.ends_with(&format!("{one} (site): an operator has changed weight\n")), "{text}");
}

#[test]
fn a_server_is_added_and_removed() {
    let (lb, _servers, _) = two();
    let third = echo();
    let address = third.address();
    ctl(&lb, &format!("add site {address} --weight 2 --id s3 --max-connections 9")).done();
    assert_eq!(server(&lb, &address, "weight"), 2);
    assert_eq!(server(&lb, &address, "max_connections"), 9);
    let said = ctl(&lb, "remove site s3 --wait").done();
    assert_eq!(said, format!("{address} (site): removed, no session left\n"));
    let servers = ctl(&lb, "servers --json").json();
    assert!(servers.as_array().unwrap().iter().all(|s| s["address"] != *address || s["live"] == 0));
}

#[test]
fn a_wait_ends_with_the_last_session_or_with_its_time() {
    let (lb, _servers, [one, _]) = two();
    let clients = [client(&lb), client(&lb)];
    let late = ctl(&lb, "drain s1 --wait --timeout 50ms");
    assert_eq!(late.code, 4, "{}", late.err);
    assert_eq!(late.out, format!("{one} (site): draining, 1 session left after 50 ms\n"));
    let admin = admin(&lb);
    let waits = thread::spawn(move || run(&mut command(&admin, "drain s1 --wait --timeout 30s")));
    // The wait may begin behind the end of the sessions: its answer is the same.
    drop(clients);
    let said = waits.join().expect("an answer").done();
    assert_eq!(said, format!("{one} (site): draining, no session left\n"));
}

#[test]
fn what_is_left_when_the_time_has_passed_is_closed() {
    let (lb, _servers, [one, _]) = two();
    let _clients = [client(&lb), client(&lb)];
    let late = ctl(&lb, "drain s1 --wait --timeout 10ms --close-per-s 1000");
    let said = format!(
        "{one} (site): draining, 1 session left after 10 ms, closed now at 1,000 a second\n"
    );
    assert_eq!((late.code, late.out), (4, said), "{}", late.err);
    lb.wait_for_sessions(1);
    assert_eq!(lb.session().get("reason"), "killed");
    let said = ctl(&lb, "sessions --json").json();
    assert_eq!(said["sessions"].as_array().map(Vec::len), Some(1), "the other server's stays");
}

#[test]
fn sessions_are_listed_shown_and_killed() {
    let (lb, _servers, [one, two]) = two();
    let mut clients = [client(&lb), client(&lb), client(&lb)];
    let listed = |line: &str| {
        let answer = ctl(&lb, &format!("sessions --json {line}")).json();
        answer["sessions"].as_array().expect("a list").clone()
    };
    assert_eq!(listed("--all").len(), 3);
    let ours = format!("--client {}", clients[0].address().ip());
    assert_eq!(listed(&ours).len(), 3);
    assert_eq!(listed("--client 192.0.2.0/24").len(), 0);
    assert_eq!(listed("--server s1").len() + listed(&format!("--server {two}")).len(), 3);
    let said = ctl(&lb, "sessions --limit 2");
    assert_eq!((said.code, said.out.lines().count()), (0, 3), "{}", said.out);
    assert_eq!(said.err, "there may be more: --all shows them\n");
    let at_one = listed("--server s1").len();
    let address = clients[0].address().to_string();
    let all = listed("");
    let session = all.iter().find(|session| session["client"] == *address).expect("it is there");
    let id = session["id"].as_str().expect("a name");
    let text = ctl(&lb, &format!("session {id}")).done();
    for line in
        ["client      127.0.0.1:", "phase       ", "CONNECTION  ", "client      ", "server   "]
    {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line}: {text}");
    }
    assert_eq!(ctl(&lb, &format!("kill {id}")).done(), format!("{id}: closed\n"));
    clients[0].expect_closed();
    lb.wait_for_sessions(1);
    let gone = ctl(&lb, &format!("kill {id}"));
    assert_eq!((gone.code, gone.out.as_str()), (1, ""), "{}", gone.err);
    let was_at_one = usize::from(session["server"] == *one);
    let said = ctl(&lb, "kill --server s1").done();
    let noun = if at_one - was_at_one == 1 { "session" } else { "sessions" };
    assert_eq!(said, format!("{} {noun} closed\n", at_one - was_at_one));
    ctl(&lb, "kill --all --per-s 100").done();
    lb.wait_for_sessions(3);
    assert!(lb.sessions().iter().all(|session| session.get("reason") == "killed"));
}

/// What a server answers to a Socket.IO handshake.
const HANDSHAKE: &str = r#"0{"sid":"lv_VI97HAXpY6yYWAAAB"}"#;

#[test]
fn keys_and_hosts_are_explained() {
    let servers = [HttpServer::named(HANDSHAKE), HttpServer::named("s2")];
    let [one, two] = servers.each_ref().map(HttpServer::address);
    let lb = Ringway::configured(&json!({
        "workers": 1,
        "admin": {"bind": "127.0.0.1:0"},
        "listeners": [{"name": "web", "bind": "127.0.0.1:0", "pool": "chat",
                       "routes": [{"host": "www.example.com", "pool": "site"}]}],
        "pools": {"chat": {"sticky": "socketio", "servers": [one]}, "site": {"servers": [two]}},
    }))
    .start();
    lb.get("/socket.io/?EIO=4&transport=polling", &[]);
    let keys = ctl(&lb, "keys --key lv_VI97HAXpY6yYWAAAB --json").json();
    assert_eq!(keys["keys"][0]["server"], json!(one));
    assert!(ctl(&lb, "keys --pool chat").done().contains(&one));
    let why = ctl(&lb, "why lv_VI97HAXpY6yYWAAAB").done();
    assert!(why.contains(&format!("\nserver    {one}\n")), "{why}");
    let why = ctl(&lb, "why www.example.com --json").json();
    assert_eq!((&why["pool"], &why["server"]), (&json!("site"), &json!(two)));
    let why = ctl(&lb, "why --host www.example.com --client 192.0.2.7").done();
    assert!(why.contains("\npool      site\n") && why.contains(&two), "{why}");
    let said = ctl(&lb, "why 192.0.2.7 --listener nowhere");
    assert_eq!(said.code, 1, "{}", said.err);
}

#[test]
fn metrics_are_printed_as_they_are() {
    let (lb, _servers, _) = two();
    let text = ctl(&lb, "metrics").done();
    assert!(text.lines().any(|line| line.starts_with("# TYPE ringway_")), "{text}");
}

#[test]
fn a_long_list_comes_page_by_page() {
    let played = Server::listen().serve(|mut peer| {
        let head = request_head(&mut peer).expect("a request");
        let (rows, next) = match head.contains("after=0-18") {
            false => (r#"{"id":"0-17-1"}"#, r#""0-18""#),
            true => (r#"{"id":"0-18-1"}"#, "null"),
        };
        let body = format!("{{\"sessions\":[{rows}],\"next\":{next},\"silent\":[]}}\n");
        let length = body.len();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"));
    });
    let said = run(&mut command(&played.address(), "sessions --all --json")).done();
    let ids = said.lines().map(|line| {
        let page: Value = serde_json::from_str(line).expect("a page in a line");
        page["sessions"][0]["id"].as_str().expect("a name").to_owned()
    });
    assert_eq!(ids.collect::<Vec<_>>(), ["0-17-1", "0-18-1"]);
    let said = run(&mut command(&played.address(), "sessions --limit 5")).done();
    assert!(said.contains("0-17-1") && said.contains("0-18-1"), "{said}");
}

#[test]
fn reload_log_and_diff_do_what_they_say() {
    let (lb, _servers, [one, two]) = two();
    assert_eq!(ctl(&lb, "reload").done(), "edition 2 is in force\n");
    assert_eq!(ctl(&lb, "log debug").done(), "log level debug\n");
    assert_eq!(ctl(&lb, "status --json").json()["log_level"], "debug");
    assert_eq!(ctl(&lb, "diff").done(), "nothing would change\n");
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("new.json");
    let mut new = file(&json!([{"address": one, "id": "s1", "weight": 3}, two]));
    std::fs::write(&path, new.to_string()).unwrap();
    let line = format!("diff {}", path.display());
    let said = ctl(&lb, &line).done();
    assert_eq!(said, format!("pools.site.servers[{one}].weight: 1 -> 3, at once\n"));
    let changes = ctl(&lb, &format!("{line} --json")).json();
    assert_eq!(changes["changes"].as_array().map(Vec::len), Some(1));
    new["listeners"][0]["pool"] = json!("nowhere");
    std::fs::write(&path, new.to_string()).unwrap();
    let said = ctl(&lb, &line);
    assert_eq!(said.code, 1);
    assert!(said.out.starts_with("listeners[0].pool: "), "{}", said.out);
}

#[test]
fn what_is_refused_is_exit_code_1_and_says_why() {
    let (lb, _servers, [one, _]) = two();
    let rows = [
        ("drain s9", "there is no server \"s9\"; there are 127.0.0.1:"),
        ("ready s1 --pool chat", "there is no pool \"chat\"; there is \"site\""),
        ("add nowhere 10.0.0.1:80", "there is no pool \"nowhere\""),
        ("add site app:80", "names are looked up at start and reload only"),
        ("servers --pool chat", "there is no pool \"chat\""),
    ];
    for (line, part) in rows {
        let said = ctl(&lb, line);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{line}: {}", said.err);
        assert!(said.err.contains(part), "{line}: {}", said.err);
    }
    let said = ctl(&lb, &format!("add site {one} --json"));
    let answer: Value = serde_json::from_str(&said.out).expect("the answer as it is");
    assert_eq!((said.code, said.err.as_str()), (1, ""));
    assert!(answer["error"].as_str().is_some_and(|text| text.contains(&one)), "{answer}");
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let (_socket, nobody) = closed_port();
    for line in ["", "drain", "weight s1 0", "drain s1 --timeout 5s", "diff /nowhere.json", "kill"]
    {
        let said = run(&mut command(&nobody, line));
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{line:?}: {}", said.err);
    }
    let mut wrong = Command::new(program());
    let said = run(wrong.args(["ctl", "status"]).env("RINGWAY_ADMIN", "9080"));
    assert_eq!(said.code, 2);
    assert!(said.err.starts_with("RINGWAY_ADMIN: must be"), "{}", said.err);
}

#[test]
fn nobody_there_is_exit_code_3_and_says_what_was_tried() {
    let (_socket, nobody) = closed_port();
    let said = run(&mut command(&nobody, "status"));
    assert_eq!((said.code, said.out.as_str()), (3, ""));
    assert_eq!(said.err, format!("no ringway answers at {nobody}: nobody listens there\n"));
    let said = run(&mut command("unix:/nowhere.sock", "status"));
    assert_eq!(said.code, 3);
    assert!(said.err.ends_with("unix:/nowhere.sock: there is no such socket\n"), "{}", said.err);
    let mut by_variable = Command::new(program());
    let said = run(by_variable.args(["ctl", "health"]).env("RINGWAY_ADMIN", &nobody));
    assert_eq!(said.code, 3);
    assert!(said.err.contains("(as RINGWAY_ADMIN says)"), "{}", said.err);
    let other = Server::listen().serve(|mut peer| peer.send("220 mail.example.com\r\n"));
    let said = run(&mut command(&other.address(), "status"));
    assert_eq!(said.code, 3, "{}", said.err);
}

#[test]
fn a_unix_socket_and_a_token_are_understood() {
    let server = echo();
    let files = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", files.path().join("admin.sock").display());
    let mut by_path = file(&json!([server.address()]));
    by_path["admin"] = json!({"bind": socket});
    let lb = Ringway::configured(&by_path).start();
    assert_eq!(run(&mut command(&socket, "health")).done(), "ready\n");
    drop(lb);
    let mut by_token = file(&json!([server.address()]));
    by_token["admin"]["token"] = json!("0123456789abcdef");
    let lb = Ringway::configured(&by_token).start();
    let said = ctl(&lb, "status");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("--token-file"), "{}", said.err);
    let path = files.path().join("token");
    std::fs::write(&path, "0123456789abcdef\n").unwrap();
    let line = format!("status --json --token-file {}", path.display());
    assert_eq!(ctl(&lb, &line).json()["workers"], 2);
}

#[test]
fn who_stops_reading_is_no_failure() {
    let (lb, _servers, _) = two();
    let ctl = format!("{} ctl --admin {} events --json", program(), admin(&lb));
    let script = format!("set -o pipefail; {ctl} | head -n 1");
    let said = run(Command::new("bash").args(["-c", &script]));
    let event: Value = serde_json::from_str(&said.done()).expect("one event");
    assert_eq!(event["sessions_live"], 0);
}

#[test]
fn changes_are_followed_as_they_happen() {
    let (lb, _servers, [one, _]) = two();
    let mut follows = command(&admin(&lb), "events --changes").stdout(Stdio::piped()).spawn();
    let follows = follows.as_mut().expect("it can be started");
    let out = std::io::BufReader::new(follows.stdout.take().expect("it is piped"));
    let (sender, lines) = std::sync::mpsc::channel();
    thread::spawn(move || {
        std::io::BufRead::lines(out).map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let line = eventually("a line", || {
        // It may not listen yet.
        ctl(&lb, "drain s1").done();
        lines.try_recv().ok()
    });
    assert!(line.contains(&format!(" change pool=site server={one} state=drain")), "{line}");
    follows.kill().and_then(|()| follows.wait()).expect("it ends");
}

const DOCUMENT: &str = include_str!("../../docs/ctl.md");

/// Fenced blocks: the word behind the fence, and what is within.
fn blocks() -> impl Iterator<Item = (&'static str, &'static str)> {
    let fenced = DOCUMENT.split("```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').expect("a fence has a line of its own"))
}

/// Words without durations, which are never twice the same.
fn timeless(text: &str) -> Vec<String> {
    let words: Vec<_> = text.split_whitespace().collect();
    let is_unit = |word: Option<&&str>| word.is_some_and(|word| ["µs", "ms", "s"].contains(word));
    let kept =
        (0..words.len()).filter(|&at| !is_unit(words.get(at)) && !is_unit(words.get(at + 1)));
    kept.map(|at| words[at].to_owned()).collect()
}

#[test]
fn every_example_says_what_the_document_says() {
    alone(&[], || {
        let servers = ["127.0.0.1:8881", "127.0.0.1:8882"];
        let _servers = servers.map(|address| {
            Server::listen_on(address)
                .serve(|mut peer| drop(std::io::copy(&mut peer, &mut std::io::sink())))
        });
        let files = tempfile::tempdir().unwrap();
        let path = files.path().join("ringway.json");
        std::fs::write(&path, blocks().find(|(tag, _)| *tag == "json").unwrap().1).unwrap();
        let lb = Ringway::run(&path).start();
        let _client = lb.client();
        eventually("a session", || {
            (ctl(&lb, "ports --json").out.contains("\"used\":1")).then_some(())
        });
        let examples = blocks().filter(|(tag, _)| *tag == "console");
        for (_, example) in examples {
            let (line, expected) = example.split_once('\n').expect("a command and its output");
            let line = line.strip_prefix("$ ringway ctl ").expect("a command");
            let found = ctl(&lb, line).out;
            assert_eq!(timeless(&found), timeless(expected), "{line}: {found}");
        }
    });
}
