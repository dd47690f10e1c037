//! The sandbox: what ringway takes from itself, for good, once it has what it needs.
//!
//! Files go by Landlock, for the whole process from here on; system calls by seccomp, for each
//! thread when it starts to serve; operations of the workers' rings by the rings themselves. What a
//! kernel does not offer is left out and said, never a reason not to start.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, LandlockStatus, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::seccomp::{self, Thread};

/// What looking a name up may read (getaddrinfo(3), nsswitch.conf(5)): its settings, what they are
/// links to, and libraries that are loaded for it.
const NAMES: [&str; 9] = [
    "/etc",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/zoneinfo",
];

/// Access to files that is denied where no rule allows it. Later kernels know more; connecting to
/// unix sockets must not be among it, since servers may be anywhere.
const FILES: ABI = ABI::V5;

/// What a process may reach of others beside files: it sends them no signal, and connects to no
/// abstract unix socket.
const OTHERS: ABI = ABI::V6;

/// What this kernel's Landlock knows; `None`: it has none, or none that is enabled.
#[expect(unsafe_code, reason = "landlock_create_ruleset(2)")]
pub fn landlock_version() -> Option<u32> {
    /// Asks for the version instead of making anything (linux/landlock.h).
    const VERSION: u32 = 1;
    let nothing = std::ptr::null::<u8>();
    // SAFETY: with this flag the kernel reads no memory, and the pointer must be null.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0usize, VERSION) };
    u32::try_from(version).ok().filter(|&version| version > 0)
}

/// What confines ringway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sandbox {
    is_on: bool,
    landlock: Landlock,
    /// True exactly when the sandbox is on and the kernel filters system calls.
    seccomp: bool,
}

/// How much of Landlock there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Landlock {
    Off,
    /// Not in this kernel, or not enabled.
    Missing,
    /// In force, with what this version of it knows.
    Abi(i32),
}

impl Sandbox {
    /// Nothing is taken away.
    pub fn off() -> Self {
        Self { is_on: false, landlock: Landlock::Off, seccomp: false }
    }

    /// From now on this thread and those it starts read files in the folders `readable` and what
    /// names need, make and remove sockets in the folders `sockets`, and make files and write to
    /// them in `logs`, which may be files themselves; nothing else.
    ///
    /// # Errors
    /// The kernel offers Landlock and refuses what is asked of it.
    pub fn new(readable: &[PathBuf], sockets: &[PathBuf], logs: &[PathBuf]) -> io::Result<Self> {
        let landlock = close_files(readable, sockets, logs).map_err(io::Error::other)?;
        Ok(Self { is_on: true, landlock, seccomp: seccomp::is_available() })
    }

    /// Whether rings are to be held to the operations of their engine.
    pub fn restricts_rings(self) -> bool {
        self.is_on
    }

    /// Holds the calling thread to the system calls of its kind.
    ///
    /// # Errors
    /// The kernel offers seccomp and does not take the filter.
    pub fn confine(self, thread: Thread) -> io::Result<()> {
        if self.seccomp { seccomp::confine(thread) } else { Ok(()) }
    }

    /// For the log: `off`, `unavailable` or `on`.
    pub fn seccomp(self) -> &'static str {
        match (self.is_on, self.seccomp) {
            (false, _) => "off",
            (true, false) => "unavailable",
            (true, true) => "on",
        }
    }

    /// For the log: `off`, `unavailable` or the version in force.
    pub fn landlock(self) -> impl fmt::Display {
        self.landlock
    }
}

impl fmt::Display for Landlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Missing => f.write_str("unavailable"),
            Self::Abi(abi) => write!(f, "abi{abi}"),
        }
    }
}

fn close_files(
    readable: &[PathBuf],
    sockets: &[PathBuf],
    logs: &[PathBuf],
) -> Result<Landlock, RulesetError> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    // A socket that was left behind is removed before its path is taken, and at the end.
    let own = AccessFs::MakeSock | AccessFs::RemoveFile;
    let readable = NAMES.iter().map(Path::new).chain(readable.iter().map(PathBuf::as_path));
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(FILES))?
        .scope(Scope::from_all(OTHERS))?
        .create()?
        .add_rules(path_beneath_rules(readable, read))?
        .add_rules(path_beneath_rules(sockets, own))?
        .add_rules(path_beneath_rules(logs, AccessFs::MakeReg | AccessFs::WriteFile))?
        .restrict_self()?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => Landlock::Missing,
        (_, LandlockStatus::Available { effective_abi, .. }) => Landlock::Abi(effective_abi as i32),
        (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => Landlock::Missing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    /// Runs on a thread of its own, with one folder to read and one for sockets.
    fn closed<T: Send + 'static>(
        readable: &Path,
        sockets: &Path,
        what: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let (readable, sockets) = (vec![readable.to_owned()], vec![sockets.to_owned()]);
        let confined = std::thread::spawn(move || {
            let sandbox = Sandbox::new(&readable, &sockets, &[]).unwrap();
            assert!(matches!(sandbox.landlock, Landlock::Abi(_)), "needs Landlock: {sandbox:?}");
            what()
        });
        confined.join().unwrap()
    }

    #[test]
    fn files_are_read_where_they_may_be_and_written_nowhere() {
        let files = tempfile::tempdir().unwrap();
        let [readable, other] = ["readable", "other"].map(|name| files.path().join(name));
        for folder in [&readable, &other] {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join("file"), "text").unwrap();
        }
        let (here, there) = (readable.clone(), other.clone());
        let results = closed(&readable, &other, move || {
            let read = std::fs::read_to_string;
            let written = std::fs::write(here.join("file"), "new").map(|()| String::new());
            [read(here.join("file")), read("/etc/hosts".into()), read(there.join("file")), written]
                .map(|result| result.map_err(|error| error.kind()))
        });
        assert_eq!(results[0].as_deref(), Ok("text"));
        assert!(results[1].is_ok());
        assert_eq!(results[2], Err(io::ErrorKind::PermissionDenied));
        assert_eq!(results[3], Err(io::ErrorKind::PermissionDenied));
    }

    #[test]
    fn sockets_are_made_and_removed_where_they_may_be_and_reached_everywhere() {
        let files = tempfile::tempdir().unwrap();
        let [sockets, other] = ["sockets", "other"].map(|name| files.path().join(name));
        for folder in [&sockets, &other] {
            std::fs::create_dir(folder).unwrap();
        }
        let server = UnixListener::bind(other.join("server")).unwrap();
        let (here, there) = (sockets.clone(), other.clone());
        let (made, removed, elsewhere, reached) = closed(&other, &sockets, move || {
            let made = UnixListener::bind(here.join("socket"));
            let removed = std::fs::remove_file(here.join("socket"));
            let reached = UnixStream::connect(there.join("server"));
            (made, removed, UnixListener::bind(there.join("socket")), reached)
        });
        made.unwrap();
        removed.unwrap();
        reached.unwrap();
        let denied = elsewhere.map(drop).map_err(|error| error.kind());
        assert_eq!(denied, Err(io::ErrorKind::PermissionDenied));
        drop(server);
    }
}
