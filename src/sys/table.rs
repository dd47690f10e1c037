//! A private descriptor table for a worker: no shared lock, and RLIMIT_NOFILE counts per worker.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Leaves the process's descriptor table and keeps only standard streams and `keep` of it.
///
/// close_range(2) with CLOSE_RANGE_UNSHARE copies the table; Docker's default profile allows it,
/// where unshare(2) is refused. Descriptors other threads hold stay open in theirs. Values that
/// would close a dropped number (OwnedFd) must not cross into this thread.
pub fn make_private(keep: &[i32]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep.iter().filter_map(|&fd| u32::try_from(fd).ok()).collect();
    keep.sort_unstable();
    keep.dedup();
    // Nothing is open at the last number, so this only unshares.
    close_range(u32::MAX, u32::MAX, libc::CLOSE_RANGE_UNSHARE)?;
    let mut first = 3;
    for fd in keep {
        if fd > first {
            close_range(first, fd - 1, 0)?;
        }
        first = first.max(fd + 1);
    }
    close_range(first, u32::MAX, 0)
}

#[expect(unsafe_code, reason = "close_range(2)")]
fn close_range(first: u32, last: u32, flags: u32) -> io::Result<()> {
    // SAFETY: takes three numbers. That nobody uses the closed numbers in this thread's table is
    // what make_private asks of its caller.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Raises the soft limit on descriptors to the hard one and returns it.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_private_table_keeps_what_was_asked_and_leaves_other_threads_alone() {
        let kept = File::open("/dev/null").unwrap();
        let dropped = File::open("/dev/null").unwrap();
        let (kept_fd, dropped_fd) = (kept.as_raw_fd(), dropped.as_raw_fd());
        std::thread::spawn(move || {
            make_private(&[kept_fd]).unwrap();
            assert!(nix::fcntl::fcntl(borrow(kept_fd), nix::fcntl::F_GETFD).is_ok());
            assert!(nix::fcntl::fcntl(borrow(dropped_fd), nix::fcntl::F_GETFD).is_err());
        })
        .join()
        .unwrap();
        assert!(kept.metadata().is_ok());
        assert!(dropped.metadata().is_ok());
    }

    #[expect(unsafe_code, reason = "asks whether a number is open")]
    fn borrow(fd: i32) -> std::os::fd::BorrowedFd<'static> {
        // SAFETY: fcntl answers EBADF for a closed number; nothing is read or closed through it.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }
    }
}
