//! What a worker is told from outside: a new edition, listeners that have to go, the end.
//!
//! Orders wait in a channel, and the mailbox is rung behind each. They come in the order in which
//! they were given, so that peer numbers mean the same to every worker.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::accepting::Listener;
use super::inquiry::Inquiry;
use super::shared::LocalEdition;
use super::{Accepting, Worker};
use crate::config::Address;
use crate::edition::Edition;
use crate::session::{Event, Habit};
use crate::slots::SlotId;
use crate::sys::mailbox::Mailbox;
use crate::sys::socket::TcpOptions;
use crate::sys::{Engine, Kind, Op, Side, Token};

/// Microseconds between looks at how many sessions are to be closed by now.
const CLOSE_SOME_US: u64 = 10_000;

/// Microseconds that sessions get to end in good order before they are closed: more than they take.
const GRACE_US: u64 = 2_000_000;

/// A listening socket by the number the supervisor gave it, which no other ever gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerNumber(pub u32);

/// A listening socket and what it is to an edition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Which socket.
    pub number: ListenerNumber,
    /// Position in `Config::listeners`.
    pub listener: u16,
}

/// What to do.
pub enum Order {
    /// New sessions are made under another edition.
    Reload(Box<Reload>),
    /// These sockets are closed: nobody waits at them any more. Held until that is done.
    Forget(Arc<[ListenerNumber]>),
    /// Tell of sessions, or close some.
    Inquire(Inquiry),
    /// Show that it makes progress, by dropping this.
    Answer(Arc<()>),
    /// End when the last session has ended. Those that are left at `from_us` are closed in good
    /// order, spread over `window_us`.
    Drain {
        /// On the clock all workers read.
        from_us: u64,
        /// Microseconds.
        window_us: u64,
    },
    /// End now.
    Stop,
}

/// An edition comes into force.
pub struct Reload {
    /// What new sessions are made under.
    pub edition: Arc<Edition>,
    /// Addresses behind those that are known, in the order of their numbers.
    pub peers: Vec<Address>,
    /// Where connections are accepted. Sockets that are not among them go on under the edition they
    /// had, until they are to be forgotten.
    pub placements: Vec<Placement>,
    /// Those of them that are new, in the order in which their sockets were sent.
    pub arriving: Vec<ListenerNumber>,
}

/// Gives orders to one worker.
#[derive(Clone)]
pub struct Orders {
    sender: Sender<Order>,
    mailbox: Mailbox,
}

impl Orders {
    /// Through a channel to the worker that `mailbox` wakes.
    pub fn new(sender: Sender<Order>, mailbox: Mailbox) -> Self {
        Self { sender, mailbox }
    }

    /// False if the worker has ended, and takes no orders.
    pub fn give(&self, order: Order) -> bool {
        let is_taken = self.sender.send(order).is_ok();
        self.mailbox.ring();
        is_taken
    }
}

/// Sessions are being closed, a few at a time.
pub(super) struct Draining {
    from_us: u64,
    window_us: u64,
    /// Who was there when it began; taken from the end.
    left: Option<Vec<SlotId>>,
    total: usize,
}

impl Draining {
    /// When to look again.
    pub(super) fn next_us(&self, now_us: u64) -> u64 {
        if self.left.is_none() { self.from_us } else { now_us + CLOSE_SOME_US }
    }

    /// How many of all should be closed by now.
    fn due(&self, now_us: u64) -> usize {
        let passed_us = now_us.saturating_sub(self.from_us);
        if passed_us >= self.window_us {
            return self.total;
        }
        let share = self.total as u128 * u128::from(passed_us) / u128::from(self.window_us);
        usize::try_from(share).unwrap_or(self.total)
    }
}

impl<E: Engine> Worker<E> {
    pub(super) fn await_mail(&mut self) {
        let token = Token::new(0, 0, Kind::Mail, Side::Client);
        self.engine.submit(token, Op::AwaitMail { mailbox: self.mailbox });
    }

    /// Somebody rang: carries out every order there is.
    pub(super) fn mail(&mut self) -> std::io::Result<()> {
        self.engine.empty_mailbox(self.mailbox);
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Reload(reload) => self.reload(*reload)?,
                Order::Forget(numbers) => self.forget(&numbers),
                Order::Drain { from_us, window_us } => {
                    self.ending = true;
                    self.draining = Some(Draining { from_us, window_us, left: None, total: 0 });
                }
                Order::Inquire(inquiry) => self.inquire(inquiry),
                Order::Answer(question) => drop(question),
                Order::Stop => self.stop(),
            }
        }
        if !self.is_over() {
            self.await_mail();
        }
        Ok(())
    }

    fn reload(&mut self, reload: Reload) -> std::io::Result<()> {
        let Reload { edition, peers, placements, arriving } = reload;
        self.engine.adopt(&peers, TcpOptions::of(&edition.config))?;
        self.surroundings.habits = self.carried_habits(&edition);
        let edition = Rc::new(LocalEdition(edition));
        let sockets = self.engine.receive_sockets(self.post, arriving.len())?;
        for (number, socket) in arriving.into_iter().zip(sockets) {
            let listener = Listener::new(number, socket, Rc::clone(&edition));
            match self.listeners.iter_mut().find(|place| place.is_none()) {
                Some(place) => *place = Some(listener),
                None => self.listeners.push(Some(listener)),
            }
        }
        for listener in self.listeners.iter_mut().flatten() {
            let place = placements.iter().find(|place| place.number == listener.number);
            if let Some(place) = place {
                listener.edition = Rc::clone(&edition);
                listener.position = place.listener;
            }
        }
        self.edition = edition;
        self.accept_anew();
        if self.accepting == Accepting::Yes {
            self.accept();
        }
        Ok(())
    }

    /// Who speaks first at listeners that keep their name.
    fn carried_habits(&self, edition: &Edition) -> Vec<Habit> {
        let before = &self.edition.config.listeners;
        let habit = |name: &str| {
            let at = before.iter().position(|listener| listener.name == name)?;
            self.surroundings.habits.get(at).copied()
        };
        let listeners = &edition.config.listeners;
        let mut habits: Vec<_> =
            listeners.iter().map(|listener| habit(&listener.name).unwrap_or_default()).collect();
        // Sessions of older editions go by their own positions.
        habits.resize(habits.len().max(self.surroundings.habits.len()), Habit::default());
        habits
    }

    fn stop(&mut self) {
        (self.ending, self.stopped, self.draining) = (true, true, None);
        let numbers: Vec<_> = self.listeners.iter().flatten().map(|l| l.number).collect();
        self.forget(&numbers.into());
        for client in std::mem::take(&mut self.waiting) {
            self.close_client(client.socket);
        }
        for id in self.slots.ids() {
            self.step(id, Event::Stop);
        }
    }

    /// Closes as many sessions as should be closed by now.
    pub(super) fn close_some(&mut self) {
        let Some(draining) = &mut self.draining else { return };
        if self.now_us < draining.from_us {
            return;
        }
        if draining.left.is_none() {
            let ids = self.slots.ids();
            draining.total = ids.len();
            draining.left = Some(ids);
        }
        let is_late = self.now_us >= draining.from_us + draining.window_us + GRACE_US;
        let due = draining.due(self.now_us);
        let left = draining.left.as_mut().expect("filled above");
        let mut ids = left.split_off((draining.total - due).min(left.len()));
        if due == draining.total {
            // Whoever has come since, too, and whoever is still to come.
            ids = self.slots.ids();
        }
        for id in ids {
            self.step(id, if is_late { Event::Stop } else { Event::Retire });
        }
    }
}
