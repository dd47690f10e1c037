//! Accepting, pausing when seats or descriptors run out, stopping.

use std::sync::atomic::Ordering;

use super::seat::Seat;
use super::{ACCEPT_PAUSE_US, Accepting, RESUME_SHARE, Worker};
use crate::session::{Event, Session};
use crate::sys::{Engine, Farewell, Fault, Fd, Kind, Op, Side, Token};

impl<E: Engine> Worker<E> {
    pub(super) fn accept(&mut self) {
        self.accepting = Accepting::Yes;
        self.look_at_seats();
        for number in 0..self.listeners.len() {
            self.accept_at(number);
        }
    }

    fn accept_at(&mut self, number: usize) {
        let op = Op::Accept { listener: self.listeners[number].socket, once: self.accepts_once };
        self.engine.submit(accept_token(number), op);
        self.accepts_pending += 1;
    }

    pub(super) fn stop_accepting(&mut self, accepting: Accepting) {
        if self.accepting == Accepting::Yes {
            self.cancel_accepts();
        }
        self.accepting = accepting;
    }

    fn cancel_accepts(&mut self) {
        for number in 0..self.listeners.len() {
            let target = accept_token(number);
            let token = Token::new(number as u32, 0, Kind::Cancel, Side::Client);
            self.engine.submit(token, Op::Cancel { target });
        }
    }

    /// Decides how the next accepts are made; those that would go on are ended in time.
    fn look_at_seats(&mut self) {
        let free = self.slots.limit() - self.slots.len();
        let burst = self.engine.accept_burst() * self.listeners.len();
        if !self.accepts_once && free < burst {
            self.accepts_once = true;
            if self.accepting == Accepting::Yes && self.accepts_pending > 0 {
                self.cancel_accepts();
            }
        } else if self.accepts_once && free >= burst + self.slots.limit() / RESUME_SHARE {
            self.accepts_once = false;
        }
    }

    pub(super) fn accepted(&mut self, number: u32, result: Result<u32, Fault>, more: bool) {
        let listening = self.listeners[number as usize];
        if let Ok(socket) = result {
            let socket = Fd::new(socket.cast_signed());
            if self.accepting == Accepting::Stopped {
                // Accepted before the cancel came through.
                self.close_unseated(socket);
            } else if self.slots.is_full() {
                self.waiting.push_back((listening.listener, socket));
            } else {
                self.seat(listening.listener, socket);
            }
            if self.slots.is_full() && self.accepting == Accepting::Yes {
                self.stop_accepting(Accepting::Full);
            }
        }
        if more {
            return;
        }
        self.accepts_pending -= 1;
        match result {
            _ if self.accepting != Accepting::Yes => {}
            Err(Fault::NoDescriptors | Fault::NoMemory | Fault::NoBuffers | Fault::Other(_)) => {
                self.stop_accepting(Accepting::Until(self.now_us + ACCEPT_PAUSE_US));
            }
            // It was for one client, or ended of itself (a full completion queue, an aborted
            // connection), or is to be made in another way.
            _ => {
                self.look_at_seats();
                self.accept_at(number as usize);
            }
        }
    }

    pub(super) fn resume_accepting(&mut self) {
        while !self.slots.is_full() && self.accepting != Accepting::Stopped {
            let Some((listener, socket)) = self.waiting.pop_front() else { break };
            self.seat(listener, socket);
        }
        if matches!(self.accepting, Accepting::Until(_)) && self.slots.is_full() {
            self.accepting = Accepting::Full;
        }
        let resumes = match self.accepting {
            Accepting::Yes | Accepting::Stopped => false,
            Accepting::Full => {
                self.slots.len() <= self.slots.limit() - self.slots.limit().div_ceil(RESUME_SHARE)
            }
            Accepting::Until(at_us) => at_us <= self.now_us,
        };
        // Accepts that were cancelled complete first, so that none is ever pending twice.
        if resumes && self.accepts_pending == 0 {
            self.accept();
        }
    }

    fn seat(&mut self, listener: u16, socket: Fd) {
        let client = self.engine.client_address(socket);
        let tells_local = self.shared.tells_local;
        let local = if tells_local { self.engine.local_address(socket) } else { None };
        self.shared.counters[self.number].accept();
        let mut cx = self.surroundings.cx(self.now_us, &mut self.actions);
        let session = Session::accept(listener, client, local, &mut cx);
        let id = self.slots.insert(Seat::new(session, socket));
        self.look_at_seats();
        self.act(id);
    }

    /// A connection that no session was made for, nor will be.
    fn close_unseated(&mut self, socket: Fd) {
        let token = Token::new(0, 0, Kind::Cancel, Side::Client);
        self.engine.submit(token, Op::Close { socket, farewell: Farewell::Orderly });
    }

    pub(super) fn await_mail(&mut self) {
        let token = Token::new(0, 0, Kind::Mail, Side::Client);
        self.engine.submit(token, Op::AwaitMail { mailbox: self.mailbox });
    }

    /// The only mail there is says that it is time to stop.
    pub(super) fn mail(&mut self) {
        if !self.shared.stopping.load(Ordering::Acquire) {
            self.await_mail();
            return;
        }
        self.stop_accepting(Accepting::Stopped);
        for (_, socket) in std::mem::take(&mut self.waiting) {
            self.close_unseated(socket);
        }
        for id in self.slots.ids() {
            self.step(id, Event::Stop);
        }
    }
}

fn accept_token(number: usize) -> Token {
    Token::new(number as u32, 0, Kind::Accept, Side::Client)
}
