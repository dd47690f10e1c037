//! What the file says about the access log, read from the tree.

use super::file_access_log::{AccessLogFile, AccessLogOptions};
use super::limits::SAMPLE_ONE_IN;
use super::problem::{Place, Report};
use super::tree::{Fields, Node, word};
use super::{Facility, LogFormat, SyslogFormat};

const FORMAT: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
const SYSLOG_FORMAT: &[(&str, SyslogFormat)] =
    &[("rfc3164", SyslogFormat::Rfc3164), ("rfc5424", SyslogFormat::Rfc5424)];
const FACILITY: &[(&str, Facility)] = &[
    ("user", Facility::User),
    ("daemon", Facility::Daemon),
    ("local0", Facility::Local0),
    ("local1", Facility::Local1),
    ("local2", Facility::Local2),
    ("local3", Facility::Local3),
    ("local4", Facility::Local4),
    ("local5", Facility::Local5),
    ("local6", Facility::Local6),
    ("local7", Facility::Local7),
];

pub(super) fn access_log(node: &Node, place: Place, report: &mut Report) -> AccessLogFile {
    if let Node::Bool(switch) = node {
        return AccessLogFile::Switch(*switch);
    }
    let Node::Object(_) = node else {
        report.unreadable(&place, format!("must be true, false or an object, is {node}"));
        return AccessLogFile::default();
    };
    let mut options = AccessLogOptions::default();
    let Some(mut fields) = Fields::open(node, place, report) else {
        return AccessLogFile::default();
    };
    options.to = fields.text_or("to", &options.to, report);
    options.format = one_of(&mut fields, "format", FORMAT, report);
    options.start = fields.flag("start", false, report);
    options.sample_one_in = fields.whole("sample_one_in", SAMPLE_ONE_IN, report);
    options.socket = fields.text("socket", report);
    options.syslog_format = one_of(&mut fields, "syslog_format", SYSLOG_FORMAT, report);
    options.syslog_facility = one_of(&mut fields, "syslog_facility", FACILITY, report);
    fields.finish(report);
    AccessLogFile::Options(options)
}

/// One word of a list, the default when it is left out.
fn one_of<T: Copy + Default>(
    fields: &mut Fields<'_>,
    key: &'static str,
    words: &[(&'static str, T)],
    report: &mut Report,
) -> T {
    let found = fields.take(key).and_then(|(node, place)| word(node, &place, words, report));
    found.unwrap_or_default()
}
