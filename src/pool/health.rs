//! Whether a server is fit to be chosen, by what checks and sessions have said of it.
//!
//! Checks take a server down and bring it up again ([`Checks`]). Sessions that had no luck with it
//! eject it for a while, longer each time. No I/O, no clock, no dice: time comes in as `now_ms`,
//! randomness as an argument.
//!
//! A choice reads one word, [`Standing`], which changes by compare-and-exchange, so that an
//! ejection by one worker holds for all at once. Every access is relaxed: the word stands alone,
//! and the counts beside it only say when to change it.

use sync::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::config::Eject;

mod sync {
    #[cfg(ringway_loom)]
    pub(super) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    #[cfg(not(ringway_loom))]
    pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}

/// Percent of its share that a server gets at the beginning of its slow start: with less, a short
/// window would be over before anybody came.
const SLOW_START_MIN_PERCENT: u64 = 10;

/// Doublings beyond which an ejection does not get longer: one second is 136 years then.
const TIMES_MAX: u8 = 32;

/// What is known of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Fit to be chosen.
    Up {
        /// Since when; 0: it was never anything else.
        since_ms: u64,
    },
    /// Left out after failures in a row.
    Ejected {
        /// Up again from then on, without anybody's doing.
        until_ms: u64,
        /// How many times before, each soon after the last.
        times: u8,
    },
    /// Checks have failed.
    Down,
}

impl Standing {
    /// The state in two bits, the times in six, the time in what is left: two million years.
    const fn pack(self) -> u64 {
        match self {
            Self::Up { since_ms } => since_ms << 8,
            Self::Ejected { until_ms, times } => until_ms << 8 | (times as u64) << 2 | 1,
            Self::Down => 2,
        }
    }

    const fn unpack(word: u64) -> Self {
        match word & 3 {
            0 => Self::Up { since_ms: word >> 8 },
            1 => Self::Ejected { until_ms: word >> 8, times: (word >> 2 & 63) as u8 },
            _ => Self::Down,
        }
    }

    /// What has become of it by now: up since the end of an ejection that is over.
    pub(super) const fn by(self, now_ms: u64) -> Self {
        match self {
            Self::Ejected { until_ms, .. } if until_ms <= now_ms => Self::Up { since_ms: until_ms },
            standing => standing,
        }
    }

    /// Behind one more failure too many; `None` where that changes nothing.
    fn ejected(self, now_ms: u64, rule: &Eject) -> Option<Self> {
        let times = match self {
            Self::Down => return None,
            Self::Ejected { until_ms, .. } if now_ms < until_ms => return None,
            // As long again after its end it is still the same trouble.
            Self::Ejected { until_ms, times } if now_ms - until_ms < length_ms(times, rule) => {
                (times + 1).min(TIMES_MAX)
            }
            Self::Ejected { .. } | Self::Up { .. } => 0,
        };
        let until_ms = now_ms + length_ms(times, rule);
        Some(Self::Ejected { until_ms, times })
    }

    /// Behind a session that went well though it was chosen within an ejection: that is over now.
    /// `None` where there is none, or the choice was before it.
    fn redeemed(self, chosen_ms: u64, now_ms: u64, rule: &Eject) -> Option<Self> {
        let Self::Ejected { until_ms, times } = self else { return None };
        let since_ms = until_ms.saturating_sub(length_ms(times, rule));
        let is_within = since_ms < chosen_ms && now_ms < until_ms;
        is_within.then_some(Self::Ejected { until_ms: now_ms, times })
    }

    /// Percent of its share that a server gets, by how long it has been up.
    pub(super) fn share_percent(self, now_ms: u64, slow_start_ms: u32) -> u64 {
        let Self::Up { since_ms: since_ms @ 1.. } = self else { return 100 };
        let up_ms = now_ms.saturating_sub(since_ms);
        match u64::from(slow_start_ms) {
            window_ms if up_ms < window_ms => (up_ms * 100 / window_ms).max(SLOW_START_MIN_PERCENT),
            _ => 100,
        }
    }
}

