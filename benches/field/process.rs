//! Processes the benchmark starts: on given cores, and gone when it is.
//!
//! A process is started through this program itself (`field child`), which pins itself, asks the
//! kernel for a signal at its parent's death, and becomes the program: so nothing outlives a
//! panic or a Ctrl-C, and nothing here is unsafe.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};

use crate::Result;

/// How long a process may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(1);

/// A program that was started, with everything it started; dropped, all of it ends.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    /// Starts a program on `cores`, with what it prints in the file `log`.
    pub(crate) fn start(
        cores: &[usize],
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        log: &Path,
    ) -> Result<Self> {
        let output = File::create(log)?;
        let child = command(cores, program)?
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        Ok(Self { child })
    }

    /// Its process and all that descend from it.
    pub(crate) fn pids(&self) -> Result<Vec<i32>> {
        descendants(i32::try_from(self.child.id())?)
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pids = self.pids().unwrap_or_default();
        let Some(&first) = pids.first() else {
            return;
        };
        let _ = kill(Pid::from_raw(first), Signal::SIGTERM);
        let until = Instant::now() + GRACE;
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        for pid in pids {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// A command that will run on `cores` and end with this process; its arguments are to be added.
pub(crate) fn command(cores: &[usize], program: impl AsRef<OsStr>) -> Result<Command> {
    let cores: Vec<String> = cores.iter().map(ToString::to_string).collect();
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("child").arg(std::process::id().to_string()).arg(cores.join(",")).arg(program);
    Ok(command)
}

/// `field child PARENT CORES PROGRAM ARGUMENTS`: becomes the program.
pub(crate) fn become_child(words: &[OsString]) -> Result<()> {
    let [parent, cores, program, arguments @ ..] = words else {
        return Err("child: PARENT CORES PROGRAM ARGUMENTS".into());
    };
    // SIGTERM, since nginx' master ends its workers on it; all others end on it too.
    set_pdeathsig(Signal::SIGTERM)?;
    let parent: i32 = parent.to_string_lossy().parse()?;
    if getppid().as_raw() != parent {
        return Err("the benchmark has ended".into());
    }
    let cores = cores.to_string_lossy();
    let cores: Vec<usize> =
        cores.split(',').map(str::parse).collect::<std::result::Result<_, _>>()?;
    pin(&cores)?;
    Err(Command::new(program).args(arguments).exec().into())
}

/// Lets the calling thread, and what it starts, run on these cores only.
pub(crate) fn pin(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// `/proc/PID/task/TID/children` is not in every kernel; parents are.
fn descendants(first: i32) -> Result<Vec<i32>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        // A process may end between the listing and the reading.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        // `PID (NAME) STATE PARENT …`; the name may hold anything, a bracket too.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        if let Some(parent) = parent.and_then(|parent| parent.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut pids = vec![first];
    let mut next = 0;
    while let Some(pid) = pids.get(next) {
        pids.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    Ok(pids)
}
