//! The admin endpoint: what it says is what happened, and what it is told is done.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Peer, Ringway, Server, Serving, closed_port, eventually};

/// Says its name to every byte.
pub(crate) fn named(name: &'static str) -> Serving {
    Server::listen().serve(move |mut peer| {
        let mut byte = [0];
        while let Ok(()) = std::io::Read::read_exact(&mut peer, &mut byte) {
            if std::io::Write::write_all(&mut peer, name.as_bytes()).is_err() {
                break;
            }
        }
    })
}

fn ask(peer: &mut Peer, name: &str) {
    peer.send(b"?");
    peer.expect(name);
}

/// The three letters of the server at the other end.
fn who(client: &mut Peer) -> String {
    client.send(b"?");
    let mut name = [0; 3];
    std::io::Read::read_exact(client, &mut name).expect("a name");
    String::from_utf8(name.to_vec()).expect("letters")
}

/// Which server a new client comes to.
fn lands(lb: &Ringway) -> String {
    who(&mut lb.client())
}

pub(crate) fn file(servers: &Value) -> Value {
    json!({
        "workers": 2,
        "admin": {"bind": "127.0.0.1:0"},
        "listeners": [{"name": "web", "bind": "127.0.0.1:0", "peek": "none"}],
        "pools": {"site": {"servers": servers}},
    })
}

pub(crate) fn path(server: &str) -> String {
    format!("/v1/pools/site/servers/{server}")
}

#[test]
fn figures_are_what_was_sent() {
    let servers = [named("one"), named("two")];
    let addresses = servers.each_ref().map(Serving::address);
    let lb = Ringway::configured(&file(&json!(addresses))).start();
    let admin = lb.admin();
    let mut clients: Vec<Peer> = (0..6).map(|_| lb.client()).collect();
    clients.iter_mut().for_each(|client| drop(who(client)));
    let status = admin.get("/v1/status");
    assert_eq!((&status["sessions_live"], &status["accepted_total"]), (&json!(6), &json!(6)));
    assert_eq!((&status["edition"], &status["workers"]), (&json!(1), &json!(2)));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["pid"], lb.pid().as_raw());
    assert_eq!((&status["draining"], &status["log_level"]), (&json!(false), &json!("info")));
    for address in &addresses {
        let server = admin.server(address);
        assert_eq!((&server["live"], &server["total"]), (&json!(3), &json!(3)), "{server}");
        assert_eq!((&server["state"], &server["pool"]), (&json!("up"), &json!("site")));
        assert_eq!((&server["weight"], &server["changed"]), (&json!(1), &json!([])));
    }
    let listeners = admin.get("/v1/listeners");
    assert_eq!(listeners[0]["bind"], json!([lb.address().to_string()]));
    assert_eq!((&listeners[0]["live"], &listeners[0]["pool"]), (&json!(6), &json!("site")));
    let pool = admin.get("/v1/pools/site");
    assert_eq!(admin.get("/v1/pools"), json!([pool]));
    assert_eq!((&pool["live"], &pool["condition"]), (&json!(6), &json!("ok")));
    assert_eq!(pool["servers"], json!(addresses));
    let workers = admin.get("/v1/workers");
    let live = |of: &Value| of["live"].as_u64().expect("a number");
    assert_eq!(workers.as_array().unwrap().iter().map(live).sum::<u64>(), 6);
    drop(clients);
    lb.wait_for_sessions(6);
    let status = admin.get("/v1/status");
    assert_eq!((&status["sessions_live"], &status["closed_total"]), (&json!(0), &json!(6)));
    let by_reason = status["closed"].as_object().unwrap();
    assert_eq!(by_reason.values().filter_map(Value::as_u64).sum::<u64>(), 6);
}

