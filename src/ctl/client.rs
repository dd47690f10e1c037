//! The client side of the admin endpoint: one request, one connection, one answer; or events, one
//! by one, for as long as they come.
//!
//! No retry: whoever asks knows whether to ask again.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Response};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::cli::Endpoint;
use crate::config::Address;

/// Names the endpoint where the command line does not.
pub const VARIABLE: &str = "RINGWAY_ADMIN";

/// Where the unit that `make install` brings has it.
const SOCKET: &str = "/run/ringway/admin.sock";

/// Where `ringway demo` has it.
const LOOPBACK: &str = "127.0.0.1:9080";

/// Seconds for an answer that nothing has to be waited for: the endpoint's own time for a worker
/// that is silent is two.
const PATIENCE_S: u64 = 10;

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// GET, or what changes something.
    pub method: Method,
    /// With the query.
    pub path: String,
    /// JSON.
    pub body: Option<Value>,
    /// How long the answer may take beyond what any may.
    pub wait: Duration,
}

impl Request {
    /// Of what changes nothing.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Without a body.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), body: None, wait: Duration::ZERO }
    }

    /// With a body.
    #[must_use]
    pub fn with(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    /// With a parameter of the query, where there is a value for it.
    #[must_use]
    pub fn asking(mut self, name: &str, value: Option<impl fmt::Display>) -> Self {
        if let Some(value) = value {
            let separator = if self.path.contains('?') { '&' } else { '?' };
            let value = escaped(&value.to_string());
            self.path.push_str(&format!("{separator}{name}={value}"));
        }
        self
    }

    /// Which may take so long.
    #[must_use]
    pub fn within(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }
}

/// As one segment of a path, or one value of a query.
pub fn escaped(text: &str) -> String {
    // What a server's address is made of stays readable.
    const PLAIN: &percent_encoding::AsciiSet =
        &NON_ALPHANUMERIC.remove(b'.').remove(b':').remove(b'-').remove(b'_');
    utf8_percent_encode(text, PLAIN).to_string()
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// As it is.
    pub text: String,
}

impl Answer {
    /// It is what was asked for.
    pub fn is_done(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The text as JSON; a string where it is none.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| Value::String(self.text.clone()))
    }
}

/// No ringway answers: where that was tried, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable(pub String);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the endpoint is, and how that is known.
#[derive(Debug)]
pub struct Client {
    address: Address,
    /// Behind the address in messages.
    origin: &'static str,
    token: Option<HeaderValue>,
}

impl Client {
    /// As the command line says, or the environment, or what is there.
    ///
    /// # Errors
    /// The variable holds no address, or the token cannot be read.
    pub fn new(endpoint: &Endpoint) -> Result<Self, String> {
        let (address, origin) = match &endpoint.admin {
            Some(address) => (address.clone(), ""),
            None => match std::env::var(VARIABLE) {
                Ok(written) => {
                    let address = written.parse().map_err(|why| format!("{VARIABLE}: {why}"))?;
                    (address, " (as RINGWAY_ADMIN says)")
                }
                Err(_) if Path::new(SOCKET).exists() => {
                    (Address::Unix(SOCKET.into()), " (that socket is there)")
                }
                Err(_) => (
                    LOOPBACK.parse().expect("it is an address"),
                    " (neither --admin nor RINGWAY_ADMIN says where, and there is no \
                     /run/ringway/admin.sock)",
                ),
            },
        };
        let token = endpoint.token_file.as_deref().map(token).transpose()?;
        Ok(Self { address, origin, token })
    }

    /// Where it asks.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Asks, and waits for the whole answer.
    ///
    /// # Errors
    /// Nobody answers, or what does is no HTTP server, or it takes too long.
    pub async fn ask(&self, request: &Request) -> Result<Answer, Unreachable> {
        let patience = Duration::from_secs(PATIENCE_S) + request.wait;
        let exchange = async {
            let response = self.send(request).await?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.map_err(|e| self.broken(&e))?;
            let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            Ok(Answer { status, text })
        };
        timeout(patience, exchange).await.unwrap_or_else(|_| {
            Err(self.unreachable(&format!("no answer within {} s", patience.as_secs())))
        })
    }