/// Milliseconds of an ejection after so many before it.
pub(super) fn length_ms(times: u8, rule: &Eject) -> u64 {
    (u64::from(rule.base_ms) << times).min(rule.max_ms.into())
}

/// What a session had to say against a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens there.
    Refused,
    /// No connection in time.
    TimedOut,
    /// No way there.
    Unreachable,
    /// It could not be connected to for another reason.
    NotConnected,
    /// It reset the connection soon, without having sent a byte.
    EarlyReset,
}

impl Failure {
    /// Each, in the order of declaration.
    pub const ALL: [Self; 5] =
        [Self::Refused, Self::TimedOut, Self::Unreachable, Self::NotConnected, Self::EarlyReset];

    /// The word in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::NotConnected => "not_connected",
            Self::EarlyReset => "early_reset",
        }
    }

    /// What happened, for a line in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "connection refused",
            Self::TimedOut => "connect timed out",
            Self::Unreachable => "unreachable",
            Self::NotConnected => "connect failed",
            Self::EarlyReset => "reset before it sent a byte",
        }
    }
}

/// The health of one server, as all workers and the control thread share it.
#[derive(Debug)]
pub(super) struct Health {
    standing: AtomicU64,
    /// Failed connects in a row.
    connects: AtomicU32,
    /// Early resets in a row.
    resets: AtomicU32,
    /// The failure that ejected it last.
    cause: AtomicU32,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            standing: AtomicU64::new(Standing::Up { since_ms: 0 }.pack()),
            connects: AtomicU32::new(0),
            resets: AtomicU32::new(0),
            cause: AtomicU32::new(0),
        }
    }

    /// As it was written last; an ejection may be over.
    pub(super) fn standing(&self) -> Standing {
        Standing::unpack(self.standing.load(Relaxed))
    }

    /// Changes the standing, if what it is now can be changed so.
    fn change(&self, next: impl Fn(Standing) -> Option<Standing>) -> bool {
        let mut seen = self.standing.load(Relaxed);
        while let Some(next) = next(Standing::unpack(seen)) {
            match self.standing.compare_exchange(seen, next.pack(), Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(newer) => seen = newer,
            }
        }
        false
    }

    /// Checks have failed.
    pub(super) fn take_down(&self) {
        self.change(|standing| (standing != Standing::Down).then_some(Standing::Down));
    }

    /// Checks have succeeded, or are made no longer.
    pub(super) fn bring_up(&self, now_ms: u64) {
        let up = Standing::Up { since_ms: now_ms };
        if self.change(|standing| (standing == Standing::Down).then_some(up)) {
            self.forgive();
        }
    }

    /// Nobody is ejected any longer.
    pub(super) fn forget_ejection(&self) {
        let up = Standing::Up { since_ms: 0 };
        self.change(|now| matches!(now, Standing::Ejected { .. }).then_some(up));
    }

    /// One more failure. What fails while it is left out says nothing new.
    pub(super) fn failed(&self, failure: Failure, now_ms: u64, rule: &Eject) {
        if !matches!(self.standing().by(now_ms), Standing::Up { .. }) {
            return;
        }
        let count = self.count(failure);
        if count.fetch_add(1, Relaxed) + 1 < rule.failures {
            return;
        }
        self.cause.store(failure as u32, Relaxed);
        if self.change(|standing| standing.ejected(now_ms, rule)) {
            self.forgive();
        }
    }

    fn count(&self, failure: Failure) -> &AtomicU32 {
        if failure == Failure::EarlyReset { &self.resets } else { &self.connects }
    }

    /// A connect succeeded, of a session that chose the server at that time.
    pub(super) fn connected(&self, chosen_ms: u64, now_ms: u64, rule: Option<&Eject>) {
        clear(&self.connects);
        self.redeem(|cause| cause != Failure::EarlyReset, chosen_ms, now_ms, rule);
    }

    /// A session went well: it has sent something, or ended in good order.
    pub(super) fn served(&self, chosen_ms: u64, now_ms: u64, rule: Option<&Eject>) {
        clear(&self.resets);
        self.redeem(|cause| cause == Failure::EarlyReset, chosen_ms, now_ms, rule);
    }

    /// Ends an ejection for one of these causes which has turned out to be wrong: in a panic,
    /// sessions are sent there all the same, and their keys are not to lead elsewhere when that is
    /// over.
    fn redeem(
        &self,
        is_for: impl Fn(Failure) -> bool,
        chosen_ms: u64,
        now_ms: u64,
        rule: Option<&Eject>,
    ) {
        if let Some(rule) = rule
            && matches!(self.standing(), Standing::Ejected { .. })
            && is_for(self.cause())
        {
            self.change(|standing| standing.redeemed(chosen_ms, now_ms, rule));
        }
    }

    fn forgive(&self) {
        clear(&self.connects);
        clear(&self.resets);
    }

    /// The failure that ejected it last.
    pub(super) fn cause(&self) -> Failure {
        Failure::ALL[self.cause.load(Relaxed) as usize]
    }
}

