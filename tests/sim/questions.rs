//! Questions about sessions, and orders to close some: what the worker answers must be true.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use ipnet::IpNet;
use ringway::edition::Edition;
use ringway::pool::Pool;
use ringway::random::Random;
use ringway::sys::Side;
use ringway::worker::inquiry::{Answer, Ask, Filter, Inquiry, Pace, Reply, SessionId, View, Why};

use crate::kernel::World;
use crate::link::Draws;

/// So many sessions are shown in one turn; with more, the first have gone on meanwhile.
const ONE_TURN: usize = 32;

/// What was asked, and has not been answered to the end.
enum Asked {
    Show { filter: Arc<Filter>, from: u32, limit: usize },
    ShowOne(SessionId),
    CloseOne,
    Close,
}

/// See the head of the file.
pub(crate) struct Questions {
    /// One turn in so many brings a question; 0: none does.
    every: u64,
    asked: BTreeMap<u64, Asked>,
    next: u64,
    answers_to: Sender<Answer>,
    answers: Receiver<Answer>,
    /// Sessions that were there once.
    known: Vec<SessionId>,
    /// Sessions that were told to close, each by its name.
    closed_one: u64,
    /// Sessions that were told to close, or will be.
    closed_most: u64,
}

/// What is known from elsewhere, at the end of a turn.
pub(crate) struct Facts<'f> {
    pub(crate) world: &'f World,
    pub(crate) edition: &'f Edition,
    /// Sessions now.
    pub(crate) live: u64,
}

impl Questions {
    pub(crate) fn new(random: &mut Random) -> Self {
        let (answers_to, answers) = channel();
        Self {
            every: if random.one_in(2) { 0 } else { 2 + random.below(60) },
            asked: BTreeMap::new(),
            next: 0,
            answers_to,
            answers,
            known: Vec::new(),
            closed_one: 0,
            closed_most: 0,
        }
    }

    /// The next question, now and then.
    pub(crate) fn draw(&mut self, world: &mut World, edition: &Edition) -> Option<Inquiry> {
        if self.every == 0 || !world.random.one_in(self.every) {
            return None;
        }
        let kills = world.kills;
        let now_us = world.now_us;
        let random = &mut world.random;
        let filter = Arc::new(filter(random, edition));
        let one = |known: &[SessionId], random: &mut Random| {
            let count = known.len() as u64;
            known.get(random.below(count) as usize).copied()
        };
        let (ask, asked) = match (random.below(8), one(&self.known, random)) {
            (0, Some(id)) => (Ask::ShowOne(id.slot), Asked::ShowOne(id)),
            (1, Some(id)) if kills => (Ask::CloseOne(id.slot), Asked::CloseOne),
            (2, _) if kills => {
                let per_s = 1 << random.below(20);
                let pace = Arc::new(Pace::new(per_s, now_us));
                (Ask::Close { why: Why::Killed, pace }, Asked::Close)
            }
            _ => {
                let from = if random.one_in(2) { 0 } else { random.below(70) as u32 };
                let limit = if random.one_in(2) { 1_000 } else { 1 + random.below(5) as usize };
                let tcp_info = random.one_in(2);
                let filter = Arc::clone(&filter);
                (Ask::Show { from, limit, tcp_info }, Asked::Show { filter, from, limit })
            }
        };
        let ticket = self.next;
        self.next += 1;
        self.asked.insert(ticket, asked);
        let reply = Some(Reply { ticket, sender: self.answers_to.clone() });
        Some(Inquiry { filter, ask, reply })
    }

    /// Behind a turn: all it has answered is true.
    pub(crate) fn check(&mut self, facts: &Facts<'_>) {
        for answer in self.answers.try_iter() {
            let asked = self.asked.remove(&answer.ticket).expect("asked, and not answered yet");
            assert!(answer.is_last, "a few slots are looked at in one turn");
            let Answer { sessions, matched, next, .. } = answer;
            sessions.iter().for_each(|view| check_view(view, facts.world));
            match asked {
                Asked::Show { filter, from, limit } => {
                    check_page(&sessions, (from, limit, next), &filter, facts);
                    assert_eq!(matched, sessions.len() as u64);
                    self.known.extend(sessions.iter().map(|view| view.id));
                }
                Asked::ShowOne(id) => {
                    assert!(sessions.iter().all(|view| view.id == id) && sessions.len() < 2);
                }
                Asked::CloseOne => {
                    self.closed_one += matched;
                    self.closed_most += matched;
                }
                Asked::Close => self.closed_most += matched,
            }
        }
    }