#[test]
fn the_configuration_in_force_is_shown_without_secrets() {
    let server = named("one");
    let mut file = file(&json!([server.address()]));
    file["admin"]["token"] = json!("0123456789abcdef");
    file["listeners"][0]["peek"] = json!("http");
    file["pools"]["site"]["sticky"] = json!({"by": "insert", "name": "n", "secret": "hush"});
    let lb = Ringway::configured(&file).start();
    let shown = lb.admin().with_token("0123456789abcdef").get("/v1/config");
    assert_eq!(shown["admin"]["token"], "***");
    assert_eq!(shown["pools"]["site"]["sticky"]["secret"], "***");
    assert_eq!(shown["pools"]["site"]["connect_timeout_ms"], 2000);
    assert_eq!(shown["listeners"][0]["keep_alive"], "one_request");
}

#[test]
fn a_server_is_drained_taken_down_and_made_ready_again() {
    let servers = [named("one"), named("two")];
    let [one, two] = servers.each_ref().map(Serving::address);
    let lb = Ringway::configured(&file(&json!([one, two]))).start();
    let admin = lb.admin();
    for (state, shown) in [("drain", "draining"), ("down", "disabled")] {
        let answer = admin.must("PATCH", &path(&one), &json!({"state": state}));
        assert_eq!((&answer["server"]["state"], &answer["empty"]), (&json!(shown), &json!(true)));
        assert_eq!(answer["server"]["changed"], json!(["state"]));
        eventually("every worker knows", || (lands(&lb) == "two").then_some(()));
        for _ in 0..8 {
            assert_eq!(lands(&lb), "two");
        }
    }
    let answer = admin.must("PATCH", &path(&one), &json!({"state": "ready"}));
    assert_eq!(answer["server"]["changed"], json!([]));
    eventually("it is chosen again", || (lands(&lb) == "one").then_some(()));
    let change = format!("server={one} pool=site change=drain edition=2");
    lb.wait_for_line("changed by=\"127.0.0.1:", &change);
}

#[test]
fn sessions_stay_at_a_server_that_is_drained_and_its_end_is_waited_for() {
    let servers = [named("one"), named("two")];
    let [one, two] = servers.each_ref().map(Serving::address);
    let lb = Ringway::configured(&file(&json!([one, two]))).start();
    let admin = lb.admin();
    let mut clients: Vec<Peer> = (0..4).map(|_| lb.client()).collect();
    let names: Vec<String> = clients.iter_mut().map(who).collect();
    let answer = admin.must("PATCH", &path(&one), &json!({"state": "drain", "wait_ms": 50}));
    assert_eq!((&answer["empty"], &answer["live"]), (&json!(false), &json!(2)));
    for (client, name) in clients.iter_mut().zip(&names) {
        ask(client, name);
    }
    let waiting = {
        let admin = admin.clone();
        let (path, body) = (path(&one), json!({"state": "drain", "wait_ms": 30_000}));
        std::thread::spawn(move || admin.must("PATCH", &path, &body))
    };
    drop(clients);
    let answer = waiting.join().expect("an answer");
    assert_eq!((&answer["empty"], &answer["live"]), (&json!(true), &json!(0)));
}

#[test]
fn servers_are_added_weighed_and_removed() {
    let servers = [named("one"), named("two")];
    let [one, two] = servers.each_ref().map(Serving::address);
    let lb = Ringway::configured(&file(&json!([one]))).start();
    let admin = lb.admin();
    let answer = admin.must("POST", "/v1/pools/site/servers", &json!({"address": two}));
    assert_eq!(answer["server"]["changed"], json!(["added"]));
    assert_eq!(answer["server"]["weight_in_file"], json!(null));
    eventually("it is chosen", || (lands(&lb) == "two").then_some(()));
    admin.must("PATCH", &path(&two), &json!({"weight": 3}));
    eventually("its weight counts", || {
        let names: Vec<String> = (0..8).map(|_| lands(&lb)).collect();
        (names.iter().filter(|name| *name == "two").count() == 6).then_some(())
    });
    let mut client = eventually("a session there", || {
        let mut client = lb.client();
        (who(&mut client) == "two").then_some(client)
    });
    let answer = admin.must("DELETE", &format!("{}?wait_ms=20", path(&two)), &Value::Null);
    assert_eq!((&answer["empty"], &answer["live"]), (&json!(false), &json!(1)));
    assert_eq!(admin.server(&two)["state"], "leaving");
    eventually("nobody else comes there", || (lands(&lb) == "one").then_some(()));
    for _ in 0..8 {
        assert_eq!(lands(&lb), "one");
    }
    ask(&mut client, "two");
    assert_eq!(admin.get("/v1/status")["changes"], 0, "what was added is gone");
}

