//! The body of a response, looked through for a text as it comes.

use httparse::{Status, parse_chunk_size};
use memchr::memmem;

/// Bytes of a body that are looked at.
const BODY_MAX: usize = 64 << 10;

/// Bytes of a chunk's size with its extensions.
const SIZE_MAX: usize = 256;

/// What has come of it.
pub(super) struct Body {
    framing: Framing,
    text: Vec<u8>,
}

enum Framing {
    /// To the end of the connection.
    Rest,
    /// So many bytes more.
    Length(u64),
    /// A chunk's size comes next (RFC 9112 section 7.1).
    Size,
    /// So many bytes of a chunk, with the line end behind it.
    Chunk(u64),
    /// Nothing more.
    Over,
}

/// Whether the text is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Yes,
    NotYet,
    Never,
}

impl Body {
    pub(super) fn new(is_chunked: bool, length: Option<u64>) -> Self {
        let framing = match (is_chunked, length) {
            (true, _) => Framing::Size,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::Rest,
        };
        Self { framing, text: Vec::new() }
    }

    /// Takes what can be taken out of `received`.
    ///
    /// # Errors
    /// It is not framed as HTTP says.
    pub(super) fn take_in(
        &mut self,
        received: &mut Vec<u8>,
        wanted: &[u8],
    ) -> Result<Found, String> {
        let from = self.text.len().saturating_sub(wanted.len() - 1);
        self.unframe(received)?;
        self.text.truncate(BODY_MAX);
        if memmem::find(&self.text[from..], wanted).is_some() {
            return Ok(Found::Yes);
        }
        let is_over = matches!(self.framing, Framing::Over) || self.text.len() >= BODY_MAX;
        Ok(if is_over { Found::Never } else { Found::NotYet })
    }

    fn unframe(&mut self, received: &mut Vec<u8>) -> Result<(), String> {
        let mut at = 0;
        while at < received.len() || matches!(self.framing, Framing::Length(0)) {
            let bytes = &received[at..];
            match &mut self.framing {
                Framing::Rest => {
                    self.text.extend_from_slice(bytes);
                    at = received.len();
                }
                Framing::Length(0) => self.framing = Framing::Over,
                Framing::Length(left) => {
                    let count = within(*left, bytes);
                    self.text.extend_from_slice(&bytes[..count]);
                    (at, *left) = (at + count, *left - count as u64);
                }
                Framing::Size => match parse_chunk_size(bytes) {
                    Ok(Status::Complete((_, 0))) => self.framing = Framing::Over,
                    Ok(Status::Complete((length, size))) => {
                        at += length;
                        // A size that leaves no room for the line end is no size.
                        let size = size.checked_add(2).ok_or_else(not_chunked)?;
                        self.framing = Framing::Chunk(size);
                    }
                    Ok(Status::Partial) if bytes.len() < SIZE_MAX => break,
                    Ok(Status::Partial) | Err(_) => return Err(not_chunked()),
                },
                Framing::Chunk(left) => {
                    let count = within(*left, bytes);
                    let text = within(left.saturating_sub(2), bytes);
                    self.text.extend_from_slice(&bytes[..text]);
                    (at, *left) = (at + count, *left - count as u64);
                    if *left == 0 {
                        self.framing = Framing::Size;
                    }
                }
                Framing::Over => at = received.len(),
            }
        }
        received.drain(..at);
        Ok(())
    }
}

/// How many of these bytes are among the next `left`.
fn within(left: u64, bytes: &[u8]) -> usize {
    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()))
}

fn not_chunked() -> String {
    "its body is not chunked as it says".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a body that comes in pieces of `step` bytes.
    fn find(mut body: Body, bytes: &[u8], wanted: &str, step: usize) -> Result<Found, String> {
        let (mut received, mut found) = (Vec::new(), Ok(Found::NotYet));
        for piece in bytes.chunks(step) {
            received.extend_from_slice(piece);
            found = body.take_in(&mut received, wanted.as_bytes());
            if found != Ok(Found::NotYet) {
                break;
            }
        }
        found
    }

    #[test]
    fn a_text_is_found_however_it_is_framed_and_split() {
        let chunked = b"3\r\nall\r\n7;a=b\r\n is wel\r\n1\r\nl\r\n0\r\n\r\n";
        for step in 1..=chunked.len() {
            let body = || Body::new(true, None);
            assert_eq!(find(body(), chunked, "is well", step), Ok(Found::Yes), "{step}");
            assert_eq!(find(body(), chunked, "wel\r\n", step), Ok(Found::Never), "{step}");
            let plain = b"all is well";
            assert_eq!(find(Body::new(false, None), plain, "is w", step), Ok(Found::Yes));
            assert_eq!(find(Body::new(false, None), plain, "ill", step), Ok(Found::NotYet));
            assert_eq!(find(Body::new(false, Some(6)), plain, "is", step), Ok(Found::Yes));
            assert_eq!(find(Body::new(false, Some(6)), plain, "well", step), Ok(Found::Never));
        }
    }

    #[test]
    fn an_empty_body_holds_nothing() {
        let mut received = Vec::new();
        let found = Body::new(false, Some(0)).take_in(&mut received, b"x");
        assert_eq!(found, Ok(Found::Never));
        assert_eq!(find(Body::new(true, None), b"0\r\n\r\n", "x", 9), Ok(Found::Never));
    }

    #[test]
    fn no_more_than_64_kib_are_looked_at() {
        let mut bytes = vec![b'a'; BODY_MAX - 2];
        bytes.extend_from_slice(b"xyz");
        assert_eq!(find(Body::new(false, None), &bytes, "xy", 4096), Ok(Found::Yes));
        assert_eq!(find(Body::new(false, None), &bytes, "yz", 4096), Ok(Found::Never));
    }

    #[test]
    fn what_is_not_chunked_is_an_error() {
        for bytes in [&b"all is well\r\n"[..], b"ffffffffffffffff\r\nx", &[b'0'; 400]] {
            assert!(find(Body::new(true, None), bytes, "x", 400).is_err(), "{bytes:?}");
        }
    }
}
