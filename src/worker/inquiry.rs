//! What the control thread asks workers about their sessions, and what they answer; and how it has
//! sessions closed. Plain values: who carries them out is `searching`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::Sender;

use ipnet::IpNet;

use crate::config::{Address, PoolIndex};
use crate::edition::Edition;
use crate::pool::{KeyKind, ServerIndex};
use crate::session::{About, Mode, Place};
use crate::slots::SlotId;
use crate::sys::tcp_info::TcpInfo;

/// Names a session for as long as it lives: `0-17-3` is that of worker 0 in slot 17, which has the
/// generation 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionId {
    /// Whose it is.
    pub worker: usize,
    /// Where it lives there.
    pub slot: SlotId,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.worker, self.slot.index, self.slot.generation)
    }
}

impl FromStr for SessionId {
    type Err = NoSuchForm;

    fn from_str(text: &str) -> Result<Self, NoSuchForm> {
        let [worker, index, generation] = numbers(text).ok_or(NoSuchForm)?;
        let generation = u16::try_from(generation).map_err(|_| NoSuchForm)?;
        Ok(Self { worker: worker as usize, slot: SlotId { index, generation } })
    }
}

/// Where a list of sessions goes on: `0-18` is slot 18 of worker 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The worker to be asked next.
    pub worker: usize,
    /// Its slot to be looked at next.
    pub index: u32,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.worker, self.index)
    }
}

impl FromStr for Cursor {
    type Err = NoSuchForm;

    fn from_str(text: &str) -> Result<Self, NoSuchForm> {
        let [worker, index] = numbers(text).ok_or(NoSuchForm)?;
        Ok(Self { worker: worker as usize, index })
    }
}

/// The text is no [`SessionId`] or [`Cursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchForm;

impl fmt::Display for NoSuchForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be numbers with hyphens between them, as ringway gave them out")
    }
}

fn numbers<const COUNT: usize>(text: &str) -> Option<[u32; COUNT]> {
    let is_plain = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<_> = text.split('-').filter(is_plain).map(str::parse).collect();
    let numbers: Vec<u32> = parts.into_iter().collect::<Result<_, _>>().ok()?;
    let is_whole = text.split('-').count() == COUNT;
    is_whole.then(|| numbers.try_into().ok()).flatten()
}

/// Which sessions are meant: those that fit all that is given. Names go across editions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The client is of this network, by its PROXY header where one was accepted.
    pub client: Option<IpNet>,
    /// Name of its listener.
    pub listener: Option<String>,
    /// Name of its pool.
    pub pool: Option<String>,
    /// Address of its server.
    pub server: Option<Address>,
    /// Its Host header or SNI, in lower case.
    pub host: Option<String>,
    /// What stickiness looks at in its pool: a sid, a cookie or another value, or an address.
    pub key: Option<String>,
    /// Its worker.
    pub worker: Option<usize>,
}

impl Filter {
    /// Whether a session that was accepted under `edition` is meant; of its worker that is known.
    pub fn fits(&self, about: &About, edition: &Edition) -> bool {
        let is_client = |network: &IpNet| {
            about.client.is_some_and(|client| network.contains(&client.ip().to_canonical()))
        };
        let is_listener =
            |name: &String| edition.config.listeners[usize::from(about.listener)].name == *name;
        let pool = about.pool.map(|pool| edition.pool_at(pool));
        let is_pool = |name: &String| pool.is_some_and(|pool| pool.name() == name);
        let is_server = |address: &Address| {
            let server = about.place.zip(pool).map(|(place, pool)| pool.server(place.server));
            server.is_some_and(|server| server.address == *address)
        };
        let is_host = |host: &String| about.host.as_deref() == Some(host);
        let is_key = |key: &String| {
            about.key_hash != 0
                && pool.and_then(|pool| pool.key_hash(key.as_bytes())) == Some(about.key_hash)
        };
        self.client.as_ref().is_none_or(is_client)
            && self.listener.as_ref().is_none_or(is_listener)
            && self.pool.as_ref().is_none_or(is_pool)
            && self.server.as_ref().is_none_or(is_server)
            && self.host.as_ref().is_none_or(is_host)
            && self.key.as_ref().is_none_or(is_key)
    }
}

/// Asks a worker about sessions, or has it close some.
pub struct Inquiry {
    /// Which sessions.
    pub filter: Arc<Filter>,
    /// What of them.
    pub ask: Ask,
    /// Where answers go; `None`: nobody wants any.
    pub reply: Option<Reply>,
}

/// What is asked.
pub enum Ask {
    /// So many at most, from this slot on.
    Show {
        /// Slot to be looked at first.
        from: u32,
        /// Sessions.
        limit: usize,
        /// With what the kernel knows of both connections.
        tcp_info: bool,
    },
    /// This one, whatever the filter, with what the kernel knows of it.
    ShowOne(SlotId),
    /// Close those there are now.
    Close {
        /// For what reason.
        why: Why,
        /// One by one, all workers together.
        pace: Arc<Pace>,
    },
    /// Close this one now, whatever the filter.
    CloseOne(SlotId),
}

/// Why sessions are closed.
#[derive(Clone)]
pub enum Why {
    /// An operator wants it so.
    Killed,
    /// Checks have declared this server down; for as long as they do.
    ServerDown {
        /// What it is part of.
        edition: Arc<Edition>,
        /// Its pool there.
        pool: PoolIndex,
        /// And its place in that.
        server: ServerIndex,
    },
}

