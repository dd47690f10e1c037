//! The status page in Chromium: what it shows is what ringway says, what is pressed is done, and
//! nothing that a peer sends runs in it.

use serde_json::{Value, json};

use crate::harness::{HttpServer, Peer, Process, Ringway, both_cores, free_port, get, node_script};

/// Held open, one for each of these.
const HOSTS: [&str; 5] = ["a.example", "b.example", "c.example", "d.example", "found.example"];

/// Two servers, and a session for each of `HOSTS`, which has had one answer.
struct Scene {
    lb: Ringway,
    servers: [HttpServer; 2],
    clients: Vec<Peer>,
}

fn file(servers: &[HttpServer], admin: &Value) -> Value {
    let addresses: Vec<_> = servers.iter().map(HttpServer::address).collect();
    json!({
        "workers": 2,
        "admin": admin,
        "listeners": [{"name": "web", "bind": "127.0.0.1:0", "peek": "http"}],
        "pools": {"site": {"servers": addresses}},
    })
}

impl Scene {
    fn set() -> Self {
        let servers = ["one", "two"].map(HttpServer::named);
        let lb = Ringway::configured(&file(&servers, &json!({"bind": "127.0.0.1:0"}))).start();
        let clients = HOSTS.map(|host| {
            let mut client = lb.client();
            client.send(get("/", &[&format!("Host: {host}")]));
            assert_eq!(client.response().status, 200, "{host}");
            client
        });
        // Sessions that are over, one of them for what no host can be.
        for request in [get("/", &["Connection: close", "Host: gone.example"]), hostile_request()] {
            let mut client = lb.client();
            client.send(request);
            client.rest();
        }
        Self { lb, servers, clients: clients.into() }
    }
}

fn hostile_request() -> String {
    get("/", &["Host: <img src=x onerror=alert(1)>"])
}

/// A task of `tests/node/page.js`, on the page of this admin endpoint.
fn browser(address: &str, task: &str, more: &[String]) -> Process {
    let mut arguments = vec![format!("--url=http://{address}/"), format!("--do={task}")];
    arguments.extend_from_slice(more);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    node_script("page.js", &arguments)
}

/// What its last step says, of a browser that had nothing to complain about.
fn shown(address: &str, task: &str, more: &[String]) -> Value {
    let mut browser = browser(address, task, more);
    let last = (0..).map(|step| done(&mut browser, step)).find(|said| said.get("wrong").is_some());
    let said = last.expect("there is a last one");
    browser.succeed();
    assert_eq!(said["wrong"], json!([]), "{said}");
    said
}

/// What it says at this step, counted from 0.
fn done(browser: &mut Process, step: u32) -> Value {
    browser.line(&format!("step {step}"), |line| {
        let said: Value = serde_json::from_str(line).ok()?;
        (said["step"] == step).then_some(said)
    })
}

