//! One figure as bars: the lower quartile, and a whisker from there to the upper one.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Result;
use crate::figures::Figure;
use crate::report::number;
use crate::stats::Series;

/// Pixels.
const WIDTH: u32 = 760;
const TITLE: i32 = 44;
const ROW: i32 = 34;
const NAMES: i32 = 230;
const NUMBERS: i32 = 110;

pub(crate) fn write(figure: &Figure, path: &Path) -> Result<()> {
    let rows = i32::try_from(figure.series.len())?;
    let size = (WIDTH, u32::try_from(TITLE + ROW * rows + 12)?);
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    let sans = |size: i32| ("sans-serif", size).into_font().color(&BLACK);
    let unit = if figure.unit.is_empty() { String::new() } else { format!(" ({})", figure.unit) };
    area.draw(&Text::new(format!("{}{unit}", figure.title), (12, 12), sans(18)))?;
    let most = figure.series.iter().map(Series::upper_quartile).fold(0.0, f64::max);
    let space = f64::from(WIDTH) - f64::from(NAMES + NUMBERS);
    // Pixels of a value.
    let length = |value: f64| (value / most.max(f64::MIN_POSITIVE) * space) as i32;
    let right = sans(14).pos(Pos::new(HPos::Right, VPos::Center));
    let left = sans(14).pos(Pos::new(HPos::Left, VPos::Center));
    for (row, series) in figure.series.iter().enumerate() {
        let top = TITLE + ROW * i32::try_from(row)?;
        let middle = top + ROW / 2;
        let (low, high) = (series.lower_quartile(), series.upper_quartile());
        let color = if series.name.starts_with("ringway") {
            RGBColor(196, 78, 40)
        } else {
            RGBColor(120, 134, 150)
        };
        area.draw(&Text::new(series.name.clone(), (NAMES - 8, middle), right.clone()))?;
        let corners = [(NAMES, top + 5), (NAMES + length(low), top + ROW - 5)];
        area.draw(&Rectangle::new(corners, color.filled()))?;
        let (from, to) = ((NAMES + length(low), middle), (NAMES + length(high), middle));
        area.draw(&PathElement::new(vec![from, to], BLACK.stroke_width(2)))?;
        area.draw(&Text::new(number(low), (to.0 + 8, middle), left.clone()))?;
    }
    area.present()?;
    Ok(())
}
