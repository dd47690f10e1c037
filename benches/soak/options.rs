//! What is asked for.

use std::path::{Path, PathBuf};

use clap::Parser;

/// Load of every kind through one ringway, while it reloads and its servers die, checked to the
/// last byte
#[derive(Debug, Parser)]
#[command(name = "soak")]
pub(crate) struct Options {
    /// Minutes of load; starting and ending come on top
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    pub(crate) minutes: u64,
    /// What everything is drawn from; another one each time if not given
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Passed on to ringway
    #[arg(long)]
    pub(crate) engine: Option<String>,
    /// Instead: reloads, one each 100 ms, under 2,000 WebSockets and 1,000 new connections a
    /// second
    #[arg(long)]
    pub(crate) reload: bool,
    /// How many with `--reload`
    #[arg(long, default_value_t = 300)]
    pub(crate) reloads: usize,
    /// Another ringway than the one that was just built
    #[arg(long, default_value = env!("CARGO_BIN_EXE_ringway"), hide_default_value = true)]
    pub(crate) ringway: PathBuf,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Where ringway's log is copied to, to be looked at when something is wrong.
    pub(crate) fn log(&self) -> std::io::Result<PathBuf> {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = target.parent().unwrap_or(target).join("bench");
        std::fs::create_dir_all(&folder)?;
        Ok(folder.join("soak.log"))
    }
}
