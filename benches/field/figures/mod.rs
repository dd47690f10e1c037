//! The figures, in the order of the report: each starts its balancers, alternates their pieces,
//! and says what is compared with what, and how far it should be ahead.

mod latency;
mod requests;
mod sessions;
mod streams;

use serde::Serialize;

use crate::Result;
use crate::bench::Bench;
use crate::stats::{Ratio, Series};

/// One thing that was measured, for every balancer it makes sense for.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) id: &'static str,
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) series: Vec<Series>,
    pub(crate) comparisons: Vec<Comparison>,
    /// True for rates, false for costs.
    pub(crate) more_is_better: bool,
    /// What a reader must know to judge it, above all where it flatters ringway.
    pub(crate) note: &'static str,
}

/// One series over another, and what is wanted of that.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) of: String,
    pub(crate) against: String,
    pub(crate) ratio: Ratio,
    pub(crate) most: Option<f64>,
    pub(crate) aim: Option<f64>,
    /// Whether it is what it must be; `None` where nothing is wanted.
    pub(crate) reached: Option<bool>,
}

impl Figure {
    fn new(id: &'static str, title: &str, unit: &'static str, series: Vec<Series>) -> Self {
        let (title, comparisons) = (title.to_owned(), Vec::new());
        Self { id, title, unit, series, comparisons, more_is_better: false, note: "" }
    }

    fn more_is_better(mut self) -> Self {
        self.more_is_better = true;
        self
    }

    fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    /// Compares two series by name; `most` and `aim` are what the ratio must and should be below.
    fn compare(mut self, of: &str, against: &str, wanted: Option<(f64, f64)>) -> Self {
        let find = |name: &str| self.series.iter().find(|series| series.name == name);
        if let (Some(first), Some(second)) = (find(of), find(against)) {
            let ratio = first.over(second);
            let comparison = Comparison {
                of: of.to_owned(),
                against: against.to_owned(),
                ratio,
                most: wanted.map(|(most, _)| most),
                aim: wanted.map(|(_, aim)| aim),
                reached: wanted.map(|(most, _)| ratio.ratio <= most),
            };
            self.comparisons.push(comparison);
        }
        self
    }

    /// Takes a limit as reached where the middle half of the pairs reaches it: for what no number
    /// of pieces settles.
    fn within_noise(mut self) -> Self {
        for comparison in &mut self.comparisons {
            comparison.reached = comparison.most.map(|most| comparison.ratio.low <= most);
        }
        self
    }
}

/// What makes one or more figures, and the word it is chosen by on the command line.
type Maker = fn(&Bench) -> Result<Vec<Figure>>;

const MAKERS: [(&str, Maker); 11] = [
    ("keep-alive", requests::keep_alive),
    ("close", requests::close),
    ("bulk", streams::bulk),
    ("websocket", streams::websocket),
    ("latency", latency::latency),
    ("memory", sessions::memory),
    ("peek", requests::peek),
    ("spread", sessions::spread),
    ("workers", sessions::workers),
    ("objects", streams::objects),
    ("polling", requests::polling),
];

/// All figures, and what went wrong with those that are missing.
pub(crate) fn all(bench: &Bench) -> (Vec<Figure>, Vec<String>) {
    let mut figures = Vec::new();
    let mut failures = Vec::new();
    for (word, maker) in MAKERS {
        if !bench.options.only.is_empty() && !bench.options.only.iter().any(|only| only == word) {
            continue;
        }
        eprintln!("{word}");
        match maker(bench) {
            Ok(made) => figures.extend(made),
            Err(error) => {
                eprintln!("  failed: {error}");
                failures.push(format!("{word}: {error}"));
            }
        }
    }
    (figures, failures)
}
