//! What is asked for: answers made of views, which change nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use tokio::task::spawn_blocking;
use tracing::level_filters::LevelFilter;

use super::input::{Body, Query};
use super::problem::Problem;
use super::views::Facts;
use super::{Desk, FRESH, answer, views};
use crate::config;
use crate::edition::Edition;
use crate::metrics::{CONTENT_TYPE as OPEN_METRICS, Moment, text};
use crate::pool::Pool;
use crate::supervisor::Denied;

/// What a handler comes to.
pub(super) type Answer = Result<Response, Problem>;

/// What the views ask of the last cause of a server's health.
pub(super) fn told(desk: &Desk) -> impl Fn(&str, &str) -> Option<(String, String, u64)> {
    |pool, server| {
        let last = desk.notices.last_of(pool, server)?;
        Some((last.state.to_owned(), last.cause, last.at_ms))
    }
}

/// The control thread lives.
pub(super) async fn healthz() -> impl IntoResponse {
    ([FRESH], "ok\n")
}

/// New clients are heard.
pub(super) async fn readyz(State(desk): State<Arc<Desk>>) -> impl IntoResponse {
    match desk.shared.draining.load(Ordering::Relaxed) {
        false => (StatusCode::OK, [FRESH], "ready\n"),
        true => (StatusCode::SERVICE_UNAVAILABLE, [FRESH], "draining\n"),
    }
}

/// What is counted, for Prometheus.
pub(super) async fn metrics(State(desk): State<Arc<Desk>>, Query(input): Query) -> Answer {
    input.finish()?;
    let Facts { started_ms, ports_per_source, .. } = desk.facts;
    let draining = desk.shared.draining.load(Ordering::Relaxed);
    let moment = Moment { started_ms, draining, ports_max: ports_per_source };
    let kind = (CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
    Ok(([kind, FRESH], text(&desk.shared, moment)).into_response())
}

pub(super) async fn status(State(desk): State<Arc<Desk>>, Query(input): Query) -> Answer {
    input.finish()?;
    let level = LevelFilter::current().to_string();
    Ok(answer(&views::status(&desk.shared, &desk.facts, level)))
}

pub(super) async fn config(State(desk): State<Arc<Desk>>, Query(input): Query) -> Answer {
    input.finish()?;
    Ok(answer(&config::effective(&desk.shared.edition().config)))
}

pub(super) async fn listeners(State(desk): State<Arc<Desk>>, Query(input): Query) -> Answer {
    input.finish()?;
    Ok(answer(&views::listeners(&desk.shared.edition())))
}

pub(super) async fn pools(State(desk): State<Arc<Desk>>, Query(input): Query) -> Answer {
    input.finish()?;
    Ok(answer(&views::pools(&desk.shared.edition(), desk.shared.clock.now_ms())))
}

pub(super) async fn pool(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
    Query(input): Query,
) -> Answer {
    input.finish()?;
    let edition = desk.shared.edition();
    let pool = pool_named(&edition, &name)?;
    Ok(answer(&views::pool(pool, desk.shared.clock.now_ms())))
}

pub(super) async fn servers(State(desk): State<Arc<Desk>>, Query(mut input): Query) -> Answer {
    let pool = input.text("pool");
    input.finish()?;
    let edition = desk.shared.edition();
    if let Some(pool) = &pool {
        pool_named(&edition, pool)?;
    }
    let mut servers = views::servers(&edition, desk.shared.clock.now_ms(), &told(&desk));
    servers.retain(|server| pool.as_ref().is_none_or(|pool| server.pool == *pool));
    Ok(answer(&servers))
}

pub(super) async fn workers(State(desk): State<Arc<Desk>>, Query(input): Query) -> Answer {
    input.finish()?;
    Ok(answer(&views::workers(&desk.shared, &desk.facts)))
}

/// The latest changes of servers and pools.
pub(super) async fn changes(State(desk): State<Arc<Desk>>, Query(mut input): Query) -> Answer {
    let after = input.whole("after", 0..=u64::MAX);
    input.finish()?;
    let changes = desk.notices.after(after.unwrap_or(0));
    Ok(answer(&changes.iter().map(|notice| &**notice).collect::<Vec<_>>()))
}

pub(super) async fn limits(State(desk): State<Arc<Desk>>, Query(input): Query) -> Answer {
    input.finish()?;
    Ok(answer(&views::limits(&desk.shared)))
}

pub(super) async fn ports(State(desk): State<Arc<Desk>>, Query(input): Query) -> Answer {
    input.finish()?;
    Ok(answer(&views::ports(&desk.shared, &desk.facts)))
}

/// What another configuration would change: the text that is given, or the file as it is now.
pub(super) async fn diff(State(desk): State<Arc<Desk>>, Body(mut input): Body) -> Answer {
    let text = input.text("config");
    input.finish()?;
    let again = desk.again.clone();
    let read = move || match (again, text.as_deref()) {
        (Some(again), text) => Ok(again(text)),
        (None, Some(text)) => Ok(config::parse(text)),
        (None, None) => Err(Denied::conflict("there is no configuration to read again")),
    };
    // It may be on a disk that sleeps.
    let read = spawn_blocking(read).await.expect("reading a configuration does not panic")?;
    let before = desk.shared.edition();
    Ok(answer(&match read {
        Err(problems) => views::Diff {
            problems: problems.0.iter().map(ToString::to_string).collect(),
            ..views::Diff::default()
        },
        Ok(checked) => views::Diff {
            problems: Vec::new(),
            warnings: checked.warnings.iter().map(ToString::to_string).collect(),
            changes: config::differences(&before.config, &checked.config),
        },
    }))
}

pub(super) fn pool_named<'e>(edition: &'e Edition, name: &str) -> Result<&'e Pool, Problem> {
    edition.pool(name).ok_or_else(|| Denied::no_pool(name, &edition.config).into())
}
