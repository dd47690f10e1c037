//! From accept to the choice of a pool.

use super::*;

#[test]
fn a_denied_client_is_closed_before_a_byte_is_read() {
    let (mut bench, actions) = Bench::accept_from(RAW, [10, 9, 1, 1]);
    assert_closes(&mut bench, &actions, CloseReason::Denied);
}

#[test]
fn nothing_to_peek_at_connects_at_once() {
    let (_, actions) = Bench::accept(RAW);
    assert_eq!(connect_of(&actions), Some((ServerIndex(0), false)));
    assert!(!actions.iter().any(|action| matches!(action, Action::Receive { .. })));
}

#[test]
fn a_proxy_header_comes_first_and_names_the_client() {
    let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\nhello";
    for cut in 1..header.len() {
        let (mut bench, actions) = Bench::accept_from(RAW, [10, 8, 0, 1]);
        assert!(matches!(actions[..], [Action::Deadline { .. }, Action::Receive { .. }]));
        let mut actions = bench.from(Client, &header[..cut]);
        if connect_of(&actions).is_none() {
            actions = bench.from(Client, &header[cut..]);
        }
        assert!(connect_of(&actions).is_some(), "{cut}");
        let about = bench.session.as_ref().unwrap().about();
        assert_eq!(about.client, Some("192.0.2.1:5".parse().unwrap()));
    }
    let (mut bench, _) = Bench::accept_from(RAW, [10, 8, 0, 1]);
    let actions = bench.from(Client, b"hello");
    assert_closes(&mut bench, &actions[1..], CloseReason::ProxyMalformed);
}

#[test]
fn auto_waits_its_time_for_a_first_byte_behind_a_late_proxy_header() {
    let (mut bench, _) = Bench::accept_from(AUTO, [10, 8, 0, 1]);
    bench.now_us += 1_000_000;
    let actions = bench.from(Client, b"PROXY UNKNOWN\r\n");
    let Action::Deadline { at_ms } = actions[1] else { panic!("{actions:?}") };
    assert!(at_ms > bench.now_us / 1000);
}

#[test]
fn a_head_in_two_pieces_connects_with_the_second() {
    for cut in 1..GET.len() {
        let (mut bench, _) = Bench::accept(HTTP);
        assert_eq!(
            bench.from(Client, &GET[..cut]),
            [Action::Release(BUFFER), receive(Client)],
            "{cut}"
        );
        assert_eq!(connect_of(&bench.from(Client, &GET[cut..])), Some((ServerIndex(0), true)));
    }
}

#[test]
fn a_client_that_goes_before_its_head_is_whole_is_closed() {
    for (listener, bytes, reason) in [
        (HTTP, &b""[..], CloseReason::ClientSilent),
        (HTTP, b"GET / HT", CloseReason::HeadIncomplete),
        (TLS, b"\x16\x03\x01", CloseReason::HeadIncomplete),
        (AUTO, b"", CloseReason::ClientSilent),
    ] {
        let (mut bench, _) = Bench::accept(listener);
        if !bytes.is_empty() {
            bench.from(Client, bytes);
        }
        let actions = bench.eof(Client);
        assert_closes(&mut bench, &actions, reason);
    }
    for (fault, reason) in [
        (Fault::Reset, CloseReason::ClientReset),
        (Fault::TimedOut, CloseReason::ClientLost),
        (Fault::Other(5), CloseReason::Failed),
    ] {
        let (mut bench, _) = Bench::accept(HTTP);
        let actions = bench.fault(Client, fault);
        assert_closes(&mut bench, &actions, reason);
    }
}

#[test]
fn a_late_head_is_answered_and_a_silent_client_closed() {
    let (mut bench, _) = Bench::accept(HTTP);
    let actions = bench.step(Event::Deadline);
    assert_closes(&mut bench, &actions, CloseReason::ClientSilent);

    let (mut bench, _) = Bench::accept(HTTP);
    bench.from(Client, b"GET / HT");
    let actions = bench.step(Event::Deadline);
    let Some(Action::SendAll { bytes, .. }) = actions.last() else { panic!("{actions:?}") };
    // The receive is pending still, so none is asked for.
    let sent = bytes.len() as u32;
    assert!(bytes.starts_with(b"HTTP/1.1 408 "));
    assert_eq!(bench.sent_all(Client, sent), [Action::Shutdown(Client)]);
    let actions = bench.eof(Client);
    assert_closes(&mut bench, &actions, CloseReason::HeadLate);

    let (mut bench, _) = Bench::accept(TLS);
    bench.from(Client, b"\x16\x03\x01");
    let actions = bench.step(Event::Deadline);
    assert_closes(&mut bench, &actions, CloseReason::HeadLate);
}

#[test]
fn an_answer_is_sent_before_an_eof_ends_the_session() {
    let (mut bench, _) = Bench::accept(HTTP);
    bench.from(Client, b"GET / HT");
    bench.step(Event::Deadline);
    assert_eq!(bench.eof(Client), []);
    let actions = bench.sent_all(Client, 1);
    assert_closes(&mut bench, &actions, CloseReason::HeadLate);
}

