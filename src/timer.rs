//! Deadlines in a coarse wheel.
//!
//! No clock: time comes in as `now_ms`. Nothing is ever taken out early: a session that no longer
//! waits, or waits longer, is asked when its place comes up and says so. An idle session is in no
//! wheel at all.

use crate::slots::SlotId;

/// Milliseconds one place of the wheel stands for: timeouts here are 10 ms (tries) to minutes.
pub const TICK_MS: u64 = 16;

/// Places; what lies further ahead than a turn (65 s) comes up at its end and is put in again.
const PLACES: usize = 4096;

/// Deadlines of one worker.
pub struct Wheel {
    places: Vec<Vec<SlotId>>,
    /// Bit set exactly when the place holds something.
    filled: [u64; PLACES / 64],
    /// Ticks that have been looked at.
    tick: u64,
}

impl Wheel {
    /// An empty wheel that starts at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        let places = (0..PLACES).map(|_| Vec::new()).collect();
        Self { places, filled: [0; PLACES / 64], tick: now_ms / TICK_MS }
    }

    /// Has `id` come up once, at `at_ms` or up to a tick later (or earlier if that is more than a
    /// turn ahead).
    pub fn add(&mut self, at_ms: u64, id: SlotId) {
        let tick = (at_ms / TICK_MS + 1).clamp(self.tick + 1, self.tick + PLACES as u64 - 1);
        let place = tick as usize % PLACES;
        self.places[place].push(id);
        self.filled[place / 64] |= 1 << (place % 64);
    }

    /// Appends whoever has come up by `now_ms`.
    pub fn advance(&mut self, now_ms: u64, due: &mut Vec<SlotId>) {
        let until = now_ms / TICK_MS;
        while self.tick < until {
            let Some(next) = self.next_filled() else { break };
            if next > until {
                break;
            }
            self.tick = next;
            let place = next as usize % PLACES;
            due.append(&mut self.places[place]);
            self.filled[place / 64] &= !(1 << (place % 64));
        }
        self.tick = self.tick.max(until);
    }

    /// When the next one comes up; `None` when nobody waits.
    pub fn next_ms(&self) -> Option<u64> {
        self.next_filled().map(|tick| tick * TICK_MS)
    }

    fn next_filled(&self) -> Option<u64> {
        let first = (self.tick as usize + 1) % PLACES;
        let words = PLACES / 64;
        // The word of `first` is looked at twice: its upper part first, its lower part last.
        for step in 0..=words {
            let word = (first / 64 + step) % words;
            let mut bits = self.filled[word];
            if step == 0 {
                bits &= u64::MAX << (first % 64);
            } else if step == words {
                bits &= !(u64::MAX << (first % 64));
            }
            if bits != 0 {
                let place = word * 64 + bits.trailing_zeros() as usize;
                let ahead = (place + PLACES - first) % PLACES;
                return Some(self.tick + 1 + ahead as u64);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(index: u32) -> SlotId {
        SlotId { index, generation: 1 }
    }

    #[test]
    fn nobody_comes_up_early_within_a_turn() {
        let mut wheel = Wheel::new(1_000);
        wheel.add(1_100, id(1));
        wheel.add(3_000, id(2));
        let mut due = Vec::new();
        wheel.advance(1_099, &mut due);
        assert!(due.is_empty());
        wheel.advance(1_100 + TICK_MS, &mut due);
        assert_eq!(due, [id(1)]);
        wheel.advance(60_000, &mut due);
        assert_eq!(due, [id(1), id(2)]);
        assert_eq!(wheel.next_ms(), None);
    }

    proptest! {
        #[test]
        fn everybody_comes_up_once_and_in_time(
            waits in prop::collection::vec(0u64..60_000, 1..50),
            steps in prop::collection::vec(1u64..5_000, 1..50),
        ) {
            let mut wheel = Wheel::new(777);
            for (index, wait) in waits.iter().enumerate() {
                wheel.add(777 + wait, id(index as u32));
            }
            let (mut now, mut came) = (777, vec![0; waits.len()]);
            for step in steps.into_iter().chain([70_000]) {
                now += step;
                let mut due = Vec::new();
                wheel.advance(now, &mut due);
                for id in due {
                    came[id.index as usize] += 1;
                    prop_assert!(777 + waits[id.index as usize] <= now);
                }
                for (index, wait) in waits.iter().enumerate() {
                    if 777 + wait + 2 * TICK_MS <= now {
                        prop_assert_eq!(came[index], 1);
                    }
                }
            }
            prop_assert_eq!(wheel.next_ms(), None);
        }
    }
}
