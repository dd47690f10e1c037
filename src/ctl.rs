//! `ringway ctl`: asks a ringway that runs, and says what it answers.
//!
//! Decides nothing about servers or sessions: it only asks, over HTTP, as anybody may.

pub mod asks;
pub mod client;
mod columns;
pub mod table;
pub mod units;
pub mod words;

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use serde_json::Value;

use crate::cli::{Ask, Ctl, Filter, Leave, Pages, Wait};
use crate::config::Address;
use asks::Shape;
use client::{Answer, Client, Request, Unreachable};
use table::Paper;

/// What a script is told by the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done = 0,
    /// ringway refused, or there is no such thing.
    Refused = 1,
    /// What was asked makes no sense.
    Usage = 2,
    /// No ringway answers.
    Unreachable = 3,
    /// The time passed, and sessions are left.
    Late = 4,
}

/// Why there is nothing more to say.
enum Stop {
    Refused(String),
    Usage(String),
    Unreachable(Unreachable),
    /// ringway's own answer was printed, as `--json` wants it.
    Shown,
    /// Whoever read stopped reading (`ringway ctl sessions | head`): that is not a failure.
    Unheard,
}

impl From<Unreachable> for Stop {
    fn from(unreachable: Unreachable) -> Self {
        Self::Unreachable(unreachable)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Unheard,
            _ => Self::Refused(format!("standard output: {error}")),
        }
    }
}

/// Characters of a line where there is no terminal.
const WIDTH: usize = 80;

/// Sessions or keys of one request: what the endpoint gives at most.
const PAGE: u64 = 1_000;

/// Asks, and prints the answer.
pub fn run(ctl: &Ctl) -> Outcome {
    let client = match Client::new(&ctl.endpoint) {
        Ok(client) => client,
        Err(problem) => return said(&problem, Outcome::Usage),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime of one thread can be made");
    let mut talk =
        Talk { client, ctl, paper: paper(ctl.wide), out: BufWriter::new(io::stdout().lock()) };
    let result = runtime.block_on(talk.act());
    let flushed = talk.out.flush().map_err(Stop::from);
    match result.and_then(|outcome| flushed.map(|()| outcome)) {
        Ok(outcome) => outcome,
        Err(Stop::Unheard) => Outcome::Done,
        Err(Stop::Shown) => Outcome::Refused,
        Err(Stop::Refused(text)) => said(&text, Outcome::Refused),
        Err(Stop::Usage(text)) => said(&text, Outcome::Usage),
        Err(Stop::Unreachable(why)) => said(&why.to_string(), Outcome::Unreachable),
    }
}

/// Says why it ends so.
pub(crate) fn said(text: &str, outcome: Outcome) -> Outcome {
    eprintln!("{text}");
    outcome
}

fn paper(is_wide: bool) -> Paper {
    let is_terminal = io::stdout().is_terminal();
    let wishes_none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let width = match ratatui::crossterm::terminal::size() {
        Ok((width, _)) if is_terminal => usize::from(width),
        _ => WIDTH,
    };
    Paper { width: (!is_wide).then_some(width), colours: is_terminal && !wishes_none }
}

struct Talk<'c> {
    client: Client,
    ctl: &'c Ctl,
    paper: Paper,
    out: BufWriter<StdoutLock<'static>>,
}

