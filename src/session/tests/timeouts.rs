//! What ends a session that nobody ends.

use super::*;

fn relaying(listener: u16) -> Bench {
    Bench::relaying(listener, b"").0
}

/// Lets so much time pass and looks, with this to be acknowledged by client and server.
fn look(bench: &mut Bench, wait_ms: u64, unsent: [u32; 2]) -> Vec<Action> {
    bench.now_us += wait_ms * 1000;
    let mut actions = bench.step(Event::Deadline);
    if actions.ends_with(&[Action::AskUnsent(Client), Action::AskUnsent(Server)]) {
        actions.truncate(actions.len() - 2);
        assert_eq!(bench.step(Event::Unsent(Client, Ok(unsent[0]))), []);
        actions.extend(bench.step(Event::Unsent(Server, Ok(unsent[1]))));
    }
    actions
}

fn due(bench: &Bench, wait_ms: u64) -> Action {
    Action::Deadline { at_ms: bench.now_us / 1000 + wait_ms }
}

/// Both sides are told EOF and drained.
fn parts(bench: &Bench) -> [Action; 6] {
    let drains = |side| Action::Receive { side, patience: Patience::Try };
    let lingers = due(bench, 1_000);
    let second = due(bench, 1_000);
    let [first, last] = [Action::Shutdown(Client), Action::Shutdown(Server)];
    [lingers, first, last, second, drains(Client), drains(Server)]
}

#[test]
fn a_session_without_timeouts_has_no_deadline() {
    let is_deadline = |action: &Action| matches!(action, Action::Deadline { .. });
    for (listener, head) in [(RAW, &b""[..]), (HTTP, UPGRADE)] {
        let (mut bench, _) = Bench::relaying(listener, head);
        if listener == HTTP {
            bench.from(Server, AGREED);
            bench.sent_all(Client, AGREED.len() as u32);
        }
        // The look at who has not taken the first bytes is the last one.
        let actions = bench.step(Event::Deadline);
        assert!(!actions.iter().any(is_deadline), "{actions:?}");
        for _ in 0..5 {
            bench.now_us += 7 * 24 * 3_600 * 1_000_000;
            for (from, to) in [(Client, Server), (Server, Client)] {
                bench.from(from, b"ping");
                let actions = bench.sent(to, Ok(4));
                assert!(!actions.iter().any(is_deadline), "{actions:?}");
            }
        }
    }
}

#[test]
fn a_session_in_which_nothing_moves_is_told_eof_on_both_sides() {
    let (mut bench, _) = Bench::accept(TIMED);
    let actions = bench.step(Event::Connected(Ok(())));
    assert!(actions.contains(&due(&bench, 2_000)), "{actions:?}");
    // Whatever moves puts it off, and costs nothing but a look.
    bench.from(Client, b"abc");
    assert_eq!(bench.sent(Server, Ok(3)), [Action::Release(BUFFER), receive(Client)]);
    let actions = look(&mut bench, 2_000, [0, 0]);
    assert_eq!(actions, [due(&bench, 2_000)]);
    for quarter in 1..=4 {
        let actions = look(&mut bench, 2_000, [0, 0]);
        if quarter < 4 {
            assert_eq!(actions, [due(&bench, 2_000)]);
        } else {
            assert_eq!(actions, parts(&bench));
        }
    }
    // What they still say is thrown away, until they have finished.
    let on = Action::Receive { side: Client, patience: Patience::Try };
    assert_eq!(bench.from(Client, b"more"), [Action::Release(BUFFER), on]);
    assert_eq!(bench.eof(Client), []);
    let actions = bench.fault(Server, Fault::Reset);
    assert_closes(&mut bench, &actions, CloseReason::Idle);
}

#[test]
fn a_slow_reader_is_not_idle() {
    let mut bench = relaying(TIMED);
    for unsent in (1..20).rev() {
        assert_eq!(look(&mut bench, 2_000, [unsent, 0]), [due(&bench, 2_000)]);
    }
}

