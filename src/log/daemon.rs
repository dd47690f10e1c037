//! What stands around a line for the daemons of this host: syslog's headers and journald's fields.
//!
//! Pure: each message is one datagram, which somebody else sends.

use std::io::Write;
use std::sync::OnceLock;
use std::time::SystemTime;

use humantime::format_rfc3339_micros;

use super::line::{Line, Plain};
use crate::config::{LogFormat, Syslog, SyslogFormat};

/// The severity of lines about sessions: informational (RFC 5424 section 6.2.1).
const INFORMATIONAL: u8 = 6;

/// Who says it.
const TAG: &str = "ringway";

/// A syslog message. RFC 3164 has its time in seconds and in a zone that nobody tells, so it is
/// left out there: daemons take the time at which a message comes in over their local socket, and
/// the line itself has it where it is JSON.
pub(super) fn syslog(
    line: &Line<'_>,
    syslog: &Syslog,
    format: LogFormat,
    time: SystemTime,
    into: &mut Vec<u8>,
) {
    let priority = syslog.facility as u8 * 8 + INFORMATIONAL;
    let process = std::process::id();
    let _ = match syslog.format {
        SyslogFormat::Rfc3164 => write!(into, "<{priority}>{TAG}[{process}]: "),
        SyslogFormat::Rfc5424 => {
            let (time, host, event) = (format_rfc3339_micros(time), host(), line.event);
            write!(into, "<{priority}>1 {time} {host} {TAG} {process} {event} - ")
        }
    };
    message(line, format, time, into);
}

/// A message in journald's own protocol (systemd's "Native Journal Protocol"): a field in each
/// line, since no value has a line feed.
pub(super) fn journald(line: &Line<'_>, format: LogFormat, time: SystemTime, into: &mut Vec<u8>) {
    into.extend_from_slice(b"MESSAGE=");
    message(line, format, time, into);
    let _ = write!(
        into,
        "\nPRIORITY={INFORMATIONAL}\nSYSLOG_IDENTIFIER={TAG}\nRINGWAY_EVENT={}\n",
        line.event
    );
    line.each(|name, value| {
        let _ = writeln!(into, "RINGWAY_{}={}", name.to_ascii_uppercase(), Plain(value));
    });
}

fn message(line: &Line<'_>, format: LogFormat, time: SystemTime, into: &mut Vec<u8>) {
    match format {
        LogFormat::Text => line.write_text(into),
        LogFormat::Json => line.write_json(time, into),
    }
}

/// This host by name, `-` where it has none (RFC 5424 section 6.2.4).
fn host() -> &'static str {
    static HOST: OnceLock<String> = OnceLock::new();
    HOST.get_or_init(|| {
        let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let name =
            name.filter(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()));
        name.unwrap_or_else(|| "-".to_owned())
    })
}
