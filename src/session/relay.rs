//! Entry: both connections stand. Exits: close (two EOFs, a client's reset), forward_reset (a
//! server's reset), linger (a server that finished early), part (a timeout of the pool). Deadline:
//! the next look at it, if there is anything to look for; see `looks`.
//!
//! A session is two halves, each from one side to the other. A half has one operation pending at a
//! time, and that is the back-pressure: it receives, sends what it got, and only then receives
//! again. What its end comes to is in `ending`.

mod ending;
mod looks;
mod splice;

use super::watch::{FromClient, Onward, Watch};
use super::{About, Action, CloseReason, Cx, Event, Next, Phase, Rest, close};
use crate::config::Timeouts;
use crate::sys::{BufferId, Fault, Patience, Readiness, Side};
use looks::{Looks, Verdict};
use splice::Splice;

/// Full reads in a row that make a half bulk: then its bytes are spliced, not copied.
const BULK_READS: u8 = 2;

/// Reads in a row that left nothing and filled no buffer, after which a half goes on receiving by
/// itself: it carries messages. What answers with a full buffer and a bit more never gets here.
const SMALL_READS: u8 = 4;

/// Milliseconds after which a side that is not being read (it has said EOF, or its first bytes are
/// still being sent) is watched for a reset; most have gone on long before.
const UNREAD_LOOK_MS: u32 = 1_000;

/// What the client's half is doing when relaying starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientHalf {
    /// Nothing is pending.
    Idle,
    /// A receive is pending.
    Receiving,
    /// It has said EOF.
    Ended,
}

/// Two halves.
pub(super) struct Relay {
    halves: [Half; 2],
    watch: Option<Box<Watch>>,
    /// Who said EOF first.
    first_eof: Option<Side>,
    /// A send found the server gone. The kernel tells that once: what the server said before can
    /// still be received, and behind it comes what looks like EOF.
    server_gone: Option<CloseReason>,
    /// Only where a timeout applies.
    looks: Option<Box<Looks>>,
    /// Its time is up, and both sides are being told EOF.
    parting: Option<CloseReason>,
}

/// From one side to the other.
struct Half {
    stage: Stage,
    flow: Flow,
    /// What of the buffer, or of the owned bytes, is being sent.
    sending: std::ops::Range<u32>,
    /// Full reads in a row, with nothing received behind them.
    full_reads: u8,
    /// Small reads in a row.
    small_reads: u8,
    /// What follows the last receive.
    rest: Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Bytes may come.
    Open,
    /// None will come; some have still to be sent.
    Draining(Ending),
    /// EOF has been passed on, or there is nobody to pass it to.
    Done,
    /// The receiving side broke: nothing more can be passed on, whatever comes.
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Eof,
    Reset(CloseReason),
}

enum Flow {
    Copy,
    Splice(Splice),
}

/// How a half moves bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Received into a buffer and sent from there.
    Copy,
    /// Within the kernel, through a pipe.
    Splice,
}

impl Mode {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Splice => "splice",
        }
    }
}

impl Half {
    const fn new() -> Self {
        Self {
            stage: Stage::Open,
            flow: Flow::Copy,
            sending: 0..0,
            full_reads: 0,
            small_reads: 0,
            rest: Rest::Drained,
        }
    }

    /// Something of it has still to be sent.
    fn is_sending(&self) -> bool {
        let in_pipe = matches!(&self.flow, Flow::Splice(splice) if splice.holds_bytes());
        in_pipe || !self.sending.is_empty()
    }

    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Done | Stage::Broken)
    }

    /// Learns from a receive what kind of half this is.
    fn read(&mut self, is_full: bool, rest: Rest) {
        let full_reads = if is_full { self.full_reads.saturating_add(1) } else { 0 };
        // What has been received behind it would be overtaken by splicing.
        self.full_reads = if rest == Rest::Streaming { 0 } else { full_reads };
        let is_small = !is_full && rest != Rest::Unread;
        self.small_reads = if is_small { self.small_reads.saturating_add(1) } else { 0 };
        self.rest = rest;
    }
}

