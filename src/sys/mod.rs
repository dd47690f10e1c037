//! The fence: every syscall, every `unsafe`, every clock read stands behind this contract.
//!
//! A worker speaks to the kernel through an [`Engine`]. It submits an [`Op`], which is
//! [`Submitted::Done`] at once or [`Submitted::Pending`] until a [`Completion`] with the same
//! [`Token`] is reaped. The rules, for every engine:
//!
//! * The token of an [`Op::Send`] names its buffer too, so that whoever completes it can say which.
//! * Tokens of operations on one descriptor differ only in kind (and buffer), and at most one
//!   operation of each kind is pending on it.
//! * [`Op::Accept`] and [`Op::Receive`] are never done at once: a result alone would not say
//!   enough.
//! * A pending operation completes exactly once (accepting, and receiving as a stream: any number
//!   of times, in order, the last one without `more`). Cancelling it does not change that: it
//!   completes sooner, often with [`Fault::Cancelled`].
//! * EOF and a fault of a receive are told behind what completed on the same socket before: the
//!   kernel tells a reset once, be it to a send or to a receive, and says EOF from then on.
//! * Until its completion an operation owns what it names: the descriptor must not be closed, the
//!   buffer not released.
//! * Bytes in [`Op::SendAll`] belong to the engine from submit to completion.
//! * A ring buffer belongs to the worker from the completion that names it until
//!   [`Engine::release`]; it is never held across a wait (a stalled reader would keep it).
//! * Descriptors live in the worker's private table. An [`Fd`] is a number, dropping it closes
//!   nothing, and it cannot leave its thread.

// Who ringway is, and what it may still do.
pub mod confine;
pub mod privileges;
pub mod seccomp;

pub mod affinity;
pub mod buffers;
pub mod cgroup;
pub mod choice;
pub mod clock;
pub mod direct;
pub mod epoll;
pub mod errno;
pub mod mailbox;
pub mod notify;
pub mod passed;
pub mod pipes;
pub mod post;
pub mod ring;
pub mod signal;
pub mod socket;
pub mod sources;
pub mod spares;
pub mod table;
pub mod tcp_info;
pub mod token;

#[cfg(test)]
mod contract;

use std::io;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::config::Address;
use socket::TcpOptions;
use tcp_info::TcpInfo;

pub use buffers::BufferId;
pub use errno::Fault;
pub use pipes::PipeId;
pub use token::{Kind, Side, Token};

/// A descriptor in this worker's private table: not Send, closed only by [`Op::Close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fd(i32, PhantomData<*const ()>);

impl Fd {
    /// No descriptor.
    pub const NONE: Self = Self::new(-1);

    /// Names descriptor `number` of this thread's table.
    pub const fn new(number: i32) -> Self {
        Self(number, PhantomData)
    }

    /// The number the kernel knows it by.
    pub const fn number(self) -> i32 {
        self.0
    }
}

/// A server address prepared once, so that connecting allocates nothing. The same number means the
/// same address to all workers, for as long as the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u32);

/// Addresses of this host to connect from, in no order.
pub type SourceList = Option<Arc<[IpAddr]>>;

/// What a socket is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Bytes, EOF or an error can be read.
    Readable,
    /// An error or a full hang-up, nothing else: kept on a socket that is not being read.
    HangUp,
}

/// How a receive goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Once: try, then wait.
    Try,
    /// Once, where nothing was left after the last receive: wait, then try.
    Wait,
    /// On and on until cancelled, EOF, a fault, or whenever the engine sees fit to end it. Saves
    /// starting over for each message, but knows no back-pressure.
    Stream,
}

/// How a descriptor is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// `close(2)`: FIN after what is queued (RST if bytes are unread).
    Orderly,
    /// Linger 0: RST at once, what is queued is thrown away.
    Reset,
    /// EOF was received and nothing will be sent any more: EOF, and the socket may serve again.
    Ended,
}

