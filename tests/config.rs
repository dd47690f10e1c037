//! The configuration from outside: what `ringway check`, `run` and `schema` say, and which files
//! are right.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ringway::config::{self, Config, Forwarded, KeepAlive, Peek, Sticky};

fn ringway(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringway")).args(arguments).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A file that is gone when it goes out of scope.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringway-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A file with one listener (`listener`: keys beside `bind`) and the given pools.
fn file(listener: &str, pools: &str) -> String {
    format!(r#"{{"listeners": [{{"bind": "[::]:80", {listener}}}], "pools": {{{pools}}}}}"#)
}

/// One pool `a`, with keys beside `servers`.
fn pool(keys: &str) -> String {
    format!(r#""a": {{"servers": ["127.0.0.1:1"], {keys}}}"#)
}

fn right(text: &str) -> Config {
    config::parse(text).unwrap_or_else(|problems| panic!("{text}:\n{problems}")).config
}

fn wrong(text: &str) -> String {
    match config::parse(text) {
        Ok(_) => panic!("{text} is taken"),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn ten_mistakes_are_reported_at_once() {
    let file = File::new(
        "ten.json",
        r#"{
          "wrokers": 2,
          "listeners": [
            {"name": "web", "bind": ["0.0.0.0:80", "localhost:81"], "peek": "htpp", "pool": "caht"},
            {"name": "web", "bind": "0.0.0.0:80", "pool": "chat", "peek_timeout_ms": 5,
             "routes": [{"host": "a.*.com", "pool": "chat"}], "deny": ["10.0.0.1/8"]}
          ],
          "pools": {
            "chat": {"servers": ["127.0.0.1:8881", {"address": "127.0.0.1:8882", "weight": 0}]}
          }
        }"#,
    );
    let output = ringway(&["check", file.path()]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "\
listeners[0].peek: must be one of \"none\", \"auto\", \"http\", \"tls\", is \"htpp\", \
did you mean \"http\"?
listeners[1].peek_timeout_ms: must be 100 to 600000, is 5
pools.chat.servers[1].weight: must be 1 to 256, is 0
wrokers: unknown key, did you mean \"workers\"?
listeners[0].bind[1]: must be IP:PORT, [IPv6]:PORT, unix:/PATH or systemd:NAME, \
is \"localhost:81\"
listeners[0].pool: there is no pool \"caht\", did you mean \"chat\"?
listeners[1].name: \"web\" is already at listeners[0].name
listeners[1].bind: 0.0.0.0:80 is already at listeners[0].bind[0]
listeners[1].routes[0].host: a wildcard must be a leading \"*.\", is \"a.*.com\"
listeners[1].deny[0]: \"10.0.0.1/8\" has bits set behind /8, write \"10.0.0.0/8\"
10 problems
";
    assert_eq!(errors(&output), expected);
    assert_eq!(text(&output), "");
    assert_eq!(errors(&ringway(&["run", file.path()])), expected);
}

#[test]
fn every_example_passes_check() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut names = Vec::new();
    // What is for Grafana and Prometheus has tests of its own.
    let is_ours = |path: &Path| !path.ends_with("grafana.json") && !path.ends_with("alerts.yml");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    for path in paths.filter(|path| is_ours(path)) {
        let output = ringway(&["check", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}: {}", path.display(), errors(&output));
        assert!(text(&output).starts_with("ok: "), "{}", text(&output));
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    let expected =
        ["full.json", "hosts.json", "minimal.json", "socketio.json", "tcp.json", "tls-sni.json"];
    assert_eq!(names, expected);
}

#[test]
fn check_shows_the_defaults_that_were_worked_out() {
    let file = File::new(
        "ok.json",
        r#"{"max_connections": 9,
           "listeners": [{"bind": ["[::]:80", "unix:/run/x"],
                          "max_connections_per_source": {"count": 2, "ipv6_prefix": 56}},
            {"name": "b", "bind": "[::]:81", "pool": "a", "keep_alive": "trust",
             "max_connections": 7, "accept_rate_per_s": 100}],
           "pools": {"a": {"sticky": "socketio", "max_connections_per_server": 8,
                           "health": {"check": "http", "path": "/up", "fall": 2},
                           "on_down": {"close_per_s": 50},
                           "servers": ["b:1", {"address": "c:2", "max_connections": 5}]}}}"#,
    );
    let output = ringway(&["check", file.path()]);
    let expected = "\
ok: 2 listeners, 1 pool, 2 servers
listener1: [::]:80, unix:/run/x; peek http, keep_alive one_request; pool a
listener1: max_connections off (in all 9), per source 2 for each /32 and IPv6 /56, accept rate off
b: [::]:81; peek http, keep_alive trust; pool a
b: max_connections 7 (in all 9), per source off, accept rate 100
a: max_connections of servers 8 5, connects in flight off, queue 1024 for 5000 ms
a: check http /up every 5000 ms (in doubt 1000 ms), timeout 2000 ms, rise 2, fall 2, \
on down close 50 sessions a second
listener1 -> a: peek 5000 ms, connect 2000 ms, idle off, half_closed 3600000 ms, max_age off, \
tcp_keep_alive 120 s, tcp_user_timeout off, drain 20000 ms
b -> a: peek 5000 ms, connect 2000 ms, idle off, half_closed 3600000 ms, max_age off, \
tcp_keep_alive 120 s, tcp_user_timeout off, drain 20000 ms
";
    assert_eq!(text(&output), expected);
    let warning = "warning: listeners[1].keep_alive: \"trust\" sees only the first request of a \
        connection, but pool \"a\" is sticky by a Socket.IO session id\n";
    assert_eq!(errors(&output), warning);
}

#[test]
fn check_shows_every_timeout_of_every_way() {
    let file = File::new(
        "timeouts.json",
        r#"{"listeners": [{"bind": "[::]:80", "peek": "tls", "peek_timeout_ms": 900, "pool": "b",
             "routes": [{"host": "x", "pool": "a"}, {"host": "*.x", "pool": "a"}]},
            {"bind": "[::]:81", "pool": "b"}],
           "tcp_keep_alive": false, "tcp_user_timeout_ms": 30000, "drain_timeout_ms": 7000,
           "pools": {"a": {"idle_timeout_ms": 60000, "half_closed_timeout_ms": false,
              "connect_timeout_ms": 700, "max_age_ms": 86400000, "servers": ["b:1"]},
             "b": {"max_age_ms": 5000, "max_age_jitter_percent": 0, "servers": ["b:1"]}}}"#,
    );
    let output = ringway(&["check", file.path()]);
    let whole = text(&output);
    let shown: Vec<_> = whole.lines().filter(|line| line.contains(" -> ")).collect();
    let rest = "tcp_keep_alive off, tcp_user_timeout 30000 ms, drain 7000 ms";
    let old = "max_age 86400000 ms less up to 10 %";
    let a = format!("connect 700 ms, idle 60000 ms, half_closed off, {old}, {rest}");
    let b = format!("connect 2000 ms, idle off, half_closed 3600000 ms, max_age 5000 ms, {rest}");
    let expected = [
        format!("listener1 -> a: peek 900 ms, {a}"),
        format!("listener1 -> b: peek 900 ms, {b}"),
        format!("listener2 -> b: peek off, {b}"),
    ];
    assert_eq!(shown, expected);
    let warning = "warning: tcp_user_timeout_ms: also ends a live session whose client or server \
        reads nothing for that long\n";
    assert_eq!(errors(&output), warning);
}

#[test]
fn what_is_no_json_is_shown_by_line_and_column() {
    let file = File::new("bad.json", "{\n  \"listeners\": [\n    // x\n    1 2\n  ]\n}");
    let output = ringway(&["check", file.path()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(errors(&output), format!("{}:4:7: expected `,` or `]`\n", file.path()));
    assert_eq!(wrong("{ /* "), "1:3: this comment is never closed, expected `*/`");
    let missing = ringway(&["check", "/nonexistent/ringway.json"]);
    let expected = "/nonexistent/ringway.json: cannot be read: no such file or directory\n";
    assert_eq!((missing.status.code(), errors(&missing).as_str()), (Some(1), expected));
}

#[test]
fn run_wants_a_file_or_flags() {
    let neither = ringway(&["run"]);
    assert_eq!(neither.status.code(), Some(1));
    assert!(errors(&neither).contains("ringway run CONFIG.json"), "{}", errors(&neither));
    assert!(errors(&neither).contains("--listen ADDR --to ADDR"), "{}", errors(&neither));
    let both = ringway(&["run", "x.json", "--listen", "127.0.0.1:1", "--to", "127.0.0.1:2"]);
    assert!(errors(&both).contains("cannot be used with"), "{}", errors(&both));
    let flags = ringway(&["run", "--listen", "80", "--to", "a:1", "--to", "b:1,weight=0"]);
    let expected = "\
--to[1]: weight: must be 1 to 256, is 0
--listen[0]: must be IP:PORT, [IPv6]:PORT, unix:/PATH or systemd:NAME, \
is \"80\", did you mean \"0.0.0.0:80\" or \"[::]:80\"?
2 problems
";
    assert_eq!(errors(&flags), expected);
}

#[test]
fn the_schema_is_json_and_describes_every_key() {
    let output = ringway(&["schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let definitions = schema["$defs"].as_object().unwrap();
    assert!(definitions.len() >= 10);
    for definition in definitions.values().chain([&schema]) {
        for (key, property) in definition["properties"].as_object().into_iter().flatten() {
            assert!(property["description"].is_string(), "{key}");
        }
    }
}

/// (file, place of the one problem, a part of what it says)
type Rows<'t> = Vec<(String, &'t str, &'t str)>;

fn assert_one_line(rows: Rows<'_>) {
    for (text, place, part) in rows {
        let problems = wrong(&text);
        assert_eq!(problems.lines().count(), 1, "{text}:\n{problems}");
        let (found, message) = problems.split_once(": ").unwrap();
        assert_eq!(found, place, "{text}:\n{problems}");
        assert!(message.contains(part), "{text}:\n{problems}");
    }
}

#[test]
fn one_mistake_in_a_pool_is_one_line() {
    let pools = |pools: &str| file(r#""deny": []"#, pools);
    let with = |keys: &str| pools(&pool(keys));
    let backup = r#""a": {"servers": [{"address": "b:1", "backup": true}]}"#;
    let dot = r#""a": {"servers": [{"address": "b:1", "id": "x.y"}]}"#;
    let source_place = "pools.a.source_addresses[0]";
    let source = |ip: &str, server: &str| {
        let keys = format!("\"servers\": [\"{server}\"], \"source_addresses\": [\"{ip}\"]");
        pools(&format!("\"a\": {{{keys}}}"))
    };
    let attributes = r#"{"by": "insert", "name": "s", "secret": "k", "attributes": "Pth=/"}"#;
    let http = |keys: &str| with(&format!(r#""health": {{"check": "http", {keys}}}"#));
    let unix = r#""a": {"servers": ["unix:/x"], "health": {"check": "tcp", "port": 1}}"#;
    assert_one_line(vec![
        (pools(r#""a": 7"#), "pools.a", "must be an object, is 7"),
        (pools(r#""a": {"servers": []}"#), "pools.a.servers", "at least one server"),
        (pools(r#""a": {"servers": ["b:1", "B:1"]}"#), "pools.a.servers[1]", "is already at"),
        (pools(r#""a": {"servers": ["b"]}"#), "pools.a.servers[0]", "NAME:PORT"),
        (pools(backup), "pools.a.servers", "all servers are backups"),
        (pools(dot), "pools.a.servers[0].id", "letters, digits, \"_\" and \"-\""),
        (pools(r#""a b": {"servers": ["b:1"]}"#), "pools[\"a b\"]", "the name of a pool"),
        (with(r#""connect_tries": 17"#), "pools.a.connect_tries", "must be 1 to 16, is 17"),
        (with(r#""connect_tries": 1.5"#), "pools.a.connect_tries", "a whole number"),
        (source("x", "b:1"), source_place, "must be an IP address of this host, is \"x\""),
        (source("10.0.0.1", "[::2]:1"), "pools.a.source_addresses", "needs an IPv6 address"),
        (source("127.0.0.2", "10.0.0.1:1"), source_place, "cannot be reached from 127.0.0.2"),
        (
            with(r#""idle_timeout_ms": true"#),
            "pools.a.idle_timeout_ms",
            "must be false or 1000 to 2592000000, is true",
        ),
        (with(r#""max_age_ms": 1"#), "pools.a.max_age_ms", "must be 1000 to 2592000000, is 1"),
        (
            with(r#""max_age_jitter_percent": 101"#),
            "pools.a.max_age_jitter_percent",
            "must be 0 to 100, is 101",
        ),
        (with(r#""send_proxy": true"#), "pools.a.send_proxy", "one of \"v1\", \"v2\""),
        (with(r#""sticky": "soketio""#), "pools.a.sticky", "did you mean \"socketio\"?"),
        (with(r#""sticky": "cookie""#), "pools.a.sticky", "needs a name: {\"by\": \"cookie\""),
        (with(r#""health": true"#), "pools.a.health", "must be false or an object, is true"),
        (with(r#""health": {}"#), "pools.a.health.check", "is missing"),
        (http(r#""status": ["2xx"]"#), "pools.a.health.status[0]", "\"200-399\""),
        (http(r#""status": [99]"#), "pools.a.health.status[0]", "must be 100 to 599, is 99"),
        (http(r#""status": []"#), "pools.a.health.status", "at least one"),
        (http(r#""path": "health""#), "pools.a.health.path", "must be a path"),
        (http(r#""host": "a b""#), "pools.a.health.host", "must be a host"),
        (http(r#""body": """#), "pools.a.health.body", "must not be empty"),
        (pools(unix), "pools.a.health.port", "server unix:/x has no port"),
        (with(r#""eject": {"max_ms": 1000}"#), "pools.a.eject.max_ms", "at least base_ms"),
        (with(r#""on_down": "close""#), "pools.a.on_down", "must be \"keep\""),
        (with(r#""on_down": {}"#), "pools.a.on_down.close_per_s", "is missing"),
        (with(r#""on_down": 7"#), "pools.a.on_down", "\"keep\" or {\"close_per_s\": NUMBER}"),
        (sticky(r#"{"by": "cooky"}"#), "pools.a.sticky.by", "did you mean \"cookie\"?"),
        (sticky(r#"{"by": "query"}"#), "pools.a.sticky.name", "is missing"),
        (sticky(r#"{"by": "header", "name": "a b"}"#), "pools.a.sticky.name", "a token"),
        (sticky(attributes), "pools.a.sticky.attributes", "did you mean \"Path\"?"),
        (sticky(r#"{"by": "socketio", "path": "x"}"#), "pools.a.sticky.path", "must be a path"),
    ]);
}

#[test]
fn one_mistake_in_a_listener_is_one_line() {
    let with = |keys: &str| file(keys, r#""a": {"servers": ["127.0.0.1:1"]}"#);
    let routes = |routes: &str| with(&format!("\"routes\": [{routes}]"));
    let two = file(r#""deny": []"#, r#""a": {"servers": ["b:1"]}, "b": {"servers": ["b:1"]}"#);
    let deaf = r#""peek": "none", "routes": [{"host": "x", "pool": "a"}]"#;
    let twice = r#"{"host": "x", "pool": "a"}, {"host": "X.", "pool": "a"}"#;
    let alpn = r#"{"host": "x", "alpn": "h2", "pool": "a"}"#;
    let of_source = "listeners[0].max_connections_per_source";
    let per_source = |limit: &str| with(&format!("\"max_connections_per_source\": {limit}"));
    let blind = r#""peek": "none", "keep_alive": "one_request""#;
    let tls = file(r#""peek": "tls""#, &pool(r#""sticky": "socketio""#));
    let none = file(r#""peek": "none""#, &pool(r#""forwarded": "append""#));
    assert_one_line(vec![
        (with(r#""bind": "[::]:81""#), "listeners[0].bind", "is given twice"),
        (with(r#""max_connections": 0"#), "listeners[0].max_connections", "must be 1 to"),
        (with(r#""accept_rate_per_s": "x""#), "listeners[0].accept_rate_per_s", "must be false or"),
        (per_source("7"), of_source, "must be false or an object"),
        (per_source("{}"), &format!("{of_source}.count"), "is missing"),
        (with(r#""allow": ["x"]"#), "listeners[0].allow[0]", "must be an IP network"),
        (with(r#""accept_proxy": {"from": []}"#), "listeners[0].accept_proxy.from", "one network"),
        (with(r#""pool": "app""#), "listeners[0].pool", "there is no pool \"app\""),
        (two, "listeners[0].pool", "is missing: one of the 2 pools must be named"),
        (routes(twice), "listeners[0].routes[1].host", "already at listeners[0].routes[0].host"),
        (routes(alpn), "listeners[0].routes[0].alpn", "set \"peek\" to \"tls\" or \"auto\""),
        (with(deaf), "listeners[0].peek", "routes need \"http\", \"tls\" or \"auto\""),
        (with(blind), "listeners[0].keep_alive", "needs \"peek\" \"http\" or \"auto\""),
        (tls, "listeners[0].peek", "reads no request head, so not the Socket.IO session id"),
        (none, "listeners[0].peek", "reads nothing, so not the X-Forwarded-For of pool \"a\""),
    ]);
}

#[test]
fn what_every_file_needs_is_missed() {
    assert_eq!(wrong("7"), "the file must be an object, is 7");
    assert_eq!(wrong("{}"), "listeners: is missing\npools: is missing");
    let empty = "pools: must have at least one pool\nlisteners: must have at least one listener";
    assert_eq!(wrong(r#"{"listeners": [], "pools": {}}"#), empty);
}

#[test]
fn two_listeners_cannot_take_the_same_port() {
    let two = |first: &str, second: &str| {
        format!(
            r#"{{"listeners": [{{"bind": "{first}"}}, {{"bind": "{second}"}}],
                "pools": {{"a": {{"servers": ["b:1"]}}}}}}"#
        )
    };
    assert!(wrong(&two("[::]:80", "0.0.0.0:80")).contains("\"[::]\" is dual stack"));
    assert!(wrong(&two("unix:/x", "unix:/x")).contains("is already at"));
    // Another address, or whatever port the kernel chooses.
    right(&two("127.0.0.1:80", "0.0.0.0:80"));
    right(&two("127.0.0.1:0", "127.0.0.1:0"));
}

#[test]
fn keep_alive_and_peek_follow_from_the_pools_behind() {
    use KeepAlive::{OneRequest, Trust};
    let two = format!(r#"{}, "b": {{"servers": ["c:1"]}}"#, pool("").replace(", }", "}"));
    let routed = r#""pool": "a", "routes": [{"host": "x", "pool": "b"}]"#;
    let same = r#""pool": "a", "routes": [{"host": "x", "pool": "a"}]"#;
    let rows = [
        (file("\"deny\": []", &pool("\"sticky\": \"none\"")), Peek::None, Trust),
        (file("\"deny\": []", &pool("\"sticky\": \"source\"")), Peek::None, Trust),
        (file("\"deny\": []", &pool("\"sticky\": \"socketio\"")), Peek::Http, OneRequest),
        (file("\"deny\": []", &pool("\"forwarded\": \"replace\"")), Peek::Http, OneRequest),
        (file("\"peek\": \"http\"", &pool("\"sticky\": \"none\"")), Peek::Http, Trust),
        (file("\"peek\": \"auto\"", &pool("\"sticky\": \"socketio\"")), Peek::Auto, OneRequest),
        (file(routed, &two), Peek::Http, OneRequest),
        (file(&format!("\"peek\": \"tls\", {routed}"), &two), Peek::Tls, Trust),
        (file(same, &pool("\"sticky\": \"none\"")), Peek::Http, Trust),
        (sticky(r#"{"by": "cookie", "name": "s"}"#), Peek::Http, Trust),
        (sticky(r#"{"by": "cookie", "name": "s", "learn": true}"#), Peek::Http, OneRequest),
        (sticky(r#"{"by": "insert", "name": "s"}"#), Peek::Http, OneRequest),
        (sticky(r#"{"by": "header", "name": "s"}"#), Peek::Http, OneRequest),
        (sticky(r#"{"by": "query", "name": "s"}"#), Peek::Http, OneRequest),
    ];
    for (text, peek, keep_alive) in rows {
        let config = right(&text);
        let listener = &config.listeners[0];
        assert_eq!((listener.peek, listener.keep_alive), (peek, keep_alive), "{text}");
    }
}

fn sticky(rule: &str) -> String {
    file("\"deny\": []", &pool(&format!("\"sticky\": {rule}")))
}

#[test]
fn a_cookie_with_insert_is_an_inserted_cookie() {
    let long = r#"{"by": "cookie", "name": "s", "insert": true, "secret": "k", "strict": true}"#;
    let short = r#"{"by": "insert", "name": "s", "secret": "k", "strict": true}"#;
    let (long, short) = (right(&sticky(long)), right(&sticky(short)));
    assert_eq!(long, short);
    assert!(matches!(&long.pools[0].sticky, Sticky::Insert { attributes, .. }
        if attributes == "Path=/; HttpOnly; SameSite=Lax"));
    assert!(long.pools[0].strict);
    let header = right(&sticky(r#"{"by": "header", "name": "X-User"}"#));
    assert_eq!(header.pools[0].sticky, Sticky::Header { name: "x-user".to_owned() });
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let trust = file("\"keep_alive\": \"trust\"", &pool("\"forwarded\": \"append\""));
    let with = |keys: &str| file(r#""deny": []"#, &pool(keys));
    let unused = r#""a": {"servers": ["b:1"]}, "b": {"servers": ["b:1"]}"#;
    let rows = [
        (file("\"pool\": \"a\"", unused), "pools.b"),
        (sticky(r#"{"by": "insert", "name": "s"}"#), "pools.a.sticky.secret"),
        (sticky(r#"{"by": "cookie", "name": "s", "ttl_s": 9}"#), "pools.a.sticky.ttl_s"),
        (trust, "listeners[0].keep_alive"),
        (with(r#""health": {"check": "tcp", "path": "/x"}"#), "pools.a.health.path"),
        (
            with(r#""health": {"check": "tcp", "interval_ms": 500}"#),
            "pools.a.health.fast_interval_ms",
        ),
        (with(r#""slow_start_ms": 9, "eject": false"#), "pools.a.slow_start_ms"),
        (with(r#""on_down": {"close_per_s": 9}"#), "pools.a.on_down"),
        (with(r#""queue_max": 0"#), "pools.a.queue_max"),
        (with(r#""queue_timeout_ms": 10"#), "pools.a.queue_timeout_ms"),
    ];
    for (text, place) in rows {
        let warnings = config::parse(&text).unwrap().warnings;
        let places: Vec<_> = warnings.iter().map(|warning| warning.path.as_str()).collect();
        assert_eq!(places, [place], "{text}");
    }
}

#[test]
fn the_file_of_the_readme_is_understood() {
    let config = right(
        r#"{ "workers": "auto",
  "listeners": [{ "name": "web", "bind": ["0.0.0.0:80"], "peek": "http",
    "keep_alive": "one_request",
    "routes": [{"host": "chat.example.com", "pool": "chat"},
               {"host": "*.example.com", "pool": "site"}],
    "pool": "chat", "accept_proxy": {"from": ["10.0.0.0/8"]}, "allow": ["0.0.0.0/0"], "deny": [] }],
  "pools": { "site": { "servers": ["app:80"] },
    "chat": { "balance": "least_conn", "sticky": {"by": "socketio", "secret": "…"},
      "send_proxy": "v2", "forwarded": "x-forwarded-for",
      "servers": ["127.0.0.1:8881",
        {"address": "127.0.0.1:8882", "id": "s2", "weight": 2, "backup": false}] } } }"#,
    );
    let listener = &config.listeners[0];
    let to =
        |host: &str| listener.routes.find(Some(host), std::iter::empty()).unwrap_or(listener.pool);
    let name = |host: &str| config.pools[usize::from(to(host).0)].name.as_str();
    assert_eq!(["chat.example.com", "a.b.example.com", "else"].map(name), ["chat", "site", "chat"]);
    let chat = &config.pools[1];
    assert_eq!(chat.forwarded, Forwarded::Append);
    let ids: Vec<_> = chat.servers.iter().map(|server| server.id.as_str()).collect();
    assert_eq!(ids, ["127.0.0.1:8881", "s2"]);
}
