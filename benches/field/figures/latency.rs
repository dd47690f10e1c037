//! Latency at a rate that leaves room: half of what nginx stream can do at most.

use std::time::Duration;

use super::{Figure, requests};
use crate::Result;
use crate::bench::{Bench, start};
use crate::load::open_loop;
use crate::peers::Kind;
use crate::report::number;

const CLIENTS: usize = 64;
const MICRO: f64 = 1e6;

pub(super) fn latency(bench: &Bench) -> Result<Vec<Figure>> {
    let peers = start(bench, &[Kind::Ringway, Kind::NginxStream, Kind::HaproxyTcp, Kind::Direct])?;
    let nginx = peers.iter().find(|peer| peer.name == Kind::NginxStream.name());
    let nginx = nginx.ok_or("nginx stream is not among the balancers")?;
    let mut rate: f64 = 0.0;
    for _ in 0..3 {
        rate = rate.max(requests::peak(bench, nginx)? / 2.0);
    }
    let tracks = bench.interleave(&peers, &mut |peer, meter| {
        let aim = bench.aim(peer, CLIENTS, 1.0);
        meter.start()?;
        let latencies = open_loop::run(&aim, rate)?;
        meter.stop()?;
        let due = rate * aim.length.as_secs_f64();
        if (latencies.len() as f64) < due * 0.99 {
            return Err(format!("{} answers where {due:.0} were due", latencies.len()).into());
        }
        Ok(vec![at(&latencies, 0.5), at(&latencies, 0.99)])
    })?;
    let series = |column| tracks.iter().map(|track| track.series(column, MICRO)).collect();
    let note = "open loop at a fixed rate, 64 connections, from when a request was due; the \
                generator and the server, on one core, are in every number (see direct)";
    let title = |part: &str| format!("Latency {part} at {} requests/s", number(rate));
    let p50 = Figure::new("latency_p50", &title("p50"), "µs", series(0))
        .note(note)
        .compare("ringway", "nginx stream", Some((1.0, 0.8)))
        .compare("ringway", "haproxy tcp", None);
    let p99 = Figure::new("latency_p99", &title("p99"), "µs", series(1))
        .note(note)
        .compare("ringway", "nginx stream", Some((1.0, 0.8)))
        .compare("ringway", "haproxy tcp", None)
        .within_noise();
    Ok(vec![p50, p99])
}

/// In seconds; `latencies` are sorted.
fn at(latencies: &[Duration], part: f64) -> f64 {
    let place = (part * latencies.len().saturating_sub(1) as f64) as usize;
    latencies.get(place).map_or(f64::NAN, Duration::as_secs_f64)
}