#[test]
fn a_server_of_the_file_can_be_removed_and_put_back() {
    let servers = [named("one"), named("two")];
    let [one, two] = servers.each_ref().map(Serving::address);
    let written = file(&json!([one, two]));
    let lb = Ringway::configured(&written).start();
    let admin = lb.admin();
    let answer = admin.must("DELETE", &path(&two), &Value::Null);
    assert_eq!(answer["empty"], true);
    let removed = admin.server(&two);
    assert_eq!((&removed["state"], &removed["changed"]), (&json!("removed"), &json!(["removed"])));
    assert!(lb.reload(&written), "a reload leaves it out as well");
    for _ in 0..8 {
        assert_eq!(lands(&lb), "one");
    }
    let (status, text) = admin.refused("DELETE", &path(&one), &Value::Null);
    assert_eq!(status, 409);
    assert_eq!(text, "pool site: it would have no server left that is no backup");
    let answer = admin.must("POST", "/v1/pools/site/servers", &json!({"address": two}));
    assert_eq!(answer["server"]["changed"], json!([]));
    eventually("it is chosen again", || (lands(&lb) == "two").then_some(()));
}

#[test]
fn a_change_stays_until_the_file_changes_the_same_value() {
    let servers = [named("one"), named("two")];
    let [one, two] = servers.each_ref().map(Serving::address);
    let written = file(&json!([{"address": one, "weight": 2}, two]));
    let lb = Ringway::configured(&written).start();
    let admin = lb.admin();
    admin.must("PATCH", &path(&one), &json!({"weight": 9, "state": "drain"}));
    let mut other = written.clone();
    other["pools"]["site"]["connect_tries"] = json!(2);
    assert!(lb.reload(&other));
    let server = admin.server(&one);
    assert_eq!((&server["weight"], &server["state"]), (&json!(9), &json!("draining")));
    assert_eq!(server["weight_in_file"], 2);
    other["pools"]["site"]["servers"][0]["weight"] = json!(3);
    assert!(lb.reload(&other));
    let server = admin.server(&one);
    assert_eq!((&server["weight"], &server["state"]), (&json!(3), &json!("draining")));
    assert_eq!(server["changed"], json!(["state"]));
    lb.wait_for_line("dropped", "it is 3 in the file now");
}

