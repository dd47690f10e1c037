//! The ends of a session: refuse (answer, drain, close), part (drain both sides, close), forward a
//! server's reset, close.
//! Each ends in [`Action::End`] with its one [`CloseReason`].

use super::{Action, Cx, Event, Next, Phase};
use crate::sys::{Farewell, Fault, Patience, Readiness, Side};

/// Why a session ended. The log word and the metric label; every session has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Both said EOF, the client first.
    ClientClosed,
    /// Both said EOF, the server first.
    ServerClosed,
    /// The client reset the connection.
    ClientReset,
    /// The server reset the connection.
    ServerReset,
    /// The client vanished: keep-alive went unanswered.
    ClientLost,
    /// The server vanished: keep-alive went unanswered.
    ServerLost,
    /// A call on one of its connections failed, which no peer has to do with.
    Failed,
    /// Nothing moved for as long as the pool allows.
    Idle,
    /// The same, after one side had said EOF.
    HalfClosed,
    /// It was as old as the pool allows.
    MaxAge,
    /// The client never sent a byte.
    ClientSilent,
    /// The client said EOF within the head.
    HeadIncomplete,
    /// The head was not whole in time.
    HeadLate,
    /// The head was larger than allowed.
    HeadTooLarge,
    /// The request head was not HTTP, or ambiguous.
    HeadMalformed,
    /// The ClientHello was malformed.
    HelloMalformed,
    /// The PROXY header was missing or malformed.
    ProxyMalformed,
    /// The client's network is not served.
    Denied,
    /// The client's network has as many sessions as it may have.
    SourceLimit,
    /// Checks have declared the server down, and the pool closes its sessions.
    ServerDown,
    /// An operator closed it.
    Killed,
    /// No server could be connected to.
    ConnectFailed,
    /// The key names a server that is not there, and the pool is strict.
    KeyLost,
    /// Every server it could go to was full, and so was the queue.
    QueueFull,
    /// It waited for a place at a server as long as the pool allows.
    QueueTimeout,
    /// No descriptor, memory or port was left to connect to a server with.
    Exhausted,
    /// ringway was stopped.
    Stopped,
}

impl CloseReason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 27] = [
        Self::ClientClosed,
        Self::ServerClosed,
        Self::ClientReset,
        Self::ServerReset,
        Self::ClientLost,
        Self::ServerLost,
        Self::Failed,
        Self::Idle,
        Self::HalfClosed,
        Self::MaxAge,
        Self::ClientSilent,
        Self::HeadIncomplete,
        Self::HeadLate,
        Self::HeadTooLarge,
        Self::HeadMalformed,
        Self::HelloMalformed,
        Self::ProxyMalformed,
        Self::Denied,
        Self::SourceLimit,
        Self::ServerDown,
        Self::Killed,
        Self::ConnectFailed,
        Self::KeyLost,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::Exhausted,
        Self::Stopped,
    ];

    /// A side is gone, or no longer to be used, by what its socket said.
    pub(super) const fn gone(side: Side, fault: Fault) -> Self {
        if !fault.ends_connection() {
            return Self::Failed;
        }
        let lost = matches!(fault, Fault::TimedOut | Fault::Unreachable);
        match (side, lost) {
            (Side::Client, false) => Self::ClientReset,
            (Side::Client, true) => Self::ClientLost,
            (Side::Server, false) => Self::ServerReset,
            (Side::Server, true) => Self::ServerLost,
        }
    }

    /// Something went wrong, whoever is to blame; not what clients do every day (they finish, they
    /// leave, they vanish), nor what the configuration wants.
    pub const fn is_error(self) -> bool {
        match self {
            Self::ClientClosed
            | Self::ServerClosed
            | Self::ClientReset
            | Self::ClientLost
            | Self::Idle
            | Self::HalfClosed
            | Self::MaxAge
            | Self::ClientSilent
            | Self::Denied
            | Self::SourceLimit
            | Self::Killed
            | Self::Stopped => false,
            Self::ServerReset
            | Self::ServerLost
            | Self::Failed
            | Self::HeadIncomplete
            | Self::HeadLate
            | Self::HeadTooLarge
            | Self::HeadMalformed
            | Self::HelloMalformed
            | Self::ProxyMalformed
            | Self::ServerDown
            | Self::ConnectFailed
            | Self::KeyLost
            | Self::QueueFull
            | Self::QueueTimeout
            | Self::Exhausted => true,
        }
    }

    /// The word in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientClosed => "client_closed",
            Self::ServerClosed => "server_closed",
            Self::ClientReset => "client_reset",
            Self::ServerReset => "server_reset",
            Self::ClientLost => "client_lost",
            Self::ServerLost => "server_lost",
            Self::Failed => "failed",
            Self::Idle => "idle",
            Self::HalfClosed => "half_closed",
            Self::MaxAge => "max_age",
            Self::ClientSilent => "client_silent",
            Self::HeadIncomplete => "head_incomplete",
            Self::HeadLate => "head_late",
            Self::HeadTooLarge => "head_too_large",
            Self::HeadMalformed => "head_malformed",
            Self::HelloMalformed => "hello_malformed",
            Self::ProxyMalformed => "proxy_malformed",
            Self::Denied => "denied",
            Self::SourceLimit => "source_limit",
            Self::ServerDown => "server_down",
            Self::Killed => "killed",
            Self::ConnectFailed => "connect_failed",
            Self::KeyLost => "key_lost",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::Exhausted => "exhausted",
            Self::Stopped => "stopped",
        }
    }
}

