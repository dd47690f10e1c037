//! A session's seat at a worker: its descriptors, its pipes, and what is pending on each side.
//!
//! A descriptor is closed only when nothing is pending on it: a ring operation holds the file, so
//! close(2) alone would close nothing, and a receive might still write to its buffer.

use std::rc::Rc;

use super::shared::LocalEdition;
use crate::session::Session;
use crate::sys::{Farewell, Fault, Fd, Kind, PipeId, Side};

/// See the head of the file.
pub(super) struct Seat {
    pub(super) session: Session,
    /// What it was accepted under.
    pub(super) edition: Rc<LocalEdition>,
    sides: [SideState; 2],
    /// Milliseconds on the worker's clock; 0: none.
    deadline_ms: u64,
    /// When the wheel will bring this seat up; 0: it will not.
    wheel_ms: u64,
}

struct SideState {
    socket: Fd,
    /// The pipe of the half that starts here, or [`PipeId::NONE`].
    pipe: PipeId,
    /// Bit `kind` is set exactly when an operation of that kind will complete.
    pending: u16,
    /// The session has asked for bytes and has not been given any yet.
    wanted: bool,
    stream: Stream,
    /// Received unasked.
    kept: Option<Box<Kept>>,
    /// A receive waits for a buffer: not pending, but not forgotten.
    starved: bool,
    /// The session has asked for the end of this side.
    closing: Option<Farewell>,
}

/// A receive that goes on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Off,
    On,
    /// Cancelled, and not over yet.
    Ending,
}

/// What a stream brought before it was asked for; never empty.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) bytes: Vec<u8>,
    /// What came behind them: EOF or a fault.
    pub(super) end: Option<Result<(), Fault>>,
}

/// What a passed deadline means.
pub(super) enum Expired {
    Nothing,
    Later(u64),
    Now,
}

impl SideState {
    fn new(socket: Fd) -> Self {
        Self {
            socket,
            pipe: PipeId::NONE,
            pending: 0,
            wanted: false,
            stream: Stream::Off,
            kept: None,
            starved: false,
            closing: None,
        }
    }
}

impl Seat {
    pub(super) fn new(session: Session, edition: Rc<LocalEdition>, client: Fd) -> Self {
        let sides = [SideState::new(client), SideState::new(Fd::NONE)];
        Self { session, edition, sides, deadline_ms: 0, wheel_ms: 0 }
    }

    fn side(&mut self, side: Side) -> &mut SideState {
        &mut self.sides[side as usize]
    }

    pub(super) fn socket(&self, side: Side) -> Fd {
        self.sides[side as usize].socket
    }

    pub(super) fn open(&mut self, side: Side, socket: Fd) {
        debug_assert_eq!(self.socket(side), Fd::NONE, "one socket a side");
        self.side(side).socket = socket;
    }

    /// Notes an operation about to be submitted; false if the same is pending.
    pub(super) fn now_pending(&mut self, kind: Kind, side: Side) -> bool {
        let state = self.side(side);
        let bit = 1 << kind as u16;
        // A second one would be lost, and its bytes with it.
        debug_assert!(
            kind != Kind::Send && kind != Kind::SendAll
                || state.pending & (1 << Kind::Send as u16 | 1 << Kind::SendAll as u16) == 0,
            "at most one send in flight per socket"
        );
        if state.pending & bit != 0 || state.starved && kind == Kind::Receive {
            return false;
        }
        state.pending |= bit;
        true
    }

    pub(super) fn no_longer_pending(&mut self, kind: Kind, side: Side) {
        self.side(side).pending &= !(1 << kind as u16);
    }

    /// A send from a ring buffer is pending, which never waits.
    pub(super) fn is_sending(&self, to: Side) -> bool {
        self.sides[to as usize].pending & (1 << Kind::Send as u16) != 0
    }

    pub(super) fn wants(&mut self, side: Side) {
        self.side(side).wanted = true;
    }

    pub(super) fn is_served(&mut self, side: Side) {
        self.side(side).wanted = false;
    }

