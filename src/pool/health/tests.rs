use proptest::prelude::*;

use super::*;

const RULE: Eject = Eject { failures: 3, base_ms: 1_000, max_ms: 5_000, max_percent: 50 };

fn fail(health: &Health, failures: u32, now_ms: u64) {
    (0..failures).for_each(|_| health.failed(Failure::Refused, now_ms, &RULE));
}

#[test]
fn a_standing_survives_its_word() {
    let times = (0..=TIMES_MAX).map(|times| Standing::Ejected { until_ms: 1 << 40, times });
    let others = [Standing::Up { since_ms: 0 }, Standing::Up { since_ms: 1 << 40 }, Standing::Down];
    for standing in times.chain(others) {
        assert_eq!(Standing::unpack(standing.pack()), standing);
    }
}

#[test]
fn failures_in_a_row_eject_and_a_success_between_them_counts() {
    let health = Health::new();
    fail(&health, 2, 10);
    health.connected(10, 10, Some(&RULE));
    fail(&health, 2, 10);
    assert_eq!(health.standing(), Standing::Up { since_ms: 0 });
    fail(&health, 1, 10);
    assert_eq!(health.standing(), Standing::Ejected { until_ms: 1_010, times: 0 });
    assert_eq!(health.cause(), Failure::Refused);
}

#[test]
fn a_connect_does_not_make_up_for_resets_and_a_byte_does() {
    let health = Health::new();
    for _ in 0..2 {
        health.failed(Failure::EarlyReset, 10, &RULE);
        health.connected(10, 10, Some(&RULE));
    }
    health.served(10, 10, Some(&RULE));
    for _ in 0..3 {
        assert_eq!(health.standing(), Standing::Up { since_ms: 0 });
        health.failed(Failure::EarlyReset, 10, &RULE);
        health.connected(10, 10, Some(&RULE));
    }
    assert_eq!(health.standing(), Standing::Ejected { until_ms: 1_010, times: 0 });
    assert_eq!(health.cause(), Failure::EarlyReset);
}

#[test]
fn an_ejection_ends_by_itself_and_the_next_one_soon_after_is_twice_as_long() {
    // (now, until, times before)
    let rows = [
        (10, 1_010, 0),
        (1_500, 3_500, 1),
        // Just within as long again as it was.
        (5_499, 9_499, 2),
        (9_499, 14_499, 3),
        // The longest there is, again.
        (15_000, 20_000, 4),
        // Long after.
        (25_000, 26_000, 0),
    ];
    let health = Health::new();
    for (now_ms, until_ms, times) in rows {
        assert!(matches!(health.standing().by(now_ms), Standing::Up { .. }));
        fail(&health, 3, now_ms);
        assert_eq!(health.standing(), Standing::Ejected { until_ms, times });
        assert_eq!(health.standing().by(until_ms - 1), health.standing());
        assert_eq!(health.standing().by(until_ms), Standing::Up { since_ms: until_ms });
        fail(&health, 9, until_ms - 1);
        assert_eq!(health.standing(), Standing::Ejected { until_ms, times }, "nothing new");
    }
}

#[test]
fn ejections_stop_growing() {
    let longest = Eject { base_ms: 3_600_000, max_ms: 86_400_000, ..RULE };
    assert_eq!(length_ms(TIMES_MAX, &longest), 86_400_000);
    let mut standing = Standing::Ejected { until_ms: 1_000_000, times: TIMES_MAX };
    for _ in 0..3 {
        let Standing::Ejected { until_ms, times: TIMES_MAX } = standing else {
            panic!("{standing:?}")
        };
        standing = standing.ejected(until_ms, &longest).expect("it is up by then");
    }
}

