//! What was measured, as text and as JSON, in target/bench/.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::balancer::Totals;
use crate::clients::{Failure, Tally};
use crate::machine::{Limits, Memory};
use crate::options::Options;

/// Workers ringway takes at most (`--workers`).
const WORKERS_MAX: usize = 1024;

/// Slab caches shown, the largest first.
const CACHES_SHOWN: usize = 12;

/// How the sessions came to be.
pub(crate) struct Ramp {
    pub(crate) seconds: f64,
    pub(crate) best_per_s: usize,
    /// Why it ended.
    pub(crate) stopped: &'static str,
}

/// A run.
pub(crate) struct Measured {
    pub(crate) workers: usize,
    pub(crate) per_worker: usize,
    pub(crate) threads: usize,
    pub(crate) descriptors: u64,
    /// Held at the end of the hold.
    pub(crate) sessions: usize,
    pub(crate) ramp: Ramp,
    pub(crate) tally: Tally,
    pub(crate) before: Memory,
    pub(crate) ramped: Memory,
    pub(crate) held: Memory,
    /// Of ringway, during the hold.
    pub(crate) cpu_us: u64,
    pub(crate) per_server: Vec<usize>,
    /// Server connections, by the address that ringway connected from.
    pub(crate) per_source: Vec<usize>,
    pub(crate) per_worker_held: Vec<usize>,
    /// After every client was gone.
    pub(crate) left_at_workers: usize,
    pub(crate) totals: Totals,
}

impl Measured {
    fn failures(&self) -> usize {
        self.tally.failures.iter().sum()
    }

    /// No session failed, and ringway accounts for each.
    pub(crate) fn is_clean(&self) -> bool {
        let Totals { accepted, closed } = self.totals;
        self.failures() == 0
            && self.sessions > 0
            && accepted == self.sessions
            && closed == accepted
            && self.left_at_workers == 0
    }

    /// Bytes a session has of something that grew from `before` to `after` (in KiB).
    fn per_session(&self, before: u64, after: u64) -> f64 {
        (after as f64 - before as f64) * 1024.0 / self.sessions.max(1) as f64
    }

    /// Bytes per session and cache, the largest first.
    fn caches(&self) -> Vec<(&str, f64)> {
        let mut caches: Vec<(&str, f64)> = self
            .held
            .caches
            .iter()
            .map(|(name, &bytes)| {
                let before = self.before.caches.get(name).copied().unwrap_or(0);
                let grown = bytes as f64 - before as f64;
                (name.as_str(), grown / self.sessions.max(1) as f64)
            })
            .filter(|(_, bytes)| *bytes >= 1.0)
            .collect();
        caches.sort_by(|a, b| b.1.total_cmp(&a.1));
        caches
    }

    /// How many sessions each limit would allow, the lowest first, with what it is.
    fn ceilings(&self, limits: &Limits) -> Vec<(u64, String)> {
        let Self { before, held, .. } = self;
        let user = self.per_session(before.ringway_kib, held.ringway_kib);
        let tool = self.per_session(before.tool_kib, held.tool_kib);
        let kernel = self.per_session(before.slab_kib, held.slab_kib);
        let all = (user + tool + kernel).max(1.0);
        let memory = (before.available_kib as f64 * 1024.0 / all) as u64;
        let workers = (WORKERS_MAX * self.per_worker) as u64;
        let pages = held.tcp_pages.saturating_sub(before.tcp_pages);
        let mut ceilings = vec![
            (memory, format!("memory: {all:.0} bytes a session with all its ends on this host")),
            (
                limits.files / 4,
                format!("fs.file-max: {} files, 4 a session (root has no limit)", limits.files),
            ),
            (workers, format!("descriptors: {WORKERS_MAX} workers of {}", self.per_worker)),
        ];
        if let Some(sessions) = (limits.tcp_pages * self.sessions as u64).checked_div(pages) {
            let message = format!(
                "tcp_mem: {pages} pages of {} in use with {} sessions",
                limits.tcp_pages, self.sessions
            );
            ceilings.push((sessions, message));
        }
        ceilings.sort_by_key(|(sessions, _)| *sessions);
        ceilings
    }
}

