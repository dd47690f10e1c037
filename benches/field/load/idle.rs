//! Sessions that are established, have carried one exchange, and then are only held.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{Answer, STALL};
use crate::{Result, pattern};

/// Opens `count` sessions; each has had its answer of three bytes when this returns.
pub(crate) fn hold(target: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    (0..count).map(|_| open(target)).collect()
}

/// One session after its first exchange.
pub(super) fn open(target: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(target)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALL))?;
    stream.write_all(b"GET /3 HTTP/1.1\r\nHost: bench.example\r\n\r\n")?;
    let mut input = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err("ended early".into());
        }
        input.extend_from_slice(&chunk[..count]);
        if let Some(answer) = Answer::read(&input)? {
            let right = answer.body.len() == 3 && pattern::fits(0, answer.body);
            return if right { Ok(stream) } else { Err("wrong bytes".into()) };
        }
    }
}
