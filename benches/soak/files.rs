//! Configuration files: each other than the last, some of them wrong.

use std::net::{Ipv4Addr, SocketAddr};

use ringway::random::Random;
use serde_json::{Value, json};

use crate::plan::below;

/// Servers of each group.
pub(crate) const SERVERS: u16 = 4;

/// Listeners that come and go.
const SIDE_DOORS: u16 = 8;

/// Ports on addresses of this run's own, where no other program's connections start or end.
const SERVER_PORT: u16 = 7001;
const CHAT_PORT: u16 = 7002;
const WEB_PORT: u16 = 7003;
const DOOR_PORT: u16 = 7100;

/// Milliseconds for sessions to end by themselves at the end; echoes take a few of them.
const DRAIN_TIMEOUT_MS: u32 = 6_000;
const DRAIN_WINDOW_MS: u32 = 1_000;

/// Where everything is: addresses of loopback that belong to this run.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    network: [u8; 2],
}

/// A file and where its clients may go.
pub(crate) struct File {
    pub(crate) value: Value,
    pub(crate) doors: Vec<SocketAddr>,
}

impl Places {
    /// Two runs at once differ in their process numbers.
    pub(crate) fn of_this_process() -> Self {
        let number = std::process::id();
        Self { network: [(number / 250 % 120) as u8 + 100, (number % 250) as u8] }
    }

    fn at(self, host: u16, port: u16) -> SocketAddr {
        let [second, third] = self.network;
        SocketAddr::from((Ipv4Addr::new(127, second, third, host as u8), port))
    }

    pub(crate) fn plain(self) -> Vec<SocketAddr> {
        (1..=SERVERS).map(|host| self.at(host, SERVER_PORT)).collect()
    }

    pub(crate) fn chat(self) -> Vec<SocketAddr> {
        (1..=SERVERS).map(|host| self.at(host, CHAT_PORT)).collect()
    }

    pub(crate) fn web(self) -> Vec<SocketAddr> {
        (1..=SERVERS).map(|host| self.at(host, WEB_PORT)).collect()
    }

    /// The listener that reads HTTP.
    pub(crate) fn http(self) -> SocketAddr {
        self.at(100, DOOR_PORT)
    }

    /// Listeners that never leave.
    pub(crate) fn main_doors(self) -> Vec<SocketAddr> {
        vec![self.at(100, DOOR_PORT + 1), self.at(100, DOOR_PORT + 2)]
    }

    /// This program listens there, so that ringway cannot.
    pub(crate) fn taken(self) -> SocketAddr {
        self.at(100, DOOR_PORT + 3)
    }

    fn side_door(self, nth: u16) -> SocketAddr {
        self.at(100, DOOR_PORT + 10 + nth)
    }

    /// What a run starts and ends with.
    pub(crate) fn plainest(self) -> File {
        let pool = json!({"servers": self.plain()});
        let chat = json!({"sticky": "socketio", "servers": self.chat()});
        self.file(&pool, &chat, &[], true)
    }

    /// Any that is right.
    pub(crate) fn any(self, random: &mut Random) -> File {
        let balance = ["round_robin", "least_conn", "random_two", "hash"];
        let balance = balance[below(random, 4) as usize];
        let sticky = ["none", "none", "source"][below(random, 3) as usize];
        let pool = json!({
            "balance": balance,
            "sticky": sticky,
            "servers": some(&self.plain(), random),
        });
        let chat = json!({"sticky": "socketio", "servers": some(&self.chat(), random)});
        let set = below(random, 1 << SIDE_DOORS);
        let side_doors: Vec<_> = (0..SIDE_DOORS).filter(|nth| set >> nth & 1 == 1).collect();
        self.file(&pool, &chat, &side_doors, below(random, 4) != 0)
    }

    /// For the reloads: WebSockets by one host, visits by another.
    pub(crate) fn web_file(self, random: &mut Random) -> File {
        let mut doors = vec![self.main_doors()[0]];
        let side_doors = below(random, 1 << SIDE_DOORS);
        let nths = (0..SIDE_DOORS).filter(|nth| side_doors >> nth & 1 == 1);
        doors.extend(nths.map(|nth| self.side_door(nth)));
        let listeners = doors.iter().map(|door| {
            json!({
                "name": format!("door-{}", door.port()),
                "bind": door,
                "routes": [{"host": "live.example", "pool": "live"}],
                "pool": "site",
            })
        });
        let value = json!({
            "workers": 2,
            "listeners": listeners.collect::<Vec<_>>(),
            "pools": {
                "live": {"servers": some(&self.web(), random)},
                "site": {"servers": some(&self.web(), random), "balance": "least_conn"},
            },
        });
        File { value, doors }
    }

    /// Any that is wrong.
    pub(crate) fn wrong(self, random: &mut Random) -> String {
        let mut value = self.any(random).value;
        match below(random, 5) {
            0 => return value.to_string().split_off(1),
            1 => value["wrokers"] = json!(2),
            2 => value["pools"]["plain"]["servers"][0] = json!({"address": "1.2.3.4"}),
            3 => value["listeners"][0]["pool"] = json!("nowhere"),
            _ => value["listeners"][1]["bind"] = json!([self.main_doors()[0], self.taken()]),
        }
        value.to_string()
    }

    fn file(self, plain: &Value, chat: &Value, side_doors: &[u16], splice: bool) -> File {
        let [main, auto] = self.main_doors()[..] else { unreachable!("there are two") };
        let mut doors = self.main_doors();
        let mut listeners = vec![
            json!({"name": "http", "bind": self.http(), "pool": "chat"}),
            json!({"name": "main", "bind": main, "peek": "none", "pool": "plain"}),
            json!({"name": "auto", "bind": auto, "peek": "auto", "pool": "plain"}),
        ];
        for &nth in side_doors {
            let (name, door) = (format!("side-{nth}"), self.side_door(nth));
            let peek = if nth.is_multiple_of(2) { "none" } else { "auto" };
            listeners.push(json!({"name": name, "bind": door, "peek": peek, "pool": "plain"}));
            doors.push(door);
        }
        let value = json!({
            "workers": 2,
            "splice": splice,
            "drain_timeout_ms": DRAIN_TIMEOUT_MS,
            "drain_window_ms": DRAIN_WINDOW_MS,
            "listeners": listeners,
            "pools": {"plain": plain, "chat": chat},
        });
        File { value, doors }
    }
}

/// Two of the servers or more, so that one is left where one is dead; with weights.
fn some(all: &[SocketAddr], random: &mut Random) -> Vec<Value> {
    let mut all = all.to_vec();
    while all.len() > 2 && below(random, 3) > 0 {
        all.remove(below(random, all.len() as u64) as usize);
    }
    let weighted = all.iter().enumerate().map(|(nth, server)| {
        let backup = nth > 0 && below(random, 8) == 0;
        json!({"address": server, "weight": 1 + below(random, 5), "backup": backup})
    });
    weighted.collect()
}
