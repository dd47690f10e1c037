//! What a balancer costs: CPU time and memory of all its processes and threads, and whether
//! something else ran on its core meanwhile.
//!
//! CPU is the scheduler's own count (`/proc/PID/task/TID/schedstat`, nanoseconds), not ticks.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// `/proc/stat` counts in these: USER_HZ is 100 on every architecture Linux has today.
const TICK: Duration = Duration::from_millis(10);
/// Share of the balancer's core that others may use during a piece. Interrupts and the kernel's
/// own threads are in it, and what happens between ticks is guessed from what happens at them.
const OTHERS_MAX: f64 = 0.05;
/// How long the core is watched before a piece.
const WATCH: Duration = Duration::from_millis(50);

/// Counts one balancer's CPU between `start` and `stop`.
pub(crate) struct Meter {
    pids: Vec<i32>,
    core: usize,
    started: Option<Reading>,
    pub(crate) read: Option<Cost>,
}

/// What was counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
    /// Share of the wall time in which something else had the balancer's core, or its machine.
    pub(crate) others: f64,
}

impl Cost {
    pub(crate) fn is_disturbed(&self) -> bool {
        self.others > OTHERS_MAX
    }
}

struct Reading {
    at: Instant,
    cpu: Duration,
    busy: Duration,
}

impl Meter {
    pub(crate) fn new(pids: Vec<i32>, core: usize) -> Self {
        Self { pids, core, started: None, read: None }
    }

    pub(crate) fn start(&mut self) -> Result<()> {
        self.started = Some(self.reading()?);
        Ok(())
    }

    pub(crate) fn stop(&mut self) -> Result<()> {
        let end = self.reading()?;
        let start = self.started.take().ok_or("the meter was not started")?;
        let cpu = end.cpu.saturating_sub(start.cpu);
        let wall = end.at - start.at;
        // Both readings round to ticks.
        let others = end.busy.saturating_sub(start.busy + cpu + TICK * 2);
        self.read = Some(Cost { cpu, wall, others: others.as_secs_f64() / wall.as_secs_f64() });
        Ok(())
    }

    fn reading(&self) -> Result<Reading> {
        let mut cpu = Duration::ZERO;
        for pid in &self.pids {
            cpu += cpu_time(*pid)?;
        }
        Ok(Reading { at: Instant::now(), cpu, busy: core_busy(self.core)? })
    }
}

/// Whether nobody used the core for a moment.
pub(crate) fn is_quiet(core: usize) -> Result<bool> {
    let before = core_busy(core)?;
    thread::sleep(WATCH);
    // One tick may be anybody's: the sampling itself, or what just ended.
    Ok(core_busy(core)? - before <= TICK)
}

/// CPU time of all threads of a process; zero for one that has ended.
fn cpu_time(pid: i32) -> Result<Duration> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Err(format!("process {pid} of a balancer has ended").into());
    };
    let mut nanos = 0;
    for task in tasks.flatten() {
        // A thread that ended since the listing takes its time with it; balancers keep theirs.
        let Ok(line) = fs::read_to_string(task.path().join("schedstat")) else {
            continue;
        };
        nanos += line.split_whitespace().next().unwrap_or("0").parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Time a core did not idle, what the hypervisor took included.
fn core_busy(core: usize) -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let name = format!("cpu{core} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name));
    let line = line.ok_or_else(|| format!("/proc/stat has no core {core}"))?;
    // user nice system idle iowait irq softirq steal
    let fields: Vec<u32> = line.split_whitespace().take(8).flat_map(str::parse).collect();
    let [user, nice, system, _, _, irq, softirq, steal] = fields[..] else {
        return Err(format!("/proc/stat: {line:?}").into());
    };
    Ok(TICK * (user + nice + system + irq + softirq + steal))
}

/// Whoever else used a core for more than a tenth of a short while, by name.
pub(crate) fn others_on(core: usize, own: &[i32]) -> Result<Vec<String>> {
    let look = || -> Result<Vec<(i32, Duration)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
                continue;
            };
            if let (false, Ok(cpu)) = (own.contains(&pid), cpu_time(pid)) {
                found.push((pid, cpu));
            }
        }
        Ok(found)
    };
    let (at, before) = (Instant::now(), look()?);
    thread::sleep(WATCH * 4);
    let (took, after) = (at.elapsed(), look()?);
    let mut others = Vec::new();
    for (pid, cpu) in after {
        let earlier = before.iter().find(|(old, _)| *old == pid).map_or(cpu, |(_, cpu)| *cpu);
        let share = cpu.saturating_sub(earlier).as_secs_f64() / took.as_secs_f64();
        if share > 0.1 && last_core(pid) == Some(core) {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            others.push(name.trim().to_owned());
        }
    }
    Ok(others)
}

/// Field 39 of `/proc/PID/stat`: the core a process ran on last.
fn last_core(pid: i32) -> Option<usize> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(36)?.parse().ok()
}

/// User memory of processes: what is theirs alone, and their share of what is not (Pss), bytes.
pub(crate) fn memory(pids: &[i32]) -> Result<u64> {
    let mut kib = 0;
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        kib += number.ok_or("smaps_rollup has no Pss")?.parse::<u64>()?;
    }
    Ok(kib * 1024)
}
