//! Where the access log goes and what it says, in force.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

/// Lines about sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Who gets them.
    pub to: LogTo,
    /// How a line looks.
    pub format: LogFormat,
    /// A line too when a session is connected to its server.
    pub start: bool,
    /// One session in so many is logged (1 to 1,000,000), and every one that ended in an error.
    pub sample_one_in: u32,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { to: LogTo::Stdout, format: LogFormat::Text, start: false, sample_one_in: 1 }
    }
}

/// Who gets the lines of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// Whoever reads standard output, with all else that ringway says.
    Stdout,
    /// A file, by its absolute path; lines are appended.
    File(PathBuf),
    /// A syslog daemon on this host.
    Syslog(Syslog),
    /// journald, by its own protocol; the path is that of its socket.
    Journald(PathBuf),
}

/// How the syslog daemon is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// Its unix datagram socket.
    pub socket: PathBuf,
    /// What stands in front of a line.
    pub format: SyslogFormat,
    /// What the lines are filed under.
    pub facility: Facility,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// `time LEVEL event field=value …`.
    #[default]
    Text,
    /// One JSON object in a line.
    Json,
}

/// What stands in front of a syslog message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyslogFormat {
    /// Priority and tag, as syslog(3) writes and every daemon reads on its local socket (RFC 3164).
    #[default]
    Rfc3164,
    /// The header of RFC 5424, with the time in microseconds.
    Rfc5424,
}

/// Syslog facilities a server may use (RFC 5424 section 6.2.1), with their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Facility {
    /// Programs of users.
    User = 1,
    /// System services.
    Daemon = 3,
    /// For whatever this host uses it for, like the seven behind it.
    #[default]
    Local0 = 16,
    /// See `local0`.
    Local1 = 17,
    /// See `local0`.
    Local2 = 18,
    /// See `local0`.
    Local3 = 19,
    /// See `local0`.
    Local4 = 20,
    /// See `local0`.
    Local5 = 21,
    /// See `local0`.
    Local6 = 22,
    /// See `local0`.
    Local7 = 23,
}
