//! The three panes: what their rows are, which columns they have, and in which order rows stand.
//!
//! No terminal, no clock.

use std::cmp::Ordering;

use serde_json::Value;

use crate::ctl::table::{Unit, find, written};
use crate::ctl::units;

/// One list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    /// Servers of all pools.
    Servers,
    /// Threads that move bytes.
    Workers,
    /// Sessions that are live.
    Sessions,
}

impl Pane {
    /// In the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Servers, Self::Workers, Self::Sessions];

    /// What it is called.
    pub fn title(self) -> &'static str {
        match self {
            Self::Servers => "servers",
            Self::Workers => "workers",
            Self::Sessions => "sessions",
        }
    }

    /// From left to right.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Servers => SERVERS,
            Self::Workers => WORKERS,
            Self::Sessions => SESSIONS,
        }
    }

    /// What makes a row the same one in the next look.
    pub fn name(self, row: &Value) -> String {
        let parts: &[&str] = match self {
            Self::Servers => &["pool", "address"],
            Self::Workers => &["number"],
            Self::Sessions => &["id"],
        };
        parts.iter().map(|key| written(&row[key], Unit::Text)).collect::<Vec<_>>().join(" ")
    }
}

/// What a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// A value as it is.
    Plain(Unit),
    /// So much more of it a second than in the look before.
    Rate,
    /// The same in bytes.
    ByteRate,
    /// In per cent of the row's `max`.
    Full,
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its head.
    pub title: &'static str,
    /// Where it is in a row.
    pub path: &'static str,
    /// What of it.
    pub shows: Shows,
    /// Columns of the highest rank are left out first where there is no room; 0: never.
    pub rank: u8,
}

impl Column {
    /// Characters that figures of its unit nearly always fit in: it does not jump with each look.
    pub fn width_min(&self) -> usize {
        match self.shows {
            Shows::Plain(Unit::Bytes) | Shows::ByteRate => "1023 KiB".len(),
            Shows::Plain(Unit::Ms | Unit::Us) => "999 ms".len(),
            _ => 0,
        }
    }

    /// Numbers stand to the right, and the largest come first.
    pub fn is_number(&self) -> bool {
        !matches!(self.shows, Shows::Plain(Unit::Text | Unit::State | Unit::List | Unit::Tally))
    }
}

const fn plain(title: &'static str, path: &'static str, unit: Unit, rank: u8) -> Column {
    Column { title, path, shows: Shows::Plain(unit), rank }
}

const fn rate(title: &'static str, path: &'static str, shows: Shows, rank: u8) -> Column {
    Column { title, path, shows, rank }
}

const SERVERS: &[Column] = &[
    plain("POOL", "pool", Unit::Text, 0),
    plain("SERVER", "address", Unit::Text, 0),
    plain("STATE", "state", Unit::State, 0),
    plain("WEIGHT", "weight", Unit::Count, 1),
    plain("LIVE", "live", Unit::Count, 0),
    rate("CONN/s", "total", Shows::Rate, 0),
    rate("UP/s", "bytes_up_total", Shows::ByteRate, 2),
    rate("DOWN/s", "bytes_down_total", Shows::ByteRate, 2),
    plain("P50", "connect_us.p50", Unit::Us, 4),
    plain("P99", "connect_us.p99", Unit::Us, 4),
    plain("TOTAL", "total", Unit::Count, 3),
    plain("UP", "bytes_up_total", Unit::Bytes, 5),
    plain("DOWN", "bytes_down_total", Unit::Bytes, 5),
    plain("MAX", "max_connections", Unit::Count, 6),
    plain("CHANGED", "changed", Unit::List, 6),
    plain("CAUSE", "cause", Unit::Text, 7),
];

const WORKERS: &[Column] = &[
    plain("WORKER", "number", Unit::Count, 0),
    plain("CORE", "core", Unit::Count, 0),
    plain("LIVE", "live", Unit::Count, 0),
    plain("MAX", "max", Unit::Count, 1),
    rate("FULL", "live", Shows::Full, 0),
    rate("ACCEPTS/s", "accepted_total", Shows::Rate, 0),
    rate("CLOSES/s", "closed_total", Shows::Rate, 0),
    plain("ACCEPTED", "accepted_total", Unit::Count, 2),
    plain("LOG LOST", "unlogged_total", Unit::Count, 3),
    plain("LACKED", "lacked", Unit::Tally, 4),
];

const SESSIONS: &[Column] = &[
    plain("ID", "id", Unit::Text, 0),
    plain("CLIENT", "client", Unit::Text, 0),
    plain("LISTENER", "listener", Unit::Text, 6),
    plain("HOST", "host", Unit::Text, 4),
    plain("POOL", "pool", Unit::Text, 4),
    plain("SERVER", "server", Unit::Text, 0),
    plain("UP", "bytes_up", Unit::Bytes, 1),
    plain("DOWN", "bytes_down", Unit::Bytes, 1),
    rate("UP/s", "bytes_up", Shows::ByteRate, 3),
    rate("DOWN/s", "bytes_down", Shows::ByteRate, 3),
    plain("AGE", "age_ms", Unit::Ms, 0),
    plain("IDLE", "idle_ms", Unit::Ms, 2),
    plain("PHASE", "phase", Unit::Text, 5),
    plain("HOW", "how", Unit::Text, 7),
    plain("MODE UP", "mode_up", Unit::Text, 8),
    plain("MODE DOWN", "mode_down", Unit::Text, 8),
];

/// A row as it is shown.
#[derive(Clone, Debug)]
pub struct Row {
    /// See [`Pane::name`].
    pub name: String,
    /// What it is made of.
    pub value: Value,
    /// A text for each column.
    pub cells: Vec<String>,
    /// What the sorted column is sorted by.
    order: Order,
}