#[test]
fn a_half_closed_session_in_which_nothing_moves_is_closed() {
    // Where nobody has looked before, time counts from the first look at who is not read.
    for (listener, wait_ms, looks) in [(TIMED, 1_000, 3), (RAW, 900_000, 4)] {
        for side in [Client, Server] {
            let mut bench = relaying(listener);
            assert_eq!(bench.eof(side)[0], Action::Shutdown(side.opposite()));
            let watches = Action::Await(side, Readiness::HangUp);
            assert_eq!(look(&mut bench, 1_000, [0, 0]), [watches, due(&bench, wait_ms)]);
            for nth in 1..=looks {
                let actions = look(&mut bench, wait_ms, [0, 0]);
                let is_told = actions.contains(&Action::Shutdown(side));
                assert_eq!(is_told, nth == looks, "{actions:?}");
                assert!(!actions.contains(&Action::Shutdown(side.opposite())), "{actions:?}");
            }
            let actions = bench.step(Event::Deadline);
            assert_closes(&mut bench, &actions, CloseReason::HalfClosed);
        }
    }
}

#[test]
fn an_upgrade_that_is_never_answered_does_not_wait_for_ever_for_its_client() {
    let (mut bench, _) = Bench::relaying(HTTP, UPGRADE);
    bench.from(Client, b"frame");
    assert!(bench.eof(Client).contains(&due(&bench, 1_000)));
    look(&mut bench, 1_000, [0, 0]);
    for _ in 0..3 {
        look(&mut bench, 900_000, [0, 0]);
    }
    look(&mut bench, 900_000, [0, 0]);
    let actions = bench.step(Event::Deadline);
    assert_closes(&mut bench, &actions, CloseReason::HalfClosed);
}

#[test]
fn an_old_session_sends_what_it_has_before_it_says_eof() {
    let mut bench = relaying(TIMED);
    let mut actions = Vec::new();
    for _ in 0..30 {
        assert!(!actions.contains(&Action::Shutdown(Server)));
        bench.from(Client, b"abc");
        bench.sent(Server, Ok(3));
        bench.from(Client, b"defg");
        actions = look(&mut bench, 2_000, [0, 0]);
        if !actions.contains(&Action::Shutdown(Client)) {
            bench.sent(Server, Ok(4));
        }
    }
    assert_eq!(actions.last(), Some(&Action::Shutdown(Client)));
    assert_eq!(bench.from(Server, b"late"), [Action::Release(BUFFER)]);
    assert_eq!(bench.eof(Server), []);
    let actions = bench.sent(Server, Ok(4));
    assert_eq!(actions[..2], [Action::Release(BUFFER), Action::Shutdown(Server)]);
    let actions = bench.step(Event::Deadline);
    assert_closes(&mut bench, &actions, CloseReason::MaxAge);
}

#[test]
fn what_is_held_of_a_response_waits_behind_what_is_being_sent() {
    let (interim, held) = ("HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 101 Switch");
    let send_all = |bytes: &str| Action::SendAll { to: Client, bytes: bytes.into() };
    let (mut bench, _) = Bench::relaying(HTTP, UPGRADE);
    assert_eq!(bench.eof(Client)[0], Action::Shutdown(Server));
    let actions = bench.from(Server, [interim, held].concat().as_bytes());
    assert_eq!(actions, [Action::Release(BUFFER), send_all(interim)]);
    look(&mut bench, 1_000, [0, 0]);
    for _ in 0..4 {
        let actions = look(&mut bench, 900_000, [0, 0]);
        assert!(!actions.contains(&send_all(held)), "two sends at once: {actions:?}");
    }
    assert_eq!(bench.sent_all(Client, interim.len() as u32), [send_all(held)]);
    let actions = bench.sent_all(Client, held.len() as u32);
    assert_eq!(actions[0], Action::Shutdown(Client));
    let actions = bench.step(Event::Deadline);
    assert_closes(&mut bench, &actions, CloseReason::HalfClosed);
}

#[test]
fn an_old_session_empties_its_pipe_before_it_says_eof() {
    let mut bench = relaying(TIMED);
    bench.bulk(Server);
    bench.step(Event::Readable(Server));
    bench.step(Event::Pipe(Server, Ok(())));
    bench.step(Event::SplicedIn(Server, Ok(20)));
    bench.step(Event::SplicedOut(Server, Err(Fault::WouldBlock)));
    let actions = look(&mut bench, 60_000, [0, 0]);
    assert!(!actions.contains(&Action::Shutdown(Client)), "{actions:?}");
    assert_eq!(bench.step(Event::Room(Client)), [Action::SpliceOut(Server, 20)]);
    let actions = bench.step(Event::SplicedOut(Server, Ok(20)));
    let back = Action::ReturnPipe(Server, PipeState::Empty);
    assert_eq!(actions[..2], [back, Action::Shutdown(Client)]);
}

