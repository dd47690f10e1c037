//! What is known and what is shown: events come in, requests come out.
//!
//! No terminal, no socket, no clock: time comes in.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::look::{Look, Wish};
use super::pane::{self, Pane, Passed, Row};
use crate::ctl::asks;
use crate::ctl::client::Request;
use crate::ctl::table::plain;

/// Milliseconds for which what came of a change stays on the screen.
const NOTE_MS: u64 = 6_000;

/// Rows that Page Up and Page Down move by.
const PAGE: isize = 10;

/// Screens of so many lines show all panes at once.
const TALL: u16 = 40;

/// Weights a server may have.
const WEIGHTS: std::ops::RangeInclusive<u64> = 1..=256;

/// What happens.
#[derive(Debug)]
pub enum Event {
    /// A look is done.
    Looked(Look),
    /// It came to nothing, and why.
    Missed(String),
    /// Somebody pressed a key.
    Key(KeyEvent),
    /// What a change has come to.
    Changed(Result<String, String>),
    /// Nothing but that this much time has passed.
    Time(u64),
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub enum Task {
    /// Ask this, which does what the words say.
    Change(Request, String),
    /// Look now and not only when it is time.
    Look,
    /// It is over.
    Quit,
}

/// What keys are for.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    /// Moving around.
    Browse,
    /// Typing a filter.
    Filter,
    /// Saying yes or no.
    Confirm(Change),
    /// Reading what keys are for.
    Help,
}

/// A change that waits for a yes.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Another state for a server.
    State {
        /// Its pool and address.
        server: (String, String),
        /// `ready`, `drain` or `down`.
        state: &'static str,
    },
    /// Another weight for a server.
    Weight {
        /// Its pool and address.
        server: (String, String),
        /// What it is.
        from: u64,
        /// What it is to be.
        to: u64,
    },
    /// The end of a session.
    Kill {
        /// Which.
        id: String,
    },
}

impl Change {
    /// What would be done.
    pub fn words(&self) -> String {
        match self {
            Self::State { server: (pool, address), state } => format!("{state} {address} ({pool})"),
            Self::Weight { server: (pool, address), from, to } => {
                format!("weight of {address} ({pool}): {from} -> {to}")
            }
            Self::Kill { id } => format!("kill session {id}"),
        }
    }

    fn request(&self) -> Request {
        match self {
            Self::State { server: (pool, address), state } => {
                asks::set(pool, address, json!({ "state": state }))
            }
            Self::Weight { server: (pool, address), to, .. } => {
                asks::set(pool, address, json!({ "weight": to }))
            }
            Self::Kill { id } => asks::close(id),
        }
    }
}

/// How one pane is shown.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Position of the column it is sorted by; `None`: as ringway has it.
    pub sorted_by: Option<usize>,
    /// Against the usual order.
    pub is_reversed: bool,
    /// Name of the row the cursor is on; empty: the first one.
    pub selected: String,
}

/// See the head of the file.
#[derive(Debug)]
pub struct State {
    /// Where ringway is asked.
    pub address: String,
    /// The last look.
    pub now: Look,
    /// The one before it.
    before: Option<Look>,
    /// Now, in milliseconds.
    pub time_ms: u64,
    /// Why the last look came to nothing.
    pub missed: Option<String>,
    /// The pane that keys are for.
    pub pane: Pane,
    /// By pane.
    pub shown: [Shown; 3],
    /// Words that rows must have.
    pub filter: String,
    /// What keys are for.
    pub mode: Mode,
    /// What came of a change, and until when that is shown.
    note: Option<(Result<String, String>, u64)>,
}

impl State {
    /// Before the first look.
    pub fn new(address: String) -> Self {
        Self {
            address,
            now: Look::default(),
            before: None,
            time_ms: 0,
            missed: None,
            pane: Pane::Servers,
            shown: <[Shown; 3]>::default(),
            filter: String::new(),
            mode: Mode::Browse,
            note: None,
        }
    }

