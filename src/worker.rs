//! One thread, one core, one engine, one descriptor table: turns actions into operations and
//! completions into events. Loops, never recurses; takes no lock, allocates nothing while relaying.

mod accepting;
pub mod inquiry;
mod orders;
mod receiving;
mod records;
mod searching;
mod seat;
mod shared;

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use hashbrown::HashMap;
use ipnet::IpNet;

use crate::config::PoolIndex;
use crate::edition::Edition;
use crate::hosts::Hosts;
use crate::metrics::Lack;
use crate::pool::ServerIndex;
use crate::random::Random;
use crate::session::{Action, CloseReason, Cx, Event, Habit, PipeState};
use crate::slots::{SlotId, Slots};
use crate::sys::{
    Completion, Engine, Farewell, Fault, Fd, Kind, Op, PipeId, Readiness, Side, Submitted, Token,
};
use crate::timer::Wheel;
use accepting::{Listener, Waiting};
use orders::Draining;
use records::Collected;
use searching::{Departure, Search};
use seat::Seat;
use shared::LocalEdition;

pub use orders::{ListenerNumber, Order, Orders, Placement, Reload};
pub use records::Records;
pub use shared::Shared;

/// What a worker starts with.
pub struct Setup {
    /// Which of the workers it is.
    pub number: usize,
    /// In force at first.
    pub edition: Arc<Edition>,
    /// Its listening sockets.
    pub listeners: Vec<(Placement, Fd)>,
    /// Rung behind each order.
    pub mailbox: Fd,
    /// From the supervisor.
    pub orders: Receiver<Order>,
    /// Where further listening sockets come in.
    pub post: Fd,
    /// Where log records go.
    pub records: Records,
    /// Room for so many sessions.
    pub sessions_max: usize,
    /// By so many descriptors.
    pub descriptors_max: u64,
    /// Of its random numbers.
    pub seed: u64,
}

/// Microseconds accepting pauses when descriptors or memory ran out.
const ACCEPT_PAUSE_US: u64 = 100_000;

/// Sessions below the limit before accepting resumes, as a share of the limit.
const RESUME_SHARE: usize = 32;

/// See the head of the file.
pub struct Worker<E: Engine> {
    engine: E,
    shared: Arc<Shared>,
    number: usize,
    /// What new sessions are made under.
    edition: Rc<LocalEdition>,
    /// By the places that tokens of accepts name.
    listeners: Vec<Option<Listener>>,
    mailbox: Fd,
    orders: Receiver<Order>,
    post: Fd,

    slots: Slots<Seat>,
    wheel: Wheel,
    surroundings: Surroundings,
    now_us: u64,

    /// Accepted, but no seat was free or a limit was reached.
    waiting: VecDeque<Waiting>,
    /// Of sessions, by slot, where networks are limited.
    networks: HashMap<u32, IpNet>,
    accepting: Accepting,
    /// True exactly when seats are so few that clients are accepted one at a time. An accept that
    /// goes on takes the whole backlog, and those without a seat would hold the descriptors that
    /// sessions need for their servers.
    accepts_once: bool,
    /// Ends with its last session.
    ending: bool,
    /// Whoever is accepted all the same is closed.
    stopped: bool,
    draining: Option<Draining>,
    /// What is asked about sessions.
    searches: VecDeque<Search>,
    /// Sessions that are to be closed one by one.
    departures: Vec<Departure>,
    /// Receives that found no buffer, in order.
    starved: VecDeque<(SlotId, Side)>,
    /// Sides whose session has asked for what was kept for it.
    kept: VecDeque<(SlotId, Side)>,
    /// What is to be told of sessions.
    records: Collected,

    /// Operations that were done when submitted, taken up in the next turn so that no session runs
    /// ahead of others.
    done: Vec<Completion>,
    /// Ring buffers that are this worker's now.
    buffers_held: usize,

    // Kept between turns for their memory.
    completions: Vec<Completion>,
    actions: Vec<Action>,
    events: VecDeque<Event<'static>>,
    due: Vec<SlotId>,
}

/// What a step may look at, whatever it is about.
struct Surroundings {
    worker: usize,
    habits: Vec<Habit>,
    hosts: Hosts,
    random: Random,
    buffer_size: u32,
    pipe_size: u32,
}

