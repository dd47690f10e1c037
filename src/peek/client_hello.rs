//! The first message of a TLS connection, for the name it asks for (RFC 8446 section 4.1.2,
//! RFC 6066 section 3, RFC 7301).
//!
//! Never decrypts, never answers: the bytes pass on as they came. With Encrypted Client Hello the
//! name is the outer one, which is what the client wants routers to see.

use super::host::is_name_byte;

/// Bytes before a record's content: type, version, length.
const RECORD_HEADER: usize = 5;
/// Bytes of a plaintext record's content (RFC 8446 section 5.1).
const RECORD_MAX: usize = 1 << 14;
/// Content type of a handshake record.
const HANDSHAKE: u8 = 22;
/// Bytes before a handshake message's content: type, length.
const MESSAGE_HEADER: usize = 4;
/// Handshake type of a ClientHello.
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// What the bytes received so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelloPeeked {
    /// The beginning of a ClientHello, perhaps: more bytes decide.
    Incomplete,
    /// Not TLS (SSL 2 hellos included).
    Foreign,
    /// Longer than the limit.
    TooLarge,
    /// TLS, but no ClientHello as the RFC says; in a few words.
    Malformed(&'static str),
    /// A whole one.
    Hello(ClientHello),
}

/// What routes need of a ClientHello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// Name asked for: lower case, without trailing dot.
    pub sni: Option<String>,
    /// Application protocols offered, best first, as sent (`h2`, `http/1.1`, GREASE values).
    pub alpn: Vec<Vec<u8>>,
    /// Offset of the first byte behind the message.
    pub end: usize,
}

/// How far a ClientHello has been read.
#[derive(Clone, Copy, Debug, Default)]
pub struct HelloScanner {
    /// Offset of the record that is not yet whole.
    record: usize,
    /// Bytes of the message in the records before it.
    collected: usize,
}

impl HelloScanner {
    /// What `bytes`, everything received so far, are. A hello that ends behind `max` bytes is too
    /// large, as is one that says it is longer. The verdict does not depend on how the bytes were
    /// split and is final unless `Incomplete`.
    pub fn scan(&mut self, bytes: &[u8], max: usize) -> HelloPeeked {
        let window = &bytes[..bytes.len().min(max)];
        while let Some(record) = window.get(self.record..) {
            let length = match record_length(record, self.record == 0) {
                Ok(Some(length)) => length,
                Ok(None) => break,
                Err(verdict) => return verdict,
            };
            let content = &record[RECORD_HEADER..record.len().min(RECORD_HEADER + length)];
            let received = self.collected + content.len();
            match self.message_length(window, received) {
                Ok(Some(needed)) if needed > max => return HelloPeeked::TooLarge,
                Ok(Some(needed)) if needed <= received => {
                    let end = self.record + RECORD_HEADER + (needed - self.collected);
                    return whole(&message(window, needed), end);
                }
                Ok(_) => {}
                Err(why) => return HelloPeeked::Malformed(why),
            }
            if content.len() < length {
                break;
            }
            self.record += RECORD_HEADER + length;
            self.collected = received;
        }
        if bytes.len() >= max { HelloPeeked::TooLarge } else { HelloPeeked::Incomplete }
    }

    /// Bytes of the whole message with its header, of which `received` are there, or `None` until
    /// its header says so.
    fn message_length(
        &self,
        window: &[u8],
        received: usize,
    ) -> Result<Option<usize>, &'static str> {
        // Behind the first four bytes the answer costs the same however many records there are.
        let header = message(window, received.min(MESSAGE_HEADER));
        match header[..] {
            [CLIENT_HELLO, a, b, c] => {
                let length = u32::from_be_bytes([0, a, b, c]) as usize;
                Ok(Some(MESSAGE_HEADER + length))
            }
            [] | [CLIENT_HELLO, ..] => Ok(None),
            _ => Err("first handshake message is no ClientHello"),
        }
    }
}

/// Length of the content of the record at the beginning of `record`, or `None` until its header
/// is whole. Each byte is judged as soon as it is there.
fn record_length(record: &[u8], first: bool) -> Result<Option<usize>, HelloPeeked> {
    let other = |why| if first { HelloPeeked::Foreign } else { HelloPeeked::Malformed(why) };
    if record.first().is_some_and(|&content_type| content_type != HANDSHAKE) {
        return Err(other("ClientHello is interleaved with another record"));
    }
    // The minor version is ignored (RFC 8446 section 5.1).
    if record.get(1).is_some_and(|&major| major != 3) {
        return Err(other("record version is not TLS"));
    }
    let Some(&[high, low]) = record.get(3..RECORD_HEADER) else { return Ok(None) };
    match usize::from(u16::from_be_bytes([high, low])) {
        0 => Err(HelloPeeked::Malformed("handshake record is empty")),
        length if length > RECORD_MAX => Err(HelloPeeked::Malformed("record is too long")),
        length => Ok(Some(length)),
    }
}

