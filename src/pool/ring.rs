//! Consistent hashing: each server owns arcs of a ring in proportion to its weight.
//!
//! Where a server's points stand depends on its id and nothing else, so machines with the same
//! servers agree, whatever their order in the file, and a server that leaves moves only the keys
//! it had. Reads no count: load bounds are the caller's.

use std::hash::Hasher;

use siphash::sip::SipHasher13;

use super::ServerIndex;

/// Keys the hash that places keys and servers. Fixed, since machines must agree; a client that
/// knows it gains nothing but the choice of its own server.
const PLACEMENT_KEY: (u64, u64) = (0x7269_6e67_7761_7920, 0x706c_6163_656d_656e);

/// Points for one unit of weight in a small pool: shares are then within a few percent of even
/// (one standard deviation is 1/sqrt(points), 4.4 %).
const POINTS_PER_WEIGHT: u64 = 512;

/// Points on a ring at most, 5 MiB: 1,024 servers of weight 1 have all 512. Above a weight sum of
/// 1,024 the points per unit are halved until they fit. A server keeps the first of its points
/// then, but the ring is another one: only crossing such a sum moves more keys than it must.
const MAX_POINTS: u64 = 1 << 19;

/// Where a key is placed on a ring.
pub(super) fn place(value: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(PLACEMENT_KEY.0, PLACEMENT_KEY.1);
    hasher.write(value);
    hasher.finish()
}

/// Points in ascending order, each the end of an arc, and who owns it.
#[derive(Debug, Default)]
pub(super) struct Ring {
    points: Box<[u64]>,
    owners: Box<[ServerIndex]>,
}

impl Ring {
    /// Ids must differ: they are all that tells servers apart here.
    pub(super) fn new<'i>(members: impl Iterator<Item = (ServerIndex, &'i str, u16)>) -> Self {
        let mut members: Vec<_> = members.collect();
        // With a stable sort below, two points at one place are in the order of ids everywhere.
        members.sort_by_key(|&(_, id, _)| id);
        let sum: u64 = members.iter().map(|&(.., weight)| u64::from(weight)).sum();
        let mut per_weight = POINTS_PER_WEIGHT;
        while per_weight > 1 && per_weight * sum > MAX_POINTS {
            per_weight /= 2;
        }
        let mut points: Vec<(u64, ServerIndex)> = members
            .iter()
            .flat_map(|&(server, id, weight)| {
                let seed = place(id.as_bytes());
                (0..per_weight * u64::from(weight)).map(move |n| (point(seed, n), server))
            })
            .collect();
        points.sort_by_key(|&(point, _)| point);
        let (points, owners): (Vec<_>, Vec<_>) = points.into_iter().unzip();
        Self { points: points.into(), owners: owners.into() }
    }

    /// The owner of the arc a key falls on, then the owners of the arcs behind it, once around;
    /// a server comes as often as it has points.
    pub(super) fn from(&self, place: u64) -> impl Iterator<Item = ServerIndex> {
        let first = self.points.partition_point(|&point| point < place);
        let (before, behind) = self.owners.split_at(first);
        behind.iter().chain(before).copied()
    }
}

