//! What is wanted: changes of servers, reloads, the level of the log. Each is logged with who
//! wanted it, whatever comes of it.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use tracing::info;
use tracing::level_filters::LevelFilter;

use super::input::{Body, Input, Query};
use super::problem::Problem;
use super::reads::{Answer, pool_named, told};
use super::sessions::{CLOSE_PER_S_MAX, close_all};
use super::{By, Command, Desk, answer, views};
use crate::config::{self, Address, Config, ServerAddress};
use crate::edition::Edition;
use crate::pool::{Duty, ServerIndex, ServerSpec};
use crate::supervisor::{Ask, Changed, What};
use crate::worker::inquiry::Filter;

/// Milliseconds one may wait for a server to be empty: an hour.
const WAIT_MAX_MS: u64 = 3_600_000;

/// Milliseconds between looks whether it is.
const WAIT_LOOK_MS: u64 = 20;

/// Weights a server may have.
const WEIGHTS: std::ops::RangeInclusive<u64> = 1..=256;

/// What becomes of the sessions of a server that gets no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Leave {
    /// They may go on for so long while somebody waits.
    wait_ms: u64,
    /// Then they are closed, so many a second.
    close_per_s: Option<u64>,
}

impl Leave {
    fn read(input: &mut Input) -> Self {
        let wait_ms = input.whole("wait_ms", 0..=WAIT_MAX_MS).unwrap_or(0);
        let close_per_s = input.whole("close_per_s", 1..=CLOSE_PER_S_MAX);
        Self { wait_ms, close_per_s }
    }
}

pub(super) async fn set(
    State(desk): State<Arc<Desk>>,
    Extension(by): Extension<By>,
    Path((pool, server)): Path<(String, String)>,
    Body(mut input): Body,
) -> Answer {
    let states = Duty::ALL.map(|duty| (duty.as_str(), duty));
    let duty = input.word("state", &states);
    let weight = input.whole("weight", WEIGHTS);
    let leave = Leave::read(&mut input);
    if leave != Leave::default() && !matches!(duty, Some(Duty::Drain | Duty::Down)) {
        input.wrong("wait_ms and close_per_s need \"state\": \"drain\" or \"down\"");
    }
    input.finish()?;
    if duty.is_none() && weight.is_none() {
        return Err(Problem::wrong("nothing to change: needs \"state\" or \"weight\""));
    }
    let server = address(&desk, &pool, &server)?;
    let weight = weight.and_then(|weight| u16::try_from(weight).ok());
    let ask = Ask { pool, server, what: What::Set { duty, weight } };
    let changed = change(&desk, &by, ask.clone()).await?;
    let live = emptied(&desk, &by, &changed.edition, &ask, leave).await;
    Ok(answer(&described(&desk, &changed.edition, &ask, live)))
}

pub(super) async fn add(
    State(desk): State<Arc<Desk>>,
    Extension(by): Extension<By>,
    Path(pool): Path<String>,
    Body(input): Body,
) -> Answer {
    let edition = desk.shared.edition();
    pool_named(&edition, &pool)?;
    let spec = spec(&edition.config, &pool, input)?;
    let ask = Ask { pool, server: spec.address.clone(), what: What::Add(spec) };
    let changed = change(&desk, &by, ask.clone()).await?;
    Ok(answer(&described(&desk, &changed.edition, &ask, 0)))
}

pub(super) async fn remove(
    State(desk): State<Arc<Desk>>,
    Extension(by): Extension<By>,
    Path((pool, server)): Path<(String, String)>,
    Query(mut input): Query,
) -> Answer {
    let leave = Leave::read(&mut input);
    input.finish()?;
    let server = address(&desk, &pool, &server)?;
    let ask = Ask { pool, server, what: What::Remove };
    let changed = change(&desk, &by, ask.clone()).await?;
    // In the new edition it may be gone already.
    let live = emptied(&desk, &by, &changed.before, &ask, leave).await;
    let edition = changed.edition.number;
    Ok(answer(&json!({ "edition": edition, "empty": live == 0, "live": live })))
}

pub(super) async fn reload(
    State(desk): State<Arc<Desk>>,
    Extension(By(by)): Extension<By>,
    Body(input): Body,
) -> Answer {
    input.finish()?;
    info!(by = &*by, "reloading");
    let edition = desk.command(|answer| Command::Reload { answer }).await?;
    Ok(answer(&json!({ "edition": edition })))
}

pub(super) async fn log(
    State(desk): State<Arc<Desk>>,
    Extension(By(by)): Extension<By>,
    Body(mut input): Body,
) -> Answer {
    let levels = [
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
    ];
    let level = input.word("level", &levels);
    input.finish()?;
    let level = level.ok_or_else(|| Problem::wrong("level: is missing"))?;
    let none = || Problem::unavailable("the log is not ringway's to change");
    let set_level = desk.set_level.as_ref().ok_or_else(none)?;
    // Said while it still can be, and when it can be again.
    info!(by = &*by, %level, "log level");
    set_level(level);
    Ok(answer(&json!({ "level": level.to_string() })))
}

