//! Splicing a half: socket → pipe → socket, without the bytes ever being ours.
//!
//! Entry: a half that has proved to be bulk. Exits: copying again (it went quiet, a wake-up was
//! futile, no pipe was to be had), or the ends of [`Relay`]. A pipe is held for a turn, and longer
//! only while it holds bytes.

use super::{Flow, Relay, Stage};
use crate::session::{About, Action, Cx, Next, PipeState, Rest};
use crate::sys::{Fault, Patience, Readiness, Side};

/// Bytes spliced in one turn before others get theirs.
const TURN_BYTES: u32 = 1 << 20;

/// A splice that moves less than this share of a pipe has emptied the socket, nearly always: asking
/// again would be a call for nothing.
const SHORT_SHARE: u32 = 4;

/// Turns in a row with less than a buffer's worth that make a spliced half quiet again.
const QUIET_TURNS: u8 = 2;

/// A half whose bytes stay in the kernel.
pub(super) struct Splice {
    in_pipe: u32,
    this_turn: u32,
    quiet_turns: u8,
    /// The last splice from the socket left nothing worth another one.
    was_short: bool,
    /// The last splice to the socket moved only a part, and may have swallowed an error.
    was_cut: bool,
}

impl Splice {
    pub(super) const fn holds_bytes(&self) -> bool {
        self.in_pipe > 0
    }

    const fn new() -> Self {
        Self { in_pipe: 0, this_turn: 0, quiet_turns: 0, was_short: false, was_cut: false }
    }
}

impl Relay {
    /// From copying to splicing.
    pub(super) fn promote(&mut self, from: Side, cx: &mut Cx<'_>) -> Next {
        let half = self.half(from);
        half.full_reads = 0;
        half.flow = Flow::Splice(Splice::new());
        if half.rest == Rest::Unread {
            cx.act(Action::TakePipe(from));
        } else {
            cx.act(Action::Await(from, Readiness::Readable));
        }
        Next::Stay
    }

    pub(super) fn piped(&mut self, from: Side, result: Result<(), Fault>, cx: &mut Cx<'_>) -> Next {
        let half = self.half(from);
        if let (Ok(()), Flow::Splice(splice)) = (result, &mut half.flow) {
            splice.this_turn = 0;
            cx.act(Action::SpliceIn(from, cx.pipe_size));
        } else {
            // No pipe to be had: copying does as well.
            half.flow = Flow::Copy;
            cx.act(Action::Receive { side: from, patience: Patience::Try });
        }
        Next::Stay
    }

    /// The pipe is empty. Whoever waits holds none.
    fn end_turn(&mut self, from: Side, cx: &mut Cx<'_>) -> Next {
        let Flow::Splice(splice) = &mut self.half(from).flow else { return Next::Stay };
        let is_futile = splice.this_turn == 0;
        let is_quiet = splice.this_turn < cx.buffer_size;
        splice.quiet_turns = if is_quiet { splice.quiet_turns + 1 } else { 0 };
        if is_futile || splice.quiet_turns >= QUIET_TURNS {
            self.stop_splicing(from, cx);
            let patience = if is_futile { Patience::Try } else { Patience::Wait };
            cx.act(Action::Receive { side: from, patience });
        } else {
            cx.act(Action::ReturnPipe(from, PipeState::Empty));
            cx.act(Action::Await(from, Readiness::Readable));
        }
        Next::Stay
    }

    pub(super) fn spliced_in(
        &mut self,
        from: Side,
        result: Result<u32, Fault>,
        about: &mut About,
        cx: &mut Cx<'_>,
    ) -> Next {
        let Flow::Splice(splice) = &mut self.half(from).flow else { return Next::Stay };
        match result {
            Ok(0) => {
                // Perhaps the end. But once the peer has said EOF, splice says so in front of an
                // urgent byte too, whatever follows that; and a send under way may have taken a
                // reset off the socket. A receive says what is true, and is told behind the send.
                self.stop_splicing(from, cx);
                cx.act(Action::Receive { side: from, patience: Patience::Try });
                Next::Stay
            }
            Ok(moved) => {
                about.receive(from, u64::from(moved), cx);
                splice.in_pipe += moved;
                splice.this_turn += moved;
                splice.was_short = moved < cx.pipe_size / SHORT_SHARE;
                self.splice_out(from, cx)
            }
            // The pipe is empty here, so it is the socket that has nothing, or urgent data.
            Err(Fault::WouldBlock) => self.end_turn(from, cx),
            Err(fault) => {
                self.stop_splicing(from, cx);
                self.faulted(from, fault, about, cx)
            }
        }
    }

    pub(super) fn splice_out(&mut self, from: Side, cx: &mut Cx<'_>) -> Next {
        if let Flow::Splice(splice) = &self.half(from).flow {
            cx.act(Action::SpliceOut(from, splice.in_pipe));
        }
        Next::Stay
    }

    pub(super) fn spliced_out(
        &mut self,
        from: Side,
        result: Result<u32, Fault>,
        about: &mut About,
        cx: &mut Cx<'_>,
    ) -> Next {
        let Flow::Splice(splice) = &mut self.half(from).flow else { return Next::Stay };
        match result {
            Ok(0) | Err(Fault::WouldBlock) => {
                splice.was_cut = false;
                cx.act(Action::AwaitRoom(from.opposite()));
                cx.act(Action::Await(from, Readiness::HangUp));
                Next::Stay
            }
            Ok(moved) => {
                splice.in_pipe -= moved;
                splice.was_cut = splice.in_pipe > 0;
                if splice.was_cut {
                    return self.splice_out(from, cx);
                }
                let is_over = splice.this_turn >= TURN_BYTES || splice.was_short;
                if self.half(from).stage != Stage::Open {
                    self.stop_splicing(from, cx);
                    return self.half_sent(from, about, cx);
                }
                if is_over {
                    return self.end_turn(from, cx);
                }
                cx.act(Action::SpliceIn(from, cx.pipe_size));
                Next::Stay
            }
            Err(fault) => {
                // As with a short send: why it broke may have been lost.
                let is_lost = splice.was_cut && fault == Fault::Broken;
                let fault = if is_lost { Fault::Reset } else { fault };
                self.stop_splicing(from, cx);
                self.broke(from.opposite(), fault, cx)
            }
        }
    }

    fn stop_splicing(&mut self, from: Side, cx: &mut Cx<'_>) {
        if let Flow::Splice(splice) = std::mem::replace(&mut self.half(from).flow, Flow::Copy) {
            let is_empty = splice.in_pipe == 0;
            let state = if is_empty { PipeState::Empty } else { PipeState::Holding };
            cx.act(Action::ReturnPipe(from, state));
        }
    }
}
