//! Findings as people read them, 80 columns wide, and as programs do.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::ctl::units;

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing to do.
    Ok,
    /// It works, and could be better.
    Advice,
    /// It will not work.
    Broken,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Of what it is about, the same for ever.
    pub id: &'static str,
    /// How it stands.
    pub state: State,
    /// In plain words.
    pub says: String,
    /// What to do, a command or a line of a file each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub change: Vec<String>,
    /// The numbers in it.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub figures: Map<String, Value>,
}

impl Finding {
    pub(super) fn new(id: &'static str, state: State, says: impl Into<String>) -> Self {
        Self { id, state, says: says.into(), change: Vec::new(), figures: Map::new() }
    }

    pub(super) fn ok(id: &'static str, says: impl Into<String>) -> Self {
        Self::new(id, State::Ok, says)
    }

    pub(super) fn advice(id: &'static str, says: impl Into<String>) -> Self {
        Self::new(id, State::Advice, says)
    }

    pub(super) fn broken(id: &'static str, says: impl Into<String>) -> Self {
        Self::new(id, State::Broken, says)
    }

    pub(super) fn change(mut self, what: impl Into<String>) -> Self {
        self.change.push(what.into());
        self
    }

    pub(super) fn figure(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.figures.insert(name.to_owned(), value.into());
        self
    }
}

/// What belongs together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Section {
    /// Its heading.
    pub title: &'static str,
    /// In the order in which they are read.
    pub findings: Vec<Finding>,
}

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Which host this is, in a line.
    pub host: String,
    /// What was found, by what it is about.
    pub sections: Vec<Section>,
}

/// Columns of a terminal that was never made wider.
const COLUMNS: usize = 80;
/// Columns before the words: a mark, and what it is about.
const INDENT: usize = 20;

impl Report {
    /// How the worst of it stands.
    pub fn state(&self) -> State {
        self.findings().map(|finding| finding.state).max().unwrap_or(State::Ok)
    }

    /// Everything, for programs.
    pub fn json(&self) -> Value {
        serde_json::json!({
            "ringway": env!("CARGO_PKG_VERSION"),
            "host": self.host,
            "state": self.state(),
            "findings": self.findings().collect::<Vec<_>>(),
        })
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.sections.iter().flat_map(|section| &section.findings)
    }

    fn count(&self, state: State) -> usize {
        self.findings().filter(|finding| finding.state == state).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.host)?;
        for section in &self.sections {
            writeln!(f, "\n{}", section.title)?;
            for finding in &section.findings {
                write_finding(finding, f)?;
            }
        }
        let (broken, advice) = (self.count(State::Broken), self.count(State::Advice));
        let advice = match advice {
            0 => "nothing could be better".to_owned(),
            1 => "one thing could be better (!)".to_owned(),
            many => format!("{many} things could be better (!)"),
        };
        match broken {
            0 => writeln!(f, "\nEverything will work; {advice}."),
            1 => writeln!(f, "\nOne thing will not work (X); {advice}."),
            many => writeln!(f, "\n{many} things will not work (X); {advice}."),
        }?;
        let sets = |finding: &Finding| finding.change.iter().any(|how| how.contains("sysctl -w"));
        if self.findings().any(sets) {
            f.write_str(
                "`sysctl -w` lasts until the next boot, a file in /etc/sysctl.d for good.\n",
            )?;
        }
        Ok(())
    }
}

fn write_finding(finding: &Finding, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mark = match finding.state {
        State::Ok => ' ',
        State::Advice => '!',
        State::Broken => 'X',
    };
    let mut label = format!("{mark} {}", finding.id);
    for line in wrapped(&finding.says, COLUMNS - INDENT) {
        writeln!(f, "{label:<INDENT$}{line}")?;
        label.clear();
    }
    // To be copied, so in one piece however long.
    for change in &finding.change {
        writeln!(f, "{:<INDENT$}$ {change}", "")?;
    }
    Ok(())
}

/// Lines of at most so many columns, broken between words.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a first line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= columns {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// `2.9 million`, or to the last one below 100,000.
pub(super) fn rough(number: u64) -> String {
    match number {
        0..100_000 => units::count(number),
        100_000..1_000_000 => format!("{},000", number / 1_000),
        _ => format!("{:.1} million", number as f64 / 1e6),
    }
}

/// `23.4 GiB`.
pub(super) fn bytes(number: u64) -> String {
    let number = number as f64;
    match number {
        _ if number >= 1024f64.powi(3) => format!("{:.1} GiB", number / 1024f64.powi(3)),
        _ if number >= 1024f64.powi(2) => format!("{:.1} MiB", number / 1024f64.powi(2)),
        _ => format!("{:.0} KiB", number / 1024.0),
    }
}
