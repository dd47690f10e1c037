//! What operators have changed of servers while ringway runs: an overlay over the file.
//!
//! Kept by name of pool and address of server. A value stays until the file says something else
//! about it than it did when the value was set; then the file wins. Makes no edition and tells
//! nobody.

use std::collections::BTreeMap;

use super::denied::Denied;
use crate::config::{Address, Config};
use crate::pool::{Duty, ServerSpec};

/// Servers one pool may have: a `ServerIndex` has 16 bits, and some of them may be leaving.
const SERVERS_MAX: usize = 32_768;

/// See the head of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(BTreeMap<(String, Address), Change>);

/// What is changed of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The file always wants it ready.
    duty: Duty,
    weight: Option<Weight>,
    /// It is not in the file, or not so.
    added: Option<ServerSpec>,
    /// What the file says of it, which does not count.
    removed: Option<ServerSpec>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Weight {
    now: u16,
    in_file: u16,
}

/// What somebody wants changed.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) pool: String,
    pub(crate) server: Address,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// What is wanted of it, its weight, or both.
    Set { duty: Option<Duty>, weight: Option<u16> },
    /// A server that is not there.
    Add(ServerSpec),
    /// It is to be there no longer.
    Remove,
}

/// A value that no longer stays: the file says something else about it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) pool: String,
    pub(super) server: Address,
    pub(super) change: &'static str,
    pub(super) why: String,
}

impl Change {
    /// Words for what is changed.
    pub fn words(&self) -> Vec<&'static str> {
        let words = [
            ("state", self.duty != Duty::Ready),
            ("weight", self.weight.is_some()),
            ("added", self.added.is_some()),
            ("removed", self.removed.is_some()),
        ];
        let changed = words.into_iter().filter(|(_, is_changed)| *is_changed);
        changed.map(|(word, _)| word).collect()
    }

    fn is_there(&self, file: Option<&ServerSpec>) -> bool {
        self.added.is_some() || file.is_some() && self.removed.is_none()
    }
}

impl Changes {
    /// Servers of which something is changed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Everything is as in the file.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is changed of a server.
    pub fn of(&self, pool: &str, server: &Address) -> Option<&Change> {
        self.0.get(&(pool.to_owned(), server.clone()))
    }

    /// The weight a server has in the file, where that is not its weight; `None` within: it is not
    /// in the file.
    pub fn weight_in_file(&self, pool: &str, server: &Address) -> Option<Option<u16>> {
        let change = self.of(pool, server)?;
        match (&change.added, change.weight) {
            (Some(_), _) => Some(None),
            (None, weight) => weight.map(|weight| Some(weight.in_file)),
        }
    }

    /// What the file says of the servers that are removed from a pool.
    pub fn removed_from(&self, pool: &str) -> impl Iterator<Item = &ServerSpec> {
        let of_pool = self.0.iter().filter(move |((name, _), _)| name == pool);
        of_pool.filter_map(|(_, change)| change.removed.as_ref())
    }

    /// Takes in what is asked for; `file` are the servers of the file, by pool.
    pub(super) fn take(
        &mut self,
        config: &Config,
        file: &[Vec<ServerSpec>],
        ask: &Ask,
    ) -> Result<(), Denied> {
        let at = config.pools.iter().position(|pool| pool.name == ask.pool);
        let at = at.ok_or_else(|| Denied::no_pool(&ask.pool, config))?;
        let in_file = file[at].iter().find(|server| server.address == ask.server);
        let key = (ask.pool.clone(), ask.server.clone());
        let mut change = self.0.get(&key).cloned().unwrap_or_default();
        let is_there = change.is_there(in_file);
        if !is_there && !matches!(ask.what, What::Add(_)) {
            return Err(Denied::no_server(&ask.pool, &ask.server));
        }
        match &ask.what {
            What::Set { duty, weight } => {
                change.duty = duty.unwrap_or(change.duty);
                if let Some(weight) = *weight {
                    change.weigh(weight, in_file);
                }
            }
            What::Add(_) if is_there => {
                let (pool, server) = (&ask.pool, &ask.server);
                return Err(Denied::conflict(format!("pool {pool} has server {server} already")));
            }
            What::Add(spec) => {
                // As the file has it, it is only no longer removed.
                let is_as_in_file = in_file == Some(spec);
                let added = (!is_as_in_file).then(|| spec.clone());
                let removed = change.removed.filter(|_| !is_as_in_file);
                change = Change { added, removed, ..Change::default() };
            }
            What::Remove => {
                change = Change { removed: in_file.cloned(), ..Change::default() };
            }
        }
        let before = self.0.remove(&key);
        if change != Change::default() {
            self.0.insert(key.clone(), change);
        }
        let bounded = self.is_bounded(config, &file[at], at);
        if bounded.is_err() {
            self.0.remove(&key);
            self.0.extend(before.map(|before| (key, before)));
        }
        bounded
    }

