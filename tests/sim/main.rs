//! The real worker over a simulated kernel and network, by seeds.
//!
//! Every seed makes another machine, other clients and servers, and another order of events; the
//! kernel of the simulation checks the contract of `ringway::sys` at every step, and the last act
//! is emptiness. `SIM_SEED=n` replays one seed, `SIM_SEEDS=n` tries that many (256).

mod kernel;
mod link;
mod proof;
mod script;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel, sync_channel};

use ringway::config;
use ringway::edition::Edition;
use ringway::pool::{Peers, Pool, ServerSpec};
use ringway::random::Random;
use ringway::session::CloseReason;
use ringway::sys::mailbox::Mailbox;
use ringway::sys::{Fd, PeerId, Side};
use ringway::worker::{ListenerNumber, Order, Placement, Records, Setup, Shared, Worker};

use kernel::{Kernel, MAILBOX, Machine, POST, World};
use link::{Draws, Link};
use script::Script;

/// Listeners 0 and 1 carry any bytes, the others HTTP.
const RAW_LISTENERS: usize = 2;

/// The listeners whose connections carry one request.
const ONE_REQUEST_LISTENERS: [usize; 2] = [2, 3];

/// Servers of the first pool, which speak anything.
const RAW_SERVERS: u32 = 3;

const CONFIG: &str = r#"{
    "listeners": [
        { "name": "none", "bind": "127.0.0.1:1", "peek": "none", "pool": "raw" },
        { "name": "auto", "bind": "127.0.0.1:2", "peek": "auto", "pool": "raw" },
        { "name": "sid", "bind": "127.0.0.1:3", "peek": "http", "pool": "sid" },
        { "name": "cookie", "bind": "127.0.0.1:4", "peek": "http", "pool": "cookie",
          "keep_alive": "one_request" },
        { "name": "insert", "bind": "127.0.0.1:5", "peek": "http", "pool": "insert",
          "keep_alive": "trust" },
    ],
    "pools": {
        "raw": { "balance": "least_conn", "connect_timeout_ms": 300,
                 "servers": ["10.1.0.1:1", "10.1.0.2:1", "10.1.0.3:1"] },
        "sid": { "sticky": "socketio", "servers": ["10.2.0.1:1", "10.2.0.2:1"] },
        "cookie": { "sticky": { "by": "cookie", "name": "srv", "learn": true },
                    "servers": ["10.3.0.1:1", "10.3.0.2:1"] },
        "insert": { "sticky": { "by": "insert", "name": "srv", "secret": "secret" },
                    "servers": ["10.4.0.1:1", "10.4.0.2:1"] },
    },
}"#;

fn server_script(random: &mut Random, now_us: u64, peer: PeerId, bulk: u64) -> Script {
    if peer.0 < RAW_SERVERS {
        Script::raw(random, now_us, bulk)
    } else {
        Script::server(random, now_us)
    }
}

/// The edition behind that one.
fn edition(before: Option<&Edition>, text: &str, peers: &mut Peers) -> Arc<Edition> {
    let config = config::parse(text).expect("the configuration is right").config;
    let servers = |pool: &config::Pool| {
        let server = |server: &config::Server| {
            let config::ServerAddress::Address(address) = &server.address else {
                unreachable!("addresses only")
            };
            let (id, weight, backup) = (server.id.clone(), server.weight, server.backup);
            ServerSpec { address: address.clone(), id, weight, backup }
        };
        pool.servers.iter().map(server).collect()
    };
    let servers = config.pools.iter().map(servers).collect();
    Arc::new(Edition::succeeding(before, config, servers, peers, 0))
}

fn machine(random: &mut Random) -> Machine {
    let is_bulk = random.one_in(32);
    let buffers_max = if random.one_in(2) { 1 } else { 8 };
    Machine {
        buffers: 1 + random.below(buffers_max) as usize,
        buffer_size: 16 << random.below(if is_bulk { 9 } else { 5 }),
        pipe_size: 64 << random.below(if is_bulk { 12 } else { 5 }),
        window_max: if is_bulk { 2 << 20 } else { 16 << random.below(8) },
        bulk: if is_bulk { 3 << 20 } else { 20_000 },
        shortage: 4 + random.below(60),
        refusals: 2 + random.below(20),
        accept_burst: random.below(20) as usize,
    }
}

