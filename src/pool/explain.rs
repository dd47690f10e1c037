//! What a choice would come to and why, for people who ask. Reserves nothing, moves no cursor and
//! holds no key: asking changes nothing.

use std::net::IpAddr;

use super::balance::Turn;
use super::sticky::Leads;
use super::usable::Candidates;
use super::{Duty, How, Key, KeyKind, Pool, ServerIndex, Standing, Tried};
use crate::config::Balance;

/// See the head of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Where the connection would go; `None`: nowhere, or chance decides.
    pub server: Option<ServerIndex>,
    /// Why there; `None`: nowhere.
    pub how: Option<How>,
    /// In words.
    pub why: String,
    /// The server the key leads to, whether it can be chosen or not.
    pub leads_to: Option<ServerIndex>,
    /// By position in [`Pool::servers`]: why it cannot be chosen, if it cannot.
    pub excluded: Vec<Option<&'static str>>,
}

impl Pool {
    /// What [`Pool::pick`] would come to now for a connection that was nowhere yet.
    pub fn explain(&self, key: &Key, client: Option<IpAddr>, now_ms: u64) -> Explained {
        let tried = Tried::default();
        let candidates = Candidates::new(self, &tried, 0, now_ms);
        let leads_to = self.leads_to(key, now_ms);
        let indices = (0..).map(ServerIndex).take(self.servers().len());
        let excluded =
            indices.map(|at| self.excluded(at, leads_to == Some(at), &candidates, now_ms));
        let mut explained = Explained {
            server: None,
            how: None,
            why: String::new(),
            leads_to,
            excluded: excluded.collect(),
        };
        let unknown_cookie = leads_to.is_none() && key.kind == KeyKind::Cookie;
        let (how, because) = match (key.leads, leads_to) {
            (Leads::Nowhere, _) => (How::Balanced, "it has no key".to_owned()),
            (Leads::Learned(_), None) if unknown_cookie => {
                (How::Balanced, "its cookie was never learned, or is forgotten".to_owned())
            }
            (_, Some(at)) if candidates.is_usable(at) => {
                let waits =
                    if candidates.has_room(at) { "" } else { ", where it waits: it is full" };
                let why = format!("{} there{waits}", leads_words(key.leads));
                return Explained { server: Some(at), how: Some(How::Kept), why, ..explained };
            }
            (_, Some(at)) => {
                let why = explained.excluded[usize::from(at.0)].unwrap_or("it cannot be chosen");
                let address = &self.server(at).address;
                (How::Redispatched, format!("its key leads to {address}, but {why}"))
            }
            (_, None) => (How::Redispatched, "its key leads to no server that is here".to_owned()),
        };
        if how == How::Redispatched && self.spec().strict {
            explained.why = format!("{because}, and the pool is strict");
            return explained;
        }
        let turn = if key.kind == KeyKind::Handshake { Turn::Handshake } else { Turn::Other };
        let (server, word) = self.would(turn, key, client, &candidates);
        explained.server = server;
        explained.how = (server.is_some() || word == CHANCE).then_some(how);
        explained.why = format!("{because}; {word}");
        explained
    }

    fn leads_to(&self, key: &Key, now_ms: u64) -> Option<ServerIndex> {
        match key.leads {
            Leads::Nowhere | Leads::Astray => None,
            Leads::Place(place) => {
                self.primaries.owner(place).or_else(|| self.backups.owner(place))
            }
            Leads::Server(server) => Some(server),
            Leads::Learned(hash) => {
                let entry = self.rule.learned()?.look(hash, now_ms)?;
                self.by_peer(entry.server)
            }
        }
    }

    fn excluded(
        &self,
        at: ServerIndex,
        is_led_to: bool,
        candidates: &Candidates<'_>,
        now_ms: u64,
    ) -> Option<&'static str> {
        let server = self.server(at);
        match (server.duty, server.leaving) {
            (Duty::Down, _) => return Some("an operator has taken it down"),
            (_, true) if !is_led_to => return Some("it is gone from the file"),
            (Duty::Drain, _) if !is_led_to => return Some("it is drained"),
            _ => {}
        }
        if !candidates.is_usable(at) {
            return Some(match server.standing(now_ms) {
                Standing::Down => "checks have declared it down",
                _ => "it is ejected",
            });
        }
        if !candidates.has_room(at) {
            return Some("it is full");
        }
        let others = self.primaries.members().any(|member| candidates.is_usable(member));
        (server.backup && others && !is_led_to).then_some("it is a backup, and others are there")
    }

    /// Where a balanced connection would go, and in which words.
    fn would(
        &self,
        turn: Turn,
        key: &Key,
        client: Option<IpAddr>,
        candidates: &Candidates<'_>,
    ) -> (Option<ServerIndex>, &'static str) {
        let usable = |server| candidates.is_usable(server);
        let left = |server| candidates.is_left(server);
        let steps: [(_, &dyn Fn(ServerIndex) -> bool); 4] = [
            (&self.primaries, &usable),
            (&self.backups, &usable),
            (&self.primaries, &left),
            (&self.backups, &left),
        ];
        for (group, passes) in steps {
            let is_open = |server| passes(server) && candidates.has_room(server);
            if !group.members().any(is_open) {
                if group.members().any(passes) {
                    return (None, "every server that can be chosen is full, so it waits");
                }
                continue;
            }
            if let Leads::Place(place) = key.leads {
                return (group.owner_where(place, is_open), "the next on the ring takes its place");
            }
            let balance = self.spec().balance;
            if balance == Balance::RandomTwo && group.members().filter(|&m| is_open(m)).count() > 1
            {
                return (None, CHANCE);
            }
            let word = match (balance, client) {
                (Balance::LeastConn, _) => "this one has the fewest sessions for its weight",
                (Balance::Hash, Some(_)) => "its address lands here, as far as load allows",
                (Balance::RandomTwo, _) => "there is no other",
                (Balance::RoundRobin | Balance::Hash, _) => "it is this one's turn",
            };
            let servers = self.servers();
            return (group.would(servers, (balance, client), turn, is_open), word);
        }
        (None, "no server can be chosen")
    }
}

