//! What is logged: lines about sessions, made of what workers sent over, and ringway's own
//! messages.
//!
//! Workers format and write nothing: they collect [`Entry`]s and hand them over in batches. Here
//! entries become lines, whoever they are for; the control thread writes them.

mod daemon;
mod line;
mod messages;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::config::LogTo;
use crate::edition::Edition;
use crate::session::{About, CloseReason};
use crate::slots::SlotId;
use crate::sys::clock::{Clock, wall};
use crate::worker::inquiry::SessionId;
use line::Line;

pub use messages::{Messages, start};

/// What is to be told of a session.
#[derive(Debug)]
pub enum Entry {
    /// It was connected to its server.
    Began(Began),
    /// It is over.
    Ended(Record),
}

/// A session that has its server.
#[derive(Debug)]
pub struct Began {
    /// Which one.
    pub id: SlotId,
    /// What is known of it so far.
    pub about: About,
    /// On the clock of the workers.
    pub at_us: u64,
}

/// A session that is over.
#[derive(Debug)]
pub struct Record {
    /// Which one.
    pub id: SlotId,
    /// What was known of it.
    pub about: About,
    /// Why it ended.
    pub reason: CloseReason,
    /// From accept to end.
    pub duration_us: u64,
}

/// Sessions of one edition.
#[derive(Debug)]
pub struct Batch {
    /// Whose they are.
    pub worker: usize,
    /// What they were accepted under.
    pub edition: Arc<Edition>,
    /// In the order in which it happened.
    pub entries: Vec<Entry>,
}

/// Whether a session is among one in so many: the same for all its lines, and as good as by chance
/// (the mixing steps of MurmurHash3).
pub fn is_sampled(session: SessionId, one_in: u32) -> bool {
    if one_in <= 1 {
        return true;
    }
    let SlotId { index, generation } = session.slot;
    let mut mixed = (session.worker as u64) << 48 | u64::from(generation) << 32 | u64::from(index);
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(factor);
    }
    (mixed ^ (mixed >> 33)).is_multiple_of(one_in.into())
}

/// Lines to write, and where each ends.
#[derive(Debug, Default)]
pub struct Chunk {
    /// One line behind the other.
    pub bytes: Vec<u8>,
    /// Behind each line.
    pub ends: Vec<usize>,
}

impl Chunk {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Nothing is left, but the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Adds whole lines, each with its line feed.
    pub fn push_lines(&mut self, lines: &[u8]) {
        let start = self.bytes.len();
        let feeds = lines.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        self.ends.extend(feeds.map(|(at, _)| start + at + 1));
        self.bytes.extend_from_slice(lines);
    }

    /// Lines of which some byte stands behind the first `written`.
    pub fn lines_behind(&self, written: usize) -> usize {
        self.ends.len() - self.ends.partition_point(|&end| end <= written)
    }

    /// Line by line.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }

    /// Adds the lines of a batch, in the form that `to` wants.
    pub fn push(&mut self, batch: &Batch, to: &LogTo, clock: Clock) {
        // Without an access log there are no entries.
        let Some(log) = &batch.edition.config.access_log else { return };
        let format = log.format;
        let (wall, now_us) = (wall(), clock.now_us());
        for entry in &batch.entries {
            let line = Line::of(entry, batch);
            let age = std::time::Duration::from_micros(now_us.saturating_sub(line.at_us));
            let time = wall.checked_sub(age).unwrap_or(wall);
            match to {
                LogTo::Stdout | LogTo::File(_) => {
                    line.write(format, time, &mut self.bytes);
                    self.bytes.push(b'\n');
                }
                LogTo::Syslog(syslog) => {
                    daemon::syslog(&line, syslog, format, time, &mut self.bytes);
                }
                LogTo::Journald(_) => daemon::journald(&line, format, time, &mut self.bytes),
            }
            self.ends.push(self.bytes.len());
        }
    }
}
