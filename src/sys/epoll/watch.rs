//! What is known of one descriptor: what is pending on it, and what epoll has said of it. Calls
//! nothing.
//!
//! Readiness is edge-triggered: epoll says what has become so, and whatever finds the opposite
//! (a receive that empties the socket, a send that fills it) says that.

use nix::sys::epoll::EpollFlags;

use super::Sending;
use crate::sys::{Kind, Token};

/// What a socket is registered for, once and for all.
pub(super) const EVERYTHING: EpollFlags = EpollFlags::EPOLLIN
    .union(EpollFlags::EPOLLOUT)
    .union(EpollFlags::EPOLLRDHUP)
    .union(EpollFlags::EPOLLPRI)
    .union(EpollFlags::EPOLLET);

/// Errors and full hang-ups, which epoll always tells.
const TROUBLE: EpollFlags = EpollFlags::EPOLLERR.union(EpollFlags::EPOLLHUP);

/// See the head of the file.
#[derive(Default)]
pub(super) struct Watch {
    /// The last operation on it; those on one descriptor differ only in kind (and buffer).
    latest: Option<Token>,
    /// What of a `SendAll` has not been sent.
    pub(super) sending: Option<Box<Sending>>,
    /// Bit `kind` is set exactly when an operation of that kind will complete.
    pending: u16,
    /// Poll mask of errors and hang-ups as of the last event.
    trouble: u16,
    /// True exactly when epoll knows the descriptor.
    pub(super) is_registered: bool,
    /// True exactly when it stands among those that are served in the next turn anyway.
    pub(super) is_queued: bool,
    /// False exactly when a receive or an accept would find nothing.
    is_readable: bool,
    /// False exactly when a send would find no room.
    is_writable: bool,
    /// True while a receive that fills no buffer may have left something: EOF, an error, or what
    /// stands behind an urgent byte, where the kernel stops.
    stops_short: bool,
    /// A TCP socket, which gives a receive all it has; a unix socket stops at what carries
    /// descriptors.
    pub(super) is_tcp: bool,
    /// The same socket is open in other tables: closing it here does not take it out of epoll.
    pub(super) is_shared: bool,
    /// The pending accept is for one client.
    pub(super) accepts_once: bool,
}

impl Watch {
    /// Of a socket just made or accepted.
    pub(super) fn of_new(is_tcp: bool) -> Self {
        Self { is_tcp, ..Self::default() }
    }

    /// Notes a pending operation.
    pub(super) fn begin(&mut self, token: Token) {
        let bit = 1 << token.kind() as u16;
        debug_assert!(self.pending & bit == 0, "at most one of each kind: {token:?}");
        self.pending |= bit;
        self.latest = Some(token);
    }

    pub(super) fn is_pending(&self, kind: Kind) -> bool {
        self.pending & (1 << kind as u16) != 0
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pending == 0
    }

    /// The token of a pending operation, which is over.
    pub(super) fn end(&mut self, kind: Kind) -> Token {
        debug_assert!(self.is_pending(kind), "an operation completes once: {kind:?}");
        self.pending &= !(1 << kind as u16);
        self.token(kind)
    }

    pub(super) fn token(&self, kind: Kind) -> Token {
        self.latest.expect("something has been pending").of_kind(kind)
    }

    /// Whether this is the socket that an operation is, or was, on.
    pub(super) fn is_of(&self, target: Token) -> bool {
        self.latest.is_some_and(|latest| latest.of_kind(target.kind()) == target)
    }

    /// Takes in what epoll says.
    pub(super) fn note(&mut self, events: EpollFlags) {
        let ends = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLPRI | TROUBLE;
        self.is_readable |= events.intersects(EpollFlags::EPOLLIN | ends);
        self.is_writable |= events.intersects(EpollFlags::EPOLLOUT | TROUBLE);
        self.stops_short |= events.intersects(ends);
        self.trouble = (events & TROUBLE).bits() as u16;
    }

    /// Forgets what epoll has said, before it is asked to say it anew.
    pub(super) fn forget(&mut self) {
        (self.is_readable, self.is_writable, self.stops_short) = (false, false, false);
        self.trouble = 0;
    }

    pub(super) fn is_readable(&self) -> bool {
        self.is_readable
    }

    pub(super) fn is_writable(&self) -> bool {
        self.is_writable
    }

    /// The poll mask of errors and hang-ups, if there is any.
    pub(super) fn trouble(&self) -> Option<u32> {
        (self.trouble != 0).then_some(u32::from(self.trouble))
    }

    /// Nothing is left to receive or to accept; whatever comes is a new event.
    pub(super) fn is_drained(&mut self) {
        (self.is_readable, self.stops_short) = (false, false);
    }

    /// So many bytes were received into a buffer of that size; whether there may be more.
    pub(super) fn received(&mut self, len: u32, buffer_size: u32) -> bool {
        let unread = len == buffer_size || self.stops_short;
        self.is_readable = unread || !self.is_tcp;
        unread
    }

    /// No room is left to send; when there is, that is a new event.
    pub(super) fn is_full(&mut self) {
        self.is_writable = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(events: EpollFlags) -> Watch {
        let mut watch = Watch { is_tcp: true, ..Watch::default() };
        watch.note(events);
        watch
    }

    #[test]
    fn a_short_receive_means_an_empty_socket_unless_something_stands_behind() {
        let rows = [
            (EpollFlags::EPOLLIN, 10, false),
            (EpollFlags::EPOLLIN, 100, true),
            (EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP, 10, true),
            (EpollFlags::EPOLLIN | EpollFlags::EPOLLPRI, 10, true),
            (EpollFlags::EPOLLIN | EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP, 10, true),
        ];
        for (events, len, is_readable) in rows {
            let mut watch = tcp(events);
            assert_eq!(watch.received(len, 100), is_readable, "{events:?}, {len}");
            assert_eq!(watch.is_readable(), is_readable, "{events:?}, {len}");
        }
        let mut unix = Watch::default();
        unix.note(EpollFlags::EPOLLIN);
        assert!(!unix.received(10, 100), "probably not");
        assert!(unix.is_readable());
    }

    #[test]
    fn a_watch_stays_small() {
        assert!(size_of::<Watch>() <= 40, "{} bytes", size_of::<Watch>());
    }
}
