//! `ringway top` in a terminal of its own (script(1) has one): what it shows, what keys do, and the
//! terminal as it was found behind every end.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use vt100::Parser;

use crate::harness::{Peer, Ringway, Server, Serving, closed_port, eventually, program};

/// Lines and columns.
const SMALL: (u16, u16) = (24, 80);
const LARGE: (u16, u16) = (60, 200);

struct Top {
    script: Child,
    keys: Option<ChildStdin>,
    screen: Arc<Mutex<Parser>>,
}

impl Top {
    fn start(admin: &str, (lines, columns): (u16, u16)) -> Self {
        let size = format!("stty rows {lines} columns {columns}");
        let top = format!("exec {} top --admin {admin} --interval-ms 100", program());
        let mut script = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "script", "-qfec", &format!("{size}; {top}")])
            .arg("/dev/null")
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script(1) is installed");
        let screen = Arc::new(Mutex::new(Parser::new(lines, columns, 0)));
        let (mut output, into) = (script.stdout.take().expect("piped"), Arc::clone(&screen));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                into.lock().unwrap().process(&bytes[..count]);
            }
        });
        let keys = script.stdin.take();
        Self { script, keys, screen }
    }

    fn press(&mut self, keys: &str) {
        let pipe = self.keys.as_mut().expect("it is open");
        pipe.write_all(keys.as_bytes()).and_then(|()| pipe.flush()).expect("it reads keys");
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Waits until all of these are on the screen.
    #[track_caller]
    fn shows(&self, parts: &[&str]) {
        let look = || parts.iter().all(|part| self.text().contains(part)).then_some(());
        let wanted = thread::scope(|scope| scope.spawn(|| eventually("it", look)).join().is_ok());
        assert!(wanted, "never showed {parts:?}, but:\n{}", self.text());
    }

    /// ringway itself, which script(1) has started.
    fn pid(&self) -> Pid {
        let script = self.script.id();
        let path = format!("/proc/{script}/task/{script}/children");
        let children = std::fs::read_to_string(path).expect("script runs");
        Pid::from_raw(children.trim().parse().expect("one child"))
    }

    /// Waits for its end, which leaves a plain terminal with its cursor; the exit code.
    #[track_caller]
    fn ends(&mut self) -> i32 {
        let status = eventually("an end", || self.script.try_wait().expect("a child"));
        eventually("a terminal as it was", || {
            let parser = self.screen.lock().unwrap();
            let screen = parser.screen();
            (!screen.alternate_screen() && !screen.hide_cursor()).then_some(())
        });
        status.code().expect("script(1) ends by itself")
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

fn echo() -> Serving {
    Server::listen().serve(|mut peer| {
        let mut byte = [0];
        while peer.read_exact(&mut byte).is_ok() {
            peer.send(byte);
        }
    })
}

fn start(server: &str, admin: &Path) -> Ringway {
    let file = json!({
        "workers": 1,
        "admin": {"bind": format!("unix:{}", admin.display())},
        "listeners": [{"name": "web", "bind": "127.0.0.1:0", "peek": "none"}],
        "pools": {"site": {"servers": [{"address": server, "id": "s1"}, "127.0.0.1:1"]}},
    });
    Ringway::configured(&file).start()
}

fn client(lb: &Ringway) -> Peer {
    let mut client = lb.client();
    client.send("x");
    client.expect("x");
    client
}

#[test]
fn keys_drain_a_server_weigh_it_and_kill_a_session() {
    let (server, files) = (echo(), tempfile::tempdir().unwrap());
    let socket = files.path().join("admin.sock");
    let lb = start(&server.address(), &socket);
    let mut held = client(&lb);
    let admin = lb.admin();
    let mut top = Top::start(&format!("unix:{}", socket.display()), SMALL);
    top.shows(&["ringway 0.", "sessions 1", &server.address(), " up ", "? help"]);
    top.press("d");
    top.shows(&[&format!("drain {} (site)?", server.address())]);
    top.press("n");
    top.shows(&["? help"]);
    top.press("dy");
    top.shows(&["draining", "done: drain"]);
    assert_eq!(admin.server(&server.address())["state"], "draining");
    top.press("++y");
    top.shows(&["done: weight", "1 -> 3"]);
    assert_eq!(admin.server(&server.address())["weight"], 3);
    top.press("ry");
    top.shows(&["done: ready"]);
    assert_eq!(admin.server(&server.address())["state"], "up");
    top.press("3");
    top.shows(&["CLIENT", &held.address().to_string()]);
    top.press("Ky");
    top.shows(&["done: kill session"]);
    held.expect_closed();
    top.press("q");
    assert_eq!(top.ends(), 0);
}

#[test]
fn a_large_screen_has_all_three_lists() {
    let (server, files) = (echo(), tempfile::tempdir().unwrap());
    let socket = files.path().join("admin.sock");
    let lb = start(&server.address(), &socket);
    let client = client(&lb);
    let mut top = Top::start(&format!("unix:{}", socket.display()), LARGE);
    top.shows(&["1 servers", "2 workers", "3 sessions", &client.address().to_string()]);
    top.press("/nothing like it\r");
    top.shows(&["0 of 2", "0 of 1"]);
    top.press("\x03");
    assert_eq!(top.ends(), 0);
}

#[test]
fn who_went_away_is_waited_for() {
    let (server, files) = (echo(), tempfile::tempdir().unwrap());
    let socket = files.path().join("admin.sock");
    let lb = start(&server.address(), &socket);
    let mut top = Top::start(&format!("unix:{}", socket.display()), SMALL);
    top.shows(&["sessions 0"]);
    drop(lb);
    top.shows(&["no answer for ", "no ringway answers at"]);
    let lb = start(&server.address(), &socket);
    let _client = client(&lb);
    top.shows(&["sessions 1", "? help"]);
    assert!(!top.text().contains("no answer"), "{}", top.text());
    kill(top.pid(), Signal::SIGTERM).expect("it runs");
    assert_eq!(top.ends(), 0);
}

#[test]
fn without_a_terminal_or_a_ringway_it_says_so() {
    let (_socket, nobody) = closed_port();
    let mut top = Command::new(program());
    let output = top.args(["top", "--admin", &nobody]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("needs a terminal"));
    let mut top = Top::start(&nobody, SMALL);
    top.shows(&[&format!("no ringway answers at {nobody}: nobody listens there")]);
    assert_eq!(top.ends(), 3);
}
