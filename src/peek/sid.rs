//! The session id of Socket.IO: in the answer to a handshake, and in requests that carry it.
//!
//! Never parses more than it needs: the first bytes of a response body, in any of the forms in
//! which an Engine.IO open packet (`0{"sid":"…",…}`) can stand there. The id in a later `40{…}`,
//! which Socket.IO adds, routes nothing and is not found.

use super::http_head::RequestHead;

/// Bytes of a body that are looked at. An open packet has about 120 and comes first.
const BODY_MAX: usize = 1024;
/// Bytes of an id. Engine.IO's own have 20, server-encoded ones a prefix more.
const SID_MAX: usize = 256;
/// Open objects and arrays within the packet, which has one array; its bound makes the scan plain.
const DEPTH_MAX: u8 = 16;

/// What the body received so far says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SidSearch<'b> {
    /// The id: 1 to 256 bytes, without escapes.
    Found(&'b str),
    /// Not yet, more bytes decide: at most 1024 in all.
    NotYet,
    /// It cannot come any more.
    Absent,
}

/// The session id in `body`, the bytes received so far behind the head of a response to a
/// handshake. Chunk sizes (RFC 9112 section 7.1) may stand before and within it, and JSONP, the
/// length prefixes of Engine.IO 3 (text and binary) before the packet. Only an id or its key that
/// a chunk's end cuts in two is missed; servers write the packet in one piece.
///
/// Starts over on every call: with the bound on what is looked at, a body that comes one byte at
/// a time costs less than one more copy of it would.
pub fn find(body: &[u8]) -> SidSearch<'_> {
    match Cursor::new(body).and_then(|mut cursor| cursor.packet_sid()) {
        Ok(sid) => SidSearch::Found(sid),
        Err(Stop::NotYet) => SidSearch::NotYet,
        Err(Stop::Absent) => SidSearch::Absent,
    }
}

/// What a request says of its session id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requested {
    /// None, or an empty one.
    Nothing,
    /// This one, decoded.
    Sid(Vec<u8>),
    /// Several, of which servers take the first (Python) or the last (Node).
    Several,
}

/// The session id in the query of a request, read as Engine.IO reads it: names and values decoded
/// (WHATWG URL, application/x-www-form-urlencoded), in any order.
pub fn requested(head: &RequestHead<'_>) -> Requested {
    let mut found = None;
    for (name, value) in head.parameters() {
        if !decoded(name.as_bytes()).eq(b"sid".iter().copied()) {
            continue;
        }
        let value: Vec<u8> = decoded(value.as_bytes()).collect();
        match &found {
            Some(before) if *before != value => return Requested::Several,
            _ => found = Some(value),
        }
    }
    found.filter(|sid| !sid.is_empty()).map_or(Requested::Nothing, Requested::Sid)
}

/// `%41` is `A` and `+` a space; what is not two hex digits stays as it is.
fn decoded(mut bytes: &[u8]) -> impl Iterator<Item = u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    std::iter::from_fn(move || {
        let (&first, rest) = bytes.split_first()?;
        let encoded = match rest {
            [high, low, ..] if first == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        let (byte, rest) = match encoded {
            Some((high, low)) => (high << 4 | low, &rest[2..]),
            None if first == b'+' => (b' ', rest),
            None => (first, rest),
        };
        bytes = rest;
        Some(byte)
    })
}

/// Why there is no next byte, or none that can be part of an open packet.
#[derive(Clone, Copy)]
enum Stop {
    NotYet,
    Absent,
}

/// A place in the body, with everything that wraps the packet taken off what it answers.
#[derive(Clone, Copy)]
struct Cursor<'b> {
    body: &'b [u8],
    /// Offset of the next byte.
    at: usize,
    /// Bytes left of the current chunk; `None` if the body does not begin with a chunk size.
    chunk: Option<usize>,
    /// True exactly when the packet is in a JavaScript string (JSONP).
    quoted: bool,
}

impl<'b> Cursor<'b> {
    /// At the first byte of content.
    fn new(body: &'b [u8]) -> Result<Self, Stop> {
        let start = Self { body, at: 0, chunk: None, quoted: false };
        let mut chunked = start;
        match chunked.chunk_size() {
            Ok(()) => Ok(chunked),
            // Also the digits of a length prefix or the packet's own 0 may be read as a size.
            Err(Stop::Absent) => Ok(start),
            Err(Stop::NotYet) => Err(Stop::NotYet),
        }
    }

