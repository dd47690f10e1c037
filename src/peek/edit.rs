//! Changes to a head that is still held, before it is passed on.
//!
//! Never re-writes what it does not change: every other byte stays, in order and in its case, and
//! so does everything behind the head. Never decides whether to edit: the caller says what.

use std::net::IpAddr;

use super::http_head::{Field, RequestHead, list};
use super::response_head::ResponseHead;

/// What to change in a request head.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestEdit<'a> {
    /// Make this the only request of its connection (`Connection: close`, RFC 9112 section 9.6).
    /// A WebSocket upgrade is exempt; any other upgrade is taken out, or the server could accept
    /// it and leave HTTP.
    pub close: bool,
    /// Say where the request comes from.
    pub forwarded: Option<ForwardedEdit<'a>>,
}

/// The X-Forwarded-For and X-Forwarded-Proto fields.
#[derive(Clone, Copy, Debug)]
pub struct ForwardedEdit<'a> {
    /// Address of the client.
    pub client: IpAddr,
    /// Take out what the client sent, also with `_` for `-`, instead of adding to X-Forwarded-For
    /// and keeping X-Forwarded-Proto.
    pub replace: bool,
    /// `http` or `https`.
    pub proto: &'a str,
}

/// What to change in a response head.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseEdit<'a> {
    /// Make this the last response of its connection. 101 and interim responses are exempt.
    pub close: bool,
    /// Value of a Set-Cookie field to add; interim responses are exempt. No CR or LF in it.
    pub set_cookie: Option<&'a str>,
}

/// Appends `bytes`, of which `head` was read, with the changed head to `out`.
pub fn request(bytes: &[u8], head: &RequestHead<'_>, edit: &RequestEdit<'_>, out: &mut Vec<u8>) {
    let close = edit.close && !head.websocket;
    let forwarded_for = edit.forwarded.map(|forwarded| forwarded_for(head, &forwarded));
    let keeps_proto = edit.forwarded.is_none_or(|forwarded| !forwarded.replace);
    let mut writer = Writer::new(bytes, head.start, head.end, out);
    let mut done = Done {
        close: !close,
        forwarded_for: edit.forwarded.is_none(),
        forwarded_proto: edit.forwarded.is_none(),
    };
    for field in &head.fields {
        match Known::of(field.name) {
            Known::Connection if close || edit.forwarded.is_some() => {
                let drop = |token: &[u8]| {
                    close && is_any(token, &["keep-alive", "close", "upgrade"])
                        || edit.forwarded.is_some() && is_forwarded(token)
                };
                writer.connection(field, drop, !std::mem::replace(&mut done.close, true));
            }
            Known::KeepAlive | Known::Upgrade if close => writer.skip(),
            Known::ForwardedFor => match &forwarded_for {
                Some(_) if std::mem::replace(&mut done.forwarded_for, true) => writer.skip(),
                Some(value) => writer.replace(field.name, value),
                None => writer.keep(),
            },
            Known::ForwardedProto if keeps_proto => {
                done.forwarded_proto = true;
                writer.keep();
            }
            Known::ForwardedProto => writer.skip(),
            Known::LooksForwarded if !keeps_proto => writer.skip(),
            _ => writer.keep(),
        }
    }
    if !done.close {
        writer.add("Connection", b"close");
    }
    if let Some(value) = forwarded_for.filter(|_| !done.forwarded_for) {
        writer.add("X-Forwarded-For", &value);
    }
    if let Some(forwarded) = edit.forwarded.filter(|_| !done.forwarded_proto) {
        writer.add("X-Forwarded-Proto", forwarded.proto.as_bytes());
    }
    writer.finish();
}

/// Appends `bytes`, of which `head` was read, with the changed head to `out`.
pub fn response(bytes: &[u8], head: &ResponseHead<'_>, edit: &ResponseEdit<'_>, out: &mut Vec<u8>) {
    let close = edit.close && !head.interim() && head.status != 101;
    let mut writer = Writer::new(bytes, 0, head.end, out);
    let mut closed = !close;
    for field in &head.fields {
        match Known::of(field.name) {
            Known::Connection if close => {
                // `upgrade` stays: a 426 has to name what it asks for (RFC 9110 15.5.22).
                let drop = |token: &[u8]| is_any(token, &["keep-alive", "close"]);
                writer.connection(field, drop, !std::mem::replace(&mut closed, true));
            }
            Known::KeepAlive if close => writer.skip(),
            _ => writer.keep(),
        }
    }
    if !closed {
        writer.add("Connection", b"close");
    }
    if let Some(cookie) = edit.set_cookie.filter(|_| !head.interim()) {
        writer.add("Set-Cookie", cookie.as_bytes());
    }
    writer.finish();
}