    /// What a file must have, a pool must have too.
    fn is_bounded(&self, config: &Config, file: &[ServerSpec], at: usize) -> Result<(), Denied> {
        let name = &config.pools[at].name;
        let servers = self.apply_to(name, file.to_vec());
        if servers.iter().all(|server| server.backup) {
            let why = "it would have no server left that is no backup";
            return Err(Denied::conflict(format!("pool {name}: {why}")));
        }
        if servers.len() > SERVERS_MAX {
            return Err(Denied::conflict(format!("pool {name} has {SERVERS_MAX} servers already")));
        }
        Ok(())
    }

    /// The servers of each pool as they are to be.
    pub(super) fn apply(&self, config: &Config, file: &[Vec<ServerSpec>]) -> Vec<Vec<ServerSpec>> {
        let pools = config.pools.iter().zip(file);
        pools.map(|(pool, servers)| self.apply_to(&pool.name, servers.clone())).collect()
    }

    fn apply_to(&self, pool: &str, mut servers: Vec<ServerSpec>) -> Vec<ServerSpec> {
        let changes = || self.0.iter().filter(|((name, _), _)| name == pool);
        if changes().next().is_none() {
            return servers;
        }
        let is_removed = |change: &Change| change.removed.is_some();
        servers.retain(|server| !self.of(pool, &server.address).is_some_and(is_removed));
        servers.extend(changes().filter_map(|(_, change)| change.added.clone()));
        for server in &mut servers {
            if let Some(change) = self.of(pool, &server.address) {
                server.duty = change.duty;
                server.weight = change.weight.map_or(server.weight, |weight| weight.now);
            }
        }
        servers
    }

    /// Goes on over another file, without what that says something else about; which is that.
    pub(super) fn follow(&mut self, config: &Config, file: &[Vec<ServerSpec>]) -> Vec<Dropped> {
        let mut dropped = Vec::new();
        for ((pool, server), change) in &mut self.0 {
            let mut drop = |change, why| {
                dropped.push(Dropped { pool: pool.clone(), server: server.clone(), change, why });
            };
            let at = config.pools.iter().position(|configured| configured.name == *pool);
            let in_file = at.and_then(|at| file[at].iter().find(|s| s.address == *server));
            let is_gone = in_file.is_none() && (at.is_none() || change.added.is_none());
            if is_gone {
                let why = if at.is_none() { "the pool is gone from the file" } else { GONE };
                change.words().iter().for_each(|word| drop(word, why.to_owned()));
                *change = Change::default();
                continue;
            }
            match in_file {
                None => change.removed = None,
                Some(_) if change.added.is_some() && change.removed.is_none() => {
                    drop("added", "it is in the file now".to_owned());
                    change.added = None;
                }
                Some(_) => {}
            }
            if let (Some(weight), Some(now)) = (change.weight, in_file)
                && weight.in_file != now.weight
            {
                drop("weight", format!("it is {} in the file now", now.weight));
                change.weight = None;
            }
        }
        self.0.retain(|_, change| *change != Change::default());
        dropped
    }
}

const GONE: &str = "the server is gone from the file";