/// Sends the first bytes and starts both halves.
pub(super) fn start(
    bytes: Vec<u8>,
    watch: Option<Box<Watch>>,
    client: ClientHalf,
    about: &About,
    cx: &mut Cx<'_>,
) -> Phase {
    let mut relay = Relay {
        halves: [Half::new(), Half::new()],
        watch,
        first_eof: None,
        server_gone: None,
        looks: None,
        parting: None,
    };
    relay.drop_watch_if_over();
    relay.start_looking(about, cx);
    let half = &mut relay.halves[Side::Client as usize];
    if client == ClientHalf::Ended {
        half.stage = Stage::Draining(Ending::Eof);
        relay.first_eof = Some(Side::Client);
    }
    if !bytes.is_empty() {
        relay.send_all(Side::Server, bytes, cx);
        relay.look_soon(cx);
    } else if client == ClientHalf::Idle {
        cx.act(Action::Receive { side: Side::Client, patience: Patience::Try });
    } else if client == ClientHalf::Ended {
        half.stage = Stage::Done;
        cx.act(Action::Shutdown(Side::Server));
        relay.look_soon(cx);
    }
    cx.act(Action::Receive { side: Side::Server, patience: Patience::Wait });
    Phase::Relay(relay)
}

impl Relay {
    pub(super) fn step(&mut self, about: &mut About, event: Event<'_>, cx: &mut Cx<'_>) -> Next {
        match event {
            Event::Received { side, result: Ok(bytes), buffer, rest } if !bytes.is_empty() => {
                self.received(side, (bytes, buffer), rest, about, cx)
            }
            Event::Received { side, result: Ok(_), buffer, .. } => {
                cx.release(buffer);
                self.ended(side, about, cx)
            }
            Event::Received { side, result: Err(fault), buffer, .. } => {
                cx.release(buffer);
                self.faulted(side, fault, about, cx)
            }
            Event::Sent { to, buffer, result } => self.sent(to, (buffer, result), about, cx),
            Event::SentAll { to, result } => self.sent_all(to, result, about, cx),
            Event::Pipe(from, result) => self.piped(from, result, cx),
            Event::Readable(from) => {
                // While parting, a half may have come to its end before its peer has.
                if self.half(from).stage == Stage::Open {
                    cx.act(Action::TakePipe(from));
                }
                Next::Stay
            }
            Event::SplicedIn(from, result) => self.spliced_in(from, result, about, cx),
            Event::SplicedOut(from, result) => self.spliced_out(from, result, about, cx),
            Event::Room(to) => self.splice_out(to.opposite(), cx),
            Event::HangUp { side, fault } => self.hung_up(side, fault, cx),
            Event::Unsent(side, result) => self.answered(side, result, about, cx),
            Event::Deadline => self.look(about, cx),
            _ => Next::Stay,
        }
    }

    /// By the side a half starts at.
    pub(super) fn modes(&self) -> [Mode; 2] {
        self.halves.each_ref().map(|half| match half.flow {
            Flow::Copy => Mode::Copy,
            Flow::Splice(_) => Mode::Splice,
        })
    }

    /// The worker is going to stop.
    pub(super) fn retire(&mut self, about: &mut About, cx: &mut Cx<'_>) -> Next {
        if self.parting.is_some() {
            return Next::Stay;
        }
        self.part(CloseReason::Stopped, about, cx)
    }

    fn half(&mut self, from: Side) -> &mut Half {
        &mut self.halves[from as usize]
    }

    fn drop_watch_if_over(&mut self) {
        if self.watch.as_ref().is_some_and(|watch| watch.is_over()) {
            self.watch = None;
        }
    }

    fn received(
        &mut self,
        side: Side,
        (bytes, buffer): (&[u8], Option<BufferId>),
        rest: Rest,
        about: &mut About,
        cx: &mut Cx<'_>,
    ) -> Next {
        let len = bytes.len() as u32;
        if about.received == [0, 0] {
            cx.habits[about.listener as usize].learn(side);
        }
        if side == Side::Server && about.received[Side::Server as usize] == 0 {
            let place = about.place.expect("relaying with a server");
            let pool = &cx.pools[place.pool.0 as usize];
            pool.served(place.server, about.chosen_ms(), cx.now_ms());
        }
        about.receive(side, u64::from(len), cx);
        let half = &mut self.halves[side as usize];
        half.read(len >= cx.buffer_size, rest);
        if half.stage != Stage::Open {
            cx.release(buffer);
            return Next::Stay;
        }
        let mut forward = len;
        if let Some(watch) = &mut self.watch {
            if side == Side::Server && !watch.response_passes() {
                cx.release(buffer);
                return self.watched_response(bytes, about, cx);
            }
            if side == Side::Client {
                match watch.client_sent(bytes) {
                    FromClient::Forward(count) => {
                        forward = count as u32;
                        if forward < len && watch.is_first_surplus() {
                            let place = about.place.expect("relaying with a server");
                            cx.pools[usize::from(place.pool.0)].counts(cx.worker).throw_away();
                        }
                    }
                    FromClient::HoldOn => {
                        cx.release(buffer);
                        self.receive(side, cx);
                        return Next::Stay;
                    }
                    FromClient::Pause => {
                        cx.release(buffer);
                        cx.act(Action::Await(side, Readiness::HangUp));
                        return Next::Stay;
                    }
                }
            }
        }
        let to = side.opposite();
        match buffer {
            _ if forward == 0 => {
                cx.release(buffer);
                self.receive(side, cx);
            }
            Some(buffer) => {
                self.half(side).sending = 0..forward;
                cx.act(Action::Send { to, buffer, from: 0, until: forward });
            }
            None => self.send_all(to, bytes[..forward as usize].to_vec(), cx),
        }
        Next::Stay
    }

