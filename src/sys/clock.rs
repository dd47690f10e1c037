//! The only clock reads.

use std::time::Instant;

/// Microseconds since it was made, on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts at zero.
    #[expect(clippy::new_without_default, reason = "reading a clock is not a default")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// Microseconds since [`Clock::new`].
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).expect("584,000 years of microseconds")
    }

    /// Milliseconds since [`Clock::new`].
    pub fn now_ms(&self) -> u64 {
        self.now_us() / 1000
    }
}

/// A number nobody outside can guess, for keyed hashes and seeds.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0u8)
}

/// Microseconds on the clock that other programs of this machine read too (clock_gettime(2),
/// CLOCK_MONOTONIC).
pub fn machine_us() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    // Neither is ever below zero.
    now.tv_sec().cast_unsigned() * 1_000_000 + now.tv_nsec().cast_unsigned() / 1000
}
