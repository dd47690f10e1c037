//! What keeps a client at its server.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{HttpServer, Peer, Ringway, get};

fn four() -> Vec<HttpServer> {
    (1..=4).map(|n| HttpServer::named(&format!("s{n}"))).collect()
}

fn in_front_of(servers: &[HttpServer], sticky: &str) -> Ringway {
    Ringway::to(servers.iter().map(HttpServer::address)).with(["--sticky", sticky]).start()
}

/// Each of twenty keys stays at one server over five connections, and they use several.
fn each_key_keeps_its_server(lb: &Ringway, request: impl Fn(usize) -> (String, Vec<String>)) {
    let mut used = BTreeSet::new();
    for key in 0..20 {
        let (path, fields) = request(key);
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let first = lb.get(&path, &fields).text();
        for _ in 0..4 {
            assert_eq!(lb.get(&path, &fields).text(), first, "key {key}");
        }
        used.insert(first);
    }
    assert!(used.len() > 1, "every key at {used:?}");
}

#[test]
fn a_cookie_keeps_its_server() {
    let lb = &in_front_of(&four(), "cookie:user");
    each_key_keeps_its_server(lb, |key| {
        ("/".to_owned(), vec![format!("Cookie: other=1; user=u{key}; more=2")])
    });
}

#[test]
fn a_header_keeps_its_server() {
    let lb = &in_front_of(&four(), "header:x-tenant");
    each_key_keeps_its_server(lb, |key| ("/".to_owned(), vec![format!("X-Tenant: t{key}")]));
}

#[test]
fn a_query_parameter_keeps_its_server() {
    let lb = &in_front_of(&four(), "query:room");
    each_key_keeps_its_server(lb, |key| (format!("/join?x=1&room=r{key}&y=2"), vec![]));
}

#[test]
fn a_source_address_keeps_its_server() {
    let servers = four();
    let lb = in_front_of(&servers, "source");
    let ask = |source: &str| {
        let mut client = Peer::connect_from(source, lb.address());
        client.send(get("/", &["Connection: close"]));
        client.response().text()
    };
    let mut used = BTreeSet::new();
    for n in 1..=20 {
        let source = format!("127.0.9.{n}");
        let first = ask(&source);
        for _ in 0..4 {
            assert_eq!(ask(&source), first, "{source}");
        }
        used.insert(first);
    }
    assert!(used.len() > 1, "every address at {used:?}");
}

#[test]
fn requests_without_the_key_are_balanced() {
    let lb = in_front_of(&four(), "query:room");
    let served: Vec<_> = (0..8).map(|_| lb.get("/", &[]).text()).collect();
    for n in 1..=4 {
        let name = format!("s{n}");
        assert_eq!(served.iter().filter(|by| **by == name).count(), 2, "{served:?}");
    }
}

#[test]
fn keys_on_one_kept_connection_each_find_their_server() {
    let lb = in_front_of(&four(), "query:room");
    for key in 0..20 {
        let path = format!("/?room=r{key}");
        let alone = lb.get(&path, &[]);
        assert_eq!(alone.header("connection"), Some("close"));
        // A client that pipelines a request for another room gets it answered by nobody.
        let mut client = lb.client();
        client.send(get(&path, &[]) + &get("/?room=another", &[]));
        assert_eq!(client.response().text(), alone.text());
        client.expect_closed();
    }
}

fn set_cookie(response: &crate::harness::Response) -> Option<String> {
    let values = response.headers("set-cookie");
    assert!(values.len() <= 1, "{}", response.head);
    values.first().map(|value| value.split(';').next().unwrap().to_owned())
}

#[test]
fn an_inserted_cookie_leads_back_to_its_server() {
    let servers = four();
    let lb = in_front_of(&servers, "insert:ringway");
    for _ in 0..8 {
        let first = lb.get("/", &[]);
        let cookie = set_cookie(&first).expect("a cookie");
        assert!(cookie.starts_with("ringway="), "{cookie}");
        assert!(first.head.contains("HttpOnly"), "{}", first.head);
        for server in &servers {
            assert!(!cookie.contains(&server.address()), "the cookie tells an address");
        }
        for _ in 0..3 {
            let again = lb.get("/", &[&format!("Cookie: a=b; {cookie}")]);
            assert_eq!(again.text(), first.text());
            assert_eq!(set_cookie(&again), None, "a client that has it gets it no second time");
        }
    }
}

