//! Endless runs of bytes that follow from a seed and a position alone: what was sent need not be
//! kept to be compared.

/// Writes the bytes of the run that stand at `from` and behind it.
pub(crate) fn fill(seed: u64, from: u64, bytes: &mut [u8]) {
    let (mut position, mut rest) = (from, bytes);
    while !rest.is_empty() {
        let word = word(seed, position / 8).to_le_bytes();
        let part = &word[(position % 8) as usize..];
        let count = part.len().min(rest.len());
        let (now, later) = rest.split_at_mut(count);
        now.copy_from_slice(&part[..count]);
        position += count as u64;
        rest = later;
    }
}

/// Whether these are the bytes of the run at `from`; `scratch` is overwritten.
pub(crate) fn are(seed: u64, from: u64, bytes: &[u8], scratch: &mut Vec<u8>) -> bool {
    scratch.resize(bytes.len(), 0);
    fill(seed, from, scratch);
    scratch == bytes
}

/// SplitMix64 over a counter.
fn word(seed: u64, number: u64) -> u64 {
    let mut z = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
