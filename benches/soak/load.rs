//! The load: one thread, many sessions of every kind, all drawn from one seed.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use ringway::random::Random;
use slab::Slab;

use crate::Result;
use crate::faults::Faults;
use crate::plan::{Conduct, Kind, Plan, below};
use crate::servers::{Deaths, Group};
use crate::session::{CHUNK, Session, Turn};

/// Milliseconds between looks at the time: when sessions are opened, and messages are due.
const LOOK_MS: u64 = 5;

/// Sessions opened at one look: what a thread that was kept waiting makes up for.
const BURST: u64 = 50;

/// How long sessions that are told to finish may take: longer than any of them is owed.
const FINISHING: Duration = Duration::from_secs(120);

/// Where ringway listens.
pub(crate) struct Doors {
    open: Mutex<Vec<SocketAddr>>,
    /// Reads HTTP, and stays.
    pub(crate) http: SocketAddr,
}

impl Doors {
    pub(crate) fn new(open: &[SocketAddr], http: SocketAddr) -> Self {
        Self { open: Mutex::new(open.to_vec()), http }
    }

    /// From now on nobody connects anywhere else; what was open until now.
    pub(crate) fn leave(&self, staying: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let before = open.clone();
        open.retain(|door| staying.contains(door));
        before
    }

    pub(crate) fn set(&self, open: &[SocketAddr]) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = open.to_vec();
    }

    /// Connects to one that is open: on loopback, its kernel has taken the client in before anybody
    /// can close it.
    pub(crate) fn connect(&self, nth: u64) -> std::io::Result<TcpStream> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        TcpStream::connect(open[(nth % open.len() as u64) as usize])
    }
}

/// How much of what.
#[derive(Clone, Copy, Default)]
pub(crate) struct Mix {
    pub(crate) churn_per_s: u64,
    pub(crate) aborts_per_s: u64,
    pub(crate) misfits_per_s: u64,
    pub(crate) bulks_per_s: u64,
    /// Bulk transfers at once, at most.
    pub(crate) bulks: usize,
    /// Echo sessions, at any time.
    pub(crate) talks: usize,
    /// Echo sessions that ringway is to end.
    pub(crate) stays: usize,
}

/// What became of the sessions of one kind.
#[derive(Clone, Copy, Default)]
pub(crate) struct Count {
    pub(crate) right: u64,
    /// Ended with their server, which was killed.
    pub(crate) killed: u64,
    /// Ended by ringway, as they were meant to be.
    pub(crate) stopped: u64,
    pub(crate) wrong: u64,
}

/// What became of all.
#[derive(Clone, Default)]
pub(crate) struct Tally {
    pub(crate) kinds: [Count; Kind::ALL.len()],
    /// Connections that stood, misfits apart.
    pub(crate) connected: u64,
    /// Those of them that were reset before anybody had answered: ringway may not have seen them.
    pub(crate) unseen: u64,
    /// Bytes sent and received that were compared.
    pub(crate) bytes: [u64; 2],
    pub(crate) most_at_once: usize,
}

/// Shared with the thread.
struct Signs {
    finish: AtomicBool,
    live: AtomicUsize,
    answered: AtomicUsize,
}

/// A running load.
pub(crate) struct Load {
    thread: JoinHandle<Result<Tally>>,
    signs: Arc<Signs>,
}

impl Load {
    pub(crate) fn start(
        seed: u64,
        mix: Mix,
        doors: &Arc<Doors>,
        deaths: &Arc<Deaths>,
        faults: &Arc<Faults>,
    ) -> Result<Self> {
        let (finish, live) = (AtomicBool::new(false), AtomicUsize::new(0));
        let signs = Arc::new(Signs { finish, live, answered: AtomicUsize::new(0) });
        let mut clients = Clients {
            poll: Poll::new()?,
            random: Random::new(seed),
            mix,
            doors: Arc::clone(doors),
            deaths: Arc::clone(deaths),
            faults: Arc::clone(faults),
            signs: Arc::clone(&signs),
            sessions: Slab::new(),
            opened: [0; 4],
            bulks: 0,
            talks: 0,
            tally: Tally::default(),
            chunk: vec![0; CHUNK],
            scratch: Vec::new(),
        };
        let thread = thread::Builder::new().name("load".to_owned()).spawn(move || {
            clients.run()?;
            Ok(clients.tally)
        })?;
        Ok(Self { thread, signs })
    }

    /// Sessions there are.
    pub(crate) fn live(&self) -> usize {
        self.signs.live.load(Relaxed)
    }

    /// Sessions whose server has answered, at the last look.
    pub(crate) fn answered(&self) -> usize {
        self.signs.answered.load(Relaxed)
    }

    /// No new sessions; those that would go on for long come to an end.
    pub(crate) fn finish(&self) {
        self.signs.finish.store(true, Relaxed);
    }

    /// What became of all, once the last one has ended.
    pub(crate) fn wait(self) -> Result<Tally> {
        self.finish();
        self.thread.join().map_err(|_| "the load panicked")?
    }
}

struct Clients {
    poll: Poll,
    random: Random,
    mix: Mix,
    doors: Arc<Doors>,
    deaths: Arc<Deaths>,
    faults: Arc<Faults>,
    signs: Arc<Signs>,
    sessions: Slab<Session>,
    /// Short exchanges, aborts, misfits and bulk transfers that were opened or given up.
    opened: [u64; 4],
    bulks: usize,
    talks: usize,
    tally: Tally,
    chunk: Vec<u8>,
    scratch: Vec<u8>,
}

