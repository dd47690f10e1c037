//! Load: one thread, on the core that the balancer does not have, with answers checked as they
//! come. The meter runs from the end of the warm-up to the end of the piece.

pub(crate) mod bulk;
pub(crate) mod exchange;
pub(crate) mod idle;
pub(crate) mod open_loop;
pub(crate) mod websocket;
pub(crate) mod wrk;

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use crate::Result;
use crate::meter::Meter;

/// Without any progress for this long, a piece has failed.
const STALL: Duration = Duration::from_secs(5);

/// Waits for events, not for ever: the window has to look at the clock.
fn await_events(poll: &mut Poll, events: &mut Events) -> Result<()> {
    match poll.poll(events, Some(Duration::from_millis(100))) {
        Err(error) if error.kind() != ErrorKind::Interrupted => Err(error.into()),
        _ => Ok(()),
    }
}

/// Where load goes, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Aim {
    pub(crate) target: SocketAddr,
    pub(crate) clients: usize,
    pub(crate) warm: Duration,
    pub(crate) length: Duration,
}

/// Warm-up, then piece, then over; starts and stops the meter in between.
struct Window<'a> {
    meter: &'a mut Meter,
    opens: Instant,
    closes: Instant,
    progress: Instant,
    /// True exactly when the meter runs.
    open: bool,
    count: u64,
}

impl<'a> Window<'a> {
    fn new(aim: &Aim, meter: &'a mut Meter) -> Self {
        let now = Instant::now();
        let opens = now + aim.warm;
        let closes = opens + aim.length;
        Self { meter, opens, closes, progress: now, open: false, count: 0 }
    }

    /// Something was done, and is counted if the meter runs.
    fn done(&mut self, count: u64) {
        self.progress = Instant::now();
        if self.open {
            self.count += count;
        }
    }

    /// Looks at the clock; false when the piece is over.
    fn goes_on(&mut self) -> Result<bool> {
        let now = Instant::now();
        if now - self.progress > STALL {
            return Err(format!("nothing came back for {STALL:?}").into());
        }
        if !self.open && now >= self.opens {
            self.open = true;
            self.meter.start()?;
        } else if self.open && now >= self.closes {
            self.meter.stop()?;
            return Ok(false);
        }
        Ok(true)
    }
}

/// Bytes of one read: a few would be enough for small answers, more makes large ones cheaper.
const CHUNK: usize = 128 * 1024;

/// What a read brought.
#[derive(PartialEq)]
enum Came {
    /// All there was, the end not among it.
    Some,
    End,
}

/// Reads what there is. `closed` says that the end is near, so that a short read proves nothing.
fn read_all(
    stream: &mut impl Read,
    closed: bool,
    chunk: &mut [u8],
    into: &mut Vec<u8>,
) -> Result<Came> {
    loop {
        match stream.read(chunk) {
            Ok(0) => return Ok(Came::End),
            Ok(count) => {
                into.extend_from_slice(&chunk[..count]);
                if count < chunk.len() && !closed {
                    return Ok(Came::Some);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Came::Some),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The head and body of an HTTP answer that has arrived whole.
struct Answer<'a> {
    body: &'a [u8],
    /// Bytes of head and body.
    length: usize,
    close: bool,
}

impl<'a> Answer<'a> {
    /// `None` while it is not whole; an error if it is anything but a 200 with its length.
    fn read(input: &'a [u8]) -> Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = head.parse(input)? else {
            return Ok(None);
        };
        if head.code != Some(200) {
            return Err(format!("answered {}", head.code.unwrap_or(0)).into());
        }
        let mut body = None;
        let mut close = false;
        for header in head.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") {
                body = Some(str::from_utf8(header.value)?.parse::<usize>()?);
            } else if header.name.eq_ignore_ascii_case("connection") {
                close = header.value.eq_ignore_ascii_case(b"close");
            }
        }
        let end = length + body.ok_or("an answer without Content-Length")?;
        Ok(input.get(length..end).map(|body| Self { body, length: end, close }))
    }
}
