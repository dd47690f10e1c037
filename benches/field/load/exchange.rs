//! Closed loop of HTTP requests: every client sends its next request when its last one is
//! answered, on the same connection, or on a new one where the answer says `Connection: close`.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};

use super::{Aim, Answer, CHUNK, Came, Window, await_events, read_all};
use crate::Result;
use crate::meter::Meter;

/// The next request of a client, by the body of its last answer; an error if that was wrong.
pub(crate) type Next<'a> = dyn FnMut(usize, Option<&[u8]>) -> Result<Vec<u8>> + 'a;

/// Heads and small answers are below this, and may differ by it.
const HEAD_MAX: usize = 1024;

struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    /// Bytes of its last answer: the next one is about as long.
    expected: usize,
    /// True exactly when the answer has come and said that the connection ends with it.
    ending: bool,
}

/// Exchanges answered while the meter ran; one with `Connection: close` counts at its end.
pub(crate) fn run(aim: &Aim, meter: &mut Meter, next: &mut Next<'_>) -> Result<u64> {
    let mut poll = Poll::new()?;
    let mut clients = Vec::new();
    for number in 0..aim.clients {
        let stream = connect(aim.target, number, poll.registry())?;
        let request = next(number, None)?;
        clients.push(Client {
            stream,
            request,
            sent: 0,
            input: Vec::new(),
            expected: 0,
            ending: false,
        });
    }
    let mut chunk = vec![0; CHUNK];
    let mut window = Window::new(aim, meter);
    let mut events = Events::with_capacity(256);
    while window.goes_on()? {
        await_events(&mut poll, &mut events)?;
        for event in &events {
            let Token(number) = event.token();
            let client = &mut clients[number];
            let done = client
                .turn(number, event, &mut chunk, next)
                .map_err(|error| format!("client {number}: {error}"))?;
            if done {
                window.done(1);
            }
            if done && client.ending {
                client.stream = connect(aim.target, number, poll.registry())?;
                client.ending = false;
            }
        }
    }
    Ok(window.count)
}

fn connect(target: SocketAddr, number: usize, registry: &Registry) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(target)?;
    stream.set_nodelay(true)?;
    registry.register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}

impl Client {
    /// Goes on with an exchange; true when it is done.
    fn turn(
        &mut self,
        number: usize,
        event: &Event,
        chunk: &mut [u8],
        next: &mut Next<'_>,
    ) -> Result<bool> {
        self.send()?;
        if !event.is_readable() {
            return Ok(false);
        }
        let came = read_all(&mut self.stream, event.is_read_closed(), chunk, &mut self.input)?;
        if !self.ending {
            // A large answer is looked at when it may be whole, not at each of its pieces.
            if came == Came::Some && self.input.len() + HEAD_MAX < self.expected {
                return Ok(false);
            }
            let Some(answer) = Answer::read(&self.input)? else {
                return if came == Came::End { Err("ended early".into()) } else { Ok(false) };
            };
            if answer.length != self.input.len() {
                return Err("more came than the answer".into());
            }
            self.expected = answer.length;
            self.request = next(number, Some(answer.body))?;
            self.ending = answer.close;
            self.sent = 0;
            self.input.clear();
            if !self.ending {
                self.send()?;
                return Ok(true);
            }
        }
        Ok(came == Came::End)
    }

    fn send(&mut self) -> Result<()> {
        while !self.ending && self.sent < self.request.len() {
            match self.stream.write(&self.request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Not connected yet, or full.
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
