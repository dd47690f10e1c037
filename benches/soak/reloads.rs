//! `make soak-reload`: a reload every 100 ms for 30 s, each with other listeners, servers and
//! weights, under 2,000 live WebSockets and 1,000 new connections a second.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use ringway::random::Random;
use ringway::sys::{clock, table};

use crate::Result;
use crate::balancer::Balancer;
use crate::faults::Faults;
use crate::files::Places;
use crate::holdings::Holdings;
use crate::load::Doors;
use crate::options::Options;
use crate::visitors::{Signs, Visitors};
use crate::web::Web;

const SOCKETS: usize = 2_000;
const VISITS_PER_S: u64 = 1_000;
const EVERY: Duration = Duration::from_millis(100);

/// Before anything is measured: they take 70 s, since a deadline stays in ringway's timer wheel for
/// a turn of it (65 s), whether its session is still there or not.
const WARM: usize = 700;

/// KiB that ringway may have grown by over all reloads: what an allocator needs to move about in.
const GROWTH_KIB: u64 = 2 << 10;

/// Seconds until all are connected, or all have left.
const SETTLING: Duration = Duration::from_secs(60);

struct Reloads {
    places: Places,
    random: Random,
    balancer: Balancer,
    doors: Arc<Doors>,
    /// Listeners that came, and that went.
    came: usize,
    went: usize,
}

/// Whether all was well.
pub(crate) fn run(options: &Options) -> Result<bool> {
    table::raise_descriptor_limit()?;
    let seed = options.seed.unwrap_or_else(|| clock::seed() >> 32);
    println!("soak: reloads, seed {seed}");
    let faults = Arc::new(Faults::default());
    let places = Places::of_this_process();
    let web = Web::start(&places.web())?;
    let file = places.web_file(&mut Random::new(seed));
    let (log, engine) = (options.log()?, options.engine.as_deref());
    let balancer = Balancer::start(&options.ringway, &log, engine, &file.value, &faults)?;
    let doors = Arc::new(Doors::new(&file.doors, places.http()));
    let visitors = Visitors::start(SOCKETS, &doors, &faults)?;
    let signs = Arc::clone(&visitors.signs);
    let (random, came, went) = (Random::new(seed), 0, 0);
    let mut run = Reloads { places, random, balancer, doors, came, went };

    settle("WebSockets", || signs.live.load(Relaxed) == SOCKETS)?;
    signs.visits_per_s.store(VISITS_PER_S, Relaxed);
    run.reload(WARM)?;
    let before = run.quiet(&signs)?;
    let (echoes, visits) = (signs.echoes.load(Relaxed), signs.visited.load(Relaxed));
    (run.came, run.went) = (0, 0);
    let began = Instant::now();
    signs.visits_per_s.store(VISITS_PER_S, Relaxed);
    run.reload(options.reloads)?;
    let seconds = began.elapsed().as_secs_f64();
    let after = run.quiet(&signs)?;
    let (echoes, visits) =
        (signs.echoes.load(Relaxed) - echoes, signs.visited.load(Relaxed) - visits);

    let mut tally = visitors.finish()?;
    run.balancer.drain()?;
    let totals = run.balancer.wait()?;
    web.stop()?;
    if totals.accepted != tally.connected || totals.closed != totals.accepted {
        let connected = tally.connected;
        faults.add(format_args!("{connected} connections, but {totals:?}"));
    }
    if !after.is_no_more_than(&before) || after.resident_kib > before.resident_kib + GROWTH_KIB {
        faults.add(format_args!("grown: {after}, before {before}"));
    }
    if visits < options.reloads * (EVERY.as_millis() as usize) * 9 / 10 {
        faults.add(format_args!("the load was not made: {visits} visits"));
    }
    println!(
        "reloads             {} in {seconds:.1} s; {} listeners came, {} went",
        options.reloads, run.came, run.went
    );
    println!(
        "WebSockets          {SOCKETS} live, {echoes} echoes, {} lost; {}",
        tally.lost_sockets,
        percentiles(&mut tally.echo_us)
    );
    println!(
        "new connections     {visits}, {:.0}/s, {} failed; {}",
        visits as f64 / seconds,
        tally.failed_visits,
        percentiles(&mut tally.visit_us)
    );
    println!("before              {before}");
    println!("after               {after}");
    println!(
        "ringway's account   accepted {}, closed {}; connections that stood: {}",
        totals.accepted, totals.closed, tally.connected
    );
    match faults.count() {
        0 => println!("nothing is wrong"),
        count => println!("{count} wrong, see above"),
    }
    Ok(faults.count() == 0)
}

impl Reloads {
    /// So many reloads, one each 100 ms.
    fn reload(&mut self, count: usize) -> Result<()> {
        let mut due = Instant::now();
        for _ in 0..count {
            due += EVERY;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let file = self.places.web_file(&mut self.random);
            let before = self.doors.leave(&file.doors);
            let staying = before.iter().filter(|door| file.doors.contains(door)).count();
            self.came += file.doors.len() - staying;
            self.went += before.len() - staying;
            if self.balancer.reload(&file.value)? {
                self.doors.set(&file.doors);
            }
        }
        Ok(())
    }

    /// No new connections: what is held, once visitors and listeners have left.
    fn quiet(&self, signs: &Signs) -> Result<Holdings> {
        signs.visits_per_s.store(0, Relaxed);
        settle("visitors", || signs.visiting.load(Relaxed) == 0)?;
        let all = 2 * SOCKETS;
        let until = Instant::now() + SETTLING;
        loop {
            // Listeners have half a second to leave.
            thread::sleep(Duration::from_secs(1));
            let held = Holdings::of(self.balancer.pid())?;
            if held.connected == all || Instant::now() > until {
                return Ok(held);
            }
        }
    }
}

fn settle(what: &str, is_done: impl Fn() -> bool) -> Result<()> {
    let until = Instant::now() + SETTLING;
    while !is_done() {
        if Instant::now() > until {
            return Err(format!("{what} have not settled in {SETTLING:?}").into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn percentiles(us: &mut [u64]) -> String {
    us.sort_unstable();
    let at = |share: f64| {
        let place = (us.len().saturating_sub(1) as f64 * share) as usize;
        us.get(place).map_or(0.0, |&us| us as f64 / 1000.0)
    };
    format!("p50 {:.1} ms, p99 {:.1}, most {:.1}", at(0.5), at(0.99), at(1.0))
}
