//! What sessions cost while they only exist, and how they and their work spread over workers.

use std::fs;
use std::thread;
use std::time::Duration;

use super::Figure;
use crate::Result;
use crate::bench::{Bench, free_addresses, per, serve};
use crate::load::{Aim, idle, wrk};
use crate::meter::memory as memory_of;
use crate::peers::{self, Kind, Peer};
use crate::stats::Series;

/// Two descriptors each, of 20,000 where the limit cannot be raised.
const SESSIONS: usize = 9_500;
/// What a balancer allocates at its first sessions is not per session.
const WARM_SESSIONS: usize = 200;
/// Long enough for a balancer to have closed what its client closed.
const SETTLE: Duration = Duration::from_millis(300);
/// Sessions over four workers: as many as the generator has descriptors for.
const SPREAD_SESSIONS: usize = 10_000;
const SPREAD_WORKERS: usize = 4;

pub(super) fn memory(bench: &Bench) -> Result<Vec<Figure>> {
    let kinds = [Kind::Ringway, Kind::NginxStream, Kind::HaproxyTcp, Kind::TokioUring];
    let mut series: Vec<Series> = kinds
        .iter()
        .map(|kind| Series { name: kind.name().to_owned(), values: Vec::new(), disturbed: 0 })
        .collect();
    // Each in a new process: memory that was given back once hides what comes after.
    for _ in 0..repeats(bench) {
        for (kind, series) in kinds.iter().zip(&mut series) {
            let peer = peers::start(bench, *kind)?;
            let grown = growth(&peer).map_err(|error| format!("{}: {error}", peer.name))?;
            series.values.push(grown / SESSIONS as f64 / 1024.0);
        }
    }
    let figure = Figure::new("memory", "User memory per idle session", "KiB", series)
        .note(
            "9,500 sessions that have carried one exchange: growth of Pss over all processes. \
             The kernel's memory for two sockets is the same for all, and not in it",
        )
        .compare("ringway", "nginx stream", Some((0.06, 0.03)))
        .compare("ringway", "haproxy tcp", None)
        .compare("ringway", "tokio-uring relay", None);
    Ok(vec![figure])
}

/// These numbers hardly move: a few are enough to see that.
fn repeats(bench: &Bench) -> usize {
    bench.options.pieces.div_ceil(5)
}

/// Bytes by which a balancer grows when sessions come.
fn growth(peer: &Peer) -> Result<f64> {
    drop(idle::hold(peer.address, WARM_SESSIONS)?);
    thread::sleep(SETTLE);
    let before = memory_of(&peer.pids()?)?;
    let held = idle::hold(peer.address, SESSIONS)?;
    thread::sleep(SETTLE);
    let after = memory_of(&peer.pids()?)?;
    drop(held);
    Ok(after.saturating_sub(before) as f64)
}

/// How evenly the kernel and ringway share sessions out.
pub(super) fn spread(bench: &Bench) -> Result<Vec<Figure>> {
    let mut values = Vec::new();
    for _ in 0..repeats(bench) {
        let peer = ringway(bench, "ringway, 4 workers", SPREAD_WORKERS, &bench.servers)?;
        let held = idle::hold(peer.address, SPREAD_SESSIONS)?;
        let sockets = sockets_per_worker(peer.pids()?[0])?;
        drop(held);
        let most = sockets.iter().max().copied().unwrap_or(0) as f64;
        let all: usize = sockets.iter().sum();
        if sockets.len() != SPREAD_WORKERS || all < SPREAD_SESSIONS * 2 {
            return Err(format!("sockets per worker: {sockets:?}").into());
        }
        values.push(most * sockets.len() as f64 / all as f64);
    }
    let one = Series { name: "even".to_owned(), values: vec![1.0; values.len()], disturbed: 0 };
    let series = Series { name: "ringway, 4 workers".to_owned(), values, disturbed: 0 };
    let title = "Largest over mean sessions of a worker, 10,000 connections";
    let figure = Figure::new("spread", title, "", vec![series, one])
        .note("by the sockets in each worker's own descriptor table")
        .compare("ringway, 4 workers", "even", Some((1.10, 1.03)));
    Ok(vec![figure])
}

/// Every worker has a descriptor table of its own, which `/proc` shows with its thread.
fn sockets_per_worker(pid: i32) -> Result<Vec<usize>> {
    let mut sockets = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let name = fs::read_to_string(task.path().join("comm"))?;
        if !name.starts_with("worker-") {
            continue;
        }
        let entries = fs::read_dir(task.path().join("fd"))?.flatten();
        let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
        let sockets_of_it = links.filter(|link| link.to_string_lossy().starts_with("socket:["));
        sockets.push(sockets_of_it.count());
    }
    Ok(sockets)
}

/// Both cores carry load, server and balancer: more workers must not make it slower.
pub(super) fn workers(bench: &Bench) -> Result<Vec<Figure>> {
    let cores = [bench.options.load_core, bench.options.balancer_core];
    let address = free_addresses(1)?;
    let _server = serve(&cores, &address, &bench.scratch)?;
    let peers = [
        ringway(bench, "ringway, 2 workers", 2, &address)?,
        ringway(bench, "ringway, 1 worker", 1, &address)?,
    ];
    let tracks = bench.interleave(&peers, &mut |peer, meter| {
        let aim: Aim = bench.aim(peer, 64, 1.0);
        let requests = wrk::run(&aim, meter, &cores, 3, &bench.scratch)?;
        Ok(vec![1.0 / per(requests, meter)?[1]])
    })?;
    let series = tracks.iter().map(|track| track.series(0, 1e6).undisturbed()).collect();
    let title = "Time per keep-alive request, 2 workers on 2 cores over 1";
    let figure = Figure::new("workers", title, "µs", series)
        .note(
            "the inverse of throughput. Load and server share the two cores, so this only shows \
             that a second worker costs nothing",
        )
        .compare("ringway, 2 workers", "ringway, 1 worker", Some((1.0, 1.0)))
        .within_noise();
    Ok(vec![figure])
}

fn ringway(
    bench: &Bench,
    name: &'static str,
    workers: usize,
    servers: &[std::net::SocketAddr],
) -> Result<Peer> {
    let cores = [bench.options.load_core, bench.options.balancer_core];
    let address = free_addresses(1)?[0];
    let mut words = vec![format!("--listen={address}"), "--peek=none".to_owned()];
    words.push(format!("--workers={workers}"));
    words.extend(servers.iter().map(|server| format!("--to={server}")));
    peers::ringway(bench, name, &cores, address, &words)
}
