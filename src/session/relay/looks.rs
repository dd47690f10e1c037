//! When a session that relays is looked at, and whether its time is up.
//!
//! No clock: time comes in as `now_ms`. Nothing is written while bytes move: a look compares totals
//! with those of the look before. A session to which no timeout applies has no [`Looks`] and no
//! deadline.

use crate::config::Timeouts;
use crate::session::CloseReason;

/// Looks within the time a session may be quiet, so it is closed up to that share late. More would
/// cost more, and all sessions pay that are not quiet.
const LOOKS: u32 = 4;

/// See the head of the file.
pub(super) struct Looks {
    /// When it is too old.
    ends_ms: Option<u64>,
    /// Bytes that had come by the last look.
    received: u64,
    /// Bytes that the sides had yet to acknowledge then; `None`: bytes had come, so nobody asked.
    unsent: Option<u64>,
    /// What is known of those so far, while it is asked.
    asked: u64,
    /// How long nothing has moved. A look that comes late (this process was stopped, the clock has
    /// jumped) counts as one in time: meanwhile nobody could be heard.
    quiet_ms: u64,
    looked_ms: u64,
    next_ms: u64,
}

/// What a look has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look again then.
    Look {
        /// On the worker's clock.
        at_ms: u64,
    },
    /// Nothing to look for.
    Rest,
    /// The time is up.
    Over(CloseReason),
}

impl Looks {
    /// At the start of a session that some timeout applies to. `draw` is a random number: so many
    /// sessions that start at once do not end at once.
    pub(super) fn begin(timeouts: &Timeouts, accepted_ms: u64, draw: u64) -> Option<Self> {
        let max_age_ms = timeouts.max_age_ms.map(|age_ms| {
            let jitter_max_ms =
                u64::from(age_ms) * u64::from(timeouts.max_age_jitter_percent) / 100;
            u64::from(age_ms) - ((jitter_max_ms * (draw >> 32)) >> 32)
        });
        let ends_ms = max_age_ms.map(|age_ms| accepted_ms + age_ms);
        (ends_ms.is_some() || timeouts.idle_ms.is_some()).then_some(Self::new(ends_ms))
    }

    /// For a session that a timeout has come to apply to.
    pub(super) const fn new(ends_ms: Option<u64>) -> Self {
        let (received, unsent, asked) = (0, None, 0);
        Self { ends_ms, received, unsent, asked, quiet_ms: 0, looked_ms: 0, next_ms: 0 }
    }

    /// When the next look is due.
    pub(super) const fn next_ms(&self) -> u64 {
        self.next_ms
    }

    /// Something happened that no total shows.
    pub(super) fn stir(&mut self, now_ms: u64) {
        self.quiet_ms = 0;
        self.looked_ms = now_ms;
    }

    /// A look; `received` is the total of both sides. True if nothing has come since the last one:
    /// then something may still have gone, and both sides are to be asked.
    pub(super) fn look(&mut self, received: u64, now_ms: u64) -> bool {
        let waited_ms = now_ms.min(self.next_ms).saturating_sub(self.looked_ms);
        self.looked_ms = now_ms;
        self.asked = 0;
        if received == self.received {
            self.quiet_ms += waited_ms;
            return true;
        }
        self.received = received;
        self.unsent = None;
        self.quiet_ms = 0;
        false
    }

    /// What one side has yet to acknowledge.
    pub(super) fn answered(&mut self, unsent: u32) {
        self.asked += u64::from(unsent);
    }

    /// Both sides have answered.
    pub(super) fn all_answered(&mut self) {
        if self.unsent.replace(self.asked).is_some_and(|before| before != self.asked) {
            self.quiet_ms = 0;
        }
    }

