//! Clients of the reloads, on one thread: WebSockets that stay and get every message back, and
//! visitors, each on a connection of its own.

use std::fmt::Display;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::Result;
use crate::faults::Faults;
use crate::load::Doors;
use crate::numbers;
use crate::websocket::{self, ACCEPT, KEY};

/// Milliseconds between two messages of a WebSocket.
const EVERY_MS: u64 = 1_000;

/// Milliseconds between looks at the time.
const LOOK_MS: u64 = 2;

/// Connections opened at one look: what a thread that was kept waiting makes up for.
const BURST: usize = 50;

/// WebSockets whose handshakes are under way at once.
const OPENING: usize = 200;

/// Whoever waits longer for an answer is lost: longer than any connect is tried again for.
const LOST: Duration = Duration::from_secs(20);

/// Bytes of one read; no answer here is as long.
const CHUNK: usize = 16 << 10;

/// Any will do: what matters is that clients mask.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What the main thread says, and what is counted for it.
#[derive(Default)]
pub(crate) struct Signs {
    pub(crate) visits_per_s: AtomicU64,
    finish: AtomicBool,
    /// WebSockets that have had an answer.
    pub(crate) live: AtomicUsize,
    /// Visitors who are there.
    pub(crate) visiting: AtomicUsize,
    pub(crate) visited: AtomicUsize,
    pub(crate) echoes: AtomicUsize,
}

/// What became of all.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connected: u64,
    pub(crate) failed_visits: usize,
    pub(crate) lost_sockets: usize,
    /// Microseconds from connecting to the end of the answer.
    pub(crate) visit_us: Vec<u64>,
    /// Microseconds from a message to its echo.
    pub(crate) echo_us: Vec<u64>,
}

/// Clients at work.
pub(crate) struct Visitors {
    thread: JoinHandle<Result<Tally>>,
    pub(crate) signs: Arc<Signs>,
}

impl Visitors {
    pub(crate) fn start(sockets: usize, doors: &Arc<Doors>, faults: &Arc<Faults>) -> Result<Self> {
        let signs = Arc::new(Signs::default());
        let mut clients = Clients {
            poll: Poll::new()?,
            doors: Arc::clone(doors),
            faults: Arc::clone(faults),
            signs: Arc::clone(&signs),
            all: Slab::new(),
            chunk: vec![0; CHUNK],
            opened: 0,
            tally: Tally::default(),
        };
        let thread = thread::Builder::new().name("visitors".to_owned()).spawn(move || {
            clients.run(sockets)?;
            Ok(clients.tally)
        })?;
        Ok(Self { thread, signs })
    }

    /// Everybody leaves in good order: what became of them.
    pub(crate) fn finish(self) -> Result<Tally> {
        self.signs.finish.store(true, Relaxed);
        self.thread.join().map_err(|_| "the clients panicked")?
    }
}

struct Client {
    stream: TcpStream,
    role: Role,
    input: Vec<u8>,
    output: Vec<u8>,
    is_connected: bool,
    /// Since when it waits for an answer.
    asked: Option<Instant>,
}

enum Role {
    /// Messages so far, and when the next is due.
    Socket {
        number: u64,
        round: u64,
        is_open: bool,
        next: Instant,
        leaves: bool,
    },
    Visit {
        number: u64,
    },
}

/// What a turn came to.
enum Turn {
    Waits,
    Over,
    Wrong(String),
}

struct Clients {
    poll: Poll,
    doors: Arc<Doors>,
    faults: Arc<Faults>,
    signs: Arc<Signs>,
    all: Slab<Client>,
    chunk: Vec<u8>,
    opened: u64,
    tally: Tally,
}

