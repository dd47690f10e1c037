//! A pool: which of its servers a connection goes to.
//!
//! `sticky` reads the key of a connection (`tokens` and `learned` say where it leads), `balance`
//! places what has none (`schedule` and `ring` are computed ahead), `counts` are the sessions of
//! each server, exact over all workers.
//!
//! No socket, no clock, no dice: time comes in as `now_ms`, randomness as `random`. One pool is
//! shared by all workers; nothing waits except for the lock of a learned key's shard.
//!
//! A session's way: [`Pool::key`], [`Pool::pick`] (which reserves), connect, then
//! [`Pool::commit`], and in any case [`Pool::release`] once, and [`Pool::let_go`] for every
//! [`LearnedKey`] it was given. After a failed connect it picks again, with the server in
//! [`Tried`].

mod balance;
mod counts;
mod learned;
mod ring;
mod schedule;
mod sticky;
#[cfg(all(test, not(ringway_loom)))]
mod tests;
mod tokens;
mod tried;

use std::collections::HashMap;
use std::net::IpAddr;

use crate::config::{self, Address, Balance};
use crate::peek::http_head::RequestHead;

use balance::{Group, Turn};
use counts::Count;
use learned::Found;
use sticky::{Leads, Rule};

pub use learned::LearnedKey;
pub use sticky::{Key, KeyKind};
pub use tried::Tried;

/// A position in [`Pool::servers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerIndex(pub u16);

/// A server as [`Pool::new`] takes it: looked up, so that it has one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSpec {
    /// Where it is.
    pub address: Address,
    /// Its name in tokens and sid prefixes.
    pub id: String,
    /// Share of connections relative to the others: 1 to 256.
    pub weight: u16,
    /// Used only when every other server was tried.
    pub backup: bool,
}

/// A server of a pool, with its sessions counted.
#[derive(Debug)]
pub struct Server {
    /// Where it is.
    pub address: Address,
    /// Its name in tokens and sid prefixes, unique within the pool.
    pub id: Box<str>,
    /// Share of connections relative to the others: 1 to 256.
    pub weight: u16,
    /// Used only when every other server was tried.
    pub backup: bool,
    count: Count,
}

impl Server {
    /// Sessions reserved and not yet released: connecting and connected.
    pub fn live(&self) -> u32 {
        self.count.live()
    }

    /// Connects that succeeded since start.
    pub fn total(&self) -> u64 {
        self.count.total()
    }
}

/// A server chosen for a connection, and reserved.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the server stays reserved until it is released"]
pub struct Pick {
    /// The server; to be given back with [`Pool::release`].
    pub server: ServerIndex,
    /// Why this one.
    pub how: How,
    /// The learned key that led there; to be given back with [`Pool::let_go`].
    pub held: Option<LearnedKey>,
}

/// Why a server was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// There was no key.
    Balanced,
    /// The key led to it.
    Kept,
    /// There was a key, which could not be honoured.
    Redispatched,
}

impl How {
    /// The word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::Kept => "kept",
            Self::Redispatched => "redispatched",
        }
    }
}

/// Why no server was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPick {
    /// Every server was tried.
    NoServer,
    /// The key could not be honoured, and the pool is strict.
    KeyLost,
}

/// See the head of the file.
#[derive(Debug)]
pub struct Pool {
    spec: config::Pool,
    servers: Box<[Server]>,
    /// All servers but backups.
    primaries: Group,
    backups: Group,
    rule: Rule,
    /// One Set-Cookie value for each server; empty unless the pool inserts a cookie.
    cookies: Box<[Box<str>]>,
}

impl Pool {
    /// Makes a pool of servers whose names are already looked up (a configured name may have
    /// become several addresses; ids that are not unique for that get `@address` appended).
    ///
    /// # Panics
    /// With more than 65,535 servers.
    pub fn new(spec: &config::Pool, servers: Vec<ServerSpec>) -> Self {
        Self::with_seed(spec, servers, 0)
    }

