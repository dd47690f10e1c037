//! The health of a pool's servers: checks, ejection, and what becomes of sessions.

use std::ops::RangeInclusive;

use super::{checked, narrow};
use crate::config::file::{OrFalse, PoolFile};
use crate::config::file_health::{CheckWord, HealthFile, OnDownFile, StatusFile, path, status};
use crate::config::problem::{Place, Report};
use crate::config::{Address, Check, Eject, Health, OnDown, Pool, Server, ServerAddress, value};

/// Fills in what a pool says about health; `place` is the pool's.
pub(super) fn resolve(pool: &mut Pool, written: &PoolFile, place: &Place, report: &mut Report) {
    if let OrFalse::Set(written) = &written.health {
        pool.health = Some(health(written, &pool.servers, &place.key("health"), report));
    }
    if let OrFalse::Set(eject) = &written.eject {
        if eject.max_ms < eject.base_ms {
            let place = place.key("eject").key("max_ms");
            let base_ms = eject.base_ms;
            report.problem(&place, format!("must be at least base_ms, which is {base_ms}"));
        }
        pool.eject = Some(Eject {
            failures: eject.failures,
            base_ms: eject.base_ms,
            max_ms: eject.max_ms,
            max_percent: narrow(eject.max_percent),
        });
    }
    pool.slow_start_ms = written.slow_start_ms;
    if pool.slow_start_ms > 0 && pool.health.is_none() && pool.eject.is_none() {
        let why = "has no effect without \"health\" and \"eject\": no server ever comes up";
        report.warning(&place.key("slow_start_ms"), why);
    }
    if let OnDownFile::Close(close) = &written.on_down {
        pool.on_down = OnDown::Close { per_s: close.close_per_s };
        if pool.health.is_none() {
            let why = "has no effect without \"health\": no server is declared down";
            report.warning(&place.key("on_down"), why);
        }
    }
}

fn health(written: &HealthFile, servers: &[Server], place: &Place, report: &mut Report) -> Health {
    let is_unix =
        |server: &Server| matches!(server.address, ServerAddress::Address(Address::Unix(_)));
    if written.port.is_some()
        && let Some(server) = servers.iter().find(|server| is_unix(server))
    {
        let why = format!("cannot be set: server {} has no port", server.address);
        report.problem(&place.key("port"), why);
    }
    if written.fast_interval_ms > written.interval_ms {
        let why = format!("is longer than interval_ms, which is {}", written.interval_ms);
        report.warning(&place.key("fast_interval_ms"), why);
    }
    Health {
        check: check(written, place, report),
        interval_ms: written.interval_ms,
        fast_interval_ms: written.fast_interval_ms,
        timeout_ms: written.timeout_ms,
        jitter_percent: narrow(written.jitter_percent),
        rise: narrow(written.rise),
        fall: narrow(written.fall),
        port: written.port.map(narrow),
        send_proxy: match written.send_proxy {
            OrFalse::Set(version) => Some(version),
            OrFalse::False(_) => None,
        },
    }
}

fn check(written: &HealthFile, place: &Place, report: &mut Report) -> Check {
    let HealthFile { path: asked, host, status: codes, body, .. } = written;
    if written.check == CheckWord::Tcp {
        let changed = [
            ("path", *asked != path()),
            ("host", host.is_some()),
            ("status", *codes != status()),
            ("body", body.is_some()),
        ];
        for (key, _) in changed.into_iter().filter(|(_, changed)| *changed) {
            report.warning(&place.key(key), "has no effect with \"check\": \"tcp\"");
        }
        return Check::Tcp;
    }
    checked(value::request_target(asked), &place.key("path"), report);
    if let Some(host) = host {
        checked(value::host_field(host), &place.key("host"), report);
    }
    if body.as_deref() == Some("") {
        report.problem(&place.key("body"), "must not be empty, leave it out to take any body");
    }
    let status = statuses(codes, &place.key("status"), report);
    Check::Http { path: asked.clone(), host: host.clone(), status, body: body.clone() }
}

fn statuses(
    written: &[StatusFile],
    place: &Place,
    report: &mut Report,
) -> Vec<RangeInclusive<u16>> {
    if written.is_empty() {
        report.problem(place, "must have at least one status code");
    }
    let status = |(i, status): (usize, &StatusFile)| match status {
        StatusFile::Code(code) => Some(narrow(*code)..=narrow(*code)),
        StatusFile::Range(range) => checked(value::status_range(range), &place.index(i), report),
    };
    written.iter().enumerate().filter_map(status).collect()
}