/// Milliseconds a peer that was told EOF gets to read what came before, and close.
pub(super) const LINGER_MS: u32 = 1_000;

/// Bytes of such a peer that are thrown away before it is cut off.
const LINGER_BYTES: u64 = 1 << 20;

/// Milliseconds between looks at what a client has not acknowledged.
const UNSENT_LOOK_MS: u32 = 20;

/// Looks in a row at which nothing more was acknowledged, after which a client is given up that has
/// not got all that came before its server's reset: five seconds or a little more. Counted in looks
/// and not by the clock, which says nothing of the client while this process was stopped.
const UNSENT_LOOKS: u16 = 250;

/// Both sides are being closed; nothing else matters any more.
pub(super) struct Closing {
    reason: CloseReason,
    closed: [bool; 2],
}

/// Closes both sides in good order.
pub(super) fn close(reason: CloseReason, cx: &mut Cx<'_>) -> Phase {
    close_as(reason, Farewell::Orderly, Farewell::Orderly, cx)
}

/// Closes both sides after both have said EOF.
pub(super) fn close_ended(reason: CloseReason, cx: &mut Cx<'_>) -> Phase {
    close_as(reason, Farewell::Orderly, Farewell::Ended, cx)
}

/// Resets the server: the client is gone, the server shall know at once. Should the client's
/// connection stand all the same (a call on it failed), what it got must not look whole.
pub(super) fn reset_server(reason: CloseReason, cx: &mut Cx<'_>) -> Phase {
    close_as(reason, Farewell::Reset, Farewell::Reset, cx)
}

/// Resets the client: the server was reset, and the client is given up that has not got all that
/// came before.
pub(super) fn reset_client(reason: CloseReason, cx: &mut Cx<'_>) -> Phase {
    close_as(reason, Farewell::Reset, Farewell::Reset, cx)
}

fn close_as(reason: CloseReason, client: Farewell, server: Farewell, cx: &mut Cx<'_>) -> Phase {
    cx.act(Action::NoDeadline);
    cx.act(Action::Close(Side::Client, client));
    cx.act(Action::Close(Side::Server, server));
    Phase::Close(Closing { reason, closed: [false; 2] })
}

impl Closing {
    pub(super) fn step(&mut self, event: Event<'_>, cx: &mut Cx<'_>) -> Next {
        match event {
            Event::Closed(side) => {
                self.closed[side as usize] = true;
                if self.closed == [true; 2] {
                    cx.act(Action::End(self.reason));
                }
            }
            Event::Received { buffer, .. } => cx.release(buffer),
            Event::Sent { buffer, .. } => cx.release(Some(buffer)),
            _ => {}
        }
        Next::Stay
    }
}

/// The client gets a last answer, EOF, and time to read both: close(2) with unread bytes would
/// reset the connection and destroy the answer (RFC 9112 section 9.6).
pub(super) struct Refusing {
    reason: CloseReason,
    /// True exactly when a receive is pending.
    receiving: bool,
    answered: bool,
    /// The client has said EOF, and still reads.
    ended: bool,
    drained: u64,
}

/// Answers, drains, closes.
pub(super) fn refuse(
    reason: CloseReason,
    answer: Vec<u8>,
    receiving: bool,
    cx: &mut Cx<'_>,
) -> Phase {
    cx.deadline_in(LINGER_MS);
    cx.act(Action::SendAll { to: Side::Client, bytes: answer });
    Phase::Refuse(Refusing { reason, receiving, answered: false, ended: false, drained: 0 })
}

/// Says EOF, drains, closes: for a client that still sends to a server that has finished.
pub(super) fn linger(reason: CloseReason, receiving: bool, cx: &mut Cx<'_>) -> Phase {
    cx.deadline_in(LINGER_MS);
    let mut refusing = Refusing { reason, receiving, answered: true, ended: false, drained: 0 };
    cx.act(Action::Shutdown(Side::Client));
    refusing.receive(cx);
    Phase::Refuse(refusing)
}

