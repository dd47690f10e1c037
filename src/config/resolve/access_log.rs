//! The access log: who gets it, and which keys go together.

use crate::config::file_access_log::{AccessLogFile, AccessLogOptions};
use crate::config::problem::{Place, Report, suggestion};
use crate::config::{AccessLog, Facility, LogTo, Syslog, SyslogFormat, value};

/// Where a syslog daemon listens (syslog(3), `_PATH_LOG` of paths.h).
const SYSLOG_SOCKET: &str = "/dev/log";
/// Where journald does (systemd-journald.service(8)).
const JOURNALD_SOCKET: &str = "/run/systemd/journal/socket";

pub(super) fn resolve(
    written: &AccessLogFile,
    place: &Place,
    report: &mut Report,
) -> Option<AccessLog> {
    let options = match written {
        AccessLogFile::Switch(on) => return on.then(AccessLog::default),
        AccessLogFile::Options(options) => options,
    };
    let AccessLogOptions { format, start, sample_one_in, .. } = *options;
    let to = to(options, place, report)?;
    Some(AccessLog { to, format, start, sample_one_in })
}

fn to(options: &AccessLogOptions, place: &Place, report: &mut Report) -> Option<LogTo> {
    let is_daemon = matches!(options.to.as_str(), "syslog" | "journald");
    if options.socket.is_some() && !is_daemon {
        report.problem(&place.key("socket"), "needs \"to\": \"syslog\" or \"journald\"");
    }
    if options.to != "syslog" {
        for (key, is_set) in [
            ("syslog_format", options.syslog_format != SyslogFormat::default()),
            ("syslog_facility", options.syslog_facility != Facility::default()),
        ] {
            if is_set {
                report.problem(&place.key(key), "needs \"to\": \"syslog\"");
            }
        }
    }
    let socket = |or: &str, report: &mut Report| {
        let written = options.socket.as_deref().unwrap_or(or);
        super::checked(value::socket_path(written), &place.key("socket"), report)
    };
    match options.to.as_str() {
        "stdout" => Some(LogTo::Stdout),
        "journald" => socket(JOURNALD_SOCKET, report).map(LogTo::Journald),
        "syslog" => Some(LogTo::Syslog(Syslog {
            socket: socket(SYSLOG_SOCKET, report)?,
            format: options.syslog_format,
            facility: options.syslog_facility,
        })),
        path if path.starts_with('/') && !path.ends_with('/') && !path.contains('\0') => {
            Some(LogTo::File(path.into()))
        }
        other => {
            let near = suggestion(other, ["stdout", "syslog", "journald"]);
            let allowed = "\"stdout\", \"syslog\", \"journald\" or the absolute path of a file";
            report.problem(&place.key("to"), format!("must be {allowed}, is {other:?}{near}"));
            None
        }
    }
}
