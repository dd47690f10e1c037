//! Which server: by each way of balancing, and by what was learned.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use criterion::{BenchmarkId, Criterion};
use ringway::config::{self, Address, Checked, Config};
use ringway::peek::http_head::{HeadScanner, Peeked};
use ringway::pool::{Duty, How, Key, Pool, ServerIndex, ServerSpec, Tried};

use crate::HEAD_MAX;

/// Learned keys of a very busy balancer: as many as a table keeps by default.
const SIDS: u32 = 1_000_000;
/// Clients in turn, so that hashes lead to other places.
const CLIENTS: u32 = 4096;
/// Odd and without a pattern: its multiples pass for random numbers.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// A configuration with one listener and one pool with these keys.
pub(crate) fn config(pool: &str) -> Config {
    let text = format!(
        r#"{{"listeners": [{{"bind": "127.0.0.1:80"}}],
             "pools": {{"app": {{{pool}, "servers": ["10.0.0.1:80"]}}}}}}"#
    );
    let Checked { config, .. } = config::parse(&text).expect("the file is right");
    config
}

/// The pool of that configuration with so many servers.
pub(crate) fn pool(keys: &str, servers: u32) -> Pool {
    let spec = |number: u32| {
        let ip = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number);
        let address = SocketAddr::new(ip.into(), 80);
        let id = address.to_string();
        ServerSpec {
            address: Address::Tcp(address),
            id,
            weight: 1,
            backup: false,
            max_connections: None,
            duty: Duty::Ready,
        }
    };
    Pool::new(&config(keys).pools[0], (1..=servers).map(spec).collect())
}

/// Picked and released.
pub(crate) fn pick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick");
    let first = Ipv4Addr::new(192, 0, 2, 1).to_bits();
    for name in ["round_robin", "least_conn", "random_two", "hash"] {
        for servers in [4, 64, 1024] {
            let pool = pool(&format!("\"balance\": \"{name}\""), servers);
            let key = pool.key(None, None);
            let tried = Tried::default();
            let (mut number, mut random) = (0, 0_u64);
            group.bench_function(BenchmarkId::new(name, servers), |bencher| {
                bencher.iter(|| {
                    number = (number + 1) % CLIENTS;
                    random = random.wrapping_add(STRIDE);
                    let client = IpAddr::V4(Ipv4Addr::from_bits(first + number));
                    let pick = pool.pick(&key, Some(black_box(client)), &tried, random, 0);
                    pool.release(pick.expect("a server").server);
                });
            });
        }
    }
    group.finish();
}

fn sid(number: u32) -> String {
    format!("lv_VI97HAXpY6{number:07}")
}

/// What a pool sees in a poll with this sid.
fn key(pool: &Pool, sid: &str) -> Key {
    let head = format!("GET /socket.io/?EIO=4&sid={sid} HTTP/1.1\r\nHost: a\r\n\r\n");
    match HeadScanner::default().scan(head.as_bytes(), HEAD_MAX) {
        Peeked::Head(head) => pool.key(Some(&head), None),
        other => panic!("{other:?} is no head"),
    }
}

/// Looked up in a table that no cache holds: keys are scattered over it by their hash.
pub(crate) fn learned(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("learned_1m");
    let pool = pool("\"sticky\": \"socketio\"", 4);
    let known = |number: u32| {
        let sid = sid(number);
        let held = pool.learn(sid.as_bytes(), ServerIndex((number % 4) as u16), 0);
        pool.let_go(held.expect("it is kept"), 0);
        key(&pool, &sid)
    };
    let hits: Vec<Key> = (0..SIDS).map(known).collect();
    assert_eq!(pool.learned(), SIDS as usize, "the table keeps them all");
    // As many are enough here: what is not found touches no entry.
    let misses: Vec<Key> = (SIDS..SIDS + SIDS / 8).map(|n| key(&pool, &sid(n))).collect();
    let tried = Tried::default();
    let mut at = 0;
    group.bench_function("hit", |bencher| {
        bencher.iter(|| {
            at = (at + 1) % hits.len();
            let pick = pool.pick(&hits[at], None, &tried, 1, 0).expect("a server");
            pool.let_go(pick.held.expect("the sid is known"), 0);
            pool.release(pick.server);
        });
    });
    // And then placed by round robin.
    group.bench_function("miss", |bencher| {
        bencher.iter(|| {
            at = (at + 1) % misses.len();
            let pick = pool.pick(&misses[at], None, &tried, 1, 0).expect("a server");
            assert!(pick.how == How::Redispatched);
            pool.release(pick.server);
        });
    });
    group.finish();
}
