//! Lower quartiles and ratios: interference only ever adds to a cost, so the low pieces are the
//! ones nearest to the truth.

use serde::Serialize;

/// The pieces of one balancer in one figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
    /// Pieces during which something else used the balancer's core, however often it was tried.
    pub(crate) disturbed: usize,
}

/// One series over another: by their lower quartiles, and the middle half of the pairs of pieces
/// that were neighbours in time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) ratio: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Series {
    pub(crate) fn lower_quartile(&self) -> f64 {
        quantile(&self.values, 0.25)
    }

    pub(crate) fn upper_quartile(&self) -> f64 {
        quantile(&self.values, 0.75)
    }

    /// For figures in which the balancer is meant to share its core.
    pub(crate) fn undisturbed(self) -> Self {
        Self { disturbed: 0, ..self }
    }

    pub(crate) fn over(&self, other: &Self) -> Ratio {
        let pairs = self.values.iter().zip(&other.values);
        let pairs: Vec<f64> = pairs.map(|(value, other)| value / other).collect();
        Ratio {
            ratio: self.lower_quartile() / other.lower_quartile(),
            low: quantile(&pairs, 0.25),
            high: quantile(&pairs, 0.75),
        }
    }
}

/// Between the two nearest values, in proportion; not a number where there are none.
pub(crate) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = part * sorted.len().saturating_sub(1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    match (sorted.get(below), sorted.get(above)) {
        (Some(low), Some(high)) => low + (high - low) * place.fract(),
        _ => f64::NAN,
    }
}
