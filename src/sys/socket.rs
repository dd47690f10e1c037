//! Sockets: listeners as the supervisor makes them, and the direct calls a worker needs.

use std::io::{self, Read};
use std::mem::ManuallyDrop;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, Protocol, SockAddr, SockFilter, SockRef, Socket, TcpKeepalive, Type};

use super::{Farewell, Fault, Fd};
use crate::config::{Address, Config, LoopbackCongestion, TcpKeepAlive};

/// Connections that may wait to be accepted: the kernel's own default of net.core.somaxconn, to
/// which it cuts what is larger, and about a third of a second of what one core accepts.
pub const BACKLOG: u16 = 4096;

/// Where `address` is, as the kernel takes it.
pub fn sock_addr(address: &Address) -> io::Result<SockAddr> {
    match address {
        Address::Tcp(address) => Ok(SockAddr::from(*address)),
        Address::Unix(path) => SockAddr::unix(path),
    }
}

/// Fails if anyone listens at `address` already, SO_REUSEPORT or not, and tells the port.
///
/// Without this a second ringway, started by mistake, would silently share the port.
pub fn probe_bind(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = new_tcp(address)?;
    socket.bind(&address.into())?;
    // Two binds with SO_REUSEADDR may coexist; listening may not.
    socket.listen(1)?;
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("not an IP socket"))
}

/// What all TCP sockets of ringway are set to, beside `TCP_NODELAY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Off, and on loopback addresses: the kernel never probes.
    pub keep_alive: Option<TcpKeepAlive>,
    /// Milliseconds sent bytes may go unacknowledged; off: as the kernel sees fit.
    pub user_timeout_ms: Option<u32>,
    /// For those on loopback addresses.
    pub loopback_congestion: LoopbackCongestion,
}

impl TcpOptions {
    /// As the configuration has them.
    pub fn of(config: &Config) -> Self {
        let Config { tcp_keep_alive: keep_alive, loopback_congestion, .. } = *config;
        Self { keep_alive, user_timeout_ms: config.tcp_user_timeout_ms, loopback_congestion }
    }
}

/// One of a group of listeners that share `address`. Accepted sockets inherit its options.
pub fn listen_tcp(address: SocketAddr, options: TcpOptions) -> io::Result<OwnedFd> {
    let socket = new_tcp(address)?;
    socket.set_reuse_port(true)?;
    configure(&SockRef::from(&socket), address.ip(), options)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG.into())?;
    Ok(socket.into())
}

/// A listener that shares its address with nobody, and its real port.
pub fn listen_alone(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = new_tcp(address)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG.into())?;
    let address = socket.local_addr()?.as_socket();
    Ok((socket.into(), address.ok_or_else(|| io::Error::other("not an IP socket"))?))
}

/// A listener on a unix socket. A path nobody listens on any more is taken over.
pub fn listen_unix(path: &Path) -> io::Result<OwnedFd> {
    listen_unix_with(path, None)
}

/// The same; at no time may it be opened by more than `mode` says.
pub fn listen_unix_with(path: &Path, mode: Option<u32>) -> io::Result<OwnedFd> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    if let Some(mode) = mode {
        // Binding makes a file of the mode that the socket has (unix_bind_bsd, net/unix/af_unix.c).
        fchmod(&socket, Mode::from_bits_truncate(mode))?;
    }
    if let Err(error) = socket.bind(&address) {
        if error.kind() != io::ErrorKind::AddrInUse || !is_left_behind(path)? {
            return Err(error);
        }
        std::fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    socket.listen(BACKLOG.into())?;
    Ok(socket.into())
}

/// Whether nobody listens any more on the unix socket that is there.
///
/// # Errors
/// It is a file of another kind: that refuses connections in the same words, and is somebody's.
pub fn is_left_behind(path: &Path) -> io::Result<bool> {
    if !std::fs::metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        let why = "a file is there that is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
    }
    let connected = std::os::unix::net::UnixStream::connect(path);
    Ok(connected.is_err_and(|why| why.kind() == io::ErrorKind::ConnectionRefused))
}

/// Has those who are accepted from now on inherit other options.
pub fn reconfigure(listener: &OwnedFd, ip: IpAddr, options: TcpOptions) -> io::Result<()> {
    let listener = SockRef::from(listener);
    listener.set_keepalive(false)?;
    listener.set_tcp_user_timeout(None)?;
    configure(&listener, ip, options)
}

/// From now on new clients are not heard at a TCP listener: their SYNs are dropped, and sent again
/// a second later. Who is within the handshake, or waits to be accepted, is not disturbed; closing
/// the socket would reset them.
pub fn turn_away(listener: &OwnedFd) -> io::Result<()> {
    // A classic BPF program (socket(7), SO_ATTACH_FILTER) over the TCP header.
    const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
    const JUMP_IF: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_AT),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

