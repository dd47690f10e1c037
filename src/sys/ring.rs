//! The io_uring engine: one ring per worker, plain descriptors in a private table.
//!
//! Splice, shutdown and close are called directly: as ring operations they always go to an io-wq
//! thread (io_uring/splice.c, io_uring/net.c: REQ_F_FORCE_ASYNC).

use std::io;

use hashbrown::HashMap;
use io_uring::register::Restriction;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, cqueue, opcode, squeue, types};

use super::buffers::{BUFFER_SIZE, BUFFERS, BufferId, Buffers, GROUP};
use super::clock::Clock;
use super::direct::Direct;
use super::errno::Fault;
use super::pipes::PIPE_SIZE;
use super::socket::TcpOptions;
use super::sources::Uses;
use super::{
    Completion, Engine, Fd, Kind, Op, Patience, PeerId, Readiness, Submitted, Token, socket,
};
use crate::config::Address;

/// Operations handed over at once; more are handed over in several goes.
const SUBMISSIONS: u32 = 1024;

/// Completions the kernel may queue. Beyond it the kernel keeps a list (IORING_FEAT_NODROP), and
/// multishot accepts end.
const COMPLETIONS: u32 = 16 * 1024;

/// Operations this engine submits, and their names. Those that share a code are one to the kernel.
const OPERATIONS: [(&str, u8); 6] = [
    ("accept", opcode::AcceptMulti::CODE),
    ("connect", opcode::Connect::CODE),
    ("recv", opcode::Recv::CODE),
    ("send", opcode::Send::CODE),
    ("poll", opcode::PollAdd::CODE),
    ("cancel", opcode::AsyncCancel::CODE),
];

/// IORING_RECVSEND_POLL_FIRST: arm the poll without trying first.
const POLL_FIRST: u16 = 1;

/// A ring, its buffers, and what needs no ring.
pub struct Ring {
    // Dropped in this order: the ring first, since it writes to the others' memory.
    ring: IoUring,
    sending: HashMap<Token, Vec<u8>>,
    /// What ended a wait for trouble whose end has not come yet: its poll mask.
    trouble: HashMap<Token, u32>,
    buffers: Buffers,
    direct: Direct,
    clock: Clock,
}

impl Ring {
    /// Sets a ring up for the calling thread, which alone may use it. A `restricted` one takes the
    /// operations of this engine and no others: seccomp would not see them.
    pub fn new(
        peers: &[Address],
        options: TcpOptions,
        clock: Clock,
        restricted: bool,
        uses: Uses,
    ) -> io::Result<Self> {
        let ring = set_up(SUBMISSIONS, COMPLETIONS)?;
        let buffers = Buffers::new()?;
        register(&ring, &buffers)?;
        if restricted {
            restrict(&ring)?;
        }
        ring.submitter().register_enable_rings()?;
        let direct = Direct::new(peers, options, clock, uses)?;
        let (sending, trouble) = (HashMap::new(), HashMap::new());
        Ok(Self { ring, sending, trouble, buffers, direct, clock })
    }

    #[expect(unsafe_code, reason = "the kernel reads and writes what an entry points to")]
    fn push(&mut self, entry: squeue::Entry, token: Token) -> Submitted {
        let entry = entry.user_data(token.bits());
        loop {
            // SAFETY: what entries point to outlives their operation: ring buffers and peers live
            // as long as the ring, owned bytes are kept in `sending` until the completion.
            let pushed = unsafe { self.ring.submission().push(&entry) };
            match pushed {
                Ok(()) => return Submitted::Pending,
                Err(_) => {
                    // The queue is full. An error here means completions must be taken first, and
                    // the kernel takes entries all the same once asked again.
                    let _ = self.ring.submit();
                }
            }
        }
    }