    pub(super) fn is_wanted(&self, side: Side) -> bool {
        self.sides[side as usize].wanted
    }

    pub(super) fn stream(&self, side: Side) -> Stream {
        self.sides[side as usize].stream
    }

    pub(super) fn set_stream(&mut self, side: Side, stream: Stream) {
        self.side(side).stream = stream;
    }

    pub(super) fn has_kept(&self, side: Side) -> bool {
        self.sides[side as usize].kept.is_some()
    }

    /// Where to keep what must not be left empty.
    pub(super) fn kept(&mut self, side: Side) -> &mut Kept {
        self.side(side).kept.get_or_insert_default()
    }

    pub(super) fn take_kept(&mut self, side: Side) -> Option<Box<Kept>> {
        self.side(side).kept.take()
    }

    pub(super) fn starve(&mut self, side: Side) {
        self.side(side).starved = true;
    }

    /// A buffer came back; whether this side still wants it.
    pub(super) fn feed(&mut self, side: Side) -> bool {
        std::mem::take(&mut self.side(side).starved)
    }

    pub(super) fn is_closing(&self, side: Side) -> bool {
        self.sides[side as usize].closing.is_some()
    }

    /// False when there is nothing to close.
    pub(super) fn start_closing(&mut self, side: Side, farewell: Farewell) -> bool {
        let state = self.side(side);
        if state.socket == Fd::NONE {
            return false;
        }
        state.starved = false;
        state.kept = None;
        state.closing = Some(farewell);
        true
    }

    /// What must be told to complete. Sends from ring buffers never wait.
    pub(super) fn cancellable(&self, side: Side) -> impl Iterator<Item = Kind> + use<> {
        let pending = self.sides[side as usize].pending;
        [Kind::Receive, Kind::SendAll, Kind::Connect, Kind::Readable, Kind::Room, Kind::HangUp]
            .into_iter()
            .filter(move |&kind| pending & (1 << kind as u16) != 0)
    }

    /// The descriptor of a closing side with nothing pending, to be closed now.
    pub(super) fn close_if_idle(&mut self, side: Side) -> Option<(Fd, Farewell)> {
        let state = self.side(side);
        if state.pending != 0 {
            return None;
        }
        let farewell = state.closing.take()?;
        Some((std::mem::replace(&mut state.socket, Fd::NONE), farewell))
    }

    pub(super) fn pipe(&self, from: Side) -> PipeId {
        let pipe = self.sides[from as usize].pipe;
        debug_assert_ne!(pipe, PipeId::NONE, "a half that splices has its pipe");
        pipe
    }

    pub(super) fn put_pipe(&mut self, from: Side, pipe: PipeId) {
        self.side(from).pipe = pipe;
    }

    pub(super) fn take_pipe(&mut self, from: Side) -> Option<PipeId> {
        let pipe = std::mem::replace(&mut self.side(from).pipe, PipeId::NONE);
        (pipe != PipeId::NONE).then_some(pipe)
    }

    /// Sets the deadline; true if the wheel has to be told.
    pub(super) fn deadline(&mut self, at_ms: u64) -> bool {
        self.deadline_ms = at_ms;
        let tells = self.wheel_ms == 0 || at_ms < self.wheel_ms;
        if tells {
            self.wheel_ms = at_ms;
        }
        tells
    }

    pub(super) fn no_deadline(&mut self) {
        self.deadline_ms = 0;
    }

    /// The wheel brought this seat up.
    pub(super) fn expired(&mut self, now_ms: u64) -> Expired {
        self.wheel_ms = 0;
        match self.deadline_ms {
            0 => Expired::Nothing,
            at_ms if at_ms <= now_ms => {
                self.deadline_ms = 0;
                Expired::Now
            }
            at_ms => {
                self.wheel_ms = at_ms;
                Expired::Later(at_ms)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_stays_small() {
        assert!(size_of::<Seat>() <= 256, "{} bytes", size_of::<Seat>());
    }
}