/// One worker in its world.
struct Simulation {
    world: Rc<RefCell<World>>,
    shared: Arc<Shared>,
    worker: Worker<Kernel>,
    orders: Sender<Order>,
    arrivals: u64,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let edition = edition(None, CONFIG, &mut Peers::default());
        let shared = Arc::new(Shared::new(Arc::clone(&edition), 1));
        let machine = machine(&mut random);
        let mut world = World::new(random.next(), machine, server_script);
        let listener = |number: usize| {
            let place =
                Placement { number: ListenerNumber(number as u32), listener: number as u16 };
            (place, Fd::new(world.listen(number)))
        };
        let listeners = (0..edition.config.listeners.len()).map(listener).collect();
        let world = Rc::new(RefCell::new(world));
        let (sender, _) = sync_channel(1);
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
            seed: random.next(),
        };
        let worker = Worker::new(Kernel::new(Rc::clone(&world)), Arc::clone(&shared), setup);
        let arrivals = 1 + random.below(80);
        Self { world, shared, worker, orders: orders_to, arrivals }
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
        for _ in 0..count {
            let listener = world.random.below(world.backlog.len() as u64) as usize;
            let (random, now_us) = (&mut world.random, world.now_us);
            let script = if listener < RAW_LISTENERS {
                Script::raw(random, now_us, world.machine.bulk)
            } else {
                Script::request(random, now_us)
            };
            let mut link = Link::new(Side::Client, script, random, world.machine.window_max);
            link.one_request = ONE_REQUEST_LISTENERS.contains(&listener);
            world.links.push(link);
            world.backlog[listener].push_back(world.links.len() - 1);
        }
    }

    fn turns(&mut self, count: u64) {
        for _ in 0..count {
            self.arrive();
            self.worker.turn().expect("the simulated kernel never fails");
            proof::check(&mut self.world.borrow_mut());
        }
    }

    fn order(&mut self, order: Order) {
        self.orders.send(order).expect("the worker is there");
        self.world.borrow_mut().rung = true;
    }

    fn closed(&self) -> u64 {
        CloseReason::ALL.iter().map(|&reason| self.shared.counters[0].closed(reason)).sum()
    }

    /// Everybody ends what they do, and no session may be left.
    fn finish(&mut self) {
        let patient =
            if self.world.borrow_mut().random.one_in(2) { Side::Client } else { Side::Server };
        self.world.borrow_mut().finish = Some(patient);
        for _ in 0..200_000 {
            let idle = self.world.borrow().backlog.iter().all(VecDeque::is_empty);
            if idle && self.arrivals == 0 && self.world.borrow().is_quiet() {
                proof::check_finished(&self.world.borrow());
                return;
            }
            self.turns(1);
        }
        let counters = &self.shared.counters[0];
        panic!(
            "{} sessions, {} ended: {}",
            counters.accepted(),
            self.closed(),
            self.world.borrow()
        );
    }

    /// The worker is stopped; the last act is emptiness.
    fn stop(mut self) -> u64 {
        self.arrive_at_once(self.arrivals);
        self.order(Order::Stop);
        self.world.borrow_mut().stopping = true;
        for _ in 0..10_000 {
            if self.worker.is_over() {
                break;
            }
            self.worker.turn().expect("the simulated kernel never fails");
        }
        assert!(self.worker.is_over(), "the worker does not stop: {}", self.world.borrow());
        self.world.borrow().assert_empty();
        assert_eq!(self.shared.counters[0].accepted(), self.closed(), "accepted == Σ closed");
        for server in self.shared.edition().pools.iter().flat_map(Pool::servers) {
            assert_eq!(server.live(), 0, "{server:?} counts sessions that ended");
        }
        self.closed()
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
    let mut sessions = 0;
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| simulate(seed))) {
            Ok(ended) => sessions += ended,
            Err(panic) => {
                eprintln!("SIM_SEED={seed} replays this");
                resume_unwind(panic);
            }
        }
    }
    eprintln!("{sessions} sessions");
}