#[test]
fn a_session_that_is_old_when_its_server_is_found_is_not_forgotten() {
    let (mut bench, _) = Bench::accept(TIMED);
    bench.now_us += 70_000_000;
    let actions = bench.step(Event::Connected(Ok(())));
    assert!(actions.contains(&due(&bench, 0)), "{actions:?}");
    assert!(look(&mut bench, 0, [0, 0]).contains(&Action::Shutdown(Client)));
}

#[test]
fn an_old_session_whose_reader_is_stuck_is_closed_all_the_same() {
    let mut bench = relaying(TIMED);
    bench.from(Client, b"abc");
    bench.sent(Server, Ok(1));
    look(&mut bench, 60_000, [0, 0]);
    let actions = look(&mut bench, 1_000, [0, 0]);
    assert_closes(&mut bench, &actions, CloseReason::MaxAge);
}

#[test]
fn a_client_that_never_takes_what_came_before_its_servers_reset_is_reset() {
    let mut bench = relaying(TIMED);
    bench.from(Server, b"abc");
    bench.sent(Client, Ok(1));
    bench.from(Client, b"abc");
    bench.sent(Server, Err(Fault::Reset));
    let closes_server = Action::Close(Server, Farewell::Reset);
    let gives_up = (0..9).any(|_| look(&mut bench, 1_000, [9, 0]).contains(&closes_server));
    assert!(gives_up, "it waits for ever");
    assert_eq!(bench.step(Event::Closed(Server)), []);
    let resets = [Action::NoDeadline, Action::Close(Client, Farewell::Reset)];
    let gives_up = (0..300).any(|_| bench.step(Event::Unsent(Client, Ok(9))) == resets);
    assert!(gives_up, "it waits for ever");
    assert_eq!(bench.step(Event::Closed(Client)), [Action::End(CloseReason::HalfClosed)]);
}

#[test]
fn an_old_session_sends_what_came_before_its_servers_reset() {
    let mut bench = relaying(TIMED);
    bench.from(Server, b"abc");
    bench.sent(Client, Ok(1));
    bench.from(Client, b"abc");
    bench.sent(Server, Err(Fault::Reset));
    let actions = look(&mut bench, 60_000, [9, 0]);
    let is_close = |action: &Action| matches!(action, Action::Close(..));
    assert!(!actions.iter().any(is_close), "{actions:?}");
    assert_eq!(bench.sent_all(Client, 2), [receive(Server)]);
    assert_eq!(bench.eof(Server)[0], Action::Close(Server, Farewell::Reset));
    let closes = [Action::NoDeadline, Action::Close(Client, Farewell::Reset)];
    assert_eq!(bench.step(Event::Unsent(Client, Ok(0))), closes);
    assert_eq!(bench.step(Event::Closed(Server)), []);
    assert_eq!(bench.step(Event::Closed(Client)), [Action::End(CloseReason::MaxAge)]);
}

#[test]
fn a_worker_that_is_going_to_stop_ends_a_session_in_good_order() {
    let mut bench = relaying(RAW);
    assert_eq!(bench.step(Event::Retire), parts(&bench));
    assert_eq!(bench.step(Event::Retire), [], "once is enough");
    bench.eof(Client);
    let actions = bench.eof(Server);
    assert_closes(&mut bench, &actions, CloseReason::Stopped);

    let mut bench = relaying(RAW);
    bench.from(Server, b"abc");
    bench.step(Event::Retire);
    let actions = bench.sent(Client, Ok(3));
    assert!(actions.contains(&Action::Shutdown(Client)), "behind what was received: {actions:?}");

    let (mut bench, _) = Bench::accept(HTTP);
    let actions = bench.step(Event::Retire);
    assert_closes(&mut bench, &actions, CloseReason::Stopped);
}
