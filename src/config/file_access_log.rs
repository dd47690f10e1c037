//! What the file says about the access log, as written, and the JSON Schema of it.

use schemars::JsonSchema;
use serde::Serialize;

use super::file::whole;
use super::limits::SAMPLE_ONE_IN;
use super::{Facility, LogFormat, SyslogFormat};

/// `true`, `false`, or an object with more to say.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "AccessLog")]
pub(super) enum AccessLogFile {
    Switch(bool),
    Options(AccessLogOptions),
}

/// Where lines about sessions go and what they say.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct AccessLogOptions {
    /// `stdout`, `syslog`, `journald`, or the absolute path of a file.
    #[schemars(default = "stdout")]
    pub(super) to: String,
    /// `text` is `field=value`, `json` an object in each line.
    #[schemars(default)]
    pub(super) format: LogFormat,
    /// A line too when a session is connected to its server.
    #[schemars(default)]
    pub(super) start: bool,
    /// One session in so many is logged, and every one that ended in an error.
    #[schemars(range(min = SAMPLE_ONE_IN.min, max = SAMPLE_ONE_IN.max))]
    #[schemars(default = "whole::<{ SAMPLE_ONE_IN.default }>")]
    pub(super) sample_one_in: u32,
    /// `syslog` and `journald`: the path of their socket; not given: `/dev/log`, and
    /// `/run/systemd/journal/socket`.
    pub(super) socket: Option<String>,
    /// `syslog`: what stands in front of a line.
    #[schemars(default)]
    pub(super) syslog_format: SyslogFormat,
    /// `syslog`: what lines are filed under.
    #[schemars(default)]
    pub(super) syslog_facility: Facility,
}

impl Default for AccessLogFile {
    fn default() -> Self {
        Self::Switch(true)
    }
}

impl Default for AccessLogOptions {
    fn default() -> Self {
        Self {
            to: stdout(),
            format: LogFormat::default(),
            start: false,
            sample_one_in: SAMPLE_ONE_IN.default,
            socket: None,
            syslog_format: SyslogFormat::default(),
            syslog_facility: Facility::default(),
        }
    }
}

fn stdout() -> String {
    "stdout".to_owned()
}