impl Clients {
    fn run(&mut self) -> Result<()> {
        let start = Instant::now();
        let mut events = Events::with_capacity(1024);
        let mut due = Vec::new();
        let mut look = start;
        let mut finishing: Option<Instant> = None;
        for _ in 0..self.mix.stays {
            let plan = Plan::talk(u32::MAX, true, &mut self.random);
            self.open(plan);
        }
        loop {
            let wait = if due.is_empty() { Duration::from_millis(LOOK_MS) } else { Duration::ZERO };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            due.extend(events.iter().map(|event| event.token().0));
            let now = Instant::now();
            if now >= look {
                look = now + Duration::from_millis(LOOK_MS);
                if finishing.is_none() && self.signs.finish.load(Relaxed) {
                    finishing = Some(now);
                    self.sessions.iter_mut().for_each(|(_, session)| session.hurry());
                    due.extend(self.sessions.iter().map(|(number, _)| number));
                }
                if finishing.is_none() {
                    self.open_due(now - start);
                }
                due.extend(self.sessions.iter().filter(|(_, s)| now >= s.next()).map(|(n, _)| n));
                self.count();
            }
            due.sort_unstable();
            due.dedup();
            due = due.drain(..).filter(|&number| self.turn(number, now)).collect();
            let Some(since) = finishing else { continue };
            if self.sessions.is_empty() {
                return Ok(());
            }
            if now >= since + FINISHING {
                for (_, session) in &self.sessions {
                    self.faults.add(format_args!("never ended: {session}"));
                }
                return Ok(());
            }
        }
    }

    fn count(&mut self) {
        self.tally.most_at_once = self.tally.most_at_once.max(self.sessions.len());
        let answered = self.sessions.iter().filter(|(_, session)| session.server().is_some());
        self.signs.answered.store(answered.count(), Relaxed);
        self.signs.live.store(self.sessions.len(), Relaxed);
    }

    /// Opens what is due by now.
    fn open_due(&mut self, passed: Duration) {
        let mix = self.mix;
        let per_s = [mix.churn_per_s, mix.aborts_per_s, mix.misfits_per_s, mix.bulks_per_s];
        for (which, per_s) in per_s.into_iter().enumerate() {
            let due = passed.as_millis() as u64 * per_s / 1000;
            let count = (due - self.opened[which]).min(BURST);
            self.opened[which] = due;
            for _ in 0..count {
                let plan = match which {
                    0 => Plan::churn(&mut self.random),
                    1 => Plan::abort(&mut self.random),
                    2 => Plan::misfit(&mut self.random),
                    _ if self.bulks >= mix.bulks => continue,
                    _ => Plan::bulk(&mut self.random),
                };
                self.open(plan);
            }
        }
        for _ in 0..mix.talks.saturating_sub(self.talks).min(BURST as usize) {
            let messages = match below(&mut self.random, 4) {
                0 => 3 + below(&mut self.random, 20) as u32,
                _ => u32::MAX,
            };
            let plan = Plan::talk(messages, false, &mut self.random);
            self.open(plan);
        }
    }

    fn open(&mut self, plan: Plan) {
        let door = self.random.next() >> 11;
        let connecting = if plan.kind.is_misfit() {
            TcpStream::connect(self.doors.http)
        } else {
            self.doors.connect(door)
        };
        let place = self.sessions.vacant_entry();
        let both = Interest::READABLE | Interest::WRITABLE;
        let registered = connecting.and_then(|mut stream| {
            let _ = stream.set_nodelay(true);
            self.poll.registry().register(&mut stream, Token(place.key()), both)?;
            Ok(stream)
        });
        match registered {
            Ok(stream) => {
                place.insert(Session::new(stream, plan, Instant::now()));
                self.bulks += usize::from(plan.kind == Kind::Bulk);
                self.talks += usize::from(plan.kind == Kind::Talk);
            }
            Err(error) => {
                self.tally.kinds[plan.kind as usize].wrong += 1;
                self.faults.add(format_args!("cannot connect: {error}"));
            }
        }
    }

    /// Whether there is more to do at once.
    fn turn(&mut self, number: usize, now: Instant) -> bool {
        let Some(session) = self.sessions.get_mut(number) else { return false };
        let was_connected = session.is_connected;
        let turn = session.turn(now, &mut self.chunk, &mut self.scratch);
        if session.is_connected && !was_connected && !session.plan.kind.is_misfit() {
            self.tally.connected += 1;
            let at_once = matches!(session.plan.conduct, Conduct::Reset { at_once: true, .. });
            self.tally.unseen += u64::from(at_once);
        }
        match turn {
            Turn::Waits => return false,
            Turn::Again => return true,
            _ => {}
        }
        let session = self.sessions.remove(number);
        let kind = session.plan.kind;
        self.bulks -= usize::from(kind == Kind::Bulk);
        self.talks -= usize::from(kind == Kind::Talk);
        let [up, down] = session.carried();
        self.tally.bytes[0] += up;
        self.tally.bytes[1] += down;
        let count = &mut self.tally.kinds[kind as usize];
        match turn {
            Turn::Reset => {
                count.right += 1;
                session.reset();
            }
            Turn::Ended(how) => {
                let (born, server) = (session.born, session.server());
                if self.deaths.explain(Group::Plain, server, born) {
                    count.killed += 1;
                } else if kind == Kind::Stay && self.signs.finish.load(Relaxed) {
                    count.stopped += 1;
                } else {
                    count.wrong += 1;
                    self.faults.add(format_args!("{how}: {session}"));
                }
            }
            Turn::Wrong(what) => {
                count.wrong += 1;
                self.faults.add(format_args!("{what}: {session}"));
            }
            Turn::Right | Turn::Waits | Turn::Again => count.right += 1,
        }
        false
    }
}
