//! Two halves, copied.

use super::*;

fn relaying() -> Bench {
    let (bench, sent) = Bench::relaying(RAW, b"");
    assert!(sent.is_empty());
    bench
}

#[test]
fn bytes_go_both_ways_and_nothing_is_received_before_they_are_sent() {
    let mut bench = relaying();
    for (from, to) in [(Client, Server), (Server, Client)] {
        assert_eq!(bench.from(from, b"abc"), [send(to, 3)]);
        assert_eq!(bench.sent(to, Ok(3)), [Action::Release(BUFFER), receive(from)]);
    }
}

#[test]
fn what_a_slow_reader_leaves_is_sent_before_more_is_received() {
    for (result, from) in [(Ok(1), 1), (Err(Fault::WouldBlock), 0)] {
        let mut bench = relaying();
        bench.from(Client, b"abc");
        let left = Action::SendLeft { to: Server, buffer: BUFFER, from, until: 3 };
        let actions = [left, Action::Await(Client, Readiness::HangUp)];
        assert_eq!(bench.sent(Server, result), actions);
        assert_eq!(bench.sent_all(Server, 3 - from), [receive(Client)]);
    }
}

#[test]
fn a_reset_is_noticed_while_a_stalled_server_has_not_taken_the_first_bytes() {
    let (mut bench, _) = Bench::accept(AUTO);
    bench.step(Event::Deadline);
    bench.from(Client, b"one");
    bench.step(Event::Connected(Ok(())));
    assert_eq!(bench.step(Event::Deadline), [Action::Await(Client, Readiness::HangUp)]);
    let actions = bench.step(Event::HangUp { side: Client, fault: Some(Fault::Reset) });
    assert_eq!(actions, closes(Farewell::Reset, Farewell::Reset));
}

#[test]
fn eof_is_passed_on_and_two_of_them_close() {
    for (first, reason) in
        [(Client, CloseReason::ClientClosed), (Server, CloseReason::ServerClosed)]
    {
        let mut bench = relaying();
        let second = first.opposite();
        let actions = bench.eof(first);
        assert_eq!(actions[0], Action::Shutdown(second));
        assert!(matches!(actions[1..], [Action::Deadline { .. }]));
        // The other half lives on.
        assert_eq!(bench.from(second, b"abc"), [send(first, 3)]);
        assert_eq!(bench.sent(first, Ok(3)), [Action::Release(BUFFER), receive(second)]);
        assert_eq!(bench.step(Event::Deadline)[0], Action::Await(first, Readiness::HangUp));
        let actions = bench.eof(second);
        assert_ended(&mut bench, &actions, reason);
    }
}

#[test]
fn a_clients_reset_resets_the_server_at_once() {
    for (fault, reason) in
        [(Fault::Reset, CloseReason::ClientReset), (Fault::TimedOut, CloseReason::ClientLost)]
    {
        let resets = closes(Farewell::Reset, Farewell::Reset);
        let mut bench = relaying();
        assert_eq!(bench.fault(Client, fault), resets);
        assert_ends(&mut bench, reason);

        // Seen by a send to it.
        let mut bench = relaying();
        bench.from(Server, b"abc");
        let actions = bench.sent(Client, Err(fault));
        assert_eq!(actions[0], Action::Release(BUFFER));
        assert_eq!(actions[1..], resets);
        assert_ends(&mut bench, reason);
    }
    // Seen by the poll of a half that does not read.
    let mut bench = relaying();
    bench.from(Client, b"abc");
    bench.sent(Server, Ok(1));
    assert_eq!(bench.step(Event::HangUp { side: Client, fault: None }), []);
    let actions = bench.step(Event::HangUp { side: Client, fault: Some(Fault::Reset) });
    assert_eq!(actions, closes(Farewell::Reset, Farewell::Reset));
}

#[test]
fn a_client_that_hangs_up_before_it_was_told_eof_is_gone_once_its_bytes_are_passed_on() {
    let mut bench = relaying();
    bench.from(Client, b"abc");
    bench.sent(Server, Ok(1));
    let hung_up = || Event::HangUp { side: Client, fault: None };
    assert_eq!(bench.step(hung_up()), []);
    bench.sent_all(Server, 2);
    bench.eof(Client);
    assert_eq!(bench.step(Event::Deadline)[0], Action::Await(Client, Readiness::HangUp));
    assert_eq!(bench.step(hung_up()), closes(Farewell::Reset, Farewell::Reset));
    assert_ends(&mut bench, CloseReason::ClientReset);
}

