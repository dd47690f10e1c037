//! The provided-buffer ring: memory the kernel picks a buffer from when bytes are there.
//!
//! An idle connection owns none of it. The kernel takes buffers from the head, the worker gives
//! them back at the tail (io_uring_register_buf_ring(3)).

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

/// A buffer of this worker's ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferId(pub u16);

/// Bytes in one buffer: a page of 16 KiB with its head, which is what servers like to write at
/// once, goes through in one read and one send.
pub const BUFFER_SIZE: u32 = 24 * 1024;

/// Buffers in a ring. More than the completions one turn brings makes no difference but cache
/// misses, since the kernel walks all of them in turn.
pub const BUFFERS: u16 = 128;

/// The group number the ring is registered under; a ring of ours has only this one.
pub const GROUP: u16 = 0;

const ENTRIES_BYTES: usize = BUFFERS as usize * size_of::<BufRingEntry>();
const BYTES: usize = BUFFERS as usize * BUFFER_SIZE as usize;

const _: () = assert!(BUFFERS.is_power_of_two(), "the kernel masks the tail");

/// Anonymous pages, unmapped when dropped.
struct Pages {
    start: NonNull<u8>,
    len: usize,
}

impl Pages {
    #[expect(unsafe_code, reason = "mmap")]
    fn map(len: usize) -> io::Result<Self> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh anonymous mapping touches no existing memory.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("mmap never returns null without MAP_FIXED");
        Ok(Self { start, len })
    }
}

impl Drop for Pages {
    #[expect(unsafe_code, reason = "munmap")]
    fn drop(&mut self) {
        // SAFETY: the mapping is ours; the ring that used it is gone before its buffers.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// The ring of entries and the memory they name.
pub struct Buffers {
    entries: Pages,
    memory: Pages,
    tail: u16,
}

impl Buffers {
    /// Maps the memory and offers every buffer.
    pub fn new() -> io::Result<Self> {
        let entries = Pages::map(ENTRIES_BYTES)?;
        let memory = Pages::map(BYTES)?;
        let mut buffers = Self { entries, memory, tail: 0 };
        for number in 0..BUFFERS {
            buffers.offer(BufferId(number));
        }
        Ok(buffers)
    }

    /// Where the entries start, for registration.
    pub fn entries_address(&self) -> u64 {
        self.entries.start.as_ptr() as u64
    }

    /// The first `len` bytes of a buffer that the kernel has handed over.
    #[expect(unsafe_code, reason = "memory shared with the kernel")]
    pub fn bytes(&self, buffer: BufferId, len: u32) -> &[u8] {
        assert!(
            buffer.0 < BUFFERS && len <= BUFFER_SIZE,
            "the kernel names only what it was given"
        );
        let start = self.address(buffer);
        // SAFETY: inside the mapping by the assert; between the completion that named the buffer
        // and its release the kernel does not write to it.
        unsafe { std::slice::from_raw_parts(start, len as usize) }
    }

    /// Where a buffer starts.
    #[expect(unsafe_code, reason = "pointer into a mapping")]
    pub fn address(&self, buffer: BufferId) -> *const u8 {
        // SAFETY: every buffer number is below BUFFERS, so the offset is inside the mapping.
        unsafe { self.memory.start.as_ptr().add(buffer.0 as usize * BUFFER_SIZE as usize) }
    }

    /// Gives a buffer back to the kernel.
    #[expect(unsafe_code, reason = "memory shared with the kernel")]
    pub fn offer(&mut self, buffer: BufferId) {
        let address = self.address(buffer) as u64;
        let index = (self.tail & (BUFFERS - 1)) as usize;
        let base: *mut BufRingEntry = self.entries.start.as_ptr().cast();
        // SAFETY: the index is masked to the ring's length.
        let place = unsafe { base.add(index) };
        // SAFETY: zeroed pages are a valid entry, and the kernel reads only below the tail.
        let entry = unsafe { &mut *place };
        entry.set_addr(address);
        entry.set_len(BUFFER_SIZE);
        entry.set_bid(buffer.0);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `base` is the first entry of the ring.
        let tail = unsafe { BufRingEntry::tail(base) }.cast_mut();
        // SAFETY: the tail is aligned and shared only with the kernel, which reads it.
        let tail = unsafe { AtomicU16::from_ptr(tail) };
        tail.store(self.tail, Ordering::Release);
    }
}
