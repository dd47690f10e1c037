//! Receiving: once, as a stream, or later, when a buffer is free.
//!
//! A session always sees one `Received` for each `Receive`. A stream goes on receiving in between:
//! what it brings before it was asked for is kept here, and the stream ended unless the session is
//! about to ask. Kept bytes are copied, since a ring buffer is never held across a wait; a stream
//! is for messages, which find their session waiting.

use super::seat::{Kept, Stream};
use super::{Worker, token};
use crate::metrics::Lack;
use crate::session::{Event, Rest};
use crate::slots::SlotId;
use crate::sys::{BufferId, Completion, Engine, Fault, Kind, Op, Patience, Side};

/// Bytes kept for a side whose session is about to ask: as many as a buffer holds and some. Beyond
/// it the stream is ended, however soon they are asked for.
const KEPT_MAX: usize = 32 * 1024;

impl<E: Engine> Worker<E> {
    /// The session asks for what a side sends.
    pub(super) fn receive(&mut self, id: SlotId, side: Side, patience: Patience) {
        let seat = self.slots.find(id).expect("a seat lives until its End");
        seat.wants(side);
        if seat.has_kept(side) {
            // In the next turn, so that no session runs ahead of others.
            self.kept.push_back((id, side));
        }
        match seat.stream(side) {
            Stream::On if patience != Patience::Stream => self.end_stream(id, side),
            Stream::On | Stream::Ending => {}
            Stream::Off if seat.has_kept(side) => {}
            Stream::Off => self.start_receiving(id, side, patience),
        }
    }

    fn start_receiving(&mut self, id: SlotId, side: Side, patience: Patience) {
        let seat = self.slots.find(id).expect("a seat lives until its End");
        if patience == Patience::Stream {
            seat.set_stream(side, Stream::On);
        }
        let op = Op::Receive { socket: seat.socket(side), patience };
        self.submit_once(id, Kind::Receive, side, op);
    }

    fn end_stream(&mut self, id: SlotId, side: Side) {
        let seat = self.slots.find(id).expect("a seat lives until its End");
        seat.set_stream(side, Stream::Ending);
        let target = token(id, Kind::Receive, side);
        self.engine.submit(token(id, Kind::Cancel, side), Op::Cancel { target });
    }

    /// A receive has completed, on a side that is not being closed.
    pub(super) fn receive_completed(&mut self, id: SlotId, side: Side, completion: &Completion) {
        let &Completion { result, buffer, more, unread, .. } = completion;
        let seat = self.slots.find(id).expect("a seat outlives its operations");
        let stream = seat.stream(side);
        if stream != Stream::Off && !more {
            seat.set_stream(side, Stream::Off);
        }
        let (is_wanted, has_kept) = (seat.is_wanted(side), seat.has_kept(side));
        match result {
            // Who is about to get what was kept asks again behind it.
            Err(Fault::NoBuffers) if !is_wanted || has_kept => {}
            Err(Fault::NoBuffers) => self.starve(id, side),
            Err(Fault::Cancelled) if stream == Stream::Ending => {
                if is_wanted && !has_kept {
                    self.start_receiving(id, side, Patience::Try);
                }
            }
            _ if !is_wanted || has_kept => self.keep(id, side, result, buffer),
            Ok(len) => {
                let rest = match (more, unread) {
                    (true, _) => Rest::Streaming,
                    (false, true) => Rest::Unread,
                    (false, false) => Rest::Drained,
                };
                self.received(id, side, (len, buffer), rest);
            }
            Err(fault) => {
                seat.is_served(side);
                let (result, rest) = (Err(fault), Rest::Drained);
                self.step(id, Event::Received { side, result, buffer, rest });
            }
        }
    }

    /// The one event that borrows from the engine.
    fn received(
        &mut self,
        id: SlotId,
        side: Side,
        (len, buffer): (u32, Option<BufferId>),
        rest: Rest,
    ) {
        let bytes = match buffer {
            Some(buffer) => self.engine.bytes(buffer, len),
            None => &[],
        };
        let event = Event::Received { side, result: Ok(bytes), buffer, rest };
        let seat = self.slots.find(id).expect("a seat outlives its operations");
        seat.is_served(side);
        let mut cx = self.surroundings.cx(self.now_us, &seat.edition, &mut self.actions);
        seat.session.step(event, &mut cx);
        self.act(id);
    }

    /// A stream brought what nobody has asked for yet.
    fn keep(
        &mut self,
        id: SlotId,
        side: Side,
        result: Result<u32, Fault>,
        buffer: Option<BufferId>,
    ) {
        let seat = self.slots.find(id).expect("a seat outlives its operations");
        let kept = seat.kept(side);
        if let (Ok(len), Some(buffer)) = (result, buffer) {
            kept.bytes.extend_from_slice(self.engine.bytes(buffer, len));
        } else {
            kept.end = Some(result.map(drop));
        }
        let is_soon = kept.bytes.len() <= KEPT_MAX && seat.is_sending(side.opposite());
        let ends = !is_soon && seat.stream(side) == Stream::On;
        if let Some(buffer) = buffer {
            self.give_back(buffer);
        }
        if ends {
            self.end_stream(id, side);
        }
        if let Err(fault) = result {
            // Receiving has taken the error off the socket, so no poll will tell of it.
            self.step(id, Event::HangUp { side, fault: Some(fault) });
        }
    }

    /// Sessions that have asked get what was kept for them.
    pub(super) fn serve_kept(&mut self) {
        for _ in 0..self.kept.len() {
            let Some((id, side)) = self.kept.pop_front() else { break };
            let Some(seat) = self.slots.find(id) else { continue };
            if seat.is_closing(side) || !seat.is_wanted(side) {
                continue;
            }
            let Some(kept) = seat.take_kept(side) else { continue };
            seat.is_served(side);
            let Kept { bytes, end } = *kept;
            let (result, rest) = match end {
                Some(end) if bytes.is_empty() => (end.map(|()| &[][..]), Rest::Drained),
                end => {
                    if end.is_some() {
                        seat.kept(side).end = end;
                    }
                    (Ok(&bytes[..]), Rest::Streaming)
                }
            };
            let mut cx = self.surroundings.cx(self.now_us, &seat.edition, &mut self.actions);
            seat.session.step(Event::Received { side, result, buffer: None, rest }, &mut cx);
            self.act(id);
        }
    }

    /// A receive found no buffer: it is tried again when one comes back, never at once, which
    /// would spin. If all came back meanwhile, that is now.
    fn starve(&mut self, id: SlotId, side: Side) {
        self.lack(Lack::Buffers);
        if self.buffers_held == 0 {
            self.start_receiving(id, side, Patience::Try);
        } else {
            let seat = self.slots.find(id).expect("a seat outlives its operations");
            seat.starve(side);
            self.starved.push_back((id, side));
        }
    }

    pub(super) fn give_back(&mut self, buffer: BufferId) {
        self.engine.release(buffer);
        self.buffers_held -= 1;
        while let Some((id, side)) = self.starved.pop_front() {
            let Some(seat) = self.slots.find(id) else { continue };
            if !seat.feed(side) {
                continue;
            }
            self.start_receiving(id, side, Patience::Try);
            // A buffer for each. But a receive that is tried again may find no bytes and take none:
            // with all buffers back there is nobody left to wait for, so everyone tries.
            if self.buffers_held > 0 {
                break;
            }
        }
    }
}
