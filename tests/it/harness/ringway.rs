//! ringway as a process: started with a command line or a file, read through its log.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Display;
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::{Admin, Peer, Process, Response, eventually, get};

/// A running ringway. Dropped, it must stop cleanly with every session accounted for.
pub(crate) struct Ringway {
    process: Process,
    listening: Vec<(String, String)>,
    files: Vec<TempDir>,
    logs_elsewhere: bool,
}

/// What ringway is going to be started with.
pub(crate) struct Setup {
    arguments: Vec<String>,
    files: Vec<TempDir>,
    /// `ulimit -n`, where it is not the test's own.
    descriptors: Option<u32>,
    /// Whom it is started as, where that is not the test's own user.
    uid: Option<u32>,
    /// With which errno calls for io_uring fail.
    refusal: Option<Errno>,
    /// The program that starts it, and that program's arguments.
    through: Vec<String>,
    /// Sessions have no lines of the usual form on standard output.
    logs_elsewhere: bool,
}

/// Name of the configuration file.
const FILE: &str = "ringway.json";

/// The program under test; `RINGWAY_BIN` names another build.
pub(crate) fn program() -> String {
    env::var("RINGWAY_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_ringway").to_owned())
}

/// Names the engine under test, where it is not what ringway chooses.
const ENGINE: &str = "RINGWAY_TEST_ENGINE";

/// The engine under test as ringway is told of it.
pub(crate) fn engine_flags() -> Vec<String> {
    env::var(ENGINE).map_or(Vec::new(), |engine| vec!["--engine".to_owned(), engine])
}

impl Setup {
    fn of(arguments: Vec<String>) -> Self {
        Self {
            arguments,
            files: Vec::new(),
            descriptors: None,
            uid: None,
            refusal: None,
            through: Vec::new(),
            logs_elsewhere: false,
        }
    }

    /// Further arguments.
    pub(crate) fn with<A: AsRef<str>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// With a directory that lasts as long as it does.
    pub(crate) fn keeping(mut self, directory: TempDir) -> Self {
        self.files.push(directory);
        self
    }

    /// With an admin endpoint on a free port of 127.0.0.1.
    pub(crate) fn with_admin(self) -> Self {
        self.with(["--admin", "127.0.0.1:0"])
    }

