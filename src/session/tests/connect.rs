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
    bench.step(Event::Connected(Err(Fault::NoDescriptors)));
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
    session.leave(&bench.pools, 0);
    assert_eq!(bench.pools[0].servers()[0].live(), 0);
}
