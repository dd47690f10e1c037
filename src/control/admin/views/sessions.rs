//! Views of single sessions, learned keys, and what a choice would come to.

use serde::Serialize;

use crate::sys::Side;
use crate::sys::tcp_info::TcpInfo;
use crate::worker::inquiry;

/// A session, as it was when its worker looked.
#[derive(Debug, Serialize)]
pub struct Session {
    /// Its name, for as long as it lives.
    pub id: String,
    /// Its worker.
    pub worker: usize,
    /// Its listener.
    pub listener: String,
    /// Where the client is; `None`: a unix socket.
    pub client: Option<String>,
    /// Host header or SNI.
    pub host: Option<String>,
    /// The pool it was routed to.
    pub pool: Option<String>,
    /// Its server.
    pub server: Option<String>,
    /// Why that server: `balanced`, `kept` or `redispatched`.
    pub how: Option<&'static str>,
    /// What stickiness looked at.
    pub key: &'static str,
    /// Where it is on its way.
    pub phase: &'static str,
    /// How bytes of the client are moved: `copy` or `splice`; `None` unless it relays.
    pub mode_up: Option<&'static str>,
    /// How bytes of the server are moved.
    pub mode_down: Option<&'static str>,
    /// Bytes received from the client.
    pub bytes_up: u64,
    /// Bytes received from the server.
    pub bytes_down: u64,
    /// Milliseconds since it was accepted.
    pub age_ms: u64,
    /// Milliseconds since a byte moved, where the kernel knows.
    pub idle_ms: Option<u32>,
    /// Microseconds from accept to the choice of a pool.
    pub peek_us: u32,
    /// Microseconds from there to an established server connection.
    pub connect_us: u32,
    /// Servers tried in vain.
    pub retries: u8,
    /// What the kernel knows of both connections, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_info: Option<Connections>,
}

/// The two connections of a session.
#[derive(Debug, Serialize)]
pub struct Connections {
    /// The client's; `None`: it is none of TCP.
    pub client: Option<TcpInfo>,
    /// The server's; `None`: there is none, or it is none of TCP.
    pub server: Option<TcpInfo>,
}

/// Some sessions.
#[derive(Debug, Serialize)]
pub struct Sessions {
    /// Those that fit.
    pub sessions: Vec<Session>,
    /// Where to go on, if there may be more.
    pub next: Option<String>,
    /// Workers that did not answer.
    pub silent: Vec<usize>,
}

/// Sessions that are closed, or will be.
#[derive(Debug, Serialize)]
pub struct Killed {
    /// How many.
    pub matched: u64,
    /// Workers that did not answer.
    pub silent: Vec<usize>,
}

/// A key that was learned from a response.
#[derive(Debug, Serialize)]
pub struct LearnedKey {
    /// Its pool.
    pub pool: String,
    /// What is kept of it, in hexadecimal.
    pub hash: String,
    /// Where it leads; `None`: that server is gone.
    pub server: Option<String>,
    /// Sessions that hold it.
    pub sessions: u32,
    /// Milliseconds until it is forgotten; `None`: not while a session holds it.
    pub expires_in_ms: Option<u64>,
}

/// Some keys.
#[derive(Debug, Serialize)]
pub struct Keys {
    /// In no order that means anything.
    pub keys: Vec<LearnedKey>,
    /// Where to go on, if there may be more.
    pub next: Option<String>,
}

/// Where a connection would go, and why.
#[derive(Debug, Serialize)]
pub struct Why {
    /// The listener it comes to.
    pub listener: String,
    /// The route it takes; `None`: none fits.
    pub route: Option<String>,
    /// Its pool; `None`: it gets none.
    pub pool: Option<String>,
    /// Why that pool.
    pub why_pool: String,
    /// What stickiness sees.
    pub key: Option<WhyKey>,
    /// Where it would go; `None`: nowhere, or chance decides.
    pub server: Option<String>,
    /// `balanced`, `kept` or `redispatched`.
    pub how: Option<&'static str>,
    /// Why there.
    pub why: String,
    /// Every server of the pool.
    pub candidates: Vec<Candidate>,
}

/// A key, and where it leads.
#[derive(Debug, Serialize)]
pub struct WhyKey {
    /// What it is.
    pub kind: &'static str,
    /// A server, whether it can be chosen or not; `None`: nowhere.
    pub leads_to: Option<String>,
}

/// A server that may be chosen or not.
#[derive(Debug, Serialize)]
pub struct Candidate {
    /// Where it is.
    pub address: String,
    /// As `/v1/servers` has it.
    pub state: &'static str,
    /// Share of connections relative to the others.
    pub weight: u16,
    /// Sessions now.
    pub live: u32,
    /// Why it cannot be chosen; `None`: it can.
    pub excluded: Option<&'static str>,
}

/// A session as its worker has told of it.
pub fn session(view: &inquiry::View, with_tcp_info: bool) -> Session {
    let mode = |side: Side| view.modes.map(|modes| modes[side as usize].as_str());
    let [client, server] = view.tcp_info;
    Session {
        id: view.id.to_string(),
        worker: view.id.worker,
        listener: view.listener().to_owned(),
        client: view.client.map(|client| client.to_string()),
        host: view.host.as_deref().map(str::to_owned),
        pool: view.pool().map(str::to_owned),
        server: view.server().map(ToString::to_string),
        how: view.place.map(|place| place.how.as_str()),
        key: view.key.as_str(),
        phase: view.phase,
        mode_up: mode(Side::Client),
        mode_down: mode(Side::Server),
        bytes_up: view.received[Side::Client as usize],
        bytes_down: view.received[Side::Server as usize],
        age_ms: view.age_us / 1000,
        idle_ms: view.idle_ms,
        peek_us: view.peek_us,
        connect_us: view.connect_us,
        retries: view.retries,
        tcp_info: with_tcp_info.then_some(Connections { client, server }),
    }
}