/// The n-th point of a server: SplitMix64, one stream per seed.
fn point(seed: u64, n: u64) -> u64 {
    mixed(seed.wrapping_add((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// SplitMix64's finaliser: every bit of the result depends on every bit of the argument.
pub(super) fn mixed(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const KEYS: u32 = 40_000;

    type Servers = BTreeMap<u16, u16>;

    fn id(server: u16) -> String {
        format!("10.0.{}.{}:80", server / 256, server % 256)
    }

    fn owners(servers: &Servers) -> Vec<u16> {
        let ids: Vec<_> = servers.iter().map(|(&server, &w)| (server, id(server), w)).collect();
        let members = ids.iter().map(|(server, id, w)| (ServerIndex(*server), id.as_str(), *w));
        let ring = Ring::new(members);
        (0..KEYS).map(|key| ring.from(place(&key.to_le_bytes())).next().unwrap().0).collect()
    }

    fn equal(count: u16) -> Servers {
        (0..count).map(|server| (server, 1)).collect()
    }

    fn keys_of(owners: &[u16], server: u16) -> f64 {
        owners.iter().filter(|&&owner| owner == server).count() as f64
    }

    #[test]
    fn keys_are_spread_within_a_fifth_of_even() {
        for count in [2, 3, 4, 10, 16] {
            let owners = owners(&equal(count));
            let even = f64::from(KEYS) / f64::from(count);
            for server in 0..count {
                let off = (keys_of(&owners, server) / even - 1.0).abs();
                assert!(off < 0.2, "server {server} of {count} is {off:.2} off");
            }
        }
    }

    #[test]
    fn weight_is_the_share() {
        let owners = owners(&[(0, 1), (1, 2), (2, 5)].into());
        for (server, share) in [(0, 0.125), (1, 0.25), (2, 0.625)] {
            let found = keys_of(&owners, server) / f64::from(KEYS);
            assert!((found / share - 1.0).abs() < 0.15, "server {server} has {found:.3}");
        }
    }

    #[test]
    fn a_server_that_leaves_moves_its_own_keys_and_no_others() {
        for count in [2, 4, 33] {
            let before = owners(&equal(count));
            let mut servers = equal(count);
            servers.remove(&1);
            let after = owners(&servers);
            for (before, after) in before.iter().zip(&after) {
                assert!(before == after || *before == 1);
                assert_ne!(*after, 1);
            }
        }
    }

    #[test]
    fn a_server_that_comes_takes_its_share_and_moves_nothing_else() {
        let (before, after) = (owners(&equal(9)), owners(&equal(10)));
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
        assert!(moved.clone().all(|(_, after)| *after == 9));
        assert!(moved.count() < usize::try_from(KEYS / 10 * 12 / 10).unwrap());
    }

    #[test]
    fn order_in_the_file_means_nothing() {
        let members = [("a", 1), ("b", 3), ("c", 2)];
        let ids = |turned: usize| {
            let mut members: Vec<_> = members.to_vec();
            members.rotate_left(turned);
            let numbered = members.iter().zip(0..).map(|(&(id, w), at)| (ServerIndex(at), id, w));
            let ring = Ring::new(numbered);
            let id = |server: ServerIndex| members[usize::from(server.0)].0;
            (0..1_000_u32)
                .map(|key| id(ring.from(place(&key.to_le_bytes())).next().unwrap()))
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(0), ids(1));
        assert_eq!(ids(0), ids(2));
    }

    #[test]
    fn places_are_the_same_on_every_machine() {
        // Computed apart from this code, by SipHash-1-3 as its paper has it.
        assert_eq!(place(b"192.0.2.1"), 2_474_926_361_666_172_564);
    }

    #[test]
    fn the_walk_meets_every_server() {
        let ids: Vec<_> = (0..16).map(|server| (server, id(server))).collect();
        let ring = Ring::new(ids.iter().map(|(server, id)| (ServerIndex(*server), &id[..], 1)));
        let met: std::collections::BTreeSet<u16> = ring.from(u64::MAX).map(|s| s.0).collect();
        assert_eq!(met.len(), 16);
        assert_eq!(Ring::default().from(7).next(), None);
    }

    #[test]
    fn the_largest_pool_stays_within_its_bound() {
        let ids: Vec<_> = (0..1_024).map(|server| (server, id(server))).collect();
        for (weight, points) in [(1, 1 << 19), (3, 1_024 * 3 * 128), (256, 1 << 19)] {
            let members = ids.iter().map(|(server, id)| (ServerIndex(*server), &id[..], weight));
            assert_eq!(Ring::new(members).points.len(), points, "weight {weight}");
        }
    }
}
