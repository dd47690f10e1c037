//! Where a request ends, told from the bytes behind its head (RFC 9112 sections 6 and 7.1).
//!
//! Never holds or changes a byte: chunks are counted, not decoded.

use super::http_head::Body;

/// How much of a request is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestEnd {
    state: State,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// One of this many bytes of content with a Content-Length.
    Content(u64),
    /// A digit of a chunk's size, or behind at least one of them what ends it.
    Size { size: u64, any: bool },
    /// Of a chunk extension; its size is known.
    Extension(u64),
    /// LF behind a chunk's size.
    SizeLineFeed(u64),
    /// One of this many bytes of a chunk.
    Chunk(u64),
    /// CR behind a chunk.
    ChunkReturn,
    /// LF behind a chunk.
    ChunkLineFeed,
    /// The first of a trailer line, or CR of the last, empty one.
    TrailerStart,
    /// Of a trailer line.
    Trailer,
    /// LF behind a trailer line.
    TrailerLineFeed,
    /// The very last LF.
    LastLineFeed,
    /// None: the request has ended.
    Ended,
    /// None: this can be no chunk.
    Broken,
}

impl RequestEnd {
    /// At the first byte behind a head that says `body`.
    pub fn new(body: Body) -> Self {
        let state = match body {
            Body::None | Body::Length(0) => State::Ended,
            Body::Length(length) => State::Content(length),
            Body::Chunked => State::Size { size: 0, any: false },
        };
        Self { state }
    }

    /// How many of `bytes`, the next ones of the connection, still belong to the request: all
    /// while it goes on, 0 behind its end or behind the first byte that breaks its chunks.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while used < bytes.len() {
            match &mut self.state {
                State::Ended | State::Broken => break,
                State::Content(left) | State::Chunk(left) => {
                    let step =
                        (bytes.len() - used).min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= step as u64;
                    used += step;
                    self.state = match self.state {
                        State::Content(0) => State::Ended,
                        State::Chunk(0) => State::ChunkReturn,
                        unchanged => unchanged,
                    };
                }
                state => {
                    *state = state.after(bytes[used]);
                    if *state != State::Broken {
                        used += 1;
                    }
                }
            }
        }
        used
    }

    /// True exactly when the whole request has been fed.
    pub fn ended(&self) -> bool {
        self.state == State::Ended
    }

    /// True exactly when a byte came that can be no part of a chunked content.
    pub fn broken(&self) -> bool {
        self.state == State::Broken
    }
}

impl State {
    /// The state behind one byte of the framing. A bare LF ends nothing and no white space is
    /// skipped: readers differ on both, and would see different chunks.
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Size { size, any }, _) => match ((byte as char).to_digit(16), byte) {
                (Some(digit), _) => match size.checked_mul(16) {
                    Some(size) => Self::Size { size: size + u64::from(digit), any: true },
                    None => Self::Broken,
                },
                (None, b';') if any => Self::Extension(size),
                (None, b'\r') if any => Self::SizeLineFeed(size),
                (None, _) => Self::Broken,
            },
            (Self::Extension(size), b'\r') => Self::SizeLineFeed(size),
            (Self::Extension(_) | Self::Trailer, b'\n') => Self::Broken,
            (Self::Extension(size), _) => Self::Extension(size),
            (Self::SizeLineFeed(0), b'\n') => Self::TrailerStart,
            (Self::SizeLineFeed(size), b'\n') => Self::Chunk(size),
            (Self::ChunkReturn, b'\r') => Self::ChunkLineFeed,
            (Self::ChunkLineFeed, b'\n') => Self::Size { size: 0, any: false },
            (Self::TrailerStart, b'\r') => Self::LastLineFeed,
            (Self::TrailerStart, b'\n') => Self::Broken,
            (Self::Trailer, b'\r') => Self::TrailerLineFeed,
            (Self::TrailerStart | Self::Trailer, _) => Self::Trailer,
            (Self::TrailerLineFeed, b'\n') => Self::TrailerStart,
            (Self::LastLineFeed, b'\n') => Self::Ended,
            _ => Self::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::splits::every_split;
    use super::*;
    use proptest::prelude::*;

    /// Bytes that belong to the request, fed up to each of `lengths`, and how it ended.
    fn fed(body: Body, bytes: &[u8], lengths: &[usize]) -> (usize, bool, bool) {
        let mut end = RequestEnd::new(body);
        let (mut from, mut used) = (0, 0);
        for &to in lengths {
            used += end.feed(&bytes[from..to]);
            from = to;
        }
        (used, end.ended(), end.broken())
    }

    #[test]
    fn a_request_ends_where_its_framing_says() {
        const CHUNKED: Body = Body::Chunked;
        for (body, bytes, belonging, ended) in [
            (Body::None, &b"GET"[..], 0, true),
            (Body::Length(0), b"GET", 0, true),
            (Body::Length(3), b"ab", 2, false),
            (Body::Length(3), b"abcGET", 3, true),
            (Body::Length(u64::MAX), b"abc", 3, false),
            (CHUNKED, b"0\r\n\r\nGET", 5, true),
            (CHUNKED, b"3\r\nabc\r\n0\r\n\r\nGET", 13, true),
            (CHUNKED, b"00A;x=\"y\"\r\n0123456789\r\n0;z\r\nA: b\r\nC:\r\n\r\nGET", 40, true),
            (CHUNKED, b"5\r\n\r\n0\r\n\r\n0\r\n\r\n", 15, true),
            (CHUNKED, b"FFFFFFFFFFFFFFFF\r\nabc", 21, false),
            (CHUNKED, b"3\r\nabc\r\n0\r\n\r", 12, false),
        ] {
            let answer = every_split(bytes, |lengths| fed(body, bytes, lengths));
            assert_eq!(answer, (belonging, ended, false), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn nothing_behind_a_broken_chunk_belongs_to_the_request() {
        for (bytes, belonging) in [
            (&b"\r\n"[..], 0),
            (b"x\r\n", 0),
            (b";\r\n", 0),
            (b" 3\r\nabc", 0),
            (b"-3\r\nabc", 0),
            (b"0x3\r\nabc", 1),
            (b"3 \r\nabc", 1),
            (b"3\nabc", 1),
            (b"3\rxabc", 2),
            (b"3;x\nabc", 3),
            (b"10000000000000000\r\n", 16),
            (b"3\r\nabcd\r\n", 6),
            (b"3\r\nabc\n0\r\n", 6),
            (b"0\r\n\n", 3),
            (b"0\r\nA: b\n\r\n", 7),
            (b"0\r\n\rx", 4),
        ] {
            let answer = every_split(bytes, |lengths| fed(Body::Chunked, bytes, lengths));
            assert_eq!(answer, (belonging, false, true), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn chunks_of_any_sizes_end_at_their_end(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..5),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        ) {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            let end = bytes.len();
            bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
            let mut lengths: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            lengths.sort_unstable();
            lengths.push(bytes.len());
            prop_assert_eq!(fed(Body::Chunked, &bytes, &lengths), (end, true, false));
        }

        #[test]
        fn any_bytes_end_in_one_place_however_split(
            bytes in "[0-9a-f;\r\nx]{0,40}",
            cut in 0usize..40,
        ) {
            let bytes = bytes.as_bytes();
            let cut = cut.min(bytes.len());
            let whole = fed(Body::Chunked, bytes, &[bytes.len()]);
            prop_assert_eq!(fed(Body::Chunked, bytes, &[cut, bytes.len()]), whole);
        }
    }
}
