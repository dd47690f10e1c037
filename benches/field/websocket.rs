//! WebSocket frames as both ends of a benchmark need them: whole binary messages below 64 KiB.

use crate::Result;

/// The sample nonce of RFC 6455, section 1.3, and the answer to it given there: so neither end
/// needs SHA-1.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A final binary frame (RFC 6455, section 5.2).
const BINARY: u8 = 0x82;
/// The bit of the second byte that says a mask follows, as it must from clients.
const MASKED: u8 = 0x80;
/// The length that says the real one is in the next two bytes.
const LENGTH_16: u8 = 126;

/// Appends a message; clients give a mask.
pub(crate) fn write(out: &mut Vec<u8>, message: &[u8], mask: Option<[u8; 4]>) {
    let masked = if mask.is_some() { MASKED } else { 0 };
    match u8::try_from(message.len()) {
        Ok(length) if length < LENGTH_16 => out.extend([BINARY, masked | length]),
        _ => {
            let length = u16::try_from(message.len()).expect("messages here are below 64 KiB");
            out.extend([BINARY, masked | LENGTH_16]);
            out.extend(length.to_be_bytes());
        }
    }
    match mask {
        None => out.extend_from_slice(message),
        Some(mask) => {
            out.extend(mask);
            out.extend(message.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        }
    }
}

/// The first message in `input`, and the bytes it takes there; `None` while it is not whole.
pub(crate) fn read(input: &[u8]) -> Result<Option<(Vec<u8>, usize)>> {
    let &[first, second, ref rest @ ..] = input else {
        return Ok(None);
    };
    if first != BINARY || second & !MASKED > LENGTH_16 {
        return Err(format!("not a frame of this benchmark: {first:#x} {second:#x}").into());
    }
    let (length, rest) = match (second & !MASKED, rest) {
        (LENGTH_16, &[high, low, ref rest @ ..]) => {
            (usize::from(u16::from_be_bytes([high, low])), rest)
        }
        (LENGTH_16, _) => return Ok(None),
        (length, rest) => (usize::from(length), rest),
    };
    let (mask, rest) = match (second & MASKED, rest) {
        (0, rest) => ([0; 4], rest),
        (_, &[a, b, c, d, ref rest @ ..]) => ([a, b, c, d], rest),
        _ => return Ok(None),
    };
    let used = input.len() - rest.len() + length;
    let message = rest
        .get(..length)
        .map(|bytes| bytes.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect());
    Ok(message.map(|message| (message, used)))
}
