//! Waiting for a place at a server.

use super::*;

/// A session of a pool whose only server has its one session; the place is that of another.
fn waiting(listener: u16, head: &[u8]) -> (Bench, Vec<Action>) {
    let mut bench = Bench::new();
    let pool = bench.full(listener);
    let mut actions = bench.accepted(listener);
    if !head.is_empty() {
        actions = bench.from(Client, head);
    }
    assert_eq!(bench.pools[pool].waiting(), 1);
    (bench, actions)
}

impl Bench {
    /// Takes every place of the pool of a listener.
    fn full(&mut self, listener: u16) -> usize {
        let pool = usize::from(self.config.listeners[usize::from(listener)].pool.0);
        assert_eq!(self.pools[pool].servers()[0].live(), 0);
        self.take(pool);
        pool
    }

    fn take(&self, pool: usize) {
        let pool = &self.pools[pool];
        let pick = pool.pick(&pool.key(None, None), None, &crate::pool::Tried::default(), 0, 0);
        assert!(pick.unwrap().in_flight);
        pool.connect_over();
    }

    fn deadline_after(&mut self, wait_ms: u64) -> Vec<Action> {
        self.now_us += wait_ms * 1000;
        self.step(Event::Deadline)
    }
}

fn queued(bench: &Bench) -> usize {
    usize::from(bench.config.listeners[usize::from(QUEUED)].pool.0)
}

#[test]
fn who_finds_no_place_waits_for_one_and_for_a_reset() {
    let (mut bench, actions) = waiting(QUEUED, b"");
    let look = |bench: &Bench| Action::Deadline { at_ms: bench.now_us / 1000 + 16 };
    assert_eq!(actions, [Action::Await(Client, Readiness::HangUp), look(&bench)]);
    let actions = bench.deadline_after(16);
    assert_eq!(actions, [look(&bench)]);
    let pool = queued(&bench);
    bench.pools[pool].release(ServerIndex(0));
    let actions = bench.deadline_after(16);
    assert_eq!(connect_of(&actions), Some((ServerIndex(0), false)));
    assert_eq!((bench.pools[pool].waiting(), bench.pools[pool].connecting()), (0, 1));
    bench.step(Event::Connected(Ok(())));
    assert_eq!(bench.pools[pool].connecting(), 0);
    assert_eq!(bench.session.as_ref().unwrap().about().connect_us, 32_000);
}

#[test]
fn a_reset_or_a_stop_gives_up_the_place_in_the_queue() {
    let reset = Event::HangUp { side: Client, fault: Some(Fault::Reset) };
    for (event, reason, farewell) in [
        (reset, CloseReason::ClientReset, Farewell::Reset),
        (Event::Stop, CloseReason::Stopped, Farewell::Orderly),
    ] {
        let (mut bench, _) = waiting(QUEUED, b"");
        assert_eq!(bench.step(event), closes(farewell, farewell));
        assert_eq!(bench.pools[queued(&bench)].waiting(), 0);
        assert_ends(&mut bench, reason);
    }
}

#[test]
fn who_has_waited_too_long_is_refused() {
    let (mut bench, _) = waiting(QUEUED_HTTP, GET);
    let mut waited_ms = 0;
    let actions = loop {
        let actions = bench.deadline_after(16);
        waited_ms += 16;
        match actions[..] {
            [Action::Deadline { at_ms }] => assert!(at_ms <= 1_100, "{waited_ms}"),
            _ => break actions,
        }
    };
    assert_eq!(waited_ms, 112, "not before 100 ms");
    assert_eq!(bench.pools[queued(&bench)].waiting(), 0);
    assert_refused(&mut bench, &actions, "503", CloseReason::QueueTimeout);
}

#[test]
fn a_full_queue_takes_nobody() {
    let (mut bench, _) = waiting(QUEUED_HTTP, GET);
    bench.accepted(QUEUED_HTTP);
    let actions = bench.from(Client, GET);
    assert_refused(&mut bench, &actions, "503", CloseReason::QueueFull);
    let actions = bench.accepted(QUEUED);
    assert_closes(&mut bench, &actions, CloseReason::QueueFull);
    assert_eq!(bench.pools[queued(&bench)].waiting(), 1);
}

#[test]
fn a_place_does_not_go_to_who_comes_later() {
    let (mut bench, _) = waiting(QUEUED, b"");
    let first = bench.session.take();
    let pool = queued(&bench);
    bench.pools[pool].release(ServerIndex(0));
    // There is a place, but for one, and the queue has one.
    let actions = bench.accepted(QUEUED);
    assert_closes(&mut bench, &actions, CloseReason::QueueFull);
    bench.session = first;
    assert!(connect_of(&bench.deadline_after(16)).is_some());
}

#[test]
fn a_connect_that_fails_or_is_stopped_is_no_longer_in_flight() {
    let (mut bench, actions) = Bench::accept(QUEUED);
    let pool = queued(&bench);
    assert!(connect_of(&actions).is_some());
    assert_eq!(bench.pools[pool].connecting(), 1);
    bench.step(Event::Connected(Err(Fault::Refused)));
    bench.step(Event::Closed(Server));
    assert_eq!((bench.pools[pool].connecting(), bench.pools[pool].waiting()), (0, 0));

    let (mut bench, _) = Bench::accept(QUEUED);
    bench.step(Event::Stop);
    let session = bench.session.take().unwrap();
    assert!(!session.leave(CloseReason::Stopped, &bench.pools, 0, 0).in_flight);
    assert_eq!(bench.pools[pool].connecting(), 0);
}
