//! Finding a server.

use super::*;

#[test]
fn a_server_that_fails_is_closed_and_another_tried() {
    for failure in [Event::Connected(Err(Fault::Refused)), Event::Deadline] {
        let (mut bench, _) = Bench::accept(RAW);
        assert_eq!(bench.step(failure), [Action::Close(Server, Farewell::Reset)]);
        let actions = bench.step(Event::Closed(Server));
        assert_eq!(connect_of(&actions), Some((ServerIndex(1), false)));
        assert_eq!(bench.pools[0].servers()[0].live(), 0);
        assert_eq!(bench.pools[0].servers()[1].live(), 1);
    }
}

#[test]
fn without_a_server_tcp_is_closed_and_http_answered() {
    let (mut bench, _) = Bench::accept(RAW);
    bench.step(Event::Connected(Err(Fault::Refused)));
    bench.step(Event::Closed(Server));
    bench.step(Event::Connected(Err(Fault::TimedOut)));
    let actions = bench.step(Event::Closed(Server));
    assert_closes(&mut bench, &actions, CloseReason::ConnectFailed);

    let (mut bench, _) = Bench::accept(STRICT);
    bench.from(Client, GET);
    bench.step(Event::Deadline);
    let actions = bench.step(Event::Closed(Server));
    assert_refused(&mut bench, &actions, "503", CloseReason::ConnectFailed);
}

#[test]
fn a_lost_key_is_refused_where_the_pool_is_strict() {
    let (mut bench, _) = Bench::accept(STRICT);
    let request = b"GET /socket.io/?EIO=4&transport=polling&sid=0123456789 HTTP/1.1\r\n\
        Host: a\r\n\r\n";
    let actions = bench.from(Client, request);
    assert_refused(&mut bench, &actions, "503", CloseReason::KeyLost);
}

#[test]
fn stopping_leaves_the_place() {
    let (mut bench, _) = Bench::accept(RAW);
    let actions = bench.step(Event::Stop);
    assert_closes(&mut bench, &actions, CloseReason::Stopped);
    let session = bench.session.take().unwrap();
    session.leave(CloseReason::ConnectFailed, &bench.pools, 0, 0);
    assert_eq!(bench.pools[0].servers()[0].live(), 0);
}

#[test]
fn without_a_descriptor_or_memory_the_same_servers_are_tried_after_a_pause() {
    for fault in [Fault::NoDescriptors, Fault::NoMemory, Fault::NoBuffers] {
        let (mut bench, _) = Bench::accept(RAW);
        for _ in 0..10 {
            bench.step(Event::Connected(Err(fault)));
            let until = Action::Deadline { at_ms: bench.now_us / 1000 + 100 };
            assert_eq!(bench.step(Event::Closed(Server)), [until]);
            assert!(bench.pools[0].servers().iter().all(|server| server.live() == 0));
            bench.now_us += 100_000;
            assert!(connect_of(&bench.step(Event::Deadline)).is_some());
        }
        assert_eq!(bench.session.as_ref().unwrap().about().retries, 0);
    }
}

#[test]
fn a_shortage_that_lasts_ends_the_session_in_the_time_a_connect_has() {
    let (mut bench, _) = Bench::accept(RAW);
    let mut waited_ms = 0;
    let actions = loop {
        bench.step(Event::Connected(Err(Fault::NoDescriptors)));
        let actions = bench.step(Event::Closed(Server));
        let &[Action::Deadline { at_ms }] = &actions[..] else { break actions };
        waited_ms += at_ms - bench.now_us / 1000;
        bench.now_us = at_ms * 1000;
        bench.step(Event::Deadline);
    };
    assert_eq!(waited_ms, 2_000);
    assert_closes(&mut bench, &actions, CloseReason::Exhausted);
}

#[test]
fn a_server_without_ports_is_passed_over_and_tried_again_with_the_others() {
    let (mut bench, actions) = Bench::accept(RAW);
    assert_eq!(connect_of(&actions), Some((ServerIndex(0), false)));
    bench.step(Event::Connected(Err(Fault::NoPorts)));
    let actions = bench.step(Event::Closed(Server));
    assert_eq!(connect_of(&actions), Some((ServerIndex(1), false)));
    bench.step(Event::Connected(Err(Fault::NoPorts)));
    let until = Action::Deadline { at_ms: bench.now_us / 1000 + 100 };
    assert_eq!(bench.step(Event::Closed(Server)), [until]);
    let actions = bench.step(Event::Deadline);
    assert_eq!(connect_of(&actions), Some((ServerIndex(0), false)));
    assert_eq!(bench.session.as_ref().unwrap().about().retries, 0);
}

#[test]
fn a_shortage_of_ports_loses_no_key_and_a_failure_behind_it_still_counts() {
    let (mut bench, _) = Bench::accept(STRICT);
    bench.from(Client, GET);
    bench.step(Event::Connected(Err(Fault::NoPorts)));
    assert!(matches!(bench.step(Event::Closed(Server))[..], [Action::Deadline { .. }]));
    assert!(connect_of(&bench.step(Event::Deadline)).is_some());
    bench.step(Event::Connected(Err(Fault::Refused)));
    let actions = bench.step(Event::Closed(Server));
    assert_refused(&mut bench, &actions, "503", CloseReason::ConnectFailed);
}
