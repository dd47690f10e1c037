//! What a process holds, as /proc says it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;

use nix::unistd::Pid;
use ringway::sys::pipes::POOLED_MAX;
use ringway::sys::spares::SPARES_MAX;

use crate::Result;

/// Descriptors of all workers and of the thread that started them, by kind, and memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Holdings {
    /// Sockets that are connected.
    pub(crate) connected: usize,
    /// Others, listening ones among them.
    pub(crate) sockets: usize,
    /// Ends of pipes.
    pub(crate) pipes: usize,
    pub(crate) others: usize,
    pub(crate) workers: usize,
    pub(crate) resident_kib: u64,
}

impl Holdings {
    pub(crate) fn of(pid: Pid) -> Result<Self> {
        let mut all = Self { resident_kib: resident_kib(pid)?, ..Self::default() };
        let listed = listed()?;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?;
            let is_main = task.file_name().to_str() == Some(&pid.to_string());
            // One that has ended in the meantime is none that counts.
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let is_worker = name.starts_with("worker-");
            // The other threads share the main thread's table.
            if !is_main && !is_worker {
                continue;
            }
            all.workers += usize::from(is_worker);
            for entry in fs::read_dir(task.path().join("fd"))?.flatten() {
                // Closed in the meantime.
                let Ok(target) = fs::read_link(entry.path()) else { continue };
                let target = target.to_string_lossy();
                match target.split_once(":[") {
                    Some(("socket", inode)) if listed.contains(inode.trim_end_matches(']')) => {
                        all.connected += 1;
                    }
                    Some(("socket", _)) => all.sockets += 1,
                    Some(("pipe", _)) => all.pipes += 1,
                    _ => all.others += 1,
                }
            }
        }
        Ok(all)
    }

    pub(crate) fn descriptors(&self) -> usize {
        self.connected + self.sockets + self.pipes + self.others
    }

    /// Whether nothing is more than before, but for what is pooled.
    pub(crate) fn is_no_more_than(&self, before: &Self) -> bool {
        self.connected <= before.connected
            && self.sockets <= before.sockets + SPARES_MAX * self.workers
            && self.pipes <= before.pipes + 2 * POOLED_MAX * self.workers
            && self.others <= before.others
    }

    /// Whether it is back at a level without sessions: what is pooled for the next ones is no leak.
    pub(crate) fn is_back_at(&self, start: &Self) -> bool {
        self.connected == 0 && self.is_no_more_than(start)
    }
}

impl fmt::Display for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connected, sockets, pipes, others, resident_kib, .. } = self;
        write!(
            f,
            "{} descriptors ({connected} connected sockets, {sockets} others, {pipes} ends of \
             pipes, {others} more), {resident_kib} KiB resident",
            self.descriptors()
        )
    }
}

fn resident_kib(pid: Pid) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_ascii_whitespace().next().ok_or("no number of KiB")?.parse()?)
}

/// Inodes of the TCP sockets that are in the kernel's table and do not listen.
fn listed() -> Result<BTreeSet<String>> {
    const LISTENS: &str = "0A";
    let table = fs::read_to_string("/proc/net/tcp")?;
    let rows = table.lines().skip(1).filter_map(|row| {
        let words: Vec<&str> = row.split_ascii_whitespace().collect();
        (*words.get(3)? != LISTENS).then(|| words.get(9).map(|&inode| inode.to_owned()))?
    });
    Ok(rows.collect())
}