#[test]
fn bad_heads_are_refused() {
    let (mut bench, _) = Bench::accept(HTTP);
    let actions = bench.from(Client, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_refused(&mut bench, &actions, "400", CloseReason::HeadMalformed);

    let (mut bench, _) = Bench::accept(HTTP);
    let mut actions = Vec::new();
    while !matches!(actions.last(), Some(Action::SendAll { .. })) {
        actions = bench.from(Client, if actions.is_empty() { b"GET /" } else { &[b'a'; 999] });
    }
    assert_refused(&mut bench, &actions, "431", CloseReason::HeadTooLarge);

    let (mut bench, _) = Bench::accept(TLS);
    let actions = bench.from(Client, b"\x16\x03\x01\x00\x04\x01\x00\x00\x00");
    assert_closes(&mut bench, &actions[1..], CloseReason::HelloMalformed);
}

#[test]
fn what_is_no_http_goes_on_untouched() {
    let (mut bench, _) = Bench::accept(HTTP);
    bench.from(Client, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let actions = bench.step(Event::Connected(Ok(())));
    let bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    assert!(actions.contains(&Action::SendAll { to: Server, bytes }), "{actions:?}");
}

#[test]
fn auto_goes_on_without_a_byte_and_keeps_its_receive() {
    let (mut bench, _) = Bench::accept(AUTO);
    assert_eq!(connect_of(&bench.step(Event::Deadline)), Some((ServerIndex(0), false)));
    let actions = bench.step(Event::Connected(Ok(())));
    assert_eq!(actions, [Action::NoDeadline, receive(Server)]);
    assert_eq!(bench.from(Client, b"late"), [send(Server, 4)]);
}

#[test]
fn auto_holds_what_comes_while_its_first_bytes_are_sent() {
    let (mut bench, _) = Bench::accept(AUTO);
    bench.from(Client, b"GET /");
    assert_eq!(connect_of(&bench.step(Event::Deadline)), Some((ServerIndex(0), true)));
    bench.step(Event::Connected(Ok(())));
    assert_eq!(bench.from(Client, b"2nd"), [Action::Release(BUFFER), receive(Client)]);
    assert!(matches!(bench.eof(Client)[..], [Action::Deadline { .. }]));
    let second = Action::SendAll { to: Server, bytes: b"2nd".to_vec() };
    assert_eq!(bench.sent_all(Server, 5), [second]);
    let actions = bench.sent_all(Server, 3);
    assert!(matches!(actions[..], [Action::Shutdown(Server), Action::Deadline { .. }]));
}

#[test]
fn auto_takes_bytes_and_eof_while_it_connects() {
    let (mut bench, _) = Bench::accept(AUTO);
    bench.step(Event::Deadline);
    assert_eq!(bench.from(Client, b"one"), [Action::Release(BUFFER)]);
    let first = Action::SendAll { to: Server, bytes: b"one".to_vec() };
    let look = Action::Deadline { at_ms: 2_000 };
    let actions = [Action::NoDeadline, first, look, receive(Server)];
    assert_eq!(bench.step(Event::Connected(Ok(()))), actions);
    assert_eq!(bench.sent_all(Server, 3), [receive(Client)]);

    let (mut bench, _) = Bench::accept(AUTO);
    bench.step(Event::Deadline);
    bench.eof(Client);
    let look = Action::Deadline { at_ms: 2000 };
    let actions = [Action::NoDeadline, Action::Shutdown(Server), look, receive(Server)];
    assert_eq!(bench.step(Event::Connected(Ok(()))), actions);
}

#[test]
fn a_clients_reset_while_it_connects_resets_the_server() {
    for (fault, reason) in
        [(Fault::Reset, CloseReason::ClientReset), (Fault::TimedOut, CloseReason::ClientLost)]
    {
        let (mut bench, _) = Bench::accept(AUTO);
        bench.step(Event::Deadline);
        assert_eq!(bench.fault(Client, fault), closes(Farewell::Reset, Farewell::Reset));
        assert_ends(&mut bench, reason);
    }
}

/// A listener at which clients have spoken first so often that they are waited for.
fn client_first() -> Bench {
    let mut bench = Bench::new();
    for _ in 0..8 {
        let actions = bench.accepted(RAW);
        assert_eq!(connect_of(&actions).map(|(_, data_in_hand)| data_in_hand), Some(false));
        bench.step(Event::Connected(Ok(())));
        bench.from(Client, b"hi");
    }
    bench
}

#[test]
fn first_bytes_are_waited_for_where_clients_speak_first() {
    let mut bench = client_first();
    assert_eq!(bench.accepted(RAW), [receive(Client), Action::Deadline { at_ms: 1010 }]);
    let actions = bench.from(Client, b"hi");
    assert!(actions.contains(&Action::Release(BUFFER)));
    assert_eq!(connect_of(&actions).map(|(_, data_in_hand)| data_in_hand), Some(true));
    let first = Action::SendAll { to: Server, bytes: b"hi".to_vec() };
    assert!(bench.step(Event::Connected(Ok(()))).contains(&first));
    assert_eq!(bench.session.unwrap().about().received, [2, 0]);
}

#[test]
fn a_client_that_does_not_speak_is_connected_all_the_same() {
    let mut bench = client_first();
    bench.accepted(RAW);
    let actions = bench.step(Event::Deadline);
    assert_eq!(connect_of(&actions).map(|(_, data_in_hand)| data_in_hand), Some(false));
    // The client's receive is pending still.
    assert_eq!(bench.step(Event::Connected(Ok(()))).last(), Some(&receive(Server)));

    // Its server spoke first: the next one is not waited for.
    bench.from(Server, b"220 ready");
    let actions = bench.accepted(RAW);
    assert_eq!(connect_of(&actions).map(|(_, data_in_hand)| data_in_hand), Some(false));
}

#[test]
fn a_client_that_says_nothing_but_eof_is_connected_and_one_that_resets_is_not() {
    let mut bench = client_first();
    bench.accepted(RAW);
    assert!(connect_of(&bench.eof(Client)).is_some());
    assert!(bench.step(Event::Connected(Ok(()))).contains(&Action::Shutdown(Server)));

    bench.accepted(RAW);
    let actions = bench.fault(Client, Fault::Reset);
    assert_closes(&mut bench, &actions, CloseReason::ClientReset);
}
