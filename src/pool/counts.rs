//! How many sessions each server has: reserve, commit, release, exact over all workers, and the
//! limit on them.
//!
//! Lock-free and never waits; knows nothing of why a server was chosen. Every interleaving:
//! `RUSTFLAGS="--cfg ringway_loom" cargo test --release --lib loom_tests`.
//!
//! Every access is relaxed: each count stands alone, nothing else is published through it, and a
//! read-modify-write always acts on the newest value of its own word. A limit that is lowered ends
//! nobody, and holds from the next choice on.

use crossbeam_utils::CachePadded;
use sync::{AtomicU32, AtomicU64, Ordering::Relaxed};

mod sync {
    #[cfg(ringway_loom)]
    pub(super) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    #[cfg(not(ringway_loom))]
    pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}

/// The limit of what has none: more than there can be.
const UNLIMITED: u32 = u32::MAX;

/// The sessions of one server, on a cache line of its own.
#[derive(Debug)]
pub(super) struct Count(CachePadded<Words>);

#[derive(Debug)]
struct Words {
    /// Reserved and not yet released: connecting and connected sessions.
    live: AtomicU32,
    /// Connects that succeeded since start.
    total: AtomicU64,
    /// So many may be live.
    limit: AtomicU32,
}

impl Count {
    pub(super) fn new() -> Self {
        let (live, total) = (AtomicU32::new(0), AtomicU64::new(0));
        Self(CachePadded::new(Words { live, total, limit: AtomicU32::new(UNLIMITED) }))
    }

    pub(super) fn live(&self) -> u32 {
        self.0.live.load(Relaxed)
    }

    pub(super) fn total(&self) -> u64 {
        self.0.total.load(Relaxed)
    }

    /// From now on; `None`: any number may be live.
    pub(super) fn set_limit(&self, limit: Option<u32>) {
        self.0.limit.store(limit.unwrap_or(UNLIMITED), Relaxed);
    }

    pub(super) fn is_limited(&self) -> bool {
        self.limit() != UNLIMITED
    }

    /// How many there may be; `None`: any number.
    pub(super) fn max(&self) -> Option<u32> {
        self.is_limited().then(|| self.limit())
    }

    /// How many more there may be.
    pub(super) fn room(&self) -> u32 {
        self.limit().saturating_sub(self.live())
    }

    fn limit(&self) -> u32 {
        self.0.limit.load(Relaxed)
    }

    /// One more session is on its way to this server, unless that is full.
    #[must_use]
    pub(super) fn reserve(&self) -> bool {
        if self.is_limited() {
            return self.reserve_below(u64::from(UNLIMITED));
        }
        self.0.live.fetch_add(1, Relaxed);
        true
    }

    /// The same, only if the count is still what the choice was made on.
    fn reserve_if(&self, seen: u32) -> bool {
        self.0.live.compare_exchange(seen, seen + 1, Relaxed, Relaxed).is_ok()
    }

    /// The same, only while fewer than `bound` sessions are live.
    #[must_use]
    pub(super) fn reserve_below(&self, bound: u64) -> bool {
        let bound = bound.min(u64::from(self.limit()));
        let mut seen = self.live();
        while u64::from(seen) < bound {
            match self.0.live.compare_exchange(seen, seen + 1, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(newer) => seen = newer,
            }
        }
        false
    }

    /// The reserved session is connected.
    pub(super) fn commit(&self) {
        self.0.total.fetch_add(1, Relaxed);
    }

    /// The reserved session is over, connected or not.
    pub(super) fn release(&self) {
        let before = self.0.live.fetch_sub(1, Relaxed);
        // A session ends once; a second release would make this server look full for ever.
        assert!(before > 0, "a session was released that was never reserved");
    }
}

