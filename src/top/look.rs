//! One look at a ringway that runs: what it answered, side by side, and when.

use serde_json::Value;

use super::pane::Pane;
use crate::ctl::asks;
use crate::ctl::client::{Answer, Client, Request};
use crate::ctl::words::refusal;

/// Sessions of a look: what the endpoint gives in one answer.
const SESSIONS_MAX: u32 = 1_000;

/// See the head of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// Milliseconds on the clock of whoever looks.
    pub at_ms: u64,
    /// All of ringway.
    pub status: Value,
    /// The rows of each pane.
    pub rows: [Vec<Value>; 3],
    /// There are sessions beyond those.
    pub is_cut: bool,
}

/// What is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Sessions are shown too.
    pub sessions: bool,
    /// Only those of this client or network.
    pub client: Option<String>,
}

/// Asks for all that is wished.
///
/// # Errors
/// Why there is no answer, in a line.
pub async fn look(client: &Client, wish: &Wish, at_ms: u64) -> Result<Look, String> {
    let status = ask(client, &Request::get("/v1/status")).await?;
    let servers = list(ask(client, &asks::servers(None)).await?);
    let mut workers = list(ask(client, &Request::get("/v1/workers")).await?);
    for worker in &mut workers {
        let closed = worker["closed"].as_object().into_iter().flatten();
        let closed: u64 = closed.filter_map(|(_, count)| count.as_u64()).sum();
        worker["closed_total"] = closed.into();
    }
    let mut look = Look { at_ms, status, ..Look::default() };
    if wish.sessions {
        let request = Request::get("/v1/sessions")
            .asking("client", wish.client.as_ref())
            .asking("limit", Some(SESSIONS_MAX));
        let mut page = ask(client, &request).await?;
        look.is_cut = page["next"].is_string();
        look.rows[Pane::Sessions as usize] = list(page["sessions"].take());
    }
    look.rows[Pane::Servers as usize] = servers;
    look.rows[Pane::Workers as usize] = workers;
    Ok(look)
}

async fn ask(client: &Client, request: &Request) -> Result<Value, String> {
    let answer: Answer = client.ask(request).await.map_err(|why| why.to_string())?;
    if answer.is_done() { Ok(answer.value()) } else { Err(refusal(&answer).replace('\n', "; ")) }
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(rows) => rows,
        _ => Vec::new(),
    }
}
