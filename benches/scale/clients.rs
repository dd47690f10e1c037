//! Clients: a thread, a source address and a descriptor table for each 12,000 sessions.
//!
//! A session counts as held once its first message has come back through ringway and a server.
//! What each message must read is known from session and round, so an answer that belongs to
//! another session is found out.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use ringway::sys::{Fd, socket, table};
use socket2::{Domain, Socket, Type};

use crate::course::Course;

/// Sessions being opened at once by all threads together, so that no backlog (net.core.somaxconn
/// is 4,096) overflows and ringway is kept busy all the same.
const OPENING: usize = 1024;

/// Milliseconds after which a thread looks what it is to do next, and paces nothing.
const LOOK_MS: u64 = 100;

/// Events taken at once.
const EVENTS: usize = 256;

/// Bytes of a message.
const MESSAGE: usize = 16;

/// What became of the sessions of one thread, or of all.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) failures: [usize; Failure::ALL.len()],
    /// Microseconds from connecting to the first answer.
    pub(crate) first_us: Vec<u32>,
    /// Microseconds from sending to the answer, while all sessions were held.
    pub(crate) echo_us: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    NotConnected,
    Lost,
    WrongAnswer,
    Unanswered,
}

impl Failure {
    pub(crate) const ALL: [(Self, &str); 4] = [
        (Self::NotConnected, "not connected"),
        (Self::Lost, "lost"),
        (Self::WrongAnswer, "wrong answer"),
        (Self::Unanswered, "unanswered"),
    ];
}

/// All clients.
pub(crate) struct Clients {
    threads: Vec<JoinHandle<io::Result<Tally>>>,
}

impl Clients {
    pub(crate) fn start(
        sessions: usize,
        threads: usize,
        to: SocketAddr,
        course: &Arc<Course>,
    ) -> io::Result<Self> {
        let mut all = Vec::new();
        for number in 0..threads {
            let share = sessions * (number + 1) / threads - sessions * number / threads;
            let source = Ipv4Addr::new(127, 1, (number / 250) as u8, (number % 250 + 1) as u8);
            let course = Arc::clone(course);
            let opening = OPENING.div_ceil(threads);
            let thread =
                thread::Builder::new().name(format!("client-{number}")).spawn(move || {
                    let mut client = Client::new(number, source, to, course)?;
                    client.run(share, opening)?;
                    Ok(client.finish())
                })?;
            all.push(thread);
        }
        Ok(Self { threads: all })
    }

    /// What became of all sessions, once the run is closing.
    pub(crate) fn finish(self) -> Tally {
        let mut all = Tally::default();
        for thread in self.threads {
            match thread.join().expect("a client does not panic") {
                Ok(mut tally) => {
                    for (sum, count) in all.failures.iter_mut().zip(tally.failures) {
                        *sum += count;
                    }
                    all.first_us.append(&mut tally.first_us);
                    all.echo_us.append(&mut tally.echo_us);
                }
                Err(error) => {
                    eprintln!("scale: a client ended: {error}");
                    all.failures[Failure::Lost as usize] += 1;
                }
            }
        }
        all.first_us.sort_unstable();
        all.echo_us.sort_unstable();
        all
    }
}

struct Client {
    number: usize,
    source: Ipv4Addr,
    to: SocketAddr,
    course: Arc<Course>,
    epoll: Epoll,
    /// By number; what failed has left.
    sessions: Vec<Option<Session>>,
    /// Sessions that wait for a connection or an answer.
    in_flight: usize,
    /// Messages of the hold that were due and have been sent, or had no session to send on.
    due: u64,
    tally: Tally,
}

struct Session {
    socket: Socket,
    stage: Stage,
    round: u32,
    asked_us: u64,
}

#[derive(Clone, Copy)]
enum Stage {
    Connecting,
    /// So many bytes of the answer have come.
    Waiting(u8),
    Quiet,
}

impl Client {
    fn new(
        number: usize,
        source: Ipv4Addr,
        to: SocketAddr,
        course: Arc<Course>,
    ) -> io::Result<Self> {
        table::make_private(&[])?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let (sessions, tally) = (Vec::new(), Tally::default());
        Ok(Self { number, source, to, course, epoll, sessions, in_flight: 0, due: 0, tally })
    }

    fn run(&mut self, share: usize, opening: usize) -> io::Result<()> {
        self.sessions.reserve_exact(share);
        let mut events = [EpollEvent::empty(); EVENTS];
        while !self.course.is_closing() {
            while self.sessions.len() < share && self.in_flight < opening && self.course.opens() {
                self.open();
            }
            let timeout_ms = self.send_due().min(LOOK_MS) as u16;
            let count = match self.epoll.wait(&mut events, timeout_ms) {
                Err(nix::errno::Errno::EINTR) => 0,
                result => result?,
            };
            for event in &events[..count] {
                self.ready(event.data() as usize);
            }
        }
        Ok(())
    }

    fn open(&mut self) {
        let number = self.sessions.len();
        let asked_us = self.course.clock.now_us();
        match self.connect(number) {
            Ok(socket) => {
                let session = Session { socket, stage: Stage::Connecting, round: 0, asked_us };
                self.sessions.push(Some(session));
                self.take_flight();
            }
            Err(error) => {
                if self.tally.failures[Failure::NotConnected as usize] == 0 {
                    eprintln!("scale: {} cannot connect: {error}", self.source);
                }
                self.sessions.push(None);
                self.tally.failures[Failure::NotConnected as usize] += 1;
                self.course.failed.fetch_add(1, Relaxed);
            }
        }
    }

