//! The state as a screen. Changes nothing, asks nothing.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row as Cells, Table, TableState};

use super::model::{Mode, State};
use super::pane::{Column, Pane, Row, Shows};
use crate::ctl::table::{Unit, harmless, plain, written};
use crate::ctl::units;

/// Characters between columns.
const GAP: u16 = 2;

/// Lines of the head: what runs, and how much of it.
const HEAD_LINES: u16 = 2;

/// Lines above the rows of a pane: its name and its columns.
const PANE_HEAD_LINES: u16 = 2;

/// Behind the head of the column that rows are sorted by: the least first, or the most.
const UPWARDS: char = '▴';
const DOWNWARDS: char = '▾';

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const INVERSE: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Draws all of it.
pub fn draw(state: &State, frame: &mut Frame<'_>) {
    let area = frame.area();
    let parts = [Constraint::Length(HEAD_LINES), Constraint::Min(0), Constraint::Length(1)];
    let [head, body, foot] = Layout::vertical(parts).areas(area);
    draw_head(state, frame, head);
    let panes = state.panes(area.height);
    if let [pane] = panes {
        draw_pane(state, *pane, frame, body);
    } else {
        // The short lists get what they need, up to a part of the screen.
        let lines = |pane: Pane, part: u16| {
            let rows = state.now.rows[pane as usize].len();
            let needed =
                u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(PANE_HEAD_LINES + 1);
            Constraint::Length(needed.min(body.height / part))
        };
        let parts = [lines(Pane::Servers, 3), lines(Pane::Workers, 4), Constraint::Min(0)];
        let areas: [Rect; 3] = Layout::vertical(parts).areas(body);
        for (pane, area) in panes.iter().zip(areas) {
            draw_pane(state, *pane, frame, area);
        }
    }
    draw_foot(state, frame, foot);
    if state.mode == Mode::Help {
        draw_help(frame, area);
    }
}

fn draw_head(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let status = &state.now.status;
    let word = |key: &str| plain(&status[key]);
    let mut right = vec![Span::raw(format!("  {}", state.address))];
    if let Some(silent_ms) = state.silent_ms() {
        let text = format!(" no answer for {} s ", silent_ms / 1_000);
        right.insert(0, Span::styled(text, INVERSE.fg(Color::Red)));
        right.insert(0, Span::raw(" "));
    } else if status["draining"] == true {
        right.insert(0, Span::styled(" draining ", INVERSE.fg(Color::Yellow)));
        right.insert(0, Span::raw(" "));
    }
    let first = Line::from(vec![
        Span::styled(format!("ringway {}", word("version")), BOLD),
        Span::raw(format!(
            "  {}  edition {}  up {}",
            word("engine"),
            word("edition"),
            written(&status["uptime_ms"], Unit::Ms),
        )),
    ]);
    let count = |text: String, name: &'static str| {
        vec![Span::styled(name, DIM), Span::raw(" "), Span::styled(text, BOLD), Span::raw("  ")]
    };
    let per_s = |path: &str| state.per_s(path).map_or("-".to_owned(), |n| units::rate(n) + "/s");
    let bytes_per_s =
        |path: &str| state.per_s(path).map_or("-".to_owned(), |n| units::bytes(n as u64) + "/s");
    let second = [
        count(written(&status["sessions_live"], Unit::Count), "sessions"),
        count(per_s("accepted_total"), "accepts"),
        count(per_s("closed_total"), "closes"),
        count(bytes_per_s("bytes_up_total"), "up"),
        count(bytes_per_s("bytes_down_total"), "down"),
    ];
    let right = Line::from(right);
    let parts = [Constraint::Min(0), Constraint::Length(right.width() as u16)];
    let [line, below] = Layout::vertical([Constraint::Length(1); 2]).areas(area);
    let [left_area, right_area] = Layout::horizontal(parts).areas(line);
    frame.render_widget(first, left_area);
    frame.render_widget(right, right_area);
    frame.render_widget(Line::from(second.concat()), below);
}

