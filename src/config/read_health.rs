//! What a pool says about the health of its servers, read from the tree.

use super::file::PoolFile;
use super::file_health::{
    CheckWord, CloseFile, EjectFile, HealthFile, OnDownFile, OnDownWord, StatusFile, status,
};
use super::limits::{
    CHECK_FALL, CHECK_FAST_INTERVAL_MS, CHECK_INTERVAL_MS, CHECK_JITTER_PERCENT, CHECK_PATH,
    CHECK_RISE, CHECK_STATUS, CHECK_TIMEOUT_MS, CLOSE_PER_S, EJECT_BASE_MS, EJECT_FAILURES,
    EJECT_MAX_MS, EJECT_MAX_PERCENT, PORT, SLOW_START_MS,
};
use super::problem::{Place, Report};
use super::read::{SEND_PROXY, or_false};
use super::tree::{Fields, Node, list, number, word};

const CHECK: &[(&str, CheckWord)] = &[("tcp", CheckWord::Tcp), ("http", CheckWord::Http)];
const ON_DOWN: &[(&str, OnDownWord)] = &[("keep", OnDownWord::Keep)];

/// The keys of a pool that are about health.
pub(super) fn pool(fields: &mut Fields<'_>, pool: &mut PoolFile, report: &mut Report) {
    if let Some((node, place)) = fields.take("health") {
        pool.health = or_false(node, &place, report, health);
    }
    if let Some((node, place)) = fields.take("eject") {
        pool.eject = or_false(node, &place, report, ejection);
    }
    pool.slow_start_ms = fields.whole("slow_start_ms", SLOW_START_MS, report);
    if let Some((node, place)) = fields.take("on_down") {
        pool.on_down = on_down(node, &place, report).unwrap_or_default();
    }
}

/// The fields of what may be `false`.
fn open<'n>(node: &'n Node, place: &Place, report: &mut Report) -> Option<Fields<'n>> {
    if let Node::Object(_) = node {
        return Fields::open(node, place.clone(), report);
    }
    report.unreadable(place, format!("must be false or an object, is {node}"));
    None
}

fn health(node: &Node, place: &Place, report: &mut Report) -> Option<HealthFile> {
    let mut fields = open(node, place, report)?;
    let check = match fields.required("check", report) {
        Some((node, place)) => word(node, &place, CHECK, report),
        None => None,
    };
    let health = HealthFile {
        check: check.unwrap_or(CheckWord::Tcp),
        interval_ms: fields.whole("interval_ms", CHECK_INTERVAL_MS, report),
        fast_interval_ms: fields.whole("fast_interval_ms", CHECK_FAST_INTERVAL_MS, report),
        timeout_ms: fields.whole("timeout_ms", CHECK_TIMEOUT_MS, report),
        jitter_percent: fields.whole("jitter_percent", CHECK_JITTER_PERCENT, report),
        rise: fields.whole("rise", CHECK_RISE, report),
        fall: fields.whole("fall", CHECK_FALL, report),
        port: match fields.take("port") {
            None | Some((Node::Null, _)) => None,
            Some((node, place)) => number(node, &place, PORT.min..=PORT.max, report),
        },
        send_proxy: match fields.take("send_proxy") {
            Some((node, place)) => {
                or_false(node, &place, report, |n, p, r| word(n, p, SEND_PROXY, r))
            }
            None => Default::default(),
        },
        path: fields.text_or("path", CHECK_PATH, report),
        host: fields.text("host", report),
        status: match fields.take("status") {
            Some((node, place)) => list(node, &place, report, status_code),
            None => status(),
        },
        body: fields.text("body", report),
    };
    fields.finish(report);
    Some(health)
}

fn status_code(node: &Node, place: Place, report: &mut Report) -> StatusFile {
    if let Node::Text(range) = node {
        return StatusFile::Range(range.clone());
    }
    let range = CHECK_STATUS.min..=CHECK_STATUS.max;
    let code = number(node, &place, range, report);
    StatusFile::Code(code.unwrap_or(CHECK_STATUS.default))
}

fn ejection(node: &Node, place: &Place, report: &mut Report) -> Option<EjectFile> {
    let mut fields = open(node, place, report)?;
    let written = EjectFile {
        failures: fields.whole("failures", EJECT_FAILURES, report),
        base_ms: fields.whole("base_ms", EJECT_BASE_MS, report),
        max_ms: fields.whole("max_ms", EJECT_MAX_MS, report),
        max_percent: fields.whole("max_percent", EJECT_MAX_PERCENT, report),
    };
    fields.finish(report);
    Some(written)
}

fn on_down(node: &Node, place: &Place, report: &mut Report) -> Option<OnDownFile> {
    match node {
        Node::Text(_) => word(node, place, ON_DOWN, report).map(OnDownFile::Word),
        Node::Object(_) => {
            let mut fields = Fields::open(node, place.clone(), report)?;
            let close_per_s = match fields.required("close_per_s", report) {
                Some((node, place)) => {
                    number(node, &place, CLOSE_PER_S.min..=CLOSE_PER_S.max, report)
                }
                None => None,
            };
            fields.finish(report);
            let close_per_s = close_per_s.unwrap_or(CLOSE_PER_S.default);
            Some(OnDownFile::Close(CloseFile { close_per_s }))
        }
        _ => {
            let allowed = "\"keep\" or {\"close_per_s\": NUMBER}";
            report.unreadable(place, format!("must be {allowed}, is {node}"));
            None
        }
    }
}
