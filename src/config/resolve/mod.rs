//! From the configuration as written to the one in force: what the strings mean, what belongs
//! together, and the defaults that depend on something else in the file.
//!
//! Reports everything that is wrong and goes on with a stand-in; a [`Config`] comes out only when
//! there was nothing to report. Binds nothing, looks nothing up.

mod access_log;
mod health;
mod listeners;
mod pools;

use super::admin;
use super::file::{AccountFile, File, OrFalse, WorkersFile, WorkersWord};
use super::problem::{Place, Report};
use super::{Account, Config, TcpKeepAlive, Workers, value};

/// The configuration, right only when `report` has no problems.
pub(super) fn resolve(file: &File, report: &mut Report) -> Config {
    let root = Place::default();
    let workers = workers(&file.workers, &root.key("workers"), report);
    let pools = pools::resolve(&file.pools, &root.key("pools"), report);
    let listeners = listeners::resolve(file, &pools, &root.key("listeners"), report);
    warn_unused(file, &root.key("pools"), report);
    let tcp_keep_alive = match &file.tcp_keep_alive {
        OrFalse::False(_) => None,
        OrFalse::Set(written) => Some(TcpKeepAlive {
            idle_s: narrow(written.idle_s),
            interval_s: narrow(written.interval_s),
            probes: narrow(written.probes),
        }),
    };
    let user = account(file.user.as_ref(), &root.key("user"), report);
    let group = account(file.group.as_ref(), &root.key("group"), report);
    if group.is_some() && file.user.is_none() {
        report.problem(&root.key("group"), "needs \"user\"");
    }
    let admin = admin::resolve(&file.admin, &listeners, &root.key("admin"), report);
    Config {
        workers,
        listeners,
        pools,
        tcp_keep_alive,
        tcp_user_timeout_ms: user_timeout(&file.tcp_user_timeout_ms, &root, report),
        engine: file.engine,
        loopback_congestion: file.loopback_congestion,
        max_connections: file.max_connections.clone().into(),
        access_log: access_log::resolve(&file.access_log, &root.key("access_log"), report),
        splice: file.splice,
        drain_timeout_ms: file.drain_timeout_ms,
        drain_window_ms: file.drain_window_ms,
        user,
        group,
        sandbox: file.sandbox,
        admin,
    }
}

fn account(written: Option<&AccountFile>, place: &Place, report: &mut Report) -> Option<Account> {
    match written? {
        AccountFile::Number(number) => Some(Account::Number(*number)),
        AccountFile::Name(name) => checked(value::account(name), place, report),
    }
}

fn user_timeout(written: &OrFalse<u32>, root: &Place, report: &mut Report) -> Option<u32> {
    let OrFalse::Set(timeout_ms) = *written else { return None };
    let why = "also ends a live session whose client or server reads nothing for that long";
    report.warning(&root.key("tcp_user_timeout_ms"), why);
    Some(timeout_ms)
}

fn workers(written: &WorkersFile, place: &Place, report: &mut Report) -> Workers {
    match written {
        WorkersFile::Word(WorkersWord::Auto) => Workers::Auto,
        WorkersFile::Count(count) => Workers::Count(narrow(*count)),
        WorkersFile::Cores(cores) => {
            if cores.is_empty() {
                report.problem(place, "must name at least one core");
            }
            for (i, core) in cores.iter().enumerate() {
                if cores[..i].contains(core) {
                    report.problem(&place.index(i), format!("core {core} is given twice"));
                }
            }
            Workers::Cores(cores.iter().map(|&core| narrow(core)).collect())
        }
    }
}

fn warn_unused(file: &File, place: &Place, report: &mut Report) {
    // Which pool is meant is unclear while a listener's is not given or not known.
    let default = file.listeners.iter().any(|listener| listener.pool.is_none());
    if default && file.pools.len() == 1 {
        return;
    }
    let mut used = hashbrown::HashSet::new();
    for listener in &file.listeners {
        used.extend(listener.pool.iter().map(String::as_str));
        used.extend(listener.routes.iter().map(|route| route.pool.as_str()));
    }
    for (name, _) in &file.pools {
        if !used.contains(name.as_str()) {
            report.warning(&place.key(name), "is not used: no listener and no route leads to it");
        }
    }
}

/// `read` has checked the range; the stand-in of a value that failed it is also within.
fn narrow<T: TryFrom<u32> + Default>(value: u32) -> T {
    T::try_from(value).unwrap_or_default()
}

/// The value, or its problem reported at `place`.
fn checked<T>(result: Result<T, String>, place: &Place, report: &mut Report) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(message) => {
            report.problem(place, message);
            None
        }
    }
}
