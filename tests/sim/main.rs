//! The real worker over a simulated kernel and network, by seeds.
//!
//! Every seed makes another machine, other clients and servers, and another order of events; the
//! kernel of the simulation checks the contract of `ringway::sys` at every step, and the last act
//! is emptiness. `SIM_SEED=n` replays one seed, `SIM_SEEDS=n` tries that many (256).

mod editions;
mod kernel;
mod link;
mod machine;
mod proof;
mod questions;
mod records;
mod script;
mod tallies;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;

use ringway::log::{Batch, Entry};
use ringway::pool::Pool;
use ringway::random::Random;
use ringway::session::CloseReason;
use ringway::sys::mailbox::Mailbox;
use ringway::sys::{Fd, Side};
use ringway::worker::{Order, Records, Setup, Shared, Worker};

use editions::{Editions, Speech};
use kernel::{HERE, Kernel, MAILBOX, POST, World, client};
use link::{Draws, Link};
use machine::Machine;
use questions::{Facts, Questions};
use script::Script;
use tallies::Tallies;

/// Batches of records between two turns: one for each session, at most.
const RECORDS_MAX: usize = 1024;

/// Turns after which a worker without sessions must wait for ever: each lasts until a timer, or
/// for a fifth of a second, and no deadline is further away than a minute.
const ASLEEP_TURNS: u32 = 5_000;

