//! The admin endpoint as a test asks it.

use serde_json::Value;

use super::{Peer, Response};

/// Where it is.
#[derive(Clone)]
pub(crate) struct Admin {
    address: String,
    /// Shown with each request.
    token: Option<String>,
}

impl Admin {
    /// As ringway says it: an address, or `unix:` and a path.
    pub(crate) fn at(address: &str) -> Self {
        Self { address: address.to_owned(), token: None }
    }

    pub(crate) fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    pub(crate) fn connect(&self) -> Peer {
        match self.address.strip_prefix("unix:") {
            Some(path) => Peer::connect_unix(path.as_ref()),
            None => Peer::connect(self.address.parse().expect("an address")),
        }
    }

    /// The answer to a request with exactly these lines in its head.
    #[track_caller]
    pub(crate) fn raw(&self, line: &str, fields: &[&str], body: &str) -> Response {
        let mut peer = self.connect();
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let length = if body.is_empty() { 0 } else { body.len() };
        let length = format!("Content-Length: {length}\r\nConnection: close\r\n");
        peer.send(format!("{line} HTTP/1.1\r\n{fields}{length}\r\n{body}"));
        peer.response()
    }

    /// The status and the answer as JSON, where it is some.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let token = self.token.as_ref().map(|token| format!("Authorization: Bearer {token}"));
        let mut fields = vec!["Host: localhost", "Content-Type: application/json"];
        fields.extend(token.as_deref());
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.raw(&format!("{method} {path}"), &fields, &body);
        let json = serde_json::from_slice(&response.body);
        (response.status, json.unwrap_or_else(|_| Value::String(response.text())))
    }

    /// What a GET must answer.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, &Value::Null);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// What a request must answer that changes something.
    #[track_caller]
    pub(crate) fn must(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(method, path, body);
        assert_eq!(status, 200, "{method} {path} {body}: {answer}");
        answer
    }

    /// Status and text of what must be refused.
    #[track_caller]
    pub(crate) fn refused(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let (status, answer) = self.ask(method, path, body);
        assert!(status >= 400, "{method} {path} {body}: {answer}");
        let text = answer["error"].as_str();
        (status, text.unwrap_or_else(|| panic!("no error in {answer}")).to_owned())
    }

    /// The view of a server of any pool.
    #[track_caller]
    pub(crate) fn server(&self, address: &str) -> Value {
        let servers = self.get("/v1/servers");
        let found = servers.as_array().expect("a list").iter().find(|s| s["address"] == address);
        found.unwrap_or_else(|| panic!("no {address} in {servers}")).clone()
    }
}
