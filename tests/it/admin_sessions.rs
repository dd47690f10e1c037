//! Live sessions by the admin endpoint: seen, found and ended; keys they taught; and where the next
//! one would go.

use serde_json::{Value, json};

use crate::admin::{file, named, path};
use crate::harness::{HttpServer, Peer, Ringway, Server, eventually, get};

fn ask(client: &mut Peer, name: &str) {
    client.send(b"?");
    client.expect(name);
}

fn ids(page: &Value) -> Vec<String> {
    let sessions = page["sessions"].as_array().expect("a list");
    sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn live_sessions_are_listed_by_what_they_have_in_common() {
    let servers = [named("one"), named("two")];
    let [one, two] = servers.each_ref().map(crate::harness::Serving::address);
    let lb = Ringway::configured(&file(&json!([one, two]))).start();
    let admin = lb.admin();
    let mut clients: Vec<Peer> = Vec::new();
    for from in [["127.0.0.1"; 4].as_slice(), &["127.0.0.9"; 2]].concat() {
        let mut client = Peer::connect_from(from, lb.address());
        client.send(b"?");
        // One after the other, so that they take turns.
        std::io::Read::read_exact(&mut client, &mut [0; 3]).expect("a name");
        clients.push(client);
    }
    // A worker that gets no turn for two seconds, as on a busy machine, is called silent.
    let list = |query: &str| {
        eventually("every worker answers", || {
            let page = admin.get(&format!("/v1/sessions{query}"));
            (page["silent"] == json!([])).then_some(page)
        })
    };
    let rows = [
        ("", 6),
        ("?client=127.0.0.1", 4),
        ("?client=127.0.0.8/30", 2),
        ("?client=127.0.0.0/8&listener=web&pool=site", 6),
        ("?listener=other", 0),
        ("?host=a.b", 0),
        (&format!("?server={one}"), 3),
        (&format!("?server={two}&client=127.0.0.9"), 1),
    ];
    for (query, count) in rows {
        let page = list(query);
        assert_eq!(ids(&page).len(), count, "{query}: {page}");
        assert_eq!(page["next"], json!(null));
    }
    let page = list(&format!("?client={}&tcp_info=true", clients[4].address().ip()));
    let addresses: Vec<_> = clients[4..].iter().map(|c| c.address().to_string()).collect();
    for session in page["sessions"].as_array().unwrap() {
        assert!(addresses.iter().any(|address| session["client"] == *address), "{session}");
        assert_eq!((&session["bytes_up"], &session["bytes_down"]), (&json!(1), &json!(3)));
        assert_eq!((&session["phase"], &session["mode_up"]), (&json!("relay"), &json!("copy")));
        assert!(session["tcp_info"]["client"]["rtt_us"].is_u64(), "{session}");
    }
    let mut listed = Vec::new();
    let mut after = String::new();
    loop {
        let page = list(&format!("?limit=4{after}"));
        listed.extend(ids(&page));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    listed.sort();
    listed.dedup();
    assert_eq!(listed.len(), 6, "page by page");
}

#[test]
fn one_session_is_killed_and_no_other() {
    let server = named("one");
    let lb = Ringway::configured(&file(&json!([server.address()]))).start();
    let admin = lb.admin();
    let mut clients = [(); 2].map(|()| lb.client());
    clients.iter_mut().for_each(|client| ask(client, "one"));
    let [mut killed, mut other] = clients;
    let page = admin.get("/v1/sessions");
    let is_it = |session: &&Value| session["client"] == killed.address().to_string();
    let sessions = page["sessions"].as_array().unwrap();
    let id = sessions.iter().find(is_it).unwrap()["id"].as_str().unwrap().to_owned();
    let one = format!("/v1/sessions/{id}");
    assert_eq!(admin.get(&one)["client"], killed.address().to_string());
    assert_eq!(admin.must("DELETE", &one, &Value::Null), json!({"closed": id}));
    let address = killed.address();
    killed.expect_closed();
    assert_eq!(lb.session_of(address).get("reason"), "killed");
    ask(&mut other, "one");
    let (status, text) = admin.refused("DELETE", &one, &Value::Null);
    assert_eq!((status, text), (404, format!("there is no session {id} any more")));
    assert_eq!(admin.refused("GET", "/v1/sessions/x", &Value::Null).0, 400);
    lb.wait_for_line("killed by=\"127.0.0.1:", &format!("session={id}"));
}

#[test]
fn many_are_killed_by_a_filter_or_all_of_them() {
    let servers = [named("one"), named("two")];
    let [one, two] = servers.each_ref().map(crate::harness::Serving::address);
    let lb = Ringway::configured(&file(&json!([one, two]))).start();
    let admin = lb.admin();
    let clients: Vec<Peer> = (0..6).map(|_| lb.client()).collect();
    eventually("all are there", || {
        (ids(&admin.get(&format!("/v1/sessions?server={one}"))).len() == 3).then_some(())
    });
    let kill = "/v1/sessions/kill";
    let body = json!({"filter": {"server": one}, "per_s": 1_000_000});
    assert_eq!(admin.must("POST", kill, &body)["matched"], 3);
    lb.wait_for_sessions(3);
    for session in lb.sessions() {
        assert_eq!((session.get("server"), session.get("reason")), (&*one, "killed"));
    }
    let (status, text) = admin.refused("POST", kill, &json!({}));
    assert_eq!(status, 400);
    assert!(text.starts_with("needs either a \"filter\""), "{text}");
    let both = json!({"all": true, "filter": {"pool": "site"}});
    assert_eq!(admin.refused("POST", kill, &both).0, 400);
    let (_, text) = admin.refused("POST", kill, &json!({"filter": {"sever": "x"}, "per_s": 0}));
    assert!(text.contains("per_s: must be 1 to 1000000"), "{text}");
    assert_eq!(admin.must("POST", kill, &json!({"all": true}))["matched"], 3);
    lb.wait_for_sessions(6);
    drop(clients);
}

#[test]
fn sessions_that_are_left_after_a_wait_are_closed() {
    let servers = [named("one"), named("two")];
    let [one, two] = servers.each_ref().map(crate::harness::Serving::address);
    let lb = Ringway::configured(&file(&json!([one, two]))).start();
    let admin = lb.admin();
    let clients: Vec<Peer> = (0..4).map(|_| lb.client()).collect();
    eventually("all are there", || (admin.server(&one)["live"] == 2).then_some(()));
    let body = json!({"state": "down", "wait_ms": 10, "close_per_s": 1000});
    let answer = admin.must("PATCH", &path(&one), &body);
    assert_eq!((&answer["empty"], &answer["live"]), (&json!(false), &json!(2)));
    lb.wait_for_sessions(2);
    assert!(lb.sessions().iter().all(|session| session.get("server") == one));
    let remove = format!("{}?close_per_s=1000", path(&one));
    assert_eq!(admin.must("DELETE", &remove, &Value::Null)["empty"], true);
    assert_eq!(admin.server(&two)["live"], 2);
    drop(clients);
}

/// Two servers that hand out sids, behind `socketio`; what each says to a handshake.
fn chat() -> (Ringway, [HttpServer; 2]) {
    let servers = ["aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb"]
        .map(|sid| HttpServer::named(&format!(r#"0{{"sid":"{sid}"}}"#)));
    let mut file = file(&json!([servers[0].address(), servers[1].address()]));
    file["listeners"][0]["peek"] = json!("http");
    file["listeners"][0]["routes"] = json!([{"host": "*.example.com", "pool": "site"}]);
    file["listeners"][0]["pool"] = json!("other");
    file["pools"]["site"]["sticky"] = json!("socketio");
    file["pools"]["other"] = json!({"servers": [servers[1].address()]});
    (Ringway::configured(&file).start(), servers)
}

#[test]
fn learned_keys_are_listed_and_looked_up_by_their_text() {
    let (lb, servers) = chat();
    for _ in 0..2 {
        lb.get("/socket.io/?EIO=4&transport=polling", &["Host: a.example.com"]);
    }
    let admin = lb.admin();
    let keys = eventually("both are learned", || {
        let keys = admin.get("/v1/keys?pool=site");
        (keys["keys"].as_array().unwrap().len() == 2).then_some(keys)
    });
    assert_eq!(keys["next"], json!(null));
    for (sid, server) in ["aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb"].iter().zip(&servers) {
        let found = admin.get(&format!("/v1/keys?key={sid}"));
        assert_eq!(found["keys"][0]["server"], server.address(), "{found}");
        assert_eq!(found["keys"].as_array().unwrap().len(), 1);
    }
    assert_eq!(admin.get("/v1/keys?key=unknown")["keys"], json!([]));
    let first = admin.get("/v1/keys?limit=1");
    let next = first["next"].as_str().unwrap();
    let second = admin.get(&format!("/v1/keys?limit=1&after={next}"));
    assert_ne!(first["keys"], second["keys"]);
    assert_eq!(admin.refused("GET", "/v1/keys?after=x", &Value::Null).0, 400);
}

#[test]
fn why_says_where_a_connection_then_goes() {
    let (lb, servers) = chat();
    let admin = lb.admin();
    let handshake = "/socket.io/?EIO=4&transport=polling";
    for _ in 0..4 {
        let why = admin.get("/v1/why?host=a.example.com");
        let again = admin.get("/v1/why?host=a.example.com");
        assert_eq!(again["server"], why["server"], "asking changes nothing");
        assert_eq!((&why["pool"], &why["route"]), (&json!("site"), &json!("*.example.com")));
        assert_eq!((&why["key"]["kind"], &why["how"]), (&json!("handshake"), &json!("balanced")));
        let text = lb.get(handshake, &["Host: a.example.com"]).text();
        let server = servers.iter().find(|server| server.name() == text).unwrap();
        assert_eq!(why["server"], server.address(), "{why}");
    }
    let sid = "aaaaaaaaaaaaaaaaaaaa";
    let why = admin.get(&format!("/v1/why?host=a.example.com&key={sid}"));
    assert_eq!((&why["how"], &why["key"]["kind"]), (&json!("kept"), &json!("sid")));
    assert_eq!(why["server"], servers[0].address());
    admin.must("PATCH", &path(&servers[0].address()), &json!({"state": "down"}));
    let why = admin.get(&format!("/v1/why?host=a.example.com&key={sid}"));
    assert_eq!(
        (&why["how"], &why["server"]),
        (&json!("redispatched"), &json!(servers[1].address()))
    );
    assert_eq!(why["key"]["leads_to"], servers[0].address());
    assert_eq!(why["candidates"][0]["excluded"], "an operator has taken it down");
    assert!(why["why"].as_str().unwrap().contains("but an operator has taken it down"), "{why}");
    let text = lb.get(&format!("{handshake}&sid={sid}"), &["Host: a.example.com"]).text();
    assert_eq!(text, servers[1].name());
    let why = admin.get("/v1/why?host=elsewhere.org");
    assert_eq!((&why["pool"], &why["route"]), (&json!("other"), &json!(null)));
    let (status, text) = admin.refused("GET", "/v1/why?listener=x&client=1.2.3", &Value::Null);
    assert_eq!((status, text.contains("client: must be an IP address")), (400, true), "{text}");
    assert_eq!(admin.refused("GET", "/v1/why?listener=x", &Value::Null).0, 404);
}

#[test]
fn metrics_are_served_as_prometheus_reads_them() {
    let server = named("one");
    let lb = Ringway::configured(&file(&json!([server.address()]))).start();
    ask(&mut lb.client(), "one");
    let mut peer = lb.admin().connect();
    peer.send(get("/metrics", &["Host: localhost"]));
    let response = peer.response();
    let kind = response.header("content-type").unwrap();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let text = response.text();
    assert!(text.contains("ringway_listener_accepted_total{listener=\"web\"} 1\n"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn bytes_are_counted_while_a_session_lives() {
    let server = Server::listen();
    let lb = Ringway::configured(&file(&json!([server.address()]))).start();
    let admin = lb.admin();
    let mut client = lb.client();
    client.send(b"12345");
    let mut far = server.accept();
    far.expect(b"12345");
    far.send(b"123");
    client.expect(b"123");
    let bytes = |of: &Value| (of["bytes_up_total"].as_u64(), of["bytes_down_total"].as_u64());
    let sent = (Some(5), Some(3));
    eventually("all is counted", || (bytes(&admin.get("/v1/status")) == sent).then_some(()));
    assert_eq!(bytes(&admin.get("/v1/listeners")[0]), sent);
    let shown = admin.server(&server.address());
    assert_eq!(bytes(&shown), sent);
    assert_eq!(shown["connect_us"]["count"], 1);
    assert_eq!(admin.get("/v1/pools/site")["picks"], json!({"balanced": 1}));
}
