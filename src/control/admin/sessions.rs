//! Sessions that live: which there are, and an end to some of them; and the keys they have taught.
//!
//! Workers are asked and told by way of `Inquiries`; who is silent is not waited for long.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use ipnet::IpNet;
use serde_json::{Value, json};
use tracing::info;

use super::input::{Body, Input, Query};
use super::problem::Problem;
use super::reads::{Answer, pool_named};
use super::{By, Desk, answer, views};
use crate::config::Address;
use crate::pool::Pool;
use crate::worker::inquiry::{Cursor, Filter, SessionId};

/// Sessions or keys in one answer, unless another number is asked for.
const LIMIT: u64 = 100;

/// The same at most: an answer of half a megabyte.
const LIMIT_MAX: u64 = 1_000;

/// Sessions closed in a second, unless another number is asked for.
const CLOSE_PER_S: u64 = 1_000;

/// The same at most.
pub(super) const CLOSE_PER_S_MAX: u64 = 1_000_000;

pub(super) async fn list(State(desk): State<Arc<Desk>>, Query(mut input): Query) -> Answer {
    let filter = filter(&mut input);
    let worker = input.whole("worker", 0..=desk.facts.cores.len().saturating_sub(1) as u64);
    let filter = Filter { worker: worker.and_then(|w| usize::try_from(w).ok()), ..filter };
    let after = input.parsed::<Cursor>("after", "what `next` was");
    let limit = input.whole("limit", 1..=LIMIT_MAX).unwrap_or(LIMIT);
    let tcp_info = input.flag("tcp_info").unwrap_or(false);
    input.finish()?;
    let limit = usize::try_from(limit).expect("it is small");
    let page = desk.inquiries.sessions(filter, after, limit, tcp_info).await;
    Ok(answer(&views::Sessions {
        sessions: page.sessions.iter().map(|view| views::session(view, tcp_info)).collect(),
        next: page.next.map(|cursor| cursor.to_string()),
        silent: page.silent,
    }))
}

pub(super) async fn one(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    Query(input): Query,
) -> Answer {
    input.finish()?;
    let view = desk.inquiries.session(name(&id)?).await.ok_or_else(|| gone(&id))?;
    Ok(answer(&views::session(&view, true)))
}

pub(super) async fn close(
    State(desk): State<Arc<Desk>>,
    Extension(By(by)): Extension<By>,
    Path(id): Path<String>,
    Query(input): Query,
) -> Answer {
    input.finish()?;
    if !desk.inquiries.close(name(&id)?).await {
        return Err(gone(&id));
    }
    info!(by = &*by, session = %id, "killed");
    Ok(answer(&json!({ "closed": id })))
}

pub(super) async fn kill(
    State(desk): State<Arc<Desk>>,
    Extension(By(by)): Extension<By>,
    Body(mut input): Body,
) -> Answer {
    let mut within = match input.take("filter") {
        None => Input::of_object(serde_json::Map::new()),
        Some(Value::Object(entries)) => Input::of_object(entries),
        Some(other) => {
            input.wrong(format!("filter: must be an object, is {other}"));
            Input::of_object(serde_json::Map::new())
        }
    };
    let filter = filter(&mut within);
    let all = input.flag("all").unwrap_or(false);
    let per_s = input.whole("per_s", 1..=CLOSE_PER_S_MAX).unwrap_or(CLOSE_PER_S);
    input.finish()?;
    within.finish()?;
    if (filter == Filter::default()) != all {
        let text = "needs either a \"filter\" that leaves somebody out, or \"all\": true";
        return Err(Problem::wrong(text));
    }
    let words = words(&filter);
    let closing = close_all(&desk, filter, per_s).await;
    info!(by = &*by, filter = words, per_s, matched = closing.matched, "killing");
    Ok(answer(&closing))
}

/// Has sessions closed, so many a second.
pub(super) async fn close_all(desk: &Desk, filter: Filter, per_s: u64) -> views::Killed {
    let per_s = u32::try_from(per_s).expect("it is within its range");
    let closing = desk.inquiries.close_all(filter, per_s, desk.shared.clock.now_us()).await;
    views::Killed { matched: closing.matched, silent: closing.silent }
}

