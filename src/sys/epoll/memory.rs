//! Buffers to receive into: a plain pool, as many and as large as those of the ring engine.

use crate::sys::buffers::{BUFFER_SIZE, BUFFERS, BufferId};

/// See the head of the file. The buffer given back last is taken first: the cache still has it.
pub(super) struct Memory {
    bytes: Box<[u8]>,
    free: Vec<BufferId>,
}

impl Memory {
    /// All of it; untouched pages cost nothing.
    pub(super) fn new() -> Self {
        let bytes = vec![0; usize::from(BUFFERS) * BUFFER_SIZE as usize].into();
        Self { bytes, free: (0..BUFFERS).rev().map(BufferId).collect() }
    }

    /// The buffer to receive into next, which stays here until [`Memory::take`].
    pub(super) fn next(&mut self) -> Option<&mut [u8]> {
        let start = start(*self.free.last()?);
        Some(&mut self.bytes[start..start + BUFFER_SIZE as usize])
    }

    /// The buffer that [`Memory::next`] has shown is the worker's now.
    pub(super) fn take(&mut self) -> BufferId {
        self.free.pop().expect("next has shown it")
    }

    pub(super) fn give_back(&mut self, buffer: BufferId) {
        debug_assert!(!self.free.contains(&buffer), "{buffer:?} is given back twice");
        self.free.push(buffer);
    }

    pub(super) fn bytes(&self, buffer: BufferId, len: u32) -> &[u8] {
        assert!(len <= BUFFER_SIZE, "a receive fills one buffer at most");
        let start = start(buffer);
        &self.bytes[start..start + len as usize]
    }
}

fn start(buffer: BufferId) -> usize {
    usize::from(buffer.0) * BUFFER_SIZE as usize
}