/// Reserves a place at the candidate with the fewest live sessions per weight and returns its
/// name; `None` without a candidate that has room. Of equals, the first wins. Who is a candidate
/// may change from one look to the next.
///
/// Exact under concurrency: the others were read before the exchange and can only have gained
/// sessions by other choices since, while the exchange proves the chosen count unchanged. An
/// exchange that fails means another worker got through, so somebody always makes progress.
pub(super) fn reserve_least<'c, N: Copy, C>(candidates: C) -> Option<N>
where
    C: Iterator<Item = (N, &'c Count, u16)> + Clone,
{
    loop {
        let mut least: Option<(N, &Count, u32, u16)> = None;
        for (name, count, weight) in candidates.clone() {
            let live = count.live();
            // Here and not before: what the exchange proves unchanged is this very number.
            if live >= count.limit() {
                continue;
            }
            let better = least.is_none_or(|(_, _, its_live, its_weight)| {
                is_lighter((live, weight), (its_live, its_weight))
            });
            if better {
                least = Some((name, count, live, weight));
            }
        }
        let (name, count, live, _) = least?;
        if count.reserve_if(live) {
            return Some(name);
        }
    }
}

/// Whether the first (live, weight) has strictly fewer sessions per weight than the second.
pub(super) fn is_lighter(one: (u32, u16), other: (u32, u16)) -> bool {
    u64::from(one.0) * u64::from(other.1) < u64::from(other.0) * u64::from(one.1)
}

#[cfg(all(test, ringway_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    fn counts<const N: usize>() -> Arc<[Count; N]> {
        Arc::new(std::array::from_fn(|_| Count::new()))
    }

    fn least(counts: &[Count]) -> usize {
        reserve_least(counts.iter().enumerate().map(|(at, count)| (at, count, 1)))
            .expect("there are candidates")
    }

    #[test]
    fn two_choices_of_the_least_loaded_never_meet() {
        loom::model(|| {
            let counts = counts::<2>();
            let theirs = counts.clone();
            let thread = thread::spawn(move || least(&theirs[..]));
            let mine = least(&counts[..]);
            assert_ne!(mine, thread.join().expect("no panic"));
            assert_eq!((counts[0].live(), counts[1].live()), (1, 1));
        });
    }

    #[test]
    fn a_release_during_a_choice_loses_no_count() {
        loom::model(|| {
            let counts = counts::<2>();
            assert!(counts[0].reserve());
            let theirs = counts.clone();
            let thread = thread::spawn(move || {
                theirs[0].commit();
                theirs[0].release();
            });
            let chosen = least(&counts[..]);
            thread.join().expect("no panic");
            assert_eq!(counts[chosen].live(), 1);
            assert_eq!(counts[1 - chosen].live(), 0);
            assert_eq!(counts[0].total(), 1);
        });
    }

    #[test]
    fn a_bound_holds_against_concurrent_reservations() {
        loom::model(|| {
            let counts = counts::<1>();
            let theirs = counts.clone();
            let thread = thread::spawn(move || theirs[0].reserve_below(1));
            let mine = counts[0].reserve_below(1);
            assert!(mine ^ thread.join().expect("no panic"));
            assert_eq!(counts[0].live(), 1);
        });
    }

    #[test]
    fn a_limit_holds_against_concurrent_choices_of_the_least_loaded() {
        loom::model(|| {
            let counts = counts::<2>();
            counts.iter().for_each(|count| count.set_limit(Some(1)));
            assert!(counts[0].reserve());
            let theirs = counts.clone();
            let choose = |counts: &[Count]| {
                let candidates = counts.iter().enumerate();
                reserve_least(candidates.map(|(at, count)| (at, count, 1)))
            };
            let thread = thread::spawn(move || choose(&theirs[..]));
            let chosen = [choose(&counts[..]), thread.join().expect("no panic")];
            assert!(chosen == [Some(1), None] || chosen == [None, Some(1)], "{chosen:?}");
            assert_eq!((counts[0].live(), counts[1].live()), (1, 1));
        });
    }

    #[test]
    fn a_whole_session_beside_another_ends_in_emptiness() {
        loom::model(|| {
            let counts = counts::<2>();
            let theirs = counts.clone();
            let session = |counts: &[Count]| {
                let chosen = least(counts);
                counts[chosen].commit();
                counts[chosen].release();
            };
            let thread = thread::spawn(move || session(&theirs[..]));
            session(&counts[..]);
            thread.join().expect("no panic");
            assert_eq!((counts[0].live(), counts[1].live()), (0, 0));
            assert_eq!(counts[0].total() + counts[1].total(), 2);
        });
    }
}

#[cfg(all(test, not(ringway_loom)))]
mod tests {
    use super::*;

    fn least(counts: &[(Count, u16)]) -> Option<usize> {
        let candidates = counts.iter().enumerate();
        reserve_least(candidates.map(|(at, (count, weight))| (at, count, *weight)))
    }

    #[test]
    fn weights_divide_the_live_sessions() {
        let counts = [(Count::new(), 3), (Count::new(), 1)];
        for _ in 0..400 {
            least(&counts);
        }
        assert_eq!((counts[0].0.live(), counts[1].0.live()), (300, 100));
    }

    #[test]
    fn who_is_full_is_no_candidate() {
        let counts = [(Count::new(), 3), (Count::new(), 1)];
        counts[0].0.set_limit(Some(2));
        counts[1].0.set_limit(Some(1));
        let chosen: Vec<_> = (0..4).map(|_| least(&counts)).collect();
        assert_eq!(chosen, [Some(0), Some(1), Some(0), None]);
        assert!(!counts[0].0.reserve() && !counts[0].0.reserve_below(9));
        counts[0].0.set_limit(None);
        assert!(counts[0].0.reserve());
    }

    #[test]
    fn without_candidates_nothing_is_reserved() {
        assert_eq!(least(&[]), None);
    }

    #[test]
    fn eight_threads_are_spread_as_one_would_be() {
        let counts: Vec<(Count, u16)> = (0..4).map(|_| (Count::new(), 1)).collect();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        assert!(least(&counts).is_some());
                    }
                });
            }
        });
        let live: Vec<u32> = counts.iter().map(|(count, _)| count.live()).collect();
        assert_eq!(live, [10_000; 4]);
    }

    #[test]
    #[should_panic(expected = "never reserved")]
    fn a_second_release_is_an_error_of_ours() {
        Count::new().release();
    }
}
