//! CPU per HTTP request: on connections that stay, on connections of their own, with a head that
//! is read, and by Socket.IO's polling.

use super::Figure;
use crate::bench::{Bench, per, start};
use crate::load::{exchange, wrk};
use crate::meter::Meter;
use crate::peers::{Kind, Peer};
use crate::stats::Series;
use crate::{Result, pattern};

const CLIENTS: usize = 64;
/// Seconds to microseconds.
const MICRO: f64 = 1e6;

const FIELD: [Kind; 9] = [
    Kind::Ringway,
    Kind::NginxStream,
    Kind::NginxHttp,
    Kind::HaproxyTcp,
    Kind::HaproxySplice,
    Kind::HaproxyHttp,
    Kind::TokioUring,
    Kind::TokioUringDefault,
    Kind::Direct,
];

pub(super) fn keep_alive(bench: &Bench) -> Result<Vec<Figure>> {
    let peers = start(bench, &FIELD)?;
    let cores = [bench.options.load_core];
    let tracks = bench.interleave(&peers, &mut |peer, meter| {
        let aim = bench.aim(peer, CLIENTS, 1.0);
        let requests = wrk::run(&aim, meter, &cores, 3, &bench.scratch)?;
        per(requests, meter)
    })?;
    let cpu = costs(&tracks);
    let rates = tracks.iter().map(|track| track.series(1, 1.0)).collect();
    let figure = Figure::new("keep_alive", "CPU per keep-alive request", "µs", cpu)
        .note(
            "wrk, 64 connections, answers of 3 bytes. The http balancers read the head of every \
             request, the others none, which is most of the difference between the two kinds. The \
             tokio-uring relay is nothing but two copy loops",
        )
        .compare("ringway", "nginx stream", Some((0.94, 0.85)))
        .compare("ringway", "nginx http", Some((0.80, 0.70)))
        .compare("ringway", "haproxy tcp", None)
        .compare("ringway", "haproxy tcp, splice forced", None)
        .compare("ringway", "haproxy http", None)
        .compare("ringway", "tokio-uring relay", None);
    let rates = Figure::new("keep_alive_rate", "Keep-alive requests per second", "1/s", rates)
        .more_is_better()
        .note("load and server share one core, which is what limits the rate of most");
    Ok(vec![figure, rates])
}

pub(super) fn close(bench: &Bench) -> Result<Vec<Figure>> {
    let peers = start(bench, &FIELD)?;
    let tracks = bench.interleave(&peers, &mut |peer, meter| {
        let aim = bench.aim(peer, CLIENTS, 0.6);
        let request = b"GET /3 HTTP/1.1\r\nHost: bench.example\r\nConnection: close\r\n\r\n";
        let count = exchange::run(&aim, meter, &mut |_, body| match body {
            Some(body) if body != pattern::bytes(0, 3) => Err("wrong bytes".into()),
            _ => Ok(request.to_vec()),
        })?;
        per(count, meter)
    })?;
    let title = "CPU per connect+request+close";
    let figure = Figure::new("close", title, "µs", costs(&tracks))
        .note(
            "64 clients, a connection for each request. nginx http and haproxy http keep their \
             connections to the server and so make half as many: they are another trade, which a \
             balancer that passes bytes untouched cannot make",
        )
        .compare("ringway", "nginx stream", Some((0.90, 0.80)))
        .compare("ringway", "haproxy tcp", None)
        .compare("ringway", "haproxy tcp, splice forced", None)
        .compare("ringway", "nginx http", None)
        .compare("ringway", "haproxy http", None)
        .compare("ringway", "tokio-uring relay", None);
    Ok(vec![figure])
}

