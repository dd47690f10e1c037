//! Keys and what comes of them; screens as they are drawn, in `screens/`. `RINGWAY_SCREENS=write`
//! writes those anew, to be looked at.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::look::Look;
use super::model::{Event, Mode, State, Task};
use super::pane::Pane;
use super::view;

fn server(pool: &str, port: u16, state: &str, total: u64) -> Value {
    let is_down = state == "down";
    let changed: &[&str] = if state == "draining" { &["state"] } else { &[] };
    json!({
        "pool": pool, "address": format!("127.0.0.1:{port}"), "id": format!("s{port}"),
        "state": state, "health": if is_down { "down" } else { "up" },
        "cause": is_down.then_some("3 checks failed: connection refused"),
        "for_ms": is_down.then_some(72_000),
        "weight": 1, "weight_in_file": 1, "backup": false,
        "live": if is_down { 0 } else { total / 10 },
        "total": total, "max_connections": null, "bytes_up_total": total * 1_000,
        "bytes_down_total": total * 150_000,
        "connect_us": {"count": total, "sum": total * 90, "p50": 85, "p99": 1_340},
        "connect_errors": {}, "changed": changed,
    })
}

fn worker(number: u64, accepted: u64) -> Value {
    json!({
        "number": number, "core": number, "live": accepted / 10, "max": 523_776,
        "accepted_total": accepted, "closed_total": accepted - accepted / 10,
        "closed": {}, "lacked": {}, "unlogged_total": 0,
    })
}

fn session(slot: u64, bytes: u64) -> Value {
    json!({
        "id": format!("0-{slot}-1"), "worker": 0, "listener": "web",
        "client": format!("192.0.2.{slot}:40{slot:03}"), "host": "chat.example.com",
        "pool": "chat", "server": format!("127.0.0.1:{}", 8881 + slot % 3), "how": "kept",
        "key": "socketio", "phase": "relay", "mode_up": "copy", "mode_down": "splice",
        "bytes_up": bytes / 100, "bytes_down": bytes, "age_ms": slot * 61_000,
        "idle_ms": slot * 40, "connect_us": 85, "peek_us": 120, "retries": 0,
    })
}

fn look(at_ms: u64) -> Look {
    // So much has happened since the start.
    let n = at_ms / 10;
    let states = ["up", "draining", "down"];
    let servers = (8881..).zip(states).map(|(port, state)| {
        // Nothing happens any more where nobody is.
        server("chat", port, state, if state == "down" { 400 } else { n })
    });
    let servers = servers.chain([server("site", 9001, "up", 7)]).collect();
    let status = json!({
        "version": "0.1.0", "pid": 4711, "uptime_ms": 11_520_000, "engine": "io_uring",
        "edition": 3, "draining": false, "workers": 2, "sessions_live": 1_234,
        "accepted_total": n * 4, "closed_total": n * 3,
        "bytes_up_total": n * 3_000, "bytes_down_total": n * 450_000,
    });
    let sessions = (1..=40).map(|slot| session(slot, slot * at_ms)).collect();
    let workers = (0..2).map(|number| worker(number, n * 2 + number)).collect();
    Look { at_ms, status, rows: [servers, workers, sessions], is_cut: true }
}

/// After two looks, a second apart.
fn state() -> State {
    let mut state = State::new("127.0.0.1:9080".to_owned());
    for at_ms in [10_000, 11_000] {
        state.step(Event::Time(at_ms));
        state.step(Event::Looked(look(at_ms)));
    }
    state
}

fn press(state: &mut State, keys: &str) -> Vec<Task> {
    let code = |c| match c {
        '\n' => KeyCode::Enter,
        '\x1b' => KeyCode::Esc,
        '\t' => KeyCode::Tab,
        '↓' => KeyCode::Down,
        '→' => KeyCode::Right,
        c => KeyCode::Char(c),
    };
    let event = |c| Event::Key(KeyEvent::new(code(c), KeyModifiers::NONE));
    keys.chars().flat_map(|c| state.step(event(c))).collect()
}

