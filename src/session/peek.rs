//! Entry: a client whose first bytes decide. Exits: connect (a pool is known), refuse (an HTTP
//! answer), close. Deadline: `peek_timeout_ms` from accept, however many bytes come; under `auto`
//! first `auto_timeout_ms` for the first byte.

use std::net::SocketAddr;

use super::relay::ClientHalf;
use super::{About, Action, CloseReason, Cx, Event, Next, Phase, answer, close, route};
use crate::config::Peek;
use crate::peek::client_hello::{HelloPeeked, HelloScanner};
use crate::peek::http_head::{HeadScanner, Peeked, Refusal};
use crate::peek::proxy_protocol::{self, ProxyPeeked};
use crate::sys::{Patience, Side};

/// Bytes are being held until they say where to go.
pub(super) struct Peeking {
    held: Vec<u8>,
    stage: Stage,
    local: Option<SocketAddr>,
    deadline_ms: u64,
}

enum Stage {
    /// A PROXY header must come first.
    Proxy,
    /// `auto`, and no byte yet.
    FirstByte,
    Http(HeadScanner),
    Tls(HelloScanner),
}

/// Starts to hold.
pub(super) fn start(
    proxied: bool,
    local: Option<SocketAddr>,
    about: &About,
    cx: &mut Cx<'_>,
) -> Phase {
    let listener = about.listener(cx.config);
    let deadline_ms = cx.now_ms() + u64::from(listener.peek_timeout_ms);
    let stage = if proxied { Stage::Proxy } else { Stage::after_proxy(listener.peek) };
    let mut peeking = Peeking { held: Vec::new(), stage, local, deadline_ms };
    peeking.set_deadline(about, cx);
    cx.act(Action::Receive { side: Side::Client, patience: Patience::Wait });
    Phase::Peek(Box::new(peeking))
}

impl Stage {
    /// Must not be asked for `Peek::None`, which needs no stage.
    fn after_proxy(peek: Peek) -> Self {
        match peek {
            Peek::None | Peek::Auto => Self::FirstByte,
            Peek::Http => Self::Http(HeadScanner::default()),
            Peek::Tls => Self::Tls(HelloScanner::default()),
        }
    }
}

impl Peeking {
    pub(super) fn step(&mut self, about: &mut About, event: Event<'_>, cx: &mut Cx<'_>) -> Next {
        match event {
            Event::Received { result: Ok(bytes), buffer, rest, .. } => {
                about.receive(Side::Client, bytes.len() as u64, cx);
                self.held.extend_from_slice(bytes);
                cx.release(buffer);
                if bytes.is_empty() {
                    return Next::To(self.ended(about, cx));
                }
                match self.look(about, cx) {
                    Some(phase) => Next::To(phase),
                    None => {
                        let patience = rest.patience();
                        cx.act(Action::Receive { side: Side::Client, patience });
                        Next::Stay
                    }
                }
            }
            Event::Received { result: Err(fault), buffer, .. } => {
                cx.release(buffer);
                Next::To(close::close(CloseReason::gone(Side::Client, fault), cx))
            }
            Event::Deadline => self.late(about, cx),
            _ => Next::Stay,
        }
    }