    fn receive(&mut self, token: Token, socket: Fd, patience: Patience) -> Submitted {
        if patience == Patience::Stream {
            return self
                .push(opcode::RecvMulti::new(types::Fd(socket.number()), GROUP).build(), token);
        }
        let poll_first = if patience == Patience::Wait { POLL_FIRST } else { 0 };
        let entry = opcode::Recv::new(types::Fd(socket.number()), std::ptr::null_mut(), 0)
            .buf_group(GROUP)
            .ioprio(poll_first)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        self.push(entry, token)
    }

    fn send(
        &mut self,
        token: Token,
        socket: Fd,
        buffer: BufferId,
        from: u32,
        to: u32,
    ) -> Submitted {
        let bytes = &self.buffers.bytes(buffer, to)[from as usize..];
        let entry = opcode::Send::new(types::Fd(socket.number()), bytes.as_ptr(), to - from)
            .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .build();
        self.push(entry, token)
    }

    fn send_all(&mut self, token: Token, socket: Fd, bytes: Vec<u8>, full: bool) -> Submitted {
        let len = u32::try_from(bytes.len()).expect("held bytes are bounded");
        let entry = opcode::Send::new(types::Fd(socket.number()), bytes.as_ptr(), len)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .ioprio(if full { POLL_FIRST } else { 0 })
            .build();
        self.sending.insert(token, bytes);
        self.push(entry, token)
    }

    fn poll(&mut self, token: Token, socket: Fd, mask: i16) -> Submitted {
        let mask = u32::from(mask.cast_unsigned());
        self.push(opcode::PollAdd::new(types::Fd(socket.number()), mask).build(), token)
    }

    /// The kernel adds POLLERR, POLLHUP and POLLRDHUP to every mask (IO_POLL_UNMASK in
    /// io_uring/poll.c). A mere EOF must not end the wait, so it is one that goes on: see `take`.
    fn hang_up(&mut self, token: Token, socket: Fd) -> Submitted {
        let poll = opcode::PollAdd::new(types::Fd(socket.number()), 0).multi(true);
        self.push(poll.build(), token)
    }

    fn connect(&mut self, token: Token, socket: Fd, peer: PeerId) -> Submitted {
        let address = self.direct.peer(peer);
        let entry = opcode::Connect::new(
            types::Fd(socket.number()),
            address.as_ptr().cast(),
            address.len(),
        )
        .build();
        self.push(entry, token)
    }
}

/// `user_data` of entries whose completion tells nothing.
const NOBODY: u64 = u64::MAX;

/// Poll mask of what ends a wait for trouble (poll(2)).
const TROUBLE: i32 = (libc::POLLERR | libc::POLLHUP) as i32;

/// Reads an entry; owned bytes go with their operation.
fn complete(sending: &mut HashMap<Token, Vec<u8>>, entry: &cqueue::Entry) -> Completion {
    let token = Token::from_bits(entry.user_data());
    if token.kind() == Kind::SendAll {
        sending.remove(&token);
    }
    Completion {
        token,
        result: u32::try_from(entry.result()).map_err(|_| Fault::from_errno(-entry.result())),
        buffer: cqueue::buffer_select(entry.flags()).map(BufferId),
        more: cqueue::more(entry.flags()),
        unread: cqueue::sock_nonempty(entry.flags()),
    }
}

/// Whether this kernel lets this process have a ring; the error says why not.
///
/// # Errors
/// It is refused, too old, or lacks an operation.
pub fn check() -> io::Result<()> {
    let ring = set_up(1, 2)?;
    ring.submitter().register_enable_rings().map_err(refused)?;
    ring.submit().map_err(refused)?;
    Ok(())
}

/// A ring that takes nothing yet. Restrictions are set while it is disabled, and the thread that
/// enables it is the one that may submit (IORING_SETUP_SINGLE_ISSUER).
fn set_up(submissions: u32, completions: u32) -> io::Result<IoUring> {
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_r_disabled()
        .setup_cqsize(completions)
        .dontfork()
        .build(submissions)
        .map_err(refused)?;
    probe(&ring)?;
    Ok(ring)
}