impl Surroundings {
    fn cx<'a>(
        &'a mut self,
        now_us: u64,
        edition: &'a Edition,
        actions: &'a mut Vec<Action>,
    ) -> Cx<'a> {
        Cx {
            now_us,
            config: &edition.config,
            pools: &edition.pools,
            listeners: &edition.listeners,
            worker: self.worker,
            habits: &mut self.habits,
            hosts: &mut self.hosts,
            random: &mut self.random,
            buffer_size: self.buffer_size,
            pipe_size: self.pipe_size,
            actions,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    Yes,
    /// Every seat is taken.
    Full,
    /// Something ran out; tried again then.
    Until(u64),
}

impl<E: Engine> Worker<E> {
    /// A worker that has not begun.
    pub fn new(mut engine: E, shared: Arc<Shared>, setup: Setup) -> Self {
        let now_us = engine.now_us();
        let edition = Rc::new(LocalEdition(setup.edition));
        let surroundings = Surroundings {
            worker: setup.number,
            habits: vec![Habit::default(); edition.config.listeners.len()],
            hosts: Hosts::default(),
            random: Random::new(setup.seed),
            buffer_size: engine.buffer_size(),
            pipe_size: engine.pipe_size(),
        };
        let listener = |(place, socket): (Placement, Fd)| {
            let mut listener = Listener::new(place.number, socket, Rc::clone(&edition));
            listener.position = place.listener;
            Some(listener)
        };
        shared.counters[setup.number].start(setup.sessions_max, setup.descriptors_max);
        let records =
            Collected::new(setup.number, Arc::clone(&shared), setup.records, Rc::clone(&edition));
        Self {
            engine,
            shared,
            number: setup.number,
            listeners: setup.listeners.into_iter().map(listener).collect(),
            mailbox: setup.mailbox,
            orders: setup.orders,
            post: setup.post,
            slots: Slots::with_limit(setup.sessions_max),
            wheel: Wheel::new(now_us / 1000),
            surroundings,
            now_us,
            waiting: VecDeque::new(),
            networks: HashMap::new(),
            accepting: Accepting::Yes,
            accepts_once: false,
            ending: false,
            stopped: false,
            draining: None,
            searches: VecDeque::new(),
            departures: Vec::new(),
            starved: VecDeque::new(),
            kept: VecDeque::new(),
            records,
            edition,
            done: Vec::new(),
            buffers_held: 0,
            completions: Vec::new(),
            actions: Vec::new(),
            events: VecDeque::new(),
            due: Vec::new(),
        }
    }

    /// Serves until stopped and every session has ended.
    pub fn run(&mut self) -> io::Result<()> {
        self.start();
        while !self.is_over() {
            self.turn()?;
        }
        self.give_up_searches();
        self.records.hand_over();
        Ok(())
    }

    /// Starts to accept and to listen for mail; once, before the first turn.
    pub fn start(&mut self) {
        self.await_mail();
        self.accept();
    }

    /// Told to end, with nobody left who could come, and every session has ended.
    pub fn is_over(&self) -> bool {
        let is_listening = self.listeners.iter().any(Option::is_some);
        self.ending && !is_listening && self.slots.is_empty() && self.waiting.is_empty()
    }

    /// Waits for completions, takes them up, and carries out what follows.
    ///
    /// # Errors
    /// The engine cannot go on.
    pub fn turn(&mut self) -> io::Result<()> {
        let is_behind = !self.done.is_empty() || !self.kept.is_empty() || !self.searches.is_empty();
        let timeout_us = if is_behind { Some(0) } else { self.timeout_us() };
        let mut completions = std::mem::take(&mut self.completions);
        completions.append(&mut self.done);
        self.engine.reap(timeout_us, &mut completions)?;
        self.now_us = self.engine.now_us();
        for completion in completions.drain(..) {
            self.complete(completion)?;
        }
        self.completions = completions;
        self.serve_kept();
        self.expire();
        self.close_some();
        self.close_departing();
        self.resume_accepting();
        self.search_on();
        if self.records.are_due(self.now_us) {
            self.records.hand_over();
        }
        Ok(())
    }

