//! CPU per gigabyte and per WebSocket message.

use super::Figure;
use crate::Result;
use crate::bench::{Bench, Track, per, start};
use crate::load::websocket::{self, Kind as Messages};
use crate::load::{bulk, exchange};
use crate::pattern;
use crate::peers::Kind;
use crate::stats::Series;

const STREAMS: usize = 4;
/// CPU seconds for one byte to milliseconds for a gigabyte.
const PER_GB: f64 = 1e9 * 1e3;
const MICRO: f64 = 1e6;

const LAYER_4: [Kind; 4] =
    [Kind::Ringway, Kind::NginxStream, Kind::HaproxyTcp, Kind::HaproxySplice];

pub(super) fn bulk(bench: &Bench) -> Result<Vec<Figure>> {
    let others = [Kind::RingwaySystem, Kind::TokioUring, Kind::TokioUringDefault];
    let peers = start(bench, &[&LAYER_4[..], &others].concat())?;
    let tracks = bench.interleave(&peers, &mut |peer, meter| {
        let aim = bench.aim(peer, STREAMS, 0.6);
        per(bulk::run(&aim, meter)?, meter)
    })?;
    let figure = Figure::new("bulk", "CPU per GB, 4 streams", "ms", costs(&tracks, PER_GB))
        .note(
            "nginx and plain haproxy copy; haproxy with splice forced is the peer to beat. Both \
             ends are on loopback, where ringway uses reno: where the machine's congestion \
             control is bbr, its pacing timers are much of what the others spend, and of what \
             ringway spends with loopback_congestion: system, or to clients of another host",
        )
        .compare("ringway", "nginx stream", Some((0.33, 0.25)))
        .compare("ringway", "haproxy tcp, splice forced", Some((0.50, 0.40)))
        .compare("ringway", "haproxy tcp", None)
        .compare("ringway, system congestion", "haproxy tcp, splice forced", None)
        .compare("ringway", "tokio-uring relay", None);
    Ok(vec![figure])
}

pub(super) fn websocket(bench: &Bench) -> Result<Vec<Figure>> {
    const FIELD: [Kind; 5] =
        [Kind::Ringway, Kind::NginxHttp, Kind::NginxStream, Kind::HaproxyTcp, Kind::HaproxyHttp];
    let rows = [
        (
            "echo",
            "CPU per WebSocket echo",
            Messages::Echo,
            64,
            "64 clients, messages of 100 bytes; after the upgrade every balancer only passes bytes",
        ),
        (
            "fan_out",
            "CPU per WebSocket message to one of 1,000 clients",
            Messages::Fan,
            1000,
            "one client sends 100 bytes, the server sends them to 1,000; then the next",
        ),
    ];
    let mut figures = Vec::new();
    for (id, title, kind, clients, note) in rows {
        let peers = start(bench, &FIELD)?;
        let tracks = bench.interleave(&peers, &mut |peer, meter| {
            let aim = bench.aim(peer, clients, 0.6);
            per(websocket::run(&aim, meter, kind, 100)?, meter)
        })?;
        let figure = Figure::new(id, title, "µs", costs(&tracks, MICRO))
            .note(note)
            .compare("ringway", "nginx http", Some((0.80, 0.70)))
            .compare("ringway", "nginx stream", None)
            .compare("ringway", "haproxy tcp", None)
            .compare("ringway", "haproxy http", None);
        figures.push(figure);
    }
    Ok(figures)
}

pub(super) fn objects(bench: &Bench) -> Result<Vec<Figure>> {
    const SIZES: [(usize, &str, &str); 5] = [
        (4 << 10, "object_4k", "4 KiB"),
        (16 << 10, "object_16k", "16 KiB"),
        (64 << 10, "object_64k", "64 KiB"),
        (256 << 10, "object_256k", "256 KiB"),
        (1 << 20, "object_1m", "1 MiB"),
    ];
    let mut figures = Vec::new();
    for (size, id, words) in SIZES {
        let peers = start(bench, &LAYER_4)?;
        let request = format!("GET /{size} HTTP/1.1\r\nHost: bench.example\r\n\r\n").into_bytes();
        let tracks = bench.interleave(&peers, &mut |peer, meter| {
            let aim = bench.aim(peer, 16, 0.4);
            let count = exchange::run(&aim, meter, &mut |_, body| match body {
                Some(body) if body.len() != size || !pattern::fits(0, body) => {
                    Err("wrong bytes".into())
                }
                _ => Ok(request.clone()),
            })?;
            per(count * size as u64, meter)
        })?;
        let series = costs(&tracks, PER_GB);
        let peers = series.iter().skip(1);
        let best = peers.min_by(|a, b| a.lower_quartile().total_cmp(&b.lower_quartile()));
        let best = best.map(|series| series.name.clone()).unwrap_or_default();
        let title = format!("CPU per GB, objects of {words}");
        let figure = Figure::new(id, &title, "ms", series)
            .note("16 keep-alive connections; against the best layer-4 peer at this size")
            .compare("ringway", &best, Some((1.0, 0.8)));
        figures.push(figure);
    }
    Ok(figures)
}

fn costs(tracks: &[Track], scale: f64) -> Vec<Series> {
    tracks.iter().map(|track| track.series(0, scale)).collect()
}
