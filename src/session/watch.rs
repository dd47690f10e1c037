//! What relaying looks out for in HTTP: the end of the one request, and the first response head.
//!
//! Exits: once the gate is open and the response has passed there is nothing left to watch, and
//! the session is two plain halves.

use super::{About, Cx, Place};
use crate::config::Sticky;
use crate::peek::body::RequestEnd;
use crate::peek::edit::{self, ResponseEdit};
use crate::peek::http_head::Body;
use crate::peek::response_head::{ResponseHead, ResponsePeeked, ResponseScanner};
use crate::peek::sid::{self, SidSearch};
use crate::pool::{How, KeyKind, Pool};

/// Bytes a response head may have; a larger one passes unread.
const RESPONSE_HEAD_MAX: usize = 64 * 1024;

/// Bytes of a client held while its upgrade is not answered; then it is read no further.
const HELD_MAX: usize = 64 * 1024;

/// What may be forwarded of what the client sends.
pub(super) enum Gate {
    /// Everything.
    Open,
    /// Up to the request's end; what follows is thrown away (RFC 9112 section 9.6).
    Until(RequestEnd),
    /// Nothing yet.
    Held(Held),
}

/// Bytes that have to wait.
pub(super) struct Held {
    bytes: Vec<u8>,
    verdict: Verdict,
    /// True exactly when earlier bytes are being sent.
    flushing: bool,
    /// True exactly when bytes are held and no receive is pending.
    paused: bool,
}

/// What the server said to the upgrade.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Awaited,
    Agreed,
    Refused,
}

impl Gate {
    /// Until the server agrees to the upgrade.
    pub(super) fn hold(bytes: &[u8]) -> Self {
        let bytes = bytes.to_vec();
        Self::Held(Held { bytes, verdict: Verdict::Awaited, flushing: false, paused: false })
    }

    /// Until what is being sent now has been sent.
    pub(super) fn flushing() -> Self {
        let (bytes, verdict) = (Vec::new(), Verdict::Agreed);
        Self::Held(Held { bytes, verdict, flushing: true, paused: false })
    }

    fn shut() -> Self {
        Self::Until(RequestEnd::new(Body::None))
    }
}

/// What to do with bytes from the client.
#[derive(Debug, PartialEq)]
pub(super) enum FromClient {
    /// Send the first so many; the rest is thrown away.
    Forward(usize),
    /// They are kept; receive on.
    HoldOn,
    /// They are kept; receive no more for now.
    Pause,
}

/// What the client's half does next.
pub(super) enum Onward {
    /// Receive on.
    Receive,
    /// Send these.
    Send(Vec<u8>),
    /// What it is doing: a receive is pending already.
    Nothing,
}

enum Response {
    Passing,
    /// The final head is awaited. Interim heads (100, 103) do not wait for it: a client may be
    /// waiting for one before it sends its body.
    Head {
        held: Vec<u8>,
        scanner: ResponseScanner,
    },
}

/// Gate and response of one session.
pub(super) struct Watch {
    gate: Gate,
    response: Response,
    /// `keep_alive: one_request`: the response says `Connection: close`.
    close: bool,
    learn_sid: bool,
    learn_cookie: bool,
    insert_cookie: bool,
    /// The client has sent something behind its one request.
    surplus: bool,
}

impl Watch {
    /// A request whose response may have to be looked at: see [`Watch::placed`].
    pub(super) fn new(gate: Gate, close: bool, learn_sid: bool) -> Self {
        let response = Response::Head { held: Vec::new(), scanner: ResponseScanner::default() };
        let (learn_cookie, insert_cookie, surplus) = (false, false, false);
        Self { gate, response, close, learn_sid, learn_cookie, insert_cookie, surplus }
    }

    /// Only what the client sends is watched.
    pub(super) fn request_only(gate: Gate) -> Self {
        Self { response: Response::Passing, ..Self::new(gate, false, false) }
    }

