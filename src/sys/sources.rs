//! From which of this machine's addresses a server is connected to: ports are counted for each pair
//! of source and server, and one address has 28,232 of them by default.
//!
//! Where a pool lists its sources, sockets take them in turn. Where it does not, the kernel
//! chooses, and only towards a server on loopback that it has no port left for do other addresses
//! of 127.0.0.0/8 serve, in turn: servers have rules for 127.0.0.1. A socket is bound to an address
//! only (IP_BIND_ADDRESS_NO_PORT); its port is found when it connects, as if it were not bound.
//!
//! In turn, since a connect is dear where half of the ports are taken: the kernel looks at those of
//! one parity first, one by one (20 µs of CPU at 14,000 connections, 800 µs at 15,000, 2 ms to find
//! out that none is left).

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;
use socket2::{Domain, SockAddr, Socket, Type};

use super::{Fault, Fd, PeerId, socket};

/// Microseconds for which a source without a free port is left alone: to look at it again costs
/// 2 ms, and a port that has become free is not waited for.
const SPENT_US: u64 = 1_000_000;

/// Other addresses of 127.0.0.0/8 that serve where none is listed: 127.0.0.2 and those behind it,
/// 7 million connections to each server.
const LOOPBACK_OTHERS: u8 = 253;

/// `None`: the kernel's choice.
pub type Source = Option<IpAddr>;

/// To which server, at which address, from which of the addresses that are listed.
pub type Way<'a> = (PeerId, &'a SockAddr, Option<&'a [IpAddr]>);

/// Connections from each source address that sockets were bound to, by server, over all workers.
/// Those from the address that the kernel chooses are a server's sessions less these.
#[derive(Clone, Debug, Default)]
pub struct Uses(Arc<Mutex<Counts>>);

type Counts = HashMap<(PeerId, IpAddr), Arc<AtomicU32>>;

impl Uses {
    /// All pairs that were ever used, with the sockets bound now.
    pub fn all(&self) -> Vec<(PeerId, IpAddr, u32)> {
        let uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.iter().map(|(&(peer, ip), count)| (peer, ip, count.load(Relaxed))).collect()
    }

    fn count(&self, peer: PeerId, ip: IpAddr) -> Arc<AtomicU32> {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(uses.entry((peer, ip)).or_default())
    }
}

/// What one engine knows of sources.
pub struct Sources {
    uses: Uses,
    /// The same counts, without the lock.
    counts: Counts,
    /// Until when, on the engine's clock, a source is left alone towards a server. Empty on nearly
    /// every machine.
    spent: HashMap<(PeerId, Source), u64>,
    /// Sockets that are bound to an address, by number.
    bound: HashMap<i32, Bound>,
    turn: usize,
}

struct Bound {
    ip: IpAddr,
    count: Arc<AtomicU32>,
}

impl Sources {
    /// Of an engine that counts in `uses`.
    pub fn new(uses: Uses) -> Self {
        let (counts, spent, bound) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { uses, counts, spent, bound, turn: 0 }
    }

    /// The source for a new connection, or [`Fault::NoPorts`] where all are spent.
    pub fn choose(
        &mut self,
        (peer, address, listed): Way<'_>,
        now_us: impl Fn() -> u64,
    ) -> Result<Source, Fault> {
        let Some(server) = address.as_socket() else { return Ok(None) };
        if self.spent.is_empty() && listed.is_none() {
            return Ok(None);
        }
        let now_us = if self.spent.is_empty() { 0 } else { now_us() };
        let is_of_family = |ip: &IpAddr| ip.is_ipv4() == server.is_ipv4();
        match listed.filter(|listed| listed.iter().any(is_of_family)) {
            Some(listed) => {
                let of_family = || listed.iter().copied().filter(is_of_family);
                self.in_turn(peer, of_family().count(), |at| of_family().nth(at), now_us)
            }
            None if !self.is_spent(peer, None, now_us) => Ok(None),
            None => self.other(peer, server, now_us),
        }
    }

    /// The next of as many sources that is not spent.
    fn in_turn(
        &mut self,
        peer: PeerId,
        count: usize,
        source: impl Fn(usize) -> Source,
        now_us: u64,
    ) -> Result<Source, Fault> {
        let first = self.turn;
        self.turn = self.turn.wrapping_add(1);
        let mut sources = (0..count).map(|step| source(first.wrapping_add(step) % count));
        let found = sources.find(|&source| !self.is_spent(peer, source, now_us));
        found.ok_or(Fault::NoPorts)
    }

