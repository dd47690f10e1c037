//! Requests at a fixed rate, whether or not earlier ones are answered, over a fixed set of
//! connections.
//!
//! Latency is counted from the moment a request was due, not from when it could be sent: a stall
//! is felt by everything that was due in it (no coordinated omission).

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::{Aim, Answer, CHUNK, Came, idle, read_all};
use crate::{Result, pattern};

const REQUEST: &[u8] = b"GET /3 HTTP/1.1\r\nHost: bench.example\r\n\r\n";
/// A balancer that falls this many requests behind cannot carry the rate.
const BEHIND_MAX: usize = 100_000;

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    due: Instant,
}

/// Latencies of the requests due after the warm-up, sorted.
pub(crate) fn run(aim: &Aim, requests_per_s: f64) -> Result<Vec<Duration>> {
    let mut poll = Poll::new()?;
    let mut clients = Vec::new();
    for number in 0..aim.clients {
        let stream = idle::open(aim.target)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
        clients.push(Client { stream, input: Vec::new(), due: Instant::now() });
    }
    // epoll waits whole milliseconds; requests are due every few dozen microseconds.
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
    let fd = timer.as_fd().as_raw_fd();
    poll.registry().register(&mut SourceFd(&fd), Token(aim.clients), Interest::READABLE)?;

    let interval = Duration::from_secs_f64(1.0 / requests_per_s);
    let start = Instant::now();
    let (opens, closes) = (start + aim.warm, start + aim.warm + aim.length);
    let mut next_due = start;
    let mut waiting = VecDeque::new();
    let mut free: Vec<usize> = (0..aim.clients).collect();
    let mut latencies = Vec::new();
    let mut chunk = vec![0; CHUNK];
    let mut events = Events::with_capacity(256);
    while next_due < closes || !waiting.is_empty() || free.len() < aim.clients {
        let now = Instant::now();
        while next_due <= now && next_due < closes {
            waiting.push_back(next_due);
            next_due += interval;
        }
        if waiting.len() > BEHIND_MAX {
            return Err(format!("{requests_per_s:.0} requests a second are too many").into());
        }
        while let (Some(&number), Some(&due)) = (free.last(), waiting.front()) {
            let client = &mut clients[number];
            client.due = due;
            client.stream.write_all(REQUEST)?;
            free.pop();
            waiting.pop_front();
        }
        let pause = next_due.saturating_duration_since(Instant::now());
        let pause = TimeSpec::from_duration(pause.max(Duration::from_nanos(1)));
        timer.set(Expiration::OneShot(pause), TimerSetTimeFlags::empty())?;
        match poll.poll(&mut events, Some(super::STALL)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            let Token(number) = event.token();
            let Some(client) = clients.get_mut(number) else {
                continue;
            };
            if client.has_answer(&mut chunk)? {
                free.push(number);
                if client.due >= opens {
                    latencies.push(client.due.elapsed());
                }
            }
        }
    }
    latencies.sort_unstable();
    Ok(latencies)
}

impl Client {
    fn has_answer(&mut self, chunk: &mut [u8]) -> Result<bool> {
        if read_all(&mut self.stream, false, chunk, &mut self.input)? == Came::End {
            return Err("ended early".into());
        }
        let Some(answer) = Answer::read(&self.input)? else {
            return Ok(false);
        };
        let right = answer.body.len() == 3 && pattern::fits(0, answer.body);
        self.input.clear();
        if right { Ok(true) } else { Err("wrong bytes".into()) }
    }
}
