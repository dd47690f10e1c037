//! Servers inside the test: one that accepts what it is told to, and one-connection threads.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use socket2::{Domain, Socket, Type};

use super::peer::narrow;
use super::{Peer, eventually};

/// A listening socket; the test accepts each connection itself.
pub(crate) struct Server {
    listener: Listener,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Server {
    pub(crate) fn listen() -> Self {
        Self::listen_on("127.0.0.1:0")
    }

    pub(crate) fn listen_on(address: &str) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        listener.set_nonblocking(true).expect("non-blocking");
        Self { listener: Listener::Tcp(listener) }
    }

    /// What it accepts holds few bytes that are not read.
    pub(crate) fn listen_narrow() -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        narrow(&socket);
        socket.bind(&any.into()).expect("a free port");
        socket.listen(4096).expect("a listening socket");
        socket.set_nonblocking(true).expect("non-blocking");
        Self { listener: Listener::Tcp(socket.into()) }
    }

    /// Nobody who connects gets an answer until the one connection that waits is accepted; then one
    /// more does, as often as it tries again (listen(2) with a backlog of 0 holds one).
    pub(crate) fn listen_full() -> (Self, Peer) {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&any.into()).expect("a free port");
        socket.listen(0).expect("a listening socket");
        socket.set_nonblocking(true).expect("non-blocking");
        let server = Self { listener: Listener::Tcp(socket.into()) };
        let waiting = Peer::connect(server.address().parse().expect("a TCP address"));
        (server, waiting)
    }

    pub(crate) fn listen_unix(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a free path");
        listener.set_nonblocking(true).expect("non-blocking");
        Self { listener: Listener::Unix(listener, path.to_owned()) }
    }

    /// As ringway's `--to` takes it.
    pub(crate) fn address(&self) -> String {
        match &self.listener {
            Listener::Tcp(listener) => {
                listener.local_addr().expect("a bound socket has an address").to_string()
            }
            Listener::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    pub(crate) fn accept(&self) -> Peer {
        eventually(&format!("a connection to {}", self.address()), || self.try_accept())
    }

    /// A connection, if one waits.
    pub(crate) fn try_accept(&self) -> Option<Peer> {
        let accepted = match &self.listener {
            Listener::Tcp(listener) => listener.accept().map(|(stream, _)| {
                stream.set_nonblocking(false).expect("blocking");
                Peer::tcp(stream)
            }),
            Listener::Unix(listener, _) => listener.accept().map(|(stream, _)| {
                stream.set_nonblocking(false).expect("blocking");
                Peer::Unix(stream)
            }),
        };
        match accepted {
            Ok(peer) => Some(peer),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("accept: {error}"),
        }
    }

    /// Serves each connection on a thread of its own from now on, and counts them.
    pub(crate) fn serve(self, each: impl Fn(Peer) + Send + Sync + 'static) -> Serving {
        let Listener::Tcp(listener) = self.listener else { panic!("only TCP servers are served") };
        listener.set_nonblocking(false).expect("blocking");
        let address = listener.local_addr().expect("a bound socket has an address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let each = Arc::new(each);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let each = Arc::clone(&each);
                thread::spawn(move || each(Peer::tcp(stream)));
            }
        });
        Serving { address, accepted }
    }
}

/// A server that runs by itself until the test program ends.
pub(crate) struct Serving {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Serving {
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// An address of 127.0.0.0/8 where nothing listens: bound, so nobody gets it, yet never listening.
pub(crate) fn closed_port() -> (Socket, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("a free port");
    let address = socket.local_addr().expect("a bound socket has an address");
    let address = address.as_socket().expect("an IP address").to_string();
    (socket, address)
}

/// A port nobody has now, for programs that cannot choose one and say which.
pub(crate) fn free_port() -> u16 {
    free_ports(1)[0]
}

/// As many, all different: held until the last is found.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let listen = |_| TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listeners: Vec<_> = (0..count).map(listen).collect();
    let port = |listener: &TcpListener| {
        listener.local_addr().expect("a bound socket has an address").port()
    };
    listeners.iter().map(port).collect()
}
