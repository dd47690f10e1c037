//! The access log, wherever it goes and whatever becomes of whoever reads it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{
    HttpServer, Peer, Ringway, Server, closed_port, engine_flags, eventually, free_ports, get,
    program,
};

/// The user of these tests: no account needs to be made for it.
const NOBODY: u32 = 65_534;

fn configuration(server: &str, access_log: &Value) -> Value {
    json!({
        "workers": 2,
        "access_log": access_log,
        "listeners": [{"name": "web", "bind": "127.0.0.1:0", "peek": "http"}],
        "pools": {"site": {"servers": [server]}},
    })
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "{}: a torn line: {text}", path.display());
    text.lines().map(str::to_owned).collect()
}

fn ask(address: &str, host: &str) {
    let mut client = Peer::connect(address.parse().unwrap());
    client.send(get("/", &[&format!("Host: {host}"), "Connection: close"]));
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_file_has_a_json_object_for_each_session_with_its_fields() {
    let (server, files) = (HttpServer::named("s1"), tempfile::tempdir().unwrap());
    let path = files.path().join("access.log");
    let log = json!({"to": path, "format": "json", "start": true});
    let lb = Ringway::configured(&configuration(&server.address(), &log));
    let lb = lb.logging_elsewhere().start();
    ask(&lb.address().to_string(), "a.example");
    eventually("two lines", || (lines(&path).len() == 2).then_some(()));
    let told: Vec<Value> =
        lines(&path).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (began, ended) = (&told[0], &told[1]);
    assert_eq!(
        (&began["message"], &ended["message"]),
        (&json!("session_start"), &json!("session"))
    );
    assert_eq!(began["id"], ended["id"]);
    assert_eq!(ended["server"], server.address());
    assert_eq!((&ended["host"], &ended["listener"]), (&json!("a.example"), &json!("web")));
    assert!(ended["bytes_up"].as_u64().unwrap() > 0, "{ended}");
    assert!(began.get("bytes_up").is_none() && began.get("reason").is_none(), "{began}");
    assert!(ended["reason"].is_string() && ended["tls"] == false, "{ended}");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    assert!(!lb.said("INFO session "), "nothing of it on standard output");
}

#[test]
fn renaming_the_file_under_traffic_loses_no_line() {
    const CLIENTS: usize = 4;
    const ROTATIONS: usize = 8;
    let (server, files) = (HttpServer::named("s1"), tempfile::tempdir().unwrap());
    let path = files.path().join("access.log");
    let log = json!({"to": path});
    let setup = Ringway::configured(&configuration(&server.address(), &log));
    let mut lb = setup.logging_elsewhere().start();
    let address = lb.address().to_string();
    let (is_over, sessions) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    ask(&address, "a.example");
                    sessions.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for rotation in 0..ROTATIONS {
            let before = sessions.load(Ordering::SeqCst);
            eventually("more sessions", || {
                (sessions.load(Ordering::SeqCst) > before + 20).then_some(())
            });
            fs::rename(&path, files.path().join(format!("access.log.{rotation}"))).unwrap();
            lb.signal(Signal::SIGUSR1);
            eventually("a new file", || path.exists().then_some(()));
        }
        is_over.store(true, Ordering::SeqCst);
    });
    let last = lb.stop();
    let rotated = (0..ROTATIONS).map(|n| files.path().join(format!("access.log.{n}")));
    let counts: Vec<_> = rotated.chain([path.clone()]).map(|path| lines(&path).len()).collect();
    assert_eq!(counts.iter().sum::<usize>().to_string(), last["closed"], "{counts:?}");
    assert_eq!((last["unlogged"].as_str(), lb.lines("access log opened again")), ("0", ROTATIONS));
    assert_eq!(sessions.into_inner().to_string(), last["closed"]);
}

