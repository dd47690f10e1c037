//! What a session adds to the counts of its listener, pool and server, and when.

use super::*;
use crate::metrics::{ListenerTotals, PoolTotals, ServerTotals};

impl Bench {
    fn listener(&self, listener: u16) -> ListenerTotals {
        ListenerTotals::of(&self.listeners[usize::from(listener)])
    }

    fn pool(&self, name: &str) -> (&Pool, PoolTotals) {
        let pool = self.pools.iter().find(|pool| pool.name() == name).unwrap();
        (pool, pool.totals())
    }

    fn servers(&self, name: &str) -> Vec<ServerTotals> {
        self.pool(name).0.servers().iter().map(crate::pool::Server::totals).collect()
    }

    fn leave(&mut self, reason: CloseReason) {
        let session = self.session.take().unwrap();
        session.leave(reason, &self.pools, 0, self.now_us);
    }
}

fn bytes(totals: &[ServerTotals]) -> Vec<(u64, u64)> {
    totals.iter().map(|server| (server.bytes_up, server.bytes_down)).collect()
}

#[test]
fn bytes_are_counted_as_they_come() {
    let (mut bench, _) = Bench::relaying(RAW, b"");
    bench.from(Client, b"12345");
    let totals = bench.listener(RAW);
    assert_eq!((totals.bytes_up, totals.bytes_down), (5, 0));
    bench.sent(Server, Ok(5));
    bench.from(Server, b"123");
    let totals = bench.listener(RAW);
    assert_eq!((totals.bytes_up, totals.bytes_down), (5, 3));
    assert_eq!(bytes(&bench.servers("raw")), [(5, 3), (0, 0)]);
}

#[test]
fn spliced_bytes_are_counted_as_they_come() {
    let (mut bench, _) = Bench::relaying(RAW, b"");
    bench.bulk(Client);
    bench.step(Event::Pipe(Client, Ok(())));
    bench.step(Event::SplicedIn(Client, Ok(30)));
    assert_eq!(bench.listener(RAW).bytes_up, 16 + 30);
    assert_eq!(bytes(&bench.servers("raw")), [(46, 0), (0, 0)]);
}

#[test]
fn a_head_is_the_listeners_at_once_and_the_servers_once_it_is_connected() {
    let (mut bench, _) = Bench::accept(HTTP);
    bench.from(Client, GET);
    let len = GET.len() as u64;
    assert_eq!(bench.listener(HTTP).bytes_up, len);
    assert_eq!(bytes(&bench.servers("sid")), [(0, 0), (0, 0)]);
    bench.now_us += 700;
    bench.step(Event::Connected(Ok(())));
    assert_eq!(bytes(&bench.servers("sid")), [(len, 0), (0, 0)]);
    let (_, totals) = bench.pool("sid");
    assert_eq!((totals.connects.count(), totals.connects.sum_us), (1, 700));
    assert_eq!(bench.servers("sid")[0].connects, totals.connects);
    assert_eq!(totals.picks[How::Balanced as usize], 1);
    assert_eq!((totals.key_hits, totals.key_misses), (0, 0), "a handshake has no key yet");
}

#[test]
fn what_was_tried_in_vain_is_counted_at_its_server() {
    let (mut bench, _) = Bench::accept(RAW);
    bench.step(Event::Connected(Err(Fault::Refused)));
    bench.now_us += 100;
    bench.step(Event::Closed(Server));
    bench.now_us += 400;
    bench.step(Event::Connected(Ok(())));
    let (_, totals) = bench.pool("raw");
    assert_eq!((totals.retries, totals.picks[How::Balanced as usize]), (1, 2));
    // That of the try that succeeded alone.
    assert_eq!((totals.connects.count(), totals.connects.sum_us), (1, 400));
    let servers = bench.servers("raw");
    assert_eq!(servers[0].failures[Failure::Refused as usize], 1);
    assert_eq!((servers[0].connects.count(), servers[1].connects.count()), (0, 1));
}

#[test]
fn an_early_reset_is_counted_at_its_server() {
    let (mut bench, _) = Bench::relaying(RAW, b"");
    bench.leave(CloseReason::ServerReset);
    let failures = bench.servers("raw")[0].failures;
    assert_eq!(failures[Failure::EarlyReset as usize], 1);
    let (_, totals) = bench.pool("raw");
    assert_eq!(totals.closed[CloseReason::ServerReset as usize], 1);
    assert_eq!(totals.lives.count(), 1);
}

#[test]
fn a_key_is_a_hit_or_a_miss_once() {
    let sid = |sid: &str| {
        format!("GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: a\r\n\r\n")
    };
    let (mut bench, _) = Bench::relaying(HTTP, GET);
    bench.from(Server, b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n0{\"sid\":\"abcd\"}");
    assert_eq!(bench.pool("sid").1.learned, 1);
    bench.accepted(HTTP);
    bench.from(Client, sid("abcd").as_bytes());
    bench.accepted(HTTP);
    bench.from(Client, sid("never-learned").as_bytes());
    bench.step(Event::Connected(Err(Fault::Refused)));
    bench.step(Event::Closed(Server));
    let (_, totals) = bench.pool("sid");
    assert_eq!((totals.key_hits, totals.key_misses), (1, 1));
    bench.accepted(STRICT);
    bench.from(Client, sid("never-learned").as_bytes());
    let (_, totals) = bench.pool("strict");
    assert_eq!((totals.key_hits, totals.key_misses), (0, 1));
    bench.leave(CloseReason::KeyLost);
    assert_eq!(bench.pool("strict").1.closed[CloseReason::KeyLost as usize], 1);
}

#[test]
fn what_comes_behind_the_one_request_is_counted_once() {
    let (mut bench, _) = Bench::relaying(HTTP, GET);
    for _ in 0..2 {
        bench.from(Client, GET);
    }
    assert_eq!(bench.pool("sid").1.surplus, 1);
    bench.accepted(HTTP);
    bench.from(Client, &[GET, GET].concat());
    bench.step(Event::Connected(Ok(())));
    assert_eq!(bench.pool("sid").1.surplus, 2);
}

#[test]
fn who_waits_for_a_place_is_counted() {
    let (mut bench, _) = Bench::relaying(QUEUED, b"");
    let first = bench.session.take();
    bench.accepted(QUEUED);
    assert_eq!(bench.pool("queued").1.queued, 1);
    bench.leave(CloseReason::Stopped);
    bench.session = first;
    bench.leave(CloseReason::Stopped);
}
