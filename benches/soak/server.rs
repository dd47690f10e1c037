//! `soak server ADDRESS NUMBER LIFE`: a server that does what each request asks for, and checks
//! every byte. It says `ready` once, and from then on only what is wrong.

use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::{Domain, SockRef, Socket, Type};

use crate::Result;
use crate::numbers;
use crate::plan::{self, Last, REQUEST, Request, Role};

/// Clients that may wait to be accepted: as many as come while it is stopped.
const BACKLOG: i32 = 4096;

/// Bytes of one read or write, and of an echo that may wait to be written.
const CHUNK: usize = 64 << 10;

/// Chunks of a turn, so that one bulk stream holds up nobody.
const CHUNKS_PER_TURN: usize = 8;

const LISTENER: Token = Token(usize::MAX);

struct Server {
    poll: Poll,
    listener: TcpListener,
    number: u32,
    life: u32,
    connections: Slab<Connection>,
    /// Turns that ended before all was done.
    again: Vec<usize>,
    chunk: Vec<u8>,
    scratch: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    head: Vec<u8>,
    request: Option<Request>,
    hello: Vec<u8>,
    up: u64,
    down: u64,
    /// To be echoed.
    echo: Vec<u8>,
    has_heard_eof: bool,
    has_said_eof: bool,
}

enum Turn {
    Waits,
    Again,
    Over,
    /// Over, and not as it should be.
    Wrong(String),
}

/// Serves until it is killed.
pub(crate) fn serve(words: &[OsString]) -> Result<()> {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let [address, number, life] = &words[..] else {
        return Err("server: ADDRESS NUMBER LIFE".into());
    };
    let address: SocketAddr = address.parse()?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
    // The one before was killed and has left connections.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let poll = Poll::new()?;
    let mut listener = TcpListener::from_std(socket.into());
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut server = Server {
        poll,
        listener,
        number: number.parse()?,
        life: life.parse()?,
        connections: Slab::new(),
        again: Vec::new(),
        chunk: vec![0; CHUNK],
        scratch: Vec::new(),
    };
    println!("ready");
    server.run()
}

impl Server {
    fn run(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let wait = (!self.again.is_empty()).then_some(Duration::ZERO);
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            let mut due = std::mem::take(&mut self.again);
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(number) if event.is_error() => {
                        self.turn(number);
                        self.gone(number);
                    }
                    Token(number) => due.push(number),
                }
            }
            due.sort_unstable();
            due.dedup();
            for number in due {
                self.turn(number);
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error.into()),
            };
            let _ = stream.set_nodelay(true);
            let place = self.connections.vacant_entry();
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(place.key()), both)?;
            place.insert(Connection {
                stream,
                head: Vec::new(),
                request: None,
                hello: Vec::new(),
                up: 0,
                down: 0,
                echo: Vec::new(),
                has_heard_eof: false,
                has_said_eof: false,
            });
        }
    }

    fn turn(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        match connection.turn(self.number, self.life, &mut self.chunk, &mut self.scratch) {
            Turn::Waits => {}
            Turn::Again => self.again.push(number),
            Turn::Over => drop(self.connections.remove(number)),
            Turn::Wrong(what) => {
                let connection = self.connections.remove(number);
                println!("server {}: {what}: {connection}", self.number);
            }
        }
    }

    /// A reset that no read was there to hear of.
    fn gone(&mut self, number: usize) {
        let Some(connection) = self.connections.try_remove(number) else { return };
        if connection.request.is_some_and(|request| request.last == Last::Eof) {
            println!("server {}: reset: {connection}", self.number);
        }
    }
}

impl std::fmt::Display for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { request, up, down, .. } = self;
        write!(f, "{request:?}, {up} received, {down} sent")
    }
}

impl Connection {
    fn turn(&mut self, server: u32, life: u32, chunk: &mut [u8], scratch: &mut Vec<u8>) -> Turn {
        for _ in 0..CHUNKS_PER_TURN {
            let read = match self.read(chunk, scratch) {
                Ok(read) => read,
                Err(turn) => return turn,
            };
            if self.request.is_none() && self.head.len() == REQUEST {
                let head = self.head.first_chunk().expect("it is whole");
                let Some(request) = Request::of(head) else {
                    return Turn::Wrong(format!("not a request: {:?}", self.head));
                };
                self.request = Some(request);
                self.hello = plan::hello(server, life, request.seed).to_vec();
            }
            let written = match self.write(chunk) {
                Ok(written) => written,
                Err(turn) => return turn,
            };
            if let Some(turn) = self.end() {
                return turn;
            }
            if !read && !written {
                return Turn::Waits;
            }
        }
        Turn::Again
    }