    /// Looks at what is held; `None`: more is needed.
    fn look(&mut self, about: &mut About, cx: &mut Cx<'_>) -> Option<Phase> {
        let listener = about.listener(cx.config);
        if let Stage::Proxy = self.stage {
            match proxy_protocol::scan(&self.held) {
                ProxyPeeked::Incomplete => return None,
                ProxyPeeked::Malformed(_) => {
                    return Some(close::close(CloseReason::ProxyMalformed, cx));
                }
                ProxyPeeked::Header { source, tls, end } => {
                    about.client = source.or(about.client);
                    about.client_tls = tls;
                    self.held.drain(..end);
                }
            }
            if listener.peek == Peek::None {
                return Some(self.go_on_as_none(about, cx));
            }
            self.stage = Stage::after_proxy(listener.peek);
            self.set_deadline(about, cx);
        }
        if let Stage::FirstByte = self.stage {
            self.stage = match self.held.first() {
                None => return None,
                Some(0x16) => Stage::Tls(HelloScanner::default()),
                Some(_) => Stage::Http(HeadScanner::default()),
            };
            self.set_deadline(about, cx);
        }
        let max = listener.head_max_bytes as usize;
        match &mut self.stage {
            Stage::Http(scanner) => match scanner.scan(&self.held, max) {
                Peeked::Incomplete => None,
                Peeked::Foreign(_) => Some(self.go_on_as_none(about, cx)),
                Peeked::Head(head) => Some(route::http(about, self.local, &self.held, &head, cx)),
                Peeked::Refused(refusal) => Some(refuse(refusal, cx)),
            },
            Stage::Tls(scanner) => match scanner.scan(&self.held, max) {
                HelloPeeked::Incomplete => None,
                HelloPeeked::Hello(hello) => {
                    let held = std::mem::take(&mut self.held);
                    Some(route::tls(about, self.local, held, &hello, cx))
                }
                HelloPeeked::Foreign => Some(self.go_on_as_none(about, cx)),
                HelloPeeked::Malformed(_) => Some(close::close(CloseReason::HelloMalformed, cx)),
                HelloPeeked::TooLarge => Some(close::close(CloseReason::HeadTooLarge, cx)),
            },
            Stage::Proxy | Stage::FirstByte => unreachable!("both were left above"),
        }
    }

    fn go_on_as_none(&mut self, about: &mut About, cx: &mut Cx<'_>) -> Phase {
        let held = std::mem::take(&mut self.held);
        route::opaque(about, self.local, held, ClientHalf::Idle, cx)
    }

    fn set_deadline(&mut self, about: &About, cx: &mut Cx<'_>) {
        // From now, not from accept: a PROXY header may have taken its time.
        let auto_ms = cx.now_ms() + u64::from(about.listener(cx.config).auto_timeout_ms);
        let at_ms = match self.stage {
            Stage::FirstByte => auto_ms.min(self.deadline_ms),
            _ => self.deadline_ms,
        };
        cx.act(Action::Deadline { at_ms });
    }

    /// EOF from a client whose head is not whole: nobody is left to answer.
    fn ended(&mut self, about: &mut About, cx: &mut Cx<'_>) -> Phase {
        let is_auto = about.listener(cx.config).peek == Peek::Auto;
        if is_auto && !self.held.is_empty() && !matches!(self.stage, Stage::Proxy) {
            let held = std::mem::take(&mut self.held);
            return route::opaque(about, self.local, held, ClientHalf::Ended, cx);
        }
        let reason = if self.held.is_empty() {
            CloseReason::ClientSilent
        } else {
            CloseReason::HeadIncomplete
        };
        close::close(reason, cx)
    }

    fn late(&mut self, about: &mut About, cx: &mut Cx<'_>) -> Next {
        let is_auto = about.listener(cx.config).peek == Peek::Auto;
        if is_auto && !matches!(self.stage, Stage::Proxy) {
            // The receive that is pending goes on for the relay.
            let held = std::mem::take(&mut self.held);
            return Next::To(route::opaque(about, self.local, held, ClientHalf::Receiving, cx));
        }
        if self.held.is_empty() {
            return Next::To(close::close(CloseReason::ClientSilent, cx));
        }
        Next::To(match self.stage {
            Stage::Http(_) => {
                let answer = answer::request_timeout();
                close::refuse(CloseReason::HeadLate, answer, true, cx)
            }
            _ => close::close(CloseReason::HeadLate, cx),
        })
    }
}

fn refuse(refusal: Refusal, cx: &mut Cx<'_>) -> Phase {
    match refusal {
        Refusal::TooLarge => {
            close::refuse(CloseReason::HeadTooLarge, answer::head_too_large(), false, cx)
        }
        Refusal::Malformed(why) => {
            close::refuse(CloseReason::HeadMalformed, answer::bad_request(why), false, cx)
        }
    }
}
