//! An event counter (eventfd(2)) that wakes a thread which has its own descriptor table.
//!
//! Wakers that hold a descriptor number (tokio's among them) must never be called from a worker:
//! there the number names somebody else. A mailbox is kept under the same number in both tables.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Wakes whoever waits for it to become readable.
#[derive(Clone, Debug)]
pub struct Mailbox(Arc<EventFd>);

impl Mailbox {
    /// An empty one.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self(Arc::new(EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC)?)))
    }

    /// Makes it readable; never fails, and never waits before 2^64 unread rings.
    pub fn ring(&self) {
        let _ = self.0.write(1);
    }

    /// The counter as a file to read from: eight bytes, which empty it.
    pub fn into_file(self) -> std::io::Result<std::fs::File> {
        Ok(self.0.as_fd().try_clone_to_owned()?.into())
    }

    /// The same, for a reader that is told when to read: whoever finds it empty does not wait.
    pub fn into_polled_file(self) -> std::io::Result<std::fs::File> {
        fcntl(&*self.0, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        self.into_file()
    }

    /// Its number, the same in every table that kept it.
    pub fn number(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Takes the rings off a worker's mailbox, so that the next one makes it readable again.
pub fn empty(mailbox: super::Fd) {
    // It was seen readable and has one reader, so this does not wait.
    let _ = nix::unistd::read(super::socket::borrowed(mailbox).as_fd(), &mut [0; 8]);
}
