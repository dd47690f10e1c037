//! One TCP connection of the simulated network: what is under way on it, and what each end saw.

use std::collections::VecDeque;
use std::net::SocketAddr;

use ringway::random::Random;
use ringway::sys::{Fault, PeerId, Side};

use crate::machine::{END, one_of};
use crate::script::{Ending, Script, Tongue};

/// Poll mask bits (poll(2)).
const POLLERR: u32 = 0x8;
const POLLHUP: u32 = 0x10;

/// A connection between a scripted peer and ringway.
pub(crate) struct Link {
    /// Which side of a session the peer is.
    pub(crate) side: Side,
    pub(crate) script: Script,
    /// Accepted where a connection carries one request.
    pub(crate) one_request: bool,
    /// Slot and generation of the session, once an operation has told.
    pub(crate) session: Option<(u32, u16)>,
    /// A server's number.
    pub(crate) peer: Option<PeerId>,
    /// Where ringway believes a client to be: its own address, or that in its PROXY header.
    pub(crate) source: Option<SocketAddr>,
    /// Accepted when this edition was in force, or the listener's last; 0: not accepted.
    pub(crate) edition: u64,

    /// From the peer, not yet received.
    pub(crate) inbox: VecDeque<u8>,
    pub(crate) inbox_max: usize,
    /// The peer has said EOF (behind the inbox).
    pub(crate) fin_in: bool,
    /// Urgent data is next: readable, and not to be spliced.
    pub(crate) urgent: bool,

    /// Sent to the peer, not yet there.
    pub(crate) outbox: VecDeque<u8>,
    pub(crate) window: usize,
    pub(crate) fin_out: bool,
    /// Bytes ringway has received from the peer, and sent to it.
    pub(crate) taken: u64,
    pub(crate) given: u64,
    /// When the peer last got a byte.
    pub(crate) progress_us: u64,
    /// ringway has closed its descriptor.
    pub(crate) closed: bool,

    /// Reset, by either end.
    pub(crate) dead: bool,
    /// The error of the reset, told once.
    pub(crate) error: Option<Fault>,
    /// The reset came from the peer.
    pub(crate) reset_by_peer: bool,
    /// What the peer's reset, or a call that failed though the connection stands, was told as.
    pub(crate) fault: Option<Fault>,
    /// A call of ringway's has failed though the connection stands.
    pub(crate) failed: bool,
    /// The kernel did not tell what is unsent.
    pub(crate) unlooked: bool,
    /// ringway has given up to send the rest of something.
    pub(crate) cut: bool,

    /// Everything the peer has said and seen.
    pub(crate) said: Vec<u8>,
    pub(crate) got: Vec<u8>,
    pub(crate) got_fin: bool,
    pub(crate) got_reset: bool,
    /// Something happened since it was last proven right.
    pub(crate) changed: bool,
}

impl Link {
    pub(crate) fn new(side: Side, script: Script, random: &mut Random, window_max: u64) -> Self {
        let window = 1 + random.below(window_max) as usize;
        Self {
            side,
            script,
            one_request: false,
            session: None,
            peer: None,
            source: None,
            edition: 0,
            inbox: VecDeque::new(),
            inbox_max: 1 + random.below(window_max) as usize,
            fin_in: false,
            urgent: false,
            outbox: VecDeque::new(),
            window,
            fin_out: false,
            taken: 0,
            given: 0,
            progress_us: 0,
            closed: false,
            dead: false,
            error: None,
            reset_by_peer: false,
            fault: None,
            failed: false,
            unlooked: false,
            cut: false,
            said: Vec::new(),
            got: Vec::new(),
            got_fin: false,
            got_reset: false,
            changed: true,
        }
    }