    fn receive(&mut self, side: Side, cx: &mut Cx<'_>) {
        let half = &self.halves[side as usize];
        // What is watched may have to wait, for which a stream has no patience.
        let streams = half.small_reads >= SMALL_READS && self.watch.is_none();
        let patience = if streams { Patience::Stream } else { half.rest.patience() };
        cx.act(Action::Receive { side, patience });
    }

    fn send_all(&mut self, to: Side, bytes: Vec<u8>, cx: &mut Cx<'_>) {
        self.half(to.opposite()).sending = 0..bytes.len() as u32;
        cx.act(Action::SendAll { to, bytes });
    }

    /// Bytes of a response that is being looked at.
    fn watched_response(&mut self, bytes: &[u8], about: &mut About, cx: &mut Cx<'_>) -> Next {
        let Some(watch) = &mut self.watch else { return Next::Stay };
        if let Some(passed) = watch.server_sent(bytes, about, cx) {
            return self.response_passed(passed, cx);
        }
        // Without a deadline: what is held is of no use to the client without its rest.
        self.receive(Side::Server, cx);
        Next::Stay
    }

    /// Passes a response on.
    fn response_passed(&mut self, passed: Vec<u8>, cx: &mut Cx<'_>) -> Next {
        self.send_all(Side::Client, passed, cx);
        self.client_goes_on(cx)
    }

    /// The server has answered, or never will: what was held of the client is due.
    fn client_goes_on(&mut self, cx: &mut Cx<'_>) -> Next {
        let client = self.half(Side::Client);
        let (stage, is_sending) = (client.stage, !client.sending.is_empty());
        if client.is_over() || is_sending {
            // In the second case what has been sent asks again.
            return Next::Stay;
        }
        let Some(watch) = &mut self.watch else { return Next::Stay };
        let (onward, holds_back) = (watch.open_or_shut(), watch.holds_back());
        self.drop_watch_if_over();
        match (onward, stage) {
            (Onward::Send(bytes), _) => self.send_all(Side::Server, bytes, cx),
            (_, Stage::Draining(ending)) if !holds_back => {
                return self.drained(Side::Client, ending, cx);
            }
            (Onward::Receive, _) => self.receive(Side::Client, cx),
            (Onward::Nothing, _) => {}
        }
        Next::Stay
    }

    fn sent(
        &mut self,
        to: Side,
        (buffer, result): (BufferId, Result<u32, Fault>),
        about: &mut About,
        cx: &mut Cx<'_>,
    ) -> Next {
        let from = to.opposite();
        let half = self.half(from);
        let sent = match result {
            Ok(sent) => sent,
            Err(Fault::WouldBlock) => 0,
            Err(fault) => {
                cx.release(Some(buffer));
                return self.broke(to, fault, cx);
            }
        };
        half.sending.start += sent;
        let left = half.sending.clone();
        if left.is_empty() {
            cx.release(Some(buffer));
            return self.half_sent(from, about, cx);
        }
        half.sending = 0..left.end - left.start;
        cx.act(Action::SendLeft { to, buffer, from: left.start, until: left.end });
        cx.act(Action::Await(from, Readiness::HangUp));
        Next::Stay
    }

    fn sent_all(
        &mut self,
        to: Side,
        result: Result<u32, Fault>,
        about: &mut About,
        cx: &mut Cx<'_>,
    ) -> Next {
        let from = to.opposite();
        let wanted = self.half(from).sending.end;
        match result {
            Ok(sent) if sent == wanted => self.half_sent(from, about, cx),
            // Why it broke was lost. To call an end a reset does no harm, the other way round what
            // was cut off would look whole.
            Ok(_) => self.broke(to, Fault::Reset, cx),
            Err(fault) => self.broke(to, fault, cx),
        }
    }

