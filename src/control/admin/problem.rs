//! What an answer says where a request cannot be met: `{"error": "text"}`, with everything that is
//! wrong with a configuration as `problems`.

use std::fmt;

use axum::http::StatusCode;
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::answer;
use crate::supervisor::{Denied, Kind};

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    text: String,
    problems: Vec<String>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), problems: Vec::new() }
    }

    /// What was sent is wrong.
    pub(super) fn wrong(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// It is not there.
    pub(super) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// It cannot be done now.
    pub(super) fn unavailable(text: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let Denied { kind, text, problems } = denied;
        let status = match kind {
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Conflict => StatusCode::CONFLICT,
        };
        Self { status, text, problems }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": self.text });
        if !self.problems.is_empty() {
            body["problems"] = json!(self.problems);
        }
        let mut response = answer(&body);
        *response.status_mut() = self.status;
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
