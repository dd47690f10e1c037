//! Answers as text: a list of objects as a table, an object as a column of fields.
//!
//! What an answer does not have is a hyphen, or a column less, so that a ringway of another version
//! can be asked too. No output, no terminal: how wide it is comes in.

use serde_json::Value;

use super::units;

/// What a value is, and so how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// As it is.
    Text,
    /// A word for how something is, in its colour where there are colours.
    State,
    /// With commas.
    Count,
    /// In binary units.
    Bytes,
    /// A duration, given in milliseconds.
    Ms,
    /// A duration, given in microseconds.
    Us,
    /// Its elements, with spaces between.
    List,
    /// How often by what: `client_eof 2, server_eof 1`.
    Tally,
}

/// One column, or one field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Where it is in an object: `connect_us.p99`.
    pub(super) path: &'static str,
    pub(super) unit: Unit,
    /// Columns of the highest rank are left out first where there is not room for all; 0: never.
    pub(super) rank: u8,
}

/// What there is to write on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paper {
    /// In characters; `None`: as wide as it takes.
    pub(super) width: Option<usize>,
    pub(super) colours: bool,
}

/// Characters between columns.
const GAP: &str = "  ";

/// Rows under their titles; columns that are nowhere in the list are left out.
pub(super) fn table(columns: &[Column], rows: &[Value], paper: Paper) -> String {
    let mut shown: Vec<Shown> = columns.iter().filter_map(|c| Shown::of(*c, rows)).collect();
    while let Some(width) = paper.width
        && shown.iter().map(|c| c.width + GAP.len()).sum::<usize>() > width + GAP.len()
    {
        let rank = shown.iter().map(|column| column.column.rank).max().unwrap_or(0);
        let Some(least) = shown.iter().rposition(|c| c.column.rank == rank && rank > 0) else {
            break;
        };
        shown.remove(least);
    }
    let titles = shown.iter().map(|c| c.padded(c.column.title));
    let mut text = line(&titles.collect::<Vec<_>>());
    for at in 0..rows.len() {
        let cells = shown.iter().map(|column| {
            let cell = &column.cells[at];
            match column.column.unit {
                Unit::State if paper.colours => coloured(cell, &column.padded(cell)),
                _ => column.padded(cell),
            }
        });
        text.push_str(&line(&cells.collect::<Vec<_>>()));
    }
    text
}

/// Each field of an object in a line of its own; what is null or missing is left out.
pub(super) fn fields(columns: &[Column], of: &Value, paper: Paper) -> String {
    let there = columns.iter().filter(|column| !find(of, column.path).is_null());
    let title_width = there.clone().map(|c| c.title.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for column in there {
        let value = written(find(of, column.path), column.unit);
        let title = column.title;
        let room = paper
            .width
            .map_or(usize::MAX, |width| width.saturating_sub(title_width + GAP.len()).max(1));
        for (at, part) in folded(&value, room).iter().enumerate() {
            let title = if at == 0 { title } else { "" };
            let part = match column.unit {
                Unit::State if paper.colours => coloured(part, part),
                _ => part.clone(),
            };
            text.push_str(&format!("{title:title_width$}{GAP}{part}\n"));
        }
    }
    text
}

/// A column with all it says.
struct Shown {
    column: Column,
    cells: Vec<String>,
    width: usize,
}

impl Shown {
    /// `None`: no row has it.
    fn of(column: Column, rows: &[Value]) -> Option<Self> {
        let is_there = rows.iter().any(|row| !find(row, column.path).is_null());
        if !is_there && column.rank > 0 {
            return None;
        }
        let cells: Vec<_> =
            rows.iter().map(|row| written(find(row, column.path), column.unit)).collect();
        let widths = cells.iter().map(|cell| cell.chars().count());
        let width = widths.max().unwrap_or(0).max(column.title.chars().count());
        Some(Self { column, cells, width })
    }

    fn padded(&self, cell: &str) -> String {
        let width = self.width;
        match self.column.unit {
            Unit::Count | Unit::Bytes | Unit::Ms | Unit::Us => format!("{cell:>width$}"),
            _ => format!("{cell:width$}"),
        }
    }
}

fn line(cells: &[String]) -> String {
    format!("{}\n", cells.join(GAP).trim_end())
}

/// What is at `path`: null where there is nothing.
pub fn find<'v>(value: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(value, |value, key| &value[key])
}

