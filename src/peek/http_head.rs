//! One HTTP/1 request head (RFC 9112), or the verdict that the bytes are something else.
//!
//! Strict where two readers could disagree about what a head says, because the servers behind read
//! it again: a head routed by one Host and served under another, or a request hidden in what was
//! taken for a body, is worse than a 400. Bare LF is therefore refused, as by Node, although
//! RFC 9112 section 2.2 would allow it; so are bare CR, NUL, folded lines and white space before
//! a colon. Never decodes, never holds bytes, never looks at a byte of the head twice while it is
//! incomplete.

use std::borrow::Cow;

use super::lines::{Line, Lines};
use super::{framing, host};

/// Fields a request may have: well above what browsers and proxies send (10 to 40), and few
/// enough to parse on the stack.
pub(super) const FIELDS_MAX: usize = 256;
/// Empty lines tolerated before the request line; RFC 9112 section 2.2 asks for at least one.
const EMPTY_LINES_MAX: u8 = 4;
/// Bytes of a method; the longest registered one (UPDATEREDIRECTREF) has 17.
const METHOD_MAX: usize = 32;

/// What the bytes received so far are.
#[derive(Debug, PartialEq, Eq)]
pub enum Peeked<'b> {
    /// The beginning of a head, perhaps: more bytes decide.
    Incomplete,
    /// Not HTTP/1, and no more bytes can make it so.
    Foreign(Foreign),
    /// HTTP/1, but not to be passed on.
    Refused(Refusal),
    /// A whole head.
    Head(RequestHead<'b>),
}

/// Which other protocol the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// The connection preface of HTTP/2 with prior knowledge (RFC 9113 section 3.4).
    Http2,
    /// A TLS handshake record (RFC 8446 section 5.1).
    Tls,
    /// Anything else.
    Other,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Longer than the limit, or more than 256 fields: 431.
    TooLarge,
    /// Against RFC 9112, in a few words: 400.
    Malformed(&'static str),
}

/// How far a request head has been read; one for each head.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScanner {
    lines: Lines,
    /// Offset of the request line, behind the empty lines so far.
    start: usize,
    empty_lines: u8,
    /// True exactly when the request line is whole and acceptable.
    has_request_line: bool,
}

impl HeadScanner {
    /// What `bytes`, everything received so far, are. A head longer than `max` bytes (empty lines
    /// before it included) is too large. The verdict does not depend on how the bytes were split,
    /// and is final unless `Incomplete`: the scanner is done with it.
    pub fn scan<'b>(&mut self, bytes: &'b [u8], max: usize) -> Peeked<'b> {
        // Bytes behind the limit are never looked at, or the verdict would depend on the splits.
        let window = &bytes[..bytes.len().min(max)];
        loop {
            if !self.has_request_line
                && let Some(verdict) = self.first_bytes(window)
            {
                return verdict;
            }
            let Some(line) = self.lines.next_line(window) else { break };
            if !self.has_request_line {
                if let Some(verdict) = self.first_line(line, window) {
                    return verdict;
                }
            } else if !line.crlf {
                return malformed("line ends in a bare LF");
            } else if line.text.is_empty() {
                return parse(window, self.start, self.lines.offset());
            }
        }
        if bytes.len() >= max { Peeked::Refused(Refusal::TooLarge) } else { Peeked::Incomplete }
    }

    /// A verdict on the beginning of the first line, whole or not: at most 34 bytes are looked at.
    fn first_bytes<'b>(&self, window: &'b [u8]) -> Option<Peeked<'b>> {
        let line = window.get(self.start..)?;
        match line {
            [] | [b'\n', ..] | [b'\r'] | [b'\r', b'\n', ..] => return None,
            // Not foreign: Node skips a bare CR here and would read the request unseen.
            [b'\r', ..] => return Some(malformed("bare CR before the request line")),
            [0x16, ..] if self.start == 0 => return Some(Peeked::Foreign(Foreign::Tls)),
            _ => {}
        }
        let method = line.iter().take(METHOD_MAX + 1).take_while(|&&byte| is_tchar(byte)).count();
        // White space that lenient readers take for a space (RFC 9112 section 3) decides nothing
        // yet: if the line turns out to be a request line it is refused, not passed on unread.
        let ended =
            matches!(line.get(method), None | Some(b' ' | b'\t' | 0x0b | 0x0c | b'\r' | b'\n'));
        let possible = (1..=METHOD_MAX).contains(&method) && ended;
        (!possible).then_some(Peeked::Foreign(Foreign::Other))
    }

    /// A verdict on the whole first line, or `None` to go on with the next line.
    fn first_line<'b>(&mut self, line: Line<'_>, window: &[u8]) -> Option<Peeked<'b>> {
        if line.text.is_empty() {
            self.start = self.lines.offset();
            self.empty_lines += 1;
            return (self.empty_lines > EMPTY_LINES_MAX)
                .then(|| malformed("too many empty lines before the request line"));
        }
        if self.start == 0 && line.crlf && line.text == b"PRI * HTTP/2.0" {
            return Some(Peeked::Foreign(Foreign::Http2));
        }
        if !resembles_request(line.text) {
            return Some(Peeked::Foreign(Foreign::Other));
        }
        if !line.crlf {
            return Some(malformed("line ends in a bare LF"));
        }
        self.has_request_line = true;
        let line = &window[self.start..self.lines.offset()];
        httparse::Request::new(&mut []).parse(line).err().map(|error| malformed(reason(error)))
    }
}