    /// The same with a number peers cannot know, which keys the learned table against values made
    /// to collide. Nothing that machines must agree on depends on it.
    ///
    /// # Panics
    /// With more than 65,535 servers.
    pub fn with_seed(spec: &config::Pool, servers: Vec<ServerSpec>, seed: u64) -> Self {
        assert!(servers.len() <= usize::from(u16::MAX), "a ServerIndex has 16 bits");
        let servers = counted(servers);
        let rule = Rule::new(&spec.sticky, &servers, seed);
        let with_ring = rule.hashes() || spec.balance == Balance::Hash;
        Self {
            primaries: Group::new(&servers, false, with_ring),
            backups: Group::new(&servers, true, with_ring),
            cookies: cookies(&spec.sticky, &servers),
            spec: spec.clone(),
            servers,
            rule,
        }
    }

    /// Its name in routes and logs.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The configuration it was made from.
    pub fn spec(&self) -> &config::Pool {
        &self.spec
    }

    /// All servers, backups among them, in the order given.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// What the sticky rule sees in a connection; `head` is `None` for what is not HTTP, `client`
    /// for clients on unix sockets.
    pub fn key(&self, head: Option<&RequestHead<'_>>, client: Option<IpAddr>) -> Key {
        self.rule.key(head, client)
    }

    /// Chooses a server that is not in `tried` and reserves it, by the key if it leads anywhere,
    /// else by balance.
    ///
    /// A learned cookie the table does not know is balanced, even in a strict pool: the client
    /// would otherwise be refused for as long as it keeps the cookie.
    ///
    /// # Errors
    /// When every server was tried, or the key cannot be honoured and the pool is strict.
    pub fn pick(
        &self,
        key: &Key,
        client: Option<IpAddr>,
        tried: &Tried,
        random: u64,
        now_ms: u64,
    ) -> Result<Pick, NoPick> {
        let untried = |server| !tried.contains(server);
        let kept = match key.leads {
            Leads::Nowhere => None,
            Leads::Place(place) => return self.pick_place(place, tried),
            Leads::Server(server) => Some(untried(server).then_some((server, None))),
            Leads::Astray => Some(None),
            Leads::Learned(hash) => match self.hold(hash, now_ms, untried) {
                Found::Held(server, key) => Some(Some((server, Some(key)))),
                Found::Nothing if key.kind == KeyKind::Cookie => None,
                Found::Nothing | Found::Refused => Some(None),
            },
        };
        let how = match kept {
            Some(Some((server, held))) => {
                self.server(server).count.reserve();
                return Ok(Pick { server, how: How::Kept, held });
            }
            Some(None) if self.spec.strict => return Err(NoPick::KeyLost),
            Some(None) => How::Redispatched,
            None => How::Balanced,
        };
        let turn = if key.kind == KeyKind::Handshake { Turn::Handshake } else { Turn::Other };
        let server = self.balance(turn, client, tried, random).ok_or(NoPick::NoServer)?;
        Ok(Pick { server, how, held: None })
    }

    /// The reserved server is connected.
    pub fn commit(&self, server: ServerIndex) {
        self.server(server).count.commit();
    }

    /// The session on a reserved server is over, or its connect failed.
    ///
    /// # Panics
    /// If nothing is reserved there: a session ends once.
    pub fn release(&self, server: ServerIndex) {
        self.server(server).count.release();
    }

    /// Keeps a sid or cookie value from a first response, held by the session that saw it. A sid
    /// that names its server needs no entry, and a table full of held keys takes none; both give
    /// a key that holds nothing.
    pub fn learn(&self, value: &[u8], server: ServerIndex, now_ms: u64) -> LearnedKey {
        let hash = self.rule.to_learn(value, server);
        self.rule
            .learned()
            .zip(hash)
            .map_or(LearnedKey::NOT_STORED, |(learned, hash)| learned.learn(hash, server, now_ms))
    }

    /// The session that held a key is over; after the last one the key expires in its time.
    pub fn let_go(&self, key: LearnedKey, now_ms: u64) {
        if let Some(learned) = self.rule.learned() {
            learned.let_go(key, now_ms);
        }
    }

