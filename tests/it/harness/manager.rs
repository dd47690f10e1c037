//! The service manager's end of sd_notify(3): a socket that ringway is told to speak to.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tempfile::TempDir;

use super::eventually;

/// Hears everything, in the order in which it was said.
pub(crate) struct Manager {
    socket: UnixDatagram,
    address: String,
    _files: Option<TempDir>,
}

/// One datagram, line by line.
#[derive(Debug)]
pub(crate) struct Told(Vec<String>);

impl Manager {
    /// With a path that anybody may write to, as that of systemd.
    pub(crate) fn at_a_path() -> Self {
        let anybody = |mode| std::fs::Permissions::from_mode(mode);
        let files =
            tempfile::Builder::new().permissions(anybody(0o755)).tempdir().expect("a folder");
        let path = files.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a free path");
        std::fs::set_permissions(&path, anybody(0o777)).expect("permissions");
        let address = path.to_str().expect("a path in UTF-8").to_owned();
        Self::hearing(socket, address, Some(files))
    }

    /// With an abstract name.
    pub(crate) fn at_a_name(name: &str) -> Self {
        let name = format!("ringway-{}-{name}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("a free name");
        Self::hearing(socket, format!("@{name}"), None)
    }

    fn hearing(socket: UnixDatagram, address: String, files: Option<TempDir>) -> Self {
        socket.set_nonblocking(true).expect("non-blocking");
        Self { socket, address, _files: files }
    }

    /// What the environment of its service says.
    pub(crate) fn environment(&self) -> String {
        format!("NOTIFY_SOCKET={}", self.address)
    }

    /// The next datagram.
    #[track_caller]
    pub(crate) fn told(&self) -> Told {
        eventually("a word to the service manager", || self.so_far())
    }

    /// The next datagram, if one has come.
    pub(crate) fn so_far(&self) -> Option<Told> {
        let mut bytes = [0; 4096];
        let length = match self.socket.recv(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            length => length.expect("a datagram"),
        };
        let text = std::str::from_utf8(&bytes[..length]).expect("text");
        Some(Told(text.lines().map(str::to_owned).collect()))
    }
}

impl Told {
    /// The value behind `name=`.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }

    #[track_caller]
    pub(crate) fn get(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    #[track_caller]
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or_else(|_| panic!("{name} is no number in {self:?}"))
    }
}
