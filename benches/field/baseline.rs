//! `field baseline ADDRESS SERVER FLAGS`: a relay as one writes it on tokio-uring, the baseline
//! that says what driving the ring oneself is worth.
//!
//! One thread; each half is a loop that reads into a buffer of its own and writes that on. It
//! balances nothing, reads no head, never splices, and has no timeout.

use std::ffi::OsString;
use std::io;
use std::net::{Shutdown, SocketAddr};

use tokio_uring::net::{TcpListener, TcpStream};

use crate::Result;

/// What is between a read and its write: as much as one of ringway's buffers.
const BUFFER_BYTES: usize = 16 * 1024;
/// Entries of the tuned submission queue: more than 64 clients fill between two submissions.
const ENTRIES: u32 = 1024;
/// Entries of the tuned completion queue, so that it does not overflow when thousands of sessions
/// end at once.
const COMPLETIONS: u32 = 8 * ENTRIES;

/// How the ring is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flags {
    /// As tokio-uring makes it when nothing is said.
    Default,
    /// For one thread, which is not interrupted for completions.
    ///
    /// `DEFER_TASKRUN`, which ringway uses, is not among them: completions would come only to who
    /// enters the ring for them, but tokio-uring waits in epoll and enters it only to submit, so
    /// that nothing ever completes.
    Tuned,
}

impl Flags {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Tuned => "tuned",
        }
    }
}

/// Relays every client to the server, until it is killed.
pub(crate) fn serve(words: &[OsString]) -> Result<()> {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let [address, server, flags] = &words[..] else {
        return Err("baseline: ADDRESS SERVER FLAGS".into());
    };
    let mut builder = tokio_uring::builder();
    if flags == Flags::Tuned.word() {
        let mut ring = tokio_uring::uring_builder();
        ring.setup_single_issuer().setup_coop_taskrun().setup_cqsize(COMPLETIONS);
        builder.entries(ENTRIES).uring_builder(&ring);
    }
    builder.start(accept(address.parse()?, server.parse()?))
}

async fn accept(address: SocketAddr, server: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address)?;
    loop {
        let (client, _) = listener.accept().await?;
        tokio_uring::spawn(async move {
            // What a peer resets, or a server refuses, ends with its session and no other.
            let _ = session(client, server).await;
        });
    }
}

async fn session(client: TcpStream, server: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    // Both halves to their ends: leaving at the first would lose what the other still carries.
    let (up, down) = tokio::join!(half(&client, &server), half(&server, &client));
    up.and(down)
}

/// One direction, to its end or its failure; a failure ends the other one too.
async fn half(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let result = copy(from, to).await;
    if result.is_err() {
        // Fails where the peer is gone already.
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
    result
}

/// Passes bytes on until the EOF, and then that.
async fn copy(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let (result, filled) = from.read(buffer).await;
        let count = result?;
        if count == 0 {
            return to.shutdown(Shutdown::Write);
        }
        let (result, sent) =
            to.write_all(tokio_uring::buf::BoundedBuf::slice(filled, ..count)).await;
        result?;
        buffer = sent.into_inner();
    }
}