/// The first `length` bytes of the handshake message in the records of `bytes`, which are known
/// to be there.
fn message(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut message = Vec::with_capacity(length);
    let mut rest = bytes;
    while message.len() < length && rest.len() > RECORD_HEADER {
        let content = usize::from(u16::from_be_bytes([rest[3], rest[4]]));
        let record = &rest[RECORD_HEADER..rest.len().min(RECORD_HEADER + content)];
        message.extend_from_slice(&record[..record.len().min(length - message.len())]);
        rest = &rest[RECORD_HEADER + record.len()..];
    }
    message
}

fn whole(message: &[u8], end: usize) -> HelloPeeked {
    match hello(&message[MESSAGE_HEADER.min(message.len())..], end) {
        Ok(hello) => HelloPeeked::Hello(hello),
        Err(Invalid(why)) => HelloPeeked::Malformed(why),
    }
}

/// Why a ClientHello cannot be read.
struct Invalid(&'static str);

/// RFC 8446 section 4.1.2.
fn hello(body: &[u8], end: usize) -> Result<ClientHello, Invalid> {
    let mut body = Reader(body);
    if body.take(2)?[0] != 3 {
        return Err(Invalid("ClientHello version is not TLS"));
    }
    body.take(32)?; // random
    if body.short()?.len() > 32 {
        return Err(Invalid("session id is too long"));
    }
    let suites = body.long()?.len();
    if suites == 0 || suites % 2 == 1 {
        return Err(Invalid("cipher suites are invalid"));
    }
    if body.short()?.is_empty() {
        return Err(Invalid("compression methods are missing"));
    }
    let mut hello = ClientHello { sni: None, alpn: Vec::new(), end };
    if body.0.is_empty() {
        return Ok(hello); // no extensions: allowed up to TLS 1.2
    }
    let mut extensions = Reader(body.long()?);
    body.end()?;
    let (mut has_sni, mut has_alpn) = (false, false);
    while !extensions.0.is_empty() {
        let extension = extensions.number()?;
        let data = Reader(extensions.long()?);
        // The rest, GREASE among it (RFC 8701), is for the server.
        match extension {
            SERVER_NAME if !std::mem::replace(&mut has_sni, true) => hello.sni = server_name(data)?,
            ALPN if !std::mem::replace(&mut has_alpn, true) => hello.alpn = protocols(data)?,
            SERVER_NAME | ALPN => return Err(Invalid("extension comes twice")),
            _ => {}
        }
    }
    Ok(hello)
}

/// The host_name of a server_name extension (RFC 6066 section 3); other types of name, of which
/// there are none, are skipped.
fn server_name(mut data: Reader<'_>) -> Result<Option<String>, Invalid> {
    let mut names = Reader(data.long()?);
    data.end()?;
    let mut host = None;
    while !names.0.is_empty() {
        let kind = names.take(1)?[0];
        let name = names.long()?;
        if kind != 0 {
            continue;
        }
        let name = name.strip_suffix(b".").unwrap_or(name);
        // Behind a second dot readers see different names: some take off one, some all.
        let is_name = !name.is_empty() && !name.ends_with(b".");
        if host.is_some() || !is_name || !name.iter().all(|&b| is_name_byte(b) || b == b':') {
            return Err(Invalid("server name is invalid"));
        }
        host = Some(String::from_utf8_lossy(name).to_ascii_lowercase());
    }
    Ok(host)
}

/// RFC 7301 section 3.1.
fn protocols(mut data: Reader<'_>) -> Result<Vec<Vec<u8>>, Invalid> {
    let mut list = Reader(data.long()?);
    data.end()?;
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        match list.short()? {
            [] => return Err(Invalid("application protocol is empty")),
            protocol => protocols.push(protocol.to_vec()),
        }
    }
    Ok(protocols)
}

/// What is left of a vector; nothing is ever read behind its end.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> Result<&'b [u8], Invalid> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Invalid("a length is wrong"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u16, Invalid> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A vector with one byte of length.
    fn short(&mut self) -> Result<&'b [u8], Invalid> {
        let length = self.take(1)?[0];
        self.take(usize::from(length))
    }

    /// A vector with two bytes of length.
    fn long(&mut self) -> Result<&'b [u8], Invalid> {
        let length = self.number()?;
        self.take(usize::from(length))
    }

    fn end(&self) -> Result<(), Invalid> {
        if self.0.is_empty() { Ok(()) } else { Err(Invalid("a length is wrong")) }
    }
}

#[cfg(test)]
mod tests;
