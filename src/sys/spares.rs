//! Sockets that have served a session to its end and are connected again for another.
//!
//! Making and freeing a TCP socket takes the kernel about a tenth of what a short connection costs,
//! and its options have to be set anew. connect(2) to AF_UNSPEC dissolves a connection instead and
//! leaves the socket as new, its options kept (tcp_disconnect in net/ipv4/tcp.c). A socket gets
//! here only after EOF was received from it, and leaves only once its own EOF is acknowledged:
//! until then the kernel may have to send that again. An address it was bound to stays with it
//! (SOCK_BINDADDR_LOCK), so it serves only who wants to connect from there.

use std::collections::VecDeque;

use super::sources::Source;
use super::{Farewell, Fd, socket};

/// Sockets kept, out of those the worker has in reserve. A core that has fallen behind ends a
/// hundred sessions in one turn and opens as many in the next.
pub const SPARES_MAX: usize = 96;

/// Ended sockets of one kind (family, options), in the order they ended.
#[derive(Default)]
pub struct Spares {
    ended: VecDeque<(Fd, Source)>,
}

impl Spares {
    /// Says EOF on a socket from which EOF was received, and keeps it; with what it is bound to.
    pub fn put(&mut self, ended: Fd, source: Source) {
        // Fails where EOF has been said before.
        let _ = socket::shutdown_write(ended);
        self.ended.push_back((ended, source));
        if self.ended.len() > SPARES_MAX
            && let Some((oldest, _)) = self.ended.pop_front()
        {
            socket::close(oldest, Farewell::Orderly);
        }
    }

    /// A socket as new but for what it is bound to, if one is ready.
    pub fn take(&mut self, source: Source) -> Option<Fd> {
        let at = self.ended.iter().position(|&(_, bound)| bound == source)?;
        let (oldest, _) = self.ended[at];
        if socket::unsent(oldest) != Ok(0) {
            return None;
        }
        self.ended.remove(at);
        if socket::dissolve(oldest).is_err() {
            socket::close(oldest, Farewell::Orderly);
            return None;
        }
        Some(oldest)
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        for (ended, _) in self.ended.drain(..) {
            socket::close(ended, Farewell::Orderly);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::IntoRawFd;

    use socket2::{SockAddr, SockRef};

    use super::*;

    fn listen() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    /// A connection whose far end has said EOF, which has been received.
    fn ended(listener: &TcpListener) -> (Fd, TcpStream) {
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        far.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(near.read(&mut [0]).unwrap(), 0);
        (Fd::new(near.into_raw_fd()), far)
    }

    /// Connects and carries a byte each way.
    fn serve(socket: Fd) {
        let listener = listen();
        let address = SockAddr::from(listener.local_addr().unwrap());
        let near = socket::borrowed(socket);
        near.connect(&address).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        assert_eq!(near.send(b"a").unwrap(), 1);
        far.write_all(b"b").unwrap();
        let mut byte = [0];
        assert_eq!(far.read(&mut byte).unwrap(), 1);
        assert_eq!(&byte, b"a");
        assert_eq!((&*near).read(&mut byte).unwrap(), 1);
        assert_eq!(&byte, b"b");
        socket::close(socket, Farewell::Orderly);
        assert_eq!(far.read(&mut byte).unwrap(), 0);
    }

    #[test]
    fn a_socket_serves_again_and_keeps_its_options() {
        let (near, mut far) = ended(&listen());
        socket::borrowed(near).set_tcp_nodelay(true).unwrap();
        let mut spares = Spares::default();
        spares.put(near, None);
        assert_eq!(far.read(&mut [0]).unwrap(), 0, "it says EOF");
        let again = spares.take(None).expect("its EOF is acknowledged");
        assert_eq!(again, near);
        assert!(socket::borrowed(again).tcp_nodelay().unwrap());
        serve(again);
    }

    #[test]
    fn a_reset_of_the_past_is_forgotten() {
        let (near, far) = ended(&listen());
        SockRef::from(&far).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(far);
        let mut spares = Spares::default();
        spares.put(near, None);
        serve(spares.take(None).expect("who has reset is owed nothing"));
    }

    #[test]
    fn a_socket_that_was_bound_serves_only_who_wants_its_address() {
        let listener = listen();
        let ip = "127.0.0.7".parse().unwrap();
        let near = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let near = Fd::new(near.unwrap().into_raw_fd());
        socket::bind_address(near, ip).unwrap();
        let address = SockAddr::from(listener.local_addr().unwrap());
        socket::borrowed(near).connect(&address).unwrap();
        let (far, _) = listener.accept().unwrap();
        far.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!((&*socket::borrowed(near)).read(&mut [0]).unwrap(), 0);
        drop(far);
        let mut spares = Spares::default();
        spares.put(near, Some(ip));
        assert_eq!(spares.take(None), None);
        let again = spares.take(Some(ip)).expect("its EOF is acknowledged");
        socket::borrowed(again).connect(&address).unwrap();
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), ip, "the kernel keeps what it was bound to");
        socket::close(again, Farewell::Orderly);
    }

    #[test]
    fn no_more_are_kept_than_are_worth_it() {
        let listener = listen();
        let mut spares = Spares::default();
        let mut first = None;
        for _ in 0..=SPARES_MAX {
            let (near, far) = ended(&listener);
            spares.put(near, None);
            first.get_or_insert(far);
        }
        assert_eq!(spares.ended.len(), SPARES_MAX);
        assert_eq!(first.unwrap().read(&mut [0]).unwrap(), 0);
    }
}