    /// Forgets learned keys that have expired and says how many; to be called every few seconds.
    pub fn sweep(&self, now_ms: u64) -> usize {
        self.rule.learned().map_or(0, |learned| learned.sweep(now_ms))
    }

    /// Learned keys kept now.
    pub fn learned(&self) -> usize {
        self.rule.learned().map_or(0, learned::Learned::len)
    }

    /// The Set-Cookie value that leads back to a server, where the pool inserts a cookie.
    pub fn cookie_for(&self, server: ServerIndex) -> Option<&str> {
        self.cookies.get(usize::from(server.0)).map(|cookie| &**cookie)
    }

    /// By consistent hash, never bent by load: the owner of the place, then the next around.
    fn pick_place(&self, place: u64, tried: &Tried) -> Result<Pick, NoPick> {
        let untried = |server| !tried.contains(server);
        let owner = self.primaries.owner(place).or_else(|| self.backups.owner(place));
        let owner = owner.ok_or(NoPick::NoServer)?;
        let (server, how) = if untried(owner) {
            (owner, How::Kept)
        } else if self.spec.strict {
            return Err(NoPick::KeyLost);
        } else {
            let next = self.primaries.owner_where(place, untried);
            let next = next.or_else(|| self.backups.owner_where(place, untried));
            (next.ok_or(NoPick::NoServer)?, How::Redispatched)
        };
        self.server(server).count.reserve();
        Ok(Pick { server, how, held: None })
    }

    fn balance(
        &self,
        turn: Turn,
        client: Option<IpAddr>,
        tried: &Tried,
        random: u64,
    ) -> Option<ServerIndex> {
        let servers = &*self.servers;
        let untried = |server| !tried.contains(server);
        let choose = |group: &Group| match (self.spec.balance, client) {
            (Balance::RoundRobin, _) | (Balance::Hash, None) => {
                group.round_robin(servers, turn, untried)
            }
            (Balance::LeastConn, _) => group.least_conn(servers, turn, untried),
            (Balance::RandomTwo, _) => group.random_two(servers, random, untried),
            (Balance::Hash, Some(client)) => {
                group.bounded_hash(servers, sticky::source(client), untried)
            }
        };
        choose(&self.primaries).or_else(|| choose(&self.backups))
    }

    fn hold(&self, hash: u64, now_ms: u64, is_wanted: impl FnOnce(ServerIndex) -> bool) -> Found {
        let learned = self.rule.learned();
        learned.map_or(Found::Nothing, |learned| learned.hold(hash, now_ms, is_wanted))
    }

    fn server(&self, server: ServerIndex) -> &Server {
        &self.servers[usize::from(server.0)]
    }
}

/// Servers with counts at zero and ids that differ.
fn counted(specs: Vec<ServerSpec>) -> Box<[Server]> {
    let mut uses: HashMap<String, u32> = HashMap::new();
    specs.iter().for_each(|spec| *uses.entry(spec.id.clone()).or_default() += 1);
    let server = |spec: ServerSpec| {
        // Every one of them, so that their order means nothing.
        let is_unique = uses.get(&spec.id) == Some(&1);
        let id = if is_unique { spec.id } else { format!("{}@{}", spec.id, spec.address) };
        let ServerSpec { address, weight, backup, .. } = spec;
        Server { address, id: id.into(), weight, backup, count: Count::new() }
    };
    specs.into_iter().map(server).collect()
}

/// The Set-Cookie value of each server, where a cookie is inserted.
fn cookies(sticky: &config::Sticky, servers: &[Server]) -> Box<[Box<str>]> {
    let config::Sticky::Insert { name, attributes, secret } = sticky else {
        return Box::default();
    };
    let cookie = |server: &Server| {
        let token = tokens::token(secret, &server.id);
        let separator = if attributes.is_empty() { "" } else { "; " };
        format!("{name}={token}{separator}{attributes}").into()
    };
    servers.iter().map(cookie).collect()
}
