//! The socket of the service manager that started ringway, and what it asks to be told there
//! (sd_notify(3)): lines of text in datagrams, for which nobody answers.
//!
//! Connected before the sandbox is in force, and before ringway becomes somebody else. Later,
//! Landlock lets nobody connect to an abstract socket, but send where they are connected.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Seconds that a datagram may wait for room: the manager reads all the time, or not at all.
const SEND_TIMEOUT_S: u64 = 1;

/// Who is told what becomes of ringway; nobody, where no manager asked for it.
#[derive(Debug)]
pub struct Notify {
    manager: Option<UnixDatagram>,
    /// Microseconds that may pass between two signs of life, where any are asked for.
    watchdog_us: Option<u64>,
}

impl Notify {
    /// Nobody.
    pub fn nobody() -> Self {
        Self { manager: None, watchdog_us: None }
    }

    /// As `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` say.
    ///
    /// # Errors
    /// The manager named a socket that cannot be connected to.
    pub fn from_environment() -> io::Result<Self> {
        let Some(address) = env::var_os("NOTIFY_SOCKET") else {
            return Ok(Self::nobody());
        };
        let address = address.to_str().ok_or(io::ErrorKind::InvalidInput)?;
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        // Where it names another process, that is the one which is watched.
        let own = u64::from(std::process::id());
        let is_watched = number("WATCHDOG_PID").is_none_or(|pid| pid == own);
        let watchdog_us = number("WATCHDOG_USEC").filter(|&us| is_watched && us > 0);
        Ok(Self { manager: Some(connect(address)?), watchdog_us })
    }

    /// Whether anybody listens.
    pub fn is_heard(&self) -> bool {
        self.manager.is_some()
    }

    /// Microseconds that may pass between two `WATCHDOG=1`, where the manager wants any.
    pub fn watchdog_us(&self) -> Option<u64> {
        self.watchdog_us
    }

    /// Sends one datagram: a line for each thing to say.
    ///
    /// # Errors
    /// The manager has closed its socket, or takes nothing from it.
    pub fn tell(&self, lines: &str) -> io::Result<()> {
        self.manager.as_ref().map_or(Ok(()), |manager| manager.send(lines.as_bytes()).map(drop))
    }
}

/// A path, or an abstract name behind `@`.
fn connect(address: &str) -> io::Result<UnixDatagram> {
    let to = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None if address.starts_with('/') => SocketAddr::from_pathname(address)?,
        None => {
            let why = format!("must be a path or \"@\" and a name, is {address:?}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(Duration::from_secs(SEND_TIMEOUT_S)))?;
    socket.connect_addr(&to)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_abstract_names_are_connected_to_and_nothing_else_is() {
        let files = tempfile::tempdir().unwrap();
        let path = files.path().join("notify");
        let name = format!("ringway-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        let rows = [
            (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned()),
            (UnixDatagram::bind_addr(&abstract_name).unwrap(), format!("@{name}")),
        ];
        for (manager, address) in rows {
            let notify = Notify { manager: Some(connect(&address).unwrap()), watchdog_us: None };
            notify.tell("READY=1\n").unwrap();
            let mut text = [0; 16];
            assert_eq!(manager.recv(&mut text).unwrap(), 8, "{address}");
            assert_eq!(&text[..8], b"READY=1\n");
        }
        let refused = connect("vsock:2:1").unwrap_err().to_string();
        assert!(refused.starts_with("must be a path or \"@\" and a name"), "{refused}");
    }
}