/// Where answers go. The channel is the control thread's, which is rung for behind each.
#[derive(Clone)]
pub struct Reply {
    /// Tells whose answer it is.
    pub ticket: u64,
    /// To the control thread.
    pub sender: Sender<Answer>,
}

/// What a worker has found since its last answer to the same question.
#[derive(Debug)]
pub struct Answer {
    /// Of the question.
    pub ticket: u64,
    /// Whose answer it is.
    pub worker: usize,
    /// Those that are to be shown.
    pub sessions: Vec<View>,
    /// Sessions that fit, shown or closed.
    pub matched: u64,
    /// Where to go on, if there were more than were asked for.
    pub next: Option<u32>,
    /// It is the last one.
    pub is_last: bool,
}

/// Nanoseconds that closing may be behind its pace and still catch up: longer than workers are busy
/// with anything else, and no flood.
const BEHIND_NS: u64 = 100_000_000;

const NS_PER_S: u64 = 1_000_000_000;

/// So many sessions a second, over all workers.
#[derive(Debug)]
pub struct Pace {
    every_ns: u64,
    /// When the next one may go, on the clock all workers read.
    next_ns: AtomicU64,
}

impl Pace {
    /// The first may go at once.
    pub fn new(per_s: u32, now_us: u64) -> Self {
        let every_ns = NS_PER_S / u64::from(per_s.max(1));
        Self { every_ns, next_ns: AtomicU64::new(now_us * 1000) }
    }

    /// When the next one may go.
    pub fn next_us(&self) -> u64 {
        self.next_ns.load(Relaxed).div_ceil(1000)
    }

    /// Whether one may go now; it goes then.
    pub fn take(&self, now_us: u64) -> bool {
        let now_ns = now_us * 1000;
        let next = |next_ns: u64| {
            let from_ns = next_ns.max(now_ns.saturating_sub(BEHIND_NS));
            (next_ns <= now_ns).then_some(from_ns + self.every_ns)
        };
        self.next_ns.fetch_update(Relaxed, Relaxed, next).is_ok()
    }
}

/// A session as it was when somebody looked.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name.
    pub id: SessionId,
    /// What it was accepted under: `listener`, `pool` and `place` are positions there.
    pub edition: Arc<Edition>,
    /// Position in `Config::listeners`.
    pub listener: u16,
    /// Where the client is; `None`: a unix socket.
    pub client: Option<SocketAddr>,
    /// Host header or SNI.
    pub host: Option<Arc<str>>,
    /// The pool it was routed to.
    pub pool: Option<PoolIndex>,
    /// Its server there.
    pub place: Option<Place>,
    /// What stickiness looked at.
    pub key: KeyKind,
    /// Where it is on its way.
    pub phase: &'static str,
    /// How its halves move bytes, from client and from server; `None` unless it relays.
    pub modes: Option<[Mode; 2]>,
    /// Bytes received from the client and from the server.
    pub received: [u64; 2],
    /// Since it was accepted.
    pub age_us: u64,
    /// Since a byte moved, where the kernel knows.
    pub idle_ms: Option<u32>,
    /// From accept to the choice of a pool.
    pub peek_us: u32,
    /// From there to an established server connection.
    pub connect_us: u32,
    /// Servers tried in vain.
    pub retries: u8,
    /// What the kernel knows of the client's connection and of the server's, if it was asked for.
    pub tcp_info: [Option<TcpInfo>; 2],
}

impl View {
    /// Name of its listener.
    pub fn listener(&self) -> &str {
        &self.edition.config.listeners[usize::from(self.listener)].name
    }

    /// Name of its pool.
    pub fn pool(&self) -> Option<&str> {
        self.pool.map(|pool| self.edition.pool_at(pool).name())
    }

    /// Address of its server.
    pub fn server(&self) -> Option<&Address> {
        let place = self.place?;
        Some(&self.edition.pool_at(place.pool).server(place.server).address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let id = SessionId { worker: 3, slot: SlotId { index: 17, generation: 65_535 } };
        assert_eq!((id.to_string().as_str(), "3-17-65535".parse()), ("3-17-65535", Ok(id)));
        let cursor = Cursor { worker: 3, index: 18 };
        assert_eq!((cursor.to_string().as_str(), "3-18".parse()), ("3-18", Ok(cursor)));
        for wrong in ["", "3", "3-17", "3-17-65536", "-3-17-1", "3-17-1-", "3-x-1", "+3-1-1"] {
            assert_eq!(wrong.parse::<SessionId>(), Err(NoSuchForm), "{wrong}");
        }
    }

    #[test]
    fn a_pace_holds_over_all_workers_and_catches_up_a_little() {
        let pace = Pace::new(1_000, 5_000_000);
        let close = |now_us| (0..2_000).take_while(|_| pace.take(now_us)).count();
        assert_eq!((close(5_000_000), pace.next_us()), (1, 5_001_000));
        assert_eq!(close(5_000_999), 0);
        assert_eq!(close(5_003_000), 3);
        assert_eq!(close(60_000_000), 101, "a tenth of a second, and the one that is due");
        let fastest = Pace::new(u32::MAX, 0);
        assert!((0..5_000).all(|_| fastest.take(0)));
    }
}