    fn connect(&self, number: usize) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
        socket.set_tcp_nodelay(true)?;
        // A port that bind(2) alone takes would be none of ringway's, whatever its address.
        socket::bind_address(Fd::new(socket.as_raw_fd()), self.source.into())
            .map_err(|fault| io::Error::other(fault.to_string()))?;
        match socket.connect(&self.to.into()) {
            Err(error) if error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => {
                return Err(error);
            }
            _ => {}
        }
        self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLOUT, number as u64))?;
        Ok(socket)
    }

    fn take_flight(&mut self) {
        self.in_flight += 1;
        self.course.in_flight.fetch_add(1, Relaxed);
    }

    fn land(&mut self) {
        self.in_flight -= 1;
        self.course.in_flight.fetch_sub(1, Relaxed);
    }

    /// Something happened to a session.
    fn ready(&mut self, number: usize) {
        let Some(session) = &mut self.sessions[number] else { return };
        match session.stage {
            Stage::Connecting => match session.socket.take_error() {
                Ok(None) => {
                    let mut interest = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
                    let changed = self.epoll.modify(&session.socket, &mut interest);
                    session.stage = Stage::Waiting(0);
                    if changed.is_err() || !session.ask(message(self.number, number, 0)) {
                        self.fail(number, Failure::NotConnected);
                    }
                }
                _ => self.fail(number, Failure::NotConnected),
            },
            Stage::Waiting(got) => self.answered(number, got),
            // Nothing was asked: an end, or an answer to nobody.
            Stage::Quiet => {
                let failure = match session.socket.read(&mut [0; MESSAGE]) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                    Ok(1..) => Failure::WrongAnswer,
                    Ok(0) | Err(_) => Failure::Lost,
                };
                self.fail(number, failure);
            }
        }
    }

    fn answered(&mut self, number: usize, got: u8) {
        let Some(session) = &mut self.sessions[number] else { return };
        let expected = &message(self.number, number, session.round)[usize::from(got)..];
        let mut bytes = [0; MESSAGE];
        let len = match session.socket.read(&mut bytes) {
            Ok(0) => return self.fail(number, Failure::Lost),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => return self.fail(number, Failure::Lost),
        };
        if !expected.starts_with(&bytes[..len]) {
            return self.fail(number, Failure::WrongAnswer);
        }
        if len < expected.len() {
            session.stage = Stage::Waiting(got + len as u8);
            return;
        }
        let took_us = self.course.clock.now_us() - session.asked_us;
        let took_us = u32::try_from(took_us).unwrap_or(u32::MAX);
        session.stage = Stage::Quiet;
        if session.round == 0 {
            self.course.held.fetch_add(1, Relaxed);
            self.tally.first_us.push(took_us);
        } else {
            self.tally.echo_us.push(took_us);
        }
        session.round += 1;
        self.land();
    }

    /// Sends what is due by now; milliseconds until there is more.
    fn send_due(&mut self) -> u64 {
        let Some(span_us) = self.course.messages_us() else { return LOOK_MS };
        let count = self.sessions.len() as u64;
        loop {
            // Message k of this thread belongs to session k % count, and is due k / count of an
            // interval after the start.
            let at_us = span_us.start + self.due * self.course.every_us / count.max(1);
            let now_us = self.course.clock.now_us();
            if count == 0 || at_us >= span_us.end {
                return LOOK_MS;
            }
            if at_us > now_us {
                return (at_us - now_us) / 1000;
            }
            let number = (self.due % count) as usize;
            self.due += 1;
            self.send(number, now_us);
        }
    }

    fn send(&mut self, number: usize, now_us: u64) {
        let Some(session) = &mut self.sessions[number] else { return };
        match session.stage {
            Stage::Quiet => {
                session.stage = Stage::Waiting(0);
                session.asked_us = now_us;
                let sent = session.ask(message(self.number, number, session.round));
                self.take_flight();
                if !sent {
                    self.fail(number, Failure::Lost);
                }
            }
            // The answer before is late by a whole interval.
            Stage::Waiting(_) | Stage::Connecting => self.fail(number, Failure::Unanswered),
        }
    }

    fn fail(&mut self, number: usize, failure: Failure) {
        let Some(session) = self.sessions[number].take() else { return };
        if !matches!(session.stage, Stage::Quiet) {
            self.land();
        }
        if session.round > 0 {
            self.course.held.fetch_sub(1, Relaxed);
        }
        self.tally.failures[failure as usize] += 1;
        self.course.failed.fetch_add(1, Relaxed);
    }

    /// Closes every session, at once and with a reset: 100,000 orderly closes would leave as many
    /// connections in TIME_WAIT for a minute.
    fn finish(mut self) -> Tally {
        for number in 0..self.sessions.len() {
            match self.sessions[number].as_ref().map(|session| session.stage) {
                Some(Stage::Connecting) => self.fail(number, Failure::NotConnected),
                Some(Stage::Waiting(_)) => self.fail(number, Failure::Unanswered),
                Some(Stage::Quiet) | None => {}
            }
            if let Some(session) = self.sessions[number].take() {
                let _ = session.socket.set_linger(Some(Duration::ZERO));
            }
        }
        self.tally
    }
}

impl Session {
    /// False if the message could not be sent, which 16 bytes always can on a quiet connection.
    fn ask(&mut self, message: [u8; MESSAGE]) -> bool {
        matches!(self.socket.write(&message), Ok(MESSAGE))
    }
}

/// What a session says in a round, and nobody else ever.
fn message(client: usize, session: usize, round: u32) -> [u8; MESSAGE] {
    let mut bytes = [0; MESSAGE];
    bytes[..4].copy_from_slice(&(client as u32).to_le_bytes());
    bytes[4..8].copy_from_slice(&(session as u32).to_le_bytes());
    bytes[8..12].copy_from_slice(&round.to_le_bytes());
    bytes[12..].copy_from_slice(b"echo");
    bytes
}