fn draw_pane(state: &State, pane: Pane, frame: &mut Frame<'_>, area: Rect) {
    let rows = state.rows(pane);
    let [title, below] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    frame.render_widget(titles(state, pane, rows.len(), frame.area().height), title);
    let selected = state.selected(pane, &rows);
    let cause = rows.get(selected).filter(|_| pane == Pane::Servers).and_then(cause);
    let parts = [Constraint::Min(0), Constraint::Length(u16::from(cause.is_some()))];
    let [list, last] = Layout::vertical(parts).areas(below);
    draw_rows(state, pane, (&rows, selected), frame, list);
    if let Some(cause) = cause {
        frame.render_widget(Line::styled(cause, DIM), last);
    }
}

/// All names where one pane is shown, else its own; how many rows there are, and of how many.
fn titles(state: &State, pane: Pane, shown: usize, lines: u16) -> Line<'static> {
    let mut spans = Vec::new();
    let panes = state.panes(lines);
    let named = if panes.len() == 1 { &Pane::ALL[..] } else { std::slice::from_ref(&pane) };
    for named in named {
        let style = if *named == state.pane { INVERSE } else { DIM };
        spans.push(Span::styled(format!(" {} {} ", *named as usize + 1, named.title()), style));
        spans.push(Span::raw(" "));
    }
    let is_typed = state.mode == Mode::Filter;
    if is_typed || !state.filter.is_empty() {
        spans.push(Span::styled(format!("/{}", harmless(&state.filter)), BOLD));
        spans.push(Span::styled(" ", if is_typed { INVERSE } else { DIM }));
        spans.push(Span::raw(" "));
    }
    let all = state.now.rows[pane as usize].len();
    let live = state.now.status["sessions_live"].as_u64().filter(|_| state.now.is_cut);
    let all = match (pane, live) {
        (Pane::Sessions, Some(live)) => format!("the first {all} of {}", units::count(live)),
        _ => all.to_string(),
    };
    let is_part = shown < state.now.rows[pane as usize].len();
    spans.push(Span::raw(if is_part { format!("{shown} of {all}") } else { all }));
    Line::from(spans)
}

/// Why a server is not up.
fn cause(row: &Row) -> Option<String> {
    let value = &row.value;
    let health = value["health"].as_str().filter(|health| *health != "up")?;
    let cause = value["cause"].as_str()?;
    let time = written(&value["for_ms"], Unit::Ms);
    Some(harmless(&format!("{}: {health} for {time}: {cause}", plain(&value["address"]))))
}

fn draw_rows(
    state: &State,
    pane: Pane,
    (rows, selected): (&[Row], usize),
    frame: &mut Frame<'_>,
    area: Rect,
) {
    let shown = &state.shown[pane as usize];
    let sorted_by = shown.sorted_by;
    let columns = fitting(pane.columns(), rows, sorted_by, area.width);
    let heads = columns.iter().map(|&(at, _)| {
        let column = &pane.columns()[at];
        if Some(at) != sorted_by {
            return cell(column, column.title.to_owned()).style(BOLD);
        }
        let mark = if column.is_number() == shown.is_reversed { UPWARDS } else { DOWNWARDS };
        cell(column, format!("{}{mark}", column.title))
            .style(BOLD.add_modifier(Modifier::UNDERLINED))
    });
    let lines = rows.iter().map(|row| {
        Cells::new(columns.iter().map(|&(at, _)| {
            let column = &pane.columns()[at];
            let text = row.cells[at].clone();
            let style = match column.shows {
                Shows::Plain(Unit::State) => state_style(&text),
                _ => Style::new(),
            };
            cell(column, text).style(style)
        }))
    });
    let widths = columns.iter().map(|&(_, width)| Constraint::Length(width));
    let highlight = if pane == state.pane { INVERSE } else { Style::new() };
    let table = Table::new(lines, widths)
        .header(Cells::new(heads))
        .column_spacing(GAP)
        .row_highlight_style(highlight);
    let mut place = TableState::default().with_selected((!rows.is_empty()).then_some(selected));
    frame.render_stateful_widget(table, area, &mut place);
}

fn cell(column: &Column, text: String) -> Cell<'static> {
    let alignment = if column.is_number() { Alignment::Right } else { Alignment::Left };
    Cell::from(Text::from(text).alignment(alignment))
}

