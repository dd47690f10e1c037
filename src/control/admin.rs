//! The admin endpoint: answers what is asked of ringway over HTTP, and has done what is wanted.
//!
//! Reads what all workers share and never touches the data path. Whatever changes something goes to
//! the supervisor as a `Command`, in order. Connections, heads, bodies and waits are bounded, so
//! that nobody here holds up the rest of the control thread.

mod events;
mod gate;
mod input;
mod page;
mod problem;
mod reads;
mod sessions;
mod stream;
pub mod views;
mod why;
mod writes;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, OriginalUri};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderName, Method, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post, put};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::warn;

use super::inquiries::Inquiries;
use super::notices::Notices;
use crate::config::Address;
use crate::supervisor::{Again, Ask, Changed, Denied, Endpoint, SetLevel};
use crate::worker::Shared;
use gate::Gate;
use problem::Problem;
use stream::Stream;
use views::Facts;

/// Connections at once; beyond them clients wait to be accepted. People and their programs are few,
/// and each may hold a body.
const CONNECTIONS_MAX: usize = 64;

/// Milliseconds within which a head must be there, and which a connection may be idle: a program
/// that asks every ten seconds keeps its own.
const HEAD_TIMEOUT_MS: u64 = 15_000;

/// Bytes of a head: a path, a token and what browsers send.
const HEAD_MAX_BYTES: usize = 16 * 1024;

/// Bytes of a body: a configuration of ten thousand servers.
const BODY_MAX_BYTES: usize = 1 << 20;

/// Milliseconds before accepting is tried again where descriptors or memory ran out.
const ACCEPT_PAUSE_MS: u64 = 100;

/// Commands that may wait for the supervisor; who has one more waits.
pub(super) const COMMANDS_MAX: usize = 64;

/// What the supervisor is to do; whoever wants it waits for the answer.
pub(super) enum Command {
    /// Something about a server.
    Change { ask: Ask, answer: oneshot::Sender<Result<Changed, Denied>> },
    /// The configuration again.
    Reload { answer: oneshot::Sender<Result<u64, Denied>> },
}

/// Who asks, as it stands in the log: `unix uid=0 pid=123` or `127.0.0.1:40112`.
#[derive(Clone)]
pub(super) struct By(Arc<str>);

/// What handlers work with.
pub(super) struct Desk {
    pub(super) shared: Arc<Shared>,
    pub(super) facts: Facts,
    pub(super) notices: Arc<Notices>,
    pub(super) inquiries: Inquiries,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) again: Option<Again>,
    pub(super) set_level: Option<SetLevel>,
    /// Places for readers of events.
    pub(super) readers: Arc<Semaphore>,
}

impl Desk {
    pub(super) fn readers() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(events::READERS_MAX))
    }

    /// Has the supervisor do something.
    async fn command<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Denied>>) -> Command,
    ) -> Result<T, Problem> {
        let (answer, answered) = oneshot::channel();
        let ending = || Problem::unavailable("ringway is ending");
        self.commands.send(command(answer)).await.map_err(|_| ending())?;
        Ok(answered.await.map_err(|_| ending())??)
    }
}

/// A listening socket within the runtime.
enum Door {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Serves for as long as the control thread does.
///
/// # Errors
/// The socket cannot be waited for.
pub(super) async fn serve(endpoint: &mut Endpoint, desk: Arc<Desk>) -> io::Result<()> {
    let socket = endpoint.socket.take().expect("it is served once");
    let is_tcp = matches!(endpoint.address, Address::Tcp(_));
    let door = match endpoint.address {
        Address::Tcp(_) => Door::Tcp(TcpListener::from_std(socket.into())?),
        Address::Unix(_) => Door::Unix(UnixListener::from_std(socket.into())?),
    };
    let token = endpoint.token.as_deref().map(Arc::from);
    let routes = routes(desk, Gate { token, is_tcp });
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
        let accepted = match &door {
            Door::Tcp(listener) => listener.accept().await.map(|(stream, address)| {
                // An answer is one or two writes; neither waits for the other's ACK.
                let _ = stream.set_nodelay(true);
                let serving = connection(stream, by_address(address), routes.clone());
                tokio::spawn(async move { (serving.await, drop(place)) });
            }),
            Door::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                let by = by_credentials(stream.peer_cred());
                let serving = connection(stream, by, routes.clone());
                tokio::spawn(async move { (serving.await, drop(place)) });
            }),
        };
        if let Err(error) = accepted {
            warn!(%error, "admin: accepting is tried again");
            tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
        }
    }
}