    /// Nothing will happen on it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.closed && (self.dead || self.got_fin)
    }

    pub(crate) fn is_http(&self) -> bool {
        matches!(self.script.tongue, Tongue::Request { .. })
    }

    /// ringway was told that it failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.reset_by_peer || self.failed
    }

    /// A call of ringway's fails, though the connection stands.
    pub(crate) fn fail(&mut self, fault: Fault) -> Fault {
        self.failed = true;
        self.fault.get_or_insert(fault);
        fault
    }

    pub(crate) fn is_readable(&self) -> bool {
        !self.inbox.is_empty() || self.fin_in || self.dead || self.urgent
    }

    pub(crate) fn room(&self) -> usize {
        self.window.saturating_sub(self.outbox.len())
    }

    /// The mask of a poll for nothing but trouble; 0: nothing.
    pub(crate) fn trouble(&self) -> u32 {
        let error = if self.error.is_some() { POLLERR } else { 0 };
        let over = self.dead || self.fin_in && self.fin_out;
        error | if over { POLLHUP } else { 0 }
    }

    /// What a send answers on a dead connection: the error once, EPIPE from then on.
    pub(crate) fn failure(&mut self) -> Fault {
        self.error.take().unwrap_or(Fault::Broken)
    }

    /// What a receive says when nothing is left to receive; `None`: something may come.
    pub(crate) fn end(&mut self) -> Option<Result<(), Fault>> {
        match self.error {
            _ if self.fin_in => Some(Ok(())),
            Some(fault) => {
                self.error = None;
                Some(Err(fault))
            }
            None => self.dead.then_some(Ok(())),
        }
    }

    /// The peer resets: what it said before can still be received, what was on its way is lost.
    /// Behind an EOF a reset is told as EPIPE, and to who sends only.
    fn reset_by_peer(&mut self, fault: Fault) {
        self.dead = true;
        self.reset_by_peer = true;
        self.fault = Some(fault);
        self.error = Some(if self.fin_in && fault == Fault::Reset { Fault::Broken } else { fault });
        self.outbox.clear();
    }

    /// ringway resets.
    pub(crate) fn reset_by_us(&mut self) {
        if !self.dead && !self.got_fin {
            self.got_reset = true;
        }
        self.dead = true;
        self.outbox.clear();
    }

    /// Lets the peer do what its script says; true if anything happened.
    pub(crate) fn tick(&mut self, now_us: u64, random: &mut Random, finish: Option<Side>) -> bool {
        if self.dead || self.got_reset {
            return false;
        }
        let mut happened = false;
        let reads = finish.is_some() || self.closed || self.script.stalled_until_us <= now_us;
        if reads {
            happened |= self.deliver(now_us, random);
        }
        if !self.dead && !self.closed {
            if self.script.reset_at_us <= now_us {
                self.reset_by_peer(one_of(END, random));
                happened = true;
            } else {
                happened |= self.speak(random, finish);
            }
        }
        self.changed |= happened;
        happened
    }

    fn deliver(&mut self, now_us: u64, random: &mut Random) -> bool {
        if !self.outbox.is_empty() {
            if self.fin_in && self.script.ending == Ending::Close {
                // Bytes for a socket that was closed.
                self.reset_by_peer(Fault::Reset);
                return true;
            }
            self.progress_us = now_us;
            let count = 1 + random.below(self.outbox.len() as u64 * 2) as usize;
            self.got.extend(self.outbox.drain(..count.min(self.outbox.len())));
            self.script.answer(&self.got, random);
            return true;
        }
        if self.fin_out && !self.got_fin {
            self.got_fin = true;
            return true;
        }
        false
    }

    fn speak(&mut self, random: &mut Random, finish: Option<Side>) -> bool {
        let left = self.script.bytes.len() - self.said.len();
        let reset_now = self.script.reset_at.is_some_and(|at| self.said.len() >= at);
        if reset_now && random.one_in(4) {
            self.reset_by_peer(one_of(END, random));
            return true;
        }
        if self.fin_in {
            return false;
        }
        if left > 0 {
            let room = self.inbox_max.saturating_sub(self.inbox.len());
            let count = (1 + random.below(self.script.burst)) as usize;
            let count = count.min(left).min(room);
            let from = self.said.len();
            self.said.extend_from_slice(&self.script.bytes[from..from + count]);
            self.inbox.extend(&self.script.bytes[from..from + count]);
            self.urgent |= count > 0 && random.one_in(64);
            return count > 0;
        }
        let ends = match self.script.ending {
            Ending::Eof | Ending::Close => self.script.answered && random.one_in(4),
            Ending::AfterTheOther => self.got_fin,
            Ending::Never => false,
        };
        let is_patient = finish == Some(self.side) && self.script.ending == Ending::AfterTheOther;
        if ends || finish.is_some() && !is_patient {
            self.fin_in = true;
            return true;
        }
        false
    }
}

/// Draws of the simulation.
pub(crate) trait Draws {
    /// A number below `bound` (0 for a bound of 0).
    fn below(&mut self, bound: u64) -> u64;
    /// True once in `count` times.
    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

impl Draws for Random {
    fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { (self.next() >> 16) % bound }
    }
}
