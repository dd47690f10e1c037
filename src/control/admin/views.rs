//! What answers are made of: plain values, worked out from what all workers share, a file for each
//! thing that is shown.
//!
//! No socket, no clock: time comes in as `now_ms`.

mod limits;
mod pools;
mod servers;
mod sessions;
mod status;
mod workers;

use std::collections::BTreeMap;

use crate::session::CloseReason;

pub use limits::*;
pub use pools::*;
pub use servers::*;
pub use sessions::*;
pub use status::*;
pub use workers::*;

/// How often something happened, by its word; what never did is left out.
pub type Tally = BTreeMap<&'static str, u64>;

/// What does not change while ringway runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When it started, in milliseconds since 1970.
    pub started_ms: u64,
    /// `io_uring` or `epoll`.
    pub engine: &'static str,
    /// The core of each worker.
    pub cores: Vec<u16>,
    /// Ports of one source address towards one server.
    pub ports_per_source: u32,
}

/// What was told last of the health of a server: its word, why, and since when.
pub type Told<'t> = &'t dyn Fn(&str, &str) -> Option<(String, String, u64)>;

/// Sessions that are over, by reason.
fn by_reason(count: impl Fn(CloseReason) -> u64) -> Tally {
    tally(CloseReason::ALL.into_iter().map(|reason| (reason.as_str(), count(reason))))
}

fn tally(counts: impl Iterator<Item = (&'static str, u64)>) -> Tally {
    counts.filter(|(_, count)| *count > 0).collect()
}
