//! `ringway top`: a ringway that runs, looked at every second in a terminal.
//!
//! The terminal, the clock and the endpoint are here; what is known and what keys do is `model`,
//! what that looks like is `view`.

pub mod look;
pub mod model;
pub mod pane;
pub mod view;

#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event as Input, KeyEventKind};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::Top;
use crate::ctl::client::{Client, Request};
use crate::ctl::words::refusal;
use crate::ctl::{Outcome, said};
use crate::sys::clock::Clock;
use model::{Event, State, Task};

/// Milliseconds from one look at the clock to the next, for what is counted in seconds.
const TICK_MS: u64 = 250;

/// Shows it until somebody has seen enough.
pub fn run(top: &Top) -> Outcome {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return said("ringway top needs a terminal; ringway ctl does not", Outcome::Usage);
    }
    let client = match Client::new(&top.endpoint) {
        Ok(client) => Arc::new(client),
        Err(problem) => return said(&problem, Outcome::Usage),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime of one thread can be made");
    // Somebody must be there at the start; later, whoever went away may come back.
    match runtime.block_on(client.ask(&Request::get("/v1/status"))) {
        Err(why) => return said(&why.to_string(), Outcome::Unreachable),
        Ok(answer) if !answer.is_done() => return said(&refusal(&answer), Outcome::Refused),
        Ok(_) => {}
    }
    let ended = runtime.block_on(show(client, top.interval_ms));
    // A thread still waits for keys: it ends with the process.
    runtime.shutdown_background();
    match ended {
        Ok(()) => Outcome::Done,
        Err(error) => said(&format!("the terminal: {error}"), Outcome::Refused),
    }
}

/// The terminal as it is to be found again, whatever ends this; a panic restores it by a hook.
struct Screen(DefaultTerminal);

impl Screen {
    fn new() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// What has to be waited for.
struct Sources {
    events: UnboundedReceiver<Event>,
    looks: tokio::time::Interval,
    ticks: tokio::time::Interval,
    ends: [Signal; 3],
}

enum Woken {
    By(Event),
    ToLook,
    ToEnd,
}

impl Sources {
    fn new(events: UnboundedReceiver<Event>, interval_ms: u64) -> io::Result<Self> {
        let mut looks = interval(Duration::from_millis(interval_ms));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ticks = interval(Duration::from_millis(TICK_MS));
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let [first, second, third] = kinds.map(signal);
        Ok(Self { events, looks, ticks, ends: [first?, second?, third?] })
    }

    async fn next(&mut self, clock: &Clock) -> Woken {
        let [terminate, interrupt, hangup] = &mut self.ends;
        tokio::select! {
            _ = terminate.recv() => Woken::ToEnd,
            _ = interrupt.recv() => Woken::ToEnd,
            _ = hangup.recv() => Woken::ToEnd,
            Some(event) = self.events.recv() => Woken::By(event),
            _ = self.looks.tick() => Woken::ToLook,
            _ = self.ticks.tick() => Woken::By(Event::Time(clock.now_ms())),
        }
    }
}

async fn show(client: Arc<Client>, interval_ms: u64) -> io::Result<()> {
    let (sender, events) = unbounded_channel();
    let clock = Clock::new();
    let mut sources = Sources::new(events, interval_ms)?;
    let mut state = State::new(client.address().to_string());
    let mut screen = Screen::new()?;
    let keys = sender.clone();
    thread::spawn(move || read_keys(&keys));
    // At most one look is under way.
    let mut is_looking = false;
    loop {
        screen.0.draw(|frame| view::draw(&state, frame))?;
        let woken = sources.next(&clock).await;
        let tasks = match woken {
            Woken::ToEnd => return Ok(()),
            Woken::ToLook => vec![Task::Look],
            Woken::By(event) => {
                is_looking &= !matches!(event, Event::Looked(_) | Event::Missed(_));
                state.step(event)
            }
        };
        let lines = screen.0.size()?.height;
        for task in tasks {
            match task {
                Task::Quit => return Ok(()),
                Task::Look if is_looking => {}
                Task::Look => {
                    is_looking = true;
                    let (client, sender, wish) =
                        (client.clone(), sender.clone(), state.wish(lines));
                    tokio::spawn(async move {
                        let look = look::look(&client, &wish, clock.now_ms()).await;
                        let _ = sender.send(look.map_or_else(Event::Missed, Event::Looked));
                    });
                }
                Task::Change(request, words) => {
                    let (client, sender) = (client.clone(), sender.clone());
                    tokio::spawn(async move {
                        let _ = sender.send(Event::Changed(change(&client, &request, words).await));
                    });
                }
            }
        }
    }
}

async fn change(client: &Client, request: &Request, words: String) -> Result<String, String> {
    match client.ask(request).await {
        Ok(answer) if answer.is_done() => Ok(format!("done: {words}")),
        Ok(answer) => Err(format!("{words}: {}", refusal(&answer).replace('\n', "; "))),
        Err(why) => Err(format!("{words}: {why}")),
    }
}

/// Until the terminal or the program is gone.
fn read_keys(sender: &UnboundedSender<Event>) {
    while let Ok(input) = event::read() {
        let event = match input {
            Input::Key(key) if key.kind == KeyEventKind::Press => Event::Key(key),
            // Another size is seen by whoever draws next, within a tick.
            _ => continue,
        };
        if sender.send(event).is_err() {
            return;
        }
    }
}