#[test]
fn what_is_wrong_is_said_with_what_is_allowed() {
    let server = named("one");
    let address = server.address();
    let lb = Ringway::configured(&file(&json!([address]))).start();
    let admin = lb.admin();
    let (server, add) = (path(&address), "/v1/pools/site/servers");
    let rows: [(&str, &str, Value, u16, &str); 22] = [
        ("GET", "/v1/nothing", Value::Null, 404, "there is no /v1/nothing; there are /, /healthz"),
        ("POST", "/v1/status", Value::Null, 405, "/v1/status does not take POST"),
        ("GET", "/v1/status?x=1", Value::Null, 400, "unknown parameter \"x\", there is none here"),
        ("GET", "/v1/servers?pol=a", Value::Null, 400, "\"pol\", known are: pool"),
        ("GET", "/v1/servers?pool=a&pool=b", Value::Null, 400, "pool is given twice"),
        ("GET", "/v1/servers?pool=a", Value::Null, 404, "no pool \"a\"; there is \"site\""),
        ("GET", "/v1/pools/a", Value::Null, 404, "there is no pool \"a\""),
        ("PATCH", &server, json!({"state": "up"}), 400, "one of \"ready\", \"drain\", \"down\""),
        ("PATCH", &server, json!({"weight": 0}), 400, "weight: must be 1 to 256, is 0"),
        (
            "PATCH",
            &server,
            json!({"weigth": 1}),
            400,
            "known are: state, weight, wait_ms, close_per_s",
        ),
        ("PATCH", &server, json!({}), 400, "nothing to change"),
        ("PATCH", &server, json!({"weight": 1, "wait_ms": 1}), 400, "wait_ms and close_per_s need"),
        ("PATCH", &server, json!([]), 400, "the body must be a JSON object"),
        ("PATCH", &path("1.2.3.4:5"), json!({"weight": 1}), 404, "site has no server 1.2.3.4:5"),
        ("PATCH", &path("x"), json!({"weight": 1}), 400, "server: must be IP:PORT"),
        ("PATCH", "/v1/pools/a/servers/x", json!({"weight": 1}), 404, "there is no pool \"a\""),
        ("POST", add, json!({"address": address}), 409, "pool site has server"),
        ("POST", add, json!({"address": "10.0.0.1:1", "weight": 0}), 400, "weight: must be 1 to"),
        ("POST", add, json!({"adress": "x"}), 400, "did you mean \"address\"?"),
        ("POST", add, json!({"address": "app:80"}), 400, "names are looked up at start and reload"),
        ("PUT", "/v1/log", json!({"level": "loud"}), 400, "level: must be one of \"error\""),
        ("PUT", "/v1/log", json!({}), 400, "level: is missing"),
    ];
    for (method, path, body, status, part) in rows {
        let (found, text) = admin.refused(method, path, &body);
        assert_eq!(found, status, "{method} {path} {body}: {text}");
        assert!(text.contains(part), "{method} {path} {body}: {text}");
    }
    assert_eq!(admin.get("/v1/status")["edition"], 1, "nothing was changed");
}