fn by_address(address: SocketAddr) -> By {
    By(address.to_string().into())
}

fn by_credentials(credentials: io::Result<tokio::net::unix::UCred>) -> By {
    let Ok(credentials) = credentials else { return By("unix".into()) };
    let pid = credentials.pid().map(|pid| format!(" pid={pid}")).unwrap_or_default();
    By(format!("unix uid={}{pid}", credentials.uid()).into())
}

async fn connection<S>(stream: S, by: By, routes: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(routes.layer(axum::Extension(by)));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HEAD_TIMEOUT_MS))
        .max_buf_size(HEAD_MAX_BYTES);
    // A client that went away, or is no HTTP: nobody is left to tell.
    let _ = http.serve_connection(TokioIo::new(Stream::new(stream)), service).await;
}

/// Every path there is, for whoever asks for another.
const PATHS: &str = "/, /healthz, /readyz, /metrics, /v1/status, /v1/config, /v1/listeners, \
    /v1/pools, /v1/pools/POOL, /v1/pools/POOL/servers, /v1/pools/POOL/servers/ADDRESS, \
    /v1/servers, /v1/workers, /v1/sessions, /v1/sessions/ID, /v1/sessions/kill, /v1/keys, /v1/why, \
    /v1/limits, /v1/ports, /v1/diff, /v1/reload, /v1/log, /v1/changes and /v1/events";

fn routes(desk: Arc<Desk>, gate: Gate) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/healthz", get(reads::healthz))
        .route("/readyz", get(reads::readyz))
        .route("/metrics", get(reads::metrics))
        .route("/v1/status", get(reads::status))
        .route("/v1/config", get(reads::config))
        .route("/v1/listeners", get(reads::listeners))
        .route("/v1/pools", get(reads::pools))
        .route("/v1/pools/{pool}", get(reads::pool))
        .route("/v1/pools/{pool}/servers", post(writes::add))
        .route("/v1/pools/{pool}/servers/{server}", patch(writes::set).delete(writes::remove))
        .route("/v1/servers", get(reads::servers))
        .route("/v1/workers", get(reads::workers))
        .route("/v1/sessions", get(sessions::list))
        .route("/v1/sessions/kill", post(sessions::kill))
        .route("/v1/sessions/{id}", get(sessions::one).delete(sessions::close))
        .route("/v1/keys", get(sessions::keys))
        .route("/v1/why", get(why::why))
        .route("/v1/limits", get(reads::limits))
        .route("/v1/ports", get(reads::ports))
        .route("/v1/diff", post(reads::diff))
        .route("/v1/changes", get(reads::changes))
        .route("/v1/events", get(events::events))
        .route("/v1/reload", post(writes::reload))
        .route("/v1/log", put(writes::log))
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(gate, gate::check))
        .with_state(desk)
}

async fn nothing(OriginalUri(uri): OriginalUri) -> Problem {
    Problem::not_found(format!("there is no {}; there are {PATHS}", uri.path()))
}

async fn wrong_method(method: Method, OriginalUri(uri): OriginalUri) -> Problem {
    let text = format!("{} does not take {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, text)
}

/// What is the same with every answer: it is as of now.
const FRESH: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// A view as JSON, in one line.
fn answer(view: &impl Serialize) -> Response {
    let mut text = serde_json::to_string(view).expect("views are plain values");
    text.push('\n');
    let kind = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    ([kind, FRESH], text).into_response()
}
