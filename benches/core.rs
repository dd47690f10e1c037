//! What costs time without the kernel: first bytes, picking a server, the learned table, timers,
//! and one step of a session. No sockets: `make bench-core` runs it anywhere.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringway::config::{self, Address, Balance, Checked, Config};
use ringway::hosts::Hosts;
use ringway::peek::client_hello::{HelloPeeked, HelloScanner};
use ringway::peek::http_head::{HeadScanner, Peeked};
use ringway::pool::{Key, Pool, ServerSpec, Tried};
use ringway::random::Random;
use ringway::session::{Action, Cx, Event, Habit, Rest, Session};
use ringway::slots::SlotId;
use ringway::sys::{BufferId, Side};
use ringway::timer::{TICK_MS, Wheel};

/// Largest head the listeners accept by default.
const HEAD_MAX: usize = 32 * 1024;

/// Bytes of a small message, such as a chat line in its frame.
const MESSAGE: [u8; 128] = [0x61; 128];

/// Learned keys of a busy balancer.
const SIDS: u32 = 100_000;

/// What a browser sends with a Socket.IO poll, about 600 bytes, and a cookie on top.
fn browser_head(cookie: usize) -> Vec<u8> {
    let cookie = "c".repeat(cookie);
    format!(
        "GET /socket.io/?EIO=4&transport=polling&t=PX3m2kA&sid=lv_VI97HAXpY6yYWAAAC HTTP/1.1\r\n\
         Host: chat.example.com\r\nConnection: keep-alive\r\n\
         sec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/130.0.0.0 Safari/537.36\r\nsec-ch-ua-platform: \"Linux\"\r\nAccept: */*\r\n\
         Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n\
         Referer: https://chat.example.com/\r\nAccept-Encoding: gzip, deflate, br\r\n\
         Accept-Language: en-GB,en;q=0.9\r\nCookie: theme=dark; session={cookie}\r\n\r\n"
    )
    .into_bytes()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
}

/// A ClientHello with name, protocols and padding to the 517 bytes browsers send.
fn client_hello() -> Vec<u8> {
    let host = b"chat.example.com";
    let name = [&[0, 19, 0, 0, 16][..], host].concat();
    let protocols = b"\x00\x0c\x02h2\x08http/1.1";
    let mut extensions = [extension(0, &name), extension(16, protocols)].concat();
    let fixed = 5 + 4 + 2 + 32 + 1 + 32 + 2 + 32 + 2 + 2;
    let padding = 517 - fixed - extensions.len() - 4;
    extensions.extend(extension(21, &vec![0; padding]));
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.push(32);
    hello.extend([8; 32]);
    hello.extend([&[0, 32][..], &[0x13; 32], &[1, 0]].concat());
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);
    let length = (hello.len() as u32).to_be_bytes();
    let message = [&[1][..], &length[1..], &hello].concat();
    [&[22, 3, 1][..], &(message.len() as u16).to_be_bytes(), &message].concat()
}

fn first_bytes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("peek");
    for (name, head) in [("head", browser_head(40)), ("head_14k", browser_head(14_000))] {
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let peeked = HeadScanner::default().scan(black_box(&head), HEAD_MAX);
                assert!(matches!(black_box(peeked), Peeked::Head(_)));
            });
        });
    }
    let hello = client_hello();
    group.throughput(Throughput::Bytes(hello.len() as u64));
    group.bench_function("client_hello", |bencher| {
        bencher.iter(|| {
            let peeked = HelloScanner::default().scan(black_box(&hello), HEAD_MAX);
            assert!(matches!(black_box(peeked), HelloPeeked::Hello(_)));
        });
    });
    group.finish();
}

/// A configuration with one listener and one pool with these keys.
fn config(pool: &str) -> Config {
    let text = format!(
        r#"{{"listeners": [{{"bind": "127.0.0.1:80"}}],
             "pools": {{"app": {{{pool}, "servers": ["10.0.0.1:80"]}}}}}}"#
    );
    let Checked { config, .. } = config::parse(&text).expect("the file is right");
    config
}

/// The pool of that configuration with so many servers.
fn pool(keys: &str, servers: u32) -> Pool {
    let spec = |number: u32| {
        let ip = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number);
        let address = SocketAddr::new(ip.into(), 80);
        let id = address.to_string();
        ServerSpec { address: Address::Tcp(address), id, weight: 1, backup: false }
    };
    Pool::new(&config(keys).pools[0], (1..=servers).map(spec).collect())
}

