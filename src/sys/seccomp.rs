//! Which system calls a thread may still make: filters that the kernel runs on each (seccomp(2)).
//!
//! What is not listed fails with EPERM. Killing would be louder, but one call that a new C library
//! makes would take every session of the process along, and gives an intruder nothing less: the
//! call has failed either way. Operations of a ring are no system calls; see `ring` for those.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_long};
use std::io;

use libc::{
    SYS_accept4, SYS_bind, SYS_brk, SYS_clock_gettime, SYS_clock_nanosleep, SYS_clone, SYS_clone3,
    SYS_close, SYS_connect, SYS_dup, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait,
    SYS_epoll_pwait2, SYS_eventfd2, SYS_exit, SYS_exit_group, SYS_faccessat, SYS_faccessat2,
    SYS_fcntl, SYS_fstat, SYS_futex, SYS_getcwd, SYS_getdents64, SYS_getegid, SYS_geteuid,
    SYS_getgid, SYS_getpeername, SYS_getpid, SYS_getrandom, SYS_getrusage, SYS_getsockname,
    SYS_getsockopt, SYS_gettid, SYS_getuid, SYS_io_uring_enter, SYS_io_uring_register,
    SYS_io_uring_setup, SYS_ioctl, SYS_listen, SYS_lseek, SYS_madvise, SYS_mmap, SYS_mprotect,
    SYS_mremap, SYS_munmap, SYS_nanosleep, SYS_newfstatat, SYS_openat, SYS_pipe2, SYS_ppoll,
    SYS_prctl, SYS_pread64, SYS_prlimit64, SYS_read, SYS_readlinkat, SYS_readv, SYS_recvfrom,
    SYS_recvmmsg, SYS_recvmsg, SYS_restart_syscall, SYS_rseq, SYS_rt_sigaction, SYS_rt_sigprocmask,
    SYS_rt_sigreturn, SYS_sched_getaffinity, SYS_sched_yield, SYS_sendmmsg, SYS_sendmsg,
    SYS_sendto, SYS_set_robust_list, SYS_setsockopt, SYS_shutdown, SYS_sigaltstack, SYS_socket,
    SYS_socketpair, SYS_splice, SYS_statx, SYS_sysinfo, SYS_tgkill, SYS_uname, SYS_unlinkat,
    SYS_write, SYS_writev,
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

/// The kinds of threads there are, each with its own list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thread {
    /// Moves bytes: what an engine asks for, either one, once it is set up.
    Worker,
    /// Everything else there is to do while sessions live: probes, signals, log lines, reading the
    /// configuration again, names, new listeners, helper threads.
    Control,
}

/// What a thread needs to live, whatever it does: memory, locks, time, its end.
const LIVING: &[c_long] = &[
    SYS_brk,
    SYS_clock_gettime,
    SYS_clock_nanosleep,
    SYS_exit,
    SYS_exit_group,
    SYS_futex,
    SYS_getpid,
    SYS_getrandom,
    SYS_gettid,
    SYS_madvise,
    SYS_mremap,
    SYS_munmap,
    SYS_nanosleep,
    SYS_restart_syscall,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sched_getaffinity,
    SYS_sched_yield,
    SYS_sigaltstack,
];

/// Sockets and pipes: making, connecting, moving bytes, waiting, passing descriptors on.
const MOVING: &[c_long] = &[
    SYS_accept4,
    SYS_bind,
    SYS_close,
    SYS_connect,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_getpeername,
    SYS_getsockname,
    SYS_getsockopt,
    SYS_io_uring_enter,
    SYS_pipe2,
    SYS_ppoll,
    SYS_read,
    SYS_readv,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_sendmsg,
    SYS_sendto,
    SYS_setsockopt,
    SYS_shutdown,
    SYS_splice,
    SYS_write,
    SYS_writev,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

/// Files to read, names to look up, listeners to make, threads to start.
const CONTROLLING: &[c_long] = &[
    // As far as `without_clone3` lets it.
    SYS_clone3,
    SYS_dup,
    SYS_epoll_create1,
    SYS_eventfd2,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_fstat,
    SYS_getcwd,
    SYS_getdents64,
    SYS_getegid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getrusage,
    SYS_getuid,
    SYS_io_uring_register,
    SYS_io_uring_setup,
    SYS_listen,
    SYS_lseek,
    SYS_mmap,
    SYS_mprotect,
    SYS_newfstatat,
    SYS_pread64,
    SYS_readlinkat,
    SYS_recvmmsg,
    SYS_rseq,
    SYS_sendmmsg,
    SYS_set_robust_list,
    SYS_socketpair,
    SYS_statx,
    SYS_sysinfo,
    SYS_uname,
    SYS_unlinkat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
];

/// What must hold for one argument of a call.
#[derive(Clone, Copy)]
enum Must {
    Be(c_int),
    HaveNoneOf(c_int),
    /// Of the first bits, the second and no others.
    HaveOf(c_int, c_int),
    BeThisProcess,
    BeNull,
}

/// A call and the ways in which it is allowed: one of them must hold, in all its arguments.
type Conditional = (c_long, &'static [&'static [(u8, Must)]]);

