//! One HTTP request, and what is answered to it.

use super::Role;
use super::polling::{Sessions, parameter};
use crate::Result;
use crate::websocket::{ACCEPT, KEY};

/// A request that has arrived whole.
pub(super) struct Request<'a> {
    pub(super) post: bool,
    pub(super) target: String,
    pub(super) upgrade: bool,
    pub(super) close: bool,
    pub(super) body: &'a [u8],
    /// Bytes of head and body.
    pub(super) length: usize,
}

/// What goes out: `bytes`, then `body` bytes of the pattern.
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    pub(super) body: u64,
    pub(super) closing: bool,
    pub(super) role: Role,
}

impl<'a> Request<'a> {
    /// The first request in `input`; `None` while it is not there whole.
    pub(super) fn read(input: &'a [u8]) -> Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(length) = head.parse(input)? else {
            return Ok(None);
        };
        let (mut upgrade, mut key, mut body) = (false, false, 0);
        let mut close = head.version == Some(0);
        for header in head.headers.iter() {
            let value = str::from_utf8(header.value)?;
            match header.name.to_ascii_lowercase().as_str() {
                "content-length" => body = value.parse()?,
                "connection" => close = value.eq_ignore_ascii_case("close"),
                "upgrade" => upgrade = value.eq_ignore_ascii_case("websocket"),
                "sec-websocket-key" => key = value == KEY,
                _ => {}
            }
        }
        let target = head.path.ok_or("no target")?.to_owned();
        Ok(input.get(length..length + body).map(|bytes| Self {
            post: head.method == Some("POST"),
            target,
            upgrade: upgrade && key,
            close,
            body: bytes,
            length: length + body,
        }))
    }
}

pub(super) fn answer(request: &Request<'_>, sessions: &mut Sessions) -> Answer {
    if request.upgrade {
        let bytes = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
        );
        let role = if request.target == "/fan" { Role::Fan } else { Role::Echo };
        return Answer { bytes: bytes.into_bytes(), body: 0, closing: false, role };
    }
    if request.target.starts_with("/socket.io/") {
        let sid = parameter(&request.target, "sid");
        return match sessions.answer(sid, request.post, request.body) {
            Some(text) => whole(request, "200 OK", &text),
            None => {
                whole(request, "400 Bad Request", br#"{"code":1,"message":"Session ID unknown"}"#)
            }
        };
    }
    match request.target[1..].parse::<u64>() {
        Ok(length) => {
            Answer { body: length, ..head(request, "200 OK", length, "application/octet-stream") }
        }
        Err(_) => whole(request, "404 Not Found", b""),
    }
}

/// An answer with this body.
fn whole(request: &Request<'_>, status: &str, body: &[u8]) -> Answer {
    let mut answer = head(request, status, body.len() as u64, "text/plain; charset=UTF-8");
    answer.bytes.extend_from_slice(body);
    answer
}

fn head(request: &Request<'_>, status: &str, length: u64, kind: &str) -> Answer {
    let connection = if request.close { "close" } else { "keep-alive" };
    let bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: {connection}\r\n\r\n"
    );
    Answer { bytes: bytes.into_bytes(), body: 0, closing: request.close, role: Role::Http }
}
