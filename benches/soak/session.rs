//! A client's end of a session: does what its plan says, compares every byte, and says how it
//! ended.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use socket2::SockRef;

use crate::numbers;
use crate::plan::{Conduct, HELLO, Plan, Role};

/// Bytes of one read or write.
pub(crate) const CHUNK: usize = 64 << 10;

/// Chunks of a turn, so that one bulk stream holds up nobody.
const CHUNKS_PER_TURN: usize = 8;

/// Bytes of a message, at most.
const MESSAGE: u64 = 2_000;

/// Without a byte either way for so long, a session has been forgotten: far longer than any server
/// is stopped for.
const FORGOTTEN: Duration = Duration::from_secs(90);

pub(crate) struct Session {
    pub(crate) stream: TcpStream,
    pub(crate) plan: Plan,
    pub(crate) born: Instant,
    /// True exactly when the connection stands.
    pub(crate) is_connected: bool,
    /// What goes in front of the run of numbers, and how much of it is sent.
    head: Vec<u8>,
    head_sent: usize,
    up: u64,
    has_said_eof: bool,
    /// What comes in front of the server's run.
    pub(crate) hello: Vec<u8>,
    down: u64,
    has_heard_eof: bool,
    is_urgent_sent: bool,
    progress: Instant,
    /// `Talk`: messages begun, where the last one ends, and when the next is due.
    begun: u32,
    until: u64,
    next: Instant,
}

/// What is to be done with a session after a turn.
pub(crate) enum Turn {
    /// There will be an event, or its time comes.
    Waits,
    /// There is more to do at once.
    Again,
    /// It ended as it should.
    Right,
    /// It is to end with a reset, as it should.
    Reset,
    /// It has ended too early or in another way: right only if its server was killed.
    Ended(String),
    /// Wrong whatever has happened.
    Wrong(String),
}

impl Session {
    pub(crate) fn new(stream: TcpStream, plan: Plan, now: Instant) -> Self {
        let head = match plan.conduct {
            Conduct::Misfit { text, .. } => text.as_bytes().to_vec(),
            _ => plan.request.bytes().to_vec(),
        };
        Self {
            stream,
            plan,
            born: now,
            is_connected: false,
            head,
            head_sent: 0,
            up: 0,
            has_said_eof: false,
            hello: Vec::new(),
            down: 0,
            has_heard_eof: false,
            is_urgent_sent: false,
            progress: now,
            begun: 0,
            until: 0,
            next: now,
        }
    }