fn assert_forwards_reset(bench: &mut Bench, actions: &[Action], reason: CloseReason) {
    let expected = [
        Action::Close(Server, Farewell::Reset),
        Action::Await(Client, Readiness::HangUp),
        Action::AskUnsent(Client),
    ];
    assert_eq!(actions, expected);
    assert_eq!(bench.step(Event::Closed(Server)), []);
    // The client may still send and close; it is reset once it has everything.
    assert_eq!(bench.from(Client, b"abc"), [Action::Release(BUFFER)]);
    assert_eq!(bench.eof(Client), []);
    assert!(matches!(bench.step(Event::Unsent(Client, Ok(1)))[..], [Action::Deadline { .. }]));
    assert_eq!(bench.step(Event::Deadline), [Action::AskUnsent(Client)]);
    let resets = [Action::NoDeadline, Action::Close(Client, Farewell::Reset)];
    assert_eq!(bench.step(Event::Unsent(Client, Ok(0))), resets);
    assert_eq!(bench.step(Event::Closed(Client)), [Action::End(reason)]);
}

#[test]
fn a_servers_reset_reaches_the_client_behind_what_came_before() {
    let mut bench = relaying();
    let actions = bench.fault(Server, Fault::Reset);
    assert_forwards_reset(&mut bench, &actions, CloseReason::ServerReset);

    let mut bench = relaying();
    let actions = bench.fault(Server, Fault::Unreachable);
    assert_forwards_reset(&mut bench, &actions, CloseReason::ServerLost);

    // It had said EOF before.
    let mut bench = relaying();
    bench.eof(Server);
    bench.from(Client, b"abc");
    let actions = bench.sent(Server, Err(Fault::Broken));
    assert_forwards_reset(&mut bench, &actions[1..], CloseReason::ServerReset);
}

#[test]
fn a_servers_reset_that_a_send_sees_first_is_no_eof() {
    for (fault, reason) in
        [(Fault::Reset, CloseReason::ServerReset), (Fault::TimedOut, CloseReason::ServerLost)]
    {
        let mut bench = relaying();
        bench.from(Client, b"abc");
        let waits = Action::Await(Client, Readiness::HangUp);
        let actions = bench.sent(Server, Err(fault));
        assert_eq!(actions[..2], [Action::Release(BUFFER), waits]);
        // Its half still brings what it said before, and then what looks like EOF.
        assert_eq!(bench.from(Server, b"last"), [send(Client, 4)]);
        assert_eq!(bench.sent(Client, Ok(4)), [Action::Release(BUFFER), receive(Server)]);
        let actions = bench.eof(Server);
        assert_forwards_reset(&mut bench, &actions, reason);
    }
    // A send that was cut short has lost the reason.
    let mut bench = relaying();
    bench.from(Client, b"abc");
    bench.sent(Server, Ok(1));
    bench.sent_all(Server, 1);
    let actions = bench.eof(Server);
    assert_forwards_reset(&mut bench, &actions, CloseReason::ServerReset);
    // A send that found the connection broken knows nothing: a receive does.
    let mut bench = relaying();
    bench.from(Client, b"abc");
    bench.sent(Server, Err(Fault::Broken));
    let actions = bench.fault(Server, Fault::Reset);
    assert_forwards_reset(&mut bench, &actions, CloseReason::ServerReset);
}

#[test]
fn a_send_that_fails_though_the_server_is_there_ends_the_session() {
    for fault in [Fault::NoMemory, Fault::NoBuffers, Fault::Other(5)] {
        let mut bench = relaying();
        bench.from(Client, b"abc");
        let actions = bench.sent(Server, Err(fault));
        assert_eq!(actions[0], Action::Release(BUFFER));
        assert_forwards_reset(&mut bench, &actions[1..], CloseReason::Failed);
    }
}

#[test]
fn a_call_that_fails_is_no_peers_reset() {
    for (fault, reason) in [
        (Fault::NoMemory, CloseReason::Failed),
        (Fault::Other(5), CloseReason::Failed),
        (Fault::TimedOut, CloseReason::ClientLost),
        (Fault::Reset, CloseReason::ClientReset),
    ] {
        let resets = closes(Farewell::Reset, Farewell::Reset);
        let mut bench = relaying();
        assert_eq!(bench.step(Event::HangUp { side: Client, fault: Some(fault) }), resets);
        assert_ends(&mut bench, reason);
        let mut bench = relaying();
        assert_eq!(bench.fault(Client, fault), resets);
        assert_ends(&mut bench, reason);
    }
    let mut bench = relaying();
    let actions = bench.fault(Server, Fault::NoMemory);
    assert_forwards_reset(&mut bench, &actions, CloseReason::Failed);
}

#[test]
fn a_client_that_has_said_eof_gets_what_came_before_a_servers_reset() {
    let mut bench = relaying();
    bench.eof(Server);
    let error = Event::HangUp { side: Server, fault: Some(Fault::Reset) };
    assert_eq!(bench.step(error)[0], Action::Close(Server, Farewell::Reset));
    assert!(matches!(bench.step(Event::Unsent(Client, Ok(1)))[..], [Action::Deadline { .. }]));
    assert_eq!(bench.step(Event::HangUp { side: Client, fault: None }), []);
    let actions = bench.step(Event::HangUp { side: Client, fault: Some(Fault::Reset) });
    assert_eq!(actions, [Action::NoDeadline, Action::Close(Client, Farewell::Reset)]);
}

