//! How a relay comes to its end: EOF and resets are passed on behind what came before them, and
//! whose time is up is told EOF.
//!
//! Half-close, by what each half has come to:
//!
//! | client → server | server → client | what follows |
//! |---|---|---|
//! | open | open | relay both |
//! | EOF seen, not yet sent on | any | send what is left, then shut the server's side |
//! | done | open | the server may go on as long as it likes |
//! | open | done | the client may go on as long as it likes |
//! | done | done | close, with no further shutdown |

use super::{Ending, Relay, Stage};
use crate::session::watch::Watch;
use crate::session::{About, Action, CloseReason, Cx, Next, close};
use crate::sys::{Fault, Readiness, Side};

impl Relay {
    /// EOF from a side, with nothing of its half being sent.
    pub(super) fn ended(&mut self, side: Side, about: &mut About, cx: &mut Cx<'_>) -> Next {
        if self.half(side).stage != Stage::Open {
            return Next::Stay;
        }
        if let (Side::Server, Some(reason)) = (side, self.server_gone) {
            return self.finish_half(side, Ending::Reset(reason), about, cx);
        }
        self.first_eof.get_or_insert(side);
        self.finish_half(side, Ending::Eof, about, cx)
    }

    /// The half is over once what is held or being sent of it has been sent.
    pub(super) fn finish_half(
        &mut self,
        side: Side,
        ending: Ending,
        about: &mut About,
        cx: &mut Cx<'_>,
    ) -> Next {
        if self.half(side).stage == Stage::Broken {
            return Next::Stay;
        }
        self.half(side).stage = Stage::Draining(ending);
        if let Some(looks) = &mut self.looks {
            looks.stir(cx.now_ms());
        }
        if self.half(side).is_sending() {
            // Behind that it comes here again: a side is sent one thing at a time.
            self.look_soon(cx);
            return Next::Stay;
        }
        if side == Side::Server
            && let Some(watch) = &mut self.watch
        {
            if let Some(passed) = watch.give_up_response(about, cx) {
                return self.response_passed(passed, cx);
            }
            if let Next::To(phase) = self.client_goes_on(cx) {
                return Next::To(phase);
            }
        }
        let holds_back = |watch: &Watch| side == Side::Client && watch.holds_back();
        if self.watch.as_deref().is_some_and(holds_back) {
            self.look_soon(cx);
            return Next::Stay;
        }
        self.drained(side, ending, cx)
    }

    pub(super) fn drained(&mut self, from: Side, ending: Ending, cx: &mut Cx<'_>) -> Next {
        match ending {
            Ending::Eof => self.pass_eof(from, cx),
            Ending::Reset(reason) => self.reset_client(reason, cx),
        }
    }

    fn pass_eof(&mut self, from: Side, cx: &mut Cx<'_>) -> Next {
        self.half(from).stage = Stage::Done;
        let to = from.opposite();
        match (self.half(to).stage, self.parting) {
            (Stage::Done | Stage::Broken, Some(reason)) => {
                cx.act(Action::Shutdown(to));
                Next::To(close::part(reason, cx))
            }
            (Stage::Done, None) => {
                let reason = match self.first_eof {
                    Some(Side::Server) => CloseReason::ServerClosed,
                    _ => CloseReason::ClientClosed,
                };
                Next::To(close::close_ended(reason, cx))
            }
            // The server takes no more and has said all it will; the client may still be sending.
            (Stage::Broken, None) => Next::To(close::linger(CloseReason::ServerClosed, false, cx)),
            // It is reset soon, and what it got must not look whole until then.
            (Stage::Draining(Ending::Reset(_)), _) => Next::Stay,
            (Stage::Open | Stage::Draining(Ending::Eof), _) => {
                cx.act(Action::Shutdown(to));
                self.look_soon(cx);
                Next::Stay
            }
        }
    }

    /// A receive failed: that side is gone.
    pub(super) fn faulted(
        &mut self,
        side: Side,
        fault: Fault,
        about: &mut About,
        cx: &mut Cx<'_>,
    ) -> Next {
        let reason = CloseReason::gone(side, fault);
        match side {
            Side::Client => self.reset_server(reason, cx),
            Side::Server => self.finish_half(side, Ending::Reset(reason), about, cx),
        }
    }

    /// A send failed. A server that broke may have said something before, which its own half will
    /// bring, with its EOF or reset; a client that broke is gone.
    pub(super) fn broke(&mut self, to: Side, fault: Fault, cx: &mut Cx<'_>) -> Next {
        let reason = CloseReason::gone(to, fault);
        if to == Side::Client {
            return self.reset_server(reason, cx);
        }
        if !fault.ends_connection() {
            // It stands, and waits for what was lost.
            return self.reset_client(reason, cx);
        }
        if fault != Fault::Broken {
            self.server_gone = Some(reason);
        }
        self.half(Side::Client).stage = Stage::Broken;
        self.half(Side::Client).sending = 0..0;
        if self.half(Side::Server).is_over() {
            return self.reset_client(reason, cx);
        }
        cx.act(Action::Await(Side::Client, Readiness::HangUp));
        self.look_soon(cx);
        Next::Stay
    }

    pub(super) fn hung_up(&mut self, side: Side, fault: Option<Fault>, cx: &mut Cx<'_>) -> Next {
        // Hung up before it was told EOF: a unix socket, closed by a client that reads no more.
        let has_left =
            self.half(Side::Client).stage == Stage::Done && !self.half(Side::Server).is_over();
        let reason = CloseReason::gone(side, fault.unwrap_or(Fault::Reset));
        match side {
            Side::Client if fault.is_some() || has_left => self.reset_server(reason, cx),
            // While its half is open it still reads what came before the reset, and then sees it.
            Side::Server if fault.is_some() && self.half(Side::Server).is_over() => {
                self.reset_client(reason, cx)
            }
            _ => Next::Stay,
        }
    }

    /// The client is gone. What ringway was about to end anyway, it ended.
    fn reset_server(&self, reason: CloseReason, cx: &mut Cx<'_>) -> Next {
        Next::To(close::reset_server(self.parting.unwrap_or(reason), cx))
    }

    /// The server is gone; the same.
    fn reset_client(&self, reason: CloseReason, cx: &mut Cx<'_>) -> Next {
        Next::To(close::forward_reset(self.parting.unwrap_or(reason), cx))
    }

    /// The server is gone, and its reset waits behind what came before.
    pub(super) fn is_resetting(&self) -> bool {
        let server = self.halves[Side::Server as usize].stage;
        self.server_gone.is_some() || matches!(server, Stage::Draining(Ending::Reset(_)))
    }

    /// Both sides are told EOF, each behind what is being sent to it; or the client a reset.
    pub(super) fn part(&mut self, reason: CloseReason, about: &mut About, cx: &mut Cx<'_>) -> Next {
        self.parting = Some(reason);
        cx.deadline_in(close::LINGER_MS);
        if self.is_resetting() {
            // The client gets what came before, as far as there is time.
            return Next::Stay;
        }
        for side in [Side::Server, Side::Client] {
            if self.half(side).stage == Stage::Open
                && let Next::To(phase) = self.finish_half(side, Ending::Eof, about, cx)
            {
                return Next::To(phase);
            }
        }
        Next::Stay
    }
}