/// Prints it, and writes `scale-N.txt` and `scale-N.json`.
pub(crate) fn write(
    options: &Options,
    measured: &Measured,
) -> Result<(), Box<dyn std::error::Error>> {
    let limits = Limits::now()?;
    let text = text(options, measured, &limits)?;
    println!("\n{text}");
    // The program runs from target/release/deps.
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(3).unwrap_or(Path::new("target"));
    let folder = target.join("bench");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("scale-{}.txt", options.sessions)), &text)?;
    let json = serde_json::to_string_pretty(&json(options, measured, &limits))?;
    fs::write(folder.join(format!("scale-{}.json", options.sessions)), json)?;
    println!("written to {}/scale-{}.{{txt,json}}", folder.display(), options.sessions);
    Ok(())
}

fn text(options: &Options, run: &Measured, limits: &Limits) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    writeln!(out, "ringway at scale: {}", limits.machine)?;
    sessions(&mut out, options, run)?;
    memory(&mut out, run, limits)?;
    writeln!(out, "per server           {}", spread(&run.per_server))?;
    writeln!(out, "per source address   {}", spread(&run.per_source))?;
    writeln!(out, "per worker           {}", spread(&run.per_worker_held))?;
    writeln!(out, "ceilings, lowest first")?;
    for (sessions, what) in run.ceilings(limits) {
        writeln!(out, "  {sessions:>12}       {what}")?;
    }
    writeln!(
        out,
        "     no ceiling       ports: {} for each pair of source and destination; \
         clients have {} sources, ringway took {}",
        limits.ports,
        run.threads,
        run.per_source.len()
    )?;
    Ok(out)
}

fn sessions(out: &mut String, options: &Options, run: &Measured) -> std::fmt::Result {
    let Measured { sessions, ramp, tally, .. } = run;
    writeln!(out, "asked for            {} sessions, {}", options.sessions, options.load())?;
    writeln!(out, "held                 {sessions} for {} s", options.hold)?;
    writeln!(out, "failures             {}{}", run.failures(), failures(tally))?;
    writeln!(
        out,
        "ringway's account    accepted {}, closed {}, left open {}",
        run.totals.accepted, run.totals.closed, run.left_at_workers
    )?;
    writeln!(
        out,
        "one process          ulimit -n {}, {} workers of {} sessions",
        run.descriptors, run.workers, run.per_worker
    )?;
    writeln!(
        out,
        "ramp                 {:.1} s, {:.0}/s on average, {}/s in the best second; ended: {}; \
         backlogs overflowed {} times",
        ramp.seconds,
        *sessions as f64 / ramp.seconds.max(0.001),
        ramp.best_per_s,
        ramp.stopped,
        run.ramped.overflows - run.before.overflows
    )?;
    writeln!(out, "connect to answer    {}", percentiles(&tally.first_us))?;
    writeln!(out, "echo at full load    {}", percentiles(&tally.echo_us))?;
    writeln!(
        out,
        "cpu at full load     {:.1} % of a core",
        run.cpu_us as f64 / (options.hold as f64 * 10_000.0)
    )
}

fn memory(out: &mut String, run: &Measured, limits: &Limits) -> std::fmt::Result {
    let Measured { before, ramped, held, .. } = run;
    writeln!(
        out,
        "user memory          {:.0} bytes a session after the ramp, {:.0} at the end \
         ({} KiB before, {} KiB at the end)",
        run.per_session(before.ringway_kib, ramped.ringway_kib),
        run.per_session(before.ringway_kib, held.ringway_kib),
        before.ringway_kib,
        held.ringway_kib
    )?;
    writeln!(
        out,
        "kernel slab          {:.0} bytes a session: 4 sockets, and the clients' and servers' own",
        run.per_session(before.slab_kib, held.slab_kib)
    )?;
    for (name, bytes) in run.caches().into_iter().take(CACHES_SHOWN) {
        writeln!(out, "                     {bytes:>6.0} {name}")?;
    }
    writeln!(
        out,
        "tcp buffers          {} pages of {}; {} sockets",
        held.tcp_pages, limits.tcp_pages, held.tcp_sockets
    )
}