/// What a refusal of io_uring_setup(2) means to whoever runs this.
fn refused(error: io::Error) -> io::Error {
    let why = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "io_uring is refused here (sysctl kernel.io_uring_disabled, or a seccomp profile such \
             as a container's default)"
        }
        Some(libc::ENOSYS) => "this kernel has no io_uring",
        Some(libc::EINVAL) => "this kernel's io_uring is too old (6.1 or later is needed)",
        _ => return error,
    };
    io::Error::new(error.kind(), why)
}

/// Fails with the name of what this kernel does not offer.
fn probe(ring: &IoUring) -> io::Result<()> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(refused)?;
    for (name, code) in OPERATIONS {
        if !probe.is_supported(code) {
            let message = format!("io_uring here has no {name} operation");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
    }
    Ok(())
}

/// The operations above, each perhaps with a buffer of the ring and with nothing else, and no
/// registering of any kind once the ring is enabled (io_uring_register(2),
/// IORING_REGISTER_RESTRICTIONS).
fn restrict(ring: &IoUring) -> io::Result<()> {
    let mut restrictions: Vec<_> =
        OPERATIONS.iter().map(|&(_, code)| Restriction::sqe_op(code)).collect();
    restrictions.push(Restriction::sqe_flags_allowed(squeue::Flags::BUFFER_SELECT.bits()));
    ring.submitter().register_restrictions(&mut restrictions)
}

#[expect(unsafe_code, reason = "registers memory with the kernel")]
fn register(ring: &IoUring, buffers: &Buffers) -> io::Result<()> {
    let (address, submitter) = (buffers.entries_address(), ring.submitter());
    // SAFETY: the entries are page-aligned, hold BUFFERS of them, and outlive the ring (field
    // order of Ring).
    unsafe { submitter.register_buf_ring_with_flags(address, BUFFERS, GROUP, 0) }
}

impl Ring {
    /// Completions, but for what a wait for trouble says in between: that the peer has said EOF.
    /// Once there is trouble, the wait is ended, and its end tells of it.
    fn take(&mut self, into: &mut Vec<Completion>) {
        let mut troubled = Vec::new();
        for entry in self.ring.completion() {
            if entry.user_data() == NOBODY {
                continue;
            }
            let token = Token::from_bits(entry.user_data());
            let mut completion = complete(&mut self.sending, &entry);
            if token.kind() == Kind::HangUp {
                if completion.more {
                    if entry.result() & TROUBLE != 0 {
                        self.trouble.insert(token, entry.result().cast_unsigned());
                        troubled.push(token);
                    }
                    continue;
                }
                if let Some(mask) = self.trouble.remove(&token) {
                    completion.result = Ok(mask);
                }
            }
            into.push(completion);
        }
        for token in troubled {
            let end = opcode::AsyncCancel::new(token.bits()).build();
            self.push(end, Token::from_bits(NOBODY));
        }
    }
}

