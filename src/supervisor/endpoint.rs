//! The socket of the admin endpoint: made before ringway confines itself, served by the control
//! thread, and removed at the end.

use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tracing::warn;

use super::{Failed, failed};
use crate::config::{Address, Admin, AdminToken};
use crate::sys::socket;

/// Who may open the unix socket: ringway's user and group.
const MODE: u32 = 0o660;

/// Where ringway is asked and told things.
pub(crate) struct Endpoint {
    /// Taken by whoever serves it.
    pub(crate) socket: Option<OwnedFd>,
    /// With its real port.
    pub(crate) address: Address,
    /// What whoever asks must show.
    pub(crate) token: Option<String>,
}

impl Endpoint {
    pub(super) fn open(admin: &Admin) -> Result<Self, Failed> {
        let token = admin.token.as_ref().map(read).transpose()?;
        let (socket, address) = match &admin.bind {
            Address::Unix(path) => (listen_unix(path), admin.bind.clone()),
            Address::Tcp(address) => match listen_tcp(*address, admin.or_any_port) {
                Ok((socket, address)) => (Ok(socket), Address::Tcp(address)),
                Err(error) => (Err(error), admin.bind.clone()),
            },
        };
        let socket = socket.map_err(|why| cannot_listen(&admin.bind, &why))?;
        Ok(Self { socket: Some(socket), address, token })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Address::Unix(path) = &self.address
            && let Err(error) = std::fs::remove_file(path)
        {
            warn!(address = %self.address, %error, "the socket could not be removed");
        }
    }
}

fn listen_tcp(address: SocketAddr, or_any_port: bool) -> io::Result<(OwnedFd, SocketAddr)> {
    match socket::listen_alone(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && or_any_port => {
            socket::listen_alone(SocketAddr::new(address.ip(), 0))
        }
        result => result,
    }
}

fn listen_unix(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket::listen_unix_with(path, Some(MODE))?;
    // The kernel has taken the bits of the umask away.
    std::fs::set_permissions(path, Permissions::from_mode(MODE))?;
    Ok(socket)
}

fn read(token: &AdminToken) -> Result<String, Failed> {
    let path = match token {
        AdminToken::Text(token) => return Ok(token.clone()),
        AdminToken::File(path) => path,
    };
    let what = || format!("admin.token_file: {}", path.display());
    let text = std::fs::read_to_string(path).map_err(failed(what()))?;
    let token = text.trim();
    let wrong = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    Admin::check_token(token).map_err(|why| Failed { what: what(), why: wrong(why) })?;
    Ok(token.to_owned())
}

fn cannot_listen(address: &Address, why: &io::Error) -> Failed {
    let hint = match why.kind() {
        io::ErrorKind::AddrInUse => "somebody listens there already, perhaps another ringway",
        io::ErrorKind::AddrNotAvailable => "this host does not have that address",
        io::ErrorKind::PermissionDenied if matches!(address, Address::Unix(_)) => {
            "permission denied (ringway's user must be allowed to write to its folder)"
        }
        io::ErrorKind::PermissionDenied => {
            "permission denied (ports below 1024 need root or CAP_NET_BIND_SERVICE)"
        }
        io::ErrorKind::NotFound => "its folder does not exist",
        _ => &why.to_string(),
    };
    let what = format!("admin: cannot listen on {address}");
    Failed { what, why: io::Error::new(why.kind(), hint) }
}
