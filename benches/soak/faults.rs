//! Whatever is wrong, said as soon as it is found.

use std::fmt::Display;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// Faults that are printed; more would say nothing new.
const PRINTED: usize = 40;

#[derive(Default)]
pub(crate) struct Faults(AtomicUsize);

impl Faults {
    pub(crate) fn add(&self, what: impl Display) {
        if self.0.fetch_add(1, Relaxed) < PRINTED {
            eprintln!("WRONG: {what}");
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}
