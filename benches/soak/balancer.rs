//! ringway as a process: its file, its signals, and the account that its log keeps.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::Result;
use crate::faults::Faults;
use crate::program::Program;

/// Longer than ringway takes to start, to reload or to end behind its drain.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running ringway.
pub(crate) struct Balancer {
    program: Program,
    file: PathBuf,
    /// Removed with it.
    _folder: TempDir,
    events: Receiver<Event>,
    ledger: Arc<Mutex<Ledger>>,
    faults: Arc<Faults>,
}

#[derive(Clone, Debug, PartialEq)]
enum Event {
    Ready,
    Reloaded,
    Refused,
    Draining,
    Stopped(Totals),
    /// A line at ERROR.
    Error(String),
}

/// Its last words.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) accepted: u64,
    pub(crate) closed: u64,
    pub(crate) unlogged: u64,
}

/// Sessions that have ended, by what their lines say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) reasons: BTreeMap<String, u64>,
    pub(crate) listeners: BTreeMap<String, u64>,
    pub(crate) retries: u64,
}

impl Balancer {
    /// `log` gets a copy of what it says.
    pub(crate) fn start(
        ringway: &Path,
        log: &Path,
        engine: Option<&str>,
        configuration: &Value,
        faults: &Arc<Faults>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("ringway.json");
        fs::write(&file, configuration.to_string())?;
        let mut words: Vec<OsString> = vec![ringway.into(), "run".into(), file.clone().into()];
        if let Some(engine) = engine {
            words.extend(["--engine".into(), engine.into()]);
        }
        let (tell, events) = channel();
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let into = Arc::clone(&ledger);
        let mut copy = BufWriter::new(File::create(log)?);
        let program = Program::start("ringway", &words, faults, move |line| {
            let _ = writeln!(copy, "{line}");
            take(&line, &into, &tell);
        })?;
        let faults = Arc::clone(faults);
        let mut balancer = Self { program, file, _folder: folder, events, ledger, faults };
        balancer.await_event(&Event::Ready)?;
        Ok(balancer)
    }

    pub(crate) fn pid(&self) -> Pid {
        self.program.pid()
    }

    pub(crate) fn ledger(&self) -> Ledger {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts this file in force, which should succeed; whether it did.
    pub(crate) fn reload(&mut self, configuration: &Value) -> Result<bool> {
        self.write(&configuration.to_string())?;
        self.program.signal(Signal::SIGHUP)?;
        self.await_reload(true)
    }

    /// Has a wrong file read, which must change nothing.
    pub(crate) fn reload_wrong(&mut self, text: &str) -> Result<()> {
        self.write(text)?;
        self.program.signal(Signal::SIGHUP)?;
        self.await_reload(false).map(|_| ())
    }

    /// Whether the file was put in force, as it should be if it `is_good`.
    fn await_reload(&mut self, is_good: bool) -> Result<bool> {
        loop {
            match self.next_event()? {
                Event::Error(line) if is_good => {
                    self.faults.add(format_args!("ringway says: {line}"));
                }
                event @ (Event::Reloaded | Event::Refused) => {
                    let is_reloaded = event == Event::Reloaded;
                    if is_reloaded != is_good {
                        self.faults.add(format_args!("a file was {event:?}"));
                    }
                    return Ok(is_reloaded);
                }
                _ => {}
            }
        }
    }

    /// Never half a file.
    fn write(&self, text: &str) -> Result<()> {
        let new = self.file.with_extension("new");
        fs::write(&new, text)?;
        Ok(fs::rename(new, &self.file)?)
    }

    /// Tells it to end when its last session has.
    pub(crate) fn drain(&mut self) -> Result<()> {
        self.program.signal(Signal::SIGTERM)?;
        self.await_event(&Event::Draining)
    }

    /// Waits for its end: its last words.
    pub(crate) fn wait(&mut self) -> Result<Totals> {
        let totals = loop {
            if let Event::Stopped(totals) = self.next_event()? {
                break totals;
            }
        };
        let status = self.program.wait(DEADLINE)?;
        if !status.success() {
            self.faults.add(format_args!("ringway ended with {status}"));
        }
        Ok(totals)
    }

    fn await_event(&mut self, wanted: &Event) -> Result<()> {
        loop {
            match self.next_event()? {
                event if event == *wanted => return Ok(()),
                Event::Error(line) => self.faults.add(format_args!("ringway says: {line}")),
                _ => {}
            }
        }
    }

    fn next_event(&mut self) -> Result<Event> {
        self.events.recv_timeout(DEADLINE).map_err(|_| match self.program.ended() {
            Ok(Some(status)) => format!("ringway ended: {status}").into(),
            _ => format!("ringway said nothing for {DEADLINE:?}").into(),
        })
    }
}

/// Reads a line of the log: `<time>  INFO <event> field=value …`
fn take(line: &str, ledger: &Mutex<Ledger>, tell: &Sender<Event>) {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (level, event) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let fields = || line.split_ascii_whitespace().filter_map(|word| word.split_once('='));
    let number = |name| {
        let found = fields().find(|&(key, _)| key == name);
        found.and_then(|(_, value)| value.parse().ok()).unwrap_or(u64::MAX)
    };
    let event = match (level, event) {
        ("INFO", "session") => {
            let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, value) in fields() {
                match name {
                    "reason" => *ledger.reasons.entry(value.to_owned()).or_default() += 1,
                    "listener" => *ledger.listeners.entry(value.to_owned()).or_default() += 1,
                    "retries" => ledger.retries += value.parse::<u64>().unwrap_or(0),
                    _ => {}
                }
            }
            return;
        }
        ("INFO", "ready") => Event::Ready,
        ("INFO", "reloaded") => Event::Reloaded,
        ("INFO", "draining") => Event::Draining,
        ("INFO", "stopped") => Event::Stopped(Totals {
            accepted: number("accepted"),
            closed: number("closed"),
            unlogged: number("unlogged"),
        }),
        ("ERROR", "not") => Event::Refused,
        ("ERROR", _) => Event::Error(line.to_owned()),
        _ => return,
    };
    let _ = tell.send(event);
}