/// Whether a server could take this first line for a request line. Such a one must not pass as
/// foreign, with a Host or a forwarded address nobody has looked at: Node 20 serves `GET /`
/// (HTTP/0.9), HTTP/2.0, RTSP/1.0 and ICE/1.0 like HTTP/1.1, header fields and all.
fn resembles_request(line: &[u8]) -> bool {
    if line.windows(5).any(|word| word.eq_ignore_ascii_case(b"HTTP/")) {
        return true;
    }
    let method = line.iter().take_while(|&&byte| is_tchar(byte)).count();
    let (method, rest) = line.split_at(method);
    let target = rest.trim_ascii_start();
    method.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'-')
        && (target.starts_with(b"/")
            || target.starts_with(b"*")
            || target.windows(3).any(|word| word == b"://"))
}

fn malformed<'b>(why: &'static str) -> Peeked<'b> {
    Peeked::Refused(Refusal::Malformed(why))
}

fn reason(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "field name is invalid",
        httparse::Error::HeaderValue => "field value is invalid",
        httparse::Error::Version => "HTTP version is not 1.0 or 1.1",
        _ => "request line is invalid",
    }
}

/// The whole head at `bytes[start..end]`, of which every line is known to end in CR LF.
fn parse(bytes: &[u8], start: usize, end: usize) -> Peeked<'_> {
    let mut headers = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(&bytes[start..end]) {
        Ok(httparse::Status::Complete(length)) if length == end - start => {}
        Ok(_) => return malformed("head is invalid"),
        Err(httparse::Error::TooManyHeaders) => return Peeked::Refused(Refusal::TooLarge),
        Err(error) => return malformed(reason(error)),
    }
    let (Some(method), Some(target), Some(minor_version)) =
        (request.method, request.path, request.version)
    else {
        return malformed("request line is invalid");
    };
    let fields = request.headers.iter().map(|h| Field { name: h.name, value: h.value }).collect();
    let head = RequestHead {
        method,
        target,
        minor_version,
        fields,
        host: None,
        body: Body::None,
        websocket: false,
        start,
        end,
    };
    head.understood().unwrap_or_else(malformed)
}