    /// Follows events; the answer instead of them where they are refused.
    ///
    /// # Errors
    /// As [`Client::ask`], apart from the time.
    pub async fn follow(&self) -> Result<Result<Events, Answer>, Unreachable> {
        let response = self.send(&Request::get("/v1/events")).await?;
        let status = response.status().as_u16();
        if status == 200 {
            let body = response.into_body();
            return Ok(Ok(Events { body, rest: Vec::new(), event: String::new() }));
        }
        let body = response.into_body().collect().await.map_err(|e| self.broken(&e))?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok(Err(Answer { status, text }))
    }

    async fn send(&self, request: &Request) -> Result<Response<Incoming>, Unreachable> {
        match &self.address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await;
                self.exchange(stream.map_err(|error| self.refused(&error))?, request).await
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                self.exchange(stream.map_err(|error| self.refused(&error))?, request).await
            }
        }
    }

    async fn exchange<S>(
        &self,
        stream: S,
        request: &Request,
    ) -> Result<Response<Incoming>, Unreachable>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| self.broken(&error))?;
        // It ends with the answer's body; what goes wrong on it is told there too.
        tokio::spawn(connection);
        let body = request.body.as_ref().map(Value::to_string).unwrap_or_default();
        let mut head = hyper::Request::builder()
            .method(request.method.clone())
            .uri(&request.path)
            .header(HOST, "localhost");
        if request.method != Method::GET {
            head = head.header(CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            head = head.header(AUTHORIZATION, token);
        }
        let whole = head.body(Full::new(Bytes::from(body)));
        let whole = whole.map_err(|error| self.unreachable(&error.to_string()))?;
        sender.send_request(whole).await.map_err(|error| self.broken(&error))
    }

    fn refused(&self, error: &io::Error) -> Unreachable {
        let why = match error.kind() {
            ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
            ErrorKind::NotFound => "there is no such socket".to_owned(),
            ErrorKind::PermissionDenied => {
                "permission denied: it is for ringway's own user and group".to_owned()
            }
            _ => error.to_string(),
        };
        self.unreachable(&why)
    }

    fn broken(&self, error: &hyper::Error) -> Unreachable {
        use std::error::Error;
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        self.unreachable(&format!("{error}{cause}"))
    }

    fn unreachable(&self, why: &str) -> Unreachable {
        Unreachable(format!("no ringway answers at {}{}: {why}", self.address, self.origin))
    }
}

fn token(path: &Path) -> Result<HeaderValue, String> {
    let place = || format!("--token-file: {}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", place()))?;
    let value = HeaderValue::from_str(&format!("Bearer {}", text.trim()));
    let mut value = value.map_err(|_| format!("{}: there is no token in it", place()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Server-sent events (HTML, section 9.2), of which the endpoint sends names and one line of data.
pub struct Events {
    body: Incoming,
    /// Bytes behind the last whole line.
    rest: Vec<u8>,
    /// Name of the one that has begun.
    event: String,
}

impl Events {
    /// Its name and its data; `None`: no more will come.
    pub async fn next(&mut self) -> Option<(String, String)> {
        loop {
            while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                match line.trim_end().split_once(": ") {
                    Some(("event", name)) => name.clone_into(&mut self.event),
                    Some(("data", data)) => {
                        return Some((std::mem::take(&mut self.event), data.to_owned()));
                    }
                    _ => {}
                }
            }
            let frame = self.body.frame().await?.ok()?;
            self.rest.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_a_path_are_escaped() {
        assert_eq!(escaped("127.0.0.1:80"), "127.0.0.1:80");
        assert_eq!(escaped("unix:/run/a b?.sock"), "unix:%2Frun%2Fa%20b%3F.sock");
        let request = Request::get("/v1/sessions").asking("client", Some("10.0.0.0/8"));
        let request = request.asking("pool", None::<&str>).asking("key", Some("a=b&c"));
        assert_eq!(request.path, "/v1/sessions?client=10.0.0.0%2F8&key=a%3Db%26c");
    }

    #[test]
    fn the_command_line_comes_first() {
        let endpoint = Endpoint { admin: Some("[::1]:80".parse().unwrap()), token_file: None };
        let client = Client::new(&endpoint).unwrap();
        assert_eq!(client.address().to_string(), "[::1]:80");
        let Unreachable(said) = client.refused(&ErrorKind::ConnectionRefused.into());
        assert_eq!(said, "no ringway answers at [::1]:80: nobody listens there");
    }
}
