//! Accepting: pausing when seats or descriptors run out or a limit is reached, and listeners that
//! come and go.
//!
//! Where a limit may hold clients up they are accepted one at a time, and who is held up waits
//! here: everybody behind waits in the kernel's queue.

use std::rc::Rc;
use std::sync::Arc;

use super::orders::ListenerNumber;
use super::seat::Seat;
use super::shared::LocalEdition;
use super::{ACCEPT_PAUSE_US, Accepting, RESUME_SHARE, Worker};
use crate::admission::{self, Held};
use crate::metrics::Lack;
use crate::session::Session;
use crate::sys::{Engine, Farewell, Fault, Fd, Kind, Op, Side, Submitted, Token};

/// Microseconds between looks at a limit that sessions of other workers may have left: nobody
/// tells, and 200 looks a second are no load.
const LIMIT_LOOK_US: u64 = 5_000;

/// A client without a seat.
pub(super) struct Waiting {
    /// Where it was accepted.
    number: ListenerNumber,
    /// What it is accepted under, and the listener's position there.
    edition: Rc<LocalEdition>,
    position: u16,
    pub(super) socket: Fd,
    held: Option<Held>,
}

impl Waiting {
    /// When it is worth trying again, if it is not a seat that it waits for.
    fn next_us(&self, now_us: u64) -> Option<u64> {
        match self.held? {
            Held::Rate { until_us } => Some(until_us),
            Held::Total | Held::Listener => Some(now_us + LIMIT_LOOK_US),
        }
    }
}

/// A listening socket of this worker.
pub(super) struct Listener {
    pub(super) number: ListenerNumber,
    socket: Fd,
    /// What its clients are accepted under, and which of its listeners it is there.
    pub(super) edition: Rc<LocalEdition>,
    pub(super) position: u16,
    /// True exactly when an accept on it will complete.
    pending: bool,
    /// True exactly when a client of it waits for a limit.
    holds: bool,
    /// To be closed once none is: the order, which is held until then.
    closing: Option<Arc<[ListenerNumber]>>,
}

impl Listener {
    pub(super) fn new(number: ListenerNumber, socket: Fd, edition: Rc<LocalEdition>) -> Self {
        let (position, pending, holds, closing) = (0, false, false, None);
        Self { number, socket, edition, position, pending, holds, closing }
    }

    fn client(&self, socket: u32) -> Waiting {
        Waiting {
            number: self.number,
            edition: Rc::clone(&self.edition),
            position: self.position,
            socket: Fd::new(socket.cast_signed()),
            held: None,
        }
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
        let Some(listener) = &mut self.listeners[place] else { return };
        if listener.pending || listener.holds || listener.closing.is_some() {
            return;
        }
        let may_hold = listener.edition.admission.may_hold(listener.position);
        let once = self.accepts_once || may_hold;
        listener.pending = true;
        let op = Op::Accept { listener: listener.socket, once };
        self.engine.submit(accept_token(place), op);
    }

