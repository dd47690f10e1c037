//! Where a request ends, told by its head (RFC 9112 section 6.3).
//!
//! Never tolerant: a head whose end two readers may find in different places is how a request is
//! smuggled past this one, so whatever is not plain is refused.

use super::http_head::{Body, Field, is_token, list};

/// How the end of a request with these fields is found, or why nobody can tell.
pub(super) fn request(fields: &[Field<'_>], minor_version: u8) -> Result<Body, &'static str> {
    let named = |name: &'static str| {
        fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|f| f.value)
    };
    let has_length = named("content-length").next().is_some();
    if named("transfer-encoding").next().is_none() {
        return if has_length { length(named("content-length")) } else { Ok(Body::None) };
    }
    if has_length {
        return Err("both Transfer-Encoding and Content-Length");
    }
    if minor_version == 0 {
        return Err("Transfer-Encoding in HTTP/1.0");
    }
    chunked(named("transfer-encoding"))
}

/// Several lengths are one if all agree (RFC 9112 section 6.3, rule 5).
fn length<'b>(values: impl Iterator<Item = &'b [u8]>) -> Result<Body, &'static str> {
    let mut length = None;
    for digits in values.flat_map(|value| value.split(|&byte| byte == b',')) {
        let this = decimal(digits.trim_ascii()).ok_or("Content-Length is no length")?;
        if length.replace(this).is_some_and(|before| before != this) {
            return Err("two different Content-Length");
        }
    }
    length.map(Body::Length).ok_or("Content-Length is no length")
}

/// Digits only: no sign, no white space, no overflow.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// `chunked` once, and last (RFC 9112 section 6.1). Codings with parameters are refused: none is
/// in use, and a quoted comma would be read differently by a simpler reader.
fn chunked<'b>(values: impl Iterator<Item = &'b [u8]>) -> Result<Body, &'static str> {
    let mut ended = false;
    for coding in values.flat_map(list) {
        if ended || !is_token(coding) {
            return Err("Transfer-Encoding is no list of codings that ends in chunked");
        }
        ended = coding.eq_ignore_ascii_case(b"chunked");
    }
    if ended { Ok(Body::Chunked) } else { Err("Transfer-Encoding does not end in chunked") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(fields: &[(&'static str, &'static str)], minor_version: u8) -> Option<Body> {
        let fields: Vec<_> =
            fields.iter().map(|&(name, value)| Field { name, value: value.as_bytes() }).collect();
        request(&fields, minor_version).ok()
    }

    #[test]
    fn a_plain_end_is_found() {
        let (cl, te) = ("content-length", "Transfer-Encoding");
        for (fields, body) in [
            (&[][..], Body::None),
            (&[(cl, "0")], Body::Length(0)),
            (&[(cl, "18446744073709551615")], Body::Length(u64::MAX)),
            (&[(cl, "007")], Body::Length(7)),
            (&[(cl, "7, 7")], Body::Length(7)),
            (&[(cl, "7"), (cl, "7")], Body::Length(7)),
            (&[(te, "chunked")], Body::Chunked),
            (&[(te, "gzip, Chunked")], Body::Chunked),
            (&[(te, "gzip"), (te, "chunked")], Body::Chunked),
            (&[(te, ", chunked ,")], Body::Chunked),
        ] {
            assert_eq!(framing(fields, 1), Some(body), "{fields:?}");
        }
    }

    #[test]
    fn an_end_that_can_be_read_in_two_ways_is_refused() {
        let (cl, te) = ("Content-Length", "transfer-encoding");
        for fields in [
            &[(cl, "")][..],
            &[(cl, "-1")],
            &[(cl, "+1")],
            &[(cl, "1 2")],
            &[(cl, "0x10")],
            &[(cl, "1,")],
            &[(cl, "1,2")],
            &[(cl, "1"), (cl, "2")],
            &[(cl, "18446744073709551616")],
            &[(te, "")],
            &[(te, "gzip")],
            &[(te, "xchunked")],
            &[(te, "chunked, gzip")],
            &[(te, "chunked, chunked")],
            &[(te, "chunked"), (te, "identity")],
            &[(te, "chunked;a=b")],
            &[(te, "\"chunked\"")],
            &[(te, "a;b=\"c, chunked\"")],
            &[(te, "a b, chunked")],
            &[(te, "chunked"), (cl, "3")],
            &[(cl, "3"), (te, "identity")],
        ] {
            assert_eq!(framing(fields, 1), None, "{fields:?}");
        }
        assert_eq!(framing(&[(te, "chunked")], 0), None);
    }
}