#[test]
fn checks_outrank_sessions() {
    let health = Health::new();
    fail(&health, 3, 10);
    health.take_down();
    fail(&health, 9, 5_000);
    assert_eq!(health.standing().by(u64::MAX >> 8), Standing::Down);
    health.forget_ejection();
    assert_eq!(health.standing(), Standing::Down);
    health.bring_up(6_000);
    assert_eq!(health.standing(), Standing::Up { since_ms: 6_000 });
    fail(&health, 2, 6_000);
    health.bring_up(7_000);
    assert_eq!(health.standing(), Standing::Up { since_ms: 6_000 }, "it was up");
    fail(&health, 1, 7_000);
    assert_eq!(health.standing(), Standing::Ejected { until_ms: 8_000, times: 0 });
    health.bring_up(7_001);
    assert_eq!(health.standing(), Standing::Ejected { until_ms: 8_000, times: 0 });
    health.forget_ejection();
    assert_eq!(health.standing(), Standing::Up { since_ms: 0 });
}

#[test]
fn the_share_grows_over_the_slow_start() {
    let since_ms = 1_000;
    let rows = [(1_000, 10), (1_999, 10), (2_500, 15), (6_000, 50), (10_999, 99), (11_000, 100)];
    for (now_ms, percent) in rows {
        let up = Standing::Up { since_ms };
        assert_eq!(up.share_percent(now_ms, 10_000), percent, "{now_ms}");
        assert_eq!(up.share_percent(now_ms, 0), 100);
        assert_eq!(Standing::Up { since_ms: 0 }.share_percent(now_ms, 100_000), 100, "always up");
    }
    assert_eq!(Standing::Up { since_ms }.share_percent(0, 10_000), 10, "a clock read before");
}

