//! A pool: which of its servers a connection goes to.
//!
//! `sticky` reads the key of a connection (`tokens` and `learned` say where it leads), `balance`
//! places what has none (`schedule` and `ring` are computed ahead), `counts` are the sessions of
//! each server, exact over all workers. `health` is what checks and sessions say of a server, and
//! `usable` who may be chosen for that. `limits` are those on sessions and connects, and `queue` is
//! who waits for them.
//!
//! No socket, no clock, no dice: time comes in as `now_ms`, randomness as `random`. One pool is
//! shared by all workers; nothing waits except for the lock of a learned key's shard, and of the
//! queue where there is one.
//!
//! A session's way: [`Pool::key`], [`Pool::pick`] (which reserves), connect, then
//! [`Pool::commit`], and in any case [`Pool::release`] once, and [`Pool::let_go`] for every
//! [`LearnedKey`] it was given, and [`Pool::connect_over`] once for a pick that was `in_flight`.
//! Who finds every place taken may [`Pool::join`] the queue and [`Pool::look`] now and then. After
//! a failed connect it picks again, with the server in [`Tried`]. What it says of its server's
//! health: [`Pool::failed`], [`Pool::served`].

mod balance;
mod counts;
mod explain;
mod health;
mod learned;
mod limits;
mod peers;
mod queue;
mod ring;
mod schedule;
mod server;
mod sticky;
#[cfg(all(test, not(ringway_loom)))]
mod succession_tests;
#[cfg(all(test, not(ringway_loom)))]
mod tests;
mod tokens;
mod tried;
mod usable;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::config::{self, Balance};
use crate::metrics::{PerWorker, PoolCounts, PoolTotals, ServerCounts};
use crate::peek::http_head::RequestHead;
use crate::sys::{PeerId, SourceList};

use balance::{Group, Turn};
use learned::Found;
use limits::Limits;
use server::State;
use sticky::{Leads, Rule};
use usable::Candidates;

pub use explain::Explained;
pub use health::{Checks, Failure, Standing, Verdict};
pub use learned::{LearnedKey, Learnt};
pub use limits::{LOOK_MS, Look};
pub use peers::Peers;
pub use queue::Ticket;
pub use server::{Duty, Server, ServerSpec};
pub use sticky::{Key, KeyKind};
pub use tried::Tried;
pub use usable::{Condition, Panic, STATES};

/// A position in [`Pool::servers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerIndex(pub u16);

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
    /// It counts among the connects in flight; to be ended with [`Pool::connect_over`].
    pub in_flight: bool,
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
    /// Each, in the order of declaration.
    pub const ALL: [Self; 3] = [Self::Balanced, Self::Kept, Self::Redispatched];

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
    /// No place is free.
    Full {
        /// The only server it can be; `None`: any of them.
        server: Option<ServerIndex>,
    },
}

/// See the head of the file.
#[derive(Debug)]
pub struct Pool {
    spec: config::Pool,
    sources: SourceList,
    servers: Box<[Server]>,
    /// All servers but backups and those that are not offered.
    primaries: Group,
    backups: Group,
    rule: Rule,
    limits: Arc<Limits>,
    counts: PerWorker<PoolCounts>,
    /// One Set-Cookie value for each server; empty unless the pool inserts a cookie.
    cookies: Box<[Box<str>]>,
    /// In ascending order.
    by_peer: Box<[(PeerId, ServerIndex)]>,
}

impl Pool {
    /// Makes a pool of servers whose names are already looked up (a configured name may have
    /// become several addresses; ids that are not unique for that get `@address` appended).
    ///
    /// # Panics
    /// With more than 65,535 servers.
    pub fn new(spec: &config::Pool, servers: Vec<ServerSpec>) -> Self {
        Self::succeeding(None, spec, servers, &mut Peers::default(), 0, 1)
    }

