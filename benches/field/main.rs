//! `make bench`: ringway beside nginx, HAProxy and a relay on tokio-uring, in the same run.
//!
//! ```text
//! core 0                       core 1
//! load ──────────────────────▶ balancer ─┐   pieces of all balancers alternate;
//! servers ◀──────────────────────────────┘   the meter reads the balancer's CPU
//! ```
//!
//! Files in reading order: what is asked for, what is run, how it is measured, the servers, the
//! load, the figures, the report. Installs nothing (`benches/setup.sh` does), changes nothing on
//! the machine, and takes every process it started with it when it ends.

mod options;

mod baseline;
mod peers;
mod process;

mod bench;
mod meter;
mod stats;

mod pattern;
mod server;
mod websocket;

mod load;

mod figures;

mod machine;
mod plot;
mod readme;
mod report;

use std::ffi::OsString;
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let result = match words.first().map(|word| word.to_string_lossy()).as_deref() {
        Some("baseline") => baseline::serve(&words[1..]),
        Some("child") => process::become_child(&words[1..]),
        Some("server") => server::serve(&words[1..]),
        // Only `cargo bench` says this; `cargo test --all-targets` shall not wait ten minutes.
        _ if words.iter().any(|word| word == "--bench") => run(),
        _ => Ok(()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let bench = bench::Bench::new(options::read())?;
    let (figures, failures) = figures::all(&bench);
    let text = report::write(&bench, &figures, &failures)?;
    println!("{text}");
    eprintln!("written to {}", bench.options.report.display());
    if failures.is_empty() {
        Ok(())
    } else {
        Err(format!("{} not measured", failures.len()).into())
    }
}
