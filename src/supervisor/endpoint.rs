//! The socket of the admin endpoint: made before ringway confines itself, served by the control
//! thread, and removed at the end.

use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tracing::warn;

use super::listeners::hint;
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
        let socket = socket.map_err(|why| Failed {
            what: format!("admin: cannot listen on {}", admin.bind),
            why: io::Error::new(why.kind(), hint(&admin.bind, &why, "")),
        })?;
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
