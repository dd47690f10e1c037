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
