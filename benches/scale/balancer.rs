//! ringway as a process: its command line, what its log says, and what /proc knows of it.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than starting takes, and ending every session.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running ringway. Dropped, it is killed by its pid.
pub(crate) struct Balancer {
    child: Child,
    lines: Receiver<String>,
    pub(crate) address: SocketAddr,
    pub(crate) sessions_per_worker: usize,
    /// Descriptors each worker had before the first session.
    descriptors: Vec<u64>,
}

/// Its last words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Totals {
    pub(crate) accepted: usize,
    pub(crate) closed: usize,
}

impl Balancer {
    /// Starts it; the kernel kills it if the calling thread ends first.
    pub(crate) fn start(workers: usize, servers: &[SocketAddr]) -> io::Result<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_ringway"), "run"]);
        command.args(["--listen", "127.0.0.1:0", "--no-access-log"]);
        command.args(["--workers", &workers.to_string()]);
        for server in servers {
            command.args(["--to", &server.to_string()]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().expect("it is piped");
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        // From here on an early return kills it.
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let descriptors = Vec::new();
        let mut balancer =
            Self { child, lines, address: nowhere, sessions_per_worker: 0, descriptors };
        let listening = balancer.line("listening")?;
        balancer.address = field(&listening, "address")?;
        let ready = balancer.line("ready")?;
        balancer.sessions_per_worker = field(&ready, "sessions_per_worker")?;
        balancer.descriptors = balancer.descriptors_by_worker()?;
        Ok(balancer)
    }

    /// The next line of this event.
    fn line(&self, event: &str) -> io::Result<String> {
        let end = Instant::now() + DEADLINE;
        loop {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now()));
            match line {
                Ok(line) if line.split_ascii_whitespace().nth(2) == Some(event) => return Ok(line),
                Ok(line) => println!("ringway: {line}"),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(io::Error::other(format!("ringway never said {event}")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other(format!("ringway ended before {event}")));
                }
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Microseconds of processor time so far.
    pub(crate) fn cpu_us(&self) -> io::Result<u64> {
        let mut total_ns = 0;
        for task in self.tasks()? {
            // The first number is nanoseconds on a core (Documentation/scheduler/sched-stats.rst).
            let text = fs::read_to_string(format!("{task}/schedstat"))?;
            total_ns += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(total_ns / 1000)
    }

    /// Sessions each worker holds: half the descriptors it has more than at the start.
    pub(crate) fn sessions_by_worker(&self) -> io::Result<Vec<usize>> {
        let now = self.descriptors_by_worker()?;
        let pairs = now.iter().zip(&self.descriptors);
        Ok(pairs.map(|(now, before)| (now.saturating_sub(*before) / 2) as usize).collect())
    }

    /// The size of the directory is the number of its entries (fs/proc/fd.c, since Linux 6.2);
    /// reading 20,000 of them would cost as many directory entries in the kernel.
    fn descriptors_by_worker(&self) -> io::Result<Vec<u64>> {
        let mut workers = Vec::new();
        for task in self.tasks()? {
            if fs::read_to_string(format!("{task}/comm"))?.starts_with("worker-") {
                workers.push(fs::metadata(format!("{task}/fd"))?.size());
            }
        }
        Ok(workers)
    }

    /// Directories of its threads, in the order they were started.
    fn tasks(&self) -> io::Result<Vec<String>> {
        let all = format!("/proc/{}/task", self.pid());
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&all)? {
            numbers.extend(entry?.file_name().to_str().and_then(|n| n.parse::<u32>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers.iter().map(|number| format!("{all}/{number}")).collect())
    }

    /// Ends it with SIGTERM and returns its last words.
    pub(crate) fn stop(&mut self) -> io::Result<Totals> {
        kill(Pid::from_raw(self.pid().cast_signed()), Signal::SIGTERM)?;
        let stopped = self.line("stopped")?;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("ringway ended with {status}")));
        }
        Ok(Totals { accepted: field(&stopped, "accepted")?, closed: field(&stopped, "closed")? })
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `name=value` in a log line.
fn field<T: std::str::FromStr>(line: &str, name: &str) -> io::Result<T> {
    line.split_ascii_whitespace()
        .filter_map(|word| word.split_once('='))
        .find(|&(key, _)| key == name)
        .and_then(|(_, value)| value.parse().ok())
        .ok_or_else(|| io::Error::other(format!("no {name} in: {line}")))
}
