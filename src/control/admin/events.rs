//! What happens, as it happens: server-sent events (HTML, section 9.2), `status` each second and
//! `change` for each change of health or by an operator.
//!
//! A reader that is slower than what happens is cut off, and comes back by itself, for the changes
//! behind the last one that it has.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{StreamExt, iter as all_of, unfold};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::input::Query;
use super::problem::Problem;
use super::reads::told;
use super::views::{self, Notice};
use super::{Desk, FRESH};
use crate::sys::clock;

/// Readers at once: each has all figures worked out for it every second.
pub(super) const READERS_MAX: usize = 16;

/// Milliseconds from one `status` to the next.
const STATUS_MS: u64 = 1_000;

/// One reader.
struct Reader {
    desk: Arc<Desk>,
    ticks: Interval,
    notices: Receiver<Arc<Notice>>,
    /// Until it goes.
    _place: OwnedSemaphorePermit,
}

pub(super) async fn events(
    State(desk): State<Arc<Desk>>,
    Query(mut input): Query,
) -> Result<Response, Problem> {
    let after = input.whole("after", 0..=u64::MAX);
    input.finish()?;
    let place = Arc::clone(&desk.readers).try_acquire_owned().map_err(|_| {
        Problem::unavailable(format!("{READERS_MAX} readers of events is all there may be"))
    })?;
    let mut ticks = interval(Duration::from_millis(STATUS_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (past, notices) = desk.notices.listen(after);
    let reader = Reader { desk, ticks, notices, _place: place };
    let past = past.into_iter().map(|notice| change(&notice));
    let events = unfold(reader, |mut reader| async move { Some((reader.next().await?, reader)) });
    let events = all_of(past).chain(events).map(Ok::<_, Infallible>);
    Ok(([FRESH], Sse::new(events)).into_response())
}

impl Reader {
    /// `None`: it has missed something, and is cut off.
    async fn next(&mut self) -> Option<Event> {
        tokio::select! {
            _ = self.ticks.tick() => {
                let Desk { shared, facts, .. } = &*self.desk;
                let pulse = views::pulse(shared, facts, clock::wall_ms(), &told(&self.desk));
                Some(event("status", &pulse))
            }
            notice = self.notices.recv() => notice.ok().map(|notice| change(&notice)),
        }
    }
}

fn change(notice: &Notice) -> Event {
    event("change", notice)
}

fn event(name: &str, view: &impl Serialize) -> Event {
    let text = serde_json::to_string(view).expect("views are plain values");
    Event::default().event(name).data(text)
}
