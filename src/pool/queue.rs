//! Who waits for a place in a pool, in the order of coming.
//!
//! No clock, and nobody is called: who waits looks again. Where nobody waits, that is one word
//! read; all else is done under a lock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys::PeerId;

/// A place in a queue.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "it stands in the queue until it leaves"]
pub struct Ticket(u64);

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// How many wait. Changes only under the lock.
    len: AtomicU32,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    /// The number of the ticket that comes next.
    next: u64,
    /// In ascending order.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    /// The only server that will do; `None`: any.
    wants: Option<PeerId>,
}

/// Where somebody stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    /// How many are in front.
    pub(super) position: usize,
    /// How many of those want the same; all that are in front if those are more than were to be
    /// looked at.
    pub(super) ahead: usize,
    /// The only server that will do; `None`: any.
    pub(super) wants: Option<PeerId>,
}

impl Queue {
    /// How many wait.
    pub(super) fn len(&self) -> u32 {
        self.len.load(Relaxed)
    }

    /// A place at the end, if fewer than `max` wait.
    pub(super) fn join(&self, max: u32, wants: Option<PeerId>) -> Option<Ticket> {
        let mut line = self.line();
        if self.len() >= max {
            return None;
        }
        let number = line.next;
        line.next += 1;
        line.waiting.push_back(Waiting { number, wants });
        self.count(&line);
        Some(Ticket(number))
    }

    /// Where it stands; looks at `window` of those in front at most.
    pub(super) fn stand(&self, ticket: &Ticket, window: usize) -> Stand {
        let line = self.line();
        let position = line.position(ticket);
        let wants = line.waiting[position].wants;
        let ahead = if position < window {
            line.waiting.iter().take(position).filter(|other| other.wants == wants).count()
        } else {
            position
        };
        Stand { position, ahead, wants }
    }

    /// It has turned out that only this server will do, or any.
    pub(super) fn want(&self, ticket: &Ticket, wants: Option<PeerId>) {
        let mut line = self.line();
        let position = line.position(ticket);
        line.waiting[position].wants = wants;
    }

    /// Gives a place up.
    #[expect(clippy::needless_pass_by_value, reason = "a place is given up once")]
    pub(super) fn leave(&self, ticket: Ticket) {
        let mut line = self.line();
        let position = line.position(&ticket);
        line.waiting.remove(position);
        self.count(&line);
    }

    fn count(&self, line: &Line) {
        self.len.store(u32::try_from(line.waiting.len()).unwrap_or(u32::MAX), Relaxed);
    }

    /// No panic can leave a line half changed, so a poisoned one is as good as any.
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn position(&self, ticket: &Ticket) -> usize {
        let found = self.waiting.binary_search_by_key(&ticket.0, |waiting| waiting.number);
        found.expect("a ticket is in the queue it is of until it leaves")
    }
}

#[cfg(all(test, not(ringway_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wants(server: u8) -> Option<PeerId> {
        server.checked_sub(1).map(|server| PeerId(u32::from(server)))
    }

    proptest! {
        #[test]
        fn a_queue_is_a_list_of_who_came_when(
            steps in prop::collection::vec((0_u8..4, 0_usize..12, 0_u8..3), 0..200),
            max in 0_u32..10,
        ) {
            let queue = Queue::default();
            let mut model: Vec<(Ticket, Option<PeerId>)> = Vec::new();
            for (step, at, server) in steps {
                let wants = wants(server);
                let at = at.checked_rem(model.len());
                match (step, at) {
                    (0 | 1, _) => {
                        let ticket = queue.join(max, wants);
                        prop_assert_eq!(ticket.is_some(), model.len() < max as usize);
                        model.extend(ticket.map(|ticket| (ticket, wants)));
                    }
                    (2, Some(at)) => queue.leave(model.remove(at).0),
                    (_, Some(at)) => {
                        model[at].1 = wants;
                        queue.want(&model[at].0, wants);
                    }
                    _ => {}
                }
                prop_assert_eq!(queue.len() as usize, model.len());
                for (position, (ticket, wants)) in model.iter().enumerate() {
                    let same = model[..position].iter().filter(|other| other.1 == *wants);
                    let ahead = if position < 5 { same.count() } else { position };
                    let expected = Stand { position, ahead, wants: *wants };
                    prop_assert_eq!(queue.stand(ticket, 5), expected);
                }
            }
        }
    }
}
