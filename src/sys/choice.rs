//! Which engine serves: what was asked for, and what the kernel allows.

use std::io;

use super::ring;
use crate::config::EngineChoice;

/// An engine that can be had, or that is to be had at any rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// See `ring`.
    IoUring,
    /// See `epoll`.
    Epoll,
}

impl EngineKind {
    /// Decides by trying, never by the kernel's version; with epoll, also tells why io_uring was
    /// refused, if it was asked.
    pub fn choose(wanted: EngineChoice) -> (Self, Option<io::Error>) {
        match wanted {
            EngineChoice::IoUring => (Self::IoUring, None),
            EngineChoice::Epoll => (Self::Epoll, None),
            EngineChoice::Auto => match ring::check() {
                Ok(()) => (Self::IoUring, None),
                Err(why) => (Self::Epoll, Some(why)),
            },
        }
    }

    /// The word in logs, the same as in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}
