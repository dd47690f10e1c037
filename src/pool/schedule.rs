//! Smooth weighted round robin, computed ahead; a cursor shared by all workers walks it.
//!
//! nginx's algorithm: each turn every server gains its weight, the one that has most is chosen and
//! pays the sum of all weights. So 5/1/1 is `a a b a c a a` and never five in a row. One whole
//! walk gives each server exactly its weight, and with one cursor for the process that holds over
//! all workers.

use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

use super::ServerIndex;

/// Turns in a schedule at most: 128 KiB, enough for 256 servers of any weights to be exact.
/// Larger sums are scaled down to it, and a share is then off by less than one turn.
const MAX_TURNS: u64 = 65_536;

/// Whose turn it is, for one whole round. Empty only without servers.
#[derive(Debug, Default)]
pub(super) struct Schedule(Box<[ServerIndex]>);

/// How far the process has walked along a [`Schedule`], on a cache line of its own.
#[derive(Debug, Default)]
pub(super) struct Cursor(CachePadded<AtomicUsize>);

impl Cursor {
    /// One that goes on from where another is now.
    pub(super) fn follow(other: &Self) -> Self {
        Self(CachePadded::new(AtomicUsize::new(other.0.load(Ordering::Relaxed))))
    }

    /// The next position; no two callers ever get the same one.
    fn advance(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl Schedule {
    pub(super) fn new(members: &[(ServerIndex, u16)]) -> Self {
        let weights = reduced(members.iter().map(|&(_, weight)| u64::from(weight)).collect());
        let sum: i64 = weights.iter().sum();
        let mut gained = vec![0_i64; weights.len()];
        let turns = (0..sum).map(|_| {
            let mut most = 0;
            for (at, weight) in weights.iter().enumerate() {
                gained[at] += weight;
                if gained[at] > gained[most] {
                    most = at;
                }
            }
            gained[most] -= sum;
            members[most].0
        });
        Self(turns.collect())
    }

    /// The server whose turn it is; `None` only without servers.
    pub(super) fn next(&self, cursor: &Cursor) -> Option<ServerIndex> {
        self.at(cursor.advance())
    }

    /// The next server that passes, giving up the turns of those that do not, so that the others
    /// share them in the order of the schedule. `None` after a whole round without one.
    pub(super) fn next_where(
        &self,
        cursor: &Cursor,
        passes: impl Fn(ServerIndex) -> bool,
    ) -> Option<ServerIndex> {
        // Other workers advance the cursor too, so a round of ours may miss someone's turns.
        (0..self.0.len())
            .filter_map(|_| self.next(cursor))
            .find(|&server| passes(server))
            .or_else(|| self.0.iter().copied().find(|&server| passes(server)))
    }

    /// One round of turns that come next, without taking any.
    pub(super) fn ahead(&self, cursor: &Cursor) -> impl Iterator<Item = ServerIndex> {
        let next = cursor.0.load(Ordering::Relaxed);
        (0..self.0.len()).filter_map(move |step| self.at(next.wrapping_add(step)))
    }

    /// Any turn by number, so that a random number draws by weight.
    pub(super) fn at(&self, turn: usize) -> Option<ServerIndex> {
        self.0.get(turn.checked_rem(self.0.len())?).copied()
    }
}

/// Weights over their greatest common divisor, scaled down if their sum is still too large.
fn reduced(weights: Vec<u64>) -> Vec<i64> {
    let divided = |weights: Vec<u64>| {
        let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
        weights.into_iter().map(|weight| weight / divisor).collect::<Vec<u64>>()
    };
    let weights = divided(weights);
    let sum: u64 = weights.iter().sum();
    let weights = if sum <= MAX_TURNS {
        weights
    } else {
        divided(weights.iter().map(|weight| (weight * MAX_TURNS / sum).max(1)).collect())
    };
    weights.into_iter().map(|weight| i64::try_from(weight).expect("at most 65,536")).collect()
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(weights: &[u16]) -> Schedule {
        let members: Vec<_> =
            weights.iter().zip(0..).map(|(&weight, at)| (ServerIndex(at), weight)).collect();
        Schedule::new(&members)
    }

    fn letters(weights: &[u16], turns: usize) -> String {
        let (schedule, cursor) = (schedule(weights), Cursor::default());
        let letter = |server: ServerIndex| char::from(b'a' + u8::try_from(server.0).unwrap());
        (0..turns).filter_map(|_| schedule.next(&cursor)).map(letter).collect()
    }

    #[test]
    fn the_sequence_is_the_one_of_nginx() {
        let rows: [(&[u16], &str); 7] = [
            (&[], ""),
            (&[7], "a"),
            (&[1, 1, 1, 1], "abcdabcd"),
            (&[5, 1, 1], "aabacaaaabacaa"),
            (&[4, 2, 1], "abacaba"),
            (&[3, 2, 1], "abacba"),
            (&[50, 10, 10], "aabacaa"),
        ];
        for (weights, expected) in rows {
            assert_eq!(letters(weights, expected.len()), expected, "{weights:?}");
        }
    }

    #[test]
    fn a_round_is_bounded_and_nobody_is_left_out_of_it() {
        let weights: Vec<u16> = (0..1_024).map(|at| 1 + at % 256).collect();
        let schedule = schedule(&weights);
        assert!(schedule.0.len() <= usize::try_from(MAX_TURNS).unwrap() + weights.len());
        let mut turns = vec![0_u64; weights.len()];
        schedule.0.iter().for_each(|server| turns[usize::from(server.0)] += 1);
        let sum: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        for (turns, &weight) in turns.iter().zip(&weights) {
            let ideal = u64::from(weight) * MAX_TURNS / sum;
            assert_eq!(*turns, ideal.max(1), "weight {weight}");
        }
    }

    #[test]
    fn servers_that_do_not_pass_leave_their_turns_to_the_others_evenly() {
        let (schedule, cursor) = (schedule(&[1, 1, 1, 1]), Cursor::default());
        let mut turns = [0; 4];
        for _ in 0..300 {
            let server = schedule.next_where(&cursor, |server| server.0 != 3).unwrap();
            turns[usize::from(server.0)] += 1;
        }
        assert_eq!(turns, [100, 100, 100, 0]);
        assert_eq!(schedule.next_where(&cursor, |_| false), None);
    }

    #[test]
    fn eight_threads_share_one_exact_round() {
        let (schedule, cursor) = (schedule(&[5, 1, 1]), Cursor::default());
        let turns = std::thread::scope(|scope| {
            let walk = || {
                let mut turns = [0; 3];
                for _ in 0..70_000 {
                    turns[usize::from(schedule.next(&cursor).unwrap().0)] += 1;
                }
                turns
            };
            let walkers: Vec<_> = (0..8).map(|_| scope.spawn(walk)).collect();
            walkers.into_iter().map(|walker| walker.join().unwrap()).fold([0; 3], |sum, turns| {
                std::array::from_fn(|server| sum[server] + turns[server])
            })
        });
        assert_eq!(turns, [400_000, 80_000, 80_000]);
    }
}
