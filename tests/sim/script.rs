//! What a peer says, and when it stops.

use ringway::random::Random;

use crate::link::Draws;

/// What a peer does after its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Says EOF and reads on.
    Eof,
    /// Closes: whatever comes after is answered with a reset.
    Close,
    /// Says EOF once it has seen EOF.
    AfterTheOther,
    /// Nothing, until everybody is told to finish.
    Never,
}

/// What a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tongue {
    /// Any bytes.
    Raw,
    /// A request; with its length, head included, and whether it asks for a WebSocket.
    Request { len: usize, websocket: bool },
    /// Waits for a request and answers it.
    Server,
    /// A server that answers whatever comes.
    Blind,
}

/// See the head of the file.
pub(crate) struct Script {
    pub(crate) tongue: Tongue,
    pub(crate) bytes: Vec<u8>,
    pub(crate) ending: Ending,
    /// Resets some time after this many bytes.
    pub(crate) reset_at: Option<usize>,
    /// Reads nothing before.
    pub(crate) stalled_until_us: u64,
    /// Most bytes said at once.
    pub(crate) burst: u64,
    /// True exactly when all its bytes are known.
    pub(crate) answered: bool,
}

impl Script {
    /// Any bytes of a length that is mostly small.
    pub(crate) fn raw(random: &mut Random, now_us: u64, bulk: u64) -> Self {
        let len = match random.below(4) {
            0 => 0,
            1 => random.below(100),
            2 => random.below(3_000),
            _ => random.below(bulk),
        };
        let bytes = noise(random, len as usize);
        Self::of(Tongue::Raw, bytes, random, now_us, bulk)
    }

    /// A request, sometimes with bytes behind it, sometimes not whole.
    pub(crate) fn request(random: &mut Random, now_us: u64) -> Self {
        const PATH: &str = "/socket.io/?EIO=4&transport=";
        let cookie = if random.one_in(2) { "Cookie: srv=abc\r\n" } else { "" };
        let body = random.below(600) as usize;
        let (head, body, websocket) = match random.below(5) {
            0 => (format!("GET {PATH}polling HTTP/1.1\r\nHost: a\r\n{cookie}\r\n"), 0, false),
            1 => (format!("GET / HTTP/1.1\r\nHost: b\r\n{cookie}\r\n"), 0, false),
            2 => {
                let sid = "sid=0123456789abcdefghij";
                let fields = format!("Content-Length: {body}\r\n{cookie}");
                (
                    format!("POST {PATH}polling&{sid} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"),
                    body,
                    false,
                )
            }
            _ => {
                let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
                              Sec-WebSocket-Version: 13\r\n\
                              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
                (format!("GET {PATH}websocket HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), 0, true)
            }
        };
        let mut bytes = head.into_bytes();
        bytes.extend(noise(random, body));
        let len = bytes.len();
        if random.one_in(3) {
            let more = random.below(2_000) as usize;
            bytes.extend(noise(random, more));
        }
        if random.one_in(16) {
            bytes.truncate(random.below(len as u64) as usize);
        }
        let mut tongue = Tongue::Request { len, websocket };
        if random.one_in(32) && !bytes.is_empty() {
            bytes[0] = b'(';
            tongue = Tongue::Raw;
        }
        Self::of(tongue, bytes, random, now_us, 400)
    }

    /// A server that waits for a request.
    pub(crate) fn server(random: &mut Random, now_us: u64) -> Self {
        let tongue = if random.one_in(8) { Tongue::Blind } else { Tongue::Server };
        let mut script = Self::of(tongue, Vec::new(), random, now_us, 400);
        script.answered = false;
        if tongue == Tongue::Blind {
            script.say_answer(random.one_in(2), random);
        }
        script
    }

    fn of(tongue: Tongue, bytes: Vec<u8>, random: &mut Random, now_us: u64, burst: u64) -> Self {
        let ending = match random.below(8) {
            0..3 => Ending::Eof,
            3 => Ending::Close,
            4..6 => Ending::AfterTheOther,
            _ => Ending::Never,
        };
        let reset_at = random.one_in(6).then(|| random.below(bytes.len() as u64 + 50) as usize);
        let stalled_until_us = if random.one_in(4) { now_us + random.below(3_000_000) } else { 0 };
        let burst = 1 + random.below(burst);
        Self { tongue, bytes, ending, reset_at, stalled_until_us, burst, answered: true }
    }

    /// A server looks at what it has got.
    pub(crate) fn answer(&mut self, got: &[u8], random: &mut Random) {
        if self.answered || self.tongue != Tongue::Server {
            return;
        }
        if memchr::memmem::find(got, b"\r\n\r\n").is_some() {
            let websocket = memchr::memmem::find(got, b"transport=websocket").is_some();
            self.say_answer(websocket && !random.one_in(4), random);
        }
    }

    fn say_answer(&mut self, agreed: bool, random: &mut Random) {
        self.answered = true;
        if random.one_in(8) {
            self.bytes = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
        }
        if agreed {
            self.bytes.extend(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n");
            self.bytes.extend(b"Connection: Upgrade\r\n\r\n");
        } else if random.one_in(16) {
            self.bytes.extend(b"220 this is no HTTP\r\n");
        } else {
            let body = r#"0{"sid":"0123456789abcdefghij","upgrades":["websocket"]}"#;
            self.bytes.extend(b"HTTP/1.1 200 OK\r\nSet-Cookie: srv=abc\r\n");
            self.bytes.extend(format!("Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes());
        }
        let more = random.below(2_000) as usize;
        self.bytes.extend(noise(random, more));
        if random.one_in(8) {
            self.bytes.truncate(random.below(self.bytes.len() as u64) as usize);
        }
    }
}

/// Bytes that look like nothing.
fn noise(random: &mut Random, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend(random.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