#[test]
fn checks_by_rows() {
    use Verdict::{Down, Up};
    type Changes<'c> = &'c [(usize, Verdict, u8)];
    // Checks as they come, and what they change, with rise 2 and fall 3.
    let rows: [(&str, Changes<'_>); 7] = [
        ("+++", &[]),
        ("-", &[(0, Down, 1)]),
        ("+--", &[]),
        ("+---", &[(3, Down, 3)]),
        ("+--+--", &[]),
        ("-+-+-++", &[(0, Down, 1), (6, Up, 2)]),
        ("-++---", &[(0, Down, 1), (2, Up, 2), (5, Down, 3)]),
    ];
    for (said, expected) in rows {
        let mut checks = Checks::default();
        let record = |(at, char)| {
            let change = checks.record(char == '+', 2, 3);
            change.map(|(verdict, count)| (at, verdict, count))
        };
        let changes: Vec<_> = said.chars().enumerate().filter_map(record).collect();
        assert_eq!(changes, expected, "{said}");
    }
    let mut checks = Checks::of_down();
    assert_eq!(checks.record(true, 2, 3), None);
    assert!(checks.is_undecided());
    assert_eq!(checks.record(true, 2, 3), Some((Up, 2)));
    assert!(!checks.is_undecided());
}

#[test]
fn an_ejection_ends_with_a_session_that_was_sent_there_all_the_same_and_went_well() {
    use Failure::{EarlyReset, Refused};
    // (cause, whether it has a byte and not only a connection, chosen, now, whether it is up then)
    let rows = [
        (Refused, false, 11, 500, true),
        (Refused, false, 10, 500, false),
        (Refused, false, 3, 500, false),
        (Refused, true, 11, 500, false),
        (EarlyReset, false, 11, 500, false),
        (EarlyReset, true, 11, 500, true),
        (EarlyReset, true, 10, 500, false),
    ];
    for (cause, has_byte, chosen_ms, now_ms, is_up) in rows {
        let health = Health::new();
        (0..3).for_each(|_| health.failed(cause, 10, &RULE));
        match has_byte {
            true => health.served(chosen_ms, now_ms, Some(&RULE)),
            false => health.connected(chosen_ms, now_ms, Some(&RULE)),
        }
        let until_ms = if is_up { now_ms } else { 1_010 };
        let standing = health.standing();
        assert_eq!(standing, Standing::Ejected { until_ms, times: 0 }, "{cause:?} {chosen_ms}");
        // The next one is as if it had lasted: soon after, it is longer.
        (0..3).for_each(|_| health.failed(cause, 1_020, &RULE));
        assert_eq!(health.standing(), Standing::Ejected { until_ms: 3_020, times: 1 });
    }
    let health = Health::new();
    fail(&health, 3, 10);
    health.connected(600, 2_000, Some(&RULE));
    assert_eq!(health.standing(), Standing::Ejected { until_ms: 1_010, times: 0 }, "it was over");
    health.take_down();
    health.connected(600, 700, Some(&RULE));
    assert_eq!(health.standing(), Standing::Down, "what checks say stands");
}

#[derive(Clone, Debug)]
enum Happening {
    Fails(bool),
    /// A session that chose the server so long ago.
    Connects(u64),
    Serves(u64),
    GoesDown,
    ComesUp,
    Passes(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => any::<bool>().prop_map(Happening::Fails),
        1 => (0..2_000_u64).prop_map(Happening::Connects),
        1 => (0..2_000_u64).prop_map(Happening::Serves),
        1 => Just(Happening::GoesDown),
        1 => Just(Happening::ComesUp),
        3 => (0..4_000_u64).prop_map(Happening::Passes),
    ]
}

/// The same in plain fields.
#[derive(Default)]
struct Model {
    is_down: bool,
    /// When the last ejection ends or ended, and how long it was.
    ejection: Option<(u64, u64)>,
    /// The ejection is for early resets.
    is_for_resets: bool,
    failed: u32,
    reset: u32,
}

impl Model {
    fn is_up(&self, now_ms: u64) -> bool {
        !self.is_down && self.ejection.is_none_or(|(until_ms, _)| until_ms <= now_ms)
    }

    fn fails(&mut self, is_reset: bool, now_ms: u64) {
        if !self.is_up(now_ms) {
            return;
        }
        let count = if is_reset { &mut self.reset } else { &mut self.failed };
        *count += 1;
        if *count == RULE.failures {
            let length_ms = match self.ejection {
                Some((until_ms, length_ms)) if now_ms < until_ms + length_ms => {
                    (2 * length_ms).min(RULE.max_ms.into())
                }
                _ => RULE.base_ms.into(),
            };
            self.ejection = Some((now_ms + length_ms, length_ms));
            self.is_for_resets = is_reset;
            (self.failed, self.reset) = (0, 0);
        }
    }

    fn went_well(&mut self, has_byte: bool, chosen_ms: u64, now_ms: u64) {
        *if has_byte { &mut self.reset } else { &mut self.failed } = 0;
        if let Some((until_ms, length_ms)) = &mut self.ejection
            && self.is_for_resets == has_byte
            && now_ms < *until_ms
            && *until_ms < chosen_ms + *length_ms
        {
            *until_ms = now_ms;
        }
    }
}

proptest! {
    #[test]
    fn health_is_what_a_plain_model_says(happenings in prop::collection::vec(happening(), 1..200)) {
        let (health, mut model, mut now_ms) = (Health::new(), Model::default(), 1);
        for happening in happenings {
            match happening {
                Happening::Fails(is_reset) => {
                    let failure = if is_reset { Failure::EarlyReset } else { Failure::TimedOut };
                    health.failed(failure, now_ms, &RULE);
                    model.fails(is_reset, now_ms);
                }
                Happening::Connects(age_ms) => {
                    let chosen_ms = now_ms.saturating_sub(age_ms);
                    health.connected(chosen_ms, now_ms, Some(&RULE));
                    model.went_well(false, chosen_ms, now_ms);
                }
                Happening::Serves(age_ms) => {
                    let chosen_ms = now_ms.saturating_sub(age_ms);
                    health.served(chosen_ms, now_ms, Some(&RULE));
                    model.went_well(true, chosen_ms, now_ms);
                }
                Happening::GoesDown => {
                    health.take_down();
                    (model.is_down, model.ejection) = (true, None);
                }
                Happening::ComesUp => {
                    health.bring_up(now_ms);
                    if std::mem::take(&mut model.is_down) {
                        (model.failed, model.reset) = (0, 0);
                    }
                }
                Happening::Passes(span_ms) => now_ms += span_ms,
            }
            let standing = health.standing().by(now_ms);
            prop_assert_eq!(matches!(standing, Standing::Up { .. }), model.is_up(now_ms));
            prop_assert_eq!(standing == Standing::Down, model.is_down);
            if let Standing::Ejected { until_ms, .. } = standing {
                prop_assert_eq!(Some(until_ms), model.ejection.map(|(until_ms, _)| until_ms));
            }
        }
    }
}
