//! Every errno that can occur, and what it means to a session.

use std::fmt;

/// Why an operation failed, by what we do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing now: wait for readiness. EAGAIN.
    WouldBlock,
    /// We asked for it. ECANCELED.
    Cancelled,
    /// On a receive, all ring buffers are in use: wait for one to come back. On anything else, as
    /// `NoMemory`. ENOBUFS.
    NoBuffers,
    /// The peer reset the connection, which the kernel tells once. ECONNRESET.
    Reset,
    /// Nothing can be sent any more: a receive tells whether the peer has said EOF before. EPIPE,
    /// ENOTCONN.
    Broken,
    /// Nobody listens there. ECONNREFUSED, ENOENT (unix socket).
    Refused,
    /// No answer in time. ETIMEDOUT.
    TimedOut,
    /// No way there. EHOSTUNREACH, ENETUNREACH, ENETDOWN, EHOSTDOWN.
    Unreachable,
    /// No source port is free towards that server. EADDRNOTAVAIL.
    NoPorts,
    /// Descriptors ran out. EMFILE, ENFILE.
    NoDescriptors,
    /// Kernel memory ran out. ENOMEM.
    NoMemory,
    /// A connection in the accept queue was gone. ECONNABORTED, EPROTO and what accept(2) lists.
    Aborted,
    /// Anything else, by number.
    Other(i32),
}

impl Fault {
    /// The table.
    pub fn from_errno(errno: i32) -> Self {
        match errno {
            libc::EAGAIN => Self::WouldBlock,
            libc::ECANCELED => Self::Cancelled,
            libc::ENOBUFS => Self::NoBuffers,
            libc::ECONNRESET => Self::Reset,
            libc::EPIPE | libc::ENOTCONN => Self::Broken,
            libc::ECONNREFUSED | libc::ENOENT => Self::Refused,
            libc::ETIMEDOUT | libc::ETIME => Self::TimedOut,
            libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ENETDOWN | libc::EHOSTDOWN => {
                Self::Unreachable
            }
            libc::EADDRNOTAVAIL => Self::NoPorts,
            libc::EMFILE | libc::ENFILE => Self::NoDescriptors,
            libc::ENOMEM => Self::NoMemory,
            libc::ECONNABORTED | libc::EPROTO | libc::ENOPROTOOPT | libc::ENONET => Self::Aborted,
            other => Self::Other(other),
        }
    }

    /// Something of this machine ran out, which says nothing about who was to be connected to.
    pub fn is_shortage(self) -> bool {
        matches!(self, Self::NoPorts | Self::NoDescriptors | Self::NoMemory | Self::NoBuffers)
    }

    /// It is the connection's end, which its next receive tells too. Any other fault is of the call
    /// alone, and the connection may well stand.
    pub const fn ends_connection(self) -> bool {
        matches!(self, Self::Reset | Self::Broken | Self::TimedOut | Self::Unreachable)
    }

    /// From the last failed call of this thread.
    pub fn last() -> Self {
        Self::from_errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WouldBlock => "would block",
            Self::Cancelled => "cancelled",
            Self::NoBuffers => "no buffer space",
            Self::Reset => "connection reset",
            Self::Broken => "connection broken",
            Self::Refused => "connection refused",
            Self::TimedOut => "timed out",
            Self::Unreachable => "unreachable",
            Self::NoPorts => "no free source port",
            Self::NoDescriptors => "no free descriptor",
            Self::NoMemory => "no memory",
            Self::Aborted => "connection aborted",
            Self::Other(errno) => return std::io::Error::from_raw_os_error(*errno).fmt(f),
        })
    }
}
