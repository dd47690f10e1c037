//! Pipes for splice(2), kept for the next bulk stream. A pipe that holds bytes is never pooled.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use slab::Slab;

use super::Fault;

/// A pipe of this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PipeId(pub u32);

impl PipeId {
    /// No pipe: there are fewer than descriptors.
    pub const NONE: Self = Self(u32::MAX);
}

/// Bytes asked of the kernel for one pipe: a bulk stream's socket buffer comes over in few calls.
pub const PIPE_SIZE: u32 = 256 * 1024;

/// Pipes kept empty; each keeps two descriptors.
pub const POOLED_MAX: usize = 64;

/// Pipes at all: what they take of the descriptors that are kept back for other things than
/// sessions. Beyond it bytes are copied.
pub const PIPES_MAX: usize = 160;

struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

/// All pipes of a worker.
#[derive(Default)]
pub struct Pipes {
    all: Slab<Pipe>,
    idle: Vec<PipeId>,
}

impl Pipes {
    /// An empty pipe, pooled or new.
    pub fn take(&mut self) -> Result<PipeId, Fault> {
        if let Some(pipe) = self.idle.pop() {
            return Ok(pipe);
        }
        if self.all.len() >= PIPES_MAX {
            return Err(Fault::NoDescriptors);
        }
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
            .map_err(|errno| Fault::from_errno(errno as i32))?;
        // Refused beyond fs.pipe-user-pages-soft: the default 64 KiB serves as well, only slower.
        let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE as i32));
        let number = self.all.insert(Pipe { reader, writer });
        Ok(PipeId(u32::try_from(number).expect("fewer pipes than descriptors")))
    }

    /// Takes a pipe back; closes it if it holds bytes or enough are idle.
    pub fn give_back(&mut self, pipe: PipeId, empty: bool) {
        if empty && self.idle.len() < POOLED_MAX {
            self.idle.push(pipe);
        } else {
            drop(self.all.remove(pipe.0 as usize));
        }
    }

    /// The end to read from.
    pub fn reader(&self, pipe: PipeId) -> i32 {
        self.all[pipe.0 as usize].reader.as_raw_fd()
    }

    /// The end to write to.
    pub fn writer(&self, pipe: PipeId) -> i32 {
        self.all[pipe.0 as usize].writer.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_pipe_is_used_again_and_a_filled_one_is_not() {
        let mut pipes = Pipes::default();
        let first = pipes.take().unwrap();
        pipes.give_back(first, true);
        assert_eq!(pipes.take().unwrap(), first);
        pipes.give_back(first, false);
        assert!(pipes.idle.is_empty());
        assert!(pipes.all.is_empty());
    }
}