    /// A session has no descriptor or memory for its server connection: nobody else is let in for
    /// as long as that goes on.
    pub(super) fn pause_accepting(&mut self) {
        // Longer than until it tries again.
        let until = Accepting::Until(self.now_us + 2 * ACCEPT_PAUSE_US);
        if self.accepting != Accepting::Full {
            self.stop_accepting(until);
        }
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

    /// Listeners that were given limits accept one at a time from now on.
    pub(super) fn accept_anew(&mut self) {
        for place in 0..self.listeners.len() {
            let listener = self.listeners[place].as_ref();
            if listener.is_some_and(|l| l.edition.admission.may_hold(l.position)) {
                self.cancel_accept(place);
            }
        }
        for client in &mut self.waiting {
            let listener = self.listeners.iter().flatten().find(|l| l.number == client.number);
            if let Some(listener) = listener {
                client.edition = Rc::clone(&listener.edition);
                client.position = listener.position;
            }
        }
    }

    fn cancel_accept(&mut self, place: usize) {
        if self.listeners[place].as_ref().is_some_and(|listener| listener.pending) {
            let token = Token::new(place as u32, 0, Kind::Cancel, Side::Client);
            self.engine.submit(token, Op::Cancel { target: accept_token(place) });
        }
    }

    /// Closes listening sockets as soon as nothing is pending on them, and takes in whoever waits
    /// there: closing resets the rest.
    pub(super) fn forget(&mut self, numbers: &Arc<[ListenerNumber]>) {
        for place in 0..self.listeners.len() {
            let listener = self.listeners[place].as_mut();
            if let Some(listener) = listener.filter(|l| numbers.contains(&l.number)) {
                listener.closing = Some(Arc::clone(numbers));
                self.cancel_accept(place);
                self.close_listener_if_idle(place);
            }
        }
    }

    fn close_listener_if_idle(&mut self, place: usize) {
        if let Some(listener) = self.listeners[place].take_if(|l| l.closing.is_some() && !l.pending)
        {
            if !self.stopped {
                self.take_in_the_rest(&listener);
            }
            self.close_now(listener.socket);
        }
    }

    /// Nobody new is heard there, but this worker may not have come to those who were.
    fn take_in_the_rest(&mut self, listener: &Listener) {
        let token = Token::new(0, 0, Kind::Cancel, Side::Client);
        loop {
            match self.engine.submit(token, Op::AcceptNow { listener: listener.socket }) {
                Submitted::Done(Ok(socket)) => {
                    self.shared.counters[self.number].open_socket();
                    let client = listener.client(socket);
                    let admitted =
                        if self.slots.is_full() { Err(client) } else { self.admit(client) };
                    if let Err(client) = admitted {
                        self.waiting.push_back(client);
                    }
                }
                Submitted::Done(Err(Fault::Aborted)) => {}
                _ => return,
            }
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
            let client = listener.client(socket);
            self.shared.counters[self.number].open_socket();
            if self.stopped {
                // Accepted before the cancel came through.
                self.close_client(client.socket);
            } else if self.slots.is_full() {
                self.waiting.push_back(client);
            } else if let Err(client) = self.admit(client) {
                self.hold(place, client);
            }
            if self.slots.is_full() && self.accepting == Accepting::Yes {
                self.lack(Lack::Seats);
                self.stop_accepting(Accepting::Full);
            }
        }
        if more {
            return;
        }
        match result {
            _ if self.accepting != Accepting::Yes => {}
            Err(
                fault @ (Fault::NoDescriptors
                | Fault::NoMemory
                | Fault::NoBuffers
                | Fault::Other(_)),
            ) => {
                if let Some(lack) = Lack::of(fault) {
                    self.lack(lack);
                }
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

    /// A client has to wait for a limit, and everybody behind it.
    fn hold(&mut self, place: usize, client: Waiting) {
        self.lack(match client.held {
            Some(Held::Total) => Lack::Total,
            Some(Held::Rate { .. }) => Lack::Rate,
            Some(Held::Listener) | None => Lack::Listener,
        });
        self.waiting.push_back(client);
        if let Some(listener) = &mut self.listeners[place] {
            listener.holds = true;
            self.cancel_accept(place);
        }
    }

    /// When somebody who waits for a limit is worth a look.
    pub(super) fn next_admission_us(&self) -> Option<u64> {
        if self.slots.is_full() {
            return None;
        }
        self.waiting.iter().filter_map(|client| client.next_us(self.now_us)).min()
    }

    fn seat_waiting(&mut self) {
        let mut held = Vec::new();
        while !self.slots.is_full() {
            let Some(client) = self.waiting.pop_front() else { break };
            let is_early = matches!(client.held, Some(Held::Rate { until_us })
                if until_us > self.now_us);
            match if is_early { Err(client) } else { self.admit(client) } {
                Ok(()) => {}
                Err(client) => held.push(client),
            }
        }
        held.into_iter().rev().for_each(|client| self.waiting.push_front(client));
        for place in 0..self.listeners.len() {
            let Some(listener) = &mut self.listeners[place] else { continue };
            if listener.holds {
                let number = listener.number;
                listener.holds = self.waiting.iter().any(|client| client.number == number);
                if !listener.holds && self.accepting == Accepting::Yes {
                    self.accept_at(place);
                }
            }
        }
    }

    pub(super) fn resume_accepting(&mut self) {
        if !self.waiting.is_empty() {
            self.seat_waiting();
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

    /// Seats a client unless a limit holds it up; a seat is free.
    fn admit(&mut self, client: Waiting) -> Result<(), Waiting> {
        match client.edition.admission.enter(client.position, self.number, self.now_us) {
            Ok(()) => {
                self.seat(client);
                Ok(())
            }
            Err(held) => Err(Waiting { held: Some(held), ..client }),
        }
    }

    fn seat(&mut self, Waiting { edition, position, socket, .. }: Waiting) {
        let client = self.engine.client_address(socket);
        let local = if edition.tells_local { self.engine.local_address(socket) } else { None };
        self.shared.counters[self.number].accept();
        edition.listeners[usize::from(position)].of(self.number).accept();
        let mut cx = self.surroundings.cx(self.now_us, &edition, &mut self.actions);
        let network = client
            .map_or(Ok(None), |client| edition.admission.enter_network(position, client.ip()));
        let session = match network {
            Ok(_) => Session::accept(position, client, local, &mut cx),
            Err(admission::Full) => Session::turn_away(position, client, &mut cx),
        };
        let id = self.slots.insert(Seat::new(session, edition, socket));
        if let Ok(Some(network)) = network {
            self.networks.insert(id.index, network);
        }
        self.look_at_seats();
        self.act(id);
    }

    /// A connection that no session was made for, nor will be.
    pub(super) fn close_client(&mut self, socket: Fd) {
        self.close_now(socket);
        self.shared.counters[self.number].close_socket();
    }

    fn close_now(&mut self, socket: Fd) {
        let token = Token::new(0, 0, Kind::Cancel, Side::Client);
        self.engine.submit(token, Op::Close { socket, farewell: Farewell::Orderly });
    }
}

fn accept_token(place: usize) -> Token {
    Token::new(place as u32, 0, Kind::Accept, Side::Client)
}
