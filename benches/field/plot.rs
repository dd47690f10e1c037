//! One figure as bars: the lower quartile, and a whisker from there to the upper one.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Result;
use crate::figures::Figure;
use crate::peers::Kind;
use crate::report::number;
use crate::stats::Series;

/// Pixels.
const WIDTH: u32 = 820;
const MARGIN: i32 = 14;
const TITLE: i32 = 46;
const ROW: i32 = 34;
/// Above and below a bar.
const GAP: i32 = 6;
/// Half the height of a whisker's end.
const CAP: i32 = 5;
const LEGEND: i32 = 40;
/// For names, left of the bars, and for numbers behind the longest of them.
const NAMES: i32 = 230;
const NUMBERS: i32 = 160;

const OURS: RGBColor = RGBColor(196, 78, 40);
const THEIRS: RGBColor = RGBColor(138, 151, 166);
/// For what is no balancer, but what the others can be measured by.
const NOBODY: RGBColor = RGBColor(205, 211, 218);
const QUIET: RGBColor = RGBColor(96, 102, 110);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub(crate) fn write(figure: &Figure, path: &Path) -> Result<()> {
    let rows = i32::try_from(figure.series.len())?;
    let height = TITLE + ROW * rows + LEGEND;
    let area = SVGBackend::new(path, (WIDTH, u32::try_from(height)?)).into_drawing_area();
    area.fill(&WHITE)?;
    let unit = if figure.unit.is_empty() { String::new() } else { format!(", {}", figure.unit) };
    text(&area, &format!("{}{unit}", figure.title), (MARGIN, TITLE / 2), HPos::Left, 20, BLACK)?;
    let most = figure.series.iter().map(Series::upper_quartile).fold(0.0, f64::max);
    let space = f64::from(WIDTH) - f64::from(NAMES + NUMBERS);
    for (row, series) in (0..).zip(&figure.series) {
        let pixels = |value: f64| NAMES + (value / most.max(f64::MIN_POSITIVE) * space) as i32;
        bar(&area, series, TITLE + ROW * row, pixels)?;
    }
    legend(&area, figure, height - LEGEND / 2)?;
    area.present()?;
    Ok(())
}

/// The row that begins at `top`.
fn bar(area: &Area<'_>, series: &Series, top: i32, pixels: impl Fn(f64) -> i32) -> Result<()> {
    let middle = top + ROW / 2;
    let (low, high) = (series.lower_quartile(), series.upper_quartile());
    let (from, to) = (pixels(low), pixels(high));
    let color = match &*series.name {
        ours if ours.starts_with("ringway") => OURS,
        no_balancer if no_balancer == Kind::Direct.name() || no_balancer == "even" => NOBODY,
        _ => THEIRS,
    };
    text(area, &series.name, (NAMES - 10, middle), HPos::Right, 15, BLACK)?;
    // What is too small to be seen is still there.
    let corners = [(NAMES, top + GAP), (from.max(NAMES + 1), top + ROW - GAP)];
    area.draw(&Rectangle::new(corners, color.filled()))?;
    whisker(area, (from, to), middle)?;
    let value = number(low);
    text(area, &value, (to + 10, middle), HPos::Left, 15, BLACK)?;
    let spread = (to + 16 + width(&value), middle);
    text(area, &format!("to {}", number(high)), spread, HPos::Left, 13, QUIET)
}

/// Of a number at size 15, in what browsers take for sans-serif: nobody measures fonts here.
fn width(number: &str) -> i32 {
    number.chars().map(|letter| if letter.is_ascii_digit() { 8 } else { 4 }).sum()
}

fn whisker(area: &Area<'_>, (from, to): (i32, i32), middle: i32) -> Result<()> {
    let ends = [(to, middle - CAP), (to, middle + CAP)];
    for line in [vec![(from, middle), (to, middle)], ends.to_vec()] {
        area.draw(&PathElement::new(line, BLACK.stroke_width(2)))?;
    }
    Ok(())
}

fn legend(area: &Area<'_>, figure: &Figure, middle: i32) -> Result<()> {
    let better = if figure.more_is_better { "more" } else { "less" };
    let words = format!(
        "bar: lower quartile of the pieces; line: to the upper quartile; {better} is better"
    );
    text(area, &words, (NAMES, middle), HPos::Left, 13, QUIET)
}

fn text(
    area: &Area<'_>,
    words: &str,
    at: (i32, i32),
    side: HPos,
    size: i32,
    color: RGBColor,
) -> Result<()> {
    let style = ("sans-serif", size).into_font().color(&color).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(words.to_owned(), at, style))?;
    Ok(())
}