const WAYS_OF_ALL: &[Conditional] = &[
    (
        SYS_fcntl,
        &[
            &[(1, Must::Be(libc::F_DUPFD_CLOEXEC))],
            &[(1, Must::Be(libc::F_GETFD))],
            &[(1, Must::Be(libc::F_GETFL))],
            &[(1, Must::Be(libc::F_GETPIPE_SZ))],
            &[(1, Must::Be(libc::F_SETFD))],
            &[(1, Must::Be(libc::F_SETFL))],
            &[(1, Must::Be(libc::F_SETPIPE_SZ))],
        ],
    ),
    (
        SYS_ioctl,
        &[
            &[(1, Must::Be(libc::FIONBIO as c_int))],
            &[(1, Must::Be(libc::FIONREAD as c_int))],
            &[(1, Must::Be(libc::TIOCOUTQ as c_int))],
        ],
    ),
    // abort(3), with which a panic ends the process.
    (SYS_tgkill, &[&[(0, Must::BeThisProcess), (2, Must::Be(libc::SIGABRT))]]),
];

const WAYS_OF_WORKERS: &[Conditional] = &[
    (SYS_mmap, &[&[(2, Must::HaveNoneOf(libc::PROT_EXEC))]]),
    (SYS_mprotect, &[&[(2, Must::HaveNoneOf(libc::PROT_EXEC))]]),
    (
        SYS_socket,
        &[
            &[(0, Must::Be(libc::AF_INET)), (1, Must::HaveNoneOf(NOT_A_STREAM))],
            &[(0, Must::Be(libc::AF_INET6)), (1, Must::HaveNoneOf(NOT_A_STREAM))],
            &[(0, Must::Be(libc::AF_UNIX)), (1, Must::HaveNoneOf(NOT_A_STREAM))],
        ],
    ),
];

/// Bits that the type of a socket has beside SOCK_STREAM (1), SOCK_NONBLOCK and SOCK_CLOEXEC.
const NOT_A_STREAM: c_int = !(libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);

const WAYS_OF_CONTROL: &[Conditional] = &[
    // Threads, but no namespaces.
    (SYS_clone, &[&[(0, Must::HaveNoneOf(NAMESPACES))]]),
    // Reading, and appending to the access log where Landlock lets it.
    (SYS_openat, &[&[(2, Must::HaveNoneOf(WRITING))], &[(2, Must::HaveOf(WRITING, APPENDING))]]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, &[&[(1, Must::HaveNoneOf(WRITING))]]),
    (SYS_prctl, &[&[(0, Must::Be(libc::PR_SET_NAME))]]),
    // Limits are read only.
    (SYS_prlimit64, &[&[(2, Must::BeNull)]]),
    (
        SYS_socket,
        &[
            &[(0, Must::Be(libc::AF_INET))],
            &[(0, Must::Be(libc::AF_INET6))],
            &[(0, Must::Be(libc::AF_UNIX))],
            // Looking names up asks which addresses this host has (getaddrinfo(3)).
            &[(0, Must::Be(libc::AF_NETLINK))],
        ],
    ),
];

const WRITING: c_int =
    libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND;

const APPENDING: c_int = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND;

const NAMESPACES: c_int = libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWUTS;

/// Whether the kernel filters system calls, and the filters are known for this architecture.
#[expect(unsafe_code, reason = "seccomp(2)")]
pub fn is_available() -> bool {
    let action: u32 = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the kernel reads one number, which lives through the call (SECCOMP_GET_ACTION_AVAIL).
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action)
    };
    result == 0 && architecture().is_ok()
}

/// From now on the calling thread, and those it starts, are held to its list.
///
/// # Errors
/// The kernel does not take the filter; then none is in force.
pub fn confine(thread: Thread) -> io::Result<()> {
    let apply = |filter: BpfProgram| apply_filter(&filter).map_err(io::Error::other);
    if thread == Thread::Control {
        apply(without_clone3().map_err(io::Error::other)?)?;
    }
    apply(list_of(thread).map_err(io::Error::other)?)
}

fn architecture() -> Result<TargetArch, BackendError> {
    std::env::consts::ARCH.try_into()
}

