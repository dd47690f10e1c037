//! Ranges and defaults, each with how it was chosen.
//!
//! The schema shows these and the reader applies them; there is no second place to change.

use std::ops::RangeInclusive;

/// Whole numbers a key may have, and the one it has when it is not given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    pub(super) min: u32,
    pub(super) max: u32,
    pub(super) default: u32,
}

impl Whole {
    pub(super) const fn new(range: RangeInclusive<u32>, default: u32) -> Self {
        Self { min: *range.start(), max: *range.end(), default }
    }
}

/// Whole numbers a key may have that `false` turns off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switched {
    pub(super) min: u32,
    pub(super) max: u32,
    /// `None`: off.
    pub(super) default: Option<u32>,
}

impl Switched {
    pub(super) const fn new(range: RangeInclusive<u32>, default: Option<u32>) -> Self {
        Self { min: *range.start(), max: *range.end(), default }
    }
}

/// Thirty days: whoever wants more wants none.
const LONG_MS: u32 = 30 * 24 * 3_600 * 1_000;

/// Off: what the machine can hold is the limit. The upper end is beyond any machine.
pub(super) const MAX_CONNECTIONS: Switched = Switched::new(1..=1_000_000_000, None);
/// Off. The upper end is beyond what any listener accepts.
pub(super) const ACCEPT_RATE_PER_S: Switched = Switched::new(1..=10_000_000, None);
/// Of one client network; no default, who limits says to what.
pub(super) const PER_SOURCE_COUNT: Whole = Whole::new(1..=1_000_000_000, 1);
/// One address each: a home or an office behind one may be many clients.
pub(super) const IPV4_PREFIX: Whole = Whole::new(8..=32, 32);
/// What one customer gets at the least (RFC 6177).
pub(super) const IPV6_PREFIX: Whole = Whole::new(16..=128, 64);
/// Long enough for a ClientHello over a bad mobile link, short enough to shed idle openers.
pub(super) const PEEK_TIMEOUT_MS: Whole = Whole::new(100..=600_000, 5_000);
/// A client that speaks first does so within one round trip; a longer wait delays every client of
/// a server-first protocol.
pub(super) const AUTO_TIMEOUT_MS: Whole = Whole::new(10..=60_000, 200);
/// Twice what Node takes as a request head; the upper end is what one held buffer may be.
pub(super) const HEAD_MAX_BYTES: Whole = Whole::new(1_024..=65_536, 32_768);
/// One lost SYN (1 s) is survived.
pub(super) const CONNECT_TIMEOUT_MS: Whole = Whole::new(10..=600_000, 2_000);
/// Different servers, so three failures are not one bad server.
pub(super) const CONNECT_TRIES: Whole = Whole::new(1..=16, 3);
/// Off: what a server takes is for whoever knows it to say. The upper end is beyond any machine.
pub(super) const SERVER_CONNECTIONS: Switched = Switched::new(1..=1_000_000, None);
/// Off: what refuses connects says so itself, and is tried no further.
pub(super) const CONNECTS_IN_FLIGHT: Switched = Switched::new(1..=1_000_000, None);
/// A kernel lets some thousands wait to be accepted (net.core.somaxconn); who waits here costs
/// more.
pub(super) const QUEUE: Whole = Whole::new(0..=1_000_000, 1_024);
/// Nobody looks longer at a page that does not come.
pub(super) const QUEUE_TIMEOUT_MS: Whole = Whole::new(10..=600_000, 5_000);
/// Off, since a quiet WebSocket is a healthy one.
pub(super) const IDLE_TIMEOUT_MS: Switched = Switched::new(1_000..=LONG_MS, None);
/// No protocol leaves a half-closed connection without a byte for an hour; what does has forgotten
/// it.
pub(super) const HALF_CLOSED_TIMEOUT_MS: Switched = Switched::new(1_000..=LONG_MS, Some(3_600_000));
/// Off, since it ends sessions that nothing is wrong with.
pub(super) const MAX_AGE_MS: Switched = Switched::new(1_000..=LONG_MS, None);
/// Sessions that began together come back spread over a tenth of their age.
pub(super) const MAX_AGE_JITTER_PERCENT: Whole = Whole::new(0..=100, 10);
/// Twice within the time in which people notice; 2,000 servers are then 400 checks a second.
pub(super) const CHECK_INTERVAL_MS: Whole = Whole::new(100..=3_600_000, 5_000);
/// A server that seems to change is looked at more often, so that three checks take two seconds.
pub(super) const CHECK_FAST_INTERVAL_MS: Whole = Whole::new(50..=3_600_000, 1_000);
/// As long as one connect may take.
pub(super) const CHECK_TIMEOUT_MS: Whole = Whole::new(10..=600_000, 2_000);
/// Several balancers that were started together soon check at different times.
pub(super) const CHECK_JITTER_PERCENT: Whole = Whole::new(0..=50, 10);
/// One good check may be luck.
pub(super) const CHECK_RISE: Whole = Whole::new(1..=100, 2);
/// One bad check may be bad luck, and so may two.
pub(super) const CHECK_FALL: Whole = Whole::new(1..=100, 3);
/// Status codes of HTTP (RFC 9110 section 15).
pub(super) const CHECK_STATUS: Whole = Whole::new(100..=599, 200);
/// TCP ports; no default, the server's own is taken.
pub(super) const PORT: Whole = Whole::new(1..=65_535, 0);
/// Failures in a row; a client is sent on after each, so they cost time and nothing else.
pub(super) const EJECT_FAILURES: Whole = Whole::new(1..=1_000, 3);
/// A process that is started again is back by then.
pub(super) const EJECT_BASE_MS: Whole = Whole::new(1_000..=3_600_000, 5_000);
/// A server that comes back is noticed within minutes, however long it was gone.
pub(super) const EJECT_MAX_MS: Whole = Whole::new(1_000..=86_400_000, 300_000);
/// Where more than half of all servers fail, it is rarely they who are at fault.
pub(super) const EJECT_MAX_PERCENT: Whole = Whole::new(0..=100, 50);
/// Off; what has to warm up its caches needs half a minute or so.
pub(super) const SLOW_START_MS: Whole = Whole::new(0..=3_600_000, 0);
/// Sessions of a server that is down; no default, they are kept unless this is given.
pub(super) const CLOSE_PER_S: Whole = Whole::new(1..=1_000_000, 100);
/// Share of connections; smooth weighted round robin lays its schedule out ahead.
pub(super) const WEIGHT: Whole = Whole::new(1..=256, 1);
/// Socket.IO notices a dead peer after 45 s (ping interval plus timeout); this is well beyond it.
pub(super) const TTL_S: Whole = Whole::new(1..=86_400, 120);
/// About 100 MB when full.
pub(super) const MAX_ENTRIES: Whole = Whole::new(1_024..=100_000_000, 1_000_000);
/// With the window behind it, within the 30 s that container platforms give a process to end.
pub(super) const DRAIN_TIMEOUT_MS: Whole = Whole::new(0..=86_400_000, 20_000);
/// Clients that are closed all at once come back all at once, to somebody else.
pub(super) const DRAIN_WINDOW_MS: Whole = Whole::new(0..=3_600_000, 5_000);
/// The kernel's own limit is 32,767 s (MAX_TCP_KEEPIDLE, include/net/tcp.h).
pub(super) const IDLE_S: Whole = Whole::new(1..=32_767, 60);
/// The kernel's own limit is 32,767 s (MAX_TCP_KEEPINTVL, include/net/tcp.h).
pub(super) const INTERVAL_S: Whole = Whole::new(1..=32_767, 10);
/// The kernel's own limit is 127 (MAX_TCP_KEEPCNT, include/net/tcp.h).
pub(super) const PROBES: Whole = Whole::new(1..=127, 6);
/// Off: it ends live connections too whose peer's window stays zero. The upper end is what the
/// kernel takes (an int).
pub(super) const TCP_USER_TIMEOUT_MS: Switched = Switched::new(1_000..=2_147_483_647, None);
/// More threads than any machine has cores for; no default, `auto` counts the cores.
pub(super) const WORKER_COUNT: Whole = Whole::new(1..=1_024, 1);
/// What a `cpu_set_t` can name (CPU_SETSIZE, sched.h).
pub(super) const CORE: Whole = Whole::new(0..=1_023, 0);
/// Every session. The upper end leaves a few lines an hour of a listener that accepts a thousand
/// clients a second.
pub(super) const SAMPLE_ONE_IN: Whole = Whole::new(1..=1_000_000, 1);
/// The kernel keeps the last number for "unchanged" (setresuid(2)).
pub(super) const ACCOUNT: Whole = Whole::new(0..=u32::MAX - 1, 0);

/// Of the admin endpoint's token: nobody guesses as many, and a header takes them.
pub(super) const TOKEN_BYTES: Whole = Whole::new(16..=256, 32);

/// Sent with an inserted cookie: for the whole site, out of reach of scripts, kept on links here.
pub(super) const COOKIE_ATTRIBUTES: &str = "Path=/; HttpOnly; SameSite=Lax";
/// What a check asks for where nothing else is said.
pub(super) const CHECK_PATH: &str = "/";
/// Status codes of a server that works: redirects do, errors do not.
pub(super) const CHECK_STATUSES: &str = "200-399";
/// Where Socket.IO serves unless told otherwise.
pub(super) const SOCKETIO_PATH: &str = "/socket.io/";