    /// Behind a chunk's size, which begins here.
    fn chunk_size(&mut self) -> Result<(), Stop> {
        let mut size: Option<usize> = None;
        while let Some(digit) = (self.raw(self.at)? as char).to_digit(16) {
            let next = size.unwrap_or(0).checked_mul(16).ok_or(Stop::Absent)?;
            size = Some(next + digit as usize);
            self.at += 1;
        }
        if self.raw(self.at)? == b';' {
            while self.raw(self.at)? != b'\r' {
                self.at += 1;
            }
        }
        self.raw_word(b"\r\n")?;
        match size {
            None | Some(0) => Err(Stop::Absent),
            Some(_) => {
                self.chunk = size;
                Ok(())
            }
        }
    }

    fn raw(&self, at: usize) -> Result<u8, Stop> {
        match self.body.get(at) {
            _ if at >= BODY_MAX => Err(Stop::Absent),
            Some(&byte) => Ok(byte),
            None => Err(Stop::NotYet),
        }
    }

    fn raw_word(&mut self, word: &[u8]) -> Result<(), Stop> {
        for &expected in word {
            if self.raw(self.at)? != expected {
                return Err(Stop::Absent);
            }
            self.at += 1;
        }
        Ok(())
    }

    /// The next byte of content.
    fn content(&mut self) -> Result<u8, Stop> {
        if self.chunk == Some(0) {
            self.raw_word(b"\r\n")?;
            self.chunk_size()?;
        }
        let byte = self.raw(self.at)?;
        self.at += 1;
        self.chunk = self.chunk.map(|left| left - 1);
        Ok(byte)
    }

    /// The next byte of the packet: of content, or of the string that a script makes of it.
    fn next(&mut self) -> Result<u8, Stop> {
        match self.content()? {
            b'\\' if self.quoted => self.content(),
            b'"' if self.quoted => Err(Stop::Absent), // the string's end
            byte => Ok(byte),
        }
    }

    fn peek(&self) -> Result<u8, Stop> {
        let mut ahead = *self;
        ahead.next()
    }

    fn expect(&mut self, word: &[u8]) -> Result<(), Stop> {
        for &expected in word {
            if self.next()? != expected {
                return Err(Stop::Absent);
            }
        }
        Ok(())
    }

    /// Next byte that is no white space.
    fn token(&mut self) -> Result<u8, Stop> {
        loop {
            let byte = self.next()?;
            if !byte.is_ascii_whitespace() {
                return Ok(byte);
            }
        }
    }

    /// The id in what may be wrapped, prefixed and then an open packet.
    fn packet_sid(&mut self) -> Result<&'b str, Stop> {
        if self.peek()? == b'_' {
            self.expect(b"___eio[")?;
            while self.next()? != b']' {}
            self.expect(b"(\"")?;
            self.quoted = true;
        }
        match self.peek()? {
            // Engine.IO 3, binary: 0 for text, digits of the length as bytes, 255.
            0 => {
                self.next()?;
                while self.peek()? <= 9 {
                    self.next()?;
                }
                self.expect(b"\xff")?;
            }
            // Engine.IO 3, text: digits of the length, colon. None begins with 0.
            b'1'..=b'9' => {
                while self.peek()?.is_ascii_digit() {
                    self.next()?;
                }
                self.expect(b":")?;
            }
            _ => {}
        }
        self.expect(b"0{")?;
        self.object_sid()
    }

    /// The value of `sid` among the members of an object, behind its brace.
    fn object_sid(&mut self) -> Result<&'b str, Stop> {
        loop {
            if self.token()? != b'"' {
                return Err(Stop::Absent); // the object's end, or no JSON
            }
            let key = self.string()?;
            if self.token()? != b':' {
                return Err(Stop::Absent);
            }
            let first = self.token()?;
            if key == Some(b"sid") {
                return match first {
                    b'"' => self.string()?.and_then(valid_sid).ok_or(Stop::Absent),
                    _ => Err(Stop::Absent),
                };
            }
            self.skip_value(first)?;
        }
    }

    /// Behind the comma that ends a value, of which `byte` is the first.
    fn skip_value(&mut self, mut byte: u8) -> Result<(), Stop> {
        let mut depth = 0u8;
        loop {
            match byte {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' if depth < DEPTH_MAX => depth += 1,
                b'}' | b']' if depth > 0 => depth -= 1,
                b'{' | b'[' | b'}' | b']' => return Err(Stop::Absent),
                b',' if depth == 0 => return Ok(()),
                _ => {}
            }
            byte = self.next()?;
        }
    }

    /// Content of a string, behind its opening quote, or `None` if it does not stand in the body
    /// in one piece (escapes in it, or a chunk's end).
    fn string(&mut self) -> Result<Option<&'b [u8]>, Stop> {
        // Only known behind its first byte: a chunk may begin just before that.
        let mut span: Option<(usize, usize)> = None;
        let mut plain = true;
        loop {
            match self.next()? {
                b'"' => break,
                b'\\' => {
                    self.next()?;
                    plain = false;
                }
                _ => {
                    let (start, end) = span.unwrap_or((self.at - 1, self.at - 1));
                    plain &= end + 1 == self.at;
                    span = Some((start, self.at));
                }
            }
        }
        let (start, end) = span.unwrap_or_default();
        Ok(plain.then(|| &self.body[start..end]))
    }
}

