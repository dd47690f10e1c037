//! A few streams, each one endless answer, read as quickly as it comes.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use mio::{Events, Interest, Poll, Token};

use super::{Aim, STALL, Window, await_events};
use crate::meter::Meter;
use crate::{Result, pattern};

/// More than a piece can carry.
const ENDLESS: u64 = 1 << 40;
/// Bytes of one read.
const CHUNK: usize = 256 * 1024;

/// Body bytes received, and found right, while the meter ran.
pub(crate) fn run(aim: &Aim, meter: &mut Meter) -> Result<u64> {
    let mut poll = Poll::new()?;
    let mut streams = Vec::new();
    for number in 0..aim.clients {
        let mut stream = TcpStream::connect(aim.target)?;
        stream.set_read_timeout(Some(STALL))?;
        write!(stream, "GET /{ENDLESS} HTTP/1.1\r\nHost: bench.example\r\n\r\n")?;
        skip_head(&mut stream)?;
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
        streams.push((stream, 0_u64));
    }
    let mut chunk = vec![0; CHUNK];
    let mut events = Events::with_capacity(16);
    let mut window = Window::new(aim, meter);
    while window.goes_on()? {
        await_events(&mut poll, &mut events)?;
        for event in &events {
            let Token(number) = event.token();
            let (stream, offset) = &mut streams[number];
            loop {
                match stream.read(&mut chunk) {
                    Ok(0) => return Err("a stream ended early".into()),
                    Ok(count) => {
                        if !pattern::fits(*offset, &chunk[..count]) {
                            return Err(format!("wrong bytes at {offset}").into());
                        }
                        *offset += count as u64;
                        window.done(count as u64);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    Ok(window.count)
}

/// One byte at a time, so that the body is left whole.
fn skip_head(stream: &mut TcpStream) -> Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    if head.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err("not answered with 200".into()) }
}