/// Positions and widths of the columns there is room for. The one that is sorted by is among them,
/// those that no row has anything in are not.
fn fitting(
    columns: &[Column],
    rows: &[Row],
    sorted_by: Option<usize>,
    room: u16,
) -> Vec<(usize, u16)> {
    let width = |(at, column): (usize, &Column)| {
        let is_there = column.rank == 0 || rows.iter().any(|row| row.cells[at] != "-");
        let widest = rows.iter().map(|row| row.cells[at].chars().count()).max().unwrap_or(0);
        // With its mark.
        let title = column.title.len() + usize::from(Some(at) == sorted_by);
        let width = widest.max(title).max(column.width_min());
        (is_there || Some(at) == sorted_by)
            .then_some((at, u16::try_from(width).unwrap_or(u16::MAX)))
    };
    let mut fitting: Vec<_> = columns.iter().enumerate().filter_map(width).collect();
    let rank = |at: usize| if Some(at) == sorted_by { 0 } else { columns[at].rank };
    loop {
        let needed: usize = fitting.iter().map(|&(_, width)| usize::from(width + GAP)).sum();
        let least = fitting.iter().map(|&(at, _)| rank(at)).max().unwrap_or(0);
        if needed <= usize::from(room + GAP) || least == 0 {
            return fitting;
        }
        let last = fitting.iter().rposition(|&(at, _)| rank(at) == least);
        fitting.remove(last.expect("one has the highest rank"));
    }
}

fn state_style(word: &str) -> Style {
    let style = Style::new();
    match word {
        "up" => style.fg(Color::Green),
        "ejected" | "down" => style.fg(Color::Red),
        _ => style.fg(Color::Yellow),
    }
}

fn draw_foot(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let line = match (&state.mode, state.note()) {
        (Mode::Confirm(change), _) => {
            let more = match change {
                super::model::Change::Weight { .. } => "  + - other weight",
                _ => "",
            };
            Line::from(vec![
                Span::styled(format!(" {}? ", change.words()), INVERSE.fg(Color::Yellow)),
                Span::raw(format!("  y yes  n no{more}")),
            ])
        }
        (Mode::Filter, _) => {
            Line::styled("words that rows must have, or a client's network; Enter, Esc none", DIM)
        }
        (_, Some(Ok(note))) => Line::styled(note.clone(), Style::new().fg(Color::Green)),
        (_, Some(Err(why))) => Line::styled(why.clone(), Style::new().fg(Color::Red)),
        (_, None) => match &state.missed {
            Some(why) => Line::styled(harmless(why), Style::new().fg(Color::Red)),
            None => Line::styled(hints(state.pane), DIM),
        },
    };
    frame.render_widget(line, area);
}

fn hints(pane: Pane) -> &'static str {
    match pane {
        Pane::Servers => {
            "? help  Tab next list  / filter  ←→ sort  d drain  r ready  + - weight  q quit"
        }
        Pane::Workers => "? help  Tab next list  / filter  ←→ sort  i invert  q quit",
        Pane::Sessions => "? help  Tab next list  / filter  ←→ sort  i invert  K kill  q quit",
    }
}

/// What keys are for.
const HELP: [(&str, &str); 14] = [
    ("Tab  1 2 3", "servers, workers, sessions"),
    ("↑ ↓  j k", "one row up or down"),
    ("PgUp PgDn", "ten rows"),
    ("Home End", "first or last row"),
    ("← →  < >", "sort by the column before or behind"),
    ("i", "sort the other way round"),
    ("/", "show rows with these words only; Esc all"),
    ("d", "server: no new sessions but by key (drain)"),
    ("x", "server: no new sessions at all (down)"),
    ("r", "server: is chosen again (ready)"),
    ("+ -", "server: its weight"),
    ("K", "session: close it"),
    ("?", "this"),
    ("q", "quit"),
];

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let lines = HELP.map(|(keys, text)| Line::raw(format!(" {keys:<12} {text} ")));
    let width = lines.iter().map(Line::width).max().unwrap_or(0) as u16 + 2;
    let height = lines.len() as u16 + 2;
    let place = area.centered(Constraint::Length(width), Constraint::Length(height));
    frame.render_widget(Clear, place);
    let block = Block::bordered().title(" keys ");
    frame.render_widget(Paragraph::new(Text::from(lines.to_vec())).block(block), place);
}
