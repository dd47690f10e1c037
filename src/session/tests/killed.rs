//! A session that an operator closes ends at once, wherever it is on its way.

use super::*;

/// Both sides are reset, and the session ends as killed.
#[track_caller]
fn assert_killed(bench: &mut Bench, phase: &str) {
    assert_eq!(bench.session.as_ref().unwrap().phase(), phase);
    let actions = bench.step(Event::Kill);
    assert_eq!(actions, closes(Farewell::Reset, Farewell::Reset), "{phase}");
    assert!(bench.session.as_ref().unwrap().is_closing());
    assert_eq!(bench.step(Event::Kill), [], "once is enough");
    assert_ends(bench, CloseReason::Killed);
}

#[test]
fn a_session_is_closed_in_every_phase() {
    let (mut peeking, _) = Bench::accept(HTTP);
    peeking.from(Client, b"GET /");
    assert_killed(&mut peeking, "peek");

    let (mut connecting, _) = Bench::accept(RAW);
    assert_killed(&mut connecting, "connect");

    let (mut relaying, _) = Bench::relaying(RAW, b"");
    relaying.from(Server, b"123");
    assert_killed(&mut relaying, "relay");

    let (mut refusing, _) = Bench::accept(HTTP);
    refusing.from(Client, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_killed(&mut refusing, "refuse");

    let (mut parting, _) = Bench::relaying(RAW, b"");
    parting.step(Event::Retire);
    assert_killed(&mut parting, "part");

    let (mut forwarding, _) = Bench::relaying(RAW, b"");
    forwarding.fault(Server, Fault::Reset);
    assert_eq!(forwarding.session.as_ref().unwrap().phase(), "forward_reset");
    forwarding.step(Event::Closed(Server));
    forwarding.step(Event::Kill);
    forwarding.step(Event::Closed(Client));
    // The server's side is closed once more, which says so at once.
    assert_eq!(forwarding.step(Event::Closed(Server)), [Action::End(CloseReason::Killed)]);
}

#[test]
fn who_is_killed_in_the_queue_leaves_it() {
    let (mut bench, _) = Bench::relaying(QUEUED, b"");
    let first = bench.session.take();
    bench.accepted(QUEUED);
    let pool = bench.pools.iter().position(|pool| pool.name() == "queued").unwrap();
    assert_eq!(bench.pools[pool].waiting(), 1);
    assert_killed(&mut bench, "queue");
    assert_eq!(bench.pools[pool].waiting(), 0);
    bench.session = first;
    assert_killed(&mut bench, "relay");
}

#[test]
fn how_its_halves_move_bytes_is_seen() {
    let (mut bench, _) = Bench::accept(RAW);
    assert_eq!(bench.session.as_ref().unwrap().modes(), None);
    bench.step(Event::Connected(Ok(())));
    assert_eq!(bench.session.as_ref().unwrap().modes(), Some([Mode::Copy; 2]));
    bench.bulk(Server);
    assert_eq!(bench.session.as_ref().unwrap().modes(), Some([Mode::Copy, Mode::Splice]));
}