    /// The worker has ended: so many sessions were closed by an operator, as it says itself.
    pub(crate) fn check_closed(&self, killed: u64) {
        assert!(self.closed_one <= killed && killed <= self.closed_most, "{killed} were killed");
    }
}

fn filter(random: &mut Random, edition: &Edition) -> Filter {
    let mut filter = Filter::default();
    let pick = |random: &mut Random, count: usize| random.below(count as u64) as usize;
    match random.below(6) {
        0 => {
            let listeners = &edition.config.listeners;
            filter.listener = Some(listeners[pick(random, listeners.len())].name.clone());
        }
        1 => {
            let address = format!("10.0.0.{}/32", random.below(7));
            filter.client = Some(address.parse::<IpNet>().expect("a network"));
        }
        2 => filter.pool = Some(edition.pools[pick(random, edition.pools.len())].name().to_owned()),
        3 => {
            let pool: &Pool = &edition.pools[pick(random, edition.pools.len())];
            let servers = pool.servers();
            filter.server = Some(servers[pick(random, servers.len())].address.clone());
        }
        4 => filter.key = Some("0123456789abcdefghij".to_owned()),
        _ => {}
    }
    filter
}

/// Of one session.
fn check_view(view: &View, world: &World) {
    let [up, down] = view.received;
    let place =
        view.place.map(|place| view.edition.pools[usize::from(place.pool.0)].server(place.server));
    assert_eq!(view.server(), place.map(|server| &server.address));
    assert_eq!(view.modes.is_some(), view.phase == "relay", "{view:?}");
    let (slot, generation) = (view.id.slot.index, view.id.slot.generation);
    // Perhaps nothing was done yet on any of its sockets.
    let Some(sides) = world.sessions.get(&(slot, generation)) else { return };
    let [client, server] = sides.map(|link| link.map(|link| &world.links[link]));
    if let Some(client) = client {
        assert!(up <= client.taken, "{view:?} {client}");
        assert_eq!(view.client, client.source.filter(|_| view.client.is_some()), "{client}");
    }
    if let Some(server) = server {
        assert!(down <= server.taken, "{view:?} {server}");
        assert_eq!(place.map(|place| place.peer), server.peer, "{view:?} {server}");
    }
}

/// Of all that was shown at the end of a turn.
fn check_page(
    views: &[View],
    (from, limit, next): (u32, usize, Option<u32>),
    filter: &Filter,
    facts: &Facts<'_>,
) {
    let slots: Vec<_> = views.iter().map(|view| view.id.slot.index).collect();
    assert!(slots.is_sorted_by(|one, next| one < next) && slots.iter().all(|&slot| slot >= from));
    assert!(views.len() <= limit);
    match next {
        None => {}
        Some(next) => assert!(views.len() == limit && slots.iter().all(|&slot| slot < next)),
    }
    for view in views {
        let Filter { client, listener, pool, server, .. } = filter;
        let ip = view.client.map(|client| client.ip());
        assert!(client.is_none_or(|network| ip.is_some_and(|ip| network.contains(&ip))));
        assert!(listener.as_ref().is_none_or(|name| view.listener() == name));
        assert!(pool.as_ref().is_none_or(|name| view.pool() == Some(name)));
        assert!(server.as_ref().is_none_or(|address| view.server() == Some(address)));
    }
    if from > 0 || next.is_some() || views.len() >= ONE_TURN {
        return;
    }
    if *filter == Filter::default() {
        assert_eq!(views.len() as u64, facts.live, "every session is shown");
    }
    for (at, listener) in facts.edition.config.listeners.iter().enumerate() {
        let is_meant = filter.listener.as_ref() == Some(&listener.name);
        if *filter != Filter::default() && !is_meant {
            continue;
        }
        let totals = facts.edition.listener_totals(at);
        let of_it = views.iter().filter(|view| view.listener() == listener.name);
        assert_eq!(of_it.clone().count() as u64, totals.live(), "{}", listener.name);
        let bytes = |side: Side| of_it.clone().map(|view| view.received[side as usize]).sum();
        let (up, down): (u64, u64) = (bytes(Side::Client), bytes(Side::Server));
        assert!(up <= totals.bytes_up && down <= totals.bytes_down, "{}", listener.name);
        if totals.accepted == totals.live() {
            assert_eq!((up, down), (totals.bytes_up, totals.bytes_down), "{}", listener.name);
        }
    }
}
