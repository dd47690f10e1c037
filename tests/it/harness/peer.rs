//! One end of a connection as a test holds it: a client, or what a server accepted.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use ringway::sys::Fd;
use socket2::{SockRef, Socket};

use super::{DEADLINE, Response};

/// A connected stream; every call on it has a deadline.
pub(crate) enum Peer {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Peer {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)
            .unwrap_or_else(|error| panic!("connect to {address}: {error}"));
        Self::tcp(stream)
    }

    /// Connects from one of the machine's own addresses. A port taken by bind(2) alone would be
    /// nobody else's, whatever their address.
    pub(crate) fn connect_from(source: &str, address: SocketAddr) -> Self {
        let source = source.parse().expect("a source address");
        let socket =
            Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)
                .expect("a socket");
        ringway::sys::socket::bind_address(Fd::new(socket.as_raw_fd()), source)
            .expect("the source address is local");
        socket.connect_timeout(&address.into(), DEADLINE).expect("connect");
        Self::tcp(socket.into())
    }

    /// Connects with [`narrow`] buffers.
    pub(crate) fn connect_narrow(address: SocketAddr) -> Self {
        let socket =
            Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)
                .expect("a socket");
        narrow(&socket);
        socket.connect_timeout(&address.into(), DEADLINE).expect("connect");
        Self::tcp(socket.into())
    }

    pub(crate) fn connect_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path)
            .unwrap_or_else(|error| panic!("connect to {}: {error}", path.display()));
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        Self::Unix(stream)
    }

    pub(crate) fn tcp(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        Self::Tcp(stream)
    }

    /// This end's own address, as ringway's log shows a client.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Tcp(stream) => stream.local_addr().expect("a connected socket has an address"),
            Self::Unix(_) => panic!("a unix socket has no address"),
        }
    }

    /// The other end's address: what ringway connected from, where a server asks.
    pub(crate) fn remote_address(&self) -> SocketAddr {
        match self {
            Self::Tcp(stream) => stream.peer_addr().expect("a connected socket has a peer"),
            Self::Unix(_) => panic!("a unix socket has no address"),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.write_all(bytes.as_ref()).expect("the bytes are taken");
    }

    /// One byte out of the order of the others (MSG_OOB).
    pub(crate) fn send_urgent(&self, byte: u8) {
        let Self::Tcp(stream) = self else { panic!("unix sockets know no urgent byte") };
        assert_eq!(SockRef::from(stream).send_out_of_band(&[byte]).expect("room for a byte"), 1);
    }

    /// Reads exactly these bytes.
    #[track_caller]
    pub(crate) fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let mut got = vec![0; bytes.len()];
        let mut filled = 0;
        while filled < got.len() {
            match self.read(&mut got[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) => panic!("{error} after {:?}", text(&got[..filled])),
            }
        }
        assert_eq!(text(&got[..filled]), text(bytes), "what came");
    }

    /// The other side has shut down in this direction, and nothing is left to read.
    #[track_caller]
    pub(crate) fn expect_eof(&mut self) {
        let mut rest = [0; 256];
        match self.read(&mut rest) {
            Ok(0) => {}
            Ok(n) => panic!("not the end but {:?}", text(&rest[..n])),
            Err(error) => panic!("not the end but {error}"),
        }
    }

    /// The other side reset the connection; nothing is left to read before it.
    #[track_caller]
    pub(crate) fn expect_reset(&mut self) {
        let mut rest = [0; 256];
        match self.read(&mut rest) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Ok(0) => panic!("not a reset but an orderly end"),
            other => panic!("not a reset but {other:?}"),
        }
    }

    /// Closed, in whichever way.
    #[track_caller]
    pub(crate) fn expect_closed(&mut self) {
        let mut rest = [0; 256];
        match self.read(&mut rest) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Ok(n) => panic!("not closed but {:?}", text(&rest[..n])),
            Err(error) => panic!("not closed but {error}"),
        }
    }

    /// Reset, as [`Peer::expect_reset`], but found by whoever writes on and on.
    #[track_caller]
    pub(crate) fn expect_reset_while_sending(&mut self) {
        loop {
            match self.write(&[0; 16 << 10]) {
                Ok(_) => {}
                // An orderly end before the reset would be told as a broken pipe.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("not a reset but {error}"),
            }
        }
    }

    /// Everything up to the end of this direction.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(error) => panic!("{error} after {} bytes", bytes.len()),
        }
    }

    /// Whether a byte waits to be read; looks without taking it or waiting.
    pub(crate) fn is_readable(&self) -> bool {
        self.look().is_ok_and(|n| n == 1)
    }

    /// Whether the other side has shut down in this direction and all of it is read.
    pub(crate) fn is_ended(&self) -> bool {
        self.look().is_ok_and(|n| n == 0)
    }

    /// Whether an error or a full hang-up waits; takes neither that nor any byte.
    pub(crate) fn is_hung_up(&self) -> bool {
        let Self::Tcp(stream) = self else { panic!("only TCP is looked at") };
        let mut look = [PollFd::new(stream.as_fd(), PollFlags::empty())];
        nix::poll::poll(&mut look, PollTimeout::ZERO).expect("poll");
        look[0].any().expect("flags that are known")
    }

    /// Bytes the other end has not acknowledged.
    pub(crate) fn unacknowledged(&self) -> u32 {
        let Self::Tcp(stream) = self else { panic!("unix sockets acknowledge nothing") };
        ringway::sys::socket::unsent(Fd::new(stream.as_raw_fd())).expect("SIOCOUTQ")
    }

    fn look(&self) -> io::Result<usize> {
        let Self::Tcp(stream) = self else { panic!("only TCP is looked at") };
        stream.set_nonblocking(true).expect("non-blocking");
        let found = stream.peek(&mut [0]);
        stream.set_nonblocking(false).expect("blocking");
        found
    }

    /// A whole HTTP/1 head, and not a byte behind it.
    #[track_caller]
    pub(crate) fn head(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match self.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                Ok(_) => panic!("the end instead of a head, after {:?}", text(&head)),
                Err(error) => panic!("{error} instead of a head, after {:?}", text(&head)),
            }
        }
        String::from_utf8(head).expect("heads in tests are ASCII")
    }

    /// A whole HTTP/1 response.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        Response::read(self)
    }

    pub(crate) fn shutdown_write(&mut self) {
        let done = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
        done.expect("the stream is open for writing");
    }

    /// Closes with a reset instead of an orderly end.
    pub(crate) fn reset(self) {
        match self {
            Self::Tcp(stream) => {
                let linger = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                linger.expect("SO_LINGER");
            }
            Self::Unix(_) => panic!("unix sockets have no reset"),
        }
    }

    pub(crate) fn try_clone(&self) -> Self {
        match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone().expect("a descriptor")),
            Self::Unix(stream) => Self::Unix(stream.try_clone().expect("a descriptor")),
        }
    }

    /// How long a single read or write may wait; for writes meant to find a full pipe.
    pub(crate) fn set_timeout(&self, timeout: Duration) {
        let (read, write) = match self {
            Self::Tcp(s) => (s.set_read_timeout(Some(timeout)), s.set_write_timeout(Some(timeout))),
            Self::Unix(s) => {
                (s.set_read_timeout(Some(timeout)), s.set_write_timeout(Some(timeout)))
            }
        };
        read.and(write).expect("a timeout above zero");
    }
}