#[test]
fn a_reload_says_its_edition_or_all_that_is_wrong() {
    let server = named("one");
    let lb = Ringway::configured(&file(&json!([server.address()]))).start();
    let admin = lb.admin();
    assert_eq!(admin.must("POST", "/v1/reload", &Value::Null), json!({"edition": 2}));
    lb.wait_for_line("INFO reloaded ", "edition=2");
    assert!(!lb.reload_text(r#"{"listeners": [], "wrokers": 1}"#));
    let (status, answer) = admin.ask("POST", "/v1/reload", &json!({}));
    assert_eq!(status, 409);
    assert_eq!(answer["error"], "not reloaded: the configuration in force stays");
    let problems = answer["problems"].as_array().expect("a list");
    assert!(problems.iter().any(|line| line.as_str().unwrap().starts_with("wrokers: unknown")));
    assert!(problems.len() >= 2, "{problems:?}");
    let lb = Ringway::to([server.address()]).with_admin().start();
    assert_eq!(lb.admin().must("POST", "/v1/reload", &Value::Null), json!({"edition": 2}));
}

#[test]
fn a_diff_says_what_a_reload_would_change_and_changes_nothing() {
    let server = named("one");
    let written = file(&json!([server.address()]));
    let lb = Ringway::configured(&written).with(["--no-splice"]).start();
    let admin = lb.admin();
    let none = json!({"problems": [], "warnings": [], "changes": []});
    assert_eq!(admin.must("POST", "/v1/diff", &json!({})), none, "the file as it is");
    let mut other = written.clone();
    other["workers"] = json!(1);
    other["pools"]["site"]["servers"] = json!([{"address": server.address(), "weight": 4}]);
    let text = json!({"config": other.to_string()});
    let diff = admin.must("POST", "/v1/diff", &text);
    let weight = format!("pools.site.servers[{}].weight", server.address());
    assert_eq!(
        diff["changes"],
        json!([
            {"path": "workers", "from": 2, "to": 1, "effect": "restart"},
            {"path": weight, "from": 1, "to": 4, "effect": "now"},
        ])
    );
    let diff = admin.must("POST", "/v1/diff", &json!({"config": "{"}));
    assert_eq!(diff["changes"], json!([]));
    assert_eq!(diff["problems"].as_array().map(Vec::len), Some(1), "{diff}");
    assert_eq!(admin.get("/v1/status")["edition"], 1);
}

#[test]
fn limits_say_how_near_they_are() {
    let server = named("one");
    let mut file = file(&json!([{"address": server.address(), "max_connections": 2}]));
    file["max_connections"] = json!(7);
    file["listeners"][0]["max_connections_per_source"] = json!({"count": 5});
    file["pools"]["site"]["connects_in_flight_max"] = json!(9);
    let lb = Ringway::configured(&file).start();
    let mut clients: Vec<Peer> = (0..2).map(|_| lb.client()).collect();
    clients.iter_mut().for_each(|client| ask(client, "one"));
    clients.push(lb.client());
    let admin = lb.admin();
    let limit = |name: &str, scope: &str| {
        let limits = admin.get("/v1/limits");
        let found = |of: &&Value| of["name"] == name && of["scope"] == scope;
        let limit = limits.as_array().unwrap().iter().find(found).cloned();
        let limit = limit.unwrap_or_else(|| panic!("no {name} {scope} in {limits}"));
        (limit["used"].as_u64(), limit["max"].as_u64())
    };
    eventually("one waits", || (limit("queue_max", "pool site").0 == Some(1)).then_some(()));
    assert_eq!(limit("max_connections", "all"), (Some(3), Some(7)));
    assert_eq!(limit("max_connections", "listener web"), (Some(3), None));
    assert_eq!(limit("max_connections_per_source", "listener web"), (Some(3), Some(5)));
    assert_eq!(limit("connects_in_flight_max", "pool site"), (Some(0), Some(9)));
    let scope = format!("server site {}", server.address());
    assert_eq!(limit("max_connections", &scope), (Some(2), Some(2)));
    let ports = admin.get("/v1/ports");
    assert_eq!((&ports[0]["used"], &ports[0]["server"]), (&json!(2), &json!(server.address())));
}

/// The next event of a stream that has been asked for.
fn event(peer: &mut Peer) -> (String, Value) {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\n\n") {
        std::io::Read::read_exact(peer, &mut byte).expect("an event");
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).expect("text");
    let (name, data) = text.split_once("\ndata: ").expect("an event has data");
    let name = name.rsplit("event: ").next().expect("a name").to_owned();
    // Behind a chunk comes the size of the next.
    let data = data.split("\n\n").next().expect("data");
    (name, serde_json::from_str(data).expect("JSON"))
}

#[test]
fn events_tell_what_happens_to_a_bounded_number_of_readers() {
    let server = named("one");
    let lb = Ringway::configured(&file(&json!([server.address()]))).start();
    let admin = lb.admin();
    let listen_from = |path: &str| {
        let mut peer = admin.connect();
        peer.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        peer
    };
    let listen = || listen_from("/v1/events");
    let mut reader = listen();
    let head = reader.head();
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    let (name, status) = event(&mut reader);
    assert_eq!((name.as_str(), &status["sessions_live"]), ("status", &json!(0)));
    assert_eq!(status["servers"][0]["address"], server.address());
    assert_eq!(status["workers"].as_array().map(Vec::len), Some(2));
    admin.must("PATCH", &path(&server.address()), &json!({"state": "drain", "weight": 2}));
    let change = eventually("the change", || {
        let (name, event) = event(&mut reader);
        (name == "change").then_some(event)
    });
    assert_eq!((&change["state"], &change["pool"]), (&json!("drain,weight=2"), &json!("site")));
    assert!(change["by"].as_str().unwrap().starts_with("127.0.0.1:"), "{change}");
    assert_eq!(admin.get("/v1/changes"), json!([change]));
    assert_eq!(admin.get(&format!("/v1/changes?after={}", change["number"])), json!([]));
    let mut late = listen_from("/v1/events?after=0");
    late.head();
    assert_eq!(event(&mut late), ("change".to_owned(), change));
    drop(late);
    let others: Vec<Peer> = (0..15).map(|_| listen()).collect();
    let others: Vec<Peer> = others
        .into_iter()
        .map(|mut peer| {
            assert!(peer.head().starts_with("HTTP/1.1 200 "));
            peer
        })
        .collect();
    let (status, text) = admin.refused("GET", "/v1/events", &Value::Null);
    assert_eq!((status, text.as_str()), (503, "16 readers of events is all there may be"));
    drop((reader, others));
    eventually("a place is free again", || {
        let mut peer = listen();
        peer.head().starts_with("HTTP/1.1 200 ").then_some(())
    });
}

#[test]
fn a_server_that_checks_take_down_is_told_with_its_cause() {
    let (_socket, closed) = closed_port();
    let server = named("one");
    let mut file = file(&json!([server.address(), closed]));
    file["pools"]["site"]["health"] = json!({"check": "tcp", "interval_ms": 100});
    let lb = Ringway::configured(&file).start();
    let admin = lb.admin();
    let shown = eventually("it is down", || {
        let shown = admin.server(&closed);
        (shown["state"] == "down").then_some(shown)
    });
    let cause = shown["cause"].as_str().unwrap();
    assert!(cause.starts_with("1 check failed: "), "{cause}");
    assert!(shown["for_ms"].is_u64(), "{shown}");
    let drained = admin.must("PATCH", &path(&closed), &json!({"state": "drain"}));
    let (state, health) = (&drained["server"]["state"], &drained["server"]["health"]);
    assert_eq!((state, health), (&json!("draining"), &json!("down")));
}

#[test]
fn the_log_is_made_louder_and_quieter() {
    let server = named("one");
    let lb = Ringway::configured(&file(&json!([server.address()]))).start();
    let admin = lb.admin();
    admin.must("PUT", "/v1/log", &json!({"level": "warn"}));
    assert_eq!(admin.get("/v1/status")["log_level"], "warn");
    admin.must("POST", "/v1/reload", &Value::Null);
    admin.must("PUT", "/v1/log", &json!({"level": "debug"}));
    admin.must("POST", "/v1/reload", &Value::Null);
    lb.wait_for_line("reloaded", "edition=3");
    assert!(!lb.said("edition=2"), "nobody heard of it");
}

#[test]
fn draining_is_not_ready_and_changes_nothing_any_more() {
    let server = named("one");
    let mut file = file(&json!([server.address()]));
    file["drain_timeout_ms"] = json!(60_000);
    let mut lb = Ringway::configured(&file).start();
    let admin = lb.admin();
    let mut client = lb.client();
    ask(&mut client, "one");
    let local = ["Host: localhost"];
    let (health, ready) = ("GET /healthz", "GET /readyz");
    assert_eq!(admin.raw(ready, &local, "").text(), "ready\n");
    lb.signal(Signal::SIGTERM);
    let response = eventually("not ready", || {
        let response = admin.raw(ready, &local, "");
        (response.status == 503).then_some(response)
    });
    assert_eq!(response.text(), "draining\n");
    assert_eq!(admin.raw(health, &local, "").text(), "ok\n");
    assert_eq!(admin.get("/v1/status")["draining"], true);
    let (status, text) = admin.refused("POST", "/v1/reload", &Value::Null);
    assert_eq!((status, text.as_str()), (409, "ringway is draining: nothing is changed any more"));
    let (status, _) = admin.refused("PATCH", &path(&server.address()), &json!({"weight": 2}));
    assert_eq!(status, 409);
    drop(client);
    lb.wait();
}