#[test]
fn a_user_in_the_sandbox_rotates_its_file() {
    if !nix::unistd::Uid::effective().is_root() {
        return println!("a_user_in_the_sandbox_rotates_its_file: left out, needs root");
    }
    let (server, files) = (HttpServer::named("s1"), tempfile::tempdir().unwrap());
    chown(files.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let (path, renamed) = (files.path().join("access.log"), files.path().join("access.log.1"));
    let mut file = configuration(&server.address(), &json!({"to": path}));
    file["user"] = json!(NOBODY);
    file["group"] = json!(NOBODY);
    let lb = Ringway::configured(&file).logging_elsewhere().start();
    assert_eq!(lb.event("confined")["seccomp"], "on");
    ask(&lb.address().to_string(), "a.example");
    eventually("a line", || (lines(&path).len() == 1).then_some(()));
    fs::rename(&path, &renamed).unwrap();
    lb.signal(Signal::SIGUSR1);
    eventually("a new file", || path.exists().then_some(()));
    ask(&lb.address().to_string(), "b.example");
    eventually("a line in it", || (lines(&path).len() == 1).then_some(()));
    assert_eq!(lines(&renamed).len(), 1);
    assert_eq!(fs::metadata(&path).unwrap().uid(), NOBODY);
}

#[test]
fn a_full_disk_loses_lines_that_are_counted_and_nothing_else() {
    let server = HttpServer::named("s1");
    let log = json!({"to": "/dev/full"});
    let setup = Ringway::configured(&configuration(&server.address(), &log));
    let mut lb = setup.logging_elsewhere().start();
    for _ in 0..20 {
        ask(&lb.address().to_string(), "a.example");
    }
    lb.wait_for_line("log lines lost", "No space left on device");
    ask(&lb.address().to_string(), "a.example");
    let last = lb.stop();
    assert_eq!((last["closed"].as_str(), last["unlogged"].as_str()), ("21", "21"));
    // Once a second at most, and what is lost within one may be told in the next.
    assert!(lb.lines("log lines lost") <= 4, "{:?}", lb.log());
}

#[test]
fn a_file_that_cannot_be_written_is_refused_with_its_key() {
    let server = Server::listen();
    let log = json!({"to": "/nonexistent/access.log"});
    let (status, said) = Ringway::configured(&configuration(&server.address(), &log)).refused();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.starts_with("access_log: /nonexistent/access.log: "), "{said}");
}

#[test]
fn a_reload_moves_the_log_or_says_why_not() {
    let (server, files) = (HttpServer::named("s1"), tempfile::tempdir().unwrap());
    let (first, second) = (files.path().join("1.log"), files.path().join("2.log"));
    let file = |log: Value| configuration(&server.address(), &log);
    let setup = Ringway::configured(&file(json!({"to": first})));
    let lb = setup.logging_elsewhere().start();
    let address = lb.address().to_string();
    ask(&address, "a.example");
    eventually("a line", || (lines(&first).len() == 1).then_some(()));
    assert!(lb.reload(&file(json!({"to": second}))));
    ask(&address, "b.example");
    eventually("a line elsewhere", || (lines(&second).len() == 1).then_some(()));
    assert!(!lb.reload(&file(json!({"to": "/nonexistent/access.log"}))));
    ask(&address, "c.example");
    eventually("still there", || (lines(&second).len() == 2).then_some(()));
    assert!(lb.reload(&file(json!(true))));
    ask(&address, "d.example");
    lb.wait_for_line("INFO session ", "host=d.example");
    assert_eq!((lines(&first).len(), lines(&second).len()), (1, 2));
}

#[test]
fn errors_are_logged_whatever_the_sample() {
    let (_held, closed) = closed_port();
    let server = HttpServer::named("s1");
    let mut file = configuration(&server.address(), &json!({"sample_one_in": 1_000_000}));
    file["pools"]["broken"] = json!({"servers": [closed]});
    file["listeners"] = json!([
        {"name": "web", "bind": "127.0.0.1:0", "peek": "http", "pool": "site",
         "routes": [{"host": "broken.example", "pool": "broken"}]},
    ]);
    let lb = Ringway::configured(&file).logging_elsewhere().start();
    for _ in 0..30 {
        assert_eq!(lb.get("/", &["Connection: close"]).status, 200);
        assert_eq!(lb.get("/", &["Host: broken.example"]).status, 503);
    }
    lb.wait_for_sessions(30);
    let told: Vec<_> = lb.sessions().iter().map(|s| s.get("reason").to_owned()).collect();
    let errors = told.iter().filter(|reason| *reason == "connect_failed").count();
    // One in a million of thirty.
    assert!(errors == 30 && told.len() <= 31, "{told:?}");
}

/// What a daemon of the test's own receives next.
fn datagram(daemon: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    eventually("a datagram", || {
        let length = daemon.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    })
}

fn daemon(path: &Path) -> UnixDatagram {
    let daemon = UnixDatagram::bind(path).unwrap();
    daemon.set_nonblocking(true).unwrap();
    daemon
}

