//! A run from start to end: servers, ringway, load; then trouble until the time is over; then
//! peace, in which everything has to be as it was; then the drain.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::{Duration, Instant};

use ringway::random::Random;
use ringway::sys::clock;
use ringway::sys::table;

use crate::Result;
use crate::balancer::{Balancer, Totals};
use crate::faults::Faults;
use crate::files::Places;
use crate::holdings::Holdings;
use crate::load::{Doors, Load, Mix, Tally};
use crate::options::Options;
use crate::plan::below;
use crate::report;
use crate::servers::{Deaths, Group, Servers};
use crate::socketio::{Rounds, SocketIo};

/// The load; about a third of what a core of ringway takes.
const MIX: Mix = Mix {
    churn_per_s: 200,
    aborts_per_s: 60,
    misfits_per_s: 10,
    bulks_per_s: 3,
    bulks: 6,
    talks: 300,
    stays: 0,
};

/// What is left for the drain: some end by themselves, the others are ended.
const LAST_MIX: Mix = Mix {
    churn_per_s: 0,
    aborts_per_s: 0,
    misfits_per_s: 0,
    bulks_per_s: 0,
    bulks: 0,
    talks: 40,
    stays: 40,
};

/// Milliseconds between two troubles of the servers, at least.
const PLAIN_TROUBLE_MS: u64 = 2_000;
/// Rarer, since a round of Socket.IO clients takes some seconds.
const CHAT_TROUBLE_MS: u64 = 12_000;

/// Milliseconds between two reloads, at most.
const RELOAD_MS: u64 = 1_500;

/// KiB that ringway may have grown by since it was warm: less than a KiB for each thing that a
/// minute does.
const GROWTH_KIB: u64 = 16 << 10;

/// Seconds in which everything has to be back at its level: sessions whose ends are gone have 5 s
/// to notice, and a listener half a second to leave.
const PEACE: Duration = Duration::from_secs(30);

/// Between lines about where it stands.
const TELL: Duration = Duration::from_secs(15);

/// Everything that was measured.
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) lasted: Duration,
    pub(crate) tally: Tally,
    pub(crate) last_tally: Tally,
    pub(crate) rounds: Rounds,
    pub(crate) reloads: [usize; 2],
    /// Kills and stops of both groups.
    pub(crate) troubles: [usize; 4],
    pub(crate) start: Holdings,
    pub(crate) warm: Holdings,
    pub(crate) end: Holdings,
    pub(crate) peace: Holdings,
    pub(crate) totals: Totals,
}

struct Run {
    places: Places,
    random: Random,
    faults: Arc<Faults>,
    balancer: Balancer,
    doors: Arc<Doors>,
    plain: Servers,
    chat: Servers,
    /// Good ones and wrong ones.
    reloads: [usize; 2],
}

/// Whether all was well.
pub(crate) fn run(options: &Options) -> Result<bool> {
    table::raise_descriptor_limit()?;
    let seed = options.seed.unwrap_or_else(|| clock::seed() >> 32);
    println!("soak: {} min, seed {seed}", options.minutes);
    let faults = Arc::new(Faults::default());
    let mut random = Random::new(seed);
    let places = Places::of_this_process();
    let _taken = TcpListener::bind(places.taken())?;
    let deaths = Arc::new(Deaths::default());
    let refusals = Arc::new(AtomicUsize::new(0));
    let servers = |group, addresses: &[_], every_ms| {
        Servers::start(group, addresses, every_ms, &deaths, &faults, &refusals)
    };
    let plain = servers(Group::Plain, &places.plain(), PLAIN_TROUBLE_MS)?;
    let chat = servers(Group::Chat, &places.chat(), CHAT_TROUBLE_MS)?;
    let file = places.plainest();
    let engine = options.engine.as_deref();
    let log = options.log()?;
    let balancer = Balancer::start(&options.ringway, &log, engine, &file.value, &faults)?;
    let start = Holdings::of(balancer.pid())?;
    println!("at the start: {start}");
    let doors = Arc::new(Doors::new(&file.doors, places.http()));
    let (load_seed, chat_seed) = (random.next(), random.next());
    let last_seed = random.next();
    let faults_here = Arc::clone(&faults);
    let mut run = Run { places, random, faults, balancer, doors, plain, chat, reloads: [0; 2] };
    let load = Load::start(load_seed, MIX, &run.doors, &deaths, &run.faults)?;
    let clients = SocketIo::start(chat_seed, places.http(), &deaths, &run.faults, &refusals)?;
    let began = Instant::now();
    let warm = run.trouble(began, Duration::from_secs(60 * options.minutes), &load)?;
    let end = Holdings::of(run.balancer.pid())?;
    let lasted = began.elapsed();
    run.make_peace()?;
    load.finish();
    let (rounds, tally) = (clients.wait()?, load.wait()?);
    let peace = run.peace(&start)?;
    let last = Load::start(last_seed, LAST_MIX, &run.doors, &deaths, &run.faults)?;
    let (totals, last_tally) = run.drain(last)?;
    let outcome = Outcome {
        seed,
        lasted,
        tally,
        last_tally,
        rounds,
        reloads: run.reloads,
        troubles: [run.plain.kills, run.plain.stops, run.chat.kills, run.chat.stops],
        start,
        warm,
        end,
        peace,
        totals,
    };
    report::check(&outcome, &run.balancer.ledger(), GROWTH_KIB, &run.faults);
    report::print(&outcome, &run.balancer.ledger(), &run.faults);
    Ok(faults_here.count() == 0)
}

