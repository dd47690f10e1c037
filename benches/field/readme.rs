//! What of a report belongs into the README, as it can be pasted there.
//!
//! Numbers of nginx stream, and how all others compare with it; what flatters ringway is said.

use std::fmt::Write;

use crate::Result;
use crate::figures::{Comparison, Figure};
use crate::machine::Machine;
use crate::peers::Kind;
use crate::report::{Report, number};
use crate::stats::{Ratio, Series};

/// Columns of the prose, and of the lines of a list without their indent; tables are as wide as
/// they are.
const COLUMNS: usize = 98;

/// Share of disturbed pieces up to which lower quartiles stay right.
const DISTURBED_MAX: f64 = 0.1;

/// Columns behind nginx stream and ringway, and what stands above them.
const OTHERS: [(Kind, &str); 5] = [
    (Kind::NginxHttp, "nginx http"),
    (Kind::HaproxyTcp, "HAProxy tcp"),
    (Kind::HaproxySplice, "HAProxy spliced"),
    (Kind::HaproxyHttp, "HAProxy http"),
    (Kind::TokioUring, "tokio-uring"),
];

/// Why the numbers are better than what a reader will see, why they are worse, and what the last
/// column is.
const CAVEATS: [&str; 3] = [
    "What flatters ringway: everything is on one machine, where splice passes memory on that no \
     network card ever has to fill; nginx and HAProxy are the distribution's packages; nginx \
     stream cannot splice at all; the http balancers read the head of every request, ringway of \
     none in the first table.",
    "What does not: the http balancers keep their server connections, so that they make half as \
     many where clients come and go, which a balancer that passes bytes untouched cannot; each \
     poll of Socket.IO is a connection of its own through ringway, while nginx's ip_hash sends \
     all clients of an address to one server; the kernel's TCP, the same for all, is most of what \
     a small message costs; load and server share a core, and are in every latency.",
    "tokio-uring is a relay of two copy loops for each session, without balancing, heads or \
     timeouts: what io_uring costs through a general runtime.",
];

/// The section; headings are left to the README.
pub(crate) fn section(report: &Report<'_>) -> Result<String> {
    let Machine { date, kernel, cpu, cores, ringway, nginx, haproxy, wrk, .. } = &report.machine;
    let Machine { pieces, piece_ms, .. } = &report.machine;
    let mut text = wrapped(&format!(
        "Measured on {date} with `make bench`: {ringway}, {nginx}, {haproxy}, {wrk}, Linux \
         {kernel}, {cpu}, {cores} cores. Each balancer has one core and one worker, load and \
         servers have another core; {pieces} pieces of about {piece_ms} ms for each balancer \
         alternate. Numbers are lower quartiles, ratios are to nginx stream (less is better), and \
         in brackets is the middle half of what neighbouring pieces gave."
    ));
    writeln!(text, "\n")?;
    if let Some(warning) = warning(report) {
        writeln!(text, "{}\n", wrapped(&warning))?;
    }
    let nginx = Kind::NginxStream.name();
    let has_nginx = |figure: &&Figure| find(figure, nginx).is_some() && !figure.more_is_better;
    let compared: Vec<&Figure> = report.figures.iter().filter(has_nginx).collect();
    if !compared.is_empty() {
        writeln!(text, "{}", table(&compared))?;
    }
    // The rest has comparisons of its own, by which ringway is judged against something else.
    let rest: Vec<&Figure> = report.figures.iter().filter(|f| find(f, nginx).is_none()).collect();
    if rest.iter().any(|figure| !figure.comparisons.is_empty()) {
        writeln!(text, "{}", rest_table(&rest))?;
    }
    for caveat in CAVEATS {
        writeln!(text, "{}", wrapped(&format!("* {caveat}")).replace('\n', "\n  "))?;
    }
    Ok(text)
}

/// What a reader of the numbers must know of the run, if anything.
fn warning(report: &Report<'_>) -> Option<String> {
    let series = report.figures.iter().flat_map(|figure| &figure.series);
    let pieces: usize = series.clone().map(|series| series.values.len()).sum();
    let disturbed: usize = series.map(|series| series.disturbed).sum();
    let mut words = Vec::new();
    if disturbed > 0 {
        words.push(format!(
            "Something else used the balancer's core in {disturbed} of {pieces} pieces."
        ));
    }
    if !report.failures.is_empty() {
        words.push(format!("Not measured: {}.", report.failures.join("; ")));
    }
    if disturbed as f64 > pieces as f64 * DISTURBED_MAX || !report.failures.is_empty() {
        words.insert(0, "**Not a run to quote.**".to_owned());
    }
    (!words.is_empty()).then(|| words.join(" "))
}

/// One line for each figure that nginx stream has a part in.
fn table(figures: &[&Figure]) -> String {
    let ringway = |figure: &Figure| {
        find(figure, Kind::Ringway.name()).zip(find(figure, Kind::NginxStream.name())).map(
            |(ringway, nginx)| {
                let ratio = ringway.over(nginx);
                [measure(figure, nginx), measure(figure, ringway), with_spread(&ratio)]
            },
        )
    };
    let mut lines = vec!["nginx stream", "ringway", "ratio"];
    lines.extend(OTHERS.map(|(_, heading)| heading));
    let mut text = format!("| | {} |\n|---|{}\n", lines.join(" | "), "--:|".repeat(lines.len()));
    for figure in figures {
        let mut cells = vec![figure.title.clone()];
        cells.extend(ringway(figure).unwrap_or_default());
        cells.extend(OTHERS.map(|(kind, _)| ratio(figure, kind)));
        text += &format!("| {} |\n", cells.join(" | "));
    }
    text
}

/// One line for each comparison.
fn rest_table(figures: &[&Figure]) -> String {
    let mut text = "| | | to | ratio |\n|---|---|---|--:|\n".to_owned();
    for figure in figures {
        for Comparison { of, against, ratio, .. } in &figure.comparisons {
            let value = |name: &str| {
                find(figure, name).map_or(String::new(), |series| measure(figure, series))
            };
            text += &format!(
                "| {} | {of}: {} | {against}: {} | {} |\n",
                figure.title,
                value(of),
                value(against),
                with_spread(ratio)
            );
        }
    }
    text
}

fn find<'f>(figure: &'f Figure, name: &str) -> Option<&'f Series> {
    figure.series.iter().find(|series| series.name == name)
}

fn measure(figure: &Figure, series: &Series) -> String {
    format!("{} {}", number(series.lower_quartile()), figure.unit).trim_end().to_owned()
}

/// To nginx stream; a dash where it was not measured.
fn ratio(figure: &Figure, kind: Kind) -> String {
    let pair = find(figure, kind.name()).zip(find(figure, Kind::NginxStream.name()));
    pair.map_or("–".to_owned(), |(series, nginx)| format!("{:.2}", series.over(nginx).ratio))
}

fn with_spread(ratio: &Ratio) -> String {
    // Below a tenth, two digits would be one.
    let digits = if ratio.ratio < 0.1 { 3 } else { 2 };
    let Ratio { ratio, low, high } = ratio;
    format!("**{ratio:.digits$}** ({low:.digits$}–{high:.digits$})")
}

fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always one");
        if line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines.push(word.to_owned());
        } else if line.is_empty() {
            line.push_str(word);
        } else {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n")
}
