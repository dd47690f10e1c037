//! An endless, seeded run of bytes that is checked as it arrives, so nothing needs storing.

use std::io::{ErrorKind, Read, Write};

use super::Peer;

const CHUNK: usize = 64 << 10;

/// SplitMix64 over a counter: each eight bytes follow from seed and position alone.
pub(crate) struct Numbers {
    seed: u64,
    position: u64,
}

impl Numbers {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { seed, position: 0 }
    }

    /// The next bytes; `bytes` is a multiple of eight long.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_exact_mut(8) {
            self.position += 1;
            let mut z = self.position.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(self.seed);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            word.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes());
        }
    }

    /// Writes `total` bytes, a multiple of eight.
    pub(crate) fn write_to(&mut self, peer: &mut Peer, total: u64) {
        let mut chunk = vec![0; CHUNK];
        let mut left = total;
        while left > 0 {
            let n = left.min(CHUNK as u64) as usize;
            self.fill(&mut chunk[..n]);
            peer.write_all(&chunk[..n]).expect("the bytes are taken");
            left -= n as u64;
        }
    }

    /// Reads `total` bytes, a multiple of eight, and compares each.
    pub(crate) fn check_from(&mut self, peer: &mut Peer, total: u64) {
        let mut want = vec![0; CHUNK];
        let mut got = vec![0; CHUNK];
        let mut left = total;
        while left > 0 {
            let n = left.min(CHUNK as u64) as usize;
            self.fill(&mut want[..n]);
            peer.read_exact(&mut got[..n])
                .unwrap_or_else(|error| panic!("{error} with {left} of {total} bytes to come"));
            assert!(want[..n] == got[..n], "other bytes {left} before the end of {total}");
            left -= n as u64;
        }
    }

    /// Compares everything that comes until the end, whatever that is; how much, and which end: an
    /// EOF is `UnexpectedEof`.
    pub(crate) fn check_out(&mut self, peer: &mut Peer) -> (u64, ErrorKind) {
        let (mut got, mut want) = (vec![0; 4 << 10], vec![0; 4 << 10]);
        let (mut total, mut filled) = (0, 0);
        let end = loop {
            match peer.read(&mut got[filled..]) {
                Ok(0) => break ErrorKind::UnexpectedEof,
                Ok(count) => filled += count,
                Err(error) => break error.kind(),
            }
            if filled == got.len() {
                self.fill(&mut want);
                assert!(got == want, "other bytes behind {total}");
                (total, filled) = (total + filled as u64, 0);
            }
        };
        self.fill(&mut want);
        assert!(got[..filled] == want[..filled], "other bytes behind {total}");
        (total + filled as u64, end)
    }
}
