//! The report: tables in Markdown, everything in JSON, a plot for each figure.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::bench::Bench;
use crate::figures::{Comparison, Figure};
use crate::machine::{Machine, machine};
use crate::stats::Series;
use crate::{Result, plot, readme};

/// What `report.json` holds.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    pub(crate) machine: Machine,
    pub(crate) figures: &'a [Figure],
    pub(crate) failures: &'a [String],
    /// Programs seen on the balancer's core before a figure.
    disturbers: &'a BTreeSet<String>,
}

/// Writes `report.md`, `readme.md`, `report.json` and the plots; returns the first of them.
pub(crate) fn write(bench: &Bench, figures: &[Figure], failures: &[String]) -> Result<String> {
    let options = &bench.options;
    let disturbers = &*bench.disturbers.borrow();
    let report = Report { machine: machine(options), figures, failures, disturbers };
    remove_plots(&options.report)?;
    let text = markdown(&report)?;
    fs::write(options.report.join("report.md"), &text)?;
    fs::write(options.report.join("readme.md"), readme::section(&report)?)?;
    fs::write(options.report.join("report.json"), serde_json::to_string_pretty(&report)?)?;
    for figure in figures {
        plot::write(figure, &options.report.join(format!("{}.svg", figure.id)))?;
    }
    Ok(text)
}

/// Those of an earlier run, which may have had other figures.
fn remove_plots(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "svg") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn markdown(report: &Report<'_>) -> Result<String> {
    let mut text = String::new();
    let Machine { date, kernel, cpu, cores, ringway, nginx, haproxy, wrk, .. } = &report.machine;
    let Machine { pieces, piece_ms, balancer_core, load_core, .. } = &report.machine;
    writeln!(text, "# Benchmark of {date}\n")?;
    writeln!(
        text,
        "{ringway}, {nginx}, {haproxy}, {wrk}; Linux {kernel}, {cpu}, {cores} cores.\n"
    )?;
    writeln!(
        text,
        "Each balancer has one worker, on core {balancer_core}; load and servers are on core \
         {load_core}. Pieces of about {piece_ms} ms alternate, {pieces} for each balancer; a \
         number is the lower quartile of them, since interference only ever adds, and in brackets \
         is the middle half of what neighbouring pieces gave.\n"
    )?;
    if !report.disturbers.is_empty() {
        let names: Vec<_> = report.disturbers.iter().map(String::as_str).collect();
        let names = names.join(", ");
        writeln!(
            text,
            "**Not a quiet machine**: on the balancer's core there was also {names}.\n"
        )?;
    }
    writeln!(text, "| figure | ringway | against | ratio | must be | aim | reached |")?;
    writeln!(text, "|---|---|---|---|---|---|---|")?;
    for figure in report.figures {
        for comparison in &figure.comparisons {
            writeln!(text, "{}", comparison_line(figure, comparison))?;
        }
    }
    writeln!(text, "\n## Every balancer\n")?;
    for figure in report.figures {
        writeln!(text, "### {}\n\n{}\n", figure.title, sentence(figure.note))?;
        writeln!(text, "| | {} | middle half | to nginx stream |", unit(figure))?;
        writeln!(text, "|---|---|---|---|")?;
        for series in &figure.series {
            writeln!(text, "{}", series_line(figure, series))?;
        }
        writeln!(text)?;
    }
    if !report.failures.is_empty() {
        writeln!(text, "## Not measured\n")?;
        for failure in report.failures {
            writeln!(text, "* {failure}")?;
        }
    }
    Ok(text)
}

fn comparison_line(figure: &Figure, comparison: &Comparison) -> String {
    let Comparison { of, against, ratio, most, aim, .. } = comparison;
    let find = |name: &str| figure.series.iter().find(|series| series.name == name);
    let value = |name: &str| find(name).map_or(f64::NAN, Series::lower_quartile);
    let reached = match comparison.reached {
        None => "",
        Some(false) => "**no**",
        Some(true) if aim.is_some_and(|aim| ratio.ratio <= aim) => "yes, and the aim",
        Some(true) => "yes",
    };
    let or_empty = |number: &Option<f64>| number.map_or(String::new(), |n| format!("{n:.2}"));
    let of = if of == "ringway" { String::new() } else { format!(" ({of})") };
    format!(
        "| {}{of} | {} {unit} | {against}: {} {unit} | **{:.2}** ({:.2}–{:.2}) | {} | {} | \
         {reached} |",
        figure.title,
        number(value(&comparison.of)),
        number(value(against)),
        ratio.ratio,
        ratio.low,
        ratio.high,
        or_empty(most),
        or_empty(aim),
        unit = figure.unit,
    )
}

fn series_line(figure: &Figure, series: &Series) -> String {
    let nginx = figure.series.iter().find(|other| other.name == "nginx stream");
    let ratio = nginx.map_or(String::new(), |nginx| {
        let ratio = series.over(nginx);
        format!("{:.2} ({:.2}–{:.2})", ratio.ratio, ratio.low, ratio.high)
    });
    let disturbed = match series.disturbed {
        0 => String::new(),
        count => format!(" ({count} of {} pieces disturbed)", series.values.len()),
    };
    format!(
        "| {}{disturbed} | {} | {}–{} | {ratio} |",
        series.name,
        number(series.lower_quartile()),
        number(series.lower_quartile()),
        number(series.upper_quartile()),
    )
}

fn unit(figure: &Figure) -> &str {
    if figure.unit.is_empty() { "ratio" } else { figure.unit }
}

/// Notes are written as they stand in a list; here they are paragraphs.
fn sentence(note: &str) -> String {
    let mut letters = note.chars();
    // Names keep their case.
    let keeps = ["wrk", "nginx", "ringway"].iter().any(|name| note.starts_with(name));
    match letters.next() {
        Some(first) if !keeps => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        Some(_) => format!("{note}."),
        None => String::new(),
    }
}

/// Three digits that mean something, and thousands apart.
pub(crate) fn number(value: f64) -> String {
    if value.abs() >= 1e4 {
        let thousands = (value / 1e3).trunc();
        return format!("{thousands:.0},{:03.0}", (value - thousands * 1e3).abs().floor());
    }
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        small if small >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}
