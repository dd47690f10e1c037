//! Numbers that one thread adds to and any thread reads.
//!
//! To add is to load and to store, without a lock prefix: nobody else writes. Each number is read
//! as it was at some moment; those that belong together may be read a moment apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

/// See the head of the file.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    /// So many more. One thread only may ever add.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// So many so far.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What each worker counts of the same thing, on cache lines of its own. Clones are the same
/// numbers: that is how they go on from one edition to the next.
#[derive(Debug)]
pub struct PerWorker<T>(Arc<[CachePadded<T>]>);

impl<T> Clone for PerWorker<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Default> PerWorker<T> {
    /// Nothing counted yet.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| CachePadded::default()).collect())
    }
}

impl<T> PerWorker<T> {
    /// What one worker counts; the only one that may add there.
    #[inline]
    pub fn of(&self, worker: usize) -> &T {
        &self.0[worker]
    }

    /// What each counts, in the order of their numbers.
    pub fn each(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|counts| &**counts)
    }

    /// A number over all workers.
    pub fn sum(&self, number: impl Fn(&T) -> &Tally) -> u64 {
        self.each().map(|counts| number(counts).value()).sum()
    }
}

/// Upper bounds, in microseconds, of the classes that connect times and peek times are counted in:
/// three for each power of ten, from what loopback takes to what a timeout cuts off.
pub const WAITS_US: [u64; 16] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000, 2_000_000, 5_000_000,
];

/// The same for durations of sessions: two for each power of ten, from a health check to days.
pub const LIVES_US: [u64; 18] = [
    1_000,
    3_000,
    10_000,
    30_000,
    100_000,
    300_000,
    1_000_000,
    3_000_000,
    10_000_000,
    30_000_000,
    100_000_000,
    300_000_000,
    1_000_000_000,
    3_000_000_000,
    10_000_000_000,
    30_000_000_000,
    100_000_000_000,
    300_000_000_000,
];

/// How many times were how long, by classes with these upper bounds and one above them.
#[derive(Debug)]
pub struct Times<const CLASSES: usize> {
    sum_us: Tally,
    within: [Tally; CLASSES],
    above: Tally,
}

/// Connect times and peek times, in the classes of [`WAITS_US`].
pub(super) type Waits = Times<{ WAITS_US.len() }>;

/// Durations of sessions, in the classes of [`LIVES_US`].
pub(super) type Lives = Times<{ LIVES_US.len() }>;

impl<const CLASSES: usize> Default for Times<CLASSES> {
    fn default() -> Self {
        let within = std::array::from_fn(|_| Tally::default());
        Self { sum_us: Tally::default(), within, above: Tally::default() }
    }
}

impl<const CLASSES: usize> Times<CLASSES> {
    /// One more that took so long; `bounds_us` are the same each time.
    pub fn add(&self, bounds_us: &[u64; CLASSES], time_us: u64) {
        self.sum_us.add(time_us);
        let class = bounds_us.partition_point(|&bound_us| bound_us < time_us);
        self.within.get(class).unwrap_or(&self.above).add(1);
    }
}

/// Times that all workers have counted, as they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// Upper bounds of all classes but the last.
    pub bounds_us: &'static [u64],
    /// How many are in each class, one more than there are bounds.
    pub counts: Vec<u64>,
    /// Of all of them.
    pub sum_us: u64,
}

impl Distribution {
    /// Adds up what workers have counted.
    pub fn of<'t, const CLASSES: usize>(
        bounds_us: &'static [u64; CLASSES],
        all: impl Iterator<Item = &'t Times<CLASSES>>,
    ) -> Self {
        let (mut counts, mut sum_us) = (vec![0; CLASSES + 1], 0);
        for times in all {
            sum_us += times.sum_us.value();
            let classes = times.within.iter().chain([&times.above]);
            counts.iter_mut().zip(classes).for_each(|(count, class)| *count += class.value());
        }
        Self { bounds_us, counts, sum_us }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// So long took that share of them at most, as far as classes tell: within one, they are taken
    /// to be spread evenly. `None` where there is none. `share` is between 0 and 1.
    pub fn quantile_us(&self, share: f64) -> Option<u64> {
        let count = self.count();
        let rank = share * count as f64;
        let mut below = 0.0;
        let mut lower_us = 0;
        for (class, &count) in self.counts.iter().enumerate() {
            // Nothing is known of those above the last bound but that.
            let Some(&upper_us) = self.bounds_us.get(class) else { break };
            let behind = below + count as f64;
            if count > 0 && behind >= rank {
                let part = ((rank - below) / count as f64).clamp(0.0, 1.0);
                return Some(lower_us + ((upper_us - lower_us) as f64 * part) as u64);
            }
            (below, lower_us) = (behind, upper_us);
        }
        (count > 0).then_some(lower_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_ascend() {
        assert!(WAITS_US.is_sorted_by(|one, next| one < next));
        assert!(LIVES_US.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn a_time_is_in_the_first_class_whose_bound_it_does_not_exceed() {
        let waits = Waits::default();
        for time_us in [0, 50, 51, 5_000_000, 5_000_001, 9_000_000] {
            waits.add(&WAITS_US, time_us);
        }
        let all = Distribution::of(&WAITS_US, [&waits].into_iter());
        assert_eq!((all.counts[0], all.counts[1], all.counts[15], all.counts[16]), (2, 1, 1, 2));
        assert_eq!((all.count(), all.sum_us), (6, 19_000_102));
    }

    #[test]
    fn quantiles_are_within_their_class() {
        let workers = PerWorker::<Waits>::new(2);
        let none = Distribution::of(&WAITS_US, workers.each());
        assert_eq!(none.quantile_us(0.5), None);
        (0..99).for_each(|_| workers.of(0).add(&WAITS_US, 150));
        workers.of(1).add(&WAITS_US, 3_000);
        let all = Distribution::of(&WAITS_US, workers.each());
        let median_us = all.quantile_us(0.5).unwrap();
        assert!((100..=200).contains(&median_us), "{median_us}");
        assert_eq!(all.quantile_us(0.99), Some(200));
        assert_eq!(all.quantile_us(1.0), Some(5_000));
        workers.of(1).add(&WAITS_US, 70_000_000);
        let all = Distribution::of(&WAITS_US, workers.each());
        assert_eq!(all.quantile_us(1.0), Some(5_000_000), "nothing is known above");
    }
}