fn list_of(thread: Thread) -> Result<BpfProgram, BackendError> {
    let (lists, ways) = match thread {
        Thread::Worker => (&[LIVING, MOVING][..], WAYS_OF_WORKERS),
        Thread::Control => (&[LIVING, MOVING, CONTROLLING][..], WAYS_OF_CONTROL),
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        lists.iter().copied().flatten().map(|&call| (call, Vec::new())).collect();
    for (call, ways) in WAYS_OF_ALL.iter().chain(ways) {
        let ways = ways.iter().map(|way| SeccompRule::new(conditions(way)?));
        rules.insert(*call, ways.collect::<Result<_, _>>()?);
    }
    let refuse = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    SeccompFilter::new(rules, refuse, SeccompAction::Allow, architecture()?)?.try_into()
}

/// clone3(2) has its flags in memory, where no filter sees them. The C library takes clone(2)
/// where there is no clone3.
fn without_clone3() -> Result<BpfProgram, BackendError> {
    let rules = BTreeMap::from([(SYS_clone3, Vec::new())]);
    let refuse = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture()?)?.try_into()
}

fn conditions(way: &[(u8, Must)]) -> Result<Vec<SeccompCondition>, BackendError> {
    // The kernel takes these arguments as 32 bits; addresses have 64.
    let int = |value: c_int| u64::from(value.cast_unsigned());
    way.iter()
        .map(|&(argument, must)| {
            let (width, operator, value) = match must {
                Must::Be(value) => (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, int(value)),
                Must::HaveNoneOf(bits) => {
                    (SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(int(bits)), 0)
                }
                Must::HaveOf(bits, those) => {
                    (SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(int(bits)), int(those))
                }
                Must::BeThisProcess => {
                    let process = u64::from(std::process::id());
                    (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, process)
                }
                Must::BeNull => (SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0),
            };
            SeccompCondition::new(argument, width, operator, value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;

    /// Runs on a thread of its own, held to the list of `thread`.
    fn confined<T: Send + 'static>(thread: Thread, what: impl FnOnce() -> T + Send + 'static) -> T {
        assert!(is_available(), "these tests need a kernel with seccomp filters");
        let confined = std::thread::spawn(move || {
            confine(thread).unwrap();
            what()
        });
        confined.join().unwrap()
    }

    fn denied<T>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    }

    #[test]
    fn a_worker_opens_no_file_and_starts_no_thread_and_no_program() {
        let (open, thread, program, datagrams) = confined(Thread::Worker, || {
            let program = std::process::Command::new("/bin/true").status();
            let datagrams = UdpSocket::bind("127.0.0.1:0");
            (File::open("/dev/null"), std::thread::Builder::new().spawn(|| ()), program, datagrams)
        });
        assert!(denied(open), "open");
        assert!(denied(thread), "thread");
        assert!(denied(program), "program");
        assert!(denied(datagrams), "datagrams");
    }

    #[test]
    fn a_worker_connects_and_moves_bytes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let moved = confined(Thread::Worker, move || {
            let mut near = TcpStream::connect(address)?;
            near.set_nodelay(true)?;
            near.set_nonblocking(false)?;
            let (mut far, _) = listener.accept()?;
            io::Write::write_all(&mut near, b"x")?;
            near.shutdown(std::net::Shutdown::Write)?;
            let mut read = Vec::new();
            io::Read::read_to_end(&mut far, &mut read)?;
            // As much memory as the allocator has to ask the kernel for.
            io::Result::Ok((read, vec![1u8; 1 << 24].len()))
        });
        assert_eq!(moved.unwrap(), (b"x".to_vec(), 1 << 24));
    }

    #[test]
    fn the_control_thread_reads_files_looks_names_up_and_starts_threads() {
        let (file, name, thread, pair) = confined(Thread::Control, || {
            let file = std::fs::read_to_string("/proc/self/comm");
            let name = std::net::ToSocketAddrs::to_socket_addrs("localhost:1").map(Iterator::count);
            let thread = std::thread::Builder::new().name("helper".to_owned()).spawn(|| 7);
            (file, name, thread.map(|thread| thread.join().unwrap()), UnixStream::pair())
        });
        assert!(!file.unwrap().is_empty());
        assert!(name.unwrap() > 0);
        assert_eq!(thread.unwrap(), 7);
        pair.unwrap();
    }

    #[test]
    fn the_control_thread_writes_no_file_and_starts_no_program() {
        let files = tempfile::tempdir().unwrap();
        let path = files.path().join("file");
        let (file, program, namespace) = confined(Thread::Control, move || {
            let program = std::process::Command::new("/bin/true").status();
            (File::create(path), program, nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET))
        });
        assert!(denied(file), "file");
        assert!(program.is_err(), "program");
        assert_eq!(namespace, Err(nix::errno::Errno::EPERM));
    }

    #[test]
    fn what_a_confined_thread_starts_is_confined_as_well() {
        let file = confined(Thread::Control, || {
            std::thread::spawn(|| File::options().write(true).open("/dev/null")).join().unwrap()
        });
        assert!(denied(file));
    }
}
