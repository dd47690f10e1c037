//! What a run is asked for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;

/// Pieces, milliseconds of each, and seconds to wait in all for others to leave the balancer's
/// core, in a full run: of fifteen pieces, four are at or below the lower quartile.
const FULL: (usize, u64, u64) = (15, 800, 120);
/// In a quick one.
const QUICK: (usize, u64, u64) = (3, 400, 20);

/// ringway beside nginx, HAProxy and tokio-uring, on one core, in the same run
#[derive(Parser)]
struct Words {
    /// Fewer and shorter pieces: about two minutes, and wider spreads
    #[arg(long)]
    quick: bool,
    /// Pieces for each balancer in each figure; the variable RINGWAY_BENCH_PIECES does the same
    #[arg(long)]
    pieces: Option<usize>,
    /// Milliseconds of a piece
    #[arg(long)]
    piece_ms: Option<u64>,
    /// Seconds to wait in all until nobody else uses the balancer's core; later pieces are taken as
    /// they come, and those that were disturbed are said to be
    #[arg(long)]
    patience_s: Option<u64>,
    /// Only these figures, by the words that the run prints
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Core of the balancers
    #[arg(long, default_value_t = 1)]
    balancer_core: usize,
    /// Core of load and servers
    #[arg(long, default_value_t = 0)]
    load_core: usize,
    /// Another ringway than the one that was just built
    #[arg(long, default_value = env!("CARGO_BIN_EXE_ringway"), hide_default_value = true)]
    ringway: PathBuf,
    /// What `cargo bench` says
    #[arg(long, hide = true)]
    bench: bool,
}

pub(crate) struct Options {
    pub(crate) pieces: usize,
    pub(crate) piece: Duration,
    pub(crate) patience: Duration,
    pub(crate) only: Vec<String>,
    pub(crate) balancer_core: usize,
    pub(crate) load_core: usize,
    pub(crate) ringway: PathBuf,
    /// Where the report is written.
    pub(crate) report: PathBuf,
}

/// From the command line, or ends the program with what is wrong there.
pub(crate) fn read() -> Options {
    let words = Words::parse();
    let (pieces, piece_ms, patience_s) = if words.quick { QUICK } else { FULL };
    let variable = std::env::var("RINGWAY_BENCH_PIECES").ok();
    let variable = variable.and_then(|text| text.parse().ok());
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    Options {
        pieces: words.pieces.or(variable).unwrap_or(pieces).max(1),
        piece: Duration::from_millis(words.piece_ms.unwrap_or(piece_ms)),
        patience: Duration::from_secs(words.patience_s.unwrap_or(patience_s)),
        only: words.only,
        balancer_core: words.balancer_core,
        load_core: words.load_core,
        ringway: words.ringway,
        report: target.parent().unwrap_or(target).join("bench"),
    }
}
