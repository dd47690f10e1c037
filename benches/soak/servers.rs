//! Servers as processes, and what befalls them: SIGKILL and a new life, SIGSTOP and SIGCONT.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ringway::random::Random;

use crate::Result;
use crate::faults::Faults;
use crate::plan::below;
use crate::program::Program;

/// Longer than a server takes to start.
const STARTING: Duration = Duration::from_secs(60);

/// Servers that can stand in for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Of this program.
    Plain,
    /// Socket.IO.
    Chat,
}

struct Death {
    group: Group,
    number: u32,
    life: u32,
    /// When it was gone; `None`: it may still accept, since dying takes a while.
    gone: Option<Instant>,
}

/// Every server that was killed.
#[derive(Default)]
pub(crate) struct Deaths(Mutex<Vec<Death>>);

impl Deaths {
    /// Whether a session may have ended by one: of its server, or of any since it began where it
    /// does not know its server.
    pub(crate) fn explain(&self, group: Group, server: Option<(u32, u32)>, born: Instant) -> bool {
        let deaths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        deaths.iter().filter(|death| death.group == group).any(|death| match server {
            Some(server) => server == (death.number, death.life),
            None => death.gone.is_none_or(|gone| gone >= born),
        })
    }

    /// Kills a server. Its death is known from before it happens until after.
    fn kill(&self, group: Group, number: u32, life: u32, program: Program) {
        let deaths = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        deaths().push(Death { group, number, life, gone: None });
        drop(program);
        for death in deaths().iter_mut().filter(|death| death.gone.is_none()) {
            death.gone = Some(Instant::now());
        }
    }
}

enum State {
    Runs,
    Starts,
    Stopped { until: Instant },
    Dead { until: Instant },
}

/// A server that lives more than once at one address.
struct Server {
    number: u32,
    address: SocketAddr,
    life: u32,
    state: State,
    program: Option<Program>,
    ready: Receiver<()>,
    /// Descriptors it had before the first client.
    descriptors: usize,
}

/// The servers of a group. At most one of them is in trouble at a time, so that no client has a
/// reason to fail.
pub(crate) struct Servers {
    group: Group,
    all: Vec<Server>,
    deaths: Arc<Deaths>,
    faults: Arc<Faults>,
    /// Requests that Socket.IO refused.
    refusals: Arc<AtomicUsize>,
    next: Instant,
    /// Milliseconds between two troubles, at least; up to three times as many.
    every_ms: u64,
    pub(crate) kills: usize,
    pub(crate) stops: usize,
}

impl Servers {
    pub(crate) fn start(
        group: Group,
        addresses: &[SocketAddr],
        every_ms: u64,
        deaths: &Arc<Deaths>,
        faults: &Arc<Faults>,
        refusals: &Arc<AtomicUsize>,
    ) -> Result<Self> {
        let mut servers = Self {
            group,
            all: Vec::new(),
            deaths: Arc::clone(deaths),
            faults: Arc::clone(faults),
            refusals: Arc::clone(refusals),
            next: Instant::now() + Duration::from_millis(every_ms),
            every_ms,
            kills: 0,
            stops: 0,
        };
        for (number, &address) in (0..).zip(addresses) {
            let (state, life) = (State::Runs, 0);
            let (_, ready) = channel();
            let server =
                Server { number, address, life, state, program: None, ready, descriptors: 0 };
            servers.all.push(server);
            servers.give_life(number as usize)?;
        }
        servers.settle()?;
        Ok(servers)
    }

    fn give_life(&mut self, at: usize) -> Result<()> {
        let server = &mut self.all[at];
        let (tell, ready) = channel();
        let words = match self.group {
            Group::Plain => plain_words(server)?,
            Group::Chat => chat_words(server),
        };
        let name = format!("server {} of {:?}", server.number, self.group);
        let (faults, refusals) = (Arc::clone(&self.faults), Arc::clone(&self.refusals));
        let program = Program::start(&name, &words, &self.faults, move |line| {
            if line == "ready" || line.starts_with("{\"port\"") {
                let _ = tell.send(());
            } else if line.contains("engine_error") {
                refusals.fetch_add(1, Relaxed);
            } else {
                faults.add(line);
            }
        })?;
        (server.program, server.ready, server.state) = (Some(program), ready, State::Starts);
        Ok(())
    }