    /// Under another user; needs root.
    pub(crate) fn under(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    /// With an access log that the test looks at itself.
    pub(crate) fn logging_elsewhere(mut self) -> Self {
        self.logs_elsewhere = true;
        self
    }

    /// With no more descriptors than this for each of its threads.
    pub(crate) fn limited_to(mut self, descriptors: u32) -> Self {
        self.descriptors = Some(descriptors);
        self
    }

    /// Where every call for io_uring fails with this, as under a container's seccomp profile.
    pub(crate) fn without_io_uring(mut self, errno: Errno) -> Self {
        self.refusal = Some(errno);
        self
    }

    /// By a program that becomes it, such as env(1).
    pub(crate) fn through<A: AsRef<str>>(mut self, words: impl IntoIterator<Item = A>) -> Self {
        self.through.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(self) -> Ringway {
        let logs_elsewhere = self.logs_elsewhere;
        let (mut process, files) = self.spawn();
        process.line("ready", |line| is_event(line, "ready").then_some(()));
        let lines = process.stdout();
        let listening = lines.iter().filter(|line| is_event(line, "listening")).map(|line| {
            let fields = fields(line);
            (fields["listener"].clone(), fields["address"].clone())
        });
        Ringway { listening: listening.collect(), process, files, logs_elsewhere }
    }

    /// Starts it where it must refuse: its exit status and what it said to stderr.
    pub(crate) fn refused(self) -> (ExitStatus, String) {
        let (mut process, _files) = self.spawn();
        let status = process.wait();
        (status, process.stderr().join("\n"))
    }

    fn spawn(mut self) -> (Process, Vec<TempDir>) {
        // Flags instead of a file.
        let has_flags = self.arguments.iter().any(|a| a == "--to");
        if has_flags && !self.arguments.iter().any(|a| a == "--workers") {
            self.arguments.extend(["--workers".to_owned(), "2".to_owned()]);
        }
        if self.refusal.is_none() && !self.arguments.iter().any(|a| a == "--engine") {
            self.arguments.extend(engine_flags());
        }
        let (mut program, limit) =
            (program(), self.descriptors.map(|n| format!("--nofile={n}:{n}")));
        let mut arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        if let Some(limit) = &limit {
            arguments.splice(0..0, [limit.as_str(), &program]);
            return (Process::start("ringway", "prlimit", &arguments), self.files);
        }
        if let Some(errno) = self.refusal {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/without_io_uring.py");
            let errno = (errno as i32).to_string();
            arguments.splice(0..0, [script, &errno, &program]);
            return (Process::start("ringway", "python3", &arguments), self.files);
        }
        let through: Vec<&str> = self.through.iter().map(String::as_str).collect();
        let Some(uid) = self.uid else {
            let words = [&through, &[program.as_str()][..], &arguments].concat();
            return (Process::start("ringway", words[0], &words[1..]), self.files);
        };
        // Where the program was built, others may not look.
        let copy = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .expect("a directory for the program");
        let path = copy.path().join("ringway");
        std::fs::copy(&program, &path).expect("the program is copied");
        program = path.to_str().expect("a path in UTF-8").to_owned();
        let options = [format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".into()];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        self.files.push(copy);
        let words = [&through, &[program.as_str()][..], &arguments].concat();
        (Process::start_under("ringway", &options, words[0], &words[1..]), self.files)
    }
}

impl Ringway {
    /// On a free port of 127.0.0.1, in front of these servers; two workers, unless told otherwise.
    pub(crate) fn to<A: Display>(servers: impl IntoIterator<Item = A>) -> Setup {
        Self::listening_on("127.0.0.1:0", servers)
    }

    /// On this address, in front of these servers.
    pub(crate) fn listening_on<A: Display>(
        address: &str,
        servers: impl IntoIterator<Item = A>,
    ) -> Setup {
        let mut arguments = vec!["run".to_owned(), "--listen".to_owned(), address.to_owned()];
        for server in servers {
            arguments.extend(["--to".to_owned(), server.to_string()]);
        }
        Setup::of(arguments)
    }

    /// From a configuration file.
    pub(crate) fn configured(configuration: &Value) -> Setup {
        let files = tempfile::tempdir().expect("a directory for the file");
        let path = files.path().join(FILE);
        std::fs::write(&path, configuration.to_string()).expect("the file is written");
        let path = path.to_str().expect("a path in UTF-8").to_owned();
        let arguments = vec!["run".to_owned(), path];
        Setup { files: vec![files], ..Setup::of(arguments) }
    }

    /// With these arguments to `run`, as they stand.
    pub(crate) fn with_flags(arguments: &[&str]) -> Setup {
        let arguments = ["run"].iter().chain(arguments).map(|&word| word.to_owned());
        Setup::of(arguments.collect())
    }

    /// From a configuration file of the test's own.
    pub(crate) fn run(file: &Path) -> Setup {
        let file = file.to_str().expect("a path in UTF-8").to_owned();
        Setup::of(vec!["run".to_owned(), file])
    }

    /// The first address it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        let (_, address) = self.listening.first().expect("at least one listener");
        address.parse().expect("an IP address and a port")
    }

    /// Where it is asked and told things, which it must have been started with.
    pub(crate) fn admin(&self) -> Admin {
        Admin::at(&self.event("admin")["address"])
    }

    pub(crate) fn client(&self) -> Peer {
        Peer::connect(self.address())
    }

    /// A client that holds few bytes it has not read.
    pub(crate) fn narrow_client(&self) -> Peer {
        Peer::connect_narrow(self.address())
    }

    /// The answer to one GET on a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, path: &str, fields: &[&str]) -> Response {
        let mut client = self.client();
        client.send(get(path, fields));
        client.response()
    }

    /// Returns when a line of this event, with this word in it, has been written.
    pub(crate) fn wait_for_line(&self, event: &str, word: &str) {
        eventually(&format!("a line {event:?} with {word}"), || {
            let lines = self.process.stdout();
            lines.iter().any(|line| line.contains(event) && line.contains(word)).then_some(())
        });
    }

    /// Lines of this event so far.
    pub(crate) fn lines(&self, event: &str) -> usize {
        self.process.stdout().iter().filter(|line| line.contains(event)).count()
    }

    /// Directories of its threads under /proc.
    fn tasks(&self) -> impl Iterator<Item = PathBuf> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.pid()));
        tasks.expect("it runs").map_while(Result::ok).map(|task| task.path())
    }

    /// Processor time of all its threads so far.
    pub(crate) fn cpu(&self) -> Duration {
        // The first number is nanoseconds on a core (Documentation/scheduler/sched-stats.rst).
        let of_task = |task: PathBuf| {
            let text = std::fs::read_to_string(task.join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        };
        Duration::from_nanos(self.tasks().filter_map(of_task).sum())
    }

    /// Descriptors its threads have, each in its own table.
    pub(crate) fn descriptors(&self) -> usize {
        self.tasks().filter_map(|task| Some(std::fs::read_dir(task.join("fd")).ok()?.count())).sum()
    }

    /// Its soft limit on descriptors.
    pub(crate) fn descriptor_limit(&self) -> u64 {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.process.pid()));
        let limits = limits.expect("it runs");
        let line = limits.lines().find(|line| line.starts_with("Max open files"));
        let soft = line.and_then(|line| line.split_ascii_whitespace().nth(3)?.parse().ok());
        soft.expect("a limit on open files")
    }

    /// Sets it, while it runs.
    pub(crate) fn limit_descriptors(&self, soft: u64) {
        let (pid, limit) = (self.process.pid().to_string(), format!("--nofile={soft}:"));
        let status = std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).status();
        assert!(status.expect("prlimit is installed").success(), "the limit is set");
    }

    /// Every session that has ended so far.
    pub(crate) fn sessions(&self) -> Vec<SessionLine> {
        let lines = self.process.stdout();
        lines
            .iter()
            .filter(|line| is_event(line, "session"))
            .map(|l| SessionLine(fields(l)))
            .collect()
    }

    /// Returns when so many sessions have ended.
    pub(crate) fn wait_for_sessions(&self, count: usize) {
        eventually(&format!("the lines of {count} sessions"), || {
            (self.sessions().len() >= count).then_some(())
        });
    }

    /// Every line about health that has all of these parts.
    pub(crate) fn health(&self, parts: &[&str]) -> Vec<String> {
        let has_all = |line: &String| parts.iter().all(|part| line.contains(part));
        let lines = self.process.stdout().into_iter().filter(|line| is_event(line, "health"));
        lines.filter(has_all).collect()
    }

    /// The first session that ended, once it has.
    pub(crate) fn session(&self) -> SessionLine {
        eventually("the line of a session", || self.sessions().into_iter().next())
    }

    /// The line of this client's session, once it has ended.
    pub(crate) fn session_of(&self, client: SocketAddr) -> SessionLine {
        let client = client.to_string();
        eventually(&format!("the line of the session of {client}"), || {
            self.sessions().into_iter().find(|session| session.get("client") == client)
        })
    }

    /// Everything it has logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.process.stdout()
    }

    /// The fields of an event that was logged before it was ready.
    #[track_caller]
    pub(crate) fn event(&self, name: &str) -> BTreeMap<String, String> {
        let lines = self.process.stdout();
        let line = lines.iter().find(|line| is_event(line, name));
        fields(line.unwrap_or_else(|| panic!("no line of {name} in {lines:?}")))
    }

    /// Whether some line so far contains this.
    pub(crate) fn said(&self, part: &str) -> bool {
        self.process.stdout().iter().any(|line| line.contains(part))
    }

    /// What the kernel says of each of its threads (proc(5), /proc/PID/task/TID/status), by name.
    pub(crate) fn threads(&self) -> Vec<BTreeMap<String, String>> {
        let tasks = format!("/proc/{}/task", self.process.pid());
        let tasks = std::fs::read_dir(tasks).expect("it runs");
        let status = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("status"));
        let threads = tasks.flatten().filter_map(|task| status(task).ok());
        let field = |line: &str| {
            line.split_once(":\t").map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        threads.map(|status| status.lines().filter_map(field).collect()).collect()
    }

    /// Writes another configuration file and has it read; whether it was put in force.
    pub(crate) fn reload(&self, configuration: &Value) -> bool {
        self.reload_text(&configuration.to_string())
    }

    pub(crate) fn reload_text(&self, configuration: &str) -> bool {
        let files = self.files.first().expect("it was started from a file");
        std::fs::write(files.path().join(FILE), configuration).expect("the file is written");
        let before = self.reloads().len();
        self.signal(Signal::SIGHUP);
        eventually("the end of a reload", || self.reloads().get(before).copied())
    }

    /// Reloads so far: whether the file was put in force.
    fn reloads(&self) -> Vec<bool> {
        let lines = self.process.stdout();
        let ends = lines.iter().filter_map(|line| {
            let is_refused = line.contains("not reloaded");
            (is_refused || is_event(line, "reloaded")).then_some(!is_refused)
        });
        ends.collect()
    }

    /// Everything it has said at this level.
    pub(crate) fn lines_at(&self, level: &str) -> String {
        let lines = self.process.stdout();
        let said = lines.iter().filter(|l| l.split_ascii_whitespace().nth(1) == Some(level));
        said.map(|line| format!("{line}\n")).collect()
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// Waits for its end, which must be a good one: the fields of its last words.
    pub(crate) fn wait(&mut self) -> BTreeMap<String, String> {
        self.process.succeed();
        let lines = self.process.stdout();
        let last = lines.iter().rfind(|line| is_event(line, "stopped")).expect("last words");
        fields(last)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Stops it with SIGINT, which does not wait for sessions: the fields of its last words.
    pub(crate) fn stop(&mut self) -> BTreeMap<String, String> {
        self.stop_with(Signal::SIGINT)
    }

    pub(crate) fn stop_with(&mut self, signal: Signal) -> BTreeMap<String, String> {
        self.process.signal(signal);
        self.wait()
    }
}

impl Drop for Ringway {
    fn drop(&mut self) {
        if thread::panicking() || self.process.has_ended() {
            return;
        }
        let last = self.stop();
        assert_eq!(last["accepted"], last["closed"], "every accepted session is closed once");
        let sessions = self.sessions().len().to_string();
        let has_its_line = self.logs_elsewhere || last["closed"] == sessions;
        assert!(has_its_line, "{} closed sessions have {sessions} lines", last["closed"]);
        for line in self.process.stderr().iter().chain(&self.process.stdout()) {
            assert!(!line.contains("panicked"), "{line}");
            let is_refusal = !self.reloads().iter().all(|&reloaded| reloaded);
            assert!(is_refusal || !line.contains(" ERROR "), "{line}");
        }
    }
}

/// One line of the access log.
#[derive(Clone, Debug)]
pub(crate) struct SessionLine(BTreeMap<String, String>);

impl SessionLine {
    /// The value of a field that must be there.
    #[track_caller]
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.0))
    }

    /// The value of a field that may be left out.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    #[track_caller]
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or_else(|_| panic!("{name} is no number in {:?}", self.0))
    }
}

/// `<time>  INFO <event> field=value …`
fn is_event(line: &str, event: &str) -> bool {
    line.split_ascii_whitespace().nth(2) == Some(event)
}

fn fields(line: &str) -> BTreeMap<String, String> {
    let pairs = line.split_ascii_whitespace().skip(3).filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
}