impl Read for Peer {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
        }
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection on its way, whether or not there is room for it yet.
pub(crate) struct Connecting(TcpStream);

impl Connecting {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let socket =
            Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)
                .expect("a socket");
        socket.set_nonblocking(true).expect("non-blocking");
        // It goes on without us, and tells the reader of the stream if it fails.
        let _ = socket.connect(&address.into());
        Self(socket.into())
    }

    /// Waits for it.
    pub(crate) fn connected(self) -> Peer {
        let writable = PollFlags::POLLOUT;
        nix::poll::poll(&mut [PollFd::new(self.0.as_fd(), writable)], 30_000u16).expect("poll");
        self.0.set_nonblocking(false).expect("blocking");
        Peer::tcp(self.0)
    }
}

/// Small kernel buffers at both ends of a connection, so that little fits between a writer and a
/// stalled reader: the segment size is Ethernet's, since the kernel reserves for the send buffer by
/// segments, and those of the loopback device are 64 KiB long. To be called before connect or
/// listen, whose handshake tells the segment size and the window.
pub(super) fn narrow(socket: &Socket) {
    socket.set_tcp_mss(1460).expect("TCP_MAXSEG");
    socket.set_send_buffer_size(16 << 10).expect("SO_SNDBUF");
    socket.set_recv_buffer_size(16 << 10).expect("SO_RCVBUF");
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