    /// Looks after those in trouble, and makes some.
    pub(crate) fn look(&mut self, now: Instant, random: &mut Random) -> Result<()> {
        let mut in_trouble = false;
        for at in 0..self.all.len() {
            self.look_at(at, now)?;
            in_trouble |= !matches!(self.all[at].state, State::Runs);
        }
        if in_trouble || now < self.next {
            return Ok(());
        }
        self.next = now + Duration::from_millis(self.every_ms + below(random, 2 * self.every_ms));
        let until = now + Duration::from_millis(200 + below(random, 1_500));
        let kills = below(random, 5) < 3;
        let which = below(random, self.all.len() as u64) as usize;
        let server = &mut self.all[which];
        let Some(program) = server.program.take() else { return Ok(()) };
        if kills {
            self.deaths.kill(self.group, server.number, server.life, program);
            server.state = State::Dead { until };
            self.kills += 1;
        } else {
            program.signal(Signal::SIGSTOP)?;
            server.program = Some(program);
            server.state = State::Stopped { until };
            self.stops += 1;
        }
        Ok(())
    }

    fn look_at(&mut self, at: usize, now: Instant) -> Result<()> {
        let server = &mut self.all[at];
        if let Some(program) = &mut server.program
            && let Some(status) = program.ended()?
        {
            return Err(format!("server {} of {:?} ended: {status}", at, self.group).into());
        }
        match server.state {
            State::Starts if server.ready.try_recv().is_ok() => {
                server.descriptors = server.open_descriptors()?;
                server.state = State::Runs;
            }
            State::Stopped { until } if now >= until => {
                if let Some(program) = &server.program {
                    program.signal(Signal::SIGCONT)?;
                }
                server.state = State::Runs;
            }
            State::Dead { until } if now >= until => {
                server.life += 1;
                self.give_life(at)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Until all of them run.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let end = Instant::now() + STARTING;
        while !self.all.iter().all(|server| matches!(server.state, State::Runs)) {
            if Instant::now() > end {
                return Err(format!("a server of {:?} has not started", self.group).into());
            }
            for at in 0..self.all.len() {
                self.look_at(at, Instant::now())?;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Connections they still have, clients that are waiting to be accepted apart.
    pub(crate) fn connections(&self) -> Result<usize> {
        let mut connections = 0;
        for server in &self.all {
            connections += server.open_descriptors()?.saturating_sub(server.descriptors);
        }
        Ok(connections)
    }
}

impl Server {
    fn open_descriptors(&self) -> Result<usize> {
        let Some(program) = &self.program else { return Ok(0) };
        Ok(fs::read_dir(format!("/proc/{}/fd", program.pid()))?.count())
    }
}

fn plain_words(server: &Server) -> Result<Vec<OsString>> {
    let program = std::env::current_exe()?.into_os_string();
    let words = [server.address.to_string(), server.number.to_string(), server.life.to_string()];
    let words = ["server".to_owned()].into_iter().chain(words).map(OsString::from);
    Ok([program].into_iter().chain(words).collect())
}

fn chat_words(server: &Server) -> Vec<OsString> {
    let words = [
        format!("--id=s{}", server.number),
        format!("--host={}", server.address.ip()),
        format!("--port={}", server.address.port()),
    ];
    let script = [OsString::from("node"), node_script("server.js")];
    script.into_iter().chain(words.map(OsString::from)).collect()
}

/// A script of the tests.
pub(crate) fn node_script(name: &str) -> OsString {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node").join(name).into_os_string()
}
