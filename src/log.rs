//! Log lines: one for each session at its end, made of what its worker sent over.
//!
//! Workers format and write nothing: they collect [`Record`]s and hand them over in batches.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use tracing::info;

use crate::edition::Edition;
use crate::pool::Pool;
use crate::session::{About, CloseReason};

/// A session that is over.
#[derive(Debug)]
pub struct Record {
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
    /// What they were accepted under.
    pub edition: Arc<Edition>,
    /// In the order of their ends.
    pub records: Vec<Record>,
}

/// Writes the lines of everything handed over so far.
pub fn all_of(batches: &Receiver<Batch>) {
    for batch in batches.try_iter() {
        batch.records.iter().for_each(|record| session(record, &batch.edition));
    }
}

/// Writes the session's line. Fields that do not apply are `-`.
fn session(record: &Record, edition: &Edition) {
    let Record { about, reason, duration_us } = record;
    let listener = &edition.config.listeners[about.listener as usize].name;
    let pool = about.place.map(|place| &edition.pools[place.pool.0 as usize]);
    let server =
        about.place.zip(pool).map(|(place, pool)| &pool.servers()[place.server.0 as usize].address);
    let [up, down] = about.received;
    info!(
        client = %Or(about.client, "unix"),
        %listener,
        pool = %Or(pool.map(Pool::name), "-"),
        server = %Or(server, "-"),
        host = %Or(about.host.as_deref().map(Plain), "-"),
        key = %about.key.as_str(),
        how = %about.place.map_or("-", |place| place.how.as_str()),
        retries = about.retries,
        bytes_up = up,
        bytes_down = down,
        duration_ms = duration_us / 1000,
        connect_us = about.connect_us,
        peek_us = about.peek_us,
        reason = %reason.as_str(),
        "session",
    );
}

/// A value, or a word where there is none.
struct Or<T>(Option<T>, &'static str);

impl<T: fmt::Display> fmt::Display for Or<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str(self.1),
        }
    }
}

/// A name a peer chose, without anything that could end the field or the line.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '!'..='~' => fmt::Write::write_char(f, char)?,
                other => write!(f, "{}", other.escape_default())?,
            }
        }
        Ok(())
    }
}
