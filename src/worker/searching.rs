//! Answering what the control thread asks about sessions, and closing those it wants closed.
//!
//! Sessions are looked for slot by slot, a few in each turn, so that a million of them hold up
//! nobody, and however much is asked at once.

use std::sync::Arc;

use super::inquiry::{Answer, Ask, Inquiry, Pace, Reply, SessionId, View, Why};
use super::seat::Seat;
use super::{Engine, Worker};
use crate::pool::Standing;
use crate::session::Event;
use crate::slots::SlotId;
use crate::sys::tcp_info::TcpInfo;
use crate::sys::{Fd, Side};

/// Slots looked at in a turn, most of which are in no cache: some 30 µs.
const LOOK_SLOTS: u32 = 256;

/// Sessions shown in a turn: what the kernel knows of each takes two calls, so as long again.
const SHOW_SESSIONS: usize = 32;

/// Slots after which there is an answer, whatever was found: whoever waits for it gives up after
/// two seconds, and this takes a busy worker less than one.
const ANSWER_SLOTS: u32 = 128 * LOOK_SLOTS;

/// Sessions closed in a turn, each in the time of a short connection's end.
const CLOSE_SESSIONS: usize = 64;

/// A question that is being answered.
pub(super) struct Search {
    inquiry: Inquiry,
    /// When it was asked; who comes later is not closed.
    asked_us: u64,
    /// Slot to be looked at next.
    from: u32,
    /// Slots looked at since the last answer.
    looked: u32,
    /// Sessions found since the last answer, and in all.
    matched: u64,
    total: usize,
    /// Of those, what is to be shown.
    shown: Vec<View>,
    /// All that are to be closed.
    left: Vec<SlotId>,
    /// More than were asked for: the first of the rest.
    next: Option<u32>,
}

/// Sessions that are being closed, one by one.
pub(super) struct Departure {
    why: Why,
    pace: Arc<Pace>,
    /// Taken from the end.
    left: Vec<SlotId>,
}

impl Departure {
    /// When the next of them may go.
    pub(super) fn next_us(&self) -> u64 {
        self.pace.next_us()
    }

    /// They stay if their server is up again.
    fn is_off(&self, now_us: u64) -> bool {
        match &self.why {
            Why::Killed => false,
            Why::ServerDown { edition, pool, server } => {
                let server = edition.pool_at(*pool).server(*server);
                server.standing(now_us / 1000) != Standing::Down
            }
        }
    }

    fn event(&self) -> Event<'static> {
        match self.why {
            Why::Killed => Event::Kill,
            Why::ServerDown { .. } => Event::ServerDown,
        }
    }
}

impl<E: Engine> Worker<E> {
    /// Answers at once what is about one session, and begins to look for others.
    pub(super) fn inquire(&mut self, inquiry: Inquiry) {
        let (mut shown, mut matched) = (Vec::new(), 0);
        match inquiry.ask {
            Ask::ShowOne(id) => {
                if let Some(seat) = self.slots.find(id) {
                    let id = SessionId { worker: self.number, slot: id };
                    shown.push(view(&mut self.engine, id, seat, self.now_us, true));
                    matched = 1;
                }
            }
            Ask::CloseOne(id) => {
                if self.slots.find(id).is_some_and(|seat| !seat.session.is_closing()) {
                    self.step(id, Event::Kill);
                    matched = 1;
                }
            }
            Ask::Show { from, .. } => return self.search(inquiry, from),
            Ask::Close { .. } => return self.search(inquiry, 0),
        }
        self.answer(inquiry.reply.as_ref(), (shown, matched, None), true);
    }

    fn search(&mut self, inquiry: Inquiry, from: u32) {
        self.searches.push_back(Search {
            inquiry,
            asked_us: self.now_us,
            from,
            looked: 0,
            matched: 0,
            total: 0,
            shown: Vec::new(),
            left: Vec::new(),
            next: None,
        });
    }

    /// Goes on with one search; all have their turn.
    pub(super) fn search_on(&mut self) {
        let Some(mut search) = self.searches.pop_front() else { return };
        let is_over = self.look_on(&mut search);
        if is_over || search.looked >= ANSWER_SLOTS {
            search.looked = 0;
            let found = (std::mem::take(&mut search.shown), search.matched, search.next);
            search.matched = 0;
            self.answer(search.inquiry.reply.as_ref(), found, is_over);
        }
        match search.inquiry.ask {
            _ if !is_over => self.searches.push_back(search),
            Ask::Close { why, pace } if !search.left.is_empty() => {
                self.departures.push(Departure { why, pace, left: search.left });
            }
            _ => {}
        }
    }

