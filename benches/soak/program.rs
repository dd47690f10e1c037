//! A program that is started here: its lines are handed on as they come, and it is killed by its
//! pid when this program ends, however that does.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Result;
use crate::faults::Faults;

/// Dropped, it is killed.
pub(crate) struct Program {
    name: String,
    child: Child,
}

impl Program {
    /// Starts it; the kernel kills it if the calling thread ends first. `line` gets each line of
    /// its standard output; what it says on standard error is a fault.
    pub(crate) fn start(
        name: &str,
        words: &[impl AsRef<OsStr>],
        faults: &Arc<Faults>,
        line: impl FnMut(String) + Send + 'static,
    ) -> Result<Self> {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{name}: setpriv cannot be started: {error}"))?;
        read(child.stdout.take().ok_or("no standard output")?, line);
        let (said_by, faults) = (name.to_owned(), Arc::clone(faults));
        read(child.stderr.take().ok_or("no standard error")?, move |line| {
            faults.add(format_args!("{said_by} says: {line}"));
        });
        Ok(Self { name: name.to_owned(), child })
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).map_err(|error| format!("{}: {error}", self.name).into())
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// How it ends, within this time.
    pub(crate) fn wait(&mut self, most: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + most;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > end {
                return Err(format!("{} has not ended after {most:?}", self.name).into());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(from: impl Read + Send + 'static, mut line: impl FnMut(String) + Send + 'static) {
    thread::spawn(move || {
        for bytes in BufReader::new(from).split(b'\n').map_while(std::result::Result::ok) {
            line(String::from_utf8_lossy(&bytes).into_owned());
        }
    });
}
