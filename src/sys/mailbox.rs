//! An event counter (eventfd(2)) that wakes a thread which has its own descriptor table.
//!
//! Wakers that hold a descriptor number (tokio's among them) must never be called from a worker:
//! there the number names somebody else. A mailbox is kept under the same number in both tables.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Wakes whoever waits for it to become readable.
#[derive(Clone, Debug)]
pub struct Mailbox(Arc<EventFd>);

impl Mailbox {
    /// An empty one.
    pub fn new() -> std::io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Self(Arc::new(EventFd::from_value_and_flags(0, flags)?)))
    }

    /// Makes it readable. A full counter is readable already, so that error says nothing.
    pub fn ring(&self) {
        let _ = self.0.write(1);
    }

    /// Makes it unreadable until the next ring.
    pub fn empty(&self) {
        let _ = self.0.read();
    }

    /// Its number, the same in every table that kept it.
    pub fn number(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Mailbox {
    fn as_raw_fd(&self) -> RawFd {
        self.number()
    }
}
