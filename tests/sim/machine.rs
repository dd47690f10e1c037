//! What one seed makes of the machine and the network: how much there is of everything, and how
//! often what can fail does. Some seeds are calm, and some are hell.

use ringway::random::Random;
use ringway::sys::Fault;

use crate::link::Draws;

/// See the head of the file.
pub(crate) struct Machine {
    pub(crate) buffers: usize,
    pub(crate) buffer_size: u32,
    pub(crate) pipe_size: u32,
    pub(crate) window_max: u64,
    /// Most bytes of a raw script.
    pub(crate) bulk: u64,
    /// Sockets and ends of pipes the worker may have open, listening sockets apart.
    pub(crate) descriptors_max: usize,
    /// What an accept that goes on is said to take at once.
    pub(crate) accept_burst: usize,
    pub(crate) rates: Rates,
    /// Servers refuse for a while, or vanish, and are back.
    pub(crate) flaps: bool,
    /// Minutes pass at once now and then: the machine was suspended, or the worker not scheduled.
    pub(crate) jumps: bool,
}

/// One call in so many fails.
#[derive(Clone, Copy)]
pub(crate) struct Rates {
    /// Making a socket or a pipe.
    pub(crate) shortage: u64,
    pub(crate) accepts: u64,
    pub(crate) connects: u64,
    pub(crate) receives: u64,
    pub(crate) sends: u64,
    pub(crate) splices: u64,
    pub(crate) polls: u64,
    /// Asking what is unsent.
    pub(crate) looks: u64,
    /// One peer in so many resets some time.
    pub(crate) resets: u64,
}

/// As good as never.
const NEVER: u64 = u64::MAX;

impl Machine {
    pub(crate) fn new(random: &mut Random) -> Self {
        let is_bulk = random.one_in(32);
        let buffers_max = if random.one_in(2) { 1 } else { 8 };
        Self {
            buffers: 1 + random.below(buffers_max) as usize,
            buffer_size: 16 << random.below(if is_bulk { 9 } else { 5 }),
            pipe_size: 64 << random.below(if is_bulk { 12 } else { 5 }),
            window_max: if is_bulk { 2 << 20 } else { 16 << random.below(8) },
            bulk: if is_bulk { 3 << 20 } else { 20_000 },
            descriptors_max: if random.one_in(3) {
                1 + random.below(24) as usize
            } else {
                usize::MAX
            },
            accept_burst: random.below(20) as usize,
            rates: Rates::new(random),
            flaps: random.one_in(3),
            jumps: random.one_in(4),
        }
    }
}

impl Rates {
    fn new(random: &mut Random) -> Self {
        let is_calm = random.one_in(4);
        let mut rate = |worst: u64| match random.below(4) {
            _ if is_calm => NEVER,
            0 => NEVER,
            1 => worst * 100,
            2 => worst * 10,
            _ => worst,
        };
        Self {
            shortage: rate(4),
            accepts: rate(8),
            connects: rate(2),
            receives: rate(40),
            sends: rate(40),
            splices: rate(20),
            polls: rate(10),
            looks: rate(2),
            resets: rate(3),
        }
    }
}

/// Making a socket or a pipe (socket(2), pipe(2)).
pub(crate) const SHORTAGE: &[i32] = &[libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS];

/// accept(2), "error handling" among it: what befell a connection that waited.
pub(crate) const ACCEPT: &[i32] = &[
    libc::ECONNABORTED,
    libc::EMFILE,
    libc::ENFILE,
    libc::ENOMEM,
    libc::ENOBUFS,
    libc::EPERM,
    libc::EPROTO,
    libc::ENOPROTOOPT,
    libc::ENONET,
    libc::ENETDOWN,
    libc::ENETUNREACH,
    libc::EHOSTDOWN,
    libc::EHOSTUNREACH,
];

/// connect(2); EAGAIN is a unix socket's full queue, ENOENT its missing path.
pub(crate) const CONNECT: &[i32] = &[
    libc::ECONNREFUSED,
    libc::ECONNRESET,
    libc::ETIMEDOUT,
    libc::EHOSTUNREACH,
    libc::ENETUNREACH,
    libc::EADDRNOTAVAIL,
    libc::ENOMEM,
    libc::EPERM,
    libc::EAGAIN,
    libc::ENOENT,
];

/// What ends a connection from afar, and is told to whoever uses it next.
pub(crate) const END: &[i32] =
    &[libc::ECONNRESET, libc::ECONNRESET, libc::ETIMEDOUT, libc::EHOSTUNREACH];

/// What a call on a connection that stands fails with, which then still stands.
pub(crate) const CALL: &[i32] = &[libc::ENOMEM, libc::EIO];

/// As [`CALL`], where ENOBUFS does not mean a ring without buffers.
pub(crate) const SEND: &[i32] = &[libc::ENOMEM, libc::ENOBUFS, libc::EIO];

/// One of them.
pub(crate) fn one_of(errnos: &[i32], random: &mut Random) -> Fault {
    Fault::from_errno(errnos[random.below(errnos.len() as u64) as usize])
}
