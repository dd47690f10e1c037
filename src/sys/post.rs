//! Sockets on their way to a worker, which has a descriptor table of its own (SCM_RIGHTS, unix(7)).
//!
//! A pair of connected unix sockets: the supervisor sends, the worker receives. What is sent waits
//! there, so a worker that was told of it always finds it.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};

use super::Fd;

/// Descriptors in one message; the kernel's own limit is 253 (SCM_MAX_FD, include/net/scm.h).
const AT_ONCE: usize = 64;

/// Both ends.
#[derive(Debug)]
pub struct Post {
    supervisor: OwnedFd,
    worker: OwnedFd,
}

impl Post {
    /// A new pair.
    pub fn new() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (supervisor, worker) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok(Self { supervisor, worker })
    }

    /// The number of the worker's end, in every table that kept it.
    pub fn number(&self) -> RawFd {
        self.worker.as_raw_fd()
    }

    /// Sends copies of these; the sender keeps its own.
    pub fn send(&self, sockets: &[RawFd]) -> io::Result<()> {
        for some in sockets.chunks(AT_ONCE) {
            let rights = [ControlMessage::ScmRights(some)];
            let byte = [IoSlice::new(&[0])];
            let to = self.supervisor.as_raw_fd();
            sendmsg::<()>(to, &byte, &rights, MsgFlags::MSG_NOSIGNAL, None)?;
        }
        Ok(())
    }
}

/// Takes that many, in the order in which they were sent.
pub fn receive(post: Fd, count: usize) -> io::Result<Vec<Fd>> {
    let mut sockets = Vec::with_capacity(count);
    while sockets.len() < count {
        let mut byte = [0];
        let mut room = nix::cmsg_space!([RawFd; AT_ONCE]);
        let mut into = [IoSliceMut::new(&mut byte)];
        // Never waits: what was announced has been sent.
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<()>(post.number(), &mut into, Some(&mut room), flags)?;
        let before = sockets.len();
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(some) = control {
                sockets.extend(some.into_iter().map(Fd::new));
            }
        }
        if sockets.len() == before {
            return Err(io::Error::other("listening sockets were lost: no descriptor is free"));
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::sys::{Farewell, socket, table};

    #[test]
    fn sockets_arrive_in_a_private_table_in_the_order_they_were_sent() {
        let post = Post::new().unwrap();
        let listeners: Vec<_> =
            (0..AT_ONCE + 6).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let numbers: Vec<_> = listeners.iter().map(AsRawFd::as_raw_fd).collect();
        let addresses: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap()).collect();
        post.send(&numbers).unwrap();
        drop(listeners);
        std::thread::spawn(move || {
            table::make_private(&[post.number()]).unwrap();
            let worker = Fd::new(post.number());
            let received = receive(worker, addresses.len()).unwrap();
            for (socket, address) in received.iter().zip(&addresses) {
                assert_eq!(socket::local_address(*socket).unwrap(), *address);
                TcpStream::connect(address).unwrap();
                socket::close(*socket, Farewell::Orderly);
            }
            assert!(receive(worker, 1).is_err(), "nothing more was sent");
            // Its numbers mean nothing in this table any more.
            std::mem::forget(post);
        })
        .join()
        .unwrap();
    }
}