/// A value in its unit; a hyphen for what is not there.
pub fn written(value: &Value, unit: Unit) -> String {
    if value.is_null() {
        return "-".to_owned();
    }
    let number = value.as_u64();
    match (unit, number) {
        (Unit::Count, Some(number)) => units::count(number),
        (Unit::Bytes, Some(number)) => units::bytes(number),
        (Unit::Ms, Some(0)) => "0 ms".to_owned(),
        (Unit::Ms, Some(number)) => units::duration(number.saturating_mul(1_000)),
        (Unit::Us, Some(number)) => units::duration(number),
        (Unit::List, _) => {
            let parts = value.as_array().into_iter().flatten().map(plain);
            let parts: Vec<_> = parts.collect();
            if parts.is_empty() { "-".to_owned() } else { parts.join(" ") }
        }
        (Unit::Tally, _) => {
            let parts = value.as_object().into_iter().flatten();
            let parts: Vec<_> =
                parts.map(|(word, number)| format!("{word} {}", plain_count(number))).collect();
            if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
        }
        _ => plain(value),
    }
}

fn plain_count(number: &Value) -> String {
    number.as_u64().map_or_else(|| plain(number), units::count)
}

/// A word instead of JSON's; what would move the cursor of a terminal is escaped.
pub fn plain(value: &Value) -> String {
    let text = match value {
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    harmless(&text)
}

/// Without control characters: names come from clients too.
pub fn harmless(text: &str) -> String {
    let escape = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// Broken behind commas and spaces, so that each part has room.
fn folded(text: &str, room: usize) -> Vec<String> {
    let mut parts = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let last = parts.last_mut().expect("there is one");
        let length = last.chars().count() + word.trim_end().chars().count();
        if length > room && !last.is_empty() {
            parts.push(word.to_owned());
        } else {
            last.push_str(word);
        }
    }
    parts.into_iter().map(|part| part.trim_end().to_owned()).collect()
}

/// Green for what is well, yellow for what somebody wants so, red for the rest.
fn coloured(word: &str, text: &str) -> String {
    let colour = match word {
        "up" | "ok" | "ready" => 32,
        "slow_start" | "draining" | "disabled" | "leaving" | "removed" | "on_backups" => 33,
        "ejected" | "down" | "panic_ejected" | "panic_down" => 31,
        _ => return text.to_owned(),
    };
    format!("\x1b[{colour}m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: [Column; 4] = [
        Column { title: "SERVER", path: "address", unit: Unit::Text, rank: 0 },
        Column { title: "STATE", path: "state", unit: Unit::State, rank: 0 },
        Column { title: "LIVE", path: "live", unit: Unit::Count, rank: 1 },
        Column { title: "P99", path: "connect_us.p99", unit: Unit::Us, rank: 2 },
    ];

    fn rows() -> Vec<Value> {
        vec![
            json!({"address": "10.0.0.1:80", "state": "up", "live": 1234,
                   "connect_us": {"p99": 340}}),
            json!({"address": "a\u{1b}[2J", "state": "down", "live": null}),
        ]
    }

    fn on(width: usize) -> Paper {
        Paper { width: Some(width), colours: false }
    }

    #[test]
    fn numbers_stand_to_the_right_and_nothing_moves_the_cursor() {
        let text = "SERVER       STATE   LIVE     P99\n\
                    10.0.0.1:80  up     1,234  340 µs\n\
                    a\\u{1b}[2J   down       -       -\n";
        assert_eq!(table(&COLUMNS, &rows(), on(80)), text);
    }

    #[test]
    fn the_least_columns_give_way() {
        let heads = |width| table(&COLUMNS, &rows(), on(width)).lines().next().unwrap().to_owned();
        assert!(heads(33).ends_with("P99"), "{}", heads(33));
        assert!(heads(32).ends_with("LIVE"), "{}", heads(32));
        assert!(heads(5).ends_with("STATE"), "{}", heads(5));
    }

    #[test]
    fn states_have_colours_on_a_terminal() {
        let text = table(&COLUMNS, &rows(), Paper { width: None, colours: true });
        assert!(text.contains("\x1b[32mup   \x1b[0m") && text.contains("\x1b[31mdown \x1b[0m"));
    }

    #[test]
    fn a_column_that_nobody_has_is_left_out() {
        let text = table(&COLUMNS, &[json!({"address": "a"})], on(80));
        assert_eq!(text, "SERVER  STATE\na       -\n");
    }

    #[test]
    fn fields_fold_behind_their_titles() {
        let columns = [
            Column { title: "closed", path: "closed", unit: Unit::Tally, rank: 0 },
            Column { title: "up", path: "none", unit: Unit::Text, rank: 0 },
            Column { title: "bytes up", path: "up", unit: Unit::Bytes, rank: 0 },
        ];
        let of = json!({"closed": {"client_eof": 2, "server_eof": 1}, "up": 2048});
        let text = "closed    client_eof 2,\n          server_eof 1\nbytes up  2.0 KiB\n";
        assert_eq!(fields(&columns, &of, on(24)), text);
    }
}