/// What it costs ringway to read heads: one server, and requests with a sid it has learned.
pub(super) fn peek(bench: &Bench) -> Result<Vec<Figure>> {
    let peers = start(bench, &[Kind::RingwayHttp, Kind::Ringway])?;
    let tracks = bench.interleave(&peers, &mut |peer, meter| {
        let aim = bench.aim(peer, CLIENTS, 0.6);
        per(exchange::run(&aim, meter, &mut polls("close", false))?, meter)
    })?;
    let title = "CPU per connect+request+close, heads read or not";
    let figure = Figure::new("peek", title, "µs", costs(&tracks))
        .note(
            "POSTs of Socket.IO with a sid: the head is read twice (request and response), the sid \
             looked up, and both heads get Connection: close",
        )
        .compare("ringway, http + Host + socketio", "ringway", Some((1.06, 1.03)));
    Ok(vec![figure])
}

pub(super) fn polling(bench: &Bench) -> Result<Vec<Figure>> {
    let peers = start(bench, &[Kind::RingwaySocketIo, Kind::NginxIpHash])?;
    let tracks = bench.interleave(&peers, &mut |peer, meter| {
        let aim = bench.aim(peer, CLIENTS, 0.6);
        per(exchange::run(&aim, meter, &mut polls("keep-alive", true))?, meter)
    })?;
    let figure = Figure::new("polling", "CPU per poll of Socket.IO", "µs", costs(&tracks))
        .note(
            "64 clients, 4 servers, alternately a POST and a GET that brings it back. ringway \
             makes a connection for each poll (one_request) and spreads these clients over four \
             servers; nginx keeps its connections and sends all clients of one address to one \
             server. Shown as it is",
        )
        .compare("ringway, socketio", "nginx http, ip_hash", None);
    Ok(vec![figure])
}

/// Clients of Socket.IO by polling: a handshake, then POSTs, with a GET after each if it shall be
/// read back.
fn polls(
    connection: &'static str,
    read_back: bool,
) -> impl FnMut(usize, Option<&[u8]>) -> Result<Vec<u8>> {
    const MESSAGE: &str = "42[\"message\",\"what is said\"]";
    let mut sids: Vec<Option<String>> = vec![None; CLIENTS];
    let mut posted = [false; CLIENTS];
    move |client, body| {
        let head = |method: &str, sid: &str, rest: &str| {
            format!(
                "{method} /socket.io/?EIO=4&transport=polling{sid} HTTP/1.1\r\n\
                 Host: bench.example\r\nConnection: {connection}\r\n{rest}"
            )
        };
        let Some(body) = body else {
            sids[client] = None;
            return Ok(head("GET", "", "\r\n").into_bytes());
        };
        let body = str::from_utf8(body)?;
        let Some(sid) = &sids[client] else {
            let sid = body.split('"').nth(3).filter(|_| body.starts_with("0{\"sid\":\""));
            let sid = format!("&sid={}", sid.ok_or_else(|| format!("no handshake: {body}"))?);
            sids[client] = Some(sid);
            posted[client] = true;
            return Ok(post(&head, sids[client].as_deref().unwrap_or(""), MESSAGE));
        };
        let right = if posted[client] { body == "ok" } else { body == MESSAGE };
        if !right {
            return Err(format!("not what was posted: {body}").into());
        }
        posted[client] = !read_back || !posted[client];
        Ok(match posted[client] {
            true => post(&head, sid, MESSAGE),
            false => head("GET", sid, "\r\n").into_bytes(),
        })
    }
}

fn post(head: &dyn Fn(&str, &str, &str) -> String, sid: &str, message: &str) -> Vec<u8> {
    let rest =
        format!("Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{message}", message.len());
    head("POST", sid, &rest).into_bytes()
}

/// CPU of all that have some: not of the server itself.
fn costs(tracks: &[crate::bench::Track]) -> Vec<Series> {
    let tracks = tracks.iter().filter(|track| track.name() != Kind::Direct.name());
    tracks.map(|track| track.series(0, MICRO)).collect()
}

/// The rate that wrk reaches through a balancer, requests per second.
pub(super) fn peak(bench: &Bench, peer: &Peer) -> Result<f64> {
    let mut meter = Meter::new(peer.pids()?, bench.options.balancer_core);
    let aim = bench.aim(peer, CLIENTS, 1.0);
    let cores = [bench.options.load_core];
    let requests = wrk::run(&aim, &mut meter, &cores, 3, &bench.scratch)?;
    Ok(per(requests, &meter)?[1])
}