    /// How long there is nothing to do but wait for completions.
    fn timeout_us(&self) -> Option<u64> {
        let records_at = self.records.due_us();
        let accept_at = match self.accepting {
            Accepting::Until(at_us) => Some(at_us),
            _ => None,
        };
        let timer_at = self.wheel.next_ms().map(|at_ms| at_ms * 1000);
        let close_at = self.draining.as_ref().map(|draining| draining.next_us(self.now_us));
        let admission_at = self.next_admission_us();
        let departs_at = self.departures.iter().map(Departure::next_us).min();
        let at_us = [records_at, accept_at, timer_at, close_at, admission_at, departs_at];
        let at_us = at_us.into_iter().flatten().min()?;
        Some(at_us.saturating_sub(self.now_us))
    }

    fn complete(&mut self, completion: Completion) -> io::Result<()> {
        let token = completion.token;
        match token.kind() {
            Kind::Accept => self.accepted(token.slot(), completion.result, completion.more),
            Kind::Mail => self.mail()?,
            Kind::Cancel => {}
            kind => {
                let id = SlotId { index: token.slot(), generation: token.generation() };
                self.complete_session(id, kind, &completion);
            }
        }
        Ok(())
    }

    fn complete_session(&mut self, id: SlotId, kind: Kind, completion: &Completion) {
        let (side, result) = (completion.token.side(), completion.result);
        self.buffers_held += usize::from(kind == Kind::Receive && completion.buffer.is_some());
        let seat = self.slots.find(id).expect("a seat outlives its operations");
        if !completion.more {
            seat.no_longer_pending(kind, side);
        }
        if seat.is_closing(side) {
            // The session asked for the end of this side; what still came is nobody's.
            let sent = (kind == Kind::Send).then(|| completion.token.buffer());
            if let Some(buffer) = sent.or(completion.buffer) {
                self.give_back(buffer);
            }
            let seat = self.slots.find(id).expect("nothing has ended it since");
            if let Some((socket, farewell)) = seat.close_if_idle(side) {
                self.close_socket(id, side, socket, farewell);
                self.step(id, Event::Closed(side));
            }
            return;
        }
        let event = match (kind, result) {
            (Kind::Connect, Err(Fault::NoPorts)) if self.connect_from_another(id) => return,
            (Kind::Receive, _) => return self.receive_completed(id, side, completion),
            (Kind::Send, result) => {
                Event::Sent { to: side, buffer: completion.token.buffer(), result }
            }
            (Kind::SendAll, result) => Event::SentAll { to: side, result },
            (Kind::Connect, result) => {
                if let Some(lack) = result.err().and_then(Lack::of) {
                    self.lack(lack);
                }
                self.step(id, Event::Connected(result.map(drop)));
                return self.begun(id);
            }
            (Kind::Readable, _) => Event::Readable(side),
            (Kind::Room, _) => Event::Room(side),
            (Kind::HangUp, result) => {
                let fault = match result {
                    Ok(mask) => (mask & POLLERR != 0).then_some(Fault::Reset),
                    Err(fault) => Some(fault),
                };
                Event::HangUp { side, fault }
            }
            (Kind::Accept | Kind::Mail | Kind::Cancel, _) => unreachable!("taken by complete"),
        };
        self.step(id, event);
    }

    fn step(&mut self, id: SlotId, event: Event<'static>) {
        self.events.push_back(event);
        self.act(id);
    }

    /// Carries out what the session wants, and tells it what was done at once, until neither has
    /// anything left.
    fn act(&mut self, id: SlotId) {
        let mut actions = std::mem::take(&mut self.actions);
        loop {
            for action in actions.drain(..) {
                if let Action::End(reason) = action {
                    self.end(id, reason);
                } else {
                    self.perform(id, action);
                }
            }
            let Some(event) = self.events.pop_front() else { break };
            let Some(seat) = self.slots.find(id) else { continue };
            let mut cx = self.surroundings.cx(self.now_us, &seat.edition, &mut actions);
            seat.session.step(event, &mut cx);
        }
        self.actions = actions;
    }

