//! One check of one server: connects, perhaps asks, and closes.
//!
//! Whatever a server does, it costs no more than the memory and the time that are set here: it may
//! lie, send a byte a second, or never answer.

mod body;
#[cfg(all(test, not(ringway_loom)))]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use httparse::{EMPTY_HEADER, Header, Response, Status};
use memchr::memmem;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::timeout;

use crate::config::{Address, Check, Health};
use crate::peek::proxy_protocol;
use crate::sys::{Fault, socket};
use body::Body;

/// Bytes of a response head: what Node takes as a request head.
const HEAD_MAX: usize = 16 << 10;

/// Header fields of a response; twice what busy sites send.
const FIELDS_MAX: usize = 100;

/// Bytes read at once.
const READ: usize = 4 << 10;

/// Milliseconds a server has to close once it has answered. Whoever closes first keeps the
/// connection's address for a minute (TIME_WAIT); one that does not is reset.
const FAREWELL_MS: u64 = 200;

/// Bytes of an answer that are thrown away before that.
const FAREWELL_BYTES: u64 = 1 << 20;

/// What is checked, and how.
#[derive(Debug, PartialEq)]
pub(super) struct Probe {
    address: Address,
    /// Where the pool's sessions come from: of its addresses, the first of the server's family.
    source: Option<IpAddr>,
    pub(super) spec: Arc<Health>,
    /// Sent once connected; may be empty.
    request: Vec<u8>,
}