fn pick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick");
    let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    for balance in [Balance::RoundRobin, Balance::LeastConn, Balance::Hash] {
        let name = match balance {
            Balance::RoundRobin => "round_robin",
            Balance::LeastConn => "least_conn",
            Balance::RandomTwo | Balance::Hash => "hash",
        };
        for servers in [4, 64, 1024] {
            let pool = pool(&format!("\"balance\": \"{name}\""), servers);
            let key = pool.key(None, Some(client));
            let tried = Tried::default();
            group.bench_function(BenchmarkId::new(name, servers), |bencher| {
                bencher.iter(|| {
                    let pick = pool.pick(&key, Some(black_box(client)), &tried, 1, 0);
                    pool.release(pick.expect("a server").server);
                });
            });
        }
    }
    group.finish();
}

/// Keys of sids that a pool has learned.
fn learned_keys(pool: &Pool) -> Vec<Key> {
    let learn = |number: u32| {
        let sid = format!("lv_VI97HAXpY6{number:07}");
        let server = ringway::pool::ServerIndex((number % 4) as u16);
        pool.let_go(pool.learn(sid.as_bytes(), server, 0), 0);
        let head = format!("GET /socket.io/?EIO=4&sid={sid} HTTP/1.1\r\nHost: a\r\n\r\n");
        match HeadScanner::default().scan(head.as_bytes(), HEAD_MAX) {
            Peeked::Head(head) => pool.key(Some(&head), None),
            other => panic!("{other:?} is no head"),
        }
    };
    (0..SIDS).map(learn).collect()
}

fn learned(criterion: &mut Criterion) {
    let pool = pool("\"sticky\": \"socketio\"", 4);
    let keys = learned_keys(&pool);
    let tried = Tried::default();
    // A step that shares no factor with their number visits all, none soon again.
    let mut at = 0;
    criterion.bench_function("learned/lookup_of_100k", |bencher| {
        bencher.iter(|| {
            at = (at + 7_919) % keys.len();
            let pick = pool.pick(&keys[at], None, &tried, 1, 0).expect("a server");
            pool.let_go(pick.held.expect("the sid is known"), 0);
            pool.release(pick.server);
        });
    });
}

fn timer(criterion: &mut Criterion) {
    let mut wheel = Wheel::new(0);
    let mut due = Vec::new();
    let (mut now_ms, mut index) = (0, 0);
    criterion.bench_function("timer/add_and_advance", |bencher| {
        bencher.iter(|| {
            now_ms += TICK_MS;
            index = (index + 1) % 1_000_000;
            wheel.add(now_ms + 5_000, SlotId { index, generation: 1 });
            wheel.advance(black_box(now_ms), &mut due);
            due.clear();
        });
    });
}

/// What a session's steps look at, kept between them.
struct Surroundings {
    config: Config,
    pools: Vec<Pool>,
    habits: [Habit; 1],
    hosts: Hosts,
    random: Random,
    actions: Vec<Action>,
}

impl Surroundings {
    fn cx(&mut self) -> Cx<'_> {
        self.actions.clear();
        Cx {
            now_us: 1_000_000,
            config: &self.config,
            pools: &self.pools,
            habits: &mut self.habits,
            hosts: &mut self.hosts,
            random: &mut self.random,
            buffer_size: 16 * 1024,
            pipe_size: 256 * 1024,
            actions: &mut self.actions,
        }
    }
}

/// A small message through a session that relays: received from one side, sent to the other.
fn relay(criterion: &mut Criterion) {
    let keys = "\"balance\": \"round_robin\"";
    let mut around = Surroundings {
        config: config(keys),
        pools: vec![pool(keys, 4)],
        habits: [Habit::default()],
        hosts: Hosts::default(),
        random: Random::new(1),
        actions: Vec::new(),
    };
    let client = SocketAddr::from(([192, 0, 2, 1], 40_000));
    let mut session = Session::accept(0, Some(client), None, &mut around.cx());
    session.step(Event::Connected(Ok(())), &mut around.cx());
    let buffer = BufferId(0);
    let len = MESSAGE.len() as u32;
    criterion.bench_function("session/relay_one_message", |bencher| {
        bencher.iter(|| {
            let result = Ok(black_box(&MESSAGE[..]));
            let side = Side::Client;
            let received =
                Event::Received { side, result, buffer: Some(buffer), rest: Rest::Drained };
            session.step(received, &mut around.cx());
            assert!(matches!(around.actions[..], [Action::Send { .. }]));
            let sent = Event::Sent { to: Side::Server, buffer, result: Ok(len) };
            session.step(sent, &mut around.cx());
            assert!(matches!(around.actions[..], [Action::Release(_), Action::Receive { .. }]));
        });
    });
}

criterion_group!(benches, first_bytes, pick, learned, timer, relay);
criterion_main!(benches);