/// Each kind that happened, with its count.
fn failures(tally: &Tally) -> String {
    let mut text = String::new();
    for (failure, word) in Failure::ALL {
        let count = tally.failures[failure as usize];
        if count > 0 {
            let _ = write!(text, ", {count} {word}");
        }
    }
    text
}

/// `sorted_us[share * length]`.
fn percentile(sorted_us: &[u32], share: f64) -> u32 {
    let last = sorted_us.len().saturating_sub(1);
    sorted_us.get((last as f64 * share) as usize).copied().unwrap_or(0)
}

fn percentiles(sorted_us: &[u32]) -> String {
    if sorted_us.is_empty() {
        return "-".to_owned();
    }
    let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|share| percentile(sorted_us, share));
    let count = sorted_us.len();
    let max = percentile(sorted_us, 1.0);
    format!("p50 {p50} µs, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max} ({count} answers)")
}

fn spread(counts: &[usize]) -> String {
    let (min, max) = (counts.iter().min().unwrap_or(&0), counts.iter().max().unwrap_or(&0));
    let mean = counts.iter().sum::<usize>() as f64 / counts.len().max(1) as f64;
    let over = *max as f64 / mean.max(1.0);
    format!("{min} to {max} of {mean:.0} on average, largest/mean {over:.3} ({})", counts.len())
}

fn json(options: &Options, run: &Measured, limits: &Limits) -> Value {
    let Measured { before, ramped, held, tally, .. } = run;
    let latency = |sorted_us: &[u32]| {
        json!({
            "answers": sorted_us.len(),
            "p50_us": percentile(sorted_us, 0.5),
            "p90_us": percentile(sorted_us, 0.9),
            "p99_us": percentile(sorted_us, 0.99),
            "p999_us": percentile(sorted_us, 0.999),
            "max_us": percentile(sorted_us, 1.0),
        })
    };
    let ceilings: Vec<Value> = run
        .ceilings(limits)
        .into_iter()
        .map(|(sessions, why)| json!({ "sessions": sessions, "why": why }))
        .collect();
    let kinds = Failure::ALL.map(|(failure, word)| (word, tally.failures[failure as usize]));
    json!({
        "machine": limits.machine,
        "asked": options.sessions,
        "held": run.sessions,
        "every_s": options.every,
        "hold_s": options.hold,
        "failures": kinds.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        "accepted": run.totals.accepted,
        "closed": run.totals.closed,
        "left_open": run.left_at_workers,
        "descriptors": run.descriptors,
        "workers": run.workers,
        "sessions_per_worker": run.per_worker,
        "ramp": {
            "seconds": run.ramp.seconds,
            "best_per_s": run.ramp.best_per_s,
            "ended": run.ramp.stopped,
            "backlog_overflows": ramped.overflows - before.overflows,
        },
        "connect_to_answer": latency(&tally.first_us),
        "echo": latency(&tally.echo_us),
        "cpu_us": run.cpu_us,
        "user_bytes_per_session": {
            "after_ramp": run.per_session(before.ringway_kib, ramped.ringway_kib),
            "at_the_end": run.per_session(before.ringway_kib, held.ringway_kib),
        },
        "kernel_slab_bytes_per_session": run.per_session(before.slab_kib, held.slab_kib),
        "slab_caches_bytes_per_session":
            run.caches().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "tcp_pages": held.tcp_pages,
        "tcp_sockets": held.tcp_sockets,
        "sessions_by_server": run.per_server,
        "sessions_by_source": run.per_source,
        "sessions_by_worker": run.per_worker_held,
        "ceilings": ceilings,
    })
}