impl Change {
    fn weigh(&mut self, now: u16, in_file: Option<&ServerSpec>) {
        match (&mut self.added, in_file) {
            (Some(added), _) => added.weight = now,
            (None, Some(&ServerSpec { weight: in_file, .. })) => {
                self.weight = (now != in_file).then_some(Weight { now, in_file });
            }
            (None, None) => unreachable!("it is there"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ServerAddress, parse};

    /// Pools with servers `10.0.0.N:1` of these weights, those of weight 100 as backups.
    fn file(pools: &[(&str, &[(u8, u16)])]) -> (Config, Vec<Vec<ServerSpec>>) {
        let server = |&(at, weight): &(u8, u16)| {
            let backup = weight == 100;
            format!(r#"{{ "address": "10.0.0.{at}:1", "weight": {weight}, "backup": {backup} }}"#)
        };
        let pool = |(name, servers): &(&str, &[(u8, u16)])| {
            let servers: Vec<String> = servers.iter().map(server).collect();
            format!(r#""{name}": {{ "servers": [{}] }}"#, servers.join(", "))
        };
        let pools: Vec<String> = pools.iter().map(pool).collect();
        let listeners = r#"[{ "bind": "[::]:1" }]"#;
        let text = format!(r#"{{ "listeners": {listeners}, "pools": {{ {} }} }}"#, pools.join(","));
        let config = parse(&text).unwrap().config;
        let spec = |server: &crate::config::Server| {
            let ServerAddress::Address(address) = &server.address else { unreachable!() };
            ServerSpec::new(server, address.clone())
        };
        let servers = config.pools.iter().map(|p| p.servers.iter().map(spec).collect()).collect();
        (config, servers)
    }

    fn address(at: u8) -> Address {
        Address::Tcp(([10, 0, 0, at], 1).into())
    }

    fn ask(at: u8, what: What) -> Ask {
        Ask { pool: "a".to_owned(), server: address(at), what }
    }

    fn spec(at: u8, weight: u16) -> ServerSpec {
        let (backup, max_connections, duty) = (weight == 100, None, Duty::Ready);
        let id = address(at).to_string();
        ServerSpec { address: address(at), id, weight, backup, max_connections, duty }
    }

    fn weight(weight: u16) -> What {
        What::Set { duty: None, weight: Some(weight) }
    }

    fn duty(duty: Duty) -> What {
        What::Set { duty: Some(duty), weight: None }
    }

    /// Servers as they are to be: place, weight, duty.
    fn applied(
        changes: &Changes,
        file: &(Config, Vec<Vec<ServerSpec>>),
    ) -> Vec<(String, u16, Duty)> {
        let pool = changes.apply(&file.0, &file.1).remove(0);
        pool.into_iter().map(|s| (s.address.to_string(), s.weight, s.duty)).collect()
    }

    fn row(at: u8, weight: u16, duty: Duty) -> (String, u16, Duty) {
        (address(at).to_string(), weight, duty)
    }

    fn changed(changes: &Changes, at: u8) -> Vec<&'static str> {
        changes.of("a", &address(at)).map(Change::words).unwrap_or_default()
    }

    #[test]
    fn each_change_holds_for_its_server_and_can_be_taken_back() {
        let file = file(&[("a", &[(1, 5), (2, 5)])]);
        let mut changes = Changes::default();
        let mut take = |at, what| changes.take(&file.0, &file.1, &ask(at, what)).unwrap();
        take(1, duty(Duty::Drain));
        take(1, weight(7));
        take(3, What::Add(spec(3, 2)));
        take(2, What::Remove);
        take(3, weight(9));
        assert_eq!(applied(&changes, &file), [row(1, 7, Duty::Drain), row(3, 9, Duty::Ready)]);
        assert_eq!(changed(&changes, 1), ["state", "weight"]);
        assert_eq!(changed(&changes, 2), ["removed"]);
        assert_eq!(changed(&changes, 3), ["added"]);
        assert_eq!(changes.weight_in_file("a", &address(1)), Some(Some(5)));
        assert_eq!(changes.weight_in_file("a", &address(3)), Some(None));
        let mut take = |at, what| changes.take(&file.0, &file.1, &ask(at, what)).unwrap();
        take(1, duty(Duty::Ready));
        take(1, weight(5));
        take(2, What::Add(spec(2, 5)));
        take(3, What::Remove);
        assert_eq!(changes, Changes::default());
    }

    #[test]
    fn what_cannot_be_is_denied_and_changes_nothing() {
        let file = file(&[("a", &[(1, 5), (2, 100)])]);
        let mut changes = Changes::default();
        let mut denied = |ask: Ask| {
            let result = changes.take(&file.0, &file.1, &ask);
            assert_eq!(changes, Changes::default());
            result.unwrap_err().to_string()
        };
        let no_pool = Ask { pool: "c".to_owned(), ..ask(1, What::Remove) };
        assert_eq!(denied(no_pool), "there is no pool \"c\"; there is \"a\"");
        assert_eq!(denied(ask(9, weight(1))), "pool a has no server 10.0.0.9:1");
        assert_eq!(denied(ask(9, What::Remove)), "pool a has no server 10.0.0.9:1");
        assert_eq!(denied(ask(2, What::Add(spec(2, 1)))), "pool a has server 10.0.0.2:1 already");
        assert_eq!(
            denied(ask(1, What::Remove)),
            "pool a: it would have no server left that is no backup"
        );
    }

    #[test]
    fn a_value_stays_until_the_file_changes_it() {
        let before = file(&[("a", &[(1, 5), (2, 5), (3, 5)])]);
        let mut changes = Changes::default();
        let asks = [
            (1, duty(Duty::Down)),
            (1, weight(7)),
            (2, weight(8)),
            (3, What::Remove),
            (4, What::Add(spec(4, 1))),
            (5, What::Add(spec(5, 1))),
            (5, duty(Duty::Drain)),
        ];
        for (at, what) in asks {
            changes.take(&before.0, &before.1, &ask(at, what)).unwrap();
        }
        let all = changes.clone();
        assert_eq!(changes.follow(&before.0, &before.1), []);
        assert_eq!(changes, all);
        // Another weight for 1, none for 2, 4 comes into the file; the rest is as it was.
        let after = file(&[("a", &[(1, 6), (3, 5), (4, 3)])]);
        let dropped = changes.follow(&after.0, &after.1);
        let dropped: Vec<_> =
            dropped.iter().map(|d| (d.server.to_string(), d.change, d.why.as_str())).collect();
        assert_eq!(
            dropped,
            [
                (address(1).to_string(), "weight", "it is 6 in the file now"),
                (address(2).to_string(), "weight", GONE),
                (address(4).to_string(), "added", "it is in the file now"),
            ]
        );
        assert_eq!(
            applied(&changes, &after),
            [row(1, 6, Duty::Down), row(4, 3, Duty::Ready), row(5, 1, Duty::Drain)]
        );
        let gone = file(&[("b", &[(1, 1)])]);
        let dropped = changes.follow(&gone.0, &gone.1);
        assert!(dropped.iter().all(|d| d.why == "the pool is gone from the file"));
        assert!(changes.is_empty());
    }
}