    /// Whether there was something; or how it ended.
    fn read(&mut self, chunk: &mut [u8], scratch: &mut Vec<u8>) -> Result<bool, Turn> {
        let is_deaf = self.request.is_some_and(|request| request.role == Role::Deaf);
        if is_deaf || self.has_heard_eof || self.echo.len() >= CHUNK {
            return Ok(false);
        }
        let most = if self.request.is_none() { REQUEST - self.head.len() } else { chunk.len() };
        let count = match self.stream.read(&mut chunk[..most]) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => {
                let expected = self.request.is_none_or(|request| request.last != Last::Eof);
                return Err(if expected { Turn::Over } else { Turn::Wrong(error.to_string()) });
            }
        };
        let Some(request) = self.request else {
            self.head.extend_from_slice(&chunk[..count]);
            // A client that left before it had said anything.
            return if count == 0 { Err(Turn::Over) } else { Ok(true) };
        };
        if count == 0 {
            self.has_heard_eof = true;
            return match request.last {
                Last::Reset => Err(Turn::Wrong("EOF in place of a reset".to_owned())),
                Last::Eof if self.up < request.up && request.role != Role::Echo => {
                    Err(Turn::Wrong("EOF before the last byte".to_owned()))
                }
                _ => Ok(true),
            };
        }
        let bytes = &chunk[..count];
        if !numbers::are(request.seed, self.up, bytes, scratch) {
            return Err(Turn::Wrong(format!("{count} other bytes")));
        }
        self.up += count as u64;
        if self.up > request.up {
            return Err(Turn::Wrong("more bytes than were sent".to_owned()));
        }
        if request.role == Role::Echo {
            self.echo.extend_from_slice(bytes);
        }
        Ok(true)
    }

    /// Whether something could be written; or how it ended.
    fn write(&mut self, chunk: &mut [u8]) -> Result<bool, Turn> {
        let Some(request) = self.request else { return Ok(false) };
        let may_send = match request.role {
            Role::Answer => self.up == request.up,
            Role::AnswerEof => self.has_heard_eof,
            _ => true,
        };
        let part = if !self.hello.is_empty() {
            &self.hello[..]
        } else if !self.echo.is_empty() {
            &self.echo[..]
        } else if may_send && request.role != Role::Echo && self.down < request.down {
            let left = usize::try_from(request.down - self.down).unwrap_or(CHUNK).min(CHUNK);
            numbers::fill(request.down_seed(), self.down, &mut chunk[..left]);
            &chunk[..left]
        } else {
            return Ok(false);
        };
        let count = match self.stream.write(part) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(_) if request.last != Last::Eof => return Err(Turn::Over),
            Err(error) => return Err(Turn::Wrong(error.to_string())),
        };
        if !self.hello.is_empty() {
            self.hello.drain(..count);
            return Ok(true);
        }
        if !self.echo.is_empty() {
            self.echo.drain(..count);
        }
        self.down += count as u64;
        Ok(true)
    }

    /// Ends what is to be ended by this side.
    fn end(&mut self) -> Option<Turn> {
        let request = self.request?;
        let has_received = self.up == request.up;
        let has_sent = self.hello.is_empty() && self.down == request.down;
        let resets = match request.role {
            Role::ResetBehind => has_received && has_sent,
            Role::ResetAtOnce => has_sent,
            _ => false,
        };
        if resets {
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
            return Some(Turn::Over);
        }
        let ends = match request.role {
            Role::Echo => self.has_heard_eof && self.echo.is_empty() && self.hello.is_empty(),
            Role::First => has_sent,
            _ => has_received && has_sent,
        };
        if ends && !self.has_said_eof {
            self.has_said_eof = true;
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        (self.has_said_eof && self.has_heard_eof).then_some(Turn::Over)
    }
}