impl Engine for Ring {
    fn submit(&mut self, token: Token, op: Op) -> Submitted {
        match op {
            Op::Accept { listener, once: false } => {
                let entry = opcode::AcceptMulti::new(types::Fd(listener.number()))
                    .flags(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
                    .build();
                self.push(entry, token)
            }
            Op::Accept { listener, once: true } => {
                let (fd, nowhere) = (types::Fd(listener.number()), std::ptr::null_mut());
                let entry = opcode::Accept::new(fd, nowhere, std::ptr::null_mut())
                    .flags(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
                    .build();
                self.push(entry, token)
            }
            Op::Connect { socket, peer } => self.connect(token, socket, peer),
            Op::Receive { socket, patience } => self.receive(token, socket, patience),
            Op::Send { socket, buffer, from, to } => self.send(token, socket, buffer, from, to),
            Op::SendAll { socket, bytes, full } => self.send_all(token, socket, bytes, full),
            Op::Await { socket, readiness: Readiness::Readable } => {
                self.poll(token, socket, libc::POLLIN)
            }
            Op::Await { socket, readiness: Readiness::HangUp } => self.hang_up(token, socket),
            Op::AwaitRoom { socket } => self.poll(token, socket, libc::POLLOUT),
            Op::AwaitMail { mailbox } => self.poll(token, mailbox, libc::POLLIN),
            Op::Cancel { target } => {
                self.push(opcode::AsyncCancel::new(target.bits()).build(), token)
            }
            at_once => Submitted::Done(self.direct.perform(&at_once)),
        }
    }

    fn reap(&mut self, timeout_us: Option<u64>, into: &mut Vec<Completion>) -> io::Result<()> {
        let result = match timeout_us {
            None => self.ring.submitter().submit_and_wait(1),
            Some(timeout_us) => {
                let seconds = timeout_us / 1_000_000;
                let nanoseconds = (timeout_us % 1_000_000) as u32 * 1000;
                let timeout = Timespec::new().sec(seconds).nsec(nanoseconds);
                let args = SubmitArgs::new().timespec(&timeout);
                self.ring.submitter().submit_with_args(1, &args)
            }
        };
        match result.map_err(|error| error.raw_os_error()) {
            // EBUSY and EAGAIN: completions must be taken before more can be handed over.
            Ok(_) | Err(Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {}
            Err(Some(errno)) => return Err(io::Error::from_raw_os_error(errno)),
            Err(None) => return Err(io::Error::other("io_uring_enter failed without an errno")),
        }
        self.take(into);
        Ok(())
    }

    fn bytes(&self, buffer: BufferId, len: u32) -> &[u8] {
        self.buffers.bytes(buffer, len)
    }

    fn release(&mut self, buffer: BufferId) {
        self.buffers.offer(buffer);
    }

    fn buffer_size(&self) -> u32 {
        BUFFER_SIZE
    }

    fn accept_burst(&self) -> usize {
        // The kernel accepts until nobody waits; half as many again arrive while it does.
        usize::from(socket::BACKLOG) * 3 / 2
    }

    fn pipe_size(&self) -> u32 {
        PIPE_SIZE
    }

    fn adopt(&mut self, peers: &[Address], options: TcpOptions) -> io::Result<()> {
        self.direct.adopt(peers, options)
    }

    fn now_us(&mut self) -> u64 {
        self.clock.now_us()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LoopbackCongestion;
    use crate::sys::Side;

    fn ring(restricted: bool) -> Ring {
        let loopback_congestion = LoopbackCongestion::System;
        let options = TcpOptions { keep_alive: None, user_timeout_ms: None, loopback_congestion };
        Ring::new(&[], options, Clock::new(), restricted, Uses::default()).unwrap()
    }

    /// What the kernel says to an entry, by errno.
    fn asked(ring: &mut Ring, entry: squeue::Entry) -> Result<u32, Fault> {
        let token = Token::new(0, 0, Kind::Cancel, Side::Client);
        assert!(matches!(ring.push(entry, token), Submitted::Pending));
        let mut completions = Vec::new();
        ring.reap(None, &mut completions).unwrap();
        completions[0].result
    }

    #[test]
    fn a_restricted_ring_takes_no_other_operation_flag_or_registration() {
        let open = || {
            opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), c"/dev/null".as_ptr())
                .flags(libc::O_RDONLY)
                .build()
        };
        let denied = Err(Fault::Other(libc::EACCES));
        let mut restricted = ring(true);
        assert_eq!(asked(&mut restricted, open()), denied);
        assert_eq!(asked(&mut restricted, opcode::Nop::new().build()), denied);
        let poll = opcode::PollAdd::new(types::Fd(-1), 0).build();
        assert_eq!(asked(&mut restricted, poll.clone().flags(squeue::Flags::ASYNC)), denied);
        assert_ne!(asked(&mut restricted, poll), denied);
        let registered = restricted.ring.submitter().register_probe(&mut Probe::new());
        assert_eq!(registered.unwrap_err().raw_os_error(), Some(libc::EACCES));

        let mut free = ring(false);
        assert!(asked(&mut free, open()).is_ok());
        assert!(free.ring.submitter().register_probe(&mut Probe::new()).is_ok());
    }
}
