//! What happens where descriptors end: clients wait, none is turned away.

use nix::sys::signal::Signal;

use crate::harness::{Connecting, Ringway, Server, Serving, many_descriptors};

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
    let clients: Vec<_> = (0..BURST).map(|_| Connecting::to(lb.address())).collect();
    lb.signal(Signal::SIGCONT);
    for client in clients {
        let mut client = client.connected();
        client.expect("served");
        client.expect_eof();
    }
}
