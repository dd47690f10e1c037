//! Placing a connection that has no key, among servers that stand in for each other.
//!
//! Reserves what it chooses, in one step with the choice where the choice depends on counts.
//! A choice that comes too late for the last place there is gives nothing, whoever else has room:
//! it is for the caller to choose again. Randomness is an argument.

use std::net::IpAddr;

use super::ring::{Ring, mixed};
use super::schedule::{Cursor, Schedule};
use super::{Server, ServerIndex, counts, sticky};
use crate::config::Balance;

/// Draws before a random choice settles for a neighbour: with two servers of one weight, one in
/// 256 second draws is not random then.
const DRAWS: u64 = 8;

/// The servers of a pool with the same role: all backups, or all others.
#[derive(Debug, Default)]
pub(super) struct Group {
    members: Vec<ServerIndex>,
    schedule: Schedule,
    /// Empty where nothing is placed by hash.
    ring: Ring,
    cursor: Cursor,
    /// A page, six assets and a handshake are eight turns: on one cursor every handshake would
    /// end at the same one of four servers.
    handshakes: Cursor,
}

/// Which of a group's cursors moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Handshake,
    Other,
}

impl Group {
    /// Of these members; whose turn it is goes on from where the group before has come to.
    pub(super) fn new<'s>(
        members: impl Iterator<Item = (ServerIndex, &'s Server)> + Clone,
        with_ring: bool,
        before: Option<&Self>,
    ) -> Self {
        let weights: Vec<_> = members.clone().map(|(at, server)| (at, server.weight)).collect();
        let points = members.map(|(at, server)| (at, &*server.id, server.weight));
        let cursor =
            |of: fn(&Self) -> &Cursor| before.map(of).map_or_else(Cursor::default, Cursor::follow);
        Self {
            schedule: Schedule::new(&weights),
            ring: if with_ring { Ring::new(points) } else { Ring::default() },
            members: weights.into_iter().map(|(at, _)| at).collect(),
            cursor: cursor(|before| &before.cursor),
            handshakes: cursor(|before| &before.handshakes),
        }
    }

    pub(super) fn members(&self) -> impl Iterator<Item = ServerIndex> {
        self.members.iter().copied()
    }

    /// How many it has.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Whom balancing would choose among those that pass, if nobody else came; reserves nothing and
    /// takes no turn. What chance decides is the first that passes.
    pub(super) fn would(
        &self,
        servers: &[Server],
        (balance, client): (Balance, Option<IpAddr>),
        turn: Turn,
        passes: impl Fn(ServerIndex) -> bool,
    ) -> Option<ServerIndex> {
        let live = |member: ServerIndex| servers[usize::from(member.0)].live();
        let weight = |member: ServerIndex| servers[usize::from(member.0)].weight;
        match (balance, client) {
            (Balance::RandomTwo, _) => self.members.iter().copied().find(|&m| passes(m)),
            (Balance::RoundRobin, _) | (Balance::Hash, None) => {
                self.schedule.ahead(self.cursor(turn)).find(|&server| passes(server))
            }
            (Balance::LeastConn, _) => {
                let first = self.schedule.ahead(self.cursor(turn)).next()?;
                let at = self.members.partition_point(|&member| member < first);
                let (before, behind) = self.members.split_at(at);
                let members = behind.iter().chain(before).copied().filter(|&m| passes(m));
                members.reduce(|least, other| {
                    let lighter = counts::is_lighter(
                        (live(other), weight(other)),
                        (live(least), weight(least)),
                    );
                    if lighter { other } else { least }
                })
            }
            (Balance::Hash, Some(client)) => {
                let place = sticky::source(client);
                let members = self.members.iter().copied().filter(|&member| passes(member));
                let (all, sum) = members.fold((0_u64, 0_u64), |(all, sum), member| {
                    (all + u64::from(live(member)), sum + u64::from(weight(member)))
                });
                let has_room = |&member: &ServerIndex| {
                    u64::from(live(member)) < bound(all, u64::from(weight(member)), sum)
                };
                let mut in_order = self.ring.from(place).filter(|&member| passes(member));
                in_order.find(has_room).or_else(|| self.owner_where(place, &passes))
            }
        }
    }

    /// The server that owns a place, whatever its load.
    pub(super) fn owner(&self, place: u64) -> Option<ServerIndex> {
        self.ring.from(place).next()
    }

    /// The first that passes, from the owner of a place onwards.
    pub(super) fn owner_where(
        &self,
        place: u64,
        passes: impl Fn(ServerIndex) -> bool,
    ) -> Option<ServerIndex> {
        // Members are few beside points: no walk all around to find that nobody passes.
        let anybody = self.members.iter().any(|&member| passes(member));
        anybody.then(|| self.ring.from(place).find(|&server| passes(server)))?
    }