fn valid_sid(sid: &[u8]) -> Option<&str> {
    let sid = std::str::from_utf8(sid).ok()?;
    (1..=SID_MAX).contains(&sid.len()).then_some(sid)
}

#[cfg(test)]
mod tests {
    use super::super::splits::every_split;
    use super::*;
    use proptest::prelude::*;

    const OPEN: &str = "{\"sid\":\"lv_VI97HAXpY6yYWAAAB\",\"upgrades\":[\"websocket\"],\
        \"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}";
    const SID: SidSearch<'static> = SidSearch::Found("lv_VI97HAXpY6yYWAAAB");

    fn fed<'b>(body: &'b [u8], lengths: &[usize]) -> SidSearch<'b> {
        lengths
            .iter()
            .map(|&length| find(&body[..length]))
            .find(|search| *search != SidSearch::NotYet)
            .unwrap_or(SidSearch::NotYet)
    }

    fn searched(body: &[u8]) -> SidSearch<'_> {
        every_split(body, |lengths| fed(body, lengths))
    }

    #[test]
    fn the_id_is_found_in_every_form_of_an_open_packet() {
        let escaped = OPEN.replace('"', "\\\"");
        for body in [
            format!("0{OPEN}"),
            format!("96:0{OPEN}2:40"),
            format!("\0\x09\x06\u{ff}0{OPEN}"),
            format!("76\r\n0{OPEN}\r\n0\r\n\r\n"),
            format!("76;x=y\r\n0{OPEN}"),
            format!("1\r\n0\r\n75\r\n{OPEN}\r\n0\r\n\r\n"),
            format!("5\r\n96:0{{\r\n71\r\n{}", &OPEN[1..]),
            format!("9\r\n0{{\"sid\":\"\r\n6d\r\n{}", &OPEN[8..]),
            format!("___eio[0](\"0{escaped}\");"),
            format!("___eio[12](\"96:0{escaped}\");"),
            format!("A4\r\n___eio[0](\"0{escaped}\");\r\n0\r\n\r\n"),
            format!("0{OPEN}\x1e40{{\"sid\":\"other\"}}"),
            "0{ \"sid\" : \"lv_VI97HAXpY6yYWAAAB\" }".to_owned(),
            "0{\"a\":[{\"sid\":\"no\"},\"}\",{}],\"b\":{\"sid\":\"no\"},\"c\":\"\\\"sid\\\":\\\\\",\
             \"d\":null,\"sid\":\"lv_VI97HAXpY6yYWAAAB\"}"
                .to_owned(),
            "___eio[0](\"0{\\\"c\\\":\\\"\\\\\\\"}\\\",\\\"sid\\\":\\\"lv_VI97HAXpY6yYWAAAB\\\""
                .to_owned(),
        ] {
            // One byte 255, which no text holds.
            let body: Vec<u8> = body.chars().map(|c| u8::try_from(c).expect("Latin-1")).collect();
            assert_eq!(searched(&body), SID, "{}", body.escape_ascii());
        }
    }

    #[test]
    fn the_id_of_a_request_is_what_engine_io_takes_for_it() {
        use super::super::http_head::{HeadScanner, Peeked};
        let sid = |sid: &[u8]| Requested::Sid(sid.to_vec());
        for (target, expected) in [
            ("/socket.io/?EIO=4&sid=a", sid(b"a")),
            ("/socket.io/?s%69d=%41+b%2b%zz&x", sid(b"A b+%zz")),
            ("/socket.io/?sid=a&sid=%61", sid(b"a")),
            ("/socket.io/?sid=a#&sid=b", sid(b"a")),
            ("http://a/?sid=a=b?c", sid(b"a=b?c")),
            ("/socket.io/?sid=a&sid=b", Requested::Several),
            ("/socket.io/?sid=a&sid=", Requested::Several),
            ("/socket.io/?sid&EIO=4", Requested::Nothing),
            ("/socket.io/?Sid=a&xsid=b", Requested::Nothing),
            ("/socket.io/", Requested::Nothing),
        ] {
            let bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let Peeked::Head(head) = HeadScanner::default().scan(bytes.as_bytes(), 1000) else {
                panic!("{target}");
            };
            assert_eq!(requested(&head), expected, "{target}");
        }
    }

    #[test]
    fn other_bodies_have_none_and_say_so_at_once() {
        for (body, decided) in [
            (&b"40{\"sid\":\"no\"}"[..], 3),
            (b"2:40", 3),
            (b"<!DOCTYPE html>", 1),
            (b"{\"code\":0,\"message\":\"Transport unknown\"}", 1),
            (b"ok", 1),
            (b"3probe", 2),
            (b"0[", 2),
            (b"0{}", 3),
            (b"0{\"a\":1}", 8),
            (b"0{\"a\":{\"sid\":\"no\"}}", 19),
            (b"0{\"sid\":1}", 9),
            (b"0{\"sid\":\"\"}", 10),
            (b"0{\"sid\":\"a\\u0062\"}", 17),
            (b"0{\"sid\" \"a\"}", 9),
            (b"0{\"sid\":\"\xff\"}", 11),
            (b"0\r\n\r\n", 3),
            (b"5\r\n0{\"si\r\n6\r\nd\":\"ab\r\n4\r\ncd\"}", 28),
            (b"4\r\n0{\"sid\":\"a\"}", 8),
            (b"___eio[0](\"0{\\\"a\\\":1\")", 21),
            (b"\x00\x0a", 2),
        ] {
            assert_eq!(searched(body), SidSearch::Absent, "{}", body.escape_ascii());
            let first = (0..body.len()).find(|&to| find(&body[..to]) == SidSearch::Absent);
            assert_eq!(first.unwrap_or(body.len()), decided, "{}", body.escape_ascii());
        }
    }

    #[test]
    fn the_bounds_are_exact() {
        for (length, found) in [(256, true), (257, false)] {
            let body = format!("0{{\"sid\":\"{}\"}}", "x".repeat(length));
            assert_eq!(matches!(find(body.as_bytes()), SidSearch::Found(_)), found);
        }
        let body = |length| format!("0{{\"x\":\"{}\",\"sid\":\"a\"}}", "x".repeat(length));
        assert_eq!(find(body(1006).as_bytes()), SidSearch::Found("a"));
        assert_eq!(find(body(1007).as_bytes()), SidSearch::Absent);
        assert_eq!(find(&[b'1'; 1023]), SidSearch::NotYet);
        assert_eq!(find(&[b'1'; 1024]), SidSearch::Absent);
        assert_eq!(find(b""), SidSearch::NotYet);
    }

    proptest! {
        #[test]
        fn any_body_gives_one_answer_however_split(
            start in "(7\r\n)?(___eio.0.\\(\")?([1-9]{1,3}:)?0\\{",
            members in "[\"a-z{}:,\\[\\]\\\\ \r\n0-9]{0,40}",
            cut in 0usize..60,
        ) {
            let text = start + &members;
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            prop_assert_eq!(fed(bytes, &[cut, bytes.len()]), find(bytes));
        }

        #[test]
        fn a_mutated_packet_gives_one_answer_however_split(
            edits in prop::collection::vec((0usize..118, any::<u8>()), 0..4),
        ) {
            let mut bytes = format!("96:0{OPEN}").into_bytes();
            edits.iter().for_each(|&(at, byte)| bytes[at] = byte);
            let lengths: Vec<usize> = (0..=bytes.len()).collect();
            prop_assert_eq!(fed(&bytes, &lengths), find(&bytes));
        }
    }
}