    /// What follows. `half_closed`: a side has said EOF, or was reset.
    pub(super) fn judge(&mut self, timeouts: &Timeouts, half_closed: bool, now_ms: u64) -> Verdict {
        self.next_ms = now_ms;
        if self.ends_ms.is_some_and(|ends_ms| ends_ms <= now_ms) {
            return Verdict::Over(CloseReason::MaxAge);
        }
        let idle = timeouts.idle_ms.map(|limit_ms| (limit_ms, CloseReason::Idle));
        let half_closed = timeouts.half_closed_ms.filter(|_| half_closed);
        let half_closed = half_closed.map(|limit_ms| (limit_ms, CloseReason::HalfClosed));
        let shorter =
            [idle, half_closed].into_iter().flatten().min_by_key(|&(limit_ms, _)| limit_ms);
        let look_ms = match shorter {
            Some((limit_ms, reason)) if self.quiet_ms >= u64::from(limit_ms) => {
                return Verdict::Over(reason);
            }
            Some((limit_ms, _)) => Some(now_ms + u64::from((limit_ms / LOOKS).max(1))),
            None => None,
        };
        match [look_ms, self.ends_ms].into_iter().flatten().min() {
            Some(at_ms) => {
                self.next_ms = at_ms;
                Verdict::Look { at_ms }
            }
            None => Verdict::Rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Timeouts = Timeouts {
        idle_ms: Some(4_000),
        half_closed_ms: Some(2_000),
        max_age_ms: None,
        max_age_jitter_percent: 10,
    };

    /// Looks on time, whenever one is due, as `received` and `unsent` say: when it is over.
    fn over(
        timeouts: &Timeouts,
        half_closed: bool,
        received: impl Fn(u64) -> u64,
        unsent: impl Fn(u64) -> u32,
    ) -> (u64, CloseReason) {
        let mut now_ms = 100_000;
        let mut looks = Looks::begin(timeouts, now_ms, 0).unwrap_or(Looks::new(None));
        looks.stir(now_ms);
        for _ in 0..100 {
            match looks.judge(timeouts, half_closed, now_ms) {
                Verdict::Look { at_ms } => now_ms = at_ms + 16,
                Verdict::Over(reason) => return (now_ms - 100_000, reason),
                Verdict::Rest => panic!("nobody looks any more"),
            }
            if looks.look(received(now_ms - 100_000), now_ms) {
                looks.answered(unsent(now_ms - 100_000));
                looks.answered(3);
                looks.all_answered();
            }
        }
        (u64::MAX, CloseReason::Stopped)
    }

    #[test]
    fn it_is_idle_when_nothing_has_moved_for_so_long() {
        let (at_ms, reason) = over(&IDLE, false, |_| 0, |_| 0);
        assert!((4_000..5_100).contains(&at_ms), "{at_ms}");
        assert_eq!(reason, CloseReason::Idle);
        // Up to a quarter late, never early.
        for last_ms in (0..9_000).step_by(97) {
            let (at_ms, _) = over(&IDLE, false, |now_ms| now_ms.min(last_ms), |_| 0);
            let expected = last_ms + 4_000..last_ms + 5_100;
            assert!(expected.contains(&at_ms), "{at_ms} with the last byte at {last_ms}");
        }
    }

    #[test]
    fn bytes_that_go_to_a_slow_reader_move_too() {
        let slowly = |now_ms: u64| 20_000_u64.saturating_sub(now_ms) as u32;
        let (at_ms, reason) = over(&IDLE, false, |_| 5, slowly);
        assert!((24_000..25_200).contains(&at_ms), "{at_ms}");
        assert_eq!(reason, CloseReason::Idle);
        // One that reads nothing is as idle as one to whom nothing is said.
        let (at_ms, _) = over(&IDLE, false, |_| 5, |_| 20_000);
        assert!((4_000..6_200).contains(&at_ms), "{at_ms}");
    }

    #[test]
    fn half_closed_sessions_have_a_limit_of_their_own() {
        let (at_ms, reason) = over(&IDLE, true, |_| 0, |_| 0);
        assert!((2_000..2_600).contains(&at_ms), "{at_ms}");
        assert_eq!(reason, CloseReason::HalfClosed);
        let off = Timeouts { half_closed_ms: None, ..IDLE };
        assert_eq!(over(&off, true, |_| 0, |_| 0).1, CloseReason::Idle);
        let later = Timeouts { half_closed_ms: Some(9_000), ..IDLE };
        assert_eq!(over(&later, true, |_| 0, |_| 0).1, CloseReason::Idle);
    }

    #[test]
    fn it_is_too_old_whatever_moves() {
        let aged = Timeouts { max_age_ms: Some(10_000), max_age_jitter_percent: 0, ..IDLE };
        let (at_ms, reason) = over(&aged, false, |now_ms| now_ms, |_| 0);
        assert!((10_000..10_100).contains(&at_ms), "{at_ms}");
        assert_eq!(reason, CloseReason::MaxAge);
    }

    #[test]
    fn ages_are_spread_below_the_maximum() {
        let aged = Timeouts { max_age_ms: Some(10_000), ..IDLE };
        let ends = |draw| Looks::begin(&aged, 5_000, draw).and_then(|looks| looks.ends_ms);
        assert_eq!(ends(0), Some(15_000));
        assert_eq!(ends(u64::MAX), Some(14_001));
        assert_eq!(ends(u64::MAX / 2), Some(14_501));
    }

    #[test]
    fn a_leap_of_the_clock_is_no_silence() {
        let mut looks = Looks::new(None);
        looks.stir(1_000);
        let mut now_ms = 1_000;
        let hour_ms = 3_600_000;
        for quarter in 1..=4 {
            let verdict = looks.judge(&IDLE, false, now_ms);
            assert_eq!(verdict, Verdict::Look { at_ms: now_ms + 1_000 }, "{quarter}");
            now_ms += hour_ms;
            looks.look(0, now_ms);
            looks.all_answered();
        }
        assert_eq!(looks.judge(&IDLE, false, now_ms), Verdict::Over(CloseReason::Idle));
        // Nor is a look that comes early taken for more than it is.
        let mut looks = Looks::new(None);
        looks.stir(1_000);
        looks.judge(&IDLE, false, 1_000);
        for now_ms in (1_100..5_000).step_by(100) {
            looks.look(0, now_ms);
            looks.all_answered();
            assert!(matches!(looks.judge(&IDLE, false, now_ms), Verdict::Look { .. }));
        }
        looks.look(0, 5_000);
        assert_eq!(looks.judge(&IDLE, false, 5_000), Verdict::Over(CloseReason::Idle));
    }

    #[test]
    fn without_a_timeout_nobody_looks() {
        let off = Timeouts { idle_ms: None, ..IDLE };
        assert!(Looks::begin(&off, 0, 0).is_none());
        assert_eq!(Looks::new(None).judge(&off, false, 0), Verdict::Rest);
    }
}