#[test]
fn a_client_that_never_acknowledges_is_reset_in_time() {
    let mut bench = relaying();
    bench.fault(Server, Fault::Reset);
    let is_waited_for = |bench: &mut Bench, unsent, wait_ms: u64| {
        bench.now_us += wait_ms * 1_000;
        let actions = bench.step(Event::Unsent(Client, Ok(unsent)));
        matches!(actions[..], [Action::Deadline { .. }])
    };
    // As long as it goes on acknowledging, it is waited for.
    for unsent in (1..500).rev() {
        assert!(is_waited_for(&mut bench, unsent, 20));
    }
    // A process that was stopped for an hour has not looked meanwhile.
    assert!(is_waited_for(&mut bench, 1, 3_600_000));
    for _ in 1..5_000 / 20 {
        assert!(is_waited_for(&mut bench, 1, 20));
    }
    let actions = bench.step(Event::Unsent(Client, Ok(1)));
    assert_eq!(actions, [Action::NoDeadline, Action::Close(Client, Farewell::Reset)]);
}

#[test]
fn a_server_that_broke_and_ends_lets_the_client_read() {
    let mut bench = relaying();
    bench.from(Client, b"abc");
    bench.sent(Server, Err(Fault::Broken));
    let actions = bench.eof(Server);
    let receives = Action::Receive { side: Client, patience: Patience::Try };
    assert!(matches!(actions[0], Action::Deadline { .. }));
    assert_eq!(actions[1..], [Action::Shutdown(Client), receives]);
    let actions = bench.step(Event::Deadline);
    assert_closes(&mut bench, &actions, CloseReason::ServerClosed);
}

#[test]
fn a_short_send_of_owned_bytes_means_it_broke() {
    let mut bench = relaying();
    bench.from(Server, b"abc");
    bench.sent(Client, Ok(1));
    let actions = bench.sent_all(Client, 1);
    assert_eq!(actions, closes(Farewell::Reset, Farewell::Reset));
}

#[test]
fn stopping_closes_both_sides() {
    let mut bench = relaying();
    let actions = bench.step(Event::Stop);
    assert_eq!(bench.step(Event::Stop), []);
    assert_eq!(bench.from(Client, b"late"), [Action::Release(BUFFER)]);
    assert_eq!(bench.sent(Client, Ok(1)), [Action::Release(BUFFER)]);
    assert_closes(&mut bench, &actions, CloseReason::Stopped);
}

/// Small reads, all passed on; what follows the last.
fn messages(bench: &mut Bench, from: Side, count: usize) -> Action {
    let passed = (0..count).map(|_| {
        assert_eq!(bench.from(from, b"abc"), [send(from.opposite(), 3)]);
        bench.sent(from.opposite(), Ok(3)).pop()
    });
    passed.last().flatten().expect("it receives again")
}

fn streams(side: Side) -> Action {
    Action::Receive { side, patience: Patience::Stream }
}

#[test]
fn messages_make_a_stream_and_a_full_buffer_ends_it() {
    let mut bench = relaying();
    assert_eq!(messages(&mut bench, Server, 3), receive(Server));
    assert_eq!(messages(&mut bench, Server, 1), streams(Server));
    bench.received(Server, b"12345678", Rest::Streaming);
    let tries = Action::Receive { side: Server, patience: Patience::Try };
    assert_eq!(bench.sent(Client, Ok(8)), [Action::Release(BUFFER), tries]);
    bench.from(Server, b"abc");
    assert_eq!(bench.sent(Client, Ok(3)), [Action::Release(BUFFER), receive(Server)]);
}

#[test]
fn what_a_stream_may_have_received_already_is_not_overtaken_by_splicing() {
    let mut bench = relaying();
    messages(&mut bench, Server, 4);
    for _ in 0..5 {
        bench.received(Server, b"12345678", Rest::Streaming);
        let tries = Action::Receive { side: Server, patience: Patience::Try };
        assert_eq!(bench.sent(Client, Ok(8)), [Action::Release(BUFFER), tries]);
    }
    let actions = bench.bulk(Server);
    assert_eq!(actions.last(), Some(&Action::Await(Server, Readiness::Readable)));
}

#[test]
fn bytes_in_no_buffer_are_sent_as_a_copy() {
    let mut bench = relaying();
    let result = Ok(&b"abc"[..]);
    let kept = Event::Received { side: Client, result, buffer: None, rest: Rest::Streaming };
    let bytes = b"abc".to_vec();
    assert_eq!(bench.step(kept), [Action::SendAll { to: Server, bytes }]);
    assert_eq!(bench.sent_all(Server, 3).len(), 1);
}

#[test]
fn what_is_watched_does_not_stream() {
    let (mut bench, _) = Bench::relaying(HTTP, UPGRADE);
    for _ in 0..8 {
        let actions = bench.from(Server, b"x");
        assert!(!actions.contains(&streams(Server)), "{actions:?}");
    }
}
