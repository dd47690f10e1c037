//! Entry: a client of whom nothing has to be known, where clients have always spoken first.
//! Exits: connect, close (the client has left). Deadline: [`FIRST_BYTES_MS`] from accept.
//!
//! A server socket with bytes in hand acknowledges the handshake with them, which saves a packet.
//! Where the server speaks first, waiting for the client would only delay it: there, and until it
//! is known, the server is connected to at once.

use std::net::SocketAddr;

use super::relay::ClientHalf;
use super::{About, Action, CloseReason, Cx, Event, Next, Phase, close, route};
use crate::sys::{Patience, Side};

/// Milliseconds the client gets. Its first bytes are nearly always on its way right behind its
/// handshake; a browser that connects ahead of need is the exception.
const FIRST_BYTES_MS: u32 = 10;

/// Clients in a row that spoke first before the next one is waited for.
const CLIENTS_FIRST: u8 = 8;

/// Who speaks first at a listener.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habit {
    clients_first: u8,
}

impl Habit {
    /// The first bytes of a session came from `side`.
    pub(super) fn learn(&mut self, side: Side) {
        self.clients_first = match side {
            Side::Client => self.clients_first.saturating_add(1),
            Side::Server => 0,
        };
    }
}

/// The client's first bytes on their way.
pub(super) struct FirstBytes {
    local: Option<SocketAddr>,
}

/// Whether they are worth waiting for: a PROXY header serves as well.
pub(super) fn are_due(about: &About, cx: &Cx<'_>) -> bool {
    let pool = about.listener(cx.config).pool;
    let proxy = cx.pools[pool.0 as usize].spec().send_proxy.is_some();
    !proxy && cx.habits[about.listener as usize].clients_first >= CLIENTS_FIRST
}

/// Waits for them.
pub(super) fn start(local: Option<SocketAddr>, cx: &mut Cx<'_>) -> Phase {
    cx.act(Action::Receive { side: Side::Client, patience: Patience::Wait });
    cx.deadline_in(FIRST_BYTES_MS);
    Phase::FirstBytes(FirstBytes { local })
}

impl FirstBytes {
    pub(super) fn step(&mut self, about: &mut About, event: Event<'_>, cx: &mut Cx<'_>) -> Next {
        let (bytes, client) = match event {
            Event::Received { result, buffer, .. } => {
                cx.release(buffer);
                match result {
                    Ok([]) => (Vec::new(), ClientHalf::Ended),
                    Ok(bytes) => (bytes.to_vec(), ClientHalf::Idle),
                    Err(fault) => {
                        let reason = CloseReason::gone(Side::Client, fault);
                        return Next::To(close::close(reason, cx));
                    }
                }
            }
            // The receive that is pending goes on for the relay.
            Event::Deadline => (Vec::new(), ClientHalf::Receiving),
            _ => return Next::Stay,
        };
        about.receive(Side::Client, bytes.len() as u64, cx);
        Next::To(route::opaque(about, self.local, bytes, client, cx))
    }
}
