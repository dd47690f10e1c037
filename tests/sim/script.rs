//! What a peer says, and when it stops.

use std::net::SocketAddr;

use ringway::config::ProxyVersion;
use ringway::peek::proxy_protocol;
use ringway::random::Random;

use crate::link::Draws;
use crate::machine::Machine;

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
    /// Bytes of the PROXY header in front.
    pub(crate) header: usize,
    /// Resets some time after this many bytes.
    pub(crate) reset_at: Option<usize>,
    /// Resets then, whatever it is doing.
    pub(crate) reset_at_us: u64,
    /// Reads nothing before.
    pub(crate) stalled_until_us: u64,
    /// Most bytes said at once.
    pub(crate) burst: u64,
    /// True exactly when all its bytes are known.
    pub(crate) answered: bool,
}

impl Script {
    /// Any bytes of a length that is mostly small.
    pub(crate) fn raw(random: &mut Random, now_us: u64, machine: &Machine) -> Self {
        let bulk = machine.bulk;
        let len = match random.below(4) {
            0 => 0,
            1 => random.below(100),
            2 => random.below(3_000),
            _ => random.below(bulk),
        };
        let bytes = noise(random, len as usize);
        Self::of(Tongue::Raw, bytes, random, (now_us, bulk), machine)
    }

    /// A ClientHello and what follows it, sometimes not whole, sometimes broken.
    pub(crate) fn hello(random: &mut Random, now_us: u64, machine: &Machine) -> Self {
        let mut bytes = client_hello(random);
        match random.below(16) {
            0 => bytes.truncate(random.below(bytes.len() as u64) as usize),
            1 => {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << random.below(8);
            }
            _ => {}
        }
        let more = random.below(2_000) as usize;
        bytes.extend(noise(random, more));
        Self::of(Tongue::Raw, bytes, random, (now_us, 400), machine)
    }

    /// A request, sometimes with bytes behind it, sometimes not whole.
    pub(crate) fn request(random: &mut Random, now_us: u64, machine: &Machine) -> Self {
        const PATH: &str = "/socket.io/?EIO=4&transport=";
        let user = random.below(4);
        let cookie = match random.below(4) {
            0 | 1 => "Cookie: srv=abc\r\n".to_owned(),
            2 => format!("X-User: {user}\r\nX-Forwarded-For: 192.0.2.1\r\n"),
            _ => String::new(),
        };
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
        Self::of(tongue, bytes, random, (now_us, 400), machine)
    }

    /// Puts a PROXY header in front, now and then one that is none.
    pub(crate) fn come_from(
        &mut self,
        source: Option<SocketAddr>,
        here: SocketAddr,
        random: &mut Random,
    ) {
        let version = if random.one_in(2) { ProxyVersion::V1 } else { ProxyVersion::V2 };
        let mut bytes = Vec::new();
        proxy_protocol::write(version, source, Some(here), &mut bytes);
        self.header = bytes.len();
        if random.one_in(16) {
            bytes[0] ^= 1;
        }
        bytes.append(&mut self.bytes);
        self.bytes = bytes;
    }

    /// A server that waits for a request.
    pub(crate) fn server(random: &mut Random, now_us: u64, machine: &Machine) -> Self {
        let tongue = if random.one_in(8) { Tongue::Blind } else { Tongue::Server };
        let mut script = Self::of(tongue, Vec::new(), random, (now_us, 400), machine);
        script.answered = false;
        if tongue == Tongue::Blind {
            script.say_answer(random.one_in(2), random);
        }
        script
    }

    fn of(
        tongue: Tongue,
        bytes: Vec<u8>,
        random: &mut Random,
        (now_us, burst): (u64, u64),
        machine: &Machine,
    ) -> Self {
        let ending = match random.below(8) {
            0..3 => Ending::Eof,
            3 => Ending::Close,
            4..6 => Ending::AfterTheOther,
            _ => Ending::Never,
        };
        let resets = machine.rates.resets;
        let reset_at =
            random.one_in(resets).then(|| random.below(bytes.len() as u64 + 50) as usize);
        let lives_us = if random.one_in(2) { 30_000 } else { 3_000_000 };
        let reset_at_us =
            if random.one_in(resets) { now_us + random.below(lives_us) } else { u64::MAX };
        let stalled_until_us = match random.below(32) {
            0 => u64::MAX,
            1..8 => now_us + random.below(3_000_000),
            _ => 0,
        };
        Self {
            tongue,
            bytes,
            ending,
            header: 0,
            reset_at,
            reset_at_us,
            stalled_until_us,
            burst: 1 + random.below(burst),
            answered: true,
        }
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
            // Who waits for an answer that is not whole may wait for ever.
            self.ending = Ending::Eof;
            self.bytes.truncate(random.below(self.bytes.len() as u64) as usize);
        }
    }
}

/// A name, protocols and nothing else.
fn client_hello(random: &mut Random) -> Vec<u8> {
    let extension = |kind: u16, data: &[u8]| {
        [&kind.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
    };
    let host = if random.one_in(2) { b"a.example" } else { b"b.example" };
    let name = [&[0, 12, 0, 0, 9][..], host].concat();
    let extensions = [extension(0, &name), extension(16, b"\x00\x0c\x02h2\x08http/1.1")].concat();
    let hello = [
        &[3, 3][..],
        &noise(random, 32),
        &[0, 0, 2, 0x13, 1, 1, 0],
        &(extensions.len() as u16).to_be_bytes(),
        &extensions,
    ]
    .concat();
    let message = [&[1][..], &(hello.len() as u32).to_be_bytes()[1..], &hello].concat();
    [&[22, 3, 1][..], &(message.len() as u16).to_be_bytes(), &message].concat()
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
