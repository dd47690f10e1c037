//! One edition of the configuration after another, and listening sockets that come and go with
//! them: what the supervisor would do.

use std::net::SocketAddr;
use std::sync::Arc;

use ringway::config::{self, Address, ProxyVersion, ServerAddress};
use ringway::edition::Edition;
use ringway::pool::{Peers, ServerSpec};
use ringway::random::Random;
use ringway::sys::Fd;
use ringway::worker::{ListenerNumber, Placement, Reload};

use crate::kernel::World;
use crate::link::Draws;

/// What the clients of a listener say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    Anything,
    Hello,
    Request,
    /// One of these.
    Any,
}

/// What a listener does with its clients.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// How it reads, and what it leads to.
    rest: &'static str,
    pub(crate) speech: Speech,
    /// Clients start with a PROXY header.
    pub(crate) proxied: bool,
    /// A connection carries one request.
    pub(crate) one_request: bool,
}

const KINDS: [Kind; 10] = [
    Kind::new("none", r#""peek": "none", "pool": "raw""#, Speech::Anything),
    Kind::new("auto", r#""peek": "auto", "pool": "raw""#, Speech::Any),
    Kind::new("tls", r#""peek": "tls", "pool": "source""#, Speech::Hello),
    Kind::new("behind", r#""peek": "none", "pool": "source""#, Speech::Anything).proxied(),
    Kind::new("sid", r#""peek": "http", "pool": "sid""#, Speech::Request).one_request(),
    Kind::new(
        "cookie",
        r#""peek": "http", "pool": "cookie", "keep_alive": "one_request""#,
        Speech::Request,
    )
    .one_request(),
    Kind::new(
        "insert",
        r#""peek": "http", "pool": "insert", "keep_alive": "trust""#,
        Speech::Request,
    ),
    Kind::new("header", r#""peek": "http", "pool": "header""#, Speech::Request)
        .proxied()
        .one_request(),
    Kind::new(
        "query",
        r#""peek": "http", "pool": "query", "keep_alive": "one_request""#,
        Speech::Request,
    )
    .one_request(),
    Kind::new(DENIED, r#""peek": "none", "pool": "raw", "deny": ["10.0.0.3"]"#, Speech::Anything),
];

/// Some of whose clients are not served.
pub(crate) const DENIED: &str = "denied";

/// Pools, with the number that all their servers' addresses have in the second place. How they
/// balance is drawn, and whether they are strict where they say so.
const POOLS: [(&str, u8, &str); 7] = [
    ("raw", RAW, r#""connect_timeout_ms": 300"#),
    ("sid", 2, r#""sticky": { "by": "socketio", STRICT }"#),
    ("cookie", 3, r#""sticky": { "by": "cookie", "name": "srv", "learn": true, STRICT }"#),
    ("insert", 4, r#""sticky": { "by": "insert", "name": "srv", "secret": "secret", STRICT }"#),
    (
        "header",
        HEADED_V1,
        r#""sticky": { "by": "header", "name": "x-user", STRICT },
        "send_proxy": "v1", "forwarded": "append""#,
    ),
    (
        "query",
        6,
        r#""sticky": { "by": "query", "name": "sid", STRICT }, "forwarded": "replace",
        "connect_tries": 1"#,
    ),
    ("source", HEADED_V2, r#""sticky": { "by": "source", STRICT }, "send_proxy": "v2""#),
];

/// Whose servers speak anything.
const RAW: u8 = 1;
const HEADED_V1: u8 = 5;
/// These speak anything, too.
const HEADED_V2: u8 = 7;

const BALANCES: [&str; 4] = ["round_robin", "least_conn", "random_two", "hash"];

/// Servers a pool can have.
const SERVERS: u32 = 4;

impl Kind {
    const fn new(name: &'static str, rest: &'static str, speech: Speech) -> Self {
        Self { name, rest, speech, proxied: false, one_request: false }
    }

    const fn proxied(self) -> Self {
        Self { proxied: true, ..self }
    }

    const fn one_request(self) -> Self {
        Self { one_request: true, ..self }
    }

    /// Of the listener with this name.
    pub(crate) fn named(name: &str) -> &'static Self {
        let name = name.trim_end_matches(|char: char| char.is_ascii_digit());
        KINDS.iter().find(|kind| kind.name == name).expect("a listener of ours")
    }
}

/// A listening socket, by its number in the backlog.
struct Listening {
    kind: usize,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// New clients are turned away.
    Leaving,
    Closed,
}

/// See the head of the file.
#[derive(Default)]
pub(crate) struct Editions {
    pub(crate) all: Vec<Arc<Edition>>,
    peers: Peers,
    sockets: Vec<Listening>,
    /// Of each pool; empty: the defaults, which end nobody here.
    timeouts: String,
}

impl Editions {
    /// The last one.
    pub(crate) fn current(&self) -> Arc<Edition> {
        Arc::clone(self.all.last().expect("there is a first"))
    }

    /// Sockets that take new clients.
    pub(crate) fn open(&self) -> Vec<usize> {
        let is_open = |&at: &usize| self.sockets[at].stage == Stage::Open;
        (0..self.sockets.len()).filter(is_open).collect()
    }

    /// What a socket's clients are like.
    pub(crate) fn kind(&self, socket: usize) -> &'static Kind {
        &KINDS[self.sockets[socket].kind]
    }

    /// Whether this server speaks anything, and the PROXY header it gets.
    pub(crate) fn server(address: &Address) -> (bool, Option<ProxyVersion>) {
        let Address::Tcp(SocketAddr::V4(address)) = address else { unreachable!("addresses only") };
        match address.ip().octets()[1] {
            RAW => (true, None),
            HEADED_V1 => (false, Some(ProxyVersion::V1)),
            HEADED_V2 => (true, Some(ProxyVersion::V2)),
            _ => (false, None),
        }
    }

    /// In some worlds ringway ends sessions that nobody else ends; says whether in this one.
    pub(crate) fn time_out(&mut self, random: &mut Random) -> bool {
        if random.one_in(4) {
            let keys = ["idle_timeout_ms", "half_closed_timeout_ms", "max_age_ms"];
            for (nth, key) in keys.into_iter().enumerate() {
                let limit_ms = 1_000 + random.below(10_000);
                let is_off = nth > 0 && random.one_in(2);
                let value = if is_off { "false".to_owned() } else { limit_ms.to_string() };
                self.timeouts += &format!(r#", "{key}": {value}"#);
            }
        }
        !self.timeouts.is_empty()
    }

    /// The first, with a listener of each kind.
    pub(crate) fn first(&mut self, random: &mut Random, world: &mut World) -> Vec<(Placement, Fd)> {
        for kind in 0..KINDS.len() {
            self.listen(kind);
        }
        self.make(random);
        world.learn(self.peers.from(0));
        let placements = self.placements();
        let listeners = placements
            .into_iter()
            .map(|place| (place, world.listen(place.number.0 as usize)))
            .collect();
        world.place(self.open());
        listeners
    }

    /// Another one: other servers and weights, some listeners replaced by others of their kind.
    pub(crate) fn next(&mut self, random: &mut Random, world: &mut World) -> Reload {
        let mut arriving = Vec::new();
        for socket in self.open() {
            if random.one_in(4) {
                self.sockets[socket].stage = Stage::Leaving;
                let number = self.listen(self.sockets[socket].kind);
                let fd = world.listen(number);
                world.sent.push_back(fd.number());
                arriving.push(ListenerNumber(number as u32));
            }
        }
        let known = self.peers.len();
        self.make(random);
        let peers = self.peers.from(known).to_vec();
        world.reloads.push_back(self.open());
        Reload { edition: self.current(), peers, placements: self.placements(), arriving }
    }

    /// Nobody is let in any more.
    pub(crate) fn leave(&mut self) {
        for socket in self.open() {
            self.sockets[socket].stage = Stage::Leaving;
        }
    }

    /// Sockets that have had the time to leave, whether or not the worker has come to those who
    /// wait there.
    pub(crate) fn left(&mut self, random: &mut Random) -> Vec<ListenerNumber> {
        let mut left = Vec::new();
        for (number, socket) in self.sockets.iter_mut().enumerate() {
            if socket.stage == Stage::Leaving && random.one_in(8) {
                socket.stage = Stage::Closed;
                left.push(ListenerNumber(number as u32));
            }
        }
        left
    }

    fn listen(&mut self, kind: usize) -> usize {
        self.sockets.push(Listening { kind, stage: Stage::Open });
        self.sockets.len() - 1
    }

    fn placements(&self) -> Vec<Placement> {
        let numbers = self.open().into_iter().map(|number| ListenerNumber(number as u32));
        numbers.zip(0..).map(|(number, listener)| Placement { number, listener }).collect()
    }

    fn make(&mut self, random: &mut Random) {
        let text = self.text(random);
        let config = config::parse(&text).unwrap_or_else(|p| panic!("{p}: {text}")).config;
        let servers = |pool: &config::Pool| {
            let server = |server: &config::Server| {
                let ServerAddress::Address(address) = &server.address else {
                    unreachable!("addresses only")
                };
                ServerSpec::new(server, address.clone())
            };
            pool.servers.iter().map(server).collect()
        };
        let servers = config.pools.iter().map(servers).collect();
        let before = self.all.last().map(|before| &**before);
        let edition = Edition::succeeding(before, config, servers, &mut self.peers, 0, 1);
        self.all.push(Arc::new(edition));
    }

    fn text(&self, random: &mut Random) -> String {
        let limits: [String; 3] = std::array::from_fn(|_| match random.below(8) {
            0 => format!(r#", "max_connections": {}"#, 1 + random.below(20)),
            1 => format!(r#", "accept_rate_per_s": {}"#, 1 + random.below(500)),
            2 => {
                let limit = format!(r#"{{ "count": {} }}"#, 1 + random.below(8));
                format!(r#", "max_connections_per_source": {limit}"#)
            }
            _ => String::new(),
        });
        let total = match random.below(4) {
            0 => (1 + random.below(30)).to_string(),
            _ => "false".to_owned(),
        };
        let listener = |number: usize| {
            let Kind { name, rest, proxied, .. } = self.kind(number);
            let from =
                if *proxied { r#""accept_proxy": { "from": ["10.0.0.0/16"] }, "# } else { "" };
            let port = number + 1;
            let rest = format!("{from}{rest}{}", limits[number % limits.len()]);
            format!(r#"{{ "name": "{name}{number}", "bind": "127.0.0.1:{port}", {rest} }}"#)
        };
        let listeners: Vec<_> = self.open().into_iter().map(listener).collect();
        let timeouts = &self.timeouts;
        let mut pool = |&(name, number, rest): &(&str, u8, &str)| {
            let limits = limits_of_pool(random);
            let kept = 1 + random.below((1 << SERVERS) - 1);
            let servers: Vec<_> = (0..SERVERS)
                .filter(|server| kept & (1 << server) != 0)
                .map(|server| {
                    let weight = 1 + random.below(3);
                    let address = format!("10.{number}.0.{}:1", server + 1);
                    let is_first = kept.trailing_zeros() == server;
                    let backup = !is_first && random.one_in(8);
                    format!(
                        r#"{{ "address": "{address}", "weight": {weight}, "backup": {backup} }}"#
                    )
                })
                .collect();
            let balance = BALANCES[random.below(4) as usize];
            let rest = rest.replace("STRICT", &format!(r#""strict": {}"#, random.one_in(2)));
            let servers = servers.join(", ");
            let rest = format!(r#""balance": "{balance}", {rest}{timeouts}{limits}"#);
            format!(r#""{name}": {{ {rest}, "servers": [{servers}] }}"#)
        };
        let pools: Vec<_> = POOLS.iter().map(&mut pool).collect();
        let (listeners, pools) = (listeners.join(", "), pools.join(", "));
        let lists = format!(r#""listeners": [{listeners}], "pools": {{ {pools} }}"#);
        format!(r#"{{ "max_connections": {total}, {lists} }}"#)
    }
}

/// Of one pool towards its servers, in some editions.
fn limits_of_pool(random: &mut Random) -> String {
    let mut limits = String::new();
    if random.one_in(3) {
        limits += &format!(r#", "max_connections_per_server": {}"#, 1 + random.below(6));
    }
    if random.one_in(4) {
        limits += &format!(r#", "connects_in_flight_max": {}"#, 1 + random.below(4));
    }
    if !limits.is_empty() && random.one_in(2) {
        let (max, timeout_ms) = (random.below(12), 10 + random.below(2_000));
        limits += &format!(r#", "queue_max": {max}, "queue_timeout_ms": {timeout_ms}"#);
    }
    limits
}
