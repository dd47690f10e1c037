//! Accepting: pausing when seats or descriptors run out, and listeners that come and go.

use std::rc::Rc;

use super::orders::ListenerNumber;
use super::seat::Seat;
use super::shared::LocalEdition;
use super::{ACCEPT_PAUSE_US, Accepting, RESUME_SHARE, Waiting, Worker};
use crate::session::Session;
use crate::sys::{Engine, Farewell, Fault, Fd, Kind, Op, Side, Token};

/// A listening socket of this worker.
pub(super) struct Listener {
    pub(super) number: ListenerNumber,
    socket: Fd,
    /// What its clients are accepted under, and which of its listeners it is there.
    pub(super) edition: Rc<LocalEdition>,
    pub(super) position: u16,
    /// True exactly when an accept on it will complete.
    pending: bool,
    /// To be closed once none is.
    closing: bool,
}

impl Listener {
    pub(super) fn new(number: ListenerNumber, socket: Fd, edition: Rc<LocalEdition>) -> Self {
        Self { number, socket, edition, position: 0, pending: false, closing: false }
    }
}

impl<E: Engine> Worker<E> {
    /// Accepts wherever no accept is pending.
    pub(super) fn accept(&mut self) {
        self.accepting = Accepting::Yes;
        self.look_at_seats();
        for place in 0..self.listeners.len() {
            self.accept_at(place);
        }
    }

    fn accept_at(&mut self, place: usize) {
        let once = self.accepts_once;
        let Some(listener) = &mut self.listeners[place] else { return };
        if listener.pending || listener.closing {
            return;
        }
        listener.pending = true;
        let op = Op::Accept { listener: listener.socket, once };
        self.engine.submit(accept_token(place), op);
    }

    fn stop_accepting(&mut self, accepting: Accepting) {
        if self.accepting == Accepting::Yes {
            self.cancel_accepts();
        }
        self.accepting = accepting;
    }

    fn cancel_accepts(&mut self) {
        for place in 0..self.listeners.len() {
            self.cancel_accept(place);
        }
    }

    fn cancel_accept(&mut self, place: usize) {
        if self.listeners[place].as_ref().is_some_and(|listener| listener.pending) {
            let token = Token::new(place as u32, 0, Kind::Cancel, Side::Client);
            self.engine.submit(token, Op::Cancel { target: accept_token(place) });
        }
    }

    /// Closes listening sockets as soon as nothing is pending on them.
    pub(super) fn forget(&mut self, numbers: &[ListenerNumber]) {
        for place in 0..self.listeners.len() {
            let listener = self.listeners[place].as_mut();
            if let Some(listener) = listener.filter(|l| numbers.contains(&l.number)) {
                listener.closing = true;
                self.cancel_accept(place);
                self.close_listener_if_idle(place);
            }
        }
    }

    fn close_listener_if_idle(&mut self, place: usize) {
        if let Some(listener) = self.listeners[place].take_if(|l| l.closing && !l.pending) {
            self.close_unseated(listener.socket);
        }
    }

    /// Decides how the next accepts are made; those that would go on are ended in time.
    fn look_at_seats(&mut self) {
        let free = self.slots.limit() - self.slots.len();
        let burst = self.engine.accept_burst() * self.listeners.iter().flatten().count();
        if !self.accepts_once && free < burst {
            self.accepts_once = true;
            if self.accepting == Accepting::Yes {
                self.cancel_accepts();
            }
        } else if self.accepts_once && free >= burst + self.slots.limit() / RESUME_SHARE {
            self.accepts_once = false;
        }
    }

    pub(super) fn accepted(&mut self, place: u32, result: Result<u32, Fault>, more: bool) {
        let place = place as usize;
        let listener = self.listeners[place].as_mut().expect("it is closed only after its accept");
        listener.pending = more;
        if let Ok(socket) = result {
            let socket = Fd::new(socket.cast_signed());
            let client = (Rc::clone(&listener.edition), listener.position, socket);
            if self.stopped {
                // Accepted before the cancel came through.
                self.close_unseated(socket);
            } else if self.slots.is_full() {
                self.waiting.push_back(client);
            } else {
                self.seat(client);
            }
            if self.slots.is_full() && self.accepting == Accepting::Yes {
                self.stop_accepting(Accepting::Full);
            }
        }
        if more {
            return;
        }
        match result {
            _ if self.accepting != Accepting::Yes => {}
            Err(Fault::NoDescriptors | Fault::NoMemory | Fault::NoBuffers | Fault::Other(_)) => {
                self.stop_accepting(Accepting::Until(self.now_us + ACCEPT_PAUSE_US));
            }
            // It was for one client, or ended of itself (a full completion queue, an aborted
            // connection), or is to be made in another way.
            _ => {
                self.look_at_seats();
                self.accept_at(place);
            }
        }
        self.close_listener_if_idle(place);
    }

    pub(super) fn resume_accepting(&mut self) {
        while !self.slots.is_full() {
            let Some(client) = self.waiting.pop_front() else { break };
            self.seat(client);
        }
        if matches!(self.accepting, Accepting::Until(_)) && self.slots.is_full() {
            self.accepting = Accepting::Full;
        }
        let resumes = match self.accepting {
            Accepting::Yes => false,
            Accepting::Full => {
                self.slots.len() <= self.slots.limit() - self.slots.limit().div_ceil(RESUME_SHARE)
            }
            Accepting::Until(at_us) => at_us <= self.now_us,
        };
        if resumes {
            // An accept that was cancelled and is still pending is made again when it completes.
            self.accept();
        }
    }

    fn seat(&mut self, (edition, position, socket): Waiting) {
        let client = self.engine.client_address(socket);
        let local = if edition.tells_local { self.engine.local_address(socket) } else { None };
        self.shared.counters[self.number].accept();
        let mut cx = self.surroundings.cx(self.now_us, &edition, &mut self.actions);
        let session = Session::accept(position, client, local, &mut cx);
        let id = self.slots.insert(Seat::new(session, edition, socket));
        self.look_at_seats();
        self.act(id);
    }

    /// A connection that no session was made for, nor will be; or a listening socket.
    pub(super) fn close_unseated(&mut self, socket: Fd) {
        let token = Token::new(0, 0, Kind::Cancel, Side::Client);
        self.engine.submit(token, Op::Close { socket, farewell: Farewell::Orderly });
    }
}

fn accept_token(place: usize) -> Token {
    Token::new(place as u32, 0, Kind::Accept, Side::Client)
}
