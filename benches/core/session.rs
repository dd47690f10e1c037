//! A session's steps, over a ring that does at once whatever it is asked for.

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::SocketAddr;

use criterion::Criterion;
use ringway::config::Config;
use ringway::hosts::Hosts;
use ringway::metrics::{ListenerCounts, PerWorker};
use ringway::pool::Pool;
use ringway::random::Random;
use ringway::session::{Action, CloseReason, Cx, Event, Habit, Rest, Session};
use ringway::slots::SlotId;
use ringway::sys::{BufferId, Side};
use ringway::timer::{TICK_MS, Wheel};

use crate::pool::{config, pool};

/// Bytes of a small message, such as a chat line in its frame.
const MESSAGE: [u8; 128] = [0x61; 128];
/// The only buffer: a session at rest owns none.
const BUFFER: BufferId = BufferId(0);
/// On the worker's clock.
const NOW_US: u64 = 1_000_000;

pub(crate) fn timer(criterion: &mut Criterion) {
    let mut wheel = Wheel::new(0);
    let mut due = Vec::new();
    let (mut now_ms, mut index) = (0, 0);
    criterion.bench_function("timer/add_and_advance", |bencher| {
        bencher.iter(|| {
            now_ms += TICK_MS;
            index = (index + 1) % 1_000_000;
            wheel.add(now_ms + 5_000, SlotId { index, generation: 1 });
            wheel.advance(black_box(now_ms), &mut due);
            due.clear();
        });
    });
}

/// A message from the client, and one back: received, sent, and received from again.
pub(crate) fn relay(criterion: &mut Criterion) {
    let mut ring = FakeRing::new();
    let mut session = ring.accept();
    ring.run(&mut session);
    criterion.bench_function("session/relay_a_message_each_way", |bencher| {
        bencher.iter(|| {
            ring.receive(&mut session, Side::Client, black_box(&MESSAGE));
            ring.receive(&mut session, Side::Server, black_box(&MESSAGE));
        });
    });
}

/// Accept, connect, a message each way, and an EOF from each side.
pub(crate) fn life(criterion: &mut Criterion) {
    let mut ring = FakeRing::new();
    criterion.bench_function("session/life", |bencher| {
        bencher.iter(|| {
            let mut session = ring.accept();
            ring.run(&mut session);
            ring.receive(&mut session, Side::Client, black_box(&MESSAGE));
            ring.receive(&mut session, Side::Server, black_box(&MESSAGE));
            ring.receive(&mut session, Side::Client, &[]);
            ring.receive(&mut session, Side::Server, &[]);
            assert_eq!(ring.ended.take(), Some(CloseReason::ClientClosed));
            session.leave(CloseReason::ClientClosed, &ring.pools, 0, NOW_US);
        });
    });
}

/// What stands in a worker's place: it keeps what a step may look at, and answers every action
/// with the event of its success. Only what peers send must come from outside.
struct FakeRing {
    config: Config,
    pools: Vec<Pool>,
    listeners: Vec<PerWorker<ListenerCounts>>,
    habits: [Habit; 1],
    hosts: Hosts,
    random: Random,
    actions: Vec<Action>,
    /// Still to be done, in order.
    pending: VecDeque<Action>,
    /// True exactly when the session waits to receive from that side.
    receiving: [bool; 2],
    ended: Option<CloseReason>,
}

impl FakeRing {
    fn new() -> Self {
        let keys = "\"balance\": \"round_robin\"";
        Self {
            config: config(keys),
            pools: vec![pool(keys, 4)],
            listeners: vec![PerWorker::new(1)],
            habits: [Habit::default()],
            hosts: Hosts::default(),
            random: Random::new(1),
            actions: Vec::new(),
            pending: VecDeque::new(),
            receiving: [false; 2],
            ended: None,
        }
    }

    fn accept(&mut self) -> Session {
        let client = SocketAddr::from(([192, 0, 2, 1], 40_000));
        let session = Session::accept(0, Some(client), None, &mut self.cx());
        self.pending.extend(self.actions.drain(..));
        session
    }

    fn cx(&mut self) -> Cx<'_> {
        Cx {
            now_us: NOW_US,
            config: &self.config,
            pools: &self.pools,
            listeners: &self.listeners,
            worker: 0,
            habits: &mut self.habits,
            hosts: &mut self.hosts,
            random: &mut self.random,
            buffer_size: 16 * 1024,
            pipe_size: 256 * 1024,
            actions: &mut self.actions,
        }
    }

    /// These bytes come from that side, or its EOF; and everything that follows from it.
    fn receive(&mut self, session: &mut Session, side: Side, bytes: &[u8]) {
        assert!(std::mem::take(&mut self.receiving[side as usize]), "it waits for them");
        let buffer = (!bytes.is_empty()).then_some(BUFFER);
        let rest = Rest::Drained;
        self.step(session, Event::Received { side, result: Ok(bytes), buffer, rest });
        self.run(session);
    }

    /// Until the session waits for a peer, or has ended.
    fn run(&mut self, session: &mut Session) {
        while let Some(action) = self.pending.pop_front() {
            if let Some(event) = self.answer(action) {
                self.step(session, event);
            }
        }
    }

    fn step(&mut self, session: &mut Session, event: Event<'_>) {
        session.step(event, &mut self.cx());
        self.pending.extend(self.actions.drain(..));
    }

    fn answer(&mut self, action: Action) -> Option<Event<'static>> {
        match action {
            Action::Connect { .. } => Some(Event::Connected(Ok(()))),
            Action::Send { to, buffer, from, until } => {
                Some(Event::Sent { to, buffer, result: Ok(until - from) })
            }
            Action::SendAll { to, bytes } => {
                Some(Event::SentAll { to, result: Ok(bytes.len() as u32) })
            }
            Action::Close(side, _) => Some(Event::Closed(side)),
            Action::Receive { side, .. } => {
                self.receiving[side as usize] = true;
                None
            }
            Action::End(reason) => {
                self.ended = Some(reason);
                None
            }
            Action::Release(_)
            | Action::Shutdown(_)
            | Action::Deadline { .. }
            | Action::NoDeadline
            | Action::Await(..) => None,
            other => panic!("a small message needs no {other:?}"),
        }
    }
}