    /// Smooth weighted round robin.
    pub(super) fn round_robin(
        &self,
        servers: &[Server],
        turn: Turn,
        passes: impl Fn(ServerIndex) -> bool,
    ) -> Option<ServerIndex> {
        // Members are few beside turns: no walk through all of those to find that nobody passes.
        let anybody = self.members.iter().any(|&member| passes(member));
        let chosen = anybody.then(|| self.schedule.next_where(self.cursor(turn), passes))??;
        reserve(servers, chosen)
    }

    /// Fewest live sessions per weight; of equals the one whose turn it would be, or the next
    /// behind it. Reads every count: 1,024 servers are as many cache lines.
    pub(super) fn least_conn(
        &self,
        servers: &[Server],
        turn: Turn,
        passes: impl Fn(ServerIndex) -> bool,
    ) -> Option<ServerIndex> {
        let first = self.schedule.next(self.cursor(turn))?;
        let (before, behind) =
            self.members.split_at(self.members.partition_point(|&member| member < first));
        let members = behind.iter().chain(before).copied().filter(|&member| passes(member));
        counts::reserve_least(members.map(|member| {
            let server = &servers[usize::from(member.0)];
            (member, &server.state.count, server.weight)
        }))
    }

    /// The less loaded of two drawn by weight.
    pub(super) fn random_two(
        &self,
        servers: &[Server],
        random: u64,
        passes: impl Fn(ServerIndex) -> bool,
    ) -> Option<ServerIndex> {
        let one = self.draw(random, &passes)?;
        let chosen = match self.draw(!random, |server| server != one && passes(server)) {
            Some(other) if is_lighter(servers, other, one) => other,
            _ => one,
        };
        reserve(servers, chosen)
    }

    /// Consistent hash with bounded load (Mirrokni, Thorup, Zadimoghaddam 2016): the owner of the
    /// place, unless it has a quarter more than its share already; then the next that has not.
    /// While there are fewer sessions than servers, that is one each.
    pub(super) fn bounded_hash(
        &self,
        servers: &[Server],
        place: u64,
        passes: impl Fn(ServerIndex) -> bool,
    ) -> Option<ServerIndex> {
        let members = self.members.iter().copied().filter(|&member| passes(member));
        let (live, weight) = members.fold((0_u64, 0_u64), |(live, weight), member| {
            let server = &servers[usize::from(member.0)];
            (live + u64::from(server.live()), weight + u64::from(server.weight))
        });
        let has_room = |&member: &ServerIndex| {
            let server = &servers[usize::from(member.0)];
            server.state.count.reserve_below(bound(live, u64::from(server.weight), weight))
        };
        let owner = self.owner_where(place, &passes)?;
        let mut in_order = self.ring.from(place).filter(|&member| passes(member));
        // Only when other workers filled all the room since the counts were read.
        in_order.find(has_room).or_else(|| reserve(servers, owner))
    }

    fn cursor(&self, turn: Turn) -> &Cursor {
        match turn {
            Turn::Handshake => &self.handshakes,
            Turn::Other => &self.cursor,
        }
    }

    /// A server by weight: a turn of the schedule at random.
    fn draw(&self, random: u64, passes: impl Fn(ServerIndex) -> bool) -> Option<ServerIndex> {
        let turn = |step: u64| {
            // The upper half only: what is lost of the number is nothing a remainder would miss.
            let turn = usize::try_from(mixed(random.wrapping_add(step)) >> 32).expect("32 bits");
            self.schedule.at(turn)
        };
        let drawn = (0..DRAWS).filter_map(turn).find(|&server| passes(server));
        drawn.or_else(|| {
            let start = usize::try_from(random >> 32).expect("32 bits");
            let (before, behind) = self.members.split_at(start.checked_rem(self.members.len())?);
            behind.iter().chain(before).copied().find(|&server| passes(server))
        })
    }
}

/// Sessions a server may have, when one comes to `live` others: 1.25 times its share, rounded up,
/// so that the bounds of all together always have room for it.
fn bound(live: u64, weight: u64, sum: u64) -> u64 {
    (5 * (live + 1) * weight).div_ceil(4 * sum)
}

fn is_lighter(servers: &[Server], one: ServerIndex, other: ServerIndex) -> bool {
    let load = |server: ServerIndex| {
        let server = &servers[usize::from(server.0)];
        (server.live(), server.weight)
    };
    counts::is_lighter(load(one), load(other))
}

fn reserve(servers: &[Server], server: ServerIndex) -> Option<ServerIndex> {
    servers[usize::from(server.0)].state.count.reserve().then_some(server)
}