    /// The server is known, and with it what its response must be looked at for.
    pub(super) fn placed(&mut self, pool: &Pool, place: Place, key: KeyKind) {
        match &pool.spec().sticky {
            Sticky::Insert { .. } => {
                self.insert_cookie = key != KeyKind::Insert || place.how != How::Kept;
            }
            Sticky::Cookie { learn, .. } => self.learn_cookie = learn.is_some(),
            _ => {}
        }
        if !(self.close || self.learn_sid || self.learn_cookie || self.insert_cookie) {
            self.response = Response::Passing;
        }
    }

    /// Nothing is left to watch.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.gate, Gate::Open) && self.response_passes()
    }

    /// Everything the client sends may pass.
    pub(super) fn request_passes(&self) -> bool {
        matches!(self.gate, Gate::Open)
    }

    /// The response is no longer held.
    pub(super) fn response_passes(&self) -> bool {
        matches!(self.response, Response::Passing)
    }

    /// Bytes came from the client.
    pub(super) fn client_sent(&mut self, bytes: &[u8]) -> FromClient {
        match &mut self.gate {
            Gate::Open => FromClient::Forward(bytes.len()),
            Gate::Until(end) => FromClient::Forward(end.feed(bytes)),
            Gate::Held(held) => {
                held.bytes.extend_from_slice(bytes);
                held.paused = held.bytes.len() >= HELD_MAX;
                if held.paused { FromClient::Pause } else { FromClient::HoldOn }
            }
        }
    }

    /// Something of the client is thrown away; whether that is so for the first time.
    pub(super) fn is_first_surplus(&mut self) -> bool {
        !std::mem::replace(&mut self.surplus, true)
    }

    /// Bytes of the client are held, so its EOF has to wait behind them.
    pub(super) fn holds_back(&self) -> bool {
        matches!(&self.gate, Gate::Held(held) if !held.bytes.is_empty())
    }

    /// Bytes to the server have been sent.
    pub(super) fn after_send(&mut self) -> Onward {
        let Gate::Held(held) = &mut self.gate else { return Onward::Receive };
        if !held.flushing {
            // The head itself has been sent. What follows is held, and must be received to be,
            // unless the server has answered before it had the whole head.
            if held.verdict == Verdict::Awaited {
                return Onward::Receive;
            }
            held.paused = true;
            return self.open_or_shut();
        }
        if !held.bytes.is_empty() {
            return Onward::Send(std::mem::take(&mut held.bytes));
        }
        let paused = held.paused;
        self.gate = Gate::Open;
        if paused { Onward::Receive } else { Onward::Nothing }
    }

    /// Bytes came from the server: keeps them and says what may pass now.
    pub(super) fn server_sent(
        &mut self,
        bytes: &[u8],
        about: &mut About,
        cx: &Cx<'_>,
    ) -> Option<Vec<u8>> {
        if let Response::Head { held, .. } = &mut self.response {
            held.extend_from_slice(bytes);
        }
        self.pass_response(about, cx, false)
    }

    /// What is held of a response passes as it is: no more of it comes.
    pub(super) fn give_up_response(&mut self, about: &mut About, cx: &Cx<'_>) -> Option<Vec<u8>> {
        self.pass_response(about, cx, true).filter(|bytes| !bytes.is_empty())
    }

    fn pass_response(&mut self, about: &mut About, cx: &Cx<'_>, finish: bool) -> Option<Vec<u8>> {
        let Response::Head { mut held, mut scanner } =
            std::mem::replace(&mut self.response, Response::Passing)
        else {
            return None;
        };
        // Where the final head starts: interim heads before it pass as they are.
        let mut from = 0;
        loop {
            match scanner.scan(&held[from..], RESPONSE_HEAD_MAX) {
                ResponsePeeked::Incomplete if !finish => break,
                ResponsePeeked::Head(head) if head.interim() => {
                    from += head.end;
                    scanner = ResponseScanner::default();
                }
                ResponsePeeked::Head(head) => {
                    if !self.learn(&head, &held[from + head.end..], finish, about, cx) {
                        // It is read again with what comes: a scanner never goes back.
                        scanner = ResponseScanner::default();
                        break;
                    }
                    return Some(self.edited(&held, from, &head, about, cx));
                }
                _ => {
                    self.answered(false);
                    return Some(held);
                }
            }
        }
        let rest = held.split_off(from);
        self.response = Response::Head { held: rest, scanner };
        (from > 0).then_some(held)
    }

    /// Learns what the response tells; false while it may still tell more.
    fn learn(
        &self,
        head: &ResponseHead<'_>,
        body: &[u8],
        finish: bool,
        about: &mut About,
        cx: &Cx<'_>,
    ) -> bool {
        let Some(place) = about.place else { return true };
        let pool = &cx.pools[place.pool.0 as usize];
        let mut key = None;
        if self.learn_sid && head.status == 200 {
            let is_whole = finish || has_all(head, body);
            match sid::find(body) {
                SidSearch::Found(sid) => key = Some(sid.as_bytes()),
                SidSearch::NotYet if !is_whole => return false,
                SidSearch::NotYet | SidSearch::Absent => {}
            }
        }
        if let (true, Sticky::Cookie { name, .. }) = (self.learn_cookie, &pool.spec().sticky) {
            key = head.set_cookie(name);
        }
        if let Some(key) = key {
            let learned = pool.learn(key, place.server, cx.now_ms());
            if learned.is_some() {
                pool.counts(cx.worker).learn();
            }
            about.key_hash = pool.key_hash(key).unwrap_or(0);
            if let Some(before) = std::mem::replace(&mut about.learned, learned) {
                pool.let_go(before, cx.now_ms());
            }
        }
        true
    }

    fn edited(
        &mut self,
        held: &[u8],
        from: usize,
        head: &ResponseHead<'_>,
        about: &About,
        cx: &Cx<'_>,
    ) -> Vec<u8> {
        let cookie = about
            .place
            .filter(|_| self.insert_cookie)
            .and_then(|place| cx.pools[place.pool.0 as usize].cookie_for(place.server));
        // The fields added take less than this, a cookie apart.
        let room = 64 + cookie.map_or(0, str::len);
        let mut out = Vec::with_capacity(held.len() + room);
        out.extend_from_slice(&held[..from]);
        let edit = ResponseEdit { close: self.close, set_cookie: cookie };
        edit::response(&held[from..], head, &edit, &mut out);
        self.answered(head.status == 101);
        out
    }

    /// The response has begun: what is held of the client may pass, or never will.
    fn answered(&mut self, agreed: bool) {
        if let Gate::Held(held) = &mut self.gate
            && held.verdict == Verdict::Awaited
        {
            held.verdict = if agreed { Verdict::Agreed } else { Verdict::Refused };
        }
    }

    /// After the server has said something, with nothing being sent to it: what was held of the
    /// client is sent now, or never.
    pub(super) fn open_or_shut(&mut self) -> Onward {
        let Gate::Held(held) = &mut self.gate else { return Onward::Nothing };
        let paused = held.paused;
        match held.verdict {
            Verdict::Agreed if !held.bytes.is_empty() => {
                held.flushing = true;
                return Onward::Send(std::mem::take(&mut held.bytes));
            }
            Verdict::Awaited => return Onward::Nothing,
            Verdict::Agreed => self.gate = Gate::Open,
            Verdict::Refused => self.gate = Gate::shut(),
        }
        if paused { Onward::Receive } else { Onward::Nothing }
    }
}

/// No more of the body will come.
fn has_all(head: &ResponseHead<'_>, body: &[u8]) -> bool {
    let length = head.header("content-length").and_then(|value| std::str::from_utf8(value).ok());
    length.and_then(|length| length.parse().ok()).is_some_and(|length: usize| body.len() >= length)
}
