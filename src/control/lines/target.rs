//! Where the access log goes, with the file it is written to.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use super::output::Sink;
use crate::config::{AccessLog, LogTo, Syslog};

/// Who may read a file that ringway makes: its user, and its group. It has addresses of clients.
const FILE_MODE: u32 = 0o640;

/// Where the access log goes.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// `None`: there is no access log.
    pub(super) to: Option<LogTo>,
    /// Where it goes to a file.
    pub(super) file: Option<Arc<File>>,
}

impl Target {
    /// Opens the file where there is one.
    ///
    /// # Errors
    /// It cannot be appended to.
    pub(crate) fn open(log: Option<&AccessLog>) -> io::Result<Self> {
        let to = log.map(|log| log.to.clone());
        let file = match &to {
            Some(LogTo::File(path)) => Some(open(path)?),
            _ => None,
        };
        Ok(Self { to, file })
    }

    pub(super) fn sink(&self) -> Sink {
        match (&self.to, &self.file) {
            (Some(LogTo::File(_)), Some(file)) => Sink::File(Arc::clone(file)),
            (Some(LogTo::Syslog(Syslog { socket, .. }) | LogTo::Journald(socket)), _) => {
                Sink::Daemon(socket.clone())
            }
            // Those lines go the way of ringway's own messages.
            (Some(LogTo::Stdout | LogTo::File(_)) | None, _) => Sink::Nobody,
        }
    }
}

/// For appending, which several processes may do without tearing lines apart. Does not wait for a
/// reader where that is a pipe.
pub(super) fn open(path: &Path) -> io::Result<Arc<File>> {
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(FILE_MODE).custom_flags(flags);
    options.open(path).map(Arc::new)
}