/// A request head, borrowed from the bytes it was read from.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestHead<'b> {
    /// `GET`.
    pub method: &'b str,
    /// Request target as sent: origin, absolute, authority or asterisk form.
    pub target: &'b str,
    /// 0 or 1: HTTP/1.0 or HTTP/1.1.
    pub minor_version: u8,
    /// Header fields in order, values without surrounding white space.
    pub fields: Vec<Field<'b>>,
    /// Where routes look: lower case, without port and trailing dot; `None` only in HTTP/1.0 and
    /// where the Host field is empty.
    pub host: Option<Cow<'b, str>>,
    /// How the request's end is found.
    pub body: Body,
    /// `Upgrade: websocket` with `Connection: upgrade`, in a GET of HTTP/1.1 without content
    /// (RFC 6455 section 4.1). What is not this is not exempt from `one_request` either.
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

    /// Value of a cookie (RFC 6265 section 4.2), without quotes; the first of that name.
    pub fn cookie(&self, name: &str) -> Option<&'b [u8]> {
        self.headers("cookie")
            .flat_map(|value| value.split(|&byte| byte == b';'))
            .find_map(|pair| cookie_value(pair, name))
    }

    /// Path of the target, without query; of an absolute form without scheme and authority.
    pub fn path(&self) -> &'b str {
        let target = self.origin_form();
        match target.split_once('?').map_or(target, |(path, _)| path) {
            "" => "/",
            path => path,
        }
    }

    /// Value of a query parameter as it stands, not decoded; the first of that name.
    pub fn query(&self, name: &str) -> Option<&'b str> {
        self.parameters().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Query parameters as they stand, names and values, in order.
    pub fn parameters(&self) -> impl Iterator<Item = (&'b str, &'b str)> {
        let query = self.origin_form().split_once('?').map(|(_, query)| query);
        let pairs = query.into_iter().flat_map(|query| query.split('&'));
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// Path and query. A fragment, which RFC 9112 section 3.2 does not allow, is left out.
    fn origin_form(&self) -> &'b str {
        let target = match self.absolute_form() {
            Some((_, rest)) => rest,
            None => self.target,
        };
        target.split_once('#').map_or(target, |(target, _)| target)
    }

    /// Authority and what is behind it, of a target in absolute form (RFC 9112 section 3.2.2).
    fn absolute_form(&self) -> Option<(&'b str, &'b str)> {
        let (scheme, rest) = self.target.split_once("://")?;
        let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        valid.then(|| rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())))
    }

    /// The head with what follows from its fields, or why it is refused.
    fn understood(mut self) -> Result<Peeked<'b>, &'static str> {
        self.body = framing::request(&self.fields, self.minor_version)?;
        self.host = self.effective_host()?;
        if self.method == "CONNECT" {
            // Its content, if it claims any, has no meaning (RFC 9110 section 9.3.6).
            self.body = Body::None;
        }
        self.websocket = self.method == "GET"
            && self.minor_version == 1
            && matches!(self.body, Body::None | Body::Length(0))
            && self.headers("upgrade").flat_map(list).any(|t| t.eq_ignore_ascii_case(b"websocket"))
            && self
                .headers("connection")
                .flat_map(list)
                .any(|t| t.eq_ignore_ascii_case(b"upgrade"));
        Ok(Peeked::Head(self))
    }

    /// Host of the target if it names one, else of the Host field, which must be there and valid
    /// in any case (RFC 9112 sections 3.2 and 3.2.2). Both must agree: a server that goes by the
    /// field, as Node's does, would serve another host than the one routed by.
    fn effective_host(&self) -> Result<Option<Cow<'b, str>>, &'static str> {
        let mut values = self.headers("host");
        let field = match values.next() {
            None if self.minor_version > 0 => return Err("no Host field"),
            None | Some(b"") => None,
            Some(value) => Some(host::normalise(value)?),
        };
        // Two of the same are passed on: whichever a server takes, it is the one routed by.
        let first = self.header("host");
        if values.any(|value| Some(value) != first) {
            return Err("two different Host fields");
        }
        let authority = match self.method {
            "CONNECT" => Some(self.target),
            _ => self.absolute_form().map(|(authority, _)| authority),
        };
        if let Some(authority) = authority {
            let host = host::normalise(authority.as_bytes())?;
            let agrees = first.is_none() || field.as_ref() == Some(&host);
            return if agrees {
                Ok(Some(host))
            } else {
                Err("Host field is not that of the target")
            };
        }
        if self.target.starts_with('/') || self.target == "*" {
            return Ok(field);
        }
        Err("request target is invalid")
    }
}

/// Value of the cookie if `pair` (`name=value`) names it, without white space and quotes around.
pub(super) fn cookie_value<'b>(pair: &'b [u8], name: &str) -> Option<&'b [u8]> {
    let equals = memchr::memchr(b'=', pair)?;
    if pair[..equals].trim_ascii() != name.as_bytes() {
        return None;
    }
    let value = pair[equals + 1..].trim_ascii();
    Some(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value))
}

/// Elements of a comma-separated list (RFC 9110 section 5.6.1), empty ones left out.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// A token (RFC 9110 section 5.6.2).
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_tchar(byte))
}

fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
