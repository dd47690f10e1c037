//! Listening sockets that a service manager has made and passed on (sd_listen_fds(3)).
//!
//! They belong to the manager as well: nothing here or elsewhere stops others from using them.

use std::env;
use std::fmt;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::{getsockopt, sockopt::AcceptConn};
use socket2::{Domain, SockRef, Type};

use crate::config::Address;

/// The number of the first (SD_LISTEN_FDS_START, sd-daemon.h).
const FIRST: RawFd = 3;

/// What one is called that the manager gave no name.
const NAMELESS: &str = "unknown";

/// One of them.
#[derive(Debug)]
pub struct Passed {
    /// `FileDescriptorName=` of its unit, or the name of that unit.
    pub name: String,
    /// Where it listens.
    pub address: Address,
    /// Non-blocking.
    pub socket: OwnedFd,
}

/// What cannot be listened on.
#[derive(Debug)]
pub struct Unfit {
    /// Its number and name.
    pub which: String,
    /// What it is instead.
    pub why: io::Error,
}

/// All of them, as `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` say, once: from here on they are
/// the caller's.
///
/// # Errors
/// Those that cannot be listened on, each with what is wrong.
pub fn take() -> Result<Vec<Passed>, Vec<Unfit>> {
    let number = |name| env::var(name).ok()?.parse::<u32>().ok();
    // Variables that were meant for a parent are none of ours.
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS").and_then(|count| RawFd::try_from(count).ok()).unwrap_or(0);
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').filter(|name| !name.is_empty());
    let (mut passed, mut unfit) = (Vec::new(), Vec::new());
    for number in (FIRST..).take(usize::try_from(count).unwrap_or(0)) {
        let name = names.next().unwrap_or(NAMELESS);
        match own(number).and_then(|socket| Ok((address(&socket)?, socket))) {
            Ok((address, socket)) => {
                passed.push(Passed { name: name.to_owned(), address, socket });
            }
            Err(why) => {
                unfit.push(Unfit { which: format!("descriptor {number} ({name})"), why });
            }
        }
    }
    if unfit.is_empty() { Ok(passed) } else { Err(unfit) }
}

#[expect(unsafe_code, reason = "descriptors come as numbers")]
fn own(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: nothing is read or closed through it; fcntl answers EBADF for a closed number.
    let named = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    fcntl(named, FcntlArg::F_GETFD)?;
    // SAFETY: it is open, and whoever started this process passed it on for this one to own. It is
    // asked for once, before anything else is opened.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Where it listens, if it does so as ringway can use.
fn address(passed: &OwnedFd) -> io::Result<Address> {
    let socket = SockRef::from(passed);
    let kind = socket.r#type().map_err(|_| wrong("no socket"))?;
    let domain = socket.domain()?;
    let is_known = [Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&domain);
    if kind != Type::STREAM || !is_known {
        let kind = if kind == Type::DGRAM { "a datagram socket" } else { "of another kind" };
        return Err(wrong(kind));
    }
    if !getsockopt(passed, AcceptConn)? {
        return Err(wrong("a connection (its unit must say Accept=no)"));
    }
    socket.set_cloexec(true)?;
    socket.set_nonblocking(true)?;
    let local = socket.local_addr()?;
    let path = || Some(Address::Unix(PathBuf::from(local.as_pathname()?)));
    let address = local.as_socket().map(Address::Tcp).or_else(path);
    address.ok_or_else(|| wrong("without a path (abstract)"))
}

fn wrong(what: impl fmt::Display) -> io::Error {
    let text = format!("must be a listening TCP or unix stream socket, is {what}");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn listening_streams_have_an_address_and_nothing_else_has() {
        let files = tempfile::tempdir().unwrap();
        let path = files.path().join("socket");
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = tcp.local_addr().unwrap();
        let connection = TcpStream::connect(at).unwrap();
        let rows: [(OwnedFd, Address); 2] = [
            (tcp.into(), Address::Tcp(at)),
            (UnixListener::bind(&path).unwrap().into(), Address::Unix(path.clone())),
        ];
        for (socket, expected) in rows {
            assert_eq!(address(&socket).unwrap(), expected);
            let nonblocking = SockRef::from(&socket).nonblocking().unwrap();
            assert!(nonblocking, "{expected}");
        }
        let rows: [(OwnedFd, &str); 3] = [
            (UdpSocket::bind("127.0.0.1:0").unwrap().into(), "is a datagram socket"),
            (connection.into(), "is a connection (its unit must say Accept=no)"),
            (std::fs::File::open("/dev/null").unwrap().into(), "is no socket"),
        ];
        for (socket, expected) in rows {
            let said = address(&socket).unwrap_err().to_string();
            assert!(said.ends_with(expected), "{said}");
        }
    }
}