#[test]
fn an_inserted_cookie_outlives_a_restart_and_agrees_between_machines() {
    let servers = four();
    let given: Vec<_> = {
        let lb = in_front_of(&servers, "insert:ringway");
        (0..4).map(|_| lb.get("/", &[])).collect()
    };
    // The other one has its servers in another order.
    let reversed = servers.iter().rev().map(HttpServer::address);
    let lb = Ringway::to(reversed).with(["--sticky", "insert:ringway"]).start();
    for first in given {
        let cookie = set_cookie(&first).expect("a cookie");
        assert_eq!(lb.get("/", &[&format!("Cookie: {cookie}")]).text(), first.text());
    }
}

/// A pool of these servers with this `sticky` rule.
fn configured(servers: &[HttpServer], sticky: &Value) -> Ringway {
    let servers: Vec<_> = servers.iter().map(HttpServer::address).collect();
    Ringway::configured(&json!({
        "workers": 2,
        "listeners": [{"name": "web", "bind": ["127.0.0.1:0"], "pool": "site"}],
        "pools": {"site": {"sticky": sticky, "servers": servers}},
    }))
    .start()
}

#[test]
fn a_cookie_set_by_a_server_is_learned_and_leads_back() {
    let servers: Vec<_> = (1..=4)
        .map(|n| {
            let field = format!("Set-Cookie: JSESSIONID=made-by-{n}; Path=/\r\n");
            HttpServer::answering(&format!("s{n}"), &field)
        })
        .collect();
    let lb = configured(&servers, &json!({"by": "cookie", "name": "JSESSIONID", "learn": true}));
    let first: Vec<_> = (0..4).map(|_| lb.get("/", &[])).collect();
    let names: BTreeSet<_> = first.iter().map(crate::harness::Response::text).collect();
    assert_eq!(names.len(), 4, "no cookie, no key");
    for first in &first {
        let cookie = set_cookie(first).expect("the server's own cookie");
        for _ in 0..3 {
            let again = lb.get("/", &[&format!("Cookie: {cookie}")]);
            assert_eq!(again.text(), first.text(), "{cookie}");
        }
    }
}

#[test]
fn a_key_whose_server_is_gone_goes_to_another_one() {
    let mut servers = four();
    let sticky = json!({"by": "insert", "name": "ringway"});
    let (gone, cookie) = {
        let lb = configured(&servers, &sticky);
        let first = lb.get("/", &[]);
        (first.text(), set_cookie(&first).unwrap())
    };
    servers.retain(|server| server.name() != gone);
    let lb = configured(&servers, &sticky);
    let answer = lb.get("/", &[&format!("Cookie: {cookie}")]);
    assert_eq!(answer.status, 200);
    assert!(set_cookie(&answer).is_some_and(|fresh| fresh != cookie), "{}", answer.head);
    assert_eq!(lb.session().get("how"), "redispatched");
}

#[test]
fn a_key_whose_server_is_gone_is_answered_503_if_strict() {
    let mut servers = four();
    let sticky = json!({"by": "insert", "name": "ringway", "strict": true});
    let (gone, cookie) = {
        let lb = configured(&servers, &sticky);
        let first = lb.get("/", &[]);
        (first.text(), set_cookie(&first).unwrap())
    };
    servers.retain(|server| server.name() != gone);
    let lb = configured(&servers, &sticky);
    let answer = lb.get("/", &[&format!("Cookie: {cookie}")]);
    assert_eq!(answer.status, 503);
    assert_eq!(lb.session().get("reason"), "key_lost");
    assert_eq!(lb.get("/", &[]).status, 200, "without a key there is nothing to be strict about");
}
