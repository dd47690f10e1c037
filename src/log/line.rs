//! A line about a session: its fields, as text or as JSON.
//!
//! Pure. Nothing a peer has chosen (a host name) can end a field, a line or a JSON string.

use std::fmt;
use std::io::Write;
use std::time::SystemTime;

use humantime::format_rfc3339_micros;

use super::{Batch, Began, Entry, Record};
use crate::config::LogFormat;
use crate::pool::Pool;
use crate::session::About;
use crate::worker::inquiry::SessionId;

/// The value of a field.
pub(super) enum Value<'a> {
    /// The field does not apply.
    None,
    Word(&'static str),
    Text(&'a str),
    Shown(&'a dyn fmt::Display),
    Number(u64),
    Flag(bool),
}

/// What is to be said, as far as it can be known without formatting.
pub(super) struct Line<'a> {
    pub(super) event: &'static str,
    /// On the clock of the workers.
    pub(super) at_us: u64,
    id: SessionId,
    batch: &'a Batch,
    about: &'a About,
    record: Option<&'a Record>,
}

impl<'a> Line<'a> {
    pub(super) fn of(entry: &'a Entry, batch: &'a Batch) -> Self {
        let (event, at_us, slot, about, record) = match entry {
            Entry::Began(Began { id, about, at_us }) => ("session_start", *at_us, *id, about, None),
            Entry::Ended(record) => {
                let at_us = record.about.accepted_us + record.duration_us;
                ("session", at_us, record.id, &record.about, Some(record))
            }
        };
        let id = SessionId { worker: batch.worker, slot };
        Self { event, at_us, id, batch, about, record }
    }

    /// Every field with its name, in the order of the documentation.
    pub(super) fn each(&self, mut say: impl FnMut(&'static str, Value<'_>)) {
        let Self { id, batch, about, record, .. } = self;
        let edition = &batch.edition;
        let pool = about.pool.map(|pool| edition.pool_at(pool));
        let server =
            about.place.map(|place| &edition.pool_at(place.pool).server(place.server).address);
        let or_none = |text: Option<&'a str>| text.map_or(Value::None, Value::Text);
        say("id", Value::Shown(id));
        say("client", about.client.as_ref().map_or(Value::Word("unix"), |at| Value::Shown(at)));
        say("tls", Value::Flag(about.client_tls));
        say("listener", Value::Text(&edition.config.listeners[about.listener as usize].name));
        say("pool", or_none(pool.map(Pool::name)));
        say("server", server.map_or(Value::None, |server| Value::Shown(server)));
        say("host", or_none(about.host.as_deref()));
        say("key", Value::Word(about.key.as_str()));
        say("how", about.place.map_or(Value::None, |place| Value::Word(place.how.as_str())));
        say("retries", Value::Number(about.retries.into()));
        if let Some(record) = record {
            let [up, down] = about.received;
            say("bytes_up", Value::Number(up));
            say("bytes_down", Value::Number(down));
            say("duration_ms", Value::Number(record.duration_us / 1000));
        }
        say("peek_us", Value::Number(about.peek_us.into()));
        say("connect_us", Value::Number(about.connect_us.into()));
        if let Some(record) = record {
            say("reason", Value::Word(record.reason.as_str()));
        }
    }

    /// The whole line, without its end.
    pub(super) fn write(&self, format: LogFormat, time: SystemTime, into: &mut Vec<u8>) {
        match format {
            LogFormat::Text => {
                let _ = write!(into, "{}  INFO ", format_rfc3339_micros(time));
                self.write_text(into);
            }
            LogFormat::Json => self.write_json(time, into),
        }
    }

    /// Event and fields. Fields that do not apply are `-`.
    pub(super) fn write_text(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(self.event.as_bytes());
        self.each(|name, value| {
            let _ = write!(into, " {name}={}", Plain(value));
        });
    }

    /// An object, with the names that ringway's own messages have in JSON. Fields that do not apply
    /// are null.
    pub(super) fn write_json(&self, time: SystemTime, into: &mut Vec<u8>) {
        let (time, event) = (format_rfc3339_micros(time), self.event);
        let _ = write!(into, r#"{{"timestamp":"{time}","level":"INFO","message":"{event}""#);
        self.each(|name, value| {
            let _ = write!(into, r#","{name}":"#);
            // Writing to memory does not fail, and neither does a string.
            let _ = match value {
                Value::None => into.write_all(b"null"),
                Value::Word(word) => write!(into, "\"{word}\""),
                Value::Text(text) => serde_json::to_writer(&mut *into, text).map_err(Into::into),
                Value::Shown(shown) => {
                    serde_json::to_writer(&mut *into, &shown.to_string()).map_err(Into::into)
                }
                Value::Number(number) => write!(into, "{number}"),
                Value::Flag(flag) => write!(into, "{flag}"),
            };
        });
        into.push(b'}');
    }
}

/// A value without anything that could end the field or the line.
pub(super) struct Plain<'a>(pub(super) Value<'a>);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::None => f.write_str("-"),
            Value::Word(word) => f.write_str(word),
            Value::Text(text) => plain(text, f),
            Value::Shown(shown) => fmt::write(&mut Strict(f), format_args!("{shown}")),
            Value::Number(number) => number.fmt(f),
            Value::Flag(flag) => flag.fmt(f),
        }
    }
}

/// Has whatever is shown be plain.
struct Strict<'f, 'g>(&'f mut fmt::Formatter<'g>);

impl fmt::Write for Strict<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        plain(text, self.0)
    }
}

fn plain(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for char in text.chars() {
        match char {
            '!'..='~' => fmt::Write::write_char(f, char)?,
            other => write!(f, "{}", other.escape_unicode())?,
        }
    }
    Ok(())
}
