//! The bytes of every body: such that a piece lost, doubled or moved is seen.

/// Bytes after which the pattern repeats: a prime, so that no buffer size is a multiple of it.
pub(crate) const PERIOD: usize = 251;

/// `length` bytes of the pattern from `offset` on.
pub(crate) fn bytes(offset: usize, length: usize) -> Vec<u8> {
    (offset..offset + length).map(at).collect()
}

/// Whether `bytes` are those of the pattern from `offset` on, by their first and last few: looking
/// at each would take the load generator's core longer than receiving them.
pub(crate) fn fits(offset: u64, bytes: &[u8]) -> bool {
    let offset = usize::try_from(offset % PERIOD as u64).unwrap_or(0);
    let last = bytes.len().saturating_sub(4);
    let first = bytes.iter().enumerate().take(4);
    first.chain(bytes.iter().enumerate().skip(last)).all(|(i, &byte)| byte == at(offset + i))
}

fn at(offset: usize) -> u8 {
    // Below 251.
    (offset % PERIOD) as u8
}