/// True exactly when the head so far says it, or need not.
struct Done {
    close: bool,
    forwarded_for: bool,
    forwarded_proto: bool,
}

/// Fields an edit may change.
enum Known {
    Connection,
    /// Keep-Alive, or Proxy-Connection, which some clients still send and some servers obey.
    KeepAlive,
    Upgrade,
    ForwardedFor,
    ForwardedProto,
    /// One of these to a server that takes `_` for `-`, as CGI and what descends from it does
    /// (RFC 3875 section 4.1.18).
    LooksForwarded,
    Other,
}

impl Known {
    fn of(name: &str) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("connection") {
            Self::Connection
        } else if is("keep-alive") || is("proxy-connection") {
            Self::KeepAlive
        } else if is("upgrade") {
            Self::Upgrade
        } else if is("x-forwarded-for") {
            Self::ForwardedFor
        } else if is("x-forwarded-proto") {
            Self::ForwardedProto
        } else if looks_like(name, "x-forwarded-for") || looks_like(name, "x-forwarded-proto") {
            Self::LooksForwarded
        } else {
            Self::Other
        }
    }
}

fn looks_like(name: &str, known: &str) -> bool {
    let alike = |(a, b): (u8, u8)| a.eq_ignore_ascii_case(&b) || (a, b) == (b'_', b'-');
    name.len() == known.len() && name.bytes().zip(known.bytes()).all(alike)
}

/// A Connection token that would make the next hop drop the fields added here.
fn is_forwarded(token: &[u8]) -> bool {
    is_any(token, &["x-forwarded-for", "x-forwarded-proto"])
}

fn is_any(token: &[u8], words: &[&str]) -> bool {
    words.iter().any(|word| token.eq_ignore_ascii_case(word.as_bytes()))
}

/// The one X-Forwarded-For value: what came in it, unless it is replaced, and `client`.
fn forwarded_for(head: &RequestHead<'_>, edit: &ForwardedEdit<'_>) -> Vec<u8> {
    let mut value = Vec::new();
    if !edit.replace {
        for hop in head.headers("x-forwarded-for").flat_map(list) {
            value.extend_from_slice(hop);
            value.extend_from_slice(b", ");
        }
    }
    value.extend_from_slice(edit.client.to_canonical().to_string().as_bytes());
    value
}

/// Copies a head line by line. Its lines and the fields read from them are in step, since a head
/// with folded lines or bare LF is never read as one.
struct Writer<'b, 'o> {
    /// Lines not yet copied, each with its CR LF; the last one is the empty line.
    lines: &'b [u8],
    /// What is behind the head.
    rest: &'b [u8],
    out: &'o mut Vec<u8>,
}

impl<'b, 'o> Writer<'b, 'o> {
    /// Has copied what is before `start`, and the start line.
    fn new(bytes: &'b [u8], start: usize, end: usize, out: &'o mut Vec<u8>) -> Self {
        out.reserve(bytes.len() + 128);
        out.extend_from_slice(&bytes[..start]);
        let mut writer = Self { lines: &bytes[start..end], rest: &bytes[end..], out };
        writer.keep();
        writer
    }

    fn line(&mut self) -> &'b [u8] {
        let end = memchr::memchr(b'\n', self.lines).map_or(self.lines.len(), |at| at + 1);
        let (line, lines) = self.lines.split_at(end);
        self.lines = lines;
        line
    }

    fn keep(&mut self) {
        let line = self.line();
        self.out.extend_from_slice(line);
    }

    fn skip(&mut self) {
        self.line();
    }

    fn replace(&mut self, name: &str, value: &[u8]) {
        self.skip();
        self.add(name, value);
    }

    /// A Connection line without the tokens `drop` names, with `close` if it is to carry it, and
    /// left out if nothing remains of it.
    fn connection(&mut self, field: &Field<'_>, drop: impl Fn(&[u8]) -> bool, close: bool) {
        let mut dropped = false;
        let mut tokens: Vec<&[u8]> = Vec::new();
        for token in list(field.value) {
            if drop(token) { dropped = true } else { tokens.push(token) }
        }
        if close {
            tokens.push(b"close");
        }
        if !dropped && !close {
            self.keep();
        } else if tokens.is_empty() {
            self.skip();
        } else {
            self.replace(field.name, &tokens.join(&b", "[..]));
        }
    }

    fn add(&mut self, name: &str, value: &[u8]) {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
    }

    /// The empty line, and everything behind it.
    fn finish(self) {
        self.out.extend_from_slice(self.lines);
        self.out.extend_from_slice(self.rest);
    }
}

#[cfg(test)]
mod tests;