/// Takes [`turn_away`] back.
pub fn let_in(listener: &OwnedFd) -> io::Result<()> {
    SockRef::from(listener).detach_filter()
}

fn new_tcp(address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if let SocketAddr::V6(v6) = address {
        socket.set_only_v6(!v6.ip().is_unspecified())?;
    }
    Ok(socket)
}

fn configure(socket: &SockRef<'_>, ip: IpAddr, options: TcpOptions) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    if let Some(timeout_ms) = options.user_timeout_ms {
        socket.set_tcp_user_timeout(Some(Duration::from_millis(timeout_ms.into())))?;
    }
    if is_loopback(ip) {
        if options.loopback_congestion == LoopbackCongestion::Reno {
            // Every kernel has it built in, and lets anyone use it.
            socket.set_tcp_congestion(b"reno")?;
        }
        // On this host nobody vanishes without a word. And the kernel's coarse timers send the
        // probes of two seconds at once, more than loopback takes (net.core.netdev_max_backlog):
        // at a million idle sessions, most were lost to six probes dropped in a row.
        return Ok(());
    }
    let Some(keep_alive) = options.keep_alive else { return Ok(()) };
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(Duration::from_secs(keep_alive.idle_s.into()))
            .with_interval(Duration::from_secs(keep_alive.interval_s.into()))
            .with_retries(keep_alive.probes.into()),
    )
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Whether a socket opened for one of these TCP peers is as one opened for any other.
pub fn are_alike(peers: &[Box<SockAddr>]) -> bool {
    let kind = |peer: &SockAddr| Some((peer.domain(), is_loopback(peer.as_socket()?.ip())));
    peers.iter().all(|peer| kind(peer).is_some() && kind(peer) == kind(&peers[0]))
}

/// A socket to connect to a server with; the caller owns the number.
pub fn open(peer: &SockAddr, options: TcpOptions) -> Result<Fd, Fault> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(peer.domain(), kind, None).map_err(|error| fault(&error))?;
    if let Some(peer) = peer.as_socket() {
        // This cannot fail on a fresh TCP socket; if it did, the session would still work.
        let _ = configure(&SockRef::from(&socket), peer.ip(), options);
    }
    Ok(Fd::new(socket.into_raw_fd()))
}

/// Binds a socket that is not connected to an address, and to no port before it connects: then it
/// shares ports with sockets that go elsewhere, as an unbound one does (ip(7),
/// IP_BIND_ADDRESS_NO_PORT).
pub fn bind_address(opened: Fd, ip: IpAddr) -> Result<(), Fault> {
    bind_address_of(&*borrowed(opened), ip).map_err(|error| fault(&error))
}

/// The same for a socket of the control thread.
pub fn bind_address_of(socket: &impl AsFd, ip: IpAddr) -> io::Result<()> {
    setsockopt(&socket.as_fd(), IpBindAddressNoPort, &true)?;
    SockRef::from(socket).bind(&SocketAddr::new(ip, 0).into())
}

/// Has the first bytes carry the handshake's ACK: one packet less per connection. Without bytes
/// to send soon, the server would wait 200 ms for that ACK.
pub fn acknowledge_with_data(socket: Fd) {
    // Fails on unix sockets, which acknowledge nothing.
    let _ = borrowed(socket).set_tcp_quickack(false);
}