    /// Looks at the next slots; true if it need not go on.
    fn look_on(&mut self, search: &mut Search) -> bool {
        let end = self.slots.end().min(search.from.saturating_add(LOOK_SLOTS));
        let shown_max = search.shown.len() + SHOW_SESSIONS;
        while search.from < end && search.shown.len() < shown_max {
            let index = search.from;
            search.from += 1;
            search.looked += 1;
            let Some((slot, seat)) = self.slots.at(index) else { continue };
            let about = seat.session.about();
            if !search.inquiry.filter.fits(about, &seat.edition) {
                continue;
            }
            match search.inquiry.ask {
                Ask::Show { limit, .. } if search.total >= limit => {
                    search.next = Some(index);
                    return true;
                }
                Ask::Show { tcp_info, .. } => {
                    let id = SessionId { worker: self.number, slot };
                    let view = view(&mut self.engine, id, seat, self.now_us, tcp_info);
                    search.shown.push(view);
                }
                _ if about.accepted_us > search.asked_us || seat.session.is_closing() => continue,
                _ => search.left.push(slot),
            }
            search.matched += 1;
            search.total += 1;
        }
        search.from >= self.slots.end()
    }

    fn answer(
        &self,
        reply: Option<&Reply>,
        (sessions, matched, next): (Vec<View>, u64, Option<u32>),
        is_last: bool,
    ) {
        let Some(Reply { ticket, sender }) = reply else { return };
        let (ticket, worker) = (*ticket, self.number);
        // Without a control thread there is nobody who wants to know.
        let _ = sender.send(Answer { ticket, worker, sessions, matched, next, is_last });
        self.records.wake();
    }

    /// This worker ends: whoever still waits for an answer gets what was found.
    pub(super) fn give_up_searches(&mut self) {
        for search in std::mem::take(&mut self.searches) {
            let found = (search.shown, search.matched, None);
            self.answer(search.inquiry.reply.as_ref(), found, true);
        }
    }

    /// Closes the sessions whose time has come.
    pub(super) fn close_departing(&mut self) {
        if self.departures.is_empty() {
            return;
        }
        let now_us = self.now_us;
        let mut looks = LOOK_SLOTS;
        let mut departures = std::mem::take(&mut self.departures);
        let mut due = Vec::new();
        departures.retain_mut(|departure| {
            if departure.is_off(now_us) {
                return false;
            }
            while due.len() < CLOSE_SESSIONS
                && looks > 0
                && let Some(&id) = departure.left.last()
            {
                looks -= 1;
                if self.slots.find(id).is_some() {
                    if !departure.pace.take(now_us) {
                        break;
                    }
                    due.push((id, departure.event()));
                }
                departure.left.pop();
            }
            !departure.left.is_empty()
        });
        self.departures = departures;
        for (id, event) in due {
            self.step(id, event);
        }
    }
}

/// A session as it is now.
fn view<E: Engine>(
    engine: &mut E,
    id: SessionId,
    seat: &Seat,
    now_us: u64,
    with_tcp_info: bool,
) -> View {
    let about = seat.session.about();
    let tcp_info = [Side::Client, Side::Server].map(|side| {
        let socket = seat.socket(side);
        // A server that is being connected to is none yet.
        let is_there = socket != Fd::NONE
            && (side == Side::Client || about.place.is_some_and(|place| place.connected));
        is_there.then(|| engine.tcp_info(socket)).flatten()
    });
    View {
        id,
        edition: Arc::clone(&seat.edition.0),
        listener: about.listener,
        client: about.client,
        host: about.host.clone(),
        pool: about.pool,
        place: about.place,
        key: about.key,
        phase: seat.session.phase(),
        modes: seat.session.modes(),
        received: about.received,
        age_us: now_us - about.accepted_us,
        idle_ms: tcp_info.iter().flatten().map(TcpInfo::idle_ms).min(),
        peek_us: about.peek_us,
        connect_us: about.connect_us,
        retries: about.retries,
        tcp_info: if with_tcp_info { tcp_info } else { [None; 2] },
    }
}