const CHANCE: &str = "the less loaded of two that are drawn at random takes it";

fn leads_words(leads: Leads) -> &'static str {
    match leads {
        Leads::Place(_) => "its key lands",
        Leads::Learned(_) => "its key was learned from a response and leads",
        Leads::Server(_) | Leads::Nowhere | Leads::Astray => "its key names the server and leads",
    }
}

#[cfg(all(test, not(ringway_loom)))]
mod tests {
    use super::*;
    use crate::config::{self, ServerAddress};
    use crate::pool::ServerSpec;

    fn pool(keys: &str, servers: &str) -> Pool {
        let pools = format!(r#"{{ "a": {{ {keys} "servers": [{servers}] }} }}"#);
        let text = format!(r#"{{ "listeners": [{{ "bind": "[::]:1" }}], "pools": {pools} }}"#);
        let spec = config::parse(&text).unwrap().config.pools.remove(0);
        let server = |server: &config::Server| {
            let ServerAddress::Address(address) = &server.address else { unreachable!() };
            ServerSpec::new(server, address.clone())
        };
        Pool::new(&spec, spec.servers.iter().map(server).collect())
    }

    const THREE: &str = r#""10.0.0.1:1", "10.0.0.2:1", { "address": "10.0.0.3:1", "weight": 2 }"#;

    fn client(at: u32) -> Option<IpAddr> {
        Some(std::net::Ipv4Addr::from_bits(at).into())
    }

    #[test]
    fn what_is_said_is_what_is_done() {
        for balance in ["round_robin", "least_conn", "hash"] {
            for sticky in ["none", "source"] {
                let keys = format!(r#""balance": "{balance}", "sticky": "{sticky}","#);
                let pool = pool(&keys, THREE);
                for at in 0..200 {
                    let key = pool.key(None, client(at));
                    let said = pool.explain(&key, client(at), 0);
                    assert_eq!(pool.explain(&key, client(at), 0), said, "asking changes nothing");
                    let picked = pool.pick(&key, client(at), &Tried::default(), 7, 0).unwrap();
                    let done = (Some(picked.server), Some(picked.how));
                    assert_eq!((said.server, said.how), done, "{balance} {sticky} {at}: {said:?}");
                    if at % 3 == 0 {
                        pool.release(picked.server);
                    }
                }
            }
        }
    }

    #[test]
    fn who_cannot_be_chosen_is_said_with_the_reason() {
        let servers = r#""10.0.0.1:1", "10.0.0.2:1", { "address": "10.0.0.3:1", "backup": true },
            { "address": "10.0.0.4:1", "max_connections": 1 }"#;
        let pool = pool(r#""health": { "check": "tcp" }, "sticky": "none","#, servers);
        pool.judge(ServerIndex(1), crate::pool::Verdict::Down, 0);
        let key = pool.key(None, None);
        let picked = [(); 2].map(|()| pool.pick(&key, None, &Tried::default(), 0, 0).unwrap());
        assert!(picked.iter().any(|pick| pick.server == ServerIndex(3)));
        let said = pool.explain(&key, None, 0);
        let expected = [
            None,
            Some("checks have declared it down"),
            Some("it is a backup, and others are there"),
            Some("it is full"),
        ];
        assert_eq!(said.excluded, expected);
        assert_eq!((said.server, said.how), (Some(ServerIndex(0)), Some(How::Balanced)));
        assert_eq!(said.why, "it has no key; it is this one's turn");
    }

    #[test]
    fn chance_is_called_chance() {
        let pool = pool(r#""balance": "random_two","#, THREE);
        let said = pool.explain(&pool.key(None, None), None, 0);
        assert_eq!((said.server, said.how), (None, Some(How::Balanced)));
        assert!(said.why.ends_with(CHANCE));
    }
}