    /// Number and life of its server, once that has answered.
    pub(crate) fn server(&self) -> Option<(u32, u32)> {
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, &b| sum << 8 | u32::from(b));
        let whole = self.hello.len() == HELLO && !self.plan.kind.is_misfit();
        whole.then(|| (number(&self.hello[..4]), number(&self.hello[4..8])))
    }

    /// Bytes that were compared, the server's hello apart.
    pub(crate) fn carried(&self) -> [u64; 2] {
        [self.up, self.down]
    }

    /// When it is to have a turn without an event.
    pub(crate) fn next(&self) -> Instant {
        match self.plan.conduct {
            Conduct::Talk { messages, .. } if self.down == self.until && self.begun < messages => {
                self.next
            }
            Conduct::Stall { lasting } => self.born + lasting,
            _ => self.progress + FORGOTTEN,
        }
    }

    /// Leaves as soon as nothing is under way, where it would go on for long.
    pub(crate) fn hurry(&mut self) {
        if let Conduct::Talk { messages, stays: false, .. } = &mut self.plan.conduct {
            *messages = self.begun;
        }
    }

    pub(crate) fn turn(&mut self, now: Instant, chunk: &mut [u8], scratch: &mut Vec<u8>) -> Turn {
        if !self.is_connected {
            match (self.stream.take_error(), self.stream.peer_addr()) {
                (Ok(None), Ok(_)) => self.is_connected = true,
                (Ok(None), Err(_)) if now < self.progress + FORGOTTEN => return Turn::Waits,
                // It stood, but its server did not for long.
                (Ok(Some(error)), _) if error.kind() == ErrorKind::ConnectionReset => {
                    self.is_connected = true;
                    return self.failed(&error);
                }
                (Ok(Some(error)) | Err(error), _) | (_, Err(error)) => {
                    return Turn::Wrong(format!("not connected: {error}"));
                }
            }
        }
        for _ in 0..CHUNKS_PER_TURN {
            let moved = match self.step(now, chunk, scratch) {
                Ok(moved) => moved,
                Err(turn) => return turn,
            };
            if moved {
                self.progress = now;
            } else if now >= self.progress + FORGOTTEN && now >= self.next() {
                return Turn::Wrong(format!("nothing for {} s", FORGOTTEN.as_secs()));
            } else {
                return Turn::Waits;
            }
        }
        Turn::Again
    }

    /// Whether anything could be done; or how it ended.
    fn step(
        &mut self,
        now: Instant,
        chunk: &mut [u8],
        scratch: &mut Vec<u8>,
    ) -> Result<bool, Turn> {
        match self.plan.conduct {
            Conduct::Reset { at_once: true, .. } => return Err(Turn::Reset),
            Conduct::Reset { behind, .. } if self.hello.len() == HELLO && self.down >= behind => {
                return Err(Turn::Reset);
            }
            Conduct::Stall { lasting } if now >= self.born + lasting => return Err(Turn::Reset),
            _ => {}
        }
        let read = self.read(chunk, scratch)?;
        let written = self.write(now, chunk)?;
        let has_ended = self.say_eof();
        if self.has_heard_eof && self.has_said_eof {
            return Err(Turn::Right);
        }
        Ok(read || written || has_ended)
    }

    fn read(&mut self, chunk: &mut [u8], scratch: &mut Vec<u8>) -> Result<bool, Turn> {
        let is_mute = matches!(self.plan.conduct, Conduct::Stall { .. }) && self.down > 0;
        if self.has_heard_eof || is_mute {
            return Ok(false);
        }
        let count = match self.stream.read(chunk) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(self.failed(&error)),
        };
        if count == 0 {
            self.has_heard_eof = true;
            return self.eof().map(|()| true);
        }
        if self.plan.kind.is_misfit() {
            self.hello.extend_from_slice(&chunk[..count]);
            return Ok(true);
        }
        let (hello, bytes) = chunk[..count].split_at(count.min(HELLO - self.hello.len()));
        self.hello.extend_from_slice(hello);
        let request = self.plan.request;
        if self.hello.len() == HELLO && self.hello[8..] != request.seed.to_le_bytes() {
            return Err(Turn::Wrong("the hello of another session".to_owned()));
        }
        if !numbers::are(request.down_seed(), self.down, bytes, scratch) {
            return Err(Turn::Wrong(format!("{} other bytes", bytes.len())));
        }
        self.down += bytes.len() as u64;
        let most = if request.role == Role::Echo { self.up } else { request.down };
        if self.down > most {
            return Err(Turn::Wrong("more bytes than were sent".to_owned()));
        }
        Ok(true)
    }

    /// An EOF came; is it in its place?
    fn eof(&self) -> Result<(), Turn> {
        let in_place = match self.plan.conduct {
            Conduct::Finish { .. } => {
                self.hello.len() == HELLO && self.down == self.plan.request.down
            }
            Conduct::Talk { .. } => self.has_said_eof && self.down == self.up,
            Conduct::Misfit { answer, .. } => {
                let said = String::from_utf8_lossy(&self.hello);
                if !said.starts_with(answer) {
                    return Err(Turn::Wrong(format!("answered {said:?}")));
                }
                true
            }
            Conduct::Reset { .. } | Conduct::HearReset { .. } | Conduct::Stall { .. } => false,
        };
        if in_place { Ok(()) } else { Err(Turn::Ended("EOF".to_owned())) }
    }

    /// A read or a write failed.
    fn failed(&self, error: &std::io::Error) -> Turn {
        if let Conduct::HearReset { behind } = self.plan.conduct
            && error.kind() == ErrorKind::ConnectionReset
            && (!behind || self.down == self.plan.request.down)
        {
            return Turn::Right;
        }
        Turn::Ended(error.to_string())
    }

    fn write(&mut self, now: Instant, chunk: &mut [u8]) -> Result<bool, Turn> {
        let part = if self.head_sent < self.head.len() {
            &self.head[self.head_sent..]
        } else {
            let most = self.may_send(now);
            if most == self.up {
                return self.send_urgent();
            }
            let left = usize::try_from(most - self.up).unwrap_or(CHUNK).min(CHUNK);
            numbers::fill(self.plan.request.seed, self.up, &mut chunk[..left]);
            &chunk[..left]
        };
        let count = match self.stream.write(part) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(self.failed(&error)),
        };
        if self.head_sent < self.head.len() {
            self.head_sent += count;
        } else {
            self.up += count as u64;
        }
        Ok(true)
    }

    /// The position up to which may be sent now.
    fn may_send(&mut self, now: Instant) -> u64 {
        let Plan { request, conduct, .. } = self.plan;
        match conduct {
            Conduct::Finish { urgent: Some(at), .. } if !self.is_urgent_sent => at,
            Conduct::Finish { early: false, .. }
                if request.role == Role::First && !self.has_heard_eof =>
            {
                0
            }
            Conduct::Finish { .. } | Conduct::Reset { .. } | Conduct::Stall { .. } => request.up,
            Conduct::HearReset { .. } => {
                if self.down == request.down {
                    request.up
                } else {
                    0
                }
            }
            Conduct::Misfit { .. } => 0,
            Conduct::Talk { messages, pause, .. } => {
                let is_quiet = self.down == self.until && !self.has_said_eof;
                if is_quiet && self.begun < messages && now >= self.next {
                    let random = request.seed.wrapping_mul(u64::from(self.begun) | 1) >> 20;
                    self.begun += 1;
                    self.until += 1 + random % MESSAGE;
                    self.next = now + pause;
                }
                self.until
            }
        }
    }

    fn send_urgent(&mut self) -> Result<bool, Turn> {
        let Conduct::Finish { urgent: Some(at), .. } = self.plan.conduct else { return Ok(false) };
        if self.is_urgent_sent || self.up < at {
            return Ok(false);
        }
        match SockRef::from(&self.stream).send_out_of_band(b"!") {
            Ok(_) => self.is_urgent_sent = true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(self.failed(&error)),
        }
        Ok(true)
    }

    /// Says EOF where it is time to; whether it was.
    fn say_eof(&mut self) -> bool {
        if self.has_said_eof || self.head_sent < self.head.len() {
            return false;
        }
        let request = self.plan.request;
        let is_time = match self.plan.conduct {
            Conduct::Finish { early, .. } => {
                let has_come = self.hello.len() == HELLO && self.down == request.down;
                self.up == request.up && (early || has_come)
            }
            Conduct::Talk { messages, stays: false, .. } => {
                self.begun >= messages && self.down == self.until && self.hello.len() == HELLO
            }
            Conduct::Misfit { .. } => true,
            _ => false,
        };
        if is_time {
            self.has_said_eof = true;
            // It fails where a reset has come in the meantime, which the next read tells.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        is_time
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

impl std::fmt::Display for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { plan, up, down, .. } = self;
        let server = self.server();
        let local = self.stream.local_addr().map_or_else(|_| "?".to_owned(), |a| a.to_string());
        write!(f, "{local} {plan:?}, {up} sent, {down} received, server {server:?}")
    }
}
