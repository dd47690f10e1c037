//! What every engine does by calling the kernel directly: operations that never wait, on server
//! sockets, spares and pipes. It starts nothing that could still be pending afterwards.

use std::io;

use socket2::SockAddr;

use super::pipes::Pipes;
use super::socket::TcpOptions;
use super::spares::Spares;
use super::{Farewell, Fault, Fd, Op, PeerId, socket};
use crate::config::Address;

/// Servers and how sockets for them are made, sockets that may serve again, and pipes.
pub struct Direct {
    #[expect(clippy::vec_box, reason = "operations not handed over yet point to them")]
    peers: Vec<Box<SockAddr>>,
    options: TcpOptions,
    /// Where all peers want the same kind of socket, so that any spare serves any of them.
    spares: Option<Spares>,
    pipes: Pipes,
}

impl Direct {
    /// For servers numbered as they stand here.
    pub fn new(peers: &[Address], options: TcpOptions) -> io::Result<Self> {
        let peers: Vec<_> = boxed(peers)?.collect();
        let spares = socket::are_alike(&peers).then(Spares::default);
        Ok(Self { peers, options, spares, pipes: Pipes::default() })
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
            Op::Open { peer, data_in_hand } => self.open(peer, data_in_hand),
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

    fn open(&mut self, peer: PeerId, data_in_hand: bool) -> Result<u32, Fault> {
        let opened = match self.spares.as_mut().and_then(Spares::take) {
            Some(spare) => spare,
            None => socket::open(&self.peers[peer.0 as usize], self.options)?,
        };
        if data_in_hand {
            socket::acknowledge_with_data(opened);
        }
        Ok(opened.number().cast_unsigned())
    }

    fn close(&mut self, socket: Fd, farewell: Farewell) {
        match &mut self.spares {
            Some(spares) if farewell == Farewell::Ended => spares.put(socket),
            _ => socket::close(socket, farewell),
        }
    }
}

/// Each where it stays, however many follow.
fn boxed(peers: &[Address]) -> io::Result<impl Iterator<Item = Box<SockAddr>>> {
    let peers: Vec<_> = peers.iter().map(socket::sock_addr).collect::<io::Result<_>>()?;
    Ok(peers.into_iter().map(Box::new))
}