    /// One action becomes one operation (or none, where what it asks for is pending already).
    fn perform(&mut self, id: SlotId, action: Action) {
        let seat = self.slots.find(id).expect("a seat lives until its End");
        match action {
            Action::Receive { side, patience } => self.receive(id, side, patience),
            Action::Send { to, buffer, from, until } => {
                let socket = seat.socket(to);
                let op = Op::Send { socket, buffer, from, to: until };
                self.submit_once(id, Kind::Send, to, op);
            }
            Action::SendLeft { to, buffer, from, until } => {
                let socket = seat.socket(to);
                let bytes = self.engine.bytes(buffer, until)[from as usize..].to_vec();
                self.give_back(buffer);
                let op = Op::SendAll { socket, bytes, full: true };
                self.submit_once(id, Kind::SendAll, to, op);
            }
            Action::SendAll { to, bytes } => {
                let socket = seat.socket(to);
                let op = Op::SendAll { socket, bytes, full: false };
                self.submit_once(id, Kind::SendAll, to, op);
            }
            Action::Release(buffer) => self.give_back(buffer),
            Action::Await(side, readiness) => {
                let socket = seat.socket(side);
                let kind = match readiness {
                    Readiness::Readable => Kind::Readable,
                    Readiness::HangUp => Kind::HangUp,
                };
                self.submit_once(id, kind, side, Op::Await { socket, readiness });
            }
            Action::AwaitRoom(side) => {
                let socket = seat.socket(side);
                self.submit_once(id, Kind::Room, side, Op::AwaitRoom { socket });
            }
            Action::Connect { pool, server, data_in_hand } => {
                self.connect(id, pool, server, data_in_hand);
            }
            Action::Close(side, farewell) => self.close(id, side, farewell),
            Action::Deadline { at_ms } => {
                if seat.deadline(at_ms) {
                    self.wheel.add(at_ms, id);
                }
            }
            Action::NoDeadline => seat.no_deadline(),
            Action::End(_) => unreachable!("taken by act"),
            done_at_once => self.perform_at_once(id, done_at_once),
        }
    }

    /// Actions whose operation is done when submitted; the session is told with the next event.
    fn perform_at_once(&mut self, id: SlotId, action: Action) {
        let seat = self.slots.find(id).expect("a seat lives until its End");
        let (op, side) = match action {
            Action::TakePipe(from) => (Op::TakePipe, from),
            Action::ReturnPipe(from, state) => {
                let Some(pipe) = seat.take_pipe(from) else { return };
                (Op::ReturnPipe { pipe, empty: state == PipeState::Empty }, from)
            }
            Action::SpliceIn(from, most) => {
                (Op::SpliceIn { socket: seat.socket(from), pipe: seat.pipe(from), most }, from)
            }
            Action::SpliceOut(from, exactly) => {
                let (pipe, socket) = (seat.pipe(from), seat.socket(from.opposite()));
                (Op::SpliceOut { pipe, socket, exactly }, from)
            }
            Action::AskUnsent(side) => (Op::Unsent { socket: seat.socket(side) }, side),
            Action::Shutdown(side) => (Op::Shutdown { socket: seat.socket(side) }, side),
            _ => unreachable!("taken by perform"),
        };
        let Submitted::Done(result) = self.engine.submit(token(id, Kind::Cancel, side), op) else {
            unreachable!("these operations never wait")
        };
        let event = match action {
            Action::TakePipe(from) => {
                if result.is_err() {
                    self.shared.counters[self.number].lack(Lack::Pipes);
                }
                let result = result.map(|pipe| seat.put_pipe(from, PipeId(pipe)));
                Event::Pipe(from, result)
            }
            Action::SpliceIn(from, _) => Event::SplicedIn(from, result),
            Action::SpliceOut(from, _) => Event::SplicedOut(from, result),
            Action::AskUnsent(side) => Event::Unsent(side, result),
            // A peer that is gone already shows up in its own half.
            _ => return,
        };
        self.events.push_back(event);
    }

    /// Submits unless the same is pending on that side.
    fn submit_once(&mut self, id: SlotId, kind: Kind, side: Side, op: Op) {
        let seat = self.slots.find(id).expect("a seat lives until its End");
        if !seat.now_pending(kind, side) {
            return;
        }
        let token = match op {
            Op::Send { buffer, .. } => token(id, kind, side).with_buffer(buffer),
            _ => token(id, kind, side),
        };
        if let Submitted::Done(result) = self.engine.submit(token, op) {
            self.done.push(Completion { token, result, buffer: None, more: false, unread: false });
        }
    }

