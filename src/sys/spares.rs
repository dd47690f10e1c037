//! Sockets that have served a session to its end and are connected again for another.
//!
//! Making and freeing a TCP socket takes the kernel about a tenth of what a short connection costs,
//! and its options have to be set anew. connect(2) to AF_UNSPEC dissolves a connection instead and
//! leaves the socket as new, its options kept (tcp_disconnect in net/ipv4/tcp.c). A socket gets
//! here only after EOF was received from it, and leaves only once its own EOF is acknowledged:
//! until then the kernel may have to send that again.

use std::collections::VecDeque;

use super::{Farewell, Fd, socket};

/// Sockets kept, out of those the worker has in reserve. A core that has fallen behind ends a
/// hundred sessions in one turn and opens as many in the next.
pub const SPARES_MAX: usize = 96;

/// Ended sockets of one kind (family, options), in the order they ended.
#[derive(Default)]
pub struct Spares {
    ended: VecDeque<Fd>,
}

impl Spares {
    /// Says EOF on a socket from which EOF was received, and keeps it.
    pub fn put(&mut self, ended: Fd) {
        // Fails where EOF has been said before.
        let _ = socket::shutdown_write(ended);
        self.ended.push_back(ended);
        if self.ended.len() > SPARES_MAX
            && let Some(oldest) = self.ended.pop_front()
        {
            socket::close(oldest, Farewell::Orderly);
        }
    }

    /// A socket as new, if one is ready.
    pub fn take(&mut self) -> Option<Fd> {
        let oldest = *self.ended.front()?;
        if socket::unsent(oldest) != Ok(0) {
            return None;
        }
        self.ended.pop_front();
        if socket::dissolve(oldest).is_err() {
            socket::close(oldest, Farewell::Orderly);
            return None;
        }
        Some(oldest)
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        for ended in self.ended.drain(..) {
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
        spares.put(near);
        assert_eq!(far.read(&mut [0]).unwrap(), 0, "it says EOF");
        let again = spares.take().expect("its EOF is acknowledged");
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
        spares.put(near);
        serve(spares.take().expect("who has reset is owed nothing"));
    }

    #[test]
    fn no_more_are_kept_than_are_worth_it() {
        let listener = listen();
        let mut spares = Spares::default();
        let mut first = None;
        for _ in 0..=SPARES_MAX {
            let (near, far) = ended(&listener);
            spares.put(near);
            first.get_or_insert(far);
        }
        assert_eq!(spares.ended.len(), SPARES_MAX);
        assert_eq!(first.unwrap().read(&mut [0]).unwrap(), 0);
    }
}
