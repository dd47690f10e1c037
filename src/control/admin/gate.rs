//! Who is let in: the checks in front of every handler, and the body read whole behind them.
//!
//! A page of another origin must be able to do nothing, even in a browser on this host: it reads no
//! answer, since nothing here allows it to; it reaches a loopback address by a name of its own
//! (DNS rebinding), which the Host check sees; and it can send no changing request, since those
//! must be of a type that a browser asks for leave to send.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::BODY_MAX_BYTES;
use super::problem::Problem;

/// Milliseconds within which a body must be there: as long as for a head.
pub(super) const BODY_TIMEOUT_MS: u64 = super::HEAD_TIMEOUT_MS;

/// What anyone may have: a word, and a page that has no data in it.
const OPEN: [&str; 3] = ["/healthz", "/readyz", "/"];

/// What is asked of everybody who comes this way.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) token: Option<Arc<str>>,
    /// Not a unix socket, which no browser opens.
    pub(super) is_tcp: bool,
}

/// The middleware around all routes.
pub(super) async fn check(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    match gate.admit(request).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

impl Gate {
    async fn admit(&self, request: Request) -> Result<Request, Problem> {
        let (parts, body) = request.into_parts();
        match &self.token {
            Some(token) if !OPEN.contains(&parts.uri.path()) => shows(&parts.headers, token)?,
            // Nobody else's page knows the token, so with one any name will do.
            Some(_) => {}
            None if self.is_tcp => names_us(&parts.headers)?,
            None => {}
        }
        if matches!(parts.method, Method::GET | Method::HEAD) {
            return Ok(Request::from_parts(parts, Body::empty()));
        }
        is_json(&parts.headers)?;
        let whole = axum::body::to_bytes(body, BODY_MAX_BYTES);
        let time = Duration::from_millis(BODY_TIMEOUT_MS);
        let whole = tokio::time::timeout(time, whole).await.map_err(|_| {
            let text = format!("the body was not there within {BODY_TIMEOUT_MS} ms");
            Problem::new(StatusCode::REQUEST_TIMEOUT, text)
        })?;
        let whole = whole.map_err(|_| {
            let text = format!("the body must have at most {BODY_MAX_BYTES} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text)
        })?;
        Ok(Request::from_parts(parts, Body::from(whole)))
    }
}

/// The token, compared in a time that tells nothing of it.
fn shows(headers: &HeaderMap, token: &str) -> Result<(), Problem> {
    let unauthorized = |text: &str| Problem::new(StatusCode::UNAUTHORIZED, text);
    let shown = headers.get(AUTHORIZATION);
    let shown = shown.ok_or_else(|| unauthorized("needs \"Authorization: Bearer TOKEN\""))?;
    let shown = shown.as_bytes();
    let is_bearer = shown.get(..7).is_some_and(|word| word.eq_ignore_ascii_case(b"bearer "));
    if !is_bearer {
        return Err(unauthorized("needs \"Authorization: Bearer TOKEN\""));
    }
    let digest = |bytes: &[u8]| {
        let mac = Hmac::<Sha256>::new_from_slice(b"ringway").expect("any length is a key");
        mac.chain_update(bytes)
    };
    let expected = digest(token.as_bytes()).finalize().into_bytes();
    let is_right = digest(shown[7..].trim_ascii()).verify(&expected).is_ok();
    if is_right { Ok(()) } else { Err(unauthorized("that is not the token")) }
}

/// An address, or localhost: names that others can make up lead nowhere.
fn names_us(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(host) = headers.get(HOST) else { return Ok(()) };
    let host = host.to_str().unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if bare.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost") {
        return Ok(());
    }
    let text = format!("the Host must be an IP address or localhost, is {host:?}");
    Err(Problem::new(StatusCode::FORBIDDEN, text))
}

fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let text = "a request that may change something needs \"Content-Type: application/json\"";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: axum::http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn hosts_that_others_can_make_up_are_refused() {
        let right =
            ["127.0.0.1", "127.0.0.1:9080", "[::1]:9080", "[::1]", "localhost", "LocalHost:80"];
        for host in right {
            assert!(names_us(&headers(HOST, host)).is_ok(), "{host}");
        }
        let wrong = ["example.com", "example.com:9080", "127.0.0.1.example.com", "localhost.x", ""];
        for host in wrong {
            assert!(names_us(&headers(HOST, host)).is_err(), "{host}");
        }
    }

    #[test]
    fn the_token_must_be_the_token() {
        let token = "0123456789abcdef";
        for shown in ["Bearer 0123456789abcdef", "bearer  0123456789abcdef "] {
            assert!(shows(&headers(AUTHORIZATION, shown), token).is_ok(), "{shown}");
        }
        let wrong = ["Bearer 0123456789abcdeX", "Bearer", "Bearer ", "Basic 0123456789abcdef", "é"];
        for shown in wrong {
            assert!(shows(&headers(AUTHORIZATION, shown), token).is_err(), "{shown}");
        }
        assert!(shows(&HeaderMap::new(), token).is_err());
    }

    #[test]
    fn what_a_form_can_send_is_refused() {
        for kind in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
            assert!(is_json(&headers(CONTENT_TYPE, kind)).is_ok(), "{kind}");
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
            assert!(is_json(&headers(CONTENT_TYPE, kind)).is_err(), "{kind}");
        }
    }
}