/// One worker in its world.
struct Simulation {
    world: Rc<RefCell<World>>,
    shared: Arc<Shared>,
    worker: Worker<Kernel>,
    editions: Editions,
    /// One turn in so many brings a reload; 0: none does.
    reloads: u64,
    orders: Sender<Order>,
    arrivals: u64,
    /// What the worker said of sessions that ended.
    records: Receiver<Batch>,
    tallies: Tallies,
    questions: Questions,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let machine = Machine::new(&mut random);
        let mut world = World::new(random.next(), machine);
        let mut editions = Editions::default();
        world.times_out = editions.time_out(&mut random);
        let listeners = editions.first(&mut random, &mut world);
        let edition = editions.current();
        let shared = Arc::new(Shared::new(Arc::clone(&edition), 1));
        let world = Rc::new(RefCell::new(world));
        let (sender, records) = sync_channel(RECORDS_MAX);
        let (orders_to, orders) = channel();
        let sessions_max = 1 + random.below(60) as usize;
        let sessions_max = if random.one_in(2) { 1 + sessions_max / 16 } else { sessions_max };
        let setup = Setup {
            number: 0,
            edition,
            listeners,
            mailbox: Fd::new(MAILBOX),
            orders,
            post: Fd::new(POST),
            records: Records { sender, mailbox: Mailbox::new().expect("a mailbox") },
            sessions_max,
            descriptors_max: 0,
            seed: random.next(),
        };
        let worker = Worker::new(Kernel::new(Rc::clone(&world)), Arc::clone(&shared), setup);
        let arrivals = 1 + random.below(80);
        let reloads = if random.one_in(2) { 0 } else { 4 + random.below(200) };
        let orders = orders_to;
        let (tallies, questions) = (Tallies::default(), Questions::new(&mut random));
        world.borrow_mut().kills = random.one_in(2);
        Self {
            world,
            shared,
            worker,
            editions,
            reloads,
            orders,
            arrivals,
            records,
            tallies,
            questions,
        }
    }

    /// Lets somebody in, now and then many at once.
    fn arrive(&mut self) {
        let count = match self.world.borrow_mut().random.below(32) {
            0 => self.arrivals,
            1..8 => self.arrivals.min(1),
            _ => 0,
        };
        self.arrivals -= count;
        self.arrive_at_once(count);
    }

    fn arrive_at_once(&mut self, count: u64) {
        let world = &mut *self.world.borrow_mut();
        let open = self.editions.open();
        for _ in 0..count {
            let listener = open[world.random.below(open.len() as u64) as usize];
            let kind = self.editions.kind(listener);
            let (random, now_us, machine) = (&mut world.random, world.now_us, &world.machine);
            let speech = match kind.speech {
                Speech::Any => {
                    [Speech::Anything, Speech::Hello, Speech::Request][random.below(3) as usize]
                }
                speech => speech,
            };
            let script = match speech {
                Speech::Hello => Script::hello(random, now_us, machine),
                Speech::Request => Script::request(random, now_us, machine),
                _ => Script::raw(random, now_us, machine),
            };
            let mut link = Link::new(Side::Client, script, random, machine.window_max);
            link.one_request = kind.one_request;
            link.progress_us = now_us;
            if kind.proxied {
                let is_told = !random.one_in(8);
                link.source = is_told.then(|| client(world.links.len()));
                link.script.come_from(link.source, HERE, random);
            }
            world.links.push(link);
            world.backlog[listener].push_back(world.links.len() - 1);
        }
    }

    fn turns(&mut self, count: u64) {
        for _ in 0..count {
            self.arrive();
            self.reload();
            self.ask();
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.worker.turn().expect("the simulated kernel never fails");
        let world = &mut *self.world.borrow_mut();
        proof::check(world);
        for batch in self.records.try_iter() {
            self.tallies.add(&batch);
            for entry in &batch.entries {
                let Entry::Ended(record) = entry else { continue };
                records::check(record, &batch.edition, world);
            }
        }
        let live = self.shared.counters[0].accepted() - self.closed();
        assert!(world.live().contains(&live), "accepted == live + Σ closed: {live}, {world}");
        let edition = &self.editions.current();
        self.questions.check(&Facts { world, edition, live });
    }

    /// Somebody wants to know something, or has sessions closed.
    fn ask(&mut self) {
        let edition = self.editions.current();
        let inquiry = self.questions.draw(&mut self.world.borrow_mut(), &edition);
        if let Some(inquiry) = inquiry {
            self.order(Order::Inquire(inquiry));
        }
    }

    /// Brings another edition now and then, and has listeners closed that have had their time.
    fn reload(&mut self) {
        if self.reloads > 0 && self.world.borrow_mut().random.one_in(self.reloads) {
            let mut random = Random::new(self.world.borrow_mut().random.next());
            let reload = self.editions.next(&mut random, &mut self.world.borrow_mut());
            self.order(Order::Reload(Box::new(reload)));
        }
        let left = self.editions.left(&mut self.world.borrow_mut().random);
        if !left.is_empty() {
            self.order(Order::Forget(left.into()));
        }
    }

    fn order(&mut self, order: Order) {
        self.orders.send(order).expect("the worker is there");
        self.world.borrow_mut().rung = true;
    }

    fn closed(&self) -> u64 {
        CloseReason::ALL.iter().map(|&reason| self.shared.counters[0].closed(reason)).sum()
    }

    /// Bytes that have arrived, and connections that are over.
    fn progress(&self) -> usize {
        let world = self.world.borrow();
        world.links.iter().map(|link| link.got.len() + usize::from(link.is_over())).sum()
    }

    /// Everybody ends what they do, or does not where ringway ends what nobody ends; and no session
    /// may be left.
    fn finish(&mut self) {
        {
            let world = &mut *self.world.borrow_mut();
            let patient = if world.random.one_in(2) { Side::Client } else { Side::Server };
            world.finish = (!world.times_out || world.random.one_in(2)).then_some(patient);
        }
        // Much by little takes long, but never so long without a byte.
        let mut before = None;
        while before != Some(self.progress()) {
            before = Some(self.progress());
            for _ in 0..100_000 {
                let idle = self.world.borrow().backlog.iter().all(VecDeque::is_empty);
                if idle && self.arrivals == 0 && self.world.borrow().is_quiet() {
                    proof::check_finished(&self.world.borrow());
                    return self.fall_asleep();
                }
                self.turns(1);
            }
        }
        let counters = &self.shared.counters[0];
        panic!(
            "{} sessions, {} ended: {}",
            counters.accepted(),
            self.closed(),
            self.world.borrow()
        );
    }

    /// Nobody lives: the worker soon waits for nothing but clients.
    fn fall_asleep(&mut self) {
        for _ in 0..ASLEEP_TURNS {
            if self.world.borrow().timeout_us.is_none() {
                return;
            }
            self.turn();
        }
        panic!("a timer goes on for the dead: {:?}", self.world.borrow().timeout_us);
    }

    /// The worker is stopped, at once or after a while; the last act is emptiness.
    fn stop(mut self) -> u64 {
        self.arrive_at_once(self.arrivals);
        let (drains, from_us, window_us) = {
            let world = &mut *self.world.borrow_mut();
            let from_us = world.now_us + world.random.below(3_000_000);
            world.stopping = true;
            (world.random.one_in(2), from_us, world.random.below(2_000_000))
        };
        if drains {
            self.editions.leave();
            self.order(Order::Drain { from_us, window_us });
        } else {
            self.world.borrow_mut().may_cut_off = true;
            self.order(Order::Stop);
        }
        self.reloads = 0;
        for _ in 0..20_000 {
            if self.worker.is_over() {
                break;
            }
            if drains {
                self.reload();
                self.ask();
            }
            self.turn();
        }
        assert!(self.worker.is_over(), "the worker does not stop: {}", self.world.borrow());
        self.world.borrow().assert_empty();
        assert_eq!(self.shared.counters[0].sockets(), 0, "sockets are counted that are closed");
        let closed = self.closed();
        assert_eq!(self.shared.counters[0].accepted(), closed, "accepted == Σ closed");
        // Those of the last turn are handed over when a worker ends.
        self.worker.run().expect("it is over already");
        self.records.try_iter().for_each(|batch| self.tallies.add(&batch));
        self.tallies.check(&self.editions.all);
        let killed = self.shared.counters[0].closed(CloseReason::Killed);
        self.questions.check_closed(killed);
        drop((self.worker, self.shared, self.records, self.questions));
        let current = self.editions.current();
        for edition in self.editions.all {
            assert!(edition.admission.is_empty(), "sessions that ended are counted");
            for pool in &edition.pools {
                assert_eq!(pool.waiting(), 0, "{pool:?} lets wait who has ended");
                assert_eq!(pool.connecting(), 0, "{pool:?} counts connects that are over");
            }
            for server in edition.pools.iter().flat_map(Pool::servers) {
                assert_eq!(server.live(), 0, "{server:?} counts sessions that ended");
            }
            for pool in &edition.pools {
                pool.sweep(u64::MAX / 2);
                assert_eq!(pool.learned(), 0, "keys are held by sessions that ended");
            }
            let expected = 1 + usize::from(edition.number == current.number);
            assert_eq!(Arc::strong_count(&edition), expected, "an old edition is still kept");
        }
        closed
    }
}

fn simulate(seed: u64) -> u64 {
    let mut simulation = Simulation::new(seed);
    simulation.worker.start();
    let (turns, finishes) = {
        let random = &mut simulation.world.borrow_mut().random;
        (random.below(600), !random.one_in(3))
    };
    simulation.turns(turns);
    if finishes {
        simulation.finish();
    }
    simulation.stop()
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, is {text}")))
}

#[test]
fn no_seed_breaks_the_worker() {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(256),
    };
    let (next, sessions) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let try_seeds = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                break;
            }
            match catch_unwind(AssertUnwindSafe(|| simulate(seed))) {
                Ok(ended) => sessions.fetch_add(ended, Relaxed),
                Err(panic) => {
                    next.store(seeds.end, Relaxed);
                    eprintln!("SIM_SEED={seed} replays this");
                    resume_unwind(panic);
                }
            };
        }
    };
    // A seed is one thread's from beginning to end, so that it means the same everywhere.
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(try_seeds);
        }
    });
    eprintln!("{} sessions", sessions.into_inner());
}
