//! The servers behind every balancer: one process, one thread, any number of ports.
//!
//! | request | answer |
//! |---|---|
//! | `GET /N` | N bytes of the pattern, keep-alive unless the request says close |
//! | `GET /echo`, `Upgrade: websocket` | each message comes back |
//! | `GET /fan`, `Upgrade: websocket` | a message goes to every client of `/fan` on its port |
//! | `/socket.io/` | Engine.IO by polling, as far as a benchmark needs it |
//!
//! Never what is measured: it need only be right, and quicker than any balancer.

mod polling;
mod request;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::Result;
use crate::pattern::{self, PERIOD};
use crate::websocket;
use polling::Sessions;
use request::Request;

/// Bytes of one read, and about those of one write of a large answer.
const CHUNK: usize = 256 * 1024;

/// What a connection carries.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Http,
    Echo,
    Fan,
}

struct Connection {
    stream: TcpStream,
    port: usize,
    role: Role,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Body bytes of the pattern still to be sent after `output`, and where in it they start.
    body: u64,
    offset: usize,
    /// True exactly when nothing follows the answer in `output` and `body`.
    closing: bool,
}

struct Server {
    poll: Poll,
    listeners: Vec<TcpListener>,
    connections: BTreeMap<usize, Connection>,
    next: usize,
    sessions: Vec<Sessions>,
    chunk: Vec<u8>,
    pattern: Vec<u8>,
}

/// `field server ADDRESS…`: serves until it is killed.
pub(crate) fn serve(words: &[OsString]) -> Result<()> {
    let poll = Poll::new()?;
    let mut listeners = Vec::new();
    for (token, word) in words.iter().enumerate() {
        let address: SocketAddr = word.to_string_lossy().parse()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, Token(token), Interest::READABLE)?;
        listeners.push(listener);
    }
    let mut server = Server {
        poll,
        next: listeners.len(),
        sessions: (0..listeners.len()).map(Sessions::new).collect(),
        listeners,
        connections: BTreeMap::new(),
        chunk: vec![0; CHUNK],
        pattern: pattern::bytes(0, CHUNK + PERIOD),
    };
    let mut events = Events::with_capacity(1024);
    loop {
        match server.poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            let Token(token) = event.token();
            if token < server.listeners.len() {
                server.accept(token)?;
            } else if !server.turn(token, event.is_read_closed()) {
                server.connections.remove(&token);
            }
        }
    }
}

impl Server {
    fn accept(&mut self, port: usize) -> Result<()> {
        loop {
            let mut stream = match self.listeners[port].accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // A client that left while it waited.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error.into()),
            };
            stream.set_nodelay(true)?;
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(self.next), both)?;
            let connection = Connection {
                stream,
                port,
                role: Role::Http,
                input: Vec::new(),
                output: Vec::new(),
                body: 0,
                offset: 0,
                closing: false,
            };
            self.connections.insert(self.next, connection);
            self.next += 1;
        }
    }

    /// Reads, answers and writes; false when the connection is over.
    fn turn(&mut self, token: usize, read_closed: bool) -> bool {
        let Some(connection) = self.connections.get_mut(&token) else {
            return true;
        };
        let mut open = true;
        loop {
            match connection.stream.read(&mut self.chunk) {
                Ok(0) => open = false,
                Ok(count) => {
                    connection.input.extend_from_slice(&self.chunk[..count]);
                    // A short read emptied the socket: whatever comes next is a new event.
                    if count == CHUNK || read_closed {
                        continue;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => open = false,
            }
            break;
        }
        let mut spread = Vec::new();
        let well = connection.answer(&mut self.sessions, &mut spread);
        let sent = connection.send(&self.pattern);
        let port = connection.port;
        if !spread.is_empty() {
            self.spread(port, &spread);
        }
        open && well && sent
    }

    /// Sends to every client of `/fan` on this port.
    fn spread(&mut self, port: usize, frames: &[u8]) {
        for connection in self.connections.values_mut() {
            if connection.role == Role::Fan && connection.port == port {
                connection.output.extend_from_slice(frames);
                // One that fails tells by an event of its own.
                connection.send(&self.pattern);
            }
        }
    }
}

impl Connection {
    /// Answers what has arrived whole; false when it cannot be understood.
    fn answer(&mut self, sessions: &mut [Sessions], spread: &mut Vec<u8>) -> bool {
        while self.body == 0 && !self.closing && !self.input.is_empty() {
            let used = match self.role {
                Role::Http => match Request::read(&self.input) {
                    Err(_) => return false,
                    Ok(None) => break,
                    Ok(Some(request)) => {
                        let answer = request::answer(&request, &mut sessions[self.port]);
                        self.output.extend_from_slice(&answer.bytes);
                        self.body = answer.body;
                        self.offset = 0;
                        self.closing = answer.closing;
                        self.role = answer.role;
                        request.length
                    }
                },
                Role::Echo | Role::Fan => match websocket::read(&self.input) {
                    Err(_) => return false,
                    Ok(None) => break,
                    Ok(Some((message, used))) => {
                        let out =
                            if self.role == Role::Echo { &mut self.output } else { &mut *spread };
                        websocket::write(out, &message, None);
                        used
                    }
                },
            };
            self.input.drain(..used);
        }
        true
    }

    /// Writes until everything is sent or the socket is full; false when it is over.
    fn send(&mut self, pattern: &[u8]) -> bool {
        loop {
            let part = if self.output.is_empty() {
                let start = self.offset % PERIOD;
                let length = usize::try_from(self.body).unwrap_or(CHUNK).min(CHUNK);
                &pattern[start..start + length]
            } else {
                // Small answers leave in one piece, head and body together.
                let body = usize::try_from(self.body).unwrap_or(CHUNK).min(CHUNK);
                if self.offset == 0 {
                    self.output.extend_from_slice(&pattern[..body]);
                    self.body -= body as u64;
                    self.offset = body;
                }
                &self.output[..]
            };
            if part.is_empty() {
                return !self.closing;
            }
            match self.stream.write(part) {
                Ok(count) if self.output.is_empty() => {
                    self.body -= count as u64;
                    self.offset += count;
                }
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }
}
