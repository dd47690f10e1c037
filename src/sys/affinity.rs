//! Which cores there are, and pinning a thread to one.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Cores this process may run on, by kernel number.
pub fn allowed_cores() -> io::Result<Vec<u16>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count())
        .filter(|&core| set.is_set(core).unwrap_or(false))
        .filter_map(|core| u16::try_from(core).ok())
        .collect())
}

/// Keeps the calling thread on one core.
pub fn pin(core: u16) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core as usize)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}
