//! Where and with what a run was made.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use serde::Serialize;

use crate::options::Options;
use crate::peers::program_path;

/// Said in every report: figures without it mean nothing.
#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) ringway: String,
    pub(crate) nginx: String,
    pub(crate) haproxy: String,
    pub(crate) wrk: String,
    pub(crate) pieces: usize,
    pub(crate) piece_ms: u128,
    pub(crate) balancer_core: usize,
    pub(crate) load_core: usize,
}

pub(crate) fn machine(options: &Options) -> Machine {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Machine {
        date: date(),
        kernel: kernel.trim().to_owned(),
        cpu: model.map_or("unknown", |(_, model)| model).to_owned(),
        cores: cpu.lines().filter(|line| line.starts_with("processor")).count(),
        ringway: version("ringway", &options.ringway, "--version"),
        nginx: version("nginx", &program_path(Path::new("nginx")), "-v"),
        haproxy: version("HAProxy", &program_path(Path::new("haproxy")), "-v"),
        wrk: version("wrk", Path::new("wrk"), "-v"),
        pieces: options.pieces,
        piece_ms: options.piece.as_millis(),
        balancer_core: options.balancer_core,
        load_core: options.load_core,
    }
}

/// A program's name, and the first number in the first line that it prints about itself.
fn version(name: &str, program: &Path, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else {
        return format!("{name} (unknown version)");
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let mut words = text.lines().next().unwrap_or_default().split([' ', '/']);
    let number = words.find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    format!("{name} {}", number.unwrap_or("(unknown version)"))
}

/// Today in UTC, by the rule of Howard Hinnant's `civil_from_days`.
fn date() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let days = since.as_secs() / 86_400 + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}