/// Takes a connection off a socket whose both ends have said EOF (connect(2), AF_UNSPEC).
#[expect(unsafe_code, reason = "connect(2) to no address")]
pub fn dissolve(socket: Fd) -> Result<(), Fault> {
    let nobody =
        libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    // SAFETY: the kernel reads an address of the length given, which lives through the call.
    let result = unsafe {
        libc::connect(
            socket.number(),
            &raw const nobody,
            size_of::<libc::sockaddr>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(Fault::last()) }
}

fn fault(error: &io::Error) -> Fault {
    Fault::from_errno(error.raw_os_error().unwrap_or(0))
}

/// Connects, or starts to: then room to write says that it is over.
pub fn connect(socket: Fd, peer: &SockAddr) -> Result<(), Connecting> {
    borrowed(socket).connect(peer).map_err(|error| match error.raw_os_error() {
        Some(libc::EINPROGRESS) => Connecting::Still,
        _ => Connecting::Failed(fault(&error)),
    })
}

/// Why a socket is not connected.
pub enum Connecting {
    /// It may be soon.
    Still,
    /// It will not be.
    Failed(Fault),
}

/// Why the last thing that happened to a socket failed (SO_ERROR), if it did.
pub fn failure(socket: Fd) -> Option<Fault> {
    let failure = borrowed(socket).take_error();
    failure.unwrap_or_else(Some).map(|error| fault(&error))
}

/// A client of a listener, non-blocking, or `WouldBlock`.
#[expect(unsafe_code, reason = "accept4(2)")]
pub fn accept(listener: Fd) -> Result<Fd, Fault> {
    let (nowhere, flags) = (std::ptr::null_mut(), libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
    // SAFETY: without a place for the address the kernel writes to no memory of ours.
    let accepted =
        unsafe { libc::accept4(listener.number(), nowhere, std::ptr::null_mut(), flags) };
    if accepted < 0 { Err(Fault::last()) } else { Ok(Fd::new(accepted)) }
}

/// Receives what is there from a non-blocking socket: 0 at EOF.
pub fn receive(socket: Fd, into: &mut [u8]) -> Result<u32, Fault> {
    count((&*borrowed(socket)).read(into))
}

/// Sends what there is room for, and never waits.
pub fn send(socket: Fd, bytes: &[u8]) -> Result<u32, Fault> {
    count(borrowed(socket).send_with_flags(bytes, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL))
}

fn count(result: io::Result<usize>) -> Result<u32, Fault> {
    let bytes = result.map_err(|error| fault(&error))?;
    Ok(u32::try_from(bytes).expect("buffers are smaller"))
}

/// Whether it is a TCP socket, and not one of a unix address.
pub fn is_tcp(socket: Fd) -> bool {
    borrowed(socket).domain().is_ok_and(|domain| domain != Domain::UNIX)
}

/// The other end, if it has an IP address and is still there.
pub fn peer_address(socket: Fd) -> Option<SocketAddr> {
    borrowed(socket).peer_addr().ok()?.as_socket().map(unmapped)
}

/// This end, if it has an IP address.
pub fn local_address(socket: Fd) -> Option<SocketAddr> {
    borrowed(socket).local_addr().ok()?.as_socket().map(unmapped)
}

/// An IPv4 client of a dual-stack listener by its own address, so that networks and hashes see one.
fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Says EOF. The peer may be gone already, which its own half will notice.
pub fn shutdown_write(socket: Fd) -> Result<u32, Fault> {
    borrowed(socket).shutdown(std::net::Shutdown::Write).map(|()| 0).map_err(|e| fault(&e))
}

/// Closes a descriptor of this thread's table.
#[expect(unsafe_code, reason = "takes ownership of a descriptor number")]
pub fn close(socket: Fd, farewell: Farewell) {
    // SAFETY: the worker owns the number and forgets it with this call (the contract of Op::Close).
    let owned = unsafe { OwnedFd::from_raw_fd(socket.number()) };
    if farewell == Farewell::Reset {
        // Fails on unix sockets, which know no reset: they are simply closed.
        let _ = SockRef::from(&owned).set_linger(Some(Duration::ZERO));
    }
}

/// Bytes sent and not yet acknowledged (tcp(7), SIOCOUTQ).
#[expect(unsafe_code, reason = "ioctl")]
pub fn unsent(socket: Fd) -> Result<u32, Fault> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one int, to a place that lives through the call.
    let result = unsafe { libc::ioctl(socket.number(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { Ok(u32::try_from(bytes).unwrap_or(0)) } else { Err(Fault::last()) }
}

/// Moves up to `most` bytes between a socket and a pipe (either order), never waiting.
#[expect(unsafe_code, reason = "splice(2)")]
pub fn splice(from: i32, to: i32, most: u32) -> Result<u32, Fault> {
    let flags = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE;
    let (no_offset, most) = (std::ptr::null_mut(), most as usize);
    // SAFETY: takes two descriptors of this thread's table and no memory of ours.
    let moved = unsafe { libc::splice(from, no_offset, to, no_offset, most, flags) };
    u32::try_from(moved).map_err(|_| Fault::last())
}

/// The socket under a number this thread owns, without owning it.
#[expect(unsafe_code, reason = "borrows a descriptor by number")]
pub(super) fn borrowed(socket: Fd) -> ManuallyDrop<Socket> {
    // SAFETY: the number is open in this thread's table, and ManuallyDrop never closes it.
    ManuallyDrop::new(unsafe { Socket::from_raw_fd(socket.number()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: TcpOptions = TcpOptions {
        keep_alive: None,
        user_timeout_ms: None,
        loopback_congestion: LoopbackCongestion::Reno,
    };

    #[test]
    fn both_sides_have_the_user_timeout_and_a_listener_can_lose_it() {
        let options = TcpOptions { user_timeout_ms: Some(7_000), ..PLAIN };
        let listener = listen_tcp("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let peer = SockRef::from(&listener).local_addr().unwrap();
        let timeout = |socket: &Socket| socket.tcp_user_timeout().unwrap().unwrap_or_default();
        for (options, expected) in [(options, Duration::from_secs(7)), (PLAIN, Duration::ZERO)] {
            reconfigure(&listener, peer.as_socket().unwrap().ip(), options).unwrap();
            let opened = open(&peer, options).unwrap();
            borrowed(opened).set_nonblocking(false).unwrap();
            borrowed(opened).connect(&peer).unwrap();
            SockRef::from(&listener).set_nonblocking(false).unwrap();
            let (accepted, _) = SockRef::from(&listener).accept().unwrap();
            assert_eq!((timeout(&borrowed(opened)), timeout(&accepted)), (expected, expected));
            // A socket that serves again keeps it.
            dissolve(opened).unwrap();
            assert_eq!(timeout(&borrowed(opened)), expected);
            close(opened, Farewell::Orderly);
        }
    }

    #[test]
    fn sockets_serve_again_only_for_peers_that_want_the_same_options() {
        let alike = |peers: &[&str]| {
            let peer = |text: &&str| match text.strip_prefix("unix:") {
                Some(path) => SockAddr::unix(path).unwrap(),
                None => text.parse::<SocketAddr>().unwrap().into(),
            };
            are_alike(&peers.iter().map(peer).map(Box::new).collect::<Vec<_>>())
        };
        assert!(alike(&["127.0.0.1:1", "127.0.0.2:1"]));
        assert!(alike(&["10.0.0.1:1", "192.0.2.1:1"]));
        assert!(!alike(&["127.0.0.1:1", "10.0.0.1:1"]), "keep-alive for one only");
        assert!(!alike(&["127.0.0.1:1", "[::1]:1"]));
        assert!(!alike(&["127.0.0.1:1", "unix:/run/app.sock"]));
        assert!(!alike(&["unix:/run/app.sock"]));
    }

    #[test]
    fn who_waits_is_not_disturbed_by_a_listener_that_turns_others_away() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = listen_tcp(address.parse().unwrap(), PLAIN).unwrap();
            let address = SockRef::from(&listener).local_addr().unwrap();
            let connect = || {
                let socket = Socket::new(address.domain(), Type::STREAM, None).unwrap();
                socket.connect_timeout(&address, Duration::from_millis(300)).map(|()| socket)
            };
            let waiting = connect().unwrap();
            turn_away(&listener).unwrap();
            assert_eq!(connect().unwrap_err().kind(), io::ErrorKind::TimedOut);
            let (accepted, _) = SockRef::from(&listener).accept().unwrap();
            assert_eq!(accepted.send(b"a").unwrap(), 1);
            assert_eq!(waiting.recv(&mut [std::mem::MaybeUninit::uninit()]).unwrap(), 1);
            let_in(&listener).unwrap();
            connect().unwrap();
        }
    }

    #[test]
    fn loopback_needs_no_pacing_and_no_probes_and_other_addresses_are_as_configured() {
        let keep_alive = Some(TcpKeepAlive { idle_s: 60, interval_s: 10, probes: 6 });
        let options = |loopback_congestion| TcpOptions { keep_alive, loopback_congestion, ..PLAIN };
        let plain = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let system = plain.tcp_congestion().unwrap();
        let wanted = [
            ("127.0.0.1:0", LoopbackCongestion::Reno, b"reno"),
            ("[::1]:0", LoopbackCongestion::Reno, b"reno"),
            ("127.0.0.1:0", LoopbackCongestion::System, &system[..4].try_into().unwrap()),
            ("0.0.0.0:0", LoopbackCongestion::Reno, &system[..4].try_into().unwrap()),
        ];
        for (address, loopback_congestion, wanted) in wanted {
            let listener =
                listen_tcp(address.parse().unwrap(), options(loopback_congestion)).unwrap();
            let listener = Socket::from(listener);
            assert_eq!(&listener.tcp_congestion().unwrap()[..4], wanted, "{address}");
            let peer = listener.local_addr().unwrap();
            let opened = open(&peer, options(loopback_congestion)).unwrap();
            assert_eq!(&borrowed(opened).tcp_congestion().unwrap()[..4], wanted, "{address}");
            borrowed(opened).set_nonblocking(false).unwrap();
            borrowed(opened).connect(&peer).unwrap();
            listener.set_nonblocking(false).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let probes = accepted.keepalive().unwrap();
            assert_eq!(probes, address.starts_with("0.0.0.0"), "{address}");
            assert_eq!(&accepted.tcp_congestion().unwrap()[..4], wanted, "{address}");
            close(opened, Farewell::Orderly);
        }
    }
}
