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
/// More threads than any machine has cores for; no default, `auto` counts the cores.
pub(super) const WORKER_COUNT: Whole = Whole::new(1..=1_024, 1);
/// What a `cpu_set_t` can name (CPU_SETSIZE, sched.h).
pub(super) const CORE: Whole = Whole::new(0..=1_023, 0);
/// The kernel keeps the last number for "unchanged" (setresuid(2)).
pub(super) const ACCOUNT: Whole = Whole::new(0..=u32::MAX - 1, 0);

/// Sent with an inserted cookie: for the whole site, out of reach of scripts, kept on links here.
pub(super) const COOKIE_ATTRIBUTES: &str = "Path=/; HttpOnly; SameSite=Lax";
/// Where Socket.IO serves unless told otherwise.
pub(super) const SOCKETIO_PATH: &str = "/socket.io/";