    /// Panes that a screen of so many lines shows.
    pub fn panes(&self, lines: u16) -> &'static [Pane] {
        match (lines >= TALL, self.pane) {
            (true, _) => &Pane::ALL,
            (false, Pane::Servers) => &[Pane::Servers],
            (false, Pane::Workers) => &[Pane::Workers],
            (false, Pane::Sessions) => &[Pane::Sessions],
        }
    }

    /// What has to be looked at for such a screen.
    pub fn wish(&self, lines: u16) -> Wish {
        let sessions = self.panes(lines).contains(&Pane::Sessions);
        let is_client = self.has_network() || self.filter.parse::<std::net::IpAddr>().is_ok();
        Wish { sessions, client: is_client.then(|| self.filter.clone()) }
    }

    /// The filter is a network, which ringway looks for: its text is in no row.
    fn has_network(&self) -> bool {
        self.filter.parse::<ipnet::IpNet>().is_ok()
    }

    /// Seconds between the last two looks.
    fn passed_s(&self) -> Passed {
        let passed_ms = self.now.at_ms.saturating_sub(self.before.as_ref()?.at_ms);
        (passed_ms > 0).then_some(passed_ms as f64 / 1_000.0)
    }

    /// So much more a second of a figure of all of ringway.
    pub fn per_s(&self, path: &str) -> Option<f64> {
        let before = &self.before.as_ref()?.status;
        pane::per_s(path, &self.now.status, Some(before).zip(self.passed_s()))
    }

    /// Milliseconds without an answer, where one is missing.
    pub fn silent_ms(&self) -> Option<u64> {
        self.missed.as_ref().map(|_| self.time_ms.saturating_sub(self.now.at_ms))
    }

    /// What came of a change, for a while.
    pub fn note(&self) -> Option<&Result<String, String>> {
        self.note.as_ref().map(|(note, _)| note)
    }

    /// The rows of a pane as they are shown.
    pub fn rows(&self, pane: Pane) -> Vec<Row> {
        let shown = &self.shown[pane as usize];
        let before = self.before.as_ref().map_or(&[][..], |look| &look.rows[pane as usize]);
        let now = &self.now.rows[pane as usize];
        let sorting = (shown.sorted_by, shown.is_reversed);
        let is_network = pane == Pane::Sessions && self.has_network();
        let filter = if is_network { "" } else { &self.filter };
        pane::rows(pane, (now, before, self.passed_s()), filter, sorting)
    }

    /// Position of the cursor among the rows of a pane.
    pub fn selected(&self, pane: Pane, rows: &[Row]) -> usize {
        let name = &self.shown[pane as usize].selected;
        rows.iter().position(|row| row.name == *name).unwrap_or(0)
    }

    /// Takes an event in.
    pub fn step(&mut self, event: Event) -> Vec<Task> {
        match event {
            Event::Looked(look) => {
                let is_other = self.now.status["pid"] != look.status["pid"];
                let before = std::mem::replace(&mut self.now, look);
                // Another process counts from zero.
                self.before = (!is_other).then_some(before);
                self.missed = None;
            }
            Event::Missed(why) => self.missed = Some(why),
            Event::Changed(note) => {
                self.note = Some((note, self.time_ms + NOTE_MS));
                return vec![Task::Look];
            }
            Event::Time(time_ms) => {
                self.time_ms = time_ms;
                self.note.take_if(|(_, until_ms)| *until_ms <= time_ms);
            }
            Event::Key(key) => return self.key(key),
        }
        Vec::new()
    }

    fn key(&mut self, key: KeyEvent) -> Vec<Task> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { vec![Task::Quit] } else { Vec::new() };
        }
        match std::mem::replace(&mut self.mode, Mode::Browse) {
            Mode::Browse => return self.browse(key.code),
            Mode::Help => {}
            Mode::Filter => return self.edit(key.code),
            Mode::Confirm(change) => match (key.code, change) {
                (KeyCode::Char('y') | KeyCode::Enter, change) => {
                    return vec![Task::Change(change.request(), change.words())];
                }
                (KeyCode::Char(sign @ ('+' | '-' | '=')), Change::Weight { server, from, to }) => {
                    let to = next_weight(to, sign);
                    self.mode = Mode::Confirm(Change::Weight { server, from, to });
                }
                _ => {}
            },
        }
        Vec::new()
    }

    fn browse(&mut self, code: KeyCode) -> Vec<Task> {
        match code {
            KeyCode::Char('q') => return vec![Task::Quit],
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Tab => return self.show((self.pane as usize + 1) % 3),
            KeyCode::BackTab => return self.show((self.pane as usize + 2) % 3),
            KeyCode::Char(digit @ '1'..='3') => return self.show(digit as usize - '1' as usize),
            KeyCode::Up | KeyCode::Char('k') => self.select(-1),
            KeyCode::Down | KeyCode::Char('j') => self.select(1),
            KeyCode::PageUp => self.select(-PAGE),
            KeyCode::PageDown => self.select(PAGE),
            KeyCode::Home | KeyCode::Char('g') => self.select(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.select(isize::MAX),
            KeyCode::Left | KeyCode::Char('<') => self.sort(-1),
            KeyCode::Right | KeyCode::Char('>') => self.sort(1),
            KeyCode::Char('i') => {
                let shown = &mut self.shown[self.pane as usize];
                shown.is_reversed = !shown.is_reversed;
            }
            KeyCode::Char(key) => self.ask(key),
            _ => {}
        }
        Vec::new()
    }

    fn edit(&mut self, code: KeyCode) -> Vec<Task> {
        match code {
            KeyCode::Enter => return vec![Task::Look],
            KeyCode::Esc => {
                self.filter.clear();
                return vec![Task::Look];
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) => self.filter.push(c),
            _ => {}
        }
        self.mode = Mode::Filter;
        Vec::new()
    }

    fn show(&mut self, pane: usize) -> Vec<Task> {
        self.pane = Pane::ALL[pane];
        vec![Task::Look]
    }

    fn select(&mut self, by: isize) {
        let rows = self.rows(self.pane);
        let at = self.selected(self.pane, &rows).saturating_add_signed(by);
        if let Some(row) = rows.get(at.min(rows.len().saturating_sub(1))) {
            self.shown[self.pane as usize].selected.clone_from(&row.name);
        }
    }

    fn sort(&mut self, by: isize) {
        let shown = &mut self.shown[self.pane as usize];
        // In front of the first column is none.
        let place = shown.sorted_by.map_or(0, |column| column + 1).saturating_add_signed(by);
        shown.sorted_by = place.min(self.pane.columns().len()).checked_sub(1);
        shown.is_reversed = false;
    }

    /// Whether the selected row is to be changed so.
    fn ask(&mut self, key: char) {
        let rows = self.rows(self.pane);
        let Some(row) = rows.get(self.selected(self.pane, &rows)) else { return };
        // The cursor stays where it was, whatever the next look brings to the top.
        self.shown[self.pane as usize].selected.clone_from(&row.name);
        let server = (text(&row.value, "pool"), text(&row.value, "address"));
        let state = |state| Change::State { server: server.clone(), state };
        let change = match (self.pane, key) {
            (Pane::Servers, 'd') => state("drain"),
            (Pane::Servers, 'r') => state("ready"),
            (Pane::Servers, 'x') => state("down"),
            (Pane::Servers, '+' | '-' | '=') => {
                let from = row.value["weight"].as_u64().unwrap_or(1);
                Change::Weight { server, from, to: next_weight(from, key) }
            }
            (Pane::Sessions, 'K' | 'x') => Change::Kill { id: text(&row.value, "id") },
            _ => return,
        };
        self.mode = Mode::Confirm(change);
    }
}

fn next_weight(weight: u64, sign: char) -> u64 {
    let next = if sign == '-' { weight.saturating_sub(1) } else { weight + 1 };
    next.clamp(*WEIGHTS.start(), *WEIGHTS.end())
}

fn text(value: &Value, key: &str) -> String {
    plain(&value[key])
}