fn drawn(state: &State, (width, height): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(state, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(width.into()).map(|line| {
        let line: String = line.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", line.trim_end())
    });
    lines.collect()
}

#[track_caller]
fn looks_like(state: &State, size: (u16, u16), name: &str) {
    let found = drawn(state, size);
    let path = format!("{}/src/top/screens/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("RINGWAY_SCREENS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert!(found == expected, "{name} is:\n{found}\nand should be:\n{expected}");
}

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (200, 60);

#[test]
fn screens_are_as_they_were_when_somebody_looked() {
    let mut all = state();
    looks_like(&all, SMALL, "servers_80x24");
    looks_like(&all, LARGE, "all_200x60");
    press(&mut all, "↓↓");
    looks_like(&all, SMALL, "server_down_80x24");
    press(&mut all, "↓d");
    looks_like(&all, SMALL, "confirm_80x24");
    press(&mut all, "n\t");
    looks_like(&all, SMALL, "workers_80x24");
    press(&mut all, "\t/192.0.2.1");
    looks_like(&all, SMALL, "filter_80x24");
    press(&mut all, "\n→→→→→→→→");
    looks_like(&all, SMALL, "sorted_80x24");
    press(&mut all, "?");
    looks_like(&all, SMALL, "help_80x24");
    press(&mut all, " \x1b");
    all.step(Event::Missed("no ringway answers at 127.0.0.1:9080: nobody listens there".into()));
    all.step(Event::Time(14_200));
    looks_like(&all, SMALL, "silent_80x24");
}

#[test]
fn the_screen_in_the_document_is_one_of_them() {
    let document = include_str!("../../docs/ctl.md");
    let (_, shown) = document.split_once("```text\n").expect("a screen");
    let (shown, _) = shown.split_once("```").expect("its end");
    let screen = include_str!("screens/server_down_80x24.txt");
    let lines = screen.lines().filter(|line| !line.is_empty());
    assert_eq!(shown.lines().collect::<Vec<_>>(), lines.collect::<Vec<_>>());
}

#[test]
fn no_screen_is_too_small() {
    let mut state = state();
    for keys in ["", "?", " \t", "\t", "K"] {
        press(&mut state, keys);
        for size in [(1, 1), (3, 2), (10, 4), (40, 10), (500, 3), (20, 200)] {
            drawn(&state, size);
        }
    }
    drawn(&State::new(String::new()), SMALL);
}

/// What the one task asks: method, path and body.
fn asked(tasks: &[Task]) -> (String, String, Value) {
    let [Task::Change(request, _)] = tasks else { panic!("{tasks:?} is one change") };
    let body = request.body.clone().unwrap_or_default();
    (request.method.to_string(), request.path.clone(), body)
}

#[test]
fn a_change_is_asked_for_only_after_a_yes() {
    let path = "/v1/pools/chat/servers/127.0.0.1:8882".to_owned();
    let rows = [
        ("d", json!({"state": "drain"})),
        ("r", json!({"state": "ready"})),
        ("x", json!({"state": "down"})),
        ("+", json!({"weight": 2})),
        ("++++", json!({"weight": 5})),
        ("-", json!({"weight": 1})),
    ];
    for (keys, body) in rows {
        let mut state = state();
        assert_eq!(press(&mut state, &format!("↓{keys}")), []);
        assert_eq!(press(&mut state, "n"), [], "no is no");
        assert_eq!(press(&mut state, "y"), [], "there is nothing left to say yes to");
        let tasks = press(&mut state, &format!("{keys}y"));
        assert_eq!(asked(&tasks), ("PATCH".to_owned(), path.clone(), body), "{keys}");
    }
    let mut state = state();
    assert_eq!(press(&mut state, "3"), [Task::Look], "sessions were not looked at");
    let tasks = press(&mut state, "↓K\n");
    assert_eq!(asked(&tasks), ("DELETE".to_owned(), "/v1/sessions/0-2-1".to_owned(), Value::Null));
    press(&mut state, "2");
    press(&mut state, "dK+x");
    assert_eq!(state.mode, Mode::Browse, "a worker cannot be changed");
}

#[test]
fn the_cursor_stays_on_its_row_wherever_that_moves() {
    let mut state = state();
    press(&mut state, "3↓↓");
    assert_eq!(state.shown[Pane::Sessions as usize].selected, "0-3-1");
    // By bytes, the last one comes first.
    press(&mut state, "→→→→→→→→");
    let rows = state.rows(Pane::Sessions);
    assert_eq!((rows[0].name.as_str(), state.selected(Pane::Sessions, &rows)), ("0-40-1", 37));
    press(&mut state, "i");
    let rows = state.rows(Pane::Sessions);
    assert_eq!(state.selected(Pane::Sessions, &rows), 2);
    let mut later = look(12_000);
    later.rows[Pane::Sessions as usize].retain(|row| row["id"] != "0-3-1");
    state.step(Event::Looked(later));
    assert_eq!(state.selected(Pane::Sessions, &state.rows(Pane::Sessions)), 0, "it is gone");
}

#[test]
fn rates_are_differences_of_one_process() {
    let mut state = state();
    assert_eq!(state.per_s("accepted_total"), Some(400.0));
    let mut other = look(12_000);
    other.status["pid"] = json!(4712);
    state.step(Event::Looked(other));
    assert_eq!(state.per_s("accepted_total"), None, "another one counts from zero");
}

#[test]
fn who_does_not_answer_is_looked_for_again() {
    let mut state = state();
    assert_eq!(state.silent_ms(), None);
    state.step(Event::Missed("nobody".into()));
    state.step(Event::Time(14_000));
    assert_eq!(state.silent_ms(), Some(3_000));
    state.step(Event::Looked(look(15_000)));
    assert_eq!(state.silent_ms(), None);
}

#[test]
fn what_came_of_a_change_is_shown_for_a_while() {
    let mut state = state();
    assert_eq!(state.step(Event::Changed(Err("it is full".into()))), [Task::Look]);
    assert!(drawn(&state, SMALL).ends_with("it is full\n"));
    state.step(Event::Time(60_000));
    assert!(!drawn(&state, SMALL).contains("it is full"));
}

#[test]
fn a_network_is_looked_for_by_ringway() {
    let mut state = state();
    assert!(!state.wish(24).sessions && state.wish(60).sessions);
    press(&mut state, "3/192.0.2.0/24\n");
    let wish = state.wish(24);
    assert_eq!((wish.sessions, wish.client.as_deref()), (true, Some("192.0.2.0/24")));
    assert_eq!(state.rows(Pane::Sessions).len(), 40);
    press(&mut state, "\x1b/no/network");
    assert_eq!(state.wish(24).client, None);
    assert!(state.rows(Pane::Sessions).is_empty());
}

#[test]
fn quit_is_q_or_control_c() {
    let mut state = state();
    assert_eq!(press(&mut state, "q"), [Task::Quit]);
    press(&mut state, "/");
    assert_eq!(press(&mut state, "q"), [], "it is typed");
    let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(state.step(Event::Key(key)), [Task::Quit]);
}
