//! Parameters of a query and keys of a body, read one by one: every one that is unknown or wrong is
//! reported with what is allowed, all at once.

use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use serde_json::Value;

use super::problem::Problem;

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Input {
    entries: Vec<(String, Value)>,
    known: Vec<&'static str>,
    problems: Vec<String>,
    /// What an entry is called.
    what: &'static str,
}

/// The query of a request.
pub(super) struct Query(pub(super) Input);

/// The body of a request, which the gate has read whole: an object, or nothing.
pub(super) struct Body(pub(super) Input);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(Input::of_query(parts.uri.query().unwrap_or_default())))
    }
}

impl<S: Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        // Nothing may be asked for beside what the body says.
        if let Some(query) = request.uri().query() {
            Input::of_query(query).finish()?;
        }
        let whole = axum::body::to_bytes(request.into_body(), super::BODY_MAX_BYTES).await;
        let whole = whole.map_err(|error| Problem::wrong(format!("the body: {error}")))?;
        Input::of_body(&whole).map(Self)
    }
}

impl Input {
    fn of_query(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes());
        let entries = pairs.map(|(name, value)| (name.into_owned(), value.into()));
        Self::new(entries.collect(), "parameter")
    }

    fn of_body(bytes: &[u8]) -> Result<Self, Problem> {
        if bytes.is_empty() {
            return Ok(Self::new(Vec::new(), "key"));
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(entries)) => Ok(Self::of_object(entries)),
            Ok(_) => Err(Problem::wrong("the body must be a JSON object")),
            Err(error) => Err(Problem::wrong(format!("the body is no JSON: {error}"))),
        }
    }

    /// Of an object within a body.
    pub(super) fn of_object(entries: serde_json::Map<String, Value>) -> Self {
        Self::new(entries.into_iter().collect(), "key")
    }

    /// All of it, for whoever knows what there can be.
    pub(super) fn into_object(self) -> serde_json::Map<String, Value> {
        self.entries.into_iter().collect()
    }

    fn new(entries: Vec<(String, Value)>, what: &'static str) -> Self {
        Self { entries, known: Vec::new(), problems: Vec::new(), what }
    }

    /// The value of a name, which is known from now on; null is none.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        let found = self.entries.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_null())
    }

    /// Something else is wrong.
    pub(super) fn wrong(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => {
                self.wrong(format!("{name}: must be a string, is {other}"));
                None
            }
        }
    }

    /// What a text means; `allowed` says what it may be.
    pub(super) fn parsed<T: FromStr>(&mut self, name: &'static str, allowed: &str) -> Option<T> {
        let text = self.text(name)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.wrong(format!("{name}: must be {allowed}, is {text:?}"));
        }
        parsed
    }

    /// A whole number, which a query has as text.
    pub(super) fn whole(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.take(name)?;
        let number = match &value {
            Value::String(text) if self.what == "parameter" => text.parse().ok(),
            other => other.as_u64(),
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (from, to) = (range.start(), range.end());
            self.wrong(format!("{name}: must be {from} to {to}, is {value}"));
        }
        number
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        let value = self.take(name)?;
        let flag = match &value {
            Value::String(text) if self.what == "parameter" => text.parse().ok(),
            other => other.as_bool(),
        };
        if flag.is_none() {
            self.wrong(format!("{name}: must be true or false, is {value}"));
        }
        flag
    }

    pub(super) fn word<T: Copy>(
        &mut self,
        name: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let value = self.take(name)?;
        let found = words.iter().find(|(word, _)| value == *word);
        if found.is_none() {
            let words: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            self.wrong(format!("{name}: must be one of {}, is {value}", words.join(", ")));
        }
        found.map(|&(_, value)| value)
    }

    /// Everything was asked for that there can be.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        let mut seen: Vec<&String> = Vec::new();
        let mut problems = Vec::new();
        for (name, _) in &self.entries {
            if !self.known.contains(&name.as_str()) {
                let known = match self.known.is_empty() {
                    true => "there is none here".to_owned(),
                    false => format!("known are: {}", self.known.join(", ")),
                };
                problems.push(format!("unknown {} {name:?}, {known}", self.what));
            }
            if seen.contains(&name) {
                problems.push(format!("{name} is given twice"));
            }
            seen.push(name);
        }
        self.problems.append(&mut problems);
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(Problem::wrong(self.problems.join("; ")))
    }
}
