//! One edition of the configuration after another, and listening sockets that come and go with
//! them: what the supervisor would do.

use std::sync::Arc;

use ringway::config::{self, Address, ServerAddress};
use ringway::edition::Edition;
use ringway::pool::{Peers, ServerSpec};
use ringway::random::Random;
use ringway::sys::Fd;
use ringway::worker::{ListenerNumber, Placement, Reload};

use crate::kernel::World;
use crate::link::Draws;

/// What a listener does with its clients: its name, how it reads, and what it leads to.
const KINDS: [(&str, &str); 5] = [
    ("none", r#""peek": "none", "pool": "raw""#),
    ("auto", r#""peek": "auto", "pool": "raw""#),
    ("sid", r#""peek": "http", "pool": "sid""#),
    ("cookie", r#""peek": "http", "pool": "cookie", "keep_alive": "one_request""#),
    ("insert", r#""peek": "http", "pool": "insert", "keep_alive": "trust""#),
];

/// Pools, with the number that all their servers' addresses have in the second place.
const POOLS: [(&str, u8, &str); 4] = [
    ("raw", RAW, r#""balance": "least_conn", "connect_timeout_ms": 300"#),
    ("sid", 2, r#""sticky": "socketio""#),
    ("cookie", 3, r#""sticky": { "by": "cookie", "name": "srv", "learn": true }"#),
    ("insert", 4, r#""sticky": { "by": "insert", "name": "srv", "secret": "secret" }"#),
];

/// Whose servers speak anything.
const RAW: u8 = 1;

/// Servers a pool can have.
const SERVERS: u64 = 4;

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

    /// Whether clients of a socket carry any bytes.
    pub(crate) fn is_raw(&self, socket: usize) -> bool {
        self.sockets[socket].kind < 2
    }

    /// Whether a connection to it carries one request.
    pub(crate) fn is_one_request(&self, socket: usize) -> bool {
        [2, 3].contains(&self.sockets[socket].kind)
    }

    /// Whether this server speaks anything.
    pub(crate) fn speaks_anything(address: &Address) -> bool {
        matches!(address, Address::Tcp(tcp) if tcp.to_string().starts_with("10.1."))
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
        placements.into_iter().map(|place| (place, world.listen(place.number.0 as usize))).collect()
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
        Reload { edition: self.current(), peers, placements: self.placements(), arriving }
    }

    /// Nobody is let in any more.
    pub(crate) fn leave(&mut self) {
        for socket in self.open() {
            self.sockets[socket].stage = Stage::Leaving;
        }
    }

    /// Sockets where nobody waits and nobody will.
    pub(crate) fn left(&mut self, world: &World) -> Vec<ListenerNumber> {
        let mut left = Vec::new();
        for (number, socket) in self.sockets.iter_mut().enumerate() {
            if socket.stage == Stage::Leaving && world.backlog[number].is_empty() {
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
                let (id, weight, backup) = (server.id.clone(), server.weight, server.backup);
                ServerSpec { address: address.clone(), id, weight, backup }
            };
            pool.servers.iter().map(server).collect()
        };
        let servers = config.pools.iter().map(servers).collect();
        let before = self.all.last().map(|before| &**before);
        let edition = Edition::succeeding(before, config, servers, &mut self.peers, 0);
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
            let (name, rest) = KINDS[self.sockets[number].kind];
            let port = number + 1;
            let limits = &limits[number % limits.len()];
            format!(r#"{{ "name": "{name}{number}", "bind": "127.0.0.1:{port}", {rest}{limits} }}"#)
        };
        let listeners: Vec<_> = self.open().into_iter().map(listener).collect();
        let timeouts = &self.timeouts;
        let mut pool = |&(name, number, rest): &(&str, u8, &str)| {
            let kept = 1 + random.below((1 << SERVERS) - 1);
            let servers: Vec<_> = (0..SERVERS)
                .filter(|server| kept & (1 << server) != 0)
                .map(|server| {
                    let weight = 1 + random.below(3);
                    let address = format!("10.{number}.0.{}:1", server + 1);
                    format!(r#"{{ "address": "{address}", "weight": {weight} }}"#)
                })
                .collect();
            format!(r#""{name}": {{ {rest}{timeouts}, "servers": [{}] }}"#, servers.join(", "))
        };
        let pools: Vec<_> = POOLS.iter().map(&mut pool).collect();
        let (listeners, pools) = (listeners.join(", "), pools.join(", "));
        let lists = format!(r#""listeners": [{listeners}], "pools": {{ {pools} }}"#);
        format!(r#"{{ "max_connections": {total}, {lists} }}"#)
    }
}
