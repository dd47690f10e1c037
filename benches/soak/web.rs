//! Simple servers for the reloads, on one thread: a WebSocket gets its messages back, any other
//! request its path, and then EOF.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::{Domain, Socket, Type};

use crate::Result;
use crate::websocket::{self, ACCEPT};

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Milliseconds between looks whether it is over.
const LOOK_MS: u64 = 100;

/// Bytes of one read; no message here is as long.
const CHUNK: usize = 16 << 10;

/// Running servers.
pub(crate) struct Web {
    thread: JoinHandle<Result<()>>,
    is_over: Arc<AtomicBool>,
}

struct Serving {
    poll: Poll,
    listeners: Vec<TcpListener>,
    connections: Slab<Connection>,
    chunk: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    is_websocket: bool,
    /// Says EOF behind what is in `output`.
    ends: bool,
    has_ended: bool,
}

impl Web {
    pub(crate) fn start(addresses: &[SocketAddr]) -> Result<Self> {
        let poll = Poll::new()?;
        let mut listeners = Vec::new();
        for (number, &address) in addresses.iter().enumerate() {
            let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            let mut listener = TcpListener::from_std(socket.into());
            poll.registry().register(&mut listener, Token(number), Interest::READABLE)?;
            listeners.push(listener);
        }
        let mut serving =
            Serving { poll, listeners, connections: Slab::new(), chunk: vec![0; CHUNK] };
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::Builder::new().name("web".to_owned()).spawn(move || {
            let mut events = Events::with_capacity(1024);
            while !over.load(Relaxed) {
                serving.turn(&mut events)?;
            }
            Ok(())
        })?;
        Ok(Self { thread, is_over })
    }

    pub(crate) fn stop(self) -> Result<()> {
        self.is_over.store(true, Relaxed);
        self.thread.join().map_err(|_| "the servers panicked")?
    }
}

impl Serving {
    fn turn(&mut self, events: &mut Events) -> Result<()> {
        match self.poll.poll(events, Some(Duration::from_millis(LOOK_MS))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &*events {
            let Token(number) = event.token();
            if number < self.listeners.len() {
                self.accept(number)?;
                continue;
            }
            let number = number - self.listeners.len();
            let Some(connection) = self.connections.get_mut(number) else { continue };
            if !connection.turn(&mut self.chunk) {
                self.connections.remove(number);
            }
        }
        Ok(())
    }

    fn accept(&mut self, listener: usize) -> Result<()> {
        loop {
            let mut stream = match self.listeners[listener].accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error.into()),
            };
            let _ = stream.set_nodelay(true);
            let place = self.connections.vacant_entry();
            let token = Token(self.listeners.len() + place.key());
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, token, both)?;
            let (input, output) = (Vec::new(), Vec::new());
            let (is_websocket, ends, has_ended) = (false, false, false);
            place.insert(Connection { stream, input, output, is_websocket, ends, has_ended });
        }
    }
}

impl Connection {
    /// False when it is over.
    fn turn(&mut self, chunk: &mut [u8]) -> bool {
        let has_heard_eof = loop {
            match self.stream.read(chunk) {
                Ok(0) => break true,
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        };
        if !self.answer() {
            return false;
        }
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        if (self.ends || has_heard_eof) && !self.has_ended {
            self.has_ended = true;
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        !(has_heard_eof && self.has_ended)
    }

    /// Answers all that has come whole; false if it cannot be understood.
    fn answer(&mut self) -> bool {
        if !self.is_websocket && !self.ends {
            let Some(end) = self.input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                return true;
            };
            let head = String::from_utf8_lossy(&self.input[..end]).into_owned();
            self.input.drain(..end + 4);
            if head.contains("Upgrade: websocket") {
                self.is_websocket = true;
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                     Connection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
                );
                self.output.extend_from_slice(answer.as_bytes());
            } else {
                let path = head.split(' ').nth(1).unwrap_or("");
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{path}",
                    path.len()
                );
                self.output.extend_from_slice(answer.as_bytes());
                self.ends = true;
            }
        }
        while self.is_websocket {
            match websocket::read(&self.input) {
                Ok(Some((message, used))) => {
                    self.input.drain(..used);
                    websocket::write(&mut self.output, &message, None);
                }
                Ok(None) => break,
                Err(_) => return false,
            }
        }
        true
    }
}