/// The server a path names, of a pool that is there.
fn address(desk: &Desk, pool: &str, written: &str) -> Result<Address, Problem> {
    let edition = desk.shared.edition();
    pool_named(&edition, pool)?;
    let address = written.parse::<Address>();
    address.map_err(|why| Problem::wrong(format!("server: {why}")))
}

/// A server as a file would have it, held to the rules of the file.
fn spec(config: &Config, pool: &str, input: Input) -> Result<ServerSpec, Problem> {
    let server = Value::Object(input.into_object());
    let mut file = config::written(config);
    let servers = file["pools"][pool]["servers"].as_array_mut().expect("it is a pool");
    // What is there already is denied later, with a better word for it.
    servers.retain(|known| known["address"] != server["address"]);
    let place = format!("servers[{}]", servers.len());
    servers.push(server);
    let checked = config::parse(&file.to_string()).map_err(|problems| {
        let of = |problem: &config::Problem| {
            let path = problem.path.split_once(place.as_str()).map_or("", |(_, path)| path);
            format!("{}: {}", path.trim_start_matches('.'), problem.message)
        };
        let all: Vec<String> = problems.0.iter().map(of).collect();
        Problem::wrong(all.join("; ").trim_start_matches(": "))
    })?;
    let pools = checked.config.pools;
    let pool = pools.iter().find(|known| known.name == pool).expect("it is a pool");
    let server = pool.servers.last().expect("it was added");
    match &server.address {
        ServerAddress::Address(address) => Ok(ServerSpec::new(server, address.clone())),
        ServerAddress::Name { .. } => {
            let why = "names are looked up at start and reload only";
            let text = format!("address: must be IP:PORT, [IPv6]:PORT or unix:/PATH: {why}");
            Err(Problem::wrong(text))
        }
    }
}

async fn change(desk: &Desk, By(by): &By, ask: Ask) -> Result<Changed, Problem> {
    let (pool, server) = (ask.pool.clone(), ask.server.to_string());
    let words = words(&ask.what);
    let result = desk.command(|answer| Command::Change { ask, answer }).await;
    match &result {
        Ok(changed) => {
            let edition = changed.edition.number;
            info!(by = &**by, %server, %pool, change = %words, edition, "changed");
            desk.notices.operator(&pool, &server, (&words, by));
        }
        Err(problem) => {
            info!(by = &**by, %server, %pool, change = %words, why = %problem, "not changed");
        }
    }
    result
}

fn words(what: &What) -> String {
    match what {
        What::Set { duty, weight } => {
            let duty = duty.map(|duty| duty.as_str().to_owned());
            let weight = weight.map(|weight| format!("weight={weight}"));
            [duty, weight].into_iter().flatten().collect::<Vec<_>>().join(",")
        }
        What::Add(spec) => format!("added,weight={}", spec.weight),
        What::Remove => "removed".to_owned(),
    }
}

fn find<'e>(edition: &'e Edition, ask: &Ask) -> Option<(&'e crate::pool::Pool, ServerIndex)> {
    let pool = edition.pool(&ask.pool)?;
    let mut servers = (0..).map(ServerIndex).zip(pool.servers());
    servers.find(|(_, server)| server.address == ask.server).map(|(at, _)| (pool, at))
}

/// Waits until no session is left there, but no longer; then has the rest closed, where that is
/// wanted. How many were left.
async fn emptied(desk: &Desk, By(by): &By, edition: &Edition, ask: &Ask, leave: Leave) -> u32 {
    let Some((pool, at)) = find(edition, ask) else { return 0 };
    let server = pool.server(at);
    let time = Duration::from_millis(leave.wait_ms);
    let empty = async {
        while server.live() > 0 {
            tokio::time::sleep(Duration::from_millis(WAIT_LOOK_MS)).await;
        }
    };
    let _ = tokio::time::timeout(time, empty).await;
    let live = server.live();
    if let Some(per_s) = leave.close_per_s.filter(|_| live > 0) {
        let (pool, server) = (Some(ask.pool.clone()), Some(ask.server.clone()));
        let filter = Filter { pool, server, ..Filter::default() };
        let matched = close_all(desk, filter, per_s).await.matched;
        info!(by = &**by, server = %ask.server, pool = %ask.pool, per_s, matched, "killing");
    }
    live
}

fn described(desk: &Desk, edition: &Edition, ask: &Ask, live: u32) -> Value {
    let now_ms = desk.shared.clock.now_ms();
    let server =
        find(edition, ask).map(|(pool, at)| views::server(edition, pool, at, now_ms, &told(desk)));
    json!({ "edition": edition.number, "empty": live == 0, "live": live, "server": server })
}