    fn connect(&mut self, id: SlotId, pool: PoolIndex, server: ServerIndex, data_in_hand: bool) {
        let seat = self.slots.find(id).expect("a seat lives until its End");
        let pool = seat.edition.pool_at(pool);
        let peer = pool.server(server).peer;
        let open = Op::Open { peer, sources: pool.sources().clone(), data_in_hand };
        match self.engine.submit(token(id, Kind::Connect, Side::Server), open) {
            Submitted::Done(Ok(number)) => {
                let socket = Fd::new(number.cast_signed());
                self.shared.counters[self.number].open_socket();
                let seat = self.slots.find(id).expect("a seat lives until its End");
                seat.open(Side::Server, socket);
                self.submit_once(id, Kind::Connect, Side::Server, Op::Connect { socket, peer });
            }
            Submitted::Done(Err(fault)) => {
                if let Some(lack) = Lack::of(fault) {
                    self.lack(lack);
                    if fault != Fault::NoPorts {
                        self.pause_accepting();
                    }
                }
                self.events.push_back(Event::Connected(Err(fault)));
            }
            Submitted::Pending => unreachable!("opening a socket never waits"),
        }
    }

    /// A source address has no port left towards a server; whether another is tried.
    fn connect_from_another(&mut self, id: SlotId) -> bool {
        let seat = self.slots.find(id).expect("a seat outlives its operations");
        let Some(place) = seat.session.about().place else { return false };
        let pool = seat.edition.pool_at(place.pool);
        let peer = pool.server(place.server).peer;
        let socket = seat.socket(Side::Server);
        let next = Op::NextSource { socket, peer, sources: pool.sources().clone() };
        let token = token(id, Kind::Cancel, Side::Server);
        let Submitted::Done(Ok(_)) = self.engine.submit(token, next) else { return false };
        self.submit_once(id, Kind::Connect, Side::Server, Op::Connect { socket, peer });
        true
    }

    /// Closes a side once nothing is pending on it, and has what is pending complete.
    fn close(&mut self, id: SlotId, side: Side, farewell: Farewell) {
        let seat = self.slots.find(id).expect("a seat lives until its End");
        if seat.is_closing(side) {
            return;
        }
        if seat.start_closing(side, farewell) {
            if let Some((socket, farewell)) = seat.close_if_idle(side) {
                self.close_socket(id, side, socket, farewell);
                self.events.push_back(Event::Closed(side));
                return;
            }
            for kind in seat.cancellable(side) {
                let target = token(id, kind, side);
                self.engine.submit(token(id, Kind::Cancel, side), Op::Cancel { target });
            }
        } else {
            self.events.push_back(Event::Closed(side));
        }
    }

    fn close_socket(&mut self, id: SlotId, side: Side, socket: Fd, farewell: Farewell) {
        self.engine.submit(token(id, Kind::Cancel, side), Op::Close { socket, farewell });
        self.shared.counters[self.number].close_socket();
    }

    fn end(&mut self, id: SlotId, reason: CloseReason) {
        let mut seat = self.slots.remove(id).expect("a session ends once");
        for side in [Side::Client, Side::Server] {
            if let Some(pipe) = seat.take_pipe(side) {
                let op = Op::ReturnPipe { pipe, empty: false };
                self.engine.submit(token(id, Kind::Cancel, side), op);
            }
        }
        let about = seat.session.leave(reason, &seat.edition.pools, self.number, self.now_us);
        self.shared.counters[self.number].close(reason);
        seat.edition.listeners[usize::from(about.listener)].of(self.number).close(reason);
        let admission = &seat.edition.admission;
        admission.leave(about.listener, self.number);
        if let Some(network) = self.networks.remove(&id.index) {
            admission.leave_network(about.listener, network);
        }
        self.ended(id, &seat.edition, about, reason);
    }

    fn expire(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        let now_ms = self.now_us / 1000;
        self.wheel.advance(now_ms, &mut due);
        for id in due.drain(..) {
            let Some(seat) = self.slots.find(id) else { continue };
            match seat.expired(now_ms) {
                seat::Expired::Nothing => {}
                seat::Expired::Later(at_ms) => self.wheel.add(at_ms, id),
                seat::Expired::Now => self.step(id, Event::Deadline),
            }
        }
        self.due = due;
    }

    /// Counted here, told by the control thread: a worker writes no logs.
    fn lack(&self, lack: Lack) {
        self.shared.counters[self.number].lack(lack);
    }
}

/// What of a poll mask tells a reset from a mere hang-up (poll(2)).
const POLLERR: u32 = 0x8;

fn token(id: SlotId, kind: Kind, side: Side) -> Token {
    Token::new(id.index, id.generation, kind, side)
}
