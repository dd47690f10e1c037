//! The one request, the response head, the upgrade.

use super::*;

/// What is sent to a side, as text.
fn sent_to(side: Side, actions: &[Action]) -> String {
    let sent = actions.iter().find_map(|action| match action {
        Action::SendAll { to, bytes } if *to == side => Some(bytes),
        _ => None,
    });
    sent.map(|bytes| String::from_utf8(bytes.clone()).unwrap()).unwrap_or_default()
}

#[test]
fn one_request_passes_and_nothing_behind_its_end() {
    let (mut bench, sent) = Bench::relaying(HTTP, &[GET, b"GET /2 HTTP/1.1\r\n"].concat());
    let sent = String::from_utf8(sent).unwrap();
    assert!(sent.ends_with("\r\n\r\n") && sent.contains("Connection: close\r\n"), "{sent}");
    assert_eq!(bench.from(Client, b"more"), [Action::Release(BUFFER), receive(Client)]);

    let post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab";
    let (mut bench, sent) = Bench::relaying(HTTP, post);
    assert!(sent.ends_with(b"\r\n\r\nab"));
    assert_eq!(bench.from(Client, b"cdeGET"), [send(Server, 3)]);
}

#[test]
fn a_trusted_head_passes_as_it_is() {
    let (mut bench, sent) = Bench::relaying(TRUST, GET);
    assert_eq!(sent, GET);
    assert_eq!(bench.from(Client, b"more"), [send(Server, 4)]);
    assert_eq!(bench.from(Server, b"any"), [send(Client, 3)]);
}

#[test]
fn a_response_is_edited_however_it_is_split() {
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n2x";
    for cut in 1..response.len() - 2 {
        let (mut bench, _) = Bench::relaying(HTTP, GET);
        let held = [Action::Release(BUFFER), receive(Server)];
        assert_eq!(bench.from(Server, &response[..cut]), held, "{cut}");
        let passed = sent_to(Client, &bench.from(Server, &response[cut..]));
        assert!(passed.contains("Connection: close\r\n"), "{passed}");
        assert!(passed.ends_with("\r\n\r\n2x"), "{passed}");
    }
}

#[test]
fn an_interim_head_passes_at_once() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    let (mut bench, _) = Bench::relaying(HTTP, GET);
    assert_eq!(sent_to(Client, &bench.from(Server, interim.as_bytes())), interim);
    assert_eq!(bench.sent_all(Client, interim.len() as u32), [receive(Server)]);
    let passed = sent_to(Client, &bench.from(Server, REFUSED));
    assert!(passed.starts_with("HTTP/1.1 400") && passed.contains("Connection: close"));
}