    /// Where none is listed and the kernel's choice is spent.
    fn other(&mut self, peer: PeerId, server: SocketAddr, now_us: u64) -> Result<Source, Fault> {
        let is_loopback = matches!(server.ip(), IpAddr::V4(ip) if ip.is_loopback());
        let count = if is_loopback { usize::from(LOOPBACK_OTHERS) } else { 0 };
        let source = |at| Some(IpAddr::from(Ipv4Addr::new(127, 0, 0, at as u8 + 2)));
        self.in_turn(peer, count, source, now_us)
    }

    fn is_spent(&self, peer: PeerId, source: Source, now_us: u64) -> bool {
        self.spent.get(&(peer, source)).is_some_and(|&until_us| now_us < until_us)
    }

    /// Binds a socket that is not connected, whatever it was bound to before; to the next source if
    /// this host does not have the address any more.
    pub fn bind(
        &mut self,
        opened: Fd,
        way: Way<'_>,
        mut ip: IpAddr,
        now_us: u64,
    ) -> Result<(), Fault> {
        loop {
            match socket::bind_address(opened, ip) {
                Ok(()) => {
                    self.note(opened, way.0, ip);
                    return Ok(());
                }
                Err(Fault::NoPorts) => ip = self.another(way, Some(ip), now_us)?,
                Err(fault) => return Err(fault),
            }
        }
    }

    /// A socket found no port: leaves its source alone for a while and binds it to the next.
    pub fn bind_to_next(&mut self, opened: Fd, way: Way<'_>, now_us: u64) -> Result<(), Fault> {
        let spent = self.bound.get(&opened.number()).map(|bound| bound.ip);
        let ip = self.another(way, spent, now_us)?;
        self.bind(opened, way, ip, now_us)
    }

    /// The source that follows one that is spent.
    fn another(&mut self, way: Way<'_>, spent: Source, now_us: u64) -> Result<IpAddr, Fault> {
        self.spent.retain(|_, until_us| now_us < *until_us);
        self.spent.insert((way.0, spent), now_us + SPENT_US);
        match self.choose(way, || now_us)? {
            Some(ip) => Ok(ip),
            // A socket that is bound is not for the kernel to choose for any more.
            None => self.another(way, None, now_us),
        }
    }

    /// A socket that is bound to this address will connect to that server.
    pub fn note(&mut self, opened: Fd, peer: PeerId, ip: IpAddr) {
        self.release(opened);
        let count = self.counts.entry((peer, ip)).or_insert_with(|| self.uses.count(peer, ip));
        count.fetch_add(1, Relaxed);
        self.bound.insert(opened.number(), Bound { ip, count: Arc::clone(count) });
    }

    /// A socket serves its server no longer; what it is bound to, which a spare stays.
    pub fn release(&mut self, closing: Fd) -> Source {
        if self.bound.is_empty() {
            return None;
        }
        let Bound { ip, count } = self.bound.remove(&closing.number())?;
        count.fetch_sub(1, Relaxed);
        Some(ip)
    }
}

/// Ports of one address towards one server (ip(7), ip_local_port_range); to be asked before files
/// are out of reach. As by default where the kernel does not say.
pub fn ports() -> u32 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let ends: Vec<u32> = range
        .as_deref()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .filter_map(|end| end.parse().ok())
        .collect();
    match ends[..] {
        [from, to] if from <= to => to - from + 1,
        _ => 28_232,
    }
}