impl Probe {
    /// At the server's address, or another port of it. `sources`: those that the pool lists.
    pub(super) fn new(server: &Address, sources: &[IpAddr], spec: Arc<Health>) -> Self {
        let (mut address, mut source) = (server.clone(), None);
        if let Address::Tcp(address) = &mut address {
            address.set_port(spec.port.unwrap_or(address.port()));
            source = sources.iter().copied().find(|ip| ip.is_ipv4() == address.is_ipv4());
        }
        let mut request = Vec::new();
        if let Some(version) = spec.send_proxy {
            proxy_protocol::write_local(version, &mut request);
        }
        if let Check::Http { path, host, .. } = &spec.check {
            let of_server = match server {
                Address::Tcp(address) => address.to_string(),
                Address::Unix(_) => "localhost".to_owned(),
            };
            let host = host.as_ref().unwrap_or(&of_server);
            let version = env!("CARGO_PKG_VERSION");
            let text = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ringway/{version}\r\n\
                 Accept: */*\r\nConnection: close\r\n\r\n"
            );
            request.extend_from_slice(text.as_bytes());
        }
        Self { address, source, spec, request }
    }

    /// Makes the check.
    ///
    /// # Errors
    /// Why the server does not work.
    pub(super) async fn run(&self) -> Result<(), String> {
        match &self.address {
            Address::Tcp(address) => {
                let (mut stream, said) = self
                    .in_time(async {
                        let mut stream = self.connect(*address).await.map_err(cause)?;
                        // The kernel may have chosen the server's port as ours: with nobody there,
                        // a connection to itself.
                        if stream.local_addr().is_ok_and(|local| local == *address) {
                            return Err(Fault::Refused.to_string());
                        }
                        // From here on closing resets, and leaves nothing behind.
                        stream.set_zero_linger().map_err(cause)?;
                        let said = self.ask(&mut stream).await;
                        Ok((stream, said))
                    })
                    .await?;
                if self.spec.check != Check::Tcp && has_ended(&mut stream).await {
                    // Fails on no socket that was connected.
                    let _ = SockRef::from(&stream).set_linger(None);
                }
                said
            }
            Address::Unix(path) => {
                self.in_time(async {
                    let mut stream = UnixStream::connect(path).await.map_err(cause)?;
                    self.ask(&mut stream).await
                })
                .await
            }
        }
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let Some(source) = self.source else { return TcpStream::connect(address).await };
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket::bind_address_of(&socket, source)?;
        socket.connect(address).await
    }

    async fn in_time<T>(
        &self,
        check: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        let wait_ms = self.spec.timeout_ms;
        match timeout(Duration::from_millis(wait_ms.into()), check).await {
            Ok(said) => said,
            Err(_) => Err(format!("no answer within {wait_ms} ms")),
        }
    }

    async fn ask<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) -> Result<(), String> {
        if !self.request.is_empty() {
            stream.write_all(&self.request).await.map_err(cause)?;
        }
        let Check::Http { status, body, .. } = &self.spec.check else { return Ok(()) };
        let mut received = Vec::new();
        let mut framing = loop {
            let head = read_head(stream, &mut received).await?;
            let (code, framing) = parse_head(&received[..head])?;
            received.drain(..head);
            // What comes before the answer (RFC 9110 section 15.2).
            if (100..200).contains(&code) && code != 101 {
                continue;
            }
            if !is_one_of(code, status) {
                return Err(format!("status {code}"));
            }
            break framing;
        };
        let Some(wanted) = body else { return Ok(()) };
        let lacks = || format!("the body lacks {wanted:?}");
        loop {
            match framing.take_in(&mut received, wanted.as_bytes())? {
                body::Found::Yes => return Ok(()),
                body::Found::Never => return Err(lacks()),
                body::Found::NotYet if read(stream, &mut received).await? == 0 => {
                    return Err(lacks());
                }
                body::Found::NotYet => {}
            }
        }
    }
}

/// Reads until a head is whole; its length.
async fn read_head<S: AsyncRead + Unpin>(
    stream: &mut S,
    received: &mut Vec<u8>,
) -> Result<usize, String> {
    const END: &[u8] = b"\r\n\r\n";
    let mut looked = 0_usize;
    loop {
        let from = looked.saturating_sub(END.len() - 1);
        if let Some(at) = memmem::find(&received[from..], END) {
            return Ok(from + at + END.len());
        }
        looked = received.len();
        if looked >= HEAD_MAX {
            return Err(format!("its head has more than {HEAD_MAX} bytes"));
        }
        if read(stream, received).await? == 0 {
            return Err(match looked {
                0 => "closed without an answer".to_owned(),
                _ => "closed within its head".to_owned(),
            });
        }
    }
}

fn parse_head(bytes: &[u8]) -> Result<(u16, Body), String> {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut response = Response::new(&mut fields);
    match response.parse(bytes) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) | Err(_) => return Err("its answer is not HTTP".to_owned()),
    }
    let code = response.code.unwrap_or(0);
    let value = |name: &str| {
        let mut all = response.headers.iter();
        all.find(|Header { name: its, .. }| its.eq_ignore_ascii_case(name)).map(|field| field.value)
    };
    let is_chunked = value("transfer-encoding")
        .is_some_and(|codings| codings.to_ascii_lowercase().ends_with(b"chunked"));
    let length = value("content-length").and_then(|length| std::str::from_utf8(length).ok());
    let length = length.and_then(|length| length.trim().parse().ok());
    Ok((code, Body::new(is_chunked, length)))
}

fn is_one_of(code: u16, status: &[RangeInclusive<u16>]) -> bool {
    status.iter().any(|range| range.contains(&code))
}

/// Reads some more; 0 at the end.
async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    received: &mut Vec<u8>,
) -> Result<usize, String> {
    let from = received.len();
    received.resize(from + READ, 0);
    let count = stream.read(&mut received[from..]).await.map_err(cause);
    received.truncate(from + count.as_ref().map_or(0, |&count| count));
    count
}

/// Whether the server closes by itself, soon.
async fn has_ended(stream: &mut TcpStream) -> bool {
    let mut rest = [0; READ];
    let mut left = FAREWELL_BYTES;
    let drained = timeout(Duration::from_millis(FAREWELL_MS), async {
        while left > 0 {
            match stream.read(&mut rest).await {
                Ok(0) => return true,
                Ok(count) => left = left.saturating_sub(count as u64),
                Err(_) => return false,
            }
        }
        false
    });
    drained.await.unwrap_or(false)
}

/// What went wrong, in the words of session lines.
fn cause(error: io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => Fault::from_errno(errno).to_string(),
        None => error.to_string(),
    }
}