#[test]
fn a_sid_is_learned_from_a_later_packet() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n";
    let (mut bench, _) = Bench::relaying(HTTP, GET);
    assert_eq!(bench.from(Server, head), [Action::Release(BUFFER), receive(Server)]);
    let actions = bench.from(Server, br#"0{"sid":"0123456789","x":1}"#);
    assert!(sent_to(Client, &actions).ends_with(r#""x":1}"#));
    assert_eq!(bench.pools[1].learned(), 1);
}

#[test]
fn cookies_are_inserted_and_learned() {
    let (mut bench, _) = Bench::relaying(INSERT, GET);
    let passed = sent_to(Client, &bench.from(Server, REFUSED));
    assert!(passed.to_lowercase().contains("set-cookie: srv="), "{passed}");

    let (mut bench, _) = Bench::relaying(LEARN, GET);
    let response = b"HTTP/1.1 200 OK\r\nSet-Cookie: srv=abc\r\n\r\n";
    assert_eq!(sent_to(Client, &bench.from(Server, response)).as_bytes(), response);
    assert_eq!(bench.pools[4].learned(), 1);
}

#[test]
fn eof_passes_a_response_that_is_held_and_then_itself() {
    for held in ["HTTP/1.1 200 OK\r\nConte", "HTTP/1.1 200 OK\r\n\r\n0{\"si"] {
        let (mut bench, _) = Bench::relaying(HTTP, GET);
        bench.from(Server, held.as_bytes());
        let passed = sent_to(Client, &bench.eof(Server));
        assert_eq!(passed[..15], held[..15]);
        let actions = bench.sent_all(Client, passed.len() as u32);
        assert_eq!(actions[0], Action::Shutdown(Client));
    }
}

#[test]
fn frames_wait_for_the_upgrade() {
    let (mut bench, sent) = Bench::relaying(HTTP, &[UPGRADE, b"one"].concat());
    assert_eq!(sent, UPGRADE);
    assert_eq!(bench.from(Client, b"two"), [Action::Release(BUFFER), receive(Client)]);
    let actions = bench.from(Server, AGREED);
    assert_eq!(sent_to(Client, &actions).as_bytes(), AGREED);
    assert_eq!(sent_to(Server, &actions), "onetwo");
    // What comes while they are sent waits behind them.
    assert_eq!(bench.from(Client, b"three"), [Action::Release(BUFFER), receive(Client)]);
    assert_eq!(sent_to(Server, &bench.sent_all(Server, 6)), "three");
    assert_eq!(bench.sent_all(Server, 5), []);
    assert_eq!(bench.from(Client, b"four"), [send(Server, 4)]);
}

#[test]
fn a_refused_upgrade_drops_what_was_held() {
    let (mut bench, _) = Bench::relaying(HTTP, &[UPGRADE, b"one"].concat());
    let actions = bench.from(Server, REFUSED);
    assert_eq!(sent_to(Server, &actions), "");
    assert_eq!(bench.from(Client, b"two"), [Action::Release(BUFFER), receive(Client)]);
}

#[test]
fn too_many_frames_pause_the_client_until_the_answer() {
    const FRAMES: &[u8] = &[0; 64 * 1024];
    for (answer, is_agreed) in [(AGREED, true), (REFUSED, false)] {
        let (mut bench, _) = Bench::relaying(HTTP, UPGRADE);
        let waits = Action::Await(Client, Readiness::HangUp);
        assert_eq!(bench.from(Client, FRAMES), [Action::Release(BUFFER), waits]);
        let actions = bench.from(Server, answer);
        if is_agreed {
            assert_eq!(bench.sent_all(Server, FRAMES.len() as u32), [receive(Client)]);
        } else {
            assert!(actions.contains(&receive(Client)), "{actions:?}");
        }
    }
}

#[test]
fn an_eof_waits_behind_held_frames() {
    for (answer, is_agreed) in [(AGREED, true), (REFUSED, false), (b"", false)] {
        let (mut bench, _) = Bench::relaying(HTTP, &[UPGRADE, b"one"].concat());
        assert!(matches!(bench.eof(Client)[..], [Action::Deadline { .. }]));
        assert_eq!(bench.step(Event::Deadline)[0], Action::Await(Client, Readiness::HangUp));
        let mut actions = bench.from(Server, answer);
        if is_agreed {
            assert_eq!(sent_to(Server, &actions), "one");
            actions = bench.sent_all(Server, 3);
        }
        assert!(actions.contains(&Action::Shutdown(Server)), "{actions:?}");
    }
}

#[test]
fn a_server_that_is_to_be_reset_is_told_no_eof_in_place_of_held_frames() {
    let (mut bench, _) = Bench::relaying(HTTP, &[UPGRADE, b"one"].concat());
    bench.eof(Client);
    bench.from(Server, &AGREED[..20]);
    let actions = bench.fault(Server, Fault::NoMemory);
    assert_eq!(sent_to(Client, &actions).as_bytes(), &AGREED[..20]);
    assert!(!actions.contains(&Action::Shutdown(Server)), "{actions:?}");
    let actions = bench.sent_all(Client, 20);
    assert_eq!(actions[0], Action::Close(Server, Farewell::Reset));
}

#[test]
fn an_answer_before_the_whole_head_is_sent_loses_nothing() {
    let (mut bench, _) = Bench::accept(HTTP);
    bench.from(Client, &[UPGRADE, b"one"].concat());
    bench.step(Event::Connected(Ok(())));
    assert_eq!(sent_to(Server, &bench.from(Server, AGREED)), "");
    assert_eq!(sent_to(Server, &bench.sent_all(Server, UPGRADE.len() as u32)), "one");
    assert_eq!(bench.sent_all(Server, 3), [receive(Client)]);
}