#[derive(Clone, Debug, PartialEq)]
enum Order {
    Nothing,
    Number(f64),
    Text(String),
}

/// Seconds between two looks; `None`: there was none before.
pub type Passed = Option<f64>;

/// Rows of a pane: those that have the words of `filter` in them, sorted by a column. Without one,
/// and of equals, the order is that of ringway's answer.
pub fn rows(
    pane: Pane,
    (now, before, passed_s): (&[Value], &[Value], Passed),
    filter: &str,
    (sorted_by, is_reversed): (Option<usize>, bool),
) -> Vec<Row> {
    use std::collections::HashMap;
    let before: HashMap<_, _> = before.iter().map(|row| (pane.name(row), row)).collect();
    let words: Vec<_> = filter.split_whitespace().map(str::to_lowercase).collect();
    let columns = pane.columns();
    let mut rows: Vec<Row> = now
        .iter()
        .map(|value| {
            let name = pane.name(value);
            let then = before.get(&name).copied().zip(passed_s);
            let cell = |column: &Column| text(column, value, then);
            let cells: Vec<_> = columns.iter().map(cell).collect();
            let order = sorted_by.map_or(Order::Nothing, |at| order(&columns[at], value, then));
            Row { name, value: value.clone(), cells, order }
        })
        .filter(|row| {
            let all = row.cells.join(" ").to_lowercase();
            words.iter().all(|word| all.contains(word))
        })
        .collect();
    match sorted_by {
        None if is_reversed => rows.reverse(),
        None => {}
        // The most first.
        Some(at) if columns[at].is_number() != is_reversed => {
            rows.sort_by(|a, b| compare(&b.order, &a.order));
        }
        Some(_) => rows.sort_by(|a, b| compare(&a.order, &b.order)),
    }
    rows
}

fn compare(a: &Order, b: &Order) -> Ordering {
    match (a, b) {
        (Order::Number(a), Order::Number(b)) => a.total_cmp(b),
        (Order::Text(a), Order::Text(b)) => a.cmp(b),
        (Order::Nothing, Order::Nothing) => Ordering::Equal,
        (Order::Nothing, _) => Ordering::Less,
        (_, Order::Nothing) => Ordering::Greater,
        (Order::Number(_), Order::Text(_)) => Ordering::Less,
        (Order::Text(_), Order::Number(_)) => Ordering::Greater,
    }
}

/// So much more a second of what is at `path`.
pub fn per_s(path: &str, now: &Value, then: Option<(&Value, f64)>) -> Option<f64> {
    let (before, passed_s) = then.filter(|(_, passed_s)| *passed_s > 0.0)?;
    let (now, before) = (find(now, path).as_u64()?, find(before, path).as_u64()?);
    Some(now.saturating_sub(before) as f64 / passed_s)
}

fn text(column: &Column, value: &Value, then: Option<(&Value, f64)>) -> String {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    match column.shows {
        Shows::Plain(unit) => written(find(value, column.path), unit),
        Shows::Rate => or_none(per_s(column.path, value, then).map(units::rate)),
        Shows::ByteRate => {
            or_none(per_s(column.path, value, then).map(|per_s| units::bytes(per_s as u64)))
        }
        Shows::Full => or_none(full(column, value).map(|share| format!("{share:.0} %"))),
    }
}

fn full(column: &Column, value: &Value) -> Option<f64> {
    let max = value["max"].as_u64().filter(|max| *max > 0)?;
    Some(find(value, column.path).as_u64()? as f64 * 100.0 / max as f64)
}

fn order(column: &Column, value: &Value, then: Option<(&Value, f64)>) -> Order {
    let number = match column.shows {
        Shows::Plain(_) => find(value, column.path).as_f64(),
        Shows::Rate | Shows::ByteRate => per_s(column.path, value, then),
        Shows::Full => full(column, value),
    };
    match (number, column.is_number()) {
        (Some(number), _) => Order::Number(number),
        (None, true) => Order::Nothing,
        (None, false) => Order::Text(text(column, value, then)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn session(id: &str, up: u64) -> Value {
        json!({"id": id, "client": format!("192.0.2.1:{id}"), "bytes_up": up})
    }

    fn shown(filter: &str, title: &str, is_reversed: bool) -> Vec<String> {
        let now = [session("1", 500), session("2", 3_000), session("3", 20)];
        let before = [session("1", 0), session("2", 2_900)];
        let column = SESSIONS.iter().position(|column| column.title == title).unwrap();
        let looks = (&now[..], &before[..], Some(1.0));
        let rows = rows(Pane::Sessions, looks, filter, (Some(column), is_reversed));
        rows.into_iter().map(|row| format!("{}={}", row.name, row.cells[column])).collect()
    }

    #[test]
    fn numbers_are_sorted_from_the_most_and_words_from_a() {
        assert_eq!(shown("", "UP", false), ["2=2.9 KiB", "1=500 B", "3=20 B"]);
        assert_eq!(shown("", "UP/s", false), ["1=500 B", "2=100 B", "3=-"]);
        assert_eq!(shown("", "UP/s", true), ["3=-", "2=100 B", "1=500 B"]);
        assert_eq!(shown("", "ID", false), ["1=1", "2=2", "3=3"]);
        assert_eq!(shown("", "ID", true), ["3=3", "2=2", "1=1"]);
    }

    #[test]
    fn a_filter_is_words_that_are_all_in_the_row() {
        assert_eq!(shown("192.0.2.1:2", "ID", false), ["2=2"]);
        assert_eq!(shown("192 500", "ID", false), ["1=1"]);
        assert!(shown("nothing", "ID", false).is_empty());
    }
}
