//! Finding the whole lines of a head, each byte looked at once.
//!
//! Never parses a line, never copies.

use memchr::memchr;

/// How far the lines of a head have been found, so that a head which comes one byte at a time
/// costs no more than one which comes whole.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lines {
    /// Offset of the first line not yet answered.
    next: usize,
    /// No line feed is between `next` and this offset.
    searched: usize,
}

/// One whole line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'b> {
    /// Without its end.
    pub(super) text: &'b [u8],
    /// True exactly when it ended in CR LF, false for a bare LF.
    pub(super) crlf: bool,
}

impl Lines {
    /// Offset behind the last line answered.
    pub(super) fn offset(&self) -> usize {
        self.next
    }

    /// The next whole line of `bytes`, which are all bytes so far, or `None` until it is whole.
    pub(super) fn next_line<'b>(&mut self, bytes: &'b [u8]) -> Option<Line<'b>> {
        let unsearched = bytes.get(self.searched..)?;
        let Some(found) = memchr(b'\n', unsearched) else {
            self.searched = bytes.len();
            return None;
        };
        let line_feed = self.searched + found;
        let line = &bytes[self.next..line_feed];
        self.next = line_feed + 1;
        self.searched = self.next;
        Some(match line.strip_suffix(b"\r") {
            Some(text) => Line { text, crlf: true },
            None => Line { text: line, crlf: false },
        })
    }
}
