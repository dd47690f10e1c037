//! What every engine does by calling the kernel directly: operations that never wait, on server
//! sockets, spares and pipes. It starts nothing that could still be pending afterwards.

use std::io;

use socket2::SockAddr;

use super::clock::Clock;
use super::pipes::Pipes;
use super::socket::TcpOptions;
use super::sources::{Sources, Uses};
use super::spares::Spares;
use super::{Farewell, Fault, Fd, Op, PeerId, SourceList, socket};
use crate::config::Address;

/// Servers and how sockets for them are made, sockets that may serve again, and pipes.
pub struct Direct {
    #[expect(clippy::vec_box, reason = "operations not handed over yet point to them")]
    peers: Vec<Box<SockAddr>>,
    options: TcpOptions,
    /// Where all peers want the same kind of socket, so that any spare serves any of them.
    spares: Option<Spares>,
    sources: Sources,
    clock: Clock,
    pipes: Pipes,
}

impl Direct {
    /// For servers numbered as they stand here.
    pub fn new(
        peers: &[Address],
        options: TcpOptions,
        clock: Clock,
        uses: Uses,
    ) -> io::Result<Self> {
        let peers: Vec<_> = boxed(peers)?.collect();
        let spares = socket::are_alike(&peers).then(Spares::default);
        let (sources, pipes) = (Sources::new(uses), Pipes::default());
        Ok(Self { peers, options, spares, sources, clock, pipes })
    }

    /// Learns of more servers, and how sockets are configured from now on.
    pub fn adopt(&mut self, peers: &[Address], options: TcpOptions) -> io::Result<()> {
        self.peers.extend(boxed(peers)?);
        let serves = self.options == options && socket::are_alike(&self.peers);
        self.options = options;
        self.spares = match self.spares.take() {
            Some(spares) if serves => Some(spares),
            _ => socket::are_alike(&self.peers).then(Spares::default),
        };
        Ok(())
    }

    /// Where a server is.
    pub fn peer(&self, peer: PeerId) -> &SockAddr {
        &self.peers[peer.0 as usize]
    }

    /// Whether a socket that is closed so may be kept instead.
    pub fn may_keep(&self, farewell: Farewell) -> bool {
        farewell == Farewell::Ended && self.spares.is_some()
    }

    /// Performs an operation that is done when submitted.
    pub fn perform(&mut self, op: &Op) -> Result<u32, Fault> {
        match *op {
            Op::AcceptNow { listener } => {
                socket::accept(listener).map(|client| client.number().cast_unsigned())
            }
            Op::Open { peer, ref sources, data_in_hand } => self.open(peer, sources, data_in_hand),
            Op::NextSource { socket, peer, ref sources } => self.next_source(socket, peer, sources),
            Op::TakePipe => self.pipes.take().map(|pipe| pipe.0),
            Op::ReturnPipe { pipe, empty } => {
                self.pipes.give_back(pipe, empty);
                Ok(0)
            }
            Op::SpliceIn { socket, pipe, most } => {
                socket::splice(socket.number(), self.pipes.writer(pipe), most)
            }
            Op::SpliceOut { pipe, socket, exactly } => {
                socket::splice(self.pipes.reader(pipe), socket.number(), exactly)
            }
            Op::Unsent { socket } => socket::unsent(socket),
            Op::Shutdown { socket } => socket::shutdown_write(socket),
            Op::Close { socket, farewell } => {
                self.close(socket, farewell);
                Ok(0)
            }
            _ => unreachable!("what may wait is the engine's own"),
        }
    }

    fn open(
        &mut self,
        peer: PeerId,
        listed: &SourceList,
        data_in_hand: bool,
    ) -> Result<u32, Fault> {
        let (address, clock) = (&*self.peers[peer.0 as usize], self.clock);
        let way = (peer, address, listed.as_deref());
        let source = self.sources.choose(way, || clock.now_us())?;
        let opened = match (self.spares.as_mut().and_then(|spares| spares.take(source)), source) {
            (Some(spare), None) => spare,
            (Some(spare), Some(ip)) => {
                self.sources.note(spare, peer, ip);
                spare
            }
            (None, None) => socket::open(address, self.options)?,
            (None, Some(ip)) => {
                let opened = socket::open(address, self.options)?;
                if let Err(fault) = self.sources.bind(opened, way, ip, clock.now_us()) {
                    socket::close(opened, Farewell::Orderly);
                    return Err(fault);
                }
                opened
            }
        };
        if data_in_hand {
            socket::acknowledge_with_data(opened);
        }
        Ok(opened.number().cast_unsigned())
    }

    fn next_source(&mut self, opened: Fd, peer: PeerId, listed: &SourceList) -> Result<u32, Fault> {
        let way = (peer, &*self.peers[peer.0 as usize], listed.as_deref());
        self.sources.bind_to_next(opened, way, self.clock.now_us()).map(|()| 0)
    }

    fn close(&mut self, socket: Fd, farewell: Farewell) {
        let source = self.sources.release(socket);
        match &mut self.spares {
            Some(spares) if farewell == Farewell::Ended => spares.put(socket, source),
            _ => socket::close(socket, farewell),
        }
    }
}

/// Each where it stays, however many follow.
fn boxed(peers: &[Address]) -> io::Result<impl Iterator<Item = Box<SockAddr>>> {
    let peers: Vec<_> = peers.iter().map(socket::sock_addr).collect::<io::Result<_>>()?;
    Ok(peers.into_iter().map(Box::new))
}