/// Whether this host has an address to connect from.
///
/// # Errors
/// It has not, or no socket can be had.
pub fn probe(ip: IpAddr) -> io::Result<()> {
    let address = SocketAddr::new(ip, 0);
    Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), None)?.bind(&address.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId(3);

    fn address(text: &str) -> SockAddr {
        text.parse::<SocketAddr>().unwrap().into()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// A socket that could be connected.
    fn open(address: &SockAddr) -> (Socket, Fd) {
        let socket = Socket::new(address.domain(), Type::STREAM, None).unwrap();
        let fd = Fd::new(std::os::fd::AsRawFd::as_raw_fd(&socket));
        (socket, fd)
    }

    #[test]
    fn loopback_has_other_addresses_once_the_kernels_choice_is_spent_and_only_for_a_while() {
        let mut sources = Sources::new(Uses::default());
        let server = address("127.0.0.1:80");
        let (socket, fd) = open(&server);
        let way = |peer| (peer, &server, None);
        assert_eq!(sources.choose(way(PEER), || 0), Ok(None));
        sources.bind_to_next(fd, way(PEER), 10).unwrap();
        let bound = || socket.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(bound().to_string(), "127.0.0.2:0", "the port is found when it connects");
        assert_eq!(sources.choose(way(PEER), || 10), Ok(Some(ip("127.0.0.3"))));
        assert_eq!(sources.choose(way(PeerId(4)), || 10), Ok(None), "another server");
        sources.bind_to_next(fd, way(PEER), 11 + SPENT_US).unwrap();
        assert_eq!(bound().to_string(), "127.0.0.4:0", "bound, so not the kernel's choice again");
        assert_eq!(sources.choose(way(PEER), || 12 + 2 * SPENT_US), Ok(None));
    }

    #[test]
    fn without_a_list_other_servers_have_one_source() {
        for server in ["10.0.0.1:80", "[::1]:80"].map(address) {
            let (_socket, fd) = open(&server);
            let mut sources = Sources::new(Uses::default());
            let way = (PEER, &server, None);
            assert_eq!(sources.bind_to_next(fd, way, 0), Err(Fault::NoPorts), "{server:?}");
            assert_eq!(sources.choose(way, || 1), Err(Fault::NoPorts));
            assert_eq!(sources.choose(way, || SPENT_US), Ok(None));
        }
    }

    #[test]
    fn a_list_is_taken_in_turn_without_what_is_spent_or_of_another_family() {
        let mut sources = Sources::new(Uses::default());
        let listed = [ip("127.0.0.1"), ip("::1"), ip("127.0.0.2"), ip("127.0.0.3")];
        let server = address("127.0.0.9:80");
        let way = (PEER, &server, Some(&listed[..]));
        let three: Vec<_> = (0..3).map(|_| sources.choose(way, || 0).unwrap().unwrap()).collect();
        assert_eq!(three, [listed[0], listed[2], listed[3]]);
        let (socket, fd) = open(&server);
        sources.bind(fd, way, listed[0], 0).unwrap();
        let bound = || socket.local_addr().unwrap().as_socket().unwrap().ip();
        for spent in [listed[0], listed[2]] {
            sources.note(fd, PEER, spent);
            sources.bind_to_next(fd, way, 0).unwrap();
            assert_ne!(bound(), spent);
        }
        assert_eq!(bound(), listed[3]);
        assert_eq!(sources.bind_to_next(fd, way, 0), Err(Fault::NoPorts));
    }

    #[test]
    fn an_address_this_host_has_lost_is_passed_over() {
        let listed = [ip("192.0.2.1"), ip("127.0.0.2")];
        let server = address("127.0.0.1:80");
        let (socket, fd) = open(&server);
        let mut sources = Sources::new(Uses::default());
        sources.bind(fd, (PEER, &server, Some(&listed)), listed[0], 0).unwrap();
        assert_eq!(socket.local_addr().unwrap().as_socket().unwrap().ip(), listed[1]);
        assert!(probe(listed[0]).is_err() && probe(listed[1]).is_ok());
    }

    #[test]
    fn uses_are_counted_from_bind_to_close() {
        let uses = Uses::default();
        let (mut one, mut other) = (Sources::new(uses.clone()), Sources::new(uses.clone()));
        let (first, second) = (ip("127.0.0.2"), ip("127.0.0.3"));
        let server = address("127.0.0.1:80");
        let way = (PEER, &server, None);
        let ((_socket, fd), (_another, other_fd)) = (open(&server), open(&server));
        one.bind(fd, way, first, 0).unwrap();
        other.bind(other_fd, way, first, 0).unwrap();
        assert_eq!(uses.all(), [(PEER, first, 2)]);
        one.bind(fd, way, second, 0).unwrap();
        assert_eq!(one.release(fd), Some(second));
        assert_eq!(one.release(fd), None);
        assert_eq!(other.release(other_fd), Some(first));
        assert!(uses.all().iter().all(|(.., count)| *count == 0));
    }
}