    /// Everything this half had has been sent.
    fn half_sent(&mut self, from: Side, about: &mut About, cx: &mut Cx<'_>) -> Next {
        let half = self.half(from);
        half.sending = 0..0;
        if let Some(watch) = self.watch.as_mut().filter(|_| from == Side::Client) {
            match watch.after_send() {
                Onward::Receive => {}
                Onward::Send(bytes) => {
                    self.send_all(Side::Server, bytes, cx);
                    return Next::Stay;
                }
                Onward::Nothing => {
                    self.drop_watch_if_over();
                    if self.half(from).stage == Stage::Open {
                        return Next::Stay;
                    }
                }
            }
            self.drop_watch_if_over();
        }
        let passes = self.watch.as_ref().is_none_or(|watch| match from {
            Side::Client => watch.request_passes(),
            Side::Server => watch.response_passes(),
        });
        let half = self.half(from);
        match half.stage {
            Stage::Open if half.full_reads >= BULK_READS && passes && cx.config.splice => {
                self.promote(from, cx)
            }
            Stage::Open => {
                self.receive(from, cx);
                Next::Stay
            }
            Stage::Draining(ending) => self.finish_half(from, ending, about, cx),
            Stage::Done | Stage::Broken => Next::Stay,
        }
    }

    /// A session with a timeout is looked at from its start on.
    fn start_looking(&mut self, about: &About, cx: &mut Cx<'_>) {
        let timeouts = *timeouts(about, cx);
        if timeouts.max_age_ms.is_none() && timeouts.idle_ms.is_none() {
            return;
        }
        let draw = cx.random.next();
        let looks = Looks::begin(&timeouts, about.accepted_us / 1000, draw);
        self.looks = looks.map(Box::new);
        if let Some(looks) = &mut self.looks {
            looks.stir(cx.now_ms());
            // Finding a server may have taken all its time: then the look is due now.
            looks.judge(&timeouts, false, cx.now_ms());
            cx.act(Action::Deadline { at_ms: looks.next_ms() });
        }
    }

    /// Somebody is no longer read, or has to be waited for: most have gone on when it is looked at.
    fn look_soon(&mut self, cx: &mut Cx<'_>) {
        if self.parting.is_some() {
            return;
        }
        let soon_ms = cx.now_ms() + u64::from(UNREAD_LOOK_MS);
        let next_ms = self.looks.as_ref().map_or(soon_ms, |looks| looks.next_ms());
        cx.act(Action::Deadline { at_ms: soon_ms.min(next_ms) });
    }

    fn is_half_closed(&self) -> bool {
        self.halves.iter().any(|half| half.stage != Stage::Open)
    }

    fn look(&mut self, about: &mut About, cx: &mut Cx<'_>) -> Next {
        if let Some(reason) = self.parting {
            // What was cut off must not look whole; what has been sent of it still arrives.
            let is_reset = self.is_resetting();
            let close = if is_reset { close::forward_reset } else { close::close };
            return Next::To(close(reason, cx));
        }
        // Who has not been read for a while has to be watched for a reset.
        for side in [Side::Client, Side::Server] {
            let half = self.half(side);
            if half.stage != Stage::Open || !half.sending.is_empty() {
                cx.act(Action::Await(side, Readiness::HangUp));
            }
        }
        if self.looks.is_none() {
            if !self.is_half_closed() || timeouts(about, cx).half_closed_ms.is_none() {
                return Next::Stay;
            }
            self.looks = Some(Box::new(Looks::new(None)));
        }
        let Some(looks) = &mut self.looks else { return Next::Stay };
        if !looks.look(about.received.iter().sum(), cx.now_ms()) {
            return self.judge(about, cx);
        }
        cx.act(Action::AskUnsent(Side::Client));
        cx.act(Action::AskUnsent(Side::Server));
        Next::Stay
    }

    /// A side has yet to acknowledge so much; a socket that cannot tell moves nothing.
    fn answered(
        &mut self,
        side: Side,
        unsent: Result<u32, Fault>,
        about: &mut About,
        cx: &mut Cx<'_>,
    ) -> Next {
        let Some(looks) = &mut self.looks else { return Next::Stay };
        looks.answered(unsent.unwrap_or(0));
        if side == Side::Client {
            return Next::Stay;
        }
        looks.all_answered();
        self.judge(about, cx)
    }

    fn judge(&mut self, about: &mut About, cx: &mut Cx<'_>) -> Next {
        let half_closed = self.is_half_closed();
        let Some(looks) = &mut self.looks else { return Next::Stay };
        match looks.judge(timeouts(about, cx), half_closed, cx.now_ms()) {
            Verdict::Look { at_ms } => cx.act(Action::Deadline { at_ms }),
            Verdict::Rest => {}
            Verdict::Over(reason) => return self.part(reason, about, cx),
        }
        Next::Stay
    }
}

/// What the pool allows.
fn timeouts<'c>(about: &About, cx: &'c Cx<'_>) -> &'c Timeouts {
    let place = about.place.expect("relaying has a server");
    &cx.pools[place.pool.0 as usize].spec().timeouts
}