impl Talk<'_> {
    async fn act(&mut self) -> Result<Outcome, Stop> {
        let ctl = self.ctl;
        if let Some((request, shape)) = asks::read(&ctl.ask) {
            let answer = self.ask(&request).await?;
            return self.show(&answer, shape);
        }
        match &ctl.ask {
            Ask::Sessions(asked) => {
                let server = self.address(&asked.filter).await?;
                let request = asks::sessions(asked, server.as_deref());
                self.pages(&request, "sessions", columns::SESSIONS, &asked.pages).await
            }
            Ask::Keys(asked) => {
                let request = Request::get("/v1/keys")
                    .asking("pool", asked.pool.as_ref())
                    .asking("key", asked.key.as_ref());
                self.pages(&request, "keys", columns::KEYS, &asked.pages).await
            }
            Ask::Kill(asked) => {
                let request = match &asked.id {
                    Some(id) => asks::close(id),
                    None => asks::kill(asked, self.address(&asked.filter).await?.as_deref()),
                };
                let answer = self.ask(&request).await?;
                self.say(&answer, |value| words::killed(value, asked))
            }
            Ask::Drain(Leave { which, wait }) => {
                let (pool, server) = self.server(&which.server, which.pool.as_deref()).await?;
                self.leave(&asks::put(&pool, &server, "drain", wait), (&pool, &server), wait).await
            }
            Ask::Down(Leave { which, wait }) => {
                let (pool, server) = self.server(&which.server, which.pool.as_deref()).await?;
                self.leave(&asks::put(&pool, &server, "down", wait), (&pool, &server), wait).await
            }
            Ask::Remove { pool, server, wait } => {
                let (pool, server) = self.server(server, Some(pool)).await?;
                self.leave(&asks::remove(&pool, &server, wait), (&pool, &server), wait).await
            }
            Ask::Ready(which) => {
                let body = serde_json::json!({ "state": "ready" });
                self.set(&which.server, which.pool.as_deref(), body).await
            }
            Ask::Weight { server, weight, pool } => {
                let body = serde_json::json!({ "weight": weight });
                self.set(server, pool.as_deref(), body).await
            }
            Ask::Add(asked) => {
                let answer = self.ask(&asks::add(asked)).await?;
                self.say(&answer, |value| words::server(&value["server"]))
            }
            Ask::Reload => {
                let answer = self.ask(&asks::reload()).await?;
                self.say(&answer, words::reloaded)
            }
            Ask::Log { level } => {
                let answer = self.ask(&asks::log(*level)).await?;
                self.say(&answer, |value| format!("log level {}\n", table::plain(&value["level"])))
            }
            Ask::Diff { file } => self.diff(file.as_deref()).await,
            Ask::Health => self.health().await,
            Ask::Events { changes } => self.events(*changes).await,
            _ => unreachable!("it is one request"),
        }
    }

    /// What is no answer to what was asked ends it.
    async fn ask(&mut self, request: &Request) -> Result<Answer, Stop> {
        let answer = self.client.ask(request).await?;
        if answer.is_done() { Ok(answer) } else { Err(self.refusal(&answer)) }
    }

    fn refusal(&mut self, answer: &Answer) -> Stop {
        if self.ctl.json {
            return self.print(&answer.text).err().unwrap_or(Stop::Shown);
        }
        Stop::Refused(words::refusal(answer))
    }

    fn print(&mut self, text: &str) -> Result<(), Stop> {
        let line_end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
        Ok(write!(self.out, "{text}{line_end}")?)
    }

    /// The answer as it is, or in words.
    fn say(
        &mut self,
        answer: &Answer,
        words: impl FnOnce(&Value) -> String,
    ) -> Result<Outcome, Stop> {
        let text = if self.ctl.json { answer.text.clone() } else { words(&answer.value()) };
        self.print(&text)?;
        Ok(Outcome::Done)
    }

    fn show(&mut self, answer: &Answer, shape: Shape) -> Result<Outcome, Stop> {
        let paper = self.paper;
        let ask = &self.ctl.ask;
        match shape {
            Shape::Text => self.say(answer, |_| answer.text.clone()),
            Shape::Json => self.say(answer, |value| format!("{value:#}")),
            Shape::Fields(columns) => self.say(answer, |value| {
                table::fields(columns, value, paper) + &words::below_fields(value, paper)
            }),
            Shape::Table(columns) => self.say(answer, |value| {
                let rows = words::rows(ask, value);
                table::table(columns, &rows, paper) + &words::below_table(ask, &rows)
            }),
        }
    }

    /// A long list, page by page, each printed as it comes.
    async fn pages(
        &mut self,
        request: &Request,
        list: &str,
        columns: &[table::Column],
        pages: &Pages,
    ) -> Result<Outcome, Stop> {
        let mut left = if pages.all { u64::MAX } else { pages.limit };
        let mut after = None;
        loop {
            let page = request.clone().asking("after", after.as_ref());
            let answer = self.ask(&page.asking("limit", Some(left.min(PAGE)))).await?;
            let value = answer.value();
            let rows = value[list].as_array().map_or(&[][..], Vec::as_slice);
            match self.ctl.json {
                true => self.print(&answer.text)?,
                false if rows.is_empty() && after.is_some() => {}
                false => self.print(&table::table(columns, rows, self.paper))?,
            }
            self.out.flush()?;
            if let Some(silent) = words::silent(&value) {
                eprintln!("{silent}");
            }
            left -= (rows.len() as u64).min(left);
            after = value["next"].as_str().map(str::to_owned);
            if after.is_none() {
                return Ok(Outcome::Done);
            }
            if left == 0 {
                eprintln!("there may be more: --all shows them");
                return Ok(Outcome::Done);
            }
        }
    }

    /// The address that a filter's server has.
    async fn address(&mut self, filter: &Filter) -> Result<Option<String>, Stop> {
        let Some(written) = &filter.server else { return Ok(None) };
        if written.parse::<Address>().is_ok() {
            return Ok(Some(written.clone()));
        }
        Ok(Some(self.server(written, filter.pool.as_deref()).await?.1))
    }

    /// Pool and address of the server that is meant.
    async fn server(
        &mut self,
        written: &str,
        pool: Option<&str>,
    ) -> Result<(String, String), Stop> {
        let answer = self.ask(&asks::servers(pool)).await?;
        words::find(written, &answer.value()).map_err(Stop::Refused)
    }

    async fn set(
        &mut self,
        written: &str,
        pool: Option<&str>,
        body: Value,
    ) -> Result<Outcome, Stop> {
        let (pool, server) = self.server(written, pool).await?;
        let answer = self.ask(&asks::set(&pool, &server, body)).await?;
        self.say(&answer, |value| words::server(&value["server"]))
    }

    /// Takes a server out of service.
    async fn leave(
        &mut self,
        request: &Request,
        (pool, server): (&str, &str),
        wait: &Wait,
    ) -> Result<Outcome, Stop> {
        let answer = self.ask(request).await?;
        self.say(&answer, |value| words::left(value, (pool, server), wait))?;
        let is_empty = answer.value()["empty"] == true;
        Ok(if wait.wait && !is_empty { Outcome::Late } else { Outcome::Done })
    }

    async fn diff(&mut self, file: Option<&std::path::Path>) -> Result<Outcome, Stop> {
        let read = |path: &std::path::Path| {
            std::fs::read_to_string(path)
                .map_err(|error| Stop::Usage(format!("{}: {error}", path.display())))
        };
        let text = file.map(read).transpose()?;
        let answer = self.ask(&asks::diff(text.as_deref())).await?;
        self.say(&answer, words::diff)?;
        let is_right = answer.value()["problems"].as_array().is_none_or(Vec::is_empty);
        Ok(if is_right { Outcome::Done } else { Outcome::Refused })
    }

    async fn health(&mut self) -> Result<Outcome, Stop> {
        self.ask(&Request::get("/healthz")).await?;
        let answer = self.client.ask(&Request::get("/readyz")).await?;
        self.print(&answer.text)?;
        Ok(if answer.is_done() { Outcome::Done } else { Outcome::Refused })
    }

    async fn events(&mut self, changes_only: bool) -> Result<Outcome, Stop> {
        let mut events = match self.client.follow().await? {
            Ok(events) => events,
            Err(answer) => return Err(self.refusal(&answer)),
        };
        let mut before = Value::Null;
        while let Some((name, data)) = events.next().await {
            if changes_only && name != "change" {
                continue;
            }
            let value = serde_json::from_str(&data).unwrap_or(Value::Null);
            let text = match (self.ctl.json, name.as_str()) {
                (true, _) => data,
                (false, "status") => words::pulse(&value, &before),
                (false, _) => words::change(&value),
            };
            self.print(&text)?;
            self.out.flush()?;
            if name == "status" {
                before = value;
            }
        }
        let address = self.client.address();
        Err(Unreachable(format!("ringway at {address} ended the events")).into())
    }
}