/// What sessions have in common.
fn filter(input: &mut Input) -> Filter {
    let address = |text: &str| text.parse::<IpAddr>().ok().map(IpNet::from);
    let network = |text: &str| text.parse().ok().or_else(|| address(text));
    let client = input.text("client").and_then(|text| {
        let network: Option<IpNet> = network(&text);
        if network.is_none() {
            input.wrong(format!("client: must be an IP address or network, is {text:?}"));
        }
        network
    });
    Filter {
        client,
        listener: input.text("listener"),
        pool: input.text("pool"),
        server: input.parsed::<Address>("server", "IP:PORT, [IPv6]:PORT or unix:/PATH"),
        host: input.text("host").map(|host| host.to_ascii_lowercase()),
        key: input.text("key"),
        worker: None,
    }
}

/// For the log: `pool=chat client=10.0.0.0/8`. A key is a secret of its client.
fn words(filter: &Filter) -> String {
    let Filter { client, listener, pool, server, host, key, .. } = filter;
    let words = [
        client.map(|client| format!("client={client}")),
        listener.as_ref().map(|listener| format!("listener={listener}")),
        pool.as_ref().map(|pool| format!("pool={pool}")),
        server.as_ref().map(|server| format!("server={server}")),
        host.as_ref().map(|host| format!("host={}", host.escape_default())),
        key.as_ref().map(|_| "key=***".to_owned()),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    if words.is_empty() { "all".to_owned() } else { words.join(" ") }
}

fn name(id: &str) -> Result<SessionId, Problem> {
    id.parse().map_err(|why| Problem::wrong(format!("session: {why}, is {id:?}")))
}

fn gone(id: &str) -> Problem {
    Problem::not_found(format!("there is no session {id} any more"))
}

pub(super) async fn keys(State(desk): State<Arc<Desk>>, Query(mut input): Query) -> Answer {
    let pool = input.text("pool");
    let key = input.text("key");
    let limit = input.whole("limit", 1..=LIMIT_MAX).unwrap_or(LIMIT);
    let after = input.text("after").and_then(|text| {
        let parts = text.split_once(':');
        let after = parts
            .and_then(|(pool, hash)| Some((pool.to_owned(), u64::from_str_radix(hash, 16).ok()?)));
        if after.is_none() {
            input.wrong(format!("after: must be what `next` was, is {text:?}"));
        }
        after
    });
    input.finish()?;
    let edition = desk.shared.edition();
    if let Some(pool) = &pool {
        pool_named(&edition, pool)?;
    }
    let now_ms = desk.shared.clock.now_ms();
    let is_meant = |of: &&Pool| pool.as_ref().is_none_or(|pool| of.name() == pool);
    let pools = edition.pools.iter().filter(is_meant);
    if let Some(key) = key {
        let found =
            pools.filter_map(|pool| Some((pool, pool.learned_key(key.as_bytes(), now_ms)?)));
        let keys = found.map(|(pool, entry)| learned(pool, &entry, now_ms)).collect();
        return Ok(answer(&views::Keys { keys, next: None }));
    }
    let limit = usize::try_from(limit).expect("it is small");
    let mut keys = Vec::new();
    let mut next = None;
    let first = after.as_ref().map(|(name, _)| name.clone());
    for pool in pools.skip_while(|pool| first.as_ref().is_some_and(|name| pool.name() != name)) {
        let behind = after.as_ref().filter(|(name, _)| name == pool.name());
        let entries = pool.learned_keys(behind.map(|(_, hash)| *hash), limit - keys.len());
        keys.extend(entries.iter().map(|entry| learned(pool, entry, now_ms)));
        if keys.len() == limit {
            next = entries.last().map(|last| format!("{}:{:016x}", pool.name(), last.hash));
            break;
        }
    }
    Ok(answer(&views::Keys { keys, next }))
}

fn learned(pool: &Pool, entry: &crate::pool::Learnt, now_ms: u64) -> views::LearnedKey {
    let server = pool.servers().iter().find(|server| server.peer == entry.server);
    let expires_in_ms = entry.expires_ms.saturating_sub(now_ms);
    views::LearnedKey {
        pool: pool.name().to_owned(),
        hash: format!("{:016x}", entry.hash),
        server: server.map(|server| server.address.to_string()),
        sessions: entry.live,
        expires_in_ms: (entry.live == 0).then_some(expires_in_ms),
    }
}
