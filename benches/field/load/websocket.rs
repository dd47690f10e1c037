//! WebSocket clients: each sends a message and waits for it to come back, or one sends and all
//! receive.

use std::io::{Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::{Aim, CHUNK, Came, STALL, Window, await_events, read_all};
use crate::meter::Meter;
use crate::websocket::{self, ACCEPT, KEY};
use crate::{Result, pattern};

/// Any will do: what matters is that clients mask.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What becomes of a message at the server.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Echo,
    /// It goes to every client.
    Fan,
}

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

/// Messages of `size` bytes received, and found right, while the meter ran.
pub(crate) fn run(aim: &Aim, meter: &mut Meter, kind: Kind, size: usize) -> Result<u64> {
    let mut poll = Poll::new()?;
    let mut clients = Vec::new();
    for number in 0..aim.clients {
        let mut stream = TcpStream::from_std(open(aim.target, kind)?);
        poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
        clients.push(Client { stream, input: Vec::new() });
    }
    let message = pattern::bytes(0, size);
    let mut frame = Vec::new();
    websocket::write(&mut frame, &message, Some(MASK));
    let mut window = Window::new(aim, meter);
    match kind {
        Kind::Echo => {
            for client in &mut clients {
                client.stream.write_all(&frame)?;
            }
        }
        Kind::Fan => clients[0].stream.write_all(&frame)?,
    }
    let mut chunk = vec![0; CHUNK];
    let mut events = Events::with_capacity(1024);
    let mut missing = aim.clients;
    while window.goes_on()? {
        await_events(&mut poll, &mut events)?;
        for event in &events {
            let Token(number) = event.token();
            let client = &mut clients[number];
            if !client.has_message(&message, &mut chunk)? {
                continue;
            }
            window.done(1);
            missing -= usize::from(kind == Kind::Fan);
            if kind == Kind::Echo {
                client.stream.write_all(&frame)?;
            } else if missing == 0 {
                missing = aim.clients;
                clients[0].stream.write_all(&frame)?;
            }
        }
    }
    Ok(window.count)
}

/// A connection that has been answered with 101.
fn open(target: SocketAddr, kind: Kind) -> Result<std::net::TcpStream> {
    let path = if kind == Kind::Echo { "/echo" } else { "/fan" };
    let mut stream = std::net::TcpStream::connect(target)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALL))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: bench.example\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )?;
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err("ended before the upgrade".into());
        }
        head.extend_from_slice(&chunk[..count]);
    }
    let head = String::from_utf8(head)?;
    if !head.starts_with("HTTP/1.1 101 ") || !head.contains(ACCEPT) {
        return Err(format!("not upgraded: {head}").into());
    }
    stream.set_nonblocking(true)?;
    Ok(stream)
}

impl Client {
    /// Whether the message has come, and nothing else.
    fn has_message(&mut self, message: &[u8], chunk: &mut [u8]) -> Result<bool> {
        let came = read_all(&mut self.stream, false, chunk, &mut self.input)?;
        match websocket::read(&self.input)? {
            Some((found, used)) if found == message && used == self.input.len() => {
                self.input.clear();
                Ok(true)
            }
            Some(_) => Err("not the message that was sent".into()),
            None if came == Came::End => Err("ended early".into()),
            None => Ok(false),
        }
    }
}
