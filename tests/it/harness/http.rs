//! HTTP/1 as tests need it: a server that says its name and keeps what it was asked, and a client.

use std::io::Read;
use std::sync::{Arc, Mutex};

use super::server::{Server, Serving};
use super::{Peer, eventually};

/// A request as a server got it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// A response as a client got it.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// A request head; `None` where the connection ends before.
pub(crate) fn request_head(peer: &mut Peer) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match peer.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

impl Request {
    /// `None` at the end of the connection.
    fn read(peer: &mut Peer) -> Option<Self> {
        let head = request_head(peer)?;
        let length = field(&head, "content-length").map_or(0, |v| v.parse().expect("a number"));
        let mut body = vec![0; length];
        peer.read_exact(&mut body).ok()?;
        Some(Self { head, body })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// Every value of a field, in order.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        fields(&self.head, name).collect()
    }
}

impl Response {
    #[track_caller]
    pub(crate) fn read(peer: &mut Peer) -> Self {
        let head = peer.head();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {head:?}"));
        let length = field(&head, "content-length").map(|v| v.parse::<usize>().expect("a number"));
        let body = match length {
            _ if status == 101 || status == 204 => Vec::new(),
            Some(length) => {
                let mut body = vec![0; length];
                peer.read_exact(&mut body).expect("the whole body");
                body
            }
            None => peer.rest(),
        };
        Self { status, head, body }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// Every value of a field, in order.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        fields(&self.head, name).collect()
    }

    /// The body, which is the server's name where an [`HttpServer`] answered.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    fields(head, name).next()
}

fn fields<'h>(head: &'h str, name: &str) -> impl Iterator<Item = &'h str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter_map(move |(key, value)| key.eq_ignore_ascii_case(name).then_some(value.trim()))
}

/// The text of a GET with these further field lines; the Host is `test` unless they name one.
pub(crate) fn get(path: &str, fields: &[&str]) -> String {
    let named = fields.iter().any(|field| field.to_ascii_lowercase().starts_with("host:"));
    let host = if named { "" } else { "Host: test\r\n" };
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("GET {path} HTTP/1.1\r\n{host}{fields}\r\n")
}

/// Answers every request with 200 and its name, and keeps connections alive.
pub(crate) struct HttpServer {
    name: String,
    serving: Serving,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl HttpServer {
    pub(crate) fn named(name: &str) -> Self {
        Self::answering(name, "")
    }

    /// Adds `fields`, lines that end in CRLF, to each response head.
    pub(crate) fn answering(name: &str, fields: &str) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        let length = name.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{fields}\r\n{name}");
        let serving = Server::listen().serve(move |mut peer| {
            while let Some(request) = Request::read(&mut peer) {
                let last = request
                    .header("connection")
                    .is_some_and(|value| value.to_ascii_lowercase().contains("close"));
                kept.lock().unwrap().push(request);
                peer.send(&answer);
                if last {
                    return;
                }
            }
        });
        Self { name: name.to_owned(), serving, requests }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn address(&self) -> String {
        self.serving.address()
    }

    pub(crate) fn accepted(&self) -> usize {
        self.serving.accepted()
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The latest request.
    pub(crate) fn request(&self) -> Request {
        eventually("a request", || self.requests.lock().unwrap().last().cloned())
    }
}
