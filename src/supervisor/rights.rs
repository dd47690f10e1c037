//! Who ringway is and what it may still do: the order in which it gives up the rest, and a line
//! about it in the log.

use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::{Failed, failed};
use crate::config::{Address, Bind, Config, LogTo};
use crate::sys::choice::EngineKind;
use crate::sys::confine::Sandbox;
use crate::sys::privileges::{self, Identity};

/// Before anything is made that has an owner.
pub(super) fn become_user(config: &Config) -> Result<(), Failed> {
    if config.user.is_none() && privileges::is_root() {
        warn!("runs as root: \"user\" in the configuration names somebody who may less");
    }
    privileges::assume(config.user.as_ref(), config.group.as_ref())
        .map_err(|refused| Failed { what: refused.key.to_owned(), why: refused.why })
}

/// Closes what need not be open from here on. Editors replace a file rather than write to it, so
/// the folder of the configuration is what stays readable.
pub(super) fn sandbox(config: &Config, file: Option<&Path>) -> Result<Sandbox, Failed> {
    if !config.sandbox {
        return Ok(Sandbox::off());
    }
    let mut readable = Vec::new();
    if let Some(file) = file {
        // Where it is a link, to where that leads as well.
        let target = file.canonicalize().ok();
        readable.extend([Some(file), target.as_deref()].into_iter().flatten().filter_map(folder));
    }
    let bound = config.listeners.iter().flat_map(|listener| &listener.bind);
    let bound = bound.filter_map(|bind| match bind {
        Bind::At(address) => Some(address),
        Bind::Passed(_) => None,
    });
    let sockets: Vec<_> = bound
        .chain(config.admin.as_ref().map(|admin| &admin.bind))
        .filter_map(|address| match address {
            Address::Unix(path) => folder(path),
            Address::Tcp(_) => None,
        })
        .collect();
    let logs: Vec<_> = config.access_log.iter().filter_map(|log| log_place(&log.to)).collect();
    Sandbox::new(&readable, &sockets, &logs).map_err(failed("sandbox"))
}

/// Where the file of the access log is made anew after somebody has renamed it. Nobody renames what
/// is no regular file, such as a terminal or a pipe.
fn log_place(to: &LogTo) -> Option<PathBuf> {
    let LogTo::File(path) = to else { return None };
    if path.is_file() { folder(path) } else { Some(path.clone()) }
}

fn folder(file: &Path) -> Option<PathBuf> {
    let folder = file.parent()?;
    Some(if folder.as_os_str().is_empty() { ".".into() } else { folder.to_owned() })
}

/// What is in force, in one line.
pub(super) fn tell(identity: &Identity, sandbox: Sandbox, engine: EngineKind) {
    let landlock = sandbox.landlock();
    let rings = match (sandbox.restricts_rings(), engine) {
        (false, _) => "off",
        (true, EngineKind::IoUring) => "workers",
        (true, EngineKind::Epoll) => "none",
    };
    info!(
        user = %identity.user,
        capabilities = %identity.capabilities,
        no_new_privs = true,
        %landlock,
        seccomp = %sandbox.seccomp(),
        restricted_rings = %rings,
        "confined"
    );
}

/// Keys of a new configuration that nothing can be done about any more.
pub(super) fn warn_changed(before: &Config, config: &Config) {
    let changed = [
        ("user", config.user != before.user),
        ("group", config.group != before.group),
        ("sandbox", config.sandbox != before.sandbox),
        ("engine", config.engine != before.engine),
        ("admin", config.admin != before.admin),
    ];
    for (key, _) in changed.into_iter().filter(|(_, changed)| *changed) {
        warn!("{key}: takes effect with a restart");
    }
}