    /// Makes the pool that takes the place of `before`: counts, learned keys and turns are carried
    /// over by address. Servers that are gone stay for as long as they have sessions, or learned
    /// keys or sids with their name may lead to them. Both pools may be used from then on, and
    /// count the same sessions.
    ///
    /// `seed` is a number peers cannot know, which keys the learned table against values made to
    /// collide. Nothing that machines must agree on depends on it. So many `workers` count what
    /// happens, in every pool.
    ///
    /// # Panics
    /// With more than 65,535 servers.
    pub fn succeeding(
        before: Option<&Self>,
        spec: &config::Pool,
        servers: Vec<ServerSpec>,
        peers: &mut Peers,
        seed: u64,
        workers: usize,
    ) -> Self {
        let servers = successors(before, spec, servers, peers, workers);
        assert!(servers.len() <= usize::from(u16::MAX), "a ServerIndex has 16 bits");
        let rule = Rule::new(&spec.sticky, &servers, before.map(|before| &before.rule), seed);
        let with_ring = rule.hashes() || spec.balance == Balance::Hash;
        let limits = before.map_or_else(Arc::default, |before| Arc::clone(&before.limits));
        limits.put_in_force(spec, &servers);
        let group = |backup, before: Option<&Group>| {
            let members = sticky::indexed(&servers);
            let members =
                members.filter(|(_, server)| server.backup == backup && server.is_offered());
            Group::new(members, with_ring, before)
        };
        let mut by_peer: Box<[_]> = sticky::indexed(&servers).map(|(at, s)| (s.peer, at)).collect();
        by_peer.sort_unstable();
        Self {
            primaries: group(false, before.map(|before| &before.primaries)),
            backups: group(true, before.map(|before| &before.backups)),
            cookies: cookies(&spec.sticky, &servers),
            sources: (!spec.source_addresses.is_empty())
                .then(|| spec.source_addresses.clone().into()),
            spec: spec.clone(),
            servers,
            rule,
            limits,
            counts: before.map_or_else(|| PerWorker::new(workers), |before| before.counts.clone()),
            by_peer,
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

    /// Where its servers are connected to from.
    pub fn sources(&self) -> &SourceList {
        &self.sources
    }

    /// All servers, backups among them, in the order given.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The server at a position.
    pub fn server(&self, server: ServerIndex) -> &Server {
        &self.servers[usize::from(server.0)]
    }

    /// What a worker counts of this pool, under every edition.
    pub fn counts(&self, worker: usize) -> &PoolCounts {
        self.counts.of(worker)
    }

    /// What all workers have counted so far.
    pub fn totals(&self) -> PoolTotals {
        PoolTotals::of(&self.counts)
    }

    /// What a worker counts of a server, under every edition.
    pub fn server_counts(&self, server: ServerIndex, worker: usize) -> &ServerCounts {
        self.server(server).counts.of(worker)
    }

    /// What the sticky rule sees in a connection; `head` is `None` for what is not HTTP, `client`
    /// for clients on unix sockets.
    pub fn key(&self, head: Option<&RequestHead<'_>>, client: Option<IpAddr>) -> Key {
        self.rule.key(head, client)
    }

    /// Chooses a server that is not in `tried` and reserves it, by the key if it leads anywhere,
    /// else by balance. Who is not up is chosen only for want of anybody else.
    ///
    /// A learned cookie the table does not know is balanced, even in a strict pool: the client
    /// would otherwise be refused for as long as it keeps the cookie.
    ///
    /// A full server is as usable as another, and backups do not stand in for it: who has its key
    /// has to wait for it, who has none is placed wherever there is room.
    ///
    /// # Errors
    /// When every server was tried, when the key cannot be honoured and the pool is strict, or when
    /// no place is free.
    pub fn pick(
        &self,
        key: &Key,
        client: Option<IpAddr>,
        tried: &Tried,
        random: u64,
        now_ms: u64,
    ) -> Result<Pick, NoPick> {
        let in_flight = self.limits.is_on();
        if in_flight && !self.limits.connecting.reserve() {
            return Err(NoPick::Full { server: None });
        }
        let picked = self.choose(key, client, tried, random, now_ms);
        if in_flight && picked.is_err() {
            self.connect_over();
        }
        Ok(Pick { in_flight, ..picked? })
    }

    fn choose(
        &self,
        key: &Key,
        client: Option<IpAddr>,
        tried: &Tried,
        random: u64,
        now_ms: u64,
    ) -> Result<Pick, NoPick> {
        let candidates = Candidates::new(self, tried, random, now_ms);
        let usable = |server| candidates.is_usable(server);
        let kept = match key.leads {
            Leads::Nowhere => None,
            Leads::Place(place) => return self.pick_place(place, &candidates),
            Leads::Server(server) => Some(usable(server).then_some((server, None))),
            Leads::Astray => Some(None),
            Leads::Learned(hash) => match self.hold(hash, now_ms, usable) {
                Found::Held(server, key) => Some(Some((server, Some(key)))),
                Found::Nothing if key.kind == KeyKind::Cookie => None,
                Found::Nothing | Found::Refused => Some(None),
            },
        };
        let how = match kept {
            Some(Some((server, held))) => {
                return match (self.pick_only(server, How::Kept), held) {
                    (Ok(pick), held) => Ok(Pick { held, ..pick }),
                    (Err(full), held) => {
                        held.into_iter().for_each(|key| self.let_go(key, now_ms));
                        Err(full)
                    }
                };
            }
            Some(None) if self.spec.strict => return Err(NoPick::KeyLost),
            Some(None) => How::Redispatched,
            None => How::Balanced,
        };
        let turn = if key.kind == KeyKind::Handshake { Turn::Handshake } else { Turn::Other };
        let server = self.balance(turn, client, &candidates, random)?;
        Ok(Pick { server, how, held: None, in_flight: false })
    }

    /// The reserved server is connected, to a session that chose it no earlier than then.
    pub fn commit(&self, server: ServerIndex, chosen_ms: u64, now_ms: u64) {
        let state = &self.server(server).state;
        state.count.commit();
        state.health.connected(chosen_ms, now_ms, self.spec.eject.as_ref());
    }

    /// The session on a server has got something from it, or has ended in good order.
    pub fn served(&self, server: ServerIndex, chosen_ms: u64, now_ms: u64) {
        let health = &self.server(server).state.health;
        health.served(chosen_ms, now_ms, self.spec.eject.as_ref());
    }

    /// A session had no luck with a server, which may eject it. The only server of a pool is never
    /// ejected: nobody could take its place.
    pub fn failed(&self, server: ServerIndex, failure: Failure, now_ms: u64) {
        let others = self.primaries.len() + self.backups.len() > 1;
        if let Some(rule) = self.spec.eject.as_ref().filter(|_| others) {
            self.server(server).state.health.failed(failure, now_ms, rule);
        }
    }

    /// Checks have come to a verdict about a server.
    pub fn judge(&self, server: ServerIndex, verdict: Verdict, now_ms: u64) {
        let health = &self.server(server).state.health;
        match verdict {
            Verdict::Up => health.bring_up(now_ms),
            Verdict::Down => health.take_down(),
        }
    }

    /// Percent of its share that a server gets, by how long it has been up.
    pub fn share_percent(&self, server: ServerIndex, now_ms: u64) -> u64 {
        self.server(server).standing(now_ms).share_percent(now_ms, self.spec.slow_start_ms)
    }

    /// What ejected a server the last time, and for how many milliseconds.
    pub fn ejection(&self, server: ServerIndex) -> Option<(Failure, u64)> {
        let health = &self.server(server).state.health;
        match (health.standing(), &self.spec.eject) {
            (Standing::Ejected { times, .. }, Some(rule)) => {
                Some((health.cause(), health::length_ms(times, rule)))
            }
            _ => None,
        }
    }

    /// The session on a reserved server is over, or its connect failed.
    ///
    /// # Panics
    /// If nothing is reserved there: a session ends once.
    pub fn release(&self, server: ServerIndex) {
        self.server(server).state.count.release();
    }

    /// Keeps a sid or cookie value from a first response, held by the session that saw it. A sid
    /// that names its server needs no entry, and a table full of held keys takes none; both give
    /// nothing to hold.
    pub fn learn(&self, value: &[u8], server: ServerIndex, now_ms: u64) -> Option<LearnedKey> {
        let hash = self.rule.to_learn(value, server)?;
        self.rule.learned()?.learn(hash, self.server(server).peer, now_ms)
    }

    /// What a session with this key keeps of it; `None` where the pool looks at no such key.
    pub fn key_hash(&self, value: &[u8]) -> Option<u64> {
        self.rule.hash(value)
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

    /// What was learned of a key, if it is known.
    pub fn learned_key(&self, value: &[u8], now_ms: u64) -> Option<Learnt> {
        self.rule.learned()?.look(self.key_hash(value)?, now_ms)
    }

    /// So many learned keys behind one, in an order that stays; all when `after` is `None`.
    pub fn learned_keys(&self, after: Option<u64>, limit: usize) -> Vec<Learnt> {
        self.rule.learned().map_or_else(Vec::new, |learned| learned.some(after, limit))
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
    fn pick_place(&self, place: u64, candidates: &Candidates<'_>) -> Result<Pick, NoPick> {
        let usable = |server| candidates.is_usable(server);
        let left = |server| candidates.is_left(server);
        let owner = self.primaries.owner(place).or_else(|| self.backups.owner(place));
        let owner = owner.ok_or(NoPick::NoServer)?;
        let (server, how) = if usable(owner) {
            (owner, How::Kept)
        } else if self.spec.strict {
            return Err(NoPick::KeyLost);
        } else {
            let next = self.primaries.owner_where(place, usable);
            let next = next.or_else(|| self.backups.owner_where(place, usable));
            let next = next.or_else(|| self.primaries.owner_where(place, left));
            let next = next.or_else(|| self.backups.owner_where(place, left));
            (next.ok_or(NoPick::NoServer)?, How::Redispatched)
        };
        self.pick_only(server, how)
    }

    /// Reserves that one or none.
    fn pick_only(&self, server: ServerIndex, how: How) -> Result<Pick, NoPick> {
        if self.server(server).state.count.reserve() {
            return Ok(Pick { server, how, held: None, in_flight: false });
        }
        Err(NoPick::Full { server: Some(server) })
    }

    fn balance(
        &self,
        turn: Turn,
        client: Option<IpAddr>,
        candidates: &Candidates<'_>,
        random: u64,
    ) -> Result<ServerIndex, NoPick> {
        let servers = &*self.servers;
        let choose =
            |group: &Group, passes: &dyn Fn(ServerIndex) -> bool| match (self.spec.balance, client)
            {
                (Balance::RoundRobin, _) | (Balance::Hash, None) => {
                    group.round_robin(servers, turn, passes)
                }
                (Balance::LeastConn, _) => group.least_conn(servers, turn, passes),
                (Balance::RandomTwo, _) => group.random_two(servers, random, passes),
                (Balance::Hash, Some(client)) => {
                    group.bounded_hash(servers, sticky::source(client), passes)
                }
            };
        let (primaries, backups) = (&self.primaries, &self.backups);
        let admitted = |server| candidates.is_admitted(server);
        let usable = |server| candidates.is_usable(server);
        let left = |server| candidates.is_left(server);
        let steps: [(&Group, &dyn Fn(ServerIndex) -> bool); 6] = [
            (primaries, &admitted),
            (primaries, &usable),
            (backups, &admitted),
            (backups, &usable),
            (primaries, &left),
            (backups, &left),
        ];
        for (step, (group, passes)) in steps.into_iter().enumerate() {
            let is_open = |server| passes(server) && candidates.has_room(server);
            loop {
                if let Some(server) = choose(group, &is_open) {
                    return Ok(server);
                }
                // Somebody else may have taken the last place of the one chosen.
                if !group.members().any(is_open) {
                    break;
                }
            }
            let is_full = self.limits.is_on() && group.members().any(passes);
            // Who is only let in by chance leaves the others of the group.
            if is_full && ![0, 2].contains(&step) {
                return Err(NoPick::Full { server: None });
            }
        }
        Err(NoPick::NoServer)
    }

    /// A key that leads to a server which is no longer here counts as refused.
    fn hold(
        &self,
        hash: u64,
        now_ms: u64,
        is_wanted: impl FnOnce(ServerIndex) -> bool,
    ) -> Found<ServerIndex> {
        let Some(learned) = self.rule.learned() else { return Found::Nothing };
        let is_wanted = |peer| self.by_peer(peer).is_some_and(is_wanted);
        match learned.hold(hash, now_ms, is_wanted) {
            Found::Nothing => Found::Nothing,
            Found::Refused => Found::Refused,
            Found::Held(peer, key) => {
                Found::Held(self.by_peer(peer).expect("it was wanted just now"), key)
            }
        }
    }

    fn by_peer(&self, peer: PeerId) -> Option<ServerIndex> {
        let found = self.by_peer.binary_search_by_key(&peer, |&(peer, _)| peer);
        found.ok().map(|at| self.by_peer[at].1)
    }
}

/// Servers with ids that differ and the state of those before them; behind the last, those that are
/// gone and still have sessions, or keys that lead there.
fn successors(
    before: Option<&Pool>,
    spec: &config::Pool,
    specs: Vec<ServerSpec>,
    peers: &mut Peers,
    workers: usize,
) -> Box<[Server]> {
    let mut uses: HashMap<String, u32> = HashMap::new();
    specs.iter().for_each(|spec| *uses.entry(spec.id.clone()).or_default() += 1);
    let known = |peer| before.and_then(|before| Some(before.server(before.by_peer(peer)?)));
    let server = |server: ServerSpec| {
        // Every one of them, so that their order means nothing.
        let ServerSpec { address, id, weight, backup, max_connections, duty } = server;
        let is_unique = uses.get(&id) == Some(&1);
        let id = if is_unique { id } else { format!("{id}@{address}") };
        let peer = peers.number(&address);
        let known = known(peer);
        let state = known.map_or_else(|| Arc::new(State::new()), |s| Arc::clone(&s.state));
        let counts = known.map_or_else(|| PerWorker::new(workers), |s| s.counts.clone());
        state.count.set_limit(max_connections);
        if spec.health.is_none() {
            state.health.bring_up(0);
        }
        if spec.eject.is_none() {
            state.health.forget_ejection();
        }
        Server { address, peer, id: id.into(), weight, backup, duty, leaving: false, counts, state }
    };
    let mut servers: Vec<Server> = specs.into_iter().map(server).collect();
    let Some(before) = before else { return servers.into() };
    let stays: Vec<PeerId> = servers.iter().map(|server| server.peer).collect();
    let gone = before.servers.iter().filter(|server| !stays.contains(&server.peer));
    // Nothing leads to them under another rule; who comes back finds its sessions counted.
    let outlasts = before.rule.outlasts(&spec.sticky);
    let needed = gone.filter(|server| {
        // A sid with a prefix is in no table: a session is the only sign of it.
        let leads_to = |all: &learned::Learned| all.leads_to(server.peer);
        server.live() > 0 || outlasts && before.rule.learned().is_some_and(leads_to)
    });
    servers.extend(
        needed.map(|server| server.to_leave(if outlasts { server.duty } else { Duty::Down })),
    );
    servers.into()
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