#[test]
fn a_syslog_daemon_that_goes_and_comes_back_misses_only_what_is_counted() {
    let (server, files) = (HttpServer::named("s1"), tempfile::tempdir().unwrap());
    let path = files.path().join("log");
    let log = json!({"to": "syslog", "socket": path, "syslog_facility": "daemon"});
    let syslog = daemon(&path);
    let setup = Ringway::configured(&configuration(&server.address(), &log));
    let mut lb = setup.logging_elsewhere().start();
    let address = lb.address().to_string();
    ask(&address, "a.example");
    let message = datagram(&syslog);
    let start = format!("<30>ringway[{}]: session id=", lb.pid());
    assert!(message.starts_with(&start) && message.contains(" host=a.example "), "{message}");
    drop(syslog);
    fs::remove_file(&path).unwrap();
    for _ in 0..3 {
        ask(&address, "b.example");
    }
    lb.wait_for_line("log lines lost", "why=");
    let syslog = daemon(&path);
    // Until it is found again, lines are lost; then they come.
    let message = eventually("a line at the new daemon", || {
        ask(&address, "c.example");
        let mut bytes = [0; 4096];
        let length = syslog.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    });
    assert!(message.starts_with(&start), "{message}");
    let mut last = BTreeMap::new();
    let is_over = AtomicBool::new(false);
    let received = thread::scope(|scope| {
        let count = scope.spawn(|| {
            let (mut count, mut bytes) = (0, [0; 4096]);
            loop {
                let was_over = is_over.load(Ordering::SeqCst);
                match syslog.recv(&mut bytes) {
                    Ok(_) => count += 1,
                    Err(_) if was_over => return count,
                    Err(_) => thread::sleep(Duration::from_millis(1)),
                }
            }
        });
        last = lb.stop();
        is_over.store(true, Ordering::SeqCst);
        count.join().unwrap()
    });
    let [closed, lost] = ["closed", "unlogged"].map(|name| last[name].parse::<usize>().unwrap());
    assert_eq!(closed, 2 + received + lost, "every line came or was counted: {last:?}");
    assert!(lost > 0, "{last:?}");
}

#[test]
fn journald_gets_a_field_for_each() {
    let (server, files) = (HttpServer::named("s1"), tempfile::tempdir().unwrap());
    let path = files.path().join("socket");
    let journal = daemon(&path);
    let log = json!({"to": "journald", "socket": path, "start": true});
    let setup = Ringway::configured(&configuration(&server.address(), &log));
    let lb = setup.logging_elsewhere().start();
    ask(&lb.address().to_string(), "a.example");
    for event in ["session_start", "session"] {
        let message = datagram(&journal);
        let fields: BTreeMap<_, _> =
            message.lines().map(|line| line.split_once('=').unwrap()).collect();
        assert!(fields["MESSAGE"].starts_with(&format!("{event} id=")), "{message}");
        assert_eq!((fields["PRIORITY"], fields["SYSLOG_IDENTIFIER"]), ("6", "ringway"));
        assert_eq!((fields["RINGWAY_EVENT"], fields["RINGWAY_HOST"]), (event, "a.example"));
        assert_eq!(fields["RINGWAY_SERVER"], server.address());
    }
}

#[test]
fn standard_output_can_be_json_throughout() {
    let server = HttpServer::named("s1");
    let files = tempfile::tempdir().unwrap();
    let port = free_ports(1)[0];
    let bind = format!("127.0.0.1:{port}");
    let path = files.path().join("ringway.json");
    let mut file = configuration(&server.address(), &json!(true));
    file["listeners"][0]["bind"] = json!(bind);
    fs::write(&path, file.to_string()).unwrap();
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", &program(), "run", "--log-format", "json"])
        .args(engine_flags())
        .arg(&path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_listener(&bind);
    ask(&bind, "a.example");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    let told: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |message: &str| told.iter().filter(|line| line["message"] == message).count();
    assert_eq!((of("listening"), of("ready"), of("stopped")), (1, 1, 1), "{text}");
    let session = told.iter().find(|line| line["host"] == "a.example").expect("its line");
    assert_eq!((&session["message"], &session["level"]), (&json!("session"), &json!("INFO")));
}

fn wait_for_listener(address: &str) {
    eventually("a listener", || std::net::TcpStream::connect(address).ok());
}

#[test]
fn standard_output_that_nobody_reads_holds_up_nothing() {
    // A pipe takes 64 KiB, and each session has a line of some 300 bytes.
    const SESSIONS: usize = 600;
    let server = HttpServer::named("s1");
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("ringway.json");
    let ports = free_ports(2);
    let file = |ports: &[u16]| {
        let mut file = configuration(&server.address(), &json!(true));
        let bind: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        file["listeners"][0]["bind"] = json!(bind);
        file["drain_timeout_ms"] = json!(86_400_000);
        file.to_string()
    };
    fs::write(&path, file(&ports[..1])).unwrap();
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", &program(), "run"])
        .args(engine_flags())
        .arg(&path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    let (first, second) = (format!("127.0.0.1:{}", ports[0]), format!("127.0.0.1:{}", ports[1]));
    wait_for_listener(&first);
    for _ in 0..SESSIONS {
        ask(&first, "a.example");
    }
    // Signals are obeyed: a reload listens at a second address, and SIGTERM drains.
    fs::write(&path, file(&ports)).unwrap();
    kill(pid, Signal::SIGHUP).unwrap();
    wait_for_listener(&second);
    ask(&second, "a.example");
    kill(pid, Signal::SIGTERM).unwrap();
    let status = eventually("its end", || child.try_wait().unwrap());
    assert!(status.success(), "{status}");
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let whole = text.lines().filter(|line| line.contains("INFO session ")).count();
    assert!((100..SESSIONS).contains(&whole), "the pipe was full: {whole} lines");
}
