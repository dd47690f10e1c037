//! Waiting for the control thread's mailbox, on either runtime.

use std::io;

use tokio::net::unix::pipe::Receiver;

use crate::sys::choice::EngineKind;
use crate::sys::mailbox::Mailbox;

/// Bytes of an event counter (eventfd(2)).
const COUNTER_BYTES: usize = 8;

/// A mailbox as its owner sees it.
pub(super) enum Mail {
    /// Read through the runtime's ring.
    Ring(tokio_uring::fs::File, Vec<u8>),
    /// Read when tokio's epoll says so. tokio has no type for an event counter, and that of a
    /// pipe's end does nothing but poll and read.
    Epoll(Receiver),
}

impl Mail {
    /// Within the runtime that goes with `engine`.
    pub(super) fn open(mailbox: Mailbox, engine: EngineKind) -> io::Result<Self> {
        Ok(match engine {
            EngineKind::IoUring => {
                let file = tokio_uring::fs::File::from_std(mailbox.into_file()?);
                Self::Ring(file, vec![0; COUNTER_BYTES])
            }
            EngineKind::Epoll => {
                Self::Epoll(Receiver::from_file_unchecked(mailbox.into_polled_file()?)?)
            }
        })
    }

    /// Ready once it was rung. Empties it, so that what comes afterwards rings again.
    pub(super) async fn rung(&mut self) -> io::Result<()> {
        match self {
            Self::Ring(file, counter) => {
                // An event counter has no offset; 0 is ignored.
                let (result, buffer) = file.read_at(std::mem::take(counter), 0).await;
                *counter = buffer;
                result.map(drop)
            }
            Self::Epoll(end) => loop {
                end.readable().await?;
                match end.try_read(&mut [0; COUNTER_BYTES]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return result.map(drop),
                }
            },
        }
    }
}
