//! What happens where descriptors end: clients wait, none is turned away.

use std::net::{SocketAddr, TcpStream};

use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

use crate::harness::{Peer, Ringway, Server, Serving, many_descriptors};

/// A connection on its way, whether or not there is room for it yet.
fn connecting(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_nonblocking(true).expect("non-blocking");
    // It goes on without us, and tells the reader of the stream if it fails.
    let _ = socket.connect(&address.into());
    socket.into()
}

#[test]
fn a_burst_beyond_the_descriptors_is_served_in_turn() {
    const BURST: usize = 900;
    many_descriptors(4 * BURST as u64);
    let servers: Vec<_> =
        (0..4).map(|_| Server::listen().serve(|mut peer| peer.send("served"))).collect();
    let lb = Ringway::to(servers.iter().map(Serving::address))
        .with(["--peek", "none", "--workers", "1"])
        .limited_to(1024)
        .start();
    // All are there at once when the worker looks again.
    lb.signal(Signal::SIGSTOP);
    let clients: Vec<_> = (0..BURST).map(|_| connecting(lb.address())).collect();
    lb.signal(Signal::SIGCONT);
    for client in clients {
        let writable = nix::poll::PollFlags::POLLOUT;
        let mut wait = [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&client), writable)];
        nix::poll::poll(&mut wait, 30_000u16).expect("poll");
        client.set_nonblocking(false).expect("blocking");
        let mut client = Peer::tcp(client);
        client.expect("served");
        client.expect_eof();
    }
}