impl Refusing {
    pub(super) fn step(&mut self, event: Event<'_>, cx: &mut Cx<'_>) -> Next {
        match event {
            Event::SentAll { .. } => {
                if self.ended {
                    return Next::To(close(self.reason, cx));
                }
                self.answered = true;
                cx.act(Action::Shutdown(Side::Client));
                self.receive(cx);
                Next::Stay
            }
            Event::Received { side, result, buffer, .. } => {
                cx.release(buffer);
                if side == Side::Server {
                    return Next::Stay;
                }
                self.receiving = false;
                match result {
                    Ok(bytes) if !bytes.is_empty() && self.drained < LINGER_BYTES => {
                        self.drained += bytes.len() as u64;
                        self.receive(cx);
                        Next::Stay
                    }
                    Ok([]) if !self.answered => {
                        self.ended = true;
                        Next::Stay
                    }
                    _ => Next::To(close(self.reason, cx)),
                }
            }
            Event::Sent { buffer, .. } => {
                cx.release(Some(buffer));
                Next::Stay
            }
            Event::Deadline => Next::To(close(self.reason, cx)),
            _ => Next::Stay,
        }
    }

    fn receive(&mut self, cx: &mut Cx<'_>) {
        if self.answered && !self.receiving {
            self.receiving = true;
            cx.act(Action::Receive { side: Side::Client, patience: Patience::Try });
        }
    }
}

/// ringway ends a session that is whole. Both sides have been told EOF; what they still say is
/// thrown away until they have finished too. Closed at once, a socket with unread bytes would be
/// reset, and what its peer has not got yet destroyed.
pub(super) struct Parting {
    reason: CloseReason,
    ended: [bool; 2],
    drained: u64,
}

/// Drains both sides, closes.
pub(super) fn part(reason: CloseReason, cx: &mut Cx<'_>) -> Phase {
    cx.deadline_in(LINGER_MS);
    for side in [Side::Client, Side::Server] {
        // Where one is pending, that is the one.
        cx.act(Action::Receive { side, patience: Patience::Try });
    }
    Phase::Part(Parting { reason, ended: [false; 2], drained: 0 })
}

impl Parting {
    pub(super) fn step(&mut self, event: Event<'_>, cx: &mut Cx<'_>) -> Next {
        match event {
            Event::Received { side, result, buffer, .. } => {
                cx.release(buffer);
                match result {
                    Ok(bytes) if !bytes.is_empty() && self.drained < LINGER_BYTES => {
                        self.drained += bytes.len() as u64;
                        cx.act(Action::Receive { side, patience: Patience::Try });
                    }
                    Ok([]) | Err(_) => self.ended[side as usize] = true,
                    Ok(_) => self.ended = [true; 2],
                }
                if self.ended == [true; 2] {
                    return Next::To(close(self.reason, cx));
                }
            }
            Event::Sent { buffer, .. } => cx.release(Some(buffer)),
            Event::Deadline => return Next::To(close(self.reason, cx)),
            _ => {}
        }
        Next::Stay
    }
}

/// The server reset the connection; the client gets what came before, then a reset too.
pub(super) struct ForwardingReset {
    reason: CloseReason,
    /// What the client had not acknowledged at the last look.
    unsent: u32,
    /// Looks since it acknowledged anything.
    looks: u16,
    server_closed: bool,
}

/// Waits until the client has acknowledged everything, for as long as it goes on doing so: a reset
/// throws away what is queued. Should the server's connection stand all the same (a call on it
/// failed), what it got must not look whole.
pub(super) fn forward_reset(reason: CloseReason, cx: &mut Cx<'_>) -> Phase {
    cx.act(Action::Close(Side::Server, Farewell::Reset));
    cx.act(Action::Await(Side::Client, Readiness::HangUp));
    cx.act(Action::AskUnsent(Side::Client));
    let (unsent, looks, server_closed) = (u32::MAX, 0, false);
    Phase::ForwardReset(ForwardingReset { reason, unsent, looks, server_closed })
}

impl ForwardingReset {
    pub(super) fn step(&mut self, event: Event<'_>, cx: &mut Cx<'_>) -> Next {
        match event {
            Event::Unsent(_, Ok(unsent @ 1..)) if unsent < self.unsent => {
                self.unsent = unsent;
                self.looks = 0;
                cx.deadline_in(UNSENT_LOOK_MS);
                Next::Stay
            }
            Event::Unsent(_, Ok(1..)) if self.looks < UNSENT_LOOKS => {
                self.looks += 1;
                cx.deadline_in(UNSENT_LOOK_MS);
                Next::Stay
            }
            Event::Deadline => {
                cx.act(Action::AskUnsent(Side::Client));
                Next::Stay
            }
            // A mere hang-up says that the client has said EOF too, and still reads.
            Event::Unsent(..) | Event::HangUp { side: Side::Client, fault: Some(_) } => {
                Next::To(self.end(cx))
            }
            Event::Closed(Side::Server) => {
                self.server_closed = true;
                Next::Stay
            }
            Event::Received { buffer, .. } => {
                cx.release(buffer);
                Next::Stay
            }
            Event::Sent { buffer, .. } => {
                cx.release(Some(buffer));
                Next::Stay
            }
            _ => Next::Stay,
        }
    }

    fn end(&self, cx: &mut Cx<'_>) -> Phase {
        cx.act(Action::NoDeadline);
        cx.act(Action::Close(Side::Client, Farewell::Reset));
        Phase::Close(Closing { reason: self.reason, closed: [false, self.server_closed] })
    }
}
