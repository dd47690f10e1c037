//! One HTTP/1 request head (RFC 9112).

use std::borrow::Cow;

/// A request head, borrowed from the bytes it was read from.
#[derive(Debug)]
pub struct RequestHead<'b> {
    /// `GET`.
    pub method: &'b str,
    /// Request target as sent: origin, absolute, authority or asterisk form.
    pub target: &'b str,
    /// 0 or 1: HTTP/1.0 or HTTP/1.1.
    pub minor_version: u8,
    /// Header fields in order, values without surrounding white space.
    pub fields: Vec<Field<'b>>,
    /// Where routes look: lower case, without port and trailing dot; `None` only in HTTP/1.0.
    pub host: Option<Cow<'b, str>>,
    /// How the request's end is found.
    pub body: Body,
    /// `Upgrade: websocket` with `Connection: upgrade`.
    pub websocket: bool,
    /// Offset of the request line (behind tolerated empty lines).
    pub start: usize,
    /// Offset of the first byte behind the head.
    pub end: usize,
}

/// One header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'b> {
    /// As sent; compare without case.
    pub name: &'b str,
    /// Without surrounding white space.
    pub value: &'b [u8],
}

/// How the end of a request is found (RFC 9112 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// The head is all.
    None,
    /// That many bytes follow.
    Length(u64),
    /// Chunked, to the last chunk's trailer.
    Chunked,
}

impl<'b> RequestHead<'b> {
    /// First field of that name, compared without case.
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        self.headers(name).next()
    }

    /// All fields of that name, in order.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.fields.iter().filter(move |f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value)
    }

    /// Value of a cookie (RFC 6265 section 4.2), without quotes.
    pub fn cookie(&self, name: &str) -> Option<&'b [u8]> {
        self.headers("cookie").flat_map(|value| value.split(|&b| b == b';')).find_map(|pair| {
            let pair = pair.trim_ascii();
            let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?.trim_ascii();
            Some(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value))
        })
    }

    /// Path of the target, without query; of an absolute form without scheme and authority.
    pub fn path(&self) -> &'b str {
        let target = self.origin_form();
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// Value of a query parameter as it stands, not decoded; a fragment is never sent.
    pub fn query(&self, name: &str) -> Option<&'b str> {
        let (_, query) = self.origin_form().split_once('?')?;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })
    }

    fn origin_form(&self) -> &'b str {
        match self.target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
                rest.find(['/', '?']).map_or("/", |at| &rest[at..])
            }
            _ => self.target,
        }
    }
}