/// What the kernel is asked for.
#[derive(Debug)]
pub enum Op {
    /// Accept until cancelled; each completion carries a descriptor number.
    Accept {
        /// Listening socket.
        listener: Fd,
        /// Accept one client only.
        once: bool,
    },
    /// Accept a client that waits: Done with its number, or `Fault::WouldBlock`. No other accept is
    /// pending.
    AcceptNow {
        /// Listening socket.
        listener: Fd,
    },
    /// Make a configured, non-blocking socket for `peer`: Done with its number.
    Open {
        /// Who it will connect to.
        peer: PeerId,
        /// The addresses to connect from; `None`: the kernel's choice.
        sources: SourceList,
        /// Bytes are in hand, so the handshake's ACK may wait for them.
        data_in_hand: bool,
    },
    /// Connect an opened socket.
    Connect {
        /// From `Open`.
        socket: Fd,
        /// The same peer.
        peer: PeerId,
    },
    /// Have an opened socket whose connect failed with [`Fault::NoPorts`] connect from another
    /// address: Done, with that fault where none is left.
    NextSource {
        /// From `Open`.
        socket: Fd,
        /// The same peer.
        peer: PeerId,
        /// The same addresses.
        sources: SourceList,
    },
    /// Receive into buffers of the ring; completions name them.
    Receive {
        /// From where.
        socket: Fd,
        /// Whether to wait first, and whether to go on.
        patience: Patience,
    },
    /// Send `from..to` of a ring buffer; never waits: `Fault::WouldBlock` or a short count.
    Send {
        /// To whom.
        socket: Fd,
        /// Buffer with the bytes.
        buffer: BufferId,
        /// First byte.
        from: u32,
        /// Behind the last byte.
        to: u32,
    },
    /// Send all of `bytes`, waiting as long as it takes; a short count means it broke.
    SendAll {
        /// To whom.
        socket: Fd,
        /// Owned until the completion.
        bytes: Vec<u8>,
        /// The socket was just seen full: wait before trying.
        full: bool,
    },
    /// Wait for readiness once; the result is the poll mask.
    Await {
        /// On what.
        socket: Fd,
        /// For what.
        readiness: Readiness,
    },
    /// Wait for room to write once.
    AwaitRoom {
        /// On what.
        socket: Fd,
    },
    /// Wait until the mailbox of this worker is written to.
    AwaitMail {
        /// Event counter.
        mailbox: Fd,
    },
    /// Ask a pending operation to complete now.
    Cancel {
        /// Which.
        target: Token,
    },
    /// Take an empty pipe: Done with its id.
    TakePipe,
    /// Give a pipe back; one that holds bytes is closed instead of pooled.
    ReturnPipe {
        /// Which.
        pipe: PipeId,
        /// Whether it holds nothing.
        empty: bool,
    },
    /// Move up to `most` bytes from a socket into a pipe: Done with the count, 0 at EOF.
    SpliceIn {
        /// From where.
        socket: Fd,
        /// To where.
        pipe: PipeId,
        /// Upper bound.
        most: u32,
    },
    /// Move bytes from a pipe to a socket: Done with the count.
    SpliceOut {
        /// From where; must hold `exactly` bytes, or the kernel waits for more to send along.
        pipe: PipeId,
        /// To where.
        socket: Fd,
        /// All the pipe holds.
        exactly: u32,
    },
    /// Bytes sent but not yet acknowledged: Done with the count.
    Unsent {
        /// Of which socket.
        socket: Fd,
    },
    /// Say EOF: Done.
    Shutdown {
        /// To whom.
        socket: Fd,
    },
    /// Close: Done. Nothing may be pending on it.
    Close {
        /// What.
        socket: Fd,
        /// How.
        farewell: Farewell,
    },
}

/// What became of a submitted operation.
#[derive(Debug)]
pub enum Submitted {
    /// It is over; there will be no completion.
    Done(Result<u32, Fault>),
    /// A completion will come.
    Pending,
}

/// The end of a pending operation.
#[derive(Debug)]
pub struct Completion {
    /// As submitted.
    pub token: Token,
    /// Count, descriptor or mask.
    pub result: Result<u32, Fault>,
    /// The ring buffer it filled, now the worker's to release.
    pub buffer: Option<BufferId>,
    /// More completions of the same operation will come.
    pub more: bool,
    /// The socket holds more bytes than were received.
    pub unread: bool,
}

/// The kernel as a worker sees it.
pub trait Engine {
    /// Starts an operation. Pending ones are carried to the kernel by the next [`Engine::reap`].
    fn submit(&mut self, token: Token, op: Op) -> Submitted;

    /// Hands over what is pending, then waits until something completes or `timeout_us` passed
    /// (`None`: for ever), and appends completions. A spurious return with none is allowed.
    fn reap(&mut self, timeout_us: Option<u64>, into: &mut Vec<Completion>) -> io::Result<()>;

    /// The first `len` bytes of a buffer this worker owns.
    fn bytes(&self, buffer: BufferId, len: u32) -> &[u8];

    /// Gives a ring buffer back.
    fn release(&mut self, buffer: BufferId);

    /// Bytes one ring buffer holds.
    fn buffer_size(&self) -> u32;

    /// Clients that an accept which goes on may take at once from one listener, wanted or not.
    fn accept_burst(&self) -> usize;

    /// Bytes an empty pipe takes.
    fn pipe_size(&self) -> u32;

    /// The other end's address; `None` on unix sockets, and when it is already gone.
    fn client_address(&mut self, socket: Fd) -> Option<SocketAddr> {
        socket::peer_address(socket)
    }

    /// This end's address, as `client_address`.
    fn local_address(&mut self, socket: Fd) -> Option<SocketAddr> {
        socket::local_address(socket)
    }

    /// What the kernel knows of a connection; `None` on unix sockets.
    fn tcp_info(&mut self, socket: Fd) -> Option<TcpInfo> {
        tcp_info::of(socket)
    }

    /// Learns the addresses behind those it knows, in the order of their numbers, and how sockets
    /// are configured from now on.
    ///
    /// # Errors
    /// An address the kernel cannot take.
    fn adopt(&mut self, peers: &[Address], options: TcpOptions) -> io::Result<()>;

    /// Takes `count` sockets that were sent through `post`, in order.
    ///
    /// # Errors
    /// They are not there, or no descriptor is free.
    fn receive_sockets(&mut self, post: Fd, count: usize) -> io::Result<Vec<Fd>> {
        post::receive(post, count)
    }

    /// Has the mailbox wait for the next ring.
    fn empty_mailbox(&mut self, mailbox: Fd) {
        mailbox::empty(mailbox);
    }

    /// Microseconds on a clock that never goes back.
    fn now_us(&mut self) -> u64;
}
