//! `make scale N=100000`: holds N sessions through one ringway process and says what they cost.
//!
//! ```text
//! clients (a thread and a source address for each 12,000) ─▶ ringway ─▶ servers (a thread and a
//! port for each 12,000; with --one-server, one port)
//! ```
//!
//! Every thread here has a descriptor table of its own, as ringway's workers have, so all of it
//! runs under the `ulimit -n` of one process. Nothing leaves loopback; ringway is ended by its pid,
//! and by the kernel if this program dies first.

mod options;

mod course;
mod servers;

mod clients;

mod balancer;
mod machine;

mod report;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use balancer::Balancer;
use clients::Clients;
use course::Course;
use machine::{FileMax, Limits, Memory};
use options::Options;
use report::{Measured, Ramp};
use servers::Servers;

/// Sessions a thread holds on either end: well below the 20,000 descriptors of its table, and
/// below half the ports one source address has, where the kernel still finds a free one at once.
const SESSIONS_PER_THREAD: usize = 12_000;

/// Share of its sessions a worker is meant to get. The kernel hashes connections to workers, so
/// one of 100 workers with 9,744 places gets about 3.5 % more than the mean; a worker that is full
/// stops accepting, and what is hashed to it waits in its backlog.
const WORKER_SHARE_PERCENT: usize = 90;

/// Share of the open files of the whole machine (fs.file-max) that a ramp may bring it to: root may
/// open more, but no other user could open any.
const FILES_SHARE_PERCENT: u64 = 95;

/// Without a new session for so long, the ramp is over.
const STALLED: Duration = Duration::from_secs(20);

/// Answers that are late by more than this are not waited for.
const ANSWERS: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    let options = Options::parse();
    let measured = match measure(&options) {
        Ok(measured) => measured,
        Err(why) => {
            eprintln!("scale: {why}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(why) = report::write(&options, &measured) {
        eprintln!("scale: the report cannot be written: {why}");
        return ExitCode::FAILURE;
    }
    if measured.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(options: &Options) -> Result<Measured, Box<dyn std::error::Error>> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let descriptors = options.descriptors.min(hard);
    setrlimit(Resource::RLIMIT_NOFILE, descriptors, descriptors)?;

    // Four sockets a session, rings, and as many files again as are open now.
    let most = 4 * options.sessions as u64 + 2 * machine::files()? + 10_000;
    let files = most * 100 / FILES_SHARE_PERCENT;
    let _file_max = options.raise_file_max.then(|| FileMax::raise(files)).transpose()?;

    let threads = options.sessions.div_ceil(SESSIONS_PER_THREAD);
    let course = Arc::new(Course::new(options));
    let servers = Servers::start(threads, options.one_server, &course)?;
    let per_worker = Balancer::start(1, &servers.addresses)?.sessions_per_worker;
    let workers = options.sessions.div_ceil(per_worker * WORKER_SHARE_PERCENT / 100);
    let mut balancer = Balancer::start(workers, &servers.addresses)?;
    let before = Memory::now(balancer.pid())?;
    println!("{} sessions over {workers} workers with {per_worker} places", options.sessions);

    let clients = Clients::start(options.sessions, threads, balancer.address, &course)?;
    let ramp = ramp(options, &course, &before)?;
    let ramped = Memory::now(balancer.pid())?;
    let cpu_before_us = balancer.cpu_us()?;
    hold(options, &course);
    let cpu_us = balancer.cpu_us()? - cpu_before_us;
    let held = Memory::now(balancer.pid())?;
    let sessions = course.held.load(Relaxed);
    let (per_server, per_source) = (servers.held(), servers.by_source());
    let per_worker_held = balancer.sessions_by_worker()?;

    println!("closing {sessions}");
    course.close();
    let tally = clients.finish();
    wait_until(Duration::from_secs(60), || servers.held().iter().sum::<usize>() == 0);
    let left_at_workers = balancer.sessions_by_worker()?.iter().sum();
    let totals = balancer.stop()?;
    servers.finish(&course);
    Ok(Measured {
        workers,
        per_worker,
        threads,
        descriptors,
        sessions,
        ramp,
        tally,
        before,
        ramped,
        held,
        cpu_us,
        per_server,
        per_source,
        per_worker_held,
        left_at_workers,
        totals,
    })
}

/// Until every session stands, or no more will.
fn ramp(options: &Options, course: &Course, before: &Memory) -> Result<Ramp, machine::Unreadable> {
    let start = Instant::now();
    let floor_kib = before.available_kib * (100 - options.memory) / 100;
    let files_most = Limits::now()?.files * FILES_SHARE_PERCENT / 100;
    let (mut last, mut last_growth) = (0, start);
    let mut best_per_s = 0;
    let mut second = Instant::now();
    let mut at_second = 0;
    let mut stopped = None;
    while stopped.is_none() {
        thread::sleep(Duration::from_millis(50));
        let held = course.held.load(Relaxed);
        let settled = held + course.failed.load(Relaxed);
        if settled > last {
            (last, last_growth) = (settled, Instant::now());
        }
        if second.elapsed() >= Duration::from_secs(1) {
            let per_s = (held - at_second) as f64 / second.elapsed().as_secs_f64();
            best_per_s = best_per_s.max(per_s as usize);
            (second, at_second) = (Instant::now(), held);
            println!("{held} held, {per_s:.0}/s");
        }
        stopped = if settled >= options.sessions {
            Some("every session was tried")
        } else if machine::available_kib()? < floor_kib {
            Some("memory: the share a ramp may use is used")
        } else if machine::files()? > files_most {
            Some("fs.file-max: the rest is left to other programs")
        } else if last_growth.elapsed() > STALLED {
            Some("no new session for 20 s")
        } else {
            None
        };
    }
    course.stop_opening();
    let seconds = last_growth.duration_since(start).as_secs_f64();
    wait_until(ANSWERS, || course.in_flight.load(Relaxed) == 0);
    Ok(Ramp { seconds, best_per_s, stopped: stopped.unwrap_or_default() })
}

/// Messages flow, then the last answers come in.
fn hold(options: &Options, course: &Course) {
    println!("{} held; {} s of {}", course.held.load(Relaxed), options.hold, options.load());
    course.hold();
    thread::sleep(Duration::from_secs(options.hold));
    // A thread that was late has some of its last messages still to send.
    thread::sleep(Duration::from_secs(1));
    wait_until(ANSWERS, || course.in_flight.load(Relaxed) == 0);
}

fn wait_until(most: Duration, done: impl Fn() -> bool) {
    let end = Instant::now() + most;
    while !done() && Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
    }
}