impl Clients {
    fn run(&mut self, sockets: usize) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        let (mut look, mut opened_sockets) = (Instant::now(), 0);
        // Visits that are due, since when.
        let (mut rate, mut since, mut due) = (0, look, 0);
        loop {
            match self.poll.poll(&mut events, Some(Duration::from_millis(LOOK_MS))) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            let now = Instant::now();
            for event in &events {
                self.turn(event.token().0, now);
            }
            if now < look {
                continue;
            }
            look = now + Duration::from_millis(LOOK_MS);
            if self.signs.visits_per_s.load(Relaxed) != rate {
                (rate, since, due) = (self.signs.visits_per_s.load(Relaxed), now, 0);
            }
            for _ in 0..BURST {
                if due >= (now - since).as_millis() as u64 * rate / 1000 {
                    break;
                }
                due += 1;
                self.visit();
            }
            let mut opening = opened_sockets - self.signs.live.load(Relaxed);
            while opened_sockets < sockets && opening < OPENING {
                self.open_socket(opened_sockets as u64, sockets as u64);
                (opened_sockets, opening) = (opened_sockets + 1, opening + 1);
            }
            let finish = self.signs.finish.load(Relaxed);
            let waiting: Vec<_> = self.all.iter().filter(|(_, c)| c.is_due(now, finish)).collect();
            let waiting: Vec<_> = waiting.into_iter().map(|(number, _)| number).collect();
            for number in waiting {
                self.all[number].begin(now, finish);
                self.turn(number, now);
            }
            if finish && self.all.is_empty() {
                return Ok(());
            }
        }
    }

    fn open_socket(&mut self, number: u64, of: u64) {
        let next = Instant::now() + Duration::from_millis(EVERY_MS * number / of);
        let head = format!(
            "GET /echo HTTP/1.1\r\nHost: live.example\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        let role = Role::Socket { number, round: 0, is_open: false, next, leaves: false };
        self.open(role, head);
    }

    fn visit(&mut self) {
        let number = self.opened;
        self.opened += 1;
        self.signs.visiting.fetch_add(1, Relaxed);
        let head = format!("GET /{number} HTTP/1.1\r\nHost: site.example\r\n\r\n");
        self.open(Role::Visit { number }, head);
    }

    fn open(&mut self, role: Role, head: String) {
        let nth = match role {
            Role::Socket { .. } => 0,
            Role::Visit { number } => number,
        };
        let place = self.all.vacant_entry();
        let both = Interest::READABLE | Interest::WRITABLE;
        let opened = self.doors.connect(nth).and_then(|mut stream| {
            let _ = stream.set_nodelay(true);
            self.poll.registry().register(&mut stream, Token(place.key()), both)?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => {
                let (input, output) = (Vec::new(), head.into_bytes());
                let (is_connected, asked) = (false, Some(Instant::now()));
                place.insert(Client { stream, role, input, output, is_connected, asked });
            }
            Err(error) => self.wrong(&role, error),
        }
    }

    fn wrong(&mut self, role: &Role, what: impl Display) {
        match role {
            Role::Socket { number, .. } => {
                self.tally.lost_sockets += 1;
                self.faults.add(format_args!("WebSocket {number}: {what}"));
            }
            Role::Visit { number } => {
                self.tally.failed_visits += 1;
                self.signs.visiting.fetch_sub(1, Relaxed);
                self.faults.add(format_args!("visit {number}: {what}"));
            }
        }
    }

    fn turn(&mut self, number: usize, now: Instant) {
        let Some(client) = self.all.get_mut(number) else { return };
        let was_connected = client.is_connected;
        let turn = client.turn(now, &mut self.chunk, &self.signs, &mut self.tally);
        self.tally.connected += u64::from(client.is_connected && !was_connected);
        match turn {
            Turn::Waits => {}
            Turn::Over => drop(self.all.remove(number)),
            Turn::Wrong(what) => {
                let client = self.all.remove(number);
                self.wrong(&client.role, what);
            }
        }
    }
}

impl Client {
    /// Whether it is to have a turn without an event.
    fn is_due(&self, now: Instant, finish: bool) -> bool {
        let is_lost = self.asked.is_some_and(|asked| now >= asked + LOST);
        let is_time = match self.role {
            Role::Socket { next, leaves, is_open, .. } => {
                is_open && self.asked.is_none() && !leaves && (finish || now >= next)
            }
            Role::Visit { .. } => false,
        };
        is_lost || is_time
    }

    /// Sends the next message, or says goodbye.
    fn begin(&mut self, now: Instant, finish: bool) {
        if self.asked.is_some() {
            return;
        }
        let Role::Socket { number, round, leaves, next, .. } = &mut self.role else { return };
        self.asked = Some(now);
        if finish {
            *leaves = true;
            let _ = self.stream.shutdown(Shutdown::Write);
            return;
        }
        *next += Duration::from_millis(EVERY_MS);
        websocket::write(&mut self.output, &message(*number, *round), Some(MASK));
    }

    fn turn(&mut self, now: Instant, chunk: &mut [u8], signs: &Signs, tally: &mut Tally) -> Turn {
        if self.asked.is_some_and(|asked| now >= asked + LOST) {
            return Turn::Wrong(format!("no answer for {} s", LOST.as_secs()));
        }
        if !self.is_connected {
            match (self.stream.take_error(), self.stream.peer_addr()) {
                (Ok(None), Ok(_)) => self.is_connected = true,
                (Ok(None), Err(_)) => return Turn::Waits,
                (Ok(Some(error)) | Err(error), _) => {
                    return Turn::Wrong(format!("not connected: {error}"));
                }
            }
        }
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Turn::Wrong(error.to_string()),
            }
        }
        let has_heard_eof = loop {
            match self.stream.read(chunk) {
                Ok(0) => break true,
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Turn::Wrong(error.to_string()),
            }
        };
        match self.role {
            Role::Visit { number } if has_heard_eof => self.visited(number, now, signs, tally),
            Role::Visit { .. } => Turn::Waits,
            Role::Socket { leaves: true, .. } if has_heard_eof && self.input.is_empty() => {
                Turn::Over
            }
            Role::Socket { .. } if has_heard_eof => Turn::Wrong("EOF".to_owned()),
            Role::Socket { .. } => self.heard(now, signs, tally),
        }
    }

    fn visited(&self, number: u64, now: Instant, signs: &Signs, tally: &mut Tally) -> Turn {
        let answer = String::from_utf8_lossy(&self.input);
        if !answer.starts_with("HTTP/1.1 200 ") || !answer.ends_with(&format!("\r\n\r\n/{number}"))
        {
            return Turn::Wrong(format!("answered {answer:?}"));
        }
        tally.visit_us.extend(self.asked.map(|asked| (now - asked).as_micros() as u64));
        signs.visiting.fetch_sub(1, Relaxed);
        signs.visited.fetch_add(1, Relaxed);
        Turn::Over
    }

    /// Bytes of a WebSocket.
    fn heard(&mut self, now: Instant, signs: &Signs, tally: &mut Tally) -> Turn {
        let Role::Socket { number, round, is_open, .. } = &mut self.role else {
            return Turn::Waits;
        };
        if !*is_open {
            let Some(end) = self.input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                return Turn::Waits;
            };
            let head = String::from_utf8_lossy(&self.input[..end]).into_owned();
            if !head.starts_with("HTTP/1.1 101 ") || !head.contains(ACCEPT) {
                return Turn::Wrong(format!("not upgraded: {head:?}"));
            }
            self.input.drain(..end + 4);
            self.asked = None;
            *is_open = true;
            signs.live.fetch_add(1, Relaxed);
        }
        match websocket::read(&self.input) {
            Ok(Some((found, used)))
                if found == message(*number, *round)
                    && used == self.input.len()
                    && self.asked.is_some() =>
            {
                self.input.clear();
                *round += 1;
                let asked = self.asked.take();
                tally.echo_us.extend(asked.map(|asked| (now - asked).as_micros() as u64));
                signs.echoes.fetch_add(1, Relaxed);
                Turn::Waits
            }
            Ok(None) => Turn::Waits,
            Ok(Some(_)) => Turn::Wrong("not the message that was sent".to_owned()),
            Err(error) => Turn::Wrong(error.to_string()),
        }
    }
}

/// What a WebSocket says in a round, and nobody else ever.
fn message(number: u64, round: u64) -> Vec<u8> {
    let mut bytes = vec![0; 16 + (number * 7 + round * 13) as usize % 500];
    numbers::fill(number, round * 64, &mut bytes);
    bytes
}