/// Written only where there is something to clear: a cache line that nobody writes is everybody's.
fn clear(count: &AtomicU32) {
    if count.load(Relaxed) != 0 {
        count.store(0, Relaxed);
    }
}

/// What the checks of one server have come to. A server is up until its first check, which decides
/// alone: nothing is known that it could contradict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    verdict: Option<Verdict>,
    /// Checks in a row that contradict the verdict.
    contrary: u8,
}

/// What checks say of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Up,
    /// It does not.
    Down,
}

impl Checks {
    /// Of a server that checks have declared down before.
    pub fn of_down() -> Self {
        Self { verdict: Some(Verdict::Down), contrary: 0 }
    }

    /// Takes in a check; says what it changes, and by how many checks in a row.
    pub fn record(&mut self, is_good: bool, rise: u8, fall: u8) -> Option<(Verdict, u8)> {
        let says = if is_good { Verdict::Up } else { Verdict::Down };
        if self.verdict == Some(says) {
            self.contrary = 0;
            return None;
        }
        self.contrary = self.contrary.saturating_add(1);
        let needed = match (self.verdict, says) {
            (None, _) => 1,
            (_, Verdict::Up) => rise,
            (_, Verdict::Down) => fall,
        };
        if self.contrary < needed {
            return None;
        }
        let was = self.verdict.replace(says);
        let count = std::mem::take(&mut self.contrary);
        // Up is what it was taken for.
        (was.is_some() || says == Verdict::Down).then_some((says, count))
    }

    /// Whether the last check contradicts what is known, so that the next one is wanted soon.
    pub fn is_undecided(&self) -> bool {
        self.contrary > 0
    }
}

#[cfg(all(test, ringway_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    const RULE: Eject = Eject { failures: 2, base_ms: 100, max_ms: 1_000, max_percent: 50 };

    #[test]
    fn failures_of_two_workers_eject_once() {
        loom::model(|| {
            let health = Arc::new(Health::new());
            let theirs = health.clone();
            let thread = thread::spawn(move || theirs.failed(Failure::Refused, 5, &RULE));
            health.failed(Failure::Refused, 5, &RULE);
            thread.join().expect("no panic");
            assert_eq!(health.standing(), Standing::Ejected { until_ms: 105, times: 0 });
        });
    }

    #[test]
    fn what_checks_say_outlasts_an_ejection_at_the_same_time() {
        loom::model(|| {
            let health = Arc::new(Health::new());
            let theirs = health.clone();
            let rule = Eject { failures: 1, ..RULE };
            let thread = thread::spawn(move || theirs.failed(Failure::Refused, 5, &rule));
            health.take_down();
            thread.join().expect("no panic");
            assert_eq!(health.standing(), Standing::Down);
        });
    }
}

#[cfg(all(test, not(ringway_loom)))]
mod tests;
