//! One HTTP/1 response head (RFC 9112), of the server's first answer on a connection.
//!
//! Never a reason to refuse: what cannot be read as a head is foreign and passes untouched.

use super::http_head::{FIELDS_MAX, Field, cookie_value};
use super::lines::Lines;

/// What the bytes received so far are.
#[derive(Debug, PartialEq, Eq)]
pub enum ResponsePeeked<'b> {
    /// The beginning of a head, perhaps: more bytes decide.
    Incomplete,
    /// No HTTP/1.0 or HTTP/1.1 response head that could be edited without doubt.
    Foreign,
    /// Longer than the limit, or more than 256 fields.
    TooLarge,
    /// A whole head.
    Head(ResponseHead<'b>),
}

/// How far a response head has been read; one for each head, interim ones included.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseScanner {
    lines: Lines,
}

impl ResponseScanner {
    /// What `bytes`, everything received so far of this head, are. A head longer than `max` bytes
    /// is too large. The verdict does not depend on how the bytes were split and is final unless
    /// `Incomplete`. Behind an interim head a fresh scanner reads the next one, from its `end`.
    pub fn scan<'b>(&mut self, bytes: &'b [u8], max: usize) -> ResponsePeeked<'b> {
        const VERSION: &[u8] = b"HTTP/1.";
        let window = &bytes[..bytes.len().min(max)];
        let seen = window.len().min(VERSION.len());
        if window[..seen] != VERSION[..seen] {
            return ResponsePeeked::Foreign;
        }
        while let Some(line) = self.lines.next_line(window) {
            if !line.crlf {
                return ResponsePeeked::Foreign;
            }
            if line.text.is_empty() {
                return parse(&window[..self.lines.offset()]);
            }
        }
        if bytes.len() >= max { ResponsePeeked::TooLarge } else { ResponsePeeked::Incomplete }
    }
}

/// `bytes` are a whole head, of which every line is known to end in CR LF.
fn parse(bytes: &[u8]) -> ResponsePeeked<'_> {
    let mut headers = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Err(httparse::Error::TooManyHeaders) => return ResponsePeeked::TooLarge,
        Ok(_) | Err(_) => return ResponsePeeked::Foreign,
    }
    let (Some(status @ 100..), Some(minor_version)) = (response.code, response.version) else {
        return ResponsePeeked::Foreign;
    };
    let fields = response.headers.iter().map(|h| Field { name: h.name, value: h.value }).collect();
    ResponsePeeked::Head(ResponseHead { status, minor_version, fields, end: bytes.len() })
}

/// A response head, borrowed from the bytes it was read from.
#[derive(Debug, PartialEq, Eq)]
pub struct ResponseHead<'b> {
    /// 100 to 999.
    pub status: u16,
    /// 0 or 1: HTTP/1.0 or HTTP/1.1.
    pub minor_version: u8,
    /// Header fields in order, values without surrounding white space.
    pub fields: Vec<Field<'b>>,
    /// Offset of the first byte behind the head.
    pub end: usize,
}

impl<'b> ResponseHead<'b> {
    /// True for 100, 103 and the like, behind which another head follows (RFC 9110 section 15.2);
    /// 101 is final, the protocol changes behind it.
    pub fn interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// First field of that name, compared without case.
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        self.headers(name).next()
    }

    /// All fields of that name, in order.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.fields.iter().filter(move |f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value)
    }

    /// Value, without attributes and quotes, of the first Set-Cookie field that sets `name`
    /// (RFC 6265 section 5.2).
    pub fn set_cookie(&self, name: &str) -> Option<&'b [u8]> {
        self.headers("set-cookie").find_map(|value| {
            let pair = value.split(|&byte| byte == b';').next()?;
            cookie_value(pair, name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::splits::{every_split, one_at_a_time};
    use super::*;
    use proptest::prelude::*;

    const HANDSHAKE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\
        Set-Cookie: lang=de; Path=/\r\nset-cookie: io = \"x1\" ; HttpOnly\r\n\
        Content-Length: 3\r\n\r\n0{}";

    fn fed<'b>(bytes: &'b [u8], lengths: &[usize], max: usize) -> ResponsePeeked<'b> {
        let mut scanner = ResponseScanner::default();
        lengths
            .iter()
            .map(|&length| scanner.scan(&bytes[..length], max))
            .find(|peeked| *peeked != ResponsePeeked::Incomplete)
            .unwrap_or(ResponsePeeked::Incomplete)
    }

    fn scan(bytes: &[u8]) -> ResponsePeeked<'_> {
        fed(bytes, &[bytes.len()], 1_000)
    }

    #[test]
    fn a_head_is_read_with_its_cookies_and_following_bytes() {
        let ResponsePeeked::Head(head) = scan(HANDSHAKE) else { panic!("{:?}", scan(HANDSHAKE)) };
        assert_eq!((head.status, head.minor_version, head.interim()), (200, 1, false));
        assert_eq!(head.set_cookie("io"), Some(&b"x1"[..]));
        assert_eq!(head.set_cookie("lang"), Some(&b"de"[..]));
        assert_eq!(head.set_cookie("Path"), None);
        assert_eq!(head.header("content-length"), Some(&b"3"[..]));
        assert_eq!(&HANDSHAKE[head.end..], b"0{}");
    }

    #[test]
    fn interim_heads_are_followed_by_another_head() {
        for (status, interim) in [(100, true), (101, false), (103, true), (200, false)] {
            let bytes = format!("HTTP/1.1 {status} \r\n\r\n");
            let ResponsePeeked::Head(head) = scan(bytes.as_bytes()) else { panic!("{bytes}") };
            assert_eq!((head.status, head.interim()), (status, interim));
        }
    }

    #[test]
    fn what_is_no_plain_head_is_foreign() {
        for bytes in [
            &b"H2"[..],
            b"\r\nHTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/2 200\r\n\r\n",
            b"HTTP/1.2 200 OK\r\n\r\n",
            b"HTTP/1.1 20 OK\r\n\r\n",
            b"HTTP/1.1 099 OK\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\n\n",
            b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
        ] {
            assert_eq!(scan(bytes), ResponsePeeked::Foreign, "{bytes:?}");
            one_at_a_time(bytes, |lengths| fed(bytes, lengths, 1_000), &ResponsePeeked::Foreign);
        }
    }

    #[test]
    fn every_split_of_a_response_head_gives_the_same_answer() {
        every_split(HANDSHAKE, |lengths| fed(HANDSHAKE, lengths, 1_000));
        let cut = every_split(HANDSHAKE, |lengths| fed(HANDSHAKE, lengths, 90));
        assert_eq!(cut, ResponsePeeked::TooLarge);
    }

    proptest! {
        #[test]
        fn a_mutated_response_gives_one_answer_however_split(
            edits in prop::collection::vec((0..HANDSHAKE.len(), any::<u8>()), 0..4),
        ) {
            let mut bytes = HANDSHAKE.to_vec();
            edits.iter().for_each(|&(at, byte)| bytes[at] = byte);
            let whole = scan(&bytes);
            one_at_a_time(&bytes, |lengths| fed(&bytes, lengths, 1_000), &whole);
        }
    }
}
