//! The only clock reads.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

/// What people call the time. It may go back, so nothing ever waits by it.
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// The same in milliseconds since 1970.
pub fn wall_ms() -> u64 {
    let since = wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).expect("584 million years of milliseconds")
}

/// As RFC 3339 has it, in UTC: `2026-11-25T12:00:00.000Z`.
pub fn rfc3339(wall_ms: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(wall_ms)).to_string()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_read_them() {
        let rows = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_767_225_599_001, "2025-12-31T23:59:59.001Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
        ];
        for (wall_ms, expected) in rows {
            assert_eq!(rfc3339(wall_ms), expected);
        }
    }
}