/// A number as the page shows it; none here needs another unit.
fn bytes(number: &Value) -> String {
    let number = number.as_u64().expect("a number");
    assert!(number < 1_000, "{number} is shown as kB");
    format!("{number} B")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

#[test]
fn figures_on_the_page_are_those_of_the_api() {
    let _turn = both_cores();
    let scene = Scene::set();
    let (admin, address) = (scene.lb.admin(), scene.lb.event("admin")["address"].clone());
    let said = shown(&address, "figures", &[format!("--sessions={}", HOSTS.len())]);

    let status = admin.get("/v1/status");
    assert_eq!((&said["version"], &said["engine"]), (&status["version"], &status["engine"]));
    assert_eq!(said["edition"], status["edition"].to_string());
    assert_eq!(said["sessions"], status["sessions_live"].to_string());
    assert_eq!(said["accepted"], format!("{} since the start", status["accepted_total"]));
    assert_eq!(said["closed"], format!("{} closed since the start", status["closed_total"]));
    for way in ["bytes_up", "bytes_down"] {
        let total = bytes(&status[format!("{way}_total")]);
        assert_eq!(said[way], format!("{total} since the start"));
    }
    let reasons = list(&said["reasons"]).iter().map(|row| {
        let reason = row[0].as_str().expect("a word").replace(' ', "_");
        (reason, row[1].as_str().and_then(|text| text.parse::<u64>().ok()).into())
    });
    assert_eq!(status["closed"], Value::Object(reasons.collect()));

    let servers = admin.get("/v1/servers");
    let live: Vec<u64> = list(&servers).iter().map(|s| s["live"].as_u64().unwrap()).collect();
    let (most, sum) = (live.iter().max().unwrap(), live.iter().sum::<u64>());
    let evenness = *most as f64 / (sum as f64 / live.len() as f64);
    assert_eq!(said["evenness"], format!("evenness {evenness:.2}"));
    assert_eq!(list(&said["servers"]).len(), 2);
    for ((server, row), live) in list(&servers).iter().zip(list(&said["servers"])).zip(&live) {
        let share = format!("{:.1} %", *live as f64 / sum as f64 * 100.0);
        assert_eq!((&row[0], &row[1]), (&server["address"], &server["state"]));
        assert_eq!(row[3], server["weight"].to_string());
        assert_eq!((&row[4], &row[5]), (&json!(live.to_string()), &json!(share)));
        assert_ne!(row[6], "–", "a connect time");
        assert_eq!(row[7], "0", "errors");
    }
    for (worker, row) in list(&admin.get("/v1/workers")).iter().zip(list(&said["workers"])) {
        assert_eq!(row[0], format!("{}, core {}", worker["number"], worker["core"]));
        assert_eq!(row[1], worker["live"].to_string());
    }
    assert_eq!(said["listeners"], json!([["web", "site", HOSTS.len().to_string()]]));
    assert_sessions(&admin.get("/v1/sessions")["sessions"], &said["session_rows"]);
    drop(scene);
}

/// Rows of the sessions table against what the API has of them.
#[track_caller]
fn assert_sessions(sessions: &Value, rows: &Value) {
    let expected = list(sessions).iter().map(|session| {
        let fields = ["id", "client", "host", "server"].map(|name| session[name].clone());
        let moved = ["bytes_up", "bytes_down"].map(|name| bytes(&session[name]).into());
        [&fields[..], &moved[..]].concat()
    });
    let shown = list(rows).iter().map(|row| [0, 1, 2, 3, 6, 7].map(|at| row[at].clone()).to_vec());
    let mut hosts: Vec<_> = list(sessions).iter().map(|session| session["host"].clone()).collect();
    hosts.sort_by_key(Value::to_string);
    assert_eq!(json!(hosts), json!(HOSTS));
    assert!(shown.eq(expected), "{rows} and {sessions}");
}

#[test]
fn what_is_pressed_on_the_page_is_done() {
    let _turn = both_cores();
    let mut scene = Scene::set();
    let (admin, address) = (scene.lb.admin(), scene.lb.event("admin")["address"].clone());
    let server = scene.servers[0].address();
    let more = [format!("--server={server}"), format!("--host={}", HOSTS[4])];
    let said = shown(&address, "operate", &more);

    let view = admin.server(&server);
    assert_eq!((&view["state"], &view["weight"]), (&json!("draining"), &json!(7)));
    let changes = json!(["weight=7", "drain", "ready", "down"]);
    assert_eq!(said["history"], json!([changes, changes]), "as they came, and after a reload");
    // The session that was found is over, and no other.
    scene.clients.pop().expect("a client").expect_closed();
    let status = admin.get("/v1/status");
    assert_eq!((&status["sessions_live"], &status["closed"]["killed"]), (&json!(4), &json!(1)));
    for client in &mut scene.clients {
        client.send(get("/", &[]));
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn markup_of_peers_and_files_stays_text() {
    let _turn = both_cores();
    let scene = Scene::set();
    let said = shown(&scene.lb.event("admin")["address"], "hostile", &[]);
    assert_eq!((&said["made"], &said["shown_as_text"]), (&json!(0), &json!(true)), "{said}");
}

#[test]
fn the_page_asks_for_the_token_until_it_is_right() {
    let _turn = both_cores();
    let servers = [HttpServer::named("one")];
    let token = "0123456789abcdef0123456789abcdef";
    let admin = json!({"bind": "127.0.0.1:0", "token": token});
    let lb = Ringway::configured(&file(&servers, &admin)).start();
    let address = &lb.event("admin")["address"];
    let said = shown(address, "token", &[format!("--token={token}")]);
    assert_eq!((&said["kept"], &said["asks"]), (&json!([token]), &json!(false)));
}

#[test]
fn the_page_says_when_it_is_stale_and_comes_back() {
    let _turn = both_cores();
    let servers = [HttpServer::named("one")];
    let admin = json!({"bind": format!("127.0.0.1:{}", free_port())});
    let file = file(&servers, &admin);
    let lb = Ringway::configured(&file).start();
    let mut browser = browser(&lb.event("admin")["address"], "stale", &[]);
    done(&mut browser, 0);
    drop(lb);
    done(&mut browser, 1);
    let _lb = Ringway::configured(&file).start();
    done(&mut browser, 2);
    browser.succeed();
}
