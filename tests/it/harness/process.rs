//! A program a test starts: its output is kept, and it never outlives the test.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::eventually;

/// A running program. Dropped, it is killed by its process id.
pub(crate) struct Process {
    name: String,
    child: Child,
    readers: Vec<thread::JoinHandle<()>>,
    stdout: Arc<Mutex<Vec<String>>>,
    stderr: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts `program`; the kernel kills it if the thread that calls this ends first.
    pub(crate) fn start(name: &str, program: &str, arguments: &[&str]) -> Self {
        Self::start_under(name, &[], program, arguments)
    }

    /// Starts `program` with more options for setpriv(1), such as another user.
    pub(crate) fn start_under(
        name: &str,
        options: &[&str],
        program: &str,
        arguments: &[&str],
    ) -> Self {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(options)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: setpriv cannot be started: {error}"));
        let (stdout, from_stdout) = collect(child.stdout.take().expect("stdout is piped"));
        let (stderr, from_stderr) = collect(child.stderr.take().expect("stderr is piped"));
        let readers = vec![from_stdout, from_stderr];
        Self { name: name.to_owned(), child, readers, stdout, stderr }
    }

    /// Everything printed to stdout so far, line by line.
    pub(crate) fn stdout(&self) -> Vec<String> {
        self.stdout.lock().unwrap().clone()
    }

    /// Everything printed to stderr so far, line by line.
    pub(crate) fn stderr(&self) -> Vec<String> {
        self.stderr.lock().unwrap().clone()
    }

    /// The first line of stdout for which `wanted` has an answer; fails if the program ends first.
    pub(crate) fn line<T>(&mut self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        let name = self.name.clone();
        eventually(&format!("{what} from {name}"), || {
            let ended = self.child.try_wait().expect("a child can be waited for");
            if ended.is_some() {
                self.wait_for_output();
            }
            let found = self.stdout.lock().unwrap().iter().find_map(|line| wanted(line));
            if let (None, Some(status)) = (&found, ended) {
                panic!("{name} ended ({status}) without {what}{}", self.output());
            }
            found
        })
    }

    /// Sends a signal to this process and no other.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the process is there to be signalled");
    }

    /// Waits for the end and for all that was printed.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        let status = eventually(&format!("the end of {name}"), || {
            self.child.try_wait().expect("a child can be waited for")
        });
        self.wait_for_output();
        status
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_some()
    }

    /// Waits for the end, which must be exit code 0.
    pub(crate) fn succeed(&mut self) {
        let status = self.wait();
        assert!(status.success(), "{} failed ({status}){}", self.name, self.output());
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn wait_for_output(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().expect("reading output does not panic");
        }
    }

    fn output(&self) -> String {
        let mut text = String::new();
        for (stream, lines) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
            for line in lines.iter().rev().take(40).rev() {
                let _ = write!(text, "\n  {} {stream}: {line}", self.name);
            }
        }
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        if ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("{}: {}{}", self.name, how_it_ended(ended), self.output());
        }
    }
}

fn how_it_ended(status: Option<ExitStatus>) -> String {
    match status {
        None => "was running".to_owned(),
        Some(status) if status.signal().is_some() => format!("died ({status})"),
        Some(status) => format!("ended ({status})"),
    }
}

type Lines = Arc<Mutex<Vec<String>>>;

fn collect(stream: impl Read + Send + 'static) -> (Lines, thread::JoinHandle<()>) {
    let lines = Lines::default();
    let into = Arc::clone(&lines);
    let reader = thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            into.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
        }
    });
    (lines, reader)
}