impl Run {
    /// Reloads and troubles until the time is over. Returns what ringway held when it was warm.
    fn trouble(&mut self, began: Instant, lasting: Duration, load: &Load) -> Result<Holdings> {
        let (mut reload, mut tell) = (began, began + TELL);
        let mut warm = None;
        loop {
            thread::sleep(Duration::from_millis(10));
            let now = Instant::now();
            if now - began >= lasting {
                return warm.map_or_else(|| Holdings::of(self.balancer.pid()), Ok);
            }
            if warm.is_none() && now - began >= lasting / 4 {
                warm = Some(Holdings::of(self.balancer.pid())?);
            }
            self.plain.look(now, &mut self.random)?;
            self.chat.look(now, &mut self.random)?;
            if now >= reload {
                self.reload()?;
                reload = now + Duration::from_millis(50 + below(&mut self.random, RELOAD_MS));
            }
            if now >= tell {
                tell += TELL;
                println!(
                    "{:>5} s: {} sessions, {} reloads, {} kills, {} wrong; {}",
                    (now - began).as_secs(),
                    load.live(),
                    self.reloads[0],
                    self.plain.kills + self.chat.kills,
                    self.faults.count(),
                    Holdings::of(self.balancer.pid())?
                );
            }
        }
    }

    fn reload(&mut self) -> Result<()> {
        if below(&mut self.random, 6) == 0 {
            self.reloads[1] += 1;
            return self.balancer.reload_wrong(&self.places.wrong(&mut self.random));
        }
        let file = self.places.any(&mut self.random);
        self.doors.leave(&file.doors);
        if self.balancer.reload(&file.value)? {
            self.doors.set(&file.doors);
        }
        self.reloads[0] += 1;
        Ok(())
    }

    /// All servers run, and the file is that of the start.
    fn make_peace(&mut self) -> Result<()> {
        self.plain.settle()?;
        self.chat.settle()?;
        let file = self.places.plainest();
        self.doors.leave(&file.doors);
        self.balancer.reload(&file.value).map(|_| ())
    }

    /// Nobody connects: what ringway holds once that is what it held at the start, or too late.
    fn peace(&mut self, start: &Holdings) -> Result<Holdings> {
        let until = Instant::now() + PEACE;
        loop {
            let held = Holdings::of(self.balancer.pid())?;
            let left = self.plain.connections()? + self.chat.connections()?;
            let is_back = held.is_back_at(start) && left == 0;
            if is_back || Instant::now() > until {
                println!("in peace: {held}");
                if left > 0 {
                    self.faults.add(format_args!("servers hold {left} connections nobody made"));
                }
                return Ok(held);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGTERM, with sessions that go on.
    fn drain(&mut self, last: Load) -> Result<(Totals, Tally)> {
        let until = Instant::now() + PEACE;
        let all = LAST_MIX.talks + LAST_MIX.stays;
        // Some talks are short, so that there are not always as many as there were.
        while last.answered() < all - LAST_MIX.talks / 4 && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        last.finish();
        self.balancer.drain()?;
        let totals = self.balancer.wait()?;
        Ok((totals, last.wait()?))
    }
}
